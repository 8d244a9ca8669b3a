//! Header fields as a server gives them: unfolding, encoded words (RFC 2047), dates (RFC 5322).
//!
//! Tolerant, for mail is old and odd: whatever the octets, there is an answer.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memmem};

use crate::imap::charset::Charset;
use crate::imap::search::MONTHS;

/// The first field of this name in a block of header lines, without its name and line ends.
pub fn field(block: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut lines =
        block.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut value = lines.by_ref().find_map(|line| {
        let colon = memchr(b':', line)?;
        let (found, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then(|| value.to_vec())
    })?;
    for line in lines.take_while(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
        value.extend_from_slice(line);
    }
    Some(value)
}

/// The text of a field, its encoded words decoded; octets beyond ASCII are taken for UTF-8.
///
/// ```abnf
/// encoded-word = "=?" charset "?" encoding "?" encoded-text "?="    ; RFC 2047 §2
/// ```
pub fn decoded(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    let mut behind_word = false;
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(at);
        // Space between two encoded words is not displayed (RFC 2047 §6.2).
        if !behind_word || before.iter().any(|b| !b.is_ascii_whitespace()) {
            text.push_str(&String::from_utf8_lossy(before));
        }
        match encoded_word(from) {
            Some((word, len)) => {
                text.push_str(&word);
                rest = from.get(len..).unwrap_or_default();
                behind_word = true;
            }
            None => {
                text.push_str("=?");
                rest = from.get(2..).unwrap_or_default();
                behind_word = false;
            }
        }
    }
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

/// The encoded word that `text` begins with, and how long it is.
fn encoded_word(text: &[u8]) -> Option<(String, usize)> {
    let mut from = 2;
    let mut part = || {
        let rest = text.get(from..)?;
        let end = memchr(b'?', rest)?;
        from += end + 1;
        rest.get(..end)
    };
    let (charset, encoding, encoded) = (part()?, part()?, part()?);
    if text.get(from) != Some(&b'=') {
        return None;
    }
    // A language may stand behind the charset (RFC 2231 §5).
    let charset = charset.split(|b| *b == b'*').next()?;
    let charset = Charset::named(std::str::from_utf8(charset).ok()?)?;
    let octets = match encoding {
        b"B" | b"b" => BASE64.decode(encoded).ok()?,
        b"Q" | b"q" => unquoted(encoded),
        _ => return None,
    };
    Some((charset.decode_lossy(&octets).into_owned(), from + 1))
}

/// The octets of an encoding "Q" (RFC 2047 §4.2); what is no code stands for itself.
fn unquoted(encoded: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, hex(behind)) {
            (b'_', _) => octets.push(b' '),
            (b'=', Some(octet)) => {
                octets.push(octet);
                rest = behind.get(2..).unwrap_or_default();
            }
            (other, _) => octets.push(*other),
        }
    }
    octets
}

fn hex(text: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    u8::try_from(digit(text.first()?)? << 4 | digit(text.get(1)?)?).ok()
}

/// The Date of a message as seconds since 1970 (RFC 5256 §2.2): a time that is none is midnight, a
/// zone that is none is that of Greenwich. `None` if the day is none.
///
/// ```abnf
/// date-time = [ day-name "," ] day month year hour ":" minute [ ":" second ] zone  ; RFC 5322 §3.3
/// ```
pub fn sent_date(value: &[u8]) -> Option<i64> {
    let text = without_comments(value);
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
    let mut word = words.next()?;
    if word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'.') {
        word = words.next()?;
    }
    let day: u8 = digits(word, 2)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(month))?;
    let month = time::Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let written = words.next()?;
    let year = match (digits::<i32>(written, 4)?, written.len()) {
        // Years of old (RFC 5322 §4.3).
        (year, ..=2) if year < 50 => year + 2000,
        (year, ..=3) => year + 1900,
        (year, _) => year,
    };
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    let midnight = date.midnight().assume_utc().unix_timestamp();
    let time = words.next().and_then(seconds_of_day);
    let zone = words.next().and_then(zone_seconds);
    Some(midnight + time.unwrap_or(0) - zone.unwrap_or(0))
}

/// `hour ":" minute [ ":" second ]`.
fn seconds_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| digits::<i64>(part, 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    // 60 is a leap second.
    let fits = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    fits.then_some(hour * 3600 + minute * 60 + second)
}

/// `zone`, and its names of old (RFC 5322 §4.3), east of Greenwich.
fn zone_seconds(text: &str) -> Option<i64> {
    let (sign, numbers) = match text.split_at_checked(1)? {
        ("+", numbers) => (1, numbers),
        ("-", numbers) => (-1, numbers),
        _ => {
            let hours = match text.to_ascii_uppercase().as_str() {
                "EDT" => -4,
                "EST" | "CDT" => -5,
                "CST" | "MDT" => -6,
                "MST" | "PDT" => -7,
                "PST" => -8,
                _ => 0,
            };
            return Some(hours * 3600);
        }
    };
    if numbers.len() != 4 {
        return None;
    }
    let number: i64 = digits(numbers, 4)?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A decimal number of at most so many digits.
fn digits<T: std::str::FromStr>(text: &str, most: usize) -> Option<T> {
    let fits = text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// The text with a space for every comment (RFC 5322 §3.2.2).
fn without_comments(value: &[u8]) -> String {
    let mut depth = 0usize;
    let mut text = String::with_capacity(value.len());
    for &b in value {
        match b {
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                text.push(' ');
            }
            b if depth == 0 => text.push(char::from(b)),
            _ => {}
        }
    }
    text
}

/// Base64 as headers have it; some mailers forget the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_is_found_and_unfolded() {
        let block = b"Subject: one\r\n two\r\n\tthree\r\nsubject: other\r\nDate : x\r\n\r\n";
        assert_eq!(field(block, "Subject").unwrap(), b" one two\tthree");
        assert_eq!(field(block, "DATE").unwrap(), b" x");
        assert_eq!(field(block, "From"), None);
        assert_eq!(field(b"\xff\n:\n", "x"), None);
    }

    #[test]
    fn encoded_words_are_decoded() {
        for (raw, text) in [
            ("=?utf-8?Q?Gr=C3=BCn?=", "Grün"),
            ("=?ISO-8859-1?q?Gr=FCn_ist?= das", "Grün ist das"),
            ("=?utf-8?B?R3LDvG4?=", "Grün"),
            ("a =?utf-8?q?b?= \t =?utf-8?q?c?= d", "a bc d"),
            ("=?utf-8*en?q?b?=x", "bx"),
            ("=?x-none?q?b?= =?utf-8?x?b?=", "=?x-none?q?b?= =?utf-8?x?b?="),
            ("=?utf-8?q?open", "=?utf-8?q?open"),
            ("=?utf-8?q?=zz=4?=", "=zz=4"),
            ("=?", "=?"),
        ] {
            assert_eq!(decoded(raw.as_bytes()), text, "{raw}");
        }
        assert_eq!(decoded(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn dates_are_instants() {
        let noon = 1_456_833_600;
        for text in [
            "Tue, 1 Mar 2016 12:00:00 +0000",
            "1 Mar 2016 12:00 GMT",
            " Tue,  01 mar 16 (a (b) c) 13:00:00 +0100 (CET)",
            "Tue, 1 Mar 2016 07:00:00 EST",
            "Tue, 1 Mar 2016 12:00:00 nowhere",
            "Tue, 1 Mar 2016 12:00:00 +0199",
            "Tue, 1 Mar 2016 12:00:00",
        ] {
            assert_eq!(sent_date(text.as_bytes()), Some(noon), "{text}");
        }
        assert_eq!(sent_date(b"Tue, 1 Mar 2016 25:00:00 +0000"), Some(noon - 43_200));
        assert_eq!(sent_date(b"1 Jan 70 00:00:60 +0000"), Some(60));
        for text in ["", "Tue", "31 Feb 2016 12:00:00 +0000", "1 Foo 2016", "Mar 1 2016", "x 1 2"] {
            assert_eq!(sent_date(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_octets_nothing_panics(
            octets in proptest::collection::vec(any::<u8>(), 0..60),
            words in "[=?a-zA-Z0-9 :+,-]{0,60}",
        ) {
            for text in [octets.as_slice(), words.as_bytes()] {
                let _ = (field(text, "a"), decoded(text), sent_date(text));
            }
        }
    }
}
