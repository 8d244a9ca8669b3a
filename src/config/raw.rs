//! The configuration file as it is written: one struct a table, one field a key.
//!
//! What serde can refuse is refused here: unknown keys, values of the wrong kind. Everything that
//! needs two keys to be seen is left to `check`; what it may have to point at is `Spanned`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::Problem;
use super::smtp::{Forward, InboundEndpoint, RawJournal, RawSmtp, SubmissionEndpoint};
use super::{Compress, Endpoint, Limits, Match, Mirror, Protocol, Quirk, Tls, trickle, values};
use crate::base::{Phase, Side};

pub(super) fn parse(text: &str) -> Result<File, Problem> {
    toml::from_str(text).map_err(Problem::from)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default = "state")]
    pub(super) state: PathBuf,
    pub(super) tls: Option<Tls>,
    pub(super) listen: Vec<Spanned<Listen>>,
    pub(super) old: Backend,
    pub(super) new: Backend,
    #[serde(default)]
    pub(super) auth: Auth,
    #[serde(default)]
    pub(super) accounts: Accounts,
    #[serde(default)]
    pub(super) folders: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) copy: Copying,
    #[serde(default)]
    pub(super) phase: Phases,
    #[serde(default)]
    pub(super) admin: Admin,
    #[serde(default)]
    pub(super) snapshots: Snapshots,
    #[serde(default)]
    pub(super) smtp: RawSmtp,
    pub(super) journal: Option<RawJournal>,
    #[serde(default = "trickle")]
    pub(super) trickle: Spanned<trickle::Written>,
    #[serde(default = "limits")]
    pub(super) limits: Spanned<Limits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) protocol: Protocol,
    #[serde(deserialize_with = "values::address")]
    pub(super) address: SocketAddr,
    #[serde(default)]
    pub(super) trusted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub(super) imap: Spanned<Endpoint>,
    pub(super) submission: Option<Spanned<SubmissionEndpoint>>,
    pub(super) inbound: Option<Spanned<InboundEndpoint>>,
    #[serde(default)]
    pub(super) smtp_forward: Forward,
    pub(super) ca: Option<PathBuf>,
    pub(super) server_name: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) allow_plain: bool,
    #[serde(default)]
    pub(super) mask: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) quirks: BTreeSet<Quirk>,
    #[serde(default)]
    pub(super) compress: Compress,
    #[serde(default)]
    pub(super) id_forward: bool,
    pub(super) read_only: Option<Spanned<bool>>,
    pub(super) credentials: Option<Spanned<Credentials>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) mode: Mode,
    pub(super) login: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) style: Option<Spanned<Style>>,
    pub(super) separator: Option<Spanned<String>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
    pub(super) key_env: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Same,
    Master,
    Table,
    Learned,
}

#[derive(Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Style {
    #[default]
    Authzid,
    Separator,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) primary: Side,
    pub(super) allow_cleartext: bool,
    #[serde(deserialize_with = "values::duration")]
    pub(super) remember: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Auth { primary: Side::Old, allow_cleartext: false, remember: REMEMBER }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Accounts {
    pub(super) domains: Vec<Spanned<String>>,
    pub(super) default_domain: Option<Spanned<String>>,
    pub(super) phase: Option<Phase>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Copying {
    pub(super) on_access: bool,
    #[serde(rename = "match")]
    pub(super) matching: Match,
    pub(super) history: Option<Spanned<String>>,
    #[serde(deserialize_with = "values::size")]
    pub(super) tee_memory: u64,
    #[serde(deserialize_with = "values::size")]
    pub(super) spool_budget: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(super) grace: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(super) retry: Duration,
    pub(super) mirror: Mirror,
}

impl Default for Copying {
    fn default() -> Self {
        Copying {
            on_access: true,
            matching: Match::Content,
            history: None,
            tee_memory: TEE_MEMORY,
            spool_budget: SPOOL_BUDGET,
            grace: GRACE,
            retry: RETRY,
            mirror: Mirror::None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Phases {
    #[serde(deserialize_with = "values::duration")]
    pub(super) grace: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(super) look: Duration,
}

impl Default for Phases {
    fn default() -> Self {
        Phases { grace: LATECOMERS, look: LOOK }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) socket: Option<PathBuf>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) metrics_per_account: bool,
    pub(super) audit: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Snapshots {
    #[serde(deserialize_with = "values::duration")]
    pub(super) every: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(super) keep_all: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(super) keep_daily: Duration,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots { every: SNAPSHOT_EVERY, keep_all: KEEP_ALL, keep_daily: KEEP_DAILY }
    }
}

fn state() -> PathBuf {
    STATE.into()
}

fn trickle() -> Spanned<trickle::Written> {
    Spanned::new(0..0, trickle::Written::default())
}

fn limits() -> Spanned<Limits> {
    Spanned::new(0..0, Limits::default())
}

/// Beside the configuration file.
const STATE: &str = "state";

/// The burst of connections with which a client starts costs one judgement, not five; a changed
/// password is noticed within a minute.
const REMEMBER: Duration = Duration::from_secs(60);

/// Nine messages out of ten are smaller, and need no file.
const TEE_MEMORY: u64 = 1 << 20;

/// Some two hundred opened messages at once; what does not fit is only read a second time.
const SPOOL_BUDGET: u64 = 256 << 20;

/// A server that lost its client in the middle of an APPEND has decided by then what became of it.
const GRACE: Duration = Duration::from_secs(60);

/// A server that tries again gives up after five days, and a user's filter is found out after a week.
const LATECOMERS: Duration = Duration::from_hours(14 * 24);

/// Mail that comes by way of old is late by no more than that.
const LOOK: Duration = Duration::from_mins(10);

/// What happened within an hour is soon absorbed again, and a snapshot takes a second or so.
const SNAPSHOT_EVERY: Duration = Duration::from_hours(1);

/// For what is noticed on the same day,
const KEEP_ALL: Duration = Duration::from_hours(24);

/// and for what is noticed after a holiday.
const KEEP_DAILY: Duration = Duration::from_hours(7 * 24);

/// After a first refusal.
const RETRY: Duration = Duration::from_mins(10);
