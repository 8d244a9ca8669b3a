//! What can go wrong with a server, as data.

use std::io;

use crate::base::TokenRefusal;
use crate::smtp::Reply;

/// A failure towards one server. Its text is fit for the log; a client is told less.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The server could not be reached, or its certificate was not believed.
    #[error("cannot connect to the {server}: {source}")]
    Connect {
        /// Which.
        server: String,
        /// The system's or TLS's own word.
        source: io::Error,
    },
    /// The connection broke, or nothing came for too long.
    #[error("{server}: connection lost while {doing}: {source}")]
    Lost {
        /// Which.
        server: String,
        /// What was under way.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The server refused the credentials.
    #[error("{server}: login of {login} refused: {reply}")]
    Refused {
        /// Which.
        server: String,
        /// The login that was sent, without its secret.
        login: String,
        /// The server's own words.
        reply: Reply,
        /// What it said of a token.
        token: Option<Box<TokenRefusal>>,
    },
    /// The server answered with 4yz or 5yz to what the proxy needs.
    #[error("{server}: {doing}: {reply}")]
    Answer {
        /// Which.
        server: String,
        /// What was asked.
        doing: &'static str,
        /// The server's own words.
        reply: Reply,
    },
    /// The server said something that SMTP does not allow, or lacks what is needed.
    #[error("{server}: {what}")]
    Protocol {
        /// Which.
        server: String,
        /// What it said.
        what: String,
    },
}
