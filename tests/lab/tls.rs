//! Certificates for one test, and the client's half of TLS.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes `ca.pem`, `cert.pem` and `key.pem` (for localhost and 127.0.0.1) into a directory.
pub fn certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, "the lab's authority");
    let key = KeyPair::generate().expect("key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("authority");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("key");
    let leaf =
        CertificateParams::new(names).expect("parameters").signed_by(&key, &ca).expect("leaf");
    fs::write(dir.join("ca.pem"), ca.pem()).expect("ca.pem");
    fs::write(dir.join("cert.pem"), leaf.pem()).expect("cert.pem");
    fs::write(dir.join("key.pem"), key.serialize_pem()).expect("key.pem");
}

/// A TLS client on a connected socket, trusting the authority in this PEM file for `localhost`.
pub fn client(socket: TcpStream, ca: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("CA file") {
        roots.add(certificate.expect("certificate")).expect("authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("name");
    let tls = ClientConnection::new(Arc::new(config), name).expect("client");
    StreamOwned::new(tls, socket)
}
