//! INPROGRESS (RFC 9585): a client whose command takes long hears that it still runs.

mod lab;

use std::time::Duration;

use lab::{Dialogue, Fate, Mail, Way, World, has, large, mails, small};

/// New answers as soon as the wire is released, and not before.
fn world() -> World {
    World::new().wired().set("limits.progress_interval", "\"200ms\"").seeded(|old, new| {
        old.seed("INBOX", &mails(0..4));
        new.seed("INBOX", &mails(10..14));
        new.seed("There", &mails(20..22));
    })
}

fn hold(world: &World) {
    world.new_wire.rule(|way, _| if way == Way::ToProxy { Fate::Hold } else { Fate::Pass });
}

fn in_progress(tag: &str) -> String {
    format!("* OK [INPROGRESS (\"{tag}\" NIL NIL)] ")
}

fn count(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains("INPROGRESS")).count()
}

#[test]
fn v10_whatever_takes_long_is_told_to_be_in_progress() {
    let world = world();
    let mut client = world.proxy.client();
    let offered = client.ok("CAPABILITY").lines().concat();
    assert!(offered.split(' ').any(|name| name == "INPROGRESS"), "{offered}");
    client.ok("SELECT INBOX");
    client.ok("STATUS INBOX.There (MESSAGES)");
    for (at, command) in [
        "SEARCH TEXT nowhere",
        "SORT (SUBJECT) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "FETCH 1:* (FLAGS)",
        "FETCH 1:* (ENVELOPE BODY.PEEK[HEADER])",
        "STORE 8 +FLAGS (\\Flagged)",
        "COPY 7:8 INBOX.There",
        "EXPUNGE",
        "NOOP",
        "STATUS INBOX.There (UNSEEN)",
        "LIST \"\" * RETURN (STATUS (MESSAGES))",
        "CREATE INBOX.Fresh",
        "SELECT INBOX",
    ]
    .into_iter()
    .enumerate()
    {
        let tag = format!("p{at}");
        hold(&world);
        client.send(&format!("{tag} {command}"));
        for _ in 0..2 {
            let told = client.wait_for(|line| line.contains("INPROGRESS"));
            assert!(told.starts_with(&in_progress(&tag)), "{command}: {told}");
        }
        world.new_wire.release();
        client.until(&tag).expect_status("OK", command);
    }
    // What is quick says nothing of it.
    for command in ["NOOP", "SEARCH ALL", "FETCH 1:* (UID)"] {
        assert_eq!(count(&client.ok(command).lines()), 0, "{command}");
    }
    let appended = append_slowly(&world, &mut client);
    assert!(appended > 0, "APPEND");
}

fn append_slowly(world: &World, client: &mut Dialogue) -> usize {
    let message = small(40);
    hold(world);
    client.raw(format!("a APPEND INBOX {{{}+}}\r\n", message.len()).as_bytes());
    client.raw(&message);
    client.raw(b"\r\n");
    std::thread::sleep(Duration::from_millis(700));
    world.new_wire.release();
    count(&client.until("a").expect_status("OK", "APPEND").lines())
}

#[test]
fn within_a_message_nothing_is_told() {
    let mail = large(1, 300_000);
    let world = World::new()
        .wired()
        .set("limits.progress_interval", "\"50ms\"")
        .seeded(|_, new| new.seed("INBOX", &[Mail::of(mail.clone())]));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    // The first part of the message passes, the next waits for a while.
    let mut parts = 0;
    world.new_wire.rule(move |way, chunk| {
        if way == Way::ToServer || (parts == 0 && !has(chunk, "BODY[]")) {
            return Fate::Pass;
        }
        parts += 1;
        if parts == 3 { Fate::Hold } else { Fate::Pass }
    });
    client.send("f FETCH 1 (BODY.PEEK[])");
    std::thread::sleep(Duration::from_millis(500));
    world.new_wire.release();
    let reply = client.until("f").expect_status("OK", "FETCH");
    assert_eq!(reply.fetched()[0].body(), mail);
}
