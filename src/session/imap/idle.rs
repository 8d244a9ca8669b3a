//! IDLE (RFC 2177).

use tokio::time::{Instant, sleep_until};

use super::notify::news_of_others;
use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::imap::framer::Piece;
use crate::session::client::ClientError;

impl Session {
    /// Tells the client of every change until it says DONE. While it idles, the hub has one
    /// watcher a side, whatever the number of sessions.
    pub(super) async fn idle(&mut self, user: &User) -> Result<Reply, Failure> {
        self.client.line("+ idling");
        // Looking at others must not keep alive who is gone.
        let patience = self.server.config.limits.idle_timeout;
        let silent = Instant::now() + patience;
        let Some(mailbox) = self.selected.as_ref().map(|s| std::sync::Arc::clone(&s.mailbox))
        else {
            loop {
                self.client.flush().await?;
                tokio::select! {
                    piece = self.client.piece() => return Ok(done(piece?)?),
                    of_others = news_of_others(&mut self.notifying) => {
                        self.tell_news(user, of_others).await?;
                    }
                    () = sleep_until(silent) => return Err(ClientError::Silent(patience).into()),
                    () = self.ending.cancelled() => {
                        self.say_bye();
                        return Err(ClientError::Closed.into());
                    }
                }
            }
        };
        let watched = mailbox.watch(&user.access);
        let mut changes = mailbox.changes();
        let mut flags = mailbox.flag_news();
        let reply = loop {
            self.pay(user, true).await?;
            self.client.flush().await?;
            self.client.shrink();
            let notified = self.notifying.is_some();
            tokio::select! {
                piece = self.client.piece() => break done(piece?)?,
                changed = changes.changed() => {
                    if changed.is_err() {
                        break Reply::bad("Idle ended");
                    }
                }
                // Only a signal: what there is to tell is read from the session's own receiver.
                _ = flags.recv() => {}
                of_others = news_of_others(&mut self.notifying) => {
                    self.tell_news(user, of_others).await?;
                }
                () = sleep_until(silent), if notified => {
                    return Err(ClientError::Silent(patience).into());
                }
                () = self.ending.cancelled() => {
                    self.say_bye();
                    return Err(ClientError::Closed.into());
                }
            }
        };
        drop(watched);
        self.pay(user, true).await?;
        Ok(reply)
    }
}

fn done(piece: Piece) -> Result<Reply, ClientError> {
    match piece {
        Piece::Line(text) if text.eq_ignore_ascii_case(b"DONE") => Ok(Reply::ok("Idle completed")),
        Piece::Line(_) => Ok(Reply::bad("Expected DONE")),
        // A literal cannot be part of DONE, and what follows it cannot be told apart.
        Piece::Head { .. } | Piece::Chunk { .. } => Err(ClientError::Closed),
    }
}
