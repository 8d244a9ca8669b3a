//! Real mail clients, run to their end with a bound on their time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What one run of a client said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code was 0.
    pub success: bool,
    /// Standard output and error together.
    pub text: String,
}

impl Said {
    /// Fails the test if the client complained.
    #[track_caller]
    pub fn content(self) -> String {
        assert!(self.success, "{}", self.text);
        let complaint = |line: &&str| {
            let line = line.to_ascii_lowercase();
            ["error", "warning", "uidvalidity"].iter().any(|word| line.contains(word))
                && !line.contains("in the clear")
                && !line.contains("no uidvalidity, creating new")
        };
        assert_eq!(self.text.lines().find(complaint), None, "{}", self.text);
        self.text
    }
}

/// Runs a command for at most a minute.
pub fn run(command: &mut Command) -> Said {
    let mut bounded = Command::new("timeout");
    bounded.args(["-k", "1", "55"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        bounded.env(name, value.unwrap_or_default());
    }
    if let Some(dir) = command.get_current_dir() {
        bounded.current_dir(dir);
    }
    let Output { status, stdout, stderr } =
        bounded.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = [stdout, stderr].concat();
    Said { success: status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// A user's mbsync with its local Maildirs and its memory of what it saw.
pub struct Mbsync {
    dir: PathBuf,
}

impl Mbsync {
    /// A fresh one in a directory of its own.
    pub fn new(dir: &Path) -> Mbsync {
        fs::create_dir_all(dir.join("mail")).expect("mbsync's directory");
        Mbsync { dir: dir.to_owned() }
    }

    /// One run against a server; folders are made here as they are there, flags go both ways.
    #[track_caller]
    pub fn sync(&self, port: u16, user: &str, password: &str) -> Said {
        let d = self.dir.display();
        let text = format!(
            "IMAPAccount it\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {password}\nSSLType None\n\
             AuthMechs LOGIN\n\nIMAPStore far\nAccount it\n\nMaildirStore near\nPath {d}/mail/\n\
             Inbox {d}/mail/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\n\
             Create Near\nSync All\nSyncState *\nExpunge None\nCopyArrivalDate yes\n"
        );
        fs::write(self.dir.join("mbsyncrc"), text).expect("mbsyncrc");
        run(Command::new("mbsync").arg("-V").arg("-c").arg(self.dir.join("mbsyncrc")).arg("-a"))
    }

    /// The octets of every message by folder.
    pub fn messages(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut all = BTreeMap::new();
        collect(&self.dir.join("mail"), &self.dir.join("mail"), &mut all);
        all
    }

    /// The files of its messages without their flags: they stay as they are unless something is pulled again.
    pub fn files(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        names(&self.dir.join("mail"), &mut all);
        all
    }
}

/// A user's mutt with its caches of headers and of messages, which always knows its server by one name.
pub struct Mutt {
    dir: PathBuf,
}

impl Mutt {
    /// A fresh one in a directory of its own.
    pub fn new(dir: &Path) -> Mutt {
        fs::create_dir_all(dir.join("headers")).expect("mutt's directory");
        fs::create_dir_all(dir.join("messages")).expect("mutt's directory");
        Mutt { dir: dir.to_owned() }
    }

    /// Opens INBOX behind a port, and copies its first messages into a local file: what that holds.
    #[track_caller]
    pub fn read(&self, port: u16, user: &str, password: &str, messages: usize) -> String {
        let d = self.dir.display();
        let tunnel = "import os, socket, sys, threading\n\
            s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
            def up():\n    while said := os.read(0, 65536):\n        s.sendall(said)\n\
            threading.Thread(target=up, daemon=True).start()\n\
            while heard := s.recv(65536):\n    os.write(1, heard)\n";
        fs::write(self.dir.join("tunnel.py"), tunnel).expect("tunnel.py");
        let copies = self.dir.join("copies");
        let _ = fs::remove_file(&copies);
        // A key of its own, for what is pushed may not be long.
        let copy = format!("<copy-message>{}<enter><next-entry>", copies.display());
        let keys = "Z".repeat(messages) + "<quit>";
        let text = format!(
            "set imap_user=\"{user}\" imap_pass=\"{password}\" imap_authenticators=\"login\"\n\
             set tunnel=\"python3 {d}/tunnel.py {port}\" ssl_starttls=no ssl_force_tls=no\n\
             set header_cache={d}/headers message_cachedir={d}/messages sort=mailbox-order\n\
             set folder={d} confirmappend=no confirmcreate=no delete=no move=no quit=yes wait_key=no\n\
             macro index Z \"{copy}\"\npush \"{keys}\"\n"
        );
        fs::write(self.dir.join("muttrc"), text).expect("muttrc");
        let muttrc = self.dir.join("muttrc");
        let mutt = format!("mutt -n -F {} -f imap://mail.example.com/INBOX", muttrc.display());
        // It wants a terminal.
        let mut command = Command::new("script");
        command.args(["-qec", &mutt, "/dev/null"]).env("TERM", "xterm").env("HOME", &self.dir);
        let said = run(&mut command);
        assert!(said.success, "{}", said.text);
        fs::read_to_string(&copies).unwrap_or_else(|e| panic!("{e}: {}", said.text))
    }
}

/// A user's offlineimap with its local Maildirs and its memory of what it saw.
pub struct Offlineimap {
    dir: PathBuf,
}

impl Offlineimap {
    /// A fresh one in a directory of its own.
    pub fn new(dir: &Path) -> Offlineimap {
        fs::create_dir_all(dir.join("mail")).expect("offlineimap's directory");
        Offlineimap { dir: dir.to_owned() }
    }

    /// One run against a server.
    pub fn sync(&self, port: u16, user: &str, password: &str) -> Said {
        let d = self.dir.display();
        let text = format!(
            "[general]\naccounts = it\nmetadata = {d}/memory\nui = basic\n[Account it]\nlocalrepository = near\n\
             remoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {d}/mail\n\
             [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nremoteuser = {user}\n\
             remotepass = {password}\nssl = no\nstarttls = no\nauth_mechanisms = LOGIN\nmaxconnections = 1\n"
        );
        fs::write(self.dir.join("offlineimaprc"), text).expect("offlineimaprc");
        let mut command = Command::new("offlineimap");
        command.arg("-o").arg("-c").arg(self.dir.join("offlineimaprc")).env("HOME", &self.dir);
        run(&mut command)
    }

    /// The files of its messages without their flags: they stay as they are unless something is pulled again.
    pub fn files(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        names(&self.dir.join("mail"), &mut all);
        all
    }
}

/// Runs a Python script of the lab.
pub fn python(script: &str, arguments: &[&str]) -> Said {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab").join(script);
    run(Command::new("python3").arg(path).args(arguments))
}

/// A message as it was on the wire: mbsync and offlineimap keep lines as this machine ends them, and
/// mbsync puts a header of its own into every message.
fn as_on_the_wire(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 40);
    for line in octets.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b"X-TUID: ") {
            continue;
        }
        let bare = line.strip_suffix(b"\n").map(|bare| bare.strip_suffix(b"\r").unwrap_or(bare));
        match bare {
            Some(bare) => {
                out.extend_from_slice(bare);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

fn names(dir: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("Maildir") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            names(&path, all);
        } else if path.parent().is_some_and(|d| d.ends_with("cur") || d.ends_with("new")) {
            // `new/` and `cur/`, and the flags behind the colon, are the client's own business.
            let name = path.file_name().expect("name").to_string_lossy();
            let (base, _) = name.split_once(":2,").unwrap_or((&name, ""));
            let folder = dir.parent().expect("folder").display();
            all.insert(format!("{folder}/{base}"));
        }
    }
}

fn collect(root: &Path, dir: &Path, all: &mut BTreeMap<String, Vec<Vec<u8>>>) {
    for entry in fs::read_dir(dir).expect("Maildir") {
        let path = entry.expect("entry").path();
        if !path.is_dir() {
            continue;
        }
        match path.file_name().and_then(|n| n.to_str()) {
            Some("cur" | "new") => {
                let folder = dir.strip_prefix(root).expect("below").display().to_string();
                let files = fs::read_dir(&path).expect("Maildir").map(|e| e.expect("entry").path());
                let octets = files.map(|file| as_on_the_wire(&fs::read(file).expect("message")));
                all.entry(folder).or_default().extend(octets);
            }
            Some("tmp") => {}
            _ => collect(root, &path, all),
        }
    }
}
