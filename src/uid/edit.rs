//! Changing a [`UidMap`]: arrivals, removals, new places.
//!
//! An edit makes new chunks in the place of those it touches, cuts what became too long and merges
//! what became short with a neighbour. Snapshots of the map keep the chunks they had.

use std::mem;
use std::sync::Arc;

use super::chunk::{join_all_onto, join_onto};
use super::map::{Entry, push_chunk, push_runs};
use super::set::{Span, skip_below};
use super::{Chunk, MAX_RUNS, MapError, Place, Run, Uid, UidMap, UidSet};

/// An edited chunk with fewer runs is merged with a neighbour, if that makes no more than
/// [`MERGED_RUNS`]; far enough below the limit that the next edit does not cut it again.
const SHORT: usize = MAX_RUNS / 4;
const MERGED_RUNS: usize = MAX_RUNS / 4 * 3;

impl UidMap {
    /// Adds messages above all others: the first has `uid` and `place`, the rest follow by one.
    pub fn push(&mut self, uid: Uid, len: u32, place: Place) -> Result<(), MapError> {
        let run = Run { uid, len, place };
        run.check()?;
        if self.last_uid() >= Some(uid) {
            return Err(MapError::Order);
        }
        let spine = Arc::make_mut(&mut self.spine);
        if let Some(end) = spine.last_mut() {
            let chunk = Arc::make_mut(&mut end.chunk);
            if chunk.push(run).is_ok() {
                return Ok(());
            }
            chunk.seal();
        }
        if let Some(chunk) = Chunk::new(vec![run]) {
            push_chunk(spine, chunk);
        }
        Ok(())
    }

    /// Takes messages out; how many of the set there were.
    pub fn remove(&mut self, uids: &UidSet<Uid>) -> u32 {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return 0 };
        let before = self.len();
        self.edit(first, last, |chunk| {
            let holes = skip_below(uids.spans(), chunk.first_uid().0);
            let touched = holes.first().is_some_and(|hole| hole.first <= chunk.last_uid().0);
            touched.then(|| without(chunk.runs(), holes))
        });
        before - self.len()
    }

    /// Changes where a message lies. `false`, and no change, if there is no such message, or if the
    /// place names a UID 0.
    pub fn set_place(&mut self, uid: Uid, place: Place) -> bool {
        self.set_places([(uid, place)]) != 0
    }

    /// Changes where messages lie; how many of them there were. Of two changes of one message the
    /// later holds. Each touched chunk is made anew once, however many of its messages change.
    pub fn set_places(&mut self, changes: impl IntoIterator<Item = (Uid, Place)>) -> u32 {
        let mut changes: Vec<(Uid, Place)> = changes
            .into_iter()
            .filter(|(uid, place)| Run { uid: *uid, len: 1, place: *place }.check().is_ok())
            .collect();
        if !changes.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, and the last of equals is kept.
            changes.sort_by_key(|change| change.0);
            changes.reverse();
            changes.dedup_by_key(|change| change.0);
            changes.reverse();
        }
        let (Some(&(first, _)), Some(&(last, _))) = (changes.first(), changes.last()) else {
            return 0;
        };
        let mut found = 0;
        self.edit(first, last, |chunk| {
            let from = changes.partition_point(|change| change.0 < chunk.first_uid());
            let to = changes.partition_point(|change| change.0 <= chunk.last_uid());
            let (runs, n) = replaced(chunk.runs(), &changes[from..to]);
            found += n;
            (n > 0).then_some(runs)
        });
        found
    }

    /// Offers every chunk from the one that may hold `first` to the one that may hold `last` to
    /// `change`, and puts in the runs it returns. What comes out unchanged stays the same chunk.
    fn edit(&mut self, first: Uid, last: Uid, mut change: impl FnMut(&Chunk) -> Option<Vec<Run>>) {
        let from = self.chunk_of(first).unwrap_or(0);
        let to = self.chunk_of(last).map_or(0, |i| i + 1);
        let mut edits = Vec::new();
        for (i, entry) in self.spine.iter().enumerate().take(to).skip(from) {
            if let Some(runs) = change(&entry.chunk)
                && runs != entry.chunk.runs()
            {
                edits.push((i, runs));
            }
        }
        let Some(&(from, _)) = edits.first() else { return };

        let spine = Arc::make_mut(&mut self.spine);
        let old = spine.split_off(from);
        let mut edits = edits.into_iter().peekable();
        let mut weave = Weave { spine: mem::take(spine), edited: Vec::new(), shift: None };
        for (i, entry) in (from..).zip(old) {
            match edits.next_if(|edit| edit.0 == i) {
                Some((_, runs)) => weave.edited(runs),
                None => weave.unchanged(entry),
            }
        }
        *spine = weave.finish();
    }
}

/// A spine being put together from edited and unchanged chunks.
struct Weave {
    spine: Vec<Entry>,
    /// Edited runs that come behind the spine, and may be merged with what follows.
    edited: Vec<Run>,
    /// By how much the counts of unchanged chunks are off, wrapping; unknown behind an edit.
    shift: Option<u32>,
}

impl Weave {
    fn edited(&mut self, runs: Vec<Run>) {
        self.shift = None;
        if self.edited.is_empty() {
            self.edited = self.short_end(runs.len());
        } else if self.edited.len() + runs.len() > MERGED_RUNS {
            self.flush();
        }
        join_all_onto(&mut self.edited, &runs);
    }

    fn unchanged(&mut self, mut entry: Entry) {
        let len = self.edited.len();
        if len > 0 && len < SHORT && len + entry.chunk.runs().len() <= MERGED_RUNS {
            join_all_onto(&mut self.edited, entry.chunk.runs());
            return;
        }
        self.flush();
        // Asking the chunk before this one is a cache miss for each: ask once.
        let shift = *self.shift.get_or_insert_with(|| {
            self.spine.last().map_or(0, Entry::through).wrapping_sub(entry.before)
        });
        entry.before = entry.before.wrapping_add(shift);
        self.spine.push(entry);
    }

    fn finish(mut self) -> Vec<Entry> {
        self.flush();
        self.spine
    }

    fn flush(&mut self) {
        push_runs(&mut self.spine, mem::take(&mut self.edited));
    }

    /// The runs of the last chunk, taken off the spine, if a chunk of `len` runs behind it is short
    /// and goes well with it.
    fn short_end(&mut self, len: usize) -> Vec<Run> {
        let end = self
            .spine
            .pop_if(|end| len > 0 && len < SHORT && end.chunk.runs().len() + len <= MERGED_RUNS);
        end.map_or_else(Vec::new, |end| end.chunk.runs().to_vec())
    }
}

/// The runs without the messages in the holes.
fn without(runs: &[Run], mut holes: &[Span]) -> Vec<Run> {
    let mut left = Vec::with_capacity(runs.len());
    for run in runs {
        holes = skip_below(holes, run.uid.0);
        let mut rest = Some(*run);
        for hole in holes {
            let Some(run) = rest.filter(|run| hole.first <= run.last().0) else { break };
            if run.uid.0 < hole.first {
                left.push(run.part(run.uid, Uid(hole.first - 1)));
            }
            rest = (hole.last < run.last().0).then(|| run.part(Uid(hole.last + 1), run.last()));
        }
        left.extend(rest);
    }
    left
}

/// The runs with some messages' places changed, and how many of the changes found their message.
fn replaced(mut runs: &[Run], mut changes: &[(Uid, Place)]) -> (Vec<Run>, u32) {
    let mut new = Vec::with_capacity(runs.len() + 2);
    let mut found = 0;
    while let [(uid, _), ..] = changes {
        let (untouched, behind) = runs.split_at(runs.partition_point(|run| run.last() < *uid));
        join_all_onto(&mut new, untouched);
        let Some((run, behind)) = behind.split_first() else {
            runs = behind;
            break;
        };
        runs = behind;
        let mut rest = Some(*run);
        while let (Some(run), [(uid, place), behind @ ..]) = (rest, changes) {
            if run.last() < *uid {
                break;
            }
            changes = behind;
            if *uid < run.uid {
                continue;
            }
            found += 1;
            if run.uid < *uid {
                join_onto(&mut new, run.part(run.uid, Uid(uid.0 - 1)));
            }
            join_onto(&mut new, Run { uid: *uid, len: 1, place: *place });
            rest = (*uid < run.last()).then(|| run.part(Uid(uid.0 + 1), run.last()));
        }
        if let Some(rest) = rest {
            join_onto(&mut new, rest);
        }
    }
    join_all_onto(&mut new, runs);
    (new, found)
}
