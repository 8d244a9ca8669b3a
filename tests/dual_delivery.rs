//! Mail is delivered to both servers, each by its own means: whatever comes first, and whatever a client does before
//! the second copy comes, it is one message (V3), it is carried once (V5), and what was removed stays away.

mod lab;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::view::everything_unless_removed;
use lab::{
    Dialogue, Dovecot, Fate, Mail, Relay, Seen, Services, Talk, Way, World, eventually, everything,
    mails,
};

/// Two servers that take mail, each of which notes in it how it came.
struct Post {
    world: World,
    old: Services,
    new: Services,
}

impl Post {
    fn start() -> Post {
        Post::with(|world| world)
    }

    fn with(more: impl FnOnce(lab::Builder) -> lab::Builder) -> Post {
        let (old, new) = (Services::free(), Services::free());
        let world = World::new()
            .old(Dovecot::old_style().behind_postfix(old))
            .new(Dovecot::new_style().behind_postfix(new));
        let world = more(world).seeded(|old, new| {
            old.seed("INBOX", &mails(0..3));
            new.seed("INBOX", &mails(100..101));
        });
        Post { world, old, new }
    }

    fn to_old(&self, n: u32) {
        deliver(self.old, &message(n));
    }

    fn to_new(&self, n: u32) {
        deliver(self.new, &message(n));
    }

    /// All is on new, which decides alone from then on.
    fn moved(&self) -> Dialogue {
        let mut client = self.world.proxy.client();
        client.ok("SELECT INBOX");
        client.ok("FETCH 1:* BODY[]");
        lab::eventually_holds(&mut self.world.new.client(), "INBOX", 4);
        let output = self.world.proxy.run(&["verify", "ann"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        phase(&self.world, "new");
        self.world.proxy.client()
    }
}

/// By LMTP: the server puts Return-Path, Delivered-To and Received before it.
fn deliver(services: Services, message: &str) {
    let mut talk = Talk::connect(services.lmtp());
    talk.expect("LHLO gate.example", "250");
    let reply = talk.mail("sender@example.org", &["ann@example.com"], message);
    assert!(reply.starts_with("250"), "{reply}");
}

/// Without its last line end, which goes with the end of DATA.
fn message(n: u32) -> String {
    let text = String::from_utf8(Mail::numbered(n).octets).expect("ASCII");
    text.trim_end().to_owned()
}

/// Subjects of all, each with its UID, as a list of headers shows them: nothing is opened, and so nothing copied.
fn listed(client: &mut Dialogue, mailbox: &str) -> BTreeMap<u32, String> {
    client.ok(&format!("SELECT {mailbox}"));
    if client.ok("NOOP").count("EXISTS") == Some(0) {
        return BTreeMap::new();
    }
    let reply = client.cmd("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let subject = |m: &lab::Fetched| {
        let head = m.bodies.values().next().expect("a header");
        (m.uid, String::from_utf8_lossy(head).trim().to_owned())
    };
    reply.fetched().iter().map(subject).collect()
}

/// Waits until the mailbox has the message, and gives its UID; it has it once.
#[track_caller]
fn uid_of(client: &mut Dialogue, mailbox: &str, n: u32) -> u32 {
    eventually(&format!("message {n} in {mailbox}"), || {
        let found = uids_of(client, mailbox, n);
        assert!(found.len() < 2, "V3: message {n} is seen {} times", found.len());
        found.first().copied()
    })
}

fn uids_of(client: &mut Dialogue, mailbox: &str, n: u32) -> Vec<u32> {
    let end = format!(" {n}");
    let all = listed(client, mailbox);
    all.iter().filter(|(_, subject)| subject.ends_with(&end)).map(|(uid, _)| *uid).collect()
}

/// Waits until whatever came to a mailbox is decided over: what comes after it is seen.
#[track_caller]
fn settled(post: &Post, client: &mut Dialogue, mark: u32) {
    post.to_new(mark);
    uid_of(client, "INBOX", mark);
    post.to_old(mark + 1);
    uid_of(client, "INBOX", mark + 1);
}

/// A server's messages by their last lines, which no server changes.
fn bodies(server: &lab::Server, mailbox: &str) -> BTreeMap<Vec<u8>, u32> {
    let mut counts = BTreeMap::new();
    let mut client = server.client();
    let name = server.name(mailbox);
    // The proxy may be removing something just now.
    let all = eventually("a whole list", || everything_unless_removed(&mut client, &name).ok());
    for Seen { octets, .. } in all {
        let text = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("a body");
        *counts.entry(octets[text..].to_vec()).or_default() += 1;
    }
    counts
}

fn body(n: u32) -> Vec<u8> {
    let octets = Mail::numbered(n).octets;
    let text = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("a body");
    octets[text..].to_vec()
}

fn phase(world: &World, to: &str) {
    let output = world.proxy.run(&["phase", "ann", to]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn remove(client: &mut Dialogue, mailbox: &str, uid: u32) {
    client.ok(&format!("SELECT {mailbox}"));
    client.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
    client.ok("EXPUNGE");
}

#[test]
fn v3_v5_mail_that_each_server_got_by_its_own_means_is_one_message() {
    let post = Post::start();
    // Before anybody has looked.
    post.to_old(50);
    post.to_new(50);
    let mut client = post.world.proxy.client();
    uid_of(&mut client, "INBOX", 50);
    // And while somebody is there, first to either of them.
    post.to_old(51);
    let first = uid_of(&mut client, "INBOX", 51);
    post.to_new(51);
    post.to_new(52);
    let second = uid_of(&mut client, "INBOX", 52);
    post.to_old(52);
    settled(&post, &mut client, 60);
    assert_eq!(uid_of(&mut client, "INBOX", 51), first, "V2");
    assert_eq!(uid_of(&mut client, "INBOX", 52), second, "V2");
    assert_eq!(listed(&mut client, "INBOX").len(), 3 + 1 + 3 + 2);
    // It is one for `verify` as well, though neither octets nor dates are the same.
    client.ok("FETCH 1:* BODY[]");
    lab::eventually_holds(&mut post.world.new.client(), "INBOX", 9);
    let output = post.world.proxy.run(&["verify", "ann", "--deep"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(bodies(&post.world.new, "INBOX").values().all(|n| *n == 1), "V5");
}

/// Two messages that differ in what was sent, and in nothing by which messages are found.
#[test]
fn messages_with_equal_headers_that_came_by_different_means_stay_two() {
    let post = Post::start();
    let other = message(50).replace("ferry", "tanker").replace("tide", "flood") + "\r\nand more";
    deliver(post.old, &message(50));
    deliver(post.new, &other);
    let mut client = post.world.proxy.client();
    eventually("both", || (uids_of(&mut client, "INBOX", 50).len() == 2).then_some(()));
}

/// How often a server has a message, by what no server changes of it.
fn held(server: &lab::Server, mailbox: &str, n: u32) -> u32 {
    bodies(server, mailbox).get(&body(n)).copied().unwrap_or_default()
}

#[track_caller]
fn has(server: &lab::Server, n: u32, times: u32) {
    eventually(&format!("message {n} is there {times} times"), || {
        (held(server, "INBOX", n) == times).then_some(())
    });
}

#[test]
fn v3_v5_a_second_copy_that_comes_when_the_first_was_carried_is_no_other_message() {
    let mut post = Post::with(|world| world.set("copy.mirror", "\"all\""));
    let mut client = post.world.proxy.client();
    for (n, dies) in [(50, false), (60, true)] {
        post.to_old(n);
        let first = uid_of(&mut client, "INBOX", n);
        client.ok(&format!("UID FETCH {first} BODY[]"));
        has(&post.world.new, n, 1);
        client.ok(&format!("UID STORE {first} +FLAGS (\\Flagged)"));
        post.to_new(n + 1);
        let second = uid_of(&mut client, "INBOX", n + 1);
        // The mirror has brought it there.
        has(&post.world.old, n + 1, 1);
        if dies {
            post.world.proxy.kill9();
        }
        post.to_new(n);
        post.to_old(n + 1);
        if dies {
            post.world.proxy.restart();
            client = post.world.proxy.client();
        }
        settled(&post, &mut client, n + 5);
        assert_eq!(uids_of(&mut client, "INBOX", n), [first], "V3");
        assert_eq!(uids_of(&mut client, "INBOX", n + 1), [second], "V3");
        for server in [&post.world.old, &post.world.new] {
            has(server, n, 1);
            has(server, n + 1, 1);
        }
        let all = everything(&mut client, "INBOX");
        let it = all.iter().find(|m| m.uid == first).expect("it");
        assert!(it.flags.contains("\\Flagged"), "{it:?}");
    }
}

#[test]
fn v3_a_second_copy_of_what_a_client_removed_or_moved_stays_away() {
    let mut post = Post::start();
    post.world.old.client().ok("CREATE INBOX.Kept");
    let mut client = post.world.proxy.client();
    for (n, dies) in [(50, false), (60, true)] {
        post.to_old(n);
        post.to_old(n + 1);
        post.to_new(n + 2);
        post.to_new(n + 3);
        for (n, moves) in [(n, false), (n + 1, true), (n + 2, false), (n + 3, true)] {
            let uid = uid_of(&mut client, "INBOX", n);
            match moves {
                true => drop(client.ok(&format!("UID MOVE {uid} INBOX.Kept"))),
                false => remove(&mut client, "INBOX", uid),
            }
        }
        if dies {
            post.world.proxy.kill9();
        }
        post.to_new(n);
        post.to_new(n + 1);
        post.to_old(n + 2);
        post.to_old(n + 3);
        if dies {
            post.world.proxy.restart();
            client = post.world.proxy.client();
        }
        settled(&post, &mut client, n + 5);
        for n in n..n + 4 {
            assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
        }
        uid_of(&mut client, "INBOX.Kept", n + 1);
        uid_of(&mut client, "INBOX.Kept", n + 3);
        // What new has of it goes, and what old has when the account goes back there.
        has(&post.world.new, n, 0);
        has(&post.world.new, n + 1, 0);
    }
    phase(&post.world, "old");
    for n in [50, 51, 52, 53, 60, 61, 62, 63] {
        assert_eq!(held(&post.world.old, "INBOX", n), 0, "message {n} is back on old");
    }
}

/// Nobody asks new while old decides: what came there meanwhile is known when the account is merged again.
#[test]
fn v3_what_a_client_removes_or_moves_in_phase_old_stays_away_when_merged() {
    let mut post = Post::start();
    post.world.old.client().ok("CREATE INBOX.Kept");
    let mut client = post.world.proxy.client();
    uid_of(&mut client, "INBOX", 100);
    for (n, dies) in [(50, false), (60, true)] {
        phase(&post.world, "old");
        (n..n + 5).for_each(|n| post.to_old(n));
        client = post.world.proxy.client();
        let uid = uid_of(&mut client, "INBOX", n);
        remove(&mut client, "INBOX", uid);
        post.to_new(n);
        if dies {
            post.world.proxy.kill9();
            post.world.proxy.restart();
            client = post.world.proxy.client();
        }
        (n + 1..n + 5).for_each(|n| post.to_new(n));
        let uid = uid_of(&mut client, "INBOX", n + 1);
        client.ok(&format!("UID MOVE {uid} INBOX.Kept"));
        let uid = uid_of(&mut client, "INBOX", n + 2);
        client.ok(&format!("UID COPY {uid} INBOX.Kept"));
        remove(&mut client, "INBOX", uid);
        let stays = uid_of(&mut client, "INBOX", n + 3);
        phase(&post.world, "merged");
        client = post.world.proxy.client();
        settled(&post, &mut client, n + 7);
        for n in n..n + 3 {
            assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
            has(&post.world.new, n, 0);
        }
        assert_eq!(uid_of(&mut client, "INBOX", n + 3), stays, "V2");
        uid_of(&mut client, "INBOX", n + 4);
        uid_of(&mut client, "INBOX.Kept", n + 1);
        uid_of(&mut client, "INBOX.Kept", n + 2);
    }
}

/// New decides alone, and what comes late to old is brought there.
#[test]
fn v3_v5_a_second_copy_that_comes_in_phase_new_is_no_other_message() {
    let post = Post::with(|world| world.set("phase.look", "\"1s\""));
    let mut client = post.moved();
    // It comes to new when it was brought there.
    post.to_old(50);
    let first = uid_of(&mut client, "INBOX", 50);
    post.to_new(50);
    // It comes to old when it was removed.
    post.to_new(51);
    let uid = uid_of(&mut client, "INBOX", 51);
    remove(&mut client, "INBOX", uid);
    post.to_old(51);
    post.to_old(52);
    // It comes to new when it was brought there and removed.
    let uid = uid_of(&mut client, "INBOX", 52);
    remove(&mut client, "INBOX", uid);
    post.to_new(52);
    post.to_new(53);
    uid_of(&mut client, "INBOX", 53);
    assert_eq!(uids_of(&mut client, "INBOX", 50), [first], "V3");
    assert_eq!(uids_of(&mut client, "INBOX", 52), [], "it is back");
    has(&post.world.new, 52, 0);
    has(&post.world.new, 50, 1);
    assert_eq!(uids_of(&mut client, "INBOX", 51), []);
    assert_eq!(held(&post.world.new, "INBOX", 51), 0, "V5");
    // It is known to lie on old, and not brought to new yet, when what came there is removed.
    let looked = |times: usize| {
        let told = "old was looked at for late mail";
        let until = post.world.proxy.log().matches(told).count() + times;
        eventually("old is looked at", || {
            (post.world.proxy.log().matches(told).count() >= until).then_some(())
        });
    };
    (54..57).for_each(|n| post.to_old(n));
    looked(1);
    for n in 54..57 {
        post.to_new(n);
        let uid = uid_of(&mut client, "INBOX", n);
        remove(&mut client, "INBOX", uid);
    }
    looked(3);
    for n in 54..57 {
        assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
        assert_eq!(held(&post.world.new, "INBOX", n), 0, "message {n}");
    }
    phase(&post.world, "old");
    for (n, times) in [(50, 1), (51, 0), (52, 0), (53, 1), (54, 0), (55, 0), (56, 0)] {
        assert_eq!(held(&post.world.old, "INBOX", n), times, "message {n} on old");
    }
}

/// New's copy has been compared with all that old had, but the phase could not be changed, when old's copy comes.
#[test]
fn v3_what_a_client_removes_after_a_phase_change_that_failed_stays_away() {
    let post = Post::with(lab::Builder::wired);
    let mut client = post.world.proxy.client();
    client.ok("CREATE INBOX.Kept");
    client.append("INBOX.Kept", "", &Mail::numbered(40).octets);
    phase(&post.world, "old");
    post.to_new(50);
    post.world.new_wire.rule(|way, chunk| match way {
        Way::ToServer if lab::has(chunk, "Kept") => Fate::Cut(Vec::new()),
        _ => Fate::Pass,
    });
    assert!(!post.world.proxy.run(&["phase", "ann", "merged"]).status.success());
    post.world.new_wire.release();
    client = post.world.proxy.client();
    post.to_old(50);
    let uid = uid_of(&mut client, "INBOX", 50);
    remove(&mut client, "INBOX", uid);
    phase(&post.world, "merged");
    client = post.world.proxy.client();
    settled(&post, &mut client, 60);
    assert_eq!(uids_of(&mut client, "INBOX", 50), [], "it is back");
    has(&post.world.new, 50, 0);
}

/// Its second copy is found on old and compared with it before new has removed it.
#[test]
fn v3_a_second_copy_that_is_found_while_the_first_is_being_removed_goes_too() {
    let post = Post::with(|world| world.wired().set("phase.look", "\"500ms\""));
    let mut client = post.moved();
    post.to_new(50);
    let uid = uid_of(&mut client, "INBOX", 50);
    client.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
    let comparing = held_up(&post.world.old_wire, "RFC822.SIZE INTERNALDATE");
    post.to_old(50);
    comparing.recv_timeout(Duration::from_secs(90)).expect("they are compared");
    let removing = held_up(&post.world.new_wire, "EXPUNGE");
    client.send("x EXPUNGE");
    removing.recv_timeout(Duration::from_secs(90)).expect("it is removed");
    post.world.old_wire.release();
    // For what would not wait until it is removed.
    std::thread::sleep(Duration::from_millis(500));
    post.world.new_wire.release();
    assert_eq!(client.until("x").status, "OK");
    phase(&post.world, "old");
    assert_eq!(uids_of(&mut post.world.proxy.client(), "INBOX", 50), [], "it is back");
    assert_eq!(held(&post.world.old, "INBOX", 50), 0, "it lies on old, unseen");
    assert_eq!(held(&post.world.new, "INBOX", 50), 0);
}

/// Holds up a command until `release`. What is given tells when it has come.
fn held_up(wire: &Relay, command: &'static str) -> mpsc::Receiver<()> {
    let (told, come) = mpsc::channel();
    wire.rule(move |way, chunk| match way {
        Way::ToServer if lab::has(chunk, command) => {
            // Once is enough.
            told.send(()).ok();
            Fate::Hold
        }
        _ => Fate::Pass,
    });
    come
}

/// What came to new was carried to old, where its second copy comes when old decides.
#[test]
fn v3_v5_a_second_copy_that_comes_to_old_in_phase_old_is_no_other_message() {
    let mut post = Post::start();
    let mut client = post.world.proxy.client();
    for (n, dies) in [(50, false), (60, true)] {
        post.to_new(n);
        post.to_new(n + 1);
        let uid = uid_of(&mut client, "INBOX", n);
        let other = uid_of(&mut client, "INBOX", n + 1);
        client.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
        phase(&post.world, "old");
        client = post.world.proxy.client();
        remove(&mut client, "INBOX", other);
        if dies {
            post.world.proxy.kill9();
        }
        post.to_old(n);
        post.to_old(n + 1);
        if dies {
            post.world.proxy.restart();
            client = post.world.proxy.client();
        }
        post.to_old(n + 5);
        uid_of(&mut client, "INBOX", n + 5);
        assert_eq!(uids_of(&mut client, "INBOX", n), [uid], "V3");
        assert_eq!(uids_of(&mut client, "INBOX", n + 1), [], "it is back");
        has(&post.world.old, n, 1);
        has(&post.world.old, n + 1, 0);
        let all = everything(&mut client, "INBOX");
        let it = all.iter().find(|m| m.uid == uid).expect("it");
        assert!(it.flags.contains("\\Flagged"), "{it:?}");
        phase(&post.world, "merged");
        client = post.world.proxy.client();
        settled(&post, &mut client, n + 7);
        assert_eq!(uids_of(&mut client, "INBOX", n), [uid], "V3");
        assert_eq!(uids_of(&mut client, "INBOX", n + 1), [], "it is back");
    }
}

/// Somebody who works on new directly takes a message away and puts it back, or a client does so: that is no other
/// delivery, and nothing goes.
#[test]
fn v3_what_is_put_back_is_seen() {
    let post = Post::start();
    post.world.old.client().ok("CREATE INBOX.Kept");
    let mut direct = post.world.new.client();
    let kept = post.world.new.name("Kept");
    direct.ok(&format!("CREATE {kept}"));
    let mut client = post.world.proxy.client();
    let mut watches = post.world.proxy.client();
    for n in 50..54 {
        post.to_old(n);
    }
    let uid = uid_of(&mut client, "INBOX", 50);
    client.ok(&format!("UID FETCH {uid} BODY[]"));
    has(&post.world.new, 50, 1);
    let move_all = |direct: &mut Dialogue, from: &str, to: &str, n: u32| {
        direct.ok(&format!("SELECT {from}"));
        let uid = direct.ok(&format!("UID SEARCH HEADER Message-ID <{n}.lab")).found();
        direct.ok(&format!("UID MOVE {} {to}", uid[0]));
    };
    move_all(&mut direct, "INBOX", &kept, 50);
    eventually("it is away", || uids_of(&mut client, "INBOX", 50).is_empty().then_some(()));
    move_all(&mut direct, &kept, "INBOX", 50);
    uid_of(&mut client, "INBOX", 50);

    // A client moves it away, where it is copied to new, and somebody else moves it back there.
    let uid = uid_of(&mut client, "INBOX", 51);
    client.ok("SELECT INBOX");
    client.ok(&format!("UID MOVE {uid} INBOX.Kept"));
    let uid = uid_of(&mut client, "INBOX.Kept", 51);
    client.ok(&format!("UID FETCH {uid} BODY[]"));
    eventually("it is copied", || (held(&post.world.new, "Kept", 51) == 1).then_some(()));
    move_all(&mut direct, &kept, "INBOX", 51);
    uid_of(&mut client, "INBOX", 51);

    // Another one moves by COPY and EXPUNGE.
    let uid = uid_of(&mut client, "INBOX", 53);
    client.ok("SELECT INBOX");
    client.ok(&format!("UID COPY {uid} INBOX.Kept"));
    remove(&mut client, "INBOX", uid);
    let uid = uid_of(&mut client, "INBOX.Kept", 53);
    client.ok(&format!("UID FETCH {uid} BODY[]"));
    eventually("it is copied", || (held(&post.world.new, "Kept", 53) == 1).then_some(()));
    move_all(&mut direct, &kept, "INBOX", 53);
    uid_of(&mut client, "INBOX", 53);

    // A client moves it away and back, and another one watches.
    watches.ok("SELECT INBOX");
    watches.idle();
    let uid = uid_of(&mut client, "INBOX", 52);
    client.ok(&format!("UID MOVE {uid} INBOX.Kept"));
    let uid = uid_of(&mut client, "INBOX.Kept", 52);
    client.ok(&format!("UID FETCH {uid} BODY[]"));
    eventually("it is copied", || (held(&post.world.new, "Kept", 52) == 1).then_some(()));
    client.ok(&format!("UID MOVE {uid} INBOX"));
    uid_of(&mut client, "INBOX", 52);

    // Then its second copy comes to where it was carried.
    post.to_old(54);
    let uid = uid_of(&mut client, "INBOX", 54);
    client.ok(&format!("UID FETCH {uid} BODY[]"));
    has(&post.world.new, 54, 1);
    client.ok(&format!("UID MOVE {uid} INBOX.Kept"));
    let uid = uid_of(&mut client, "INBOX.Kept", 54);
    client.ok(&format!("UID MOVE {uid} INBOX"));
    post.to_new(54);

    settled(&post, &mut client, 60);
    for n in 50..55 {
        assert_eq!(uids_of(&mut client, "INBOX", n).len(), 1, "message {n}");
        assert_eq!(held(&post.world.new, "INBOX", n), 1, "message {n} on new");
    }
}

/// What comes while the other server is away is shown, and compared when that is back.
#[test]
fn v3_v7_a_second_copy_that_comes_while_a_server_is_away_is_no_other_message_when_it_is_back() {
    let mut post = Post::start();
    let mut client = post.world.proxy.client();
    for n in [50, 51, 52, 54] {
        post.to_old(n);
    }
    let carried = uid_of(&mut client, "INBOX", 50);
    client.ok(&format!("UID FETCH {carried} BODY[]"));
    has(&post.world.new, 50, 1);
    let kept = uid_of(&mut client, "INBOX", 51);
    client.ok(&format!("UID STORE {kept} +FLAGS (\\Flagged)"));
    let removed = uid_of(&mut client, "INBOX", 52);
    remove(&mut client, "INBOX", removed);
    post.world.old.stop();
    (50..55).for_each(|n| post.to_new(n));
    // What a note tells is known at once.
    sees_all(&mut client, 3 + 1 + 3 + 3);
    remove_last(&mut client);
    post.world.old.start();
    eventually("each is one message", || {
        let seen = [50, 51, 52].map(|n| uids_of(&mut client, "INBOX", n));
        (seen == [vec![carried], vec![kept], vec![]]).then_some(())
    });
    uid_of(&mut client, "INBOX", 54);
    for (n, times) in [(50, 1), (51, 1), (52, 0), (53, 1), (54, 0)] {
        has(&post.world.new, n, times);
    }
    is_flagged(&mut client, kept);
}

/// The index remembers what was shown without comparison.
#[test]
fn v3_v7_the_same_holds_where_the_proxy_dies_before_the_server_is_back() {
    let mut post = Post::start();
    let mut client = post.world.proxy.client();
    for n in [51, 52, 54] {
        post.to_new(n);
    }
    let kept = uid_of(&mut client, "INBOX", 51);
    client.ok(&format!("UID STORE {kept} +FLAGS (\\Flagged)"));
    let removed = uid_of(&mut client, "INBOX", 52);
    remove(&mut client, "INBOX", removed);
    post.world.new.stop();
    (51..55).for_each(|n| post.to_old(n));
    sees_all(&mut client, 3 + 1 + 2 + 3);
    post.world.proxy.kill9();
    post.world.proxy.restart();
    client = post.world.proxy.client();
    sees_all(&mut client, 3 + 1 + 2 + 3);
    remove_last(&mut client);
    post.world.new.start();
    eventually("each is one message", || {
        let seen = [51, 52].map(|n| uids_of(&mut client, "INBOX", n));
        (seen == [vec![kept], vec![]]).then_some(())
    });
    uid_of(&mut client, "INBOX", 54);
    for (n, times) in [(51, 1), (52, 0), (54, 1)] {
        has(&post.world.new, n, times);
    }
    is_flagged(&mut client, kept);
}

/// What lies on the server that is away is known, and can be read when it is back.
#[track_caller]
fn sees_all(client: &mut Dialogue, messages: u32) {
    eventually("what came is shown (V7)", || {
        (client.ok("SELECT INBOX").count("EXISTS") == Some(messages)).then_some(())
    });
}

/// Of two that are seen, somebody removes the one that can be read.
fn remove_last(client: &mut Dialogue) {
    let last = client.ok("FETCH * UID").fetched()[0].uid;
    client.ok(&format!("UID STORE {last} +FLAGS.SILENT (\\Deleted)"));
    client.ok(&format!("UID EXPUNGE {last}"));
}

#[track_caller]
fn is_flagged(client: &mut Dialogue, uid: u32) {
    let all = everything(client, "INBOX");
    let it = all.iter().find(|m| m.uid == uid).expect("it");
    assert!(it.flags.contains("\\Flagged"), "{it:?}");
}

/// The same octets at the same instant: in nothing can the two be told apart.
fn identical(server: &lab::Server, n: u32, at: u64) {
    // Each message at one of its own.
    let mail = Mail { flags: Vec::new(), ..Mail::numbered(n).dated(at - u64::from(n)) };
    server.client().append("INBOX", &mail.options(), &mail.octets);
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs()
}

/// Whether it was carried before it was removed, or is moved on old, where nobody on new can put it back from.
#[test]
fn v3_an_identical_second_copy_of_what_was_removed_or_moved_stays_away() {
    let post = Post::start();
    post.world.old.client().ok("CREATE INBOX.Kept");
    let mut client = post.world.proxy.client();
    let at = unix_now();
    for n in 50..56 {
        identical(&post.world.old, n, at);
        let uid = uid_of(&mut client, "INBOX", n);
        if n % 2 == 0 {
            client.ok(&format!("UID FETCH {uid} BODY[]"));
            has(&post.world.new, n, 1);
        }
        remove(&mut client, "INBOX", uid);
        has(&post.world.new, n, 0);
        identical(&post.world.new, n, at);
    }
    let (old, new) = (&post.world.old, &post.world.new);
    for (n, word, first, second) in [
        (56, "MOVE", old, new),
        (57, "COPY", old, new),
        (58, "MOVE", new, old),
        (59, "COPY", new, old),
    ] {
        identical(first, n, at);
        let uid = uid_of(&mut client, "INBOX", n);
        client.ok("SELECT INBOX");
        client.ok(&format!("UID {word} {uid} INBOX.Kept"));
        if word == "COPY" {
            remove(&mut client, "INBOX", uid);
        }
        identical(second, n, at);
    }
    settled(&post, &mut client, 60);
    for n in 50..60 {
        assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
        has(&post.world.new, n, 0);
    }
    uid_of(&mut client, "INBOX.Kept", 56);
}

/// In everything the same: the first one was carried, and its second copy takes the place of what was carried.
#[test]
fn v3_v5_an_identical_second_copy_takes_the_place_of_what_was_carried() {
    let mut post = Post::start();
    let at = unix_now();
    let mut client = post.world.proxy.client();
    for (n, dies) in [(50, false), (60, true)] {
        for n in n..n + 3 {
            identical(&post.world.new, n, at);
            let uid = uid_of(&mut client, "INBOX", n);
            client.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
        }
        phase(&post.world, "old");
        phase(&post.world, "merged");
        if dies {
            post.world.proxy.kill9();
            post.world.proxy.restart();
        }
        client = post.world.proxy.client();
        (n..n + 3).for_each(|n| identical(&post.world.old, n, at));
        settled(&post, &mut client, n + 5);
        for to in ["merged", "old", "merged"] {
            phase(&post.world, to);
            if dies {
                post.world.proxy.kill9();
                post.world.proxy.restart();
            }
            client = post.world.proxy.client();
            for n in n..n + 3 {
                let uid = uid_of(&mut client, "INBOX", n);
                is_flagged(&mut client, uid);
            }
        }
        for n in n..n + 3 {
            assert_eq!(held(&post.world.old, "INBOX", n), 1, "message {n} on old");
            assert_eq!(held(&post.world.new, "INBOX", n), 1, "message {n} on new");
        }
    }
}

/// A client moves it away and back, or somebody on old moves it back there: neither is a delivery.
#[test]
fn v6_what_comes_back_on_old_by_somebodys_hand_stays() {
    let post = Post::with(|world| world.set("phase.look", "\"500ms\""));
    post.world.old.client().ok("CREATE INBOX.Kept");
    let mut client = post.world.proxy.client();
    for n in 50..52 {
        client.append("INBOX", "", &Mail::numbered(n).octets);
        let uid = uid_of(&mut client, "INBOX", n);
        client.ok(&format!("UID MOVE {uid} INBOX.Kept"));
    }
    phase(&post.world, "old");
    client = post.world.proxy.client();
    let uid = uid_of(&mut client, "INBOX.Kept", 50);
    client.ok(&format!("UID MOVE {uid} INBOX"));
    let mut direct = post.world.old.client();
    direct.ok("SELECT INBOX.Kept");
    let uid = direct.ok("UID SEARCH HEADER Message-ID <51.lab").found()[0];
    direct.ok(&format!("UID MOVE {uid} INBOX"));
    let seen_once = |what: &str| {
        let mut client = post.world.proxy.client();
        for n in 50..52 {
            uid_of(&mut client, "INBOX", n);
            assert_eq!(uids_of(&mut client, "INBOX.Kept", n), [], "{what}");
            assert_eq!(held(&post.world.old, "INBOX", n), 1, "{what}");
        }
    };
    seen_once("in phase old");
    phase(&post.world, "merged");
    seen_once("merged");
    assert!(post.world.proxy.run(&["phase", "ann", "new", "--force"]).status.success());
    eventually("late mail is looked for", || {
        post.world.proxy.log().contains("old was looked at for late mail").then_some(())
    });
    phase(&post.world, "merged");
    seen_once("merged again");
}

/// By force the account is in phase new, and the first copy out of sight, when the second one comes.
#[test]
fn v3_a_second_copy_on_new_has_the_flags_of_what_was_left_on_old() {
    let post = Post::start();
    let mut client = post.world.proxy.client();
    post.to_old(50);
    let uid = uid_of(&mut client, "INBOX", 50);
    client.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
    assert!(post.world.proxy.run(&["phase", "ann", "new", "--force"]).status.success());
    post.to_new(50);
    let mut client = post.world.proxy.client();
    let uid = uid_of(&mut client, "INBOX", 50);
    client.ok(&format!("UID STORE {uid} +FLAGS (\\Answered)"));
    phase(&post.world, "merged");
    let mut client = post.world.proxy.client();
    assert_eq!(uid_of(&mut client, "INBOX", 50), uid, "V2");
    is_flagged(&mut client, uid);
    assert!(client.ok("UID SEARCH ANSWERED").found().contains(&uid));
}

/// They come one after the other while old is away: what comes while others are compared is compared as well.
#[test]
fn v3_v7_second_copies_that_come_one_by_one_while_old_is_away_stay_away() {
    let mut post = Post::with(|world| world.set("copy.mirror", "\"all\""));
    let mut client = post.world.proxy.client();
    for n in (200..260).step_by(20) {
        client.ok("CREATE INBOX.Gone");
        for n in n..n + 8 {
            post.to_old(n);
            let uid = uid_of(&mut client, "INBOX", n);
            client.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
            client.ok(&format!("UID MOVE {uid} INBOX.Gone"));
        }
        client.ok("DELETE INBOX.Gone");
        post.world.old.stop();
        for n in n..n + 8 {
            post.to_new(n);
            assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
        }
        post.world.old.start();
        settled(&post, &mut client, n + 10);
        for n in n..n + 8 {
            assert_eq!(uids_of(&mut client, "INBOX", n), [], "message {n} is back");
            has(&post.world.new, n, 0);
        }
    }
}
