//! A plain copy from one side to the other, as COPY makes one on a side: for what cannot be carried
//! because it is old's alone, or goes to where only old has the mailbox.
//!
//! It leaves no intent: the copy is a message of its own. After a crash the client has no answer,
//! and asks again, as it would of any server.

use std::sync::Arc;

use super::append::told_uid;
use super::carry::{Carry, Message, has_keywords, remove_copies, system_flags};
use super::copier::Copier;
use super::read::Read;
use crate::account::{AccountError, Mailbox};
use crate::backend::{BackendError, Conn, Done, Lease, internal_date};
use crate::uid::{SideUid, Uid, UidSet};

impl Copier {
    /// Appends these messages of `source`, of which `from` is a connection, to the mailbox that is
    /// selected on `to`. Returns which became which, as far as the server tells, in order. If a
    /// message is refused, those before it are taken back.
    pub async fn copy_across(
        &self,
        source: &Arc<Mailbox>,
        from: &mut Lease,
        to: &mut Lease,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<Vec<(SideUid, Option<SideUid>)>, Done>, AccountError> {
        let carry = Carry::new(self, source, to.side());
        let mut copied: Vec<(SideUid, Option<SideUid>)> = Vec::new();
        // One at a time: none of them is held longer than it takes.
        for uid in wanted.iter() {
            // The virtual UID is of no concern here: there is only one message.
            let mut message = match carry.read_one(from, Uid(0), uid).await? {
                Read::Whole(message) => message,
                // One that is gone meanwhile is not copied.
                Read::Gone => continue,
                Read::Refused(text) => {
                    take_back(to, &copied).await?;
                    let doing = format!("UID FETCH {uid}");
                    let side = from.side();
                    return Err(BackendError::Answer { side, doing, code: None, text }.into());
                }
            };
            let dates = internal_date(&message.date).into_iter().collect();
            self.account.come_to(to.side(), &dates).await?;
            let done = append(&carry, to, &mut message).await?;
            if !done.is_ok() {
                take_back(to, &copied).await?;
                return Ok(Err(done));
            }
            copied.push((uid, told_uid(&done)));
        }
        Ok(Ok(copied))
    }
}

async fn take_back(
    to: &mut Lease,
    copied: &[(SideUid, Option<SideUid>)],
) -> Result<(), AccountError> {
    let before: UidSet<SideUid> = copied.iter().filter_map(|(_, to)| *to).collect();
    if before.is_empty() { Ok(()) } else { remove_copies(to, &before).await }
}

/// A keyword that the server refuses is no reason to refuse the message.
async fn append(
    carry: &Carry<'_>,
    conn: &mut Conn,
    message: &mut Message,
) -> Result<Done, AccountError> {
    let done = carry.append_some(conn, std::slice::from_mut(message)).await?;
    if done.is_ok() || !has_keywords(&message.flags) {
        return Ok(done);
    }
    message.flags = system_flags(&message.flags);
    carry.append_some(conn, std::slice::from_mut(message)).await
}
