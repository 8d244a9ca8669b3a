//! The commands, a file each.

mod kick;
mod plan;
mod sync;

use serde_json::Value;
use tokio::io::AsyncWrite;
use tracing::{debug, info};

use super::wire::{Command, Refusal, Reply, Teller, send};
use super::{AUDIT, Admin};
use crate::base::AccountName;

pub use kick::{Kick, Kicked};
pub use plan::PlanAccounts;
pub use sync::{Selection, SyncAccounts, SyncProgress};

/// Does what was asked for, and answers.
pub(super) async fn dispatch(
    admin: &Admin,
    command: &str,
    arguments: Value,
    out: &mut (impl AsyncWrite + Unpin + Send),
) {
    match command {
        Kick::NAME => run::<Kick>(admin, arguments, out).await,
        SyncAccounts::NAME => run::<SyncAccounts>(admin, arguments, out).await,
        PlanAccounts::NAME => run::<PlanAccounts>(admin, arguments, out).await,
        unknown => {
            let version = env!("CARGO_PKG_VERSION");
            let unknown = unknown.escape_debug();
            let error = format!("the running proxy ({version}) knows no command `{unknown}`");
            answer::<(), ()>(out, Err(Refusal::usage(error))).await;
        }
    }
}

async fn run<C: Command>(
    admin: &Admin,
    arguments: Value,
    out: &mut (impl AsyncWrite + Unpin + Send),
) {
    let done = match serde_json::from_value::<C>(arguments) {
        Err(e) => Err(Refusal::usage(format!("the arguments of {}: {e}", C::NAME))),
        Ok(command) => {
            let noted = command.noted();
            if let Some(noted) = &noted {
                info!(target: AUDIT, command = C::NAME, arguments = noted, "asked for");
            }
            let done = command.run(admin, &mut Teller::new(out)).await;
            match (&done, noted) {
                (_, None) => {}
                (Ok(_), Some(noted)) => {
                    info!(target: AUDIT, command = C::NAME, arguments = noted, "done");
                }
                (Err(e), Some(noted)) => {
                    info!(target: AUDIT, command = C::NAME, arguments = noted, "refused: {e}");
                }
            }
            done
        }
    };
    answer::<C::Progress, C::Done>(out, done).await;
}

async fn answer<P: serde::Serialize, D: serde::Serialize>(
    out: &mut (impl AsyncWrite + Unpin + Send),
    done: Result<D, Refusal>,
) {
    let reply: Reply<P, D> = done.map_or_else(Reply::Refused, Reply::Done);
    if let Err(e) = send(out, &reply).await {
        debug!("whoever asked is gone: {e}");
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
}
