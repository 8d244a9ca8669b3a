//! Many clients at random commands on one mailbox, while it is copied: every response fits what was told before
//! (V3), a UID means one message (V2), nothing is lost and nothing is there twice (V5).
//!
//! `tests/lab.sh stress` makes it longer, wider and another one, by `STRESS_SECONDS`, `STRESS_CLIENTS`,
//! `STRESS_SEED` and `STRESS_PAIR`. The same seed is the same random choices, as far as the answers are the same.

mod client;
#[path = "../lab/mod.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Common, message_id};
use lab::{Courier, Cyrus, Dialogue, Dice, Mail, World, large, mails, small};

/// Messages on old at the beginning.
const ON_OLD: u32 = 60;

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Which servers: old first.
fn pair() -> lab::Builder {
    match std::env::var("STRESS_PAIR").as_deref().unwrap_or("dovecot") {
        "dovecot" => World::new(),
        "dovecot-cyrus" => World::new().new(Cyrus::styled(true, true)),
        "courier-dovecot" => World::new().old(Courier::plain().without_locks()),
        "courier-cyrus" => {
            World::new().old(Courier::plain().without_locks()).new(Cyrus::styled(true, true))
        }
        other => panic!(
            "STRESS_PAIR: dovecot, dovecot-cyrus, courier-dovecot or courier-cyrus, not {other}"
        ),
    }
}

#[test]
fn v3_clients_at_random_commands_always_agree_with_what_they_were_told() {
    let (clients, rounds) = (setting("STRESS_CLIENTS", 8), setting("STRESS_ROUNDS", 60));
    let (seed, seconds) = (setting("STRESS_SEED", 4711), setting("STRESS_SECONDS", 0));
    let world = pair().set("limits.connections_per_account", "6").seeded(|old, new| {
        let mut inbox = mails(0..ON_OLD - 1);
        inbox.push(Mail::of(large(ON_OLD - 1, 300_000)));
        old.seed("INBOX", &inbox);
        new.seed("INBOX", &mails(1_000..1_010));
        old.seed("Other", &mails(2_000..2_003));
    });
    let common = Mutex::new(Common::default());
    {
        // Both servers' capabilities are known afterwards.
        let mut first = world.proxy.client();
        first.ok("SELECT INBOX");
        let uids = first.ok("UID SEARCH ALL").found();
        common.lock().expect("nobody else").stored.extend(uids);
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds.into());
    let goes_on = |round: u32| if seconds > 0 { Instant::now() < until } else { round < rounds };
    // Where one fails, the others end as well.
    let (delivered, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut all = std::thread::scope(|scope| {
        let (common, world, over) = (&common, &world, &over);
        let threads: Vec<_> = (0..clients)
            .map(|name| {
                scope.spawn(move || {
                    let ending = Ending(over);
                    let dice = Dice(u64::from(seed) * 1_000 + u64::from(name));
                    let mut client = Client::new(name, world.proxy.client(), dice, common);
                    let mut round = 0;
                    while goes_on(round) && !over.load(Ordering::Relaxed) {
                        client.round();
                        round += 1;
                    }
                    std::mem::forget(ending);
                    client
                })
            })
            .collect();
        // Mail arrives on both servers meanwhile.
        let (delivered, mail_until) = (&delivered, rounds / 10);
        scope.spawn(move || {
            let pause = if seconds > 0 { 1_000 } else { 150 };
            let more = |n: u32| if seconds > 0 { goes_on(0) } else { n < mail_until };
            while more(delivered.load(Ordering::Relaxed)) && !over.load(Ordering::Relaxed) {
                let n = delivered.load(Ordering::Relaxed);
                world.old.deliver("INBOX", &Mail::numbered(50_000 + n));
                world.new.deliver("INBOX", &Mail::numbered(500_000 + n));
                delivered.store(n + 1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect::<Vec<_>>()
    });
    let truth = at_the_end(&world, &common, delivered.into_inner());
    for client in &mut all {
        client.agrees_with(&truth);
    }
    assert!(!world.proxy.log().contains("panicked"), "{}", world.proxy.log());
}

/// Ends the others, unless it is forgotten.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn contents(client: &mut Dialogue, folder: &str) -> Vec<lab::Fetched> {
    client.ok(&format!("SELECT {folder}"));
    let mut all = client.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])").fetched();
    // Flags that others changed a moment ago may be told beside.
    all.retain(|m| !m.bodies.is_empty());
    all
}

/// All is quiet: everybody sees the same, nothing is lost, nothing is there twice.
fn at_the_end(
    world: &World,
    common: &Mutex<Common>,
    arrived: u32,
) -> BTreeMap<u32, BTreeSet<String>> {
    let common = &*common.lock().expect("all have ended");
    let mut client = world.proxy.client();
    let where_is = |id: &str| {
        let on = |server: &lab::Server| {
            let mut direct = server.client();
            direct.ok("SELECT INBOX");
            direct.ok(&format!("UID SEARCH HEADER Message-ID \"<{id}>\"")).lines().concat()
        };
        format!("{id}, on old {:?}, on new {:?}", on(&world.old), on(&world.new))
    };
    let until = Instant::now() + Duration::from_secs(60);
    let all = loop {
        let all = contents(&mut client, "INBOX");
        let there: BTreeSet<String> = all.iter().map(|m| message_id(m.body())).collect();
        let seen: BTreeSet<&String> = there.iter().chain(common.identity.values()).collect();
        let delivered = (0..arrived).flat_map(|n| [50_000 + n, 500_000 + n]);
        let ids = delivered.map(|n| message_id(&small(n)));
        let unseen: Vec<String> = ids.filter(|id| !seen.contains(id)).collect();
        if unseen.is_empty() {
            break all;
        }
        let places = || unseen.iter().map(|id| where_is(id)).collect::<Vec<_>>();
        assert!(Instant::now() < until, "arrivals are not seen: {:?}", places());
        std::thread::sleep(Duration::from_millis(50));
    };
    let there: BTreeSet<u32> = all.iter().map(|m| m.uid).collect();
    let lost: Vec<&u32> =
        common.stored.iter().filter(|u| !there.contains(u) && !common.doomed.contains(u)).collect();
    let somewhere = |uid: &u32| {
        let id = common.identity.get(uid).cloned().unwrap_or_default();
        format!("{uid} {}", where_is(&id))
    };
    let lost: Vec<String> = lost.into_iter().map(somewhere).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    for message in &all {
        if let Some(known) = common.identity.get(&message.uid) {
            assert_eq!(*known, message_id(message.body()), "V2: {}", message.uid);
        }
    }
    let mut second = world.proxy.client();
    second.ok("SELECT INBOX");
    let again = second.ok("UID FETCH 1:* (UID FLAGS)").fetched();
    // What comes unasked may tell the same once more, or what has changed since.
    let told = |all: &[lab::Fetched]| -> BTreeMap<(u32, u32), BTreeSet<String>> {
        all.iter().map(|m| ((m.seq, m.uid), m.flags.clone().unwrap_or_default())).collect()
    };
    assert_eq!(told(&all), told(&again));

    let other = contents(&mut client, "INBOX.Other");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for message in all.iter().chain(&other) {
        *counts.entry(message_id(message.body())).or_default() += 1;
    }
    for (id, count) in &counts {
        let most = common.copies.get(id).copied().unwrap_or(1);
        assert!(*count <= most, "{id} is there {count} times, and {most} at the most");
    }
    // What is on new is on it once: nothing was copied twice.
    let mut on_new: BTreeMap<String, usize> = BTreeMap::new();
    let mut new = world.new.client();
    for folder in ["INBOX", "Other"] {
        for message in contents(&mut new, folder) {
            *on_new.entry(message_id(message.body())).or_default() += 1;
        }
    }
    for (id, count) in on_new {
        let most = common.copies.get(&id).copied().unwrap_or(1);
        assert!(count <= most, "on new {id} is there {count} times, and {most} at the most");
    }
    // Nothing is on new that nobody is shown, and nothing is shown that is on neither.
    let ids = |all: &[lab::Fetched]| -> BTreeSet<String> {
        all.iter().map(|m| message_id(m.body())).collect()
    };
    let (shown, new) = (ids(&all), ids(&contents(&mut new, "INBOX")));
    let unshown: Vec<&String> = new.difference(&shown).collect();
    assert!(unshown.is_empty(), "on new, and not shown: {unshown:?}");
    let old = ids(&contents(&mut world.old.client(), "INBOX"));
    let nowhere: Vec<&String> =
        shown.iter().filter(|id| !new.contains(*id) && !old.contains(*id)).collect();
    assert!(nowhere.is_empty(), "shown, and on neither server: {nowhere:?}");
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), other.len());
    all.into_iter().map(|m| (m.uid, m.flags.unwrap_or_default())).collect()
}
