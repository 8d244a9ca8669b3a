//! One mailbox made of two: the pure part of absorbing.
//!
//! [`Merged`] is the mailbox's record and map together with what is believed of each side. Its
//! methods take what a side reported and change both, without I/O and without a clock. Whoever
//! calls them makes the result durable before any client hears of it (V2).

mod matching;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::modseq::ModSeqs;
use crate::backend::Incarnation;
use crate::base::MailboxName;
use crate::base::{Phase, Side, Sides};
use crate::index::{Intent, MailboxRecord, Owed, SecondCopy, Snapshot, Stuck};
use crate::uid::{MapError, Place, Run, SideUid, Uid, UidMap, UidSet};

/// Why a side's report was not believed. The side is treated as away: nothing is removed, nothing
/// is shown twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Distrust {
    /// Another UIDVALIDITY than the links were made with.
    #[error(
        "UIDVALIDITY on {side} changed from {was} to {is}: its messages cannot be told apart from \
         those already known"
    )]
    Validity {
        /// Which side.
        side: Side,
        /// As last absorbed.
        was: u32,
        /// As reported.
        is: u32,
    },
    /// UIDNEXT fell: a restored backup, most likely.
    #[error("UIDNEXT on {side} fell from {was} to {is}: was a backup restored?")]
    WentBack {
        /// Which side.
        side: Side,
        /// As last absorbed.
        was: SideUid,
        /// As reported.
        is: SideUid,
    },
    /// Told over a connection that knows the mailbox as it was before it became another one.
    #[error("the mailbox on {side} has become another one")]
    Stale {
        /// Which side.
        side: Side,
    },
    /// The mailbox has no UIDs left.
    #[error("the mailbox has used up its UIDs")]
    Exhausted,
}

impl From<MapError> for Distrust {
    fn from(_: MapError) -> Self {
        Distrust::Exhausted
    }
}

/// What one connection reported of one side.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The four numbers.
    pub snapshot: Snapshot,
    /// What was known before the connection selected the mailbox: the report is newer than that,
    /// but it may be older than what other connections have told since.
    pub before: Option<Snapshot>,
    /// All that the connection has announced.
    pub announced: &'a UidSet<SideUid>,
    /// Whether `announced` is a complete listing made just now: then what is absent is gone.
    pub complete: bool,
    /// What the server said is gone.
    pub vanished: &'a UidSet<SideUid>,
    /// Arrivals that may be copies of ours still in flight.
    pub hold: &'a BTreeMap<SideUid, Likeness>,
    /// Which mailbox of this name the connection had been told of before it selected it.
    pub incarnation: Incarnation,
    /// Whether what lies on both sides at the first sight of new is to be matched.
    pub matching: bool,
}

/// What an arrival has in common with a copy that is on its way: either is enough to wait for it,
/// for some servers keep no date, and some report a wrong size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Likeness {
    /// INTERNALDATE, in seconds since 1970.
    pub date: Option<i64>,
    /// RFC822.SIZE.
    pub size: Option<u64>,
}

impl Likeness {
    /// Whether the arrival could be the copy that an intent is about.
    pub fn fits(&self, intent: &Intent) -> bool {
        self.size == Some(intent.octets) || (self.date.is_some() && self.date == date_of(intent))
    }
}

/// A mailbox's record and map, and what is believed of its sides.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Names, UIDVALIDITY, UIDNEXT, snapshots.
    pub record: MailboxRecord,
    /// For every visible message its virtual UID and its place.
    pub map: UidMap,
    /// What lies on each side, hidden messages included; `None` before the first listing.
    ///
    /// Invariant: of what lies below the side's UIDNEXT nothing is missing here. It may still hold
    /// what is gone; then the number of messages differs from the server's, and it is not used.
    pub live: Sides<Option<UidSet<SideUid>>>,
    /// Arrivals on each side that wait until it is known whether they are copies of ours.
    pub held: Sides<BTreeMap<SideUid, Likeness>>,
    /// Messages on new that wait to be matched with those of old.
    ///
    /// Invariant: empty unless `record.matching` is set; none of them is mapped.
    pub unmatched: UidSet<SideUid>,
    /// Those of them that came while the first matching was under way: they do not wait for its end.
    pub came: UidSet<SideUid>,
    /// Whether what comes to both sides is to be found out, as the last report said.
    pub matches: bool,
    /// Arrivals on old that wait to be compared with what lies on new alone.
    ///
    /// Invariant: none of them is mapped, and old's watermark does not pass them.
    pub waiting: UidSet<SideUid>,
    /// Old's watermark when nothing waits any more.
    pub waited: Option<SideUid>,
    /// Old's mailbox has become another one: what waits is compared with all that lies on new alone.
    pub relinking: bool,
    /// Copies to each side that were begun, by virtual UID; closed ones too, for a day.
    pub intents: Sides<BTreeMap<Uid, Intent>>,
    /// Second copies that may come to each side, by the UID of the message.
    pub second_copies: Sides<BTreeMap<Uid, SecondCopy>>,
    /// Messages that could not be copied.
    pub stuck: BTreeMap<Uid, Stuck>,
    /// What the other side has yet to be told of.
    pub owed: Owed,
    /// Whether more is owed than is on its way into the index.
    pub owes_more: bool,
    /// The virtual MODSEQ.
    pub mod_seqs: ModSeqs,
    /// Rises when a side's mailbox turns out to have become another one.
    pub incarnations: Sides<Incarnation>,
    /// The account's phase: which side decides over what lies on both. The map is the same in every
    /// phase; what of it is shown is not.
    pub phase: Phase,
    /// When that phase began, in Unix seconds; 0 if the account was never put into one.
    pub phase_since: u64,
}

impl Merged {
    /// A mailbox as the index remembers it.
    pub fn new(
        record: MailboxRecord,
        map: UidMap,
        intents: Sides<BTreeMap<Uid, Intent>>,
        phase: Phase,
    ) -> Merged {
        let live = Sides::from_fn(|side| {
            // Without hidden messages the map itself says what lies there.
            let mapped = map.side_uids(side);
            let snapshot = record.sides[side].as_ref()?;
            (snapshot.messages == mapped.len()).then_some(mapped)
        });
        let mod_seqs = ModSeqs::of(&record);
        Merged {
            record,
            map,
            live,
            held: Sides::default(),
            unmatched: UidSet::new(),
            came: UidSet::new(),
            matches: false,
            waiting: UidSet::new(),
            waited: None,
            relinking: false,
            intents,
            second_copies: Sides::default(),
            stuck: BTreeMap::new(),
            owed: Owed::default(),
            owes_more: false,
            mod_seqs,
            incarnations: Sides::default(),
            phase,
            phase_since: 0,
        }
    }

    /// The side that decides over a message in this phase.
    pub fn authority(&self, place: Place) -> Side {
        match (self.phase, place) {
            (Phase::Old, Place::Both { .. }) => Side::Old,
            _ => place.authority(),
        }
    }

    /// What clients see of the map: in phases other than merged, only what lies on the one side.
    pub fn shown(&self) -> UidMap {
        match self.phase {
            Phase::Old => self.map.on_side(Side::Old),
            Phase::Merged => self.map.clone(),
            Phase::New => self.map.on_side(Side::New),
        }
    }

    /// Whether the mailbox exists on a side and can be selected there, as its last listing told.
    pub fn is_there(&self, side: Side) -> bool {
        !self.record.hidden && self.record.listed[side].is_some_and(|listed| listed.selectable)
    }

    /// Gives messages that another phase will show, and this one does not, UIDs above all others.
    /// Returns whether there are any.
    pub fn renumber_for(&mut self, phase: Phase, now: u64) -> Result<bool, Distrust> {
        let shown = |phase: Phase, place: Place| {
            Side::BOTH.into_iter().any(|side| phase.has(side) && place.on(side).is_some())
        };
        let appears = |run: &Run| shown(phase, run.place) && !shown(self.phase, run.place);
        let appearing: Vec<Run> = self.map.runs().filter(appears).collect();
        let last = |run: &Run| Uid(run.uid.0 + (run.len - 1));
        self.map.remove(&UidSet::from_ranges(appearing.iter().map(|run| (run.uid, last(run)))));
        for run in &appearing {
            let side = run.place.authority();
            if let Some(first) = run.place.on(side) {
                self.arrive(side, first, SideUid(first.0 + (run.len - 1)), now)?;
            }
        }
        Ok(!appearing.is_empty())
    }

    /// From now on another side may decide, and clients see what the phase shows.
    pub fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            // What was not carried, or came since, has its second copies where nobody sees both.
            match phase {
                Phase::Old => self.note_late(Side::New, &self.new_alone()),
                Phase::New => self.note_late(Side::Old, &self.unpaired()),
                Phase::Merged => {}
            }
            for side in Side::BOTH {
                // Whoever decides now was not asked for what changed before.
                self.mod_seqs.ask_from_the_beginning(side);
            }
        }
    }

    /// Its name on a side, if it exists there.
    pub fn name_on(&self, side: Side) -> Option<MailboxName> {
        let name = match side {
            Side::Old => &self.record.old,
            Side::New => &self.record.new,
        };
        name.clone().filter(|_| self.is_there(side))
    }

    /// Arrivals in a report: at or above the watermark, neither mapped, nor held, nor hidden.
    pub fn arrivals(&self, side: Side, announced: &UidSet<SideUid>) -> UidSet<SideUid> {
        let watermark = self.record.sides[side].as_ref().map_or(SideUid(1), |s| s.uid_next);
        let found = announced.range_from(watermark);
        if found.is_empty() {
            return found;
        }
        let found = found
            .subtract(&self.map.side_uids(side).range_from(watermark))
            .subtract(&self.held[side].keys().copied().collect())
            .subtract(&self.record.unshown[side]);
        match side {
            Side::Old => found.subtract(&self.waiting),
            Side::New => found.subtract(&self.unmatched),
        }
    }

    /// Takes a report into the map. Returns whether anything changed.
    pub fn see(&mut self, side: Side, report: &Report<'_>, now: u64) -> Result<bool, Distrust> {
        if report.incarnation != self.incarnations[side] {
            return Err(Distrust::Stale { side });
        }
        self.matches = report.matching;
        self.check_identity(side, report)?;
        let first_sight = self.record.sides[side].is_none();
        let mut changed = first_sight;
        if first_sight && side == Side::Old && self.record.uid_validity == 0 {
            self.record.uid_validity = report.snapshot.uid_validity;
        }
        if side == Side::New && first_sight {
            self.begin_matching(report);
        }

        let mut gone = report.vanished.clone();
        if report.complete {
            let known = self.map.side_uids(side);
            let absent = known.subtract(report.announced);
            // Beyond the listing's own UIDNEXT it proves nothing: it may lag behind an APPEND.
            let unproved = absent.range_from(report.snapshot.uid_next);
            gone = gone.union(&absent.subtract(&unproved));
        }
        changed |= self.vanish(side, &gone);

        let arrived = self.arrivals(side, report.announced);
        let held: UidSet<SideUid> = report.hold.keys().copied().collect();
        let keep = side == Side::Old && (first_sight || self.record.restored.old);
        let mut shown = arrived.subtract(&held);
        match side {
            Side::New => shown = self.keep_unmatched(shown, report),
            Side::Old if keep => {}
            Side::Old => shown = self.keep_waiting(shown, report),
        }
        for (first, last) in shown.ranges() {
            if keep && self.keep_old_uids(first, last)? {
                changed = true;
                continue;
            }
            self.arrive(side, first, last, now)?;
            changed = true;
        }
        self.note_uncompared(side, &shown);
        let waiting = arrived.intersect(&held);
        for (uid, likeness) in report.hold {
            if waiting.contains(*uid) {
                self.held[side].insert(*uid, *likeness);
            }
        }
        self.note_side(side, report, &gone, &mut changed);
        let decided = side == Side::Old || !self.is_matching();
        if report.complete && decided && std::mem::take(&mut self.record.restored[side]) {
            changed = true;
        }
        Ok(changed)
    }

    /// Whether this is the mailbox that it was, as far as numbers tell. One that is not is taken for
    /// what it is, where what lies there can be compared; else it is not believed.
    fn check_identity(&mut self, side: Side, report: &Report<'_>) -> Result<(), Distrust> {
        let Some(before) = self.record.sides[side] else { return Ok(()) };
        // Only a whole listing says what there is instead; a folder that is old's alone is seen anew.
        let taken = report.complete && report.matching && self.record.new.is_some();
        if before.uid_validity != report.snapshot.uid_validity {
            if taken {
                match side {
                    Side::Old => self.old_made_anew(report),
                    Side::New => self.made_anew(),
                }
                return Ok(());
            }
            let (was, is) = (before.uid_validity, report.snapshot.uid_validity);
            return Err(Distrust::Validity { side, was, is });
        }
        if let Some(was) = report.before.filter(|_| report.complete)
            && report.snapshot.uid_next < was.uid_next
        {
            // A lagging connection may not know of what another one was told; only numbers
            // that do not cover what is mapped say that the server went back, and that it has
            // fewer messages, or lacks one that its own numbers cover.
            let known = self.map.side_uids(side);
            let beyond = known.range_from(report.snapshot.uid_next);
            let lost = beyond.first().is_some_and(|uid| uid < was.uid_next);
            let fewer = report.snapshot.messages < was.messages
                || !known.subtract(&beyond).is_subset(report.announced);
            if lost && fewer {
                if taken {
                    match side {
                        Side::Old => self.old_put_back(report),
                        Side::New => self.put_back(report),
                    }
                    return Ok(());
                }
                let (was, is) = (was.uid_next, report.snapshot.uid_next);
                return Err(Distrust::WentBack { side, was, is });
            }
        }
        Ok(())
    }

    fn note_side(
        &mut self,
        side: Side,
        report: &Report<'_>,
        gone: &UidSet<SideUid>,
        changed: &mut bool,
    ) {
        let live = match (&self.live[side], report.complete) {
            (Some(live), false) => live.union(report.announced).subtract(gone),
            // A listing may be older than what other connections have told of since: it never
            // takes away what it cannot know, or the numbers could agree by chance with a set that
            // is wrong, and the next SELECT would believe it.
            (live, _) => {
                let since = live.as_ref().map(|live| live.range_from(report.snapshot.uid_next));
                let since = since.unwrap_or_else(|| {
                    self.map.side_uids(side).range_from(report.snapshot.uid_next)
                });
                report.announced.union(&since)
            }
        };
        let before = self.record.sides[side];
        let mut uid_next =
            before.map_or(report.snapshot.uid_next, |b| b.uid_next.max(report.snapshot.uid_next));
        // The watermark never passes an arrival that is held back.
        let held = self.held[side].keys().next().copied();
        let waiting = match side {
            Side::Old => self.waiting.first(),
            Side::New => self.unmatched.first(),
        };
        uid_next = held.into_iter().chain(waiting).fold(uid_next, SideUid::min);
        let unshown = self.record.unshown[side].range_from(uid_next);
        *changed |= unshown != self.record.unshown[side];
        self.record.unshown[side] = unshown;
        let snapshot = Snapshot {
            uid_validity: report.snapshot.uid_validity,
            uid_next,
            messages: live.len(),
            // See `absorb_mod_seq`.
            highest_mod_seq: before.and_then(|before| before.highest_mod_seq),
        };
        if before != Some(snapshot) {
            self.record.sides[side] = Some(snapshot);
            *changed = true;
        }
        self.live[side] = Some(live);
        if side == Side::Old && self.record.boundary.is_none() {
            // While all arrivals came on old, old's UIDNEXT is the mailbox's.
            let next = Uid(uid_next.0);
            if next > self.record.uid_next {
                self.record.uid_next = next;
                *changed = true;
            }
        }
    }

    /// All that a side has told of up to its HIGHESTMODSEQ is taken into the map; see
    /// [`ModSeqs::absorb`]. An arrival that is held back is not: its change is told once more when
    /// it is shown. Nor is anything of new before it is matched: whoever was told a value until then
    /// is told all of what lies there.
    pub fn absorb_mod_seq(&mut self, side: Side, told: Option<u64>, before: Option<u64>) {
        let decided = self.held[side].is_empty()
            && match side {
                Side::Old => self.waiting.is_empty(),
                Side::New => !self.is_matching(),
            };
        if let Some(told) = told.filter(|_| decided) {
            self.mod_seqs.absorb(side, told, before);
        }
    }

    fn vanish(&mut self, side: Side, gone: &UidSet<SideUid>) -> bool {
        let (mut removed, mut moved, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut cursor = self.map.cursor();
        for uid in gone.iter() {
            self.held[side].remove(&uid);
            self.record.unshown[side].remove(uid);
            if side == Side::New {
                self.unmatched.remove(uid);
            } else {
                self.waiting.remove(uid);
            }
            let Some((virtual_uid, _)) = cursor.find(side, uid) else { continue };
            match (self.map.place(virtual_uid), side) {
                (Some(Place::Both { new, .. }), Side::Old) if self.phase != Phase::Old => {
                    moved.push((virtual_uid, Place::New(new)));
                }
                // Old decides, and whoever removed the copy did not remove the message.
                (Some(Place::Both { old, .. }), Side::New) if self.phase == Phase::Old => {
                    moved.push((virtual_uid, Place::Old(old)));
                }
                // Deleted on the authority, so it goes; an old copy stays there, hidden.
                (Some(place), _) => {
                    if let (Place::Both { new, .. }, Side::Old) = (place, side) {
                        // Old decided over it: new's copy is of no use any more.
                        self.owed.twins.insert(new);
                        self.owes_more = true;
                    }
                    removed.push(virtual_uid);
                    hidden.extend(place.on(side.other()));
                }
                (None, _) => {}
            }
        }
        // Below the watermark it is hidden because nothing maps it.
        let other = side.other();
        let mark = self.record.sides[other].map(|seen| seen.uid_next);
        for copy in hidden.into_iter().filter(|copy| mark.is_none_or(|mark| *copy >= mark)) {
            self.hide_copy(other, copy);
        }
        let changed = !removed.is_empty() || !moved.is_empty();
        moved.sort_unstable_by_key(|(uid, _)| *uid);
        self.map.set_places(moved);
        self.map.remove(&removed.into_iter().collect());
        changed
    }

    /// At first sight messages of old keep their UIDs as far as these are below the boundary, also
    /// where an index that was lost is rebuilt or put back from a snapshot (V8). False where they have to follow upwards.
    fn keep_old_uids(&mut self, first: SideUid, last: SideUid) -> Result<bool, Distrust> {
        let below = self.record.boundary.is_none_or(|boundary| last.0 < boundary.0);
        if !below || self.map.last_uid().is_some_and(|top| top.0 >= first.0) {
            return Ok(false);
        }
        self.map.push(Uid(first.0), last.0 - first.0 + 1, Place::Old(first))?;
        let next = Uid(last.0.checked_add(1).ok_or(Distrust::Exhausted)?);
        self.record.uid_next = self.record.uid_next.max(next);
        self.record.skipped_from = self.record.skipped_from.map(|from| from.max(next));
        Ok(true)
    }

    /// Gives arrivals `first..=last` of one side their virtual UIDs. Returns the first one's.
    pub fn arrive(
        &mut self,
        side: Side,
        first: SideUid,
        last: SideUid,
        now: u64,
    ) -> Result<Uid, Distrust> {
        let len = last.0 - first.0 + 1;
        let uid = match (side, self.record.boundary) {
            (Side::Old, None) if first.0 >= self.record.uid_next.0 => Uid(first.0),
            // New's UIDs are not old's; nor can old's own be kept once a later one was told of.
            (_, None) => {
                let alone = side == Side::New && self.record.sides.old.is_none();
                let boundary = if alone && self.map.is_empty() {
                    // Nobody else numbers this mailbox: keep new's UIDs as they are.
                    Uid(first.0.max(self.record.uid_next.0))
                } else {
                    self.record.uid_next.max(Uid::of_time(now))
                };
                self.record.skipped_from = Some(self.record.uid_next);
                self.record.boundary = Some(boundary);
                boundary
            }
            _ => self.record.uid_next,
        };
        let next = uid.0.checked_add(len).ok_or(Distrust::Exhausted)?;
        // What follows comes after this one.
        self.record.restored.old = false;
        let place = match side {
            Side::Old => Place::Old(first),
            Side::New => Place::New(first),
        };
        self.map.push(uid, len, place)?;
        self.record.uid_next = Uid(next);
        Ok(uid)
    }

    /// Makes sure that one message of a side is mapped, as its APPENDUID or COPYUID told.
    pub fn claim(&mut self, side: Side, uid: SideUid, now: u64) -> Result<Uid, Distrust> {
        self.decided(side, uid);
        let claimed = match self.map.uid_of(side, uid) {
            Some(known) => known,
            None => self.arrive(side, uid, uid, now)?,
        };
        self.add_live(side, uid);
        Ok(claimed)
    }

    fn add_live(&mut self, side: Side, uid: SideUid) {
        let Some(snapshot) = &mut self.record.sides[side] else { return };
        if let Some(live) = &mut self.live[side] {
            live.insert(uid);
            snapshot.messages = live.len();
        }
        // Only the very next UID: what lies between may be an arrival nobody has told of.
        if snapshot.uid_next == uid
            && let Some(next) = uid.0.checked_add(1)
        {
            snapshot.uid_next = SideUid(next);
        }
    }

    /// A copy on `to` has been proved: the message lies on both sides from now on. False if it does
    /// not lie on the other side alone any more; then the copy has no place in the view.
    ///
    /// A copy that was taken for mail of its own meanwhile is the message's from now on. In phase new the
    /// message comes into sight by it, with a UID above all that were told (V2).
    pub fn copied(
        &mut self,
        uid: Uid,
        to: Side,
        copy: SideUid,
        now: u64,
    ) -> Result<bool, Distrust> {
        let place = match (self.map.place(uid), to) {
            (Some(Place::Old(old)), Side::New) => Place::Both { old, new: copy },
            (Some(Place::New(new)), Side::Old) => Place::Both { old: copy, new },
            // It was matched with its copy before the copy was told of.
            (Some(known @ Place::Both { .. }), _) if known.on(to) == Some(copy) => return Ok(true),
            _ => return Ok(false),
        };
        self.decided(to, copy);
        if let Some(twin) = self.map.uid_of(to, copy) {
            if self.map.place(twin).is_some_and(|twin| twin.on(to.other()).is_some()) {
                return Ok(false);
            }
            self.map.remove(&[twin].into_iter().collect());
        }
        let mut uid = uid;
        if self.phase == Phase::New && to == Side::New {
            self.map.remove(&[uid].into_iter().collect());
            uid = self.arrive(to, copy, copy, now)?;
        }
        let done = self.map.set_place(uid, place);
        self.add_live(to, copy);
        Ok(done)
    }

    /// A message of a side that shall not be seen: a copy that turned up late and is removed, or one
    /// whose message is gone.
    pub fn hide_copy(&mut self, side: Side, copy: SideUid) {
        self.decided(side, copy);
        self.record.unshown[side].insert(copy);
        self.add_live(side, copy);
    }

    /// Takes an arrival that was held back for mail. Returns whether it was still held.
    pub fn show_held(&mut self, side: Side, uid: SideUid, now: u64) -> Result<bool, Distrust> {
        let held = self.held[side].contains_key(&uid);
        self.decided_as_mail(side, uid, now)?;
        Ok(held)
    }

    fn decided(&mut self, side: Side, uid: SideUid) {
        self.held[side].remove(&uid);
        match side {
            Side::Old => self.waiting.remove(uid),
            Side::New => self.unmatched.remove(uid),
        };
    }

    /// Shows what was held back for copies that are decided by now. Returns whether anything was.
    pub fn release(&mut self, now: u64) -> Result<bool, Distrust> {
        let mut released = false;
        for side in Side::BOTH {
            let intents = &self.intents[side];
            let waiting = |held: &Likeness| intents.values().any(|intent| held.fits(intent));
            let held = self.held[side].iter().filter(|(_, held)| !waiting(held));
            for uid in held.map(|(uid, _)| *uid).collect::<Vec<SideUid>>() {
                self.decided_as_mail(side, uid, now)?;
                released = true;
            }
        }
        Ok(released)
    }

    /// Removes messages that the authority has expunged.
    pub fn expunged(&mut self, side: Side, gone: &UidSet<SideUid>) -> bool {
        let changed = self.vanish(side, gone);
        if let Some(live) = &mut self.live[side] {
            *live = live.subtract(gone);
            if let Some(snapshot) = &mut self.record.sides[side] {
                snapshot.messages = live.len();
            }
        }
        changed
    }

    /// The places of some messages that lie where `side` decides, as runs.
    pub fn on_authority<'a>(
        &'a self,
        side: Side,
        uids: &'a UidSet<Uid>,
    ) -> impl Iterator<Item = Run> + 'a {
        self.map.intersect(uids).filter(move |run| run.place.authority() == side)
    }
}

/// The instant of an intent's INTERNALDATE.
fn date_of(intent: &Intent) -> Option<i64> {
    crate::backend::internal_date(intent.internal_date.as_bytes())
}
