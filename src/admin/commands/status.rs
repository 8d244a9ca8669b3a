//! `status`: how far everything is.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::account::now;
use crate::admin::{Admin, Command, Refusal, Teller, Whose};
use crate::base::{AccountName, Phase};
use crate::ferry::{Held, State as Doing};
use crate::index::{AccountId, AccountRecord, Setting, Tally};

/// What an account's messages were counted to be is believed so many times as long as counting them took,
/// though some have changed since: whoever watches costs the proxy a twentieth of a processor.
const BELIEVED: u32 = 20;
/// `--watch` looks this often.
const LOOK: Duration = Duration::from_secs(1);

/// How far everything is, or some of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// Only these accounts; nobody: all.
    pub whose: Whose,
    /// Goes on telling until whoever asked goes away.
    pub watch: bool,
}

/// The state of the proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// When, in Unix seconds.
    pub at: u64,
    /// The proxy's version.
    pub version: String,
    /// Whether anything is copied in the background at all.
    pub enabled: bool,
    /// Whether the copying of all accounts is paused.
    pub paused: bool,
    /// How far copying is held back for the sake of clients; `None`: it is not.
    pub held: Option<Held>,
    /// Accounts by phase.
    pub phases: BTreeMap<Phase, u64>,
    /// Sessions in which somebody is logged in, to read or to send.
    pub sessions: u64,
    /// Each account, by name.
    pub accounts: Vec<AccountState>,
}

/// The state of one account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountState {
    /// Its canonical name.
    pub account: String,
    /// Its phase.
    pub phase: Phase,
    /// Its wave.
    pub wave: Option<String>,
    /// Its turn; lower comes first.
    pub priority: Option<u32>,
    /// Whether its own copying is paused.
    pub paused: bool,
    /// What is being done for it in the background.
    pub doing: Option<String>,
    /// Its clients that are logged in.
    pub sessions: u64,
    /// Mailboxes that were ever seen.
    pub mailboxes: u64,
    /// Messages that lie on old.
    pub messages: u64,
    /// Those of them that lie on new as well.
    pub copied: u64,
    /// Messages that lie on new alone.
    pub only_new: u64,
    /// Messages that new refused.
    pub stuck: u64,
    /// About so many octets lie on old; `None`: nothing was measured yet.
    pub octets: Option<u64>,
    /// About so many of them on new as well.
    pub octets_copied: Option<u64>,
    /// Octets carried in the background since the proxy was started.
    pub octets_carried: u64,
    /// Messages a second, of late.
    pub messages_per_second: f64,
    /// Octets a second, of late.
    pub octets_per_second: f64,
    /// How long the rest takes at that rate, in seconds.
    pub seconds_left: Option<u64>,
}

impl Command for Status {
    const NAME: &'static str = "status";
    type Progress = State;
    type Done = State;

    fn noted(&self) -> Option<String> {
        None
    }

    async fn run(self, admin: &Admin, teller: &mut Teller<'_, State>) -> Result<State, Refusal> {
        let only = match self.whose.is_nobody() {
            true => None,
            false => Some(admin.accounts(&self.whose).await?),
        };
        loop {
            let state = admin.status(only.as_deref()).await?;
            if !self.watch {
                return Ok(state);
            }
            teller.tell(state).await?;
            sleep(LOOK).await;
        }
    }
}

/// `held`: for the sake of clients.
fn doing(state: &Doing, held: bool) -> Option<String> {
    match state {
        Doing::Waiting => None,
        Doing::Copying if held => Some("copying, held back for clients".to_owned()),
        Doing::Copying => Some("copying".to_owned()),
        Doing::Yielding => Some("makes room for a client".to_owned()),
        Doing::Paused(why) => Some(format!("rests: {why}")),
        Doing::Settled => Some("settled".to_owned()),
    }
}

/// How long so many take at so many a second. At a rate of nothing, nobody knows.
fn seconds_left((left, rate): (u64, f64)) -> Option<u64> {
    (rate > 0.01).then_some((left as f64 / rate) as u64)
}

impl Admin {
    /// The state of the proxy, and of these accounts or all.
    pub async fn status(&self, only: Option<&[AccountName]>) -> Result<State, Refusal> {
        let server = &self.server;
        let sessions = server.roster.list(None);
        let mut of: BTreeMap<&AccountName, u64> = BTreeMap::new();
        for (_, present) in &sessions {
            *of.entry(&present.account).or_default() += 1;
        }
        let mut state = State {
            at: now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            enabled: server.accounts.config().trickle.enabled,
            paused: server.accounts.index().setting(Setting::Paused).await?.is_some(),
            held: server.ferry.courtesy().held(),
            phases: Phase::ALL.into_iter().map(|phase| (phase, 0)).collect(),
            sessions: sessions.len() as u64,
            accounts: Vec::new(),
        };
        let mut known = server.accounts.index().accounts().await?;
        known.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let wanted: Option<HashSet<&AccountName>> = only.map(|only| only.iter().collect());
        let mut found = HashSet::new();
        for (name, id, record) in &known {
            let phase = server.accounts.phase(name);
            *state.phases.entry(phase).or_default() += 1;
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(name)) {
                found.insert(name);
                let sessions = of.get(name).copied().unwrap_or_default();
                state.accounts.push(self.of_account(name, *id, record, phase, sessions).await?);
            }
        }
        // Asked for by name, what nobody has ever seen is told as that.
        for name in only.unwrap_or_default() {
            if !found.contains(name) {
                return Err(self.never_seen(name).await?);
            }
        }
        Ok(state)
    }

    async fn of_account(
        &self,
        name: &AccountName,
        id: AccountId,
        record: &AccountRecord,
        phase: Phase,
        sessions: u64,
    ) -> Result<AccountState, Refusal> {
        let tally = self.tally(name, id).await?;
        let mut figures = self.server.ferry.progress(name).figures();
        if let Some(rest) = self.server.ferry.rest(name) {
            figures.state = Doing::Paused(rest.to_string());
        }
        let copied = tally.both;
        // Of a mailbox that nobody has opened only a pass knows, by its STATUS.
        let messages = (tally.old + copied).max(figures.messages);
        let octets = tally.octets.estimate().filter(|_| tally.old + copied == messages);
        let passed = || figures.octets.zip(figures.octets_copied);
        let octets = octets.or_else(|| passed().filter(|_| figures.messages == messages));
        let (octets, octets_copied) = octets.filter(|_| messages > 0).unzip();
        let left = messages.saturating_sub(copied + tally.stuck);
        let octets_left = octets.zip(octets_copied).map(|(all, copied)| all.saturating_sub(copied));
        Ok(AccountState {
            account: name.to_string(),
            phase,
            wave: record.wave.clone(),
            priority: record.roll.priority,
            paused: record.paused,
            doing: doing(&figures.state, self.server.ferry.courtesy().held().is_some()),
            sessions,
            mailboxes: tally.mailboxes,
            messages,
            copied,
            only_new: tally.new,
            stuck: tally.stuck,
            octets,
            octets_copied,
            octets_carried: figures.octets_carried,
            messages_per_second: figures.messages_per_second,
            octets_per_second: figures.octets_per_second,
            seconds_left: seconds_left((left, figures.messages_per_second))
                .max(octets_left.and_then(|left| seconds_left((left, figures.octets_per_second)))),
        })
    }

    /// What an account holds, as far as it has been counted.
    pub(super) async fn tally(&self, name: &AccountName, id: AccountId) -> Result<Tally, Refusal> {
        let index = self.server.accounts.index();
        let changed = index.changed(id);
        if let Some((until, counted, tally)) = self.tallies.get(name).map(|known| *known)
            && (counted == changed || Instant::now() < until)
        {
            return Ok(tally);
        }
        let begun = Instant::now();
        let tally = index.tally(id).await?;
        let until = Instant::now() + begun.elapsed() * BELIEVED;
        self.tallies.insert(name.clone(), (until, changed, tally));
        Ok(tally)
    }
}
