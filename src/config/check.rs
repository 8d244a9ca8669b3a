//! From the file as written to checked settings: what is wrong between keys is found here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use rustls_pki_types::ServerName;
use toml::Spanned;

use super::error::Problem;
use super::limits::LEAST_CONNECTIONS_PER_ACCOUNT;
use super::table;
use super::{
    Accounts, Admin, Auth, Backend, Config, Copying, Credentials, Forward, Limits, Listen,
    LoginTemplate, Master, MasterStyle, Match, Mirror, Mode, Phases, Protocol, Security, Snapshots,
    Trickle, raw, smtp,
};
use crate::base::{ExposeSecret, Phase, SecretString, Side, Sides};

/// Checks the file; paths in it are relative to `home`.
pub(super) fn check(raw: raw::File, home: &Path) -> Result<Config, Problem> {
    let auth = Auth {
        primary: raw.auth.primary,
        allow_cleartext: raw.auth.allow_cleartext,
        remember: raw.auth.remember,
    };
    let state = home.join(raw.state);
    let accounts = accounts(raw.accounts)?;
    read_only(&raw.old, &raw.new, raw.copy.mirror, accounts.phase)?;
    let needs = Needs {
        submission: raw.old.submission.is_some() && raw.new.submission.is_some(),
        inbound: raw.old.inbound.is_some() && raw.new.inbound.is_some(),
        domains: !accounts.domains.is_empty(),
    };
    let served = accounts.domains.clone();
    let domain = accounts.default_domain.as_deref();
    Ok(Config {
        listen: listeners(raw.listen, raw.tls.is_some(), auth.allow_cleartext, &needs)?,
        admin: admin(raw.admin, &state, home)?,
        state,
        tls: raw.tls.map(|tls| tls.relative_to(home)),
        backends: Sides {
            old: backend(raw.old, Side::Old, home, domain)?,
            new: backend(raw.new, Side::New, home, domain)?,
        },
        auth,
        accounts,
        smtp: smtp::smtp(raw.smtp)?,
        journal: raw.journal.map(|raw| smtp::journal(raw, &served, home)).transpose()?,
        folders: folders(raw.folders)?,
        copy: Copying {
            on_access: raw.copy.on_access,
            matching: raw.copy.matching,
            history: history(raw.copy.history, raw.copy.matching)?,
            tee_memory: raw.copy.tee_memory,
            spool_budget: raw.copy.spool_budget,
            grace: raw.copy.grace,
            retry: raw.copy.retry,
            mirror: raw.copy.mirror,
        },
        phase: Phases { grace: raw.phase.grace, look: raw.phase.look },
        snapshots: Snapshots {
            every: raw.snapshots.every,
            keep_all: raw.snapshots.keep_all,
            keep_daily: raw.snapshots.keep_daily,
        },
        trickle: trickle(raw.trickle)?,
        limits: limits(raw.limits)?,
    })
}

/// What a server that is not to be changed stands against.
fn read_only(
    old: &raw::Backend,
    new: &raw::Backend,
    mirror: Mirror,
    phase: Phase,
) -> Result<(), Problem> {
    let said = |backend: &raw::Backend| {
        let said = backend.read_only.as_ref().filter(|said| *said.as_ref());
        said.map(Spanned::span)
    };
    if let Some(span) = said(new) {
        return Err(Problem::at(span, "`read_only` is for [old]: messages are copied to new"));
    }
    let Some(span) = said(old) else { return Ok(()) };
    let why = if mirror != Mirror::None {
        "`read_only`: nothing can be mirrored to this server, leave out `mirror` in [copy]"
    } else if phase == Phase::Old {
        "`read_only`: accounts cannot be in phase old, where all is done on this server"
    } else {
        return Ok(());
    };
    Err(Problem::at(span, why))
}

/// What is there of what listeners for SMTP need.
struct Needs {
    submission: bool,
    inbound: bool,
    domains: bool,
}

fn admin(raw: raw::Admin, state: &Path, home: &Path) -> Result<Admin, Problem> {
    let token = match raw.token_file {
        None => None,
        Some(file) => {
            let span = file.span();
            Some(secret_in_file("token_file", &home.join(file.into_inner()), span)?)
        }
    };
    Ok(Admin {
        socket: raw.socket.map_or(state.join(SOCKET), |socket| home.join(socket)),
        token,
        metrics_per_account: raw.metrics_per_account,
        audit: raw.audit.map(|file| home.join(file)),
    })
}

fn listeners(
    raw: Vec<Spanned<raw::Listen>>,
    has_tls: bool,
    allow_cleartext: bool,
    needs: &Needs,
) -> Result<Vec<Listen>, Problem> {
    if raw.is_empty() {
        return Err(Problem::at(0..0, "`listen` is empty: say where clients connect"));
    }
    raw.into_iter()
        .map(|listen| {
            let span = listen.span();
            let raw::Listen { protocol, address, trusted } = listen.into_inner();
            if matches!(protocol, Protocol::Imaps | Protocol::Submissions) && !has_tls {
                let protocol = format!("{protocol:?}").to_lowercase();
                return Err(Problem::at(
                    span,
                    format!("an {protocol} listener needs a [tls] cert and key")
                        .replace("an s", "a s"),
                ));
            }
            match protocol {
                Protocol::Submission | Protocol::Submissions if !needs.submission => {
                    return Err(Problem::at(
                        span,
                        "to send users' mail, `submission` is needed in [old] and in [new]",
                    ));
                }
                Protocol::Smtp if !needs.inbound => {
                    return Err(Problem::at(
                        span,
                        "to take mail in, `inbound` is needed in [old] and in [new]",
                    ));
                }
                Protocol::Smtp if !needs.domains => {
                    return Err(Problem::at(
                        span,
                        "to take mail in, `domains` is needed in [accounts]: mail for any other \
                         domain is refused",
                    ));
                }
                _ => {}
            }
            if trusted && protocol != Protocol::Smtp {
                return Err(Problem::at(span, "`trusted` is for protocol = \"smtp\""));
            }
            let of_users = matches!(protocol, Protocol::Imap | Protocol::Submission);
            if of_users && !has_tls && !allow_cleartext {
                return Err(Problem::at(
                    span,
                    "nobody could log in here: give a [tls] cert and key for STARTTLS, \
                     or set auth.allow_cleartext = true for a trial on loopback",
                ));
            }
            Ok(Listen { protocol, address, trusted })
        })
        .collect()
}

fn backend(
    raw: raw::Backend,
    side: Side,
    home: &Path,
    default_domain: Option<&str>,
) -> Result<Backend, Problem> {
    let span = raw.imap.span();
    let imap = raw.imap.into_inner();
    if imap.security == Security::Plain && !imap.is_loopback() && !raw.allow_plain {
        return Err(Problem::at(
            span,
            format!(
                "without TLS, passwords and mail cross the network readable to all; \
                 if that is really wanted, set allow_plain = true in [{side}]"
            ),
        ));
    }
    let (name, span) = match raw.server_name {
        Some(name) => (name.as_ref().clone(), name.span()),
        None => (imap.host.clone(), span),
    };
    let server_name = ServerName::try_from(name.as_str())
        .map_err(|_| {
            Problem::at(
                span,
                format!("`{}` is no name that a certificate can bear", name.escape_debug()),
            )
        })?
        .to_owned();
    let ca = raw.ca.map(|ca| home.join(ca));
    let table = |forward| smtp::Table {
        who: match side {
            Side::Old => "old",
            Side::New => "new",
        },
        ca: ca.clone(),
        allow_plain: raw.allow_plain,
        forward,
        named: Some((imap.host.as_str(), &server_name)),
    };
    let submission = raw.submission.map(|endpoint| {
        let span = endpoint.span();
        smtp::server(endpoint.into_inner().0, span, table(Forward::Off))
    });
    let inbound = raw.inbound.map(|endpoint| {
        let span = endpoint.span();
        smtp::server(endpoint.into_inner().0, span, table(raw.smtp_forward))
    });
    let (submission, inbound) = (submission.transpose()?, inbound.transpose()?);
    Ok(Backend {
        side,
        imap,
        submission,
        inbound,
        ca,
        server_name,
        mask: raw.mask.into_iter().map(capability).collect::<Result<BTreeSet<_>, _>>()?,
        quirks: raw.quirks,
        compress: raw.compress,
        id_forward: raw.id_forward,
        read_only: raw.read_only.is_some_and(Spanned::into_inner),
        credentials: match raw.credentials {
            Some(raw) => credentials(raw, side, home, default_domain)?,
            None => Credentials::same(),
        },
    })
}

/// A capability's name: an atom (RFC 9051 section 9), compared without regard to case.
fn capability(raw: Spanned<String>) -> Result<String, Problem> {
    let name = raw.as_ref();
    let atom = |c: char| c.is_ascii_graphic() && !"(){%*\"\\]".contains(c);
    if name.is_empty() || !name.chars().all(atom) {
        return Err(Problem::at(
            raw.span(),
            format!("`{}` is no capability's name", name.escape_debug()),
        ));
    }
    Ok(name.to_ascii_uppercase())
}

fn credentials(
    raw: Spanned<raw::Credentials>,
    side: Side,
    home: &Path,
    default_domain: Option<&str>,
) -> Result<Credentials, Problem> {
    let span = raw.span();
    let mut raw = raw.into_inner();
    let login = match raw.login.take() {
        None => LoginTemplate::as_typed(),
        Some(text) => LoginTemplate::parse(text.as_ref())
            .map_err(|why| Problem::at(text.span(), format!("login template: {why}")))?,
    };
    let name = |mode| match mode {
        raw::Mode::Same => "same",
        raw::Mode::Master => "master",
        raw::Mode::Table => "table",
        raw::Mode::Learned => "learned",
    };
    let only_for = |mode: &str, span| {
        let is = name(raw.mode);
        let text = format!("only for mode = \"{mode}\"; this side's mode is \"{is}\"");
        Err(Problem::at(span, text))
    };
    if raw.mode != raw::Mode::Master
        && let Some(span) = of_master(&raw)
    {
        return only_for("master", span);
    }
    if raw.mode != raw::Mode::Table
        && let Some(file) = &raw.file
    {
        return only_for("table", file.span());
    }
    if raw.mode != raw::Mode::Learned
        && let Some(span) = None
            .or(raw.key_file.as_ref().map(Spanned::span))
            .or(raw.key_env.as_ref().map(Spanned::span))
    {
        return only_for("learned", span);
    }
    let mode = match raw.mode {
        raw::Mode::Same => Mode::Same,
        raw::Mode::Learned => Mode::Learned(
            secret(("key_file", raw.key_file), ("key_env", raw.key_env), span, side, home)
                .and_then(long_enough)?,
        ),
        raw::Mode::Master => Mode::Master(master(raw, span, side, home)?),
        raw::Mode::Table => match raw.file {
            Some(file) => {
                let path = home.join(file.as_ref());
                Mode::Table(table::read(&path, file.span(), default_domain)?)
            }
            None => {
                let what = format!("`file` is missing in [{side}.credentials]");
                return Err(Problem::at(span, what));
            }
        },
    };
    Ok(Credentials { login, mode })
}

/// Where the first key stands that only an administrator's login has.
fn of_master(raw: &raw::Credentials) -> Option<std::ops::Range<usize>> {
    None.or(raw.user.as_ref().map(Spanned::span))
        .or(raw.password_file.as_ref().map(Spanned::span))
        .or(raw.password_env.as_ref().map(Spanned::span))
        .or(raw.style.as_ref().map(Spanned::span))
        .or(raw.separator.as_ref().map(Spanned::span))
}

fn master(
    raw: raw::Credentials,
    table: std::ops::Range<usize>,
    side: Side,
    home: &Path,
) -> Result<Master, Problem> {
    let Some(user) = raw.user else {
        return Err(Problem::at(table, format!("`user` is missing in [{side}.credentials]")));
    };
    if user.as_ref().is_empty() || user.as_ref().chars().any(char::is_control) {
        return Err(Problem::at(user.span(), "`user` must be a user's name"));
    }
    let (file, env) = (("password_file", raw.password_file), ("password_env", raw.password_env));
    let (password, _) = secret(file, env, table, side, home)?;
    let style = raw.style.as_ref().map(|style| *style.as_ref()).unwrap_or_default();
    let style = match (style, raw.separator) {
        (raw::Style::Authzid, None) => MasterStyle::Authzid,
        (raw::Style::Authzid, Some(separator)) => {
            return Err(Problem::at(separator.span(), "only for style = \"separator\""));
        }
        (raw::Style::Separator, None) => MasterStyle::Separator(SEPARATOR.into()),
        (raw::Style::Separator, Some(separator)) => {
            let text = separator.as_ref();
            if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_alphanumeric()) {
                return Err(Problem::at(
                    separator.span(),
                    "`separator` must be a sign that no user name holds, like \"*\"",
                ));
            }
            MasterStyle::Separator(text.clone())
        }
    };
    Ok(Master { user: user.into_inner(), password, style })
}

/// What a file holds, or else an environment variable, and where that is said; one of them is to be
/// named.
fn secret(
    (file_key, file): (&str, Option<Spanned<PathBuf>>),
    (env_key, env): (&str, Option<Spanned<String>>),
    table: std::ops::Range<usize>,
    side: Side,
    home: &Path,
) -> Result<(SecretString, std::ops::Range<usize>), Problem> {
    match (file, env) {
        (Some(file), None) => {
            let secret = secret_in_file(file_key, &home.join(file.as_ref()), file.span())?;
            Ok((secret, file.span()))
        }
        (None, Some(name)) => {
            Ok((password_in_environment(name.as_ref(), name.span())?, name.span()))
        }
        (None, None) => {
            let what = format!("`{file_key}` or `{env_key}` is missing in [{side}.credentials]");
            Err(Problem::at(table, what))
        }
        (Some(_), Some(name)) => {
            let what = format!("give either `{file_key}` or `{env_key}`, not both");
            Err(Problem::at(name.span(), what))
        }
    }
}

/// A key that could be guessed seals nothing.
fn long_enough(
    (key, span): (SecretString, std::ops::Range<usize>),
) -> Result<SecretString, Problem> {
    match key.expose_secret().chars().count() {
        SHORTEST_KEY.. => Ok(key),
        short => Err(Problem::at(
            span,
            format!(
                "the key has {short} characters, and must have {SHORTEST_KEY}: \
                 `head -c 32 /dev/urandom | base64` makes one"
            ),
        )),
    }
}

/// The content of a file without the line end that an editor puts behind it.
fn secret_in_file(
    key: &str,
    path: &Path,
    span: std::ops::Range<usize>,
) -> Result<SecretString, Problem> {
    let text = fs::read_to_string(path).map_err(|error| {
        Problem::at(span.clone(), format!("cannot read `{key}` {}: {error}", path.display()))
    })?;
    password(text, span, &format!("`{key}` {}", path.display()))
}

fn password_in_environment(
    name: &str,
    span: std::ops::Range<usize>,
) -> Result<SecretString, Problem> {
    // `var` tells apart what is unset and what is not text, quoting the latter; it is not passed on.
    let text = std::env::var(name).map_err(|_| {
        Problem::at(
            span.clone(),
            format!("the environment variable `{}` is not set", name.escape_debug()),
        )
    })?;
    password(text, span, &format!("the environment variable `{name}`"))
}

fn password(
    text: String,
    span: std::ops::Range<usize>,
    from: &str,
) -> Result<SecretString, Problem> {
    let text = zeroize::Zeroizing::new(text);
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Problem::at(span, format!("{from} is empty")));
    }
    // NUL parts the fields of SASL PLAIN (RFC 4616), and a line end would end the command.
    if password.contains(['\0', '\r', '\n']) {
        return Err(Problem::at(span, format!("{from} must hold one line: the password")));
    }
    Ok(SecretString::from(password))
}

fn accounts(raw: raw::Accounts) -> Result<Accounts, Problem> {
    let domains = raw.domains.into_iter().map(domain).collect::<Result<Vec<_>, _>>()?;
    let default_domain = match raw.default_domain {
        None => domains.first().cloned(),
        Some(raw) => {
            let span = raw.span();
            let default = domain(raw)?;
            if !domains.is_empty() && !domains.contains(&default) {
                return Err(Problem::at(span, "`default_domain` must be one of `domains`"));
            }
            Some(default)
        }
    };
    Ok(Accounts { domains, default_domain, phase: raw.phase.unwrap_or(Phase::Merged) })
}

fn domain(raw: Spanned<String>) -> Result<String, Problem> {
    let name = raw.as_ref();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || !name.chars().all(fits) {
        return Err(Problem::at(raw.span(), format!("`{}` is no domain", name.escape_debug())));
    }
    Ok(name.to_lowercase())
}

/// The map must be one to one, and INBOX is INBOX on every server.
fn folders(
    raw: BTreeMap<Spanned<String>, Spanned<String>>,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut taken: HashMap<String, String> = HashMap::new();
    let mut folders = BTreeMap::new();
    for (old, new) in raw {
        for name in [&old, &new] {
            let text = name.as_ref();
            if text.is_empty() || text.contains(['\0', '\r', '\n']) {
                return Err(Problem::at(name.span(), "no server can have a folder of that name"));
            }
            if text.eq_ignore_ascii_case("INBOX") {
                return Err(Problem::at(
                    name.span(),
                    "INBOX is INBOX on both sides and cannot be mapped",
                ));
            }
        }
        if let Some(other) = taken.insert(new.as_ref().clone(), old.as_ref().clone()) {
            return Err(Problem::at(
                new.span(),
                format!(
                    "`{}` and `{}` would both become `{}`; two folders cannot become one",
                    other.escape_debug(),
                    old.as_ref().escape_debug(),
                    new.as_ref().escape_debug()
                ),
            ));
        }
        folders.insert(old.into_inner(), new.into_inner());
    }
    Ok(folders)
}

fn trickle(raw: Spanned<super::trickle::Written>) -> Result<Trickle, Problem> {
    let span = raw.span();
    Trickle::check(raw.into_inner()).map_err(|wrong| Problem::at(span, wrong))
}

fn history(root: Option<Spanned<String>>, matching: Match) -> Result<Option<String>, Problem> {
    let Some(root) = root else { return Ok(None) };
    let name = root.as_ref();
    let wrong = if name.is_empty() || name.contains(['\0', '\r', '\n']) {
        "no server can have a folder of that name"
    } else if name.eq_ignore_ascii_case("INBOX") {
        "INBOX is where mail belongs: name the folder below which the history lies"
    } else if matching == Match::Off {
        "`history` needs `match`: without it everything there would be seen twice"
    } else {
        return Ok(Some(root.into_inner()));
    };
    Err(Problem::at(root.span(), wrong))
}

fn limits(raw: Spanned<Limits>) -> Result<Limits, Problem> {
    let span = raw.span();
    let limits = raw.into_inner();
    let wrong = if limits.connections_per_account < LEAST_CONNECTIONS_PER_ACCOUNT {
        "`connections_per_account` must be at least 2: one for commands, one for watching and copying"
    } else if limits.sessions == 0 {
        "`sessions` must be at least 1"
    } else if limits.sessions > MOST_SESSIONS {
        "`sessions` must be at most 1000000"
    } else if limits.line_before_login < LEAST_LINE || limits.line < LEAST_LINE {
        "`line` and `line_before_login` must be at least 1KiB, or no client could log in"
    } else if limits.line < limits.line_before_login || limits.command < limits.line {
        "`line_before_login` ≤ `line` ≤ `command` must hold"
    } else if limits.line > u64::from(u32::MAX) || limits.command > u64::from(u32::MAX) {
        "`line` and `command` must be below 4GiB"
    } else if limits.poll_interval.is_zero() {
        "`poll_interval` must not be zero"
    } else if limits.progress_interval.is_zero() {
        "`progress_interval` must not be zero"
    } else if limits.backend_pause.is_zero() {
        "`backend_pause` must not be zero"
    } else if limits.backend_connect_timeout.is_zero()
        || limits.backend_command_timeout.is_zero()
        || limits.login_timeout.is_zero()
        || limits.idle_timeout.is_zero()
    {
        "a timeout must not be zero"
    } else {
        return Ok(limits);
    };
    Err(Problem::at(span, wrong))
}

/// In the state directory.
const SOCKET: &str = "admin.sock";

/// What Dovecot and Cyrus use between user and administrator.
const SEPARATOR: &str = "*";

/// Characters of a key that seals: what 24 random octets take in base64.
const SHORTEST_KEY: usize = 32;

/// A LOGIN with a long name and password.
const LEAST_LINE: u64 = 1 << 10;

/// Far more than one machine has ports and memory for; a semaphore must be able to count them.
const MOST_SESSIONS: usize = 1_000_000;
