//! One connection to one server: commands out, events in.
//!
//! Replies come as [`Event`]s in the order of the wire. A FETCH comes piece by piece, so that a
//! literal is never held whole; everything else comes as one complete [`Response`]. What changes
//! the selected mailbox (EXISTS, EXPUNGE, unasked FLAGS) is noted in [`Selected`] on the way.
//!
//! All reading state lives in the struct, so dropping the future of [`Conn::event`] loses nothing.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tracing::trace;

use super::select::Selected;
use super::{BackendError, Learned, Pace, Profile, Strain, measure};
use crate::base::{Side, Trouble, metrics};
use crate::config::{Backend, Quirk};
use crate::imap::framer::{Framer, Literal, Piece};
use crate::imap::response::{self, Code, Response, Status, UntaggedStatus};
use crate::imap::write::{Part, Parts};
use crate::net::Stream;

/// A reply without its literals; longer ones are a fault of the server.
const MAX_LINE: usize = 8 << 20;
/// A literal inside a reply that is taken whole (a mailbox name in LIST, say); a longer one costs
/// the connection.
pub const MAX_INLINE: u64 = 1 << 20;
/// Room asked for before each read: TLS gives at most 16 KiB a record, plain sockets fill it all.
const READ_AHEAD: usize = 64 << 10;
/// The same where little will come, and perhaps for long nothing.
const IDLE_ROOM: usize = 1 << 10;

/// What a server said.
#[derive(Debug)]
pub enum Event {
    /// A whole reply that is not a FETCH.
    Response(Response),
    /// The first text of an untagged FETCH; with `literal`, its octets follow.
    Fetch {
        /// The server's sequence number.
        seq: u32,
        /// From `*` to the line's end or the literal's announcement.
        text: Bytes,
        /// The literal that follows, if any.
        literal: Option<Literal>,
    },
    /// Octets of a FETCH's literal.
    Chunk {
        /// Some of them.
        octets: Bytes,
        /// Whether they are the last.
        last: bool,
    },
    /// Text of a FETCH behind a literal.
    More {
        /// To the line's end or the next literal's announcement.
        text: Bytes,
        /// The literal that follows, if any.
        literal: Option<Literal>,
    },
}

/// A command that was sent and not yet answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "its tagged answer must be read before the connection can be lent again"]
pub struct Pending(u32);

/// How a command ended, with what came before.
#[derive(Debug)]
pub struct Done {
    /// OK, NO or BAD.
    pub status: Status,
    /// The bracketed code of the tagged answer.
    pub code: Option<Code>,
    /// The server's words.
    pub text: Bytes,
    /// Untagged replies except FETCH, EXISTS, RECENT and EXPUNGE.
    pub untagged: Vec<Response>,
}

impl Done {
    /// Whether the server said OK.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// The server's words, for logs and for clients: printable ASCII only.
    pub fn words(&self) -> String {
        words(&self.text)
    }
}

/// Tells connections apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnId(pub u64);

/// An authenticated connection (or one on its way to be).
pub struct Conn {
    id: ConnId,
    side: Side,
    pub(super) stream: Stream,
    framer: Framer,
    input: BytesMut,
    output: Vec<u8>,
    /// Text and inlined literals of a reply that is not complete yet.
    unit: BytesMut,
    /// Something has come since the last wait.
    heard: bool,
    in_fetch: bool,
    inline_left: u64,
    profile: Profile,
    mask: BTreeSet<String>,
    quirks: BTreeSet<Quirk>,
    last_tag: u32,
    unanswered: VecDeque<u32>,
    /// What they are, and since when.
    timed: VecDeque<(u32, &'static str, Instant)>,
    /// Commands that wait for the answer to the one before, where the server wants it so.
    waiting: VecDeque<Vec<u8>>,
    /// Whether the last command was sent before the one before it was answered, and how many were
    /// answered since none was under way.
    pipelines: bool,
    in_row: u32,
    selected: Option<Selected>,
    patience: Duration,
    broken: bool,
    pub(super) greeting: Box<str>,
    /// Told what the server offers and shows, and where it cannot keep up.
    reports: Option<(Arc<Learned>, Arc<Strain>)>,
}

impl Conn {
    /// A connection that has just been opened; nothing was said yet.
    pub(super) fn new(side: Side, stream: Stream, backend: &Backend, patience: Duration) -> Conn {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Conn {
            id: ConnId(LAST.fetch_add(1, Ordering::Relaxed)),
            side,
            stream,
            framer: Framer::for_server(MAX_LINE),
            input: BytesMut::new(),
            output: Vec::new(),
            unit: BytesMut::new(),
            heard: false,
            in_fetch: false,
            inline_left: 0,
            profile: Profile::default(),
            mask: backend.mask.clone(),
            quirks: backend.quirks.clone(),
            last_tag: 0,
            unanswered: VecDeque::new(),
            timed: VecDeque::new(),
            waiting: VecDeque::new(),
            pipelines: false,
            in_row: 0,
            selected: None,
            patience,
            broken: false,
            greeting: "".into(),
            reports: None,
        }
    }

    /// Which connection this is.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Whose connection this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// What the server said when it was connected to, as printable ASCII.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The version of TLS that is spoken, if any is.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.stream.tls_version()
    }

    /// What the server can do.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The mailbox that is selected.
    pub fn selected(&self) -> Option<&Selected> {
        self.selected.as_ref()
    }

    /// The mailbox that is selected, to take news from.
    pub fn selected_mut(&mut self) -> Option<&mut Selected> {
        self.selected.as_mut()
    }

    /// The server told its capabilities. Those for logging in with a token it tells only as long as
    /// nobody is logged in: they are kept.
    pub(super) fn offers(&mut self, mut names: Vec<String>) {
        let for_tokens = self.profile.mechanisms_for_tokens();
        names.extend(for_tokens.map(|mechanism| format!("AUTH={}", mechanism.name())));
        self.profile = Profile::new(names, &self.mask, &self.quirks);
        if let Some((learned, _)) = &self.reports {
            self.profile = learned.note(self.side, &self.profile);
        }
    }

    /// The server shows a quirk.
    pub fn shows(&mut self, quirk: Quirk) {
        self.profile.add(quirk);
        if let Some((learned, _)) = &self.reports {
            learned.note_quirk(self.side, quirk);
        }
    }

    /// Forgets all that was said in clear: what lies unread behind the OK to STARTTLS is an
    /// injection (FIELD §2), and nothing that was offered before is believed.
    pub(super) fn forget_clear(&mut self) {
        self.input.clear();
        self.framer = Framer::for_server(MAX_LINE);
        self.profile = Profile::default();
    }

    /// Compresses from now on, after the server's OK to COMPRESS. What the server sent behind that
    /// is compressed already.
    pub(super) fn deflated(mut self) -> Conn {
        self.stream = self.stream.deflated(&self.input.split());
        self.framer = Framer::for_server(MAX_LINE);
        self
    }

    /// Logged in, it tells here from now on what the server offers and shows, and where it cannot
    /// keep up.
    pub fn report_to(&mut self, learned: &Arc<Learned>, strain: &Arc<Strain>) {
        self.profile = learned.note(self.side, &self.profile);
        self.reports = Some((Arc::clone(learned), Arc::clone(strain)));
    }

    fn note_strain(&self) {
        if let Some((_, strain)) = &self.reports {
            strain.note(Instant::now());
        }
    }

    /// Gives back what only a busy connection needs.
    pub(super) fn rest(&mut self) {
        self.stream.rest();
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    pub(super) fn set_selected(&mut self, selected: Option<Selected>) {
        self.selected = selected;
    }

    /// Whether the connection can be lent again: unbroken, and every command answered.
    pub fn is_clean(&self) -> bool {
        !self.broken && self.unanswered.is_empty() && !self.in_fetch
    }

    /// Whether a command's answer is still to come: where several are on their way, a server may
    /// answer a later one first, and whoever reads for that one passes over the other's.
    pub fn awaits(&self, pending: Pending) -> bool {
        self.unanswered.contains(&pending.0)
    }

    /// Takes what the server said while nobody listened, without waiting. Asked of an idle
    /// connection before it is lent again: an error says that it is dead.
    pub async fn catch_up(&mut self) -> Result<(), BackendError> {
        loop {
            while let Some(piece) = self
                .framer
                .next(&mut self.input)
                .map_err(|e| BackendError::Protocol { side: self.side, what: e.to_string() })?
            {
                match self.take(piece)? {
                    None | Some(Event::Response(_)) => {}
                    Some(Event::Fetch { seq, text, literal }) => {
                        let fetched = self.gather(seq, text, literal).await?;
                        self.note(fetched);
                    }
                    Some(Event::Chunk { .. } | Event::More { .. }) => {
                        return Err(self.protocol("a literal outside of a FETCH".into()));
                    }
                }
            }
            self.input.reserve(IDLE_ROOM);
            match self.stream.read_buf(&mut self.input).now_or_never() {
                None => return Ok(()),
                Some(Ok(0)) => {
                    let gone = Err(io::ErrorKind::UnexpectedEof.into());
                    return self.io(Ok(gone), "idle");
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return self.io(Ok(Err(e)), "idle"),
            }
        }
    }

    /// Runs a command and gives its end, sent again where the server has no time just now. FETCH
    /// data that comes along is taken for news.
    pub async fn run(&mut self, command: &Parts) -> Result<Done, BackendError> {
        let mut pace = Pace::default();
        loop {
            let done = self.run_once(command).await?;
            match pace.after(&done) {
                Some(pause) => sleep(pause).await,
                None => return Ok(done),
            }
        }
    }

    /// The same for a command that may have been done in part where it is answered NO, or that
    /// shall not be said twice.
    pub async fn run_once(&mut self, command: &Parts) -> Result<Done, BackendError> {
        let pending = self.send(command).await?;
        self.finish(pending).await
    }

    /// Like [`run`](Self::run), where anything but OK is an error.
    pub async fn must(&mut self, doing: &str, command: &Parts) -> Result<Done, BackendError> {
        let done = self.run(command).await?;
        if done.is_ok() { Ok(done) } else { Err(self.answer(doing, &done)) }
    }

    /// Sends a command, waiting for `+` where it has literals and the server lacks LITERAL+. Then
    /// no other command may be unanswered.
    pub async fn send(&mut self, command: &Parts) -> Result<Pending, BackendError> {
        let pending = match self.begin(command).await? {
            Ok(pending) => pending,
            Err(done) => return Err(self.answer("sending a literal", &done)),
        };
        self.output.extend_from_slice(b"\r\n");
        self.flush().await?;
        Ok(pending)
    }

    /// Queues a command up to its end, without the CRLF; where a literal of it needs the server's
    /// `+`, what stands before is sent and waited for. `Err`: the server's answer instead.
    async fn begin(&mut self, command: &Parts) -> Result<Result<Pending, Done>, BackendError> {
        let pending = self.next_tag(command);
        for part in command.as_slice() {
            match part {
                Part::Text(text) => self.output.extend_from_slice(text),
                Part::Literal(octets) => {
                    if let Some(done) =
                        self.announce(pending, octets.len() as u64, octets.contains(&0)).await?
                    {
                        return Ok(Err(done));
                    }
                    self.output.extend_from_slice(octets);
                }
            }
        }
        Ok(Ok(pending))
    }

    /// Announces a literal, or a literal8 that may hold NUL (RFC 3516 §4.4). `Some`: the server does not want it, and this is its answer.
    async fn announce(
        &mut self,
        pending: Pending,
        octets: u64,
        binary: bool,
    ) -> Result<Option<Done>, BackendError> {
        // A server without BINARY is given the octets as any others, and may refuse them.
        if binary && self.profile.can("BINARY") {
            self.output.push(b'~');
        }
        if self.profile.literal_plus() {
            self.output.extend_from_slice(format!("{{{octets}+}}\r\n").as_bytes());
            return Ok(None);
        }
        self.output.extend_from_slice(format!("{{{octets}}}\r\n").as_bytes());
        self.flush().await?;
        self.await_go_on(pending).await
    }

    /// Waits for `+`. `Some`: the server answered the command instead, and wants no literal.
    pub(super) async fn await_go_on(
        &mut self,
        pending: Pending,
    ) -> Result<Option<Done>, BackendError> {
        Ok(self.await_challenge(pending).await?.err())
    }

    /// The same with what stands behind the `+`.
    pub(super) async fn await_challenge(
        &mut self,
        pending: Pending,
    ) -> Result<Result<Bytes, Done>, BackendError> {
        loop {
            match self.event().await? {
                Event::Response(Response::Continue { text }) => return Ok(Ok(text)),
                Event::Response(response @ Response::Tagged { .. }) => {
                    if let Some(done) = self.tagged(pending, response, Vec::new())? {
                        return Ok(Err(done));
                    }
                }
                Event::Fetch { seq, text, literal } => self.take_note(seq, text, literal).await?,
                _ => {}
            }
        }
    }

    /// Queues a command that is nothing but text, without sending it yet. For commands that are
    /// pipelined.
    pub fn queue(&mut self, command: &Parts) -> Pending {
        debug_assert!(!command.has_literal(), "a literal may have to wait for the server");
        let kept = self.output.len();
        let waits = self.profile.shows(Quirk::OneAtATime) && !self.unanswered.is_empty();
        self.pipelines = !self.unanswered.is_empty() && !waits;
        let pending = self.next_tag(command);
        for part in command.as_slice() {
            let (Part::Text(octets) | Part::Literal(octets)) = part;
            self.output.extend_from_slice(octets);
        }
        self.output.extend_from_slice(b"\r\n");
        if waits {
            self.waiting.push_back(self.output.split_off(kept));
        }
        pending
    }

    fn next_tag(&mut self, command: &Parts) -> Pending {
        self.last_tag += 1;
        self.unanswered.push_back(self.last_tag);
        let name = match command.as_slice().first() {
            Some(Part::Text(text)) => measure::command_name(text),
            _ => "other",
        };
        self.timed.push_back((self.last_tag, name, Instant::now()));
        self.output.extend_from_slice(format!("f{} ", self.last_tag).as_bytes());
        Pending(self.last_tag)
    }

    /// Begins a command whose last literal the caller streams: when this returns, its octets may
    /// follow. `Err`: the server does not want them, and this is its answer.
    pub async fn begin_streamed(
        &mut self,
        command: &Parts,
        octets: u64,
        binary: bool,
    ) -> Result<Result<Pending, Done>, BackendError> {
        let pending = match self.begin(command).await? {
            Ok(pending) => pending,
            refused => return Ok(refused),
        };
        Ok(match self.announce(pending, octets, binary).await? {
            None => Ok(pending),
            Some(done) => Err(done),
        })
    }

    /// Goes on with a command behind a streamed literal, to another one. `Some`: the server does
    /// not want it, and this is its answer.
    pub async fn go_on_streamed(
        &mut self,
        pending: Pending,
        more: &Parts,
        octets: u64,
        binary: bool,
    ) -> Result<Option<Done>, BackendError> {
        for part in more.as_slice() {
            match part {
                Part::Text(text) => self.output.extend_from_slice(text),
                Part::Literal(octets) => {
                    if let Some(done) =
                        self.announce(pending, octets.len() as u64, octets.contains(&0)).await?
                    {
                        return Ok(Some(done));
                    }
                    self.output.extend_from_slice(octets);
                }
            }
        }
        self.announce(pending, octets, binary).await
    }

    /// Queues raw octets: a part of a streamed literal, or `DONE`.
    pub fn queue_octets(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }

    /// How many octets are queued and not sent yet.
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// Writes octets of a streamed literal from where they lie.
    pub async fn write_octets(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        self.flush().await?;
        let written = timeout(self.patience, self.stream.write_all(octets)).await;
        self.io(written, "writing")
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> Result<(), BackendError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let work = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let written = timeout(self.patience, work).await;
        self.output.clear();
        if self.output.capacity() > READ_AHEAD {
            self.output = Vec::new();
        }
        self.io(written, "writing")
    }

    fn io<T>(
        &mut self,
        result: Result<io::Result<T>, tokio::time::error::Elapsed>,
        doing: &'static str,
    ) -> Result<T, BackendError> {
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        result.map_err(|source| {
            self.broken = true;
            metrics().trouble(self.side, Trouble::lost);
            if source.kind() == io::ErrorKind::TimedOut {
                self.note_strain();
                if self.pipelines && self.in_row > 0 && !self.unanswered.is_empty() {
                    // It answered the first of several commands, and then no other.
                    self.shows(Quirk::OneAtATime);
                }
            }
            BackendError::Lost { side: self.side, doing, source }
        })
    }

    /// Reads until this command's tagged answer.
    pub async fn finish(&mut self, pending: Pending) -> Result<Done, BackendError> {
        self.flush().await?;
        let mut untagged = Vec::new();
        loop {
            match self.event().await? {
                Event::Response(response) => match response {
                    Response::Tagged { .. } => match self.tagged(pending, response, untagged)? {
                        Some(done) => return Ok(done),
                        None => untagged = Vec::new(),
                    },
                    Response::Exists(_) | Response::Recent(_) | Response::Expunge(_) => {}
                    other => untagged.push(other),
                },
                Event::Fetch { seq, text, literal } => {
                    let fetched = self.gather(seq, text, literal).await?;
                    self.note(fetched);
                }
                Event::Chunk { .. } | Event::More { .. } => {
                    return Err(self.protocol("a literal outside of a FETCH".into()));
                }
            }
        }
    }

    /// Takes a tagged answer: `Some` if it ends `pending`, `None` if it ends an earlier command.
    pub fn tagged(
        &mut self,
        pending: Pending,
        response: Response,
        untagged: Vec<Response>,
    ) -> Result<Option<Done>, BackendError> {
        let Response::Tagged { tag, status, code, text } = response else {
            return Err(self.protocol("a tagged answer was expected".into()));
        };
        let number = std::str::from_utf8(&tag)
            .ok()
            .and_then(|t| t.strip_prefix('f'))
            .and_then(|t| t.parse::<u32>().ok());
        let Some(number) = number.filter(|n| self.unanswered.contains(n)) else {
            return Err(self.protocol(format!("an answer to no command: {}", words(&tag))));
        };
        self.unanswered.retain(|tag| *tag != number);
        if let Some(at) = self.timed.iter().position(|(tag, ..)| *tag == number)
            && let Some((_, command, since)) = self.timed.remove(at)
        {
            measure::answered(self.side, command, status, since.elapsed());
        }
        // Sent before anything else is read.
        self.output.extend(self.waiting.pop_front().into_iter().flatten());
        self.in_row = if self.unanswered.is_empty() { 0 } else { self.in_row + 1 };
        if matches!(code, Some(Code::Unavailable | Code::Throttled)) {
            self.note_strain();
        }
        Ok((number == pending.0).then_some(Done { status, code, text, untagged }))
    }

    /// The next event. A BYE, a broken connection and silence beyond the patience are errors.
    pub async fn event(&mut self) -> Result<Event, BackendError> {
        self.next_event(self.patience, READ_AHEAD).await
    }

    /// The next event, where it is known that it may take longer (IDLE).
    pub async fn event_within(&mut self, patience: Duration) -> Result<Event, BackendError> {
        self.rest();
        self.next_event(patience, IDLE_ROOM).await
    }

    /// The next event, if it lies here already: much cheaper than waiting for what has come.
    pub fn event_at_hand(&mut self) -> Result<Option<Event>, BackendError> {
        loop {
            let piece = match self.framer.next(&mut self.input) {
                Ok(piece) => piece,
                Err(e) => return Err(self.protocol(format!("unreadable reply: {e}"))),
            };
            let Some(piece) = piece else { return Ok(None) };
            if let Some(event) = self.take(piece)? {
                return Ok(Some(event));
            }
        }
    }

    async fn next_event(&mut self, patience: Duration, room: usize) -> Result<Event, BackendError> {
        self.flush().await?;
        loop {
            if let Some(event) = self.event_at_hand()? {
                return Ok(event);
            }
            self.input.reserve(room);
            if std::mem::take(&mut self.heard) {
                self.stream.acknowledge();
            }
            let read = timeout(patience, self.stream.read_buf(&mut self.input)).await;
            let read = match read {
                Ok(Ok(0)) => Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                other => other,
            };
            self.io(read, "reading")?;
            self.heard = true;
        }
    }

    fn take(&mut self, piece: Piece) -> Result<Option<Event>, BackendError> {
        if let Piece::Line(text) | Piece::Head { text, .. } = &piece {
            // Never the content of messages, and never what we sent.
            trace!(side = %self.side, "server: {}", words(text));
        }
        match piece {
            Piece::Chunk { octets, last } if self.in_fetch => {
                Ok(Some(Event::Chunk { octets, last }))
            }
            Piece::Chunk { octets, last } => {
                self.unit.extend_from_slice(&octets);
                self.inline_left = if last { 0 } else { self.inline_left };
                Ok(None)
            }
            Piece::Line(text) if self.in_fetch => {
                self.in_fetch = false;
                Ok(Some(Event::More { text, literal: None }))
            }
            Piece::Head { text, literal } if self.in_fetch => {
                Ok(Some(Event::More { text, literal: Some(literal) }))
            }
            Piece::Line(text) => {
                if self.unit.is_empty() {
                    if let Some(seq) = response::is_fetch(&text) {
                        return Ok(Some(Event::Fetch { seq, text, literal: None }));
                    }
                    return self.respond(text).map(Some);
                }
                self.unit.extend_from_slice(&text);
                let unit = self.unit.split().freeze();
                self.respond(unit).map(Some)
            }
            Piece::Head { text, literal } => {
                if self.unit.is_empty()
                    && let Some(seq) = response::is_fetch(&text)
                {
                    self.in_fetch = true;
                    return Ok(Some(Event::Fetch { seq, text, literal: Some(literal) }));
                }
                if literal.octets > MAX_INLINE || self.unit.len() > MAX_LINE {
                    return Err(self.protocol("a reply beyond every measure".into()));
                }
                self.unit.extend_from_slice(&text);
                self.unit.extend_from_slice(b"\r\n");
                Ok(None)
            }
        }
    }

    fn respond(&mut self, unit: Bytes) -> Result<Event, BackendError> {
        let response =
            response::parse(&unit).map_err(|e| self.protocol(format!("unreadable reply: {e}")))?;
        match &response {
            Response::Status { status: UntaggedStatus::Bye, text, .. } => {
                // An answer to our own LOGOUT never comes this way: nobody waits for it.
                self.broken = true;
                let text = words(text);
                // RFC 3501 §7.1.5: in the place of a greeting it refuses the connection.
                if self.greeting.is_empty() {
                    return Err(BackendError::Crowded { side: self.side, text });
                }
                return Err(BackendError::Lost {
                    side: self.side,
                    doing: "reading",
                    source: io::Error::other(format!("the server said BYE {text}")),
                });
            }
            // Some servers offer more, or less, later on.
            Response::Capability(names)
            | Response::Status { code: Some(Code::Capability(names)), .. }
                if self.reports.is_some() =>
            {
                self.offers(names.clone());
            }
            Response::Flags(flags) => {
                if let Some(selected) = &mut self.selected {
                    selected.knows_flags(flags);
                }
            }
            Response::Status { code: Some(Code::PermanentFlags(flags)), .. } => {
                if let Some(selected) = &mut self.selected {
                    selected.keeps_flags(flags);
                }
            }
            Response::Exists(n) => {
                if let Some(selected) = &mut self.selected {
                    selected.exists(*n);
                }
            }
            Response::Expunge(n) => {
                if let Some(selected) = &mut self.selected {
                    selected.expunge(*n);
                }
            }
            Response::Vanished { earlier: false, uids } => {
                if let Some(selected) = &mut self.selected {
                    selected.vanished(uids);
                }
            }
            _ => {}
        }
        Ok(Event::Response(response))
    }

    /// An error of protocol; the connection is not used again.
    pub fn protocol(&mut self, what: String) -> BackendError {
        self.broken = true;
        metrics().trouble(self.side, Trouble::protocol);
        BackendError::Protocol { side: self.side, what }
    }

    /// The error for an answer that was not OK.
    pub fn answer(&self, doing: &str, done: &Done) -> BackendError {
        BackendError::Answer {
            side: self.side,
            doing: doing.to_owned(),
            code: done.code.clone(),
            text: done.words(),
        }
    }
}

/// A command that is nothing but text.
pub fn text(command: &str) -> Parts {
    let mut parts = Parts::new();
    parts.text(command);
    parts
}

/// A server's words as printable ASCII, cut to a length that fits a log line.
pub fn words(text: &[u8]) -> String {
    let printable = |b: &u8| if (b' '..=b'~').contains(b) { *b as char } else { '?' };
    text.iter().take(300).map(printable).collect()
}
