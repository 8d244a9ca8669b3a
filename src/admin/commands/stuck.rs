//! `stuck` and `retry`: messages that new refused, and accounts for which it has no room.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::account::now;
use crate::admin::{Admin, Command, Refusal, Teller};

/// Shows what is stuck, of one account or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShowStuck {
    /// Whose.
    pub account: Option<String>,
}

/// A message that new refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckMessage {
    /// The account's canonical name.
    pub account: String,
    /// The mailbox as its client reads it.
    pub mailbox: String,
    /// The UID that clients see.
    pub uid: u32,
    /// The server's own words.
    pub reason: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again, in Unix seconds.
    pub next_try: u64,
}

/// What is stuck as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stuck {
    /// So many messages were told.
    pub messages: u64,
    /// Accounts for which new has no room.
    pub resting: Vec<Resting>,
}

/// An account of which nothing is copied for a while, because new has no room for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resting {
    /// The account's canonical name.
    pub account: String,
    /// Why, in the server's own words.
    pub why: String,
    /// When it is tried again, in Unix seconds.
    pub next_try: u64,
}

impl Command for ShowStuck {
    const NAME: &'static str = "stuck";
    type Progress = StuckMessage;
    type Done = Stuck;

    fn noted(&self) -> Option<String> {
        None
    }

    async fn run(
        self,
        admin: &Admin,
        teller: &mut Teller<'_, StuckMessage>,
    ) -> Result<Stuck, Refusal> {
        let only = match self.account.as_deref() {
            Some(typed) => Some(admin.known(typed).await?),
            None => None,
        };
        let index = admin.server.accounts.index();
        let mut known = index.accounts().await?;
        known.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut all = Stuck::default();
        for (name, id, _) in
            known.into_iter().filter(|(n, ..)| only.as_ref().is_none_or(|o| o == n))
        {
            // To read all that is known of an account takes a while, and most have nothing stuck.
            let dump = match admin.tally(&name, id).await?.stuck {
                0 => None,
                _ => Some(index.dump(Some(name.clone()), 0).await?),
            };
            let accounts = dump.into_iter().flat_map(|dump| dump.accounts);
            for mailbox in accounts.flat_map(|account| account.mailboxes) {
                for stuck in mailbox.stuck {
                    all.messages += 1;
                    let told = StuckMessage {
                        account: name.to_string(),
                        mailbox: mailbox.name.clone(),
                        uid: stuck.uid,
                        reason: stuck.reason,
                        tries: stuck.tries,
                        next_try: stuck.next_try,
                    };
                    teller.tell(told).await?;
                }
            }
            if let Some(rest) = admin.server.ferry.rest(&name) {
                let next_try = now() + rest.until.duration_since(Instant::now()).as_secs();
                all.resting.push(Resting {
                    account: name.to_string(),
                    why: rest.to_string(),
                    next_try,
                });
            }
        }
        Ok(all)
    }
}

/// Has what is stuck tried again at once, of one account or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Whose.
    pub account: Option<String>,
}

impl Command for Retry {
    const NAME: &'static str = "retry";
    type Progress = ();
    type Done = u64;

    fn noted(&self) -> Option<String> {
        Some(self.account.as_deref().unwrap_or("all").escape_debug().to_string())
    }

    async fn run(self, admin: &Admin, _: &mut Teller<'_, ()>) -> Result<u64, Refusal> {
        let only = match self.account.as_deref() {
            Some(typed) => Some(admin.known(typed).await?),
            None => None,
        };
        let accounts = &admin.server.accounts;
        let mut count = 0;
        for (name, ..) in accounts.index().accounts().await? {
            if only.as_ref().is_none_or(|only| *only == name) {
                count += accounts.retry_stuck(&name).await.map_err(Refusal::failed)?;
                admin.server.ferry.try_now(&name);
                admin.server.trickle.hurry(&name);
            }
        }
        Ok(count)
    }
}
