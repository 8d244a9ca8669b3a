//! `plan`: what moving accounts would do, changing nothing.

use serde::{Deserialize, Serialize};

use super::Selection;
use crate::admin::{Admin, Command, Password, Refusal, Teller, Whose};
use crate::ferry::{Plan, plan};

/// Finds out what moving accounts would do.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanAccounts {
    /// Which.
    pub whose: Whose,
    /// What of them.
    pub selection: Selection,
    /// The password of the one account, where the proxy has no login of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

impl Command for PlanAccounts {
    const NAME: &'static str = "plan";
    type Progress = ();
    type Done = Vec<Plan>;

    fn noted(&self) -> Option<String> {
        None
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<Vec<Plan>, Refusal> {
        let scope = self.selection.scope().map_err(Refusal::usage)?;
        let accounts = &admin.server.accounts;
        let password = self.password.as_ref().map(|Password(password)| password);
        let mut plans = Vec::new();
        for name in admin.accounts(&self.whose).await? {
            let access = accounts.preview(&name, password).await;
            let access =
                access.map_err(|e| Refusal::failed(format!("logging in for {name}: {e}")))?;
            let access = access.ok_or_else(|| {
                Refusal::failed(format!("nobody can log in for {name}")).next(
                    "give both sides credentials for background work, or the user's password by \
                     --password-file",
                )
            })?;
            let planned = plan(accounts, &name, &access, &scope).await;
            plans.push(planned.map_err(|e| Refusal::failed(format!("{name}: {e}")))?);
        }
        Ok(plans)
    }
}
