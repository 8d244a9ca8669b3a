//! The admin listener: metrics that Prometheus reads, health, and who is told what.

mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::process::{Running, free_port, scratch, unpacked};
use lab::{World, eventually, mails};
use serde_json::Value;

/// What came back for one request, as status, head and body.
fn get(port: u16, path: &str, headers: &str) -> (u16, String, String) {
    say(
        port,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
    )
}

fn say(port: u16, octets: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the admin listener");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // It may hang up in the midst of what is too long.
    drop(stream.write_all(octets));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

const TOKEN: &str = "Authorization: Bearer t0ken\r\n";

/// A world with an admin listener, and its port.
fn world(builder: lab::Builder) -> (World, u16) {
    let port = free_port();
    let listen = format!("[[listen]]\nprotocol = \"admin\"\naddress = \"127.0.0.1:{port}\"\n");
    let world = builder
        .set("admin.token_file", "\"token\"")
        .file("token", "t0ken\n")
        .set(lab::proxy::LISTEN, &listen)
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    (world, port)
}

#[test]
fn metrics_are_valid_openmetrics_and_count_what_is_done() {
    let (mut world, port) = world(World::new().set("admin.metrics_per_account", "true"));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* BODY.PEEK[]");
    client.no("SELECT \"No such mailbox\"");
    client.bad("NONSENSE");
    eventually("all is copied", || {
        let (status, _, text) = get(port, "/metrics", TOKEN);
        assert_eq!(status, 200, "{text}");
        // An account's own figures may be some seconds old.
        let told = ["copies_total", "account_copied{account=\"ann@example.com\"}"];
        told.iter().all(|t| text.contains(&format!("\nmailferry_{t} 3\n"))).then_some(())
    });
    world.old.stop();
    let _second = world.proxy.client_of("ann@example.com", "secret");
    let (status, head, text) = get(port, "/metrics", TOKEN);
    assert_eq!(status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.to_ascii_lowercase().contains(kind), "{head}");
    // By the reference implementation's parser, which takes nothing that the standard does not.
    let mut python = Command::new("/usr/bin/python3")
        .arg("-c")
        .arg(PARSE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    python.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a write");
    let parsed = python.wait_with_output().expect("python3");
    let said = String::from_utf8_lossy(&parsed.stderr);
    assert!(parsed.status.success(), "{said}\n{text}");
    let samples: Value = serde_json::from_slice(&parsed.stdout).expect("JSON");
    let sample = |name: &str| samples[name].as_f64().unwrap_or_else(|| panic!("{name} in {text}"));
    assert_eq!(sample("mailferry_copies_total{}"), 3.0);
    assert!(sample("mailferry_copied_bytes_total{}") > 300.0);
    assert_eq!(sample("mailferry_sessions{}"), 2.0);
    assert_eq!(sample("mailferry_accounts{phase=merged}"), 1.0);
    assert_eq!(sample("mailferry_account_copied{account=ann@example.com}"), 3.0);
    assert_eq!(sample("mailferry_command_seconds_count{command=FETCH,outcome=ok}"), 1.0);
    assert_eq!(sample("mailferry_command_seconds_count{command=SELECT,outcome=no}"), 1.0);
    assert_eq!(sample("mailferry_command_seconds_count{command=unknown,outcome=bad}"), 1.0);
    assert!(
        sample("mailferry_backend_command_seconds_count{command=APPEND,outcome=ok,side=new}")
            >= 1.0
    );
    assert!(sample("mailferry_index_size_bytes{}") > 0.0);
}

#[test]
fn a_real_prometheus_takes_the_metrics_in() {
    let (world, port) = world(World::new().set("admin.metrics_per_account", "true"));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* BODY.PEEK[]");
    client.no("SELECT \"No such mailbox\"");
    let (dir, web) = (scratch(), free_port());
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n- job_name: mailferry\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
         authorization: {{credentials: t0ken}}\n  static_configs: [{{targets: [\"127.0.0.1:{port}\"]}}]\n"
    );
    std::fs::write(&config, text).expect("its configuration");
    let mut command = Command::new(unpacked("prometheus").join("usr/bin/prometheus"));
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{web}"));
    let prometheus = Running::start(command, &dir.path().join("log"));
    let ask = |path: &str| -> Value {
        // Not listening yet, it answers nothing.
        let Ok(_) = TcpStream::connect(("127.0.0.1", web)) else { return Value::Null };
        serde_json::from_str(&get(web, path, "").2).unwrap_or_default()
    };
    let value = |query: &str| {
        let answer = ask(&format!("/api/v1/query?query={query}"));
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    // What it does not read whole it takes nothing of.
    let at_last = |query: &str, wanted: &str| {
        eventually(&format!("{query} is {wanted}: {}", prometheus.output()), || {
            (value(query).as_deref() == Some(wanted)).then_some(())
        });
    };
    at_last("up", "1");
    at_last("mailferry_copies_total", "3");
    at_last("mailferry_account_copied{account=\"ann@example.com\"}", "3");
    at_last(
        "mailferry_command_seconds_bucket{command=\"FETCH\",outcome=\"ok\",le=\"%2BInf\"}",
        "1",
    );
    at_last("count(mailferry_build_info)", "1");
    let about = ask("/api/v1/metadata?metric=mailferry_copied_bytes");
    let about = &about["data"]["mailferry_copied_bytes"][0];
    assert_eq!((&about["type"], &about["unit"]), (&"counter".into(), &"bytes".into()), "{about}");
}

/// Reads the exposition strictly and writes its samples as JSON.
const PARSE: &str = "\
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
samples = {}
for family in parse(sys.stdin.read()):
    assert family.documentation, family.name
    for s in family.samples:
        labels = ','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))
        samples[s.name + '{' + labels + '}'] = s.value
print(json.dumps(samples))
";

#[test]
fn health_is_told_to_everybody_and_nothing_else_without_the_token() {
    let (mut world, port) = world(World::new());
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(port, path, "").0, 200, "{path}");
    }
    for path in ["/metrics", "/status"] {
        let wrong = "Authorization: Bearer token\r\n";
        for headers in ["", wrong, "Authorization: Basic t0ken\r\n", "Authorization: B\r\n"] {
            let (status, head, body) = get(port, path, headers);
            assert_eq!(status, 401, "{path} {headers}");
            assert!(head.to_ascii_lowercase().contains("www-authenticate: bearer"), "{head}");
            assert!(!body.contains("ann"), "{body}");
        }
        assert_eq!(get(port, path, TOKEN).0, 200, "{path}");
    }
    let status: Value = serde_json::from_str(&get(port, "/status", TOKEN).2).expect("JSON");
    assert_eq!(status["phases"]["merged"], 0);
    assert_eq!(get(port, "/", "").0, 404);
    let post =
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(say(port, post).0, 405);
    // A head without end is not gathered without end.
    let endless = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let answer = say(port, &endless);
    assert!(matches!(answer.0, 0 | 400..=499), "{answer:?}");
    assert_eq!(say(port, b"\0\0\0\r\n\r\n").0, 400);
    assert_eq!(get(port, "/healthz", "").0, 200);
    let (text, code) = {
        let output = world.proxy.run(&["status", "--json"]);
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(world.proxy.stop(), Some(0));
}

#[test]
fn the_proxy_is_not_ready_while_nobody_can_judge_a_password() {
    let (mut world, port) = world(World::new().set("limits.backend_failures", "1"));
    world.old.stop();
    let mut client = lab::Dialogue::connect(world.proxy.port);
    client.no("LOGIN ann@example.com secret");
    let (status, _, body) = get(port, "/readyz", "");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("the old server, which checks passwords, cannot be reached"), "{body}");
    assert_eq!(get(port, "/healthz", "").0, 200);
}
