//! The door to phase new: a clean `verify` opens it, and what changes on old afterwards closes it again.

mod lab;

use lab::{Mail, World, eventually, everything, mails, quoted};

fn phase_new(world: &World) -> Result<(), String> {
    let told = world.proxy.run(&["phase", "ann", "new"]);
    match told.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&told.stderr).into_owned()),
    }
}

fn verify(world: &World) -> bool {
    world.proxy.run(&["verify", "ann"]).status.success()
}

#[test]
fn v5_only_what_was_verified_and_has_not_changed_on_old_goes_to_phase_new() {
    let mut world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..5));
        old.seed("Work", &mails(10..12));
    });
    let work = world.old.name("Work");
    let mut client = world.proxy.client();
    let refused = phase_new(&world).unwrap_err();
    assert!(refused.contains("it was never verified"), "{refused}");
    // What is on old alone is missing on new.
    assert!(!verify(&world));
    assert!(phase_new(&world).unwrap_err().contains("it was never verified"));

    let copied = |client: &mut lab::Dialogue, folder: &str, count: usize| {
        client.ok(&format!("SELECT {}", quoted(folder)));
        client.ok("UID FETCH 1:* BODY.PEEK[]");
        let on_new = folder.trim_start_matches("INBOX.").to_owned();
        lab::eventually_holds(&mut world.new.client(), &on_new, count);
    };
    copied(&mut client, "INBOX", 5);
    copied(&mut client, &work, 2);
    assert!(verify(&world), "all is copied");

    // Mail comes to old: seen by a client, or by nobody.
    for (folder, seen) in [("INBOX", true), ("Work", false)] {
        let name = world.old.name(folder);
        let before = everything(&mut client, &name).len();
        world.old.deliver(folder, &Mail::numbered(100 + before as u32));
        if seen {
            lab::eventually_holds(&mut client, &name, before + 1);
        }
        let refused = phase_new(&world).unwrap_err();
        assert!(refused.contains(&name) && refused.contains("old"), "{refused}");
        copied(&mut client, &name, before + 1);
        let refused = phase_new(&world).unwrap_err();
        assert!(refused.contains("has changed on old since it was verified"), "{refused}");
        assert!(verify(&world));
    }
    // A folder that nobody has verified.
    world.old.client().ok(&format!("CREATE {}", world.old.name("Late")));
    world.old.deliver("Late", &Mail::numbered(200));
    let refused = phase_new(&world).unwrap_err();
    assert!(refused.contains("Late"), "{refused}");
    let late = world.old.name("Late");
    client.ok("LIST \"\" *");
    copied(&mut client, &late, 1);
    assert!(verify(&world));
    // It outlives the proxy. What is removed or marked on old is new's to decide over, and no obstacle.
    drop(client);
    world.proxy.kill9();
    world.proxy.restart();
    let _client = world.proxy.client();
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    direct.ok("STORE 1 +FLAGS (\\Flagged)");
    direct.ok("STORE 2 +FLAGS (\\Deleted)");
    direct.ok("EXPUNGE");
    eventually("the door is open", || phase_new(&world).ok());
    assert_eq!(everything(&mut world.proxy.client(), "INBOX").len(), 6);
}
