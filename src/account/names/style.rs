//! How one side spells mailbox names, and how a name is carried from one spelling to the other.
//!
//! A name is a root (INBOX, the personal namespace, or what lies outside of it) and levels. Only
//! octets are compared and moved; modified UTF-7 has no octet that is a usual separator.

use std::borrow::Cow;

use crate::base::{MailboxName, Sides};
pub use crate::index::Style;

/// Spells a client's name (which is in the old server's style) in the new server's style.
///
/// `INBOX` stays itself, and nothing else ever becomes it. A child of INBOX goes below `INBOX`
/// there too, so that a prefix `INBOX.` is never doubled. Two names may give the same result;
/// keeping them apart is the work of [`join`](super::join).
pub fn client_to_new(name: &MailboxName, styles: &Sides<Style>) -> MailboxName {
    styles.old.carry(name, &styles.new)
}

/// Spells a name of the new server in the client's style, which is the old server's.
pub fn new_to_client(name: &MailboxName, styles: &Sides<Style>) -> MailboxName {
    styles.new.carry(name, &styles.old)
}

/// Another name for a folder whose name the server with this style refused to create: without the
/// octets that one server or another does not like, and different from all that are `taken`.
///
/// Cyrus refuses `% " \ { }` and octets above 127, Dovecot a `~` in front. The result is to be
/// persisted as the decided name; [`join`](super::join) keeps it then.
pub fn another_name(
    refused: &MailboxName,
    style: &Style,
    taken: impl Fn(&MailboxName) -> bool,
) -> MailboxName {
    let (_, start) = style.root(refused);
    let plain = |(i, b): (usize, &u8)| {
        let disliked = !(b' '..=b'~').contains(b) || DISLIKED.contains(b);
        let replaced = i >= start && disliked && Some(*b) != style.separator;
        if replaced { style.replacement() } else { *b }
    };
    let octets: Vec<u8> = refused.as_bytes().iter().enumerate().map(plain).collect();
    let free = |name: &MailboxName| name != refused && !taken(name);
    let name = finish(octets, refused);
    if free(&name) { name } else { first_free(&name, 2, free).0 }
}

/// Where a name starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Root {
    /// INBOX itself, or what lies below it (where the prefix does not begin with it).
    Inbox,
    /// The personal namespace.
    Personal,
    /// Outside of the prefix: shared mailboxes, those of others, the prefix's own node.
    Outside,
}

impl Style {
    /// A name below `inbox`, in whatever case that is typed, as a name below `INBOX`; none if it is
    /// no such name, or spelled so already.
    pub fn below_inbox(&self, name: &MailboxName) -> Option<MailboxName> {
        let octets = name.as_bytes();
        let (first, rest) = octets.split_at_checked(INBOX.len())?;
        let below = rest.first().is_some_and(|b| Some(*b) == self.separator);
        if !below || first == INBOX || !first.eq_ignore_ascii_case(INBOX) {
            return None;
        }
        MailboxName::new(&[INBOX, rest].concat())
    }

    /// Spells `name`, which is in this style, in the style `to`.
    pub(super) fn carry(&self, name: &MailboxName, to: &Style) -> MailboxName {
        if name.is_inbox() || self == to {
            return name.clone();
        }
        let (root, start) = self.root(name);
        let mut out = match root {
            Root::Inbox => INBOX.to_vec(),
            Root::Personal | Root::Outside => to.prefix().into_owned(),
        };
        self.append(name, start, root == Root::Inbox, to, &mut out);
        finish(out, name)
    }

    /// Like [`carry`](Style::carry), but without the prefix of `to`: for a shared mailbox, which
    /// lies outside of it there as well.
    pub(super) fn carry_outside(&self, name: &MailboxName, to: &Style) -> MailboxName {
        let mut out = Vec::new();
        self.append(name, self.root(name).1, false, to, &mut out);
        finish(out, name)
    }

    /// Spells `name` below `parent`, which is what its own ancestor of `length` octets is called
    /// in the style `to`.
    pub(super) fn graft(
        &self,
        name: &MailboxName,
        length: usize,
        parent: &MailboxName,
        to: &Style,
    ) -> MailboxName {
        let mut out = parent.as_bytes().to_vec();
        self.append(name, length.saturating_add(1), true, to, &mut out);
        finish(out, name)
    }

    /// Where `name` starts from, and at which octet its first level begins.
    pub(super) fn root(&self, name: &MailboxName) -> (Root, usize) {
        let octets = name.as_bytes();
        let prefix = self.prefix();
        let below_inbox = starts_with_inbox(octets)
            && self.separator.is_some()
            && octets.get(INBOX.len()).copied() == self.separator;
        if name.is_inbox() {
            (Root::Inbox, octets.len())
        } else if octets.len() > prefix.len() && !prefix.is_empty() && has_prefix(octets, &prefix) {
            (Root::Personal, prefix.len())
        } else if below_inbox {
            (Root::Inbox, INBOX.len().saturating_add(1))
        } else if prefix.is_empty() {
            (Root::Personal, 0)
        } else {
            (Root::Outside, 0)
        }
    }

    /// The ancestors of a name with their lengths, the nearest first. What stands in the prefix is
    /// no ancestor: `INBOX.Sent` is not below INBOX where `INBOX.` is the prefix.
    pub(super) fn ancestors(&self, name: &MailboxName) -> Vec<(MailboxName, usize)> {
        let (root, start) = self.root(name);
        let least = if root == Root::Inbox { INBOX.len() } else { start.saturating_add(1) };
        parents(name.as_bytes(), self.separator)
            .filter(|parent| parent.len() >= least)
            .filter_map(|parent| Some((MailboxName::new(parent)?, parent.len())))
            .collect()
    }

    /// The levels below the root.
    pub(super) fn levels<'a>(&self, name: &'a MailboxName, start: usize) -> Vec<&'a [u8]> {
        let rest = name.as_bytes().get(start..).unwrap_or_default();
        let mut levels: Vec<&[u8]> = rest.split(|b| Some(*b) == self.separator).collect();
        // Servers with real directories list a pure parent as `name/`.
        while levels.last().is_some_and(|level| level.is_empty()) {
            levels.pop();
        }
        levels
    }

    /// Whether `name` keeps every octet of its levels in the style `to`: such a name goes before
    /// one that was changed to look the same.
    pub(super) fn is_exact(&self, name: &MailboxName, to: &Style) -> bool {
        let (root, start) = self.root(name);
        root != Root::Outside
            && self.levels(name, start).iter().all(|level| *to.safe(level) == **level)
    }

    fn append(&self, name: &MailboxName, start: usize, below: bool, to: &Style, out: &mut Vec<u8>) {
        for (i, level) in self.levels(name, start).into_iter().enumerate() {
            if i > 0 || below {
                // A side without hierarchy gets one flat name.
                out.push(to.separator.unwrap_or(to.replacement()));
            }
            out.extend_from_slice(&to.safe(level));
        }
    }

    /// A level that can stand in a name of this style: never empty, never holding the separator.
    fn safe<'a>(&self, level: &'a [u8]) -> Cow<'a, [u8]> {
        let replacement = self.replacement();
        if level.is_empty() {
            return Cow::Owned(vec![replacement]);
        }
        if !level.iter().any(|b| Some(*b) == self.separator) {
            return Cow::Borrowed(level);
        }
        let safe = |b: &u8| if Some(*b) == self.separator { replacement } else { *b };
        Cow::Owned(level.iter().map(safe).collect())
    }

    /// Stands for what cannot stand in a name: harmless on every server, and in modified UTF-7.
    fn replacement(&self) -> u8 {
        if self.separator == Some(b'_') { b'-' } else { b'_' }
    }

    /// The prefix with its separator: some servers say `INBOX` where they mean `INBOX.`.
    pub(super) fn prefix(&self) -> Cow<'_, [u8]> {
        match self.separator {
            Some(separator) if self.prefix.eq_ignore_ascii_case(INBOX) => {
                let mut prefix = self.prefix.clone();
                prefix.push(separator);
                Cow::Owned(prefix)
            }
            _ => Cow::Borrowed(&self.prefix),
        }
    }
}

/// The parts of a name in front of each separator, the longest first, whatever the prefix is.
pub(super) fn parents(name: &[u8], separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let at_separator = move |i: &usize| *i > 0 && name.get(*i).copied() == separator;
    (0..name.len())
        .rev()
        .filter(at_separator)
        .filter_map(|i| name.get(..i))
        .take_while(move |_| separator.is_some())
}

/// The name with `_2`, `_3` … at its end: what the loser of a collision is called.
fn suffixed(name: &MailboxName, number: usize) -> MailboxName {
    let mut octets = name.as_bytes().to_vec();
    octets.extend_from_slice(format!("_{number}").as_bytes());
    finish(octets, name)
}

/// The first suffixed name that is free, and the number behind it. Always ends: only finitely many
/// names are not free.
pub(super) fn first_free(
    name: &MailboxName,
    start: usize,
    free: impl Fn(&MailboxName) -> bool,
) -> (MailboxName, usize) {
    let mut number = start;
    loop {
        let candidate = suffixed(name, number);
        number = number.saturating_add(1);
        if free(&candidate) {
            return (candidate, number);
        }
    }
}

/// Makes a name of composed octets. Only INBOX is INBOX: a folder `INBOX.INBOX` does not become
/// the inbox of a server without prefix.
fn finish(octets: Vec<u8>, from: &MailboxName) -> MailboxName {
    match MailboxName::new(&octets) {
        Some(name) if name.is_inbox() && !from.is_inbox() => suffixed(&name, 2),
        Some(name) => name,
        // Only a prefix or separator that no name can hold leads here.
        None => from.clone(),
    }
}

fn has_prefix(octets: &[u8], prefix: &[u8]) -> bool {
    if starts_with_inbox(prefix) && starts_with_inbox(octets) {
        return octets.get(INBOX.len()..).unwrap_or_default().starts_with(&prefix[INBOX.len()..]);
    }
    octets.starts_with(prefix)
}

fn starts_with_inbox(octets: &[u8]) -> bool {
    octets.get(..INBOX.len()).is_some_and(|start| start.eq_ignore_ascii_case(INBOX))
}

const INBOX: &[u8] = b"INBOX";

/// Octets in the middle of ASCII that some server refuses in a name.
const DISLIKED: &[u8] = b"%*\"\\{}~#";
