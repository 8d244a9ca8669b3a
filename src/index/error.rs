//! What can go wrong with the index, said so that the administrator knows what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::records::{AccountId, MailboxId};

/// An error of the index. Cheap to clone, for one failed commit is told to everybody in its group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process holds the directory: an index belongs to one process.
    #[error("the index in {} is in use by another process", dir.display())]
    Locked {
        /// The directory of the index.
        dir: PathBuf,
    },
    /// Written by a newer version of Mailferry.
    #[error(
        "the index in {} has format {found}, and this version knows formats up to {known}: \
         run the newer version, or move the directory away to have it rebuilt from the servers",
        dir.display()
    )]
    Newer {
        /// The format found.
        found: u32,
        /// The newest format this version can read.
        known: u32,
        /// The directory of the index.
        dir: PathBuf,
    },
    /// There is no index to look at (only when opened for reading).
    #[error("there is no index in {}", dir.display())]
    Missing {
        /// The directory looked into.
        dir: PathBuf,
    },
    /// There is no snapshot to put back.
    #[error("there is no snapshot, or none so old, in {}", dir.join("snapshots").display())]
    NoSnapshot {
        /// The directory of the index.
        dir: PathBuf,
    },
    /// The index lost what it had acknowledged (only when opened for reading; `serve` puts such an
    /// index aside and rebuilds it).
    #[error(
        "the index in {} cannot be trusted ({why}); the next `serve` puts it aside and rebuilds it",
        dir.display()
    )]
    Stale {
        /// The directory of the index.
        dir: PathBuf,
        /// What gave it away.
        why: String,
    },
    /// The file system refused something.
    #[error("index: cannot {what} {}: {error}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        error: Arc<io::Error>,
    },
    /// A value, or the database itself, does not read.
    #[error("the index is damaged: {0}")]
    Corrupt(String),
    /// An earlier commit failed: what is in memory and what is on disk may differ, so nothing is
    /// acknowledged and nothing read until the process starts anew.
    #[error("the index stopped after an error, restart to recover: {0}")]
    Failed(String),
    /// There is less room on its disk than is to be kept free.
    #[error(
        "the disk of {} is full: nothing new is taken on until {least} octets are free there",
        dir.display()
    )]
    Full {
        /// The directory of the index.
        dir: PathBuf,
        /// How much is to be kept free.
        least: u64,
    },
    /// No account has this id.
    #[error("the index has no account {}", .0.0)]
    UnknownAccount(AccountId),
    /// The account has no such mailbox.
    #[error("the index has no mailbox {} in account {}", .1.0, .0.0)]
    UnknownMailbox(AccountId, MailboxId),
    /// The index was closed.
    #[error("the index is closed")]
    Closed,
}

impl IndexError {
    /// For `map_err`: what was attempted, on which file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
        let path = path.to_owned();
        move |error| IndexError::Io { what, path, error: Arc::new(error) }
    }
}
