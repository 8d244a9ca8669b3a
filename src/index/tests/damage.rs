//! Damaged, lost, older or newer than expected: it is noticed, and no UID gets a second meaning.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use super::super::keys::Key;
use super::super::sled_store::SledStore;
use super::super::store::Writes;
use super::*;

#[tokio::test]
async fn v8_a_lost_tail_is_noticed_and_the_marks_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    // Enough batches to fill several of sled's segments, so that its end is worth losing.
    for n in 0..200u32 {
        let mut batch = Batch::new();
        let record = MailboxRecord { boundary: Some(Uid(100)), ..mailbox(id, 5_000 + n) };
        batch.put_mailbox(account, &record);
        batch.put_chunks(account, id, &sparse(2_000 + n).changed_chunks(&UidMap::default()));
        index.submit(batch).await.unwrap();
    }
    let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
    assert_eq!(remembered.boundary, Some(Uid(100)));
    assert!(remembered.mark >= Uid(5_199));
    index.close().await;

    let db = dir.path().join("db/db");
    let size = fs::metadata(&db).unwrap().len();
    let zeroed = size.min(600 << 10);
    let mut file = fs::File::options().write(true).open(&db).unwrap();
    file.seek(SeekFrom::Start(size - zeroed)).unwrap();
    file.write_all(&vec![0; zeroed as usize]).unwrap();
    drop(file);

    let read_only = Index::open_read_only(dir.path());
    assert!(matches!(read_only, Err(IndexError::Stale { .. })));
    expect_rebuild(dir.path(), remembered, true).await;
}

#[tokio::test]
async fn v8_a_lost_database_is_noticed_and_the_marks_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
    index.close().await;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    expect_rebuild(dir.path(), remembered.clone(), false).await;
    // And once more, right after a rebuild.
    fs::remove_file(dir.path().join("db/db")).unwrap();
    expect_rebuild(dir.path(), remembered, true).await;
}

/// No server knows in which phase an account is, nor what its folders were called on the other side.
#[tokio::test]
async fn v8_accounts_are_what_they_were_whatever_is_lost() {
    for damage in ["gone", "torn", "condemned", "the log torn"] {
        let dir = tempfile::tempdir().unwrap();
        let (index, account, _) = with_inbox(dir.path()).await;
        let mut batch = Batch::new();
        for phase in [Phase::Merged, Phase::New] {
            batch.edit_account(account, move |record| record.phase = Some(phase));
        }
        batch.enroll(bob(), |record| record.roll.priority = Some(3));
        index.submit(batch).await.unwrap();
        let before = index.accounts().await.unwrap();
        index.close().await;
        let (db, log) = (dir.path().join("db/db"), dir.path().join("epoch.log"));
        match damage {
            "gone" => fs::remove_dir_all(dir.path().join("db")).unwrap(),
            "torn" => {
                let octets = fs::metadata(&db).unwrap().len();
                fs::File::options().write(true).open(&db).unwrap().set_len(octets / 3).unwrap();
            }
            "condemned" => {
                let (memory, _) = epoch::Memory::read(dir.path()).unwrap();
                let mut log = epoch::EpochLog::start(dir.path(), memory).unwrap();
                log.append(vec![epoch::Entry::Condemned(Some("a bad page".into()))]).unwrap();
            }
            _ => {
                let octets = fs::metadata(&log).unwrap().len();
                fs::File::options().write(true).open(&log).unwrap().set_len(octets / 2).unwrap();
            }
        }
        let (index, opened) = Index::open(dir.path()).unwrap();
        let rebuilt = matches!(opened, Opened::Rebuild { .. });
        assert_eq!(rebuilt, damage != "the log torn", "{damage}: {opened:?}");
        assert_eq!(index.accounts().await.unwrap(), before, "{damage}");
        let carl = AccountName::canonical("carl@example.com", None).unwrap();
        let carls = index.account(&carl).await.unwrap();
        assert!(before.iter().all(|(_, id, _)| *id != carls), "{damage}");
        index.close().await;
    }
}

/// In phase new nobody may ask old again.
#[tokio::test]
async fn v10_what_the_servers_can_do_outlives_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    let profiles = [(Side::Old, b"IDLE".to_vec()), (Side::New, b"IDLE CONDSTORE".to_vec())];
    let mut batch = Batch::new();
    batch.put_profile(Side::Old, b"as it was before".to_vec());
    for (side, profile) in &profiles {
        batch.put_profile(*side, profile.clone());
    }
    index.submit(batch).await.unwrap();
    index.close().await;
    let (db, log) = (dir.path().join("db"), dir.path().join("epoch.log"));
    // The log alone, then the database alone, and the log twice: whichever is left tells the other.
    for lost in [&log, &db, &log, &log, &db] {
        match lost.is_dir() {
            true => fs::remove_dir_all(lost).unwrap(),
            false => fs::remove_file(lost).unwrap(),
        }
        let (index, _) = Index::open(dir.path()).unwrap();
        for (side, profile) in &profiles {
            let known = index.profile(*side).await.unwrap();
            assert_eq!(known.as_ref(), Some(profile), "{side}, {}", lost.display());
        }
        index.close().await;
    }
}

#[tokio::test]
async fn v8_an_older_database_put_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    index.close().await;
    let backup = dir.path().join("backup");
    copy_dir(&dir.path().join("db"), &backup);
    let (index, _) = Index::open(dir.path()).unwrap();
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(id, 9_000));
    index.submit(batch).await.unwrap();
    let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
    index.close().await;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::rename(&backup, dir.path().join("db")).unwrap();
    expect_rebuild(dir.path(), remembered, true).await;
}

#[tokio::test]
async fn v8_a_value_that_does_not_read_condemns_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
    index.close().await;
    let store = SledStore::open(&dir.path().join("db")).unwrap();
    let mut writes = Writes::default();
    writes.put(Key::runs(account, id, Uid(1)), vec![1, 9, 9, 9]);
    store.apply(&writes).unwrap();
    drop(store);
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean, "chunks are read when they are needed");
    assert!(matches!(index.load(account, id).await, Err(IndexError::Corrupt(_))));
    index.close().await;
    expect_rebuild(dir.path(), remembered, true).await;
}

/// Whatever is overwritten, an index either tells the truth or says that it cannot.
#[tokio::test]
async fn v8_damage_anywhere_never_shows_another_map() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let map = sparse(20_000);
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
    index.submit(batch).await.unwrap();
    index.close().await;
    let size = fs::metadata(dir.path().join("db/db")).unwrap().len();
    let mut noticed = 0;
    for n in 0..16 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let mut file = fs::File::options().write(true).open(copy.path().join("db/db")).unwrap();
        file.seek(SeekFrom::Start((size / 16) * n + n * 97)).unwrap();
        file.write_all(&[0xa5; 20]).unwrap();
        drop(file);
        let (index, opened) = Index::open(copy.path()).unwrap();
        let rebuild = matches!(opened, Opened::Rebuild { .. });
        match index.load(account, id).await {
            Ok(stored) => assert_eq!(stored.map, map, "damaged at {n}/16"),
            Err(IndexError::Corrupt(_)) => noticed += 1,
            Err(error) => {
                assert!(rebuild, "damaged at {n}/16: {error}");
                noticed += 1;
            }
        }
        index.close().await;
    }
    assert!(noticed > 0, "no damage did any");
}

#[tokio::test]
async fn v8_a_torn_or_lost_epoch_log_is_made_good_from_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let mut batch = Batch::new();
    batch.put_mailbox(account, &MailboxRecord { boundary: Some(Uid(9)), ..mailbox(id, 7_000) });
    index.submit(batch).await.unwrap();
    index.close().await;
    let log = dir.path().join("epoch.log");
    let whole = fs::read(&log).unwrap();
    // Every length it can be torn to, some of them with zeros behind; then no log at all.
    for len in (0..=whole.len()).rev().step_by(3).map(Some).chain([None]) {
        match len {
            Some(len) => {
                let mut torn = whole[..len].to_vec();
                torn.extend(vec![0; len % 5]);
                fs::write(&log, torn).unwrap();
            }
            None => fs::remove_file(&log).unwrap(),
        }
        let (index, opened) = Index::open(dir.path()).unwrap();
        assert_eq!(opened, Opened::Clean, "{len:?}");
        let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
        assert_eq!(remembered.boundary, Some(Uid(9)), "{len:?}");
        assert!(remembered.mark >= Uid(7_000), "{len:?}");
        index.close().await;
    }
    // The log that was made good is one that notices again.
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (_, opened) = Index::open(dir.path()).unwrap();
    assert!(matches!(opened, Opened::Rebuild { .. }));
}

#[tokio::test]
async fn v8_marks_are_reserved_in_strides_and_never_fall() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let put = async |record: MailboxRecord| {
        let mut batch = Batch::new();
        batch.put_mailbox(account, &record);
        index.submit(batch).await.unwrap();
        index.remembered(&ann(), &record.client).unwrap()
    };
    let first = put(mailbox(id, 100)).await;
    assert_eq!(
        first,
        Remembered {
            uid_validity: 7,
            passed: 0,
            first_name: None,
            boundary: None,
            mark: Uid(1_124)
        }
    );
    assert_eq!(put(mailbox(id, 1_124)).await, first, "within the stride nothing is written");
    let second = put(mailbox(id, 1_125)).await;
    assert_eq!(second.mark, Uid(1_125 + 1_024));
    let bounded = put(MailboxRecord { boundary: Some(Uid(50)), ..mailbox(id, 1_126) }).await;
    assert_eq!(bounded, Remembered { boundary: Some(Uid(50)), ..second });
    assert_eq!(put(mailbox(id, 3)).await, bounded, "neither falls within one UIDVALIDITY");
    let renamed = MailboxName::new(b"Other").unwrap();
    let other = put(MailboxRecord { client: renamed, ..mailbox(id, 1_130) }).await;
    assert_eq!(other.mark, Uid(1_130 + 1_024), "a new name is remembered at once");
    let again = put(MailboxRecord { uid_validity: 8, ..mailbox(id, 1) }).await;
    assert_eq!(
        again,
        Remembered {
            uid_validity: 8,
            passed: 7,
            first_name: None,
            boundary: None,
            mark: Uid(1_025)
        }
    );
    assert_eq!(put(mailbox(id, u32::MAX)).await.mark, Uid(u32::MAX));
    assert_eq!(index.remembered(&bob(), &MailboxName::inbox()), None);
}

#[tokio::test]
async fn v2_where_the_log_is_lost_with_the_database_what_follows_is_above_all_that_was() {
    for torn in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (index, ..) = with_inbox(dir.path()).await;
        index.close().await;
        let (log, db) = (dir.path().join("epoch.log"), dir.path().join("db/db"));
        match torn {
            true => fs::write(&log, &fs::read(&log).unwrap()[..9]).unwrap(),
            false => fs::remove_file(&log).unwrap(),
        }
        let octets = fs::metadata(&db).unwrap().len() as usize;
        fs::write(&db, vec![0; octets]).unwrap();
        let least = Uid(Uid::of_time(unix_now()).0 + (1 << 20));
        for opening in 0..2 {
            let (index, opened) = Index::open(dir.path()).unwrap();
            let told = match (opening, torn) {
                (0, true) => matches!(opened, Opened::Rebuild { .. }),
                // As after a first start that was killed.
                (0, false) => opened == Opened::Fresh,
                _ => opened == Opened::Clean,
            };
            assert!(told, "torn: {torn}, {opened:?}");
            // Whatever mailbox it is, and when it is seen first.
            for name in [&b"INBOX"[..], b"Never seen"] {
                let known = index.remembered(&bob(), &MailboxName::new(name).unwrap()).unwrap();
                assert!(known.mark >= least && known.boundary >= Some(least), "{known:?}");
            }
            index.close().await;
        }
    }
}

#[tokio::test]
async fn v2_where_both_are_lost_again_at_once_what_follows_is_above_that_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = Uid(0);
    for loss in 0..4 {
        let (index, opened) = Index::open(dir.path()).unwrap();
        assert_eq!(matches!(opened, Opened::Rebuild { .. }), loss > 1, "loss {loss}: {opened:?}");
        let account = index.account(&ann()).await.unwrap();
        let id = index.next_mailbox_id(account);
        let mut batch = Batch::new();
        batch.put_mailbox(account, &mailbox(id, 100));
        index.submit(batch).await.unwrap();
        if let Some(known) = index.remembered(&bob(), &MailboxName::inbox()) {
            assert!(loss > 0 && known.mark > given, "loss {loss}: {known:?}, given {given}");
            // More arrivals than seconds have passed.
            given = Uid(known.mark.0 + 5_000);
            let mut batch = Batch::new();
            batch.put_mailbox(account, &mailbox(id, given.0));
            index.submit(batch).await.unwrap();
        }
        index.close().await;
        fs::remove_file(dir.path().join("epoch.log")).unwrap();
        let db = dir.path().join("db/db");
        fs::write(&db, vec![0; fs::metadata(&db).unwrap().len() as usize]).unwrap();
    }
    assert_ne!(given, Uid(0));
}

#[tokio::test]
async fn an_older_format_is_read_and_is_a_newer_one_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    index.close().await;
    let written = || {
        let store = SledStore::open(&dir.path().join("db")).unwrap();
        let mut writes = Writes::default();
        let found = load::meta(&store, open::VERSION).unwrap().map(u32::from_be_bytes);
        writes.put(Key::meta(open::VERSION), 2u32.to_be_bytes().to_vec());
        store.apply(&writes).unwrap();
        found
    };
    assert_eq!(written(), Some(open::FORMAT));
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean);
    index.close().await;
    assert_eq!(written(), Some(open::FORMAT));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    index.close().await;
    let store = SledStore::open(&dir.path().join("db")).unwrap();
    let mut writes = Writes::default();
    let newer = open::FORMAT + 1;
    writes.put(Key::meta(open::VERSION), newer.to_be_bytes().to_vec());
    store.apply(&writes).unwrap();
    drop(store);
    for _ in 0..2 {
        let error = Index::open(dir.path()).err().unwrap();
        assert!(matches!(error, IndexError::Newer { found, .. } if found == newer), "{error}");
        assert!(error.to_string().contains(&dir.path().display().to_string()));
        assert!(matches!(Index::open_read_only(dir.path()), Err(IndexError::Newer { .. })));
    }
    assert!(dir.path().join("db/db").exists(), "and nothing is put aside");
}

#[tokio::test]
async fn a_directory_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Index::open_read_only(dir.path()), Err(IndexError::Missing { .. })));
    let (index, account, id) = with_inbox(dir.path()).await;
    let error = Index::open(dir.path()).err().unwrap();
    assert!(matches!(error, IndexError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()));
    assert!(matches!(Index::open_read_only(dir.path()), Err(IndexError::Locked { .. })));
    index.close().await;
    let reader = Index::open_read_only(dir.path()).unwrap();
    assert!(matches!(Index::open(dir.path()), Err(IndexError::Locked { .. })));
    assert_eq!(reader.mailboxes(account).unwrap(), [mailbox(id, 100)]);
    assert_eq!(reader.accounts().unwrap().len(), 1);
    assert_eq!(reader.load(account, id).unwrap().record.id, id);
    assert!(reader.remembered(&ann(), &MailboxName::inbox()).is_some());
    drop(reader);
    assert_eq!(Index::open(dir.path()).unwrap().1, Opened::Clean);
}

/// Opens a directory whose database is not to be trusted, and looks at what is left.
async fn expect_rebuild(dir: &Path, expected: Remembered, aside: bool) {
    let (index, opened) = Index::open(dir).unwrap();
    let Opened::Rebuild { why, put_aside } = opened else { panic!("{opened:?}") };
    assert!(!why.is_empty());
    assert_eq!(put_aside.is_some(), aside, "{why}");
    if let Some(path) = put_aside {
        assert!(path.is_dir(), "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("index.stale-"), "{name}");
    }
    assert_eq!(index.remembered(&ann(), &MailboxName::inbox()), Some(expected.clone()));
    let account = index.account(&ann()).await.unwrap();
    assert_eq!(index.mailboxes(account).await.unwrap(), []);
    index.close().await;
    // It is an index like any other from here on.
    let (index, opened) = Index::open(dir).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    assert_eq!(index.remembered(&ann(), &MailboxName::inbox()), Some(expected));
    index.close().await;
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn v2_a_map_that_is_not_the_one_that_was_written_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let map = sparse(600);
    for (sum, is_well) in [(Some(map.sum()), true), (None, true), (Some(map.sum() ^ 1), false)] {
        let record = MailboxRecord { map_sum: sum, ..mailbox(id, 2_000) };
        let mut batch = Batch::new();
        batch.put_mailbox(account, &record);
        batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
        index.submit(batch).await.unwrap();
        let loaded = index.load(account, id).await;
        assert_eq!(loaded.is_ok(), is_well, "{loaded:?}");
        assert!(is_well || matches!(loaded, Err(IndexError::Corrupt(_))), "{loaded:?}");
    }
    // A chunk less is another map.
    let mut less: Vec<Vec<Run>> = map.chunks().map(|chunk| chunk.runs().to_vec()).collect();
    assert_eq!(UidMap::from_chunks(less.clone()).unwrap().sum(), map.sum());
    less.remove(1);
    assert_ne!(UidMap::from_chunks(less).unwrap().sum(), map.sum());
    index.close().await;
}
