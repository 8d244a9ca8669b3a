//! Folders told in one go: LIST with options, and STATUS of many mailboxes.

mod lab;

use std::collections::BTreeSet;

use lab::{
    Courier, Cyrus, Dialogue, Dovecot, Mail, World, everything, folder_names, mails, quoted,
};

/// A client that connects after both servers have told what they offer.
fn after_both_are_known(world: &World) -> Dialogue {
    world.proxy.client().ok("LIST \"\" *");
    world.proxy.client()
}

/// A server's listing in a form that does not depend on its order.
fn lines(client: &mut Dialogue, command: &str) -> BTreeSet<String> {
    let lines = client.ok(command).lines().into_iter();
    let lines = lines.filter(|l| l.starts_with("* LIST"));
    let lines: BTreeSet<String> = lines.map(plain).collect();
    assert!(!lines.is_empty(), "{command}");
    lines
}

/// Names may be quoted or not, attributes come in any order, and what may be new there is for one server to say.
fn plain(line: String) -> String {
    let rest = line.strip_prefix("* LIST (").expect("LIST");
    let (attributes, rest) = rest.split_once(')').expect("attributes");
    let mut attributes: Vec<&str> =
        attributes.split(' ').filter(|a| !a.ends_with("Marked")).collect();
    attributes.sort_unstable();
    format!("({}){}", attributes.join(" "), rest.replace('"', ""))
}

#[test]
fn an_extended_list_is_answered_as_old_answers_it() {
    let world = World::new()
        .old(Dovecot::old_style().special_use("Sent Items", "\\Sent"))
        .new(Dovecot::old_style().separator('/').prefix("").special_use("Sent", "\\Sent"))
        .seeded(|old, _| {
            for folder in ["Work", "Work/2016", "Level/Sub", "Level/Sub/Deep", "Plain"] {
                old.seed(folder, &mails(0..1));
            }
        });
    let mut old = world.old.client();
    for folder in ["INBOX", "INBOX.Work.2016", "INBOX.Level.Sub.Deep", "INBOX.Plain"] {
        old.ok(&format!("SUBSCRIBE {}", quoted(folder)));
    }
    let mut client = world.proxy.client();
    for command in [
        "LIST \"\" (\"INBOX.Work*\" INBOX.Plain)",
        "LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN)",
        "LIST \"\" \"INBOX.%\" RETURN (CHILDREN)",
        "LIST (SUBSCRIBED) \"\" \"*\"",
        "LIST (SUBSCRIBED) \"INBOX.\" \"%\" RETURN (CHILDREN)",
        "LIST (SUBSCRIBED REMOTE) \"\" \"*\"",
        "LIST (SPECIAL-USE) \"\" \"*\"",
        "LIST () \"\" \"INBOX.Level.%\" RETURN (SUBSCRIBED)",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"INBOX.%\"",
        "LIST (RECURSIVEMATCH SUBSCRIBED) \"\" \"INBOX.Level\"",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"INBOX.Work\" RETURN (CHILDREN)",
        "LIST \"\" \"*\"",
        "LIST () \"\" \"INBOX.*.Deep\"",
        "LIST \"\" \"INBOX.L*\" RETURN (CHILDREN)",
        "LIST \"INBOX.Level\" \".%\"",
        "LIST \"\" inbox.Plain",
        "LIST \"\" \"inbox.%.Sub\"",
        "LIST \"\" \"\"",
        "LIST INBOX \"\"",
        "LIST INBOX.Work \"\"",
        "LIST foo \"\"",
        "LIST foo.bar \"\"",
    ] {
        assert_eq!(lines(&mut client, command), lines(&mut old, command), "{command}");
    }
    assert!(client.ok("LIST (SUBSCRIBED) \"\" \"\"").listed().is_empty());
    client.bad("LIST (RECURSIVEMATCH) \"\" *");
    client.bad("LIST (NONSENSE) \"\" *");
    client.bad("LIST \"\" * RETURN (STATUS (NONSENSE))");
    client.ok("LIST \"\" * RETURN (STATUS (HIGHESTMODSEQ))");
    client.bad("LIST \"\" * RETURN (STATUS ())");
    // What is listed for the sake of its children alone has no STATUS (RFC 5819 section 2).
    let command =
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"INBOX.Work*\" RETURN (STATUS (MESSAGES))";
    assert!(client.ok(command).statuses().keys().eq(["INBOX.Work.2016"]));
}

/// INBOX is one name in any case (RFC 3501 section 5.1), and so old takes what lies below it.
#[test]
fn what_lies_below_inbox_may_be_called_so_in_any_case() {
    let world = World::new().seeded(|old, _| old.seed("Work", &mails(0..3)));
    let mut client = world.proxy.client();
    for name in ["INBOX.Work", "inbox.Work", "InBox.Work"] {
        assert_eq!(client.ok(&format!("SELECT {name}")).count("EXISTS"), Some(3), "{name}");
    }
    client.no("SELECT inbox.work");
    client.ok("CREATE inbox.Made");
    assert!(folder_names(&mut client).contains("INBOX.Made"));
    client.no("CREATE INBOX.Made");
    client.ok("DELETE iNbOx.Made");
    assert!(!folder_names(&mut client).contains("INBOX.Made"));
}

/// A command that names no mailbox where it should is well-formed: it is refused, not misunderstood.
#[test]
fn an_empty_name_is_refused() {
    let world = World::new().start();
    let mut client = world.proxy.client();
    for command in
        ["SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME INBOX", "SUBSCRIBE", "UNSUBSCRIBE"]
    {
        client.no(&format!("{command} \"\""));
    }
    client.no("STATUS \"\" (MESSAGES)");
    client.no("APPEND \"\" {3+}\r\nabc");
    client.bad("SELECT");
}

#[test]
fn list_options_are_answered_out_of_both_servers() {
    let world = World::new().old(Dovecot::old_style().special_use("Sent Items", "\\Sent")).seeded(
        |old, new| {
            old.seed("Work/2016", &mails(0..1));
            new.seed("Work/2017", &mails(0..1));
        },
    );
    world.old.client().ok("SUBSCRIBE INBOX.Work.2016");
    world.new.client().ok("SUBSCRIBE Work/2017");
    let mut client = world.proxy.client();
    let below = lines(&mut client, "LIST (SUBSCRIBED) \"\" \"INBOX.Work.*\"");
    let expected = ["(\\Subscribed) . INBOX.Work.2016", "(\\Subscribed) . INBOX.Work.2017"];
    assert_eq!(below, expected.map(str::to_owned).into());
    let above = lines(&mut client, "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"INBOX.Work\"");
    assert_eq!(above, ["(\\NonExistent) . INBOX.Work (CHILDINFO (SUBSCRIBED))".to_owned()].into());
    let special = client.ok("LIST (SPECIAL-USE) \"\" *").listed();
    let uses: BTreeSet<_> =
        special.iter().map(|l| l.attributes.iter().next().expect("a use").clone()).collect();
    assert_eq!(uses.len(), special.len(), "each use once: {special:?}");
    assert!(uses.contains("\\sent") && uses.contains("\\junk"), "{special:?}");
}

/// Asks for the STATUS of every mailbox, each on its own and all in one LIST.
fn statuses_agree(client: &mut Dialogue, items: &str) {
    let all = client.ok(&format!("LIST \"\" * RETURN (STATUS ({items}))"));
    let names: Vec<String> = all.listed().into_iter().map(|l| l.name).collect();
    let statuses = all.statuses();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let alone = client.ok(&format!("STATUS {} ({items})", quoted(&name)));
        assert_eq!(alone.status_of(&name), statuses[&name], "{name}");
    }
}

const ITEMS: &str = "MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED DELETED-STORAGE SIZE";

/// Mailboxes of every kind, some with copies.
fn of_every_kind(old: Dovecot, new: Dovecot, mask: &str) -> World {
    let world = World::new().old(old).new(new).set("old.mask", mask).set("new.mask", mask).seeded(
        |old, new| {
            let holes: Vec<_> = (0..10).map(|n| Mail::numbered(n).uid(n * 3 + 1)).collect();
            old.seed("Both", &holes);
            new.seed("Both", &mails(20..24));
            old.seed("Old Only", &mails(0..7));
            new.seed("New Only", &mails(0..3));
            old.seed("Opened", &mails(40..48));
        },
    );
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX.Opened");
    client.ok("FETCH 2:4 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "Opened", 3);
    client.ok("STORE 1,3 +FLAGS (\\Deleted)");
    world
}

fn status_is_what_the_messages_are(world: &World) {
    let mut client = world.proxy.client();
    statuses_agree(&mut client, ITEMS);
    let all = client.ok(&format!("LIST \"\" (INBOX*) RETURN (STATUS ({ITEMS}))")).statuses();
    for (name, status) in &all {
        let seen = everything(&mut client, name);
        client.ok("UNSELECT");
        let count = |flag: &str| seen.iter().filter(|m| m.flags.contains(flag)).count() as u64;
        let size: usize = seen.iter().map(|m| m.size).sum();
        assert_eq!(status["MESSAGES"], seen.len() as u64, "{name}");
        assert_eq!(status["UNSEEN"], seen.len() as u64 - count("\\Seen"), "{name}");
        assert_eq!(status["DELETED"], count("\\Deleted"), "{name}");
        assert_eq!(status["SIZE"], size as u64, "{name}");
        let deleted = seen.iter().filter(|m| m.flags.contains("\\Deleted"));
        let storage: usize = deleted.map(|m| m.size).sum();
        assert_eq!(status["DELETED-STORAGE"], storage as u64, "{name}");
    }
    assert_eq!(all["INBOX.Opened"]["DELETED"], 2);
    assert!(all["INBOX.Both"]["SIZE"] > 0);
}

#[test]
fn v3_status_of_all_mailboxes_is_what_their_messages_are() {
    let world = of_every_kind(Dovecot::old_style(), Dovecot::new_style(), "[]");
    status_is_what_the_messages_are(&world);
}

#[test]
fn v3_status_is_right_where_the_servers_count_nothing() {
    let mask = r#"["STATUS=SIZE", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS"]"#;
    let world = of_every_kind(Dovecot::old_style(), Dovecot::new_style(), mask);
    status_is_what_the_messages_are(&world);
}

#[test]
fn status_of_untouched_mailboxes_is_olds_and_stays_so() {
    let world = World::new().seeded(|old, _| {
        for n in 0..20 {
            let holes: Vec<_> = (0..n).map(|m| Mail::numbered(m).uid(m * 2 + 5)).collect();
            old.seed(&format!("F{n}"), &holes);
        }
    });
    let ask = "LIST \"\" \"INBOX.F*\" RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE))";
    let mut client = world.proxy.client();
    let before = client.ok(ask).statuses();
    assert_eq!(before, world.old.client().ok(ask).statuses());
    assert_eq!(before.len(), 20);
    for name in before.keys() {
        let selected = client.ok(&format!("EXAMINE {name}"));
        assert_eq!(selected.number("UIDVALIDITY"), before[name]["UIDVALIDITY"], "{name}");
        assert_eq!(selected.number("UIDNEXT"), before[name]["UIDNEXT"], "{name}");
    }
    client.ok("UNSELECT");
    assert_eq!(client.ok(ask).statuses(), before, "after they were opened");
}

#[test]
fn a_listing_of_200_mailboxes_selects_none_of_them() {
    let world = World::new()
        .old(Dovecot::old_style().rawlog())
        .new(Dovecot::new_style().rawlog())
        .seeded(|old, _| {
            for n in 0..200 {
                old.seed(&format!("F{n}"), &mails(n..n + 1));
            }
        });
    let mut client = world.proxy.client();
    let ask = "LIST \"\" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE))";
    assert!(client.ok(ask).statuses().len() > 200);
    // Opened once, they are known; then nothing has changed.
    for n in 0..200 {
        client.ok(&format!("EXAMINE INBOX.F{n}"));
    }
    client.ok("UNSELECT");
    let selects = |server: &lab::Server| -> usize {
        let heard = server.commands_heard();
        heard.values().map(|said| said.matches(" SELECT ").count()).sum()
    };
    let before = selects(&world.old) + selects(&world.new);
    assert!(client.ok(ask).statuses().len() > 200);
    assert_eq!(selects(&world.old) + selects(&world.new), before);
}

#[test]
fn an_append_limit_is_the_smaller_one() {
    let offered = |old: &str, new: &str| {
        let world = World::new()
            .old(Dovecot::old_style().capabilities(old))
            .new(Dovecot::new_style().capabilities(new))
            .set("limits.message", "\"1MiB\"")
            .start();
        let mut client = after_both_are_known(&world);
        let capability = client.ok("CAPABILITY").lines().concat();
        let told = capability.split(' ').find(|c| c.starts_with("APPENDLIMIT"));
        let told = told.expect("APPENDLIMIT").to_owned();
        let status = client.ok("STATUS INBOX (APPENDLIMIT)").status_of("INBOX");
        (told, status["APPENDLIMIT"])
    };
    let base = "IMAP4rev1 LITERAL+ UIDPLUS ESEARCH NAMESPACE";
    assert_eq!(offered(base, base), ("APPENDLIMIT=1048576".to_owned(), 1 << 20));
    let with = |limit| format!("{base} APPENDLIMIT={limit}");
    assert_eq!(offered(&with(6000), &with(5000)), ("APPENDLIMIT=5000".to_owned(), 5000));
    assert_eq!(offered(base, &with(9 << 20)), ("APPENDLIMIT=1048576".to_owned(), 1 << 20));
}

#[test]
fn a_mailbox_for_a_special_use_is_asked_of_new_unless_another_one_has_it() {
    let capabilities = "IMAP4rev1 LITERAL+ UIDPLUS NAMESPACE SPECIAL-USE CREATE-SPECIAL-USE";
    let new = Dovecot::old_style().separator('/').prefix("").special_use("Junk", "\\Junk");
    let world = World::new()
        .old(Dovecot::old_style().special_use("Sent Items", "\\Sent"))
        .new(new.capabilities(capabilities).rawlog())
        .start();
    let mut client = after_both_are_known(&world);
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" CREATE-SPECIAL-USE"), "{capability}");
    for refused in ["\\Sent", "\\Nonsense", "\\Important", "\\Drafts \\Trash"] {
        let no = client.no(&format!("CREATE INBOX.Other (USE ({refused}))"));
        assert_eq!(no.code("USEATTR").as_deref(), Some(""), "{refused}: {no:?}");
    }
    // This Dovecot has no uses to give, but it is asked.
    client.ok("CREATE INBOX.Rubbish (USE (\\Drafts))");
    let heard = world.new.commands_heard();
    let asked = |said: &String| said.contains("CREATE \"Rubbish\" (USE (\\Drafts))");
    assert!(heard.values().any(asked), "{heard:?}");
    client.ok("CREATE INBOX.Other (USE ())");
}

#[test]
fn a_mailbox_for_a_special_use_has_it_from_a_server_that_gives_uses() {
    let old = Dovecot::old_style().special_use("Sent Items", "\\Sent");
    let world = World::new().old(old).new(Cyrus::styled(true, true)).start();
    let mut client = after_both_are_known(&world);
    client.ok("CREATE INBOX.Kept (USE (\\Archive))");
    client.append("INBOX.Kept", "", &Mail::numbered(1).octets);
    let uses = |client: &mut Dialogue| -> BTreeSet<(String, String)> {
        let listed = client.ok("LIST (SPECIAL-USE) \"\" * RETURN (SPECIAL-USE)").listed();
        let of = |a: &BTreeSet<String>| a.iter().find(|a| *a != "\\hasnochildren").cloned();
        listed.into_iter().map(|l| (l.name, of(&l.attributes).expect("a use"))).collect()
    };
    let pair = |name: &str, special: &str| (name.to_owned(), special.to_owned());
    assert_eq!(uses(&mut world.new.client()), [pair("Kept", "\\archive")].into());
    let both = [pair("INBOX.Kept", "\\archive"), pair("INBOX.Sent Items", "\\sent")];
    assert_eq!(uses(&mut client), both.clone().into());
    for taken in ["\\Archive", "\\Sent"] {
        let no = client.no(&format!("CREATE INBOX.Other (USE ({taken}))"));
        assert_eq!(no.code("USEATTR").as_deref(), Some(""), "{taken}: {no:?}");
    }
    assert!(!folder_names(&mut client).contains("INBOX.Other"));
    assert_eq!(uses(&mut client), both.into());
}

#[test]
fn v10_no_special_use_is_promised_where_new_keeps_none() {
    let world = World::new().set("new.mask", r#"["CREATE-SPECIAL-USE"]"#).start();
    let mut client = after_both_are_known(&world);
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(!capability.contains("CREATE-SPECIAL-USE"), "{capability}");
    let no = client.no("CREATE INBOX.Other (USE (\\Archive))");
    assert_eq!(no.code("USEATTR").as_deref(), Some(""), "{no:?}");
}

/// Where Courier keeps a mailbox's UIDVALIDITY and UIDs.
const UID_DB: &str = "courierimapuiddb";

/// Courier gives a mailbox its UIDVALIDITY when it is first selected: until then, STATUS tells the time of day.
#[test]
fn v1_status_before_the_first_select_tells_the_uid_validity_that_stays() {
    let world = World::new().old(Courier::plain()).seeded(|old, _| {
        let mut direct = old.client();
        direct.ok("CREATE INBOX.Lists");
        old.deliver("Lists", &Mail::numbered(1));
        old.deliver("Lists", &Mail::numbered(2));
        // As if an MDA had made it: nobody has opened it yet.
        let _ = std::fs::remove_file(old.maildir("ann@example.com", "Lists").join(UID_DB));
    });
    let ask = "STATUS INBOX.Lists (MESSAGES UIDVALIDITY UIDNEXT)";
    let mut client = world.proxy.client();
    let first = client.ok(ask).status_of("INBOX.Lists");
    assert_eq!(first["MESSAGES"], 2);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(client.ok(ask).status_of("INBOX.Lists"), first);
    let selected = client.ok("SELECT INBOX.Lists");
    assert_eq!(selected.number("UIDVALIDITY"), first["UIDVALIDITY"]);
    let direct = world.old.client().ok("SELECT INBOX.Lists").number("UIDVALIDITY");
    assert_eq!(direct, first["UIDVALIDITY"], "V1: it is old's");
    client.ok("UNSELECT");
    assert_eq!(client.ok(ask).status_of("INBOX.Lists"), first);
}

fn subscribed(client: &mut Dialogue) -> BTreeSet<String> {
    client.ok("LSUB \"\" *").listed().into_iter().map(|l| l.name).collect()
}

/// A subscription outlives its mailbox until the client ends it (RFC 3501 section 6.3.6), on whichever side it is.
#[test]
fn a_subscription_outlives_its_mailbox() {
    let world = World::new().seeded(|old, new| {
        old.seed("Left/Old", &mails(0..1));
        new.seed("Left/New", &mails(1..2));
    });
    let mut old = world.old.client();
    old.ok("CREATE INBOX.Gone.Long");
    old.ok("SUBSCRIBE INBOX.Gone.Long");
    old.ok("DELETE INBOX.Gone.Long");
    let mut client = world.proxy.client();
    for name in ["INBOX.Left.Old", "INBOX.Left.New"] {
        client.ok(&format!("SUBSCRIBE {name}"));
        client.ok(&format!("DELETE {name}"));
        assert!(!folder_names(&mut client).contains(name));
    }
    let absent = ["INBOX.Gone.Long", "INBOX.Left.New", "INBOX.Left.Old"];
    let all = subscribed(&mut client);
    assert!(absent.iter().all(|name| all.contains(*name)), "{all:?}");
    assert!(all.contains("INBOX.Sent"), "{all:?}");
    let extended = lines(&mut client, "LIST (SUBSCRIBED) \"\" INBOX.Gone.%");
    assert_eq!(extended, lines(&mut old, "LIST (SUBSCRIBED) \"\" INBOX.Gone.%"));
    let above = "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" INBOX.Gone";
    assert_eq!(lines(&mut client, above), lines(&mut old, above));
    client.no("SELECT INBOX.Gone.Long");

    // Made again, it is still subscribed; and then it is no more.
    client.ok("CREATE INBOX.Left.New");
    assert!(subscribed(&mut client).contains("INBOX.Left.New"));
    for name in absent {
        client.ok(&format!("UNSUBSCRIBE {name}"));
    }
    let left = subscribed(&mut client);
    assert!(absent.iter().all(|name| !left.contains(*name)), "{left:?}");
}
