//! The disk of the index is full: nothing new is begun, nothing is lost, and it goes on when there is room.

mod lab;

use std::fs;

use lab::proxy::SMALL_DISK;
use lab::{Mail, World, eventually, eventually_holds, everything, mails, sorted};

#[test]
fn v2_v5_with_a_full_disk_known_mail_is_read_and_new_mail_waits_for_room() {
    let world = World::new()
        .set(SMALL_DISK, "true")
        .set("limits.free_space", "\"8MiB\"")
        .set("copy.retry", "\"1s\"")
        .seeded(|old, _| old.seed("INBOX", &mails(0..4)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1 (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 1);

    let filler = world.proxy.state().join("filler");
    fs::write(&filler, vec![1; 18 << 20]).expect("room for the filler");
    std::thread::sleep(std::time::Duration::from_millis(300));
    world.old.deliver("INBOX", &Mail::numbered(10).flags(&[]));
    let message = Mail::numbered(11);
    let refused = client.literal("APPEND INBOX ", &message.octets, "");
    assert_eq!(refused.status, "NO", "{refused:?}");
    assert!(refused.code("UNAVAILABLE").is_some(), "{refused:?}");
    assert!(refused.text.contains("disk"), "{refused:?}");
    client.no("COPY 1 INBOX");
    client.no(&format!("CREATE {}", world.old.name("Later")));
    // What is known is there, in this session and in others.
    assert_eq!(client.ok("FETCH 1:4 (BODY.PEEK[])").fetched().len(), 4);
    let mut other = world.proxy.client();
    assert_eq!(other.ok("SELECT INBOX").count("EXISTS"), Some(4));
    other.ok("STORE 2 +FLAGS (\\Flagged)");
    assert_eq!(everything(&mut world.new.client(), "INBOX").len(), 1, "nothing was copied");
    assert_eq!(world.proxy.log().matches("the disk is full").count(), 1, "{}", world.proxy.log());

    fs::remove_file(&filler).expect("removed");
    eventually("the new mail is shown", || {
        (other.ok("SELECT INBOX").count("EXISTS") == Some(5)).then_some(())
    });
    assert_eq!(client.literal("APPEND INBOX ", &message.octets, "").status, "OK");
    client.ok("NOOP");
    client.ok("FETCH 1:* (BODY.PEEK[])");
    eventually_holds(&mut world.new.client(), "INBOX", 6);
    let shown = everything(&mut client, "INBOX");
    assert_eq!(sorted(everything(&mut world.new.client(), "INBOX")), sorted(shown));
}
