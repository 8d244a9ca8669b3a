//! One account goes through its phases and back, with mail, flags, moves and removals in each of them: nothing
//! is resurrected, nothing is there twice, nothing is lost (V3, V5), and no UID changes its meaning (V2).

mod lab;

use std::collections::{BTreeMap, BTreeSet};

use lab::{
    Courier, Cyrus, Dialogue, Dovecot, Mail, Server, Shape, World, eventually, everything, mails,
    quoted,
};

const FOLDERS: [&str; 2] = ["INBOX", "Work"];

/// What must be there: for each folder, numbers of messages and their flags.
struct Story {
    world: World,
    there: [BTreeMap<u32, BTreeSet<String>>; 2],
    /// What lies in INBOX on the side that the phase does not have.
    unseen: BTreeSet<u32>,
    /// What a UID has ever meant.
    meaning: BTreeMap<(usize, u32), u32>,
    next: u32,
}

fn number(octets: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(octets);
    let (_, id) = text.split_once("Message-ID: <").expect("a Message-ID");
    id.split_once('.').expect("a numbered message").0.parse().expect("a number")
}

/// Numbers and flags, with every message as often as it is there.
fn shape(seen: &[lab::Seen]) -> Vec<(u32, BTreeSet<String>)> {
    let mut all: Vec<_> = seen.iter().map(|m| (number(&m.octets), m.flags.clone())).collect();
    all.sort();
    all
}

impl Story {
    fn begin(old: impl Into<Shape>, new: impl Into<Shape>) -> Story {
        let world = World::new().old(old).new(new).seeded(|old, _| {
            old.seed("INBOX", &mails(0..12));
            old.seed("Work", &mails(20..23));
        });
        let flags = |server: &Server, folder: &str| {
            let name = server.name(folder);
            shape(&everything(&mut server.client(), &name)).into_iter().collect()
        };
        let there = FOLDERS.map(|folder| flags(&world.old, folder));
        let unseen = BTreeSet::new();
        Story { world, there, unseen, meaning: BTreeMap::new(), next: 100 }
    }

    fn phase(&mut self, to: &str) {
        if to == "new" {
            self.all_is_copied();
            let told = self.world.proxy.run(&["verify", "ann"]);
            assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
        }
        let told = self.world.proxy.run(&["phase", "ann", to]);
        assert!(told.status.success(), "to {to}: {}", String::from_utf8_lossy(&told.stderr));
        if to != "new" || self.unseen.is_empty() {
            for n in std::mem::take(&mut self.unseen) {
                self.there[0].insert(n, BTreeSet::new());
            }
        }
    }

    fn all_is_copied(&self) {
        let mut client = self.world.proxy.client();
        for (mine, folder) in FOLDERS.iter().enumerate() {
            client.ok(&format!("SELECT {}", quoted(&self.world.old.name(folder))));
            client.ok("UID FETCH 1:* BODY.PEEK[]");
            let wanted: BTreeSet<u32> = self.there[mine].keys().copied().collect();
            eventually("all is on new", || {
                let name = self.world.new.name(folder);
                let on_new = shape(&everything(&mut self.world.new.client(), &name));
                // Twins of what was removed in phase old are still there, and hidden.
                let on_new: BTreeSet<u32> = on_new.into_iter().map(|(n, _)| n).collect();
                on_new.is_superset(&wanted).then_some(())
            });
        }
    }

    fn deliver(&mut self, to: &[&str], seen: bool) {
        self.next += 1;
        for side in to {
            let server = if *side == "old" { &self.world.old } else { &self.world.new };
            server.deliver("INBOX", &Mail::numbered(self.next));
        }
        match seen {
            true => drop(self.there[0].insert(self.next, BTreeSet::new())),
            false => drop(self.unseen.insert(self.next)),
        }
    }

    fn uid(client: &mut Dialogue, n: u32) -> u32 {
        let found = client.ok(&format!("UID SEARCH HEADER Message-ID \"<{n}.\"")).found();
        assert_eq!(found.len(), 1, "{n}: {found:?}");
        found[0]
    }

    /// A client's day: mail comes, is marked, moved, copied, removed and put there.
    fn traffic(&mut self, seen: &[&str], unseen: &[&str]) {
        for side in seen {
            self.deliver(&[side], true);
        }
        for side in unseen {
            self.deliver(&[side], false);
        }
        self.deliver(&["old", "new"], true);
        self.check("after deliveries");
        let mut client = self.world.proxy.client();
        let work = quoted(&self.world.old.name("Work"));
        client.ok("SELECT INBOX");
        let some: Vec<u32> = self.there[0].keys().copied().collect();
        let (first, last) = (some[0], some[some.len() - 1]);
        // One that has been there long, and what came last to both sides.
        for n in [some[1], last] {
            let uid = Story::uid(&mut client, n);
            client.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged $Label1)"));
            let flags = self.there[0].get_mut(&n).expect("it is there");
            flags.extend(["\\Flagged".to_owned(), "$Label1".to_owned()]);
        }
        for n in [some[2], some[some.len() - 2]] {
            let uid = Story::uid(&mut client, n);
            client.ok(&format!("UID MOVE {uid} {work}"));
            let flags = self.there[0].remove(&n).expect("it is there");
            self.there[1].insert(n, flags);
        }
        let uid = Story::uid(&mut client, first);
        client.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        client.ok(&format!("UID EXPUNGE {uid}"));
        self.there[0].remove(&first);
        self.next += 1;
        client.append("INBOX", "(\\Answered)", &Mail::numbered(self.next).octets);
        self.there[0].insert(self.next, BTreeSet::from(["\\Answered".to_owned()]));
        self.check("after traffic");
    }

    /// What a client sees is what must be there, once each.
    fn check(&mut self, when: &str) {
        let mut client = self.world.proxy.client();
        for (mine, folder) in FOLDERS.iter().enumerate() {
            let wanted: Vec<_> = self.there[mine].clone().into_iter().collect();
            let name = self.world.old.name(folder);
            let mut last = Vec::new();
            let what = format!("{folder} {when}");
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eventually(&what, || {
                    last = everything(&mut client, &name);
                    (shape(&last) == wanted).then_some(())
                });
            }));
            assert!(held.is_ok(), "{what}: {:?}, not {wanted:?}", shape(&last));
            for message in last {
                let n = number(&message.octets);
                let meant = *self.meaning.entry((mine, message.uid)).or_insert(n);
                assert_eq!(meant, n, "V2: #{} of {folder} {when}", message.uid);
            }
        }
    }

    /// The same of whoever talks to a server directly.
    fn check_direct(&self, server: &Server, when: &str) {
        for (mine, folder) in FOLDERS.iter().enumerate() {
            let seen = everything(&mut server.client(), &server.name(folder));
            let wanted: Vec<_> = self.there[mine].clone().into_iter().collect();
            assert_eq!(shape(&seen), wanted, "{folder} {when}");
        }
    }
}

fn chain(old: impl Into<Shape>, new: impl Into<Shape>) {
    let mut story = Story::begin(old, new);
    story.check("in the beginning");
    let mut client = story.world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:6 BODY.PEEK[]");
    story.traffic(&["old", "new"], &[]);

    story.phase("old");
    story.check("in phase old");
    story.check_direct(&story.world.old, "on old");
    story.traffic(&["old"], &["new"]);
    story.check_direct(&story.world.old, "on old, later");

    story.phase("merged");
    story.check("in phase merged again");
    story.traffic(&["old", "new"], &[]);

    story.phase("new");
    story.check("in phase new");
    story.traffic(&["new"], &["old"]);

    story.phase("merged");
    story.check("in phase merged after new");
    story.traffic(&["new", "old"], &[]);

    story.phase("new");
    story.traffic(&["new"], &["old"]);
    story.phase("old");
    story.check("in phase old at last");
    story.check_direct(&story.world.old, "on old at last");
    story.traffic(&["old"], &[]);
    story.phase("merged");
    story.check("in phase merged at last");
}

#[test]
fn v3_v5_phases_there_and_back_lose_nothing_and_double_nothing() {
    chain(Dovecot::old_style(), Dovecot::new_style());
}

#[test]
fn v3_v5_phases_there_and_back_between_courier_and_cyrus() {
    chain(Courier::plain(), Cyrus::styled(true, true));
}
