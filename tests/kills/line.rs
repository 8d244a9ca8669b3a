//! Every command that the proxy sends is answered wrongly once, by a relay between it and a server: the client hears
//! no error of protocol, and when the fault is gone all is right (V5, V7).
//!
//! `LINE_STRIDE`: only every so many commands; `tests/lab.sh line` takes each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailferry::base::Side;

use crate::game::Game;
use crate::lab::{Dialogue, Fate, Relay, Way, World, eventually, quoted};
use crate::{setting, shapes};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// The command is not done, and answered so.
    Refused(&'static str),
    /// The connection ends before the server hears the command.
    CutBefore,
    /// It is done, and the connection ends before its answer.
    CutAfter,
    /// The connection ends in the midst of what comes back first.
    CutWithin,
    /// Something that is no IMAP comes instead of the answer.
    Garbage,
    /// The server says BYE instead of answering.
    Bye,
    /// Nothing comes, for longer than the proxy waits.
    Stall,
}

/// A fault at the n-th command.
struct Nth {
    n: usize,
    fault: Fault,
    seen: usize,
    /// The connection, and the tag that is answered wrongly.
    hit: Option<(usize, Vec<u8>)>,
    /// Octets of a refused literal that are on their way.
    swallow: HashMap<usize, usize>,
    told: Arc<Mutex<Option<String>>>,
}

impl Nth {
    fn fate(&mut self, connection: usize, way: Way, chunk: &[u8]) -> Fate {
        match way {
            Way::ToServer => self.command(connection, chunk),
            Way::ToProxy => self.answer(connection, chunk),
        }
    }

    fn command(&mut self, connection: usize, mut chunk: &[u8]) -> Fate {
        let whole = chunk;
        if let Some(left) = self.swallow.get_mut(&connection) {
            let some = chunk.len().min(*left);
            *left -= some;
            chunk = &chunk[some..];
        }
        let starts: Vec<usize> =
            line_starts(chunk).filter(|at| is_command(&chunk[*at..])).collect();
        for (nth, at) in starts.iter().copied().enumerate() {
            let line = chunk[at..].split(|b| *b == b'\r').next().unwrap_or_default();
            let words = String::from_utf8_lossy(line).into_owned();
            let login = words.contains(" AUTHENTICATE ") || words.contains(" LOGIN ");
            // A refused login is a refused login.
            if self.hit.is_some() || (login && matches!(self.fault, Fault::Refused(_))) {
                continue;
            }
            self.seen += 1;
            if self.seen != self.n {
                continue;
            }
            let tag = line.split(|b| *b == b' ').next().unwrap_or_default().to_vec();
            *self.told.lock().expect("told") = Some(if login { "a login".into() } else { words });
            let end = starts.get(nth + 1).copied().unwrap_or(chunk.len());
            match self.fault {
                Fault::CutBefore => {
                    self.hit = Some((usize::MAX, tag));
                    return Fate::Cut(chunk[..at].to_vec());
                }
                Fault::Refused(_) => {
                    if let Some(octets) = literal_plus(line) {
                        // The literal, and the line's end behind it.
                        let there = end - at - line.len() - 2;
                        self.swallow.insert(connection, (octets + 2).saturating_sub(there));
                    }
                    let noop = [&tag, &b" NOOP\r\n"[..]].concat();
                    self.hit = Some((connection, tag));
                    return Fate::Instead([&chunk[..at], &noop, &chunk[end..]].concat());
                }
                _ => self.hit = Some((connection, tag)),
            }
        }
        if chunk.len() == whole.len() { Fate::Pass } else { Fate::Instead(chunk.to_vec()) }
    }

    fn answer(&mut self, connection: usize, chunk: &[u8]) -> Fate {
        let Some((_, tag)) = self.hit.as_ref().filter(|(at, _)| *at == connection) else {
            return Fate::Pass;
        };
        if self.fault == Fault::CutWithin {
            self.hit = Some((usize::MAX, Vec::new()));
            return Fate::Cut(chunk[..chunk.len() / 2].to_vec());
        }
        let answer = [tag, &b" "[..]].concat();
        let Some(at) = line_starts(chunk).find(|at| chunk[*at..].starts_with(&answer)) else {
            return Fate::Pass;
        };
        let len = chunk[at..].iter().position(|b| *b == b'\n').map_or(chunk.len() - at, |n| n + 1);
        let (before, behind) = (&chunk[..at], &chunk[at + len..]);
        let fate = match self.fault {
            Fault::Refused(word) => {
                let refusal = [&answer, word.as_bytes(), b" injected\r\n"].concat();
                Fate::Instead([before, &refusal, behind].concat())
            }
            Fault::Garbage => {
                let garbage: &[u8] = b"\xff(* {9 )\"\r\n)) }\r\n";
                Fate::Instead([before, garbage, behind].concat())
            }
            Fault::Bye => Fate::Cut([before, b"* BYE injected\r\n"].concat()),
            Fault::Stall => Fate::Hold,
            _ => Fate::Cut(before.to_vec()),
        };
        self.hit = Some((usize::MAX, Vec::new()));
        fate
    }
}

/// Where lines begin.
fn line_starts(chunk: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let behind = chunk.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(behind)
}

/// The proxy's tags are `f1`, `f2` …
fn is_command(line: &[u8]) -> bool {
    let Some((b'f', rest)) = line.split_first() else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b' ')
}

/// The size of a literal that follows without being waited for.
fn literal_plus(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("+}")?;
    line.rsplit_once('{')?.1.parse().ok()
}

fn world() -> Game {
    let (old, new) = shapes();
    let world = World::new()
        .old(old)
        .new(new)
        .wired()
        .set("auth.remember", "\"0s\"")
        .set("limits.backend_command_timeout", "\"2s\"")
        .set("limits.backend_pause", "\"500ms\"");
    let mut game = Game::in_world(world, setting("CRASH_SEED", 7) as u64);
    game.doubt = true;
    game
}

impl Game {
    fn wire(&self, side: Side) -> &Relay {
        match side {
            Side::Old => &self.world.old_wire,
            Side::New => &self.world.new_wire,
        }
    }

    /// A client that is logged in, as soon as the servers let it.
    fn log_in(&self, what: &str) -> Dialogue {
        let (user, password) = self.world.old.account();
        let login = format!("LOGIN {} {}", quoted(user), quoted(password));
        eventually(what, || {
            let mut client = Dialogue::connect(self.world.proxy.port);
            (client.cmd(&login).status == "OK").then_some(client)
        })
    }

    /// All goes well again.
    fn recovered(&mut self, what: &str) {
        eventually(what, || {
            let mut client = self.log_in(what);
            let well = self.names.iter().all(|name| {
                client.cmd(&format!("SELECT {}", quoted(name))).status == "OK"
                    && client.cmd("UID FETCH 1:* (FLAGS)").status == "OK"
            });
            well.then_some(())
        });
        let mut client = self.log_in(what);
        self.model.observe(&mut client, &self.names.clone(), false);
    }

    /// Some traffic, one command of which meets the fault. What that was, if there were so many.
    fn meet(&mut self, side: Side, n: usize, fault: Fault) -> Option<String> {
        let mut client = self.log_in("before the fault");
        self.selected = None;
        let told = Arc::new(Mutex::new(None));
        let mut nth =
            Nth { n, fault, seen: 0, hit: None, swallow: HashMap::new(), told: Arc::clone(&told) };
        self.wire(side).rule_of_each(move |at, way, chunk| nth.fate(at, way, chunk));
        self.model.past.push(format!("-- {fault:?} at command {n} to {side}"));
        // There is always one to be copied.
        self.deliver_to(Side::Old, 0);
        for folder in [0, 1] {
            let there = self.model.there(folder);
            if let Some(last) = there.last().copied() {
                self.alive(fault, |game| game.open(&mut client, folder, &[last]));
            }
        }
        for _ in 0..8 {
            let alive = self.alive(fault, |game| game.play(&mut client));
            if !alive {
                client = self.log_in("after the session");
                self.selected = None;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        self.wire(side).release();
        told.lock().expect("told").take()
    }

    /// A session goes on whatever a server does, unless it is in the midst of a message.
    fn alive(&mut self, fault: Fault, play: impl FnOnce(&mut Game) -> bool) -> bool {
        let alive = play(self);
        let may_end = matches!(fault, Fault::CutWithin | Fault::Stall | Fault::Garbage);
        assert!(alive || may_end, "{}", self.model.say("the session ended"));
        alive
    }
}

fn meet_all(faults: &[Fault]) {
    let stride = setting("LINE_STRIDE", 11);
    let mut game = world();
    game.recovered("it begins");
    for (number, fault) in faults.iter().copied().enumerate() {
        for side in Side::BOTH {
            let mut met = 0;
            for n in (1 + number % stride..).step_by(stride) {
                let told = game.meet(side, n, fault);
                let Some(told) = told else { break };
                met += 1;
                game.model.past.push(format!("-- it was {told}"));
                game.recovered(&format!("all is well after {fault:?} at {told}"));
            }
            assert!(met > 0, "{fault:?} met no command to {side}");
        }
    }
    game.settle();
}

#[test]
fn v5_v7_every_command_is_refused_once() {
    meet_all(&[Fault::Refused("NO"), Fault::Refused("BAD")]);
}

#[test]
fn v5_v7_the_line_is_cut_at_every_command() {
    meet_all(&[Fault::CutBefore, Fault::CutAfter, Fault::CutWithin]);
}

#[test]
fn v5_v7_every_command_is_answered_by_garbage_or_bye() {
    meet_all(&[Fault::Garbage, Fault::Bye]);
}

#[test]
fn v5_v7_every_command_stalls_once() {
    meet_all(&[Fault::Stall]);
}
