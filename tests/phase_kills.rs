//! The proxy dies at every step of a change of phase, and the change is asked for again: everything is there,
//! once (V5), and a half-done change is no phase of its own.

mod lab;

use lab::{Dovecot, Mail, World, eventually, everything, mails, quoted, sorted};

/// What lies on old before a message is put into its place there, and what comes after.
const CARRYING: [&str; 7] = [
    "way back: the mailbox is on old",
    "way back: intents are written",
    "copy: a message is sent",
    "way back: messages are appended",
    "way back: copies are proved",
    "way back: flags are matched",
    "way back: places are changed",
];
const LEVELLING: [&str; 6] = [
    "way back: flags are written",
    "phase: most is carried back",
    "way back: removed copies are removed",
    "way back: removals are settled",
    "phase: all is carried back",
    "phase: mailboxes are ready",
];

fn phase(world: &World, to: &str) -> Option<i32> {
    world.proxy.run(&["phase", "ann", to]).status.code()
}

/// An account of which part is copied, part is on new alone, and part was moved, marked and removed.
fn half_moved() -> World {
    let world = World::new().old(Dovecot::old_style()).seeded(|old, _| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Work", &mails(10..12));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 1:* BODY[]");
    eventually("all of it is copied", || {
        (everything(&mut world.new.client(), "INBOX").len() == 6).then_some(())
    });
    world.new.deliver("INBOX", &Mail::numbered(100));
    lab::eventually_holds(&mut client, "INBOX", 7);
    client.ok("SELECT INBOX");
    client.append("INBOX", "(\\Flagged)", &Mail::numbered(101).octets);
    client.ok("STORE 1 +FLAGS (\\Answered)");
    client.ok(&format!("MOVE 2 {}", quoted(&work)));
    client.ok("STORE 3 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    world
}

/// The change `from` → `to` dies at this step, and is asked for again.
#[track_caller]
fn dies_at(step: &str, before: &[&str], to: &str) {
    let mut world = half_moved();
    for phase_before in before {
        assert_eq!(phase(&world, phase_before), Some(0), "{step}: to {phase_before}");
    }
    let folders = ["INBOX".to_owned(), world.old.name("Work")];
    let mut client = world.proxy.client();
    let seen = folders.clone().map(|folder| everything(&mut client, &folder));
    drop(client);
    world.proxy.stop();
    world.proxy.restart_to_die_at(&format!("{step}=return"));
    // Its password is what opens both servers.
    let mut client = lab::Dialogue::connect(world.proxy.port).login("ann@example.com", "secret");
    drop(client.cmd_unless_gone(b"NOOP"));
    let told = phase(&world, to);
    eventually("the proxy dies", || (!world.proxy.is_alive()).then_some(()));
    assert_ne!(told, Some(0), "{step}");

    world.proxy.restart();
    let mut client = world.proxy.client();
    for (folder, seen) in folders.iter().zip(&seen) {
        let again = eventually("what was undecided is decided", || {
            let again = everything(&mut client, folder);
            (sorted(again.clone()) == sorted(seen.clone())).then_some(again)
        });
        let uids =
            |seen: &[lab::Seen]| seen.iter().map(|m| (m.uid, m.octets.clone())).collect::<Vec<_>>();
        assert_eq!(uids(&again), uids(seen), "V2: {step}: {folder}");
    }
    assert_eq!(phase(&world, to), Some(0), "{step}: {}", world.proxy.log());
    let mut client = world.proxy.client();
    for (folder, seen) in folders.iter().zip(&seen) {
        assert_eq!(
            sorted(everything(&mut client, folder)),
            sorted(seen.clone()),
            "{step}: {folder}"
        );
        if to == "old" {
            let direct = everything(&mut world.old.client(), folder);
            assert_eq!(sorted(direct), sorted(seen.clone()), "V5: {step}: {folder} on old");
        }
    }
}

#[test]
fn v5_carrying_back_is_exactly_once_whatever_dies() {
    for step in CARRYING {
        dies_at(step, &[], "old");
    }
}

#[test]
fn v5_the_end_of_the_way_back_is_exactly_once_whatever_dies() {
    for step in LEVELLING {
        dies_at(step, &[], "old");
    }
}

#[test]
fn a_change_of_phase_that_dies_is_done_or_not_done() {
    dies_at("phase: it is durable", &[], "old");
    dies_at("phase: twins have old's flags", &["old"], "merged");
    dies_at("phase: mailboxes are ready", &["old"], "merged");
    dies_at("phase: it is durable", &["old"], "merged");
}
