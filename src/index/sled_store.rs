//! The embedded engine: sled 0.34. The only file that knows it.
//!
//! Five guards, each with its reason:
//! - `flush()` does not fsync on Linux (sled issues 1351, 1452), so the database file is synced
//!   behind it; sled's own file handle is private, but a file is synced through any handle.
//! - Nor are the files synced into which it puts large pages, so we sync those too.
//! - sled panics on some damage instead of failing, so every call is caught.
//! - It collects garbage only in its flusher thread, so that one stays on although we flush.
//! - It may open empty after damage; that is for `open` to notice, by the sequence number inside.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::IndexError;
use super::keys::Key;
use super::store::{Store, Writes};
use crate::base::step;

/// A sled database, all of our trees in its default one (see [`super::keys`]).
pub struct SledStore {
    db: sled::Db,
    path: PathBuf,
    file: File,
    /// Names of the files below `blobs/` that are on the disk.
    synced: RefCell<HashSet<OsString>>,
}

impl SledStore {
    /// Opens the database in this directory, or makes one. Damage is [`IndexError::Corrupt`].
    pub fn open(path: &Path) -> Result<SledStore, IndexError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .flush_every_ms(Some(GARBAGE_COLLECTION_MS))
            .segment_size(SEGMENT)
            .mode(sled::Mode::HighThroughput);
        let mut patience = PATIENCE;
        let db = loop {
            match guarded(path, || config.open()) {
                Err(IndexError::Io { error, .. }) if patience > 0 && is_lock(&error) => {
                    patience -= 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => break opened?,
            }
        };
        let file_path = path.join("db");
        let file =
            File::open(&file_path).map_err(IndexError::io("open the database file", &file_path))?;
        Ok(SledStore { db, path: path.to_owned(), file, synced: RefCell::default() })
    }
}

impl Store for SledStore {
    fn value(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        let value = guarded(&self.path, || self.db.get(key.as_bytes()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        prefix: &Key,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut iter = self.db.scan_prefix(prefix.as_bytes());
        while let Some((key, value)) = guarded(&self.path, || iter.next().transpose())? {
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn apply(&self, writes: &Writes) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        for (key, value) in &writes.0 {
            match value {
                Some(value) => batch.insert(key.as_bytes(), value.as_slice()),
                None => batch.remove(key.as_bytes()),
            }
        }
        guarded(&self.path, || self.db.apply_batch(batch))?;
        self.sync_blobs()?;
        guarded(&self.path, || self.db.flush())?;
        step("index: the database is flushed");
        self.file.sync_data().map_err(IndexError::io("sync the database in", &self.path))
    }
}

impl SledStore {
    /// Pages too large for a segment are files, which sled does not sync. There are none as long
    /// as values are as small as ours.
    fn sync_blobs(&self) -> Result<(), IndexError> {
        let dir = self.path.join("blobs");
        let sync = || -> io::Result<()> {
            let mut synced = self.synced.borrow_mut();
            let mut there = HashSet::new();
            for entry in fs::read_dir(&dir)? {
                let name = entry?.file_name();
                if !synced.contains(&name) {
                    match File::open(dir.join(&name)).and_then(|file| file.sync_all()) {
                        // Collected as garbage meanwhile.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        result => result?,
                    }
                }
                there.insert(name);
            }
            if !there.is_subset(&synced) {
                File::open(&dir)?.sync_all()?;
            }
            *synced = there;
            Ok(())
        };
        sync().map_err(IndexError::io("sync", &dir))
    }
}

/// Runs one call of sled's, its errors and panics turned into ours.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    let damaged = |what: String| IndexError::Corrupt(format!("{}: {what}", path.display()));
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => match error.kind() {
            // How a file shows itself that is shorter than what points into it.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Err(damaged(error.to_string()))
            }
            _ => Err(IndexError::io("use the database in", path)(error)),
        },
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked");
            Err(damaged(text.to_owned()))
        }
    }
}

/// sled has no kind of its own for it.
fn is_lock(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// How often to ask for sled's lock, ten milliseconds apart. Our own lock is held by now, so sled's
/// can only be a leftover: of a child of this process between fork and exec, or of a database that
/// was just closed and whose threads are still ending.
const PATIENCE: u32 = 200;

/// Pages kept in memory, in bytes. sled's real use is three to five times that.
const CACHE: u64 = 32 << 20;

/// How often sled's flusher thread looks for garbage, in milliseconds.
const GARBAGE_COLLECTION_MS: u64 = 500;

/// sled writes its file in pieces of this size, so this is the least an index takes on disk. A
/// page (up to 17 chunks) of more than a quarter of it goes into a file of its own.
const SEGMENT: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::super::store::conformance;
    use super::*;

    #[test]
    fn sled_conforms() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = SledStore::open(&path).unwrap();
        conformance::run(Box::new(store), &|store| {
            drop(store);
            Box::new(SledStore::open(&path).unwrap())
        });
    }
}
