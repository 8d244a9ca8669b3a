//! Whether a server can be reached at all: found out once for everybody, and not by each account.
//!
//! A server that is dead costs whoever tries it a timeout. After some failures in a row, whosever
//! they were, nobody tries any more but one after each pause, and all others are answered at once.
//! What counts is reaching the server, TLS and its greeting included. A refused login, a slow
//! command and a lost connection are one account's affair, and cut nobody else off.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::base::Side;
use crate::config::Limits;

/// The breaker of one server. What is tried over it is one [`Attempt`] each.
#[derive(Debug)]
pub struct Breaker {
    side: Side,
    /// After so many failures in a row; 0: never.
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The server is there, as far as anybody knows; so often it was not since.
    Closed { failed: u32 },
    /// It is not, and nobody tries before this moment.
    Open { until: Instant, since: Instant, why: String },
    /// It was not, and one tries.
    Probed { since: Instant, why: String },
}

/// The right to try it. Dropped without an outcome, it says nothing about the server.
#[derive(Debug)]
#[must_use = "its outcome says whether others may try"]
pub struct Attempt<'a> {
    breaker: &'a Breaker,
    probes: bool,
}

impl Breaker {
    /// For the server of a side, of which nothing is known yet.
    pub fn new(side: Side, limits: &Limits) -> Breaker {
        let (failures, pause) = (limits.backend_failures, limits.backend_pause);
        Breaker { side, failures, pause, state: Mutex::new(State::Closed { failed: 0 }) }
    }

    /// Asks whether the server may be tried. `Err`: nobody tries it now, and this was the failure.
    pub fn attempt(&self, now: Instant) -> Result<Attempt<'_>, String> {
        let mut state = self.state();
        let (since, why) = match &*state {
            State::Closed { .. } => return Ok(Attempt { breaker: self, probes: false }),
            State::Probed { why, .. } => return Err(why.clone()),
            State::Open { until, why, .. } if now < *until => return Err(why.clone()),
            State::Open { since, why, .. } => (*since, why.clone()),
        };
        *state = State::Probed { since, why };
        Ok(Attempt { breaker: self, probes: true })
    }

    /// Whether nobody may try the server now.
    pub fn is_open(&self, now: Instant) -> bool {
        match &*self.state() {
            State::Closed { .. } => false,
            State::Probed { .. } => true,
            State::Open { until, .. } => now < *until,
        }
    }

    /// Those that are put off together shall not come back together.
    fn until(&self, now: Instant) -> Instant {
        now + self.pause.mul_f64(0.75 + fastrand::f64() / 2.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The server answered.
    pub fn reached(mut self, now: Instant) {
        self.probes = false;
        let Breaker { side, .. } = self.breaker;
        let before = std::mem::replace(&mut *self.breaker.state(), State::Closed { failed: 0 });
        if let State::Open { since, .. } | State::Probed { since, .. } = before {
            let away = (now - since).as_secs();
            info!(%side, "the server is reached again, after {away} seconds");
        }
    }

    /// The server did not answer, or not as a mail server does.
    pub fn failed(mut self, why: &dyn fmt::Display, now: Instant) {
        let probed = std::mem::take(&mut self.probes);
        let Breaker { side, failures, pause, .. } = self.breaker;
        let mut state = self.breaker.state();
        let until = self.breaker.until(now);
        match &mut *state {
            State::Closed { failed } => {
                *failed = failed.saturating_add(1);
                if *failures > 0 && *failed >= *failures {
                    warn!(
                        %side,
                        "the server cannot be reached: tried once in {pause:?} from now on, and all \
                         others are answered without it: {why}"
                    );
                    *state = State::Open { until, since: now, why: why.to_string() };
                }
            }
            State::Probed { since, .. } if probed => {
                *state = State::Open { until, since: *since, why: why.to_string() };
            }
            // Begun before the breaker opened: nothing new.
            State::Probed { .. } | State::Open { .. } => {}
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.probes {
            return;
        }
        let mut state = self.breaker.state();
        if let State::Probed { since, why } = &mut *state {
            let (since, why) = (*since, std::mem::take(why));
            // Whoever probed went away: the next one may at once.
            *state = State::Open { until: since, since, why };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> Breaker {
        let pause = Duration::from_secs(8);
        let limits =
            Limits { backend_failures: failures, backend_pause: pause, ..Limits::default() };
        Breaker::new(Side::Old, &limits)
    }

    fn fail(breaker: &Breaker, now: Instant) {
        breaker.attempt(now).unwrap().failed(&"no route to host", now);
    }

    #[test]
    fn v7_after_failures_in_a_row_one_at_a_time_tries_and_the_others_do_not_wait() {
        let (breaker, start) = (breaker(3), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..2 {
            fail(&breaker, start);
        }
        // A success between them: they were not in a row.
        breaker.attempt(start).unwrap().reached(start);
        for _ in 0..3 {
            assert!(!breaker.is_open(start));
            fail(&breaker, start);
        }
        assert!(breaker.is_open(at(5)));
        assert_eq!(breaker.attempt(at(5)).unwrap_err(), "no route to host");
        // The pause is 6 to 10 seconds.
        let probe = breaker.attempt(at(11)).unwrap();
        assert!(breaker.is_open(at(11)) && breaker.attempt(at(11)).is_err(), "one at a time");
        probe.failed(&"still none", at(12));
        assert_eq!(breaker.attempt(at(17)).unwrap_err(), "still none");
        // A probe that is given up says nothing, and keeps out nobody.
        drop(breaker.attempt(at(23)).unwrap());
        breaker.attempt(at(23)).unwrap().reached(at(23));
        assert!(!breaker.is_open(at(23)));
        fail(&breaker, at(24));
        assert!(breaker.attempt(at(24)).is_ok(), "it counts from the beginning");
    }

    #[test]
    fn what_was_begun_before_it_opened_changes_nothing_but_by_success() {
        let (breaker, now) = (breaker(1), Instant::now());
        let (early, late) = (breaker.attempt(now).unwrap(), breaker.attempt(now).unwrap());
        fail(&breaker, now);
        early.failed(&"another reason", now);
        assert_eq!(breaker.attempt(now).unwrap_err(), "no route to host");
        late.reached(now);
        assert!(breaker.attempt(now).is_ok());
    }

    #[test]
    fn without_a_number_it_never_opens() {
        let (breaker, now) = (breaker(0), Instant::now());
        (0..100).for_each(|_| fail(&breaker, now));
        assert!(breaker.attempt(now).is_ok());
    }
}
