//! Which accounts are meant, and how both servers are reached for them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Admin, Password, Refusal};
use crate::account::{Access, Account};
use crate::base::AccountName;
use crate::config::nearest;

/// Whose mail a command is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whose {
    /// Accounts, as typed.
    pub accounts: Vec<String>,
    /// All accounts of this wave, too.
    pub wave: Option<String>,
}

impl Whose {
    /// Whether nobody is named.
    pub fn is_nobody(&self) -> bool {
        self.accounts.is_empty() && self.wave.is_none()
    }
}

/// As the audit log has it.
impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wave = self.wave.iter().map(|wave| format!("wave {wave}"));
        let all: Vec<String> = self.accounts.iter().cloned().chain(wave).collect();
        write!(f, "{}", all.join(" ").escape_debug())
    }
}

impl Admin {
    /// The account meant by what the administrator typed, whether anybody has ever seen it or not.
    pub fn account(&self, typed: &str) -> Result<AccountName, Refusal> {
        self.server.config.accounts.account(typed).ok_or_else(|| {
            Refusal::usage(format!("`{}` is no account here", typed.escape_debug()))
                .next("give a user's name with a domain that accounts.domains serves")
        })
    }

    /// The same, if somebody has ever seen it.
    pub async fn known(&self, typed: &str) -> Result<AccountName, Refusal> {
        let name = self.account(typed)?;
        match self.server.accounts.knows(&name) {
            true => Ok(name),
            false => Err(self.never_seen(&name).await?),
        }
    }

    /// That nobody has ever seen this account, and which one may have been meant.
    pub async fn never_seen(&self, name: &AccountName) -> Result<Refusal, Refusal> {
        let known = self.server.accounts.index().accounts().await?;
        let known: Vec<&str> = known.iter().map(|(name, ..)| name.as_str()).collect();
        Ok(Refusal::failed(format!("nobody has ever seen {name}")).next(
            match nearest(name.as_str(), &known) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    "an account is known once its user has logged in, or it was imported".into()
                }
            },
        ))
    }

    /// The accounts named, and those of a wave; each once, in that order.
    pub async fn accounts(&self, whose: &Whose) -> Result<Vec<AccountName>, Refusal> {
        let mut all = Vec::new();
        for typed in &whose.accounts {
            all.push(self.account(typed)?);
        }
        if let Some(wave) = whose.wave.as_deref() {
            let known = self.server.accounts.index().accounts().await?;
            let of_wave = known.into_iter().filter(|(_, _, r)| r.wave.as_deref() == Some(wave));
            let before = all.len();
            all.extend(of_wave.map(|(name, ..)| name));
            if all.len() == before {
                let wave = wave.escape_debug();
                return Err(Refusal::failed(format!("no account is in wave `{wave}`"))
                    .next("`mailferry accounts list` shows the waves"));
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|name| seen.insert(name.clone()));
        match all.is_empty() {
            true => Err(Refusal::usage("no account was named")),
            false => Ok(all),
        }
    }

    /// Both servers for an account, with a login of the proxy's own, or with that of a client that
    /// is there; with the user's password, with that where the proxy has none.
    pub async fn reach(
        &self,
        name: &AccountName,
        password: Option<&Password>,
    ) -> Result<(Arc<Account>, Arc<Access>), Refusal> {
        if let Some(Password(password)) = password {
            let reached = self.server.accounts.background_with(name, password).await;
            return reached.map_err(|e| Refusal::failed(format!("logging in for {name}: {e}")));
        }
        self.server.accounts.background(name).await?.ok_or_else(|| {
            Refusal::failed(format!("nobody can log in for {name} now")).next(
                "the proxy has no login of its own for one of the servers, and the user is not \
                 connected: give a login for background work in [old.credentials] and \
                 [new.credentials], give the user's password, or ask again while the user is \
                 connected",
            )
        })
    }
}
