//! RENAME: of a mailbox with all that lies below it, done on one side or not at all.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::{Unchanged, trimmed, usable};
use crate::account::folders::command;
use crate::account::mailbox::{Mailbox, Names};
use crate::account::renaming::noted;
use crate::account::{Access, Account, AccountError, Folder, Folders};
use crate::backend::{BackendError, Conn, Done};
use crate::base::{MailboxName, Side, step};
use crate::index::{Batch, MailboxId, MailboxRecord};

impl Account {
    /// Gives a mailbox and all below it another name (RFC 3501 §6.3.5). On old they keep theirs.
    /// UIDs and UIDVALIDITY stay.
    pub async fn rename_mailbox(
        &self,
        access: &Access,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<(), Unchanged> {
        if from.is_inbox() {
            return Err(Unchanged::Cannot("Renaming INBOX is not supported yet".into()));
        }
        self.index.room().map_err(AccountError::from)?;
        self.settle_names(access).await?;
        let _making = self.making.lock().await;
        let _listing = self.listing.lock().await;
        let folders = self.all_folders(access).await?;
        let from = trimmed(from, folders.separator());
        let foreign = folders.foreign();
        if foreign.holds(&from) || foreign.holds(to) {
            let to = trimmed(to, folders.separator());
            return self.rename_shared(access, &folders, &from, &to).await;
        }
        let to = usable(to, &folders.styles.old)?;
        let records = self.records().await?;
        let side = self.folders_side();
        self.may_change(side)?;
        let plan = self.plan_rename(side, &folders, &records, &from, &to)?;
        self.note_renaming(&noted(side, &plan.steps, &plan.names)).await?;
        step("rename: it is noted");
        match self.rename_on(access, side, &plan.steps).await {
            Ok(()) => {}
            Err(refused @ Unchanged::Server(_)) => {
                self.forget_renaming().await?;
                return Err(refused);
            }
            // The next listing tells whether it was done.
            Err(e) => return Err(e),
        }
        step("rename: the server has done it");

        let mut batch = Batch::new();
        batch.put_renaming(self.id, None);
        // What keeps its name for clients takes nobody's place.
        let renamed = |(id, names): &&(MailboxId, Names)| {
            records.iter().any(|r| r.id == *id && r.client != names.client)
        };
        let targets: HashSet<&MailboxName> =
            plan.names.iter().filter(renamed).map(|(_, names)| &names.client).collect();
        let kept: HashSet<MailboxId> = plan.names.iter().map(|(id, _)| *id).collect();
        let others: Vec<MailboxRecord> =
            records.iter().filter(|r| !kept.contains(&r.id)).cloned().collect();
        self.forget_gone(&folders, &others, &targets, &mut batch);
        let count = plan.names.len();
        self.rename_records(plan.names, batch).await?;
        self.unsure_of_names.store(false, Ordering::Release);
        info!(account = %self.name, %from, %to, mailboxes = count, "renamed");
        self.list_now(access).await?;
        Ok(())
    }

    /// What a RENAME comes to, or why it cannot be done.
    fn plan_rename(
        &self,
        side: Side,
        folders: &Folders,
        records: &[MailboxRecord],
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Plan, Unchanged> {
        let separators = folders.styles.as_ref().map(|_, style| style.separator);
        if moved(to, from, from, separators.old).is_some() && to != from {
            return Err(Unchanged::Cannot("A mailbox cannot be put into itself".into()));
        }
        let affected: Vec<(&MailboxRecord, MailboxName)> = records
            .iter()
            .filter(|r| !r.hidden)
            .filter_map(|r| Some((r, moved(&r.client, from, to, separators.old)?)))
            .collect();
        if !affected.iter().any(|(r, _)| folders.find(&r.client).is_some()) {
            return Err(Unchanged::Missing(from.clone()));
        }
        let moving: HashSet<MailboxId> = affected.iter().map(|(r, _)| r.id).collect();
        let occupied = |name: &MailboxName| {
            let stays = |folder: &Folder| name == from || !moving.contains(&folder.id);
            folders.find(name).is_some_and(stays)
        };
        if let Some((_, name)) = affected.iter().find(|(_, name)| occupied(name)) {
            return Err(Unchanged::Exists(name.clone()));
        }
        if occupied(to) {
            return Err(Unchanged::Exists(to.clone()));
        }

        let own = |record: &MailboxRecord| match side {
            Side::Old => record.old.clone(),
            Side::New => record.new.clone(),
        };
        let known = affected.iter().find(|(r, _)| r.client == *from);
        let from_there = match known {
            Some((record, _)) => own(record),
            None => self.names_for(folders, records, from)[side].clone(),
        };
        // What they are called there now may be the very name: the other side alone knows of a RENAME
        // that was done in another phase.
        let others: Vec<MailboxRecord> =
            records.iter().filter(|r| !moving.contains(&r.id)).cloned().collect();
        let to_there = self.names_for(folders, &others, to)[side].clone();
        let (Some(from_there), Some(to_there)) = (from_there, to_there) else {
            return Err(Unchanged::Cannot(format!("No name on the {side} server")));
        };
        // What is joined to a folder elsewhere stays there.
        let there = |name: &MailboxName| moved(name, &from_there, &to_there, separators[side]);
        let mut names = Vec::with_capacity(affected.len());
        for (record, client) in affected {
            let listed = folders.find(&record.client);
            let renamed = own(record).map(|name| there(&name).unwrap_or(name));
            names.push((
                record.id,
                match side {
                    Side::Old => Names { client, old: renamed, new: record.new.clone() },
                    Side::New => {
                        let on_old = record.sides.old.is_some()
                            || listed.is_some_and(|folder| folder.joined.old.is_some());
                        // A name that was only reserved on old is given up.
                        let old = record.old.clone().filter(|_| on_old);
                        Names { client, old, new: renamed }
                    }
                },
            ));
        }
        // Parents come before what lies below them, which their RENAME takes along.
        let mut steps: Vec<(MailboxName, MailboxName)> = Vec::new();
        for folder in folders.list.iter().filter(|f| moving.contains(&f.id) && f.there[side]) {
            let was = match side {
                Side::Old => &folder.joined.old,
                Side::New => &folder.joined.new,
            };
            let Some(was) = was else { continue };
            let taken_along =
                steps.iter().any(|(above, _)| moved(was, above, above, separators[side]).is_some());
            if let Some(becomes) = there(was).filter(|name| name != was && !taken_along) {
                steps.push((was.clone(), becomes));
            }
        }
        // The server takes along all that lies below there: also what clients know elsewhere, and what they
        // have deleted.
        for record in records.iter().filter(|r| !moving.contains(&r.id)) {
            let Some(name) = own(record) else { continue };
            let along = |(was, becomes): &(MailboxName, MailboxName)| {
                moved(&name, was, becomes, separators[side]).filter(|_| name != *was)
            };
            let Some(name) = steps.iter().find_map(along) else { continue };
            let (client, old, new) =
                (record.client.clone(), record.old.clone(), record.new.clone());
            names.push((
                record.id,
                match side {
                    Side::Old => Names { client, old: Some(name), new },
                    Side::New => Names { client, old, new: Some(name) },
                },
            ));
        }
        Ok(Plan { names, steps })
    }

    /// All of these RENAMEs, or none.
    async fn rename_on(
        &self,
        access: &Access,
        side: Side,
        steps: &[(MailboxName, MailboxName)],
    ) -> Result<(), Unchanged> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut lease = self.lend_apart(access, side).await?;
        for (at, (was, becomes)) in steps.iter().enumerate() {
            let refused = match rename(&mut lease, was, becomes).await {
                Ok(done) if done.is_ok() => continue,
                Ok(done) => Unchanged::Server(done),
                Err(e) => e.into(),
            };
            for (was, becomes) in steps.iter().take(at).rev() {
                match rename(&mut lease, becomes, was).await {
                    Ok(done) if done.is_ok() => {}
                    Ok(done) => warn!(account = %self.name, %was, "not undone: {}", done.words()),
                    Err(e) => warn!(account = %self.name, %was, "not undone: {e}"),
                }
            }
            lease.give_back();
            self.forget_selected(access, side);
            return Err(refused);
        }
        lease.give_back();
        self.forget_selected(access, side);
        Ok(())
    }

    /// Writes new names into records, of open mailboxes and of others, in one batch.
    pub(in crate::account) async fn rename_records(
        &self,
        renamed: Vec<(MailboxId, Names)>,
        mut batch: Batch,
    ) -> Result<(), AccountError> {
        // Nobody opens a mailbox meanwhile: it would be opened under its former name.
        let _loading = self.loading.lock().await;
        // Read only now: one that was open a moment ago may have changed since it was looked at.
        let records = self.index.mailboxes(self.id).await?;
        for record in &records {
            let named = renamed.iter().find(|(id, _)| *id == record.id);
            if named.is_some_and(|(_, names)| names.client != record.client) {
                batch.give_up_name(self.id, &record.client);
            }
        }
        let mut open: Vec<(Arc<Mailbox>, Names)> = Vec::new();
        for (id, names) in renamed {
            if let Some(mailbox) = self.open.get(&id).map(|m| Arc::clone(&m)) {
                open.push((mailbox, names));
            } else if let Some(record) = records.iter().find(|r| r.id == id) {
                let mut record = record.clone();
                names.give_to(&mut record);
                batch.put_mailbox(self.id, &record);
            }
        }
        Mailbox::rename_together(&self.index, open, batch).await
    }
}

/// What a RENAME comes to.
struct Plan {
    /// What each mailbox is called then.
    names: Vec<(MailboxId, Names)>,
    /// The RENAMEs on new.
    steps: Vec<(MailboxName, MailboxName)>,
}

async fn rename(
    conn: &mut Conn,
    was: &MailboxName,
    becomes: &MailboxName,
) -> Result<Done, BackendError> {
    let mut parts = command("RENAME ", was);
    parts.text(" ").mailbox(becomes);
    conn.run(&parts).await
}

/// A name below `from`, or `from` itself, as it is below `to`.
pub(in crate::account) fn moved(
    name: &MailboxName,
    from: &MailboxName,
    to: &MailboxName,
    separator: Option<u8>,
) -> Option<MailboxName> {
    let rest = name.as_bytes().strip_prefix(from.as_bytes())?;
    let fits = rest.first().is_none_or(|b| Some(*b) == separator);
    if fits { MailboxName::new(&[to.as_bytes(), rest].concat()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_what_lies_below_moves_along() {
        let moved = |n: &str| moved(&name(n), &name("a.b"), &name("x"), Some(b'.'));
        assert_eq!(moved("a.b"), Some(name("x")));
        assert_eq!(moved("a.b.c.d"), Some(name("x.c.d")));
        assert_eq!(moved("a.bc"), None);
        assert_eq!(moved("a"), None);
        let flat = super::moved(&name("a.b"), &name("a"), &name("x"), None);
        assert_eq!(flat, None);
    }
}
