//! Watching a mailbox while sessions idle on it: one watcher a side, however many sessions.
//!
//! A watcher runs IDLE where the server has it, else asks with NOOP from time to time. It gives
//! its connection back as soon as somebody waits for one; where the account's connections do not
//! reach, the mailbox is asked from time to time on a connection that is lent for the moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::mailbox::lock;
use super::{Access, AccountError, Mailbox};
use crate::backend::{BackendError, Event, Lease, text};
use crate::base::Side;
use crate::imap::response::Response;

/// Servers may drop an IDLE after 30 minutes (RFC 2177 §3).
const RENEW_IDLE: Duration = Duration::from_secs(25 * 60);
/// The first IDLE after news is renewed so soon, and each quiet one later than that before it: a
/// server may pass over a change that is made in the moment in which IDLE begins, or together with
/// another. Dovecot takes a Maildir for unchanged whose time of change it knows, does so for up to two
/// seconds whoever asks, and looks again by itself after half a minute.
const SETTLE: Duration = Duration::from_secs(1);
/// So many times later.
const LATER: u32 = 3;
/// After giving way, so that whoever waited comes first.
const AFTER_YIELD: Duration = Duration::from_millis(100);
/// Pause after a failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A side that comes back is watched again after this time at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Who idles on a mailbox, and the watchers that run for them.
#[derive(Default)]
pub struct Watching {
    /// What each idler's login may reach; the watchers work with that of any.
    idlers: Vec<Arc<Access>>,
    watch: Option<Watch>,
}

/// The watchers of a mailbox. Dropping it ends them.
struct Watch {
    stop: CancellationToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// While it lives, the mailbox is watched.
pub struct Idle {
    mailbox: Arc<Mailbox>,
    access: Arc<Access>,
}

impl Drop for Idle {
    fn drop(&mut self) {
        let mut watching = lock(&self.mailbox.watching);
        let own = watching.idlers.iter().position(|access| Arc::ptr_eq(access, &self.access));
        own.map(|at| watching.idlers.swap_remove(at));
        if watching.idlers.is_empty() {
            watching.watch = None;
        }
    }
}

impl Mailbox {
    /// Has the mailbox watched on both sides for as long as the result lives.
    pub fn watch(self: &Arc<Self>, access: &Arc<Access>) -> Idle {
        let mut watching = lock(&self.watching);
        watching.idlers.push(Arc::clone(access));
        if watching.watch.is_none() {
            let stop = CancellationToken::new();
            for side in Side::BOTH {
                let (mailbox, stop) = (Arc::clone(self), stop.clone());
                tokio::spawn(async move { mailbox.watch_side(side, &stop).await });
            }
            watching.watch = Some(Watch { stop });
        }
        Idle { mailbox: Arc::clone(self), access: Arc::clone(access) }
    }

    /// What some idler's login may reach, one that can reach this side if there is one.
    fn idlers_access(&self, side: Side) -> Option<Arc<Access>> {
        let watching = lock(&self.watching);
        let able = watching.idlers.iter().find(|access| !access.pools[side].is_away());
        able.or(watching.idlers.first()).map(Arc::clone)
    }

    async fn watch_side(self: Arc<Self>, side: Side, stop: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let Some(access) = self.idlers_access(side) else { return };
            let access = &*access;
            if self.view().names[side].is_none() {
                // A folder that appears on this side is found by the listing of folders, or by the
                // account's next phase.
                let mut changes = self.changes();
                let seen = async {
                    tokio::select! {
                        () = sleep(access.poll_interval) => {}
                        _ = changes.changed() => {}
                    }
                };
                if stop.run_until_cancelled(seen).await.is_none() {
                    return;
                }
                continue;
            }
            match self.watch_once(access, side, stop).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(e) => {
                    debug!(mailbox = %self.name(), %side, "watcher: {e}");
                    if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                        return;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn watch_once(
        self: &Arc<Self>,
        access: &Access,
        side: Side,
        stop: &CancellationToken,
    ) -> Result<(), AccountError> {
        let pool = &access.pools[side];
        let watcher = pool.lend_watcher(&self.want(side)?).await?;
        let mut lease = match watcher {
            Some(lease) if lease.profile().idle() => lease,
            borrowed => {
                let mut lease = match borrowed {
                    Some(lease) => lease,
                    None => pool.lend(&self.want(side)?).await?,
                };
                self.follow(&mut lease).await?;
                self.hear(&mut lease).await?;
                lease.give_back();
                stop.run_until_cancelled(sleep(access.poll_interval)).await;
                return Ok(());
            }
        };
        self.hear(&mut lease).await?;
        let mut renew = SETTLE;
        let gave_way = loop {
            match self.idle_once(&mut lease, stop, access, renew).await? {
                Woken::News => renew = SETTLE,
                Woken::Quiet => renew = (renew * LATER).min(RENEW_IDLE),
                Woken::Stop => break false,
                Woken::Wanted => break true,
            }
        };
        lease.give_back();
        if gave_way {
            sleep(AFTER_YIELD).await;
        }
        Ok(())
    }

    async fn idle_once(
        self: &Arc<Self>,
        lease: &mut Lease,
        stop: &CancellationToken,
        access: &Access,
        renew: Duration,
    ) -> Result<Woken, AccountError> {
        let pending = lease.queue(&text("IDLE"));
        lease.flush().await?;
        let side = lease.side();
        let renew = sleep(renew);
        tokio::pin!(renew);
        // DONE answers the server's `+` (RFC 2177 §3); Courier hangs where it comes before that.
        let (mut entered, mut news) = (false, false);
        let woken = loop {
            if entered && news {
                break Woken::News;
            }
            tokio::select! {
                event = next(lease, entered) => match event? {
                    Event::Response(Response::Continue { .. }) => entered = true,
                    Event::Response(Response::Exists(_) | Response::Expunge(_))
                    | Event::Response(Response::Vanished { .. }) => news = true,
                    Event::Response(tagged @ Response::Tagged { .. }) => {
                        // The server ended it by itself, or refused it.
                        lease.tagged(pending, tagged, Vec::new())?;
                        self.hear(lease).await?;
                        sleep(access.poll_interval).await;
                        return Ok(Woken::News);
                    }
                    Event::Response(_) => {}
                    Event::Fetch { seq, text, literal } => {
                        lease.take_note(seq, text, literal).await?;
                        news = true;
                    }
                    Event::Chunk { .. } | Event::More { .. } => {}
                },
                () = access.pools[side].wanted(), if entered => break Woken::Wanted,
                () = stop.cancelled(), if entered => break Woken::Stop,
                () = &mut renew, if entered => break Woken::Quiet,
            }
        };
        lease.queue_octets(b"DONE\r\n");
        let done = lease.finish(pending).await?;
        if !done.is_ok() {
            return Err(lease.answer("IDLE", &done).into());
        }
        self.hear(lease).await?;
        Ok(woken)
    }
}

/// What an IDLE brings: silence may be long only after it has been entered.
async fn next(lease: &mut Lease, entered: bool) -> Result<Event, BackendError> {
    if entered { lease.event_within(RENEW_IDLE * 2).await } else { lease.event().await }
}

enum Woken {
    News,
    /// Nothing came until the IDLE was to be renewed.
    Quiet,
    Stop,
    Wanted,
}
