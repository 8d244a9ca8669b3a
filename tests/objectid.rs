//! MAILBOXID, EMAILID and THREADID (RFC 8474): the same wherever a message lies, for ever.

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lab::{Dialogue, Dovecot, Fate, Reply, Way, World};
use lab::{eventually, everything, has, mails, quoted, small};

/// Every message's EMAILID by UID, as the mailbox that is open has them.
#[track_caller]
fn emails(client: &mut Dialogue) -> BTreeMap<u32, String> {
    told_emails(&client.ok("UID FETCH 1:* (EMAILID THREADID)"))
}

#[track_caller]
fn told_emails(reply: &Reply) -> BTreeMap<u32, String> {
    let emails = reply.emails();
    emails.values().for_each(|id| check(id));
    let lines = reply.lines();
    let fetched = lines.iter().filter(|line| line.contains(" FETCH ("));
    assert!(fetched.clone().all(|line| line.ends_with(") THREADID NIL)")), "{lines:?}");
    assert_eq!(fetched.count(), emails.len());
    emails
}

/// RFC 8474 §7: `objectid = 1*255(ALPHA / DIGIT / "_" / "-")`.
#[track_caller]
fn check(id: &str) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    assert!((1..=255).contains(&id.len()) && id.bytes().all(fits), "{id}");
}

/// A mailbox's MAILBOXID, as SELECT, STATUS and LIST tell it.
#[track_caller]
fn mailbox_id(client: &mut Dialogue, mailbox: &str) -> String {
    let name = quoted(mailbox);
    let selected = client.ok(&format!("SELECT {name}")).code("MAILBOXID").expect("MAILBOXID");
    let id = selected.strip_prefix('(').and_then(|id| id.strip_suffix(')')).expect("a list");
    check(id);
    assert_eq!(client.ok(&format!("EXAMINE {name}")).code("MAILBOXID"), Some(selected.clone()));
    let told = format!(" (MAILBOXID ({id}) MESSAGES ");
    for command in [
        format!("STATUS {name} (MAILBOXID MESSAGES)"),
        format!("LIST \"\" {name} RETURN (STATUS (MAILBOXID MESSAGES))"),
    ] {
        let lines = client.ok(&command).lines();
        assert!(lines.iter().any(|line| line.contains(&told)), "{lines:?}");
    }
    client.ok(&format!("SELECT {name}"));
    id.to_owned()
}

#[test]
fn v10_identifiers_are_offered_and_stay_through_copies_and_restarts() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Unopened", &mails(0..2));
        new.seed("Unopened", &[]);
        new.seed("INBOX", &mails(20..22));
    });
    let mut client = world.proxy.client();
    let offered = client.ok("CAPABILITY").lines().concat();
    assert!(offered.split(' ').any(|name| name == "OBJECTID"), "{offered}");
    // Before it was ever opened, and afterwards.
    let lines = client.ok("STATUS INBOX.Unopened (MAILBOXID)").lines().concat();
    let unopened = mailbox_id(&mut client, "INBOX.Unopened");
    assert!(lines.contains(&format!("(MAILBOXID ({unopened}))")), "{lines}");
    let inbox = mailbox_id(&mut client, "INBOX");
    assert_ne!(inbox, unopened);
    let before = emails(&mut client);
    assert_eq!(before.len(), 8);
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 8, "each has its own");

    // One is opened and so copied to new; FETCH tells the same with content as without.
    let opened = client.ok("FETCH 3 (UID THREADID BODY[] EMAILID)").lines().concat();
    assert!(opened.contains(&format!("EMAILID ({}) THREADID NIL", before[&3])), "{opened}");
    eventually("the copy on new", || {
        (everything(&mut world.new.client(), "INBOX").len() == 3).then_some(())
    });
    assert_eq!(emails(&mut client), before);
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(mailbox_id(&mut client, "INBOX"), inbox);
    assert_eq!(emails(&mut client), before);
    drop(client);

    // V8: what has its UID again has its identifier again, and nothing else has it.
    world.proxy.kill9();
    world.lose_index();
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(mailbox_id(&mut client, "INBOX"), inbox);
    let after = emails(&mut client);
    for (uid, id) in &before {
        let same = if *uid <= 6 { Some(id) } else { None };
        assert_eq!(after.get(uid), same, "{uid}");
        assert_eq!(after.values().filter(|other| *other == id).count(), same.iter().len());
    }
    assert_eq!(mailbox_id(&mut client, "INBOX.Unopened"), unopened);
}

#[test]
fn a_mailbox_keeps_its_identifiers_when_it_gets_another_name() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("Work", &mails(0..3));
        new.seed("Work", &mails(10..12));
    });
    let mut client = world.proxy.client();
    let work = mailbox_id(&mut client, "INBOX.Work");
    let before = emails(&mut client);
    client.ok("RENAME INBOX.Work INBOX.Job");
    assert_eq!(mailbox_id(&mut client, "INBOX.Job"), work);
    assert_eq!(emails(&mut client), before);
    let created = client.ok("CREATE INBOX.Work").code("MAILBOXID").expect("MAILBOXID");
    let again = mailbox_id(&mut client, "INBOX.Work");
    assert_eq!(created, format!("({again})"));
    assert_ne!(again, work);
    // While nobody has it open, too.
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.ok("RENAME INBOX.Job INBOX.Hobby");
    assert_eq!(mailbox_id(&mut client, "INBOX.Hobby"), work);
    assert_eq!(mailbox_id(&mut client, "INBOX.Work"), again);
    client.ok("DELETE INBOX.Work");
    let third = client.ok("CREATE INBOX.Work.").code("MAILBOXID").expect("MAILBOXID");
    assert_eq!(third, format!("({})", mailbox_id(&mut client, "INBOX.Work")));
    assert_ne!(third, created);
    drop(client);
    world.proxy.kill9();
    world.lose_index();
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(mailbox_id(&mut client, "INBOX.Hobby"), work);
    let created = client.ok("CREATE INBOX.Job").code("MAILBOXID").expect("MAILBOXID");
    assert_ne!(created, format!("({work})"));
}

#[test]
fn a_copy_has_the_identifier_of_its_source_wherever_both_lie() {
    let mut world = World::new().old(Dovecot::old_style()).seeded(|old, new| {
        old.seed("INBOX", &mails(0..8));
        new.seed("INBOX", &mails(50..54));
        old.seed("Old Only", &mails(20..22));
        new.seed("New Only", &mails(30..32));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let source = emails(&mut client);
    let uids: Vec<u32> = source.keys().copied().collect();
    let chosen = [uids[1], uids[2], uids[10]];
    let set = chosen.map(|uid| uid.to_string()).join(",");
    let mut places = Vec::new();
    for target in ["INBOX.Old Only", "INBOX.New Only", "INBOX.Trash", "INBOX"] {
        client.ok("SELECT INBOX");
        let copied = client.ok(&format!("UID COPY {set} {}", quoted(target))).copied();
        client.ok(&format!("SELECT {}", quoted(target)));
        let there = emails(&mut client);
        for (from, to) in copied.1.iter().zip(&copied.2) {
            assert_eq!(there[to], source[from], "{target}");
        }
        let others = there.iter().filter(|(uid, _)| !copied.2.contains(uid));
        if target != "INBOX" {
            assert!(others.clone().all(|(_, id)| !source.values().any(|known| known == id)));
        }
        places.push((target, there));
    }
    // From copy to copy, by MOVE, and back to where one came from.
    client.ok(&format!("SELECT {}", quoted("INBOX.Old Only")));
    let there = emails(&mut client);
    let (first, id) = there.iter().find(|(_, id)| **id == source[&chosen[0]]).expect("a copy");
    let moved = client.ok(&format!("UID MOVE {first} INBOX.Trash")).copied();
    client.ok("SELECT INBOX.Trash");
    assert_eq!(emails(&mut client)[&moved.2[0]], *id);
    let moved = client.ok(&format!("UID MOVE {} INBOX", moved.2[0])).copied();
    client.ok("SELECT INBOX");
    let inbox = emails(&mut client);
    assert_eq!(inbox[&moved.2[0]], *id);

    // By what they are searched.
    let mut search = |program: &str| client.ok(&format!("UID SEARCH {program}")).found();
    let having: Vec<u32> =
        inbox.iter().filter(|(_, other)| *other == id).map(|(uid, _)| *uid).collect();
    assert_eq!(having.len(), 3, "the message, its copy, and the one that came back");
    assert_eq!(search(&format!("EMAILID {id}")), having);
    assert_eq!(search(&format!("UID {} EMAILID {id}", having[1])), [having[1]]);
    assert_eq!(search(&format!("NOT EMAILID {id}")).len(), inbox.len() - 3);
    let both = search(&format!("OR EMAILID {id} EMAILID {}", source[&uids[11]]));
    assert_eq!(both.len(), 4);
    assert_eq!(search("EMAILID Mother-1"), [0; 0]);
    assert_eq!(search("EMAILID E0"), [0; 0]);
    assert_eq!(search(&format!("THREADID {id}")), [0; 0]);
    assert_eq!(search(&format!("NOT THREADID {id}")).len(), inbox.len());
    client.bad("UID SEARCH EMAILID");
    client.bad("UID SEARCH EMAILID a.b");
    let sorted = client.ok(&format!("UID SORT (REVERSE ARRIVAL) UTF-8 EMAILID {id}")).lines();
    assert_eq!(sorted.concat().matches(' ').count(), 1 + 3, "{sorted:?}");

    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert_eq!(emails(&mut client), inbox);
    // What is gone is not found any more.
    let gone = having[1];
    client.ok(&format!("UID STORE {gone} +FLAGS.SILENT (\\Deleted)"));
    client.ok(&format!("UID EXPUNGE {gone}"));
    let left: Vec<u32> = having.iter().copied().filter(|uid| *uid != gone).collect();
    assert_eq!(client.ok(&format!("UID SEARCH EMAILID {id}")).found(), left);
    // Nor kept.
    drop(client);
    world.proxy.stop();
    let dump = world.proxy.run(&["index", "dump", "--json"]).stdout;
    let dump: serde_json::Value = serde_json::from_slice(&dump).expect("JSON");
    let mailboxes = dump["accounts"][0]["mailboxes"].as_array().expect("mailboxes");
    let of_inbox = mailboxes.iter().find(|mailbox| mailbox["name"] == "INBOX").expect("INBOX");
    let what =
        "two of those copied from here and the one moved back, and the three that were copied";
    assert_eq!(of_inbox["copies"], 6, "{what}");
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.append("INBOX", "", &small(3));
    client.ok("SELECT INBOX");
    let fresh = emails(&mut client);
    let (_, id) = fresh.last_key_value().expect("messages");
    assert_eq!(fresh.values().filter(|other| *other == id).count(), 1, "mail of its own");
}

#[test]
fn a_copy_that_is_seen_early_never_shows_another_identifier() {
    let world = World::new().wired().seeded(|_, new| {
        new.seed("INBOX", &mails(0..2));
        new.seed("There", &mails(10..11));
    });
    let mut copying = world.proxy.client();
    copying.ok("SELECT INBOX");
    let source = emails(&mut copying);
    let mut looking = world.proxy.client();
    looking.ok("SELECT INBOX.There");
    // New has copied, and its answer is on its way.
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToProxy && has(chunk, "COPYUID") { Fate::Hold } else { Fate::Pass }
    });
    copying.send("c COPY 2 INBOX.There");
    let seen = eventually("the copy is seen", || looking.ok("NOOP").count("EXISTS"));
    assert_eq!(seen, 2);
    looking.send("f UID FETCH 1:* (EMAILID THREADID)");
    assert_eq!(looking.response_within(Duration::from_millis(500)), None, "told too early");
    world.new_wire.release();
    let (_, from, to) = copying.until("c").expect_status("OK", "COPY").copied();
    let told = told_emails(&looking.until("f"));
    assert_eq!(told[&to[0]], source[&from[0]]);
    assert_eq!(emails(&mut looking), told);
}
