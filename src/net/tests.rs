//! Loopback: what is trusted, what is not, and how listeners count and stop.

use std::fs;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Listener, ServerTls, Stream, connect, serve};
use crate::base::Side;
use crate::config::{
    Backend, Credentials, Endpoint, Limits, Listen, Protocol, Security, Service, Tls,
};

/// Longer than anything here takes, short enough to end a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, and a server's certificate for `localhost` and 127.0.0.1 signed by it.
struct Pki {
    _dir: TempDir,
    ca: PathBuf,
    tls: Tls,
}

fn pki() -> Pki {
    pki_named("An authority")
}

fn pki_named(name: &str) -> Pki {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let file = |name: &str, pem: String| {
        let path = dir.path().join(name);
        fs::write(&path, pem).unwrap();
        path
    };
    let ca_file = file("ca.pem", ca.self_signed(&ca_key).unwrap().pem());
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let cert = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let tls = Tls { cert: file("c.pem", cert.pem()), key: file("c.key", key.serialize_pem()) };
    Pki { ca: ca_file, tls, _dir: dir }
}

fn backend(port: u16, security: Security, ca: Option<PathBuf>) -> Backend {
    Backend {
        side: Side::Old,
        imap: Endpoint { host: "127.0.0.1".into(), port, security, service: Service::Imap },
        submission: None,
        inbound: None,
        ca,
        server_name: "localhost".try_into().unwrap(),
        mask: Default::default(),
        quirks: Default::default(),
        compress: Default::default(),
        id_forward: false,
        read_only: false,
        credentials: Credentials::same(),
    }
}

/// A TLS server that echoes what each client sends until it ends; its port.
async fn echo_server(tls: &Tls) -> u16 {
    let tls = ServerTls::load(tls).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = tls.accept(Stream::Plain(tcp), PATIENCE).await else { continue };
            let (mut from, mut to) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        }
    });
    port
}

async fn echo(stream: &mut Stream) {
    assert!(stream.is_write_vectored());
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn tls_from_the_start_with_a_trusted_authority() {
    let pki = pki();
    let port = echo_server(&pki.tls).await;
    let backend = backend(port, Security::Tls, Some(pki.ca.clone()));
    // In a task of its own, as pools do it: the future can be sent.
    let connected = tokio::spawn(async move { connect(&backend, PATIENCE).await });
    let mut stream = connected.await.unwrap().unwrap();
    assert!(stream.is_tls() && stream.tcp().nodelay().unwrap());
    echo(&mut stream).await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn a_second_connection_resumes_the_first() {
    let pki = pki();
    let port = echo_server(&pki.tls).await;
    let backend = backend(port, Security::Tls, Some(pki.ca.clone()));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = connect(&backend, PATIENCE).await.unwrap();
        echo(&mut stream).await;
        let Stream::ClientTls(tls) = &stream else { panic!("no TLS: {stream:?}") };
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn starttls_upgrades_a_plain_stream() {
    let pki = pki();
    let port = echo_server(&pki.tls).await;
    let backend = backend(port, Security::StartTls, Some(pki.ca.clone()));
    let plain = connect(&backend, PATIENCE).await.unwrap();
    assert!(!plain.is_tls());
    let mut stream = plain.upgrade(&backend, PATIENCE).await.unwrap();
    assert!(stream.is_tls());
    echo(&mut stream).await;
    let twice = stream.upgrade(&backend, PATIENCE).await.unwrap_err();
    assert!(twice.to_string().contains("TLS has already begun"), "{twice}");
}

#[tokio::test]
async fn a_strange_authority_is_refused_with_advice() {
    let (pki, other, namesake) = (pki(), pki_named("Another authority"), pki());
    let port = echo_server(&pki.tls).await;
    let mut backend = backend(port, Security::Tls, None);
    for (ca, why) in [(&other.ca, "UnknownIssuer"), (&namesake.ca, "BadSignature")] {
        backend.ca = Some(ca.clone());
        let error = connect(&backend, PATIENCE).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("old server imaps://127.0.0.1:{port}: ")), "{error}");
        assert!(error.contains(why), "{error}");
        assert!(error.ends_with("name the authority's PEM file by `ca` in [old]"), "{error}");
    }

    backend.ca = Some(pki.ca.clone());
    backend.server_name = "another.example.com".try_into().unwrap();
    let error = connect(&backend, PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("set `server_name` in [old]"), "{error}");

    // By its address, which stands in the certificate too.
    backend.server_name = "127.0.0.1".try_into().unwrap();
    echo(&mut connect(&backend, PATIENCE).await.unwrap()).await;
}

#[tokio::test]
async fn a_private_authority_is_not_in_the_systems_trust() {
    let pki = pki();
    let port = echo_server(&pki.tls).await;
    let error = connect(&backend(port, Security::Tls, None), PATIENCE).await.unwrap_err();
    // On a machine without any authorities, that is said instead: refused in any case.
    let told = error.to_string();
    assert!(told.contains("not trusted here") || told.contains("ca-certificates"), "{told}");
}

#[tokio::test]
async fn servers_that_are_not_what_they_should_be() {
    let pki = pki();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let greeter = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"* OK IMAP4rev1 ready\r\n").await.unwrap();
        // The second client hears nothing at all.
        let _silent = listener.accept().await.unwrap();
        pending::<()>().await;
    });
    let tls = backend(port, Security::Tls, Some(pki.ca.clone()));
    let error = connect(&tls, PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("should it be imap:// (STARTTLS)?"), "{error}");
    let error = connect(&tls, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    greeter.abort();
    // Once the listener has gone.
    assert!(greeter.await.unwrap_err().is_cancelled());
    let error = connect(&tls, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_timed_out() {
    let tls = ServerTls::load(&pki().tls).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let error = tls.accept(Stream::Plain(tcp), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn certificate_files_that_cannot_be_used() {
    let (one, other) = (pki(), pki());
    let load = |cert: &PathBuf, key: &PathBuf| {
        let tls = Tls { cert: cert.clone(), key: key.clone() };
        ServerTls::load(&tls).err().unwrap().to_string()
    };
    let told = load(&one.tls.cert, &other.tls.key);
    assert!(told.contains("c.pem: it does not go with its key"), "{told}");
    let told = load(&one.tls.key, &one.tls.key);
    assert!(told.contains("c.key: holds no certificate"), "{told}");
    let told = load(&one.tls.cert, &one.tls.cert);
    assert!(told.contains("c.pem: no private key can be read"), "{told}");
    let told = load(&PathBuf::from("no/such.pem"), &one.tls.key);
    assert!(told.contains("no/such.pem: no certificate can be read"), "{told}");
}

/// A running listener whose sessions send one octet and end when they are permitted to.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    sessions: TaskTracker,
    end: Arc<Semaphore>,
    serving: tokio::task::JoinHandle<()>,
}

fn run(limits: Limits) -> Running {
    let listen = Listen {
        protocol: Protocol::Imap,
        address: "127.0.0.1:0".parse().unwrap(),
        trusted: false,
    };
    let listener = Listener::bind(&listen).unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, sessions) = (CancellationToken::new(), TaskTracker::new());
    let end = Arc::new(Semaphore::new(0));
    let serving = tokio::spawn({
        let (shutdown, sessions, end) = (shutdown.clone(), sessions.clone(), end.clone());
        async move {
            let handler = |mut stream: Stream, peer: SocketAddr, listen: &Listen| {
                assert!(peer.ip().is_loopback() && listen.protocol == Protocol::Imap);
                let end = end.clone();
                async move {
                    stream.write_all(b"*").await.unwrap();
                    end.acquire().await.unwrap().forget();
                }
            };
            serve(vec![listener], &limits, &shutdown, &sessions, handler).await;
        }
    });
    Running { address, shutdown, sessions, end, serving }
}

/// Whether a client is served: the octet came, not the end.
async fn is_served(client: &mut TcpStream) -> bool {
    let mut octet = [0];
    let read = tokio::time::timeout(PATIENCE, client.read(&mut octet)).await.expect("no answer");
    matches!(read, Ok(1))
}

#[tokio::test]
async fn one_more_than_the_limit_waits_until_a_session_ends() {
    let running = run(Limits { sessions: 1, ..Limits::default() });
    let mut first = TcpStream::connect(running.address).await.unwrap();
    assert!(is_served(&mut first).await);
    let mut second = TcpStream::connect(running.address).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.readable()).await;
    assert!(early.is_err(), "served beyond the limit");
    assert_eq!(running.sessions.len(), 1);
    running.end.add_permits(1);
    assert!(is_served(&mut second).await);
}

#[tokio::test]
async fn one_address_cannot_take_all_sessions() {
    let running = run(Limits { sessions_per_address: 1, ..Limits::default() });
    let mut first = TcpStream::connect(running.address).await.unwrap();
    assert!(is_served(&mut first).await);
    let mut second = TcpStream::connect(running.address).await.unwrap();
    assert!(!is_served(&mut second).await);
    running.end.add_permits(1);
    // The seat comes back when the session's task has ended.
    tokio::time::timeout(PATIENCE, async {
        loop {
            let mut third = TcpStream::connect(running.address).await.unwrap();
            if is_served(&mut third).await {
                break;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_lets_sessions_end() {
    let running = run(Limits::default());
    let mut client = TcpStream::connect(running.address).await.unwrap();
    assert!(is_served(&mut client).await);
    running.shutdown.cancel();
    tokio::time::timeout(PATIENCE, running.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    running.sessions.close();
    assert_eq!(running.sessions.len(), 1);
    running.end.add_permits(1);
    tokio::time::timeout(PATIENCE, running.sessions.wait()).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error =
        Listener::bind(&Listen { protocol: Protocol::Imap, address, trusted: false }).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}
