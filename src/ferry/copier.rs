//! The copier of one account.

use std::sync::Arc;

use super::Tee;
use crate::account::{Access, Account, AccountError, Mailbox};
use crate::config::Config;
use crate::uid::{Uid, UidSet};

/// Carries the messages of one account.
pub struct Copier {
    account: Arc<Account>,
    config: Arc<Config>,
}

impl Copier {
    pub(super) fn new(account: Arc<Account>, config: Arc<Config>) -> Arc<Copier> {
        Arc::new(Copier { account, config })
    }

    pub(super) fn renew(&self, _access: &Arc<Access>) {
        let _ = (&self.account, &self.config);
    }

    /// A message's content was opened: it is to be carried over. The caller never waits.
    pub fn opened(&self, _mailbox: &Arc<Mailbox>, _uid: Uid, _tee: Option<Tee>) {}

    /// Carries these messages over now, and returns when they lie on both sides.
    pub async fn carry(
        &self,
        _mailbox: &Arc<Mailbox>,
        _uids: &UidSet<Uid>,
    ) -> Result<(), AccountError> {
        Ok(())
    }
}
