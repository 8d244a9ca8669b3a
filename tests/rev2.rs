//! IMAP4rev2 (RFC 9051) and UTF8=ACCEPT (RFC 6855): what changes for a client that enables them.

mod lab;

use lab::{Courier, Cyrus, Dialogue, Dovecot, Mail, Shape, World, mails};

/// The untagged lines of an answer that begin so.
fn lines(reply: &lab::Reply, start: &str) -> Vec<String> {
    reply.lines().into_iter().filter(|line| line.starts_with(start)).collect()
}

/// A client of a proxy that knows its servers, with IMAP4rev2 enabled.
fn enabled(world: &World) -> Dialogue {
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    assert_eq!(lines(&client.ok("ENABLE IMAP4rev2"), "*"), ["* ENABLED IMAP4rev2"]);
    client
}

fn folders_in_utf8(old: Shape, new: Shape) {
    let world = World::new().old(old).new(new).seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        old.seed("Entw&APw-rfe", &mails(10..12));
        new.seed("INBOX", &mails(20..22));
        new.seed("Entw&APw-rfe", &mails(30..31));
    });
    let mut plain = world.proxy.client();
    plain.ok("SELECT INBOX");
    let wire = |folder: &str| world.old.name(folder);
    let mut client = enabled(&world);
    let drafts = wire("Entwürfe");

    let listed = client.ok("LIST \"\" *").lines().concat();
    assert!(listed.contains(&format!("\"{drafts}\"")), "{listed}");
    let listed = plain.ok("LIST \"\" *").lines().concat();
    assert!(listed.contains(&wire("Entw&APw-rfe")), "{listed}");
    let found = client.ok(&format!("LIST \"\" \"{}\" RETURN (STATUS (MESSAGES))", wire("Ent%ü*")));
    assert_eq!(lines(&found, "* LIST").len(), 1, "{found:?}");
    assert_eq!(lines(&found, "* STATUS"), [format!("* STATUS \"{drafts}\" (MESSAGES 3)")]);

    let selected = client.ok(&format!("SELECT \"{drafts}\""));
    assert_eq!(selected.count("EXISTS"), Some(3));
    assert_eq!(lines(&selected, "* LIST ()").len(), 1, "{selected:?}");
    assert!(lines(&selected, "* 0 RECENT").is_empty());
    let again = client.ok("SELECT INBOX");
    assert!(again.lines().concat().contains("[CLOSED]"), "{again:?}");
    assert_eq!(lines(&again, "* LIST ()").len(), 1, "{again:?}");

    // What is made in UTF-8 is there in modified UTF-7 for everybody else.
    let (made, renamed) = (wire("Maße & \"Gewicht\""), wire("台北"));
    let say = |name: &str| lab::quoted(name);
    client.ok(&format!("CREATE {}", say(&made)));
    client.ok(&format!("SUBSCRIBE {}", say(&made)));
    let lsub = client.ok("LSUB \"\" *").lines().concat();
    assert!(lsub.contains(&say(&made)), "{lsub}");
    assert!(plain.ok("LSUB \"\" *").lines().concat().contains("Ma&AN8-e &- "));
    let direct = world.new.client().ok("LIST \"\" *").lines().concat();
    assert!(direct.contains("Ma&AN8-e &- "), "{direct}");
    let message = Mail::numbered(50);
    assert_eq!(
        client.literal(&format!("APPEND {} ", say(&made)), &message.octets, "").status,
        "OK"
    );
    let octets = made.as_bytes();
    let copied = client.literal("COPY 1:2 ", octets, "");
    assert_eq!(copied.status, "OK", "{copied:?}");
    let status = client.ok(&format!("STATUS {} (MESSAGES)", say(&made)));
    assert_eq!(lines(&status, "*"), [format!("* STATUS {} (MESSAGES 3)", say(&made))]);
    client.ok(&format!("RENAME {} \"{renamed}\"", say(&made)));
    assert_eq!(client.ok(&format!("EXAMINE \"{renamed}\"")).count("EXISTS"), Some(3));
    client.ok(&format!("UNSUBSCRIBE {}", say(&made)));
    client.ok(&format!("DELETE \"{renamed}\""));
    assert!(!world.new.client().ok("LIST \"\" *").lines().concat().contains("&U,BTFw-"));
}

#[test]
fn names_are_utf8_for_who_enabled_it_and_for_nobody_else() {
    folders_in_utf8(Dovecot::old_style().into(), Dovecot::new_style().into());
}

#[test]
fn names_are_utf8_in_another_style_than_new_has() {
    folders_in_utf8(Dovecot::old_style().into(), Cyrus::styled(true, false).into());
}

#[test]
fn a_name_that_is_not_net_unicode_is_not_given() {
    let world = World::new().start();
    let mut client = enabled(&world);
    // Decomposed, and with a control: they would be two mailboxes that look like one.
    for name in ["e\u{301}tude", "bell\u{7}", "line\u{2028}"] {
        let name = world.old.name(name);
        let refused = client.no(&format!("CREATE \"{name}\""));
        assert!(refused.text.starts_with("[CANNOT] A name must be composed"), "{refused:?}");
        client.no(&format!("RENAME INBOX \"{name}\""));
    }
    client.ok(&format!("CREATE \"{}\"", world.old.name("étude")));
    let mut octets = b"9 SELECT \"caf\xe9\"\r\n".to_vec();
    client.raw(&octets);
    assert_eq!(client.until("9").status, "BAD");
    octets = b"10 APPEND \"caf\xe9\" {1}\r\n".to_vec();
    client.raw(&octets);
    assert_eq!(client.until("10").status, "BAD");
    client.ok("NOOP");
}

#[test]
fn a_search_is_answered_by_esearch() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(3..5));
    });
    let mut client = enabled(&world);
    client.ok("SELECT INBOX");
    let found = client.ok("UID SEARCH SUBJECT \"Größe\"");
    assert_eq!(lines(&found, "* ESEARCH (TAG ").len(), 1, "{found:?}");
    let all = client.ok("SEARCH ALL");
    assert!(lines(&all, "* ESEARCH (TAG ")[0].contains(" ALL 1:"), "{all:?}");
    assert!(lines(&all, "* SEARCH").is_empty());
    // The login ends, and with it what was enabled (RFC 8437 §3).
    client.ok("UNAUTHENTICATE");
    let (user, password) = world.old.account();
    client = client.login(user, password);
    client.ok("SELECT INBOX");
    assert_eq!(lines(&client.ok("SEARCH ALL"), "* SEARCH ").len(), 1);
}

#[test]
fn v10_imap4rev2_is_offered_where_both_servers_decode_parts() {
    let world = World::new().set("old.mask", "[\"BINARY\"]").start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(
        capability.contains(" IMAP4rev1 ") && !capability.contains("IMAP4rev2"),
        "{capability}"
    );
    assert_eq!(lines(&client.ok("ENABLE IMAP4rev2"), "*"), ["* ENABLED"]);
    let plain = client.ok("SELECT INBOX");
    assert_eq!(lines(&plain, "* 0 RECENT").len(), 1, "{plain:?}");
}

#[test]
fn utf8_is_accepted_where_both_servers_do() {
    let both = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE ENABLE UTF8=ACCEPT";
    let world = World::new()
        .old(Courier::plain().capabilities(both))
        .new(Courier::plain().capabilities(both))
        .seeded(|old, _| old.seed("Entw&APw-rfe", &mails(0..2)));
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let drafts = world.old.name("Entwürfe");
    client.no(&format!("SELECT \"{drafts}\""));
    assert_eq!(lines(&client.ok("ENABLE UTF8=ACCEPT"), "*"), ["* ENABLED UTF8=ACCEPT"]);
    assert_eq!(client.ok(&format!("SELECT \"{drafts}\"")).count("EXISTS"), Some(2));
    client.bad("SEARCH CHARSET UTF-8 TEXT x");
    let text = "From: Jörg <jörg@exämple.com>\r\nSubject: Grüße\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHallö\r\n";
    let append = format!("APPEND \"{drafts}\" ");
    assert_eq!(client.literal(&append, text.as_bytes(), "").status, "OK");
    let octets = text.len();
    client.send(&format!("7 {append}(\\Seen) UTF8 (~{{{octets}+}}\r\n{text})"));
    assert_eq!(client.until("7").status, "OK");
    let all = client.ok("FETCH 3:4 (FLAGS BODY.PEEK[])").fetched();
    assert!(all.len() == 2 && all.iter().all(|m| m.body() == text.as_bytes()), "{all:?}");
    assert!(!all[0].has("\\Seen") && all[1].has("\\Seen"), "{all:?}");
    assert!(client.ok("SEARCH SUBJECT \"Grüße\"").lines().concat().contains("* SEARCH 3 4"));
}
