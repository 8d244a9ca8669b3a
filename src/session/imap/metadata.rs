//! METADATA (RFC 5464): both sides' annotations, under the client's name of the mailbox. Which side
//! decides stands at [`Account::metadata`](crate::account::Account::metadata).

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::base::MailboxName;
use crate::imap::command::{Entry, MetadataAsked};
use crate::imap::write;

impl Session {
    /// GETMETADATA. The length of values is bounded, whatever the client allows.
    pub(super) async fn get_metadata(
        &mut self,
        user: &User,
        mailbox: Option<&MailboxName>,
        asked: &MetadataAsked,
    ) -> Result<Reply, Failure> {
        if !self.offer.has("METADATA") {
            return Ok(Reply::bad(NOT_OFFERED));
        }
        let told = user.account.metadata(&user.access, mailbox, asked);
        let told = self.client.patiently(told).await??;
        if told.values().len() > 0 {
            let mut line = b"* METADATA ".to_vec();
            match mailbox {
                None => line.extend_from_slice(b"\"\""),
                Some(name) => write::mailbox(name, self.extended.spelling(), &mut line),
            }
            for (at, (entry, value)) in told.values().enumerate() {
                line.extend_from_slice(if at == 0 { b" (" } else { b" " });
                write::astring(entry, &mut line);
                line.push(b' ');
                match value {
                    Some(value) => write::string_or_literal(value, &mut line),
                    None => line.extend_from_slice(b"NIL"),
                }
            }
            line.push(b')');
            self.client.line(line);
        }
        Ok(match told.longest {
            Some(octets) => Reply::ok_with(
                format!("METADATA LONGENTRIES {octets}"),
                "Getmetadata completed, without what is too long",
            ),
            None => Reply::ok("Getmetadata completed"),
        })
    }

    /// SETMETADATA.
    pub(super) async fn set_metadata(
        &mut self,
        user: &User,
        mailbox: Option<MailboxName>,
        values: Vec<(Entry, Option<Vec<u8>>)>,
    ) -> Result<Reply, Failure> {
        if !self.offer.has("METADATA") {
            return Ok(Reply::bad(NOT_OFFERED));
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let work = async move { account.set_metadata(&access, mailbox.as_ref(), &values).await };
        self.carry_through(work).await?;
        Ok(Reply::ok("Setmetadata completed"))
    }
}

const NOT_OFFERED: &str = "METADATA is not offered";
