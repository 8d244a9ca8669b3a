//! Mail that lies on both sides already, and servers whose numbers change: no message is shown twice (V1, V3).

mod lab;

use lab::{Mail, Server, World, eventually, everything, mails, sorted};

/// Makes a server forget the numbers of its INBOX, as after a restored backup.
fn renumber(server: &mut Server) {
    server.stop();
    let inbox = server.maildir("ann@example.com", "INBOX");
    for name in ["dovecot-uidlist", "dovecot.index", "dovecot.index.log", "dovecot.index.cache"] {
        let path = inbox.join(name);
        if path.exists() {
            std::fs::remove_file(path).expect(name);
        }
    }
    server.start();
}

#[test]
fn v3_mail_that_lies_on_both_sides_already_is_shown_once() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &mails(0..20));
        let mut there = mails(10..25);
        for mail in &mut there {
            mail.flags.clear();
        }
        new.seed("INBOX", &there);
    });
    let originals = everything(&mut world.old.client(), "INBOX");
    let shown = eventually("both are matched", || {
        let shown = everything(&mut world.proxy.client(), "INBOX");
        (shown.len() == 25).then_some(shown)
    });
    assert_eq!(shown[..20], originals, "old's numbers, and old's flags: it is what was read since");
    let rest: Vec<_> = shown[20..].iter().map(|m| m.octets.clone()).collect();
    assert_eq!(rest, mails(20..25).into_iter().map(|m| m.octets).collect::<Vec<_>>());
}

#[test]
fn v1_v3_new_changes_its_uidvalidity_and_the_client_sees_nothing() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..10)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:6 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 6);
    client.append("INBOX", "", &lab::small(500));
    let before = everything(&mut client, "INBOX");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 11);
    drop(client);
    renumber(&mut world.new);
    let after = eventually("new is matched again", || {
        let mut client = world.proxy.client();
        let opened = client.cmd("EXAMINE INBOX").status == "OK";
        let listed = opened && client.cmd("FETCH 1:* (UID FLAGS)").status == "OK";
        let shown = if listed { everything(&mut client, "INBOX") } else { Vec::new() };
        (shown.len() == before.len()).then_some(shown)
    });
    assert_eq!(sorted(after.clone()), sorted(before.clone()));
    assert_eq!(after[..10], before[..10], "what old numbered keeps its number");
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 11, "nothing is copied twice");
}

#[test]
fn v3_double_delivery_is_shown_once() {
    let world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    world.old.deliver("INBOX", &Mail::numbered(70));
    eventually("the first", || (client.ok("NOOP").count("EXISTS") == Some(4)).then_some(()));
    world.new.deliver("INBOX", &Mail::numbered(70));
    world.new.deliver("INBOX", &Mail::numbered(71));
    eventually("another", || {
        client.ok("NOOP");
        let shown = everything(&mut world.proxy.client(), "INBOX");
        shown.iter().any(|m| m.octets == lab::small(71)).then_some(())
    });
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(shown.iter().filter(|m| m.octets == lab::small(70)).count(), 1);
}
