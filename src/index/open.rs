//! Opening an index: one process a directory, and nothing that lost its tail is trusted.
//!
//! In the directory: `lock`, `epoch.log`, `db/` (the database), `snapshots/`, `floor` after a loss of the log or its
//! end, and what was put aside, `index.stale-<Unix seconds>`, for somebody to look at or delete.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::batch::{Mark, profile_key};
use super::encoding::pack_account;
use super::epoch::{Entry, EpochLog, FLOOR, Found, Memory, Remembered};
use super::error::IndexError;
use super::keys::Key;
use super::load;
use super::records::{AccountId, AccountRecord};
use super::restore;
use super::sled_store::SledStore;
use super::snapshot::PLACE;
use super::store::{Store, Writes};
use super::unix_now;
use crate::base::{AccountName, Side, step};

/// How an index was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// There was none.
    Fresh,
    /// All that was ever acknowledged is there.
    Clean,
    /// It could not be trusted and starts empty: every mailbox is to be absorbed anew from both
    /// servers, with what [`super::Index::remembered`] says (V8).
    Rebuild {
        /// What gave it away.
        why: String,
        /// Where the old database lies now; `None` if nothing was left of it.
        put_aside: Option<PathBuf>,
    },
}

/// An opened index, before anything runs.
pub struct Parts {
    pub store: Box<dyn Store>,
    pub log: EpochLog,
    /// Held as long as the index is open.
    pub lock: Lock,
    pub accounts: Vec<(AccountName, AccountId)>,
    pub counters: HashMap<AccountId, u32>,
    /// The last sequence number, inside and outside.
    pub sequence: u64,
}

/// Opens, or makes, the index in a directory.
pub fn open(dir: &Path) -> Result<(Parts, Opened), IndexError> {
    fs::create_dir_all(dir).map_err(IndexError::io("make the directory", dir))?;
    let lock = lock(dir)?;
    let (mut memory, found) = Memory::read(dir)?;
    let was_there = dir.join(DB).join("db").exists();
    let had_a_life = had_a_life(dir)?;
    let (store, inside, opened) = match judge(dir, &memory, found)? {
        Verdict::Sound(store, inside) => {
            // A crash tears what was to be said of the one batch that the database has by then, and no more; or
            // it came before there was a log.
            let by_a_crash = match found {
                Found::Whole => true,
                Found::Torn => inside == memory.sequence.saturating_add(1),
                Found::Missing => inside == 0 && !had_a_life,
            };
            if !by_a_crash {
                let floor = memory.doubt(dir, unix_now())?;
                tracing::warn!(
                    dir = %dir.display(),
                    "the epoch log, or its end, is lost, and made anew from the index: new UIDs begin at {floor}"
                );
                restore::raise(&store, floor)?;
                step("open: the marks are raised");
            }
            (store, Some(inside), Opened::Clean)
        }
        Verdict::Empty(store)
            if found == Found::Torn || (found == Found::Missing && had_a_life) =>
        {
            let why = "neither the database nor the epoch log has anything of what was there";
            (store, None, Opened::Rebuild { why: why.into(), put_aside: None })
        }
        Verdict::Empty(store) => (store, None, Opened::Fresh),
        Verdict::Stale(mut why) => {
            if found != Found::Whole {
                why += "; the epoch log lost its end, too: look at the phases of the accounts";
                // Before the database goes, which is the last witness of what was.
                memory.doubt(dir, unix_now())?;
                memory.write(dir)?;
                step("open: the loss is noted");
            }
            let put_aside = put_aside(dir)?;
            step("open: the database is put aside");
            let where_to = put_aside.as_deref().unwrap_or(dir).display().to_string();
            tracing::error!(%why, put_aside = %where_to, "the index is put aside and rebuilt");
            (SledStore::open(&dir.join(DB))?, None, Opened::Rebuild { why, put_aside })
        }
    };
    // A first start that was killed looks like a loss of everything; it loses nothing by the doubt.
    if found != Found::Whole && inside.is_none() && (was_there || had_a_life) {
        memory.doubt(dir, unix_now())?;
    }
    let sequence = memory.sequence.max(inside.unwrap_or_default());
    let written = load::meta(&store, VERSION)?.map(u32::from_be_bytes);
    if inside.is_none() {
        put_remembered(&store, &memory)?;
    }
    if inside.is_none() || written != Some(FORMAT) {
        // From now on there may be what an earlier version does not know.
        let mut writes = Writes::default();
        writes.put(Key::meta(VERSION), FORMAT.to_be_bytes().to_vec());
        writes.put(Key::meta(SEQUENCE), sequence.to_be_bytes().to_vec());
        store.apply(&writes)?;
        sync_dir(&dir.join(DB))?;
        sync_dir(dir)?;
        step("open: it is an index");
    }
    memory.condemned = None;
    let accounts = load::accounts(&store)?;
    // One of before it knew of accounts, or of profiles, does not know them.
    let mut unknown = accounts.iter().any(|(name, ..)| memory.account(name).is_none());
    for side in Side::BOTH {
        unknown |= memory.profile(side).is_none() && store.value(&profile_key(side))?.is_some();
    }
    if unknown || memory.sequence < sequence || found != Found::Whole {
        catch_up(&store, &mut memory, &accounts, sequence)?;
    }
    let log = EpochLog::start(dir, memory)?;
    let accounts = accounts.into_iter().map(|(name, id, _)| (name, id)).collect();
    let counters = load::counters(&store)?;
    Ok((Parts { store: Box::new(store), log, lock, accounts, counters, sequence }, opened))
}

/// Opens an index that must be there, without putting anything aside.
pub fn open_read_only(dir: &Path) -> Result<(Box<dyn Store>, Memory, Lock), IndexError> {
    if !dir.join(DB).join("db").exists() {
        return Err(IndexError::Missing { dir: dir.to_owned() });
    }
    let lock = lock(dir)?;
    let (memory, found) = Memory::read(dir)?;
    match judge(dir, &memory, found)? {
        Verdict::Sound(store, _) => Ok((Box::new(store), memory, lock)),
        Verdict::Empty(_) => Err(IndexError::Missing { dir: dir.to_owned() }),
        Verdict::Stale(why) => Err(IndexError::Stale { dir: dir.to_owned(), why }),
    }
}

enum Verdict {
    /// With the sequence number inside.
    Sound(SledStore, u64),
    /// As it should be: nothing was ever acknowledged.
    Empty(SledStore),
    Stale(String),
}

/// Compares what the database holds with what the epoch log says it must hold.
fn judge(dir: &Path, memory: &Memory, found: Found) -> Result<Verdict, IndexError> {
    if let Some(why) = &memory.condemned {
        return Ok(Verdict::Stale(why.clone()));
    }
    let expected = memory.sequence;
    if expected > 0 && !dir.join(DB).join("db").exists() {
        return Ok(Verdict::Stale("the database is gone".into()));
    }
    let looked = || -> Result<Verdict, IndexError> {
        let store = SledStore::open(&dir.join(DB))?;
        let format = load::meta(&store, VERSION)?.map(u32::from_be_bytes);
        let inside = load::meta(&store, SEQUENCE)?.map(u64::from_be_bytes);
        match (format, inside) {
            (Some(found), _) if found > FORMAT => {
                Err(IndexError::Newer { found, known: FORMAT, dir: dir.to_owned() })
            }
            (Some(_), Some(inside)) if inside >= expected => {
                // What opening needs must read, too.
                let accounts = load::accounts(&store)?;
                load::counters(&store)?;
                if inside > expected || found != Found::Whole {
                    for (_, account, _) in accounts {
                        load::mailboxes(&store, account)?;
                    }
                }
                Ok(Verdict::Sound(store, inside))
            }
            (None, None) if expected == 0 => Ok(Verdict::Empty(store)),
            (_, inside) => Ok(Verdict::Stale(format!(
                "it ends at batch {}, and batch {expected} was acknowledged",
                inside.unwrap_or_default()
            ))),
        }
    };
    match looked() {
        Err(IndexError::Corrupt(why)) => Ok(Verdict::Stale(why)),
        other => other,
    }
}

/// Gives an index that was lost its accounts back, and what the servers can do, and one of before both as they
/// were last: no server knows an account's phase, and old may not be asked again.
pub fn put_remembered(store: &dyn Store, memory: &Memory) -> Result<(), IndexError> {
    let there: HashMap<_, _> =
        load::accounts(store)?.into_iter().map(|(name, id, _)| (name, id)).collect();
    let mut last = there.values().map(|id| id.0).max().unwrap_or_default();
    let mut writes = Writes::default();
    for (name, record) in memory.accounts() {
        let id = there.get(name).copied().unwrap_or_else(|| {
            last = last.saturating_add(1);
            AccountId(last)
        });
        writes.put(Key::account(id), pack_account(name, record));
    }
    if !writes.0.is_empty() {
        writes.put(Key::meta(ACCOUNTS), last.to_be_bytes().to_vec());
    }
    for side in Side::BOTH {
        if let Some(profile) = memory.profile(side) {
            writes.put(profile_key(side), profile.clone());
        }
    }
    store.apply(&writes)
}

/// Tells the memory of a log that lost its end, or was one batch behind, what accounts, mailboxes and profiles say.
pub fn catch_up(
    store: &dyn Store,
    memory: &mut Memory,
    accounts: &[(AccountName, AccountId, AccountRecord)],
    sequence: u64,
) -> Result<(), IndexError> {
    let mut entries = Vec::new();
    for (name, account, record) in accounts {
        if memory.account(name) != Some(record) {
            entries.push(Entry::Account(name.clone(), record.clone()));
        }
        for record in load::mailboxes(store, *account)? {
            let known = memory.of(name, &record.client);
            let mark = Mark {
                account: *account,
                client: record.client,
                first_name: record.first_name,
                uid_validity: record.uid_validity,
                uid_next: record.uid_next,
                boundary: record.boundary,
            };
            if let Some(due) = Remembered::due(known.as_ref(), &mark) {
                entries.push(Entry::Mailbox(name.clone(), mark.client, due));
            }
        }
    }
    for side in Side::BOTH {
        let profile = store.value(&profile_key(side))?;
        entries.extend(profile.map(|profile| Entry::Profile(side, profile)));
    }
    entries.push(Entry::Sequence(sequence));
    memory.catch_up(entries);
    Ok(())
}

/// Whether there is something that only an index leaves behind.
fn had_a_life(dir: &Path) -> Result<bool, IndexError> {
    let listed = || -> io::Result<bool> {
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(STALE.as_bytes())
                || [FLOOR, PLACE].map(str::as_bytes).contains(&name)
            {
                return Ok(true);
            }
        }
        Ok(false)
    };
    listed().map_err(IndexError::io("list", dir))
}

/// Moves the database out of the way; `None` if there is none.
pub fn put_aside(dir: &Path) -> Result<Option<PathBuf>, IndexError> {
    let db = dir.join(DB);
    if !db.exists() {
        return Ok(None);
    }
    let now = unix_now();
    let mut aside = dir.join(format!("{STALE}{now}"));
    let mut n = 2;
    while aside.exists() {
        aside = dir.join(format!("{STALE}{now}-{n}"));
        n += 1;
    }
    fs::rename(&db, &aside).map_err(IndexError::io("put aside", &db))?;
    sync_dir(dir)?;
    Ok(Some(aside))
}

/// Holds the directory for this process.
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Not left to closing: a child between fork and exec would go on holding it.
        let _ = self.0.unlock();
    }
}

pub fn lock(dir: &Path) -> Result<Lock, IndexError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(IndexError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(IndexError::io("lock", &path)(error)),
    }
}

pub fn sync_dir(dir: &Path) -> Result<(), IndexError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(IndexError::io("sync the directory", dir))
}

/// The format of keys and values that this version writes, and the newest it reads.
pub const FORMAT: u32 = 8;

/// Names in [`super::keys::Tree::Meta`].
pub const VERSION: &str = "version";
pub const SEQUENCE: &str = "seq";
pub const ACCOUNTS: &str = "account";

/// Where the database lies.
pub const DB: &str = "db";
/// What was put aside is named so, and by the time.
const STALE: &str = "index.stale-";
