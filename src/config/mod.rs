//! `proxy.toml` → typed, checked settings (DESIGN §10).
//!
//! Owns every key, default and check of the configuration file, and the rule by which a side's
//! login is made. Never opens a socket and reads no file but the configuration itself and the
//! password files it names. A value that came out of here needs no second look.
//!
//! [`Config::load`] reads in two steps: `raw` mirrors the file with serde, so that an unknown key
//! or a value of the wrong kind is refused where it stands; `check` turns that into the types
//! below and finds what is wrong between keys.

mod check;
mod credentials;
mod error;
mod limits;
mod raw;
mod smtp;
mod table;
#[cfg(test)]
mod tests;
mod trickle;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde::Deserialize;

use crate::base::{AccountName, Phase, SecretString, Side, Sides};

pub use credentials::{
    BackendLogin, Credentials, LoginTemplate, Master, MasterStyle, Mode, Row, Table,
};
pub use error::{ConfigError, nearest};
pub use limits::Limits;
pub use smtp::{BareNewlines, Forward, Journal, JournalAddress, Smtp, SmtpServer, Unknown};
pub use trickle::{Day, Hours, Rate, Trickle};
pub use values::{Endpoint, Security, Service};

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the index and the spool.
    pub state: PathBuf,
    /// The proxy's own certificate; `None` only if no listener needs one.
    pub tls: Option<Tls>,
    /// Where clients connect; at least one.
    pub listen: Vec<Listen>,
    /// The two servers.
    pub backends: Sides<Backend>,
    /// Who judges a password, and how.
    pub auth: Auth,
    /// Which accounts there are.
    pub accounts: Accounts,
    /// The explicit map of folders, old name → new name, as UTF-8 text in each server's own
    /// spelling of hierarchy. One to one; never names INBOX.
    pub folders: BTreeMap<String, String>,
    /// How messages are copied.
    pub copy: Copying,
    /// What is done after an account has left old.
    pub phase: Phases,
    /// How the administrator reaches the running proxy.
    pub admin: Admin,
    /// When the index is saved.
    pub snapshots: Snapshots,
    /// How mail is taken and routed.
    pub smtp: Smtp,
    /// The archive that gets every message first, if there is one.
    pub journal: Option<Journal>,
    /// What is copied that nobody opened.
    pub trickle: Trickle,
    /// What anybody may use up, and for how long.
    pub limits: Limits,
}

impl Config {
    /// Reads and checks the configuration file, and the password files it names.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::from_text(&error::read(path)?, path)
    }

    /// Checks a configuration that was read already. `path` is where it came from: errors name it,
    /// and paths in the text are relative to its directory.
    pub fn from_text(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let home = path.parent().unwrap_or(Path::new(""));
        raw::parse(text)
            .and_then(|raw| check::check(raw, home))
            .map_err(|problem| problem.in_file(path, text))
    }

    /// Only the `[tls]` table of the file: what `mailferry certs` needs before the rest of the
    /// configuration can be complete. `None` if the file has no such table.
    pub fn load_tls(path: &Path) -> Result<Option<Tls>, ConfigError> {
        let text = error::read(path)?;
        let raw = raw::parse(&text).map_err(|problem| problem.in_file(path, &text))?;
        let home = path.parent().unwrap_or(Path::new(""));
        Ok(raw.tls.map(|tls| tls.relative_to(home)))
    }

    /// What is allowed but should be known to who runs this: one sentence each, for the log.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.auth.allow_cleartext {
            let mail = self.listen.iter().filter(|l| l.protocol != Protocol::Admin);
            for listen in mail.filter(|l| !l.address.ip().is_loopback()) {
                warnings.push(format!(
                    "auth.allow_cleartext lets passwords cross the network in clear text on {}",
                    listen.address
                ));
            }
        }
        for listen in self.listen.iter().filter(|l| l.protocol == Protocol::Admin) {
            if !listen.address.ip().is_loopback() {
                warnings.push(format!(
                    "the admin listener on {} is not encrypted: the token and account names cross \
                     the network in clear text",
                    listen.address
                ));
            }
        }
        for (side, backend) in self.backends.iter() {
            if backend.imap.security == Security::Plain && !backend.imap.is_loopback() {
                warnings.push(format!(
                    "the connection to the {side} server {} is not encrypted",
                    backend.imap
                ));
            }
        }
        let services = self.backends.iter().flat_map(|(_, b)| [&b.submission, &b.inbound]);
        let archive = self.journal.iter().map(|journal| &journal.server);
        for server in services.flatten().chain(archive) {
            if server.endpoint.security == Security::Plain && !server.endpoint.is_loopback() {
                warnings.push(format!("the connection to the {server} is not encrypted"));
            }
        }
        warnings
    }
}

/// The proxy's own certificate and key, both PEM.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Tls {
    fn relative_to(self, home: &Path) -> Tls {
        Tls { cert: home.join(self.cert), key: home.join(self.key) }
    }
}

/// One address on which clients are received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Only the servers themselves may connect (SMTP).
    pub trusted: bool,
}

/// What a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IMAP, with STARTTLS offered where there is a certificate.
    Imap,
    /// IMAP inside TLS from the first octet (RFC 8314).
    Imaps,
    /// Users send mail (RFC 6409), with STARTTLS offered where there is a certificate.
    Submission,
    /// Users send mail, inside TLS from the first octet (RFC 8314).
    Submissions,
    /// Mail comes in for accounts here (RFC 5321).
    Smtp,
    /// HTTP for the administrator: metrics, health, state.
    Admin,
}

/// One of the two servers, and how the proxy is its client.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Which one it is.
    pub side: Side,
    /// Where its IMAP service is.
    pub imap: Endpoint,
    /// Where users' mail is sent through.
    pub submission: Option<SmtpServer>,
    /// Where mail for its accounts goes.
    pub inbound: Option<SmtpServer>,
    /// The only certificate authorities trusted for it; `None`: those the system trusts.
    pub ca: Option<PathBuf>,
    /// The name its certificate is held against: `server_name`, or else the host of `imap`.
    pub server_name: ServerName<'static>,
    /// Capabilities it offers that are to be ignored, in capitals.
    pub mask: BTreeSet<String>,
    /// What it does that it should not, as far as that is known beforehand.
    pub quirks: BTreeSet<Quirk>,
    /// Whether connections to it are compressed.
    pub compress: Compress,
    /// Whether it is told for which client a connection is opened.
    pub id_forward: bool,
    /// Whether nothing may be changed there: only ever of old.
    pub read_only: bool,
    /// How to log in there.
    pub credentials: Credentials,
}

/// What a server does that it should not, and what the proxy then does without.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// It offers CONDSTORE, and has mailboxes without MODSEQs: neither CONDSTORE nor QRESYNC is used.
    NoModseq,
    /// It offers LIST-EXTENDED, and answers LIST with BAD where all its options are used: none is.
    NoListOptions,
    /// It cannot take a command before it has answered the one before.
    OneAtATime,
}

impl Quirk {
    /// All there are.
    pub const ALL: [Quirk; 3] = [Quirk::NoModseq, Quirk::NoListOptions, Quirk::OneAtATime];

    /// As it is written in `proxy.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Quirk::NoModseq => "no-modseq",
            Quirk::NoListOptions => "no-list-options",
            Quirk::OneAtATime => "one-at-a-time",
        }
    }
}

/// Whether connections to a server are compressed (RFC 4978).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Where the server offers it.
    Auto,
    /// Never. The default: on the same machine or in the same network it saves nothing, and costs
    /// both ends time for every octet.
    #[default]
    Off,
}

/// Who judges a password (DESIGN §8).
#[derive(Clone, Debug)]
pub struct Auth {
    /// The side that judges; its credentials are always of mode `same`.
    pub primary: Side,
    /// Whether LOGIN and PLAIN are accepted without TLS.
    pub allow_cleartext: bool,
    /// For how long a success is remembered; zero: never.
    pub remember: Duration,
}

/// Which accounts there are and in what phase.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The only domains served, in lower case; empty: any.
    pub domains: Vec<String>,
    /// What completes a bare user name; by default the first of `domains`.
    pub default_domain: Option<String>,
    /// The phase of an account that is not set otherwise.
    pub phase: Phase,
}

impl Accounts {
    /// The account meant by what a client typed; `None` if there can be no such account here.
    pub fn account(&self, typed: &str) -> Option<AccountName> {
        let name = AccountName::canonical(typed, self.default_domain.as_deref())?;
        let served = self.domains.is_empty() || self.domains.iter().any(|d| d == name.domain());
        served.then_some(name)
    }
}

/// How the administrator reaches the running proxy.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The Unix socket for commands.
    pub socket: PathBuf,
    /// What must be shown on the admin listener for anything but health; `None`: nothing else is told.
    pub token: Option<SecretString>,
    /// Whether metrics name accounts.
    pub metrics_per_account: bool,
    /// The file of the audit log, beside the log itself.
    pub audit: Option<PathBuf>,
}

/// How messages are copied (DESIGN §7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copying {
    /// Whether a message is copied because a client opened it.
    pub on_access: bool,
    /// What tells that a message lies on both servers already.
    pub matching: Match,
    /// The folder on new below which a tool has put mail, folder by folder, that belongs elsewhere: in
    /// new's spelling.
    pub history: Option<String>,
    /// Up to which size an opened message is collected in memory; beyond, in a spool file.
    pub tee_memory: u64,
    /// How many octets may be collected at once, of all accounts, in memory and in files.
    pub spool_budget: u64,
    /// How long after a lost connection the outcome of its APPEND may still show.
    pub grace: Duration,
    /// How long a message waits that new refused, or an account for which it has no room; each refusal doubles
    /// it, up to a day.
    pub retry: Duration,
    /// What old is told of while both servers are one.
    pub mirror: Mirror,
}

/// What old is told of while an account is in phase merged; when it goes back, old is told of all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mirror {
    /// What lies on new alone is copied to old, flags follow, and what a client removes is removed.
    All,
    /// Flags of what lies on both.
    Flags,
    /// Nothing.
    #[default]
    None,
}

/// What is done for an account after it has left old.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phases {
    /// So long mail that still comes to old is copied to new; zero: none is.
    pub grace: Duration,
    /// So often old is looked at for it.
    pub look: Duration,
}

/// When snapshots of the index are taken, and for how long they are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshots {
    /// Between two of them; zero: none is taken.
    pub every: Duration,
    /// So long all are kept.
    pub keep_all: Duration,
    /// So long the last one of each day is kept.
    pub keep_daily: Duration,
}

/// What tells that a message lies on both servers already (DESIGN §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// Its octets, without what copying tools are known to change. Both servers are asked for every
    /// message that may lie on both.
    Content,
    /// Message-ID, Date, From, Subject and size; the octets only where those leave a doubt.
    MessageId,
    /// Nothing: all that lies on new is shown beside what lies on old.
    Off,
}
