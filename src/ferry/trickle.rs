//! The background sync inside `serve`: whose turn it is, and when it had better wait.
//!
//! It is asked what to do by nobody, and remembers nothing across a restart: what is to be copied is
//! seen from the maps. An account that is settled is looked at again after a while, so that it
//! stays so.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::pass::{Ended, Pass, Scope};
use super::progress::{Progress, State};
use super::{Ferry, Governor};
use crate::account::{Access, Account, AccountError, Accounts};
use crate::backend::BackendError;
use crate::base::{AccountName, Phase, Side};
use crate::config::{Config, Hours};
use crate::index::{AccountRecord, IndexError};

/// The background sync of all accounts.
pub struct Trickle {
    config: Arc<Config>,
    accounts: Arc<Accounts>,
    ferry: Arc<Ferry>,
    governor: Governor,
    scope: Scope,
    /// Mailboxes that may be under way at once, of all accounts.
    slots: Semaphore,
    shutdown: CancellationToken,
    wake: Notify,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    turns: HashMap<AccountName, Turn>,
    all_paused: bool,
    paused: HashSet<AccountName>,
}

/// When an account's turn comes.
#[derive(Clone, Copy, Default)]
struct Turn {
    under_way: bool,
    not_before: Option<Instant>,
    /// How often in a row it had to be left alone.
    failures: u32,
    /// Since when clients have left it no moment in which anything was carried.
    crowded_out: Option<Instant>,
}

/// What is known of an account when its turn is decided.
struct Candidate {
    name: AccountName,
    rank: Rank,
}

/// Who comes first: the order of the fields.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    /// The place of the first pattern of `priority` that fits.
    priority: usize,
    /// Its own turn; accounts without one come last.
    turn: (bool, Option<u32>),
    /// Waves in the order of their names; accounts of none come last.
    wave: (bool, Option<String>),
    /// Those whose client was at work most lately.
    active: Reverse<Option<Instant>>,
    name: AccountName,
}

impl Trickle {
    /// Nothing is under way yet.
    pub fn new(
        config: Arc<Config>,
        accounts: Arc<Accounts>,
        ferry: Arc<Ferry>,
        shutdown: CancellationToken,
    ) -> Arc<Trickle> {
        let settings = &config.trickle;
        let rates = [&settings.total, &settings.sides.old, &settings.sides.new];
        let limits = rates.iter().map(|rate| rate.connections).filter(|limit| *limit > 0);
        Arc::new(Trickle {
            governor: Governor::new(settings, Arc::clone(ferry.courtesy())),
            scope: Scope::of(settings),
            slots: Semaphore::new(limits.min().unwrap_or(Semaphore::MAX_PERMITS)),
            config,
            accounts,
            ferry,
            shutdown,
            wake: Notify::new(),
            book: Mutex::default(),
        })
    }

    /// Stops copying in the background, for an account or for all, until `resume`.
    pub fn pause(&self, account: Option<&AccountName>) {
        let mut book = self.book();
        match account {
            Some(account) => drop(book.paused.insert(account.clone())),
            None => book.all_paused = true,
        }
    }

    /// Goes on with copying in the background, for an account or for all.
    pub fn resume(&self, account: Option<&AccountName>) {
        let mut book = self.book();
        match account {
            Some(account) => drop(book.paused.remove(account)),
            None => {
                book.all_paused = false;
                book.paused.clear();
            }
        }
        drop(book);
        self.wake.notify_one();
    }

    /// Looks at an account now, whatever was planned.
    pub fn hurry(&self, account: &AccountName) {
        self.book().turns.entry(account.clone()).or_default().not_before = None;
        self.wake.notify_one();
    }

    /// Works until the shutdown; then batches under way come to their end.
    pub async fn run(self: Arc<Self>) {
        if !self.config.trickle.enabled {
            return;
        }
        let mut under_way = JoinSet::new();
        while !self.shutdown.is_cancelled() {
            match self.candidates().await {
                Ok(candidates) => {
                    for candidate in candidates {
                        if under_way.len() >= self.config.trickle.accounts {
                            break;
                        }
                        let span = info_span!("trickle", account = %candidate.name);
                        self.book().turns.entry(candidate.name.clone()).or_default().under_way =
                            true;
                        let trickle = Arc::clone(&self);
                        let turn = async move { trickle.turn(&candidate.name).await };
                        under_way.spawn(turn.instrument(span));
                    }
                }
                Err(e) => warn!("the accounts cannot be listed: {e}"),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep_until(self.next_look()) => {}
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Accounts whose turn may come now, in their order.
    async fn candidates(&self) -> Result<Vec<Candidate>, IndexError> {
        if !self.is_time() || self.book().all_paused {
            return Ok(Vec::new());
        }
        let all = self.accounts.index().accounts().await?;
        let now = Instant::now();
        let book = self.book();
        let due = |name: &AccountName| {
            let turn = book.turns.get(name).copied().unwrap_or_default();
            !turn.under_way
                && turn.not_before.is_none_or(|at| at <= now)
                && !book.paused.contains(name)
        };
        let mut candidates: Vec<Candidate> = all
            .into_iter()
            .filter(|(name, ..)| due(name) && self.accounts.phase(name) == Phase::Merged)
            .map(|(name, _, record)| {
                let active = self.accounts.in_use(&name).and_then(|account| account.last_active());
                let rank = rank(&name, &record, active, &self.config.trickle.priority);
                Candidate { name, rank }
            })
            .collect();
        candidates.sort_by(|a, b| a.rank.cmp(&b.rank));
        Ok(candidates)
    }

    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let turns = self.book();
        let waiting = turns.turns.values().filter(|turn| !turn.under_way);
        let next = waiting.filter_map(|turn| turn.not_before).filter(|at| *at > now).min();
        next.map_or(now + LOOK, |at| at.min(now + LOOK))
    }

    /// One account's turn, to its end.
    async fn turn(&self, name: &AccountName) {
        let progress = self.ferry.progress(name);
        let before = progress.figures().carried;
        let quiet = self.quiet(name);
        let (state, wait) = match self.accounts.background(name).await {
            Ok(Some((account, access))) => self.pass(&account, access, &progress, quiet).await,
            // Whoever logs in wakes it.
            Ok(None) => (State::Waiting, Wait::While(self.config.trickle.again.min(LOOK))),
            Err(e) => (State::Paused(e.to_string()), Wait::Failed),
        };
        let is_crowded_out = state == State::Yielding && progress.figures().carried == before;
        progress.set_state(state);
        let mut book = self.book();
        let turn = book.turns.entry(name.clone()).or_default();
        turn.crowded_out = is_crowded_out.then(|| turn.crowded_out.unwrap_or_else(Instant::now));
        let wait = match wait {
            Wait::While(time) => {
                turn.failures = 0;
                time
            }
            Wait::Failed => {
                if progress.figures().carried > before {
                    turn.failures = 0;
                }
                turn.failures += 1;
                let doubled = 1 << (turn.failures - 1).min(MOST_DOUBLED);
                self.config.trickle.rest * doubled
            }
        };
        turn.under_way = false;
        turn.not_before = Some(Instant::now() + wait);
        drop(book);
        self.wake.notify_one();
    }

    /// For how long the account's clients must have asked for nothing; `None`: they never do, and it has
    /// waited enough. What it costs them is bounded by `courtesy` then.
    fn quiet(&self, name: &AccountName) -> Option<Duration> {
        let quiet = self.config.trickle.quiet;
        let patience = quiet * PATIENCE;
        let crowded_out = self.book().turns.get(name).and_then(|turn| turn.crowded_out);
        let is_enough = |since: Instant| !quiet.is_zero() && since.elapsed() >= patience;
        (!crowded_out.is_some_and(is_enough)).then_some(quiet)
    }

    async fn pass(
        &self,
        account: &Arc<Account>,
        access: Arc<Access>,
        progress: &Progress,
        quiet: Option<Duration>,
    ) -> (State, Wait) {
        let settings = &self.config.trickle;
        if quiet.is_some_and(|quiet| account.is_active(quiet)) {
            return (State::Yielding, Wait::While(settings.quiet));
        }
        let copier = self.ferry.copier_in_background(account, &access);
        if let Some(rest) = copier.rest() {
            let wait = rest.until.saturating_duration_since(Instant::now());
            return (State::Paused(rest.to_string()), Wait::While(wait));
        }
        // One connection is left for whoever opens something, and one for whoever writes.
        let spare = self.config.limits.connections_per_account.saturating_sub(2).max(1);
        progress.set_state(State::Copying);
        let pass = Pass {
            copier: &copier,
            access,
            scope: &self.scope,
            pace: self.governor.pace(&settings.account, copier.urgency()),
            lanes: settings.account.connections.min(spare),
            slots: Some(&self.slots),
            progress,
            reserve: settings.quota_reserve,
            go_on: &|| self.hindrance(account, quiet).is_none(),
        };
        match pass.run().await {
            Ok(Ended::Settled) => (State::Settled, Wait::While(settings.again)),
            Ok(Ended::Interrupted) => match self.hindrance(account, quiet) {
                Some(Hindrance::Client) | None => (State::Yielding, Wait::While(settings.quiet)),
                Some(Hindrance::Other(why)) => {
                    (State::Paused(why.to_owned()), Wait::While(settings.rest))
                }
            },
            Ok(Ended::Undecided) => {
                let why = "copies begun earlier are looked for on new".to_owned();
                (State::Paused(why), Wait::While(settings.rest))
            }
            Ok(Ended::Halted(why)) => {
                info!("copying in the background rests: {why}");
                (State::Paused(why), Wait::Failed)
            }
            Err(e) => {
                warn!("copying in the background rests: {e}");
                if let AccountError::Backend(BackendError::Refused { .. }) = &e
                    && let Err(e) = self.accounts.forget(account.name()).await
                {
                    warn!("what the server refused is not forgotten: {e}");
                }
                (State::Paused(e.to_string()), Wait::Failed)
            }
        }
    }

    /// Why nothing is to be copied for an account now.
    fn hindrance(&self, account: &Account, quiet: Option<Duration>) -> Option<Hindrance> {
        if self.shutdown.is_cancelled() {
            return Some(Hindrance::Other("the proxy is being stopped"));
        }
        if quiet.is_some_and(|quiet| account.is_active(quiet)) {
            return Some(Hindrance::Client);
        }
        if self.accounts.phase(account.name()) != Phase::Merged {
            return Some(Hindrance::Other("its phase is not `merged`"));
        }
        let book = self.book();
        if book.all_paused || book.paused.contains(account.name()) {
            return Some(Hindrance::Other("it was told to pause"));
        }
        drop(book);
        if !self.is_time() {
            return Some(Hindrance::Other("it is not the time of day for it"));
        }
        let strained = |side| self.accounts.is_strained(side);
        if strained(Side::Old) || strained(Side::New) {
            return Some(Hindrance::Other("a server has more to do than it can"));
        }
        None
    }

    fn is_time(&self) -> bool {
        let now = jiff::ZonedDateTime::now();
        let minute =
            u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
        is_time(&self.config.trickle.hours, minute)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change under this lock is done in one step.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps an account from being copied.
#[derive(Debug)]
enum Hindrance {
    Client,
    Other(&'static str),
}

/// When to come back to an account.
enum Wait {
    While(Duration),
    /// Later each time in a row.
    Failed,
}

fn is_time(hours: &[Hours], minute: u16) -> bool {
    hours.is_empty() || hours.iter().any(|hours| hours.contains(minute))
}

fn rank(
    name: &AccountName,
    record: &AccountRecord,
    active: Option<Instant>,
    priority: &[String],
) -> Rank {
    let fits = |pattern: &String| {
        crate::imap::names::matches(
            pattern.to_lowercase().as_bytes(),
            name.as_str().as_bytes(),
            None,
        )
    };
    Rank {
        priority: priority.iter().position(fits).unwrap_or(priority.len()),
        turn: (record.roll.priority.is_none(), record.roll.priority),
        wave: (record.wave.is_none(), record.wave.clone()),
        active: Reverse(active),
        name: name.clone(),
    }
}

/// Accounts are looked for this often; one whose user has just logged in is copied as soon.
const LOOK: Duration = Duration::from_secs(5);

/// An account whose clients ask for something all the time is copied after so many times as long as they
/// were to be quiet: a minute, unless told otherwise. Else it would never be moved.
const PATIENCE: u32 = 12;

/// A rest that is doubled so often takes an hour.
const MOST_DOUBLED: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first() {
        let priority = vec!["boss@a.org".to_owned(), "*@SALES.org".to_owned()];
        let now = Instant::now();
        let record = |wave: Option<&str>| AccountRecord {
            wave: wave.map(str::to_owned),
            ..AccountRecord::default()
        };
        let all = [
            ("zoe@a.org", None, Some(now)),
            ("amy@a.org", None, None),
            ("eva@a.org", Some("2"), None),
            ("ada@a.org", Some("1"), None),
            ("ida@a.org", Some("1"), Some(now)),
            ("tom@sales.org", Some("9"), None),
            ("boss@a.org", None, None),
        ];
        let mut ranks: Vec<Rank> = all
            .iter()
            .map(|(name, wave, active)| {
                let name = AccountName::canonical(name, None).unwrap();
                rank(&name, &record(*wave), *active, &priority)
            })
            .collect();
        ranks.sort();
        let order: Vec<&str> = ranks.iter().map(|rank| rank.name.local()).collect();
        assert_eq!(order, ["boss", "tom", "ida", "ada", "eva", "zoe", "amy"]);
    }
}
