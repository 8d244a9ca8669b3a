//! What differs between two versions of a [`UidMap`]: for the index, and for what a session owes.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Chunk, Uid, UidMap, UidSet};

/// What must be written to make stored chunks into those of a newer map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChunkChanges {
    /// Chunks to store under their first UID, in the place of one that is there.
    pub put: Vec<Arc<Chunk>>,
    /// First UIDs whose chunks are to be removed.
    pub delete: Vec<Uid>,
}

/// Which messages one map has and the other has not, wherever they lie.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapDiff {
    /// Messages that are no longer there: EXPUNGE or VANISHED.
    pub gone: UidSet<Uid>,
    /// Messages that have come: EXISTS.
    pub arrived: UidSet<Uid>,
}

impl UidMap {
    /// What an index that holds the chunks of `since` must write to hold those of this map.
    pub fn changed_chunks(&self, since: &UidMap) -> ChunkChanges {
        let mut changes = ChunkChanges::default();
        each_unshared(since, self, |old, new| match (old, new) {
            (_, Some(new)) if old.is_none_or(|old| old != new) => changes.put.push(new.clone()),
            (Some(old), None) => changes.delete.push(old.first_uid()),
            _ => {}
        });
        changes
    }

    /// Which messages `newer` lacks and which it has in addition.
    pub fn diff(&self, newer: &UidMap) -> MapDiff {
        // A shared chunk has its messages in both maps, and no other chunk has them: they cancel.
        let (mut ours, mut theirs) = (UidSet::new(), UidSet::new());
        each_unshared(self, newer, |old, new| {
            for (chunk, set) in [(old, &mut ours), (new, &mut theirs)] {
                for run in chunk.map_or(&[][..], |chunk| chunk.runs()) {
                    set.append(run.uid.0, run.last().0);
                }
            }
        });
        MapDiff { gone: ours.subtract(&theirs), arrived: theirs.subtract(&ours) }
    }
}

/// Shows every chunk that only one of two maps has, ascending by first UID; two that start with the
/// same message together.
fn each_unshared(
    old: &UidMap,
    new: &UidMap,
    mut show: impl FnMut(Option<&Arc<Chunk>>, Option<&Arc<Chunk>>),
) {
    if Arc::ptr_eq(&old.spine, &new.spine) {
        return;
    }
    let (mut olds, mut news) = (old.spine.iter().peekable(), new.spine.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (Some(old), Some(new)) => old.first.cmp(&new.first),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        match (old, new) {
            (Some(old), Some(new)) if Arc::ptr_eq(&old.chunk, &new.chunk) => {}
            _ => show(old.map(|entry| &entry.chunk), new.map(|entry| &entry.chunk)),
        }
    }
}
