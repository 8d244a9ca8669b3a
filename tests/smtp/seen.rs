//! What an operator sees of mail: metrics, and `check`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Between;
use super::lab::process::free_port;
use super::lab::proxy::LISTEN;
use super::lab::{Sink, eventually};

/// The exposition as it is now.
fn metrics(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the admin listener");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer t0ken\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn messages_are_counted_by_listener_side_and_outcome() {
    let port = free_port();
    let listen = format!("[[listen]]\nprotocol = \"admin\"\naddress = \"127.0.0.1:{port}\"\n");
    let archive = Sink::new().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let between = Between::sinks(&[
        ("admin.token_file", "\"token\""),
        ("file:token", "t0ken\n"),
        (LISTEN, &listen),
        ("journal.server", &server),
        ("journal.domains", "[\"example.org\"]"),
        ("smtp.trusted", "[\"127.0.0.1\"]"),
    ]);
    let mut ann = between.ann();
    assert!(ann.mail("ann@example.com", &["x@y.example"], "sent").starts_with("250"));
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.org"], "archived").starts_with("250"));
    archive.manners(|line| (line == ".").then(|| "452 4.3.1 full".to_owned()));
    assert!(talk.mail("", &["ann@example.org"], "not now").starts_with("451"));
    assert!(talk.mail("", &["ann@example.com"], "smuggled\n.\nin").starts_with("550"));
    between.new.manners(|line| (line == ".").then(|| "554 5.7.1 spam".to_owned()));
    assert!(talk.mail("", &["ann@example.com"], "spam").starts_with("554"));
    between.new.manners(|line| (line == "DATA").then(|| "451 4.3.0 later".to_owned()));
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("DATA", "451");
    let text = metrics(port);
    let series = |name: &str, labels: &[&str]| {
        let fits = |line: &&str| line.starts_with(name) && labels.iter().all(|l| line.contains(l));
        let lines: Vec<&str> = text.lines().filter(fits).collect();
        assert_eq!(lines.len(), 1, "{name} {labels:?}: {lines:?} in {text}");
        lines[0].rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    for (listener, outcome, count) in [
        ("submission", "accepted", 1),
        ("smtp", "accepted", 1),
        ("smtp", "refused", 2),
        ("smtp", "deferred", 2),
    ] {
        let labels = [
            &format!("listener=\"{listener}\"")[..],
            &format!("outcome=\"{outcome}\""),
            "side=\"new\"",
        ];
        assert_eq!(series("mailferry_mail_messages_total{", &labels), count, "{labels:?}");
    }
    assert_eq!(series("mailferry_mail_bytes_total{", &["submission"]), 9);
    assert_eq!(series("mailferry_mail_sessions{", &["submission"]), 1);
    assert_eq!(series("mailferry_mail_sessions{", &["\"smtp\""]), 1);
    assert_eq!(series("mailferry_journal_messages_total{", &["accepted"]), 1);
    assert_eq!(series("mailferry_journal_messages_total{", &["deferred"]), 1);
    assert_eq!(series("mailferry_mail_flawed_total{", &["bare_lf"]), 1);
    drop((ann, talk));
    eventually("both sessions have ended", || {
        let text = metrics(port);
        let none = |who: &str| text.contains(&format!("mail_sessions{{listener=\"{who}\"}} 0\n"));
        (none("submission") && none("smtp")).then_some(())
    });
    let log = between.world.proxy.log();
    for line in ["message accepted", "message archived", "the archive refused", "bare LF received"]
    {
        assert!(log.contains(line), "{line}");
    }
}

#[test]
fn check_looks_at_the_servers_that_take_mail() {
    let archive = Sink::new().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let between =
        Between::sinks(&[("journal.server", server.as_str()), ("file:password", "secret\n")]);
    let file = between.world.proxy.config().with_file_name("password");
    let check = |json: bool| {
        let file = file.display().to_string();
        let mut all = vec!["check", "--user", "ann@example.com", "--password-file", &file];
        all.extend(json.then_some("--json"));
        let said = between.world.proxy.run(&all);
        let text = [said.stdout, said.stderr].concat();
        (said.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = check(false);
    assert_eq!(code, Some(0), "{text}");
    for service in ["submission", "inbound", "archive"] {
        let about = |line: &&str| line.trim_start().starts_with(&format!("{service} "));
        let line = text.lines().find(about);
        let line = line.unwrap_or_else(|| panic!("{service} in {text}"));
        assert!(line.contains("reached, not encrypted") && line.contains("PIPELINING"), "{line}");
        assert_eq!(line.contains("login ok"), service == "submission", "{line}");
    }
    // No message was sent, and nobody was named.
    for sink in [&between.old, &between.new, &archive] {
        assert!(
            sink.heard().iter().all(|line| !line.starts_with("MAIL") && !line.starts_with("RCPT"))
        );
    }
    between.new.manners(|line| line.starts_with("AUTH").then(|| "535 5.7.8 who".to_owned()));
    archive.manners(|line| line.is_empty().then(|| "554 5.7.1 go away".to_owned()));
    let (code, text) = check(true);
    assert_eq!(code, Some(1), "{text}");
    let found: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
    assert_eq!(found["ok"], false);
    let failures = found["failures"].as_array().expect("failures");
    let said: Vec<&str> = failures.iter().filter_map(|failure| failure["said"].as_str()).collect();
    assert!(said.iter().any(|said| said.contains("535 5.7.8 who")), "{said:?}");
    assert!(said.iter().any(|said| said.contains("554 5.7.1 go away")), "{said:?}");
    assert!(!text.contains("secret"), "V9");
}
