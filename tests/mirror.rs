//! The mirror: old is told of what is done on new while both are one (`copy.mirror`).

mod lab;

use lab::{Mail, Seen, World, eventually, everything, mails, quoted, sorted};

/// What old has; `None` while something is being removed there.
fn contents(world: &World, folder: &str) -> Option<Vec<Seen>> {
    lab::view::everything_unless_removed(&mut world.old.client(), folder).ok().map(sorted)
}

/// INBOX and Work are on both sides, whole.
fn copied(mirror: &str) -> World {
    let world = World::new().set("copy.mirror", &format!("{mirror:?}")).seeded(|old, _| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Work", &mails(10..12));
    });
    let mut client = world.proxy.client();
    for (folder, count) in [("INBOX", 6), ("Work", 2)] {
        client.ok(&format!("SELECT {}", quoted(&world.old.name(folder))));
        client.ok("UID FETCH 1:* BODY[]");
        let status = format!("STATUS {folder} (MESSAGES)");
        eventually("all is copied", || {
            let there = world.new.client().cmd(&status).lines().join("");
            there.contains(&format!("MESSAGES {count}")).then_some(())
        });
    }
    world
}

/// Adds, marks, moves and removes.
fn work_on(world: &World) -> Vec<Vec<Seen>> {
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.append("INBOX", "(\\Flagged $Later)", &Mail::numbered(100).octets);
    world.new.deliver("INBOX", &Mail::numbered(101));
    lab::eventually_holds(&mut client, "INBOX", 8);
    client.ok("SELECT INBOX");
    client.ok("STORE 1 +FLAGS (\\Answered $Label1)");
    client.ok(&format!("MOVE 2 {}", quoted(&work)));
    client.ok(&format!("COPY 2 {}", quoted(&work)));
    client.ok("STORE 3 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("NOOP");
    ["INBOX", &work].map(|folder| everything(&mut client, folder)).into()
}

#[test]
fn old_gets_all_that_is_done_exactly_once() {
    let world = copied("all");
    let seen = work_on(&world);
    for (folder, seen) in ["INBOX".to_owned(), world.old.name("Work")].iter().zip(&seen) {
        eventually("old has the same", || {
            (contents(&world, folder) == Some(sorted(seen.clone()))).then_some(())
        });
        let again = everything(&mut world.proxy.client(), folder);
        assert_eq!(&again, seen, "V2, V3: no client sees anything of it");
    }
    // Going back is a matter of a look.
    assert_eq!(world.proxy.run(&["phase", "ann", "old"]).status.code(), Some(0));
    assert_eq!(contents(&world, "INBOX"), Some(sorted(seen[0].clone())));
}

#[test]
fn flags_alone_are_mirrored_where_nothing_else_shall_be() {
    let world = copied("flags");
    let before = everything(&mut world.old.client(), "INBOX");
    work_on(&world);
    let flagged = |seen: &[Seen]| seen[0].flags.contains("\\Answered");
    let after = eventually("the flags are on old", || {
        let seen = everything(&mut world.old.client(), "INBOX");
        flagged(&seen).then_some(seen)
    });
    let octets = |seen: &[Seen]| seen.iter().map(|m| m.octets.clone()).collect::<Vec<_>>();
    assert_eq!(octets(&after), octets(&before), "nothing came, and nothing went");
}

#[test]
fn v7_an_old_server_that_is_away_is_told_when_it_is_back() {
    let mut world = copied("all");
    world.old.stop();
    let mut client = world.proxy.client_of("ann@example.com", "secret");
    client.ok("SELECT INBOX");
    client.ok("STORE 1 +FLAGS (\\Answered)");
    client.append("INBOX", "()", &Mail::numbered(100).octets);
    drop(client);
    // What is owed outlives the proxy.
    world.proxy.kill9();
    world.old.start();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let seen = everything(&mut client, "INBOX");
    client.ok("SELECT INBOX");
    eventually("old has the same", || {
        (contents(&world, "INBOX") == Some(sorted(seen.clone()))).then_some(())
    });
}

#[test]
fn v5_the_mirror_is_exact_whatever_dies() {
    let steps = [
        "way back: intents are written",
        "way back: messages are appended",
        "way back: places are changed",
        "way back: removed copies are removed",
        "mirror: flags are written",
        "expunge: removals are noted",
        "expunge: the messages are expunged",
        "store: flags are noted",
    ];
    for step in steps {
        let mut world = copied("all");
        world.proxy.stop();
        world.proxy.restart_to_die_at(&format!("{step}=return"));
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        let commands =
            [&b"STORE 1 +FLAGS (\\Answered)"[..], b"STORE 3 +FLAGS (\\Deleted)", b"EXPUNGE"];
        for command in commands {
            if client.cmd_unless_gone(command).is_none() {
                break;
            }
        }
        let mail = Mail::numbered(100).octets;
        let head = format!("APPEND INBOX () {{{}+}}\r\n", mail.len());
        drop(client.cmd_unless_gone(&[head.as_bytes(), &mail].concat()));
        eventually("the proxy dies", || (!world.proxy.is_alive()).then_some(()));
        world.proxy.restart();
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        eventually("both are the same, and nothing twice", || {
            client.ok("NOOP");
            let seen = sorted(everything(&mut client, "INBOX"));
            let twice = lab::view::copies(&seen).values().any(|n| *n > 1);
            client.ok("SELECT INBOX");
            (!twice && contents(&world, "INBOX") == Some(seen)).then_some(())
        });
    }
}
