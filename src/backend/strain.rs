//! Whether a server has more to do than it can.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What was lately seen of a server that it could not keep up with: answers with `[UNAVAILABLE]` or
/// `[THROTTLED]` (RFC 5530, RFC 9051 §7.1), and none at all.
#[derive(Debug)]
pub struct Strain {
    begun: Instant,
    /// Milliseconds from `begun` up to which the server counts as strained.
    until: AtomicU64,
}

impl Default for Strain {
    fn default() -> Self {
        Strain { begun: Instant::now(), until: AtomicU64::new(0) }
    }
}

impl Strain {
    /// The server shows now that it cannot keep up.
    pub fn note(&self, now: Instant) {
        self.until.fetch_max(self.millis(now + LASTS), Ordering::Relaxed);
    }

    /// Whether it showed so within the minute before.
    pub fn is_felt(&self, now: Instant) -> bool {
        self.millis(now) < self.until.load(Ordering::Relaxed)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Clients that were put off come back in waves; what was true a minute ago is still worth heeding.
const LASTS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strain_is_felt_for_a_minute() {
        let strain = Strain::default();
        let at = |seconds| strain.begun + Duration::from_secs(seconds);
        assert!(!strain.is_felt(at(0)));
        strain.note(at(10));
        assert!(strain.is_felt(at(10)) && strain.is_felt(at(69)));
        assert!(!strain.is_felt(at(70)));
        strain.note(at(50));
        assert!(strain.is_felt(at(109)) && !strain.is_felt(at(110)));
    }
}
