//! Passwords of mode `learned` (DESIGN §8): kept from one login to the next, sealed.
//!
//! What is kept is the name as it was typed and the password of a login that the judging side
//! accepted. It lies in the index encrypted and authenticated (AES-256-GCM, a fresh nonce each
//! time), bound to its account and side, under a key that lies elsewhere: whoever has the index
//! alone has no password. What was sealed with another key is as good as nothing, until the next login.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::Accounts;
use super::mailbox::lock;
use crate::base::{AccountName, ExposeSecret, Proof, SecretString, Side, Sides};
use crate::config::{BackendLogin, Mode};
use crate::index::{Batch, IndexError};

/// What makes the key of its text; another purpose has another context.
const CONTEXT: &str = "mailferry 2026 passwords of mode learned";

/// Where the name ends and the password begins: neither can hold it.
const BETWEEN: char = '\0';

/// What a login showed.
struct Kept {
    typed: String,
    password: SecretString,
}

impl Accounts {
    /// Keeps what a login showed that was found right, where a side is to remember it.
    pub(super) async fn keep(&self, name: &AccountName, typed: &str, password: &SecretString) {
        let mut batch = Batch::new();
        for side in Side::BOTH {
            let Mode::Learned(key) = &self.config.backends[side].credentials.mode else { continue };
            let is_known = self.kept(side, name).await.is_ok_and(|kept| {
                kept.is_some_and(|kept| {
                    let secrets = (kept.password.expose_secret(), password.expose_secret());
                    kept.typed == typed && secrets.0 == secrets.1
                })
            });
            if !is_known {
                match seal(key, side, name, typed, password) {
                    Some(sealed) => batch.put_kept(side, name, sealed),
                    None => warn!(account = %name, %side, "the password cannot be sealed"),
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        match self.index().submit(batch).await {
            Ok(()) => info!(account = %name, "its password is remembered, sealed"),
            // The login itself is none the worse for it.
            Err(e) => warn!(account = %name, "its password is not remembered: {e}"),
        }
    }

    /// Forgets what logins of an account showed; whether there was anything. Background work that is
    /// under way with it gets no new connection.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub async fn forget(&self, name: &AccountName) -> Result<bool, IndexError> {
        let mut known = false;
        let mut batch = Batch::new();
        for side in Side::BOTH {
            if self.index().kept(side, name).await?.is_some() {
                known = true;
                batch.del_kept(side, name);
            }
        }
        if !known {
            return Ok(false);
        }
        self.index().submit(batch).await?;
        if let Some(account) = self.in_use(name)
            && let Some(access) = lock(&account.background).upgrade()
        {
            for (_, pool) in access.pools.iter() {
                pool.refuse("its password was forgotten".to_owned());
            }
        }
        Ok(true)
    }

    /// What is shown to a side where no client is there to ask: its own login of the configuration,
    /// or what it has learned. `None`: the user's password is needed.
    pub(super) async fn background_login(
        &self,
        side: Side,
        name: &AccountName,
    ) -> Result<Option<BackendLogin>, IndexError> {
        let credentials = self.credentials(side, name).into_owned();
        if let Some(login) = credentials.for_background(name) {
            return Ok(Some(login));
        }
        let kept = self.kept(side, name).await?;
        let own = |kept: Kept| credentials.own(&kept.typed, name, &Proof::Password(kept.password));
        Ok(kept.map(own))
    }

    /// The same for both sides, if each has one.
    pub(super) async fn background_logins(
        &self,
        name: &AccountName,
    ) -> Result<Option<Sides<Option<BackendLogin>>>, IndexError> {
        let old = self.background_login(Side::Old, name).await?;
        let new = self.background_login(Side::New, name).await?;
        let both = old.is_some() && new.is_some();
        Ok(both.then_some(Sides { old, new }))
    }

    async fn kept(&self, side: Side, name: &AccountName) -> Result<Option<Kept>, IndexError> {
        let Mode::Learned(key) = &self.config.backends[side].credentials.mode else {
            return Ok(None);
        };
        let Some(sealed) = self.index().kept(side, name).await? else { return Ok(None) };
        let kept = open(key, side, name, sealed);
        if kept.is_none() {
            warn!(account = %name, %side, "the remembered password was sealed with another key");
        }
        Ok(kept)
    }
}

fn seal(
    key: &SecretString,
    side: Side,
    name: &AccountName,
    typed: &str,
    password: &SecretString,
) -> Option<Vec<u8>> {
    let mut text = Zeroizing::new(format!("{typed}{BETWEEN}{}", password.expose_secret()));
    let mut sealed = std::mem::take(&mut *text).into_bytes();
    let bound = Aad::from(format!("{side} {name}"));
    // Encrypted in place: nothing readable of it stays in memory.
    let nonce = sealer(key)?.seal_in_place_append_tag(bound, &mut sealed).ok()?;
    Some([nonce.as_ref().as_slice(), &sealed].concat())
}

fn open(key: &SecretString, side: Side, name: &AccountName, sealed: Vec<u8>) -> Option<Kept> {
    let mut sealed = Zeroizing::new(sealed);
    let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let bound = Aad::from(format!("{side} {name}"));
    let text = sealer(key)?.open_in_place(nonce, bound, rest).ok()?;
    let (typed, password) = std::str::from_utf8(text).ok()?.split_once(BETWEEN)?;
    Some(Kept { typed: typed.to_owned(), password: SecretString::from(password) })
}

fn sealer(key: &SecretString) -> Option<RandomizedNonceKey> {
    let key = Zeroizing::new(blake3::derive_key(CONTEXT, key.expose_secret().as_bytes()));
    RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v9_what_is_sealed_is_opened_with_its_key_for_its_account_and_side_alone() {
        let key = SecretString::from("0123456789abcdef0123456789abcdef");
        let name = |name: &str| AccountName::canonical(name, None).unwrap();
        let (ann, bob) = (name("ann@a.org"), name("bob@a.org"));
        let password = SecretString::from("geheim");
        let sealed = seal(&key, Side::Old, &ann, "Ann", &password).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"geheim"));
        assert_ne!(sealed, seal(&key, Side::Old, &ann, "Ann", &password).unwrap(), "a nonce each");
        let kept = open(&key, Side::Old, &ann, sealed.clone()).unwrap();
        assert_eq!((kept.typed.as_str(), kept.password.expose_secret()), ("Ann", "geheim"));
        assert!(open(&key, Side::New, &ann, sealed.clone()).is_none());
        assert!(open(&key, Side::Old, &bob, sealed.clone()).is_none());
        let other = SecretString::from("0123456789abcdef0123456789abcdeX");
        assert!(open(&other, Side::Old, &ann, sealed.clone()).is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open(&key, Side::Old, &ann, altered).is_none(), "octet {at}");
            assert!(open(&key, Side::Old, &ann, sealed[..at].to_vec()).is_none(), "cut at {at}");
        }
    }
}
