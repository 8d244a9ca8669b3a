//! The same commands where no proxy runs: this process is one for as long as the command takes.

use std::sync::Arc;

use tokio::io::split;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::client::{AskError, converse};
use super::{Admin, Command, Refusal, socket};
use crate::config::Config;
use crate::index::{Index, Opened};
use crate::session::Server;

/// Octets between the two ends, which are both in this process.
const PIPE: usize = 64 << 10;

/// Does a command on the state of a proxy that does not run. Nobody is received meanwhile. One that
/// only looks leaves no state where there was none.
///
/// # Errors
/// Another process holds the index, or it cannot be trusted; else as for one that runs.
pub async fn alone<C: Command>(
    mut config: Config,
    command: &C,
    progress: impl FnMut(C::Progress),
) -> Result<C::Done, AskError> {
    let refuse = |e: &dyn std::fmt::Display| AskError::Refused(Refusal::failed(e));
    let mut passing = None;
    if command.noted().is_none() && !config.state.join("index").exists() {
        let dir = passing.insert(tempfile::tempdir().map_err(|e| refuse(&e))?);
        config.state = dir.path().to_owned();
    }
    let (index, opened) = Index::open(&config.state.join("index")).map_err(|e| refuse(&e))?;
    if let Opened::Rebuild { why, .. } = opened {
        warn!("the index could not be trusted ({why}); it is rebuilt from the servers");
    }
    index.keep_free(config.limits.free_space);
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        // Where signals cannot be heard, it is killed instead; what is under way is found again.
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    let server = Server::new(Arc::new(config), index.clone(), None, shutdown.clone());
    let admin = Admin::new(server.await.map_err(|e| refuse(&e))?);
    let (near, far) = tokio::io::duplex(PIPE);
    let (input, mut out) = split(far);
    let serve = async {
        socket::serve(input, &mut out, &admin).await;
        // Whoever asked hears the end of it.
        drop(tokio::io::AsyncWriteExt::shutdown(&mut out).await);
    };
    let (input, out) = split(near);
    let (done, ()) = tokio::join!(converse(input, out, command, progress), serve);
    shutdown.cancel();
    admin.server.ferry.stopped().await;
    index.close().await;
    done
}
