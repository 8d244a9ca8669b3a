//! TLS: the proxy's own certificate towards clients, and the verification of servers.
//!
//! The cryptography is aws-lc-rs, named explicitly wherever a configuration is built: no
//! process-wide default that another crate could change. TLS starts at 1.2. No ALPN is offered:
//! IMAP needs none, and servers that never heard of it exist.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Stream;
use crate::config::Tls;

/// The server's end of TLS, with the proxy's certificate.
#[derive(Clone)]
pub struct ServerTls(TlsAcceptor);

impl ServerTls {
    /// Loads certificate and key. Sessions can be resumed, by tickets whose keys are made here and
    /// never stored.
    pub fn load(tls: &Tls) -> io::Result<ServerTls> {
        let chain = certificates(&tls.cert)?;
        let key = PrivateKeyDer::from_pem_file(&tls.key)
            .map_err(|error| in_file(&tls.key, "no private key can be read", &error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| in_file(&tls.cert, "it does not go with its key", &error))?;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
        Ok(ServerTls(TlsAcceptor::from(Arc::new(config))))
    }

    /// Begins TLS as the server, within `timeout`: at once for imaps, or after our OK to STARTTLS.
    /// Whatever the client sent in clear text behind its STARTTLS must have been dropped by the
    /// caller (CVE-2011-0411).
    pub async fn accept(&self, stream: Stream, timeout: Duration) -> io::Result<Stream> {
        let tcp = stream.into_plain()?;
        // Boxed: the state of a handshake would otherwise be part of every session's future.
        match tokio::time::timeout(timeout, Box::pin(self.0.accept(tcp))).await {
            Ok(Ok(tls)) => Ok(Stream::ServerTls(Box::new(tls))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client took too long for the TLS handshake",
            )),
        }
    }
}

/// The client's end of TLS: trusts the authorities in the file `ca` alone, or else the system's.
///
/// Made once for each `ca` and kept, because it also holds the sessions that can be resumed.
pub(super) fn connector(ca: Option<&Path>) -> io::Result<TlsConnector> {
    static MADE: LazyLock<Mutex<HashMap<Option<PathBuf>, TlsConnector>>> =
        LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(connector) = made.get(&ca.map(Path::to_owned)) {
        return Ok(connector.clone());
    }
    let connector = TlsConnector::from(Arc::new(client_config(ca)?));
    made.insert(ca.map(Path::to_owned), connector.clone());
    Ok(connector)
}

fn client_config(ca: Option<&Path>) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots
                    .add(certificate)
                    .map_err(|error| in_file(ca, "a certificate in it is not usable", &error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|error| {
            io::Error::other(format!(
                "the system's certificate authorities cannot be loaded ({error}); \
                 install ca-certificates, or name a file of authorities by `ca`"
            ))
        })?,
    };
    Ok(builder.with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// The certificates in a PEM file; at least one.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| in_file(path, "no certificate can be read", &error))?;
    if certificates.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: holds no certificate in PEM form", path.display()),
        ));
    }
    Ok(certificates)
}

fn in_file(path: &Path, what: &str, error: &dyn Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}: {error}", path.display()))
}

/// Adds to a failed handshake with a server what can be done about it.
pub(super) fn explain(error: io::Error, table: &str) -> io::Error {
    use rustls::{AlertDescription, CertificateError, Error};
    let advice = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        // A bad signature: an authority of the right name, but with another key.
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => format!(
            "its certificate is signed by an authority that is not trusted here; \
             if it is your own, name the authority's PEM file by `ca` in [{table}]"
        ),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!(
            "its certificate bears another name; connect by the name it bears, \
             or set `server_name` in [{table}]"
        ),
        Some(
            Error::PeerIncompatible(_)
            | Error::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
            ),
        ) => "it does not speak TLS 1.2 or newer with ECDHE, which is the least that is accepted"
            .to_owned(),
        Some(Error::InvalidMessage(_)) => {
            "it does not answer in TLS; is the port right, or should it be imap:// (STARTTLS)?"
                .to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {advice}"))
}
