//! The hub of one mailbox: its current map, shared by all sessions that have it open.
//!
//! The hub has a *tip*, behind a short lock that is never held over an await, and a *published*
//! view. A change advances the tip and queues its batch under the lock; it is published after the
//! batch is durable, in order. Sessions read the view, changes build on the tip.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{RwLock, RwLockWriteGuard, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::AccountError;
use super::ledger::Undecided;
use super::matching::{Matchmaker, Reach, Running};
use super::merge::{Distrust, Merged};
use super::modseq::ModSeqs;
use super::told::{Told, Verdict};
use super::watch::Watching;
use crate::backend::{Conn, ConnId, Known, Moment};
use crate::base::{AccountName, MailboxName, Phase, Side, Sides};
use crate::index::{
    AccountId, Batch, Direction, Index, Intent, MailboxId, MailboxRecord, Snapshot, Stored,
};
use crate::uid::{ObjectId, SideUid, Uid, UidMap, UidSet};

/// So long a write waits for one before it to end, where the copier waits as well.
const WRITES_WAIT: Duration = Duration::from_secs(1);
/// Flags that are remembered of one side at the most.
const MOST_FLAGS: usize = 1_000;
/// Flag changes a session may lag behind before it is told all flags as they are. Room for them is
/// taken when the first session listens.
const FLAG_BACKLOG: usize = 512;

/// What sessions see of a mailbox: one durable state of it.
#[derive(Debug)]
pub struct View {
    /// Rises with every change.
    pub version: u64,
    /// Every visible message.
    pub map: UidMap,
    /// UIDVALIDITY; 0 until it is known.
    pub uid_validity: u32,
    /// MAILBOXID. Final, and to be told, once UIDVALIDITY is known.
    pub object_id: ObjectId,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ, and how it stands to the sides'.
    pub mod_seqs: ModSeqs,
    /// The mailbox's name as its client spells it.
    pub client: MailboxName,
    /// The account's phase.
    pub phase: Phase,
    /// From the first to the last of these no message has ever had a UID.
    pub never: Option<(Uid, Uid)>,
    /// What is read from old where it lies on both sides: see [`MailboxRecord::altered`].
    pub altered: Arc<UidSet<Uid>>,
    /// The mailbox's names on the sides where it exists, of those that the phase has.
    pub names: Sides<Option<MailboxName>>,
}

/// A message's flags changed.
#[derive(Clone, Debug)]
pub struct FlagNews {
    /// Which message.
    pub uid: Uid,
    /// The whole list with its parentheses, without `\Recent`.
    pub flags: Bytes,
    /// The change's MODSEQ.
    pub mod_seq: u64,
    /// The session that did it and needs no telling.
    pub origin: Option<SessionId>,
}

/// Tells sessions apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// What a server's SELECT told of flags.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagsOffered {
    /// FLAGS.
    pub flags: Vec<Bytes>,
    /// PERMANENTFLAGS.
    pub permanent: Vec<Bytes>,
}

/// What both sides offer as flags.
#[derive(Default)]
struct Offered {
    sides: Sides<Option<FlagsOffered>>,
    /// Rises with every change.
    version: u64,
}

/// One mailbox of one account.
pub struct Mailbox {
    pub(super) id: MailboxId,
    pub(super) account: AccountId,
    owner: AccountName,
    pub(super) index: Index,
    tip: Mutex<Tip>,
    published: ArcSwap<View>,
    version: watch::Sender<u64>,
    /// Made for the first session that listens: its backlog takes its room at once, and an account has
    /// thousands of mailboxes in which nobody is.
    flags: OnceLock<broadcast::Sender<FlagNews>>,
    offered: Mutex<Offered>,
    told: Mutex<Told>,
    /// Writes share it until the authority has answered; the copier takes it alone for the moment
    /// in which authority passes to new (DESIGN §6).
    pub guard: RwLock<()>,
    /// Shared by every COPY and MOVE to here until its copies' EMAILIDs are durable.
    pub copies_to_here: RwLock<()>,
    /// Held by who carries messages of this mailbox to new: one at a time.
    pub carrying: tokio::sync::Mutex<()>,
    pub(super) opening: tokio::sync::Mutex<()>,
    pub(super) watching: Mutex<Watching>,
    pub(super) undecided: Arc<Undecided>,
    pub(super) matchmaker: Arc<Matchmaker>,
    pub(super) matching: Mutex<Option<Running>>,
    pub(super) reach: Mutex<Option<Reach>>,
}

/// What a mailbox is called: by its client, and where it exists or would be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    pub client: MailboxName,
    pub old: Option<MailboxName>,
    pub new: Option<MailboxName>,
}

impl Names {
    /// Writes them into a record. The name at first sight is kept: MAILBOXID stays.
    pub(super) fn give_to(&self, record: &mut MailboxRecord) {
        if record.client != self.client {
            let before = std::mem::replace(&mut record.client, self.client.clone());
            record.first_name.get_or_insert(before);
        }
        record.old.clone_from(&self.old);
        record.new.clone_from(&self.new);
    }
}

struct Tip {
    merged: Merged,
    /// What clients see of its map.
    shown: UidMap,
    version: u64,
    failed: Option<String>,
}

impl Mailbox {
    /// The hub of a mailbox as the index remembers it.
    pub(super) fn new(
        index: Index,
        (owner, account): (AccountName, AccountId),
        undecided: Arc<Undecided>,
        matchmaker: Arc<Matchmaker>,
        stored: Stored,
        (phase, phase_since): (Phase, u64),
    ) -> Mailbox {
        let to = |direction| match direction {
            Direction::ToNew => Side::New,
            Direction::ToOld => Side::Old,
        };
        let mut intents: Sides<BTreeMap<Uid, Intent>> = Sides::default();
        for (uid, direction, intent) in stored.intents {
            intents[to(direction)].insert(uid, intent);
        }
        let id = stored.record.id;
        let mut merged = Merged::new(stored.record, stored.map, intents, phase);
        merged.phase_since = phase_since;
        for (uid, direction, second) in stored.second_copies {
            merged.second_copies[to(direction)].insert(uid, second);
        }
        merged.stuck = stored.stuck.into_iter().collect();
        merged.owed = stored.owed;
        let shown = merged.shown();
        let view = view_of(&owner, &merged, shown.clone(), 0);
        Mailbox {
            id,
            account,
            owner,
            index,
            tip: Mutex::new(Tip { merged, shown, version: 0, failed: None }),
            published: ArcSwap::from_pointee(view),
            version: watch::Sender::new(0),
            flags: OnceLock::new(),
            offered: Mutex::default(),
            told: Mutex::default(),
            guard: RwLock::new(()),
            copies_to_here: RwLock::new(()),
            carrying: tokio::sync::Mutex::new(()),
            opening: tokio::sync::Mutex::new(()),
            watching: Mutex::default(),
            undecided,
            matchmaker,
            matching: Mutex::default(),
            reach: Mutex::default(),
        }
    }

    /// The mailbox's name as its client spells it.
    pub fn name(&self) -> MailboxName {
        self.view().client.clone()
    }

    /// Waits until nobody writes here, and keeps writes out for as long as this is held.
    ///
    /// Who waits keeps writes out, too, so a single one whose server hangs would hold up all others:
    /// after a moment these are let pass.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        loop {
            match timeout(WRITES_WAIT, self.guard.write()).await {
                Ok(alone) => return alone,
                Err(_) => sleep(WRITES_WAIT).await,
            }
        }
    }

    /// Whether anything new may be begun here: not while the disk of the index is full.
    pub fn room(&self) -> Result<(), AccountError> {
        Ok(self.index.room()?)
    }

    /// The mailbox's number within its account.
    pub fn id(&self) -> MailboxId {
        self.id
    }

    /// The current durable state.
    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// Wakes when a newer state is published.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Flag changes from now on.
    pub fn flag_news(&self) -> broadcast::Receiver<FlagNews> {
        self.flags.get_or_init(|| broadcast::Sender::new(FLAG_BACKLOG)).subscribe()
    }

    /// How many sessions listen for flag changes.
    pub fn listeners(&self) -> usize {
        self.flags.get().map_or(0, broadcast::Sender::receiver_count)
    }

    /// Tells sessions of a message's flags, unless they have been told the same already. `since` is
    /// a moment at which the server had not given this answer yet, and `by` who heard it.
    ///
    /// False if something else was told since then, by another connection: nobody knows which of
    /// the two is older, so nothing is told.
    pub(super) fn tell_flags(
        &self,
        uid: Uid,
        flags: Bytes,
        origin: Option<SessionId>,
        since: Moment,
        by: (Side, Option<ConnId>),
    ) -> bool {
        match lock(&self.told).take(uid, &flags, since, by) {
            Verdict::Known => return true,
            Verdict::Doubtful => return false,
            Verdict::News => {}
        }
        let mod_seq = self.published.load().mod_seqs.highest();
        // No receiver is no fault: nobody has the mailbox open.
        if let Some(listening) = self.flags.get() {
            // Nobody listens any more: nobody is to be told.
            drop(listening.send(FlagNews { uid, flags, mod_seq, origin }));
        }
        true
    }

    /// A message arrived on a side or was copied to it with these flags: when a server tells of
    /// them later, that is no news, unless others were told last.
    pub fn remember_flags(&self, uid: Uid, flags: Bytes, side: Side) {
        let mut told = lock(&self.told);
        if told.last(uid).is_some() {
            drop(told);
            self.tell_flags(uid, flags, None, Moment::LAST, (side, None));
        } else {
            told.remember(uid, flags);
        }
    }

    /// A message's flags as they were told last, as far as that is remembered.
    pub fn flags_told(&self, uid: Uid) -> Option<Bytes> {
        lock(&self.told).last(uid).cloned()
    }

    /// Whether a message's flags are known to have been others than these.
    pub fn were_others(&self, uid: Uid, flags: &[u8]) -> bool {
        lock(&self.told).last(uid).is_some_and(|last| last != flags)
    }

    /// Flags were changed over a connection, whether or not its server tells of it: the side's
    /// others may not know of that.
    pub fn wrote_flags(&self, conn: &Conn) {
        lock(&self.told).wrote(conn.side(), Some(conn.id()));
    }

    /// Whether a connection may not have heard of flags that others have changed.
    pub(super) fn is_behind(&self, conn: &Conn) -> bool {
        let followed = conn.selected().map(|selected| selected.followed);
        followed.is_some_and(|f| lock(&self.told).is_behind((conn.side(), conn.id()), f))
    }

    /// The moment that it is now.
    pub fn moment(&self) -> Moment {
        lock(&self.told).now()
    }

    /// What the sides offer as flags, as far as they were asked, and the version of that.
    pub fn flags_offered(&self) -> (Sides<Option<FlagsOffered>>, u64) {
        let offered = lock(&self.offered);
        (offered.sides.clone(), offered.version)
    }

    /// Rises whenever a side offers other flags.
    pub fn offer_version(&self) -> u64 {
        lock(&self.offered).version
    }

    /// A side's SELECT told of flags. Those that another connection was told of are kept: it may
    /// have been told later.
    pub(super) fn offer_flags(&self, side: Side, mut told: FlagsOffered) {
        let mut offered = lock(&self.offered);
        if let Some(known) = &offered.sides[side] {
            told.flags = joined(&known.flags, &told.flags);
        }
        if offered.sides[side].as_ref() != Some(&told) {
            offered.sides[side] = Some(told);
            offered.version += 1;
        }
    }

    /// Takes keywords that a connection was told of since it selected the mailbox: whoever is told
    /// of a message's flags was told of them before.
    pub fn learn_flags(&self, conn: &mut Conn) {
        let side = conn.side();
        let Some(selected) = conn.selected_mut().filter(|selected| selected.tells_flags) else {
            return;
        };
        selected.tells_flags = false;
        let known = lock(&self.offered).sides[side].clone().unwrap_or_default();
        let permanent = joined(&known.permanent, &selected.permanent_flags);
        self.offer_flags(side, FlagsOffered { flags: selected.flags.clone(), permanent });
    }

    /// Whether this side was ever absorbed.
    pub fn has_seen(&self, side: Side) -> bool {
        self.peek(|m| m.record.sides[side].is_some())
    }

    /// What a connection is told before it selects the mailbox: it may spare it the listing.
    pub fn known(&self, side: Side) -> Option<Known> {
        let moment = self.moment();
        self.peek(|m| {
            let absorbed = Some(m.mod_seqs.absorbed(side)).filter(|n| *n > 0);
            let snapshot = Snapshot { highest_mod_seq: absorbed, ..m.record.sides[side]? };
            let (live, incarnation) = (m.live[side].clone(), m.incarnations[side]);
            Some(Known { snapshot, live, incarnation, moment })
        })
    }

    /// The virtual UID of a side's message, as of the tip.
    pub fn uid_of(&self, side: Side, uid: SideUid) -> Option<Uid> {
        self.peek(|m| m.map.uid_of(side, uid))
    }

    /// Looks at the tip, which may be ahead of what is durable.
    pub fn peek<T>(&self, look: impl FnOnce(&Merged) -> T) -> T {
        look(&lock(&self.tip).merged)
    }

    /// Changes the tip, and returns when the change is durable and published.
    ///
    /// `change` says whether the record or the map changed; intents it writes into the batch. An
    /// error of `change` must leave the mailbox as it was, [`Distrust::Exhausted`] excepted.
    pub async fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Merged, &mut Batch) -> Result<(T, bool), Distrust>,
    ) -> Result<T, AccountError> {
        let (value, queued) = {
            let mut tip = lock(&self.tip);
            if let Some(why) = &tip.failed {
                return Err(crate::index::IndexError::Failed(why.clone()).into());
            }
            let (before, seqs) = (tip.merged.map.clone(), tip.merged.mod_seqs.clone());
            let phase = tip.merged.phase;
            let mut batch = Batch::new();
            let changed = change(&mut tip.merged, &mut batch);
            let (value, changed) =
                changed.map_err(|why| AccountError::Distrust { mailbox: self.name(), why })?;
            let Tip { merged, shown, version, .. } = &mut *tip;
            if std::mem::take(&mut merged.owes_more) {
                batch.put_owed(self.account, self.id, &merged.owed);
            }
            if !merged.map.is_same(&before) || merged.phase != phase {
                *shown = merged.shown();
            }
            let changed = changed || !merged.map.is_same(&before);
            if !merged.map.is_same(&before) && merged.mod_seqs.highest() == seqs.highest() {
                merged.mod_seqs.bump();
            }
            // A new MODSEQ alone needs no write, unless it exceeds what is reserved, or something
            // is on its way that must be published before it.
            let counted = merged.mod_seqs != seqs;
            let in_flight = self.published.load().version != *version;
            if changed || (counted && (in_flight || merged.mod_seqs.exceeds_reserve())) {
                merged.mod_seqs.store(&mut merged.record);
                merged.record.map_sum = Some(merged.map.sum());
                batch.put_mailbox(self.account, &merged.record);
                let chunks = merged.map.changed_chunks(&before);
                batch.put_chunks(self.account, self.id, &chunks);
                let gone = before.diff(&merged.map).gone;
                batch.del_emails(self.account, self.id, &gone);
            }
            if batch.is_empty() && !counted {
                (value, None)
            } else {
                *version += 1;
                let view = view_of(&self.owner, merged, shown.clone(), *version);
                if batch.is_empty() {
                    self.publish(view);
                    (value, None)
                } else {
                    (value, Some((self.index.submit(batch), view)))
                }
            }
        };
        if let Some((durable, view)) = queued {
            let hub = Arc::clone(self);
            // A task of its own: whoever asked for the change may go away before it is published.
            let publishing = tokio::spawn(async move {
                let durable = durable.await;
                match &durable {
                    Ok(()) => hub.publish(view),
                    Err(e) => lock(&hub.tip).failed = Some(e.to_string()),
                }
                durable
            });
            match publishing.await {
                Ok(durable) => durable?,
                Err(e) => return Err(crate::index::IndexError::Failed(e.to_string()).into()),
            }
        }
        Ok(value)
    }

    /// Gives several mailboxes other names in one batch, behind what it holds already, and returns
    /// when it is durable and published.
    ///
    /// All tips are locked while the batch is queued: it never holds an older record than what
    /// some other change of theirs has queued before it.
    pub(super) async fn rename_together(
        index: &Index,
        mut renamed: Vec<(Arc<Mailbox>, Names)>,
        mut batch: Batch,
    ) -> Result<(), AccountError> {
        // One order for all who lock several.
        renamed.sort_by_key(|(mailbox, _)| mailbox.id);
        let (durable, views) = {
            let mut tips: Vec<(&Mailbox, &Names, MutexGuard<'_, Tip>)> =
                renamed.iter().map(|(m, names)| (&**m, names, lock(&m.tip))).collect();
            if let Some(why) = tips.iter().find_map(|(_, _, tip)| tip.failed.clone()) {
                return Err(crate::index::IndexError::Failed(why).into());
            }
            let mut views = Vec::with_capacity(tips.len());
            for (mailbox, names, tip) in &mut tips {
                let Merged { record, mod_seqs, .. } = &mut tip.merged;
                mod_seqs.store(record);
                names.give_to(record);
                batch.put_mailbox(mailbox.account, record);
                tip.version += 1;
                views.push(view_of(&mailbox.owner, &tip.merged, tip.shown.clone(), tip.version));
            }
            (index.submit(batch), views)
        };
        let durable = durable.await;
        for ((mailbox, _), view) in renamed.iter().zip(views) {
            match &durable {
                Ok(()) => mailbox.publish(view),
                Err(e) => lock(&mailbox.tip).failed = Some(e.to_string()),
            }
        }
        Ok(durable?)
    }

    /// The virtual MODSEQ of a message that has `value` on the side that decides over it.
    pub async fn mod_seq_of(self: &Arc<Self>, side: Side, value: u64) -> Result<u64, AccountError> {
        match self.published.load().mod_seqs.virtual_of(side, value) {
            Some(known) => Ok(known),
            None => self.change(|m, _| Ok((m.mod_seqs.told_ahead(side, value), false))).await,
        }
    }

    /// Takes over what the listing of folders told: the mailbox's names, and where it exists.
    pub(super) async fn set_listed(
        self: &Arc<Self>,
        told: &MailboxRecord,
    ) -> Result<(), AccountError> {
        self.change(|merged, _| {
            let record = &mut merged.record;
            let before = record.clone();
            record.old.clone_from(&told.old);
            record.new.clone_from(&told.new);
            record.listed = told.listed;
            if record.uid_validity == 0 {
                record.uid_validity = told.uid_validity;
            }
            Ok(((), *record != before))
        })
        .await
    }

    fn publish(&self, view: View) {
        self.version.send_if_modified(|version| {
            let newer = view.version > *version;
            if newer {
                *version = view.version;
                self.published.store(Arc::new(view));
            }
            newer
        });
    }
}

/// The flags of both lists, each once; the second alone where that is too many.
fn joined(known: &[Bytes], told: &[Bytes]) -> Vec<Bytes> {
    let has = |list: &[Bytes], flag: &Bytes| list.iter().any(|f| f.eq_ignore_ascii_case(flag));
    let mut all = known.to_vec();
    all.extend(told.iter().filter(|flag| !has(known, flag)).cloned());
    if all.len() > MOST_FLAGS { told.to_vec() } else { all }
}

fn view_of(owner: &AccountName, merged: &Merged, map: UidMap, version: u64) -> View {
    let record = &merged.record;
    let first_name = record.first_name.as_ref().unwrap_or(&record.client);
    View {
        version,
        map,
        phase: merged.phase,
        uid_validity: record.uid_validity,
        object_id: ObjectId::new(owner, first_name, record.uid_validity),
        uid_next: record.uid_next,
        mod_seqs: merged.mod_seqs.clone(),
        client: record.client.clone(),
        never: record
            .skipped_from
            .zip(record.boundary)
            .filter(|(from, boundary)| from < boundary)
            .map(|(from, boundary)| (from, Uid(boundary.0 - 1))),
        altered: Arc::clone(&record.altered),
        names: Sides::from_fn(|side| merged.name_on(side).filter(|_| merged.phase.has(side))),
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Every change under these locks is done in one step, so a panic elsewhere leaves them whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(flags: &[&str]) -> Vec<Bytes> {
        flags.iter().map(|flag| Bytes::copy_from_slice(flag.as_bytes())).collect()
    }

    #[test]
    fn a_keyword_that_is_known_is_not_forgotten_for_one_who_was_told_before() {
        let known = list(&["\\Seen", "$Label1"]);
        assert_eq!(joined(&known, &list(&["\\Seen"])), known);
        assert_eq!(joined(&known, &list(&["$label1", "New"])), list(&["\\Seen", "$Label1", "New"]));
    }

    #[test]
    fn a_server_that_invents_ever_new_flags_fills_no_memory() {
        let many: Vec<String> = (0..MOST_FLAGS).map(|n| format!("k{n}")).collect();
        let many = list(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(joined(&many, &list(&["one", "more"])), list(&["one", "more"]));
    }
}
