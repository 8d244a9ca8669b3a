//! The phase of every account (DESIGN §1): what the index says, else what the configuration says.

use dashmap::DashMap;

use super::Accounts;
use crate::base::{AccountName, Phase};
use crate::index::{Index, IndexError};

/// The accounts' phases, as they are durable.
pub(super) struct Phases {
    set: DashMap<AccountName, Phase>,
    default: Phase,
}

impl Phases {
    /// Reads the phases that were set; every other account is in phase `default`.
    pub(super) async fn read(default: Phase, index: &Index) -> Result<Phases, IndexError> {
        let known = index.accounts().await?;
        let set = known.into_iter().filter_map(|(name, _, record)| Some((name, record.phase?)));
        Ok(Phases { set: set.collect(), default })
    }

    /// The phase of an account, known or not.
    fn of(&self, account: &AccountName) -> Phase {
        self.set.get(account).map_or(self.default, |phase| *phase)
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
