//! A point in time as people and scripts read and write it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use time::{Date, Month, OffsetDateTime, Time};

/// Unix seconds, spelled `2026-11-26T01:44:22Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        // Beyond the year 9999 nobody reads it any more.
        let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else {
            return write!(f, "@{}", self.0);
        };
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Utc {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Utc, Self::Err> {
        let parsed = || -> Option<u64> {
            let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
            let [year, month, day] = numbers(date, '-')?;
            let [hour, minute, second] = numbers(time, ':')?;
            let small = |n| u8::try_from(n).ok();
            let month = Month::try_from(small(month)?).ok()?;
            let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, small(day)?);
            let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?);
            u64::try_from(date.ok()?.with_time(time.ok()?).assume_utc().unix_timestamp()).ok()
        };
        parsed().map(Utc).ok_or("not a time like 2026-11-26T01:44:22Z")
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Three numbers with a mark between them.
fn numbers(text: &str, between: char) -> Option<[u32; 3]> {
    let mut parts = text.split(between).map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for seconds in [0, 951_782_400, 1_795_657_462, 253_402_300_799] {
            assert_eq!(Utc(seconds).to_string().parse(), Ok(Utc(seconds)));
        }
        assert_eq!(Utc(951_782_400).to_string(), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = ["", "2026-11-26", "2026-02-30T00:00:00Z", "2026-11-26T24:00:00Z"];
        let odd = ["2026-11-26T01:44:22", "2026-11-+6T01:44:22Z", "2026-11-26-01T01:44:22Z"];
        for text in wrong.into_iter().chain(odd) {
            assert!(text.parse::<Utc>().is_err(), "{text}");
        }
    }
}
