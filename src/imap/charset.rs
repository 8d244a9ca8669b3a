//! Charsets: of the strings that clients search for, and of encoded words in headers.
//!
//! Everything becomes UTF-8. What US-ASCII and UTF-8 are, octets show; all others are encoding_rs's.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// A charset whose text can be converted to UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charset(Option<&'static Encoding>);

impl Charset {
    /// The charset of a name, as MIME has it (RFC 2978). `None` if it is not known.
    pub fn named(name: &str) -> Option<Charset> {
        if ["US-ASCII", "UTF-8"].iter().any(|plain| plain.eq_ignore_ascii_case(name)) {
            return Some(Charset(None));
        }
        // "replacement" is what the Web puts for charsets that are dangerous to decode.
        let encoding = Encoding::for_label_no_replacement(name.as_bytes())?;
        Some(Charset(Some(encoding)))
    }

    /// The text in UTF-8. `None` if the octets are none of this charset; those of US-ASCII and
    /// UTF-8 are let pass, for a server to judge.
    pub fn decode(self, octets: &[u8]) -> Option<Cow<'_, [u8]>> {
        let Some(encoding) = self.0 else { return Some(Cow::Borrowed(octets)) };
        let text = encoding.decode_without_bom_handling_and_without_replacement(octets)?;
        Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// The text in UTF-8, with U+FFFD for what is none of this charset.
    pub fn decode_lossy(self, octets: &[u8]) -> Cow<'_, str> {
        match self.0 {
            None => String::from_utf8_lossy(octets),
            Some(encoding) => encoding.decode_without_bom_handling(octets).0,
        }
    }
}

/// The code of a refusal, with the common ones of those that are known (RFC 3501 §7.1).
pub const BAD_CHARSET: &str = "BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-2 ISO-8859-15 \
                               WINDOWS-1252 KOI8-R ISO-2022-JP SHIFT_JIS EUC-JP EUC-KR GB18030 BIG5)";

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(charset: &str, octets: &[u8]) -> Option<String> {
        let text = Charset::named(charset)?.decode(octets)?.into_owned();
        String::from_utf8(text).ok()
    }

    #[test]
    fn text_becomes_utf8() {
        assert_eq!(decoded("iso-8859-1", b"\xe9t\xe9").as_deref(), Some("été"));
        assert_eq!(decoded("KOI8-R", b"\xd0\xcf").as_deref(), Some("по"));
        assert_eq!(decoded("ISO-2022-JP", b"\x1b$B$\"\x1b(B").as_deref(), Some("あ"));
        assert_eq!(decoded("utf-8", "é".as_bytes()).as_deref(), Some("é"));
        assert_eq!(decoded("x-unknown", b"a"), None);
        assert_eq!(decoded("EUC-JP", b"\xff\xff"), None);
        assert_eq!(Charset::named("EUC-JP").unwrap().decode_lossy(b"a\xff"), "a\u{fffd}");
    }

    #[test]
    fn every_charset_that_is_named_is_known() {
        let names = BAD_CHARSET.split(['(', ')']).nth(1).unwrap();
        assert!(names.split(' ').all(|name| Charset::named(name).is_some()));
    }
}
