//! Why a line is no command, in words that may be shown to the client.

use std::fmt;

use thiserror::Error;

use super::Tag;

/// A line that is no command. Its `Display` is the text of a `BAD` or `NO` answer: short, 7-bit,
/// and without a single octet of what the client sent.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{reason}")]
pub struct ParseError {
    /// The line's tag, if it has one to answer with; else the answer is untagged.
    pub tag: Option<Tag>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It does not begin with a tag.
    Tag,
    /// There is no command after the tag.
    Command,
    /// Something else stands where this should.
    Expected(&'static str),
    /// This is well-formed, but not accepted.
    Refused(&'static str),
    /// A string is no name of a mailbox: there can be none. The answer is `NO`.
    NoName,
    /// Something follows the command's last argument.
    Excess,
    /// Search keys nest deeper than [`super::MAX_NESTING`].
    TooDeep,
}

impl ParseError {
    /// How the command is answered: `BAD`, or `NO` where its form is right.
    pub fn status(&self) -> &'static str {
        if self.reason == Reason::NoName { "NO" } else { "BAD" }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Tag => f.write_str("Missing or invalid tag"),
            Reason::Command => f.write_str("Missing or invalid command"),
            Reason::Expected(what) => write!(f, "Expected {what}"),
            Reason::Refused(what) => f.write_str(what),
            Reason::NoName => f.write_str("[CANNOT] No mailbox can be called so"),
            Reason::Excess => f.write_str("Unexpected text after the command"),
            Reason::TooDeep => f.write_str("Search keys nest too deep"),
        }
    }
}
