//! The commands, a file each.

mod accounts;
mod kick;
mod pause;
mod phase;
mod plan;
mod status;
mod stuck;
mod sync;
mod verify;

use serde_json::Value;
use tokio::io::AsyncWrite;
use tracing::{debug, info};

use super::wire::{Command, Refusal, Reply, Teller, send};
use super::{AUDIT, Admin};

pub use accounts::{Enroll, Enrolled, Forget, Forgotten, ListAccounts};
pub use kick::{Kick, Kicked};
pub use pause::{Pause, Paused};
pub use phase::{LeftBehind, PhaseKept, PhaseSet, PhasesSet, SetPhase};
pub use plan::PlanAccounts;
pub use status::{AccountState, State, Status};
pub use stuck::{Resting, Retry, ShowStuck, Stuck, StuckMessage};
pub use sync::{Selection, SyncAccounts, SyncProgress};
pub use verify::{Verified, Verify};

/// Does what was asked for, and answers.
pub(super) async fn dispatch(
    admin: &Admin,
    command: &str,
    arguments: Value,
    out: &mut (impl AsyncWrite + Unpin + Send),
) {
    match command {
        Verify::NAME => run::<Verify>(admin, arguments, out).await,
        Kick::NAME => run::<Kick>(admin, arguments, out).await,
        SyncAccounts::NAME => run::<SyncAccounts>(admin, arguments, out).await,
        PlanAccounts::NAME => run::<PlanAccounts>(admin, arguments, out).await,
        Status::NAME => run::<Status>(admin, arguments, out).await,
        Pause::NAME => run::<Pause>(admin, arguments, out).await,
        ShowStuck::NAME => run::<ShowStuck>(admin, arguments, out).await,
        Retry::NAME => run::<Retry>(admin, arguments, out).await,
        Enroll::NAME => run::<Enroll>(admin, arguments, out).await,
        Forget::NAME => run::<Forget>(admin, arguments, out).await,
        ListAccounts::NAME => run::<ListAccounts>(admin, arguments, out).await,
        SetPhase::NAME => run::<SetPhase>(admin, arguments, out).await,
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
