//! One user's merged world: names, mailbox hubs, absorbing, the ledger of intents.
//!
//! An [`Account`] belongs to all sessions of its user. It owns the map of every mailbox and is the
//! only one that changes it; `session` and `ferry` are its clients. It never speaks IMAP to a
//! client and never decides which message is copied.

mod activity;
mod change;
mod error;
mod expunge;
mod flags;
mod folders;
mod hear;
mod history;
mod identity;
mod kept;
mod ledger;
mod login;
mod mailbox;
mod matching;
mod measured;
mod merge;
mod metadata;
mod modseq;
mod moves;
pub mod names;
mod owed;
mod phase;
mod renaming;
mod retry;
mod roll;
mod shared;
mod status;
mod told;
mod verified;
mod watch;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use activity::Activity;

use crate::backend::Pool;
use crate::base::{AccountName, MailboxName, Sides};
use crate::config::Config;
use crate::index::{AccountId, Index, MailboxId};

pub use activity::Active;
pub use change::{Unchanged, trimmed};
pub use error::AccountError;
pub use expunge::{each_chunk, expunge_without_uidplus, mark_deleted, uid_search};
pub use flags::{unite_flags, write_flags};
pub use folders::{Folder, Folders, SideFolders, command, explicit_names, list_with};
pub use hear::{MAX_COMMAND, likenesses, without_recent};
pub use identity::Emails;
pub use ledger::{Copied, Undecided};
pub use login::{Accounts, LoginError};
pub use mailbox::{FlagNews, FlagsOffered, Mailbox, SessionId, View, now};
pub use matching::{Reading, contents, fetch_in_windows, header_of};
pub use merge::{Distrust, Likeness, Merged, Report};
pub use metadata::Metadata;
pub use modseq::ModSeqs;
pub use phase::{Entered, Held};
pub use shared::Foreign;
pub use status::{Asked, Status, found, statuses};
pub use watch::Idle;

/// What a login may reach: a pool of connections on each side, opened with what that login's
/// secret gives. Two logins of one account share it only if their secrets are the same.
pub struct Access {
    /// One pool a side.
    pub pools: Sides<Arc<Pool>>,
    /// How often a mailbox without IDLE is asked.
    pub poll_interval: Duration,
}

impl Access {
    /// Whether a token that was let in is not let in any more.
    pub fn has_stale_token(&self) -> bool {
        self.pools.iter().any(|(_, pool)| pool.has_stale_token())
    }
}

/// One user's mail, on both sides.
pub struct Account {
    name: AccountName,
    id: AccountId,
    index: Index,
    config: Arc<Config>,
    open: DashMap<MailboxId, Arc<Mailbox>>,
    folders: ArcSwapOption<Folders>,
    listing: tokio::sync::Mutex<()>,
    loading: tokio::sync::Mutex<()>,
    making: tokio::sync::Mutex<()>,
    moves: moves::Moves,
    /// Set when the mailboxes are open that expected second copies when the proxy was started.
    expecting: tokio::sync::OnceCell<()>,
    /// A RENAME may have been done of which nobody heard the end.
    unsure_of_names: AtomicBool,
    /// When a listing first did not show it.
    not_renamed_since: Mutex<Option<tokio::time::Instant>>,
    access: DashMap<login::Digest, login::Judged>,
    /// What background work reaches with logins of its own, while there is some.
    background: Mutex<Weak<Access>>,
    activity: Activity,
    undecided: Arc<Undecided>,
    matchmaker: Arc<matching::Matchmaker>,
    history: history::History,
    /// What the sides list and do not know.
    ghosts: Mutex<Sides<HashSet<MailboxName>>>,
    phases: Arc<phase::Phases>,
    /// Shared by whatever a client does; who changes the phase holds it alone.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Held while the phase is being changed.
    pub changing: tokio::sync::Mutex<()>,
}

impl Account {
    fn new(
        name: AccountName,
        id: AccountId,
        index: Index,
        config: Arc<Config>,
        phases: Arc<phase::Phases>,
    ) -> Account {
        let undecided = Arc::new(Undecided::mirroring(config.copy.mirror));
        let matchmaker = Arc::new(matching::Matchmaker::new(config.copy.matching));
        let history = history::History::new(config.copy.history.as_deref());
        Account {
            name,
            id,
            index,
            config,
            matchmaker,
            history,
            ghosts: Mutex::default(),
            open: DashMap::new(),
            folders: ArcSwapOption::empty(),
            listing: tokio::sync::Mutex::new(()),
            loading: tokio::sync::Mutex::new(()),
            making: tokio::sync::Mutex::new(()),
            moves: moves::Moves::default(),
            expecting: tokio::sync::OnceCell::new(),
            // Before the proxy was started, perhaps.
            unsure_of_names: AtomicBool::new(true),
            not_renamed_since: Mutex::default(),
            access: DashMap::new(),
            background: Mutex::default(),
            activity: Activity::default(),
            undecided,
            phases,
            gate: Arc::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// The canonical name.
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// The account's number in the index.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// Where something waits to be decided.
    pub fn undecided(&self) -> &Arc<Undecided> {
        &self.undecided
    }

    /// What is remembered.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether nothing may be changed on old (`old.read_only`).
    pub fn old_is_read_only(&self) -> bool {
        self.config.backends.old.read_only
    }
}

/// A mailbox that nobody has seen yet.
#[cfg(test)]
fn test_record() -> crate::index::MailboxRecord {
    use crate::base::MailboxName;
    use crate::uid::Uid;
    crate::index::MailboxRecord {
        id: MailboxId(1),
        client: MailboxName::inbox(),
        first_name: None,
        old: None,
        new: Some(MailboxName::inbox()),
        uid_validity: 7,
        uid_next: Uid(1),
        boundary: None,
        sides: Sides::default(),
        mod_seq: 1,
        checkpoints: Vec::new(),
        hidden: false,
        listed: Sides::default(),
        unshown: Sides::default(),
        shown_late: Sides::default(),
        map_sum: None,
        matching: None,
        late: false,
        restored: Sides::default(),
        skipped_from: None,
        altered: Arc::default(),
    }
}
