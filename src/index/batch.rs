//! `Batch`: changes that become durable together, or not at all.

use std::fmt;

use super::encoding;
use super::keys::{Key, Tree};
use super::moving::{Moving, pack_moving};
use super::records::{
    self, AccountId, AccountRecord, Direction, Intent, MailboxId, MailboxRecord, SecondCopy, Stuck,
};
use super::renaming::{Renaming, pack_renaming};
use crate::base::{AccountName, MailboxName, Side};
use crate::uid::{ChunkChanges, EmailId, Uid, UidSet};

/// Changes to the index that become durable together. Later changes of one key win.
///
/// Values are packed by the caller's thread, as the batch is built, and not by the committer's.
#[derive(Default, Debug)]
pub struct Batch {
    pub(super) ops: Vec<Op>,
    pub(super) marks: Vec<Mark>,
    /// Mailboxes written to: their numbers are never given out again.
    pub(super) mailboxes: Vec<(AccountId, MailboxId)>,
}

/// One change.
#[derive(Debug)]
pub(super) enum Op {
    Put(Key, Vec<u8>),
    Remove(Key),
    RemoveAll(Key),
    EditAccount(AccountId, EditAccount),
    Enroll(AccountName, EditAccount),
}

/// A change of an account's record.
pub(super) struct EditAccount(pub Box<dyn FnOnce(&mut AccountRecord) + Send>);

impl fmt::Debug for EditAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EditAccount")
    }
}

/// What is set at run time for all accounts together, and remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// Whether copying is paused.
    Paused,
}

impl Setting {
    /// Its name in the index.
    pub(super) fn name(self) -> &'static str {
        match self {
            Setting::Paused => "setting/paused",
        }
    }
}

/// What the epoch log must know of a mailbox before the batch is acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub account: AccountId,
    pub client: MailboxName,
    pub first_name: Option<MailboxName>,
    pub uid_validity: u32,
    pub uid_next: Uid,
    pub boundary: Option<Uid>,
}

impl Batch {
    /// Without any change.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Whether there is no change.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Changes what is known of an account, as it is when the batch becomes durable: whoever changes
    /// something else of it at the same time is not undone.
    pub fn edit_account(
        &mut self,
        account: AccountId,
        edit: impl FnOnce(&mut AccountRecord) + Send + 'static,
    ) {
        self.ops.push(Op::EditAccount(account, EditAccount(Box::new(edit))));
    }

    /// The same for an account by its name, which is made if it is not there.
    pub fn enroll(
        &mut self,
        account: AccountName,
        edit: impl FnOnce(&mut AccountRecord) + Send + 'static,
    ) {
        self.ops.push(Op::Enroll(account, EditAccount(Box::new(edit))));
    }

    /// Remembers a setting that was made at run time, or forgets it.
    pub fn put_setting(&mut self, setting: Setting, value: Option<Vec<u8>>) {
        let key = Key::meta(setting.name());
        self.ops.push(match value {
            Some(value) => Op::Put(key, value),
            None => Op::Remove(key),
        });
    }

    /// Writes a mailbox's record.
    pub fn put_mailbox(&mut self, account: AccountId, record: &MailboxRecord) {
        let key = Key::mailbox(account, record.id);
        self.put(account, record.id, key, encoding::pack_mailbox(record));
        self.marks.push(Mark {
            account,
            client: record.client.clone(),
            first_name: record.first_name.clone(),
            uid_validity: record.uid_validity,
            uid_next: record.uid_next,
            boundary: record.boundary,
        });
    }

    /// No mailbox has this name any more: one that gets it later is another one (V2). Goes before
    /// the record of a mailbox that has it from now on.
    pub fn give_up_name(&mut self, account: AccountId, client: &MailboxName) {
        self.marks.push(Mark {
            account,
            client: client.clone(),
            first_name: None,
            uid_validity: 0,
            uid_next: Uid(0),
            boundary: None,
        });
    }

    /// Writes the chunks of a map that changed.
    pub fn put_chunks(&mut self, account: AccountId, mailbox: MailboxId, changes: &ChunkChanges) {
        for first in &changes.delete {
            self.ops.push(Op::Remove(Key::runs(account, mailbox, *first)));
        }
        for chunk in &changes.put {
            let key = Key::runs(account, mailbox, chunk.first_uid());
            self.put(account, mailbox, key, super::pack::pack_runs(chunk.runs()));
        }
    }

    /// Forgets a mailbox: record, map, intents, second copies, EMAILIDs, what is owed, what is stuck and what
    /// was measured. Its boundary and mark stay in the epoch log.
    pub fn delete_mailbox(&mut self, account: AccountId, mailbox: MailboxId) {
        self.ops.push(Op::Remove(Key::mailbox(account, mailbox)));
        for tree in [
            Tree::Runs,
            Tree::Intents,
            Tree::SecondCopies,
            Tree::Outbox,
            Tree::Stuck,
            Tree::Emails,
            Tree::Measured,
        ] {
            self.ops.push(Op::RemoveAll(Key::of_mailbox(tree, account, mailbox)));
        }
    }

    /// Writes an intent, open or closed.
    pub fn put_intent(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        direction: Direction,
        intent: &Intent,
    ) {
        let key = Key::intent(account, mailbox, uid, direction);
        self.put(account, mailbox, key, encoding::pack_intent(intent));
    }

    /// Forgets an intent.
    pub fn del_intent(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        direction: Direction,
    ) {
        self.ops.push(Op::Remove(Key::intent(account, mailbox, uid, direction)));
    }

    /// Remembers that a second copy of a message may come, or forgets it.
    pub fn put_second_copy(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        direction: Direction,
        second: Option<&SecondCopy>,
    ) {
        let key = Key::second_copy(account, mailbox, uid, direction);
        match second {
            Some(second) => self.put(account, mailbox, key, encoding::pack_second_copy(second)),
            None => self.ops.push(Op::Remove(key)),
        }
    }

    /// Remembers why a message could not be copied.
    pub fn put_stuck(&mut self, account: AccountId, mailbox: MailboxId, uid: Uid, stuck: &Stuck) {
        let key = Key::stuck(account, mailbox, uid);
        self.put(account, mailbox, key, encoding::pack_stuck(stuck));
    }

    /// The message is no longer stuck.
    pub fn del_stuck(&mut self, account: AccountId, mailbox: MailboxId, uid: Uid) {
        self.ops.push(Op::Remove(Key::stuck(account, mailbox, uid)));
    }

    /// Writes what a mailbox owes to old.
    pub fn put_owed(&mut self, account: AccountId, mailbox: MailboxId, owed: &records::Owed) {
        let key = Key::owed(account, mailbox);
        if owed.is_empty() {
            self.ops.push(Op::Remove(key));
        } else {
            self.put(account, mailbox, key, encoding::pack_owed(owed));
        }
    }

    /// Writes how large a mailbox's messages on old are.
    pub fn put_measured(
        &mut self,
        account: AccountId,
        mailbox: MailboxId,
        measured: records::Measured,
    ) {
        let key = Key::measured(account, mailbox);
        self.put(account, mailbox, key, encoding::pack_measured(measured));
    }

    /// Notes a MOVE that is under way, or forgets it.
    pub fn put_moving(&mut self, account: AccountId, number: u32, moving: Option<&Moving>) {
        let key = Key::moving(account, number);
        self.ops.push(match moving {
            Some(moving) => Op::Put(key, pack_moving(moving)),
            None => Op::Remove(key),
        });
    }

    /// Notes a RENAME that is under way, or forgets it.
    pub fn put_renaming(&mut self, account: AccountId, renaming: Option<&Renaming>) {
        let key = Key::renaming(account);
        self.ops.push(match renaming {
            Some(renaming) => Op::Put(key, pack_renaming(renaming)),
            None => Op::Remove(key),
        });
    }

    /// Stamps an account as verified.
    pub fn put_verified(&mut self, account: AccountId, verified: &records::Verified) {
        self.ops.push(Op::Put(Key::verified(account), encoding::pack_verified(verified)));
    }

    /// Keeps what a login of an account showed on a side, sealed by the keeper.
    pub fn put_kept(&mut self, side: Side, account: &AccountName, sealed: Vec<u8>) {
        self.ops.push(Op::Put(Key::kept(side, account), sealed));
    }

    /// Forgets it.
    pub fn del_kept(&mut self, side: Side, account: &AccountName) {
        self.ops.push(Op::Remove(Key::kept(side, account)));
    }

    /// A message has the EMAILID of the one that it is a copy of.
    pub fn put_email(&mut self, account: AccountId, mailbox: MailboxId, uid: Uid, id: &EmailId) {
        let key = Key::email(account, mailbox, uid);
        self.put(account, mailbox, key, encoding::pack_email(id));
    }

    /// Messages are gone; whatever EMAILIDs they had are not needed any more.
    pub fn del_emails(&mut self, account: AccountId, mailbox: MailboxId, uids: &UidSet<Uid>) {
        self.ops.extend(uids.iter().map(|uid| Op::Remove(Key::email(account, mailbox, uid))));
    }

    /// Remembers what was learned about a backend, in the learner's own encoding.
    pub fn put_profile(&mut self, side: Side, profile: Vec<u8>) {
        self.ops.push(Op::Put(profile_key(side), profile));
    }

    fn put(&mut self, account: AccountId, mailbox: MailboxId, key: Key, value: Vec<u8>) {
        self.ops.push(Op::Put(key, value));
        if self.mailboxes.last() != Some(&(account, mailbox)) {
            self.mailboxes.push((account, mailbox));
        }
    }
}

/// Where a side's profile stands.
pub(super) fn profile_key(side: Side) -> Key {
    Key::meta(match side {
        Side::Old => "profile/old",
        Side::New => "profile/new",
    })
}
