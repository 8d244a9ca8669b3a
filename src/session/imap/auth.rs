//! CAPABILITY, STARTTLS, COMPRESS, LOGIN, AUTHENTICATE, UNAUTHENTICATE, ID: what comes before the
//! mailboxes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::memmem;
use tokio::time::Instant;
use tracing::{Span, info, warn};

use super::reply::{Failure, Reply};
use super::{Extended, Session, User};
use crate::account::LoginError;
use crate::backend::Origin;
use crate::base::{BadResponse, Mechanism, Proof, SecretString, Side, TokenRefusal};
use crate::imap::command::{Secret, Tag};
use crate::imap::framer::Piece;
use crate::imap::write::string_or_literal;
use crate::session::client::ClientError;

/// So many wrong passwords end a connection.
const MAX_FAILED_LOGINS: u32 = 3;

impl Session {
    /// The capabilities as they stand on this connection: only what concerns the login itself
    /// depends on TLS.
    pub(super) fn capabilities(&self) -> String {
        let mut all = self.offer.text().to_owned();
        if self.may_start_tls() && self.server.tls.is_some() {
            all.push_str(" STARTTLS");
        }
        if self.may_log_in() {
            all.push_str(" AUTH=PLAIN");
            for mechanism in self.offer.for_tokens() {
                all.push_str(&format!(" AUTH={}", mechanism.name()));
            }
        } else {
            all.push_str(" LOGINDISABLED");
        }
        all
    }

    fn may_log_in(&self) -> bool {
        self.client.is_tls() || self.server.config.auth.allow_cleartext
    }

    /// TLS comes before compression, or not at all (RFC 4978 §3).
    fn may_start_tls(&self) -> bool {
        !self.client.is_tls() && !self.client.is_deflated() && self.user.is_none()
    }

    /// STARTTLS (RFC 3501 §6.2.1). The session is a new one afterwards: nothing that was said in
    /// clear is believed.
    pub(super) async fn starttls(mut self, tag: &Tag) -> Result<Session, ClientError> {
        let possible = self.may_start_tls();
        let Some(tls) = self.server.tls.clone().filter(|_| possible) else {
            self.client.line(format!("{tag} BAD STARTTLS is not possible here"));
            return Ok(self);
        };
        self.client.line(format!("{tag} OK Begin TLS negotiation now"));
        self.client.flush().await?;
        let limits = &self.server.config.limits;
        let line = usize::try_from(limits.line_before_login).unwrap_or(usize::MAX);
        self.said = Vec::new();
        self.client = self.client.starttls(&tls, line, self.login_by).await?;
        Ok(self)
    }

    /// COMPRESS (RFC 4978 §3), in any state. Both sides compress from the next octet on, so a
    /// client that has not waited for the answer is told that it must: what it has sent in clear
    /// is then read as it was meant.
    pub(super) async fn compress(
        mut self,
        tag: &Tag,
        algorithm: &str,
    ) -> Result<Session, ClientError> {
        let refusal = if algorithm != "DEFLATE" {
            Reply::no("Only DEFLATE is known")
        } else if self.client.is_deflated() {
            Reply::no_with("COMPRESSIONACTIVE", "DEFLATE is active already")
        } else if self.client.has_more() {
            Reply::bad("Nothing may follow COMPRESS before its answer")
        } else {
            self.client.line(format!("{tag} OK DEFLATE active"));
            self.client.flush().await?;
            self.client = self.client.deflated();
            return Ok(self);
        };
        self.client.line(format!("{tag} {refusal}"));
        Ok(self)
    }

    /// LOGIN (RFC 3501 §6.2.3).
    pub(super) async fn login(&mut self, user: &[u8], password: &Secret) -> Result<Reply, Failure> {
        if let Some(refused) = self.login_impossible() {
            return Ok(refused);
        }
        let (Ok(user), Ok(password)) =
            (std::str::from_utf8(user), std::str::from_utf8(password.expose()))
        else {
            return self.login_failed("user name or password is no UTF-8").await;
        };
        self.enter(user, &Proof::Password(SecretString::from(password))).await
    }

    /// AUTHENTICATE (RFC 3501 §6.2.2), with or without an initial response (RFC 4959).
    pub(super) async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<Reply, Failure> {
        if let Some(refused) = self.login_impossible() {
            return Ok(refused);
        }
        let offered = |mechanism: &Mechanism| {
            *mechanism == Mechanism::Plain || self.offer.for_tokens().contains(mechanism)
        };
        let Some(mechanism) = Mechanism::named(mechanism).filter(offered) else {
            return Ok(Reply::no_with("CANNOT", "Mechanism is not supported"));
        };
        let response = match initial {
            Some(response) => response,
            None => match self.ask_response().await? {
                Some(response) => response,
                None => return Ok(Reply::bad("Authentication cancelled, or not base64")),
            },
        };
        match mechanism.read(response.expose()) {
            Ok(shown) => self.enter(&shown.user, &shown.proof).await,
            Err(e @ BadResponse::Malformed(_)) => Ok(Reply::bad(e.to_string())),
            Err(e @ BadResponse::ForAnother) => self.login_failed(&e.to_string()).await,
        }
    }

    /// Why a token is refused is told in a challenge, which the client answers with nothing of
    /// interest (RFC 7628 §3.2.3).
    async fn tell_refusal(&mut self, refusal: &TokenRefusal) -> Result<(), ClientError> {
        self.client.line(format!("+ {}", BASE64.encode(refusal.challenge())));
        self.client.flush().await?;
        match self.client.piece().await? {
            Piece::Line(_) => Ok(()),
            _ => Err(ClientError::Closed),
        }
    }

    async fn ask_response(&mut self) -> Result<Option<Secret>, ClientError> {
        self.client.line("+ ");
        self.client.flush().await?;
        let Piece::Line(line) = self.client.piece().await? else {
            return Err(ClientError::Closed);
        };
        Ok(BASE64.decode(&line).ok().map(Secret::new))
    }

    fn login_impossible(&self) -> Option<Reply> {
        if self.user.is_some() {
            return Some(Reply::bad("Already logged in"));
        }
        if !self.may_log_in() {
            let text = "Log in only after STARTTLS, or on the TLS port";
            return Some(Reply::no_with("PRIVACYREQUIRED", text));
        }
        None
    }

    /// UNAUTHENTICATE (RFC 8437 §2): of all that the client did, only TLS stays. Compression ends
    /// too, behind the answer and behind the command. Wrong passwords are still counted: they are
    /// the connection's.
    pub(super) async fn unauthenticate(mut self, tag: &Tag) -> Result<Session, ClientError> {
        let limits = &self.server.config.limits;
        let line = usize::try_from(limits.line_before_login).unwrap_or(usize::MAX);
        let login_by = Instant::now() + limits.login_timeout;
        self.client.set_bounds_of_nobody(line, login_by);
        self.client.line(format!("{tag} OK Nobody is logged in any more"));
        if self.client.is_deflated() {
            self.client.flush().await?;
            self.client = self.client.into_clear().await?;
        }
        // Named one by one, so that nothing that a session may come to hold is forgotten here.
        Ok(Session {
            server: self.server,
            client: self.client,
            id: self.id,
            ending: self.ending,
            user: None,
            entry: None,
            selected: None,
            offer: self.offer,
            extended: Extended::default(),
            login_by,
            failed_logins: self.failed_logins,
            said: Vec::new(),
            entered: None,
            notifying: None,
        })
    }

    async fn enter(&mut self, typed: &str, proof: &Proof) -> Result<Reply, Failure> {
        let (client, connected) = self.client.addresses().map_err(ClientError::from)?;
        let session = self.server.session_name(self.id);
        let origin = Origin { client, connected, session, id: self.said.clone() };
        match self.server.accounts.login(typed, proof, origin).await {
            Ok((account, access)) => {
                Span::current().record("account", account.name().as_str());
                info!("logged in");
                let (roster, name) = (&self.server.roster, account.name().clone());
                self.entry = Some(roster.enter(self.id, name, client, self.ending.clone()));
                let copier = self.server.ferry.copier(&account, &access);
                drop(account.active());
                self.user = Some(User { account, access, copier });
                let limits = &self.server.config.limits;
                let line = usize::try_from(limits.line).unwrap_or(usize::MAX);
                self.client.set_bounds(line, limits.idle_timeout);
                // By now more may be known of the servers than when the client was greeted.
                self.offer = self.server.offer();
                let code = format!("CAPABILITY {}", self.capabilities());
                Ok(Reply::ok_with(code, "Logged in"))
            }
            Err(LoginError::TokenRefused(why, refusal)) => {
                self.tell_refusal(&refusal).await?;
                self.login_failed(&why).await
            }
            Err(LoginError::Refused(why)) => self.login_failed(&why).await,
            Err(e) => {
                warn!("login not possible: {e}");
                let text = "The server that checks passwords cannot be asked, try again later";
                Ok(Reply::no_with("UNAVAILABLE", text))
            }
        }
    }

    async fn login_failed(&mut self, why: &str) -> Result<Reply, Failure> {
        self.failed_logins += 1;
        info!(attempt = self.failed_logins, "login refused: {why}");
        let delay = self.server.config.limits.login_failure_delay;
        tokio::time::sleep(delay * self.failed_logins.min(4)).await;
        if self.failed_logins >= MAX_FAILED_LOGINS {
            self.client.line("* BYE Too many failed logins");
            self.client.flush().await?;
            return Err(ClientError::Closed.into());
        }
        Ok(Reply::no_with("AUTHENTICATIONFAILED", "Authentication failed"))
    }

    /// ID (RFC 2971): answered as the proxy. What the client says is told to servers that are to
    /// know, with the next login.
    pub(super) fn id(&mut self, fields: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<Reply, Failure> {
        if self.server.config.limits.postpone_indexing && fills_index(&fields) && self.strained() {
            info!("a client that fills its index was put off");
            let text = "The old server is busy, come back later";
            return Ok(Reply::no_with("UNAVAILABLE", text));
        }
        for (name, value) in fields.iter().take(4) {
            if let Some(value) = value {
                info!(name = %name.escape_ascii(), value = %value.escape_ascii(), "client's ID");
            }
        }
        let mut line = b"* ID (\"name\" \"Mailferry\" \"version\" ".to_vec();
        string_or_literal(env!("CARGO_PKG_VERSION").as_bytes(), &mut line);
        line.push(b')');
        self.client.line(line);
        self.said = fields;
        Ok(Reply::ok("ID completed"))
    }

    /// Whether old has more to do than it can: for anybody lately, or for this account now.
    fn strained(&self) -> bool {
        let busy = self.user.as_ref().is_some_and(|user| user.access.pools.old.is_busy());
        busy || self.server.accounts.is_strained(Side::Old)
    }
}

/// Whether Apple's Mail says that nobody waits for what it is about to fetch.
fn fills_index(fields: &[(Vec<u8>, Option<Vec<u8>>)]) -> bool {
    let about = |value: &[u8], what: &str| memmem::find(value, what.as_bytes()).is_some();
    fields.iter().any(|(name, value)| {
        let value = value.as_deref().unwrap_or_default().to_ascii_lowercase();
        name.eq_ignore_ascii_case(b"event")
            && (about(&value, "indexer") || about(&value, "back-fill"))
    })
}
