//! Messages that wait to be matched with those of the other side (DESIGN §3, Matching): the pure part.

use std::sync::Arc;

use super::{Distrust, Merged, Report};
use crate::account::matching::Pair;
use crate::base::{Phase, Side, Sides};
use crate::index::Snapshot;
use crate::uid::{Place, SideUid, Uid, UidSet};

/// What is remembered of what was not compared consists of no more ranges.
const LATE: usize = 256;

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
        // Where old is not asked, nothing is known to be the same as what new has. In phase old, new is
        // only ever asked by who brings both together again.
        let both = self.phase != Phase::New;
        if report.matching && both && old_has_some && !report.announced.is_empty() {
            self.record.matching = Some(report.snapshot.uid_next);
        }
    }

    /// Keeps back those of new's arrivals that have yet to be matched. Returns the others.
    ///
    /// After the first matching these are all that arrive while something lies on old alone: mail may
    /// be delivered to both sides, and another tool may still be copying. What arrives during the first one,
    /// which may take long, is compared before the rest of it.
    pub(super) fn keep_unmatched(
        &mut self,
        arrived: UidSet<SideUid>,
        report: &Report<'_>,
    ) -> UidSet<SideUid> {
        let first = self.record.matching.filter(|_| !self.record.late && !self.record.restored.new);
        if !arrived.is_empty() {
            self.compare_new_below(report.snapshot.uid_next);
        }
        let Some(below) = self.record.matching else { return arrived };
        let others = arrived.range_from(below);
        self.unmatched = self.unmatched.union(&arrived.subtract(&others));
        if let Some(begun) = first {
            self.came = self.came.union(&arrived.range_from(begun).subtract(&others));
        }
        others
    }

    /// What arrives on new below this UID is compared with what old has, if there is anything that it may
    /// be, and the first matching is over.
    fn compare_new_below(&mut self, below: SideUid) {
        let begins = self.record.matching.is_none() && self.record.sides.new.is_some();
        // What waits on old is not mapped yet.
        let old_has_some = || !self.unpaired().is_empty() || !self.waiting.is_empty();
        // In phase new nobody asks old.
        let may_be_old = || self.phase != Phase::New && old_has_some();
        let may_be_known = || !self.second_copies.new.is_empty() || may_be_old();
        if self.matches && (self.record.matching.is_some() || (begins && may_be_known())) {
            // After the index was put back from a snapshot, copies of any age may be among them.
            self.record.late |= begins && !self.record.restored.new;
            self.record.matching = self.record.matching.max(Some(below));
        }
    }

    /// An arrival that turned out as no copy of ours may still be what the other side has: it is compared
    /// like any other, or shown.
    pub(super) fn decided_as_mail(
        &mut self,
        side: Side,
        uid: SideUid,
        now: u64,
    ) -> Result<(), Distrust> {
        if self.held[side].remove(&uid).is_none() || self.map.uid_of(side, uid).is_some() {
            return Ok(());
        }
        let next = SideUid(uid.0.saturating_add(1));
        match side {
            Side::New => {
                self.compare_new_below(next);
                if self.record.late && self.record.matching.is_some_and(|below| uid < below) {
                    self.unmatched.insert(uid);
                    return Ok(());
                }
            }
            Side::Old if self.may_be_known() => {
                self.waiting.insert(uid);
                self.waited = self.waited.max(Some(next));
                return Ok(());
            }
            Side::Old => {}
        }
        self.note_uncompared(side, &[uid].into_iter().collect());
        self.claim(side, uid, now).map(|_| ())
    }

    /// In this phase one side is not asked as things happen: whoever brings both together compares what came.
    pub fn note_uncompared(&mut self, side: Side, uids: &UidSet<SideUid>) {
        if self.phase != Phase::Merged {
            self.note_late(side, uids);
        }
    }

    /// These are shown, and were not compared with what the other side has.
    pub fn note_late(&mut self, side: Side, uids: &UidSet<SideUid>) {
        if self.matches && self.record.sides[side.other()].is_some() {
            let late = self.record.shown_late[side].union(uids);
            // However long a phase lasts, it stays small.
            let spanned = late.first().zip(late.last()).filter(|_| late.range_count() > LATE);
            self.record.shown_late[side] = match spanned {
                Some(all) => UidSet::from_ranges([all]),
                None => late,
            };
        }
    }

    /// Whether what arrives on old may be what is known already: what new has, which in phase old nobody asks,
    /// so that whoever brings both together again compares it; or a second copy.
    fn may_be_known(&self) -> bool {
        let kept_back = self.record.late && !self.unmatched.is_empty();
        let on_new = || self.phase != Phase::Old && (kept_back || !self.new_alone().is_empty());
        self.matches && (!self.second_copies.old.is_empty() || on_new())
    }

    /// Whether anything waits to be compared with what the other side has.
    pub fn is_comparing(&self) -> bool {
        self.is_matching() || !self.waiting.is_empty()
    }

    /// Whether something was shown that has yet to be compared.
    pub fn is_to_be_compared(&self) -> bool {
        let any = self.record.shown_late.iter().any(|(_, late)| !late.is_empty());
        let both = || Side::BOTH.into_iter().all(|side| self.is_there(side));
        self.phase == Phase::Merged && any && both()
    }

    /// These were compared.
    pub fn compared(&mut self, late: &Sides<UidSet<SideUid>>) {
        for side in Side::BOTH {
            self.record.shown_late[side] = self.record.shown_late[side].subtract(&late[side]);
        }
    }

    /// What of this needs not be compared again. What lies alone on the side that does not decide may be what a
    /// client removes from the other one, until both do.
    pub fn decided_of(&self, late: &Sides<UidSet<SideUid>>) -> Sides<UidSet<SideUid>> {
        let mut decided = late.clone();
        match self.phase {
            Phase::Old => decided.new = decided.new.subtract(&self.new_alone()),
            Phase::Merged => {}
            Phase::New => decided.old = decided.old.subtract(&self.unpaired()),
        }
        decided
    }

    /// Whether two messages that are seen, or are about to be, may turn out to be one.
    pub fn may_be_one(&self) -> bool {
        self.is_comparing() || self.is_to_be_compared()
    }

    /// Whether anything arrived that would be shown if a side failed.
    pub fn shows_late(&self) -> bool {
        let on_old = || !self.waiting.is_empty() && !self.relinking;
        let late = || self.record.late && !self.unmatched.is_empty();
        !self.came.is_empty() || late() || on_old()
    }

    /// Arrivals do not wait for a side that fails: shows them (V7). Those of an old mailbox that has
    /// become another one wait for a while, for most of them are on new: until the `last` attempt.
    /// `compared`: of which sides it was compared with the second copies that are expected there, and shown; what
    /// is left came since, and waits. Returns whether anything changed.
    pub fn show_late(
        &mut self,
        last: bool,
        compared: Sides<bool>,
        now: u64,
    ) -> Result<bool, Distrust> {
        // After a restart, what is to be matched is known when new has been looked at: until then nothing is
        // ended, or new's watermark would pass it.
        let late = !compared.new && self.record.late && !self.unmatched.is_empty();
        let waited = !compared.old && !self.waiting.is_empty() && (last || !self.relinking);
        let came = match compared.new {
            true => UidSet::new(),
            false if late => self.unmatched.clone(),
            false => self.came.clone(),
        };
        let shown = self.show_unmatched(&came, now)?;
        self.note_late(Side::New, &came);
        if late {
            self.end_matching(None);
        }
        if waited {
            let all = self.waiting.clone();
            self.show_waiting(&all, now)?;
            self.note_late(Side::Old, &all);
            self.end_waiting(None);
        }
        Ok(late || waited || shown)
    }

    /// Keeps back those of old's arrivals that may be what came to new before: mail may be delivered to
    /// both sides. Returns the others.
    pub(super) fn keep_waiting(
        &mut self,
        arrived: UidSet<SideUid>,
        report: &Report<'_>,
    ) -> UidSet<SideUid> {
        if arrived.is_empty() || !self.may_be_known() {
            return arrived;
        }
        self.waiting = self.waiting.union(&arrived);
        self.waited = self.waited.max(Some(report.snapshot.uid_next));
        UidSet::new()
    }

    /// Messages of new that are not known to lie on old.
    pub fn new_alone(&self) -> UidSet<SideUid> {
        let alone = self.map.runs().filter_map(|run| match run.place {
            Place::New(first) => Some((first, SideUid(first.0 + (run.len - 1)))),
            _ => None,
        });
        UidSet::from_ranges(alone)
    }

    /// Arrivals on old and what came to new before become one: the message keeps its UID, and new goes
    /// on deciding over it.
    pub fn join_waiting(&mut self, pairs: &[Pair]) -> bool {
        let mut places: Vec<(Uid, Place)> = Vec::new();
        for pair in pairs {
            let uid = self.map.uid_of(Side::New, pair.new);
            let alone = |uid: &Uid| matches!(self.map.place(*uid), Some(Place::New(_)));
            // None has two partners, whoever says so.
            let free = |uid: &Uid| alone(uid) && !places.iter().any(|(taken, _)| taken == uid);
            if let Some(uid) = uid.filter(free)
                && self.waiting.contains(pair.old)
            {
                self.waiting.remove(pair.old);
                self.owe_flags(uid);
                places.push((uid, Place::Both { old: pair.old, new: pair.new }));
            }
        }
        places.sort_unstable_by_key(|(uid, _)| *uid);
        let joined = !places.is_empty();
        self.map.set_places(places);
        joined
    }

    /// What old has that is seen, is about to be, or was removed by a client.
    pub fn known_on_old(&self) -> UidSet<SideUid> {
        let held = self.held.old.keys().copied().collect();
        let removed = self.owed.removed.union(&self.owed.removing);
        self.map.side_uids(Side::Old).union(&self.waiting).union(&held).union(&removed)
    }

    /// Messages on new alone, and what old has of them unseen, become one.
    pub fn join_hidden(&mut self, pairs: &[Pair]) -> bool {
        let mut joined = false;
        for Pair { old, new, .. } in pairs {
            let Some(uid) = self.map.uid_of(Side::New, *new) else { continue };
            let alone = matches!(self.map.place(uid), Some(Place::New(_)));
            if alone && !self.known_on_old().contains(*old) {
                self.owe_flags(uid);
                self.record.unshown.old.remove(*old);
                joined |= self.map.set_place(uid, Place::Both { old: *old, new: *new });
            }
        }
        joined
    }

    /// Messages that were seen while the other side was not asked, and are the same, become one. Whoever
    /// sees one of them goes on seeing it under its UID.
    pub fn join_alone(&mut self, pairs: &[Pair]) -> bool {
        let mut joined = false;
        for Pair { old, new, altered } in pairs {
            let uids = (self.map.uid_of(Side::Old, *old), self.map.uid_of(Side::New, *new));
            let (Some(on_old), Some(on_new)) = uids else { continue };
            let places = (self.map.place(on_old), self.map.place(on_new));
            let alone = matches!(places, (Some(Place::Old(_)), Some(Place::New(_))));
            // A copy that is under way may turn up.
            let open = self.intents.new.get(&on_old).is_some_and(|intent| !intent.closed);
            if !alone || open {
                continue;
            }
            let (stays, goes) = match self.phase {
                Phase::New => (on_new, on_old),
                Phase::Old => (on_old, on_new),
                Phase::Merged => (on_old.min(on_new), on_old.max(on_new)),
            };
            self.map.remove(&[goes].into_iter().collect());
            if self.phase != Phase::Old {
                self.owe_flags(stays);
            }
            joined |= self.map.set_place(stays, Place::Both { old: *old, new: *new });
            if *altered && stays == on_old {
                self.note_altered(&[stays].into_iter().collect());
            }
        }
        joined
    }

    /// A second copy of a message came to a side: it is not shown, and goes some day. False if it is the first
    /// one there, of what lies on the other side alone, or has a place already.
    pub fn take_second_copy(&mut self, side: Side, of: Uid, copy: SideUid) -> bool {
        let place = self.map.place(of);
        if place.is_some_and(|place| place.on(side).is_none()) {
            return false;
        }
        if let Some(shown) = self.map.uid_of(side, copy) {
            // It turned out meanwhile as the message's own, or as another one's.
            let is_both =
                self.map.place(shown).is_some_and(|place| place.on(side.other()).is_some());
            if shown == of || is_both {
                return false;
            }
            self.map.remove(&[shown].into_iter().collect());
        }
        match (side, place) {
            // Nothing is removed from old that the proxy has not put there (V6).
            (Side::Old, Some(Place::Both { old, new })) => {
                self.map.set_place(of, Place::Both { old: copy, new });
                self.waiting.remove(copy);
                self.hide_copy(Side::Old, old);
                self.owed.removed.insert(old);
                if self.phase != Phase::Old {
                    self.owed.flags.insert(of);
                }
            }
            (Side::Old, _) => {
                self.hide_copy(Side::Old, copy);
                self.owed.removed.insert(copy);
            }
            (Side::New, _) => {
                self.hide_copy(Side::New, copy);
                self.owed.twins.insert(copy);
            }
        }
        self.owes_more = true;
        true
    }

    /// Whether there are copies on new that are to be removed in this phase.
    pub fn removes_twins(&self) -> bool {
        self.phase != Phase::Old && !self.owed.twins.is_empty()
    }

    /// New decides over it, and what was marked there before is not marked on old.
    fn owe_flags(&mut self, uid: Uid) {
        self.owed.flags.insert(uid);
        self.owes_more = true;
    }

    /// Shows those of these arrivals on old that still wait. Returns whether any did.
    pub fn show_waiting(&mut self, uids: &UidSet<SideUid>, now: u64) -> Result<bool, Distrust> {
        let shown = self.waiting.intersect(uids);
        for (first, last) in shown.ranges() {
            self.arrive(Side::Old, first, last, now)?;
        }
        self.waiting = self.waiting.subtract(&shown);
        Ok(!shown.is_empty())
    }

    /// Nothing on old waits any more. `told`: old's HIGHESTMODSEQ, as the connection tells it over
    /// which the last of them was read.
    pub fn end_waiting(&mut self, told: Option<u64>) {
        if !self.waiting.is_empty() {
            return;
        }
        self.relinking = false;
        // What was decided over is no arrival again, should it leave the map.
        if let (Some(below), Some(snapshot)) = (self.waited.take(), &mut self.record.sides.old) {
            snapshot.uid_next = snapshot.uid_next.max(below);
        }
        self.absorb_mod_seq(Side::Old, told, None);
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
        let altered = joined.iter().filter(|(_, pair)| pair.altered).map(|(uid, _)| *uid);
        self.note_altered(&altered.collect());
        joined
    }

    /// Copies of these that were found on new are not quite what old has, and old's was seen first. The
    /// set spans what is no message, and so stays small where most are altered.
    fn note_altered(&mut self, uids: &UidSet<Uid>) {
        if !uids.is_empty() {
            let all = self.record.altered.union(uids);
            self.record.altered = Arc::new(all.spanned(&self.map.uids()));
        }
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
        self.record.restored.new = false;
        self.record.late = false;
        let mark = self.held.new.keys().next().map_or(below, |held| below.min(*held));
        if let Some(snapshot) = &mut self.record.sides.new {
            snapshot.uid_next = snapshot.uid_next.max(mark);
            self.record.unshown.new = self.record.unshown.new.range_from(snapshot.uid_next);
        }
        self.absorb_mod_seq(Side::New, told, None);
        true
    }

    /// Old's mailbox is another one of the same name, or its messages have other UIDs: what has a copy
    /// is new's alone until it is found again, the rest arrives anew. UIDVALIDITY stays the client's,
    /// for nothing of it is given a second meaning.
    pub(super) fn old_made_anew(&mut self, report: &Report<'_>) {
        self.forget_old(report.snapshot.uid_validity);
    }

    /// A side has no such mailbox any more, and nobody removed it through the proxy. What the other side has as
    /// well is that side's alone, as where it was made anew; the rest is gone.
    pub fn lose(&mut self, side: Side) {
        let was = self.record.sides[side].map_or(0, |was| was.uid_validity);
        match side {
            Side::Old => self.forget_old(was),
            Side::New => self.made_anew(),
        }
    }

    fn forget_old(&mut self, uid_validity: u32) {
        self.without_old(&self.map.side_uids(Side::Old));
        self.record.sides.old = Some(Snapshot {
            uid_validity,
            uid_next: SideUid(1),
            messages: 0,
            highest_mod_seq: None,
        });
        self.live.old = None;
        self.waiting = UidSet::new();
        self.waited = None;
        self.record.shown_late.old = UidSet::new();
        self.mod_seqs.forget(Side::Old);
    }

    /// Old's mailbox was put back from a backup: what it lacks now is new's alone, or gone, and what
    /// gets its UIDs from now on is something else, with UIDs of our own.
    pub(super) fn old_put_back(&mut self, report: &Report<'_>) {
        self.without_old(&self.map.side_uids(Side::Old).subtract(report.announced));
        self.waiting = self.waiting.intersect(report.announced);
        self.record.shown_late.old = self.record.shown_late.old.intersect(report.announced);
        self.waited = None;
        self.live.old = Some(report.announced.clone());
        if let Some(snapshot) = &mut self.record.sides.old {
            snapshot.uid_next = snapshot.uid_next.min(report.snapshot.uid_next);
        }
        self.mod_seqs.ask_from_the_beginning(Side::Old);
    }

    /// Old does not have these any more, though nobody removed them.
    fn without_old(&mut self, lost: &UidSet<SideUid>) {
        let mut moved: Vec<(Uid, Place)> = Vec::new();
        let mut gone = Vec::new();
        let mut cursor = self.map.cursor();
        for old in lost.iter() {
            let Some((uid, _)) = cursor.find(Side::Old, old) else { continue };
            match self.map.place(uid) {
                Some(Place::Both { new, .. }) => moved.push((uid, Place::New(new))),
                _ => gone.push(uid),
            }
        }
        if self.phase == Phase::Old {
            // Nobody asks new for it until both are brought together again.
            let alone = moved.iter().filter_map(|(_, place)| place.on(Side::New)).collect();
            self.note_late(Side::New, &alone);
        }
        moved.sort_unstable_by_key(|(uid, _)| *uid);
        self.map.set_places(moved);
        self.map.remove(&gone.into_iter().collect());
        self.incarnations.old = self.incarnations.old.next();
        self.relinking = true;
        self.record.restored.old = false;
    }

    /// New's mailbox is another one of the same name: what was known of it means nothing. What old
    /// has as well is old's alone again until it is matched anew, and the rest is gone.
    pub(super) fn made_anew(&mut self) {
        self.without_new(&self.map.side_uids(Side::New));
        self.record.sides.new = None;
        self.record.matching = None;
        self.record.late = false;
        self.record.unshown.new = UidSet::new();
        self.live.new = None;
        self.held.new.clear();
        self.unmatched = UidSet::new();
        self.record.shown_late.new = UidSet::new();
        self.mod_seqs.forget(Side::New);
    }

    /// New's mailbox was put back from a backup: what it lacks now is old's alone again, or gone,
    /// and what gets its UIDs from now on is something else.
    pub(super) fn put_back(&mut self, report: &Report<'_>) {
        let lost = self.map.side_uids(Side::New).subtract(report.announced);
        self.without_new(&lost);
        let uid_next = report.snapshot.uid_next;
        self.record.unshown.new.remove_range(uid_next, SideUid(u32::MAX));
        self.record.matching = self.record.matching.map(|below| below.min(uid_next));
        self.held.new.retain(|uid, _| report.announced.contains(*uid));
        self.unmatched = self.unmatched.intersect(report.announced);
        self.record.shown_late.new = self.record.shown_late.new.intersect(report.announced);
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
