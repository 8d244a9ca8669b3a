//! What was told of the flags in one mailbox, by whom, and in which order. Pure.
//!
//! A server tells each connection of a change when it likes: over one that has not heard of what
//! another one wrote, it goes on telling what was. So it is remembered what was told last, and
//! which connection of a side may lag behind the others. It keeps no flags for a client to read.

use std::collections::HashMap;

use bytes::Bytes;

use crate::backend::{ConnId, Moment};
use crate::base::{Side, Sides};
use crate::uid::Uid;

/// Flags last told are remembered for so many messages at least, and twice as many at most.
const TOLD: usize = 4096;

/// Flags as they were told last, each with the moment at which it was.
#[derive(Default)]
pub(super) struct Told {
    flags: HashMap<Uid, (Bytes, Moment)>,
    /// What was told before these; they count where both have a message.
    before: HashMap<Uid, (Bytes, Moment)>,
    now: Moment,
    written: Sides<Written>,
}

/// When a side's flags changed last, as far as the proxy knows.
#[derive(Clone, Copy, Default)]
struct Written {
    last: Moment,
    /// Over which connection that was.
    by: Option<ConnId>,
    /// When they changed last over another one than that.
    others: Moment,
}

/// What is to be done with flags that a server told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// They were told already.
    Known,
    /// They are to be told.
    News,
    /// Others were told since: nobody knows which of the two are older.
    Doubtful,
}

impl Told {
    /// The moment that it is now.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// A message's flags as they were told last, as far as that is remembered.
    pub fn last(&self, uid: Uid) -> Option<&Bytes> {
        self.find(uid).map(|(flags, _)| flags)
    }

    /// A connection told of a message's flags, in an answer that is not older than `since`.
    pub fn take(
        &mut self,
        uid: Uid,
        flags: &Bytes,
        since: Moment,
        (side, by): (Side, Option<ConnId>),
    ) -> Verdict {
        match self.find(uid) {
            Some((same, _)) if same == flags => return Verdict::Known,
            Some((_, moment)) if *moment > since => return Verdict::Doubtful,
            _ => {}
        }
        self.wrote(side, by);
        self.remember(uid, flags.clone());
        Verdict::News
    }

    /// Remembers flags that nobody has to be told of, without a change on a server.
    pub fn remember(&mut self, uid: Uid, flags: Bytes) {
        if self.flags.len() >= TOLD {
            self.before = std::mem::take(&mut self.flags);
        }
        self.now.0 += 1;
        self.flags.insert(uid, (flags, self.now));
    }

    /// Flags have changed on a side, over this connection: the others may not know of it.
    pub fn wrote(&mut self, side: Side, by: Option<ConnId>) {
        self.now.0 += 1;
        let written = &mut self.written[side];
        if written.by != by || by.is_none() {
            written.others = written.last;
        }
        (written.last, written.by) = (self.now, by);
    }

    /// Whether flags have changed over other connections since this one was brought up to date.
    pub fn is_behind(&self, (side, conn): (Side, ConnId), followed: Moment) -> bool {
        let written = &self.written[side];
        let others = if written.by == Some(conn) { written.others } else { written.last };
        others > followed
    }

    fn find(&self, uid: Uid) -> Option<&(Bytes, Moment)> {
        self.flags.get(&uid).or_else(|| self.before.get(&uid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Option<ConnId> = Some(ConnId(1));
    const B: Option<ConnId> = Some(ConnId(2));
    const OLD: Side = Side::Old;

    fn flags(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn an_answer_counts_unless_something_else_was_told_since() {
        let mut told = Told::default();
        let (uid, start) = (Uid(7), told.now());
        assert_eq!(told.take(uid, &flags("()"), start, (OLD, A)), Verdict::News);
        assert_eq!(told.take(uid, &flags("()"), start, (OLD, B)), Verdict::Known);
        // Asked before that was told, so it may be from before.
        assert_eq!(told.take(uid, &flags("(x)"), start, (OLD, B)), Verdict::Doubtful);
        assert_eq!(told.take(uid, &flags("(x)"), told.now(), (OLD, B)), Verdict::News);
        assert_eq!(told.last(uid), Some(&flags("(x)")));
    }

    #[test]
    fn what_was_told_last_outlives_many_others() {
        let mut told = Told::default();
        told.remember(Uid(1), flags("(x)"));
        for n in 0..TOLD {
            told.remember(Uid(u32::try_from(n).unwrap() + 10), flags("()"));
        }
        assert_eq!(told.last(Uid(1)), Some(&flags("(x)")));
        assert!(told.flags.len() + told.before.len() <= 2 * TOLD);
    }

    proptest! {
        /// A connection is behind exactly if another one of its side wrote since it followed.
        #[test]
        fn who_wrote_alone_is_not_behind(steps in prop::collection::vec((0u64..3, 0u8..3), 0..60)) {
            let mut told = Told::default();
            let mut followed = [Moment::default(); 3];
            let mut behind = [false; 3];
            for (conn, step) in steps {
                let at = usize::try_from(conn).unwrap();
                match step {
                    0 => (followed[at], behind[at]) = (told.now(), false),
                    1 => {
                        told.wrote(OLD, Some(ConnId(conn)));
                        (0..3).filter(|other| *other != at).for_each(|other| behind[other] = true);
                    }
                    // Neither the other side's writes nor what is merely remembered count.
                    _ => {
                        told.wrote(Side::New, Some(ConnId(conn)));
                        told.remember(Uid(1), flags("()"));
                    }
                }
                for (at, behind) in behind.iter().enumerate() {
                    let conn = ConnId(u64::try_from(at).unwrap());
                    prop_assert_eq!(told.is_behind((OLD, conn), followed[at]), *behind);
                }
            }
        }
    }
}
