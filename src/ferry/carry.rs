//! One batch of copies, from its intents to the change of place (DESIGN §7, steps 1 to 5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use super::append::Appended;
use super::copier::{Copier, Job, lock};
use super::governor::Pace;
use super::tee::Tee;
use crate::account::{Access, AccountError, Copied, Mailbox, Merged, Reading, now, without_recent};
use crate::backend::{BackendError, Conn, Fetched, Lease, internal_date, text};
use crate::base::{Side, metrics, step};
use crate::imap::fetch_scan::flags;
use crate::index::{Intent, SecondCopy};
use crate::uid::{SideUid, Uid, UidSet};

/// No more mail than that comes at once to a mailbox.
const MOST_AT_ONCE: usize = 64;

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
        let dates = messages.iter().filter_map(|m| internal_date(&m.date)).collect();
        self.copier.account.come_to(self.to, &dates).await?;
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
    pub(super) fn step(&self, to_new: &str, to_old: &str) {
        step(match self.to {
            Side::New => to_new,
            Side::Old => to_old,
        });
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
pub(super) fn spool(side: Side) -> impl Fn(io::Error) -> BackendError {
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
