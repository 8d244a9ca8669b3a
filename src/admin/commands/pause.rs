//! `pause` and `resume`: of copying, for an account or for all, remembered across a restart.

use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Command, Refusal, Teller, Whose};
use crate::index::{Batch, Setting};

/// Pauses copying in the background, or goes on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Whose; nobody: of all.
    pub whose: Whose,
    /// Whether it is to be paused from now on.
    pub on: bool,
}

/// What is so from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paused {
    /// The accounts; none: all.
    pub accounts: Vec<String>,
    /// Whether their copying is paused.
    pub paused: bool,
}

impl Command for Pause {
    const NAME: &'static str = "pause";
    type Progress = ();
    type Done = Paused;

    fn noted(&self) -> Option<String> {
        let what = if self.on { "pause" } else { "resume" };
        Some(match self.whose.is_nobody() {
            true => format!("{what} all"),
            false => format!("{what} {}", self.whose),
        })
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<Paused, Refusal> {
        let (server, on) = (&admin.server, self.on);
        let index = server.accounts.index();
        let mut batch = Batch::new();
        let mut names = Vec::new();
        if self.whose.is_nobody() {
            batch.put_setting(Setting::Paused, on.then(Vec::new));
            if !on {
                // To go on with all is to go on with each.
                for (_, id, record) in index.accounts().await? {
                    if record.paused {
                        batch.edit_account(id, |record| record.paused = false);
                    }
                }
            }
        } else {
            names = admin.accounts(&self.whose).await?;
            for name in &names {
                if !server.accounts.knows(name) {
                    return Err(admin.never_seen(name).await?);
                }
                batch.enroll(name.clone(), move |record| record.paused = on);
            }
        }
        // Durable before it counts.
        index.submit(batch).await?;
        let set = |name: Option<&_>| match on {
            true => server.trickle.pause(name),
            false => server.trickle.resume(name),
        };
        match names.is_empty() {
            true => set(None),
            false => names.iter().for_each(|name| set(Some(name))),
        }
        let accounts = names.iter().map(ToString::to_string).collect();
        Ok(Paused { accounts, paused: on })
    }
}

impl Admin {
    /// Pauses what was paused when the proxy ended.
    pub async fn remembered(&self) -> Result<(), Refusal> {
        let index = self.server.accounts.index();
        if index.setting(Setting::Paused).await?.is_some() {
            self.server.trickle.pause(None);
        }
        for (name, _, record) in index.accounts().await? {
            if record.paused {
                self.server.trickle.pause(Some(&name));
            }
        }
        Ok(())
    }
}
