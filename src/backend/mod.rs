//! Being a client of one server: a connection, what the server can do, and the pool that lends
//! connections.
//!
//! This room knows one server at a time. It knows no account, no map and no virtual UID: what a
//! lent connection hears goes to whoever borrowed it (`account::Mailbox::lease`).

mod breaker;
mod conn;
mod error;
mod fetched;
mod login;
mod measure;
mod origin;
mod pace;
mod pool;
mod profile;
mod select;
mod smtp;
mod strain;

pub use breaker::{Attempt, Breaker};
pub use conn::{Conn, ConnId, Done, Event, MAX_INLINE, Pending, text, words};
pub use error::BackendError;
pub use fetched::{Collect, Fetched, internal_date};
pub use login::connect;
pub use origin::Origin;
pub use pace::Pace;
pub use pool::{Lease, Pool, Seat, Slot, Want};
pub use profile::{Learned, Profile};
pub use select::{Incarnation, Known, Moment, News, Selected};
pub use smtp::{Peer, SmtpConn, SmtpError};
pub use strain::Strain;
