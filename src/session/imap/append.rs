//! APPEND (RFC 3501 §6.3.11): streamed to new, piece by piece; to old only into what is old's alone.

use std::sync::Arc;

use tracing::{info, warn};

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{Access, AccountError, Mailbox, now};
use crate::backend::{BackendError, Conn, Done, Lease, Pending, text};
use crate::base::Side;
use crate::imap::command::AppendHead;
use crate::imap::framer::{Literal, Piece};
use crate::imap::response::Code;
use crate::imap::write::Parts;
use crate::session::client::ClientError;
use crate::uid::{SideUid, Uid, UidSet};

/// Octets from here on are written from where they lie, smaller pieces are gathered.
const WRITE_THROUGH: usize = 8 << 10;
/// So much is gathered before it is sent.
const GATHER: usize = 32 << 10;

impl Session {
    /// Takes an APPEND from behind its head to its end, whatever becomes of it.
    pub(super) async fn append(&mut self, head: AppendHead) -> Result<Reply, Failure> {
        let opened = match self.user.clone() {
            Some(user) => self.open(&user, &head).await.map(|upload| (user, upload)),
            None => Err(Failure::Refused(Reply::bad("Please log in first"))),
        };
        let (user, upload) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.swallow(&head).await?;
                return Err(why);
            }
        };
        let reply = self.stream(&head, upload).await?;
        self.pay(&user, true).await?;
        Ok(reply)
    }

    /// Finds the target, and a server that is ready for the message.
    async fn open(&self, user: &User, head: &AppendHead) -> Result<Upload, Failure> {
        let refuse = |code, text: &str| Failure::Refused(Reply::no_with(code, text));
        if head.octets > self.server.config.limits.message {
            return Err(refuse("TOOBIG", "The message is larger than the limit"));
        }
        let target = match user.account.mailbox(&user.access, &head.mailbox).await {
            Ok(target) => target,
            Err(AccountError::NoSuchMailbox(_)) => {
                return Err(refuse("TRYCREATE", "No such mailbox, it can be created"));
            }
            Err(e) => return Err(e.into()),
        };
        let side = if target.is_shared() { Side::Old } else { Side::New };
        if side == Side::New {
            user.account.make_on_new(&user.access, &target).await?;
        }
        let names = &target.view().names;
        if Side::BOTH.into_iter().any(|side| names[side].is_some() && !target.has_seen(side)) {
            // What lies on old comes first: it keeps its UIDs only if it is seen before (V2).
            target.refresh(&user.access).await?;
        }
        let mut lease = target.lease(&user.access, side).await?;
        let announced = lease.selected().map(|s| s.announced().clone()).unwrap_or_default();

        let Some(name) = target.view().names[side].clone() else {
            let mailbox = target.name().clone();
            return Err(AccountError::NotThere { mailbox, side }.into());
        };
        let mut command = Parts::new();
        command.text("APPEND ").mailbox(&name).text(" ");
        if !head.flags.is_empty() {
            command.flags(&head.flags).text(" ");
        }
        if let Some(date) = &head.date {
            command.text(&format!("\"{date}\" "));
        }
        let pending = match lease.begin_streamed(&command, head.octets).await? {
            Ok(pending) => pending,
            Err(done) => {
                target.give_back(lease).await;
                return Err(Failure::Refused(Reply::from_server(&done)));
            }
        };
        let access = Arc::clone(&user.access);
        Ok(Upload { target, access, lease, pending, announced })
    }

    /// Passes over a message that is not wanted, to where the next command begins.
    async fn swallow(&mut self, head: &AppendHead) -> Result<(), ClientError> {
        let literal = Literal { octets: head.octets, sync: head.sync, binary: false };
        self.skip_literal(literal).await?;
        if !head.sync {
            self.skip_line().await?;
        }
        Ok(())
    }

    /// The message itself. A client that goes away in its midst takes the lease with it: the
    /// connection is closed, and the server drops what it has.
    async fn stream(&mut self, head: &AppendHead, upload: Upload) -> Result<Reply, Failure> {
        if head.sync {
            self.client.line("+ Ready for literal data");
            self.client.flush().await?;
        }
        let mut upload = Ok(upload);
        let mut gathered = 0;
        loop {
            let Piece::Chunk { octets, last } = self.client.piece().await? else {
                return Err(ClientError::Closed.into());
            };
            if let Ok(to) = &mut upload
                && let Err(e) = send(&mut to.lease, &octets, &mut gathered).await
            {
                // The rest still comes, and has to go somewhere.
                upload = Err(e);
            }
            if last {
                break;
            }
        }
        // One message: MULTIAPPEND is not offered.
        match self.client.piece().await? {
            Piece::Line(rest) if rest.trim_ascii().is_empty() => {}
            Piece::Line(_) | Piece::Chunk { .. } => return Ok(excess()),
            Piece::Head { literal, .. } => {
                self.skip_literal(literal).await?;
                if !literal.sync {
                    self.skip_line().await?;
                }
                return Ok(excess());
            }
        }
        self.carry_through(upload?.finish()).await
    }
}

fn excess() -> Reply {
    Reply::bad("Something follows the message")
}

async fn send(conn: &mut Conn, octets: &[u8], gathered: &mut usize) -> Result<(), BackendError> {
    if octets.len() >= WRITE_THROUGH {
        *gathered = 0;
        return conn.write_octets(octets).await;
    }
    conn.queue_octets(octets);
    *gathered += octets.len();
    if *gathered >= GATHER {
        *gathered = 0;
        conn.flush().await?;
    }
    Ok(())
}

/// A message on its way.
struct Upload {
    target: Arc<Mailbox>,
    access: Arc<Access>,
    lease: Lease,
    pending: Pending,
    /// What the connection had announced before.
    announced: UidSet<SideUid>,
}

impl Upload {
    /// Ends the command, and shows the message in the mailbox before anybody hears of it.
    async fn finish(mut self) -> Result<Reply, AccountError> {
        self.lease.queue_octets(b"\r\n");
        let done = self.lease.finish(self.pending).await?;
        if !done.is_ok() {
            self.target.give_back(self.lease).await;
            return Ok(Reply::from_server(&done));
        }
        // The message is stored from here on: whatever fails, the client must not send it again.
        let claimed = match self.learn_uid(&done).await {
            Ok(Some(uid)) => self.claim(uid).await.map(Some),
            other => other.map(|_| None).map_err(AccountError::from),
        };
        let Upload { target, access, lease, .. } = self;
        target.give_back(lease).await;
        match claimed {
            Ok(Some(uid)) => {
                let code = format!("APPENDUID {} {uid}", target.view().uid_validity);
                return Ok(Reply::ok_with(code, "Append completed"));
            }
            Ok(None) => info!(mailbox = %target.name(), "no UID is known of what was appended"),
            Err(e) => warn!(mailbox = %target.name(), "appended, but not shown yet: {e}"),
        }
        if let Err(e) = target.refresh(&access).await {
            warn!(mailbox = %target.name(), "appended, but not shown yet: {e}");
        }
        Ok(Reply::ok("Append completed"))
    }

    /// The new message's UID: as APPENDUID says (RFC 4315 §3), or, where the server has none, the
    /// one arrival that this connection has seen meanwhile.
    async fn learn_uid(&mut self, done: &Done) -> Result<Option<SideUid>, BackendError> {
        let validity = self.lease.selected().map(|s| s.uid_validity);
        if let Some(uid) = append_uid(&done.code, validity) {
            return Ok(Some(uid));
        }
        if !self.lease.selected().is_some_and(|s| s.has_arrivals()) {
            self.lease.must("NOOP", &text("NOOP")).await?;
        }
        self.lease.list_arrivals().await?;
        let Some(selected) = self.lease.selected() else { return Ok(None) };
        let arrived = selected.announced().subtract(&self.announced);
        Ok(arrived.first().filter(|_| arrived.len() == 1))
    }

    async fn claim(&self, uid: SideUid) -> Result<Uid, AccountError> {
        let side = self.lease.side();
        self.target.change(|merged, _| Ok((merged.claim(side, uid, now())?, true))).await
    }
}

fn append_uid(code: &Option<Code>, selected: Option<u32>) -> Option<SideUid> {
    match code {
        Some(Code::AppendUid { validity, uids }) if Some(*validity) == selected => {
            match uids.as_slice() {
                [(first, last)] if first == last => Some(SideUid(*first)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appenduid_is_believed_if_it_names_one_message_of_this_mailbox() {
        let code = |validity, uids: &[(u32, u32)]| {
            append_uid(&Some(Code::AppendUid { validity, uids: uids.to_vec() }), Some(7))
        };
        assert_eq!(code(7, &[(12, 12)]), Some(SideUid(12)));
        assert_eq!(code(8, &[(12, 12)]), None);
        assert_eq!(code(7, &[(12, 13)]), None);
        assert_eq!(code(7, &[(12, 12), (14, 14)]), None);
        assert_eq!(append_uid(&Some(Code::TryCreate), Some(7)), None);
        assert_eq!(append_uid(&None, Some(7)), None);
    }
}
