//! SORT and THREAD: what was found in another order.

use std::sync::{Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::plan::Plan;
use super::tell::Answer;
use crate::account::AccountError;
use crate::imap::command::{SearchKey, SearchReturn, SortCriterion, Tag, ThreadAlgorithm};
use crate::imap::found::Found;
use crate::imap::sort::{self, Keys, Told};
use crate::imap::thread::{Forest, Ids, Links};
use crate::session::imap::reply::{Failure, Reply};
use crate::session::imap::{Session, User};
use crate::uid::Uid;

/// A SORT command.
pub(in crate::session::imap) struct Sort {
    pub uid: bool,
    pub returns: Option<Vec<SearchReturn>>,
    pub criteria: Vec<SortCriterion>,
    pub charset: String,
    pub key: SearchKey,
}

/// A THREAD command.
pub(in crate::session::imap) struct Thread {
    pub uid: bool,
    pub algorithm: ThreadAlgorithm,
    pub charset: String,
    pub key: SearchKey,
}

impl Session {
    pub(in crate::session::imap) async fn sort(
        &mut self,
        tag: &Tag,
        user: &User,
        sort: Sort,
    ) -> Result<Reply, Failure> {
        let Sort { uid, returns, .. } = sort;
        let mut answer = Answer { name: "SORT", tag, uid, returns, mod_seq: None };
        let plan = match self.plan(user, &answer, Some(&sort.charset), sort.key) {
            Ok(plan) => plan,
            Err(reply) => return Ok(reply),
        };
        let sorting = plan.run_sorted(&sort.criteria, !answer.wants(SearchReturn::Update));
        let found = match self.client.patiently(sorting).await?? {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        let highest = plan.highest_of(&answer, &found);
        answer.mod_seq = self.client.patiently(highest).await??;
        self.tell_found(&answer, &plan, &found, Some(sort.criteria)).await?;
        Ok(Reply::ok("Sort completed"))
    }

    pub(in crate::session::imap) async fn thread(
        &mut self,
        tag: &Tag,
        user: &User,
        thread: Thread,
    ) -> Result<Reply, Failure> {
        let answer = Answer { name: "THREAD", tag, uid: thread.uid, returns: None, mod_seq: None };
        let plan = match self.plan(user, &answer, Some(&thread.charset), thread.key) {
            Ok(plan) => plan,
            Err(reply) => return Ok(reply),
        };
        let threads =
            match self.client.patiently(plan.run_threaded(thread.algorithm, thread.uid)).await?? {
                Ok(threads) => threads,
                Err(refused) => return Ok(refused),
            };
        let out = &mut self.client.out;
        // `"THREAD" [SP 1*thread-list]` (RFC 5256 §4).
        out.extend_from_slice(if threads.is_empty() { b"* THREAD" } else { b"* THREAD " });
        out.extend_from_slice(&threads);
        out.extend_from_slice(b"\r\n");
        self.client.flush_if_full().await?;
        Ok(Reply::ok("Thread completed"))
    }
}

impl Plan {
    /// What was found, sorted; by a server itself, if it may. (What is kept up to date is always
    /// sorted by one and the same rule.)
    pub async fn run_sorted(
        &self,
        criteria: &[SortCriterion],
        by_server: bool,
    ) -> Result<Result<Found, Reply>, AccountError> {
        let key = match self.dated().await? {
            Ok(key) => key,
            Err(refused) => return Ok(Err(refused)),
        };
        if by_server && let Some(uids) = self.sorted_by_server(criteria, &key).await? {
            return Ok(Ok(uids.into_iter().map(|uid| uid.0).collect()));
        }
        let uids = match self.find(&key).await? {
            Ok(uids) => uids,
            Err(refused) => return Ok(Err(refused)),
        };
        let keys = |told: &Told<'_>| {
            let keys = Keys::new(criteria, told);
            let octets = keys.octets();
            (keys, octets)
        };
        let mut messages = match self.gather(&uids, &sort::items(criteria), &keys).await? {
            Ok(messages) => messages,
            Err(refused) => return Ok(Err(refused)),
        };
        let criteria = criteria.to_vec();
        let sorted = apart(move || {
            sort::sort(&criteria, &mut messages);
            messages.into_iter().map(|(uid, _)| uid.0).collect()
        });
        Ok(sorted.await)
    }

    /// What was found as threads, written by UID or by sequence number.
    async fn run_threaded(
        &self,
        algorithm: ThreadAlgorithm,
        by_uid: bool,
    ) -> Result<Result<Vec<u8>, Reply>, AccountError> {
        let key = match self.dated().await? {
            Ok(key) => key,
            Err(refused) => return Ok(Err(refused)),
        };
        let numbering = self.numbering.clone();
        let number = move |uid: Uid| match by_uid {
            true => Some(uid.0),
            false => numbering.seq(uid).map(u32::from),
        };
        if let Some(threads) = self.threaded_by_server(algorithm, &key, &number).await? {
            return Ok(Ok(threads));
        }
        let uids = match self.find(&key).await? {
            Ok(uids) => uids,
            Err(refused) => return Ok(Err(refused)),
        };
        let ids = Mutex::new(Ids::default());
        let links = |told: &Told<'_>| {
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            let before = ids.octets();
            let links = Links::new(told, &mut ids);
            let octets = links.octets() + (ids.octets() - before);
            (links, octets)
        };
        let messages = match self.gather(&uids, &algorithm.items(), &links).await? {
            Ok(messages) => messages,
            Err(refused) => return Ok(Err(refused)),
        };
        let threaded = apart(move || {
            let (uids, links): (Vec<Uid>, Vec<Links>) = messages.into_iter().unzip();
            let mut threads = Vec::new();
            let place = |place: usize| number(uids[place]).unwrap_or_default();
            // Writing into a Vec does not fail.
            drop(Forest::new(algorithm, &links).write(place, &mut threads));
            threads
        });
        Ok(threaded.await)
    }
}

/// Computes what may take a while without holding up other sessions.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reply> {
    spawn_blocking(work)
        .await
        .map_err(|e| Reply::no_with("SERVERBUG", format!("The command broke off: {e}")))
}
