//! What LIST asks: which mailboxes, and what of each (RFC 3501 §6.3.8, RFC 5258).

use super::StatusItem;

/// A LIST.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// Whether it has anything that RFC 5258 added: then it is told what it asks for and no more.
    pub extended: bool,
    /// Which mailboxes, of those whose names match.
    pub select: ListSelect,
    /// The reference name; mostly empty.
    pub reference: Vec<u8>,
    /// Mailbox names with wildcards; one, unless `extended`.
    pub patterns: Vec<Vec<u8>>,
    /// What is told of each mailbox.
    pub returns: ListReturn,
}

/// Selection options (RFC 5258 §3.1). REMOTE is not among them: there are no remote mailboxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListSelect {
    /// SUBSCRIBED: only those that are subscribed.
    pub subscribed: bool,
    /// SPECIAL-USE: only those that are for something (RFC 6154 §2).
    pub special_use: bool,
    /// RECURSIVEMATCH: also those above what the other options select.
    pub recursive_match: bool,
}

/// Return options (RFC 5258 §3.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListReturn {
    /// SUBSCRIBED: whether each is subscribed.
    pub subscribed: bool,
    /// CHILDREN: whether each has others below it.
    pub children: bool,
    /// SPECIAL-USE: what each is for (RFC 6154 §2).
    pub special_use: bool,
    /// STATUS: these items of each (RFC 5819); none for nothing.
    pub status: Vec<StatusItem>,
}
