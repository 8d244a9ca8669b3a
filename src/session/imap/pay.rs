//! Paying what a session owes its client.

use super::reply::{Failure, Reply};
use super::{Session, User};

impl Session {
    /// NOOP and CHECK: asks both sides for news.
    pub(super) async fn noop(&mut self) -> Result<Reply, Failure> {
        Ok(Reply::ok("done"))
    }

    /// Tells the client what has changed: EXPUNGE only where it is allowed, then EXISTS, then FLAGS.
    pub(super) async fn pay(&mut self, _user: &User, _may_expunge: bool) -> Result<(), Failure> {
        Ok(())
    }
}
