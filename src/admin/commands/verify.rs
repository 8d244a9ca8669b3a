//! `verify`: proves that all of an account lies on new.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::admin::{Admin, Command, Password, Refusal, Teller, Whose};
use crate::ferry::verify::{Finding, Thoroughness, verify};

/// Findings that wait for whoever asked.
const WAITING: usize = 64;

/// Compares both servers and the map, message by message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Whose mail.
    pub whose: Whose,
    /// How thorough.
    pub how: Thoroughness,
    /// The password of the one account, where the proxy has no login of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// What it came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Accounts without any difference.
    pub clean: Vec<String>,
    /// Accounts with differences.
    pub differing: Vec<String>,
    /// Accounts that could not be looked at, and why.
    pub failed: Vec<(String, String)>,
}

impl Verified {
    /// Whether everything was looked at and found right.
    pub fn is_clean(&self) -> bool {
        self.differing.is_empty() && self.failed.is_empty()
    }
}

impl Command for Verify {
    const NAME: &'static str = "verify";
    type Progress = Finding;
    type Done = Verified;

    fn noted(&self) -> Option<String> {
        Some(self.whose.to_string())
    }

    async fn run(
        self,
        admin: &Admin,
        teller: &mut Teller<'_, Finding>,
    ) -> Result<Verified, Refusal> {
        let mut done = Verified::default();
        for name in admin.accounts(&self.whose).await? {
            let (account, access) = match admin.reach(&name, self.password.as_ref()).await {
                Ok(reached) => reached,
                Err(refusal) => {
                    done.failed.push((name.to_string(), refusal.to_string()));
                    continue;
                }
            };
            let (found, mut told) = mpsc::channel(WAITING);
            let look = async {
                let clean = verify(&account, &access, &self.how, &found).await;
                drop(found);
                clean
            };
            let tell = async {
                while let Some(finding) = told.recv().await {
                    teller.tell(finding).await?;
                }
                Ok::<(), Refusal>(())
            };
            let (clean, told) = tokio::join!(look, tell);
            told?;
            match clean {
                Ok(true) => done.clean.push(name.to_string()),
                Ok(false) => done.differing.push(name.to_string()),
                Err(e) => done.failed.push((name.to_string(), e.to_string())),
            }
        }
        Ok(done)
    }
}
