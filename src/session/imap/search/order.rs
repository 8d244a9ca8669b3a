//! SORT and THREAD: what was found in another order.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::plan::Plan;
use super::tell::{Answer, seqs};
use crate::account::AccountError;
use crate::imap::command::{SearchKey, SearchReturn, SortCriterion, Tag, ThreadAlgorithm};
use crate::imap::found::Found;
use crate::imap::sort::{self, Keys, Told};
use crate::imap::thread::{Forest, Ids, Links};
use crate::session::imap::reply::{Failure, Reply};
use crate::session::imap::{Session, User};
use crate::uid::{Uid, UidSet};

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
        let answer = Answer { name: "SORT", tag, uid: sort.uid, returns: sort.returns };
        let plan = match self.plan(user, &answer, Some(&sort.charset), sort.key) {
            Ok(plan) => plan,
            Err(reply) => return Ok(reply),
        };
        let found = match plan.run_sorted(&sort.criteria).await? {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        self.tell_found(&answer, &plan, &found, Some(sort.criteria)).await?;
        Ok(Reply::ok("Sort completed"))
    }

    pub(in crate::session::imap) async fn thread(
        &mut self,
        tag: &Tag,
        user: &User,
        thread: Thread,
    ) -> Result<Reply, Failure> {
        let answer = Answer { name: "THREAD", tag, uid: thread.uid, returns: None };
        let plan = match self.plan(user, &answer, Some(&thread.charset), thread.key) {
            Ok(plan) => plan,
            Err(reply) => return Ok(reply),
        };
        let (uids, forest) = match plan.run_threaded(thread.algorithm).await? {
            Ok(threads) => threads,
            Err(refused) => return Ok(refused),
        };
        let found: Found = uids.iter().map(|uid| uid.0).collect();
        let numbers = if thread.uid { found } else { seqs(&plan.numbering, &found) };
        let numbers: Vec<u32> = numbers.iter().collect();
        let number = |place: usize| numbers.get(place).copied().unwrap_or_default();
        let out = &mut self.client.out;
        // `"THREAD" [SP 1*thread-list]` (RFC 5256 §4). Writing into a Vec does not fail.
        out.extend_from_slice(if numbers.is_empty() { b"* THREAD" } else { b"* THREAD " });
        drop(forest.write(number, out));
        drop(out.write_all(b"\r\n"));
        self.client.flush_if_full().await?;
        Ok(Reply::ok("Thread completed"))
    }
}

impl Plan {
    /// What was found, sorted.
    pub async fn run_sorted(
        &self,
        criteria: &[SortCriterion],
    ) -> Result<Result<Found, Reply>, AccountError> {
        let uids = match self.run().await? {
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

    /// What was found, threaded; the messages of the threads are known by their places in the list.
    async fn run_threaded(
        &self,
        algorithm: ThreadAlgorithm,
    ) -> Result<Result<(Vec<Uid>, Forest), Reply>, AccountError> {
        let uids: UidSet<Uid> = match self.run().await? {
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
            let forest = Forest::new(algorithm, &links);
            (uids, forest)
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
