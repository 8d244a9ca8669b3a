//! GETMETADATA and SETMETADATA (RFC 5464 §5).

use nom::IResult;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{map, map_opt, opt, peek, value, verify};
use nom::sequence::{pair, preceded, separated_pair, tuple};

use super::token::{argument, astring, listed, literal8, number64, sp, sp0, string, token};
use super::{Fault, nil};
use crate::base::MailboxName;
use crate::imap::command::{Command, Depth, Entry, MetadataAsked};

/// `getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries`. The options may
/// stand behind the mailbox as well: RFC 5464 §4.2.1 shows them there.
pub(super) fn get(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let some_options = || opt(preceded(sp, options));
    let one_entry = map(entry, |entry| vec![entry]);
    map(
        tuple((
            some_options(),
            argument("a mailbox name", mailbox_or_server),
            some_options(),
            argument("entries", alt((some(listed("an entry", entry)), one_entry))),
        )),
        |(before, mailbox, behind, entries)| {
            let mut asked = MetadataAsked { entries, depth: Depth::Zero, max_size: None };
            for option in before.into_iter().chain(behind).flatten() {
                match option {
                    Choice::MaxSize(octets) => asked.max_size = Some(octets),
                    Choice::Depth(depth) => asked.depth = depth,
                }
            }
            Command::GetMetadata { mailbox, asked }
        },
    )(input)
}

/// `setmetadata = "SETMETADATA" SP mailbox SP "(" entry-value *(SP entry-value) ")"`, where
/// `entry-value = entry SP value`.
pub(super) fn set(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let entry_value = separated_pair(entry, sp, entry_value);
    let values = some(listed("an entry and its value", entry_value));
    map(
        pair(argument("a mailbox name", mailbox_or_server), argument("entries", values)),
        |(mailbox, values)| Command::SetMetadata { mailbox, values },
    )(input)
}

#[derive(Clone, Copy)]
enum Choice {
    MaxSize(u64),
    Depth(Depth),
}

/// `getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"`, where
/// `getmetadata-option = "MAXSIZE" SP number / "DEPTH" SP ("0" / "1" / "infinity")`.
fn options(input: &[u8]) -> IResult<&[u8], Vec<Choice>, Fault> {
    let depth = alt((
        value(Depth::Zero, token("0")),
        value(Depth::One, token("1")),
        value(Depth::Infinity, token("infinity")),
    ));
    let option = alt((
        map(separated_pair(token("MAXSIZE"), sp, number64), |(_, octets)| Choice::MaxSize(octets)),
        map(separated_pair(token("DEPTH"), sp, depth), |(_, depth)| Choice::Depth(depth)),
    ));
    // A list of entries looks the same up to here.
    let is_it = tuple((tag("("), sp0, alt((token("MAXSIZE"), token("DEPTH")))));
    preceded(peek(is_it), listed("MAXSIZE or DEPTH with its value", option))(input)
}

/// `mailbox`, or the empty string for the server: `None`.
fn mailbox_or_server(input: &[u8]) -> IResult<&[u8], Option<MailboxName>, Fault> {
    map_opt(astring, |name| match name.as_slice() {
        [] => Some(None),
        name => MailboxName::new(name).map(Some),
    })(input)
}

/// `entry = astring`, as RFC 5464 §3.2 restricts it.
fn entry(input: &[u8]) -> IResult<&[u8], Entry, Fault> {
    map_opt(astring, |name| Entry::new(&name))(input)
}

/// `value = nstring / literal8`.
fn entry_value(input: &[u8]) -> IResult<&[u8], Option<Vec<u8>>, Fault> {
    alt((map(literal8, Some), map(string, Some), value(None, nil)))(input)
}

/// At least one of them.
fn some<'a, T>(
    items: impl FnMut(&'a [u8]) -> IResult<&'a [u8], Vec<T>, Fault>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Vec<T>, Fault> {
    verify(items, |items: &Vec<T>| !items.is_empty())
}
