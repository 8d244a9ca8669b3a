//! SEARCH.

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::imap::command::{SearchKey, SearchReturn, Tag};

/// A SEARCH command.
pub(in crate::session) struct Search {
    pub uid: bool,
    pub returns: Option<Vec<SearchReturn>>,
    pub charset: Option<String>,
    pub key: SearchKey,
}

impl Session {
    pub(super) async fn search(
        &mut self,
        _tag: &Tag,
        _user: &User,
        _search: Search,
    ) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
