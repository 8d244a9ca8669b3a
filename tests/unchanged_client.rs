//! A client that knew the old server is pointed at the proxy and notices nothing (V1, V2).

mod lab;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lab::tools::{Mbsync, Mutt, Offlineimap};
use lab::{Dialogue, Fate, Mail, Way, World, has, mails};

const USER: &str = "ann@example.com";
const PASSWORD: &str = "secret";

fn world() -> World {
    World::new().old(lab::Dovecot::old_style().special_use("Sent Items", "\\Sent")).seeded(
        |old, _| {
            let holes: Vec<_> = (0..40).map(|n| Mail::numbered(n).uid(n * 3 + 5)).collect();
            old.seed("INBOX", &holes);
            old.seed("Work/2016", &mails(40..60));
            old.seed("Entw&APw-rfe", &mails(60..65));
            old.seed("Sent Items", &mails(65..70));
        },
    )
}

#[test]
fn v1_v2_mbsync_with_a_warm_cache_pulls_nothing_again() {
    let world = world();
    let mbsync = Mbsync::new(&world.dir.path().join("mbsync"));
    mbsync.sync(world.old.port, USER, PASSWORD).content();
    let before = mbsync.files();
    assert_eq!(before.len(), 70);

    mbsync.sync(world.proxy.port, USER, PASSWORD).content();
    assert_eq!(mbsync.files(), before, "nothing came again and nothing went");

    world.new.deliver("INBOX", &Mail::numbered(1000));
    mbsync.sync(world.proxy.port, USER, PASSWORD).content();
    let after = mbsync.files();
    assert_eq!(after.len(), 71);
    assert!(after.is_superset(&before));
    let arrived = mbsync.messages()["INBOX"].iter().filter(|m| **m == lab::small(1000)).count();
    assert_eq!(arrived, 1, "what was delivered on new arrives as new");
}

#[test]
fn v1_v2_offlineimap_with_a_warm_cache_pulls_nothing_again() {
    let world = world();
    let offlineimap = Offlineimap::new(&world.dir.path().join("offlineimap"));
    offlineimap.sync(world.old.port, USER, PASSWORD).content();
    let before = offlineimap.files();
    assert_eq!(before.len(), 70);

    let said = offlineimap.sync(world.proxy.port, USER, PASSWORD).content();
    assert!(!said.contains("Copy message"), "{said}");
    assert!(!said.contains("Deleting"), "{said}");
    assert_eq!(offlineimap.files(), before);

    world.new.deliver("INBOX", &Mail::numbered(1000));
    let said = offlineimap.sync(world.proxy.port, USER, PASSWORD).content();
    assert_eq!(said.matches("Copy message").count(), 1, "{said}");
    assert!(offlineimap.files().is_superset(&before));
}

#[test]
fn v1_v2_mutt_with_a_warm_cache_asks_for_no_header_and_no_message_again() {
    let world = world();
    let mutt = Mutt::new(&world.dir.path().join("mutt"));
    let in_it = |copies: &str| copies.matches("\nMessage-ID: <").count();
    let first = mutt.read(world.old.port, USER, PASSWORD, 40);
    assert_eq!(in_it(&first), 40, "{first}");

    world.new.deliver("INBOX", &Mail::numbered(1000));
    let wire = lab::relay::Relay::start(world.proxy.port);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    wire.rule(move |way, chunk| {
        if way == Way::ToProxy {
            heard.lock().expect("nobody panicked").extend_from_slice(chunk);
        }
        Fate::Pass
    });
    let copies = mutt.read(wire.port, USER, PASSWORD, 41);
    assert_eq!(in_it(&copies), 41, "all that it had, and what was delivered on new");
    let told = told.lock().expect("nobody panicked").clone();
    assert!(has(&told, "Message-ID: <1000."), "{}", String::from_utf8_lossy(&told));
    for n in 0..40 {
        assert!(!has(&told, &format!("Message-ID: <{n}.")), "{n} was told again");
    }
}

/// What Thunderbird asks for when it starts with a profile that is filled: which folders there are, how many messages
/// are in each, then all flags. What it knows is right if the answers are as old gave them; then it fetches nothing.
#[test]
fn v1_v2_thunderbird_is_answered_as_old_answered_it() {
    let world = world();
    let folders = [
        ("INBOX", "INBOX", 40),
        ("INBOX.Work.2016", "Work/2016", 20),
        ("INBOX.Entw&APw-rfe", "Entw&APw-rfe", 5),
        ("INBOX.Sent Items", "Sent", 5),
    ];
    let mut old = world.old.client();
    let mut client = world.proxy.client();
    for (folder, on_new, count) in folders {
        old.ok(&format!("SUBSCRIBE \"{folder}\""));
        // Every fifth message is opened, and lies on both sides then.
        client.ok(&format!("EXAMINE \"{folder}\""));
        for n in (1..=count).step_by(5) {
            client.ok(&format!("FETCH {n} BODY.PEEK[]"));
        }
        lab::eventually_holds(&mut world.new.client(), on_new, count / 5);
    }
    let folders = folders.map(|(folder, ..)| folder);
    let (before, now) = (asked(&mut old, &folders), asked(&mut world.proxy.client(), &folders));
    assert!(now[0].1.is_superset(&before[0].1), "new's folders come to it: {:?}", now[0]);
    for (now, before) in now.iter().zip(&before).skip(1) {
        assert_eq!(now, before);
    }
}

/// Thunderbird's questions, and the answers in a form that does not depend on who is asked.
fn asked(client: &mut Dialogue, folders: &[&str]) -> Vec<(String, BTreeSet<String>)> {
    let mut all = Vec::new();
    let mut ask = |command: String| {
        let reply = client.ok(&command);
        let lines = reply.lines().into_iter().map(|line| line.replace('"', ""));
        let told: BTreeSet<String> = lines
            .filter_map(|line| match line.strip_prefix("* OK [") {
                Some(code) => {
                    let code = code.split(']').next().expect("a code").to_owned();
                    code.starts_with("UID").then_some(code)
                }
                None => {
                    ["* LIST", "* STATUS"].iter().any(|word| line.starts_with(word)).then_some(line)
                }
            })
            .collect();
        let flags = reply.fetched().into_iter().map(|m| {
            let mut flags = m.flags.expect("FLAGS");
            flags.retain(|flag| !flag.eq_ignore_ascii_case("\\Recent"));
            format!("{} {} {flags:?}", m.seq, m.uid)
        });
        all.push((command, told.into_iter().chain(flags).collect()));
    };
    ask("LIST (SUBSCRIBED) \"\" \"INBOX.*\" RETURN (SPECIAL-USE)".to_owned());
    for folder in folders {
        for item in ["UIDNEXT", "MESSAGES", "UNSEEN"] {
            ask(format!("STATUS \"{folder}\" ({item})"));
        }
        ask(format!("SELECT \"{folder}\""));
        ask("UID FETCH 1:* (FLAGS)".to_owned());
        ask("NOOP".to_owned());
    }
    all
}
