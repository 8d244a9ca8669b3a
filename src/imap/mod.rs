//! IMAP on the wire: what a client asks as types, what is written to a client or a server, names.
//!
//! Everything here is sans I/O: octets in, values out. Nothing here opens a socket, knows a
//! mailbox's contents or decides what a command does; that is `session`. The values of imap-codec
//! never leave this room.

pub mod command;
pub mod fetch;
pub mod names;
pub mod search;
pub mod write;
