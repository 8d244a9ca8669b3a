//! SMTP word by word: a client, and a server that keeps what it was given and misbehaves when told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::client::Wire;
use super::tls;

/// How long the other end may be silent before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection of a test's client.
pub struct Talk {
    wire: Box<dyn Wire>,
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Talk {
    /// Connects in clear and reads the greeting.
    #[track_caller]
    pub fn connect(port: u16) -> Talk {
        let mut talk = Talk::silent(port);
        talk.greeted();
        talk
    }

    /// Connects and reads nothing.
    pub fn silent(port: u16) -> Talk {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Talk { wire: Box::new(socket.try_clone().expect("clone")), socket, heard: Vec::new() }
    }

    /// Connects with TLS from the start.
    #[track_caller]
    pub fn connect_tls(port: u16, ca: &str) -> Talk {
        let mut talk = Talk::silent(port);
        talk.upgrade(ca);
        talk.greeted();
        talk
    }

    /// Connects and reads the greeting, if there is one.
    pub fn try_connect(port: u16) -> Option<Talk> {
        let socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
        socket.set_nodelay(true).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        let wire = Box::new(socket.try_clone().ok()?);
        let mut talk = Talk { wire, socket, heard: Vec::new() };
        talk.reply().starts_with("220").then_some(talk)
    }

    #[track_caller]
    fn greeted(&mut self) {
        let greeting = self.reply();
        assert!(greeting.starts_with("220 "), "{greeting}");
    }

    /// Goes on over TLS. What was heard in clear is kept, so that a test sees what was answered there.
    pub fn upgrade(&mut self, ca: &str) {
        self.wire = Box::new(tls::client(self.socket.try_clone().expect("clone"), ca));
    }

    /// STARTTLS and the handshake.
    #[track_caller]
    pub fn starttls(&mut self, ca: &str) {
        self.expect("STARTTLS", "220");
        self.upgrade(ca);
    }

    /// Sends octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.wire.write_all(octets).expect("write");
        self.wire.flush().expect("flush");
    }

    /// Sends octets, if the other end still takes any.
    pub fn try_raw(&mut self, octets: &[u8]) -> bool {
        self.wire.write_all(octets).is_ok() && self.wire.flush().is_ok()
    }

    /// The next reply, its lines joined by LF; empty if the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.heard) {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.strip_suffix("\r\n").expect("CRLF");
                reply.push_str(line);
                if line.as_bytes().get(3) != Some(&b'-') {
                    return reply;
                }
                reply.push('\n');
            }
            let mut chunk = [0; 4096];
            match self.wire.read(&mut chunk) {
                Ok(n @ 1..) => self.heard.extend_from_slice(&chunk[..n]),
                Ok(0) => return reply,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no reply: {reply}"),
                Err(_) => return reply,
            }
        }
    }

    /// Says a line and gives the reply.
    pub fn cmd(&mut self, line: &str) -> String {
        if !self.try_raw(format!("{line}\r\n").as_bytes()) {
            return String::new();
        }
        self.reply()
    }

    /// Says a line that must be answered with this beginning.
    #[track_caller]
    pub fn expect(&mut self, line: &str, beginning: &str) -> String {
        let reply = self.cmd(line);
        assert!(reply.starts_with(beginning), "{line}: {reply}, not {beginning}");
        reply
    }

    /// AUTH PLAIN.
    pub fn auth(&mut self, user: &str, password: &str) -> String {
        self.cmd(&format!("AUTH PLAIN {}", BASE64.encode(format!("\0{user}\0{password}"))))
    }

    /// Logs in to send, in clear.
    #[track_caller]
    pub fn logged_in(port: u16, user: &str, password: &str) -> Talk {
        let mut talk = Talk::connect(port);
        talk.expect("EHLO client.example", "250");
        let reply = talk.auth(user, password);
        assert!(reply.starts_with("235"), "{reply}");
        talk
    }

    /// A whole message; the last reply.
    #[track_caller]
    pub fn mail(&mut self, from: &str, to: &[&str], message: &str) -> String {
        self.expect(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), "250");
        }
        self.expect("DATA", "354");
        let stuffed = message.replace("\r\n.", "\r\n..");
        self.raw(format!("{stuffed}\r\n.\r\n").as_bytes());
        self.reply()
    }

    /// Whether the other end has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.heard.clear();
        let mut chunk = [0; 4096];
        loop {
            match self.wire.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => {
                    return !matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }
}

/// A message that a [`Sink`] has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub octets: Vec<u8>,
}

impl Taken {
    /// The message as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }
}

/// What a sink says instead of what a server would: asked with each line that comes (`.` for a
/// message's end, empty at the beginning).
type Manners = dyn Fn(&str) -> Option<String> + Send + Sync;

struct Shared {
    taken: Mutex<Vec<Taken>>,
    heard: Mutex<Vec<String>>,
    offers: Vec<String>,
    manners: Mutex<Box<Manners>>,
    lenient: bool,
    lmtp: bool,
    grouped: bool,
    over: AtomicBool,
    octets: AtomicUsize,
}

/// A server that takes mail in.
pub struct Sink {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

/// What a sink shall be like.
pub struct SinkBuilder {
    offers: Vec<String>,
    lenient: bool,
    lmtp: bool,
    grouped: bool,
}

impl Sink {
    /// One that offers what servers usually offer.
    #[allow(clippy::new_ret_no_self, reason = "a sink is described before it is built")]
    pub fn new() -> SinkBuilder {
        let offers =
            ["PIPELINING", "SIZE 300000000", "8BITMIME", "SMTPUTF8", "DSN", "AUTH PLAIN LOGIN"];
        let offers = offers.map(str::to_owned).to_vec();
        SinkBuilder { offers, lenient: false, lmtp: false, grouped: false }
    }

    /// The messages it has accepted.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("taken").clone()
    }

    /// The lines it has heard, without messages.
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().expect("heard").clone()
    }

    /// The octets it has heard inside of messages.
    pub fn octets(&self) -> usize {
        self.shared.octets.load(Ordering::Relaxed)
    }

    /// Forgets what it took and heard.
    pub fn forget(&self) {
        self.shared.taken.lock().expect("taken").clear();
        self.shared.heard.lock().expect("heard").clear();
    }

    /// From now on these are its manners.
    pub fn manners(&self, manners: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.shared.manners.lock().expect("manners") = Box::new(manners);
    }
}

impl SinkBuilder {
    /// Offers this, and nothing else.
    pub fn offers(mut self, offers: &[&str]) -> SinkBuilder {
        self.offers = offers.iter().map(|offer| (*offer).to_owned()).collect();
        self
    }

    /// Takes any CR or LF for a line end, and leaves NUL out, as too many servers do.
    pub fn lenient(mut self) -> SinkBuilder {
        self.lenient = true;
        self
    }

    /// Answers MAIL only when RCPT has come, as a server does whose client is far away.
    pub fn grouped(mut self) -> SinkBuilder {
        self.grouped = true;
        self
    }

    /// Speaks LMTP.
    pub fn lmtp(mut self) -> SinkBuilder {
        self.lmtp = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Sink {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let shared = Arc::new(Shared {
            taken: Mutex::default(),
            heard: Mutex::default(),
            offers: self.offers,
            manners: Mutex::new(Box::new(|_| None)),
            lenient: self.lenient,
            lmtp: self.lmtp,
            grouped: self.grouped,
            over: AtomicBool::new(false),
            octets: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(client));
            }
        });
        Sink { port, shared }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// What a sink reads from.
struct Lines {
    socket: TcpStream,
    input: Vec<u8>,
    lenient: bool,
}

impl Lines {
    /// The next line, without its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((line, behind)) = self.cut() {
                self.input.drain(..behind);
                return Some(line);
            }
            let mut chunk = [0; 65536];
            match self.socket.read(&mut chunk) {
                Ok(n @ 1..) => self.input.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }

    fn cut(&self) -> Option<(Vec<u8>, usize)> {
        if !self.lenient {
            let end = memchr::memmem::find(&self.input, b"\r\n")?;
            return Some((self.input[..end].to_vec(), end + 2));
        }
        let end = memchr::memchr2(b'\r', b'\n', &self.input)?;
        let pair = self.input[end] == b'\r' && self.input.get(end + 1) == Some(&b'\n');
        let line = self.input[..end].iter().copied().filter(|octet| *octet != 0).collect();
        Some((line, end + if pair { 2 } else { 1 }))
    }
}

impl Shared {
    fn serve(&self, mut socket: TcpStream) {
        let mut lines = Lines {
            socket: socket.try_clone().expect("clone"),
            input: Vec::new(),
            lenient: self.lenient,
        };
        let mut say = |text: &str| socket.write_all(format!("{text}\r\n").as_bytes()).is_ok();
        let manners = |line: &str| (self.manners.lock().expect("manners"))(line);
        let greeting = manners("").unwrap_or("220 sink ESMTP".to_owned());
        if greeting == "close" || !say(&greeting) {
            return;
        }
        let (mut from, mut to) = (String::new(), Vec::new());
        let mut held = String::new();
        while let Some(line) = lines.next() {
            let line = String::from_utf8_lossy(&line).into_owned();
            self.heard.lock().expect("heard").push(line.clone());
            let upper = line.to_ascii_uppercase();
            let mut reply = match upper.split(' ').next().unwrap_or_default() {
                "EHLO" | "LHLO" => {
                    let mut lines = vec!["sink".to_owned()];
                    lines.extend(self.offers.iter().cloned());
                    let last = lines.len() - 1;
                    let lines: Vec<String> = lines
                        .iter()
                        .enumerate()
                        .map(|(n, line)| format!("250{}{line}", if n == last { ' ' } else { '-' }))
                        .collect();
                    lines.join("\r\n")
                }
                "AUTH" => "235 2.7.0 Welcome".to_owned(),
                "XCLIENT" => "220 sink ESMTP".to_owned(),
                "MAIL" | "RSET" => "250 2.1.0 Ok".to_owned(),
                "RCPT" => "250 2.1.5 Ok".to_owned(),
                "DATA" => "354 Go on".to_owned(),
                "QUIT" => "221 2.0.0 Bye".to_owned(),
                _ => "500 5.5.1 What".to_owned(),
            };
            if let Some(other) = manners(&line) {
                reply = other;
            }
            if reply == "close" {
                return;
            }
            let good = reply.starts_with('2');
            if self.grouped && upper.starts_with("MAIL") {
                held = format!("{reply}\r\n");
            } else if !say(&format!("{}{reply}", std::mem::take(&mut held))) {
                return;
            }
            if upper.starts_with("MAIL") && good {
                (from, to) = (line, Vec::new());
            } else if upper.starts_with("RCPT") && good {
                to.push(line);
            } else if upper == "QUIT" {
                return;
            } else if reply.starts_with("354") {
                let Some(octets) = self.message(&mut lines) else { return };
                let taken = Taken { from: from.clone(), to: to.clone(), octets };
                let reply = manners(".").unwrap_or("250 2.0.0 Taken".to_owned());
                let replies = if self.lmtp { to.len() } else { 1 };
                if reply.starts_with('2') {
                    self.taken.lock().expect("taken").push(taken);
                }
                for _ in 0..replies {
                    if reply == "close" || !say(&reply) {
                        return;
                    }
                }
            }
        }
    }

    fn message(&self, lines: &mut Lines) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let line = lines.next()?;
            self.octets.fetch_add(line.len() + 2, Ordering::Relaxed);
            if line == b"." {
                return Some(message);
            }
            // A large message is only counted.
            if message.len() < 1 << 20 {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                message.extend_from_slice(b"\r\n");
            }
        }
    }
}
