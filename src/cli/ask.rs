//! What all commands that need the running proxy share: reaching it, and telling why it cannot be.

use tokio::runtime::{Builder, Runtime};

use crate::admin::client::{self, AskError};
use crate::admin::{Command, alone};
use crate::config::Config;

use super::Failure;

/// Has the running proxy of this configuration do a command; `progress` hears how it goes.
pub(super) fn ask<C: Command>(
    config: &Config,
    command: &C,
    progress: impl FnMut(C::Progress),
) -> Result<C::Done, Failure> {
    let asked = client::ask(&config.admin.socket, command, progress);
    runtime()?.block_on(asked).map_err(Failure::from)
}

/// The same, or, where no proxy runs, on its state in this process.
pub(super) fn ask_or_do<C: Command>(
    config: Config,
    command: &C,
    mut progress: impl FnMut(C::Progress),
) -> Result<C::Done, Failure> {
    let done = runtime()?.block_on(async {
        match client::ask(&config.admin.socket, command, &mut progress).await {
            Err(AskError::NotRunning(_)) => alone(config, command, progress).await,
            answer => answer,
        }
    });
    done.map_err(Failure::from)
}

/// One thread: what waits for servers needs no more, and each thread has memory of its own for what
/// passes through it.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(Failure::failed)
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        let next = match &error {
            AskError::Refused(refusal) => {
                let next = refusal.next.clone();
                let failure = match refusal.usage {
                    true => Failure::usage(error),
                    false => Failure::failed(error),
                };
                return match next {
                    Some(next) => failure.next(next),
                    None => failure,
                };
            }
            AskError::NotRunning(_) => Some(
                "start it with `mailferry serve`; if it runs, name its configuration by --config FILE",
            ),
            AskError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Some("only root and the user that the proxy runs as may ask it")
            }
            AskError::Unreadable(_) => Some("restart the proxy, so that both are of one version"),
            AskError::Io { .. } | AskError::Ended => None,
        };
        let failure = Failure::failed(error);
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}
