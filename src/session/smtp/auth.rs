//! AUTH (RFC 4954): the primary side judges, as for IMAP; then the account's server for sending is
//! opened with what that side wants to see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tracing::{Span, info, warn};
use zeroize::Zeroizing;

use super::envelope::sending_sides;
use super::leg::failed;
use super::wire::WireError;
use super::{Next, Role, Session};
use crate::account::LoginError;
use crate::backend::{Origin, SmtpConn, SmtpError};
use crate::base::{
    AccountName, BadResponse, ExposeSecret, Mechanism, Proof, SecretString, Shown, Side, Sides,
    TokenRefusal,
};
use crate::config::BackendLogin;
use crate::smtp::{Reply, sasl};

/// So many wrong passwords end a connection.
const MAX_FAILED_LOGINS: u32 = 3;

/// Who is logged in.
pub(super) struct User {
    pub account: AccountName,
    /// What is shown to each side.
    pub logins: Sides<Option<BackendLogin>>,
    /// The side whose server sends.
    pub side: Side,
}

/// What a client answered to a challenge.
enum Answer {
    Text(Zeroizing<Vec<u8>>),
    Cancelled,
    NotBase64,
}

impl Session {
    pub(super) fn may_log_in(&self) -> bool {
        self.wire.is_tls() || self.server.config.auth.allow_cleartext
    }

    pub(super) async fn auth(
        &mut self,
        mechanism: &str,
        initial: Option<SecretString>,
    ) -> Result<Next, WireError> {
        if let Some(reply) = self.auth_impossible() {
            return Ok(Next::Reply(reply));
        }
        let initial = match initial {
            None => None,
            Some(text) => match sasl(text.expose_secret().as_bytes()) {
                Some(octets) => Some(Zeroizing::new(octets)),
                None => return Ok(Next::Reply(Reply::new(501, "5.5.2 Not base64"))),
            },
        };
        let offered = |mechanism: &Mechanism| *mechanism == Mechanism::Plain || self.takes_tokens();
        let shown = match Mechanism::named(mechanism).filter(offered) {
            Some(mechanism) => self.by_response(mechanism, initial).await?,
            None if mechanism == "LOGIN" => self.login(initial).await?,
            None => Err(Reply::new(504, "5.5.4 Mechanism is not supported")),
        };
        match shown {
            Ok(Shown { user, proof }) => self.enter(&user, &proof).await,
            Err(reply) => Ok(Next::Reply(reply)),
        }
    }

    /// As EHLO tells it.
    pub(super) fn mechanisms(&self) -> String {
        let mut all = "AUTH PLAIN LOGIN".to_owned();
        for mechanism in Mechanism::OF_TOKENS.iter().filter(|_| self.takes_tokens()) {
            all.push(' ');
            all.push_str(mechanism.name());
        }
        all
    }

    /// Whether the side that judges takes tokens, and a server for sending after it.
    fn takes_tokens(&self) -> bool {
        self.server.accounts.takes_tokens() && self.server.smtp.takes_tokens(self.role)
    }

    fn auth_impossible(&self) -> Option<Reply> {
        if self.role != Role::Submission {
            return Some(Reply::new(503, "5.5.1 Nobody logs in here"));
        }
        if !self.greeted || !self.peer.extended {
            return Some(Reply::new(503, "5.5.1 Say EHLO first"));
        }
        if self.user.is_some() {
            return Some(Reply::new(503, "5.5.1 Already logged in"));
        }
        if self.transaction.is_some() {
            return Some(Reply::new(503, "5.5.1 Not while a message is under way"));
        }
        if !self.may_log_in() {
            return Some(Reply::new(538, "5.7.11 Encryption required: STARTTLS first"));
        }
        None
    }

    /// PLAIN, OAUTHBEARER, XOAUTH2.
    async fn by_response(
        &mut self,
        mechanism: Mechanism,
        initial: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Result<Shown, Reply>, WireError> {
        let response = match initial {
            Some(response) => response,
            None => match self.challenge("").await? {
                Answer::Text(text) => text,
                other => return Ok(Err(other.refused())),
            },
        };
        Ok(mechanism.read(&response).map_err(|e| match e {
            BadResponse::Malformed(_) => Reply::new(501, format!("5.5.2 {e}")),
            BadResponse::ForAnother => Reply::new(535, format!("5.7.8 {e}")),
        }))
    }

    /// LOGIN (draft-murchison-sasl-login).
    async fn login(
        &mut self,
        initial: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Result<Shown, Reply>, WireError> {
        let user = match initial {
            Some(user) => user,
            None => match self.challenge("Username:").await? {
                Answer::Text(text) => text,
                other => return Ok(Err(other.refused())),
            },
        };
        let password = match self.challenge("Password:").await? {
            Answer::Text(text) => text,
            other => return Ok(Err(other.refused())),
        };
        match (std::str::from_utf8(&user), std::str::from_utf8(&password)) {
            (Ok(user), Ok(password)) => {
                let proof = Proof::Password(SecretString::from(password));
                Ok(Ok(Shown { user: user.to_owned(), proof }))
            }
            _ => Ok(Err(Reply::new(501, "5.5.2 User name or password is no UTF-8"))),
        }
    }

    async fn challenge(&mut self, text: &str) -> Result<Answer, WireError> {
        self.wire.reply(&Reply::new(334, BASE64.encode(text)));
        let line = self.wire.line().await?;
        Ok(match &*line {
            b"*" => Answer::Cancelled,
            line => match sasl(line) {
                Some(octets) => Answer::Text(Zeroizing::new(octets)),
                None => Answer::NotBase64,
            },
        })
    }

    async fn enter(&mut self, typed: &str, proof: &Proof) -> Result<Next, WireError> {
        let (client, connected) = self.wire.addresses()?;
        let session = self.server.session_name(self.id);
        let origin = Origin { client, connected, session, id: Vec::new() };
        let account = match self.server.accounts.login(typed, proof, origin).await {
            Ok((account, _)) => account,
            Err(LoginError::Refused(why)) => return self.login_failed(&why).await,
            Err(LoginError::TokenRefused(why, refusal)) => {
                self.tell_refusal(&refusal).await?;
                return self.login_failed(&why).await;
            }
            Err(e) => {
                warn!("login not possible: {e}");
                let text =
                    "4.7.0 The server that checks passwords cannot be asked, try again later";
                return Ok(Next::Reply(Reply::new(454, text)));
            }
        };
        let name = account.name().clone();
        let logins = Sides::from_fn(|side| {
            let credentials = &self.server.config.backends[side].credentials;
            match side == self.server.config.auth.primary {
                true => Some(credentials.own(typed, &name, proof)),
                false => credentials.for_login(typed, &name, proof),
            }
        });
        let mut refused = None;
        let mut unsure = None;
        for side in sending_sides(&self.server, &name) {
            let Some(login) = &logins[side] else {
                warn!(account = %name, %side, "the table of logins has no line for it");
                continue;
            };
            match self.sending_leg(side, login).await {
                Ok(leg) => {
                    Span::current().record("account", name.as_str());
                    info!(%side, "logged in to send");
                    self.legs[side] = Some(leg);
                    let (roster, kicked) = (&self.server.roster, self.kicked.clone());
                    self.entry = Some(roster.enter(self.id, name.clone(), client, kicked));
                    self.user = Some(User { account: name, logins, side });
                    self.wire.set_known();
                    return Ok(Next::Reply(Reply::new(235, "2.7.0 Authentication successful")));
                }
                Err(SmtpError::Refused { server, login, reply, token }) => {
                    warn!(account = %name, "{server}: login of {login} refused: {reply}");
                    refused = Some(token);
                }
                Err(e) => unsure = Some(failed(&e)),
            }
        }
        match (unsure, refused) {
            (None, Some(token)) => {
                if let Some(token) = token {
                    self.tell_refusal(&token).await?;
                }
                self.login_failed("the server for sending refused it").await
            }
            _ => {
                let text = "4.7.0 The server for sending cannot be asked, try again later";
                Ok(Next::Reply(Reply::new(454, text)))
            }
        }
    }

    /// Why a token is refused is told in a challenge, which the client answers with nothing of
    /// interest (RFC 7628 §3.2.3).
    async fn tell_refusal(&mut self, refusal: &TokenRefusal) -> Result<(), WireError> {
        self.challenge(&refusal.challenge()).await.map(drop)
    }

    /// Connects to a side's server for sending, and logs in there.
    async fn sending_leg(
        &mut self,
        side: Side,
        login: &BackendLogin,
    ) -> Result<SmtpConn, SmtpError> {
        let mut leg = self.leg(side).await?;
        leg.login(login).await?;
        Ok(leg)
    }

    async fn login_failed(&mut self, why: &str) -> Result<Next, WireError> {
        self.failed_logins += 1;
        info!(attempt = self.failed_logins, "login refused: {why}");
        let delay = self.server.config.limits.login_failure_delay;
        tokio::time::sleep(delay * self.failed_logins.min(4)).await;
        let reply = Reply::new(535, "5.7.8 Authentication failed");
        if self.failed_logins >= MAX_FAILED_LOGINS {
            self.wire.reply(&reply);
            return Ok(Next::Close(Reply::new(421, "4.7.0 Too many failed logins")));
        }
        Ok(Next::Reply(reply))
    }
}

impl Answer {
    fn refused(self) -> Reply {
        match self {
            Answer::Cancelled => Reply::new(501, "5.7.0 Authentication cancelled"),
            Answer::NotBase64 | Answer::Text(_) => Reply::new(501, "5.5.2 Not base64"),
        }
    }
}
