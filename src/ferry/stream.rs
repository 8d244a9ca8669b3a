//! Carrying a great many messages of one mailbox: while one batch is appended and proved on new, the
//! next one is read from old.
//!
//! What is held in memory is bounded by two batches, whatever the messages' sizes. Each batch is
//! carried as any other: its intents are durable before its APPEND, its places change in one batch.

use std::collections::HashMap;

use futures_util::join;
use tokio::time::Instant;

use super::append::Appended;
use super::carry::{Carry, Message};
use crate::account::AccountError;
use crate::backend::Lease;
use crate::base::Side;
use crate::uid::{SideUid, Uid};

/// Messages carried together.
pub(super) const TOGETHER: usize = 256;
/// Octets carried together, as far as can be told beforehand.
const OCTETS_TOGETHER: u64 = 3 << 20;
/// What a message is taken for before the first one was read.
const USUAL_SIZE: u64 = 64 << 10;

/// What became of a stream of messages.
#[derive(Default, Debug)]
pub(super) struct Streamed {
    /// So many are on new now.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// Why a server shall be left alone for a while.
    pub halt: Option<String>,
}

/// Who is asked between two batches, and told of each.
pub(super) trait Steward: Sync {
    /// Whether to go on.
    fn goes_on(&self) -> bool;
    /// Whether so many octets may be put on new.
    fn has_room(&self, octets: u64) -> bool;
    /// A batch has been carried.
    fn carried(&self, messages: u64, octets: u64);
}

/// How much goes into a batch: told by what went into those before.
struct Portions<'a> {
    left: &'a [(Uid, SideUid)],
    /// So many messages at most.
    together: usize,
    size: u64,
}

impl<'a> Portions<'a> {
    /// The next ones, of so many messages and octets at most.
    fn next(&mut self, (messages, octets): (usize, u64)) -> &'a [(Uid, SideUid)] {
        let fit = usize::try_from(octets / self.size.max(1)).unwrap_or(usize::MAX);
        let (some, left) = self.left.split_at(fit.clamp(1, messages).min(self.left.len()));
        self.left = left;
        some
    }

    /// Follows growing sizes at once and shrinking ones slowly: memory counts for more than speed.
    fn learn(&mut self, messages: &[Message]) {
        let octets: u64 = messages.iter().map(|m| m.body.octets()).sum();
        if let Some(mean) = octets.checked_div(messages.len() as u64) {
            self.size = mean.max((self.size + mean) / 2);
        }
    }
}

impl Carry<'_> {
    /// Carries these messages, in ascending order, so many of them `together`, as long as the
    /// steward lets it. The caller has the mailbox's turn.
    pub(super) async fn stream(
        &self,
        wanted: &[(Uid, SideUid)],
        together: usize,
        steward: &dyn Steward,
    ) -> Result<Streamed, AccountError> {
        let mut streamed = Streamed::default();
        let together = together.max(1);
        let mut portions = Portions { left: wanted, together, size: USUAL_SIZE };
        self.copier.account.make_on_new(&self.access, self.mailbox).await?;
        let old = self.mailbox.lease(&self.access, Side::Old).await?;
        let (mut old, mut messages) = self.portion(old, &mut portions, steward).await?;
        let mut new = self.mailbox.lease(&self.access, Side::New).await?;
        while !messages.is_empty() {
            self.catch_up(&mut new).await?;
            if self.mailbox.is_undecided() {
                // New may turn out to have them already.
                break;
            }
            let octets: u64 = messages.iter().map(|m| m.body.octets()).sum();
            if !steward.has_room(octets) {
                streamed.halt = Some("new's quota is nearly used up".to_owned());
                break;
            }
            let mut batch = self.begin(&new, messages).await?;
            let (appended, read) = join!(
                self.append_and_prove(&mut new, &mut batch),
                self.portion(old, &mut portions, steward)
            );
            let (next, failed) = match read {
                Ok((back, next)) => {
                    old = back;
                    (next, None)
                }
                // What is on new already is settled all the same.
                Err(e) => match self.mailbox.lease(&self.access, Side::Old).await {
                    Ok(another) => {
                        old = another;
                        (Vec::new(), Some(e))
                    }
                    Err(_) => {
                        self.leave_open(&batch);
                        return Err(e);
                    }
                },
            };
            let settled = match appended {
                Ok(appended) => self.settle_portion(&mut old, &mut new, &mut batch, appended).await,
                Err(e) => Err(e),
            };
            let (count, sent, halt) = settled.inspect_err(|_| self.leave_open(&batch))?;
            streamed.messages += count;
            streamed.octets += sent;
            steward.carried(count, sent);
            if let Some(e) = failed {
                return Err(e);
            }
            if halt.is_some() {
                streamed.halt = halt;
                break;
            }
            messages = next;
        }
        self.mailbox.give_back(old).await;
        self.mailbox.give_back(new).await;
        Ok(streamed)
    }

    /// Reads the next portion of which anything is there; nothing at the end, or if it shall end.
    async fn portion(
        &self,
        mut old: Lease,
        portions: &mut Portions<'_>,
        steward: &dyn Steward,
    ) -> Result<(Lease, Vec<Message>), AccountError> {
        while steward.goes_on() {
            let some = portions.next(self.pace.together(portions.together, OCTETS_TOGETHER));
            if some.is_empty() {
                break;
            }
            self.pace.messages(some.len()).await;
            let messages;
            (old, messages) = self.read(old, some, HashMap::new()).await?;
            portions.learn(&messages);
            if !messages.is_empty() {
                return Ok((old, messages));
            }
        }
        Ok((old, Vec::new()))
    }

    async fn settle_portion(
        &self,
        old: &mut Lease,
        new: &mut Lease,
        batch: &mut [Message],
        mut appended: Appended,
    ) -> Result<(u64, u64, Option<String>), AccountError> {
        self.abandon_put_off(&mut appended).await?;
        let copied = batch.iter().filter(|m| appended.copies.contains_key(&m.uid));
        let octets = copied.map(|m| m.body.octets()).sum();
        let begun = Instant::now();
        let count = self.settle(old, new, batch, appended.copies).await?;
        let took = begun.elapsed();
        let slow = self.copier.config.trickle.slow;
        let strained = self.pace.is_limited() && took > slow;
        let words = || format!("flags of {} messages took {took:?}", batch.len());
        Ok((
            count as u64,
            octets,
            appended.halt.map(|e| e.to_string()).or_else(|| strained.then(words)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferry::tee::Budget;

    fn message(octets: usize) -> Message {
        let budget = Budget::new(u64::MAX, u64::MAX, std::env::temp_dir());
        let mut body = budget.collect_anyway(octets as u64).unwrap();
        body.push(&vec![b'x'; octets]).unwrap();
        let (flags, date) = ("()".into(), "".into());
        Message { uid: Uid(1), source: SideUid(1), flags, date, body }
    }

    #[test]
    fn a_portion_is_bounded_by_count_and_by_the_sizes_seen() {
        let wanted: Vec<(Uid, SideUid)> = (1..=1000).map(|n| (Uid(n), SideUid(n))).collect();
        let mut portions = Portions { left: &wanted, together: 256, size: 64 << 10 };
        let most = (256, 1 << 20);
        assert_eq!(portions.next(most).len(), 16);
        portions.learn(&[message(8 << 10), message(8 << 10)]);
        assert_eq!(portions.next(most).len(), 28, "half way from 64 to 8 KiB");
        for _ in 0..20 {
            portions.learn(&[message(100)]);
        }
        assert_eq!(portions.next(most).len(), 256);
        portions.learn(&[message(3 << 20)]);
        assert_eq!(portions.next(most).len(), 1, "one is always carried");
        portions.learn(&[]);
        assert_eq!(portions.left.len(), 1000 - 16 - 28 - 256 - 1);
    }
}
