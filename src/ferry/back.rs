//! The way back to old: what lies on new alone is carried there, flags are brought up to date, and what
//! a client removed is removed (DESIGN §7, phase changes). It can be done again at any time, and goes on
//! where it broke off. What comes to old when an account has left it goes the other way by the same means.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::carry::{Carry, remove_copies};
use super::copier::{Copier, Job};
use crate::account::{Access, AccountError, Mailbox, Merged, expunge_without_uidplus, write_flags};
use crate::backend::text;
use crate::base::{Phase, Side, step};
use crate::uid::{SideUid, Uid, UidSet};

/// Messages carried back together.
const BATCH: usize = 32;
/// While the fate of a copy is not known.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Messages whose flags are compared at once.
const FLAGS: usize = 1_000;

/// A message that could not be carried, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// Its mailbox, as the client names it.
    pub mailbox: String,
    /// Its UID, as clients know it.
    pub uid: u32,
    /// The server's own words, or ours.
    pub why: String,
}

impl Copier {
    /// Carries to a side what lies on the other one alone, as far as it is to be. Returns what cannot be.
    pub(super) async fn carry_all(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Arc<Access>,
        to: Side,
        which: impl Fn(SideUid) -> bool,
    ) -> Result<Vec<Left>, AccountError> {
        if !mailbox.peek(|m| m.is_there(to.other())) {
            return Ok(Vec::new());
        }
        self.account.make_on(to, access, mailbox).await?;
        if to == Side::Old {
            step("way back: the mailbox is on old");
        }
        mailbox.absorb_both(access).await?;
        if to == Side::Old {
            mailbox.compare_hidden(access).await?;
        }
        let give_up = Instant::now() + self.config.copy.grace * 2;
        let mut tried = UidSet::new();
        loop {
            // What came to both sides is one message, and nothing to be carried. In phase new, arrivals are
            // not compared as they come; what comes during the comparison is carried after the next one.
            let known: UidSet<Uid> = mailbox.missing_on(to).iter().map(|(uid, _)| *uid).collect();
            if self.account.phase() == Phase::New {
                mailbox.compare_alone(access).await?;
            }
            let missing = mailbox.missing_on(to);
            let comparing = mailbox.peek(Merged::may_be_one);
            let mut undecided = comparing || mailbox.peek(|m| open(m, to));
            let missing: Vec<_> =
                missing.into_iter().filter(|(_, source)| which(*source)).collect();
            let untried = missing.iter().map(|(uid, _)| *uid).filter(|uid| !tried.contains(*uid));
            let untried = untried.filter(|_| !comparing);
            let (untried, later): (Vec<Uid>, Vec<Uid>) =
                untried.partition(|uid| known.contains(*uid));
            if untried.is_empty() && later.is_empty() && !undecided {
                return Ok(missing.into_iter().map(|(uid, _)| left(mailbox, uid)).collect());
            }
            for some in untried.chunks(BATCH) {
                let _turn = self.turn(mailbox).await?;
                let job = |uid: &Uid| Job { mailbox: Arc::clone(mailbox), uid: *uid, tee: None };
                let carry = Carry::over(self, mailbox, to, Arc::clone(access));
                let (carried, again) =
                    carry.run(some.iter().map(job).collect()).await.map_err(|(e, _)| e)?;
                if carried > 0 {
                    info!(mailbox = %mailbox.name(), messages = carried, "carried to {to}");
                }
                let again: UidSet<Uid> = again.iter().map(|job| job.uid).collect();
                undecided |= !again.is_empty();
                for uid in some.iter().filter(|uid| !again.contains(**uid)) {
                    tried.insert(*uid);
                }
            }
            if undecided {
                if mailbox.peek(Merged::may_be_one) {
                    mailbox.absorb_both(access).await?;
                }
                self.recover_on(mailbox, access, to).await?;
                if Instant::now() > give_up {
                    return Err(AccountError::Unmatched(mailbox.name()));
                }
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Gives what lies on both sides the flags that it has on `from`; of these messages, or of all.
    pub(super) async fn level_flags(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Access,
        from: Side,
        uids: Option<&UidSet<Uid>>,
    ) -> Result<(), AccountError> {
        // One of them may have lost the mailbox: renamed or deleted there, and not through the proxy.
        if !is_on_both(mailbox) {
            return Ok(());
        }
        let twins = mailbox.on_both(uids);
        for twins in twins.chunks(FLAGS) {
            let mut old = mailbox.lease(access, Side::Old).await?;
            let mut new = mailbox.lease(access, Side::New).await?;
            // Flags are compared as they are now, not as a connection knew them.
            mailbox.follow(&mut old).await?;
            mailbox.follow(&mut new).await?;
            match from {
                Side::Old => {
                    let pairs: Vec<_> = twins.iter().map(|(_, old, new)| (*old, *new)).collect();
                    write_flags(&mut old, &mut new, &pairs).await?;
                    mailbox.wrote_flags(&new);
                }
                Side::New => {
                    let pairs: Vec<_> = twins.iter().map(|(_, old, new)| (*new, *old)).collect();
                    write_flags(&mut new, &mut old, &pairs).await?;
                    mailbox.wrote_flags(&old);
                }
            }
            mailbox.give_back(old).await;
            mailbox.give_back(new).await;
            step("way back: flags are written");
        }
        Ok(())
    }

    /// Removes from old what a client removed while new decided over it, and nothing else (V6).
    pub(super) async fn remove_back(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Access,
    ) -> Result<(), AccountError> {
        {
            // Before any connection is borrowed, as by everybody who writes.
            let _alone = mailbox.alone().await;
            if !mailbox.owed().removing.is_empty() {
                let mut new = mailbox.lease(access, Side::New).await?;
                new.must("NOOP", &text("NOOP")).await?;
                mailbox.hear(&mut new).await?;
                new.give_back();
                mailbox.settle_removals().await?;
            }
        }
        let owed = mailbox.owed().removed;
        if owed.is_empty() || !mailbox.peek(|m| m.is_there(Side::Old)) {
            return Ok(());
        }
        remove_hidden(mailbox, access, Side::Old, &owed).await?;
        mailbox.told_removed(&owed).await?;
        step("way back: removals are settled");
        Ok(())
    }

    /// Removes from new the copies of what went from old while old decided over it.
    pub(super) async fn remove_twins(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Access,
    ) -> Result<(), AccountError> {
        let twins = mailbox.owed().twins;
        if twins.is_empty() || !mailbox.peek(|m| m.is_there(Side::New)) {
            return Ok(());
        }
        remove_hidden(mailbox, access, Side::New, &twins).await?;
        mailbox.told_twins(&twins).await
    }
}

/// Whether both sides list it.
pub(super) fn is_on_both(mailbox: &Mailbox) -> bool {
    mailbox.peek(|m| Side::BOTH.into_iter().all(|side| m.is_there(side)))
}

/// Removes copies from a side of which nobody sees any.
async fn remove_hidden(
    mailbox: &Arc<Mailbox>,
    access: &Access,
    side: Side,
    copies: &UidSet<SideUid>,
) -> Result<(), AccountError> {
    // Nobody marks anything meanwhile: without UIDPLUS, marks are lifted for a moment.
    let _alone = mailbox.alone().await;
    let mut conn = mailbox.lease(access, side).await?;
    // What another connection has told of this one may not know yet.
    mailbox.follow(&mut conn).await?;
    mailbox.hear(&mut conn).await?;
    let announced = conn.selected().map(|s| s.announced().clone()).unwrap_or_default();
    // What is mapped was not removed, whoever says so.
    let there = copies.intersect(&announced).subtract(&mailbox.peek(|m| m.map.side_uids(side)));
    for some in there.iter().collect::<Vec<SideUid>>().chunks(FLAGS) {
        let some = some.iter().copied().collect();
        remove_copies(&mut conn, &some).await?;
        if !conn.profile().uidplus()
            && let Some(refused) = expunge_without_uidplus(&mut conn, &some).await?
        {
            return Err(conn.answer("EXPUNGE", &refused).into());
        }
        step("way back: removed copies are removed");
    }
    mailbox.give_back(conn).await;
    if !there.is_empty() {
        info!(mailbox = %mailbox.name(), messages = there.len(), "removed from {side} as well");
    }
    Ok(())
}

/// Whether the fate of a copy to a side is not known.
fn open(merged: &Merged, to: Side) -> bool {
    let unsettled = merged.intents[to].values().any(|intent| !intent.closed);
    unsettled || !merged.held[to].is_empty()
}

fn left(mailbox: &Mailbox, uid: Uid) -> Left {
    let why = mailbox.peek(|m| m.stuck.get(&uid).map(|stuck| stuck.reason.clone()));
    Left {
        mailbox: mailbox.name().to_string(),
        uid: uid.0,
        why: why.unwrap_or_else(|| "it could not be read".to_owned()),
    }
}
