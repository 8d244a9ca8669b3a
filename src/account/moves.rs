//! MOVEs that are a copy and a removal: noted before the first octet is sent, so that whoever comes after a crash,
//! or after the end of a connection, can end them. Otherwise their messages would be in both mailboxes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Account, AccountError, Mailbox, now};
use crate::base::Side;
use crate::index::{Batch, MailboxId, Moving};
use crate::uid::{SideUid, UidSet};

/// The MOVEs of one account.
pub(super) struct Moves {
    under_way: Mutex<HashSet<u32>>,
    /// There may be some of which nobody knows the end.
    unsure: AtomicBool,
    /// Some may be noted that are not under way.
    noted: AtomicBool,
    /// What other commands have copied meanwhile, as clients were told: no copies of those.
    told: Mutex<HashMap<(MailboxId, Side), UidSet<SideUid>>>,
    last: AtomicU32,
}

impl Default for Moves {
    fn default() -> Moves {
        // Numbers of an earlier life of the proxy lie below, or far above.
        let last = AtomicU32::new((now() << 6) as u32);
        let (unsure, noted) = (AtomicBool::new(true), AtomicBool::new(true));
        Moves { under_way: Mutex::default(), unsure, noted, told: Mutex::default(), last }
    }
}

impl Account {
    /// Notes a MOVE, durably. Returns its number, which is to be given to [`end_move`](Self::end_move) or
    /// [`leave_move`](Self::leave_move).
    pub async fn begin_move(&self, moving: &Moving) -> Result<u32, AccountError> {
        let number = self.moves.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.moves.lock().insert(number);
        let mut batch = Batch::new();
        batch.put_moving(self.id, number, Some(moving));
        self.index.submit(batch).await?;
        Ok(number)
    }

    /// It is done, or nothing of it is.
    pub async fn end_move(&self, number: u32) -> Result<(), AccountError> {
        let mut batch = Batch::new();
        batch.put_moving(self.id, number, None);
        self.index.submit(batch).await?;
        self.moves.lock().remove(&number);
        Ok(())
    }

    /// Nobody knows how it ended: the copier is to find out.
    pub fn leave_move(&self, number: u32) {
        self.moves.noted.store(true, Ordering::Release);
        self.moves.lock().remove(&number);
        self.moves.unsure.store(true, Ordering::Release);
        self.undecided.wake.notify_one();
    }

    /// Whether there may be some of which nobody knows the end.
    pub fn is_unsure_of_moves(&self) -> bool {
        self.moves.unsure.load(Ordering::Acquire)
    }

    /// Those of which nobody knows the end. Whoever asks decides over them, or says that they
    /// [stay](Self::stay_unsure_of_moves) so.
    pub async fn unsure_moves(&self) -> Result<Vec<(u32, Moving)>, AccountError> {
        self.moves.unsure.store(false, Ordering::Release);
        self.moves.noted.store(false, Ordering::Release);
        let mut all = self.index.movings(self.id).await?;
        let under_way = self.moves.lock();
        all.retain(|(number, _)| !under_way.contains(number));
        match all.is_empty() {
            true => self.moves.told().clear(),
            false => self.moves.noted.store(true, Ordering::Release),
        }
        Ok(all)
    }

    /// What is left to decide of a MOVE: nothing, where a client has decided meanwhile.
    pub async fn unsure_move(&self, number: u32) -> Result<UidSet<SideUid>, AccountError> {
        let all = self.index.movings(self.id).await?;
        let found = all.into_iter().find(|(known, _)| *known == number);
        Ok(found.map(|(_, moving)| moving.uids).unwrap_or_default())
    }

    /// A client has copied or moved these messages of one mailbox, and these copies in another one are what came of
    /// it: what became of an earlier MOVE of theirs is of no concern any more, and no MOVE of others made them.
    /// Under the guard of the mailbox that they are in.
    pub async fn copied(
        &self,
        (from, to): (MailboxId, MailboxId),
        (from_side, to_side): (Side, Side),
        uids: &UidSet<SideUid>,
        copies: &UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        if !self.moves.noted.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut all = self.index.movings(self.id).await?;
        all.retain(|(number, _)| !self.moves.lock().contains(number));
        if all.is_empty() {
            return Ok(());
        }
        {
            let mut told = self.moves.told();
            let told = told.entry((to, to_side)).or_default();
            *told = told.union(copies);
        }
        let mut batch = Batch::new();
        for (number, mut moving) in all {
            let theirs = (moving.from.mailbox, moving.from.side) == (from, from_side);
            if theirs && !moving.uids.intersect(uids).is_empty() {
                moving.uids = moving.uids.subtract(uids);
                let left = Some(&moving).filter(|moving| !moving.uids.is_empty());
                batch.put_moving(self.id, number, left);
            }
        }
        Ok(self.index.submit(batch).await?)
    }

    /// What other commands have copied to a mailbox since some MOVE was unsure.
    pub fn copied_by_others(&self, mailbox: MailboxId, side: Side) -> UidSet<SideUid> {
        self.moves.told().get(&(mailbox, side)).cloned().unwrap_or_default()
    }
}

impl Account {
    /// Some could not be decided over.
    pub fn stay_unsure_of_moves(&self) {
        self.moves.unsure.store(true, Ordering::Release);
    }

    /// A mailbox by its number; `None`: there is none any more.
    pub async fn mailbox_by_id(
        &self,
        access: &Access,
        id: MailboxId,
    ) -> Result<Option<Arc<Mailbox>>, AccountError> {
        let Some(record) = self.records().await?.into_iter().find(|record| record.id == id) else {
            return Ok(None);
        };
        match self.mailbox(access, &record.client).await {
            Err(AccountError::NoSuchMailbox(_)) => Ok(None),
            mailbox => mailbox.map(Some),
        }
    }
}

impl Moves {
    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        // Nothing under this lock can leave it half changed.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<(MailboxId, Side), UidSet<SideUid>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
