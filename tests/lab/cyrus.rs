//! A Cyrus for one test. It runs with mounts of its own: its syslog is `/dev/log` there, and what is not installed
//! lies where its user may enter.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::{isolated, unpacked};

/// What a server shall be like.
#[derive(Debug, Clone)]
pub struct Cyrus {
    altnamespace: bool,
    unixhierarchysep: bool,
    special: Vec<(String, String)>,
    quota: u32,
}

impl Cyrus {
    /// One of its four name styles: `altnamespace` puts folders beside INBOX and not below it, `unixhierarchysep`
    /// makes `/` the separator and not `.`.
    pub fn styled(altnamespace: bool, unixhierarchysep: bool) -> Cyrus {
        Cyrus { altnamespace, unixhierarchysep, special: Vec::new(), quota: 0 }
    }

    /// Each account has room for so many KiB.
    pub fn quota(mut self, kib: u32) -> Cyrus {
        self.quota = kib;
        self
    }

    /// A folder (without prefix) that exists from the beginning and has a special use.
    pub fn special_use(mut self, folder: &str, special_use: &str) -> Cyrus {
        self.special.push((folder.to_owned(), special_use.to_owned()));
        self
    }

    /// Makes all that it needs before its first start.
    pub(super) fn prepare(&self, dir: &Path, accounts: &[(String, String)]) {
        for sub in
            ["conf/db", "conf/socket", "conf/log", "conf/proc", "conf/user", "spool", "bin", "dev"]
        {
            fs::create_dir_all(dir.join(sub)).expect("server directory");
        }
        // Cyrus takes away its default domain, and looks in what is called as itself.
        let users: String = accounts
            .iter()
            .map(|(user, password)| {
                let (local, _) = user.split_once('@').expect("user@domain");
                format!(
                    "printf %s '{password}' | saslpasswd2 -p -c -f {d}/sasldb -u {name} '{local}'\n",
                    d = dir.display(),
                    name = name(dir)
                )
            })
            .collect();
        fs::write(dir.join("users.sh"), users).expect("users.sh");
    }

    /// What starts it on this port, and what it greets with.
    pub(super) fn command(&self, dir: &Path, port: u16) -> (Command, String) {
        let d = dir.display();
        fs::write(dir.join("imapd.conf"), self.configuration(dir)).expect("imapd.conf");
        let services = format!(
            "START {{\n}}\nSERVICES {{\n  imap cmd=\"{d}/bin/imapd -C {d}/imapd.conf\" \
             listen=\"127.0.0.1:{port}\" prefork=1\n}}\nDAEMON {{\n  idled cmd=\"{d}/bin/idled -C {d}/imapd.conf\"\n}}\n\
             EVENTS {{\n}}\n"
        );
        fs::write(dir.join("cyrus.conf"), services).expect("cyrus.conf");
        let binaries = unpacked("cyrus-imapd").join("usr/lib/cyrus/bin");
        let script = format!(
            "mount --bind '{}' {d}/bin\nmount -t tmpfs none {d}/dev\n\
             for node in null zero full random urandom tty; do\n  \
             touch {d}/dev/$node; mount --bind /dev/$node {d}/dev/$node\ndone\n\
             mkdir {d}/dev/shm\n[ ! -d /dev/shm ] || mount --rbind /dev/shm {d}/dev/shm\n\
             ln -s {d}/syslog {d}/dev/log\nmount --rbind {d}/dev /dev\n\
             [ -e {d}/sasldb ] || . {d}/users.sh\nchown -R cyrus:mail {d}/conf {d}/spool {d}/sasldb\n\
             /usr/lib/cyrus/bin/master -C {d}/imapd.conf -M {d}/cyrus.conf -p {d}/conf/pid -L {d}/conf/core &\n\
             wait $!\n",
            binaries.display()
        );
        fs::write(dir.join("run.sh"), script).expect("run.sh");
        (isolated(&dir.join("run.sh")), name(dir))
    }

    /// Separator and prefix of its names.
    pub(super) fn style(&self) -> (char, &str) {
        match (self.altnamespace, self.unixhierarchysep) {
            (true, true) => ('/', ""),
            (true, false) => ('.', ""),
            (false, true) => ('/', "INBOX/"),
            (false, false) => ('.', "INBOX."),
        }
    }

    fn configuration(&self, dir: &Path) -> String {
        let d = dir.display();
        let yes = |it: bool| if it { "yes" } else { "no" };
        let mut text = format!(
            "servername: {name}\nconfigdirectory: {d}/conf\ndefaultpartition: default\n\
             partition-default: {d}/spool\nadmins: cyrus\naltnamespace: {alt}\nunixhierarchysep: {unix}\n\
             virtdomains: userid\ndefaultdomain: example.com\nallowplaintext: yes\n\
             sasl_mech_list: PLAIN LOGIN\nsasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\n\
             sasl_sasldb_path: {d}/sasldb\nautocreate_quota: {quota}\nautocreate_users: anyone\nskiplist_unsafe: 1\n",
            name = name(dir),
            alt = yes(self.altnamespace),
            unix = yes(self.unixhierarchysep),
            quota = self.quota,
        );
        // An option without a value would be fatal.
        if !self.special.is_empty() {
            let folders: Vec<&str> =
                self.special.iter().map(|(folder, _)| folder.as_str()).collect();
            text += &format!("autocreate_inbox_folders: {}\n", folders.join(" | "));
            text += &format!("autocreate_subscribe_folders: {}\n", folders.join(" | "));
        }
        for (folder, special) in &self.special {
            let special = special.trim_start_matches('\\').to_ascii_lowercase();
            text += &format!("xlist-{special}: {folder}\n");
        }
        text
    }
}

/// How a server calls itself: after its directory, as no other one does.
fn name(dir: &Path) -> String {
    let parts: Vec<_> = dir.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    // SASL writes the names of servers small.
    parts.join("-").to_ascii_lowercase()
}
