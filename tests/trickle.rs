//! What nobody opens is copied in the background: all of it, exactly once, without anybody noticing.

mod lab;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lab::{
    Cyrus, Dovecot, Fate, Mail, Shape, Way, World, eventually, eventually_holds, everything, has,
    large, mails, sorted,
};

/// A world whose proxy may log in to both sides by itself, and copies in the background.
fn trickling(old: Dovecot, new: impl Into<Shape>) -> lab::Builder {
    World::unattended(old, new)
        .set("trickle.enabled", "true")
        .set("trickle.quiet", "\"0s\"")
        .set("trickle.again", "\"500ms\"")
        .set("trickle.rest", "\"500ms\"")
}

/// Has the account known to the proxy: somebody has logged in once.
fn seen_once(world: &World) {
    world.proxy.client().ok("LOGOUT");
}

fn runs_of(world: &mut World, mailbox: &str) -> u64 {
    assert_eq!(world.proxy.stop(), Some(0));
    let dumped = world.proxy.run(&["index", "dump", "--json"]);
    let dump: serde_json::Value = serde_json::from_slice(&dumped.stdout).expect("JSON");
    let mailboxes = dump["accounts"][0]["mailboxes"].as_array().expect("mailboxes");
    let found = mailboxes.iter().find(|m| m["name"] == mailbox).expect("the mailbox");
    found["runs"].as_u64().expect("a number of runs")
}

/// Octets and dates of all messages of a folder, once each.
fn holds(world: &World, folder: &str, wanted: &[Mail]) {
    let name = world.new.name(folder);
    let held = eventually_holds(&mut world.new.client(), &name, wanted.len());
    assert_eq!(held.len(), wanted.len(), "V5: {folder}");
    let mut octets: Vec<&[u8]> = held.iter().map(|seen| seen.octets.as_slice()).collect();
    octets.sort_unstable();
    let mut expected: Vec<&[u8]> = wanted.iter().map(|mail| mail.octets.as_slice()).collect();
    expected.sort_unstable();
    assert!(octets == expected, "V5: {folder} is not what it was");
}

#[test]
fn v5_everything_is_carried_once_and_new_arrivals_too() {
    let mut world = trickling(Dovecot::old_style(), Dovecot::new_style()).seeded(|old, new| {
        old.seed("INBOX", &mails(0..1500));
        old.seed("Work", &mails(1500..1520));
        old.seed("Work.Deep", &mails(1520..1540));
        old.seed("Empty", &[]);
        // Somebody has copied these before.
        new.seed("Work", &mails(1500..1510));
    });
    seen_once(&world);
    holds(&world, "INBOX", &mails(0..1500));
    holds(&world, "Work", &mails(1500..1520));
    holds(&world, "Work/Deep", &mails(1520..1540));
    // What arrives on old later.
    world.old.deliver("INBOX", &Mail::numbered(1600));
    let all: Vec<Mail> = mails(0..1500).into_iter().chain([Mail::numbered(1600)]).collect();
    holds(&world, "INBOX", &all);
    // Flags and dates are those of old; the client sees each once, under old's UIDs.
    let mut client = world.proxy.client();
    let (seen, on_old) =
        (everything(&mut client, "INBOX"), everything(&mut world.old.client(), "INBOX"));
    assert_eq!(seen, on_old, "V2, V3");
    let on_new = sorted(everything(&mut world.new.client(), "INBOX"));
    assert_eq!(
        on_new,
        sorted(on_old.into_iter().map(lab::Seen::anywhere).collect()),
        "flags, dates"
    );
    client.ok("LOGOUT");
    // Blocks of 1,024 and 476, and what arrived later.
    let runs = runs_of(&mut world, "INBOX");
    assert!(runs <= 3, "{runs} runs");
}

#[test]
fn v5_one_bad_message_among_many_stays_and_all_others_are_carried() {
    let world = trickling(Dovecot::old_style(), Cyrus::styled(true, true));
    let mut bad = Mail::numbered(77);
    // Cyrus takes no such line in a header.
    let line = b"this is no header field\r\n";
    bad.octets.splice(0..0, line.iter().copied());
    let mut all = mails(0..77);
    all.push(bad);
    all.extend(mails(78..300));
    let world = world.seeded(|old, _| old.seed("INBOX", &all));
    seen_once(&world);
    let good: Vec<Mail> =
        all.iter().filter(|mail| !has(&mail.octets, "no header")).cloned().collect();
    holds(&world, "INBOX", &good);
    eventually("the message is stuck", || world.proxy.log().contains("stuck: ").then_some(()));
    let stuck = world.proxy.log().matches("stuck: ").count();
    assert_eq!(stuck, 1, "none but the bad one");
    let seen = everything(&mut world.proxy.client(), "INBOX");
    assert!(seen.iter().any(|seen| has(&seen.octets, "no header")), "it can be read from old");
}

#[test]
fn v5_killed_at_every_step_of_a_batch_each_message_is_on_new_once() {
    let all = mails(0..700);
    let mut world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .set("trickle.account.bytes_per_second", "\"1MB\"")
        .seeded(|old, _| old.seed("INBOX", &all));
    seen_once(&world);
    let steps = [
        "copy: intents are written",
        "copy: a part of a message is sent",
        "copy: a message is sent",
        "copy: messages are appended",
        "copy: copies are proved",
        "copy: flags are matched",
        "copy: places are changed",
    ];
    for step in steps {
        world.proxy.kill9();
        world.proxy.restart_to_die_at(&format!("{step}=1*off->return"));
        eventually(step, || (!world.proxy.is_alive()).then_some(()));
        world.proxy.restart();
    }
    holds(&world, "INBOX", &all);
    // Nothing turns up later.
    std::thread::sleep(Duration::from_secs(3));
    holds(&world, "INBOX", &all);
    let seen = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(seen, everything(&mut world.old.client(), "INBOX"), "V2, V3");
}

#[test]
#[allow(clippy::print_stdout, reason = "what is measured is printed")]
fn a_byte_limit_holds_at_every_moment() {
    // `tests/lab.sh limit` makes a minute of it.
    let setting = |name: &str, default: u32| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (limit, messages) = (setting("LIMIT_BYTES", 400_000), setting("LIMIT_MESSAGES", 30));
    let world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .wired()
        .set("trickle.total.bytes_per_second", &format!("\"{limit}B\""))
        .seeded(|old, _| {
            old.seed(
                "INBOX",
                &(0..messages).map(|n| Mail::of(large(n, 50_000))).collect::<Vec<_>>(),
            );
        });
    let (begun, written) = (Arc::new(Mutex::new(None)), Arc::new(AtomicU64::new(0)));
    let most = Arc::new(Mutex::new(0.0_f64));
    let (since, sum, worst) = (Arc::clone(&begun), Arc::clone(&written), Arc::clone(&most));
    world.new_wire.rule(move |way, chunk| {
        if way == Way::ToServer {
            let begun = *since.lock().unwrap().get_or_insert_with(Instant::now);
            let sum = sum.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
            // What has passed by now, against what may have; commands and a first part aside.
            let allowed = begun.elapsed().as_secs_f64() * f64::from(limit) + 40_000.0;
            let mut worst = worst.lock().unwrap();
            *worst = worst.max(sum as f64 / allowed);
        }
        Fate::Pass
    });
    seen_once(&world);
    let mut new = world.new.client();
    let longest = Duration::from_secs(30 + u64::from(messages) * 50_000 / u64::from(limit) * 2);
    let until = Instant::now() + longest;
    while new.ok("EXAMINE INBOX").count("EXISTS") != Some(messages) {
        assert!(Instant::now() < until, "it takes longer than {longest:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let written = written.load(Ordering::Relaxed);
    assert!(written > u64::from(messages) * 50_000);
    let seconds = begun.lock().unwrap().expect("a beginning").elapsed().as_secs_f64();
    println!("{written} octets in {seconds:.1} s: {:.0} a second", written as f64 / seconds);
    let most = *most.lock().unwrap();
    assert!(most <= 1.0, "at some moment {most} of what was allowed had passed");
}

#[test]
fn it_waits_for_clients_that_are_at_work() {
    let world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .set("trickle.quiet", "\"2s\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..50)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        client.ok("FETCH 1:* (FLAGS)");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!world.proxy.log().contains("carried to new in the background"));
    // Who only waits for news is not at work.
    client.idle();
    holds(&world, "INBOX", &mails(0..50));
    client.done();
}

#[test]
fn an_account_whose_clients_are_never_quiet_is_moved_all_the_same() {
    let world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .set("trickle.quiet", "\"300ms\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..50)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    eventually("all is moved", || {
        client.ok("FETCH 1:* (FLAGS)");
        (world.new.client().ok("EXAMINE INBOX").count("EXISTS") == Some(50)).then_some(())
    });
    holds(&world, "INBOX", &mails(0..50));
}

#[test]
fn it_rests_where_new_has_no_room_and_goes_on_when_there_is() {
    let counting = Dovecot::new_style()
        .setting("mail_plugins = $mail_plugins quota")
        .setting("protocol imap {\n  mail_plugins = $mail_plugins imap_quota\n}")
        .setting("plugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=2M\n}");
    let all: Vec<Mail> = (0..10).map(|n| Mail::of(large(n, 150_000))).collect();
    let world = trickling(Dovecot::old_style(), counting)
        .set("trickle.quota_reserve", "\"1MiB\"")
        .seeded(|old, _| old.seed("INBOX", &all));
    seen_once(&world);
    eventually("it rests", || {
        world.proxy.log().contains("new's quota is nearly used up").then_some(())
    });
    let held = everything(&mut world.new.client(), "INBOX").len();
    assert!(held <= 6, "{held} messages take more than a megabyte");
    // Nobody has noticed: each is there, wherever it lies, and none is stuck.
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), 10);
    assert!(!world.proxy.log().contains("stuck: "));
}

#[test]
fn v4_with_a_master_on_the_side_that_judges_a_wrong_password_lets_nobody_in() {
    let world = trickling(Dovecot::old_style(), Dovecot::new_style()).start();
    let mut client = lab::Dialogue::connect(world.proxy.port);
    client.no("LOGIN ann@example.com wrong");
    let mut client = lab::Dialogue::connect(world.proxy.port);
    client.no("LOGIN ann@example.com migrator-secret");
    world.proxy.client().ok("SELECT INBOX");
}

/// All octets of the files below a directory.
fn octets_below(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(octets_below(&path)),
            // A socket has none.
            false if path.is_file() => all.extend(std::fs::read(&path).expect("a file")),
            false => {}
        }
    }
    all
}

#[test]
fn v9_a_learned_password_outlives_a_restart_until_it_is_forgotten_or_refused() {
    let password = "pa55-of-ann";
    let mut world = World::new().account("ann@example.com", password);
    for side in ["old", "new"] {
        world = world
            .set(&format!("{side}.credentials.mode"), "\"learned\"")
            .set(&format!("{side}.credentials.key_file"), "\"key\"");
    }
    let mut world = world
        .file("key", "a key of more than thirty-two characters\n")
        .set("trickle.enabled", "true")
        .set("trickle.quiet", "\"0s\"")
        .set("trickle.again", "\"300ms\"")
        .set("trickle.rest", "\"300ms\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..20)));
    seen_once(&world);
    holds(&world, "INBOX", &mails(0..20));
    // Nobody logs in any more.
    world.proxy.kill9();
    world.proxy.restart();
    world.old.deliver("INBOX", &Mail::numbered(20));
    holds(&world, "INBOX", &mails(0..21));
    assert!(!has(&octets_below(&world.proxy.state()), password), "it lies there in clear");

    let forget = |world: &World| {
        let ran = world.proxy.run(&["accounts", "forget", "ann"]);
        assert_eq!(ran.status.code(), Some(0));
        String::from_utf8(ran.stdout).expect("text")
    };
    let waits = |world: &mut World, mail: Mail| {
        world.proxy.kill9();
        world.proxy.restart();
        world.old.deliver("INBOX", &mail);
        std::thread::sleep(Duration::from_secs(2));
        world.new.client().ok("EXAMINE INBOX").count("EXISTS")
    };
    assert_eq!(forget(&world), "1 password forgotten\n");
    assert_eq!(forget(&world), "0 passwords forgotten\n");
    assert_eq!(waits(&mut world, Mail::numbered(21)), Some(21), "nobody can log in");
    // Learned anew; then it is changed behind the proxy's back, and tried once.
    seen_once(&world);
    holds(&world, "INBOX", &mails(0..22));
    world.proxy.kill9();
    std::fs::write(world.old.dir.join("passwd"), "ann@example.com:{PLAIN}another\n")
        .expect("passwd");
    // Dovecot looks at the file once in a second.
    std::thread::sleep(Duration::from_millis(1_500));
    let refused = |world: &World| world.old.log().matches("auth failed").count();
    let before = refused(&world);
    world.proxy.restart();
    world.old.deliver("INBOX", &Mail::numbered(22));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.new.client().ok("EXAMINE INBOX").count("EXISTS"), Some(22));
    assert_eq!(refused(&world) - before, 1, "{}", world.old.log());
    assert!(!has(world.proxy.log().as_bytes(), password), "V9");
}

#[test]
fn only_what_is_asked_for_is_copied() {
    let day = |mail: Mail, date: u64| mail.dated(date);
    let (y2018, y2020) = (1_530_000_000, 1_590_000_000);
    let world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .set("trickle.since", "\"2020-01-01\"")
        .set("trickle.largest", "\"100KB\"")
        .set("trickle.folders", "[\"INBOX\", \"INBOX.Work*\"]")
        .set("trickle.skip_folders", "[\"*.Junk\"]")
        .seeded(|old, _| {
            let mut inbox: Vec<Mail> = mails(0..5).into_iter().map(|m| day(m, y2018)).collect();
            inbox.extend(mails(5..9).into_iter().map(|m| day(m, y2020)));
            inbox.push(day(Mail::of(large(9, 200_000)), y2020));
            old.seed("INBOX", &inbox);
            for folder in ["Work", "Work.Junk", "Other"] {
                old.seed(folder, &[day(Mail::numbered(50), y2020)]);
            }
        });
    seen_once(&world);
    let wanted: Vec<Mail> = mails(5..9).into_iter().map(|m| day(m, y2020)).collect();
    holds(&world, "INBOX", &wanted);
    holds(&world, "Work", &[day(Mail::numbered(50), y2020)]);
    // A pass more.
    std::thread::sleep(Duration::from_secs(1));
    let mut direct = world.new.client();
    assert_eq!(direct.ok("EXAMINE INBOX").count("EXISTS"), Some(4));
    assert_eq!(direct.cmd("EXAMINE Other").status, "NO");
    assert_eq!(direct.cmd("EXAMINE Work/Junk").status, "NO");
}

#[test]
fn a_new_server_that_hangs_up_over_one_message_gets_all_others() {
    let mut all = mails(0..40);
    all[20].octets.extend_from_slice(b"the poisoned line\r\n");
    let world = trickling(Dovecot::old_style(), Dovecot::new_style())
        .set("copy.grace", "\"200ms\"")
        .set("trickle.rest", "\"100ms\"")
        .wired()
        .seeded(|old, _| old.seed("INBOX", &all));
    world.new_wire.rule(|way, chunk| match way {
        Way::ToServer if has(chunk, "the poisoned line") => Fate::Cut(Vec::new()),
        _ => Fate::Pass,
    });
    seen_once(&world);
    eventually("it is stuck", || world.proxy.log().contains("new hangs up when").then_some(()));
    let good: Vec<Mail> =
        all.iter().enumerate().filter(|(n, _)| *n != 20).map(|(_, m)| m.clone()).collect();
    holds(&world, "INBOX", &good);
}
