//! Delivering mail: to Postfix itself, through this proxy, through nginx's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::lab::process::{Running, free_port, scratch};
use crate::lab::{Dovecot, Postfix, Services, Talk, World};
use crate::rounds::{Samples, block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::{WAYS, Way};

/// Many messages over one connection, the same over eight, and a large one. Postfix throws them away.
pub fn run(table: &mut Table) {
    let dir = scratch();
    let services = Services::free();
    let postfix = Postfix::start(
        &dir.path().join("postfix"),
        services,
        &["ann@example.com"],
        "virtual_transport = discard:\n",
    );
    let inbound = format!("\"smtp://127.0.0.1:{}?tls=none\"", postfix.port);
    let world = World::new()
        .old(Dovecot::old_style())
        .set("accounts.domains", "[\"example.com\"]")
        .set("old.inbound", &inbound)
        .set("new.inbound", &inbound)
        .set("old.submission", "\"submission://127.0.0.1?tls=none\"")
        .set("new.submission", "\"submission://127.0.0.1?tls=none\"")
        .start();
    let (nginx, nginx_port) = nginx(&dir.path().join("nginx"), postfix.port);
    let servers = vec![postfix.pid()];
    let way = |name, plain, proxy| Way { name, plain, tls: 0, proxy, servers: servers.clone() };
    let ways = [
        way(WAYS[0], postfix.port, None),
        way(WAYS[1], world.proxy.mail.smtp, Some(world.proxy.pid())),
        way(WAYS[3], nginx_port, Some(nginx.pid())),
    ];
    for (name, clients, count, size) in [
        ("400 × 8 KB, one connection", 1, 400, 8_000),
        ("800 × 8 KB, eight connections", 8, 100, 8_000),
        ("1 × 100 MB", 1, 1, 100_000_000),
    ] {
        let line = "x".repeat(76) + "\r\n";
        let message = format!("Subject: x\r\n\r\n{}", line.repeat(size / line.len()));
        let samples = block_on(rounds(&ways, async |way, _| {
            timed(async { deliver(way.plain, clients, count, &message) }).await
        }));
        table.row_with_cpu(&format!("mail {name}"), Unit::Millis, &in_columns(samples), 1.0);
    }
}

/// How many messages were accepted.
fn deliver(port: u16, clients: usize, count: usize, message: &str) -> usize {
    let deliver = || {
        let mut talk = Talk::connect(port);
        talk.expect("EHLO sender.example", "250");
        let mail = || {
            let reply = talk.mail("", &["ann@example.com"], message);
            assert!(reply.starts_with("250"), "{reply}");
        };
        std::iter::repeat_with(mail).take(count).count()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(deliver)).collect();
        all.into_iter().map(|one| one.join().expect("a sender")).sum()
    })
}

/// Dovecot has no proxy for this.
fn in_columns(mut samples: Samples) -> Samples {
    samples.insert(2, Vec::new());
    samples
}

/// nginx as a proxy for mail that comes in; its question where to go is answered by itself.
fn nginx(dir: &Path, server: u16) -> (Running, u16) {
    fs::create_dir_all(dir).expect("directory");
    let (plain, auth, d) = (free_port(), free_port(), dir.display());
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\nuser root;\nworker_processes 1;\n\
         daemon off;\npid {d}/pid;\nerror_log {d}/log;\nevents {{\n  worker_connections 4000;\n}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {d}/body;\n  proxy_temp_path {d}/proxy;\n  \
         fastcgi_temp_path {d}/fastcgi;\n  uwsgi_temp_path {d}/uwsgi;\n  scgi_temp_path {d}/scgi;\n  \
         server {{\n    listen 127.0.0.1:{auth};\n    location / {{\n      add_header Auth-Status OK;\n      \
         add_header Auth-Server 127.0.0.1;\n      add_header Auth-Port {server};\n      return 200;\n    }}\n  }}\n}}\n\
         mail {{\n  auth_http 127.0.0.1:{auth}/;\n  server_name nginx.example;\n  xclient off;\n  \
         proxy_buffer 64k;\n  smtp_auth none;\n  smtp_capabilities PIPELINING 8BITMIME;\n  \
         server {{\n    listen 127.0.0.1:{plain};\n    protocol smtp;\n  }}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), text).expect("nginx.conf");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(dir.join("nginx.conf"));
    let mut running = Running::start(command, &dir.join("out"));
    assert!(running.answers(plain, "220 "), "{}", running.output());
    (running, plain)
}
