//! The `[trickle]` table: what the background sync copies, when, and how fast.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::values;
use crate::base::Sides;

/// The background sync of messages that nobody opens (DESIGN §7).
#[derive(Clone, PartialEq, Debug)]
pub struct Trickle {
    /// Whether it runs inside `serve`.
    pub enabled: bool,
    /// How many accounts at once.
    pub accounts: usize,
    /// For all accounts and both sides together.
    pub total: Rate,
    /// For all accounts on each side.
    pub sides: Sides<Rate>,
    /// For each account.
    pub account: Rate,
    /// When it runs, in local time; empty: always.
    pub hours: Vec<Hours>,
    /// Only messages whose INTERNALDATE is this day or later.
    pub since: Option<Day>,
    /// Only messages whose INTERNALDATE is before this day.
    pub before: Option<Day>,
    /// Only folders that match one of these, in the client's names, as people read them, with the
    /// wildcards of LIST; empty: all.
    pub folders: Vec<String>,
    /// No folder that matches one of these.
    pub skip_folders: Vec<String>,
    /// No larger message.
    pub largest: Option<u64>,
    /// Accounts that come first, in this order; `*` stands for any text.
    pub priority: Vec<String>,
    /// It waits until no client of the account has asked for anything for so long, within reason.
    pub quiet: Duration,
    /// How soon an account is looked at again in which nothing was left to copy.
    pub again: Duration,
    /// How long an account or a side is left alone that is not well.
    pub rest: Duration,
    /// A side that takes longer over a few flags has too much to do.
    pub slow: Duration,
    /// How many times as long clients' commands may take because of it; 0: nobody is heeded.
    pub slowdown: f64,
    /// So much of new's quota stays free.
    pub quota_reserve: u64,
}

/// A limit on what is copied; 0: none.
#[derive(Clone, Copy, PartialEq, Default, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Messages a second.
    pub messages_per_second: f64,
    /// Octets a second.
    #[serde(deserialize_with = "values::size")]
    pub bytes_per_second: u64,
    /// Connections to a side, of which each mailbox under way takes one.
    pub connections: usize,
}

/// A time of each day, in minutes since midnight. One that ends before it begins spans midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// Whether a minute of the day is within.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// `20:00-06:30`
    fn parse(text: &str) -> Option<Hours> {
        let clock = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            let minutes = hour.checked_mul(60)?.checked_add(minute)?;
            (minute < 60 && minutes <= MINUTES_A_DAY).then_some(minutes)
        };
        let (from, to) = text.split_once('-')?;
        let hours = Hours { from: clock(from)?, to: clock(to)? };
        (hours.from != hours.to && hours.from < MINUTES_A_DAY).then_some(hours)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Hours, D::Error> {
        let text = String::deserialize(de)?;
        let wrong = || de::Error::custom("expected hours of the day, like \"20:00-06:00\"");
        Hours::parse(&text).ok_or_else(wrong)
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Day(time::Date);

impl Day {
    /// `2024-01-31`
    pub fn parse(text: &str) -> Option<Day> {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || year.len() != 4 {
            return None;
        }
        let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
        let date = time::Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?);
        date.ok().map(Day)
    }

    /// As SEARCH wants it: `31-Jan-2024` (RFC 9051 `date-text`).
    pub fn in_imap(&self) -> String {
        let month = self.0.month().to_string();
        format!("{}-{}-{}", self.0.day(), month.get(..3).unwrap_or_default(), self.0.year())
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Day, D::Error> {
        let text = String::deserialize(de)?;
        Day::parse(&text)
            .ok_or_else(|| de::Error::custom("expected a day in quotes, like \"2024-01-31\""))
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Written {
    enabled: bool,
    accounts: usize,
    total: Rate,
    old: Rate,
    new: Rate,
    account: Rate,
    hours: Vec<Hours>,
    since: Option<Day>,
    before: Option<Day>,
    folders: Vec<String>,
    skip_folders: Vec<String>,
    #[serde(deserialize_with = "values::size")]
    largest: u64,
    priority: Vec<String>,
    #[serde(deserialize_with = "values::duration")]
    quiet: Duration,
    #[serde(deserialize_with = "values::duration")]
    again: Duration,
    #[serde(deserialize_with = "values::duration")]
    rest: Duration,
    #[serde(deserialize_with = "values::duration")]
    slow: Duration,
    slowdown: f64,
    #[serde(deserialize_with = "values::size")]
    quota_reserve: u64,
}

impl Default for Written {
    fn default() -> Self {
        Written {
            enabled: false,
            accounts: ACCOUNTS,
            total: Rate::default(),
            old: Rate::default(),
            new: Rate::default(),
            account: Rate::default(),
            hours: Vec::new(),
            since: None,
            before: None,
            folders: Vec::new(),
            skip_folders: Vec::new(),
            largest: 0,
            priority: Vec::new(),
            quiet: QUIET,
            again: AGAIN,
            rest: REST,
            slow: SLOW,
            slowdown: SLOWDOWN,
            quota_reserve: QUOTA_RESERVE,
        }
    }
}

impl Default for Trickle {
    fn default() -> Self {
        Trickle::of(Written::default())
    }
}

impl Trickle {
    fn of(mut written: Written) -> Trickle {
        if written.account.connections == 0 {
            written.account.connections = CONNECTIONS;
        }
        Trickle {
            enabled: written.enabled,
            accounts: written.accounts,
            total: written.total,
            sides: Sides { old: written.old, new: written.new },
            account: written.account,
            hours: written.hours,
            since: written.since,
            before: written.before,
            folders: written.folders,
            skip_folders: written.skip_folders,
            largest: (written.largest > 0).then_some(written.largest),
            priority: written.priority,
            quiet: written.quiet,
            again: written.again,
            rest: written.rest,
            slow: written.slow,
            slowdown: written.slowdown,
            quota_reserve: written.quota_reserve,
        }
    }

    /// Checks what is written; the error says what is wrong with it.
    pub(super) fn check(written: Written) -> Result<Trickle, &'static str> {
        let trickle = Trickle::of(written);
        let sides = &trickle.sides;
        let rates = [&trickle.total, &sides.old, &sides.new, &trickle.account];
        let wrong = |rate: &f64| !rate.is_finite() || *rate < 0.0;
        if trickle.accounts == 0 {
            Err("`accounts` must be at least 1; to switch it off, set enabled = false")
        } else if rates.iter().any(|rate| wrong(&rate.messages_per_second)) {
            Err("`messages_per_second` must not be negative")
        } else if trickle.rest.is_zero() || trickle.again.is_zero() || trickle.slow.is_zero() {
            Err("`again`, `rest` and `slow` must not be zero")
        } else if trickle.slowdown != 0.0
            && !(trickle.slowdown > 1.0 && trickle.slowdown.is_finite())
        {
            Err("`slowdown` must be above 1, or 0 to heed no client")
        } else {
            Ok(trickle)
        }
    }
}

const MINUTES_A_DAY: u16 = 24 * 60;

/// More would only make each slower: two servers' disks are shared by all.
const ACCOUNTS: usize = 4;

/// One reads and writes while the other one waits for its disk; two more are left for clients.
const CONNECTIONS: usize = 2;

/// A person who reads a message for a moment will ask for the next one.
const QUIET: Duration = Duration::from_secs(5);

/// What arrives on old meanwhile is on new a few minutes later; a pass over what has not changed
/// costs a STATUS a folder.
const AGAIN: Duration = Duration::from_mins(5);

/// What ails a server seldom lasts shorter.
const REST: Duration = Duration::from_mins(1);

/// Flags of a few hundred messages take milliseconds.
const SLOW: Duration = Duration::from_secs(2);

/// Nobody notices it.
const SLOWDOWN: f64 = 1.2;

/// Mail that comes in while the mailbox is moved must find room.
const QUOTA_RESERVE: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_span_midnight() {
        let night = Hours::parse("20:00-06:30").unwrap();
        let at = |hour: u16, minute: u16| hour * 60 + minute;
        assert!(night.contains(at(20, 0)) && night.contains(at(0, 0)) && night.contains(at(6, 29)));
        assert!(!night.contains(at(6, 30)) && !night.contains(at(19, 59)));
        let day = Hours::parse("12:00-24:00").unwrap();
        assert!(day.contains(at(23, 59)) && !day.contains(at(0, 0)));
        for bad in ["", "20:00", "20-06", "24:00-06:00", "25:00-06:00", "20:60-06:00", "8:00-8:00"]
        {
            assert_eq!(Hours::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_spelt_as_search_wants_them() {
        assert_eq!(Day::parse("2024-02-29").unwrap().in_imap(), "29-Feb-2024");
        assert_eq!(Day::parse("2016-12-01").unwrap().in_imap(), "1-Dec-2016");
        for bad in ["", "2023-02-29", "2023-13-01", "23-01-01", "2023-1", "2023-01-01-01"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }
}
