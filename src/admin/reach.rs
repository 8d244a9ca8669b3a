//! Which accounts are meant.

use super::{Admin, Refusal};
use crate::base::AccountName;

impl Admin {
    /// The account meant by what the administrator typed, whether anybody has ever seen it or not.
    pub fn account(&self, typed: &str) -> Result<AccountName, Refusal> {
        self.server.config.accounts.account(typed).ok_or_else(|| {
            Refusal::usage(format!("`{}` is no account here", typed.escape_debug()))
                .next("give a user's name with a domain that accounts.domains serves")
        })
    }

    /// The accounts named, and those of a wave; each once, in that order.
    pub async fn accounts(
        &self,
        named: &[String],
        wave: Option<&str>,
    ) -> Result<Vec<AccountName>, Refusal> {
        let mut all = Vec::new();
        for typed in named {
            all.push(self.account(typed)?);
        }
        if let Some(wave) = wave {
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
}
