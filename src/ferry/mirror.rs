//! The mirror: old is told of what is done on new, behind the clients' backs and at its own pace, so that
//! going back stays a matter of moments (DESIGN §1).
//!
//! It works off what a mailbox owes ([`Owed`](crate::index::Owed)), which is durable before a client hears
//! OK, and can be told twice. A sick old server keeps nothing up but this.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::carry::Carry;
use super::copier::{Copier, Job, lock};
use crate::account::{AccountError, Mailbox};
use crate::base::{Side, step};
use crate::config::Mirror;
use crate::uid::Uid;

/// What is done within this time is told together.
const GATHER: Duration = Duration::from_millis(500);
/// After a failure; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Messages copied together.
const BATCH: usize = 32;

/// When old is told next.
#[derive(Default)]
pub(super) struct Mirroring {
    not_before: Option<Instant>,
    pause: Option<Duration>,
}

impl Copier {
    /// When the mirror has something to do.
    pub(super) fn next_mirror(&self) -> Option<Instant> {
        if !self.account.undecided().owes() {
            return None;
        }
        let mut mirroring = lock(&self.mirroring);
        Some(*mirroring.not_before.get_or_insert_with(|| Instant::now() + GATHER))
    }

    /// Tells old what it is owed, if it is time.
    pub(super) async fn mirror(&self, shutdown: &CancellationToken) {
        if self.next_mirror().is_none_or(|at| at > Instant::now()) {
            return;
        }
        lock(&self.mirroring).not_before = None;
        let mut failed = false;
        for mailbox in self.account.undecided().take_owing() {
            if failed || shutdown.is_cancelled() {
                self.account.undecided().put_back_owing(&mailbox);
                continue;
            }
            if let Err(e) = self.mirror_mailbox(&mailbox).await {
                warn!(mailbox = %mailbox.name(), "not mirrored yet: {e}");
                self.account.undecided().put_back_owing(&mailbox);
                failed = true;
            }
        }
        let mut mirroring = lock(&self.mirroring);
        mirroring.pause = match (failed, mirroring.pause) {
            (false, _) => None,
            (true, None) => Some(PAUSE),
            (true, Some(pause)) => Some((pause * 2).min(LONGEST_PAUSE)),
        };
        if let Some(pause) = mirroring.pause {
            mirroring.not_before = Some(Instant::now() + pause);
        }
    }

    async fn mirror_mailbox(&self, mailbox: &Arc<Mailbox>) -> Result<(), AccountError> {
        // In another phase nothing is mirrored: whoever changes it sees to the rest.
        let Some(_entered) = self.enter().await else { return Ok(()) };
        let access = self.access.load_full();
        if self.config.copy.mirror == Mirror::All && !mailbox.stays_on_old() {
            mailbox.compare_hidden(&access).await?;
            let open = mailbox.intents(Side::Old);
            let missing: Vec<Uid> = (mailbox.missing_on(Side::Old).into_iter())
                .map(|(uid, _)| uid)
                .filter(|uid| !mailbox.is_stuck(*uid))
                .filter(|uid| open.get(uid).is_none_or(|intent| intent.closed))
                .collect();
            for some in missing.chunks(BATCH) {
                let _turn = self.turn(mailbox).await?;
                let job = |uid: &Uid| Job { mailbox: Arc::clone(mailbox), uid: *uid, tee: None };
                let carry = Carry::over(self, mailbox, Side::Old, Arc::clone(&access));
                let carried = carry.run(some.iter().map(job).collect()).await;
                // What is open is decided before it is tried again.
                mailbox.look_into();
                let (carried, _) = carried.map_err(|(e, _)| e)?;
                if carried > 0 {
                    info!(mailbox = %mailbox.name(), messages = carried, "mirrored to old");
                }
            }
            self.remove_back(mailbox, &access).await?;
        }
        // Nobody changes flags between the look and the note that they are told.
        let _alone = mailbox.alone().await;
        let flags = mailbox.owed().flags;
        if !flags.is_empty() {
            self.level_flags(mailbox, &access, Side::New, Some(&flags)).await?;
            step("mirror: flags are written");
            mailbox.told_flags(&flags).await?;
        }
        Ok(())
    }
}
