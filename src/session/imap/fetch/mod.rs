//! FETCH (RFC 3501 §6.4.5): a schedule of UID FETCHes over both sides, rewritten on the way.
//!
//! `plan` says who is asked for what, `line` rewrites a reply, `run` moves the octets.

mod line;
mod plan;
mod run;

use std::sync::Arc;

use super::reply::{Failure, Reply};
use super::sets::{ensure_announced, places, resolve, span};
use super::{Session, User};
use crate::account::{AccountError, MAX_COMMAND, Mailbox};
use crate::backend::{Conn, Pending, text};
use crate::base::{Side, Sides};
use crate::imap::command::FetchItem;
use crate::uid::{Place, SeqSet, SideUid, Uid, UidMap, UidSet};
use line::items_for_server;
use plan::schedule;
use run::{Broken, Fetch};

/// A connection that breaks between two messages is replaced so often within one command.
const TRIES: u32 = 3;

impl Session {
    pub(super) async fn fetch(
        &mut self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        items: &[FetchItem],
    ) -> Result<Reply, Failure> {
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        let Some(uids) = resolve(set, uid, &selected.numbering) else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        let (asked, mut wish) = items_for_server(items, selected.read_only);
        wish.uid |= uid;
        let mailbox = Arc::clone(&selected.mailbox);
        let mut fetch = Fetch {
            client: &mut self.client,
            session: self.id,
            mailbox: Arc::clone(&mailbox),
            copier: user.account.config().copy.on_access.then(|| Arc::clone(&user.copier)),
            numbering: &selected.numbering,
            items: asked,
            wish,
            done: UidSet::new(),
            missing: UidSet::new(),
            seats: Vec::new(),
        };
        let mut left = uids;
        for attempt in 1.. {
            let ended = fetch_from(&mut fetch, user, &mailbox, &left).await;
            let lost = match ended {
                Ok(()) => break,
                Err(Broken::Between(AccountError::Backend(e))) if e.is_lost() => e,
                Err(Broken::Between(e)) => return Err(e.into()),
                Err(Broken::Within(e)) => return Err(Failure::Client(e)),
            };
            if attempt == TRIES {
                return Err(lost.into());
            }
            // Nobody waits for the connections of the attempt that broke off.
            fetch.seats.clear();
            left = left.subtract(&fetch.done);
        }
        Ok(Reply::ok("Fetch completed"))
    }
}

async fn fetch_from(
    fetch: &mut Fetch<'_>,
    user: &User,
    mailbox: &Arc<Mailbox>,
    uids: &UidSet<Uid>,
) -> Result<(), Broken> {
    // Before any connection is borrowed: nobody waits for the guard while holding one.
    let guard = if fetch.wish.seen { Some(mailbox.guard.read().await) } else { None };
    let view = mailbox.view();
    let access = &user.access;
    let between = |e: AccountError| Broken::Between(e);
    let steps = schedule(&view.map, uids, |place| Some(place.authority()));
    let needed = Sides::from_fn(|side| steps.iter().any(|step| step.side == side));
    let mut leases = Sides { old: None, new: None };
    // Old's connection first, as everywhere.
    if needed.old {
        leases.old = Some(mailbox.lease(access, Side::Old).await.map_err(between)?);
    }
    let mut steps = steps;
    if needed.new {
        match mailbox.lease(access, Side::New).await {
            Ok(lease) => leases.new = Some(lease),
            // What lies on both can still be read from old, but flags only new knows.
            Err(e) if may_fall_back(fetch, &view.map, uids) => {
                tracing::warn!(mailbox = %mailbox.name(), "read from old instead: {e}");
                steps = schedule(&view.map, uids, |_| Some(Side::Old));
                if leases.old.is_none() {
                    leases.old = Some(mailbox.lease(access, Side::Old).await.map_err(between)?);
                }
            }
            Err(e) => return Err(between(e)),
        }
    }
    if guard.is_some() {
        for side in Side::BOTH {
            if let Some(conn) = &mut leases[side] {
                set_seen(conn, &places(&view.map, uids, side)).await?;
            }
        }
        drop(guard);
    }
    fetch.seats = [&leases.old, &leases.new].into_iter().flatten().map(|l| l.seat()).collect();
    fetch.run(&mut leases, &steps).await?;
    let missing = std::mem::take(&mut fetch.missing);
    if !missing.is_empty() && fetch.wish.content {
        // A copy that new does not return although it should: old still has the message.
        let on_both = |place| match place {
            Place::Both { .. } => Some(Side::Old),
            _ => None,
        };
        let steps = schedule(&view.map, &missing, on_both);
        if !steps.is_empty() {
            if leases.old.is_none() {
                leases.old = Some(mailbox.lease(access, Side::Old).await.map_err(between)?);
            }
            fetch.run(&mut leases, &steps).await?;
        }
    }
    for lease in [leases.old, leases.new].into_iter().flatten() {
        mailbox.give_back(lease).await;
    }
    Ok(())
}

/// Sets `\Seen` on the authority, as a FETCH without PEEK implies.
async fn set_seen(conn: &mut Conn, wanted: &UidSet<SideUid>) -> Result<(), Broken> {
    if wanted.is_empty() {
        return Ok(());
    }
    let announced = ensure_announced(conn, wanted).await?;
    let sets = span(&wanted.intersect(&announced), &announced);
    let pending: Vec<Pending> = sets
        .chunks_of(MAX_COMMAND)
        .map(|set| conn.queue(&text(&format!("UID STORE {set} +FLAGS.SILENT (\\Seen)"))))
        .collect();
    for pending in pending {
        let done = conn.finish(pending).await?;
        if !done.is_ok() {
            // A mailbox that keeps no \Seen can be read all the same.
            tracing::debug!(side = %conn.side(), "\\Seen was not set: {}", done.words());
        }
    }
    Ok(())
}

/// Whether all that is asked for can be read from old: content only, and nothing on new alone.
fn may_fall_back(fetch: &Fetch<'_>, map: &UidMap, uids: &UidSet<Uid>) -> bool {
    fetch.wish.data
        && !fetch.wish.flags
        && map.intersect(uids).all(|run| run.place.on(Side::Old).is_some())
}
