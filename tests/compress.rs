//! COMPRESS (RFC 4978) on both legs.

mod lab;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use lab::{
    Dialogue, Dovecot, Fate, Mail, Way, World, eventually, eventually_holds, everything, has,
    large, mails, sorted, tools,
};

/// A Dovecot that offers COMPRESS after login.
fn compressing(shape: Dovecot) -> Dovecot {
    shape.setting("protocol imap {\n  mail_plugins = imap_zlib\n}")
}

fn deflated(text: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    for _ in 0..times {
        encoder.write_all(text).expect("deflate");
    }
    encoder.flush().expect("deflate");
    encoder.get_ref().clone()
}

#[test]
fn a_compressed_session_sees_what_a_clear_one_sees() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..30));
        new.seed("INBOX", &mails(100..105));
    });
    let clear = everything(&mut world.proxy.client(), "INBOX");
    let mut after_login = world.proxy.client().compress();
    assert_eq!(everything(&mut after_login, "INBOX"), clear);
    let before_login = Dialogue::connect(world.proxy.port).compress();
    assert_eq!(everything(&mut before_login.login("ann@example.com", "secret"), "INBOX"), clear);
    let tls = Dialogue::connect_tls(world.proxy.tls_port, &world.proxy.ca());
    let mut tls = tls.login("ann@example.com", "secret").compress();
    assert_eq!(everything(&mut tls, "INBOX"), clear);
    tls.ok("LOGOUT");
}

#[test]
fn compression_begins_once_and_by_deflate_only() {
    let world = World::new().start();
    let mut client = Dialogue::connect(world.proxy.port);
    let other = client.no("COMPRESS LZW");
    client.bad("COMPRESS");
    let mut client = client.compress();
    let again = client.no("COMPRESS DEFLATE");
    assert!(again.text.contains("[COMPRESSIONACTIVE]"), "{again:?}");
    assert!(!other.text.contains("[COMPRESSIONACTIVE]"), "{other:?}");
    // TLS would have to begin below what is compressed already.
    client.bad("STARTTLS");
    let offered = client.ok("CAPABILITY").lines().join(" ");
    assert!(!offered.contains("STARTTLS"), "{offered}");
    assert!(offered.contains("COMPRESS=DEFLATE"), "{offered}");
    client.ok("LOGIN ann@example.com secret");
    client.no("COMPRESS DEFLATE");
}

#[test]
fn what_follows_compress_in_clear_is_read_in_clear() {
    let world = World::new().start();
    let mut client = world.proxy.client();
    client.raw(b"a COMPRESS DEFLATE\r\nb NOOP\r\nc CAPABILITY\r\n");
    assert_eq!(client.until("a").status, "BAD");
    assert_eq!(client.until("b").status, "OK");
    assert_eq!(client.until("c").status, "OK");
    client.compress().ok("NOOP");
}

#[test]
fn commands_may_arrive_octet_by_octet() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    client.ok("COMPRESS DEFLATE");
    let mut client = client.deflated_octet_by_octet();
    assert_eq!(everything(&mut client, "INBOX").len(), 5);
    client.append("INBOX", "(\\Seen)", &lab::small(7));
    assert_eq!(everything(&mut client, "INBOX").len(), 6);
    let pipelined: String = (0..200).map(|n| format!("p{n} NOOP\r\n")).collect();
    client.raw(pipelined.as_bytes());
    assert_eq!(client.until("p199").status, "OK");
}

#[test]
fn an_idle_client_is_told_at_once() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client().compress();
    client.ok("SELECT INBOX");
    client.idle();
    // Longer than the quiet after which a session gives back what it holds.
    assert_eq!(client.leftovers(Duration::from_millis(1500)), [] as [String; 0]);
    for (n, exists) in [(50, "* 4 EXISTS"), (51, "* 5 EXISTS")] {
        world.old.deliver("INBOX", &Mail::numbered(n));
        client.wait_for(|line| line == exists);
    }
    client.done();
    assert_eq!(everything(&mut client, "INBOX").len(), 5);
}

#[test]
fn large_messages_pass_both_ways_and_are_never_held() {
    let world = World::new()
        .old(compressing(Dovecot::old_style()))
        .new(compressing(Dovecot::new_style()))
        .set("old.compress", "\"auto\"")
        .set("new.compress", "\"auto\"")
        .seeded(|old, _| old.seed("INBOX", &[Mail::of(large(1, 50_000_000))]));
    let mut client = world.proxy.client().compress();
    client.patience = Duration::from_secs(120);
    client.append("INBOX", "", &large(2, 50_000_000));
    client.ok("SELECT INBOX");
    for n in [1, 2] {
        let fetched = client.ok(&format!("FETCH {n} (UID BODY.PEEK[])")).fetched();
        assert!(fetched[0].body() == large(n, 50_000_000), "message {n}");
    }
    drop(client);
    let mut new = world.new.client();
    eventually_holds(&mut new, "INBOX", 2);
    let peak = world.proxy.peak_rss();
    assert!(peak < 120 << 20, "{peak}");
}

#[test]
fn a_bomb_costs_little_memory_and_disturbs_nobody() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut bomber = world.proxy.client();
    bomber.ok("COMPRESS DEFLATE");
    // A line of a gigabyte in a megabyte.
    let bomb = deflated(&[b'A'; 1 << 20], 1 << 10);
    assert!(bomb.len() < 2 << 20);
    bomber.raw(&bomb);
    let mut bomber = bomber.deflated();
    assert!(bomber.response().starts_with(b"* BYE"));
    assert!(bomber.is_closed_within(Duration::from_secs(5)));

    // A literal of a gigabyte that nobody wants, and behind it a command.
    let mut bomber = world.proxy.client();
    bomber.ok("COMPRESS DEFLATE");
    let octets = 64_usize << 20;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(format!("a SEARCH TEXT {{{octets}+}}\r\n").as_bytes()).expect("deflate");
    encoder.write_all(&vec![b'A'; octets]).expect("deflate");
    encoder.write_all(b"\r\nb NOOP\r\n").expect("deflate");
    encoder.flush().expect("deflate");
    bomber.raw(encoder.get_ref());
    let mut bomber = bomber.deflated();
    assert_eq!(bomber.until("a").status, "BAD");
    assert_eq!(bomber.until("b").status, "OK");

    // Millions of commands from a client that reads no answer.
    let mut bomber = world.proxy.client();
    bomber.ok("COMPRESS DEFLATE");
    bomber.raw(&deflated(&b"a CAPABILITY\r\n".repeat(1 << 16), 32));
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), 3);

    // What is no deflate ends the connection.
    let mut liar = world.proxy.client();
    liar.ok("COMPRESS DEFLATE");
    liar.raw(b"a1 NOOP\r\na2 NOOP\r\n\xff\xff\xff\xff");
    assert!(liar.is_closed_within(Duration::from_secs(5)));
    let peak = world.proxy.peak_rss();
    assert!(peak < 100 << 20, "{peak}");
}

#[test]
fn pythons_zlib_is_understood() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    let port = world.proxy.port.to_string();
    tools::python("compressed.py", &[&port, "ann@example.com", "secret"]).content();
}

#[test]
fn servers_are_spoken_to_compressed_where_that_is_set() {
    let world = World::new()
        .old(compressing(Dovecot::old_style()))
        .new(compressing(Dovecot::new_style()))
        .set("old.compress", "\"auto\"")
        .wired()
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..20));
            new.seed("INBOX", &mails(100..103));
        });
    let passed = [Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new()))];
    for (wire, passed) in [&world.old_wire, &world.new_wire].into_iter().zip(&passed) {
        let passed = Arc::clone(passed);
        wire.rule(move |_, chunk| {
            passed.lock().expect("passed").extend_from_slice(chunk);
            Fate::Pass
        });
    }
    let mut union = everything(&mut world.old.client(), "INBOX");
    union.extend(everything(&mut world.new.client(), "INBOX"));
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(sorted(shown), sorted(union));
    let [old, new] = passed.map(|passed| passed.lock().expect("passed").clone());
    let subjects = |octets| memchr::memmem::find_iter(octets, "Subject: ").count();
    assert!(has(&old, "COMPRESS DEFLATE"));
    assert!(subjects(&old) < 5, "old is compressed: {}", subjects(&old));
    assert!(!has(&new, "COMPRESS DEFLATE"));
    assert!(subjects(&new) >= 3, "new is not: {}", subjects(&new));
    // Copies and news come the same way.
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (UID BODY[])");
    eventually_holds(&mut world.new.client(), "INBOX", 23);
    client.idle();
    world.old.deliver("INBOX", &Mail::numbered(60));
    client.wait_for(|line| line == "* 24 EXISTS");
    client.done();
}

#[test]
fn a_server_without_compress_is_spoken_to_in_clear() {
    let world = World::new()
        .set("old.compress", "\"auto\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), 3);
}

#[test]
fn a_server_whose_compressed_octets_are_garbled_is_asked_anew() {
    let world = World::new()
        .old(compressing(Dovecot::old_style()))
        .set("old.compress", "\"auto\"")
        .wired()
        .seeded(|old, _| old.seed("INBOX", &mails(0..20)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let mut once = true;
    world.old_wire.rule(move |way, chunk| match way {
        Way::ToProxy if std::mem::take(&mut once) => Fate::Instead(vec![0xff; chunk.len()]),
        _ => Fate::Pass,
    });
    client.cmd("FETCH 1:* (UID BODY.PEEK[])");
    eventually("the messages are there again", || {
        let reply = client.cmd("FETCH 1:* (UID BODY.PEEK[])");
        (reply.status == "OK" && reply.fetched().len() == 20).then_some(())
    });
}

#[test]
fn compression_ends_with_the_login() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client().compress();
    client.ok("SELECT INBOX");
    client.ok("UNAUTHENTICATE");
    let mut client = client.in_clear();
    client.bad("SELECT INBOX");
    assert!(client.ok("CAPABILITY").lines().join(" ").contains("STARTTLS"));
    let mut client = client.login("ann@example.com", "secret").compress();
    assert_eq!(everything(&mut client, "INBOX").len(), 3);
    // Who does not believe it is not misunderstood.
    client.raw(b"a UNAUTHENTICATE\r\nb LOGIN ann@example.com secret\r\n");
    assert!(client.is_closed_within(Duration::from_secs(5)));
}
