//! STATUS (RFC 3501 §6.3.10): both sides pipelined, answered from the map.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::base::MailboxName;
use crate::imap::command::StatusItem;
use crate::imap::write;

impl Session {
    pub(super) async fn status(
        &mut self,
        user: &User,
        name: &MailboxName,
        items: &[StatusItem],
    ) -> Result<Reply, Failure> {
        let known = |item: &StatusItem| {
            matches!(
                item,
                StatusItem::Messages
                    | StatusItem::Recent
                    | StatusItem::UidNext
                    | StatusItem::UidValidity
                    | StatusItem::Unseen
            ) || (*item == StatusItem::HighestModSeq && self.offer.has("CONDSTORE"))
        };
        if items.is_empty() || !items.iter().all(known) {
            return Ok(Reply::bad("Unknown STATUS item"));
        }
        let mailbox = user.account.mailbox(&user.access, name).await?;
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        let unseen = mailbox.status(&user.access, items.contains(&StatusItem::Unseen)).await?;
        let view = mailbox.view();
        let mut line = b"* STATUS ".to_vec();
        write::mailbox(name, &mut line);
        let values: Vec<String> = items
            .iter()
            .map(|item| {
                let value = match item {
                    StatusItem::Messages => view.map.len().into(),
                    StatusItem::UidNext => view.uid_next.0.into(),
                    StatusItem::UidValidity => view.uid_validity.into(),
                    StatusItem::Unseen => u64::from(unseen),
                    StatusItem::HighestModSeq => view.mod_seqs.highest(),
                    // The proxy claims no message to be recent.
                    _ => 0,
                };
                format!("{} {value}", item.as_str())
            })
            .collect();
        line.extend_from_slice(format!(" ({})", values.join(" ")).as_bytes());
        self.client.line(line);
        Ok(Reply::ok("Status completed"))
    }
}
