//! [`UidSet`]: numbers of one kind as sorted ranges, with rank and select.
//!
//! Used for what a backend connection has announced, for search results, for known UIDs and for
//! what a command names. Its IMAP text is in `text`; what a client wrote, with `*` and in any
//! order, is a [`SeqSet`](super::SeqSet).

use std::fmt;
use std::marker::PhantomData;

use super::{Seq, SideUid, Uid};

/// A kind of number that a [`UidSet`] can hold: [`Uid`], [`SideUid`] or [`Seq`].
pub trait Number: Copy + Ord + From<u32> + Into<u32> + fmt::Debug + sealed::Sealed {}

impl Number for Uid {}
impl Number for SideUid {}
impl Number for Seq {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Uid {}
    impl Sealed for super::SideUid {}
    impl Sealed for super::Seq {}
}

/// A set of numbers, kept as ranges.
///
/// 0 is no number in IMAP (RFC 9051 §9, `nz-number`): it is never a member, and putting it in is
/// without effect. Therefore the number of members fits a `u32`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UidSet<T> {
    /// Ascending, disjoint, and with at least one absent number between two of them.
    spans: Vec<Span>,
    kind: PhantomData<T>,
}

/// One range of a set, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Span {
    /// Never 0.
    pub(super) first: u32,
    pub(super) last: u32,
    /// How many members of the set are below `first`.
    before: u32,
}

impl Span {
    fn count(self) -> u32 {
        self.last - self.first + 1
    }

    /// How many members the set has up to the end of this range.
    fn through(self) -> u32 {
        self.before + self.count()
    }
}

impl<T: Number> UidSet<T> {
    /// The empty set.
    pub fn new() -> Self {
        UidSet { spans: Vec::new(), kind: PhantomData }
    }

    /// The union of ranges, which may come in any order, overlap and be written backwards.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (a, b) in ranges {
            let Some((first, last)) = ordered(a, b) else { continue };
            match pairs.last_mut() {
                // Neighbours join at once, so that single numbers in order take no memory each.
                Some(end) if first >= end.0 && first - 1 <= end.1 => end.1 = end.1.max(last),
                _ => pairs.push((first, last)),
            }
        }
        if !pairs.is_sorted() {
            pairs.sort_unstable();
        }
        let mut set = Self::new();
        set.spans.reserve_exact(pairs.len());
        for (first, last) in pairs {
            set.append(first, last);
        }
        set
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many members it has.
    pub fn len(&self) -> u32 {
        self.spans.last().map_or(0, |s| s.through())
    }

    /// How many ranges it is made of.
    pub fn range_count(&self) -> usize {
        self.spans.len()
    }

    /// Whether `n` is a member.
    pub fn contains(&self, n: T) -> bool {
        let n = n.into();
        let i = self.spans.partition_point(|s| s.last < n);
        self.spans.get(i).is_some_and(|s| s.first <= n)
    }

    /// The lowest member.
    pub fn first(&self) -> Option<T> {
        self.spans.first().map(|s| T::from(s.first))
    }

    /// The highest member.
    pub fn last(&self) -> Option<T> {
        self.spans.last().map(|s| T::from(s.last))
    }

    /// How many members are at or below `n`.
    pub fn rank(&self, n: T) -> u32 {
        let n = n.into();
        match self.spans[..self.spans.partition_point(|s| s.first <= n)].last() {
            Some(s) => s.before + (n.min(s.last) - s.first + 1),
            None => 0,
        }
    }

    /// The 1-based position of `n` among the members: its sequence number, if this is a mailbox.
    pub fn position(&self, n: T) -> Option<u32> {
        self.contains(n).then(|| self.rank(n))
    }

    /// The member at a 1-based position.
    pub fn select(&self, position: u32) -> Option<T> {
        let s = self.spans[..self.spans.partition_point(|s| s.before < position)].last()?;
        (position <= s.through()).then(|| T::from(s.first + (position - s.before - 1)))
    }

    /// The ranges, ascending, both ends included.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = (T, T)> + ExactSizeIterator + Clone {
        self.spans.iter().map(|s| (T::from(s.first), T::from(s.last)))
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + Clone {
        self.spans.iter().flat_map(|s| (s.first..=s.last).map(T::from))
    }

    /// Puts `n` in; whether it was absent.
    pub fn insert(&mut self, n: T) -> bool {
        let before = self.len();
        self.insert_range(n, n);
        self.len() != before
    }

    /// Puts in all numbers between `a` and `b`, both included, whichever is the greater.
    pub fn insert_range(&mut self, a: T, b: T) {
        let Some((first, last)) = ordered(a, b) else { return };
        if self.spans.last().is_none_or(|end| end.first <= first) {
            return self.append(first, last);
        }
        // The ranges that overlap the new one or lie right beside it become one with it.
        let from = self.spans.partition_point(|s| s.last < first - 1);
        let to = self.spans.partition_point(|s| s.first <= last.saturating_add(1));
        let mut span = Span { first, last, before: 0 };
        if let [head, ..] = self.spans[from..to] {
            span.first = first.min(head.first);
            span.last = last.max(self.spans[to - 1].last);
        }
        self.spans.splice(from..to, [span]);
        self.recount(from);
    }

    /// Puts in a number that is likely to be above all members, in constant time if it is.
    pub fn push(&mut self, n: T) {
        self.insert_range(n, n);
    }

    /// Takes `n` out; whether it was a member.
    pub fn remove(&mut self, n: T) -> bool {
        self.remove_range(n, n) != 0
    }

    /// Takes out all numbers between `a` and `b`, both included; how many were members.
    pub fn remove_range(&mut self, a: T, b: T) -> u32 {
        let Some((first, last)) = ordered(a, b) else { return 0 };
        let from = self.spans.partition_point(|s| s.last < first);
        let to = self.spans.partition_point(|s| s.first <= last);
        if from >= to {
            return 0;
        }
        let before = self.len();
        let (head, tail) = (self.spans[from], self.spans[to - 1]);
        let left = (head.first < first).then(|| Span { last: first - 1, ..head });
        let right = (last < tail.last).then(|| Span { first: last + 1, ..tail });
        self.spans.splice(from..to, left.into_iter().chain(right));
        self.recount(from);
        before - self.len()
    }

    /// Takes out and returns the member at a 1-based position: what `* n EXPUNGE` asks for.
    pub fn remove_at(&mut self, position: u32) -> Option<T> {
        let n = self.select(position)?;
        self.remove(n);
        Some(n)
    }

    /// All members of both.
    pub fn union(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.spans.as_slice(), other.spans.as_slice());
        let mut set = Self::new();
        loop {
            let take = match (a, b) {
                ([x, ..], [y, ..]) if y.first < x.first => &mut b,
                ([_, ..], _) => &mut a,
                ([], [_, ..]) => &mut b,
                ([], []) => return set,
            };
            set.append(take[0].first, take[0].last);
            *take = &take[1..];
        }
    }

    /// The members that both have.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.spans.as_slice(), other.spans.as_slice());
        let mut set = Self::new();
        while let ([x, ..], [y, ..]) = (a, b) {
            let (first, last) = (x.first.max(y.first), x.last.min(y.last));
            if first <= last {
                set.append(first, last);
            }
            // Whichever ends first has nothing more to give; far behind, it leaps.
            if x.last <= y.last {
                a = skip_below(&a[1..], y.first);
            } else {
                b = skip_below(&b[1..], x.first);
            }
        }
        set
    }

    /// The members that `other` lacks.
    pub fn subtract(&self, other: &Self) -> Self {
        let mut holes = other.spans.as_slice();
        let mut set = Self::new();
        for s in &self.spans {
            holes = skip_below(holes, s.first);
            let mut first = Some(s.first);
            for hole in holes.iter().take_while(|h| h.first <= s.last) {
                match first {
                    Some(n) if n < hole.first => set.append(n, hole.first - 1),
                    _ => {}
                }
                first = hole.last.checked_add(1).filter(|n| *n <= s.last);
            }
            if let Some(first) = first {
                set.append(first, s.last);
            }
        }
        set
    }

    /// Whether `other` has all members of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut wide = other.spans.as_slice();
        self.spans.iter().all(|s| {
            wide = skip_below(wide, s.first);
            wide.first().is_some_and(|w| w.first <= s.first && s.last <= w.last)
        })
    }

    /// The members at or above `n`.
    pub fn range_from(&self, n: T) -> Self {
        let n = n.into();
        let mut set = Self::new();
        for s in skip_below(&self.spans, n) {
            set.append(s.first.max(n), s.last);
        }
        set
    }

    /// The same set with as few ranges as possible: it spans what is not in `among`. Of what is there
    /// it names exactly its own.
    pub fn spanned(&self, among: &Self) -> Self {
        let mut spanned: Vec<(T, T)> = Vec::new();
        let mut last_rank = None;
        for (first, last) in self.ranges() {
            // As many of `among` below `first` as up to the range before: none in between.
            let below = among.rank(first).saturating_sub(1);
            match spanned.last_mut() {
                Some(open) if last_rank == Some(below) && among.contains(first) => open.1 = last,
                _ => spanned.push((first, last)),
            }
            last_rank = Some(among.rank(last));
        }
        UidSet::from_ranges(spanned)
    }

    /// Memory held beyond the set's own size.
    pub fn heap_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Panics if an invariant does not hold. For tests and fuzzing.
    pub fn check(&self) {
        let mut before = 0;
        let mut last = None;
        for s in &self.spans {
            assert!(1 <= s.first && s.first <= s.last, "range {}:{}", s.first, s.last);
            assert!(last.is_none_or(|l| l + 1 < s.first), "{last:?} then {}", s.first);
            assert_eq!(s.before, before, "members below {}", s.first);
            before = s.through();
            last = Some(s.last);
        }
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Adds a range that starts at or above the start of the last one.
    pub(super) fn append(&mut self, first: u32, last: u32) {
        let before = match self.spans.last_mut() {
            Some(end) if first - 1 <= end.last => {
                end.last = end.last.max(last);
                return;
            }
            end => end.map_or(0, |s| s.through()),
        };
        self.spans.push(Span { first, last, before });
    }

    /// Corrects the counts after an edit that put at most two ranges at index `from`.
    fn recount(&mut self, from: usize) {
        let (counted, rest) = self.spans.split_at_mut(from);
        let (edited, behind) = rest.split_at_mut(rest.len().min(2));
        let mut before = counted.last().map_or(0, |s| s.through());
        for s in edited {
            s.before = before;
            before = s.through();
        }
        // All behind are off by the same number, be it up or down.
        let shift = before.wrapping_sub(behind.first().map_or(before, |s| s.before));
        if shift != 0 {
            for s in behind {
                s.before = s.before.wrapping_add(shift);
            }
        }
    }
}

/// The ranges that reach `n` or lie above it.
pub(super) fn skip_below(spans: &[Span], n: u32) -> &[Span] {
    // Doubling steps: the next range is found at once, a far one in O(log distance).
    let mut reach = 1;
    while spans.get(reach).is_some_and(|s| s.last < n) {
        reach *= 2;
    }
    let known = reach / 2;
    let near = &spans[known..reach.min(spans.len()).max(known)];
    &spans[known + near.partition_point(|s| s.last < n)..]
}

/// A range by its lower end, without 0; `None` if nothing is left of it.
fn ordered<T: Number>(a: T, b: T) -> Option<(u32, u32)> {
    let (a, b): (u32, u32) = (a.into(), b.into());
    (a.max(b) != 0).then(|| (a.min(b).max(1), a.max(b)))
}

impl<T: Number> Default for UidSet<T> {
    fn default() -> Self {
        UidSet::new()
    }
}

impl<T: Number> FromIterator<T> for UidSet<T> {
    /// Takes numbers in any order, repeated or not.
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        UidSet::from_ranges(numbers.into_iter().map(|n| (n, n)))
    }
}

impl<T: Number> Extend<T> for UidSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, numbers: I) {
        let more = UidSet::from_iter(numbers);
        *self = self.union(&more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::SideUid;

    fn set(text: &str) -> UidSet<SideUid> {
        UidSet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_span_covers_holes_and_nothing_that_is_there() {
        let there = set("1,3,5:9,20,30");
        assert_eq!(there.spanned(&there).to_string(), "1:30");
        assert_eq!(set("1,3,20,30").spanned(&there).to_string(), "1:3,20:30");
        assert_eq!(set("3,5:7,9").spanned(&there).to_string(), "3:7,9");
        // What is not there is named as it is, and spanned by nothing.
        assert_eq!(set("1,40").spanned(&there).to_string(), "1,40");
        assert_eq!(UidSet::<SideUid>::new().spanned(&there).to_string(), "");
    }
}
