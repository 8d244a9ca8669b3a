//! Going over a [`UidMap`] in ascending order: the parts a set names, and a [`Cursor`] for streams.

use crate::base::Side;

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
        Cursor { map: self.clone(), at: At::default(), asked: Uid(0) }
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
}

impl Cursor {
    /// The message's sequence number.
    pub fn seq(&mut self, uid: Uid) -> Option<Seq> {
        let run = self.seek(uid)?;
        Some(Seq(self.at.before + (uid.0 - run.uid.0) + 1))
    }

    /// The message that has this UID on one side, and its sequence number.
    ///
    /// Fast if the server's UIDs ascend or descend along the map; else each is searched for.
    pub fn find(&mut self, side: Side, uid: SideUid) -> Option<(Uid, Seq)> {
        let here = |run: &Run| run.uid_of(side, uid);
        let found = self.at.near(&self.map.spine).find_map(here);
        let found = match found {
            Some(found) => found,
            None => self.map.uid_of(side, uid)?,
        };
        self.seq(found).map(|seq| (found, seq))
    }

    fn seek(&mut self, uid: Uid) -> Option<Run> {
        if uid < self.asked {
            self.at = At::default();
        }
        self.asked = uid;
        self.at.forward(&self.map.spine, uid);
        self.at.run(&self.map.spine).filter(|run| run.uid <= uid).copied()
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

    /// The run here, the next one and the one before, as far as they are in the same chunk.
    fn near<'a>(&self, spine: &'a [Entry]) -> impl Iterator<Item = &'a Run> {
        let runs = spine.get(self.chunk).map_or(&[][..], |entry| entry.chunk.runs());
        let around = [Some(self.run), self.run.checked_add(1), self.run.checked_sub(1)];
        around.into_iter().flatten().filter_map(|i| runs.get(i))
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
