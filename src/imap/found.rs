//! What SEARCH and SORT have found: numbers in the order of the answer, whole or in part.

use std::fmt;
use std::ops::Range;

use crate::uid::{Uid, UidSet};

/// Some of a result's numbers, by their position (RFC 5267 §4.4, RFC 9394 §3.1).
///
/// ```abnf
/// partial-range       = partial-range-first / partial-range-last    ; RFC 9394 §4
/// partial-range-first = nz-number ":" nz-number
/// partial-range-last  = MINUS nz-number ":" MINUS nz-number
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PartialRange {
    /// Counted from the end: `-1` is the last one.
    from_end: bool,
    /// As they were written, which may be the greater first.
    ends: (u32, u32),
}

impl PartialRange {
    /// The range between two positions, the first of which is 1.
    pub fn new(from_end: bool, one: u32, other: u32) -> PartialRange {
        PartialRange { from_end, ends: (one, other) }
    }

    /// The positions, counted from 0, in a result of so many; empty where it has none of them.
    pub fn of(self, count: u32) -> Range<u32> {
        let (first, last) = (self.ends.0.min(self.ends.1), self.ends.0.max(self.ends.1));
        let (first, last) = (first.saturating_sub(1).min(count), last.min(count));
        if self.from_end { count - last..count - first } else { first..last }
    }
}

impl fmt::Display for PartialRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.ends.0, self.ends.1)
    }
}

/// Numbers in the order in which they are told, as ranges that ascend each (RFC 5267 §3.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    ranges: Vec<(u32, u32)>,
    len: u32,
}

impl Found {
    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The one that comes first.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|range| range.0)
    }

    /// The one that comes last.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|range| range.1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Those at these positions, counted from 0.
    pub fn part(&self, positions: Range<u32>) -> Found {
        let mut part = Found::default();
        let mut before = 0;
        for &(first, last) in &self.ranges {
            let len = last - first + 1;
            let from = positions.start.max(before);
            let to = positions.end.min(before + len);
            if from < to {
                part.push(first + (from - before), first + (to - 1 - before));
            }
            before += len;
        }
        part
    }

    /// Adds `first..=last` behind the others.
    fn push(&mut self, first: u32, last: u32) {
        self.len += last - first + 1;
        match self.ranges.last_mut() {
            Some(end) if first.checked_sub(1) == Some(end.1) => end.1 = last,
            _ => self.ranges.push((first, last)),
        }
    }
}

impl Extend<(u32, u32)> for Found {
    fn extend<I: IntoIterator<Item = (u32, u32)>>(&mut self, ranges: I) {
        for (first, last) in ranges {
            self.push(first, last);
        }
    }
}

impl FromIterator<(u32, u32)> for Found {
    /// Takes ranges that ascend each, in the order in which they are to be told.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(ranges: I) -> Found {
        let mut found = Found::default();
        found.extend(ranges);
        found
    }
}

impl FromIterator<u32> for Found {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Found {
        numbers.into_iter().map(|n| (n, n)).collect()
    }
}

impl From<&UidSet<Uid>> for Found {
    fn from(uids: &UidSet<Uid>) -> Found {
        uids.ranges().map(|(first, last)| (first.0, last.0)).collect()
    }
}

/// Writes `sequence-set` (RFC 9051 §9); empty where there is nothing.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for &(first, last) in &self.ranges {
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, ":{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_kept_and_what_ascends_is_a_range() {
        let found: Found = [5, 6, 7, 3, 2, 9].into_iter().collect();
        assert_eq!(found.to_string(), "5:7,3,2,9");
        assert_eq!((found.len(), found.first(), found.last()), (6, Some(5), Some(9)));
        assert_eq!(found.part(1..4).to_string(), "6:7,3");
        assert_eq!(Found::default().to_string(), "");
    }

    #[test]
    fn positions_count_from_either_end() {
        assert_eq!(PartialRange::new(false, 1, 10).of(4), 0..4);
        assert_eq!(PartialRange::new(false, 3, 2).of(9), 1..3);
        assert_eq!(PartialRange::new(true, 1, 3).of(9), 6..9);
        assert_eq!(PartialRange::new(true, 9, 2).of(4), 0..3);
        assert!(PartialRange::new(false, 5, 9).of(4).is_empty());
        assert!(PartialRange::new(true, 5, u32::MAX).of(4).is_empty());
        assert_eq!(PartialRange::new(true, 1, 100).to_string(), "-1:-100");
    }

    proptest! {
        #[test]
        fn a_part_is_what_a_slice_is(
            numbers in proptest::collection::vec(1u32..40, 0..40),
            from_end: bool,
            ends in (1u32..50, 1u32..50),
        ) {
            let found: Found = numbers.iter().copied().collect();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), numbers.clone());
            let range = PartialRange::new(from_end, ends.0, ends.1).of(found.len());
            let slice = &numbers[range.start as usize..range.end as usize];
            prop_assert_eq!(found.part(range).iter().collect::<Vec<_>>(), slice);
        }
    }
}
