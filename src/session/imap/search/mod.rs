//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182), SORT and THREAD (RFC 5256): asked of every side
//! that decides over a message, each in its own UIDs, and answered in the client's numbers.
//!
//! `plan` asks the sides for what matches and `within` for what a server may not know, `keys`
//! fetches by what is sorted, `order` sorts and threads or lets one server do so (`delegate`),
//! `tell` writes the answer, and `context` goes on telling (RFC 5267).

mod context;
mod delegate;
mod keys;
mod order;
mod plan;
mod tell;
mod within;

use std::sync::Arc;

use self::plan::Plan;
use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::AccountError;
use crate::base::{Side, Sides};
use crate::imap::charset::{BAD_CHARSET, Charset};
use crate::imap::command::{SearchKey, SearchReturn, SortCriterion, Tag};
use crate::imap::found::Found;
use crate::imap::sort::Told;
use crate::uid::UidSet;

pub(in crate::session) use self::context::Context;
pub(super) use self::order::{Sort, Thread};
use self::tell::{Answer, saved, seqs};

/// A SEARCH command.
pub(super) struct Search {
    pub uid: bool,
    pub returns: Option<Vec<SearchReturn>>,
    pub charset: Option<String>,
    pub key: SearchKey,
}

impl Session {
    pub(super) async fn search(
        &mut self,
        tag: &Tag,
        user: &User,
        search: Search,
    ) -> Result<Reply, Failure> {
        let Search { uid, mut returns, charset, key } = search;
        if charset.is_some() && self.extended.utf8 {
            return Ok(Reply::bad("No charset once UTF8=ACCEPT is enabled"));
        }
        // In IMAP4rev2 the answer is ESEARCH in any case (RFC 9051 §6.4.4).
        if self.extended.rev2 {
            returns.get_or_insert_with(|| vec![SearchReturn::All]);
        }
        let mut answer = Answer { name: "SEARCH", tag, uid, returns, mod_seq: None };
        let plan = match self.plan(user, &answer, charset.as_deref(), key) {
            Ok(plan) => plan,
            Err(reply) => return Ok(reply),
        };
        let found = match self.client.patiently(plan.run()).await?? {
            Ok(found) => Found::from(&found),
            Err(refused) => return Ok(refused),
        };
        let highest = plan.highest_of(&answer, &found);
        answer.mod_seq = self.client.patiently(highest).await??;
        self.tell_found(&answer, &plan, &found, None).await?;
        Ok(Reply::ok("Search completed"))
    }

    /// What is to be searched, and how; or why it cannot be. From here on nothing is saved, until
    /// the search has succeeded: a NO leaves `$` empty (RFC 5182 §2.1).
    fn plan(
        &mut self,
        user: &User,
        answer: &Answer<'_>,
        charset: Option<&str>,
        key: SearchKey,
    ) -> Result<Plan, Reply> {
        let Some(selected) = &mut self.selected else {
            return Err(Reply::bad("No mailbox selected"));
        };
        let mut plan = Plan {
            mailbox: Arc::clone(&selected.mailbox),
            access: Arc::clone(&user.access),
            view: selected.mailbox.view(),
            shown: selected.numbering.uids(),
            numbering: selected.numbering.clone(),
            saved: selected.saved.clone(),
            key,
        };
        if plan.key.asks_for_changes() && !self.offer.has("CONDSTORE") {
            return Err(Reply::bad("Unknown SEARCH key MODSEQ"));
        }
        if answer.wants(SearchReturn::Update) && selected.has_context(answer.tag) {
            return Err(Reply::bad("A search with this tag is being updated"));
        }
        if answer.wants(SearchReturn::Save) {
            selected.saved = UidSet::new();
        }
        if plan.key.asks_for_changes() {
            self.enable_condstore();
        }
        if let Some(name) = charset {
            let charset = Charset::named(name)
                .ok_or_else(|| Reply::no_with(BAD_CHARSET, "Charset is not supported"))?;
            if !plan.key.decode(charset) {
                return Err(Reply::no("A string is not of this charset"));
            }
        }
        Ok(plan)
    }

    /// Writes the answer, and keeps what is to be kept of it. `criteria` are what it is sorted by.
    async fn tell_found(
        &mut self,
        answer: &Answer<'_>,
        plan: &Plan,
        found: &Found,
        criteria: Option<Vec<SortCriterion>>,
    ) -> Result<(), Failure> {
        let Some(selected) = &mut self.selected else { return Ok(()) };
        let out = &mut self.client.out;
        if answer.wants(SearchReturn::Save) {
            selected.saved = saved(answer.returns.as_deref().unwrap_or_default(), found);
        }
        if answer.wants(SearchReturn::Update)
            && !selected.keep_up_to_date(answer, plan, criteria, found)
        {
            let line = format!("* NO [NOUPDATE \"{}\"] Too many searches\r\n", answer.tag);
            out.extend_from_slice(line.as_bytes());
        }
        let numbers = if answer.uid { found.clone() } else { seqs(&plan.numbering, found) };
        answer.write(&numbers, out);
        self.client.flush_if_full().await?;
        Ok(())
    }
}

impl Plan {
    /// The highest MODSEQ of what is told of messages that were found by it.
    async fn highest_of(
        &self,
        answer: &Answer<'_>,
        found: &Found,
    ) -> Result<Option<u64>, AccountError> {
        if !self.key.asks_for_changes() || found.is_empty() {
            return Ok(None);
        }
        let told = saved(answer.returns.as_deref().unwrap_or_default(), found);
        let mod_seq = |told: &Told<'_>| (told.mod_seq, size_of::<u64>());
        // Where a server does not tell now, the message was told of all the same.
        let Ok(values) = self.gather(&told, "MODSEQ", &mod_seq).await? else { return Ok(None) };
        let mut greatest = Sides { old: 0, new: 0 };
        for (uid, value) in values {
            if let (Some(place), Some(value)) = (self.view.map.place(uid), value) {
                let side = place.authority();
                greatest[side] = value.max(greatest[side]);
            }
        }
        let mut highest = None;
        for side in Side::BOTH.into_iter().filter(|side| greatest[*side] > 0) {
            highest = highest.max(Some(self.mailbox.mod_seq_of(side, greatest[side]).await?));
        }
        Ok(highest)
    }
}
