//! What `check` finds out of the servers that take mail: no message is sent, and no recipient named.

use std::fmt;

use serde::Serialize;

use super::User;
use super::findings::{Failed, Outcome, Tls};
use crate::backend::{SmtpConn, SmtpError};
use crate::base::Side;
use crate::config::{Config, Forward, SmtpServer};
use crate::smtp::Extensions;

/// One service of one server.
#[derive(Serialize, Debug)]
pub(super) struct MailService {
    /// `submission`, `inbound` or `archive`.
    pub service: &'static str,
    pub address: String,
    pub reached: bool,
    pub tls: Option<Tls>,
    pub greeting: Option<String>,
    pub offers: Vec<String>,
    /// Only of `submission`, and only if a login was tried.
    pub login: Option<Outcome>,
}

/// Checks what one side has for mail. `user`: whose login is tried, because the side that judges has
/// confirmed it.
pub(super) async fn of_side(
    config: &Config,
    side: Side,
    user: Option<&User>,
    failures: &mut Vec<Failed>,
) -> Vec<MailService> {
    let backend = &config.backends[side];
    let mut all = Vec::new();
    if let Some(server) = &backend.submission {
        let user = user.map(|user| (side, user));
        all.push(of_server(config, "submission", server, Some(side), user, failures).await);
    }
    if let Some(server) = &backend.inbound {
        all.push(of_server(config, "inbound", server, Some(side), None, failures).await);
    }
    all
}

/// Checks the archive.
pub(super) async fn archive(config: &Config, failures: &mut Vec<Failed>) -> Option<MailService> {
    let journal = config.journal.as_ref()?;
    Some(of_server(config, "archive", &journal.server, None, None, failures).await)
}

async fn of_server(
    config: &Config,
    service: &'static str,
    server: &SmtpServer,
    side: Option<Side>,
    user: Option<(Side, &User)>,
    failures: &mut Vec<Failed>,
) -> MailService {
    let mut found = MailService {
        service,
        address: server.endpoint.to_string(),
        reached: false,
        tls: None,
        greeting: None,
        offers: Vec::new(),
        login: None,
    };
    let mut fail = |tried: &str, error: &SmtpError, next: String| {
        let (tried, place) = (format!("{service}: {tried}"), server.endpoint.to_string());
        failures.push(Failed { side, tried, place, said: said(error), next });
    };
    // Without a client to tell of: the proxy's own greeting says whether it would be believed.
    let opened = SmtpConn::open(server, &config.smtp.hostname, None, &config.limits).await;
    let mut conn = match opened {
        Ok(conn) => conn,
        Err(error) => {
            let next = format!(
                "is `{service}` right, is the server running, and may this machine connect to it?"
            );
            fail("reaching the server", &error, next);
            return found;
        }
    };
    found.reached = true;
    found.greeting = Some(conn.greeting().to_owned());
    found.tls = conn
        .tls_version()
        .map(|version| Tls { version, verified_for: server.server_name.to_str().into_owned() });
    found.offers = words(conn.extensions());
    if server.forward == Forward::Xclient && !conn.extensions().xclient.contains("ADDR") {
        let error = SmtpError::Protocol {
            server: server.to_string(),
            what: "it does not offer XCLIENT to this machine".to_owned(),
        };
        let next = "name this machine's address in its smtpd_authorized_xclient_hosts, or set \
                    smtp_forward = \"off\"";
        fail("telling it of clients", &error, next.to_owned());
    }
    if let Some((side, user)) = user {
        let credentials = &config.backends[side].credentials;
        let login = match side == config.auth.primary {
            true => Some(credentials.own(&user.typed, &user.account, &user.password)),
            false => credentials.for_login(&user.typed, &user.account, &user.password),
        };
        // That the table has no line is told with the login to the mailboxes.
        let Some(login) = login else { return found };
        found.login = Some(match conn.login(&login).await {
            Ok(()) => Outcome::Ok,
            Err(error) => {
                let next = format!(
                    "does the server let users send with the login of [{side}.credentials]?"
                );
                fail(&format!("login as {}", login.authcid), &error, next);
                match error {
                    SmtpError::Refused { .. } => Outcome::Refused,
                    _ => Outcome::Failed,
                }
            }
        });
    }
    conn.quit().await;
    found
}

fn said(error: &SmtpError) -> String {
    match error {
        SmtpError::Connect { source, .. } => source.to_string(),
        SmtpError::Lost { doing, source, .. } => {
            format!("the connection was lost while {doing}: {source}")
        }
        SmtpError::Refused { reply, .. } => reply.to_string(),
        SmtpError::Answer { doing, reply, .. } => format!("{reply} (to {doing})"),
        SmtpError::Protocol { what, .. } => what.clone(),
    }
}

fn words(offers: &Extensions) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(size) = offers.size {
        words.push(format!("SIZE={size}"));
    }
    for (offered, word) in [
        (offers.pipelining, "PIPELINING"),
        (offers.eight_bit, "8BITMIME"),
        (offers.utf8, "SMTPUTF8"),
        (offers.dsn, "DSN"),
        (!offers.xclient.is_empty(), "XCLIENT"),
    ] {
        if offered {
            words.push(word.to_owned());
        }
    }
    words.extend(offers.auth.iter().map(|mechanism| format!("AUTH={mechanism}")));
    words
}

impl fmt::Display for MailService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} {}: ", self.service, self.address)?;
        if !self.reached {
            return writeln!(f, "FAILED: not reached");
        }
        match &self.tls {
            Some(Tls { version, verified_for }) => {
                write!(f, "reached, {version}, certificate verified for {verified_for}")?;
            }
            None => write!(f, "reached, not encrypted")?,
        }
        match self.login {
            Some(Outcome::Ok) => write!(f, ", login ok")?,
            Some(_) => write!(f, ", login FAILED")?,
            None => {}
        }
        writeln!(f, "; offers {}", self.offers.join(" "))
    }
}
