//! Snapshots of the index: small files, written while the proxy runs and kept by age.
//!
//! A snapshot is what the database holds, account by account, each of them at one moment, packed and
//! with a checksum behind it. It is for the day on which the database is lost: then it gives back
//! what no server knows ([`super::restore`]). It holds no mail and no secret.
//!
//! On disk, in `snapshots/`: named by the time it was begun at; [`MAGIC`], a version, a header of
//! fixed length, the packed entries, and BLAKE3 of all before.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use super::error::IndexError;
use super::keys::{Key, Tree};
use super::open::{FORMAT, SEQUENCE, sync_dir};
use super::store::Store;
use super::{Index, load, unix_now};
use crate::base::Utc;
use crate::config::Snapshots;

/// A snapshot on the disk.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct SnapshotFile {
    /// When it was begun: what is in it is not older.
    pub taken_at: Utc,
    /// The last batch that is surely in it.
    pub sequence: u64,
    /// The format of its keys and values.
    pub format: u32,
    /// Its size.
    pub octets: u64,
    /// Where it lies.
    pub path: PathBuf,
}

impl fmt::Display for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SnapshotFile { taken_at, sequence, octets, .. } = self;
        writeln!(f, "{taken_at}  up to batch {sequence}, {octets} octets")
    }
}

impl Index {
    /// Takes a snapshot. Accounts are read one after the other, so that nobody waits long for the
    /// committer. Blocks.
    pub fn take_snapshot(&self) -> Result<SnapshotFile, IndexError> {
        self.room()?;
        let header =
            Header { taken_at: Utc(unix_now()), sequence: self.sequence()?, format: FORMAT };
        let mut writer = Writer::create(&self.inner.dir, header)?;
        writer.entries(self.read_blocking(|store| entries(store, &[Key::tree(Tree::Meta)]))?)?;
        for (_, account, _) in self.read_blocking(load::accounts)? {
            let keys = Tree::OF_ACCOUNTS.map(|tree| Key::of_account(tree, account));
            writer.entries(self.read_blocking(move |store| entries(store, &keys))?)?;
        }
        writer.finish()
    }

    /// Takes snapshots from time to time, and forgets those that are too old: for as long as it is
    /// polled.
    pub async fn keep_snapshots(self, keeping: Snapshots) {
        if keeping.every.is_zero() {
            return;
        }
        loop {
            let (index, settings) = (self.clone(), keeping.clone());
            let kept = tokio::task::spawn_blocking(move || index.snapshot_if_due(&settings)).await;
            let wait = match kept {
                Ok(Ok(wait)) => wait,
                Ok(Err(IndexError::Closed)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "no snapshot of the index could be taken");
                    keeping.every
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns how long to wait for the next one.
    fn snapshot_if_due(&self, keeping: &Snapshots) -> Result<Duration, IndexError> {
        let dir = &self.inner.dir;
        let before = snapshots(dir)?;
        let now = unix_now();
        if let Some(newest) = before.last() {
            let age = Duration::from_secs(now.saturating_sub(newest.taken_at.0));
            if age < keeping.every {
                return Ok(keeping.every - age);
            }
            if newest.sequence == self.sequence()? {
                return Ok(keeping.every);
            }
        }
        let taken = self.take_snapshot()?;
        tracing::info!(path = %taken.path.display(), octets = taken.octets, "a snapshot of the index");
        for old in outlived(&snapshots(dir)?, keeping, now) {
            fs::remove_file(&old.path).map_err(IndexError::io("remove", &old.path))?;
        }
        Ok(keeping.every)
    }

    fn sequence(&self) -> Result<u64, IndexError> {
        let sequence = self.read_blocking(|store| load::meta(store, SEQUENCE))?;
        Ok(sequence.map(u64::from_be_bytes).unwrap_or_default())
    }
}

/// Those that need not be kept any longer. The newest always is.
fn outlived<'a>(
    all: &'a [SnapshotFile],
    keeping: &Snapshots,
    now: u64,
) -> impl Iterator<Item = &'a SnapshotFile> {
    let day = |file: &SnapshotFile| file.taken_at.0 / DAY;
    let (keep_all, keep_daily) = (keeping.keep_all.as_secs(), keeping.keep_daily.as_secs());
    all.iter().zip(all.iter().skip(1)).filter_map(move |(file, next)| {
        let age = now.saturating_sub(file.taken_at.0);
        let last_of_day = day(file) != day(next);
        let kept = age <= keep_all || (last_of_day && age <= keep_daily);
        (!kept).then_some(file)
    })
}

/// The snapshots of an index, oldest first. What does not read as one is passed over.
pub fn snapshots(dir: &Path) -> Result<Vec<SnapshotFile>, IndexError> {
    let place = dir.join(PLACE);
    let listed = match fs::read_dir(&place) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(IndexError::io("list", &place)(error)),
    };
    let mut all = Vec::new();
    for entry in listed {
        let path = entry.map_err(IndexError::io("list", &place))?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let read = || -> io::Result<SnapshotFile> {
            let mut file = File::open(&path)?;
            let octets = file.metadata()?.len();
            let Header { taken_at, sequence, format } = Header::read(&mut file)?;
            Ok(SnapshotFile { taken_at, sequence, format, octets, path: path.clone() })
        };
        match read() {
            Ok(file) => all.push(file),
            Err(error) => tracing::warn!(path = %path.display(), %error, "not a snapshot"),
        }
    }
    all.sort_by(|a, b| (a.taken_at, &a.path).cmp(&(b.taken_at, &b.path)));
    Ok(all)
}

/// Reads a snapshot to its end, and only then, if it is whole, shows each key and value: those of
/// an account's mailboxes before what belongs to them.
pub fn replay(
    file: &SnapshotFile,
    mut visit: impl FnMut(Key, Vec<u8>) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let io = |what| IndexError::io(what, &file.path);
    let damaged = || IndexError::Corrupt(format!("{} is not whole", file.path.display()));
    let body = file.octets.checked_sub(HASH as u64).ok_or_else(damaged)?;
    let mut hasher = blake3::Hasher::new();
    let mut input = File::open(&file.path).map_err(io("open"))?;
    io::copy(&mut (&mut input).take(body), &mut hasher).map_err(io("read"))?;
    let mut hash = [0; HASH];
    input.read_exact(&mut hash).map_err(|_| damaged())?;
    if hasher.finalize() != hash {
        return Err(damaged());
    }
    let mut input = BufReader::new(File::open(&file.path).map_err(io("open"))?);
    Header::read(&mut input).map_err(io("read"))?;
    let mut entries = DeflateDecoder::new(input.take(body - HEADER as u64));
    loop {
        let key = octets(&mut entries).map_err(io("read"))?;
        if key.is_empty() {
            return Ok(());
        }
        let value = octets(&mut entries).map_err(io("read"))?;
        visit(Key::from_bytes(&key), value)?;
    }
}

/// All entries below these keys.
fn entries(store: &dyn Store, prefixes: &[Key]) -> Result<Vec<(Key, Vec<u8>)>, IndexError> {
    let mut all = Vec::new();
    for prefix in prefixes {
        store.scan(prefix, &mut |key, value| {
            all.push((Key::from_bytes(key), value.to_vec()));
            Ok(())
        })?;
    }
    Ok(all)
}

/// What stands before the entries.
#[derive(Clone, Copy)]
struct Header {
    taken_at: Utc,
    sequence: u64,
    format: u32,
}

impl Header {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.taken_at.0.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.format.to_be_bytes());
        bytes
    }

    fn read(from: &mut impl Read) -> io::Result<Header> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no snapshot of an index"));
        }
        Ok(Header {
            taken_at: Utc(u64::from_be_bytes(fixed(from)?)),
            sequence: u64::from_be_bytes(fixed(from)?),
            format: u32::from_be_bytes(fixed(from)?),
        })
    }
}

/// A snapshot that is being written: under another name until it is whole and on the disk.
struct Writer {
    dir: PathBuf,
    header: Header,
    temporary: tempfile::NamedTempFile,
    entries: DeflateEncoder<Hashed<BufWriter<File>>>,
}

impl Writer {
    fn create(dir: &Path, header: Header) -> Result<Writer, IndexError> {
        let place = dir.join(PLACE);
        fs::create_dir_all(&place).map_err(IndexError::io("make the directory", &place))?;
        let create = || {
            // One was killed in the midst of it.
            for entry in fs::read_dir(&place)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                    fs::remove_file(entry.path())?;
                }
            }
            let temporary = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&place)?;
            let file = BufWriter::new(temporary.reopen()?);
            let mut hashed = Hashed { inner: file, hasher: blake3::Hasher::new() };
            hashed.write_all(&header.bytes())?;
            Ok((temporary, DeflateEncoder::new(hashed, Compression::fast())))
        };
        let (temporary, entries) = create().map_err(IndexError::io("write to", &place))?;
        Ok(Writer { dir: dir.to_owned(), header, temporary, entries })
    }

    fn entries(&mut self, entries: Vec<(Key, Vec<u8>)>) -> Result<(), IndexError> {
        let mut write = || {
            for part in entries.iter().flat_map(|(key, value)| [key.as_bytes(), value]) {
                self.entries.write_all(&(part.len() as u64).to_be_bytes())?;
                self.entries.write_all(part)?;
            }
            Ok(())
        };
        write().map_err(IndexError::io("write to", self.temporary.path()))
    }

    fn finish(mut self) -> Result<SnapshotFile, IndexError> {
        let place = self.dir.join(PLACE);
        let path = place.join(format!("{}.{EXTENSION}", self.header.taken_at));
        let finish = || {
            // No key is empty.
            self.entries.write_all(&0u64.to_be_bytes())?;
            let mut hashed = self.entries.finish()?;
            let hash = hashed.hasher.finalize();
            hashed.inner.write_all(hash.as_bytes())?;
            let file = hashed.inner.into_inner()?;
            file.sync_all()?;
            let octets = file.metadata()?.len();
            self.temporary.persist(&path)?;
            Ok(octets)
        };
        let octets = finish().map_err(IndexError::io("write", &path))?;
        sync_dir(&place)?;
        let Header { taken_at, sequence, format } = self.header;
        Ok(SnapshotFile { taken_at, sequence, format, octets, path })
    }
}

/// Hashes what is written.
struct Hashed<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(octets)?;
        self.hasher.update(&octets[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn fixed<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    from.read_exact(&mut octets)?;
    Ok(octets)
}

fn octets(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let len = u64::from_be_bytes(fixed(from)?);
    let mut octets = Vec::new();
    // Grows only as far as there are octets.
    if from.take(len).read_to_end(&mut octets)? as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(octets)
}

/// Below the directory of the index.
pub const PLACE: &str = "snapshots";
const EXTENSION: &str = "snapshot";
/// Names of those that are being written begin so.
const UNFINISHED: &str = ".tmp";
/// The last octet is the version.
const MAGIC: &[u8; 8] = b"mfsnap\0\x01";
const HEADER: usize = MAGIC.len() + 8 + 8 + 4;
const HASH: usize = blake3::OUT_LEN;
const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_kept_for_a_while_then_one_a_day_then_none_but_the_newest() {
        let hour = 3600;
        let keeping = Snapshots {
            every: Duration::from_secs(hour),
            keep_all: Duration::from_secs(DAY),
            keep_daily: Duration::from_secs(7 * DAY),
        };
        let file = |taken_at| SnapshotFile {
            taken_at: Utc(taken_at),
            sequence: 0,
            format: 0,
            octets: 0,
            path: PathBuf::new(),
        };
        let mut all = Vec::new();
        let start = 20_000 * DAY;
        for hours in 0..30 * 24 {
            let now = start + hours * hour;
            all.push(file(now));
            let gone: Vec<SnapshotFile> = outlived(&all, &keeping, now).cloned().collect();
            all.retain(|file| !gone.contains(file));
        }
        let now = start + (30 * 24 - 1) * hour;
        let ages: Vec<u64> = all.iter().map(|f| (now - f.taken_at.0) / hour).rev().collect();
        let days = (2..=7).map(|day| day * 24);
        assert_eq!(ages, (0..=24).chain(days).collect::<Vec<u64>>());
        // However old, what is there last stays.
        assert_eq!(outlived(&all[..1], &keeping, now + 400 * DAY).count(), 0);
        assert_eq!(outlived(&all, &keeping, now + 400 * DAY).count(), all.len() - 1);
    }
}
