//! Processes of a test: started in a group of their own, ended to the last child, whatever happens.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to answer after its start, on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A process with all its children.
pub struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts a command, its output appended to a file. `setpriv` sees to it that the process dies with the
    /// thread of the test even where that is killed.
    pub fn start(command: Command, output: &Path) -> Running {
        let file = File::options().create(true).append(true).open(output).expect("output file");
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            guarded.env(name, value.unwrap_or_default());
        }
        if let Some(dir) = command.get_current_dir() {
            guarded.current_dir(dir);
        }
        let child = guarded
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("clone"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Running { child, output: output.to_owned() }
    }

    /// Waits until a port greets with a text that contains `greeting`; false if the process ends before.
    pub fn answers(&mut self, port: u16, greeting: &str) -> bool {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if !self.is_alive() {
                return false;
            }
            if greets(port, greeting) {
                return true;
            }
            sleep(Duration::from_millis(10));
        }
        false
    }

    /// Its process id; `setpriv` has replaced itself by the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once, without a word.
    pub fn kill9(&mut self) {
        signal("KILL", &format!("-{}", self.pid()));
        let _ = self.child.wait();
        // A child may hold a listening socket for a moment longer than its leader.
        for _ in 0..100 {
            if !group_lives(self.pid()) {
                return;
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end and waits; its exit code, if it had one in time.
    pub fn terminate(&mut self, patience: Duration) -> Option<i32> {
        signal("TERM", &self.pid().to_string());
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            sleep(Duration::from_millis(5));
        }
        None
    }

    /// What it printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_rss(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).expect("status of a running process");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("kB");
        kib * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody waits for an orderly end (a second of Dovecot's time); nothing of the group may be left.
        self.kill9();
    }
}

/// A command that runs a shell script as root with mounts of its own, and whose end is the end of every process
/// that the script started, whatever user and group they chose.
pub fn isolated(script: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-e"]).arg(script);
    command
}

/// Where `tests/lab.sh install` keeps the files of a package that cannot be installed beside Dovecot's.
pub fn unpacked(package: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab").join(package);
    assert!(dir.is_dir(), "{package} is missing: run tests/lab.sh install");
    dir
}

/// A port of the loopback interface that was free just now. It lies below those that the kernel gives to
/// connections: one of these would soon be somebody's, before the server that is to have it is there.
pub fn free_port() -> u16 {
    loop {
        let dice = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(dice % 22_000).expect("small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Who owns the mail: a user that every Debian has.
pub fn owner() -> (u32, u32) {
    (8, 8)
}

/// A directory in memory where there is such, gone with the test, which others may enter.
pub fn scratch() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let memory = Path::new("/dev/shm");
    let named = |dir: &Path| tempfile::Builder::new().prefix("ferry-").tempdir_in(dir);
    let dir = named(memory).or_else(|_| named(&std::env::temp_dir())).expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    dir
}

fn signal(name: &str, target: &str) {
    let script = format!("kill -s {name} -- {target}");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// Whether a process group has a member that is more than a zombie.
fn group_lives(group: u32) -> bool {
    let group = group.to_string();
    let member = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // Behind the name in parentheses: state, parent, process group.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, group_of) = (fields.next()?, fields.nth(1)?);
        Some(state != "Z" && group_of == group)
    };
    let processes = fs::read_dir("/proc").expect("/proc");
    processes.flatten().any(|entry| member(entry).unwrap_or(false))
}

fn greets(port: u16, greeting: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(2)));
    let mut heard = Vec::new();
    let mut chunk = [0; 512];
    while let Ok(n @ 1..) = socket.read(&mut chunk) {
        heard.extend_from_slice(&chunk[..n]);
        if heard.ends_with(b"\n") {
            break;
        }
    }
    String::from_utf8_lossy(&heard).contains(greeting)
}

/// Runs a command to its end: whether it went well, what it wrote, and the most memory that it held.
pub fn watched(mut command: Command) -> (bool, String, u64) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a command");
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("text");
        text
    });
    let mut most = 0;
    let ended = loop {
        // Gone between two looks, it has none any more.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kib.map_or(0, |kib| kib << 10));
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        sleep(Duration::from_millis(10));
    };
    (ended.success(), reader.join().expect("its output"), most)
}
