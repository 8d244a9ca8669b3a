//! SELECT, EXAMINE, CLOSE, UNSELECT, and the state of a session that has a mailbox open.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{FlagNews, Mailbox};
use crate::base::MailboxName;
use crate::uid::UidMap;

/// The mailbox a session has open.
pub(in crate::session) struct Selected {
    /// Its hub.
    pub mailbox: Arc<Mailbox>,
    /// What the client has been told: the numbering of its messages. Places come from the hub.
    pub numbering: UidMap,
    /// The version of the view that `numbering` is fully up to; older if something is still owed.
    pub version: u64,
    /// Opened by EXAMINE.
    pub read_only: bool,
    /// Flag changes the client has not been told of.
    pub flags: broadcast::Receiver<FlagNews>,
}

impl Session {
    pub(super) async fn select(
        &mut self,
        _user: &User,
        _name: &MailboxName,
        _read_only: bool,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn close(&mut self, _user: &User, _expunge: bool) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
