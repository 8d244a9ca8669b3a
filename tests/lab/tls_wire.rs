//! A wire with TLS between the proxy and a server without it, whose TLS a test can end in the midst of everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection};

use super::relay::Way;

/// How TLS ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By a fatal alert.
    Alert,
    /// As it should, though in the midst of something.
    CloseNotify,
    /// Not at all: the line is cut.
    Cut,
    /// By octets that are no TLS.
    Garbage,
}

/// What a test decides over a chunk: whether TLS ends, and after how many of its octets.
trait Rule: FnMut(Way, &[u8]) -> Option<(usize, End)> + Send {}
impl<F: FnMut(Way, &[u8]) -> Option<(usize, End)> + Send> Rule for F {}

struct Shared {
    target: u16,
    config: Arc<ServerConfig>,
    rule: Mutex<Box<dyn Rule>>,
}

/// A server's end of TLS.
pub struct TlsWire {
    /// Where it listens, as `localhost`.
    pub port: u16,
    shared: Arc<Shared>,
}

/// A record that nobody could have sealed.
const FORGED: [u8; 37] = {
    let mut record = [0; 37];
    (record[0], record[1], record[2], record[4]) = (23, 3, 3, 32);
    record
};

impl TlsWire {
    /// A wire to a port, with the certificate that lies in a directory (`tls::certificates`).
    pub fn start(target: u16, certificates: &Path) -> TlsWire {
        let chain = CertificateDer::pem_file_iter(certificates.join("cert.pem"))
            .expect("certificate")
            .collect::<Result<Vec<_>, _>>()
            .expect("certificate");
        let key = PrivateKeyDer::from_pem_file(certificates.join("key.pem")).expect("key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a server's TLS");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let rule: Box<dyn Rule> = Box::new(|_, _: &[u8]| None);
        let shared = Arc::new(Shared { target, config: Arc::new(config), rule: Mutex::new(rule) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for proxy in listener.incoming().map_while(Result::ok) {
                // A server that is away is away through the wire as well.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", accepting.target)) {
                    carry(&accepting, proxy, server);
                }
            }
        });
        TlsWire { port, shared }
    }

    /// From now on this rule decides, over one chunk at a time.
    pub fn rule(&self, rule: impl FnMut(Way, &[u8]) -> Option<(usize, End)> + Send + 'static) {
        *self.shared.rule.lock().expect("rule") = Box::new(rule);
    }
}

fn carry(shared: &Arc<Shared>, proxy: TcpStream, server: TcpStream) {
    let tls = ServerConnection::new(Arc::clone(&shared.config)).expect("a connection");
    let tls = Arc::new(Mutex::new(tls));
    for way in [Way::ToServer, Way::ToProxy] {
        let (shared, tls) = (Arc::clone(shared), Arc::clone(&tls));
        let (proxy, server) =
            (proxy.try_clone().expect("clone"), server.try_clone().expect("clone"));
        thread::spawn(move || {
            // However it ends, both ends hear of it.
            let _ = match way {
                Way::ToServer => to_server(&shared, &tls, &proxy, &server),
                Way::ToProxy => to_proxy(&shared, &tls, &proxy, &server),
            };
            let _ = proxy.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }
}

fn to_server(
    shared: &Shared,
    tls: &Mutex<ServerConnection>,
    mut proxy: &TcpStream,
    mut server: &TcpStream,
) -> std::io::Result<()> {
    let mut sealed = vec![0; 16 << 10];
    loop {
        let n = proxy.read(&mut sealed)?;
        let mut rest = &sealed[..n];
        let mut chunk = Vec::new();
        {
            let mut tls = tls.lock().expect("tls");
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                let state = tls.process_new_packets().map_err(std::io::Error::other)?;
                let before = chunk.len();
                chunk.resize(before + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut chunk[before..])?;
            }
            send(&mut tls, proxy)?;
        }
        let end = (shared.rule.lock().expect("rule"))(Way::ToServer, &chunk);
        let (octets, end) = end.map_or((chunk.len(), None), |(octets, end)| (octets, Some(end)));
        server.write_all(&chunk[..octets])?;
        match end {
            Some(end) => return finish(&mut tls.lock().expect("tls"), proxy, end),
            None if n == 0 => return Ok(()),
            None => {}
        }
    }
}

fn to_proxy(
    shared: &Shared,
    tls: &Mutex<ServerConnection>,
    proxy: &TcpStream,
    mut server: &TcpStream,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let n = server.read(&mut chunk)?;
        if n == 0 {
            return finish(&mut tls.lock().expect("tls"), proxy, End::CloseNotify);
        }
        let end = (shared.rule.lock().expect("rule"))(Way::ToProxy, &chunk[..n]);
        let (octets, end) = end.map_or((n, None), |(octets, end)| (octets, Some(end)));
        let mut tls = tls.lock().expect("tls");
        tls.writer().write_all(&chunk[..octets])?;
        // Before the handshake is over, it stays in the buffer, and goes out with its last word.
        send(&mut tls, proxy)?;
        if let Some(end) = end {
            return finish(&mut tls, proxy, end);
        }
    }
}

fn send(tls: &mut ServerConnection, mut proxy: &TcpStream) -> std::io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut proxy)?;
    }
    Ok(())
}

fn finish(tls: &mut ServerConnection, mut proxy: &TcpStream, end: End) -> std::io::Result<()> {
    match end {
        End::Alert => {
            // What cannot be opened is answered by the alert. A record that has come in part swallows some first.
            while tls.process_new_packets().is_ok() {
                tls.read_tls(&mut &FORGED[..])?;
            }
            send(tls, proxy)
        }
        End::CloseNotify => {
            tls.send_close_notify();
            send(tls, proxy)
        }
        End::Cut => Ok(()),
        End::Garbage => proxy.write_all(b"* BYE this is no TLS\r\n"),
    }
}
