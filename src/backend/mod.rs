//! Being a client of one server: a connection, what the server can do, and the pool that lends
//! connections.
//!
//! This room knows one server at a time. It knows no account, no map and no virtual UID: what a
//! lent connection hears goes to whoever borrowed it (`account::Mailbox::lease`).

mod conn;
mod error;
mod fetched;
mod login;
mod pool;
mod profile;
mod select;

pub use conn::{Conn, Done, Event, Pending, text, words};
pub use error::BackendError;
pub use fetched::{Fetched, internal_date};
pub use login::connect;
pub use pool::{Lease, Pool, Seat, Slot, Want};
pub use profile::{Learned, Profile};
pub use select::{Known, News, Selected};
