//! STATUS (RFC 3501 §6.3.10, RFC 8438, RFC 7889, RFC 8474 §4.3, RFC 9208 §4.1.1): both sides
//! pipelined, answered from the map.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{Asked, Status, statuses};
use crate::base::MailboxName;
use crate::imap::command::StatusItem;
use crate::imap::write;
use crate::uid::ObjectId;

impl Session {
    pub(super) async fn status(
        &mut self,
        user: &User,
        name: &MailboxName,
        items: &[StatusItem],
    ) -> Result<Reply, Failure> {
        let Some(asked) = self.asked(items) else {
            return Ok(Reply::bad("Unknown STATUS item"));
        };
        let mailbox = user.account.mailbox(&user.access, name).await?;
        let statuses = statuses(&user.access, std::slice::from_ref(&mailbox), asked);
        for status in self.client.patiently(statuses).await? {
            self.tell_status(name, items, &status?, mailbox.view().object_id);
        }
        Ok(Reply::ok("Status completed"))
    }

    /// What the account is asked for these items; `None` if one of them is not offered.
    pub(super) fn asked(&mut self, items: &[StatusItem]) -> Option<Asked> {
        let asked = asked(items)?;
        if asked.mod_seq {
            if !self.offer.has("CONDSTORE") {
                return None;
            }
            self.enable_condstore();
        }
        Some(asked)
    }

    /// One STATUS response.
    pub(super) fn tell_status(
        &mut self,
        name: &MailboxName,
        items: &[StatusItem],
        status: &Status,
        id: ObjectId,
    ) {
        let limit = self.offer.append_limit();
        let limit = status.append_limit.map_or(limit, |told| told.min(limit));
        let named_first = |(n, item): &(usize, &StatusItem)| !items[..*n].contains(item);
        let values: Vec<String> = items
            .iter()
            .enumerate()
            .filter(named_first)
            .map(|(_, item)| {
                let value: u64 = match item {
                    StatusItem::Messages => status.messages.into(),
                    StatusItem::UidNext => status.uid_next.0.into(),
                    StatusItem::UidValidity => status.uid_validity.into(),
                    StatusItem::Unseen => status.unseen,
                    StatusItem::Deleted => status.deleted,
                    StatusItem::Size => status.size,
                    StatusItem::DeletedStorage => status.deleted_storage,
                    StatusItem::AppendLimit => limit,
                    StatusItem::HighestModSeq => status.mod_seq,
                    // The proxy claims no message to be recent.
                    StatusItem::Recent => 0,
                    StatusItem::MailboxId => return format!("MAILBOXID ({id})"),
                };
                format!("{} {value}", item.as_str())
            })
            .collect();
        let mut line = b"* STATUS ".to_vec();
        write::mailbox(name, self.extended.spelling(), &mut line);
        line.extend_from_slice(format!(" ({})", values.join(" ")).as_bytes());
        self.client.line(line);
    }
}

/// What is to be counted for these items; `None` if there are none.
fn asked(items: &[StatusItem]) -> Option<Asked> {
    let mut asked = Asked::default();
    for item in items {
        match item {
            StatusItem::Unseen => asked.unseen = true,
            StatusItem::Deleted => asked.deleted = true,
            StatusItem::Size => asked.size = true,
            StatusItem::DeletedStorage => asked.deleted_storage = true,
            StatusItem::AppendLimit => asked.append_limit = true,
            StatusItem::HighestModSeq => asked.mod_seq = true,
            StatusItem::Messages
            | StatusItem::Recent
            | StatusItem::UidNext
            | StatusItem::UidValidity
            | StatusItem::MailboxId => {}
        }
    }
    (!items.is_empty()).then_some(asked)
}
