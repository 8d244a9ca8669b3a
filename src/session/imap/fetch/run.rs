//! Running a schedule: octets go server → session → client, polled in the session's own task.
//!
//! Literals are passed on as they come. Where steps would be short and what they ask for is small,
//! `gather` fetches one set a side.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::super::select::tell_offered;
use super::super::sets::ensure_announced;
use super::beside::Beside;
use super::plan::Step;
use crate::account::{AccountError, Emails, MAX_COMMAND, Mailbox};
use crate::backend::{BackendError, Conn, Done, Event, Lease, Pace, Pending, Seat, text};
use crate::base::{Side, Sides};
use crate::ferry::{Copier, Tee};
use crate::imap::fetch_rewrite::{
    Wish, Writer, announces_message, is_answer, told_flags, told_mod_seq, told_uid,
};
use crate::imap::fetch_scan::{FetchScan, Item, ItemKind};
use crate::imap::framer::Literal;
use crate::imap::response::{Response, Status};
use crate::session::client::{Client, ClientError};
use crate::uid::{Cursor, Place, SideUid, Uid, UidMap, UidSet};

/// Steps sent ahead on one connection. Not more than one: Dovecot joins UID FETCHes of equal items
/// that are pipelined into one, and answers it in the order of its UIDs, so that the octets of a
/// later step would come before their turn. The other side's next step is under way meanwhile.
const AHEAD: usize = 1;
/// Steps shorter than this on average are gathered instead.
const SHORT: u32 = 64;
/// Content is gathered once this many messages have shown how large it is.
const SAMPLE: u64 = 8;
/// Fewer messages than this are not worth gathering.
const FEW: u32 = 4;
/// Messages gathered at most; where an answer has a few dozen octets, some megabytes of them.
const WINDOW: u32 = 512;
const WIDE_WINDOW: u32 = 1 << 16;
/// Octets that are to be gathered together, as far as can be told before they come.
const GATHERED: u64 = 1 << 20;
/// The octets of literals that are expected in an answer without content, before any has come.
const HEADERS: u64 = 2 << 10;
/// Steps are looked at anew after so many, where what they ask for has proved to be large.
const LOOK: usize = 64;
/// A client that takes nothing for so long shall not hold up the account's other sessions.
const SLOW: Duration = Duration::from_secs(10);
/// So many messages of a command may be refused before the server is asked for no more.
const REFUSED: usize = 16;

/// How a FETCH broke off.
#[derive(Debug)]
pub enum Broken {
    /// Between two replies: the client has seen nothing that is not whole.
    Between(AccountError),
    /// Within a reply that the client has already seen a part of, or the client itself is gone.
    Within(ClientError),
}

impl From<ClientError> for Broken {
    fn from(e: ClientError) -> Broken {
        Broken::Within(e)
    }
}

impl From<BackendError> for Broken {
    fn from(e: BackendError) -> Broken {
        Broken::Between(e.into())
    }
}

/// What came of asking a side for messages.
pub(super) enum Taken {
    /// All that it has.
    All,
    /// It refused, perhaps for one message alone.
    Torn,
    /// It has no time just now, as it said.
    PutOff(Done),
}

impl Taken {
    /// What came of both.
    pub fn and(self, other: Taken) -> Taken {
        match (self, other) {
            (Taken::PutOff(done), _) | (_, Taken::PutOff(done)) => Taken::PutOff(done),
            (Taken::Torn, _) | (_, Taken::Torn) => Taken::Torn,
            (Taken::All, Taken::All) => Taken::All,
        }
    }
}

/// One FETCH command under way.
pub struct Fetch<'a> {
    pub client: &'a mut Client,
    pub mailbox: Arc<Mailbox>,
    /// Carries over what is opened; `None` where that is switched off.
    pub copier: Option<Arc<Copier>>,
    pub numbering: &'a UidMap,
    pub items: String,
    pub wish: Arc<Wish>,
    /// The messages' EMAILIDs, where the client wants to see them.
    pub emails: Option<Emails>,
    /// Only what changed on each side since this MODSEQ of its own.
    pub changed_since: Option<Sides<u64>>,
    /// The MODSEQ up to which each side's connection had told of changes before it was asked.
    pub told_until: Sides<Option<u64>>,
    /// The mailbox was opened by EXAMINE.
    pub read_only: bool,
    /// Which version of the flags that are offered the client has been told.
    pub offered: u64,
    /// Other sessions want to hear of changes.
    pub others: bool,
    /// Messages to which `\Seen` was given for this: their flags belong into the answer.
    pub seen_set: Sides<UidSet<SideUid>>,
    /// What new says of messages of which old gives the rest: see `beside`.
    pub beside: HashMap<Uid, Beside>,
    /// Flags of which the client is told here, and that are news for others.
    pub just_told: HashMap<Uid, Bytes>,
    /// Messages that were answered with literals, and the octets of these.
    pub literals: (u64, u64),
    /// The messages that were answered.
    pub done: UidSet<Uid>,
    /// What a side should have returned and did not.
    pub missing: UidSet<Uid>,
    /// Why a side did not return all: told at the end, when the others have been.
    pub refused: Option<BackendError>,
    /// The seats of the connections in use.
    pub seats: Vec<Seat>,
}

impl Fetch<'_> {
    /// Runs a schedule over the connections, which must be there for every side it names.
    pub async fn run(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        steps: &[Step],
    ) -> Result<(), Broken> {
        let messages: u32 = steps.iter().map(|step| step.len).sum();
        if steps.len() <= 2 || messages / SHORT >= u32::try_from(steps.len()).unwrap_or(u32::MAX) {
            return self.stream(leases, steps).await;
        }
        let mut rest = steps;
        while !rest.is_empty() {
            let (streamed, behind) = rest.split_at(self.to_stream(rest));
            self.stream(leases, streamed).await?;
            rest = self.gather(leases, behind).await?;
        }
        Ok(())
    }

    /// How many messages may be gathered at a time; none, as long as their size cannot be told.
    pub(super) fn window(&self) -> u32 {
        let (messages, octets) = self.literals;
        let window = match messages {
            _ if self.wish.tiny => return WIDE_WINDOW,
            0 if !self.wish.content => GATHERED / HEADERS,
            _ if self.wish.content && messages < SAMPLE => 0,
            _ => GATHERED * messages / octets.max(1),
        };
        u32::try_from(window).map_or(WINDOW, |window| window.min(WINDOW))
    }

    /// How many of these steps are not to be gathered.
    fn to_stream(&self, steps: &[Step]) -> usize {
        let (messages, _) = self.literals;
        match self.window() {
            0 => {
                let mut missing = SAMPLE.saturating_sub(messages);
                let mut is_sample = |step: &Step| {
                    let more = missing > 0;
                    missing = missing.saturating_sub(step.len.into());
                    more
                };
                steps.iter().take_while(|step| is_sample(step)).count().max(1)
            }
            1..FEW => steps.len().min(LOOK),
            window => steps.iter().take_while(|step| step.len > window).count(),
        }
    }

    /// Runs steps one after the other, and passes on what comes as it comes.
    pub(super) async fn stream(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        steps: &[Step],
    ) -> Result<(), Broken> {
        let mut cursor = self.numbering.cursor();
        let mut sent: Sides<VecDeque<(usize, Vec<Pending>)>> = Sides::default();
        let mut next = 0;
        for (at, step) in steps.iter().enumerate() {
            while next < steps.len() && sent[steps[next].side].len() < AHEAD {
                let side = steps[next].side;
                let conn = connection(leases, side)?;
                let pending = self.ask(conn, side, &steps[next].uids()).await?;
                sent[side].push_back((next, pending));
                next += 1;
            }
            for side in Side::BOTH {
                if let Some(conn) = &mut leases[side] {
                    conn.flush().await?;
                }
            }
            let conn = connection(leases, step.side)?;
            let Some((asked, pending)) = sent[step.side].pop_front() else { continue };
            debug_assert_eq!(asked, at, "a side answers its steps in order");
            let answered = self.answers(conn, step, pending, &mut cursor).await?;
            self.note_missing(step, &answered);
        }
        Ok(())
    }

    pub(super) async fn ask(
        &self,
        conn: &mut Conn,
        side: Side,
        wanted: &UidSet<SideUid>,
    ) -> Result<Vec<Pending>, BackendError> {
        // Nothing may be unanswered when this has to ask for news, so only the first step does.
        let announced = if conn.is_clean() {
            ensure_announced(conn, wanted).await?
        } else {
            conn.selected().map(|s| s.announced().clone()).unwrap_or_default()
        };
        // A reply to what only fills a hole is dropped; a FETCH that sets \Seen hits none.
        let sets = wanted.spanned(&announced);
        let since = match self.changed_since {
            Some(since) => format!(" (CHANGEDSINCE {})", since[side]),
            None => String::new(),
        };
        // By its MODSEQ a change is known of which nobody was told: others want to hear of it.
        let counts = conn.profile().condstore() && self.wish.flags && !self.wish.mod_seq;
        let counted = if counts && self.others { " MODSEQ" } else { "" };
        let items = &self.items;
        let pending = sets
            .chunks_of(MAX_COMMAND)
            .map(|set| conn.queue(&text(&format!("UID FETCH {set} ({items}{counted}){since}"))))
            .collect();
        Ok(pending)
    }

    async fn answers(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        pending: Vec<Pending>,
        cursor: &mut Cursor,
    ) -> Result<UidSet<SideUid>, Broken> {
        let mut answered = UidSet::new();
        let wanted = step.uids();
        if !self.insist(conn, step, &wanted, pending, cursor, &mut answered).await? {
            self.one_by_one(conn, step, cursor, &mut answered).await?;
        }
        Ok(answered)
    }

    /// Takes the answers to what was asked, which is asked again where the server has no time just
    /// now. False if not all came; why is noted.
    pub(super) async fn insist(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        wanted: &UidSet<SideUid>,
        mut pending: Vec<Pending>,
        cursor: &mut Cursor,
        answered: &mut UidSet<SideUid>,
    ) -> Result<bool, Broken> {
        let mut pace = Pace::default();
        loop {
            let before = answered.len();
            let put_off = match self.take(conn, step, pending, cursor, answered).await? {
                Taken::All => return Ok(true),
                Taken::Torn => return Ok(false),
                Taken::PutOff(put_off) => put_off,
            };
            if answered.len() > before {
                pace = Pace::default();
            }
            let Some(pause) = pace.after(&put_off) else {
                return Err(conn.answer("UID FETCH", &put_off).into());
            };
            self.client.patiently(sleep(pause)).await?;
            pending = self.ask(conn, step.side, &wanted.subtract(answered)).await?;
        }
    }

    /// A server said NO, perhaps for one message alone, and then gave nothing of those behind it:
    /// the first that is missing is asked for on its own, then the others together, and so on.
    pub(super) async fn one_by_one(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        cursor: &mut Cursor,
        answered: &mut UidSet<SideUid>,
    ) -> Result<(), Broken> {
        let announced = conn.selected().map(|s| s.announced().clone()).unwrap_or_default();
        let mut rest = step.uids().intersect(&announced).subtract(answered);
        for _ in 0..REFUSED {
            let Some(first) = rest.first() else { return Ok(()) };
            let first: UidSet<SideUid> = [first].into_iter().collect();
            rest = rest.subtract(&first);
            for set in [&first, &rest.clone()] {
                let pending = self.ask(conn, step.side, set).await?;
                let whole = self.insist(conn, step, set, pending, cursor, answered).await?;
                if whole && set == &rest {
                    return Ok(());
                }
            }
            rest = rest.subtract(answered);
        }
        Ok(())
    }

    /// Takes the answers to what was asked.
    async fn take(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        pending: Vec<Pending>,
        cursor: &mut Cursor,
        answered: &mut UidSet<SideUid>,
    ) -> Result<Taken, Broken> {
        conn.flush().await?;
        let mut all = Taken::All;
        let mut items = Vec::new();
        for pending in pending {
            loop {
                match self.event(conn).await? {
                    Event::Fetch { seq, text, literal } => {
                        let reply = FirstPiece { seq, text, literal };
                        let known = (&mut *cursor, &*answered);
                        let uid = self.reply(conn, step, reply, known, &mut items).await?;
                        if let Some(uid) = uid {
                            answered.insert(uid);
                        }
                        if self.client.is_full() {
                            self.send(&[]).await?;
                        }
                    }
                    Event::Response(response) => {
                        if !matches!(response, Response::Tagged { .. }) {
                            self.mailbox.learn_flags(conn);
                            continue;
                        }
                        if let Some(done) = conn.tagged(pending, response, Vec::new())? {
                            all = all.and(self.taken(conn, done)?);
                            break;
                        }
                    }
                    Event::Chunk { .. } | Event::More { .. } => {
                        return Err(conn.protocol("a literal outside of a FETCH".into()).into());
                    }
                }
            }
        }
        Ok(all)
    }

    /// What an answer means. A NO that may be due to one message is noted; a BAD never is.
    pub(super) fn taken(&mut self, conn: &Conn, done: Done) -> Result<Taken, BackendError> {
        if done.is_ok() {
            return Ok(Taken::All);
        }
        if Pace::default().after(&done).is_some() {
            return Ok(Taken::PutOff(done));
        }
        let refused = conn.answer("UID FETCH", &done);
        if done.status != Status::No {
            return Err(refused);
        }
        tracing::warn!(mailbox = %self.mailbox.name(), "{refused}");
        self.refused = Some(refused);
        Ok(Taken::Torn)
    }

    /// Passes one reply on. Returns whose it was, if it was an answer; a second one for the same
    /// message is news.
    async fn reply(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        first: FirstPiece,
        (cursor, answered): (&mut Cursor, &UidSet<SideUid>),
        items: &mut Vec<Item>,
    ) -> Result<Option<SideUid>, Broken> {
        let FirstPiece { seq, text, literal } = first;
        let Some(mut scan) = read_items(&text, items) else {
            tracing::warn!(mailbox = %self.mailbox.name(), side = %step.side, "unreadable FETCH");
            skip(conn, literal).await?;
            return Ok(None);
        };
        let hollow = self.is_hollow(literal, items);
        let known = |uid| if hollow { None } else { cursor.seq(uid) };
        let found = self.found(conn, step, (seq, &text, items), answered, known);
        let Some((Found { side_uid, uid, place, mod_seq }, seq)) = found else {
            skip(conn, literal).await?;
            return Ok(None);
        };

        let wish = Arc::clone(&self.wish);
        let decides = place.authority() == step.side;
        let mut writer = Writer::new(&wish);
        writer.keep_flags = decides && (wish.flags || self.seen_set[step.side].contains(side_uid));
        writer.mod_seq = self.mod_seq_told(step.side, mod_seq.filter(|_| decides)).await?;
        self.beside(decides, uid, &mut writer);
        if writer.keep_flags || writer.flags.is_some() {
            self.tell_offered();
        }
        let email = self.emails.as_ref().map(|emails| emails.of(uid));
        writer.begin(seq, uid, email, &mut self.client.out);
        let mut segment = text;
        let mut literal = literal;
        let mut tee: Option<Tee> = None;
        loop {
            writer.items(&segment, items, &mut self.client.out);
            let Some(announced) = literal else { break };
            self.client.out.extend_from_slice(b"\r\n");
            let mut collecting = self.tee(place, announced, (&segment, items));
            self.literal(conn, &mut collecting).await?;
            self.literals.1 += announced.octets;
            tee = collecting.or(tee);
            match conn.event().await.map_err(cut)? {
                Event::More { text, literal: next } => {
                    items.clear();
                    if scan.segment(&text, 0, items).is_err() {
                        let what = conn.protocol("unreadable FETCH behind a literal".into());
                        return Err(cut(what));
                    }
                    segment = text;
                    literal = next;
                }
                _ => return Err(cut(conn.protocol("a FETCH broke off".into()))),
            }
        }
        writer.end(&mut self.client.out);
        self.literals.0 += 1;
        self.done.push(uid);
        self.opened(uid, place, tee);
        Ok(Some(side_uid))
    }

    /// Dovecot begins a reply, and hangs up behind it where it cannot read the content.
    pub(super) fn is_hollow(&self, literal: Option<Literal>, items: &[Item]) -> bool {
        self.wish.content
            && literal.is_none()
            && !items.iter().any(|item| item.kind == ItemKind::Body)
    }

    /// Collects the literal that this text announces for the copier, if it is a message to be carried.
    pub(super) fn tee(
        &self,
        place: Place,
        announced: Literal,
        (text, items): (&[u8], &[Item]),
    ) -> Option<Tee> {
        let is_message = announces_message(text, items) && matches!(place, Place::Old(_));
        self.copier.as_ref().filter(|_| is_message)?.tee(announced.octets)
    }

    /// The client has seen a message's content.
    pub(super) fn opened(&self, uid: Uid, place: Place, tee: Option<Tee>) {
        if let (Some(copier), Place::Old(_), true) = (&self.copier, place, self.wish.content) {
            copier.opened(&self.mailbox, uid, tee);
        }
    }

    /// The next event. What lies here already is taken without looking at a clock.
    pub(super) async fn event(&mut self, conn: &mut Conn) -> Result<Event, Broken> {
        match conn.event_at_hand()? {
            Some(event) => Ok(event),
            None => Ok(self.client.patiently(conn.event()).await??),
        }
    }

    /// Whose reply this is, if it is an answer that is wanted, and whatever `wanted` knows of that
    /// message. A second answer for the same message is news, as is what nobody asked for.
    pub(super) fn found<T>(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        (seq, text, items): (u32, &[u8], &[Item]),
        answered: &UidSet<SideUid>,
        wanted: impl FnOnce(Uid) -> Option<T>,
    ) -> Option<(Found, T)> {
        let mod_seq = told_mod_seq(text, items);
        if let Some(told) = mod_seq {
            conn.note_mod_seq(told);
        }
        let side_uid = told_uid(text, items).or_else(|| conn.selected()?.uid(seq))?;
        let again = answered.contains(side_uid) || !is_answer(items, &self.wish);
        let found = if again { None } else { step.find(side_uid) };
        let found = found.and_then(|(uid, place)| Some((uid, place, wanted(uid)?)));
        let flags = told_flags(text, items);
        let Some((uid, place, known)) = found else {
            // Unasked: news for everybody, when the connection is given back.
            if let Some(flags) = flags {
                conn.note_flags(side_uid, Bytes::copy_from_slice(&flags));
            }
            return None;
        };
        if let Some(flags) = flags.filter(|_| place.authority() == step.side) {
            self.compare(conn, (uid, side_uid), &flags, mod_seq);
        }
        Some((Found { side_uid, uid, place, mod_seq }, known))
    }

    /// Flags that the client is told: if nobody else was told of them, that is news for all, and
    /// also where the server takes them back later.
    pub(super) fn compare(
        &mut self,
        conn: &mut Conn,
        (uid, side_uid): (Uid, SideUid),
        flags: &[u8],
        mod_seq: Option<u64>,
    ) {
        let until = self.told_until[conn.side()];
        let changed = mod_seq.zip(until).is_some_and(|(told, until)| told > until);
        if (changed && self.others)
            || self.mailbox.were_others(uid, flags)
            || conn.has_news_of(side_uid)
        {
            let flags = Bytes::copy_from_slice(flags);
            self.just_told.insert(uid, flags.clone());
            conn.note_flags(side_uid, flags);
        }
    }

    /// Tells of keywords before they are used.
    pub(super) fn tell_offered(&mut self) {
        tell_offered(&self.mailbox, self.read_only, &mut self.offered, &mut self.client.out);
    }

    async fn literal(&mut self, conn: &mut Conn, tee: &mut Option<Tee>) -> Result<(), Broken> {
        loop {
            match conn.event().await.map_err(cut)? {
                Event::Chunk { octets, last } => {
                    if let Some(collecting) = tee
                        && collecting.push(&octets).is_err()
                    {
                        // It is read again by the copier.
                        *tee = None;
                    }
                    self.send(&octets).await?;
                    if last {
                        return Ok(());
                    }
                }
                _ => return Err(cut(conn.protocol("a literal broke off".into()))),
            }
        }
    }

    /// Sends octets. While the client is slow, the connections that wait for it count no more.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        if self.client.gather(octets) {
            return Ok(());
        }
        let sending = self.client.octets(octets);
        tokio::pin!(sending);
        match tokio::time::timeout(SLOW, &mut sending).await {
            Ok(sent) => sent,
            Err(_) => {
                for seat in &self.seats {
                    seat.give_way();
                }
                sending.await
            }
        }
    }

    /// The message over which a side hung up, if that can be told: where content is asked for,
    /// messages are answered one after the other.
    pub fn culprit(&self, left: &UidSet<Uid>, side: Side) -> Option<Uid> {
        let view = self.mailbox.view();
        let mut runs = view.map.intersect(left);
        let run = runs.find(|run| run.place.authority() == side)?;
        self.wish.content.then_some(run.uid)
    }

    pub(super) fn note_missing(&mut self, step: &Step, answered: &UidSet<SideUid>) {
        if answered.len() >= step.len || self.changed_since.is_some() {
            return;
        }
        for uid in step.uids().subtract(answered).iter() {
            match step.find(uid) {
                // The other side may give it.
                Some((uid, Place::Both { .. })) => {
                    self.missing.insert(uid);
                }
                Some((uid, Place::Old(_))) => self.not_given(uid),
                _ => {}
            }
        }
    }

    /// Old did not give the content of a message: the copier finds out why, and notes it.
    pub fn not_given(&self, uid: Uid) {
        if let (Some(copier), true) = (&self.copier, self.wish.content) {
            copier.opened(&self.mailbox, uid, None);
        }
    }

    /// What the client is told for a side's MODSEQ, if it wants to see it.
    pub(super) async fn mod_seq_told(
        &self,
        side: Side,
        told: Option<u64>,
    ) -> Result<Option<u64>, Broken> {
        match told.filter(|_| self.wish.mod_seq) {
            Some(told) => {
                self.mailbox.mod_seq_of(side, told).await.map(Some).map_err(Broken::Between)
            }
            None => Ok(None),
        }
    }
}

/// Whose a reply is.
pub(super) struct Found {
    pub side_uid: SideUid,
    pub uid: Uid,
    pub place: Place,
    /// As the server told it.
    pub mod_seq: Option<u64>,
}

/// Finds the items in a reply's first text.
pub(super) fn read_items(text: &[u8], items: &mut Vec<Item>) -> Option<FetchScan> {
    items.clear();
    let (mut scan, _, from) = FetchScan::start(text)?;
    scan.segment(text, from, items).ok()?;
    Some(scan)
}

/// A reply up to its first literal.
pub(super) struct FirstPiece {
    pub seq: u32,
    pub text: Bytes,
    pub literal: Option<Literal>,
}

pub(super) fn connection(
    leases: &mut Sides<Option<Lease>>,
    side: Side,
) -> Result<&mut Lease, Broken> {
    leases[side].as_mut().ok_or_else(|| {
        let why = "no connection was lent".to_owned();
        Broken::Between(BackendError::Away { side, why }.into())
    })
}

/// An error within a reply: the client has seen its beginning, so only hanging up is honest.
fn cut(e: BackendError) -> Broken {
    tracing::warn!("the client is disconnected within a message: {e}");
    Broken::Within(ClientError::Closed)
}

/// Passes over the rest of a reply that nobody wants.
pub(super) async fn skip(conn: &mut Conn, literal: Option<Literal>) -> Result<(), Broken> {
    let mut literal = literal;
    while literal.is_some() {
        loop {
            match conn.event().await? {
                Event::Chunk { last: true, .. } => break,
                Event::Chunk { .. } => {}
                _ => return Err(conn.protocol("a literal broke off".into()).into()),
            }
        }
        match conn.event().await? {
            Event::More { literal: next, .. } => literal = next,
            _ => return Err(conn.protocol("a FETCH broke off".into()).into()),
        }
    }
    Ok(())
}
