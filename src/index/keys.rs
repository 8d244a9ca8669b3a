//! Where a value stands: the tree it belongs to, and its key there.
//!
//! All trees share one ordered key space, told apart by their first byte, so that one atomic batch
//! can touch any of them: a transaction over several trees may run its closure twice, a batch on
//! one does not. Numbers are big endian and keys of a tree have one length, so that the order of
//! keys is the order of numbers and a prefix is a range.

use super::records::{AccountId, Direction, MailboxId};
use crate::base::{AccountName, Side};
use crate::uid::Uid;

/// The trees. Their numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Tree {
    /// Name → number or blob: format, sequence, account counter, backend profiles.
    Meta = 1,
    /// Account id → name and record.
    Accounts = 2,
    /// Account id, mailbox id → record.
    Mailboxes = 3,
    /// Account id, mailbox id, first UID → a chunk of runs.
    Runs = 4,
    /// Account id, mailbox id, UID, direction → intent.
    Intents = 5,
    /// Account id, mailbox id → what is owed to old.
    Outbox = 6,
    /// Account id, mailbox id, UID → why a copy failed.
    Stuck = 7,
    /// Account id → the next mailbox id, so that none is ever used twice.
    Counters = 8,
    /// Account id, mailbox id, UID → the EMAILID of what was copied there.
    Emails = 9,
    /// Account id → the watermarks of its last clean `verify`.
    Verified = 10,
    /// Side, account's name → what a login showed there, sealed.
    Kept = 11,
    /// Account id, mailbox id → how large its messages on old are.
    Measured = 12,
    /// Account id → a RENAME that is under way.
    Renaming = 13,
    /// Account id, number → a MOVE that is under way.
    Moving = 14,
    /// Account id, mailbox id, UID, direction → a second copy that may come.
    SecondCopies = 15,
}

/// A key, or the beginning that a range of keys shares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(Vec<u8>);

impl Tree {
    /// All whose keys begin with an account's number, what an account is made of before what belongs
    /// to it: this is what a snapshot holds.
    pub const OF_ACCOUNTS: [Tree; 9] = [
        Tree::Accounts,
        Tree::Counters,
        Tree::Mailboxes,
        Tree::Runs,
        Tree::Intents,
        Tree::Outbox,
        Tree::Stuck,
        Tree::Emails,
        Tree::SecondCopies,
    ];
}

impl Key {
    /// A value of [`Tree::Meta`].
    pub fn meta(name: &str) -> Key {
        let mut key = Key::tree(Tree::Meta);
        key.0.extend_from_slice(name.as_bytes());
        key
    }

    /// An account's record.
    pub fn account(account: AccountId) -> Key {
        Key::tree(Tree::Accounts).then(account.0)
    }

    /// The stamp of an account's last clean `verify`.
    pub fn verified(account: AccountId) -> Key {
        Key::tree(Tree::Verified).then(account.0)
    }

    /// A MOVE of an account that is under way.
    pub fn moving(account: AccountId, number: u32) -> Key {
        Key::of_account(Tree::Moving, account).then(number)
    }

    /// The RENAME of an account that is under way.
    pub fn renaming(account: AccountId) -> Key {
        Key::tree(Tree::Renaming).then(account.0)
    }

    /// What a login of an account showed on a side.
    pub fn kept(side: Side, account: &AccountName) -> Key {
        let mut key = Key::tree(Tree::Kept);
        key.0.push(match side {
            Side::Old => 0,
            Side::New => 1,
        });
        key.0.extend_from_slice(account.as_str().as_bytes());
        key
    }

    /// An account's counter of mailbox ids.
    pub fn counter(account: AccountId) -> Key {
        Key::tree(Tree::Counters).then(account.0)
    }

    /// A mailbox's record.
    pub fn mailbox(account: AccountId, mailbox: MailboxId) -> Key {
        Key::of_mailbox(Tree::Mailboxes, account, mailbox)
    }

    /// What a mailbox owes to old.
    pub fn owed(account: AccountId, mailbox: MailboxId) -> Key {
        Key::of_mailbox(Tree::Outbox, account, mailbox)
    }

    /// How large a mailbox's messages on old are.
    pub fn measured(account: AccountId, mailbox: MailboxId) -> Key {
        Key::of_mailbox(Tree::Measured, account, mailbox)
    }

    /// The chunk that begins with this UID.
    pub fn runs(account: AccountId, mailbox: MailboxId, first: Uid) -> Key {
        Key::of_mailbox(Tree::Runs, account, mailbox).then(first.0)
    }

    /// A message's intent.
    pub fn intent(account: AccountId, mailbox: MailboxId, uid: Uid, direction: Direction) -> Key {
        let mut key = Key::of_mailbox(Tree::Intents, account, mailbox).then(uid.0);
        key.0.push(direction as u8);
        key
    }

    /// A message whose second copy may come.
    pub fn second_copy(
        account: AccountId,
        mailbox: MailboxId,
        uid: Uid,
        direction: Direction,
    ) -> Key {
        let mut key = Key::of_mailbox(Tree::SecondCopies, account, mailbox).then(uid.0);
        key.0.push(direction as u8);
        key
    }

    /// A message that could not be copied.
    pub fn stuck(account: AccountId, mailbox: MailboxId, uid: Uid) -> Key {
        Key::of_mailbox(Tree::Stuck, account, mailbox).then(uid.0)
    }

    /// A message that has the EMAILID of another place.
    pub fn email(account: AccountId, mailbox: MailboxId, uid: Uid) -> Key {
        Key::of_mailbox(Tree::Emails, account, mailbox).then(uid.0)
    }

    /// The beginning of all keys of a tree.
    pub fn tree(tree: Tree) -> Key {
        Key(vec![tree as u8])
    }

    /// The beginning of an account's keys in a tree.
    pub fn of_account(tree: Tree, account: AccountId) -> Key {
        Key::tree(tree).then(account.0)
    }

    /// The beginning of a mailbox's keys in a tree.
    pub fn of_mailbox(tree: Tree, account: AccountId, mailbox: MailboxId) -> Key {
        Key::of_account(tree, account).then(mailbox.0)
    }

    /// A key as it was found in a scan.
    pub fn from_bytes(key: &[u8]) -> Key {
        Key(key.to_vec())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of its tree, if it has one.
    pub fn tree_number(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn then(mut self, number: u32) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
}

/// The `n`th number behind the tree's byte.
pub fn number_in(key: &[u8], n: usize) -> Option<u32> {
    let at = 1 + 4 * n;
    let bytes = key.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The direction at the end of the key of an intent or of a second copy.
pub fn direction_in(key: &[u8]) -> Option<Direction> {
    match (key.len(), key.last()) {
        (14, Some(0)) => Some(Direction::ToNew),
        (14, Some(1)) => Some(Direction::ToOld),
        _ => None,
    }
}
