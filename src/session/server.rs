//! What all sessions share, and the tasks that run beside them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info, info_span};

use super::Roster;
use super::imap::{self, Offer};
use super::smtp::{self, Role, SmtpOffers};
use crate::account::{Accounts, SessionId, now};
use crate::config::{Config, Listen, Protocol};
use crate::ferry::{Ferry, Latecomers, Trickle};
use crate::index::{Index, IndexError};
use crate::net::{Listener, ServerTls, Stream, serve};

/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(20);
/// How long running sessions may take to end after a shutdown was asked for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What all sessions share.
pub struct Server {
    /// The settings.
    pub config: Arc<Config>,
    /// All accounts.
    pub accounts: Arc<Accounts>,
    /// The copier.
    pub ferry: Arc<Ferry>,
    /// What copies that nobody opened.
    pub trickle: Arc<Trickle>,
    /// The proxy's certificate, if it has one.
    pub tls: Option<ServerTls>,
    /// Who is logged in.
    pub roster: Arc<Roster>,
    /// Writes that go on when their session is gone.
    pub writes: TaskTracker,
    /// Cancelled when the proxy shall stop.
    pub shutdown: CancellationToken,
    last_session: AtomicU64,
    /// When the proxy was started, in seconds since 1970.
    begun: u64,
    offer: ArcSwap<Offer>,
    /// What the servers offer for SMTP.
    pub(super) smtp: Arc<SmtpOffers>,
}

impl Server {
    /// Makes everything ready; nothing listens yet.
    pub async fn new(
        config: Arc<Config>,
        index: Index,
        tls: Option<ServerTls>,
        shutdown: CancellationToken,
    ) -> Result<Arc<Server>, IndexError> {
        let accounts = Arc::new(Accounts::open(Arc::clone(&config), index).await?);
        let ferry = Ferry::new(Arc::clone(&config), shutdown.clone());
        let trickle = Trickle::new(
            Arc::clone(&config),
            Arc::clone(&accounts),
            Arc::clone(&ferry),
            shutdown.clone(),
        );
        Ok(Arc::new(Server {
            offer: ArcSwap::from_pointee(Offer::new(
                accounts.learned(),
                config.limits.message,
                config.auth.primary,
            )),
            smtp: SmtpOffers::new(Arc::clone(&config)),
            accounts,
            ferry,
            trickle,
            config,
            tls,
            roster: Arc::default(),
            writes: TaskTracker::new(),
            shutdown,
            last_session: AtomicU64::new(0),
            begun: now(),
        }))
    }

    /// What a session is called where other starts of the proxy have sessions too.
    pub fn session_name(&self, id: SessionId) -> String {
        format!("{:x}-{}", self.begun, id.0)
    }

    /// What clients are offered that connect now. It stays the same as long as the servers do.
    pub fn offer(&self) -> Arc<Offer> {
        let learned = self.accounts.learned();
        if self.offer.load().version() != learned.version() {
            let largest = self.config.limits.message;
            let judge = self.config.auth.primary;
            self.offer.store(Arc::new(Offer::new(learned, largest, judge)));
        }
        self.offer.load_full()
    }

    /// Receives clients until the shutdown, then lets writes and copies come to an end.
    pub async fn run(self: &Arc<Self>, listeners: Vec<Listener>) -> io::Result<()> {
        let sessions = TaskTracker::new();
        let sweeping = {
            let server = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    server.accounts.sweep();
                    server.ferry.sweep();
                }
            })
        };
        let meeting = {
            let server = Arc::clone(self);
            tokio::spawn(async move {
                while let Err(e) = server.accounts.meet().await {
                    debug!("what the server offers that judges logins is not known yet: {e}");
                    tokio::time::sleep(SWEEP).await;
                }
            })
        };
        let trickle = tokio::spawn(Arc::clone(&self.trickle).run());
        let latecomers = Latecomers::new(
            Arc::clone(&self.config),
            Arc::clone(&self.accounts),
            Arc::clone(&self.ferry),
            self.shutdown.clone(),
        );
        let latecomers = tokio::spawn(latecomers.run());
        let handler = |stream: Stream, peer: SocketAddr, listen: &Listen| {
            let server = Arc::clone(self);
            let tls_first = matches!(listen.protocol, Protocol::Imaps | Protocol::Submissions);
            let id = SessionId(server.last_session.fetch_add(1, Ordering::Relaxed) + 1);
            let span = info_span!("session", id = id.0, %peer, account = tracing::field::Empty);
            // Boxed, so that a session's size is that of its parts and not of every caller.
            let session: Pin<Box<dyn Future<Output = ()> + Send>> = match listen.protocol {
                Protocol::Imap | Protocol::Imaps => {
                    Box::pin(imap::run(server, stream, id, tls_first))
                }
                Protocol::Submission | Protocol::Submissions => {
                    Box::pin(smtp::run(server, stream, id, Role::Submission, tls_first))
                }
                Protocol::Smtp => {
                    let role = Role::Inbound { trusted: listen.trusted };
                    Box::pin(smtp::run(server, stream, id, role, tls_first))
                }
                // Not a mail client's: `admin` receives there.
                Protocol::Admin => Box::pin(std::future::ready(())),
            };
            session.instrument(span)
        };
        serve(listeners, &self.config.limits, &self.shutdown, &sessions, handler).await;
        info!("stopping");
        sessions.close();
        self.writes.close();
        let ending = async {
            sessions.wait().await;
            self.writes.wait().await;
            if let Err(e) = trickle.await {
                error!("the background sync broke down: {e}");
            }
            if let Err(e) = latecomers.await {
                error!("the look at old for late mail broke down: {e}");
            }
            self.ferry.stopped().await;
        };
        if tokio::time::timeout(LAST_WORDS, ending).await.is_err() {
            info!("some sessions were still busy");
        }
        sweeping.abort();
        meeting.abort();
        Ok(())
    }
}
