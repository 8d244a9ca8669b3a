//! One SMTP client: submission by a user, or mail from the world and from the servers themselves.
//!
//! Every reply that promises something is a server's own, passed on: a message is accepted when a
//! server has accepted it, and not before, so whatever dies when loses nothing. Commands run one
//! after the other; what a client pipelines waits in its socket.

mod auth;
mod envelope;
mod leg;
mod message;
mod offer;
mod route;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::roster::Entry;
use super::server::Server;
use crate::account::SessionId;
use crate::backend::{Peer, SmtpConn};
use crate::base::{Sides, metrics};
use crate::net::{ServerTls, Stream};
use crate::smtp::{BadLine, Command, Reply, Wrong, XClient};

use auth::User;
use envelope::Transaction;
pub use offer::SmtpOffers;
use wire::{Wire, WireError};

/// Who the clients of a listener are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Users, who log in and send to anybody.
    Submission,
    /// Anybody, who sends to accounts here.
    Inbound {
        /// Only the servers themselves.
        trusted: bool,
    },
}

impl Role {
    /// As counters name it.
    fn listener(self) -> &'static str {
        match self {
            Role::Submission => "submission",
            Role::Inbound { trusted: false } => "smtp",
            Role::Inbound { trusted: true } => "trusted",
        }
    }
}

/// One client's session.
pub(super) struct Session {
    server: Arc<Server>,
    wire: Wire,
    id: SessionId,
    role: Role,
    /// Who is connected, or on whose behalf.
    peer: Peer,
    greeted: bool,
    user: Option<User>,
    /// Says that `user` is here.
    entry: Option<Entry>,
    /// Cancelled when the administrator ends the session.
    kicked: CancellationToken,
    failed_logins: u32,
    wrong_commands: u32,
    transaction: Option<Transaction>,
    /// Connections to the servers, for this session alone.
    legs: Sides<Option<SmtpConn>>,
    archive: Option<SmtpConn>,
}

/// What becomes of the session after a command.
enum Next {
    Reply(Reply),
    /// Said, and the connection ends.
    Close(Reply),
    /// It was told to begin TLS.
    StartTls(ServerTls),
}

/// Serves one client to its end.
pub(super) async fn run(
    server: Arc<Server>,
    stream: Stream,
    id: SessionId,
    role: Role,
    tls_first: bool,
) {
    let _counted = metrics().mail_session(role.listener());
    let limits = &server.config.limits;
    let deadline = matches!(role, Role::Submission).then(|| Instant::now() + limits.login_timeout);
    let stream = match (tls_first, &server.tls) {
        (false, _) => stream,
        (true, Some(tls)) => match tls.accept(stream, limits.login_timeout).await {
            Ok(stream) => stream,
            Err(e) => return debug!("TLS handshake: {e}"),
        },
        (true, None) => return,
    };
    let wire = Wire::new(stream, server.config.smtp.idle_timeout, deadline);
    let (client, connected) = match wire.addresses() {
        Ok(addresses) => addresses,
        Err(e) => return debug!("the client is gone: {e}"),
    };
    let peer = Peer { client, connected, helo: String::new(), extended: false };
    let session = Session {
        wire,
        id,
        role,
        peer,
        greeted: false,
        user: None,
        entry: None,
        kicked: CancellationToken::new(),
        failed_logins: 0,
        wrong_commands: 0,
        transaction: None,
        legs: Sides::default(),
        archive: None,
        server: Arc::clone(&server),
    };
    Box::pin(session.serve()).await;
}

impl Session {
    async fn serve(mut self) {
        let mut ended = self.greet();
        while ended.is_ok() {
            ended = match self.listen().await {
                Ok(None) => break,
                Ok(Some(tls)) => match self.wire.starttls(&tls).await {
                    Ok(wire) => {
                        self.wire = wire;
                        Ok(())
                    }
                    Err(e) => return debug!("STARTTLS: {e}"),
                },
                Err(e) => Err(e),
            };
        }
        match &ended {
            Ok(()) => debug!("session ended"),
            Err(e) => debug!("session ended: {e}"),
        }
        self.forget_legs();
        if let Some(archive) = self.archive.take() {
            tokio::spawn(archive.quit());
        }
        self.wire.close().await;
    }

    fn greet(&mut self) -> Result<(), WireError> {
        let hostname = &self.server.config.smtp.hostname;
        if self.role == (Role::Inbound { trusted: true }) && !self.is_trusted() {
            info!("refused: not from a trusted network");
            self.wire.reply(&Reply::new(554, format!("5.7.1 {hostname} is not for you")));
            return Err(WireError::Dismissed("not from a trusted network"));
        }
        self.wire.reply(&Reply::new(220, format!("{hostname} ESMTP Mailferry")));
        Ok(())
    }

    /// Executes commands up to the end, or to the beginning of TLS.
    async fn listen(&mut self) -> Result<Option<ServerTls>, WireError> {
        let (shutdown, kicked) = (self.server.shutdown.clone(), self.kicked.clone());
        loop {
            let line = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.wire.reply(&Reply::new(421, "4.3.2 The proxy is being stopped"));
                    return Ok(None);
                }
                () = kicked.cancelled() => return Err(self.kicked()),
                line = self.wire.line() => line,
            };
            let line = match line {
                Ok(line) => line,
                Err(WireError::Line(bad)) => {
                    // Nobody knows where the next command begins.
                    let code = if bad == BadLine::TooLong { "5.5.6" } else { "5.5.2" };
                    self.wire.reply(&Reply::new(500, format!("{code} {bad}")));
                    return Err(bad.into());
                }
                Err(WireError::Silent) => {
                    self.wire.reply(&Reply::new(421, "4.4.2 Nothing came for too long"));
                    return Err(WireError::Silent);
                }
                Err(e) => return Err(e),
            };
            // Boxed, so that an idle session is not as large as its largest command.
            let next = match Command::parse(&line) {
                Ok(Command::Quit) => Next::Close(Reply::new(221, "2.0.0 Bye")),
                Ok(command) => Box::pin(self.execute(command)).await?,
                Err(wrong) => Next::Reply(refused(wrong)),
            };
            match next {
                Next::Reply(reply) => {
                    self.wire.reply(&reply);
                    self.count(&reply)?;
                }
                Next::Close(reply) => {
                    self.wire.reply(&reply);
                    return Ok(None);
                }
                Next::StartTls(tls) => return Ok(Some(tls)),
            }
        }
    }

    /// Tells the client that the administrator ends its session.
    fn kicked(&mut self) -> WireError {
        self.wire.reply(&Reply::new(421, "4.3.2 Ended by the administrator, please connect again"));
        WireError::Dismissed("ended by the administrator")
    }

    /// A client that goes on saying what makes no sense is sent away.
    fn count(&mut self, reply: &Reply) -> Result<(), WireError> {
        if !(500..=504).contains(&reply.code().0) {
            return Ok(());
        }
        self.wrong_commands += 1;
        if self.wrong_commands < MAX_WRONG {
            return Ok(());
        }
        self.wire.reply(&Reply::new(421, "4.7.0 Too many errors"));
        Err(WireError::Dismissed("too many errors"))
    }

    async fn execute(&mut self, command: Command) -> Result<Next, WireError> {
        // Between two BDATs nothing may come but what ends the message (RFC 3030 §2).
        let in_message = self.transaction.as_ref().is_some_and(Transaction::is_in_message);
        let reply = match command {
            Command::Noop => Reply::new(250, "2.0.0 Ok"),
            Command::Rset => {
                self.reset().await;
                Reply::new(250, "2.0.0 Ok")
            }
            Command::Bdat { octets, last } => return self.bdat(octets, last).await,
            Command::Vrfy => Reply::new(252, "2.5.0 Send some mail, and see"),
            Command::Help => Reply::new(214, "2.0.0 See RFC 5321"),
            Command::Unknown => Reply::new(500, "5.5.1 Unknown command"),
            _ if in_message => Reply::new(503, "5.5.1 A message is under way by BDAT"),
            Command::Ehlo(name) => return self.hello(name, true).await.map(Next::Reply),
            Command::Helo(name) => return self.hello(name, false).await.map(Next::Reply),
            Command::StartTls => return self.starttls().await,
            Command::Auth { mechanism, initial } => return self.auth(&mechanism, initial).await,
            Command::XClient(told) => return Ok(Next::Reply(self.xclient(told).await)),
            Command::Mail(mail) => self.mail(mail).await,
            Command::Rcpt(rcpt) => self.rcpt(rcpt).await,
            Command::Data => return self.data().await,
            Command::Quit => Reply::new(221, "2.0.0 Bye"),
        };
        Ok(Next::Reply(reply))
    }

    /// EHLO and HELO: whatever was under way is over (RFC 5321 §4.1.4).
    async fn hello(&mut self, name: String, extended: bool) -> Result<Reply, WireError> {
        self.reset().await;
        if self.greeted && name != self.peer.helo {
            // The servers were told another name.
            self.forget_legs();
        }
        self.peer.helo = name;
        self.peer.extended = extended;
        self.greeted = true;
        let hostname = self.server.config.smtp.hostname.clone();
        if !extended {
            return Ok(Reply::new(250, hostname));
        }
        let common = self.server.smtp.common(self.role).await;
        let smtp = &self.server.config.smtp;
        let own = self.server.config.limits.message;
        let size = common.size.filter(|size| *size > 0).map_or(own, |size| size.min(own));
        // What a server has beyond that, it answers itself.
        let recipients = common.recipients.map_or(smtp.recipients, |most| {
            usize::try_from(most).map_or(smtp.recipients, |most| most.min(smtp.recipients))
        });
        let mut lines = vec![
            hostname,
            "PIPELINING".to_owned(),
            format!("SIZE {size}"),
            "ENHANCEDSTATUSCODES".to_owned(),
            "CHUNKING".to_owned(),
            format!("LIMITS RCPTMAX={recipients}"),
        ];
        let mut offer = |offered: bool, line: &str| {
            if offered {
                lines.push(line.to_owned());
            }
        };
        offer(common.eight_bit, "8BITMIME");
        offer(common.utf8, "SMTPUTF8");
        offer(common.dsn, "DSN");
        offer(!self.wire.is_tls() && self.server.tls.is_some(), "STARTTLS");
        offer(self.role == Role::Submission && self.may_log_in(), &self.mechanisms());
        offer(self.is_trusted() && self.role != Role::Submission, "XCLIENT ADDR PORT HELO");
        Ok(Reply::of_lines(250, lines))
    }

    /// STARTTLS (RFC 3207). The session is a new one afterwards: nothing that was said in clear is
    /// believed.
    async fn starttls(&mut self) -> Result<Next, WireError> {
        let Some(tls) = self.server.tls.clone().filter(|_| !self.wire.is_tls()) else {
            return Ok(Next::Reply(Reply::new(503, "5.5.1 STARTTLS is not possible here")));
        };
        self.reset().await;
        self.forget_legs();
        self.wire.reply(&Reply::new(220, "2.0.0 Begin TLS negotiation now"));
        self.wire.flush().await?;
        (self.greeted, self.user, self.entry) = (false, None, None);
        self.peer.helo.clear();
        Ok(Next::StartTls(tls))
    }

    /// XCLIENT, as Postfix has it: only of those who are believed. The session begins anew.
    async fn xclient(&mut self, told: XClient) -> Reply {
        if !self.is_trusted() || self.role == Role::Submission {
            return Reply::new(550, "5.7.0 Insufficient authorization");
        }
        self.reset().await;
        self.forget_legs();
        if let Some(address) = told.address {
            self.peer.client.set_ip(address);
        }
        if let Some(port) = told.port {
            self.peer.client.set_port(port);
        }
        if let Some(helo) = told.helo {
            self.peer.helo = helo;
        }
        info!(client = %self.peer.client, "speaks for another");
        self.greeted = false;
        let hostname = &self.server.config.smtp.hostname;
        Reply::new(220, format!("{hostname} ESMTP Mailferry"))
    }

    /// Whether the one who is really connected is believed.
    fn is_trusted(&self) -> bool {
        let address = self.wire.addresses().map(|(client, _)| client.ip());
        address.is_ok_and(|address: IpAddr| self.server.config.smtp.trusts(address))
    }
}

fn refused(wrong: Wrong) -> Reply {
    match wrong {
        Wrong::Arguments(why) => Reply::new(501, format!("5.5.4 {why}")),
        Wrong::Parameter(why) => Reply::new(555, format!("5.5.4 {why}")),
    }
}

/// So many commands that make no sense end a connection.
const MAX_WRONG: u32 = 20;
