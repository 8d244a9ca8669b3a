//! ACL (RFC 4314): who may do what with a mailbox, as its one side says.
//!
//! That is old, wherever the mailbox is on old: through the proxy others reach a user's mailboxes
//! by old's namespaces ([`Foreign`](crate::account::Foreign)), so rights given elsewhere would have
//! no effect, and rights taken elsewhere would still be had. A mailbox that is on new alone has
//! new's. Rights are never written to the other side: an identifier may be somebody else's there.
//! So all that is to be set up on new, once old is switched off, stands on old until then.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{AccountError, command};
use crate::backend::Want;
use crate::base::{MailboxName, Side};
use crate::imap::command::AclCommand;
use crate::imap::response::Response;
use crate::imap::write;

impl Session {
    /// SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS.
    pub(super) async fn acl(
        &mut self,
        user: &User,
        mailbox: &MailboxName,
        ask: &AclCommand,
    ) -> Result<Reply, Failure> {
        if !self.offer.has("ACL") {
            return Ok(Reply::bad("ACL is not offered"));
        }
        let names = user.account.mailbox(&user.access, mailbox).await?.view().names.clone();
        let (side, name) = match (names.old, names.new) {
            (Some(old), _) => (Side::Old, old),
            (None, Some(new)) => (Side::New, new),
            (None, None) => return Err(AccountError::NoSuchMailbox(mailbox.clone()).into()),
        };
        let word = match ask {
            AclCommand::Set { .. } => "SETACL ",
            AclCommand::Delete { .. } => "DELETEACL ",
            AclCommand::Get => "GETACL ",
            AclCommand::List { .. } => "LISTRIGHTS ",
            AclCommand::My => "MYRIGHTS ",
        };
        let mut parts = command(word, &name);
        match ask {
            AclCommand::Set { identifier, rights } => {
                parts.text(" ").astring(identifier).text(" ").astring(rights);
            }
            AclCommand::Delete { identifier } | AclCommand::List { identifier } => {
                parts.text(" ").astring(identifier);
            }
            AclCommand::Get | AclCommand::My => {}
        }
        if let AclCommand::Set { .. } | AclCommand::Delete { .. } = ask {
            if side == Side::Old && user.account.old_is_read_only() {
                return Ok(Reply::no_with("NOPERM", "The old server is read-only"));
            }
            let (account, access) = (user.account.clone(), user.access.clone());
            let work = async move { account.run_apart(&access, side, &parts).await };
            return Ok(Reply::from_server(&self.carry_through(work).await?));
        }
        let mut lease = user.access.pools[side].lend(&Want::Nothing).await?;
        let done = self.client.patiently(lease.run(&parts)).await??;
        lease.give_back();
        for response in &done.untagged {
            if let Some(line) = self.rights(mailbox, response) {
                self.client.line(line);
            }
        }
        Ok(Reply::from_server(&done))
    }

    /// What a server told of rights, under the client's name of the mailbox.
    fn rights(&self, mailbox: &MailboxName, response: &Response) -> Option<Vec<u8>> {
        let (word, words) = match response {
            Response::Acl { rights, .. } => {
                ("ACL", rights.iter().flat_map(|(whose, rights)| [whose, rights]).collect())
            }
            Response::ListRights { identifier, rights, .. } => {
                ("LISTRIGHTS", [identifier].into_iter().chain(rights).collect::<Vec<_>>())
            }
            Response::MyRights { rights, .. } => ("MYRIGHTS", vec![rights]),
            _ => return None,
        };
        let mut line = format!("* {word} ").into_bytes();
        write::mailbox(mailbox, self.extended.spelling(), &mut line);
        for word in words {
            line.push(b' ');
            write::astring(word, &mut line);
        }
        Some(line)
    }
}
