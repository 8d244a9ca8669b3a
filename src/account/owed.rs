//! What was done through the proxy and old has yet to be told of (DESIGN §1, mirror); and what new has
//! to be told of that was removed while old decided.
//!
//! It is noted whatever the mirror does: going back to old stands on it.

use std::sync::Arc;

use super::mailbox::Mailbox;
use super::{AccountError, Merged};
use crate::base::{Phase, Side};
use crate::index::Owed;
use crate::uid::{Place, SideUid, Uid, UidSet};

impl Mailbox {
    /// A client is about to remove some of these messages: their old copies are noted, durably, before
    /// any is removed from new, and returned: [`removed`](Self::removed) wants them.
    pub async fn removing(
        self: &Arc<Self>,
        uids: &UidSet<Uid>,
    ) -> Result<UidSet<SideUid>, AccountError> {
        let copies = self.peek(|m| copies(m, uids));
        if !copies.is_empty() {
            self.owe(|_, owed| owed.removing = owed.removing.union(&copies)).await?;
        }
        Ok(copies)
    }

    /// Of what was being removed, what is not in the map any more is owed to old.
    pub async fn removed(self: &Arc<Self>, noted: &UidSet<SideUid>) -> Result<(), AccountError> {
        if noted.is_empty() {
            return Ok(());
        }
        self.owe(|merged, owed| settle(merged, owed, noted)).await?;
        self.look_for_debts();
        Ok(())
    }

    /// The same of all that an earlier life of the proxy was removing. Nobody writes meanwhile, and new
    /// has just been absorbed.
    pub async fn settle_removals(self: &Arc<Self>) -> Result<(), AccountError> {
        if self.peek(|m| m.owed.removing.is_empty()) {
            return Ok(());
        }
        self.owe(|merged, owed| {
            let noted = owed.removing.clone();
            settle(merged, owed, &noted);
        })
        .await
    }

    /// What is owed to old.
    pub fn owed(&self) -> Owed {
        self.peek(|m| m.owed.clone())
    }

    /// Old has been told of these removals.
    pub async fn told_removed(
        self: &Arc<Self>,
        copies: &UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        self.owe(|_, owed| owed.removed = owed.removed.subtract(copies)).await
    }

    /// A client is about to change the flags of these messages: those over which new decides are noted,
    /// durably. Where nobody mirrors, what was noted tells `verify` which flags may differ.
    pub async fn flagging(self: &Arc<Self>, uids: &UidSet<Uid>) -> Result<(), AccountError> {
        let shared = self.peek(|m| match m.phase {
            Phase::Old => UidSet::new(),
            Phase::Merged | Phase::New => on_both(m, uids).map(|(uid, _)| uid).collect(),
        });
        if self.peek(|m| shared.is_subset(&m.owed.flags)) {
            return Ok(());
        }
        self.owe(|_, owed| owed.flags = owed.flags.union(&shared)).await?;
        self.look_for_debts();
        Ok(())
    }

    /// New has been told of these: no copies of them are there.
    pub async fn told_twins(self: &Arc<Self>, twins: &UidSet<SideUid>) -> Result<(), AccountError> {
        self.owe(|_, owed| owed.twins = owed.twins.subtract(twins)).await
    }

    /// Old has been told of these flags.
    pub async fn told_flags(self: &Arc<Self>, uids: &UidSet<Uid>) -> Result<(), AccountError> {
        self.owe(|_, owed| owed.flags = owed.flags.subtract(uids)).await
    }

    /// Messages that lie on both sides, among `uids` or all, with their UIDs there.
    pub fn on_both(&self, uids: Option<&UidSet<Uid>>) -> Vec<(Uid, SideUid, SideUid)> {
        self.peek(|m| {
            let all;
            let uids = match uids {
                Some(uids) => uids,
                None => {
                    all = m.map.uids();
                    &all
                }
            };
            let twins = on_both(m, uids).filter_map(|(uid, place)| match place {
                Place::Both { old, new } => Some((uid, old, new)),
                _ => None,
            });
            twins.collect()
        })
    }

    async fn owe(
        self: &Arc<Self>,
        change: impl FnOnce(&Merged, &mut Owed),
    ) -> Result<(), AccountError> {
        let (account, id) = (self.account, self.id);
        self.change(|merged, batch| {
            let mut owed = std::mem::take(&mut merged.owed);
            let before = owed.clone();
            change(merged, &mut owed);
            if owed != before {
                batch.put_owed(account, id, &owed);
            }
            merged.owed = owed;
            Ok(((), false))
        })
        .await
    }
}

fn settle(merged: &Merged, owed: &mut Owed, noted: &UidSet<SideUid>) {
    let gone = noted.subtract(&merged.map.side_uids(Side::Old));
    owed.removed = owed.removed.union(&gone);
    owed.removing = owed.removing.subtract(noted);
}

/// Old copies of messages over which new decides.
fn copies(merged: &Merged, uids: &UidSet<Uid>) -> UidSet<SideUid> {
    if merged.phase == Phase::Old {
        return UidSet::new();
    }
    let runs = merged.map.intersect(uids).filter(|run| matches!(run.place, Place::Both { .. }));
    let ranges = runs.filter_map(|run| {
        let first = run.place.on(Side::Old)?;
        Some((first, SideUid(first.0 + (run.len - 1))))
    });
    UidSet::from_ranges(ranges.collect::<Vec<_>>())
}

fn on_both<'a>(
    merged: &'a Merged,
    uids: &'a UidSet<Uid>,
) -> impl Iterator<Item = (Uid, Place)> + 'a {
    let runs = merged.map.intersect(uids).filter(|run| matches!(run.place, Place::Both { .. }));
    runs.flat_map(|run| (0..run.len).map(move |n| (Uid(run.uid.0 + n), run.place.plus(n))))
}
