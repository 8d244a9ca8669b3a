//! One batch of copies, from its intents to the change of place (DESIGN §7, steps 1 to 5).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use super::copier::{Copier, Job, lock};
use super::tee::Tee;
use crate::account::{Access, AccountError, Copied, Mailbox, now, without_recent};
use crate::backend::{BackendError, Conn, Done, Fetched, Lease, Pending, text};
use crate::base::{Side, step};
use crate::imap::command::InternalDate;
use crate::imap::fetch_scan::flags;
use crate::imap::response::{Code, Status};
use crate::imap::write::Parts;
use crate::index::Intent;
use crate::uid::{Place, SideUid, Uid, UidSet};

/// A message on its way.
pub(super) struct Message {
    pub uid: Uid,
    pub old: SideUid,
    pub flags: Bytes,
    pub date: Bytes,
    pub body: Tee,
}

/// One batch.
pub(super) struct Carry<'a> {
    pub(super) copier: &'a Copier,
    pub(super) mailbox: &'a Arc<Mailbox>,
    pub(super) access: Arc<Access>,
}

impl<'a> Carry<'a> {
    pub(super) fn new(copier: &'a Copier, mailbox: &'a Arc<Mailbox>) -> Carry<'a> {
        Carry { copier, mailbox, access: copier.access.load_full() }
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
        let intents = self.mailbox.intents();
        for job in jobs {
            let Some(Place::Old(old)) = self.mailbox.place(job.uid) else { continue };
            if intents.get(&job.uid).is_some_and(|intent| !intent.closed) {
                // It may be on new already: that is decided first.
                undecided.push((job.uid, old));
                continue;
            }
            wanted.push((job.uid, old));
            if let Some(tee) = job.tee {
                tees.insert(job.uid, tee);
            }
        }
        wanted.sort_unstable_by_key(|(_, old)| *old);
        let carried = if wanted.is_empty() {
            0
        } else if self.mailbox.is_matching() {
            undecided.append(&mut wanted);
            0
        } else {
            match self.batch(&wanted, tees).await {
                Ok(count) => {
                    if self.mailbox.is_matching() {
                        // New was seen for the first time: it may have them already.
                        undecided.append(&mut wanted);
                    }
                    count
                }
                Err(e) => {
                    wanted
                        .retain(|(uid, _)| matches!(self.mailbox.place(*uid), Some(Place::Old(_))));
                    wanted.extend(undecided);
                    return Err((e, again(&wanted)));
                }
            }
        };
        Ok((carried, again(&undecided)))
    }

    async fn batch(
        &self,
        wanted: &[(Uid, SideUid)],
        tees: HashMap<Uid, Tee>,
    ) -> Result<usize, AccountError> {
        self.copier.account.make_on_new(&self.access, self.mailbox).await?;
        let old = self.mailbox.lease(&self.access, Side::Old).await?;
        let (mut old, messages) = self.read(old, wanted, tees).await?;
        if messages.is_empty() {
            self.mailbox.give_back(old).await;
            return Ok(0);
        }
        let mut new = self.mailbox.lease(&self.access, Side::New).await?;
        if self.mailbox.is_matching() {
            self.mailbox.give_back(old).await;
            self.mailbox.give_back(new).await;
            return Ok(0);
        }

        let uid_next = new.selected().map_or(SideUid(1), |s| s.snapshot().uid_next);
        let intents = messages.iter().map(|m| (m.uid, intent(m, uid_next))).collect();
        let begun = self.mailbox.begin_copies(intents).await?;
        step("copy: intents are written");
        let mut messages: Vec<Message> =
            messages.into_iter().filter(|m| begun.contains(&m.uid)).collect();

        let ended = self.append_and_settle(&mut old, &mut new, &mut messages).await;
        match ended {
            Ok((count, put_off)) => {
                self.mailbox.give_back(old).await;
                self.mailbox.give_back(new).await;
                put_off.map_or(Ok(count), |put_off| Err(put_off.into()))
            }
            Err(e) => {
                // Whether an APPEND arrived is not known: the intents stay open.
                let since = tokio::time::Instant::now();
                let mut unsure = lock(&self.copier.unsure);
                for uid in begun {
                    unsure.entry((self.mailbox.id(), uid)).or_insert(since);
                }
                Err(e)
            }
        }
    }

    async fn append_and_settle(
        &self,
        old: &mut Lease,
        new: &mut Lease,
        messages: &mut [Message],
    ) -> Result<(usize, Option<BackendError>), AccountError> {
        let mut answers = self.append(new, messages).await?;
        step("copy: messages are appended");
        // A keyword that new refuses is no reason to leave the message behind.
        for (message, done) in messages.iter_mut().zip(&mut answers) {
            if !done.is_ok() && !is_put_off(done) && has_keywords(&message.flags) {
                warn!(
                    mailbox = %self.mailbox.name(), uid = %message.uid,
                    "keywords dropped, new says: {}", done.words()
                );
                message.flags = system_flags(&message.flags);
                *done = self.append_one(new, message).await?;
            }
        }
        let mut copies: BTreeMap<Uid, SideUid> = BTreeMap::new();
        let mut untold: Vec<&Message> = Vec::new();
        let (mut put_off, mut waiting) = (None, Vec::new());
        for (message, done) in messages.iter().zip(&answers) {
            if is_put_off(done) {
                put_off = Some(new.answer("APPEND", done));
                waiting.push(message.uid);
                continue;
            }
            if !done.is_ok() {
                self.stuck(message.uid, done.words()).await?;
                continue;
            }
            match told_uid(done) {
                Some(uid) => {
                    copies.insert(message.uid, uid);
                }
                None => untold.push(message),
            }
        }
        if !waiting.is_empty() {
            self.mailbox.abandon_copies(waiting, false).await?;
        }
        if !untold.is_empty() {
            self.find_untold(new, &untold, &mut copies).await?;
        }
        self.prove(new, messages, &mut copies).await?;
        step("copy: copies are proved");

        // From here to the change of place nobody else writes to these messages.
        let _alone = self.mailbox.alone().await;
        let gone = self.match_flags(old, new, messages, &mut copies).await?;
        step("copy: flags are matched");
        let settled: Vec<Copied> = copies
            .iter()
            .map(|(uid, new)| Copied { uid: *uid, new: *new, doubtful: false })
            .collect();
        let count = settled.len();
        for message in messages.iter().filter(|m| copies.contains_key(&m.uid)) {
            self.mailbox.remember_flags(message.uid, message.flags.clone(), Side::New);
        }
        let refused = self.mailbox.commit_copies(settled).await?;
        step("copy: places are changed");
        let carried = count - refused.len();
        let mut orphans = gone;
        orphans.extend(refused.iter().map(|copy| (copy.uid, copy.new)));
        remove_orphans(new, self.mailbox, &orphans, false).await?;
        Ok((carried, put_off))
    }

    /// APPENDs all, pipelined where the server takes literals without being asked.
    async fn append(
        &self,
        conn: &mut Conn,
        messages: &mut [Message],
    ) -> Result<Vec<Done>, AccountError> {
        let mut answers = Vec::new();
        if !conn.profile().literal_plus() {
            for message in messages {
                answers.push(self.append_one(conn, message).await?);
            }
            return Ok(answers);
        }
        let mut sent = Vec::new();
        for message in messages {
            sent.push(begin_append(conn, message).await?);
        }
        for sent in sent {
            answers.push(match sent {
                Ok(pending) => conn.finish(pending).await?,
                Err(refused) => refused,
            });
        }
        Ok(answers)
    }

    pub(super) async fn append_one(
        &self,
        conn: &mut Conn,
        message: &mut Message,
    ) -> Result<Done, AccountError> {
        Ok(match begin_append(conn, message).await? {
            Ok(pending) => conn.finish(pending).await?,
            Err(refused) => refused,
        })
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
        let intents = self.mailbox.intents();
        for message in untold {
            let Some(intent) = intents.get(&message.uid) else { continue };
            let taken: Vec<SideUid> = copies.values().copied().collect();
            match self.copier.find_copy(conn, self.mailbox, intent, &taken).await? {
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
            if self.copier.hash_of(conn, copy).await? == Some(message.body.hash()) {
                continue;
            }
            altered.push((message.uid, copy, kept, message.body.octets()));
        }
        for (uid, copy, kept, sent) in altered {
            copies.remove(&uid);
            let copy = [copy].into_iter().collect();
            self.mailbox.hide_copies(&copy).await?;
            remove_copies(conn, &copy).await?;
            let kept = kept.map_or("nothing".to_owned(), |n| format!("{n} octets"));
            let why = format!("new kept {kept} of {sent}: altered, so it stays on old");
            self.stuck(uid, why).await?;
        }
        Ok(())
    }

    /// Brings flags that changed meanwhile up to date. Returns the copies whose message has gone
    /// from old; they are taken out of `copies`.
    async fn match_flags(
        &self,
        old: &mut Conn,
        new: &mut Conn,
        messages: &mut [Message],
        copies: &mut BTreeMap<Uid, SideUid>,
    ) -> Result<BTreeMap<Uid, SideUid>, AccountError> {
        let set: UidSet<SideUid> =
            messages.iter().filter(|m| copies.contains_key(&m.uid)).map(|m| m.old).collect();
        let now_flags = latest_flags(self.mailbox, old, &set).await?;
        let mut gone = BTreeMap::new();
        for message in messages {
            let Some(copy) = copies.get(&message.uid).copied() else { continue };
            match now_flags.get(&message.old) {
                None => {
                    copies.remove(&message.uid);
                    gone.insert(message.uid, copy);
                }
                Some(flags) if !same_flags(flags, &message.flags) => {
                    let list = String::from_utf8_lossy(flags).into_owned();
                    let command = text(&format!("UID STORE {copy} FLAGS.SILENT {list}"));
                    let done = new.run(&command).await?;
                    if !done.is_ok() {
                        let list = system_flags(flags);
                        let list = String::from_utf8_lossy(&list).into_owned();
                        let command = text(&format!("UID STORE {copy} FLAGS.SILENT {list}"));
                        new.must("UID STORE", &command).await?;
                    }
                    self.mailbox.wrote_flags(new);
                    message.flags = flags.clone();
                }
                Some(_) => {}
            }
        }
        Ok(gone)
    }

    pub(super) async fn stuck(&self, uid: Uid, reason: String) -> Result<(), AccountError> {
        warn!(mailbox = %self.mailbox.name(), %uid, "stuck: {reason}");
        self.mailbox.note_stuck(uid, reason, self.copier.config.copy.retry).await
    }
}

fn intent(message: &Message, uid_next: SideUid) -> Intent {
    Intent {
        new_uid_next: uid_next,
        octets: message.body.octets(),
        internal_date: String::from_utf8_lossy(&message.date).into_owned(),
        hash: message.body.hash(),
        written_at: now(),
        closed: false,
        again: false,
    }
}

fn append_command(conn: &Conn, message: &Message) -> Parts {
    let mut command = Parts::new();
    command.text("APPEND ");
    if let Some(selected) = conn.selected() {
        command.mailbox(&selected.name);
    }
    let flags = String::from_utf8_lossy(&message.flags).into_owned();
    // A date that is none would fail every APPEND of the message.
    let date = match InternalDate::new(&message.date) {
        Some(date) => format!(" \"{date}\""),
        None => String::new(),
    };
    command.text(&format!(" {flags}{date} "));
    command
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

/// Sends an APPEND whole. `Err`: the server did not want the message, and this is its answer.
async fn begin_append(
    conn: &mut Conn,
    message: &mut Message,
) -> Result<Result<Pending, Done>, BackendError> {
    let command = append_command(conn, message);
    let pending = match conn.begin_streamed(&command, message.body.octets(), false).await? {
        Ok(pending) => pending,
        refused => return Ok(refused),
    };
    let side = conn.side();
    let spool = |source| BackendError::Lost { side, doing: "reading the spool", source };
    let mut chunks = message.body.chunks().map_err(spool)?;
    while let Some(chunk) = chunks.next().map_err(spool)? {
        conn.write_octets(chunk).await?;
        step("copy: a part of a message is sent");
    }
    conn.queue_octets(b"\r\n");
    conn.flush().await?;
    step("copy: a message is sent");
    Ok(Ok(pending))
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
    mailbox.hide_copies(&copies).await?;
    step("copy: orphans are hidden");
    remove_copies(conn, &copies).await?;
    step("copy: orphans are removed");
    mailbox.abandon_copies(orphans.keys().copied().collect(), doubtful).await
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

/// Whether the server has no time just now, and nothing is wrong with the message.
pub(super) fn is_put_off(done: &Done) -> bool {
    done.status == Status::No && done.code.as_ref().is_some_and(Code::says_later)
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
