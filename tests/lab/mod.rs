//! The test lab: real servers on loopback, the proxy between them, and a client that speaks IMAP word by word.
//!
//! ```ignore
//! let world = World::new().old(Dovecot::old_style()).new(Dovecot::new_style()).start();
//! world.old.seed("INBOX", &mails(0..10));
//! let mut client = world.proxy.client();
//! assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(10));
//! ```
//!
//! Everything a test starts is its own, lies in a directory of its own, listens on free ports and ends with the
//! test, also where the test panics. Tests run beside each other and as root.

#![allow(dead_code, unused_imports, reason = "every test file uses another part of the lab")]
#![allow(clippy::print_stderr, reason = "the logs of a failed test go to its output")]

pub mod client;
pub mod courier;
pub mod cyrus;
pub mod deflate;
pub mod dice;
pub mod dovecot;
pub mod mail;
pub mod postfix;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod reply;
pub mod server;
pub mod smtp;
pub mod syslog;
pub mod tls;
pub mod tls_wire;
pub mod tools;
pub mod view;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use client::{Dialogue, quoted};
pub use courier::Courier;
pub use cyrus::Cyrus;
pub use dice::Dice;
pub use dovecot::Dovecot;
pub use mail::{Mail, large, mails, realistic, small};
pub use postfix::{Postfix, Services};
pub use process::watched;
pub use proxy::{MAILFERRY, Proxy};
pub use relay::{Fate, Relay, Way, has};
pub use reply::{Fetched, Reply, numbers};
pub use server::{Server, Shape};
pub use smtp::{Sink, Taken, Talk};
pub use tls_wire::{End, TlsWire};
pub use view::{Seen, everything, folder_names, sorted};

/// Waits until something is so, for a minute and a half at most, and gives what it is: on a machine that is at
/// work, half a minute was not enough for a batch after several kills.
#[track_caller]
pub fn eventually<T>(what: &str, mut is_it: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(value) = is_it() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a mailbox holds this many messages, and gives them.
#[track_caller]
pub fn eventually_holds(client: &mut Dialogue, mailbox: &str, count: usize) -> Vec<Seen> {
    let what = format!("{mailbox} holds {count} messages");
    eventually(&what, || {
        // Perhaps it has not been made yet.
        let examined = client.cmd(&format!("EXAMINE {}", quoted(mailbox)));
        let exists = examined.count("EXISTS").filter(|_| examined.status == "OK");
        let enough = exists.is_some_and(|n| n as usize >= count);
        enough.then(|| everything(client, mailbox))
    })
}

/// What a world shall be like.
pub struct Builder {
    old: Shape,
    new: Shape,
    accounts: Vec<(String, String)>,
    settings: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    wired: bool,
}

/// Two servers and the proxy between them.
pub struct World {
    // The order is that of dropping: first the proxy, the directory last.
    /// The proxy.
    pub proxy: Proxy,
    /// The wire to old.
    pub old_wire: Relay,
    /// The wire to new.
    pub new_wire: Relay,
    /// The server that is left.
    pub old: Server,
    /// The server that is moved to.
    pub new: Server,
    /// Where all three keep their files.
    pub dir: TempDir,
}

/// Two servers without a proxy, for showing that a test itself is right.
pub struct Servers {
    /// The server that is left.
    pub old: Server,
    /// The server that is moved to.
    pub new: Server,
    /// Where both keep their files.
    pub dir: TempDir,
}

impl World {
    /// An old-style and a new-style Dovecot, and ann@example.com.
    #[allow(clippy::new_ret_no_self, reason = "a world is described before it is built")]
    pub fn new() -> Builder {
        Builder {
            old: Dovecot::old_style().into(),
            new: Dovecot::new_style().into(),
            accounts: Vec::new(),
            settings: BTreeMap::new(),
            files: BTreeMap::new(),
            wired: false,
        }
    }

    /// A proxy that may log in to both sides by itself for ann@example.com.
    pub fn unattended(old: Dovecot, new: impl Into<Shape>) -> Builder {
        World::unattended_for(&["ann@example.com"], old, new)
    }

    /// The same for these accounts: to old as an administrator, to new with a table of passwords.
    pub fn unattended_for(accounts: &[&str], old: Dovecot, new: impl Into<Shape>) -> Builder {
        let rows: String = accounts.iter().map(|name| format!("{name},,secret\n")).collect();
        let world = accounts.iter().fold(World::new(), |world, name| world.account(name, "secret"));
        world
            .old(old.master("migrator", "migrator-secret"))
            .new(new)
            .file("migrator", "migrator-secret")
            .file("table.csv", &format!("account,login,password\n{rows}"))
            .set("old.credentials.mode", "\"master\"")
            .set("old.credentials.user", "\"migrator\"")
            .set("old.credentials.password_file", "\"migrator\"")
            .set("old.credentials.login", "\"{account}\"")
            .set("old.credentials.style", "\"separator\"")
            .set("new.credentials.mode", "\"table\"")
            .set("new.credentials.file", "\"table.csv\"")
    }
}

impl Builder {
    /// The server that is left.
    pub fn old(mut self, shape: impl Into<Shape>) -> Builder {
        self.old = shape.into();
        self
    }

    /// The server that is moved to.
    #[allow(
        clippy::wrong_self_convention,
        clippy::should_implement_trait,
        reason = "it is the new side"
    )]
    pub fn new(mut self, shape: impl Into<Shape>) -> Builder {
        self.new = shape.into();
        self
    }

    /// An account that exists on both; without any there is ann@example.com with the password `secret`.
    pub fn account(mut self, user: &str, password: &str) -> Builder {
        self.accounts.push((user.to_owned(), password.to_owned()));
        self
    }

    /// A setting of the proxy: a dotted key and a TOML value, quotes included.
    pub fn set(mut self, key: &str, value: &str) -> Builder {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts a wire that can be cut between the proxy and each server.
    pub fn wired(mut self) -> Builder {
        self.wired = true;
        self
    }

    /// A file beside the proxy's configuration.
    pub fn file(mut self, name: &str, text: &str) -> Builder {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    /// Starts the two servers only.
    pub fn servers(mut self) -> Servers {
        if self.accounts.is_empty() {
            self = self.account("ann@example.com", "secret");
        }
        let dir = process::scratch();
        let old = self.old.start(&dir.path().join("old"), &self.accounts);
        let new = self.new.start(&dir.path().join("new"), &self.accounts);
        Servers { old, new, dir }
    }

    /// Starts everything.
    pub fn start(self) -> World {
        self.seeded(|_, _| {})
    }

    /// Starts everything, the proxy after the servers have been filled.
    pub fn seeded(mut self, fill: impl FnOnce(&Server, &Server)) -> World {
        if self.accounts.is_empty() {
            self = self.account("ann@example.com", "secret");
        }
        let settings = self.settings.clone();
        let files = self.files.clone();
        let wired = self.wired;
        let account = self.accounts[0].clone();
        let Servers { old, new, dir } = self.servers();
        fill(&old, &new);
        let place = dir.path().join("proxy");
        std::fs::create_dir_all(&place).expect("proxy directory");
        for (name, text) in files {
            std::fs::write(place.join(name), text).expect("a file of the proxy");
        }
        let (old_wire, new_wire) = (Relay::start(old.port), Relay::start(new.port));
        let ports = if wired { (old_wire.port, new_wire.port) } else { (old.port, new.port) };
        let proxy = Proxy::start(&place, ports.0, ports.1, &settings, &account);
        World { proxy, old_wire, new_wire, old, new, dir }
    }
}

impl World {
    /// Takes away the proxy's database, which must not run; its epoch log stays.
    pub fn lose_index(&self) {
        let database = self.dir.path().join("proxy/state/index/db");
        std::fs::remove_dir_all(database).expect("the database of the index");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs =
                [("proxy", self.proxy.log()), ("old", self.old.log()), ("new", self.new.log())];
            for (name, log) in logs {
                let lines: Vec<&str> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(60)..];
                eprintln!("---- the last of {name}'s log ----\n{}", tail.join("\n"));
            }
        }
    }
}
