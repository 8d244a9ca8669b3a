//! The schedule of a FETCH: which side is asked for what, in the client's order. Pure.

use smallvec::{SmallVec, smallvec};

use crate::base::Side;
use crate::uid::{Place, Run, SideUid, Uid, UidMap, UidSet};

/// Messages that one side answers in the client's order: their UIDs ascend there and virtually.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Who is asked.
    pub side: Side,
    /// Copied in the order in which they were opened, each message is a step of its own.
    runs: SmallVec<[Run; 1]>,
    /// How many messages.
    pub len: u32,
}

impl Step {
    /// One message.
    pub fn one(side: Side, uid: Uid, place: Place) -> Step {
        Step { side, runs: smallvec![Run { uid, len: 1, place }], len: 1 }
    }

    /// What the side is asked for.
    pub fn uids(&self) -> UidSet<SideUid> {
        let ranges = self.runs.iter().filter_map(|run| {
            let first = run.place.on(self.side)?;
            Some((first, SideUid(first.0 + (run.len - 1))))
        });
        UidSet::from_ranges(ranges)
    }

    /// The message behind a UID of the side, with its place.
    pub fn find(&self, uid: SideUid) -> Option<(Uid, Place)> {
        let first = |run: &Run| run.place.on(self.side);
        let at = self.runs.partition_point(|run| first(run) <= Some(uid)).checked_sub(1)?;
        let run = self.runs.get(at)?;
        let offset = uid.0 - first(run)?.0;
        (offset < run.len).then(|| (Uid(run.uid.0 + offset), run.place.plus(offset)))
    }

    fn takes(&self, side: Side, run: &Run) -> bool {
        let last = self.runs.last().and_then(|r| Some(r.place.on(side)?.0 + (r.len - 1)));
        self.side == side && last < run.place.on(side).map(|uid| uid.0)
    }
}

/// Cuts what is asked for into steps. `source` says which side gives a message; it must lie there.
pub fn schedule(
    map: &UidMap,
    uids: &UidSet<Uid>,
    source: impl Fn(Place) -> Option<Side>,
) -> Vec<Step> {
    steps(map.intersect(uids).filter_map(|run| Some((source(run.place)?, run))))
}

/// The same where the authority gives each message, but old those of `altered`, which lie on both.
pub fn schedule_beside(map: &UidMap, uids: &UidSet<Uid>, altered: &UidSet<Uid>) -> Vec<Step> {
    if altered.is_empty() {
        return schedule(map, uids, |place| Some(place.authority()));
    }
    let others = uids.subtract(altered);
    let others = map.intersect(&others).map(|run| (run.place.authority(), run));
    let olds = uids.intersect(altered);
    let olds = map.intersect(&olds).map(|run| (Side::Old, run));
    let mut runs: Vec<(Side, Run)> = others.chain(olds).collect();
    runs.sort_unstable_by_key(|(_, run)| run.uid);
    steps(runs)
}

fn steps(runs: impl IntoIterator<Item = (Side, Run)>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (side, run) in runs {
        match steps.last_mut() {
            Some(step) if step.takes(side, &run) => {
                step.len += run.len;
                step.runs.push(run);
            }
            _ => steps.push(Step { side, len: run.len, runs: smallvec![run] }),
        }
    }
    steps
}

/// Joins steps into as few as there are sides, each in the order of its side's UIDs: for answers
/// that are small enough to be put into the client's order afterwards.
pub fn gathered(steps: &[Step]) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::new();
    for side in Side::BOTH {
        let mut runs: SmallVec<[Run; 1]> =
            steps.iter().filter(|s| s.side == side).flat_map(|s| s.runs.iter().copied()).collect();
        if runs.is_empty() {
            continue;
        }
        runs.sort_unstable_by_key(|run| run.place.on(side));
        let len = runs.iter().map(|run| run.len).sum();
        joined.push(Step { side, runs, len });
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(uid: u32, len: u32) -> Run {
        Run { uid: Uid(uid), len, place: Place::Old(SideUid(uid)) }
    }

    fn new(uid: u32, len: u32, at: u32) -> Run {
        Run { uid: Uid(uid), len, place: Place::New(SideUid(at)) }
    }

    fn authority(place: Place) -> Option<Side> {
        Some(place.authority())
    }

    #[test]
    fn one_step_while_the_side_stays_and_its_uids_ascend() {
        let map = UidMap::from_runs([old(1, 5), old(10, 5), new(20, 3, 7)]).unwrap();
        let steps = schedule(&map, &map.uids(), authority);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].uids().to_string(), "1:5,10:14");
        assert_eq!(steps[0].len, 10);
        assert_eq!(steps[1].find(SideUid(8)), Some((Uid(21), Place::New(SideUid(8)))));
        assert_eq!(steps[1].find(SideUid(10)), None);
        assert_eq!(steps[0].find(SideUid(7)), None);
    }

    #[test]
    fn what_was_altered_is_read_from_old_in_its_turn() {
        let both = Place::Both { old: SideUid(3), new: SideUid(8) };
        let map = UidMap::from_runs([old(1, 2), Run { uid: Uid(3), len: 4, place: both }]).unwrap();
        let altered = UidSet::from_ranges([(Uid(4), Uid(5))]);
        let steps = schedule_beside(&map, &map.uids(), &altered);
        let asked: Vec<(Side, String)> =
            steps.iter().map(|s| (s.side, s.uids().to_string())).collect();
        let expected =
            [(Side::Old, "1:2"), (Side::New, "8"), (Side::Old, "4:5"), (Side::New, "11")];
        assert_eq!(asked, expected.map(|(side, set)| (side, set.to_owned())));
    }

    #[test]
    fn copies_made_in_another_order_make_steps_of_their_own() {
        let map = UidMap::from_runs([new(1, 1, 9), new(2, 1, 8), new(3, 1, 10)]).unwrap();
        let steps = schedule(&map, &map.uids(), authority);
        let asked: Vec<String> = steps.iter().map(|s| s.uids().to_string()).collect();
        assert_eq!(asked, ["9", "8,10"]);
        let joined = gathered(&steps);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].uids().to_string(), "8:10");
        assert_eq!(joined[0].find(SideUid(9)).map(|f| f.0), Some(Uid(1)));
    }
}
