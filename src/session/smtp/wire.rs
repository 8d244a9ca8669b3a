//! The client's socket: lines and octets in, replies out through one buffer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::net::{ServerTls, Stream};
use crate::smtp::{BadLine, Reply, take_line};

/// Why nothing more comes from the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the client is gone: {0}")]
    Io(#[from] io::Error),
    #[error("the client closed the connection")]
    Closed,
    #[error("the client took too long")]
    Silent,
    #[error("{0}")]
    Line(#[from] BadLine),
    /// It was told why already.
    #[error("{0}")]
    Dismissed(&'static str),
}

/// A client's connection.
pub(super) struct Wire {
    stream: Stream,
    pub input: BytesMut,
    out: Vec<u8>,
    patience: Duration,
    /// Until then it must have logged in.
    deadline: Option<Instant>,
}

impl Wire {
    pub fn new(stream: Stream, patience: Duration, deadline: Option<Instant>) -> Wire {
        Wire { stream, input: BytesMut::new(), out: Vec::new(), patience, deadline }
    }

    /// Where the client connected from, and where to.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.stream.tcp();
        Ok((tcp.peer_addr()?, tcp.local_addr()?))
    }

    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Somebody is logged in.
    pub fn set_known(&mut self) {
        self.deadline = None;
    }

    /// Begins TLS, after the answer to STARTTLS was sent. Whatever came in clear behind STARTTLS is
    /// dropped: it may have been put there by somebody else.
    pub async fn starttls(self, tls: &ServerTls) -> io::Result<Wire> {
        let stream = tls.accept(self.stream, self.patience).await?;
        Ok(Wire::new(stream, self.patience, self.deadline))
    }

    /// The next line, without its end. What is to be sent is sent before there is a wait.
    pub async fn line(&mut self) -> Result<Bytes, WireError> {
        loop {
            if let Some(line) = take_line(&mut self.input, LONGEST_LINE)? {
                return Ok(line);
            }
            self.flush().await?;
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            self.input.reserve(COMMAND_ROOM);
            let until = Instant::now() + self.patience;
            self.read(self.deadline.map_or(until, |deadline| deadline.min(until))).await?;
        }
    }

    /// More of a message that must have come whole by `until`.
    pub async fn more(&mut self, until: Instant) -> Result<(), WireError> {
        self.flush().await?;
        self.input.reserve(READ_AHEAD);
        self.read(until.min(Instant::now() + self.patience)).await
    }

    async fn read(&mut self, until: Instant) -> Result<(), WireError> {
        match timeout_at(until, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(WireError::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WireError::Silent),
        }
    }

    pub fn reply(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    pub async fn flush(&mut self) -> Result<(), WireError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let work = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        timeout(self.patience, work).await.map_err(|_| WireError::Silent)??;
        self.out.clear();
        Ok(())
    }

    /// Says goodbye on the socket.
    pub async fn close(mut self) {
        // The session is over either way; a client that is gone needs no goodbye.
        if self.flush().await.is_ok() {
            drop(timeout(Duration::from_secs(1), self.stream.shutdown()).await);
        }
    }
}

/// RFC 4954 §4: the longest line is AUTH's.
const LONGEST_LINE: usize = 12_288;

/// Room for a read of commands.
const COMMAND_ROOM: usize = 4 << 10;

/// Room for a read of a message.
const READ_AHEAD: usize = 64 << 10;
