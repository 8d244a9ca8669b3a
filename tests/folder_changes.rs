//! Folders that are made, renamed and deleted: what becomes of the mailboxes below, of names that
//! are used again, and of levels that are no mailboxes.

mod lab;

use std::collections::BTreeSet;

use lab::{World, eventually, everything, folder_names, mails, small};

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn status(client: &mut lab::Dialogue, folder: &str) -> (u64, u64) {
    let of = client.ok(&format!("STATUS {folder} (MESSAGES UIDVALIDITY)")).status_of(folder);
    (of["MESSAGES"], of["UIDVALIDITY"])
}

#[track_caller]
fn refused(client: &mut lab::Dialogue, command: &str, code: &str) {
    let reply = client.no(command);
    assert!(reply.code(code).is_some(), "[{code}] in {reply:?}");
}

#[test]
fn a_rename_takes_along_all_that_lies_below() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("Work", &mails(0..2));
        old.seed("Work/Old", &mails(0..3));
        old.seed("Work/Both", &mails(0..4));
        old.seed("Workshop", &mails(0..1));
        new.seed("Work/Both", &mails(10..15));
        new.seed("Work/New", &mails(0..6));
    });
    let mut client = world.proxy.client();
    let folders = ["INBOX.Work", "INBOX.Work.Old", "INBOX.Work.Both", "INBOX.Work.New"];
    let before: Vec<_> = folders.iter().map(|f| status(&mut client, f)).collect();
    let messages: Vec<u64> = before.iter().map(|(messages, _)| *messages).collect();
    assert_eq!(messages, [2, 3, 9, 6]);
    client.ok("RENAME INBOX.Work INBOX.Job");
    let after = |client: &mut lab::Dialogue| -> Vec<_> {
        folders.iter().map(|f| status(client, &f.replace("Work", "Job"))).collect()
    };
    assert_eq!(after(&mut client), before, "messages and UIDVALIDITY stay");
    let names = folder_names(&mut client);
    assert!(!names.iter().any(|n| n == "INBOX.Work" || n.starts_with("INBOX.Work.")), "{names:?}");
    assert!(names.contains("INBOX.Workshop"), "{names:?}");
    let on_new = folder_names(&mut world.new.client());
    assert!(on_new.contains("Job/Both") && on_new.contains("Job/New"), "{on_new:?}");
    assert!(
        folder_names(&mut world.old.client()).contains("INBOX.Work.Old"),
        "old keeps its names"
    );
    // What comes to be used on new comes there by the new name.
    client.append("INBOX.Job.Old", "", &small(1));
    assert_eq!(everything(&mut world.new.client(), "Job/Old").len(), 1);
    assert_eq!(everything(&mut client, "INBOX.Job.Old").len(), 4);
    client.ok("UNSELECT");
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(status(&mut client, "INBOX.Job.Both"), before[2]);
    assert_eq!(status(&mut client, "INBOX.Job.New"), before[3]);
    client.no("SELECT INBOX.Work.Old");
}

#[test]
fn a_rename_that_cannot_be_done_changes_nothing() {
    let world = World::new().seeded(|old, new| {
        old.seed("A", &mails(0..1));
        old.seed("A/x", &mails(0..2));
        old.seed("B/x", &mails(0..3));
        new.seed("C", &mails(0..4));
    });
    let mut client = world.proxy.client();
    let before = folder_names(&mut client);
    refused(&mut client, "RENAME INBOX.A INBOX.C", "ALREADYEXISTS");
    refused(&mut client, "RENAME INBOX.A INBOX.A", "ALREADYEXISTS");
    refused(&mut client, "RENAME INBOX.A INBOX.B", "ALREADYEXISTS");
    client.no("RENAME INBOX.A INBOX.A.below");
    refused(&mut client, "RENAME INBOX.None INBOX.D", "NONEXISTENT");
    refused(&mut client, "RENAME INBOX INBOX.C", "ALREADYEXISTS");
    assert_eq!(folder_names(&mut client), before);
    assert_eq!(status(&mut client, "INBOX.A.x").0, 2);
}

#[test]
fn a_name_used_again_is_another_mailbox() {
    let world = World::new().start();
    let mut client = world.proxy.client();
    client.ok("CREATE INBOX.Fresh");
    client.append("INBOX.Fresh", "", &small(1));
    assert_eq!(everything(&mut client, "INBOX.Fresh").len(), 1);
    let (_, first) = status(&mut client, "INBOX.Fresh");
    // Renamed while connections have it selected by its former name.
    client.ok("RENAME INBOX.Fresh INBOX.Fresher");
    client.ok("CREATE INBOX.Fresh");
    let (messages, second) = status(&mut client, "INBOX.Fresh");
    assert!(messages == 0 && second > first, "{messages} {second} {first}");
    assert_eq!(client.ok("SELECT INBOX.Fresh").count("EXISTS"), Some(0));
    assert_eq!(client.ok("SELECT INBOX.Fresher").count("EXISTS"), Some(1));
    client.append("INBOX.Fresh", "", &small(2));
    assert_eq!(everything(&mut client, "INBOX.Fresh").len(), 1);
    client.ok("DELETE INBOX.Fresh");
    refused(&mut client, "SELECT INBOX.Fresh", "NONEXISTENT");
    client.ok("CREATE INBOX.Fresh");
    let (messages, third) = status(&mut client, "INBOX.Fresh");
    assert!(messages == 0 && third > second, "{messages} {third} {second}");
    assert_eq!(client.ok("SELECT INBOX.Fresh").count("EXISTS"), Some(0));
    client.append("INBOX.Fresh", "", &small(3));
    assert_eq!(everything(&mut client, "INBOX.Fresh").len(), 1);
    assert_eq!(everything(&mut client, "INBOX.Fresher").len(), 1);
}

#[test]
fn a_level_of_names_becomes_a_mailbox_and_back() {
    let world = World::new().seeded(|old, new| {
        old.seed("Top/Old", &mails(0..2));
        new.seed("Top/New", &mails(0..3));
    });
    let mut client = world.proxy.client();
    let top = |client: &mut lab::Dialogue| {
        let listed = client.ok("LIST \"\" INBOX.%").listed();
        let top = listed.into_iter().find(|l| l.name == "INBOX.Top").expect("a level");
        (top.attributes.contains("\\noselect"), top.attributes.contains("\\haschildren"))
    };
    assert_eq!(top(&mut client), (true, true));
    client.no("SELECT INBOX.Top");
    client.no("STATUS INBOX.Top (MESSAGES)");
    client.no("DELETE INBOX.Top");
    client.ok("CREATE INBOX.Top");
    assert_eq!(top(&mut client), (false, true));
    client.append("INBOX.Top", "", &small(1));
    assert_eq!(status(&mut client, "INBOX.Top").0, 1);
    client.ok("DELETE INBOX.Top");
    // Dovecot 2.3 goes on listing it as if it could be selected.
    assert!(top(&mut client).1);
    client.no("SELECT INBOX.Top");
    client.no("STATUS INBOX.Top (MESSAGES)");
    let names = folder_names(&mut client);
    let below: BTreeSet<String> =
        names.into_iter().filter(|n| n.starts_with("INBOX.Top.")).collect();
    assert_eq!(below, set(&["INBOX.Top.Old", "INBOX.Top.New"]));
    assert_eq!(status(&mut client, "INBOX.Top.Old").0, 2);
    assert_eq!(status(&mut client, "INBOX.Top.New").0, 3);
    client.ok("CREATE INBOX.Top");
    refused(&mut client, "CREATE INBOX.Top", "ALREADYEXISTS");
    assert_eq!(status(&mut client, "INBOX.Top").0, 0);
}

#[test]
fn subscriptions_are_of_both_sides() {
    let world = World::new().seeded(|old, new| {
        old.seed("Both", &mails(0..1));
        new.seed("Both", &mails(0..1));
        old.seed("Deep/Down", &mails(0..1));
    });
    world.old.client().ok("SUBSCRIBE INBOX.Both");
    world.new.client().ok("SUBSCRIBE Both");
    let mut client = world.proxy.client();
    let lsub = |client: &mut lab::Dialogue, pattern: &str| -> BTreeSet<String> {
        let listed = client.ok(&format!("LSUB \"\" {pattern}")).listed();
        listed.into_iter().map(|l| l.name).collect()
    };
    assert!(lsub(&mut client, "*").contains("INBOX.Both"));
    client.ok("UNSUBSCRIBE INBOX.Both");
    assert!(!lsub(&mut client, "*").contains("INBOX.Both"));
    client.ok("SUBSCRIBE INBOX.Deep.Down");
    assert!(lsub(&mut client, "*").contains("INBOX.Deep.Down"));
    let levels = client.ok("LSUB \"\" INBOX.%").listed();
    let deep = levels.iter().find(|l| l.name == "INBOX.Deep").expect("the parent");
    assert!(deep.attributes.contains("\\noselect"), "{levels:?}");
    refused(&mut client, "SUBSCRIBE INBOX.Nowhere", "NONEXISTENT");
}

#[test]
fn create_keeps_to_the_namespace_and_finds_parents_place() {
    let world = World::new().start();
    let mut client = world.proxy.client();
    client.ok("CREATE INBOX.Deep.Deeper.Deepest.");
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.Deep.Deeper.Deepest"), "{names:?}");
    assert!(folder_names(&mut world.new.client()).contains("Deep/Deeper/Deepest"));
    refused(&mut client, "CREATE INBOX.Deep.Deeper.Deepest", "ALREADYEXISTS");
    client.no("CREATE Outside");
    client.no("CREATE INBOX.");
    client.no("CREATE INBOX.a..b");
    assert_eq!(status(&mut client, "INBOX.Deep.Deeper.Deepest").0, 0);
}

#[test]
fn v2_a_name_given_up_by_a_rename_is_another_mailbox_when_it_is_made_anew() {
    let mut world = World::new().seeded(|old, _| old.seed("Work", &mails(0..2)));
    let mut client = world.proxy.client();
    let (_, first) = status(&mut client, "INBOX.Work");
    assert_eq!(client.ok("SELECT INBOX.Work").count("EXISTS"), Some(2));
    client.ok("RENAME INBOX.Work INBOX.Job");
    // Made anew by somebody who talks to new, not to the proxy.
    let mut on_new = world.new.client();
    on_new.ok("CREATE Work");
    on_new.append("Work", "", &small(1));
    let (messages, second) = status(&mut client, "INBOX.Work");
    assert!(messages == 1 && second > first, "{messages} {second} {first}");
    assert_eq!(status(&mut client, "INBOX.Job"), (2, first));
    // Given up once more, and this time the index is lost before the name is used again.
    client.ok("RENAME INBOX.Work INBOX.Hobby");
    drop(client);
    world.proxy.kill9();
    world.lose_index();
    on_new.ok("CREATE Work");
    on_new.append("Work", "", &small(2));
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(status(&mut client, "INBOX.Hobby"), (1, second));
    let (messages, third) = status(&mut client, "INBOX.Work");
    assert!(messages == 3 && third > second, "old's folder is in the new one again: {third}");
}

/// A server's RENAME takes along whatever lies below there, also what clients know by a name elsewhere; old
/// may be away meanwhile.
#[test]
fn v1_v3_a_folder_below_one_that_clients_see_elsewhere_keeps_its_name() {
    let mut world = World::new().seeded(|old, _| {
        old.seed("A", &mails(0..2));
        old.seed("D", &mails(2..5));
    });
    let mut client = world.proxy.client();
    client.ok("CREATE INBOX.D.E");
    client.append("INBOX.D.E", "", &small(1));
    for command in ["A INBOX.X", "D INBOX.A", "A.E INBOX.A.F"] {
        client.ok(&format!("RENAME INBOX.{command}"));
    }
    let before = status(&mut client, "INBOX.A.F");
    let names = folder_names(&mut world.new.client());
    assert!(
        names.contains("X/F"),
        "old's A is X on new, and what lies below goes there: {names:?}"
    );
    world.old.stop();
    client.ok("RENAME INBOX.X INBOX.Y");
    for old_is in ["away", "back"] {
        let names = folder_names(&mut client);
        let (there, double) = (names.contains("INBOX.A.F"), names.contains("INBOX.Y.F"));
        assert!(there && !double, "old is {old_is}: {names:?}");
        if old_is == "away" {
            world.old.start();
            client = world.proxy.client();
        }
    }
    assert_eq!(status(&mut client, "INBOX.A.F"), before);
    assert_eq!(everything(&mut client, "INBOX.A.F").len(), 1);
}

/// The same of what clients have deleted, and a server has still.
#[test]
fn v3_a_deleted_folder_stays_away_when_the_one_above_is_renamed() {
    let world = World::new().seeded(|old, _| {
        old.seed("A", &mails(0..2));
        old.seed("A/B", &mails(2..5));
        old.seed("A/C", &mails(5..7));
    });
    let phase = |to: &str| {
        let told = world.proxy.run(&["phase", "ann", to]);
        assert!(told.status.success(), "{to}: {}", String::from_utf8_lossy(&told.stderr));
    };
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX.A.C");
    client.ok("UID FETCH 1:* BODY.PEEK[]");
    lab::eventually_holds(&mut world.new.client(), "A/C", 2);
    client.ok("UNSELECT");
    client.ok("DELETE INBOX.A.B");
    phase("old");
    client.ok("RENAME INBOX.A INBOX.X");
    client.ok("DELETE INBOX.X.C");
    let old = folder_names(&mut world.old.client());
    assert!(old.contains("INBOX.X.B") && !old.contains("INBOX.X.C"), "{old:?}");
    let away = |client: &mut lab::Dialogue, above: &str| {
        let names = folder_names(client);
        let below: Vec<_> = names.iter().filter(|n| n.contains(".B") || n.contains(".C")).collect();
        assert!(names.contains(above) && below.is_empty(), "{names:?}");
    };
    away(&mut client, "INBOX.X");
    phase("merged");
    away(&mut client, "INBOX.X");
    client.ok("RENAME INBOX.X INBOX.Y");
    away(&mut client, "INBOX.Y");
    assert_eq!(everything(&mut client, "INBOX.Y").len(), 2);
    phase("old");
    phase("merged");
    away(&mut client, "INBOX.Y");
}

/// A RENAME brings any mailbox under any name, so a name that is made anew gets a UIDVALIDITY that none of the
/// account's mailboxes has, or had.
#[test]
fn v2_a_name_that_is_made_anew_has_no_other_mailboxes_uidvalidity() {
    let world = World::new().seeded(|old, _| {
        old.seed("A", &mails(0..2));
        old.seed("B", &mails(2..5));
    });
    let mut client = world.proxy.client();
    let [a, b] = ["INBOX.A", "INBOX.B"].map(|name| status(&mut client, name).1);
    assert_eq!(a + 1, b, "as servers count that make folders within a second");
    client.ok("RENAME INBOX.A INBOX.C");
    client.ok("CREATE INBOX.A");
    let (_, again) = status(&mut client, "INBOX.A");
    assert!(again > a && again != b, "{again}, and the other one has {b}");
    client.ok("RENAME INBOX.B INBOX.D");
    client.ok("CREATE INBOX.B");
    let (_, last) = status(&mut client, "INBOX.B");
    assert!(last > b && last != again, "{last}, and the other one has {again}");
}

/// The proxy dies while a folder is renamed: it has one name afterwards, the former or the new one, on both sides,
/// and its messages are seen once, under the UIDs that they had.
#[test]
fn v2_v3_killed_within_a_rename_a_folder_has_one_name() {
    for phase in ["merged", "old"] {
        let mut world =
            World::new().set("accounts.phase", &format!("{phase:?}")).seeded(|old, new| {
                old.seed("INBOX", &mails(0..1));
                old.seed("Work", &mails(1..6));
                new.seed("Work", &mails(10..12));
            });
        let mut client = world.proxy.client();
        let mut before = everything(&mut client, "INBOX.Work");
        if phase == "merged" {
            client.ok("SELECT INBOX.Work");
            client.ok("UID FETCH 1:3 BODY.PEEK[]");
            lab::eventually_holds(&mut world.new.client(), "Work", 5);
            before = everything(&mut client, "INBOX.Work");
        }
        let mut name = "INBOX.Work".to_owned();
        for (at, step) in
            ["rename: it is noted", "rename: the server has done it", "index: a batch is durable"]
                .iter()
                .enumerate()
        {
            let to = format!("INBOX.Name{at}");
            // The client is logged in, and the folders are known, before that.
            world.proxy.kill9();
            world.proxy.restart_to_die_at(&format!("{step}=return"));
            let login = world.proxy.is_alive().then(|| lab::Dialogue::connect(world.proxy.port));
            if let Some(mut client) = login {
                let login = client.cmd_unless_gone(b"LOGIN ann@example.com secret");
                let renamed = login
                    .and_then(|_| client.cmd_unless_gone(format!("RENAME {name} {to}").as_bytes()));
                assert!(renamed.is_none(), "{phase}, {step}: it did not die: {renamed:?}");
            }
            world.proxy.kill9();
            world.proxy.restart();
            let mut client = world.proxy.client();
            let names = folder_names(&mut client);
            let (was, is) = (names.contains(&name), names.contains(&to));
            assert!(was != is, "{phase}, {step}: {names:?}");
            assert!(is || at != 1, "{phase}, {step}: what the server has done is done");
            if is {
                name = to;
            }
            let seen = everything(&mut client, &name);
            assert_eq!(seen, before, "{phase}, {step}");
            let total: usize = names.iter().map(|name| everything(&mut client, name).len()).sum();
            assert_eq!(total, before.len() + 1, "{phase}, {step}: {names:?}");
        }
    }
}

/// A server does a RENAME of which nobody heard the end, and does it late: after it was asked what folders it has.
#[test]
fn v2_v3_a_rename_that_a_server_does_late_is_no_other_folder() {
    for phase in ["merged", "old"] {
        let mut world = World::new()
            .set("accounts.phase", &format!("{phase:?}"))
            .set("copy.grace", "\"30s\"")
            .seeded(|old, _| old.seed("Work", &mails(1..6)));
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX.Work");
        client.ok("UID FETCH 1:* BODY.PEEK[]");
        if phase == "merged" {
            lab::eventually_holds(&mut world.new.client(), "Work", 5);
        }
        let before = everything(&mut client, "INBOX.Work");
        world.proxy.kill9();
        world.proxy.restart_to_die_at("rename: it is noted=return");
        let mut client = world.proxy.client();
        assert!(client.cmd_unless_gone(b"RENAME INBOX.Work INBOX.Late").is_none(), "{phase}");
        world.proxy.kill9();
        world.proxy.restart();
        let mut client = world.proxy.client();
        assert!(folder_names(&mut client).contains("INBOX.Work"), "{phase}");
        let (server, name) = match phase {
            "old" => (&world.old, "INBOX.Late"),
            _ => (&world.new, "Late"),
        };
        server.client().ok(&format!("RENAME {} {name}", server.name("Work")));
        // Who makes another one waits until that is known.
        client.ok("CREATE INBOX.Another");
        let names = folder_names(&mut client);
        assert!(
            names.contains("INBOX.Late") && !names.contains("INBOX.Work"),
            "{phase}: {names:?}"
        );
        assert_eq!(everything(&mut client, "INBOX.Late"), before, "{phase}");
    }
}

/// A folder was made on new for what was copied there, and nobody has listed new since.
#[test]
fn v3_a_folder_that_new_has_is_not_renamed_while_new_is_away() {
    let mut world = World::new().seeded(|old, _| old.seed("Work", &mails(0..2)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX.Work");
    client.ok("UID FETCH 1:* BODY[]");
    lab::eventually_holds(&mut world.new.client(), "Work", 2);
    world.new.stop();
    client.no("RENAME INBOX.Work INBOX.Other");
    world.new.start();
    eventually("new is reached again", || {
        (client.cmd("RENAME INBOX.Work INBOX.Other").status == "OK").then_some(())
    });
    lab::eventually_holds(&mut world.new.client(), "Other", 2);
    world.new.client().no("SELECT Work");
}
