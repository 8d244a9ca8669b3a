//! LIST and LSUB: one mailbox, its attributes and separator.

use std::fmt;

use bytes::Bytes;

use super::{Response, flags};
use crate::base::MailboxName;
use crate::imap::scan::Scan;

/// One mailbox as LIST tells it; extended data (CHILDINFO, OLDNAME) is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListEntry {
    /// Attributes as written, with their backslash.
    pub attributes: Vec<Bytes>,
    /// The separator; `None` in a flat namespace.
    pub separator: Option<u8>,
    /// The name, unquoted.
    pub name: MailboxName,
}

impl ListEntry {
    /// Whether it has this attribute (`\Noselect`), in any case.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute.as_bytes()))
    }

    /// What the mailbox is for; the first one if the server names several.
    pub fn special_use(&self) -> Option<SpecialUse> {
        self.attributes.iter().find_map(|attribute| SpecialUse::named(attribute))
    }
}

/// What a mailbox is for (RFC 6154, RFC 8457).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SpecialUse {
    /// All messages, a view over other mailboxes.
    All,
    /// Archived messages.
    Archive,
    /// Drafts.
    Drafts,
    /// Flagged messages, a view.
    Flagged,
    /// Junk.
    Junk,
    /// Sent messages.
    Sent,
    /// Deleted messages.
    Trash,
    /// What is deemed important, a view.
    Important,
}

impl SpecialUse {
    /// Every use.
    pub const ALL: [SpecialUse; 8] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
        SpecialUse::Important,
    ];

    /// The use that an attribute names, in any case, with its backslash.
    pub fn named(attribute: &[u8]) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|u| attribute.eq_ignore_ascii_case(u.as_str().as_bytes()))
    }

    /// As an attribute: `\Sent`.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
            SpecialUse::Important => "\\Important",
        }
    }
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `mailbox-list` (RFC 9051 §7.3.1): attributes, separator, name, extended data.
pub(super) fn read(
    mut scan: Scan<'_>,
    unit: &Bytes,
    make: fn(ListEntry) -> Response,
) -> Option<Response> {
    let attributes = flags(unit, scan.list()?.rest());
    let separator = separator(&mut scan)?;
    let quoted = matches!(scan.peek(), Some(b'"'));
    let whole = scan.rest();
    let mut name = scan.astring()?;
    if name.is_empty() {
        return Some(Response::ListRoot { separator });
    }
    // Only extended data may follow. Anything else is the rest of a name with spaces in it that a
    // sloppy server did not quote.
    if !quoted && !matches!(scan.peek(), None | Some(b'(')) {
        name = whole.trim_ascii_end().into();
    }
    Some(make(ListEntry { attributes, separator, name: MailboxName::new(&name)? }))
}

/// A separator: NIL, or one octet, quoted as it should be or not. The outer `None`: neither.
pub(super) fn separator(scan: &mut Scan<'_>) -> Option<Option<u8>> {
    if scan.nil() {
        return Some(None);
    }
    match &*scan.astring()? {
        [] => Some(None),
        [separator] => Some(Some(*separator)),
        _ => None,
    }
}
