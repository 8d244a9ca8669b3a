//! Why something could not be done for an account.

use super::merge::Distrust;
use crate::backend::BackendError;
use crate::base::{AccountName, MailboxName, Side};
use crate::index::IndexError;

/// A failure of one operation; the session decides what its client hears.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// One side failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// What is remembered could not be read or written.
    #[error("index: {0}")]
    Index(#[from] IndexError),
    /// The side reports what cannot be true of the mailbox that was there.
    #[error("{mailbox}: {why}")]
    Distrust {
        /// As the client names it.
        mailbox: MailboxName,
        /// What does not fit.
        why: Distrust,
    },
    /// The mailbox does not exist, or not on the side where it is needed.
    #[error("no such mailbox: {0}")]
    NoSuchMailbox(MailboxName),
    /// The mailbox does not lie on this side.
    #[error("{mailbox} does not exist on the {side} server")]
    NotThere {
        /// As the client names it.
        mailbox: MailboxName,
        /// Where it was looked for.
        side: Side,
    },
    /// What is to be done must wait until it is known which of the mailbox's messages lie on both
    /// sides.
    #[error("{0}: it is not known yet which of its messages lie on both servers")]
    Unmatched(MailboxName),
    /// The account's phase is being changed, and whoever asks has waited for long enough.
    #[error("{0} is being moved, try again in a moment")]
    Moving(AccountName),
    /// Only the user's own password opens a server, and the proxy does not know it now.
    #[error(
        "{0}: nobody has logged in lately, and a server is reached with the user's own password alone: \
         log in, or give both sides credentials of mode \"master\""
    )]
    NobodyLoggedIn(AccountName),
    /// It would change old, which is not to be changed.
    #[error("the old server is read-only: {0}")]
    OldReadOnly(String),
    /// What is needed was never seen, and the side that has it is away.
    #[error("the {0} server is away, and what it holds is not known yet")]
    NeverSeen(Side),
}

impl AccountError {
    /// Whether trying again later may help: told to clients as `[UNAVAILABLE]` (RFC 5530).
    pub fn is_unavailable(&self) -> bool {
        match self {
            AccountError::Backend(BackendError::Answer { .. }) => false,
            AccountError::Backend(_)
            | AccountError::Index(_)
            | AccountError::NeverSeen(_)
            | AccountError::Unmatched(_)
            | AccountError::Moving(_)
            | AccountError::NobodyLoggedIn(_)
            | AccountError::Distrust { .. } => true,
            AccountError::NoSuchMailbox(_)
            | AccountError::NotThere { .. }
            | AccountError::OldReadOnly(_) => false,
        }
    }
}
