//! Moving mail: the copier that carries messages from old to new when they are opened.

mod copier;
mod tee;

use std::sync::Arc;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::account::{Access, Account};
use crate::base::AccountName;
use crate::config::Config;

pub use copier::Copier;
pub use tee::Tee;

/// All accounts' copiers.
pub struct Ferry {
    config: Arc<Config>,
    shutdown: CancellationToken,
    copiers: DashMap<AccountName, Arc<Copier>>,
}

impl Ferry {
    /// Nothing to do yet.
    pub fn new(config: Arc<Config>, shutdown: CancellationToken) -> Arc<Ferry> {
        Arc::new(Ferry { config, shutdown, copiers: DashMap::new() })
    }

    /// The copier of an account, working with what the latest login may reach.
    pub fn copier(&self, account: &Arc<Account>, access: &Arc<Access>) -> Arc<Copier> {
        let copier = self
            .copiers
            .entry(account.name().clone())
            .or_insert_with(|| Copier::new(Arc::clone(account), Arc::clone(&self.config)));
        copier.renew(access);
        Arc::clone(&copier)
    }

    /// Forgets copiers that nobody uses.
    pub fn sweep(&self) {}

    /// Waits until what is under way has come to an end.
    pub async fn stopped(&self) {
        let _ = &self.shutdown;
    }
}
