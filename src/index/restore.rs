//! Putting an index back from a snapshot.
//!
//! What is put back is older than what was lost, and must be right all the same:
//!
//! - No UID gets a second meaning (V2): the epoch log, which outlives the database, knows each
//!   mailbox's boundary and mark, and they win. Where the log is lost too, the time of day stands in
//!   for them, and a leap above it.
//! - Intents are forgotten. What they were about is decided by now: a copy that was made since is an
//!   arrival on new, and is matched with its original; held against an intent that was settled long
//!   ago it might be taken for a stray one, and be removed.
//! - HIGHESTMODSEQ goes on above all that can have been told since.
//! - Accounts stay in the phase in which they were last: the epoch log knows their records, too.
//! - A mailbox whose name has been given up, or belongs to another one by now, is hidden.
//!
//! All else that happened since is absorbed from both servers, as after an outage of the proxy. What
//! was deleted meanwhile on new, and copied there meanwhile, is seen again from old: nobody knows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Serialize;

use super::encoding::{pack_mailbox, unpack_account, unpack_mailbox};
use super::epoch::{Found, Memory, Remembered};
use super::error::IndexError;
use super::keys::{Key, Tree, number_in};
use super::load;
use super::open::{self, FORMAT, SEQUENCE, VERSION};
use super::records::{AccountId, MailboxId, MailboxRecord};
use super::sled_store::SledStore;
use super::snapshot::{SnapshotFile, replay, snapshots};
use super::store::{Store, Writes};
use super::unix_now;
use crate::base::{AccountName, Sides, Utc, step};
use crate::uid::Uid;

/// What was put back.
#[derive(Clone, Serialize, Debug)]
pub struct Restored {
    /// From what.
    pub snapshot: SnapshotFile,
    /// Where the database lies now that was there, if one was.
    pub put_aside: Option<PathBuf>,
    /// How many accounts it has.
    pub accounts: usize,
    /// How many mailboxes.
    pub mailboxes: usize,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restored { snapshot, put_aside, accounts, mailboxes } = self;
        writeln!(
            f,
            "put back as of {}: {accounts} accounts, {mailboxes} mailboxes",
            snapshot.taken_at
        )?;
        if let Some(place) = put_aside {
            writeln!(f, "what was there lies in {} and may be deleted", place.display())?;
        }
        writeln!(f, "what happened since is taken from the servers when the proxy runs again")
    }
}

/// Puts back the newest snapshot, or the newest that is not younger than `at`. The directory must
/// not be in use; the database that is there is put aside. Blocks.
pub fn restore(dir: &Path, at: Option<Utc>) -> Result<Restored, IndexError> {
    if !dir.exists() {
        return Err(IndexError::Missing { dir: dir.to_owned() });
    }
    let lock = open::lock(dir)?;
    let mut all = snapshots(dir)?;
    all.retain(|file| at.is_none_or(|at| file.taken_at <= at));
    let Some(snapshot) = all.pop() else {
        return Err(IndexError::NoSnapshot { dir: dir.to_owned() });
    };
    if snapshot.format > FORMAT {
        let (found, known) = (snapshot.format, FORMAT);
        return Err(IndexError::Newer { found, known, dir: dir.to_owned() });
    }
    let (mut memory, found) = Memory::read(dir)?;
    if found != Found::Whole {
        memory.doubt(dir, unix_now())?;
    }
    // Above whatever the database that is there may end at: once the log knows of it, that one counts no more.
    memory.sequence = memory.sequence.max(snapshot.sequence).saturating_add(BATCHES);
    let fresh = dir.join(FRESH);
    remove(&fresh)?;
    // Nothing of what is there is touched before all of it is on the disk.
    let built = build(&fresh, &snapshot, &mut memory).and_then(|built| {
        step("restore: the snapshot is in a database");
        memory.condemned = None;
        memory.write(dir)?;
        Ok(built)
    });
    if built.is_err() {
        // It takes room that may be needed; the next one removes what this one leaves.
        let _ = remove(&fresh);
    }
    let (accounts, mailboxes) = built?;
    step("restore: the log knows of it");
    let put_aside = open::put_aside(dir)?;
    step("restore: what was there is put aside");
    let db = dir.join(open::DB);
    fs::rename(&fresh, &db).map_err(IndexError::io("put in its place", &fresh))?;
    open::sync_dir(dir)?;
    drop(lock);
    Ok(Restored { snapshot, put_aside, accounts, mailboxes })
}

/// Makes a database of a snapshot, and tells the memory what it knows. Returns how many accounts and mailboxes
/// it has.
fn build(
    place: &Path,
    snapshot: &SnapshotFile,
    memory: &mut Memory,
) -> Result<(usize, usize), IndexError> {
    let store = SledStore::open(place)?;
    let mut restoring = Restoring::new(memory, snapshot.taken_at);
    let mut writes = Writes::default();
    replay(snapshot, |key, value| {
        if let Some((key, value)) = restoring.entry(key, value)? {
            writes.put(key, value);
        }
        if writes.0.len() < WRITES {
            return Ok(());
        }
        store.apply(&std::mem::take(&mut writes))
    })?;
    let (accounts, mailboxes) = (restoring.accounts.len(), restoring.mailboxes);
    writes.put(Key::meta(VERSION), FORMAT.to_be_bytes().to_vec());
    writes.put(Key::meta(SEQUENCE), memory.sequence.to_be_bytes().to_vec());
    store.apply(&writes)?;
    open::put_remembered(&store, memory)?;
    open::sync_dir(place)?;
    let sequence = memory.sequence;
    open::catch_up(&store, memory, &load::accounts(&store)?, sequence)?;
    Ok((accounts, mailboxes))
}

/// Makes a database right that may have lost its end unnoticed, for the log lost its own: as if it had been put
/// back, of now.
pub fn raise(store: &dyn Store, floor: Uid) -> Result<(), IndexError> {
    let mut writes = Writes::default();
    writes.remove_all(&Key::tree(Tree::Intents), store)?;
    for (_, account, _) in load::accounts(store)? {
        for mut record in load::mailboxes(store, account)? {
            record.restored = Sides { old: record.boundary.is_none(), new: true };
            record.late = false;
            record.boundary = record.boundary.or(Some(floor));
            record.uid_next = record.uid_next.max(floor);
            record.mod_seq = record.mod_seq.saturating_add(MOD_SEQ_LEAP);
            writes.put(Key::mailbox(account, record.id), pack_mailbox(&record));
        }
        if writes.0.len() >= WRITES {
            store.apply(&std::mem::take(&mut writes))?;
        }
    }
    store.apply(&writes)
}

fn remove(dir: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(IndexError::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// Makes of a snapshot's entries what is to be written now.
struct Restoring<'a> {
    memory: &'a Memory,
    taken_at: Utc,
    now: u64,
    accounts: HashMap<u32, AccountName>,
    mailboxes: usize,
}

impl<'a> Restoring<'a> {
    fn new(memory: &'a Memory, taken_at: Utc) -> Restoring<'a> {
        let accounts = HashMap::new();
        Restoring { memory, taken_at, now: unix_now(), accounts, mailboxes: 0 }
    }

    fn entry(&mut self, key: Key, value: Vec<u8>) -> Result<Option<(Key, Vec<u8>)>, IndexError> {
        let number = |n| number_in(key.as_bytes(), n).ok_or(load::damaged(key.as_bytes())("short"));
        let damaged = load::damaged(key.as_bytes());
        match key.tree_number() {
            Some(n) if n == Tree::Meta as u8 => {
                let own = [Key::meta(VERSION), Key::meta(SEQUENCE)];
                Ok((!own.contains(&key)).then_some((key, value)))
            }
            Some(n) if n == Tree::Intents as u8 => Ok(None),
            Some(n) if n == Tree::Accounts as u8 => {
                let (name, _) = unpack_account(&value).map_err(damaged)?;
                self.accounts.insert(number(0)?, name);
                Ok(Some((key, value)))
            }
            Some(n) if n == Tree::Mailboxes as u8 => {
                let account = self.accounts.get(&number(0)?);
                let account = account.ok_or(IndexError::UnknownAccount(AccountId(number(0)?)))?;
                let mut record = unpack_mailbox(MailboxId(number(1)?), &value).map_err(damaged)?;
                let remembered = self.memory.of(account, &record.client);
                adjust(&mut record, remembered.as_ref(), self.taken_at, self.now);
                self.mailboxes += 1;
                let value = pack_mailbox(&record);
                Ok(Some((key, value)))
            }
            _ => Ok(Some((key, value))),
        }
    }
}

/// Makes a record of then right for now: see the head of this file.
fn adjust(record: &mut MailboxRecord, remembered: Option<&Remembered>, taken_at: Utc, now: u64) {
    let since = now.saturating_sub(taken_at.0);
    let leap = since.saturating_mul(MOD_SEQS).saturating_add(MOD_SEQ_LEAP);
    record.mod_seq = record.mod_seq.saturating_add(leap);
    match remembered {
        // Nobody had seen it then.
        Some(known) if record.uid_validity == 0 && known.uid_validity != 0 => {
            record.uid_validity = known.uid_validity;
            record.boundary = known.boundary;
            record.uid_next = known.boundary.map_or(record.uid_next, |_| known.mark);
        }
        Some(known) if known.uid_validity == record.uid_validity => {
            if let Some(boundary) = known.boundary {
                // The boundary came since: what arrived on old before it has old's UIDs.
                let restored = Sides { old: record.boundary.is_none(), new: true };
                record.boundary = record.boundary.or(Some(boundary));
                record.uid_next = record.uid_next.max(known.mark);
                record.restored = restored;
                record.late = false;
                return;
            }
        }
        // Nothing is known of it any more.
        Some(known) if known.uid_validity == 0 && known.passed == 0 => {
            record.boundary = record.boundary.or(known.boundary);
            record.uid_next = record.uid_next.max(known.mark);
        }
        Some(_) => record.hidden = true,
        None => {}
    }
    record.restored.new = true;
    record.late = false;
}

/// Where a database is made of a snapshot, below the directory of the index.
const FRESH: &str = "db.new";
/// More batches than any database has that the log does not know of.
const BATCHES: u64 = 1 << 32;
/// Entries in one batch.
const WRITES: usize = 1_000;
/// No mailbox has more changes a second,
const MOD_SEQS: u64 = 1_000;
/// nor more in the second in which it was taken.
const MOD_SEQ_LEAP: u64 = 1 << 20;
