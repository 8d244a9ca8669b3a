//! What anybody may use up, and for how long: every default with its reason.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// The `[limits]` table.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections to each server for one account; at least 2.
    pub connections_per_account: usize,
    /// Client connections at once, all listeners together; at least 1.
    pub sessions: usize,
    /// Client connections at once from one address (of IPv6, from one /64); 0: no limit of its own.
    pub sessions_per_address: usize,
    /// Longest command line after login, in octets, literals not counted.
    #[serde(deserialize_with = "values::size")]
    pub line: u64,
    /// Longest command line before login.
    #[serde(deserialize_with = "values::size")]
    pub line_before_login: u64,
    /// Largest literal before login.
    #[serde(deserialize_with = "values::size")]
    pub literal_before_login: u64,
    /// Largest command after login: its lines and literals together, an APPEND's message not
    /// counted.
    #[serde(deserialize_with = "values::size")]
    pub command: u64,
    /// Largest message a client may APPEND.
    #[serde(deserialize_with = "values::size")]
    pub message: u64,
    /// How long a session may say nothing after login; IDLE counts as saying nothing.
    #[serde(deserialize_with = "values::duration")]
    pub idle_timeout: Duration,
    /// How long a client may take from connecting to being logged in, TLS included.
    #[serde(deserialize_with = "values::duration")]
    pub login_timeout: Duration,
    /// How long a refused login is kept waiting for its answer.
    #[serde(deserialize_with = "values::duration")]
    pub login_failure_delay: Duration,
    /// How long connecting to a server may take, its greeting included.
    #[serde(deserialize_with = "values::duration")]
    pub backend_connect_timeout: Duration,
    /// How long a server may be silent inside a command.
    #[serde(deserialize_with = "values::duration")]
    pub backend_command_timeout: Duration,
    /// After so many failures in a row to reach a server it counts as away for all accounts; 0: never.
    pub backend_failures: u32,
    /// How long it then is left alone before one connection tries it again.
    #[serde(deserialize_with = "values::duration")]
    pub backend_pause: Duration,
    /// How often a watched mailbox is asked for news on a server without IDLE.
    #[serde(deserialize_with = "values::duration")]
    pub poll_interval: Duration,
    /// How long a client hears nothing of its command before it is told that this goes on.
    #[serde(deserialize_with = "values::duration")]
    pub progress_interval: Duration,
    /// How long clients are held while their account changes its phase.
    #[serde(deserialize_with = "values::duration")]
    pub phase_wait: Duration,
    /// So much is to be kept free on the disk of the index: with less, nothing new is taken on.
    #[serde(deserialize_with = "values::size")]
    pub free_space: u64,
    /// Whether a client whose ID says that it only fills its index is put off while old is strained.
    pub postpone_indexing: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_per_account: CONNECTIONS_PER_ACCOUNT,
            sessions: SESSIONS,
            sessions_per_address: SESSIONS_PER_ADDRESS,
            line: LINE,
            line_before_login: LINE_BEFORE_LOGIN,
            literal_before_login: LITERAL_BEFORE_LOGIN,
            command: COMMAND,
            message: MESSAGE,
            idle_timeout: IDLE_TIMEOUT,
            login_timeout: LOGIN_TIMEOUT,
            login_failure_delay: LOGIN_FAILURE_DELAY,
            backend_connect_timeout: BACKEND_CONNECT_TIMEOUT,
            backend_command_timeout: BACKEND_COMMAND_TIMEOUT,
            backend_failures: BACKEND_FAILURES,
            backend_pause: BACKEND_PAUSE,
            poll_interval: POLL_INTERVAL,
            progress_interval: PROGRESS_INTERVAL,
            phase_wait: PHASE_WAIT,
            free_space: FREE_SPACE,
            postpone_indexing: false,
        }
    }
}

/// Dovecot allows ten connections for a user and address, and every user comes from the proxy's
/// address; four leave room for devices that still talk to the server directly.
pub const CONNECTIONS_PER_ACCOUNT: usize = 4;

/// With fewer, a watcher or a copy, which never take the last connection, would never run.
pub const LEAST_CONNECTIONS_PER_ACCOUNT: usize = 2;

/// An idle session takes some 20 KiB, so these take some 200 MiB; one that is compressed takes
/// 45 KiB more, and 200 KiB more for the second in which it is busy.
pub const SESSIONS: usize = 10_000;

/// One address may be a whole office behind its router, with five connections a user; yet it must
/// not take all sessions.
pub const SESSIONS_PER_ADDRESS: usize = 1_000;

/// What Dovecot accepts; the UID sets that clients send for large mailboxes fit.
pub const LINE: u64 = 64 << 10;

/// RFC 7162 section 4 wants 8,192 octets of any server; OAuth tokens fit.
pub const LINE_BEFORE_LOGIN: u64 = 8 << 10;

/// Names and passwords are short, and nobody is known yet to whom more memory could be lent.
pub const LITERAL_BEFORE_LOGIN: u64 = 4 << 10;

/// A command is held in memory as a whole; a thousand literals of a SEARCH still fit.
pub const COMMAND: u64 = 1 << 20;

/// No known mail service takes messages of more than some 150 MB; the new server has its own
/// limit and says so itself.
pub const MESSAGE: u64 = 256 << 20;

/// RFC 9051 section 5.4: at least 30 minutes, and clients renew IDLE before 29.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Long enough for a person who types a password into a terminal; short enough that silent
/// connections do not pile up.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What Dovecot does: guessing gets slow, a mistyped password hardly.
pub const LOGIN_FAILURE_DELAY: Duration = Duration::from_secs(2);

/// A server that is there answers in a second even from far away; a client shows its own error
/// after 30 to 60.
pub const BACKEND_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An old server without a text index searches a large mailbox for minutes without a word.
pub const BACKEND_COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A single account retries a few times within seconds; a server that fails all of these is not
/// merely restarting.
pub const BACKEND_FAILURES: u32 = 5;

/// Nobody waits much longer than the server needs to come back, and one connection in that time
/// burdens none.
pub const BACKEND_PAUSE: Duration = Duration::from_secs(5);

/// New mail within ten seconds feels like push, and one NOOP in that time is nothing to a server.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// What is under way when there is no more room takes a few MiB to its end.
pub const FREE_SPACE: u64 = 64 << 20;

/// Clients give up a server that says nothing for a minute or so; nobody reads more than this.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Longer than any command but a large transfer takes, and shorter than clients wait for a login.
const PHASE_WAIT: Duration = Duration::from_secs(20);
