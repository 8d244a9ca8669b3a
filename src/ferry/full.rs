//! Whether new has any room for an account. Pure.
//!
//! A message that is refused for want of room may only be larger than what is left, and others fit. Where some
//! in a row are refused, new is taken for full: the account's copying rests as a whole, instead of every message
//! being tried in vain, and is tried again with one message, later each time, until one is taken.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// So many refusals for want of room in a row mean that there is none.
const FULL: u32 = 3;
/// The longest rest.
const LONGEST: Duration = Duration::from_hours(24);

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "new has no room for the account: {}", self.why)
    }
}

/// What is known of the room that new has for one account.
#[derive(Debug, Default)]
pub(super) struct Room {
    refusals: u32,
    rest: Option<Rest>,
}

/// Why nothing is copied for a while, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rest {
    /// The server's words.
    pub why: String,
    /// When it is tried again.
    pub until: Instant,
    pause: Duration,
}

impl Room {
    /// A message was refused for want of room. Gives the rest that begins by it: as long as `first`, and twice as
    /// long as the one before, if that one has just ended in vain.
    pub(super) fn refused(&mut self, why: &str, first: Duration, now: Instant) -> Option<&Rest> {
        self.refusals += 1;
        if self.refusals < FULL || self.rest(now).is_some() {
            return None;
        }
        let pause = self.rest.as_ref().map_or(first, |rest| (rest.pause * 2).min(LONGEST));
        Some(self.rest.insert(Rest { why: why.to_owned(), until: now + pause, pause }))
    }

    /// A message was taken. Returns whether new was taken for full.
    pub(super) fn taken(&mut self) -> bool {
        self.refusals = 0;
        self.rest.take().is_some()
    }

    /// Whether new is taken for full, though perhaps it is time to try again.
    pub(super) fn is_full(&self) -> bool {
        self.rest.is_some()
    }

    /// The rest, while it lasts.
    pub(super) fn rest(&self, now: Instant) -> Option<&Rest> {
        self.rest.as_ref().filter(|rest| rest.until > now)
    }

    /// Somebody knows better: the rest ends now, if there is one.
    pub(super) fn try_now(&mut self, now: Instant) {
        if let Some(rest) = &mut self.rest {
            rest.until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(600);

    #[test]
    fn refusals_in_a_row_begin_a_rest_and_one_in_between_does_not() {
        let (mut room, now) = (Room::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(room.refused("full", FIRST, now), None);
            assert_eq!(room.refused("full", FIRST, now), None);
            assert!(!room.taken());
        }
        assert!(
            room.refused("full", FIRST, now).is_none()
                && room.refused("full", FIRST, now).is_none()
        );
        let rest = room.refused("quite full", FIRST, now).cloned().expect("a rest");
        assert_eq!((rest.why.as_str(), rest.until), ("quite full", now + FIRST));
        assert_eq!(
            room.refused("full", FIRST, now),
            None,
            "one rest, however many were on their way"
        );
        assert_eq!(room.rest(now), Some(&rest));
    }

    #[test]
    fn rests_double_up_to_a_day_and_end_with_the_first_message_that_is_taken() {
        let (mut room, mut now) = (Room::default(), Instant::now());
        room.refused("full", FIRST, now);
        room.refused("full", FIRST, now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let until = room.refused("full", FIRST, now).expect("a rest").until;
            pauses.push((until - now).as_secs());
            now = until;
            assert!(room.rest(now).is_none() && room.is_full());
        }
        assert_eq!(pauses, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, 86_400, 86_400]);
        assert!(room.taken() && !room.is_full() && !room.taken());
        assert_eq!(room.refused("full", FIRST, now), None);
    }

    #[test]
    fn whoever_knows_better_ends_it_and_another_refusal_begins_it_again() {
        let (mut room, now) = (Room::default(), Instant::now());
        room.try_now(now);
        for _ in 0..3 {
            room.refused("full", FIRST, now);
        }
        room.try_now(now);
        assert_eq!(room.rest(now), None);
        assert_eq!(room.refused("full", FIRST, now).expect("a rest").until, now + FIRST * 2);
    }
}
