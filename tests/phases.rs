//! An account's phases: which servers are contacted, what its clients see, and what a change does to them
//! (DESIGN §7, phase changes).

mod lab;

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use lab::{
    Courier, Cyrus, Dovecot, Fate, Mail, Proxy, Seen, Server, Shape, Way, World, eventually,
    everything, folder_names, mails, quoted, small, sorted,
};
use serde_json::Value;

/// Puts ann's account into a phase, and tells what the command said.
fn phase(proxy: &Proxy, arguments: &[&str]) -> Result<Value, String> {
    let all = [&["phase", "ann", "--json"][..], arguments].concat();
    let output: Output = proxy.run(&all);
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        code => Err(format!("{code:?} {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[track_caller]
fn go(world: &World, to: &str) -> Value {
    phase(&world.proxy, &[to]).unwrap_or_else(|e| panic!("to {to}: {e}"))
}

/// Opens all that lies on old in INBOX and Work, and waits until new has as much.
fn copy_all(world: &World, client: &mut lab::Dialogue) {
    for folder in ["INBOX", "Work"] {
        client.ok(&format!("SELECT {}", quoted(&world.old.name(folder))));
        client.ok("UID FETCH 1:* BODY[]");
        let count = client.ok("UID SEARCH ALL").found().len();
        let there = format!("MESSAGES {count})");
        let name = quoted(&world.new.name(folder));
        eventually("all is copied", || {
            let told = world.new.client().cmd(&format!("STATUS {name} (MESSAGES)"));
            told.lines().join("").contains(&there).then_some(())
        });
    }
}

/// How many logins a server has seen.
fn logins(server: &Server) -> usize {
    server.log().matches("Login: user=<ann").count()
}

/// Messages by their octets, with flags, wherever they lie.
fn contents(seen: &[Seen]) -> Vec<Seen> {
    sorted(seen.to_vec())
}

/// What a client sees of a message that stays the same in every phase.
fn identity(seen: &[Seen]) -> BTreeMap<u32, Vec<u8>> {
    seen.iter().map(|message| (message.uid, message.octets.clone())).collect()
}

/// The capabilities before and after login.
fn capabilities(world: &World) -> [String; 2] {
    let mut nobody = lab::Dialogue::connect(world.proxy.port);
    let line = |client: &mut lab::Dialogue| {
        let lines = client.ok("CAPABILITY").lines();
        let line = lines.into_iter().find(|l| l.starts_with("* CAPABILITY"));
        line.expect("CAPABILITY").replace(" AUTH=PLAIN", "").replace(" SASL-IR", "")
    };
    [line(&mut nobody), line(&mut world.proxy.client())]
}

#[test]
fn phase_old_contacts_old_alone_and_behaves_like_it() {
    let world = World::new().set("accounts.phase", "\"old\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..5));
        new.seed("INBOX", &mails(50..53));
    });
    let (before, on_old) = (logins(&world.new), everything(&mut world.old.client(), "INBOX"));
    let mut client = world.proxy.client();
    assert_eq!(everything(&mut client, "INBOX"), on_old, "UIDs, flags and octets are old's");
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 1:* BODY[]");
    client.ok("STORE 2 +FLAGS (\\Flagged)");
    client.append("INBOX", "(\\Seen)", &Mail::numbered(7).octets);
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    let [made, renamed, gone] = ["Made", "Renamed", "Gone"].map(|name| world.old.name(name));
    client.ok(&format!("CREATE {made}"));
    client.ok(&format!("COPY 1 {made}"));
    client.ok(&format!("MOVE 2 {made}"));
    client.ok(&format!("RENAME {made} {renamed}"));
    client.ok(&format!("SUBSCRIBE {renamed}"));
    client.ok(&format!("STATUS {renamed} (MESSAGES UNSEEN UIDNEXT)"));
    client.ok(&format!("CREATE {gone}"));
    client.ok(&format!("DELETE {gone}"));
    for folder in ["INBOX", &renamed] {
        let seen = everything(&mut client, folder);
        assert_eq!(seen, everything(&mut world.old.client(), folder), "{folder}");
    }
    let folders = lab::folder_names(&mut world.old.client());
    assert!(folders.contains(&renamed) && !folders.contains(&gone), "{folders:?}");
    assert_eq!(logins(&world.new), before, "new was contacted");
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 3);
}

#[test]
fn phase_new_contacts_new_alone_and_keeps_uids() {
    let mut world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Work", &mails(10..13));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    let before = [everything(&mut client, "INBOX"), everything(&mut client, &work)];
    let offered = capabilities(&world);

    let refused = phase(&world.proxy, &["new"]).unwrap_err();
    assert!(refused.contains("never verified"), "{refused}");
    // All is copied, though nothing was compared.
    copy_all(&world, &mut client);
    client.ok("STORE 1:* -FLAGS (\\Seen)");
    let set = phase(&world.proxy, &["new", "--force"]).unwrap();
    assert_eq!((&set["to"], &set["left"]), (&"new".into(), &Value::Array(Vec::new())), "{set}");

    let logins_before = logins(&world.old);
    world.old.stop();
    let after = [everything(&mut client, "INBOX"), everything(&mut client, &work)];
    let identities = |all: &[Vec<Seen>; 2]| [identity(&all[0]), identity(&all[1])];
    assert_eq!(identities(&after), identities(&before), "V2: a session goes on, UIDs stay");
    let mut another = world.proxy.client();
    another.ok("SELECT INBOX");
    another.ok("STORE 1 +FLAGS (\\Deleted)");
    another.ok("EXPUNGE");
    another.append("INBOX", "()", &Mail::numbered(77).octets);
    let projects = world.old.name("Projects");
    another.ok(&format!("CREATE {projects}"));
    another.ok(&format!("COPY 1 {projects}"));
    another.ok("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)");
    assert_eq!(capabilities(&world), offered, "V10");
    // It is durable.
    world.proxy.kill9();
    world.proxy.restart();
    let mut again = world.proxy.client();
    assert_eq!(everything(&mut again, "INBOX").len(), 6);
    assert_eq!(everything(&mut again, &projects).len(), 1);
    assert_eq!(logins(&world.old), logins_before, "old was contacted");
}

/// The index is lost while an account is in phase new: it stays there, old is not asked for anything, folders
/// keep their names, and no UID gets a second meaning.
#[test]
fn v8_a_lost_index_leaves_an_account_in_its_phase() {
    let mut world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..6));
        old.seed("Work", &mails(10..13));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    copy_all(&world, &mut client);
    phase(&world.proxy, &["new", "--force"]).unwrap();
    let folders = ["INBOX", &work];
    let seen = |client: &mut lab::Dialogue| folders.map(|folder| everything(client, folder));
    let names = lab::folder_names(&mut client);
    let mut told: Vec<[Vec<Seen>; 2]> = vec![seen(&mut client)];
    drop(client);
    let before = logins(&world.old);
    let index = world.dir.path().join("proxy/state/index");
    for damage in ["torn", "gone"] {
        world.proxy.stop();
        match damage {
            "torn" => {
                let database = std::fs::File::options().write(true).open(index.join("db/db"));
                database.expect("the database").set_len(100).expect("torn");
            }
            _ => std::fs::remove_dir_all(index.join("db")).expect("the database"),
        }
        world.proxy.restart();
        let mut client = world.proxy.client();
        assert_eq!(lab::folder_names(&mut client), names, "{damage}");
        let now = seen(&mut client);
        for earlier in &told {
            for (was, is) in earlier.iter().zip(&now) {
                assert_eq!(contents(is), contents(was), "{damage}");
                let (was, is) = (identity(was), identity(is));
                let same = |(uid, octets): (&u32, &Vec<u8>)| {
                    was.get(uid).is_none_or(|before| before == octets)
                };
                assert!(is.iter().all(same), "V2: {damage}");
            }
        }
        told.push(now);
        assert!(world.proxy.log().contains("could not be trusted"), "{damage}");
    }
    assert_eq!(logins(&world.old), before, "old was contacted");
}

/// Half copied, some only on new, some moved and flagged, then back: a client that talks to old directly
/// sees everything exactly once.
fn way_back(world: &mut World, count: u32) {
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok(&format!("UID FETCH 1:{} BODY[]", count / 2));
    eventually("half is copied", || {
        let on_new = everything(&mut world.new.client(), "INBOX").len();
        (on_new as u32 >= count / 2).then_some(())
    });
    for n in 0..8 {
        world.new.deliver("INBOX", &Mail::numbered(10_000 + n));
    }
    lab::eventually_holds(&mut client, "INBOX", count as usize + 8);
    client.ok("SELECT INBOX");
    client.append("INBOX", "(\\Flagged)", &Mail::numbered(10_100).octets);
    client.append(&work, "(\\Answered)", &Mail::numbered(10_101).octets);
    client.ok("NOOP");
    // Of what was copied, and of what was not.
    client.ok("STORE 2 +FLAGS (\\Flagged $Label1)");
    client.ok(&format!("STORE {} +FLAGS (\\Answered)", count - 1));
    client.ok(&format!("MOVE 4,{} {}", count - 3, quoted(&work)));
    client.ok(&format!("COPY 5 {}", quoted(&work)));
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    let before = [everything(&mut client, "INBOX"), everything(&mut client, &work)];

    let mut idler = world.proxy.client();
    idler.ok("SELECT INBOX");
    idler.idle();
    let set = go(world, "old");
    assert_eq!(
        (&set["from"], &set["left"]),
        (&"merged".into(), &Value::Array(Vec::new())),
        "{set}"
    );
    idler.done();

    for (folder, before) in ["INBOX", &work].into_iter().zip(&before) {
        let direct = everything(&mut world.old.client(), folder);
        assert_eq!(contents(&direct), contents(before), "{folder}: old has it all, once");
        assert!(lab::view::copies(&direct).values().all(|n| *n == 1));
        let seen = everything(&mut client, folder);
        assert_eq!(identity(&seen), identity(before), "V2: {folder}");
    }
    // From now on old decides, and new is left alone.
    let on_new = everything(&mut world.new.client(), "INBOX");
    client.ok("SELECT INBOX");
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("STORE 2 +FLAGS (\\Draft)");
    client.ok("EXPUNGE");
    client.append("INBOX", "()", &Mail::numbered(10_200).octets);
    assert_eq!(everything(&mut world.new.client(), "INBOX"), on_new);
    let seen = everything(&mut client, "INBOX");
    assert_eq!(contents(&seen), contents(&everything(&mut world.old.client(), "INBOX")));

    // And forth: what was removed stays away, and new's copies get old's flags.
    go(world, "merged");
    let mut client = world.proxy.client();
    let merged = everything(&mut client, "INBOX");
    assert_eq!(contents(&merged), contents(&seen), "nothing is resurrected");
    assert_eq!(identity(&merged), identity(&seen));
    go(world, "old");
    assert_eq!(contents(&everything(&mut world.old.client(), "INBOX")), contents(&seen));
    assert_eq!(contents(&everything(&mut world.proxy.client(), "INBOX")), contents(&seen));
}

fn half(old: impl Into<Shape>, new: impl Into<Shape>, count: u32) -> World {
    World::new().old(old).new(new).seeded(|old, _| {
        old.seed("INBOX", &mails(0..count));
        old.seed("Work", &mails(count..count + 3));
    })
}

#[test]
fn v5_the_way_back_loses_nothing_and_doubles_nothing() {
    way_back(&mut half(Dovecot::old_style(), Dovecot::new_style(), 40), 40);
}

#[test]
fn v5_the_way_back_from_cyrus() {
    way_back(&mut half(Dovecot::old_style(), Cyrus::styled(true, true), 20), 20);
}

#[test]
fn v5_the_way_back_to_courier() {
    way_back(&mut half(Courier::plain(), Dovecot::new_style(), 20), 20);
}

#[test]
fn there_and_back_again_from_new() {
    let world = half(Dovecot::old_style(), Dovecot::new_style(), 10);
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    copy_all(&world, &mut client);
    phase(&world.proxy, &["new", "--force"]).unwrap();
    // In phase new: mail comes, mail goes, mail is moved and marked.
    world.new.deliver("INBOX", &Mail::numbered(500));
    lab::eventually_holds(&mut client, "INBOX", 11);
    client.ok("SELECT INBOX");
    client.ok("STORE 1:2 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok(&format!("MOVE 1 {}", quoted(&work)));
    client.ok("STORE 1 +FLAGS (\\Flagged)");
    let fresh = world.old.name("Fresh");
    client.ok(&format!("CREATE {fresh}"));
    client.append(&fresh, "()", &Mail::numbered(501).octets);
    let folders = ["INBOX", &work, &fresh];
    let before = folders.map(|folder| everything(&mut client, folder));
    // It came to old all the same.
    world.old.deliver("INBOX", &Mail::numbered(502));
    eventually("it is there", || {
        let direct = everything(&mut world.old.client(), "INBOX");
        direct.iter().any(|m| m.octets == Mail::numbered(502).octets).then_some(())
    });

    go(&world, "old");
    for (folder, before) in folders.into_iter().zip(&before) {
        let direct = everything(&mut world.old.client(), folder);
        let late: Vec<Seen> =
            direct.iter().filter(|m| m.octets == Mail::numbered(502).octets).cloned().collect();
        assert_eq!(late.len(), usize::from(folder == "INBOX"), "what came late is there");
        let others: Vec<Seen> =
            direct.into_iter().filter(|m| m.octets != Mail::numbered(502).octets).collect();
        assert_eq!(contents(&others), contents(before), "{folder}");
    }
    for to in ["merged", "old", "merged"] {
        go(&world, to);
        let seen = everything(&mut world.proxy.client(), "INBOX");
        let direct = everything(&mut world.old.client(), "INBOX");
        assert_eq!(contents(&seen), contents(&direct), "{to}");
    }
}

/// Mail still comes to old after the account has left it: it is brought to new, once, and stays on old (V6).
#[test]
fn v2_v5_v6_what_comes_to_old_late_is_brought_to_new() {
    let world = World::new()
        .set("phase.look", "\"100ms\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 1:2 BODY[]");
    eventually("two are copied", || {
        (everything(&mut world.new.client(), "INBOX").len() == 2).then_some(())
    });
    // One is left behind by force.
    phase(&world.proxy, &["new", "--force"]).unwrap();
    client.ok("SELECT INBOX");
    let mut wanted: Vec<Mail> = (0..3).map(Mail::numbered).collect();
    let mut highest = lab::eventually_holds(&mut client, "INBOX", 3).last().unwrap().uid;
    for n in [500, 510, 520] {
        let [late, both, own] = [n, n + 1, n + 2].map(Mail::numbered);
        world.new.deliver("INBOX", &both);
        world.old.deliver("INBOX", &both);
        world.old.deliver("INBOX", &late);
        world.new.deliver("INBOX", &own);
        wanted.extend([late, both, own]);
        let seen = lab::eventually_holds(&mut client, "INBOX", wanted.len());
        let mut fresh: Vec<u32> = seen.iter().map(|m| m.uid).filter(|u| *u > highest).collect();
        fresh.sort_unstable();
        assert_eq!(fresh.len(), 3, "V2: what appears ascends: {seen:?}");
        highest = *fresh.last().unwrap();
    }
    let octets = |seen: Vec<Seen>| -> Vec<Vec<u8>> {
        sorted(seen).into_iter().map(|message| message.octets).collect()
    };
    let mut all: Vec<Vec<u8>> = wanted.into_iter().map(|mail| mail.octets).collect();
    all.sort();
    assert_eq!(octets(everything(&mut client, "INBOX")), all);
    assert_eq!(octets(everything(&mut world.new.client(), "INBOX")), all, "once each on new");
    let on_old = everything(&mut world.old.client(), "INBOX").len();
    assert_eq!(on_old, 3 + 2 * 3, "V6: what came to old stays there");
    // What is removed on new is not brought again, nor is it there after going back.
    client.ok("SELECT INBOX");
    client.ok("STORE 1,5 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    world.old.deliver("INBOX", &Mail::numbered(530));
    let seen = lab::eventually_holds(&mut client, "INBOX", all.len() - 1);
    go(&world, "old");
    let direct = everything(&mut world.old.client(), "INBOX");
    assert_eq!(contents(&direct), contents(&seen));
}

/// Mail that comes to both servers, and to either of them first, is one message: what has come to old is
/// brought to new only if the other copy has not come there by the next look.
#[test]
fn v3_v5_mail_that_comes_to_both_sides_in_phase_new_is_one_message() {
    for (old, new) in [
        (Shape::from(Dovecot::old_style()), Shape::from(Dovecot::new_style())),
        (Courier::plain().into(), Cyrus::styled(true, true).into()),
    ] {
        let world = World::new()
            .old(old)
            .new(new)
            .set("phase.look", "\"3s\"")
            .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
        let looks = || world.proxy.log().matches("old was looked at for late mail").count();
        let another_look = || {
            let before = looks();
            eventually("a look", || (looks() > before).then_some(()));
        };
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        client.ok("UID FETCH 1:3 BODY[]");
        lab::eventually_holds(&mut world.new.client(), "INBOX", 3);
        phase(&world.proxy, &["new", "--force"]).unwrap();
        client.ok("SELECT INBOX");
        another_look();
        world.old.deliver("INBOX", &Mail::numbered(500));
        another_look();
        world.new.deliver("INBOX", &Mail::numbered(500));
        world.new.deliver("INBOX", &Mail::numbered(501));
        another_look();
        world.old.deliver("INBOX", &Mail::numbered(501));
        // It has come to old alone.
        world.old.deliver("INBOX", &Mail::numbered(502));
        another_look();
        another_look();
        let wanted: Vec<u32> = vec![0, 1, 2, 500, 501, 502];
        let numbers = |client: &mut lab::Dialogue| {
            let mut all: Vec<Vec<u8>> =
                everything(client, "INBOX").into_iter().map(|seen| seen.octets).collect();
            all.sort();
            all
        };
        let mut octets: Vec<Vec<u8>> = wanted.iter().map(|n| Mail::numbered(*n).octets).collect();
        octets.sort();
        assert!(numbers(&mut client) == octets, "V3");
        assert!(numbers(&mut world.new.client()) == octets, "V5");
        go(&world, "old");
        assert!(numbers(&mut world.old.client()) == octets, "on old, after the way back");
        assert!(numbers(&mut world.proxy.client()) == octets, "in phase old");
    }
}

/// Mail comes to both servers while old decides: merged again, it is one message, under the UID that it had.
#[test]
fn v3_mail_that_comes_to_both_sides_in_phase_old_is_one_message_when_merged() {
    let mut world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..5));
        old.seed("Work", &mails(10..12));
    });
    let mut client = world.proxy.client();
    copy_all(&world, &mut client);
    for n in [500, 510, 520] {
        let mut client = world.proxy.client();
        go(&world, "old");
        world.old.deliver("INBOX", &Mail::numbered(n));
        world.new.deliver("INBOX", &Mail::numbered(n));
        world.new.deliver("INBOX", &Mail::numbered(n + 1));
        world.old.deliver("INBOX", &Mail::numbered(n + 1));
        // Of one of them a client knows, and marks it.
        client.ok("SELECT INBOX");
        let last = everything(&mut client, "INBOX").last().expect("a message").uid;
        client.ok("SELECT INBOX");
        client.ok(&format!("UID STORE {last} +FLAGS (\\Answered)"));
        let before = everything(&mut client, "INBOX");
        world.old.deliver("INBOX", &Mail::numbered(n + 2));
        world.new.deliver("INBOX", &Mail::numbered(n + 2));
        if n > 500 {
            world.proxy.kill9();
            world.proxy.restart_to_die_at("phase: twins have old's flags=return");
            let client = world.proxy.client();
            phase(&world.proxy, &["merged"]).unwrap_err();
            drop(client);
            world.proxy.kill9();
            world.proxy.restart();
        }
        let mut client = world.proxy.client();
        go(&world, "merged");
        if n > 510 {
            world.proxy.kill9();
            world.proxy.restart();
            client = world.proxy.client();
        }
        let after = lab::eventually_holds(&mut client, "INBOX", before.len() + 1);
        assert_eq!(after[..before.len()], before[..], "V2");
        assert_eq!(after.len(), before.len() + 1, "V3: {after:#?}");
        copy_all(&world, &mut client);
        assert_eq!(everything(&mut world.new.client(), "INBOX").len(), after.len(), "V5");
        let shown = everything(&mut client, "INBOX");
        assert_eq!(shown.len(), after.len(), "V3, later");
    }
}

/// Somebody who works on new takes messages away and puts them back: old has them all the time, unseen meanwhile.
#[test]
fn v5_what_was_put_back_on_new_is_on_old_once_after_the_way_back() {
    for mirror in ["none", "all"] {
        let world = World::new().set("copy.mirror", &format!("\"{mirror}\"")).seeded(|old, _| {
            old.seed("INBOX", &mails(0..5));
            old.seed("Work", &mails(10..12));
        });
        let mut client = world.proxy.client();
        copy_all(&world, &mut client);
        let before = contents(&everything(&mut client, "INBOX"));
        let mut direct = world.new.client();
        let aside = quoted(&world.new.name("Aside"));
        direct.ok(&format!("CREATE {aside}"));
        direct.ok("SELECT INBOX");
        direct.ok(&format!("MOVE 2:3 {aside}"));
        eventually("they are away", || (everything(&mut client, "INBOX").len() == 3).then_some(()));
        direct.ok(&format!("SELECT {aside}"));
        direct.ok("MOVE 1:2 INBOX");
        lab::eventually_holds(&mut client, "INBOX", 5);
        client.ok("SELECT INBOX");
        let back = client.ok("UID SEARCH ALL").found();
        client.ok(&format!("UID STORE {} +FLAGS (\\Flagged)", back[4]));
        let seen = everything(&mut client, "INBOX");
        let octets = |seen: &[Seen]| -> Vec<Vec<u8>> {
            contents(seen).into_iter().map(|m| m.octets).collect()
        };
        assert_eq!(octets(&seen), octets(&before));
        go(&world, "old");
        let on_old = everything(&mut world.old.client(), "INBOX");
        assert_eq!(contents(&on_old), contents(&seen), "V5, with mirror {mirror}");
        go(&world, "merged");
        let after = everything(&mut world.proxy.client(), "INBOX");
        assert_eq!(contents(&after), contents(&seen), "V3");
    }
}

/// Courier counts a mailbox anew that is renamed: in phase old nobody can link its messages with their twins.
#[test]
fn v3_a_folder_that_old_counts_anew_in_phase_old_shows_each_message_once_when_merged() {
    let world = World::new().old(Courier::plain()).seeded(|old, _| {
        old.seed("INBOX", &mails(0..2));
        old.seed("Work", &mails(10..14));
    });
    let mut client = world.proxy.client();
    copy_all(&world, &mut client);
    let [work, renamed] = ["Work", "Renamed"].map(|name| world.old.name(name));
    let mut before = contents(&everything(&mut client, &work));
    go(&world, "old");
    let mut client = world.proxy.client();
    client.ok(&format!("RENAME {work} {renamed}"));
    assert_eq!(contents(&everything(&mut client, &renamed)), before, "nobody waits for new");
    // What goes from it goes for good, though nobody knows its twins.
    let goes = everything(&mut client, &renamed)[1].clone();
    client.ok(&format!("SELECT {renamed}"));
    client.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", goes.uid));
    client.ok("EXPUNGE");
    before.retain(|message| message.octets != goes.octets);
    assert_eq!(before.len(), 3);
    go(&world, "merged");
    let mut client = world.proxy.client();
    assert_eq!(contents(&everything(&mut client, &renamed)), before, "V3");
    client.ok(&format!("SELECT {renamed}"));
    client.ok("UID FETCH 1:* BODY.PEEK[]");
    let name = world.new.name("Work");
    let on_new = lab::eventually_holds(&mut world.new.client(), &name, 3);
    assert_eq!(contents(&on_new), before, "V5");
}

/// What was renamed on new alone, and is renamed back when old decides, is called that on old already.
#[test]
fn v1_a_folder_that_is_renamed_back_in_another_phase_keeps_its_name_on_old() {
    let world = World::new().old(Courier::plain()).seeded(|old, _| {
        old.seed("INBOX", &mails(0..2));
        old.seed("Work", &mails(10..14));
    });
    let mut client = world.proxy.client();
    copy_all(&world, &mut client);
    let [work, renamed] = ["Work", "Renamed"].map(|name| world.old.name(name));
    let before = everything(&mut client, &work);
    client.ok(&format!("RENAME {work} {renamed}"));
    go(&world, "old");
    let mut client = world.proxy.client();
    client.ok(&format!("RENAME {renamed} {work}"));
    assert_eq!(everything(&mut client, &work), before, "V2");
    assert_eq!(everything(&mut world.old.client(), &work).len(), before.len());
}

#[test]
fn forced_to_new_what_is_on_old_alone_is_listed_and_comes_back() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("UID FETCH 1 BODY[]");
    eventually("one is copied", || {
        let there = everything(&mut world.new.client(), "INBOX").len() == 1;
        (there && world.proxy.log().contains("carried to new")).then_some(())
    });
    // Nothing more is opened: it would be carried while old is stopped.
    let before = client.ok("UID SEARCH ALL").found();
    world.old.stop();
    let refused = phase(&world.proxy, &["new"]).unwrap_err();
    assert!(refused.starts_with("Some(1)"), "{refused}");
    let set = phase(&world.proxy, &["new", "--force"]).unwrap();
    let left: Vec<u64> =
        set["left"].as_array().unwrap().iter().map(|l| l["uid"].as_u64().unwrap()).collect();
    let uids: Vec<u64> = before[1..].iter().map(|uid| u64::from(*uid)).collect();
    assert_eq!(left, uids, "{set}");
    assert_eq!(everything(&mut client, "INBOX").len(), 1);
    world.new.deliver("INBOX", &Mail::numbered(9));
    let in_new = lab::eventually_holds(&mut client, "INBOX", 2);

    // It was not dead after all.
    world.old.start();
    eventually("old is there again", || phase(&world.proxy, &["merged"]).ok());
    let merged = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(merged.len(), 5);
    let known = in_new.last().unwrap().uid;
    let reappeared = merged.iter().filter(|m| !in_new.iter().any(|known| known.uid == m.uid));
    assert!(
        reappeared.clone().count() == 3 && reappeared.clone().all(|m| m.uid > known),
        "V2: they ascend"
    );
}

#[test]
fn a_busy_client_keeps_its_account_in_its_phase_and_others_wait_for_a_bounded_time() {
    let world = World::new()
        .set("limits.phase_wait", "\"1s\"")
        .wired()
        .seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut busy = world.proxy.client();
    busy.ok("SELECT INBOX");
    // Its FETCH hangs.
    world.old_wire.rule(|way, _| match way {
        Way::ToServer => Fate::Pass,
        Way::ToProxy => Fate::Hold,
    });
    busy.send("x UID FETCH 1:* BODY.PEEK[]");
    assert!(busy.next_within(Duration::from_millis(300)) == Ok(None), "it hangs");
    let refused = phase(&world.proxy, &["new", "--force"]).unwrap_err();
    assert!(refused.contains("is being moved"), "{refused}");
    world.old_wire.release();
    busy.until("x");
    busy.ok("NOOP");
}

/// A folder that is renamed keeps its former name on old; what is made below it lies below that there, and old gets
/// no level of the present name, which would be seen as another folder.
#[test]
fn v3_what_is_made_below_a_renamed_folder_is_carried_back_below_its_former_name() {
    let world = World::new().seeded(|old, _| old.seed("Work", &mails(0..2)));
    let mut client = world.proxy.client();
    client.ok("RENAME INBOX.Work INBOX.Projects");
    client.ok("CREATE INBOX.Projects.Lower");
    client.append("INBOX.Projects.Lower", "", &small(1));
    let names = folder_names(&mut client);
    for phase in ["old", "merged"] {
        go(&world, phase);
        let mut client = world.proxy.client();
        assert_eq!(folder_names(&mut client), names, "phase {phase}");
        let listed = client.ok("LIST \"\" *").lines().join("");
        assert!(!listed.contains("_2"), "phase {phase}: {listed}");
        assert_eq!(everything(&mut client, "INBOX.Projects").len(), 2);
        assert_eq!(everything(&mut client, "INBOX.Projects.Lower").len(), 1);
    }
    assert_eq!(everything(&mut world.old.client(), "INBOX.Work.Lower").len(), 1);
}

#[test]
fn forced_to_new_without_old_makes_no_folder_of_what_nobody_can_open() {
    let mut world = World::new().seeded(|old, _| old.seed("Upper/Lower", &mails(0..2)));
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(!names.contains("INBOX.Upper"), "{names:?}");
    let before = folder_names(&mut world.new.client());
    world.old.stop();
    phase(&world.proxy, &["new", "--force"]).unwrap();
    assert_eq!(folder_names(&mut world.proxy.client()), names);
    let after = folder_names(&mut world.new.client());
    assert!(!after.contains("Upper") && after.is_superset(&before), "{after:?}");
}

/// Somebody deletes a folder on one server, which has copies on the other: whatever phase its account is in, and
/// wherever it goes, it gets there, and the messages that are left are seen and read.
#[test]
fn a_folder_that_one_server_has_lost_keeps_no_account_where_it_is() {
    for (way, lost) in [
        ("old merged", "old"),
        ("old merged", "new"),
        ("merged old", "new"),
        ("merged old", "old"),
        ("merged merged", "old"),
        ("merged merged", "new"),
    ] {
        let world = World::new().seeded(|old, _| {
            old.seed("INBOX", &mails(0..2));
            old.seed("Work", &mails(10..14));
        });
        let mut client = world.proxy.client();
        copy_all(&world, &mut client);
        let work = world.old.name("Work");
        let before = contents(&everything(&mut client, &work));
        let (from, to) = way.split_once(' ').unwrap();
        go(&world, from);
        let server = if lost == "old" { &world.old } else { &world.new };
        // On the one that loses it alone; it goes with it.
        server.deliver("Work", &Mail::numbered(99));
        let there = if from == "old" && lost == "new" { before.len() } else { before.len() + 1 };
        // Not opened, for it would be copied.
        let mut client = world.proxy.client();
        client.ok(&format!("SELECT {work}"));
        eventually("it is seen", || {
            client.ok("NOOP");
            (client.ok("UID SEARCH ALL").found().len() == there).then_some(())
        });
        server.client().ok(&format!("DELETE {}", server.name("Work")));
        // Where it was made anew meanwhile, that is found out first.
        eventually("it goes there", || phase(&world.proxy, &[to]).ok());
        // The next listing finds it out.
        let mut client = world.proxy.client();
        assert!(folder_names(&mut client).contains(&work), "{way}, lost on {lost}");
        assert_eq!(contents(&everything(&mut client, &work)), before, "{way}, lost on {lost}");
    }
}

/// Dovecot goes on listing a mailbox that was deleted, as long as others lie below it, and then knows no such
/// mailbox. It is none, and keeps an account in no phase.
#[test]
fn a_folder_that_is_listed_and_not_there_keeps_no_account_where_it_is() {
    let world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..2));
        old.seed("Upper/Lower", &mails(2..5));
    });
    let mut client = world.proxy.client();
    for folder in ["New", "New.Lower"] {
        client.ok(&format!("CREATE INBOX.{folder}"));
        client.append(&format!("INBOX.{folder}"), "", &small(1));
    }
    client.ok("DELETE INBOX.New");
    let mut on_old = world.old.client();
    on_old.ok("CREATE INBOX.Upper");
    on_old.ok("DELETE INBOX.Upper");
    let ghost = |server: &Server, name: &str| {
        let mut direct = server.client();
        assert!(folder_names(&mut direct).contains(name), "it is not listed any more");
        direct.no(&format!("SELECT {name}"));
    };
    ghost(&world.old, "INBOX.Upper");
    ghost(&world.new, "New");
    let settled = |phase: &str| {
        let mut client = world.proxy.client();
        assert_eq!(everything(&mut client, "INBOX.New.Lower").len(), 1, "{phase}");
        assert_eq!(everything(&mut client, "INBOX.Upper.Lower").len(), 3, "{phase}");
    };
    go(&world, "old");
    settled("old");
    go(&world, "merged");
    settled("merged");
    for command in ["sync", "verify"] {
        let told = world.proxy.run(&[command, "ann"]);
        assert!(told.status.success(), "{command}: {}", String::from_utf8_lossy(&told.stdout));
    }
    go(&world, "new");
    settled("new");
    go(&world, "merged");
    settled("merged again");
}

/// Courier counts a mailbox anew when it is renamed, and what new has of it is linked to nothing until both are
/// compared again: that never comes where old loses the mailbox before.
#[test]
fn v4_what_was_removed_in_phase_old_stays_away_though_old_has_lost_the_renamed_folder() {
    let world = World::new().old(Courier::plain()).seeded(|old, _| old.seed("Work", &mails(0..4)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX.Work");
    client.ok("FETCH 1:* BODY[]");
    lab::eventually_holds(&mut world.new.client(), "Work", 4);
    go(&world, "old");
    client = world.proxy.client();
    client.ok("RENAME INBOX.Work INBOX.Projects");
    client.ok("SELECT INBOX.Projects");
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("MOVE 2 INBOX");
    client.ok("LOGOUT");
    world.old.client().ok("DELETE INBOX.Projects");
    go(&world, "merged");
    client = world.proxy.client();
    let seen = everything(&mut client, "INBOX.Projects");
    let left: Vec<Vec<u8>> = [0, 3].map(small).to_vec();
    assert_eq!(seen.iter().map(|m| m.octets.clone()).collect::<Vec<_>>(), left);
    assert_eq!(everything(&mut client, "INBOX").len(), 1);
    assert_eq!(everything(&mut world.new.client(), "Work").len(), 2);
}
