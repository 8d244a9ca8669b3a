//! METADATA: annotations of both servers, as those of one.

mod lab;

use lab::{Cyrus, Dialogue, Dovecot, World, mails};

/// A Dovecot that keeps annotations.
fn keeping(shape: Dovecot) -> Dovecot {
    shape
        .setting("mail_attribute_dict = file:%h/dovecot-attributes")
        .setting("protocol imap {\n  imap_metadata = yes\n}")
}

/// Lets the servers be known, and begins anew.
fn client(world: &World) -> Dialogue {
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    assert!(client.ok("CAPABILITY").lines().concat().contains(" METADATA "));
    client
}

fn get(client: &mut Dialogue, mailbox: &str, entries: &str) -> Vec<String> {
    client.ok(&format!("GETMETADATA {mailbox} {entries}")).lines()
}

#[test]
fn what_is_on_either_server_is_told_and_new_counts() {
    let world = World::new()
        .old(keeping(Dovecot::old_style()))
        .new(keeping(Dovecot::new_style()))
        .seeded(|old, new| {
            old.seed("Work", &mails(0..2));
            new.seed("Work", &mails(2..4));
            old.client().ok(
                "SETMETADATA INBOX.Work (/private/comment \"of old\" /shared/comment \"shared\")",
            );
            old.client().ok("SETMETADATA \"\" (/private/vendor/lab/a \"server\")");
            new.client().ok(
                "SETMETADATA Work (/private/comment \"of new\" /private/vendor/lab/x/y \"deep\")",
            );
        });
    let mut client = client(&world);
    assert_eq!(
        get(&mut client, "INBOX.Work", "(/private/comment /shared/comment /private/none)"),
        [
            "* METADATA \"INBOX.Work\" (/private/comment \"of new\" /private/none NIL /shared/comment \"shared\")"
        ]
    );
    assert_eq!(
        get(&mut client, "\"\"", "/private/vendor/lab/a"),
        ["* METADATA \"\" (/private/vendor/lab/a \"server\")"]
    );
    let all = "* METADATA \"INBOX.Work\" (/private/comment \"of new\" \
               /private/vendor/lab/x/y \"deep\" /shared/comment \"shared\")";
    assert_eq!(get(&mut client, "(DEPTH infinity) INBOX.Work", "(/private /shared)"), [all]);
    // The options stand behind the mailbox as well, and case does not count.
    assert_eq!(get(&mut client, "INBOX.Work", "(DEPTH infinity) (/PRIVATE /shared)"), [all]);
    let near = get(&mut client, "(DEPTH 1) INBOX.Work", "/private");
    assert_eq!(near, ["* METADATA \"INBOX.Work\" (/private/comment \"of new\")"]);

    // What new has counts, also where it is too long and old's is not.
    let cut = client.ok("GETMETADATA (MAXSIZE 6) INBOX.Work (/private/comment /shared/comment)");
    assert_eq!(
        cut.lines(),
        ["* METADATA \"INBOX.Work\" (/private/comment \"of new\" /shared/comment \"shared\")"]
    );
    client.ok("SETMETADATA INBOX.Work (/private/comment \"longer than old's\")");
    world.old.client().ok("SETMETADATA INBOX.Work (/private/comment \"short\")");
    let cut = client.ok("GETMETADATA (MAXSIZE 6) INBOX.Work (/private/comment /shared/comment)");
    assert_eq!(cut.lines(), ["* METADATA \"INBOX.Work\" (/shared/comment \"shared\")"]);
    assert_eq!(cut.code("METADATA").as_deref(), Some("LONGENTRIES 17"));

    assert_eq!(
        client.no("GETMETADATA INBOX.Nowhere /private/comment").code("NONEXISTENT").as_deref(),
        Some("")
    );
    for bad in ["/other/x", "/private/*", "/private//x", "/private/", "()", "(FOO 1) /private/x"] {
        client.bad(&format!("GETMETADATA INBOX {bad}"));
    }
    client.bad("SETMETADATA INBOX (/private/comment)");
    client.bad("SETMETADATA INBOX ()");
}

#[test]
fn what_is_set_is_set_on_both_and_what_is_removed_is_gone_from_both() {
    let world = World::new()
        .old(keeping(Dovecot::old_style()))
        .new(keeping(Dovecot::new_style()))
        .seeded(|old, new| {
            old.seed("Work", &mails(0..2));
            new.seed("Work", &mails(2..4));
            old.client().ok("SETMETADATA INBOX.Work (/private/comment \"of old\")");
        });
    let mut client = client(&world);
    let long = "x".repeat(70_000);
    for (typed, told) in [
        ("\"plain\"", "\"plain\"".to_owned()),
        ("{7+}\r\ntwo\r\nit", "{7}\r\ntwo\r\nit".to_owned()),
        ("~{3+}\r\nabc", "\"abc\"".to_owned()),
        (&format!("{{70000+}}\r\n{long}"), format!("{{70000}}\r\n{long}")),
    ] {
        client.ok(&format!("SETMETADATA INBOX.Work (/private/comment {typed})"));
        let shown = get(&mut client, "INBOX.Work", "(/private/comment)");
        assert_eq!(shown, [format!("* METADATA \"INBOX.Work\" (/private/comment {told})")]);
        let new = get(&mut world.new.client(), "Work", "(/private/comment)");
        let old = get(&mut world.old.client(), "INBOX.Work", "(/private/comment)");
        assert_eq!(old[0].replace("INBOX.", ""), new[0]);
        assert!(new[0].contains(told.trim_matches('"')), "{new:?}");
    }
    client.ok("SETMETADATA INBOX.Work (/private/comment NIL)");
    for (mut server, name) in
        [(world.old.client(), "INBOX.Work"), (world.new.client(), "Work"), (client, "INBOX.Work")]
    {
        let shown = get(&mut server, name, "/private/comment");
        assert!(shown[0].ends_with("(/private/comment NIL)"), "{shown:?}");
    }
    // Dovecot keeps no NUL: its refusal is heard, in its words.
    let mut client = world.proxy.client();
    let refused = client.no("SETMETADATA INBOX.Work (/private/comment ~{3+}\r\na\0b)");
    assert_eq!(refused.code("CANNOT").as_deref(), Some(""));
}

#[test]
fn what_is_set_where_only_old_has_the_mailbox_is_kept_on_new() {
    let world = World::new()
        .old(keeping(Dovecot::old_style()))
        .new(Cyrus::styled(true, false))
        .seeded(|old, _| {
            old.seed("Work", &mails(0..2));
            old.client().ok("SETMETADATA INBOX.Work (/shared/comment \"of old\")");
        });
    let mut client = client(&world);
    client.ok("SETMETADATA INBOX.Work (/private/comment \"mine\")");
    let new = get(&mut world.new.client(), "Work", "/private/comment");
    assert!(new[0].contains("\"mine\""), "{new:?}");
    assert_eq!(
        get(&mut client, "INBOX.Work", "(/private/comment /shared/comment)"),
        ["* METADATA \"INBOX.Work\" (/private/comment \"mine\" /shared/comment \"of old\")"]
    );
    // The copies come into the same mailbox.
    client.ok("SELECT INBOX.Work");
    client.ok("FETCH 1 BODY[]");
    lab::eventually("the message is carried", || {
        (world.new.client().ok("SELECT Work").count("EXISTS") == Some(1)).then_some(())
    });
    let new = get(&mut world.new.client(), "Work", "/private/comment");
    assert!(new[0].contains("\"mine\""), "{new:?}");
    // New keeps no annotations of this name: nothing is changed on old either.
    client.no("SETMETADATA INBOX.Work (/private/vendor/lab/x \"v\")");
    let old = get(&mut world.old.client(), "INBOX.Work", "/private/vendor/lab/x");
    assert!(old[0].ends_with("NIL)"), "{old:?}");
}

#[test]
fn an_old_server_that_refuses_does_not_stand_in_the_way() {
    // Cyrus refuses what Dovecot keeps.
    let world =
        World::new().old(Cyrus::styled(false, false)).new(keeping(Dovecot::new_style())).start();
    let mut client = client(&world);
    client.ok("SETMETADATA INBOX (/private/vendor/lab/x \"v\")");
    let shown = get(&mut client, "INBOX", "/private/vendor/lab/x");
    assert_eq!(shown, ["* METADATA INBOX (/private/vendor/lab/x \"v\")"]);
    client.ok("SETMETADATA INBOX (/private/vendor/lab/x NIL)");
    let shown = get(&mut client, "INBOX", "/private/vendor/lab/x");
    assert_eq!(shown, ["* METADATA INBOX (/private/vendor/lab/x NIL)"]);
    // Together with what old has and refuses to remove in one: that would shine through.
    world.old.client().ok("SETMETADATA INBOX (/private/comment \"left\")");
    client.no("SETMETADATA INBOX (/private/vendor/lab/x NIL /private/comment NIL)");
    client.ok("SETMETADATA INBOX (/private/comment NIL)");
    let shown = get(&mut client, "INBOX", "/private/comment");
    assert_eq!(shown, ["* METADATA INBOX (/private/comment NIL)"]);
    let old = get(&mut world.old.client(), "INBOX", "/private/comment");
    assert!(old[0].contains("NIL"), "{old:?}");
}

#[test]
fn v7_while_a_side_is_away_nothing_is_told_that_may_be_wrong() {
    let mut world = World::new()
        .old(keeping(Dovecot::old_style()))
        .new(keeping(Dovecot::new_style()))
        .seeded(|old, new| {
            old.client().ok("SETMETADATA INBOX (/private/comment \"of old\")");
            new.client().ok("SETMETADATA INBOX (/shared/comment \"of new\")");
        });
    let mut client = client(&world);
    world.old.stop();
    let shown = get(&mut client, "INBOX", "/shared/comment");
    assert_eq!(shown, ["* METADATA INBOX (/shared/comment \"of new\")"]);
    let refused = client.no("GETMETADATA INBOX /private/comment");
    assert_eq!(refused.code("UNAVAILABLE").as_deref(), Some(""));
    // What is changed is changed on new, where it counts. What is removed would come back.
    client.ok("SETMETADATA INBOX (/private/comment \"now\")");
    let shown = get(&mut client, "INBOX", "/private/comment");
    assert_eq!(shown, ["* METADATA INBOX (/private/comment \"now\")"]);
    let refused = client.no("SETMETADATA INBOX (/private/comment NIL)");
    assert_eq!(refused.code("UNAVAILABLE").as_deref(), Some(""));
}

#[test]
fn v10_metadata_is_offered_where_new_keeps_it() {
    let world = World::new().old(keeping(Dovecot::old_style())).start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    assert!(!client.ok("CAPABILITY").lines().concat().contains("METADATA"));
    client.bad("GETMETADATA INBOX /private/comment");
    client.bad("SETMETADATA INBOX (/private/comment \"x\")");

    // Where only new keeps annotations, all are there.
    let world = World::new().new(keeping(Dovecot::new_style())).seeded(|old, _| {
        old.seed("Work", &mails(0..2));
    });
    let mut client = self::client(&world);
    let shown = get(&mut client, "INBOX.Work", "/private/comment");
    assert_eq!(shown, ["* METADATA \"INBOX.Work\" (/private/comment NIL)"]);
    client.ok("SETMETADATA INBOX.Work (/private/comment \"x\")");
    let shown = get(&mut client, "INBOX.Work", "/private/comment");
    assert_eq!(shown, ["* METADATA \"INBOX.Work\" (/private/comment \"x\")"]);
}
