//! A server that cannot be reached is tried once for everybody; one account that has trouble is no such server (V7).

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{Fate, Way, World, eventually, eventually_holds, has, mails};

const OPENED: &str = "the server cannot be reached";

/// Counts connections that a server greets, and keeps the greetings.
fn swallow_greetings(wire: &lab::Relay) -> Arc<AtomicUsize> {
    let tried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tried);
    wire.rule(move |way, chunk| {
        if way == Way::ToProxy && chunk.starts_with(b"* OK [CAPABILITY") {
            count.fetch_add(1, Ordering::Relaxed);
            return Fate::Hold;
        }
        Fate::Pass
    });
    tried
}

#[test]
fn v7_a_dead_new_server_costs_one_timeout_for_all_accounts_and_not_one_each() {
    let accounts = ["ann", "bob", "eve"].map(|name| format!("{name}@example.com"));
    let mut world = World::new()
        .wired()
        .set("limits.backend_connect_timeout", "\"1s\"")
        .set("limits.backend_failures", "2")
        .set("limits.backend_pause", "\"10m\"");
    for account in &accounts {
        world = world.account(account, "secret");
    }
    let world = world.seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    let tried = swallow_greetings(&world.new_wire);
    for account in &accounts[..2] {
        // The two failures may be of one or of two accounts.
        let mut client = world.proxy.client_of(account, "secret");
        client.cmd("SELECT INBOX");
    }
    eventually("the breaker opens", || world.proxy.log().contains(OPENED).then_some(()));
    let before = tried.load(Ordering::Relaxed);
    for account in &accounts {
        for _ in 0..3 {
            let mut client = world.proxy.client_of(account, "secret");
            client.ok("SELECT INBOX");
            client.ok("LIST \"\" *");
            client.ok("STATUS INBOX (MESSAGES)");
        }
    }
    assert_eq!(tried.load(Ordering::Relaxed), before, "nobody tried it any more");
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(4));
    assert_eq!(client.ok("FETCH 1:* (UID BODY.PEEK[])").fetched().len(), 4);
}

#[test]
fn v7_a_server_that_comes_back_is_found_by_one_and_serves_all() {
    let world = World::new()
        .wired()
        .account("ann@example.com", "secret")
        .account("bob@example.com", "secret")
        .set("limits.backend_failures", "2")
        .set("limits.backend_pause", "\"500ms\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    // It closes each connection before its greeting.
    world.new_wire.rule(|_, _| Fate::Cut(Vec::new()));
    let mut client = world.proxy.client();
    eventually("the breaker opens", || {
        client.ok("SELECT INBOX");
        world.proxy.log().contains(OPENED).then_some(())
    });
    world.new_wire.release();
    eventually("it is reached", || {
        client.ok("SELECT INBOX");
        client.ok("FETCH 1:* (BODY.PEEK[])");
        world.proxy.log().contains("the server is reached again").then_some(())
    });
    eventually("ann's mail is copied", || {
        client.ok("FETCH 1:* (BODY.PEEK[])");
        (lab::everything(&mut world.new.client(), "INBOX").len() == 4).then_some(())
    });
    let mut bob = world.proxy.client_of("bob@example.com", "secret");
    bob.literal("APPEND INBOX ", &lab::small(50), "");
    assert_eq!(bob.ok("SELECT INBOX").count("EXISTS"), Some(1));
}

#[test]
fn v7_one_sick_account_cuts_off_no_other() {
    let world = World::new()
        .wired()
        .account("ann@example.com", "secret")
        .account("bob@example.com", "secret")
        .set("limits.backend_failures", "1")
        .set("limits.backend_pause", "\"10m\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    // Whatever bob does on new ends his connection: the server is there, and he is not well.
    world.new_wire.rule(|way, chunk| {
        // AUTHENTICATE PLAIN of bob@example.com with `secret`.
        match way == Way::ToServer && has(chunk, "AGJvYkBleGFtcGxlLmNvbQBzZWNyZXQ=") {
            true => Fate::Cut(Vec::new()),
            false => Fate::Pass,
        }
    });
    let mut bob = world.proxy.client_of("bob@example.com", "secret");
    for _ in 0..5 {
        bob.ok("SELECT INBOX");
    }
    let cut = "new server: connection lost";
    eventually("bob has trouble", || world.proxy.log().contains(cut).then_some(()));
    let mut ann = world.proxy.client();
    ann.ok("SELECT INBOX");
    ann.ok("FETCH 1:* (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 4);
    assert!(!world.proxy.log().contains(OPENED), "{}", world.proxy.log());
}
