//! `sync`: moves accounts now, as fast as it goes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Command, Password, Refusal, Teller, Whose};
use crate::config::Day;
use crate::ferry::{Figures, Scope, Sync, Synced};

/// Moves accounts, in the foreground of whoever asks.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncAccounts {
    /// Which.
    pub whose: Whose,
    /// What of them.
    pub selection: Selection,
    /// The password of the one account, where the proxy has no login of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// What of an account is to be copied, as an administrator says it.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Only these folders.
    pub folders: Vec<String>,
    /// None of these.
    pub skip_folders: Vec<String>,
    /// Only messages that arrived on this day or later.
    pub since: Option<String>,
    /// Only messages that arrived before this day.
    pub before: Option<String>,
    /// No larger message, in octets.
    pub largest: Option<u64>,
}

/// How far one account is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncProgress {
    /// Which.
    pub account: String,
    /// Where it stands.
    pub figures: Figures,
}

impl Selection {
    /// The same, checked.
    pub fn scope(&self) -> Result<Scope, String> {
        let day = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Day::parse(text)
                .map(Some)
                .ok_or_else(|| format!("`{}` is no day like 2024-01-31", text.escape_debug())),
        };
        let days = (day(&self.since)?, day(&self.before)?);
        Ok(Scope::new((&self.folders, &self.skip_folders), days, self.largest))
    }
}

impl Command for SyncAccounts {
    const NAME: &'static str = "sync";
    type Progress = SyncProgress;
    type Done = Vec<Synced>;

    fn noted(&self) -> Option<String> {
        Some(self.whose.to_string())
    }

    async fn run(
        self,
        admin: &Admin,
        teller: &mut Teller<'_, SyncProgress>,
    ) -> Result<Vec<Synced>, Refusal> {
        let names = admin.accounts(&self.whose).await?;
        let scope = self.selection.scope().map_err(Refusal::usage)?;
        // Where whoever asked goes away, batches under way come to their end.
        let stop = admin.server.shutdown.child_token();
        let _stopping = stop.clone().drop_guard();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(LINES);
        let server = Arc::clone(&admin.server);
        let running = tokio::spawn(async move {
            let sync = Sync {
                accounts: &server.accounts,
                ferry: &server.ferry,
                scope,
                password: self.password.map(|Password(password)| password),
                stop: CancellationToken::clone(&stop),
            };
            sync.run(&names, EVERY, |account, figures| {
                let progress = SyncProgress { account: account.to_string(), figures };
                // One that nobody takes in time is not worth waiting for: the next one tells more.
                drop(sender.try_send(progress));
            })
            .await
        });
        while let Some(progress) = receiver.recv().await {
            teller.tell(progress).await?;
        }
        running.await.map_err(Refusal::failed)
    }
}

/// So many lines wait for whoever asked to take them.
const LINES: usize = 1_000;

/// How often it tells how far it is.
const EVERY: Duration = Duration::from_millis(250);
