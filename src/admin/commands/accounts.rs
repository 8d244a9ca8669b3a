//! `accounts`: enrolling accounts with wave, turn and logins, and listing them.

use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Command, Refusal, Teller, Whose};
use crate::base::Sides;
use crate::index::{Batch, Roll};

/// Enrolls accounts: all of them, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// Each account once.
    pub accounts: Vec<Enrolled>,
}

/// An account as it is enrolled.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Enrolled {
    /// Its canonical name.
    pub account: String,
    /// The accounts with which it moves.
    pub wave: Option<String>,
    /// Its turn; lower comes first, accounts without one last.
    pub priority: Option<u32>,
    /// Its login on old, where that is not what the template makes.
    pub old_login: Option<String>,
    /// Its login on new, likewise.
    pub new_login: Option<String>,
}

impl Command for Enroll {
    const NAME: &'static str = "enroll";
    type Progress = ();
    type Done = usize;

    fn noted(&self) -> Option<String> {
        Some(format!("{} accounts", self.accounts.len()))
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<usize, Refusal> {
        let accounts = &admin.server.accounts;
        accounts.index().room()?;
        let mut batch = Batch::new();
        let mut rolls = Vec::with_capacity(self.accounts.len());
        for Enrolled { account, wave, priority, old_login, new_login } in self.accounts {
            let name = admin.account(&account)?;
            let roll = Roll { priority, logins: Sides { old: old_login, new: new_login } };
            let to_be = roll.clone();
            batch.enroll(name.clone(), move |record| {
                record.wave = wave;
                record.roll = to_be;
            });
            rolls.push((name, roll));
        }
        let count = rolls.len();
        accounts.index().submit(batch).await?;
        for (name, roll) in rolls {
            accounts.enrolled(name, roll);
        }
        Ok(count)
    }
}

/// Forgets the passwords of accounts that were kept from their logins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Whose.
    pub whose: Whose,
}

/// Which accounts had one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Their canonical names.
    pub accounts: Vec<String>,
}

impl Command for Forget {
    const NAME: &'static str = "forget";
    type Progress = ();
    type Done = Forgotten;

    fn noted(&self) -> Option<String> {
        Some(self.whose.to_string())
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<Forgotten, Refusal> {
        let mut forgotten = Forgotten::default();
        for name in admin.accounts(&self.whose).await? {
            if admin.server.accounts.forget(&name).await? {
                forgotten.accounts.push(name.to_string());
            }
        }
        Ok(forgotten)
    }
}

/// Lists all accounts as they are enrolled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAccounts {}

impl Command for ListAccounts {
    const NAME: &'static str = "accounts";
    type Progress = ();
    type Done = Vec<Enrolled>;

    fn noted(&self) -> Option<String> {
        None
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<Vec<Enrolled>, Refusal> {
        let known = admin.server.accounts.index().accounts().await?;
        let mut all: Vec<Enrolled> = known
            .into_iter()
            .map(|(name, _, record)| Enrolled {
                account: name.to_string(),
                wave: record.wave,
                priority: record.roll.priority,
                old_login: record.roll.logins.old,
                new_login: record.roll.logins.new,
            })
            .collect();
        all.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(all)
    }
}
