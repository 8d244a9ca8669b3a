//! `kick`: ends the sessions of an account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Command, Refusal, Teller};

/// Longer than a session that is in the middle of a command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the sessions of an account; its clients may connect again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// Whose.
    pub account: String,
}

/// How many there were.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kicked {
    /// The account's canonical name.
    pub account: String,
    /// How many sessions were ended.
    pub sessions: usize,
}

impl Command for Kick {
    const NAME: &'static str = "kick";
    type Progress = ();
    type Done = Kicked;

    fn noted(&self) -> Option<String> {
        Some(self.account.escape_debug().to_string())
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<Kicked, Refusal> {
        let account = admin.account(&self.account)?;
        let sessions = admin.server.roster.end(&account, PATIENCE).await;
        if sessions == 0 {
            admin.known(&self.account).await?;
        }
        Ok(Kicked { account: account.to_string(), sessions })
    }
}
