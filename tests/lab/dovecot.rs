//! A Dovecot of any shape for one test: in a directory of its own, on a free loopback port, gone with the test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::Dialogue;
use super::mail::{Mail, deliver_maildir, seed_maildir};
use super::process::{Running, free_port, owner};
use super::tls;

/// What a server shall be like.
#[derive(Debug, Clone)]
pub struct Dovecot {
    separator: char,
    prefix: String,
    special: Vec<(String, String)>,
    master: Option<(String, String)>,
    capabilities: Option<String>,
    userip: u32,
    tls: bool,
    rawlog: bool,
    settings: Vec<String>,
}

impl Dovecot {
    /// Separator `.`, prefix `INBOX.`, as Courier-like servers of old have it.
    pub fn old_style() -> Dovecot {
        Dovecot {
            separator: '.',
            prefix: "INBOX.".to_owned(),
            special: Vec::new(),
            master: None,
            capabilities: None,
            userip: 0,
            tls: false,
            rawlog: false,
            settings: Vec::new(),
        }
    }

    /// Separator `/`, no prefix, and the four usual special-use folders.
    pub fn new_style() -> Dovecot {
        let plain = Dovecot { separator: '/', prefix: String::new(), ..Dovecot::old_style() };
        plain
            .special_use("Sent", "\\Sent")
            .special_use("Drafts", "\\Drafts")
            .special_use("Trash", "\\Trash")
            .special_use("Junk", "\\Junk")
    }

    /// Another separator.
    pub fn separator(mut self, separator: char) -> Dovecot {
        self.separator = separator;
        self
    }

    /// Another prefix of the personal namespace.
    pub fn prefix(mut self, prefix: &str) -> Dovecot {
        self.prefix = prefix.to_owned();
        self
    }

    /// A folder (without prefix) that exists from the beginning and has a special use.
    pub fn special_use(mut self, folder: &str, special_use: &str) -> Dovecot {
        self.special.push((folder.to_owned(), special_use.to_owned()));
        self
    }

    /// A master user who may log in as `user*name`, or by SASL PLAIN's authorisation identity.
    pub fn master(mut self, name: &str, password: &str) -> Dovecot {
        self.master = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Shows these capabilities after login instead of its own.
    pub fn capabilities(mut self, capabilities: &str) -> Dovecot {
        self.capabilities = Some(capabilities.to_owned());
        self
    }

    /// Limits the connections of a user from one address; Dovecot's own default is 10, the lab's is no limit.
    pub fn max_userip_connections(mut self, limit: u32) -> Dovecot {
        self.userip = limit;
        self
    }

    /// Also serves STARTTLS, and TLS from the start on a second port.
    pub fn tls(mut self) -> Dovecot {
        self.tls = true;
        self
    }

    /// Writes down what every client says, for `commands_heard`.
    pub fn rawlog(mut self) -> Dovecot {
        self.rawlog = true;
        self
    }

    /// A line of configuration more.
    pub fn setting(mut self, line: &str) -> Dovecot {
        self.settings.push(line.to_owned());
        self
    }

    /// Starts it in `dir`; the first account is the one that `client` and `seed` mean.
    pub fn start(&self, dir: &Path, accounts: &[(String, String)]) -> Server {
        for sub in ["run", "state", "mail", "rawlog"] {
            fs::create_dir_all(dir.join(sub)).expect("server directory");
        }
        let (uid, gid) = owner();
        for sub in ["mail", "rawlog"] {
            chown(dir.join(sub), Some(uid), Some(gid)).expect("chown");
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode");
        let lines = |users: &[(String, String)]| -> String {
            users.iter().map(|(user, password)| format!("{user}:{{PLAIN}}{password}\n")).collect()
        };
        fs::write(dir.join("passwd"), lines(accounts)).expect("passwd");
        let masters: Vec<_> = self.master.iter().cloned().collect();
        fs::write(dir.join("masters"), lines(&masters)).expect("masters");
        if self.rawlog {
            for (user, _) in accounts {
                fs::create_dir_all(dir.join("rawlog").join(user)).expect("rawlog");
                chown(dir.join("rawlog").join(user), Some(uid), Some(gid)).expect("chown");
            }
        }
        if self.tls {
            tls::certificates(dir);
        }
        let mut server = Server {
            port: free_port(),
            tls_port: free_port(),
            shape: self.clone(),
            dir: dir.to_owned(),
            accounts: accounts.to_vec(),
            running: None,
        };
        server.start();
        server
    }

    fn configuration(&self, dir: &Path, port: u16, tls_port: u16) -> String {
        let (uid, gid) = owner();
        let d = dir.display();
        let name = dir.file_name().expect("name").to_string_lossy();
        let folders: String = self
            .special
            .iter()
            .map(|(folder, special)| {
                format!("  mailbox \"{folder}\" {{\n    special_use = {special}\n    auto = subscribe\n  }}\n")
            })
            .collect();
        let tls = if self.tls {
            format!("ssl = yes\nssl_cert = <{d}/cert.pem\nssl_key = <{d}/key.pem\n")
        } else {
            "ssl = no\n".to_owned()
        };
        let tls_port = if self.tls { tls_port } else { 0 };
        let master = match self.master {
            Some(_) => format!(
                "auth_master_user_separator = *\npassdb {{\n  driver = passwd-file\n  master = yes\n  \
                 args = {d}/masters\n  result_success = continue\n}}\n"
            ),
            None => String::new(),
        };
        let capabilities = match &self.capabilities {
            Some(all) => format!("  imap_capability = {all}\n"),
            None => String::new(),
        };
        let rawlog =
            if self.rawlog { format!("  rawlog_dir = {d}/rawlog/%u\n") } else { String::new() };
        let settings = self.settings.join("\n");
        format!(
            "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {d}/run\nstate_dir = {d}/state\n\
             instance_name = lab-{name}\nlog_path = {d}/log\nlogin_greeting = lab {port}\n{tls}\
             disable_plaintext_auth = no\nauth_mechanisms = plain login\nauth_failure_delay = 0\n\
             first_valid_uid = {uid}\nfirst_valid_gid = {gid}\nmail_location = maildir:~/Maildir\n\
             mail_max_userip_connections = {userip}\nmail_fsync = never\ndefault_vsz_limit = 1G\n\
             default_client_limit = 2000\n{master}\
             passdb {{\n  driver = passwd-file\n  args = {d}/passwd\n}}\n\
             userdb {{\n  driver = static\n  args = uid={uid} gid={gid} home={d}/mail/%u\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = {separator}\n  prefix = {prefix}\n{folders}}}\n\
             protocol imap {{\n{capabilities}{rawlog}}}\n\
             service imap-login {{\n  chroot =\n  service_count = 0\n  process_min_avail = 1\n  \
             client_limit = 1000\n  inet_listener imap {{\n    port = {port}\n  }}\n  \
             inet_listener imaps {{\n    port = {tls_port}\n  }}\n}}\n\
             service imap {{\n  process_limit = 512\n}}\n{settings}\n",
            userip = self.userip,
            separator = self.separator,
            prefix = self.prefix,
        )
    }
}

/// A Dovecot that runs.
pub struct Server {
    /// Where it listens in clear (and for STARTTLS).
    pub port: u16,
    /// Where it listens with TLS from the start, if its shape says so.
    pub tls_port: u16,
    /// Its directory.
    pub dir: PathBuf,
    shape: Dovecot,
    accounts: Vec<(String, String)>,
    running: Option<Running>,
}

impl Server {
    /// Starts it again after `stop`, on the same port.
    pub fn start(&mut self) {
        let first = self.running.is_none() && !self.dir.join("dovecot.conf").exists();
        for attempt in 1.. {
            let text = self.shape.configuration(&self.dir, self.port, self.tls_port);
            fs::write(self.dir.join("dovecot.conf"), text).expect("dovecot.conf");
            let mut command = Command::new("dovecot");
            command.arg("-F").arg("-c").arg(self.dir.join("dovecot.conf"));
            let mut running = Running::start(command, &self.dir.join("out"));
            let greeting = format!("lab {}", self.port);
            if running.answers(self.port, &greeting) {
                self.running = Some(running);
                return;
            }
            drop(running);
            assert!(attempt < 5, "Dovecot does not start: {}", self.log());
            if first {
                self.port = free_port();
                self.tls_port = free_port();
            }
        }
    }

    /// Stops it, with every process it started.
    pub fn stop(&mut self) {
        self.running = None;
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
        format!("{}{}", self.shape.prefix, folder.replace('/', &self.shape.separator.to_string()))
    }

    /// Fills a folder of the first account that the server has never opened. `folder` is written with `/` and
    /// without prefix, in modified UTF-7.
    pub fn seed(&self, folder: &str, mails: &[Mail]) {
        self.seed_of(self.account().0, folder, mails);
    }

    /// The same for another account.
    pub fn seed_of(&self, user: &str, folder: &str, mails: &[Mail]) {
        let dir = self.maildir(user, folder);
        assert!(!dir.join("dovecot-uidlist").exists(), "{} was opened before", dir.display());
        let side = if self.shape.prefix.is_empty() { 1_600_000_000 } else { 1_300_000_000 };
        let sum =
            folder.bytes().fold(7_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
        seed_maildir(&dir, side + sum % 100_000_000, mails, owner());
        self.own(user);
    }

    /// Delivers a message to a folder of the first account that exists, as an MDA does.
    pub fn deliver(&self, folder: &str, mail: &Mail) {
        let user = self.account().0;
        deliver_maildir(&self.maildir(user, folder), mail, owner());
        self.own(user);
    }

    /// Where a folder's messages lie.
    pub fn maildir(&self, user: &str, folder: &str) -> PathBuf {
        let root = self.home(user).join("Maildir");
        if folder == "INBOX" { root } else { root.join(format!(".{}", folder.replace('/', "."))) }
    }

    /// Everything clients have said after login, per connection (needs `rawlog`).
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

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
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
