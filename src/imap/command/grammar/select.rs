//! The arguments of SELECT and EXAMINE.

use nom::IResult;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::combinator::{map, map_opt, opt};
use nom::sequence::{delimited, pair, preceded, tuple};

use super::Fault;
use super::token::{argument, listed, mailbox, number64, nz_number, set, sp, sp0};
use crate::base::MailboxName;
use crate::imap::command::{Resync, SelectOptions};
use crate::uid::SeqSet;

/// `select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]` (RFC 4466 §2.1).
pub(super) fn arguments(input: &[u8]) -> IResult<&[u8], (MailboxName, SelectOptions), Fault> {
    let parameters = opt(preceded(sp, listed("a known SELECT parameter", parameter)));
    map(pair(mailbox, parameters), |(mailbox, parameters)| {
        let mut options = SelectOptions::default();
        for parameter in parameters.into_iter().flatten() {
            match parameter {
                None => options.condstore = true,
                resync => options.resync = resync,
            }
        }
        (mailbox, options)
    })(input)
}

/// `select-param =/ condstore-param / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value
/// [SP known-uids] [SP seq-match-data] ")"` (RFC 7162 §7). `None` for CONDSTORE.
fn parameter(input: &[u8]) -> IResult<&[u8], Option<Resync>, Fault> {
    // What a client knows of its numbering spares a server that keeps no list of expunged
    // messages; it is read and not needed.
    let numbering = delimited(pair(tag("("), sp0), pair(known, argument("UIDs", known)), tag(")"));
    let fields = tuple((
        nz_number,
        argument("a MODSEQ", number64),
        opt(preceded(sp, known)),
        opt(preceded(sp, numbering)),
    ));
    let fields = delimited(pair(tag("("), sp0), fields, pair(sp0, tag(")")));
    let resync = preceded(pair(tag_no_case("QRESYNC"), sp), fields);
    alt((
        map(tag_no_case("CONDSTORE"), |_| None),
        map(resync, |(uid_validity, mod_seq, known, _)| {
            Some(Resync { uid_validity, mod_seq, known })
        }),
    ))(input)
}

/// `known-uids = sequence-set`, without `*`.
fn known(input: &[u8]) -> IResult<&[u8], SeqSet, Fault> {
    map_opt(set, |set: SeqSet| (!set.has_star()).then_some(set))(input)
}
