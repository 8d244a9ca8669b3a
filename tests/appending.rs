//! APPEND of several messages, and of messages put together of others.

mod lab;

use lab::{Dialogue, World, everything, mails, small};

fn world() -> World {
    World::new().set("limits.message", "\"1MiB\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(10..12));
        old.seed("Old Only", &mails(20..22));
    })
}

/// A command in pieces, of which all but the last announce a literal, each of which is asked for.
fn in_pieces(client: &mut Dialogue, pieces: &[(&str, &[u8])], end: &str) -> lab::Reply {
    for (n, (text, octets)) in pieces.iter().enumerate() {
        let tag = if n == 0 { "m1 " } else { "" };
        client.send(&format!("{tag}{text}{{{}}}", octets.len()));
        client.wait_for(|line| line.starts_with('+'));
        client.raw(octets);
    }
    client.send(end);
    client.until("m1")
}

#[test]
fn several_messages_are_appended_at_once_or_none() {
    let world = world();
    world.proxy.client().ok("LIST \"\" *");
    let mut client = world.proxy.client();
    assert!(client.ok("CAPABILITY").lines().concat().contains(" MULTIAPPEND"));
    let (one, two) = (small(1), small(2));
    let date = "\"17-Jul-1996 02:44:25 +0000\"";
    let second = format!(" {date} ");
    let pieces = [("APPEND INBOX (\\Seen) ", one.as_slice()), (second.as_str(), two.as_slice())];
    let done = in_pieces(&mut client, &pieces, "").expect_status("OK", "two messages");
    let uids = lab::numbers(done.code("APPENDUID").expect("UIDs").split_once(' ').unwrap().1);
    let seen = everything(&mut client, "INBOX");
    assert_eq!(seen.len(), 7);
    assert_eq!([seen[5].uid, seen[6].uid], uids[..]);
    assert_eq!((&seen[5].octets, &seen[6].octets), (&one, &two));
    assert!(seen[5].flags.contains("\\Seen") && seen[6].flags.is_empty());
    assert_eq!(seen[6].date, "17-Jul-1996 02:44:25 +0000");

    // The second is refused: the first is not there either.
    client.ok("UNSELECT");
    client.raw(b"n1 APPEND INBOX {3+}\r\na\r\n {9000000}\r\n");
    let refused = client.until("n1").expect_status("NO", "too large");
    assert_eq!(refused.code("TOOBIG").as_deref(), Some(""));
    client.raw(b"n2 APPEND INBOX {3+}\r\na\r\n nonsense {3+}\r\nb\r\n\r\n");
    client.until("n2").expect_status("BAD", "nonsense");
    assert_eq!(everything(&mut client, "INBOX").len(), 7);
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert!(on_new.iter().all(|seen| seen.octets.len() > 10), "no part of them on new");
}

#[test]
fn a_message_is_put_together_of_parts_from_both_sides() {
    let world = world();
    let mut client = world.proxy.client();
    let seen = everything(&mut client, "INBOX");
    let validity = client.ok("SELECT INBOX").number("UIDVALIDITY");
    let (on_old, on_new) = (&seen[0], &seen[4]);
    let header = format!(
        "APPEND \"INBOX.Old Only\" (\\Draft) CATENATE (URL \"/INBOX;UIDVALIDITY={validity}/;UID={}/;SECTION=HEADER\" TEXT ",
        on_old.uid
    );
    let end = format!(" URL \";UID={}/;SECTION=TEXT\")", on_new.uid);
    let done = in_pieces(&mut client, &[(&header, b"In between.\r\n")], &end);
    assert_eq!(done.status, "OK", "{done:?}");
    let made = everything(&mut client, "INBOX.Old Only").pop().expect("a message");
    let cut = |octets: &[u8]| memchr::memmem::find(octets, b"\r\n\r\n").expect("a header") + 4;
    let (head, body) =
        (&on_old.octets[..cut(&on_old.octets)], &on_new.octets[cut(&on_new.octets)..]);
    assert_eq!(made.octets, [head, b"In between.\r\n", body].concat());
    assert!(made.flags.contains("\\Draft"));
    assert_eq!(done.appended().1, made.uid);

    // Without any octets of the client's, and a whole message.
    client.ok("SELECT INBOX");
    client.ok(&format!("APPEND INBOX CATENATE (URL \"/;UID={}\")", on_old.uid));
    assert_eq!(everything(&mut client, "INBOX").pop().expect("a message").octets, on_old.octets);
}

#[test]
fn a_part_that_is_not_there_is_named_and_nothing_is_stored() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    for url in [
        "/INBOX/;UID=999",
        "/INBOX;UIDVALIDITY=1/;UID=1",
        "/INBOX.Nowhere/;UID=1",
        "imap://elsewhere.example.com/INBOX/;UID=1",
        "/;UID=1/;SECTION=NONSENSE",
    ] {
        let no = client.no(&format!("APPEND INBOX CATENATE (URL \"{url}\")"));
        assert_eq!(no.code("BADURL"), Some(format!("\"{url}\"")), "{no:?}");
        // The rest of the command is passed over.
        let plus = format!("p1 APPEND INBOX CATENATE (URL \"{url}\" TEXT {{3+}}\r\nabc)\r\n");
        client.raw(plus.as_bytes());
        client.until("p1").expect_status("NO", url);
        client.ok("NOOP");
    }
    client.raw(b"t1 APPEND INBOX CATENATE (TEXT {1000000+}\r\n");
    client.raw(&vec![b'x'; 1_000_000]);
    client.raw(b" TEXT {100000}\r\n");
    let refused = client.until("t1").expect_status("NO", "too large together");
    assert_eq!(refused.code("TOOBIG").as_deref(), Some(""));
    client.bad("APPEND INBOX CATENATE (NONSENSE x)");
    assert_eq!(everything(&mut client, "INBOX").len(), 5);
}

#[test]
fn v4_a_message_is_replaced_wherever_it_lies() {
    let world = world();
    let (mut client, mut other) = (world.proxy.client(), world.proxy.client());
    client.ok("SELECT INBOX");
    let before = client.ok("UID SEARCH ALL").found();
    assert_eq!(before.len(), 5);
    // Two of old's and one of new's. Nobody opens them: they stay where they are.
    for (n, by_uid) in [(0, false), (2, true), (4, false)] {
        let (text, uid) = (small(100 + n), before[n as usize]);
        let now = client.ok("UID SEARCH ALL").found();
        let at = now.iter().position(|known| *known == uid).expect("still there") + 1;
        let command = match by_uid {
            true => format!("UID REPLACE {uid} INBOX (\\Draft) "),
            false => format!("REPLACE {at} INBOX (\\Draft) "),
        };
        let reply = client.literal(&command, &text, "").expect_status("OK", &command);
        let lines = reply.lines();
        let code = lines.iter().position(|l| l.starts_with("* OK [APPENDUID ")).expect("its UID");
        let gone = lines.iter().position(|l| *l == format!("* {at} EXPUNGE")).expect("it is gone");
        assert!(code < gone, "{lines:?}");
        let now = client.ok("UID SEARCH ALL").found();
        let (_, replacement) = reply.appended();
        assert_eq!((now.len(), now[4], now.contains(&uid)), (5, replacement, false));
        let fetch = format!("UID FETCH {replacement} (FLAGS BODY.PEEK[])");
        let seen = client.ok(&fetch).fetched().remove(0);
        assert_eq!(seen.bodies["BODY[]"], text);
        assert!(seen.flags.is_some_and(|flags| flags.contains("\\Draft")));
    }
    assert_eq!(
        everything(&mut world.old.client(), "INBOX").len(),
        1,
        "two of old's are gone there"
    );

    // Into another mailbox.
    let text = small(200);
    client.ok("SELECT INBOX");
    client.literal("REPLACE * Drafts ", &text, "").expect_status("NO", "no such mailbox");
    client.literal_plus("REPLACE 1 \"INBOX.Old Only\" ", &text, "").expect_status("OK", "REPLACE");
    assert_eq!(everything(&mut other, "INBOX").len(), 4);
    assert_eq!(everything(&mut other, "INBOX.Old Only")[2].octets, text);
}

#[test]
fn what_cannot_be_replaced_is_refused_and_nothing_is_stored() {
    let world = world();
    let (mut client, mut other) = (world.proxy.client(), world.proxy.client());
    let text = small(100);
    client.literal_plus("REPLACE 1 INBOX ", &text, "").expect_status("BAD", "nothing selected");
    client.ok("EXAMINE INBOX");
    client.literal_plus("REPLACE 1 INBOX ", &text, "").expect_status("NO", "read-only");
    client.ok("SELECT INBOX");
    client.literal_plus("REPLACE 9 INBOX ", &text, "").expect_status("BAD", "no such number");
    client.literal_plus("UID REPLACE 9 INBOX ", &text, "").expect_status("NO", "no such UID");
    client.literal_plus("REPLACE 1:2 INBOX ", &text, "").expect_status("BAD", "two of them");
    client.bad("REPLACE 1 INBOX");
    client.literal("REPLACE 1 INBOX ", &vec![b'x'; 2_000_000], "").expect_status("NO", "too large");
    client.raw(b"n1 REPLACE 1 INBOX {3+}\r\na\r\n {3+}\r\nb\r\n\r\n");
    client.until("n1").expect_status("BAD", "two for one");
    client.ok("NOOP");
    assert_eq!(everything(&mut other, "INBOX").len(), 5);
    assert_eq!(everything(&mut world.old.client(), "INBOX").len(), 3);
    let on_new = everything(&mut world.new.client(), "INBOX");
    assert!(on_new.iter().all(|seen| seen.octets != text && seen.octets.len() > 10));
}
