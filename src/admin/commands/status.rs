//! `status`: how far everything is.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::account::now;
use crate::admin::{Admin, Command, Refusal, Teller, Whose};
use crate::base::{AccountName, Phase};
use crate::ferry::State as Doing;
use crate::index::{AccountId, AccountRecord, Setting};

/// What an account's messages were counted to be is believed for so long, though some have changed since.
const BELIEVED: Duration = Duration::from_secs(10);
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
    /// Whether the copying of all accounts is paused.
    pub paused: bool,
    /// Accounts by phase.
    pub phases: BTreeMap<Phase, u64>,
    /// Sessions in which somebody is logged in.
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
    /// Octets carried in the background since the proxy was started.
    pub octets_carried: u64,
    /// Messages a second, of late.
    pub messages_per_second: f64,
    /// Octets a second, of late.
    pub octets_per_second: f64,
    /// How long the rest takes at that rate, in seconds.
    pub seconds_left: Option<u64>,
}

/// The messages of an account, as the index has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    mailboxes: u64,
    old: u64,
    new: u64,
    both: u64,
    stuck: u64,
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

fn doing(state: &Doing) -> Option<String> {
    match state {
        Doing::Waiting => None,
        Doing::Copying => Some("copying".to_owned()),
        Doing::Yielding => Some("makes room for a client".to_owned()),
        Doing::Paused(why) => Some(format!("rests: {why}")),
        Doing::Settled => Some("settled".to_owned()),
    }
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
            paused: server.accounts.index().setting(Setting::Paused).await?.is_some(),
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
                return Err(Refusal::failed(format!("nobody has ever seen {name}"))
                    .next("an account is known once its user has logged in, or it was imported"));
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
        let left = tally.old.saturating_sub(tally.stuck) as f64;
        let rate = figures.messages_per_second;
        Ok(AccountState {
            account: name.to_string(),
            phase,
            wave: record.wave.clone(),
            priority: record.roll.priority,
            paused: record.paused,
            doing: doing(&figures.state),
            sessions,
            mailboxes: tally.mailboxes,
            messages: tally.old + tally.both,
            copied: tally.both,
            only_new: tally.new,
            stuck: tally.stuck,
            octets_carried: figures.octets_carried,
            messages_per_second: rate,
            octets_per_second: figures.octets_per_second,
            // At a rate of nothing, nobody knows.
            seconds_left: (rate > 0.01).then_some((left / rate) as u64),
        })
    }

    async fn tally(&self, name: &AccountName, id: AccountId) -> Result<Tally, Refusal> {
        let index = self.server.accounts.index();
        let changed = index.changed(id);
        if let Some((at, counted, tally)) = self.tallies.get(name).map(|known| *known)
            && (counted == changed || at.elapsed() < BELIEVED)
        {
            return Ok(tally);
        }
        let dump = index.dump(Some(name.clone()), 0).await?;
        let mut tally = Tally::default();
        let mailboxes = dump.accounts.iter().flat_map(|account| &account.mailboxes);
        for mailbox in mailboxes.filter(|mailbox| !mailbox.hidden) {
            tally.mailboxes += 1;
            tally.old += mailbox.messages.old;
            tally.new += mailbox.messages.new;
            tally.both += mailbox.messages.both;
            tally.stuck += mailbox.stuck.len() as u64;
        }
        self.tallies.insert(name.clone(), (Instant::now(), changed, tally));
        Ok(tally)
    }
}
