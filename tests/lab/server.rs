//! A mail server of any make for one test: in a directory of its own, on free loopback ports, gone with the test.
//!
//! Owns what all makes have in common. What a make needs to run is its own file's business.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::{Dialogue, quoted};
use super::courier::Courier;
use super::cyrus::Cyrus;
use super::dovecot::Dovecot;
use super::mail::{Mail, deliver_maildir, seed_maildir};
use super::process::{Running, free_port, owner};
use super::relay::has;
use super::syslog::Syslog;

/// What make a server is of, and what it shall be like.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Dovecot.
    Dovecot(Dovecot),
    /// Cyrus.
    Cyrus(Cyrus),
    /// Courier.
    Courier(Courier),
}

impl From<Dovecot> for Shape {
    fn from(shape: Dovecot) -> Shape {
        Shape::Dovecot(shape)
    }
}

impl From<Cyrus> for Shape {
    fn from(shape: Cyrus) -> Shape {
        Shape::Cyrus(shape)
    }
}

impl From<Courier> for Shape {
    fn from(shape: Courier) -> Shape {
        Shape::Courier(shape)
    }
}

impl Shape {
    /// Starts it in `dir`; the first account is the one that `client` and `seed` mean.
    pub fn start(&self, dir: &Path, accounts: &[(String, String)]) -> Server {
        fs::create_dir_all(dir).expect("server directory");
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode");
        match self {
            Shape::Dovecot(it) => it.prepare(dir, accounts),
            Shape::Cyrus(it) => it.prepare(dir, accounts),
            Shape::Courier(it) => it.prepare(dir, accounts),
        }
        let mut server = Server {
            port: free_port(),
            tls_port: free_port(),
            shape: self.clone(),
            dir: dir.to_owned(),
            accounts: accounts.to_vec(),
            running: None,
            started: false,
            _syslog: matches!(self, Shape::Cyrus(_))
                .then(|| Syslog::listen(&dir.join("syslog"), &dir.join("log"))),
        };
        server.start();
        server
    }

    fn command(&self, dir: &Path, port: u16, tls_port: u16) -> (Command, String) {
        match self {
            Shape::Dovecot(it) => it.command(dir, port, tls_port),
            Shape::Cyrus(it) => it.command(dir, port),
            Shape::Courier(it) => it.command(dir, port),
        }
    }

    /// Separator and prefix of its names.
    fn style(&self) -> (char, &str) {
        match self {
            Shape::Dovecot(it) => it.style(),
            Shape::Cyrus(it) => it.style(),
            Shape::Courier(it) => it.style(),
        }
    }
}

/// A server that runs.
pub struct Server {
    /// Where it listens in clear (and for STARTTLS).
    pub port: u16,
    /// Where it listens with TLS from the start, if its shape says so.
    pub tls_port: u16,
    /// Its directory.
    pub dir: PathBuf,
    shape: Shape,
    accounts: Vec<(String, String)>,
    running: Option<Running>,
    started: bool,
    _syslog: Option<Syslog>,
}

impl Server {
    /// Starts it again after `stop`, on the same port.
    pub fn start(&mut self) {
        for attempt in 1.. {
            let (command, greeting) = self.shape.command(&self.dir, self.port, self.tls_port);
            let mut running = Running::start(command, &self.dir.join("out"));
            if running.answers(self.port, &greeting) {
                self.running = Some(running);
                self.started = true;
                return;
            }
            let said = running.output();
            drop(running);
            assert!(attempt < 5, "{:?} does not start: {said}{}", self.shape, self.log());
            if !self.started {
                self.port = free_port();
                self.tls_port = free_port();
            }
        }
    }

    /// Stops it, with every process it started.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Its first process, which leads the group of all others.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").pid()
    }

    /// A client logged in to the first account.
    pub fn client(&self) -> Dialogue {
        let (user, password) = self.account();
        Dialogue::connect(self.port).login(user, password)
    }

    /// A client logged in as somebody.
    pub fn client_of(&self, user: &str, password: &str) -> Dialogue {
        Dialogue::connect(self.port).login(user, password)
    }

    fn client_as(&self, user: &str) -> Dialogue {
        let account = self.accounts.iter().find(|(name, _)| name == user).expect("the account");
        self.client_of(user, &account.1)
    }

    /// Name and password of the first account.
    pub fn account(&self) -> (&str, &str) {
        let (user, password) = self.accounts.first().expect("an account");
        (user, password)
    }

    /// A mailbox name on this server: the prefix before it, its separator for `/`.
    pub fn name(&self, folder: &str) -> String {
        if folder == "INBOX" {
            return folder.to_owned();
        }
        let (separator, prefix) = self.shape.style();
        format!("{prefix}{}", folder.replace('/', &separator.to_string()))
    }

    /// Fills a folder of the first account that the server has never opened. `folder` is written with `/` and
    /// without prefix, in modified UTF-7.
    pub fn seed(&self, folder: &str, mails: &[Mail]) {
        self.seed_of(self.account().0, folder, mails);
    }

    /// The same for another account.
    pub fn seed_of(&self, user: &str, folder: &str, mails: &[Mail]) {
        let Shape::Dovecot(shape) = &self.shape else {
            return self.append_all(user, folder, mails);
        };
        let dir = self.maildir(user, folder);
        assert!(!dir.join("dovecot-uidlist").exists(), "{} was opened before", dir.display());
        let side = if shape.style().1.is_empty() { 1_600_000_000 } else { 1_300_000_000 };
        let sum =
            folder.bytes().fold(7_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
        seed_maildir(&dir, side + sum % 100_000_000, mails, owner());
        self.own(user);
    }

    /// Fills a folder through IMAP, making it if need be. Where UIDs are to have holes, what stood there is
    /// removed again.
    fn append_all(&self, user: &str, folder: &str, mails: &[Mail]) {
        let mut client = self.client_as(user);
        let name = self.name(folder);
        if folder != "INBOX" {
            client.cmd(&format!("CREATE {}", quoted(&name)));
        }
        let mut next = 1;
        for mail in mails {
            let uid = mail.uid.unwrap_or(next);
            for _ in next..uid {
                client.append(&name, "(\\Deleted)", b"Subject: a hole\r\n\r\n");
            }
            client.append(&name, &mail.options(), &mail.octets);
            next = uid + 1;
        }
        client.ok(&format!("SELECT {}", quoted(&name)));
        client.ok("EXPUNGE");
    }

    /// Delivers a message to a folder of the first account that exists: as an MDA does, or by APPEND where the
    /// server alone knows where its mail lies.
    pub fn deliver(&self, folder: &str, mail: &Mail) {
        let user = self.account().0;
        let mut mail = mail.clone();
        match self.shape {
            Shape::Dovecot(_) => {}
            // It puts a CR before every LF of a file, whatever stands there.
            Shape::Courier(_) => mail.octets.retain(|&b| b != b'\r'),
            Shape::Cyrus(_) => {
                self.client().append(&self.name(folder), "", &mail.octets);
                return;
            }
        }
        deliver_maildir(&self.maildir(user, folder), &mail, owner());
        self.own(user);
    }

    /// Where a folder's messages lie, on a server that keeps Maildirs.
    pub fn maildir(&self, user: &str, folder: &str) -> PathBuf {
        let root = self.home(user).join("Maildir");
        if folder == "INBOX" { root } else { root.join(format!(".{}", folder.replace('/', "."))) }
    }

    /// The file in which it keeps a message, which is told by its Message-ID.
    pub fn file_of(&self, message: &[u8]) -> PathBuf {
        fn look(dir: &Path, id: &str) -> Option<PathBuf> {
            fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
                let path = entry.path();
                let kind = fs::symlink_metadata(&path).ok()?;
                if kind.is_dir() {
                    return look(&path, id);
                }
                let name = path.file_name()?.to_string_lossy().into_owned();
                let fits = kind.is_file() && kind.len() < 100_000 && !name.contains("cache");
                (fits && has(&fs::read(&path).ok()?, id)).then_some(path)
            })
        }
        let text = String::from_utf8_lossy(message);
        let id = text.lines().find(|line| line.starts_with("Message-ID")).expect("Message-ID");
        let places = ["mail", "spool"].map(|sub| self.dir.join(sub));
        places.iter().find_map(|place| look(place, id)).expect("the message's file")
    }

    /// Everything clients have said after login, per connection (needs Dovecot's `rawlog`).
    pub fn commands_heard(&self) -> BTreeMap<String, String> {
        let dir = self.dir.join("rawlog").join(self.account().0);
        let entries = fs::read_dir(dir).expect("rawlog");
        let files = entries.map(|e| e.expect("entry").path());
        files
            .filter(|path| path.extension().is_some_and(|e| e == "in"))
            .map(|path| {
                let octets = fs::read(&path).expect("rawlog");
                (path.display().to_string(), String::from_utf8_lossy(&octets).into_owned())
            })
            .collect()
    }

    /// Its log so far; Courier writes it to its standard error.
    pub fn log(&self) -> String {
        let name = if matches!(self.shape, Shape::Courier(_)) { "out" } else { "log" };
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn own(&self, user: &str) {
        let (uid, gid) = owner();
        for above in [self.home(user), self.home(user).join("Maildir")] {
            chown(above, Some(uid), Some(gid)).expect("chown");
        }
    }

    fn home(&self, user: &str) -> PathBuf {
        self.dir.join("mail").join(user)
    }
}
