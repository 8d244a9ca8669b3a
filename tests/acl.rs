//! ACL: who may do what with a mailbox, as the side says where others find it.

mod lab;

use lab::{Cyrus, Dialogue, Dovecot, World, everything, folder_names, mails};

/// A Dovecot with access rights.
fn guarded(shape: Dovecot) -> Dovecot {
    shape
        .setting("mail_plugins = acl")
        .setting("protocol imap {\n  mail_plugins = acl imap_acl\n}")
        .setting("plugin {\n  acl = vfile:cache_secs=0\n  acl_anyone = allow\n  acl_shared_dict = file:%h/../shared-mailboxes.db\n}")
}

/// The same, where users see what others share with them.
fn sharing() -> Dovecot {
    guarded(Dovecot::old_style())
        .setting(
            "namespace shared {\n  type = shared\n  separator = .\n  prefix = shared.%%n.\n  \
             location = maildir:%%h/Maildir:INDEXPVT=~/shared/%%u\n  subscriptions = no\n  \
             list = children\n}",
        )
        .setting("namespace subs {\n  prefix =\n  separator = .\n  hidden = yes\n  list = no\n}")
}

/// Lets the servers be known, and begins anew.
fn client(world: &World) -> Dialogue {
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" ACL RIGHTS=texk "), "{capability}");
    client
}

#[test]
fn rights_are_those_of_the_side_where_the_mailbox_is_reached() {
    let world = World::new()
        .old(guarded(Dovecot::old_style()))
        .new(Cyrus::styled(true, false))
        .seeded(|old, new| {
            old.seed("Work", &mails(0..2));
            new.seed("Work", &mails(2..4));
            new.seed("Only New", &mails(4..5));
            old.client().ok("SETACL INBOX.Work bob@example.com lrs");
            new.client().ok("SETACL Work eve@example.com lr");
        });
    let mut client = client(&world);
    for ask in ["GETACL", "MYRIGHTS"] {
        for name in ["INBOX", "INBOX.Work"] {
            let told = client.ok(&format!("{ask} {name}")).lines();
            let direct = world.old.client().ok(&format!("{ask} {name}")).lines();
            assert_eq!(told[0].replace('"', ""), direct[0].replace('"', ""));
        }
        let told = client.ok(&format!("{ask} \"INBOX.Only New\"")).lines();
        let direct = world.new.client().ok(&format!("{ask} \"Only New\"")).lines();
        assert_eq!(told[0], direct[0].replace("\"Only New\"", "\"INBOX.Only New\""));
    }
    let told = client.ok("LISTRIGHTS INBOX.Work bob@example.com").lines();
    let direct = world.old.client().ok("LISTRIGHTS INBOX.Work bob@example.com").lines();
    assert_eq!(told[0].replace("\"INBOX.Work\"", "INBOX.Work"), direct[0]);

    client.ok("SETACL INBOX.Work bob@example.com +w");
    client.ok("SETACL INBOX.Work anyone l");
    let told = client.ok("GETACL INBOX.Work").lines();
    assert!(told[0].contains("bob@example.com lrws"), "{told:?}");
    assert!(told[0].contains("anyone l"), "{told:?}");
    client.ok("DELETEACL INBOX.Work bob@example.com");
    let told = client.ok("GETACL INBOX.Work").lines();
    assert!(!told[0].contains("bob"), "{told:?}");
    // Whom an identifier names on new, nobody knows.
    let new = world.new.client().ok("GETACL Work").lines();
    assert!(new[0].contains("eve") && !new[0].contains("anyone"), "{new:?}");

    client.ok("SETACL \"INBOX.Only New\" anyone lr");
    let told = client.ok("GETACL \"INBOX.Only New\"").lines();
    assert!(told[0].contains("anyone lr"), "{told:?}");

    client.no("SETACL INBOX.Work bob@example.com Z");
    assert_eq!(client.no("MYRIGHTS INBOX.Nowhere").code("NONEXISTENT").as_deref(), Some(""));
    for bad in ["GETACL", "SETACL INBOX bob", "DELETEACL INBOX", "LISTRIGHTS INBOX", "MYRIGHTS"] {
        client.bad(bad);
    }
}

#[test]
fn rights_given_through_the_proxy_let_others_in() {
    let mut world = World::new()
        .old(sharing())
        .new(guarded(Dovecot::new_style()))
        .account("ann@example.com", "secret")
        .account("bob@example.com", "hidden")
        .seeded(|old, _| {
            old.seed_of("bob@example.com", "Team", &mails(0..3));
        });
    let mut ann = client(&world);
    let mut bob = world.proxy.client_of("bob@example.com", "hidden");
    assert!(!folder_names(&mut ann).contains("shared.bob.Team"));
    bob.ok("SETACL INBOX.Team ann@example.com lr");
    // To Dovecot a connection has the rights that it had when it was opened.
    world.proxy.stop();
    world.proxy.restart();
    let mut ann = world.proxy.client();
    assert!(folder_names(&mut ann).contains("shared.bob.Team"));
    assert_eq!(everything(&mut ann, "shared.bob.Team").len(), 3);
    assert_eq!(ann.ok("MYRIGHTS shared.bob.Team").lines(), ["* MYRIGHTS \"shared.bob.Team\" lr"]);
    // Whoever may not administer it is told so, as old tells it.
    let refused = ann.no("SETACL shared.bob.Team ann@example.com lrw");
    assert_eq!(refused.code("NOPERM").as_deref(), Some(""), "{refused:?}");
    ann.no("GETACL shared.bob.Team");

    let mut bob = world.proxy.client_of("bob@example.com", "hidden");
    // An owner who takes rights from himself feels it at once.
    bob.ok("SETACL INBOX.Team bob@example.com lrswxka");
    let rights = bob.ok("MYRIGHTS INBOX.Team").lines();
    assert!(!rights[0].rsplit(' ').next().expect("rights").contains('i'), "{rights:?}");
    let direct = world.old.client_of("bob@example.com", "hidden").ok("MYRIGHTS INBOX.Team").lines();
    assert_eq!(rights[0].replace('"', ""), direct[0]);
}

#[test]
fn v10_rights_are_offered_where_both_servers_have_them() {
    for (old, new) in [
        (guarded(Dovecot::old_style()), Dovecot::new_style()),
        (Dovecot::old_style(), guarded(Dovecot::new_style())),
    ] {
        let world = World::new().old(old).new(new).start();
        world.proxy.client().ok("SELECT INBOX");
        let mut client = world.proxy.client();
        let capability = client.ok("CAPABILITY").lines().concat();
        assert!(!capability.contains(" ACL") && !capability.contains("RIGHTS="), "{capability}");
        client.bad("MYRIGHTS INBOX");
    }
    // One that knows only RFC 2086's.
    let world = World::new()
        .old(guarded(Dovecot::old_style()))
        .new(guarded(Dovecot::new_style()))
        .set("new.mask", "[\"RIGHTS=TEXK\"]")
        .start();
    world.proxy.client().ok("SELECT INBOX");
    let capability = world.proxy.client().ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" ACL ") && !capability.contains("RIGHTS="), "{capability}");
}
