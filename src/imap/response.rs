//! One complete unit of a server, typed: everything but FETCH, which [`super::fetch_scan`] walks.
//!
//! Tolerant by design: what it cannot read is [`Response::Other`], handed on as it came. Only where
//! going on would leave the numbering of messages in doubt (EXISTS, EXPUNGE, VANISHED) it is an
//! error. Literals must stand inlined in the unit, `{n}` CRLF octets; bounding the unit's size is
//! the caller's business, and nothing made here is larger than a small multiple of it.

mod acl;
mod code;
mod list;
mod metadata;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

pub use code::{Code, MetadataCode};
pub use list::{ListEntry, SpecialUse};

use super::scan::{self, Scan};
use crate::base::MailboxName;

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// The end of a command (RFC 9051 `response-tagged`).
    Tagged {
        /// The command's tag.
        tag: Bytes,
        /// How it ended.
        status: Status,
        /// What stood in brackets.
        code: Option<Code>,
        /// The human text; may be empty.
        text: Bytes,
    },
    /// The server waits for more of the command (`continue-req`).
    Continue {
        /// The text or the challenge behind `+`.
        text: Bytes,
    },
    /// A greeting, a warning, a goodbye, or a code of its own (`resp-cond-state`).
    Status {
        /// Which of them.
        status: UntaggedStatus,
        /// What stood in brackets.
        code: Option<Code>,
        /// The human text; may be empty.
        text: Bytes,
    },
    /// CAPABILITY, in capitals.
    Capability(Vec<String>),
    /// So many messages are in the mailbox.
    Exists(u32),
    /// So many of them are recent (RFC 3501 §7.3.2).
    Recent(u32),
    /// The message with this sequence number is gone. Never 0.
    Expunge(u32),
    /// These UIDs are gone (RFC 7162 §3.2.10).
    Vanished {
        /// They may be gone for long, and change no sequence number now.
        earlier: bool,
        /// Ranges in the order they are written, smaller end first.
        uids: Vec<(u32, u32)>,
    },
    /// The flags of the mailbox.
    Flags(Vec<Bytes>),
    /// A mailbox.
    List(ListEntry),
    /// The answer to `LIST "" ""`: no mailbox, only the separator (RFC 9051 §6.3.9).
    ListRoot {
        /// The separator; `None` in a flat namespace.
        separator: Option<u8>,
    },
    /// A subscribed mailbox (RFC 3501 §7.2.3).
    Lsub(ListEntry),
    /// STATUS; items whose value is no number are left out.
    StatusOf {
        /// The mailbox.
        mailbox: MailboxName,
        /// What was said of it.
        items: Vec<(StatusKey, u64)>,
    },
    /// SEARCH (RFC 3501 §7.2.5); its MODSEQ is left out.
    Search(Vec<u32>),
    /// ESEARCH (RFC 4731 §3.1).
    Esearch {
        /// The tag of the command it answers.
        tag: Option<Bytes>,
        /// Whether the numbers are UIDs.
        uid: bool,
        /// ALL; empty where nothing was found.
        all: Vec<(u32, u32)>,
        /// MIN.
        min: Option<u32>,
        /// MAX.
        max: Option<u32>,
        /// COUNT.
        count: Option<u32>,
    },
    /// NAMESPACE (RFC 2342): prefixes with their separators.
    Namespace {
        /// The user's own.
        personal: Vec<(Bytes, Option<u8>)>,
        /// Other users'.
        other: Vec<(Bytes, Option<u8>)>,
        /// Shared ones.
        shared: Vec<(Bytes, Option<u8>)>,
    },
    /// QUOTAROOT (RFC 9208 §4.2.2).
    QuotaRoot {
        /// The mailbox.
        mailbox: MailboxName,
        /// The roots that count it.
        roots: Vec<Bytes>,
    },
    /// QUOTA (RFC 9208 §4.2.1).
    Quota {
        /// The quota root.
        root: Bytes,
        /// Each resource with its usage and limit.
        resources: Vec<(Bytes, u64, u64)>,
    },
    /// METADATA with values (RFC 5464 §4.4.1).
    Metadata {
        /// The mailbox; `None`: the server.
        mailbox: Option<MailboxName>,
        /// Annotations with their values.
        values: Vec<(Bytes, Option<Bytes>)>,
    },
    /// ACL (RFC 4314 §3.6).
    Acl {
        /// The mailbox.
        mailbox: MailboxName,
        /// Identifiers with their rights.
        rights: Vec<(Bytes, Bytes)>,
    },
    /// LISTRIGHTS (RFC 4314 §3.7).
    ListRights {
        /// The mailbox.
        mailbox: MailboxName,
        /// To whom the rights could be given.
        identifier: Bytes,
        /// Rights that are had in any case, then those that can be given together.
        rights: Vec<Bytes>,
    },
    /// MYRIGHTS (RFC 4314 §3.8).
    MyRights {
        /// The mailbox.
        mailbox: MailboxName,
        /// What the user may do.
        rights: Bytes,
    },
    /// ID (RFC 2971); empty for NIL.
    Id(Vec<(Bytes, Option<Bytes>)>),
    /// ENABLED, in capitals (RFC 5161).
    Enabled(Vec<String>),
    /// Anything else, and what could not be read: the whole unit.
    Other(Bytes),
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// It was done.
    Ok,
    /// It was not.
    No,
    /// It was not understood.
    Bad,
}

/// What an untagged status response says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UntaggedStatus {
    /// Information, or the greeting before a login.
    Ok,
    /// A warning.
    No,
    /// An error of the protocol.
    Bad,
    /// The server closes the connection.
    Bye,
    /// The greeting of a connection that is logged in already.
    PreAuth,
}

/// An item of STATUS that is a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StatusKey {
    /// `MESSAGES`
    Messages,
    /// `RECENT`
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
    /// `DELETED` (RFC 9051)
    Deleted,
    /// `DELETED-STORAGE` (RFC 9208)
    DeletedStorage,
    /// `SIZE` (RFC 8438)
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162)
    HighestModSeq,
    /// `APPENDLIMIT` (RFC 7889)
    AppendLimit,
}

/// A response that must be understood and cannot be: the connection's view of the mailbox is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the numbers of an untagged {of} cannot be read")]
pub struct ResponseError {
    /// The response's name.
    pub of: &'static str,
}

/// Reads one complete unit, without its last line end.
///
/// ```
/// use mailferry::imap::response::{Response, parse};
/// assert_eq!(parse(&"* 23 EXISTS".into()), Ok(Response::Exists(23)));
/// ```
pub fn parse(unit: &Bytes) -> Result<Response, ResponseError> {
    if let Some(text) = unit.strip_prefix(b"+") {
        return Ok(Response::Continue { text: cut(unit, text.trim_ascii()) });
    }
    let mut scan = Scan::new(unit);
    let tag = scan.word();
    let response = if tag == b"*" { untagged(unit, scan)? } else { tagged(unit, tag, scan) };
    Ok(response.unwrap_or_else(|| Response::Other(unit.clone())))
}

/// The sequence number of an untagged FETCH, told from the beginning of its first text.
pub fn is_fetch(text: &[u8]) -> Option<u32> {
    super::fetch_scan::FetchScan::start(text).map(|(_, seq, _)| seq)
}

fn tagged(unit: &Bytes, tag: &[u8], mut scan: Scan<'_>) -> Option<Response> {
    let status = match scan.word().to_ascii_uppercase().as_slice() {
        b"OK" => Status::Ok,
        b"NO" => Status::No,
        b"BAD" => Status::Bad,
        _ => return None,
    };
    let (code, text) = code::code_and_text(unit, scan);
    Some(Response::Tagged { tag: cut(unit, tag), status, code, text })
}

fn untagged(unit: &Bytes, mut scan: Scan<'_>) -> Result<Option<Response>, ResponseError> {
    let name = scan.atom();
    if name.first().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+')) {
        return numbered(name, scan.atom());
    }
    let status = |status, scan| {
        let (code, text) = code::code_and_text(unit, scan);
        Some(Response::Status { status, code, text })
    };
    Ok(match name.to_ascii_uppercase().as_slice() {
        b"OK" => status(UntaggedStatus::Ok, scan),
        b"NO" => status(UntaggedStatus::No, scan),
        b"BAD" => status(UntaggedStatus::Bad, scan),
        b"BYE" => status(UntaggedStatus::Bye, scan),
        b"PREAUTH" => status(UntaggedStatus::PreAuth, scan),
        b"CAPABILITY" => Some(Response::Capability(names(scan))),
        b"ENABLED" => Some(Response::Enabled(names(scan))),
        b"VANISHED" => Some(vanished(scan).ok_or(ResponseError { of: "VANISHED" })?),
        b"FLAGS" => Some(Response::Flags(flags(unit, scan.rest()))),
        b"LIST" => list::read(scan, unit, Response::List),
        b"LSUB" => list::read(scan, unit, Response::Lsub),
        b"STATUS" => status_of(scan),
        b"SEARCH" => search(scan),
        b"ESEARCH" => esearch(unit, scan),
        b"NAMESPACE" => namespace(unit, scan),
        b"QUOTAROOT" => quota_root(unit, scan),
        b"QUOTA" => quota(unit, scan),
        b"METADATA" => metadata::values(unit, scan),
        b"ACL" => acl::acl(unit, scan),
        b"LISTRIGHTS" => acl::list_rights(unit, scan),
        b"MYRIGHTS" => acl::my_rights(unit, scan),
        b"ID" => id(unit, scan),
        _ => None,
    })
}

/// `* 23 EXISTS` and its like (RFC 9051 `message-data`, `mailbox-data`).
fn numbered(number: &[u8], name: &[u8]) -> Result<Option<Response>, ResponseError> {
    let number = scan::number(number);
    Ok(match name.to_ascii_uppercase().as_slice() {
        b"EXISTS" => Some(Response::Exists(number.ok_or(ResponseError { of: "EXISTS" })?)),
        b"EXPUNGE" => {
            let seq = number.filter(|&seq| seq != 0);
            Some(Response::Expunge(seq.ok_or(ResponseError { of: "EXPUNGE" })?))
        }
        b"RECENT" => number.map(Response::Recent),
        _ => None,
    })
}

/// `expunged-resp` (RFC 7162 §7). An empty set is let pass.
fn vanished(mut scan: Scan<'_>) -> Option<Response> {
    let earlier = match scan.list() {
        Some(mut tags) => tags.atom().eq_ignore_ascii_case(b"EARLIER"),
        None => false,
    };
    let uids = if scan.is_done() { Vec::new() } else { scan.set()? };
    Some(Response::Vanished { earlier, uids })
}

/// `"STATUS" SP mailbox SP "(" [status-att-list] ")"` (RFC 9051 §7.3.4).
fn status_of(mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = MailboxName::new(&scan.astring()?)?;
    let mut list = scan.list()?;
    let mut items = Vec::new();
    while !list.is_done() {
        let key = StatusKey::named(list.atom());
        let value = scan::number64(list.value()?);
        items.extend(key.zip(value));
    }
    Some(Response::StatusOf { mailbox, items })
}

/// `"SEARCH" *(SP nz-number) [SP search-sort-mod-seq]` (RFC 7162 §7).
fn search(mut scan: Scan<'_>) -> Option<Response> {
    let mut found = Vec::new();
    while !matches!(scan.peek(), None | Some(b'(')) {
        // 0 is what a server says that has found nothing and will not say so.
        found.extend(Some(scan.number()?).filter(|&n| n != 0));
    }
    Some(Response::Search(found))
}

/// `esearch-response` (RFC 4466 §2.6.2).
fn esearch(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mut tag = None;
    if let Some(mut correlator) = scan.list()
        && correlator.atom().eq_ignore_ascii_case(b"TAG")
    {
        tag = correlator.astring().map(|tag| own(unit, tag));
    }
    let (mut uid, mut all, mut min, mut max, mut count) = (false, Vec::new(), None, None, None);
    while !scan.is_done() {
        match scan.atom().to_ascii_uppercase().as_slice() {
            b"UID" => uid = true,
            b"ALL" => all = scan.set()?,
            b"MIN" => min = Some(scan.number()?),
            b"MAX" => max = Some(scan.number()?),
            b"COUNT" => count = Some(scan.number()?),
            _ => drop(scan.value()?),
        }
    }
    Some(Response::Esearch { tag, uid, all, min, max, count })
}

/// `namespace-response` (RFC 2342 §6); what follows the separator is ignored.
fn namespace(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mut group = || {
        if scan.is_done() || scan.nil() {
            return Some(Vec::new());
        }
        let mut list = scan.list()?;
        let mut spaces = Vec::new();
        while !list.is_done() {
            let mut entry = list.list()?;
            let prefix = own(unit, entry.astring()?);
            spaces.push((prefix, list::separator(&mut entry)?));
        }
        Some(spaces)
    };
    Some(Response::Namespace { personal: group()?, other: group()?, shared: group()? })
}

/// `quotaroot-response = "QUOTAROOT" SP mailbox *(SP quota-root-name)` (RFC 9208 §7).
fn quota_root(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = MailboxName::new(&scan.astring()?)?;
    let mut roots = Vec::new();
    while !scan.is_done() {
        roots.push(own(unit, scan.astring()?));
    }
    Some(Response::QuotaRoot { mailbox, roots })
}

/// `quota-response = "QUOTA" SP quota-root-name SP "(" [quota-resource *(SP quota-resource)] ")"`
/// (RFC 9208 §7).
fn quota(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let root = own(unit, scan.astring()?);
    let mut list = scan.list()?;
    let mut resources = Vec::new();
    while !list.is_done() {
        resources.push((cut(unit, list.atom()), list.number64()?, list.number64()?));
    }
    Some(Response::Quota { root, resources })
}

/// `id-response` (RFC 2971 §4).
fn id(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mut fields = Vec::new();
    if !scan.nil() {
        let mut list = scan.list()?;
        while !list.is_done() {
            let name = own(unit, list.astring()?);
            let value = if list.is_done() { None } else { list.nstring()? };
            fields.push((name, value.map(|value| own(unit, value))));
        }
    }
    Some(Response::Id(fields))
}

impl StatusKey {
    fn named(name: &[u8]) -> Option<StatusKey> {
        Some(match name.to_ascii_uppercase().as_slice() {
            b"MESSAGES" => StatusKey::Messages,
            b"RECENT" => StatusKey::Recent,
            b"UIDNEXT" => StatusKey::UidNext,
            b"UIDVALIDITY" => StatusKey::UidValidity,
            b"UNSEEN" => StatusKey::Unseen,
            b"DELETED" => StatusKey::Deleted,
            b"DELETED-STORAGE" => StatusKey::DeletedStorage,
            b"SIZE" => StatusKey::Size,
            b"HIGHESTMODSEQ" => StatusKey::HighestModSeq,
            b"APPENDLIMIT" => StatusKey::AppendLimit,
            _ => return None,
        })
    }
}

/// The words that are left, in capitals.
fn names(mut scan: Scan<'_>) -> Vec<String> {
    let mut names = Vec::new();
    while !scan.is_done() {
        names.push(String::from_utf8_lossy(scan.word()).to_ascii_uppercase());
    }
    names
}

fn flags(unit: &Bytes, list: &[u8]) -> Vec<Bytes> {
    scan::flags(list).map(|flag| cut(unit, flag)).collect()
}

/// A part of the unit, sharing its memory.
fn cut(unit: &Bytes, part: &[u8]) -> Bytes {
    unit.slice_ref(part)
}

/// A string of the unit: shared if it stood there as it is, else a copy.
fn own(unit: &Bytes, string: Cow<'_, [u8]>) -> Bytes {
    match string {
        Cow::Borrowed(part) => cut(unit, part),
        Cow::Owned(octets) => octets.into(),
    }
}
