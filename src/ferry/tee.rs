//! A message collected whole on its way: in memory if it is small, else in a file without a name.
//!
//! All collecting draws on one budget of octets, so that many large messages opened at once fill
//! neither the memory nor the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The octets that may be collected at one time, and where.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    all: u64,
    in_memory: u64,
    spool: PathBuf,
}

/// How the message begins that Courier makes up where it cannot read the one that is asked for.
const COURIERS_EXCUSE: &[u8] =
    b"From: System Administrator <root@localhost>\r\nSubject: message unavailable\r\n";
/// So many octets follow.
const REST_OF_IT: u64 = b"\r\nThis message is no longer available on the server.\r\n".len() as u64;

/// The octets of one message, as far as they have come.
#[derive(Debug)]
pub struct Tee {
    body: Body,
    len: u64,
    expected: u64,
    budget: Arc<Budget>,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<u8>),
    Spool(File),
}

impl Budget {
    /// `all` octets at one time, in memory up to `in_memory` a message, else in `spool`.
    pub fn new(all: u64, in_memory: u64, spool: PathBuf) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicU64::new(0), all, in_memory, spool })
    }

    /// Starts collecting a message. `None`: there is no room now; it is read again later.
    pub fn collect(self: &Arc<Budget>, octets: u64) -> Option<Tee> {
        let room = |used: u64| used.checked_add(octets).filter(|after| *after <= self.all);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        self.start(octets, self.in_memory)
    }

    /// Starts collecting a message whatever the budget says: for the copier itself, which carries
    /// one large message at a time and must be able to carry any.
    pub fn collect_anyway(self: &Arc<Budget>, octets: u64) -> Option<Tee> {
        self.used.fetch_add(octets, Ordering::AcqRel);
        self.start(octets, self.in_memory)
    }

    /// The same, in memory only as far as there is `room` left, which it then takes.
    pub fn collect_within(self: &Arc<Budget>, octets: u64, room: &mut u64) -> Option<Tee> {
        self.used.fetch_add(octets, Ordering::AcqRel);
        let tee = self.start(octets, self.in_memory.min(*room))?;
        if matches!(tee.body, Body::Memory(_)) {
            *room -= octets;
        }
        Some(tee)
    }

    fn start(self: &Arc<Budget>, octets: u64, in_memory: u64) -> Option<Tee> {
        let body = if octets <= in_memory {
            Body::Memory(Vec::with_capacity(usize::try_from(octets).unwrap_or(0)))
        } else {
            match tempfile::tempfile_in(&self.spool) {
                Ok(file) => Body::Spool(file),
                Err(e) => {
                    tracing::warn!(spool = %self.spool.display(), "no spool file: {e}");
                    self.used.fetch_sub(octets, Ordering::AcqRel);
                    return None;
                }
            }
        };
        Some(Tee { body, len: 0, expected: octets, budget: Arc::clone(self) })
    }
}

impl Tee {
    /// Takes octets. A spool file is written through the system's cache, so this does not wait for
    /// a disk.
    pub fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        self.len += octets.len() as u64;
        match &mut self.body {
            Body::Memory(all) => {
                all.extend_from_slice(octets);
                Ok(())
            }
            Body::Spool(file) => file.write_all(octets),
        }
    }

    /// Whether every octet has come.
    pub fn is_whole(&self) -> bool {
        self.len == self.expected
    }

    /// Whether this can be a message at all: not nothing, which some servers give for what they
    /// cannot read, nor what Courier says instead.
    pub fn is_message(&self) -> bool {
        match &self.body {
            Body::Memory(all) => !all.is_empty() && !all.starts_with(COURIERS_EXCUSE),
            Body::Spool(_) => self.len > 0,
        }
    }

    /// Whether it may be cut short. Where somebody changes a message's flags just then, and its size is asked for by
    /// the same command, Courier announces the length of its excuse, and gives so much of the message.
    pub fn may_be_cut(&self) -> bool {
        self.len == COURIERS_EXCUSE.len() as u64 + REST_OF_IT
    }

    /// How many octets have come.
    pub fn octets(&self) -> u64 {
        self.len
    }

    /// BLAKE3 of what has come. It is made when it is asked for, so that nobody to whom the message is
    /// on its way waits for it.
    pub fn hash(&self) -> io::Result<[u8; 32]> {
        let hash = match &self.body {
            Body::Memory(all) => blake3::hash(all),
            Body::Spool(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(0))?;
                let hash = blake3::Hasher::new().update_reader(file)?.finalize();
                file.seek(SeekFrom::End(0))?;
                hash
            }
        };
        Ok(*hash.as_bytes())
    }

    /// Gives the message to `write`, a chunk after the other.
    pub fn chunks(&mut self) -> io::Result<Chunks<'_>> {
        if let Body::Spool(file) = &mut self.body {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(Chunks { body: &mut self.body, buffer: Vec::new(), given: false })
    }
}

/// The octets of a collected message, a chunk after the other.
pub struct Chunks<'a> {
    body: &'a mut Body,
    buffer: Vec<u8>,
    given: bool,
}

/// A chunk of a spooled message.
const CHUNK: usize = 64 << 10;

impl Chunks<'_> {
    /// The next chunk; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        match self.body {
            Body::Memory(_) if self.given => Ok(None),
            Body::Memory(all) => {
                self.given = true;
                Ok(Some(all))
            }
            Body::Spool(file) => {
                self.buffer.resize(CHUNK, 0);
                let n = file.read(&mut self.buffer)?;
                Ok((n > 0).then(|| &self.buffer[..n]))
            }
        }
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.expected, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(tee: &mut Tee) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chunks = tee.chunks().unwrap();
        while let Some(chunk) = chunks.next().unwrap() {
            out.extend_from_slice(chunk);
        }
        out
    }

    #[test]
    fn v5_what_is_as_long_as_couriers_excuse_may_be_a_piece_of_a_message() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20, 1 << 20, dir.path().into());
        let excuse = "From: System Administrator <root@localhost>\r\nSubject: message unavailable\r\n\r\n\
                      This message is no longer available on the server.\r\n";
        let whole = "x".repeat(500);
        for (body, is_message, may_be_cut) in
            [(excuse, false, true), (&whole[..129], true, true), (&whole[..130], true, false)]
        {
            let mut tee = budget.collect(body.len() as u64).unwrap();
            tee.push(body.as_bytes()).unwrap();
            assert_eq!((tee.is_message(), tee.may_be_cut()), (is_message, may_be_cut), "{body}");
        }
    }

    #[test]
    fn small_in_memory_large_in_a_file_both_whole() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20, 10, dir.path().into());
        for body in [&b"short"[..], &[7; 200_000]] {
            let mut tee = budget.collect(body.len() as u64).unwrap();
            for part in body.chunks(999) {
                tee.push(part).unwrap();
            }
            assert!(tee.is_whole());
            assert_eq!(all(&mut tee), body);
            assert_eq!(all(&mut tee), body, "it can be read again");
            assert_eq!(tee.hash().unwrap(), *blake3::hash(body).as_bytes());
            tee.push(b"more").unwrap();
            assert_eq!(all(&mut tee), [body, b"more"].concat(), "it goes on at its end");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no name, so nothing stays");
    }

    #[test]
    fn the_budget_bounds_what_is_collected_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::new(100, 1000, dir.path().into());
        let first = budget.collect(60).unwrap();
        assert!(budget.collect(60).is_none());
        assert!(budget.collect(u64::MAX).is_none());
        drop(first);
        assert!(budget.collect(60).is_some());
        assert!(budget.collect_anyway(1000).is_some());
    }

    #[test]
    fn a_batch_lies_in_memory_as_far_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20, 100, dir.path().into());
        let mut room = 150;
        let batch: Vec<Tee> =
            (0..3).map(|_| budget.collect_within(70, &mut room).unwrap()).collect();
        let in_memory = |tee: &&Tee| matches!(tee.body, Body::Memory(_));
        assert_eq!((batch.iter().filter(in_memory).count(), room), (2, 10));
        let large = budget.collect_within(101, &mut 1000).unwrap();
        assert!(!in_memory(&&large), "nor more than a message may");
    }
}
