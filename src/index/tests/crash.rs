//! Killed at any moment, or out of disk: what was acknowledged is there, and nothing else is shown.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::keys::Key;
use super::super::store::{MemoryStore, Writes};
use super::*;

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
            .args(["index::tests::crash::v2_v8_what_was_acknowledged_survives_kill_9", "--exact"])
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
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
