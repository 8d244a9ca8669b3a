//! Trying messages again that new refused, because the administrator says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mailbox::now;
use super::{AccountError, Accounts, Mailbox};
use crate::base::AccountName;
use crate::index::{AccountId, Batch, Index, MailboxId, Stuck};
use crate::uid::Uid;

impl Accounts {
    /// Has all that is stuck in an account tried again as soon as something is copied there; gives
    /// their number.
    pub async fn retry_stuck(&self, name: &AccountName) -> Result<u64, AccountError> {
        let id = self.index().account(name).await?;
        let account = self.in_use(name);
        // Nobody opens a mailbox meanwhile that would go on with what it read before.
        let _loading = match &account {
            Some(account) => Some(account.loading.lock().await),
            None => None,
        };
        let mut count = 0;
        for record in self.index().mailboxes(id).await? {
            let open =
                account.as_ref().and_then(|a| a.open.get(&record.id).map(|m| Arc::clone(&m)));
            count += match open {
                Some(mailbox) => mailbox.retry_stuck().await?,
                None => retry_closed(self.index(), id, record.id).await?,
            };
        }
        Ok(count)
    }
}

impl Mailbox {
    async fn retry_stuck(self: &Arc<Self>) -> Result<u64, AccountError> {
        let (account, id) = (self.account, self.id());
        let count = self
            .change(|merged, batch| Ok((due_now(batch, account, id, &mut merged.stuck), false)))
            .await?;
        if count > 0 {
            self.undecided.note(self);
        }
        Ok(count)
    }
}

async fn retry_closed(
    index: &Index,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<u64, AccountError> {
    let mut stuck: BTreeMap<Uid, Stuck> =
        index.load(account, mailbox).await?.stuck.into_iter().collect();
    let mut batch = Batch::new();
    let count = due_now(&mut batch, account, mailbox, &mut stuck);
    if count > 0 {
        index.submit(batch).await?;
    }
    Ok(count)
}

fn due_now(
    batch: &mut Batch,
    account: AccountId,
    mailbox: MailboxId,
    stuck: &mut BTreeMap<Uid, Stuck>,
) -> u64 {
    for (uid, stuck) in stuck.iter_mut() {
        stuck.next_try = now();
        batch.put_stuck(account, mailbox, *uid, stuck);
    }
    stuck.len() as u64
}
