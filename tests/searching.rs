//! SEARCH over both sides: numbers of the merged view, whatever the program names.

mod lab;

use std::collections::BTreeSet;

use lab::{Dialogue, Mail, Seen, World, everything, mails, numbers};

/// Twenty messages on old (with holes), ten on new, some of old's opened.
fn world() -> (World, Vec<Seen>) {
    let world = World::new().seeded(|old, new| {
        let holes: Vec<_> = (0..20).map(|n| Mail::numbered(n).uid(n * 3 + 1)).collect();
        old.seed("INBOX", &holes);
        new.seed("INBOX", &mails(100..110));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 4:6 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 13);
    let seen = everything(&mut client, "INBOX");
    assert_eq!(seen.len(), 30);
    (world, seen)
}

/// Searches by UID and by sequence number, with and without ESEARCH, and holds all against one expectation.
#[track_caller]
fn check(
    client: &mut Dialogue,
    seen: &[Seen],
    program: &str,
    expected: impl Fn(usize, &Seen) -> bool,
) {
    let hits: Vec<_> = seen.iter().enumerate().filter(|(at, m)| expected(*at, m)).collect();
    let uids: BTreeSet<u32> = hits.iter().map(|(_, m)| m.uid).collect();
    let seqs: BTreeSet<u32> = hits.iter().map(|(at, _)| *at as u32 + 1).collect();
    let found: BTreeSet<u32> =
        client.ok(&format!("UID SEARCH {program}")).found().into_iter().collect();
    assert_eq!(found, uids, "UID SEARCH {program}");
    let found: BTreeSet<u32> =
        client.ok(&format!("SEARCH {program}")).found().into_iter().collect();
    assert_eq!(found, seqs, "SEARCH {program}");
    let reply = client.ok(&format!("UID SEARCH RETURN (MIN MAX COUNT ALL) {program}"));
    let number = |item| reply.esearch(item).and_then(|v| v.parse::<u32>().ok());
    assert_eq!(number("COUNT"), u32::try_from(uids.len()).ok(), "{program}: {reply:?}");
    assert_eq!(number("MIN"), uids.first().copied(), "{program}");
    assert_eq!(number("MAX"), uids.last().copied(), "{program}");
    let all: BTreeSet<u32> =
        reply.esearch("ALL").map(|set| numbers(&set)).unwrap_or_default().into_iter().collect();
    assert_eq!(all, uids, "{program}");
}

#[test]
fn search_programs_find_over_both_sides() {
    let (world, seen) = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let text = |m: &Seen| String::from_utf8_lossy(&m.octets).into_owned();
    check(&mut client, &seen, "ALL", |_, _| true);
    check(&mut client, &seen, "FLAGGED", |_, m| m.flags.contains("\\Flagged"));
    check(&mut client, &seen, "NOT SEEN", |_, m| !m.flags.contains("\\Seen"));
    check(&mut client, &seen, "KEYWORD NonJunk UNANSWERED", |_, m| {
        m.flags.contains("NonJunk") && !m.flags.contains("\\Answered")
    });
    check(&mut client, &seen, "SUBJECT ferry", |_, m| {
        text(m).lines().any(|l| l.starts_with("Subject:") && l.contains("ferry"))
    });
    check(&mut client, &seen, "TEXT lamp", |_, m| text(m).contains("lamp"));
    check(&mut client, &seen, "LARGER 400", |_, m| m.size > 400);
    check(&mut client, &seen, "3:7,25:28", |at, _| (2..7).contains(&at) || (24..28).contains(&at));
    check(&mut client, &seen, "UID 4:12 NOT 3", |at, m| (4..=12).contains(&m.uid) && at != 2);
    check(&mut client, &seen, "OR (1:5 FLAGGED) (20:* SEEN)", |at, m| {
        (at < 5 && m.flags.contains("\\Flagged")) || (at >= 19 && m.flags.contains("\\Seen"))
    });
    check(&mut client, &seen, "NOT 4:29", |at, _| !(3..29).contains(&at));
    check(&mut client, &seen, "*", |at, _| at == 29);
    check(&mut client, &seen, "SUBJECT nothing-has-this", |_, _| false);
    check(&mut client, &seen, "SINCE 3-Mar-2016", |_, m| {
        !matches!(&m.date[..11], "01-Mar-2016" | "02-Mar-2016")
    });
    let found = client.literal("SEARCH CHARSET UTF-8 SUBJECT ", b"ferry", "").found();
    assert_eq!(found, client.ok("SEARCH SUBJECT ferry").found());
    client.bad("SEARCH NONSENSE");
}

/// The messages that `$` names, by their UIDs.
fn saved(client: &mut Dialogue) -> Vec<u32> {
    client.ok("UID SEARCH $").found()
}

#[test]
fn a_saved_result_stands_wherever_a_set_may() {
    let (world, seen) = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    assert_eq!(saved(&mut client), [], "nothing is saved yet");
    assert_eq!(client.ok("FETCH $ FLAGS").fetched().len(), 0, "which is no error");

    // Four on old, four on new; nothing is told where only SAVE is asked for.
    let told = client.ok("SEARCH RETURN (SAVE) 1:4,24:27");
    assert_eq!(told.lines(), Vec::<String>::new());
    let uids: Vec<u32> = (0..4).chain(23..27).map(|at| seen[at].uid).collect();
    assert_eq!(saved(&mut client), uids);
    assert_eq!(client.ok("SEARCH NOT $").found().len(), 22);
    assert_eq!(client.ok("SEARCH UID $ 3:24").found(), [3, 4, 24]);
    assert_eq!(client.ok("SORT (REVERSE ARRIVAL) UTF-8 $").lines().len(), 1);
    let by = |fetched: Vec<lab::Fetched>| fetched.iter().map(|m| m.uid).collect::<Vec<_>>();
    assert_eq!(by(client.ok("FETCH $ (UID)").fetched()), uids);
    assert_eq!(by(client.ok("UID FETCH $ (FLAGS)").fetched()), uids);
    // Flags of others may be news, and are told on the way.
    let mut stored = client.ok("STORE $ +FLAGS ($Kept)").fetched();
    stored.retain(|m| m.flags.iter().flatten().any(|flag| flag == "$Kept"));
    let stored: BTreeSet<u32> = stored.iter().map(|m| m.seq).collect();
    assert_eq!(stored, BTreeSet::from([1, 2, 3, 4, 24, 25, 26, 27]));
    assert_eq!(client.ok("UID SEARCH KEYWORD $Kept").found(), uids);
    client.ok("UID STORE $ -FLAGS.SILENT ($Kept)");
    assert_eq!(client.ok("SEARCH KEYWORD $Kept").found(), []);
    client.ok("CREATE INBOX.Kept");
    assert_eq!(client.ok("COPY $ INBOX.Kept").copied().1, uids);
    assert_eq!(client.ok("UID COPY $ INBOX.Kept").copied().1, uids);

    // What is expunged leaves it, whoever did it.
    client.ok("UID SEARCH RETURN (SAVE) 1:6");
    let six = saved(&mut client);
    client.ok("STORE 2,9 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE $").expunged(), [2], "and not what lies beside it");
    let mut other = world.proxy.client();
    other.ok("SELECT INBOX");
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    other.ok(&format!("UID EXPUNGE {}", six[0]));
    client.ok("NOOP");
    assert_eq!(saved(&mut client), six[2..]);
    assert_eq!(client.ok("MOVE $ INBOX.Kept").expunged().len(), 4);
    assert_eq!(saved(&mut client), []);
    assert_eq!(client.ok("UID MOVE $ INBOX.Kept").expunged(), []);
}

#[test]
fn what_is_saved_depends_on_what_else_is_asked_for() {
    let (world, seen) = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let uid = |at: usize| seen[at].uid;
    for (options, ats) in [
        ("SAVE MIN", vec![2]),
        ("MAX SAVE", vec![26]),
        ("SAVE MIN MAX", vec![2, 26]),
        ("SAVE MIN COUNT", vec![2, 12, 24, 26]),
        ("SAVE MAX ALL", vec![2, 12, 24, 26]),
        ("SAVE PARTIAL 2:3", vec![12, 24]),
        ("SAVE PARTIAL -1:-2 MIN", vec![2, 24, 26]),
        ("SAVE PARTIAL 1:1 COUNT", vec![2, 12, 24, 26]),
    ] {
        client.ok(&format!("SEARCH RETURN ({options}) 3,13,25,27"));
        let uids: Vec<u32> = ats.into_iter().map(uid).collect();
        assert_eq!(saved(&mut client), uids, "{options}");
    }
    // A search that does not save leaves it, as does one that is no command.
    let before = saved(&mut client);
    client.ok("SEARCH RETURN (COUNT) 1");
    client.bad("SEARCH RETURN (SAVE) 0");
    client.bad("SEARCH RETURN (SAVE) NONSENSE");
    assert_eq!(saved(&mut client), before);
    // A number that no message has finds none, as on Dovecot.
    assert_eq!(client.ok("SEARCH 31").found(), []);
    assert_eq!(client.ok("SEARCH 30:31").found(), [30]);
    // Its own program still means the result before.
    client.ok("SEARCH RETURN (SAVE) $ 13:25");
    assert_eq!(saved(&mut client), [uid(12), uid(24)]);
    client.no("SEARCH RETURN (SAVE) CHARSET X-NONE ALL");
    assert_eq!(saved(&mut client), [], "a NO leaves nothing");
    client.ok("SEARCH RETURN (SAVE) ALL");
    client.ok("SELECT INBOX");
    assert_eq!(saved(&mut client), [], "nor does SELECT");
}

#[test]
fn ages_are_told_to_the_second() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let ages: [u64; 8] = [60, 3_000, 4_200, 86_000, 90_000, 200_000, 31_536_000, 60 * 31_536_000];
    let aged: Vec<Mail> =
        (0..).zip(ages).map(|(n, age)| Mail::numbered(n).dated(now.saturating_sub(age))).collect();
    let others: Vec<Mail> =
        (9..).zip(&aged).map(|(n, mail)| Mail::numbered(n).dated(mail.date)).collect();
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &aged[..5]);
        new.seed("INBOX", &others);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let all: Vec<u64> = aged[..5].iter().chain(&aged).map(|mail| now - mail.date).collect();
    for limit in [30, 3_600, 86_400, 100_000, 300_000, 40_000_000, 4_000_000_000] {
        let those = |fits: &dyn Fn(u64) -> bool| -> Vec<u32> {
            (1..).zip(&all).filter(|(_, age)| fits(**age)).map(|(seq, _)| seq).collect()
        };
        let younger = client.ok(&format!("SEARCH YOUNGER {limit}")).found();
        assert_eq!(younger, those(&|age| age <= limit), "YOUNGER {limit}");
        let older = client.ok(&format!("SEARCH NOT NOT OLDER {limit}")).found();
        assert_eq!(older, those(&|age| age >= limit), "OLDER {limit}");
    }
    let between = client.ok("SEARCH OLDER 3600 YOUNGER 100000").found();
    assert_eq!(between, [3, 4, 5, 8, 9, 10]);
    let mut old = world.old.client();
    old.ok("SELECT INBOX");
    assert_eq!(old.ok("SEARCH OLDER 3600 YOUNGER 100000").found(), [3, 4, 5]);
}

#[test]
fn results_come_in_parts() {
    let (world, seen) = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let part = |client: &mut Dialogue, range: &str| {
        let reply = client.ok(&format!("UID SEARCH RETURN (PARTIAL {range}) 5:28"));
        let line = reply.lines().remove(0);
        let (_, part) = line.split_once(&format!(" PARTIAL ({range} ")).expect("PARTIAL");
        match part.split_once(')').expect("its end").0 {
            "NIL" => Vec::new(),
            set => numbers(set),
        }
    };
    let uids =
        |range: std::ops::Range<usize>| -> Vec<u32> { seen[range].iter().map(|m| m.uid).collect() };
    assert_eq!(part(&mut client, "1:3"), uids(4..7));
    assert_eq!(part(&mut client, "18:15"), uids(18..22));
    assert_eq!(part(&mut client, "20:1000"), uids(23..28));
    assert_eq!(part(&mut client, "-1:-6"), uids(22..28));
    assert_eq!(part(&mut client, "25:30"), []);
    client.bad("SEARCH RETURN (PARTIAL 1:2 ALL) ALL");

    let fetched = client.ok("UID FETCH 1:* (FLAGS) (PARTIAL -1:-8)").fetched();
    assert_eq!(fetched.iter().map(|m| m.uid).collect::<Vec<_>>(), uids(22..30));
    let fetched = client.ok("UID FETCH 1:4000000000 (FLAGS) (PARTIAL 4:5)").fetched();
    assert_eq!(fetched.iter().map(|m| m.uid).collect::<Vec<_>>(), uids(3..5));
    assert_eq!(client.ok("UID FETCH 1:* (FLAGS) (PARTIAL 31:40)").fetched(), []);
    client.bad("FETCH 1:* (FLAGS) (PARTIAL 1:2)");
}

#[test]
fn strings_may_be_of_many_charsets() {
    let subject = |text: &str| Mail::of(format!("Subject: {text}\r\n\r\nx\r\n").into_bytes());
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &[subject("=?utf-8?q?Gr=C3=BC=C3=9Fe?="), subject("none")]);
        new.seed(
            "INBOX",
            &[subject("=?koi8-r?b?0NLJ18XU?="), subject("=?iso-8859-1?q?Gr=FC=DFe?=")],
        );
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let find = |client: &mut Dialogue, charset: &str, octets: &[u8]| {
        client.literal(&format!("SEARCH CHARSET {charset} SUBJECT "), octets, "").found()
    };
    assert_eq!(find(&mut client, "ISO-8859-1", b"gr\xfc\xdf"), [1, 4]);
    assert_eq!(find(&mut client, "utf-8", "grüß".as_bytes()), [1, 4]);
    assert_eq!(find(&mut client, "koi8-r", b"\xd0\xd2\xc9\xd7\xc5\xd4"), [3]);
    let refused = client.no("SEARCH CHARSET X-NONE SUBJECT a");
    assert!(refused.code("BADCHARSET").is_some(), "{refused:?}");
    client.literal("SEARCH CHARSET EUC-JP SUBJECT ", b"\xff", "").expect_status("NO", "no EUC-JP");
}

/// What was told of the search with this tag since.
fn updates(reply: &lab::Reply, tag: &str) -> Vec<String> {
    let head = format!("* ESEARCH (TAG \"{tag}\") ");
    let lines = reply.lines();
    lines.iter().filter_map(|l| Some(l.strip_prefix(&head)?.trim_end().to_owned())).collect()
}

fn tagged(client: &mut Dialogue, tag: &str, command: &str) -> lab::Reply {
    client.raw(format!("{tag} {command}\r\n").as_bytes());
    client.until(tag)
}

#[test]
fn a_result_is_kept_up_to_date_until_that_is_cancelled() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..4));
        new.seed("INBOX", &mails(10..13));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("STORE 1:* FLAGS.SILENT ()");
    let uids = client.ok("UID SEARCH ALL").found();
    let unseen = tagged(&mut client, "s1", "SEARCH RETURN (COUNT UPDATE) UNSEEN");
    assert_eq!(updates(&unseen, "s1"), ["COUNT 7"]);
    let sorted =
        tagged(&mut client, "s2", "UID SORT RETURN (ALL UPDATE) (REVERSE ARRIVAL) UTF-8 UNSEEN");
    assert_eq!(sorted.status, "OK", "{sorted:?}");
    tagged(&mut client, "s1", "SEARCH RETURN (UPDATE) ALL")
        .expect_status("BAD", "its tag is in use");

    // The client itself changes flags, on either side.
    let stored = client.ok("STORE 2,6 +FLAGS (\\Seen)");
    assert_eq!(updates(&stored, "s1"), ["REMOVEFROM (0 2,6)"]);
    let removed = format!("UID REMOVEFROM (6 {} 2 {})", uids[1], uids[5]);
    assert_eq!(updates(&stored, "s2"), [removed]);
    let stored = client.ok("STORE 2 -FLAGS (\\Seen)");
    assert_eq!(updates(&stored, "s1"), ["ADDTO (0 2)"]);
    assert_eq!(updates(&stored, "s2"), [format!("UID ADDTO (5 {})", uids[1])]);
    // Somebody else does.
    let mut other = world.proxy.client();
    other.ok("SELECT INBOX");
    other.ok("STORE 3 +FLAGS (\\Seen)");
    let told = lab::eventually("the change", || {
        let told = updates(&client.ok("NOOP"), "s1");
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told, ["REMOVEFROM (0 3)"]);
    // A message comes: first EXISTS, then what it means.
    world.new.deliver("INBOX", &Mail::numbered(50).flags(&[]));
    let arrived = lab::eventually("the arrival", || {
        Some(client.ok("NOOP")).filter(|reply| reply.count("EXISTS") == Some(8))
    });
    assert_eq!(updates(&arrived, "s1"), ["ADDTO (0 8)"]);
    let at = |word: &str| arrived.lines().iter().position(|l| l.contains(word)).expect("a line");
    assert!(at("EXISTS") < at("ADDTO"), "{arrived:?}");
    // Opening a message is a change of its flags, too.
    let opened = client.ok("FETCH 5 (BODY[])");
    assert_eq!(updates(&opened, "s1"), ["REMOVEFROM (0 5)"]);
    // Who idles is told at once.
    client.raw(b"i1 IDLE\r\n");
    assert!(client.response().starts_with(b"+"));
    other.ok("NOOP");
    other.ok("STORE 5 -FLAGS (\\Seen)");
    let told = lab::eventually("the change", || {
        let line = String::from_utf8(client.response()).expect("text");
        line.starts_with("* ESEARCH (TAG \"s1\")").then_some(line)
    });
    assert_eq!(told.trim_end(), "* ESEARCH (TAG \"s1\") ADDTO (0 5)");
    client.raw(b"DONE\r\n");
    client.until("i1").expect_status("OK", "IDLE");
    // One goes: first what it means, then EXPUNGE.
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    let gone = client.ok("EXPUNGE");
    assert_eq!(updates(&gone, "s1"), ["REMOVEFROM (0 1)"]);
    let at = |word: &str| gone.lines().iter().position(|l| l.contains(word)).expect("a line");
    assert!(at("REMOVEFROM") < at("EXPUNGE"), "{gone:?}");

    client.bad("CANCELUPDATE \"s3\"");
    client.ok("CANCELUPDATE \"s1\" \"s2\"");
    assert_eq!(client.ok("STORE 1:* +FLAGS.SILENT (\\Seen)").lines(), Vec::<String>::new());
    for n in 0..9 {
        let tag = format!("m{n}");
        let reply = tagged(&mut client, &tag, "SEARCH RETURN (UPDATE) ALL");
        assert_eq!(reply.status, "OK");
        let refused =
            reply.lines().iter().any(|l| l.starts_with(&format!("* NO [NOUPDATE \"{tag}\"]")));
        assert_eq!(refused, n == 8, "{reply:?}");
    }
}
