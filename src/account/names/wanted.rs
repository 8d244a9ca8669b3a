//! What a folder wants to be called on the other side, and in which order folders may choose.
//!
//! Wishes only: whether a name is free, the joiner decides.

use crate::base::{MailboxName, Sides};

use super::Joiner;
use super::style::Root;

/// What a folder wants to be called on the other side.
impl Joiner<'_> {
    /// What `name`, of old or of the client, is called on new if that is free.
    pub(super) fn wanted_new(&self, name: &MailboxName) -> MailboxName {
        let Sides { old, new } = self.styles;
        if let Some(wanted) = self.explicit.new_of.get(name) {
            return wanted.clone();
        }
        for (ancestor, length) in old.ancestors(name) {
            let owner = self.owner.old.get(&ancestor).or_else(|| self.clients.get(&ancestor));
            let place = owner.and_then(|draft| self.drafts[*draft].new.as_ref());
            if let Some(parent) = place.or_else(|| self.explicit.new_of.get(&ancestor)) {
                return old.graft(name, length, parent, new);
            }
        }
        // What is shared on old is shared on new, if it is there. A personal folder is never
        // joined to a shared one: that would publish its mail.
        if old.root(name).0 == Root::Outside {
            let outside = old.carry_outside(name, new);
            if self.listed.new.contains_key(&outside) && new.root(&outside).0 == Root::Outside {
                return outside;
            }
        }
        old.carry(name, new)
    }

    /// What a folder of the client's is called on old if that is free.
    pub(super) fn wanted_old(&self, client: &MailboxName) -> MailboxName {
        let style = &self.styles.old;
        for (ancestor, length) in style.ancestors(client) {
            let owner = self.clients.get(&ancestor);
            if let Some(parent) = owner.and_then(|draft| self.drafts[*draft].old.as_ref()) {
                return style.graft(client, length, parent, style);
            }
        }
        client.clone()
    }

    /// What a folder of old is called by the client if that is free.
    pub(super) fn wanted_client_of_old(&self, name: &MailboxName) -> MailboxName {
        for (ancestor, length) in self.styles.old.ancestors(name) {
            let owner = self.owner.old.get(&ancestor);
            let Some(client) = owner.and_then(|draft| self.drafts[*draft].client.as_ref()) else {
                continue;
            };
            if *client == ancestor {
                break;
            }
            return self.styles.old.graft(name, length, client, &self.styles.old);
        }
        name.clone()
    }

    /// What a folder of new is called by the client if that is free.
    pub(super) fn wanted_client_of_new(&self, name: &MailboxName) -> MailboxName {
        let Sides { old, new } = self.styles;
        let explicit = |name: &MailboxName| {
            self.explicit.old_of.get(name).filter(|old| {
                !self.owner.old.contains_key(*old) && !self.clients.contains_key(*old)
            })
        };
        if let Some(wanted) = explicit(name) {
            return wanted.clone();
        }
        for (ancestor, length) in new.ancestors(name) {
            let owner = self.owner.new.get(&ancestor);
            let client = owner.and_then(|draft| self.drafts[*draft].client.as_ref());
            if let Some(parent) = client.or_else(|| explicit(&ancestor)) {
                return new.graft(name, length, parent, old);
            }
        }
        new.carry(name, old)
    }

    pub(super) fn rank_old(&self, name: &MailboxName) -> Rank {
        let Sides { old, new } = self.styles;
        let ancestors = old.ancestors(name);
        let follows = ancestors.iter().any(|(ancestor, _)| {
            let owner = self.owner.old.get(ancestor).or_else(|| self.clients.get(ancestor));
            !ancestor.is_inbox()
                && (owner.is_some_and(|draft| self.drafts[*draft].new.is_some())
                    || self.explicit.new_of.contains_key(ancestor))
        });
        Rank::new(follows, ancestors.len(), old.is_exact(name, new), name)
    }

    pub(super) fn rank_new(&self, name: &MailboxName) -> Rank {
        let Sides { old, new } = self.styles;
        let ancestors = new.ancestors(name);
        let follows = ancestors
            .iter()
            .any(|(ancestor, _)| !ancestor.is_inbox() && self.owner.new.contains_key(ancestor));
        Rank::new(follows, ancestors.len(), new.is_exact(name, old), name)
    }
}

/// In which order folders choose their names; parents always before their children.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    alone: bool,
    depth: usize,
    changed: bool,
    pub(super) name: MailboxName,
}

impl Rank {
    fn new(follows: bool, depth: usize, exact: bool, name: &MailboxName) -> Rank {
        Rank { alone: !follows, depth, changed: !exact, name: name.clone() }
    }
}
