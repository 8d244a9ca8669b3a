//! Room on the disk: below a reserve nothing new is begun, so that what was begun can be ended.
//!
//! A database that could not write is of no use until the next start; one that was never asked to
//! goes on as soon as there is room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::error::IndexError;

/// For so many milliseconds the answer holds.
const FRESH: u64 = 200;

/// The file system that the index lies on.
pub struct Room {
    dir: PathBuf,
    least: AtomicU64,
    start: Instant,
    /// When it was last asked, in milliseconds since the start.
    asked: AtomicU64,
    full: AtomicBool,
}

impl Room {
    /// Asks for nothing until [`keep_free`](Room::keep_free) was called.
    pub fn new(dir: &Path) -> Room {
        Room {
            dir: dir.to_owned(),
            least: AtomicU64::new(0),
            start: Instant::now(),
            asked: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// From now on so many octets must be free.
    pub fn keep_free(&self, octets: u64) {
        self.least.store(octets, Ordering::Relaxed);
    }

    /// Whether there is room for something new.
    pub fn check(&self) -> Result<(), IndexError> {
        let least = self.least.load(Ordering::Relaxed);
        let full = || IndexError::Full { dir: self.dir.clone(), least };
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if least == 0 {
            return Ok(());
        }
        let asked = self.asked.load(Ordering::Relaxed);
        if asked > 0 && now.saturating_sub(asked) < FRESH {
            return if self.full.load(Ordering::Relaxed) { Err(full()) } else { Ok(()) };
        }
        self.asked.store(now.max(1), Ordering::Relaxed);
        let there = rustix::fs::statvfs(&self.dir)
            .map_err(|e| IndexError::io("ask for the room on the disk of", &self.dir)(e.into()))?;
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        let is_full = free < least;
        if self.full.swap(is_full, Ordering::Relaxed) != is_full {
            let dir = self.dir.display();
            if is_full {
                tracing::error!(free, least, %dir, "the disk is full: nothing new is taken on");
            } else {
                tracing::info!(free, %dir, "there is room on the disk again");
            }
        }
        if is_full { Err(full()) } else { Ok(()) }
    }
}
