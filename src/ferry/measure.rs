//! How much there is to carry, in octets: to tell how far it is, and for nothing else.

use std::sync::Arc;

use tracing::warn;

use super::pass::Pass;
use super::plan::{Told, status};
use crate::account::{AccountError, Mailbox};
use crate::backend::{BackendError, Want};
use crate::base::Side;
use crate::index::Measured;

impl Pass<'_> {
    /// Learns how large the messages are of a mailbox that is about to be carried: what is remembered, or
    /// else what old says of all at once. Where it does not, what is carried shows it. Gives what was
    /// remembered of it.
    pub(super) async fn measure(&self, mailbox: &Arc<Mailbox>) -> Result<Measured, AccountError> {
        let remembered = mailbox.measured().await?;
        let mut measured = remembered;
        let messages = u64::from(mailbox.view().map.side_uids(Side::Old).len());
        // It may take a server that has never counted them a while: once is enough.
        if measured.messages * 2 < messages {
            match self.ask_size(mailbox).await {
                Ok(Some(told)) => measured = told,
                Ok(None) => {}
                Err(e) => warn!(mailbox = %mailbox.name(), "its size is not known: {e}"),
            }
        }
        self.progress.set_measured(mailbox.id(), measured);
        Ok(remembered)
    }

    async fn ask_size(&self, mailbox: &Mailbox) -> Result<Option<Measured>, BackendError> {
        let Some(name) = mailbox.view().names.old.clone() else { return Ok(None) };
        let mut old = self.access.pools.old.lend(&Want::Nothing).await?;
        if !old.profile().can("STATUS=SIZE") {
            old.give_back();
            return Ok(None);
        }
        let told = status(&mut old, &name).await?;
        old.give_back();
        Ok(match told {
            Some(Told { messages, size: Some(octets) }) => Some(Measured { messages, octets }),
            _ => None,
        })
    }
}
