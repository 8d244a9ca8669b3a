//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1): on each message's authority.

use std::sync::Arc;

use super::reply::{Failure, Reply};
use super::sets::{ensure_announced, places};
use super::{Session, User};
use crate::account::{
    Access, AccountError, MAX_COMMAND, Mailbox, each_chunk, expunge_without_uidplus, mark_deleted,
    uid_search,
};
use crate::backend::{BackendError, Conn, Done, text};
use crate::base::{Side, step};
use crate::index::Fate;
use crate::uid::{SeqSet, SideUid, Uid, UidSet};

impl Session {
    /// Removes what has `\Deleted` among the messages the client knows of, or among those of `set`.
    pub(super) async fn expunge(
        &mut self,
        user: &User,
        set: Option<&SeqSet>,
    ) -> Result<Reply, Failure> {
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        if selected.read_only {
            return Ok(Reply::no("Mailbox was opened read-only"));
        }
        let uids = match set {
            Some(set) => selected.resolve(set, true).unwrap_or_default(),
            None => selected.numbering.uids(),
        };
        let (mailbox, user) = (Arc::clone(&selected.mailbox), user.clone());
        let expunge = async move { remove(&mailbox, &user, &uids, Which::Deleted).await };
        let reply = self.carry_through(expunge).await?;
        Ok(match &self.selected {
            // A client that keeps up by MODSEQ learns up to where it is now (RFC 7162 §3.2.7).
            Some(selected) if reply.is_ok() && self.extended.qresync => {
                let highest = selected.mailbox.view().mod_seqs.highest();
                Reply::ok_with(format!("HIGHESTMODSEQ {highest}"), "Expunge completed")
            }
            _ => reply,
        })
    }
}

/// Which of the messages named are to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// Those that have `\Deleted`.
    Deleted,
    /// All of them.
    All,
}

/// Removes messages, each on its authority.
pub(super) async fn remove(
    mailbox: &Arc<Mailbox>,
    user: &User,
    uids: &UidSet<Uid>,
    which: Which,
) -> Result<Reply, AccountError> {
    let access = &user.access;
    let read_only = user.account.old_is_read_only();
    mailbox.compared(uids).await?;
    let mut looked_at = None;
    if mailbox.is_matching() || read_only {
        let olds = taken_from_old(mailbox, access, uids, which).await?;
        mailbox.matched(&olds).await?;
        user.copier.free_of_old(mailbox, &olds).await?;
        looked_at = Some(olds);
    }
    // Authority must not pass to new between the look at the map and the server's answer.
    let _guard = mailbox.guard.read().await;
    // What somebody marked after the look stays: whether new has it as well is not known yet.
    let uids = &match looked_at {
        Some(olds) => uids.subtract(&mailbox.on_old_alone(uids).subtract(&olds)),
        None => uids.clone(),
    };
    let noted = mailbox.removing(uids).await?;
    step("expunge: removals are noted");
    let sides = if read_only { &[Side::New][..] } else { &Side::BOTH };
    let reply = remove_from(mailbox, access, uids, which, sides).await;
    mailbox.removed(&noted).await?;
    reply
}

async fn remove_from(
    mailbox: &Arc<Mailbox>,
    access: &Access,
    uids: &UidSet<Uid>,
    which: Which,
    sides: &[Side],
) -> Result<Reply, AccountError> {
    let view = mailbox.view();
    for side in sides.iter().copied() {
        let wanted = places(&view.map, uids, side);
        if wanted.is_empty() {
            continue;
        }
        let mut lease = mailbox.lease(access, side).await?;
        if which == Which::Deleted {
            // \Deleted may have been set over another connection, of which this one knows by a NOOP.
            lease.must("NOOP", &text("NOOP")).await?;
        }
        let marked = which == Which::Deleted;
        mailbox.note_second_copies(&mut lease, &wanted, marked, Fate::Removed).await?;
        let refused = match which {
            Which::Deleted => expunge_deleted(&mut lease, &wanted).await?,
            Which::All => take_away(&mut lease, &wanted).await?,
        };
        step("expunge: the messages are expunged");
        mailbox.give_back(lease).await;
        if let Some(done) = refused {
            return Ok(Reply::from_server(&done));
        }
    }
    Ok(Reply::ok("Expunge completed"))
}

/// Which of the messages are to go from old.
async fn taken_from_old(
    mailbox: &Arc<Mailbox>,
    access: &Access,
    uids: &UidSet<Uid>,
    which: Which,
) -> Result<UidSet<Uid>, AccountError> {
    let map = &mailbox.view().map;
    let mut wanted = places(map, uids, Side::Old);
    if which == Which::Deleted && !wanted.is_empty() {
        let mut lease = mailbox.lease(access, Side::Old).await?;
        // \Deleted may have been set over another connection, of which this one knows by a NOOP.
        lease.must("NOOP", &text("NOOP")).await?;
        let deleted = uid_search(&mut lease, text("DELETED")).await?;
        mailbox.give_back(lease).await;
        // A refusal is met again, and told, when they are expunged.
        wanted = deleted.map_or(UidSet::new(), |deleted| deleted.intersect(&wanted));
    }
    Ok(wanted.iter().filter_map(|uid| map.uid_of(Side::Old, uid)).collect())
}

/// Removes what the connection has of `wanted`, whether it has `\Deleted` or not: the second half of a
/// MOVE where the server has none (RFC 6851 §3.3), and of REPLACE.
pub(super) async fn take_away(
    conn: &mut Conn,
    wanted: &UidSet<SideUid>,
) -> Result<Option<Done>, BackendError> {
    // What has gone meanwhile must not be named.
    let there = ensure_announced(conn, wanted).await?;
    let there = wanted.intersect(&there);
    if let Some(refused) = mark_deleted(conn, &there).await? {
        return Ok(Some(refused));
    }
    // Others may have marked what stays, and EXPUNGE alone takes all that is marked.
    conn.must("NOOP", &text("NOOP")).await?;
    expunge_deleted(conn, &there).await
}

/// Expunges what has `\Deleted` among `wanted`, as far as the connection knows, and nothing else. Gives the
/// server's refusal, if any.
async fn expunge_deleted(
    conn: &mut Conn,
    wanted: &UidSet<SideUid>,
) -> Result<Option<Done>, BackendError> {
    let announced = ensure_announced(conn, wanted).await?;
    let wanted = wanted.intersect(&announced);
    if wanted.is_empty() {
        return Ok(None);
    }
    if !conn.profile().uidplus() {
        return expunge_without_uidplus(conn, &wanted).await;
    }
    let mut spanned = wanted.spanned(&announced);
    if spanned.chunks_of(MAX_COMMAND).nth(1).is_some() {
        // Mostly a few of many: naming those is shorter.
        match uid_search(conn, text("DELETED")).await? {
            Ok(deleted) => spanned = wanted.intersect(&deleted).spanned(&announced),
            Err(done) => return Ok(Some(done)),
        }
    }
    each_chunk(conn, &spanned, |set| format!("UID EXPUNGE {set}")).await
}
