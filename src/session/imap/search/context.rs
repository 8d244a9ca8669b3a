//! Searches whose results are kept up to date (RFC 5267 §4.3): what was told, and telling what has
//! changed since.
//!
//! Something may have changed when messages came or went and when flags were told or set; then the
//! program is run again, before the answer of the command in which that was noticed.

use std::io::{self, Write as _};
use std::sync::Arc;

use super::plan::{Plan, as_set};
use super::tell::{Answer, seqs};
use crate::imap::command::{SearchKey, SortCriterion, Tag};
use crate::imap::found::Found;
use crate::session::client::ClientError;
use crate::session::imap::reply::Reply;
use crate::session::imap::select::Selected;
use crate::session::imap::{Session, User};
use crate::uid::{SeqSet, Uid, UidMap, UidSet};

/// So many results of a session are kept up to date. Each costs a search whenever something has
/// changed; RFC 5267 §4.3.1 asks for at least one.
const MAX_CONTEXTS: usize = 8;

/// A search whose result is kept up to date.
pub(in crate::session) struct Context {
    tag: Tag,
    uid: bool,
    key: SearchKey,
    /// By what it is sorted, if it is.
    criteria: Option<Vec<SortCriterion>>,
    /// The result as the client knows it, in its order.
    told: Vec<Uid>,
}

impl Selected {
    /// Whether the search with this tag is kept up to date.
    pub(super) fn has_context(&self, tag: &Tag) -> bool {
        self.contexts.iter().any(|context| context.tag == *tag)
    }

    /// Keeps a search's result up to date from now on. False if there are too many already.
    pub(super) fn keep_up_to_date(
        &mut self,
        answer: &Answer<'_>,
        plan: &Plan,
        criteria: Option<Vec<SortCriterion>>,
        found: &Found,
    ) -> bool {
        if self.contexts.len() >= MAX_CONTEXTS {
            return false;
        }
        self.contexts.push(Context {
            tag: answer.tag.clone(),
            uid: answer.uid,
            key: lasting(plan),
            criteria,
            told: found.iter().map(Uid).collect(),
        });
        true
    }

    /// Takes messages out of all results, before the client is told that they are expunged.
    pub(in crate::session::imap) fn take_out(&mut self, gone: &UidSet<Uid>, out: &mut Vec<u8>) {
        for context in &mut self.contexts {
            let kept = |uid| !gone.contains(uid);
            context.remove(&kept, &self.numbering, out);
        }
    }
}

impl Session {
    /// CANCELUPDATE (RFC 5267 §4.3.5).
    pub(in crate::session::imap) fn cancel_update(&mut self, tags: &[Tag]) -> Reply {
        let Some(selected) = &mut self.selected else { return Reply::bad("No mailbox selected") };
        if !tags.iter().all(|tag| selected.has_context(tag)) {
            return Reply::bad("No search with this tag is being updated");
        }
        selected.contexts.retain(|context| !tags.contains(&context.tag));
        Reply::ok("No more updates")
    }

    /// Runs the programs again, where something may have changed, and tells what has.
    pub(in crate::session::imap) async fn pay_contexts(
        &mut self,
        user: &User,
    ) -> Result<(), ClientError> {
        let Some(selected) = &mut self.selected else { return Ok(()) };
        if !std::mem::take(&mut selected.stale) {
            return Ok(());
        }
        for context in &mut selected.contexts {
            let plan = Plan {
                mailbox: Arc::clone(&selected.mailbox),
                access: Arc::clone(&user.access),
                view: selected.mailbox.view(),
                shown: selected.numbering.uids(),
                numbering: selected.numbering.clone(),
                saved: UidSet::new(),
                key: context.key.clone(),
            };
            let found = match &context.criteria {
                Some(criteria) => plan.run_sorted(criteria, false).await,
                None => plan.run().await.map(|found| found.map(|uids| Found::from(&uids))),
            };
            match found {
                Ok(Ok(found)) => context.update(&found, &plan.numbering, &mut self.client.out),
                // The next time that something happens it is tried again.
                Ok(Err(refused)) => {
                    tracing::warn!("a search could not be brought up to date: {refused}");
                    selected.stale = true;
                }
                Err(e) => {
                    tracing::warn!("a search could not be brought up to date: {e}");
                    selected.stale = true;
                }
            }
        }
        self.client.flush_if_full().await
    }
}

impl Context {
    fn update(&mut self, found: &Found, numbering: &UidMap, out: &mut Vec<u8>) {
        let now: UidSet<Uid> = found.iter().map(Uid).collect();
        self.remove(&|uid| now.contains(uid), numbering, out);
        let known: UidSet<Uid> = self.told.iter().copied().collect();
        let mut added: Vec<(u32, Found)> = Vec::new();
        // Whether the message before this one was added too.
        let mut beside = false;
        for (position, uid) in (1..).zip(found.iter()) {
            let new = !known.contains(Uid(uid));
            match added.last_mut() {
                Some((_, together)) if new && beside => together.extend([(uid, uid)]),
                _ if new => added.push((position, [uid].into_iter().collect())),
                _ => {}
            }
            beside = new;
        }
        self.told = found.iter().map(Uid).collect();
        self.write("ADDTO", &added, numbering, out);
    }

    /// Removes what is not kept.
    fn remove(&mut self, kept: &dyn Fn(Uid) -> bool, numbering: &UidMap, out: &mut Vec<u8>) {
        // From the end, so that no position changes before it is told.
        let told = (1..).zip(&self.told).collect::<Vec<_>>().into_iter().rev();
        let removed: Vec<(u32, Found)> = told
            .filter(|(_, uid)| !kept(**uid))
            .map(|(position, uid)| (position, [uid.0].into_iter().collect()))
            .collect();
        self.told.retain(|uid| kept(*uid));
        self.write("REMOVEFROM", &removed, numbering, out);
    }

    /// Writes changes, each with its position. What is not sorted has none: it is in the order of
    /// the mailbox.
    ///
    /// ```abnf
    /// ret-data-addto      = "ADDTO" SP "(" context-position SP sequence-set
    ///                       *(SP context-position SP sequence-set) ")"    ; RFC 5267 §7
    /// ret-data-removefrom = "REMOVEFROM" SP "(" context-position SP sequence-set
    ///                       *(SP context-position SP sequence-set) ")"
    /// ```
    fn write(&self, name: &str, changes: &[(u32, Found)], numbering: &UidMap, out: &mut Vec<u8>) {
        let numbers = |found: &Found| if self.uid { found.clone() } else { seqs(numbering, found) };
        let changes: Vec<(u32, Found)> = if self.criteria.is_some() {
            changes.iter().map(|(position, found)| (*position, numbers(found))).collect()
        } else {
            let all: UidSet<Uid> =
                changes.iter().flat_map(|(_, found)| found.iter()).map(Uid).collect();
            vec![(0, numbers(&Found::from(&all)))]
        };
        let mut told = changes.iter().filter(|(_, numbers)| !numbers.is_empty()).peekable();
        if told.peek().is_none() {
            return;
        }
        let answer =
            Answer { name: "SEARCH", tag: &self.tag, uid: self.uid, returns: None, mod_seq: None };
        let line = || -> io::Result<()> {
            answer.write_head(out)?;
            write!(out, " {name} ")?;
            let mut before = "(";
            for (position, numbers) in told {
                write!(out, "{before}{position} {numbers}")?;
                before = " ";
            }
            out.write_all(b")\r\n")
        };
        // Writing into a Vec does not fail.
        drop(line());
    }
}

/// The program such that it means the same later: what `$` and sequence numbers name is fixed by
/// UID.
fn lasting(plan: &Plan) -> SearchKey {
    let mut key = plan.key.clone();
    key.walk_mut(&mut |key| {
        let by_uid = matches!(key, SearchKey::Uid(_));
        let (SearchKey::Sequence(set) | SearchKey::Uid(set)) = key else { return };
        let whole = set.ranges() == SeqSet::all().ranges();
        match plan.resolve(set, by_uid) {
            _ if whole => *key = SearchKey::All,
            // With `*` or without, UIDs mean the same for ever.
            _ if by_uid && !set.is_saved() => {}
            uids => *key = SearchKey::Uid(as_set(&uids)),
        }
    });
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::{Place, SideUid};

    fn context(sorted: bool, told: &[u32]) -> Context {
        Context {
            tag: Tag::new(b"b1").unwrap(),
            uid: true,
            key: SearchKey::All,
            criteria: sorted.then(Vec::new),
            told: told.iter().copied().map(Uid).collect(),
        }
    }

    fn updated(context: &mut Context, found: &[u32]) -> String {
        let mut numbering = UidMap::default();
        numbering.push(Uid(11), 9, Place::Old(SideUid(1))).unwrap();
        let mut out = Vec::new();
        context.update(&found.iter().copied().collect(), &numbering, &mut out);
        assert_eq!(context.told, found.iter().copied().map(Uid).collect::<Vec<_>>());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_sorted_has_no_position() {
        assert_eq!(
            updated(&mut context(false, &[11, 12, 14]), &[12, 13, 15, 16]),
            "* ESEARCH (TAG \"b1\") UID REMOVEFROM (0 11,14)\r\n\
             * ESEARCH (TAG \"b1\") UID ADDTO (0 13,15:16)\r\n"
        );
        assert_eq!(updated(&mut context(false, &[11]), &[11]), "");
        let mut by_number = context(false, &[11]);
        by_number.uid = false;
        assert_eq!(updated(&mut by_number, &[11, 13]), "* ESEARCH (TAG \"b1\") ADDTO (0 3)\r\n");
    }

    #[test]
    fn positions_are_those_of_the_moment() {
        assert_eq!(
            updated(&mut context(true, &[15, 11, 14, 12]), &[16, 17, 11, 12, 13]),
            "* ESEARCH (TAG \"b1\") UID REMOVEFROM (3 14 1 15)\r\n\
             * ESEARCH (TAG \"b1\") UID ADDTO (1 16:17 5 13)\r\n"
        );
    }
}
