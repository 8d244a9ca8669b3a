//! `Stream`: a TCP connection, with or without TLS, of which end ever, compressed or not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ProtocolVersion;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Deflated;

/// A connection to a client or to a server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// We are the client inside TLS.
    ClientTls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// We are the server inside TLS.
    ServerTls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// Compressed inside of whatever else it is (RFC 4978).
    Deflated(Box<Deflated<Stream>>),
}

impl Stream {
    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::ClientTls(_) | Stream::ServerTls(_) => true,
            Stream::Deflated(deflated) => deflated.inner().is_tls(),
        }
    }

    /// Whether nobody between the two ends can read along: it is encrypted, or does not leave this
    /// machine.
    pub fn is_private(&self) -> bool {
        let stays =
            || self.tcp().peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        self.is_tls() || stays()
    }

    /// Whether the connection is compressed.
    pub fn is_deflated(&self) -> bool {
        matches!(self, Stream::Deflated(_))
    }

    /// Compresses both ways from the next octet on; `raw` is what the peer has sent of its
    /// compressed stream already.
    pub fn deflated(self, raw: &[u8]) -> Stream {
        Stream::Deflated(Box::new(Deflated::new(self, raw)))
    }

    /// Ends compression where the peer does ([`Deflated::into_clear`]). Returns what it has sent
    /// in clear already.
    pub async fn into_clear(self) -> io::Result<(Stream, Vec<u8>)> {
        match self {
            Stream::Deflated(deflated) => deflated.into_clear().await,
            clear => Ok((clear, Vec::new())),
        }
    }

    /// Gives back what only a busy connection needs: before a wait that may be long.
    pub fn rest(&mut self) {
        if let Stream::Deflated(deflated) = self {
            deflated.rest();
        }
    }

    /// Tells the peer now that what it sent has come, instead of some 40 ms later (`TCP_QUICKACK`): a
    /// server that has left Nagle's algorithm on (RFC 9293 §3.7.4), like Cyrus, holds back the end of an
    /// answer until then. To be said before each wait, for it does not last.
    pub fn acknowledge(&self) {
        // Elsewhere there is no such option, and where it is refused the answer comes a little later.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(self.tcp()).set_tcp_quickack(true);
    }

    /// The version of TLS that is spoken, if any is.
    pub fn tls_version(&self) -> Option<&'static str> {
        let version = match self {
            Stream::Plain(_) => return None,
            Stream::ClientTls(tls) => tls.get_ref().1.protocol_version(),
            Stream::ServerTls(tls) => tls.get_ref().1.protocol_version(),
            Stream::Deflated(deflated) => return deflated.inner().tls_version(),
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
            Stream::Deflated(deflated) => deflated.inner().tcp(),
        }
    }

    /// The TCP connection, if neither TLS nor compression has begun on it.
    pub(super) fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Stream::Plain(tcp) => Ok(tcp),
            Stream::ClientTls(_) | Stream::ServerTls(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS has already begun"))
            }
            Stream::Deflated(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "compression has already begun"))
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
            Stream::Deflated(deflated) => Pin::new(deflated.as_mut()).$method($($arg),*),
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
            Stream::Deflated(deflated) => deflated.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, poll_shutdown(cx))
    }
}
