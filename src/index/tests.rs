//! The index as a whole: what V2 and V8 promise, through crashes and damage.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::keys::Key;
use super::sled_store::SledStore;
use super::store::{MemoryStore, Writes};
use super::*;
use crate::base::Sides;
use crate::uid::{Place, Run, SideUid, Uid, UidMap, UidSet};

#[tokio::test]
async fn what_was_put_comes_back_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Fresh);
    let account = index.account(&ann()).await.unwrap();
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    let id = index.next_mailbox_id(account);
    let record = MailboxRecord {
        old: MailboxName::new(b"INBOX"),
        new: MailboxName::new(b"In&AOk-box"),
        boundary: Some(Uid(400)),
        sides: Sides {
            old: Some(Snapshot {
                uid_validity: 7,
                uid_next: SideUid(300),
                messages: 3,
                highest_mod_seq: Some(1 << 40),
            }),
            new: None,
        },
        mod_seq: 99,
        checkpoints: vec![(9, Sides { old: 9, new: 0 })],
        hidden: true,
        ..mailbox(id, 500)
    };
    let map = sparse(1_000);
    let intent = an_intent();
    let stuck = Stuck { reason: "NO [LIMIT] too long".into(), tries: 3, next_try: 1_800_000_000 };
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.put_mailbox(account, &record);
    batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
    batch.put_intent(account, id, Uid(5), Direction::ToNew, &intent);
    batch.put_intent(account, id, Uid(5), Direction::ToOld, &intent);
    batch.put_stuck(account, id, Uid(6), &stuck);
    batch.put_profile(Side::New, b"profile".to_vec());
    assert!(!batch.is_empty());
    index.submit(batch).await.unwrap();
    let account_record = AccountRecord { phase: Some("merged".into()), ..AccountRecord::default() };
    let mut batch = Batch::new();
    batch.put_account(account, &ann(), &account_record);
    index.submit(batch).await.unwrap();
    index.close().await;

    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    assert_eq!(index.mailboxes(account).await.unwrap(), std::slice::from_ref(&record));
    let stored = index.load(account, id).await.unwrap();
    assert_eq!(stored.record, record);
    assert_eq!(stored.map, map);
    let both = [Direction::ToNew, Direction::ToOld].map(|way| (Uid(5), way, intent.clone()));
    assert_eq!(stored.intents, both);
    assert_eq!(stored.stuck, [(Uid(6), stuck)]);
    assert_eq!(index.profile(Side::New).await.unwrap().as_deref(), Some(&b"profile"[..]));
    assert_eq!(index.profile(Side::Old).await.unwrap(), None);

    let mut batch = Batch::new();
    batch.del_intent(account, id, Uid(5), Direction::ToOld);
    batch.del_stuck(account, id, Uid(6));
    index.submit(batch).await.unwrap();
    let stored = index.load(account, id).await.unwrap();
    assert_eq!(stored.intents, [(Uid(5), Direction::ToNew, intent)]);
    assert_eq!(stored.stuck, []);
    let all = tokio::task::spawn_blocking(move || index.accounts()).await.unwrap().unwrap();
    assert_eq!(all, [(ann(), account, account_record)]);
}

#[tokio::test]
async fn a_changed_map_is_stored_by_its_changed_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let mut stored = UidMap::default();
    let mut map = sparse(3_000);
    for round in 0..40u32 {
        let mut batch = Batch::new();
        batch.put_chunks(account, id, &map.changed_chunks(&stored));
        index.submit(batch).await.unwrap();
        assert_eq!(index.load(account, id).await.unwrap().map, map, "round {round}");
        stored = map.clone();
        let uids = |from: u32, to: u32| UidSet::from_ranges([(Uid(from), Uid(to))]);
        let at = round * 7919 % 5_000;
        map.remove(&uids(at.max(1), at + round * 40));
        map.set_place(Uid(2 * (round + 1)), Place::New(SideUid(9_000 + round)));
        map.push(Uid(20_000 + 2 * round), 1, Place::New(SideUid(10_000 + 2 * round))).unwrap();
    }
}

#[tokio::test]
async fn batches_become_durable_in_order_and_dropping_the_answer_cancels_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    for n in 1..=2_000 {
        let mut batch = Batch::new();
        batch.put_mailbox(account, &MailboxRecord { mod_seq: n, ..mailbox(id, 1) });
        drop(index.submit(batch));
    }
    // A read sees what was queued before it; an empty batch is a barrier.
    assert_eq!(index.load(account, id).await.unwrap().record.mod_seq, 2_000);
    index.submit(Batch::new()).await.unwrap();
    index.close().await;
    let (index, _) = Index::open(dir.path()).unwrap();
    assert_eq!(index.load(account, id).await.unwrap().record.mod_seq, 2_000);
}

#[tokio::test]
async fn a_mailbox_number_is_never_given_out_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let second = index.next_mailbox_id(account);
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(second, 1));
    batch.put_intent(account, second, Uid(1), Direction::ToNew, &an_intent());
    batch.put_chunks(account, second, &sparse(600).changed_chunks(&UidMap::default()));
    batch.put_stuck(
        account,
        second,
        Uid(1),
        &Stuck { reason: String::new(), tries: 1, next_try: 1 },
    );
    index.submit(batch).await.unwrap();
    let mut batch = Batch::new();
    batch.delete_mailbox(account, second);
    index.submit(batch).await.unwrap();
    assert!(matches!(
        index.load(account, second).await,
        Err(IndexError::UnknownMailbox(a, m)) if a == account && m == second
    ));
    assert_eq!(index.load(account, id).await.unwrap().record.id, id, "the other is untouched");
    index.close().await;
    let (index, _) = Index::open(dir.path()).unwrap();
    let third = index.next_mailbox_id(account);
    assert!(third > second, "{third:?}");
    // Nothing of the deleted one was left behind for whoever would get its number.
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(second, 1));
    index.submit(batch).await.unwrap();
    let stored = index.load(account, second).await.unwrap();
    assert!(stored.map.is_empty() && stored.intents.is_empty() && stored.stuck.is_empty());
}

#[tokio::test]
async fn a_batch_for_an_unknown_account_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let mut stray = Batch::new();
    stray.put_mailbox(AccountId(77), &mailbox(MailboxId(1), 1));
    let mut good = Batch::new();
    good.put_mailbox(account, &mailbox(id, 2));
    let (stray, good) = (index.submit(stray), index.submit(good));
    assert!(matches!(stray.await, Err(IndexError::UnknownAccount(AccountId(77)))));
    good.await.unwrap();
    assert_eq!(index.mailboxes(AccountId(77)).await.unwrap(), []);
}

#[tokio::test]
async fn v2_nothing_is_acknowledged_or_read_after_a_failed_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut parts, _) = open::open(dir.path()).unwrap();
    parts.store = Box::new(FullDisk { inner: MemoryStore::default(), left: 2.into() });
    let index = Index::start(dir.path(), parts).unwrap();
    let account = index.account(&ann()).await.unwrap();
    let id = index.next_mailbox_id(account);
    let put = |uid_next| {
        let mut batch = Batch::new();
        batch.put_mailbox(account, &mailbox(id, uid_next));
        index.submit(batch)
    };
    put(10).await.unwrap();
    assert!(matches!(put(20).await, Err(IndexError::Io { .. })));
    assert!(matches!(put(30).await, Err(IndexError::Failed(_))));
    assert!(matches!(index.load(account, id).await, Err(IndexError::Failed(_))));
    assert!(matches!(index.account(&bob()).await, Err(IndexError::Failed(_))));
    assert_eq!(index.remembered(&ann(), &MailboxName::inbox()).unwrap().mark, Uid(1_034));
    let other = index.clone();
    index.close().await;
    assert!(matches!(other.submit(Batch::new()).await, Err(IndexError::Closed)));
    assert!(matches!(other.mailboxes(account).await, Err(IndexError::Closed)));
}

/// Writes a message a batch until it is killed, eight batches in flight, and says which are
/// acknowledged. The process that does so is this test again, told by its environment.
#[test]
fn v2_v8_what_was_acknowledged_survives_kill_9() {
    const CHILD: &str = "MAILFERRY_CRASH_CHILD";
    if let Some(dir) = std::env::var_os(CHILD) {
        runtime().block_on(write_until_killed(Path::new(&dir)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["index::tests::v2_v8_what_was_acknowledged_survives_kill_9", "--exact"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            // Not a wait for anything: the moment of death is what varies.
            std::thread::sleep(Duration::from_millis(60 + round * 37 % 200));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in output.lines().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("acknowledged ") {
                // A line cut by the kill may end early, and is then a smaller number.
                acknowledged = acknowledged.max(n.parse().unwrap_or(0));
            }
        }
        killer.join().unwrap();

        let (index, opened) = Index::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Clean | Opened::Fresh), "round {round}: {opened:?}");
        runtime().block_on(async {
            let account = index.account(&ann()).await.unwrap();
            let Ok(stored) = index.load(account, MailboxId(1)).await else {
                assert_eq!(acknowledged, 0, "round {round}");
                return index.close().await;
            };
            let last = u32::try_from(stored.record.mod_seq).unwrap();
            assert!(last >= acknowledged, "round {round}: {last} of {acknowledged}");
            // In order and whole: all messages up to the last one and none beyond it.
            assert_eq!(stored.map, sparse(last), "round {round}");
            assert_eq!(stored.record.uid_next, Uid(2 * last + 1));
            let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
            assert!(remembered.mark >= stored.record.uid_next, "round {round}: {remembered:?}");
            index.close().await;
        });
    }
    assert!(acknowledged > 100, "only {acknowledged} batches in all rounds");
}

async fn write_until_killed(dir: &Path) {
    let (index, _) = Index::open(dir).unwrap();
    let account = index.account(&ann()).await.unwrap();
    let id = MailboxId(1);
    let mut map = match index.load(account, id).await {
        Ok(stored) => stored.map,
        Err(_) => UidMap::default(),
    };
    let mut pending = VecDeque::new();
    for n in map.len() + 1.. {
        let before = map.clone();
        map.push(Uid(2 * n), 1, Place::New(SideUid(n))).unwrap();
        let mut batch = Batch::new();
        batch.put_chunks(account, id, &map.changed_chunks(&before));
        let record = MailboxRecord { mod_seq: n.into(), ..mailbox(id, 2 * n + 1) };
        batch.put_mailbox(account, &record);
        pending.push_back((n, index.submit(batch)));
        if pending.len() >= 8
            && let Some((n, pending)) = pending.pop_front()
        {
            pending.await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "acknowledged {n}").unwrap();
            out.flush().unwrap();
        }
    }
}

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
    expect_rebuild(dir.path(), remembered, false).await;
    // And once more, right after a rebuild.
    fs::remove_file(dir.path().join("db/db")).unwrap();
    expect_rebuild(dir.path(), remembered, true).await;
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
    assert_eq!(first, Remembered { uid_validity: 7, boundary: None, mark: Uid(1_124) });
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
    assert_eq!(again, Remembered { uid_validity: 8, boundary: None, mark: Uid(1_025) });
    assert_eq!(put(mailbox(id, u32::MAX)).await.mark, Uid(u32::MAX));
    assert_eq!(index.remembered(&bob(), &MailboxName::inbox()), None);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    index.close().await;
    let store = SledStore::open(&dir.path().join("db")).unwrap();
    let mut writes = Writes::default();
    writes.put(Key::meta(open::VERSION), 2u32.to_be_bytes().to_vec());
    store.apply(&writes).unwrap();
    drop(store);
    for _ in 0..2 {
        let error = Index::open(dir.path()).err().unwrap();
        assert!(matches!(error, IndexError::Newer { found: 2, known: 1, .. }), "{error}");
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

#[tokio::test]
async fn a_hundred_thousand_messages_take_a_run_and_half_of_them_half_a_megabyte() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let whole = UidMap::from_runs([run(1, 100_000)]).unwrap();
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &whole.changed_chunks(&UidMap::default()));
    index.submit(batch).await.unwrap();
    let dump = index.dump(None, 10).await.unwrap();
    let shown = &dump.accounts[0].mailboxes[0];
    assert_eq!((shown.runs, shown.messages.old), (1, 100_000));
    assert!(shown.bytes < 200, "{}", shown.bytes);

    let mut state = 1u64;
    let mut coin = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 63 == 0
    };
    let mut half = whole.clone();
    half.remove(&UidSet::from_ranges(
        (1..=100_000).map(Uid).filter(|_| coin()).map(|uid| (uid, uid)),
    ));
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &half.changed_chunks(&whole));
    index.submit(batch).await.unwrap();
    let dump = index.dump(None, 0).await.unwrap();
    let (runs, bytes) = {
        let shown = &dump.accounts[0].mailboxes[0];
        (shown.runs, shown.bytes)
    };
    assert!(runs > 24_000, "{runs}");
    assert!(bytes < 60_000, "{bytes} octets of keys and values for {runs} runs");
    index.close().await;
    let on_disk = dump::bytes_on_disk(dir.path());
    assert!(on_disk < 500_000, "{on_disk} octets on disk for {bytes}");
    let (index, _) = Index::open(dir.path()).unwrap();
    assert_eq!(index.load(account, id).await.unwrap().map, half);
}

#[tokio::test]
async fn a_dump_shows_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    index.account(&bob()).await.unwrap();
    let mut map = UidMap::from_runs([run(1, 3), run(7, 1)]).unwrap();
    map.set_place(Uid(7), Place::Both { old: SideUid(7), new: SideUid(70) });
    let mut batch = Batch::new();
    let name = MailboxName::new(b"A \x1b[31m\"b\"").unwrap();
    let record = MailboxRecord { client: name, old: MailboxName::new(b"B"), ..mailbox(id, 100) };
    batch.put_mailbox(account, &record);
    batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
    batch.put_intent(account, id, Uid(2), Direction::ToNew, &an_intent());
    let reason = "NO over\r\nquota".to_owned();
    batch.put_stuck(account, id, Uid(3), &Stuck { reason, tries: 2, next_try: 5 });
    index.submit(batch).await.unwrap();
    let dump = index.dump(Some(ann()), 1).await.unwrap();
    let text = dump.to_string();
    for line in [
        "account ann@example.com (number 1)",
        "  mailbox \"A \\x1b[31m\\\"b\\\"\" (number 1)",
        "    UIDVALIDITY 7  UIDNEXT 100  HIGHESTMODSEQ 1",
        "    old: \"B\"  never absorbed",
        "      1:3  old 1:3",
        "      … and 1 more",
        "    stuck 3 after 2 tries, next 5: NO over\\r\\nquota",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\nnot in\n{text}");
    }
    assert!(text.contains("4 messages: 3 on old, 0 on new, 1 on both; 2 runs"), "{text}");
    assert!(!text.contains("bob"), "{text}");
    let json = serde_json::to_value(&dump).unwrap();
    let inbox = &json["accounts"][0]["mailboxes"][0];
    assert_eq!(inbox["messages"]["both"], 1);
    assert_eq!(inbox["first_runs"][0]["old"], 1);
    assert_eq!(inbox["intents"][0]["direction"], "to new");
    assert_eq!(inbox["intents"][0]["hash"], "ab".repeat(32));
    assert_eq!(index.dump(None, 0).await.unwrap().accounts.len(), 2);
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
    assert_eq!(index.remembered(&ann(), &MailboxName::inbox()), Some(expected));
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

/// A fresh index with one account and its INBOX, UIDNEXT 100.
async fn with_inbox(dir: &Path) -> (Index, AccountId, MailboxId) {
    let (index, opened) = Index::open(dir).unwrap();
    assert_eq!(opened, Opened::Fresh);
    let account = index.account(&ann()).await.unwrap();
    let id = index.next_mailbox_id(account);
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(id, 100));
    index.submit(batch).await.unwrap();
    (index, account, id)
}

fn mailbox(id: MailboxId, uid_next: u32) -> MailboxRecord {
    MailboxRecord {
        id,
        client: MailboxName::inbox(),
        old: None,
        new: None,
        uid_validity: 7,
        uid_next: Uid(uid_next),
        boundary: None,
        sides: Sides { old: None, new: None },
        mod_seq: 1,
        checkpoints: vec![],
        hidden: false,
    }
}

/// As many messages, each a run of its own.
fn sparse(messages: u32) -> UidMap {
    let place = |n| Place::New(SideUid(n));
    UidMap::from_runs((1..=messages).map(|n| Run { uid: Uid(2 * n), len: 1, place: place(n) }))
        .unwrap()
}

fn run(uid: u32, len: u32) -> Run {
    Run { uid: Uid(uid), len, place: Place::Old(SideUid(uid)) }
}

fn an_intent() -> Intent {
    Intent {
        new_uid_next: SideUid(12),
        octets: 5_000_000_000,
        internal_date: "01-Jan-2020 00:00:00 +0000".into(),
        hash: [0xab; 32],
        written_at: 1_700_000_000,
        closed: false,
    }
}

fn ann() -> AccountName {
    AccountName::canonical("ann@example.com", None).unwrap()
}

fn bob() -> AccountName {
    AccountName::canonical("bob@example.com", None).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
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

/// A store whose disk is full after so many batches.
struct FullDisk {
    inner: MemoryStore,
    left: std::sync::atomic::AtomicU32,
}

impl Store for FullDisk {
    fn value(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        self.inner.value(key)
    }

    fn scan(
        &self,
        prefix: &Key,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.inner.scan(prefix, visit)
    }

    fn apply(&self, writes: &Writes) -> Result<(), IndexError> {
        use std::sync::atomic::Ordering::Relaxed;
        // As a real engine would: in memory it is there, on the disk it is not.
        self.inner.apply(writes)?;
        match self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(IndexError::io("write", Path::new("db"))(full))
            }
        }
    }
}
