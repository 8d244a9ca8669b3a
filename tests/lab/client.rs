//! An IMAP client for tests: it says what the test says, and keeps every octet it hears.
//!
//! Owns one connection and the tags of its commands. Never interprets more than framing and the tagged
//! status; reading the untagged data is the business of `reply`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::deflate::Deflated;
use super::reply::Reply;
use super::tls;

/// How long a server may be silent before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client reads from and writes to.
pub(super) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection of a test's client.
pub struct Dialogue {
    wire: Box<dyn Wire>,
    socket: TcpStream,
    heard: Vec<u8>,
    said: u32,
    /// How long a command may take.
    pub patience: Duration,
    /// The server's greeting.
    pub greeting: String,
}

impl Dialogue {
    /// Connects in clear and reads the greeting.
    pub fn connect(port: u16) -> Dialogue {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        let wire = Box::new(socket.try_clone().expect("clone"));
        Dialogue::over(wire, socket).greeted()
    }

    /// Connects with TLS from the start; `ca` is the PEM file to trust.
    pub fn connect_tls(port: u16, ca: &str) -> Dialogue {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let wire = Box::new(tls::client(socket.try_clone().expect("clone"), ca));
        Dialogue::over(wire, socket).greeted()
    }

    fn over(wire: Box<dyn Wire>, socket: TcpStream) -> Dialogue {
        Dialogue {
            wire,
            socket,
            heard: Vec::new(),
            said: 0,
            patience: PATIENCE,
            greeting: String::new(),
        }
    }

    fn greeted(mut self) -> Dialogue {
        self.greeting = String::from_utf8_lossy(&self.response()).into_owned();
        assert!(self.greeting.starts_with("* OK"), "greeting: {}", self.greeting);
        self
    }

    /// Goes on over TLS, after the server said OK to STARTTLS. What was heard in clear is kept, so that a
    /// test sees if the server answered in clear what must have been dropped.
    pub fn upgraded(self, ca: &str) -> Dialogue {
        let wire = Box::new(tls::client(self.socket.try_clone().expect("clone"), ca));
        Dialogue { wire, ..self }
    }

    /// STARTTLS and the handshake.
    pub fn starttls(mut self, ca: &str) -> Dialogue {
        self.ok("STARTTLS");
        self.upgraded(ca)
    }

    /// Goes on compressed, after the server said OK to COMPRESS.
    pub fn deflated(self) -> Dialogue {
        let wire = Box::new(Deflated::new(self.wire));
        Dialogue { wire, ..self }
    }

    /// The same, with every compressed octet sent on its own.
    pub fn deflated_octet_by_octet(self) -> Dialogue {
        let wire = Box::new(Deflated::octet_by_octet(self.wire));
        Dialogue { wire, ..self }
    }

    /// COMPRESS and what follows from it.
    pub fn compress(mut self) -> Dialogue {
        self.ok("COMPRESS DEFLATE");
        self.deflated()
    }

    /// Goes on in clear, after compression has ended; not for TLS.
    pub fn in_clear(self) -> Dialogue {
        let wire = Box::new(self.socket.try_clone().expect("clone"));
        Dialogue { wire, ..self }
    }

    /// LOGIN that must succeed.
    pub fn login(mut self, user: &str, password: &str) -> Dialogue {
        self.ok(&format!("LOGIN {} {}", quoted(user), quoted(password)));
        self
    }

    /// The port from which it connected.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("address").port()
    }

    /// Sends a line as it is, with CRLF.
    pub fn send(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    /// Sends octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.wire.write_all(octets).and_then(|()| self.wire.flush()).expect("send");
    }

    /// One command with a tag of our own, and everything up to its tagged answer.
    pub fn cmd(&mut self, command: &str) -> Reply {
        let tag = self.tag();
        self.send(&format!("{tag} {command}"));
        self.until(&tag)
    }

    /// The same, of octets, where the other end may die over it: `None` if it did.
    pub fn cmd_unless_gone(&mut self, command: &[u8]) -> Option<Reply> {
        let tag = self.tag();
        let line = [tag.as_bytes(), b" ", command, b"\r\n"].concat();
        self.wire.write_all(&line).and_then(|()| self.wire.flush()).ok()?;
        let start = format!("{tag} ").into_bytes();
        let mut untagged = Vec::new();
        loop {
            let response = self.next_within(self.patience).ok()?;
            match response.expect("an answer in time") {
                response if response.starts_with(&start) => {
                    return Some(Reply::new(&tag, untagged, &response));
                }
                response => untagged.push(response),
            }
        }
    }

    /// A command that must be answered OK.
    #[track_caller]
    pub fn ok(&mut self, command: &str) -> Reply {
        self.cmd(command).expect_status("OK", command)
    }

    /// A command that must be answered NO.
    #[track_caller]
    pub fn no(&mut self, command: &str) -> Reply {
        self.cmd(command).expect_status("NO", command)
    }

    /// A command that must be answered BAD.
    #[track_caller]
    pub fn bad(&mut self, command: &str) -> Reply {
        self.cmd(command).expect_status("BAD", command)
    }

    /// A command with a synchronising literal in it: waits for the continuation before sending it.
    pub fn literal(&mut self, before: &str, literal: &[u8], after: &str) -> Reply {
        let tag = self.tag();
        self.send(&format!("{tag} {before}{{{}}}", literal.len()));
        let go = self.response();
        if !go.starts_with(b"+") {
            return Reply::refused(&tag, go);
        }
        self.raw(literal);
        self.send(after);
        self.until(&tag)
    }

    /// The same with a non-synchronising literal (RFC 7888).
    pub fn literal_plus(&mut self, before: &str, literal: &[u8], after: &str) -> Reply {
        let tag = self.tag();
        let mut all = format!("{tag} {before}{{{}+}}\r\n", literal.len()).into_bytes();
        all.extend_from_slice(literal);
        all.extend_from_slice(after.as_bytes());
        all.extend_from_slice(b"\r\n");
        self.raw(&all);
        self.until(&tag)
    }

    /// APPEND that must succeed; `options` are flags and date as they stand in the command, or empty.
    #[track_caller]
    pub fn append(&mut self, mailbox: &str, options: &str, message: &[u8]) -> Reply {
        let gap = if options.is_empty() { "" } else { " " };
        let before = format!("APPEND {} {options}{gap}", quoted(mailbox));
        self.literal(&before, message, "").expect_status("OK", &before)
    }

    /// Everything up to the answer that bears this tag.
    pub fn until(&mut self, tag: &str) -> Reply {
        let start = format!("{tag} ").into_bytes();
        let mut untagged = Vec::new();
        loop {
            let response = self.response();
            if response.starts_with(&start) {
                return Reply::new(tag, untagged, &response);
            }
            untagged.push(response);
        }
    }

    /// The next whole response, literals in place, without the last CRLF.
    #[track_caller]
    pub fn response(&mut self) -> Vec<u8> {
        let patience = self.patience;
        match self.response_within(patience) {
            Some(response) => response,
            None => panic!("nothing for {patience:?}; heard so far: {}", shown(&self.heard)),
        }
    }

    /// The next whole response if it comes in time; what has come of it so far is kept.
    #[track_caller]
    pub fn response_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let until = Instant::now() + patience;
        loop {
            if let Some(len) = whole(&self.heard) {
                let rest = self.heard.split_off(len);
                let mut response = std::mem::replace(&mut self.heard, rest);
                response.truncate(len - 2);
                return Some(response);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.hear(left) {
                return None;
            }
        }
    }

    /// The next whole response if it comes in time; an error where the connection ends instead.
    pub fn next_within(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, ()> {
        let until = Instant::now() + patience;
        loop {
            if whole(&self.heard).is_some() {
                return Ok(self.response_within(Duration::ZERO));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.listen(left)?;
        }
    }

    /// Waits for an untagged response that `is_it`, dropping others, for a bounded time.
    #[track_caller]
    pub fn wait_for(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + self.patience;
        let mut passed = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Some(response) = self.response_within(left) else { break };
            let response = String::from_utf8_lossy(&response).into_owned();
            if is_it(&response) {
                return response;
            }
            passed.push(response);
        }
        panic!("what was waited for did not come; came: {passed:#?}");
    }

    /// Begins IDLE.
    #[track_caller]
    pub fn idle(&mut self) {
        let tag = self.tag();
        self.send(&format!("{tag} IDLE"));
        self.wait_for(|r| r.starts_with('+'));
    }

    /// Ends IDLE.
    #[track_caller]
    pub fn done(&mut self) -> Reply {
        let tag = format!("a{}", self.said);
        self.send("DONE");
        self.until(&tag).expect_status("OK", "IDLE")
    }

    /// What else comes during this time: for showing that nothing does.
    pub fn leftovers(&mut self, during: Duration) -> Vec<String> {
        let until = Instant::now() + during;
        let mut all = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.response_within(left) {
                Some(response) => all.push(String::from_utf8_lossy(&response).into_owned()),
                None => break,
            }
        }
        all
    }

    /// Whether the server closes the connection in time; what it says before is dropped.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut chunk = [0; 4096];
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .expect("timeout");
            match self.wire.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if timed_out(e.kind()) => return false,
                Err(_) => return true,
            }
        }
        false
    }

    fn tag(&mut self) -> String {
        self.said += 1;
        format!("a{}", self.said)
    }

    /// Reads once; false after a timeout.
    #[track_caller]
    fn hear(&mut self, patience: Duration) -> bool {
        match self.listen(patience) {
            Ok(heard) => heard,
            Err(()) => panic!("the server closed the connection after {}", shown(&self.heard)),
        }
    }

    /// Reads once; false after a timeout, an error at the end of the connection.
    fn listen(&mut self, patience: Duration) -> Result<bool, ()> {
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience)).map_err(|_| ())?;
        let mut chunk = vec![0; 64 * 1024];
        match self.wire.read(&mut chunk) {
            Ok(0) => Err(()),
            Ok(n) => {
                self.heard.extend_from_slice(&chunk[..n]);
                Ok(true)
            }
            Err(e) if timed_out(e.kind()) => Ok(false),
            Err(_) => Err(()),
        }
    }
}

/// An IMAP quoted string.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn timed_out(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The length of the first whole response with its last CRLF, if it is all there.
fn whole(heard: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + memchr::memmem::find(heard.get(from..)?, b"\r\n")?;
        match literal_announced(&heard[from..end]) {
            Some(len) => from = end + 2 + len,
            None => return Some(end + 2),
        }
    }
}

/// The octets of the literal that a line announces at its end.
pub fn literal_announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', line)?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(&octets[..octets.len().min(2000)]).into_owned()
}
