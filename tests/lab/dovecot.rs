//! A Dovecot of any shape for one test: in a directory of its own, on a free loopback port, gone with the test.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::process::owner;
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

    /// Makes all that it needs before its first start.
    pub(super) fn prepare(&self, dir: &Path, accounts: &[(String, String)]) {
        for sub in ["run", "state", "mail", "rawlog"] {
            fs::create_dir_all(dir.join(sub)).expect("server directory");
        }
        let (uid, gid) = owner();
        for sub in ["mail", "rawlog"] {
            chown(dir.join(sub), Some(uid), Some(gid)).expect("chown");
        }
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
    }

    /// What starts it on these ports, and what it greets with.
    pub(super) fn command(&self, dir: &Path, port: u16, tls_port: u16) -> (Command, String) {
        let text = self.configuration(dir, port, tls_port);
        fs::write(dir.join("dovecot.conf"), text).expect("dovecot.conf");
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(dir.join("dovecot.conf"));
        (command, format!("lab {port}"))
    }

    /// Separator and prefix of its names.
    pub(super) fn style(&self) -> (char, &str) {
        (self.separator, &self.prefix)
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
