//! What clients are offered: what the proxy does itself, and what both servers do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Role;
use crate::backend::SmtpConn;
use crate::base::{Side, Sides};
use crate::config::{Config, Mode, SmtpServer};
use crate::smtp::Extensions;

/// What the servers behind the proxy were found to offer for SMTP, since it was started.
pub struct SmtpOffers {
    config: Arc<Config>,
    services: [Service; 2],
}

#[derive(Default)]
struct Service {
    asked: OnceCell<()>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    sides: Sides<Option<Extensions>>,
    next: Option<Instant>,
}

impl SmtpOffers {
    /// Nothing is known yet.
    pub fn new(config: Arc<Config>) -> Arc<SmtpOffers> {
        Arc::new(SmtpOffers { config, services: Default::default() })
    }

    /// The server of a side for this.
    pub(super) fn server(config: &Config, role: Role, side: Side) -> Option<&SmtpServer> {
        let backend = &config.backends[side];
        match role {
            Role::Submission => backend.submission.as_ref(),
            Role::Inbound { .. } => backend.inbound.as_ref(),
        }
    }

    /// What both servers offer. The first to ask waits until both were asked; a server that could
    /// not be is asked again behind a later client's back, and does not count meanwhile.
    pub(super) async fn common(self: &Arc<Self>, role: Role) -> Extensions {
        let service = self.service(role);
        service.asked.get_or_init(|| self.ask(role)).await;
        let mut found = service.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.next.is_some_and(|next| next <= Instant::now()) {
            found.next = None;
            let offers = Arc::clone(self);
            tokio::spawn(async move { offers.ask(role).await });
        }
        match &found.sides {
            Sides { old: Some(old), new: Some(new) } => old.common(new),
            Sides { old: Some(one), new: None } | Sides { old: None, new: Some(one) } => {
                one.clone()
            }
            Sides { old: None, new: None } => Extensions::default(),
        }
    }

    /// Whether somebody who logged in with a token can send: by a server that takes it, or that
    /// needs none because it is shown a login of the proxy's own.
    pub(super) fn takes_tokens(&self, role: Role) -> bool {
        let found = self.service(role).found.lock().unwrap_or_else(PoisonError::into_inner);
        found.sides.iter().any(|(side, offers)| {
            let mode = &self.config.backends[side].credentials.mode;
            let own = !matches!(mode, Mode::Same | Mode::Learned(_));
            offers.as_ref().is_some_and(|offers| own || offers.for_tokens().is_some())
        })
    }

    /// A connection shows what its server offers now.
    pub(super) fn note(&self, role: Role, side: Side, conn: &SmtpConn) {
        let mut found = self.service(role).found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.sides[side].as_ref() != Some(conn.extensions()) {
            found.sides[side] = Some(conn.extensions().clone());
        }
    }

    fn service(&self, role: Role) -> &Service {
        match role {
            Role::Submission => &self.services[0],
            Role::Inbound { .. } => &self.services[1],
        }
    }

    async fn ask(&self, role: Role) {
        let (old, new) =
            futures_util::join!(self.ask_side(role, Side::Old), self.ask_side(role, Side::New));
        let pause = if old && new { KNOWN } else { UNKNOWN };
        let mut found = self.service(role).found.lock().unwrap_or_else(PoisonError::into_inner);
        found.next = Some(Instant::now() + pause);
    }

    async fn ask_side(&self, role: Role, side: Side) -> bool {
        let Some(server) = SmtpOffers::server(&self.config, role, side) else { return true };
        let opened = SmtpConn::open(server, &self.config.smtp.hostname, None, &self.config.limits);
        match opened.await {
            Ok(conn) => {
                self.note(role, side, &conn);
                debug!(%server, offers = ?conn.extensions(), "asked");
                conn.quit().await;
                true
            }
            Err(e) => {
                warn!("what it offers is not known: {e}");
                false
            }
        }
    }
}

/// A server that was updated is noticed.
const KNOWN: Duration = Duration::from_secs(600);

/// A server that was away.
const UNKNOWN: Duration = Duration::from_secs(30);
