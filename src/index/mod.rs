//! What is remembered across restarts: accounts, mailboxes, maps, intents (DESIGN §4).
//!
//! [`Index`] is the async front of one committer thread, which alone touches the
//! `Store`. A [`Batch`] is durable before its [`Pending`] resolves, and batches become
//! durable in the order in which they were submitted. Beside the database stands the epoch log
//! (`epoch`): it notices a database that lost what it acknowledged, and keeps what a rebuild
//! needs to give no UID a second meaning (V8).
//!
//! This room never speaks to a server and never decides what a mailbox looks like; nothing above
//! it knows sled. Read on in `records` (what is kept), `encoding` (as which bytes), `keys` (where), `committer` (how), `open`
//! (what is checked), `snapshot` and `restore` (what is left when all else is lost).

mod batch;
mod committer;
pub mod dump;
mod encoding;
mod epoch;
mod error;
mod keys;
mod load;
mod moving;
mod open;
mod pack;
mod records;
mod renaming;
mod restore;
mod room;
mod sled_store;
mod snapshot;
mod store;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use tokio::sync::oneshot;

use self::committer::{Committer, FIRST_MAILBOX, Job, Names};
use self::epoch::Memory;
use self::open::{Lock, Parts};
use self::room::Room;
use self::store::Store;
use crate::base::{AccountName, MailboxName, Side};
use crate::uid::{EmailId, Uid, UidSet};

pub use self::batch::{Batch, Setting};
pub use self::dump::Dump;
pub use self::epoch::Remembered;
pub use self::error::IndexError;
pub use self::moving::{Moving, Place as MovingPlace};
pub use self::open::Opened;
pub use self::records::{
    AccountId, AccountRecord, Direction, Fate, Intent, ListedAs, MailboxId, MailboxRecord,
    Measured, Owed, Roll, SecondCopy, Snapshot, Stored, Stuck, Style, Verified,
};
pub use self::renaming::{Renamed, Renaming};
pub use self::restore::{Restored, restore};
pub use self::snapshot::{SnapshotFile, snapshots};
pub use self::tally::{Octets, Tally};

/// The index. Clones are the same index; it ends when closed, or with its last clone.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    jobs: Sender<Job>,
    names: Arc<RwLock<Names>>,
    memory: Arc<RwLock<Memory>>,
    room: Room,
    /// For each account, the number its next mailbox gets.
    next_mailbox: Mutex<HashMap<AccountId, u32>>,
    /// The batch that last changed something of an account's mailboxes, since the index was opened.
    changed: Arc<DashMap<AccountId, u64>>,
}

impl Index {
    /// Opens, or makes, the index in a directory, which it then holds alone. Blocks.
    pub fn open(dir: &Path) -> Result<(Index, Opened), IndexError> {
        let (parts, opened) = open::open(dir)?;
        Ok((Index::start(dir, parts)?, opened))
    }

    fn start(dir: &Path, parts: Parts) -> Result<Index, IndexError> {
        let mut names = Names::default();
        for (name, id) in &parts.accounts {
            names.insert(name.clone(), *id);
        }
        let names = Arc::new(RwLock::new(names));
        let (jobs, queue) = mpsc::channel();
        let inner = Inner {
            dir: dir.to_owned(),
            jobs,
            names: Arc::clone(&names),
            memory: parts.log.memory(),
            room: Room::new(dir),
            next_mailbox: Mutex::new(parts.counters.clone()),
            changed: Arc::default(),
        };
        let committer = Committer::new(parts, names, Arc::clone(&inner.changed));
        std::thread::Builder::new()
            .name("index".into())
            .spawn(move || committer.run(queue))
            .map_err(IndexError::io("start the thread of", dir))?;
        Ok(Index { inner: Arc::new(inner) })
    }

    /// From now on so many octets must be free on the disk for anything new to be taken on.
    pub fn keep_free(&self, octets: u64) {
        self.inner.room.keep_free(octets);
    }

    /// Whether there is room on the disk; to be asked before anything new is begun. What was begun
    /// is ended in any case.
    pub fn room(&self) -> Result<(), IndexError> {
        self.inner.room.check()
    }

    /// An account's number; the account is made, durably, if it is not there.
    pub async fn account(&self, name: &AccountName) -> Result<AccountId, IndexError> {
        let known = self.inner.names.read().unwrap_or_else(PoisonError::into_inner).id(name);
        if let Some(id) = known {
            return Ok(id);
        }
        self.room()?;
        let (done, answer) = oneshot::channel();
        self.send(Job::Account(name.clone(), done));
        answer.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Whether an account is there.
    pub fn knows(&self, name: &AccountName) -> bool {
        let names = self.inner.names.read().unwrap_or_else(PoisonError::into_inner);
        names.id(name).is_some()
    }

    /// All accounts, by number.
    pub async fn accounts(
        &self,
    ) -> Result<Vec<(AccountName, AccountId, AccountRecord)>, IndexError> {
        self.read(load::accounts).await
    }

    fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (done, answer) = mpsc::channel();
        self.send_read(read, move |result| drop(done.send(result)));
        answer.recv().unwrap_or(Err(IndexError::Closed))
    }

    /// What is known of an account besides its mailboxes.
    pub async fn account_record(&self, account: AccountId) -> Result<AccountRecord, IndexError> {
        self.read(move |store| load::account(store, account)).await
    }

    /// The RENAME of an account that is under way, or of which nobody heard the end.
    pub async fn renaming(&self, account: AccountId) -> Result<Option<Renaming>, IndexError> {
        self.read(move |store| load::renaming(store, account)).await
    }

    /// The MOVEs of an account that are under way, or of which nobody heard the end, by number.
    pub async fn movings(&self, account: AccountId) -> Result<Vec<(u32, Moving)>, IndexError> {
        self.read(move |store| load::movings(store, account)).await
    }

    /// The stamp of an account's last clean `verify`.
    pub async fn verified(&self, account: AccountId) -> Result<Option<Verified>, IndexError> {
        self.read(move |store| load::verified(store, account)).await
    }

    /// What a login of an account showed on a side, as it was put.
    pub async fn kept(
        &self,
        side: Side,
        account: &AccountName,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let key = keys::Key::kept(side, account);
        self.read(move |store| store.value(&key)).await
    }

    /// The mailboxes of an account, by number.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, IndexError> {
        self.read(move |store| load::mailboxes(store, account)).await
    }

    /// The mailboxes of an account to which second copies may come.
    pub async fn expecting(&self, account: AccountId) -> Result<HashSet<MailboxId>, IndexError> {
        self.read(move |store| load::expecting(store, account)).await
    }

    /// All there is about one mailbox, as of the batches submitted before.
    pub async fn load(&self, account: AccountId, mailbox: MailboxId) -> Result<Stored, IndexError> {
        self.read(move |store| load::stored(store, account, mailbox)).await
    }

    /// What was measured of a mailbox's messages on old; nothing, if nothing was.
    pub async fn measured(
        &self,
        account: AccountId,
        mailbox: MailboxId,
    ) -> Result<Measured, IndexError> {
        self.read(move |store| load::measured(store, account, mailbox)).await
    }

    /// What an account's mailboxes hold, as of the batches submitted before.
    pub async fn tally(&self, account: AccountId) -> Result<Tally, IndexError> {
        self.read(move |store| tally::tally(store, account)).await
    }

    /// Those messages of a mailbox, among `uids`, that have the EMAILID of another place: as of the
    /// batches submitted before.
    pub async fn emails(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet<Uid>,
    ) -> Result<BTreeMap<Uid, EmailId>, IndexError> {
        self.read(move |store| load::emails(store, account, mailbox, &uids)).await
    }

    /// Queues a batch. Cheap, and never blocks on I/O: it may be called under a mutex. Batches
    /// become durable in the order of the calls; after one that failed, none does.
    pub fn submit(&self, batch: Batch) -> Pending {
        let (done, answer) = oneshot::channel();
        self.send(Job::Commit(batch, done));
        Pending { answer }
    }

    /// A number for a new mailbox of this account, never given out before. It counts as used once
    /// something was written under it: after a crash before that, it may come again.
    pub fn next_mailbox_id(&self, account: AccountId) -> MailboxId {
        let mut next = self.inner.next_mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.entry(account).or_insert(FIRST_MAILBOX);
        let id = MailboxId(*next);
        *next = next.saturating_add(1);
        id
    }

    /// What is remembered of a mailbox, by name, even if the index was lost. To be asked whenever
    /// a mailbox is absorbed that has no record, not only right after a rebuild: it then keeps the
    /// UIDVALIDITY and the boundary, and gives out no UID below the mark but old ones below the
    /// boundary.
    pub fn remembered(&self, account: &AccountName, client: &MailboxName) -> Option<Remembered> {
        let memory = self.inner.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.of(account, client)
    }

    /// Every UIDVALIDITY that mailboxes of an account are remembered to have had.
    pub fn uid_validities(&self, account: &AccountName) -> HashSet<u32> {
        let memory = self.inner.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.uid_validities(account)
    }

    /// What was learned about a side's server, as it was put.
    pub async fn profile(&self, side: Side) -> Result<Option<Vec<u8>>, IndexError> {
        self.read(move |store| store.value(&batch::profile_key(side))).await
    }

    /// A number that is another one whenever something of the account's mailboxes was changed: what was
    /// counted before it was asked for is right as long as it stays the same.
    pub fn changed(&self, account: AccountId) -> u64 {
        self.inner.changed.get(&account).map_or(0, |changed| *changed)
    }

    /// How many messages are stuck, of all accounts.
    pub async fn stuck_messages(&self) -> Result<u64, IndexError> {
        self.read(load::stuck_messages).await
    }

    /// A setting that was made at run time.
    pub async fn setting(&self, setting: Setting) -> Result<Option<Vec<u8>>, IndexError> {
        self.read(move |store| store.value(&keys::Key::meta(setting.name()))).await
    }

    /// How many octets the index takes on the disk. Blocks.
    pub fn octets(&self) -> u64 {
        dump::bytes_on_disk(&self.inner.dir)
    }

    /// What is stored, to be looked at: of one account or of all, with up to `runs` runs a mailbox.
    pub async fn dump(
        &self,
        account: Option<AccountName>,
        runs: usize,
    ) -> Result<Dump, IndexError> {
        let dir = self.inner.dir.clone();
        self.read(move |store| dump::dump(store, &dir, account.as_ref(), runs)).await
    }

    /// Finishes what was queued and lets go of the directory. Whoever asks later, through another
    /// clone, hears [`IndexError::Closed`].
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        self.send(Job::Close(done));
        let _ = closed.await;
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (done, answer) = oneshot::channel();
        self.send_read(read, move |result| drop(done.send(result)));
        answer.await.unwrap_or(Err(IndexError::Closed))
    }

    fn send_read<T: 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, IndexError> + Send + 'static,
        answer: impl FnOnce(Result<T, IndexError>) + Send + 'static,
    ) {
        self.send(Job::Read(Box::new(move |store: Result<&dyn Store, IndexError>| {
            let result = store.and_then(read);
            let error = result.as_ref().err().cloned();
            answer(result);
            error
        })));
    }

    fn send(&self, job: Job) {
        // If the committer has gone, the job is dropped and with it the sender of the answer,
        // which the receiver hears as `Closed`.
        drop(self.inner.jobs.send(job));
    }
}

/// Resolves when the batch is on the disk, or has failed. Dropping it cancels nothing.
#[must_use = "nothing may be told to a client before the batch is durable"]
pub struct Pending {
    answer: oneshot::Receiver<Result<(), IndexError>>,
}

impl Future for Pending {
    type Output = Result<(), IndexError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(IndexError::Closed)))
    }
}

/// An index opened to be looked at, while no proxy runs on it.
pub struct ReadOnly {
    dir: PathBuf,
    store: Box<dyn Store>,
    memory: Memory,
    _lock: Lock,
}

impl Index {
    /// Opens an index to look at it, holding the directory meanwhile. Refuses one that another
    /// process holds, and one that cannot be trusted; changes nothing. Blocks.
    pub fn open_read_only(dir: &Path) -> Result<ReadOnly, IndexError> {
        let (store, memory, lock) = open::open_read_only(dir)?;
        Ok(ReadOnly { dir: dir.to_owned(), store, memory, _lock: lock })
    }
}

impl ReadOnly {
    /// All accounts, by number.
    pub fn accounts(&self) -> Result<Vec<(AccountName, AccountId, AccountRecord)>, IndexError> {
        load::accounts(&*self.store)
    }

    /// The mailboxes of an account, by number.
    pub fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRecord>, IndexError> {
        load::mailboxes(&*self.store, account)
    }

    /// All there is about one mailbox.
    pub fn load(&self, account: AccountId, mailbox: MailboxId) -> Result<Stored, IndexError> {
        load::stored(&*self.store, account, mailbox)
    }

    /// What the epoch log remembers of a mailbox.
    pub fn remembered(&self, account: &AccountName, client: &MailboxName) -> Option<Remembered> {
        self.memory.of(account, client)
    }

    /// What is stored: of one account or of all, with up to `runs` runs a mailbox.
    pub fn dump(&self, account: Option<&AccountName>, runs: usize) -> Result<Dump, IndexError> {
        dump::dump(&*self.store, &self.dir, account, runs)
    }
}

/// Unix seconds now, for what is stamped here.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
