//! `mailferry serve`: the proxy itself.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{ExitCode, Failure, logging};
use crate::admin::{Admin, Door, http};
use crate::config::{Config, Protocol};
use crate::index::{Index, Opened, snapshots};
use crate::net::{Listener, ServerTls};
use crate::session::Server;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry serve
  mailferry --config /etc/mailferry/proxy.toml serve --log-json
  MAILFERRY_LOG=mailferry=debug mailferry serve";

#[derive(Args, Debug)]
pub(super) struct ServeArgs {}

/// Serves until it is told to stop by SIGTERM or SIGINT.
pub(super) fn run(config: Config) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<ExitCode, Failure> {
    if let Some(file) = &config.admin.audit {
        logging::audit_to(file)?;
    }
    let tls = match &config.tls {
        None => None,
        Some(files) => Some(ServerTls::load(files).map_err(|e| {
            Failure::failed(e).next("make a certificate for trials with `mailferry certs`")
        })?),
    };
    // Bound before the index is opened: a second proxy by mistake stops at its first port.
    let (mut listeners, mut for_admin) = (Vec::new(), Vec::new());
    for listen in &config.listen {
        let listener = Listener::bind(listen).map_err(Failure::failed)?;
        let address = listener.local_addr().map_err(Failure::failed)?;
        info!(protocol = ?listen.protocol, %address, "listening");
        match listen.protocol {
            Protocol::Admin => for_admin.push(listener),
            Protocol::Imap
            | Protocol::Imaps
            | Protocol::Submission
            | Protocol::Submissions
            | Protocol::Smtp => listeners.push(listener),
        }
    }
    let (index, opened) = Index::open(&config.state.join("index")).map_err(Failure::failed)?;
    index.keep_free(config.limits.free_space);
    if let Opened::Rebuild { why, put_aside } = &opened {
        error!(
            put_aside = ?put_aside,
            "the index could not be trusted ({why}); it is rebuilt from the servers"
        );
        if let Some(newest) = snapshots(&config.state.join("index")).map_err(Failure::failed)?.pop()
        {
            error!(
                "a snapshot of {} is there: stop the proxy and run `mailferry index restore` to have \
                 back what no server knows",
                newest.taken_at
            );
        }
    }
    // A proxy that holds the index is the only one of its state.
    let door = Door::bind(&config.admin.socket).map_err(|e| {
        Failure::failed(e).next("set `socket` in [admin] to another path, of at most 100 octets")
    })?;
    let config = Arc::new(config);
    tokio::spawn(index.clone().keep_snapshots(config.snapshots.clone()));
    let shutdown = CancellationToken::new();
    let server = Server::new(config, index.clone(), tls, shutdown.clone());
    let server = server.await.map_err(Failure::failed)?;
    let admin = Admin::new(Arc::clone(&server));
    admin.remembered().await.map_err(Failure::failed)?;
    tokio::spawn(door.receive(Arc::clone(&admin), shutdown.clone()));
    let limits = server.config.limits.clone();
    let stop = shutdown.clone();
    tokio::spawn(async move { http::receive(admin, for_admin, &limits, stop).await });
    tokio::spawn(async move {
        wait_for_signal().await;
        shutdown.cancel();
    });
    info!(version = env!("CARGO_PKG_VERSION"), "ready");
    server.run(listeners).await.map_err(Failure::failed)?;
    index.close().await;
    info!("stopped");
    Ok(ExitCode::Done)
}

async fn wait_for_signal() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        error!("signals cannot be heard: the proxy can only be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
