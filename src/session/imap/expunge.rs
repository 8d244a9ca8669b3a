//! EXPUNGE and UID EXPUNGE.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::uid::SeqSet;

impl Session {
    pub(super) async fn expunge(
        &mut self,
        _user: &User,
        _set: Option<&SeqSet>,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
