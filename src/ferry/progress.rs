//! How far the copying of an account is: what `status`, progress bars and metrics show.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::index::{MailboxId, Measured, Octets};

/// Where the copying of one account stands. It counts what it is told, and decides nothing.
#[derive(Default)]
pub struct Progress(Mutex<Told>);

#[derive(Default)]
struct Told {
    state: State,
    mailboxes: HashMap<MailboxId, (Tally, Measured)>,
    carried: u64,
    octets_carried: u64,
    messages_rate: Rate,
    octets_rate: Rate,
}

/// What is being done for an account.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum State {
    /// Its turn has not come yet, or nobody can log in for it now.
    #[default]
    Waiting,
    /// Messages are being copied.
    Copying,
    /// A client is at work, and comes first.
    Yielding,
    /// Nothing is copied for a while, for this reason.
    Paused(String),
    /// Everything that can be copied and shall be lies on new.
    Settled,
}

/// What is known of one mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Messages that lie on old, copied or not.
    pub messages: u64,
    /// Those of them that lie on new as well.
    pub copied: u64,
    /// Those that could not be copied.
    pub stuck: u64,
}

/// The figures of one account at one moment.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// What is being done.
    pub state: State,
    /// Mailboxes that were looked at.
    pub mailboxes: u64,
    /// Those of them in which nothing is left to copy but what is stuck.
    pub mailboxes_done: u64,
    /// Messages that lie on old, copied or not.
    pub messages: u64,
    /// Those of them that lie on new as well.
    pub copied: u64,
    /// Those that could not be copied.
    pub stuck: u64,
    /// About so many octets lie on old; `None`: nothing was measured yet.
    pub octets: Option<u64>,
    /// About so many of them on new as well.
    pub octets_copied: Option<u64>,
    /// Messages that were carried in the background since the proxy was started.
    pub carried: u64,
    /// Their octets.
    pub octets_carried: u64,
    /// Messages a second, of late.
    pub messages_per_second: f64,
    /// Octets a second, of late.
    pub octets_per_second: f64,
}

impl Progress {
    /// What is being done now.
    pub fn set_state(&self, state: State) {
        self.told().state = state;
    }

    /// A mailbox was looked at.
    pub fn set_tally(&self, mailbox: MailboxId, tally: Tally) {
        self.told().mailboxes.entry(mailbox).or_default().0 = tally;
    }

    /// Only these mailboxes are there any more.
    pub fn keep_only(&self, mailboxes: impl Fn(MailboxId) -> bool) {
        self.told().mailboxes.retain(|id, _| mailboxes(*id));
    }

    /// What was measured of a mailbox.
    pub fn set_measured(&self, mailbox: MailboxId, measured: Measured) {
        self.told().mailboxes.entry(mailbox).or_default().1 = measured;
    }

    /// What was measured of a mailbox, and of what was carried since.
    pub fn measured(&self, mailbox: MailboxId) -> Measured {
        self.told().mailboxes.get(&mailbox).map(|(_, measured)| *measured).unwrap_or_default()
    }

    /// So many more messages of a mailbox lie on new.
    pub fn copied(&self, mailbox: MailboxId, messages: u64, octets: u64) {
        if let Some((tally, measured)) = self.told().mailboxes.get_mut(&mailbox) {
            tally.copied += messages;
            // They count as long as not all were measured already.
            if measured.messages + messages <= tally.messages {
                measured.messages += messages;
                measured.octets += octets;
            }
        }
    }

    /// Messages have been carried.
    pub fn carried(&self, messages: u64, octets: u64) {
        let now = Instant::now();
        let mut told = self.told();
        told.carried += messages;
        told.octets_carried += octets;
        told.messages_rate.add(messages as f64, now);
        told.octets_rate.add(octets as f64, now);
    }

    /// All figures.
    pub fn figures(&self) -> Figures {
        let now = Instant::now();
        let told = self.told();
        let mut figures = Figures {
            state: told.state.clone(),
            mailboxes: told.mailboxes.len() as u64,
            carried: told.carried,
            octets_carried: told.octets_carried,
            messages_per_second: told.messages_rate.at(now),
            octets_per_second: told.octets_rate.at(now),
            ..Figures::default()
        };
        let mut octets = Octets::default();
        for (tally, measured) in told.mailboxes.values() {
            octets.add(tally.messages, tally.copied, *measured);
            figures.messages += tally.messages;
            figures.copied += tally.copied;
            figures.stuck += tally.stuck;
            figures.mailboxes_done += u64::from(tally.copied + tally.stuck >= tally.messages);
        }
        (figures.octets, figures.octets_copied) = octets.estimate().unzip();
        figures
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing under this lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mean that forgets: what happened ten seconds ago counts for a third.
#[derive(Clone, Copy, Default)]
struct Rate {
    per_second: f64,
    at: Option<Instant>,
}

impl Rate {
    fn add(&mut self, n: f64, now: Instant) {
        self.per_second = self.at(now) + n / FORGET.as_secs_f64();
        self.at = Some(now);
    }

    fn at(&self, now: Instant) -> f64 {
        let age = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.per_second * (-age.as_secs_f64() / FORGET.as_secs_f64()).exp()
    }
}

const FORGET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_late() {
        let progress = Progress::default();
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            progress.carried(10, 1000);
        }
        let figures = progress.figures();
        assert_eq!((figures.carried, figures.octets_carried), (6_000, 600_000));
        assert!((figures.messages_per_second - 100.0).abs() < 2.0, "{figures:?}");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(progress.figures().octets_per_second < 1.0);
    }

    #[test]
    fn mailboxes_add_up_and_go() {
        let progress = Progress::default();
        let tally = |messages, copied, stuck| Tally { messages, copied, stuck };
        progress.set_tally(MailboxId(1), tally(10, 9, 1));
        progress.set_tally(MailboxId(2), tally(5, 2, 0));
        progress.set_tally(MailboxId(2), tally(5, 3, 0));
        let figures = progress.figures();
        let counts = (figures.messages, figures.copied, figures.stuck);
        assert_eq!((counts, figures.mailboxes, figures.mailboxes_done), ((15, 12, 1), 2, 1));
        assert_eq!(progress.figures().octets, None);
        progress.copied(MailboxId(2), 1, 200);
        // The other ones are taken to be as large.
        let octets = |figures: Figures| (figures.octets, figures.octets_copied);
        assert_eq!(octets(progress.figures()), (Some(3_000), Some(2_600)));
        progress.set_measured(MailboxId(1), Measured { messages: 10, octets: 5_000 });
        assert_eq!(octets(progress.figures()), (Some(6_000), Some(5_300)));
        progress.keep_only(|id| id == MailboxId(1));
        assert_eq!(progress.figures().messages, 10);
    }
}
