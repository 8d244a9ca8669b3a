//! The bytes of a mailbox's record.

use std::sync::Arc;

use super::{VERSION, mailbox_name, pack_set, unpack_set};
use crate::base::Sides;
use crate::imap::response::SpecialUse;
use crate::index::pack::{Malformed, Packer, Unpacker};
use crate::index::records::{ListedAs, MailboxId, MailboxRecord, Snapshot};
use crate::uid::{SideUid, Uid, UidSet};

/// Of a mailbox's value with `restored`.
const RESTORED_VERSION: u8 = 3;
/// Of a mailbox's value with `restored`, and what is not shown of old.
const UNSHOWN_VERSION: u8 = 4;
/// Of a mailbox's value with these, and with `skipped_from` and `altered`.
const ALTERED_VERSION: u8 = 5;
/// Of a mailbox's value with all of these, and with `shown_late` and `map_sum`.
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
    // 0: it is not known.
    out.number(record.map_sum.unwrap_or_default());
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
    let (mut shown_late, mut map_sum) = (Sides::default(), None);
    if version >= MAILBOX_VERSION {
        shown_late = Sides { old: unpack_set(&mut input)?, new: unpack_set(&mut input)? };
        map_sum = Some(input.number()?).filter(|sum| *sum > 0);
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
        map_sum,
    })
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
