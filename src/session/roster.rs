//! Who is logged in: what `kick` ends and `status` counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::account::{SessionId, now};
use crate::base::AccountName;

/// How often it is looked whether sessions have ended.
const LOOK: Duration = Duration::from_millis(20);

/// All sessions in which somebody is logged in.
#[derive(Default)]
pub struct Roster {
    present: DashMap<SessionId, Present>,
}

/// One session in which somebody is logged in, to read or to send.
#[derive(Clone, Debug)]
pub struct Present {
    /// Who.
    pub account: AccountName,
    /// From where.
    pub peer: SocketAddr,
    /// Since when, in Unix seconds.
    pub since: u64,
    /// Cancelled to end the session.
    ending: CancellationToken,
}

impl Roster {
    /// Somebody has logged in. The session ends when `ending` is cancelled; the entry lasts as long
    /// as what this returns.
    pub fn enter(
        self: &Arc<Roster>,
        id: SessionId,
        account: AccountName,
        peer: SocketAddr,
        ending: CancellationToken,
    ) -> Entry {
        self.present.insert(id, Present { account, peer, since: now(), ending });
        Entry { roster: Arc::clone(self), id }
    }

    /// Those of one account, or all, by number.
    pub fn list(&self, account: Option<&AccountName>) -> Vec<(SessionId, Present)> {
        let wanted = |present: &Present| account.is_none_or(|account| present.account == *account);
        let all = self.present.iter().filter(|entry| wanted(entry.value()));
        let mut all: Vec<_> = all.map(|entry| (*entry.key(), entry.value().clone())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    /// Ends the sessions that an account has now, and gives their number when they have ended, or
    /// when `patience` is over. A write that has begun goes on to its end all the same. Clients may
    /// connect again at once.
    pub async fn end(&self, account: &AccountName, patience: Duration) -> usize {
        let ended = self.list(Some(account));
        ended.iter().for_each(|(_, present)| present.ending.cancel());
        let until = Instant::now() + patience;
        while ended.iter().any(|(id, _)| self.present.contains_key(id)) && Instant::now() < until {
            sleep(LOOK).await;
        }
        ended.len()
    }
}

/// An entry, for as long as it lives.
pub struct Entry {
    roster: Arc<Roster>,
    id: SessionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.roster.present.remove(&self.id);
    }
}
