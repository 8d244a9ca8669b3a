//! Our own grammar (nom): the arguments of every command, read as tolerantly as real clients need.
//!
//! `token` holds what all commands share, `append`, `fetch`, `list`, `search` and `date` the larger arguments. Each
//! rule's ABNF stands above it, from RFC 3501 §9 unless another is named; `1*SP` stands for every
//! SP. The input is a whole command, so all parsers are of nom's `complete` kind.

mod append;
mod date;
mod fetch;
mod list;
mod metadata;
mod notify;
mod search;
mod select;
mod token;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while1};
use nom::combinator::{eof, map, map_opt, opt, value, verify};
use nom::error::{ErrorKind, ParseError};
use nom::multi::separated_list1;
use nom::sequence::{pair, preceded, separated_pair, tuple};
use nom::{Err, IResult, Parser};

use self::token::{
    argument, astring, atom, flag, listed, literal, mailbox, number64, quoted, set, sp, sp0, string,
};
use super::{AclCommand, Command, InternalDate, Reason, Secret, StatusItem, StoreMode};
use crate::base::MailboxName;
use crate::uid::SeqSet;

pub(super) use self::append::{append_steps, appending};
pub(super) use self::date::internal_date;
pub(super) use self::fetch::section_alone;

/// Reads the arguments of the command `word` (in capitals), with the space before them.
pub(super) fn command(word: &str, uid: bool, arguments: &[u8]) -> Result<Command, Reason> {
    if let Some(head) = appending(word, uid, arguments) {
        return head?.map(Command::Append).ok_or(Reason::Expected("a message to append"));
    }
    match (word, uid) {
        ("FETCH", _) => all(fetch::arguments(uid), arguments),
        ("SEARCH", _) => all(search::arguments(uid), arguments),
        ("SORT", _) => all(search::sort(uid), arguments),
        ("THREAD", _) => all(search::thread(uid), arguments),
        ("STORE", _) => all(store(uid), arguments),
        ("COPY", _) => all(
            map(set_and_mailbox, |(set, mailbox)| Command::Copy { uid, set, mailbox }),
            arguments,
        ),
        ("MOVE", _) => all(
            map(set_and_mailbox, |(set, mailbox)| Command::Move { uid, set, mailbox }),
            arguments,
        ),
        ("EXPUNGE", true) => {
            all(map(argument("a message set", set), |set| Command::UidExpunge { set }), arguments)
        }
        (_, true) => Ok(Command::Unknown { name: format!("UID {word}") }),
        ("AUTHENTICATE", _) => all(authenticate, arguments),
        ("LOGIN", _) => all(login, arguments),
        ("ID", _) => all(id, arguments),
        ("ENABLE", _) => all(enable, arguments),
        ("COMPRESS", _) => all(compress, arguments),
        ("SELECT", _) => all(
            map(select::arguments, |(mailbox, options)| Command::Select { mailbox, options }),
            arguments,
        ),
        ("EXAMINE", _) => all(
            map(select::arguments, |(mailbox, options)| Command::Examine { mailbox, options }),
            arguments,
        ),
        ("CREATE", _) => all(create, arguments),
        ("DELETE", _) => all(map(mailbox, |mailbox| Command::Delete { mailbox }), arguments),
        ("SUBSCRIBE", _) => all(map(mailbox, |mailbox| Command::Subscribe { mailbox }), arguments),
        ("UNSUBSCRIBE", _) => {
            all(map(mailbox, |mailbox| Command::Unsubscribe { mailbox }), arguments)
        }
        ("RENAME", _) => {
            all(map(pair(mailbox, mailbox), |(from, to)| Command::Rename { from, to }), arguments)
        }
        ("LIST", _) => all(list::arguments, arguments),
        ("LSUB", _) => all(lsub, arguments),
        ("STATUS", _) => all(status, arguments),
        ("CANCELUPDATE", _) => all(search::cancel_update, arguments),
        ("GETQUOTA", _) => all(
            map(argument("a quota root", astring), |root| Command::GetQuota { root }),
            arguments,
        ),
        ("GETQUOTAROOT", _) => {
            all(map(mailbox, |mailbox| Command::GetQuotaRoot { mailbox }), arguments)
        }
        ("SETQUOTA", _) => Ok(Command::SetQuota),
        ("NOTIFY", _) => all(notify::arguments, arguments),
        ("GETMETADATA", _) => all(metadata::get, arguments),
        ("SETMETADATA", _) => all(metadata::set, arguments),
        ("SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS", _) => {
            all(acl(word), arguments)
        }
        _ => match Command::bare(word) {
            Some(command) => all(|input| Ok((input, command.clone())), arguments),
            None => Ok(Command::Unknown { name: word.to_owned() }),
        },
    }
}

/// Why a parser failed; `None` until someone can say. As `Err::Error` another alternative may be
/// tried; an `Err::Failure` is final.
#[derive(Debug)]
pub(super) struct Fault(Option<Reason>);

impl Fault {
    fn expected(what: &'static str) -> Fault {
        Fault(Some(Reason::Expected(what)))
    }

    fn refused(what: &'static str) -> Fault {
        Fault(Some(Reason::Refused(what)))
    }
}

impl<I> ParseError<I> for Fault {
    fn from_error_kind(_: I, _: ErrorKind) -> Fault {
        Fault(None)
    }

    fn append(_: I, _: ErrorKind, other: Fault) -> Fault {
        other
    }

    fn or(self, other: Fault) -> Fault {
        if other.0.is_some() { other } else { self }
    }
}

/// Runs a parser over the whole input; spaces at its end do not count.
fn all<'a, T>(mut parser: impl Parser<&'a [u8], T, Fault>, input: &'a [u8]) -> Result<T, Reason> {
    match parser.parse(input) {
        Ok((rest, parsed)) if rest.iter().all(|&b| b == b' ') => Ok(parsed),
        Ok(_) => Err(Reason::Excess),
        Err(err) => Err(reason(err)),
    }
}

fn reason(err: Err<Fault>) -> Reason {
    match err {
        Err::Error(Fault(Some(reason))) | Err::Failure(Fault(Some(reason))) => reason,
        _ => Reason::Expected("other arguments"),
    }
}

fn set_and_mailbox(input: &[u8]) -> IResult<&[u8], (SeqSet, MailboxName), Fault> {
    pair(argument("a message set", set), mailbox)(input)
}

/// `create = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]`, where the one
/// `create-param` is `"USE" SP "(" [use-attr *(SP use-attr)] ")"` (RFC 4466 §2.2, RFC 6154 §6).
fn create(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let uses = preceded(tag_no_case("USE"), argument("attributes", listed("an attribute", flag)));
    let parameters = opt(preceded(sp, listed("a known CREATE parameter", uses)));
    map(pair(mailbox, parameters), |(mailbox, uses)| Command::Create {
        mailbox,
        uses: uses.unwrap_or_default().concat(),
    })(input)
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`. Wildcards are let through in both.
fn lsub(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    map(
        pair(argument("a reference name", astring), argument("a mailbox pattern", astring)),
        |(reference, pattern)| Command::Lsub { reference, pattern },
    )(input)
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`.
fn status(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    map(pair(mailbox, argument("a list of STATUS items", status_items)), |(mailbox, items)| {
        Command::Status { mailbox, items }
    })(input)
}

/// `"(" status-att *(SP status-att) ")"`; what is asked twice is told once.
fn status_items(input: &[u8]) -> IResult<&[u8], Vec<StatusItem>, Fault> {
    let item = map_opt(atom, |word| {
        StatusItem::ALL.into_iter().find(|item| word.eq_ignore_ascii_case(item.as_str().as_bytes()))
    });
    let (rest, all) = listed("a known STATUS item", item)(input)?;
    let mut items = Vec::new();
    for item in all {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.is_empty() {
        return Err(Err::Failure(Fault::expected("a known STATUS item")));
    }
    Ok((rest, items))
}

/// `store = "STORE" SP sequence-set [SP store-modifiers] SP store-att-flags` (RFC 4466 §2.5);
/// `store-modifier =/ "UNCHANGEDSINCE" SP mod-sequence-valzer` (RFC 7162 §7);
/// `store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))`.
fn store<'a>(uid: bool) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let mode = alt((
        value(StoreMode::Add, tag("+")),
        value(StoreMode::Remove, tag("-")),
        value(StoreMode::Replace, tag("")),
    ));
    let item = tuple((mode, tag_no_case("FLAGS"), opt(tag_no_case(".SILENT"))));
    let flags = alt((listed("a flag", flag), separated_list1(sp, flag)));
    let modifier = preceded(pair(tag_no_case("UNCHANGEDSINCE"), sp), number64);
    let modifiers = opt(preceded(sp, listed("a known STORE modifier", modifier)));
    map(
        tuple((
            argument("a message set", set),
            modifiers,
            argument("FLAGS, +FLAGS or -FLAGS", item),
            argument("flags", flags),
        )),
        move |(set, modifiers, (mode, _, silent), flags)| Command::Store {
            uid,
            set,
            unchanged_since: modifiers.and_then(|modifiers| modifiers.last().copied()),
            mode,
            silent: silent.is_some(),
            flags,
        },
    )
}

/// `login = "LOGIN" SP userid SP password`. Atoms may hold whatever is no space or control: users
/// have such passwords, and some clients do not quote them.
fn login(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let word = || alt((string, map(login_word, <[u8]>::to_vec)));
    map(
        pair(argument("a user name", word()), argument("a password", word())),
        |(user, password)| Command::Login { user, password: Secret::new(password) },
    )(input)
}

fn login_word(input: &[u8]) -> IResult<&[u8], &[u8], Fault> {
    match input {
        [b'"', ..] => Err(Err::Error(Fault::expected("the end of a quoted string"))),
        _ => take_while1(|b| b > b' ' && b != 0x7f)(input),
    }
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]` (RFC 4959 §3).
fn authenticate(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let response = map_opt(atom, |text| match text {
        b"=" => Some(Secret::new(Vec::new())),
        text => BASE64.decode(text).ok().map(Secret::new),
    });
    map(
        pair(
            argument("a mechanism", token::name),
            // Without a response, spaces may stand at the end; with one, it must be base64.
            alt((value(None, pair(sp0, eof)), map(argument("base64", response), Some))),
        ),
        |(mechanism, initial)| Command::Authenticate { mechanism, initial },
    )(input)
}

/// `id = "ID" SP id-params-list` (RFC 2971 §4).
fn id(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let nstring = alt((value(None, nil), map(astring, Some)));
    let fields = listed("an ID field", separated_pair(astring, sp, nstring));
    map(
        alt((
            value(Vec::new(), pair(sp0, eof)),
            value(Vec::new(), pair(sp, nil)),
            argument("a list of ID fields", fields),
        )),
        Command::Id,
    )(input)
}

/// `nil = "NIL"`, and no other word.
fn nil(input: &[u8]) -> IResult<&[u8], &[u8], Fault> {
    verify(atom, |word: &[u8]| word.eq_ignore_ascii_case(b"NIL"))(input)
}

/// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights`, `deleteacl` and `listrights` without
/// the rights, `getacl` and `myrights` with the mailbox alone (RFC 4314 §8).
fn acl<'a>(word: &str) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let identifier = || argument("an identifier", astring);
    let rights = argument("rights", astring);
    let mut set = map(pair(identifier(), rights), |(identifier, rights)| AclCommand::Set {
        identifier,
        rights,
    });
    let mut delete = map(identifier(), |identifier| AclCommand::Delete { identifier });
    let mut list = map(identifier(), |identifier| AclCommand::List { identifier });
    let word = word.to_owned();
    let ask = move |input| match word.as_str() {
        "SETACL" => set(input),
        "DELETEACL" => delete(input),
        "LISTRIGHTS" => list(input),
        "MYRIGHTS" => Ok((input, AclCommand::My)),
        _ => Ok((input, AclCommand::Get)),
    };
    map(pair(mailbox, ask), |(mailbox, ask)| Command::Acl { mailbox, ask })
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161 §4).
fn enable(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    map(argument("a capability", separated_list1(sp, token::name)), Command::Enable)(input)
}

/// `compress = "COMPRESS" SP algorithm` (RFC 4978 §5).
fn compress(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let algorithm = argument("an algorithm", token::name);
    map(algorithm, |algorithm| Command::Compress { algorithm })(input)
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`.
fn date_time(input: &[u8]) -> IResult<&[u8], InternalDate, Fault> {
    let (rest, text) = alt((quoted, literal))(input)?;
    match InternalDate::new(&text) {
        Some(date) => Ok((rest, date)),
        None => Err(Err::Failure(Fault::expected("a date and time"))),
    }
}

/// Base64 as SASL has it; some clients forget the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
