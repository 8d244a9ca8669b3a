//! The power goes at any step of opening and of putting back, and again while what is left is opened: no UID gets a
//! second meaning (V2, V8).

use std::fs;
use std::sync::Mutex;

use super::super::restore::restore;
use super::damage::copy_dir;
use super::*;

/// What is tried, and what it begins with.
const STARTS: [&str; 9] = [
    "all is well",
    "a batch behind",
    "the log cut short",
    "the log gone",
    "condemned",
    "the database cut short",
    "both cut short",
    "the log gone and the database zeroed",
    "the log gone and the database not to be read",
];

/// Every step that opening and putting back come to.
const STEPS: [&str; 9] = [
    "open: a file is written anew",
    "open: a file is in its place",
    "open: the loss is noted",
    "open: the database is put aside",
    "open: the marks are raised",
    "open: it is an index",
    "restore: the snapshot is in a database",
    "restore: the log knows of it",
    "restore: what was there is put aside",
];

/// What the directory is like at each step of `work`.
fn cuts(dir: &Path, work: impl FnOnce()) -> Vec<(&'static str, tempfile::TempDir)> {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let ours = std::thread::current().id();
    for step in STEPS {
        let (cuts, dir) = (Arc::clone(&cuts), dir.to_owned());
        fail::cfg_callback(step, move || {
            // Other tests come to these steps, too.
            if std::thread::current().id() == ours {
                let copy = tempfile::tempdir().unwrap();
                copy_dir(&dir, copy.path());
                cuts.lock().unwrap().push((step, copy));
            }
        })
        .unwrap();
    }
    work();
    STEPS.into_iter().for_each(fail::remove);
    std::mem::take(&mut *cuts.lock().unwrap())
}

/// An index whose INBOX has a boundary and has given out UIDs below 9,000, and whose Work has old's alone, with a
/// snapshot of before.
async fn lived(dir: &Path) {
    let (index, account, id) = with_inbox(dir).await;
    let put = async |record: MailboxRecord, map: UidMap| {
        let mut batch = Batch::new();
        batch.put_mailbox(account, &record);
        batch.put_chunks(account, record.id, &map.changed_chunks(&UidMap::default()));
        batch.edit_account(account, |record| record.phase = Some(Phase::New));
        index.submit(batch).await.unwrap();
    };
    let work = index.next_mailbox_id(account);
    let client = MailboxName::new(b"Work").unwrap();
    put(MailboxRecord { client, ..mailbox(work, 500) }, UidMap::default()).await;
    let taking = index.clone();
    tokio::task::spawn_blocking(move || taking.take_snapshot()).await.unwrap().unwrap();
    let record = MailboxRecord { boundary: Some(Uid(300)), ..mailbox(id, 9_000) };
    put(record, sparse(4_000)).await;
    index.close().await;
}

fn begin(dir: &Path, with: &str) {
    let (db, log) = (dir.join("db/db"), dir.join("epoch.log"));
    let cut = |path: &Path, parts: u64| {
        let octets = fs::metadata(path).unwrap().len();
        fs::File::options().write(true).open(path).unwrap().set_len(octets / parts).unwrap();
    };
    match with {
        "a batch behind" => {
            let octets = fs::metadata(&log).unwrap().len();
            fs::File::options().write(true).open(&log).unwrap().set_len(octets - 5).unwrap();
        }
        "the log cut short" => cut(&log, 2),
        "the log gone" => fs::remove_file(&log).unwrap(),
        "condemned" => {
            let (memory, _) = epoch::Memory::read(dir).unwrap();
            let mut log = epoch::EpochLog::start(dir, memory).unwrap();
            log.append(vec![epoch::Entry::Condemned(Some("a bad page".into()))]).unwrap();
        }
        "the database cut short" => cut(&db, 2),
        "both cut short" => {
            cut(&db, 2);
            // Not to where a crash would have torn it with such a database.
            cut(&log, 4);
        }
        "the log gone and the database zeroed" => {
            fs::remove_file(&log).unwrap();
            fs::write(&db, vec![0; fs::metadata(&db).unwrap().len() as usize]).unwrap();
        }
        "the log gone and the database not to be read" => {
            fs::remove_file(&log).unwrap();
            cut(&dir.join("db/conf"), 2);
        }
        _ => {}
    }
}

/// Whatever it is by now, what it gives out is above all that was.
async fn holds(dir: &Path, what: &str) {
    let (index, opened) = Index::open(dir).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (name, given, boundary) in [(&b"INBOX"[..], 9_000, Some(Uid(300))), (b"Work", 500, None)] {
        let known = index.remembered(&ann(), &MailboxName::new(name).unwrap());
        let known = known.unwrap_or_else(|| panic!("{what}: {opened:?}"));
        assert!(known.mark >= Uid(given) && known.boundary >= boundary, "{what}: {known:?}");
        let account = index.account(&ann()).await.unwrap();
        for record in index.mailboxes(account).await.unwrap() {
            if record.client.as_bytes() == name {
                let below = record.boundary.is_some().then_some(record.uid_next);
                assert!(below.is_none_or(|next| next >= Uid(given)), "{what}: {record:?}");
                assert!(record.boundary >= boundary, "{what}: {record:?}");
                let map = index.load(account, record.id).await.unwrap().map;
                assert!(map.is_empty() || map == sparse(4_000), "{what}: another map");
            }
        }
    }
    index.close().await;
}

#[tokio::test]
async fn v2_v8_the_power_goes_twice_at_any_step_of_opening_or_restoring() {
    let template = tempfile::tempdir().unwrap();
    lived(template.path()).await;
    let open = |dir: &Path| drop(open::open(dir).unwrap());
    let put_back = |dir: &Path| drop(restore(dir, None).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for with in STARTS {
        for (name, work) in [("open", &open as &dyn Fn(&Path)), ("restore", &put_back)] {
            let dir = tempfile::tempdir().unwrap();
            copy_dir(template.path(), dir.path());
            begin(dir.path(), with);
            let first = cuts(dir.path(), || work(dir.path()));
            for (step, cut) in first {
                seen.insert(step);
                let what = format!("{with}, {name}, cut at {step:?}");
                let copy = tempfile::tempdir().unwrap();
                copy_dir(cut.path(), copy.path());
                put_back(copy.path());
                holds(copy.path(), &format!("{what}, then put back")).await;
                let copy = tempfile::tempdir().unwrap();
                copy_dir(cut.path(), copy.path());
                for (step, cut) in cuts(copy.path(), || open(copy.path())) {
                    holds(cut.path(), &format!("{what}, then cut at {step:?}")).await;
                }
                holds(cut.path(), &what).await;
            }
            holds(dir.path(), &format!("{with}, {name}")).await;
        }
    }
    assert!(STEPS.iter().all(|step| seen.contains(step)), "{seen:?}");
}
