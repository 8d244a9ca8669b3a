//! Which messages of one side are which of the other: prints in, pairs out. Pure.

use std::collections::HashMap;

use super::print::{Content, Print};
use crate::base::Sides;
use crate::uid::{SideUid, UidSet};

/// By so many octets two sizes of one message may differ without being looked at: mbsync's field
/// takes 22.
const SLACK: u32 = 64;
/// By no more they differ if it is one message: the traces of its deliveries are not longer than that.
const TRACE: u32 = 8 << 10;

/// A message of old and the same one on new.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pair {
    /// Its UID on old.
    pub old: SideUid,
    /// Its UID on new.
    pub new: SideUid,
    /// They are not the same octet for octet: a tool, or new, altered what it stored, or each was delivered
    /// on its own.
    pub altered: bool,
}

/// Messages with the same headers: of old one or more, and of new.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Alike {
    /// Those on old.
    pub old: Vec<Print>,
    /// Those on new.
    pub new: Vec<Print>,
}

impl Alike {
    /// How many messages have to be read to tell them apart.
    pub fn len(&self) -> usize {
        self.old.len() + self.new.len()
    }
}

/// The messages in these groups.
pub fn members<'a>(groups: impl IntoIterator<Item = &'a Alike>) -> Sides<UidSet<SideUid>> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for group in groups {
        old.extend(group.old.iter().map(|print| print.uid));
        new.extend(group.new.iter().map(|print| print.uid));
    }
    Sides { old: old.into_iter().collect(), new: new.into_iter().collect() }
}

/// What prints alone tell.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Messages that only their content can tell, those that are newest on new first.
    pub alike: Vec<Alike>,
    /// Messages on new that nothing on old is like.
    pub alone: UidSet<SideUid>,
}

/// Compares both sides by headers and, where a message has no Message-ID, by size.
pub fn compare(mut old: Vec<Print>, mut new: Vec<Print>) -> Compared {
    let by_head = |print: &Print| (print.id, print.head);
    old.sort_unstable_by_key(|print| (by_head(print), print.uid));
    new.sort_unstable_by_key(|print| (by_head(print), print.uid));
    let mut compared = Compared::default();
    let mut alone = Vec::new();
    let mut olds = old.chunk_by(|a, b| by_head(a) == by_head(b)).peekable();
    for news in new.chunk_by(|a, b| by_head(a) == by_head(b)) {
        let Some(head) = news.first().map(by_head) else { continue };
        while olds.next_if(|olds| olds.first().map(by_head) < Some(head)).is_some() {}
        let olds = olds.next_if(|olds| olds.first().map(by_head) == Some(head)).unwrap_or_default();
        let mut group = Alike { old: olds.to_vec(), new: news.to_vec() };
        if head.0 == 0 {
            // Most of these have nothing in common but what they lack.
            group = near_in_size(&group);
        }
        let kept: UidSet<SideUid> = group.new.iter().map(|print| print.uid).collect();
        if group.old.is_empty() {
            group.new.clear();
        }
        let missing = |print: &&Print| group.old.is_empty() || !kept.contains(print.uid);
        alone.extend(news.iter().filter(missing).map(|print| print.uid));
        if !group.new.is_empty() {
            compared.alike.push(group);
        }
    }
    compared.alone = alone.into_iter().collect();
    compared
        .alike
        .sort_by_key(|group| std::cmp::Reverse(group.new.iter().map(|print| print.uid).max()));
    compared
}

/// Those of either side that have one of nearly their size on the other.
fn near_in_size(group: &Alike) -> Alike {
    let sizes = |prints: &[Print]| {
        let mut sizes: Vec<u32> = prints.iter().map(|print| print.size).collect();
        sizes.sort_unstable();
        sizes
    };
    let near = |prints: &[Print], sizes: &[u32]| {
        let has = |print: &&Print| {
            let from = sizes.partition_point(|size| *size < print.size.saturating_sub(TRACE));
            sizes.get(from).is_some_and(|size| size.abs_diff(print.size) <= TRACE)
        };
        prints.iter().filter(has).copied().collect()
    };
    Alike { old: near(&group.old, &sizes(&group.new)), new: near(&group.new, &sizes(&group.old)) }
}

/// The pair, where headers and size leave no doubt: there is a Message-ID, and of each size only
/// one message on either side.
pub fn by_headers(group: &Alike) -> Option<Vec<Pair>> {
    let ([old], [new]) = (group.old.as_slice(), group.new.as_slice()) else {
        return by_size(group);
    };
    let fits = old.id != 0 && old.size.abs_diff(new.size) <= SLACK;
    let altered = old.size != new.size;
    fits.then(|| vec![Pair { old: old.uid, new: new.uid, altered }])
}

fn by_size(group: &Alike) -> Option<Vec<Pair>> {
    let of_size = |prints: &[Print]| {
        let mut of_size = HashMap::new();
        for print in prints {
            if print.id == 0 || of_size.insert(print.size, print.uid).is_some() {
                return None;
            }
        }
        Some(of_size)
    };
    let (old, new) = (of_size(&group.old)?, of_size(&group.new)?);
    let mut pairs: Vec<Pair> = old
        .iter()
        .filter_map(|(size, old)| Some(Pair { old: *old, new: *new.get(size)?, altered: false }))
        .collect();
    pairs.sort_unstable();
    // A size without its like may be the same message, changed.
    (pairs.len() == old.len().min(new.len())).then_some(pairs)
}

/// The pairs of messages that are the same. Of several each has one partner at most: first one of its
/// trace, size and INTERNALDATE, then one of its trace and size, then one of its trace, then any, in the
/// order of their UIDs.
pub fn by_content(group: &Alike, contents: &Contents) -> Vec<Pair> {
    let known = |prints: &[Print], contents: &HashMap<SideUid, Content>| {
        let known = prints.iter().filter_map(|p| Some((*contents.get(&p.uid)?, *p)));
        let mut known: Vec<(Content, Print)> = known.collect();
        known.sort_unstable_by_key(|(_, print)| print.uid);
        known
    };
    let mut old = known(&group.old, &contents.old);
    let mut new = known(&group.new, &contents.new);
    let mut pairs = Vec::new();
    pair_equal(&mut old, &mut new, |(content, p)| (*content, p.size, p.date), &mut pairs);
    pair_equal(&mut old, &mut new, |(content, p)| (*content, p.size), &mut pairs);
    pair_equal(&mut old, &mut new, |(content, _)| *content, &mut pairs);
    pair_equal(&mut old, &mut new, |(content, _)| content.text, &mut pairs);
    pairs.sort_unstable();
    pairs
}

/// The content of messages on each side, as far as it was read.
pub type Contents = Sides<HashMap<SideUid, Content>>;

/// Pairs those of equal keys, and leaves the others.
fn pair_equal<K: std::hash::Hash + Eq>(
    old: &mut Vec<(Content, Print)>,
    new: &mut Vec<(Content, Print)>,
    key: impl Fn(&(Content, Print)) -> K,
    pairs: &mut Vec<Pair>,
) {
    let mut waiting: HashMap<K, std::collections::VecDeque<(Content, Print)>> = HashMap::new();
    for message in new.iter() {
        waiting.entry(key(message)).or_default().push_back(*message);
    }
    let mut taken = UidSet::new();
    old.retain(|message| {
        let found = waiting.get_mut(&key(message)).and_then(std::collections::VecDeque::pop_front);
        if let Some((content, new)) = found {
            let altered = message.1.size != new.size || message.0.trace != content.trace;
            pairs.push(Pair { old: message.1.uid, new: new.uid, altered });
            taken.insert(new.uid);
        }
        found.is_none()
    });
    new.retain(|message| !taken.contains(message.1.uid));
}
