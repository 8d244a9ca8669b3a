//! The ways to the mail: the server itself, this proxy, and the proxies of Dovecot and nginx.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::process::{Running, free_port};
use crate::lab::{Builder, Dovecot, Server, World, tls};

/// Who logs in.
pub const USER: &str = "ann@example.com";
/// With what.
pub const PASSWORD: &str = "secret";

/// One way to the mail.
#[derive(Clone, Debug)]
pub struct Way {
    /// What the tables call it.
    pub name: &'static str,
    /// Where it is reached in clear.
    pub plain: u16,
    /// Where it is reached by TLS from the start.
    pub tls: u16,
    /// The leader of its processes, beyond those of the servers behind.
    pub proxy: Option<u32>,
    /// The leaders of the servers behind.
    pub servers: Vec<u32>,
}

/// What the ways are called, in the order of the tables' columns.
pub const WAYS: [&str; 4] = ["direct", "mailferry", "dovecot", "nginx"];

/// Two servers, and every way to the old one. The proxies reach the servers in clear.
pub struct Field {
    // Dropped in this order.
    dovecot: (Running, u16, u16),
    nginx: (Running, u16, u16),
    /// The servers and the proxy.
    pub world: World,
    /// The authorities that the client trusts.
    pub authorities: Vec<PathBuf>,
    state: tempfile::TempDir,
}

impl Field {
    /// Fills the servers, then starts the ways. `settings` are the proxy's.
    pub fn new(settings: &[(&str, &str)], fill: impl FnOnce(&Server, &Server)) -> Field {
        Field::of(World::new().account(USER, PASSWORD), settings, fill)
    }

    /// The same with accounts named before.
    pub fn of(
        world: Builder,
        settings: &[(&str, &str)],
        fill: impl FnOnce(&Server, &Server),
    ) -> Field {
        Field::before(world, Dovecot::old_style(), settings, fill)
    }

    /// The same before this old server.
    pub fn before(
        world: Builder,
        old: Dovecot,
        settings: &[(&str, &str)],
        fill: impl FnOnce(&Server, &Server),
    ) -> Field {
        // The index lies on a disk, where its fsync costs what it costs.
        let state = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut world =
            world.old(old.tls()).set("state", &format!("{:?}", state.path().join("state")));
        for (key, value) in settings {
            world = world.set(key, value);
        }
        let world = world.seeded(fill);
        let dir = world.dir.path();
        let authorities = ["old/ca.pem", "proxy/certs/ca.pem", "dovecot/ca.pem", "nginx/ca.pem"];
        Field {
            dovecot: dovecot(&dir.join("dovecot"), world.old.port),
            nginx: nginx(&dir.join("nginx"), world.old.port),
            authorities: authorities.iter().map(|file| dir.join(file)).collect(),
            state,
            world,
        }
    }

    /// Every way, in the order of [`WAYS`].
    pub fn ways(&self) -> Vec<Way> {
        let World { old, new, proxy, .. } = &self.world;
        let servers = vec![old.pid(), new.pid()];
        let way = |name, plain, tls, proxy| {
            let servers = servers.clone();
            Way { name, plain, tls, proxy, servers }
        };
        let (dovecot, nginx) = (&self.dovecot, &self.nginx);
        vec![
            way("direct", old.port, old.tls_port, None),
            way("mailferry", proxy.port, proxy.tls_port, Some(proxy.pid())),
            way("dovecot", dovecot.1, dovecot.2, Some(dovecot.0.pid())),
            way("nginx", nginx.1, nginx.2, Some(nginx.0.pid())),
        ]
    }

    /// Starts the proxy again with another setting, which it had a value for.
    pub fn set(&mut self, key: &str, value: &str) {
        let file = self.world.proxy.config();
        let text = fs::read_to_string(&file).expect("proxy.toml");
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
        let text = text.replace(line.expect("the setting"), &format!("{key} = {value}"));
        fs::write(&file, text).expect("proxy.toml");
        self.restart(false);
    }

    /// Stops the proxy and starts it again; `forget` takes its index away in between.
    pub fn restart(&mut self, forget: bool) {
        self.world.proxy.stop();
        if forget {
            fs::remove_dir_all(self.state.path().join("state")).expect("the index");
        }
        self.world.proxy.restart();
    }
}

/// Dovecot as a proxy that asks nobody: every login goes to the server behind.
fn dovecot(dir: &Path, server: u16) -> (Running, u16, u16) {
    for sub in ["run", "state"] {
        fs::create_dir_all(dir.join(sub)).expect("directory");
    }
    tls::certificates(dir);
    let (plain, tls, d) = (free_port(), free_port(), dir.display());
    let text = format!(
        "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {d}/run\nstate_dir = {d}/state\n\
         instance_name = bench-proxy\nlog_path = {d}/log\nlogin_greeting = ready\nssl = yes\n\
         ssl_cert = <{d}/cert.pem\nssl_key = <{d}/key.pem\ndisable_plaintext_auth = no\n\
         auth_mechanisms = plain login\ndefault_client_limit = 30000\n\
         passdb {{\n  driver = static\n  args = proxy=y host=127.0.0.1 port={server} nopassword=y\n}}\n\
         service imap-login {{\n  chroot =\n  service_count = 0\n  process_min_avail = 1\n  \
         client_limit = 1000\n  inet_listener imap {{\n    port = {plain}\n  }}\n  \
         inet_listener imaps {{\n    port = {tls}\n    ssl = yes\n  }}\n}}\n"
    );
    fs::write(dir.join("dovecot.conf"), text).expect("dovecot.conf");
    let mut command = Command::new("dovecot");
    command.arg("-F").arg("-c").arg(dir.join("dovecot.conf"));
    let mut running = Running::start(command, &dir.join("out"));
    assert!(running.answers(plain, "* OK"), "{}", log(dir));
    (running, plain, tls)
}

/// nginx, whose question where to go is answered by itself.
fn nginx(dir: &Path, server: u16) -> (Running, u16, u16) {
    fs::create_dir_all(dir).expect("directory");
    tls::certificates(dir);
    let (plain, tls, auth, d) = (free_port(), free_port(), free_port(), dir.display());
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\nuser root;\nworker_processes 2;\n\
         daemon off;\npid {d}/pid;\nerror_log {d}/log;\nevents {{\n  worker_connections 40000;\n}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {d}/body;\n  proxy_temp_path {d}/proxy;\n  \
         fastcgi_temp_path {d}/fastcgi;\n  uwsgi_temp_path {d}/uwsgi;\n  scgi_temp_path {d}/scgi;\n  \
         server {{\n    listen 127.0.0.1:{auth};\n    location / {{\n      add_header Auth-Status OK;\n      \
         add_header Auth-Server 127.0.0.1;\n      add_header Auth-Port {server};\n      return 200;\n    }}\n  }}\n}}\n\
         mail {{\n  auth_http 127.0.0.1:{auth}/;\n  imap_capabilities IMAP4rev1 LITERAL+ UIDPLUS IDLE;\n  \
         ssl_certificate {d}/cert.pem;\n  ssl_certificate_key {d}/key.pem;\n  proxy_buffer 64k;\n  \
         server {{\n    listen 127.0.0.1:{plain};\n    protocol imap;\n  }}\n  \
         server {{\n    listen 127.0.0.1:{tls} ssl;\n    protocol imap;\n  }}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), text).expect("nginx.conf");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(dir.join("nginx.conf"));
    let mut running = Running::start(command, &dir.join("out"));
    assert!(running.answers(plain, "* OK"), "{}", log(dir));
    (running, plain, tls)
}

fn log(dir: &Path) -> String {
    let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
    read("out") + &read("log")
}
