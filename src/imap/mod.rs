//! IMAP on the wire: framing, scanning, rewriting. Sans I/O: bytes in, values out.
//!
//! Nothing here opens a socket, knows an account or a side, or keeps more of a literal than the
//! caller's buffer holds. Servers' bytes pass [`framer`], then [`fetch_scan`] for an untagged FETCH
//! and [`response`] for everything else; both read with the tokens of [`scan`].

pub mod fetch_scan;
pub mod framer;
pub mod response;
pub mod scan;
