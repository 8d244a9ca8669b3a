//! Writes over servers that have nothing but RFC 3501, and what becomes of an APPEND that goes wrong.

mod lab;

use lab::{Dialogue, Dovecot, Mail, World, everything, mails, quoted, small};

/// Neither side has UIDPLUS, MOVE, ESEARCH, LITERAL+ or MULTIAPPEND, as far as the proxy is told.
fn bare() -> World {
    let mask = r#"["UIDPLUS", "MOVE", "ESEARCH", "LITERAL+", "LITERAL-", "MULTIAPPEND"]"#;
    World::new()
        .old(Dovecot::old_style())
        .set("old.mask", mask)
        .set("new.mask", mask)
        .set("limits.message", "\"1MiB\"")
        .seeded(|old, new| {
            let holes: Vec<_> = (0..8).map(|n| Mail::numbered(n).uid(n * 3 + 1)).collect();
            old.seed("INBOX", &holes);
            new.seed("INBOX", &mails(50..54));
            old.seed("Old Only", &mails(20..22));
            new.seed("New Only", &mails(30..32));
        })
}

fn uids(client: &mut Dialogue, mailbox: &str) -> Vec<u32> {
    client.ok(&format!("SELECT {}", quoted(mailbox)));
    client.ok("UID SEARCH ALL").found()
}

#[test]
fn v6_expunge_without_uidplus_spares_bystanders_and_their_flag() {
    let world = bare();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    // Opened, so that what lies on old is a hidden copy, whose \Deleted is nobody's wish to expunge.
    client.ok("FETCH 1:2 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 6);
    let mut old = world.old.client();
    old.ok("SELECT INBOX");
    old.ok("UID STORE 1 +FLAGS (\\Deleted)");
    let all = uids(&mut client, "INBOX");
    assert_eq!(all.len(), 12);
    let (third, fourth, last) = (all[2], all[3], all[11]);
    client.ok(&format!("UID STORE {third},{fourth},{last} +FLAGS (\\Deleted)"));
    assert_eq!(client.ok(&format!("UID EXPUNGE {third}")).expunged(), [3]);
    old.ok("NOOP");
    assert_eq!(old.ok("UID SEARCH DELETED").found(), [1, fourth]);
    assert_eq!(old.ok("UID SEARCH ALL").found(), [1, 4, 10, 13, 16, 19, 22]);
    let mut gone = client.ok("EXPUNGE").expunged();
    gone.sort_unstable();
    assert_eq!(gone, [3, 11]);
    old.ok("NOOP");
    assert_eq!(old.ok("UID SEARCH DELETED").found(), [1]);
    assert_eq!(everything(&mut client, "INBOX").len(), 9);
}

#[test]
fn move_without_move_copies_first_and_takes_away_exactly_that() {
    let world = bare();
    let mut client = world.proxy.client();
    let all = uids(&mut client, "INBOX");
    client.ok(&format!("UID STORE {} +FLAGS (\\Deleted)", all[4]));
    for (target, chosen) in
        [("INBOX.Old Only", [all[0], all[11]]), ("INBOX.New Only", [all[2], all[10]])]
    {
        let before = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let set = chosen.map(|uid| uid.to_string()).join(",");
        let moved = client.ok(&format!("UID MOVE {set} {}", quoted(target)));
        assert_eq!(moved.expunged().len(), 2, "{target}: {moved:?}");
        let there = everything(&mut client, target);
        assert_eq!(there.len(), 4, "{target}");
        for uid in chosen {
            let original = before.iter().find(|m| m.uid == uid).expect("original");
            let copies = there.iter().filter(|m| m.octets == original.octets);
            let flags: Vec<_> = copies.map(|m| m.flags.clone()).collect();
            assert_eq!(flags, std::slice::from_ref(&original.flags), "{target}");
        }
    }
    let left = uids(&mut client, "INBOX");
    let expected: Vec<u32> =
        all.iter().copied().filter(|u| ![all[0], all[2], all[10], all[11]].contains(u)).collect();
    assert_eq!(left, expected);
    assert_eq!(client.ok("UID SEARCH DELETED").found(), [all[4]]);
}

#[test]
fn append_to_a_server_without_literal_plus() {
    let world = bare();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let appended = client.append("INBOX", "(\\Seen) \"17-Jul-1996 02:44:25 -0700\"", &small(7));
    assert_eq!(appended.count("EXISTS"), Some(13), "{appended:?}");
    let (_, uid) = appended.appended();
    let fetched = client.ok(&format!("UID FETCH {uid} (FLAGS BODY.PEEK[])")).fetched();
    assert_eq!(fetched[0].body(), small(7));
    assert!(fetched[0].has("\\Seen"));
    let plus = client.literal_plus("APPEND \"INBOX.Old Only\" ", &small(8), "");
    assert!(plus.code("APPENDUID").is_some(), "{plus:?}");
    assert_eq!(everything(&mut client, "INBOX.Old Only").len(), 3);
}

#[test]
fn an_append_that_cannot_be_is_passed_over_and_the_session_goes_on() {
    let world = bare();
    let mut client = world.proxy.client();
    let large = vec![b'x'; 2 << 20];
    for mailbox in ["INBOX", "INBOX.Nowhere"] {
        let before = format!("APPEND {mailbox} ");
        let message = if mailbox == "INBOX" { large.as_slice() } else { b"x: y\r\n\r\n" };
        client.literal(&before, message, "").expect_status("NO", &before);
        client.ok("NOOP");
        client.literal_plus(&before, message, "").expect_status("NO", &before);
        client.ok("NOOP");
    }
    // A second message in one command: MULTIAPPEND is not offered.
    let two = b"m1 APPEND INBOX {3+}\r\na\r\n (\\Seen) {3+}\r\nb\r\n\r\n";
    client.raw(two);
    client.until("m1").expect_status("BAD", "two messages");
    assert_eq!(everything(&mut client, "INBOX").len(), 12);
}

#[test]
fn a_client_that_goes_away_within_a_message_leaves_nothing() {
    let world = bare();
    let mut client = world.proxy.client();
    client.raw(b"x1 APPEND INBOX {100000+}\r\nSubject: half of it\r\n\r\n");
    drop(client);
    let mut client = world.proxy.client();
    let appended = client.append("INBOX", "", &small(9));
    assert!(appended.code("APPENDUID").is_some());
    assert_eq!(uids(&mut world.new.client(), "INBOX").len(), 5);
    assert_eq!(everything(&mut client, "INBOX").len(), 13);
}
