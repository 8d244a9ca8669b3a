//! Asking both sides: each for what it decides over, in its own UIDs.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::account::{Access, AccountError, Mailbox, View, uid_search};
use crate::backend::{BackendError, Conn, Lease, text};
use crate::base::Side;
use crate::imap::command::SearchKey;
use crate::imap::write::Parts;
use crate::session::imap::reply::Reply;
use crate::session::imap::sets::{ensure_announced, places, resolve};
use crate::uid::{Bound, SeqSet, SideUid, Uid, UidMap, UidSet};

/// The messages to look through are named exactly as long as that takes no more octets.
const MAX_SCOPE: usize = 4_000;
/// A search changes nothing: over a connection that had died unnoticed it is asked once more.
const ATTEMPTS: usize = 2;

/// What both sides are asked.
pub(super) trait Question: Sync {
    /// One side's answer.
    type Part: Send;

    /// Asks one side about messages over which it decides. `Err` within: it refused.
    fn ask(
        &self,
        plan: &Plan,
        lease: &mut Lease,
        wanted: &UidSet<SideUid>,
    ) -> impl Future<Output = Result<Result<Self::Part, Reply>, BackendError>> + Send;
}

/// Which messages match a program?
struct Matching<'a>(&'a SearchKey);

impl Question for Matching<'_> {
    type Part = UidSet<Uid>;

    async fn ask(
        &self,
        plan: &Plan,
        lease: &mut Lease,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<UidSet<Uid>, Reply>, BackendError> {
        let announced = made_ready(lease, self.0, wanted).await?;
        let mut program = Parts::new();
        if self.0.needs_charset() {
            program.text("CHARSET UTF-8 ");
        }
        program.text(&format!("UID {} ", scope(wanted, &announced)));
        program.append(plan.translated(self.0, lease.side(), wanted));
        let side = lease.side();
        Ok(match uid_search(lease, program).await? {
            Ok(hits) => Ok(plan.shown_of(side, &hits)),
            Err(done) => Err(Reply::from_server(&done)),
        })
    }
}

/// A search over one state of the mailbox, of which the servers answer each its part.
pub(super) struct Plan {
    pub mailbox: Arc<Mailbox>,
    pub access: Arc<Access>,
    /// Where the messages lie.
    pub view: Arc<View>,
    /// What the client knows of, and by which numbers.
    pub numbering: UidMap,
    pub shown: UidSet<Uid>,
    /// What `$` means.
    pub saved: UidSet<Uid>,
    pub key: SearchKey,
}

impl Plan {
    /// What a set of the program names. A number that no message has finds none, as on the servers:
    /// a client may count with what is gone by now.
    pub fn resolve(&self, set: &SeqSet, by_uid: bool) -> UidSet<Uid> {
        resolve(set, by_uid, &self.numbering, &self.saved)
            .unwrap_or_else(|| set.resolve_known_seqs(&self.numbering))
    }

    /// What was found, or why a server refused.
    ///
    /// # Errors
    /// Also where one side alone cannot be asked: a result that lacks what lies there would be
    /// taken for the whole.
    pub async fn run(&self) -> Result<Result<UidSet<Uid>, Reply>, AccountError> {
        match self.dated().await? {
            Ok(key) => self.find(&key).await,
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// The client's messages that a program finds.
    pub async fn find(&self, key: &SearchKey) -> Result<Result<UidSet<Uid>, Reply>, AccountError> {
        let found = self.on_both(&self.shown, &Matching(key)).await?;
        Ok(found.map(|parts| parts.iter().fold(UidSet::new(), |all, part| all.union(part))))
    }

    /// Asks each side about those of the messages over which it decides; both at a time.
    pub async fn on_both<Q: Question>(
        &self,
        uids: &UidSet<Uid>,
        question: &Q,
    ) -> Result<Result<Vec<Q::Part>, Reply>, AccountError> {
        let mut attempt = 1;
        loop {
            match self.on_both_once(uids, question).await {
                Err(AccountError::Backend(e)) if e.is_lost() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn on_both_once<Q: Question>(
        &self,
        uids: &UidSet<Uid>,
        question: &Q,
    ) -> Result<Result<Vec<Q::Part>, Reply>, AccountError> {
        let mut asked = Vec::new();
        for side in Side::BOTH {
            let wanted = places(&self.view.map, uids, side);
            if !wanted.is_empty() {
                asked.push((self.mailbox.lease(&self.access, side).await?, wanted));
            }
        }
        let answers = join_all(asked.into_iter().map(|(mut lease, wanted)| async move {
            let answer = question.ask(self, &mut lease, &wanted).await;
            (lease, answer)
        }));
        let mut parts = Vec::new();
        let mut refused = None;
        let mut failed = None;
        for (lease, answer) in answers.await {
            match answer {
                Ok(Ok(part)) => parts.push(part),
                Ok(Err(reply)) => refused = Some(reply),
                Err(e) => {
                    // Its connection is closed by being dropped here.
                    failed = Some(e);
                    continue;
                }
            }
            self.mailbox.give_back(lease).await;
        }
        match (failed, refused) {
            (Some(e), _) => Err(e.into()),
            (None, Some(reply)) => Ok(Err(reply)),
            (None, None) => Ok(Ok(parts)),
        }
    }

    /// The program in one side's UIDs.
    pub fn translated(&self, key: &SearchKey, side: Side, candidates: &UidSet<SideUid>) -> Parts {
        let mut key = key.clone();
        key.walk_mut(&mut |key| {
            if let SearchKey::ModSeq(value) = key {
                // What changed after the value before this one.
                let since = self.view.mod_seqs.since(value.saturating_sub(1))[side];
                *value = since.saturating_add(1);
            }
        });
        key.rewrite(&|set, by_uid| {
            let uids = self.resolve(set, by_uid);
            // Whatever is no candidate is left out of the result, so a set may span it.
            Some(places(&self.view.map, &uids, side).spanned(candidates).to_string())
        })
    }

    /// The client's messages among what one side has found, as far as that side decides over them.
    fn shown_of(&self, side: Side, hits: &UidSet<SideUid>) -> UidSet<Uid> {
        let mut found = Vec::new();
        for run in self.view.map.intersect(&self.shown) {
            let Some(first) = run.place.on(side).filter(|_| run.place.authority() == side) else {
                continue;
            };
            let last = SideUid(first.0 + (run.len - 1));
            let below = hits.rank(SideUid(first.0 - 1));
            let through = hits.rank(last);
            if through - below == run.len {
                found.push((run.uid, Uid(run.uid.0 + (run.len - 1))));
                continue;
            }
            for hit in (below + 1..=through).filter_map(|position| hits.select(position)) {
                let uid = Uid(run.uid.0 + (hit.0 - first.0));
                found.push((uid, uid));
            }
        }
        UidSet::from_ranges(found)
    }
}

/// Brings a connection to where it can answer for a program, and gives what it has announced. Of
/// flags that were changed over other connections a server may tell nothing before a NOOP.
pub(super) async fn made_ready(
    conn: &mut Conn,
    key: &SearchKey,
    wanted: &UidSet<SideUid>,
) -> Result<UidSet<SideUid>, BackendError> {
    if key.looks_at_flags() {
        conn.must("NOOP", &text("NOOP")).await?;
    }
    ensure_announced(conn, wanted).await
}

/// What a server shall look through: exactly the messages it decides over, or, where that takes
/// too long to say, all from the first to the last of them.
pub(super) fn scope(candidates: &UidSet<SideUid>, announced: &UidSet<SideUid>) -> String {
    if is_exact(candidates, announced) {
        return candidates.spanned(announced).to_string();
    }
    match (candidates.first(), candidates.last()) {
        (Some(first), Some(last)) => format!("{first}:{last}"),
        _ => "1:*".to_owned(),
    }
}

/// Whether [`scope`] names nothing but the messages that are meant.
pub(super) fn is_exact(candidates: &UidSet<SideUid>, announced: &UidSet<SideUid>) -> bool {
    let exact = candidates.spanned(announced);
    !exact.is_empty() && exact.chunks_of(MAX_SCOPE).nth(1).is_none()
}

/// UIDs as a client would write them.
pub(super) fn as_set(uids: &UidSet<Uid>) -> SeqSet {
    let bound = |uid: Uid| Bound::Number(uid.0);
    SeqSet::from_ranges(uids.ranges().map(|(first, last)| (bound(first), bound(last))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_exact_until_that_is_long() {
        let set = |text: &str| UidSet::<SideUid>::parse(text.as_bytes()).unwrap();
        assert_eq!(scope(&set("1,9"), &set("1,5,9")), "1,9");
        assert_eq!(scope(&set("1,9"), &set("1,9")), "1:9");
        let announced = set("1:5000");
        let odd: UidSet<SideUid> = announced.iter().filter(|uid| uid.0 % 2 == 1).collect();
        assert_eq!(scope(&odd, &announced), "1:4999");
    }
}
