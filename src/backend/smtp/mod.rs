//! Being an SMTP or LMTP client of one server: connecting, STARTTLS, AUTH, telling for whom
//! (XCLIENT, PROXY), commands, and a message's octets.
//!
//! Knows no account and routes nothing. What a server says beyond its turn costs the connection.

mod conn;
mod error;
mod open;

pub use conn::SmtpConn;
pub use error::SmtpError;
pub use open::Peer;
