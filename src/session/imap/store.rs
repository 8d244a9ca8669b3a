//! STORE (RFC 3501 §6.4.6): to each message's authority.

use std::sync::Arc;

use bytes::Bytes;

use super::reply::{Failure, Reply};
use super::sets::{ensure_announced, places, span};
use super::{Session, User};
use crate::account::{Access, AccountError, MAX_COMMAND, Mailbox, SessionId, without_recent};
use crate::backend::{Done, Pending};
use crate::base::Side;
use crate::imap::command::{Flag, StoreMode};
use crate::imap::write::{Parts, flag_list};
use crate::uid::{SeqSet, SideUid, Uid, UidSet};

/// A silent STORE of more messages than this stays silent towards the server too, unless other
/// sessions want to hear of it.
const ASK_FLAGS: u32 = 1_000;

impl Session {
    pub(super) async fn store(
        &mut self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        mode: StoreMode,
        silent: bool,
        flags: &[Flag],
    ) -> Result<Reply, Failure> {
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        if selected.read_only {
            return Ok(Reply::no("Mailbox was opened read-only"));
        }
        let Some(uids) = selected.resolve(set, uid) else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        let mut list = Vec::new();
        flag_list(flags, &mut list);
        let store = Store {
            mailbox: Arc::clone(&selected.mailbox),
            access: Arc::clone(&user.access),
            session: self.id,
            uids,
            mode,
            silent,
            list,
        };
        // Not cancelled when the client goes away: half a STORE is nobody's wish.
        let (reply, changed) = self.carry_through(store.run()).await?;
        if let Some(selected) = &mut self.selected {
            selected.stale = true;
        }
        if !silent && let Some(selected) = &self.selected {
            let mut cursor = selected.numbering.cursor();
            for (changed, flags) in changed {
                let Some(seq) = cursor.seq(changed) else { continue };
                let number = if uid { format!("UID {changed} ") } else { String::new() };
                let head = format!("* {seq} FETCH ({number}FLAGS ");
                self.client.out.extend_from_slice(head.as_bytes());
                self.client.out.extend_from_slice(&flags);
                self.client.out.extend_from_slice(b")\r\n");
                self.client.flush_if_full().await?;
            }
        }
        Ok(reply)
    }
}

struct Store {
    mailbox: Arc<Mailbox>,
    access: Arc<Access>,
    session: SessionId,
    uids: UidSet<Uid>,
    mode: StoreMode,
    silent: bool,
    list: Vec<u8>,
}

impl Store {
    async fn run(self) -> Result<(Reply, Vec<(Uid, Bytes)>), AccountError> {
        // Authority must not pass to new between the look at the map and the server's answer.
        let guard = self.mailbox.guard.read().await;
        let view = self.mailbox.view();
        let mut changed = Vec::new();
        let mut refused = None;
        for side in Side::BOTH {
            let wanted = places(&view.map, &self.uids, side);
            if wanted.is_empty() {
                continue;
            }
            if let Some(done) = self.on_side(side, &wanted, &mut changed).await? {
                refused = Some(Reply::from_server(&done));
                break;
            }
        }
        drop(guard);
        changed.sort_by_key(|(uid, _)| *uid);
        changed.dedup_by_key(|(uid, _)| *uid);
        Ok((refused.unwrap_or_else(|| Reply::ok("Store completed")), changed))
    }

    async fn on_side(
        &self,
        side: Side,
        wanted: &UidSet<SideUid>,
        changed: &mut Vec<(Uid, Bytes)>,
    ) -> Result<Option<Done>, AccountError> {
        let mut lease = self.mailbox.lease(&self.access, side).await?;
        let announced = ensure_announced(&mut lease, wanted).await?;
        let wanted = wanted.intersect(&announced);
        let since = self.mailbox.moment();
        let others = self.mailbox.listeners() > 1;
        let ask = !self.silent || others || wanted.len() <= ASK_FLAGS;
        let sign = match self.mode {
            StoreMode::Replace => "",
            StoreMode::Add => "+",
            StoreMode::Remove => "-",
        };
        let silent = if ask { "" } else { ".SILENT" };
        let pending: Vec<Pending> = span(&wanted, &announced)
            .chunks_of(MAX_COMMAND)
            .map(|set| {
                let mut command = Parts::new();
                command.text(&format!("UID STORE {set} {sign}FLAGS{silent} "));
                command.text(&String::from_utf8_lossy(&self.list));
                lease.queue(&command)
            })
            .collect();
        let mut refused = None;
        let mut heard = Vec::new();
        for pending in pending {
            let mut each = |fetched: crate::backend::Fetched| {
                if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
                    heard.push((uid, without_recent(&flags)));
                }
            };
            let done = lease.finish_fetch(pending, &mut each).await?;
            if !done.is_ok() {
                refused.get_or_insert(done);
            }
        }
        for (uid, flags) in heard {
            let Some(known) = self.mailbox.uid_of(side, uid) else { continue };
            let mine = wanted.contains(uid);
            let origin = mine.then_some(self.session);
            if !self.mailbox.heard_flags(side, uid, &flags, origin, since) {
                lease.note_flags(uid, flags.clone());
            }
            if mine {
                changed.push((known, flags));
            }
        }
        self.mailbox.give_back(lease).await;
        Ok(refused)
    }
}
