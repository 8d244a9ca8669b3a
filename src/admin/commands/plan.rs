//! `plan`: what moving accounts would do, changing nothing.

use serde::{Deserialize, Serialize};

use super::Selection;
use crate::admin::{Admin, Command, Refusal, Teller};
use crate::ferry::{Plan, plan};

/// Finds out what moving accounts would do.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanAccounts {
    /// Which, as typed.
    pub accounts: Vec<String>,
    /// What of them.
    #[serde(default)]
    pub selection: Selection,
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
        let mut plans = Vec::with_capacity(self.accounts.len());
        for typed in &self.accounts {
            let name = admin.account(typed)?;
            let access = accounts.preview(&name, None).await.map_err(Refusal::failed)?;
            let access = access.ok_or_else(|| {
                Refusal::failed(format!("nobody can log in for {name}"))
                    .next("give both sides credentials of mode `master` or `table`")
            })?;
            let planned = plan(accounts, &name, &access, &scope).await;
            plans.push(planned.map_err(|e| Refusal::failed(format!("{name}: {e}")))?);
        }
        Ok(plans)
    }
}
