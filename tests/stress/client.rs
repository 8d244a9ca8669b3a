//! One of many clients: it says what its dice say, and holds every response against what it was told before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use super::lab::reply::{fetched, numbers};
use super::lab::{Dialogue, Dice, Reply, small};

/// Numbers of appended messages are above this one.
const FIRST_APPENDED: u32 = 1_000_000;
/// Where there are more, they are expunged and not appended.
const MANY: u32 = 250;

/// What all clients together know.
#[derive(Default)]
pub struct Common {
    /// Message-ID by UID: never another one.
    pub identity: HashMap<u32, String>,
    /// The whole message by UID.
    pub contents: HashMap<u32, Vec<u8>>,
    /// UIDs that somebody wanted gone.
    pub doomed: BTreeSet<u32>,
    /// UIDs that were acknowledged as stored.
    pub stored: BTreeSet<u32>,
    /// How often each Message-ID may be there, in all mailboxes together.
    pub copies: BTreeMap<String, usize>,
    /// How many messages were appended.
    appended: u32,
}

/// One client.
pub struct Client<'a> {
    pub name: u32,
    dialogue: Dialogue,
    dice: Dice,
    /// UIDs behind sequence numbers, as far as they were told.
    uids: Vec<Option<u32>>,
    /// Flags by UID as they were told last; none after a change of its own of which it wanted to hear nothing.
    flags: BTreeMap<u32, BTreeSet<String>>,
    /// The flags that there are, as FLAGS told.
    known: BTreeSet<String>,
    /// The greatest HIGHESTMODSEQ that it was told.
    mod_seq: u64,
    /// What the proxy offers.
    offered: BTreeSet<String>,
    /// It hears VANISHED, and no EXPUNGE.
    qresync: bool,
    common: &'a Mutex<Common>,
    past: Vec<String>,
}

impl<'a> Client<'a> {
    /// A client that has INBOX open.
    pub fn new(
        name: u32,
        mut dialogue: Dialogue,
        dice: Dice,
        common: &'a Mutex<Common>,
    ) -> Client<'a> {
        dialogue.patience = Duration::from_secs(60);
        let reply = dialogue.ok("CAPABILITY");
        let offered = reply.lines().iter().flat_map(|l| l.split(' ')).map(str::to_owned).collect();
        let mut client = Client {
            name,
            dialogue,
            dice,
            uids: Vec::new(),
            flags: BTreeMap::new(),
            known: BTreeSet::new(),
            mod_seq: 0,
            offered,
            qresync: false,
            common,
            past: Vec::new(),
        };
        if client.can("QRESYNC") && name % 4 == 3 {
            client.run("ENABLE QRESYNC", false);
            client.qresync = true;
        }
        client.select();
        client
    }

    fn can(&self, name: &str) -> bool {
        self.offered.contains(name)
    }

    fn select(&mut self) {
        self.uids.clear();
        self.flags.clear();
        let reply = self.run("SELECT INBOX", true);
        let exists = reply.count("EXISTS").expect("EXISTS");
        assert_eq!(self.uids.len(), exists as usize);
        if self.can("CONDSTORE") {
            let told = reply.number("HIGHESTMODSEQ");
            assert!(told >= self.mod_seq, "HIGHESTMODSEQ fell from {} to {told}", self.mod_seq);
            self.mod_seq = told;
        }
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
            if first == "FLAGS" {
                let list = String::from_utf8_lossy(line).into_owned();
                let inner = list.trim_start_matches("* FLAGS (").trim_end_matches(')');
                self.known = inner.split(' ').map(str::to_ascii_lowercase).collect();
            }
            if first == "VANISHED" {
                self.take_vanished(&String::from_utf8_lossy(line), may_expunge, &what);
            }
            let Ok(n) = first.parse::<usize>() else { continue };
            match second {
                "EXISTS" => {
                    assert!(n >= self.uids.len(), "fewer without an EXPUNGE: {what}");
                    self.uids.resize(n, None);
                }
                "EXPUNGE" => {
                    assert!(!self.qresync, "EXPUNGE where VANISHED is expected: {what}");
                    assert!(may_expunge, "an EXPUNGE that is not allowed here: {what}");
                    assert!(1 <= n && n <= self.uids.len(), "no such message: {what}");
                    if let Some(uid) = self.uids.remove(n - 1) {
                        self.flags.remove(&uid);
                    }
                }
                "FETCH" => {
                    assert!(1 <= n && n <= self.uids.len(), "no such message: {what}");
                    self.take_fetch(line, &what);
                }
                _ => {}
            }
        }
    }

    fn take_vanished(&mut self, line: &str, may_expunge: bool, what: &str) {
        let set = line.rsplit(' ').next().expect("a set");
        if line.contains("(EARLIER)") {
            // Holes may be named whole.
            let number = |n: &str| n.parse::<u32>().expect("a UID");
            for (first, last) in set.split(',').map(|r| r.split_once(':').unwrap_or((r, r))) {
                let gone = number(first)..=number(last);
                let back = self.uids.iter().flatten().find(|uid| gone.contains(uid));
                assert_eq!(back, None, "it is there, as was told: {what}");
            }
            return;
        }
        let gone = numbers(set);
        assert!(self.qresync && may_expunge, "a VANISHED that is not allowed here: {what}");
        for uid in gone {
            self.flags.remove(&uid);
            // One that it was not told the UID of lies between those that it was; in one gap all are alike.
            let above = self.uids.iter().position(|known| known.is_some_and(|known| known >= uid));
            let end = above.unwrap_or(self.uids.len());
            let at = match above.filter(|at| self.uids[*at] == Some(uid)) {
                Some(at) => Some(at),
                None => end.checked_sub(1).filter(|at| self.uids[*at].is_none()),
            };
            self.uids.remove(at.unwrap_or_else(|| panic!("no message {uid}: {what}")));
        }
    }

    fn take_fetch(&mut self, line: &[u8], what: &str) {
        let message = fetched(line).expect("a FETCH");
        for flag in message.flags.iter().flatten() {
            assert!(self.known.contains(&flag.to_ascii_lowercase()), "unknown {flag}: {what}");
        }
        let at = message.seq as usize - 1;
        if message.uid == 0 {
            // Which message it is may be known all the same.
            if let (Some(uid), Some(flags)) = (self.uids[at], message.flags) {
                self.flags.insert(uid, flags);
            }
            return;
        }
        assert!(self.uids[at].is_none_or(|known| known == message.uid), "another UID: {what}");
        self.uids[at] = Some(message.uid);
        if let Some(flags) = message.flags.clone() {
            self.flags.insert(message.uid, flags);
        }
        let below = self.uids[..at].iter().flatten().next_back();
        let above = self.uids[at + 1..].iter().flatten().next();
        assert!(below.is_none_or(|b| *b < message.uid), "UIDs do not ascend: {what}");
        assert!(above.is_none_or(|a| *a > message.uid), "UIDs do not ascend: {what}");
        let content = message.bodies.iter().find(|(name, _)| !name.contains("TEXT"));
        // What Courier says of a message that was expunged elsewhere a moment ago has none.
        let there = |content: &[u8]| !courier() || super::lab::has(content, "Message-ID: <");
        if let Some((_, content)) = content.filter(|(_, content)| there(content)) {
            let id = message_id(content);
            let mut common = self.common.lock().expect("the others");
            let known = common.identity.entry(message.uid).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "V2, another message: {what}");
            if let Some(whole) = message.bodies.get("BODY[]") {
                let known = common.contents.entry(message.uid).or_insert_with(|| whole.clone());
                assert!(known == whole, "V5, other octets: {what}");
                assert!(
                    message.size.is_none_or(|size| size == whole.len()),
                    "another size: {what}"
                );
            }
        }
    }

    /// One command or two.
    pub fn round(&mut self) {
        let exists = u32::try_from(self.uids.len()).expect("few");
        if exists == 0 {
            self.run("NOOP", true);
            return;
        }
        let (a, b) = (self.dice.below(exists) + 1, self.dice.below(exists) + 1);
        let near = (a + self.dice.below(4)).min(exists);
        let uid = |client: &Self, seq: u32| client.uids[seq as usize - 1];
        let turn = self.dice.below(25);
        match if exists > MANY && (11..=12).contains(&turn) { 10 } else { turn } {
            0 => drop(self.run(&format!("FETCH {a}:{b} (UID FLAGS)"), false)),
            1 => {
                let items = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
                drop(self.run(&format!("FETCH {a}:{near} {items}"), false));
            }
            2 | 3 => {
                drop(self.run(&format!("FETCH {a}:{near} (UID RFC822.SIZE BODY.PEEK[])"), false))
            }
            4 => drop(self.run("UID FETCH 1:* (FLAGS RFC822.SIZE)", true)),
            5 | 6 => {
                let sign = self.dice.one_of(&["+", "-", ""]);
                let silent = self.dice.one_of(&["", ".SILENT"]);
                let flag = self.dice.one_of(&["\\Seen", "\\Flagged", "$Label1", "\\Answered"]);
                drop(self.run(&format!("STORE {a}:{near} {sign}FLAGS{silent} ({flag})"), false));
                if !silent.is_empty() {
                    self.forget_flags(a, near);
                }
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
                if !self.can("ESEARCH") {
                    return drop(self.run("UID SEARCH SEEN", true));
                }
                let reply = self.run("UID SEARCH RETURN (ALL COUNT) ALL", true);
                let count = reply.esearch("COUNT").expect("COUNT");
                assert_eq!(reply.found().len().to_string(), count);
            }
            10 => {
                if let Some((uid, _)) = self.identified(a) {
                    self.common.lock().expect("the others").doomed.insert(uid);
                    self.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"), true);
                    self.flags.remove(&uid);
                    let word = self.dice.one_of(&["EXPUNGE", "UID EXPUNGE 1:*"]);
                    self.run(word, true);
                }
            }
            11 | 12 => {
                let number = {
                    let mut common = self.common.lock().expect("the others");
                    common.appended += 1;
                    FIRST_APPENDED + common.appended
                };
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
                common.copies.entry(id).or_insert(1);
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
            19 => drop(self.run("CHECK", true)),
            20 if self.can("SORT") => {
                let by = self.dice.one_of(&["DATE", "REVERSE SIZE", "SUBJECT", "ARRIVAL"]);
                let reply = self.run(&format!("SORT ({by}) UTF-8 ALL"), false);
                let lines = reply.lines();
                let sorted = lines.iter().find_map(|l| l.strip_prefix("* SORT ")).unwrap_or("");
                let each = sorted.split_whitespace().map(|n| n.parse().expect("a number"));
                let found: Vec<usize> = each.collect();
                let once: BTreeSet<usize> = found.iter().copied().collect();
                assert_eq!(found.len(), once.len(), "twice in one result: {found:?}");
                assert!(once.last().is_none_or(|n| *n <= self.uids.len()), "{found:?}");
            }
            21 if self.can("CONDSTORE") => {
                let since = self.mod_seq.saturating_sub(self.dice.below(50));
                let vanished = if self.qresync { " VANISHED" } else { "" };
                drop(
                    self.run(
                        &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since}{vanished})"),
                        true,
                    ),
                );
            }
            22 if self.can("CONDSTORE") => {
                let since = self.mod_seq.saturating_sub(self.dice.below(3));
                let sign = self.dice.one_of(&["+", "-"]);
                let store = format!(
                    "STORE {a}:{near} (UNCHANGEDSINCE {since}) {sign}FLAGS.SILENT (\\Flagged)"
                );
                drop(self.run(&store, false));
                self.forget_flags(a, near);
            }
            23 => drop(self.run(
                &format!("FETCH {a}:{near} (UID ENVELOPE BODYSTRUCTURE INTERNALDATE)"),
                false,
            )),
            _ => drop(self.run(&format!("FETCH {a} (UID BODY[TEXT]<0.20>)"), false)),
        }
    }

    /// It changes them, and does not want to be told what becomes of them.
    fn forget_flags(&mut self, first: u32, last: u32) {
        let range = first as usize - 1..last as usize;
        // Where the UID was not told either, flags were not.
        for uid in self.uids[range].iter().flatten() {
            self.flags.remove(uid);
        }
    }

    /// All is quiet: what it was told of flags is what they are, and of which messages there are as well.
    pub fn agrees_with(&mut self, truth: &BTreeMap<u32, BTreeSet<String>>) {
        self.run("NOOP", true);
        assert_eq!(self.uids.len(), truth.len(), "client {}: EXISTS", self.name);
        let known = self.uids.iter().zip(truth.keys());
        let other = known.filter_map(|(known, uid)| known.filter(|known| known != uid));
        assert_eq!(other.collect::<Vec<_>>(), Vec::<u32>::new(), "client {}: UIDs", self.name);
        for (uid, flags) in &self.flags {
            assert_eq!(
                Some(flags),
                truth.get(uid),
                "client {} was told other flags of {uid}",
                self.name
            );
        }
        self.run("UNSELECT", true);
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

fn courier() -> bool {
    std::env::var("STRESS_PAIR").is_ok_and(|pair| pair.contains("courier"))
}

/// Which message this is.
pub fn message_id(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let id = text.split("Message-ID: <").nth(1).and_then(|rest| rest.split('>').next());
    id.expect("a Message-ID").to_owned()
}
