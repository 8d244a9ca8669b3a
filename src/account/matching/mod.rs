//! Matching: finding out which messages lie on both sides already (DESIGN §3).
//!
//! At the first sight of new, what lies there is kept back and old is served. A task for each such
//! mailbox reads the prints of both sides' messages ([`print`]), which tell what cannot be on old:
//! that is shown at once. Of the rest, whatever turns out as the same message ([`pair`]) is joined
//! with old's, which first gives it its flags; what is different after all is shown as well. The
//! record says until when there is something to do, so a task that broke off, or a proxy that was
//! killed, begins again with what is left.

mod arrivals;
mod pair;
mod print;
pub(super) mod read;
mod second_copies;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::mailbox::{Mailbox, lock, now};
use super::{Access, AccountError, Merged, write_flags};
use crate::backend::{BackendError, Conn, Lease, Pool, text};
use crate::base::{MailboxName, Phase, Side, Sides, step};
use crate::config::Match;
use crate::uid::{SideUid, Uid, UidSet};

use arrivals::Waiting;
pub use pair::Pair;
use pair::{Alike, Contents};
use print::Print;
pub use read::{contents, fetch_in_windows, header_of};
pub use second_copies::Reading;

/// So many mailboxes of an account are matched at once: each borrows a connection of either side.
const AT_ONCE: usize = 1;
/// Messages decided over together, unless one group has more.
const TOGETHER: usize = 512;
/// Pairs joined together: the mailbox takes no writes meanwhile, for a few round trips.
const JOIN: usize = 512;
/// A client that opens a mailbox waits so long, from the beginning of its matching: most mailboxes
/// are done by then, and the first view is the whole one.
pub const FIRST_VIEW: Duration = Duration::from_secs(5);
/// What cannot be done before it is known where a message lies waits so long for it.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// So few that arrive are compared with what old has of their days, and not with all of it.
const FEW: u32 = 64;
/// INTERNALDATEs of what was carried to a side that are remembered: of an account's mail of an hour there are fewer.
const CARRIED: usize = 4_096;
/// After a side failed; doubles with every attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// So often is tried again before it is left to the next client that opens the mailbox.
const ATTEMPTS: u32 = 8;

/// What an account's mailboxes have in common for matching.
pub struct Matchmaker {
    mode: Match,
    permits: Semaphore,
    /// Shared by whoever copies; taken alone while messages on new are moved to where they belong.
    copying: Arc<RwLock<()>>,
    /// INTERNALDATEs of what was carried to each side lately, in seconds since 1970.
    carried: Mutex<Sides<BTreeSet<i64>>>,
}

impl Matchmaker {
    /// Matches by what the configuration says.
    pub fn new(mode: Match) -> Matchmaker {
        Matchmaker {
            mode,
            permits: Semaphore::new(AT_ONCE),
            copying: Arc::default(),
            carried: Mutex::default(),
        }
    }

    /// Whether anything is matched at all.
    pub fn is_wanted(&self) -> bool {
        self.mode != Match::Off
    }

    /// Messages that came at these instants are carried to a side. Those that came last are remembered.
    fn carries(&self, side: Side, dates: &HashSet<i64>) {
        let mut carried = lock(&self.carried);
        carried[side].extend(dates);
        while carried[side].len() > CARRIED {
            carried[side].pop_first();
        }
    }

    /// Whether a message that came at this instant was carried to a side, as far as is remembered.
    fn has_carried(&self, side: Side, date: i64) -> bool {
        lock(&self.carried)[side].contains(&date)
    }

    /// Nothing is copied while others hold this alone.
    pub fn copying(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.copying)
    }

    /// Those messages of one folder that another one of the same server holds as well. Leaves the
    /// former selected.
    pub async fn doubles(
        &self,
        conn: &mut Conn,
        folder: &MailboxName,
        other: &MailboxName,
    ) -> Result<UidSet<SideUid>, BackendError> {
        let announced = |conn: &Conn| conn.selected().map(|s| s.announced().clone());
        conn.select(other, None).await?;
        let all = announced(conn).unwrap_or_default();
        let there = read::prints(conn, &all).await?;
        conn.select(folder, None).await?;
        let all = announced(conn).unwrap_or_default();
        let compared = pair::compare(there, read::prints(conn, &all).await?);
        let (mut pairs, doubtful) = self.told_apart(&compared.alike);
        if !doubtful.is_empty() {
            let read = pair::members(doubtful.iter().copied());
            conn.select(other, None).await?;
            let old = read::contents(conn, &read.old).await?;
            conn.select(folder, None).await?;
            let new = read::contents(conn, &read.new).await?;
            let contents = Contents { old, new };
            pairs.extend(doubtful.iter().flat_map(|group| pair::by_content(group, &contents)));
        }
        Ok(pairs.into_iter().map(|pair| pair.new).collect())
    }

    /// The pairs that headers leave no doubt about, and the groups that must be read.
    fn told_apart<'a>(&self, groups: &'a [Alike]) -> (Vec<Pair>, Vec<&'a Alike>) {
        let mut pairs = Vec::new();
        let mut doubtful = Vec::new();
        for group in groups {
            match pair::by_headers(group).filter(|_| self.mode == Match::MessageId) {
                Some(found) => pairs.extend(found),
                None => doubtful.push(group),
            }
        }
        (pairs, doubtful)
    }
}

/// A task that matches a mailbox.
pub struct Running {
    since: Instant,
    left: Arc<Mutex<Left>>,
    /// Told of whenever less is left, and closed when the task ends.
    progress: watch::Receiver<()>,
    /// Ends its pause.
    wake: Arc<Notify>,
}

/// What a login may reach, for as long as somebody is logged in with it.
pub struct Reach {
    pools: Sides<Weak<Pool>>,
    poll_interval: Duration,
}

impl Reach {
    fn access(&self) -> Option<Access> {
        let pools = Sides { old: self.pools.old.upgrade()?, new: self.pools.new.upgrade()? };
        Some(Access { pools, poll_interval: self.poll_interval })
    }
}

/// What a task has yet to decide over.
#[derive(Default)]
struct Left {
    /// The headers of all have been compared: what is not in `groups` is decided.
    compared: bool,
    groups: VecDeque<Alike>,
    /// Messages of old in groups that are not decided.
    old: UidSet<SideUid>,
}

impl Left {
    fn of(groups: Vec<Alike>) -> Left {
        let old = pair::members(&groups).old;
        Left { compared: true, groups: groups.into(), old }
    }

    /// Somebody waits for these messages of old.
    fn hurry(&mut self, wanted: &UidSet<SideUid>) {
        let hurried = |group: &Alike| group.old.iter().any(|print| wanted.contains(print.uid));
        let (mut first, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.groups).into_iter().partition(hurried);
        first.extend(rest);
        self.groups = first;
    }
}

impl Mailbox {
    /// Whether messages on new wait until it is known which of them are old's.
    pub fn is_matching(&self) -> bool {
        self.peek(|m| m.is_matching())
    }

    /// Whether new may have messages of old's that are not known to be the same yet.
    pub fn is_undecided(&self) -> bool {
        self.peek(|m| m.is_matching() || m.is_to_be_compared())
    }

    /// Held by whoever copies to here: meanwhile nothing on new is moved to where it belongs.
    pub async fn copying(&self) -> OwnedRwLockReadGuard<()> {
        self.matchmaker.copying().read_owned().await
    }

    /// Has a task match what lies on both sides, if there is anything to match and none does it: now,
    /// or when there is, with what this login may reach for as long as somebody is logged in with it.
    pub(super) fn start_matching(self: &Arc<Self>, access: &Access) {
        let pools = access.pools.as_ref().map(|_, pool| Arc::downgrade(pool));
        *lock(&self.reach) = Some(Reach { pools, poll_interval: access.poll_interval });
        self.go_on_matching();
    }

    /// The same with what the last login may reach.
    pub(super) fn go_on_matching(self: &Arc<Self>) {
        if !self.peek(Merged::may_be_one) {
            return;
        }
        let Some(access) = lock(&self.reach).as_ref().and_then(Reach::access) else { return };
        let mut running = lock(&self.matching);
        if let Some(task) = running.as_ref().filter(|task| task.progress.has_changed().is_ok()) {
            if self.peek(Merged::shows_late) {
                task.wake.notify_one();
            }
            return;
        }
        let (told, progress) = watch::channel(());
        let left = Arc::<Mutex<Left>>::default();
        let wake = Arc::<Notify>::default();
        let task = Task { access, left: Arc::clone(&left), told, wake: Arc::clone(&wake) };
        *running = Some(Running { since: Instant::now(), left, progress, wake });
        tokio::spawn(work(Arc::downgrade(self), task));
    }

    /// A side answers: what was shown because it did not is compared soon.
    pub(super) fn answers(&self, side: Side) {
        if self.peek(|m| !m.record.shown_late[side.other()].is_empty())
            && let Some(task) = lock(&self.matching).as_ref()
        {
            task.wake.notify_one();
        }
    }

    /// Waits a little for the matching to end, [`FIRST_VIEW`] from its beginning and not longer than
    /// `until`: a client that opens the mailbox shall see all of it at once, but old's part does not
    /// wait for the other.
    pub(super) async fn first_view(&self, until: Instant) {
        let task = lock(&self.matching).as_ref().map(|task| (task.since, task.progress.clone()));
        if let Some((since, mut progress)) = task {
            let comparing = || self.peek(|m| m.is_comparing());
            let ended = async { while comparing() && progress.changed().await.is_ok() {} };
            drop(timeout_at(until.min(since + FIRST_VIEW), ended).await);
        }
    }

    /// Waits until it is known which of these messages lie on both sides: before that, none of old's
    /// may be removed, for its copy on new would then be shown, or be copied a second time.
    ///
    /// # Errors
    /// [`AccountError::Unmatched`] if that takes too long.
    pub async fn matched(&self, uids: &UidSet<Uid>) -> Result<(), AccountError> {
        self.compared(uids).await?;
        let until = Instant::now() + LONGEST_WAIT;
        let unknown = || Err(AccountError::Unmatched(self.name()));
        while let Some(wanted) = self.undecided_of(uids) {
            let Some(mut progress) = self.hurry(&wanted) else { return Ok(()) };
            match timeout_at(until, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if !self.is_matching() => return Ok(()),
                Ok(Err(_)) | Err(_) => return unknown(),
            }
        }
        Ok(())
    }

    /// Waits until what has arrived on old is compared with these messages: before that, none of new's may
    /// be removed, for the same message of old's would then be shown.
    ///
    /// # Errors
    /// [`AccountError::Unmatched`] if that takes too long.
    pub async fn compared(&self, uids: &UidSet<Uid>) -> Result<(), AccountError> {
        let until = Instant::now() + LONGEST_WAIT;
        while let Some(mut progress) = self.comparing(uids) {
            match timeout_at(until, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if self.peek(|m| m.waiting.is_empty()) => break,
                Ok(Err(_)) | Err(_) => return Err(AccountError::Unmatched(self.name())),
            }
        }
        Ok(())
    }

    /// Tells of the comparison of what arrived on old, where some of these messages are on new alone.
    /// `None`: there is nothing to wait for.
    fn comparing(&self, uids: &UidSet<Uid>) -> Option<watch::Receiver<()>> {
        let mut progress = lock(&self.matching).as_ref().map(|task| task.progress.clone());
        // Marked before the look: what changes after it is told.
        progress.as_mut()?.mark_unchanged();
        let alone = |m: &Merged| {
            m.on_authority(Side::New, uids).any(|run| run.place.on(Side::Old).is_none())
        };
        progress.filter(|_| self.peek(|m| !m.waiting.is_empty() && alone(m)))
    }

    /// Those of the messages that lie on old alone, as far as is known by now.
    fn undecided_of(&self, uids: &UidSet<Uid>) -> Option<UidSet<SideUid>> {
        self.peek(|m| {
            let runs = m.on_authority(Side::Old, uids);
            let ranges = runs.filter_map(|run| {
                let first = run.place.on(Side::Old)?;
                Some((first, SideUid(first.0 + (run.len - 1))))
            });
            let wanted = UidSet::from_ranges(ranges);
            (m.is_matching() && !wanted.is_empty()).then_some(wanted)
        })
    }

    /// Has these messages decided over before others. `None`: they are decided.
    fn hurry(&self, wanted: &UidSet<SideUid>) -> Option<watch::Receiver<()>> {
        let running = lock(&self.matching);
        let Some(task) = running.as_ref() else { return Some(watch::channel(()).1) };
        let mut left = lock(&task.left);
        if left.compared && left.old.intersect(wanted).is_empty() {
            return None;
        }
        left.hurry(wanted);
        // Seen under the lock: less may be left as soon as it is released.
        let mut progress = task.progress.clone();
        progress.mark_unchanged();
        Some(progress)
    }

    /// Matches all that waits. Whatever fails, what was found until then stays.
    async fn match_all(self: &Arc<Self>, task: &Task) -> Result<(), AccountError> {
        let _permit = self.matchmaker.permits.acquire().await;
        *lock(&task.left) = Left::default();
        loop {
            let alone = self.peek(|m| match m.phase {
                Phase::Old if !m.is_matching() => Some(Side::Old),
                Phase::New if m.is_matching() => Some(Side::New),
                _ => None,
            });
            if let Some(side) = alone {
                match side {
                    Side::Old => self.compare_on_old(&task.access).await?,
                    Side::New => self.compare_on_new(&task.access).await?,
                }
                task.told.send_replace(());
                if self.peek(|m| m.is_comparing()) {
                    continue;
                }
                break;
            }
            let look = |m: &Merged| (m.unmatched.clone(), Waiting::of(m));
            let ((unmatched, waiting), mut old, mut new) = self.both(&task.access, look).await?;
            if self.compare_waiting(&mut old, &mut new, waiting).await? {
                task.told.send_replace(());
            }
            let unpaired = self.peek(Merged::unpaired);
            let told = new.selected().and_then(|s| s.highest_mod_seq);
            let end = |m: &mut Merged| {
                let ended = m.end_matching(told);
                Ok((ended, ended))
            };
            if !self.is_matching() || self.change(|m, _| end(m)).await? {
                self.give_back(old).await;
                self.give_back(new).await;
                if self.peek(|m| m.is_comparing()) {
                    continue;
                }
                break;
            }
            let arrived = self.peek(|m| m.record.late || unmatched.is_subset(&m.came));
            let few = arrived && unmatched.len() <= FEW;
            let (on_old, on_new) = if few {
                self.prints_of_few(&mut old, &mut new, &unpaired, &unmatched).await?
            } else {
                tokio::try_join!(
                    read::prints(&mut old, &unpaired),
                    read::prints(&mut new, &unmatched)
                )?
            };
            let (alike, alone) = self.compare_headers(&unmatched, on_old, on_new);
            *lock(&task.left) = Left::of(alike);
            task.told.send_replace(());
            self.show(&mut new, &alone, true).await?;
            self.give_back(old).await;
            self.give_back(new).await;
            while let Some(groups) = task.next() {
                self.decide(&task.access, &groups).await?;
                task.decided(&groups);
                self.compare_arrivals(task).await?;
            }
        }
        self.compare_shown(&task.access).await?;
        info!(mailbox = %self.name(), "matched what lies on both sides");
        // Whoever waited for it may go on.
        self.undecided.note(self);
        Ok(())
    }

    /// A connection of either side that knows of all that waits: another one may have been told of it, and
    /// Dovecot gives no message that it has not announced.
    ///
    /// What is compared is what `look` finds before they are asked: what comes to others later they may not know.
    async fn both<T>(
        self: &Arc<Self>,
        access: &Access,
        look: impl FnOnce(&Merged) -> T,
    ) -> Result<(T, Lease, Lease), AccountError> {
        let mut old = self.lease(access, Side::Old).await?;
        let mut new = self.lease(access, Side::New).await?;
        let seen = self.peek(look);
        for conn in [&mut old, &mut new] {
            self.follow(conn).await?;
            self.hear(conn).await?;
        }
        Ok((seen, old, new))
    }

    /// The prints of a few messages of new, and of what old has of their days.
    async fn prints_of_few(
        &self,
        old: &mut Conn,
        new: &mut Conn,
        on_old: &UidSet<SideUid>,
        on_new: &UidSet<SideUid>,
    ) -> Result<(Vec<Print>, Vec<Print>), BackendError> {
        let on_new = read::prints(new, on_new).await?;
        if on_old.is_empty() {
            return Ok((Vec::new(), on_new));
        }
        let near = read::near(old, &on_new, on_old).await?;
        Ok((read::prints(old, &near).await?, on_new))
    }

    /// The messages that headers do not tell apart; and those of the messages `asked` for on new that they tell
    /// to be none of old's, or of which new tells nothing.
    fn compare_headers(
        &self,
        asked: &UidSet<SideUid>,
        on_old: Vec<Print>,
        on_new: Vec<Print>,
    ) -> (Vec<Alike>, UidSet<SideUid>) {
        let read: UidSet<SideUid> = on_new.iter().map(|print| print.uid).collect();
        let unread = asked.subtract(&read);
        let compared = pair::compare(on_old, on_new);
        debug!(
            mailbox = %self.name(), alike = compared.alike.len(),
            alone = compared.alone.len(), unread = unread.len(), "headers compared"
        );
        (compared.alike, compared.alone.union(&unread))
    }

    /// Joins those that are the same of some that their headers do not tell apart, and shows the
    /// others.
    async fn decide(
        self: &Arc<Self>,
        access: &Access,
        groups: &[Alike],
    ) -> Result<(), AccountError> {
        let (mut pairs, doubtful) = self.matchmaker.told_apart(groups);
        if !doubtful.is_empty() {
            let contents = self.contents(access, &doubtful).await?;
            pairs.extend(doubtful.iter().flat_map(|group| pair::by_content(group, &contents)));
        }
        self.settle(access, &pairs, &pair::members(groups).new).await
    }

    /// Reads messages whole.
    async fn contents(
        self: &Arc<Self>,
        access: &Access,
        groups: &[&Alike],
    ) -> Result<Contents, AccountError> {
        let read = pair::members(groups.iter().copied());
        let mut on_old = self.lease(access, Side::Old).await?;
        let mut on_new = self.lease(access, Side::New).await?;
        let (old, new) = tokio::try_join!(
            read::contents(&mut on_old, &read.old),
            read::contents(&mut on_new, &read.new)
        )?;
        self.give_back(on_old).await;
        self.give_back(on_new).await;
        Ok(Contents { old, new })
    }

    /// Joins pairs, and shows those of the messages `told` of that have no partner.
    async fn settle(
        self: &Arc<Self>,
        access: &Access,
        pairs: &[Pair],
        told: &UidSet<SideUid>,
    ) -> Result<(), AccountError> {
        let mut alone = told.clone();
        for pairs in pairs.chunks(JOIN) {
            let paired: UidSet<SideUid> = pairs.iter().map(|pair| pair.new).collect();
            alone = alone.subtract(&paired);
            // Before any connection is borrowed, as by everybody who writes.
            let _alone = self.alone().await;
            let mut old = self.lease(access, Side::Old).await?;
            let mut new = self.lease(access, Side::New).await?;
            // Flags are compared as they are now, not as a connection knew them.
            self.follow(&mut old).await?;
            self.follow(&mut new).await?;
            let flags = if self.peek(|m| m.record.restored.new) {
                flags_on_new(&mut old, &mut new, pairs).await?
            } else {
                let twins: Vec<(SideUid, SideUid)> =
                    pairs.iter().map(|pair| (pair.old, pair.new)).collect();
                let flags = write_flags(&mut old, &mut new, &twins).await?;
                self.wrote_flags(&new);
                flags
            };
            // A message that has gone from old meanwhile is none of old's any more.
            let there: Vec<Pair> =
                pairs.iter().filter(|pair| flags.contains_key(&pair.old)).copied().collect();
            let joined = self
                .change(|m, _| {
                    let joined = m.join(&there);
                    let changed = !joined.is_empty();
                    Ok((joined, changed))
                })
                .await?;
            for (uid, pair) in joined {
                if let Some(flags) = flags.get(&pair.old) {
                    self.remember_flags(uid, flags.clone(), Side::New);
                }
            }
            self.give_back(old).await;
            self.give_back(new).await;
        }
        if !alone.is_empty() {
            let mut new = self.lease(access, Side::New).await?;
            self.show(&mut new, &alone, true).await?;
            self.give_back(new).await;
        }
        Ok(())
    }

    /// Shows messages that nothing on old is the same as, as far as they are still there; or old `was_asked` for
    /// none.
    async fn show(
        self: &Arc<Self>,
        new: &mut Conn,
        uids: &UidSet<SideUid>,
        was_asked: bool,
    ) -> Result<(), AccountError> {
        if uids.is_empty() {
            return Ok(());
        }
        new.must("NOOP", &text("NOOP")).await?;
        self.hear(new).await?;
        let there = new.selected().map(|s| uids.intersect(s.announced())).unwrap_or_default();
        let mut second_copies = self.second_copies_among(new, &there).await?;
        let _settled = self.none_is_own(&mut second_copies).await;
        let hidden = self
            .change(|m, batch| {
                second_copies.retain(|(copy, _)| m.unmatched.contains(*copy));
                let taken = self.take_second_copies(m, batch, Side::New, &second_copies);
                let shown = there.intersect(&m.unmatched);
                match was_asked {
                    true => m.note_uncompared(Side::New, &shown),
                    false => m.note_late(Side::New, &shown),
                }
                let shown = m.show_unmatched(&there, now())?;
                m.unmatched = m.unmatched.subtract(uids);
                Ok((taken, shown || taken))
            })
            .await?;
        if hidden {
            step("second copies: new's are hidden");
        }
        Ok(())
    }
}

/// What a task works with.
struct Task {
    access: Access,
    left: Arc<Mutex<Left>>,
    told: watch::Sender<()>,
    wake: Arc<Notify>,
}

impl Task {
    /// The next groups to decide over.
    fn next(&self) -> Option<Vec<Alike>> {
        let mut left = lock(&self.left);
        let mut groups = Vec::new();
        let mut messages = 0;
        while messages < TOGETHER
            && let Some(group) = left.groups.pop_front()
        {
            messages += group.len();
            groups.push(group);
        }
        (!groups.is_empty()).then_some(groups)
    }

    fn decided(&self, groups: &[Alike]) {
        let mut left = lock(&self.left);
        left.old = left.old.subtract(&pair::members(groups).old);
        drop(left);
        self.told.send_replace(());
    }
}

/// Matches a mailbox until nothing waits any more, with a pause after every failure.
async fn work(mailbox: Weak<Mailbox>, task: Task) {
    let mut pause = PAUSE;
    let mut attempt = 1;
    while attempt <= ATTEMPTS {
        let Some(mailbox) = mailbox.upgrade() else { return };
        match mailbox.match_all(&task).await {
            Ok(()) => return,
            Err(e) => warn!(mailbox = %mailbox.name(), attempt, "not matched yet: {e}"),
        }
        if let Err(e) = mailbox.show_late(&task.access, attempt == ATTEMPTS).await {
            warn!(mailbox = %mailbox.name(), "arrivals are not shown: {e}");
        }
        drop(mailbox);
        sleep(PAUSE).await;
        // Something came, or the side answers again; else it is asked more and more rarely.
        if timeout(pause - PAUSE, task.wake.notified()).await.is_err() {
            pause *= 2;
            attempt += 1;
        }
    }
}

/// Of pairs whose messages are both still there, the flags on new. The proxy showed this mailbox
/// before: what it has marked since is on new, and old's flags are those of then.
async fn flags_on_new(
    old: &mut Conn,
    new: &mut Conn,
    pairs: &[Pair],
) -> Result<HashMap<SideUid, Bytes>, BackendError> {
    let on_old: UidSet<SideUid> = pairs.iter().map(|pair| pair.old).collect();
    let on_new: UidSet<SideUid> = pairs.iter().map(|pair| pair.new).collect();
    let (there, mut flags) =
        tokio::try_join!(read::flags(old, &on_old), read::flags(new, &on_new))?;
    let there = pairs.iter().filter(|pair| there.contains_key(&pair.old));
    Ok(there.filter_map(|pair| Some((pair.old, flags.remove(&pair.new)?))).collect())
}
