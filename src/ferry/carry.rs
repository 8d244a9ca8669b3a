//! One batch of copies, from its intents to the change of place (DESIGN §7, steps 1 to 5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use super::copier::{Copier, Job, lock};
use super::governor::Pace;
use super::recover::Candidates;
use super::tee::Tee;
use crate::account::{Access, AccountError, Copied, Mailbox, Merged, Reading, now, without_recent};
use crate::backend::{BackendError, Conn, Done, Fetched, Lease, Pending, internal_date, text};
use crate::base::{Side, metrics, step};
use crate::imap::command::InternalDate;
use crate::imap::fetch_scan::flags;
use crate::imap::response::{Code, Status};
use crate::imap::write::Parts;
use crate::index::{Intent, SecondCopy};
use crate::uid::{SideUid, Uid, UidSet};

/// A server that refuses so many messages of a batch by a limit of its own takes no more of them.
const MANY: u32 = 8;

/// No more mail than that comes at once to a mailbox.
const MOST_AT_ONCE: usize = 64;

/// Octets of a message that are sent at once; smaller messages are sent together.
const PART: usize = 64 << 10;

/// A message on its way.
pub(super) struct Message {
    pub uid: Uid,
    /// Its UID where it comes from.
    pub source: SideUid,
    pub flags: Bytes,
    pub date: Bytes,
    pub body: Tee,
}

/// Messages of one mailbox on their way.
pub(super) struct Carry<'a> {
    pub(super) copier: &'a Copier,
    pub(super) mailbox: &'a Arc<Mailbox>,
    pub(super) access: Arc<Access>,
    /// Where they go.
    pub(super) to: Side,
    /// How fast it may go; nobody holds back what somebody waits for.
    pub(super) pace: Pace,
    /// Whether these are some of a great many, of which nobody waits for any.
    pub(super) is_bulk: bool,
}

/// What became of a batch's APPENDs.
#[derive(Default)]
pub(super) struct Appended {
    /// Which message has become which on new.
    pub copies: BTreeMap<Uid, SideUid>,
    /// Messages that new does not take now, and may take later.
    pub put_off: Vec<Uid>,
    /// What new says, where it takes nothing for the time being.
    pub halt: Option<BackendError>,
}

/// Whether a batch goes on.
#[derive(Default)]
struct Halt {
    /// What the server says, where it takes nothing for the time being.
    why: Option<BackendError>,
    /// Messages that were beyond a limit.
    refusals: u32,
}

/// What became of one message's APPEND.
enum Answer {
    Told(SideUid),
    Untold,
    Refused(Done),
    /// The account has no room for it.
    NoRoom(Done),
    /// Not tried, for the server takes nothing now.
    PutOff,
}

impl<'a> Carry<'a> {
    pub(super) fn new(copier: &'a Copier, mailbox: &'a Arc<Mailbox>, to: Side) -> Carry<'a> {
        Carry::over(copier, mailbox, to, copier.access.load_full())
    }

    /// The same with another access than the copier's.
    pub(super) fn over(
        copier: &'a Copier,
        mailbox: &'a Arc<Mailbox>,
        to: Side,
        access: Arc<Access>,
    ) -> Carry<'a> {
        Carry { copier, mailbox, access, to, pace: Pace::default(), is_bulk: false }
    }

    /// Carries what can be carried. Returns how many were, and what has to be tried again.
    pub(super) async fn run(
        &self,
        jobs: Vec<Job>,
    ) -> Result<(usize, Vec<Job>), (AccountError, Vec<Job>)> {
        let again = |jobs: &[(Uid, SideUid)]| {
            let job = |(uid, _): &(Uid, SideUid)| Job {
                mailbox: Arc::clone(self.mailbox),
                uid: *uid,
                tee: None,
            };
            jobs.iter().map(job).collect::<Vec<Job>>()
        };
        let mut tees: HashMap<Uid, Tee> = HashMap::new();
        let mut wanted: Vec<(Uid, SideUid)> = Vec::new();
        let mut undecided: Vec<(Uid, SideUid)> = Vec::new();
        let intents = self.mailbox.intents(self.to);
        for job in jobs {
            let Some(source) = self.mailbox.to_be_copied(job.uid, self.to) else { continue };
            if intents.get(&job.uid).is_some_and(|intent| !intent.closed) {
                // It may be there already: that is decided first.
                undecided.push((job.uid, source));
                continue;
            }
            wanted.push((job.uid, source));
            if let Some(tee) = job.tee {
                tees.insert(job.uid, tee);
            }
        }
        wanted.sort_unstable_by_key(|(_, source)| *source);
        let carried = if wanted.is_empty() {
            0
        } else if self.is_comparing() {
            undecided.append(&mut wanted);
            0
        } else {
            match self.batch(&wanted, tees).await {
                Ok(count) => {
                    if self.is_comparing() {
                        // New was seen for the first time: it may have them already.
                        undecided.append(&mut wanted);
                    }
                    count
                }
                Err(e) => {
                    wanted.retain(|(uid, _)| self.mailbox.to_be_copied(*uid, self.to).is_some());
                    wanted.extend(undecided);
                    return Err((e, again(&wanted)));
                }
            }
        };
        Ok((carried, again(&undecided)))
    }

    /// Whether what is to be carried may be there already, by another way.
    fn is_comparing(&self) -> bool {
        match self.to {
            Side::New => self.mailbox.is_undecided(),
            Side::Old => self.mailbox.peek(Merged::may_be_one),
        }
    }

    /// Has the side that gets copies tell of what came to it: mail is delivered to both sides, and of the
    /// other copy, which is there already, perhaps nobody has heard yet.
    pub(super) async fn catch_up(&self, target: &mut Lease) -> Result<(), AccountError> {
        self.mailbox.follow(target).await?;
        self.mailbox.hear(target).await
    }

    async fn batch(
        &self,
        wanted: &[(Uid, SideUid)],
        tees: HashMap<Uid, Tee>,
    ) -> Result<usize, AccountError> {
        let _copying = self.mailbox.copying().await;
        self.copier.account.make_on(self.to, &self.access, self.mailbox).await?;
        // Connections are borrowed in the order of the sides (see `backend::Pool`).
        let mut old = self.mailbox.lease(&self.access, Side::Old).await?;
        let (mut source, mut target, messages) = match self.to {
            Side::New => {
                let messages;
                (old, messages) = self.read(old, wanted, tees).await?;
                if messages.is_empty() {
                    self.mailbox.give_back(old).await;
                    return Ok(0);
                }
                let mut new = self.mailbox.lease(&self.access, Side::New).await?;
                self.catch_up(&mut new).await?;
                (old, new, messages)
            }
            Side::Old => {
                let new = self.mailbox.lease(&self.access, Side::New).await?;
                let (new, messages) = self.read(new, wanted, tees).await?;
                self.catch_up(&mut old).await?;
                (new, old, messages)
            }
        };
        if messages.is_empty() || self.is_comparing() {
            self.mailbox.give_back(source).await;
            self.mailbox.give_back(target).await;
            return Ok(0);
        }

        let mut messages = self.begin(&target, messages).await?;
        let ended = async {
            let mut appended = self.append_and_prove(&mut target, &mut messages).await?;
            self.abandon_put_off(&mut appended).await?;
            let count =
                self.settle(&mut source, &mut target, &mut messages, appended.copies).await?;
            Ok((count, appended.halt))
        };
        match ended.await {
            Ok((count, halt)) => {
                self.mailbox.give_back(source).await;
                self.mailbox.give_back(target).await;
                halt.map_or(Ok(count), |halt| Err(halt.into()))
            }
            Err(e) => {
                self.leave_open(&messages);
                Err(e)
            }
        }
    }

    /// Writes the intents, durably. Returns the messages that may be appended now.
    pub(super) async fn begin(
        &self,
        target: &Conn,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, AccountError> {
        if messages.is_empty() {
            return Ok(messages);
        }
        let uid_next = target.selected().map_or(SideUid(1), |s| s.snapshot().uid_next);
        let intents = messages.iter().map(|m| Ok((m.uid, intent(m, uid_next)?)));
        let intents = intents.collect::<io::Result<_>>().map_err(spool(self.to))?;
        let begun: BTreeSet<Uid> =
            self.mailbox.begin_copies(self.to, intents).await?.into_iter().collect();
        self.step("copy: intents are written", "way back: intents are written");
        Ok(messages.into_iter().filter(|m| begun.contains(&m.uid)).collect())
    }

    /// Whether an APPEND arrived is not known: the intents stay open, and are decided over later.
    pub(super) fn leave_open(&self, messages: &[Message]) {
        let since = tokio::time::Instant::now();
        let mut unsure = lock(&self.copier.unsure);
        for message in messages {
            unsure.entry((self.mailbox.id(), self.to, message.uid)).or_insert(since);
        }
        drop(unsure);
        self.mailbox.look_into();
    }

    /// APPENDs all, and proves that what new has is what was sent. What new refuses is noted as
    /// stuck. Old is not needed meanwhile.
    pub(super) async fn append_and_prove(
        &self,
        new: &mut Lease,
        messages: &mut [Message],
    ) -> Result<Appended, AccountError> {
        let mut appended = Appended::default();
        if messages.is_empty() {
            return Ok(appended);
        }
        let mut halt = Halt::default();
        let was_full = self.to == Side::New && self.copier.is_full();
        let answers = self.append(new, messages, &mut halt).await?;
        // Where all rest, none is stuck for want of room but the one by which it was tried whether there is
        // any again: the next time another one is tried.
        let mut to_be_stuck = if halt.why.is_some() { usize::from(was_full) } else { usize::MAX };
        appended.halt = halt.why;
        self.step("copy: messages are appended", "way back: messages are appended");
        let mut untold: Vec<&Message> = Vec::new();
        for (message, answer) in messages.iter().zip(&answers) {
            match answer {
                Answer::Told(uid) => {
                    appended.copies.insert(message.uid, *uid);
                }
                Answer::Untold => untold.push(message),
                Answer::Refused(done) => self.stuck(message.uid, done.words()).await?,
                Answer::NoRoom(_) if to_be_stuck == 0 => appended.put_off.push(message.uid),
                Answer::NoRoom(done) => {
                    to_be_stuck -= 1;
                    self.stuck(message.uid, done.words()).await?;
                }
                Answer::PutOff => appended.put_off.push(message.uid),
            }
        }
        if !untold.is_empty() {
            self.find_untold(new, &untold, &mut appended.copies).await?;
        }
        self.prove(new, messages, &mut appended.copies).await?;
        self.step("copy: copies are proved", "way back: copies are proved");
        Ok(appended)
    }

    /// Nothing of them is on new: they are begun anew another time.
    pub(super) async fn abandon_put_off(
        &self,
        appended: &mut Appended,
    ) -> Result<(), AccountError> {
        let put_off = std::mem::take(&mut appended.put_off);
        if put_off.is_empty() {
            return Ok(());
        }
        self.mailbox.abandon_copies(self.to, put_off, false).await
    }

    /// Brings flags up to date and changes the places. Returns how many are carried.
    pub(super) async fn settle(
        &self,
        source: &mut Lease,
        target: &mut Lease,
        messages: &mut [Message],
        mut copies: BTreeMap<Uid, SideUid>,
    ) -> Result<usize, AccountError> {
        if copies.is_empty() {
            return Ok(0);
        }
        let second_copies = self.second_copies(messages, &copies).map_err(spool(self.to))?;
        // From here to the change of place nobody else writes to these messages.
        let _alone = self.mailbox.alone().await;
        let gone = self.match_flags(source, target, messages, &mut copies).await?;
        self.step("copy: flags are matched", "way back: flags are matched");
        let second = |uid: &Uid| second_copies.get(uid).copied();
        let copied =
            |(uid, copy): (&Uid, &SideUid)| Copied { uid: *uid, copy: *copy, second: second(uid) };
        let settled: Vec<Copied> = copies.iter().map(copied).collect();
        let count = settled.len();
        for message in messages.iter().filter(|m| copies.contains_key(&m.uid)) {
            self.mailbox.remember_flags(message.uid, message.flags.clone(), self.to);
        }
        let octets =
            messages.iter().filter(|m| copies.contains_key(&m.uid)).map(|m| m.body.octets());
        let octets = octets.sum();
        let refused = self.mailbox.commit_copies(self.to, settled).await?;
        self.step("copy: places are changed", "way back: places are changed");
        let carried = count - refused.len();
        metrics().copied(carried as u64, octets);
        let mut orphans = gone;
        orphans.extend(refused.iter().map(|copy| (copy.uid, copy.copy)));
        remove_orphans(target, self.mailbox, &orphans, false).await?;
        Ok(carried)
    }

    /// What second copies would be told by of the messages that came lately: unless these are many, as where all
    /// of a mailbox is carried that was just filled.
    fn second_copies(
        &self,
        messages: &mut [Message],
        copies: &BTreeMap<Uid, SideUid>,
    ) -> io::Result<HashMap<Uid, SecondCopy>> {
        let mut second_copies = HashMap::new();
        let Some(since) = self.mailbox.second_copies_since(self.to.other()) else {
            return Ok(second_copies);
        };
        let lately = messages.iter_mut().filter_map(|message| {
            let date = internal_date(&message.date).filter(|date| *date >= since)?;
            copies.contains_key(&message.uid).then_some((message, date))
        });
        let lately: Vec<(&mut Message, i64)> = lately.collect();
        if lately.len() > MOST_AT_ONCE {
            return Ok(second_copies);
        }
        for (message, date) in lately {
            let mut reading = Reading::default();
            let mut chunks = message.body.chunks()?;
            while let Some(chunk) = chunks.next()? {
                reading.update(chunk);
            }
            second_copies.insert(message.uid, reading.finish(date));
        }
        Ok(second_copies)
    }

    /// A place where tests have the program die, on the way to new or on the way back.
    fn step(&self, to_new: &str, to_old: &str) {
        step(match self.to {
            Side::New => to_new,
            Side::Old => to_old,
        });
    }

    /// APPENDs all, in one command where the server can: it then takes all of them or none (RFC
    /// 3502). What it refuses together is halved, down to the one message that it does not take.
    /// Where it takes nothing for the time being, `halt` gets its words, and the rest is put off.
    async fn append(
        &self,
        conn: &mut Conn,
        messages: &mut [Message],
        halt: &mut Halt,
    ) -> Result<Vec<Answer>, AccountError> {
        if !conn.profile().has("MULTIAPPEND") && conn.profile().literal_plus() {
            return self.append_pipelined(conn, messages, halt).await;
        }
        let together = conn.profile().has("MULTIAPPEND");
        let mut answers = Vec::with_capacity(messages.len());
        let mut left: Vec<Range<usize>> = std::iter::once(0..messages.len()).collect();
        while let Some(range) = left.pop() {
            if halt.why.is_some() {
                answers.extend(range.map(|_| Answer::PutOff));
                continue;
            }
            if range.len() > 1 && !together {
                left.extend(range.rev().map(|at| at..at + 1));
                continue;
            }
            let some = &mut messages[range.clone()];
            let done = self.append_some(conn, some).await?;
            if done.is_ok() {
                self.taken();
                answers.extend(told(&done, some.len()));
            } else if is_put_off(&done) && range.len() > 1 {
                halt.why = Some(conn.answer("APPEND", &done));
                left.push(range);
            } else if let [message] = some {
                answers.push(self.refused(conn, message, done, halt).await?);
            } else {
                let middle = range.start + range.len() / 2;
                left.push(middle..range.end);
                left.push(range.start..middle);
            }
        }
        Ok(answers)
    }

    /// APPENDs one after the other without waiting for answers.
    async fn append_pipelined(
        &self,
        conn: &mut Conn,
        messages: &mut [Message],
        halt: &mut Halt,
    ) -> Result<Vec<Answer>, AccountError> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages.iter_mut() {
            sent.push(self.begin_append(conn, std::slice::from_mut(message)).await?);
        }
        let mut all = Vec::with_capacity(sent.len());
        for sent in sent {
            all.push(match sent {
                Ok(pending) => conn.finish(pending).await?,
                Err(refused) => refused,
            });
        }
        let mut answers = Vec::with_capacity(all.len());
        for (message, done) in messages.iter_mut().zip(all) {
            answers.push(if done.is_ok() {
                self.taken();
                told(&done, 1).pop().unwrap_or(Answer::Untold)
            } else {
                self.refused(conn, message, done, halt).await?
            });
        }
        Ok(answers)
    }

    /// What to do about a message that new refuses by itself.
    async fn refused(
        &self,
        conn: &mut Conn,
        message: &mut Message,
        mut done: Done,
        halt: &mut Halt,
    ) -> Result<Answer, AccountError> {
        // A keyword that new refuses is no reason to leave the message behind.
        if !is_put_off(&done) && has_keywords(&message.flags) {
            warn!(
                mailbox = %self.mailbox.name(), uid = %message.uid,
                "keywords dropped, {} says: {}", self.to, done.words()
            );
            message.flags = system_flags(&message.flags);
            done = self.append_some(conn, std::slice::from_mut(message)).await?;
        }
        if done.is_ok() {
            self.taken();
            return Ok(told(&done, 1).pop().unwrap_or(Answer::Untold));
        }
        if is_put_off(&done) {
            halt.why.get_or_insert_with(|| conn.answer("APPEND", &done));
            return Ok(Answer::PutOff);
        }
        if says_full(&done) {
            // One that did not fit before says nothing new.
            let known = self.mailbox.peek(|m| m.stuck.contains_key(&message.uid));
            let counts = self.to == Side::New && (!known || self.copier.is_full());
            if counts && self.copier.has_no_room(&done.words()) {
                halt.why.get_or_insert_with(|| conn.answer("APPEND", &done));
            }
            return Ok(Answer::NoRoom(done));
        }
        // A limit may be one of the folder, or of a message: that says nothing of others.
        if done.code == Some(Code::Limit) {
            halt.refusals += 1;
            if self.is_bulk && halt.refusals >= MANY {
                halt.why.get_or_insert_with(|| conn.answer("APPEND", &done));
            }
        }
        Ok(Answer::Refused(done))
    }

    /// A message was taken: new has room.
    fn taken(&self) {
        if self.to == Side::New {
            self.copier.has_room();
        }
    }

    /// APPENDs messages by one command, and waits for its end.
    pub(super) async fn append_some(
        &self,
        conn: &mut Conn,
        messages: &mut [Message],
    ) -> Result<Done, AccountError> {
        Ok(match self.begin_append(conn, messages).await? {
            Ok(pending) => conn.finish(pending).await?,
            Err(refused) => refused,
        })
    }

    /// Sends an APPEND whole. `Err`: the server did not want it, and this is its answer.
    async fn begin_append(
        &self,
        conn: &mut Conn,
        messages: &mut [Message],
    ) -> Result<Result<Pending, Done>, BackendError> {
        let mut command = Parts::new();
        command.text("APPEND ");
        if let Some(selected) = conn.selected() {
            command.mailbox(&selected.name);
        }
        let mut begun: Option<Pending> = None;
        for message in messages {
            command.text(&append_options(message));
            let octets = message.body.octets();
            let refused = match begun {
                None => match conn.begin_streamed(&command, octets, false).await? {
                    Ok(pending) => {
                        begun = Some(pending);
                        None
                    }
                    Err(refused) => Some(refused),
                },
                Some(pending) => conn.go_on_streamed(pending, &command, octets, false).await?,
            };
            if let Some(refused) = refused {
                return Ok(Err(refused));
            }
            self.send_octets(conn, message).await?;
            command = Parts::new();
        }
        conn.queue_octets(b"\r\n");
        conn.flush().await?;
        step("copy: a message is sent");
        begun.map(Ok).ok_or_else(|| conn.protocol("an APPEND of nothing".into()))
    }

    async fn send_octets(
        &self,
        conn: &mut Conn,
        message: &mut Message,
    ) -> Result<(), BackendError> {
        let side = conn.side();
        let mut chunks = message.body.chunks().map_err(spool(side))?;
        while let Some(chunk) = chunks.next().map_err(spool(side))? {
            for part in chunk.chunks(PART) {
                self.pace.octets(side, part.len()).await;
                if chunk.len() < PART && conn.queued() + chunk.len() <= PART {
                    conn.queue_octets(part);
                } else {
                    conn.write_octets(part).await?;
                }
                step("copy: a part of a message is sent");
            }
        }
        Ok(())
    }

    /// Learns the UIDs of copies that no APPENDUID told: they lie at or above what UIDNEXT was.
    async fn find_untold(
        &self,
        conn: &mut Conn,
        untold: &[&Message],
        copies: &mut BTreeMap<Uid, SideUid>,
    ) -> Result<(), AccountError> {
        conn.must("NOOP", &text("NOOP")).await?;
        conn.list_arrivals().await?;
        let intents = self.mailbox.intents(self.to);
        let from = untold.iter().filter_map(|m| Some(intents.get(&m.uid)?.new_uid_next)).min();
        let mut candidates = Candidates::list(conn, self.mailbox, from).await?;
        candidates.without(&copies.values().copied().collect());
        for message in untold {
            let Some(intent) = intents.get(&message.uid) else { continue };
            match candidates.take(self.copier, conn, intent).await? {
                Some(uid) => {
                    copies.insert(message.uid, uid);
                }
                None => {
                    let what = format!("APPEND of {} said OK, but it is not found", message.uid);
                    return Err(conn.protocol(what).into());
                }
            }
        }
        Ok(())
    }

    /// Compares what new stored with what was sent. A message that new altered stays on old.
    async fn prove(
        &self,
        conn: &mut Conn,
        messages: &[Message],
        copies: &mut BTreeMap<Uid, SideUid>,
    ) -> Result<(), AccountError> {
        let set: UidSet<SideUid> = copies.values().copied().collect();
        if set.is_empty() {
            return Ok(());
        }
        let mut sizes: HashMap<SideUid, u64> = HashMap::new();
        // Their MODSEQ, so that nobody takes our own copies for changes that were missed.
        let counted = if conn.profile().condstore() { " MODSEQ" } else { "" };
        let command = text(&format!("UID FETCH {set} (UID RFC822.SIZE{counted})"));
        for attempt in 0..2 {
            let done = conn
                .fetch(&command, |fetched: Fetched| {
                    if let (Some(uid), Some(size)) = (fetched.uid, fetched.size()) {
                        sizes.insert(uid, size);
                    }
                })
                .await?;
            if !done.is_ok() {
                return Err(conn.answer("UID FETCH (RFC822.SIZE)", &done).into());
            }
            if sizes.len() >= copies.len() || attempt == 1 {
                break;
            }
            // Not told of yet.
            conn.must("NOOP", &text("NOOP")).await?;
        }
        let mut altered = Vec::new();
        for message in messages {
            let Some(copy) = copies.get(&message.uid).copied() else { continue };
            let kept = sizes.get(&copy).copied();
            if kept == Some(message.body.octets()) {
                continue;
            }
            // RFC822.SIZE of some servers is not true: what they give back decides.
            if self.copier.hash_of(conn, copy).await?
                == Some(message.body.hash().map_err(spool(self.to))?)
            {
                continue;
            }
            altered.push((message.uid, copy, kept, message.body.octets()));
        }
        for (uid, copy, kept, sent) in altered {
            copies.remove(&uid);
            let copy = [copy].into_iter().collect();
            self.mailbox.hide_copies(self.to, &copy).await?;
            remove_copies(conn, &copy).await?;
            let kept = kept.map_or("nothing".to_owned(), |n| format!("{n} octets"));
            let why = format!(
                "{} kept {kept} of {sent}: altered, so it stays on {}",
                self.to,
                self.to.other()
            );
            self.stuck(uid, why).await?;
        }
        Ok(())
    }

    /// Brings flags that changed meanwhile up to date. Returns the copies whose message has gone
    /// from old; they are taken out of `copies`.
    async fn match_flags(
        &self,
        source: &mut Conn,
        target: &mut Conn,
        messages: &mut [Message],
        copies: &mut BTreeMap<Uid, SideUid>,
    ) -> Result<BTreeMap<Uid, SideUid>, AccountError> {
        let set: UidSet<SideUid> =
            messages.iter().filter(|m| copies.contains_key(&m.uid)).map(|m| m.source).collect();
        let now_flags = latest_flags(self.mailbox, source, &set).await?;
        let mut gone = BTreeMap::new();
        for message in messages {
            let Some(copy) = copies.get(&message.uid).copied() else { continue };
            match now_flags.get(&message.source) {
                None => {
                    copies.remove(&message.uid);
                    gone.insert(message.uid, copy);
                }
                Some(flags) if !same_flags(flags, &message.flags) => {
                    let list = String::from_utf8_lossy(flags).into_owned();
                    let command = text(&format!("UID STORE {copy} FLAGS.SILENT {list}"));
                    let done = target.run(&command).await?;
                    if !done.is_ok() {
                        let list = system_flags(flags);
                        let list = String::from_utf8_lossy(&list).into_owned();
                        let command = text(&format!("UID STORE {copy} FLAGS.SILENT {list}"));
                        target.must("UID STORE", &command).await?;
                    }
                    self.mailbox.wrote_flags(target);
                    message.flags = flags.clone();
                }
                Some(_) => {}
            }
        }
        Ok(gone)
    }

    pub(super) async fn stuck(&self, uid: Uid, reason: String) -> Result<(), AccountError> {
        metrics().refused();
        warn!(mailbox = %self.mailbox.name(), %uid, "stuck: {reason}");
        self.mailbox.note_stuck(self.to, uid, reason, self.copier.config.copy.retry).await
    }
}

/// A collected message cannot be read.
fn spool(side: Side) -> impl Fn(io::Error) -> BackendError {
    move |source| BackendError::Lost { side, doing: "reading the spool", source }
}

fn intent(message: &Message, uid_next: SideUid) -> io::Result<Intent> {
    Ok(Intent {
        new_uid_next: uid_next,
        octets: message.body.octets(),
        internal_date: String::from_utf8_lossy(&message.date).into_owned(),
        hash: message.body.hash()?,
        written_at: now(),
        closed: false,
        again: false,
    })
}

/// ` (flags) "date" `, as it stands before a message's literal.
fn append_options(message: &Message) -> String {
    let flags = String::from_utf8_lossy(&message.flags);
    // A date that is none would fail every APPEND of the message.
    match InternalDate::new(&message.date) {
        Some(date) => format!(" {flags} \"{date}\" "),
        None => format!(" {flags} "),
    }
}

/// The flags of messages as they are now, also where others have just changed them.
pub(super) async fn latest_flags(
    mailbox: &Arc<Mailbox>,
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<HashMap<SideUid, Bytes>, BackendError> {
    let mut latest = HashMap::new();
    if uids.is_empty() {
        return Ok(latest);
    }
    mailbox.follow(conn).await?;
    let mut news = Vec::new();
    let each = |fetched: Fetched| {
        if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
            if uids.contains(uid) {
                latest.insert(uid, without_recent(&flags));
            } else {
                news.push((uid, flags));
            }
        }
    };
    let done = conn.fetch(&text(&format!("UID FETCH {uids} (UID FLAGS)")), each).await?;
    for (uid, flags) in news {
        conn.note_flags(uid, flags);
    }
    if done.is_ok() { Ok(latest) } else { Err(conn.answer("UID FETCH (FLAGS)", &done)) }
}

/// Removes copies whose message is gone, and only then gives their intents up: after a crash in
/// between these tell what the copies are. `doubtful`: others of them may still turn up.
pub(super) async fn remove_orphans(
    conn: &mut Conn,
    mailbox: &Arc<Mailbox>,
    orphans: &BTreeMap<Uid, SideUid>,
    doubtful: bool,
) -> Result<(), AccountError> {
    if orphans.is_empty() {
        return Ok(());
    }
    let copies = orphans.values().copied().collect();
    let side = conn.side();
    mailbox.hide_copies(side, &copies).await?;
    step("copy: orphans are hidden");
    remove_copies(conn, &copies).await?;
    step("copy: orphans are removed");
    mailbox.abandon_copies(side, orphans.keys().copied().collect(), doubtful).await
}

/// Removes copies from new that have no place in the view. Without UID EXPUNGE they stay there,
/// marked `\Deleted` and hidden: an EXPUNGE would take others with it.
pub(super) async fn remove_copies(
    conn: &mut Conn,
    copies: &UidSet<SideUid>,
) -> Result<(), AccountError> {
    let command = text(&format!("UID STORE {copies} +FLAGS.SILENT (\\Deleted)"));
    conn.must("UID STORE", &command).await?;
    if conn.profile().uidplus() {
        conn.must("UID EXPUNGE", &text(&format!("UID EXPUNGE {copies}"))).await?;
    }
    Ok(())
}

/// The UIDs of so many messages that were appended by one command, as far as its answer told them.
fn told(done: &Done, count: usize) -> Vec<Answer> {
    let ranges = match &done.code {
        Some(Code::AppendUid { uids, .. }) => uids.as_slice(),
        _ => &[],
    };
    let total: u64 = ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum();
    // A set that names more or fewer says nothing of any of them.
    if total != count as u64 {
        return (0..count).map(|_| Answer::Untold).collect();
    }
    ranges.iter().flat_map(|&(a, b)| a..=b).map(|uid| Answer::Told(SideUid(uid))).collect()
}

/// Whether the server has no time just now, and nothing is wrong with the message.
pub(super) fn is_put_off(done: &Done) -> bool {
    done.status == Status::No && done.code.as_ref().is_some_and(Code::says_later)
}

/// Whether there is no room for the account, as far as the server says; Courier has words for it only.
fn says_full(done: &Done) -> bool {
    let says = || done.words().to_ascii_lowercase().contains("quota");
    done.status == Status::No
        && match &done.code {
            Some(Code::OverQuota) => true,
            None | Some(Code::Alert) => says(),
            Some(_) => false,
        }
}

pub(super) fn told_uid(done: &Done) -> Option<SideUid> {
    match &done.code {
        Some(Code::AppendUid { uids, .. }) => match uids.as_slice() {
            [(first, last)] if first == last => Some(SideUid(*first)),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn has_keywords(list: &[u8]) -> bool {
    flags(list).any(|flag| flag.first() != Some(&b'\\'))
}

pub(super) fn system_flags(list: &[u8]) -> Bytes {
    let system: Vec<&[u8]> = flags(list).filter(|f| f.first() == Some(&b'\\')).collect();
    [b"(", system.join(&b' ').as_slice(), b")"].concat().into()
}

fn same_flags(a: &[u8], b: &[u8]) -> bool {
    let sorted = |list| {
        let mut all: Vec<Vec<u8>> = flags(list).map(<[u8]>::to_ascii_lowercase).collect();
        all.sort();
        all
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_same_in_any_order_and_case() {
        assert!(same_flags(b"(\\Seen $x)", b"($X \\seen)"));
        assert!(!same_flags(b"(\\Seen)", b"()"));
    }

    #[test]
    fn keywords_are_told_from_system_flags() {
        assert!(has_keywords(b"(\\Seen $Forwarded)"));
        assert!(!has_keywords(b"(\\Seen)"));
        assert_eq!(system_flags(b"(\\Seen $Forwarded \\Flagged)"), "(\\Seen \\Flagged)");
    }
}
