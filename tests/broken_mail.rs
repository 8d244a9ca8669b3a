//! Messages that a server has and cannot give: the others are given, and nothing is copied in their place.

mod lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use lab::{Courier, Cyrus, Dialogue, Dovecot, Fate, Reply, Way, World, mails, small};

/// The broken one among five.
const BROKEN: u32 = 3;

/// Five messages on old, one of them broken.
fn world(old: impl Into<lab::server::Shape>, harm: impl Fn(&Path)) -> World {
    World::new().old(old).set("copy.retry", "\"1s\"").seeded(|old, _| {
        old.seed("INBOX", &mails(0..5));
        // So that what it caches of messages is there.
        let mut direct = old.client();
        direct.ok("SELECT INBOX");
        direct.ok("FETCH 1:* (RFC822.SIZE ENVELOPE BODYSTRUCTURE)");
        harm(&old.file_of(&small(BROKEN - 1)));
    })
}

fn unreadable(file: &Path) {
    chown(file, Some(0), Some(0)).expect("chown");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("chmod");
}

fn emptied(file: &Path) {
    fs::write(file, b"").expect("emptied");
}

fn in_order<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// Opens all; the four that are whole are given and copied, the broken one stays where it is.
fn the_others_are_given_and_copied(world: &World) -> Reply {
    let mut client = world.proxy.client();
    client.patience = Duration::from_secs(60);
    client.ok("SELECT INBOX");
    let reply = client.cmd("UID FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])");
    let whole: Vec<u32> = (1..=5).filter(|uid| *uid != BROKEN).collect();
    let given: Vec<u32> = reply
        .fetched()
        .iter()
        .filter(|m| m.bodies.values().any(|b| **b == small(m.uid - 1)))
        .map(|m| m.uid)
        .collect();
    assert_eq!(given, whole);
    lab::eventually_holds(&mut world.new.client(), "INBOX", 4);
    lab::eventually("it is stuck", || world.proxy.log().contains("stuck:").then_some(()));
    // More time in which something might be copied that must not be.
    std::thread::sleep(Duration::from_millis(500));
    let copied = lab::everything(&mut world.new.client(), "INBOX");
    let expected: Vec<Vec<u8>> = whole.iter().map(|uid| small(uid - 1)).collect();
    let copied: Vec<Vec<u8>> = copied.into_iter().map(|m| m.octets).collect();
    assert_eq!(in_order(copied), in_order(expected), "V5: nothing in place of the broken one");
    client.ok("NOOP");
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 5);
    reply
}

/// An operator repairs it: then it is read and copied as any other.
fn repaired_it_is_whole(mut world: World, repair: impl Fn(&World)) {
    repair(&world);
    // Courier's process keeps what it said of a message until it is asked for another one.
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let fetched = client.ok(&format!("UID FETCH {BROKEN} (UID BODY.PEEK[])")).fetched();
    assert_eq!(fetched[0].body(), small(BROKEN - 1));
    lab::eventually_holds(&mut world.new.client(), "INBOX", 5);
}

fn readable(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("chmod");
}

#[test]
fn v5_dovecot_hangs_up_over_a_message_and_the_others_are_given_and_copied() {
    let world = world(Dovecot::old_style(), unreadable);
    let reply = the_others_are_given_and_copied(&world);
    assert_eq!(reply.status, "NO", "{reply:?}");
    let file = world.old.file_of(&small(BROKEN - 1));
    repaired_it_is_whole(world, |_| readable(&file));
}

#[test]
fn v5_couriers_excuse_for_a_message_is_not_copied() {
    let world = world(Courier::plain(), unreadable);
    the_others_are_given_and_copied(&world);
    let file = world.old.file_of(&small(BROKEN - 1));
    repaired_it_is_whole(world, |_| readable(&file));
}

#[test]
fn v5_nothing_is_copied_for_a_message_of_which_courier_gives_nothing() {
    the_others_are_given_and_copied(&world(Courier::plain(), emptied));
}

#[test]
fn v5_nothing_is_copied_for_a_message_of_which_cyrus_gives_nil() {
    the_others_are_given_and_copied(&world(Cyrus::styled(true, true), emptied));
}

#[test]
fn v5_nothing_is_copied_for_a_message_that_cyrus_passes_over() {
    the_others_are_given_and_copied(&world(Cyrus::styled(true, true), unreadable));
}

/// A MOVE to where only old has the mailbox must not take away what could not be brought there.
#[test]
fn v4_a_message_that_cannot_be_read_is_not_moved_into_nothing() {
    let world = world(Cyrus::styled(true, true), unreadable);
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("CREATE Other");
    client.no(&format!("UID MOVE {BROKEN} Other"));
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 5);
    let direct = &mut world.old.client();
    direct.ok("SELECT INBOX");
    assert_eq!(direct.ok("UID SEARCH ALL").found().len(), 5, "V6");
}

/// Answers NO to a FETCH of content from the broken message on: `1:5` gives 1 and 2, and a NO.
fn refuse(world: &World) {
    let mut refused = false;
    world.old_wire.rule(move |way, chunk| {
        let text = String::from_utf8_lossy(chunk).into_owned();
        match way {
            Way::ToServer if text.contains("UID FETCH") && text.contains("BODY.PEEK[]") => {
                let set = text.split(' ').nth(3).expect("a set");
                let mut ends = set.split([':', ',']).map(|n| n.parse::<u32>().expect("a UID"));
                let (first, last) = (ends.next().expect("first"), ends.next_back());
                let last = last.unwrap_or(first);
                if !(first..=last).contains(&BROKEN) {
                    return Fate::Pass;
                }
                refused = true;
                let part =
                    if first < BROKEN { format!("{first}:{}", BROKEN - 1) } else { "99".into() };
                Fate::Instead(
                    text.replacen(&format!("FETCH {set} "), &format!("FETCH {part} "), 1).into(),
                )
            }
            Way::ToProxy if refused && text.contains(" OK Fetch completed") => {
                refused = false;
                Fate::Instead(text.replacen(" OK Fetch", " NO [SERVERBUG] Fetch not", 1).into())
            }
            _ => Fate::Pass,
        }
    });
}

#[test]
fn v5_a_no_to_a_fetch_of_one_bad_message_keeps_back_no_other() {
    let world = World::new()
        .wired()
        .set("copy.retry", "\"1s\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    // The mailbox is known before.
    world.proxy.client().ok("SELECT INBOX");
    refuse(&world);
    let reply = the_others_are_given_and_copied(&world);
    assert_eq!(reply.status, "NO", "{reply:?}");
    repaired_it_is_whole(world, |world| world.old_wire.release());
}

/// Where only new has trouble with its copy, old's is given.
#[test]
fn v5_a_copy_that_new_refuses_to_give_is_read_from_old() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    client.patience = Duration::from_secs(60);
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:5 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 5);
    eventually_both(&mut client);
    unreadable(&world.new.file_of(&small(BROKEN - 1)));
    let fetched = client.ok("UID FETCH 1:* (UID BODY.PEEK[])").fetched();
    let given: Vec<(u32, bool)> =
        fetched.iter().map(|m| (m.uid, m.body() == small(m.uid - 1))).collect();
    assert_eq!(in_order(given), [(1, true), (2, true), (3, true), (4, true), (5, true)]);
}

/// Waits until the copies are part of the view: then their flags are new's.
fn eventually_both(client: &mut Dialogue) {
    std::thread::sleep(Duration::from_millis(700));
    client.ok("NOOP");
}
