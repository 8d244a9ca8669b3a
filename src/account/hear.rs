//! Connections for a mailbox: lending them, and taking what they hear into the hub.
//!
//! Every connection that was lent for a mailbox gives what it heard back to the hub, so that all
//! sessions learn of it; `backend` itself knows no hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use super::mailbox::{FlagsOffered, Mailbox, Moment, SessionId, now};
use super::merge::{Likeness, Report};
use super::{Access, AccountError};
use crate::backend::{BackendError, Conn, Lease, News, Want, internal_date, text};
use crate::base::Side;
use crate::imap::fetch_scan::flags;
use crate::uid::{Place, SideUid, Uid, UidSet};

/// Octets of one command to a server (DESIGN §3).
pub const MAX_COMMAND: usize = 8_000;

/// So often is asked for flags of which two connections told differently.
const ASK_FLAGS: usize = 3;

impl Mailbox {
    /// Lends a connection of one side with this mailbox selected, its news already absorbed.
    pub async fn lease(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
    ) -> Result<Lease, AccountError> {
        let mut lease = access.pools[side].lend(&self.want(side)?).await?;
        self.hear(&mut lease).await?;
        Ok(lease)
    }

    pub(super) fn want(&self, side: Side) -> Result<Want, AccountError> {
        let name = self.view().names[side].clone();
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
        let complete = std::mem::take(&mut selected.fresh);
        let News { vanished, flags } = std::mem::take(&mut selected.news);
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
            m.record.sides[side] == Some(selected.snapshot())
                && m.live[side].as_ref().map(UidSet::len) == Some(selected.announced().len())
        });
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
            };
            let held = self
                .change(|merged, _| {
                    let changed = merged.see(side, &report, now())?;
                    Ok((!merged.held.is_empty(), changed))
                })
                .await?;
            if held {
                self.undecided.note(self);
            }
        }
        // What a server told unasked may have been true long ago.
        let long_ago = Moment::default();
        let told =
            |(uid, list): &(SideUid, Bytes)| self.heard_flags(side, *uid, list, None, long_ago);
        let doubtful: UidSet<SideUid> =
            flags.iter().filter(|news| !told(news)).map(|(uid, _)| *uid).collect();
        if !doubtful.is_empty() {
            self.ask_flags(conn, doubtful).await?;
        }
        Ok(())
    }

    /// Asks for flags of which two connections told differently, and tells them as they are.
    async fn ask_flags(
        &self,
        conn: &mut Conn,
        mut doubtful: UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        let side = conn.side();
        for attempt in 1..=ASK_FLAGS {
            // Changed again in the meantime that often, they are told by whoever changes them.
            let since = if attempt == ASK_FLAGS { Moment::LAST } else { self.moment() };
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
                |(uid, list): &(SideUid, Bytes)| self.heard_flags(side, *uid, list, None, since);
            doubtful = answers.iter().filter(|news| !told(news)).map(|(uid, _)| *uid).collect();
            if doubtful.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Passes a side's FLAGS on, if that side decides over the message. False if something else
    /// was told `since`: see [`tell_flags`](Mailbox::tell_flags).
    pub fn heard_flags(
        &self,
        side: Side,
        uid: SideUid,
        list: &[u8],
        origin: Option<SessionId>,
        since: Moment,
    ) -> bool {
        let decided = self.peek(|m| {
            let uid = m.map.uid_of(side, uid)?;
            let place = m.map.place(uid)?;
            (place.authority() == side).then_some(uid)
        });
        decided.is_none_or(|uid| self.tell_flags(uid, without_recent(list), origin, since))
    }

    /// Which arrivals on new may be copies of ours: those that are like one that was begun.
    async fn possible_copies(
        &self,
        conn: &mut Conn,
        arrivals: &UidSet<SideUid>,
    ) -> Result<BTreeMap<SideUid, Likeness>, BackendError> {
        let mut hold = BTreeMap::new();
        if conn.side() != Side::New || arrivals.is_empty() {
            return Ok(hold);
        }
        let expected = self.peek(|m| m.intents.clone());
        if expected.is_empty() {
            return Ok(hold);
        }
        for (uid, likeness) in likenesses(conn, arrivals).await? {
            if expected.values().any(|intent| likeness.fits(intent)) {
                hold.insert(uid, likeness);
            }
        }
        Ok(hold)
    }

    /// Brings the mailbox up to date from both sides: what SELECT and NOOP stand on.
    ///
    /// # Errors
    /// Only where nothing right can be shown: a side that holds messages never seen is away, old or
    /// the only one that has the mailbox. A
    /// side that was absorbed before may be away; its messages stay listed (DESIGN §6).
    pub async fn refresh(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
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
                    lease.must("NOOP", &text("NOOP")).await?;
                }
                Ok::<Lease, AccountError>(lease)
            };
            (side, lease.await)
        });
        for (side, lease) in futures_util::future::join_all(asked).await {
            let heard = match lease {
                Ok(mut lease) => match self.hear(&mut lease).await {
                    Ok(()) => {
                        lease.give_back();
                        Ok(())
                    }
                    Err(e) => Err(e),
                },
                Err(e) => Err(e),
            };
            if let Err(e) = heard {
                if (side == Side::Old || names.old.is_none()) && !self.has_seen(side) {
                    return Err(e);
                }
                if matches!(e, AccountError::Index(_)) {
                    return Err(e);
                }
                warn!(mailbox = %self.name(), %side, "goes on without this side: {e}");
            }
        }
        Ok(())
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

/// A flag list without `\Recent`: who was told first of a message is the proxy's pools' business,
/// so it is never claimed towards a client.
pub fn without_recent(list: &[u8]) -> Bytes {
    let mut kept = Vec::with_capacity(list.len());
    kept.push(b'(');
    for flag in flags(list).filter(|flag| !flag.eq_ignore_ascii_case(b"\\Recent")) {
        if kept.len() > 1 {
            kept.push(b' ');
        }
        kept.extend_from_slice(flag);
    }
    kept.push(b')');
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_is_never_claimed() {
        assert_eq!(without_recent(b"(\\Recent)"), "()");
        assert_eq!(without_recent(b"(\\Seen \\recent $x)"), "(\\Seen $x)");
    }
}
