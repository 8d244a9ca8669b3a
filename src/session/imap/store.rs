//! STORE.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::imap::command::{Flag, StoreMode};
use crate::uid::SeqSet;

impl Session {
    pub(super) async fn store(
        &mut self,
        _user: &User,
        _uid: bool,
        _set: &SeqSet,
        _mode: StoreMode,
        _silent: bool,
        _flags: &[Flag],
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
