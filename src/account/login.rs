//! Who logs in where (DESIGN §8): the primary side judges the password, once per attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::mailbox::lock;
use super::phase::Phases;
use super::{Access, Account, AccountError};
use crate::backend::{
    BackendError, Breaker, Conn, Learned, Origin, Pool, Profile, Strain, Want, connect,
};
use crate::base::{AccountName, Phase, Proof, SecretString, Side, Sides, TokenRefusal};
use crate::config::{Backend, BackendLogin, Config, Limits, Mode};
use crate::index::{Batch, Index, IndexError};

/// So long the very first login waits for the side that does not judge it.
const FIRST_MEETING: Duration = Duration::from_secs(5);

/// A keyed hash of what a login showed; says nothing about the secret outside of this process.
pub(super) type Digest = [u8; 32];

pub(super) struct Judged {
    access: Arc<Access>,
    at: Instant,
}

/// Why a login did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The primary side said no, or the name is no account's.
    #[error("{0}")]
    Refused(String),
    /// The primary side does not take the token.
    #[error("{0}")]
    TokenRefused(String, Box<TokenRefusal>),
    /// The primary side could not be asked.
    #[error(transparent)]
    Backend(BackendError),
    /// The account's phase is being changed.
    #[error(transparent)]
    Moving(AccountError),
    /// The account could not be looked up.
    #[error("index: {0}")]
    Index(#[from] IndexError),
}

/// All accounts that somebody uses.
pub struct Accounts {
    pub(super) config: Arc<Config>,
    limits: Arc<Limits>,
    backends: Sides<Arc<Backend>>,
    index: Index,
    key: [u8; 32],
    open: DashMap<AccountName, Arc<Account>>,
    learned: Arc<Learned>,
    /// The version of it that was written down last.
    remembered: AtomicU64,
    strain: Sides<Arc<Strain>>,
    breakers: Sides<Arc<Breaker>>,
    /// What accounts are called on each side that were enrolled so.
    pub(super) logins: DashMap<AccountName, Sides<Option<String>>>,
    pub(super) phases: Arc<Phases>,
}

impl Accounts {
    /// Nobody yet. Reads what is remembered of both servers.
    pub async fn open(config: Arc<Config>, index: Index) -> Result<Accounts, IndexError> {
        let mut key = [0; 32];
        // The hash's own random state is seeded by the system, which is what this key needs.
        for part in key.chunks_mut(8) {
            use std::hash::{BuildHasher, Hasher};
            let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
            part.copy_from_slice(&seed.to_ne_bytes());
        }
        let mut remembered = Sides::default();
        for side in Side::BOTH {
            let known = index.profile(side).await?;
            remembered[side] = known.map(|known| profile(&known, &config.backends[side]));
        }
        let phases = Arc::new(Phases::read(config.accounts.phase, &index).await?);
        let accounts = Accounts {
            logins: DashMap::new(),
            phases,
            limits: Arc::new(config.limits.clone()),
            backends: config.backends.as_ref().map(|_, b| Arc::new(b.clone())),
            breakers: Sides::from_fn(|side| Arc::new(Breaker::new(side, &config.limits))),
            config,
            index,
            key,
            open: DashMap::new(),
            learned: Arc::new(Learned::new(remembered)),
            remembered: AtomicU64::new(0),
            strain: Sides::default(),
        };
        for (name, _, record) in accounts.index.accounts().await? {
            accounts.enrolled(name, record.roll);
        }
        Ok(accounts)
    }

    /// What both servers were found to offer.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Whether a server lately showed that it cannot keep up.
    pub fn is_strained(&self, side: Side) -> bool {
        self.strain[side].is_felt(Instant::now())
    }

    /// Whether a server cannot be reached now, whoever tries.
    pub fn is_away(&self, side: Side) -> bool {
        self.breakers[side].is_open(Instant::now())
    }

    /// The settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What is remembered.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Logs a user in, as typed, for the client at `origin`. At most one attempt is made at the primary side, and none at the
    /// other one: it may lock an account out after a wrong password.
    pub async fn login(
        &self,
        typed: &str,
        proof: &Proof,
        origin: Origin,
    ) -> Result<(Arc<Account>, Arc<Access>), LoginError> {
        self.remember_found().await?;
        let origin = Arc::new(origin);
        let refuse = |why: &str| LoginError::Refused(why.to_owned());
        let name = self.config.accounts.account(typed).ok_or_else(|| refuse("no such account"))?;
        // An empty password makes some directories say yes to anybody (RFC 4513 §5.1.2).
        if proof.expose_secret().is_empty() {
            return Err(refuse("empty password"));
        }
        let digest = self.digest(typed, proof);
        if let Some(account) = self.open.get(&name).map(|a| Arc::clone(&a))
            && let Some(access) = account.remembered(&digest, self.config.auth.remember)
        {
            access.pools.iter().for_each(|(_, pool)| pool.came_from(&origin));
            return Ok((account, access));
        }

        // While the phase is being changed, nobody is let in; who was judged by a side that the next
        // phase does not have is judged anew.
        let mut entered = match self.open.get(&name).map(|a| Arc::clone(&a)) {
            Some(account) => Some(account.enter().await.map_err(LoginError::Moving)?),
            None => None,
        };
        let phase = self.phase(&name);
        let primary = match phase {
            Phase::Old => Side::Old,
            Phase::Merged => self.config.auth.primary,
            Phase::New => Side::New,
        };
        let backend = &self.backends[primary];
        let own = self.credentials(primary, &name).own(typed, &name, proof);
        let breaker = &self.breakers[primary];
        let judge = connect(primary, backend, &own, &self.limits, Some(&origin), breaker).await;
        let mut conn = judge.map_err(|e| match e {
            BackendError::Refused { text, token: Some(token), .. } => {
                LoginError::TokenRefused(text, token)
            }
            BackendError::Refused { text, .. } => LoginError::Refused(text),
            other => {
                self.strain[primary].note(Instant::now());
                LoginError::Backend(other)
            }
        })?;

        conn.report_to(&self.learned, &self.strain[primary]);
        remember(&self.learned, &self.index, primary).await?;
        let account = self.account(&name).await?;
        if entered.is_none() {
            entered = Some(account.enter().await.map_err(LoginError::Moving)?);
        }
        if self.phase(&name) != phase {
            return Err(LoginError::Moving(AccountError::Moving(name)));
        }
        let access = account.admit(digest, || self.access(typed, &name, proof));
        if proof.is_token() {
            account.renew_tokens(&access);
        }
        account.follow(&access);
        for (_, pool) in access.pools.iter() {
            pool.try_again();
            pool.came_from(&origin);
        }
        access.pools[primary].adopt(conn);
        drop(entered);
        if let Proof::Password(password) = proof {
            self.keep(&name, typed, password).await;
        }
        if !phase.has(primary.other()) {
            return Ok((account, access));
        }
        // The other side is opened behind the answer; the client does not wait for it.
        let other = Arc::clone(&access.pools[primary.other()]);
        let (learned, index) = (Arc::clone(&self.learned), self.index.clone());
        let is_stranger = learned.profile(primary.other()).is_none();
        let opening = tokio::spawn(async move {
            match other.lend(&Want::Nothing).await {
                Ok(lease) => lease.give_back(),
                Err(e) => warn!(account = %name, "login goes on with one side: {e}"),
            }
            if let Err(e) = remember(&learned, &index, primary.other()).await {
                warn!(side = %primary.other(), "what the server offers is not remembered: {e}");
            }
        });
        if is_stranger {
            // Nobody was ever logged in there, so nobody knows what can be offered: whoever is the
            // first waits, and would otherwise be told of less than everybody after him.
            drop(timeout(FIRST_MEETING, opening).await);
        }
        Ok((account, access))
    }

    /// Asks the primary side what it offers before anybody is logged in, if nobody ever was.
    ///
    /// # Errors
    /// It cannot be asked now.
    pub async fn meet(&self) -> Result<(), BackendError> {
        let primary = self.config.auth.primary;
        if self.learned.profile(primary).is_none() {
            let mut conn = Conn::greet(primary, &self.backends[primary], &self.limits).await?;
            conn.learn_capabilities().await?;
            self.learned.note_stranger(primary, conn.profile());
        }
        Ok(())
    }

    /// Whether users are let in with a bearer token: by the side that judges, and whatever the
    /// other one does, so that a token of one server never opens the mailboxes of the other.
    pub fn takes_tokens(&self) -> bool {
        self.learned.takes_tokens(self.config.auth.primary)
    }

    /// An account and what may be reached of it on both sides, whatever its phase and whether or not
    /// anybody is logged in: for a change of its phase.
    ///
    /// # Errors
    /// A side wants the user's own password, and nobody who knows it has logged in lately.
    pub async fn background_of_both(
        &self,
        name: &AccountName,
    ) -> Result<(Arc<Account>, Arc<Access>), AccountError> {
        let account = self.account(name).await?;
        if let Some(logins) = self.background_logins(name).await? {
            return Ok((account, Arc::new(self.access_with(name, logins))));
        }
        // The latest login's secret is the one that is right.
        let latest = account.access.iter().max_by_key(|judged| judged.at);
        let latest = latest.map(|judged| Arc::clone(&judged.access));
        let access = latest.ok_or_else(|| AccountError::NobodyLoggedIn(name.clone()))?;
        let pools = access.pools.as_ref().map(|_, pool| pool.another());
        Ok((account, Arc::new(Access { pools, poll_interval: self.limits.poll_interval })))
    }

    /// An account, made if it is not there yet.
    pub async fn account(&self, name: &AccountName) -> Result<Arc<Account>, IndexError> {
        let id = self.index.account(name).await?;
        let make = || {
            let (index, config) = (self.index.clone(), Arc::clone(&self.config));
            Account::new(name.clone(), id, index, config, Arc::clone(&self.phases))
        };
        let account = self.open.entry(name.clone()).or_insert_with(|| Arc::new(make()));
        Ok(Arc::clone(&account))
    }

    /// An account that somebody uses.
    pub fn in_use(&self, name: &AccountName) -> Option<Arc<Account>> {
        self.open.get(name).map(|account| Arc::clone(&account))
    }

    /// What background work may reach for an account: with logins of its own where both sides have
    /// some (`master`, `table`, `learned`), else with those of a client that is, or just was, logged in.
    /// `None`: nobody can log in for it now.
    pub async fn background(
        &self,
        name: &AccountName,
    ) -> Result<Option<(Arc<Account>, Arc<Access>)>, IndexError> {
        let Some(logins) = self.background_logins(name).await? else {
            let Some(account) = self.in_use(name) else { return Ok(None) };
            let access = account.all_access().into_iter().next();
            return Ok(access.map(|access| (account, access)));
        };
        let account = self.account(name).await?;
        let access = account.admit_background(|| self.access_with(name, logins));
        Ok(Some((account, access)))
    }

    /// The same to look at only, so that nothing is written down of an account that nobody has seen
    /// yet; with the user's own password where one is given.
    ///
    /// # Errors
    /// Only with a password: as for [`background_with`](Self::background_with).
    pub async fn preview(
        &self,
        name: &AccountName,
        password: Option<&SecretString>,
    ) -> Result<Option<Arc<Access>>, LoginError> {
        if let Some(password) = password {
            return self.judged(name, password).await.map(Some);
        }
        if let Some(logins) = self.background_logins(name).await? {
            return Ok(Some(Arc::new(self.access_with(name, logins))));
        }
        Ok(self.in_use(name).and_then(|account| account.all_access().into_iter().next()))
    }

    /// The same, for who knows the user's own password: it is shown where a side has no login for
    /// background work, to the side that judges passwords first.
    ///
    /// # Errors
    /// The side that judges refuses it; the other one is then not asked at all.
    pub async fn background_with(
        &self,
        name: &AccountName,
        password: &SecretString,
    ) -> Result<(Arc<Account>, Arc<Access>), LoginError> {
        let access = self.judged(name, password).await?;
        Ok((self.account(name).await?, access))
    }

    async fn judged(
        &self,
        name: &AccountName,
        password: &SecretString,
    ) -> Result<Arc<Access>, LoginError> {
        let proof = Proof::Password(password.clone());
        let logins = Sides::from_fn(|side| {
            let credentials = self.credentials(side, name);
            let own = || credentials.own(name.as_str(), name, &proof);
            Some(credentials.for_background(name).unwrap_or_else(own))
        });
        let access = Arc::new(self.access_with(name, logins));
        match access.pools[self.config.auth.primary].lend(&Want::Nothing).await {
            Ok(lease) => lease.give_back(),
            Err(BackendError::Refused { text, .. }) => return Err(LoginError::Refused(text)),
            Err(e) => return Err(LoginError::Backend(e)),
        }
        Ok(access)
    }

    /// Writes down what connections have found out about the servers since.
    async fn remember_found(&self) -> Result<(), IndexError> {
        let version = self.learned.version();
        if self.remembered.swap(version, Ordering::AcqRel) != version {
            for side in Side::BOTH {
                remember(&self.learned, &self.index, side).await?;
            }
        }
        Ok(())
    }

    fn access(&self, typed: &str, name: &AccountName, proof: &Proof) -> Access {
        // The side that judges is shown the client's own password or token by all of its connections.
        let login = |side: Side| {
            let credentials = self.credentials(side, name);
            match side == self.config.auth.primary {
                true => Some(credentials.own(typed, name, proof)),
                false => credentials.for_login(typed, name, proof),
            }
        };
        self.access_with(name, Sides::from_fn(login))
    }

    /// Pools with these logins; on a side without one nobody is let in.
    fn access_with(&self, name: &AccountName, mut logins: Sides<Option<BackendLogin>>) -> Access {
        let pools = Sides::from_fn(|side| {
            let backend = Arc::clone(&self.backends[side]);
            let login = logins[side].take();
            let missing = login.is_none();
            let login = login.unwrap_or_else(|| BackendLogin {
                authzid: None,
                authcid: name.to_string(),
                proof: Proof::Password(SecretString::from("")),
            });
            let (limits, learned) = (Arc::clone(&self.limits), Arc::clone(&self.learned));
            let strain = Arc::clone(&self.strain[side]);
            let breaker = Arc::clone(&self.breakers[side]);
            let pool = Pool::new(side, backend, login, limits, learned, strain, breaker);
            if missing {
                let file = match &self.backends[side].credentials.mode {
                    Mode::Table(table) => table.file.display().to_string(),
                    Mode::Same | Mode::Master(_) | Mode::Learned(_) => String::new(),
                };
                pool.refuse(format!("{file} has no line for {name}"));
            }
            pool
        });
        Access { pools, poll_interval: self.limits.poll_interval }
    }

    fn digest(&self, typed: &str, proof: &Proof) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(typed.len() as u64).to_be_bytes());
        hasher.update(typed.as_bytes());
        hasher.update(&[u8::from(proof.is_token())]);
        hasher.update(proof.expose_secret().as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Closes idle connections and forgets what nobody uses. Called from time to time.
    pub fn sweep(&self) {
        for account in &self.open {
            account.sweep(self.config.auth.remember);
        }
        self.open.retain(|name, account| {
            let used = Arc::strong_count(account) > 1
                || !account.access.is_empty()
                || !account.open.is_empty();
            if !used {
                info!(account = %name, "nobody uses it any more");
            }
            used
        });
    }
}

/// Writes down what a side offers, where it is not what is written already.
async fn remember(learned: &Learned, index: &Index, side: Side) -> Result<(), IndexError> {
    let Some(profile) = learned.profile(side) else { return Ok(()) };
    let text = profile.words().collect::<Vec<_>>().join(" ").into_bytes();
    if index.profile(side).await?.as_ref() != Some(&text) {
        let mut batch = Batch::new();
        batch.put_profile(side, text);
        index.submit(batch).await?;
    }
    Ok(())
}

/// A profile as [`remember`] wrote it, less what the operator masks by now.
fn profile(text: &[u8], backend: &Backend) -> Profile {
    let names = String::from_utf8_lossy(text);
    let names = names.split_whitespace().map(str::to_owned);
    Profile::new(names, &backend.mask, &backend.quirks)
}

impl Account {
    /// All that logins of this account may reach.
    pub(super) fn all_access(&self) -> Vec<Arc<Access>> {
        let background = lock(&self.background).upgrade();
        let judged = self.access.iter().map(|judged| Arc::clone(&judged.access));
        judged.chain(background).collect()
    }

    fn remembered(&self, digest: &Digest, remember: std::time::Duration) -> Option<Arc<Access>> {
        let judged = self.access.get(digest)?;
        let good = judged.at.elapsed() < remember && !judged.access.has_stale_token();
        good.then(|| Arc::clone(&judged.access))
    }

    fn admit(&self, digest: Digest, make: impl FnOnce() -> Access) -> Arc<Access> {
        let now = Instant::now();
        let mut judged = self
            .access
            .entry(digest)
            .or_insert_with(|| Judged { access: Arc::new(make()), at: now });
        judged.at = now;
        Arc::clone(&judged.access)
    }

    /// Sessions that logged in with earlier tokens go on with the latest one.
    fn renew_tokens(&self, latest: &Access) {
        for judged in &self.access {
            for (side, pool) in judged.access.pools.iter() {
                pool.take_token_of(&latest.pools[side]);
            }
        }
    }

    fn admit_background(&self, make: impl FnOnce() -> Access) -> Arc<Access> {
        let mut background = lock(&self.background);
        if let Some(access) = background.upgrade() {
            return access;
        }
        let access = Arc::new(make());
        *background = Arc::downgrade(&access);
        access
    }

    fn sweep(&self, remember: std::time::Duration) {
        self.open.retain(|_, mailbox| Arc::strong_count(mailbox) > 1);
        self.access.retain(|_, judged| {
            let warm: Vec<bool> =
                judged.access.pools.iter().map(|(_, pool)| pool.sweep()).collect();
            Arc::strong_count(&judged.access) > 1
                || warm.contains(&true)
                || judged.at.elapsed() < remember
        });
    }
}
