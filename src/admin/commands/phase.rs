//! `phase`: puts an account into a phase.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Command, Refusal, Teller};
use crate::base::Phase;
use crate::ferry::PhaseError;

/// Puts an account into a phase while its clients go on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPhase {
    /// Whose.
    pub account: String,
    /// Which.
    pub phase: Phase,
    /// Also where messages will be out of sight, or where nothing was verified.
    #[serde(default)]
    pub force: bool,
}

/// What it came to.
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
    type Done = PhaseSet;

    fn noted(&self) -> Option<String> {
        let forced = if self.force { " by force" } else { "" };
        Some(format!("{} {}{forced}", self.account.escape_debug(), self.phase))
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<PhaseSet, Refusal> {
        let account = admin.account(&self.account)?;
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
