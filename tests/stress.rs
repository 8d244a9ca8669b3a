//! Many clients at random commands on one mailbox, while it is copied: every response fits what was told before
//! (V3), a UID means one message (V2), nothing is lost and nothing is there twice (V5).
//!
//! `STRESS_ROUNDS`, `STRESS_CLIENTS` and `STRESS_SEED` make it longer, wider, and another one.

mod lab;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use lab::reply::fetched;
use lab::{Dialogue, Mail, Reply, World, eventually, large, mails, numbers, small};

/// Messages on old at the beginning.
const ON_OLD: u32 = 60;

/// A sequence that is the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(n.max(1))).expect("a small number")
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(u32::try_from(all.len()).expect("a few")) as usize]
    }
}

/// What all clients together know.
#[derive(Default)]
struct Common {
    /// Message-ID by UID: never another one.
    identity: HashMap<u32, String>,
    /// UIDs that somebody wanted gone.
    doomed: BTreeSet<u32>,
    /// UIDs that were acknowledged as stored.
    stored: BTreeSet<u32>,
    /// How often each Message-ID may be there, in all mailboxes together.
    copies: BTreeMap<String, usize>,
}

struct Client<'a> {
    name: u32,
    dialogue: Dialogue,
    dice: Dice,
    /// UIDs behind sequence numbers, as far as they were told.
    uids: Vec<Option<u32>>,
    common: &'a Mutex<Common>,
    past: Vec<String>,
}

impl Client<'_> {
    fn select(&mut self) {
        self.uids.clear();
        let reply = self.run("SELECT INBOX", true);
        let exists = reply.count("EXISTS").expect("EXISTS");
        assert_eq!(self.uids.len(), exists as usize);
    }

    fn say(&mut self, command: &str, may_expunge: bool) -> Reply {
        self.past.push(command.to_owned());
        let reply = self.dialogue.cmd(command);
        self.take(&reply, may_expunge);
        reply
    }

    fn run(&mut self, command: &str, may_expunge: bool) -> Reply {
        let reply = self.say(command, may_expunge);
        assert_eq!(reply.status, "OK", "{}: {command}: {}", self.name, reply.text);
        reply
    }

    /// Holds every response against what was told before.
    fn take(&mut self, reply: &Reply, may_expunge: bool) {
        for line in &reply.untagged {
            let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            let recent = || self.past.iter().rev().take(5).cloned().collect::<Vec<_>>();
            let what = format!("client {}: {text:?} after {:?}", self.name, recent());
            let mut words = text.split(' ').skip(1);
            let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let Ok(n) = first.parse::<usize>() else { continue };
            match second {
                "EXISTS" => {
                    assert!(n >= self.uids.len(), "fewer without an EXPUNGE: {what}");
                    self.uids.resize(n, None);
                }
                "EXPUNGE" => {
                    assert!(may_expunge, "an EXPUNGE that is not allowed here: {what}");
                    assert!(1 <= n && n <= self.uids.len(), "no such message: {what}");
                    self.uids.remove(n - 1);
                }
                "FETCH" => {
                    assert!(1 <= n && n <= self.uids.len(), "no such message: {what}");
                    self.take_fetch(line, &what);
                }
                _ => {}
            }
        }
    }

    fn take_fetch(&mut self, line: &[u8], what: &str) {
        let message = fetched(line).expect("a FETCH");
        let at = message.seq as usize - 1;
        if message.uid == 0 {
            return;
        }
        assert!(self.uids[at].is_none_or(|known| known == message.uid), "another UID: {what}");
        self.uids[at] = Some(message.uid);
        let below = self.uids[..at].iter().flatten().next_back();
        let above = self.uids[at + 1..].iter().flatten().next();
        assert!(below.is_none_or(|b| *b < message.uid), "UIDs do not ascend: {what}");
        assert!(above.is_none_or(|a| *a > message.uid), "UIDs do not ascend: {what}");
        if let Some(content) = message.bodies.values().next() {
            let id = message_id(content);
            let mut common = self.common.lock().expect("the others");
            let known = common.identity.entry(message.uid).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "V2, another message: {what}");
        }
    }

    fn round(&mut self, round: u32) {
        let exists = u32::try_from(self.uids.len()).expect("few");
        if exists == 0 {
            self.run("NOOP", true);
            return;
        }
        let (a, b) = (self.dice.below(exists) + 1, self.dice.below(exists) + 1);
        let near = (a + self.dice.below(4)).min(exists);
        let uid = |client: &Self, seq: u32| client.uids[seq as usize - 1];
        match self.dice.below(20) {
            0 => drop(self.run(&format!("FETCH {a}:{b} (UID FLAGS)"), false)),
            1 => {
                let items = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
                drop(self.run(&format!("FETCH {a}:{near} {items}"), false));
            }
            2 | 3 => drop(self.run(&format!("FETCH {a}:{near} (UID BODY.PEEK[])"), false)),
            4 => drop(self.run("UID FETCH 1:* (FLAGS RFC822.SIZE)", true)),
            5 | 6 => {
                let sign = self.dice.one_of(&["+", "-", ""]);
                let silent = self.dice.one_of(&["", ".SILENT"]);
                let flag = self.dice.one_of(&["\\Seen", "\\Flagged", "$Label1", "\\Answered"]);
                drop(self.run(&format!("STORE {a}:{near} {sign}FLAGS{silent} ({flag})"), false));
            }
            7 => {
                if let Some(uid) = uid(self, a) {
                    drop(self.run(&format!("UID STORE {uid} +FLAGS (\\Seen)"), true));
                }
            }
            8 => {
                let key = self.dice.one_of(&["ALL", "UNSEEN", "FLAGGED", "NOT DELETED", "1:*"]);
                let found = self.run(&format!("SEARCH {key}"), false).found();
                let exists = self.uids.len();
                assert!(found.iter().all(|n| *n as usize <= exists), "{found:?} of {exists}");
            }
            9 => {
                let reply = self.run("UID SEARCH RETURN (ALL COUNT) ALL", true);
                let count = reply.esearch("COUNT").expect("COUNT");
                assert_eq!(reply.found().len().to_string(), count);
            }
            10 => {
                if let Some((uid, _)) = self.identified(a) {
                    self.common.lock().expect("the others").doomed.insert(uid);
                    self.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"), true);
                    let word = self.dice.one_of(&["EXPUNGE", "UID EXPUNGE 1:*"]);
                    self.run(word, true);
                }
            }
            11 | 12 => {
                let number = 10_000 + self.name * 1_000 + round;
                let message = small(number);
                self.past.push(format!("APPEND {number}"));
                let reply = self.dialogue.append("INBOX", "(\\Draft)", &message);
                self.take(&reply, true);
                let (_, uid) = reply.appended();
                let mut common = self.common.lock().expect("the others");
                common.stored.insert(uid);
                let id = message_id(&message);
                let known = common.identity.entry(uid).or_insert_with(|| id.clone());
                assert_eq!(*known, id, "V2");
                common.copies.insert(id, 1);
            }
            13 => self.bring(a, "COPY"),
            14 => self.bring(a, "MOVE"),
            15 => drop(self.run("NOOP", true)),
            16 => {
                self.dialogue.idle();
                let lines = self.dialogue.leftovers(Duration::from_millis(60));
                let mut reply = self.dialogue.done();
                let before = lines.into_iter().map(String::into_bytes);
                reply.untagged = before.chain(std::mem::take(&mut reply.untagged)).collect();
                self.past.push("IDLE".to_owned());
                self.take(&reply, true);
            }
            17 => self.select(),
            18 => drop(self.run("STATUS INBOX.Other (MESSAGES UIDNEXT UNSEEN)", true)),
            _ => drop(self.run("CHECK", true)),
        }
    }

    /// A message's UID and Message-ID; nothing if it has just gone.
    fn identified(&mut self, seq: u32) -> Option<(u32, String)> {
        let items = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
        self.run(&format!("FETCH {seq} {items}"), false);
        let uid = self.uids.get(seq as usize - 1).copied().flatten()?;
        let id = self.common.lock().expect("the others").identity.get(&uid).cloned()?;
        Some((uid, id))
    }

    fn bring(&mut self, seq: u32, word: &str) {
        let Some((uid, id)) = self.identified(seq) else { return };
        let mut common = self.common.lock().expect("the others");
        if word == "MOVE" {
            common.doomed.insert(uid);
        }
        // A MOVE that another client's MOVE or EXPUNGE meets halfway is a COPY, at the most.
        *common.copies.entry(id).or_insert(1) += 1;
        drop(common);
        // Where another client has just expunged it, a server says NO.
        let reply = self.say(&format!("UID {word} {uid} INBOX.Other"), true);
        assert_ne!(reply.status, "BAD", "{reply:?}");
    }
}

fn message_id(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let id = text.split("Message-ID: <").nth(1).and_then(|rest| rest.split('>').next());
    id.expect("a Message-ID").to_owned()
}

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn v3_clients_at_random_commands_always_agree_with_what_they_were_told() {
    let (clients, rounds) = (setting("STRESS_CLIENTS", 8), setting("STRESS_ROUNDS", 60));
    let seed = setting("STRESS_SEED", 4711);
    let world = World::new().seeded(|old, new| {
        let mut inbox = mails(0..ON_OLD - 1);
        inbox.push(Mail::of(large(ON_OLD - 1, 300_000)));
        old.seed("INBOX", &inbox);
        new.seed("INBOX", &mails(1_000..1_010));
        old.seed("Other", &mails(2_000..2_003));
    });
    let common = Mutex::new(Common::default());
    {
        let mut first = world.proxy.client();
        first.ok("SELECT INBOX");
        let uids = first.ok("UID SEARCH ALL").found();
        common.lock().expect("nobody else").stored.extend(uids);
    }
    std::thread::scope(|scope| {
        for name in 0..clients {
            let (world, common) = (&world, &common);
            scope.spawn(move || {
                let dialogue = world.proxy.client();
                let dice = Dice(u64::from(seed) * 1_000 + u64::from(name));
                let (uids, past) = (Vec::new(), Vec::new());
                let mut client = Client { name, dialogue, dice, uids, common, past };
                client.dialogue.patience = Duration::from_secs(60);
                client.select();
                for round in 0..rounds {
                    client.round(round);
                }
                client.run("UNSELECT", true);
            });
        }
        // Mail arrives on both servers meanwhile.
        scope.spawn(|| {
            for n in 0..rounds / 10 {
                world.old.deliver("INBOX", &Mail::numbered(50_000 + n));
                world.new.deliver("INBOX", &Mail::numbered(60_000 + n));
                std::thread::sleep(Duration::from_millis(150));
            }
        });
    });
    at_the_end(&world, &common.into_inner().expect("all have ended"), rounds / 10);
    assert!(!world.proxy.log().contains("panicked"), "{}", world.proxy.log());
}

fn contents(client: &mut Dialogue, folder: &str) -> Vec<lab::Fetched> {
    client.ok(&format!("SELECT {folder}"));
    let mut all = client.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])").fetched();
    // Flags that others changed a moment ago may be told beside.
    all.retain(|m| !m.bodies.is_empty());
    all
}

/// All is quiet: everybody sees the same, nothing is lost, nothing is there twice.
fn at_the_end(world: &World, common: &Common, arrived: u32) {
    let mut client = world.proxy.client();
    let all = eventually("all arrivals", || {
        let all = contents(&mut client, "INBOX");
        let there: BTreeSet<String> = all.iter().map(|m| message_id(m.body())).collect();
        let seen: BTreeSet<&String> = there.iter().chain(common.identity.values()).collect();
        let mut delivered = (0..arrived).flat_map(|n| [50_000 + n, 60_000 + n]);
        delivered.all(|n| seen.contains(&message_id(&small(n)))).then_some(all)
    });
    let there: BTreeSet<u32> = all.iter().map(|m| m.uid).collect();
    let lost: Vec<&u32> =
        common.stored.iter().filter(|u| !there.contains(u) && !common.doomed.contains(u)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    for message in &all {
        if let Some(known) = common.identity.get(&message.uid) {
            assert_eq!(*known, message_id(message.body()), "V2: {}", message.uid);
        }
    }
    let mut second = world.proxy.client();
    second.ok("SELECT INBOX");
    let again = second.ok("UID FETCH 1:* (UID FLAGS)").fetched();
    let told = |all: &[lab::Fetched]| -> Vec<(u32, u32, BTreeSet<String>)> {
        all.iter()
            .map(|m| (m.seq, m.uid, m.flags.clone().unwrap_or_default().into_iter().collect()))
            .collect()
    };
    assert_eq!(told(&all), told(&again));

    let other = contents(&mut client, "INBOX.Other");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for message in all.iter().chain(&other) {
        *counts.entry(message_id(message.body())).or_default() += 1;
    }
    for (id, count) in &counts {
        let most = common.copies.get(id).copied().unwrap_or(1);
        assert!(*count <= most, "{id} is there {count} times, and {most} at the most");
    }
    // What is on new is on it once: nothing was copied twice.
    let mut on_new: BTreeMap<String, usize> = BTreeMap::new();
    let mut new = world.new.client();
    for folder in ["INBOX", "Other"] {
        for message in contents(&mut new, folder) {
            *on_new.entry(message_id(message.body())).or_default() += 1;
        }
    }
    for (id, count) in on_new {
        let most = common.copies.get(&id).copied().unwrap_or(1);
        assert!(count <= most, "on new {id} is there {count} times, and {most} at the most");
    }
    let uids =
        numbers(&client.ok("UID SEARCH RETURN (ALL) ALL").esearch("ALL").unwrap_or_default());
    assert_eq!(uids.len(), other.len());
}
