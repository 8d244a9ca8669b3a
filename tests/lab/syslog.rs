//! A syslog of its own for one server that can say nothing anywhere else.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;

/// Listens until it is dropped.
pub struct Syslog {
    socket: PathBuf,
}

impl Syslog {
    /// Appends to `log` what is said to `socket`, a line each.
    pub fn listen(socket: &Path, log: &Path) -> Syslog {
        let ear = UnixDatagram::bind(socket).expect("a syslog socket");
        fs::set_permissions(socket, Permissions::from_mode(0o666)).expect("mode");
        let mut file = File::options().create(true).append(true).open(log).expect("log");
        thread::spawn(move || {
            let mut line = vec![0; 64 * 1024];
            // Nothing at all is said once only: when it is to end.
            while let Ok(len @ 1..) = ear.recv(&mut line) {
                let text = line[..len].trim_ascii_end();
                if file.write_all(&[text, b"\n"].concat()).is_err() {
                    break;
                }
            }
        });
        Syslog { socket: socket.to_owned() }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = UnixDatagram::unbound().and_then(|mouth| mouth.send_to(&[], &self.socket));
    }
}
