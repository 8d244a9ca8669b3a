//! A mail client at work, which connects again when the proxy is gone, and notes how long its commands take.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Dice, large};

/// What goes on while it works: the index of its samples.
pub const ALONE: u8 = 0;
/// Messages are carried meanwhile.
pub const CARRYING: u8 = 1;
/// Neither of the two yet: what it does counts for nothing.
pub const BETWEEN: u8 = 2;
/// It is to end.
pub const OVER: u8 = 3;

/// Between two commands: a person's client is not a load generator.
const THINKS: Duration = Duration::from_millis(60);
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client did.
#[derive(Default)]
pub struct Work {
    /// How long its commands took, by their names: alone, and while messages were carried.
    pub took: [Vec<(&'static str, Duration)>; 2],
    /// Messages that it appended and was told OK of.
    pub appended: Vec<[u8; 32]>,
    /// Messages whose APPEND was broken off: they may be there.
    pub unsure: Vec<[u8; 32]>,
    /// What it was told that it should not.
    pub refused: Vec<String>,
}

/// Works for an account until it is over.
pub fn work(port: u16, account: &str, number: u32, seed: u32, stage: &AtomicU8) -> Work {
    let mut work = Work::default();
    let mut dice = Dice(u64::from(seed) << 32 | u64::from(number));
    let mut said = 0;
    while stage.load(Ordering::Relaxed) != OVER {
        // The proxy is away for a moment when it is killed.
        if session(port, account, number, &mut said, &mut dice, stage, &mut work).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    work
}

fn session(
    port: u16,
    account: &str,
    number: u32,
    appended: &mut u32,
    dice: &mut Dice,
    stage: &AtomicU8,
    work: &mut Work,
) -> io::Result<()> {
    let mut wire = Wire::connect(port)?;
    wire.command(&format!("LOGIN {account} secret"), b"")?;
    wire.command("SELECT INBOX", b"")?;
    while stage.load(Ordering::Relaxed) != OVER {
        std::thread::sleep(THINKS);
        let n = dice.below(wire.exists.max(1)) + 1;
        let mut hash = None;
        let mut literal = Vec::new();
        let (kind, command) = match dice.below(10_u32) {
            0..3 => ("flags", format!("FETCH {n}:{} (FLAGS)", wire.exists.min(n + 50))),
            3..6 => ("content", format!("FETCH {n} (BODY.PEEK[])")),
            6 => ("STORE", format!("STORE {n} +FLAGS (\\Seen)")),
            7 => ("NOOP", "NOOP".to_owned()),
            8 => ("SEARCH", format!("SEARCH {n}:* FLAGGED")),
            _ => {
                literal = large(1_000_000 + number * 100_000 + *appended, 3_000);
                *appended += 1;
                hash = Some(*blake3::hash(&literal).as_bytes());
                ("APPEND", format!("APPEND INBOX {{{}+}}", literal.len()))
            }
        };
        let at = stage.load(Ordering::Relaxed);
        let begun = Instant::now();
        let answer = wire.command(&command, &literal);
        let took = begun.elapsed();
        match (&answer, hash) {
            (Ok(answer), Some(hash)) if answer.starts_with("OK") => work.appended.push(hash),
            (_, Some(hash)) => work.unsure.push(hash),
            _ => {}
        }
        let answer = answer?;
        if !answer.starts_with("OK") {
            // A proxy that is being stopped says so.
            work.refused.push(format!("{command}: {answer}"));
        }
        if at == stage.load(Ordering::Relaxed) && at < BETWEEN {
            work.took[usize::from(at)].push((kind, took));
        }
    }
    wire.command("LOGOUT", b"").map(drop)
}

struct Wire {
    reader: BufReader<TcpStream>,
    said: u32,
    exists: u32,
}

impl Wire {
    fn connect(port: u16) -> io::Result<Wire> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Wire { reader: BufReader::new(socket), said: 0, exists: 0 };
        wire.line()?;
        Ok(wire)
    }

    /// A line; literals are lines like others here: what was appended holds none that looks like an answer.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// Says a command, with a literal at its end if it has one, and gives the answer behind its tag.
    fn command(&mut self, text: &str, literal: &[u8]) -> io::Result<String> {
        self.said += 1;
        let tag = format!("t{} ", self.said);
        let mut octets = format!("{tag}{text}\r\n").into_bytes();
        if !literal.is_empty() {
            octets.extend_from_slice(literal);
            octets.extend_from_slice(b"\r\n");
        }
        self.reader.get_mut().write_all(&octets)?;
        loop {
            let line = self.line()?;
            if let Some(rest) = line.strip_prefix(tag.as_bytes()) {
                return Ok(String::from_utf8_lossy(rest).trim().to_owned());
            }
            let line = String::from_utf8_lossy(&line);
            let number =
                line.strip_prefix("* ").and_then(|rest| rest.trim().strip_suffix(" EXISTS"));
            if let Some(count) = number.and_then(|number| number.parse().ok()) {
                self.exists = count;
            }
        }
    }
}
