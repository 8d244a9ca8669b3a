//! Connections for a mailbox: lending them, and taking what they hear into the hub.
//!
//! Every connection that was lent for a mailbox gives what it heard back to the hub, so that all
//! sessions learn of it; `backend` itself knows no hub.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

use super::mailbox::{FlagsOffered, Mailbox, SessionId, now};
use super::matching::FIRST_VIEW;
use super::merge::{Distrust, Likeness, Report};
use super::{Access, AccountError};
use crate::backend::{BackendError, Conn, Lease, Moment, News, Want, internal_date, text};
use crate::base::Side;
use crate::config::Quirk;
use crate::imap::scan;
use crate::index::Snapshot;
use crate::uid::{Place, SideUid, Uid, UidSet};

/// Octets of one command to a server (DESIGN §3).
pub const MAX_COMMAND: usize = 8_000;

/// Of so many arrivals at once the flags are asked for; of more, a client has to ask anyway.
const FEW_ARRIVALS: u32 = 64;

/// So often is asked for flags of which two connections told differently.
const ASK_FLAGS: usize = 3;

impl Mailbox {
    /// Lends a connection of one side with this mailbox selected, its news already absorbed.
    ///
    /// # Errors
    /// Also if the mailbox turns out to have become another one on that side: whatever was to be
    /// done was planned with numbers that mean nothing any more.
    pub async fn lease(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
    ) -> Result<Lease, AccountError> {
        let incarnation = self.peek(|m| m.incarnations[side]);
        let mut lease = access.pools[side].lend(&self.want(side)?).await?;
        let heard = self.hear(&mut lease).await;
        self.start_matching(access);
        self.answers(side);
        if self.is_another(&heard) || self.peek(|m| m.incarnations[side]) != incarnation {
            access.pools[side].forget_selected();
            let why = Distrust::Stale { side };
            return Err(AccountError::Distrust { mailbox: self.name(), why });
        }
        heard?;
        Ok(lease)
    }

    /// The same for who looks at flags: the connection has heard of what others have changed.
    pub async fn lease_to_look(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
    ) -> Result<Lease, AccountError> {
        let mut lease = self.lease(access, side).await?;
        self.catch_up(&mut lease).await?;
        Ok(lease)
    }

    /// Makes a connection ready to change flags. Courier computes keywords from those that the
    /// connection knows, and takes away again what others have set; who counts changes does not.
    pub async fn catch_up_to_write(self: &Arc<Self>, conn: &mut Conn) -> Result<(), AccountError> {
        if conn.profile().condstore() { Ok(()) } else { self.catch_up(conn).await }
    }

    /// Has a connection told of what others have changed, if there is anything.
    pub async fn catch_up(self: &Arc<Self>, conn: &mut Conn) -> Result<(), AccountError> {
        if self.is_behind(conn) {
            self.follow(conn).await?;
            self.hear(conn).await?;
        }
        Ok(())
    }

    /// Has a connection told of all that was changed over others until now: what its server says
    /// of flags, it may otherwise take from before.
    pub async fn follow(&self, conn: &mut Conn) -> Result<(), BackendError> {
        let now = self.moment();
        conn.must("NOOP", &text("NOOP")).await?;
        if let Some(selected) = conn.selected_mut() {
            selected.followed = now;
        }
        Ok(())
    }

    fn is_another(&self, heard: &Result<(), AccountError>) -> bool {
        matches!(heard, Err(AccountError::Distrust { why: Distrust::Stale { .. }, .. }))
    }

    pub(super) fn want(&self, side: Side) -> Result<Want, AccountError> {
        // Also of a side that the phase does not have: its pool decides whether it may be asked.
        let name = self.peek(|m| m.name_on(side));
        let name = name.ok_or_else(|| AccountError::NotThere { mailbox: self.name(), side })?;
        Ok(Want::Mailbox(name, self.known(side)))
    }

    /// Gives a connection back, having taken its news. Trouble with the news is logged: it costs
    /// the connection, never the operation that is already done.
    pub async fn give_back(self: &Arc<Self>, mut lease: Lease) {
        match self.hear(&mut lease).await {
            Ok(()) => lease.give_back(),
            Err(e) => warn!(mailbox = %self.name(), side = %lease.side(), "news not taken: {e}"),
        }
    }

    /// Takes what a connection has heard of this mailbox into the map.
    pub async fn hear(self: &Arc<Self>, conn: &mut Conn) -> Result<(), AccountError> {
        let side = conn.side();
        conn.list_arrivals().await?;
        let Some(selected) = conn.selected_mut() else { return Ok(()) };
        let incarnation = self.peek(|m| m.incarnations[side]);
        if selected.incarnation != incarnation {
            let why = Distrust::Stale { side };
            return Err(AccountError::Distrust { mailbox: self.name(), why });
        }
        if !selected.fresh {
            self.learn_flags(conn);
        }
        let Some(selected) = conn.selected_mut() else { return Ok(()) };
        let arrived = !self.peek(|m| m.arrivals(side, selected.announced())).is_empty();
        if arrived && let Err(full) = self.room() {
            // It stays with the connection, or is listed again. What is known can be read meanwhile.
            return if self.has_seen(side) { Ok(()) } else { Err(full) };
        }
        let complete = std::mem::take(&mut selected.fresh);
        let News { vanished, flags } = std::mem::take(&mut selected.news);
        let mut flags: Vec<(SideUid, Bytes)> = flags.into_iter().collect();
        let followed = selected.followed;
        // Only what SELECT told can say that the side's count was made anew.
        let before = selected.before.filter(|_| complete).and_then(|b| b.highest_mod_seq);
        if complete {
            self.offer_flags(
                side,
                FlagsOffered {
                    flags: selected.flags.clone(),
                    permanent: selected.permanent_flags.clone(),
                },
            );
        }
        let arrivals = self.peek(|m| m.arrivals(side, selected.announced()));
        let known = self.peek(|m| {
            let same = |absorbed: &Snapshot, told: &Snapshot| {
                Snapshot { highest_mod_seq: None, ..*absorbed }
                    == Snapshot { highest_mod_seq: None, ..*told }
            };
            m.record.sides[side].as_ref().is_some_and(|known| same(known, &selected.snapshot()))
                && m.live[side].as_ref().map(UidSet::len) == Some(selected.announced().len())
        });
        let absorbed = self.peek(|m| m.mod_seqs.absorbed(side));
        let missed = complete && selected.highest_mod_seq.is_some_and(|told| told > absorbed);
        if missed && absorbed > 0 && self.listeners() > 0 {
            // Nobody listened when these were changed, and somebody wants to hear of it.
            flags.extend(self.changed_since(conn, absorbed).await?);
        }
        if absorbed > 0 && arrivals.len() <= FEW_ARRIVALS {
            self.flags_of_arrivals(conn, &arrivals, &mut flags).await?;
        }
        if !vanished.is_empty() || !arrivals.is_empty() || (complete && !known) {
            let hold = self.possible_copies(conn, &arrivals).await?;
            let Some(selected) = conn.selected() else { return Ok(()) };
            let report = Report {
                snapshot: selected.snapshot(),
                before: selected.before,
                announced: selected.announced(),
                complete,
                vanished: &vanished,
                hold: &hold,
                incarnation,
                matching: self.matchmaker.is_wanted(),
            };
            let (held, another) = self
                .change(|merged, _| {
                    let changed = merged.see(side, &report, now())?;
                    merged.absorb_mod_seq(side, report.snapshot.highest_mod_seq, before);
                    let another = merged.incarnations[side];
                    Ok(((!merged.held[side].is_empty(), another), changed))
                })
                .await?;
            // What is held already has been noted: whoever decides must not wake itself for ever.
            if held && !hold.is_empty() {
                self.undecided.note(self);
            }
            self.go_on_matching();
            if side == Side::New && !arrivals.is_empty() {
                self.look_for_debts();
            }
            if another != incarnation {
                warn!(
                    mailbox = %self.name(), %side,
                    "is another mailbox than before, made anew or put back from a backup: what it \
                     lacks is shown as the other side has it, and what is the same is found again"
                );
                if let Some(selected) = conn.selected_mut() {
                    selected.incarnation = another;
                }
            }
        }
        // The flags that a message came with belong to its arrival, and are no news of their own.
        let (first, flags): (Vec<_>, Vec<_>) =
            flags.into_iter().partition(|(uid, _)| arrivals.contains(*uid));
        for (uid, list) in first {
            if let Some(uid) = self.uid_of(side, uid) {
                self.remember_flags(uid, without_recent(&list), side);
            }
        }
        // What a server told unasked may have been true long ago, but not before the connection
        // had followed the others.
        let doubtful = self.hear_flags(conn, &flags, before, None, followed).await?;
        if !doubtful.is_empty() {
            self.ask_flags(conn, doubtful).await?;
        }
        Ok(())
    }

    /// Passes on what one side told of flags, each with a MODSEQ above all that were told before.
    /// Returns those of which something else was told since: then nobody knows which is older.
    pub async fn hear_flags(
        self: &Arc<Self>,
        conn: &mut Conn,
        flags: &[(SideUid, Bytes)],
        before: Option<u64>,
        origin: Option<SessionId>,
        since: Moment,
    ) -> Result<UidSet<SideUid>, AccountError> {
        let side = conn.side();
        self.learn_flags(conn);
        if let Some(told) = conn.selected().and_then(|s| s.highest_mod_seq) {
            let absorbed = self.peek(|m| m.mod_seqs.absorbed(side));
            if told > absorbed || before.is_some_and(|before| told < before) {
                self.change(|merged, _| {
                    merged.absorb_mod_seq(side, Some(told), before);
                    Ok(((), false))
                })
                .await?;
            }
        }
        let told =
            |(uid, list): &(SideUid, Bytes)| self.heard_flags(conn, *uid, list, origin, since);
        Ok(flags.iter().filter(|news| !told(news)).map(|(uid, _)| *uid).collect())
    }

    /// Learns of a few arrivals the flags they came with, and their MODSEQ, which no EXISTS tells:
    /// else the next connection that selects the mailbox would take them for changes.
    async fn flags_of_arrivals(
        &self,
        conn: &mut Conn,
        arrivals: &UidSet<SideUid>,
        flags: &mut Vec<(SideUid, Bytes)>,
    ) -> Result<(), BackendError> {
        if arrivals.is_empty() || !conn.profile().condstore() {
            return Ok(());
        }
        let command = text(&format!("UID FETCH {arrivals} (UID FLAGS MODSEQ)"));
        let mut counted = false;
        let before = flags.len();
        let each = |fetched: crate::backend::Fetched| {
            if let (Some(uid), Some(list)) = (fetched.uid, fetched.flags()) {
                counted |= fetched.mod_seq().is_some();
                flags.push((uid, list));
            }
        };
        let done = conn.fetch(&command, each).await?;
        if done.is_ok() && flags.len() > before && !counted {
            conn.shows(Quirk::NoModseq);
        }
        if done.is_ok() { Ok(()) } else { Err(conn.answer("UID FETCH (FLAGS MODSEQ)", &done)) }
    }

    /// Flags that were changed while no connection had the mailbox selected.
    async fn changed_since(
        &self,
        conn: &mut Conn,
        absorbed: u64,
    ) -> Result<Vec<(SideUid, Bytes)>, BackendError> {
        let mut changed = Vec::new();
        let command = format!("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE {absorbed})");
        let each = |fetched: crate::backend::Fetched| {
            if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
                changed.push((uid, flags));
            }
        };
        let done = conn.fetch(&text(&command), each).await?;
        if done.is_ok() { Ok(changed) } else { Err(conn.answer("UID FETCH CHANGEDSINCE", &done)) }
    }

    /// Asks for flags of which two connections told differently, and tells them as they are.
    async fn ask_flags(
        &self,
        conn: &mut Conn,
        mut doubtful: UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        for attempt in 1..=ASK_FLAGS {
            // Changed again in the meantime that often, they are told by whoever changes them.
            let since = if attempt == ASK_FLAGS { Moment::LAST } else { self.moment() };
            // Courier tells what it knew before, until it is asked for news.
            conn.must("NOOP", &text("NOOP")).await?;
            let mut answers = Vec::new();
            for set in doubtful.chunks_of(MAX_COMMAND) {
                let command = text(&format!("UID FETCH {set} (UID FLAGS)"));
                let each = |fetched: crate::backend::Fetched| {
                    if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
                        answers.push((uid, flags));
                    }
                };
                let done = conn.fetch(&command, each).await?;
                if !done.is_ok() {
                    return Err(conn.answer("UID FETCH FLAGS", &done).into());
                }
            }
            let told =
                |(uid, list): &(SideUid, Bytes)| self.heard_flags(conn, *uid, list, None, since);
            doubtful = answers.iter().filter(|news| !told(news)).map(|(uid, _)| *uid).collect();
            if doubtful.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Passes a side's FLAGS on, if that side decides over the message. False if something else
    /// was told `since`: then nobody knows which is older.
    fn heard_flags(
        &self,
        conn: &Conn,
        uid: SideUid,
        list: &[u8],
        origin: Option<SessionId>,
        since: Moment,
    ) -> bool {
        let (side, by) = (conn.side(), Some(conn.id()));
        let decided = self.peek(|m| {
            let uid = m.map.uid_of(side, uid)?;
            let place = m.map.place(uid)?;
            (m.authority(place) == side).then_some(uid)
        });
        decided
            .is_none_or(|uid| self.tell_flags(uid, without_recent(list), origin, since, (side, by)))
    }

    /// Which arrivals may be copies of ours: those that are like one that was begun.
    async fn possible_copies(
        &self,
        conn: &mut Conn,
        arrivals: &UidSet<SideUid>,
    ) -> Result<BTreeMap<SideUid, Likeness>, BackendError> {
        let mut hold = BTreeMap::new();
        if arrivals.is_empty() {
            return Ok(hold);
        }
        let side = conn.side();
        let (expected, unmatched) = self.peek(|m| (m.intents[side].clone(), m.record.matching));
        // What waits to be matched is none: no copy was begun before all of it was seen.
        let unmatched = unmatched.filter(|_| side == Side::New);
        let arrivals = arrivals.range_from(unmatched.unwrap_or(SideUid(1)));
        if expected.is_empty() || arrivals.is_empty() {
            return Ok(hold);
        }
        for (uid, likeness) in likenesses(conn, &arrivals).await? {
            if expected.values().any(|intent| likeness.fits(intent)) {
                hold.insert(uid, likeness);
            }
        }
        Ok(hold)
    }

    /// Brings the mailbox up to date from both sides: what SELECT and NOOP stand on. What lies on
    /// both is matched for a little while (`first_view`).
    ///
    /// # Errors
    /// Only where nothing right can be shown: a side that holds messages never seen is away, old or
    /// the only one that has the mailbox. A
    /// side that was absorbed before may be away; its messages stay listed (DESIGN §6).
    pub async fn refresh(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
        self.absorb(access).await?;
        self.first_view(Instant::now() + FIRST_VIEW).await;
        Ok(())
    }

    /// The same, without waiting for anything to be matched.
    pub(super) async fn absorb(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
        if self.absorb_once(access).await? {
            // Over connections that were not open before.
            self.absorb_once(access).await?;
        }
        Ok(())
    }

    /// Brings the mailbox up to date from both sides, whatever the phase has of them.
    ///
    /// # Errors
    /// Also where one side could go on without the other.
    pub async fn absorb_both(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
        for side in Side::BOTH {
            if self.peek(|m| m.is_there(side)) {
                let mut lease = self.lease(access, side).await?;
                lease.must("NOOP", &text("NOOP")).await?;
                self.hear(&mut lease).await?;
                lease.give_back();
            }
        }
        self.start_matching(access);
        self.first_view(Instant::now() + FIRST_VIEW).await;
        Ok(())
    }

    /// Returns whether a side's mailbox has become another one.
    async fn absorb_once(self: &Arc<Self>, access: &Access) -> Result<bool, AccountError> {
        let _one_at_a_time = self.opening.lock().await;
        let names = self.view().names.clone();
        // Both sides in parallel; slots are taken in the sides' order (see `backend::Pool`).
        let mut slots = Vec::new();
        for side in Side::BOTH.into_iter().filter(|side| names[*side].is_some()) {
            slots.push((side, access.pools[side].slot().await));
        }
        let asked = slots.into_iter().map(|(side, slot)| async move {
            let lease = async {
                let mut lease = access.pools[side].lend_in(slot?, &self.want(side)?).await?;
                if !lease.selected().is_some_and(|s| s.fresh) {
                    self.follow(&mut lease).await?;
                }
                Ok::<Lease, AccountError>(lease)
            };
            (side, lease.await)
        });
        let mut another = false;
        for (side, lease) in futures_util::future::join_all(asked).await {
            let incarnation = self.peek(|m| m.incarnations[side]);
            let heard = match lease {
                Ok(mut lease) => match self.hear(&mut lease).await {
                    Ok(()) => {
                        lease.give_back();
                        self.answers(side);
                        Ok(())
                    }
                    Err(e) => Err(e),
                },
                Err(e) => Err(e),
            };
            if self.is_another(&heard) || self.peek(|m| m.incarnations[side]) != incarnation {
                // Connections that know it as it was are of no use.
                access.pools[side].forget_selected();
                another = true;
            }
            if let Err(e) = heard {
                if (side == Side::Old || names.old.is_none()) && !self.has_seen(side) {
                    return Err(e);
                }
                let shared = matches!(e, AccountError::Distrust { .. }) && self.is_shared();
                if shared || matches!(e, AccountError::Index(_)) {
                    return Err(e);
                }
                warn!(mailbox = %self.name(), %side, "goes on without this side: {e}");
            }
        }
        self.start_matching(access);
        Ok(another)
    }

    /// The places of messages, as of what is durable.
    pub fn place(&self, uid: Uid) -> Option<Place> {
        self.view().map.place(uid)
    }
}

/// By what messages can be told to be like a copy that was begun.
pub async fn likenesses(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<Vec<(SideUid, Likeness)>, BackendError> {
    let mut found = Vec::new();
    for set in uids.chunks_of(MAX_COMMAND) {
        let command = text(&format!("UID FETCH {set} (UID INTERNALDATE RFC822.SIZE)"));
        let done = conn
            .fetch(&command, |fetched| {
                let date = fetched.internal_date().and_then(|date| internal_date(&date));
                let size = fetched.size();
                if let Some(uid) = fetched.uid.filter(|_| date.is_some() || size.is_some()) {
                    found.push((uid, Likeness { date, size }));
                }
            })
            .await?;
        if !done.is_ok() {
            return Err(conn.answer("UID FETCH (INTERNALDATE RFC822.SIZE)", &done));
        }
    }
    Ok(found)
}

/// [`scan::without_recent`], to be kept.
pub fn without_recent(list: &[u8]) -> Bytes {
    match scan::without_recent(list) {
        Cow::Borrowed(list) => Bytes::copy_from_slice(list),
        Cow::Owned(list) => list.into(),
    }
}
