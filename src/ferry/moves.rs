//! Ends MOVEs that were a copy and a removal, and of which nobody knows the end (see `account::moves`): what is in
//! the target is taken from the source. What was never copied stays where it is.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::carry::remove_copies;
use super::copier::Copier;
use crate::account::{Access, AccountError, Mailbox, expunge_without_uidplus};
use crate::backend::{Lease, text};
use crate::index::{Moving, MovingPlace};
use crate::uid::{SideUid, Uid, UidSet};

impl Copier {
    /// Ends what can be ended now.
    pub(super) async fn end_moves(&self) {
        if !self.account.is_unsure_of_moves() {
            return;
        }
        let Ok(_entered) = self.account.enter().await else { return };
        let unsure = match self.account.unsure_moves().await {
            Ok(unsure) => unsure,
            Err(e) => {
                warn!("moves that were under way: {e}");
                return self.account.stay_unsure_of_moves();
            }
        };
        let access = self.access.load_full();
        for (number, moving) in unsure {
            let ended = match self.end_move(&access, &moving).await {
                // There is nothing left of one of the mailboxes.
                Ok(()) | Err(AccountError::NotThere { .. }) => self.account.end_move(number).await,
                Err(e) => Err(e),
            };
            if let Err(e) = ended {
                warn!("a move that was under way is not ended yet: {e}");
                self.account.stay_unsure_of_moves();
            }
        }
    }

    async fn end_move(&self, access: &Arc<Access>, moving: &Moving) -> Result<(), AccountError> {
        let source = self.account.mailbox_by_id(access, moving.from.mailbox).await?;
        let target = self.account.mailbox_by_id(access, moving.to.mailbox).await?;
        let (Some(source), Some(target)) = (source, target) else { return Ok(()) };
        let Some(mut to) = at(&target, access, &moving.to).await? else { return Ok(()) };
        let above = to.selected().map(|s| s.announced().range_from(moving.uid_next));
        let mut copies: HashMap<[u8; 32], u32> = HashMap::new();
        for copy in above.unwrap_or_default().iter() {
            if let Some(hash) = self.hash_of(&mut to, copy).await? {
                *copies.entry(hash).or_default() += 1;
            }
        }
        target.give_back(to).await;
        if copies.is_empty() {
            return Ok(());
        }
        // Nobody writes there meanwhile; before any connection is borrowed, as by everybody who writes.
        let _alone = source.alone().await;
        let Some(mut from) = at(&source, access, &moving.from).await? else { return Ok(()) };
        let there = from.selected().map(|s| s.announced().intersect(&moving.uids));
        let mut copied: UidSet<SideUid> = UidSet::new();
        for uid in there.unwrap_or_default().iter() {
            let hash = self.hash_of(&mut from, uid).await?;
            let left = hash.and_then(|hash| copies.get_mut(&hash)).filter(|left| **left > 0);
            if let Some(left) = left {
                *left -= 1;
                copied.insert(uid);
            }
        }
        if !copied.is_empty() {
            let side = moving.from.side;
            let uids: UidSet<Uid> =
                copied.iter().filter_map(|uid| source.uid_of(side, uid)).collect();
            let noted = source.removing(&uids).await?;
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
        Ok(())
    }
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
