//! What STATUS needs: whether the map is current, and how many messages are unseen.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::warn;

use super::folders::command;
use super::{Access, AccountError, MAX_COMMAND, Mailbox};
use crate::backend::{BackendError, Conn, Slot, Want, text};
use crate::base::{MailboxName, Side, Sides};
use crate::imap::response::{Response, StatusKey};
use crate::uid::{SideUid, UidSet};

/// A side's STATUS.
struct Numbers {
    uid_validity: u64,
    uid_next: u64,
    messages: u64,
    unseen: u64,
    highest_mod_seq: Option<u64>,
}

impl Mailbox {
    /// Brings the mailbox up to date without selecting it where nothing has changed, and counts
    /// unseen messages, each on its authority, if that is wanted (else 0).
    ///
    /// # Errors
    /// As for [`refresh`](Mailbox::refresh); also where a count needs a side that is away.
    pub async fn status(
        self: &Arc<Self>,
        access: &Access,
        unseen: bool,
    ) -> Result<u32, AccountError> {
        let names = self.view().names.clone();
        let mut slots = Vec::new();
        for side in Side::BOTH {
            if let Some(name) = &names[side] {
                slots.push((side, name, access.pools[side].slot().await));
            }
        }
        let asked = slots.into_iter().map(|(side, name, slot)| async move {
            let numbers = match slot {
                Ok(slot) => ask_status(access, side, slot, name).await,
                Err(e) => Err(e),
            };
            (side, numbers)
        });
        let mut told: Sides<Option<Numbers>> = Sides::default();
        for (side, numbers) in futures_util::future::join_all(asked).await {
            match numbers {
                Ok(numbers) => told[side] = numbers,
                Err(e) => warn!(mailbox = %self.name(), %side, "STATUS without this side: {e}"),
            }
        }
        // Whether the side's numbers are those that the map was made with.
        let current = |side: Side, numbers: &Numbers| {
            let Some(seen) = self.peek(|m| m.record.sides[side]) else { return false };
            numbers.uid_validity == u64::from(seen.uid_validity)
                && numbers.uid_next == u64::from(seen.uid_next.0)
                && numbers.messages == u64::from(seen.messages)
        };
        // Flags that changed while nobody listened: sessions that do want to hear of them.
        let flags_changed = |side: Side, numbers: &Numbers| {
            numbers
                .highest_mod_seq
                .is_some_and(|told| told > self.peek(|m| m.mod_seqs.absorbed(side)))
        };
        for side in Side::BOTH {
            if let Some(numbers) = &told[side]
                && current(side, numbers)
                && flags_changed(side, numbers)
                && self.listeners() == 0
            {
                self.change(|merged, _| {
                    merged.absorb_mod_seq(side, numbers.highest_mod_seq, None);
                    Ok(((), false))
                })
                .await?;
            }
        }
        let there: Vec<Side> = Side::BOTH.into_iter().filter(|s| names[*s].is_some()).collect();
        let is_current = |side: Side| {
            told[side].as_ref().is_some_and(|n| current(side, n) && !flags_changed(side, n))
        };
        if !there.iter().all(|side| is_current(*side)) || self.view().uid_validity == 0 {
            self.refresh(access).await?;
        }
        if !unseen {
            return Ok(0);
        }
        let view = self.view();
        let mut count = 0u32;
        for side in Side::BOTH {
            let decides = view.map.authority_uids(side);
            if decides.is_empty() {
                continue;
            }
            // Nothing but what this side decides over lies there: its own count is ours.
            if let Some(numbers) = &told[side]
                && current(side, numbers)
                && numbers.messages == u64::from(decides.len())
            {
                let unseen = numbers.unseen.min(numbers.messages);
                count = count.saturating_add(u32::try_from(unseen).unwrap_or(u32::MAX));
                continue;
            }
            let found = self.count_unseen(access, side, &decides).await?;
            count = count.saturating_add(found);
        }
        Ok(count)
    }

    async fn count_unseen(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
        decides: &UidSet<SideUid>,
    ) -> Result<u32, AccountError> {
        let mut lease = self.lease(access, side).await?;
        let ret = if lease.profile().esearch() { "RETURN (ALL) " } else { "" };
        let mut command = format!("UID SEARCH {ret}");
        // Where the set is short the server need not look at the others.
        if let Some(set) = decides.chunks_of(MAX_COMMAND / 2).next()
            && set.len() < MAX_COMMAND / 4
        {
            command.push_str(&format!("UID {set} "));
        }
        command.push_str("UNSEEN");
        let done = lease.must("UID SEARCH UNSEEN", &text(&command)).await?;
        let mut found: UidSet<SideUid> = UidSet::new();
        for response in done.untagged {
            match response {
                Response::Search(uids) => found = uids.into_iter().map(SideUid).collect(),
                Response::Esearch { all, .. } => {
                    let ranges = all.into_iter().map(|(a, b)| (SideUid(a), SideUid(b)));
                    found = UidSet::from_ranges(ranges);
                }
                _ => {}
            }
        }
        self.give_back(lease).await;
        Ok(found.intersect(decides).len())
    }
}

/// One side's STATUS. `None`: the connection has this very mailbox selected, where STATUS may lag
/// (RFC 3501 §6.3.10), so that it must be asked otherwise.
async fn ask_status(
    access: &Access,
    side: Side,
    slot: Slot,
    name: &MailboxName,
) -> Result<Option<Numbers>, BackendError> {
    let mut lease = access.pools[side].lend_in(slot, &Want::Nothing).await?;
    if lease.selected().is_some_and(|s| s.name == *name) {
        lease.give_back();
        return Ok(None);
    }
    let numbers = status_of(&mut lease, name).await;
    lease.give_back();
    numbers.map(Some)
}

async fn status_of(conn: &mut Conn, name: &MailboxName) -> Result<Numbers, BackendError> {
    let mut ask = command("STATUS ", name);
    let counts = conn.profile().condstore();
    let more = if counts { " HIGHESTMODSEQ" } else { "" };
    ask.text(&format!(" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN{more})"));
    let done = conn.must(&format!("STATUS {name}"), &ask).await?;
    for response in done.untagged {
        if let Response::StatusOf { items, .. } = response {
            let items: HashMap<StatusKey, u64> = items.into_iter().collect();
            let number = |key| items.get(&key).copied();
            if let (Some(uid_validity), Some(uid_next), Some(messages), Some(unseen)) = (
                number(StatusKey::UidValidity),
                number(StatusKey::UidNext),
                number(StatusKey::Messages),
                number(StatusKey::Unseen),
            ) {
                let highest_mod_seq = number(StatusKey::HighestModSeq);
                return Ok(Numbers { uid_validity, uid_next, messages, unseen, highest_mod_seq });
            }
        }
    }
    Err(conn.protocol(format!("no answer to STATUS {name}")))
}
