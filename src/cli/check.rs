//! `mailferry check`: tries everything that `serve` will need, changing nothing.
//!
//! Asks the servers, with no command that could alter anything there: no SELECT, no CREATE. What
//! it found is `findings`; this file finds it out.

mod findings;
mod mail;

use std::path::{Path, PathBuf};

use clap::Args;

use self::findings::{
    Certificate, Configuration, Failed, Feature, Findings, Folder, Login, Namespace, Outcome,
    SideFindings, Tls,
};
use super::{ExitCode, Failure, report, secret};
use crate::account::names::{Joined, join};
use crate::account::{SideFolders, explicit_names, list_with};
use crate::backend::{BackendError, Breaker, Conn, Profile, connect, text};
use crate::base::{AccountName, Proof, SecretString, Side, Sides};
use crate::config::{Backend, BackendLogin, Config, Mode, Protocol, Security};
use crate::imap::names::readable;
use crate::imap::response::Response;
use crate::net::ServerTls;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry check
  mailferry check --user ann@example.com --password-file ann.password
  mailferry check --user ann --password-env ANN_PASSWORD --json | jq .folders";

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Also log in as this user, on both servers, and show how the folders map.
    #[arg(long, value_name = "NAME", requires = "password")]
    pub(super) user: Option<String>,
    #[command(flatten)]
    pub(super) password: PasswordArgs,
    /// Write the findings as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
#[group(id = "password", multiple = false, requires = "user")]
pub(super) struct PasswordArgs {
    /// A file with the user's password.
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// The environment variable with the user's password.
    #[arg(long, value_name = "VAR")]
    pub(super) password_env: Option<String>,
}

/// Checks configuration, TLS and both servers.
pub(super) fn run(path: &Path, config: Config, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let user = args.user.as_deref().map(|typed| User::new(typed, &args.password, &config));
    let user = user.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let findings = runtime.block_on(check(path, &config, user.as_ref()));
    match args.json {
        true => report::print_json(&findings)?,
        false => report::print(&findings)?,
    }
    Ok(if findings.ok { ExitCode::Done } else { ExitCode::Failed })
}

/// Whose login is tried.
struct User {
    typed: String,
    account: AccountName,
    password: Proof,
}

impl User {
    fn new(typed: &str, from: &PasswordArgs, config: &Config) -> Result<User, Failure> {
        let account = config.accounts.account(typed).ok_or_else(|| {
            Failure::usage(format!("`{}` is no account here", typed.escape_debug()))
                .next("give a user's name with a domain that accounts.domains serves")
        })?;
        Ok(User { typed: typed.to_owned(), account, password: Proof::Password(from.read()?) })
    }
}

impl PasswordArgs {
    fn read(&self) -> Result<SecretString, Failure> {
        secret::read(self.password_file.as_deref(), self.password_env.as_deref())
    }
}

async fn check(path: &Path, config: &Config, user: Option<&User>) -> Findings {
    let mut failures = Vec::new();
    let configuration = Configuration {
        path: path.to_owned(),
        warnings: config.warnings(),
        listen: config
            .listen
            .iter()
            .map(|l| format!("{} {}", scheme(l.protocol), l.address))
            .collect(),
        certificate: certificate(config, &mut failures),
    };
    let (old, new) = futures_util::join!(greet(config, Side::Old), greet(config, Side::New));
    let mut sides = Sides { old, new }.map(|_, (side, failed)| {
        failures.extend(failed);
        side
    });
    let mut listed = Sides::default();
    if let Some(user) = user {
        // As for a client: the other side is opened only after the primary's OK, so that no wrong
        // password is tried twice.
        let primary = config.auth.primary;
        let mut confirmed = false;
        for side in [primary, primary.other()] {
            if sides[side].reached {
                let found = &mut sides[side];
                listed[side] = enter(config, side, user, confirmed, found, &mut failures).await;
                confirmed |= side == primary && found.is_logged_in();
            }
        }
    }
    let confirmed = user.filter(|_| sides[config.auth.primary].is_logged_in());
    for side in Side::BOTH {
        sides[side].mail = mail::of_side(config, side, confirmed, &mut failures).await;
    }
    let archive = mail::archive(config, &mut failures).await;
    let folders = match listed {
        Sides { old: Some(old), new: Some(new) } => Some(folders(config, &old, &new)),
        _ => None,
    };
    Findings {
        ok: failures.is_empty(),
        configuration,
        account: user.map(|user| user.account.to_string()),
        sides,
        archive,
        folders,
        failures,
    }
}

fn certificate(config: &Config, failures: &mut Vec<Failed>) -> Option<Certificate> {
    let files = config.tls.as_ref()?;
    let loaded = ServerTls::load(files);
    if let Err(error) = &loaded {
        failures.push(Failed {
            side: None,
            tried: "loading the proxy's certificate and key".to_owned(),
            place: format!("{} and {}", files.cert.display(), files.key.display()),
            said: error.to_string(),
            next: "put the files there, or make some for trials with `mailferry certs`".to_owned(),
        });
    }
    Some(Certificate { cert: files.cert.clone(), key: files.key.clone(), ok: loaded.is_ok() })
}

/// Connects to one side, as far as one gets without a login.
async fn greet(config: &Config, side: Side) -> (SideFindings, Option<Failed>) {
    let backend = &config.backends[side];
    let mut found = SideFindings::of(backend);
    let greeted = async {
        let mut conn = Conn::greet(side, backend, &config.limits).await?;
        let done = conn.must("CAPABILITY", &text("CAPABILITY")).await?;
        let names = done.untagged.into_iter().filter_map(|r| match r {
            Response::Capability(names) => Some(names),
            _ => None,
        });
        Ok((names.flatten().collect::<Vec<String>>(), conn))
    };
    let (names, mut conn) = match greeted.await {
        Ok(greeted) => greeted,
        Err(error) => {
            let failed =
                failed("reaching the server", backend, &error, about_reaching(&error, backend));
            return (found, Some(failed));
        }
    };
    found.reached = true;
    found.greeting = Some(conn.greeting().to_owned());
    found.tls = conn
        .tls_version()
        .map(|version| Tls { version, verified_for: backend.server_name.to_str().into_owned() });
    let imap = names.iter().any(|name| name == "IMAP4REV1" || name == "IMAP4REV2");
    found.capabilities_before_login = names;
    log_out(&mut conn).await;
    let failed = (!imap).then(|| Failed {
        side: Some(side),
        tried: "asking for its capabilities".to_owned(),
        place: backend.imap.to_string(),
        said: "it offers neither IMAP4rev1 nor IMAP4rev2".to_owned(),
        next: "the proxy needs an IMAP4rev1 server; is the port that of another service?"
            .to_owned(),
    });
    (found, failed)
}

/// Logs in to one side, looks at what is offered then, and lists its folders.
async fn enter(
    config: &Config,
    side: Side,
    user: &User,
    confirmed: bool,
    found: &mut SideFindings,
    failures: &mut Vec<Failed>,
) -> Option<SideFolders> {
    let backend = &config.backends[side];
    let credentials = &backend.credentials;
    let own =
        side == config.auth.primary || matches!(credentials.mode, Mode::Same | Mode::Learned(_));
    let login = match side == config.auth.primary {
        true => Some(credentials.own(&user.typed, &user.account, &user.password)),
        false => credentials.for_login(&user.typed, &user.account, &user.password),
    };
    let Some(login) = login else {
        failures.push(Failed {
            side: Some(side),
            tried: format!("looking for the login of {}", user.account),
            place: format!("[{side}.credentials]"),
            said: "the table has no line for it".to_owned(),
            next: "add a line to the file that `file` names".to_owned(),
        });
        return None;
    };
    let mut told = Login {
        login: login.authcid.clone(),
        on_behalf_of: login.authzid.clone(),
        with: match &credentials.mode {
            _ if own => "the user's own password",
            Mode::Table(_) => "the table's password",
            _ => "the administrator's password",
        },
        outcome: Outcome::NotTried,
    };
    if own && side != config.auth.primary && !confirmed {
        found.login = Some(told);
        return None;
    }
    let entered = log_in(config, side, &login).await;
    told.outcome = match &entered {
        Ok(_) => Outcome::Ok,
        Err(BackendError::Refused { .. }) => Outcome::Refused,
        Err(_) => Outcome::Failed,
    };
    found.login = Some(told);
    let mut conn = match entered {
        Ok(conn) => conn,
        Err(error) => {
            let next = about_login(&error, config, side, own);
            failures.push(failed(&format!("login as {}", login.authcid), backend, &error, next));
            return None;
        }
    };
    found.capabilities = conn.profile().names().map(str::to_owned).collect();
    found.features = features(conn.profile());
    let asked = async {
        if conn.profile().namespace() {
            found.namespaces = namespaces(&mut conn).await?;
        }
        list_with(&mut conn).await
    };
    let listed = asked.await;
    log_out(&mut conn).await;
    match listed {
        Ok(folders) => {
            found.folders = Some(folders.listed.len());
            Some(folders)
        }
        Err(error) => {
            let next = "log in there with a mail client and list the folders; what does the \
                        server's log say?";
            failures.push(failed("listing the folders", backend, &error, next.to_owned()));
            None
        }
    }
}

async fn log_in(config: &Config, side: Side, login: &BackendLogin) -> Result<Conn, BackendError> {
    let breaker = Breaker::new(side, &config.limits);
    connect(side, &config.backends[side], login, &config.limits, None, &breaker).await
}

async fn log_out(conn: &mut Conn) {
    // The server says BYE, which ends the connection: how, nobody needs to know.
    drop(conn.run(&text("LOGOUT")).await);
}

async fn namespaces(conn: &mut Conn) -> Result<Vec<Namespace>, BackendError> {
    let done = conn.must("NAMESPACE", &text("NAMESPACE")).await?;
    let mut all = Vec::new();
    for response in done.untagged {
        let Response::Namespace { personal, other, shared } = response else { continue };
        for (kind, some) in [("personal", personal), ("other users", other), ("shared", shared)] {
            all.extend(some.into_iter().map(|(prefix, separator)| Namespace {
                kind,
                prefix: prefix.escape_ascii().to_string(),
                separator: separator.map(|octet| char::from(octet).to_string()),
            }));
        }
    }
    Ok(all)
}

/// What the proxy makes use of, and how it does without.
fn features(profile: &Profile) -> Vec<Feature> {
    let feature = |name, offered, with, without| Feature {
        name,
        offered,
        meaning: if offered { with } else { without },
    };
    vec![
        feature(
            "UIDPLUS",
            profile.uidplus(),
            "a copy's UID is told at once, and EXPUNGE names its messages",
            "a copy is searched for to learn its UID; to EXPUNGE, \\Deleted is taken from all others \
             and put back",
        ),
        feature(
            "MOVE",
            profile.has_move(),
            "messages are moved in one step",
            "messages are moved by COPY, \\Deleted and EXPUNGE",
        ),
        feature(
            "ESEARCH",
            profile.esearch(),
            "results of SEARCH come as ranges",
            "results of SEARCH come as lists, long ones in large mailboxes",
        ),
        feature(
            "IDLE",
            profile.idle(),
            "new mail is told as it arrives",
            "watched mailboxes are asked every limits.poll_interval",
        ),
        feature(
            "LITERAL+",
            profile.literal_plus(),
            "copies are sent without waiting",
            "each copy waits for the server's go-ahead: slower",
        ),
        feature(
            "SPECIAL-USE",
            profile.list_special_use(),
            "Sent, Drafts, Trash … are known by what they are for",
            "Sent, Drafts, Trash … are known by their usual names, others need a line in \
             [folders]",
        ),
        feature(
            "NAMESPACE",
            profile.namespace(),
            "prefix and separator are told",
            "no prefix is assumed; the separator is that of the listing",
        ),
    ]
}

/// How the folders of both sides become one, as it would be decided now.
fn folders(config: &Config, old: &SideFolders, new: &SideFolders) -> Vec<Folder> {
    let styles = Sides { old: old.style.clone(), new: new.style.clone() };
    let joined = join(&old.listed, &new.listed, &styles, &explicit_names(config), &[]);
    let of = |joined: Joined| Folder {
        client: readable(joined.client.as_bytes()),
        old: joined.old.as_ref().map(|name| readable(name.as_bytes())),
        exists_on_new: joined.new.is_some(),
        new: readable(joined.new_wanted.as_bytes()),
        special_use: joined.special.map(|special| special.attribute().as_str()),
        selectable: joined.selectable,
    };
    joined.into_iter().map(of).collect()
}

fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap",
        Protocol::Imaps => "imaps",
        Protocol::Submission => "submission",
        Protocol::Submissions => "submissions",
        Protocol::Smtp => "smtp",
        Protocol::Admin => "admin",
    }
}

fn failed(tried: &str, backend: &Backend, error: &BackendError, next: String) -> Failed {
    let said = match error {
        BackendError::Connect { source, .. } => {
            // The socket's own error names the server again.
            let said = source.to_string();
            let named = format!("{} server {}: ", backend.side, backend.imap);
            said.strip_prefix(&named).map_or(said.clone(), str::to_owned)
        }
        BackendError::Refused { text, .. } | BackendError::Crowded { text, .. } => text.clone(),
        BackendError::Answer { doing, text, .. } => format!("{text} (to {doing})"),
        BackendError::Lost { doing, source, .. } => {
            format!("the connection was lost while {doing}: {source}")
        }
        BackendError::Protocol { what, .. } => what.clone(),
        BackendError::Away { why, .. } => why.clone(),
    };
    Failed {
        side: Some(backend.side),
        tried: tried.to_owned(),
        place: backend.imap.to_string(),
        said,
        next,
    }
}

fn about_reaching(error: &BackendError, backend: &Backend) -> String {
    use std::io::ErrorKind;
    let (side, host, port) = (backend.side, &backend.imap.host, backend.imap.port);
    let BackendError::Connect { source, .. } = error else {
        return match (error, backend.imap.security) {
            (BackendError::Answer { .. }, Security::StartTls) => format!(
                "the server refuses STARTTLS; if it speaks TLS from the start, write imaps:// in \
                 [{side}]"
            ),
            (BackendError::Answer { .. }, _) => "what does the server's log say?".to_owned(),
            _ => format!(
                "is {host}:{port} an IMAP server, and should `imap` in [{side}] be imaps:// or \
                 imap://?"
            ),
        };
    };
    match source.kind() {
        ErrorKind::ConnectionRefused => {
            format!("is the server running, and {port} its port in `imap` of [{side}]?")
        }
        ErrorKind::TimedOut => {
            format!("does a firewall let this machine reach {host}:{port}?")
        }
        ErrorKind::InvalidData => {
            let starttls = match backend.imap.security {
                Security::StartTls => " -starttls imap",
                Security::Tls | Security::Plain => "",
            };
            format!("look at its TLS with `openssl s_client -connect {host}:{port}{starttls}`")
        }
        _ => format!("is `imap` in [{side}] right, and can this machine resolve and reach {host}?"),
    }
}

fn about_login(error: &BackendError, config: &Config, side: Side, own: bool) -> String {
    match error {
        BackendError::Refused { .. } if side == config.auth.primary => format!(
            "is it this user's password on the {side} server? If the user is called differently \
             there, set `login` in [{side}.credentials]"
        ),
        BackendError::Refused { .. } if own => format!(
            "the user's password must be the same there, or an administrator must log in: \
             mode = \"master\" in [{side}.credentials]; is `login` there right?"
        ),
        BackendError::Refused { .. } => format!(
            "may the administrator log in for others there, and are `user`, the password and \
             `style` in [{side}.credentials] right?"
        ),
        _ => "the server could not judge the login; what does its log say?".to_owned(),
    }
}
