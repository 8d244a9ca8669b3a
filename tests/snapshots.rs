//! The database of the index is lost, and a snapshot of it put back: clients find the same UIDs, and what happened
//! since is seen once (V2, V3, V8).

mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lab::{
    Cyrus, Dovecot, Mail, Shape, World, eventually, eventually_holds, everything, mails, view,
};

fn world(new: impl Into<Shape>) -> World {
    World::new().new(new).set("snapshots.every", "\"1s\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..10));
        old.seed("Work", &mails(20..24));
        new.seed("Work", &mails(30..32));
    })
}

/// Waits until all that is durable lies in a snapshot; when that was taken.
fn settled_snapshot(world: &World) -> String {
    eventually("a snapshot of what is", || {
        let told = world.proxy.run(&["index", "snapshots", "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let newest = all.as_array()?.last()?;
        let path = newest["path"].as_str().expect("a path");
        let age = SystemTime::now().duration_since(std::fs::metadata(path).ok()?.modified().ok()?);
        let quiet = age.ok()? > Duration::from_millis(3500);
        quiet.then(|| newest["taken_at"].as_str().expect("a time").to_owned())
    })
}

fn uids(world: &World, mailbox: &str) -> BTreeMap<Vec<u8>, u32> {
    let seen = everything(&mut world.proxy.client(), mailbox);
    assert!(view::copies(&seen).values().all(|n| *n == 1), "{mailbox}: none twice: {seen:#?}");
    seen.into_iter().map(|message| (message.octets, message.uid)).collect()
}

fn status(world: &World, mailbox: &str) -> BTreeMap<String, u64> {
    let asked = format!("STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY)");
    world.proxy.client().ok(&asked).status_of(mailbox)
}

fn lose_and_restore(world: &mut World, at: &str) {
    world.proxy.kill9();
    world.lose_index();
    let restored = world.proxy.run(&["index", "restore", "--at", at]);
    assert!(restored.status.success(), "{restored:?}");
    world.proxy.restart();
    assert!(!world.proxy.log().contains("could not be trusted"));
}

fn the_same_uids_after_a_restore(mut world: World) {
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    // Copied, a removal and an arrival on new that are in the snapshot.
    client.ok("UID FETCH 2:4 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 3);
    client.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    world.new.deliver("INBOX", &Mail::numbered(50));
    eventually("the arrival", || {
        (client.ok("STATUS INBOX (MESSAGES)").status_of("INBOX")["MESSAGES"] == 10).then_some(())
    });
    everything(&mut client, "INBOX.Work");
    drop(client);
    let taken = settled_snapshot(&world);
    let (before, work) = (uids(&world, "INBOX"), uids(&world, "INBOX.Work"));
    assert_eq!((before.len(), work.len()), (10, 6));

    // And what is not.
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 6:8 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 6);
    world.new.deliver("INBOX", &Mail::numbered(51));
    world.old.deliver("INBOX", &Mail::numbered(52));
    client.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)");
    client.ok("UID EXPUNGE 2");
    eventually("both arrivals", || {
        (client.ok("STATUS INBOX (MESSAGES)").status_of("INBOX")["MESSAGES"] == 11).then_some(())
    });
    drop(client);
    let (later, last) = (uids(&world, "INBOX"), status(&world, "INBOX"));

    lose_and_restore(&mut world, &taken);
    let (after, now) = (uids(&world, "INBOX"), status(&world, "INBOX"));
    assert_eq!(after.len(), later.len(), "each once, and the removed ones stay removed");
    for (message, uid) in &after {
        assert!(later.contains_key(message));
        match before.get(message) {
            Some(same) => assert_eq!(uid, same),
            // Given out since, and known to nobody any more: another UID, and one above all.
            None => assert!(u64::from(*uid) >= last["UIDNEXT"], "{uid} {last:?}"),
        }
    }
    assert_eq!(now["UIDVALIDITY"], last["UIDVALIDITY"]);
    assert!(now["UIDNEXT"] > last["UIDNEXT"]);
    assert_eq!(uids(&world, "INBOX.Work"), work);
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert!(view::copies(&on_new).values().all(|n| *n == 1), "no copy was made twice");
}

#[test]
fn v8_a_client_finds_the_same_uids_after_a_restore() {
    the_same_uids_after_a_restore(world(Dovecot::new_style()));
}

#[test]
fn v8_a_client_finds_the_same_uids_after_a_restore_with_cyrus() {
    the_same_uids_after_a_restore(world(Cyrus::styled(true, true)));
}

#[test]
fn v8_what_came_to_old_before_anything_to_new_keeps_its_uid_through_a_restore() {
    let mut world = world(Dovecot::new_style());
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let taken = settled_snapshot(&world);
    world.old.deliver("INBOX", &Mail::numbered(60));
    eventually("it is seen", || {
        (client.ok("STATUS INBOX (MESSAGES)").status_of("INBOX")["MESSAGES"] == 11).then_some(())
    });
    world.new.deliver("INBOX", &Mail::numbered(61));
    eventually("it is seen", || {
        (client.ok("STATUS INBOX (MESSAGES)").status_of("INBOX")["MESSAGES"] == 12).then_some(())
    });
    drop(client);
    let before = uids(&world, "INBOX");
    let ours = before.values().max().copied().expect("a UID");
    lose_and_restore(&mut world, &taken);
    for (message, uid) in uids(&world, "INBOX") {
        let was = before[&message];
        if was == ours { assert!(uid > was) } else { assert_eq!(uid, was) }
    }
    // Once more, with a restart between that knows nothing of the snapshot.
    let again = uids(&world, "INBOX");
    world.proxy.stop();
    world.proxy.restart();
    assert_eq!(uids(&world, "INBOX"), again);
}
