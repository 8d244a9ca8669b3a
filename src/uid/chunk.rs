//! [`Chunk`]: up to [`MAX_RUNS`] neighbouring runs, the piece in which a map is shared and stored.
//!
//! A chunk is never changed once it is in a map that somebody else can see: an edit makes a new
//! one, so that two versions of a map share the chunks that are equal.

use crate::base::{Side, Sides};

use super::{MapError, Run, SideUid, Uid};

/// The most runs a chunk has. A change copies and writes one chunk: 5 KB in memory, and about a
/// kilobyte in the index, where it is one value.
pub const MAX_RUNS: usize = 256;

/// Neighbouring runs of one map. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Ascending and disjoint; two that line up are joined.
    runs: Vec<Run>,
    /// Messages in all runs.
    len: u32,
    first: Uid,
    bounds: Sides<Bounds>,
    /// See [`UidMap::sum`](super::UidMap::sum).
    sum: u64,
}

/// The lowest and highest UID on one side; `min > max` if there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bounds {
    min: SideUid,
    max: SideUid,
}

impl Bounds {
    const NONE: Bounds = Bounds { min: SideUid(u32::MAX), max: SideUid(0) };

    fn widen(&mut self, (first, last): (SideUid, SideUid)) {
        self.min = self.min.min(first);
        self.max = self.max.max(last);
    }
}

impl Chunk {
    /// The UID of its first message: its key in the index.
    pub fn first_uid(&self) -> Uid {
        self.first
    }

    /// The UID of its last message.
    pub fn last_uid(&self) -> Uid {
        self.runs.last().map_or(self.first, |run| run.last())
    }

    /// Its runs, ascending; at least one.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many messages it has; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The lowest and the highest UID its messages have on one side.
    pub fn bounds(&self, side: Side) -> Option<(SideUid, SideUid)> {
        let Bounds { min, max } = self.bounds[side];
        (min <= max).then_some((min, max))
    }

    /// Makes one of runs that are valid, ascending and joined; `None` of no runs.
    pub(super) fn new(runs: Vec<Run>) -> Option<Chunk> {
        let first = runs.first()?.uid;
        let mut chunk = Chunk {
            runs,
            len: 0,
            first,
            bounds: Sides { old: Bounds::NONE, new: Bounds::NONE },
            sum: 0,
        };
        for run in &chunk.runs {
            chunk.len += run.len;
            widen(&mut chunk.bounds, run);
            chunk.sum = chunk.sum.wrapping_add(mixed(run));
        }
        Some(chunk)
    }

    /// Adds a run above all others; gives it back if the chunk is full.
    pub(super) fn push(&mut self, run: Run) -> Result<(), Run> {
        let full = self.runs.len() >= MAX_RUNS;
        match self.runs.last_mut() {
            Some(last) if last.is_followed_by(&run) => {
                self.sum = self.sum.wrapping_sub(mixed(last));
                last.len += run.len;
                self.sum = self.sum.wrapping_add(mixed(last));
            }
            _ if full => return Err(run),
            _ => {
                self.sum = self.sum.wrapping_add(mixed(&run));
                self.runs.push(run);
            }
        }
        self.len += run.len;
        widen(&mut self.bounds, &run);
        Ok(())
    }

    /// Gives back memory kept for more runs.
    pub(super) fn seal(&mut self) {
        self.runs.shrink_to_fit();
    }

    /// The run that has the message.
    pub(super) fn run_of(&self, uid: Uid) -> Option<&Run> {
        let run = self.runs.get(self.runs.partition_point(|run| run.last() < uid))?;
        (run.uid <= uid).then_some(run)
    }

    /// The message that has this UID on one side.
    pub(super) fn uid_of(&self, side: Side, uid: SideUid) -> Option<Uid> {
        let Bounds { min, max } = self.bounds[side];
        if uid < min || max < uid {
            return None;
        }
        self.runs.iter().find_map(|run| run.uid_of(side, uid))
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

fn widen(bounds: &mut Sides<Bounds>, run: &Run) {
    for side in Side::BOTH {
        if let Some(span) = run.on(side) {
            bounds[side].widen(span);
        }
    }
}

/// A run as a number in which each of its bits shows. The numbers are on disk.
fn mixed(run: &Run) -> u64 {
    let on = |side: Side| run.place.on(side).map_or(0, |uid| u64::from(uid.0) + 1);
    let words = [u64::from(run.uid.0), u64::from(run.len), on(Side::Old), on(Side::New)];
    let mix = |sum: u64, word: u64| {
        let mixed = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    words.into_iter().fold(0x51_7c_c1_b7_27_22_0a_95, mix)
}

/// Adds a run behind others, joined to the last one if it lines up with it.
pub(super) fn join_onto(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.is_followed_by(&run) => last.len += run.len,
        _ => runs.push(run),
    }
}

/// Adds runs that are joined among themselves behind others.
pub(super) fn join_all_onto(runs: &mut Vec<Run>, more: &[Run]) {
    if let Some((first, rest)) = more.split_first() {
        join_onto(runs, *first);
        runs.extend_from_slice(rest);
    }
}

impl Run {
    /// UID of its last message.
    pub fn last(&self) -> Uid {
        Uid(self.uid.0 + (self.len - 1))
    }

    /// The first and the last UID its messages have on one side, if they lie there.
    pub fn on(&self, side: Side) -> Option<(SideUid, SideUid)> {
        self.place.on(side).map(|first| (first, SideUid(first.0 + (self.len - 1))))
    }

    /// The message of this run that has this UID on one side.
    pub fn uid_of(&self, side: Side, uid: SideUid) -> Option<Uid> {
        let (first, last) = self.on(side)?;
        (first <= uid && uid <= last).then(|| Uid(self.uid.0 + (uid.0 - first.0)))
    }

    /// The part from one message of this run to another, both included.
    pub(super) fn part(&self, first: Uid, last: Uid) -> Run {
        let place = self.place.plus(first.0 - self.uid.0);
        Run { uid: first, len: last.0 - first.0 + 1, place }
    }

    /// Whether `next` goes on where this one ends, virtually and on every side.
    pub(super) fn is_followed_by(&self, next: &Run) -> bool {
        // A run may end at the last number there is; what follows wraps to 0, which is no UID.
        let follows = |first: SideUid, next: SideUid| first.0.wrapping_add(self.len) == next.0;
        self.uid.0.wrapping_add(self.len) == next.uid.0
            && self.place.is_like(next.place)
            && Side::BOTH.into_iter().all(|side| match (self.place.on(side), next.place.on(side)) {
                (Some(first), Some(next)) => follows(first, next),
                _ => true,
            })
    }

    /// Whether it may stand in a map: it has messages, and all their numbers are numbers of IMAP.
    pub(super) fn check(&self) -> Result<(), MapError> {
        let more = self.len.checked_sub(1).ok_or(MapError::NoMessages)?;
        let sides = Side::BOTH.into_iter().filter_map(|side| self.place.on(side));
        for first in sides.map(|uid| uid.0).chain([self.uid.0]) {
            if first == 0 {
                return Err(MapError::Zero);
            }
            first.checked_add(more).ok_or(MapError::Overflow)?;
        }
        Ok(())
    }
}
