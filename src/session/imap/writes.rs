//! Writes are not cancelled (DESIGN §6): once begun they are carried through the server's answer
//! and the index, whether or not their client is still there.

use std::future::Future;

use super::Session;
use super::reply::{Failure, Reply};
use crate::account::AccountError;

impl Session {
    /// Runs a write in a task of its own and waits for its end.
    pub(super) async fn carry_through<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T, AccountError>> + Send + 'static,
    ) -> Result<T, Failure> {
        let entered = self.entered.clone();
        let work = async move {
            let result = work.await;
            drop(entered);
            result
        };
        let work = self.server.writes.spawn(work);
        match self.client.patiently(work).await? {
            Ok(result) => Ok(result?),
            Err(e) => {
                let text = format!("The command broke off: {e}");
                Err(Failure::Refused(Reply::no_with("SERVERBUG", text)))
            }
        }
    }
}
