//! `phase`: puts accounts into a phase.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::info;

use crate::admin::{AUDIT, Admin, Command, Refusal, Teller, Whose};
use crate::base::{AccountName, Phase};
use crate::ferry::PhaseError;

/// Puts accounts into a phase while their clients go on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPhase {
    /// Whose.
    pub whose: Whose,
    /// Which.
    pub phase: Phase,
    /// Also where messages will be out of sight, or where nothing was verified.
    #[serde(default)]
    pub force: bool,
}

/// What it came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PhasesSet {
    /// Accounts that are in the phase now.
    pub set: Vec<PhaseSet>,
    /// Accounts that stay where they were, and why.
    pub failed: Vec<PhaseKept>,
}

/// An account whose phase was set.
#[derive(Debug, Serialize, Deserialize)]
pub struct PhaseSet {
    /// The account's canonical name.
    pub account: String,
    /// Its phase before.
    pub from: Phase,
    /// Its phase now.
    pub to: Phase,
    /// Messages that its clients do not see now.
    pub left: Vec<LeftBehind>,
}

/// An account that could not be put into the phase.
#[derive(Debug, Serialize, Deserialize)]
pub struct PhaseKept {
    /// The account's canonical name.
    pub account: String,
    /// Why.
    pub why: Refusal,
}

/// A message that clients do not see now.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Its mailbox, as clients name it.
    pub mailbox: String,
    /// Its UID, as clients knew it.
    pub uid: u32,
    /// Why.
    pub why: String,
}

impl Command for SetPhase {
    const NAME: &'static str = "phase";
    type Progress = ();
    type Done = PhasesSet;

    fn noted(&self) -> Option<String> {
        let forced = if self.force { " by force" } else { "" };
        Some(format!("{} {}{forced}", self.whose, self.phase))
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<PhasesSet, Refusal> {
        let mut done = PhasesSet::default();
        for name in admin.accounts(&self.whose).await? {
            // One that cannot be moved holds up none of the others.
            match self.one(admin, &name).await {
                Ok(set) => {
                    let PhaseSet { from, to, .. } = &set;
                    info!(target: AUDIT, account = %name, %from, %to, "phase changed");
                    done.set.push(set);
                }
                Err(why) => {
                    info!(target: AUDIT, account = %name, "phase not changed: {why}");
                    done.failed.push(PhaseKept { account: name.to_string(), why });
                }
            }
        }
        Ok(done)
    }
}

impl SetPhase {
    async fn one(&self, admin: &Admin, account: &AccountName) -> Result<PhaseSet, Refusal> {
        let server = Arc::clone(&admin.server);
        let (name, to, force) = (account.clone(), self.phase, self.force);
        // What has begun goes on without whoever asked.
        let change = admin.server.writes.spawn(async move {
            server.ferry.change_phase(&server.accounts, &name, to, force).await
        });
        let changed = change.await.map_err(Refusal::failed)?.map_err(|e| match e {
            PhaseError::TwoSteps { .. } => Refusal::usage(e),
            e => Refusal::failed(e),
        })?;
        let left = changed.left.into_iter();
        let left =
            left.map(|left| LeftBehind { mailbox: left.mailbox, uid: left.uid, why: left.why });
        Ok(PhaseSet {
            account: account.to_string(),
            from: changed.from,
            to: changed.to,
            left: left.collect(),
        })
    }
}
