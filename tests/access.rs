//! Who gets in and how: TLS, STARTTLS, LOGIN, what is offered, and pipelining.

mod lab;

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::{Dialogue, Dovecot, MAILFERRY, World, everything, mails, small, tools};

fn capabilities(client: &mut Dialogue) -> Vec<String> {
    let reply = client.ok("CAPABILITY");
    let line =
        reply.lines().into_iter().find(|l| l.starts_with("* CAPABILITY ")).expect("CAPABILITY");
    line.split(' ').skip(2).map(str::to_owned).collect()
}

#[test]
fn what_follows_starttls_in_clear_is_dropped() {
    let world = World::new().start();
    let mut client = Dialogue::connect(world.proxy.port);
    client.raw(b"a STARTTLS\r\nb LOGIN ann@example.com secret\r\nc NOOP\r\n");
    assert_eq!(client.until("a").status, "OK");
    let mut client = client.upgraded(&world.proxy.ca());
    client.send("d CAPABILITY");
    let reply = client.until("d");
    assert_eq!(reply.status, "OK");
    assert!(reply.lines().iter().all(|l| l.starts_with("* CAPABILITY")), "{reply:?}");
    assert_eq!(client.leftovers(Duration::from_millis(300)), [] as [String; 0]);
    client.cmd("SELECT INBOX").expect_status("BAD", "before login");
    assert!(!world.old.log().contains("Login: user="), "the smuggled LOGIN reached nobody");
}

#[test]
fn login_in_clear_is_refused_unless_configured() {
    let world = World::new().set("auth.allow_cleartext", "false").start();
    let mut client = Dialogue::connect(world.proxy.port);
    let offered = capabilities(&mut client);
    assert!(offered.contains(&"LOGINDISABLED".to_owned()), "{offered:?}");
    assert!(offered.contains(&"STARTTLS".to_owned()), "{offered:?}");
    assert!(!offered.iter().any(|c| c.starts_with("AUTH=")), "{offered:?}");
    client.no("LOGIN ann@example.com secret");
    client.no("AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=");
    let mut client = client.starttls(&world.proxy.ca());
    let offered = capabilities(&mut client);
    assert!(!offered.contains(&"LOGINDISABLED".to_owned()), "{offered:?}");
    assert!(!offered.contains(&"STARTTLS".to_owned()), "{offered:?}");
    client.ok("LOGIN ann@example.com secret");
    let mut client = Dialogue::connect_tls(world.proxy.tls_port, &world.proxy.ca());
    client.ok("LOGIN ann@example.com secret");
}

#[test]
fn every_form_of_login_reaches_the_same_account() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let port = world.proxy.port;
    let plain = STANDARD.encode(b"\0ann@example.com\0secret");
    let mut all = Vec::new();
    let mut client = Dialogue::connect(port);
    client.ok("LOGIN \"ann@example.com\" {6+}\r\nsecret");
    all.push(client);
    let mut client = Dialogue::connect(port);
    assert_eq!(client.literal("LOGIN ann@example.com ", b"secret", "").status, "OK");
    all.push(client);
    let mut client = Dialogue::connect(port);
    client.ok(&format!("AUTHENTICATE PLAIN {plain}"));
    all.push(client);
    let mut client = Dialogue::connect(port);
    client.send("x AUTHENTICATE PLAIN");
    client.wait_for(|r| r.starts_with('+'));
    client.send(&plain);
    assert_eq!(client.until("x").status, "OK");
    all.push(client);
    for client in &mut all {
        assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(3));
    }
}

#[test]
fn a_wrong_password_is_judged_once_by_old_only() {
    let world = World::new()
        .old(Dovecot::old_style().setting("auth_verbose = yes"))
        .new(Dovecot::new_style().setting("auth_verbose = yes"))
        .start();
    let mut client = Dialogue::connect(world.proxy.port);
    let refused = client.no("LOGIN ann@example.com wrong");
    assert!(refused.code("AUTHENTICATIONFAILED").is_some(), "{refused:?}");
    let failures = |log: String| log.matches("Password mismatch").count();
    assert_eq!(failures(world.old.log()), 1);
    assert_eq!(failures(world.new.log()), 0);
    client.ok("LOGIN ann@example.com secret");
    let log = world.proxy.log();
    assert!(!log.contains("secret") && !log.contains("wrong"), "V9: {log}");
}

#[test]
fn v10_the_same_is_offered_before_and_after_login() {
    let world = World::new().start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = Dialogue::connect_tls(world.proxy.tls_port, &world.proxy.ca());
    let differs = |c: &String| c.starts_with("AUTH=") || c == "SASL-IR" || c == "LOGINDISABLED";
    let strip = |all: Vec<String>| {
        all.into_iter().filter(|c| !differs(c)).collect::<std::collections::BTreeSet<_>>()
    };
    let before = strip(capabilities(&mut client));
    client.ok("LOGIN ann@example.com secret");
    let after = strip(capabilities(&mut client));
    assert_eq!(before, after);
    for needed in
        ["IMAP4rev1", "IDLE", "NAMESPACE", "UIDPLUS", "MOVE", "LITERAL+", "UNSELECT", "SPECIAL-USE"]
    {
        assert!(after.contains(needed), "{needed} in {after:?}");
    }
}

#[test]
fn pipelined_commands_are_answered_in_turn() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..5));
        new.seed("INBOX", &mails(10..13));
    });
    let mut client = Dialogue::connect(world.proxy.port);
    let mut all =
        b"1 LOGIN ann@example.com secret\r\n2 SELECT INBOX\r\n3 UID FETCH 1:* (FLAGS)\r\n".to_vec();
    all.extend_from_slice(
        b"4 STORE 1,7 +FLAGS (\\Flagged)\r\n5 SEARCH FLAGGED\r\n6 APPEND INBOX {",
    );
    all.extend_from_slice(format!("{}+}}\r\n", small(9).len()).as_bytes());
    all.extend_from_slice(&small(9));
    all.extend_from_slice(b"\r\n7 NOOP\r\n8 FETCH 9 (BODY.PEEK[])\r\n9 LOGOUT\r\n");
    client.raw(&all);
    assert_eq!(client.until("1").status, "OK");
    assert_eq!(client.until("2").count("EXISTS"), Some(8));
    assert_eq!(client.until("3").fetched().len(), 8);
    assert_eq!(client.until("4").fetched().len(), 2);
    let flagged = client.until("5").found();
    assert!(flagged.contains(&1) && flagged.contains(&7), "{flagged:?}");
    let appended = client.until("6");
    assert_eq!(appended.status, "OK");
    let noop = client.until("7");
    assert_eq!(appended.count("EXISTS").or(noop.count("EXISTS")), Some(9));
    assert_eq!(client.until("8").fetched()[0].body(), small(9));
    assert_eq!(client.until("9").status, "OK");
    assert!(client.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn broken_commands_are_answered_bad_and_the_session_goes_on() {
    let world = World::new().start();
    let mut client = world.proxy.client();
    for broken in
        ["FROBNICATE", "SELECT", "FETCH 1 (FLAGS)", "FETCH x y z", "APPEND INBOX {5", "STORE 1"]
    {
        client.bad(broken);
    }
    client.send("*");
    assert!(client.response().starts_with(b"* BAD"));
    client.ok("NOOP");
    client.ok("SELECT INBOX");
}

#[test]
fn a_master_user_copies_where_the_users_password_is_not_known_on_new() {
    let world = World::new()
        .old(Dovecot::old_style())
        .new(Dovecot::new_style().master("migrator", "master-key"))
        .set("new.credentials.mode", "\"master\"")
        .set("new.credentials.user", "\"migrator\"")
        .set("new.credentials.password_file", "\"master-password\"")
        .set("new.credentials.style", "\"separator\"")
        .set("new.credentials.separator", "\"*\"")
        .file("master-password", "master-key\n")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 2 (BODY[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 1);
    assert!(world.new.log().contains("ann@example.com"));
}

#[test]
fn curl_and_imaplib_trust_the_certificates_that_mailferry_makes() {
    let dir = lab::process::scratch();
    let certs = dir.path().join("certs");
    let made = tools::run(Command::new(MAILFERRY).args(["certs", "--dir"]).arg(&certs));
    assert!(made.success, "{}", made.text);
    let quoted = |name: &str| format!("{:?}", certs.join(name));
    let world = World::new()
        .set("tls.cert", &quoted("proxy.pem"))
        .set("tls.key", &quoted("proxy.key"))
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..4));
            new.seed("INBOX", &mails(10..12));
        });
    let ca = certs.join("ca.pem").display().to_string();
    let (port, tls_port) = (world.proxy.port.to_string(), world.proxy.tls_port.to_string());

    let said = tools::python("clients.py", &[&port, &tls_port, &ca, "ann@example.com", "secret"]);
    assert!(said.success, "{}", said.text);

    for (url, how) in [
        (format!("imap://localhost:{port}/INBOX;MAILINDEX=2"), "--ssl-reqd"),
        (format!("imaps://localhost:{tls_port}/INBOX;MAILINDEX=2"), "--silent"),
    ] {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--cacert",
            &ca,
            how,
            "--user",
            "ann@example.com:secret",
            &url,
        ]);
        let said = tools::run(&mut curl);
        assert!(said.success, "{url}: {}", said.text);
        assert_eq!(said.text.as_bytes(), small(1), "{url}");
    }
    let message = dir.path().join("message");
    fs::write(&message, small(77)).expect("message");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--cacert",
        &ca,
        "--user",
        "ann@example.com:secret",
        "-T",
    ]);
    let said = tools::run(curl.arg(&message).arg(format!("imaps://localhost:{tls_port}/INBOX")));
    assert!(said.success, "{}", said.text);
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(shown.len(), 7 + 2, "two by imaplib, one by curl");
    assert_eq!(shown.iter().filter(|m| m.octets == small(77)).count(), 1);
}

fn password(server: &lab::Server, password: &str) {
    let line = format!("ann@example.com:{{PLAIN}}{password}\n");
    fs::write(server.dir.join("passwd"), line).expect("passwd");
}

#[test]
fn a_password_that_comes_to_new_later_is_used_at_the_next_login() {
    let world = World::new().set("auth.remember", "\"1s\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(10..12));
        password(new, "not yet");
    });
    let mut first = world.proxy.client();
    assert_eq!(first.ok("SELECT INBOX").count("EXISTS"), Some(3), "old alone");
    password(&world.new, "secret");
    lab::eventually("both", || {
        let mut client = world.proxy.client();
        (client.ok("SELECT INBOX").count("EXISTS") == Some(5)).then_some(())
    });
}
