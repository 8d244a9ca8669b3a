//! FETCH (RFC 3501 §6.4.5): a schedule of UID FETCHes over both sides, rewritten on the way.
//!
//! `plan` says who is asked for what, `run` moves the octets, `gather` puts small answers into order.

mod beside;
mod gather;
mod plan;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use super::reply::{Failure, Reply};
use super::select::Selected;
use super::sets::{ensure_announced, places};
use super::store::run_stores;
use super::{Session, User};
use crate::account::{Access, AccountError, MAX_COMMAND, Mailbox, SessionId};
use crate::backend::{Conn, Lease, text};
use crate::base::{Phase, Side, Sides};
use crate::imap::command::{FetchItem, PartialRange};
use crate::imap::fetch_rewrite::items_for_server;
use crate::imap::found::Found;
use crate::uid::{Place, SeqSet, SideUid, Uid, UidMap, UidSet};
use beside::altered;
use plan::{Step, schedule, schedule_beside};
use run::{Broken, Fetch};

/// A connection that breaks between two messages is replaced so often for the same message.
const TRIES: u32 = 3;
/// And so often in all.
const ATTEMPTS: u32 = 24;
/// So many messages over which a server hangs up are passed over by one command.
const GIVEN_UP: u32 = 4;

/// A FETCH command.
pub(in crate::session) struct Asked<'a> {
    /// Whether `set` holds UIDs.
    pub uid: bool,
    pub set: &'a SeqSet,
    pub items: &'a [FetchItem],
    /// Which of the messages, if not all (RFC 9394 §3.3).
    pub partial: Option<PartialRange>,
    /// Only messages that changed since this virtual MODSEQ (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// Also what vanished since then (RFC 7162 §3.2.6).
    pub vanished: bool,
}

impl Session {
    pub(super) async fn fetch(&mut self, user: &User, asked: Asked<'_>) -> Result<Reply, Failure> {
        let Asked { uid, set, items, partial, changed_since, vanished } = asked;
        if vanished && !(uid && changed_since.is_some() && self.extended.qresync) {
            return Ok(Reply::bad("VANISHED needs UID FETCH, CHANGEDSINCE and QRESYNC"));
        }
        let needed = changed_since.and(Some("CONDSTORE")).into_iter();
        let mut needed = needed.chain(items.iter().filter_map(FetchItem::needs));
        if let Some(lacking) = needed.find(|name| !self.offer.has(name)) {
            return Ok(Reply::bad(format!("{lacking} is not offered")));
        }
        if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        let Some(mut uids) = selected.resolve(set, uid) else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        if let Some(range) = partial {
            // Only some of those messages (RFC 9394 §3.3).
            uids = Found::from(&uids).part(range.of(uids.len())).iter().map(Uid).collect();
        }
        if !selected.read_only
            && user.account.old_is_read_only()
            && items.iter().any(FetchItem::sets_seen)
        {
            // From then on new has it marked. What cannot be copied can be read all the same.
            let (copier, mailbox) = (Arc::clone(&user.copier), Arc::clone(&selected.mailbox));
            let opened = uids.clone();
            let carrying = async move { copier.free_of_old(&mailbox, &opened).await };
            match Box::pin(self.carry_through(carrying)).await {
                Ok(()) => {}
                Err(Failure::Account(e)) => tracing::debug!("\\Seen is not set: {e}"),
                Err(e) => return Err(e),
            }
        }
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        let mut items = items.to_vec();
        let seen = !selected.read_only && items.iter().any(FetchItem::sets_seen);
        if changed_since.is_some() || (seen && self.extended.condstore) {
            items.push(FetchItem::ModSeq);
        }
        let (asked, mut wish) = items_for_server(&items, selected.read_only);
        wish.uid |= uid;
        if vanished {
            let known = match set.is_saved() {
                true => selected.saved.clone(),
                false => set.uids(selected.numbering.last_uid().unwrap_or(Uid(0))),
            };
            vanished_earlier(&known, selected, &mut self.client.out);
        }
        let mailbox = Arc::clone(&selected.mailbox);
        let emails = match wish.email_id {
            true => Some(self.client.patiently(mailbox.emails(&uids)).await??),
            false => None,
        };
        let carried = user.account.config().copy.on_access
            && user.account.phase() == Phase::Merged
            && !mailbox.stays_on_old();
        let mut fetch = Fetch {
            client: &mut self.client,
            mailbox: Arc::clone(&mailbox),
            copier: carried.then(|| Arc::clone(&user.copier)),
            numbering: &selected.numbering,
            items: asked,
            wish: Arc::new(wish),
            emails,
            changed_since: changed_since.map(|known| mailbox.view().mod_seqs.since(known)),
            told_until: Sides::default(),
            read_only: selected.read_only,
            offered: selected.offered,
            others: mailbox.listeners() > 1,
            seen_set: Sides::default(),
            beside: HashMap::new(),
            just_told: HashMap::new(),
            literals: (0, 0),
            done: UidSet::new(),
            missing: UidSet::new(),
            refused: None,
            seats: Vec::new(),
        };
        let mut left = uids.clone();
        let (mut tries, mut given_up) = (0, 0);
        for attempt in 1.. {
            let before = fetch.done.len();
            let lost = match fetch_from(&mut fetch, user, self.id, &left).await {
                Ok(()) => break,
                Err(Broken::Between(AccountError::Backend(e))) if e.is_lost() => e,
                Err(Broken::Between(e)) => return Err(e.into()),
                Err(Broken::Within(e)) => return Err(Failure::Client(e)),
            };
            // Nobody waits for the connections of the attempt that broke off.
            fetch.seats.clear();
            left = left.subtract(&fetch.done);
            tries = if fetch.done.len() > before { 1 } else { tries + 1 };
            if tries < TRIES && attempt < ATTEMPTS {
                continue;
            }
            // Dovecot hangs up over a message that it cannot read: the others are worth a try.
            let Some(culprit) = fetch
                .culprit(&left, lost.side())
                .filter(|_| given_up < GIVEN_UP && attempt < ATTEMPTS)
            else {
                return Err(lost.into());
            };
            (tries, given_up) = (0, given_up + 1);
            tracing::warn!(mailbox = %mailbox.name(), uid = %culprit, "passed over: {lost}");
            left.remove(culprit);
            fetch.missing.insert(culprit);
            fetch.not_given(culprit);
            fetch.refused = Some(lost);
        }
        // What one side refused the other one may have given.
        let untold = !uids.subtract(&fetch.done).is_empty();
        let refused = fetch.refused.take().filter(|_| untold);
        let (offered, just_told) = (fetch.offered, fetch.just_told);
        if let Some(selected) = &mut self.selected {
            selected.offered = offered;
            selected.just_told.extend(just_told);
            selected.stale |= seen;
        }
        match refused {
            Some(refused) => Err(refused.into()),
            None => Ok(match &self.selected {
                Some(selected) if !uid => selected.done_with(&uids, "Fetch completed"),
                _ => Reply::ok("Fetch completed"),
            }),
        }
    }
}

/// What of `known` is not there any more: `"VANISHED" SP "(EARLIER)" SP known-uids` (RFC 7162 §7).
pub(super) fn vanished_earlier(known: &UidSet<Uid>, selected: &Selected, out: &mut Vec<u8>) {
    // Beyond the last message nothing can have vanished that the client knows of.
    let view = selected.mailbox.view();
    let mut known = known.clone();
    known.remove_range(view.uid_next, Uid(u32::MAX));
    // Nor of what has never been: clients count such ranges out, and this one has millions.
    if let Some((first, last)) = view.never {
        known.remove_range(first, last);
    }
    let gone = known.subtract(&selected.numbering.uids());
    if !gone.is_empty() {
        out.extend_from_slice(format!("* VANISHED (EARLIER) {gone}\r\n").as_bytes());
    }
}

async fn fetch_from(
    fetch: &mut Fetch<'_>,
    user: &User,
    session: SessionId,
    uids: &UidSet<Uid>,
) -> Result<(), Broken> {
    let mailbox = &Arc::clone(&fetch.mailbox);
    // Before any connection is borrowed: nobody waits for the guard while holding one.
    let guard = if fetch.wish.seen { Some(mailbox.guard.read().await) } else { None };
    let view = mailbox.view();
    let access = &user.access;
    let authority = |place: Place| Some(place.authority());
    let mut altered = if fetch.wish.data { altered(&view, uids) } else { UidSet::new() };
    let mut steps = schedule_beside(&view.map, uids, &altered);
    let asks = |steps: &[Step], side| steps.iter().any(|step| step.side == side);
    let mut leases = Sides { old: None, new: None };
    // Old's connection first, as everywhere.
    if asks(&steps, Side::Old) {
        match lend(fetch, access, Side::Old).await {
            Ok(lease) => leases.old = Some(lease),
            // What new has of them is better than nothing.
            Err(Broken::Between(e)) if !altered.is_empty() => {
                steps = schedule(&view.map, uids, authority);
                if asks(&steps, Side::Old) {
                    return Err(Broken::Between(e));
                }
                altered = UidSet::new();
            }
            Err(e) => return Err(e),
        }
    }
    if asks(&steps, Side::New) || (!altered.is_empty() && fetch.asks_beside()) {
        match lend(fetch, access, Side::New).await {
            Ok(lease) => leases.new = Some(lease),
            // What lies on both can still be read from old, but flags only new knows.
            Err(Broken::Between(e)) if may_fall_back(fetch, &view.map, uids) => {
                tracing::warn!(mailbox = %mailbox.name(), "read from old instead: {e}");
                steps = schedule(&view.map, uids, |_| Some(Side::Old));
                altered = UidSet::new();
                if leases.old.is_none() {
                    leases.old = Some(lend(fetch, access, Side::Old).await?);
                }
            }
            Err(e) => return Err(e),
        }
    }
    if guard.is_some() {
        mailbox.flagging(uids).await.map_err(Broken::Between)?;
        let read_only = user.account.old_is_read_only();
        for side in Side::BOTH.into_iter().filter(|side| *side == Side::New || !read_only) {
            if let Some(conn) = &mut leases[side] {
                let wanted = places(&view.map, uids, side);
                fetch.seen_set[side] = set_seen(mailbox, conn, &wanted, session).await?;
            }
        }
        drop(guard);
    }
    fetch.told_until = leases.as_ref().map(|_, lease| {
        lease.as_ref().and_then(|lease| lease.selected()).and_then(|s| s.highest_mod_seq)
    });
    fetch.seats = [&leases.old, &leases.new].into_iter().flatten().map(|l| l.seat()).collect();
    match altered.is_empty() {
        true => fetch.run(&mut leases, &steps).await?,
        false => fetch.run_beside(&mut leases, &view.map, uids, &altered).await?,
    }
    let missing = std::mem::take(&mut fetch.missing);
    // A copy that new does not return although it should: old still has the message. And what old
    // should have given new has, too.
    let copies = if fetch.wish.content { missing.subtract(&altered) } else { UidSet::new() };
    for (side, missing) in [(Side::Old, copies), (Side::New, missing.intersect(&altered))] {
        let on_both = |place| match place {
            Place::Both { .. } => Some(side),
            _ => None,
        };
        let steps = schedule(&view.map, &missing, on_both);
        if !steps.is_empty() {
            if leases[side].is_none() {
                leases[side] = Some(lend(fetch, access, side).await?);
            }
            fetch.run(&mut leases, &steps).await?;
        }
    }
    fetch.missing = UidSet::new();
    for lease in [leases.old, leases.new].into_iter().flatten() {
        mailbox.give_back(lease).await;
    }
    Ok(())
}

async fn lend(fetch: &mut Fetch<'_>, access: &Access, side: Side) -> Result<Lease, Broken> {
    let looks = fetch.wish.flags || fetch.changed_since.is_some();
    let mailbox = Arc::clone(&fetch.mailbox);
    let lending = async {
        match looks {
            true => mailbox.lease_to_look(access, side).await,
            false => mailbox.lease(access, side).await,
        }
    };
    fetch.client.patiently(lending).await?.map_err(Broken::Between)
}

/// Sets `\Seen` on the authority, as a FETCH without PEEK implies. Returns of whose flags the server
/// told, as it does where they have changed.
async fn set_seen(
    mailbox: &Arc<Mailbox>,
    conn: &mut Conn,
    wanted: &UidSet<SideUid>,
    session: SessionId,
) -> Result<UidSet<SideUid>, Broken> {
    if wanted.is_empty() {
        return Ok(UidSet::new());
    }
    mailbox.catch_up_to_write(conn).await.map_err(Broken::Between)?;
    let announced = ensure_announced(conn, wanted).await?;
    let sets = wanted.intersect(&announced).spanned(&announced);
    let since = mailbox.moment();
    let commands = sets
        .chunks_of(MAX_COMMAND)
        .map(|set| text(&format!("UID STORE {set} +FLAGS (\\Seen)")))
        .collect();
    let stored = run_stores(conn, commands).await?;
    mailbox.wrote_flags(conn);
    if let Some(done) = &stored.refused {
        // A mailbox that keeps no \Seen can be read all the same.
        tracing::debug!(side = %conn.side(), "\\Seen was not set: {}", done.words());
    }
    stored.tell(mailbox, conn, wanted, session, since).await.map_err(Broken::Between)?;
    Ok(stored.told_of())
}

/// Whether all that is asked for can be read from old: content only, and nothing on new alone.
fn may_fall_back(fetch: &Fetch<'_>, map: &UidMap, uids: &UidSet<Uid>) -> bool {
    fetch.wish.data
        && !fetch.wish.flags
        && !fetch.wish.mod_seq
        && map.intersect(uids).all(|run| run.place.on(Side::Old).is_some())
}
