//! What a client wants to be told of without asking (RFC 5465).

use super::FetchItem;
use crate::base::MailboxName;

/// NOTIFY SET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifySet {
    /// Whether the STATUS of all these mailboxes is told at once.
    pub status: bool,
    /// What of which mailboxes; of two groups for one mailbox the first counts. Never none.
    pub groups: Vec<EventGroup>,
}

/// Events of some mailboxes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventGroup {
    /// Which.
    pub of: Watched,
    /// What of them.
    pub events: Events,
}

/// Which mailboxes are watched (RFC 5465 §6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// The selected one.
    Selected {
        /// EXPUNGE only where it is allowed in any case.
        delayed: bool,
    },
    /// Those where mail is delivered.
    Inboxes,
    /// The user's own.
    Personal,
    /// Those that are subscribed.
    Subscribed,
    /// These, and all below them.
    Subtree(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

/// What is told of a mailbox (RFC 5465 §5).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// MessageNew and MessageExpunge, which go together.
    pub messages: bool,
    /// What is fetched of new messages; only of the selected mailbox.
    pub fetch: Vec<FetchItem>,
    /// FlagChange.
    pub flags: bool,
    /// MailboxName.
    pub names: bool,
    /// SubscriptionChange.
    pub subscriptions: bool,
    /// Something that the proxy cannot tell.
    pub other: bool,
}
