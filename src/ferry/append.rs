//! Sending a batch's messages, and proving that what the server has is what was sent (DESIGN §7, steps 3 and 4).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use tracing::warn;

use super::carry::{Carry, Message, has_keywords, remove_copies, spool, system_flags};
use super::recover::Candidates;
use crate::account::AccountError;
use crate::backend::{BackendError, Conn, Done, Fetched, Lease, Pending, text};
use crate::base::{Side, step};
use crate::imap::command::InternalDate;
use crate::imap::response::{Code, Status};
use crate::imap::write::Parts;
use crate::uid::{SideUid, Uid, UidSet};

/// A server that refuses so many messages of a batch by a limit of its own takes no more of them.
const MANY: u32 = 8;

/// Octets of a message that are sent at once; smaller messages are sent together.
const PART: usize = 64 << 10;

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

impl Carry<'_> {
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
