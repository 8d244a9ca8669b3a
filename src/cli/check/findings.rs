//! What `mailferry check` found out: the object of `--json`, and the text for people.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::mail::MailService;
use crate::base::{Side, Sides};
use crate::config::Backend;

/// Everything that was found.
#[derive(Serialize, Debug)]
pub(super) struct Findings {
    /// Whether nothing failed.
    pub ok: bool,
    pub configuration: Configuration,
    /// The canonical name of the user whose login was tried.
    pub account: Option<String>,
    pub sides: Sides<SideFindings>,
    /// Only where there is a journal.
    pub archive: Option<MailService>,
    /// Only if both sides could be listed.
    pub folders: Option<Vec<Folder>>,
    pub failures: Vec<Failed>,
}

/// What the configuration says, which was read and is in order.
#[derive(Serialize, Debug)]
pub(super) struct Configuration {
    pub path: PathBuf,
    pub warnings: Vec<String>,
    pub listen: Vec<String>,
    pub certificate: Option<Certificate>,
}

/// The proxy's own certificate.
#[derive(Serialize, Debug)]
pub(super) struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whether both load and belong together.
    pub ok: bool,
}

/// One server.
#[derive(Serialize, Debug)]
pub(super) struct SideFindings {
    pub address: String,
    pub reached: bool,
    /// `None` where the connection is not encrypted, or there is none.
    pub tls: Option<Tls>,
    pub greeting: Option<String>,
    pub capabilities_before_login: Vec<String>,
    pub login: Option<Login>,
    /// After login, without those that are masked.
    pub capabilities: Vec<String>,
    pub masked: Vec<String>,
    pub features: Vec<Feature>,
    pub namespaces: Vec<Namespace>,
    /// How many folders it lists.
    pub folders: Option<usize>,
    /// Its services for mail, as far as the configuration names them.
    pub mail: Vec<MailService>,
}

/// How a connection is encrypted. An unverified one is never used.
#[derive(Serialize, Debug)]
pub(super) struct Tls {
    pub version: &'static str,
    /// The name that the certificate was held against.
    pub verified_for: String,
}

/// A login that was tried, or not.
#[derive(Serialize, Debug)]
pub(super) struct Login {
    pub login: String,
    pub on_behalf_of: Option<String>,
    pub with: &'static str,
    pub outcome: Outcome,
}

/// How a login ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Ok,
    /// The server said NO.
    Refused,
    /// The server could not say.
    Failed,
    /// The primary side has not confirmed the password.
    NotTried,
}

/// Something that the proxy makes use of.
#[derive(Serialize, Debug)]
pub(super) struct Feature {
    pub name: &'static str,
    pub offered: bool,
    /// What follows from it.
    pub meaning: &'static str,
}

/// A namespace (RFC 2342).
#[derive(Serialize, Debug)]
pub(super) struct Namespace {
    pub kind: &'static str,
    pub prefix: String,
    pub separator: Option<String>,
}

/// A folder as the client will see it.
#[derive(Serialize, Debug)]
pub(super) struct Folder {
    pub client: String,
    pub old: Option<String>,
    /// The name it has, or would be made with, on new.
    pub new: String,
    pub exists_on_new: bool,
    pub special_use: Option<&'static str>,
    pub selectable: bool,
}

/// Something that did not work.
#[derive(Serialize, Debug)]
pub(super) struct Failed {
    pub side: Option<Side>,
    pub tried: String,
    #[serde(rename = "where")]
    pub place: String,
    pub said: String,
    pub next: String,
}

impl SideFindings {
    /// Nothing found out yet.
    pub(super) fn of(backend: &Backend) -> SideFindings {
        SideFindings {
            address: backend.imap.to_string(),
            reached: false,
            tls: None,
            greeting: None,
            capabilities_before_login: Vec::new(),
            login: None,
            capabilities: Vec::new(),
            masked: backend.mask.iter().cloned().collect(),
            features: Vec::new(),
            namespaces: Vec::new(),
            folders: None,
            mail: Vec::new(),
        }
    }

    pub(super) fn is_logged_in(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.outcome == Outcome::Ok)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.configuration)?;
        for (side, found) in self.sides.iter() {
            write!(f, "{side} server {}\n{found}", found.address)?;
            found.mail.iter().try_for_each(|service| write!(f, "{service}"))?;
            writeln!(f)?;
        }
        if let Some(archive) = &self.archive {
            writeln!(f, "archive\n{archive}")?;
        }
        if let Some(folders) = &self.folders {
            write_folders(f, folders)?;
        }
        if self.account.is_none() {
            writeln!(
                f,
                "Not tried: a login. With --user NAME and --password-file FILE or --password-env \
                 VAR, the logins,\nwhat the servers offer then, and how the folders map are shown \
                 too.\n"
            )?;
        }
        match self.failures.len() {
            0 => writeln!(f, "All is well."),
            1 => writeln!(f, "One thing failed:"),
            n => writeln!(f, "{n} things failed:"),
        }?;
        self.failures.iter().try_for_each(|failed| write!(f, "{failed}"))
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "configuration {}: in order", self.path.display())?;
        if let Some(Certificate { cert, ok, .. }) = &self.certificate {
            let state = if *ok { "loads, with its key" } else { "FAILED" };
            writeln!(f, "  certificate {}: {state}", cert.display())?;
        }
        writeln!(f, "  clients connect to {}", self.listen.join(", "))
    }
}

impl fmt::Display for SideFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.reached {
            return writeln!(f, "  FAILED: not reached");
        }
        match &self.tls {
            Some(Tls { version, verified_for }) => {
                writeln!(f, "  reached, {version}, certificate verified for {verified_for}")?;
            }
            None => writeln!(f, "  reached, not encrypted")?,
        }
        if let Some(greeting) = self.greeting.as_deref().filter(|words| !words.is_empty()) {
            writeln!(f, "  greeting: {greeting}")?;
        }
        writeln!(f, "  offers before login: {}", self.capabilities_before_login.join(" "))?;
        let Some(login) = &self.login else { return Ok(()) };
        writeln!(f, "  {login}")?;
        if login.outcome != Outcome::Ok {
            return Ok(());
        }
        writeln!(f, "  offers after login: {}", self.capabilities.join(" "))?;
        if !self.masked.is_empty() {
            writeln!(f, "  ignored, by `mask`: {}", self.masked.join(" "))?;
        }
        for Namespace { kind, prefix, separator } in &self.namespaces {
            match separator {
                Some(separator) => {
                    writeln!(
                        f,
                        "  namespace, {kind}: prefix \"{prefix}\", separator \"{separator}\""
                    )?;
                }
                None => writeln!(f, "  namespace, {kind}: prefix \"{prefix}\", no separator")?,
            }
        }
        for Feature { name, offered, meaning } in &self.features {
            let sign = if *offered { "has" } else { "lacks" };
            writeln!(f, "  {sign:5} {name:11}  {meaning}")?;
        }
        match self.folders {
            Some(folders) => writeln!(f, "  {folders} folders"),
            None => writeln!(f, "  FAILED: the folders were not listed"),
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login as {}", self.login)?;
        if let Some(user) = &self.on_behalf_of {
            write!(f, " for {}", user)?;
        }
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Refused => "REFUSED",
            Outcome::Failed => "FAILED",
            Outcome::NotTried => "not tried, the password was not confirmed by the other server",
        };
        write!(f, ", with {}: {outcome}", self.with)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { tried, place, said, next, .. } = self;
        match self.side {
            Some(side) => writeln!(f, "  {tried}, {side} server {place}")?,
            None => writeln!(f, "  {tried}, {place}")?,
        }
        writeln!(f, "    said: {said}\n    next: {next}")
    }
}

fn write_folders(f: &mut fmt::Formatter<'_>, folders: &[Folder]) -> fmt::Result {
    let mut rows = vec![[
        "the client sees".to_owned(),
        "on old".to_owned(),
        "on new".to_owned(),
        String::new(),
    ]];
    for folder in folders {
        let made = if folder.exists_on_new { "" } else { "+ " };
        let notes: Vec<&str> = folder
            .special_use
            .into_iter()
            .chain((!folder.selectable).then_some("holds no messages"))
            .collect();
        rows.push([
            folder.client.clone(),
            folder.old.as_deref().unwrap_or("-").to_owned(),
            format!("{made}{}", folder.new),
            notes.join(", "),
        ]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let (client, old, new) = (width(0), width(1), width(2));
    writeln!(f, "folders, as they would be joined now; +: would be made when first needed there")?;
    for [a, b, c, d] in &rows {
        let line = format!("  {a:client$}  {b:old$}  {c:new$}  {d}");
        writeln!(f, "{}", line.trim_end())?;
    }
    writeln!(f)
}
