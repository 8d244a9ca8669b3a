//! APPEND.

use super::Session;
use super::reply::{Failure, Reply};
use crate::imap::command::AppendHead;

impl Session {
    pub(super) async fn append(&mut self, _head: AppendHead) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
