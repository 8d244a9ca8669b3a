//! What servers do that they should not, and what the proxy makes of it.

mod lab;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{
    Courier, Cyrus, Dialogue, Dovecot, Fate, Mail, Relay, Seen, Way, World, everything,
    folder_names, has, mails,
};

/// What a chunk becomes where a server is to seem another one.
fn instead(chunk: &[u8], from: &str, to: &str) -> Fate {
    match memchr::memmem::find(chunk, from.as_bytes()) {
        Some(at) => {
            let rest = &chunk[at + from.len()..];
            Fate::Instead([&chunk[..at], to.as_bytes(), rest].concat())
        }
        None => Fate::Pass,
    }
}

fn uids(client: &mut Dialogue) -> Vec<u32> {
    client.ok("SELECT INBOX");
    client.ok("UID SEARCH ALL").found()
}

/// Courier tells no UIDNEXT when a mailbox is selected: that the last messages went must not look as if the
/// mailbox had gone back in time.
#[test]
fn v3_on_a_server_that_tells_no_uidnext_the_last_messages_go_and_others_come() {
    let mut world =
        World::new().old(Courier::plain()).seeded(|old, _| old.seed("INBOX", &mails(0..10)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 10);
    client.ok("LOGOUT");
    // So that nobody watches: what happens now is seen by comparing numbers.
    world.proxy.kill9();
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    direct.ok("STORE 9:10 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(client.ok("EXAMINE INBOX").number("UIDNEXT") >= 11);
    client.ok("LOGOUT");
    world.proxy.kill9();
    world.old.deliver("INBOX", &Mail::numbered(50));
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client), [1, 2, 3, 4, 5, 6, 7, 8, 11]);
    assert_eq!(everything(&mut client, "INBOX")[8].octets, lab::small(50));
}

/// Has a server know no special use in LIST. Counts how often it was asked for one.
fn without_special_use(wire: &Relay) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    wire.rule(move |way, chunk| match way {
        Way::ToServer if has(chunk, "CHILDREN SPECIAL-USE)") => {
            counted.fetch_add(1, Ordering::Relaxed);
            instead(chunk, "CHILDREN SPECIAL-USE)", "CHILDREN UNKNOWN-USE)")
        }
        _ => Fate::Pass,
    });
    count
}

/// Some servers answer BAD where they know LIST-EXTENDED, but no special use in it.
#[test]
fn a_server_that_knows_not_all_options_of_list_is_listed_without() {
    let mut world = World::new().wired().seeded(|old, _| old.seed("Work", &mails(0..3)));
    let count = without_special_use(&world.new_wire);
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.Work") && names.contains("INBOX.Sent"), "{names:?}");
    assert_eq!(everything(&mut client, "INBOX.Work").len(), 3);
    // It is found out once, where it is no accident, and remembered.
    assert_eq!(count.load(Ordering::Relaxed), 2);
    world.proxy.client().ok("NOOP");
    world.proxy.kill9();
    world.proxy.restart();
    assert_eq!(folder_names(&mut world.proxy.client()), names);
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[test]
fn a_server_that_is_known_to_answer_no_options_of_list_is_asked_for_none() {
    let world = World::new().wired().set("new.quirks", "[\"no-list-options\"]");
    let world = world.seeded(|_, new| new.seed("Work", &mails(0..3)));
    let count = without_special_use(&world.new_wire);
    assert!(folder_names(&mut world.proxy.client()).contains("INBOX.Work"));
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// Exchange 2010 counts a message that its SEARCH does not find yet.
#[test]
fn v3_an_arrival_that_search_does_not_find_yet_is_seen() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 5);
    // From now on no search finds more than the first five.
    world.old_wire.rule(|way, chunk| match way {
        Way::ToServer if has(chunk, "UID SEARCH RETURN (ALL) UID 6:*") => {
            instead(chunk, "UID 6:*", "UID 1:5 6")
        }
        Way::ToServer if has(chunk, "UID SEARCH RETURN (ALL) ALL") => {
            instead(chunk, ") ALL", ") UID 1:5")
        }
        _ => Fate::Pass,
    });
    client.idle();
    world.old.deliver("INBOX", &Mail::numbered(70));
    client.wait_for(|r| r == "* 6 EXISTS");
    client.done();
    assert_eq!(client.ok("UID FETCH 1:* (FLAGS)").fetched().len(), 6);
    assert_eq!(everything(&mut client, "INBOX")[5].octets, lab::small(70));
}

/// Some servers write names that are numbers without quotes, and names of other kinds as literals.
/// Dovecot takes a Maildir for unchanged whose time of change is that of its last look: what is delivered in the same
/// tick of the clock is passed over, also by the first look a second later.
#[test]
fn an_arrival_that_dovecot_passes_over_does_not_wait_half_a_minute() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(100..102));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.idle();
    world.new.deliver("INBOX", &Mail::numbered(150));
    client.wait_for(|r| r == "* 6 EXISTS");
    let arrivals = world.new.maildir(world.new.account().0, "INBOX").join("new");
    let arrivals = File::open(arrivals).expect("directory");
    let tick = arrivals.metadata().and_then(|of| of.modified()).expect("its time");
    world.new.deliver("INBOX", &Mail::numbered(151));
    arrivals.set_modified(tick).expect("the same tick");
    client.wait_for(|r| r == "* 7 EXISTS");
}

#[test]
fn names_that_are_numbers_need_no_quotes() {
    let world = World::new().wired().seeded(|old, _| old.seed("2016", &mails(0..3)));
    world.old_wire.rule(|way, chunk| match way {
        Way::ToProxy => instead(chunk, "\"INBOX.2016\"", "INBOX.2016"),
        Way::ToServer => Fate::Pass,
    });
    world.new_wire.rule(|way, chunk| match way {
        Way::ToProxy => instead(chunk, " \"Sent\"", " Sent"),
        Way::ToServer => Fate::Pass,
    });
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.2016") && names.contains("INBOX.Sent"), "{names:?}");
    assert_eq!(everything(&mut client, "INBOX.2016").len(), 3);
}

/// Takes every MODSEQ out of what a server says.
fn without_mod_seqs(chunk: &[u8]) -> Vec<u8> {
    let mut rest = String::from_utf8_lossy(chunk).into_owned();
    while let Some(at) = rest.find(" MODSEQ (") {
        let end = rest[at..].find(')').map_or(rest.len(), |n| at + n + 1);
        rest.replace_range(at..end, "");
    }
    rest.into_bytes()
}

fn offered(world: &World) -> Vec<String> {
    let reply = world.proxy.client().ok("CAPABILITY");
    let line = reply.untagged.iter().find(|line| has(line, "* CAPABILITY ")).expect("CAPABILITY");
    String::from_utf8_lossy(line).split(' ').skip(2).map(str::to_owned).collect()
}

/// What the next client is offered after one had the mailbox open, and after mail came to another one.
fn offered_after_use(world: &World) -> (Vec<String>, Vec<String>) {
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("LOGOUT");
    let before = offered(world);
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.idle();
    world.old.deliver("INBOX", &Mail::numbered(80));
    client.wait_for(|r| r.ends_with(" EXISTS"));
    client.done();
    let after = offered(world);
    (before, after)
}

/// A server that offers CONDSTORE, and has mailboxes that keep no MODSEQ (RFC 7162 §3.1.2.2).
#[test]
fn v10_condstore_is_offered_no_more_where_a_mailbox_has_no_modseq() {
    let mut world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    world.old_wire.rule(|way, chunk| {
        let text = String::from_utf8_lossy(chunk);
        match (way, text.find("[HIGHESTMODSEQ ")) {
            (Way::ToProxy, Some(at)) => {
                let end = text[at..].find(']').expect("its end") + at;
                Fate::Instead(format!("{}[NOMODSEQ{}", &text[..at], &text[end..]).into_bytes())
            }
            _ => Fate::Pass,
        }
    });
    let (capabilities, _) = offered_after_use(&world);
    assert!(
        !capabilities.iter().any(|name| name == "CONDSTORE" || name == "QRESYNC"),
        "{capabilities:?}"
    );
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert_eq!(client.ok("FETCH 1:* (FLAGS)").fetched().len(), 6);
    // It is remembered, though the server goes on offering it.
    world.old_wire.release();
    world.proxy.kill9();
    world.proxy.restart();
    let capabilities = offered(&world);
    assert!(!capabilities.iter().any(|name| name == "CONDSTORE"), "{capabilities:?}");
}

/// And one whose FETCH tells none.
#[test]
fn v10_condstore_is_offered_no_more_where_fetch_tells_no_modseq() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    world.old_wire.rule(|way, chunk| match way {
        Way::ToProxy => Fate::Instead(without_mod_seqs(chunk)),
        Way::ToServer => Fate::Pass,
    });
    let (before, after) = offered_after_use(&world);
    assert!(before.iter().any(|name| name == "CONDSTORE"), "{before:?}");
    assert!(!after.iter().any(|name| name == "CONDSTORE" || name == "QRESYNC"), "{after:?}");
}

#[test]
fn v10_a_quirk_that_is_configured_is_heeded_from_the_first() {
    let world = World::new()
        .set("new.quirks", "[\"no-modseq\"]")
        .seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let (before, after) = offered_after_use(&world);
    assert!(!before.iter().chain(&after).any(|name| name == "CONDSTORE"), "{before:?}");
}

/// A server that forgets all but the first of the commands that come together.
fn one_at_a_time(world: &World) {
    world.old_wire.rule(|way, chunk| match (way, memchr::memmem::find(chunk, b"\r\n")) {
        (Way::ToServer, Some(end)) if end + 2 < chunk.len() => {
            Fate::Instead(chunk[..end + 2].to_vec())
        }
        _ => Fate::Pass,
    });
}

fn of_many_folders(quirks: &str) -> World {
    World::new()
        .wired()
        .set("old.quirks", quirks)
        .set("limits.backend_command_timeout", "\"2s\"")
        .seeded(|old, _| {
            for n in 0..20 {
                old.seed(&format!("F{n}"), &mails(n..n + 2));
            }
        })
}

const MANY: &str = "LIST \"\" \"INBOX.F*\" RETURN (STATUS (MESSAGES UNSEEN))";

#[test]
fn a_server_that_takes_one_command_at_a_time_is_given_one_at_a_time() {
    let world = of_many_folders("[\"one-at-a-time\"]");
    one_at_a_time(&world);
    let mut client = world.proxy.client();
    let begun = std::time::Instant::now();
    assert_eq!(client.ok(MANY).statuses().len(), 20);
    assert!(everything(&mut client, "INBOX.F7").len() == 2);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "nothing was waited for in vain");
}

#[test]
fn that_a_server_takes_one_command_at_a_time_is_found_out() {
    let world = of_many_folders("[]");
    let mut client = world.proxy.client();
    one_at_a_time(&world);
    client.cmd(MANY);
    lab::eventually("it is found out", || {
        let begun = std::time::Instant::now();
        let reply = client.cmd(MANY);
        (reply.status == "OK" && reply.statuses().len() == 20 && begun.elapsed().as_secs() < 2)
            .then_some(())
    });
    assert!(world.proxy.log().contains("one-at-a-time"));
}

/// A server whose capabilities change while somebody is logged in, and that says so unasked.
#[test]
fn v10_a_capability_that_is_told_later_counts_from_then_on() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    world.proxy.client().ok("SELECT INBOX");
    let capabilities = offered(&world);
    assert!(capabilities.iter().any(|name| name == "CONDSTORE"), "{capabilities:?}");
    world.old_wire.rule(|way, chunk| match way {
        Way::ToProxy if has(chunk, " OK NOOP completed") => {
            let told = b"* CAPABILITY IMAP4rev1 UIDPLUS IDLE NAMESPACE\r\n";
            Fate::Instead([told, chunk].concat())
        }
        _ => Fate::Pass,
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("NOOP");
    let capabilities = offered(&world);
    assert!(!capabilities.iter().any(|name| name == "CONDSTORE"), "{capabilities:?}");
    assert_eq!(uids(&mut client).len(), 5);
}

/// Sequence numbers in FETCH that are not those of the mailbox: only UIDs are believed.
#[test]
fn v3_wrong_sequence_numbers_of_a_server_reach_nobody() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    world.old_wire.rule(|way, chunk| {
        let text = String::from_utf8_lossy(chunk).into_owned();
        if way == Way::ToServer || !text.contains(" FETCH (UID ") {
            return Fate::Pass;
        }
        let mut text = text;
        for n in 1..=5 {
            text = text.replace(&format!("* {n} FETCH (UID "), &format!("* {} FETCH (UID ", 9 - n));
        }
        Fate::Instead(text.into_bytes())
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let fetched = client.ok("FETCH 1:* (UID FLAGS BODY.PEEK[])").fetched();
    let seen: Vec<(u32, bool)> =
        fetched.iter().map(|m| (m.seq, m.body() == lab::small(m.uid - 1))).collect();
    assert_eq!(seen, [(1, true), (2, true), (3, true), (4, true), (5, true)]);
    client.ok("STORE 2 +FLAGS (\\Flagged)");
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    assert!(direct.ok("UID SEARCH FLAGGED").found().contains(&2));
}

/// Cyrus' SEARCH does not find what another connection expunged, though it has not yet said so to this one: the
/// numbers behind it are not those of the result.
#[test]
fn v3_a_message_that_goes_while_it_is_listed_takes_no_other_with_it() {
    let world = World::new()
        .old(Cyrus::styled(true, true))
        .wired()
        .seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 5);
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    client.idle();
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.old_wire.rule(|way, chunk| match way {
        Way::ToServer if has(chunk, "UID SEARCH") || has(chunk, " FETCH 6:*") => Fate::Hold,
        _ => Fate::Pass,
    });
    for n in [10, 11, 12] {
        direct.append("INBOX", "", &lab::small(n));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    direct.ok("UID STORE 6 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    // Nobody was told of this one: a listing with it and without the one before is as long as it should be.
    direct.append("INBOX", "", &lab::small(13));
    world.old_wire.release();
    let expect = |client: &mut Dialogue, all: &[u32]| {
        lab::eventually("all are seen", || {
            client.ok("NOOP");
            (client.ok("UID SEARCH ALL").found() == all).then_some(())
        });
    };
    client.done();
    expect(&mut client, &[1, 2, 3, 4, 5, 7, 8, 9]);
    direct.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    expect(&mut client, &[1, 3, 4, 5, 7, 8, 9]);
    direct.ok("UID STORE 7 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    expect(&mut client, &[1, 3, 4, 5, 8, 9]);
    assert!(!world.proxy.log().contains("cannot be found"));
}

/// Cyrus' SEARCH passes over what is gone and was not said to be, and finds what was not announced: as many as
/// there should be, with other numbers. Only the server itself can say which arrival has which.
#[test]
fn v3_an_arrival_has_the_number_that_the_server_gives_it() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 5);
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    // As if 6 were gone, and 7 were there already.
    world.old_wire.rule(|way, chunk| match way {
        Way::ToProxy => instead(chunk, "UID ALL 6\r\n", "UID ALL 7\r\n"),
        Way::ToServer => Fate::Pass,
    });
    client.idle();
    direct.append("INBOX", "", &lab::small(10));
    client.wait_for(|r| r == "* 6 EXISTS");
    world.old_wire.release();
    direct.append("INBOX", "", &lab::small(11));
    direct.ok("UID STORE 6 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    client.wait_for(|r| r == "* 6 EXPUNGE");
    client.done();
    client.ok("NOOP");
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1, 2, 3, 4, 5, 7]);
    assert_eq!(everything(&mut client, "INBOX")[5].octets, lab::small(11));
}

/// Zimbra does not say `[CLOSED]` where one mailbox ends and the next begins (RFC 7162 §3.2.11).
#[test]
fn what_is_said_before_a_select_is_answered_is_no_news_of_the_mailbox_that_is_selected() {
    // Fewer connections than mailboxes: some are selected again and again.
    let world = World::new().wired().set("limits.connections_per_account", "2");
    let world = world.seeded(|old, _| {
        old.seed("INBOX", &mails(0..5));
        old.seed("Work", &mails(10..15));
        old.seed("Other", &mails(20..21));
    });
    let mut reading = world.proxy.client();
    reading.ok("SELECT INBOX.Work");
    reading.ok("FETCH 1:* (FLAGS)");
    // As if it were of the mailbox that was selected until then.
    let mut selects = false;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    world.old_wire.rule_of_each(move |_, way, chunk| match way {
        Way::ToServer => {
            selects |= has(chunk, " SELECT \"INBOX.Work\"");
            Fate::Pass
        }
        Way::ToProxy if std::mem::take(&mut selects) => {
            counted.fetch_add(1, Ordering::Relaxed);
            let news = b"* 2 FETCH (UID 2 FLAGS (\\Deleted))\r\n* 9 EXISTS\r\n* 3 EXPUNGE\r\n";
            Fate::Instead([news, chunk].concat())
        }
        Way::ToProxy => Fate::Pass,
    });
    let mut other = world.proxy.client();
    lab::eventually("it is selected once more", || {
        for mailbox in ["INBOX", "INBOX.Other"] {
            other.ok(&format!("SELECT {mailbox}"));
            other.ok("FETCH 1:* (FLAGS)");
        }
        assert_eq!(other.ok("SELECT INBOX.Work").count("EXISTS"), Some(5));
        (count.load(Ordering::Relaxed) > 0).then_some(())
    });
    let told = reading.ok("NOOP").lines();
    assert!(!told.iter().any(|line| line.contains("Deleted")), "{told:?}");
    assert_eq!(reading.ok("UID SEARCH ALL").found().len(), 5);
}

/// Courier keeps the UIDVALIDITY of a folder only once somebody has opened it by SELECT.
#[test]
fn v1_no_server_is_told_to_examine() {
    let world =
        World::new().old(Courier::plain()).wired().seeded(|old, _| old.seed("Work", &mails(0..3)));
    let examined = Arc::new(AtomicUsize::new(0));
    for wire in [&world.old_wire, &world.new_wire] {
        let examined = Arc::clone(&examined);
        wire.rule(move |way, chunk| {
            let seen = usize::from(way == Way::ToServer && has(chunk, " EXAMINE "));
            examined.fetch_add(seen, Ordering::Relaxed);
            Fate::Pass
        });
    }
    let told = world.proxy.client().ok("EXAMINE INBOX.Work").number("UIDVALIDITY");
    assert_eq!(examined.load(Ordering::Relaxed), 0);
    assert_eq!(world.old.client().ok("SELECT INBOX.Work").number("UIDVALIDITY"), told);
}

/// Zimbra's HEADER and TEXT are not what its BODY[] is made of.
#[test]
fn v5_what_is_copied_is_the_message_and_not_its_parts() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut parts = false;
    world.old_wire.rule(move |way, chunk| match way {
        Way::ToServer => {
            parts = has(chunk, "BODY.PEEK[HEADER]") || has(chunk, "BODY.PEEK[TEXT]");
            Fate::Pass
        }
        Way::ToProxy if parts => {
            Fate::Instead(String::from_utf8_lossy(chunk).replace("Subject", "sUBJECT").into())
        }
        Way::ToProxy => Fate::Pass,
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let header = client.ok("FETCH 1 (BODY.PEEK[HEADER])").lines().concat();
    assert!(header.contains("sUBJECT"), "{header}");
    client.ok("FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[TEXT])");
    let copied = lab::eventually_holds(&mut world.new.client(), "INBOX", 5);
    let expected: Vec<Vec<u8>> = (0..5).map(lab::small).collect();
    assert_eq!(in_order(copied), in_order_of(expected));
}

/// OVH's Exchange said 19189 where it gave 6298 octets. A size that is wrong keeps nothing from being copied, and
/// nothing from being found the same.
#[test]
fn v5_a_size_that_is_not_that_of_the_message_is_not_believed() {
    let old_lies = |world: &World| lie(&world.old_wire);
    let new_lies = |world: &World| lie(&world.new_wire);
    for (who, lies) in [("old", &old_lies as &dyn Fn(&World)), ("new", &new_lies)] {
        let world = World::unattended(Dovecot::old_style(), Dovecot::new_style())
            .wired()
            .seeded(|old, _| old.seed("INBOX", &mails(0..5)));
        lies(&world);
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        assert_eq!(client.ok("FETCH 1:* (BODY.PEEK[])").fetched().len(), 5);
        let copied = lab::eventually_holds(&mut world.new.client(), "INBOX", 5);
        assert_eq!(in_order(copied), in_order_of((0..5).map(lab::small).collect()), "{who}");
        lab::eventually("verify finds them the same", || {
            let verified = world.proxy.run(&["verify", "ann@example.com"]);
            verified.status.success().then_some(())
        });
        assert!(!world.proxy.log().contains("stuck:"), "{who}: {}", world.proxy.log());
    }
}

/// Has a server tell sizes that are a thousand times too large.
fn lie(wire: &Relay) {
    wire.rule(|way, chunk| {
        let text = String::from_utf8_lossy(chunk);
        let Some(_) = text.find("RFC822.SIZE ").filter(|_| way == Way::ToProxy) else {
            return Fate::Pass;
        };
        let mut lies = String::new();
        for (n, part) in text.split("RFC822.SIZE ").enumerate() {
            if n > 0 {
                lies.push_str("RFC822.SIZE ");
            }
            let digits = part.chars().take_while(char::is_ascii_digit).count();
            let (size, rest) = part.split_at(if n > 0 { digits } else { 0 });
            lies.push_str(size);
            lies.push_str(if digits > 0 && n > 0 { "000" } else { "" });
            lies.push_str(rest);
        }
        Fate::Instead(lies.into_bytes())
    });
}

fn in_order(seen: Vec<Seen>) -> Vec<Vec<u8>> {
    in_order_of(seen.into_iter().map(|message| message.octets).collect())
}

fn in_order_of(mut octets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    octets.sort();
    octets
}
