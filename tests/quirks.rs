//! What servers do that they should not, and what the proxy makes of it.

mod lab;

use lab::{Courier, Dialogue, Fate, Mail, Way, World, everything, folder_names, has, mails};

/// What a chunk becomes where a server is to seem another one.
fn instead(chunk: &[u8], from: &str, to: &str) -> Fate {
    match memchr::memmem::find(chunk, from.as_bytes()) {
        Some(at) => {
            let rest = &chunk[at + from.len()..];
            Fate::Instead([&chunk[..at], to.as_bytes(), rest].concat())
        }
        None => Fate::Pass,
    }
}

fn uids(client: &mut Dialogue) -> Vec<u32> {
    client.ok("SELECT INBOX");
    client.ok("UID SEARCH ALL").found()
}

/// Courier tells no UIDNEXT when a mailbox is selected: that the last messages went must not look as if the
/// mailbox had gone back in time.
#[test]
fn v3_on_a_server_that_tells_no_uidnext_the_last_messages_go_and_others_come() {
    let mut world =
        World::new().old(Courier::plain()).seeded(|old, _| old.seed("INBOX", &mails(0..10)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 10);
    client.ok("LOGOUT");
    // So that nobody watches: what happens now is seen by comparing numbers.
    world.proxy.kill9();
    let mut direct = world.old.client();
    direct.ok("SELECT INBOX");
    direct.ok("STORE 9:10 +FLAGS.SILENT (\\Deleted)");
    direct.ok("EXPUNGE");
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(client.ok("EXAMINE INBOX").number("UIDNEXT") >= 11);
    client.ok("LOGOUT");
    world.proxy.kill9();
    world.old.deliver("INBOX", &Mail::numbered(50));
    world.proxy.restart();
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client), [1, 2, 3, 4, 5, 6, 7, 8, 11]);
    assert_eq!(everything(&mut client, "INBOX")[8].octets, lab::small(50));
}

/// Some servers answer BAD where they know LIST-EXTENDED, but no special use in it.
#[test]
fn a_server_that_knows_not_all_options_of_list_is_listed_without() {
    let world = World::new().wired().seeded(|old, _| old.seed("Work", &mails(0..3)));
    for wire in [&world.old_wire, &world.new_wire] {
        wire.rule(|way, chunk| match way {
            Way::ToServer => instead(chunk, "CHILDREN SPECIAL-USE)", "CHILDREN UNKNOWN-USE)"),
            Way::ToProxy => Fate::Pass,
        });
    }
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.Work") && names.contains("INBOX.Sent"), "{names:?}");
    assert_eq!(everything(&mut client, "INBOX.Work").len(), 3);
}

/// Exchange 2010 counts a message that its SEARCH does not find yet.
#[test]
fn v3_an_arrival_that_search_does_not_find_yet_is_seen() {
    let world = World::new().wired().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    assert_eq!(uids(&mut client).len(), 5);
    // From now on no search finds more than the first five.
    world.old_wire.rule(|way, chunk| match way {
        Way::ToServer if has(chunk, "UID SEARCH RETURN (ALL) UID 6:*") => {
            instead(chunk, "UID 6:*", "UID 1:5 6")
        }
        Way::ToServer if has(chunk, "UID SEARCH RETURN (ALL) ALL") => {
            instead(chunk, ") ALL", ") UID 1:5")
        }
        _ => Fate::Pass,
    });
    client.idle();
    world.old.deliver("INBOX", &Mail::numbered(70));
    client.wait_for(|r| r == "* 6 EXISTS");
    client.done();
    assert_eq!(client.ok("UID FETCH 1:* (FLAGS)").fetched().len(), 6);
    assert_eq!(everything(&mut client, "INBOX")[5].octets, lab::small(70));
}

/// Some servers write names that are numbers without quotes, and names of other kinds as literals.
#[test]
fn names_that_are_numbers_need_no_quotes() {
    let world = World::new().wired().seeded(|old, _| old.seed("2016", &mails(0..3)));
    world.old_wire.rule(|way, chunk| match way {
        Way::ToProxy => instead(chunk, "\"INBOX.2016\"", "INBOX.2016"),
        Way::ToServer => Fate::Pass,
    });
    world.new_wire.rule(|way, chunk| match way {
        Way::ToProxy => instead(chunk, " \"Sent\"", " Sent"),
        Way::ToServer => Fate::Pass,
    });
    let mut client = world.proxy.client();
    let names = folder_names(&mut client);
    assert!(names.contains("INBOX.2016") && names.contains("INBOX.Sent"), "{names:?}");
    assert_eq!(everything(&mut client, "INBOX.2016").len(), 3);
}
