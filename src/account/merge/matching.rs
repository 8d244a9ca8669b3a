//! Messages of new that wait to be matched with those of old (DESIGN §3, Matching): the pure part.

use super::{Distrust, Merged, Report};
use crate::account::matching::Pair;
use crate::base::Side;
use crate::uid::{Place, SideUid, Uid, UidSet};

impl Merged {
    /// Whether what lies on both sides is being matched, or has yet to be.
    pub fn is_matching(&self) -> bool {
        self.record.matching.is_some()
    }

    /// At the first sight of new: what lies there may be what old has.
    pub(super) fn begin_matching(&mut self, report: &Report<'_>) {
        let old_has_some = match &self.record.sides.old {
            Some(_) => !self.map.side_uids(Side::Old).is_empty(),
            None => self.is_there(Side::Old),
        };
        if report.matching && old_has_some && !report.announced.is_empty() {
            self.record.matching = Some(report.snapshot.uid_next);
        }
    }

    /// Keeps back those of new's arrivals that have yet to be matched. Returns the others.
    ///
    /// After the first matching these are all that arrive while something lies on old alone: mail may
    /// be delivered to both sides, and another tool may still be copying. While the first one is under
    /// way, which may take long, what arrives is shown at once.
    pub(super) fn keep_unmatched(
        &mut self,
        arrived: UidSet<SideUid>,
        report: &Report<'_>,
    ) -> UidSet<SideUid> {
        let begins = self.record.matching.is_none() && self.record.sides.new.is_some();
        if report.matching
            && !arrived.is_empty()
            && (self.late || (begins && !self.unpaired().is_empty()))
        {
            // After the index was put back from a snapshot, copies of any age may be among them.
            self.late |= !self.record.restored.new;
            self.record.matching = self.record.matching.max(Some(report.snapshot.uid_next));
        }
        let Some(below) = self.record.matching else { return arrived };
        let others = arrived.range_from(below);
        self.unmatched = self.unmatched.union(&arrived.subtract(&others));
        others
    }

    /// Messages of old that have no copy on new, and where they stand in the map.
    pub fn unpaired(&self) -> UidSet<SideUid> {
        self.map.authority_uids(Side::Old)
    }

    /// Messages of old and their copies become one: from now on each lies on both sides. Returns
    /// those that did, with their virtual UIDs: what has gone meanwhile, or is no message of old's
    /// alone any more, is left as it is.
    pub fn join(&mut self, pairs: &[Pair]) -> Vec<(Uid, Pair)> {
        // None has two partners, whoever says so.
        let (mut taken, mut paired) = (UidSet::new(), UidSet::new());
        let joined: Vec<(Uid, Pair)> = pairs
            .iter()
            .filter(|pair| self.unmatched.contains(pair.new))
            .filter_map(|pair| {
                let uid = self.map.uid_of(Side::Old, pair.old)?;
                let alone = matches!(self.map.place(uid), Some(Place::Old(_)));
                let free = alone && !taken.contains(uid) && !paired.contains(pair.new);
                free.then(|| {
                    taken.insert(uid);
                    paired.insert(pair.new);
                    (uid, *pair)
                })
            })
            .collect();
        let mut places: Vec<(Uid, Place)> = joined
            .iter()
            .map(|(uid, pair)| (*uid, Place::Both { old: pair.old, new: pair.new }))
            .collect();
        places.sort_unstable_by_key(|(uid, _)| *uid);
        self.map.set_places(places);
        self.unmatched = self.unmatched.subtract(&paired);
        joined
    }

    /// Shows those of these messages that are still kept back: nothing on old is the same. Returns
    /// whether any was.
    pub fn show_unmatched(&mut self, uids: &UidSet<SideUid>, now: u64) -> Result<bool, Distrust> {
        let shown = self.unmatched.intersect(uids);
        for (first, last) in shown.ranges() {
            self.arrive(Side::New, first, last, now)?;
        }
        self.unmatched = self.unmatched.subtract(&shown);
        Ok(!shown.is_empty())
    }

    /// All that was kept back has been decided over. `told`: new's HIGHESTMODSEQ, as the connection
    /// tells it that the last of them was asked over. False if there is more.
    pub fn end_matching(&mut self, told: Option<u64>) -> bool {
        let Some(below) = self.record.matching.filter(|_| self.unmatched.is_empty()) else {
            return false;
        };
        self.record.matching = None;
        self.late = false;
        let mark = self.held.keys().next().map_or(below, |held| below.min(*held));
        if let Some(snapshot) = &mut self.record.sides.new {
            snapshot.uid_next = snapshot.uid_next.max(mark);
            self.record.unshown = self.record.unshown.range_from(snapshot.uid_next);
        }
        self.absorb_mod_seq(Side::New, told, None);
        true
    }

    /// New's mailbox is another one of the same name: what was known of it means nothing. What old
    /// has as well is old's alone again until it is matched anew, and the rest is gone.
    pub(super) fn made_anew(&mut self) {
        self.without_new(&self.map.side_uids(Side::New));
        self.record.sides.new = None;
        self.record.matching = None;
        self.late = false;
        self.record.unshown = UidSet::new();
        self.live.new = None;
        self.held.clear();
        self.unmatched = UidSet::new();
        self.mod_seqs.forget(Side::New);
    }

    /// New's mailbox was put back from a backup: what it lacks now is old's alone again, or gone,
    /// and what gets its UIDs from now on is something else.
    pub(super) fn put_back(&mut self, report: &Report<'_>) {
        let lost = self.map.side_uids(Side::New).subtract(report.announced);
        self.without_new(&lost);
        let uid_next = report.snapshot.uid_next;
        self.record.unshown.remove_range(uid_next, SideUid(u32::MAX));
        self.record.matching = self.record.matching.map(|below| below.min(uid_next));
        self.held.retain(|uid, _| report.announced.contains(*uid));
        self.unmatched = self.unmatched.intersect(report.announced);
        self.live.new = Some(report.announced.clone());
        if let Some(snapshot) = &mut self.record.sides.new {
            snapshot.uid_next = snapshot.uid_next.min(uid_next);
        }
    }

    /// New does not have these any more, though nobody removed them. What is told by connections
    /// that know of them is not believed from now on.
    fn without_new(&mut self, lost: &UidSet<SideUid>) {
        let mut moved = Vec::new();
        let mut gone = Vec::new();
        let mut cursor = self.map.cursor();
        for new in lost.iter() {
            let Some((uid, _)) = cursor.find(Side::New, new) else { continue };
            match self.map.place(uid) {
                Some(Place::Both { old, .. }) => moved.push((uid, Place::Old(old))),
                _ => gone.push(uid),
            }
        }
        moved.sort_unstable_by_key(|(uid, _)| *uid);
        self.map.set_places(moved);
        self.map.remove(&gone.into_iter().collect());
        self.incarnations.new = self.incarnations.new.next();
        // Old decides over messages again whose changes since were not asked for there.
        self.mod_seqs.ask_from_the_beginning(Side::Old);
    }
}
