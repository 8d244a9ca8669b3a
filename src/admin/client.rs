//! The asking end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::UnixStream;

use super::wire::{Command, LONGEST_REPLY, Refusal, Reply, Request, line, send};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no proxy answers on {}", .0.display())]
    NotRunning(PathBuf),
    /// There is a socket, but not for us, or the connection broke.
    #[error("the proxy cannot be asked on {}: {source}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy ended before it answered.
    #[error("the proxy ended, or was stopped, before it answered")]
    Ended,
    /// The answer is none.
    #[error("the proxy's answer cannot be read; is it of another version? {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The proxy did not do it.
    #[error(transparent)]
    Refused(Refusal),
}

/// Has the proxy at `socket` do a command; `progress` hears how it goes.
pub async fn ask<C: Command>(
    socket: &Path,
    command: &C,
    progress: impl FnMut(C::Progress),
) -> Result<C::Done, AskError> {
    let failed = |source| AskError::Io { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(socket.to_owned())
        }
        _ => failed(e),
    })?;
    let (input, out) = stream.into_split();
    converse(input, out, command, progress).await.map_err(|e| match e {
        AskError::Io { source, .. } => failed(source),
        other => other,
    })
}

/// Asks, and takes the answer.
pub(super) async fn converse<C: Command>(
    input: impl AsyncRead + Unpin,
    mut out: impl AsyncWrite + Unpin,
    command: &C,
    mut progress: impl FnMut(C::Progress),
) -> Result<C::Done, AskError> {
    let failed = |source| AskError::Io { path: PathBuf::new(), source };
    let mut input = BufReader::new(input);
    let request = Request::<&C> { command: C::NAME.to_owned(), arguments: command };
    send(&mut out, &request).await.map_err(failed)?;
    loop {
        let answer = line(&mut input, LONGEST_REPLY).await.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => AskError::Ended,
            _ => failed(e),
        })?;
        match serde_json::from_slice(&answer.ok_or(AskError::Ended)?)? {
            Reply::<C::Progress, C::Done>::Progress(how) => progress(how),
            Reply::Done(done) => return Ok(done),
            Reply::Refused(refusal) => return Err(AskError::Refused(refusal)),
        }
    }
}
