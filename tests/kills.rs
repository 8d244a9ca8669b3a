//! The proxy dies at every step that promises something, and at random moments of mixed traffic: what was
//! acknowledged is there, every message exactly once (V5), no UID changes its meaning (V2).
//!
//! `CRASH_ROUNDS`, `CRASH_SEED`, `CRASH_OLD` and `CRASH_NEW` make it longer, another one, and over other servers
//! (`tests/lab.sh crash`).

mod lab;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mailferry::base::Side;

use lab::{Courier, Cyrus, Dialogue, Dovecot, Mail, Shape, World, eventually, everything, quoted};

/// A sequence that is the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % n.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The folders of the game.
const FOLDERS: [&str; 2] = ["INBOX", "Work"];
const FLAGS: [&str; 4] = ["\\Flagged", "\\Answered", "$Label1", "\\Seen"];

type Flags = BTreeSet<String>;

/// A message in a folder: the folder's place in [`FOLDERS`], the message's number.
type Key = (usize, u32);

/// What is known of a message in a folder.
#[derive(Clone, Debug)]
struct Known {
    /// `None`: nobody was told whether it is there.
    there: Option<bool>,
    /// Its flags are one of these.
    flags: Vec<Flags>,
    uid: Option<u32>,
}

/// What must be true, from what was acknowledged.
#[derive(Default)]
struct Model {
    messages: BTreeMap<Key, Known>,
    /// Moves that nobody was told the end of: the message is in one of these folders.
    moves: Vec<(Key, Key)>,
    /// What a UID has ever meant.
    meaning: HashMap<(usize, u32), u32>,
    /// UIDs whose message has gone.
    gone: HashSet<(usize, u32)>,
    validity: HashMap<usize, String>,
    next: u32,
    past: Vec<String>,
}

impl Model {
    /// A new message's number.
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, key: Key, there: Option<bool>, flags: Vec<Flags>) {
        self.messages.insert(key, Known { there, flags, uid: None });
    }

    /// Messages that are there, with a UID that the client knows.
    fn there(&self, folder: usize) -> Vec<(u32, u32)> {
        let at = self.messages.iter().filter(|((f, _), _)| *f == folder);
        at.filter(|(_, known)| known.there == Some(true))
            .filter_map(|((_, n), known)| Some((*n, known.uid?)))
            .collect()
    }

    fn say(&self, what: &str) -> String {
        let mut text = what.to_owned();
        for past in self.past.iter().rev().take(40).rev() {
            let _ = write!(text, "\n  {past}");
        }
        text
    }

    /// UID and flags of all messages of a folder. An arrival may be held back for a moment: until it
    /// is known to be no copy of ours.
    fn look(
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
    fn observe(&mut self, client: &mut Dialogue, names: &[String], settled: bool) {
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
                } else if !known.flags.contains(flags) {
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
fn number_of(head: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(head).into_owned();
    let (_, number) = text.split_once('<').expect("a Message-ID");
    let (number, _) = number.split_once('.').expect("a numbered message");
    number.parse().expect("a number")
}

fn flags(list: &[&str]) -> Flags {
    list.iter().map(|f| (*f).to_owned()).collect()
}

/// The game: a world, what must be true of it, and chance.
struct Game {
    world: World,
    names: Vec<String>,
    model: Model,
    dice: Dice,
    selected: Option<usize>,
}

impl Game {
    fn new(old: Shape, new: Shape, seed: u64) -> Game {
        let seeded: u32 = 12;
        let mail = |n: u32| Mail::numbered(n).flags(&[]);
        let world = World::new().old(old).new(new).seeded(|old, new| {
            old.seed("INBOX", &(0..seeded).map(mail).collect::<Vec<_>>());
            old.seed("Work", &(seeded..2 * seeded).map(mail).collect::<Vec<_>>());
            new.seed("INBOX", &(2 * seeded..2 * seeded + 3).map(mail).collect::<Vec<_>>());
        });
        let mut model = Model { next: 2 * seeded + 3, ..Model::default() };
        for n in 0..2 * seeded + 3 {
            let folder = usize::from((seeded..2 * seeded).contains(&n));
            model.add((folder, n), Some(true), vec![Flags::new()]);
        }
        let names = FOLDERS.iter().map(|folder| world.old.name(folder)).collect();
        Game { world, names, model, dice: Dice(seed), selected: None }
    }

    /// One step of traffic. False: the proxy has died over it.
    fn play(&mut self, client: &mut Dialogue) -> bool {
        let folder = self.dice.below(FOLDERS.len());
        let there = self.model.there(folder);
        match self.dice.below(12) {
            0 => self.deliver(folder),
            1 => return self.append(client, folder),
            _ if there.is_empty() => {}
            2..=4 => return self.open(client, folder, &there),
            5 | 6 => return self.store(client, folder, &there),
            7 | 8 => return self.copy(client, folder, &there),
            9 => return self.expunge(client, folder, &there),
            10 => return self.heard(client, folder, "NOOP").is_some(),
            _ => self.expunge_on_new(folder, &there),
        }
        true
    }

    fn deliver(&mut self, folder: usize) {
        // Nobody made the other folder on new yet, perhaps.
        match folder == 0 && self.dice.below(2) == 0 {
            true => self.deliver_to(Side::New, folder),
            false => self.deliver_to(Side::Old, folder),
        }
    }

    fn deliver_to(&mut self, side: Side, folder: usize) {
        let n = self.model.number();
        let server = match side {
            Side::Old => &self.world.old,
            Side::New => &self.world.new,
        };
        server.deliver(FOLDERS[folder], &Mail::numbered(n).flags(&[]));
        self.model.past.push(format!("{n} is delivered to {side}'s {}", FOLDERS[folder]));
        self.model.add((folder, n), Some(true), vec![Flags::new()]);
    }

    /// A command in a folder; `None`: the proxy has died.
    fn heard(&mut self, client: &mut Dialogue, folder: usize, command: &str) -> Option<bool> {
        if self.selected != Some(folder) {
            let select = format!("SELECT {}", quoted(&self.names[folder]));
            let reply = client.cmd_unless_gone(select.as_bytes())?;
            assert_eq!(reply.status, "OK", "{}", self.model.say(&format!("{select}: {reply:?}")));
            self.selected = Some(folder);
        }
        self.model.past.push(format!("{}: {command}", FOLDERS[folder]));
        let reply = client.cmd_unless_gone(command.as_bytes())?;
        self.model.past.push(format!("  {} {}", reply.status, reply.text));
        // A message may have gone by somebody else's hand.
        assert_ne!(reply.status, "BAD", "{}", self.model.say(&format!("{command}: {reply:?}")));
        Some(reply.status == "OK")
    }

    fn append(&mut self, client: &mut Dialogue, folder: usize) -> bool {
        let n = self.model.number();
        let flag = *self.dice.one_of(&FLAGS);
        let mail = Mail::numbered(n);
        let head = format!(
            "APPEND {} ({flag}) {{{}+}}\r\n",
            quoted(&self.names[folder]),
            mail.octets.len()
        );
        self.model.past.push(format!("{n} is appended to {} with {flag}", FOLDERS[folder]));
        let reply = client.cmd_unless_gone(&[head.as_bytes(), &mail.octets].concat());
        let there = reply.as_ref().map(|reply| reply.status == "OK");
        assert_ne!(there, Some(false), "{}", self.model.say(&format!("{reply:?}")));
        self.model.add((folder, n), there, vec![flags(&[flag])]);
        there.is_some()
    }

    fn open(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let at = self.dice.below(there.len());
        let some = &there[at..(at + 1 + self.dice.below(4)).min(there.len())];
        let set: Vec<String> = some.iter().map(|(_, uid)| uid.to_string()).collect();
        let peek = self.dice.below(3) > 0;
        let item = if peek { "BODY.PEEK[]" } else { "BODY[]" };
        let done = self.heard(client, folder, &format!("UID FETCH {} ({item})", set.join(",")));
        if !peek {
            for (n, _) in some {
                self.flagged((folder, *n), "\\Seen", true, done);
            }
        }
        done.is_some()
    }

    /// A flag was set or taken, or perhaps.
    fn flagged(&mut self, key: Key, flag: &str, on: bool, done: Option<bool>) {
        let known = self.model.messages.get_mut(&key).expect("a known message");
        let mut after = known.flags.clone();
        for flags in &mut after {
            if on {
                flags.insert(flag.to_owned());
            } else {
                flags.remove(flag);
            }
        }
        if done == Some(true) {
            known.flags = after;
        } else {
            known.flags.extend(after);
        }
    }

    fn store(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let (n, uid) = *self.dice.one_of(there);
        let flag = *self.dice.one_of(&FLAGS);
        let on = self.dice.below(3) > 0;
        let sign = if on { '+' } else { '-' };
        let done = self.heard(client, folder, &format!("UID STORE {uid} {sign}FLAGS ({flag})"));
        self.flagged((folder, n), flag, on, done);
        done.is_some()
    }

    fn copy(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let (n, uid) = *self.dice.one_of(there);
        let target = 1 - folder;
        if self.model.messages.get(&(target, n)).is_some_and(|known| known.there != Some(false)) {
            return true;
        }
        let moves = self.dice.below(2) == 0;
        let verb = if moves { "MOVE" } else { "COPY" };
        let name = quoted(&self.names[target]);
        let done = self.heard(client, folder, &format!("UID {verb} {uid} {name}"));
        let source = self.model.messages[&(folder, n)].clone();
        if done == Some(false) {
            return true;
        }
        // An OK says nothing of what had gone before the command.
        let there = if source.there == Some(true) { done } else { None };
        self.model.add((target, n), there, source.flags);
        if moves {
            match done {
                Some(_) => self.gone((folder, n)),
                None => {
                    self.model.messages.entry((folder, n)).and_modify(|known| known.there = None);
                    if source.there == Some(true) {
                        self.model.moves.push(((folder, n), (target, n)));
                    }
                }
            }
        }
        done.is_some()
    }

    fn gone(&mut self, key: Key) {
        if let Some(known) = self.model.messages.get_mut(&key) {
            known.there = Some(false);
            if let Some(uid) = known.uid.take() {
                self.model.gone.insert((key.0, uid));
            }
        }
    }

    fn expunge(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let (n, uid) = *self.dice.one_of(there);
        let command = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
        let marked = self.heard(client, folder, &command);
        self.flagged((folder, n), "\\Deleted", true, marked);
        if marked.is_none() {
            return false;
        }
        let done = self.heard(client, folder, &format!("UID EXPUNGE {uid}"));
        match done {
            Some(true) => self.gone((folder, n)),
            _ => {
                self.model.messages.entry((folder, n)).and_modify(|known| known.there = None);
            }
        }
        done.is_some()
    }

    /// Somebody removes a message who works on the new server directly.
    fn expunge_on_new(&mut self, folder: usize, there: &[(u32, u32)]) {
        let (n, _) = *self.dice.one_of(there);
        let mut direct = self.world.new.client();
        let name = self.world.new.name(FOLDERS[folder]);
        if direct.cmd(&format!("SELECT {}", quoted(&name))).status != "OK" {
            return;
        }
        let found = direct.ok(&format!("UID SEARCH HEADER Message-ID \"<{n}.\""));
        let found = found.lines().concat();
        let Some(uid) = found.strip_prefix("* SEARCH ").filter(|one| !one.contains(' ')) else {
            return;
        };
        self.model.past.push(format!("{n} is removed from new's {}", FOLDERS[folder]));
        direct.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        direct.ok(&format!("UID EXPUNGE {uid}"));
        // Where its copy was still under way, it stays on old, and is copied again.
        self.model.messages.entry((folder, n)).and_modify(|known| known.there = None);
    }

    fn observe(&mut self) {
        self.world.proxy.restart();
        let mut client = self.world.proxy.client();
        self.model.observe(&mut client, &self.names, false);
        self.world.proxy.kill9();
        self.selected = None;
    }

    /// Traffic until the proxy dies, by itself or by our hand after so many steps. Whether by itself.
    fn round(&mut self, steps: usize, patience: Duration) -> bool {
        let port = self.world.proxy.port;
        let (user, password) = self.world.old.account();
        let (user, password) = (user.to_owned(), password.to_owned());
        let login = format!("LOGIN {} {}", quoted(&user), quoted(&password));
        let mut client = match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Dialogue::connect(port),
            Err(_) => return true,
        };
        let mut alive = client.cmd_unless_gone(login.as_bytes()).is_some();
        if alive && let Some(last) = self.model.there(0).pop() {
            alive = self.open(&mut client, 0, &[last]);
        }
        for _ in 0..steps {
            alive = alive && self.play(&mut client);
        }
        let until = Instant::now() + patience;
        while self.world.proxy.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let alive = self.world.proxy.is_alive();
        if alive {
            self.world.proxy.kill9();
        }
        self.model.past.push(if alive { "-- killed" } else { "-- died" }.to_owned());
        self.selected = None;
        !alive
    }

    /// Everything is opened and copied; then both servers and the view agree.
    fn settle(mut self) {
        self.world.proxy.restart();
        let mut client = self.world.proxy.client();
        self.model.observe(&mut client, &self.names, false);
        // Longer than the grace in which copies are looked for.
        std::thread::sleep(Duration::from_secs(3));
        self.model.observe(&mut client, &self.names, true);
        for (folder, name) in FOLDERS.iter().zip(&self.names) {
            let mine = FOLDERS.iter().position(|f| f == folder).expect("a folder");
            let wanted: BTreeSet<u32> = self.model.there(mine).iter().map(|(n, _)| *n).collect();
            if wanted.is_empty() {
                continue;
            }
            let on_new = quoted(&self.world.new.name(folder));
            let mut direct = self.world.new.client();
            let what = format!("all of {folder} is on new once");
            let held = eventually(&what, || {
                // Again, for what an outage left uncopied.
                client.ok(&format!("SELECT {}", quoted(name)));
                client.ok("UID FETCH 1:* (BODY.PEEK[])");
                std::thread::sleep(Duration::from_millis(300));
                if direct.cmd(&format!("EXAMINE {on_new}")).status != "OK" {
                    return None;
                }
                let held: Vec<u32> = everything(&mut direct, &self.world.new.name(folder))
                    .iter()
                    .map(|seen| number_of(message_id(&seen.octets)))
                    .collect();
                (held.iter().copied().collect::<BTreeSet<u32>>() == wanted).then_some(held)
            });
            assert_eq!(held.len(), wanted.len(), "{}", self.model.say(&format!("V5: {held:?}")));
            for seen in everything(&mut client, name) {
                let n = number_of(message_id(&seen.octets));
                assert!(seen.octets == Mail::numbered(n).octets, "{n} was altered");
            }
        }
        // A copy that turns up late would show within the grace.
        std::thread::sleep(Duration::from_secs(2));
        self.model.observe(&mut client, &self.names, true);
        for (mine, folder) in FOLDERS.iter().enumerate() {
            let held = everything(&mut self.world.new.client(), &self.world.new.name(folder));
            assert_eq!(held.len(), self.model.there(mine).len(), "{}", self.model.say("V5, later"));
        }
    }
}

fn message_id(octets: &[u8]) -> &[u8] {
    let at = octets.windows(13).position(|w| w.eq_ignore_ascii_case(b"Message-ID: <"));
    &octets[at.expect("a Message-ID")..]
}

/// Every step of the program that is named by `step`, as its source has them.
fn steps() -> Vec<String> {
    fn collect(dir: &std::path::Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let named = text.split("step(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                all.extend(named.map(|(name, _)| name.to_owned()));
            }
        }
    }
    let mut all = Vec::new();
    collect(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all.sort();
    all
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn shapes() -> (Shape, Shape) {
    let named = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.to_owned());
    let old = match named("CRASH_OLD", "dovecot").as_str() {
        "dovecot" => Dovecot::old_style().into(),
        "courier" => Courier::plain().into(),
        other => panic!("no old server {other}"),
    };
    let new = match named("CRASH_NEW", "dovecot").as_str() {
        "dovecot" => Dovecot::new_style().into(),
        "cyrus" => Cyrus::styled(true, true).into(),
        other => panic!("no new server {other}"),
    };
    (old, new)
}

/// Steps that traffic comes to only where chance has it: a message goes while it is copied.
const RARE: [&str; 2] = ["copy: orphans are hidden", "copy: orphans are removed"];

#[test]
fn v5_the_proxy_dies_at_each_step() {
    let mut game = Game::new(Dovecot::old_style().into(), Dovecot::new_style().into(), 1);
    game.world.proxy.kill9();
    let mut missed = Vec::new();
    for step in steps() {
        for pass in [0, 1] {
            // There is always one to be copied.
            game.deliver_to(Side::Old, 0);
            game.observe();
            game.world.proxy.restart_to_die_at(&format!("{step}={pass}*off->return"));
            game.model.past.push(format!("-- to die at {step:?}, passed {pass} times"));
            let died = game.round(60, Duration::from_secs(if pass == 0 { 5 } else { 0 }));
            if pass == 0 && !died && !RARE.contains(&step.as_str()) {
                missed.push(step.clone());
            }
        }
    }
    assert_eq!(missed, Vec::<String>::new(), "steps that traffic never came to");
    game.settle();
}

#[test]
fn v2_v5_killed_at_random_nothing_acknowledged_is_lost_and_nothing_is_twice() {
    let (rounds, seed) = (setting("CRASH_ROUNDS", 10), setting("CRASH_SEED", 7));
    let (old, new) = shapes();
    let mut game = Game::new(old, new, seed as u64);
    game.world.proxy.kill9();
    let steps = steps();
    for round in 0..rounds {
        game.observe();
        game.model.past.push(format!("-- round {round} of seed {seed}"));
        if game.dice.below(2) == 0 {
            let step = game.dice.one_of(&steps).clone();
            let passed = game.dice.below(12);
            game.model.past.push(format!("-- to die at {step:?}, passed {passed} times"));
            game.world.proxy.restart_to_die_at(&format!("{step}={passed}*off->return"));
        } else {
            game.world.proxy.restart();
        }
        let most = 5 + game.dice.below(25);
        let patience = Duration::from_millis(game.dice.below(150) as u64);
        game.round(most, patience);
    }
    game.settle();
}
