//! Mail that lies on both servers before the proxy has seen either: shown once, under old's numbers and with old's
//! flags (V2, V3), after a lost index as well (V8).

mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{
    Cyrus, Dialogue, Dovecot, Fate, Mail, Seen, Way, World, eventually, everything, has, mails,
    small, sorted, tools, view,
};

/// The messages on old: with holes between their UIDs.
fn with_holes(numbers: std::ops::Range<u32>) -> Vec<Mail> {
    numbers.map(|n| Mail::numbered(n).uid(n * 2 + 11)).collect()
}

/// The same messages with other flags.
fn otherwise_flagged(numbers: std::ops::Range<u32>) -> Vec<Mail> {
    numbers.map(|n| Mail::numbered(n).flags(&["\\Answered", "Elsewhere"])).collect()
}

/// Waits until a mailbox shows this many messages, and that nothing is undecided any more.
#[track_caller]
fn shows(client: &mut Dialogue, mailbox: &str, count: u32) -> Vec<Seen> {
    eventually(&format!("{mailbox} shows {count} messages"), || {
        let exists = client.ok(&format!("EXAMINE {}", lab::quoted(mailbox))).count("EXISTS");
        (exists == Some(count)).then_some(())
    });
    everything(client, mailbox)
}

fn uids(seen: &[Seen]) -> Vec<u32> {
    seen.iter().map(|message| message.uid).collect()
}

fn octets(seen: &[Seen]) -> Vec<&[u8]> {
    seen.iter().map(|message| message.octets.as_slice()).collect()
}

/// Thirty messages on old, twenty of them on new as well, and five that are on new alone.
fn half_filled() -> World {
    World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..30));
        new.seed("INBOX", &[otherwise_flagged(5..25), mails(100..105)].concat());
    })
}

#[test]
fn v3_what_lies_on_both_sides_is_shown_once_from_the_first_view_on() {
    let mut world = half_filled();
    let on_old = everything(&mut world.old.client(), "INBOX");
    let only_on_new = everything(&mut world.new.client(), "INBOX").split_off(20);
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(35));
    let shown = everything(&mut client, "INBOX");
    assert_eq!(shown[..30], on_old, "UIDs, flags, dates and octets are old's");
    assert_eq!(sorted(shown[30..].to_vec()), sorted(only_on_new));
    assert!(shown[30].uid > 100_000_000, "{shown:?}");

    // The copies on new have old's flags now: it is what the user has read since.
    let expected: BTreeMap<&[u8], _> =
        on_old.iter().map(|m| (m.octets.as_slice(), m.flags.clone())).collect();
    let on_new = everything(&mut world.new.client(), "INBOX");
    for message in on_new.iter().filter(|m| expected.contains_key(m.octets.as_slice())) {
        assert_eq!(message.flags, expected[message.octets.as_slice()], "{message:?}");
    }
    // New decides over them: what is done goes there, and opening one copies nothing.
    client.ok("SELECT INBOX");
    client.ok("UID STORE 21 +FLAGS (Decided)");
    client.ok("UID FETCH 21:59 (BODY[])");
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert_eq!(on_new.iter().filter(|m| m.flags.contains("Decided")).count(), 1);
    lab::eventually_holds(&mut world.new.client(), "INBOX", 35);
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert!(
        view::copies(&on_new).values().all(|n| *n == 1),
        "only what lay on old alone was copied"
    );
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 30, "old loses nothing (V6)");

    world.proxy.kill9();
    world.proxy.restart();
    let again = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(uids(&again), uids(&shown), "after a restart as well");
}

#[test]
fn v8_after_the_loss_of_the_index_every_copy_is_its_message_again() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..30));
        new.seed("INBOX", &mails(100..105));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 11:49 (BODY.PEEK[])");
    client.append("INBOX", "", &small(200));
    lab::eventually_holds(&mut world.new.client(), "INBOX", 26);
    let before = shows(&mut client, "INBOX", 36);
    assert_eq!(uids(&before)[..30], (0..30).map(|n| n * 2 + 11).collect::<Vec<_>>());
    drop(client);
    world.proxy.stop();
    // The database is lost, the epoch log beside it is not.
    let state = world.dir.path().join("proxy/state");
    fs::remove_dir_all(state.join("index/db"))
        .or_else(|_| fs::remove_dir_all(state.join("db")))
        .expect("the database");
    world.proxy.restart();
    let mut client = world.proxy.client();
    let after = shows(&mut client, "INBOX", 36);
    assert_eq!(after[..30], before[..30], "below the boundary each has its UID again");
    assert!(after[30].uid > before[35].uid, "the rest has fresh ones: {after:?}");
    assert_eq!(sorted(after[30..].to_vec()), sorted(before[30..].to_vec()));
    assert!(view::copies(&after).values().all(|n| *n == 1), "none twice");
}

/// Twenty messages on old, and what mbsync makes of them on new.
fn copied_by_mbsync() -> World {
    World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..20));
        let dir = old.dir.parent().expect("the world's directory").join("mbsync");
        fs::create_dir_all(&dir).expect("mbsync's directory");
        let store = |name: &str, port: u16| {
            let (user, password) = old.account();
            format!(
                "IMAPAccount {name}\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {password}\nSSLType None\n\
                 AuthMechs LOGIN\n\nIMAPStore {name}\nAccount {name}\n\n"
            )
        };
        let text = format!(
            "{}{}Channel all\nFar :old:\nNear :new:\nPattern INBOX\nSync Pull\nCreate Near\nSyncState {}/\n\
             CopyArrivalDate yes\n",
            store("old", old.port),
            store("new", new.port),
            dir.display()
        );
        fs::write(dir.join("mbsyncrc"), text).expect("mbsyncrc");
        let mut mbsync = std::process::Command::new("mbsync");
        tools::run(mbsync.arg("-c").arg(dir.join("mbsyncrc")).arg("-a")).content();
        let copied = everything(&mut new.client(), "INBOX");
        assert_eq!(copied.len(), 20);
        let tool = |m: &&Seen| String::from_utf8_lossy(&m.octets).contains("X-TUID: ");
        assert!(copied.iter().any(|m| tool(&m)), "mbsync leaves its mark");
    })
}

#[test]
fn v3_what_mbsync_has_copied_is_shown_once() {
    let world = copied_by_mbsync();
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(20));
    assert_eq!(
        client.ok("UID SEARCH ALL").found(),
        (0..20).map(|n| n * 2 + 11).collect::<Vec<_>>()
    );
}

/// What a client has read on old stays true: how large a message is, and where each of its octets is.
#[test]
fn v2_what_mbsync_has_altered_is_read_as_it_was() {
    let mut world = copied_by_mbsync();
    let on_old = everything(&mut world.old.client(), "INBOX");
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(20));
    // New decides over them.
    client.ok("UID STORE 11 +FLAGS (First)");
    let mut direct = world.new.client();
    direct.ok("SELECT INBOX");
    assert_eq!(direct.ok("SEARCH KEYWORD First").found().len(), 1);
    client.ok("UID STORE 11 -FLAGS (First)");
    assert_eq!(everything(&mut client, "INBOX"), on_old);

    // New decides over flags: they come with what old gives, in one answer.
    client.ok("SELECT INBOX");
    client.ok("UID STORE 13 +FLAGS (\\Flagged Mine)");
    let one = client.ok("UID FETCH 13 (FLAGS RFC822.SIZE ENVELOPE)").fetched();
    assert_eq!((one.len(), one[0].size), (1, Some(on_old[1].size)));
    assert!(one[0].has("\\Flagged") && one[0].has("Mine"), "{one:?}");
    let opened = client.ok("UID FETCH 15 (BODY[])").fetched();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(opened[0].body(), on_old[2].octets);
    assert!(opened[0].has("\\Seen"), "{opened:?}");

    // Among others they have their places.
    client.append("INBOX", "", &small(300));
    world.old.deliver("INBOX", &Mail::numbered(301));
    let all = lab::eventually("all are there", || {
        client.ok("NOOP");
        let all = client.ok("FETCH 1:* (UID FLAGS RFC822.SIZE)").fetched();
        (all.len() == 22).then_some(all)
    });
    assert!(all.iter().zip(1..).all(|(message, n)| message.seq == n), "{all:?}");
    let sizes = |all: &[lab::Fetched]| all.iter().map(|m| m.size).collect::<Vec<_>>();
    let known: Vec<_> = on_old.iter().map(|message| Some(message.size)).collect();
    assert_eq!(sizes(&all)[..20], known);
    assert!(all[1].has("Mine") && all[2].has("\\Seen") && !all[3].has("Mine"), "{all:?}");

    // And where only what has changed is asked for.
    let highest = client.ok("STATUS INBOX (HIGHESTMODSEQ)").status_of("INBOX")["HIGHESTMODSEQ"];
    client.ok("UID STORE 17 +FLAGS.SILENT (Mine)");
    let changed = client.ok(&format!("FETCH 1:* (UID RFC822.SIZE FLAGS) (CHANGEDSINCE {highest})"));
    let changed: Vec<_> = changed.fetched().into_iter().filter(|m| m.size.is_some()).collect();
    let seventeen = changed.iter().find(|message| message.uid == 17).expect("what has changed");
    assert_eq!(seventeen.size, Some(on_old[3].size));
    assert!(seventeen.has("Mine") && changed.len() < 20, "{changed:?}");

    world.proxy.kill9();
    world.proxy.restart();
    let again = everything(&mut world.proxy.client(), "INBOX");
    assert!(again.iter().zip(&on_old).all(|(a, b)| a.octets == b.octets), "after a restart");
    // Where old is away, what new has is better than nothing.
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    world.old.stop();
    let one = client.ok("UID FETCH 13 (FLAGS RFC822.SIZE BODY.PEEK[])").fetched();
    assert_eq!(one[0].size, Some(one[0].body().len()));
    assert!(one[0].has("Mine"), "{one:?}");
}

/// A message with the headers of another one.
fn with_headers_of(n: u32, text: &str) -> Mail {
    let octets = small(n);
    let head = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    Mail::of([&octets[..head], text.as_bytes()].concat())
}

#[test]
fn v3_different_messages_of_equal_headers_stay_two() {
    for mode in ["content", "message-id"] {
        let world = World::new().set("copy.match", &format!("{mode:?}")).seeded(|old, new| {
            let [one, two, three] = [
                "one\r\n",
                "two\r\n",
                "a third one, longer than the others, by far, so \
                that nobody takes it for one of them\r\n",
            ]
            .map(|text| with_headers_of(7, text));
            // Of equal size and headers, on either side; and a third one of another size on new.
            old.seed("INBOX", &[one.clone(), two.clone()]);
            new.seed("INBOX", &[two, three]);
            old.seed("Other", &[one.clone(), one.clone()]);
            new.seed("Other", &[one.clone(), one.clone(), one]);
        });
        let mut client = world.proxy.client();
        let shown = shows(&mut client, "INBOX", 3);
        assert_eq!(uids(&shown)[..2], [1, 2], "{mode}");
        let texts: Vec<_> = octets(&shown)
            .iter()
            .map(|o| String::from_utf8_lossy(o).lines().last().map(str::to_owned))
            .collect();
        assert_eq!(texts[..2], [Some("one".to_owned()), Some("two".to_owned())], "{mode}");
        // Two equal ones on old and three on new are three.
        let shown = shows(&mut client, "INBOX.Other", 3);
        assert_eq!(uids(&shown)[..2], [1, 2], "{mode}");
        assert!(shown[2].uid > 100_000_000, "{mode}");
    }
}

#[test]
fn v3_messages_without_any_header_to_tell_them_by_are_told_by_content() {
    let bare = |n: u32| Mail::of(format!("X-Number: {n:03}\r\n\r\nbare {n:03}\r\n").into_bytes());
    for mode in ["content", "message-id"] {
        let world = World::new().set("copy.match", &format!("{mode:?}")).seeded(|old, new| {
            old.seed("INBOX", &(0..40).map(bare).collect::<Vec<_>>());
            new.seed("INBOX", &(20..60).rev().map(bare).collect::<Vec<_>>());
        });
        let shown = shows(&mut world.proxy.client(), "INBOX", 60);
        assert!(view::copies(&shown).values().all(|n| *n == 1), "{mode}");
        assert_eq!(uids(&shown)[..40], (1..=40).collect::<Vec<_>>(), "{mode}");
    }
}

#[test]
fn without_matching_both_are_shown() {
    let world = World::new().set("copy.match", "\"off\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(0..3));
    });
    assert_eq!(world.proxy.client().ok("SELECT INBOX").count("EXISTS"), Some(6));
}

#[test]
fn v3_what_was_appended_to_cyrus_is_shown_once() {
    let world =
        World::new().old(Dovecot::old_style()).new(Cyrus::styled(true, true)).seeded(|old, new| {
            old.seed("INBOX", &with_holes(0..30));
            old.seed("Sent", &mails(50..60));
            // The lab fills Cyrus by APPEND, with flags and INTERNALDATE, as imapsync does.
            new.seed("INBOX", &[otherwise_flagged(10..30), mails(100..103)].concat());
            new.seed("Sent", &mails(50..60));
        });
    let on_old = everything(&mut world.old.client(), "INBOX");
    let mut client = world.proxy.client();
    let shown = shows(&mut client, "INBOX", 33);
    assert_eq!(shown[..30], on_old);
    assert_eq!(uids(&shows(&mut client, "INBOX.Sent", 10)), (1..=10).collect::<Vec<_>>());
}

#[test]
fn v3_killed_while_it_matches_it_goes_on_where_it_was() {
    let count = 3_000;
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..count));
        new.seed("INBOX", &[mails(1_000..count), mails(9_000..9_020)].concat());
    });
    for pause in [150, 300, 600, 1_000] {
        let mut client = world.proxy.client();
        client.send("k1 SELECT INBOX");
        std::thread::sleep(Duration::from_millis(pause));
        world.proxy.kill9();
        world.proxy.restart();
    }
    let on_old = world.old.client().ok("EXAMINE INBOX").count("EXISTS");
    assert_eq!(on_old, Some(count));
    let mut client = world.proxy.client();
    eventually("all that lies on either side", || {
        (client.ok("EXAMINE INBOX").count("EXISTS") == Some(count + 20)).then_some(())
    });
    let on_new = world.new.client().ok("EXAMINE INBOX").count("EXISTS");
    assert_eq!(on_new, Some(2_020), "what lay there is all that lies there");
    let shown = everything(&mut client, "INBOX");
    assert_eq!(uids(&shown)[..count as usize], (0..count).map(|n| n * 2 + 11).collect::<Vec<_>>());
    assert!(view::copies(&shown).values().all(|n| *n == 1), "none twice");
}

#[test]
fn v3_what_is_removed_while_it_is_matched_goes_from_both_sides() {
    let count = 2_000;
    let world = World::new().wired().seeded(|old, new| {
        old.seed("INBOX", &mails(0..count));
        new.seed("INBOX", &mails(0..count));
        old.seed("Kept", &[]);
    });
    let mut client = world.proxy.client();
    // New is slow in giving whole messages: it takes a while until all is known.
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToServer && has(chunk, "BODY.PEEK[])") {
            std::thread::sleep(Duration::from_millis(1_200));
        }
        Fate::Pass
    });
    client.ok("SELECT INBOX");
    assert!(!world.proxy.log().contains("matched what lies on both sides mailbox=INBOX"));
    let on_new = |world: &World| world.new.client().ok("EXAMINE INBOX").count("EXISTS");
    client.ok("UID STORE 3,5:6 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("UID MOVE 10:11 INBOX.Kept");
    assert_eq!(on_new(&world), Some(count - 5));
    let left = eventually("all is matched", || {
        let left = client.ok("UID SEARCH ALL").found();
        client.ok("NOOP");
        world.proxy.log().contains("matched what lies on both sides mailbox=INBOX").then_some(left)
    });
    let expected: Vec<u32> = (1..=count).filter(|uid| ![3, 5, 6, 10, 11].contains(uid)).collect();
    assert_eq!(left, expected);
    assert_eq!(client.ok("UID SEARCH ALL").found(), expected);
}

/// Somebody else marks messages after the look at what is marked. Their copies on new are not known yet, and would
/// be left behind, to be seen again as other messages: such a message goes from both sides or stays.
#[test]
fn v3_what_is_marked_while_an_expunge_waits_for_its_match_does_not_go_from_old_alone() {
    let count = 2_000;
    let world = World::new().wired().seeded(|old, new| {
        old.seed("INBOX", &mails(0..count));
        new.seed("INBOX", &mails(0..count));
    });
    let mut client = world.proxy.client();
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToServer && has(chunk, "BODY.PEEK[])") {
            std::thread::sleep(Duration::from_millis(1_200));
        }
        Fate::Pass
    });
    client.ok("SELECT INBOX");
    client.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)");
    assert!(!world.proxy.log().contains("matched what lies on both sides mailbox=INBOX"));
    let mut other = world.old.client();
    other.ok("SELECT INBOX");
    let looked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&looked);
    world.old_wire.rule(move |way, chunk| {
        if way == Way::ToServer && has(chunk, "SEARCH") && has(chunk, " DELETED") {
            told.store(true, Ordering::Relaxed);
        } else if way == Way::ToProxy && told.swap(false, Ordering::Relaxed) {
            other.ok("UID STORE 50,500,1000,1500,1990 +FLAGS.SILENT (\\Deleted)");
        }
        Fate::Pass
    });
    // From the last on, so each by its first number.
    let gone = client.ok("EXPUNGE").expunged();
    assert!(gone.contains(&3) && gone.is_sorted_by(|a, b| a > b), "{gone:?}");
    eventually("all is matched", || {
        client.ok("NOOP");
        world.proxy.log().contains("matched what lies on both sides mailbox=INBOX").then_some(())
    });
    let expected: Vec<u32> = (1..=count).filter(|uid| !gone.contains(uid)).collect();
    assert_eq!(client.ok("UID SEARCH ALL").found(), expected);
    // Old's copy of what was removed on new stays there, hidden.
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    assert_eq!(direct.ok("UID SEARCH DELETED").found().len(), 1 + 5);
}

#[test]
fn v7_while_new_fails_in_the_midst_of_it_old_goes_on() {
    let world = World::new().wired().seeded(|old, new| {
        old.seed("INBOX", &mails(0..40));
        new.seed("INBOX", &[mails(0..40), mails(100..105)].concat());
    });
    world.new_wire.rule(|way, chunk| match way == Way::ToServer && has(chunk, "BODY.PEEK[])") {
        true => Fate::Cut(Vec::new()),
        false => Fate::Pass,
    });
    let mut client = world.proxy.client();
    // What cannot be on old is shown by now, nothing is shown twice, and old is served.
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(45));
    client.ok("UID STORE 7 +FLAGS (Mine)");
    assert_eq!(client.ok("UID FETCH 1:40 (UID BODY.PEEK[])").fetched().len(), 40);
    world.new_wire.release();
    eventually("all is matched", || {
        let client = &mut world.proxy.client();
        client.ok("SELECT INBOX");
        world.proxy.log().contains("matched what lies on both sides mailbox=INBOX").then_some(())
    });
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(shown.len(), 45);
    assert!(shown[6].flags.contains("Mine"), "{:?}", shown[6]);
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert_eq!(on_new.len(), 45, "what was opened meanwhile is not copied a second time");
    let mine = on_new.iter().find(|m| m.octets == shown[6].octets).expect("it");
    assert!(mine.flags.contains("Mine"), "old's flags are taken over: {mine:?}");
}

/// Whether INBOX holds this many messages, and each can be asked for: a side that was away may not be
/// asked again yet.
fn all_in_reach(client: &mut Dialogue, count: u32) -> bool {
    client.cmd("SELECT INBOX").count("EXISTS") == Some(count)
        && client.cmd("FETCH 1:* (UID FLAGS)").status == "OK"
}

/// A mailbox of twenty messages, ten of which were copied when they were opened, and three of new's own.
fn half_copied(folder: &str) -> (World, Dialogue, Vec<Seen>) {
    let world = World::new().seeded(|old, new| {
        old.seed(folder, &with_holes(0..20));
        new.seed(folder, &mails(100..103));
    });
    let mut client = world.proxy.client();
    let name = world.old.name(folder);
    shows(&mut client, &name, 23);
    let before = everything(&mut client, &name);
    lab::eventually_holds(&mut world.new.client(), folder, 23);
    (world, client, before)
}

#[test]
fn v3_new_counts_anew_and_nothing_is_shown_twice() {
    let (mut world, mut client, before) = half_copied("INBOX");
    client.ok("SELECT INBOX");
    world.new.stop();
    let dir = world.new.maildir("ann@example.com", "INBOX");
    for entry in fs::read_dir(&dir).expect("the Maildir").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("dovecot") && name != "dovecot-keywords" {
            fs::remove_file(entry.path()).expect("what Dovecot remembers");
        }
    }
    world.new.start();
    let after = eventually("new is there again", || {
        let there = all_in_reach(&mut client, 23);
        let counts = world.proxy.log().contains("is another mailbox than before");
        (counts && there).then(|| everything(&mut client, "INBOX"))
    });
    assert_eq!(uids(&after)[..20], uids(&before)[..20], "what old has keeps its UIDs");
    assert_eq!(sorted(after.clone()), sorted(before.clone()), "and nothing is missing or twice");
    assert!(after[20].uid > before[22].uid, "what new alone has counts as new: {after:?}");
    assert_eq!(
        client.ok("SELECT INBOX").number("UIDVALIDITY"),
        world.old.client().ok("SELECT INBOX").number("UIDVALIDITY")
    );
    assert_eq!(
        world.new.client().ok("EXAMINE INBOX").count("EXISTS"),
        Some(23),
        "nothing is copied again"
    );
}

#[test]
fn v3_a_folder_of_new_that_was_deleted_and_made_anew_is_filled_again() {
    let (mut world, client, before) = half_copied("Work");
    drop(client);
    let mut new = world.new.client();
    new.ok("DELETE Work");
    new.ok("CREATE Work");
    new.append("Work", &Mail::numbered(7).options(), &small(7));
    // Dovecot goes on serving the deleted one to whoever has it selected.
    world.proxy.stop();
    world.proxy.restart();
    let mut client = world.proxy.client();
    let after = eventually("it is another one", || {
        let exists = client.cmd("SELECT INBOX.Work").count("EXISTS");
        (exists == Some(20)).then(|| everything(&mut client, "INBOX.Work"))
    });
    assert_eq!(after, before[..20], "what old has is there as it was");
    let there = lab::eventually_holds(&mut new, "Work", 20);
    assert!(view::copies(&there).values().all(|n| *n == 1), "and is on new once again");
    assert_eq!(everything(&mut client, "INBOX.Work"), before[..20]);
}

#[test]
fn v3_new_is_put_back_from_a_backup_and_what_it_lost_comes_from_old_again() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..20));
        new.seed("INBOX", &mails(100..103));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 11:29 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 13);
    let dir = world.new.maildir("ann@example.com", "INBOX");
    let backup = world.dir.path().join("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let said = tools::run(std::process::Command::new("cp").arg("-a").arg(from).arg(to));
        assert!(said.success, "{}", said.text);
    };
    world.new.stop();
    copy(&dir, &backup);
    world.new.start();
    let before = eventually("new is there", || {
        all_in_reach(&mut client, 23).then(|| {
            let before = everything(&mut client, "INBOX");
            lab::eventually_holds(&mut world.new.client(), "INBOX", 23);
            before
        })
    });
    client.append("INBOX", "", &small(300));
    shows(&mut client, "INBOX", 24);
    world.new.stop();
    fs::remove_dir_all(&dir).expect("the Maildir");
    copy(&backup, &dir);
    world.new.start();
    let mut client = world.proxy.client();
    let after = eventually("the backup is noticed", || {
        all_in_reach(&mut client, 23).then(|| everything(&mut client, "INBOX"))
    });
    assert_eq!(after, before, "all but what was appended since, which nobody has any more");
    let there = lab::eventually_holds(&mut world.new.client(), "INBOX", 23);
    assert!(view::copies(&there).values().all(|n| *n == 1), "what was lost is copied again, once");
    client.append("INBOX", "", &small(301));
    let again = shows(&mut client, "INBOX", 24);
    assert_eq!(again[23].octets, small(301), "what has a UID of the lost one's on new is itself");
    assert!(again[23].uid > before[22].uid + 1, "and no UID means two messages (V2)");
}

#[test]
fn v3_mail_that_is_delivered_to_both_sides_or_copied_later_is_shown_once() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &with_holes(0..10));
        new.seed("INBOX", &mails(100..101));
    });
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(11));
    // Delivered to old, then to new.
    world.old.deliver("INBOX", &Mail::numbered(50));
    eventually("old's", || (client.ok("NOOP").count("EXISTS") == Some(12)).then_some(()));
    world.new.deliver("INBOX", &Mail::numbered(50));
    // Somebody's tool goes on copying, with flags of its own.
    let mut new = world.new.client();
    new.append("INBOX", &Mail::numbered(4).flags(&["Tool"]).options(), &small(4));
    // And something that is new's alone.
    world.new.deliver("INBOX", &Mail::numbered(60));
    let all = eventually("what is new's alone", || {
        client.ok("NOOP");
        let all = client.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])").fetched();
        let it = |m: &lab::Fetched| {
            String::from_utf8_lossy(&m.bodies["BODY[HEADER.FIELDS (SUBJECT)]"]).contains(" 60")
        };
        all.iter().any(it).then_some(all)
    });
    assert_eq!(all.len(), 13);
    let shown = everything(&mut client, "INBOX");
    assert!(view::copies(&shown).values().all(|n| *n == 1), "{shown:?}");
    // Each is one message on both sides: new decides over it.
    client.ok("SELECT INBOX");
    let fifth = shown.iter().find(|m| m.octets == small(4)).expect("it").uid;
    assert_eq!(fifth, 19);
    client.ok(&format!("UID STORE {fifth} +FLAGS (Decided)"));
    let there = everything(&mut new, "INBOX");
    let copy = there.iter().find(|m| m.octets == small(4)).expect("its copy");
    assert!(copy.flags.contains("Decided") && !copy.flags.contains("Tool"), "{copy:?}");
    // While old is away, what arrives on new is shown all the same (V7).
    lab::eventually_holds(&mut new, "INBOX", 13);
    world.old.stop();
    // Not like any copy that may be on its way yet: such an arrival has to wait.
    world.new.deliver("INBOX", &Mail::of(lab::large(61, 5_000)));
    eventually("an arrival", || (client.cmd("NOOP").count("EXISTS") == Some(14)).then_some(()));
}

#[test]
fn v3_a_large_mailbox_on_both_sides_is_matched_in_little_memory_while_old_is_served() {
    let count = 15_000;
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..count));
        new.seed("INBOX", &mails(0..count));
    });
    let before = world.proxy.peak_rss();
    let mut client = world.proxy.client();
    let asked = std::time::Instant::now();
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(count));
    assert!(asked.elapsed() < Duration::from_secs(15), "old does not wait for the other");
    assert_eq!(client.ok("UID FETCH 1:200 (UID BODY.PEEK[])").fetched().len(), 200);
    eventually("all is matched", || {
        assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(count), "at any time");
        world.proxy.log().contains("matched what lies on both sides mailbox=INBOX").then_some(())
    });
    let grown = world.proxy.peak_rss() - before;
    assert!(grown < 60 << 20, "memory grew by {} MiB", grown >> 20);
    assert_eq!(client.ok("UID SEARCH ALL").found(), (1..=count).collect::<Vec<_>>());
    assert_eq!(world.new.client().ok("EXAMINE INBOX").count("EXISTS"), Some(count));
}

/// What comes to both servers while all that lay there is compared, which may take long, does not wait for the end
/// of that, and is one message at any time.
#[test]
fn v3_mail_that_comes_to_both_sides_during_the_first_matching_is_one_message() {
    let count = 1_500;
    let world = World::new().wired().seeded(|old, new| {
        old.seed("INBOX", &mails(0..count));
        new.seed("INBOX", &[mails(0..count), mails(5_000..5_001)].concat());
    });
    let mut client = world.proxy.client();
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToServer && has(chunk, "BODY.PEEK[])") {
            std::thread::sleep(Duration::from_millis(1_000));
        }
        Fate::Pass
    });
    client.ok("SELECT INBOX");
    let matched = || world.proxy.log().contains("matched what lies on both sides mailbox=INBOX");
    let [first, second, third, fourth] = [6_000, 6_001, 6_002, 6_003].map(Mail::numbered);
    world.old.deliver("INBOX", &first);
    world.new.deliver("INBOX", &first);
    world.new.deliver("INBOX", &second);
    world.old.deliver("INBOX", &second);
    world.old.deliver("INBOX", &third);
    world.new.deliver("INBOX", &fourth);
    eventually("all four are seen", || {
        let exists = client.ok("NOOP").count("EXISTS");
        assert!(!matched(), "before all is compared");
        assert!(exists <= Some(count + 5), "V3: {exists:?}");
        (exists == Some(count + 5)).then_some(())
    });
    eventually("all is matched", || matched().then_some(()));
    client.ok("SELECT INBOX");
    let shown = everything(&mut client, "INBOX");
    assert_eq!(shown.len() as u32, count + 5);
    assert!(view::copies(&shown).values().all(|n| *n == 1), "none twice");
}
