//! What is stored, to be looked at: `mailferry index dump`.
//!
//! A [`Dump`] is data for `--json`; its `Display` is the text for people. Nothing is printed here.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::IndexError;
use super::keys::{Key, Tree};
use super::load;
use super::open::{FORMAT, SEQUENCE, VERSION};
use super::records::{AccountId, AccountRecord, Direction, MailboxRecord, Snapshot};
use super::store::Store;
use crate::base::{AccountName, Phase, Sides};
use crate::imap::names::readable;
use crate::uid::{Place, Run};

/// An index, as far as asked for.
#[derive(Clone, Serialize, Debug)]
pub struct Dump {
    /// Its directory.
    pub dir: PathBuf,
    /// The format it is written in.
    pub format: u32,
    /// The last batch applied.
    pub sequence: u64,
    /// What the directory takes on disk, database, epoch log and what was put aside.
    pub bytes_on_disk: u64,
    /// The accounts, by number.
    pub accounts: Vec<AccountDump>,
}

/// One account.
#[derive(Clone, Serialize, Debug)]
pub struct AccountDump {
    /// Its canonical name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// When it was first seen, in Unix seconds.
    pub created_at: u64,
    /// The phase set by name, if any.
    pub phase: Option<Phase>,
    /// Since when, in Unix seconds.
    pub phase_since: u64,
    /// Its wave, if any.
    pub wave: Option<String>,
    /// Its mailboxes, by number.
    pub mailboxes: Vec<MailboxDump>,
}

/// One mailbox.
#[derive(Clone, Serialize, Debug)]
pub struct MailboxDump {
    /// Its number.
    pub id: u32,
    /// Its name as the client knows it, as people read it
    /// ([`readable`]).
    pub name: String,
    /// Its names on both sides, which it has or would be made with; spelled like `name`.
    pub names: Sides<Option<String>>,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// The first UID that is ours and not old's.
    pub boundary: Option<u32>,
    /// HIGHESTMODSEQ.
    pub mod_seq: u64,
    /// Deleted by the client, kept on old.
    pub hidden: bool,
    /// Each side as last absorbed.
    pub sides: Sides<Option<SnapshotDump>>,
    /// How many messages, and where they lie.
    pub messages: Messages,
    /// How many runs the map has.
    pub runs: usize,
    /// The first of them, as many as asked for.
    pub first_runs: Vec<RunDump>,
    /// Intents, open and closed.
    pub intents: Vec<IntentDump>,
    /// Messages that could not be copied.
    pub stuck: Vec<StuckDump>,
    /// How many messages COPY or MOVE made, or were copied: their EMAILIDs are written.
    pub copies: usize,
    /// Of how many messages a second copy may come, delivered to the other side.
    pub second_copies: usize,
    /// What its keys and values take in the index.
    pub octets: u64,
}

/// Messages by place.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug, Default)]
pub struct Messages {
    /// On old alone.
    pub old: u64,
    /// On new alone.
    pub new: u64,
    /// On both.
    pub both: u64,
}

/// One side of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct SnapshotDump {
    /// UIDVALIDITY there.
    pub uid_validity: u32,
    /// UIDNEXT there.
    pub uid_next: u32,
    /// EXISTS there.
    pub messages: u32,
    /// HIGHESTMODSEQ there.
    pub highest_mod_seq: Option<u64>,
}

/// One run.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct RunDump {
    /// First UID.
    pub uid: u32,
    /// How many messages.
    pub len: u32,
    /// First UID on old.
    pub old: Option<u32>,
    /// First UID on new.
    pub new: Option<u32>,
}

/// One intent.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct IntentDump {
    /// The message.
    pub uid: u32,
    /// `to new` or `to old`.
    pub direction: &'static str,
    /// Whether it is settled.
    pub closed: bool,
    /// UIDNEXT of the receiving side before.
    pub uid_next: u32,
    /// The message's size.
    pub octets: u64,
    /// INTERNALDATE as sent.
    pub internal_date: String,
    /// BLAKE3 of the message, in hexadecimal digits.
    pub hash: String,
    /// When, in Unix seconds.
    pub written_at: u64,
}

/// One stuck message.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct StuckDump {
    /// The message.
    pub uid: u32,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub tries: u32,
    /// When next, in Unix seconds.
    pub next_try: u64,
}

/// Reads what is stored.
pub(super) fn dump(
    store: &dyn Store,
    dir: &Path,
    only: Option<&AccountName>,
    runs: usize,
) -> Result<Dump, IndexError> {
    let mut accounts = Vec::new();
    for (name, id, record) in load::accounts(store)? {
        if only.is_none_or(|only| *only == name) {
            accounts.push(account(store, &name, id, record, runs)?);
        }
    }
    Ok(Dump {
        dir: dir.to_owned(),
        format: load::meta(store, VERSION)?.map_or(FORMAT, u32::from_be_bytes),
        sequence: load::meta(store, SEQUENCE)?.map_or(0, u64::from_be_bytes),
        bytes_on_disk: bytes_on_disk(dir),
        accounts,
    })
}

/// What the files below a directory hold; what cannot be read counts as nothing.
pub fn bytes_on_disk(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_on_disk(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn account(
    store: &dyn Store,
    name: &AccountName,
    id: AccountId,
    record: AccountRecord,
    runs: usize,
) -> Result<AccountDump, IndexError> {
    let mut mailboxes = Vec::new();
    for record in load::mailboxes(store, id)? {
        mailboxes.push(mailbox(store, id, &record, runs)?);
    }
    Ok(AccountDump {
        name: name.to_string(),
        id: id.0,
        created_at: record.created_at,
        phase: record.phase,
        phase_since: record.phase_since,
        wave: record.wave,
        mailboxes,
    })
}

fn mailbox(
    store: &dyn Store,
    account: AccountId,
    record: &MailboxRecord,
    runs: usize,
) -> Result<MailboxDump, IndexError> {
    let id = record.id;
    let mut dump = MailboxDump {
        id: id.0,
        name: readable(record.client.as_bytes()),
        names: Sides {
            old: record.old.as_ref().map(|name| readable(name.as_bytes())),
            new: record.new.as_ref().map(|name| readable(name.as_bytes())),
        },
        uid_validity: record.uid_validity,
        uid_next: record.uid_next.0,
        boundary: record.boundary.map(u32::from),
        mod_seq: record.mod_seq,
        hidden: record.hidden,
        sides: record.sides.map(|_, side| side.map(SnapshotDump::from)),
        messages: Messages::default(),
        runs: 0,
        first_runs: Vec::new(),
        intents: Vec::new(),
        stuck: Vec::new(),
        copies: 0,
        second_copies: 0,
        octets: 0,
    };
    for run in load::chunks(store, account, id)?.0.iter().flatten() {
        let len = u64::from(run.len);
        match run.place {
            Place::Old(_) => dump.messages.old += len,
            Place::New(_) => dump.messages.new += len,
            Place::Both { .. } => dump.messages.both += len,
        }
        dump.runs += 1;
        if dump.first_runs.len() < runs {
            dump.first_runs.push(RunDump::from(*run));
        }
    }
    for (uid, direction, intent) in load::intents(store, account, id)? {
        dump.intents.push(IntentDump {
            uid: uid.0,
            direction: match direction {
                Direction::ToNew => "to new",
                Direction::ToOld => "to old",
            },
            closed: intent.closed,
            uid_next: intent.new_uid_next.0,
            octets: intent.octets,
            internal_date: intent.internal_date,
            hash: intent.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            written_at: intent.written_at,
        });
    }
    for (uid, stuck) in load::stuck(store, account, id)? {
        dump.stuck.push(StuckDump {
            uid: uid.0,
            reason: stuck.reason,
            tries: stuck.tries,
            next_try: stuck.next_try,
        });
    }
    for tree in
        [Tree::Mailboxes, Tree::Runs, Tree::Intents, Tree::SecondCopies, Tree::Stuck, Tree::Emails]
    {
        store.scan(&Key::of_mailbox(tree, account, id), &mut |key, value| {
            dump.octets += (key.len() + value.len()) as u64;
            dump.copies += usize::from(tree == Tree::Emails);
            dump.second_copies += usize::from(tree == Tree::SecondCopies);
            Ok(())
        })?;
    }
    Ok(dump)
}

impl From<Snapshot> for SnapshotDump {
    fn from(snapshot: Snapshot) -> SnapshotDump {
        SnapshotDump {
            uid_validity: snapshot.uid_validity,
            uid_next: snapshot.uid_next.0,
            messages: snapshot.messages,
            highest_mod_seq: snapshot.highest_mod_seq,
        }
    }
}

impl From<Run> for RunDump {
    fn from(run: Run) -> RunDump {
        let on = |side| run.place.on(side).map(u32::from);
        RunDump {
            uid: run.uid.0,
            len: run.len,
            old: on(crate::base::Side::Old),
            new: on(crate::base::Side::New),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "index {}  format {}  batch {}  {} bytes on disk",
            self.dir.display(),
            self.format,
            self.sequence,
            self.bytes_on_disk
        )?;
        self.accounts.iter().try_for_each(|account| write!(f, "\n{account}"))
    }
}

impl fmt::Display for AccountDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {} (number {}", self.name, self.id)?;
        if let Some(phase) = &self.phase {
            write!(f, ", phase {phase} since {}", self.phase_since)?;
        }
        if let Some(wave) = &self.wave {
            write!(f, ", wave {wave}")?;
        }
        writeln!(f, ")")?;
        self.mailboxes.iter().try_for_each(|mailbox| write!(f, "{mailbox}"))
    }
}

impl fmt::Display for MailboxDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.hidden { ", hidden" } else { "" };
        writeln!(f, "  mailbox \"{}\" (number {}{hidden})", self.name, self.id)?;
        write!(f, "    UIDVALIDITY {}  UIDNEXT {}", self.uid_validity, self.uid_next)?;
        if let Some(boundary) = self.boundary {
            write!(f, "  boundary {boundary}")?;
        }
        writeln!(f, "  HIGHESTMODSEQ {}", self.mod_seq)?;
        for (side, name) in self.names.iter() {
            let Some(name) = name else { continue };
            write!(f, "    {side}: \"{}\"", name)?;
            match &self.sides[side] {
                Some(seen) => {
                    write!(f, "  UIDVALIDITY {}", seen.uid_validity)?;
                    write!(f, "  UIDNEXT {}  EXISTS {}", seen.uid_next, seen.messages)?;
                    if let Some(highest) = seen.highest_mod_seq {
                        write!(f, "  HIGHESTMODSEQ {highest}")?;
                    }
                    writeln!(f)?;
                }
                None => writeln!(f, "  never absorbed")?,
            }
        }
        let Messages { old, new, both } = self.messages;
        writeln!(
            f,
            "    {} messages: {old} on old, {new} on new, {both} on both; {} runs, {} octets",
            old + new + both,
            self.runs,
            self.octets
        )?;
        self.first_runs.iter().try_for_each(|run| write!(f, "{run}"))?;
        let more = self.runs - self.first_runs.len();
        if more > 0 && !self.first_runs.is_empty() {
            writeln!(f, "      … and {more} more")?;
        }
        for intent in self.intents.iter().filter(|intent| !intent.closed) {
            writeln!(
                f,
                "    open intent {} {}: {} octets, dated {}, from UID {}, written {}",
                intent.uid,
                intent.direction,
                intent.octets,
                intent.internal_date.escape_debug(),
                intent.uid_next,
                intent.written_at
            )?;
        }
        for stuck in &self.stuck {
            let reason = stuck.reason.escape_debug();
            writeln!(
                f,
                "    stuck {} after {} tries, next {}: {reason}",
                stuck.uid, stuck.tries, stuck.next_try
            )?;
        }
        if self.second_copies > 0 {
            writeln!(f, "    a second copy may come of {} messages", self.second_copies)?;
        }
        Ok(())
    }
}

impl fmt::Display for RunDump {
    /// `uid 1..100000  old 1..  new -`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.len > 1;
        write!(f, "      uid {}", self.uid)?;
        if several {
            // Reading made sure that no UID of a run leaves 32 bits.
            write!(f, "..{}", u64::from(self.uid) + u64::from(self.len) - 1)?;
        }
        for (side, first) in [("old", self.old), ("new", self.new)] {
            match first {
                Some(first) => write!(f, "  {side} {first}{}", if several { ".." } else { "" })?,
                None => write!(f, "  {side} -")?,
            }
        }
        writeln!(f)
    }
}
