//! MAILBOXID and EMAILID (RFC 8474): the proxy's own, so that they are the same wherever a message
//! lies, and stay when it is copied to new.
//!
//! Both are made of what never changes: see [`ObjectId`] and [`EmailId`]. Only of what COPY and
//! MOVE made something is kept, in the batch in which its UID is claimed; and of what was copied, which says that
//! it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AccountError, Mailbox};
use crate::index::Batch;
use crate::uid::{EmailId, ObjectId, Uid, UidSet};

/// The EMAILIDs of some messages of one mailbox.
#[derive(Clone, Debug)]
pub struct Emails {
    mailbox: ObjectId,
    /// Those that have the identifier of another place.
    copied: BTreeMap<Uid, EmailId>,
}

impl Emails {
    /// A message's; it must be one of those that were asked for.
    pub fn of(&self, uid: Uid) -> EmailId {
        let own = EmailId { mailbox: self.mailbox, uid };
        self.copied.get(&uid).copied().unwrap_or(own)
    }

    /// Those of the messages that have this one.
    pub fn having(&self, id: EmailId, uids: &UidSet<Uid>) -> UidSet<Uid> {
        let copies = self.copied.iter().filter(|(_, copied)| **copied == id).map(|(uid, _)| *uid);
        let own = (id.mailbox == self.mailbox).then_some(id.uid);
        let fits = |uid: &Uid| uids.contains(*uid) && self.of(*uid) == id;
        copies.chain(own).filter(fits).collect()
    }
}

impl Mailbox {
    /// The EMAILIDs of messages that the client knows of.
    ///
    /// Waits for what is being copied here at this moment: another connection may have heard of a
    /// copy, and shown it, before the COPY itself has said whose copy it is.
    pub async fn emails(self: &Arc<Self>, uids: &UidSet<Uid>) -> Result<Emails, AccountError> {
        drop(self.copies_to_here.write().await);
        let mailbox = self.view().object_id;
        let copied = self.index.emails(self.account, self.id, uids.clone()).await?;
        Ok(Emails { mailbox, copied })
    }

    /// All messages here that have the identifier of another place.
    pub(super) async fn copied_emails(&self) -> Result<BTreeMap<Uid, EmailId>, AccountError> {
        let all = UidSet::from_ranges([(Uid(1), Uid(u32::MAX))]);
        Ok(self.index.emails(self.account, self.id, all).await?)
    }

    /// A message that is a copy has the EMAILID of its source, and a source its own. For those who hold
    /// `copies_to_here` of the copy's mailbox.
    pub fn put_email(&self, batch: &mut Batch, copy: Uid, id: EmailId) {
        batch.put_email(self.account, self.id, copy, &id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AccountName, MailboxName};

    #[test]
    fn a_copy_is_found_by_the_identifier_of_its_source_and_by_no_other() {
        let account = AccountName::canonical("ann@example.com", None).unwrap();
        let id = |name: &[u8]| ObjectId::new(&account, &MailboxName::new(name).unwrap(), 7);
        let (here, there) = (id(b"here"), id(b"there"));
        let source = EmailId { mailbox: there, uid: Uid(5) };
        let own = |uid| EmailId { mailbox: here, uid: Uid(uid) };
        let copied = BTreeMap::from([(Uid(5), source), (Uid(7), source), (Uid(8), own(6))]);
        let emails = Emails { mailbox: here, copied };
        let having = |id, uids: &str| {
            emails.having(id, &UidSet::parse(uids.as_bytes()).unwrap()).to_string()
        };
        assert_eq!(having(source, "1:9"), "5,7");
        assert_eq!(having(source, "6:9"), "7");
        assert_eq!(having(own(5), "1:9"), "");
        assert_eq!(having(own(6), "1:9"), "6,8");
        assert_eq!(having(own(9), "1:8"), "");
        assert_eq!(emails.of(Uid(8)), own(6));
    }
}
