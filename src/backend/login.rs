//! The beginning of a connection: greeting, STARTTLS, login, capabilities, COMPRESS.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::{Instant, timeout};
use tracing::debug;
use zeroize::Zeroizing;

use super::conn::{Conn, Done, Event, text, words};
use super::{BackendError, Breaker, Origin, Profile, measure};
use crate::base::{Proof, SecretString, Side, TokenRefusal};
use crate::config::{Backend, BackendLogin, Compress, Limits, Security};
use crate::imap::response::{Code, Response, UntaggedStatus};
use crate::imap::write::Parts;
use crate::net;

/// Connects, secures and logs in: everything until the first command, unless the breaker says that
/// the server cannot be reached. `origin` is told to a server that is to know on whose behalf.
///
/// # Errors
/// [`BackendError::Refused`] only if the server itself said NO to the credentials; everything else
/// says that the server could not be asked.
pub async fn connect(
    side: Side,
    backend: &Backend,
    login: &BackendLogin,
    limits: &Limits,
    origin: Option<&Origin>,
    breaker: &Breaker,
) -> Result<Conn, BackendError> {
    let attempt =
        breaker.attempt(Instant::now()).map_err(|why| BackendError::Away { side, why })?;
    let work = async {
        let greeted = Conn::greet(side, backend, limits).await;
        match &greeted {
            Ok(_) => attempt.reached(Instant::now()),
            // It is there, and says why it has no time.
            Err(BackendError::Crowded { .. }) => attempt.reached(Instant::now()),
            Err(e) => attempt.failed(e, Instant::now()),
        }
        let mut conn = greeted?;
        if let Some(origin) = origin.filter(|_| backend.id_forward) {
            conn.introduce(origin).await?;
        }
        conn.login(login).await?;
        if backend.compress == Compress::Auto && conn.profile().compress() {
            conn = conn.compress().await?;
        }
        Ok(conn)
    };
    // A server that accepts and then says nothing must not hold a login for minutes.
    let bound = limits.backend_connect_timeout + limits.backend_command_timeout;
    let opened = match timeout(bound, work).await {
        Ok(result) => result,
        Err(_) => Err(BackendError::Connect {
            side,
            address: backend.imap.to_string(),
            source: io::ErrorKind::TimedOut.into(),
        }),
    };
    opened.inspect_err(|e| measure::not_opened(side, e))
}

impl Conn {
    /// Connects and secures, up to the point where a login can be sent; within
    /// `limits.backend_connect_timeout`.
    pub async fn greet(
        side: Side,
        backend: &Backend,
        limits: &Limits,
    ) -> Result<Conn, BackendError> {
        // Connecting has the same bound and says better what took so long.
        let bound = limits.backend_connect_timeout + Duration::from_millis(100);
        match timeout(bound, Conn::greet_unbounded(side, backend, limits)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(BackendError::Connect {
                side,
                address: backend.imap.to_string(),
                source: io::Error::new(io::ErrorKind::TimedOut, "no greeting in time"),
            }),
        }
    }

    async fn greet_unbounded(
        side: Side,
        backend: &Backend,
        limits: &Limits,
    ) -> Result<Conn, BackendError> {
        let unreachable =
            |source| BackendError::Connect { side, address: backend.imap.to_string(), source };
        let stream =
            net::connect(backend, limits.backend_connect_timeout).await.map_err(unreachable)?;
        let mut conn = Conn::new(side, stream, backend, limits.backend_command_timeout);
        // PREAUTH would be somebody's session that is not ours, and would bypass STARTTLS.
        match conn.event().await? {
            Event::Response(Response::Status { status: UntaggedStatus::Ok, code, text }) => {
                conn.greeting = words(&text).into();
                if let Some(Code::Capability(names)) = code {
                    conn.offers(names);
                }
            }
            other => return Err(conn.protocol(format!("unexpected greeting: {other:?}"))),
        }
        if backend.imap.security == Security::StartTls && !conn.stream.is_tls() {
            conn = conn.starttls(backend, limits.backend_connect_timeout).await?;
        }
        Ok(conn)
    }

    async fn starttls(
        mut self,
        backend: &Backend,
        patience: Duration,
    ) -> Result<Conn, BackendError> {
        let done = self.run(&text("STARTTLS")).await?;
        if !done.is_ok() {
            return Err(self.answer("STARTTLS", &done));
        }
        self.forget_clear();
        let side = self.side();
        self.stream = self.stream.upgrade(backend, patience).await.map_err(|source| {
            BackendError::Connect { side, address: backend.imap.to_string(), source }
        })?;
        Ok(self)
    }

    /// ID (RFC 2971), before the login as Dovecot wants it. What the server answers is its own
    /// affair: it will log what it believes.
    async fn introduce(&mut self, origin: &Origin) -> Result<(), BackendError> {
        if *self.profile() == Profile::default() {
            self.learn_capabilities().await?;
        }
        if self.profile().has("ID") {
            let done = self.run(&origin.command()).await?;
            debug!(side = %self.side(), "ID: {}", done.words());
        }
        Ok(())
    }

    async fn login(&mut self, login: &BackendLogin) -> Result<(), BackendError> {
        if *self.profile() == Profile::default() {
            self.learn_capabilities().await?;
        }
        let (done, token) = match &login.proof {
            Proof::Password(_) => (self.show_password(login).await?, None),
            Proof::Token(token) => self.show_token(&login.authcid, token).await?,
        };
        if !done.is_ok() {
            let login = login.authcid.clone();
            return Err(match done.code {
                // The server could not judge (RFC 5530): that is not a refusal of the secret.
                Some(Code::Limit) => {
                    BackendError::Crowded { side: self.side(), text: done.words() }
                }
                Some(Code::Unavailable | Code::InUse | Code::Throttled) => {
                    self.answer("login", &done)
                }
                _ => {
                    let token = token.map(Box::new);
                    BackendError::Refused { side: self.side(), login, text: done.words(), token }
                }
            });
        }
        let announced = done
            .untagged
            .into_iter()
            .filter_map(|r| match r {
                Response::Capability(names) => Some(names),
                Response::Status { code: Some(Code::Capability(names)), .. } => Some(names),
                _ => None,
            })
            .next_back();
        match (done.code, announced) {
            (Some(Code::Capability(names)), _) | (_, Some(names)) => {
                self.offers(names);
            }
            // What was offered before login says little about what is there after it.
            _ => self.learn_capabilities().await?,
        }
        Ok(())
    }

    async fn show_password(&mut self, login: &BackendLogin) -> Result<Done, BackendError> {
        let authzid = login.authzid.as_deref().unwrap_or("");
        let secret = login.proof.expose_secret();
        let plain = Zeroizing::new(format!("{authzid}\0{}\0{secret}", login.authcid));
        if self.profile().has("AUTH=PLAIN") || login.authzid.is_some() {
            let encoded = Zeroizing::new(BASE64.encode(plain.as_bytes()));
            if self.profile().has("SASL-IR") {
                self.run_once(&text(&format!("AUTHENTICATE PLAIN {}", *encoded))).await
            } else {
                self.authenticate_in_two_steps(&encoded).await
            }
        } else {
            let mut command = Parts::new();
            command.text("LOGIN ");
            command.astring(login.authcid.as_bytes());
            command.text(" ");
            command.astring(secret.as_bytes());
            self.run_once(&command).await
        }
    }

    /// Shows a bearer token, by whichever mechanism the server has for it. Before it says NO, it
    /// tells why in a challenge (RFC 7628 §3.2.2).
    async fn show_token(
        &mut self,
        user: &str,
        token: &SecretString,
    ) -> Result<(Done, Option<TokenRefusal>), BackendError> {
        let Some(mechanism) = self.profile().for_tokens() else {
            return Err(self.takes_no_tokens(user, "it takes no tokens"));
        };
        // RFC 6750 §5.3: whoever reads it on its way has it. Within this machine nobody does.
        if !self.stream.is_private() {
            return Err(self.takes_no_tokens(user, "a token is not sent without TLS"));
        }
        let response = mechanism.token(user, token);
        let encoded = Zeroizing::new(BASE64.encode(response.as_bytes()));
        let name = mechanism.name();
        let pending = if self.profile().has("SASL-IR") {
            self.send(&text(&format!("AUTHENTICATE {name} {}", *encoded))).await?
        } else {
            let pending = self.send(&text(&format!("AUTHENTICATE {name}"))).await?;
            if let Some(refused) = self.await_go_on(pending).await? {
                return Ok((refused, None));
            }
            self.queue_octets(encoded.as_bytes());
            self.queue_octets(b"\r\n");
            self.flush().await?;
            pending
        };
        let challenge = match self.await_challenge(pending).await? {
            Err(done) => return Ok((done, None)),
            Ok(challenge) => challenge,
        };
        self.queue_octets(BASE64.encode(mechanism.after_refusal()).as_bytes());
        self.queue_octets(b"\r\n");
        let done = self.finish(pending).await?;
        let told = BASE64.decode(&challenge).map(|json| TokenRefusal::read(&json));
        Ok((done, Some(told.unwrap_or_default())))
    }

    /// Nothing was sent: the server would only have refused it.
    fn takes_no_tokens(&self, user: &str, why: &str) -> BackendError {
        BackendError::Refused {
            side: self.side(),
            login: user.to_owned(),
            text: why.to_owned(),
            token: Some(Box::default()),
        }
    }

    /// COMPRESS (RFC 4978 §3), after the login as most servers want it. Without the server's OK the
    /// connection goes on as it is.
    async fn compress(mut self) -> Result<Conn, BackendError> {
        let done = self.run(&text("COMPRESS DEFLATE")).await?;
        if done.is_ok() {
            return Ok(self.deflated());
        }
        debug!(side = %self.side(), "COMPRESS: {}", done.words());
        Ok(self)
    }

    async fn authenticate_in_two_steps(&mut self, encoded: &str) -> Result<Done, BackendError> {
        let pending = self.send(&text("AUTHENTICATE PLAIN")).await?;
        if let Some(refused) = self.await_go_on(pending).await? {
            return Ok(refused);
        }
        self.queue_octets(encoded.as_bytes());
        self.queue_octets(b"\r\n");
        self.finish(pending).await
    }

    /// Asks for the capabilities.
    pub async fn learn_capabilities(&mut self) -> Result<(), BackendError> {
        let done = self.run(&text("CAPABILITY")).await?;
        for response in done.untagged {
            if let Response::Capability(names) = response {
                self.offers(names);
            }
        }
        Ok(())
    }
}
