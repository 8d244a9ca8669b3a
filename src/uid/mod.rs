//! UIDs, sets of UIDs, and the map that makes one mailbox of two: pure data, no I/O, no clock.
//!
//! Owns the numbers' types ([`Uid`], [`SideUid`], [`Seq`]), the sets of them ([`UidSet`]), what a
//! client wrote as a set ([`SeqSet`]), what outlives a UID ([`EmailId`], [`ObjectId`]) and the
//! [`UidMap`] (DESIGN §3). Never decides which UID an
//! arrival gets or where a message belongs: `account` does, and keeps the map's history too.
//!
//! Reading order: `types`, `set`, `chunk`, `map`, then what is done with a map: `walk` it, `edit`
//! it, tell what `change`d, resolve a `seqset` over it.

mod change;
mod chunk;
mod edit;
mod map;
#[cfg(test)]
mod model;
mod object;
pub mod seqset;
pub mod set;
mod text;
mod types;
mod walk;

pub use change::{ChunkChanges, MapDiff};
pub use chunk::{Chunk, MAX_RUNS};
pub use map::{MapError, UidMap};
pub use object::{EmailId, ObjectId};
pub use seqset::{Bound, By, SeqSet};
pub use set::{Number, UidSet};
pub use types::{Place, Run, Seq, SideUid, Uid};
pub use walk::Cursor;
