//! COPY and MOVE.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::base::MailboxName;
use crate::uid::SeqSet;

impl Session {
    pub(super) async fn copy(
        &mut self,
        _user: &User,
        _uid: bool,
        _set: &SeqSet,
        _target: &MailboxName,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn move_to(
        &mut self,
        _user: &User,
        _uid: bool,
        _set: &SeqSet,
        _target: &MailboxName,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
