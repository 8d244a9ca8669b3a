//! The phase of every account (DESIGN §1): what the index says, else what the configuration says; and
//! what an account's clients, connections and mailboxes do when it changes.
//!
//! How messages get to where they must be before that is `ferry`'s.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use tokio::time::timeout;
use tracing::info;

use super::mailbox::now;
use super::{Access, Account, AccountError, Accounts, Mailbox};
use crate::base::{AccountName, Phase, step};
use crate::index::{Batch, Index, IndexError};

/// The accounts' phases, as they are durable.
pub(super) struct Phases {
    /// Each with when it began, in Unix seconds.
    set: DashMap<AccountName, (Phase, u64)>,
    default: Phase,
}

/// While it lives, the account's phase stays what it is.
pub struct Entered {
    _gate: OwnedRwLockReadGuard<()>,
}

/// While it lives, no client does anything in the account.
pub struct Held {
    _gate: OwnedRwLockWriteGuard<()>,
}

impl Phases {
    /// Reads the phases that were set; every other account is in phase `default`.
    pub(super) async fn read(default: Phase, index: &Index) -> Result<Phases, IndexError> {
        let known = index.accounts().await?;
        let set = known
            .into_iter()
            .filter_map(|(name, _, record)| Some((name, (record.phase?, record.phase_since))));
        Ok(Phases { set: set.collect(), default })
    }

    /// The phase of an account, known or not.
    pub(super) fn of(&self, account: &AccountName) -> Phase {
        self.set.get(account).map_or(self.default, |set| set.0)
    }

    /// Since when it is in it; 0 if it was never put into one.
    pub(super) fn since(&self, account: &AccountName) -> u64 {
        self.set.get(account).map_or(0, |set| set.1)
    }
}

impl Accounts {
    /// The phase that an account is in; of one that nobody has seen yet, the one that it will be in.
    pub fn phase(&self, account: &AccountName) -> Phase {
        self.phases.of(account)
    }

    /// Whether the index knows an account: it logged in once, or somebody set something for it.
    pub fn knows(&self, account: &AccountName) -> bool {
        self.index().knows(account)
    }

    /// All accounts that the index knows, in the order in which they were first seen, with their
    /// phases.
    pub async fn known(&self) -> Result<Vec<(AccountName, Phase)>, IndexError> {
        let known = self.index().accounts().await?;
        Ok(known.into_iter().map(|(name, _, _)| (name.clone(), self.phase(&name))).collect())
    }
}

impl Account {
    /// The phase that the account is in.
    pub fn phase(&self) -> Phase {
        self.phases.of(&self.name)
    }

    /// Waits until no change of the phase is under way, and keeps the phase for as long as the result
    /// lives.
    ///
    /// # Errors
    /// It takes longer than `limits.phase_wait`.
    pub async fn enter(&self) -> Result<Entered, AccountError> {
        let entered = timeout(self.config.limits.phase_wait, Arc::clone(&self.gate).read_owned());
        let gate = entered.await.map_err(|_| AccountError::Moving(self.name.clone()))?;
        Ok(Entered { _gate: gate })
    }

    /// Waits until no client does anything, and keeps all of them waiting for as long as the result
    /// lives.
    ///
    /// # Errors
    /// A client has been busy for longer than `limits.phase_wait`.
    pub async fn hold(&self) -> Result<Held, AccountError> {
        let held = timeout(self.config.limits.phase_wait, Arc::clone(&self.gate).write_owned());
        let gate = held.await.map_err(|_| AccountError::Moving(self.name.clone()))?;
        Ok(Held { _gate: gate })
    }

    /// Lets a login's pools ask what the phase has, and nothing else.
    pub(super) fn follow(&self, access: &Access) {
        let phase = self.phase();
        for (side, pool) in access.pools.iter() {
            match phase.has(side) {
                true => pool.reopen(),
                false => pool.close(format!("the account is in phase {phase}")),
            }
        }
    }

    /// Puts the account into a phase, durably, and has connections and `mailboxes` follow: all those
    /// that show something else in the new phase. From now on only the phase's sides are asked.
    pub async fn switch(
        &self,
        _held: &Held,
        phase: Phase,
        mailboxes: &[Arc<Mailbox>],
    ) -> Result<(), AccountError> {
        let before = self.phase();
        for mailbox in mailboxes {
            mailbox.make_ready_for(phase).await?;
        }
        step("phase: mailboxes are ready");
        let since = self.remember_phase(phase).await?;
        self.all_access().iter().for_each(|access| self.follow(access));
        let open: Vec<Arc<Mailbox>> = self.open.iter().map(|m| Arc::clone(&m)).collect();
        for mailbox in open {
            mailbox.show_phase(phase, since).await?;
        }
        self.folders.store(None);
        info!(account = %self.name, %before, %phase, "phase changed");
        Ok(())
    }

    /// Has the account stay in the phase that it is in, whatever the configuration will say. Nobody changes it
    /// meanwhile.
    pub async fn stay_in(&self, phase: Phase) -> Result<(), AccountError> {
        match self.index.account_record(self.id).await?.phase == Some(phase) {
            true => Ok(()),
            false => self.remember_phase(phase).await.map(drop),
        }
    }

    /// Returns since when the account has been in the phase.
    async fn remember_phase(&self, phase: Phase) -> Result<u64, AccountError> {
        let since = match (self.phase() == phase, self.phases.since(&self.name)) {
            (true, since) if since > 0 => since,
            _ => now(),
        };
        let mut batch = Batch::new();
        batch.edit_account(self.id, move |record| {
            record.phase = Some(phase);
            record.phase_since = since;
        });
        self.index.submit(batch).await?;
        step("phase: it is durable");
        self.phases.set.insert(self.name.clone(), (phase, since));
        Ok(since)
    }
}

impl Mailbox {
    /// Gives what only the next phase shows UIDs above all that were told, while nobody sees it (V2).
    async fn make_ready_for(self: &Arc<Self>, phase: Phase) -> Result<(), AccountError> {
        self.change(|merged, batch| {
            let changed = merged.renumber_for(phase, now())?;
            if merged.phase == Phase::Old && phase != Phase::Old {
                // Only now new is looked at again.
                self.go_on_expecting(merged, batch);
            }
            Ok(((), changed))
        })
        .await
    }

    /// Shows what the phase shows.
    async fn show_phase(self: &Arc<Self>, phase: Phase, since: u64) -> Result<(), AccountError> {
        self.change(|merged, _| {
            merged.enter(phase);
            merged.phase_since = since;
            Ok(((), true))
        })
        .await
    }
}
