//! One connection: a command out, its reply in, one at a time; and a message's octets.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use memchr::memchr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::SmtpError;
use crate::base::TokenRefusal;
use crate::config::{Limits, Service, SmtpServer};
use crate::net::Stream;
use crate::smtp::{Extensions, LONGEST_LINE, Reply, ReplyReader};

/// A connection to a server that was greeted, or is about to be.
pub struct SmtpConn {
    /// As it is named in errors.
    server: String,
    pub(super) service: Service,
    pub(super) stream: Stream,
    input: BytesMut,
    reader: ReplyReader,
    pub(super) extensions: Extensions,
    pub(super) greeting: String,
    patience: Duration,
    /// Nothing more can be asked of it.
    broken: bool,
}

impl SmtpConn {
    pub(super) fn new(server: &SmtpServer, stream: Stream, limits: &Limits) -> SmtpConn {
        SmtpConn {
            server: server.to_string(),
            service: server.endpoint.service,
            stream,
            input: BytesMut::new(),
            reader: ReplyReader::default(),
            extensions: Extensions::default(),
            greeting: String::new(),
            patience: limits.backend_command_timeout,
            broken: false,
        }
    }

    /// What the server offers.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What the server said when it was connected to.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The version of TLS that is spoken, if any is.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.stream.tls_version()
    }

    /// Whether each recipient of a message gets a reply of its own (LMTP).
    pub fn is_lmtp(&self) -> bool {
        self.service == Service::Lmtp
    }

    /// Whether it broke, or the server said goodbye. Asked of one that was idle for a while.
    pub fn is_gone(&mut self) -> bool {
        // An idle server has nothing to say but that it closes.
        self.broken
            || !self.input.is_empty()
            || self.stream.read_buf(&mut self.input).now_or_never().is_some()
    }

    /// Sends a command, without its CR LF, and reads the reply.
    pub async fn ask(&mut self, doing: &'static str, line: &str) -> Result<Reply, SmtpError> {
        debug_assert!(!line.contains(['\r', '\n']), "one command is one line");
        if !self.input.is_empty() {
            return Err(self.protocol("it said something before it was asked"));
        }
        let line = zeroize::Zeroizing::new(format!("{line}\r\n"));
        self.send(doing, line.as_bytes()).await?;
        self.reply(doing).await
    }

    /// Sends several commands and reads the reply to each: at once, where the server takes that
    /// (RFC 2920), else one after the other, up to the first that is refused.
    pub async fn ask_all(
        &mut self,
        commands: &[(&'static str, String)],
    ) -> Result<Vec<Reply>, SmtpError> {
        let mut replies = Vec::with_capacity(commands.len());
        let group = if self.extensions.pipelining { GROUP } else { 1 };
        for group in commands.chunks(group) {
            if !self.input.is_empty() {
                return Err(self.protocol("it said something before it was asked"));
            }
            let mut octets = Vec::new();
            for (_, line) in group {
                debug_assert!(!line.contains(['\r', '\n']), "one command is one line");
                octets.extend_from_slice(line.as_bytes());
                octets.extend_from_slice(b"\r\n");
            }
            self.send(group[0].0, &octets).await?;
            for (doing, _) in group {
                replies.push(self.reply(doing).await?);
                if self.broken {
                    return Ok(replies);
                }
            }
            let last = replies.last().map(Reply::code);
            if last.is_some_and(|code| code.is_transient() || code.is_permanent()) {
                break;
            }
        }
        Ok(replies)
    }

    /// Sends octets, of a message between its 354 and its end.
    pub async fn send(&mut self, doing: &'static str, octets: &[u8]) -> Result<(), SmtpError> {
        let work = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        let sent = timeout(self.patience, work).await;
        self.io(doing, sent)
    }

    /// Sends a message's end and reads the reply, for which the server may take `patience`.
    pub async fn end(&mut self, octets: &[u8], patience: Duration) -> Result<Reply, SmtpError> {
        self.send("sending a message", octets).await?;
        let usual = std::mem::replace(&mut self.patience, patience);
        let reply = self.reply("waiting for a message to be accepted").await;
        self.patience = usual;
        reply
    }

    /// What the server says although the message has not ended: it may refuse it early.
    pub async fn early_reply(&mut self) -> Option<Reply> {
        let reply = timeout(EARLY, self.reply("sending a message")).await;
        self.broken = true;
        reply.ok()?.ok()
    }

    /// Reads the next reply.
    pub(super) async fn reply(&mut self, doing: &'static str) -> Result<Reply, SmtpError> {
        loop {
            while let Some(end) = memchr(b'\n', &self.input) {
                let line = self.input.split_to(end + 1);
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line[..end]);
                match self.reader.take(line) {
                    Ok(None) => {}
                    Ok(Some(reply)) => {
                        // 421 says that the connection is being closed, whatever was asked.
                        self.broken |= reply.code().0 == 421;
                        return Ok(reply);
                    }
                    Err(bad) => return Err(self.protocol(bad.to_string())),
                }
            }
            if self.input.len() > LONGEST_LINE {
                return Err(self.protocol("its reply is too long"));
            }
            let read = timeout(self.patience, self.stream.read_buf(&mut self.input)).await;
            if self.io(doing, read)? == 0 {
                let gone = Ok(Err(io::ErrorKind::UnexpectedEof.into()));
                return self.io(doing, gone);
            }
        }
    }

    /// Says goodbye, and does not wait long for the answer.
    pub async fn quit(mut self) {
        if !self.broken {
            let _ = timeout(GOODBYE, self.ask("QUIT", "QUIT")).await;
        }
    }

    /// Whether the server sent more than what was asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    pub(super) fn answer(&self, doing: &'static str, reply: Reply) -> SmtpError {
        SmtpError::Answer { server: self.server.clone(), doing, reply }
    }

    pub(super) fn refused(
        &self,
        login: &str,
        reply: Reply,
        token: Option<Box<TokenRefusal>>,
    ) -> SmtpError {
        let (server, login) = (self.server.clone(), login.to_owned());
        SmtpError::Refused { server, login, reply, token }
    }

    pub(super) fn protocol(&mut self, what: impl Into<String>) -> SmtpError {
        self.broken = true;
        SmtpError::Protocol { server: self.server.clone(), what: what.into() }
    }

    fn io<T>(
        &mut self,
        doing: &'static str,
        result: Result<io::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, SmtpError> {
        let source = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        self.broken = true;
        Err(SmtpError::Lost { server: self.server.clone(), doing, source })
    }
}

/// Of so many commands the replies fit into any socket's buffers: neither end waits for the other
/// (RFC 2920 §3.1).
const GROUP: usize = 32;

/// A server that closes in the middle of a message has said why already, or will not.
const EARLY: Duration = Duration::from_secs(2);

/// Nobody waits for this.
const GOODBYE: Duration = Duration::from_secs(2);
