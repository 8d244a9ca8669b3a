//! Response codes: what stands in brackets before the human text.

use bytes::Bytes;
use memchr::memchr;

use super::{cut, flags, names};
use crate::imap::scan::{Scan, quoted_len};

/// A response code (RFC 9051 §7.1, RFC 5530, RFC 4315, RFC 7162).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Code {
    /// `ALERT`: the text must be shown to the user.
    Alert,
    /// `APPENDUID` (RFC 4315); a set after MULTIAPPEND.
    AppendUid {
        /// UIDVALIDITY of the target.
        validity: u32,
        /// Ranges in the order they are written, smaller end first.
        uids: Vec<(u32, u32)>,
    },
    /// `COPYUID` (RFC 4315). The first UID of `from` became the first of `to`, and so on; that both
    /// hold as many is for the reader to check.
    CopyUid {
        /// UIDVALIDITY of the target.
        validity: u32,
        /// Ranges in the order they are written, smaller end first.
        from: Vec<(u32, u32)>,
        /// The same, of the copies.
        to: Vec<(u32, u32)>,
    },
    /// `CAPABILITY`, in capitals.
    Capability(Vec<String>),
    /// `PERMANENTFLAGS`, `\*` among them where new keywords may be made.
    PermanentFlags(Vec<Bytes>),
    /// `READ-ONLY`
    ReadOnly,
    /// `READ-WRITE`
    ReadWrite,
    /// `TRYCREATE`
    TryCreate,
    /// `UIDNEXT`
    UidNext(u32),
    /// `UIDVALIDITY`
    UidValidity(u32),
    /// `UNSEEN`: the first unseen message's sequence number
    Unseen(u32),
    /// `HIGHESTMODSEQ`
    HighestModSeq(u64),
    /// `MODIFIED` (RFC 7162): of these a STORE did nothing, for they had changed.
    Modified(Vec<(u32, u32)>),
    /// `NOMODSEQ`
    NoModSeq,
    /// `CLOSED`: what follows belongs to the newly selected mailbox.
    Closed,
    /// `UIDNOTSTICKY`: UIDs do not persist.
    UidNotSticky,
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `UNAVAILABLE`
    Unavailable,
    /// `OVERQUOTA`
    OverQuota,
    /// `LIMIT`
    Limit,
    /// `THROTTLED`, of no RFC
    Throttled,
    /// `INUSE`
    InUse,
    /// `ALREADYEXISTS`
    AlreadyExists,
    /// `NONEXISTENT`
    NonExistent,
    /// `CANNOT`
    Cannot,
    /// `USEATTR` (RFC 6154): not for this use
    UseAttr,
    /// `UNKNOWN-CTE` (RFC 3516): a transfer encoding that the server cannot decode
    UnknownCte,
    /// `PARSE` (RFC 3501 §7.1): a message that the server cannot read so far
    Parse,
    /// `NOPERM` (RFC 5530): the user may not
    NoPerm,
    /// `METADATA` (RFC 5464)
    Metadata(MetadataCode),
    /// Any other, or one of these that could not be read; without its brackets.
    Other(Bytes),
}

impl Code {
    /// Whether it says that the same command may do later (RFC 5530 §3; `THROTTLED` is not in it).
    pub fn says_later(&self) -> bool {
        matches!(self, Code::Throttled | Code::Unavailable | Code::InUse)
    }
}

/// What `METADATA` says of a GETMETADATA or a SETMETADATA (RFC 5464 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataCode {
    /// `LONGENTRIES`: values were left out, the longest of so many octets.
    LongEntries(u64),
    /// `MAXSIZE`: a value was too long; so many octets it may have.
    MaxSize(u64),
    /// `TOOMANY`: there are too many annotations already.
    TooMany,
    /// `NOPRIVATE`: there are no private ones.
    NoPrivate,
}

/// `resp-text` (RFC 9051 §9): the code, if there is one, and the text behind it.
pub(super) fn code_and_text(unit: &Bytes, mut scan: Scan<'_>) -> (Option<Code>, Bytes) {
    let all = scan.rest().trim_ascii_end();
    let Some((code, text)) = bracketed(all) else {
        return (None, cut(unit, all));
    };
    let read = read(unit, Scan::new(code)).unwrap_or_else(|| Code::Other(cut(unit, code)));
    (Some(read), cut(unit, text.trim_ascii_start()))
}

fn read(unit: &Bytes, mut scan: Scan<'_>) -> Option<Code> {
    Some(match scan.atom().to_ascii_uppercase().as_slice() {
        b"ALERT" => Code::Alert,
        b"APPENDUID" => Code::AppendUid { validity: scan.number()?, uids: scan.set()? },
        b"COPYUID" => {
            Code::CopyUid { validity: scan.number()?, from: scan.set()?, to: scan.set()? }
        }
        b"CAPABILITY" => Code::Capability(names(scan)),
        b"PERMANENTFLAGS" => Code::PermanentFlags(flags(unit, scan.rest())),
        b"READ-ONLY" => Code::ReadOnly,
        b"READ-WRITE" => Code::ReadWrite,
        b"TRYCREATE" => Code::TryCreate,
        b"UIDNEXT" => Code::UidNext(scan.number()?),
        b"UIDVALIDITY" => Code::UidValidity(scan.number()?),
        b"UNSEEN" => Code::Unseen(scan.number()?),
        b"HIGHESTMODSEQ" => Code::HighestModSeq(scan.number64()?),
        b"MODIFIED" => Code::Modified(scan.set()?),
        b"NOMODSEQ" => Code::NoModSeq,
        b"CLOSED" => Code::Closed,
        b"UIDNOTSTICKY" => Code::UidNotSticky,
        b"AUTHENTICATIONFAILED" => Code::AuthenticationFailed,
        b"UNAVAILABLE" => Code::Unavailable,
        b"OVERQUOTA" => Code::OverQuota,
        b"LIMIT" => Code::Limit,
        b"THROTTLED" => Code::Throttled,
        b"INUSE" => Code::InUse,
        b"ALREADYEXISTS" => Code::AlreadyExists,
        b"NONEXISTENT" => Code::NonExistent,
        b"CANNOT" => Code::Cannot,
        b"USEATTR" => Code::UseAttr,
        b"UNKNOWN-CTE" => Code::UnknownCte,
        b"PARSE" => Code::Parse,
        b"NOPERM" => Code::NoPerm,
        b"METADATA" => Code::Metadata(match scan.atom().to_ascii_uppercase().as_slice() {
            b"LONGENTRIES" => MetadataCode::LongEntries(scan.number64()?),
            b"MAXSIZE" => MetadataCode::MaxSize(scan.number64()?),
            b"TOOMANY" => MetadataCode::TooMany,
            b"NOPRIVATE" => MetadataCode::NoPrivate,
            _ => return None,
        }),
        _ => return None,
    })
}

/// What stands in the brackets that `text` begins with, and what behind them.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"[")?;
    let end = code_end(inner).or_else(|| memchr(b']', inner))?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// The first `]` outside of quotes and parentheses: a keyword of some servers may hold one.
fn code_end(inner: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        let here = inner.get(at..)?;
        match *here.first()? {
            b']' if depth == 0 => return Some(at),
            b'"' => at += quoted_len(here)?,
            b'(' => (depth, at) = (depth + 1, at + 1),
            b')' => (depth, at) = (depth.checked_sub(1)?, at + 1),
            _ => at += 1,
        }
    }
}
