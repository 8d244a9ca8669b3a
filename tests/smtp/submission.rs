//! Users who send.

use super::lab::{Sink, Talk, eventually};
use super::{Between, heard};

const MESSAGE: &str = "Subject: hello\r\n\r\n.one dot\r\n..two\r\n";

#[test]
fn a_message_goes_out_and_what_the_server_says_comes_back() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    between.new.manners(|line| match line {
        _ if line.starts_with("MAIL") => Some("250-2.1.0 first\r\n250 2.1.0 second".to_owned()),
        _ if line.starts_with("RCPT TO:<nobody") => {
            Some("550-5.1.1 No\r\n550 5.1.1 such user".to_owned())
        }
        _ if line.starts_with("RCPT TO:<slow") => Some("450 busy".to_owned()),
        "." => Some("250 2.0.0 Ok: queued as 4711".to_owned()),
        _ => None,
    });
    let reply = ann.cmd("MAIL FROM:<ann@example.com> BODY=8BITMIME RET=HDRS SIZE=99");
    assert_eq!(reply, "250-2.1.0 first\n250 2.1.0 second");
    assert_eq!(ann.cmd("RCPT TO:<nobody@x.example>"), "550-5.1.1 No\n550 5.1.1 such user");
    assert_eq!(ann.cmd("RCPT TO:<slow@x.example>"), "450 4.0.0 busy");
    ann.expect(
        "RCPT TO:<carl@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;carl@x.example",
        "250",
    );
    ann.expect("DATA", "354");
    ann.raw(format!("{}\r\n.\r\n", MESSAGE.replace("\r\n.", "\r\n..")).as_bytes());
    assert_eq!(ann.reply(), "250 2.0.0 Ok: queued as 4711");
    let taken = between.new.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].from, "MAIL FROM:<ann@example.com> SIZE=99 BODY=8BITMIME RET=HDRS");
    let to = "RCPT TO:<carl@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;carl@x.example";
    assert_eq!(taken[0].to, [to]);
    let text = taken[0].text();
    let (trace, rest) = text.split_once("\r\n").expect("a trace field");
    assert!(trace.starts_with("Received: from client.example ([127.0.0.1]) by proxy.example (Mailferry) with ESMTPA id "), "{trace}");
    assert_eq!(rest, format!("{MESSAGE}\r\n"));
    assert_eq!(between.old.taken(), []);
    // The connection goes on.
    assert!(ann.mail("ann@example.com", &["x@y.example"], "again").starts_with("250"));
    ann.expect("QUIT", "221");
    assert_eq!(heard(&between.new, "AUTH").len(), 1);
}

#[test]
fn who_sends_is_counted_and_kicked_also_in_the_middle_of_a_message() {
    let between = Between::sinks(&[]);
    let sessions = || {
        let status = between.world.proxy.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        status["accounts"][0]["sessions"].clone()
    };
    let (mut idle, mut sending) = (between.ann(), between.ann());
    assert_eq!(sessions(), 2);
    sending.expect("MAIL FROM:<ann@example.com>", "250");
    sending.expect("RCPT TO:<carl@x.example>", "250");
    sending.expect("DATA", "354");
    sending.raw(b"Subject: half of\r\n");
    let kicked = between.world.proxy.run(&["kick", "ann@example.com"]);
    assert_eq!(String::from_utf8_lossy(&kicked.stdout), "ann@example.com: 2 sessions ended\n");
    for client in [&mut idle, &mut sending] {
        assert_eq!(client.reply(), "421 4.3.2 Ended by the administrator, please connect again");
        assert!(client.is_closed());
    }
    assert_eq!(sessions(), 0);
    assert_eq!(between.new.taken(), []);
    // They may come again.
    assert!(between.ann().mail("ann@example.com", &["x@y.example"], "again").starts_with("250"));
}

#[test]
fn both_servers_together_are_offered() {
    let old = Sink::new().offers(&["SIZE 5000", "8BITMIME", "DSN", "AUTH PLAIN"]);
    let between = Between::these(old, Sink::new(), &[]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    let offered = talk.expect("EHLO client.example", "250");
    let lines: Vec<&str> = offered.lines().map(|line| &line[4..]).collect();
    for line in [
        "PIPELINING",
        "SIZE 5000",
        "8BITMIME",
        "DSN",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
        "AUTH PLAIN LOGIN",
    ] {
        assert!(lines.contains(&line), "{line}: {offered}");
    }
    assert!(!offered.contains("SMTPUTF8") && !offered.contains("XCLIENT"), "{offered}");
    assert!(!talk.expect("HELO client.example", "250").contains('\n'));
}

#[test]
fn v9_nobody_logs_in_without_tls() {
    let between = Between::sinks(&[("auth.allow_cleartext", "false")]);
    let proxy = &between.world.proxy;
    let mut talk = Talk::connect(proxy.mail.submission);
    let offered = talk.expect("EHLO client.example", "250");
    assert!(!offered.contains("AUTH"), "{offered}");
    let reply = talk.auth("ann@example.com", "secret");
    assert!(reply.starts_with("538 5.7.11"), "{reply}");
    talk.expect("MAIL FROM:<ann@example.com>", "530 5.7.0 Must issue a STARTTLS");
    talk.starttls(&proxy.ca());
    // Whoever was greeted in clear is a stranger now.
    talk.expect("MAIL FROM:<ann@example.com>", "503");
    let offered = talk.expect("EHLO client.example", "250");
    assert!(offered.contains("AUTH PLAIN LOGIN") && !offered.contains("STARTTLS"), "{offered}");
    talk.expect("MAIL FROM:<ann@example.com>", "530 5.7.0 Authentication");
    assert!(talk.auth("ann@example.com", "secret").starts_with("235"));
    assert!(talk.mail("ann@example.com", &["x@y.example"], "hello").starts_with("250"));
    assert!(between.new.taken()[0].text().contains("with ESMTPSA id"));
    let mut talk = Talk::connect_tls(proxy.mail.submissions, &proxy.ca());
    talk.expect("EHLO client.example", "250");
    assert!(talk.auth("ann@example.com", "secret").starts_with("235"));
}

/// What is sent in clear behind STARTTLS, by whoever sits on the line, has no effect inside of TLS.
#[test]
fn nothing_sent_before_tls_counts_after_it() {
    let between = Between::sinks(&[]);
    let proxy = &between.world.proxy;
    let mut talk = Talk::connect(proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    talk.raw(b"STARTTLS\r\nEHLO injected.example\r\nMAIL FROM:<injected@example.com>\r\n");
    assert!(talk.reply().starts_with("220"));
    talk.upgrade(&proxy.ca());
    // No answer to what was injected comes first, and nobody was greeted.
    talk.expect("MAIL FROM:<ann@example.com>", "503 5.5.1 Say EHLO first");
    talk.expect("NOOP", "250");
    // The same in a part that arrives later, but in clear: it is no TLS.
    let mut talk = Talk::connect(proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    talk.expect("STARTTLS", "220");
    talk.raw(b"EHLO injected.example\r\nNOOP\r\n");
    assert!(!talk.reply().starts_with("250"));
    assert_eq!(between.new.taken(), []);
}

/// A server, or who sits on the line to it, that says more in clear than its answer to STARTTLS.
#[test]
fn a_server_that_injects_before_tls_is_not_used() {
    let new = Sink::new().offers(&["STARTTLS", "AUTH PLAIN"]).start();
    new.manners(|line| {
        let injected = "220 go on\r\n250 2.7.0 injected\r\n235 2.7.0 injected";
        (line == "STARTTLS").then(|| injected.to_owned())
    });
    let endpoint = format!("\"submission://127.0.0.1:{}\"", new.port);
    let between = Between::sinks(&[("new.submission", &endpoint), ("old.submission", &endpoint)]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    let reply = talk.auth("ann@example.com", "secret");
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    talk.expect("MAIL FROM:<ann@example.com>", "530");
    assert_eq!(heard(&new, "AUTH"), Vec::<String>::new());
    assert!(between.world.proxy.log().contains("behind its answer to STARTTLS"));
}

/// A server that offers no STARTTLS, be it because somebody took that away, gets no password.
#[test]
fn v9_a_server_without_tls_gets_no_password() {
    let new = Sink::new().offers(&["AUTH PLAIN"]).start();
    let endpoint = format!("\"submission://127.0.0.1:{}\"", new.port);
    let between = Between::sinks(&[("new.submission", &endpoint), ("old.submission", &endpoint)]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    assert!(talk.auth("ann@example.com", "secret").starts_with("454 4.7.0"));
    assert_eq!(heard(&new, "AUTH"), Vec::<String>::new());
}

#[test]
fn old_sends_where_new_does_not_let_the_user_in() {
    let between = Between::sinks(&[]);
    between.new.manners(|line| line.starts_with("AUTH").then(|| "535 5.7.8 who".to_owned()));
    let mut ann = between.ann();
    assert!(ann.mail("ann@example.com", &["x@y.example"], "hello").starts_with("250"));
    assert_eq!((between.old.taken().len(), between.new.taken().len()), (1, 0));
    // Old first, if the operator wants it so.
    let between = Between::sinks(&[("smtp.submission", "\"old\"")]);
    between.ann();
    assert_eq!(heard(&between.new, "AUTH"), Vec::<String>::new());
    assert_eq!(heard(&between.old, "AUTH").len(), 1);
    // Neither.
    for side in [&between.old, &between.new] {
        side.manners(|line| line.starts_with("AUTH").then(|| "535 5.7.8 who".to_owned()));
    }
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    assert!(talk.auth("ann@example.com", "secret").starts_with("535 5.7.8"));
    // Not now is not no.
    between.new.manners(|line| line.starts_with("AUTH").then(|| "454 4.7.0 later".to_owned()));
    assert!(talk.auth("ann@example.com", "secret").starts_with("454 4.7.0"));
}

#[test]
fn a_wrong_password_is_tried_once_and_three_end_the_connection() {
    let between = Between::sinks(&[]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    for _ in 0..3 {
        assert!(talk.auth("ann@example.com", "wrong").starts_with("535 5.7.8"));
    }
    assert!(talk.reply().starts_with("421 4.7.0"));
    assert!(talk.is_closed());
    for sink in [&between.old, &between.new] {
        assert_eq!(heard(sink, "AUTH"), Vec::<String>::new());
    }
    let attempts = |log: String| log.matches("auth failed").count();
    let tried = eventually("old has written its log", || {
        let tried = attempts(between.world.old.log());
        (tried > 0).then_some(tried)
    });
    assert!(tried <= 3, "{tried}");
    assert_eq!(attempts(between.world.new.log()), 0);
    assert!(!between.world.proxy.log().contains("wrong"));
}

#[test]
fn login_in_its_forms() {
    let between = Between::sinks(&[]);
    let port = between.world.proxy.mail.submission;
    let start = || {
        let mut talk = Talk::connect(port);
        talk.expect("EHLO client.example", "250");
        talk
    };
    let mut talk = start();
    talk.expect("AUTH LOGIN", "334 VXNlcm5hbWU6");
    talk.expect("YW5uQGV4YW1wbGUuY29t", "334 UGFzc3dvcmQ6");
    talk.expect("c2VjcmV0", "235 2.7.0");
    talk.expect("AUTH LOGIN", "503");
    let mut talk = start();
    talk.expect("AUTH LOGIN YW5uQGV4YW1wbGUuY29t", "334 UGFzc3dvcmQ6");
    talk.expect("*", "501 5.7.0");
    talk.expect("AUTH PLAIN", "334 ");
    talk.expect("AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=", "235");
    let mut talk = start();
    for (line, reply) in [
        ("AUTH PLAIN !", "501 5.5.2"),
        ("AUTH PLAIN =", "501"),
        ("AUTH CRAM-MD5", "504 5.5.4"),
        // For somebody else.
        ("AUTH PLAIN Ym9iAGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=", "535"),
    ] {
        talk.expect(line, reply);
    }
    talk.expect("MAIL FROM:<ann@example.com>", "530");
}

#[test]
fn no_command_is_taken_out_of_order() {
    let between = Between::sinks(&[]);
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    for line in ["MAIL FROM:<a@b.example>", "RCPT TO:<a@b.example>", "DATA", "BDAT 0 LAST"] {
        talk.expect(line, "503");
    }
    talk.expect("AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=", "503");
    drop(talk);
    let mut ann = between.ann();
    ann.expect("RCPT TO:<a@b.example>", "503");
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("MAIL FROM:<ann@example.com>", "503");
    ann.expect("DATA", "554 5.5.1");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.expect("AUTH PLAIN", "503");
    ann.expect("RSET", "250");
    ann.expect("DATA", "503");
    ann.expect("VRFY ann", "252");
    ann.expect("EXPN all", "500");
    assert_eq!(between.new.taken(), []);
}

#[test]
fn chunks_become_data() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.raw(b"BDAT 12\r\nSubject: x\r\nBDAT 3\r\n\r\n.");
    assert!(ann.reply().starts_with("250 2.0.0 12"));
    assert!(ann.reply().starts_with("250 2.0.0 3"));
    ann.expect("MAIL FROM:<ann@example.com>", "503");
    ann.raw(b"BDAT 7 LAST\r\n\r\n.\r\nxy");
    assert!(ann.reply().starts_with("250"));
    let text = between.new.taken()[0].text();
    assert_eq!(text.split_once("\r\n").expect("trace").1, "Subject: x\r\n\r\n.\r\n.\r\nxy\r\n");
    assert_eq!(heard(&between.new, "BDAT"), Vec::<String>::new());
    // Without a transaction the octets are taken all the same, and nothing in them is a command.
    ann.raw(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    assert!(ann.reply().starts_with("503"));
    assert!(ann.reply().starts_with("503"));
    assert!(ann.reply().starts_with("250"));
    // RSET in the middle: the server never sees an end.
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.raw(b"BDAT 3\r\nabc");
    assert!(ann.reply().starts_with("250"));
    ann.expect("RSET", "250");
    assert!(ann.mail("ann@example.com", &["a@b.example"], "other").starts_with("250"));
    let taken = between.new.taken();
    assert!(taken.len() == 2 && !taken[1].text().contains("abc"), "{taken:?}");
}

#[test]
fn a_burst_is_answered_in_order() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    let mut burst = String::new();
    for n in 0..50 {
        burst += &format!(
            "MAIL FROM:<ann@example.com>\r\nRCPT TO:<u{n}@b.example>\r\nBDAT 8 LAST\r\nmail{n:02}\r\n"
        );
    }
    ann.raw(format!("{burst}NOOP\r\n").as_bytes());
    for _ in 0..151 {
        let reply = ann.reply();
        assert!(reply.starts_with("250"), "{reply}");
    }
    let taken = between.new.taken();
    assert_eq!(taken.len(), 50);
    for (n, taken) in taken.iter().enumerate() {
        assert_eq!(taken.to, [format!("RCPT TO:<u{n}@b.example>")]);
        assert!(taken.text().ends_with(&format!("\r\nmail{n:02}\r\n")));
    }
}

#[test]
fn a_server_that_closes_is_opened_again() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    between.new.manners(|line| (line == ".").then(|| "421 4.3.2 closing".to_owned()));
    let reply = ann.mail("ann@example.com", &["a@b.example"], "hello");
    assert!(reply.starts_with("451 4.3.2 closing"), "{reply}");
    between.new.manners(|line| (line == ".").then(|| "close".to_owned()));
    let reply = ann.mail("ann@example.com", &["a@b.example"], "hello");
    assert!(reply.starts_with("451 4.4.1"), "{reply}");
    between.new.manners(|_| None);
    assert!(ann.mail("ann@example.com", &["a@b.example"], "hello").starts_with("250"));
    assert_eq!(between.new.taken().len(), 1);
    assert_eq!(heard(&between.new, "AUTH").len(), 3);
}

#[test]
fn too_large_is_too_large() {
    let old = Sink::new().offers(&["SIZE 2000", "AUTH PLAIN"]);
    let new = Sink::new().offers(&["SIZE 1000", "AUTH PLAIN"]);
    let between = Between::these(old, new, &[("limits.message", "\"3KiB\"")]);
    let mut ann = between.ann();
    ann.expect("MAIL FROM:<ann@example.com> SIZE=1001", "552 5.3.4");
    ann.expect("MAIL FROM:<ann@example.com> SIZE=4000", "552 5.3.4");
    let reply = ann.mail("ann@example.com", &["a@b.example"], &"a line\r\n".repeat(500));
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    assert_eq!(between.new.taken(), []);
    assert!(ann.mail("ann@example.com", &["a@b.example"], "small").starts_with("250"));
    // Without an end.
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.expect("DATA", "354");
    while ann.try_raw(&b"a line\r\n".repeat(1000)) {}
}

#[test]
fn a_large_message_passes_in_little_memory() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    assert!(ann.mail("ann@example.com", &["a@b.example"], "warm").starts_with("250"));
    let before = between.world.proxy.peak_rss();
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.expect("DATA", "354");
    let chunk = [b"x".repeat(76), b"\r\n".to_vec()].concat().repeat(1000);
    let mut sent = 0;
    while sent < 200_000_000 {
        ann.raw(&chunk);
        sent += chunk.len();
    }
    ann.raw(b".\r\n");
    assert!(ann.reply().starts_with("250"));
    assert!(between.new.octets() > sent);
    let grown = between.world.proxy.peak_rss() - before;
    assert!(grown < 32 << 20, "{grown} octets more for a message of {sent}");
}

/// A client that stops in the middle: nothing is accepted of it.
#[test]
fn half_a_message_is_none() {
    let between = Between::sinks(&[]);
    let mut ann = between.ann();
    ann.expect("MAIL FROM:<ann@example.com>", "250");
    ann.expect("RCPT TO:<a@b.example>", "250");
    ann.expect("DATA", "354");
    ann.raw(b"Subject: half\r\n\r\nhalf\r\n.");
    eventually("the sink has heard some of it", || (between.new.octets() > 0).then_some(()));
    drop(ann);
    let mut ann = between.ann();
    assert!(ann.mail("ann@example.com", &["a@b.example"], "whole").starts_with("250"));
    assert_eq!(between.new.taken().len(), 1);
}
