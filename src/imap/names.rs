//! Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3) and LIST wildcards (§6.3.8).
//!
//! Pure text work; which names exist, and how the two servers' names map, others know.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use unicode_normalization::is_nfc;

/// The name behind its modified UTF-7 spelling. `None` for what is none: octets outside printable
/// ASCII, `&` without its `-`, bad base64, half a surrogate pair.
///
/// Spellings that are not the shortest (`&AGE-` for `a`) are read, for servers have them.
pub fn decode(wire: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&first, tail)) = rest.split_first() {
        match first {
            b'&' => {
                let end = tail.iter().position(|&b| b == b'-')?;
                let (run, behind) = tail.split_at(end);
                if run.is_empty() {
                    name.push('&')
                } else {
                    decode_run(run, &mut name)?
                }
                rest = behind.get(1..)?;
            }
            b' '..=b'~' => {
                name.push(char::from(first));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(name)
}

/// A name as people read it, safe for a terminal: decoded, or, where it is no modified UTF-7 or
/// would steer the terminal, as it stands on the wire, escaped.
pub fn readable(wire: &[u8]) -> String {
    decode(wire)
        .filter(|name| !name.chars().any(char::is_control))
        .unwrap_or_else(|| wire.escape_ascii().to_string())
}

/// Spells a name in modified UTF-7. Always decodes to the same name.
pub fn encode(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len());
    // UTF-16, big-endian, of the characters since the last printable one.
    let mut run = Vec::new();
    for c in name.chars() {
        if !matches!(c, ' '..='~') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                run.extend_from_slice(&unit.to_be_bytes());
            }
            continue;
        }
        encode_run(&mut run, &mut wire);
        match c {
            '&' => wire.extend_from_slice(b"&-"),
            // Printable ASCII, as was asked above.
            c => wire.push(c as u8),
        }
    }
    encode_run(&mut run, &mut wire);
    wire
}

/// How a client spells mailbox names. Everywhere within they stand in modified UTF-7.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Spelling {
    /// Modified UTF-7, or whatever the server has.
    #[default]
    Utf7,
    /// UTF-8, once it has enabled IMAP4rev2 (RFC 9051 §5.1) or UTF8=ACCEPT (RFC 6855 §3).
    Utf8,
}

impl Spelling {
    /// The name behind what a client typed. `None` if that is not spelled so.
    pub fn read(self, typed: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Spelling::Utf7 => Some(Cow::Borrowed(typed)),
            Spelling::Utf8 => str::from_utf8(typed).ok().map(|name| Cow::Owned(encode(name))),
        }
    }

    /// A name as the client is told it. One that is no modified UTF-7, or would become a string
    /// that cannot be sent, is told as it stands on the wire.
    pub fn write(self, wire: &[u8]) -> Cow<'_, [u8]> {
        let sendable = |name: &String| !name.contains(['\0', '\r', '\n']);
        match self {
            Spelling::Utf7 => Cow::Borrowed(wire),
            Spelling::Utf8 => match decode(wire).filter(sendable) {
                Some(name) => Cow::Owned(name.into_bytes()),
                None => Cow::Borrowed(wire),
            },
        }
    }
}

/// Whether a name may be given to a mailbox where names are in UTF-8: composed (NFC), and without
/// controls (RFC 5198 §2, RFC 9051 §5.1). True for what is no modified UTF-7: it is not in UTF-8.
pub fn is_net_unicode(wire: &[u8]) -> bool {
    decode(wire).is_none_or(|name| {
        let refused = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        is_nfc(&name) && !name.chars().any(refused)
    })
}

/// Whether LIST's `pattern` matches `name`: `*` stands for anything, `%` for anything without the
/// separator. `INBOX`, alone or as the first level, matches in any case.
///
/// Takes time in proportion to the product of both lengths, whatever the pattern.
pub fn matches(pattern: &[u8], name: &[u8], separator: Option<u8>) -> bool {
    let folded = inbox_prefix(name, separator);
    // at[i]: the first i octets of the pattern can match what of the name has been read.
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    skip_wildcards(pattern, &mut at);
    for (n, &c) in name.iter().enumerate() {
        // From the back, so that at[i] still tells of the name without `c`.
        for i in (0..=pattern.len()).rev() {
            let stays = match pattern.get(i) {
                Some(b'*') => at[i],
                Some(b'%') => at[i] && Some(c) != separator,
                _ => false,
            };
            let steps = i > 0 && at[i - 1] && {
                let p = pattern[i - 1];
                !is_wildcard(p) && (p == c || (n < folded && p.eq_ignore_ascii_case(&c)))
            };
            at[i] = stays || steps;
        }
        skip_wildcards(pattern, &mut at);
    }
    at[pattern.len()]
}

/// The one pattern that LIST's two arguments mean: the reference stands before the name.
pub fn list_pattern(reference: &[u8], pattern: &[u8]) -> Vec<u8> {
    [reference, pattern].concat()
}

/// Reads the base64 between `&` and `-` into `name`.
fn decode_run(run: &[u8], name: &mut String) -> Option<()> {
    let octets = MUTF7.decode(run).ok()?;
    if octets.len() % 2 != 0 {
        return None;
    }
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    for c in char::decode_utf16(units) {
        name.push(c.ok()?);
    }
    Some(())
}

/// Writes what `run` holds between `&` and `-`, and empties it.
fn encode_run(run: &mut Vec<u8>, wire: &mut Vec<u8>) {
    if run.is_empty() {
        return;
    }
    wire.push(b'&');
    wire.extend_from_slice(MUTF7.encode(&run).as_bytes());
    wire.push(b'-');
    run.clear();
}

/// A wildcard may stand for nothing.
fn skip_wildcards(pattern: &[u8], at: &mut [bool]) {
    for (i, &p) in pattern.iter().enumerate() {
        at[i + 1] |= at[i] && is_wildcard(p);
    }
}

fn is_wildcard(octet: u8) -> bool {
    matches!(octet, b'*' | b'%')
}

/// How many octets at the beginning of `name` are INBOX, whose case does not count.
fn inbox_prefix(name: &[u8], separator: Option<u8>) -> usize {
    let first = name.split(|b| Some(*b) == separator).next().unwrap_or(name);
    if first.eq_ignore_ascii_case(b"INBOX") { first.len() } else { 0 }
}

/// Base64 with `,` for `/`, never padded.
const MUTF7: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_readable_name_never_steers_a_terminal() {
        for (wire, shown) in [
            ("Entw&APw-rfe", "Entwürfe"),
            ("&AAc-bell", "&AAc-bell"),
            ("no &base64", "no &base64"),
            ("\x1b[31mred", "\\x1b[31mred"),
        ] {
            assert_eq!(readable(wire.as_bytes()), shown);
        }
    }

    #[test]
    fn only_composed_names_without_controls_may_be_given() {
        for (name, fit) in [
            ("INBOX/Études", true),
            ("E\u{301}tudes", false),
            ("a\u{7}", false),
            ("a\u{85}", false),
            ("a\u{2028}b", false),
        ] {
            assert_eq!(is_net_unicode(&encode(name)), fit, "{name:?}");
        }
        assert!(is_net_unicode(b"no &base64"));
    }

    #[test]
    fn a_name_that_cannot_be_told_in_utf8_is_told_as_it_stands() {
        for wire in [&b"no &base64"[..], b"Entw\xfcrfe", b"&AAA-", b"&AAo-"] {
            assert_eq!(&*Spelling::Utf8.write(wire), wire);
        }
        assert_eq!(Spelling::Utf8.read(b"Entw\xfcrfe"), None);
    }

    #[test]
    fn known_names() {
        for (wire, name) in [
            ("INBOX", "INBOX"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("Objets envoy&AOk-s", "Objets envoyés"),
            ("Tom &- Jerry", "Tom & Jerry"),
            // RFC 3501 §5.1.3
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("&2D3eAA-", "😀"),
            ("&AOkAJg-", "é&"),
            ("&AAk-", "\t"),
            ("", ""),
        ] {
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(name), "{wire}");
            assert_eq!(decode(&encode(name)).as_deref(), Some(name), "{name}");
        }
        assert_eq!(encode("台北/日本語"), b"&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(encode("Entwürfe"), b"Entw&APw-rfe");
        assert_eq!(encode("&"), b"&-");
    }

    #[test]
    fn what_is_no_name() {
        for bad in
            ["&", "&AOk", "&!!!-", "&A-", "&AO-", "&AOk=-", "&2D0-", "&3gA-", "a\tb", "é", "&AO/-"]
        {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn wildcards() {
        let slash =
            |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes(), Some(b'/'));
        assert!(slash("*", "a/b/c"));
        assert!(slash("%", "a"));
        assert!(!slash("%", "a/b"));
        assert!(slash("a/%", "a/b"));
        assert!(!slash("a/%", "a/b/c"));
        assert!(slash("a*c", "a/b/c"));
        assert!(slash("%/%/%", "a/b/c"));
        assert!(slash("%*", "a/b"));
        assert!(slash("*%", "a/b"));
        assert!(!slash("%%", "a/b"));
        assert!(slash("a%", "a"));
        assert!(!slash("A", "a"));
        assert!(slash("", ""));
        assert!(!slash("", "a"));
        assert!(matches(b"%", b"a/b", None));
    }

    #[test]
    fn inbox_in_any_case() {
        let slash =
            |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes(), Some(b'/'));
        assert!(slash("inbox", "INBOX"));
        assert!(slash("inB%", "INBOX"));
        assert!(slash("inbox/*", "INBOX/Sent"));
        assert!(!slash("inbox/sent", "INBOX/Sent"));
        assert!(!slash("inboxes", "INBOXES"));
    }

    #[test]
    fn hostile_patterns_take_no_longer() {
        let pattern = b"*a%b".repeat(200);
        let name = b"ab".repeat(500);
        let start = Instant::now();
        assert!(!matches(&[&pattern[..], b"x"].concat(), &name, Some(b'/')));
        assert!(start.elapsed().as_secs() < 5);
    }

    /// The definition, for short patterns only.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|n| slow(rest, &name[n..])),
            Some((b'%', rest)) => (0..=name.len())
                .take_while(|&n| !name[..n].contains(&b'/'))
                .any(|n| slow(rest, &name[n..])),
            Some((p, rest)) => name.first() == Some(p) && slow(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn what_a_client_is_told_in_utf8_names_the_same_mailbox(name in "[^\\x00\r\n]{0,20}") {
            let wire = encode(&name);
            let told = Spelling::Utf8.write(&wire);
            prop_assert_eq!(&*told, name.as_bytes());
            let read = Spelling::Utf8.read(&told).unwrap();
            prop_assert_eq!(&*read, &*wire);
        }

        #[test]
        fn names_come_back(name in any::<String>()) {
            let wire = encode(&name);
            prop_assert!(wire.iter().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(decode(&wire), Some(name));
        }

        #[test]
        fn garbage_is_harmless(wire in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(name) = decode(&wire) {
                prop_assert_eq!(decode(&encode(&name)), Some(name));
            }
        }

        #[test]
        fn shifted_garbage_is_harmless(run in "[A-Za-z0-9+,/!=]{0,12}") {
            if let Some(name) = decode(format!("&{run}-").as_bytes()) {
                prop_assert_eq!(decode(&encode(&name)), Some(name));
            }
        }

        #[test]
        fn wildcards_mean_what_they_say(pattern in "[ab/*%]{0,7}", name in "[ab/]{0,7}") {
            prop_assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes(), Some(b'/')),
                slow(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
