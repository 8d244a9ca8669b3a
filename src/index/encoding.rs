//! The bytes of what is remembered. Every value begins with the version of its encoding; reading is total.

mod mailbox;
#[cfg(test)]
mod tests;

use super::pack::{Malformed, Packer, Unpacker};
use super::records::{
    AccountRecord, Fate, Intent, MailboxId, Measured, Owed, SecondCopy, Stuck, Style, Verified,
};
use crate::base::{AccountName, MailboxName, Side, Sides};
use crate::uid::{EmailId, Number, ObjectId, SideUid, Uid, UidSet};

pub use self::mailbox::{pack_mailbox, unpack_mailbox};

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
            3 => Fate::MovedAlone,
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
