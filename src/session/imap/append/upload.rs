//! Messages on their way to a server, in one command.

use std::sync::Arc;

use tracing::{info, warn};

use super::super::reply::{Failure, Reply};
use super::part::no_room;
use crate::account::{Access, AccountError, Mailbox, now};
use crate::backend::{BackendError, Done, Lease, Pending, text};
use crate::base::{Side, step};
use crate::ferry::Tee;
use crate::imap::command::MessageHead;
use crate::imap::framer::Literal;
use crate::imap::response::Code;
use crate::imap::write::Parts;
use crate::uid::{SideUid, Uid, UidSet};

/// Octets from here on are written from where they lie, smaller pieces are gathered.
const WRITE_THROUGH: usize = 8 << 10;
/// So much is gathered before it is sent.
const GATHER: usize = 32 << 10;

/// An APPEND under way. A client that goes away in its midst takes the lease with it: the connection
/// is closed, and the server drops what it has.
pub(super) struct Upload {
    target: Arc<Mailbox>,
    access: Arc<Access>,
    lease: Lease,
    pending: Pending,
    /// What the connection had announced before.
    announced: UidSet<SideUid>,
    messages: u32,
    gathered: usize,
}

impl Upload {
    /// Brings new to where it takes the octets of a first message.
    pub(super) async fn begin(
        access: &Arc<Access>,
        target: &Arc<Mailbox>,
        message: &MessageHead,
        literal: Literal,
    ) -> Result<Upload, Failure> {
        target.room()?;
        let side = if target.stays_on_old() { Side::Old } else { Side::New };
        let mut lease = target.lease(access, side).await?;
        let announced = lease.selected().map(|s| s.announced().clone()).unwrap_or_default();
        let Some(name) = target.view().names[side].clone() else {
            let mailbox = target.name().clone();
            return Err(AccountError::NotThere { mailbox, side }.into());
        };
        let mut command = Parts::new();
        command.text("APPEND ").mailbox(&name).text(" ");
        said(message, &mut command);
        let pending = match lease.begin_streamed(&command, literal.octets, literal.binary).await? {
            Ok(pending) => pending,
            Err(done) => {
                target.give_back(lease).await;
                return Err(Failure::Refused(Reply::from_server(&done)));
            }
        };
        let (access, target) = (Arc::clone(access), Arc::clone(target));
        Ok(Upload { target, access, lease, pending, announced, messages: 1, gathered: 0 })
    }

    /// Goes on with another message: all of them are stored, or none (RFC 3502 §6.3.11).
    pub(super) async fn go_on(
        &mut self,
        message: &MessageHead,
        literal: Literal,
    ) -> Result<(), Failure> {
        if !self.lease.profile().can("MULTIAPPEND") {
            return Err(Failure::Refused(Reply::bad("Something follows the message")));
        }
        let mut more = Parts::new();
        more.text(" ");
        said(message, &mut more);
        self.messages += 1;
        match self.lease.go_on_streamed(self.pending, &more, literal.octets, literal.binary).await?
        {
            None => Ok(()),
            Some(done) => Err(Failure::Refused(Reply::from_server(&done))),
        }
    }

    /// Octets of the message.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        if octets.len() >= WRITE_THROUGH {
            self.gathered = 0;
            return self.lease.write_octets(octets).await;
        }
        self.lease.queue_octets(octets);
        self.gathered += octets.len();
        if self.gathered >= GATHER {
            self.gathered = 0;
            self.lease.flush().await?;
        }
        Ok(())
    }

    /// Octets of the message that were collected before.
    pub(super) async fn send_collected(&mut self, part: &mut Tee) -> Result<(), Failure> {
        let mut chunks = part.chunks().map_err(|e| no_room(&e))?;
        while let Some(octets) = chunks.next().map_err(|e| no_room(&e))? {
            self.send(octets).await?;
        }
        Ok(())
    }

    /// Where it goes.
    pub(super) fn target(&self) -> Arc<Mailbox> {
        Arc::clone(&self.target)
    }

    /// Ends the command, and shows the messages in the mailbox before anybody hears of them. Their
    /// UIDs come with the answer, where they are known.
    pub(super) async fn finish(mut self) -> Result<(Reply, Option<UidSet<Uid>>), AccountError> {
        // Nobody takes them for what was delivered before they have their UIDs.
        let target = Arc::clone(&self.target);
        let _under_way = target.copies_to_here.read().await;
        self.lease.queue_octets(b"\r\n");
        let done = self.lease.finish(self.pending).await?;
        if !done.is_ok() {
            self.target.give_back(self.lease).await;
            return Ok((Reply::from_server(&done), None));
        }
        step("append: the messages are stored");
        // They are stored from here on: whatever fails, the client must not send them again.
        let claimed = match self.learn_uids(&done).await {
            Ok(Some(uids)) => self.claim(&uids).await.map(Some),
            other => other.map(|_| None).map_err(AccountError::from),
        };
        let Upload { target, access, lease, .. } = self;
        target.give_back(lease).await;
        match claimed {
            Ok(Some(uids)) => {
                let code = format!("APPENDUID {} {uids}", target.view().uid_validity);
                return Ok((Reply::ok_with(code, "Append completed"), Some(uids)));
            }
            Ok(None) => info!(mailbox = %target.name(), "no UID is known of what was appended"),
            Err(e) => warn!(mailbox = %target.name(), "appended, but not shown yet: {e}"),
        }
        if let Err(e) = target.refresh(&access).await {
            warn!(mailbox = %target.name(), "appended, but not shown yet: {e}");
        }
        Ok((Reply::ok("Append completed"), None))
    }

    /// The new messages' UIDs: as APPENDUID says (RFC 4315 §3), or, where the server has none, the
    /// arrivals that this connection has seen meanwhile, if they are as many.
    async fn learn_uids(&mut self, done: &Done) -> Result<Option<UidSet<SideUid>>, BackendError> {
        let validity = self.lease.selected().map(|s| s.uid_validity);
        if let Some(uids) = append_uids(&done.code, validity, self.messages) {
            return Ok(Some(uids));
        }
        if !self.lease.selected().is_some_and(|s| s.has_arrivals()) {
            self.lease.must("NOOP", &text("NOOP")).await?;
        }
        self.lease.list_arrivals().await?;
        let Some(selected) = self.lease.selected() else { return Ok(None) };
        let arrived = selected.announced().subtract(&self.announced);
        Ok((arrived.len() == self.messages).then_some(arrived))
    }

    async fn claim(&self, uids: &UidSet<SideUid>) -> Result<UidSet<Uid>, AccountError> {
        let side = self.lease.side();
        self.target
            .change(|merged, _| {
                let now = now();
                let claimed: Result<UidSet<Uid>, _> =
                    uids.iter().map(|uid| merged.claim(side, uid, now)).collect();
                Ok((claimed?, true))
            })
            .await
    }
}

/// `[flag-list SP] [date-time SP]`.
fn said(message: &MessageHead, command: &mut Parts) {
    if !message.flags.is_empty() {
        command.flags(&message.flags).text(" ");
    }
    if let Some(date) = &message.date {
        command.text(&format!("\"{date}\" "));
    }
}

fn append_uids(
    code: &Option<Code>,
    selected: Option<u32>,
    messages: u32,
) -> Option<UidSet<SideUid>> {
    let Some(Code::AppendUid { validity, uids }) = code else { return None };
    let count: u64 = uids.iter().map(|(a, b)| u64::from(b.saturating_sub(*a)) + 1).sum();
    if Some(*validity) != selected || count != u64::from(messages) {
        return None;
    }
    let uids = UidSet::from_ranges(uids.iter().map(|&(a, b)| (SideUid(a), SideUid(b))));
    (uids.len() == messages).then_some(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appenduid_is_believed_if_it_names_as_many_messages_of_this_mailbox() {
        let code = |validity, uids: &[(u32, u32)], messages| {
            let code = Some(Code::AppendUid { validity, uids: uids.to_vec() });
            append_uids(&code, Some(7), messages).map(|uids| uids.to_string())
        };
        assert_eq!(code(7, &[(12, 12)], 1).as_deref(), Some("12"));
        assert_eq!(code(7, &[(12, 12), (14, 15)], 3).as_deref(), Some("12,14:15"));
        assert_eq!(code(8, &[(12, 12)], 1), None);
        assert_eq!(code(7, &[(12, 13)], 1), None);
        assert_eq!(code(7, &[(12, 12), (12, 12)], 2), None);
        assert_eq!(code(7, &[(1, u32::MAX)], 1), None);
        assert_eq!(append_uids(&Some(Code::TryCreate), Some(7), 1), None);
        assert_eq!(append_uids(&None, Some(7), 1), None);
    }
}
