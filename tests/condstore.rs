//! CONDSTORE and QRESYNC (RFC 7162) over two servers: no change is missed, whoever makes it and wherever.

mod lab;

use std::collections::BTreeMap;

use lab::{Dialogue, Dovecot, Mail, Reply, World, eventually, mails};

/// Twenty messages on old, five on new; what is offered is known.
fn world() -> World {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..20));
        new.seed("INBOX", &mails(100..105));
    });
    known(&world);
    world
}

/// Waits until both servers' capabilities have been learned.
fn known(world: &World) {
    eventually("CONDSTORE is offered", || {
        drop(world.proxy.client());
        let mut client = Dialogue::connect(world.proxy.port);
        client.ok("CAPABILITY").lines().iter().any(|l| l.contains(" CONDSTORE ")).then_some(())
    });
}

#[test]
fn v10_the_first_client_of_all_is_offered_what_both_servers_have() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..2)));
    let mut client = world.proxy.client();
    let offered = client.ok("CAPABILITY").lines();
    assert!(offered.iter().any(|line| line.contains(" CONDSTORE ")), "{offered:?}");
    client.ok("SELECT INBOX (CONDSTORE)");
}

fn mod_seqs(reply: &Reply) -> BTreeMap<u32, u64> {
    let lines = reply.lines();
    let parsed = lines.iter().filter_map(|line| {
        let uid = line.split("UID ").nth(1)?.split([' ', ')']).next()?.parse().ok()?;
        let value = line.split("MODSEQ (").nth(1)?.split(')').next()?.parse().ok()?;
        Some((uid, value))
    });
    parsed.collect()
}

fn vanished(reply: &Reply) -> Vec<String> {
    reply.lines().into_iter().filter(|line| line.starts_with("* VANISHED")).collect()
}

fn highest(client: &mut Dialogue) -> u64 {
    client.ok("SELECT INBOX (CONDSTORE)").number("HIGHESTMODSEQ")
}

#[test]
fn a_client_goes_on_with_the_highestmodseq_it_had_from_old() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..20)));
    let mut direct = world.old.client();
    let cached = direct.ok("SELECT INBOX (CONDSTORE)").number("HIGHESTMODSEQ");
    direct.ok("STORE 3 +FLAGS (\\Flagged)");
    known(&world);
    let mut client = world.proxy.client();
    assert!(highest(&mut client) > cached);
    let changed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {cached})"));
    assert_eq!(mod_seqs(&changed).into_keys().collect::<Vec<_>>(), [3]);
    assert!(changed.lines()[0].contains("\\Flagged"), "{changed:?}");
}

#[test]
fn changes_on_either_side_are_told_since_any_value_that_was_told() {
    let world = world();
    let mut client = world.proxy.client();
    let mut told = vec![highest(&mut client)];
    let uids = client.ok("UID SEARCH ALL").found();
    let mut expected: Vec<Vec<u32>> = Vec::new();
    let (mut old, mut new) = (world.old.client(), world.new.client());
    old.ok("SELECT INBOX");
    new.ok("SELECT INBOX");
    for round in 0..4u32 {
        old.ok(&format!("STORE {} +FLAGS ($Old)", round + 1));
        new.ok(&format!("STORE {} +FLAGS ($New)", round + 1));
        expected.push(vec![uids[round as usize], uids[20 + round as usize]]);
        let last = *told.last().expect("told");
        let now = eventually("it rises", || Some(highest(&mut client)).filter(|now| *now > last));
        // Both changes may be taken in one after the other.
        eventually("both are counted", || {
            let changed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {last})"));
            (mod_seqs(&changed).len() >= 2).then_some(())
        });
        told.push(highest(&mut client).max(now));
    }
    for (n, since) in told.iter().enumerate() {
        let changed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})"));
        let found: Vec<u32> = mod_seqs(&changed).into_keys().collect();
        for uid in expected[n..].iter().flatten() {
            assert!(found.contains(uid), "since {since}: {uid} is missing in {found:?}");
        }
    }
    let everything = client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 0)");
    assert_eq!(mod_seqs(&everything).len(), 25, "0 is accepted, and means all");
    let none = highest(&mut client);
    let none = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {none})"));
    assert_eq!(mod_seqs(&none).len(), 0, "{none:?}");
}

#[test]
fn idle_clients_hear_of_changes_with_their_modseq() {
    let world = world();
    let mut idler = world.proxy.client();
    let before = highest(&mut idler);
    idler.idle();
    let mut new = world.new.client();
    new.ok("SELECT INBOX");
    new.ok("STORE 2 +FLAGS ($Later)");
    let line = idler.wait_for(|r| r.contains("FETCH") && r.contains("$Later"));
    let told: u64 = line
        .split("MODSEQ (")
        .nth(1)
        .and_then(|r| r.split(')').next())
        .expect("MODSEQ")
        .parse()
        .expect("a number");
    assert!(told > before, "{line}");
    idler.done();
    assert!(highest(&mut idler) >= told);
}

#[test]
fn a_copy_misses_nothing_and_a_modseq_never_falls() {
    let world = world();
    let mut client = world.proxy.client();
    let before = highest(&mut client);
    let seqs = mod_seqs(&client.ok("UID FETCH 1:* (MODSEQ)"));
    assert!(seqs.values().all(|n| *n > 0 && *n <= before), "{seqs:?}");
    client.ok("FETCH 1:5 (UID BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 10);
    let after = mod_seqs(&client.ok("UID FETCH 1:* (MODSEQ)"));
    for (uid, value) in &seqs {
        assert!(after[uid] >= *value, "{uid}: {value} then {}", after[uid]);
    }
    // From now on new decides over the first five.
    let mut new = world.new.client();
    new.ok("SELECT INBOX");
    let subject = new.ok("UID SEARCH ALL").found();
    new.ok(&format!("UID STORE {} +FLAGS (\\Flagged)", subject[5]));
    eventually("the change of a copy", || {
        let changed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})"));
        changed.lines().iter().any(|l| l.contains("\\Flagged")).then_some(())
    });
    assert!(highest(&mut client) > before);
}

#[test]
fn unchangedsince_leaves_alone_what_somebody_else_has_changed() {
    let world = world();
    let mut client = world.proxy.client();
    let known = highest(&mut client);
    let uids = client.ok("UID SEARCH ALL").found();
    for (server, at) in [(&world.old, 0usize), (&world.new, 20)] {
        let mut direct = server.client();
        direct.ok("SELECT INBOX");
        direct.ok("STORE 1 +FLAGS (\\Flagged)");
        let (changed, other) = (uids[at], uids[at + 1]);
        let store =
            format!("UID STORE {changed},{other} (UNCHANGEDSINCE {known}) +FLAGS (\\Draft)");
        let reply = client.ok(&store);
        let code = reply.code("MODIFIED").expect("MODIFIED");
        assert_eq!(code, changed.to_string(), "{reply:?}");
        assert!(mod_seqs(&reply).contains_key(&other), "{reply:?}");
        // What the client hears then lets it through.
        let now = mod_seqs(&client.ok(&format!("UID FETCH {changed} (FLAGS MODSEQ)")))[&changed];
        let store = format!("UID STORE {changed} (UNCHANGEDSINCE {now}) +FLAGS (\\Draft)");
        assert!(client.ok(&store).code("MODIFIED").is_none());
    }
}

#[test]
fn a_silent_store_tells_the_modseq_and_nothing_else() {
    let world = world();
    let mut client = world.proxy.client();
    highest(&mut client);
    let reply = client.ok("UID STORE 1:2 +FLAGS.SILENT ($Quiet)");
    assert_eq!(mod_seqs(&reply).len(), 2, "{reply:?}");
    // A keyword that is new to the mailbox is told of all the same.
    let of_messages = |l: &&String| l.contains("FETCH") && l.contains("FLAGS (");
    assert!(!reply.lines().iter().any(|l| of_messages(&l)), "{reply:?}");
}

#[test]
fn qresync_tells_what_vanished_and_what_changed_and_nothing_more() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("ENABLE QRESYNC");
    let opened = client.ok("SELECT INBOX");
    let (validity, before) = (opened.number("UIDVALIDITY"), opened.number("HIGHESTMODSEQ"));
    let uids = client.ok("UID SEARCH ALL").found();
    drop(client);

    let mut other = world.proxy.client();
    other.ok("SELECT INBOX");
    other.ok(&format!("UID STORE 2,{} +FLAGS (\\Deleted)", uids[21]));
    other.ok("EXPUNGE");
    other.ok("UID STORE 7 +FLAGS ($Seven)");
    world.new.deliver("INBOX", &Mail::numbered(200));
    eventually("the arrival", || (other.ok("NOOP").count("EXISTS") == Some(24)).then_some(()));

    let mut client = world.proxy.client();
    client.bad("SELECT INBOX (QRESYNC (1 1))");
    client.ok("ENABLE QRESYNC");
    let known = format!("1:20,{}:{}", uids[20], uids[24]);
    let back = client.ok(&format!("SELECT INBOX (QRESYNC ({validity} {before} {known}))"));
    assert_eq!(vanished(&back), [format!("* VANISHED (EARLIER) 2,{}", uids[21])]);
    // As UID FETCH of what it knows would tell (RFC 7162 §3.2.5.1): not of what came since.
    assert_eq!(mod_seqs(&back).into_keys().collect::<Vec<_>>(), [7]);
    assert_eq!(back.count("EXISTS"), Some(24));
    assert!(back.number("HIGHESTMODSEQ") > before);
    // The arrival's own MODSEQ was told to nobody until it was asked for.
    let now = client.ok("SELECT INBOX").number("HIGHESTMODSEQ");

    // Up to date: nothing is told. Another UIDVALIDITY: what the client knows means nothing.
    for parameters in [format!("{validity} {now}"), format!("{} {before}", validity + 1)] {
        let back = client.ok(&format!("SELECT INBOX (QRESYNC ({parameters}))"));
        assert!(back.lines().iter().any(|l| l.starts_with("* OK [CLOSED]")), "{back:?}");
        assert_eq!((vanished(&back).len(), mod_seqs(&back).len()), (0, 0), "{parameters}");
    }
    let asked = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before} VANISHED)");
    let asked = client.ok(&asked);
    assert_eq!(vanished(&asked).len(), 1);
    let changed: Vec<u32> = mod_seqs(&asked).into_keys().collect();
    assert!(matches!(changed[..], [7, arrived] if arrived > uids[24]), "{changed:?}");
    // Who says not what it knows is not told of the millions of UIDs that there never were: Horde counts them out.
    let back = client.ok(&format!("SELECT INBOX (QRESYNC ({validity} {before}))"));
    assert_eq!(vanished(&back), [format!("* VANISHED (EARLIER) 2,{}", uids[21])]);
    assert_eq!(mod_seqs(&back).into_keys().collect::<Vec<_>>(), changed);
}

#[test]
fn with_qresync_expunges_are_told_by_uid() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("ENABLE QRESYNC");
    client.ok("SELECT INBOX");
    let mut idler = world.proxy.client();
    idler.ok("ENABLE QRESYNC");
    idler.ok("SELECT INBOX");
    idler.idle();
    client.ok("UID STORE 4:6 +FLAGS.SILENT (\\Deleted)");
    let gone = client.ok("UID EXPUNGE 4:6");
    assert_eq!(vanished(&gone), ["* VANISHED 4:6"]);
    assert!(gone.code("HIGHESTMODSEQ").is_some(), "{gone:?}");
    assert_eq!(idler.wait_for(|r| r.starts_with("* VANISHED")), "* VANISHED 4:6");
    idler.done();
}

#[test]
fn modseqs_are_not_used_up_by_a_crash_nor_given_out_twice() {
    let mut world = world();
    let mut client = world.proxy.client();
    let mut told = highest(&mut client);
    for round in 0..3 {
        client.ok(&format!("UID STORE {} +FLAGS ($Before)", round + 1));
        let changed = highest(&mut client);
        assert!(changed > told);
        world.proxy.kill9();
        world.proxy.restart();
        client = world.proxy.client();
        let after = highest(&mut client);
        assert!(after >= changed, "{after} after {changed}");
        client.ok(&format!("UID STORE {} +FLAGS ($After)", round + 1));
        let missed = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {changed})"));
        assert!(mod_seqs(&missed).contains_key(&(round + 1)), "{missed:?}");
        told = highest(&mut client);
    }
}

#[test]
fn v10_modseqs_are_not_offered_where_a_side_has_none() {
    let without = Dovecot::new_style()
        .capabilities("IMAP4rev1 SASL-IR LITERAL+ UIDPLUS MOVE IDLE ESEARCH NAMESPACE");
    let world = World::new().new(without).seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    drop(world.proxy.client());
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let offered = client.ok("CAPABILITY").lines().join(" ");
    assert!(!offered.contains("CONDSTORE") && !offered.contains("QRESYNC"), "{offered}");
    assert_eq!(client.ok("ENABLE CONDSTORE QRESYNC").lines(), ["* ENABLED"]);
    client.bad("SELECT INBOX (CONDSTORE)");
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(3));
    client.bad("STATUS INBOX (HIGHESTMODSEQ)");
}

#[test]
fn search_finds_what_has_changed_and_tells_up_to_where() {
    let world = world();
    let mut client = world.proxy.client();
    let before = highest(&mut client);
    client.ok("UID STORE 3,5 +FLAGS ($Changed)");
    let new = client.ok("UID SEARCH ALL").found()[22];
    client.ok(&format!("UID STORE {new} +FLAGS ($Changed)"));
    let asked = format!("UID SEARCH MODSEQ {}", before + 1);
    let reply = client.ok(&asked);
    assert_eq!(reply.found(), [3, 5, new]);
    let told = mod_seqs(&client.ok("UID FETCH 1:* (MODSEQ)"));
    let greatest = [3, 5, new].iter().map(|uid| told[uid]).max().expect("three");
    let line = reply.lines().into_iter().find(|l| l.starts_with("* SEARCH")).expect("SEARCH");
    assert!(line.ends_with(&format!("(MODSEQ {greatest})")), "{line} {told:?}");

    let entry = format!("UID SEARCH RETURN (MIN) MODSEQ \"/flags/$Changed\" all {}", before + 1);
    let min = client.ok(&entry);
    assert_eq!(min.esearch("MIN").as_deref(), Some("3"));
    assert_eq!(min.esearch("MODSEQ"), Some(told[&3].to_string()));
    let nothing = client.ok(&format!("UID SEARCH MODSEQ {}", greatest + 1));
    assert_eq!((nothing.found().len(), nothing.lines()), (0, vec!["* SEARCH".to_owned()]));
}
