//! A RENAME that a server may have done while nobody could note it: the proxy died, or the connection ended. The
//! next listing tells. Otherwise the mailbox would be seen twice: under its new name where it was renamed, and
//! under its former one on the other side. A server may do it late, so one that is not done is looked for until
//! a grace is over.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::mailbox::{Names, lock};
use super::{Access, Account, AccountError, SideFolders};
use crate::base::{MailboxName, Side, Sides};
use crate::index::{Batch, MailboxId, Renamed, Renaming};

/// A server that was told, and whose connection broke, does it so late at most.
const LATE: Duration = Duration::from_secs(10);
/// Whoever waits for that looks so often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Account {
    /// Waits, for a while, until it is known whether a RENAME was done: whoever is about to change folders, perhaps
    /// by the same RENAME once more, must know it.
    pub(super) async fn settle_names(&self, access: &Access) -> Result<(), AccountError> {
        let give_up = Instant::now() + LATE * 2;
        while self.unsure_of_names.load(Ordering::Acquire) && Instant::now() < give_up {
            {
                let _listing = self.listing.lock().await;
                self.list_now(access).await?;
            }
            if self.unsure_of_names.load(Ordering::Acquire) {
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Notes a RENAME, durably, before a server is told.
    pub(super) async fn note_renaming(&self, renaming: &Renaming) -> Result<(), AccountError> {
        let mut batch = Batch::new();
        batch.put_renaming(self.id, Some(renaming));
        self.index.submit(batch).await?;
        *lock(&self.not_renamed_since) = None;
        self.unsure_of_names.store(true, Ordering::Release);
        Ok(())
    }

    /// The server has not done it.
    pub(super) async fn forget_renaming(&self) -> Result<(), AccountError> {
        let mut batch = Batch::new();
        batch.put_renaming(self.id, None);
        self.index.submit(batch).await?;
        self.unsure_of_names.store(false, Ordering::Release);
        Ok(())
    }

    /// Decides over a RENAME whose end nobody heard, by what its server lists now; where that does not list
    /// anything, another time.
    pub(super) async fn decide_renaming(
        &self,
        listed: &Sides<Option<&SideFolders>>,
    ) -> Result<(), AccountError> {
        if !self.unsure_of_names.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(renaming) = self.index.renaming(self.id).await? else {
            self.unsure_of_names.store(false, Ordering::Release);
            return Ok(());
        };
        let Some(folders) = listed[renaming.side] else { return Ok(()) };
        if !is_done(&renaming, folders) {
            let since = *lock(&self.not_renamed_since).get_or_insert_with(Instant::now);
            if since.elapsed() < self.config.copy.grace.min(LATE) {
                return Ok(());
            }
            return self.forget_renaming().await;
        }
        let renamed: Vec<(MailboxId, Names)> =
            renaming.mailboxes.into_iter().map(|it| (it.id, Names::from(it))).collect();
        let mut batch = Batch::new();
        // Whoever had one of these names before is gone, or it could not have been given.
        let kept: HashSet<MailboxId> = renamed.iter().map(|(id, _)| *id).collect();
        let records = self.index.mailboxes(self.id).await?;
        let given = |(id, names): &&(MailboxId, Names)| {
            records.iter().any(|r| r.id == *id && r.client != names.client)
        };
        let names: HashSet<MailboxName> =
            renamed.iter().filter(given).map(|(_, names)| names.client.clone()).collect();
        for record in records.iter().filter(|r| !r.hidden && !kept.contains(&r.id)) {
            if names.contains(&record.client) {
                warn!(account = %self.name, mailbox = %record.client, "gone: its name is used again");
                batch.delete_mailbox(self.id, record.id);
                self.open.remove(&record.id);
            }
        }
        batch.put_renaming(self.id, None);
        info!(account = %self.name, mailboxes = renamed.len(), "a RENAME was done of which nobody heard the end");
        self.rename_records(renamed, batch).await?;
        self.unsure_of_names.store(false, Ordering::Release);
        Ok(())
    }
}

/// Whether the server has done all of it.
fn is_done(renaming: &Renaming, folders: &SideFolders) -> bool {
    let names: HashSet<&MailboxName> = folders.listed.iter().map(|listed| &listed.name).collect();
    // A name that other folders lie below may stay listed, as one that holds no messages.
    renaming.steps.iter().all(|(from, to)| names.contains(to) && from != to)
        && renaming.steps.iter().any(|(from, _)| {
            !folders.listed.iter().any(|listed| listed.name == *from && listed.selectable)
        })
}

impl From<Renamed> for Names {
    fn from(renamed: Renamed) -> Names {
        Names { client: renamed.client, old: renamed.old, new: renamed.new }
    }
}

/// What is noted of a RENAME of which this comes.
pub(super) fn noted(
    side: Side,
    steps: &[(MailboxName, MailboxName)],
    names: &[(MailboxId, Names)],
) -> Renaming {
    let mailboxes = names.iter().map(|(id, names)| Renamed {
        id: *id,
        client: names.client.clone(),
        old: names.old.clone(),
        new: names.new.clone(),
    });
    Renaming { side, steps: steps.to_vec(), mailboxes: mailboxes.collect() }
}
