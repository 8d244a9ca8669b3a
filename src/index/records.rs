//! What is remembered, as types. Their bytes are made and read in `encoding`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{MailboxName, Phase, Sides};
use crate::imap::response::SpecialUse;
use crate::uid::{SideUid, Uid, UidMap, UidSet};

/// An account's number in this index. Another index may give the same account another one: what
/// must outlive the index is kept by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub u32);

/// A mailbox's number within its account. Never used twice, so that a stale reference to a deleted
/// mailbox reaches nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailboxId(pub u32);

/// What is known of an account besides its mailboxes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountRecord {
    /// When it was first seen, in Unix seconds.
    pub created_at: u64,
    /// The phase it was put into by name; `None`: what the configuration says.
    pub phase: Option<Phase>,
    /// When that phase began, in Unix seconds.
    pub phase_since: u64,
    /// The wave it moves with.
    pub wave: Option<String>,
    /// How each side names mailboxes, as its last listing told.
    pub styles: Sides<Option<Style>>,
    /// What it was enrolled with.
    pub roll: Roll,
    /// Whether its copying is paused.
    pub paused: bool,
}

/// What the administrator said of an account when it was enrolled, beside its wave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roll {
    /// Its turn: lower numbers come first, accounts without one last.
    pub priority: Option<u32>,
    /// Its login on each side, where that is not what the template makes.
    pub logins: Sides<Option<String>>,
}

/// How a side spells its personal mailboxes: what its NAMESPACE (RFC 2342) and LIST say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Style {
    /// The prefix of the personal namespace, with its separator: `INBOX.`, or nothing.
    pub prefix: Vec<u8>,
    /// What divides the levels of a name; none on a server without hierarchy.
    pub separator: Option<u8>,
}

/// A mailbox as one side listed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedAs {
    /// Neither `\Noselect` nor `\NonExistent`.
    pub selectable: bool,
    /// Subscribed there.
    pub subscribed: bool,
    /// `\HasChildren` or `\HasNoChildren`, if the server said so.
    pub children: Option<bool>,
    /// Its special use, if the server said one.
    pub special: Option<SpecialUse>,
}

/// A mailbox as the client sees it, and what was last absorbed from both sides (DESIGN §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxRecord {
    /// Its number.
    pub id: MailboxId,
    /// Its name as the client knows it.
    pub client: MailboxName,
    /// Its name when it was first seen, if it has another one by now: its MAILBOXID is made of it.
    pub first_name: Option<MailboxName>,
    /// Its name on old, if it exists there.
    pub old: Option<MailboxName>,
    /// Its name on new, if it exists there.
    pub new: Option<MailboxName>,
    /// Fixed at first sight (V1).
    pub uid_validity: u32,
    /// Above every UID ever given out (V2).
    pub uid_next: Uid,
    /// The first UID that is ours and not old's, once there is one.
    pub boundary: Option<Uid>,
    /// Each side as last absorbed.
    pub sides: Sides<Option<Snapshot>>,
    /// The virtual HIGHESTMODSEQ (DESIGN §5) is not above this: values are reserved in strides.
    pub mod_seq: u64,
    /// Virtual modseq ↔ both sides' (DESIGN §5), ascending.
    pub checkpoints: Vec<(u64, Sides<u64>)>,
    /// Deleted by the client, kept on old (V6).
    pub hidden: bool,
    /// Where it is, as each side's last complete listing told: while a side is away, or before it
    /// was asked again after a restart, this says what it has.
    pub listed: Sides<Option<ListedAs>>,
    /// Messages on each side, at or above its watermark, that were decided over and are not shown.
    pub unshown: Sides<UidSet<SideUid>>,
    /// While what lies on both sides is being matched: messages on new below this UID that the map
    /// does not know wait for it.
    pub matching: Option<SideUid>,
    /// What is being matched arrived after the first matching: so does what follows, and it is shown at
    /// once where old cannot be asked.
    pub late: bool,
    /// The index was lost or put back from a snapshot, and this side was not seen since: what arrived
    /// on old meanwhile may have old's UIDs, and what arrived on new may be copies of what lies on old,
    /// with the flags that count.
    pub restored: Sides<bool>,
    /// What UIDNEXT was when the boundary was set, where that is known: from here up to the boundary no
    /// message has ever had a UID.
    pub skipped_from: Option<Uid>,
    /// Messages whose copy on new is not quite what old has, as another tool made it: where they lie
    /// on both sides, clients go on reading old's. It may span what is no message.
    pub altered: Arc<UidSet<Uid>>,
    /// What was shown though the other side could not be asked: it is compared when it can.
    pub shown_late: Sides<UidSet<SideUid>>,
    /// The [`sum`](UidMap::sum) of the map that was written with it, where that is known.
    pub map_sum: Option<u64>,
}

/// Four numbers of one side's mailbox, taken from one connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Snapshot {
    /// UIDVALIDITY there.
    pub uid_validity: u32,
    /// UIDNEXT there: the watermark.
    pub uid_next: SideUid,
    /// EXISTS there.
    pub messages: u32,
    /// HIGHESTMODSEQ there, where the side has CONDSTORE.
    pub highest_mod_seq: Option<u64>,
}

/// Written before an APPEND, so that a copy whose fate is unknown is found again (V5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// UIDNEXT of the receiving side before the APPEND.
    pub new_uid_next: SideUid,
    /// The message's size.
    pub octets: u64,
    /// INTERNALDATE as it was sent.
    pub internal_date: String,
    /// BLAKE3 of the message.
    pub hash: [u8; 32],
    /// When, in Unix seconds.
    pub written_at: u64,
    /// Settled, and kept a day: a copy that turns up late is recognised.
    pub closed: bool,
    /// An earlier APPEND of the same message came to no known end: its copy may still turn up, so
    /// that settling this one closes it and does not forget it.
    pub again: bool,
}

/// Which way a copy goes. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Direction {
    /// From old to new: the copier.
    ToNew = 0,
    /// From new to old: the mirror.
    ToOld = 1,
}

/// Mail that lay on one side alone and was carried, or removed, so soon that its second copy may have yet to
/// come to the other side: mail may be delivered to both. That copy is no other message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecondCopy {
    /// Hash of its Message-ID; 0 where there is none.
    pub id: u64,
    /// Hash of its Date, From and Subject.
    pub head: u64,
    /// Its INTERNALDATE in seconds since 1970.
    pub date: i64,
    /// BLAKE3 of what was sent.
    pub text: [u8; 32],
    /// BLAKE3 of what was written of the delivery.
    pub trace: [u8; 32],
    /// What became of it.
    pub fate: Fate,
    /// When this was written, in Unix seconds.
    pub written_at: u64,
}

/// What became of a message whose second copy may come. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fate {
    /// It was carried to the other side.
    Carried = 0,
    /// A client removed it.
    Removed = 1,
    /// A client moved it to another mailbox, or removed one of two that it may have seen: somebody may put it back.
    Moved = 2,
    /// A client moved it on the side where it lay alone, and to the other one it has not come: nobody can put it
    /// back there.
    MovedAlone = 3,
}

/// A message that could not be copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// The server's own words.
    pub reason: String,
    /// How often it was tried.
    pub tries: u32,
    /// When to try again, in Unix seconds.
    pub next_try: u64,
}

/// What was done to a mailbox through the proxy and old has yet to be told of. A message that lies on
/// new alone is owed as well: its place says so.
///
/// These are sets, and no operations: telling old twice is as good as once, and in whatever order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owed {
    /// Old copies of messages that a client removed, while new decided over them.
    pub removed: UidSet<SideUid>,
    /// Old copies of messages of which some are being removed: those that the map has afterwards
    /// were not.
    pub removing: UidSet<SideUid>,
    /// Messages whose flags a client changed.
    pub flags: UidSet<Uid>,
    /// New's copies of messages that went from old while old decided over them: this is owed to new.
    pub twins: UidSet<SideUid>,
}

impl Owed {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.is_told() && self.twins.is_empty()
    }

    /// Whether nothing is owed to old.
    pub fn is_told(&self) -> bool {
        self.removed.is_empty() && self.removing.is_empty() && self.flags.is_empty()
    }
}

/// What both sides looked like when `verify` found nothing missing and nothing different.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// When, in Unix seconds.
    pub at: u64,
    /// For each mailbox the UIDVALIDITY and UIDNEXT of each side that has it.
    pub mailboxes: BTreeMap<MailboxId, Sides<Option<(u32, SideUid)>>>,
}

/// How large messages of a mailbox on old are, to tell of progress: what a server said of all of them,
/// or what those took that were carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Measured {
    /// So many of them.
    pub messages: u64,
    /// What they take together.
    pub octets: u64,
}

/// All there is about one mailbox.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its record.
    pub record: MailboxRecord,
    /// Its map.
    pub map: UidMap,
    /// Its intents, open and closed, by UID.
    pub intents: Vec<(Uid, Direction, Intent)>,
    /// Second copies that may come to a side, by the UID of the message.
    pub second_copies: Vec<(Uid, Direction, SecondCopy)>,
    /// Its messages that could not be copied, by UID.
    pub stuck: Vec<(Uid, Stuck)>,
    /// What it owes to old.
    pub owed: Owed,
}
