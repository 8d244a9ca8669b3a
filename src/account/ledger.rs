//! The ledger of intents: what makes a copy happen exactly once, whatever crashes when (V5).
//!
//! An intent is durable before its APPEND is sent, and goes in the same batch in which the
//! message's place changes. One that is found open later says: look on new before appending again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::mailbox::{Mailbox, lock, now};
use super::{AccountError, Merged};
use crate::base::{Phase, Side};
use crate::config::Mirror;
use crate::index::{AccountId, Batch, Direction, Intent, MailboxId, SecondCopy, Stuck};
use crate::uid::{Place, SideUid, Uid, UidSet};

/// A copy that turns up so many seconds after its intent was given up is still recognised, and so is a second
/// copy of what was delivered to both sides.
pub(super) const REMEMBER: u64 = 24 * 3600;

/// A message that is stuck is tried once in so many seconds at least.
const LONGEST_RETRY: u64 = 24 * 3600;

/// A copy that is proved to be on the side where it was to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Whose.
    pub uid: Uid,
    /// Its UID there.
    pub copy: SideUid,
    /// What another copy would be told by that may be delivered there.
    pub second: Option<SecondCopy>,
}

/// The mailboxes of an account in which something waits to be decided: copies whose fate is not
/// known, arrivals that may be copies. Whoever decides is woken by a new one.
#[derive(Default)]
pub struct Undecided {
    mailboxes: Mutex<HashMap<MailboxId, Weak<Mailbox>>>,
    owing: Mutex<HashMap<MailboxId, Arc<Mailbox>>>,
    /// What old is told of.
    pub mirror: Mirror,
    /// Somebody shall look.
    pub wake: Notify,
}

impl Undecided {
    /// Nothing yet, of an account of which old is told so much.
    pub(super) fn mirroring(mirror: Mirror) -> Undecided {
        Undecided { mirror, ..Undecided::default() }
    }

    /// Something in this mailbox may have to be decided.
    pub fn note(&self, mailbox: &Arc<Mailbox>) {
        lock(&self.mailboxes).insert(mailbox.id(), Arc::downgrade(mailbox));
        self.wake.notify_one();
    }

    /// The mailboxes to look at. Each is to be noted again if something stays undecided.
    pub fn take(&self) -> Vec<Arc<Mailbox>> {
        let noted = std::mem::take(&mut *lock(&self.mailboxes));
        noted.into_values().filter_map(|mailbox| mailbox.upgrade()).collect()
    }

    /// Puts a mailbox back in which something stays undecided, without waking anybody.
    pub fn put_back(&self, mailbox: &Arc<Mailbox>) {
        lock(&self.mailboxes).insert(mailbox.id(), Arc::downgrade(mailbox));
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        lock(&self.mailboxes).is_empty()
    }

    /// This mailbox owes something to old. Nobody need keep it open until that is told.
    pub fn note_owing(&self, mailbox: &Arc<Mailbox>) {
        if self.mirror != Mirror::None {
            lock(&self.owing).insert(mailbox.id(), Arc::clone(mailbox));
            self.wake.notify_one();
        }
    }

    /// The mailboxes that owe something. Each is to be noted again if it does still.
    pub fn take_owing(&self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut *lock(&self.owing)).into_values().collect()
    }

    /// Puts a mailbox back that still owes something, without waking anybody.
    pub fn put_back_owing(&self, mailbox: &Arc<Mailbox>) {
        lock(&self.owing).insert(mailbox.id(), Arc::clone(mailbox));
    }

    /// Whether any mailbox owes something to old.
    pub fn owes(&self) -> bool {
        !lock(&self.owing).is_empty()
    }
}

impl Mailbox {
    /// Has it looked into whatever is undecided here, as an earlier life of the proxy may have left
    /// it.
    pub fn look_into(self: &Arc<Self>) {
        let undecided = |m: &Merged, side| {
            !m.intents[side].is_empty()
                || !m.held[side].is_empty()
                || !m.second_copies[side].is_empty()
        };
        let any = |m: &Merged| Side::BOTH.into_iter().any(|side| undecided(m, side));
        if self.peek(|m| any(m) || !m.stuck.is_empty() || m.removes_twins()) {
            self.undecided.note(self);
        }
        self.look_for_debts();
    }

    /// Has old told of what it is owed, as far as the mirror is to.
    pub fn look_for_debts(self: &Arc<Self>) {
        let owes = |m: &Merged| match self.undecided.mirror {
            Mirror::None => false,
            Mirror::Flags => !m.owed.flags.is_empty(),
            Mirror::All => {
                let alone = |run: crate::uid::Run| alone(run.place, Side::Old).is_some();
                !m.owed.is_told() || m.map.runs().any(alone)
            }
        };
        if self.peek(|m| m.phase == Phase::Merged && owes(m)) {
            self.undecided.note_owing(self);
        }
    }

    /// The UID of a message's only copy, if it is not on `to`.
    pub fn to_be_copied(&self, uid: Uid, to: Side) -> Option<SideUid> {
        self.peek(|m| alone(m.map.place(uid)?, to))
    }

    /// Those of these messages over which old alone decides.
    pub fn on_old_alone(&self, uids: &UidSet<Uid>) -> UidSet<Uid> {
        self.peek(|m| {
            let runs = m.on_authority(Side::Old, uids);
            UidSet::from_ranges(runs.map(|run| (run.uid, Uid(run.uid.0 + (run.len - 1)))))
        })
    }

    /// All messages that do not lie on `to`.
    pub fn missing_on(&self, to: Side) -> Vec<(Uid, SideUid)> {
        self.peek(|m| {
            let runs = m.map.runs().filter_map(|run| Some((run, alone(run.place, to)?)));
            let all = runs.flat_map(|(run, first)| {
                (0..run.len).map(move |n| (Uid(run.uid.0 + n), SideUid(first.0 + n)))
            });
            all.collect()
        })
    }

    /// Writes intents for copies to a side, durably. Returns those messages that may be appended now:
    /// still not there, and without an open intent whose fate is unknown.
    pub async fn begin_copies(
        self: &Arc<Self>,
        to: Side,
        copies: Vec<(Uid, Intent)>,
    ) -> Result<Vec<Uid>, AccountError> {
        self.room()?;
        let (account, id) = (self.account, self.id);
        self.change(|merged, batch| {
            let mut begun = Vec::new();
            for (uid, mut intent) in copies {
                let missing = merged.map.place(uid).is_some_and(|place| alone(place, to).is_some());
                let open = match merged.intents[to].get(&uid) {
                    // What the earlier APPEND left may still turn up, while this one is under way
                    // and after it: it is looked for from where that one began.
                    Some(earlier) if earlier.closed => {
                        intent.again = true;
                        intent.new_uid_next = intent.new_uid_next.min(earlier.new_uid_next);
                        false
                    }
                    open => open.is_some(),
                };
                if missing && !open {
                    batch.put_intent(account, id, uid, direction(to), &intent);
                    merged.intents[to].insert(uid, intent);
                    begun.push(uid);
                }
            }
            Ok((begun, false))
        })
        .await
    }

    /// Settles copies: place and intent change in one batch. Returns those whose message is not
    /// alone on the other side any more: their copy has no place in the view. The caller removes it, and
    /// only then gives up its intent ([`abandon_copies`](Self::abandon_copies)), which meanwhile
    /// tells what the copy is.
    pub async fn commit_copies(
        self: &Arc<Self>,
        to: Side,
        copies: Vec<Copied>,
    ) -> Result<Vec<Copied>, AccountError> {
        let (account, id) = (self.account, self.id);
        let settled = self.change(|merged, batch| {
            let mut refused = Vec::new();
            let mut changed = false;
            for copy in copies {
                changed = true;
                if merged.copied(copy.uid, to, copy.copy, now())? {
                    if merged.stuck.remove(&copy.uid).is_some() {
                        batch.del_stuck(account, id, copy.uid);
                    }
                    settle(merged, batch, (account, id), (to, copy.uid), false);
                    if let Some(second) = copy.second {
                        // In phase new it has come into sight with another UID.
                        let uid = merged.map.uid_of(to, copy.copy).unwrap_or(copy.uid);
                        self.expect_second_copy(merged, batch, to, uid, second);
                    }
                } else {
                    merged.hide_copy(to, copy.copy);
                    refused.push(copy);
                }
            }
            changed |= merged.release(now())?;
            Ok((refused, changed))
        });
        let refused = settled.await?;
        self.go_on_matching();
        Ok(refused)
    }

    /// Gives intents up: nothing of them is on `to`. With `doubtful`, a copy may still turn up.
    pub async fn abandon_copies(
        self: &Arc<Self>,
        to: Side,
        uids: Vec<Uid>,
        doubtful: bool,
    ) -> Result<(), AccountError> {
        let (account, id) = (self.account, self.id);
        self.change(|merged, batch| {
            for uid in uids {
                settle(merged, batch, (account, id), (to, uid), doubtful);
            }
            let released = merged.release(now())?;
            Ok(((), released))
        })
        .await?;
        self.go_on_matching();
        Ok(())
    }

    /// Decides over an arrival that was held back: no copy of ours, so it is shown.
    pub async fn show_held(self: &Arc<Self>, side: Side, uid: SideUid) -> Result<(), AccountError> {
        self.change(|merged, _| Ok(((), merged.show_held(side, uid, now())?))).await?;
        self.go_on_matching();
        Ok(())
    }

    /// Decides over an arrival that was held back: a copy of ours that has no place in the view. False if it is
    /// not held any more.
    pub async fn hide_held(
        self: &Arc<Self>,
        side: Side,
        uid: SideUid,
    ) -> Result<bool, AccountError> {
        self.change(|merged, _| {
            let held = merged.held[side].contains_key(&uid);
            if held {
                merged.hide_copy(side, uid);
            }
            Ok((held, held))
        })
        .await
    }

    /// Decides over copies that have no place in the view: they are not shown.
    pub async fn hide_copies(
        self: &Arc<Self>,
        side: Side,
        copies: &UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        self.change(|merged, _| {
            for copy in copies.iter() {
                merged.hide_copy(side, copy);
            }
            Ok(((), !copies.is_empty()))
        })
        .await
    }

    /// Forgets closed intents, and second copies, whose time is over.
    pub async fn forget_old_intents(self: &Arc<Self>) -> Result<(), AccountError> {
        self.forget_old_second_copies().await?;
        let (account, id) = (self.account, self.id);
        let over = |i: &Intent| i.closed && now().saturating_sub(i.written_at) > REMEMBER;
        if !self.peek(|m| m.intents.iter().any(|(_, all)| all.values().any(over))) {
            return Ok(());
        }
        self.change(|merged, batch| {
            for to in Side::BOTH {
                merged.intents[to].retain(|uid, intent| {
                    if over(intent) {
                        batch.del_intent(account, id, *uid, direction(to));
                    }
                    !over(intent)
                });
            }
            let released = merged.release(now())?;
            Ok(((), released))
        })
        .await?;
        self.go_on_matching();
        Ok(())
    }

    /// Notes why a message could not be carried to a side, in the server's own words. It is tried again
    /// after `pause`, doubled for each time before.
    pub async fn note_stuck(
        self: &Arc<Self>,
        to: Side,
        uid: Uid,
        reason: String,
        pause: Duration,
    ) -> Result<(), AccountError> {
        let (account, id) = (self.account, self.id);
        self.change(|merged, batch| {
            let before = merged.stuck.get(&uid).map_or(0, |stuck| stuck.tries);
            let pause = pause.as_secs().max(1).saturating_mul(1 << before.min(30));
            let next_try = now() + pause.min(LONGEST_RETRY);
            let stuck = Stuck { reason, tries: before.saturating_add(1), next_try };
            batch.put_stuck(account, id, uid, &stuck);
            merged.stuck.insert(uid, stuck);
            settle(merged, batch, (account, id), (to, uid), false);
            let released = merged.release(now())?;
            Ok(((), released))
        })
        .await?;
        self.go_on_matching();
        Ok(())
    }

    /// Messages that could not be carried to new yet, and when to try each again, in Unix seconds.
    pub fn stuck(&self) -> Vec<(Uid, u64)> {
        let old = |m: &Merged, uid| matches!(m.map.place(uid), Some(Place::Old(_)));
        self.peek(|m| {
            let waiting = m.stuck.iter().filter(|(uid, _)| old(m, **uid));
            waiting.map(|(uid, stuck)| (*uid, stuck.next_try)).collect()
        })
    }

    /// Whether a message could not be carried over, and it is too early to try again.
    pub fn is_stuck(&self, uid: Uid) -> bool {
        self.peek(|m| m.stuck.get(&uid).is_some_and(|stuck| stuck.next_try > now()))
    }

    /// All intents of copies to a side, open and closed.
    pub fn intents(&self, to: Side) -> BTreeMap<Uid, Intent> {
        self.peek(|m| m.intents[to].clone())
    }

    /// Arrivals on a side that are held back.
    pub fn held(&self, side: Side) -> Vec<SideUid> {
        self.peek(|m| m.held[side].keys().copied().collect())
    }
}

/// Where a message lies that does not lie on `to`.
fn alone(place: Place, to: Side) -> Option<SideUid> {
    if place.on(to).is_some() { None } else { place.on(to.other()) }
}

/// As the index calls copies to a side.
pub(super) fn direction(to: Side) -> Direction {
    match to {
        Side::Old => Direction::ToOld,
        Side::New => Direction::ToNew,
    }
}

fn settle(
    merged: &mut Merged,
    batch: &mut Batch,
    (account, id): (AccountId, MailboxId),
    (to, uid): (Side, Uid),
    doubtful: bool,
) {
    let Some(intent) = merged.intents[to].get_mut(&uid) else { return };
    if doubtful || intent.closed || intent.again {
        intent.closed = true;
        batch.put_intent(account, id, uid, direction(to), intent);
    } else {
        merged.intents[to].remove(&uid);
        batch.del_intent(account, id, uid, direction(to));
    }
}
