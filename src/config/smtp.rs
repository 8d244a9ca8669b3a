//! SMTP's part of the configuration (DESIGN §9): `[smtp]`, `[journal]`, and each server's
//! `submission`, `inbound` and `smtp_forward`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use serde::de::Deserializer;
use toml::Spanned;

use super::error::Problem;
use super::values::{self, Endpoint, Security, Service};
use crate::base::{AccountName, Side};

/// `[smtp]`: how mail is taken and routed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Smtp {
    /// What the proxy calls itself in greetings, towards servers and in trace fields.
    pub hostname: String,
    /// The side that is asked first to send for an account in phase merged.
    pub submission: Side,
    /// The side that receives for an account in phase merged.
    pub inbound: Side,
    /// Who receives for an address that is no account known here.
    pub unknown: Unknown,
    /// What stands between a local part and its tag (`ann+tag`); `None`: there are no tags.
    pub delimiter: Option<char>,
    /// Whose XCLIENT is believed, and who may use trusted listeners.
    pub trusted: Vec<IpNet>,
    /// What becomes of a CR or LF that stands alone in a message.
    pub bare_newlines: BareNewlines,
    /// Most recipients of one message.
    pub recipients: usize,
    /// Longest line of a message, in octets without its end.
    pub text_line: u64,
    /// A message that passed more servers goes in circles.
    pub hops: usize,
    /// How long a client may be silent.
    pub idle_timeout: Duration,
    /// How long a message may take from DATA to its end.
    pub message_timeout: Duration,
    /// How long a server may take to accept a message that it has whole.
    pub accept_timeout: Duration,
}

impl Smtp {
    /// Whether what this address says about others is believed.
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Who receives for an address that is no account known here: an alias, a list, nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// Old.
    Old,
    /// New.
    New,
    /// New if it accepts the recipient, else old.
    Ask,
}

/// What becomes of a CR or LF that stands alone in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewlines {
    /// The message is refused.
    Refuse,
    /// It becomes a line end; never the message's.
    Normalize,
}

/// How a server is told which client a connection is for, so that SPF and reputation still work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// Not at all.
    #[default]
    Off,
    /// By Postfix's XCLIENT, where the server offers it to the proxy.
    Xclient,
    /// By a PROXY header before everything else (HAProxy's, version 1).
    Proxy,
}

/// A service that speaks SMTP or LMTP, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmtpServer {
    /// Whose: `old`, `new` or `archive`.
    pub who: &'static str,
    /// Where.
    pub endpoint: Endpoint,
    /// The only authorities trusted for it.
    pub ca: Option<PathBuf>,
    /// The name its certificate is held against.
    pub server_name: ServerName<'static>,
    /// How it is told of clients.
    pub forward: Forward,
}

/// As it is named in logs.
impl fmt::Display for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} server {}", self.who, self.endpoint)
    }
}

/// `[journal]`: every accepted message goes to an archive first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// The archive.
    pub server: SmtpServer,
    /// What an account's archive address is made of.
    pub address: JournalAddress,
    /// The domains whose mail is archived.
    pub domains: Vec<String>,
    /// The envelope sender; `None`: the null sender, so that no report goes to anybody.
    pub sender: Option<String>,
}

impl Journal {
    /// The archive address of an account, if its mail is archived.
    pub fn address_of(&self, account: &AccountName) -> Option<String> {
        let wanted = self.domains.iter().any(|domain| domain == account.domain());
        wanted.then(|| self.address.fill(account))
    }
}

/// `{local}@{domain-dashed}.vaultastic.com`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalAddress(String);

impl JournalAddress {
    /// The archive address of an account.
    pub fn fill(&self, account: &AccountName) -> String {
        self.0
            .replace("{local}", account.local())
            .replace("{domain-dashed}", &account.domain().replace('.', "-"))
            .replace("{domain}", account.domain())
    }
}

/// `[smtp]` as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSmtp {
    hostname: Option<Spanned<String>>,
    submission: Side,
    inbound: Side,
    unknown: Unknown,
    delimiter: Spanned<String>,
    trusted: Vec<Spanned<String>>,
    bare_newlines: BareNewlines,
    recipients: Spanned<usize>,
    #[serde(deserialize_with = "values::size")]
    text_line: u64,
    hops: Spanned<usize>,
    #[serde(deserialize_with = "values::duration")]
    idle_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    message_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    accept_timeout: Duration,
}

impl Default for RawSmtp {
    fn default() -> Self {
        RawSmtp {
            hostname: None,
            submission: Side::New,
            inbound: Side::New,
            unknown: Unknown::Ask,
            delimiter: Spanned::new(0..0, "+".to_owned()),
            trusted: Vec::new(),
            bare_newlines: BareNewlines::Refuse,
            recipients: Spanned::new(0..0, RECIPIENTS),
            text_line: TEXT_LINE,
            hops: Spanned::new(0..0, HOPS),
            idle_timeout: IDLE_TIMEOUT,
            message_timeout: MESSAGE_TIMEOUT,
            accept_timeout: ACCEPT_TIMEOUT,
        }
    }
}

/// `[journal]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJournal {
    server: Spanned<InboundEndpoint>,
    #[serde(default)]
    allow_plain: bool,
    ca: Option<PathBuf>,
    server_name: Option<Spanned<String>>,
    #[serde(default = "vaultastic")]
    address: Spanned<String>,
    #[serde(default)]
    domains: Vec<Spanned<String>>,
    #[serde(default)]
    sender: Option<Spanned<String>>,
}

fn vaultastic() -> Spanned<String> {
    Spanned::new(0..0, VAULTASTIC.to_owned())
}

/// `submission://` or `submissions://`.
pub(super) struct SubmissionEndpoint(pub(super) Endpoint);

/// `smtp://` or `lmtp://`.
pub(super) struct InboundEndpoint(pub(super) Endpoint);

impl<'de> Deserialize<'de> for SubmissionEndpoint {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_str(values::Text {
            expected: "a server like \"submissions://host:465\" or \"submission://host:587\" (STARTTLS)",
            parse: |text| Endpoint::parse(text, &[Service::Submission]).map(SubmissionEndpoint),
        })
    }
}

impl<'de> Deserialize<'de> for InboundEndpoint {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_str(values::Text {
            expected: "a server like \"smtp://host:25\" or \"lmtp://host:24\" (both STARTTLS), \
                       or either with ?tls=none",
            parse: |text| {
                Endpoint::parse(text, &[Service::Smtp, Service::Lmtp]).map(InboundEndpoint)
            },
        })
    }
}

/// Checks `[smtp]`.
pub(super) fn smtp(raw: RawSmtp) -> Result<Smtp, Problem> {
    let hostname = match raw.hostname {
        Some(name) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            if name.as_ref().is_empty() || !name.as_ref().chars().all(fits) {
                return Err(Problem::at(name.span(), "`hostname` must be a host's name"));
            }
            name.into_inner()
        }
        None => own_hostname(),
    };
    let mut signs = raw.delimiter.as_ref().chars();
    let delimiter = match (signs.next(), signs.next()) {
        (sign, None) if sign.is_none_or(|c| c.is_ascii_punctuation() && c != '@' && c != '.') => {
            sign
        }
        _ => {
            return Err(Problem::at(
                raw.delimiter.span(),
                "`delimiter` must be one sign like \"+\", or \"\"",
            ));
        }
    };
    let network = |text: Spanned<String>| {
        let address = || text.as_ref().parse::<std::net::IpAddr>().map(IpNet::from);
        text.as_ref().parse::<IpNet>().or_else(|_| address()).map_err(|_| {
            Problem::at(text.span(), "expected a network like \"192.0.2.0/24\" or an address")
        })
    };
    if *raw.recipients.as_ref() == 0 {
        return Err(Problem::at(raw.recipients.span(), "`recipients` must be at least 1"));
    }
    if *raw.hops.as_ref() == 0 {
        return Err(Problem::at(raw.hops.span(), "`hops` must be at least 1"));
    }
    Ok(Smtp {
        hostname,
        submission: raw.submission,
        inbound: raw.inbound,
        unknown: raw.unknown,
        delimiter,
        trusted: raw.trusted.into_iter().map(network).collect::<Result<_, _>>()?,
        bare_newlines: raw.bare_newlines,
        recipients: *raw.recipients.as_ref(),
        text_line: raw.text_line,
        hops: *raw.hops.as_ref(),
        idle_timeout: raw.idle_timeout,
        message_timeout: raw.message_timeout,
        accept_timeout: raw.accept_timeout,
    })
}

/// What this machine calls itself; servers want a word in EHLO, and believe none.
fn own_hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if name.is_empty() || !name.chars().all(fits) { "localhost".to_owned() } else { name }
}

/// A service of a server whose table has these keys.
pub(super) struct Table<'a> {
    pub(super) who: &'static str,
    pub(super) ca: Option<PathBuf>,
    pub(super) allow_plain: bool,
    pub(super) forward: Forward,
    /// The name that certificates of this host bear.
    pub(super) named: Option<(&'a str, &'a ServerName<'static>)>,
}

/// Checks where a service is and how it is protected.
pub(super) fn server(
    endpoint: Endpoint,
    span: std::ops::Range<usize>,
    table: Table<'_>,
) -> Result<SmtpServer, Problem> {
    if endpoint.security == Security::Plain && !endpoint.is_loopback() && !table.allow_plain {
        return Err(Problem::at(
            span,
            "without TLS, mail crosses the network readable to all; if that is really wanted, \
             set allow_plain = true in this table",
        ));
    }
    let server_name = match table.named {
        Some((host, name)) if host == endpoint.host => name.clone(),
        _ => name(&endpoint.host, span)?,
    };
    Ok(SmtpServer { who: table.who, endpoint, ca: table.ca, server_name, forward: table.forward })
}

fn name(text: &str, span: std::ops::Range<usize>) -> Result<ServerName<'static>, Problem> {
    let name = ServerName::try_from(text).map_err(|_| {
        Problem::at(
            span,
            format!("`{}` is no name that a certificate can bear", text.escape_debug()),
        )
    })?;
    Ok(name.to_owned())
}

/// Checks `[journal]`. `served`: the domains of `[accounts]`.
pub(super) fn journal(raw: RawJournal, served: &[String], home: &Path) -> Result<Journal, Problem> {
    let span = raw.server.span();
    let endpoint = raw.server.into_inner().0;
    if endpoint.service == Service::Lmtp {
        return Err(Problem::at(span, "an archive is reached by smtp://"));
    }
    let mut server = server(
        endpoint,
        span,
        Table {
            who: "archive",
            ca: raw.ca.map(|ca| home.join(ca)),
            allow_plain: raw.allow_plain,
            forward: Forward::Off,
            named: None,
        },
    )?;
    if let Some(text) = raw.server_name {
        server.server_name = name(text.as_ref(), text.span())?;
    }
    let template = JournalAddress(raw.address.as_ref().clone());
    let ann = AccountName::canonical("ann@example.com", None);
    let sample = ann.map(|ann| template.fill(&ann)).unwrap_or_default();
    // Without the local part, everybody's mail would lie in one archive: allowed, some want that.
    if !is_address(&sample) {
        return Err(Problem::at(
            raw.address.span(),
            "`address` must become an address; {local}, {domain} and {domain-dashed} are known",
        ));
    }
    let sender = raw.sender.filter(|sender| !sender.as_ref().is_empty());
    if let Some(sender) = &sender
        && !is_address(sender.as_ref())
    {
        return Err(Problem::at(sender.span(), "`sender` must be an address, or \"\""));
    }
    let mut domains = Vec::new();
    for domain in raw.domains {
        let name = domain.as_ref().to_lowercase();
        if !served.contains(&name) {
            return Err(Problem::at(domain.span(), "`domains` must be among those of [accounts]"));
        }
        domains.push(name);
    }
    if domains.is_empty() {
        domains = served.to_vec();
    }
    Ok(Journal { server, address: template, domains, sender: sender.map(Spanned::into_inner) })
}

/// Roughly: enough that nothing in it can end a command or be taken for more than one address.
fn is_address(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(fits)
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
            && !part.contains(['{', '}'])
    };
    text.split_once('@').is_some_and(|(local, domain)| part(local) && part(domain))
}

/// RFC 5321 §4.5.3.1.8 wants 100; mailing lists of an office have more.
const RECIPIENTS: usize = 1_000;

/// RFC 5322 §2.1.1 says 998; programs that write whole paragraphs or documents into one are many.
const TEXT_LINE: u64 = 1 << 20;

/// Postfix's own limit.
const HOPS: usize = 50;

/// RFC 5321 §4.5.3.2.7.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A large message over a slow line.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// RFC 5321 §4.5.3.2.6.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

const VAULTASTIC: &str = "{local}@{domain-dashed}.vaultastic.com";
