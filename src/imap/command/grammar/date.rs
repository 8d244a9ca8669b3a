//! Days and times, as SEARCH, APPEND and INTERNALDATE write them.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n};
use nom::character::complete::alpha1;
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::{preceded, tuple};
use nom::{IResult, Parser};

use super::Fault;
use super::token::sp0;
use crate::imap::command::SearchDate;
use crate::imap::search::MONTHS;

/// `date-text = date-day "-" date-month "-" date-year`, and nothing behind it.
pub(super) fn search_date(text: &[u8]) -> Option<SearchDate> {
    let (_, (day, month, year)) = all_consuming(date)(text).ok()?;
    SearchDate::new(year, month, day)
}

/// `date-day-fixed "-" date-month "-" date-year SP time SP zone`, made canonical.
pub(in crate::imap::command) fn internal_date(text: &[u8]) -> Option<String> {
    let time = tuple((
        digits(2, 2, 23),
        preceded(tag(":"), digits(2, 2, 59)),
        // 60 is a leap second.
        preceded(tag(":"), digits(2, 2, 60)),
    ));
    let zone = tuple((alt((tag("+"), tag("-"))), digits(2, 2, 23), digits(2, 2, 59)));
    let mut whole =
        all_consuming(tuple((date, preceded(tag(" "), time), preceded(tag(" "), zone))));
    let (_, ((day, month, year), (hour, minute, second), (sign, zh, zm))) =
        whole.parse(text).ok()?;
    if !(1..=31).contains(&day) {
        return None;
    }
    let month = MONTHS.get(usize::from(month).checked_sub(1)?)?;
    let sign = if sign == b"-" { '-' } else { '+' };
    Some(format!(
        "{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {sign}{zh:02}{zm:02}"
    ))
}

/// Day, month (1 to 12), year. A space or a zero may stand before a day of one digit.
fn date(input: &[u8]) -> IResult<&[u8], (u8, u8, u16), Fault> {
    let month = map_opt(alpha1, |word: &[u8]| {
        let at = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(word))?;
        u8::try_from(at + 1).ok()
    });
    let day = map_opt(preceded(sp0, digits(1, 2, 31)), |n| u8::try_from(n).ok());
    let (rest, (day, _, month, _, year)) =
        tuple((day, tag("-"), month, tag("-"), digits(4, 4, 9999)))(input)?;
    Ok((rest, (day, month, year)))
}

/// A decimal number of so many digits, at most `max`.
fn digits<'a>(
    least: usize,
    most: usize,
    max: u16,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], u16, Fault> {
    map_opt(take_while_m_n(least, most, |b: u8| b.is_ascii_digit()), move |text: &[u8]| {
        let n: u16 = str::from_utf8(text).ok()?.parse().ok()?;
        (n <= max).then_some(n)
    })
}
