//! What every room needs and none owns: the two sides, phases, names of accounts and mailboxes,
//! secrets, points in time, counters.
//!
//! Nothing here does I/O, and nothing here knows IMAP's syntax.

mod metrics;
mod name;
mod phase;
mod sasl;
mod side;
mod step;
mod utc;

pub use metrics::{MailSession, Mailed, Metrics, Outcome, Trouble, metrics};
pub use name::{AccountName, MailboxName};
pub use phase::{NoPhase, Phase};
pub use sasl::{BadResponse, Mechanism, Proof, Shown, TokenRefusal};
pub use secrecy::{ExposeSecret, SecretString};
pub use side::{Side, Sides};
pub use step::{step, steps};
pub use utc::Utc;
