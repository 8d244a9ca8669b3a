//! An old server that is not to be changed (`old.read_only`): what a client changes is copied to new first, and
//! changed there.

mod lab;

use std::sync::{Arc, Mutex};

use lab::{Dovecot, Fate, Mail, Relay, Seen, Way, World, eventually, everything, mails, quoted};

/// All that the proxy says to a server from now on, line by line.
fn listen(wire: &Relay) -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    let hearing = Arc::clone(&heard);
    wire.rule(move |way, chunk| {
        if way == Way::ToServer {
            hearing.lock().expect("heard").push_str(&String::from_utf8_lossy(chunk));
        }
        Fate::Pass
    });
    heard
}

/// The commands that change something, of those that were heard.
fn changing(heard: &str) -> Vec<&str> {
    const CHANGING: [&str; 18] = [
        "STORE",
        "EXPUNGE",
        "COPY",
        "MOVE",
        "APPEND",
        "REPLACE",
        "CLOSE",
        "CREATE",
        "DELETE",
        "RENAME",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "SETACL",
        "DELETEACL",
        "SETMETADATA",
        "SETQUOTA",
        "SETANNOTATION",
        "RESETKEY",
    ];
    let changes = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).take(2).collect();
        let verb = match words.as_slice() {
            ["UID", verb] => *verb,
            [verb, ..] => *verb,
            [] => "",
        };
        CHANGING.contains(&verb.to_ascii_uppercase().as_str())
    };
    heard.lines().filter(changes).collect()
}

fn world() -> World {
    World::new().wired().set("old.read_only", "true").seeded(|old, new| {
        let mut some = mails(0..12);
        some[11].flags.push("\\Deleted".to_owned());
        old.seed("INBOX", &some);
        old.seed("Work", &mails(20..23));
        new.seed("INBOX", &mails(50..52));
    })
}

fn numbers(seen: &[Seen]) -> Vec<String> {
    let subject = |m: &Seen| {
        let text = String::from_utf8_lossy(&m.octets).into_owned();
        text.lines().find(|l| l.starts_with("Message-ID")).expect("a Message-ID").to_owned()
    };
    let mut all: Vec<String> = seen.iter().map(subject).collect();
    all.sort();
    all
}

#[test]
fn v4_v6_whatever_clients_change_nothing_is_changed_on_old() {
    let world = world();
    let work = world.old.name("Work");
    let heard = listen(&world.old_wire);
    let direct = |folder: &str| everything(&mut world.old.client(), folder);
    let before = [direct("INBOX"), direct(&work)];

    let mut client = world.proxy.client();
    let told = client.ok("SELECT INBOX");
    assert!(told.code("READ-WRITE").is_some(), "{told:?}");
    let uids: Vec<u32> = everything(&mut client, "INBOX").iter().map(|m| m.uid).collect();
    client.ok("SELECT INBOX");
    client.ok(&format!("UID STORE {},{} +FLAGS (\\Flagged)", uids[0], uids[1]));
    client.ok(&format!("UID FETCH {} (BODY[])", uids[2]));
    client.ok(&format!("UID FETCH {}:{} (BODY[TEXT])", uids[2], uids[4]));
    let moved = client.ok(&format!("UID MOVE {} {}", uids[5], quoted(&work)));
    assert!(moved.lines().join("").contains("COPYUID"), "{moved:?}");
    client.ok(&format!("UID COPY {} {}", uids[6], quoted(&work)));
    client.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", uids[7]));
    client.ok("EXPUNGE");
    client.append("INBOX", "(\\Seen)", &Mail::numbered(60).octets);
    client.append(&work, "()", &Mail::numbered(61).octets);
    let [made, renamed] = ["Made", "Renamed"].map(|name| world.old.name(name));
    client.ok(&format!("CREATE {made}"));
    client.ok(&format!("UID COPY {} {made}", uids[8]));
    client.ok(&format!("RENAME {made} {renamed}"));
    client.ok(&format!("SUBSCRIBE {}", quoted(&work)));
    client.ok(&format!("STATUS {} (MESSAGES)", quoted(&work)));
    // What was opened is copied, and its flags come along.
    let seen = eventually("what was read is marked", || {
        let seen = everything(&mut client, "INBOX");
        let marked = |uid| seen.iter().any(|m: &Seen| m.uid == uid && m.flags.contains("\\Seen"));
        (marked(uids[2]) && marked(uids[3]) && marked(uids[4])).then_some(seen)
    });
    assert!(seen[..2].iter().all(|m| m.flags.contains("\\Flagged")), "{seen:?}");
    // 12 and 2, without the one that was moved and the two that had \Deleted; and one appended.
    assert_eq!(seen.len(), 14 - 3 + 1, "{seen:?}");
    assert_eq!(everything(&mut client, &work).len(), 3 + 2 + 1);
    assert_eq!(everything(&mut client, &renamed).len(), 1);
    client.ok(&format!("SELECT {}", quoted(&work)));
    client.ok("STORE 1 +FLAGS (\\Deleted)");
    client.ok("CLOSE");
    client.ok(&format!("DELETE {}", quoted(&work)));
    let inbox = numbers(&everything(&mut client, "INBOX"));
    client.ok("LOGOUT");

    let heard = heard.lock().expect("heard").clone();
    assert_eq!(changing(&heard), Vec::<&str>::new(), "V6");
    assert!(heard.contains("UID FETCH"), "it was listened to: {heard}");
    assert_eq!([direct("INBOX"), direct(&work)], before, "V6: old is as it was");
    // A new session sees the same, and so does who opens all of it.
    let mut another = world.proxy.client();
    another.ok("SELECT INBOX");
    another.ok("FETCH 1:* (BODY[])");
    assert_eq!(numbers(&everything(&mut another, "INBOX")), inbox);
    assert_eq!([direct("INBOX"), direct(&work)], before);

    let refused = world.proxy.run(&["phase", "ann", "old"]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("declared read-only") && why.contains("[old]"), "{why}");
}

/// What new does not take cannot be changed, and the client is told why; it can be read all the same.
#[test]
fn v7_what_cannot_be_copied_is_not_changed() {
    let quota = "mail_plugins = quota\nplugin {\n  quota = count:User quota\n  quota_vsizes = yes\n  \
                 quota_rule = *:storage=10K\n  quota_grace = 0\n}";
    let new = Dovecot::new_style().setting(quota);
    let world = World::new().new(new).set("old.read_only", "true").seeded(|old, _| {
        old.seed("INBOX", &[Mail::numbered(0), Mail::of(lab::large(9, 20_000))]);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("STORE 1 +FLAGS (\\Flagged)");
    let refused = client.no("STORE 2 +FLAGS (\\Flagged)");
    assert!(refused.code("CANNOT").is_some(), "{refused:?}");
    assert!(refused.text.contains("read-only"), "{refused:?}");
    let read = client.ok("FETCH 2 (FLAGS BODY[])").fetched();
    let body = read.iter().find(|m| !m.bodies.is_empty()).expect("it is read").body().to_vec();
    assert_eq!(body.len(), 20_000);
    let flags = everything(&mut world.old.client(), "INBOX").remove(1).flags;
    assert!(flags.is_empty(), "V6: {flags:?}");
    client.no("MOVE 2 INBOX.Sent");
    client.ok("NOOP");
}
