//! The administrator's door to the running proxy.
//!
//! A Unix socket that only the proxy's own user and root may open ([`Door`]). A command is one line of
//! JSON, answered by any number of lines of progress and a last one: `wire` is the protocol, [`client`]
//! the other end of it, `socket` the receiving one. Each command is a file in [`commands`], which
//! holds its request, its answer and what it does.
//!
//! Nothing here speaks to a mail client, and nothing here prints: `cli` does.
//!
//! # A new command
//!
//! A file in `commands` with a type that is its arguments and implements [`Command`], a line in
//! `commands::dispatch`, and a subcommand in `cli` that sends it by [`client::ask`]. A command that
//! runs long tells how it goes by its [`Teller`], and ends where its client goes away; what must not
//! stop half-way runs in a task of its own.

pub mod client;
pub mod commands;
pub mod http;
mod local;
mod metrics;
mod reach;
mod socket;
mod wire;

use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::base::AccountName;
use crate::index::Tally;
use crate::session::Server;

pub use local::alone;
pub use reach::Whose;
pub use socket::{Door, SocketError};
pub use wire::{Command, Gone, Password, Refusal, Teller};

/// The target of what the audit log is made of: who changed what, and when.
pub const AUDIT: &str = "mailferry::audit";

/// What commands work on: the running proxy.
pub struct Admin {
    /// Its accounts, sessions and copiers.
    pub server: Arc<Server>,
    /// What accounts were counted to hold, until when that is believed, and after which change.
    tallies: DashMap<AccountName, (Instant, u64, Tally)>,
}

impl Admin {
    /// Of this proxy.
    pub fn new(server: Arc<Server>) -> Arc<Admin> {
        Arc::new(Admin { server, tallies: DashMap::new() })
    }
}
