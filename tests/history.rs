//! A tool has put old's mail below a root of its own on new: each message is seen once, where it belongs, under old's
//! UID (V2, V3), and is not copied again (V5).

mod lab;

use lab::{Cyrus, Dovecot, Shape, World, eventually, everything, mails, quoted, sorted, view};

fn brought_home(new: impl Into<Shape>) {
    let root = "historical_data";
    let world = World::new()
        .new(new)
        .set("copy.history", "\"historical_data\"")
        .set("folders.\"INBOX.Post\"", "\"Letters\"")
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..10));
            old.seed("Post", &mails(20..26));
            old.seed("Work/2019", &mails(30..33));
            new.seed("INBOX", &mails(40..42));
            new.seed(&format!("{root}/INBOX"), &mails(0..6));
            new.seed(&format!("{root}/Post"), &mails(20..24));
            new.seed(&format!("{root}/Work/2019"), &mails(30..33));
            new.seed(&format!("{root}/Gone"), &mails(50..52));
        });
    let originals =
        |world: &World, folder: &str| everything(&mut world.old.client(), &world.old.name(folder));
    let mut client = world.proxy.client();
    let names = lab::folder_names(&mut client);
    assert!(!names.iter().any(|name| name.contains(root)), "{names:?}");
    let all = [("INBOX", "INBOX", 12), ("Post", "Letters", 6), ("Work/2019", "Work/2019", 3)];
    for (folder, on_new, count) in all {
        let old = originals(&world, folder);
        let name = world.old.name(folder);
        let shown = eventually("all that is there", || {
            client.ok("LIST \"\" *");
            let exists = client.ok(&format!("SELECT {}", quoted(&name))).count("EXISTS");
            (exists == Some(count)).then(|| everything(&mut client, &name))
        });
        assert_eq!(shown[..old.len()], old[..], "{folder}: old's, as they are there");
        client.ok("UID FETCH 1:* (BODY.PEEK[])");
        let mut direct = world.new.client();
        let held = eventually("all are on new", || {
            client.ok("UID FETCH 1:* (BODY.PEEK[])");
            let held = everything(&mut direct, &world.new.name(on_new));
            (held.len() == count as usize).then_some(held)
        });
        assert_eq!(sorted(held.clone()), sorted(shown), "{folder}");
        assert!(view::copies(&held).values().all(|n| *n == 1), "{folder}: none twice");
    }
    // A folder that old has not is a folder.
    let gone = world.old.name("Gone");
    eventually("what old has not", || {
        client.ok("LIST \"\" *");
        let reply = client.cmd(&format!("SELECT {}", quoted(&gone)));
        (reply.count("EXISTS") == Some(2)).then_some(())
    });
    assert!(
        everything(&mut world.new.client(), &world.new.name(&format!("{root}/INBOX"))).is_empty()
    );
}

#[test]
fn v3_what_a_tool_put_below_a_root_of_its_own_is_seen_once_where_it_belongs() {
    brought_home(Dovecot::new_style());
}

#[test]
fn v3_what_a_tool_put_below_a_root_of_its_own_on_cyrus_is_seen_once_where_it_belongs() {
    brought_home(Cyrus::styled(true, true));
}
