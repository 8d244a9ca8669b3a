//! Folders of other users and shared ones: they are old's, and are never carried to new.
//!
//! NAMESPACE (RFC 2342) tells which folders of old these are. The client reaches each by old's name
//! for it, and may do there what old lets it. Such a mailbox has a record and a hub like any other,
//! so that views, watching and writing need know nothing of it; it is told by having no name on
//! new. Its map says nothing that old does not say: it can be forgotten at any time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::change::{Unchanged, moved, trimmed};
use super::folders::{command, listed_as, remembered_as};
use super::names::{Joined, Listed};
use super::{Access, Account, AccountError, Folder, Folders, Mailbox};
use crate::backend::{Done, Want};
use crate::base::{MailboxName, Phase, Side, Sides};
use crate::imap::write::Parts;
use crate::index::{Batch, MailboxId, MailboxRecord};

/// The namespaces of a server that are not the user's own (RFC 2342 §5).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Foreign {
    /// The prefixes of the user's own, to tell both apart.
    own: Vec<Vec<u8>>,
    /// Prefix and separator of each of other users.
    pub other: Vec<(Bytes, Option<u8>)>,
    /// Prefix and separator of each that is shared.
    pub shared: Vec<(Bytes, Option<u8>)>,
}

impl Foreign {
    /// What NAMESPACE told.
    pub(super) fn new(
        own: &[(Bytes, Option<u8>)],
        other: Vec<(Bytes, Option<u8>)>,
        shared: Vec<(Bytes, Option<u8>)>,
    ) -> Foreign {
        Foreign { own: own.iter().map(|(prefix, _)| prefix.to_vec()).collect(), other, shared }
    }

    /// All prefixes with their separators.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &(Bytes, Option<u8>)> {
        self.other.iter().chain(&self.shared)
    }

    /// Whether a name lies in one of them: the longest prefix tells, and INBOX is the user's own.
    pub(super) fn holds(&self, name: &MailboxName) -> bool {
        let name = if name.is_inbox() { return false } else { name.as_bytes() };
        let fits = |prefix: &[u8]| {
            // The namespace's own node has no separator behind it.
            let node =
                prefix.split_last().is_some_and(|(_, node)| !node.is_empty() && node == name);
            (node || name.starts_with(prefix)).then_some(prefix.len())
        };
        let own = self.own.iter().filter_map(|prefix| fits(prefix)).max();
        let foreign = self.prefixes().filter_map(|(prefix, _)| fits(prefix)).max();
        foreign.is_some_and(|foreign| own.is_none_or(|own| foreign > own))
    }
}

/// Whether a record is of a mailbox that is old's alone, and can be shown.
pub(super) fn is_shared(record: &MailboxRecord) -> bool {
    !record.hidden && is_olds_alone(record)
}

fn is_olds_alone(record: &MailboxRecord) -> bool {
    record.new.is_none() && record.old.as_ref() == Some(&record.client)
}

impl Mailbox {
    /// Whether it is another user's or shared: on old alone, and never to be carried.
    pub fn is_shared(&self) -> bool {
        self.peek(|m| is_olds_alone(&m.record))
    }

    /// Whether nothing of it may go to new: in this phase, or ever.
    pub fn stays_on_old(&self) -> bool {
        self.peek(|m| m.phase == Phase::Old || is_olds_alone(&m.record))
    }
}

impl Account {
    /// The folders that are old's alone, with their records; `known` says that `listed` is a
    /// listing, and not just what is remembered. One whose name the client knows as its own
    /// folder's (it is on new) cannot be shown.
    pub(super) async fn decide_shared(
        &self,
        listed: &[Listed],
        known: bool,
        records: Vec<MailboxRecord>,
        own: &HashSet<MailboxName>,
        separator: Option<u8>,
    ) -> Result<Vec<Folder>, AccountError> {
        let levels: HashSet<&[u8]> =
            listed.iter().flat_map(|listed| levels(&listed.name, separator)).collect();
        let mut records: HashMap<MailboxName, MailboxRecord> =
            records.into_iter().map(|record| (record.client.clone(), record)).collect();
        let mut folders = Vec::with_capacity(listed.len());
        let mut batch = Batch::new();
        let mut open = Vec::new();
        for listed in listed {
            let name = &listed.name;
            let record = records.remove(name);
            if own.contains(name) {
                warn!(account = %self.name, mailbox = %name, "not shown: a folder has its name");
                continue;
            }
            let (first_seen, mut record) = match record {
                Some(record) => (false, record),
                None if !known => continue,
                None => {
                    info!(account = %self.name, mailbox = %name, "shared folder first seen");
                    (true, self.unseen_shared(self.index.next_mailbox_id(self.id), name))
                }
            };
            let told = Sides { old: Some(listed_as(listed)), new: None };
            let holds_others = levels.contains(name.as_bytes());
            folders.push(folder(listed, &record, holds_others));
            if first_seen || record.listed != told {
                record.listed = told;
                self.take_shared(record, &mut batch, &mut open);
            }
        }
        // What is not listed any more is gone, or not for this user any more.
        for mut record in records.into_values().filter(|r| known && r.listed.old.is_some()) {
            record.listed = Sides::default();
            self.take_shared(record, &mut batch, &mut open);
        }
        if !batch.is_empty() {
            self.index.room()?;
            self.index.submit(batch).await?;
        }
        for (mailbox, record) in open {
            mailbox.set_listed(&record).await?;
        }
        Ok(folders)
    }

    fn unseen_shared(&self, id: MailboxId, name: &MailboxName) -> MailboxRecord {
        let record =
            self.new_record(id, name.clone(), Some(name.clone()), None, None, &HashSet::new());
        // What was remembered of the name says nothing: old's values are taken.
        MailboxRecord { uid_validity: 0, first_name: None, boundary: None, ..record }
    }

    fn take_shared(
        &self,
        record: MailboxRecord,
        batch: &mut Batch,
        open: &mut Vec<(Arc<Mailbox>, MailboxRecord)>,
    ) {
        match self.open.get(&record.id).map(|m| Arc::clone(&m)) {
            Some(mailbox) => open.push((mailbox, record)),
            None => batch.put_mailbox(self.id, &record),
        }
    }

    /// Forgets a shared mailbox: it is another one by now, has another name, or is gone.
    pub async fn forget_shared(&self, mailbox: &Arc<Mailbox>) -> Result<(), AccountError> {
        // A session that has it open may still write its record: hidden it stays.
        mailbox
            .change(|merged, _| {
                merged.record.hidden = true;
                Ok(((), true))
            })
            .await?;
        self.open.remove(&mailbox.id);
        self.folders.store(None);
        Ok(())
    }

    /// CREATE in a namespace that is old's alone: there, if old lets the user.
    pub(super) async fn create_shared(
        &self,
        access: &Access,
        folders: &Folders,
        name: &MailboxName,
    ) -> Result<(), Unchanged> {
        let name = trimmed(name, folders.separator());
        if folders.find(&name).is_some_and(|folder| folder.there.old) {
            return Err(Unchanged::Exists(name));
        }
        self.on_old(access, &command("CREATE ", &name)).await?;
        info!(account = %self.name, mailbox = %name, "created on old");
        self.list_now(access).await?;
        Ok(())
    }

    /// DELETE of a mailbox that is old's alone: there it goes, for nowhere else it could be hidden.
    pub(super) async fn delete_shared(
        &self,
        access: &Access,
        folder: &Folder,
    ) -> Result<(), Unchanged> {
        let name = &folder.joined.client;
        let mailbox = self.hub(folder).await?;
        self.on_old(access, &command("DELETE ", name)).await?;
        self.forget_shared(&mailbox).await?;
        info!(account = %self.name, mailbox = %name, "deleted on old");
        self.list_now(access).await?;
        Ok(())
    }

    /// RENAME within what is old's alone: there. What is below goes along.
    pub(super) async fn rename_shared(
        &self,
        access: &Access,
        folders: &Folders,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<(), Unchanged> {
        let foreign = folders.foreign();
        if !foreign.holds(from) || !foreign.holds(to) {
            let why = "A folder cannot become a shared one, nor a shared one your own";
            return Err(Unchanged::Cannot(why.into()));
        }
        let Some(folder) = folders.find(from) else {
            return Err(Unchanged::Missing(from.clone()));
        };
        let mut moving = vec![self.hub(folder).await?];
        for below in folders.below(from) {
            moving.push(self.hub(below).await?);
        }
        let mut rename = command("RENAME ", from);
        rename.text(" ").mailbox(to);
        self.on_old(access, &rename).await?;
        // They are seen again under their new names; their identifiers stay (RFC 8474 §4), as long
        // as old keeps their UIDVALIDITY.
        let mut batch = Batch::new();
        for mailbox in moving {
            let was = mailbox.name();
            self.forget_shared(&mailbox).await?;
            let Some(name) = moved(&was, from, to, folders.separator()) else { continue };
            let id = self.index.next_mailbox_id(self.id);
            let first_name = mailbox.peek(|m| m.record.first_name.clone()).or(Some(was));
            let record = MailboxRecord { first_name, ..self.unseen_shared(id, &name) };
            batch.put_mailbox(self.id, &record);
            for (uid, email) in mailbox.copied_emails().await? {
                batch.put_email(self.id, id, uid, &email);
            }
        }
        self.index.submit(batch).await.map_err(AccountError::from)?;
        info!(account = %self.name, %from, %to, "renamed on old");
        self.list_now(access).await?;
        Ok(())
    }

    /// Changes folders of old.
    async fn on_old(&self, access: &Access, command: &Parts) -> Result<(), Unchanged> {
        self.may_change(Side::Old)?;
        let done = self.run_apart(access, Side::Old, command).await?;
        if done.is_ok() { Ok(()) } else { Err(Unchanged::Server(done)) }
    }

    /// Changes what a side has of folders or of rights. No connection is used again that was opened
    /// before: on it a mailbox may be selected that is another one now, and to Dovecot it has the
    /// rights of then.
    pub async fn run_apart(
        &self,
        access: &Access,
        side: Side,
        command: &Parts,
    ) -> Result<Done, AccountError> {
        let renew = || {
            access.pools[side].renew();
            self.all_access().iter().for_each(|access| access.pools[side].renew());
        };
        renew();
        let mut lease = access.pools[side].lend(&Want::Nothing).await?;
        let done = lease.run(command).await?;
        drop(lease);
        renew();
        Ok(done)
    }
}

/// The levels above a name.
fn levels(name: &MailboxName, separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let octets = name.as_bytes();
    let at = octets.iter().enumerate().filter(move |(_, b)| Some(**b) == separator);
    at.map(move |(at, _)| &octets[..at])
}

fn folder(listed: &Listed, record: &MailboxRecord, holds_others: bool) -> Folder {
    let name = &listed.name;
    Folder {
        joined: Joined {
            client: name.clone(),
            old: Some(name.clone()),
            new: None,
            new_wanted: name.clone(),
            old_wanted: name.clone(),
            special: None,
            selectable: listed.selectable,
            children: holds_others || listed.children == Some(true),
            subscribed: listed.subscribed,
            decided: true,
        },
        id: record.id,
        there: Sides { old: listed.selectable, new: false },
        shared: true,
    }
}

/// The folders that are old's alone, as its last listing had them.
pub(super) fn remembered(records: &[MailboxRecord]) -> Vec<Listed> {
    records.iter().filter_map(|record| remembered_as(record, Side::Old)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(prefixes: &[&str]) -> Vec<(Bytes, Option<u8>)> {
        prefixes.iter().map(|p| (Bytes::copy_from_slice(p.as_bytes()), Some(b'.'))).collect()
    }

    #[track_caller]
    fn check(own: &[&str], foreign: &[&str], held: &[&str], not_held: &[&str]) {
        let (other, shared) = foreign.split_at(foreign.len() / 2);
        let foreign = Foreign::new(&namespaces(own), namespaces(other), namespaces(shared));
        let holds = |name: &&str| foreign.holds(&MailboxName::new(name.as_bytes()).unwrap());
        assert!(held.iter().all(holds), "{held:?}");
        assert!(!not_held.iter().any(holds), "{not_held:?}");
    }

    #[test]
    fn a_folder_is_foreign_by_the_longest_prefix() {
        check(
            &[""],
            &["user.", "Shared."],
            &["user.ann", "user", "Shared.a.b"],
            &["INBOX", "users"],
        );
        check(&["INBOX."], &["#shared.", "shared."], &["#shared.x"], &["INBOX.shared.x", "x"]);
        // Cyrus: whatever is neither the user's nor another's is shared.
        check(&["INBOX."], &["user.", ""], &["all", "user.bob"], &["INBOX", "INBOX.all", "INBOX."]);
        check(&["", "Archive."], &[""], &[], &["Archive.x", "x"]);
        check(&["", "Shared.Mine."], &["Shared."], &["Shared.x"], &["Shared.Mine.x"]);
        check(&[""], &[], &[], &["x"]);
    }
}
