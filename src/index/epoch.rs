//! The epoch log: a small file beside the database that knows what the database must contain.
//!
//! It carries the sequence number last acknowledged, so that a database that lost its tail or
//! opens empty is noticed; and for each mailbox its boundary and high-water mark, so that even then
//! no UID gets a second meaning (V8); each account's record, so that no account falls back into
//! another phase, nor its folders into other names; and what the two servers can do, so that clients are
//! offered the same (V10), also where old is not asked any more. Mailboxes and accounts stand in it by name, for
//! numbers die with the database.
//!
//! It is written *after* the database and before anybody hears of the batch: it is never ahead of
//! a healthy database, and may be one group behind after a crash.
//!
//! On disk: eight octets of magic and version, then records of length, CRC-32 and payload. A tail
//! that does not read is what a crash tore, and is cut off. Compacted at start, and whenever it
//! has grown well past what it has to say.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::batch::Mark;
use super::encoding::{account_name, mailbox_name, pack_account, unpack_account};
use super::error::IndexError;
use super::pack::{Malformed, Packer, Unpacker};
use super::records::AccountRecord;
use crate::base::{AccountName, MailboxName, Side, Sides, step};
use crate::uid::Uid;

/// What outlives the loss of the database, about one mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The UIDVALIDITY that the rest belongs to; 0 where no mailbox has the name, or none is known.
    pub uid_validity: u32,
    /// The greatest UIDVALIDITY that other mailboxes had under this name; 0 if none had it.
    pub passed: u32,
    /// The name under which that mailbox was first seen, if it was another one.
    pub first_name: Option<MailboxName>,
    /// Below it, a virtual UID is an old UID.
    pub boundary: Option<Uid>,
    /// Every UID ever given out is below it.
    pub mark: Uid,
}

/// All that the log says.
#[derive(Default, Debug)]
pub struct Memory {
    /// The last acknowledged sequence number.
    pub sequence: u64,
    /// Damage was met while running: the database is not to be used again.
    pub condemned: Option<String>,
    /// Every UID given out before is below it, in whatever mailbox: what was known of them is lost.
    floor: Option<Uid>,
    mailboxes: HashMap<AccountName, HashMap<MailboxName, Remembered>>,
    accounts: HashMap<AccountName, AccountRecord>,
    /// The backends' profiles, in their learner's own encoding.
    profiles: Sides<Option<Vec<u8>>>,
}

impl Remembered {
    /// What must be remembered before a batch with this mark is acknowledged; `None` if `known`
    /// says it all.
    pub(super) fn due(known: Option<&Remembered>, mark: &Mark) -> Option<Remembered> {
        let same = known.filter(|known| known.uid_validity == mark.uid_validity);
        let passed = match known {
            Some(known) if same.is_none() => known.passed.max(known.uid_validity),
            known => known.map_or(0, |known| known.passed),
        };
        let due = Remembered {
            uid_validity: mark.uid_validity,
            passed,
            first_name: mark.first_name.clone(),
            // A boundary, once there, stands as long as the UIDVALIDITY does.
            boundary: mark.boundary.or(same.and_then(|known| known.boundary)),
            mark: match same {
                Some(known) if mark.uid_next <= known.mark => known.mark,
                _ => Uid(mark.uid_next.0.saturating_add(STRIDE)),
            },
        };
        (known != Some(&due)).then_some(due)
    }
}

/// What to write.
#[derive(Debug)]
pub enum Entry {
    /// Everything up to here is acknowledged.
    Sequence(u64),
    /// A mailbox's boundary and mark.
    Mailbox(AccountName, MailboxName, Remembered),
    /// What is known of an account.
    Account(AccountName, AccountRecord),
    /// The database is damaged; `None` once it was put aside.
    Condemned(Option<String>),
    /// Every UID given out before is below it.
    Floor(Uid),
    /// What was learned about a side's backend.
    Profile(Side, Vec<u8>),
}

/// The open log.
pub struct EpochLog {
    dir: PathBuf,
    file: File,
    size: u64,
    compact_at: u64,
    memory: Arc<RwLock<Memory>>,
}

/// How a log was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Every record reads.
    Whole,
    /// The end does not read: a crash, or damage.
    Torn,
    /// There is none.
    Missing,
}

impl Memory {
    /// Reads the log without changing anything.
    pub fn read(dir: &Path) -> Result<(Memory, Found), IndexError> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Memory::default(), Found::Missing));
            }
            Err(error) => return Err(IndexError::io("read", &path)(error)),
        };
        let mut memory = Memory::default();
        let found = match bytes.split_first_chunk::<8>() {
            Some(([magic @ .., version], rest)) if magic == MAGIC => {
                if *version > VERSION {
                    return Err(IndexError::Newer {
                        found: (*version).into(),
                        known: VERSION.into(),
                        dir: dir.to_owned(),
                    });
                }
                memory.replay(rest)
            }
            _ => Found::Torn,
        };
        Ok((memory, found))
    }

    /// What is remembered of a mailbox.
    pub fn of(&self, account: &AccountName, client: &MailboxName) -> Option<Remembered> {
        let known = self.mailboxes.get(account).and_then(|known| known.get(client)).cloned();
        let Some(floor) = self.floor else { return known };
        let unknown = Remembered {
            uid_validity: 0,
            passed: 0,
            first_name: None,
            boundary: None,
            mark: floor,
        };
        let known = known.unwrap_or(unknown);
        let boundary = known.boundary.or(Some(floor));
        Some(Remembered { boundary, mark: known.mark.max(floor), ..known })
    }

    /// Every UIDVALIDITY that is remembered of an account's mailboxes, whatever they are called now.
    pub fn uid_validities(&self, account: &AccountName) -> HashSet<u32> {
        let known = self.mailboxes.get(account).into_iter().flat_map(HashMap::values);
        known.flat_map(|known| [known.uid_validity, known.passed]).collect()
    }

    /// What is remembered of an account.
    pub fn account(&self, name: &AccountName) -> Option<&AccountRecord> {
        self.accounts.get(name)
    }

    /// What is remembered of a side's backend.
    pub fn profile(&self, side: Side) -> Option<&Vec<u8>> {
        self.profiles[side].as_ref()
    }

    /// All accounts that are remembered, in the order in which they were first seen.
    pub fn accounts(&self) -> Vec<(&AccountName, &AccountRecord)> {
        let mut accounts: Vec<_> = self.accounts.iter().collect();
        accounts.sort_by_key(|(name, record)| (record.created_at, name.as_str().to_owned()));
        accounts
    }

    /// The log lost what it knew, and so may have the database: from now on nothing below this UID is
    /// given out, but for messages of old that have their own. It lies above the one of the loss
    /// before, of which a file of its own knows, however soon that one was.
    pub fn doubt(&mut self, dir: &Path, now: u64) -> Result<Uid, IndexError> {
        let path = dir.join(FLOOR);
        let before = match fs::read_to_string(&path) {
            // One that does not read is as good as lost.
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(IndexError::io("read", &path)(error)),
        };
        let floor = Uid(Uid::of_time(now).0.max(before).saturating_add(LEAP));
        self.floor = self.floor.max(Some(floor));
        replace(dir, FLOOR, format!("{}\n", floor.0).as_bytes())?;
        Ok(floor)
    }

    /// Takes in what a database says that the log may not.
    pub fn catch_up(&mut self, entries: Vec<Entry>) {
        entries.into_iter().for_each(|entry| self.learn(entry));
    }

    /// Puts a log that says this, and nothing else, in the place of the log.
    pub fn write(&self, dir: &Path) -> Result<(), IndexError> {
        replace(dir, FILE, &self.image()).map(drop)
    }

    fn replay(&mut self, mut rest: &[u8]) -> Found {
        while !rest.is_empty() {
            let Some((payload, behind)) = first_record(rest) else { return Found::Torn };
            match parse(payload) {
                Ok(entry) => self.learn(entry),
                Err(_) => return Found::Torn,
            }
            rest = behind;
        }
        Found::Whole
    }

    fn learn(&mut self, entry: Entry) {
        match entry {
            Entry::Sequence(n) => self.sequence = n,
            Entry::Mailbox(account, client, remembered) => {
                self.mailboxes.entry(account).or_default().insert(client, remembered);
            }
            Entry::Account(account, record) => drop(self.accounts.insert(account, record)),
            Entry::Condemned(why) => self.condemned = why,
            Entry::Floor(floor) => self.floor = self.floor.max(Some(floor)),
            Entry::Profile(side, profile) => self.profiles[side] = Some(profile),
        }
    }

    /// Everything, as a new log.
    fn image(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        for (account, mailboxes) in &self.mailboxes {
            for (client, remembered) in mailboxes {
                let entry = Entry::Mailbox(account.clone(), client.clone(), remembered.clone());
                push_record(&mut bytes, &entry);
            }
        }
        for (account, record) in &self.accounts {
            push_record(&mut bytes, &Entry::Account(account.clone(), record.clone()));
        }
        for (side, profile) in self.profiles.iter() {
            if let Some(profile) = profile {
                push_record(&mut bytes, &Entry::Profile(side, profile.clone()));
            }
        }
        if self.condemned.is_some() {
            push_record(&mut bytes, &Entry::Condemned(self.condemned.clone()));
        }
        if let Some(floor) = self.floor {
            push_record(&mut bytes, &Entry::Floor(floor));
        }
        push_record(&mut bytes, &Entry::Sequence(self.sequence));
        bytes
    }
}

impl EpochLog {
    /// Takes over what was read, writes it anew, compacted, and is ready for more.
    pub fn start(dir: &Path, memory: Memory) -> Result<EpochLog, IndexError> {
        let memory = Arc::new(RwLock::new(memory));
        let (file, size) = rewrite(dir, &memory)?;
        let mut log = EpochLog { dir: dir.to_owned(), file, size, compact_at: 0, memory };
        log.plan_compaction();
        Ok(log)
    }

    /// The memory, shared with those who ask for it.
    pub fn memory(&self) -> Arc<RwLock<Memory>> {
        Arc::clone(&self.memory)
    }

    /// Runs over the memory under its lock.
    pub fn with<T>(&self, f: impl FnOnce(&Memory) -> T) -> T {
        f(&self.memory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends and syncs. Only then does the memory know.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        let mut bytes = Vec::new();
        for entry in &entries {
            push_record(&mut bytes, entry);
        }
        let path = self.dir.join(FILE);
        self.file.write_all(&bytes).map_err(IndexError::io("append to", &path))?;
        self.file.sync_data().map_err(IndexError::io("sync", &path))?;
        self.size += bytes.len() as u64;
        {
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            entries.into_iter().for_each(|entry| memory.learn(entry));
        }
        if self.size > self.compact_at {
            (self.file, self.size) = rewrite(&self.dir, &self.memory)?;
            self.plan_compaction();
        }
        Ok(())
    }

    fn plan_compaction(&mut self) {
        self.compact_at = 2 * self.size + COMPACTION_SLACK;
    }
}

/// Puts a compacted log in the place of the log.
fn rewrite(dir: &Path, memory: &RwLock<Memory>) -> Result<(File, u64), IndexError> {
    let image = memory.read().unwrap_or_else(PoisonError::into_inner).image();
    let file = replace(dir, FILE, &image)?;
    Ok((file, image.len() as u64))
}

/// Puts a file in the place of the one with this name, all of it or nothing; to be appended to.
fn replace(dir: &Path, name: &str, octets: &[u8]) -> Result<File, IndexError> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = || -> io::Result<File> {
        let mut file = File::create(&fresh)?;
        file.write_all(octets)?;
        file.sync_all()?;
        step("open: a file is written anew");
        fs::rename(&fresh, &path)?;
        step("open: a file is in its place");
        File::open(dir)?.sync_all()?;
        OpenOptions::new().append(true).open(&path)
    };
    written().map_err(IndexError::io("write", &path))
}

fn push_record(bytes: &mut Vec<u8>, entry: &Entry) {
    let payload = print(entry);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
}

/// The first record's payload and what stands behind it; `None` if it does not read.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    // An empty payload has the CRC 0: a zeroed tail must not pass for records.
    let sound = !payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(*crc);
    sound.then_some((payload, rest))
}

fn print(entry: &Entry) -> Vec<u8> {
    let mut out;
    match entry {
        Entry::Sequence(n) => {
            out = Packer::versioned(KIND_SEQUENCE);
            out.number(*n);
        }
        Entry::Mailbox(account, client, remembered) => {
            out = Packer::versioned(KIND_MAILBOX);
            out.octets(account.as_str().as_bytes());
            out.octets(client.as_bytes());
            out.number(remembered.uid_validity.into());
            out.number(remembered.mark.0.into());
            let passed = Some(remembered.passed).filter(|passed| *passed != 0);
            let has = |there: bool, bit: u8| if there { bit } else { 0 };
            out.byte(
                has(remembered.boundary.is_some(), BOUNDARY)
                    | has(passed.is_some(), PASSED)
                    | has(remembered.first_name.is_some(), RENAMED),
            );
            if let Some(boundary) = remembered.boundary {
                out.number(boundary.0.into());
            }
            if let Some(passed) = passed {
                out.number(passed.into());
            }
            if let Some(name) = &remembered.first_name {
                out.octets(name.as_bytes());
            }
        }
        Entry::Account(account, record) => {
            out = Packer::versioned(KIND_ACCOUNT);
            out.octets(&pack_account(account, record));
        }
        Entry::Condemned(why) => {
            out = Packer::versioned(KIND_CONDEMNED);
            out.byte(u8::from(why.is_some()));
            out.octets(why.as_deref().unwrap_or_default().as_bytes());
        }
        Entry::Floor(floor) => {
            out = Packer::versioned(KIND_FLOOR);
            out.number(floor.0.into());
        }
        Entry::Profile(side, profile) => {
            out = Packer::versioned(KIND_PROFILE);
            out.byte(u8::from(*side == Side::New));
            out.octets(profile);
        }
    }
    out.done()
}

fn parse(payload: &[u8]) -> Result<Entry, Malformed> {
    let kind = payload.first().copied().unwrap_or_default();
    let mut input = Unpacker::versioned(payload, kind)?;
    let entry = match kind {
        KIND_SEQUENCE => Entry::Sequence(input.number()?),
        KIND_MAILBOX => {
            let account = account_name(&input.text()?)?;
            let client = mailbox_name(input.octets()?)?;
            let uid_validity = input.number32()?;
            let mark = Uid(input.number32()?);
            // Version 1 had the boundary alone.
            let has = input.byte()?;
            if has & !(BOUNDARY | PASSED | RENAMED) != 0 {
                return Err(Malformed("unknown fact of a mailbox"));
            }
            let boundary = if has & BOUNDARY != 0 { Some(Uid(input.number32()?)) } else { None };
            let passed = if has & PASSED != 0 { input.number32()? } else { 0 };
            let first_name =
                if has & RENAMED != 0 { Some(mailbox_name(input.octets()?)?) } else { None };
            let remembered = Remembered { uid_validity, passed, first_name, boundary, mark };
            Entry::Mailbox(account, client, remembered)
        }
        KIND_ACCOUNT => {
            let (account, record) = unpack_account(input.octets()?)?;
            Entry::Account(account, record)
        }
        KIND_PROFILE => {
            let side = if input.byte()? == 0 { Side::Old } else { Side::New };
            Entry::Profile(side, input.octets()?.to_vec())
        }
        KIND_FLOOR => Entry::Floor(Uid(input.number32()?)),
        KIND_CONDEMNED => {
            let condemned = input.byte()? != 0;
            let why = input.text()?;
            Entry::Condemned(condemned.then_some(why))
        }
        _ => return Err(Malformed("unknown kind of record")),
    };
    input.finish()?;
    Ok(entry)
}

const FILE: &str = "epoch.log";
/// Beside the log: the last floor, a number.
pub const FLOOR: &str = "floor";
const MAGIC: &[u8; 7] = b"MFEPOCH";
const VERSION: u8 = 5;
const KIND_SEQUENCE: u8 = 1;
const KIND_MAILBOX: u8 = 2;
const KIND_CONDEMNED: u8 = 3;
const KIND_FLOOR: u8 = 4;
const KIND_ACCOUNT: u8 = 5;
const KIND_PROFILE: u8 = 6;

/// So many UIDs above those that the time of day gives may have been given out: more than a busy
/// mailbox gets in a year.
const LEAP: u32 = 1 << 20;

/// What a mailbox's record holds beyond UIDVALIDITY and mark.
const BOUNDARY: u8 = 1;
const PASSED: u8 = 1 << 1;
const RENAMED: u8 = 1 << 2;

/// UIDs reserved at a time, so that the log is not written for every arrival.
const STRIDE: u32 = 1024;

/// How much more than twice its contents the log may grow before it is compacted.
const COMPACTION_SLACK: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Phase;

    fn entry(n: u32) -> Entry {
        let account = account_name(&format!("user{}@example.com", n % 7)).unwrap();
        let client = mailbox_name(format!("Folder {}", n % 11).as_bytes()).unwrap();
        let boundary = n.is_multiple_of(3).then_some(Uid(n));
        let passed = if n.is_multiple_of(5) { n } else { 0 };
        let first_name = n.is_multiple_of(4).then(MailboxName::inbox);
        let remembered = Remembered { uid_validity: 1, passed, first_name, boundary, mark: Uid(n) };
        Entry::Mailbox(account, client, remembered)
    }

    #[test]
    fn what_was_appended_is_read_again_and_compaction_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = EpochLog::start(dir.path(), Memory::default()).unwrap();
        log.compact_at = 20_000;
        for n in 0..2_000 {
            log.append(vec![entry(n), Entry::Sequence(n.into())]).unwrap();
        }
        let size = fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert_eq!(size, log.size);
        assert!(log.compact_at > 20_000, "it was compacted on the way");
        let (memory, found) = Memory::read(dir.path()).unwrap();
        assert_eq!((found, memory.sequence), (Found::Whole, 1_999));
        assert_eq!(log.with(|ours| ours.mailboxes.clone()), memory.mailboxes);
        let compacted = EpochLog::start(dir.path(), memory).unwrap();
        assert!(compacted.size < 77 * 60, "{}", compacted.size);
        let (memory, found) = Memory::read(dir.path()).unwrap();
        assert_eq!((found, memory.sequence), (Found::Whole, 1_999));
        assert_eq!(log.with(|ours| ours.mailboxes.clone()), memory.mailboxes);
    }

    #[test]
    fn v8_what_was_known_of_an_account_last_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = EpochLog::start(dir.path(), Memory::default()).unwrap();
        let name = account_name("ann@example.com").unwrap();
        for phase in [None, Some(Phase::Merged), Some(Phase::New)] {
            let record = AccountRecord { phase, wave: Some("one".into()), ..Default::default() };
            log.append(vec![Entry::Account(name.clone(), record.clone())]).unwrap();
            for _ in 0..2 {
                let (memory, found) = Memory::read(dir.path()).unwrap();
                assert_eq!((found, memory.account(&name)), (Found::Whole, Some(&record)));
                log = EpochLog::start(dir.path(), memory).unwrap();
            }
        }
    }

    #[test]
    fn a_condemnation_lasts_until_it_is_lifted() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = EpochLog::start(dir.path(), Memory::default()).unwrap();
        log.append(vec![Entry::Condemned(Some("a bad page".into()))]).unwrap();
        let (memory, _) = Memory::read(dir.path()).unwrap();
        assert_eq!(memory.condemned.as_deref(), Some("a bad page"));
        let mut log = EpochLog::start(dir.path(), memory).unwrap();
        log.append(vec![Entry::Condemned(None)]).unwrap();
        assert_eq!(Memory::read(dir.path()).unwrap().0.condemned, None);
    }

    #[test]
    fn a_newer_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"MFEPOCH\x06").unwrap();
        let refused = Memory::read(dir.path());
        assert!(matches!(refused, Err(IndexError::Newer { found: 6, known: 5, .. })));
    }

    #[test]
    fn v8_a_log_of_version_1_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = b"MFEPOCH\x01".to_vec();
        for boundary in [&b"\0"[..], b"\x01\x05"] {
            let inbox = b"\x0fann@example.com\x05INBOX\x07\x09";
            let payload = [&[KIND_MAILBOX], &inbox[..], boundary].concat();
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
            bytes.extend_from_slice(&payload);
        }
        fs::write(dir.path().join(FILE), bytes).unwrap();
        let (memory, found) = Memory::read(dir.path()).unwrap();
        let inbox = memory.of(&account_name("ann@example.com").unwrap(), &MailboxName::inbox());
        let boundary = Some(Uid(5));
        let mark = Uid(9);
        let known = Remembered { uid_validity: 7, passed: 0, first_name: None, boundary, mark };
        assert_eq!((inbox, found), (Some(known), Found::Whole));
    }

    #[test]
    fn v2_what_a_name_meant_before_stays_known_when_it_is_given_up() {
        let mark = |uid_validity| Mark {
            account: super::super::AccountId(1),
            client: MailboxName::inbox(),
            first_name: None,
            uid_validity,
            uid_next: Uid(1),
            boundary: None,
        };
        let mut known = None;
        for (uid_validity, passed) in
            [(0, 0), (70, 0), (0, 70), (50, 70), (0, 70), (80, 70), (9, 80)]
        {
            known = Remembered::due(known.as_ref(), &mark(uid_validity)).or(known);
            let told = known.as_ref().map(|known| (known.uid_validity, known.passed));
            assert_eq!(told, Some((uid_validity, passed)));
        }
    }

    proptest! {
        /// Whatever a crash leaves, what was synced before it reads, and in order.
        #[test]
        fn a_torn_tail_takes_only_itself(cut in 0usize..2_000, tail in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for n in 0..40u64 {
                push_record(&mut bytes, &Entry::Sequence(n * 1_000));
                ends.push(bytes.len());
            }
            let cut = cut % (bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let mut torn = bytes[..cut].to_vec();
            torn.extend_from_slice(&tail);
            let mut memory = Memory::default();
            memory.replay(&torn);
            prop_assert!(memory.sequence >= (whole as u64).saturating_sub(1) * 1_000);
            prop_assert!(memory.sequence <= 39_000);
        }

        #[test]
        fn no_payload_makes_reading_panic(kind in 0u8..5, mut payload in any::<Vec<u8>>()) {
            payload.insert(0, kind);
            let _ = parse(&payload);
            let _ = first_record(&payload);
        }
    }
}
