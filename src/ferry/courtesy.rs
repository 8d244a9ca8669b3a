//! How the background makes room for clients: it goes as fast as their commands do not suffer from it.
//!
//! Every now and then it rests for a moment. What clients' commands take that begin in such a moment is
//! compared with what those take that begin while it works: where these take too long beside the others
//! it goes slower, and else faster again. So nothing has to be known of the servers, of their disks, or
//! of what clients ask for. Where nobody asks for anything, nothing is held back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How the background goes while clients work.
pub struct Courtesy {
    /// So many times as long may their commands take; `None`: it heeds nobody.
    slowdown: Option<f64>,
    begun: Instant,
    balance: Mutex<Balance>,
}

/// A client's command is under way, as long as this is held.
#[must_use = "the command counts as ended as soon as this is dropped"]
pub struct Served {
    courtesy: Arc<Courtesy>,
    since: Instant,
}

/// How fast the background goes now, and what clients feel of it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Octets a second, at most, of all accounts together.
    pub octets_per_second: f64,
    /// So many times as long took clients' commands of late; `None`: that is not known yet.
    pub slowdown: Option<f64>,
}

/// What is known, and what follows from it.
struct Balance {
    /// Clients' commands under way.
    running: usize,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Octets a second while clients work.
    rate: f64,
    /// Up to when what has gone is paid for.
    paid_until: Option<Instant>,
    /// When the background last moved something.
    moved: Option<Instant>,
    /// How long it was held back since the last judgement, at most.
    held: Duration,
    judged: Instant,
    /// Nothing was ever felt of it: then it gains speed sooner.
    is_unfelt: bool,
    /// The logarithm of how many times as long commands took: a mean over the last judgements, for a
    /// single one may be chance. `None` before the first.
    felt: Option<f64>,
    resting: Sample,
    working: Sample,
}

/// When something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// The background rests, and what it did before is over.
    Rest,
    /// It works.
    Work,
    /// Between the two.
    Between,
}

/// How long commands took since the last judgement: a histogram with eight bins an octave. What was long
/// ago counts for nothing: a moment in which all connect again would be felt for minutes.
#[derive(Clone)]
struct Sample {
    bins: [u32; BINS],
    count: u32,
}

impl Courtesy {
    /// Clients' commands may take so many times as long; 0: as long as they will.
    pub fn new(slowdown: f64) -> Arc<Courtesy> {
        let begun = Instant::now();
        Arc::new(Courtesy {
            slowdown: (slowdown > 0.0).then_some(slowdown),
            begun,
            balance: Mutex::new(Balance::new(begun)),
        })
    }

    /// A client's command begins.
    pub fn command(self: &Arc<Self>) -> Served {
        self.balance().running += 1;
        Served { courtesy: Arc::clone(self), since: Instant::now() }
    }

    /// How fast the background goes at most; `None`: no client works, or none is heeded.
    pub fn held(&self) -> Option<Held> {
        self.slowdown?;
        let balance = self.balance();
        let slowdown = balance.felt.map(f64::exp);
        let held = Held { octets_per_second: balance.rate, slowdown };
        balance.is_at_work(Instant::now()).then_some(held)
    }

    /// The background is about to move something that costs so many octets: when it may.
    /// `None`: now.
    pub(super) fn take(&self, octets: usize, now: Instant) -> Option<Instant> {
        self.slowdown?;
        let mut balance = self.balance();
        balance.moved = Some(now);
        if !balance.is_at_work(now) {
            return None;
        }
        let mut until = balance.pay(octets, now);
        if let Some(end) = self.end_of_rest(until) {
            until = end;
            balance.paid_until = Some(end);
        }
        Some(until)
    }

    /// What goes together is at most what may go in this time; `None`: as much as there is.
    pub(super) fn together(&self, time: Duration) -> Option<f64> {
        self.held().map(|held| held.octets_per_second * time.as_secs_f64())
    }

    /// When the rest ends that the background has at this time, if it has one.
    fn end_of_rest(&self, at: Instant) -> Option<Instant> {
        let within = within(self.begun, at);
        (within < REST).then(|| at + (REST - within))
    }

    fn ended(&self, since: Instant, now: Instant) {
        let mut balance = self.balance();
        balance.running -= 1;
        balance.ended = Some(now);
        let Some(limit) = self.slowdown else { return };
        let took = now.duration_since(since);
        balance.note(moment(self.begun, since), since, took);
        balance.judge(limit, now);
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        // Every change under this lock leaves numbers of which each is true for itself.
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.courtesy.ended(self.since, Instant::now());
    }
}

impl Balance {
    fn new(now: Instant) -> Balance {
        Balance {
            running: 0,
            ended: None,
            rate: FIRST_RATE,
            paid_until: None,
            moved: None,
            held: Duration::ZERO,
            judged: now,
            is_unfelt: true,
            felt: None,
            resting: Sample::default(),
            working: Sample::default(),
        }
    }

    fn is_at_work(&self, now: Instant) -> bool {
        self.running > 0 || self.ended.is_some_and(|at| now.duration_since(at) < CALM)
    }

    fn pay(&mut self, octets: usize, now: Instant) -> Instant {
        let costs = Duration::from_secs_f64(octets as f64 / self.rate);
        let until = self.paid_until.map_or(now, |paid| paid.max(now)) + costs;
        self.paid_until = Some(until);
        self.held += costs;
        until
    }

    /// A command that began at `since` has taken so long.
    fn note(&mut self, moment: Moment, since: Instant, took: Duration) {
        // Where the background has nothing to do, nothing is learned of it.
        if self.moved.is_none_or(|moved| moved + CYCLE < since) {
            return;
        }
        match moment {
            Moment::Rest => self.resting.add(took),
            Moment::Work => self.working.add(took),
            Moment::Between => {}
        }
    }

    /// Decides how fast to go on, as soon as enough is known.
    fn judge(&mut self, limit: f64, now: Instant) {
        let since = now.duration_since(self.judged);
        if since < CYCLE || self.resting.count.min(self.working.count) < ENOUGH {
            return;
        }
        let slowdown = self.working.at(SLOW_SHARE) / self.resting.at(SLOW_SHARE);
        // However odd one judgement is, it counts for no more than that.
        let now_felt = slowdown.ln().clamp(-ODD, ODD);
        let felt = self.felt.map_or(now_felt, |felt| felt + (now_felt - felt) * WEIGHT);
        self.felt = Some(felt);
        if felt > limit.ln() {
            self.rate = (self.rate * SLOWER).max(LEAST_RATE);
            self.is_unfelt = false;
            // What is felt of the new rate has yet to be seen.
            self.felt = Some(felt.min(limit.ln()) / 2.0);
        } else if self.held > since / 2 {
            // It is this that holds it back, and nothing else.
            self.rate *= if self.is_unfelt { UNFELT_FASTER } else { FASTER };
        }
        (self.resting, self.working) = Default::default();
        self.held = Duration::ZERO;
        self.judged = now;
    }
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { bins: [0; BINS], count: 0 }
    }
}

impl Sample {
    fn add(&mut self, took: Duration) {
        let octaves = (took.as_secs_f64() / SHORTEST).log2().max(0.0);
        // A float that is too large for an integer becomes the largest one.
        let bin = ((octaves * PER_OCTAVE) as usize).min(BINS - 1);
        self.bins[bin] = self.bins[bin].saturating_add(1);
        self.count = self.count.saturating_add(1);
    }

    /// The seconds within which this share of all were done; 0 if there are none.
    fn at(&self, share: f64) -> f64 {
        let wanted = f64::from(self.count) * share;
        let mut below = 0.0;
        for (bin, count) in self.bins.iter().enumerate() {
            let count = f64::from(*count);
            if count > 0.0 && below + count >= wanted {
                let part = (wanted - below) / count;
                return SHORTEST * ((bin as f64 + part) / PER_OCTAVE).exp2();
            }
            below += count;
        }
        0.0
    }
}

/// How far into its cycle this time is.
fn within(begun: Instant, at: Instant) -> Duration {
    let nanos = at.duration_since(begun).as_nanos() % CYCLE.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

fn moment(begun: Instant, at: Instant) -> Moment {
    match within(begun, at) {
        early if early < REST => {
            if early < DRAINED {
                Moment::Between
            } else {
                Moment::Rest
            }
        }
        late if late < REST + DRAINED => Moment::Between,
        _ => Moment::Work,
    }
}

/// It rests once in this time.
const CYCLE: Duration = Duration::from_secs(2);

/// For so long: enough clients' commands begin in it on a server that is at work.
const REST: Duration = Duration::from_millis(400);

/// What was under way when a rest begins is over by then.
const DRAINED: Duration = Duration::from_millis(100);

/// Clients have stopped working when none has asked for anything for so long.
const CALM: Duration = Duration::from_secs(2);

/// Before anything is known.
const FIRST_RATE: f64 = (1 << 20) as f64;

/// However much clients suffer, the mail shall get over some day: 20 GB a day.
const LEAST_RATE: f64 = (256 << 10) as f64;

const SLOWER: f64 = 0.75;

const FASTER: f64 = 1.1;

const UNFELT_FASTER: f64 = 1.5;

/// So many commands, both while it works and while it rests, are needed for a judgement.
const ENOUGH: u32 = 80;

/// What one judgement counts for beside those before it.
const WEIGHT: f64 = 0.3;

/// The logarithm of three times as long, or a third.
const ODD: f64 = 1.1;

/// What is compared is how long the slowest twentieth takes at least: what people feel.
const SLOW_SHARE: f64 = 0.95;

/// Seconds; what is shorter is as good as that.
const SHORTEST: f64 = 50e-6;

const PER_OCTAVE: f64 = 8.0;

/// Up to some minutes.
const BINS: usize = 184;

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients send a command each 5 ms, one of ten of which is slow, and the background moves as much as
    /// it may. `slowdown` says how much slower commands are at a rate. Gives the rate of each second.
    async fn play(
        courtesy: &Arc<Courtesy>,
        seconds: u64,
        slowdown: impl Fn(f64) -> f64,
    ) -> Vec<f64> {
        let begun = Instant::now();
        let mut rates = Vec::new();
        let (mut next, mut number) = (begun, 0_u32);
        while begun.elapsed() < Duration::from_secs(seconds) {
            let now = Instant::now();
            if next <= now {
                next = courtesy.take(64 << 10, now).unwrap_or(now + Duration::from_millis(1));
            }
            number += 1;
            let usual = if number.is_multiple_of(10) { 20.0 } else { 2.0 };
            let rate = courtesy.balance().rate;
            let slower = match moment(courtesy.begun, now) {
                Moment::Work => slowdown(rate),
                Moment::Rest | Moment::Between => 1.0,
            };
            let took = Duration::from_secs_f64(usual * slower / 1000.0);
            courtesy.balance().running += 1;
            courtesy.ended(now, now + took);
            rates.push(rate);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rates.into_iter().step_by(200).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_as_fast_as_clients_do_not_suffer() {
        let courtesy = Courtesy::new(1.25);
        // At 8 MB/s they take 1.25 times as long.
        let rates = play(&courtesy, 300, |rate| 1.0 + rate / 32e6).await;
        let late = &rates[200..];
        assert!(late.iter().all(|rate| (4e6..12e6).contains(rate)), "{late:?}");
        assert!(courtesy.held().is_some_and(|held| held.slowdown.is_some()));
        // They suffer more by day than by night.
        let rates = play(&courtesy, 300, |rate| 1.0 + rate / 8e6).await;
        assert!(rates[200..].iter().all(|rate| (1e6..4e6).contains(rate)), "{rates:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_felt_of_it_it_gains_speed_and_it_never_stops() {
        // It moves no more than 64 KB in 5 ms; what holds back more is never raised above all measure.
        let rates = play(&Courtesy::new(1.25), 100, |_| 1.0).await;
        assert!(rates.last().is_some_and(|rate| (10e6..40e6).contains(rate)), "{rates:?}");
        let rates = play(&Courtesy::new(1.25), 100, |_| 9.0).await;
        assert_eq!(rates.last(), Some(&LEAST_RATE));
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_every_now_and_then_while_clients_work_and_else_never() {
        let courtesy = Courtesy::new(1.25);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let now = Instant::now();
        assert_eq!((courtesy.take(usize::MAX, now), courtesy.held()), (None, None));
        let served = courtesy.command();
        let begins_at = |octets| courtesy.take(octets, now).map(|at| at - now);
        // The cycle begins with the rest.
        assert_eq!(begins_at(0), Some(REST));
        assert_eq!(begins_at(FIRST_RATE as usize), Some(REST + Duration::from_secs(1)));
        assert_eq!(begins_at(FIRST_RATE as usize), Some(CYCLE + REST));
        drop(served);
        tokio::time::sleep(CALM).await;
        assert_eq!(courtesy.take(1, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_heed_nobody_heeds_nobody() {
        let courtesy = Courtesy::new(0.0);
        let _served = courtesy.command();
        assert_eq!((courtesy.take(usize::MAX, Instant::now()), courtesy.held()), (None, None));
    }

    #[test]
    fn a_sample_knows_its_shares() {
        let mut sample = Sample::default();
        assert!(sample.at(0.95) < f64::EPSILON);
        for millis in 1..=100 {
            sample.add(Duration::from_millis(millis));
        }
        for (share, seconds) in [(0.5, 0.05), (0.95, 0.095), (0.99, 0.099)] {
            let at = sample.at(share);
            assert!((at / seconds - 1.0).abs() < 0.1, "{share}: {at}");
        }
        sample.add(Duration::ZERO);
        sample.add(Duration::from_secs(u64::MAX));
        assert!(sample.at(1.0) < 500.0);
    }
}
