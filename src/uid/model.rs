//! The map and the sets held against naive models: trees with an entry for every single number.
//!
//! The operations are those of a mailbox's life (mail arrives on either side, is copied, deleted,
//! forgotten on one side) so that what the map must join and split is what it will meet; they are
//! sparse and long enough to fill, cut and merge chunks many times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Bound, By, MAX_RUNS, MapDiff, Place, Run, Seq, SeqSet, SideUid, Uid, UidMap, UidSet};
use crate::base::Side;

/// Something that happens to a mailbox. Positions are thousandths of its UIDs, so that they fit a
/// mailbox of any size.
#[derive(Clone, Debug)]
enum Op {
    /// `len` messages arrive on one side, `step` UIDs apart.
    Arrive { side: Side, gap: u32, len: u32, step: u32 },
    /// Every `step`-th message on old is copied, upwards or downwards.
    Copy { part: Part, downwards: bool },
    /// Every `step`-th message on both is lost on one side.
    Forget { part: Part, side: Side },
    /// Every `step`-th UID is removed, whether it exists or not.
    Remove { part: Part },
    /// A range of UIDs is removed.
    RemoveRange { part: Part },
    /// The state is noted, for comparison later.
    Snapshot,
    /// The map is written to the index and loaded again.
    Reload,
}

#[derive(Clone, Debug)]
struct Part {
    from: u32,
    to: u32,
    step: u32,
}

fn part() -> impl Strategy<Value = Part> {
    let step = prop_oneof![Just(1u32), Just(2), 1..60u32];
    (0..1000u32, 0..=1000u32, step).prop_map(|(a, b, step)| Part {
        from: a.min(b),
        to: a.max(b),
        step,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let side = || prop_oneof![Just(Side::Old), Just(Side::New)];
    let step = prop_oneof![Just(1u32), 1..4u32];
    prop_oneof![
        3 => (side(), 0..50u32, 1..1200u32, step)
            .prop_map(|(side, gap, len, step)| Op::Arrive { side, gap, len, step }),
        4 => (part(), any::<bool>()).prop_map(|(part, downwards)| Op::Copy { part, downwards }),
        2 => (part(), side()).prop_map(|(part, side)| Op::Forget { part, side }),
        2 => part().prop_map(|part| Op::Remove { part }),
        1 => part().prop_map(|part| Op::RemoveRange { part }),
        2 => Just(Op::Snapshot),
        1 => Just(Op::Reload),
    ]
}

/// A mailbox kept twice.
#[derive(Default)]
struct Twin {
    map: UidMap,
    naive: BTreeMap<Uid, Place>,
    /// The highest UIDs ever given: virtual, on old, on new.
    marks: (u32, u32, u32),
    /// The index: chunks by first UID, and the map they were last written from.
    store: BTreeMap<Uid, Vec<Run>>,
    stored: UidMap,
}

impl Twin {
    fn after(ops: &[Op]) -> Twin {
        let mut twin = Twin::default();
        for op in ops {
            twin.apply(op);
        }
        twin
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Arrive { side, gap, len, step } => self.arrive(*side, *gap, *len, *step),
            Op::Copy { part, downwards } => {
                let mut uids = self.pick(part, |place| matches!(place, Place::Old(_)));
                if *downwards {
                    uids.reverse();
                }
                let copied = uids.into_iter().map(|uid| {
                    self.marks.2 += 1;
                    let (old, new) = (self.naive[&uid].on(Side::Old), SideUid(self.marks.2));
                    (uid, Place::Both { old: old.unwrap(), new })
                });
                let changes = copied.collect();
                self.set_places(changes);
            }
            Op::Forget { part, side } => {
                let uids = self.pick(part, |place| matches!(place, Place::Both { .. }));
                let forget = |uid: Uid| match (self.naive[&uid], side) {
                    (Place::Both { old, .. }, Side::New) => (uid, Place::Old(old)),
                    (Place::Both { new, .. }, Side::Old) => (uid, Place::New(new)),
                    other => panic!("{other:?} was picked"),
                };
                let changes = uids.into_iter().map(forget).collect();
                self.set_places(changes);
            }
            Op::Remove { part } => {
                let (from, to) = self.span(part);
                self.remove((from..=to).step_by(part.step as usize).map(Uid).collect());
            }
            Op::RemoveRange { part } => {
                let (from, to) = self.span(part);
                self.remove(UidSet::from_ranges([(Uid(from), Uid(to))]));
            }
            Op::Snapshot => {}
            Op::Reload => {
                self.write();
                let chunks = self.store.values().cloned().collect();
                self.map = UidMap::from_chunks(chunks).unwrap();
                self.stored = self.map.clone();
            }
        }
    }

    fn arrive(&mut self, side: Side, gap: u32, len: u32, step: u32) {
        self.marks.0 += gap;
        for _ in 0..len {
            self.marks.0 += step;
            let place = match side {
                Side::Old => {
                    self.marks.1 += step;
                    Place::Old(SideUid(self.marks.1))
                }
                Side::New => {
                    self.marks.2 += step;
                    Place::New(SideUid(self.marks.2))
                }
            };
            self.map.push(Uid(self.marks.0), 1, place).unwrap();
            self.naive.insert(Uid(self.marks.0), place);
        }
    }

    /// Every `step`-th message of a part whose place is as wanted.
    fn pick(&self, part: &Part, wanted: impl Fn(Place) -> bool) -> Vec<Uid> {
        let (from, to) = self.span(part);
        let found = self.naive.range(Uid(from)..=Uid(to)).filter(|(_, place)| wanted(**place));
        found.map(|(uid, _)| *uid).step_by(part.step as usize).collect()
    }

    fn span(&self, part: &Part) -> (u32, u32) {
        let scale = |n: u32| u32::try_from(u64::from(self.marks.0) * u64::from(n) / 1000).unwrap();
        (scale(part.from), scale(part.to))
    }

    fn set_places(&mut self, changes: Vec<(Uid, Place)>) {
        if let [(uid, place)] = changes[..] {
            assert!(self.map.set_place(uid, place));
        } else {
            assert_eq!(self.map.set_places(changes.iter().copied()) as usize, changes.len());
        }
        self.naive.extend(changes);
    }

    fn remove(&mut self, uids: UidSet<Uid>) {
        let before = self.naive.len();
        self.naive.retain(|uid, _| !uids.contains(*uid));
        assert_eq!(self.map.remove(&uids) as usize, before - self.naive.len());
    }

    /// Writes what changed to the store, and checks that the store then holds the map's chunks.
    fn write(&mut self) {
        let changes = self.map.changed_chunks(&self.stored);
        for uid in &changes.delete {
            assert!(self.store.remove(uid).is_some(), "{uid} is deleted but was never stored");
        }
        for chunk in &changes.put {
            self.store.insert(chunk.first_uid(), chunk.runs().to_vec());
        }
        let chunks: Vec<_> =
            self.map.chunks().map(|chunk| (chunk.first_uid(), chunk.runs().to_vec())).collect();
        assert_eq!(Vec::from_iter(self.store.clone()), chunks);
        self.stored = self.map.clone();
    }

    fn uids(&self) -> Vec<Uid> {
        self.naive.keys().copied().collect()
    }

    fn assert_same(&self) {
        self.map.check();
        assert!(each(self.map.runs()).eq(self.naive.iter().map(|(uid, place)| (*uid, *place))));
        assert_eq!(self.map.len() as usize, self.naive.len());
        assert_eq!(self.map.is_empty(), self.naive.is_empty());
    }
}

fn each(runs: impl Iterator<Item = Run>) -> impl Iterator<Item = (Uid, Place)> {
    runs.flat_map(|run| (0..run.len).map(move |n| (Uid(run.uid.0 + n), run.place.plus(n))))
}

fn sides_of(twin: &Twin, side: Side, authority: bool) -> BTreeSet<SideUid> {
    let places = twin.naive.values().filter(|place| !authority || place.authority() == side);
    places.filter_map(|place| place.on(side)).collect()
}

/// Sets of UIDs of all kinds: narrow, wide, sparse, dense, beyond the end.
fn uid_set() -> impl Strategy<Value = UidSet<Uid>> {
    let range = prop_oneof![
        (1..8000u32).prop_map(|n| (n, n)),
        (1..8000u32, 0..300u32).prop_map(|(n, more)| (n, n + more)),
        (1..8000u32).prop_map(|n| (n, u32::MAX)),
    ];
    let ranges = vec(range, 0..40)
        .prop_map(|ranges| UidSet::from_ranges(ranges.into_iter().map(|(a, b)| (Uid(a), Uid(b)))));
    let every = (1..20u32, 1..9usize)
        .prop_map(|(from, step)| (from..8000).step_by(step).map(Uid).collect::<UidSet<Uid>>());
    prop_oneof![4 => ranges, 1 => every]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn v2_a_uid_means_one_message_whatever_happens_to_others(ops in vec(op(), 1..24)) {
        let mut twin = Twin::default();
        for op in &ops {
            twin.apply(op);
            twin.assert_same();
        }
        // Whatever is gone is gone: no operation brings a UID back or shifts one.
        prop_assert!(twin.map.last_uid() <= Some(Uid(twin.marks.0)));
        for (uid, place) in &twin.naive {
            prop_assert_eq!(twin.map.place(*uid), Some(*place));
        }
    }

    #[test]
    fn v3_exists_uids_and_sequence_numbers_agree(ops in vec(op(), 1..24)) {
        let Twin { map, naive, marks, .. } = &Twin::after(&ops);
        let uids: Vec<Uid> = naive.keys().copied().collect();
        prop_assert_eq!(map.len() as usize, uids.len());
        prop_assert!(map.uids().iter().eq(uids.iter().copied()));
        map.uids().check();
        prop_assert_eq!(map.first_uid(), uids.first().copied());
        prop_assert_eq!(map.last_uid(), uids.last().copied());
        let mut cursor = map.cursor();
        for (uid, n) in uids.iter().zip(1..) {
            prop_assert_eq!(map.seq(*uid), Some(Seq(n)));
            prop_assert_eq!(map.uid_at(Seq(n)), Some(*uid));
            prop_assert_eq!(cursor.seq(*uid), Some(Seq(n)));
        }
        prop_assert_eq!(map.uid_at(Seq(0)), None);
        prop_assert_eq!(map.uid_at(Seq(map.len() + 1)), None);
        for uid in (0..marks.0 + 2).map(Uid).filter(|uid| !naive.contains_key(uid)) {
            prop_assert_eq!((map.seq(uid), map.place(uid)), (None, None));
        }
    }

    #[test]
    fn v3_no_message_is_seen_twice(ops in vec(op(), 1..24)) {
        let twin = Twin::after(&ops);
        for side in Side::BOTH {
            prop_assert!(twin.map.shared(side).is_empty());
            let all = sides_of(&twin, side, false);
            prop_assert!(twin.map.side_uids(side).iter().eq(all.iter().copied()));
            let decided = twin.map.authority_uids(side);
            prop_assert!(decided.iter().eq(sides_of(&twin, side, true)));
            decided.check();
        }
        let mut cursor = twin.map.cursor();
        for (uid, place) in twin.naive.iter().step_by(3) {
            for side in Side::BOTH {
                if let Some(on_side) = place.on(side) {
                    prop_assert_eq!(twin.map.uid_of(side, on_side), Some(*uid));
                    let seq = twin.map.seq(*uid).unwrap();
                    prop_assert_eq!(cursor.find(side, on_side), Some((*uid, seq)));
                }
            }
        }
        // In no order at all, and for what is not there.
        let (_, old, new) = twin.marks;
        let side_uids = Side::BOTH.map(|side| (side, twin.map.side_uids(side)));
        for n in 0..old.max(new) + 2 {
            let uid = SideUid(n * 7919 % (old.max(new) + 2));
            for (side, there) in &side_uids {
                let found = twin.map.uid_of(*side, uid);
                prop_assert_eq!(found.is_some(), there.contains(uid));
                prop_assert_eq!(cursor.find(*side, uid).map(|(uid, _)| uid), found);
            }
        }
        prop_assert_eq!(twin.map.uid_of(Side::Old, SideUid(old + 1)), None);
        prop_assert_eq!(twin.map.uid_of(Side::New, SideUid(new + 1)), None);
    }

    #[test]
    fn a_set_cuts_out_what_it_names(ops in vec(op(), 1..16), set in uid_set()) {
        let twin = Twin::after(&ops);
        let named = || twin.naive.iter().filter(|(uid, _)| set.contains(**uid));
        prop_assert!(each(twin.map.intersect(&set)).eq(named().map(|(u, p)| (*u, *p))));
        prop_assert!(twin.map.within(&set).iter().eq(named().map(|(u, _)| *u)));
        twin.map.within(&set).check();
        for (seq, run) in twin.map.numbered(&set) {
            prop_assert_eq!(twin.map.seq(run.uid), Some(seq));
        }
    }

    #[test]
    fn a_cursor_answers_in_any_order(ops in vec(op(), 1..12), asked in vec(0..9000u32, 1..200)) {
        let map = Twin::after(&ops).map;
        let mut cursor = map.cursor();
        for uid in asked.into_iter().map(Uid) {
            prop_assert_eq!(cursor.seq(uid), map.seq(uid));
        }
    }

    #[test]
    fn v3_what_a_session_owes_is_the_difference(ops in vec(op(), 1..24)) {
        let mut twin = Twin::default();
        let mut seen = vec![(twin.map.clone(), twin.uids())];
        for op in &ops {
            twin.apply(op);
            if matches!(op, Op::Snapshot) {
                seen.push((twin.map.clone(), twin.uids()));
            }
        }
        let now: BTreeSet<Uid> = twin.uids().into_iter().collect();
        for (map, uids) in seen {
            // The snapshot has not moved.
            prop_assert!(map.uids().iter().eq(uids.iter().copied()));
            let then: BTreeSet<Uid> = uids.into_iter().collect();
            let gone = then.difference(&now).copied().collect();
            let arrived = now.difference(&then).copied().collect();
            prop_assert_eq!(map.diff(&twin.map), MapDiff { gone, arrived });
        }
    }

    #[test]
    fn the_index_follows_by_changed_chunks_alone(ops in vec(op(), 1..24)) {
        let mut twin = Twin::default();
        for op in &ops {
            twin.apply(op);
            if matches!(op, Op::Snapshot) {
                twin.write();
            }
        }
        twin.write();
        let loaded = UidMap::from_chunks(twin.store.values().cloned().collect()).unwrap();
        loaded.check();
        prop_assert_eq!(&loaded, &twin.map);
        prop_assert_eq!(loaded.changed_chunks(&twin.map), Default::default());
        prop_assert_eq!(&UidMap::from_runs(twin.map.runs()).unwrap(), &twin.map);
    }

    #[test]
    fn changes_come_in_any_order(
        ops in vec(op(), 1..8),
        changes in vec((1..3000u32, 1..3000u32), 0..400),
    ) {
        let mut twin = Twin::after(&ops);
        let changes: Vec<_> =
            changes.into_iter().map(|(uid, n)| (Uid(uid), Place::New(SideUid(n)))).collect();
        let mut found = BTreeSet::new();
        for (uid, place) in &changes {
            if let Some(held) = twin.naive.get_mut(uid) {
                *held = *place;
                found.insert(uid);
            }
        }
        prop_assert_eq!(twin.map.set_places(changes.iter().copied()) as usize, found.len());
        twin.assert_same();
    }

    #[test]
    fn a_client_names_what_the_rfc_says(
        ops in vec(op(), 1..8),
        ranges in vec((0..4000u32, 0..4000u32), 1..8),
    ) {
        let twin = Twin::after(&ops);
        let (uids, exists) = (twin.uids(), twin.map.len());
        let bound = |n: u32| if n.is_multiple_of(50) { Bound::Star } else { Bound::Number(n) };
        let value = |n: u32, star: u32| if n.is_multiple_of(50) { star } else { n };
        let set = SeqSet::from_ranges(ranges.iter().map(|&(a, b)| (bound(a), bound(b))));
        let named = |n: u32, star: u32| ranges.iter().any(|&(a, b)| {
            let (a, b) = (value(a, star), value(b, star));
            a.min(b) <= n && n <= a.max(b)
        });

        let last = uids.last().map_or(0, |uid| uid.0);
        let by_uid = twin.map.resolve(&set, By::Uid).unwrap();
        prop_assert!(by_uid.iter().eq(uids.iter().copied().filter(|uid| named(uid.0, last))));

        let numbers = ranges.iter().flat_map(|&(a, b)| [value(a, exists), value(b, exists)]);
        let bad = numbers.into_iter().any(|n| n == 0 || n > exists);
        let by_seq = uids.iter().zip(1..).filter(|(_, n)| named(*n, exists)).map(|(uid, _)| *uid);
        prop_assert_eq!(twin.map.resolve(&set, By::Seq), (!bad).then(|| by_seq.collect()));
    }
}

#[derive(Clone, Debug)]
enum SetOp {
    Insert(u32, u32),
    Remove(u32, u32),
    RemoveAt(u32),
    Push(u32),
}

fn set_op() -> impl Strategy<Value = SetOp> {
    let range = || (0..300u32, 0..30u32).prop_map(|(n, more)| (n, n + more));
    prop_oneof![
        range().prop_map(|(a, b)| SetOp::Insert(b, a)),
        (0..300u32).prop_map(|n| SetOp::Insert(n, n)),
        range().prop_map(|(a, b)| SetOp::Remove(a, b)),
        (0..300u32).prop_map(|n| SetOp::Remove(n, n)),
        (0..300u32).prop_map(SetOp::RemoveAt),
        (1..5u32).prop_map(SetOp::Push),
    ]
}

fn set_after(ops: &[SetOp]) -> (UidSet<Uid>, BTreeSet<u32>) {
    let (mut set, mut naive) = (UidSet::new(), BTreeSet::new());
    for op in ops {
        match *op {
            SetOp::Insert(a, b) if a == b => {
                assert_eq!(set.insert(Uid(a)), a != 0 && naive.insert(a));
            }
            SetOp::Insert(a, b) => {
                set.insert_range(Uid(a), Uid(b));
                naive.extend(a.min(b).max(1)..=a.max(b));
            }
            SetOp::Remove(a, b) => {
                let before = naive.len();
                naive.retain(|n| *n < a || b < *n);
                assert_eq!(set.remove_range(Uid(a), Uid(b)) as usize, before - naive.len());
            }
            SetOp::RemoveAt(position) => {
                let n = position.checked_sub(1).and_then(|i| naive.iter().nth(i as usize)).copied();
                assert_eq!(set.remove_at(position), n.map(Uid));
                n.map(|n| naive.remove(&n));
            }
            SetOp::Push(more) => {
                let n = naive.last().unwrap_or(&0) + more;
                set.push(Uid(n));
                naive.insert(n);
            }
        }
        set.check();
    }
    (set, naive)
}

proptest! {
    #[test]
    fn a_set_is_a_set(ops in vec(set_op(), 0..60), others in vec(set_op(), 0..60)) {
        let (set, naive) = set_after(&ops);
        let (other, others) = set_after(&others);
        let same = |set: UidSet<Uid>, naive: Vec<u32>| {
            set.check();
            prop_assert!(set.iter().eq(naive.iter().copied().map(Uid)), "{set} is not {naive:?}");
            prop_assert_eq!(&naive.into_iter().rev().map(Uid).collect::<UidSet<Uid>>(), &set);
            Ok(())
        };
        same(set.clone(), naive.iter().copied().collect())?;
        same(set.union(&other), naive.union(&others).copied().collect())?;
        same(set.intersect(&other), naive.intersection(&others).copied().collect())?;
        same(set.subtract(&other), naive.difference(&others).copied().collect())?;
        same(set.range_from(Uid(150)), naive.range(150..).copied().collect())?;
        prop_assert_eq!(set.is_subset(&other), naive.is_subset(&others));
        prop_assert!(set.intersect(&other).is_subset(&set) && set.is_subset(&set.union(&other)));

        prop_assert_eq!(set.len() as usize, naive.len());
        prop_assert_eq!(set.is_empty(), naive.is_empty());
        prop_assert_eq!(set.first(), naive.first().copied().map(Uid));
        prop_assert_eq!(set.last(), naive.last().copied().map(Uid));
        for n in 0..340 {
            let rank = naive.range(..=n).count() as u32;
            prop_assert_eq!(set.contains(Uid(n)), naive.contains(&n));
            prop_assert_eq!(set.rank(Uid(n)), rank);
            prop_assert_eq!(set.position(Uid(n)), naive.contains(&n).then_some(rank));
        }
        prop_assert_eq!(set.select(0), None);
        for (n, position) in naive.iter().zip(1..) {
            prop_assert_eq!(set.select(position), Some(Uid(*n)));
        }
        prop_assert_eq!(set.select(set.len() + 1), None);

        if !set.is_empty() {
            prop_assert_eq!(UidSet::parse(set.to_string().as_bytes()), Some(set.clone()));
        }
    }
}

/// A run of one message for every second UID: what half deleted looks like at its worst.
fn sparse(len: u32) -> UidMap {
    let run = |n| Run { uid: Uid(2 * n), len: 1, place: Place::Old(SideUid(2 * n)) };
    UidMap::from_runs((1..=len).map(run)).unwrap()
}

#[test]
fn a_hundred_thousand_runs_take_two_megabytes() {
    let map = sparse(100_000);
    assert_eq!(map.run_count(), 100_000);
    assert!(map.heap_bytes() < 2 * 1024 * 1024, "{} octets", map.heap_bytes());
    let mut arrived = UidMap::default();
    for run in map.runs() {
        arrived.push(run.uid, run.len, run.place).unwrap();
    }
    assert_eq!(arrived, map);
    assert!(arrived.heap_bytes() < 2 * 1024 * 1024 + 64 * 1024, "{}", arrived.heap_bytes());
}

#[test]
fn one_change_makes_one_chunk_anew() {
    let before = sparse(10_000);
    let mut after = before.clone();
    assert!(after.set_place(Uid(7_000), Place::New(SideUid(1))));
    let shared = |chunk: &&Arc<_>| before.chunks().any(|old| Arc::ptr_eq(old, chunk));
    assert_eq!(after.chunks().filter(|chunk| !shared(chunk)).count(), 1);
    assert_eq!(after.changed_chunks(&before).put.len(), 1);
    assert_eq!(after.diff(&before), MapDiff::default());

    let mut same = after.clone();
    assert!(same.set_place(Uid(7_000), Place::New(SideUid(1))), "the message is there");
    assert!(!same.set_place(Uid(7_001), Place::New(SideUid(2))));
    assert!(!same.set_place(Uid(7_000), Place::New(SideUid(0))), "0 is no UID");
    assert_eq!(same.remove(&UidSet::from_iter([Uid(7_001)])), 0);
    assert!(same.chunks().zip(after.chunks()).all(|(a, b)| Arc::ptr_eq(a, b)));
}

#[test]
fn v3_chunks_between_and_behind_edits_are_counted_anew() {
    let mut map = sparse(4_000);
    let between = map.chunks().nth(3).cloned().unwrap();
    assert_eq!(map.remove(&[10, 12, 3_000, 5_000, 5_002, 5_004].map(Uid).into_iter().collect()), 6);
    map.check();
    assert!(map.chunks().any(|chunk| Arc::ptr_eq(chunk, &between)), "untouched");
    assert_eq!(map.seq(Uid(4_000)), Some(Seq(1_997)));
    assert_eq!(map.seq(Uid(8_000)), Some(Seq(3_994)));
}

#[test]
fn a_mailbox_copied_from_end_to_end_is_one_run_again() {
    let mut map = UidMap::default();
    map.push(Uid(1), 20_000, Place::Old(SideUid(1))).unwrap();
    let both = |n: u32| (Uid(n), Place::Both { old: SideUid(n), new: SideUid(n + 5) });
    map.set_places((1..=20_000).step_by(2).map(both));
    assert_eq!(map.run_count(), 20_000);
    for n in (2..=20_000).step_by(2) {
        let (uid, place) = both(n);
        map.set_place(uid, place);
    }
    map.check();
    assert_eq!((map.run_count(), map.chunks().count()), (1, 1));
}

#[test]
fn what_cannot_be_a_map_is_refused() {
    use super::MapError::*;
    let run = |uid, len, place| Run { uid: Uid(uid), len, place };
    let old = |n| Place::Old(SideUid(n));
    let both = |old, new| Place::Both { old: SideUid(old), new: SideUid(new) };
    for (runs, error) in [
        (vec![run(1, 0, old(1))], NoMessages),
        (vec![run(0, 1, old(1))], Zero),
        (vec![run(1, 1, old(0))], Zero),
        (vec![run(1, 1, both(1, 0))], Zero),
        (vec![run(u32::MAX, 2, old(1))], Overflow),
        (vec![run(1, 2, old(u32::MAX))], Overflow),
        (vec![run(1, 2, both(1, u32::MAX))], Overflow),
        (vec![run(5, 2, old(1)), run(6, 1, old(9))], Order),
        (vec![run(5, 2, old(1)), run(5, 2, old(1))], Order),
        (vec![run(5, 2, old(1)), run(1, 1, old(9))], Order),
    ] {
        assert_eq!(UidMap::from_runs(runs.clone()), Err(error), "{runs:?}");
        let mut map = UidMap::default();
        let pushed = runs.iter().try_for_each(|run| map.push(run.uid, run.len, run.place));
        assert_eq!(pushed, Err(error), "{runs:?}");
        map.check();
        let chunks = runs.iter().map(|run| vec![*run]).collect();
        assert_eq!(UidMap::from_chunks(chunks), Err(error), "{runs:?}");
    }
    assert_eq!(UidMap::from_chunks(vec![vec![]]), Err(NoMessages));
    let long = sparse(1 + MAX_RUNS as u32).runs().collect();
    assert_eq!(UidMap::from_chunks(vec![long]), Err(TooManyRuns));
}

#[test]
fn the_highest_numbers_are_numbers_too() {
    let top = |place| Run { uid: Uid(u32::MAX), len: 1, place };
    let first = Run { uid: Uid(1), len: u32::MAX - 1, place: Place::Old(SideUid(2)) };
    let mut map = UidMap::from_runs([first, top(Place::New(SideUid(1)))]).unwrap();
    map.check();
    assert_eq!(map.len(), u32::MAX);
    assert_eq!(map.run_count(), 2);
    assert_eq!(map.seq(Uid(u32::MAX)), Some(Seq(u32::MAX)));
    assert_eq!(map.uid_at(Seq(u32::MAX)), Some(Uid(u32::MAX)));
    assert_eq!(map.uids().len(), u32::MAX);
    assert_eq!(map.cursor().seq(Uid(u32::MAX)), Some(Seq(u32::MAX)));
    assert_eq!(map.push(Uid(u32::MAX), 1, Place::Old(SideUid(1))), Err(super::MapError::Order));
    assert_eq!(SeqSet::all().resolve_uids(&map), map.uids());
    assert_eq!(map.remove(&UidSet::from_ranges([(Uid(2), Uid(u32::MAX))])), u32::MAX - 1);
    assert_eq!(map.uids().to_string(), "1");

    let mut set = UidSet::from_ranges([(Uid(0), Uid(u32::MAX))]);
    set.check();
    assert_eq!((set.len(), set.rank(Uid(u32::MAX))), (u32::MAX, u32::MAX));
    assert!(!set.insert(Uid(u32::MAX)) && !set.insert(Uid(0)) && !set.contains(Uid(0)));
    assert!(set.subtract(&set).is_empty());
    assert_eq!(set.intersect(&set), set);
    assert!(set.remove(Uid(u32::MAX)) && set.insert(Uid(u32::MAX)));
    assert_eq!(set.remove_range(Uid(0), Uid(u32::MAX)), u32::MAX);
}

#[test]
fn v3_a_side_uid_claimed_twice_is_told() {
    let mut map = sparse(10);
    map.set_places([(Uid(2), Place::Old(SideUid(8))), (Uid(6), Place::New(SideUid(8)))]);
    assert_eq!(map.shared(Side::Old).to_string(), "8");
    assert!(map.shared(Side::New).is_empty());
}

#[test]
fn an_empty_mailbox_has_nothing_to_name() {
    let (empty, any) = (UidMap::default(), SeqSet::all());
    assert_eq!(any.resolve_seqs(&empty), None, "* is no message");
    assert_eq!(any.resolve_uids(&empty), UidSet::new());
    assert_eq!((empty.seq(Uid(1)), empty.uid_at(Seq(1)), empty.last_uid()), (None, None, None));
    assert_eq!(empty.cursor().seq(Uid(1)), None);
    assert_eq!(empty.cursor().find(Side::Old, SideUid(1)), None);
    let mut map = sparse(3);
    assert_eq!(map.remove(&map.uids()), 3);
    map.check();
    assert_eq!(map, empty);
    assert_eq!(map.changed_chunks(&sparse(3)).delete, [Uid(2)]);
}

#[test]
fn star_names_the_last_message_from_both_ends() {
    let map = sparse(3);
    let star = Bound::Star;
    let named = |a: Bound, b: Bound| SeqSet::from_ranges([(a, b)]);
    for set in [named(559.into(), star), named(star, 559.into()), SeqSet::single(star)] {
        assert_eq!(set.resolve_uids(&map).to_string(), "6", "{set}");
    }
    assert_eq!(named(4.into(), star).resolve_seqs(&map), None);
    assert_eq!(named(star, 2.into()).resolve_seqs(&map), UidSet::parse(b"4,6"));
    assert_eq!(SeqSet::single(0).resolve_seqs(&map), None);
    for (set, known) in [
        (named(2.into(), 9.into()), "4,6"),
        (named(9.into(), 7.into()), ""),
        (named(9.into(), star), "6"),
        (SeqSet::single(0), ""),
    ] {
        assert_eq!(set.resolve_known_seqs(&map).to_string(), known, "{set}");
    }
    assert!(SeqSet::single(0).resolve_uids(&map).is_empty());
    assert_eq!(named(star, 2.into()).to_string(), "*:2");
}
