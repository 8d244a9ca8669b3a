//! When a server is asked again that said it has no time just now. Pure.
//!
//! A NO with `[THROTTLED]`, `[UNAVAILABLE]` or `[INUSE]` (RFC 5530 §3, FIELD §5) says that nothing
//! is wrong with the command. Its client, which never sees such an answer from its old server, or
//! takes it for a failure, waits a little instead; a `[LIMIT]` is a matter of the command itself.

use std::time::Duration;

use super::Done;
use crate::imap::response::{Code, Status};

/// The first pause; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(16);
/// So long a command is put off by a server that throttles: clients give up after a minute or two.
const THROTTLED: Duration = Duration::from_secs(60);
/// And so long by one of which something is away or locked: that may last, and the client shall know.
const UNAVAILABLE: Duration = Duration::from_secs(3);

/// The pauses between the attempts of one command.
#[derive(Debug)]
pub struct Pace {
    next: Duration,
    paused: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { next: FIRST, paused: Duration::ZERO }
    }
}

impl Pace {
    /// How long to wait before the command is sent again. `None`: this is its answer.
    pub fn after(&mut self, done: &Done) -> Option<Duration> {
        if done.status != Status::No {
            return None;
        }
        let code = done.code.as_ref().filter(|code| code.says_later())?;
        let most = if *code == Code::Throttled { THROTTLED } else { UNAVAILABLE };
        if self.paused + self.next > most {
            return None;
        }
        Some(self.pause())
    }

    /// The next pause, where there is no hurry.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.paused += pause;
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Status, code: Option<Code>) -> Done {
        Done { status, code, text: bytes::Bytes::new(), untagged: Vec::new() }
    }

    fn pauses(done: &Done) -> Vec<u128> {
        let mut pace = Pace::default();
        std::iter::from_fn(|| pace.after(done)).map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn pauses_double_and_end() {
        let throttled = pauses(&answer(Status::No, Some(Code::Throttled)));
        let doubling = [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 16_000, 16_000];
        assert_eq!(throttled, doubling);
        for code in [Code::Unavailable, Code::InUse] {
            assert_eq!(pauses(&answer(Status::No, Some(code))), doubling[..5]);
        }
    }

    #[test]
    fn what_is_not_a_matter_of_time_is_not_tried_again() {
        let never = [
            answer(Status::Ok, Some(Code::Throttled)),
            answer(Status::Bad, Some(Code::Throttled)),
            answer(Status::No, Some(Code::Limit)),
            answer(Status::No, Some(Code::OverQuota)),
            answer(Status::No, None),
        ];
        for done in never {
            assert_eq!(pauses(&done), [] as [u128; 0], "{done:?}");
        }
    }
}
