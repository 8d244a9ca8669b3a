//! Sockets: listeners, TLS on both ends, the one byte stream that everything else reads and writes.
//!
//! Owns every socket option, every certificate that is loaded, and the count of client
//! connections. Knows nothing of IMAP: where STARTTLS is spoken, the dialogue belongs to `session`
//! or `backend`, which then hand the stream to [`ServerTls::accept`] or [`Stream::upgrade`].

mod connect;
mod deflate;
mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use connect::{Reach, connect, connect_with};
pub use deflate::Deflated;
pub use listener::{Listener, serve};
pub use stream::Stream;
pub use tls::ServerTls;
