//! The archive gets every message before the mail server is told that it has ended.

use super::lab::Sink;
use super::{Between, heard};

fn between(more: &[(&str, &str)]) -> (Between, Sink) {
    let archive = Sink::new().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let mut settings = vec![("journal.server", server.as_str()), ("smtp.unknown", "\"new\"")];
    settings.extend_from_slice(more);
    (Between::sinks(&settings), archive)
}

#[test]
fn what_is_sent_and_what_comes_in_is_archived_for_everybody_concerned() {
    let (between, archive) = between(&[]);
    let mut ann = between.ann();
    let to = ["carl@elsewhere.example", "bob+x@example.com"];
    assert!(ann.mail("ann@example.com", &to, "Subject: a\r\n\r\nsent").starts_with("250"));
    let mut talk = between.stranger();
    let to = ["ann@example.com", "bob@example.org", "Ann@example.com"];
    assert!(talk.mail("x@elsewhere.example", &to, "Subject: b\r\n\r\n.in").starts_with("250"));
    let archived = archive.taken();
    assert_eq!(archived.len(), 2);
    assert_eq!(archived[0].from, "MAIL FROM:<>");
    assert_eq!(
        archived[0].to,
        ["RCPT TO:<ann@example-com.vaultastic.com>", "RCPT TO:<bob@example-com.vaultastic.com>"]
    );
    assert_eq!(
        archived[1].to,
        ["RCPT TO:<ann@example-com.vaultastic.com>", "RCPT TO:<bob@example-org.vaultastic.com>"]
    );
    // The same octets.
    let delivered = between.new.taken();
    for (archived, delivered) in archived.iter().zip(&delivered) {
        assert_eq!(archived.text(), delivered.text());
    }
}

#[test]
fn only_domains_that_shall_be_are_archived() {
    let (between, archive) = between(&[
        ("journal.domains", "[\"example.org\"]"),
        ("journal.address", "\"{local}-at-{domain}@archive.example\""),
        ("journal.sender", "\"journal@example.org\""),
    ]);
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.com"], "1").starts_with("250"));
    assert!(talk.mail("", &["ann@example.com", "ann@example.org"], "2").starts_with("250"));
    let archived = archive.taken();
    assert_eq!(archived.len(), 1);
    assert_eq!(archived[0].from, "MAIL FROM:<journal@example.org>");
    assert_eq!(archived[0].to, ["RCPT TO:<ann-at-example.org@archive.example>"]);
}

/// Whatever the archive says but yes, and at whichever step: the sender comes again, and the mail
/// server has seen no end.
#[test]
fn what_is_not_archived_is_not_accepted() {
    let (between, archive) = between(&[]);
    let mut talk = between.stranger();
    for (step, reply) in [
        ("", "421 4.3.2 closed"),
        ("", "close"),
        ("MAIL", "451 4.3.0 no"),
        ("RCPT", "550 5.1.1 no such vault"),
        ("DATA", "554 5.0.0 no"),
        (".", "452 4.3.1 full"),
        (".", "550 5.7.1 never"),
        (".", "close"),
    ] {
        archive.manners(move |line| {
            let now = if step.is_empty() { line.is_empty() } else { line.starts_with(step) };
            now.then(|| reply.to_owned())
        });
        talk.expect("MAIL FROM:<x@elsewhere.example>", "250");
        talk.expect("RCPT TO:<ann@example.com>", "250");
        let said = talk.cmd("DATA");
        let said = if said.starts_with("354") {
            talk.raw(b"hello\r\n.\r\n");
            talk.reply()
        } else {
            said
        };
        assert!(said.starts_with("451 4.3.0"), "{step} {reply}: {said}");
        talk.expect("RSET", "250");
        assert_eq!(between.new.taken(), [], "{step} {reply}");
    }
    archive.manners(|_| None);
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
    assert_eq!((archive.taken().len(), between.new.taken().len()), (1, 1));
}

/// The order: archived, then accepted. So whatever dies when, what was accepted is archived.
#[test]
fn dead_between_the_archive_and_the_server() {
    let (mut between, archive) = between(&[]);
    between.world.proxy.kill9();
    between.world.proxy.restart_to_die_at("smtp: archived=return");
    let mut talk = between.stranger();
    talk.expect("MAIL FROM:<>", "250");
    talk.expect("RCPT TO:<ann@example.com>", "250");
    talk.expect("DATA", "354");
    talk.raw(b"hello\r\n.\r\n");
    assert_eq!(talk.reply(), "");
    assert_eq!((archive.taken().len(), between.new.taken().len()), (1, 0));
    between.world.proxy.restart();
    let mut talk = between.stranger();
    assert!(talk.mail("", &["ann@example.com"], "hello").starts_with("250"));
    assert_eq!((archive.taken().len(), between.new.taken().len()), (2, 1));
    // One that the server refuses is archived all the same.
    between.new.manners(|line| (line == ".").then(|| "554 5.7.1 spam".to_owned()));
    assert!(talk.mail("", &["ann@example.com"], "spam").starts_with("554 5.7.1"));
    assert_eq!((archive.taken().len(), between.new.taken().len()), (3, 1));
    assert!(heard(&between.new, "DATA").len() >= 3);
}
