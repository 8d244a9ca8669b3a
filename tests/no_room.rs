//! New has no room for an account: its copying rests as a whole, is tried again later and later, and goes on by
//! itself when there is room. Meanwhile everything stays readable (V7), and no message is given up.

mod lab;

use std::time::Duration;

use lab::{
    Cyrus, Dovecot, Mail, Shape, World, eventually, eventually_holds, everything, large, mails,
    quoted,
};

const MESSAGES: u32 = 40;
const RESTS: &str = "copying rests until new has room";

/// New has room for 600 KiB, of which 560 are taken, and old has 800 KB.
fn world(new: impl Into<Shape>, retry: &str) -> lab::Builder {
    World::unattended(Dovecot::old_style(), new).set("copy.retry", retry)
}

fn dovecot() -> Dovecot {
    Dovecot::new_style().setting(
        "mail_plugins = quota\nplugin {\n  quota = count:User quota\n  quota_vsizes = yes\n  \
         quota_rule = *:storage=600K\n  quota_grace = 0\n}",
    )
}

fn fill(old: &lab::Server, new: &lab::Server) {
    let inbox: Vec<Mail> = (0..MESSAGES).map(|n| Mail::of(large(n, 20_000))).collect();
    old.seed("INBOX", &inbox);
    new.seed("Trash", &[Mail::of(large(90, 300_000)), Mail::of(large(91, 300_000))]);
}

/// Somebody empties the trash on new.
fn make_room(world: &World) {
    let mut direct = world.new.client();
    direct.ok(&format!("SELECT {}", quoted(&world.new.name("Trash"))));
    direct.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
}

fn count(world: &World, words: &str) -> usize {
    world.proxy.log().matches(words).count()
}

fn said(world: &World, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&world.proxy.run(arguments).stdout).into_owned()
}

fn appends(world: &World) -> usize {
    world.new.commands_heard().values().map(|heard| heard.matches("APPEND").count()).sum()
}

/// As many of INBOX are on new as there is room for, each once.
fn as_many_as_fit(world: &World) -> usize {
    let held = everything(&mut world.new.client(), "INBOX");
    assert!(lab::view::copies(&held).values().all(|n| *n == 1), "V5: {held:?}");
    held.len()
}

#[test]
fn v5_v7_opened_messages_wait_for_room_together() {
    for new in [Shape::from(dovecot()), Cyrus::styled(true, true).quota(600).into()] {
        let world = world(new, "\"2s\"").seeded(fill);
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        assert_eq!(client.ok("FETCH 1:* (BODY.PEEK[])").fetched().len(), MESSAGES as usize);
        eventually("it rests", || (count(&world, RESTS) == 1).then_some(()));
        // Those that were tried before the others were opened.
        assert!(count(&world, "stuck: ") <= 2, "{}", world.proxy.log());
        eventually("an administrator is told", || {
            let status = said(&world, &["status"]);
            let stuck = said(&world, &["stuck", "ann"]);
            (status.contains("rests: new has no room") && stuck.contains("nothing is copied until"))
                .then_some(())
        });
        // What is opened meanwhile is read, and tries nothing.
        assert_eq!(client.ok("FETCH 1:* (BODY.PEEK[])").fetched().len(), MESSAGES as usize);
        eventually("it is tried again in vain, with one message", || {
            (count(&world, RESTS) == 2).then_some(())
        });
        assert!(count(&world, "stuck: ") <= 3, "{}", world.proxy.log());
        assert!(as_many_as_fit(&world) < MESSAGES as usize);
        client.ok("LOGOUT");

        make_room(&world);
        let there = eventually_holds(&mut world.new.client(), "INBOX", 28);
        assert!(count(&world, "new has room again") == 1, "{}", world.proxy.log());
        assert!(lab::view::copies(&there).values().all(|n| *n == 1), "V5");
        assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), MESSAGES as usize);
    }
}

#[test]
fn v5_the_background_sync_rests_with_it_and_retry_ends_the_rest_at_once() {
    let world = world(dovecot().rawlog(), "\"1h\"")
        .set("trickle.enabled", "true")
        .set("trickle.quiet", "\"0s\"")
        .set("trickle.again", "\"500ms\"")
        .set("trickle.rest", "\"500ms\"")
        .seeded(|old, new| {
            fill(old, new);
            // It would fit by itself; nothing of the account is tried.
            old.seed("Work", &mails(100..130));
        });
    world.proxy.client().ok("LOGOUT");
    eventually("it rests", || (count(&world, RESTS) == 1).then_some(()));
    // Longer than what is under way takes, and then longer than the background sync rests otherwise.
    std::thread::sleep(Duration::from_secs(1));
    let tried = appends(&world);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(appends(&world), tried);
    assert!(tried > 0);
    make_room(&world);
    assert_eq!(world.proxy.run(&["retry", "ann"]).status.code(), Some(0));
    eventually("it goes on", || (as_many_as_fit(&world) > 20).then_some(()));
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), MESSAGES as usize);
}

/// Messages that are too large for what is left, opened now and then, do not make a full account of it.
#[test]
fn a_large_message_that_is_tried_again_and_again_stops_no_other() {
    let world = world(dovecot(), "\"1s\"").seeded(|old, _| {
        let mut inbox = vec![Mail::of(large(90, 900_000))];
        inbox.extend(mails(0..5));
        old.seed("INBOX", &inbox);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1 (BODY.PEEK[])");
    eventually("it was refused three times", || (count(&world, "stuck: ") >= 3).then_some(()));
    client.ok("FETCH 2:6 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 5);
    assert_eq!(count(&world, RESTS), 0);
}
