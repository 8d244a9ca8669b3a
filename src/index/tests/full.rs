//! The disk is full at some moment, and has room again later: nothing acknowledged is lost, what is sound is not put
//! aside, and what could not be noted is not passed over.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::super::keys::Key;
use super::super::restore::restore;
use super::super::sled_store::SledStore;
use super::super::store::Writes;
use super::damage::copy_dir;
use super::*;

/// In the environment of the process that has it: where the small disk is.
const DISK: &str = "MAILFERRY_SMALL_DISK";

/// So many KiB are left when it is tried.
const LEFT: [u64; 8] = [0, 4, 12, 16, 32, 128, 256, 1024];

/// What is tried.
const WORKS: [&str; 7] = [
    "open",
    "open a damaged one",
    "open without a log",
    "write",
    "take a snapshot",
    "restore",
    "condemn",
];

#[test]
fn v2_v8_a_disk_that_is_full_at_any_step_costs_nothing_acknowledged() {
    if let Some(disk) = std::env::var_os(DISK) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(on_a_small_disk(Path::new(&disk)));
    }
    // The process that tries it is this test again, in mounts of its own.
    let disk = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=16m disk \"$0\"; exec \"$@\"";
    let name =
        "index::tests::full::v2_v8_a_disk_that_is_full_at_any_step_costs_nothing_acknowledged";
    let done = Command::new("unshare")
        .args(["--mount", "sh", "-ec", mount])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(DISK, disk.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn on_a_small_disk(disk: &Path) {
    let template = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(template.path()).await;
    put(&index, account, id, 0, 3_000).await.unwrap();
    take(&index).await.unwrap();
    put(&index, account, id, 3_000, 4_000).await.unwrap();
    index.close().await;
    let (mut refused, mut done) = (0, 0);
    for work in WORKS {
        for left in LEFT {
            let what = format!("{work}, {left} KiB left");
            let dir = disk.join("index");
            copy_dir(template.path(), &dir);
            match work {
                "open a damaged one" => {
                    fs::File::options()
                        .write(true)
                        .open(dir.join("db/db"))
                        .unwrap()
                        .set_len(9_000)
                        .unwrap();
                }
                "open without a log" => fs::remove_file(dir.join("epoch.log")).unwrap(),
                "condemn" => {
                    let store = SledStore::open(&dir.join("db")).unwrap();
                    let mut writes = Writes::default();
                    writes.put(Key::runs(account, id, Uid(1)), vec![1, 9, 9, 9]);
                    store.apply(&writes).unwrap();
                }
                _ => {}
            }
            let in_use = work == "write" || work == "take a snapshot" || work == "condemn";
            let opened = if in_use { Some(Index::open(&dir).unwrap().0) } else { None };
            let filler = fill(disk, left << 10);
            let mut acknowledged = 4_000;
            let went_well = match (work, opened) {
                ("restore", _) => restore(&dir, None).is_ok(),
                ("write", Some(index)) => {
                    let mut last = Ok(());
                    while last.is_ok() && acknowledged < 4_300 {
                        last = put(&index, account, id, acknowledged, acknowledged + 1).await;
                        acknowledged += u32::from(last.is_ok());
                    }
                    index.close().await;
                    last.is_ok()
                }
                ("condemn", Some(index)) => {
                    assert!(matches!(index.load(account, id).await, Err(IndexError::Corrupt(_))));
                    // It is noted when the answer is on its way; who asks again waits for that.
                    drop(index.load(account, id).await);
                    fs::remove_file(&filler).unwrap();
                    // What stood behind half a note would not be read again.
                    let noted = epoch::Memory::read(&dir).unwrap().0.condemned.is_some();
                    let mut batch = Batch::new();
                    batch.put_mailbox(account, &mailbox(id, 100));
                    assert_eq!(index.submit(batch).await.is_ok(), noted, "{what}");
                    index.close().await;
                    noted
                }
                (_, Some(index)) => {
                    let taken = take(&index).await;
                    index.close().await;
                    taken.is_ok()
                }
                (_, None) => match Index::open(&dir) {
                    Ok((index, _)) => {
                        index.close().await;
                        true
                    }
                    Err(error) => {
                        assert!(
                            error.to_string().contains("No space left on device"),
                            "{what}: {error}"
                        );
                        false
                    }
                },
            };
            (refused, done) = if went_well { (refused, done + 1) } else { (refused + 1, done) };
            // It may be gone already.
            let _ = fs::remove_file(&filler);

            let (index, opened) = Index::open(&dir).unwrap_or_else(|e| panic!("{what}: {e}"));
            let known = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
            assert!(known.mark > Uid(2 * acknowledged), "{what}: {known:?}");
            if work != "open a damaged one" && work != "condemn" {
                assert_eq!(opened, Opened::Clean, "{what}");
                let stored = index.load(account, id).await.unwrap();
                let there = if work == "restore" && went_well { 3_000 } else { acknowledged };
                assert!(stored.map == sparse(there) || stored.map == sparse(there + 1), "{what}");
                assert!(stored.record.uid_next > Uid(2 * there), "{what}");
            }
            index.close().await;
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    assert!(refused > 10 && done > 10, "{refused} were refused, {done} done");
}

/// From so many messages in the mailbox to so many.
async fn put(
    index: &Index,
    account: AccountId,
    id: MailboxId,
    from: u32,
    to: u32,
) -> Result<(), IndexError> {
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(id, 2 * to + 1));
    batch.put_chunks(account, id, &sparse(to).changed_chunks(&sparse(from)));
    index.submit(batch).await
}

async fn take(index: &Index) -> Result<SnapshotFile, IndexError> {
    let index = index.clone();
    tokio::task::spawn_blocking(move || index.take_snapshot()).await.unwrap()
}

/// Fills the disk until so many octets are left.
fn fill(disk: &Path, left: u64) -> PathBuf {
    let there = rustix::fs::statvfs(disk).unwrap();
    let octets = (there.f_bavail * there.f_frsize).saturating_sub(left);
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; usize::try_from(octets).unwrap()]).unwrap();
    filler
}
