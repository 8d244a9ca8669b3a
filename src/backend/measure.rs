//! What a command to a server is called where it is counted.

use std::time::Duration;

use super::BackendError;
use crate::base::{Outcome, Side, Trouble, metrics};
use crate::imap::response::Status;

/// A server has answered.
pub(super) fn answered(side: Side, command: &'static str, status: Status, took: Duration) {
    let outcome = match status {
        Status::Ok => Outcome::ok,
        Status::No => Outcome::no,
        Status::Bad => Outcome::bad,
    };
    metrics().asked(side, command, outcome, took);
}

/// A connection could not be opened.
pub(super) fn not_opened(side: Side, error: &BackendError) {
    match error {
        BackendError::Connect { .. } => metrics().trouble(side, Trouble::connect),
        BackendError::Refused { .. } => metrics().trouble(side, Trouble::login),
        // Counted where it happened, or nothing was tried.
        _ => {}
    }
}

/// The name of a command to a server, one of few: what stands behind it may be anything.
pub(super) fn command_name(text: &[u8]) -> &'static str {
    const KNOWN: [&str; 33] = [
        "UID FETCH",
        "UID STORE",
        "UID SEARCH",
        "UID COPY",
        "UID MOVE",
        "UID EXPUNGE",
        "UID SORT",
        "UID THREAD",
        "FETCH",
        "SEARCH",
        "SELECT",
        "EXAMINE",
        "STATUS",
        "LIST",
        "LSUB",
        "APPEND",
        "NOOP",
        "IDLE",
        "LOGIN",
        "AUTHENTICATE",
        "CAPABILITY",
        "NAMESPACE",
        "ENABLE",
        "ID",
        "CREATE",
        "DELETE",
        "RENAME",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "EXPUNGE",
        "UNSELECT",
        "GETMETADATA",
        "COMPRESS",
    ];
    let is = |known: &&&str| {
        let end = text.get(known.len());
        text.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known.as_bytes()))
            && end.is_none_or(|end| *end == b' ')
    };
    KNOWN.iter().find(is).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_never_what_somebody_sent() {
        assert_eq!(command_name(b"UID FETCH 1:9 (FLAGS)"), "UID FETCH");
        assert_eq!(command_name(b"noop"), "NOOP");
        assert_eq!(command_name(b"LISTEN"), "other");
        assert_eq!(command_name(b"UID X"), "other");
        assert_eq!(command_name(b""), "other");
    }
}
