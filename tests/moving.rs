//! COPY and MOVE wherever the message and the target lie.

mod lab;

use lab::{Dovecot, World, everything, mails, quoted, sorted};

fn world() -> World {
    World::new().old(Dovecot::old_style()).seeded(|old, new| {
        old.seed("INBOX", &mails(0..8));
        new.seed("INBOX", &mails(50..54));
        old.seed("Old Only", &mails(20..22));
        new.seed("New Only", &mails(30..32));
    })
}

#[test]
fn copy_to_either_side_says_where_the_copies_are() {
    let world = world();
    let mut client = world.proxy.client();
    for target in ["INBOX.Old Only", "INBOX.New Only", "INBOX.Trash"] {
        client.ok("SELECT INBOX");
        let uids = client.ok("UID SEARCH ALL").found();
        let wanted = [uids[1], uids[2], uids[10]];
        let set = wanted.map(|u| u.to_string()).join(",");
        let before = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let copied = client.ok(&format!("UID COPY {set} {}", quoted(target)));
        let (validity, from, to) = copied.copied();
        assert_eq!(from, wanted, "{target}");
        let selected = client.ok(&format!("SELECT {}", quoted(target)));
        assert_eq!(selected.number("UIDVALIDITY"), u64::from(validity), "{target}");
        let there = everything(&mut client, target);
        for (from, to) in from.iter().zip(&to) {
            let original = before.iter().find(|m| m.uid == *from).expect("original");
            let copy = there.iter().find(|m| m.uid == *to).expect("copy");
            assert_eq!(copy.clone().anywhere(), original.clone().anywhere(), "{target}");
        }
        assert_eq!(everything(&mut client, "INBOX").len(), 12, "{target}");
    }
}

#[test]
fn move_takes_away_here_and_puts_there_once() {
    let world = world();
    let mut client = world.proxy.client();
    let mut expected = Vec::new();
    for (target, left) in [("INBOX.New Only", 9), ("INBOX.Old Only", 6), ("INBOX.Trash", 3)] {
        let before = everything(&mut client, "INBOX");
        client.ok("SELECT INBOX");
        let last = before.len() - 1;
        let chosen = [&before[0], &before[1], &before[last]];
        let set = chosen.map(|m| m.uid.to_string()).join(",");
        let moved = client.ok(&format!("UID MOVE {set} {}", quoted(target)));
        assert_eq!(moved.expunged().len(), 3, "{target}: {moved:?}");
        assert_eq!(moved.copied().1, chosen.map(|m| m.uid), "{target}");
        expected.push((target, chosen.map(|m| m.clone()).to_vec()));
        assert_eq!(client.ok("UID SEARCH ALL").found().len(), left, "{target}");
    }
    for (target, messages) in expected {
        let there = sorted(everything(&mut client, target));
        for message in sorted(messages) {
            assert_eq!(there.iter().filter(|m| **m == message).count(), 1, "{target}: {message:?}");
        }
    }
    client.ok("SELECT INBOX");
    client.ok("MOVE 1 \"INBOX.New Only\"");
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 2);
}

#[test]
fn to_a_folder_that_is_not_there_is_answered_trycreate() {
    let world = world();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    for command in ["COPY 1,9 INBOX.Nowhere", "MOVE 1,9 INBOX.Nowhere"] {
        let refused = client.no(command);
        assert!(refused.code("TRYCREATE").is_some(), "{command}: {refused:?}");
    }
    assert_eq!(client.ok("UID SEARCH ALL").found().len(), 12);
}
