//! Second copies of mail that is delivered to both servers, and that come when the first copy is no more what lies
//! on its side alone: when it was carried, or when a client removed it. What they are told by is noted before
//! that, for a day; of what is older than an hour none is expected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use tokio::sync::RwLockWriteGuard;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::print::{Content, Hashing, Print};
use super::{FEW, read};
use crate::account::ledger::{REMEMBER, direction};
use crate::account::mailbox::{Mailbox, now};
use crate::account::status::found;
use crate::account::{Account, AccountError, Merged};
use crate::backend::{BackendError, Conn};
use crate::base::{Phase, Side, step};
use crate::imap::search::SearchDate;
use crate::index::{Batch, Fate, SecondCopy};
use crate::uid::{EmailId, Place, SideUid, Uid, UidSet};

/// A second copy comes within so many seconds of the first.
const APART: i64 = 3_600;
/// So long a client's own COPY or APPEND is waited for.
const OWN: Duration = Duration::from_secs(5);
/// So many octets of a message are looked at for its header fields.
const LONGEST_HEAD: usize = 64 << 10;
/// In seconds.
const DAY: i64 = 86_400;

/// A message read whole, for what its second copy would be told by.
#[derive(Default)]
pub struct Reading {
    head: Vec<u8>,
    hashing: Hashing,
}

impl Reading {
    /// Takes the next octets.
    pub fn update(&mut self, octets: &[u8]) {
        let missing = LONGEST_HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&octets[..missing.min(octets.len())]);
        self.hashing.update(octets);
    }

    /// Of the message that came at this instant, in seconds since 1970.
    pub fn finish(self, date: i64) -> SecondCopy {
        // Its fields end with the first empty line.
        let end = |empty: &[u8]| memmem::find(&self.head, empty);
        let end = [end(b"\r\n\r\n"), end(b"\n\n")].into_iter().flatten().min();
        let head = &self.head[..end.unwrap_or(self.head.len())];
        second_copy(&Print::of(SideUid(0), 0, Some(date), head), &self.hashing.finish())
    }
}

fn second_copy(print: &Print, content: &Content) -> SecondCopy {
    let Print { id, head, date, .. } = *print;
    let Content { text, trace } = *content;
    SecondCopy { id, head, date, text, trace, fate: Fate::Carried, written_at: now() }
}

impl Account {
    /// Messages that came at these instants, in seconds since 1970, are about to be carried to a side: what clients
    /// moved on the other one may be among them, and may be put back there from now on.
    pub async fn come_to(&self, side: Side, dates: &HashSet<i64>) -> Result<(), AccountError> {
        let open_all = || async {
            let expecting = self.index.expecting(self.id).await?;
            for record in self.records().await? {
                if expecting.contains(&record.id) && !record.hidden {
                    self.hub_of(record.id, &record.client).await?;
                }
            }
            Ok::<(), AccountError>(())
        };
        self.expecting.get_or_try_init(open_all).await?;
        self.matchmaker.carries(side, dates);
        let open: Vec<Arc<Mailbox>> = self.open.iter().map(|m| Arc::clone(&m)).collect();
        for mailbox in open {
            mailbox.may_be_put_back(side, dates).await?;
        }
        Ok(())
    }
}

impl Mailbox {
    /// Since when mail on this side must have come for its second copy to be expected, in seconds since 1970;
    /// `None`: whenever it came.
    fn expected_since(&self, side: Side, removing: bool) -> Option<i64> {
        let (phase, since, alone) =
            self.peek(|m| (m.phase, m.phase_since, !m.new_alone().is_empty()));
        // Old counted anew, and the links to what new has are lost.
        if removing && phase == Phase::Old && side == Side::Old && alone {
            return None;
        }
        let mut from = now();
        // The other side has not been asked since then.
        if removing && phase != Phase::Merged && since > 0 {
            from = from.min(since);
        }
        Some(i64::try_from(from).unwrap_or(i64::MAX) - APART)
    }

    /// A client is about to remove some of these messages from the connection's side, or to move them away:
    /// of what lies there alone, and came lately, a second copy may have yet to come to the other side.
    /// `marked`: only what has `\Deleted` goes. `fate`: what becomes of them.
    ///
    /// A server that does not tell what they are does not keep a client from removing them.
    pub async fn note_second_copies(
        self: &Arc<Self>,
        conn: &mut Conn,
        uids: &UidSet<SideUid>,
        marked: bool,
        fate: Fate,
    ) -> Result<(), AccountError> {
        let side = conn.side();
        let since = self.expected_since(side, true);
        // What is seen twice may be removed for just that: then the other one stays.
        let late = |m: &Merged| !m.record.shown_late[side.other()].is_empty();
        let twice = self.peek(|m| m.phase == Phase::Merged && late(m));
        let fate = if twice { Fate::Moved } else { fate };
        let mut alone = UidSet::new();
        if self.expects_second_copies(side) {
            alone = self.without_second_copy(side, uids);
        }
        let expected = self.with_second_copy(side, uids);
        if alone.is_empty() && expected.is_empty() {
            return Ok(());
        }
        // A day earlier: servers count days in zones of their own.
        let day = since.and_then(|since| SearchDate::of_instant(since - DAY));
        let key = match (marked, day) {
            (true, Some(day)) => format!("DELETED SINCE {day}"),
            (true, None) => "DELETED".to_owned(),
            (false, Some(day)) => format!("SINCE {day}"),
            (false, None) => "ALL".to_owned(),
        };
        let going = match found(conn, &key, &alone.union(&expected)).await {
            Ok(found) => found,
            Err(e @ BackendError::Answer { .. }) => {
                warn!(mailbox = %self.name(), "a second copy of what goes may be shown: {e}");
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let uids = self.peek(|m| going.iter().filter_map(|uid| m.map.uid_of(side, uid)).collect());
        let emails = self.index.emails(self.account, self.id, uids).await?;
        let id = self.view().object_id;
        // What a client brought here was not delivered here.
        let brought = |uid: &SideUid| {
            let email = self.peek(|m| m.map.uid_of(side, *uid)).and_then(|uid| emails.get(&uid));
            email.is_some_and(|email| email.mailbox != id)
        };
        let alone: UidSet<SideUid> =
            alone.intersect(&going).iter().filter(|uid| !brought(uid)).collect();
        let second_copies = self.read_second_copies(conn, &alone, since).await?;
        let expected = expected.intersect(&going);
        if second_copies.is_empty() && expected.is_empty() {
            return Ok(());
        }
        // Who removes what he has copied has moved it.
        let fate_of = |uid: Uid, date: i64| match emails.contains_key(&uid) {
            true if self.matchmaker.has_carried(side.other(), date) => Fate::Moved,
            true if fate == Fate::Removed => Fate::MovedAlone,
            _ => fate,
        };
        self.change(|m, batch| {
            self.forget_second_copies(m, batch);
            for (on_side, second) in &second_copies {
                if let Some(uid) = m.map.uid_of(side, *on_side) {
                    let second = SecondCopy { fate: fate_of(uid, second.date), ..*second };
                    self.expect_second_copy(m, batch, side.other(), uid, second);
                }
            }
            for on_side in expected.iter() {
                if let Some(uid) = m.map.uid_of(side, on_side) {
                    self.change_fate(m, batch, uid, side, fate_of);
                }
            }
            Ok(((), false))
        })
        .await?;
        step("second copies: what they are told by is noted");
        debug!(mailbox = %self.name(), %side, messages = second_copies.len(), "second copies may come");
        Ok(())
    }

    /// What became of a message of which a second copy is expected: a client took it from a side. That somebody may
    /// put it back stays so.
    fn change_fate(
        &self,
        merged: &mut Merged,
        batch: &mut Batch,
        uid: Uid,
        from: Side,
        fate_of: impl Fn(Uid, i64) -> Fate,
    ) {
        for side in Side::BOTH {
            let second = merged.second_copies[side].get_mut(&uid);
            let Some(second) = second.filter(|second| second.fate != Fate::Moved) else { continue };
            let fate = fate_of(uid, second.date);
            // Where it was moved, there it is.
            let moved_here = fate == Fate::MovedAlone && side == from;
            second.fate = if moved_here { Fate::Moved } else { fate };
            batch.put_second_copy(self.account, self.id, uid, direction(side), Some(second));
        }
    }

    /// What was taken from here comes back by a client's own command: if a second copy comes, it is one of this.
    pub fn is_back(&self, merged: &mut Merged, batch: &mut Batch, back: Uid, email: EmailId) {
        if email.mailbox != self.view().object_id || merged.map.place(email.uid).is_some() {
            return;
        }
        for side in Side::BOTH {
            if let Some(second) = merged.second_copies[side].remove(&email.uid) {
                batch.put_second_copy(self.account, self.id, email.uid, direction(side), None);
                let second = SecondCopy { fate: Fate::Carried, ..second };
                self.expect_second_copy(merged, batch, side, back, second);
            }
        }
    }

    /// Messages that came at these instants, in seconds since 1970, are about to come to a side: what was moved
    /// on the other one may be among them, and may be put back from now on.
    async fn may_be_put_back(
        self: &Arc<Self>,
        side: Side,
        dates: &HashSet<i64>,
    ) -> Result<(), AccountError> {
        let alone =
            |second: &SecondCopy| second.fate == Fate::MovedAlone && dates.contains(&second.date);
        if !self.peek(|m| m.second_copies[side].values().any(alone)) {
            return Ok(());
        }
        self.change(|m, batch| {
            for (uid, second) in
                m.second_copies[side].iter_mut().filter(|(_, second)| alone(second))
            {
                second.fate = Fate::Moved;
                batch.put_second_copy(self.account, self.id, *uid, direction(side), Some(second));
            }
            Ok(((), false))
        })
        .await
    }

    /// Since when mail that is about to be carried from this side must have come for its second copy to be
    /// expected, in seconds since 1970; `None`: none is.
    pub fn second_copies_since(&self, side: Side) -> Option<i64> {
        self.expected_since(side, false).filter(|_| self.expects_second_copies(side))
    }

    /// Whether mail on this side may come to the other one as well, as far as anybody knows.
    fn expects_second_copies(&self, side: Side) -> bool {
        self.matchmaker.is_wanted() && self.has_seen(side.other())
    }

    /// Those of the messages that lie on this side alone, and of which no second copy is expected yet.
    fn without_second_copy(&self, side: Side, uids: &UidSet<SideUid>) -> UidSet<SideUid> {
        self.peek(|m| {
            let alone = |place: Place| place.on(side).is_some() && place.on(side.other()).is_none();
            let runs = m.map.runs().filter(|run| alone(run.place));
            let ranges = runs.filter_map(|run| {
                let first = run.place.on(side)?;
                Some((first, SideUid(first.0 + (run.len - 1))))
            });
            let expected = m.second_copies[side.other()].keys();
            let expected = expected.filter_map(|uid| m.map.place(*uid)?.on(side)).collect();
            UidSet::from_ranges(ranges).intersect(uids).subtract(&expected)
        })
    }

    /// Those of the messages of which a second copy is expected.
    fn with_second_copy(&self, side: Side, uids: &UidSet<SideUid>) -> UidSet<SideUid> {
        self.peek(|m| {
            let expected = m.second_copies.iter().flat_map(|(_, all)| all.keys());
            let there = expected.filter_map(|uid| m.map.place(*uid)?.on(side));
            there.filter(|uid| uids.contains(*uid)).collect()
        })
    }

    /// What second copies of these messages would be told by, of those that came `since`.
    pub async fn read_second_copies(
        &self,
        conn: &mut Conn,
        uids: &UidSet<SideUid>,
        since: Option<i64>,
    ) -> Result<HashMap<SideUid, SecondCopy>, BackendError> {
        let mut prints = read::prints(conn, uids).await?;
        prints.retain(|print| since.is_none_or(|since| print.date >= since));
        let lately: UidSet<SideUid> = prints.iter().map(|print| print.uid).collect();
        let contents = read::contents(conn, &lately).await?;
        let second =
            |print: &Print| Some((print.uid, second_copy(print, contents.get(&print.uid)?)));
        Ok(prints.iter().filter_map(second).collect())
    }

    /// From now on a second copy of a message may come to a side.
    pub(in crate::account) fn expect_second_copy(
        &self,
        merged: &mut Merged,
        batch: &mut Batch,
        side: Side,
        uid: Uid,
        second: SecondCopy,
    ) {
        batch.put_second_copy(self.account, self.id, uid, direction(side), Some(&second));
        merged.second_copies[side].insert(uid, second);
    }

    /// Which of these messages, of the connection's side, are second copies, and of what.
    pub(super) async fn second_copies_among(
        &self,
        conn: &mut Conn,
        uids: &UidSet<SideUid>,
    ) -> Result<Vec<(SideUid, Uid)>, BackendError> {
        let side = conn.side();
        let mut expected = self.peek(|m| {
            let lives = |uid: &Uid| m.map.place(*uid).is_some();
            let all = m.second_copies[side].iter().map(|(uid, second)| (*uid, *second, lives(uid)));
            all.collect::<Vec<(Uid, SecondCopy, bool)>>()
        });
        if expected.is_empty() || uids.is_empty() {
            return Ok(Vec::new());
        }
        let mut near = uids.clone();
        if uids.len() > FEW {
            let dated = |(_, second, _): &(Uid, SecondCopy, bool)| Print::dated(second.date);
            let dated: Vec<Print> = expected.iter().map(dated).collect();
            near = read::near(conn, &dated, uids).await?;
        }
        let mut prints = read::prints(conn, &near).await?;
        let like =
            |print: &Print, second: &SecondCopy| (print.id, print.head) == (second.id, second.head);
        prints.retain(|print| expected.iter().any(|(_, second, _)| like(print, second)));
        let alike = prints.iter().map(|print| print.uid).collect();
        let contents = read::contents(conn, &alike).await?;
        let mut found = Vec::new();
        for print in &prints {
            let Some(content) = contents.get(&print.uid) else { continue };
            // What is the same in all may be no other delivery: somebody has put the message back.
            let again = |second: &SecondCopy, lives: bool| {
                let same = (second.trace, second.date) == (content.trace, print.date);
                let may_be_back = match second.fate {
                    Fate::Carried => !lives,
                    Fate::Removed | Fate::MovedAlone => false,
                    Fate::Moved => true,
                };
                same && may_be_back
            };
            let is_it = |(_, second, lives): &(Uid, SecondCopy, bool)| {
                like(print, second) && second.text == content.text && !again(second, *lives)
            };
            // Each has one second copy.
            if let Some(at) = expected.iter().position(is_it) {
                found.push((print.uid, expected.swap_remove(at).0));
            }
        }
        Ok(found)
    }

    /// Waits until a client's own copies have their UIDs, which are no second copies; held, none gets others
    /// meanwhile. Where that takes long, nothing is known of these messages.
    pub(super) async fn none_is_own(
        &self,
        second_copies: &mut Vec<(SideUid, Uid)>,
    ) -> Option<RwLockWriteGuard<'_, ()>> {
        if second_copies.is_empty() {
            return None;
        }
        let settled = timeout(OWN, self.copies_to_here.write()).await.ok();
        if settled.is_none() {
            second_copies.clear();
        }
        settled
    }

    /// Takes second copies out of sight. Returns whether there were any.
    pub(super) fn take_second_copies(
        self: &Arc<Self>,
        merged: &mut Merged,
        batch: &mut Batch,
        side: Side,
        second_copies: &[(SideUid, Uid)],
    ) -> bool {
        let mut taken = 0;
        for (copy, of) in second_copies {
            if merged.take_second_copy(side, *of, *copy) {
                merged.second_copies[side].remove(of);
                batch.put_second_copy(self.account, self.id, *of, direction(side), None);
                taken += 1;
            }
        }
        if taken > 0 {
            let mailbox = &merged.record.client;
            info!(%mailbox, %side, messages = taken, "second copies came, of what is known");
            self.undecided.note(self);
        }
        taken > 0
    }

    /// What was expected while new was not looked at is expected from now on.
    pub(in crate::account) fn go_on_expecting(&self, merged: &mut Merged, batch: &mut Batch) {
        for side in Side::BOTH {
            for (uid, second) in &mut merged.second_copies[side] {
                second.written_at = now();
                batch.put_second_copy(self.account, self.id, *uid, direction(side), Some(second));
            }
        }
    }

    /// Forgets second copies whose time is over. While old decides, new is not looked at, and they wait.
    pub(in crate::account) async fn forget_old_second_copies(
        self: &Arc<Self>,
    ) -> Result<(), AccountError> {
        if self.peek(|m| m.second_copies.iter().all(|(_, all)| all.is_empty())) {
            return Ok(());
        }
        self.change(|merged, batch| {
            self.forget_second_copies(merged, batch);
            Ok(((), false))
        })
        .await
    }

    fn forget_second_copies(&self, merged: &mut Merged, batch: &mut Batch) {
        if merged.phase == Phase::Old {
            return;
        }
        let over = |second: &SecondCopy| now().saturating_sub(second.written_at) > REMEMBER;
        for side in Side::BOTH {
            merged.second_copies[side].retain(|uid, second| {
                if over(second) {
                    batch.put_second_copy(self.account, self.id, *uid, direction(side), None);
                }
                !over(second)
            });
        }
    }
}
