//! A Courier for one test: a good old server, without MOVE, CONDSTORE, LITERAL+ and special uses, that tells no
//! UIDNEXT when a mailbox is selected. It runs with mounts of its own, because its places are compiled in.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::process::{isolated, owner, unpacked};

/// What it offers: what Debian's configuration says.
const CAPABILITIES: &str =
    "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE";

/// What a server shall be like.
#[derive(Debug, Clone)]
pub struct Courier {
    capabilities: String,
    locks: bool,
}

impl Courier {
    /// As Debian configures it.
    pub fn plain() -> Courier {
        Courier { capabilities: CAPABILITIES.to_owned(), locks: true }
    }

    /// Without its lock files: where many connections wait for one, it may miss that it is free again, and waits
    /// for minutes.
    pub fn without_locks(self) -> Courier {
        Courier { locks: false, ..self }
    }

    /// Shows these capabilities instead.
    pub fn capabilities(mut self, capabilities: &str) -> Courier {
        self.capabilities = capabilities.to_owned();
        self
    }

    /// Makes all that it needs before its first start.
    pub(super) fn prepare(&self, dir: &Path, accounts: &[(String, String)]) {
        let (uid, gid) = owner();
        for sub in ["etc", "run/authdaemon", "imap"] {
            fs::create_dir_all(dir.join(sub)).expect("server directory");
        }
        let mut users = String::new();
        for (user, password) in accounts {
            let home = dir.join("mail").join(user);
            for sub in ["", "cur", "new", "tmp"] {
                fs::create_dir_all(home.join("Maildir").join(sub)).expect("Maildir");
                chown(home.join("Maildir").join(sub), Some(uid), Some(gid)).expect("chown");
            }
            chown(&home, Some(uid), Some(gid)).expect("chown");
            users += &format!(
                "userdb '{user}' set uid={uid} gid={gid} home='{h}' mail='{h}/Maildir' \
                 imappw=\"$(echo '{password}' | userdbpw -md5)\"\n",
                h = home.display()
            );
        }
        fs::write(dir.join("users.sh"), users + "makeuserdb\n").expect("users.sh");
        let authentication = "authmodulelist=\"authuserdb\"\nauthmodulelistorig=\"authuserdb\"\ndaemons=3\n\
             authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\"\"\nLOGGEROPTS=\"\"\n";
        fs::write(dir.join("etc/authdaemonrc"), authentication).expect("authdaemonrc");
        fs::write(dir.join("etc/userdb"), "").expect("userdb");
    }

    /// What starts it on this port, and what it greets with.
    pub(super) fn command(&self, dir: &Path, port: u16) -> (Command, String) {
        let d = dir.display();
        // Without FAM, IDLE looks at the mailbox every IMAP_IDLE_TIMEOUT seconds.
        let script = format!(
            "mount --bind '{unpacked}' {d}/imap\nmount --bind {d}/etc /etc/courier\n\
             mount --bind {d}/run /run/courier\nchmod 600 {d}/etc/userdb\n\
             [ -e {d}/etc/userdb.dat ] || . {d}/users.sh\n\
             /usr/lib/courier/courier-authlib/authdaemond &\n\
             export IMAP_CAPABILITY='{capabilities}' IMAP_KEYWORDS=1 IMAP_ACL=0 IMAP_IDLE_TIMEOUT=1 \
             IMAP_ENHANCEDIDLE=0 IMAP_MAILBOX_SANITY_CHECK=0 IMAP_TRASHFOLDERNAME=Trash \
             IMAP_MOVE_EXPUNGE_TO_TRASH=0 IMAP_CHECK_ALL_FOLDERS=0 IMAP_OBSOLETE_CLIENT=0 IMAP_USELOCKS={locks} \
             IMAP_UMASK=022 IMAP_STARTTLS=NO COURIERTLS=/usr/bin/couriertls\n\
             couriertcpd -address=127.0.0.1 -maxprocs=400 -maxperip=400 -nodnslookup -noidentlookup {port} \
             {d}/imap/usr/lib/courier/courier/imaplogin {d}/imap/usr/bin/imapd Maildir &\nwait $!\n",
            unpacked = unpacked("courier-imap").display(),
            capabilities = self.capabilities,
            locks = u8::from(self.locks),
        );
        fs::write(dir.join("run.sh"), script).expect("run.sh");
        (isolated(&dir.join("run.sh")), "Courier-IMAP ready".to_owned())
    }

    /// Separator and prefix of its names.
    pub(super) fn style(&self) -> (char, &str) {
        ('.', "INBOX.")
    }
}
