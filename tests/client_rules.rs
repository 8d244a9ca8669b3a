//! Rules that clients depend on, whatever the standard leaves open.

mod lab;

use std::time::Duration;

use lab::{Dialogue, Fate, Mail, Way, World, eventually, eventually_holds, has, mails, small};

fn world() -> World {
    World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..10));
        new.seed("INBOX", &mails(100..105));
    })
}

/// Fails where a FETCH names a message that EXISTS has not counted yet.
#[track_caller]
fn numbers_are_told_first(exists: &mut u32, lines: &[String]) {
    for line in lines {
        let mut words = line.split(' ').skip(1);
        let (Some(Ok(n)), Some(what)) = (words.next().map(str::parse::<u32>), words.next()) else {
            continue;
        };
        match what {
            "EXISTS" => *exists = n,
            "EXPUNGE" => *exists -= 1,
            "FETCH" => assert!(n <= *exists, "{line:?} where {exists} exist: {lines:#?}"),
            _ => {}
        }
    }
}

#[test]
fn exists_comes_before_a_fetch_that_uses_the_new_number() {
    let world = world();
    let mut client = world.proxy.client();
    let mut exists = client.ok("SELECT INBOX").count("EXISTS").expect("EXISTS");
    let mut other = world.proxy.client();
    other.ok("SELECT INBOX");
    for n in 0..20 {
        let (_, uid) = other.append("INBOX", "", &small(500 + n)).appended();
        // Its flags change, so that there is a FETCH to be told unasked as well.
        other.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
        world.old.deliver("INBOX", &Mail::numbered(600 + n));
        let lines = match n % 4 {
            0 => client.ok("NOOP").lines(),
            1 => client.ok(&format!("UID FETCH {uid} (FLAGS)")).lines(),
            2 => client.ok("UID FETCH 1:* (FLAGS)").lines(),
            _ => {
                client.idle();
                let mut lines = client.leftovers(Duration::from_millis(200));
                lines.extend(client.done().lines());
                lines
            }
        };
        numbers_are_told_first(&mut exists, &lines);
    }
    assert!(exists > 30, "{exists}");
}

#[test]
fn ranges_may_be_reversed_and_end_with_a_star() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let uids = client.ok("UID SEARCH ALL").found();
    assert_eq!(uids.len(), 15);
    let mut told = |command: String| -> Vec<u32> {
        client.ok(&command).fetched().iter().map(|m| m.uid).collect()
    };
    assert_eq!(told("FETCH 12:3 (UID)".into()), uids[2..12]);
    assert_eq!(told("FETCH *:14 (UID)".into()), uids[13..]);
    assert_eq!(told("FETCH * (UID)".into()), uids[14..]);
    assert_eq!(told(format!("UID FETCH {}:{} (UID)", uids[11], uids[1])), uids[1..12]);
    // Above the last one, `*` is below the first number.
    assert_eq!(told(format!("UID FETCH {}:* (UID)", uids[14] + 1_000)), uids[14..]);
    assert_eq!(told("UID FETCH *:1 (UID)".into()), uids);
}

#[test]
fn changed_since_nothing_is_all() {
    let world = world();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX (CONDSTORE)");
    let all = client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 0)").fetched();
    assert_eq!(all.len(), 15);
    assert!(all.iter().all(|m| m.modseq.is_some_and(|n| n > 0)));
    assert_eq!(client.ok("FETCH 4:2 (FLAGS) (CHANGEDSINCE 0)").fetched().len(), 3);
}

/// Dovecot gives nothing for a UID that the connection was not told of, and says OK: a message that came through
/// another connection is given at once all the same.
#[test]
fn a_backend_is_asked_only_for_uids_that_it_announced() {
    let world = world();
    // Each has a connection of its own in hand while it idles.
    let mut clients: Vec<Dialogue> = (0..3).map(|_| world.proxy.client()).collect();
    for client in &mut clients {
        client.ok("SELECT INBOX");
    }
    for n in 0..30 {
        let (appending, reading) = (n as usize % 3, (n as usize + 1) % 3);
        let (_, uid) = clients[appending].append("INBOX", "", &small(700 + n)).appended();
        // The client is told of it, whichever connections its backend has.
        clients[reading].ok("NOOP");
        let fetched = clients[reading].ok(&format!("UID FETCH {uid} (BODY.PEEK[])")).fetched();
        let bodies: Vec<_> =
            fetched.iter().filter(|m| !m.bodies.is_empty()).map(|m| m.body()).collect();
        assert_eq!(bodies, [small(700 + n)], "round {n}");
    }
}

#[test]
fn what_new_does_not_return_of_a_copied_message_is_fetched_from_old() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:5 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 5);
    eventually("all are carried", || {
        (world.proxy.log().matches("carried to new").count() > 0).then_some(())
    });
    // New says OK, and gives nothing of the third.
    world.new_wire.rule(|way, chunk| {
        let text = String::from_utf8_lossy(chunk).into_owned();
        match way {
            Way::ToServer if has(chunk, "UID FETCH 1:5 ") => {
                Fate::Instead(text.replace("FETCH 1:5 ", "FETCH 1:2,4:5 ").into_bytes())
            }
            _ => Fate::Pass,
        }
    });
    let fetched = client.ok("UID FETCH 1:5 (BODY.PEEK[])").fetched();
    let mut given: Vec<(u32, bool)> =
        fetched.iter().map(|m| (m.uid, m.body() == small(m.uid - 1))).collect();
    given.sort_unstable();
    assert_eq!(given, [(1, true), (2, true), (3, true), (4, true), (5, true)]);
}

/// Dovecot makes one CR of two in front of LF: such a message stays on old, and all that is told of it agrees before
/// and after it was tried.
#[test]
fn one_message_has_one_source() {
    let octets: Vec<u8> =
        [&b"Subject: odd\r\nMessage-ID: <odd@example.org>\r\n\r\n"[..], &b"line\r\r\n".repeat(50)]
            .concat();
    let mut odd = Mail::numbered(7);
    odd.octets = octets.clone();
    let world =
        World::new().set("copy.grace", "\"1s\"").seeded(|old, _| old.seed("INBOX", &[odd.clone()]));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let whole = |client: &mut Dialogue| {
        let all = client.ok("FETCH 1 (RFC822.SIZE BODYSTRUCTURE BODY.PEEK[])");
        let structure = all.lines().concat();
        let at = structure.find("BODYSTRUCTURE").expect("BODYSTRUCTURE");
        let structure = structure[at..].split(')').next().expect("its end").to_owned();
        let one = all.fetched().remove(0);
        assert_eq!(one.size, Some(one.body().len()));
        let mut chunks = Vec::new();
        while chunks.len() < one.body().len() {
            let part = client
                .ok(&format!("FETCH 1 (BODY.PEEK[]<{}.100>)", chunks.len()))
                .fetched()
                .remove(0);
            chunks.extend(part.bodies.into_values().next().expect("a chunk"));
        }
        assert_eq!(chunks, one.body());
        (one.body().to_vec(), structure)
    };
    let before = whole(&mut client);
    eventually("it was tried", || world.proxy.log().contains("altered").then_some(()));
    assert_eq!(whole(&mut client), before);
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1]);
}

/// Old's mailbox is another one all of a sudden: nobody is told so by chance, and nothing is shown twice.
#[test]
fn v1_a_uidvalidity_that_changes_under_an_open_session_is_not_passed_on() {
    let mut world = world();
    let mut client = world.proxy.client();
    let told = client.ok("SELECT INBOX").number("UIDVALIDITY");
    let uids = client.ok("UID SEARCH ALL").found();
    client.ok("FETCH 1 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 6);
    world.old.stop();
    let dir = world.old.maildir("ann@example.com", "INBOX");
    let list = std::fs::read_to_string(dir.join("dovecot-uidlist")).expect("uidlist");
    let other = list.replacen(&format!(" V{told} "), &format!(" V{} ", told + 1), 1);
    assert_ne!(list, other, "{list}");
    std::fs::write(dir.join("dovecot-uidlist"), other).expect("uidlist");
    for entry in std::fs::read_dir(&dir).expect("Maildir").flatten() {
        if entry.file_name().to_string_lossy().starts_with("dovecot.index") {
            std::fs::remove_file(entry.path()).expect("index");
        }
    }
    world.old.start();
    let direct = world.old.client().ok("SELECT INBOX").number("UIDVALIDITY");
    assert_eq!(direct, told + 1, "old is another one");
    // What lies on new is there. What lies on old counts anew: a UID from before gives nothing, and
    // not what has that number now.
    for _ in 0..3 {
        client.cmd("NOOP");
        std::thread::sleep(Duration::from_millis(100));
    }
    let gone = client.cmd(&format!("UID FETCH {} (BODY.PEEK[])", uids[1]));
    assert!(gone.fetched().is_empty(), "{gone:?}");
    assert_eq!(
        client.ok(&format!("UID FETCH {} (BODY.PEEK[])", uids[0])).fetched()[0].body(),
        small(0)
    );
    let mut second = world.proxy.client();
    let again = second.ok("SELECT INBOX");
    assert_eq!(again.number("UIDVALIDITY"), told);
    assert_eq!(again.count("EXISTS"), Some(15));
}
