//! Mail that still comes to old after an account has left it: for a while old is looked at, behind the
//! clients' backs, and what came late is copied to new (DESIGN §7).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Ferry;
use crate::account::{AccountError, Accounts, Merged, now};
use crate::backend::BackendError;
use crate::base::{AccountName, Phase, Side};
use crate::config::Config;
use crate::index::{AccountRecord, MailboxId};
use crate::uid::SideUid;

/// Looks at old for accounts in phase new, one after the other.
pub struct Latecomers {
    config: Arc<Config>,
    accounts: Arc<Accounts>,
    ferry: Arc<Ferry>,
    shutdown: CancellationToken,
}

impl Latecomers {
    /// Nothing to do yet.
    pub fn new(
        config: Arc<Config>,
        accounts: Arc<Accounts>,
        ferry: Arc<Ferry>,
        shutdown: CancellationToken,
    ) -> Latecomers {
        Latecomers { config, accounts, ferry, shutdown }
    }

    /// Works until the shutdown; what is under way then comes to its end.
    pub async fn run(self) {
        if self.config.phase.grace.is_zero() {
            return;
        }
        // A wrong password is shown once, or the account on old might be locked.
        let mut refused = HashSet::new();
        let mut known = HashMap::new();
        let mut away = false;
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = sleep(self.config.phase.look) => {}
            }
            match self.look(&mut refused, &mut known).await {
                Ok(()) => away = false,
                Err(e) if away => debug!("old is not looked at for late mail: {e}"),
                Err(e) => {
                    warn!("old is not looked at for late mail: {e}");
                    away = true;
                }
            }
        }
    }

    /// One round over all accounts that left old within the grace. Ends early where old is away.
    async fn look(
        &self,
        refused: &mut HashSet<AccountName>,
        known: &mut HashMap<(AccountName, MailboxId), SideUid>,
    ) -> Result<(), AccountError> {
        for (name, _, record) in self.accounts.index().accounts().await? {
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            if refused.contains(&name) || !is_due(&record, now(), self.config.phase.grace) {
                continue;
            }
            match self.ferry.bring_late(&self.accounts, &name, known).await {
                Ok(0) => {}
                Ok(left) => warn!(account = %name, left, "late mail on old cannot be copied"),
                // Who looks with the users' own passwords looks while they are there.
                Err(AccountError::NobodyLoggedIn(_)) => {}
                Err(AccountError::Backend(e @ BackendError::Refused { .. })) => {
                    warn!(account = %name, "old is not looked at for late mail any more: {e}");
                    refused.insert(name);
                }
                Err(AccountError::Backend(
                    e @ (BackendError::Connect { .. } | BackendError::Away { .. }),
                )) if e.side() == Side::Old => return Err(e.into()),
                Err(e) => warn!(account = %name, "late mail on old: {e}"),
            }
        }
        Ok(())
    }
}

/// Whether an account was put into phase new within the grace.
fn is_due(record: &AccountRecord, now: u64, grace: Duration) -> bool {
    record.phase == Some(Phase::New) && now.saturating_sub(record.phase_since) <= grace.as_secs()
}

impl Ferry {
    /// Copies to new what lies on old alone of an account in phase new, and was there when it was
    /// looked at before: mail that comes to both sides may come to new a little later. Returns how many
    /// messages cannot be copied. `known`: old's UIDNEXT of each mailbox, as of the last look.
    async fn bring_late(
        &self,
        accounts: &Accounts,
        name: &AccountName,
        known: &mut HashMap<(AccountName, MailboxId), SideUid>,
    ) -> Result<usize, AccountError> {
        let (account, access) = accounts.background_of_both(name).await?;
        let _phase_stays = account.changing.lock().await;
        if account.phase() != Phase::New {
            return Ok(0);
        }
        let copier = self.copier_in_background(&account, &access);
        let folders = account.list_both(&access).await?;
        let mut left = 0;
        for folder in folders.list.iter().filter(|f| !f.shared && f.there.old) {
            let mailbox = account.hub(folder).await?;
            let key = (name.clone(), mailbox.id());
            let below = known.get(&key).copied();
            let was_there = |uid: SideUid| below.is_some_and(|below| uid < below);
            left += copier.carry_all(&mailbox, &access, Side::New, was_there).await?.len();
            if mailbox.peek(Merged::removes_twins) {
                copier.remove_twins(&mailbox, &access).await?;
            }
            let next = mailbox.peek(|m| m.record.sides.old.map(|seen| seen.uid_next));
            known.extend(next.map(|next| (key, next)));
        }
        debug!(account = %name, left, "old was looked at for late mail");
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_looked_after_for_as_long_as_the_grace_lasts() {
        let record =
            |phase, phase_since| AccountRecord { phase, phase_since, ..Default::default() };
        let hour = Duration::from_hours(1);
        assert!(is_due(&record(Some(Phase::New), 1_000), 1_000 + 3_600, hour));
        assert!(!is_due(&record(Some(Phase::New), 1_000), 1_000 + 3_601, hour));
        for phase in [None, Some(Phase::Merged), Some(Phase::Old)] {
            assert!(!is_due(&record(phase, 1_000), 1_000, hour), "{phase:?}");
        }
    }
}
