//! IMAP on the wire: framing, scanning, commands as types, names. Sans I/O: octets in, values out.
//!
//! Nothing here opens a socket, knows an account or a side, decides what a command does, or keeps
//! more of a literal than the caller's buffer holds. Everybody's bytes pass [`framer`]; a client's
//! become a [`command`]; a server's pass [`fetch_scan`] for an untagged FETCH, which [`fetch_rewrite`]
//! writes for a client, and [`response`] for everything else. What goes out is written by [`mod@write`]. What was [`found`] is put in order by
//! [`mod@sort`] and [`thread`]. The values of imap-codec never leave this room.

pub mod charset;
pub mod collate;
pub mod command;
pub mod envelope;
pub mod fetch;
pub mod fetch_rewrite;
pub mod fetch_scan;
pub mod found;
pub mod framer;
pub mod header;
pub mod names;
pub mod response;
pub mod scan;
pub mod search;
pub mod sort;
pub mod subject;
pub mod thread;
pub mod url;
pub mod write;
