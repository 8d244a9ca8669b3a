//! Folders whose names are no modified UTF-7 (RFC 3501 §5.1.3), as old servers have them: a client reaches through
//! the proxy what it reaches there directly, and no other folder suffers for them.

mod lab;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use lab::{Courier, Dialogue, Dovecot, Mail, Reply, Server, World, mails};

/// In UTF-8, with octets that are no UTF-16, with `&` and no end, with what needs no encoding, with half
/// of a pair, and with an empty run.
const NAMES: [&[u8]; 7] = [
    b"utf\xc3\xa9",
    b"run&,,0-",
    b"amp&ersand",
    b"open&AOk",
    b"long&AGE-",
    b"half&2AA-",
    b"two&AOk-&AOk-",
];

/// A folder of a Maildir, made as somebody does who is no IMAP server.
fn make(server: &Server, name: &[u8], n: u32) {
    let (user, _) = server.account();
    let dir = server.maildir(user, "INBOX").join(OsStr::from_bytes(&[b".", name].concat()));
    lab::mail::deliver_maildir(&dir, &Mail::numbered(n), lab::process::owner());
}

/// The names of all folders, octet by octet.
fn names(reply: &Reply) -> BTreeSet<Vec<u8>> {
    let name = |line: &Vec<u8>| {
        let rest = line.strip_prefix(b"* LIST ")?;
        let at = memchr::memmem::find(rest, b") \".\" ")? + 6;
        let name = &rest[at..];
        Some(match name.first() {
            Some(b'{') => name[memchr::memchr(b'\n', name)? + 1..].to_vec(),
            Some(b'"') => name[1..name.len() - 1].to_vec(),
            _ => name.to_vec(),
        })
    };
    reply.untagged.iter().filter_map(name).collect()
}

/// Says a command with a name in it, as a literal and in quotes; tells how it was answered, and what of.
fn say(client: &mut Dialogue, before: &str, name: &[u8], after: &str) -> Vec<String> {
    let as_literal = client.literal(before, name, after);
    let words = [before.as_bytes(), b"\"", name, b"\"", after.as_bytes()].concat();
    let in_quotes = client.cmd_unless_gone(&words).expect("an answer");
    // Courier hangs up over ten in a row that it does not understand.
    client.ok("NOOP");
    let told = |reply: Reply| {
        let shown = |line: &Vec<u8>| line.escape_ascii().to_string().replace("\\\"", "");
        let counts = |line: &String| {
            line.ends_with(" EXISTS") || line.contains("* STATUS") || line.contains(" FETCH ")
        };
        let lines: Vec<String> = reply.untagged.iter().map(shown).filter(counts).collect();
        format!("{} {}", reply.status, lines.join(" "))
    };
    vec![told(as_literal), told(in_quotes)]
}

fn as_on_old(old: impl Into<lab::server::Shape>) {
    let world = World::new().old(old).seeded(|old, _| {
        old.seed("Work", &mails(0..3));
        for (name, n) in NAMES.iter().zip(20..) {
            make(old, name, n);
        }
    });
    let mut direct = world.old.client();
    let mut through = world.proxy.client();
    through.ok("NOOP");
    direct.ok("LIST \"\" \"*\"");
    // Dovecot lists what is in Latin-1 only once it has an index of its folders.
    let mut direct = world.old.client();
    let expected = names(&direct.ok("LIST \"\" \"*\""));
    let found = names(&through.ok("LIST \"\" \"*\""));
    let shown = |names: BTreeSet<&Vec<u8>>| {
        names.into_iter().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>()
    };
    let lacking = shown(expected.difference(&found).collect());
    let own = shown(found.difference(&expected).collect());
    assert_eq!(lacking, Vec::<String>::new());
    assert_eq!(own, ["INBOX.Drafts", "INBOX.Junk", "INBOX.Sent", "INBOX.Trash"], "of new");
    for name in [&b"INBOX.raw\xe9"[..], b"INBOX.raw\xc3\xa9"] {
        for before in ["CREATE ", "SUBSCRIBE "] {
            assert_eq!(say(&mut through, before, name, ""), ["NO ", "NO "], "{before}");
        }
    }
    let mut differences = Vec::new();
    for name in NAMES {
        let name = [b"INBOX.", name].concat();
        for (before, after) in [("STATUS ", " (MESSAGES)"), ("SELECT ", "")] {
            let expected = say(&mut direct, before, &name, after);
            let found = say(&mut through, before, &name, after);
            if expected != found {
                let name = name.escape_ascii();
                differences.push(format!("{before}{name}: {found:?} instead of {expected:?}"));
            }
        }
    }
    // Octets beyond ASCII Courier takes for something else.
    for name in [&b"new&AOk"[..], b"new&2AA-", b"new&,,0-"] {
        for before in ["CREATE ", "SUBSCRIBE ", "DELETE "] {
            let expected = say(&mut direct, before, &[b"INBOX.d", name].concat(), "");
            let found = say(&mut through, before, &[b"INBOX.t", name].concat(), "");
            if expected != found {
                let name = name.escape_ascii();
                differences.push(format!("{before}{name}: {found:?} instead of {expected:?}"));
            }
        }
    }
    assert_eq!(through.ok("SELECT INBOX.Work").count("EXISTS"), Some(3));
    assert!(through.ok("LIST \"\" \"*\"").listed().iter().any(|l| l.name == "INBOX.Work"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn what_courier_gives_is_given() {
    as_on_old(Courier::plain());
}

#[test]
fn what_dovecot_gives_is_given() {
    as_on_old(Dovecot::old_style());
}
