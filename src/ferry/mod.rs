//! Moving mail: the copier that carries messages from old to new when they are opened.
//!
//! `copier` holds an account's queue and its worker, `carry` is one batch from its intents to the
//! change of place, `append` sends it and proves what arrived, `recover` decides over what an earlier life of the proxy left open, `across` copies
//! what is not carried. `phase` changes an account's phase, `back` is the way back to old, and `mirror` goes it
//! all the time. The ledger
//! itself is `account`'s; nothing here shows a client anything.

mod across;
mod append;
mod back;
mod carry;
mod copier;
mod courtesy;
mod full;
mod governor;
mod late;
mod measure;
mod mirror;
mod moves;
mod pass;
mod phase;
mod plan;
mod progress;
mod read;
mod recover;
mod stream;
mod sync;
mod tee;
mod trickle;
pub mod verify;

use std::sync::Arc;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::account::{Access, Account};
use crate::base::AccountName;
use crate::config::Config;

pub use back::Left;
pub use copier::Copier;
pub use courtesy::{Courtesy, Held, Served};
pub use full::Rest;
pub use governor::Governor;
pub use late::Latecomers;
pub use pass::{Ended, Scope};
pub use phase::{Changed, PhaseError};
pub use plan::{FolderPlan, Plan, plan};
pub use progress::{Figures, Progress, State, Tally};
pub use sync::{Sync, Synced};
pub use tee::{Budget, Tee};
pub use trickle::Trickle;

/// All accounts' copiers.
pub struct Ferry {
    config: Arc<Config>,
    budget: Arc<Budget>,
    courtesy: Arc<Courtesy>,
    shutdown: CancellationToken,
    copiers: DashMap<AccountName, Arc<Copier>>,
    progress: DashMap<AccountName, Arc<Progress>>,
}

impl Ferry {
    /// Nothing to do yet. Makes the spool directory.
    pub fn new(config: Arc<Config>, shutdown: CancellationToken) -> Arc<Ferry> {
        let spool = config.state.join("spool");
        if let Err(e) = std::fs::create_dir_all(&spool) {
            warn!(spool = %spool.display(), "large messages are read twice: no spool: {e}");
        }
        let budget = Budget::new(config.copy.spool_budget, config.copy.tee_memory, spool);
        Arc::new(Ferry {
            courtesy: Courtesy::new(config.trickle.slowdown),
            config,
            budget,
            shutdown,
            copiers: DashMap::new(),
            progress: DashMap::new(),
        })
    }

    /// The copier of an account, working with what the latest login may reach.
    pub fn copier(&self, account: &Arc<Account>, access: &Arc<Access>) -> Arc<Copier> {
        let copier = self.copier_in_background(account, access);
        copier.renew(access);
        copier
    }

    /// The same, where no client has logged in: what one may reach goes before.
    pub(crate) fn copier_in_background(
        &self,
        account: &Arc<Account>,
        access: &Arc<Access>,
    ) -> Arc<Copier> {
        let copier = self.copiers.entry(account.name().clone()).or_insert_with(|| {
            let copier = Copier::new(
                Arc::clone(account),
                Arc::clone(access),
                Arc::clone(&self.config),
                Arc::clone(&self.budget),
            );
            Copier::start(&copier, self.shutdown.clone());
            copier
        });
        Arc::clone(&copier)
    }

    /// How clients are made room for.
    pub fn courtesy(&self) -> &Arc<Courtesy> {
        &self.courtesy
    }

    /// How far the copying of an account is, to be told of it.
    pub fn progress(&self, account: &AccountName) -> Arc<Progress> {
        Arc::clone(&self.progress.entry(account.clone()).or_default())
    }

    /// How far the copying of each account is that was looked at since the start.
    pub fn figures(&self) -> Vec<(AccountName, Figures)> {
        self.progress.iter().map(|one| (one.key().clone(), one.value().figures())).collect()
    }

    /// Why nothing of an account is copied for a while, where new has no room for it.
    pub fn rest(&self, account: &AccountName) -> Option<Rest> {
        self.copiers.get(account)?.rest()
    }

    /// Has an account's copying tried again at once, where it rests because new has no room.
    pub fn try_now(&self, account: &AccountName) {
        if let Some(copier) = self.copiers.get(account) {
            copier.try_now();
        }
    }

    /// Opened messages that wait to be copied.
    pub fn queued(&self) -> usize {
        self.copiers.iter().map(|copier| copier.queued()).sum()
    }

    /// Has every copier look for what is undecided, and forgets those that nobody uses.
    pub fn sweep(&self) {
        self.copiers.retain(|_, copier| {
            copier.look_around();
            // One reference here, one in the worker while it works.
            Arc::strong_count(copier) > 1 || !copier.is_idle()
        });
    }

    /// Waits until what is under way has come to an end.
    pub async fn stopped(&self) {
        let copiers: Vec<Arc<Copier>> = self.copiers.iter().map(|c| Arc::clone(&c)).collect();
        for copier in copiers {
            copier.stopped().await;
        }
    }
}
