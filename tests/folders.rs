//! Folders of both sides under one set of names: listing, STATUS, creating, renaming, deleting.

mod lab;

use std::collections::BTreeSet;

use lab::{Dovecot, World, everything, folder_names, mails, quoted, small, sorted};

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn list_is_the_union_in_olds_names() {
    let world = World::new()
        .old(Dovecot::old_style().special_use("Sent Items", "\\Sent"))
        .new(Dovecot::old_style().separator('/').prefix("").special_use("Sent", "\\Sent"))
        .seeded(|old, new| {
            old.seed("Work/2016", &mails(0..1));
            new.seed("Work/2017", &mails(0..1));
            new.seed("Only New", &mails(0..1));
        });
    let mut client = world.proxy.client();
    let expected =
        ["INBOX", "INBOX.Sent Items", "INBOX.Work.2016", "INBOX.Work.2017", "INBOX.Only New"];
    assert_eq!(folder_names(&mut client), set(&expected));
    let listed = client.ok("LIST \"\" *").listed();
    assert!(listed.iter().all(|l| l.separator == "."), "{listed:?}");
    let sent: Vec<_> = listed.iter().filter(|l| l.attributes.contains("\\sent")).collect();
    assert_eq!(sent.len(), 1, "{listed:?}");
    assert_eq!(sent[0].name, "INBOX.Sent Items");
    let below: BTreeSet<_> =
        client.ok("LIST \"INBOX.Work.\" %").listed().into_iter().map(|l| l.name).collect();
    assert_eq!(below, set(&["INBOX.Work.2016", "INBOX.Work.2017"]));
    let root = client.ok("LIST \"\" \"\"").listed();
    assert_eq!(root[0].separator, ".");
    let namespace = client.ok("NAMESPACE").lines().concat();
    assert!(namespace.contains("((\"INBOX.\" \".\"))"), "{namespace}");
    // The new server's Sent is the old one's.
    client.append("INBOX.Sent Items", "", &small(1));
    assert_eq!(everything(&mut world.new.client(), "Sent").len(), 1);
}

#[test]
fn status_is_right_for_mailboxes_on_both_old_only_new_only() {
    let world = World::new().seeded(|old, new| {
        old.seed("Both", &mails(0..10));
        new.seed("Both", &mails(20..24));
        old.seed("Old Only", &mails(0..7));
        new.seed("New Only", &mails(0..3));
    });
    let unseen = |range: std::ops::Range<u32>| {
        mails(range).iter().filter(|m| !m.flags.iter().any(|f| f == "\\Seen")).count() as u64
    };
    let mut client = world.proxy.client();
    let items = "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)";
    for (folder, messages, unseen) in [
        ("INBOX.Both", 14, unseen(0..10) + unseen(20..24)),
        ("INBOX.Old Only", 7, unseen(0..7)),
        ("INBOX.New Only", 3, unseen(0..3)),
    ] {
        let status = client.ok(&format!("STATUS {} {items}", quoted(folder))).status_of(folder);
        assert_eq!((status["MESSAGES"], status["UNSEEN"]), (messages, unseen), "{folder}");
        let selected = client.ok(&format!("EXAMINE {}", quoted(folder)));
        assert_eq!(selected.number("UIDVALIDITY"), status["UIDVALIDITY"], "{folder}");
        assert_eq!(selected.number("UIDNEXT"), status["UIDNEXT"], "{folder}");
        assert_eq!(selected.count("EXISTS"), u32::try_from(messages).ok(), "{folder}");
        client.ok("UNSELECT");
    }
    let on_old = world.old.client().ok("STATUS \"INBOX.Old Only\" (UIDNEXT)");
    let shown = client.ok("STATUS \"INBOX.Old Only\" (UIDNEXT)");
    assert_eq!(shown.statuses(), on_old.statuses());
    client.no("STATUS \"INBOX.Not There\" (MESSAGES)");
    client.no("SELECT \"INBOX.Not There\"");
}

#[test]
fn names_with_every_odd_character_can_be_used() {
    let odd = [
        "quo\"te",
        "paren(s)",
        "R&AOk-sum&AOk-",
        "a &- b",
        "50% off",
        "st*r",
        "two  spaces",
        "back\\slash",
    ];
    let world = World::new().seeded(|old, new| {
        for (n, folder) in odd.iter().enumerate() {
            old.seed(folder, &mails(0..n as u32 + 1));
        }
        new.seed("n(e)w \"50%\" &- *", &mails(0..2));
    });
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    for (n, folder) in odd.iter().enumerate() {
        let name = world.old.name(folder);
        assert!(names.contains(&name), "{name} in {names:?}");
        let selected = client.ok(&format!("SELECT {}", quoted(&name)));
        assert_eq!(selected.count("EXISTS"), u32::try_from(n + 1).ok(), "{name}");
        // As a literal too.
        let status = client.literal("STATUS ", name.as_bytes(), " (MESSAGES)");
        assert_eq!(status.status_of(&name)["MESSAGES"], n as u64 + 1, "{name}");
        client.append(&name, "", &small(5));
        assert_eq!(everything(&mut world.new.client(), folder).len(), 1, "{name} on new");
    }
    assert_eq!(client.ok("SELECT \"INBOX.n(e)w \\\"50%\\\" &- *\"").count("EXISTS"), Some(2));
}

#[test]
fn a_folder_that_cannot_be_opened_troubles_no_other() {
    let world = World::new().seeded(|old, _| {
        old.seed("~tilde", &mails(0..2));
        old.seed("Work", &mails(0..4));
    });
    let direct = world.old.client().cmd("SELECT \"INBOX.~tilde\"");
    let mut client = world.proxy.client();
    let through = client.cmd("SELECT \"INBOX.~tilde\"");
    assert_eq!(
        through.status, direct.status,
        "as the old server has it: {} / {}",
        direct.text, through.text
    );
    assert_eq!(client.ok("SELECT INBOX.Work").count("EXISTS"), Some(4));
    assert!(folder_names(&mut client).contains("INBOX.Work"));
}

#[test]
fn create_rename_delete_and_subscribe() {
    let world = World::new().seeded(|old, _| old.seed("Work", &mails(0..6)));
    let mut client = world.proxy.client();
    client.ok("CREATE INBOX.Fresh");
    assert!(folder_names(&mut client).contains("INBOX.Fresh"));
    client.append("INBOX.Fresh", "", &small(1));
    assert!(folder_names(&mut world.new.client()).contains("Fresh"));
    client.no("CREATE INBOX.Fresh");
    client.no("CREATE INBOX");

    client.ok("SUBSCRIBE INBOX.Fresh");
    let subscribed: Vec<_> =
        client.ok("LSUB \"\" *").listed().into_iter().map(|l| l.name).collect();
    assert!(subscribed.contains(&"INBOX.Fresh".to_owned()), "{subscribed:?}");
    client.ok("UNSUBSCRIBE INBOX.Fresh");
    let subscribed: Vec<_> =
        client.ok("LSUB \"\" *").listed().into_iter().map(|l| l.name).collect();
    assert!(!subscribed.contains(&"INBOX.Fresh".to_owned()), "{subscribed:?}");

    client.ok("RENAME INBOX.Fresh INBOX.Fresher");
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.Fresher") && !names.contains("INBOX.Fresh"), "{names:?}");
    assert_eq!(client.ok("SELECT INBOX.Fresher").count("EXISTS"), Some(1));
    client.ok("UNSELECT");

    // A folder of old's keeps its messages under the new name.
    client.ok("RENAME INBOX.Work INBOX.Job");
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.Job") && !names.contains("INBOX.Work"), "{names:?}");
    assert_eq!(everything(&mut client, "INBOX.Job").len(), 6);
    client.ok("UNSELECT");

    client.ok("DELETE INBOX.Job");
    let names = folder_names(&mut client);
    assert!(!names.contains("INBOX.Job") && !names.contains("INBOX.Work"), "{names:?}");
    client.no("SELECT INBOX.Job");
    client.no("DELETE INBOX.Job");
    client.no("DELETE INBOX");
}

#[test]
fn v6_a_deleted_folder_is_kept_on_old_and_made_again_as_another() {
    let mut world = World::new().seeded(|old, _| old.seed("Work", &mails(0..6)));
    let mut client = world.proxy.client();
    let before =
        client.ok("STATUS INBOX.Work (UIDVALIDITY)").status_of("INBOX.Work")["UIDVALIDITY"];
    client.ok("DELETE INBOX.Work");
    assert_eq!(everything(&mut world.old.client(), "INBOX.Work").len(), 6);
    client.ok("CREATE INBOX.Work");
    let after = client.ok("STATUS INBOX.Work (UIDVALIDITY MESSAGES)").status_of("INBOX.Work");
    assert!(after["UIDVALIDITY"] > before, "{after:?}, before {before}");
    assert_eq!(after["MESSAGES"], 0);
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let again = world.proxy.client().ok("STATUS INBOX.Work (UIDVALIDITY MESSAGES)");
    assert_eq!(again.status_of("INBOX.Work"), after);
}

#[test]
fn rename_of_inbox_moves_all_its_messages_and_inbox_stays() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..4));
        new.seed("INBOX", &mails(10..12));
    });
    let mut client = world.proxy.client();
    let before = sorted(everything(&mut client, "INBOX"));
    client.ok("UNSELECT");
    client.ok("RENAME INBOX INBOX.Kept");
    assert_eq!(sorted(everything(&mut client, "INBOX.Kept")), before);
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(0));
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 4, "opened, and kept on old");
}
