//! A Postfix in front of a Dovecot: it takes mail for the Dovecot's users and delivers it there by LMTP, and lets
//! those users send.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dovecot::Dovecot;
use super::process::{Running, free_port};

/// Ports of a Dovecot's services that its Postfix uses.
#[derive(Debug, Clone, Copy)]
pub struct Services {
    lmtp: u16,
    auth: u16,
}

impl Services {
    /// Two that were free just now.
    pub fn free() -> Services {
        Services { lmtp: free_port(), auth: free_port() }
    }
}

impl Services {
    /// Where Dovecot takes mail.
    pub fn lmtp(&self) -> u16 {
        self.lmtp
    }
}

impl Dovecot {
    /// Also takes mail by LMTP, and judges passwords for its Postfix.
    pub fn behind_postfix(self, services: Services) -> Dovecot {
        let Services { lmtp, auth } = services;
        self.setting("protocols = imap lmtp")
            .setting(&format!(
                "service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {lmtp}\n  }}\n}}"
            ))
            .setting(&format!(
                "service auth {{\n  inet_listener {{\n    address = 127.0.0.1\n    port = {auth}\n  }}\n}}"
            ))
            .setting("protocol lmtp {\n  postmaster_address = postmaster@example.com\n}")
            .setting("recipient_delimiter = +")
    }
}

/// A Postfix of a test.
pub struct Postfix {
    /// Where it takes mail in from everybody.
    pub port: u16,
    /// Where users send.
    pub submission: u16,
    dir: PathBuf,
    running: Option<Running>,
}

impl Postfix {
    /// Starts one in `dir` that has these addresses, with Dovecot's services behind. `more`: lines of main.cf.
    pub fn start(dir: &Path, services: Services, addresses: &[&str], more: &str) -> Postfix {
        let spool = dir.join("spool");
        let data = dir.join("data");
        for sub in [dir, &spool, &data] {
            fs::create_dir_all(sub).expect("Postfix's directory");
        }
        let mut postfix = Postfix {
            port: free_port(),
            submission: free_port(),
            dir: dir.to_owned(),
            running: None,
        };
        let d = dir.display();
        let Services { lmtp, auth } = services;
        let users: String = addresses.iter().map(|address| format!("{address} x\n")).collect();
        fs::write(dir.join("users"), users).expect("users");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {s}\ndata_directory = {t}\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmyhostname = postfix.example.com\nmydestination =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             maillog_file = {d}/log\nmaillog_file_prefixes = /dev/shm, /tmp, /var\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\nrecipient_delimiter = +\n\
             virtual_mailbox_domains = example.com\nvirtual_mailbox_maps = texthash:{d}/users\n\
             virtual_transport = lmtp:inet:127.0.0.1:{lmtp}\nlmtp_destination_recipient_limit = 1\n\
             default_transport = error:nothing is sent out of the lab\nrelay_transport = error:nothing\n\
             smtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:127.0.0.1:{auth}\n\
             smtpd_sasl_security_options = noanonymous\nsmtpd_client_connection_count_limit = 0\n\
             smtpd_client_connection_rate_limit = 0\nsmtpd_client_message_rate_limit = 0\n\
             smtpd_authorized_xclient_hosts = 127.0.0.0/8\nmessage_size_limit = 300000000\n\
             virtual_mailbox_limit = 0\nmailbox_size_limit = 0\nminimal_backoff_time = 5s\nqueue_run_delay = 5s\n\
             maximal_backoff_time = 5s\nsmtpd_delay_open_until_valid_rcpt = yes\n\
             smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n{more}\n",
            s = spool.display(),
            t = data.display(),
        );
        fs::write(dir.join("main.cf"), main).expect("main.cf");
        chown(&data, Some(postfix_user()), None).expect("chown");
        fs::write(dir.join("master.cf"), postfix.services()).expect("master.cf");
        // It makes what it needs in its queue's directory.
        let check = Command::new("postfix").arg("-c").arg(dir).arg("check").output();
        check.expect("postfix is missing: run tests/lab.sh install");
        for attempt in 1.. {
            fs::write(dir.join("master.cf"), postfix.services()).expect("master.cf");
            let mut command = Command::new("/usr/lib/postfix/sbin/master");
            command.arg("-c").arg(dir).arg("-d");
            let mut running = Running::start(command, &dir.join("out"));
            if running.answers(postfix.port, "220 ") {
                postfix.running = Some(running);
                break;
            }
            assert!(attempt < 5, "Postfix does not start: {}{}", running.output(), postfix.log());
            postfix.port = free_port();
            postfix.submission = free_port();
        }
        postfix
    }

    fn services(&self) -> String {
        let (smtp, submission) = (self.port, self.submission);
        let unix = |name: &str, wakeup: &str, most: &str, command: &str| {
            let private = if ["cleanup", "qmgr", "flush"].contains(&name) { "n" } else { "-" };
            format!("{name} unix {private} - n {wakeup} {most} {command}\n")
        };
        let mut all = format!(
            "127.0.0.1:{smtp} inet n - n - - smtpd\n\
             127.0.0.1:{submission} inet n - n - - smtpd\n  \
             -o smtpd_sasl_auth_enable=yes\n  -o smtpd_tls_security_level=none\n  \
             -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n  \
             -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        for (name, wakeup, most, command) in [
            ("cleanup", "-", "0", "cleanup"),
            ("qmgr", "300", "1", "qmgr"),
            ("rewrite", "-", "-", "trivial-rewrite"),
            ("bounce", "-", "0", "bounce"),
            ("defer", "-", "0", "bounce"),
            ("trace", "-", "0", "bounce"),
            ("verify", "-", "1", "verify"),
            ("flush", "1000?", "0", "flush"),
            ("proxymap", "-", "-", "proxymap"),
            ("smtp", "-", "-", "smtp"),
            ("lmtp", "-", "-", "lmtp"),
            ("error", "-", "-", "error"),
            ("retry", "-", "-", "error"),
            ("discard", "-", "-", "discard"),
            ("anvil", "-", "1", "anvil"),
            ("scache", "-", "1", "scache"),
            ("tlsmgr", "1000?", "1", "tlsmgr"),
        ] {
            all += &unix(name, wakeup, most, command);
        }
        all
    }

    /// The leader of its processes.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("Postfix runs").pid()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// How many messages it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("/qmgr[") && line.contains("(queue active)"))
            .count()
    }

    /// Stops it.
    pub fn stop(&mut self) -> Option<i32> {
        let code = self.running.as_mut().and_then(|it| it.terminate(Duration::from_secs(5)));
        self.running = None;
        code
    }
}

fn postfix_user() -> u32 {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let line = users.lines().find(|line| line.starts_with("postfix:"));
    let id = line.and_then(|line| line.split(':').nth(2)).and_then(|id| id.parse().ok());
    id.expect("postfix is missing: run tests/lab.sh install")
}
