//! One pass over an account: every mailbox is looked at, and what lies on old alone is carried.
//!
//! INBOX comes first, then mailboxes with a special use. Inside a mailbox the newest messages come
//! first, in blocks that grow; each block goes in ascending order, so that the runs of the map join
//! again. What is done already is seen from the map: a pass over a mailbox in which nothing has
//! changed costs one STATUS of each side.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::carry::Carry;
use super::copier::{Copier, lock};
use super::governor::Pace;
use super::plan::room;
use super::progress::{Progress, Tally};
use super::stream::{Steward, Streamed, TOGETHER};
use crate::account::{Access, AccountError, Asked, Folder, Folders, Mailbox, found, statuses};
use crate::backend::{BackendError, Want};
use crate::base::{MailboxName, Side};
use crate::config::{Day, Trickle};
use crate::imap::names::{encode, matches};
use crate::uid::{Place, Seq, SideUid, Uid, UidMap, UidSet};

/// What of an account is to be copied.
#[derive(Clone, Default, Debug)]
pub struct Scope {
    /// Patterns of folders, as LIST has them, in the client's names on the wire; empty: all.
    folders: Vec<Vec<u8>>,
    skip_folders: Vec<Vec<u8>>,
    /// SEARCH keys of messages; empty: all.
    keys: String,
}

/// How a pass ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Nothing is left to copy but what is stuck.
    Settled,
    /// It was asked to end.
    Interrupted,
    /// What is left was begun earlier, and has to be looked for on new first.
    Undecided,
    /// The account, or a side, is to be left alone for a while: why.
    Halted(String),
}

/// One pass over one account.
pub(super) struct Pass<'a> {
    pub copier: &'a Arc<Copier>,
    pub access: Arc<Access>,
    pub scope: &'a Scope,
    pub pace: Pace,
    /// So many mailboxes at once.
    pub lanes: usize,
    /// And so many of all accounts.
    pub slots: Option<&'a Semaphore>,
    pub progress: &'a Progress,
    /// So much of new's quota stays free.
    pub reserve: u64,
    /// Whether to go on.
    pub go_on: &'a (dyn Fn() -> bool + Sync),
}

/// After new has hung up over a batch.
#[derive(Default)]
pub(super) struct Careful {
    /// No more messages than this go together.
    most: usize,
    /// Messages over which it hung up though they were alone, and how often.
    suspects: HashMap<Uid, u32>,
}

impl Scope {
    /// These folders, in people's spelling of the client's names, and these messages.
    pub fn new(
        (folders, skip_folders): (&[String], &[String]),
        (since, before): (Option<Day>, Option<Day>),
        largest: Option<u64>,
    ) -> Scope {
        let wire = |names: &[String]| names.iter().map(|name| encode(name)).collect();
        let keys = [
            since.map(|day| format!("SINCE {}", day.in_imap())),
            before.map(|day| format!("BEFORE {}", day.in_imap())),
            largest.map(|size| format!("NOT LARGER {size}")),
        ];
        Scope {
            folders: wire(folders),
            skip_folders: wire(skip_folders),
            keys: keys.into_iter().flatten().collect::<Vec<_>>().join(" "),
        }
    }

    /// What the configuration says.
    pub fn of(trickle: &Trickle) -> Scope {
        let folders = (&trickle.folders[..], &trickle.skip_folders[..]);
        Scope::new(folders, (trickle.since, trickle.before), trickle.largest)
    }

    /// The SEARCH keys that every message must match; `None`: all messages are to be copied.
    pub fn keys(&self) -> Option<&str> {
        Some(self.keys.as_str()).filter(|keys| !keys.is_empty())
    }

    /// Whether a folder is to be copied.
    pub fn has(&self, folder: &Folder, separator: Option<u8>) -> bool {
        !folder.shared && folder.there.old && self.has_name(&folder.joined.client, separator)
    }

    /// Whether a folder that its client calls so is to be copied.
    pub fn has_name(&self, client: &MailboxName, separator: Option<u8>) -> bool {
        let name = client.as_bytes();
        let any = |patterns: &[Vec<u8>]| patterns.iter().any(|p| matches(p, name, separator));
        (self.folders.is_empty() || any(&self.folders)) && !any(&self.skip_folders)
    }

    /// INBOX comes first, then folders with a special use.
    pub fn order(client: &MailboxName, is_special: bool) -> u8 {
        match client.is_inbox() {
            true => 0,
            false if is_special => 1,
            false => 2,
        }
    }

    /// The folders to be copied, in the order in which they are.
    pub fn folders<'a>(&self, folders: &'a Folders) -> Vec<&'a Folder> {
        let mut all: Vec<&Folder> =
            folders.list.iter().filter(|f| self.has(f, folders.separator())).collect();
        // A stable sort: otherwise they stay in the client's order.
        all.sort_by_key(|f| Scope::order(&f.joined.client, f.joined.special.is_some()));
        all
    }
}

impl Pass<'_> {
    /// Runs it to its end.
    pub(super) async fn run(&self) -> Result<Ended, AccountError> {
        let account = &self.copier.account;
        let folders = account.list_folders(&self.access).await?;
        let mut mailboxes = Vec::new();
        for folder in self.scope.folders(&folders) {
            mailboxes.push(account.hub(folder).await?);
        }
        self.progress.keep_only(|id| mailboxes.iter().any(|m| m.id() == id));
        let (todo, mut failed) = self.survey(&mailboxes).await;
        if todo.is_empty() {
            return failed.map_or(Ok(Ended::Settled), Err);
        }
        let left = AtomicI64::new(self.room().await?);
        let each = todo.into_iter().map(|mailbox| {
            let room = &left;
            async move { (self.mailbox(&mailbox, room).await, mailbox) }
        });
        let mut under_way = futures_util::stream::iter(each).buffer_unordered(self.lanes.max(1));
        let mut ended = Ended::Settled;
        while let Some((result, mailbox)) = under_way.next().await {
            self.tally(&mailbox);
            match result {
                Ok(Ended::Settled) => {}
                Ok(other) if ended == Ended::Settled => ended = other,
                Ok(_) => {}
                Err(e) => {
                    warn!(mailbox = %mailbox.name(), "not copied yet: {e}");
                    failed = Some(e);
                }
            }
        }
        match failed {
            Some(e) if ended == Ended::Settled => Err(e),
            _ => Ok(ended),
        }
    }

    /// Which mailboxes have something to be copied, and the last that could not be looked at.
    async fn survey(
        &self,
        mailboxes: &[Arc<Mailbox>],
    ) -> (Vec<Arc<Mailbox>>, Option<AccountError>) {
        let mut todo = Vec::new();
        let mut failed = None;
        let told = statuses(&self.access, mailboxes, Asked::default()).await;
        for (mailbox, status) in mailboxes.iter().zip(told) {
            match status {
                // Its messages are not known yet, only that there are some.
                Ok(status) if !mailbox.has_seen(Side::Old) && status.messages > 0 => {
                    let messages = u64::from(status.messages);
                    let tally = Tally { messages, ..Tally::default() };
                    self.progress.set_tally(mailbox.id(), tally);
                    todo.push(Arc::clone(mailbox));
                }
                Ok(_) => {
                    self.tally(mailbox);
                    if !next_block(&mailbox.view().map, |uid, _| mailbox.is_stuck(uid)).is_empty() {
                        todo.push(Arc::clone(mailbox));
                    }
                }
                Err(e) => {
                    warn!(mailbox = %mailbox.name(), "cannot be looked at: {e}");
                    failed = Some(e);
                }
            }
        }
        (todo, failed)
    }

    fn tally(&self, mailbox: &Mailbox) {
        let map = &mailbox.view().map;
        let messages = u64::from(map.side_uids(Side::Old).len());
        let pending = u64::from(map.authority_uids(Side::Old).len());
        let stuck = mailbox.stuck().len() as u64;
        let tally = Tally { messages, copied: messages.saturating_sub(pending), stuck };
        self.progress.set_tally(mailbox.id(), tally);
    }

    /// Carries what is to be carried of one mailbox.
    async fn mailbox(
        &self,
        mailbox: &Arc<Mailbox>,
        room: &AtomicI64,
    ) -> Result<Ended, AccountError> {
        let _slot = match self.slots {
            // Closed by nobody; without it, the lanes are the limit.
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        if !(self.go_on)() {
            return Ok(Ended::Interrupted);
        }
        mailbox.refresh(&self.access).await?;
        // What an earlier life of the proxy left open is decided over by the copier.
        mailbox.look_into();
        self.tally(mailbox);
        let before = self.measure(mailbox).await?;
        let ended = self.blocks(mailbox, room).await;
        let measured = self.progress.measured(mailbox.id());
        if measured != before {
            mailbox.remember_measured(measured);
        }
        ended
    }

    /// Carries one block after the other.
    async fn blocks(
        &self,
        mailbox: &Arc<Mailbox>,
        room: &AtomicI64,
    ) -> Result<Ended, AccountError> {
        let wanted = self.wanted(mailbox).await?;
        loop {
            let skip = |uid, old| {
                mailbox.is_stuck(uid) || wanted.as_ref().is_some_and(|set| !set.contains(old))
            };
            let block = next_block(&mailbox.view().map, skip);
            let (Some((first, _)), Some((last, _))) = (block.first(), block.last()) else {
                return Ok(Ended::Settled);
            };
            mailbox.matched(&UidSet::from_ranges([(*first, *last)])).await?;
            if let Some(rest) = self.copier.rest() {
                return Ok(Ended::Halted(rest.to_string()));
            }
            // The phase stays while a block is on its way.
            let Some(_entered) = self.copier.enter().await else { return Ok(Ended::Interrupted) };
            let turn = self.copier.turn(mailbox).await?;
            if !self.goes_on() {
                return Ok(Ended::Interrupted);
            }
            let before = mailbox.view().version;
            let streamed = self.stream(mailbox, &block, room).await;
            drop(turn);
            let streamed = streamed?;
            if streamed.messages > 0 {
                let (messages, octets) = (streamed.messages, streamed.octets);
                info!(mailbox = %mailbox.name(), messages, octets, "carried to new in the background");
            }
            if let Some(why) = streamed.halt {
                return Ok(Ended::Halted(why));
            }
            if !self.goes_on() {
                return Ok(Ended::Interrupted);
            }
            if streamed.messages == 0 && mailbox.view().version == before {
                return Ok(Ended::Undecided);
            }
        }
    }

    async fn stream(
        &self,
        mailbox: &Arc<Mailbox>,
        block: &[(Uid, SideUid)],
        room: &AtomicI64,
    ) -> Result<Streamed, AccountError> {
        let intents = mailbox.intents(Side::New);
        let is_open = |uid: &Uid| intents.get(uid).is_some_and(|intent| !intent.closed);
        let (most, proved) = {
            let mut all = lock(&self.copier.careful);
            let most = all.get(&mailbox.id()).map_or(TOGETHER, |careful| careful.most);
            let proved = all.get_mut(&mailbox.id()).map(|careful| careful.take_proved(is_open));
            (most, proved.unwrap_or_default())
        };
        let carry = Carry {
            to: Side::New,
            copier: self.copier,
            mailbox,
            access: Arc::clone(&self.access),
            pace: self.pace.clone(),
            is_bulk: true,
        };
        for uid in proved {
            if matches!(mailbox.place(uid), Some(Place::Old(_))) {
                carry.stuck(uid, "new hangs up when it is appended".to_owned()).await?;
            }
        }
        let block: Vec<(Uid, SideUid)> =
            block.iter().copied().filter(|(uid, _)| !mailbox.is_stuck(*uid)).collect();
        let steward = Stewarding { pass: self, mailbox, room };
        let streamed = carry.stream(&block, most, &steward).await;
        let mut all = lock(&self.copier.careful);
        match &streamed {
            Ok(streamed) if streamed.messages < block.len() as u64 => {}
            Ok(_) => {
                // Twice as many the next time, until there is nothing to be careful about.
                let done = all.get_mut(&mailbox.id()).is_some_and(|careful| {
                    careful.most *= 2;
                    careful.most >= TOGETHER && careful.suspects.is_empty()
                });
                if done {
                    all.remove(&mailbox.id());
                }
            }
            Err(AccountError::Backend(BackendError::Lost { side: Side::New, .. })) => {
                let careful = all
                    .entry(mailbox.id())
                    .or_insert_with(|| Careful { most: TOGETHER, ..Careful::default() });
                if careful.most == 1 {
                    // What is undecided in this block is the one that was under way.
                    let intents = mailbox.intents(Side::New);
                    let open = |(uid, _): &&(Uid, SideUid)| {
                        intents.get(uid).is_some_and(|intent| !intent.closed)
                    };
                    for (uid, _) in block.iter().filter(open) {
                        *careful.suspects.entry(*uid).or_default() += 1;
                    }
                }
                careful.most = (careful.most.min(block.len()) / 4).max(1);
            }
            Err(_) => {}
        }
        streamed
    }

    /// The messages on old that the scope's keys find; `None`: all.
    async fn wanted(
        &self,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Option<UidSet<SideUid>>, AccountError> {
        let Some(keys) = self.scope.keys() else { return Ok(None) };
        let decides = mailbox.view().map.authority_uids(Side::Old);
        let mut old = mailbox.lease(&self.access, Side::Old).await?;
        let wanted = found(&mut old, keys, &decides).await?;
        mailbox.give_back(old).await;
        Ok(Some(wanted))
    }

    /// The octets that new still takes, less the reserve.
    async fn room(&self) -> Result<i64, AccountError> {
        let mut new = self.access.pools.new.lend(&Want::Nothing).await?;
        let room = room(&mut new).await?;
        new.give_back();
        let signed = |octets| i64::try_from(octets).unwrap_or(i64::MAX);
        Ok(room.map_or(i64::MAX, |room| signed(room).saturating_sub(signed(self.reserve))))
    }

    fn goes_on(&self) -> bool {
        (self.go_on)() && !self.copier.is_urgent()
    }
}

impl Careful {
    /// Those over which new hung up twice. Where it is open whether the last APPEND arrived after all,
    /// the suspicion stays.
    fn take_proved(&mut self, is_open: impl Fn(&Uid) -> bool) -> Vec<Uid> {
        let proved = |(uid, times): (&Uid, &u32)| (*times > 1 && !is_open(uid)).then_some(*uid);
        let proved: Vec<Uid> = self.suspects.iter().filter_map(proved).collect();
        for uid in &proved {
            self.suspects.remove(uid);
        }
        proved
    }
}

/// Stands between one stream of messages and its pass.
struct Stewarding<'a> {
    pass: &'a Pass<'a>,
    mailbox: &'a Mailbox,
    room: &'a AtomicI64,
}

impl Steward for Stewarding<'_> {
    fn goes_on(&self) -> bool {
        self.pass.goes_on()
    }

    fn has_room(&self, octets: u64) -> bool {
        let octets = i64::try_from(octets).unwrap_or(i64::MAX);
        let take = |room: i64| room.checked_sub(octets).filter(|left| *left >= 0);
        self.room.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn carried(&self, messages: u64, octets: u64) {
        self.pass.progress.carried(messages, octets);
        self.pass.progress.copied(self.mailbox.id(), messages, octets);
    }
}

/// The messages of the newest block in which any is to be carried, in ascending order. Blocks are
/// counted from the newest message, each twice as large as the one before, so that a pass that is
/// broken off is gone on with where it was.
fn next_block(map: &UidMap, skip: impl Fn(Uid, SideUid) -> bool) -> Vec<(Uid, SideUid)> {
    let (mut top, mut size) = (map.len(), FIRST_BLOCK);
    while top > 0 {
        let below = top.saturating_sub(size);
        if let (Some(first), Some(last)) = (map.uid_at(Seq(below + 1)), map.uid_at(Seq(top))) {
            let within = UidSet::from_ranges([(first, last)]);
            let runs = map.intersect(&within).filter_map(|run| match run.place {
                Place::Old(old) => Some((run.uid, old, run.len)),
                _ => None,
            });
            let each = runs.flat_map(|(uid, old, len)| {
                (0..len).map(move |n| (Uid(uid.0 + n), SideUid(old.0 + n)))
            });
            let block: Vec<(Uid, SideUid)> = each.filter(|(uid, old)| !skip(*uid, *old)).collect();
            if !block.is_empty() {
                return block;
            }
        }
        top = below;
        size = (size * 2).min(LARGEST_BLOCK);
    }
    Vec::new()
}

/// What somebody is most likely to open next.
const FIRST_BLOCK: u32 = 1 << 10;

/// A list of so many messages takes half a megabyte.
const LARGEST_BLOCK: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::Run;

    fn old(uid: u32, len: u32) -> Run {
        Run { uid: Uid(uid), len, place: Place::Old(SideUid(uid)) }
    }

    fn ends(block: &[(Uid, SideUid)]) -> Option<(u32, u32, usize)> {
        Some((block.first()?.0.0, block.last()?.0.0, block.len()))
    }

    #[test]
    fn newest_blocks_first_each_twice_as_large_and_ascending() {
        let mut map = UidMap::from_runs([old(1, 10_000)]).unwrap();
        let mut next_new = 1;
        let mut blocks = Vec::new();
        loop {
            let block = next_block(&map, |_, _| false);
            let Some(ends) = ends(&block) else { break };
            blocks.push(ends);
            assert!(block.is_sorted());
            map.set_places(block.iter().map(|(uid, old)| {
                next_new += 1;
                (*uid, Place::Both { old: *old, new: SideUid(next_new) })
            }));
        }
        let sizes: Vec<usize> = blocks.iter().map(|(.., len)| *len).collect();
        assert_eq!(sizes, [1024, 2048, 4096, 2832]);
        assert_eq!((blocks[0].1, blocks[3].0), (10_000, 1));
        assert_eq!(map.run_count(), 4, "each block is one run again");
    }

    #[test]
    fn a_pass_that_was_broken_off_goes_on_where_it_was() {
        let mut map = UidMap::from_runs([old(1, 5_000)]).unwrap();
        let done = |uids: std::ops::RangeInclusive<u32>, new: u32| {
            uids.enumerate().map(move |(n, uid)| {
                let new = SideUid(new + u32::try_from(n).unwrap());
                (Uid(uid), Place::Both { old: SideUid(uid), new })
            })
        };
        map.set_places(done(3977..=5000, 1));
        map.set_places(done(1929..=2500, 1025));
        assert_eq!(ends(&next_block(&map, |_, _| false)), Some((2501, 3976, 1476)));
        // What has arrived meanwhile comes before.
        map.push(Uid(5001), 2, Place::Old(SideUid(5001))).unwrap();
        assert_eq!(ends(&next_block(&map, |_, _| false)), Some((5001, 5002, 2)));
        let skip = |uid: Uid, _| uid.0 > 100;
        assert_eq!(ends(&next_block(&map, skip)), Some((1, 100, 100)));
        assert!(next_block(&UidMap::from_runs([]).unwrap(), |_, _| false).is_empty());
    }
}
