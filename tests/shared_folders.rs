//! Folders of other users and shared ones: they stay reachable on old, and are never carried to new.

mod lab;

use std::time::Duration;

use lab::{
    Dialogue, Dovecot, Server, World, eventually, everything, folder_names, mails, quoted, small,
    sorted,
};

const TEAM: &str = "shared.bob.Team";
/// Where subscriptions to folders of other namespaces are kept.
const SUBSCRIPTIONS: &str =
    "namespace subs {\n  prefix =\n  separator = .\n  hidden = yes\n  list = no\n}";
const ALL_RIGHTS: &str = "lrwstipekxa";

/// Old with a namespace in which users share folders, and one that is everybody's.
fn sharing() -> Dovecot {
    sharing_with(Dovecot::old_style(), '.')
}

fn sharing_with(shape: Dovecot, separator: char) -> Dovecot {
    shape
        .setting("mail_plugins = acl")
        .setting("protocol imap {\n  mail_plugins = acl imap_acl\n}")
        .setting("plugin {\n  acl = vfile:cache_secs=0\n  acl_shared_dict = file:%h/../shared-mailboxes.db\n}")
        .setting(&format!(
            "namespace shared {{\n  type = shared\n  separator = {separator}\n  \
             prefix = shared{separator}%%n{separator}\n  \
             location = maildir:%%h/Maildir:INDEXPVT=~/shared/%%u\n  subscriptions = no\n  \
             list = children\n}}"
        ))
}

fn bob(server: &Server) -> Dialogue {
    server.client_of("bob@example.com", "hidden")
}

/// Ann and bob; bob lets ann do this with his folder Team, which holds ten messages.
fn world(rights: &str) -> World {
    World::new()
        .old(sharing().setting(SUBSCRIPTIONS))
        .account("ann@example.com", "secret")
        .account("bob@example.com", "hidden")
        .seeded(|old, new| {
            old.seed("INBOX", &mails(100..105));
            old.seed("Work", &mails(110..112));
            old.seed_of("bob@example.com", "Team", &mails(0..10));
            new.seed("Only New", &mails(120..121));
            bob(old).ok(&format!("SETACL INBOX.Team ann@example.com {rights}"));
        })
}

/// New has nothing of what is shared, now nor a little later.
#[track_caller]
fn nothing_shared_on_new(world: &World) {
    std::thread::sleep(Duration::from_millis(500));
    let mut new = world.new.client();
    let names = folder_names(&mut new);
    assert!(
        !names.iter().any(|name| name.contains("Team") || name.contains("shared")),
        "{names:?}"
    );
}

#[test]
fn shared_folders_are_named_listed_read_and_searched() {
    let mut world = world("lr");
    let mut client = world.proxy.client();
    let namespace = client.ok("NAMESPACE").lines().join("");
    assert_eq!(namespace, world.old.client().ok("NAMESPACE").lines().join(""));
    assert!(namespace.contains("\"shared.\""), "{namespace}");
    let names = folder_names(&mut client);
    assert!(names.contains(TEAM), "{names:?}");
    assert!(names.contains("INBOX.Only New"), "{names:?}");
    let levels = client.ok("LIST \"\" shared.%").lines().join("");
    assert!(levels.contains("\\HasChildren") && levels.contains("shared.bob"), "{levels}");
    let below = client.ok("LIST \"\" shared.bob.%").lines();
    assert!(below.len() == 1 && below[0].contains(TEAM), "{below:?}");

    let on_old = everything(&mut world.old.client(), TEAM);
    assert_eq!(on_old.len(), 10);
    assert_eq!(everything(&mut client, TEAM), on_old);
    let shown = client.ok(&format!("SELECT {TEAM}"));
    let direct = world.old.client().ok(&format!("SELECT {TEAM}"));
    for number in ["UIDVALIDITY", "UIDNEXT"] {
        assert_eq!(shown.number(number), direct.number(number), "{number}");
    }
    assert_eq!(client.ok("SEARCH SUBJECT 7").found().len(), 1);
    assert_eq!(client.ok("FETCH 3 BODY[]").fetched()[0].body(), small(2));
    assert_eq!(client.ok(&format!("STATUS {TEAM} (MESSAGES)")).status_of(TEAM)["MESSAGES"], 10);
    nothing_shared_on_new(&world);

    // What ann may not do, old says.
    client.no(&format!("COPY 1 {TEAM}.Sub"));
    assert_eq!(client.literal("APPEND shared.bob.Team ", &small(50), "").status, "NO");
    client.no(&format!("DELETE {TEAM}"));
    client.no("CREATE shared.bob.Other");
    client.cmd("STORE 1 +FLAGS (\\Deleted)");
    client.cmd("EXPUNGE");
    assert_eq!(everything(&mut bob(&world.old), "INBOX.Team").len(), 10);

    // It is the same after a restart.
    world.proxy.stop();
    world.proxy.restart();
    assert_eq!(everything(&mut world.proxy.client(), TEAM), on_old);
}

#[test]
fn shared_folders_are_written_to_on_old_where_it_lets() {
    let world = world(ALL_RIGHTS);
    let mut client = world.proxy.client();
    let mut owner = bob(&world.old);
    client.ok(&format!("SELECT {TEAM}"));
    client.ok("STORE 2 +FLAGS (\\Flagged $Seen2)");
    assert!(everything(&mut owner, "INBOX.Team")[1].flags.contains("\\Flagged"));
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    assert_eq!(everything(&mut owner, "INBOX.Team").len(), 9);
    let appended = client.append(TEAM, "(\\Seen)", &small(40));
    let uid = appended.text.split(' ').nth(2).and_then(|uid| uid.strip_suffix(']'));
    assert_eq!(uid, Some("11"), "{appended:?}");
    assert_eq!(client.ok("NOOP").count("EXISTS").or(Some(10)), Some(10));
    assert_eq!(everything(&mut owner, "INBOX.Team").last().expect("it").octets, small(40));

    // News of old are told while the client idles.
    client.ok(&format!("SELECT {TEAM}"));
    client.idle();
    owner.append("INBOX.Team", "", &small(41));
    client.wait_for(|line| line == "* 11 EXISTS");
    client.done();

    client.ok(&format!("CREATE {TEAM}.Sub"));
    client.no(&format!("CREATE {TEAM}.Sub"));
    client.append(&format!("{TEAM}.Sub"), "", &small(42));
    client.ok(&format!("SUBSCRIBE {TEAM}.Sub"));
    client.ok(&format!("SELECT {TEAM}"));
    client.ok(&format!("COPY 1 {TEAM}.Sub"));
    let identifiers = |client: &mut Dialogue, mailbox: &str| {
        let id = client.ok(&format!("SELECT {mailbox}")).code("MAILBOXID").expect("MAILBOXID");
        (id, client.ok("FETCH 1:* (UID EMAILID)").lines())
    };
    let before = identifiers(&mut client, &format!("{TEAM}.Sub"));
    client.ok(&format!("RENAME {TEAM}.Sub {TEAM}.Named"));
    // Dovecot shows it to its owner alone for a while: until the next CREATE.
    assert_eq!(everything(&mut owner, "INBOX.Team.Named").len(), 2);
    client.no(&format!("SELECT {TEAM}.Sub"));
    client.no(&format!("RENAME {TEAM} INBOX.Mine"));
    client.no(&format!("RENAME INBOX.Work {TEAM}.Work"));
    client.ok(&format!("CREATE {TEAM}.Short"));
    assert_eq!(identifiers(&mut client, &format!("{TEAM}.Named")), before);
    bob(&world.old).ok("DELETE INBOX.Team.Named");
    client.ok(&format!("SELECT {TEAM}.Short"));
    client.ok(&format!("DELETE {TEAM}.Short"));
    client.no(&format!("SELECT {TEAM}.Short"));
    let names = folder_names(&mut bob(&world.old));
    assert!(!names.iter().any(|name| name.contains("Team.")), "{names:?}");
    nothing_shared_on_new(&world);
}

#[test]
fn messages_are_copied_between_shared_and_own_folders_on_both_sides() {
    let world = world(ALL_RIGHTS);
    let mut client = world.proxy.client();
    let team = everything(&mut world.old.client(), TEAM);

    // The target is on old: old copies.
    client.ok(&format!("SELECT {TEAM}"));
    let copied = client.ok("COPY 1:2 INBOX.Work");
    assert!(copied.text.contains("[COPYUID "), "{copied:?}");
    // The target is on new alone: message by message.
    let copied = client.ok(&format!("UID COPY 3:5 {}", quoted("INBOX.Only New")));
    assert!(copied.text.contains("[COPYUID "), "{copied:?}");
    let only_new = everything(&mut world.new.client(), "Only New");
    assert_eq!(sorted(only_new[1..].to_vec()), sorted(team[2..5].to_vec()));
    let shown = everything(&mut client, "INBOX.Only New");
    assert_eq!(sorted(shown), sorted(only_new));
    assert_eq!(everything(&mut client, "INBOX.Work").len(), 4);

    // What lies on new goes to a shared folder as well.
    client.ok(&format!("SELECT {}", quoted("INBOX.Only New")));
    let copied = client.ok(&format!("COPY 1 {TEAM}"));
    assert!(copied.text.contains("[COPYUID "), "{copied:?}");
    let last = everything(&mut bob(&world.old), "INBOX.Team").pop().expect("a message");
    assert_eq!(last.octets, small(120));

    // MOVE, both ways.
    client.ok(&format!("MOVE 1 {TEAM}"));
    assert_eq!(everything(&mut client, "INBOX.Only New").len(), 3);
    assert_eq!(everything(&mut client, TEAM).len(), 12);
    client.ok(&format!("SELECT {TEAM}"));
    client.ok(&format!("MOVE 12 {}", quoted("INBOX.Only New")));
    assert_eq!(everything(&mut client, "INBOX.Only New").len(), 4);
    assert_eq!(everything(&mut bob(&world.old), "INBOX.Team").len(), 11);

    // A message that was carried to new is copied from there.
    client.ok("SELECT INBOX.Work");
    client.ok("FETCH 1:* BODY[]");
    eventually("Work is carried", || {
        (everything(&mut world.new.client(), "Work").len() == 4).then_some(())
    });
    client.ok(&format!("COPY 1 {TEAM}"));
    let last = everything(&mut bob(&world.old), "INBOX.Team").pop().expect("a message");
    assert_eq!(last.octets, small(110));
    nothing_shared_on_new(&world);
}

#[test]
fn rights_that_come_and_go_are_heeded() {
    let mut world = world("lr");
    assert_eq!(everything(&mut world.proxy.client(), TEAM).len(), 10);
    bob(&world.old).ok("DELETEACL INBOX.Team ann@example.com");
    // To Dovecot a connection has the rights that it had when it was opened.
    world.proxy.stop();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(!names.contains(TEAM), "{names:?}");
    client.no(&format!("SELECT {TEAM}"));
    // Meanwhile the folder has become another one of the same name.
    let mut owner = bob(&world.old);
    owner.ok("DELETE INBOX.Team");
    owner.ok("CREATE INBOX.Team");
    owner.append("INBOX.Team", "", &small(60));
    owner.ok("SETACL INBOX.Team ann@example.com lr");
    world.proxy.stop();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains(TEAM), "{names:?}");
    let shown = client.ok(&format!("SELECT {TEAM}"));
    assert_eq!(shown.count("EXISTS"), Some(1));
    let direct = world.old.client().ok(&format!("SELECT {TEAM}"));
    assert_eq!(shown.number("UIDVALIDITY"), direct.number("UIDVALIDITY"));
}

#[test]
fn a_public_namespace_that_is_shown_only_to_who_asks_is_found() {
    let world = World::new()
        .old(Dovecot::old_style().setting(SUBSCRIPTIONS).setting(
            "namespace public {\n  type = public\n  separator = .\n  prefix = Public.\n  \
             location = maildir:%h/../public\n  subscriptions = no\n  list = no\n  hidden = no\n}",
        ))
        .seeded(|old, _| {
            let mut client = old.client();
            client.ok("CREATE Public.News");
            client.append("Public.News", "", &small(1));
        });
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains("Public.News"), "{names:?}");
    assert_eq!(everything(&mut client, "Public.News").len(), 1);
    client.append("Public.News", "", &small(2));
    assert_eq!(everything(&mut world.old.client(), "Public.News").len(), 2);
    let names = folder_names(&mut world.new.client());
    assert!(!names.iter().any(|name| name.contains("News")), "{names:?}");
}

#[test]
fn while_old_is_away_shared_folders_are_known_but_not_read() {
    let mut world = World::new()
        .old(sharing().setting(SUBSCRIPTIONS))
        .account("ann@example.com", "secret")
        .account("bob@example.com", "hidden")
        .set("auth.primary", "\"new\"")
        .seeded(|old, new| {
            old.seed_of("bob@example.com", "Team", &mails(0..10));
            bob(old).ok("SETACL INBOX.Team ann@example.com lr");
            new.seed("INBOX", &mails(100..102));
        });
    let mut client = world.proxy.client();
    assert_eq!(everything(&mut client, TEAM).len(), 10);
    assert_eq!(everything(&mut client, "INBOX").len(), 2);
    world.proxy.stop();
    world.old.stop();
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert!(folder_names(&mut client).contains(TEAM));
    assert_eq!(client.ok(&format!("SELECT {TEAM}")).count("EXISTS"), Some(10));
    let refused = client.no("FETCH 1 BODY.PEEK[]");
    assert!(refused.text.contains("[UNAVAILABLE]"), "{refused:?}");
    assert_eq!(client.literal("APPEND shared.bob.Team ", &small(1), "").status, "NO");
    client.no("CREATE shared.bob.Other");
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(2));
    world.old.start();
    eventually("old is back", || {
        client.cmd(&format!("SELECT {TEAM}"));
        (client.cmd("FETCH 1 BODY.PEEK[]").status == "OK").then_some(())
    });
}

#[test]
fn v6_a_folder_of_new_is_never_joined_to_a_shared_one() {
    let shape = Dovecot::old_style().prefix("").separator('/');
    let world = World::new()
        .old(sharing_with(shape, '/'))
        .account("ann@example.com", "secret")
        .account("bob@example.com", "hidden")
        .seeded(|old, new| {
            old.seed_of("bob@example.com", "Team", &mails(0..10));
            old.seed_of("bob@example.com", "Plans", &mails(20..22));
            new.seed("shared/bob/Team", &mails(100..102));
            for folder in ["Team", "Plans"] {
                bob(old).ok(&format!("SETACL {folder} ann@example.com {ALL_RIGHTS}"));
            }
        });
    let mut client = world.proxy.client();
    assert_eq!(everything(&mut client, "shared/bob/Team").len(), 2, "the user's own, on new");
    assert_eq!(everything(&mut client, "shared/bob/Plans").len(), 2, "the shared one, on old");
    client.append("shared/bob/Team", "", &small(50));
    client.append("shared/bob/Plans", "", &small(51));
    assert_eq!(everything(&mut world.new.client(), "shared/bob/Team").len(), 3);
    assert_eq!(everything(&mut bob(&world.old), "Team").len(), 10);
    assert_eq!(everything(&mut bob(&world.old), "Plans").len(), 3);
    assert!(world.proxy.log().contains("not shown: a folder has its name"));
}
