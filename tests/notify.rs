//! NOTIFY: news of the selected mailbox and of others, from both sides, without asking.

mod lab;

use std::time::Duration;

use lab::{Dialogue, Dovecot, Fate, Way, World, has, mails, small};

fn world() -> World {
    World::new().set("limits.poll_interval", "\"1s\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        old.seed("Work", &mails(10..12));
        new.seed("New Only", &mails(20..21));
    })
}

/// What comes by itself, up to a line that `ends` it.
#[track_caller]
fn heard(client: &mut Dialogue, ends: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        lines.push(String::from_utf8_lossy(&client.response()).into_owned());
        if lines.last().is_some_and(|line| line.contains(ends)) {
            return lines;
        }
    }
}

#[test]
fn news_of_the_selected_mailbox_come_without_asking() {
    let world = world();
    let mut client = world.proxy.client();
    assert!(client.ok("CAPABILITY").lines().concat().contains(" NOTIFY "));
    client.ok("SELECT INBOX");
    client.ok(
        "NOTIFY SET (selected (MessageNew (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)]) \
         MessageExpunge FlagChange))",
    );
    // From either side.
    world.old.client().append("INBOX", "", &small(50));
    let lines = heard(&mut client, "FETCH");
    assert_eq!(lines[0], "* 4 EXISTS");
    let size = format!("RFC822.SIZE {}", small(50).len());
    assert!(lines[1].starts_with("* 4 FETCH (UID ") && lines[1].contains(&size), "{lines:?}");
    assert!(lines[1].contains("Subject:"), "{lines:?}");
    world.new.client().append("INBOX", "", &small(51));
    assert_eq!(heard(&mut client, "FETCH")[0], "* 5 EXISTS");

    let mut other = world.old.client();
    other.ok("SELECT INBOX");
    other.ok("STORE 3 +FLAGS (\\Flagged)");
    let lines = heard(&mut client, "FETCH");
    assert!(lines[0].starts_with("* 3 FETCH (UID ") && lines[0].contains("\\Flagged"), "{lines:?}");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    other.ok("EXPUNGE");
    heard(&mut client, "* 1 EXPUNGE");
    // Commands go on meanwhile, and what they bring is fetched in the same way.
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 4);
    let appended = client.literal("APPEND INBOX ", &small(52), "");
    assert!(appended.lines().iter().any(|l| l.contains("5 FETCH (UID ")), "{appended:?}");

    // An EXPUNGE that may wait does.
    client.ok("NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    other.ok("EXPUNGE");
    let left = client.leftovers(Duration::from_secs(2));
    assert!(!left.iter().any(|line| line.contains("EXPUNGE")), "{left:?}");
    assert_eq!(client.ok("NOOP").expunged(), [1]);

    client.ok("NOTIFY NONE");
    world.old.client().append("INBOX", "", &small(53));
    assert_eq!(client.leftovers(Duration::from_secs(2)), Vec::<String>::new());
    assert_eq!(client.ok("NOOP").count("EXISTS"), Some(5));
}

#[test]
fn news_of_other_mailboxes_come_as_status() {
    let world = world();
    // From now on CONDSTORE is offered: it shows that flags have changed.
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let told = client.ok("NOTIFY SET STATUS (selected (MessageNew MessageExpunge)) \
                          (mailboxes INBOX.Work (MessageNew MessageExpunge FlagChange)) \
                          (personal (MessageNew MessageExpunge))");
    let lines = told.lines();
    assert!(!lines.iter().any(|line| line.contains("STATUS INBOX (")), "{lines:?}");
    for (name, messages) in [("INBOX.Work", "MESSAGES 2"), ("INBOX.New Only", "MESSAGES 1")] {
        let line = lines.iter().find(|line| line.contains(&format!("\"{name}\" ")));
        let line = line.unwrap_or_else(|| panic!("{name}: {lines:?}"));
        assert!(line.contains(messages) && line.contains("UIDVALIDITY"), "{line}");
    }
    world.old.client().append("INBOX.Work", "", &small(60));
    let line = client.wait_for(|line| line.starts_with("* STATUS"));
    assert!(line.contains("\"INBOX.Work\" ") && line.contains("MESSAGES 3"), "{line}");
    world.new.client().append("New Only", "", &small(61));
    let line = client.wait_for(|line| line.starts_with("* STATUS"));
    assert!(line.contains("\"INBOX.New Only\" ") && line.contains("MESSAGES 2"), "{line}");

    // While it idles, too; flags are told of where they are wanted.
    client.idle();
    let mut other = world.old.client();
    other.ok("SELECT INBOX.Work");
    other.ok("STORE 1 +FLAGS (\\Seen)");
    client.wait_for(|line| line.starts_with("* STATUS \"INBOX.Work\" "));
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    other.ok("EXPUNGE");
    client.wait_for(|line| {
        line.starts_with("* STATUS \"INBOX.Work\" ") && line.contains("MESSAGES 2")
    });
    client.done();
    let mut other = world.new.client();
    other.ok("SELECT \"New Only\"");
    other.ok("STORE 1 +FLAGS (\\Flagged)");
    let left = client.leftovers(Duration::from_secs(3));
    assert!(!left.iter().any(|line| line.contains("New Only")), "{left:?}");
    // With MODSEQ for who knows it.
    client.ok("ENABLE CONDSTORE");
    world.old.client().append("INBOX.Work", "", &small(62));
    client.wait_for(|line| line.contains("\"INBOX.Work\" ") && line.contains("HIGHESTMODSEQ"));
}

#[test]
fn names_and_subscriptions_are_told() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOTIFY SET (subtree (INBOX.Work INBOX.Plans) (MailboxName SubscriptionChange))");
    let mut other = world.proxy.client();
    other.ok("CREATE INBOX.Plans");
    assert_eq!(client.wait_for(|line| line.contains("LIST")), "* LIST () \".\" \"INBOX.Plans\"");
    other.ok("SUBSCRIBE INBOX.Plans");
    let line = client.wait_for(|line| line.contains("LIST"));
    assert_eq!(line, "* LIST (\\Subscribed) \".\" \"INBOX.Plans\"");
    other.ok("UNSUBSCRIBE INBOX.Plans");
    assert_eq!(client.wait_for(|line| line.contains("LIST")), "* LIST () \".\" \"INBOX.Plans\"");
    other.ok("RENAME INBOX.Plans INBOX.Work.Plans");
    let line = client.wait_for(|line| line.contains("LIST"));
    assert_eq!(line, "* LIST () \".\" \"INBOX.Work.Plans\" (\"OLDNAME\" (\"INBOX.Plans\"))");
    other.ok("DELETE INBOX.Work.Plans");
    let line = client.wait_for(|line| line.contains("LIST"));
    assert_eq!(line, "* LIST (\\NonExistent) \".\" \"INBOX.Work.Plans\"");
    // What nobody wants to know is not told.
    other.ok("CREATE INBOX.Else");
    assert_eq!(client.leftovers(Duration::from_secs(3)), Vec::<String>::new());
}

#[test]
fn what_comes_after_a_mailbox_was_left_is_told() {
    let world = World::new().set("limits.poll_interval", "\"3s\"").seeded(|old, _| {
        old.seed("INBOX", &mails(0..3));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))");
    world.old.client().append("INBOX", "", &small(50));
    assert_eq!(client.ok("NOOP").count("EXISTS"), Some(4));
    client.ok("UNSELECT");
    world.old.client().append("INBOX", "", &small(51));
    client.wait_for(|line| line.starts_with("* STATUS INBOX ") && line.contains("MESSAGES 5"));
    assert_eq!(client.leftovers(Duration::from_secs(4)), Vec::<String>::new());
}

#[test]
fn subscribed_mailboxes_are_watched_as_long_as_they_are() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("NOTIFY SET (subscribed (MessageNew MessageExpunge SubscriptionChange))");
    let mut other = world.proxy.client();
    other.ok("SUBSCRIBE INBOX.Work");
    let line = client.wait_for(|line| line.contains("LIST"));
    assert_eq!(line, "* LIST (\\Subscribed) \".\" \"INBOX.Work\"");
    client.wait_for(|line| {
        line.starts_with("* STATUS \"INBOX.Work\" ") && line.contains("MESSAGES 2")
    });
    other.ok("UNSUBSCRIBE INBOX.Work");
    assert_eq!(client.wait_for(|line| line.contains("LIST")), "* LIST () \".\" \"INBOX.Work\"");
    world.old.client().append("INBOX.Work", "", &small(60));
    assert_eq!(client.leftovers(Duration::from_secs(3)), Vec::<String>::new());
}

#[test]
fn v7_a_server_that_does_not_answer_holds_up_no_command() {
    let world = World::new().wired().set("limits.poll_interval", "\"1s\"").seeded(|old, _| {
        old.seed("INBOX", &mails(0..3));
        old.seed("Work", &mails(10..12));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))");
    // Listing of new's folders never comes to an end.
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToServer && has(chunk, "LIST") { Fate::Hold } else { Fate::Pass }
    });
    assert_eq!(client.leftovers(Duration::from_secs(2)), Vec::<String>::new());
    client.patience = Duration::from_secs(5);
    for _ in 0..3 {
        assert_eq!(client.ok("FETCH 1:3 (UID)").fetched().len(), 3);
    }
    world.new_wire.release();
    client.patience = Duration::from_secs(20);
    world.old.client().append("INBOX.Work", "", &small(60));
    client.wait_for(|line| line.starts_with("* STATUS \"INBOX.Work\" "));
}

#[test]
fn what_cannot_be_told_is_refused() {
    let world = world();
    let mut client = world.proxy.client();
    let refused = client.no("NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))");
    assert!(refused.code("BADEVENT").expect("a code").contains("SubscriptionChange"));
    for bad in [
        "",
        "SET",
        "SET STATUS",
        "SET personal (MessageNew MessageExpunge)",
        "SET (personal (MessageNew))",
        "SET (personal (FlagChange))",
        "SET (selected (MailboxName))",
        "SET (personal (MessageNew (UID) MessageExpunge))",
        "SET (selected NONE) (selected-delayed NONE)",
        "SET (everything NONE)",
    ] {
        client.bad(&format!("NOTIFY {bad}"));
    }
    // What is refused changes nothing, and of several groups the first counts.
    client.ok("NOTIFY SET (mailboxes INBOX.Work NONE) (personal (MessageNew MessageExpunge))");
    client.no("NOTIFY SET (personal (MessageNew MessageExpunge ServerMetadataChange))");
    world.old.client().append("INBOX.Work", "", &small(70));
    world.old.client().append("INBOX", "", &small(71));
    let line = client.wait_for(|line| line.contains("STATUS"));
    assert!(line.starts_with("* STATUS INBOX ("), "{line}");
    assert_eq!(client.leftovers(Duration::from_secs(2)), Vec::<String>::new());
    client.ok("NOTIFY SET (selected NONE) (mailboxes (INBOX INBOX.Work) NONE) (inboxes NONE)");
}

#[test]
fn v7_while_a_side_is_away_nothing_is_told_as_gone() {
    let mut world = World::new()
        .new(Dovecot::new_style())
        .set("limits.poll_interval", "\"1s\"")
        .seeded(|old, new| {
            old.seed("Work", &mails(10..12));
            new.seed("New Only", &mails(20..21));
        });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))");
    world.new.stop();
    assert_eq!(client.leftovers(Duration::from_secs(3)), Vec::<String>::new());
    world.old.client().append("INBOX.Work", "", &small(60));
    client.wait_for(|line| {
        line.starts_with("* STATUS \"INBOX.Work\" ") && line.contains("MESSAGES 3")
    });
    world.new.start();
    world.new.client().append("New Only", "", &small(61));
    client.wait_for(|line| line.contains("New Only") && line.contains("MESSAGES 2"));
}
