//! Joining folders by special use (RFC 6154), or by the names that clients usually give them.
//!
//! Attributes are believed: where both sides name a folder for a use, the two are joined, whatever
//! they are called. A usual name is a guess. It counts only on a side that names no folder for
//! that use, only on the top level, only for a folder without another use, and it never separates
//! two folders of the same name. Each use joins at most one folder of each side.

use crate::base::{MailboxName, Side};

use super::style::Root;
use super::{Joiner, Special};

/// Every special use, with the names that clients and servers give its folder in English, the most
/// usual first; compared without case. `\All` and `\Flagged` are views, which nobody names.
const ROLES: [(Special, &[&str]); 7] = [
    (Special::Sent, &["Sent", "Sent Items", "Sent Messages", "Sent Mail"]),
    (Special::Drafts, &["Drafts", "Draft"]),
    (Special::Trash, &["Trash", "Deleted Items", "Deleted Messages"]),
    (Special::Junk, &["Junk", "Spam", "Junk E-mail", "Junk Email"]),
    (Special::Archive, &["Archive", "Archives"]),
    (Special::All, &[]),
    (Special::Flagged, &[]),
];

/// A side's folders that may be the one for a use.
struct Candidates {
    names: Vec<MailboxName>,
    guessed: bool,
}

impl Joiner<'_> {
    /// Joins one folder of each side for every use; what the sides say before what is guessed.
    pub(super) fn join_roles(&mut self) {
        let mut guesses = Vec::new();
        for (special, usual) in ROLES {
            let old = self.candidates(Side::Old, special, usual);
            let new = self.candidates(Side::New, special, usual);
            if old.guessed || new.guessed {
                guesses.push((old, new));
            } else if let Some((old, new)) = self.choose(old, new) {
                self.pair(&old, new);
            }
        }
        for (old, new) in guesses {
            if let Some((old, new)) = self.choose(old, new) {
                self.pair(&old, new);
            }
        }
    }

    fn candidates(&self, side: Side, special: Special, usual: &[&str]) -> Candidates {
        let listed = self.listed[side].values();
        let names: Vec<MailboxName> = listed
            .filter(|listed| listed.special == Some(special))
            .map(|listed| listed.name.clone())
            .collect();
        if !names.is_empty() {
            return Candidates { names, guessed: false };
        }
        let mut found: Vec<(usize, bool, MailboxName)> = (self.listed[side].values())
            .filter(|listed| listed.special.is_none())
            .filter_map(|listed| {
                let style = &self.styles[side];
                let (root, start) = style.root(&listed.name);
                let [level] = style.levels(&listed.name, start)[..] else { return None };
                let is_level = |name: &&str| name.as_bytes().eq_ignore_ascii_case(level);
                let rank = usual.iter().position(is_level)?;
                (root != Root::Outside).then(|| (rank, root == Root::Inbox, listed.name.clone()))
            })
            .collect();
        found.sort();
        let names = found.into_iter().map(|(_, _, name)| name).collect();
        Candidates { names, guessed: true }
    }

    fn choose(&self, old: Candidates, new: Candidates) -> Option<(MailboxName, MailboxName)> {
        let place = |name: &MailboxName| {
            let draft = self.owner.old.get(name)?;
            self.drafts.get(*draft)?.new.as_ref()
        };
        if old.names.iter().any(|name| place(name).is_some_and(|new_| new.names.contains(new_))) {
            return None;
        }
        let guess = old.guessed || new.guessed;
        let is_free = |name: &MailboxName| !self.owner.new.contains_key(name);
        let old: Vec<MailboxName> =
            old.names.into_iter().filter(|name| self.can_be_placed(name)).collect();
        let new: Vec<MailboxName> = new.names.into_iter().filter(is_free).collect();
        for name in &old {
            let wanted = self.wanted_new(name);
            if new.contains(&wanted) {
                return Some((name.clone(), wanted));
            }
        }
        // A guess leaves alone what has its namesake on the other side.
        let old = old.into_iter().find(|name| {
            let wanted = self.wanted_new(name);
            !(guess && self.listed.new.contains_key(&wanted) && is_free(&wanted))
        });
        let new = new.into_iter().find(|name| {
            let wanted = self.wanted_client_of_new(name);
            !(guess && self.listed.old.contains_key(&wanted) && self.can_be_placed(&wanted))
        });
        Some((old?, new?))
    }
}
