//! The copier of one account: its queue, and the worker that empties it batch by batch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{MutexGuard as MutexGuardOf, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::carry::Carry;
use super::full::{Rest, Room};
use super::mirror::Mirroring;
use super::pass::Careful;
use super::tee::{Budget, Tee};
use crate::account::{Access, Account, AccountError, Entered, Mailbox, Undecided, now};
use crate::backend::{BackendError, Pace};
use crate::base::{Phase, Side};
use crate::config::Config;
use crate::imap::response::Code;
use crate::index::MailboxId;
use crate::uid::{Place, Uid, UidSet};

/// Opened messages that wait; beyond it they are carried when they are opened again.
const QUEUE: usize = 20_000;
/// Messages carried together: enough to hide every round trip and share one fsync.
const BATCH: usize = 32;
/// Octets carried together, beyond the first message.
const BATCH_OCTETS: u64 = 4 << 20;
/// What a message that has yet to be read counts for.
const UNKNOWN_SIZE: u64 = 256 << 10;
/// Clients' commands go first, but opened messages do not wait longer than this for their end: a
/// download of hours is no reason to carry nothing.
const COURTESY: Duration = Duration::from_millis(300);
/// After a side failed.
const PAUSE: Duration = Duration::from_secs(2);
/// After a side failed again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Carries the messages of one account.
pub struct Copier {
    pub(super) account: Arc<Account>,
    pub(super) config: Arc<Config>,
    pub(super) access: ArcSwap<Access>,
    pub(super) budget: Arc<Budget>,
    queue: Mutex<Queue>,
    /// How many may carry at once: one fewer than there are connections to a side, for each holds
    /// one of each side while it waits for those who write to end (see `Turn`).
    lanes: Semaphore,
    lane_count: u32,
    /// How many wait for a turn to carry what somebody has opened.
    urgent: watch::Sender<usize>,
    /// Since when an intent's fate is unknown, by mailbox and UID.
    pub(super) unsure: Mutex<HashMap<(MailboxId, Side, Uid), Instant>>,
    /// Since when the end of a MOVE is unknown, by its number.
    pub(super) unsure_moves: Mutex<HashMap<u32, Instant>>,
    /// Held by whoever looks for their copies.
    pub(super) ending_moves: tokio::sync::Mutex<()>,
    /// When old may be told of something again, and the pause if that fails.
    pub(super) mirroring: Mutex<Mirroring>,
    /// Mailboxes in which new has hung up over many messages at once.
    pub(super) careful: Mutex<HashMap<MailboxId, Careful>>,
    /// Whether new has room for the account.
    room: Mutex<Room>,
    /// Mailboxes with messages that new refused, to be tried again.
    stuck: Mutex<HashMap<MailboxId, Weak<Mailbox>>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    known: HashSet<(MailboxId, Uid)>,
    not_before: Option<Instant>,
    /// The pauses where a server has no time just now, as it says.
    pace: Pace,
}

/// The right to carry messages of one mailbox, which nobody else has meanwhile.
pub(super) struct Turn<'a> {
    _mailbox: MutexGuardOf<'a, ()>,
    _lane: SemaphorePermit<'a>,
}

/// Somebody waits for a copier: what nobody waits for makes room.
struct Urgent<'a>(&'a watch::Sender<usize>);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// A message to be carried.
pub(super) struct Job {
    pub mailbox: Arc<Mailbox>,
    pub uid: Uid,
    pub tee: Option<Tee>,
}

impl Copier {
    pub(super) fn new(
        account: Arc<Account>,
        access: Arc<Access>,
        config: Arc<Config>,
        budget: Arc<Budget>,
    ) -> Arc<Copier> {
        let lane_count = config.limits.connections_per_account.saturating_sub(1).max(1);
        Arc::new(Copier {
            account,
            config,
            access: ArcSwap::new(access),
            budget,
            queue: Mutex::default(),
            lanes: Semaphore::new(lane_count),
            lane_count: u32::try_from(lane_count).unwrap_or(u32::MAX),
            urgent: watch::Sender::new(0),
            unsure: Mutex::default(),
            unsure_moves: Mutex::default(),
            ending_moves: tokio::sync::Mutex::default(),
            careful: Mutex::default(),
            mirroring: Mutex::default(),
            room: Mutex::default(),
            stuck: Mutex::default(),
        })
    }

    /// Starts the worker. It ends with the copier, or between two batches on shutdown.
    pub(super) fn start(copier: &Arc<Copier>, shutdown: CancellationToken) {
        let weak = Arc::downgrade(copier);
        let undecided = Arc::clone(copier.account.undecided());
        let span = info_span!("copier", account = %copier.account.name());
        tokio::spawn(work(weak, undecided, shutdown).instrument(span));
    }

    /// Waits for the turn to carry messages of a mailbox.
    pub(super) async fn turn<'a>(&'a self, mailbox: &'a Mailbox) -> Result<Turn<'a>, AccountError> {
        let _mailbox = mailbox.carrying.lock().await;
        let lane = self.lanes.acquire().await;
        // It is closed by nobody.
        let _lane = lane.map_err(|_| AccountError::Unmatched(mailbox.name()))?;
        Ok(Turn { _mailbox, _lane })
    }

    fn urgent(&self) -> Urgent<'_> {
        self.urgent.send_modify(|waiting| *waiting += 1);
        Urgent(&self.urgent)
    }

    /// Whether somebody waits for a turn to carry what was opened.
    pub(super) fn is_urgent(&self) -> bool {
        *self.urgent.borrow() > 0
    }

    /// How many wait for a turn to carry what somebody has opened.
    pub(super) fn urgency(&self) -> watch::Receiver<usize> {
        self.urgent.subscribe()
    }

    /// From now on with what this login may reach.
    pub(super) fn renew(&self, access: &Arc<Access>) {
        self.access.store(Arc::clone(access));
    }

    /// A message's content was opened: it is to be carried over. The caller never waits.
    pub fn opened(&self, mailbox: &Arc<Mailbox>, uid: Uid, tee: Option<Tee>) {
        // What new refused is not offered to it with every look.
        if mailbox.stays_on_old() || mailbox.is_stuck(uid) {
            return;
        }
        self.enqueue(mailbox, uid, tee);
        self.account.undecided().wake.notify_one();
    }

    fn enqueue(&self, mailbox: &Arc<Mailbox>, uid: Uid, tee: Option<Tee>) {
        let mut queue = lock(&self.queue);
        if queue.jobs.len() >= QUEUE || !queue.known.insert((mailbox.id(), uid)) {
            return;
        }
        let whole = |tee: &Tee| tee.is_whole() && tee.is_message() && !tee.may_be_cut();
        // Until it is known whether it lies on new already, or new has room for it, it takes up none here.
        let soon = !mailbox.is_undecided() && self.rest().is_none();
        let tee = tee.filter(|tee| whole(tee) && soon);
        queue.jobs.push_back(Job { mailbox: Arc::clone(mailbox), uid, tee });
    }

    /// Why nothing is copied to new for a while, where it has no room for the account.
    pub(super) fn rest(&self) -> Option<Rest> {
        lock(&self.room).rest(Instant::now()).cloned()
    }

    /// New is tried again at once, if the account's copying rests because there is no room.
    pub(super) fn try_now(&self) {
        lock(&self.room).try_now(Instant::now());
        lock(&self.queue).not_before = None;
        self.account.undecided().wake.notify_one();
    }

    /// Whether new was taken for full when it was tried last.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.room).is_full()
    }

    /// New has taken a message.
    pub(super) fn has_room(&self) {
        if lock(&self.room).taken() {
            info!("new has room again: copying goes on");
        }
    }

    /// New has refused a message for want of room. Returns whether the account's copying rests now.
    pub(super) fn has_no_room(&self, why: &str) -> bool {
        let now = Instant::now();
        let mut room = lock(&self.room);
        if let Some(rest) = room.refused(why, self.config.copy.retry, now) {
            let (account, pause) = (self.account.name(), rest.until - now);
            warn!(%account, ?pause, "copying rests until new has room, or `mailferry retry`: {why}");
        }
        room.rest(now).is_some()
    }

    /// Messages that are stuck, that nobody tries just now, and when to try each.
    fn stuck(&self, mailbox: &Mailbox) -> Vec<(Uid, u64)> {
        let queue = lock(&self.queue);
        let idle = |(uid, _): &(Uid, u64)| !queue.known.contains(&(mailbox.id(), *uid));
        mailbox.stuck().into_iter().filter(idle).collect()
    }

    /// Tries those again whose time has come.
    fn retry_stuck(&self) {
        let now = now();
        lock(&self.stuck).retain(|_, mailbox| {
            let Some(mailbox) = mailbox.upgrade() else { return false };
            for (uid, _) in self.stuck(&mailbox).into_iter().filter(|(_, at)| *at <= now) {
                self.enqueue(&mailbox, uid, None);
            }
            !mailbox.stuck().is_empty()
        });
    }

    /// Starts collecting a message on its way to a client, if there is room for it.
    pub fn tee(&self, octets: u64) -> Option<Tee> {
        self.budget.collect(octets)
    }

    /// Carries these messages over now, and returns when each lies on new, or could not be carried.
    pub async fn carry(
        &self,
        mailbox: &Arc<Mailbox>,
        uids: &UidSet<Uid>,
    ) -> Result<(), AccountError> {
        mailbox.matched(uids).await?;
        let all: Vec<Uid> = uids.iter().collect();
        let _urgent = self.urgent();
        for some in all.chunks(BATCH) {
            let _turn = self.turn(mailbox).await?;
            let jobs = some
                .iter()
                .filter(|uid| matches!(mailbox.place(**uid), Some(Place::Old(_))))
                .map(|uid| Job { mailbox: Arc::clone(mailbox), uid: *uid, tee: None })
                .collect();
            self.carry_batch(mailbox, jobs).await.map_err(|(e, _)| e)?;
        }
        Ok(())
    }

    /// Where old is not to be changed, carries over now what a client is about to change: then it is
    /// changed on new.
    ///
    /// # Errors
    /// Some of it cannot be carried.
    pub async fn free_of_old(
        &self,
        mailbox: &Arc<Mailbox>,
        uids: &UidSet<Uid>,
    ) -> Result<(), AccountError> {
        if !self.account.old_is_read_only() {
            return Ok(());
        }
        let on_old = mailbox.on_old_alone(uids);
        if on_old.is_empty() {
            return Ok(());
        }
        // Boxed: most who come here need it never.
        Box::pin(self.carry(mailbox, &on_old)).await?;
        let Some(uid) = mailbox.on_old_alone(&on_old).first() else { return Ok(()) };
        let why = mailbox.peek(|m| m.stuck.get(&uid).map(|stuck| stuck.reason.clone()));
        let why = why.unwrap_or_else(|| "it is not known yet whether it arrived".to_owned());
        let mailbox = mailbox.name();
        let what = format!("message {uid} of {mailbox} cannot be copied to new first: {why}");
        Err(AccountError::OldReadOnly(what))
    }

    /// Opened messages that wait.
    pub(super) fn queued(&self) -> usize {
        lock(&self.queue).jobs.len()
    }

    /// Whether nothing waits and nothing is undecided.
    pub(super) fn is_idle(&self) -> bool {
        let undecided = self.account.undecided();
        lock(&self.queue).jobs.is_empty() && undecided.is_empty() && !undecided.owes()
    }

    /// Has the worker look for intents and arrivals that are undecided.
    pub(super) fn look_around(&self) {
        if !self.account.undecided().is_empty() {
            self.account.undecided().wake.notify_one();
        }
    }

    /// Waits until no batch is under way.
    pub(super) async fn stopped(&self) {
        drop(self.lanes.acquire_many(self.lane_count).await);
    }

    /// Works until nothing is left that can be done now. A batch is carried to its end: only
    /// between two of them a shutdown is heeded, and whoever else wants to carry something is let
    /// in.
    async fn work_once(&self, pause: &mut Duration, shutdown: &CancellationToken) {
        for mailbox in self.account.undecided().take() {
            let Some(_entered) = self.enter().await else {
                // Of no other concern in this phase; it is noted again when somebody opens the mailbox.
                self.tell_old(&mailbox).await;
                continue;
            };
            let undecided = !shutdown.is_cancelled()
                && self.recover(&mailbox).await.unwrap_or_else(|e| {
                    warn!(mailbox = %mailbox.name(), "undecided copies: {e}");
                    true
                });
            if undecided {
                self.account.undecided().put_back(&mailbox);
            }
            mailbox.look_for_debts();
            if !mailbox.stuck().is_empty() {
                lock(&self.stuck).insert(mailbox.id(), Arc::downgrade(&mailbox));
            }
        }
        self.end_moves().await;
        self.retry_stuck();
        self.mirror(shutdown).await;
        while !shutdown.is_cancelled() {
            if self.queued() > 0 {
                self.account.at_rest(COURTESY).await;
            }
            let Some(_entered) = self.enter().await else {
                *lock(&self.queue) = Queue::default();
                return;
            };
            let Some(jobs) = self.next_batch() else { return };
            let Some(mailbox) = jobs.first().map(|job| Arc::clone(&job.mailbox)) else { continue };
            let _urgent = self.urgent();
            let Ok(_turn) = self.turn(&mailbox).await else { return };
            let keys: Vec<Uid> = jobs.iter().map(|job| job.uid).collect();
            let ended = self.carry_batch(&mailbox, jobs).await;
            let again = match ended {
                Ok(left) => {
                    *pause = PAUSE;
                    lock(&self.queue).pace = Pace::default();
                    left
                }
                Err((e, left)) => {
                    let rest = self.rest();
                    // That it rests was told already.
                    if rest.is_none() {
                        warn!(mailbox = %mailbox.name(), messages = left.len(), "not carried yet: {e}");
                    }
                    let mut queue = lock(&self.queue);
                    queue.not_before = Some(match rest {
                        Some(rest) => rest.until,
                        None if says_later(&e) => Instant::now() + queue.pace.pause(),
                        None => {
                            let later = std::mem::replace(pause, (*pause * 2).min(LONGEST_PAUSE));
                            Instant::now() + later
                        }
                    });
                    left
                }
            };
            self.finish_jobs(&mailbox, &keys, again);
            mailbox.look_into();
        }
    }

    /// Keeps the account in phase merged while something is carried; `None` if it is in another one.
    pub(super) async fn enter(&self) -> Option<Entered> {
        let entered = self.account.enter().await.ok()?;
        (self.account.phase() == Phase::Merged).then_some(entered)
    }

    /// In phase old: removes what was carried there, where its second copy has come.
    async fn tell_old(&self, mailbox: &Arc<Mailbox>) {
        let Ok(_entered) = self.account.enter().await else { return };
        if self.account.phase() != Phase::Old || mailbox.owed().removed.is_empty() {
            return;
        }
        if let Err(e) = self.remove_back(mailbox, &self.access.load_full()).await {
            warn!(mailbox = %mailbox.name(), "copies too many stay on old, unseen: {e}");
            self.account.undecided().put_back(mailbox);
        }
    }

    fn finish_jobs(&self, mailbox: &Arc<Mailbox>, done: &[Uid], again: Vec<Job>) {
        let mut queue = lock(&self.queue);
        for uid in done {
            queue.known.remove(&(mailbox.id(), *uid));
        }
        if !again.is_empty() && queue.not_before.is_none() {
            queue.not_before = Some(Instant::now() + self.config.copy.grace.min(PAUSE));
        }
        for job in again {
            queue.known.insert((job.mailbox.id(), job.uid));
            queue.jobs.push_back(job);
        }
    }

    /// The next messages of one mailbox, in the order in which they were opened. A mailbox that is
    /// being matched waits: what is to be copied may lie on new already. Its end wakes the worker.
    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut queue = lock(&self.queue);
        if queue.not_before.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        queue.not_before = None;
        let ready = queue.jobs.iter().position(|job| !job.mailbox.is_undecided())?;
        queue.jobs.rotate_left(ready);
        let first = queue.jobs.pop_front()?;
        let mailbox = first.mailbox.id();
        let size = |job: &Job| job.tee.as_ref().map_or(UNKNOWN_SIZE, Tee::octets);
        let mut octets = size(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Some(next) = queue.jobs.front() else { break };
            octets += size(next);
            if next.mailbox.id() != mailbox || octets > BATCH_OCTETS {
                break;
            }
            batch.extend(queue.jobs.pop_front());
        }
        Some(batch)
    }

    async fn carry_batch(
        &self,
        mailbox: &Arc<Mailbox>,
        jobs: Vec<Job>,
    ) -> Result<Vec<Job>, (AccountError, Vec<Job>)> {
        let carried = Carry::new(self, mailbox, Side::New).run(jobs).await;
        if let Ok((count, _)) = &carried
            && *count > 0
        {
            info!(mailbox = %mailbox.name(), messages = count, "carried to new");
        }
        carried.map(|(_, left)| left)
    }

    fn next_look(&self) -> Option<Instant> {
        let queue = lock(&self.queue);
        let ready = || queue.jobs.iter().any(|job| !job.mailbox.is_undecided());
        let waiting = queue.not_before.filter(|_| ready());
        let unsure = self.account.is_unsure_of_moves() || !self.account.undecided().is_empty();
        let looking = unsure.then(|| Instant::now() + self.config.copy.grace.min(PAUSE));
        drop(queue);
        let stuck: Vec<Arc<Mailbox>> =
            lock(&self.stuck).values().filter_map(Weak::upgrade).collect();
        let next = stuck.iter().flat_map(|mailbox| self.stuck(mailbox)).map(|(_, at)| at).min();
        let retry = next.map(|at| Instant::now() + Duration::from_secs(at.saturating_sub(now())));
        let mirror = self.next_mirror();
        waiting.into_iter().chain(looking).chain(retry).chain(mirror).min()
    }
}

/// Whether a server said that it has no time just now: that passes sooner than an outage.
fn says_later(e: &AccountError) -> bool {
    let code = match e {
        AccountError::Backend(BackendError::Answer { code, .. }) => code.as_ref(),
        _ => None,
    };
    code.is_some_and(Code::says_later)
}

async fn work(copier: Weak<Copier>, undecided: Arc<Undecided>, shutdown: CancellationToken) {
    let mut pause = PAUSE;
    while !shutdown.is_cancelled() {
        let next = match copier.upgrade() {
            None => return,
            Some(copier) => {
                copier.work_once(&mut pause, &shutdown).await;
                copier.next_look()
            }
        };
        let later = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = undecided.wake.notified() => {}
            () = later => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Every change under these locks is done in one step, so a panic elsewhere leaves them whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
