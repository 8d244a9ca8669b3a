//! CREATE, DELETE, RENAME and SUBSCRIBE: on new, with the map following (DESIGN §6).

use std::sync::Arc;

use tracing::{info, warn};

use super::folders::{command, create};
use super::hear::own_uid_validity;
use super::names::another_name;
use super::{Access, Account, AccountError, Folder, now};
use crate::backend::{BackendError, Want};
use crate::base::{MailboxName, Side, Sides};
use crate::imap::response::Code;
use crate::imap::write::Parts;
use crate::index::{Batch, MailboxRecord};
use crate::uid::Uid;

impl Account {
    /// Makes a mailbox on new under the name that the client gave it.
    pub async fn create_mailbox(
        &self,
        access: &Access,
        client: &MailboxName,
    ) -> Result<(), AccountError> {
        let folders = self.folders(access).await?;
        let records = self.index.mailboxes(self.id).await?;
        let taken = |name: &MailboxName| records.iter().any(|r| r.new.as_ref() == Some(name));
        let wanted = self.name_on_new(&folders, client);
        let new =
            if taken(&wanted) { another_name(&wanted, &folders.styles.new, taken) } else { wanted };
        let id = self.index.next_mailbox_id(self.id);
        // Greater than what the name meant before, for whoever still remembers that (RFC 3501
        // §2.3.1.1).
        let before = records.iter().filter(|r| r.client == *client).map(|r| r.uid_validity).max();
        let uid_validity = own_uid_validity(now(), id.0, before.unwrap_or(0));
        // Before the CREATE, so that the next listing shows it under the client's name.
        let record = MailboxRecord {
            id,
            client: client.clone(),
            old: None,
            new: Some(new.clone()),
            uid_validity,
            uid_next: Uid(1),
            boundary: None,
            sides: Sides::default(),
            mod_seq: 1,
            checkpoints: Vec::new(),
            hidden: false,
        };
        let mut batch = Batch::new();
        batch.put_mailbox(self.id, &record);
        self.index.submit(batch).await?;
        let mut lease = access.pools.new.lend(&Want::Nothing).await?;
        match create(&mut lease, &new).await {
            Ok(()) => lease.give_back(),
            Err(e) => {
                let mut batch = Batch::new();
                batch.delete_mailbox(self.id, record.id);
                self.index.submit(batch).await?;
                return Err(e.into());
            }
        }
        info!(account = %self.name, mailbox = %client, %new, "created");
        self.list_folders(access).await?;
        Ok(())
    }

    /// Deletes a mailbox: from new it goes, on old its folder is kept and hidden (V6).
    pub async fn delete_mailbox(
        &self,
        access: &Access,
        client: &MailboxName,
    ) -> Result<(), AccountError> {
        let folders = self.list_folders(access).await?;
        let folder =
            folders.find(client).ok_or_else(|| AccountError::NoSuchMailbox(client.clone()))?;
        let mailbox = self.hub(folder).await?;
        if let Some(new) = &folder.joined.new {
            let mut lease = access.pools.new.lend(&Want::Nothing).await?;
            let done = lease.run(&command("DELETE ", new)).await?;
            if !done.is_ok() && done.code != Some(Code::NonExistent) {
                let refused = lease.answer(&format!("DELETE {new}"), &done);
                lease.give_back();
                return Err(refused.into());
            }
            lease.give_back();
        }
        let on_old = folder.joined.old.is_some();
        mailbox
            .change(|merged, _| {
                merged.record.hidden = true;
                merged.record.new = None;
                if !on_old {
                    merged.record.old = None;
                }
                merged.there = Sides::default();
                Ok(((), true))
            })
            .await?;
        // The same name made again is another mailbox.
        self.open.remove(&folder.id);
        info!(account = %self.name, mailbox = %client, kept_on_old = on_old, "deleted");
        self.list_folders(access).await?;
        Ok(())
    }

    /// Gives a mailbox and all below it another name. UIDs and UIDVALIDITY stay.
    pub async fn rename_mailbox(
        &self,
        access: &Access,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<(), AccountError> {
        let folders = self.list_folders(access).await?;
        let missing = || AccountError::NoSuchMailbox(from.clone());
        let folder = folders.find(from).ok_or_else(missing)?;
        let new = self.name_on_new(&folders, to);
        if let Some(was) = &folder.joined.new {
            let mut lease = access.pools.new.lend(&Want::Nothing).await?;
            let mut rename = Parts::new();
            rename.text("RENAME ").mailbox(was).text(" ").mailbox(&new);
            lease.must(&format!("RENAME {was} to {new}"), &rename).await?;
            lease.give_back();
        }
        let below: Vec<&Folder> = folders.below(from).collect();
        let mut batch = Batch::new();
        for folder in std::iter::once(folder).chain(below) {
            let mailbox = self.hub(folder).await?;
            let mut record = mailbox.peek(|m| m.record.clone());
            record.client = moved(&record.client, from, to).unwrap_or(record.client);
            record.new = Some(self.name_on_new(&folders, &record.client));
            let there = mailbox.peek(|m| m.there);
            mailbox.set_there(&record, there);
            batch.put_mailbox(self.id, &mailbox.peek(|m| m.record.clone()));
        }
        self.index.submit(batch).await?;
        info!(account = %self.name, %from, %to, "renamed");
        self.list_folders(access).await?;
        Ok(())
    }

    /// Subscribes to a mailbox, or no longer: wherever it exists, for the client sees a mailbox as
    /// subscribed if either side says so.
    pub async fn subscribe(
        &self,
        access: &Access,
        client: &MailboxName,
        on: bool,
    ) -> Result<(), AccountError> {
        let folders = self.folders(access).await?;
        let missing = || AccountError::NoSuchMailbox(client.clone());
        let joined = &folders.find(client).ok_or_else(missing)?.joined;
        let word = if on { "SUBSCRIBE " } else { "UNSUBSCRIBE " };
        let mut first = None;
        for (side, name) in [(Side::New, &joined.new), (Side::Old, &joined.old)] {
            let Some(name) = name else { continue };
            match self.subscribe_on(access, side, word, name).await {
                Ok(()) => first = first.or(Some(Ok(()))),
                Err(e) if first.is_none() => first = Some(Err(e)),
                Err(e) => warn!(account = %self.name, mailbox = %client, %side, "{e}"),
            }
        }
        first.unwrap_or(Ok(())).map_err(AccountError::from)
    }

    async fn subscribe_on(
        &self,
        access: &Access,
        side: Side,
        word: &str,
        name: &MailboxName,
    ) -> Result<(), BackendError> {
        let pool: &Arc<crate::backend::Pool> = &access.pools[side];
        let mut lease = pool.lend(&Want::Nothing).await?;
        lease.must(word.trim_end(), &command(word, name)).await?;
        lease.give_back();
        Ok(())
    }
}

/// A name below `from`, or `from` itself, as it is below `to`.
fn moved(name: &MailboxName, from: &MailboxName, to: &MailboxName) -> Option<MailboxName> {
    let rest = name.as_bytes().strip_prefix(from.as_bytes())?;
    MailboxName::new(&[to.as_bytes(), rest].concat())
}
