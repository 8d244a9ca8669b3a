//! `Flag`: a system flag or a keyword, spelled as its first user spelled it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A flag of a message (RFC 3501 §2.3.2): `\Seen`, `$Forwarded`, `domain.com`.
///
/// Flags that differ in the case of ASCII letters alone are one flag; each keeps its spelling.
/// The text is printable ASCII without `(`, `)`, `{`, `"` and inner `\`, so it can be written as it
/// is. Beyond the letter of RFC 3501, `%`, `*` and `]` are let through, for servers have such keywords.
#[derive(Clone)]
pub struct Flag(Box<str>);

impl Flag {
    /// Takes a flag from the wire.
    pub fn new(octets: &[u8]) -> Option<Flag> {
        let word = octets.strip_prefix(b"\\").unwrap_or(octets);
        let fits = |b: &u8| b.is_ascii_graphic() && !b"(){\"\\".contains(b);
        if word.is_empty() || !word.iter().all(fits) {
            return None;
        }
        std::str::from_utf8(octets).ok().map(|text| Flag(text.into()))
    }

    /// The flag as it goes onto the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins with `\`.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('\\')
    }

    /// Whether it is that flag, whatever its case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for Flag {
    fn eq(&self, other: &Flag) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Flag {}

impl PartialOrd for Flag {
    fn partial_cmp(&self, other: &Flag) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flag {
    fn cmp(&self, other: &Flag) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Flag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for b in self.folded() {
            state.write_u8(b);
        }
        state.write_u8(0xff);
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn one_flag_whatever_its_case() {
        let flags =
            || [&b"\\Seen"[..], b"\\SEEN", b"$Junk", b"$junk"].map(|f| Flag::new(f).unwrap());
        assert_eq!(flags().into_iter().collect::<HashSet<_>>().len(), 2);
        assert_eq!(flags().into_iter().collect::<BTreeSet<_>>().len(), 2);
        assert_eq!(Flag::new(b"\\SeEn").unwrap().as_str(), "\\SeEn");
        assert_ne!(Flag::new(b"Seen"), Flag::new(b"\\Seen"));
    }

    #[test]
    fn only_what_can_be_written_as_it_is() {
        for good in [&b"domain.com"[..], b"$MDNSent", b"\\*", b"Label[1]", b"a%b"] {
            assert!(Flag::new(good).is_some(), "{}", good.escape_ascii());
        }
        for bad in [&b""[..], b"\\", b"a b", b"a\r\nb", b"(a", b"a\"", b"\\\\a", b"\xe4", b"{3}"] {
            assert!(Flag::new(bad).is_none(), "{}", bad.escape_ascii());
        }
    }
}
