//! Reaching a server: TCP, and TLS where it comes first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::{Stream, tls};
use crate::config::{Backend, Security};

/// Connects to a server's IMAP service, within `timeout` in all.
///
/// For `imaps://` the TLS handshake is done and the certificate verified; for `imap://` the stream
/// is plain, and the caller speaks STARTTLS on it before [`Stream::upgrade`] (or not, where the
/// endpoint's security is `Plain`).
pub async fn connect(backend: &Backend, timeout: Duration) -> io::Result<Stream> {
    let deadline = Instant::now() + timeout;
    let tcp = tcp(backend, deadline).await.map_err(|error| about(backend, error))?;
    match backend.imap.security {
        Security::Tls => Stream::Plain(tcp).upgrade_by(backend, deadline).await,
        Security::StartTls | Security::Plain => Ok(Stream::Plain(tcp)),
    }
}

impl Stream {
    /// Begins TLS as the client, within `timeout`: after the server's OK to STARTTLS. The
    /// certificate is verified as for `imaps://`. Whatever the server sent in clear text behind
    /// its OK must have been dropped by the caller (CVE-2011-0411).
    pub async fn upgrade(self, backend: &Backend, timeout: Duration) -> io::Result<Stream> {
        self.upgrade_by(backend, Instant::now() + timeout).await
    }

    async fn upgrade_by(self, backend: &Backend, deadline: Instant) -> io::Result<Stream> {
        let handshake = async {
            let connector = tls::connector(backend.ca.as_deref())?;
            let tcp = self.into_plain()?;
            connector.connect(backend.server_name.clone(), tcp).await
        };
        // Boxed: the state of a handshake would otherwise be part of every caller's future.
        match timeout_at(deadline, Box::pin(handshake)).await {
            Ok(Ok(tls)) => Ok(Stream::ClientTls(Box::new(tls))),
            Ok(Err(error)) => Err(about(backend, tls::explain(error, backend.side))),
            Err(_) => Err(about(backend, timed_out("the TLS handshake took too long"))),
        }
    }
}

/// Tries the server's addresses one after the other. Each gets an equal share of the time that is
/// left, so that an address which swallows packets does not hide the one that works.
async fn tcp(backend: &Backend, deadline: Instant) -> io::Result<TcpStream> {
    let target = (backend.imap.host.as_str(), backend.imap.port);
    let addresses: Vec<SocketAddr> = timeout_at(deadline, lookup_host(target))
        .await
        .map_err(|_| timed_out("its name was not resolved in time"))??
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                tune(&tcp);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = timed_out("no answer in time"),
        }
    }
    Err(last)
}

/// Sets what every connection needs: small lines leave at once, and a peer that vanished is
/// noticed. A socket that refuses an option still carries bytes, so that is no error.
pub(super) fn tune(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let set = tcp.set_nodelay(true).and(SockRef::from(tcp).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        tracing::debug!(%error, "a socket option was refused");
    }
}

/// Says which server an error is about.
fn about(backend: &Backend, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} server {}: {error}", backend.side, backend.imap))
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Shorter than the five minutes after which common firewalls forget a silent connection.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);

/// With the retries below, a vanished peer is noticed within three minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// As many as a short break of the network may swallow.
const KEEPALIVE_RETRIES: u32 = 4;
