//! IDLE.

use super::reply::{Failure, Reply};
use super::{Session, User};

impl Session {
    pub(super) async fn idle(&mut self, _user: &User) -> Result<Reply, Failure> {
        Ok(Reply::no("no"))
    }
}
