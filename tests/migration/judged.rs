//! Accounts are moved while their clients work: at the end every message lies on new exactly once, by its content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Dialogue, Dice, Dovecot, Mail, Server, World, large, quoted, realistic};
use crate::worker::{ALONE, BETWEEN, CARRYING, OVER, Work, work};
use crate::{new_side, setting};

/// Folders as both servers of the lab call them without their prefixes, and how many of ten messages lie there.
const FOLDERS: [(&str, u32); 3] = [("INBOX", 6), ("Work", 3), ("Other", 1)];

#[test]
fn v5_accounts_are_moved_once_while_clients_work_and_the_proxy_is_killed() {
    let (accounts, messages) = (setting("MOVE_ACCOUNTS", 3), setting("MOVE_MESSAGES", 400));
    let (seed, kills) = (setting("MOVE_SEED", 7), setting("MOVE_KILLS", 2));
    let limit = std::env::var("MOVE_LIMIT").unwrap_or("0B".to_owned());
    // As it is shipped, it waits for minutes here and there.
    let (quiet, again, rest, grace) = match std::env::var("MOVE_AS_SHIPPED") {
        Ok(_) => ("5s", "5m", "1m", "60s"),
        Err(_) => ("0s", "1s", "1s", "1s"),
    };
    let look = Duration::from_millis(setting("MOVE_LOOK_MILLIS", 200).into());
    let every = Duration::from_millis(setting("MOVE_EVERY_MILLIS", 0).into());
    let alone = Duration::from_millis(setting("MOVE_ALONE_MILLIS", 1_000).into());
    let names: Vec<String> = (1..=accounts).map(|n| format!("user{n}@example.com")).collect();
    let named: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut dice = Dice(seed.into());
    let mut expected: Vec<BTreeMap<[u8; 32], usize>> = vec![BTreeMap::new(); names.len()];
    let (mut count, mut octets) = (0, 0);
    let mut world = World::unattended_for(&named, Dovecot::old_style(), new_side("MOVE_NEW"))
        .set("trickle.enabled", "true")
        // Clients are never quiet.
        .set("trickle.quiet", &format!("{quiet:?}"))
        .set("trickle.again", &format!("{again:?}"))
        .set("trickle.rest", &format!("{rest:?}"))
        .set("copy.grace", &format!("{grace:?}"))
        .set("trickle.total.bytes_per_second", &format!("{limit:?}"))
        .seeded(|old, _| {
            for (name, expected) in names.iter().zip(&mut expected) {
                for (folder, tenths) in FOLDERS {
                    let mails: Vec<Mail> = (0..messages * tenths / 10 / accounts)
                        .map(|_| {
                            count += 1;
                            Mail::of(large(count, realistic(&mut dice)))
                        })
                        .collect();
                    for mail in &mails {
                        octets += mail.octets.len();
                        *expected.entry(*blake3::hash(&mail.octets).as_bytes()).or_default() += 1;
                    }
                    old.seed_of(name, folder, &mails);
                }
            }
        });
    println!("{accounts} accounts, {count} messages, {} MB, seed {seed}", octets / 1_000_000);
    assert_eq!(world.proxy.run(&["pause"]).status.code(), Some(0));

    let stage = AtomicU8::new(ALONE);
    let port = world.proxy.port;
    let mut moved = Duration::ZERO;
    let mut memory = 0;
    let works: Vec<Work> = std::thread::scope(|scope| {
        let over = Over(&stage);
        let threads: Vec<_> = names
            .iter()
            .zip(0..)
            .map(|(name, number)| {
                let stage = &stage;
                scope.spawn(move || work(port, name, number, seed, stage))
            })
            .collect();
        std::thread::sleep(alone);
        stage.store(CARRYING, Ordering::Relaxed);
        let mut begun = Instant::now();
        let mut alone_at = begun + every;
        assert_eq!(world.proxy.run(&["resume"]).status.code(), Some(0));
        let mut killed = 0;
        loop {
            let Carried { there, all } = carried(&world);
            let share = |k: u32| u64::from(count) * u64::from(k) / u64::from(kills + 1);
            if killed < kills && there >= share(killed + 1) {
                killed += 1;
                memory = memory.max(world.proxy.peak_rss());
                world.proxy.kill9();
                world.proxy.restart();
            }
            if killed == kills && all {
                break;
            }
            let longest = Duration::from_secs(30 + u64::from(count) / 10);
            assert!(begun.elapsed() < longest, "{there} of {count} are on new");
            // The machine is not the same all the time: what is compared is from the same minutes.
            if !every.is_zero() && Instant::now() > alone_at {
                let paused = Instant::now();
                assert_eq!(world.proxy.run(&["pause"]).status.code(), Some(0));
                stage.store(BETWEEN, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(2));
                stage.store(ALONE, Ordering::Relaxed);
                std::thread::sleep(alone);
                stage.store(CARRYING, Ordering::Relaxed);
                assert_eq!(world.proxy.run(&["resume"]).status.code(), Some(0));
                begun += paused.elapsed();
                alone_at = Instant::now() + every;
            }
            // Looking takes time of the machine, which clients' commands are measured on.
            std::thread::sleep(look);
        }
        moved = begun.elapsed();
        memory = memory.max(world.proxy.peak_rss());
        drop(over);
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    });
    tell(&works, count, octets, moved, kills, memory);

    for ((name, expected), work) in names.iter().zip(&mut expected).zip(&works) {
        assert!(work.refused.is_empty(), "{name} was told {:?}", work.refused);
        for hash in &work.appended {
            *expected.entry(*hash).or_default() += 1;
        }
        let mut there = hashes(&world.new, name);
        for hash in &work.unsure {
            assert!(there.remove(hash).unwrap_or(0) <= 1, "V5: {name} has one twice");
        }
        assert!(there == *expected, "V5: {name}: {} of {} are there", there.len(), expected.len());
    }
    let verify = [&["verify"][..], &named].concat();
    let ran = world.proxy.run(&verify);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// Ends the clients, also where something fails.
struct Over<'a>(&'a AtomicU8);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(OVER, Ordering::Relaxed);
    }
}

/// How far it is.
struct Carried {
    /// Messages on both sides.
    there: u64,
    /// Whether nothing lies on old alone any more.
    all: bool,
}

fn carried(world: &World) -> Carried {
    let ran = world.proxy.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let mut carried = Carried { there: 0, all: true };
    for account in status["accounts"].as_array().expect("accounts") {
        assert_eq!(account["stuck"], 0, "{account}");
        let number = |name: &str| account[name].as_u64().expect("a number");
        carried.there += number("copied");
        carried.all &= number("messages") == number("copied") && number("mailboxes") > 2;
    }
    if std::env::var("MOVE_TELL").is_ok() {
        println!("{} copied, held back: {}", carried.there, status["held"]);
    }
    carried
}

/// How often each content lies on new.
fn hashes(new: &Server, account: &str) -> BTreeMap<[u8; 32], usize> {
    let mut all = BTreeMap::new();
    let mut client = Dialogue::connect(new.port).login(account, "secret");
    client.patience = Duration::from_secs(120);
    for (folder, _) in FOLDERS {
        let exists = client.ok(&format!("EXAMINE {}", quoted(&new.name(folder)))).count("EXISTS");
        let exists = exists.expect("EXISTS");
        for first in (1..=exists).step_by(100) {
            let last = exists.min(first + 99);
            for message in client.ok(&format!("FETCH {first}:{last} (BODY.PEEK[])")).fetched() {
                *all.entry(*blake3::hash(message.body()).as_bytes()).or_default() += 1;
            }
        }
    }
    all
}

fn tell(works: &[Work], count: u32, octets: usize, moved: Duration, kills: u32, memory: u64) {
    let seconds = moved.as_secs_f64();
    println!(
        "moved in {seconds:.1} s, killed {kills} times: {:.0} messages/s, {:.1} MB/s, {:.1} MiB at most",
        f64::from(count) / seconds,
        octets as f64 / 1e6 / seconds,
        memory as f64 / f64::from(1 << 20),
    );
    let mut ninety_nine = Vec::new();
    for (what, stage) in [("without the trickle", ALONE), ("with it", CARRYING)] {
        let all = || works.iter().flat_map(|work| &work.took[usize::from(stage)]);
        for kind in ["", "flags", "content", "STORE", "NOOP", "SEARCH", "APPEND"] {
            let of_kind = all().filter(|(name, _)| kind.is_empty() || *name == kind);
            let mut took: Vec<Duration> = of_kind.map(|(_, took)| *took).collect();
            took.sort_unstable();
            let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
            println!(
                "clients {what}: {} {kind} commands, median {:.1?}, 95 of 100 in {:.1?}, 99 in {:.1?}",
                took.len(),
                at(50),
                at(95),
                at(99)
            );
            if kind.is_empty() {
                ninety_nine.push(at(99).as_secs_f64());
            }
        }
    }
    println!("ratio {:.2}", ninety_nine[1] / ninety_nine[0]);
}
