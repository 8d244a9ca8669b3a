//! The arguments of NOTIFY (RFC 5465 §8).

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{map, map_opt, opt, value};
use nom::multi::separated_list1;
use nom::sequence::{delimited, pair, preceded};
use nom::{Err, IResult, Parser};

use super::token::{argument, astring, atom, expect, listed, sp, sp0, token};
use super::{Fault, fetch};
use crate::base::MailboxName;
use crate::imap::command::{Command, EventGroup, Events, FetchItem, NotifySet, Watched};

/// `notify = "NOTIFY" SP (notify-set / "NONE")`, where
/// `notify-set = "SET" [SP "STATUS"] SP event-group *(SP event-group)`.
pub(super) fn arguments(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let set = map(
        preceded(
            token("SET"),
            pair(
                map(opt(preceded(sp, token("STATUS"))), |status| status.is_some()),
                argument("a group of events", separated_list1(sp, group)),
            ),
        ),
        |(status, groups)| Some(NotifySet { status, groups }),
    );
    let (rest, set) = argument("SET or NONE", alt((value(None, token("NONE")), set)))(input)?;
    let selected = |group: &&EventGroup| matches!(group.of, Watched::Selected { .. });
    if set.as_ref().is_some_and(|set| set.groups.iter().filter(selected).count() > 1) {
        return refused("Only one group may be of the selected mailbox");
    }
    Ok((rest, Command::Notify(set)))
}

/// `event-group = "(" filter-mailboxes SP events ")"`.
fn group(input: &[u8]) -> IResult<&[u8], EventGroup, Fault> {
    let inner = pair(expect("which mailboxes", watched), argument("events", events));
    let (rest, (of, events)) = delimited(pair(tag("("), sp0), inner, pair(sp0, tag(")")))(input)?;
    let selected = matches!(of, Watched::Selected { .. });
    if selected && (events.names || events.subscriptions) {
        return refused("Of the selected mailbox only messages are told");
    }
    if !selected && !events.fetch.is_empty() {
        return refused("Only of the selected mailbox messages are fetched");
    }
    Ok((rest, EventGroup { of, events }))
}

/// `filter-mailboxes`.
fn watched(input: &[u8]) -> IResult<&[u8], Watched, Fault> {
    let name = || map_opt(astring, |name| MailboxName::new(&name));
    let names = || {
        argument("mailbox names", alt((listed("a mailbox name", name()), map(name(), |n| vec![n]))))
    };
    alt((
        value(Watched::Selected { delayed: false }, token("SELECTED")),
        value(Watched::Selected { delayed: true }, token("SELECTED-DELAYED")),
        value(Watched::Inboxes, token("INBOXES")),
        value(Watched::Personal, token("PERSONAL")),
        value(Watched::Subscribed, token("SUBSCRIBED")),
        map(preceded(token("SUBTREE"), names()), Watched::Subtree),
        map(preceded(token("MAILBOXES"), names()), Watched::Mailboxes),
    ))(input)
}

/// `events = "(" event *(SP event) ")" / "NONE"`. An event that has no name here may be one all
/// the same.
fn events(input: &[u8]) -> IResult<&[u8], Events, Fault> {
    let items = opt(preceded(sp, listed("a known FETCH item", fetch::item)));
    let new =
        map(preceded(token("MessageNew"), items), |items| Event::New(items.unwrap_or_default()));
    let known = alt((
        new,
        value(Event::Expunge, token("MessageExpunge")),
        value(Event::Flags, token("FlagChange")),
        value(Event::Names, token("MailboxName")),
        value(Event::Subscriptions, token("SubscriptionChange")),
        value(Event::Other, atom),
    ));
    let none = value(Vec::new(), token("NONE"));
    let (rest, all) = alt((none, listed("an event", known))).parse(input)?;
    let (mut events, mut new, mut expunge) = (Events::default(), false, false);
    for event in all {
        match event {
            Event::New(items) => (new, events.fetch) = (true, items),
            Event::Expunge => expunge = true,
            Event::Flags => events.flags = true,
            Event::Names => events.names = true,
            Event::Subscriptions => events.subscriptions = true,
            Event::Other => events.other = true,
        }
    }
    events.messages = new;
    if new != expunge || (events.flags && !new) {
        return refused("MessageNew and MessageExpunge go together, and FlagChange with both");
    }
    Ok((rest, events))
}

#[derive(Clone)]
enum Event {
    New(Vec<FetchItem>),
    Expunge,
    Flags,
    Names,
    Subscriptions,
    Other,
}

fn refused<T>(why: &'static str) -> IResult<&'static [u8], T, Fault> {
    Err(Err::Failure(Fault::refused(why)))
}
