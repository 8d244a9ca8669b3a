//! The connections of one login to one server, lent to whoever needs one.
//!
//! The pool is capped: Dovecot allows ten connections per user and address, and every user comes
//! from the proxy's address. Whoever needs connections of both sides borrows old's first, then
//! new's ([`Side`]'s order), so that there is no circle of waiters; the crate's ARCHITECTURE names
//! the two exceptions and why they do no harm. Watchers have at most half of a pool and give way
//! to whoever waits; the copier uses one connection a side.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::login::connect;
use super::{BackendError, Breaker, Conn, Known, Learned, Origin, Strain};
use crate::base::{MailboxName, Side};
use crate::config::{Backend, BackendLogin, Limits};

/// First pause after a failed connection; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A server that comes back is noticed after this time at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// So often somebody who waits for a lent connection looks whether any is lent still.
const LOOK: Duration = Duration::from_millis(250);
/// An idle connection is kept this long: an idle account shall hold nothing.
const KEEP_IDLE: Duration = Duration::from_secs(60);

/// What a lent connection shall be ready for.
#[derive(Clone, Debug)]
pub enum Want {
    /// Commands that need no mailbox.
    Nothing,
    /// This mailbox selected.
    Mailbox(MailboxName, Option<Known>),
}

/// Connections of one login to one server.
pub struct Pool {
    side: Side,
    backend: Arc<Backend>,
    limits: Arc<Limits>,
    learned: Arc<Learned>,
    strain: Arc<Strain>,
    breaker: Arc<Breaker>,
    slots: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    /// For connections that wait for a slow client: they do not count, up to this many.
    uncounted: Arc<Semaphore>,
    demand: Notify,
    /// A connection was given back.
    returned: Notify,
    /// One clone for each connection that is lent, or about to be.
    lent: Arc<()>,
    state: Mutex<State>,
}

struct State {
    /// A token in it is replaced by a later one.
    login: BackendLogin,
    /// A client's login was judged by it, and let in.
    judged: bool,
    idle: Vec<(Instant, Conn)>,
    /// The server's words when it refused this pool's secret: never tried again.
    refused: Option<String>,
    away: Option<Away>,
    /// Who logged in last: on that client's behalf the next connection is opened.
    origin: Option<Arc<Origin>>,
    /// Why nothing may be asked of this side at all.
    closed: Option<String>,
    /// Rises when mailboxes were deleted or renamed: what was selected before may be another one.
    generation: u64,
}

struct Away {
    until: Instant,
    pause: Duration,
    why: String,
    /// The server is there, and takes no more connections.
    crowded: bool,
}

/// A lent connection. [`Lease::give_back`] is the only way back into the pool; dropping the lease
/// closes the connection, so a command that was broken off never confuses the next borrower.
pub struct Lease {
    conn: Conn,
    pool: Arc<Pool>,
    generation: u64,
    seat: Seat,
    _lent: Arc<()>,
    _watcher: Option<OwnedSemaphorePermit>,
}

/// The seat that a lent connection takes among those that are counted.
#[derive(Clone)]
pub struct Seat {
    slot: Arc<Mutex<OwnedSemaphorePermit>>,
    uncounted: Arc<Semaphore>,
}

impl Seat {
    /// The borrower waits for a slow client: as long as there are few of these, the connection
    /// does not count any more, so that one client which never reads holds up nobody else.
    pub fn give_way(&self) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = !Arc::ptr_eq(slot.semaphore(), &self.uncounted);
        if counted && let Ok(other) = Arc::clone(&self.uncounted).try_acquire_owned() {
            *slot = other;
        }
    }
}

/// The right to one connection of a pool.
#[must_use = "the slot is free again as soon as this is dropped"]
pub struct Slot(OwnedSemaphorePermit);

impl Pool {
    /// An empty pool; nothing is connected yet.
    pub fn new(
        side: Side,
        backend: Arc<Backend>,
        login: BackendLogin,
        limits: Arc<Limits>,
        learned: Arc<Learned>,
        strain: Arc<Strain>,
        breaker: Arc<Breaker>,
    ) -> Arc<Pool> {
        let cap = limits.connections_per_account.max(2);
        Arc::new(Pool {
            side,
            backend,
            limits,
            learned,
            strain,
            breaker,
            slots: Arc::new(Semaphore::new(cap)),
            watchers: Arc::new(Semaphore::new((cap / 2).max(1))),
            uncounted: Arc::new(Semaphore::new(cap)),
            demand: Notify::new(),
            returned: Notify::new(),
            lent: Arc::default(),
            state: Mutex::new(State {
                login,
                judged: false,
                idle: Vec::new(),
                refused: None,
                away: None,
                origin: None,
                closed: None,
                generation: 0,
            }),
        })
    }

    /// Whose connections these are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Lends a connection, opening one if none is idle, waiting if too many are lent.
    pub async fn lend(self: &Arc<Self>, want: &Want) -> Result<Lease, BackendError> {
        let slot = self.slot().await?;
        self.ready(slot.0, None, want).await
    }

    /// Waits for the right to a connection. Where both sides are needed, old's comes first.
    pub async fn slot(&self) -> Result<Slot, BackendError> {
        self.acquire().await.map(Slot)
    }

    /// Lends a connection for a slot that was waited for before.
    pub async fn lend_in(self: &Arc<Self>, slot: Slot, want: &Want) -> Result<Lease, BackendError> {
        self.ready(slot.0, None, want).await
    }

    /// Lends a connection for watching a mailbox, if the account may watch one more.
    pub async fn lend_watcher(
        self: &Arc<Self>,
        want: &Want,
    ) -> Result<Option<Lease>, BackendError> {
        let Ok(watcher) = Arc::clone(&self.watchers).try_acquire_owned() else {
            return Ok(None);
        };
        let slot = self.acquire().await?;
        self.ready(slot, Some(watcher), want).await.map(Some)
    }

    /// Waits until somebody has to wait for a connection: a watcher then gives its own back.
    pub async fn wanted(&self) {
        self.demand.notified().await;
    }

    /// There is no login for this side: whoever wants a connection is told why.
    pub fn refuse(&self, why: String) {
        self.state().refused = Some(why);
    }

    /// The login was judged anew, and its secret found right: where the server refused it before,
    /// it may be asked once more (a password may have come to the new server since).
    pub fn try_again(&self) {
        self.state().refused = None;
    }

    /// What is shown to the server.
    fn login(&self) -> BackendLogin {
        self.state().login.clone()
    }

    /// The same user has logged in with another token, and was let in: an older one, which will not
    /// be let in for much longer, is not needed any more.
    pub fn take_token_of(&self, latest: &Pool) {
        let latest = latest.login();
        let mut state = self.state();
        if state.login.proof.is_token() && latest.proof.is_token() {
            state.login = latest;
            state.refused = None;
        }
    }

    /// Whether the side that judges has let a token in, and does not any more: its user must get
    /// another one.
    pub fn has_stale_token(&self) -> bool {
        let state = self.state();
        state.judged && state.refused.is_some() && state.login.proof.is_token()
    }

    /// Another client has logged in: what is opened from now on is opened on its behalf, though
    /// all clients of the login share it.
    pub fn came_from(&self, origin: &Arc<Origin>) {
        self.state().origin = Some(Arc::clone(origin));
    }

    /// Whether every connection that the login may have is lent.
    pub fn is_busy(&self) -> bool {
        self.slots.available_permits() == 0
    }

    /// Takes a connection that was opened to judge a login; closes it if there are enough.
    pub fn adopt(&self, conn: Conn) {
        let mut state = self.state();
        state.judged = true;
        if state.closed.is_none() && state.idle.len() < self.slots.available_permits() {
            state.idle.push((Instant::now(), conn));
        }
    }

    /// From now on nothing is asked of this side: what is idle is closed, what is lent follows when it
    /// is given back, and nobody is lent anything.
    pub fn close(&self, why: String) {
        let mut state = self.state();
        state.closed = Some(why);
        state.idle.clear();
        drop(state);
        // Watchers give their connections back.
        self.demand.notify_waiters();
    }

    /// The side may be asked again, and is at once, whatever was found before.
    pub fn reopen(&self) {
        let mut state = self.state();
        if state.closed.take().is_some() {
            state.away = None;
        }
    }

    /// Another pool with the same login, to be closed and opened apart from this one.
    pub fn another(&self) -> Arc<Pool> {
        Pool::new(
            self.side,
            Arc::clone(&self.backend),
            self.login(),
            Arc::clone(&self.limits),
            Arc::clone(&self.learned),
            Arc::clone(&self.strain),
            Arc::clone(&self.breaker),
        )
    }

    /// Closes what has been idle for long. Returns whether anything is left.
    pub fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        state.idle.retain(|(since, _)| now.duration_since(*since) < KEEP_IDLE);
        !state.idle.is_empty()
    }

    /// Mailboxes are deleted or renamed on the server: a connection that has one selected by its
    /// former name would be taken for another mailbox that gets this name. Closes what is idle
    /// with a mailbox selected; what is lent follows when it is given back.
    pub fn forget_selected(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.idle.retain(|(_, conn)| conn.selected().is_none());
    }

    /// What a connection knows of folders and rights may be older than what another one just did:
    /// closes what is idle, so that the next command is sent on a new one.
    pub fn renew(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.idle.clear();
    }

    /// Whether the side can be asked at all, as far as is known without asking.
    pub fn is_away(&self) -> bool {
        let (state, now) = (self.state(), Instant::now());
        state.refused.is_some()
            || state.away.as_ref().is_some_and(|a| a.until > now && !a.crowded)
            || self.breaker.is_open(now)
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, BackendError> {
        let slots = Arc::clone(&self.slots);
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            return Ok(slot);
        }
        self.demand.notify_one();
        let slot = timeout(self.limits.backend_command_timeout, slots.acquire_owned()).await;
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            _ => {
                self.strain.note(Instant::now());
                Err(BackendError::Away {
                    side: self.side,
                    why: "all connections of the account are busy".into(),
                })
            }
        }
    }

    fn seat(&self, slot: OwnedSemaphorePermit) -> Seat {
        let uncounted = Arc::clone(&self.uncounted);
        Seat { slot: Arc::new(Mutex::new(slot)), uncounted }
    }

    async fn ready(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        watcher: Option<OwnedSemaphorePermit>,
        want: &Want,
    ) -> Result<Lease, BackendError> {
        let generation = self.state().generation;
        let lease = |conn, lent| Lease {
            conn,
            pool: Arc::clone(self),
            generation,
            seat: self.seat(slot),
            _lent: lent,
            _watcher: watcher,
        };
        let until = Instant::now() + self.limits.backend_command_timeout;
        let (mut conn, lent) = loop {
            // Others wait for who has a connection, and for who is about to have one.
            let lent = Arc::clone(&self.lent);
            while let Some(mut conn) = self.take_idle(want) {
                if conn.catch_up().await.is_err() {
                    continue;
                }
                match prepare(&mut conn, want).await {
                    Ok(()) => return Ok(lease(conn, lent)),
                    // Only a connection that had died unnoticed is worth another try.
                    Err(e) if e.is_lost() => {}
                    Err(e) => {
                        self.put_idle(conn);
                        return Err(e);
                    }
                }
            }
            // Boxed: it is large, and most borrowers never come to it.
            match Box::pin(self.open()).await {
                // There may be fewer connections than are allowed here: one that is lent will do.
                Err(e @ BackendError::Crowded { .. }) => {
                    drop(lent);
                    if !self.is_given_back(until).await {
                        return Err(e);
                    }
                }
                opened => break (opened?, lent),
            }
        };
        if let Err(e) = prepare(&mut conn, want).await {
            self.put_idle(conn);
            return Err(e);
        }
        Ok(lease(conn, lent))
    }

    /// Waits a little for a connection that is lent. False: none is, or it is too late.
    async fn is_given_back(&self, until: Instant) -> bool {
        if Arc::strong_count(&self.lent) == 1 || Instant::now() > until {
            return false;
        }
        self.demand.notify_one();
        // One that is closed instead of being given back tells nobody.
        drop(timeout(LOOK, self.returned.notified()).await);
        true
    }

    async fn open(&self) -> Result<Conn, BackendError> {
        let (origin, login) = {
            let state = self.state();
            if let Some(why) = &state.closed {
                return Err(BackendError::Away { side: self.side, why: why.clone() });
            }
            if let Some(text) = &state.refused {
                return Err(BackendError::Refused {
                    side: self.side,
                    login: state.login.authcid.clone(),
                    text: text.clone(),
                    token: None,
                });
            }
            if let Some(away) = state.away.as_ref().filter(|a| a.until > Instant::now()) {
                if away.crowded {
                    return Err(BackendError::Crowded { side: self.side, text: away.why.clone() });
                }
                return Err(BackendError::Away { side: self.side, why: away.why.clone() });
            }
            (state.origin.clone(), state.login.clone())
        };
        let (backend, limits) = (&self.backend, &self.limits);
        let opened =
            connect(self.side, backend, &login, limits, origin.as_deref(), &self.breaker).await;
        let opened = opened.map(|mut conn| {
            conn.report_to(&self.learned, &self.strain);
            conn
        });
        let mut state = self.state();
        match &opened {
            Ok(_) => state.away = None,
            Err(BackendError::Refused { text, .. }) => state.refused = Some(text.clone()),
            // Nothing was tried.
            Err(BackendError::Away { .. }) => {}
            Err(e) => {
                let pause = state.away.as_ref().map_or(FIRST_PAUSE, |a| a.pause * 2);
                let pause = pause.min(LONGEST_PAUSE);
                // Those that were put off together shall not come back together.
                let until = Instant::now() + pause.mul_f64(0.75 + fastrand::f64() / 2.0);
                let (why, crowded) = match e {
                    BackendError::Crowded { text, .. } => (text.clone(), true),
                    e => (e.to_string(), false),
                };
                state.away = Some(Away { until, pause, why, crowded });
                self.strain.note(Instant::now());
            }
        }
        opened
    }

    fn take_idle(&self, want: &Want) -> Option<Conn> {
        let mut state = self.state();
        let wanted = match want {
            Want::Nothing => None,
            Want::Mailbox(name, _) => Some(name),
        };
        let selected = |c: &Conn| c.selected().map(|s| s.name.clone());
        let fits = |(_, c): &(Instant, Conn)| selected(c).as_ref() == wanted;
        let free = |(_, c): &(Instant, Conn)| c.selected().is_none();
        let at = state
            .idle
            .iter()
            .rposition(fits)
            .or_else(|| state.idle.iter().position(free))
            .or_else(|| (!state.idle.is_empty()).then_some(0))?;
        Some(state.idle.remove(at).1)
    }

    fn put_idle(&self, mut conn: Conn) {
        if conn.is_clean() {
            conn.rest();
            let mut state = self.state();
            if state.closed.is_none() {
                state.idle.push((Instant::now(), conn));
                self.returned.notify_one();
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing under this lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn prepare(conn: &mut Conn, want: &Want) -> Result<(), BackendError> {
    match want {
        Want::Mailbox(name, known) if conn.selected().is_none_or(|s| s.name != *name) => {
            conn.select(name, known.as_ref()).await
        }
        _ => Ok(()),
    }
}

impl Lease {
    /// The connection's seat in the pool, for who may have to wait for a client.
    pub fn seat(&self) -> Seat {
        self.seat.clone()
    }

    /// Gives the connection back to its pool, unless it is broken or a command is unanswered.
    pub fn give_back(self) {
        let current = self.pool.state().generation == self.generation;
        if current || self.conn.selected().is_none() {
            self.pool.put_idle(self.conn);
        }
    }
}

impl Deref for Lease {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}
