//! Smuggling: nothing in one message becomes a second one, on a server that ends lines where it
//! likes, in the archive, or by any cut into packets.

use std::time::Duration;

use super::lab::{Sink, Talk};
use super::{Between, heard};

/// Takes for the end of a message, or of a line, what is none.
const SEQUENCES: [&[u8]; 20] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\0\n.\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\r\r\n",
    b"\r\n\r.\r\n",
    b"\n.\n\n",
    b"\r\n.\n\r\n",
    b"\r\0\n.\r\n",
    b"\n\r.\n\r",
];

const SECOND: &[u8] =
    b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: second\r\n\r\nx";

fn message(sequence: &[u8]) -> Vec<u8> {
    [b"Subject: first\r\n\r\nbody", sequence, SECOND].concat()
}

/// Both legs of everything that accepts mail, with servers that are as lenient as can be.
fn between(settings: &[(&str, &str)]) -> (Between, Sink) {
    let archive = Sink::new().lenient().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let mut all = vec![("journal.server", server.as_str()), ("smtp.unknown", "\"new\"")];
    all.extend_from_slice(settings);
    let between = Between::these(Sink::new().lenient(), Sink::new().lenient(), &all);
    (between, archive)
}

fn begin(talk: &mut Talk) {
    talk.expect("MAIL FROM:<a@elsewhere.example>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
}

/// Sends octets in two packets.
fn cut(talk: &mut Talk, octets: &[u8], at: usize) {
    talk.raw(&octets[..at]);
    if at > 0 && at < octets.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    talk.raw(&octets[at..]);
}

#[test]
fn no_second_message_by_data_wherever_packets_end() {
    let (between, archive) = between(&[]);
    for sequence in SEQUENCES {
        let mut octets = message(sequence);
        octets.extend_from_slice(b"\r\n.\r\n");
        let first = 20;
        for at in first..first + sequence.len() + 6 {
            let mut talk = between.stranger();
            begin(&mut talk);
            talk.expect("DATA", "354");
            cut(&mut talk, &octets, at);
            let reply = talk.reply();
            assert!(reply.starts_with("550 5.6.0"), "{}: {reply}", sequence.escape_ascii());
            // The connection goes on where the client believes that it does.
            talk.expect("NOOP", "250");
            talk.expect("RSET", "250");
        }
    }
    for sink in [&between.old, &between.new, &archive] {
        assert_eq!(sink.taken(), []);
        let smuggled: Vec<_> =
            heard(sink, "MAIL").into_iter().filter(|line| line.contains("evil")).collect();
        assert_eq!(smuggled, Vec::<String>::new());
    }
}

#[test]
fn no_second_message_by_bdat_wherever_packets_end() {
    let (between, archive) = between(&[]);
    let dot = &b"\r\n.\r\n"[..];
    for sequence in SEQUENCES.iter().copied().chain([dot]) {
        let octets = message(sequence);
        for at in 20..20 + sequence.len() + 6 {
            let mut talk = between.stranger();
            begin(&mut talk);
            // Two chunks, cut in the midst of it, each with its command in the same packet.
            let head = format!("BDAT {at}\r\n");
            talk.raw(&[head.as_bytes(), &octets[..at]].concat());
            talk.reply();
            let head = format!("BDAT {} LAST\r\n", octets.len() - at);
            let tail = [head.as_bytes(), &octets[at..]].concat();
            cut(&mut talk, &tail, head.len() + 3);
            let reply = talk.reply();
            let expected = if sequence == dot { "250" } else { "550 5.6.0" };
            assert!(reply.starts_with(expected), "{}: {reply}", sequence.escape_ascii());
            talk.expect("NOOP", "250");
        }
    }
    // A dot on a line of its own is a line of the message in BDAT.
    for sink in [&between.new, &archive] {
        let taken = sink.taken();
        assert!(!taken.is_empty());
        for taken in taken {
            let text = taken.text();
            assert!(
                text.contains("body\r\n.\r\nMAIL FROM:<evil") && text.ends_with("\r\nx\r\n"),
                "{text}"
            );
        }
        assert!(!heard(sink, "MAIL").iter().any(|line| line.contains("evil")));
    }
}

#[test]
fn lone_line_ends_become_whole_ones_where_the_operator_wants_it() {
    let (between, archive) = between(&[("smtp.bare_newlines", "\"normalize\"")]);
    let mut accepted = 0;
    for sequence in SEQUENCES {
        let mut octets = message(sequence);
        octets.extend_from_slice(b"\r\n.\r\n");
        for at in [20, 21, 22, 23] {
            let mut talk = between.stranger();
            begin(&mut talk);
            talk.expect("DATA", "354");
            cut(&mut talk, &octets, at);
            let nul = sequence.contains(&0);
            let reply = talk.reply();
            assert!(reply.starts_with(if nul { "550" } else { "250" }), "{reply}");
            accepted += usize::from(!nul);
            talk.expect("NOOP", "250");
        }
    }
    for sink in [&between.new, &archive] {
        assert_eq!(sink.taken().len(), accepted);
        for taken in sink.taken() {
            let text = taken.text();
            assert!(text.contains("Subject: second") && text.ends_with("x\r\n"), "{text}");
        }
        assert!(!heard(sink, "MAIL").iter().any(|line| line.contains("evil")));
    }
}

#[test]
fn a_line_that_is_none_ends_the_connection() {
    let (between, _archive) = between(&[]);
    for line in [&b"NOOP\nMAIL FROM:<evil@example.com>\r\n"[..], b"NOOP\rNOOP\r\n", b"NO\0OP\r\n"] {
        let mut talk = between.stranger();
        talk.raw(line);
        let reply = talk.reply();
        assert!(reply.starts_with("500 5.5.2"), "{reply}");
        assert!(talk.is_closed());
    }
    let mut talk = between.stranger();
    talk.try_raw(&b"a".repeat(20_000));
    assert!(talk.reply().starts_with("500 5.5.6"));
    assert!(talk.is_closed());
    let mut talk = between.stranger();
    for _ in 0..19 {
        talk.expect("WHAT", "500 5.5.1");
    }
    talk.expect("WHAT", "500 5.5.1");
    assert!(talk.reply().starts_with("421"));
    assert!(talk.is_closed());
}

#[test]
fn who_takes_too_long_is_sent_away() {
    // Says nothing at all, so that it cannot matter how slow this machine is.
    let (silent, _archive) = between(&[("smtp.idle_timeout", "\"1s\"")]);
    let mut talk = Talk::silent(silent.world.proxy.mail.smtp);
    assert!(talk.reply().starts_with("220"));
    assert!(talk.reply().starts_with("421 4.4.2"));
    assert!(talk.is_closed());
    // Drop by drop, with time for everything but the message.
    let (between, _archive) = between(&[("smtp.message_timeout", "\"1s\"")]);
    let mut talk = between.stranger();
    begin(&mut talk);
    talk.expect("DATA", "354");
    while talk.try_raw(b"x\r\n") {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(between.new.taken(), []);
    // And a user who never logs in, however often something is said.
    let (between, _archive) = self::between(&[("limits.login_timeout", "\"1s\"")]);
    let mut talk = Talk::silent(between.world.proxy.mail.submission);
    assert!(talk.reply().starts_with("220"));
    while talk.try_raw(b"NOOP\r\n") {
        std::thread::sleep(Duration::from_millis(50));
    }
}
