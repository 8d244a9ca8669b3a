//! IMAP URLs (RFC 5092), as far as they name a part of a message that the proxy shows.

use super::command::parse_section;
use super::fetch::{FetchItem, Section};
use super::names::encode;
use crate::base::MailboxName;

/// A part of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageUrl {
    /// Its mailbox; `None` for the one that is selected.
    pub mailbox: Option<MailboxName>,
    /// The UIDVALIDITY that the UID belongs to, if it is said.
    pub uid_validity: Option<u32>,
    /// The message.
    pub uid: u32,
    /// What of it, without setting `\Seen`.
    pub item: FetchItem,
}

impl MessageUrl {
    /// Reads a relative URL: `["/" enc-mailbox [";UIDVALIDITY=" nz-number] "/"] ";UID=" nz-number
    /// ["/;SECTION=" enc-section] ["/;PARTIAL=" number ["." nz-number]]` (RFC 5092 §11).
    ///
    /// `None` for what is none; also for a URL that names a server or an authorisation (`URLAUTH`,
    /// RFC 4467): whether it means this one, the proxy cannot know.
    pub fn parse(url: &[u8]) -> Option<MessageUrl> {
        let at = find(url, b";UID=")?;
        let (place, rest) = (&url[..at], &url[at + b";UID=".len()..]);
        let (mailbox, uid_validity) = match place.strip_suffix(b"/").unwrap_or(place) {
            b"" => (None, None),
            place => {
                let place = place.strip_prefix(b"/").filter(|p| !p.starts_with(b"/"))?;
                let (name, validity) = match find(place, b";UIDVALIDITY=") {
                    Some(at) => (&place[..at], Some(nz_number(&place[at + 13..])?)),
                    None => (place, None),
                };
                let name = String::from_utf8(decoded(name)?).ok()?;
                (Some(MailboxName::new(&encode(&name))?), validity)
            }
        };
        let mut parts = rest.split(|b| *b == b'/');
        let uid = nz_number(parts.next()?)?;
        let (mut section, mut partial) = (Section::default(), None);
        for part in parts {
            let (name, value) = part.split_at(part.iter().position(|b| *b == b'=')? + 1);
            match name.to_ascii_uppercase().as_slice() {
                b";SECTION=" => section = parse_section(&decoded(value)?)?,
                b";PARTIAL=" => partial = Some(range(value)?),
                _ => return None,
            }
        }
        let item = FetchItem::Section { peek: true, section, partial };
        Some(MessageUrl { mailbox, uid_validity, uid, item })
    }
}

/// Where a word begins, in any case.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

fn nz_number(digits: &[u8]) -> Option<u32> {
    number(digits).filter(|n| *n != 0)
}

fn number(digits: &[u8]) -> Option<u32> {
    let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `number ["." nz-number]`; without a length, all that is behind the offset.
fn range(text: &[u8]) -> Option<(u32, u32)> {
    match text.iter().position(|b| *b == b'.') {
        Some(at) => Some((number(&text[..at])?, nz_number(&text[at + 1..])?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// Without percent encoding (RFC 3986 §2.1).
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(digits)?;
        octets.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(url: &str) -> Option<(Option<String>, Option<u32>, u32, String)> {
        let url = MessageUrl::parse(url.as_bytes())?;
        let name = url.mailbox.map(|name| name.as_bytes().escape_ascii().to_string());
        Some((name, url.uid_validity, url.uid, url.item.to_string()))
    }

    #[test]
    fn parts_of_messages() {
        let drafts = Some("Drafts".to_owned());
        assert_eq!(
            read("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER"),
            Some((drafts.clone(), Some(385_759_045), 20, "BODY.PEEK[HEADER]".into()))
        );
        assert_eq!(read("/Drafts/;UID=7"), Some((drafts, None, 7, "BODY.PEEK[]".into())));
        assert_eq!(
            read("/;uid=9/;SECTION=1.2.MIME/;PARTIAL=10.20"),
            Some((None, None, 9, "BODY.PEEK[1.2.MIME]<10.20>".into()))
        );
        assert_eq!(
            read(";UID=9/;PARTIAL=3"),
            Some((None, None, 9, "BODY.PEEK[]<3.4294967295>".into()))
        );
        let umlaut = Some("a/Entw&APw-rfe &- b".to_owned());
        assert_eq!(
            read("/a/Entw%C3%BCrfe%20%26%20b/;UID=1/;SECTION=HEADER.FIELDS%20(subject)"),
            Some((umlaut, None, 1, "BODY.PEEK[HEADER.FIELDS (subject)]".into()))
        );
    }

    #[test]
    fn what_names_no_part_of_a_message_here() {
        for url in [
            "",
            "/Drafts",
            "imap://ann@example.com/Drafts/;UID=1",
            "//example.com/Drafts/;UID=1",
            "Drafts/;UID=1",
            "/Drafts/;UID=0",
            "/Drafts/;UID=x",
            "/Drafts;UIDVALIDITY=0/;UID=1",
            "/Drafts/;UID=1/;SECTION=NONSENSE",
            "/Drafts/;UID=1/;PARTIAL=1.0",
            "/Drafts/;UID=1;URLAUTH=anonymous",
            "/Drafts/;UID=1/;EXPIRE=x",
            "/Draf%ts/;UID=1",
            "/%FF/;UID=1",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_harmless(url in "[/;=.%a1]{0,9};UID=[/;=.%SECTION0-9]{0,20}") {
            drop(MessageUrl::parse(url.as_bytes()));
        }
    }
}
