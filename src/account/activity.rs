//! Whether clients of an account are at work: what nobody waits for then makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Account;

/// What clients of one account do.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    running: AtomicUsize,
    /// Milliseconds from `begun` to the end of the last command, and one; 0: there was none.
    last: AtomicU64,
    /// Told when nothing runs any more.
    rest: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            begun: Instant::now(),
            running: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            rest: Notify::new(),
        }
    }
}

/// A client's command is under way, as long as this is held.
#[must_use = "the command counts as ended as soon as this is dropped"]
pub struct Active(Arc<Account>);

impl Drop for Active {
    fn drop(&mut self) {
        let Activity { begun, running, last, rest } = &self.0.activity;
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.fetch_max(now.saturating_add(1), Ordering::Relaxed);
        if running.fetch_sub(1, Ordering::Release) == 1 {
            rest.notify_waiters();
        }
    }
}

impl Account {
    /// A client's command begins.
    pub fn active(self: &Arc<Self>) -> Active {
        self.activity.running.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Whether a client's command is under way, or ended no longer ago than this.
    pub fn is_active(&self, quiet: Duration) -> bool {
        self.activity.running.load(Ordering::Relaxed) > 0
            || self.last_active().is_some_and(|last| last.elapsed() < quiet)
    }

    /// Waits until no client's command is under way, but no longer than this.
    pub async fn at_rest(&self, longest: Duration) {
        let Activity { running, rest, .. } = &self.activity;
        let at_rest = async {
            loop {
                let notified = rest.notified();
                if running.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        // Busy still: whoever asks has waited enough.
        let _ = timeout(longest, at_rest).await;
    }

    /// When a client's last command ended; `None` before the first.
    pub fn last_active(&self) -> Option<Instant> {
        let last = self.activity.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.activity.begun + Duration::from_millis(last))
    }
}
