//! CREATE, DELETE, RENAME and SUBSCRIBE: on new, with the map following (DESIGN §6); in phase old on
//! old, as if there were no proxy.
//!
//! All but SUBSCRIBE run one at a time and while nobody lists folders: a listing in the middle of
//! a RENAME would take the new name for a folder that nobody has seen before.

mod rename;

use std::collections::HashSet;
use std::sync::Arc;

use tracing::{info, warn};

pub(super) use rename::moved;

use super::folders::command;
use super::mailbox::Names;
use super::names::{Special, Style, another_name};
use super::{Access, Account, AccountError, Folder, Folders};
use crate::backend::{BackendError, Done, Lease, Want};
use crate::base::{MailboxName, Side};
use crate::imap::response::{Code, SpecialUse};
use crate::imap::write::Parts;
use crate::index::{Batch, MailboxRecord};

/// Why a folder stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// The server said no; its own words are for the client.
    #[error("the server refused: {}", .0.words())]
    Server(Done),
    /// A mailbox has this name already.
    #[error("mailbox exists already: {0}")]
    Exists(MailboxName),
    /// No mailbox has this name.
    #[error("no such mailbox: {0}")]
    Missing(MailboxName),
    /// It cannot be for this use.
    #[error("{0}")]
    Use(String),
    /// It is never possible.
    #[error("{0}")]
    Cannot(String),
    /// Something behind the proxy failed.
    #[error(transparent)]
    Failed(#[from] AccountError),
}

impl From<BackendError> for Unchanged {
    fn from(e: BackendError) -> Self {
        Unchanged::Failed(e.into())
    }
}

impl Account {
    /// Where folders are made, renamed and deleted.
    fn folders_side(&self) -> Side {
        if self.phase().has(Side::New) { Side::New } else { Side::Old }
    }

    /// Refuses what would change old where that is not to be.
    pub(super) fn may_change(&self, side: Side) -> Result<(), Unchanged> {
        match side == Side::Old && self.old_is_read_only() {
            true => Err(Unchanged::Cannot("The old server is read-only".into())),
            false => Ok(()),
        }
    }

    /// Makes a mailbox on new under the name that the client gave it (RFC 3501 §6.3.3), for these
    /// uses (RFC 6154 §3).
    pub async fn create_mailbox(
        &self,
        access: &Access,
        name: &MailboxName,
        uses: &[SpecialUse],
    ) -> Result<(), Unchanged> {
        self.settle_names(access).await?;
        let _making = self.making.lock().await;
        let _listing = self.listing.lock().await;
        let folders = self.all_folders(access).await?;
        if folders.foreign().holds(name) {
            return self.create_shared(access, &folders, name).await;
        }
        let client = usable(name, &folders.styles.old)?;
        let records = self.records().await?;
        let listed = folders.find(&client);
        let side = self.folders_side();
        if client.is_inbox() || listed.is_some_and(|folder| folder.there.old) {
            return Err(Unchanged::Exists(client));
        }
        self.may_change(side)?;
        self.free_uses(access, &folders, uses).await?;
        if let Some(folder) = listed {
            // Until now it only held other mailboxes; its names are decided. New itself says
            // whether it exists there: Dovecot lists a deleted mailbox as long as it holds others.
            let wanted = match side {
                Side::Old => &folder.joined.old_wanted,
                Side::New => &folder.joined.new_wanted,
            };
            let new = if folder.there[side] {
                self.create_exactly(access, side, wanted, uses).await?
            } else {
                self.create_on(access, side, &folders, &records, wanted, uses).await?
            };
            if new != *wanted {
                let names = Names {
                    client: client.clone(),
                    old: Some(folder.joined.old_wanted.clone()),
                    new: Some(new.clone()),
                };
                self.rename_records(vec![(folder.id, names)], Batch::new()).await?;
            }
            info!(account = %self.name, mailbox = %client, %new, "created");
            self.list_now(access).await?;
            return Ok(());
        }

        // Before the CREATE, so that the next listing shows it under the client's name.
        self.index.room().map_err(AccountError::from)?;
        let id = self.index.next_mailbox_id(self.id);
        let names = self.names_for(&folders, &records, &client);
        let Some(wanted) = names[side].clone() else {
            return Err(Unchanged::Cannot(format!("No name on the {side} server")));
        };
        let before = records.iter().filter(|r| r.client == client).map(|r| r.uid_validity).max();
        let before = Some(before.unwrap_or(0));
        let taken = self.uid_validities(&records);
        let mut record = self.new_record(id, client.clone(), names.old, names.new, before, &taken);
        let mut batch = Batch::new();
        let targets = HashSet::from([&client]);
        self.forget_gone(&folders, &records, &targets, &mut batch);
        batch.put_mailbox(self.id, &record);
        self.index.submit(batch).await.map_err(AccountError::from)?;

        match self.create_on(access, side, &folders, &records, &wanted, uses).await {
            Ok(new) if new == wanted => {}
            Ok(new) => {
                record.new = Some(new);
                let mut batch = Batch::new();
                batch.put_mailbox(self.id, &record);
                self.index.submit(batch).await.map_err(AccountError::from)?;
            }
            Err(e) => {
                // After a lost connection it may be there: then the record says whose it is, and
                // if it is not there, nobody sees the record.
                let lost = matches!(&e, Unchanged::Failed(AccountError::Backend(e)) if e.is_lost());
                if !lost {
                    let mut batch = Batch::new();
                    batch.delete_mailbox(self.id, record.id);
                    self.index.submit(batch).await.map_err(AccountError::from)?;
                }
                return Err(e);
            }
        }
        info!(account = %self.name, mailbox = %client, "created");
        self.list_now(access).await?;
        Ok(())
    }

    /// Deletes a mailbox: from new it goes, on old its folder is kept and hidden (V6).
    pub async fn delete_mailbox(
        &self,
        access: &Access,
        client: &MailboxName,
    ) -> Result<(), Unchanged> {
        if client.is_inbox() {
            return Err(Unchanged::Cannot("INBOX cannot be deleted".into()));
        }
        self.settle_names(access).await?;
        let _making = self.making.lock().await;
        let _listing = self.listing.lock().await;
        let folders = self.list_now(access).await?;
        let holds_others = folders.below(client).next().is_some();
        let folder = match folders.find(client) {
            Some(folder) if folder.joined.selectable || !holds_others => folder,
            None if !holds_others => return Err(Unchanged::Missing(client.clone())),
            // RFC 3501 §6.3.4: such a name goes with the last mailbox below it.
            _ => return Err(Unchanged::Cannot("It holds other mailboxes".into())),
        };
        if folder.shared {
            return self.delete_shared(access, folder).await;
        }
        let mailbox = self.hub(folder).await?;
        let side = self.folders_side();
        self.may_change(side)?;
        // Where it is only a level of names there, there is nothing to delete.
        let level_only = folder.joined.selectable && !folder.there[side];
        let there = match side {
            Side::Old => &folder.joined.old,
            Side::New => &folder.joined.new,
        };
        if let Some(name) = there.as_ref().filter(|_| !level_only) {
            let mut lease = self.lend_apart(access, side).await?;
            let done = lease.run(&command("DELETE ", name)).await?;
            lease.give_back();
            if !done.is_ok() && done.code != Some(Code::NonExistent) {
                return Err(Unchanged::Server(done));
            }
            self.forget_selected(access, side);
        }
        let kept = folder.joined.old.is_some() || !folders.old_is_known();
        mailbox
            .change(|merged, _| {
                merged.record.hidden = true;
                if side == Side::Old {
                    // What new has of it is as hidden from now on as old's folder else.
                    merged.record.old = None;
                    return Ok(((), true));
                }
                merged.record.new = None;
                if !kept && merged.record.sides.old.is_none() {
                    merged.record.old = None;
                }
                Ok(((), true))
            })
            .await?;
        // The same name made again is another mailbox.
        self.open.remove(&folder.id);
        info!(account = %self.name, mailbox = %client, kept_on_old = kept, "deleted");
        self.list_now(access).await?;
        Ok(())
    }

    /// Subscribes to a mailbox, or no longer (RFC 3501 §6.3.6, §6.3.7): wherever it exists, for
    /// the client sees a mailbox as subscribed if either side says so. New's answer counts.
    pub async fn subscribe(
        &self,
        access: &Access,
        client: &MailboxName,
        on: bool,
    ) -> Result<(), Unchanged> {
        let folders = self.list_folders(access).await?;
        let (old, new) = match folders.find(client) {
            Some(folder) if self.old_is_read_only() => {
                (None, self.subscribed_on_new(access, folder, on).await?)
            }
            Some(folder) => (folder.joined.old.clone(), folder.joined.new.clone()),
            None if folders.foreign().holds(client) => {
                self.may_change(Side::Old)?;
                (Some(client.clone()), None)
            }
            None if on => return Err(Unchanged::Missing(client.clone())),
            // A subscription may outlive its mailbox.
            None => {
                let names = self.names_for(&folders, &self.records().await?, client);
                let held = folders.subscribed_on(client, names.new.clone());
                let (old, new) = match (held.old, held.new, self.folders_side()) {
                    (None, None, Side::Old) => (names.old, None),
                    (None, None, Side::New) => (None, names.new),
                    (old, new, _) => (old, new),
                };
                if old.is_some() {
                    self.may_change(Side::Old)?;
                }
                (old, new)
            }
        };
        let word = if on { "SUBSCRIBE " } else { "UNSUBSCRIBE " };
        let mut decided = false;
        for (side, name) in [(Side::New, new), (Side::Old, old)] {
            let Some(name) = name else { continue };
            match subscribe_on(access, side, &command(word, &name)).await {
                Ok(()) => {}
                Err(e) if !decided => return Err(e),
                Err(e) => warn!(account = %self.name, mailbox = %client, %side, "{word}: {e}"),
            }
            decided = true;
        }
        Ok(())
    }

    /// A folder's name on new, where alone a subscription may be changed; it is made there.
    async fn subscribed_on_new(
        &self,
        access: &Access,
        folder: &Folder,
        on: bool,
    ) -> Result<Option<MailboxName>, Unchanged> {
        let mailbox = self.hub(folder).await?;
        let subscribed = |m: &super::Merged| m.record.listed.old.is_some_and(|l| l.subscribed);
        if mailbox.stays_on_old() || (!on && mailbox.peek(subscribed)) {
            self.may_change(Side::Old)?;
        }
        self.make_on_new(access, &mailbox).await?;
        Ok(mailbox.view().names.new.clone())
    }

    /// The folders, where names are to be decided: that needs old's separator and prefix.
    async fn all_folders(&self, access: &Access) -> Result<Arc<Folders>, AccountError> {
        let folders = self.list_now(access).await?;
        let olds = self.phase().has(Side::Old);
        if folders.old_is_known() || !olds {
            Ok(folders)
        } else {
            Err(AccountError::NeverSeen(Side::Old))
        }
    }

    /// Whether a mailbox for these uses can be made and will be shown as that: new must keep uses,
    /// and what old has for a use is what a client sees for it ([`Joined::special`]).
    ///
    /// [`Joined::special`]: super::names::Joined::special
    async fn free_uses(
        &self,
        access: &Access,
        folders: &Folders,
        uses: &[SpecialUse],
    ) -> Result<(), Unchanged> {
        if uses.is_empty() {
            return Ok(());
        }
        let lease = access.pools[self.folders_side()].lend(&Want::Nothing).await?;
        let keeps = lease.profile().can("CREATE-SPECIAL-USE");
        lease.give_back();
        if !keeps || uses.len() > 1 {
            return Err(Unchanged::Use("A mailbox cannot be made for this use".into()));
        }
        let taken = |special| folders.list.iter().any(|f| f.joined.special == Some(special));
        match uses.iter().copied().find_map(Special::of) {
            Some(special) if !taken(special) => Ok(()),
            Some(_) => Err(Unchanged::Use("Another mailbox is for this use".into())),
            None => Err(Unchanged::Use("A mailbox cannot be made for this use".into())),
        }
    }

    /// CREATE on a side under this name and no other.
    async fn create_exactly(
        &self,
        access: &Access,
        side: Side,
        name: &MailboxName,
        uses: &[SpecialUse],
    ) -> Result<MailboxName, Unchanged> {
        let mut lease = access.pools[side].lend(&Want::Nothing).await?;
        let done = lease.run(&create_for(name, uses)).await?;
        lease.give_back();
        if done.is_ok() { Ok(name.clone()) } else { Err(Unchanged::Server(done)) }
    }

    /// CREATE on a side; on new under another name where the server does not like the wanted one's octets.
    async fn create_on(
        &self,
        access: &Access,
        side: Side,
        folders: &Folders,
        records: &[MailboxRecord],
        wanted: &MailboxName,
        uses: &[SpecialUse],
    ) -> Result<MailboxName, Unchanged> {
        let mut lease = access.pools[side].lend(&Want::Nothing).await?;
        let mut name = wanted.clone();
        let mut done = lease.run(&create_for(&name, uses)).await?;
        if side == Side::New
            && dislikes(&done)
            && let Some(other) = plainer_on_new(folders, records, wanted)
        {
            info!(account = %self.name, mailbox = %wanted, %other, "CREATE: {}", done.words());
            done = lease.run(&create_for(&other, uses)).await?;
            name = other;
        }
        lease.give_back();
        if done.is_ok() { Ok(name) } else { Err(Unchanged::Server(done)) }
    }

    /// Forgets mailboxes that are gone from both sides and whose names are wanted for others.
    fn forget_gone(
        &self,
        folders: &Folders,
        records: &[MailboxRecord],
        wanted: &HashSet<&MailboxName>,
        batch: &mut Batch,
    ) {
        let gone = |r: &&MailboxRecord| {
            !r.hidden && wanted.contains(&r.client) && folders.find(&r.client).is_none()
        };
        for record in records.iter().filter(gone) {
            info!(account = %self.name, mailbox = %record.client, "gone: its name is used again");
            batch.delete_mailbox(self.id, record.id);
            self.open.remove(&record.id);
        }
    }

    /// A connection to a side that has no mailbox selected, nor has any that is idle: servers do not
    /// like to lose what somebody has open.
    async fn lend_apart(&self, access: &Access, side: Side) -> Result<Lease, BackendError> {
        self.forget_selected(access, side);
        access.pools[side].lend(&Want::Nothing).await
    }

    fn forget_selected(&self, access: &Access, side: Side) {
        access.pools[side].forget_selected();
        for access in self.all_access() {
            access.pools[side].forget_selected();
        }
    }
}

fn create_for(name: &MailboxName, uses: &[SpecialUse]) -> Parts {
    let mut parts = command("CREATE ", name);
    if !uses.is_empty() {
        let uses: Vec<&str> = uses.iter().map(|special| special.as_str()).collect();
        parts.text(&format!(" (USE ({}))", uses.join(" ")));
    }
    parts
}

async fn subscribe_on(access: &Access, side: Side, command: &Parts) -> Result<(), Unchanged> {
    let mut lease = access.pools[side].lend(&Want::Nothing).await?;
    let done = lease.run(command).await?;
    lease.give_back();
    if done.is_ok() { Ok(()) } else { Err(Unchanged::Server(done)) }
}

/// A name for a new mailbox: without the separator at its end that says "there will be children"
/// (RFC 3501 §6.3.3), and inside of old's personal namespace.
fn usable(name: &MailboxName, style: &Style) -> Result<MailboxName, Unchanged> {
    let name = trimmed(name, style.separator);
    let levels = |b: u8| Some(b) == style.separator;
    let octets = name.as_bytes();
    if style.separator.is_some() && octets.split(|b| levels(*b)).any(<[u8]>::is_empty) {
        return Err(Unchanged::Cannot("This is no name of a mailbox".into()));
    }
    let prefix = &style.prefix;
    let inside = octets.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if name.is_inbox() || inside {
        return Ok(style.below_inbox(&name).unwrap_or(name));
    }
    let prefix = prefix.escape_ascii();
    Err(Unchanged::Cannot(format!("Mailbox name should be prefixed with {prefix}")))
}

/// A name without the separator at its end that says "there will be children" (RFC 3501 §6.3.3).
pub fn trimmed(name: &MailboxName, separator: Option<u8>) -> MailboxName {
    let mut octets = name.as_bytes();
    while let Some((last, rest)) = octets.split_last()
        && Some(*last) == separator
    {
        octets = rest;
    }
    // A name of separators alone stays, and is refused.
    MailboxName::new(octets).unwrap_or_else(|| name.clone())
}

/// Whether a CREATE was refused for what may be the name's octets: for no reason of another kind.
pub(super) fn dislikes(done: &Done) -> bool {
    !done.is_ok() && matches!(done.code, None | Some(Code::Cannot | Code::NoPerm | Code::Other(_)))
}

/// The plainer name, different from all that are used on new or kept for other mailboxes.
pub(super) fn plainer_on_new(
    folders: &Folders,
    records: &[MailboxRecord],
    wanted: &MailboxName,
) -> Option<MailboxName> {
    let taken = |name: &MailboxName| {
        records.iter().any(|r| r.new.as_ref() == Some(name))
            || folders.list.iter().any(|f| f.joined.new.as_ref() == Some(name))
    };
    plainer(wanted, &folders.styles.new, taken)
}

/// The name without octets that some server dislikes; none where it has no such octet.
fn plainer(
    name: &MailboxName,
    style: &Style,
    taken: impl Fn(&MailboxName) -> bool,
) -> Option<MailboxName> {
    // Octets are replaced one for one; a longer name is the same one with a suffix.
    let plain = another_name(name, style, |_| false);
    let replaced = plain.as_bytes().len() == name.as_bytes().len();
    replaced.then(|| another_name(name, style, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text.as_bytes()).unwrap()
    }

    fn style(prefix: &str, separator: u8) -> Style {
        Style { prefix: prefix.as_bytes().to_vec(), separator: Some(separator) }
    }

    #[test]
    fn a_name_to_create_lies_in_the_namespace() {
        let courier = style("INBOX.", b'.');
        let usable = |n: &str, style: &Style| usable(&name(n), style).ok();
        assert_eq!(usable("INBOX.a.", &courier), Some(name("INBOX.a")));
        assert_eq!(usable("inbox.a", &courier), Some(name("INBOX.a")));
        assert_eq!(usable("INBOX.", &courier), Some(MailboxName::inbox()));
        assert_eq!(usable("a", &courier), None);
        assert_eq!(usable("INBOX.a..b", &courier), None);
        assert_eq!(usable("a.b", &style("", b'/')), Some(name("a.b")));
        assert_eq!(usable("//", &style("", b'/')), None);
        assert_eq!(usable("a//b", &Style::default()), Some(name("a//b")));
    }

    #[test]
    fn only_a_name_with_odd_octets_has_a_plainer_one() {
        let style = style("", b'/');
        assert_eq!(plainer(&name("50% off"), &style, |_| false), Some(name("50_ off")));
        let taken = |n: &MailboxName| *n == name("50_ off");
        assert_eq!(plainer(&name("50% off"), &style, taken), Some(name("50_ off_2")));
        assert_eq!(plainer(&name("plain"), &style, |_| false), None);
    }
}
