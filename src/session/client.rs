//! The client's socket: pieces of commands in, answers out through one buffer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::imap::command::Tag;
use crate::imap::framer::{FrameError, Framer, Piece};
use crate::net::{ServerTls, Stream};

/// Room for a read while a literal is on its way.
const READ_AHEAD: usize = 64 << 10;
/// Room for a read of commands.
const COMMAND_ROOM: usize = 4 << 10;
/// An answer is sent when so much of it has gathered.
const FLUSH_AT: usize = 32 << 10;
/// Octets from here on are written from where they lie. To copy fewer costs less than a write does.
const WRITE_THROUGH: usize = 16 << 10;
/// Longer than the pauses inside a burst of commands, shorter than those between two bursts.
const QUIET: Duration = Duration::from_secs(1);

/// Why reading from the client ended.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client is gone.
    #[error("the client is gone: {0}")]
    Io(#[from] io::Error),
    /// The client closed its side.
    #[error("the client closed the connection")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing came from the client for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// A line beyond the limit, or an unreadable literal.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// A client's connection.
pub struct Client {
    stream: Stream,
    framer: Framer,
    input: BytesMut,
    /// What is to be sent; public so that answers are written straight into it.
    pub out: Vec<u8>,
    patience: Duration,
    /// Until then the client must have logged in.
    deadline: Option<Instant>,
    /// The command that runs, and how often the client is told so where it takes long.
    running: Option<(Tag, Duration)>,
}

impl Client {
    /// Takes a connection over. `max_line` bounds a line, `deadline` everything until a login.
    pub fn new(stream: Stream, max_line: usize, deadline: Instant) -> Client {
        Client {
            stream,
            framer: Framer::for_client(max_line),
            input: BytesMut::new(),
            out: Vec::new(),
            patience: deadline.saturating_duration_since(Instant::now()),
            deadline: Some(deadline),
            running: None,
        }
    }

    /// Where the client connected from, and where to.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let tcp = self.stream.tcp();
        Ok((tcp.peer_addr()?, tcp.local_addr()?))
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Whether the connection is compressed.
    pub fn is_deflated(&self) -> bool {
        self.stream.is_deflated()
    }

    /// Compresses from now on, after the OK to COMPRESS was sent and nothing is left unread.
    pub fn deflated(self) -> Client {
        Client { stream: self.stream.deflated(&[]), ..self }
    }

    /// Ends compression, after the answer that ends it was sent.
    pub async fn into_clear(mut self) -> Result<Client, ClientError> {
        if self.has_more() {
            // Compressed behind the command that was to end compression.
            return Err(ClientError::Closed);
        }
        // Boxed: it happens once in a session at the most.
        let clear = timeout(self.patience(), Box::pin(self.stream.into_clear()));
        let (stream, sent) = clear.await.map_err(|_| ClientError::Silent(self.patience))??;
        self.input.extend_from_slice(&sent);
        Ok(Client { stream, ..self })
    }

    /// Other bounds from now on, after a login: `patience` bounds each wait. Only between commands.
    pub fn set_bounds(&mut self, max_line: usize, patience: Duration) {
        self.framer = Framer::for_client(max_line);
        self.patience = patience;
        self.deadline = None;
    }

    /// The bounds of a connection on which nobody is logged in. Only between commands.
    pub fn set_bounds_of_nobody(&mut self, max_line: usize, deadline: Instant) {
        self.framer = Framer::for_client(max_line);
        self.deadline = Some(deadline);
    }

    /// How long the client may take for what it does next.
    fn patience(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => self.patience,
        }
    }

    /// Begins TLS, after the OK to STARTTLS was sent. Whatever came in clear behind STARTTLS is
    /// dropped: it may have been put there by somebody else.
    pub async fn starttls(
        mut self,
        tls: &ServerTls,
        max_line: usize,
        deadline: Instant,
    ) -> io::Result<Client> {
        self.input.clear();
        let patience = self.patience();
        let stream = tls.accept(self.stream, patience).await?;
        Ok(Client::new(stream, max_line, deadline))
    }

    /// The next piece of what the client sends. Loses nothing if it is dropped.
    pub async fn piece(&mut self) -> Result<Piece, ClientError> {
        loop {
            if let Some(piece) = self.framer.next(&mut self.input)? {
                return Ok(piece);
            }
            if !self.out.is_empty() {
                self.flush().await?;
            }
            if self.out.capacity() > COMMAND_ROOM {
                self.out = Vec::new();
            }
            // An idle session keeps little room; a message on its way gets more.
            let room = if self.framer.remaining() > 0 { READ_AHEAD } else { COMMAND_ROOM };
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            self.input.reserve(room);
            if self.read().await? == 0 {
                return Err(ClientError::Closed);
            }
        }
    }

    /// Waits until the client has sent something. Loses nothing if it is dropped.
    pub async fn more(&mut self) -> Result<(), ClientError> {
        self.input.reserve(COMMAND_ROOM);
        if self.read().await? == 0 { Err(ClientError::Closed) } else { Ok(()) }
    }

    /// Reads once. A compressed connection that is quiet for a moment gives back what it holds.
    async fn read(&mut self) -> Result<usize, ClientError> {
        let mut patience = self.patience();
        if self.stream.is_deflated() {
            let quiet = QUIET.min(patience);
            if let Ok(read) = timeout(quiet, self.stream.read_buf(&mut self.input)).await {
                return Ok(read?);
            }
            self.stream.rest();
            patience -= quiet;
        }
        match timeout(patience, self.stream.read_buf(&mut self.input)).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(ClientError::Silent(self.patience)),
        }
    }

    /// Octets of the literal that have not come yet.
    pub fn literal_left(&self) -> u64 {
        self.framer.remaining()
    }

    /// A literal that was announced will not be sent: what comes next is a new command.
    pub fn forget_literal(&mut self) {
        self.framer.reset();
    }

    /// Whether the client has sent more already: then the answer need not be sent on its own.
    pub fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// Appends a line to what is to be sent.
    pub fn line(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends octets if they need not be sent at once; whether it did.
    pub fn gather(&mut self, octets: &[u8]) -> bool {
        let gathers = octets.len() < WRITE_THROUGH && self.out.len() + octets.len() < FLUSH_AT;
        if gathers {
            self.out.extend_from_slice(octets);
        }
        gathers
    }

    /// Appends octets, sending what has gathered where it is much. Large octets are not copied.
    pub async fn octets(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        if self.gather(octets) { Ok(()) } else { self.flush_with(octets).await }
    }

    /// Whether so much has gathered that it should be sent.
    pub fn is_full(&self) -> bool {
        self.out.len() >= FLUSH_AT
    }

    /// Sends what has gathered if it is much.
    pub async fn flush_if_full(&mut self) -> Result<(), ClientError> {
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Sends what has gathered.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.flush_with(&[]).await
    }

    /// Sends what has gathered, and octets behind it from where they lie.
    async fn flush_with(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        let out = std::mem::take(&mut self.out);
        let written = self.write(&out, octets).await;
        if out.capacity() <= FLUSH_AT * 2 && written.is_ok() {
            self.out = out;
            self.out.clear();
        }
        written
    }

    async fn write(&mut self, first: &[u8], second: &[u8]) -> Result<(), ClientError> {
        let patience = self.patience();
        let work = async {
            let mut both = Buf::chain(first, second);
            self.stream.write_all_buf(&mut both).await?;
            self.stream.flush().await
        };
        match timeout(patience, work).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(ClientError::Silent(self.patience)),
        }
    }

    /// A command begins to run, or none runs any more.
    pub fn set_running(&mut self, running: Option<(Tag, Duration)>) {
        self.running = running;
    }

    /// Waits for work that writes nothing to the client, who is told from time to time that its
    /// command still runs (RFC 9585). Only where whole responses have been written.
    ///
    /// The work goes on while the client takes this, however slowly.
    pub async fn patiently<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::pin!(work);
        loop {
            let Some((tag, interval)) = &self.running else { return Ok(work.await) };
            if let Ok(done) = timeout(*interval, &mut work).await {
                return Ok(done);
            }
            // `"INPROGRESS" SP "(" quoted SP nil SP nil ")"`: how much is left nobody knows.
            self.line(format!("* OK [INPROGRESS (\"{tag}\" NIL NIL)] Still working"));
            let told = self.flush();
            tokio::pin!(told);
            tokio::select! {
                taken = &mut told => taken?,
                done = &mut work => {
                    told.await?;
                    return Ok(done);
                }
            }
        }
    }

    /// Gives the write buffer back, before a long wait.
    pub fn shrink(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        self.stream.rest();
    }

    /// Says goodbye on the socket.
    pub async fn close(mut self) {
        // The session is over either way; a client that is gone needs no goodbye.
        if self.flush().await.is_ok() {
            drop(timeout(Duration::from_secs(1), self.stream.shutdown()).await);
        }
    }
}
