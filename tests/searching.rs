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
