//! [`SeqSet`]: a set as a client wrote it, and what it names in a map.

use std::fmt;

use super::{Seq, Uid, UidMap, UidSet};

/// One end of a range a client wrote.
///
/// ```abnf
/// seq-number = nz-number / "*"        ; RFC 9051 §9
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bound {
    /// A number: of a message or a UID, whichever the command counts by.
    Number(u32),
    /// `*`: the largest number in use.
    Star,
}

impl From<u32> for Bound {
    fn from(n: u32) -> Self {
        Bound::Number(n)
    }
}

/// What the numbers of a set count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum By {
    /// Message sequence numbers: FETCH 1:3.
    Seq,
    /// UIDs: UID FETCH 1:3.
    Uid,
}

/// What a client wrote where IMAP wants a `sequence-set`: ranges in any order, overlapping or not,
/// with `*`; or `$`, the result that its last SEARCH saved (RFC 5182). Only a map tells which
/// messages ranges name, and only the client's session what it saved.
///
/// ```abnf
/// sequence-set     =/ seq-last-command  ; RFC 5182 §3
/// seq-last-command = "$"
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SeqSet {
    /// Empty in `$`.
    ranges: Vec<(Bound, Bound)>,
    saved: bool,
}

impl SeqSet {
    /// A set of one number or of `*`.
    pub fn single(bound: impl Into<Bound>) -> SeqSet {
        let bound = bound.into();
        SeqSet::from_ranges([(bound, bound)])
    }

    /// A set of ranges as they were written; a single number is a range from and to itself.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (Bound, Bound)>) -> SeqSet {
        SeqSet { ranges: ranges.into_iter().collect(), saved: false }
    }

    /// `1:*`: all messages.
    pub fn all() -> SeqSet {
        SeqSet::from_ranges([(Bound::Number(1), Bound::Star)])
    }

    /// `$`: the saved result.
    pub fn saved() -> SeqSet {
        SeqSet { ranges: Vec::new(), saved: true }
    }

    /// Whether it is `$`, which by itself names nothing.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// The ranges as they were written.
    pub fn ranges(&self) -> &[(Bound, Bound)] {
        &self.ranges
    }

    /// Whether `*` stands in it.
    pub fn has_star(&self) -> bool {
        self.ranges.iter().any(|(a, b)| [a, b].contains(&&Bound::Star))
    }

    /// The UIDs it names, whether there are such messages or not; `*` is `last`.
    pub fn uids(&self, last: Uid) -> UidSet<Uid> {
        let uid = |bound| match bound {
            Bound::Number(n) => Uid(n),
            Bound::Star => last,
        };
        UidSet::from_ranges(self.ranges.iter().map(|&(a, b)| (uid(a), uid(b))))
    }

    /// The messages named by UID. A UID that no message has is ignored without an error (RFC 9051
    /// §6.4.9), and `559:*` names the last message even if its UID is below 559.
    pub fn resolve_uids(&self, map: &UidMap) -> UidSet<Uid> {
        let Some(last) = map.last_uid() else { return UidSet::new() };
        map.within(&self.uids(last))
    }

    /// The messages named by sequence number. `None`, which is BAD, if a number is 0 or above
    /// EXISTS; `*` is above it in an empty mailbox (RFC 9051 §9, `seq-number`).
    pub fn resolve_seqs(&self, map: &UidMap) -> Option<UidSet<Uid>> {
        let exists = map.len();
        let seq = |bound| {
            let n = match bound {
                Bound::Number(n) => n,
                Bound::Star => exists,
            };
            (1 <= n && n <= exists).then_some(Seq(n))
        };
        let named: Option<Vec<_>> =
            self.ranges.iter().map(|&(a, b)| Some((seq(a)?, seq(b)?))).collect();
        Some(map.numbered_by(&UidSet::from_ranges(named?)))
    }

    /// The messages named by sequence number, as far as there are any.
    pub fn resolve_known_seqs(&self, map: &UidMap) -> UidSet<Uid> {
        let exists = map.len();
        let seq = |bound| match bound {
            Bound::Number(n) => n,
            Bound::Star => exists,
        };
        let named = self.ranges.iter().filter_map(|&(a, b)| {
            let (first, last) = (seq(a).min(seq(b)).max(1), seq(a).max(seq(b)).min(exists));
            (first <= last).then_some((Seq(first), Seq(last)))
        });
        map.numbered_by(&UidSet::from_ranges(named.collect::<Vec<_>>()))
    }
}

impl UidMap {
    /// The UIDs of the messages with these sequence numbers, as far as there are any.
    pub fn numbered_by(&self, seqs: &UidSet<Seq>) -> UidSet<Uid> {
        let mut uids = UidSet::new();
        for (first, last) in seqs.ranges() {
            let mut left = last.0 - first.0 + 1;
            for run in self.part_at(first) {
                let take = left.min(run.len);
                uids.append(run.uid.0, run.uid.0 + (take - 1));
                left -= take;
                if left == 0 {
                    break;
                }
            }
        }
        uids
    }
}

impl fmt::Display for SeqSet {
    /// Writes `sequence-set` (RFC 9051 §9), range for range as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.saved {
            return f.write_str("$");
        }
        let mut comma = "";
        for (a, b) in &self.ranges {
            f.write_str(comma)?;
            write!(f, "{a}")?;
            if a != b {
                write!(f, ":{b}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Number(n) => fmt::Display::fmt(n, f),
            Bound::Star => f.write_str("*"),
        }
    }
}
