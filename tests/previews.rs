//! PREVIEW (RFC 8970): what the server where a message lies says of it, under the client's numbers.

mod lab;

use lab::{Cyrus, Dialogue, Dovecot, Fetched, Mail, Shape, World};

/// Messages whose previews cannot be taken for one another's.
fn letters(texts: &[&str]) -> Vec<Mail> {
    let letter = |text: &&str| {
        let head = "From: ann@example.com\r\nSubject: A letter\r\nMIME-Version: 1.0\r\n\
                    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
        Mail::of(format!("{head}\r\n{text}\r\n").into_bytes())
    };
    texts.iter().map(letter).collect()
}

/// UID and PREVIEW, or NIL, of every message, in their order.
fn previews(client: &mut Dialogue, item: &str) -> Vec<(u32, Option<String>)> {
    let told = |message: Fetched| {
        assert!(message.order.iter().any(|item| item == "PREVIEW"), "{message:?}");
        let text = message.bodies.get("PREVIEW");
        (message.uid, text.map(|text| String::from_utf8_lossy(text).into_owned()))
    };
    let reply = client.ok(&format!("UID FETCH 1:* (UID {item})"));
    reply.fetched().into_iter().map(told).collect()
}

fn previews_are_told(old: Shape, new: Shape) {
    let world = World::new().old(old).new(new).seeded(|old, new| {
        old.seed("INBOX", &letters(&["The ferry leaves at nine", "Grüße von der Fähre"]));
        new.seed("INBOX", &letters(&["It rains \"hard\" in the harbour"]));
    });
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" PREVIEW "), "{capability}");

    let mut direct = Vec::new();
    for server in [&world.old, &world.new] {
        let mut alone = server.client();
        alone.ok("EXAMINE INBOX");
        direct.extend(previews(&mut alone, "PREVIEW").into_iter().map(|(_, text)| text));
    }
    assert_eq!(direct.len(), 3);
    assert!(direct[0].as_ref().is_some_and(|text| text.contains("ferry")), "{direct:?}");
    client.ok("SELECT INBOX");
    let all = previews(&mut client, "FLAGS PREVIEW");
    assert_eq!(all.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), direct);
    assert!(
        all.is_sorted_by_key(|(uid, _)| *uid) && all.iter().all(|(uid, _)| *uid != 0),
        "{all:?}"
    );
    // By now the servers have them at hand.
    assert_eq!(previews(&mut client, "PREVIEW (LAZY)"), all);
    client.bad("FETCH 1 (PREVIEW (EAGER))");
}

#[test]
fn previews_come_from_where_the_message_lies() {
    previews_are_told(Dovecot::old_style().into(), Dovecot::new_style().into());
}

/// Cyrus has none at hand unless something else writes them: NIL is an answer.
#[test]
fn a_server_without_a_preview_for_a_message_says_so() {
    previews_are_told(Dovecot::old_style().into(), Cyrus::styled(true, true).into());
}

#[test]
fn v10_no_preview_is_offered_where_one_server_has_none() {
    let world = World::new().set("new.mask", "[\"PREVIEW\"]").start();
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" MOVE ") && !capability.contains("PREVIEW"), "{capability}");
    client.ok("SELECT INBOX");
    client.bad("FETCH 1:* PREVIEW");
}
