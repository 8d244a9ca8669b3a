//! Servers that take only so many connections: whoever needs one more waits for one that is lent (V7).

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{Dovecot, Fate, Way, World, eventually, everything, has, mails};

/// Old takes two connections of a user from one address, and the proxy may have four.
#[test]
fn v7_where_a_server_takes_no_more_connections_the_next_one_waits_for_one_that_is_lent() {
    let world = World::new()
        .old(Dovecot::old_style().max_userip_connections(2))
        .wired()
        .set("copy.on_access", "false")
        .seeded(|old, _| {
            for folder in ["INBOX", "Work", "Sent"] {
                old.seed(folder, &mails(0..4));
            }
        });
    let folders = ["INBOX".to_owned(), world.old.name("Work"), world.old.name("Sent")];
    let mut clients: Vec<_> = folders.iter().map(|_| world.proxy.client()).collect();
    for (client, folder) in clients.iter_mut().zip(&folders) {
        client.ok(&format!("SELECT {folder}"));
    }
    // All of old's answers to FETCHes wait, so what is lent stays lent.
    world.old_wire.rule(|way, chunk| match way == Way::ToProxy && has(chunk, "FETCH (") {
        true => Fate::Hold,
        false => Fate::Pass,
    });
    // One after the other: Dovecot counts what is logged in, and not who is about to.
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send("f FETCH 1:* (UID BODY.PEEK[])");
        let refused = |log: &str| log.contains("Maximum number of connections");
        eventually("it has a connection, or is refused one", || {
            let log = world.old.log();
            let logins = log.matches("Login: user=<ann").count();
            (if nth < 2 { logins > nth } else { refused(&log) }).then_some(())
        });
    }
    world.old_wire.release();
    for client in &mut clients {
        let fetched = client.until("f");
        assert_eq!((fetched.status.as_str(), fetched.fetched().len()), ("OK", 4), "{fetched:?}");
    }
    // Watchers give way as well.
    for client in &mut clients[..2] {
        client.idle();
    }
    assert_eq!(everything(&mut clients[2], &folders[2]).len(), 4);
    let log = world.proxy.log();
    assert!(!log.contains("refused: "), "the password is right: {log}");
}

/// A greeting that is a BYE: the server is there, and has no time.
#[test]
fn v7_a_server_that_greets_with_bye_is_there_and_what_is_lent_goes_on() {
    let world = World::new()
        .wired()
        .set("copy.on_access", "false")
        .set("limits.backend_failures", "1")
        .seeded(|old, _| {
            old.seed("INBOX", &mails(0..4));
            old.seed("Work", &mails(4..8));
        });
    let (mut one, mut two) = (world.proxy.client(), world.proxy.client());
    one.ok("SELECT INBOX");
    let byes = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&byes);
    let hold = Arc::new(AtomicUsize::new(1));
    let held = Arc::clone(&hold);
    world.old_wire.rule(move |way, chunk| {
        if way == Way::ToProxy && chunk.starts_with(b"* OK [CAPABILITY") {
            told.fetch_add(1, Ordering::Relaxed);
            return Fate::Cut(b"* BYE Too many connections\r\n".to_vec());
        }
        if way == Way::ToProxy && has(chunk, "FETCH (") && held.load(Ordering::Relaxed) == 1 {
            return Fate::Hold;
        }
        Fate::Pass
    });
    // What is idle is lent to the one; the other one needs a connection more.
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut client = world.proxy.client();
        client.send("s SELECT INBOX");
        busy.push(client);
    }
    one.send("f FETCH 1:* (UID BODY.PEEK[])");
    two.send("s SELECT INBOX.Work");
    eventually("one is answered by BYE", || (byes.load(Ordering::Relaxed) > 0).then_some(()));
    hold.store(0, Ordering::Relaxed);
    world.old_wire.release();
    assert_eq!(one.until("f").fetched().len(), 4);
    assert_eq!(two.until("s").count("EXISTS"), Some(4));
    for client in &mut busy {
        assert_eq!(client.until("s").count("EXISTS"), Some(4));
    }
    assert!(!world.proxy.log().contains("the server cannot be reached"), "{}", world.proxy.log());
}
