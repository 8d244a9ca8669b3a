//! One side is away: what lies on the other stays in reach, and nothing seems deleted (V7).

mod lab;

use lab::{Mail, World, eventually, everything, mails};

fn world() -> World {
    World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..6));
        new.seed("INBOX", &mails(10..13));
        old.seed("Work", &mails(20..24));
    })
}

#[test]
fn v7_old_stays_readable_while_new_is_down() {
    let mut world = world();
    let mut client = world.proxy.client();
    let before = everything(&mut client, "INBOX");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 9);
    client.ok("SELECT INBOX.Work");
    world.new.stop();

    let untouched = client.ok("FETCH 1:4 (UID BODY.PEEK[])").fetched();
    assert_eq!(untouched.len(), 4, "in the session that was open");
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX.Work").count("EXISTS"), Some(4), "in a new session");
    assert_eq!(client.ok("UID FETCH 1:4 (UID BODY.PEEK[])").fetched().len(), 4);
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(9), "what is on new stays listed");
    let copied = client.ok("UID FETCH 2 (UID BODY.PEEK[])").fetched();
    assert_eq!(copied[0].body(), before[1].octets, "what lies on both is read from old");

    world.new.start();
    let after = eventually("new is back", || {
        let mut client = world.proxy.client();
        client.ok("EXAMINE INBOX");
        (client.cmd("FETCH 1:* (UID FLAGS)").status == "OK")
            .then(|| everything(&mut client, "INBOX"))
    });
    assert_eq!(after, before);
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 9, "nothing twice");
}

#[test]
fn v7_new_never_there_hides_nothing_of_old() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..6)));
    world.new.stop();
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(6));
    let opened = client.ok("FETCH 1:* (UID BODY[])").fetched();
    assert_eq!(opened.len(), 6);
    client.ok("STORE 2 +FLAGS (\\Flagged)");
    assert!(everything(&mut world.old.client(), "INBOX")[1].flags.contains("\\Flagged"));
    drop(client);
    world.new.start();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (UID BODY[])");
    let there = lab::eventually_holds(&mut world.new.client(), "INBOX", 6);
    assert_eq!(there.len(), 6);
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn v7_what_lies_on_new_is_readable_while_old_is_down() {
    let mut world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let uids = client.ok("UID SEARCH ALL").found();
    client.ok("UID FETCH 3 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 4);
    world.old.stop();
    let on_new = format!("UID FETCH 3,{}:{} (UID BODY.PEEK[])", uids[6], uids[8]);
    let fetched = client.ok(&on_new).fetched();
    assert_eq!(fetched.len(), 4, "{fetched:?}");
    // A listing with gaps would look like deletions.
    let gaps = client.cmd("UID FETCH 1:* (FLAGS)");
    assert_eq!(gaps.status, "NO", "{gaps:?}");
    assert_eq!(gaps.fetched(), []);
    assert_eq!(client.ok("NOOP").expunged(), [] as [u32; 0]);

    world.old.start();
    eventually("old is back", || {
        (client.cmd("UID FETCH 1:* (FLAGS)").status == "OK").then_some(())
    });
    assert_eq!(client.ok("UID SEARCH ALL").found(), uids);
}

#[test]
fn v7_a_restart_of_a_server_under_an_open_session_is_a_pause() {
    let mut world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let uids = client.ok("UID SEARCH ALL").found();
    world.old.stop();
    world.new.stop();
    world.old.start();
    world.new.start();
    world.old.deliver("INBOX", &Mail::numbered(99));
    eventually("the session has recovered", || {
        (client.cmd("UID SEARCH ALL").status == "OK").then_some(())
    });
    eventually("the arrival", || {
        client.cmd("NOOP");
        (client.ok("UID SEARCH ALL").found().len() == uids.len() + 1).then_some(())
    });
    assert_eq!(client.ok("UID SEARCH ALL").found()[..uids.len()], uids);
}

#[test]
fn v1_a_restart_while_old_is_away_gives_no_folder_of_old_another_uidvalidity() {
    let mut world = World::new().set("auth.primary", "\"new\"").seeded(|old, new| {
        old.seed("Work", &mails(0..4));
        old.seed("Sent Items", &mails(4..6));
        new.seed("Work", &mails(10..12));
    });
    let names = |client: &mut lab::Dialogue| {
        let mut listed = client.ok("LIST \"\" *").lines();
        listed.retain(|line| line.starts_with("* LIST"));
        listed
    };
    // Folders are known, none was ever opened.
    let before = names(&mut world.proxy.client());
    world.proxy.stop();
    world.old.stop();
    world.new.seed("Later", &mails(20..21));
    world.proxy.restart();

    let mut client = world.proxy.client();
    assert_eq!(names(&mut client), before, "as they were, in old's style, and none undecided");
    client.no("SELECT INBOX.Work");
    client.no("STATUS INBOX.Work (UIDVALIDITY MESSAGES)");

    world.old.start();
    let on_old = world.old.client().ok("SELECT INBOX.Work").number("UIDVALIDITY");
    let opened = eventually("old is back", || {
        let reply = client.cmd("SELECT INBOX.Work");
        (reply.status == "OK").then_some(reply)
    });
    assert_eq!(opened.number("UIDVALIDITY"), on_old);
    assert_eq!(opened.count("EXISTS"), Some(6));
    assert_eq!(client.ok("SELECT INBOX.Later").count("EXISTS"), Some(1), "seen since");
}
