//! The committer: the one thread that touches the store.
//!
//! It takes what waits in its queue, makes one batch of it, and acknowledges everybody in it once
//! the batch is on the disk: the database first, then the epoch log, so that the log is never
//! ahead of a healthy database. Reads run here too, behind the batches that were queued before
//! them, and so see only what is durable.
//!
//! After the first failed commit nothing is acknowledged and nothing is read any more: what the
//! engine holds in memory may not be on the disk, and a UID shown from there could be given out a
//! second time after a crash (V2).

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use tokio::sync::oneshot;

use super::batch::{Batch, EditAccount, Op, profile_key};
use super::encoding::pack_account;
use super::epoch::{Entry, EpochLog, Remembered};
use super::error::IndexError;
use super::keys::Key;
use super::load;
use super::open::{ACCOUNTS, Lock, Parts, SEQUENCE};
use super::records::{AccountId, AccountRecord, MailboxId};
use super::store::{Store, Writes};
use super::unix_now;
use crate::base::{AccountName, MailboxName, Side, step};

/// What the committer is asked to do.
pub enum Job {
    /// Make a batch durable.
    Commit(Batch, oneshot::Sender<Result<(), IndexError>>),
    /// Find or make an account.
    Account(AccountName, oneshot::Sender<Result<AccountId, IndexError>>),
    /// Read what is durable.
    Read(Box<dyn Read>),
    /// Stop after what was queued before.
    Close(oneshot::Sender<()>),
}

/// Something to be read.
pub trait Read: Send {
    /// Reads, unless there is only an error to be told, answers whoever asked, and returns the
    /// error, if there was one, for the committer to look at.
    fn run(self: Box<Self>, store: Result<&dyn Store, IndexError>) -> Option<IndexError>;
}

impl<F> Read for F
where
    F: FnOnce(Result<&dyn Store, IndexError>) -> Option<IndexError> + Send,
{
    fn run(self: Box<Self>, store: Result<&dyn Store, IndexError>) -> Option<IndexError> {
        self(store)
    }
}

/// The accounts' names and numbers; written by the committer, read by everybody.
#[derive(Default)]
pub struct Names {
    by_name: HashMap<AccountName, AccountId>,
    by_id: HashMap<AccountId, AccountName>,
}

impl Names {
    /// An account's number.
    pub fn id(&self, name: &AccountName) -> Option<AccountId> {
        self.by_name.get(name).copied()
    }

    /// An account's name.
    pub fn name(&self, id: AccountId) -> Option<&AccountName> {
        self.by_id.get(&id)
    }

    /// Makes a pair known.
    pub fn insert(&mut self, name: AccountName, id: AccountId) {
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, name);
    }
}

/// The thread's state.
pub struct Committer {
    store: Box<dyn Store>,
    log: EpochLog,
    names: Arc<RwLock<Names>>,
    /// As in the store: for each account, a number above those of all its mailboxes.
    counters: HashMap<AccountId, u32>,
    last_account: u32,
    sequence: u64,
    failed: Option<IndexError>,
    changed: Arc<DashMap<AccountId, u64>>,
    _lock: Lock,
}

impl Committer {
    /// Takes over an opened index.
    pub fn new(
        parts: Parts,
        names: Arc<RwLock<Names>>,
        changed: Arc<DashMap<AccountId, u64>>,
    ) -> Committer {
        Committer {
            store: parts.store,
            log: parts.log,
            names,
            counters: parts.counters,
            last_account: parts.accounts.iter().map(|(_, id)| id.0).max().unwrap_or_default(),
            sequence: parts.sequence,
            failed: None,
            changed,
            _lock: parts.lock,
        }
    }

    /// Works until closed, or until nobody can ask any more.
    pub fn run(mut self, jobs: Receiver<Job>) {
        let mut closing = None;
        while closing.is_none()
            && let Ok(first) = jobs.recv()
        {
            let (mut group, mut reads) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Read(read) => reads.push(read),
                    Job::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                    job => group.push(job),
                }
                let full = group.len() >= LARGEST_GROUP || reads.len() >= LARGEST_GROUP;
                next = if full { None } else { jobs.try_recv().ok() };
            }
            self.commit(group);
            for read in reads {
                self.read(read);
            }
        }
        // The queue ends before its answer, so that whoever asks from now on hears `Closed`; the
        // lock goes last, so that whoever hears it can open the directory.
        drop(jobs);
        drop(self);
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        if let Some(failed) = &self.failed {
            group.into_iter().for_each(|job| refuse(job, failed));
            return;
        }
        let mut staged = Staged::default();
        let mut done = Vec::new();
        let mut result = Ok(());
        for job in group {
            match job {
                Job::Commit(batch, ack) => match self.stage(batch, &mut staged) {
                    Err(error @ IndexError::UnknownAccount(_)) => {
                        let _ = ack.send(Err(error));
                    }
                    staged => {
                        result = result.and(staged);
                        done.push(Ack::Batch(ack));
                    }
                },
                Job::Account(name, ack) => {
                    done.push(Ack::Account(self.stage_account(name, &mut staged), ack));
                }
                Job::Read(_) | Job::Close(_) => {}
            }
        }
        let result = result.and_then(|()| self.make_durable(staged));
        if let Err(error) = &result {
            self.fail(error);
        }
        for ack in done {
            ack.send(result.clone());
        }
    }

    /// Adds a batch to the group. Refused as a whole if it names an account that is not there.
    fn stage(&mut self, batch: Batch, staged: &mut Staged) -> Result<(), IndexError> {
        let mut marks = Vec::with_capacity(batch.marks.len());
        {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            for (account, _) in &batch.mailboxes {
                names.name(*account).ok_or(IndexError::UnknownAccount(*account))?;
            }
            for mark in batch.marks {
                let name = names.name(mark.account);
                let name = name.ok_or(IndexError::UnknownAccount(mark.account))?;
                marks.push((name.clone(), mark));
            }
        }
        for (name, mark) in marks {
            let key = (name, mark.client.clone());
            let known = staged.marks.get(&key).cloned();
            let known = known.or_else(|| self.log.with(|memory| memory.of(&key.0, &key.1)));
            if let Some(due) = Remembered::due(known.as_ref(), &mark) {
                staged.marks.insert(key, due);
            }
        }
        for (account, MailboxId(id)) in batch.mailboxes {
            let counter = self.counters.entry(account).or_insert(FIRST_MAILBOX);
            if *counter <= id {
                *counter = id.saturating_add(1);
                staged.writes.put(Key::counter(account), counter.to_be_bytes().to_vec());
            }
        }
        for op in batch.ops {
            match op {
                Op::Put(key, value) => staged.writes.put(key, value),
                Op::Remove(key) => staged.writes.remove(key),
                Op::RemoveAll(prefix) => staged.writes.remove_all(&prefix, &*self.store)?,
                Op::EditAccount(account, edit) => self.edit_account(account, edit, staged)?,
                Op::Enroll(name, edit) => {
                    let account = self.stage_account(name, staged);
                    self.edit_account(account, edit, staged)?;
                }
            }
        }
        Ok(())
    }

    fn edit_account(
        &self,
        account: AccountId,
        EditAccount(edit): EditAccount,
        staged: &mut Staged,
    ) -> Result<(), IndexError> {
        let key = Key::account(account);
        let (name, mut record) = match staged.writes.0.get(&key) {
            Some(Some(value)) => load::read_account(&key, value)?,
            _ => {
                let value = self.store.value(&key)?;
                load::read_account(&key, &value.ok_or(IndexError::UnknownAccount(account))?)?
            }
        };
        edit(&mut record);
        staged.writes.put(key, pack_account(&name, &record));
        staged.records.insert(name, record);
        Ok(())
    }

    fn stage_account(&mut self, name: AccountName, staged: &mut Staged) -> AccountId {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = names.id(&name).or_else(|| staged.accounts.get(&name).copied()) {
            return id;
        }
        self.last_account = self.last_account.saturating_add(1);
        let id = AccountId(self.last_account);
        let record = AccountRecord { created_at: unix_now(), ..AccountRecord::default() };
        staged.writes.put(Key::account(id), pack_account(&name, &record));
        staged.records.insert(name.clone(), record);
        staged.writes.put(Key::meta(ACCOUNTS), id.0.to_be_bytes().to_vec());
        staged.accounts.insert(name, id);
        id
    }

    fn make_durable(&mut self, mut staged: Staged) -> Result<(), IndexError> {
        if staged.writes.0.is_empty() {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        staged.writes.put(Key::meta(SEQUENCE), sequence.to_be_bytes().to_vec());
        step("index: a batch is staged");
        self.store.apply(&staged.writes)?;
        step("index: a batch is in the database");
        let marks = staged.marks.into_iter();
        let mut entries: Vec<Entry> =
            marks.map(|((account, client), mark)| Entry::Mailbox(account, client, mark)).collect();
        entries
            .extend(staged.records.into_iter().map(|(name, record)| Entry::Account(name, record)));
        for side in Side::BOTH {
            if let Some(Some(profile)) = staged.writes.0.get(&profile_key(side)) {
                entries.push(Entry::Profile(side, profile.clone()));
            }
        }
        entries.push(Entry::Sequence(sequence));
        self.log.append(entries)?;
        step("index: a batch is durable");
        self.sequence = sequence;
        for account in staged.writes.accounts() {
            self.changed.insert(account, sequence);
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        staged.accounts.into_iter().for_each(|(name, id)| names.insert(name, id));
        Ok(())
    }

    fn read(&mut self, read: Box<dyn Read>) {
        let error = match &self.failed {
            Some(failed) => read.run(Err(failed.clone())),
            None => read.run(Ok(&*self.store)),
        };
        if let Some(IndexError::Corrupt(why)) = error {
            self.condemn(why);
        }
    }

    fn fail(&mut self, error: &IndexError) {
        tracing::error!(%error, "the index stops: nothing is acknowledged until a restart");
        self.failed = Some(IndexError::Failed(error.to_string()));
        if let IndexError::Corrupt(why) = error {
            self.condemn(why.clone());
        }
    }

    /// Sees to it that the next start does not use this database.
    fn condemn(&mut self, why: String) {
        tracing::error!(%why, "the index is damaged: the next start puts it aside and rebuilds it");
        if let Err(error) = self.log.append(vec![Entry::Condemned(Some(why))]) {
            // Half of it may stand in the log: nothing behind it would be read.
            tracing::error!(%error, "this could not be noted, and the index stops until a restart");
            self.failed = Some(IndexError::Failed(error.to_string()));
        }
    }
}

/// One group, before it is applied.
#[derive(Default)]
struct Staged {
    writes: Writes,
    marks: HashMap<(AccountName, MailboxName), Remembered>,
    accounts: HashMap<AccountName, AccountId>,
    records: HashMap<AccountName, AccountRecord>,
}

/// Who waits for a group.
enum Ack {
    Batch(oneshot::Sender<Result<(), IndexError>>),
    Account(AccountId, oneshot::Sender<Result<AccountId, IndexError>>),
}

impl Ack {
    /// Nobody listening any more is no error: the batch counts all the same.
    fn send(self, result: Result<(), IndexError>) {
        match self {
            Ack::Batch(ack) => drop(ack.send(result)),
            Ack::Account(id, ack) => drop(ack.send(result.map(|()| id))),
        }
    }
}

fn refuse(job: Job, error: &IndexError) {
    match job {
        Job::Commit(_, ack) => drop(ack.send(Err(error.clone()))),
        Job::Account(_, ack) => drop(ack.send(Err(error.clone()))),
        Job::Read(_) | Job::Close(_) => {}
    }
}

/// The number of an account's first mailbox.
pub const FIRST_MAILBOX: u32 = 1;

/// Batches in one group: bounds what a crash can take from those who were not acknowledged, and
/// how long the first of them waits.
const LARGEST_GROUP: usize = 256;
