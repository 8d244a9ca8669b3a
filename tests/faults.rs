//! Servers that cut, stall and refuse: copies stay exactly-once (V5), reading goes on (V7), nothing is lost.

mod lab;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use lab::{
    Dovecot, Fate, Mail, Way, World, eventually, eventually_holds, everything, has, large, mails,
    sorted, view,
};

fn world() -> World {
    World::new().wired().seeded(|old, _| {
        let mut inbox = mails(0..12);
        inbox.push(Mail::of(large(12, 400_000)).flags(&["\\Flagged", "$Forwarded"]));
        old.seed("INBOX", &inbox);
    })
}

/// All on new once and as they are on old; the view as it was.
#[track_caller]
fn settled(world: &World, what: &str) {
    let originals = everything(&mut world.old.client(), "INBOX");
    let mut new = world.new.client();
    eventually_holds(&mut new, "INBOX", originals.len());
    // Longer than the grace in which a late copy is looked for.
    std::thread::sleep(Duration::from_secs(3));
    let there = everything(&mut new, "INBOX");
    assert!(view::copies(&there).values().all(|n| *n == 1), "{what}: none twice: {there:#?}");
    assert_eq!(sorted(there), sorted(originals.clone()), "{what}");
    assert_eq!(
        everything(&mut world.proxy.client(), "INBOX"),
        originals,
        "{what}: through the proxy"
    );
}

/// Opens all, and again those that an outage left uncopied.
fn open_all(world: &World) {
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (UID BODY.PEEK[])");
}

#[test]
fn v5_the_wire_to_new_is_cut_at_every_step_of_an_append() {
    let steps: [(&str, Way, &str); 4] = [
        ("before the command", Way::ToServer, "APPEND"),
        ("inside the message", Way::ToServer, "Message-ID: <5.lab"),
        ("inside a large message", Way::ToServer, "000000002000"),
        ("before the answer", Way::ToProxy, "APPENDUID"),
    ];
    let world = world();
    let cuts = Arc::new(AtomicUsize::new(0));
    for (name, way, sign) in steps {
        let (sign, count) = (sign.to_owned(), Arc::clone(&cuts));
        let before = cuts.load(Ordering::Relaxed);
        world.new_wire.rule(move |w, chunk| {
            if w == way && count.load(Ordering::Relaxed) < before + 2 && has(chunk, &sign) {
                count.fetch_add(1, Ordering::Relaxed);
                return Fate::Cut(Vec::new());
            }
            Fate::Pass
        });
        open_all(&world);
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 13, "{name}");
    }
    assert!(cuts.load(Ordering::Relaxed) > 0, "the wire was cut");
    world.new_wire.release();
    open_all(&world);
    settled(&world, "after all cuts");
}

#[test]
fn v5_the_proxy_is_killed_at_every_step_of_an_append() {
    let steps: [(&str, Way, &str, bool); 4] = [
        ("as the command goes out", Way::ToServer, "APPEND", true),
        ("inside a message", Way::ToServer, "000000002000", true),
        ("before the answer arrives", Way::ToProxy, "APPENDUID", false),
        ("as the answer arrives", Way::ToProxy, "APPENDUID", true),
    ];
    let mut world = world();
    let mut kills = 0;
    for (n, (_, way, sign, passes)) in (20..).zip(steps) {
        // What the steps before began may be on new whole by now.
        world.old.deliver("INBOX", &Mail::of(large(n, 400_000)));
        let (tell, told) = mpsc::channel();
        let sign = sign.to_owned();
        world.new_wire.rule(move |w, chunk| {
            if w == way && has(chunk, &sign) && tell.send(()).is_ok() {
                return if passes { Fate::Pass } else { Fate::Hold };
            }
            Fate::Pass
        });
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        client.send("x FETCH 1:* (UID BODY.PEEK[])");
        if told.recv_timeout(Duration::from_secs(4)).is_ok() {
            kills += 1;
        }
        world.proxy.kill9();
        world.new_wire.release();
        world.proxy.restart();
    }
    assert_eq!(kills, 4, "it was killed at each step");
    open_all(&world);
    settled(&world, "after all kills");
}

#[test]
fn v7_a_new_server_that_stalls_does_not_delay_the_reader() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    world.new_wire.rule(|_, _| Fate::Hold);
    let before = Instant::now();
    assert_eq!(client.ok("FETCH 1:13 (UID BODY.PEEK[])").fetched().len(), 13);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    world.new_wire.release();
    open_all(&world);
    settled(&world, "after the stall");
}

#[test]
fn v7_a_write_that_hangs_holds_up_no_other_while_messages_are_copied() {
    let world = world();
    let mut clients = [0, 1, 2].map(|_| world.proxy.client());
    clients.iter_mut().for_each(|client| drop(client.ok("SELECT INBOX")));
    let [hanging, reader, writer] = &mut clients;
    world.old_wire.rule(|way, chunk| match way == Way::ToServer && has(chunk, "$Hanging") {
        true => Fate::Hold,
        false => Fate::Pass,
    });
    hanging.send("h STORE 1 +FLAGS ($Hanging)");
    std::thread::sleep(Duration::from_millis(300));
    // Its copy ends with a step that no write may disturb.
    reader.ok("FETCH 2 (BODY.PEEK[])");
    std::thread::sleep(Duration::from_millis(700));
    writer.patience = Duration::from_secs(10);
    writer.ok("STORE 3 +FLAGS (\\Flagged)");
    world.old_wire.release();
    assert_eq!(hanging.until("h").status, "OK");
    eventually_holds(&mut world.new.client(), "INBOX", 1);
}

#[test]
fn v7_a_message_cut_on_its_way_from_old_is_never_shown_short() {
    let world = world();
    let whole = large(12, 400_000);
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let once = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&once);
    world.old_wire.rule(move |way, chunk| {
        if way == Way::ToProxy
            && has(chunk, "000000002000")
            && count.fetch_add(1, Ordering::Relaxed) == 0
        {
            return Fate::Cut(chunk[..chunk.len() / 2].to_vec());
        }
        Fate::Pass
    });
    client.send("x FETCH 13 (UID BODY.PEEK[])");
    // Either the proxy went on where it was, or the session ends inside the literal; never a short message.
    let mut heard = Vec::new();
    let until = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        assert!(Instant::now() < until, "the session hangs");
        match client.next_within(Duration::from_secs(20)) {
            Ok(Some(response)) if response.starts_with(b"x ") => break false,
            Ok(Some(response)) => heard.extend(lab::reply::fetched(&response)),
            Ok(None) => panic!("the session hangs"),
            Err(()) => break true,
        }
    };
    assert_eq!(once.load(Ordering::Relaxed), 1, "the wire was cut (ended: {ended})");
    assert!(heard.iter().all(|m| m.body() == whole), "no short message");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert!(client.ok("FETCH 13 (UID BODY.PEEK[])").fetched()[0].body() == whole);
    open_all(&world);
    settled(&world, "after the cut");
}

#[test]
fn v5_a_message_deleted_while_it_is_copied_does_not_come_back() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToServer && has(chunk, "APPEND") { Fate::Hold } else { Fate::Pass }
    });
    client.ok("FETCH 3 (UID BODY.PEEK[])");
    std::thread::sleep(Duration::from_millis(500));
    client.ok("STORE 3 +FLAGS.SILENT (\\Deleted)");
    let gone = client.ok("UID EXPUNGE 3").expunged();
    assert_eq!(gone, [3]);
    world.new_wire.release();
    eventually("no copy is left on new", || {
        std::thread::sleep(Duration::from_secs(2));
        everything(&mut world.new.client(), "INBOX").is_empty().then_some(())
    });
    client.ok("NOOP");
    let left: Vec<u32> = (1..=13).filter(|uid| *uid != 3).collect();
    assert_eq!(client.ok("UID SEARCH ALL").found(), left);
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 12);
}

#[test]
fn what_new_has_no_room_for_stays_readable_and_blocks_no_other() {
    let quota = "mail_plugins = quota\nplugin {\n  quota = count:User quota\n  quota_vsizes = yes\n  \
                 quota_rule = *:storage=200K\n  quota_grace = 0\n}";
    let world = World::new().new(Dovecot::new_style().setting(quota)).seeded(|old, _| {
        let mut inbox = vec![Mail::of(large(90, 500_000))];
        inbox.extend(mails(0..5));
        old.seed("INBOX", &inbox);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert_eq!(client.ok("FETCH 1:* (UID BODY.PEEK[])").fetched().len(), 6);
    let there = eventually_holds(&mut world.new.client(), "INBOX", 5);
    assert!(there.iter().all(|m| m.size < 10_000));
    assert!(client.ok("FETCH 1 (BODY.PEEK[])").fetched()[0].body() == large(90, 500_000));
    // A client's own APPEND is told the truth.
    let refused = client.literal("APPEND INBOX ", &large(91, 500_000), "");
    assert_eq!(refused.status, "NO", "{refused:?}");
    assert!(refused.code("OVERQUOTA").is_some(), "{refused:?}");
    assert_eq!(client.ok("UID SEARCH ALL").found(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_new_has_room_for_again_is_copied_without_being_opened_again() {
    let quota = "mail_plugins = quota\nplugin {\n  quota = count:User quota\n  quota_vsizes = yes\n  \
                 quota_rule = *:storage=600K\n  quota_grace = 0\n}";
    let world = World::new()
        .new(Dovecot::new_style().setting(quota))
        .set("copy.retry", "\"3s\"")
        .seeded(|old, new| {
            old.seed("INBOX", &[Mail::of(large(90, 400_000)), Mail::numbered(1)]);
            new.seed("Trash", &[Mail::of(large(91, 400_000))]);
        });
    let refusals = |world: &World| world.proxy.log().matches("stuck: ").count();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:* (BODY.PEEK[])");
    eventually("new refuses it", || (refusals(&world) == 1).then_some(()));
    for _ in 0..5 {
        client.ok("FETCH 1 (BODY.PEEK[])");
    }
    // The wait ends by itself, in vain.
    eventually("it is tried again", || (refusals(&world) == 2).then_some(()));
    client.ok("LOGOUT");

    let mut direct = world.new.client();
    direct.ok("SELECT Trash");
    direct.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    eventually_holds(&mut direct, "INBOX", 2);
    assert_eq!(refusals(&world), 2, "{}", world.proxy.log());
}

#[test]
fn v5_a_new_server_without_uidplus_gets_each_message_once() {
    let capabilities = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT SPECIAL-USE LIST-EXTENDED";
    let world = World::new()
        .wired()
        .new(Dovecot::new_style().capabilities(capabilities))
        .seeded(|old, _| old.seed("INBOX", &mails(0..13)));
    world.new_wire.rule(|way, chunk| {
        let text = String::from_utf8_lossy(chunk);
        match (way, text.find("[APPENDUID "), text.find("] Append")) {
            (Way::ToProxy, Some(from), Some(to)) if from < to && chunk.is_ascii() => {
                Fate::Instead([&chunk[..from], &chunk[to + 2..]].concat())
            }
            _ => Fate::Pass,
        }
    });
    open_all(&world);
    settled(&world, "without UIDPLUS");
}

#[test]
fn v3_a_folder_made_on_new_while_it_is_listed_does_not_go_again() {
    let world = World::new().wired().seeded(|old, _| {
        old.seed("INBOX", &mails(0..2));
        old.seed("Work", &mails(10..12));
    });
    let (mut lister, mut writer) = (world.proxy.client(), world.proxy.client());
    writer.ok("SELECT INBOX.Work");
    world.new_wire.rule(|way, chunk| {
        if way == Way::ToProxy && has(chunk, "* LIST") { Fate::Hold } else { Fate::Pass }
    });
    lister.send("l LIST \"\" *");
    std::thread::sleep(Duration::from_millis(300));
    let message = lab::small(50);
    let appending = format!("w APPEND INBOX.Work {{{}+}}\r\n", message.len());
    writer.raw(&[appending.as_bytes(), message.as_slice(), b"\r\n"].concat());
    std::thread::sleep(Duration::from_millis(700));
    world.new_wire.release();
    assert_eq!(lister.until("l").status, "OK");
    assert_eq!(writer.until("w").status, "OK");
    let mut client = world.proxy.client();
    assert_eq!(client.ok("SELECT INBOX.Work").count("EXISTS"), Some(3));
    assert_eq!(client.ok("FETCH 3 (UID BODY.PEEK[])").fetched()[0].body(), message);
}

#[test]
fn answers_that_overtake_each_other_leave_no_session_with_old_flags() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let (mut one, mut other) = (world.proxy.client(), world.proxy.client());
    one.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    let held = AtomicUsize::new(0);
    world.old_wire.rule(move |way, chunk| {
        let first = way == Way::ToProxy
            && has(chunk, "$one")
            && has(chunk, " FETCH (")
            && held.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Fate::Hold } else { Fate::Pass }
    });
    one.send("s STORE 2 +FLAGS ($one)");
    std::thread::sleep(Duration::from_millis(300));
    // On another connection, and answered before.
    let mut told = other.ok("STORE 2 +FLAGS ($other)").fetched();
    world.old_wire.release();
    assert_eq!(one.until("s").status, "OK");
    // A command that asks no server: only what was told meanwhile comes with it.
    told.extend(other.ok("ENABLE X-NOTHING").fetched());
    let last = told.last().expect("flags were told");
    assert!(last.has("$one") && last.has("$other"), "{last:?}");
}
