//! STATUS.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::base::MailboxName;
use crate::imap::command::StatusItem;

impl Session {
    pub(super) async fn status(
        &mut self,
        _user: &User,
        _name: &MailboxName,
        _items: &[StatusItem],
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
