//! APPEND, step by step: its messages are never held whole, so it is read as it comes (RFC 3501
//! §6.3.11, MULTIAPPEND RFC 3502, CATENATE RFC 4469). REPLACE (RFC 8508) is one of them.

use super::{Flag, InternalDate};
use crate::base::MailboxName;
use crate::imap::framer::Literal;
use crate::uid::SeqSet;

/// An APPEND up to its first message's octets, or to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendHead {
    /// What the message takes the place of, if the command is REPLACE (RFC 8508).
    pub replaces: Option<Replaced>,
    /// Where to.
    pub mailbox: MailboxName,
    /// What follows.
    pub steps: Vec<AppendStep>,
}

/// A message of the selected mailbox that another one takes the place of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Whether it is named by its UID.
    pub uid: bool,
    /// Its number, or `*`.
    pub message: SeqSet,
}

/// What an APPEND goes on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendStep {
    /// A message begins.
    Message(MessageHead),
    /// `CATENATE (`: the message is made of the parts up to [`CatenateEnd`](Self::CatenateEnd).
    Catenate,
    /// A part that lies in a mailbox already, as an IMAP URL (RFC 5092).
    Url(Vec<u8>),
    /// `)`
    CatenateEnd,
    /// Octets follow: the message's, or those of one of its parts. The last step of a line.
    Octets(Literal),
    /// The end of the command.
    End,
}

/// What is said of a message before it comes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MessageHead {
    /// Its flags; never `\Recent`.
    pub flags: Vec<Flag>,
    /// Its internal date.
    pub date: Option<InternalDate>,
}
