//! Flags over several connections to one server: whoever writes is seen by all, whichever connection they read over.

mod lab;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::{
    Courier, Cyrus, Dialogue, Dovecot, Fate, Relay, Shape, Way, World, eventually,
    eventually_holds, has, mails,
};

fn set(flags: &[&str]) -> BTreeSet<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

/// All that a client was told of one message's flags, in its order.
fn told(reply: &lab::Reply, seq: u32) -> Vec<BTreeSet<String>> {
    let of_it = reply.fetched().into_iter().filter(|m| m.seq == seq);
    of_it.filter_map(|m| m.flags).collect()
}

/// The flags of one message as the server itself has them.
fn on(server: &lab::Server, mailbox: &str, seq: u32) -> BTreeSet<String> {
    let mut direct = server.client();
    direct.ok(&format!("EXAMINE {mailbox}"));
    told(&direct.ok(&format!("FETCH {seq} (FLAGS)")), seq).pop().expect("FLAGS")
}

fn old_servers() -> Vec<(&'static str, Shape)> {
    vec![
        ("Dovecot", Dovecot::old_style().into()),
        ("Cyrus", Cyrus::styled(false, false).into()),
        ("Courier", Courier::plain().without_locks().into()),
    ]
}

/// Has a wire hold what goes this way with this word in it, and tells when it does.
fn held(wire: &Relay, there: Way, word: &'static str) -> Arc<AtomicBool> {
    let is_held = Arc::new(AtomicBool::new(false));
    let holds = Arc::clone(&is_held);
    wire.rule(move |way, chunk| {
        let hold = way == there && has(chunk, word);
        holds.fetch_or(hold, Ordering::Relaxed);
        if hold { Fate::Hold } else { Fate::Pass }
    });
    is_held
}

/// Flags are changed over one connection to old while another one is busy, so that this one has not heard of it;
/// the next command is sent over it.
fn behind(old: Shape) -> (World, Dialogue) {
    let world = World::new().old(old).wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    left_behind(world, &["STORE 1 +FLAGS (\\Flagged)"], |_| {})
}

fn left_behind(
    world: World,
    changes: &[&str],
    meanwhile: impl FnOnce(&World),
) -> (World, Dialogue) {
    let (mut busy, mut writer) = (world.proxy.client(), world.proxy.client());
    busy.ok("SELECT INBOX");
    writer.ok("SELECT INBOX");
    let is_held = held(&world.old_wire, Way::ToProxy, "BODY[HEADER]");
    busy.send("held FETCH 1:5 (BODY.PEEK[HEADER])");
    eventually("the first connection is busy", || is_held.load(Ordering::Relaxed).then_some(()));
    for change in changes {
        writer.ok(change);
    }
    meanwhile(&world);
    world.old_wire.release();
    assert_eq!(busy.until("held").status, "OK");
    (world, writer)
}

#[test]
fn v4_what_was_acknowledged_over_one_connection_is_read_over_any() {
    for (name, old) in old_servers() {
        let (world, mut writer) = behind(old);
        let reply = writer.ok("FETCH 1 (FLAGS)");
        let right = |flags: &BTreeSet<String>| *flags == set(&["\\Flagged"]);
        let told = told(&reply, 1);
        assert!(!told.is_empty() && told.iter().all(right), "{name}: {told:?}");
        drop(world);
    }
}

/// Courier computes the flags from those that the connection knows.
#[test]
fn v4_a_flag_that_is_added_over_one_connection_takes_away_none_that_was_added_over_another() {
    for (name, old) in old_servers() {
        let (world, mut writer) = behind(old);
        writer.ok("STORE 1 +FLAGS (\\Answered)");
        assert_eq!(on(&world.old, "INBOX", 1), set(&["\\Flagged", "\\Answered"]), "{name}");
    }
}

/// The same of keywords, which it keeps elsewhere: it writes down all of a message that the connection knows.
#[test]
fn v4_a_keyword_is_added_to_those_that_another_connection_left() {
    for (name, old) in old_servers() {
        let world = World::new().old(old).wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
        let before =
            ["STORE 1 FLAGS (Gone Kept)", "STORE 1 -FLAGS (Gone)", "STORE 1 +FLAGS (Added)"];
        let (world, mut writer) = left_behind(world, &before, |_| {});
        writer.ok("STORE 1 +FLAGS (Last)");
        assert_eq!(on(&world.old, "INBOX", 1), set(&["Kept", "Added", "Last"]), "{name}");
    }
}

#[test]
fn v4_copy_takes_the_flags_that_were_set_over_another_connection() {
    for (name, old) in old_servers() {
        let world = World::new().old(old).wired().seeded(|old, _| {
            old.seed("INBOX", &mails(0..5));
            old.seed("Other", &mails(10..11));
        });
        let (world, mut writer) = left_behind(world, &["STORE 1 FLAGS (\\Flagged Kept)"], |_| {});
        writer.ok("COPY 1 INBOX.Other");
        assert_eq!(on(&world.old, "INBOX.Other", 2), set(&["\\Flagged", "Kept"]), "{name}");
    }
}

/// Where the server's own count of a mailbox is of no use, because it counts copies with the rest.
#[test]
fn status_counts_flags_that_were_set_over_another_connection() {
    for (name, old) in old_servers() {
        let world = World::new().old(old).wired().set("auth.remember", "\"0s\"");
        let world = world.seeded(|old, _| old.seed("INBOX", &mails(0..5)));
        let mut opener = world.proxy.client();
        opener.ok("SELECT INBOX");
        opener.ok("FETCH 5 (BODY.PEEK[])");
        eventually_holds(&mut world.new.client(), "INBOX", 1);
        eventually("nothing is under way", || {
            world.proxy.log().contains("carried to new").then_some(())
        });
        let on_new = held(&world.new_wire, Way::ToProxy, "BODY[HEADER]");
        let changes = ["STORE 1:3 FLAGS (\\Deleted)", "STORE 1 +FLAGS (\\Seen)"];
        let (_world, mut writer) = left_behind(world, &changes, |world| {
            eventually("new is busy", || on_new.load(Ordering::Relaxed).then_some(()));
            // Both sides get a connection with nothing selected, which is the one to ask for STATUS.
            world.proxy.client().ok("LIST \"\" *");
            world.new_wire.release();
        });
        let told = writer.ok("STATUS INBOX (UNSEEN DELETED)").status_of("INBOX");
        let unseen = writer.ok("SEARCH UNSEEN").found().len() as u64;
        assert_eq!((told["UNSEEN"], told["DELETED"]), (unseen, 3), "{name}");
    }
}

#[test]
fn v5_a_copy_has_the_flags_that_were_set_over_another_connection() {
    for (name, old) in old_servers() {
        let (world, mut writer) = behind(old);
        writer.ok("FETCH 1 (BODY.PEEK[])");
        let mut direct = world.new.client();
        eventually_holds(&mut direct, "INBOX", 1);
        eventually("nothing is under way", || {
            world.proxy.log().contains("carried to new").then_some(())
        });
        assert_eq!(on(&world.new, "INBOX", 1), set(&["\\Flagged"]), "{name}");
    }
}

/// A server tells of a change beside the answer to a question about something else.
#[test]
fn flags_of_which_a_server_tells_beside_its_answer_are_told_to_all() {
    let cyrus = Shape::from(Cyrus::styled(true, true));
    for (name, new) in [("Dovecot", Dovecot::new_style().into()), ("Cyrus", cyrus)] {
        let world = World::new().new(new).wired().seeded(|old, new| {
            old.seed("INBOX", &mails(0..2));
            new.seed("INBOX", &mails(10..12));
        });
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        assert_eq!(client.ok("UID FETCH 1:* (FLAGS)").fetched().len(), 4);
        // Both servers are asked for headers, to put them in order here.
        let is_held = held(&world.new_wire, Way::ToServer, "HEADER.FIELDS");
        client.send("held SORT (SUBJECT) UTF-8 ALL");
        eventually("new is to be asked", || is_held.load(Ordering::Relaxed).then_some(()));
        let mut direct = world.new.client();
        direct.ok("SELECT INBOX");
        direct.ok("STORE 1 +FLAGS (\\Draft)");
        world.new_wire.release();
        let mut told_of = told(&client.until("held"), 3);
        told_of.extend(told(&client.ok("NOOP"), 3));
        assert_eq!(told_of.pop(), Some(on(&world.new, "INBOX", 1)), "{name}");
    }
}

/// Whichever connection hears of a change, and however it does, every session is told of it.
#[test]
fn flags_that_one_session_sees_changed_on_old_are_told_to_the_others() {
    for (name, old) in old_servers() {
        let world = World::new().old(old).set("copy.on_access", "false");
        let world = world.seeded(|old, _| old.seed("INBOX", &mails(0..5)));
        let (mut first, mut second) = (world.proxy.client(), world.proxy.client());
        for client in [&mut first, &mut second] {
            client.ok("SELECT INBOX");
            client.ok("UID FETCH 1:* (FLAGS)");
        }
        let mut direct = world.old.client();
        direct.ok("SELECT INBOX");
        for change in ["+", "-"] {
            direct.ok(&format!("STORE 2 {change}FLAGS (\\Draft)"));
            first.ok("FETCH 2 (FLAGS)");
            let flags = told(&second.ok("NOOP"), 2).pop();
            assert_eq!(flags, Some(on(&world.old, "INBOX", 2)), "{name}: {change}");
        }
    }
}

/// Before a keyword is used, FLAGS says that there is one (RFC 3501 §7.2.6).
#[test]
fn keywords_are_known_before_they_are_used() {
    for (name, old) in old_servers() {
        let world = World::new().old(old).seeded(|old, new| {
            old.seed("INBOX", &mails(0..3));
            new.seed("INBOX", &mails(10..12));
        });
        let (mut first, mut second) = (world.proxy.client(), world.proxy.client());
        first.ok("SELECT INBOX");
        second.ok("SELECT INBOX");
        let (mut on_old, mut on_new) = (world.old.client(), world.new.client());
        on_old.ok("SELECT INBOX");
        on_new.ok("SELECT INBOX");
        on_old.ok("STORE 1 +FLAGS (Fresh1)");
        on_new.ok("STORE 1 +FLAGS (Fresh2)");
        let known = |reply: &lab::Reply, keyword: &str| {
            let lines = reply.lines();
            let told = lines.iter().position(|l| l.starts_with("* FLAGS (") && l.contains(keyword));
            let used = lines.iter().position(|l| l.contains(" FETCH (") && l.contains(keyword));
            let used = used.unwrap_or_else(|| panic!("{name}: {keyword} is not used: {lines:#?}"));
            assert!(told.is_some_and(|told| told < used), "{name}: {keyword}: {lines:#?}");
        };
        // Asked for, told unasked, and set by oneself.
        // Courier tells a connection of what others change when it is asked for news.
        let reply = first.ok(if name == "Courier" { "NOOP" } else { "UID FETCH 1:* (FLAGS)" });
        known(&reply, "Fresh1");
        known(&reply, "Fresh2");
        let reply = second.ok("NOOP");
        known(&reply, "Fresh1");
        known(&reply, "Fresh2");
        known(&second.ok("STORE 2 +FLAGS (Fresh3)"), "Fresh3");
        known(&first.ok("NOOP"), "Fresh3");
    }
}

/// A session that asks for flags is told once, though others are told of them for the first time.
#[test]
fn flags_that_were_asked_for_are_not_told_again() {
    let world = World::new().seeded(|_, new| new.seed("INBOX", &mails(0..2)));
    let (mut first, mut second) = (world.proxy.client(), world.proxy.client());
    first.ok("SELECT INBOX");
    second.ok("SELECT INBOX");
    for n in 10..14 {
        first.append("INBOX", "(\\Seen Later)", &lab::small(n));
    }
    let reply = first.ok("FETCH 1:* (UID FLAGS)");
    let numbers: Vec<u32> = reply.fetched().iter().map(|m| m.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

/// RFC 3501 §6.4.5: the flags are in the answer if they have changed.
#[test]
fn a_fetch_that_sets_seen_tells_flags_where_that_is_a_change() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..1));
        new.seed("INBOX", &mails(10..11));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("STORE 1:2 -FLAGS.SILENT (\\Seen)");
    for seq in [1, 2] {
        let fetch = format!("FETCH {seq} (UID BODY[TEXT])");
        let flags = told(&client.ok(&fetch), seq);
        assert!(flags.len() == 1 && flags[0].contains("\\Seen"), "{flags:?}");
        assert_eq!(told(&client.ok(&fetch), seq), [] as [BTreeSet<String>; 0]);
    }
}
