//! What is remembered, as types, and their bytes. Every value begins with the version of its
//! encoding; reading is total.

use super::pack::{Malformed, Packer, Unpacker};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{AccountName, MailboxName, Phase, Side, Sides};
use crate::imap::response::SpecialUse;
use crate::uid::{EmailId, Number, ObjectId, SideUid, Uid, UidMap, UidSet};

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
    /// A client moved it to another mailbox, or removed one of two that it may have seen.
    Moved = 2,
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

/// An account's value: its name and record.
pub fn pack_account(name: &AccountName, record: &AccountRecord) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.octets(name.as_str().as_bytes());
    out.number(record.created_at);
    out.number(record.phase_since);
    for text in [&record.phase.map(|phase| phase.to_string()), &record.wave] {
        out.byte(u8::from(text.is_some()));
        if let Some(text) = text {
            out.octets(text.as_bytes());
        }
    }
    for (_, style) in record.styles.iter() {
        out.byte(u8::from(style.is_some()));
        if let Some(style) = style {
            out.octets(&style.prefix);
            out.octets(style.separator.as_slice());
        }
    }
    out.byte(u8::from(record.paused));
    // One more than it is; 0: none.
    out.number(record.roll.priority.map_or(0, |priority| u64::from(priority) + 1));
    for (_, login) in record.roll.logins.iter() {
        out.octets(login.as_deref().unwrap_or_default().as_bytes());
    }
    out.done()
}

/// The other way round.
pub fn unpack_account(bytes: &[u8]) -> Result<(AccountName, AccountRecord), Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let name = account_name(&input.text()?)?;
    let mut record = AccountRecord {
        created_at: input.number()?,
        phase_since: input.number()?,
        ..AccountRecord::default()
    };
    if input.byte()? != 0 {
        record.phase = Some(input.text()?.parse().map_err(|_| Malformed("no phase"))?);
    }
    if input.byte()? != 0 {
        record.wave = Some(input.text()?);
    }
    for style in [&mut record.styles.old, &mut record.styles.new] {
        if input.byte()? != 0 {
            let prefix = input.octets()?.to_vec();
            *style = Some(Style { prefix, separator: input.octets()?.first().copied() });
        }
    }
    // Records of before there were rolls end here.
    if !input.is_empty() {
        record.paused = input.byte()? != 0;
        record.roll.priority = match input.number()? {
            0 => None,
            n => Some(u32::try_from(n - 1).map_err(|_| Malformed("no priority"))?),
        };
        for login in [&mut record.roll.logins.old, &mut record.roll.logins.new] {
            *login = Some(input.text()?).filter(|login| !login.is_empty());
        }
    }
    input.finish()?;
    Ok((name, record))
}

/// A mailbox's value. Its id stands in the key.
pub fn pack_mailbox(record: &MailboxRecord) -> Vec<u8> {
    let mut flags = 0;
    for (bit, set) in [
        (HIDDEN, record.hidden),
        (HAS_OLD, record.old.is_some()),
        (HAS_NEW, record.new.is_some()),
        (HAS_BOUNDARY, record.boundary.is_some()),
        (SEEN_OLD, record.sides.old.is_some()),
        (SEEN_NEW, record.sides.new.is_some()),
        (RENAMED, record.first_name.is_some()),
        (MATCHING, record.matching.is_some()),
    ] {
        flags |= if set { bit } else { 0 };
    }
    let mut out = Packer::versioned(MAILBOX_VERSION);
    out.byte(flags);
    out.octets(record.client.as_bytes());
    for name in [&record.old, &record.new, &record.first_name].into_iter().flatten() {
        out.octets(name.as_bytes());
    }
    out.number(record.uid_validity.into());
    out.number(record.uid_next.0.into());
    if let Some(boundary) = record.boundary {
        out.number(boundary.0.into());
    }
    for (_, snapshot) in record.sides.iter() {
        if let Some(snapshot) = snapshot {
            pack_snapshot(&mut out, snapshot);
        }
    }
    out.number(record.mod_seq);
    out.number(record.checkpoints.len() as u64);
    let mut before = (0, Sides::default());
    for &(at, sides) in &record.checkpoints {
        // They lie close together, so differences take a byte or two; numbers may wrap.
        out.signed(difference(at, before.0));
        out.signed(difference(sides.old, before.1.old));
        out.signed(difference(sides.new, before.1.new));
        before = (at, sides);
    }
    for (_, listed) in record.listed.iter() {
        pack_listed(&mut out, listed.as_ref());
    }
    pack_set(&mut out, &record.unshown.new);
    pack_set(&mut out, &record.unshown.old);
    if let Some(below) = record.matching {
        out.number(below.0.into());
    }
    let Sides { old, new } = record.restored;
    out.byte(u8::from(old) | u8::from(new) << 1 | u8::from(record.late) << 2);
    // 0: it is not known.
    out.number(record.skipped_from.map_or(0, |from| from.0.into()));
    pack_set(&mut out, &record.altered);
    for (_, late) in record.shown_late.iter() {
        pack_set(&mut out, late);
    }
    out.done()
}

/// The other way round.
pub fn unpack_mailbox(id: MailboxId, bytes: &[u8]) -> Result<MailboxRecord, Malformed> {
    let version = match bytes.first() {
        Some(known @ RESTORED_VERSION..=MAILBOX_VERSION) => *known,
        _ => VERSION,
    };
    let mut input = Unpacker::versioned(bytes, version)?;
    let flags = input.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let client = mailbox_name(input.octets()?)?;
    let old = if has(HAS_OLD) { Some(mailbox_name(input.octets()?)?) } else { None };
    let new = if has(HAS_NEW) { Some(mailbox_name(input.octets()?)?) } else { None };
    let first_name = if has(RENAMED) { Some(mailbox_name(input.octets()?)?) } else { None };
    let uid_validity = input.number32()?;
    let uid_next = Uid(input.number32()?);
    let boundary = if has(HAS_BOUNDARY) { Some(Uid(input.number32()?)) } else { None };
    let sides = Sides {
        old: if has(SEEN_OLD) { Some(unpack_snapshot(&mut input)?) } else { None },
        new: if has(SEEN_NEW) { Some(unpack_snapshot(&mut input)?) } else { None },
    };
    let mod_seq = input.number()?;
    let mut checkpoints = Vec::new();
    let mut before = (0u64, Sides { old: 0u64, new: 0u64 });
    for _ in 0..input.number()? {
        // Grows only as far as there are bytes: a damaged count ends in an error, not in memory.
        before = (
            before.0.wrapping_add_signed(input.signed()?),
            Sides {
                old: before.1.old.wrapping_add_signed(input.signed()?),
                new: before.1.new.wrapping_add_signed(input.signed()?),
            },
        );
        checkpoints.push(before);
    }
    let listed = Sides { old: unpack_listed(&mut input)?, new: unpack_listed(&mut input)? };
    let mut unshown = Sides { old: UidSet::new(), new: unpack_set(&mut input)? };
    if version >= UNSHOWN_VERSION {
        unshown.old = unpack_set(&mut input)?;
    }
    let matching = if has(MATCHING) { Some(SideUid(input.number32()?)) } else { None };
    let restored = if version == VERSION { 0 } else { input.byte()? };
    let (mut skipped_from, mut altered) = (None, UidSet::new());
    if version >= ALTERED_VERSION {
        skipped_from = Some(Uid(input.number32()?)).filter(|from| from.0 > 0);
        altered = unpack_set(&mut input)?;
    }
    let mut shown_late = Sides::default();
    if version >= MAILBOX_VERSION {
        shown_late = Sides { old: unpack_set(&mut input)?, new: unpack_set(&mut input)? };
    }
    input.finish()?;
    Ok(MailboxRecord {
        id,
        client,
        first_name,
        old,
        new,
        uid_validity,
        uid_next,
        boundary,
        sides,
        mod_seq,
        checkpoints,
        hidden: has(HIDDEN),
        listed,
        unshown,
        matching,
        late: restored & 4 != 0,
        restored: Sides { old: restored & 1 != 0, new: restored & 2 != 0 },
        skipped_from,
        altered: Arc::new(altered),
        shown_late,
    })
}

pub fn pack_set<U: Number>(out: &mut Packer, set: &UidSet<U>) {
    out.number(set.range_count() as u64);
    for (first, last) in set.ranges() {
        out.number(first.into().into());
        out.number(last.into().into());
    }
}

pub fn unpack_set<U: Number>(input: &mut Unpacker<'_>) -> Result<UidSet<U>, Malformed> {
    let mut ranges = Vec::new();
    for _ in 0..input.number()? {
        ranges.push((U::from(input.number32()?), U::from(input.number32()?)));
    }
    Ok(UidSet::from_ranges(ranges))
}

/// One byte of facts, and one for the special use: its place in [`SpecialUse::ALL`], from 1.
fn pack_listed(out: &mut Packer, listed: Option<&ListedAs>) {
    let Some(listed) = listed else { return out.byte(0) };
    let mut facts = LISTED;
    for (bit, set) in [
        (SELECTABLE, listed.selectable),
        (SUBSCRIBED, listed.subscribed),
        (CHILDREN, listed.children == Some(true)),
        (NO_CHILDREN, listed.children == Some(false)),
    ] {
        facts |= if set { bit } else { 0 };
    }
    out.byte(facts);
    let place = |special| SpecialUse::ALL.iter().position(|known| *known == special);
    out.number(listed.special.and_then(place).map_or(0, |at| at as u64 + 1));
}

fn unpack_listed(input: &mut Unpacker<'_>) -> Result<Option<ListedAs>, Malformed> {
    let facts = input.byte()?;
    if facts == 0 {
        return Ok(None);
    }
    let has = |bit: u8| facts & bit != 0;
    let special = match input.number()? {
        0 => None,
        at => {
            let at = usize::try_from(at - 1).ok().and_then(|at| SpecialUse::ALL.get(at));
            Some(*at.ok_or(Malformed("unknown special use"))?)
        }
    };
    Ok(Some(ListedAs {
        selectable: has(SELECTABLE),
        subscribed: has(SUBSCRIBED),
        children: has(CHILDREN).then_some(true).or(has(NO_CHILDREN).then_some(false)),
        special,
    }))
}

fn difference(n: u64, before: u64) -> i64 {
    n.wrapping_sub(before) as i64
}

fn pack_snapshot(out: &mut Packer, snapshot: &Snapshot) {
    out.number(snapshot.uid_validity.into());
    out.number(snapshot.uid_next.0.into());
    out.number(snapshot.messages.into());
    out.byte(u8::from(snapshot.highest_mod_seq.is_some()));
    if let Some(n) = snapshot.highest_mod_seq {
        out.number(n);
    }
}

fn unpack_snapshot(input: &mut Unpacker<'_>) -> Result<Snapshot, Malformed> {
    Ok(Snapshot {
        uid_validity: input.number32()?,
        uid_next: SideUid(input.number32()?),
        messages: input.number32()?,
        highest_mod_seq: match input.byte()? {
            0 => None,
            _ => Some(input.number()?),
        },
    })
}

/// An intent's value.
pub fn pack_intent(intent: &Intent) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.byte(u8::from(intent.closed) | u8::from(intent.again) << 1);
    out.number(intent.new_uid_next.0.into());
    out.number(intent.octets);
    out.number(intent.written_at);
    out.octets(intent.internal_date.as_bytes());
    out.fixed(&intent.hash);
    out.done()
}

/// The other way round.
pub fn unpack_intent(bytes: &[u8]) -> Result<Intent, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let state = input.byte()?;
    let intent = Intent {
        closed: state & 1 != 0,
        again: state & 2 != 0,
        new_uid_next: SideUid(input.number32()?),
        octets: input.number()?,
        written_at: input.number()?,
        internal_date: input.text()?,
        hash: input.fixed()?,
    };
    input.finish()?;
    Ok(intent)
}

/// The value of a second copy that may come.
pub fn pack_second_copy(second: &SecondCopy) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.number(second.id);
    out.number(second.head);
    out.number(second.date.cast_unsigned());
    out.fixed(&second.text);
    out.fixed(&second.trace);
    out.byte(second.fate as u8);
    out.number(second.written_at);
    out.done()
}

/// The other way round.
pub fn unpack_second_copy(bytes: &[u8]) -> Result<SecondCopy, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let second = SecondCopy {
        id: input.number()?,
        head: input.number()?,
        date: input.number()?.cast_signed(),
        text: input.fixed()?,
        trace: input.fixed()?,
        fate: match input.byte()? {
            0 => Fate::Carried,
            1 => Fate::Removed,
            2 => Fate::Moved,
            _ => return Err(Malformed("unknown fate")),
        },
        written_at: input.number()?,
    };
    input.finish()?;
    Ok(second)
}

/// The value of a message that has the EMAILID of another place.
pub fn pack_email(id: &EmailId) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.number(id.uid.0.into());
    out.fixed(&id.mailbox.to_bytes());
    out.done()
}

/// The other way round.
pub fn unpack_email(bytes: &[u8]) -> Result<EmailId, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let uid = Uid(input.number32()?);
    let id = EmailId { uid, mailbox: ObjectId::from_bytes(input.fixed()?) };
    input.finish()?;
    Ok(id)
}

/// The value of what is owed to old.
pub fn pack_owed(owed: &Owed) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    pack_set(&mut out, &owed.removed);
    pack_set(&mut out, &owed.removing);
    pack_set(&mut out, &owed.flags);
    pack_set(&mut out, &owed.twins);
    out.done()
}

/// The other way round.
pub fn unpack_owed(bytes: &[u8]) -> Result<Owed, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let mut owed = Owed {
        removed: unpack_set(&mut input)?,
        removing: unpack_set(&mut input)?,
        flags: unpack_set(&mut input)?,
        twins: UidSet::new(),
    };
    // Before format 6 nothing was owed to new.
    if !input.is_empty() {
        owed.twins = unpack_set(&mut input)?;
    }
    input.finish()?;
    Ok(owed)
}

/// The value of a clean `verify`.
pub fn pack_verified(verified: &Verified) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.number(verified.at);
    out.number(verified.mailboxes.len() as u64);
    for (id, sides) in &verified.mailboxes {
        out.number(id.0.into());
        for (_, mark) in sides.iter() {
            out.byte(u8::from(mark.is_some()));
            if let Some((validity, next)) = mark {
                out.number((*validity).into());
                out.number(next.0.into());
            }
        }
    }
    out.done()
}

/// The other way round.
pub fn unpack_verified(bytes: &[u8]) -> Result<Verified, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let mut verified = Verified { at: input.number()?, ..Verified::default() };
    for _ in 0..input.number()? {
        let id = MailboxId(input.number32()?);
        let mut sides = Sides::default();
        for side in Side::BOTH {
            if input.byte()? != 0 {
                sides[side] = Some((input.number32()?, SideUid(input.number32()?)));
            }
        }
        verified.mailboxes.insert(id, sides);
    }
    input.finish()?;
    Ok(verified)
}

/// What was measured of a mailbox.
pub fn pack_measured(measured: Measured) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.number(measured.messages);
    out.number(measured.octets);
    out.done()
}

/// The other way round.
pub fn unpack_measured(bytes: &[u8]) -> Result<Measured, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let measured = Measured { messages: input.number()?, octets: input.number()? };
    input.finish()?;
    Ok(measured)
}

/// A stuck message's value. A reason longer than [`LONGEST_REASON`] is cut.
pub fn pack_stuck(stuck: &Stuck) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.number(stuck.tries.into());
    out.number(stuck.next_try);
    let end = stuck.reason.floor_char_boundary(LONGEST_REASON);
    out.octets(&stuck.reason.as_bytes()[..end]);
    out.done()
}

/// The other way round.
pub fn unpack_stuck(bytes: &[u8]) -> Result<Stuck, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let stuck =
        Stuck { tries: input.number32()?, next_try: input.number()?, reason: input.text()? };
    input.finish()?;
    Ok(stuck)
}

/// A name that was canonical when it was written is its own canonical form.
pub fn account_name(text: &str) -> Result<AccountName, Malformed> {
    AccountName::canonical(text, None).ok_or(Malformed("not the name of an account"))
}

/// A mailbox name as it was written.
pub fn mailbox_name(octets: &[u8]) -> Result<MailboxName, Malformed> {
    MailboxName::new(octets).ok_or(Malformed("not the name of a mailbox"))
}

/// Octets of a reason that are kept: more than any server says to a person, and few enough for a
/// page of them to stay small.
const LONGEST_REASON: usize = 2_000;

const VERSION: u8 = 2;
/// Of a mailbox's value with `restored`.
const RESTORED_VERSION: u8 = 3;
/// Of a mailbox's value with `restored`, and what is not shown of old.
const UNSHOWN_VERSION: u8 = 4;
/// Of a mailbox's value with these, and with `skipped_from` and `altered`.
const ALTERED_VERSION: u8 = 5;
/// Of a mailbox's value with all of these, and with `shown_late`.
const MAILBOX_VERSION: u8 = 6;
const HIDDEN: u8 = 1;
const HAS_OLD: u8 = 1 << 1;
const HAS_NEW: u8 = 1 << 2;
const HAS_BOUNDARY: u8 = 1 << 3;
const SEEN_OLD: u8 = 1 << 4;
const SEEN_NEW: u8 = 1 << 5;
const RENAMED: u8 = 1 << 6;
const MATCHING: u8 = 1 << 7;
const LISTED: u8 = 1;
const SELECTABLE: u8 = 1 << 1;
const SUBSCRIBED: u8 = 1 << 2;
const CHILDREN: u8 = 1 << 3;
const NO_CHILDREN: u8 = 1 << 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = MailboxName> {
        prop::collection::vec(14u8..=255, 1..40).prop_map(|b| MailboxName::new(&b).unwrap())
    }

    fn any_snapshot() -> impl Strategy<Value = Snapshot> {
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<Option<u64>>()).prop_map(
            |(uid_validity, uid_next, messages, highest_mod_seq)| Snapshot {
                uid_validity,
                uid_next: SideUid(uid_next),
                messages,
                highest_mod_seq,
            },
        )
    }

    fn any_mailbox() -> impl Strategy<Value = MailboxRecord> {
        let name = || prop::option::of(any_name());
        let names = (any_name(), name(), name(), name());
        let numbers = (any::<u32>(), any::<u32>(), any::<Option<u32>>(), any::<u64>());
        let sides = (prop::option::of(any_snapshot()), prop::option::of(any_snapshot()));
        let checkpoints = prop::collection::vec(any::<(u64, u64, u64)>(), 0..5);
        let listed = (prop::option::of(any_listed()), prop::option::of(any_listed()));
        let sets = || (any_set(), any_set()).prop_map(|(old, new)| Sides { old, new });
        let (unshown, shown_late) = (sets(), sets());
        let matching = (prop::option::of(any::<u32>()), any::<bool>());
        let altered = any_set().prop_map(Arc::new);
        let skipped = prop::option::of((1..=u32::MAX).prop_map(Uid));
        let rest = (any::<bool>(), listed, unshown, matching, any::<(bool, bool)>());
        let rest = (rest, skipped, altered, shown_late);
        (any::<u32>(), names, numbers, sides, checkpoints, rest).prop_map(
            |(
                id,
                (client, first_name, old, new),
                (validity, next, boundary, mod_seq),
                sides,
                points,
                (
                    (hidden, listed, unshown, (matching, late), restored),
                    skipped_from,
                    altered,
                    shown_late,
                ),
            )| {
                MailboxRecord {
                    id: MailboxId(id),
                    client,
                    first_name,
                    old,
                    new,
                    uid_validity: validity,
                    uid_next: Uid(next),
                    boundary: boundary.map(Uid),
                    sides: Sides { old: sides.0, new: sides.1 },
                    mod_seq,
                    checkpoints: points
                        .into_iter()
                        .map(|(at, old, new)| (at, Sides { old, new }))
                        .collect(),
                    hidden,
                    listed: Sides { old: listed.0, new: listed.1 },
                    unshown,
                    matching: matching.map(SideUid),
                    late,
                    restored: Sides { old: restored.0, new: restored.1 },
                    skipped_from,
                    altered,
                    shown_late,
                }
            },
        )
    }

    fn any_set<U: Number + std::fmt::Debug>() -> impl Strategy<Value = UidSet<U>> {
        let uids = prop::collection::vec(any::<u32>(), 0..5);
        uids.prop_map(|uids| uids.into_iter().map(U::from).collect())
    }

    fn any_listed() -> impl Strategy<Value = ListedAs> {
        let special = prop::option::of(prop::sample::select(SpecialUse::ALL.to_vec()));
        (any::<bool>(), any::<bool>(), any::<Option<bool>>(), special).prop_map(
            |(selectable, subscribed, children, special)| ListedAs {
                selectable,
                subscribed,
                children,
                special,
            },
        )
    }

    fn any_style() -> impl Strategy<Value = Option<Style>> {
        let style = (any::<Vec<u8>>(), any::<Option<u8>>());
        prop::option::of(style.prop_map(|(prefix, separator)| Style { prefix, separator }))
    }

    proptest! {
        #[test]
        fn mailboxes_survive_packing(record in any_mailbox()) {
            prop_assert_eq!(unpack_mailbox(record.id, &pack_mailbox(&record)), Ok(record));
        }

        #[test]
        fn intents_survive_packing(
            next: u32, octets: u64, date: String, hash: [u8; 32], written_at: u64,
            closed: bool, again: bool
        ) {
            let intent = Intent {
                new_uid_next: SideUid(next), octets, internal_date: date, hash, written_at, closed,
                again,
            };
            prop_assert_eq!(unpack_intent(&pack_intent(&intent)), Ok(intent));
        }

        #[test]
        fn emails_survive_packing(uid: u32, mailbox: [u8; 16]) {
            let id = EmailId { mailbox: ObjectId::from_bytes(mailbox), uid: Uid(uid) };
            prop_assert_eq!(unpack_email(&pack_email(&id)), Ok(id));
        }

        #[test]
        fn what_is_owed_survives_packing(
            removed in any_set(), removing in any_set(), flags in any_set(), twins in any_set()
        ) {
            let owed = Owed { removed, removing, flags, twins };
            prop_assert_eq!(unpack_owed(&pack_owed(&owed)), Ok(owed));
        }

        #[test]
        fn a_clean_verify_survives_packing(
            at: u64, marks in prop::collection::btree_map(
                any::<u32>().prop_map(MailboxId),
                (any::<Option<(u32, u32)>>(), any::<Option<(u32, u32)>>()), 0..5,
            )
        ) {
            let side = |mark: Option<(u32, u32)>| mark.map(|(v, next)| (v, SideUid(next)));
            let marks = marks.into_iter();
            let mailboxes =
                marks.map(|(id, (old, new))| (id, Sides { old: side(old), new: side(new) }));
            let verified = Verified { at, mailboxes: mailboxes.collect() };
            prop_assert_eq!(unpack_verified(&pack_verified(&verified)), Ok(verified));
        }

        #[test]
        fn what_was_measured_survives_packing(messages: u64, octets: u64) {
            let measured = Measured { messages, octets };
            prop_assert_eq!(unpack_measured(&pack_measured(measured)), Ok(measured));
        }

        #[test]
        fn second_copies_survive_packing(id: u64, head: u64, date: i64, text: [u8; 32],
            trace: [u8; 32], written_at: u64) {
            let fates = [Fate::Carried, Fate::Removed, Fate::Moved];
            let fate = fates[(id % 3) as usize];
            let second = SecondCopy { id, head, date, text, trace, fate, written_at };
            prop_assert_eq!(unpack_second_copy(&pack_second_copy(&second)), Ok(second));
        }

        #[test]
        fn stuck_messages_survive_packing(reason: String, tries: u32, next_try: u64) {
            let stuck = Stuck { reason, tries, next_try };
            prop_assert_eq!(unpack_stuck(&pack_stuck(&stuck)), Ok(stuck));
        }

        #[test]
        fn a_long_reason_is_cut_between_characters(n in 1_990usize..2_010) {
            let stuck = Stuck { reason: "a".repeat(n) + "éééééé", tries: 1, next_try: 1 };
            let back = unpack_stuck(&pack_stuck(&stuck)).unwrap();
            prop_assert!(back.reason.len() <= LONGEST_REASON && stuck.reason.starts_with(&back.reason));
            prop_assert!(back.reason.len() >= LONGEST_REASON - 1 || back == stuck);
        }

        #[test]
        fn accounts_survive_packing(
            created_at: u64, phase_since: u64, wave: Option<String>,
            phase in prop::option::of(prop::sample::select(Phase::ALL.to_vec())),
            old in any_style(), new in any_style(), paused: bool, priority: Option<u32>,
            login in prop::option::of("[a-z]{1,9}")
        ) {
            let name = AccountName::canonical("ann@example.com", None).unwrap();
            let styles = Sides { old, new };
            let logins = Sides { old: None, new: login };
            let roll = Roll { priority, logins };
            let record =
                AccountRecord { created_at, phase_since, phase, wave, styles, roll, paused };
            prop_assert_eq!(unpack_account(&pack_account(&name, &record)), Ok((name, record)));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            let _ = unpack_account(&bytes);
            let _ = unpack_mailbox(MailboxId(1), &bytes);
            let _ = unpack_intent(&bytes);
            let _ = unpack_stuck(&bytes);
            let _ = unpack_second_copy(&bytes);
            let _ = unpack_email(&bytes);
            let _ = unpack_owed(&bytes);
            let _ = unpack_verified(&bytes);
            let _ = unpack_measured(&bytes);
        }

        #[test]
        fn a_shortened_value_is_refused(record in any_mailbox(), cut in any::<usize>()) {
            let bytes = pack_mailbox(&record);
            prop_assert!(unpack_mailbox(record.id, &bytes[..cut % bytes.len()]).is_err());
        }
    }
}
