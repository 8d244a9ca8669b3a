//! What can go wrong with a server, as data: which side, and whether trying again makes sense.

use std::io;

use crate::base::{Side, TokenRefusal};
use crate::imap::response::Code;

/// A failure of one side. Its text is fit for the log; a client is told less.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The server could not be reached, or its certificate was not believed.
    #[error("{side} server: cannot connect to {address}: {source}")]
    Connect {
        /// Whose.
        side: Side,
        /// Host and port that were tried.
        address: String,
        /// The system's or TLS's own word.
        source: io::Error,
    },
    /// The connection broke, or nothing came for too long.
    #[error("{side} server: connection lost while {doing}: {source}")]
    Lost {
        /// Whose.
        side: Side,
        /// What was under way.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The server refused the credentials. Never tried again with the same secret.
    #[error("{side} server: login of {login} refused: {text}")]
    Refused {
        /// Whose.
        side: Side,
        /// The login that was sent, without its secret.
        login: String,
        /// The server's own words.
        text: String,
        /// What it said of a token.
        token: Option<Box<TokenRefusal>>,
    },
    /// The server answered NO or BAD to a command that the proxy needs.
    #[error("{side} server: {doing}: {text}")]
    Answer {
        /// Whose.
        side: Side,
        /// What was asked.
        doing: String,
        /// The response code.
        code: Option<Code>,
        /// The server's own words.
        text: String,
    },
    /// The server said something that IMAP does not allow, or that is beyond a limit.
    #[error("{side} server: {what}")]
    Protocol {
        /// Whose.
        side: Side,
        /// What it said.
        what: String,
    },
    /// The server takes no more connections just now: of this login, or of anybody.
    #[error("{side} server: no more connections: {text}")]
    Crowded {
        /// Whose.
        side: Side,
        /// The server's own words.
        text: String,
    },
    /// The side failed a moment ago; nothing is tried before its back-off has passed.
    #[error("{side} server: away ({why})")]
    Away {
        /// Whose.
        side: Side,
        /// The failure that started the back-off.
        why: String,
    },
}

impl BackendError {
    /// Which side failed.
    pub fn side(&self) -> Side {
        match self {
            BackendError::Connect { side, .. }
            | BackendError::Lost { side, .. }
            | BackendError::Refused { side, .. }
            | BackendError::Answer { side, .. }
            | BackendError::Protocol { side, .. }
            | BackendError::Crowded { side, .. }
            | BackendError::Away { side, .. } => *side,
        }
    }

    /// Whether a new connection might do better with the same request.
    pub fn is_lost(&self) -> bool {
        matches!(self, BackendError::Lost { .. })
    }
}
