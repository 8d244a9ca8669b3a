//! LIST, LSUB, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::base::MailboxName;

impl Session {
    pub(super) async fn list(&mut self, _u: &User, _r: &[u8], _p: &[u8]) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn lsub(&mut self, _u: &User, _r: &[u8], _p: &[u8]) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn namespace(&mut self, _u: &User) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn create(&mut self, _u: &User, _n: &MailboxName) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn delete(&mut self, _u: &User, _n: &MailboxName) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn rename(
        &mut self,
        _u: &User,
        _from: &MailboxName,
        _to: &MailboxName,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }

    pub(super) async fn subscribe(
        &mut self,
        _u: &User,
        _n: &MailboxName,
        _on: bool,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
