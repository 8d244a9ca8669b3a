//! COPY and MOVE wherever the message and the target lie.

mod lab;

use lab::{
    Courier, Cyrus, Dialogue, Dovecot, Fate, Relay, Seen, Shape, Way, World, eventually,
    eventually_holds, everything, has, mails, quoted, sorted,
};

fn world() -> World {
    World::new().old(Dovecot::old_style()).seeded(|old, new| {
        old.seed("INBOX", &mails(0..8));
        new.seed("INBOX", &mails(50..54));
        old.seed("Old Only", &mails(20..22));
        new.seed("New Only", &mails(30..32));
    })
}

#[test]
fn copy_to_either_side_says_where_the_copies_are() {
    let world = world();
    let mut client = world.proxy.client();
    for target in ["INBOX.Old Only", "INBOX.New Only", "INBOX.Trash"] {
        client.ok("SELECT INBOX");
        let uids = client.ok("UID SEARCH ALL").found();
        let wanted = [uids[1], uids[2], uids[10]];
        let set = wanted.map(|u| u.to_string()).join(",");
        let before = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let copied = client.ok(&format!("UID COPY {set} {}", quoted(target)));
        let (validity, from, to) = copied.copied();
        assert_eq!(from, wanted, "{target}");
        let selected = client.ok(&format!("SELECT {}", quoted(target)));
        assert_eq!(selected.number("UIDVALIDITY"), u64::from(validity), "{target}");
        let there = everything(&mut client, target);
        for (from, to) in from.iter().zip(&to) {
            let original = before.iter().find(|m| m.uid == *from).expect("original");
            let copy = there.iter().find(|m| m.uid == *to).expect("copy");
            assert_eq!(copy.clone().anywhere(), original.clone().anywhere(), "{target}");
        }
        assert_eq!(everything(&mut client, "INBOX").len(), 12, "{target}");
    }
}

/// As one server has it, also where the copies are made in a mailbox of which the connections hear.
#[test]
fn copies_come_in_the_order_of_their_messages_whichever_side_they_lie_on() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..6)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1,4 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 2);
    eventually("nothing is under way", || {
        let told = world.proxy.log().matches("carried to new").count();
        (told > 0 && client.ok("SEARCH ALL").found().len() == 6).then_some(())
    });
    let copied = client.ok("COPY 1:5 INBOX");
    assert!(copied.copied().2.is_sorted(), "{copied:?}");
    let all = everything(&mut client, "INBOX");
    let octets = |range: std::ops::Range<usize>| -> Vec<_> {
        all[range].iter().map(|seen| seen.octets.clone()).collect()
    };
    assert_eq!(octets(6..11), octets(0..5));
}

#[test]
fn move_takes_away_here_and_puts_there_once() {
    let world = world();
    let mut client = world.proxy.client();
    let mut expected = Vec::new();
    for (target, left) in [("INBOX.New Only", 9), ("INBOX.Old Only", 6), ("INBOX.Trash", 3)] {
        let before = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let last = before.len() - 1;
        let chosen = [&before[0], &before[1], &before[last]];
        let set = chosen.map(|m| m.uid.to_string()).join(",");
        let moved = client.ok(&format!("UID MOVE {set} {}", quoted(target)));
        assert_eq!(moved.expunged().len(), 3, "{target}: {moved:?}");
        assert_eq!(moved.copied().1, chosen.map(|m| m.uid), "{target}");
        expected.push((target, chosen.map(|m| m.clone()).to_vec()));
        assert_eq!(client.ok("UID SEARCH ALL").found().len(), left, "{target}");
    }
    for (target, messages) in expected {
        let there = sorted(everything(&mut client, target));
        for message in sorted(messages) {
            assert_eq!(there.iter().filter(|m| **m == message).count(), 1, "{target}: {message:?}");
        }
    }
    client.ok("SELECT INBOX");
    client.ok("MOVE 1 \"INBOX.New Only\"");
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 2);
}

#[test]
fn to_a_folder_that_is_not_there_is_answered_trycreate() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    for command in ["COPY 1,9 INBOX.Nowhere", "MOVE 1,9 INBOX.Nowhere"] {
        let refused = client.no(command);
        assert!(refused.code("TRYCREATE").is_some(), "{command}: {refused:?}");
    }
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 12);
}

/// What becomes of the second half of a MOVE, which a server without MOVE is told of in two commands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    Refused,
    CutBefore,
    CutAfter,
}

/// Has a command with these words meet a fault once.
fn meet(wire: &Relay, words: &'static str, fault: Fault) {
    let mut tag: Option<String> = None;
    let mut met = false;
    wire.rule(move |way, chunk| {
        if way == Way::ToServer && !met && has(chunk, words) {
            met = true;
            let text = String::from_utf8_lossy(chunk);
            let named = text.split(' ').next().expect("a tag").to_owned();
            tag = Some(named.clone());
            return match fault {
                Fault::CutBefore => Fate::Cut(Vec::new()),
                Fault::CutAfter => Fate::Pass,
                Fault::Refused => Fate::Instead(format!("{named} NOOP\r\n").into_bytes()),
            };
        }
        let Some(named) = &tag else { return Fate::Pass };
        if way == Way::ToServer || !has(chunk, &format!("{named} OK")) {
            return Fate::Pass;
        }
        let refusal = format!("{named} NO injected\r\n");
        tag = None;
        match fault {
            Fault::Refused => Fate::Instead(refusal.into_bytes()),
            _ => Fate::Cut(Vec::new()),
        }
    });
}

/// A server that has no MOVE copies first, and then removes. Whatever happens in between, a message lies in one of
/// the two mailboxes, and is not left marked as deleted (RFC 6851 §3.3).
#[test]
fn v3_a_move_that_meets_a_fault_halfway_is_done_or_not() {
    let world = World::new().old(Courier::plain()).wired().set("copy.on_access", "false").seeded(
        |old, _| {
            old.seed("INBOX", &mails(0..8));
            old.seed("Work", &mails(20..22));
        },
    );
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    let mut all = everything(&mut client, "INBOX");
    all.extend(everything(&mut client, &work));
    let all = octets(&all);
    for words in ["+FLAGS.SILENT (\\Deleted)", "EXPUNGE"] {
        for fault in [Fault::Refused, Fault::CutBefore, Fault::CutAfter] {
            let what = format!("{fault:?} at {words}");
            client.ok("SELECT INBOX");
            let uid = client.ok("UID SEARCH ALL").found()[0];
            meet(&world.old_wire, words, fault);
            let reply = client.cmd(&format!("UID MOVE {uid} {}", quoted(&work)));
            world.old_wire.release();
            let expected = if fault == Fault::Refused { "NO" } else { "OK" };
            assert_eq!(reply.status, expected, "{what}: {reply:?}");
            let stays = client.ok("UID SEARCH ALL").found().contains(&uid);
            assert_eq!(stays, fault == Fault::Refused, "{what}");
            assert_eq!(client.ok("UID SEARCH DELETED").found(), [0; 0], "{what}");
            for side in [&mut world.proxy.client(), &mut world.old.client()] {
                let mut seen = everything(side, "INBOX");
                seen.extend(everything(side, &work));
                assert!(octets(&seen) == all, "{what}: each is there once: {seen:#?}");
            }
        }
    }
}

fn octets(seen: &[Seen]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = seen.iter().map(|m| m.octets.clone()).collect();
    all.sort();
    all
}

/// The proxy dies within a MOVE that is a copy and a removal: it is ended when somebody comes again, if the copy was
/// made, and it never happened otherwise.
#[test]
fn v3_v5_killed_within_a_move_a_message_is_in_one_mailbox() {
    for new in [Shape::from(Dovecot::new_style()), Cyrus::styled(true, true).into()] {
        let mut world =
            World::new().old(Courier::plain()).new(new).set("copy.on_access", "false").seeded(
                |old, _| {
                    old.seed("INBOX", &mails(0..9));
                    old.seed("Work", &mails(20..22));
                },
            );
        let work = world.old.name("Work");
        let (user, password) = world.old.account();
        let login = format!("LOGIN {} {}", quoted(user), quoted(password));
        let mut client = world.proxy.client();
        let mut all = everything(&mut client, "INBOX");
        all.extend(everything(&mut client, &work));
        let all = octets(&all);
        for (step, is_done) in
            [("move: it is noted", false), ("move: the messages are copied", true)]
        {
            let mut client = world.proxy.client();
            client.ok("SELECT INBOX");
            let moved = client.ok("UID SEARCH ALL").found()[..3].to_vec();
            world.proxy.kill9();
            world.proxy.restart_to_die_at(&format!("{step}=return"));
            let mut client = Dialogue::connect(world.proxy.port);
            client.ok(&login);
            client.ok("SELECT INBOX");
            let set = moved.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            let reply = client.cmd_unless_gone(format!("UID MOVE {set} {work}").as_bytes());
            assert!(reply.is_none(), "{step}: it did not die: {reply:?}");
            world.proxy.kill9();
            world.proxy.restart();
            let mut client = world.proxy.client();
            eventually("each is in one mailbox", || {
                client.ok("SELECT INBOX");
                let left = client.ok("UID SEARCH ALL").found();
                (left.iter().any(|uid| moved.contains(uid)) != is_done).then_some(())
            });
            for side in [&mut client, &mut world.old.client()] {
                let mut seen = everything(side, "INBOX");
                seen.extend(everything(side, &work));
                assert!(octets(&seen) == all, "{step}: {seen:#?}");
                assert!(seen.iter().all(|m| !m.flags.contains("\\Deleted")), "{step}");
            }
        }
    }
}

/// The connection ends over a COPY that the server does later, after it was looked for.
#[test]
fn v3_v5_the_copy_of_a_move_comes_late_and_its_message_is_in_one_mailbox() {
    let settings = World::new().old(Courier::plain()).wired().set("copy.on_access", "false");
    let world = settings.set("copy.grace", "\"60s\"").seeded(|old, _| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Work", &mails(20..22));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    let all = octets(&[everything(&mut client, "INBOX"), everything(&mut client, &work)].concat());
    client.ok("SELECT INBOX");
    let moved = client.ok("UID SEARCH ALL").found()[..2].to_vec();
    world.old_wire.rule(|way, chunk| match way == Way::ToServer && has(chunk, "UID COPY") {
        true => Fate::Cut(Vec::new()),
        false => Fate::Pass,
    });
    let set = moved.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let reply = client.cmd(&format!("UID MOVE {set} {work}"));
    world.old_wire.release();
    assert_eq!(reply.status, "NO", "{reply:?}");
    let looks = || world.proxy.log().matches("no copy is there").count();
    eventually("it was looked for", || (looks() > 0).then_some(()));
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    direct.ok(&format!("UID COPY {} {work}", moved[0]));
    direct.ok(&format!("UID COPY {} {work}", moved[1]));
    eventually("each is in one mailbox", || {
        client.ok("SELECT INBOX");
        let left = client.ok("UID SEARCH ALL").found();
        (!left.iter().any(|uid| moved.contains(uid))).then_some(())
    });
    for side in [&mut client, &mut world.old.client()] {
        let seen = [everything(side, "INBOX"), everything(side, &work)].concat();
        assert!(octets(&seen) == all, "{seen:#?}");
    }
}

/// A MOVE of which the COPY was done, and the answer lost; its client does it again at once, in either way.
#[test]
fn v3_v5_a_move_that_broke_off_and_is_done_again_leaves_a_message_in_one_mailbox_once() {
    let settings = World::new().old(Courier::plain()).wired().set("copy.on_access", "false");
    let world = settings.set("copy.grace", "\"60s\"").seeded(|old, _| {
        old.seed("INBOX", &mails(0..9));
        old.seed("Work", &mails(20..22));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    let all = octets(&[everything(&mut client, "INBOX"), everything(&mut client, &work)].concat());
    for way in ["move", "copy and expunge", "move", "copy and expunge"] {
        client.ok("SELECT INBOX");
        let uid = client.ok("UID SEARCH ALL").found()[0];
        meet(&world.old_wire, "UID COPY", Fault::CutAfter);
        let reply = client.cmd(&format!("UID MOVE {uid} {work}"));
        assert_eq!(reply.status, "NO", "{way}: {reply:?}");
        world.old_wire.release();
        match way {
            "move" => drop(client.cmd(&format!("UID MOVE {uid} {work}"))),
            _ => {
                client.cmd(&format!("UID COPY {uid} {work}"));
                client.cmd(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
                client.cmd(&format!("UID EXPUNGE {uid}"));
            }
        }
        eventually("it is not in INBOX any more", || {
            client.ok("SELECT INBOX");
            (!client.ok("UID SEARCH ALL").found().contains(&uid)).then_some(())
        });
        for side in [&mut world.proxy.client(), &mut world.old.client()] {
            let seen = [everything(side, "INBOX"), everything(side, &work)].concat();
            assert!(octets(&seen) == all, "{way}: each is there once: {seen:#?}");
        }
    }
}

/// A MOVE broke off before anything was done. What its client, or another one, copies afterwards is no sign of it:
/// neither the same message, which is to be in both mailboxes now, nor an equal one.
#[test]
fn v6_the_copy_of_another_command_does_not_end_a_move_that_broke_off() {
    let settings = World::new().old(Courier::plain()).wired().set("copy.on_access", "false");
    let world = settings.set("copy.grace", "\"60s\"").seeded(|old, _| {
        let mut inbox = mails(0..6);
        inbox.insert(1, inbox[0].clone());
        old.seed("INBOX", &inbox);
        old.seed("Work", &mails(20..22));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let uids = client.ok("UID SEARCH ALL").found();
    let breaks_off = |uid: u32, client: &mut Dialogue| {
        world.old_wire.rule(|way, chunk| match way == Way::ToServer && has(chunk, "UID COPY") {
            true => Fate::Cut(Vec::new()),
            false => Fate::Pass,
        });
        let reply = client.cmd(&format!("UID MOVE {uid} {work}"));
        world.old_wire.release();
        assert_eq!(reply.status, "NO", "{reply:?}");
    };
    // An equal one is moved, then another one is copied, and stays.
    breaks_off(uids[0], &mut client);
    client.ok(&format!("UID MOVE {} {work}", uids[1]));
    breaks_off(uids[2], &mut client);
    client.ok(&format!("UID COPY {} {work}", uids[2]));
    // All that is undecided is looked at together.
    breaks_off(uids[3], &mut client);
    let looks = || world.proxy.log().matches("no copy is there").count();
    let before = looks();
    eventually("it was looked for", || (looks() > before + 3).then_some(()));
    client.ok("SELECT INBOX");
    let left = client.ok("UID SEARCH ALL").found();
    assert_eq!(left, [&uids[..1], &uids[2..]].concat(), "only what was moved has gone");
    assert_eq!(everything(&mut world.old.client(), &work).len(), 4);
}
