//! The folders of an account: both sides' listings joined into what the client sees.
//!
//! A folder gets its record, with the names on both sides, when it is first seen (DESIGN §3,
//! "Names"). What the last listing told is kept, so that LIST goes on while a side is away.

mod ghosts;
mod listing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tracing::{info, warn};

use listing::list_side;
pub use listing::{SideFolders, list_with};

use super::change::{dislikes, plainer_on_new};
use super::mailbox::now;
use super::names::{Decided, Joined, Listed, Special, Style, join, new_to_client};
use super::shared::{self, Foreign, is_shared};
use super::{Access, Account, AccountError, Mailbox};
use crate::backend::{BackendError, Conn, Done, Want};
use crate::base::{MailboxName, Side, Sides};
use crate::config::Config;
use crate::imap::names::encode;
use crate::imap::response::{Code, Response};
use crate::imap::write::Parts;
use crate::index::{Batch, IndexError, ListedAs, MailboxId, MailboxRecord};
use crate::uid::Uid;

/// All folders of an account at one moment.
#[derive(Debug)]
pub struct Folders {
    /// Prefix and separator of each side; the client's are old's.
    pub styles: Sides<Style>,
    /// In the client's order.
    pub list: Vec<Folder>,
    by_client: HashMap<MailboxName, usize>,
    sides: Sides<Option<SideFolders>>,
}

/// A folder and the number of its mailbox.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Its names and attributes.
    pub joined: Joined,
    /// Its mailbox.
    pub id: MailboxId,
    /// On which sides it is a mailbox that can be selected, and not only a level of names.
    pub there: Sides<bool>,
    /// Another user's or a shared one: old's alone.
    pub shared: bool,
}

impl Folders {
    /// The folder that the client calls so; what lies below `INBOX` may be called so in any case.
    pub fn find(&self, client: &MailboxName) -> Option<&Folder> {
        let of = |name: &MailboxName| self.by_client.get(name).map(|at| &self.list[*at]);
        of(client).or_else(|| of(&self.styles.old.below_inbox(client)?))
    }

    /// What is subscribed and does not exist, as the client calls it: a subscription outlives its
    /// mailbox (RFC 3501 §6.3.6).
    pub fn subscribed_absent(&self) -> BTreeSet<MailboxName> {
        let Sides { old, new } = &self.sides;
        let of_old = old.iter().flat_map(|side| {
            // Old keeps what a client deleted.
            let kept = side.listed.iter().filter(|l| l.subscribed).map(|l| &l.name);
            side.absent.iter().chain(kept)
        });
        let of_new = new.iter().flat_map(|side| &side.absent);
        let shown: HashSet<_> = self.list.iter().filter_map(|f| f.joined.old.as_ref()).collect();
        let placed: HashSet<_> = self.list.iter().map(|f| &f.joined.new_wanted).collect();
        let of_old = of_old.filter(|name| !shown.contains(name)).cloned();
        let of_new = of_new.filter(|name| !placed.contains(name));
        let of_new = of_new.map(|name| new_to_client(name, &self.styles));
        of_old.chain(of_new).filter(|name| self.find(name).is_none()).collect()
    }

    /// On which sides there is a subscription to what does not exist, by its name there: on old the
    /// client's, as above.
    pub(super) fn subscribed_on(
        &self,
        client: &MailboxName,
        on_new: Option<MailboxName>,
    ) -> Sides<Option<MailboxName>> {
        let on = |side: Side, name: Option<MailboxName>| {
            let listed = self.sides[side].as_ref()?;
            name.filter(|name| listed.subscribes(name))
        };
        Sides { old: on(Side::Old, Some(client.clone())), new: on(Side::New, on_new) }
    }

    /// Whether old has told its folders, its separator and its prefix.
    pub fn old_is_known(&self) -> bool {
        self.sides.old.is_some()
    }

    /// Old's namespaces of other users and shared ones, as far as old has told.
    pub fn foreign(&self) -> Foreign {
        self.sides.old.as_ref().map(|old| old.foreign.clone()).unwrap_or_default()
    }

    /// The client's hierarchy separator: old's.
    pub fn separator(&self) -> Option<u8> {
        self.styles.old.separator
    }

    /// The folders below one, in the client's hierarchy.
    pub fn below<'a>(&'a self, client: &MailboxName) -> impl Iterator<Item = &'a Folder> + 'a {
        let mut prefix = client.as_bytes().to_vec();
        prefix.extend(self.separator());
        let flat = self.separator().is_none();
        self.list.iter().filter(move |f| !flat && f.joined.client.as_bytes().starts_with(&prefix))
    }
}

impl Account {
    /// The folders as last listed; listed now if they never were, or not by a side that was away
    /// then and can be asked by now.
    pub async fn folders(&self, access: &Access) -> Result<Arc<Folders>, AccountError> {
        let asks = |folders: &Folders, side| {
            folders.sides[side].is_none() && !access.pools[side].is_away()
        };
        match self.folders.load_full() {
            Some(folders) if !Side::BOTH.into_iter().any(|side| asks(&folders, side)) => {
                Ok(folders)
            }
            _ => self.list_folders(access).await,
        }
    }

    /// Lists the folders of both sides anew.
    ///
    /// # Errors
    /// While old was never listed, nobody knows what is on new alone: then old must answer.
    pub async fn list_folders(&self, access: &Access) -> Result<Arc<Folders>, AccountError> {
        let _one_at_a_time = self.listing.lock().await;
        self.list_now(access).await
    }

    /// Lists the folders; `listing` is held by the caller.
    pub(super) async fn list_now(&self, access: &Access) -> Result<Arc<Folders>, AccountError> {
        let phase = self.phase();
        let asked = Sides::from_fn(|side| phase.has(side));
        let folders = self.list_sides(access, asked, false).await?;
        let folders = Arc::new(folders);
        self.folders.store(Some(Arc::clone(&folders)));
        Ok(folders)
    }

    /// Lists the folders of both sides, whatever the phase: of the whole account, and not of what its
    /// clients see; without those that are not there, whoever lists them.
    pub async fn list_both(&self, access: &Access) -> Result<Folders, AccountError> {
        let _one_at_a_time = self.listing.lock().await;
        self.list_sides(access, Sides { old: true, new: true }, true).await
    }

    /// Lists the folders that clients see, without those that are not there.
    pub async fn list_to_compare(&self, access: &Access) -> Result<Folders, AccountError> {
        let _one_at_a_time = self.listing.lock().await;
        let phase = self.phase();
        self.list_sides(access, Sides::from_fn(|side| phase.has(side)), true).await
    }

    async fn list_sides(
        &self,
        access: &Access,
        asked: Sides<bool>,
        closely: bool,
    ) -> Result<Folders, AccountError> {
        let before = self.folders.load_full();
        let list = |side: Side| async move {
            if asked[side] { Some(list_side(access, side).await) } else { None }
        };
        let (old, new) = futures_util::join!(list(Side::Old), list(Side::New));
        let fresh = Sides { old: &old, new: &new }.map(|_, listed| listed.as_ref()?.as_ref().ok());
        self.decide_renaming(&fresh).await?;
        let (shared, mut records): (Vec<_>, Vec<_>) =
            self.records().await?.into_iter().partition(is_shared);
        let mut sides = Sides { old, new };
        for side in Side::BOTH {
            if let Some(Ok(listed)) = &mut sides[side] {
                self.without_ghosts(access, side, listed, &records, closely).await;
                if self.without_lost(access, side, listed, &records).await? {
                    records = self.records().await?.into_iter().filter(|r| !is_shared(r)).collect();
                }
            }
        }
        let listed = sides.map(|side, listed| match listed {
            Some(Ok(listed)) => Some(listed),
            // As it was when the phase still had this side.
            None => None,
            Some(Err(e)) => {
                warn!(account = %self.name, %side, "folders as last known: {e}");
                let last = before.as_ref().and_then(|b| b.sides[side].clone());
                last.map(|last| with_made(last, &records, side))
            }
        });
        let known = Sides::from_fn(|side| listed[side].is_some());
        let account = self.index.account_record(self.id).await?;
        let told = listed.as_ref().map(|_, listed| listed.as_ref().map(|l| l.style.clone()));
        let was = account.styles;
        let styles = was.clone().map(|side, was| told[side].clone().or(was));
        // An account that never had anything to do with old is spelled as new spells it.
        let alone = styles.new.clone().filter(|_| !asked.old);
        let Some(old_style) = styles.old.clone().or(alone) else {
            return Err(AccountError::NeverSeen(Side::Old));
        };
        let mut sides = listed.map(|side, listed| {
            let style = || styles[side].clone().unwrap_or_default();
            listed.unwrap_or_else(|| remembered(&records, &shared, side, style()))
        });
        if styles != was {
            let mut batch = Batch::new();
            batch.edit_account(self.id, move |account| account.styles = styles);
            self.index.room()?;
            self.index.submit(batch).await?;
        }
        let styles = Sides { old: old_style, new: sides.new.style.clone() };
        let taken = self.history.take_out(&mut sides.new.listed, &styles.new);
        let explicit = explicit_names(&self.config);
        let decided: Vec<Decided> = records.iter().map(decided).collect();
        let joined = join(&sides.old.listed, &sides.new.listed, &styles, &explicit, &decided);
        // Whether a folder is on old as well is known where old was asked, or is not to be.
        let told = Sides { old: known.old || !asked.old, new: known.new };
        self.decide(&joined, &sides, known, told.old, &mut records).await?;
        let moves = self.history.moves(taken, &joined, &styles);
        if asked.old && asked.new {
            self.history.bring_home(&self.name, access, &self.matchmaker, moves);
        }

        let by_name: HashMap<&MailboxName, &MailboxRecord> =
            records.iter().filter(|r| !r.hidden).map(|r| (&r.client, r)).collect();
        let selectable = sides.as_ref().map(|_, side| {
            let listed = side.listed.iter().filter(|l| l.selectable);
            listed.map(|l| &l.name).collect::<HashSet<&MailboxName>>()
        });
        let mut list = Vec::with_capacity(joined.len());
        for mut joined in joined {
            let Some(record) = by_name.get(&joined.client) else { continue };
            joined.old = joined.old.filter(|_| asked.old);
            joined.new = joined.new.filter(|_| asked.new);
            if joined.old.is_none() && joined.new.is_none() {
                continue;
            }
            let opens = |side: Side, name: &Option<MailboxName>| {
                name.as_ref().is_some_and(|name| selectable[side].contains(name))
            };
            let there =
                Sides { old: opens(Side::Old, &joined.old), new: opens(Side::New, &joined.new) };
            joined.selectable = there.old || there.new;
            list.push(Folder { joined, id: record.id, there, shared: false });
        }
        let own = list.iter().map(|folder| folder.joined.client.clone()).collect();
        let (listed, separator) = (&sides.old.shared, styles.old.separator);
        if asked.old {
            list.extend(self.decide_shared(listed, known.old, shared, &own, separator).await?);
        }
        let by_client =
            list.iter().enumerate().map(|(at, f)| (f.joined.client.clone(), at)).collect();
        Ok(Folders {
            styles,
            list,
            by_client,
            sides: Sides {
                old: known.old.then_some(sides.old),
                new: known.new.then_some(sides.new),
            },
        })
    }

    /// Persists what the listings say of each mailbox: its names, and where it is. `known` tells
    /// which side's listing is one, and not just what is remembered; `told`, whether what is not among
    /// old's folders is on new alone.
    async fn decide(
        &self,
        joined: &[Joined],
        sides: &Sides<SideFolders>,
        known: Sides<bool>,
        told: bool,
        records: &mut Vec<MailboxRecord>,
    ) -> Result<(), AccountError> {
        let mut at: HashMap<MailboxName, usize> = records
            .iter()
            .enumerate()
            .filter(|(_, r)| !r.hidden)
            .map(|(at, r)| (r.client.clone(), at))
            .collect();
        let listed = sides.as_ref().map(|_, side| {
            let each = side.listed.iter().map(|l| (&l.name, l));
            each.collect::<HashMap<&MailboxName, &Listed>>()
        });
        let mut taken = self.uid_validities(records);
        let mut batch = Batch::new();
        let mut open = Vec::new();
        for j in joined {
            let first_seen = !at.contains_key(&j.client);
            if first_seen {
                if !told {
                    // Whether it is on old too cannot be known now (DESIGN §3): it is not shown.
                    continue;
                }
                let id = self.index.next_mailbox_id(self.id);
                // A name that was deleted and is used again means another mailbox.
                let again = records.iter().filter(|r| r.hidden && r.client == j.client);
                let again = again.map(|r| r.uid_validity).max();
                at.insert(j.client.clone(), records.len());
                records.push(self.new_record(id, j.client.clone(), None, None, again, &taken));
                info!(
                    account = %self.name, mailbox = %j.client, old = %j.old_wanted,
                    new = %j.new_wanted, "folder first seen"
                );
            }
            let Some(record) = at.get(&j.client).and_then(|at| records.get_mut(*at)) else {
                continue;
            };
            let before = record.clone();
            record.old = Some(j.old_wanted.clone());
            record.new = Some(j.new_wanted.clone());
            for (side, name) in [(Side::Old, &j.old), (Side::New, &j.new)] {
                if known[side] {
                    let listed = name.as_ref().and_then(|name| listed[side].get(name));
                    record.listed[side] = listed.map(|listed| listed_as(listed));
                }
            }
            if record.uid_validity == 0 && told && j.old.is_none() {
                // It exists on new alone: a value of its own, fixed at first sight (V1).
                record.uid_validity = own_uid_validity(now(), &taken);
            }
            taken.insert(record.uid_validity);
            if *record == before && !first_seen {
                continue;
            }
            match self.open.get(&record.id).map(|m| Arc::clone(&m)) {
                Some(mailbox) => open.push((mailbox, record.clone())),
                None => batch.put_mailbox(self.id, record),
            }
        }
        if !batch.is_empty() {
            self.index.room()?;
            self.index.submit(batch).await?;
        }
        for (mailbox, record) in open {
            mailbox.set_listed(&record).await?;
        }
        Ok(())
    }

    /// The records of all mailboxes; of an open one as its hub has it, which may be ahead.
    pub(super) async fn records(&self) -> Result<Vec<MailboxRecord>, AccountError> {
        let mut records = self.index.mailboxes(self.id).await?;
        for record in &mut records {
            if let Some(mailbox) = self.open.get(&record.id).map(|m| Arc::clone(&m)) {
                *record = mailbox.peek(|m| m.record.clone());
            }
        }
        Ok(records)
    }

    /// What a mailbox that the client names so is to be called on both sides: as [`join`] says of
    /// a mailbox that was decided by its client name alone.
    pub(super) fn names_for(
        &self,
        folders: &Folders,
        records: &[MailboxRecord],
        client: &MailboxName,
    ) -> Sides<Option<MailboxName>> {
        let mut decisions: Vec<Decided> =
            records.iter().filter(|r| r.hidden || r.client != *client).map(decided).collect();
        let asked = Decided { client: client.clone(), old: None, new: None, hidden: false };
        decisions.push(asked);
        let listed = folders.sides.as_ref().map(|_, side| match side {
            Some(side) => side.listed.as_slice(),
            None => &[],
        });
        let explicit = explicit_names(&self.config);
        join(listed.old, listed.new, &folders.styles, &explicit, &decisions)
            .into_iter()
            .find(|joined| joined.client == *client)
            .map(|joined| Sides { old: Some(joined.old_wanted), new: Some(joined.new_wanted) })
            .unwrap_or_default()
    }

    /// Every UIDVALIDITY that the account's mailboxes have or had, as far as that is remembered. A RENAME can
    /// bring any of them under any name.
    pub(super) fn uid_validities(&self, records: &[MailboxRecord]) -> HashSet<u32> {
        let mut all = self.index.uid_validities(&self.name);
        all.extend(records.iter().map(|r| r.uid_validity));
        all
    }

    /// The record of a mailbox that is seen for the first time. `again`: its name was another
    /// mailbox's before, so it gets a greater UIDVALIDITY than that one had; none of those that are `taken`.
    pub(super) fn new_record(
        &self,
        id: MailboxId,
        client: MailboxName,
        old: Option<MailboxName>,
        new: Option<MailboxName>,
        again: Option<u32>,
        taken: &HashSet<u32>,
    ) -> MailboxRecord {
        // After the loss of an index: what must not be given a second meaning (V8).
        let remembered = self.index.remembered(&self.name, &client);
        // A mailbox had the name and has another one now.
        let remembered = remembered.as_ref();
        let given_up = remembered.filter(|r| r.uid_validity == 0 && r.passed > 0);
        let known = remembered.map_or(0, |r| r.uid_validity.max(r.passed));
        let above = again.or(given_up.map(|r| r.passed)).map(|before| before.max(known));
        let remembered = remembered.filter(|_| above.is_none());
        let uid_validity = match above {
            Some(before) => uid_validity_above(before, own_uid_validity(now(), taken), taken),
            None => remembered.map_or(0, |r| r.uid_validity),
        };
        // Without a boundary every UID that was given out is old's own, and is kept again; but where
        // old is not asked, none of new's messages may get one of them.
        let boundary = remembered.and_then(|r| {
            let above = || r.mark.max(Uid::of_time(now()));
            r.boundary.or_else(|| (!self.phase().has(Side::Old)).then(above))
        });
        MailboxRecord {
            id,
            client,
            first_name: remembered.and_then(|r| r.first_name.clone()),
            old,
            new,
            uid_validity,
            uid_next: match (remembered, boundary) {
                (Some(r), Some(boundary)) if r.boundary.is_none() => boundary,
                (Some(r), Some(_)) => r.mark,
                _ => Uid(1),
            },
            boundary,
            sides: Sides::default(),
            mod_seq: 1,
            checkpoints: Vec::new(),
            hidden: false,
            listed: Sides::default(),
            unshown: Sides::default(),
            shown_late: Sides::default(),
            map_sum: None,
            matching: None,
            late: false,
            restored: Sides { old: false, new: remembered.is_some() },
            skipped_from: None,
            altered: Arc::default(),
        }
    }

    /// The hub of a mailbox, by the client's name.
    pub async fn mailbox(
        &self,
        access: &Access,
        client: &MailboxName,
    ) -> Result<Arc<Mailbox>, AccountError> {
        let missing = || AccountError::NoSuchMailbox(client.clone());
        let mut folders = self.folders(access).await?;
        if folders.find(client).is_none() {
            // Made by somebody else since.
            folders = self.list_folders(access).await?;
        }
        // What cannot be selected is a level of names and no mailbox, until it is created.
        let folder = folders.find(client).filter(|f| f.joined.selectable).ok_or_else(missing)?;
        self.hub(folder).await
    }

    /// The hub of a folder.
    pub async fn hub(&self, folder: &Folder) -> Result<Arc<Mailbox>, AccountError> {
        self.hub_of(folder.id, &folder.joined.client).await
    }

    /// All mailboxes that are the user's own, as they are remembered.
    pub async fn known_mailboxes(&self) -> Result<Vec<Arc<Mailbox>>, AccountError> {
        let mut mailboxes = Vec::new();
        for record in self.records().await? {
            if !record.hidden && !is_shared(&record) {
                mailboxes.push(self.hub_of(record.id, &record.client).await?);
            }
        }
        Ok(mailboxes)
    }

    pub(super) async fn hub_of(
        &self,
        id: MailboxId,
        client: &MailboxName,
    ) -> Result<Arc<Mailbox>, AccountError> {
        if let Some(mailbox) = self.open.get(&id).map(|m| Arc::clone(&m)) {
            return Ok(mailbox);
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(mailbox) = self.open.get(&id).map(|m| Arc::clone(&m)) {
            return Ok(mailbox);
        }
        // A listing that is still being replaced may name what was deleted meanwhile.
        let missing = || AccountError::NoSuchMailbox(client.clone());
        let stored = match self.index.load(self.id, id).await {
            Err(IndexError::UnknownMailbox(..)) => return Err(missing()),
            stored => stored?,
        };
        if stored.record.hidden {
            return Err(missing());
        }
        let mailbox = Arc::new(Mailbox::new(
            self.index.clone(),
            (self.name.clone(), self.id),
            Arc::clone(&self.undecided),
            Arc::clone(&self.matchmaker),
            stored,
            (self.phase(), self.phases.since(&self.name)),
        ));
        self.open.insert(id, Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// Makes a mailbox exist on new, where it is missing there.
    pub async fn make_on_new(
        &self,
        access: &Access,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), AccountError> {
        self.make_on(Side::New, access, mailbox).await
    }

    /// Makes a mailbox exist on a side, where it is missing there.
    pub async fn make_on(
        &self,
        side: Side,
        access: &Access,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), AccountError> {
        let is_there = || mailbox.peek(|m| m.is_there(side));
        if is_there() {
            return Ok(());
        }
        let _one_at_a_time = self.making.lock().await;
        if is_there() {
            return Ok(());
        }
        let folders = self.folders(access).await?;
        // A listing that began before would tell afterwards that the mailbox is not there.
        let _no_listing = self.listing.lock().await;
        let record = mailbox.peek(|m| m.record.clone());
        if is_there() {
            return Ok(());
        }
        let name = match side {
            Side::Old => record.old.clone(),
            Side::New => record.new.clone(),
        };
        let Some(name) = name else {
            return Err(AccountError::NotThere { mailbox: record.client.clone(), side });
        };
        let subscribed =
            folders.find(&record.client).is_some_and(|folder| folder.joined.subscribed);
        let mut lease = access.pools[side].lend(&Want::Nothing).await?;
        let mut name = name;
        if let Err(refused) = create(&mut lease, &name).await? {
            let other = match side == Side::New && dislikes(&refused) {
                true => plainer_on_new(&folders, &self.records().await?, &name),
                false => None,
            };
            let Some(other) = other else {
                return Err(lease.answer(&format!("CREATE {name}"), &refused).into());
            };
            info!(account = %self.name, mailbox = %name, %other, "CREATE: {}", refused.words());
            name = other;
            if let Err(refused) = create(&mut lease, &name).await? {
                return Err(lease.answer(&format!("CREATE {name}"), &refused).into());
            }
        }
        if subscribed {
            let done = lease.run(&command("SUBSCRIBE ", &name)).await?;
            if !done.is_ok() {
                warn!(account = %self.name, mailbox = %name, %side, "SUBSCRIBE: {}", done.words());
            }
        }
        lease.give_back();
        info!(account = %self.name, mailbox = %record.client, as_ = %name, "made on {side}");
        let mut listed = record.listed;
        listed[side] =
            Some(ListedAs { selectable: true, subscribed, children: None, special: None });
        let mut told = MailboxRecord { listed, ..record };
        match side {
            Side::Old => told.old = Some(name),
            Side::New => told.new = Some(name),
        }
        mailbox.set_listed(&told).await
    }
}

/// The operator's map of names, as it stands on the wire.
pub fn explicit_names(config: &Config) -> Vec<(MailboxName, MailboxName)> {
    let wire = |name: &String| MailboxName::new(&encode(name));
    config.folders.iter().filter_map(|(old, new)| Some((wire(old)?, wire(new)?))).collect()
}

/// CREATE; a mailbox that is there already is as good as a new one. `Err`: the server's refusal.
pub(super) async fn create(
    conn: &mut Conn,
    name: &MailboxName,
) -> Result<Result<(), Done>, BackendError> {
    let done = conn.run(&command("CREATE ", name)).await?;
    if done.is_ok() || done.code == Some(Code::AlreadyExists) {
        return Ok(Ok(()));
    }
    // Courier and others tell no code: ask whether it is there.
    let mut list = Parts::new();
    list.text("LIST \"\" ").mailbox(name);
    let listed = conn.run(&list).await?;
    let exists = listed.untagged.iter().any(|r| matches!(r, Response::List(e) if e.name == *name));
    Ok(if exists { Ok(()) } else { Err(done) })
}

/// A command with one mailbox for its argument.
pub fn command(word: &str, name: &MailboxName) -> Parts {
    let mut parts = Parts::new();
    parts.text(word).mailbox(name);
    parts
}

fn decided(record: &MailboxRecord) -> Decided {
    Decided {
        client: record.client.clone(),
        old: record.old.clone(),
        new: record.new.clone(),
        hidden: record.hidden,
    }
}

/// A UIDVALIDITY of our own: below 2^31, for clients that hold it signed; rising with time, for a
/// name that is made anew; and another one for each of an account's mailboxes.
fn own_uid_validity(now: u64, taken: &HashSet<u32>) -> u32 {
    const Y2020: u64 = 1_577_836_800;
    let seconds = u32::try_from(now.saturating_sub(Y2020)).unwrap_or(u32::MAX);
    let first = seconds & 0x7fff_ffff | 1 << 24;
    let free = (first..1 << 31).chain(1 << 24..first).find(|value| !taken.contains(value));
    // An account with 2^30 mailboxes has other troubles.
    free.unwrap_or(first)
}

/// The UIDVALIDITY of a mailbox whose name was another one's: clients that know that one must see
/// a greater value (RFC 3501 §2.3.1.1). Our own values count from 2020, most servers' from 1970.
fn uid_validity_above(before: u32, own: u32, taken: &HashSet<u32>) -> u32 {
    if own > before {
        return own;
    }
    let free = (before..=u32::MAX).skip(1).find(|value| !taken.contains(value));
    free.unwrap_or(own)
}

/// A side's folders as its last listing had them, for a side that cannot be asked.
fn remembered(
    records: &[MailboxRecord],
    shared: &[MailboxRecord],
    side: Side,
    style: Style,
) -> SideFolders {
    let listed = records.iter().filter_map(|record| remembered_as(record, side)).collect();
    let shared = if side == Side::Old { shared::remembered(shared) } else { Vec::new() };
    SideFolders { style, listed, shared, foreign: Foreign::default(), absent: Vec::new() }
}

/// A side's last listing, with what was made there since.
fn with_made(mut last: SideFolders, records: &[MailboxRecord], side: Side) -> SideFolders {
    let known: HashSet<_> = last.listed.iter().map(|listed| &listed.name).collect();
    let made = records.iter().filter(|r| !r.hidden).filter_map(|r| remembered_as(r, side));
    let made: Vec<Listed> = made.filter(|made| !known.contains(&made.name)).collect();
    last.listed.extend(made);
    last
}

/// A folder as a side's last listing had it, if it was there.
pub(super) fn remembered_as(record: &MailboxRecord, side: Side) -> Option<Listed> {
    let name = match side {
        Side::Old => record.old.clone(),
        Side::New => record.new.clone(),
    };
    let ListedAs { selectable, subscribed, children, special: used } = record.listed[side]?;
    let special = used.and_then(Special::of);
    Some(Listed { name: name?, special, selectable, children, subscribed })
}

pub(super) fn listed_as(listed: &Listed) -> ListedAs {
    let Listed { selectable, subscribed, children, special, .. } = *listed;
    let special = special.map(Special::attribute);
    ListedAs { selectable, subscribed, children, special }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_own_uid_validity_fits_in_31_bits_and_differs() {
        let now = 1_790_000_000;
        let first = own_uid_validity(now, &HashSet::new());
        assert!(first < 1 << 31);
        let second = own_uid_validity(now, &HashSet::from([first]));
        let third = own_uid_validity(now - 1, &HashSet::from([first, second, first - 1]));
        assert!(second > first && third > second);
        assert_ne!(own_uid_validity(u64::MAX, &HashSet::new()), 0);
    }

    #[test]
    fn a_name_used_again_has_a_greater_uid_validity() {
        let uid_validity_above =
            |before, own| uid_validity_above(before, own, &HashSet::from([79]));
        assert_eq!(uid_validity_above(0, 77), 77);
        assert_eq!(uid_validity_above(1_790_000_000, 230_000_000), 1_790_000_001);
        assert_eq!(uid_validity_above(77, 77), 78);
        assert_eq!(uid_validity_above(78, 77), 80, "another mailbox's");
        // Nothing is above the greatest: at least it is another one.
        assert_eq!(uid_validity_above(u32::MAX, 77), 77);
    }
}
