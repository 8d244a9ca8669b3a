//! UIDs, sets of UIDs, and the map that makes one mailbox of two: pure data, no I/O, no IMAP text.

mod seqset;
mod types;

pub use seqset::{Bound, SeqSet};
pub use types::{Place, Run, Seq, SideUid, Uid};
