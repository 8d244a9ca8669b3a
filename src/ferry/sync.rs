//! Moving whole accounts at once, as fast as it goes: what `mailferry sync` does, inside a running
//! proxy and without one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Ferry;
use super::governor::Pace;
use super::pass::{Ended, Pass, Scope};
use super::progress::{Figures, State};
use crate::account::{Access, Account, AccountError, Accounts, LoginError};
use crate::base::{AccountName, Phase, SecretString};

/// How the move of one account ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Synced {
    /// Which.
    pub account: String,
    /// Whether all that shall be copied lies on new: nothing is stuck, and nothing stood against it.
    pub ok: bool,
    /// What stood against it, if anything did.
    pub why: Option<String>,
    /// Where it stands now.
    pub figures: Figures,
    /// How long it took.
    pub seconds: f64,
}

/// How accounts are moved.
pub struct Sync<'a> {
    /// All accounts.
    pub accounts: &'a Accounts,
    /// Their copiers.
    pub ferry: &'a Arc<Ferry>,
    /// What of them is to be copied.
    pub scope: Scope,
    /// The user's own password, for sides that have no login for background work.
    pub password: Option<SecretString>,
    /// Ends it between two batches.
    pub stop: CancellationToken,
}

impl Sync<'_> {
    /// Moves accounts, several at once, and `tell`s of each every now and then, and at the end, how far
    /// it is.
    pub async fn run(
        &self,
        names: &[AccountName],
        every: Duration,
        mut tell: impl FnMut(&AccountName, Figures),
    ) -> Vec<Synced> {
        let together = self.accounts.config().trickle.accounts;
        let each: Vec<_> = names.iter().map(|name| self.one(name)).collect();
        let mut under_way = futures_util::stream::iter(each).buffer_unordered(together);
        let mut done = Vec::with_capacity(names.len());
        loop {
            tokio::select! {
                one = under_way.next() => match one {
                    Some(synced) => done.push(synced),
                    None => break,
                },
                () = sleep(every) => {
                    for name in names {
                        tell(name, self.ferry.progress(name).figures());
                    }
                }
            }
        }
        for name in names {
            tell(name, self.ferry.progress(name).figures());
        }
        done.sort_by(|a, b| a.account.cmp(&b.account));
        done
    }

    async fn one(&self, name: &AccountName) -> Synced {
        let begun = Instant::now();
        let progress = self.ferry.progress(name);
        let before = progress.figures();
        let why = match self.login(name).await {
            Err(why) => Some(why),
            Ok((account, access)) => match self.passes(&account, &access).await {
                Ok(Ended::Settled) => None,
                Ok(Ended::Halted(why)) => Some(why),
                Ok(Ended::Interrupted | Ended::Undecided) => Some("it was asked to end".to_owned()),
                Err(e) => Some(e.to_string()),
            },
        };
        progress.set_state(why.clone().map_or(State::Settled, State::Paused));
        let mut figures = progress.figures();
        figures.carried -= before.carried.min(figures.carried);
        figures.octets_carried -= before.octets_carried.min(figures.octets_carried);
        let ok = why.is_none() && figures.stuck == 0;
        let seconds = begun.elapsed().as_secs_f64();
        Synced { account: name.to_string(), ok, why, figures, seconds }
    }

    async fn login(&self, name: &AccountName) -> Result<(Arc<Account>, Arc<Access>), String> {
        let phase = self.accounts.phase(name);
        if phase != Phase::Merged {
            return Err(format!(
                "its phase is `{phase}`: only in phase `merged` anything is copied"
            ));
        }
        if let Some(password) = &self.password {
            let entered = self.accounts.background_with(name, password).await;
            return entered.map_err(|e| match e {
                LoginError::Refused(why) | LoginError::TokenRefused(why, _) => {
                    format!("the password is not accepted: {why}")
                }
                other => other.to_string(),
            });
        }
        match self.accounts.background(name).await {
            Ok(Some(entered)) => Ok(entered),
            Ok(None) => {
                Err("nobody can log in for it: give both sides credentials of mode `master` \
                             or `table`, or the user's password"
                    .to_owned())
            }
            Err(e) => Err(e.to_string()),
        }
    }

    /// Passes until nothing is left, or something stands against it.
    async fn passes(
        &self,
        account: &Arc<Account>,
        access: &Arc<Access>,
    ) -> Result<Ended, AccountError> {
        let config = self.accounts.config();
        let copier = self.ferry.copier_in_background(account, access);
        let progress = self.ferry.progress(account.name());
        progress.set_state(State::Copying);
        copier.try_now();
        loop {
            let pass = Pass {
                copier: &copier,
                access: Arc::clone(access),
                scope: &self.scope,
                pace: Pace::default(),
                lanes: config.limits.connections_per_account.saturating_sub(2).max(1),
                slots: None,
                progress: &progress,
                reserve: 0,
                go_on: &|| !self.stop.is_cancelled(),
            };
            let ended = pass.run().await?;
            let waits = matches!(ended, Ended::Interrupted | Ended::Undecided);
            if !waits || self.stop.is_cancelled() {
                return Ok(ended);
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}

/// What a client has opened goes before, and takes a moment.
const AGAIN: Duration = Duration::from_millis(200);
