//! Clients that mean no good, and clients that are in a hurry.

use super::lab::{Sink, Talk, eventually};
use super::{Between, heard};

const SECRET: &str = "AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=";

#[track_caller]
fn replies(talk: &mut Talk, expected: &[&str]) {
    for (n, beginning) in expected.iter().enumerate() {
        let reply = talk.reply();
        assert!(reply.starts_with(beginning), "reply {n}: {reply}, not {beginning}");
    }
}

/// A whole session in one packet, as some clients send it: each command has its own answer, in order.
#[test]
fn all_at_once() {
    let between = Between::sinks(&[]);
    // Before EHLO, nothing counts.
    let mut talk = Talk::silent(between.world.proxy.mail.smtp);
    talk.raw(b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nEHLO a.example\r\nNOOP\r\n");
    replies(&mut talk, &["220", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250", "250 2.0.0"]);
    // With it, all of it does, the message too.
    let mut talk = Talk::silent(between.world.proxy.mail.smtp);
    talk.raw(
        b"EHLO a.example\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nRCPT TO:<x@y.example>\r\n\
          DATA\r\nSubject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n",
    );
    let expected = ["220", "250", "250", "250", "550 5.7.1", "354", "250", "250", "250", "221"];
    replies(&mut talk, &expected);
    assert!(talk.is_closed());
    assert_eq!(between.new.taken().len(), 1);
    // Thunderbird's way: MAIL, RCPT and DATA together, after the login.
    let mut ann = between.ann();
    ann.raw(
        b"MAIL FROM:<ann@example.com> BODY=8BITMIME SIZE=10\r\nRCPT TO:<x@y.example>\r\nDATA\r\n",
    );
    replies(&mut ann, &["250", "250", "354"]);
    ann.raw(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n");
    replies(&mut ann, &["250", "221"]);
    // Where no recipient is left, what was meant for the message is no command either.
    between.new.manners(|line| line.starts_with("RCPT").then(|| "550 5.1.1 who".to_owned()));
    let mut ann = between.ann();
    ann.raw(b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n");
    replies(&mut ann, &["250", "550 5.1.1", "554 5.5.1"]);
}

/// What comes in place of a secret is no command, and what comes behind a goodbye is nothing.
#[test]
fn commands_where_none_may_be() {
    let between = Between::sinks(&[]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    talk.expect("AUTH PLAIN", "334");
    talk.expect("MAIL FROM:<ann@example.com>", "501 5.5.2");
    talk.expect("MAIL FROM:<ann@example.com>", "530");
    talk.expect(SECRET, "235");
    talk.expect(SECRET, "503 5.5.1");
    talk.expect("EHLO other.example", "250");
    talk.expect(SECRET, "503 5.5.1");
    talk.raw(b"QUIT\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<x@y.example>\r\n");
    replies(&mut talk, &["221"]);
    assert!(talk.is_closed());
    // Behind 421.
    let mut talk = between.stranger();
    let burst = [b"WHAT\r\n".repeat(20), b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\n".to_vec()];
    talk.raw(&burst.concat());
    replies(&mut talk, &["500"; 20]);
    replies(&mut talk, &["421 4.7.0"]);
    assert!(talk.is_closed());
    for sink in [&between.old, &between.new] {
        assert_eq!(heard(sink, "MAIL"), Vec::<String>::new());
    }
}

/// Routes and literals of every kind: those that end here are delivered here, and nothing else is.
#[test]
fn addresses_with_routes() {
    let between = Between::sinks(&[("smtp.unknown", "\"new\"")]);
    let long = format!("{}@example.com", "a".repeat(65));
    let longest = format!("{}@example.com", "a".repeat(600));
    for (to, reply, told) in [
        ("<@relay.example:ann@example.com>", "250", Some("<ann@example.com>")),
        ("<@a.example,@b.example:ann@example.com>", "250", Some("<ann@example.com>")),
        ("<\"a b\"@example.com>", "250", Some("<\"a b\"@example.com>")),
        ("<\"ann\"@example.com>", "250", Some("<ann@example.com>")),
        (&format!("<{long}>"), "250", Some(&format!("<{long}>"))),
        ("<@example.com:victim@elsewhere.example>", "550 5.7.1", None),
        ("<ann@[127.0.0.1]>", "550 5.7.1", None),
        ("<ann@[IPv6:::1]>", "550 5.7.1", None),
        ("<\"victim@elsewhere.example\"@example.com>", "550 5.7.1", None),
        ("<victim%elsewhere.example@example.com>", "550 5.7.1", None),
        ("<elsewhere.example!victim@example.com>", "550 5.7.1", None),
        ("<ann@example.com.>", "501", None),
        ("<ann@example.com>,<victim@elsewhere.example>", "501", None),
        ("<ann@example.com> <victim@elsewhere.example>", "501", None),
        ("<ann@example.com\u{1}>", "501", None),
        ("<\"a\\\u{7f}\"@example.com>", "501", None),
        (&format!("<{longest}>"), "501", None),
    ] {
        let mut talk = between.stranger();
        talk.expect("MAIL FROM:<>", "250");
        talk.expect(&format!("RCPT TO:{to}"), reply);
        let heard = heard(&between.new, "RCPT");
        assert_eq!(
            heard.first().map(String::as_str),
            told.map(|to| format!("RCPT TO:{to}")).as_deref()
        );
        between.new.forget();
    }
    assert_eq!(heard(&between.old, "RCPT"), Vec::<String>::new());
}

/// A server's answers, however odd, end where they end: nothing in them answers another command.
#[test]
fn answers_of_odd_servers() {
    let between = Between::sinks(&[("smtp.unknown", "\"new\"")]);
    for (step, said, reply) in [
        ("RCPT", "250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 taken", "250"),
        ("RCPT", "334 what", "451 4.3.0"),
        ("RCPT", "hello", "451 4.3.0"),
        ("RCPT", "250-one\r\n550 two", "451 4.3.0"),
        ("RCPT", "421 4.3.2 closing", "451 4.3.2"),
    ] {
        between.new.manners(move |line| line.starts_with(step).then(|| said.to_owned()));
        let mut talk = between.stranger();
        talk.expect("MAIL FROM:<>", "250");
        talk.expect("RCPT TO:<ann@example.com>", reply);
        // What was said too much costs the connection, not the message.
        let data = talk.cmd("DATA");
        assert!(["451", "503", "554"].iter().any(|code| data.starts_with(code)), "{data}");
        assert_eq!(between.new.taken(), []);
    }
    between.new.manners(|_| None);
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
}

/// Many clients that connect and say nothing, or half a line, keep nobody else out.
#[test]
fn who_dawdles_holds_up_nobody() {
    let between =
        Between::sinks(&[("smtp.unknown", "\"new\""), ("limits.sessions_per_address", "0")]);
    let port = between.world.proxy.mail.smtp;
    let slow: Vec<Talk> = (0..100)
        .map(|_| {
            let mut talk = Talk::silent(port);
            talk.raw(b"EHLO slow.exam");
            talk
        })
        .collect();
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
    drop(slow);
}

/// Half of a chunk, and its client is gone: nobody has a message.
#[test]
fn half_a_chunk_is_none() {
    let archive = Sink::new().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let between =
        Between::sinks(&[("smtp.unknown", "\"new\""), ("journal.server", server.as_str())]);
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.raw(b"BDAT 20 LAST\r\nSubject: half\r\n");
    eventually("both have heard some of it", || {
        (between.new.octets() > 0 && archive.octets() > 0).then_some(())
    });
    drop(talk);
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.com"], "whole").starts_with("250"));
    assert_eq!((between.new.taken().len(), archive.taken().len()), (1, 1));
}
