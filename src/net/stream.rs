//! `Stream`: a TCP connection, with or without TLS, of which end ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection to a client or to a server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// We are the client inside TLS.
    ClientTls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// We are the server inside TLS.
    ServerTls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Stream::Plain(_))
    }

    /// The version of TLS that is spoken, if any is.
    pub fn tls_version(&self) -> Option<&'static str> {
        let version = match self {
            Stream::Plain(_) => return None,
            Stream::ClientTls(tls) => tls.get_ref().1.protocol_version(),
            Stream::ServerTls(tls) => tls.get_ref().1.protocol_version(),
        };
        Some(match version {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            // Nothing older is ever agreed on.
            _ => "TLS",
        })
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::ClientTls(tls) => tls.get_ref().0,
            Stream::ServerTls(tls) => tls.get_ref().0,
        }
    }

    /// The TCP connection, if TLS has not begun on it.
    pub(super) fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Stream::Plain(tcp) => Ok(tcp),
            Stream::ClientTls(_) | Stream::ServerTls(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS has already begun"))
            }
        }
    }
}

/// Hands a poll on to the stream that is inside.
macro_rules! inner {
    ($self:ident, $method:ident($($arg:expr),*)) => {
        match $self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).$method($($arg),*),
            Stream::ClientTls(tls) => Pin::new(tls.as_mut()).$method($($arg),*),
            Stream::ServerTls(tls) => Pin::new(tls.as_mut()).$method($($arg),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        inner!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::ClientTls(tls) => tls.is_write_vectored(),
            Stream::ServerTls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_shutdown(cx))
    }
}
