//! What accounts were enrolled with that counts at a login: what a user is called on each side.

use std::borrow::Cow;

use super::Accounts;
use crate::base::{AccountName, Side};
use crate::config::{Credentials, LoginTemplate, Mode};
use crate::index::Roll;

impl Accounts {
    /// From now on the account is called so on each side. Who is logged in stays that.
    pub fn enrolled(&self, name: AccountName, roll: Roll) {
        let has_logins = roll.logins.iter().any(|(_, login)| login.is_some());
        match has_logins {
            true => drop(self.logins.insert(name, roll.logins)),
            false => drop(self.logins.remove(&name)),
        }
    }

    /// How to log in on a side for an account: as the configuration says, but for the login that it
    /// was enrolled with. A table has logins of its own.
    pub(super) fn credentials(&self, side: Side, name: &AccountName) -> Cow<'_, Credentials> {
        let usual = &self.config.backends[side].credentials;
        let own = self.logins.get(name).and_then(|logins| logins[side].clone());
        match (own, &usual.mode) {
            (None, _) | (_, Mode::Table(_)) => Cow::Borrowed(usual),
            (Some(login), mode) => {
                Cow::Owned(Credentials { login: LoginTemplate::exactly(login), mode: mode.clone() })
            }
        }
    }
}
