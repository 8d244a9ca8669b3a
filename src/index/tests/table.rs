//! Every file of the index, damaged in every way: what opens tells the truth, and where it cannot, no UID gets a
//! second meaning.

use std::fs;
use std::path::PathBuf;

use super::damage::copy_dir;
use super::*;

/// What becomes of a file.
const DAMAGES: [&str; 7] = [
    "cut short",
    "its end zeroed",
    "its beginning zeroed",
    "a bit of it flipped",
    "a sector of it torn",
    "older in the middle",
    "zeros behind it",
];

/// Does it at the `part`th of so many places.
fn damage(octets: &mut Vec<u8>, how: &str, part: usize) {
    let (len, at) = (octets.len(), octets.len() * part / PARTS);
    let sector = at & !511;
    match how {
        "cut short" => octets.truncate(at),
        "its end zeroed" => octets[at..].fill(0),
        "its beginning zeroed" => octets[..len * (part + 1) / PARTS].fill(0),
        "a bit of it flipped" => {
            // Not always the same place in a page.
            if let Some(octet) = octets.get_mut((at + part * 37).min(len.saturating_sub(1))) {
                *octet ^= 1 << (part % 8);
            }
        }
        "a sector of it torn" => octets[sector..(sector + 512).min(len)].fill(0x5a),
        "older in the middle" => {
            let from = sector.saturating_sub(4096);
            octets.copy_within(from..from + (len - sector).min(4096), sector);
        }
        "zeros behind it" => octets.resize(len + part * 1000, 0),
        other => panic!("no damage {other}"),
    }
}

const PARTS: usize = 8;

/// What was put, and must be found again or not be shown.
struct Truth {
    dir: tempfile::TempDir,
    accounts: Vec<(AccountName, AccountId, AccountRecord)>,
    mailboxes: Vec<(AccountName, AccountId, MailboxRecord, UidMap)>,
}

impl Truth {
    async fn put() -> Truth {
        let dir = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(dir.path()).unwrap();
        let mut mailboxes = Vec::new();
        for (name, phase) in [(ann(), Phase::New), (bob(), Phase::Merged)] {
            let account = index.account(&name).await.unwrap();
            for (client, boundary) in [(&b"INBOX"[..], Some(Uid(9))), (b"Work", None)] {
                let id = index.next_mailbox_id(account);
                let client = MailboxName::new(client).unwrap();
                let mut before = UidMap::default();
                for n in 1..=20u32 {
                    let map = sparse(1_000 * n);
                    let record = MailboxRecord {
                        client: client.clone(),
                        boundary,
                        mod_seq: n.into(),
                        map_sum: Some(map.sum()),
                        ..mailbox(id, 2_000 * n + 1)
                    };
                    let mut batch = Batch::new();
                    batch.put_mailbox(account, &record);
                    batch.put_chunks(account, id, &map.changed_chunks(&before));
                    batch.edit_account(account, move |record| record.phase = Some(phase));
                    index.submit(batch).await.unwrap();
                    before = map.clone();
                    if n == 20 {
                        mailboxes.push((name.clone(), account, record, map));
                    }
                }
            }
        }
        let accounts = index.accounts().await.unwrap();
        index.close().await;
        Truth { dir, accounts, mailboxes }
    }

    fn files(&self) -> Vec<PathBuf> {
        fn collect(dir: &Path, all: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                match entry.path().is_dir() {
                    true => collect(&entry.path(), all),
                    false => all.push(entry.path()),
                }
            }
        }
        let mut all = Vec::new();
        collect(self.dir.path(), &mut all);
        all.retain(|file| !file.ends_with("lock"));
        all.sort();
        all
    }

    /// A copy of it in which these files are damaged.
    fn damaged(&self, damages: &[(&Path, &str, usize)]) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        for (file, how, part) in damages {
            let file = copy.path().join(file.strip_prefix(self.dir.path()).unwrap());
            let mut octets = fs::read(&file).unwrap();
            damage(&mut octets, how, *part);
            fs::write(&file, octets).unwrap();
        }
        copy
    }

    /// Opens it until all damage is found. How often it was put aside, or stood as empty. With two files damaged, it
    /// may be an older one, and what it knew of accounts may be lost.
    async fn holds_in(&self, dir: &Path, what: &str, damaged: usize) -> usize {
        let mut lost = 0;
        for start in 0..3 {
            let what = format!("{what}, start {start}");
            let (index, opened) = match Index::open(dir) {
                Ok(opened) => opened,
                // One octet tells which version wrote the log.
                Err(IndexError::Newer { found, .. }) if found > open::FORMAT => return 0,
                Err(error) => panic!("{what}: {error}"),
            };
            lost += usize::from(opened != Opened::Clean);
            let mut well = true;
            for (name, account, record, map) in &self.mailboxes {
                let known = index.remembered(name, &record.client);
                let known = known.unwrap_or_else(|| panic!("{what}: {opened:?}"));
                assert!(known.mark >= record.uid_next, "{what}: {known:?}");
                assert!(known.boundary >= record.boundary, "{what}: {known:?}");
                match index.load(*account, record.id).await {
                    Ok(Stored { record: is, map: shown, .. }) => {
                        assert_eq!(is.uid_validity, record.uid_validity, "{what}");
                        let bounded = is.boundary == record.boundary || record.boundary.is_none();
                        assert!(is.uid_next >= record.uid_next && bounded, "{what}: {is:?}");
                        let older = damaged > 1 && shown == sparse(shown.len());
                        assert!(shown == *map || older, "{what}: another map");
                    }
                    Err(IndexError::Corrupt(_)) => well = false,
                    Err(IndexError::UnknownMailbox(..)) if lost > 0 || damaged > 1 => {}
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            let accounts = index.accounts().await.unwrap();
            assert!(accounts == self.accounts || damaged > 1 || !well, "{what}: {opened:?}");
            index.close().await;
            if well {
                return lost;
            }
        }
        panic!("{what}: the damage is never dealt with");
    }
}

#[tokio::test]
async fn v2_v8_whichever_file_is_damaged_and_however_no_other_map_is_shown() {
    let truth = Truth::put().await;
    let mut lost = 0;
    for file in truth.files() {
        for how in DAMAGES {
            for part in 0..PARTS {
                let what = format!("{} {how}, {part}", file.display());
                let copy = truth.damaged(&[(&file, how, part)]);
                lost += truth.holds_in(copy.path(), &what, 1).await;
            }
        }
        let copy = truth.damaged(&[]);
        fs::remove_file(copy.path().join(file.strip_prefix(truth.dir.path()).unwrap())).unwrap();
        lost += truth.holds_in(copy.path(), &format!("{} gone", file.display()), 1).await;
    }
    assert!(lost > 10, "{lost}");
}

/// Where the log lost its end and the database did too, nobody knows what the last batches were: of what they gave
/// out, nothing is given out again.
#[tokio::test]
async fn v2_v8_where_the_log_is_damaged_as_well_no_uid_is_given_out_again() {
    let truth = Truth::put().await;
    let log = truth.dir.path().join("epoch.log");
    let mut lost = 0;
    for file in truth.files().into_iter().filter(|file| *file != log) {
        for how in DAMAGES {
            for of_log in DAMAGES {
                for part in [2, 6] {
                    let other = (part * 3 + 1) % PARTS;
                    let what = format!("{} {how}, {part}, log {of_log}, {other}", file.display());
                    let copy = truth.damaged(&[(&file, how, part), (&log, of_log, other)]);
                    lost += truth.holds_in(copy.path(), &what, 2).await;
                }
            }
        }
    }
    assert!(lost > 10, "{lost}");
}
