//! Servers that have no time just now, and say so: what a client asked for is done a little later, and nothing is
//! given up for it.

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{Fate, Relay, Way, World, eventually, everything, mails};

/// Has a server answer NO with this code to so many commands in which these words stand, instead of doing them.
/// Counts all of them.
fn put_off(
    wire: &Relay,
    words: &'static str,
    code: &'static str,
    times: usize,
) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut tags: Vec<String> = Vec::new();
    wire.rule(move |way, chunk| {
        let text = String::from_utf8_lossy(chunk);
        match way {
            Way::ToServer => {
                let line = |line: &str| {
                    let (tag, command) = line.split_once(' ')?;
                    let wanted = command.contains(words);
                    (wanted && counted.fetch_add(1, Ordering::Relaxed) < times)
                        .then(|| tag.to_owned())
                };
                let mut changed = String::new();
                for each in text.split_inclusive("\r\n") {
                    match line(each) {
                        Some(tag) => {
                            changed.push_str(&format!("{tag} NOOP\r\n"));
                            tags.push(tag);
                        }
                        None => changed.push_str(each),
                    }
                }
                if changed == text { Fate::Pass } else { Fate::Instead(changed.into_bytes()) }
            }
            Way::ToProxy => {
                let mut changed = text.to_string();
                for tag in &tags {
                    let ok = format!("{tag} OK NOOP completed");
                    changed = changed.replace(&ok, &format!("{tag} NO [{code}] Not now"));
                }
                if changed == text { Fate::Pass } else { Fate::Instead(changed.into_bytes()) }
            }
        }
    });
    count
}

fn world() -> World {
    let world = World::new().wired().set("copy.on_access", "false");
    world.seeded(|old, new| {
        old.seed("INBOX", &mails(0..5));
        new.seed("INBOX", &mails(10..15));
        old.seed("Work", &mails(20..22));
    })
}

#[test]
fn what_a_server_puts_off_is_done_a_little_later() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let before = everything(&mut client, "INBOX");
    client.ok("SELECT INBOX");
    let commands = [
        ("UID FETCH", "FETCH 1:* (UID FLAGS RFC822.SIZE)"),
        ("UID FETCH", "UID FETCH 1:* (BODY.PEEK[])"),
        ("UID FETCH", "FETCH 2 (BODY.PEEK[TEXT])"),
        ("UID SEARCH", "SEARCH SUBJECT \"a\""),
        ("UID STORE", "STORE 1:3 +FLAGS (\\Draft)"),
        ("UID STORE", "UID STORE 1:* -FLAGS.SILENT (\\Draft)"),
        ("STATUS", "STATUS INBOX.Work (MESSAGES)"),
        ("SELECT", "SELECT INBOX.Work"),
        ("SELECT", "SELECT INBOX"),
        ("UID COPY", "COPY 1 INBOX.Work"),
    ];
    for (verb, command) in commands {
        let undisturbed = client.ok(command);
        for code in ["THROTTLED", "UNAVAILABLE", "INUSE"] {
            let count = put_off(&world.old_wire, verb, code, 3);
            let reply = client.cmd(command);
            world.old_wire.release();
            assert_eq!(reply.status, "OK", "{command}: {code}: {reply:?}");
            if ["UID FETCH", "UID SEARCH", "STATUS"].contains(&verb) {
                let told = |reply: &lab::Reply| {
                    reply
                        .untagged
                        .iter()
                        .filter(|l| !l.starts_with(b"* OK"))
                        .cloned()
                        .collect::<Vec<_>>()
                };
                assert_eq!(told(&reply), told(&undisturbed), "{command}: {code}");
            }
            // A mailbox that is selected already is not selected again.
            let tried = count.load(Ordering::Relaxed);
            assert!(tried >= 3 || verb == "SELECT", "{command}: {code}: {tried}");
        }
    }
    client.ok("STORE 1:3 +FLAGS (\\Draft)");
    let count = put_off(&world.old_wire, "UID STORE", "THROTTLED", 2);
    client.ok("STORE 2 -FLAGS.SILENT (\\Draft)");
    world.old_wire.release();
    assert!(count.load(Ordering::Relaxed) > 2);
    assert_eq!(client.ok("SEARCH DRAFT").found(), [1, 3]);
    let work = everything(&mut client, "INBOX.Work").len();
    assert_eq!(work, 2 + 4, "copied once by each command");
    assert_eq!(everything(&mut client, "INBOX").len(), before.len());
}

/// It may be put off for long, and then the client shall know, and can go on with what is there.
#[test]
fn v7_what_a_server_puts_off_for_ever_is_refused_as_that() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    put_off(&world.old_wire, "UID FETCH", "UNAVAILABLE", usize::MAX);
    let refused = client.no("FETCH 1:5 (UID FLAGS)");
    assert!(refused.code("UNAVAILABLE").is_some(), "{refused:?}");
    assert_eq!(client.ok("FETCH 6:10 (UID FLAGS)").fetched().len(), 5, "new has time");
    world.old_wire.release();
    assert_eq!(client.ok("FETCH 1:* (UID FLAGS)").fetched().len(), 10);
}

/// Nothing is wrong with a message for which a server has no time: it waits for it, and is not given up.
#[test]
fn v5_messages_that_new_puts_off_are_copied_once_it_has_time() {
    for code in ["THROTTLED", "UNAVAILABLE", "INUSE"] {
        // Without LITERAL+, new refuses before it has the message.
        let world = World::new().wired().set("new.mask", "[\"LITERAL+\"]");
        let world = world.seeded(|old, new| {
            old.seed("INBOX", &mails(0..5));
            new.seed("INBOX", &mails(10..11));
        });
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        let count = put_off(&world.new_wire, "APPEND", code, 7);
        client.ok("FETCH 1:5 (BODY.PEEK[])");
        let mut direct = world.new.client();
        eventually("all are copied", || {
            (everything(&mut direct, "INBOX").len() == 6).then_some(())
        });
        assert!(count.load(Ordering::Relaxed) >= 7, "{code}");
        world.new_wire.release();
        assert_eq!(everything(&mut client, "INBOX").len(), 6, "{code}");
        assert!(!world.proxy.log().contains("stuck"), "{code}: {}", world.proxy.log());
    }
}

#[test]
fn v5_messages_that_old_puts_off_are_copied_once_it_has_time() {
    // What passed to the client is collected on the way; of a part alone nothing is, and the copier reads the whole.
    for opened in ["BODY.PEEK[]", "BODY.PEEK[TEXT]"] {
        let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        // Of the two only the copier asks for the date.
        let count = put_off(&world.old_wire, " INTERNALDATE", "THROTTLED", 8);
        client.ok(&format!("FETCH 1:5 ({opened})"));
        let mut direct = world.new.client();
        eventually("all are copied", || {
            (everything(&mut direct, "INBOX").len() == 5).then_some(())
        });
        world.old_wire.release();
        assert!(count.load(Ordering::Relaxed) > 8, "{opened}");
        assert!(!world.proxy.log().contains("stuck"), "{opened}: {}", world.proxy.log());
    }
}
