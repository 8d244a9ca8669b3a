//! A client that knew the old server is pointed at the proxy and notices nothing (V1, V2).

mod lab;

use std::sync::{Arc, Mutex};

use lab::tools::{Mbsync, Mutt, Offlineimap};
use lab::{Fate, Mail, Way, World, has, mails};

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
