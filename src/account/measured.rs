//! How large a mailbox's messages on old are, as far as that was measured: for whoever shows progress.

use super::{AccountError, Mailbox};
use crate::index::{Batch, Measured};

impl Mailbox {
    /// What was measured of it, also before the last restart.
    pub async fn measured(&self) -> Result<Measured, AccountError> {
        Ok(self.index.measured(self.account, self.id()).await?)
    }

    /// Remembers what was measured of it, some time: nothing depends on it.
    pub fn remember_measured(&self, measured: Measured) {
        let mut batch = Batch::new();
        batch.put_measured(self.account, self.id(), measured);
        drop(self.index.submit(batch));
    }
}
