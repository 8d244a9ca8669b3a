//! NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE: in old's names.

use tracing::warn;

use super::list::separator;
use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{Access, Account, AccountError, Asked, Unchanged, statuses, trimmed};
use crate::base::MailboxName;
use crate::imap::command::Flag;
use crate::imap::names::{Spelling, decode, is_net_unicode};
use crate::imap::response::SpecialUse;
use crate::imap::write;
use crate::uid::ObjectId;

impl Session {
    /// NAMESPACE (RFC 2342): old's, of the personal ones the first.
    pub(super) async fn namespace(&mut self, user: &User) -> Result<Reply, Failure> {
        let folders = user.account.folders(&user.access).await?;
        let spelling = self.extended.spelling();
        let mut line = b"* NAMESPACE ((".to_vec();
        write::quoted(&spelling.write(&folders.styles.old.prefix), &mut line);
        line.push(b' ');
        separator(folders.separator(), &mut line);
        line.extend_from_slice(b"))");
        let foreign = folders.foreign();
        for namespaces in [&foreign.other, &foreign.shared] {
            line.push(b' ');
            let shown = namespaces.iter().filter(|(_, sep)| *sep == folders.separator());
            let shown: Vec<_> = shown.collect();
            if shown.is_empty() {
                line.extend_from_slice(b"NIL");
                continue;
            }
            line.push(b'(');
            for (prefix, sep) in shown {
                line.push(b'(');
                write::quoted(&spelling.write(prefix), &mut line);
                line.push(b' ');
                separator(*sep, &mut line);
                line.push(b')');
            }
            line.push(b')');
        }
        self.client.line(line);
        Ok(Reply::ok("Namespace completed"))
    }

    /// CREATE (RFC 3501 §6.3.3, RFC 6154 §3, RFC 8474 §4.1): on new; a shared one on old.
    pub(super) async fn create(
        &mut self,
        user: &User,
        name: &MailboxName,
        uses: &[Flag],
    ) -> Result<Reply, Failure> {
        if let Some(refused) = self.unfit(name) {
            return Ok(refused);
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let name = name.clone();
        let special = |attribute: &Flag| SpecialUse::named(attribute.as_str().as_bytes());
        let Some(uses) = uses.iter().map(special).collect::<Option<Vec<SpecialUse>>>() else {
            return Ok(Reply::no_with("USEATTR", "There is no such use"));
        };
        let work = async move {
            if let Err(unchanged) = account.create_mailbox(&access, &name, &uses).await {
                return Ok(Err(unchanged));
            }
            Ok(Ok(object_id(&account, &access, &name).await))
        };
        match self.carry_through(work).await? {
            Ok(Ok(id)) => Ok(Reply::ok_with(format!("MAILBOXID ({id})"), "Create completed")),
            // It was made all the same.
            Ok(Err(e)) => {
                warn!("CREATE without MAILBOXID: {e}");
                Ok(Reply::ok("Create completed"))
            }
            Err(unchanged) => told(Err(unchanged), ""),
        }
    }

    /// DELETE (RFC 3501 §6.3.4): on new; old's folder is kept, and hidden (V6). A shared one is
    /// deleted on old.
    pub(super) async fn delete(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        let (account, access) = (user.account.clone(), user.access.clone());
        let deleted = name.clone();
        let work = async move { Ok(account.delete_mailbox(&access, &deleted).await) };
        let reply = told(self.carry_through(work).await?, "Delete completed")?;
        if reply.is_ok() && self.selected.as_ref().is_some_and(|s| s.mailbox.name() == *name) {
            self.selected = None;
        }
        Ok(reply)
    }

    /// RENAME (RFC 3501 §6.3.5): on new, the map follows; old's folder keeps its name there.
    pub(super) async fn rename(
        &mut self,
        user: &User,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Reply, Failure> {
        if let Some(refused) = self.unfit(to) {
            return Ok(refused);
        }
        if from.is_inbox() {
            return self.rename_inbox(user, to).await;
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let (from, to) = (from.clone(), to.clone());
        let work = async move { Ok(account.rename_mailbox(&access, &from, &to).await) };
        told(self.carry_through(work).await?, "Rename completed")
    }

    /// The answer to a name that no mailbox may get: one that is no modified UTF-7 (RFC 3501 §5.1.3),
    /// or not one for UTF-8 from a client that spells names so. What has such a name keeps it.
    fn unfit(&self, name: &MailboxName) -> Option<Reply> {
        if decode(name.as_bytes()).is_none() {
            return Some(Reply::no_with("CANNOT", "A name must be in modified UTF-7"));
        }
        let fit = self.extended.spelling() == Spelling::Utf7 || is_net_unicode(name.as_bytes());
        let why = "A name must be composed Unicode (NFC) without control characters";
        (!fit).then(|| Reply::no_with("CANNOT", why))
    }

    /// SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6, §6.3.7).
    pub(super) async fn subscribe(
        &mut self,
        user: &User,
        name: &MailboxName,
        on: bool,
    ) -> Result<Reply, Failure> {
        let (account, access) = (user.account.clone(), user.access.clone());
        if on
            && let Some(refused) = self.unfit(name)
            && account.folders(&access).await?.find(name).is_none()
        {
            return Ok(refused);
        }
        let name = name.clone();
        let work = async move { Ok(account.subscribe(&access, &name, on).await) };
        let text = if on { "Subscribe completed" } else { "Unsubscribe completed" };
        told(self.carry_through(work).await?, text)
    }
}

/// The identifier of a mailbox that was made just now.
async fn object_id(
    account: &Account,
    access: &Access,
    name: &MailboxName,
) -> Result<ObjectId, AccountError> {
    // With a separator at its end it was made without.
    let name = trimmed(name, account.folders(access).await?.separator());
    let mailbox = account.mailbox(access, &name).await?;
    // Its UIDVALIDITY must be known.
    for status in statuses(access, std::slice::from_ref(&mailbox), Asked::default()).await {
        status?;
    }
    Ok(mailbox.view().object_id)
}

/// What the client hears of a change to its folders.
pub(super) fn told(result: Result<(), Unchanged>, text: &str) -> Result<Reply, Failure> {
    match result {
        Ok(()) => Ok(Reply::ok(text)),
        Err(Unchanged::Server(done)) => Ok(Reply::from_server(&done)),
        Err(Unchanged::Exists(_)) => Ok(Reply::no_with("ALREADYEXISTS", "Mailbox exists already")),
        Err(Unchanged::Missing(_)) => Ok(Reply::no_with("NONEXISTENT", "No such mailbox")),
        Err(Unchanged::Use(why)) => Ok(Reply::no_with("USEATTR", why)),
        Err(Unchanged::Cannot(why)) => Ok(Reply::no_with("CANNOT", why)),
        Err(Unchanged::Failed(e)) => Err(e.into()),
    }
}
