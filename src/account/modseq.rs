//! One MODSEQ over two servers (DESIGN §5, RFC 7162). Pure.
//!
//! The virtual HIGHESTMODSEQ rises whenever something of the mailbox changed on either side. A
//! short list of checkpoints remembers what each side's was when the virtual one had a value. A
//! client that knows a value is told what changed on each side since the newest checkpoint at or
//! below it: perhaps more than it asked for, never less.

use std::sync::Arc;

use crate::base::{Side, Sides};
use crate::index::MailboxRecord;

/// Values are reserved in the index so many at a time: a change of flags costs no write, and after
/// a crash none is given out a second time.
const STRIDE: u64 = 1 << 10;
/// So many checkpoints are kept; of the older half then every second one goes.
const MOST_CHECKPOINTS: usize = 64;

/// A virtual value, and what each side's was at that time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Checkpoint {
    at: u64,
    sides: Sides<u64>,
}

/// The virtual HIGHESTMODSEQ of a mailbox and how it stands to both sides'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModSeqs {
    /// Never 0, never falls.
    highest: u64,
    /// Values below are durably reserved.
    reserved: u64,
    /// What was taken into the map of each side: 0 before anything was.
    absorbed: Sides<u64>,
    /// Ascending in `at`, and the last has `absorbed`. The first is never dropped.
    ///
    /// Invariant: no checkpoint has more of a side than was absorbed when `highest` was `at`.
    checkpoints: Arc<Vec<Checkpoint>>,
    /// Changes of a side that are not absorbed yet but were told of: up to its value, as that.
    ahead: Sides<Option<(u64, u64)>>,
}

impl ModSeqs {
    /// As the index remembers them.
    pub fn of(record: &MailboxRecord) -> ModSeqs {
        let absorbed = record
            .sides
            .as_ref()
            .map(|_, side| side.as_ref().and_then(|s| s.highest_mod_seq).unwrap_or(0));
        let checkpoints =
            record.checkpoints.iter().map(|&(at, sides)| Checkpoint { at, sides }).collect();
        // Whatever was told before a crash lies below what was reserved.
        let highest = record.mod_seq.max(1);
        ModSeqs {
            highest,
            reserved: highest,
            absorbed,
            checkpoints: Arc::new(checkpoints),
            ahead: Sides::default(),
        }
    }

    /// Puts them into the record that is about to be written, reserving what comes next.
    pub fn store(&mut self, record: &mut MailboxRecord) {
        self.reserved = self.highest.saturating_add(STRIDE);
        record.mod_seq = self.reserved;
        record.checkpoints = self.checkpoints.iter().map(|c| (c.at, c.sides)).collect();
        for side in Side::BOTH {
            if let Some(snapshot) = &mut record.sides[side] {
                snapshot.highest_mod_seq = Some(self.absorbed[side]).filter(|n| *n > 0);
            }
        }
    }

    /// The virtual HIGHESTMODSEQ.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// What was absorbed of a side: its changes since then are not told yet.
    pub fn absorbed(&self, side: Side) -> u64 {
        self.absorbed[side]
    }

    /// Whether the value that is told now must be made durable first.
    pub fn exceeds_reserve(&self) -> bool {
        self.highest > self.reserved
    }

    /// Something changed that no side counts, or that it has not told its count of yet.
    pub fn bump(&mut self) {
        if self.checkpoints.is_empty() {
            // Whoever is told this value knows nothing of old's.
            Arc::make_mut(&mut self.checkpoints)
                .push(Checkpoint { at: self.highest, sides: self.absorbed });
        }
        self.highest = self.highest.saturating_add(1);
    }

    /// All changes of a side up to its HIGHESTMODSEQ `told` are taken into the map. `before` is
    /// what was absorbed when the side was asked: if it has less than that, its count was made
    /// anew (an index that was rebuilt, a restored backup).
    ///
    /// Returns whether anything changed.
    pub fn absorb(&mut self, side: Side, told: u64, before: Option<u64>) -> bool {
        let fell = before.is_some_and(|before| told < before);
        if told == 0 || (told <= self.absorbed[side] && !fell) {
            return false;
        }
        if fell {
            self.ask_from_the_beginning(side);
        }
        self.absorbed[side] = told;
        self.ahead[side] = None;
        self.highest = match (side, self.checkpoints.is_empty()) {
            // A client that spoke to old directly knows old's values, and goes on with them.
            (_, true) => self.highest.max(told),
            (Side::Old, false) => self.highest.saturating_add(1).max(told),
            (Side::New, false) => self.highest.saturating_add(1),
        };
        let checkpoints = Arc::make_mut(&mut self.checkpoints);
        checkpoints.push(Checkpoint { at: self.highest, sides: self.absorbed });
        if checkpoints.len() > MOST_CHECKPOINTS {
            let mut at = 0;
            checkpoints.retain(|_| {
                at += 1;
                at > MOST_CHECKPOINTS / 2 || at % 2 == 1
            });
        }
        true
    }

    /// A side's mailbox is another one: its count begins anew.
    pub fn forget(&mut self, side: Side) {
        self.absorbed[side] = 0;
        self.ahead[side] = None;
        self.ask_from_the_beginning(side);
    }

    /// Whoever knows a value of now or before is told everything of this side.
    pub fn ask_from_the_beginning(&mut self, side: Side) {
        for checkpoint in Arc::make_mut(&mut self.checkpoints) {
            checkpoint.sides[side] = 0;
        }
    }

    /// Since which value each side is to be asked by a client that knows `known`.
    pub fn since(&self, known: u64) -> Sides<u64> {
        let after = self.checkpoints.partition_point(|c| c.at <= known);
        match after.checked_sub(1).and_then(|at| self.checkpoints.get(at)) {
            Some(checkpoint) => checkpoint.sides,
            // Below the first, the value is old's own, as far as that still counts the same.
            None => {
                let first = self.checkpoints.first().map_or(0, |first| first.sides.old);
                Sides { old: known.min(first), new: 0 }
            }
        }
    }

    /// The virtual value of a message that has `value` on the side that decides over it: not less
    /// than what it was when the client could first know of the change. `None`: the side has gone
    /// on beyond what was absorbed ([`told_ahead`](Self::told_ahead)).
    pub fn virtual_of(&self, side: Side, value: u64) -> Option<u64> {
        if value > self.absorbed[side] {
            return self.ahead[side].filter(|(up_to, _)| value <= *up_to).map(|(_, at)| at);
        }
        let first = self.checkpoints.first()?;
        if side == Side::Old && value <= first.sides.old && value > 0 {
            return Some(value);
        }
        // A side's values ascend along the checkpoints, but where they were made anew.
        let found = self.checkpoints.iter().find(|c| c.sides[side] >= value);
        Some(found.map_or(self.highest, |checkpoint| checkpoint.at))
    }

    /// A change is told of before it is absorbed: it gets a value above all that were told, and is
    /// told again when it is absorbed. Returns the value.
    pub fn told_ahead(&mut self, side: Side, value: u64) -> u64 {
        match self.virtual_of(side, value) {
            Some(known) => known,
            None => {
                self.bump();
                self.ahead[side] = Some((value, self.highest));
                self.highest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::test_record;

    fn fresh() -> ModSeqs {
        ModSeqs::of(&test_record())
    }

    #[test]
    fn the_first_value_is_olds_and_what_a_client_knows_of_old_stays_meaningful() {
        let mut seqs = fresh();
        assert!(seqs.absorb(Side::Old, 700, None));
        assert_eq!(seqs.highest(), 700);
        assert!(seqs.absorb(Side::New, 9, None));
        assert_eq!(seqs.highest(), 701);
        assert_eq!(seqs.since(650), Sides { old: 650, new: 0 });
        assert_eq!(seqs.since(700), Sides { old: 700, new: 0 });
        assert_eq!(seqs.since(701), Sides { old: 700, new: 9 });
        assert_eq!(seqs.since(u64::MAX), Sides { old: 700, new: 9 });
        assert_eq!(seqs.virtual_of(Side::Old, 650), Some(650));
        assert_eq!(seqs.virtual_of(Side::New, 3), Some(701));
    }

    #[test]
    fn a_count_that_was_made_anew_hides_nothing() {
        let mut seqs = fresh();
        seqs.absorb(Side::Old, 700, None);
        seqs.absorb(Side::New, 50, None);
        let known = seqs.highest();
        // A listing that is merely late changes nothing.
        assert!(!seqs.absorb(Side::New, 40, None));
        assert!(seqs.absorb(Side::New, 4, Some(50)));
        assert!(seqs.highest() > known);
        assert_eq!(seqs.since(known).new, 0);
        assert_eq!(seqs.since(seqs.highest()).new, 4);
        seqs.absorb(Side::Old, 3, Some(700));
        assert_eq!(seqs.since(600).old, 0, "old's own values mean nothing any more");
    }

    #[test]
    fn what_is_told_ahead_is_told_again() {
        let mut seqs = fresh();
        seqs.absorb(Side::Old, 10, None);
        assert_eq!(seqs.virtual_of(Side::Old, 12), None);
        let ahead = seqs.told_ahead(Side::Old, 12);
        assert_eq!(ahead, 11);
        assert_eq!(seqs.told_ahead(Side::Old, 11), ahead);
        // 11 may have been another message's, which nobody has told of.
        assert_eq!(seqs.since(ahead).old, 10);
        seqs.absorb(Side::Old, 12, None);
        assert!(seqs.highest() > ahead);
    }

    #[test]
    fn nothing_is_given_out_twice_after_a_crash() {
        let mut record = test_record();
        let mut seqs = fresh();
        seqs.absorb(Side::Old, 10, None);
        seqs.store(&mut record);
        for _ in 0..STRIDE {
            seqs.bump();
        }
        assert!(!seqs.exceeds_reserve());
        let told = seqs.highest();
        let mut again = ModSeqs::of(&record);
        again.bump();
        assert!(again.highest() > told);
        seqs.bump();
        assert!(seqs.exceeds_reserve());
    }

    /// What happens to a side, and when the virtual value is told to a client.
    #[derive(Clone, Debug)]
    enum Step {
        Changes { side: bool, by: u64 },
        Absorb { side: bool },
        Bump,
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<bool>(), 1u64..4).prop_map(|(side, by)| Step::Changes { side, by }),
            4 => any::<bool>().prop_map(|side| Step::Absorb { side }),
            1 => Just(Step::Bump),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// A client that knows a value had everything up to then: what it is asked for since must
        /// begin no later than what was absorbed when the value was told.
        #[test]
        fn no_change_is_missed(steps in prop::collection::vec(any_step(), 1..400)) {
            let side_of = |side: bool| if side { Side::New } else { Side::Old };
            let mut seqs = fresh();
            let mut record = test_record();
            for side in Side::BOTH {
                let uid_next = crate::uid::SideUid(1);
                record.sides[side] = Some(crate::index::Snapshot {
                    uid_validity: 1, uid_next, messages: 0, highest_mod_seq: None,
                });
            }
            let mut servers = Sides { old: 5u64, new: 3u64 };
            let mut told: Vec<(u64, Sides<u64>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Changes { side, by } => servers[side_of(side)] += by,
                    Step::Absorb { side } => {
                        let side = side_of(side);
                        seqs.absorb(side, servers[side], None);
                    }
                    Step::Bump => seqs.bump(),
                    Step::Restart => seqs = ModSeqs::of(&record),
                }
                if seqs.exceeds_reserve() {
                    seqs.store(&mut record);
                }
                let last = told.last().map_or(0, |(value, _)| *value);
                prop_assert!(seqs.highest() >= last, "it never falls");
                // Nothing is told of a mailbox that was never seen.
                if !seqs.checkpoints.is_empty() {
                    told.push((seqs.highest(), seqs.absorbed));
                }
                let mut greatest = 0;
                for value in 1..=seqs.absorbed.old {
                    let at = seqs.virtual_of(Side::Old, value);
                    prop_assert!(at.is_some_and(|at| at <= seqs.highest() && at >= greatest));
                    greatest = at.unwrap_or(0);
                }
            }
            prop_assert!(seqs.checkpoints.len() <= MOST_CHECKPOINTS);
            for (value, absorbed) in told {
                let since = seqs.since(value);
                prop_assert!(since.old <= absorbed.old && since.new <= absorbed.new, "{value}");
            }
        }
    }
}
