//! A new server without UIDPLUS whose SEARCH does not find what was appended a moment ago (Exchange 2010 does
//! so): every message is copied once all the same (V5).

mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::{Fate, Relay, Way, World, everything, mails};

/// For so long after SEARCH found a message first, the server says that it did not.
const LAG: Duration = Duration::from_millis(700);

/// Leaves out of the answers to SEARCH what the server has found for the first time only a moment ago.
fn lag(wire: &Relay) {
    let mut first: BTreeMap<u32, Instant> = BTreeMap::new();
    wire.rule(move |way, chunk| {
        let text = String::from_utf8_lossy(chunk);
        if way == Way::ToServer || !text.contains("* SEARCH") {
            return Fate::Pass;
        }
        let mut lagging = String::new();
        for line in text.split_inclusive("\r\n") {
            let Some(found) = line.trim_end().strip_prefix("* SEARCH") else {
                lagging.push_str(line);
                continue;
            };
            let known = found.split_whitespace().filter(|uid| {
                let uid = uid.parse().expect("a UID");
                first.entry(uid).or_insert_with(Instant::now).elapsed() > LAG
            });
            let known: Vec<&str> = known.collect();
            let space = if known.is_empty() { "" } else { " " };
            lagging.push_str(&format!("* SEARCH{space}{}\r\n", known.join(" ")));
        }
        Fate::Instead(lagging.into_bytes())
    });
}

#[test]
fn v5_a_search_that_lags_makes_nothing_twice() {
    let mut world = World::new()
        .wired()
        .set("new.mask", "[\"UIDPLUS\", \"ESEARCH\", \"MULTIAPPEND\", \"CONDSTORE\", \"QRESYNC\"]")
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..12));
            new.seed("INBOX", &mails(50..52));
        });
    lag(&world.new_wire);
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:6 (BODY.PEEK[])");
    // In the midst of it the proxy dies.
    lab::eventually_holds(&mut world.new.client(), "INBOX", 4);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:12 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 14);
    lab::eventually_holds(&mut client, "INBOX", 14);
    // Longer than the lag, and than the grace of copies that turn up late.
    std::thread::sleep(Duration::from_millis(2_500));
    client.ok("NOOP");
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert!(lab::view::copies(&on_new).values().all(|n| *n == 1), "{on_new:?}");
    assert_eq!(on_new.len(), 14);
    let seen = everything(&mut client, "INBOX");
    assert_eq!(seen.len(), 14);
    assert!(lab::view::copies(&seen).values().all(|n| *n == 1), "V3: {seen:?}");
}
