//! The arguments of LIST.

use nom::IResult;
use nom::branch::alt;
use nom::combinator::{map, opt, value};
use nom::sequence::{pair, preceded, tuple};

use super::token::{argument, astring, expect, listed, sp, token};
use super::{Fault, status_items};
use crate::imap::command::{Command, List, ListReturn, ListSelect, StatusItem};

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`
/// (RFC 5258 §6). Wildcards are let through in the reference name too.
pub(super) fn arguments(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let one = map(astring, |pattern| (false, vec![pattern]));
    let several = map(listed("a mailbox pattern", astring), |patterns| (true, patterns));
    let (rest, (select, reference, (several, patterns), returns)) = tuple((
        opt(preceded(sp, selection)),
        argument("a reference name", astring),
        argument("a mailbox pattern", alt((several, one))),
        opt(preceded(pair(sp, token("RETURN")), argument("return options", returned))),
    ))(input)?;
    let extended = several || select.is_some() || returns.is_some();
    let (select, returns) = (select.unwrap_or_default(), returns.unwrap_or_default());
    Ok((rest, Command::List(List { extended, select, reference, patterns, returns })))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Select {
    Subscribed,
    SpecialUse,
    Remote,
    RecursiveMatch,
}

/// `list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"`, with SPECIAL-USE of
/// RFC 6154 §6. RECURSIVEMATCH means nothing without SUBSCRIBED, and is refused (RFC 5258 §3.1).
fn selection(input: &[u8]) -> IResult<&[u8], ListSelect, Fault> {
    let option = alt((
        value(Select::Subscribed, token("SUBSCRIBED")),
        value(Select::SpecialUse, token("SPECIAL-USE")),
        value(Select::Remote, token("REMOTE")),
        value(Select::RecursiveMatch, token("RECURSIVEMATCH")),
    ));
    let (rest, options) = listed("a known LIST selection option", option)(input)?;
    let has = |option| options.contains(&option);
    let select = ListSelect {
        subscribed: has(Select::Subscribed),
        special_use: has(Select::SpecialUse),
        recursive_match: has(Select::RecursiveMatch),
    };
    if select.recursive_match && !select.subscribed {
        return Err(nom::Err::Failure(Fault::refused("RECURSIVEMATCH needs SUBSCRIBED")));
    }
    Ok((rest, select))
}

#[derive(Clone)]
enum Return {
    Subscribed,
    Children,
    SpecialUse,
    Status(Vec<StatusItem>),
}

/// `list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"`, with STATUS of
/// RFC 5819 §4 and SPECIAL-USE of RFC 6154 §6.
fn returned(input: &[u8]) -> IResult<&[u8], ListReturn, Fault> {
    let option = alt((
        value(Return::Subscribed, token("SUBSCRIBED")),
        value(Return::Children, token("CHILDREN")),
        value(Return::SpecialUse, token("SPECIAL-USE")),
        map(
            preceded(pair(token("STATUS"), sp), expect("a list of STATUS items", status_items)),
            Return::Status,
        ),
    ));
    let (rest, options) = listed("a known LIST return option", option)(input)?;
    let mut returns = ListReturn::default();
    for option in options {
        match option {
            Return::Subscribed => returns.subscribed = true,
            Return::Children => returns.children = true,
            Return::SpecialUse => returns.special_use = true,
            Return::Status(items) => returns.status = items,
        }
    }
    Ok((rest, returns))
}
