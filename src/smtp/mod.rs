//! SMTP and LMTP on the wire (RFC 5321, RFC 2033): command lines, replies, extensions, a message's
//! octets on their way.
//!
//! Sans I/O: nothing here opens a socket, waits, or knows an account. What a peer sent is parsed to
//! types and written anew, never spliced. Only CR LF ends a line, and only CR LF `.` CR LF ends a
//! message ([`Scanner`]): whatever else another server might take for an end never gets past here.

mod address;
mod command;
mod extensions;
mod header;
mod line;
mod reply;
mod text;

pub use address::{Address, Domain};
pub use command::{Body, Command, Mail, Notify, Rcpt, Ret, Wrong, XClient, sasl};
pub use extensions::Extensions;
pub use header::{HeaderWatch, Looping};
pub use line::{BadLine, take_line};
pub use reply::{BadReply, Code, LONGEST_LINE, Reply, ReplyReader};
pub use text::{Flaw, Lone, Scanner, Stuffer};
