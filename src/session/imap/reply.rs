//! How a command ends, and the one place where an error becomes an answer.

use std::borrow::Cow;
use std::fmt;

use tracing::warn;

use crate::account::AccountError;
use crate::backend::{BackendError, Done};
use crate::imap::response::{Code, MetadataCode, Status};
use crate::imap::write;
use crate::index::IndexError;
use crate::session::client::ClientError;

/// A tagged answer without its tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// OK, with a code in brackets or none.
    Ok(Option<String>, String),
    /// NO, with a code in brackets or none.
    No(Option<Cow<'static, str>>, String),
    /// BAD.
    Bad(String),
}

impl Reply {
    /// OK with a text.
    pub fn ok(text: impl Into<String>) -> Reply {
        Reply::Ok(None, text.into())
    }

    /// OK with a code and a text.
    pub fn ok_with(code: impl Into<String>, text: impl Into<String>) -> Reply {
        Reply::Ok(Some(code.into()), text.into())
    }

    /// NO with a text.
    pub fn no(text: impl Into<String>) -> Reply {
        Reply::No(None, text.into())
    }

    /// NO with a code of RFC 5530 and a text.
    pub fn no_with(code: &'static str, text: impl Into<String>) -> Reply {
        Reply::No(Some(code.into()), text.into())
    }

    /// NO to a part of a message that is not there (RFC 4469 §5).
    pub fn bad_url(url: &[u8]) -> Reply {
        let mut code = b"BADURL ".to_vec();
        write::quoted(url, &mut code);
        let code = String::from_utf8_lossy(&code).into_owned();
        Reply::No(Some(code.into()), "There is no such part of a message".into())
    }

    /// BAD with a text.
    pub fn bad(text: impl Into<String>) -> Reply {
        Reply::Bad(text.into())
    }

    /// A server's refusal, passed on in its own words. Only codes that mean the same to our client
    /// are kept.
    pub fn from_server(done: &Done) -> Reply {
        match done.status {
            // What the proxy sent was its own: the client's command was not bad.
            Status::No | Status::Bad => Reply::refusal(&done.code, done.words()),
            Status::Ok => Reply::Ok(None, done.words()),
        }
    }

    fn refusal(code: &Option<Code>, words: String) -> Reply {
        let code = match code {
            Some(Code::Metadata(MetadataCode::MaxSize(octets))) => {
                return Reply::No(Some(format!("METADATA MAXSIZE {octets}").into()), words);
            }
            Some(Code::Metadata(MetadataCode::TooMany)) => Some("METADATA TOOMANY"),
            Some(Code::Metadata(MetadataCode::NoPrivate)) => Some("METADATA NOPRIVATE"),
            Some(Code::NoPerm) => Some("NOPERM"),
            Some(Code::TryCreate) => Some("TRYCREATE"),
            Some(Code::OverQuota) => Some("OVERQUOTA"),
            Some(Code::Limit) => Some("LIMIT"),
            Some(Code::Unavailable | Code::Throttled) => Some("UNAVAILABLE"),
            Some(Code::InUse) => Some("INUSE"),
            Some(Code::AlreadyExists) => Some("ALREADYEXISTS"),
            Some(Code::NonExistent) => Some("NONEXISTENT"),
            Some(Code::Cannot) => Some("CANNOT"),
            Some(Code::UseAttr) => Some("USEATTR"),
            Some(Code::UnknownCte) => Some("UNKNOWN-CTE"),
            Some(Code::Parse) => Some("PARSE"),
            _ => None,
        };
        Reply::No(code.map(Cow::Borrowed), words)
    }

    /// Whether it is OK.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Ok(..))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Ok(Some(code), text) => write!(f, "OK [{code}] {text}"),
            Reply::Ok(None, text) => write!(f, "OK {text}"),
            Reply::No(Some(code), text) => write!(f, "NO [{code}] {text}"),
            Reply::No(None, text) => write!(f, "NO {text}"),
            Reply::Bad(text) => write!(f, "BAD {text}"),
        }
    }
}

/// Why a command came to no regular end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client is gone, or what it has been sent so far cannot be completed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something behind the proxy failed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A command already has its answer, though it did not succeed.
    #[error("{0}")]
    Refused(Reply),
}

impl From<BackendError> for Failure {
    fn from(e: BackendError) -> Failure {
        Failure::Account(e.into())
    }
}

impl Failure {
    /// What the client hears; an error only if there is nobody to hear it.
    pub fn into_reply(self) -> Result<Reply, ClientError> {
        match self {
            Failure::Client(e) => Err(e),
            Failure::Refused(reply) => Ok(reply),
            Failure::Account(e) => {
                let reply = match &e {
                    AccountError::NoSuchMailbox(_) => {
                        return Ok(Reply::no_with("NONEXISTENT", "No such mailbox"));
                    }
                    AccountError::Backend(BackendError::Answer { code, text, .. }) => {
                        Reply::refusal(code, text.clone())
                    }
                    e @ AccountError::OldReadOnly(_) => {
                        let text = e.to_string();
                        warn!("command failed: {text}");
                        return Ok(Reply::no_with("CANNOT", text));
                    }
                    e if e.is_unavailable() => {
                        let side = match e {
                            AccountError::Backend(e) => format!("the {} server", e.side()),
                            AccountError::NeverSeen(side) => format!("the {side} server"),
                            AccountError::Index(IndexError::Full { .. }) => {
                                "a full disk of the proxy".to_owned()
                            }
                            _ => "the mailbox".to_owned(),
                        };
                        Reply::no_with(
                            "UNAVAILABLE",
                            format!("Temporarily not possible because of {side}, try again later"),
                        )
                    }
                    _ => Reply::no("Not possible"),
                };
                warn!("command failed: {e}");
                Ok(reply)
            }
        }
    }
}
