//! What lies on new already comes to old, or comes to old with other UIDs: each message is seen once (V3), under the
//! UID that it had where it can be told (V2), and nothing is copied twice (V5).

mod lab;

use std::fs;

use lab::{
    Dialogue, Mail, Seen, World, eventually, eventually_holds, everything, mails, sorted, tools,
    view,
};

#[track_caller]
fn shows(client: &mut Dialogue, count: u32) -> Vec<Seen> {
    eventually(&format!("INBOX shows {count} messages, and each can be asked for"), || {
        let there = client.cmd("SELECT INBOX").count("EXISTS") == Some(count)
            && client.cmd("FETCH 1:* (UID FLAGS)").status == "OK";
        there.then(|| everything(client, "INBOX"))
    })
}

fn uid_of(seen: &[Seen], mail: &Mail) -> u32 {
    let found: Vec<u32> = seen.iter().filter(|m| m.octets == mail.octets).map(|m| m.uid).collect();
    assert_eq!(found.len(), 1, "{mail:?} in {seen:#?}");
    found[0]
}

fn forget_uids(world: &mut World) {
    world.old.stop();
    let dir = world.old.maildir("ann@example.com", "INBOX");
    for entry in fs::read_dir(&dir).expect("the Maildir").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("dovecot") && name != "dovecot-keywords" {
            fs::remove_file(entry.path()).expect("what Dovecot remembers");
        }
    }
    world.old.start();
}

#[test]
fn v3_mail_that_comes_to_new_first_and_to_old_later_is_one_message() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(10..11));
    });
    let mut client = world.proxy.client();
    shows(&mut client, 4);
    let (twice, mail) = (Mail::numbered(50), Mail::numbered(51));
    // Another one with the same headers.
    let other = Mail::of([&twice.octets[..], b"and a line more\r\n"].concat());
    world.new.deliver("INBOX", &twice);
    let before = shows(&mut client, 5);
    client.ok("SELECT INBOX");
    client.ok(&format!("UID STORE {} +FLAGS (\\Answered)", uid_of(&before, &twice)));
    client.idle();
    world.old.deliver("INBOX", &twice);
    world.old.deliver("INBOX", &other);
    world.old.deliver("INBOX", &mail);
    client.wait_for(|line| line == "* 7 EXISTS");
    client.done();
    let after = shows(&mut client, 7);
    assert_eq!(uid_of(&after, &twice), uid_of(&before, &twice));
    assert!(uid_of(&after, &other) > uid_of(&before, &twice));
    let it = after.iter().find(|m| m.octets == twice.octets).expect("it");
    assert!(it.flags.contains("\\Answered"), "new goes on deciding over it: {it:?}");
    // One on both sides from now on: it is not copied, and goes once.
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (BODY.PEEK[])");
    let on_new = eventually_holds(&mut world.new.client(), "INBOX", 7);
    assert!(view::copies(&on_new).values().all(|n| *n == 1), "{on_new:#?}");
    client.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", it.uid));
    client.ok("EXPUNGE");
    shows(&mut client, 6);
    assert_eq!(shows(&mut world.proxy.client(), 6).len(), 6);
}

/// The watcher of new has not asked yet, and the connection that the copier gets has heard nothing either.
#[test]
fn v3_v5_what_came_to_new_unheard_is_not_carried_there_once_more() {
    let world = World::new().set("new.mask", "[\"IDLE\"]").set("limits.poll_interval", "\"10m\"");
    let world = world.seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(10..11));
    });
    let mut client = world.proxy.client();
    listed(&mut client, 4);
    let (twice, last) = (Mail::numbered(50), Mail::numbered(51));
    world.old.deliver("INBOX", &twice);
    world.old.deliver("INBOX", &last);
    listed(&mut client, 6);
    world.new.deliver("INBOX", &twice);
    client.ok("FETCH 5:6 (BODY.PEEK[])");
    let mut direct = world.new.client();
    let on_new = eventually("the last one is carried", || {
        let all = everything(&mut direct, "INBOX");
        all.iter().any(|m| m.octets == last.octets).then_some(all)
    });
    assert_eq!(on_new.len(), 3, "{on_new:#?}");
    assert!(view::copies(&on_new).values().all(|n| *n == 1), "{on_new:#?}");
    shows(&mut client, 6);
}

#[test]
fn v7_mail_that_comes_to_old_is_seen_while_new_cannot_be_compared() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(10..11));
    });
    let mut client = world.proxy.client();
    shows(&mut client, 4);
    world.new.stop();
    world.old.deliver("INBOX", &Mail::numbered(50));
    eventually("it is seen", || {
        (client.ok("SELECT INBOX").count("EXISTS") == Some(5)).then_some(())
    });
}

/// UID and Subject of all, as a list of headers shows them: nothing is opened, and so nothing copied.
fn listed(client: &mut Dialogue, count: u32) -> Vec<(u32, String)> {
    eventually(&format!("INBOX lists {count} messages"), || {
        if client.cmd("SELECT INBOX").count("EXISTS") != Some(count) {
            return None;
        }
        let reply = client.cmd("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
        let subject = |m: &lab::Fetched| {
            let head = m.bodies.values().next().expect("a header");
            (m.uid, String::from_utf8_lossy(head).trim().to_owned())
        };
        (reply.status == "OK").then(|| reply.fetched().iter().map(subject).collect())
    })
}

fn subject_of(listed: &[(u32, String)], uid: u32) -> &str {
    &listed.iter().find(|(known, _)| *known == uid).expect("a UID").1
}

#[test]
fn v1_v2_old_counts_anew_and_what_new_has_keeps_its_uids() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..8));
        new.seed("INBOX", &mails(10..12));
    });
    let mut client = world.proxy.client();
    listed(&mut client, 10);
    client.ok("FETCH 1:3 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 5);
    client.ok("STORE 2 +FLAGS (\\Flagged)");
    let (before, validity) =
        (listed(&mut client, 10), client.ok("SELECT INBOX").number("UIDVALIDITY"));
    forget_uids(&mut world);
    let mut client = world.proxy.client();
    eventually("old is believed again", || {
        client.cmd("SELECT INBOX");
        world.proxy.log().contains("is another mailbox than before").then_some(())
    });
    let after = listed(&mut client, 10);
    let top = before.last().expect("the last").0;
    for (uid, subject) in &before {
        let found: Vec<u32> = after.iter().filter(|m| m.1 == *subject).map(|m| m.0).collect();
        let on_new = *uid <= 3 || *uid > 8;
        assert_eq!(found.len(), 1, "{subject} in {after:?}");
        assert!(if on_new { found[0] == *uid } else { found[0] > top }, "#{uid} is #{}", found[0]);
    }
    assert_eq!(client.ok("SELECT INBOX").number("UIDVALIDITY"), validity);
    assert!(client.ok("UID FETCH 2 (FLAGS)").fetched()[0].has("\\Flagged"));
    // Nothing is copied twice, and all goes on.
    client.ok("FETCH 1:* (BODY.PEEK[])");
    let on_new = eventually_holds(&mut world.new.client(), "INBOX", 10);
    assert!(view::copies(&on_new).values().all(|n| *n == 1), "{on_new:#?}");
    world.old.deliver("INBOX", &Mail::numbered(60));
    let last = listed(&mut client, 11);
    assert_eq!(last[..10], after[..]);
    assert_eq!(sorted(shows(&mut client, 11)).len(), 11);
    // It is so after a restart, too.
    drop(client);
    world.proxy.stop();
    world.proxy.restart();
    assert_eq!(listed(&mut world.proxy.client(), 11), last);
}

#[test]
fn v2_old_is_put_back_from_a_backup_and_no_uid_means_two_messages() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..5));
        new.seed("INBOX", &mails(10..11));
    });
    let mut client = world.proxy.client();
    listed(&mut client, 6);
    let dir = world.old.maildir("ann@example.com", "INBOX");
    let backup = world.dir.path().join("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let said = tools::run(std::process::Command::new("cp").arg("-a").arg(from).arg(to));
        assert!(said.success, "{}", said.text);
    };
    world.old.stop();
    copy(&dir, &backup);
    world.old.start();
    listed(&mut client, 6);
    world.old.deliver("INBOX", &Mail::numbered(50));
    let copied = listed(&mut client, 7).last().expect("it").0;
    world.old.deliver("INBOX", &Mail::numbered(51));
    let before = listed(&mut client, 8);
    // One of them is copied, the other is on old alone.
    client.ok(&format!("UID FETCH {copied} (BODY.PEEK[])"));
    eventually_holds(&mut world.new.client(), "INBOX", 2);
    world.old.stop();
    fs::remove_dir_all(&dir).expect("the Maildir");
    copy(&backup, &dir);
    world.old.start();
    let mut client = world.proxy.client();
    let after = listed(&mut client, 7);
    assert_eq!(after, before[..7], "all but what nobody has any more");
    // What gets its UID on old is itself.
    world.old.deliver("INBOX", &Mail::numbered(70));
    let later = listed(&mut client, 8);
    assert_eq!(later[..7], after[..]);
    let (uid, _) = later[7];
    assert!(uid > before[7].0, "{later:?}");
    assert!(subject_of(&later, uid).ends_with(" 70"));
}
