//! What must be true of two folders, from what was acknowledged; a client's view is held against it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::lab::{Dialogue, quoted};

/// The folders of the game.
pub const FOLDERS: [&str; 2] = ["INBOX", "Work"];
pub const FLAGS: [&str; 4] = ["\\Flagged", "\\Answered", "$Label1", "\\Seen"];

pub type Flags = BTreeSet<String>;

/// A message in a folder: the folder's place in [`FOLDERS`], the message's number.
pub type Key = (usize, u32);

/// What is known of a message in a folder.
#[derive(Clone, Debug)]
pub struct Known {
    /// `None`: nobody was told whether it is there.
    pub there: Option<bool>,
    /// Its flags are one of these; any, where there are none.
    pub flags: Vec<Flags>,
    pub uid: Option<u32>,
}

/// What must be true, from what was acknowledged.
#[derive(Default)]
pub struct Model {
    pub messages: BTreeMap<Key, Known>,
    /// Moves that nobody was told the end of: the message is in one of these folders.
    pub moves: Vec<(Key, Key)>,
    /// What a UID has ever meant.
    pub meaning: HashMap<(usize, u32), u32>,
    /// UIDs whose message has gone.
    pub gone: HashSet<(usize, u32)>,
    pub validity: HashMap<usize, String>,
    pub next: u32,
    /// Opened lately: perhaps their copies were under way.
    pub opened: [BTreeSet<Key>; 2],
    pub past: Vec<String>,
}

impl Model {
    /// A new message's number.
    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub fn add(&mut self, key: Key, there: Option<bool>, flags: Vec<Flags>) {
        self.messages.insert(key, Known { there, flags, uid: None });
    }

    /// Messages that are there, with a UID that the client knows.
    pub fn there(&self, folder: usize) -> Vec<(u32, u32)> {
        let at = self.messages.iter().filter(|((f, _), _)| *f == folder);
        at.filter(|(_, known)| known.there == Some(true))
            .filter_map(|((_, n), known)| Some((*n, known.uid?)))
            .collect()
    }

    pub fn say(&self, what: &str) -> String {
        let mut text = what.to_owned();
        for past in self.past.iter().rev().take(40).rev() {
            let _ = write!(text, "\n  {past}");
        }
        text
    }

    /// The index was lost: what UIDs of ours were is known to nobody, and old's copies of what was
    /// removed on new may be seen again. No UID means another message all the same.
    pub fn rebuilt(&mut self) {
        self.gone.clear();
        self.moves.clear();
        for (key, known) in &mut self.messages {
            known.uid = None;
            // Nobody knows which of the two has the flags that were set last.
            if self.opened.iter().any(|opened| opened.contains(key)) {
                known.flags = Vec::new();
            }
            if known.there != Some(true) {
                *known = Known { there: None, flags: Vec::new(), uid: None };
            }
        }
    }

    /// UID and flags of all messages of a folder. An arrival may be held back for a moment: until it
    /// is known to be no copy of ours.
    pub fn look(
        &mut self,
        client: &mut Dialogue,
        folder: usize,
        name: &str,
    ) -> BTreeMap<u32, (u32, Flags)> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let selected = client.ok(&format!("EXAMINE {}", quoted(name)));
            let exists = selected.count("EXISTS").expect("EXISTS");
            let validity = selected.code("UIDVALIDITY").expect("UIDVALIDITY");
            let first = self.validity.entry(folder).or_insert(validity.clone()).clone();
            assert_eq!(first, validity, "{}", self.say("V1"));
            let mut seen = BTreeMap::new();
            let items = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
            for message in client.ok(&format!("UID FETCH 1:* {items}")).fetched() {
                let Some(head) = message.bodies.values().next() else { continue };
                let n = number_of(head);
                let twice = seen.insert(n, (message.uid, message.flags.expect("FLAGS")));
                let what = format!("V5: {n} is in {name} twice, {twice:?} and #{}", message.uid);
                assert!(twice.is_none(), "{}", self.say(&what));
            }
            assert_eq!(seen.len(), exists as usize, "{}", self.say("V3"));
            let awaited = |((f, n), known): (&Key, &Known)| {
                let fresh = known.there == Some(true) && known.uid.is_none();
                *f == folder && fresh && !seen.contains_key(n)
            };
            if Instant::now() > until || !self.messages.iter().any(awaited) {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds what a client sees against what must be, and learns what was not known.
    pub fn observe(&mut self, client: &mut Dialogue, names: &[String], settled: bool) {
        for (folder, name) in names.iter().enumerate() {
            let seen = self.look(client, folder, name);
            for (n, (uid, flags)) in &seen {
                let meaning = *self.meaning.entry((folder, *uid)).or_insert(*n);
                assert_eq!(meaning, *n, "{}", self.say(&format!("V2: #{uid} of {name}")));
                let back = self.gone.contains(&(folder, *uid));
                assert!(!back, "{}", self.say(&format!("V2: #{uid} of {name} is back")));
                let Some(known) = self.messages.get_mut(&(folder, *n)) else {
                    panic!("{}", self.say(&format!("{n} cannot be in {name}")));
                };
                let mut wrong = String::new();
                if known.there == Some(false) {
                    wrong = format!("{n} is in {name} again");
                } else if known.uid.is_some_and(|known| known != *uid) {
                    wrong = format!("V2: {n} of {name} was {:?}, is #{uid}", known.uid);
                } else if !known.flags.is_empty() && !known.flags.contains(flags) {
                    wrong = format!("{n} of {name} has {flags:?}, not {:?}", known.flags);
                }
                *known = Known { there: Some(true), flags: vec![flags.clone()], uid: Some(*uid) };
                assert!(wrong.is_empty(), "{}", self.say(&wrong));
            }
            for ((f, n), known) in &mut self.messages {
                if *f != folder || seen.contains_key(n) {
                    continue;
                }
                // May be held back, if nobody has seen it yet.
                if known.there.is_none() && known.uid.is_none() && !settled {
                    continue;
                }
                let lost = known.there == Some(true);
                known.there = Some(false);
                if let Some(uid) = known.uid.take() {
                    self.gone.insert((folder, uid));
                }
                if lost {
                    let n = *n;
                    panic!("{}", self.say(&format!("{n} is lost from {name}")));
                }
            }
        }
        for (from, to) in std::mem::take(&mut self.moves) {
            let there = |key: &Key| self.messages[key].there;
            match (there(&from), there(&to)) {
                (Some(true), Some(true)) => panic!("{}", self.say(&format!("{from:?} and {to:?}"))),
                (Some(false), Some(false)) => {
                    panic!("{}", self.say(&format!("lost on its way from {from:?} to {to:?}")))
                }
                (Some(true), _) | (_, Some(true)) => {}
                _ => self.moves.push((from, to)),
            }
        }
        self.past.push("-- seen".to_owned());
    }
}

/// The number of a message of [`Mail::numbered`], from its Message-ID.
pub fn number_of(head: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(head).into_owned();
    let (_, number) = text.split_once('<').expect("a Message-ID");
    let (number, _) = number.split_once('.').expect("a numbered message");
    number.parse().expect("a number")
}

pub fn flags(list: &[&str]) -> Flags {
    list.iter().map(|f| (*f).to_owned()).collect()
}
