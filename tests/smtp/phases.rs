//! Accounts whose phase is changed while the proxy runs: where their mail goes then.

use super::lab::{Dialogue, Sink, Talk};
use super::{Between, heard};

/// Puts an account into a phase, without a look at what is copied.
#[track_caller]
fn phase(between: &Between, account: &str, phase: &str) {
    let arguments: &[&str] = match phase {
        "new" => &["phase", account, "new", "--force"],
        _ => &["phase", account, phase],
    };
    let said = between.world.proxy.run(arguments);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(0), "{account} to {phase}: {text}");
}

fn between(settings: &[(&str, &str)]) -> Between {
    let between = Between::sinks(settings);
    for user in ["ann@example.com", "bob@example.com"] {
        drop(Dialogue::connect(between.world.proxy.port).login(user, "secret"));
    }
    between
}

fn recipients(sink: &Sink) -> Vec<Vec<String>> {
    sink.taken().into_iter().map(|taken| taken.to).collect()
}

#[test]
fn what_comes_in_goes_where_the_phase_says() {
    let between = between(&[]);
    phase(&between, "ann@example.com", "old");
    phase(&between, "bob@example.com", "new");
    let mut talk = between.stranger();
    for to in ["ann@example.com", "Ann+tag@example.com", "bob@example.com"] {
        assert!(talk.mail("x@elsewhere.example", &[to], "hello").starts_with("250"));
    }
    assert_eq!(recipients(&between.old).len(), 2);
    assert_eq!(recipients(&between.new), [["RCPT TO:<bob@example.com>"]]);
    // Both in one transaction: the second is put off, and taken on its own.
    for (first, second) in
        [("ann@example.com", "bob@example.com"), ("bob@example.com", "ann@example.com")]
    {
        talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
        talk.expect(&format!("RCPT TO:<{first}>"), "250");
        talk.expect(&format!("RCPT TO:<{second}>"), "452 4.5.3");
        talk.expect("DATA", "354");
        talk.raw(b"one\r\n.\r\n");
        assert!(talk.reply().starts_with("250"));
        assert!(talk.mail("x@elsewhere.example", &[second], "two").starts_with("250"));
    }
    assert!(recipients(&between.old).iter().flatten().all(|to| to.to_lowercase().contains("ann")));
    assert!(recipients(&between.new).iter().flatten().all(|to| to.contains("bob")));
    // Back again: in phase merged new receives, and old where new does not know the user.
    phase(&between, "ann@example.com", "merged");
    assert!(talk.mail("", &["ann@example.com"], "three").starts_with("250"));
    assert_eq!(recipients(&between.new).last().map(Vec::len), Some(1));
    assert!(recipients(&between.new).concat().contains(&"RCPT TO:<ann@example.com>".to_owned()));
}

/// In phase old or new, the other side is not asked, whatever the account's own says.
#[test]
fn one_side_is_one_side() {
    let between = between(&[]);
    phase(&between, "ann@example.com", "old");
    between.old.manners(|line| line.starts_with("RCPT").then(|| "550 5.1.1 who".to_owned()));
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "550 5.1.1");
    assert_eq!(heard(&between.new, "RCPT"), Vec::<String>::new());
    // An alias is asked for on new, then on old, in whatever phase somebody else is.
    talk.expect("RCPT TO:<alias@example.com>", "250");
    talk.expect("RSET", "250");
    between.new.manners(|line| line.starts_with("RCPT").then(|| "550 5.1.1 who".to_owned()));
    between.old.manners(|_| None);
    assert!(talk.mail("", &["alias@example.com"], "hello").starts_with("250"));
    assert_eq!(recipients(&between.old), [["RCPT TO:<alias@example.com>"]]);
}

#[test]
fn users_send_through_the_side_of_their_phase() {
    let between = between(&[]);
    let said = |sink: &Sink| heard(sink, "AUTH").len();
    phase(&between, "ann@example.com", "old");
    let mut ann = between.ann();
    assert_eq!((said(&between.old), said(&between.new)), (1, 0));
    assert!(ann.mail("ann@example.com", &["x@y.example"], "one").starts_with("250"));
    assert_eq!((between.old.taken().len(), between.new.taken().len()), (1, 0));
    // The session goes on, and its next message goes the other way.
    phase(&between, "ann@example.com", "merged");
    phase(&between, "ann@example.com", "new");
    assert!(ann.mail("ann@example.com", &["x@y.example"], "two").starts_with("250"));
    assert_eq!((between.old.taken().len(), between.new.taken().len()), (1, 1));
    // In phase new, old is nobody's way out.
    between.new.manners(|line| line.starts_with("AUTH").then(|| "535 5.7.8 no".to_owned()));
    let mut talk = Talk::connect(between.world.proxy.mail.submission);
    talk.expect("EHLO client.example", "250");
    assert!(talk.auth("ann@example.com", "secret").starts_with("535"));
    assert_eq!(said(&between.old), 1);
}
