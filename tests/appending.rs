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
    let date = "\"17-Jul-1996 02:44:25 -0700\"";
    let second = format!(" {date} ");
    let pieces = [("APPEND INBOX (\\Seen) ", one.as_slice()), (second.as_str(), two.as_slice())];
    let done = in_pieces(&mut client, &pieces, "").expect_status("OK", "two messages");
    let uids = lab::numbers(done.code("APPENDUID").expect("UIDs").split_once(' ').unwrap().1);
    let seen = everything(&mut client, "INBOX");
    assert_eq!(seen.len(), 7);
    assert_eq!([seen[5].uid, seen[6].uid], uids[..]);
    assert_eq!((&seen[5].octets, &seen[6].octets), (&one, &two));
    assert!(seen[5].flags.contains("\\Seen") && seen[6].flags.is_empty());
    assert_eq!(seen[6].date, "17-Jul-1996 09:44:25 +0000", "as new shows it");

    // The second is refused: the first is not there either.
    client.ok("UNSELECT");
    client.raw(b"n1 APPEND INBOX {3+}\r\na\r\n {9000000}\r\n");
    let refused = client.until("n1").expect_status("NO", "too large");
    assert_eq!(refused.code("TOOBIG").as_deref(), Some(""));
    client.raw(b"n2 APPEND INBOX {3+}\r\na\r\n nonsense {3+}\r\nb\r\n\r\n");
    client.until("n2").expect_status("BAD", "nonsense");
    assert_eq!(everything(&mut client, "INBOX").len(), 7);
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 4);
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
