//! Reaching a server: TCP, and TLS where it comes first.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::{Stream, tls};
use crate::base::Side;
use crate::config::{Backend, Endpoint, Security, SmtpServer};

/// A service that can be reached, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    who: &'static str,
    /// The table of the configuration that tells of it.
    table: &'static str,
    endpoint: &'a Endpoint,
    ca: Option<&'a Path>,
    server_name: &'a ServerName<'static>,
}

impl<'a> From<&'a Backend> for Reach<'a> {
    fn from(backend: &'a Backend) -> Self {
        let who = match backend.side {
            Side::Old => "old",
            Side::New => "new",
        };
        Reach {
            who,
            table: who,
            endpoint: &backend.imap,
            ca: backend.ca.as_deref(),
            server_name: &backend.server_name,
        }
    }
}

impl<'a> From<&'a SmtpServer> for Reach<'a> {
    fn from(server: &'a SmtpServer) -> Self {
        Reach {
            who: server.who,
            table: if server.who == "archive" { "journal" } else { server.who },
            endpoint: &server.endpoint,
            ca: server.ca.as_deref(),
            server_name: &server.server_name,
        }
    }
}

/// Connects to a service, within `timeout` in all.
///
/// Where TLS comes from the start, the handshake is done and the certificate verified; else the
/// stream is plain, and the caller speaks STARTTLS on it before [`Stream::upgrade`] (or not, where
/// the endpoint's security is `Plain`).
pub async fn connect<'a>(to: impl Into<Reach<'a>>, timeout: Duration) -> io::Result<Stream> {
    connect_with(&to.into(), None, timeout).await
}

/// The same, with a text that comes before everything else, TLS included: a PROXY header.
pub async fn connect_with(
    to: &Reach<'_>,
    first: Option<&str>,
    timeout: Duration,
) -> io::Result<Stream> {
    let deadline = Instant::now() + timeout;
    let opened = async {
        let mut tcp = tcp(to, deadline).await?;
        if let Some(first) = first {
            timeout_at(deadline, tcp.write_all(first.as_bytes()))
                .await
                .map_err(|_| timed_out("it takes nothing"))??;
        }
        Ok(tcp)
    };
    let tcp = opened.await.map_err(|error| about(to, error))?;
    match to.endpoint.security {
        Security::Tls => Stream::Plain(tcp).upgrade_by(to, deadline).await,
        Security::StartTls | Security::Plain => Ok(Stream::Plain(tcp)),
    }
}

impl Stream {
    /// Begins TLS as the client, within `timeout`: after the server's OK to STARTTLS. The
    /// certificate is verified as for `imaps://`. Whatever the server sent in clear text behind
    /// its OK must have been dropped by the caller (CVE-2011-0411).
    pub async fn upgrade<'a>(
        self,
        to: impl Into<Reach<'a>>,
        timeout: Duration,
    ) -> io::Result<Stream> {
        self.upgrade_by(&to.into(), Instant::now() + timeout).await
    }

    async fn upgrade_by(self, to: &Reach<'_>, deadline: Instant) -> io::Result<Stream> {
        let handshake = async {
            let connector = tls::connector(to.ca)?;
            let tcp = self.into_plain()?;
            connector.connect(to.server_name.clone(), tcp).await
        };
        // Boxed: the state of a handshake would otherwise be part of every caller's future.
        match timeout_at(deadline, Box::pin(handshake)).await {
            Ok(Ok(tls)) => Ok(Stream::ClientTls(Box::new(tls))),
            Ok(Err(error)) => Err(about(to, tls::explain(error, to.table))),
            Err(_) => Err(about(to, timed_out("the TLS handshake took too long"))),
        }
    }
}

/// Tries the server's addresses one after the other. Each gets an equal share of the time that is
/// left, so that an address which swallows packets does not hide the one that works.
async fn tcp(to: &Reach<'_>, deadline: Instant) -> io::Result<TcpStream> {
    let target = (to.endpoint.host.as_str(), to.endpoint.port);
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
fn about(to: &Reach<'_>, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} server {}: {error}", to.who, to.endpoint))
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
