//! The embedded engine: sled 0.34. The only file that knows it.
//!
//! Four guards, each with its reason:
//! - `flush()` does not fsync on Linux (sled issues 1351, 1452), so the database file is synced
//!   behind it; sled's own file handle is private, but a file is synced through any handle.
//! - sled panics on some damage instead of failing, so every call is caught.
//! - It collects garbage only in its flusher thread, so that one stays on although we flush.
//! - It may open empty after damage; that is for `open` to notice, by the sequence number inside.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::error::IndexError;
use super::keys::Key;
use super::store::{Store, Writes};

/// A sled database, all of our trees in its default one (see [`super::keys`]).
pub struct SledStore {
    db: sled::Db,
    path: PathBuf,
    file: File,
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
        let db = guarded(path, || config.open())?;
        let file_path = path.join("db");
        let file =
            File::open(&file_path).map_err(IndexError::io("open the database file", &file_path))?;
        Ok(SledStore { db, path: path.to_owned(), file })
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
        guarded(&self.path, || {
            self.db.apply_batch(batch)?;
            self.db.flush()
        })?;
        self.file.sync_data().map_err(IndexError::io("sync the database in", &self.path))
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
        Ok(Err(error @ sled::Error::Unsupported(_))) => Err(IndexError::Engine(error.to_string())),
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
