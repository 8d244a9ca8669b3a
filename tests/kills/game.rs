//! Two folders, random traffic over them, and what must be true afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mailferry::base::Side;

use crate::lab::{Builder, Dialogue, Dice, Mail, Shape, World, eventually, everything, quoted};
use crate::model::{FLAGS, FOLDERS, Flags, Key, Model, flags, number_of};

/// The game: a world, what must be true of it, and chance.
pub struct Game {
    pub world: World,
    pub names: Vec<String>,
    pub model: Model,
    pub dice: Dice,
    pub selected: Option<usize>,
    /// A NO does not say that nothing was done: a server's answer may have been lost on its way.
    pub doubt: bool,
    /// Some mail is delivered to both servers, at times one copy long after the other. Where the index is lost,
    /// nobody knows that second copies are to come.
    pub twice: bool,
    /// Second copies that are yet to come.
    later: Vec<(Side, u32)>,
    /// Those that came since somebody looked.
    unseen: BTreeSet<u32>,
    /// No message comes to a folder a second time: where the index is lost, old's copy of the first time is
    /// seen again, beside it.
    pub once: bool,
}

impl Game {
    pub fn new(old: Shape, new: Shape, seed: u64) -> Game {
        Game::in_world(World::new().old(old).new(new), seed)
    }

    pub fn in_world(world: Builder, seed: u64) -> Game {
        let seeded: u32 = 12;
        let mail = |n: u32| Mail::numbered(n).flags(&[]);
        let world = world.seeded(|old, new| {
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
        Game {
            world,
            names,
            model,
            dice: Dice(seed),
            selected: None,
            doubt: false,
            twice: false,
            later: Vec::new(),
            unseen: BTreeSet::new(),
            once: false,
        }
    }

    /// One step of traffic. False: the proxy has died over it.
    pub fn play(&mut self, client: &mut Dialogue) -> bool {
        let folder = self.dice.below(FOLDERS.len());
        let there = self.model.there(folder);
        self.deliver_later(4);
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
        if self.twice && folder == 0 && self.dice.below(2) == 0 {
            let first = if self.dice.below(2) == 0 { Side::Old } else { Side::New };
            self.deliver_to(first, folder);
            self.later.push((first.other(), self.model.next));
            return;
        }
        // Nobody made the other folder on new yet, perhaps.
        match folder == 0 && self.dice.below(2) == 0 {
            true => self.deliver_to(Side::New, folder),
            false => self.deliver_to(Side::Old, folder),
        }
    }

    /// One of the second copies comes, once in so many times. Its server writes of the delivery in its own words.
    fn deliver_later(&mut self, times: usize) {
        if self.later.is_empty() || self.dice.below(times) > 0 {
            return;
        }
        let (side, n) = self.later.swap_remove(self.dice.below(self.later.len()));
        let server = match side {
            Side::Old => &self.world.old,
            Side::New => &self.world.new,
        };
        let words = format!("{TRACE} {side}\r\n").into_bytes();
        let octets = [words, Mail::numbered(n).octets].concat();
        server.deliver(FOLDERS[0], &Mail::of(octets));
        self.unseen.insert(n);
        self.model.past.push(format!("{n} is delivered to {side}, too"));
    }

    pub fn deliver_to(&mut self, side: Side, folder: usize) {
        let n = self.model.number();
        let server = match side {
            Side::Old => &self.world.old,
            Side::New => &self.world.new,
        };
        server.deliver(FOLDERS[folder], &Mail::numbered(n).flags(&[]));
        self.model.past.push(format!("{n} is delivered to {side}'s {}", FOLDERS[folder]));
        self.model.add((folder, n), Some(true), vec![Flags::new()]);
    }

    /// A command in a folder, and whether it was done, as far as anybody knows; `None`: the proxy has
    /// died.
    fn heard(
        &mut self,
        client: &mut Dialogue,
        folder: usize,
        command: &str,
    ) -> Option<Option<bool>> {
        if self.selected != Some(folder) {
            let select = format!("SELECT {}", quoted(&self.names[folder]));
            let reply = client.cmd_unless_gone(select.as_bytes())?;
            self.selected = (reply.status == "OK").then_some(folder);
            if self.doubt && reply.status == "NO" {
                return Some(Some(false));
            }
            assert_eq!(reply.status, "OK", "{}", self.model.say(&format!("{select}: {reply:?}")));
        }
        self.model.past.push(format!("{}: {command}", FOLDERS[folder]));
        let reply = client.cmd_unless_gone(command.as_bytes())?;
        self.model.past.push(format!("  {} {}", reply.status, reply.text));
        // A message may have gone by somebody else's hand.
        assert_ne!(reply.status, "BAD", "{}", self.model.say(&format!("{command}: {reply:?}")));
        Some(self.known(&reply.status))
    }

    fn known(&self, status: &str) -> Option<bool> {
        match status {
            "OK" => Some(true),
            _ => (!self.doubt).then_some(false),
        }
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
        let bad = reply.as_ref().is_some_and(|reply| reply.status == "BAD");
        assert!(!bad, "{}", self.model.say(&format!("{reply:?}")));
        let there = reply.as_ref().and_then(|reply| self.known(&reply.status));
        assert_ne!(there, Some(false), "{}", self.model.say(&format!("{reply:?}")));
        self.model.add((folder, n), there, vec![flags(&[flag])]);
        reply.is_some()
    }

    pub fn open(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let at = self.dice.below(there.len());
        let some = &there[at..(at + 1 + self.dice.below(4)).min(there.len())];
        self.model.opened[0].extend(some.iter().map(|(n, _)| (folder, *n)));
        let set: Vec<String> = some.iter().map(|(_, uid)| uid.to_string()).collect();
        let peek = self.dice.below(3) > 0;
        let item = if peek { "BODY.PEEK[]" } else { "BODY[]" };
        let done = self.heard(client, folder, &format!("UID FETCH {} ({item})", set.join(",")));
        if !peek {
            // What cannot be marked is read all the same.
            let seen = done.flatten().filter(|_| !self.doubt);
            for (n, _) in some {
                self.flagged((folder, *n), "\\Seen", true, seen);
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
        self.flagged((folder, n), flag, on, done.flatten());
        done.is_some()
    }

    fn copy(&mut self, client: &mut Dialogue, folder: usize, there: &[(u32, u32)]) -> bool {
        let (n, uid) = *self.dice.one_of(there);
        let target = 1 - folder;
        let before = self.model.messages.get(&(target, n));
        if before.is_some_and(|known| self.once || known.there != Some(false)) {
            return true;
        }
        let moves = self.dice.below(2) == 0;
        let verb = if moves { "MOVE" } else { "COPY" };
        let name = quoted(&self.names[target]);
        let done = self.heard(client, folder, &format!("UID {verb} {uid} {name}"));
        let source = self.model.messages[&(folder, n)].clone();
        if done == Some(Some(false)) {
            return true;
        }
        // An OK says nothing of what had gone before the command.
        let there = if source.there == Some(true) { done.flatten() } else { None };
        self.model.add((target, n), there, source.flags);
        if moves {
            match done.flatten() {
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
        self.flagged((folder, n), "\\Deleted", true, marked.flatten());
        if marked.is_none() {
            return false;
        }
        let done = self.heard(client, folder, &format!("UID EXPUNGE {uid}"));
        match (marked.flatten(), done.flatten()) {
            (Some(true), Some(true)) => self.gone((folder, n)),
            // What was not marked stays, whatever is answered.
            _ => {
                self.model.messages.entry((folder, n)).and_modify(|known| known.there = None);
            }
        }
        done.is_some()
    }

    /// Somebody removes a message who works on the new server directly.
    fn expunge_on_new(&mut self, folder: usize, there: &[(u32, u32)]) {
        let (n, _) = *self.dice.one_of(there);
        // What goes from one server before the proxy has seen both copies is seen as the other one has it.
        if folder == 0
            && (self.unseen.contains(&n) || self.later.iter().any(|(_, later)| *later == n))
        {
            return;
        }
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

    pub fn observe(&mut self) {
        self.deliver_later(2);
        self.world.proxy.restart();
        let mut client = self.world.proxy.client();
        self.model.observe(&mut client, &self.names, false);
        self.unseen.clear();
        self.world.proxy.kill9();
        self.selected = None;
    }

    /// Traffic until the proxy dies, by itself or by our hand after so many steps. Whether by itself.
    pub fn round(&mut self, steps: usize, patience: Duration) -> bool {
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
    pub fn settle(mut self) {
        self.world.proxy.restart();
        let mut client = self.world.proxy.client();
        self.model.observe(&mut client, &self.names, false);
        while !self.later.is_empty() {
            self.deliver_later(1);
        }
        // Longer than the grace in which copies are looked for.
        std::thread::sleep(Duration::from_secs(3));
        self.model.observe(&mut client, &self.names, true);
        // What new has refused for no reason of its own would wait for longer.
        assert_eq!(self.world.proxy.run(&["retry"]).status.code(), Some(0));
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
                assert!(sent(&seen.octets) == Mail::numbered(n).octets, "{n} was altered");
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

/// What a server may have written before a message.
const TRACE: &str = "Received: by";

/// A message without it.
fn sent(octets: &[u8]) -> &[u8] {
    let end = octets
        .windows(2)
        .position(|w| w == b"\r\n")
        .filter(|_| octets.starts_with(TRACE.as_bytes()));
    end.map_or(octets, |end| &octets[end + 2..])
}

fn message_id(octets: &[u8]) -> &[u8] {
    let at = octets.windows(13).position(|w| w.eq_ignore_ascii_case(b"Message-ID: <"));
    &octets[at.expect("a Message-ID")..]
}
