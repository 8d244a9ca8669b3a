//! The load: one connection that says commands and counts what comes back, as fast as it comes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memchr::{memchr, memrchr};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::way::{PASSWORD, USER, Way};

/// Room for one read.
const READ: usize = 256 << 10;

/// How a client connects.
#[derive(Clone)]
pub enum Wire {
    /// In clear.
    Plain,
    /// By TLS from the start, with a full handshake every time.
    Tls(TlsConnector),
}

impl Wire {
    /// TLS that trusts these authorities.
    pub fn tls(authorities: &[PathBuf]) -> Wire {
        let mut roots = RootCertStore::empty();
        for file in authorities {
            for certificate in CertificateDer::pem_file_iter(file).expect("authority") {
                roots.add(certificate.expect("certificate")).expect("authority");
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Wire::Tls(TlsConnector::from(Arc::new(config)))
    }

    /// What the tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Wire::Plain => "plain",
            Wire::Tls(_) => "TLS",
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What came back from a command.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Heard {
    /// Untagged FETCH responses.
    pub fetched: u64,
    /// Octets in literals.
    pub literals: u64,
}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    said: u32,
    /// The last untagged EXISTS, STATUS, SEARCH or SORT.
    pub numbers: String,
}

impl Client {
    /// Connects and reads the greeting.
    pub async fn connect(way: &Way, wire: &Wire) -> Client {
        let port = if matches!(wire, Wire::Plain) { way.plain } else { way.tls };
        let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        let stream: Box<dyn Stream> = match wire {
            Wire::Plain => Box::new(socket),
            Wire::Tls(connector) => {
                let name = ServerName::try_from("localhost").expect("name");
                Box::new(connector.connect(name, socket).await.expect("handshake"))
            }
        };
        let buffer = BytesMut::with_capacity(2 * READ);
        let mut client = Client { stream, buffer, said: 0, numbers: String::new() };
        let greeting = client.line().await;
        assert!(greeting.starts_with(b"* OK"), "{}", String::from_utf8_lossy(&greeting));
        client
    }

    /// Connects and logs in as the usual user.
    pub async fn login(way: &Way, wire: &Wire) -> Client {
        Client::login_as(way, wire, USER).await
    }

    /// Connects and logs in.
    pub async fn login_as(way: &Way, wire: &Wire, user: &str) -> Client {
        let mut client = Client::connect(way, wire).await;
        client.run(&format!("LOGIN {user} {PASSWORD}")).await;
        client
    }

    /// One command to its end, which must be OK.
    pub async fn run(&mut self, command: &str) -> Heard {
        let tag = self.say(command).await;
        self.end_of(&tag).await
    }

    /// Says a command; its tag.
    pub async fn say(&mut self, command: &str) -> String {
        self.said += 1;
        let tag = format!("b{}", self.said);
        self.send(format!("{tag} {command}\r\n").as_bytes()).await;
        tag
    }

    /// APPEND with a non-synchronising literal (RFC 7888).
    pub async fn append(&mut self, mailbox: &str, message: &[u8]) {
        self.said += 1;
        let tag = format!("b{}", self.said);
        let head = format!("{tag} APPEND {mailbox} {{{}+}}\r\n", message.len());
        let whole = message.len().min(READ);
        self.send(&[head.as_bytes(), &message[..whole]].concat()).await;
        self.send(&message[whole..]).await;
        self.send(b"\r\n").await;
        self.end_of(&tag).await;
    }

    /// IDLE, up to where the server waits.
    pub async fn idle(&mut self) -> String {
        let tag = self.say("IDLE").await;
        while !self.line().await.starts_with(b"+") {}
        tag
    }

    /// Waits, in IDLE, until the server tells of a message more.
    pub async fn hears_of_a_message(&mut self) {
        while !self.line().await.ends_with(b" EXISTS\r\n") {}
    }

    /// Ends IDLE.
    pub async fn done(&mut self, tag: &str) {
        self.send(b"DONE\r\n").await;
        self.end_of(tag).await;
    }

    /// LOGOUT, up to the end of the connection.
    pub async fn logout(mut self) {
        self.run("LOGOUT").await;
        // Some end without a last word of TLS.
        while let Ok(1..) = self.stream.read_buf(&mut self.buffer).await {
            self.buffer.clear();
        }
    }

    /// Everything up to the tagged response, which must be OK.
    pub async fn end_of(&mut self, tag: &str) -> Heard {
        let mut heard = Heard::default();
        loop {
            let mut line = self.line().await;
            if line.starts_with(tag.as_bytes()) && line.get(tag.len()) == Some(&b' ') {
                let text = String::from_utf8_lossy(&line[tag.len()..]);
                assert!(text.starts_with(" OK"), "{text}");
                return heard;
            }
            if is_fetch(&line) {
                heard.fetched += 1;
            } else if has_numbers(&line) {
                self.numbers = String::from_utf8_lossy(&line).replace('"', "");
            }
            while let Some(len) = literal(&line) {
                heard.literals += len as u64;
                self.skip(len).await;
                line = self.line().await;
            }
        }
    }

    async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("send");
        self.stream.flush().await.expect("send");
    }

    async fn line(&mut self) -> BytesMut {
        let mut from = 0;
        loop {
            if let Some(at) = memchr(b'\n', &self.buffer[from..]) {
                return self.buffer.split_to(from + at + 1);
            }
            from = self.buffer.len();
            self.hear().await;
        }
    }

    async fn skip(&mut self, mut len: usize) {
        loop {
            let here = len.min(self.buffer.len());
            self.buffer.advance(here);
            len -= here;
            if len == 0 {
                return;
            }
            self.hear().await;
        }
    }

    async fn hear(&mut self) {
        self.buffer.reserve(READ);
        let n = self.stream.read_buf(&mut self.buffer).await.expect("receive");
        assert!(n > 0, "the connection ended");
    }
}

/// Whether this is an untagged FETCH: `* n FETCH …`.
fn is_fetch(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b" FETCH ")
}

fn has_numbers(line: &[u8]) -> bool {
    line.ends_with(b" EXISTS\r\n")
        || line.starts_with(b"* STATUS ")
        || line.starts_with(b"* SEARCH")
        || line.starts_with(b"* SORT")
}

/// The octets of the literal that a line announces at its end.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = memrchr(b'{', line)?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}
