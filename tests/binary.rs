//! BINARY (RFC 3516): parts without their transfer encoding, from whichever server has them.

mod lab;

use lab::{Cyrus, Dialogue, Dovecot, Mail, Shape, World, eventually};

const OCTETS: &[u8] = b"\0\x01\xfe\xff binary \r\n\0";

/// A message whose second part holds [`OCTETS`] in base64.
fn attached(n: usize) -> Mail {
    with_attachment(n, "base64", "AAH+/yBiaW5hcnkgDQoA")
}

fn with_attachment(n: usize, encoding: &str, octets: &str) -> Mail {
    let text = format!(
        "From: ann@example.com\r\nSubject: Attached {n}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nText {n}\r\n\
         --b\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n{octets}\r\n--b--\r\n"
    );
    Mail::of(text.into_bytes())
}

fn part(client: &mut Dialogue, uid: u32, item: &str, answered: &str) -> Vec<u8> {
    let mut fetched = client.ok(&format!("UID FETCH {uid} ({item})")).fetched();
    assert_eq!(fetched.len(), 1);
    let message = fetched.remove(0);
    message.bodies.get(answered).unwrap_or_else(|| panic!("{answered} in {message:?}")).clone()
}

fn parts_are_decoded(old: Shape, new: Shape) {
    let world = World::new().old(old).new(new).seeded(|old, new| {
        old.seed("INBOX", &[attached(1), attached(2)]);
        new.seed("INBOX", &[attached(3)]);
    });
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" BINARY "), "{capability}");
    client.ok("SELECT INBOX");
    let uids: Vec<u32> = client.ok("FETCH 1:* UID").fetched().iter().map(|m| m.uid).collect();
    assert_eq!(uids.len(), 3);
    for &uid in &uids {
        assert_eq!(part(&mut client, uid, "BINARY.PEEK[2]", "BINARY[2]"), OCTETS);
        let middle = part(&mut client, uid, "BINARY.PEEK[2]<2.4>", "BINARY[2]<2>");
        assert_eq!(middle, OCTETS[2..6]);
        let size = client.ok(&format!("UID FETCH {uid} BINARY.SIZE[2]")).lines();
        assert!(size[0].ends_with(&format!("BINARY.SIZE[2] {})", OCTETS.len())), "{size:?}");
        let flags = client.ok(&format!("UID FETCH {uid} FLAGS")).fetched().remove(0).flags;
        assert!(flags.is_some_and(|flags| !flags.contains("\\Seen")));
        assert_eq!(part(&mut client, uid, "BINARY[2]", "BINARY[2]"), OCTETS);
        let flags = client.ok(&format!("UID FETCH {uid} FLAGS")).fetched().remove(0).flags;
        assert!(flags.is_some_and(|flags| flags.contains("\\Seen")));
    }
    // A part that was opened brings its message over, and reads the same there.
    eventually("all are on new", || {
        let mut direct = world.new.client();
        (direct.ok("SELECT INBOX").count("EXISTS") == Some(3)).then_some(())
    });
    for &uid in &uids {
        assert_eq!(part(&mut client, uid, "BINARY.PEEK[2]", "BINARY[2]"), OCTETS);
    }
}

#[test]
fn parts_are_decoded_where_they_lie() {
    parts_are_decoded(Dovecot::old_style().into(), Dovecot::new_style().into());
}

#[test]
fn parts_are_decoded_by_cyrus_too() {
    parts_are_decoded(Dovecot::old_style().into(), Cyrus::styled(true, true).into());
}

#[test]
fn what_the_server_cannot_decode_is_refused_in_its_words() {
    let world = World::new().seeded(|old, _| {
        old.seed("INBOX", &[with_attachment(1, "x-unheard-of", "xyz"), attached(2)]);
    });
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let refused = client.no("FETCH 1 BINARY.PEEK[2]");
    assert_eq!(refused.code("UNKNOWN-CTE").as_deref(), Some(""), "{refused:?}");
    assert_eq!(part(&mut client, 2, "BINARY.PEEK[2]", "BINARY[2]"), OCTETS);
}

#[test]
fn a_message_with_nul_is_handed_on_as_such() {
    let world = World::new().start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let mut text = b"From: ann@example.com\r\nMIME-Version: 1.0\r\nContent-Type: ".to_vec();
    text.extend_from_slice(
        b"application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n",
    );
    text.extend_from_slice(OCTETS);
    let (_, uid) =
        client.literal("APPEND INBOX ~", &text, "").expect_status("OK", "APPEND").appended();
    assert_eq!(part(&mut client, uid, "BINARY.PEEK[1]", "BINARY[1]"), OCTETS);
}

#[test]
fn v10_nothing_is_decoded_where_one_server_cannot() {
    let world = World::new().set("old.mask", "[\"BINARY\"]").start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" MOVE ") && !capability.contains("BINARY"), "{capability}");
    client.ok("SELECT INBOX");
    client.bad("FETCH 1:* BINARY.SIZE[1]");
}
