//! Going over a [`UidMap`] in ascending order: the parts a set names, and a [`Cursor`] for streams.

use crate::base::{Side, Sides};

use super::map::Entry;
use super::set::{Span, skip_below};
use super::{Run, Seq, SideUid, Uid, UidMap, UidSet};

/// How many runs are passed one by one before a search: what a stream skips is near.
const NEAR: usize = 4;

impl UidMap {
    /// The map's runs as far as a set names them, ascending. Linear in the runs touched.
    pub fn intersect<'a>(&'a self, set: &'a UidSet<Uid>) -> impl Iterator<Item = Run> + 'a {
        self.numbered(set).map(|(_, run)| run)
    }

    /// Like [`UidMap::intersect`], each run with the sequence number of its first message.
    pub fn numbered<'a>(&'a self, set: &'a UidSet<Uid>) -> impl Iterator<Item = (Seq, Run)> + 'a {
        Numbered { spine: &self.spine, spans: set.spans(), at: At::default() }
    }

    /// The UIDs of a set that are messages of this map.
    pub fn within(&self, set: &UidSet<Uid>) -> UidSet<Uid> {
        let mut found = UidSet::new();
        for run in self.intersect(set) {
            found.append(run.uid.0, run.last().0);
        }
        found
    }

    /// A cursor at the first message.
    pub fn cursor(&self) -> Cursor {
        Cursor { map: self.clone(), at: At::default(), asked: Uid(0), searches: Sides::default() }
    }
}

/// Answers questions about one message after the other, in constant time (amortized) as long as
/// they ascend, by a search otherwise. Keeps the snapshot it was made from.
#[derive(Clone, Debug)]
pub struct Cursor {
    map: UidMap,
    /// The first run that ends at or above `asked`.
    at: At,
    asked: Uid,
    searches: Sides<Searches>,
}

/// How often a side's UIDs were searched for, and what makes it fast if it is often.
#[derive(Clone, Default, Debug)]
struct Searches {
    count: usize,
    /// First UID on the side, and its run; ascending. Absent until it is worth its cost.
    sorted: Option<Vec<(SideUid, Run)>>,
}

impl Cursor {
    /// The message's sequence number.
    pub fn seq(&mut self, uid: Uid) -> Option<Seq> {
        let run = self.seek(uid)?;
        Some(Seq(self.at.before + (uid.0 - run.uid.0) + 1))
    }

    /// The message that has this UID on one side, and its sequence number.
    ///
    /// Fast if the server's UIDs ascend or descend along the map. If they are in another order
    /// (copied as somebody opened them), each is searched for.
    pub fn find(&mut self, side: Side, uid: SideUid) -> Option<(Uid, Seq)> {
        let spine = &self.map.spine;
        let found = self.at.uid_of(spine, side, uid);
        let found = found.or_else(|| self.at.next(spine).uid_of(spine, side, uid));
        let found = found.or_else(|| self.at.previous(spine)?.uid_of(spine, side, uid));
        let found = found.or_else(|| self.searches[side].uid_of(&self.map, side, uid))?;
        self.seq(found).map(|seq| (found, seq))
    }

    fn seek(&mut self, uid: Uid) -> Option<Run> {
        let spine = &self.map.spine;
        if uid < self.asked {
            let near = [Some(self.at), self.at.previous(spine)];
            let holds =
                |at: &At| at.run(spine).is_some_and(|run| run.uid <= uid && uid <= run.last());
            self.at = near.into_iter().flatten().find(holds).unwrap_or_default();
        }
        self.asked = uid;
        self.at.forward(spine, uid);
        self.at.run(spine).filter(|run| run.uid <= uid).copied()
    }
}

impl Searches {
    fn uid_of(&mut self, map: &UidMap, side: Side, uid: SideUid) -> Option<Uid> {
        // A search looks at each chunk; when it was done for as many UIDs as there are chunks, the
        // runs are sorted once (some milliseconds for 100,000), and a search takes steps of halves.
        if self.count <= map.spine.len() {
            self.count += 1;
            return map.uid_of(side, uid);
        }
        let sorted = self.sorted.get_or_insert_with(|| {
            let runs = map.runs().filter_map(|run| Some((run.on(side)?.0, run)));
            let mut sorted: Vec<_> = runs.collect();
            sorted.sort_unstable_by_key(|(first, run)| (*first, run.uid));
            sorted
        });
        let after = sorted.partition_point(|(first, _)| *first <= uid);
        let (_, run) = sorted[..after].last()?;
        run.uid_of(side, uid)
    }
}

/// A run in a map. Beyond the last run, `chunk` is the number of chunks.
#[derive(Clone, Copy, Default, Debug)]
struct At {
    chunk: usize,
    run: usize,
    /// How many messages the map has before the run.
    before: u32,
}

impl At {
    fn run<'a>(&self, spine: &'a [Entry]) -> Option<&'a Run> {
        spine.get(self.chunk)?.chunk.runs().get(self.run)
    }

    fn uid_of(&self, spine: &[Entry], side: Side, uid: SideUid) -> Option<Uid> {
        self.run(spine)?.uid_of(side, uid)
    }

    fn next(mut self, spine: &[Entry]) -> At {
        self.step(spine);
        self
    }

    fn previous(self, spine: &[Entry]) -> Option<At> {
        let (chunk, run) = match self.run.checked_sub(1) {
            Some(run) => (self.chunk, run),
            None => {
                let chunk = self.chunk.checked_sub(1)?;
                (chunk, spine.get(chunk)?.chunk.runs().len() - 1)
            }
        };
        let len = spine.get(chunk)?.chunk.runs().get(run)?.len;
        Some(At { chunk, run, before: self.before - len })
    }

    /// Goes to the next run.
    fn step(&mut self, spine: &[Entry]) {
        let Some(entry) = spine.get(self.chunk) else { return };
        let runs = entry.chunk.runs();
        self.before += runs.get(self.run).map_or(0, |run| run.len);
        self.run += 1;
        if self.run >= runs.len() {
            self.chunk += 1;
            self.run = 0;
        }
    }

    /// Goes to the first run that ends at or above `uid`, unless it is there or further on already.
    fn forward(&mut self, spine: &[Entry], uid: Uid) {
        for _ in 0..NEAR {
            match self.run(spine) {
                Some(run) if run.last() < uid => self.step(spine),
                _ => return,
            }
        }
        let chunk = spine.partition_point(|entry| entry.first <= uid).saturating_sub(1);
        if chunk > self.chunk {
            *self = At { chunk, run: 0, before: spine[chunk].before };
        }
        let runs = spine.get(self.chunk).map_or(&[][..], |entry| entry.chunk.runs());
        for run in runs.iter().skip(self.run).take_while(|run| run.last() < uid) {
            self.before += run.len;
            self.run += 1;
        }
        if self.run >= runs.len() && self.chunk < spine.len() {
            self.chunk += 1;
            self.run = 0;
        }
    }
}

struct Numbered<'a> {
    spine: &'a [Entry],
    /// What is left of the set.
    spans: &'a [Span],
    at: At,
}

impl Iterator for Numbered<'_> {
    type Item = (Seq, Run);

    fn next(&mut self) -> Option<(Seq, Run)> {
        loop {
            let span = self.spans.first()?;
            self.at.forward(self.spine, Uid(span.first));
            let run = self.at.run(self.spine)?;
            if span.last < run.uid.0 {
                self.spans = skip_below(self.spans, run.uid.0);
                continue;
            }
            let first = run.uid.max(Uid(span.first));
            let part = run.part(first, run.last().min(Uid(span.last)));
            let seq = Seq(self.at.before + (first.0 - run.uid.0) + 1);
            if Uid(span.last) <= run.last() {
                self.spans = &self.spans[1..];
            } else {
                self.at.step(self.spine);
            }
            return Some((seq, part));
        }
    }
}
