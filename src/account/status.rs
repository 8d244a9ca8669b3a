//! STATUS of many mailboxes at once: both sides are asked in one round trip each, and only what has
//! changed since is looked at more closely.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use super::folders::command;
use super::mailbox::now;
use super::matching::FIRST_VIEW;
use super::{Access, AccountError, MAX_COMMAND, Mailbox};
use crate::backend::{BackendError, Conn, Done, Lease, Pace, Slot, Want, text};
use crate::base::{MailboxName, Side, Sides};
use crate::imap::response::{Response, StatusKey};
use crate::uid::{SideUid, Uid, UidSet};

/// So many commands are sent before the first answer is read: neither end's buffers overflow.
const PIPELINED: usize = 256;

/// A UIDVALIDITY that says it was given within these seconds is not believed of STATUS alone: Courier
/// tells the time of day there until a mailbox is first selected, and only SELECT fixes it (V1).
const UNSETTLED: u64 = 24 * 60 * 60;

/// From when Courier counts seconds, since 1970.
const COURIERS_EPOCH: u64 = 1_000_000_000;

/// What STATUS is to tell beyond what the map knows.
#[derive(Clone, Copy, Default, Debug)]
pub struct Asked {
    /// How many messages are unseen.
    pub unseen: bool,
    /// How many are marked as deleted.
    pub deleted: bool,
    /// How many octets those have together (RFC 9208 §4.1.1).
    pub deleted_storage: bool,
    /// How many octets all have together (RFC 8438).
    pub size: bool,
    /// How large a message may be (RFC 7889).
    pub append_limit: bool,
    /// HIGHESTMODSEQ (RFC 7162 §3.1.7).
    pub mod_seq: bool,
}

/// A mailbox's STATUS; 0 where something was not asked.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// MESSAGES.
    pub messages: u32,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UNSEEN: each message on its authority.
    pub unseen: u64,
    /// DELETED: the same.
    pub deleted: u64,
    /// DELETED-STORAGE: the same.
    pub deleted_storage: u64,
    /// SIZE: the same.
    pub size: u64,
    /// APPENDLIMIT: the smaller one of both sides; `None` if neither tells one.
    pub append_limit: Option<u64>,
    /// HIGHESTMODSEQ: the virtual one.
    pub mod_seq: u64,
}

/// What a side said of a mailbox.
#[derive(Clone, Copy, Default, Debug)]
enum Told {
    /// It is not there.
    #[default]
    Absent,
    /// The side cannot be asked at all.
    Away,
    /// Nothing of use: it was refused, or may lag.
    Nothing,
    /// Its numbers.
    Numbers(Numbers),
}

/// A side's STATUS.
#[derive(Clone, Copy, Default, Debug)]
struct Numbers {
    uid_validity: u64,
    uid_next: u64,
    messages: u64,
    unseen: Option<u64>,
    highest_mod_seq: Option<u64>,
    deleted: Option<u64>,
    deleted_storage: Option<u64>,
    size: Option<u64>,
    append_limit: Option<u64>,
}

/// The STATUS of mailboxes, in their order. Those that have changed are brought up to date.
///
/// # Errors
/// Of each mailbox as for [`refresh`](Mailbox::refresh); also where a count needs a side that is
/// away.
pub async fn statuses(
    access: &Access,
    mailboxes: &[Arc<Mailbox>],
    asked: Asked,
) -> Vec<Result<Status, AccountError>> {
    // Those that are to be matched first have this long together.
    let until = Instant::now() + FIRST_VIEW;
    let told = ask_both(access, mailboxes, asked).await;
    let each = || mailboxes.iter().zip(&told);
    // What each writes down is written down together.
    let untouched = each().map(|(mailbox, told)| mailbox.status_of_untouched(told, asked));
    let untouched = futures_util::future::join_all(untouched).await;
    let mut statuses = Vec::with_capacity(mailboxes.len());
    for ((mailbox, told), untouched) in each().zip(untouched) {
        statuses.push(match untouched.transpose() {
            Some(status) => status,
            None => mailbox.status(access, told, asked, until).await,
        });
    }
    statuses
}

impl Mailbox {
    async fn status(
        self: &Arc<Self>,
        access: &Access,
        told: &Sides<Told>,
        asked: Asked,
        until: Instant,
    ) -> Result<Status, AccountError> {
        let known = |side: Side| match &told[side] {
            Told::Absent => true,
            Told::Away => self.has_seen(side),
            Told::Nothing => false,
            Told::Numbers(numbers) => {
                self.is_current(side, numbers) && !self.flags_changed(side, numbers)
            }
        };
        for (side, told) in told.iter() {
            let seen = self.peek(|m| m.record.sides[side].map(|seen| u64::from(seen.uid_validity)));
            if told.numbers().is_some_and(|now| seen.is_some_and(|seen| now.uid_validity != seen)) {
                // It was made anew: some servers go on serving what it was to whoever has it selected.
                access.pools[side].forget_selected();
            }
        }
        self.absorb_unheard(told).await?;
        if !Side::BOTH.into_iter().all(known) || self.view().uid_validity == 0 {
            self.absorb(access).await?;
            self.first_view(until).await;
        }
        let view = self.view();
        let mut status = Status {
            messages: view.map.len(),
            uid_next: view.uid_next,
            uid_validity: view.uid_validity,
            unseen: 0,
            deleted: 0,
            deleted_storage: 0,
            size: 0,
            append_limit: append_limit(told),
            mod_seq: view.mod_seqs.highest(),
        };
        for side in Side::BOTH {
            let decides = view.map.authority_uids(side);
            if decides.is_empty() {
                continue;
            }
            // Nothing but what this side decides over lies there: its own counts are ours.
            let alone = told[side].numbers().filter(|numbers| {
                self.is_current(side, numbers) && numbers.messages == u64::from(decides.len())
            });
            let counts = self.count(access, side, &decides, alone.copied(), asked).await?;
            status.unseen += counts.unseen.unwrap_or(0).min(decides.len().into());
            status.deleted += counts.deleted.unwrap_or(0).min(decides.len().into());
            let storage = counts.deleted_storage.unwrap_or(0);
            status.deleted_storage = status.deleted_storage.saturating_add(storage);
            status.size = status.size.saturating_add(counts.size.unwrap_or(0));
        }
        Ok(status)
    }

    /// Whether a side's numbers are those that the map was made with.
    fn is_current(&self, side: Side, numbers: &Numbers) -> bool {
        self.peek(|m| m.record.sides[side]).is_some_and(|seen| {
            numbers.uid_validity == u64::from(seen.uid_validity)
                && numbers.uid_next == u64::from(seen.uid_next.0)
                && numbers.messages == u64::from(seen.messages)
        })
    }

    /// The numbers of a mailbox that was never absorbed and has no message on new: old's, as they
    /// will be when it is opened (V1, V2), so that it need not be opened for them.
    async fn status_of_untouched(
        self: &Arc<Self>,
        told: &Sides<Told>,
        asked: Asked,
    ) -> Result<Option<Status>, AccountError> {
        let Some(status) = self.as_on_old(told, asked) else { return Ok(None) };
        // From here on it has been seen: a mailbox that gets this name later has a greater one.
        self.change(|merged, _| {
            let unset = merged.record.uid_validity == 0;
            if unset {
                merged.record.uid_validity = status.uid_validity;
            }
            Ok(((), unset))
        })
        .await?;
        Ok(Some(status))
    }

    fn as_on_old(&self, told: &Sides<Told>, asked: Asked) -> Option<Status> {
        let nothing_on_new = match &told.new {
            Told::Absent => true,
            Told::Numbers(numbers) => numbers.messages == 0,
            Told::Away | Told::Nothing => false,
        };
        let numbers = told.old.numbers().filter(|_| nothing_on_new)?;
        let uid_validity = u32::try_from(numbers.uid_validity).ok().filter(|v| *v != 0)?;
        let age = now().saturating_sub(uid_validity.into());
        if [age, age.abs_diff(COURIERS_EPOCH)].iter().any(|age| *age < UNSETTLED) {
            return None;
        }
        let mark = self.peek(|m| {
            let unseen = m.record.sides.iter().all(|(_, seen)| seen.is_none());
            let olds = [0, uid_validity].contains(&m.record.uid_validity);
            (unseen && olds && m.record.boundary.is_none()).then_some(m.record.uid_next)
        })?;
        let counted = |asked: bool, count: Option<u64>| if asked { count } else { Some(0) };
        Some(Status {
            messages: u32::try_from(numbers.messages).ok()?,
            uid_next: mark.max(Uid(u32::try_from(numbers.uid_next).ok()?)),
            uid_validity,
            unseen: counted(asked.unseen, numbers.unseen)?,
            deleted: counted(asked.deleted, numbers.deleted)?,
            deleted_storage: counted(asked.deleted_storage, numbers.deleted_storage)?,
            size: counted(asked.size, numbers.size)?,
            append_limit: append_limit(told),
            mod_seq: counted(asked.mod_seq, numbers.highest_mod_seq)?,
        })
    }

    /// Whether a side tells of changes of flags that were not taken in yet.
    fn flags_changed(&self, side: Side, numbers: &Numbers) -> bool {
        let absorbed = self.peek(|m| m.mod_seqs.absorbed(side));
        numbers.highest_mod_seq.is_some_and(|told| told > absorbed)
    }

    /// Counts changes of flags that nobody listens for; sessions want to hear of each.
    async fn absorb_unheard(self: &Arc<Self>, told: &Sides<Told>) -> Result<(), AccountError> {
        for (side, told) in told.iter() {
            if let Some(numbers) = told.numbers()
                && self.is_current(side, numbers)
                && self.flags_changed(side, numbers)
                && self.listeners() == 0
            {
                self.change(|merged, _| {
                    merged.absorb_mod_seq(side, numbers.highest_mod_seq, None);
                    Ok(((), false))
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Counts what this side decides over, as far as it is asked and `known` does not say it.
    async fn count(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
        decides: &UidSet<SideUid>,
        known: Option<Numbers>,
        asked: Asked,
    ) -> Result<Numbers, AccountError> {
        let mut counts = known.unwrap_or_default();
        let unseen = asked.unseen && counts.unseen.is_none();
        let deleted = asked.deleted && counts.deleted.is_none();
        let storage = asked.deleted_storage && counts.deleted_storage.is_none();
        let size = asked.size && counts.size.is_none();
        if !(unseen || deleted || storage || size) {
            return Ok(counts);
        }
        let mut lease = self.lease_to_look(access, side).await?;
        if unseen {
            counts.unseen = Some(found(&mut lease, "UNSEEN", decides).await?.len().into());
        }
        if deleted || storage {
            let marked = found(&mut lease, "DELETED", decides).await?;
            counts.deleted = Some(marked.len().into());
            if storage {
                counts.deleted_storage = Some(sum_of_sizes(&mut lease, &marked).await?);
            }
        }
        if size {
            counts.size = Some(sum_of_sizes(&mut lease, decides).await?);
        }
        self.give_back(lease).await;
        Ok(counts)
    }
}

impl Told {
    fn numbers(&self) -> Option<&Numbers> {
        match self {
            Told::Numbers(numbers) => Some(numbers),
            Told::Absent | Told::Away | Told::Nothing => None,
        }
    }
}

/// A message must fit on both sides.
fn append_limit(told: &Sides<Told>) -> Option<u64> {
    told.iter().filter_map(|(_, told)| told.numbers()?.append_limit).min()
}

/// Which of these messages a SEARCH finds.
pub async fn found(
    conn: &mut Conn,
    key: &str,
    decides: &UidSet<SideUid>,
) -> Result<UidSet<SideUid>, BackendError> {
    let ret = if conn.profile().esearch() { "RETURN (ALL) " } else { "" };
    let mut command = format!("UID SEARCH {ret}");
    // Where the set is short the server need not look at the others.
    if let Some(set) = decides.chunks_of(MAX_COMMAND / 2).next()
        && set.len() < MAX_COMMAND / 4
    {
        command.push_str(&format!("UID {set} "));
    }
    command.push_str(key);
    let done = conn.must(&format!("UID SEARCH {key}"), &text(&command)).await?;
    let mut found: UidSet<SideUid> = UidSet::new();
    for response in done.untagged {
        match response {
            Response::Search(uids) => found = uids.into_iter().map(SideUid).collect(),
            Response::Esearch { all, .. } => {
                found = UidSet::from_ranges(all.into_iter().map(|(a, b)| (SideUid(a), SideUid(b))));
            }
            _ => {}
        }
    }
    Ok(found.intersect(decides))
}

/// The octets of these messages together, one after the other.
async fn sum_of_sizes(conn: &mut Conn, decides: &UidSet<SideUid>) -> Result<u64, BackendError> {
    // A set that is long is asked with its holes: what comes back unasked is not counted.
    let mut sets = decides.chunks_of(MAX_COMMAND);
    let set = match (sets.next(), sets.next(), decides.first(), decides.last()) {
        (Some(set), None, ..) => set.to_string(),
        (_, _, Some(first), Some(last)) => format!("{first}:{last}"),
        _ => return Ok(0),
    };
    let mut sum = 0u64;
    let mut unasked = Vec::new();
    let each = |fetched: crate::backend::Fetched| match (fetched.uid, fetched.size()) {
        (Some(uid), Some(size)) if decides.contains(uid) => sum = sum.saturating_add(size),
        (Some(uid), None) => unasked.extend(fetched.flags().map(|flags| (uid, flags))),
        _ => {}
    };
    let done = conn.fetch(&text(&format!("UID FETCH {set} (UID RFC822.SIZE)")), each).await?;
    unasked.into_iter().for_each(|(uid, flags)| conn.note_flags(uid, flags));
    if done.is_ok() { Ok(sum) } else { Err(conn.answer("UID FETCH RFC822.SIZE", &done)) }
}

/// Asks both sides at once for all mailboxes that they have.
async fn ask_both(access: &Access, mailboxes: &[Arc<Mailbox>], asked: Asked) -> Vec<Sides<Told>> {
    let mut told: Vec<Sides<Told>> = vec![Sides::default(); mailboxes.len()];
    let names = Sides::from_fn(|side| -> Vec<(usize, MailboxName)> {
        let name = |mailbox: &Arc<Mailbox>| mailbox.view().names[side].clone();
        mailboxes.iter().enumerate().filter_map(|(at, m)| Some((at, name(m)?))).collect()
    });
    // Slots are taken in the sides' order (see `backend::Pool`).
    let mut slots = Vec::new();
    for side in Side::BOTH.into_iter().filter(|side| !names[*side].is_empty()) {
        slots.push((side, access.pools[side].slot().await));
    }
    let answers = slots.into_iter().map(|(side, slot)| {
        let names = &names[side];
        async move { (side, ask_side(access, side, slot, names, asked).await) }
    });
    for (side, answers) in futures_util::future::join_all(answers).await {
        match answers {
            Ok(answers) => {
                for ((at, _), answer) in names[side].iter().zip(answers) {
                    told[*at][side] = answer;
                }
            }
            Err(e) => {
                warn!(%side, "STATUS without this side: {e}");
                for (at, _) in &names[side] {
                    told[*at][side] = Told::Away;
                }
            }
        }
    }
    told
}

async fn ask_side(
    access: &Access,
    side: Side,
    slot: Result<Slot, BackendError>,
    names: &[(usize, MailboxName)],
    asked: Asked,
) -> Result<Vec<Told>, BackendError> {
    let mut lease = access.pools[side].lend_in(slot?, &Want::Nothing).await?;
    let items = items(&lease, asked);
    let mut answers = Vec::with_capacity(names.len());
    for names in names.chunks(PIPELINED) {
        ask_some(&mut lease, names, &items, &mut answers).await?;
    }
    if asked.append_limit {
        let everywhere = lease.profile().append_limit();
        for answer in &mut answers {
            if let Told::Numbers(numbers) = answer {
                numbers.append_limit = numbers.append_limit.or(everywhere);
            }
        }
    }
    lease.give_back();
    Ok(answers)
}

/// What a server is asked: what it counts itself need not be counted by us.
fn items(conn: &Conn, asked: Asked) -> String {
    let profile = conn.profile();
    let mut items = "MESSAGES UIDNEXT UIDVALIDITY".to_owned();
    for (item, wanted) in [
        (" UNSEEN", asked.unseen),
        (" DELETED", asked.deleted && profile.counts_deleted()),
        (" DELETED-STORAGE", asked.deleted_storage && profile.has("QUOTA=RES-STORAGE")),
        (" SIZE", asked.size && profile.can("STATUS=SIZE")),
        (" APPENDLIMIT", asked.append_limit && profile.has("APPENDLIMIT")),
        (" HIGHESTMODSEQ", asked.mod_seq && profile.condstore()),
    ] {
        if wanted {
            items.push_str(item);
        }
    }
    items
}

/// One round trip, except for names that need a literal: those must wait for the server.
async fn ask_some(
    lease: &mut Lease,
    names: &[(usize, MailboxName)],
    items: &str,
    answers: &mut Vec<Told>,
) -> Result<(), BackendError> {
    let mut pending = Vec::with_capacity(names.len());
    let selected = lease.selected().map(|s| s.name.clone());
    for (_, name) in names {
        let mut ask = command("STATUS ", name);
        ask.text(&format!(" ({items})"));
        // Of the mailbox that is selected, STATUS may lag (RFC 3501 §6.3.10).
        let queue = !ask.has_literal() && selected.as_ref() != Some(name);
        pending.push((queue.then(|| lease.queue(&ask)), ask));
    }
    let first = answers.len();
    answers.resize(first + names.len(), Told::Nothing);
    let mut late = Vec::new();
    for (at, (pending, ask)) in pending.into_iter().enumerate() {
        match pending {
            Some(pending) => {
                let done = lease.finish(pending).await?;
                match Pace::default().after(&done) {
                    // It is asked again when the others have been.
                    Some(_) => late.push((at, ask)),
                    None => answers[first + at] = numbers(&names[at].1, done),
                }
            }
            None if selected.as_ref() != Some(&names[at].1) => late.push((at, ask)),
            None => {}
        }
    }
    for (at, ask) in late {
        let done = lease.run(&ask).await?;
        answers[first + at] = numbers(&names[at].1, done);
    }
    Ok(())
}

fn numbers(name: &MailboxName, done: Done) -> Told {
    if !done.is_ok() {
        warn!(mailbox = %name, "STATUS: {}", done.words());
        return Told::Nothing;
    }
    let items = done.untagged.into_iter().find_map(|response| match response {
        Response::StatusOf { mailbox, items } if mailbox == *name => Some(items),
        _ => None,
    });
    let Some(items) = items else { return Told::Nothing };
    let number = |key| items.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let (Some(uid_validity), Some(uid_next), Some(messages)) =
        (number(StatusKey::UidValidity), number(StatusKey::UidNext), number(StatusKey::Messages))
    else {
        return Told::Nothing;
    };
    Told::Numbers(Numbers {
        uid_validity,
        uid_next,
        messages,
        unseen: number(StatusKey::Unseen),
        deleted: number(StatusKey::Deleted),
        deleted_storage: number(StatusKey::DeletedStorage),
        size: number(StatusKey::Size),
        append_limit: number(StatusKey::AppendLimit),
        highest_mod_seq: number(StatusKey::HighestModSeq),
    })
}
