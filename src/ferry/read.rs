//! Reading messages that are to be carried, from a server that may not be able to give each of them.
//!
//! What it gives instead of a message is never taken for one: a copy of nothing would hide what old
//! still has, and may give again when it is repaired.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::append::is_put_off;
use super::carry::{Carry, Message};
use super::governor::Pace;
use super::tee::{Budget, Tee};
use crate::account::{AccountError, without_recent};
use crate::backend::{Collect, Conn, Fetched, Lease, text};
use crate::base::Side;
use crate::uid::{SideUid, Uid, UidSet};

/// So many messages of one batch may make the server hang up, before it is taken for broken itself.
const HUNG_UP: u32 = 8;

/// Octets of one batch that lie in memory; what goes beyond lies in spool files.
const BATCH_MEMORY: u64 = 2 << 20;

/// What became of reading a message.
pub(super) enum Read {
    /// It was read.
    Whole(Box<Message>),
    /// It is not there any more.
    Gone,
    /// It is there, and the server does not give it; its words, or ours.
    Refused(String),
}

impl Carry<'_> {
    /// Reads flags and dates of all, and the content of those that were not collected on the way.
    pub(super) async fn read(
        &self,
        mut old: Lease,
        wanted: &[(Uid, SideUid)],
        mut tees: HashMap<Uid, Tee>,
    ) -> Result<(Lease, Vec<Message>), AccountError> {
        let (have, need): (Vec<_>, Vec<_>) =
            wanted.iter().copied().partition(|(uid, _)| tees.contains_key(uid));
        let mut messages = Vec::new();
        if !have.is_empty() {
            let virtual_uid: HashMap<SideUid, Uid> = have.iter().map(|(v, o)| (*o, *v)).collect();
            let set: UidSet<SideUid> = have.iter().map(|(_, old)| *old).collect();
            let command = text(&format!("UID FETCH {set} (UID FLAGS INTERNALDATE)"));
            let mut news = Vec::new();
            let done = old
                .fetch(&command, |fetched| {
                    let (Some(old), Some(flags), Some(date)) =
                        (fetched.uid, fetched.flags(), fetched.internal_date())
                    else {
                        // Somebody has just changed them.
                        news.extend(fetched.uid.zip(fetched.flags()));
                        return;
                    };
                    let Some(uid) = virtual_uid.get(&old).copied() else { return };
                    if let Some(body) = tees.remove(&uid) {
                        let flags = without_recent(&flags);
                        messages.push(Message { uid, source: old, flags, date, body });
                    }
                })
                .await?;
            if !done.is_ok() {
                return Err(old.answer("UID FETCH (FLAGS INTERNALDATE)", &done).into());
            }
            for (uid, flags) in news {
                old.note_flags(uid, flags);
            }
        }
        if !need.is_empty() {
            old = self.read_contents(old, &need, &mut messages).await?;
        }
        messages.sort_by_key(|m| m.source);
        Ok((old, messages))
    }

    /// Reads whole messages. Where the server refuses, or gives less than was asked for, or hangs up,
    /// each that is missing is asked for on its own: one broken message never blocks the others.
    async fn read_contents(
        &self,
        mut old: Lease,
        need: &[(Uid, SideUid)],
        messages: &mut Vec<Message>,
    ) -> Result<Lease, AccountError> {
        let all: UidSet<SideUid> = need.iter().map(|(_, old)| *old).collect();
        let mut read = Vec::new();
        match self.read_set(&mut old, &all, need, &mut read).await {
            // What came before a NO may be what the NO is about.
            Ok(Some(_)) => read.clear(),
            Ok(None) => {}
            Err(e) if is_lost(&e) => old = self.replace(old).await?,
            Err(e) => return Err(e),
        }
        let there: BTreeSet<Uid> = read.iter().map(|m| m.uid).collect();
        messages.extend(read);
        let mut hung_up = 0;
        for (uid, side_uid) in need.iter().filter(|(uid, _)| !there.contains(uid)) {
            match self.read_one(&mut old, *uid, *side_uid).await {
                Ok(Read::Whole(message)) => messages.push(*message),
                Ok(Read::Gone) => {}
                Ok(Read::Refused(why)) => self.stuck(*uid, why).await?,
                Err(e) if is_lost(&e) && hung_up < HUNG_UP => {
                    hung_up += 1;
                    // It can be reached: so it is the message.
                    old = self.replace(old).await?;
                    self.stuck(*uid, e.to_string()).await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(old)
    }

    /// Another connection for one that broke.
    async fn replace(&self, broken: Lease) -> Result<Lease, AccountError> {
        // Nobody waits for a connection while holding one.
        drop(broken);
        self.mailbox.lease(&self.access, self.to.other()).await
    }

    /// Reads one message.
    pub(super) async fn read_one(
        &self,
        conn: &mut Conn,
        uid: Uid,
        side_uid: SideUid,
    ) -> Result<Read, AccountError> {
        let one: UidSet<SideUid> = [side_uid].into_iter().collect();
        let mut read = Vec::new();
        if let Some(why) = self.read_set(conn, &one, &[(uid, side_uid)], &mut read).await? {
            return Ok(Read::Refused(why));
        }
        if let Some(message) = read.pop() {
            return Ok(Read::Whole(Box::new(message)));
        }
        conn.must("NOOP", &text("NOOP")).await?;
        let there = conn.selected().is_some_and(|s| s.announced().contains(side_uid));
        let side = conn.side();
        Ok(if there {
            Read::Refused(format!("{side} does not give its content"))
        } else {
            Read::Gone
        })
    }

    /// Reads a set of messages. Returns the server's words if it said NO.
    async fn read_set(
        &self,
        conn: &mut Conn,
        set: &UidSet<SideUid>,
        need: &[(Uid, SideUid)],
        messages: &mut Vec<Message>,
    ) -> Result<Option<String>, AccountError> {
        let virtual_uid: HashMap<SideUid, Uid> = need.iter().map(|(v, o)| (*o, *v)).collect();
        let mut collecting = Collecting {
            budget: &self.copier.budget,
            pace: &self.pace,
            side: conn.side(),
            room: BATCH_MEMORY,
            due: None,
            body: None,
        };
        let each = |fetched: Fetched, collecting: &mut Collecting<'_>| {
            let body = collecting.body.take().filter(Tee::is_message);
            if let (Some(source), Some(flags), Some(date), Some(body)) =
                (fetched.uid, fetched.flags(), fetched.internal_date(), body)
                && let Some(uid) = virtual_uid.get(&source).copied()
            {
                messages.push(Message { uid, source, flags: without_recent(&flags), date, body });
            }
        };
        let done = conn.fetch_content(set, " FLAGS INTERNALDATE", &mut collecting, each).await?;
        if is_put_off(&done) {
            // Nothing is wrong with any of them.
            return Err(conn.answer("UID FETCH (BODY[])", &done).into());
        }
        Ok((!done.is_ok()).then(|| done.words()))
    }
}

/// The content of the message that comes just now, if it could be collected.
struct Collecting<'a> {
    budget: &'a Arc<Budget>,
    pace: &'a Pace,
    side: Side,
    /// So many more octets of the batch may lie in memory.
    room: u64,
    due: Option<Instant>,
    body: Option<Tee>,
}

impl Collect for Collecting<'_> {
    fn begin(&mut self, octets: u64) {
        self.body = self.budget.collect_within(octets, &mut self.room);
    }

    fn take(&mut self, octets: &[u8]) {
        if self.body.as_mut().is_some_and(|body| body.push(octets).is_err()) {
            self.body = None;
        }
        self.due = self.pace.due(self.side, octets.len());
    }

    fn not_before(&self) -> Option<Instant> {
        self.due
    }
}

fn is_lost(e: &AccountError) -> bool {
    matches!(e, AccountError::Backend(e) if e.is_lost())
}
