//! Clients that mean no good, or are broken: each gets an answer or the door, and nobody else notices.

mod lab;

use std::time::{Duration, Instant};

use lab::{Dialogue, Dovecot, Mail, World, everything, large, mails, small};

/// What the proxy says to octets on a new connection until it closes it or is silent.
fn answer(port: u16, login: bool, octets: &[u8]) -> (Vec<String>, bool) {
    let mut client = Dialogue::connect(port);
    if login {
        client = client.login("ann@example.com", "secret");
        client.ok("SELECT INBOX");
    }
    client.raw(octets);
    let mut heard: Vec<String> = Vec::new();
    loop {
        // Some are answered twice: then the second answer comes soon.
        let patience = if heard.is_empty() { 5000 } else { 100 };
        match client.next_within(Duration::from_millis(patience)) {
            Ok(Some(response)) => heard.push(String::from_utf8_lossy(&response).into_owned()),
            Ok(None) => return (heard, false),
            Err(()) => return (heard, true),
        }
    }
}

/// Others can still work.
#[track_caller]
fn alive(world: &World, messages: usize, after: &str) {
    let before = Instant::now();
    let seen = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(seen.len(), messages, "{after}");
    assert!(before.elapsed() < Duration::from_secs(10), "{after}: {:?}", before.elapsed());
}

#[test]
fn no_octets_of_a_client_end_the_proxy_or_go_unanswered() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let open = "(".repeat(50_000);
    let nots = "NOT ".repeat(15_000);
    let ors = "OR ".repeat(20_000);
    let set = "1,".repeat(31_000);
    let after_login: Vec<(&str, String)> = vec![
        ("open parentheses in FETCH", format!("a FETCH 1 {open}\r\n")),
        ("open parentheses in SEARCH", format!("a SEARCH {open}\r\n")),
        ("closed parentheses in SEARCH", {
            format!("a SEARCH {}ALL{}\r\n", "(".repeat(30_000), ")".repeat(30_000))
        }),
        ("many NOT", format!("a SEARCH {nots}ALL\r\n")),
        ("many OR", format!("a SEARCH {ors}ALL\r\n")),
        ("a long set", format!("a FETCH {set}1 FLAGS\r\n")),
        ("a set of all numbers", "a UID FETCH 1:4294967295,4294967295:1,*:1 FLAGS\r\n".into()),
        ("zero in a set", "a FETCH 0 FLAGS\r\n".into()),
        ("zero in a UID set", "a UID FETCH 0:0 FLAGS\r\n".into()),
        ("a number too large", "a FETCH 4294967296 FLAGS\r\n".into()),
        ("a partial too large", "a FETCH 1 BODY[]<4294967295.4294967295>\r\n".into()),
        ("a NUL", "a SEARCH SUBJECT \"x\0y\"\r\n".into()),
        ("a NUL in a literal", "a SEARCH SUBJECT {3+}\r\nx\0y\r\n".into()),
        ("a lone CR", "a SEARCH SUBJECT \"x\ry\"\r\n".into()),
        ("eight bits", "a LIST \"\" \u{e9}\u{e9}\r\n".into()),
        ("a mailbox of nothing", "a SELECT \"\"\r\n".into()),
        ("a mailbox name of 60,000 octets", format!("a CREATE {}\r\n", "x".repeat(60_000))),
        ("an injected line", "a CREATE {9+}\r\nx\r\nb NOOP\r\n".into()),
        ("an injected keyword", "a STORE 1 +FLAGS (x\"y)\r\n".into()),
        ("an empty keyword list", "a STORE 1 +FLAGS ()\r\n".into()),
        ("a literal as large as can be", "a SEARCH SUBJECT {99999999999}\r\n".into()),
        ("a literal beyond 64 bits", "a SEARCH SUBJECT {99999999999999999999999}\r\n".into()),
        ("an APPEND as large as can be", "a APPEND INBOX {99999999999}\r\n".into()),
        ("an APPEND of nothing", "a APPEND INBOX {0+}\r\n\r\n".into()),
        ("an APPEND without a message", "a APPEND INBOX\r\n".into()),
        ("an APPEND of a bad date", "a APPEND INBOX \"99-Foo-0000\" {1+}\r\nx\r\n".into()),
        ("rubbish behind an APPEND", "a APPEND INBOX {1+}\r\nx rubbish\r\n".into()),
        ("two messages in an APPEND", "a APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n".into()),
    ];
    let before_login: Vec<(&str, String)> = vec![
        ("no tag", "NOOP\r\n".into()),
        ("only a tag", "a\r\n".into()),
        ("nothing", "\r\n".into()),
        ("only blanks", "    \r\n".into()),
        ("a blank before the tag", " a NOOP\r\n".into()),
        ("a plus for a tag", "+ NOOP\r\n".into()),
        ("an asterisk for a tag", "* BYE\r\n".into()),
        ("a line too long", format!("a LOGIN {} x\r\n", "y".repeat(100_000))),
        ("a literal too long", "a LOGIN {99999999999}\r\n".into()),
        (
            "a non-synchronising literal too long",
            format!("a LOGIN {{9000+}}\r\n{} x\r\n", "y".repeat(9000)),
        ),
        ("many literals", format!("a LOGIN {}\r\n", "{1+}\r\nx ".repeat(5000))),
        ("a literal of nothing", "a LOGIN {0+}\r\n {0+}\r\n\r\n".into()),
        ("a NUL", "a LOGIN \"x\0y\" z\r\n".into()),
        ("a tag too long", format!("{} NOOP\r\n", "t".repeat(7000))),
        ("base64 that is none", "a AUTHENTICATE PLAIN !!!\r\n".into()),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\r\n".into()),
        ("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into()),
    ];
    for (login, cases) in [(false, before_login), (true, after_login)] {
        for (name, octets) in cases {
            let (heard, closed) = answer(world.proxy.port, login, octets.as_bytes());
            let told = heard.iter().any(|line| {
                let tagged = line.split(' ').nth(1).unwrap_or("");
                ["OK", "NO", "BAD", "BYE"].contains(&tagged)
            });
            assert!(told, "{name}: {heard:?}, closed: {closed}");
            assert!(!heard.iter().any(|l| l.contains("SERVERBUG")), "{name}: {heard:?}");
        }
        let messages = everything(&mut world.old.client(), "INBOX").len();
        assert_eq!(messages, 3, "nothing came to old");
        let there = everything(&mut world.proxy.client(), "INBOX");
        assert!(there.len() >= messages, "others go on");
    }
    let log = world.proxy.log();
    assert!(!log.contains("panicked"), "no panic");
}

#[test]
fn five_thousand_pipelined_commands_are_answered_in_turn() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client();
    let all: String = (0..5000).map(|n| format!("p{n} NOOP\r\n")).collect();
    client.raw(all.as_bytes());
    for n in 0..5000 {
        assert_eq!(client.until(&format!("p{n}")).status, "OK");
    }
    alive(&world, 3, "pipelining");
}

#[test]
fn clients_that_leave_within_an_append_leave_nothing_behind() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    alive(&world, 3, "before");
    for round in 0..12 {
        let mut client = world.proxy.client();
        let message = large(round, 300_000);
        let command = format!("a APPEND INBOX {{{}+}}\r\n", message.len());
        client.raw(command.as_bytes());
        client.raw(&message[..10_000 * round as usize]);
        drop(client);
    }
    // Every connection of the pool is free again: more clients than connections can write.
    let mut clients: Vec<Dialogue> = (0..6).map(|_| world.proxy.client()).collect();
    for (n, client) in (50..).zip(&mut clients) {
        client.append("INBOX", "", &small(n));
    }
    alive(&world, 9, "after twelve halves of messages");
}

#[test]
fn a_client_that_never_reads_keeps_nobody_from_working() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &[mails(0..3), vec![Mail::of(large(3, 12_000_000))]].concat());
        new.seed("INBOX", &mails(10..12));
    });
    let mut deaf: Vec<Dialogue> = (0..5).map(|_| world.proxy.client()).collect();
    for client in &mut deaf {
        client.ok("SELECT INBOX");
    }
    for client in &mut deaf {
        client.send("x FETCH 1:* (UID BODY.PEEK[])");
    }
    let before = Instant::now();
    let mut client = world.proxy.client();
    client.patience = Duration::from_secs(40);
    client.ok("SELECT INBOX");
    assert_eq!(client.ok("FETCH 1:3 (UID FLAGS BODY.PEEK[])").fetched().len(), 3);
    client.append("INBOX", "", &small(20));
    client.ok("STORE 1 +FLAGS (\\Flagged)");
    assert!(before.elapsed() < Duration::from_secs(35), "{:?}", before.elapsed());
    drop(deaf);
    alive(&world, 7, "when the deaf have gone");
}

#[test]
fn twelve_sessions_share_what_the_server_allows() {
    for limit in [4, 2] {
        let world = World::new()
            .old(Dovecot::old_style().max_userip_connections(4))
            .new(Dovecot::new_style().max_userip_connections(4))
            .set("limits.connections_per_account", &limit.to_string())
            .seeded(|old, new| {
                for folder in ["INBOX", "a", "b", "c"] {
                    old.seed(folder, &mails(0..30));
                    new.seed(folder, &mails(100..105));
                }
            });
        let folders = ["INBOX", "INBOX.a", "INBOX.b", "INBOX.c"];
        let mut clients: Vec<Dialogue> = (0..12).map(|_| world.proxy.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ok(&format!("SELECT {}", folders[n % 4])).count("EXISTS"), Some(35));
        }
        let (idlers, workers) = clients.split_at_mut(6);
        idlers.iter_mut().for_each(Dialogue::idle);
        std::thread::scope(|scope| {
            for (n, client) in workers.iter_mut().enumerate() {
                scope.spawn(move || {
                    for round in 0..6 {
                        let all = client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").fetched();
                        let whole = all.iter().filter(|m| m.bodies.contains_key("BODY[]"));
                        assert_eq!(whole.count(), 35);
                        client.ok(&format!("STORE {} +FLAGS ($w{n})", round + 1));
                        client.ok("SEARCH ALL");
                        client.ok(&format!("STATUS {} (MESSAGES)", folders[(n + round) % 4]));
                    }
                });
            }
        });
        world.new.deliver("INBOX", &Mail::of(small(500)));
        for (n, client) in idlers.iter_mut().enumerate().filter(|(n, _)| n % 4 == 0) {
            client.patience = Duration::from_secs(30);
            let told = client.wait_for(|r| r.ends_with(" EXISTS"));
            assert_eq!(told, "* 36 EXISTS", "limit {limit}, idler {n}");
        }
        idlers.iter_mut().for_each(|client| drop(client.done()));
        let refused = world.old.log().contains("Maximum number of connections")
            || world.new.log().contains("Maximum number of connections");
        assert!(!refused, "no more connections than the server allows");
    }
}

#[test]
fn a_command_without_end_is_not_kept_before_login() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    alive(&world, 3, "before");
    let before = world.proxy.peak_rss();
    let mut client = Dialogue::connect(world.proxy.port);
    client.raw(b"a LOGIN ");
    let pieces = format!("{{1+}}\r\nx {}", "y".repeat(6000)).repeat(20);
    for _ in 0..600 {
        client.raw(pieces.as_bytes());
    }
    client.raw(b"\r\n");
    assert_eq!(client.until("a").status, "BAD");
    let grown = world.proxy.peak_rss().saturating_sub(before);
    assert!(grown < 16 << 20, "72 MB were sent, and {grown} octets kept");
    alive(&world, 3, "afterwards");
}

#[test]
fn who_does_not_log_in_in_time_is_disconnected_whatever_he_says() {
    let world = World::new().set("limits.login_timeout", "\"2s\"").start();
    let mut client = Dialogue::connect(world.proxy.port);
    let until = Instant::now() + Duration::from_secs(20);
    let closed = loop {
        client.raw(b"n NOOP\r\n");
        if client.is_closed_within(Duration::from_millis(300)) {
            break true;
        }
        if Instant::now() > until {
            break false;
        }
    };
    assert!(closed, "NOOP upon NOOP keeps a connection open without a login");
}
