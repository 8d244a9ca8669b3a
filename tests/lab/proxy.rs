//! The proxy under test: the built binary with a configuration of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::client::Dialogue;
use super::process::{Running, free_port};
use super::tls;

/// The program under test.
pub const MAILFERRY: &str = env!("CARGO_BIN_EXE_mailferry");

/// The same, or another build of it: what is measured is the program as it is released.
pub fn program() -> String {
    std::env::var("LAB_MAILFERRY").unwrap_or(MAILFERRY.to_owned())
}

/// A setting of the lab's own: more listeners, as they stand in the configuration.
pub const LISTEN: &str = "lab.listen";

/// A setting of the lab's own: a disk of 24 MiB for the proxy's state, which is gone when it ends.
pub const SMALL_DISK: &str = "lab.small_disk";

/// A proxy, running or killed.
pub struct Proxy {
    /// Where it listens for IMAP, in clear or STARTTLS.
    pub port: u16,
    /// Where it listens for IMAP over TLS.
    pub tls_port: u16,
    /// Where it listens for mail, if it was told where mail goes.
    pub mail: MailPorts,
    dir: PathBuf,
    account: (String, String),
    running: Option<Running>,
    die_at: Option<String>,
    small_disk: bool,
}

/// Where a proxy listens for mail: only for what both `old` and `new` have a setting.
#[derive(Debug, Clone, Copy)]
pub struct MailPorts {
    /// Users', in clear or STARTTLS.
    pub submission: u16,
    /// Users', TLS from the start.
    pub submissions: u16,
    /// Everybody's.
    pub smtp: u16,
    /// The servers'.
    pub trusted: u16,
}

impl MailPorts {
    fn free() -> MailPorts {
        MailPorts {
            submission: free_port(),
            submissions: free_port(),
            smtp: free_port(),
            trusted: free_port(),
        }
    }
}

impl Proxy {
    /// Starts it in `dir` between these two ports. `settings` are dotted keys with TOML values, which win over
    /// the lab's own.
    pub fn start(
        dir: &Path,
        old: u16,
        new: u16,
        settings: &BTreeMap<String, String>,
        account: &(String, String),
    ) -> Proxy {
        fs::create_dir_all(dir.join("certs")).expect("proxy directory");
        tls::certificates(&dir.join("certs"));
        let mut proxy = Proxy {
            port: free_port(),
            tls_port: free_port(),
            mail: MailPorts::free(),
            dir: dir.to_owned(),
            account: account.clone(),
            running: None,
            die_at: None,
            small_disk: settings.contains_key(SMALL_DISK),
        };
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |key: &str, value: String| all.insert(key.to_owned(), value);
        set("state", format!("{:?}", dir.join("state")));
        set("tls.cert", format!("{:?}", dir.join("certs/cert.pem")));
        set("tls.key", format!("{:?}", dir.join("certs/key.pem")));
        set("old.imap", format!("\"imap://127.0.0.1:{old}?tls=none\""));
        set("new.imap", format!("\"imap://127.0.0.1:{new}?tls=none\""));
        set("old.credentials.mode", "\"same\"".to_owned());
        set("new.credentials.mode", "\"same\"".to_owned());
        set("auth.allow_cleartext", "true".to_owned());
        set("accounts.default_domain", "\"example.com\"".to_owned());
        set("copy.grace", "\"1s\"".to_owned());
        for (key, value) in settings.iter().filter(|(key, _)| !key.starts_with("lab.")) {
            set(key, value.clone());
        }
        for attempt in 1.. {
            let mut text: String = all.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
            for (protocol, port) in [("imap", proxy.port), ("imaps", proxy.tls_port)] {
                let address = format!("127.0.0.1:{port}");
                text +=
                    &format!("[[listen]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n");
            }
            let MailPorts { submission, submissions, smtp, trusted } = proxy.mail;
            let mail = [
                ("submission", submission, "old.submission", ""),
                ("submissions", submissions, "old.submission", ""),
                ("smtp", smtp, "old.inbound", ""),
                ("smtp", trusted, "old.inbound", "trusted = true\n"),
            ];
            for (protocol, port, key, more) in mail {
                if all.contains_key(key) {
                    let address = format!("127.0.0.1:{port}");
                    text += &format!(
                        "[[listen]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n{more}"
                    );
                }
            }
            text.extend(settings.get(LISTEN).map(String::as_str));
            fs::write(proxy.config(), text).expect("proxy.toml");
            if proxy.try_restart() {
                break;
            }
            assert!(attempt < 3, "the proxy does not start: {}", proxy.log());
            proxy.port = free_port();
            proxy.tls_port = free_port();
            proxy.mail = MailPorts::free();
        }
        proxy
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("proxy.toml")
    }

    /// The authority its certificate is from.
    pub fn ca(&self) -> String {
        self.dir.join("certs/ca.pem").display().to_string()
    }

    /// Starts it again, after `kill9` or `stop`, on the same ports with the same state.
    pub fn restart(&mut self) {
        self.running = None;
        assert!(self.try_restart(), "the proxy does not start again: {}", self.log());
    }

    /// The same, to die where it comes to this step (see `base::step`): `name=return`, or
    /// `name=2*off->return` where it is passed twice before.
    pub fn restart_to_die_at(&mut self, step: &str) {
        self.running = None;
        self.die_at = Some(step.to_owned());
        let up = self.try_restart();
        self.die_at = None;
        assert!(up || !self.is_alive(), "the proxy does not start again: {}", self.log());
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.running.as_mut().is_some_and(Running::is_alive)
    }

    /// Kills it where it stands.
    pub fn kill9(&mut self) {
        self.running_mut().kill9();
        self.running = None;
    }

    /// Asks it to end; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let code = self.running_mut().terminate(Duration::from_secs(10));
        self.running = None;
        code
    }

    /// Its state directory, as itself sees it.
    pub fn state(&self) -> PathBuf {
        let dir = self.dir.join("state");
        Path::new("/proc")
            .join(self.pid().to_string())
            .join("root")
            .join(dir.strip_prefix("/").expect("absolute"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the proxy runs").pid()
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_rss(&self) -> u64 {
        self.running.as_ref().expect("the proxy runs").peak_rss()
    }

    /// A client logged in to the first account.
    pub fn client(&self) -> Dialogue {
        Dialogue::connect(self.port).login(&self.account.0, &self.account.1)
    }

    /// A client logged in as somebody.
    pub fn client_of(&self, user: &str, password: &str) -> Dialogue {
        Dialogue::connect(self.port).login(user, password)
    }

    /// Runs one of its other commands with the same configuration.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.config());
        command.output().expect("mailferry")
    }

    /// What it logged, all starts together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn try_restart(&mut self) -> bool {
        let mut command = if self.small_disk {
            // In mounts of its own, under the same process id.
            let state = self.dir.join("state");
            fs::create_dir_all(&state).expect("state");
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-ec"]);
            command.arg(format!("mount -t tmpfs -o size=24m disk {state:?}; exec \"$0\" \"$@\""));
            command.arg(program());
            command
        } else {
            Command::new(program())
        };
        command.arg("serve").arg("--config").arg(self.config()).current_dir(&self.dir);
        command
            .env("MAILFERRY_LOG", std::env::var("LAB_LOG").unwrap_or("mailferry=debug".to_owned()));
        if let Some(step) = &self.die_at {
            command.env("FAILPOINTS", step);
        }
        let mut running = Running::start(command, &self.dir.join("log"));
        let up = running.answers(self.port, "* OK");
        self.running = up.then_some(running);
        up
    }

    fn running_mut(&mut self) -> &mut Running {
        self.running.as_mut().expect("the proxy runs")
    }
}
