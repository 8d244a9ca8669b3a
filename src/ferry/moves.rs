//! Ends MOVEs that were a copy and a removal, and of which nobody knows the end (see `account::moves`): what is in
//! the target is taken from the source. A copy may come late, so it is looked for until a grace is over; what was never
//! copied stays where it is. What clients copy meanwhile is no sign of it, and what they decide over is decided.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::carry::remove_copies;
use super::copier::{Copier, lock};
use crate::account::{Access, AccountError, Mailbox, expunge_without_uidplus, likenesses};
use crate::backend::{Lease, text};
use crate::index::{Fate, Moving, MovingPlace};
use crate::uid::{SideUid, Uid, UidSet};

impl Copier {
    /// Ends what can be ended now.
    pub(super) async fn end_moves(&self) {
        if !self.account.is_unsure_of_moves() {
            return;
        }
        let Ok(_entered) = self.account.enter().await else { return };
        self.look_for_moves().await;
    }

    /// The same for a client that is about to copy or to move something, perhaps once more, and keeps the phase.
    /// It holds nothing else.
    pub async fn look_for_moves(&self) {
        let _one_at_a_time = self.ending_moves.lock().await;
        if !self.account.is_unsure_of_moves() {
            return;
        }
        let unsure = match self.account.unsure_moves().await {
            Ok(unsure) => unsure,
            Err(e) => {
                warn!("moves that were under way: {e}");
                return self.account.stay_unsure_of_moves();
            }
        };
        let access = self.access.load_full();
        let numbers: HashSet<u32> = unsure.iter().map(|(number, _)| *number).collect();
        lock(&self.unsure_moves).retain(|number, _| numbers.contains(number));
        for (number, moving) in unsure {
            let since = *lock(&self.unsure_moves).entry(number).or_insert_with(Instant::now);
            // Before the look: the copy may still be on its way.
            let last = since.elapsed() >= self.config.copy.grace;
            let ended = match self.end_move(&access, number, &moving).await {
                Ok(false) if !last => {
                    self.account.stay_unsure_of_moves();
                    continue;
                }
                // There is nothing left of one of the mailboxes.
                Ok(_) | Err(AccountError::NotThere { .. }) => self.account.end_move(number).await,
                Err(e) => Err(e),
            };
            if let Err(e) = ended {
                warn!("a move that was under way is not ended yet: {e}");
                self.account.stay_unsure_of_moves();
            }
        }
    }

    /// Takes from the source what is in the target. Returns whether nothing is left to wait for: of what is
    /// still in the source, the copy may come late.
    async fn end_move(
        &self,
        access: &Arc<Access>,
        number: u32,
        moving: &Moving,
    ) -> Result<bool, AccountError> {
        let source = self.account.mailbox_by_id(access, moving.from.mailbox).await?;
        let target = self.account.mailbox_by_id(access, moving.to.mailbox).await?;
        let (Some(source), Some(target)) = (source, target) else { return Ok(true) };
        let Some(mut from) = at(&source, access, &moving.from).await? else { return Ok(true) };
        let there = from.selected().map(|s| s.announced().intersect(&moving.uids));
        let sizes = sizes(&mut from, &there.unwrap_or_default()).await?;
        source.give_back(from).await;
        if sizes.is_empty() {
            return Ok(true);
        }
        let Some(mut to) = at(&target, access, &moving.to).await? else { return Ok(true) };
        let above = to.selected().map(|s| s.announced().range_from(moving.uid_next));
        let above = above.unwrap_or_default();
        let others = self.account.copied_by_others(moving.to.mailbox, moving.to.side);
        let mut copies: HashMap<[u8; 32], Vec<SideUid>> = HashMap::new();
        for (copy, like) in likenesses(&mut to, &above.subtract(&others)).await? {
            // Only these are read whole, look after look.
            if sizes.contains(&like.size)
                && let Some(hash) = self.hash_of(&mut to, copy).await?
            {
                copies.entry(hash).or_default().push(copy);
            }
        }
        target.give_back(to).await;
        if copies.is_empty() {
            debug!(from = %source.name(), to = %target.name(), "of a move that was under way no copy is there");
            return Ok(false);
        }
        // Nobody writes there meanwhile; before any connection is borrowed, as by everybody who writes.
        let _alone = source.alone().await;
        // A client may have done it meanwhile, or taken a copy away.
        let left = self.account.unsure_move(number).await?;
        let Some(to) = at(&target, access, &moving.to).await? else { return Ok(true) };
        let still = to.selected().map(|s| s.announced().clone()).unwrap_or_default();
        target.give_back(to).await;
        let others = self.account.copied_by_others(moving.to.mailbox, moving.to.side);
        for copies in copies.values_mut() {
            copies.retain(|copy| still.contains(*copy) && !others.contains(*copy));
        }
        let Some(mut from) = at(&source, access, &moving.from).await? else { return Ok(true) };
        let there = from.selected().map(|s| s.announced().intersect(&left));
        let there = there.unwrap_or_default();
        let mut copied: UidSet<SideUid> = UidSet::new();
        for uid in there.iter() {
            let hash = self.hash_of(&mut from, uid).await?;
            if hash.and_then(|hash| copies.get_mut(&hash)?.pop()).is_some() {
                copied.insert(uid);
            }
        }
        if !copied.is_empty() {
            let side = moving.from.side;
            let uids: UidSet<Uid> =
                copied.iter().filter_map(|uid| source.uid_of(side, uid)).collect();
            let noted = source.removing(&uids).await?;
            let fate = if moving.to.side == side { Fate::MovedAlone } else { Fate::Moved };
            source.note_second_copies(&mut from, &copied, false, fate).await?;
            remove_copies(&mut from, &copied).await?;
            if !from.profile().uidplus()
                && let Some(refused) = expunge_without_uidplus(&mut from, &copied).await?
            {
                return Err(from.answer("EXPUNGE", &refused).into());
            }
            source.hear(&mut from).await?;
            source.removed(&noted).await?;
            let (from, to) = (source.name(), target.name());
            info!(%from, %to, messages = copied.len(), "a move that was under way is ended");
        }
        source.give_back(from).await;
        Ok(there.is_subset(&copied))
    }
}

/// The sizes that these messages have; of some, none may be told.
async fn sizes(
    conn: &mut Lease,
    uids: &UidSet<SideUid>,
) -> Result<HashSet<Option<u64>>, AccountError> {
    Ok(likenesses(conn, uids).await?.into_iter().map(|(_, like)| like.size).collect())
}

/// A connection to a mailbox that knows what is there now; `None`: it has become another one.
async fn at(
    mailbox: &Arc<Mailbox>,
    access: &Access,
    place: &MovingPlace,
) -> Result<Option<Lease>, AccountError> {
    let mut lease = mailbox.lease(access, place.side).await?;
    lease.must("NOOP", &text("NOOP")).await?;
    lease.list_arrivals().await?;
    let same = lease.selected().is_some_and(|s| s.snapshot().uid_validity == place.uid_validity);
    if same {
        return Ok(Some(lease));
    }
    mailbox.give_back(lease).await;
    Ok(None)
}
