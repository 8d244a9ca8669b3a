//! How fast the background sync may go: octets and messages a second, for all accounts, for each
//! side, and for each account.
//!
//! Everything is paid for before the next of it goes, and nothing is saved up while there is nothing
//! to do: over any time that begins with an idle moment, no more has gone than the limit allows. What
//! somebody waits for is not held back; it is paid for afterwards by what nobody waits for. What clients
//! feel of it all sets a limit of its own: see `courtesy`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::courtesy::Courtesy;
use crate::base::{Side, Sides};
use crate::config::{Rate, Trickle};

/// The limits that all accounts share.
pub struct Governor {
    courtesy: Arc<Courtesy>,
    all: Arc<Limit>,
    sides: Sides<Arc<Limit>>,
}

/// One limit on octets and messages.
#[derive(Default)]
struct Limit {
    octets: Bucket,
    messages: Bucket,
}

/// Lets so many units pass a second; one that is not limited lets all pass.
#[derive(Default)]
struct Bucket {
    per_second: f64,
    paid_until: Mutex<Option<Instant>>,
}

/// How fast the messages of one mailbox may go.
#[derive(Clone, Default)]
pub(super) struct Pace {
    limits: Option<Arc<Limits>>,
    /// How many wait for a copier of the account: while somebody does, nothing is held back.
    urgent: Option<watch::Receiver<usize>>,
}

struct Limits {
    courtesy: Arc<Courtesy>,
    all: Arc<Limit>,
    sides: Sides<Arc<Limit>>,
    account: Limit,
}

impl Governor {
    /// The limits that the configuration sets for all accounts together, and what clients allow.
    pub fn new(trickle: &Trickle, courtesy: Arc<Courtesy>) -> Governor {
        Governor {
            courtesy,
            all: Arc::new(Limit::new(&trickle.total)),
            sides: trickle.sides.as_ref().map(|_, rate| Arc::new(Limit::new(rate))),
        }
    }

    /// For one account, within its own limit and those of all.
    pub(super) fn pace(&self, account: &Rate, urgent: watch::Receiver<usize>) -> Pace {
        let limits = Limits {
            courtesy: Arc::clone(&self.courtesy),
            all: Arc::clone(&self.all),
            sides: self.sides.as_ref().map(|_, limit| Arc::clone(limit)),
            account: Limit::new(account),
        };
        Pace { limits: Some(Arc::new(limits)), urgent: Some(urgent) }
    }
}

impl Limit {
    fn new(rate: &Rate) -> Limit {
        Limit {
            octets: Bucket::new(rate.bytes_per_second as f64),
            messages: Bucket::new(rate.messages_per_second),
        }
    }
}

impl Bucket {
    fn new(per_second: f64) -> Bucket {
        Bucket { per_second, paid_until: Mutex::default() }
    }

    /// Takes `n` units, and returns when they are paid for.
    fn take(&self, n: usize, now: Instant) -> Option<Instant> {
        if self.per_second <= 0.0 {
            return None;
        }
        let costs = Duration::from_secs_f64(n as f64 / self.per_second);
        let mut paid = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid.map_or(now, |paid| paid.max(now)) + costs;
        *paid = Some(until);
        Some(until)
    }
}

impl Pace {
    /// Waits until so many octets of this side are paid for. What is read counts towards the limits
    /// of all and of the account; what is written is the same octets once more.
    pub(super) async fn octets(&self, side: Side, octets: usize) {
        self.wait(self.take(side, octets)).await;
    }

    /// Takes so many octets, and returns when they are paid for; `None`: now.
    pub(super) fn due(&self, side: Side, octets: usize) -> Option<Instant> {
        let until = self.take(side, octets);
        let hurried = self.urgent.as_ref().is_some_and(|urgent| *urgent.borrow() > 0);
        until.filter(|_| !hurried)
    }

    fn take(&self, side: Side, octets: usize) -> Option<Instant> {
        let limits = self.limits.as_ref()?;
        let now = Instant::now();
        let mut until = limits.sides[side].octets.take(octets, now);
        // What is written was paid for when it was read; it keeps the rests.
        let costs = if side == Side::Old { octets } else { 0 };
        until = until.max(limits.courtesy.take(costs, now));
        if side == Side::Old {
            until = until.max(limits.all.octets.take(octets, now));
            until = until.max(limits.account.octets.take(octets, now));
        }
        until
    }

    /// Waits until so many messages are paid for.
    pub(super) async fn messages(&self, count: usize) {
        let Some(limits) = &self.limits else { return };
        let now = Instant::now();
        let all = [&limits.all, &limits.sides.old, &limits.sides.new];
        let until = all.iter().map(|limit| limit.messages.take(count, now)).max().flatten();
        let until = until.max(limits.courtesy.take(count.saturating_mul(MESSAGE_COSTS), now));
        self.wait(until.max(limits.account.messages.take(count, now))).await;
    }

    /// How many messages, and octets, may go together without exceeding a limit for long.
    pub(super) fn together(&self, messages: usize, octets: u64) -> (usize, u64) {
        let Some(limits) = &self.limits else { return (messages, octets) };
        let all = [&*limits.all, &limits.sides.old, &limits.sides.new, &limits.account];
        let least = |rate: fn(&Limit) -> f64| {
            let set = all.iter().map(|limit| rate(limit)).filter(|rate| *rate > 0.0);
            set.fold(f64::INFINITY, f64::min) * BURST.as_secs_f64()
        };
        let (mut few, mut small) =
            (least(|l| l.messages.per_second), least(|l| l.octets.per_second));
        if let Some(polite) = limits.courtesy.together(BURST) {
            few = few.min(polite / MESSAGE_COSTS as f64);
            small = small.min(polite);
        }
        // A float that is too large for an integer becomes the largest one.
        (messages.min(few as usize).max(1), octets.min(small as u64))
    }

    /// Whether this is the background's pace, which yields to all others.
    pub(super) fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    async fn wait(&self, until: Option<Instant>) {
        let Some(until) = until else { return };
        let Some(mut urgent) = self.urgent.clone() else { return sleep_until(until).await };
        let hurried = async {
            // The account's copier is gone: nobody can wait for it.
            if urgent.wait_for(|waiting| *waiting > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep_until(until) => {}
            () = hurried => {}
        }
    }
}

/// What goes together is at most what may go in this time.
const BURST: Duration = Duration::from_millis(250);

/// The octets for which a message counts by itself, where clients are made room for: round trips, and what
/// servers and index write down of it.
const MESSAGE_COSTS: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(total: Rate, old: Rate, account: Rate) -> (Pace, watch::Sender<usize>) {
        let sides = Sides { old, new: Rate::default() };
        let trickle = Trickle { total, sides, account: Rate::default(), ..Trickle::default() };
        let (sender, urgent) = watch::channel(0);
        (Governor::new(&trickle, Courtesy::new(0.0)).pace(&account, urgent), sender)
    }

    fn octets(bytes_per_second: u64) -> Rate {
        Rate { bytes_per_second, ..Rate::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_smallest_limit_counts_and_nothing_is_saved_up() {
        let (pace, _sender) = pace(octets(1_000_000), octets(300_000), octets(100_000));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let begun = Instant::now();
        for _ in 0..100 {
            pace.octets(Side::Old, 64 << 10).await;
            // New has no limit of its own here, and what is written is not counted twice.
            pace.octets(Side::New, 64 << 10).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!((65.536..65.8).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_share_what_is_for_all() {
        let trickle = Trickle { total: octets(100_000), ..Trickle::default() };
        let governor = Governor::new(&trickle, Courtesy::new(0.0));
        let (_sender, urgent) = watch::channel(0);
        let two = [0, 1].map(|_| governor.pace(&Rate::default(), urgent.clone()));
        let begun = Instant::now();
        let (a, b) = (two[0].octets(Side::Old, 100_000), two[1].octets(Side::Old, 100_000));
        futures_util::join!(a, b);
        assert!(begun.elapsed() >= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_counted_too() {
        let rate = Rate { messages_per_second: 0.5, ..Rate::default() };
        let (pace, _sender) = pace(Rate::default(), Rate::default(), rate);
        assert_eq!(pace.together(256, 1 << 20), (1, 1 << 20));
        let begun = Instant::now();
        pace.messages(10).await;
        assert!(begun.elapsed() >= Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_not_held_back_and_it_is_paid_for_later() {
        let (pace, sender) = pace(octets(1_000), Rate::default(), Rate::default());
        let begun = Instant::now();
        sender.send_replace(1);
        pace.octets(Side::Old, 60_000).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        sender.send_replace(0);
        pace.octets(Side::Old, 1_000).await;
        assert!(begun.elapsed() >= Duration::from_secs(61));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_made_room_for_and_who_waits_is_not_held_back() {
        let courtesy = Courtesy::new(1.25);
        let (sender, urgent) = watch::channel(0);
        let governor = Governor::new(&Trickle::default(), Arc::clone(&courtesy));
        let pace = governor.pace(&Rate::default(), urgent);
        assert_eq!(pace.together(256, 4 << 20), (256, 4 << 20));
        let _served = courtesy.command();
        assert_eq!(pace.together(256, 4 << 20), (64, 256 << 10));
        let begun = Instant::now();
        pace.octets(Side::Old, 8 << 20).await;
        // It has a rest at the beginning at least.
        assert!((8..=11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        sender.send_replace(1);
        let begun = Instant::now();
        pace.octets(Side::Old, 8 << 20).await;
        pace.octets(Side::New, 8 << 20).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_waits() {
        let begun = Instant::now();
        Pace::default().octets(Side::Old, usize::MAX).await;
        let (pace, _sender) = pace(Rate::default(), Rate::default(), Rate::default());
        pace.octets(Side::Old, usize::MAX).await;
        pace.messages(usize::MAX).await;
        assert_eq!(pace.together(256, 4 << 20), (256, 4 << 20));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
