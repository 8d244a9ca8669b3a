//! The proxy is killed while it copies: afterwards each message is on new exactly once (V5).

mod lab;

use std::time::Duration;

use lab::{Dialogue, World, eventually, eventually_holds, everything, mails, sorted, view};

#[test]
fn v5_killed_while_500_messages_are_opened_none_is_twice_on_new() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..500)));
    let originals = everything(&mut world.old.client(), "INBOX");
    let mut opened = 0;
    for (round, pause) in [30, 90, 200, 350].into_iter().enumerate() {
        let mut client = world.proxy.client();
        assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(500), "round {round}");
        // Asked for all at once, so that the kill falls into the midst of reading and copying.
        client.send("k1 UID FETCH 1:* (UID BODY.PEEK[])");
        client.wait_for(|r| r.starts_with("* 1 FETCH"));
        std::thread::sleep(Duration::from_millis(pause));
        let there = world.new.client().ok("STATUS INBOX (MESSAGES)").status_of("INBOX")["MESSAGES"];
        opened = there.max(opened);
        world.proxy.kill9();
        world.proxy.restart();
    }
    assert!(opened > 0, "something was copied before a kill");

    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(shown, originals, "numbers, octets, flags and dates are as they were");
    let mut new = world.new.client();
    let there = eventually_holds(&mut new, "INBOX", 500);
    // A copy that was sent twice would show within the grace in which intents are settled.
    std::thread::sleep(Duration::from_secs(3));
    let later = everything(&mut new, "INBOX");
    assert_eq!(later.len(), there.len().min(500), "500 and not one more");
    assert!(view::copies(&later).values().all(|n| *n == 1), "none twice");
    assert_eq!(sorted(later), sorted(originals.clone()));
    assert_eq!(everything(&mut world.proxy.client(), "INBOX"), originals, "seen through the proxy");
}

/// A copy of which nobody heard the end is found again, and there is no other: what is moved away on new and back
/// again is the message, and no copy that turned up late.
#[test]
fn v3_what_is_moved_back_on_new_is_no_copy_that_turned_up_late() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    world.proxy.kill9();
    world.proxy.restart_to_die_at("copy: messages are appended=return");
    let mut client = Dialogue::connect(world.proxy.port);
    for command in ["LOGIN ann@example.com secret", "SELECT INBOX", "UID FETCH 1:* BODY.PEEK[]"] {
        client.cmd_unless_gone(command.as_bytes());
    }
    eventually("the proxy died", || (!world.proxy.is_alive()).then_some(()));
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let before = everything(&mut client, "INBOX");
    eventually("the copies are found", || {
        world.proxy.log().contains("copies found again").then_some(())
    });
    eventually_holds(&mut world.new.client(), "INBOX", 3);
    let mut on_new = world.new.client();
    on_new.ok("CREATE Elsewhere");
    on_new.ok("SELECT INBOX");
    on_new.ok("UID MOVE 1 Elsewhere");
    let count = |client: &mut Dialogue| client.ok("SELECT INBOX").count("EXISTS");
    eventually("it is gone", || (count(&mut client) == Some(2)).then_some(()));
    on_new.ok("SELECT Elsewhere");
    on_new.ok("UID MOVE 1 INBOX");
    eventually("it is back", || (count(&mut client) == Some(3)).then_some(()));
    assert_eq!(sorted(everything(&mut client, "INBOX")), sorted(before));
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 3);
}
