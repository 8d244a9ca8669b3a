//! The arguments of APPEND, a line at a time: between two lines lie octets that nobody keeps.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{eof, map, opt, value};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{Err, IResult};

use super::token::{argument, astring, bound, flag, listed, mailbox, number64, sp, sp0, token};
use super::{Fault, date_time, reason};
use crate::imap::command::{AppendHead, AppendStep, MessageHead, Reason, Replaced};
use crate::imap::framer::Literal;
use crate::uid::SeqSet;

/// Reads the arguments of APPEND or REPLACE. `None`: the command is another one.
pub(in super::super) fn appending(
    word: &str,
    uid: bool,
    arguments: &[u8],
) -> Option<Result<Option<AppendHead>, Reason>> {
    match (word, uid) {
        ("APPEND", false) => Some(append(arguments, None)),
        ("REPLACE", _) => Some(replace(uid, arguments)),
        _ => None,
    }
}

/// `replace = "REPLACE" SP seq-number SP mailbox append-message`, and the same of a UID behind `UID`
/// (RFC 8508 §4).
fn replace(uid: bool, arguments: &[u8]) -> Result<Option<AppendHead>, Reason> {
    let mut message = argument("a message", map(bound, |n| SeqSet::from_ranges([(n, n)])));
    let (rest, message) = message(arguments).map_err(reason)?;
    append(rest, Some(Replaced { uid, message }))
}

/// `append = "APPEND" SP mailbox 1*append-message` (RFC 4466 §2.3), up to the first announcement of
/// a message's octets, or to its end. `None`: the literal announced is an argument.
fn append(arguments: &[u8], replaces: Option<Replaced>) -> Result<Option<AppendHead>, Reason> {
    let mut name_to_come = terminated(preceded(sp, announcement), eof);
    if name_to_come(arguments).is_ok() {
        return Ok(None);
    }
    let (rest, mailbox) = mailbox(arguments).map_err(reason)?;
    let head = append_steps(rest, false)?.map(|steps| AppendHead { replaces, mailbox, steps });
    match &head {
        Some(head) if head.steps == [AppendStep::End] => {
            Err(Reason::Expected("a message to append"))
        }
        _ => Ok(head),
    }
}

/// What follows the octets of a message, or of one of its parts: to the next announcement or the
/// end. `within`: a CATENATE is not closed yet. `None`: the literal announced is an argument.
pub(in super::super) fn append_steps(
    mut rest: &[u8],
    mut within: bool,
) -> Result<Option<Vec<AppendStep>>, Reason> {
    let mut steps = Vec::new();
    loop {
        if let ([], false) = (rest.trim_ascii(), within) {
            steps.push(AppendStep::End);
            return Ok(Some(steps));
        }
        let next = if within { part(rest) } else { message(rest) };
        let (after, step) = next.map_err(reason)?;
        rest = after;
        match step {
            Next::Argument => return Ok(None),
            Next::Steps(more) => {
                for step in more {
                    match &step {
                        AppendStep::Catenate => within = true,
                        // There is one part at least (RFC 4469 §5).
                        AppendStep::CatenateEnd if steps.last() == Some(&AppendStep::Catenate) => {
                            return Err(Reason::Expected("a URL or TEXT"));
                        }
                        AppendStep::CatenateEnd => within = false,
                        AppendStep::Octets(_) => {
                            steps.push(step);
                            return Ok(Some(steps));
                        }
                        _ => {}
                    }
                    steps.push(step);
                }
            }
        }
    }
}

enum Next {
    Steps(Vec<AppendStep>),
    Argument,
}

/// `append-message = append-opts SP append-data`, where `append-opts = [SP flag-list] [SP
/// date-time]` and `append-data = literal / literal8 / "CATENATE" SP "(" …` (RFC 4469 §5), or
/// `"UTF8" SP "(" literal8 ")"` (RFC 6855 §4), which is a CATENATE of one part.
fn message(input: &[u8]) -> IResult<&[u8], Next, Fault> {
    let (rest, (flags, date)) =
        pair(opt(preceded(sp, listed("a flag", flag))), opt(preceded(sp, date_time)))(input)?;
    let head = AppendStep::Message(MessageHead { flags: flags.unwrap_or_default(), date });
    let octets = map(terminated(announcement, eof), |literal| vec![AppendStep::Octets(literal)]);
    let catenate = value(vec![AppendStep::Catenate], delimited(token("CATENATE"), sp, tag("(")));
    let in_utf8 = preceded(pair(delimited(token("UTF8"), sp, tag("(")), sp0), announcement);
    let utf8 = map(terminated(in_utf8, eof), |literal| {
        // Octets as they are, and no NUL among them: to a server it is a literal like others.
        vec![AppendStep::Catenate, AppendStep::Octets(Literal { binary: false, ..literal })]
    });
    let data = alt((octets, catenate, utf8));
    let (rest, data) = argument("the size of a message", data)(rest)?;
    Ok((rest, Next::Steps([vec![head], data].concat())))
}

/// `cat-part = "URL" SP astring / "TEXT" SP literal`, or the `)` behind the last (RFC 4469 §5).
fn part(input: &[u8]) -> IResult<&[u8], Next, Fault> {
    let input = input.trim_ascii_start();
    let steps = |step| Next::Steps(vec![step]);
    if let Some(rest) = input.strip_prefix(b")") {
        return Ok((rest, steps(AppendStep::CatenateEnd)));
    }
    let to_come = preceded(pair(token("URL"), sp), terminated(announcement, eof));
    let url = preceded(pair(token("URL"), sp), astring);
    let text = preceded(pair(token("TEXT"), sp), terminated(announcement, eof));
    let mut part = alt((
        value(None, to_come),
        map(url, |url| Some(AppendStep::Url(url))),
        map(text, |literal| Some(AppendStep::Octets(literal))),
    ));
    match part(input) {
        Ok((rest, step)) => Ok((rest, step.map_or(Next::Argument, steps))),
        Err(Err::Error(_)) => Err(Err::Failure(Fault::expected("a URL or TEXT"))),
        Err(other) => Err(other),
    }
}

/// `["~"] "{" number ["+"] "}"`: how many octets, and whether the client waits (RFC 7888 §8, and
/// RFC 3516 §4.4 for `literal8`).
fn announcement(input: &[u8]) -> IResult<&[u8], Literal, Fault> {
    let (rest, (binary, (octets, plus))) = pair(
        map(opt(tag("~")), |tilde| tilde.is_some()),
        delimited(tag("{"), pair(number64, map(opt(tag("+")), |plus| plus.is_some())), tag("}")),
    )(input)?;
    Ok((rest, Literal { octets, sync: !plus, binary }))
}
