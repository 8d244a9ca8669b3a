//! FETCH.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::imap::command::FetchItem;
use crate::uid::SeqSet;

impl Session {
    pub(super) async fn fetch(
        &mut self,
        _user: &User,
        _uid: bool,
        _set: &SeqSet,
        _items: &[FetchItem],
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
