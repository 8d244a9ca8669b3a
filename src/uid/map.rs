//! [`UidMap`]: for every message the client can see, its virtual UID and its place (DESIGN §3).
//!
//! This file makes a map and answers questions about one message or about all. `walk` goes over
//! parts of it, `edit` changes it, `change` compares two versions.
//!
//! The map is structure alone. That no two messages have the same UID on one side (V3) is for those
//! who edit it; [`UidMap::shared`] tells where it is not so.

use std::fmt;
use std::sync::Arc;

use crate::base::Side;

use super::chunk::join_onto;
use super::{By, Chunk, MAX_RUNS, Place, Run, Seq, SeqSet, SideUid, Uid, UidSet};

/// A mailbox's messages as sorted runs, in shared chunks. A clone is a snapshot and costs nothing.
#[derive(Clone, Default)]
pub struct UidMap {
    /// Ascending by UID.
    pub(super) spine: Arc<Vec<Entry>>,
}

/// One chunk, with what a search needs before it looks inside.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) chunk: Arc<Chunk>,
    /// The chunk's first UID.
    pub(super) first: Uid,
    /// How many messages the chunks before this one have.
    pub(super) before: u32,
}

impl Entry {
    /// How many messages the map has up to the end of this chunk.
    pub(super) fn through(&self) -> u32 {
        self.before + self.chunk.len()
    }
}

/// Why runs make no map. From the index it means damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapError {
    /// A run or a chunk has no messages.
    #[error("a run without messages")]
    NoMessages,
    /// A UID is 0.
    #[error("a UID is 0")]
    Zero,
    /// A run goes on beyond the highest 32-bit number.
    #[error("a run exceeds 32 bits")]
    Overflow,
    /// A run does not start above the end of the run before it.
    #[error("runs overlap or do not ascend")]
    Order,
    /// A chunk has more than [`MAX_RUNS`] runs.
    #[error("a chunk has too many runs")]
    TooManyRuns,
}

impl UidMap {
    /// Makes a map of runs, which must ascend and not overlap. Runs that line up are joined.
    pub fn from_runs(runs: impl IntoIterator<Item = Run>) -> Result<UidMap, MapError> {
        let mut joined = Vec::new();
        check_and_join(runs, None, &mut joined)?;
        let mut spine = Vec::new();
        push_runs(&mut spine, joined);
        Ok(UidMap { spine: Arc::new(spine) })
    }

    /// Makes a map of the chunks in which the index keeps one. They stay as they are cut, so that
    /// [`UidMap::changed_chunks`] goes on from what is stored.
    pub fn from_chunks(chunks: Vec<Vec<Run>>) -> Result<UidMap, MapError> {
        let mut spine: Vec<Entry> = Vec::with_capacity(chunks.len());
        for runs in chunks {
            if runs.len() > MAX_RUNS {
                return Err(MapError::TooManyRuns);
            }
            let above = spine.last().map(|entry| entry.chunk.last_uid());
            let mut joined = Vec::with_capacity(runs.len());
            check_and_join(runs, above, &mut joined)?;
            joined.shrink_to_fit();
            push_chunk(&mut spine, Chunk::new(joined).ok_or(MapError::NoMessages)?);
        }
        Ok(UidMap { spine: Arc::new(spine) })
    }

    /// The messages that lie on a side, as if they lay nowhere else.
    pub fn on_side(&self, side: Side) -> UidMap {
        let mut runs: Vec<Run> = Vec::new();
        for run in self.runs() {
            let Some(first) = run.place.on(side) else { continue };
            let place = match side {
                Side::Old => Place::Old(first),
                Side::New => Place::New(first),
            };
            super::chunk::join_onto(&mut runs, Run { place, ..run });
        }
        let mut spine = Vec::new();
        push_runs(&mut spine, runs);
        UidMap { spine: Arc::new(spine) }
    }

    /// Whether both are the same snapshot; a map with equal content may be another one.
    pub fn is_same(&self, other: &UidMap) -> bool {
        Arc::ptr_eq(&self.spine, &other.spine)
    }

    /// How many messages it has: EXISTS.
    pub fn len(&self) -> u32 {
        self.spine.last().map_or(0, Entry::through)
    }

    /// Whether it has no messages.
    pub fn is_empty(&self) -> bool {
        self.spine.is_empty()
    }

    /// How many runs it is made of.
    pub fn run_count(&self) -> usize {
        self.spine.iter().map(|entry| entry.chunk.runs().len()).sum()
    }

    /// Its chunks, ascending.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &Arc<Chunk>> + ExactSizeIterator {
        self.spine.iter().map(|entry| &entry.chunk)
    }

    /// By this it is known again when it is read from the index: a map of the same chunks has it, and hardly any
    /// other one.
    pub fn sum(&self) -> u64 {
        self.chunks().fold(0, |sum, chunk| sum.wrapping_add(chunk.sum()))
    }

    /// Its runs, ascending. Where a chunk ends, two neighbours may line up and yet be two.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = Run> {
        self.spine.iter().flat_map(|entry| entry.chunk.runs()).copied()
    }

    /// The UID of message 1.
    pub fn first_uid(&self) -> Option<Uid> {
        self.spine.first().map(|entry| entry.first)
    }

    /// The UID of the last message: `*`.
    pub fn last_uid(&self) -> Option<Uid> {
        self.spine.last().map(|entry| entry.chunk.last_uid())
    }

    /// Whether it has the message.
    pub fn contains(&self, uid: Uid) -> bool {
        self.place(uid).is_some()
    }

    /// Where the message lies.
    pub fn place(&self, uid: Uid) -> Option<Place> {
        let run = self.spine.get(self.chunk_of(uid)?)?.chunk.run_of(uid)?;
        Some(run.place.plus(uid.0 - run.uid.0))
    }

    /// The message that has this UID on one side.
    ///
    /// Looks at every chunk's bounds. For the lines of a stream, ask [`Cursor::find`](super::Cursor::find).
    pub fn uid_of(&self, side: Side, uid: SideUid) -> Option<Uid> {
        self.spine.iter().find_map(|entry| entry.chunk.uid_of(side, uid))
    }

    /// The message's sequence number.
    pub fn seq(&self, uid: Uid) -> Option<Seq> {
        let entry = self.spine.get(self.chunk_of(uid)?)?;
        let mut before = entry.before;
        for run in entry.chunk.runs() {
            if uid <= run.last() {
                return (run.uid <= uid).then(|| Seq(before + (uid.0 - run.uid.0) + 1));
            }
            before += run.len;
        }
        None
    }

    /// The message with a sequence number.
    pub fn uid_at(&self, seq: Seq) -> Option<Uid> {
        self.part_at(seq).next().map(|run| run.uid)
    }

    /// The UIDs of all messages.
    pub fn uids(&self) -> UidSet<Uid> {
        let mut set = UidSet::new();
        for run in self.runs() {
            set.append(run.uid.0, run.last().0);
        }
        set
    }

    /// The UIDs that messages have on one side, whichever side decides over them.
    pub fn side_uids(&self, side: Side) -> UidSet<SideUid> {
        UidSet::from_ranges(self.runs().filter_map(|run| run.on(side)))
    }

    /// The UIDs on one side of the messages over which that side decides.
    pub fn authority_uids(&self, side: Side) -> UidSet<SideUid> {
        let runs = self.runs().filter(|run| run.place.authority() == side);
        UidSet::from_ranges(runs.filter_map(|run| run.on(side)))
    }

    /// The UIDs on one side that more than one message claims: none, unless an editor erred.
    pub fn shared(&self, side: Side) -> UidSet<SideUid> {
        let mut spans: Vec<_> = self.runs().filter_map(|run| run.on(side)).collect();
        spans.sort_unstable();
        let mut twice = UidSet::new();
        let mut reach = SideUid(0);
        for (first, last) in spans {
            if first <= reach {
                twice.insert_range(first, last.min(reach));
            }
            reach = reach.max(last);
        }
        twice
    }

    /// What a client's set names, by UID or by sequence number; see [`SeqSet`]. `None` is BAD.
    pub fn resolve(&self, set: &SeqSet, by: By) -> Option<UidSet<Uid>> {
        match by {
            By::Uid => Some(set.resolve_uids(self)),
            By::Seq => set.resolve_seqs(self),
        }
    }

    /// Memory held by the map, shared or not.
    pub fn heap_bytes(&self) -> usize {
        // Arc's two counters stand before its value.
        let counters = 2 * size_of::<usize>();
        let chunk = |entry: &Entry| counters + size_of::<Chunk>() + entry.chunk.heap_bytes();
        counters
            + size_of::<Vec<Entry>>()
            + self.spine.capacity() * size_of::<Entry>()
            + self.spine.iter().map(chunk).sum::<usize>()
    }

    /// Panics if an invariant does not hold. For tests and fuzzing.
    pub fn check(&self) {
        let mut before = 0;
        let mut last = None;
        for entry in self.spine.iter() {
            let runs = entry.chunk.runs();
            assert!(!runs.is_empty() && runs.len() <= MAX_RUNS, "{} runs", runs.len());
            assert_eq!(entry.first, entry.chunk.first_uid());
            assert_eq!(entry.before, before, "messages below {}", entry.first);
            for run in runs {
                assert_eq!(run.check(), Ok(()), "{run:?}");
                assert!(last < Some(run.uid), "{last:?} then {run:?}");
                last = Some(run.last());
                before += run.len;
            }
            assert!(runs.windows(2).all(|pair| !pair[0].is_followed_by(&pair[1])), "not joined");
            assert_eq!(Chunk::new(runs.to_vec()).as_ref(), Some(&*entry.chunk), "caches");
        }
    }

    /// Index of the chunk that has the message if any has: the last one that starts at or below it.
    pub(super) fn chunk_of(&self, uid: Uid) -> Option<usize> {
        self.spine.partition_point(|entry| entry.first <= uid).checked_sub(1)
    }

    /// The rest of the run that holds a sequence number, then all runs behind it.
    pub(super) fn part_at(&self, seq: Seq) -> impl Iterator<Item = Run> {
        // Sequence number 0 finds no chunk, and one beyond the end no run.
        let chunk = self.spine.partition_point(|entry| entry.before < seq.0).checked_sub(1);
        let mut skip = chunk.map_or(0, |i| seq.0 - self.spine[i].before - 1);
        let entries = chunk.map_or(&[][..], |i| &self.spine[i..]);
        entries.iter().flat_map(|entry| entry.chunk.runs()).filter_map(move |run| {
            if skip >= run.len {
                skip -= run.len;
                return None;
            }
            let first = Uid(run.uid.0 + skip);
            skip = 0;
            Some(run.part(first, run.last()))
        })
    }

    /// The runs, joined over the chunks' ends too: the same for equal maps.
    fn joined(&self) -> impl Iterator<Item = Run> {
        let mut runs = self.runs().peekable();
        std::iter::from_fn(move || {
            let mut run = runs.next()?;
            while let Some(next) = runs.next_if(|next| run.is_followed_by(next)) {
                run.len += next.len;
            }
            Some(run)
        })
    }
}

/// Cuts runs that ascend and are joined into as many chunks as they need, evenly, behind others.
pub(super) fn push_runs(spine: &mut Vec<Entry>, runs: Vec<Run>) {
    let pieces = runs.len().div_ceil(MAX_RUNS);
    if pieces <= 1 {
        let mut runs = runs;
        runs.shrink_to_fit();
        if let Some(chunk) = Chunk::new(runs) {
            push_chunk(spine, chunk);
        }
        return;
    }
    for piece in runs.chunks(runs.len().div_ceil(pieces)) {
        if let Some(chunk) = Chunk::new(piece.to_vec()) {
            push_chunk(spine, chunk);
        }
    }
}

/// Puts a chunk behind others.
pub(super) fn push_chunk(spine: &mut Vec<Entry>, chunk: Chunk) {
    let before = spine.last().map_or(0, Entry::through);
    spine.push(Entry { first: chunk.first_uid(), before, chunk: Arc::new(chunk) });
}

fn check_and_join(
    runs: impl IntoIterator<Item = Run>,
    above: Option<Uid>,
    joined: &mut Vec<Run>,
) -> Result<(), MapError> {
    let mut above = above;
    for run in runs {
        run.check()?;
        if above >= Some(run.uid) {
            return Err(MapError::Order);
        }
        above = Some(run.last());
        join_onto(joined, run);
    }
    Ok(())
}

impl PartialEq for UidMap {
    /// Whether both have the same messages in the same places, however they are cut into chunks.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spine, &other.spine) || self.joined().eq(other.joined())
    }
}

impl Eq for UidMap {}

impl fmt::Debug for UidMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for run in self.joined() {
            map.entry(&format_args!("{}:{}", run.uid, run.last()), &run.place);
        }
        map.finish()
    }
}
