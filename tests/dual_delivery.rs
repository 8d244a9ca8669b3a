//! Mail is delivered to both servers, each by its own means: whatever comes first, and whatever a client does before
//! the second copy comes, it is one message (V3), it is carried once (V5), and what was removed stays away.

mod lab;

use std::collections::BTreeMap;

use lab::{Dialogue, Dovecot, Mail, Seen, Services, Talk, World, eventually, everything, mails};

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
}

/// By LMTP: the server puts Return-Path, Delivered-To and Received before it.
fn deliver(services: Services, message: &str) {
    let mut talk = Talk::connect(services.lmtp());
    talk.expect("LHLO gate.example", "250");
    let reply = talk.mail("sender@example.org", &["ann@example.com"], message);
    assert!(reply.starts_with("250"), "{reply}");
}

fn message(n: u32) -> String {
    String::from_utf8(Mail::numbered(n).octets).expect("ASCII")
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
    for Seen { octets, .. } in everything(&mut server.client(), &server.name(mailbox)) {
        let text = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("a body");
        *counts.entry(octets[text..].to_vec()).or_default() += 1;
    }
    counts
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
    let other = message(50).replace("ferry", "tanker").replace("tide", "flood") + "and more\r\n";
    deliver(post.old, &message(50));
    deliver(post.new, &other);
    let mut client = post.world.proxy.client();
    eventually("both", || (uids_of(&mut client, "INBOX", 50).len() == 2).then_some(()));
}
