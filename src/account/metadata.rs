//! Annotations of a mailbox or the server (RFC 5464), kept by both sides.
//!
//! New's value counts, and where it has none, old's: so a client finds all that it had, and nothing
//! has to be carried over first. A change is made on new, where the mailbox is going to live (it is
//! made there if need be), and then on old as well, where that keeps annotations: a removed value
//! must not shine through from there, and a way back should find the changed one. What is shared
//! stays on old ([`Foreign`](super::Foreign)), its annotations too.

use std::collections::BTreeMap;

use bytes::Bytes;
use tracing::{debug, warn};

use super::folders::command;
use super::{Access, Account, AccountError};
use crate::backend::{BackendError, MAX_INLINE, Want, text};
use crate::base::{MailboxName, Side, Sides};
use crate::imap::command::{Depth, Entry, MetadataAsked};
use crate::imap::response::{Code, MetadataCode, Response};
use crate::imap::write::Parts;

/// Annotations with their values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// Names as a server spells them, by the same in small letters: case does not count.
    values: BTreeMap<Vec<u8>, (Bytes, Option<Bytes>)>,
    /// How long the longest value is that was left out, if one was.
    pub longest: Option<u64>,
}

impl Metadata {
    /// Each annotation and its value, if it has one.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &(Bytes, Option<Bytes>)> {
        self.values.values()
    }

    /// Takes a value for an annotation that has none yet.
    fn add(&mut self, entry: Bytes, value: Option<Bytes>) {
        let known = self.values.entry(entry.to_ascii_lowercase()).or_insert((entry, None));
        known.1 = known.1.take().or(value);
    }

    fn has(&self, entry: &Entry) -> bool {
        let known = self.values.get(&entry.as_str().as_bytes().to_ascii_lowercase());
        known.is_some_and(|(_, value)| value.is_some())
    }

    /// Whether another side's values add nothing. What was left out for its length cannot be told
    /// from what is not there.
    fn answers(&self, asked: &MetadataAsked) -> bool {
        self.longest.is_some()
            || asked.depth == Depth::Zero && asked.entries.iter().all(|entry| self.has(entry))
    }

    /// Leaves out values that are longer than this.
    fn cut(&mut self, max_size: u64) {
        let mut longest = self.longest;
        self.values.retain(|_, (_, value)| {
            let octets = value.as_ref().map_or(0, |value| value.len() as u64);
            let fits = octets <= max_size;
            longest = longest.max((!fits).then_some(octets));
            fits
        });
        self.longest = longest;
    }
}

impl Account {
    /// The annotations of a mailbox; `None`: of the server.
    ///
    /// # Errors
    /// Both sides refuse, or one that may know more is away.
    pub async fn metadata(
        &self,
        access: &Access,
        mailbox: Option<&MailboxName>,
        asked: &MetadataAsked,
    ) -> Result<Metadata, AccountError> {
        let on = match mailbox {
            None => named_on(None),
            Some(name) => named_on(Some(&self.mailbox(access, name).await?.view().names)),
        };
        let on = self.of_phase(on);
        let mut told = Metadata::default();
        let mut answered = false;
        let mut refused = None;
        for side in [Side::New, Side::Old] {
            let Some(name) = on[side].as_ref().filter(|_| !told.answers(asked)) else { continue };
            match ask(access, side, name, asked, &mut told).await {
                Ok(there) => answered |= there,
                Err(e @ BackendError::Answer { .. }) => refused = Some(e),
                Err(e) => return Err(e.into()),
            }
        }
        match refused {
            Some(refused) if !answered => return Err(refused.into()),
            Some(refused) => debug!(account = %self.name, "annotations of one side: {refused}"),
            None => {}
        }
        if !answered && asked.depth == Depth::Zero {
            // It is on old alone, which keeps none.
            for entry in &asked.entries {
                told.add(Bytes::copy_from_slice(entry.as_str().as_bytes()), None);
            }
        }
        told.cut(asked.max_size.unwrap_or(u64::MAX));
        Ok(told)
    }

    /// Sets annotations of a mailbox, or of the server (`None`); without a value they are removed.
    ///
    /// # Errors
    /// New refuses, or old still has what is to be removed.
    pub async fn set_metadata(
        &self,
        access: &Access,
        mailbox: Option<&MailboxName>,
        values: &[(Entry, Option<Vec<u8>>)],
    ) -> Result<(), AccountError> {
        let on = match mailbox {
            None => named_on(None),
            Some(name) => {
                let mailbox = self.mailbox(access, name).await?;
                if !mailbox.stays_on_old() {
                    self.make_on_new(access, &mailbox).await?;
                }
                named_on(Some(&mailbox.view().names))
            }
        };
        let on = self.of_phase(on);
        if let Some(name) = &on.new {
            set(access, Side::New, name, values).await?;
        }
        let Some(name) = &on.old else { return Ok(()) };
        let e = match self.old_is_read_only() {
            true => BackendError::Answer {
                side: Side::Old,
                doing: "SETMETADATA".into(),
                code: None,
                text: "the old server is read-only".into(),
            },
            false => match set(access, Side::Old, name, values).await {
                Ok(()) => return Ok(()),
                Err(e) => e,
            },
        };
        if on.new.is_none() {
            return Err(e.into());
        }
        let gone = values.iter().filter(|(_, value)| value.is_none());
        let entries: Vec<Entry> = gone.map(|(entry, _)| entry.clone()).collect();
        if !entries.is_empty() {
            if !matches!(e, BackendError::Answer { .. }) {
                return Err(e.into());
            }
            let asked = MetadataAsked { entries, depth: Depth::Zero, max_size: None };
            let mut left = Metadata::default();
            ask(access, Side::Old, name, &asked, &mut left).await?;
            if left.longest.is_some() || left.values().any(|(_, value)| value.is_some()) {
                return Err(e.into());
            }
        }
        warn!(account = %self.name, "annotations on new alone: {e}");
        Ok(())
    }
}

impl Account {
    fn of_phase(&self, on: Sides<Option<Parts>>) -> Sides<Option<Parts>> {
        let phase = self.phase();
        on.map(|side, name| name.filter(|_| phase.has(side)))
    }
}

/// What is annotated as each side names it in a command, where it is there.
fn named_on(names: Option<&Sides<Option<MailboxName>>>) -> Sides<Option<Parts>> {
    Sides::from_fn(|side| match names {
        None => Some(text("\"\"")),
        Some(names) => names[side].as_ref().map(|name| command("", name)),
    })
}

/// Asks one side, and adds what it tells; `false`: it keeps no annotations.
async fn ask(
    access: &Access,
    side: Side,
    name: &Parts,
    asked: &MetadataAsked,
    told: &mut Metadata,
) -> Result<bool, BackendError> {
    let mut lease = access.pools[side].lend(&Want::Nothing).await?;
    if !lease.profile().can("METADATA") {
        lease.give_back();
        return Ok(false);
    }
    let mut get = text(&format!("GETMETADATA (MAXSIZE {MAX_INLINE}"));
    if asked.depth != Depth::Zero {
        get.text(" DEPTH ").text(asked.depth.as_str());
    }
    get.text(") ").append(name.clone());
    for (at, entry) in asked.entries.iter().enumerate() {
        get.text(if at == 0 { " (" } else { " " }).astring(entry.as_str().as_bytes());
    }
    get.text(")");
    let done = lease.run(&get).await?;
    let refused = (!done.is_ok()).then(|| lease.answer("GETMETADATA", &done));
    lease.give_back();
    if let Some(refused) = refused {
        return Err(refused);
    }
    for response in done.untagged {
        if let Response::Metadata { values, .. } = response {
            values.into_iter().for_each(|(entry, value)| told.add(entry, value));
        }
    }
    if let Some(Code::Metadata(MetadataCode::LongEntries(octets))) = done.code {
        told.longest = told.longest.max(Some(octets));
    }
    Ok(true)
}

/// Sets annotations on one side, if it keeps any.
async fn set(
    access: &Access,
    side: Side,
    name: &Parts,
    values: &[(Entry, Option<Vec<u8>>)],
) -> Result<(), BackendError> {
    let mut lease = access.pools[side].lend(&Want::Nothing).await?;
    if !lease.profile().can("METADATA") {
        lease.give_back();
        return Ok(());
    }
    let mut set = text("SETMETADATA ");
    set.append(name.clone());
    for (at, (entry, value)) in values.iter().enumerate() {
        set.text(if at == 0 { " (" } else { " " }).astring(entry.as_str().as_bytes()).text(" ");
        match value {
            Some(value) => set.string(value),
            None => set.text("NIL"),
        };
    }
    set.text(")");
    let done = lease.run(&set).await?;
    let refused = (!done.is_ok()).then(|| lease.answer("SETMETADATA", &done));
    lease.give_back();
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[(&'static str, Option<&'static str>)]) -> Metadata {
        let mut told = Metadata::default();
        for (entry, value) in values {
            told.add(Bytes::from(*entry), value.map(Bytes::from));
        }
        told
    }

    #[test]
    fn what_was_told_first_counts_unless_it_was_nothing() {
        let both = told(&[
            ("/shared/a", None),
            ("/shared/b", Some("new")),
            ("/SHARED/A", Some("old")),
            ("/shared/b", Some("old")),
            ("/shared/b", None),
        ]);
        assert_eq!(both, told(&[("/shared/a", Some("old")), ("/shared/b", Some("new"))]));
    }

    #[test]
    fn what_is_too_long_is_left_out_and_counted() {
        let mut values = told(&[("/shared/a", Some("1234")), ("/shared/b", Some("12345"))]);
        values.add(Bytes::from("/shared/c"), None);
        let mut none = values.clone();
        values.cut(4);
        assert_eq!((values.values().len(), values.longest), (2, Some(5)));
        none.cut(0);
        assert_eq!((none.values().len(), none.longest), (1, Some(5)));
    }
}
