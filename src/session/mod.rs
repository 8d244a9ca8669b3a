//! Talking to one client: its commands in, its view of the mailbox out.
//!
//! A session turns a command into a plan over the map, borrows connections through
//! [`account::Mailbox::lease`](crate::account::Mailbox::lease), streams the answers and pays what
//! it owes. It never changes a map itself and knows nothing of how the index is kept.

mod client;
pub mod imap;
mod roster;
mod server;
mod smtp;

pub use client::Client;
pub use roster::{Entry, Present, Roster};
pub use server::Server;
