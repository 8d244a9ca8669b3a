//! Deciding over copies whose fate is unknown: after a crash, a lost connection, a late APPEND.
//!
//! Every open intent is looked for on new before anything is appended again, and once more after a
//! grace, for the first APPEND may still have been on its way. An arrival that was held back turns
//! out as a copy (same octets) or as mail of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::carry::{latest_flags, remove_copies, remove_orphans};
use super::copier::{Copier, lock};
use crate::account::{Access, AccountError, Copied, Likeness, Mailbox, Merged, likenesses};
use crate::backend::{Collect, Conn, Fetched, text};
use crate::base::Side;
use crate::index::Intent;
use crate::uid::{SideUid, Uid, UidSet};

/// Messages of new that are nobody's yet, among which copies are looked for.
#[derive(Default)]
pub(super) struct Candidates {
    like: Vec<(SideUid, Likeness)>,
    hashes: HashMap<SideUid, Option<[u8; 32]>>,
}

impl Candidates {
    /// Those at or above a UID that are not mapped.
    pub(super) async fn list(
        conn: &mut Conn,
        mailbox: &Arc<Mailbox>,
        from: Option<SideUid>,
    ) -> Result<Candidates, AccountError> {
        let (Some(from), Some(selected)) = (from, conn.selected()) else {
            return Ok(Candidates::default());
        };
        let above = selected.announced().range_from(from);
        let side = conn.side();
        let unmapped = |uid: &SideUid| mailbox.uid_of(side, *uid).is_none();
        let candidates: UidSet<SideUid> = above.iter().filter(unmapped).collect();
        let like = likenesses(conn, &candidates).await?;
        Ok(Candidates { like, hashes: HashMap::new() })
    }

    /// Somebody else has claimed these.
    pub(super) fn without(&mut self, taken: &BTreeSet<SideUid>) {
        self.like.retain(|(uid, _)| !taken.contains(uid));
    }

    /// Takes the message of an intent: at or above the UIDNEXT of then, like it, and with its octets.
    pub(super) async fn take(
        &mut self,
        copier: &Copier,
        conn: &mut Conn,
        intent: &Intent,
    ) -> Result<Option<SideUid>, AccountError> {
        for at in 0..self.like.len() {
            let (uid, likeness) = &self.like[at];
            let uid = *uid;
            if uid < intent.new_uid_next || !likeness.fits(intent) {
                continue;
            }
            let hash = match self.hashes.get(&uid) {
                Some(hash) => *hash,
                None => copier.hash_of(conn, uid).await?,
            };
            self.hashes.insert(uid, hash);
            if hash == Some(intent.hash) {
                self.like.remove(at);
                return Ok(Some(uid));
            }
        }
        Ok(None)
    }
}

impl Copier {
    /// Decides what can be decided. Returns whether something stays undecided.
    pub(super) async fn recover(&self, mailbox: &Arc<Mailbox>) -> Result<bool, AccountError> {
        mailbox.forget_old_intents().await?;
        let mut undecided = false;
        let access = self.access.load_full();
        if mailbox.peek(Merged::removes_twins) {
            self.remove_twins(mailbox, &access).await?;
        }
        for to in [Side::New, Side::Old] {
            undecided |= self.recover_on(mailbox, &access, to).await?;
        }
        Ok(undecided)
    }

    /// The same for copies that were to go to one side.
    pub(super) async fn recover_on(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Access,
        to: Side,
    ) -> Result<bool, AccountError> {
        let open: Vec<(Uid, Intent)> =
            mailbox.intents(to).into_iter().filter(|(_, i)| !i.closed).collect();
        if open.is_empty() && mailbox.held(to).is_empty() {
            return Ok(false);
        }
        // What is under way is decided by who carries it.
        let _turn = self.turn(mailbox).await?;
        let open: Vec<(Uid, Intent)> =
            mailbox.intents(to).into_iter().filter(|(_, i)| !i.closed).collect();
        let mut conn = mailbox.lease(access, to).await?;
        mailbox.follow(&mut conn).await?;
        mailbox.hear(&mut conn).await?;

        let mut found = Vec::new();
        let mut given_up = Vec::new();
        let mut undecided = false;
        let from = open.iter().map(|(_, intent)| intent.new_uid_next).min();
        let mut candidates = Candidates::list(&mut conn, mailbox, from).await?;
        for (uid, intent) in open {
            if let Some(new) = candidates.take(self, &mut conn, &intent).await? {
                found.push((uid, new));
                continue;
            }
            let key = (mailbox.id(), to, uid);
            let since = *lock(&self.unsure).entry(key).or_insert_with(Instant::now);
            if since.elapsed() >= self.config.copy.grace {
                given_up.push(uid);
            } else {
                undecided = true;
            }
        }
        if !found.is_empty() {
            info!(mailbox = %mailbox.name(), messages = found.len(), "copies found again on {to}");
            self.settle_found(mailbox, access, &mut conn, &found).await?;
        }
        if !given_up.is_empty() {
            info!(mailbox = %mailbox.name(), messages = given_up.len(), "copies begun anew");
            mailbox.abandon_copies(to, given_up.clone(), true).await?;
        }
        for uid in found.iter().map(|(uid, _)| *uid).chain(given_up) {
            lock(&self.unsure).remove(&(mailbox.id(), to, uid));
        }
        self.decide_held(mailbox, &mut conn).await?;
        mailbox.give_back(conn).await;
        Ok(undecided || !mailbox.held(to).is_empty())
    }

    /// Flags as they are on old now, then the change of place, with nobody writing in between.
    async fn settle_found(
        &self,
        mailbox: &Arc<Mailbox>,
        access: &Access,
        target: &mut Conn,
        found: &[(Uid, SideUid)],
    ) -> Result<(), AccountError> {
        // The one place that waits for old while it holds new. It is one connection an account, and
        // every pool has two or more, so those who wait the right way round are never all held up.
        let to = target.side();
        let mut source = mailbox.lease(access, to.other()).await?;
        let _alone = mailbox.alone().await;
        let mut copies = Vec::new();
        let mut orphans = BTreeMap::new();
        let places: Vec<(Uid, SideUid, SideUid)> = found
            .iter()
            .filter_map(|(uid, copy)| match mailbox.to_be_copied(*uid, to) {
                Some(source) => Some((*uid, source, *copy)),
                None => {
                    orphans.insert(*uid, *copy);
                    None
                }
            })
            .collect();
        let set: UidSet<SideUid> = places.iter().map(|(_, old, _)| *old).collect();
        let second_copies = match mailbox.second_copies_since(to.other()) {
            Some(since) => mailbox.read_second_copies(&mut source, &set, Some(since)).await?,
            None => HashMap::new(),
        };
        let flags = latest_flags(mailbox, &mut source, &set).await?;
        for (uid, old, new_uid) in places {
            let Some(list) = flags.get(&old) else {
                orphans.insert(uid, new_uid);
                continue;
            };
            let list = String::from_utf8_lossy(list);
            target
                .must("UID STORE", &text(&format!("UID STORE {new_uid} FLAGS.SILENT {list}")))
                .await?;
            copies.push(Copied { uid, copy: new_uid, second: second_copies.get(&old).copied() });
        }
        mailbox.wrote_flags(target);
        let refused = mailbox.commit_copies(to, copies).await?;
        orphans.extend(refused.iter().map(|copy| (copy.uid, copy.copy)));
        remove_orphans(target, mailbox, &orphans, true).await?;
        mailbox.give_back(source).await;
        Ok(())
    }

    /// Arrivals that were held back for their date: copies that turned up late, or mail.
    async fn decide_held(
        &self,
        mailbox: &Arc<Mailbox>,
        conn: &mut Conn,
    ) -> Result<(), AccountError> {
        let side = conn.side();
        for uid in mailbox.held(side) {
            let intents = mailbox.intents(side);
            if intents.values().any(|intent| !intent.closed) {
                // May still be claimed.
                continue;
            }
            let hash = self.hash_of(conn, uid).await?;
            let late = intents.values().any(|intent| Some(intent.hash) == hash);
            if late {
                info!(mailbox = %mailbox.name(), %side, %uid, "a copy turned up late");
                // Unless a client's COPY or APPEND turned out to have made it, meanwhile.
                if mailbox.hide_held(side, uid).await? {
                    remove_copies(conn, &[uid].into_iter().collect()).await?;
                }
            } else {
                mailbox.show_held(side, uid).await?;
            }
        }
        Ok(())
    }

    /// BLAKE3 of a message, as the server gives it back. `None`: it is not there.
    pub(super) async fn hash_of(
        &self,
        conn: &mut Conn,
        uid: SideUid,
    ) -> Result<Option<[u8; 32]>, AccountError> {
        let mut whole = Whole::default();
        let mut hash = None;
        let each = |fetched: Fetched, whole: &mut Whole| {
            let content = std::mem::take(whole).0;
            if fetched.uid == Some(uid) {
                hash = content.map(|hasher| *hasher.finalize().as_bytes());
            }
        };
        let one = [uid].into_iter().collect();
        let done = conn.fetch_content(&one, "", &mut whole, each).await?;
        if done.is_ok() { Ok(hash) } else { Err(conn.answer("UID FETCH (BODY[])", &done).into()) }
    }
}

/// A message that is hashed as it comes.
#[derive(Default)]
struct Whole(Option<blake3::Hasher>);

impl Collect for Whole {
    fn begin(&mut self, _octets: u64) {
        self.0 = Some(blake3::Hasher::new());
    }

    fn take(&mut self, octets: &[u8]) {
        if let Some(hasher) = &mut self.0 {
            hasher.update(octets);
        }
    }
}
