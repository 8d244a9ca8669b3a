//! The map of names: which folder of old and which of new are one mailbox, and what the client
//! calls it (DESIGN §3, "Names").
//!
//! The client sees the old server's names, separator and prefix. [`join`] is a pure function of
//! two complete listings, the explicit map and what was decided before; it never asks a server,
//! never forgets a decision, and knows nothing of LIST patterns. Names are octets as they stand on
//! the wire: modified UTF-7, spaces, quotes and wildcards are never interpreted.
//!
//! What joins two folders, the strongest first:
//!
//! 1. INBOX is INBOX;
//! 2. a decision taken before;
//! 3. the explicit map;
//! 4. the same special use (RFC 6154) by attribute on both sides;
//! 5. the same special use, known on one side at least only by a usual name (`roles`);
//! 6. the same name, each in its side's style; not if both have a special use and it differs.
//!
//! A level that nobody can open is no mailbox where a decided one has its name already.
//!
//! A folder follows its nearest ancestor that has a place on the other side: with `Sent Items`
//! joined to `Sent`, its child `Sent Items.2019` is `Sent/2019`. Of two folders that want one
//! name, one gets `_2` (`_3` …) behind it. Before others come followers of what rules 2 to 5
//! joined, then upper levels, then names that need no replaced octet, then octet order: the result
//! does not depend on the order of the listings.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::base::{MailboxName, Side, Sides};
use crate::imap::response::SpecialUse;

mod roles;
mod style;
mod wanted;

#[cfg(test)]
mod tests;

use style::{Root, first_free, parents};
pub use style::{Style, another_name, client_to_new, new_to_client};
use wanted::Rank;

/// A special use of a mailbox (RFC 6154).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Special {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl Special {
    /// The use behind an attribute; none for one that joins no folders.
    pub fn of(attribute: SpecialUse) -> Option<Special> {
        match attribute {
            SpecialUse::All => Some(Special::All),
            SpecialUse::Archive => Some(Special::Archive),
            SpecialUse::Drafts => Some(Special::Drafts),
            SpecialUse::Flagged => Some(Special::Flagged),
            SpecialUse::Junk => Some(Special::Junk),
            SpecialUse::Sent => Some(Special::Sent),
            SpecialUse::Trash => Some(Special::Trash),
            SpecialUse::Important => None,
        }
    }

    /// Its attribute.
    pub fn attribute(self) -> SpecialUse {
        match self {
            Special::All => SpecialUse::All,
            Special::Archive => SpecialUse::Archive,
            Special::Drafts => SpecialUse::Drafts,
            Special::Flagged => SpecialUse::Flagged,
            Special::Junk => SpecialUse::Junk,
            Special::Sent => SpecialUse::Sent,
            Special::Trash => SpecialUse::Trash,
        }
    }
}

/// A folder as one side's LIST shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name there.
    pub name: MailboxName,
    /// Its special use, if the server says one.
    pub special: Option<Special>,
    /// Whether it can be selected: neither `\Noselect` nor `\NonExistent`.
    pub selectable: bool,
    /// `\HasChildren` or `\HasNoChildren` (RFC 3348), if the server says so.
    pub children: Option<bool>,
    /// Whether it is subscribed there.
    pub subscribed: bool,
}

/// What was decided before (from the index): never altered here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// The client's name of the mailbox.
    pub client: MailboxName,
    /// Its name on old, whether it is there now or not; `None`: not decided.
    pub old: Option<MailboxName>,
    /// Its name on new, whether it is there now or not; `None`: not decided.
    pub new: Option<MailboxName>,
    /// The client deleted it. Its names on both sides stay occupied, its client name is free.
    pub hidden: bool,
}

/// A mailbox as the client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The client's name.
    pub client: MailboxName,
    /// Its name on old, if it is there now.
    pub old: Option<MailboxName>,
    /// Its name on new, if it is there now.
    pub new: Option<MailboxName>,
    /// The name it has, or would be created with, on new. To be persisted as `Decided::new`.
    pub new_wanted: MailboxName,
    /// The name it has, or would be created with, on old. To be persisted as `Decided::old`.
    pub old_wanted: MailboxName,
    /// Its special use. A use that a visible folder of old has is shown on old's folders only.
    pub special: Option<Special>,
    /// Whether it can be selected on either side.
    pub selectable: bool,
    /// Whether the client sees a mailbox below it, or a server says that there is one.
    pub children: bool,
    /// Whether it is subscribed on either side.
    pub subscribed: bool,
    /// Whether it was in `Decided` under this client name; if not, it wants to be persisted.
    pub decided: bool,
}

/// Joins the listings of both sides into what the client sees, sorted by client name, INBOX first.
///
/// `explicit` gives the operator's old name → new name, with or without the side's prefix; the
/// first of two entries that contradict each other wins, and INBOX cannot be mapped. A decided
/// mailbox that neither side lists is returned with neither `old` nor `new`: it is gone, or its
/// side could not be asked; the caller knows which.
pub fn join(
    old: &[Listed],
    new: &[Listed],
    styles: &Sides<Style>,
    explicit: &[(MailboxName, MailboxName)],
    decided: &[Decided],
) -> Vec<Joined> {
    let listed = Sides { old: by_name(old), new: by_name(new) };
    let explicit = Explicit::resolve(explicit, styles, &listed);
    let mut joiner = Joiner::new(styles, listed, explicit);
    joiner.claim_inbox(decided);
    joiner.claim_decided(decided);
    joiner.join_explicit();
    joiner.join_roles();
    joiner.place_old();
    joiner.name_old();
    joiner.name_new();
    joiner.complete_old_names();
    joiner.finish()
}

/// A mailbox in the making. Its names are those it owns on a side, be it there now or not.
#[derive(Default)]
struct Draft {
    client: Option<MailboxName>,
    old: Option<MailboxName>,
    new: Option<MailboxName>,
    decided: bool,
    hidden: bool,
}

struct Joiner<'a> {
    styles: &'a Sides<Style>,
    listed: Sides<BTreeMap<MailboxName, Listed>>,
    explicit: Explicit,
    drafts: Vec<Draft>,
    /// Whose each name is; every `old`, `new` and visible `client` of a draft stands here.
    owner: Sides<HashMap<MailboxName, usize>>,
    clients: HashMap<MailboxName, usize>,
    /// What old's folders are called on new if nothing speaks against it: no loser takes that.
    plain_new: HashSet<MailboxName>,
    /// The number at which the search for a free suffix goes on: on new, and for the client.
    suffixes: HashMap<MailboxName, usize>,
    client_suffixes: HashMap<MailboxName, usize>,
}

impl<'a> Joiner<'a> {
    fn new(
        styles: &'a Sides<Style>,
        listed: Sides<BTreeMap<MailboxName, Listed>>,
        explicit: Explicit,
    ) -> Joiner<'a> {
        let plain_new = listed.old.keys().map(|name| client_to_new(name, styles)).collect();
        Joiner {
            styles,
            listed,
            explicit,
            drafts: Vec::new(),
            owner: Sides::default(),
            clients: HashMap::new(),
            plain_new,
            suffixes: HashMap::new(),
            client_suffixes: HashMap::new(),
        }
    }

    /// INBOX first, so that nobody else gets its name; not shown if nobody speaks of it.
    fn claim_inbox(&mut self, decided: &[Decided]) {
        let inbox = MailboxName::inbox();
        let known = decided.iter().any(|d| d.client.is_inbox());
        let listed = self.listed.iter().any(|(_, names)| names.contains_key(&inbox));
        let draft =
            self.add(Draft { decided: known, hidden: !known && !listed, ..Draft::default() });
        self.own(draft, Side::Old, inbox.clone());
        self.own(draft, Side::New, inbox.clone());
        self.call(draft, inbox);
    }

    /// What was decided; visible mailboxes before hidden ones, should they contradict each other.
    fn claim_decided(&mut self, decided: &[Decided]) {
        let (hidden, visible): (Vec<&Decided>, Vec<&Decided>) =
            decided.iter().filter(|d| !d.client.is_inbox()).partition(|d| d.hidden);
        for decision in visible.into_iter().chain(hidden) {
            let draft = self.add(Draft { hidden: decision.hidden, ..Draft::default() });
            for (side, name) in [(Side::Old, &decision.old), (Side::New, &decision.new)] {
                if let Some(name) = name
                    && !self.owner[side].contains_key(name)
                {
                    self.own(draft, side, name.clone());
                }
            }
            if !decision.hidden && !self.clients.contains_key(&decision.client) {
                self.drafts[draft].decided = true;
                self.call(draft, decision.client.clone());
            }
        }
        for draft in 0..self.drafts.len() {
            let Draft { client, old, hidden: false, .. } = &self.drafts[draft] else { continue };
            match (client.clone(), old.clone()) {
                // A folder of that name has appeared on old: it is the same mailbox.
                (Some(client), None)
                    if self.listed.old.contains_key(&client)
                        && !self.owner.old.contains_key(&client) =>
                {
                    self.own(draft, Side::Old, client);
                }
                // Another mailbox has its client name by now, as when a hidden one comes back.
                (None, old) => self.rename(draft, old),
                _ => {}
            }
        }
    }

    /// Finds another client name for a decided mailbox that lost its own.
    fn rename(&mut self, draft: usize, old: Option<MailboxName>) {
        let new = self.drafts[draft].new.as_ref();
        let Some(base) = old.or_else(|| Some(new_to_client(new?, self.styles))) else {
            self.drafts[draft].hidden = true;
            return;
        };
        let client = self.free_client(base);
        self.call(draft, client);
    }

    /// The explicit map, where old has the folder and nobody owns the name on new.
    fn join_explicit(&mut self) {
        for (old, new) in self.explicit.pairs.clone() {
            if self.listed.old.contains_key(&old) && !self.owner.new.contains_key(&new) {
                self.pair(&old, new);
            }
        }
    }

    /// Gives every mailbox that old has its name on new.
    fn place_old(&mut self) {
        let unowned = |name: &&MailboxName| !self.owner.old.contains_key(*name);
        let names: Vec<MailboxName> = self.listed.old.keys().filter(unowned).cloned().collect();
        for name in names {
            if self.is_level_of_decided(Side::Old, &name, &name) {
                continue;
            }
            let draft = self.add(Draft::default());
            self.own(draft, Side::Old, name);
        }
        let mut waiting: Vec<(Rank, usize)> = (self.drafts.iter().enumerate())
            .filter(|(_, draft)| draft.new.is_none() && !draft.hidden)
            .filter_map(|(i, draft)| {
                Some((self.rank_old(draft.old.as_ref().or(draft.client.as_ref())?), i))
            })
            .collect();
        waiting.sort();
        for (Rank { name, .. }, draft) in waiting {
            let wanted = self.wanted_new(&name);
            let special = self.listed.old.get(&name).and_then(|listed| listed.special);
            let new = self.free_new(wanted, special);
            self.own(draft, Side::New, new);
        }
    }

    /// Gives every folder of old its client name: its own, unless the client renamed a folder
    /// above it, or the name is another mailbox's.
    fn name_old(&mut self) {
        let mut waiting: Vec<(usize, MailboxName, usize)> = (self.drafts.iter().enumerate())
            .filter(|(_, draft)| draft.client.is_none() && !draft.hidden)
            .filter_map(|(i, draft)| {
                draft.old.clone().map(|old| (self.styles.old.ancestors(&old).len(), old, i))
            })
            .collect();
        waiting.sort();
        // Those that keep their names go first.
        for keeping in [true, false] {
            waiting.retain(|(_, old, draft)| {
                let client = self.wanted_client_of_old(old);
                if keeping && client != *old {
                    return true;
                }
                let client = self.free_client(client);
                self.call(*draft, client);
                false
            });
        }
    }

    /// Gives every folder that only new has its client name.
    fn name_new(&mut self) {
        let unowned = |name: &&MailboxName| !self.owner.new.contains_key(*name);
        let names = self.listed.new.keys().filter(unowned);
        let mut waiting: Vec<Rank> = names.map(|name| self.rank_new(name)).collect();
        waiting.sort();
        for Rank { name, .. } in waiting {
            let client = self.wanted_client_of_new(&name);
            if self.is_level_of_decided(Side::New, &name, &client) {
                continue;
            }
            let client = self.free_client(client);
            let draft = self.add(Draft::default());
            self.own(draft, Side::New, name);
            self.call(draft, client);
        }
    }

    /// Gives every mailbox that was never on old the name that it would have there: below its nearest ancestor, which
    /// keeps the name that it has there when a client renames it.
    fn complete_old_names(&mut self) {
        let mut waiting: Vec<(usize, usize)> = (self.drafts.iter().enumerate())
            .filter(|(_, draft)| draft.old.is_none() && !draft.hidden)
            .filter_map(|(i, draft)| {
                Some((self.styles.old.ancestors(draft.client.as_ref()?).len(), i))
            })
            .collect();
        waiting.sort_unstable();
        for (_, draft) in waiting {
            let Some(client) = &self.drafts[draft].client else { continue };
            let wanted = self.wanted_old(client);
            let free = |name: &MailboxName| !self.owner.old.contains_key(name);
            let name = if free(&wanted) { wanted } else { first_free(&wanted, 2, free).0 };
            self.own(draft, Side::Old, name);
        }
    }

    fn finish(self) -> Vec<Joined> {
        let Joiner { styles, listed, drafts, .. } = self;
        let visible: Vec<(MailboxName, MailboxName, MailboxName, bool)> = (drafts.into_iter())
            .filter(|draft| !draft.hidden)
            .filter_map(|draft| Some((draft.client?, draft.old?, draft.new?, draft.decided)))
            .collect();
        let old_specials: HashSet<Special> =
            (visible.iter()).filter_map(|(_, old, ..)| listed.old.get(old)?.special).collect();
        let with_children: Sides<HashSet<&[u8]>> = Sides::from_fn(|side| {
            let names = listed[side].keys();
            names.flat_map(|name| parents(name.as_bytes(), styles[side].separator)).collect()
        });
        let seen_children: HashSet<&[u8]> = (visible.iter())
            .filter(|(_, old, new, _)| listed.old.contains_key(old) || listed.new.contains_key(new))
            .flat_map(|(client, ..)| parents(client.as_bytes(), styles.old.separator))
            .collect();
        let mut joined: Vec<Joined> = (visible.iter())
            .map(|(client, old, new, decided)| {
                let on = Sides { old: listed.old.get(old), new: listed.new.get(new) };
                let any = |test: fn(&Listed) -> bool| on.iter().any(|(_, on)| on.is_some_and(test));
                let special = |side: Side| on[side].and_then(|on| on.special);
                let new_special = special(Side::New).filter(|use_| !old_specials.contains(use_));
                // A server that says "children" and lists none knows more than its listing; one
                // whose children are all listed may speak of hidden ones.
                let says_children = on.iter().any(|(side, on)| {
                    on.is_some_and(|on| {
                        on.children == Some(true)
                            && !with_children[side].contains(on.name.as_bytes())
                    })
                });
                Joined {
                    client: client.clone(),
                    old: on.old.map(|on| on.name.clone()),
                    new: on.new.map(|on| on.name.clone()),
                    new_wanted: new.clone(),
                    old_wanted: old.clone(),
                    special: special(Side::Old).or(new_special),
                    selectable: any(|on| on.selectable),
                    children: says_children || seen_children.contains(client.as_bytes()),
                    subscribed: any(|on| on.subscribed),
                    decided: *decided,
                }
            })
            .collect();
        joined.sort_by(|a, b| {
            (!a.client.is_inbox(), &a.client).cmp(&(!b.client.is_inbox(), &b.client))
        });
        joined
    }
}

/// Who owns which name.
impl Joiner<'_> {
    fn add(&mut self, draft: Draft) -> usize {
        self.drafts.push(draft);
        self.drafts.len() - 1
    }

    fn own(&mut self, draft: usize, side: Side, name: MailboxName) {
        self.owner[side].insert(name.clone(), draft);
        match side {
            Side::Old => self.drafts[draft].old = Some(name),
            Side::New => self.drafts[draft].new = Some(name),
        }
    }

    fn call(&mut self, draft: usize, client: MailboxName) {
        self.clients.insert(client.clone(), draft);
        self.drafts[draft].client = Some(client);
    }

    /// Joins a folder of old that has no place on new yet to `new`.
    fn pair(&mut self, old: &MailboxName, new: MailboxName) {
        let draft = match self.owner.old.get(old) {
            Some(draft) => *draft,
            None => {
                let draft = self.add(Draft::default());
                self.own(draft, Side::Old, old.clone());
                draft
            }
        };
        if self.can_be_placed(old) {
            self.own(draft, Side::New, new);
        }
    }

    /// Whether a folder of old has no name on new yet, and may get one.
    fn can_be_placed(&self, old: &MailboxName) -> bool {
        let owner = self.owner.old.get(old).and_then(|draft| self.drafts.get(*draft));
        owner.is_none_or(|draft| draft.new.is_none() && !draft.hidden)
    }

    /// Whether this is nothing but a level above others, which nobody can open, and a mailbox has its name that
    /// lies elsewhere on this side, as after a RENAME: that one stands for it.
    fn is_level_of_decided(&self, side: Side, name: &MailboxName, client: &MailboxName) -> bool {
        let opens = self.listed[side].get(name).is_some_and(|listed| listed.selectable);
        !opens && self.clients.get(client).is_some_and(|draft| self.drafts[*draft].decided)
    }

    fn free_new(&mut self, wanted: MailboxName, special: Option<Special>) -> MailboxName {
        let free = |name: &MailboxName| {
            let listed = self.listed.new.get(name).and_then(|listed| listed.special);
            let differs = special.is_some() && listed.is_some() && special != listed;
            !self.owner.new.contains_key(name) && !differs
        };
        if free(&wanted) {
            return wanted;
        }
        // A suffixed name that new has already is taken: it was made by us, before the index was
        // lost. One that a folder of old bears itself is left to that one.
        let start = self.suffixes.get(&wanted).copied().unwrap_or(2);
        let (name, next) =
            first_free(&wanted, start, |name| free(name) && !self.plain_new.contains(name));
        self.suffixes.insert(wanted, next);
        name
    }

    fn free_client(&mut self, wanted: MailboxName) -> MailboxName {
        let free = |name: &MailboxName| !self.clients.contains_key(name);
        if free(&wanted) {
            return wanted;
        }
        // A name that old lists is left to that folder.
        let start = self.client_suffixes.get(&wanted).copied().unwrap_or(2);
        let (name, next) =
            first_free(&wanted, start, |name| free(name) && !self.listed.old.contains_key(name));
        self.client_suffixes.insert(wanted, next);
        name
    }
}

/// The operator's map, in the sides' full names.
struct Explicit {
    pairs: Vec<(MailboxName, MailboxName)>,
    new_of: HashMap<MailboxName, MailboxName>,
    old_of: HashMap<MailboxName, MailboxName>,
}

impl Explicit {
    fn resolve(
        given: &[(MailboxName, MailboxName)],
        styles: &Sides<Style>,
        listed: &Sides<BTreeMap<MailboxName, Listed>>,
    ) -> Explicit {
        let mut explicit =
            Explicit { pairs: Vec::new(), new_of: HashMap::new(), old_of: HashMap::new() };
        for (old, new) in given {
            let old = full(old, &styles.old, &listed.old);
            let new = full(new, &styles.new, &listed.new);
            if old.is_inbox() || new.is_inbox() || explicit.new_of.contains_key(&old) {
                continue;
            }
            explicit.new_of.insert(old.clone(), new.clone());
            explicit.old_of.entry(new.clone()).or_insert_with(|| old.clone());
            explicit.pairs.push((old, new));
        }
        explicit
    }
}

/// The name with its prefix: as given if it has it, or if only that is listed.
fn full(name: &MailboxName, style: &Style, listed: &BTreeMap<MailboxName, Listed>) -> MailboxName {
    if style.root(name).0 != Root::Outside {
        return name.clone();
    }
    let Some(prefixed) = MailboxName::new(&[&*style.prefix(), name.as_bytes()].concat()) else {
        return name.clone();
    };
    if listed.contains_key(name) && !listed.contains_key(&prefixed) {
        return name.clone();
    }
    prefixed
}

/// A listing by name. A server that lists a folder twice means one folder.
fn by_name(listing: &[Listed]) -> BTreeMap<MailboxName, Listed> {
    let mut names: BTreeMap<MailboxName, Listed> = BTreeMap::new();
    for listed in listing {
        match names.get_mut(&listed.name) {
            Some(known) => {
                known.special = known.special.or(listed.special);
                known.selectable |= listed.selectable;
                known.subscribed |= listed.subscribed;
                known.children = known.children.max(listed.children);
            }
            None => {
                names.insert(listed.name.clone(), listed.clone());
            }
        }
    }
    names
}
