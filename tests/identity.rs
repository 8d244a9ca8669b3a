//! ID (RFC 2971): who a client says it is, and what the servers are told of it.

mod lab;

use lab::{Dialogue, Dovecot, Fate, Way, World, eventually, everything, has, mails};

/// A Dovecot that believes the proxy and logs what it was told.
fn trusting() -> Dovecot {
    Dovecot::old_style()
        .setting("login_trusted_networks = 127.0.0.0/8")
        .setting("imap_id_log = *")
        .setting(
            "login_log_format_elements = user=<%u> rip=%r rport=%b lport=%a session=<%{session}>",
        )
}

/// What one login looks like in a server's log.
fn logins(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("Login: user=")).collect()
}

#[test]
fn a_trusting_server_is_told_of_the_client() {
    let world = World::new()
        .old(trusting())
        .new(Dovecot::new_style().setting("login_log_format_elements = rport=%b lport=%a"))
        .set("old.id_forward", "true")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = Dialogue::connect(world.proxy.port);
    let id =
        "ID (\"name\" \"Letters\" \"X-Originating-IP\" \"192.0.2.66\" \"x-session-id\" \"stolen\")";
    let answer = client.ok(id).lines().join("");
    assert!(answer.starts_with("* ID (\"name\" \"Mailferry\""), "{answer}");
    let port = client.port();
    let mut client = client.login("ann@example.com", "secret");
    assert_eq!(everything(&mut client, "INBOX").len(), 3);

    let log = eventually("the login is logged", || {
        let log = world.old.log();
        (!logins(&log).is_empty() && log.contains("Letters")).then_some(log)
    });
    let told = format!("rip=127.0.0.1, rport={port}, lport={}, session=<", world.proxy.port);
    for login in logins(&log) {
        assert!(login.contains(&told), "{login}");
        // The name of the session in the proxy's own log.
        let session = login.split("session=<").nth(1).and_then(|s| s.split('>').next());
        let number = session.and_then(|s| s.split('-').nth(1)).expect("a session's name");
        assert!(world.proxy.log().contains(&format!("session{{id={number} ")), "{login}");
    }
    assert!(!log.contains("192.0.2.66") && !log.contains("stolen"), "{log}");
    let new = eventually("the login on new", || {
        let log = world.new.log();
        log.contains("Login: ").then_some(log)
    });
    assert!(!new.contains(&format!("rport={port}")), "who is not to know is not told: {new}");
}

#[test]
fn connections_bear_the_client_that_logged_in_last() {
    let world = World::new().old(trusting()).set("old.id_forward", "true").start();
    let first = world.proxy.client();
    let second = world.proxy.client();
    let told = |client: &Dialogue| format!("rport={},", client.port());
    let log = world.old.log();
    assert!(logins(&log).iter().all(|login| login.contains(&told(&first))), "{log}");
    // Both are remembered as the same login; a connection that is opened now is the second's.
    let mut third = world.proxy.client();
    for client in &mut [second, first] {
        client.ok("SELECT INBOX");
        client.idle();
    }
    third.ok("SELECT INBOX.Sent");
    third.idle();
    let bearer = told(&third);
    eventually("a connection of the third", || {
        let log = world.old.log();
        logins(&log).last().is_some_and(|login| login.contains(&bearer)).then_some(())
    });
}

#[test]
fn a_server_that_does_not_believe_the_proxy_lets_users_in_all_the_same() {
    let world = World::new()
        .old(Dovecot::old_style())
        .set("old.id_forward", "true")
        .set("new.id_forward", "true")
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..3));
            new.seed("INBOX", &mails(10..12));
        });
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), 5);
}

const INDEXER: &str = "ID (\"name\" \"com.apple.email.maild\" \"event\" \"indexer\")";
const BACK_FILL: &str = "ID (\"event\" \"sync,Back-Fill\")";
const PERSON: &str = "ID (\"name\" \"com.apple.email.maild\" \"event\" \"user\")";

/// Old says once that it is asked too much: the proxy asks again, and heeds it for a minute.
fn throttle(world: &World) {
    let mut said = false;
    world.old_wire.rule(move |way, chunk| {
        if way == Way::ToProxy && has(chunk, "OK NOOP") && !std::mem::replace(&mut said, true) {
            let text = String::from_utf8_lossy(chunk).replace("OK NOOP", "NO [THROTTLED] NOOP");
            return Fate::Instead(text.into_bytes());
        }
        Fate::Pass
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOOP");
    world.old_wire.release();
}

#[test]
fn an_indexer_is_put_off_while_old_is_throttling() {
    let world = World::new()
        .wired()
        .set("limits.postpone_indexing", "true")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = Dialogue::connect(world.proxy.port);
    for id in [INDEXER, BACK_FILL, PERSON] {
        client.ok(id);
    }
    throttle(&world);
    for id in [INDEXER, BACK_FILL] {
        let answer = client.no(id);
        assert!(answer.text.starts_with("[UNAVAILABLE]"), "{answer:?}");
    }
    client.ok(PERSON);
    client.ok("ID NIL");
    assert_eq!(everything(&mut client.login("ann@example.com", "secret"), "INBOX").len(), 3);
}

#[test]
fn an_indexer_is_put_off_while_all_connections_of_its_account_are_busy() {
    let world = World::new()
        .wired()
        .set("limits.postpone_indexing", "true")
        .set("limits.connections_per_account", "2")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut indexer = world.proxy.client();
    indexer.ok(INDEXER);
    let mut busy = [world.proxy.client(), world.proxy.client()];
    for client in &mut busy {
        client.ok("SELECT INBOX");
    }
    world.old_wire.rule(|way, _| if way == Way::ToProxy { Fate::Hold } else { Fate::Pass });
    for client in &mut busy {
        client.send("f FETCH 1:* (UID ENVELOPE)");
    }
    eventually("both are busy", || (indexer.cmd(INDEXER).status == "NO").then_some(()));
    world.old_wire.release();
    for client in &mut busy {
        assert_eq!(client.until("f").status, "OK");
    }
    eventually("old has time again", || (indexer.cmd(INDEXER).status == "OK").then_some(()));
}

#[test]
fn nobody_is_put_off_where_that_is_not_wanted() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    throttle(&world);
    world.proxy.client().ok(INDEXER);
}
