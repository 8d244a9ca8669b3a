//! The proxy is killed while it copies: afterwards each message is on new exactly once (V5).

mod lab;

use std::time::Duration;

use lab::{World, eventually_holds, everything, mails, sorted, view};

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
