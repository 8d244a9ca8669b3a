//! Fetching by what messages are sorted, threaded or dated: from each message's authority, and
//! nothing kept but what is made of an answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::plan::{Plan, Question};
use crate::account::{AccountError, MAX_COMMAND};
use crate::backend::{BackendError, Fetched, Lease, internal_date, text};
use crate::imap::fetch_scan::ItemKind;
use crate::imap::sort::Told;
use crate::session::imap::reply::Reply;
use crate::session::imap::sets::ensure_announced;
use crate::uid::{SideUid, Uid, UidSet};

/// So much may be kept of one search. 100,000 messages take some tens of MiB.
const MAX_OCTETS: usize = 256 << 20;

impl Plan {
    /// Fetches `items` of messages, makes something of each answer (and says how many octets that
    /// takes), and gives it in the messages' order. What has gone meanwhile is left out.
    pub async fn gather<T: Send>(
        &self,
        uids: &UidSet<Uid>,
        items: &str,
        make: &(impl Fn(&Told<'_>) -> (T, usize) + Sync),
    ) -> Result<Result<Vec<(Uid, T)>, Reply>, AccountError> {
        let gathering = Gathering { items, make, taken: AtomicUsize::new(0) };
        let gathered = self.on_both(uids, &gathering).await?;
        Ok(gathered.and_then(|parts| {
            if gathering.taken.into_inner() >= MAX_OCTETS {
                return Err(Reply::no_with("LIMIT", "Too many messages, or too large headers"));
            }
            let mut all: Vec<(Uid, T)> = parts.into_iter().flatten().collect();
            all.sort_by_key(|(uid, _)| *uid);
            all.dedup_by_key(|(uid, _)| *uid);
            Ok(all)
        }))
    }
}

/// What of each message is to be fetched, and what is made of it.
struct Gathering<'a, F> {
    items: &'a str,
    make: &'a F,
    /// Octets taken so far, by both sides. A side that is asked again is counted twice.
    taken: AtomicUsize,
}

impl<T: Send, F: Fn(&Told<'_>) -> (T, usize) + Sync> Question for Gathering<'_, F> {
    type Part = Vec<(Uid, T)>;

    async fn ask(
        &self,
        plan: &Plan,
        lease: &mut Lease,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<Vec<(Uid, T)>, Reply>, BackendError> {
        let side = lease.side();
        let announced = ensure_announced(lease, wanted).await?;
        let mut cursor = plan.view.map.cursor();
        let mut made = Vec::new();
        for set in wanted.intersect(&announced).spanned(&announced).chunks_of(MAX_COMMAND) {
            let each = |fetched: Fetched| {
                let Some(uid) = fetched.uid else { return };
                // Nobody asked for flags.
                if fetched.flags().is_none() {
                    let known = cursor.find(side, uid).filter(|_| wanted.contains(uid));
                    made.extend(known.and_then(|(uid, _)| Some((uid, self.made(&fetched)?))));
                }
            };
            let done =
                lease.fetch(&text(&format!("UID FETCH {set} (UID {})", self.items)), each).await?;
            if !done.is_ok() {
                return Ok(Err(Reply::from_server(&done)));
            }
        }
        Ok(Ok(made))
    }
}

impl<T, F: Fn(&Told<'_>) -> (T, usize)> Gathering<'_, F> {
    /// What is made of an answer; `None` when there is too much already.
    fn made(&self, fetched: &Fetched) -> Option<T> {
        let (made, octets) = (self.make)(&read(fetched));
        let before = self.taken.fetch_add(octets + size_of::<(Uid, T)>(), Ordering::Relaxed);
        (before < MAX_OCTETS).then_some(made)
    }
}

fn read(fetched: &Fetched) -> Told<'_> {
    let (text, items) = fetched.parts();
    let mut told = Told {
        arrival: fetched.internal_date().and_then(|date| internal_date(&date)),
        size: fetched.size(),
        mod_seq: fetched.mod_seq(),
        ..Told::default()
    };
    for item in items {
        let value = text.get(item.value.clone()).unwrap_or_default();
        match item.kind {
            ItemKind::Body => told.header = value,
            ItemKind::Other => {
                let name = text.get(item.name.clone()).unwrap_or_default();
                if name.eq_ignore_ascii_case(b"ENVELOPE") {
                    told.envelope = value;
                }
            }
            _ => {}
        }
    }
    told
}
