//! One mailbox out of two: numbers, flags, deletions and additions through the merged view (V1, V3, V4, V5).

mod lab;

use std::time::Duration;

use lab::{
    Dialogue, Dovecot, Mail, World, eventually, eventually_holds, everything, large, mails, small,
    sorted, view,
};

/// Thirty messages on old with holes, five on new.
fn both() -> World {
    World::new().seeded(|old, new| {
        let holes: Vec<_> = (0..30).map(|n| Mail::numbered(n).uid(n * 2 + 11)).collect();
        old.seed("INBOX", &holes);
        new.seed("INBOX", &mails(100..105));
    })
}

#[test]
fn v1_uidvalidity_and_uids_are_those_of_old() {
    let mut world = both();
    let on_old = world.old.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let shown = client.ok("SELECT INBOX");
    assert_eq!(shown.number("UIDVALIDITY"), on_old.number("UIDVALIDITY"));
    let uids = client.ok("UID SEARCH ALL").found();
    assert_eq!(uids.len(), 35);
    let expected: Vec<u32> = (0..30).map(|n| n * 2 + 11).collect();
    assert_eq!(uids[..30], expected, "what lay on old keeps its UIDs");
    // From the first message that cannot keep a UID of old's on, UIDs are out of old's reach.
    assert!(uids[30] > 100_000_000, "{uids:?}");
    assert_eq!(shown.number("UIDNEXT"), u64::from(uids[34]) + 1);

    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let again = client.ok("SELECT INBOX");
    assert_eq!(again.number("UIDVALIDITY"), shown.number("UIDVALIDITY"));
    assert!(again.number("UIDNEXT") >= shown.number("UIDNEXT"));
    assert_eq!(client.ok("UID SEARCH ALL").found(), uids, "after a restart as well");
}

#[test]
fn v1_mailboxes_of_new_alone_have_values_of_their_own() {
    let mut world = World::new().seeded(|_, new| {
        new.seed("One", &mails(0..3));
        new.seed("Two", &mails(3..6));
    });
    let ask = |client: &mut Dialogue| -> Vec<u64> {
        let one = client.ok("STATUS INBOX.One (UIDVALIDITY MESSAGES)").status_of("INBOX.One");
        let two = client.ok("STATUS INBOX.Two (UIDVALIDITY MESSAGES)").status_of("INBOX.Two");
        assert_eq!((one["MESSAGES"], two["MESSAGES"]), (3, 3));
        vec![one["UIDVALIDITY"], two["UIDVALIDITY"]]
    };
    let first = ask(&mut world.proxy.client());
    assert_ne!(first[0], first[1]);
    assert!(first.iter().all(|v| (1..1 << 31).contains(v)), "{first:?}");
    world.proxy.stop();
    world.proxy.restart();
    assert_eq!(ask(&mut world.proxy.client()), first);
}

#[test]
fn v2_arrivals_on_old_keep_their_uids_until_one_is_on_new() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    world.old.deliver("INBOX", &Mail::numbered(50));
    eventually("old's arrival", || (client.ok("NOOP").count("EXISTS") == Some(6)).then_some(()));
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1, 2, 3, 4, 5, 6]);
    world.new.deliver("INBOX", &Mail::numbered(51));
    eventually("new's arrival", || (client.ok("NOOP").count("EXISTS") == Some(7)).then_some(()));
    world.old.deliver("INBOX", &Mail::numbered(52));
    eventually("old's second", || (client.ok("NOOP").count("EXISTS") == Some(8)).then_some(()));
    let uids = client.ok("UID SEARCH ALL").found();
    assert!(uids[6] > 100_000_000 && uids[7] > uids[6], "{uids:?}");
    let bodies = client.ok("UID FETCH 1:* (UID BODY.PEEK[])").fetched();
    let order: Vec<_> = bodies[5..].iter().map(|m| m.body().to_vec()).collect();
    assert_eq!(order, [small(50), small(51), small(52)]);
}

#[test]
fn v3_numbers_agree_and_every_message_is_there_once() {
    let world = both();
    let mut union = everything(&mut world.old.client(), "INBOX");
    union.extend(everything(&mut world.new.client(), "INBOX"));
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(sorted(shown), sorted(union));
}

#[test]
fn fetch_puts_uid_first_and_size_before_body_in_ascending_order() {
    let world = both();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let fetched = client.ok("FETCH 33:2,1 (BODY.PEEK[] FLAGS RFC822.SIZE UID)").fetched();
    let seqs: Vec<u32> = fetched.iter().map(|m| m.seq).collect();
    assert_eq!(seqs, (1..=33).collect::<Vec<_>>());
    for message in fetched {
        let at = |name: &str| message.order.iter().position(|item| item == name).expect(name);
        assert_eq!(at("UID"), 0, "{:?}", message.order);
        assert!(at("RFC822.SIZE") < at("BODY[]"), "{:?}", message.order);
    }
}

#[test]
fn fetch_answers_every_item_over_both_sides() {
    let world = both();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let items = "ENVELOPE BODYSTRUCTURE INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT]<0.10>";
    let all = client.ok(&format!("FETCH 1:* (UID {items})"));
    let lines = all.lines();
    let fetches: Vec<_> = lines.iter().filter(|l| l.contains(" FETCH (")).collect();
    assert_eq!(fetches.len(), 35);
    for line in fetches {
        for item in
            ["ENVELOPE (", "BODYSTRUCTURE (", "INTERNALDATE \"", "BODY[HEADER.FIELDS (SUBJECT)]"]
        {
            assert!(line.contains(item), "{item} in {line}");
        }
        assert!(line.contains("BODY[TEXT]<0> "), "{line}");
    }
    assert_eq!(client.ok("FETCH 1:* FAST").fetched().len(), 35);
    assert_eq!(client.ok("UID FETCH 1:* (FLAGS)").fetched().len(), 35);
    assert_eq!(client.ok("UID FETCH 999999999:* (FLAGS)").fetched().len(), 1, "`*` is the last");
    assert_eq!(client.ok("UID FETCH 12 (FLAGS)").fetched().len(), 0, "a hole is no error");
    client.bad("FETCH 36 (FLAGS)");
}

#[test]
fn content_over_both_sides_comes_whole_and_in_order_whatever_its_size() {
    const COUNT: u32 = 120;
    let mails: Vec<Mail> = (0..COUNT)
        .map(|n| match n {
            // More than is held at a time, in content and in a header.
            40 | 41 => Mail::of(large(n, 3_000_000)),
            42 => Mail::of(large(n, 6_000_000)),
            70 => Mail::of([b"X-Long: a\r\n".repeat(150_000), large(n, 900)].concat()),
            _ => Mail::of(large(n, 700)),
        })
        .collect();
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    // Half of them, in an order without pattern, so that neighbours lie on different sides.
    for n in 0..COUNT / 2 {
        client.ok(&format!("UID FETCH {} (BODY.PEEK[])", 1 + n * 53 % COUNT));
    }
    let count = COUNT as usize;
    eventually_holds(&mut world.new.client(), "INBOX", count / 2);
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    let items =
        ["BODY.PEEK[HEADER]", "RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT]", "BODY.PEEK[]"];
    for items in items {
        let command = format!("UID FETCH 1:* (UID {items})");
        let (ours, theirs) = (client.ok(&command).fetched(), direct.ok(&command).fetched());
        assert_eq!((ours.len(), theirs.len()), (count, count));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!((ours.seq, ours.uid, ours.size), (theirs.seq, theirs.uid, theirs.size));
            assert!(ours.bodies == theirs.bodies, "{items} of {}", ours.uid);
        }
    }
    let there = eventually_holds(&mut world.new.client(), "INBOX", count);
    assert!(view::copies(&there).values().all(|n| *n == 1), "and each is copied once");
}

#[test]
fn v4_store_goes_to_the_side_where_the_message_lies() {
    let world = both();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let stored = client.ok("STORE 4,31 +FLAGS (\\Flagged $Label1)").fetched();
    assert_eq!(stored.iter().map(|m| m.seq).collect::<Vec<_>>(), [4, 31]);
    assert!(stored.iter().all(|m| m.has("\\Flagged") && m.has("$Label1")));
    assert!(everything(&mut world.old.client(), "INBOX")[3].flags.contains("$Label1"));
    assert!(everything(&mut world.new.client(), "INBOX")[0].flags.contains("$Label1"));

    let silent = client.ok("UID STORE 11:13 FLAGS.SILENT (\\Draft)");
    assert_eq!(silent.fetched(), [], "a silent change is not told to who made it");
    let on_old = everything(&mut world.old.client(), "INBOX");
    assert_eq!(on_old[0].flags.iter().collect::<Vec<_>>(), ["\\Draft"]);
    assert_eq!(on_old[1].flags.iter().collect::<Vec<_>>(), ["\\Draft"]);
    client.ok("STORE 4,31 -FLAGS ($Label1)");
    assert!(!everything(&mut world.old.client(), "INBOX")[3].flags.contains("$Label1"));
    let shown = client.ok("FETCH 4,31 (FLAGS)").fetched();
    assert!(shown.iter().all(|m| m.has("\\Flagged") && !m.has("$Label1")));
}

#[test]
fn v4_expunge_removes_where_the_message_lies_and_nothing_else() {
    let world = both();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("STORE 2,5,32 +FLAGS.SILENT (\\Deleted)");
    let mut numbers = client.ok("EXPUNGE").expunged();
    // Each number counts what is left, so their order may be either.
    if numbers[0] == 2 {
        assert_eq!(numbers, [2, 4, 30]);
        numbers.reverse();
    } else {
        assert_eq!(numbers, [32, 5, 2]);
    }
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 32);
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 28);
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 4);

    // UID EXPUNGE takes only what it names.
    client.ok("UID STORE 11,15 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE 15").expunged(), [2]);
    let left = client.ok("UID SEARCH ALL").found();
    assert!(left.contains(&11) && !left.contains(&15));
    client.ok("CLOSE");
    assert_eq!(
        client.ok("EXAMINE INBOX").count("EXISTS"),
        Some(30),
        "CLOSE removes without a word"
    );
}

#[test]
fn v4_v6_what_is_deleted_after_it_was_opened_stays_away() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..10)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 3:6 (UID BODY[])");
    eventually_holds(&mut world.new.client(), "INBOX", 4);
    client.ok("STORE 4 +FLAGS (\\Deleted)");
    assert_eq!(client.ok("EXPUNGE").expunged(), [4]);
    let left = [1, 2, 3, 5, 6, 7, 8, 9, 10];
    assert_eq!(client.ok("UID SEARCH ALL").found(), left);
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 3);
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert_eq!(client.ok("UID SEARCH ALL").found(), left, "its old copy stays hidden");
}

#[test]
fn v4_append_lies_on_new_and_is_what_was_given() {
    let world = both();
    let mut client = world.proxy.client();
    let message = large(9, 50_000);
    let options = "(\\Seen $Work) \"17-Jul-2019 02:44:25 +0000\"";
    let (validity, uid) = client.append("INBOX", options, &message).appended();
    let selected = client.ok("SELECT INBOX");
    assert_eq!(selected.count("EXISTS"), Some(36));
    assert_eq!(selected.number("UIDVALIDITY"), u64::from(validity));
    let last = everything(&mut client, "INBOX").pop().expect("a message");
    assert_eq!(last.uid, uid);
    assert!(last.octets == message);
    assert_eq!(last.date, "17-Jul-2019 02:44:25 +0000");
    assert!(last.flags.contains("\\Seen") && last.flags.contains("$Work"));
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 30);
    // Looking at everything has opened old's messages, so copies may lie behind it by now.
    let on_new = everything(&mut world.new.client(), "INBOX");
    let it = on_new.into_iter().find(|m| m.octets == message).expect("it");
    assert_eq!(it.anywhere(), last.anywhere());

    let refused = client.literal("APPEND \"INBOX.No Such\" ", b"x: y\r\n\r\n", "");
    assert_eq!(refused.status, "NO");
    assert!(refused.code("TRYCREATE").is_some(), "{refused:?}");
}

#[test]
fn v5_an_opened_message_is_on_new_once_with_all_it_had() {
    let world = World::new().seeded(|old, _| {
        let odd = Mail::of(large(1, 1_500_000)).flags(&["\\Flagged", "$Forwarded", "Projekt-7"]);
        old.seed("INBOX", &[mails(0..4), vec![odd.dated(1_222_333_444)]].concat());
    });
    let before = everything(&mut world.old.client(), "INBOX");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let opened = client.ok("UID FETCH 2,5 (UID BODY[])").fetched();
    assert_eq!(opened.len(), 2);
    let there = eventually_holds(&mut world.new.client(), "INBOX", 2);
    for (copy, at) in there.iter().zip([1, 4]) {
        let mut expected = before[at].clone().anywhere();
        expected.flags.insert("\\Seen".to_owned());
        assert_eq!(copy.clone().anywhere(), expected);
    }
    // Opened again, by several at once: nothing more is copied.
    let mut others: Vec<Dialogue> = (0..3).map(|_| world.proxy.client()).collect();
    for other in &mut others {
        other.ok("SELECT INBOX");
        other.ok("UID FETCH 2,5 (UID BODY[])");
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 2);
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1, 2, 3, 4, 5]);
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 5, "old loses nothing (V6)");
}

#[test]
fn v5_a_flag_set_while_messages_are_copied_is_not_lost() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..200)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (UID BODY.PEEK[])");
    // The copier works through these while we write.
    for uid in (1..=200).step_by(7) {
        client.ok(&format!("UID STORE {uid} +FLAGS.SILENT ($Mine)"));
    }
    let there = eventually_holds(&mut world.new.client(), "INBOX", 200);
    assert_eq!(there.len(), 200);
    let mine: Vec<u32> = (1..=200).step_by(7).collect();
    eventually("every flag on its copy", || {
        let marked = everything(&mut world.new.client(), "INBOX");
        (marked.iter().filter(|m| m.flags.contains("$Mine")).count() == mine.len()).then_some(())
    });
    assert_eq!(client.ok("UID SEARCH KEYWORD $Mine").found(), mine);
}

#[test]
fn v5_seen_set_by_opening_is_not_lost_while_it_is_copied() {
    let world = World::new().seeded(|old, _| {
        let unseen = |n| Mail::of(large(n, 60_000 + 1000 * n as usize)).flags(&[]);
        old.seed("INBOX", &(0..120).map(unseen).collect::<Vec<_>>());
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    // One long FETCH: the copier is at work on its first messages while the server still reads the
    // last ones, and has not written down yet that any was seen.
    client.ok("FETCH 1:* (UID BODY[])");
    let mut new = world.new.client();
    eventually_holds(&mut new, "INBOX", 120);
    assert_eq!(client.ok("UID SEARCH UNSEEN").found(), [] as [u32; 0]);
    eventually("every copy is marked as read", || {
        new.ok("EXAMINE INBOX");
        new.ok("UID SEARCH UNSEEN").found().is_empty().then_some(())
    });
}

#[test]
fn two_sessions_see_each_other() {
    let world = both();
    let mut one = world.proxy.client();
    let mut two = world.proxy.client();
    one.ok("SELECT INBOX");
    two.ok("SELECT INBOX");
    one.ok("STORE 3,33 +FLAGS (\\Answered $Done)");
    let mut told = Vec::new();
    eventually("the other is told of flags", || {
        told.extend(two.ok("NOOP").fetched());
        let done = told.iter().filter(|m| m.flags.is_some() && m.has("$Done")).count();
        (done >= 2).then_some(())
    });
    one.ok("STORE 3,33 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    let mut gone = 0;
    eventually("the other is told of expunges", || {
        gone += two.ok("NOOP").expunged().len();
        (gone == 2).then_some(())
    });
    one.append("INBOX", "", &small(77));
    eventually("the other is told of an arrival", || {
        (two.ok("NOOP").count("EXISTS") == Some(34)).then_some(())
    });
    assert_eq!(one.ok("UID SEARCH ALL").found(), two.ok("UID SEARCH ALL").found());
    assert_eq!(everything(&mut one, "INBOX"), everything(&mut two, "INBOX"));
}

#[test]
fn news_of_flags_that_waited_do_not_take_back_what_the_session_did_since() {
    let world = both();
    let (mut one, mut other) = (world.proxy.client(), world.proxy.client());
    one.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    other.ok("STORE 2 +FLAGS ($theirs)");
    // Only now hears this session of what the other one did before.
    for reply in [one.ok("STORE 2 +FLAGS ($mine)"), one.ok("UID FETCH 1:* (FLAGS)")] {
        let told = reply.fetched().into_iter().rfind(|m| m.seq == 2).expect("message 2");
        assert!(told.has("$mine") && told.has("$theirs"), "{told:?}");
    }
}

#[test]
fn no_expunge_is_told_during_fetch_store_search() {
    let world = both();
    let mut one = world.proxy.client();
    let mut two = world.proxy.client();
    one.ok("SELECT INBOX");
    two.ok("SELECT INBOX");
    one.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    for command in ["FETCH 10:12 (FLAGS)", "STORE 10 +FLAGS (\\Flagged)", "SEARCH ALL"] {
        assert_eq!(two.cmd(command).expunged(), [] as [u32; 0], "{command}");
    }
    let mut gone = Vec::new();
    eventually("expunges at NOOP", || {
        gone.extend(two.ok("NOOP").expunged());
        (gone.len() == 3).then_some(())
    });
}

/// RFC 5530, RFC 2180: nothing may seem done to a message that somebody else has removed.
#[test]
fn who_names_what_is_not_there_any_more_hears_so() {
    let world = both();
    let mut one = world.proxy.client();
    let mut two = world.proxy.client();
    one.ok("SELECT INBOX");
    two.ok("SELECT INBOX");
    one.ok("STORE 1:3,32 +FLAGS.SILENT (\\Deleted)");
    one.ok("EXPUNGE");
    for (command, some) in [
        ("FETCH 1:5 (RFC822.SIZE)", true),
        ("FETCH 31:33 (RFC822.SIZE)", true),
        ("FETCH 4:5 (RFC822.SIZE)", false),
        ("STORE 2:4 +FLAGS.SILENT (Kept)", true),
        ("STORE 5 +FLAGS.SILENT (Kept)", false),
    ] {
        let told = two.ok(command);
        assert_eq!(told.code("EXPUNGEISSUED").is_some(), some, "{command}: {told:?}");
    }
    let refused = two.no("COPY 1:2 INBOX");
    assert!(refused.code("EXPUNGEISSUED").is_some(), "{refused:?}");
    // Now it knows.
    assert_eq!(refused.expunged().len(), 4);
    assert_eq!(two.ok("FETCH 1:2 (RFC822.SIZE)").code("EXPUNGEISSUED"), None);
    assert_eq!(two.ok("SEARCH KEYWORD Kept").found(), [1, 2]);
    assert_eq!(two.ok("NOOP").count("EXISTS"), None, "nothing was copied");
}

#[test]
fn arrivals_on_either_side_wake_an_idle_session() {
    let world = both();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.idle();
    world.old.deliver("INBOX", &Mail::numbered(900));
    client.wait_for(|r| r == "* 36 EXISTS");
    world.new.deliver("INBOX", &Mail::numbered(901));
    client.wait_for(|r| r == "* 37 EXISTS");
    let mut elsewhere = world.old.client();
    elsewhere.ok("SELECT INBOX");
    elsewhere.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    elsewhere.ok("EXPUNGE");
    client.wait_for(|r| r == "* 1 EXPUNGE");
    let mut elsewhere = world.new.client();
    elsewhere.ok("SELECT INBOX");
    elsewhere.ok("STORE 1 +FLAGS.SILENT ($Seen-by-web)");
    client.wait_for(|r| r.contains("FETCH (") && r.contains("$Seen-by-web"));
    client.done();
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 36);
}

#[test]
fn several_idle_sessions_fit_into_dovecots_limit_of_connections() {
    let world = World::new()
        .old(Dovecot::old_style().max_userip_connections(6))
        .new(Dovecot::new_style().max_userip_connections(6))
        .seeded(|old, _| {
            for folder in ["INBOX", "A", "B", "C", "D", "E"] {
                old.seed(folder, &mails(0..5));
            }
        });
    let folders = ["INBOX", "INBOX.A", "INBOX.B", "INBOX.C", "INBOX.D", "INBOX.E"];
    let mut sessions: Vec<Dialogue> = Vec::new();
    for n in 0..12 {
        let mut client = world.proxy.client();
        client.ok(&format!("SELECT {}", folders[n % 6]));
        sessions.push(client);
    }
    for client in &mut sessions {
        client.idle();
    }
    for client in &mut sessions {
        client.done();
        assert_eq!(client.ok("FETCH 1:* (UID FLAGS)").fetched().len(), 5);
    }
}

#[test]
fn examine_changes_nothing() {
    let world = both();
    let mut client = world.proxy.client();
    let selected = client.ok("EXAMINE INBOX");
    assert!(selected.code("READ-ONLY").is_some(), "{selected:?}");
    // Servers differ in whether this is NO or is ignored; it must not be done.
    let flagged = client.ok("UID SEARCH FLAGGED").found();
    client.cmd("STORE 1:* +FLAGS (\\Flagged)");
    assert_eq!(client.ok("UID SEARCH FLAGGED").found(), flagged);
    let unseen = client.ok("UID SEARCH UNSEEN").found();
    assert!(!unseen.is_empty());
    client.ok("FETCH 1:* (BODY[])");
    assert_eq!(client.ok("UID SEARCH UNSEEN").found(), unseen);
    let selected = client.ok("SELECT INBOX");
    assert!(selected.code("READ-WRITE").is_some(), "{selected:?}");
    client.ok("FETCH 1 (BODY[TEXT])");
    assert!(client.ok("FETCH 1 (FLAGS)").fetched()[0].has("\\Seen"));
}
