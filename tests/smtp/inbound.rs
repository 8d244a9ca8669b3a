//! Mail from the world and from the servers themselves, routed by the account.

use super::lab::{Dialogue, Sink, Talk, eventually};
use super::{Between, heard};

fn refuses(sink: &Sink, unknown: &'static str) {
    sink.manners(move |line| {
        let refused = line.starts_with("RCPT") && line.contains(unknown);
        refused.then(|| "550 5.1.1 No such user here".to_owned())
    });
}

/// Makes the proxy know an account: it has logged in once.
fn seen(between: &Between, user: &str) {
    drop(Dialogue::connect(between.world.proxy.port).login(user, "secret"));
}

#[test]
fn a_known_account_gets_its_mail_on_the_side_the_operator_chose() {
    let between = Between::sinks(&[("smtp.inbound", "\"old\""), ("smtp.unknown", "\"new\"")]);
    seen(&between, "ann@example.com");
    let mut talk = between.stranger();
    for to in ["ann@example.com", "Ann+tag@Example.COM", "\"ann\"@example.com"] {
        assert!(talk.mail("x@elsewhere.example", &[to], "hello").starts_with("250"));
    }
    assert!(talk.mail("", &["alias@example.com"], "a report").starts_with("250"));
    let to: Vec<String> = between.old.taken().into_iter().flat_map(|taken| taken.to).collect();
    // The address is the server's to read: tags and all.
    assert_eq!(
        to,
        ["RCPT TO:<ann@example.com>", "RCPT TO:<Ann+tag@Example.COM>", "RCPT TO:<ann@example.com>"]
    );
    let taken = between.new.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].from.as_str(), taken[0].to.as_slice()),
        ("MAIL FROM:<>", &["RCPT TO:<alias@example.com>".to_owned()][..])
    );
    assert!(taken[0].text().starts_with("Received: from mx.elsewhere.example ([127.0.0.1]) by proxy.example (Mailferry) with ESMTP id "));
}

#[test]
fn v7_a_known_account_gets_mail_while_its_side_is_away_or_does_not_know_it() {
    let between = Between::sinks(&[]);
    seen(&between, "ann@example.com");
    refuses(&between.new, "ann");
    let mut talk = between.stranger();
    assert!(talk.mail("x@elsewhere.example", &["ann@example.com"], "1").starts_with("250"));
    between.new.manners(|line| line.is_empty().then(|| "close".to_owned()));
    let mut talk = between.stranger();
    assert!(talk.mail("x@elsewhere.example", &["ann@example.com"], "2").starts_with("250"));
    assert_eq!(between.old.taken().len(), 2);
    // Where one side is away and the other says no, nobody knows.
    refuses(&between.old, "ann");
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "451 4.4.1");
}

/// What one side's filters keep out does not come in by the other.
#[test]
fn a_server_that_does_not_want_the_mail_is_not_gone_around() {
    let between = Between::sinks(&[]);
    seen(&between, "ann@example.com");
    let mut talk = between.stranger();
    for (step, reply) in [
        ("RCPT", "550 5.7.1 blocked"),
        ("RCPT", "554 5.7.1 blocked"),
        ("RCPT", "552 5.2.2 full"),
        ("MAIL", "550 5.1.8 no such sender"),
        ("MAIL", "554 blocked"),
    ] {
        between.new.manners(move |line| line.starts_with(step).then(|| reply.to_owned()));
        for to in ["ann@example.com", "unknown@example.com"] {
            talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
            talk.expect(&format!("RCPT TO:<{to}>"), &reply[..4]);
            talk.expect("RSET", "250");
        }
    }
    assert_eq!(heard(&between.old, "RCPT"), Vec::<String>::new());
}

/// A transaction whose server is lost does not go on with another: who was accepted would get nothing.
#[test]
fn recipients_are_not_lost_with_their_server() {
    let between = Between::sinks(&[("limits.login_timeout", "\"30s\"")]);
    for user in ["ann@example.com", "bob@example.com"] {
        seen(&between, user);
    }
    between.new.manners(|line| line.contains("bob").then(|| "close".to_owned()));
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("RCPT TO:<bob@example.com>", "451 4.4.1");
    talk.expect("RCPT TO:<bob@example.com>", "503");
    talk.expect("DATA", "503");
    assert_eq!((between.new.taken(), between.old.taken()), (vec![], vec![]));
}

#[test]
fn unknown_recipients_are_asked_for() {
    let between = Between::sinks(&[]);
    refuses(&between.new, "onold");
    refuses(&between.old, "onnew");
    let mut talk = between.stranger();
    assert!(talk.mail("x@elsewhere.example", &["list-onnew@example.com"], "1").starts_with("250"));
    assert!(talk.mail("x@elsewhere.example", &["list-onold@example.com"], "2").starts_with("250"));
    for postmaster in ["postmaster", "Postmaster@example.com"] {
        assert!(talk.mail("", &[postmaster], "3").starts_with("250"));
    }
    assert_eq!((between.new.taken().len(), between.old.taken().len()), (3, 1));
    between.new.manners(|line| line.starts_with("RCPT").then(|| "550 5.1.1 new".to_owned()));
    between.old.manners(|line| line.starts_with("RCPT").then(|| "550 5.1.1 old".to_owned()));
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<nobody@example.com>", "550 5.1.1");
    talk.expect("DATA", "554 5.5.1");
    talk.expect("RSET", "250");
    // Not now is an answer: the other side is not asked.
    between.new.manners(|line| line.starts_with("RCPT").then(|| "450 4.2.0 greylisted".to_owned()));
    between.old.forget();
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<somebody@example.com>", "450 4.2.0");
    assert_eq!(heard(&between.old, "RCPT"), Vec::<String>::new());
    // What new alone may know is put off while new is away.
    between.new.manners(|line| line.is_empty().then(|| "421 4.3.2 closed".to_owned()));
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<somebody@example.com>", "451");
    assert_eq!(heard(&between.old, "RCPT"), Vec::<String>::new());
}

#[test]
fn recipients_of_the_other_side_are_put_off() {
    let between = Between::sinks(&[]);
    refuses(&between.new, "onold");
    refuses(&between.old, "onnew");
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<a-onnew@example.com>", "250");
    talk.expect("RCPT TO:<b-onold@example.com>", "452 4.5.3");
    talk.expect("RCPT TO:<c-onnew@example.com>", "250");
    talk.expect("DATA", "354");
    talk.raw(b"one\r\n.\r\n");
    assert!(talk.reply().starts_with("250"));
    // The sender brings the rest.
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<b-onold@example.com>", "250");
    talk.expect("RCPT TO:<a-onnew@example.com>", "452 4.5.3");
    talk.expect("DATA", "354");
    talk.raw(b"two\r\n.\r\n");
    assert!(talk.reply().starts_with("250"));
    let to = |sink: &Sink| sink.taken().into_iter().map(|taken| taken.to).collect::<Vec<_>>();
    assert_eq!(
        to(&between.new),
        [["RCPT TO:<a-onnew@example.com>", "RCPT TO:<c-onnew@example.com>"]]
    );
    assert_eq!(to(&between.old), [["RCPT TO:<b-onold@example.com>"]]);
}

/// Everything that open-relay testers try.
#[test]
fn nothing_is_relayed() {
    let between = Between::sinks(&[("smtp.trusted", "[\"127.0.0.0/8\"]")]);
    for port in [between.world.proxy.mail.smtp, between.world.proxy.mail.trusted] {
        let mut talk = Talk::connect(port);
        talk.expect("EHLO prober.example", "250");
        for from in ["prober@elsewhere.example", "", "ann@example.com", "ann@[127.0.0.1]"] {
            talk.expect(&format!("MAIL FROM:<{from}>"), "250");
            for to in [
                "victim@elsewhere.example",
                "\"victim@elsewhere.example\"@example.com",
                "victim%elsewhere.example@example.com",
                "\"victim%elsewhere.example\"@example.com",
                "victim%elsewhere.example@[127.0.0.1]",
                "elsewhere.example!victim@example.com",
                "victim@[127.0.0.1]",
                "victim@[192.0.2.1]",
                "victim@elsewhere.example@example.com",
                "victim@example.com.elsewhere.example",
                "victim@sub.example.com",
                "@example.com:victim@elsewhere.example",
            ] {
                let reply = talk.cmd(&format!("RCPT TO:<{to}>"));
                assert!(reply.starts_with("55") || reply.starts_with("501"), "{to}: {reply}");
                if reply.starts_with("501") {
                    // Not understood at all; too many of those end the connection.
                    talk = Talk::connect(port);
                    talk.expect("EHLO prober.example", "250");
                    talk.expect(&format!("MAIL FROM:<{from}>"), "250");
                }
            }
            talk.expect("DATA", "554");
            talk.expect("RSET", "250");
        }
        talk.expect("AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=", "503");
    }
    for sink in [&between.old, &between.new] {
        assert_eq!(heard(sink, "RCPT"), Vec::<String>::new());
    }
}

#[test]
fn only_the_servers_use_the_trusted_listener() {
    let between = Between::sinks(&[]);
    let mut talk = Talk::silent(between.world.proxy.mail.trusted);
    assert!(talk.reply().starts_with("554 5.7.1"));
    assert!(talk.is_closed());
    let between =
        Between::sinks(&[("smtp.trusted", "[\"127.0.0.1\"]"), ("new.smtp_forward", "\"xclient\"")]);
    let mut talk = Talk::connect(between.world.proxy.mail.trusted);
    talk.expect("EHLO old.example.com", "250");
    assert!(talk.mail("bob@example.com", &["ann@example.com"], "from old").starts_with("250"));
    assert_eq!(between.new.taken().len(), 1);
    assert_eq!(heard(&between.new, "XCLIENT"), Vec::<String>::new());
}

#[test]
fn a_server_is_told_of_the_client_and_only_the_trusted_may_speak_for_others() {
    let new = Sink::new().offers(&["XCLIENT NAME ADDR PORT PROTO HELO LOGIN", "8BITMIME"]);
    let settings = [("new.smtp_forward", "\"xclient\""), ("smtp.unknown", "\"new\"")];
    let between = Between::these(Sink::new(), new, &settings);
    let mut talk = between.stranger();
    talk.expect("XCLIENT ADDR=198.51.100.7", "550 5.7.0");
    assert!(!talk.expect("EHLO mx.elsewhere.example", "250").contains("XCLIENT"));
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
    let told = heard(&between.new, "XCLIENT");
    assert!(
        told.len() == 1 && told[0].starts_with("XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.0.1 PORT="),
        "{told:?}"
    );
    assert!(told[0].ends_with(" HELO=mx.elsewhere.example PROTO=ESMTP"), "{told:?}");
    drop(between);

    let new = Sink::new().offers(&["XCLIENT NAME ADDR PORT PROTO HELO LOGIN", "8BITMIME"]);
    let settings = [settings[0], settings[1], ("smtp.trusted", "[\"127.0.0.0/8\", \"::1\"]")];
    let between = Between::these(Sink::new(), new, &settings);
    let mut talk = between.stranger();
    assert!(talk.expect("EHLO gateway.example", "250").contains("XCLIENT ADDR PORT HELO"));
    talk.expect("XCLIENT ADDR=198.51.100.7 PORT=4711 HELO=far.example NAME=[UNAVAILABLE]", "220");
    talk.expect("MAIL FROM:<>", "503");
    talk.expect("EHLO far.example", "250");
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
    let told = heard(&between.new, "XCLIENT");
    assert_eq!(
        told,
        ["XCLIENT NAME=[UNAVAILABLE] ADDR=198.51.100.7 PORT=4711 HELO=far.example PROTO=ESMTP"]
    );
    assert!(
        between.new.taken()[0].text().starts_with("Received: from far.example ([198.51.100.7]) by")
    );

    // A server that is to be told and does not listen is not used: it would judge the proxy.
    let between =
        Between::sinks(&[("new.smtp_forward", "\"xclient\""), ("smtp.unknown", "\"new\"")]);
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "451");
    // By PROXY, before everything else.
    let between = Between::sinks(&[("new.smtp_forward", "\"proxy\""), ("smtp.unknown", "\"new\"")]);
    let mut talk = between.stranger();
    assert!(talk.cmd("MAIL FROM:<>").starts_with("250"));
    talk.cmd("RCPT TO:<ann@example.com>");
    let heard = heard(&between.new, "PROXY");
    assert!(
        heard.len() == 1 && heard[0].starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{heard:?}"
    );
}

/// The proxy says 250 when the server has, and not before.
#[test]
fn nothing_is_accepted_before_a_server_accepted_it() {
    let mut between = Between::sinks(&[("smtp.unknown", "\"new\"")]);
    between.new.manners(|line| {
        if line == "." {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        None
    });
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("DATA", "354");
    talk.raw(b"hello\r\n.\r\n");
    assert_eq!(between.new.taken(), []);
    assert!(talk.reply().starts_with("250"));
    assert_eq!(between.new.taken().len(), 1);
    // Dead in the moment in which the server accepted it: the sender has no answer, and comes again.
    between.world.proxy.kill9();
    between.world.proxy.restart_to_die_at("smtp: accepted=return");
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("DATA", "354");
    talk.raw(b"again\r\n.\r\n");
    assert_eq!(talk.reply(), "");
    assert_eq!(between.new.taken().len(), 2);
}

#[test]
fn mail_that_goes_in_circles_is_stopped() {
    let between = Between::sinks(&[("smtp.hops", "8")]);
    let mut talk = between.stranger();
    let foreign = "Received: from a by b with SMTP; now\r\n";
    let own =
        "Received: from x ([127.0.0.1]) by proxy.example (Mailferry) with ESMTP id 1; now\r\n";
    let mail = |trace: &str, n: usize| format!("{}Subject: x\r\n\r\nbody", trace.repeat(n));
    for (text, reply) in [
        (mail(foreign, 8), "250"),
        (mail(foreign, 9), "554 5.4.6"),
        (mail(own, 4), "250"),
        (mail(own, 5), "554 5.4.6"),
        (format!("Subject: x\r\n\r\n{}", foreign.repeat(50)), "250"),
    ] {
        let said = talk.mail("", &["ann@example.com"], &text);
        assert!(said.starts_with(reply), "{said}");
    }
    assert_eq!(between.new.taken().len(), 3);
}

#[test]
fn lmtp_takes_one_recipient_at_a_time() {
    let new = Sink::new().lmtp().start();
    let endpoint = format!("\"lmtp://127.0.0.1:{}?tls=none\"", new.port);
    let between = Between::sinks(&[("new.inbound", &endpoint), ("smtp.unknown", "\"new\"")]);
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("RCPT TO:<bob@example.com>", "452 4.5.3");
    talk.expect("DATA", "354");
    talk.raw(b"one\r\n.\r\n");
    assert!(talk.reply().starts_with("250"));
    assert!(talk.mail("", &["bob@example.com"], "two").starts_with("250"));
    let to: Vec<_> = new.taken().into_iter().flat_map(|taken| taken.to).collect();
    assert_eq!(to, ["RCPT TO:<ann@example.com>", "RCPT TO:<bob@example.com>"]);
    assert_eq!(heard(&new, "LHLO").len(), 2, "one to learn what it offers, one for the mail");
}

#[test]
fn many_recipients() {
    let between = Between::sinks(&[("smtp.recipients", "3"), ("smtp.unknown", "\"new\"")]);
    let mut talk = between.stranger();
    assert!(talk.expect("EHLO a.example", "250").contains("LIMITS RCPTMAX=3"));
    talk.expect("MAIL FROM:<>", "250");
    for n in 0..3 {
        talk.expect(&format!("RCPT TO:<u{n}@example.com>"), "250");
    }
    talk.expect("RCPT TO:<u4@example.com>", "452 4.5.3");
    // A server that takes fewer says so to the proxy's clients too, and puts off what is more.
    let between = Between::these(
        Sink::new().offers(&["LIMITS RCPTMAX=2"]),
        Sink::new(),
        &[("smtp.unknown", "\"old\"")],
    );
    between.old.manners(|line| line.contains("<u2@").then(|| "452 4.5.3 enough".to_owned()));
    let mut talk = between.stranger();
    assert!(talk.expect("EHLO a.example", "250").contains("LIMITS RCPTMAX=2"));
    talk.expect("MAIL FROM:<>", "250");
    for (n, reply) in ["250", "250", "452 4.5.3 enough"].iter().enumerate() {
        talk.expect(&format!("RCPT TO:<u{n}@example.com>"), reply);
    }
}

#[test]
fn what_a_server_lacks_is_not_promised() {
    let between = Between::these(Sink::new(), Sink::new().offers(&["SIZE 1000"]), &[]);
    let mut talk = between.stranger();
    let offered = talk.expect("EHLO a.example", "250");
    for line in ["8BITMIME", "SMTPUTF8", "DSN"] {
        assert!(!offered.contains(line), "{offered}");
    }
    talk.expect("MAIL FROM:<> SMTPUTF8", "250");
    talk.expect("RCPT TO:<ann@example.com>", "550 5.6.7");
    talk.expect("RSET", "250");
    talk.expect("MAIL FROM:<žofie@x.example>", "553 5.6.7");
    talk.expect("MAIL FROM:<> BODY=BINARYMIME", "555");
    let both = Between::sinks(&[("smtp.unknown", "\"new\"")]);
    let mut talk = both.stranger();
    talk.expect("MAIL FROM:<žofie@x.example> SMTPUTF8 BODY=8BITMIME", "250");
    talk.expect("RCPT TO:<žofie@example.com>", "250");
    talk.expect("DATA", "354");
    talk.raw("Subject: příliš\r\n\r\nžluťoučký\r\n.\r\n".as_bytes());
    assert!(talk.reply().starts_with("250"));
    let taken = eventually("it is taken", || both.new.taken().pop());
    assert!(taken.from.contains("<žofie@x.example>") && taken.text().contains("with UTF8SMTP id"));
}

/// MAIL and the first RCPT leave together, and all that the archive is told before the message does.
#[test]
fn servers_with_pipelining_are_told_at_once() {
    let archive = Sink::new().grouped().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let settings = [
        ("journal.server", server.as_str()),
        ("smtp.unknown", "\"new\""),
        ("limits.backend_command_timeout", "\"5s\""),
    ];
    let between = Between::these(Sink::new(), Sink::new().grouped(), &settings);
    let mut talk = between.stranger();
    let to: Vec<String> = (0..100).map(|n| format!("u{n}@example.com")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    assert!(talk.mail("", &to, "hello").starts_with("250"));
    assert_eq!(between.new.taken()[0].to.len(), 100);
    assert_eq!(archive.taken()[0].to.len(), 100);
    // A sender that is refused is, whatever is said of the recipient.
    between.new.manners(|line| line.starts_with("MAIL").then(|| "550 5.1.8 not you".to_owned()));
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "550 5.1.8");
    talk.expect("DATA", "554 5.5.1");
    talk.expect("RSET", "250");
    between.new.manners(|line| line.starts_with("MAIL").then(|| "421 4.3.2 closing".to_owned()));
    talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "451 4.3.2");
    talk.expect("RSET", "250");
    between.new.manners(|_| None);
    // One recipient that the archive refuses is enough, though it then says yes to DATA.
    archive.manners(|line| line.contains("<ann@").then(|| "550 5.1.1 no vault".to_owned()));
    talk.expect("MAIL FROM:<>", "250");
    for to in ["bob@example.com", "ann@example.com"] {
        talk.expect(&format!("RCPT TO:<{to}>"), "250");
    }
    let said = talk.cmd("DATA");
    assert!(said.starts_with("451 4.3.0"), "{said}");
    assert_eq!((between.new.taken().len(), archive.taken().len()), (1, 1));
}
