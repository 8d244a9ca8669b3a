//! Tokens of IMAP, read tolerantly: atoms, strings, numbers, sets, lists, literals' announcements.
//!
//! Borrowing, bounded by its input and without recursion: a value nested a million deep costs a
//! counter. Nothing here knows what the tokens mean.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::framer::Literal;

/// A cursor over one unit's text, with literals standing in it as `{n}` CRLF octets.
///
/// Every method skips spaces first; a method that returns `None` or `false` has taken nothing else.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Scan { rest: text }
    }

    /// What was not taken yet, from the next character that is no space.
    pub fn rest(&mut self) -> &'a [u8] {
        self.skip_spaces();
        self.rest
    }

    /// The next octet, left where it is.
    pub fn peek(&mut self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Whether only spaces are left.
    pub fn is_done(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Takes this one octet if it is next.
    pub fn eat(&mut self, octet: u8) -> bool {
        let next = self.peek() == Some(octet);
        if next {
            self.take(1);
        }
        next
    }

    /// Everything up to the next space; empty at the end.
    pub fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.take(rest.iter().position(|&b| is_space(b)).unwrap_or(rest.len()))
    }

    /// Everything up to the next space, parenthesis or quote; empty if that is next.
    pub fn atom(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let ends = |&b: &u8| is_space(b) || matches!(b, b'(' | b')' | b'"');
        self.take(rest.iter().position(ends).unwrap_or(rest.len()))
    }

    /// An atom that is a number of 32 bits.
    pub fn number(&mut self) -> Option<u32> {
        self.attempt(|scan| number(scan.atom()))
    }

    /// An atom that is a number of 64 bits.
    pub fn number64(&mut self) -> Option<u64> {
        self.attempt(|scan| number64(scan.atom()))
    }

    /// A set of numbers, see [`set`].
    pub fn set(&mut self) -> Option<Vec<(u32, u32)>> {
        self.attempt(|scan| set(scan.atom()))
    }

    /// A quoted string or a literal (RFC 9051 `string`), without quotes and escapes.
    pub fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let rest = self.rest();
        if rest.first() == Some(&b'"') {
            let len = quoted_len(rest)?;
            let inner = self.take(len).get(1..len - 1)?;
            return Some(unescaped(inner));
        }
        let (start, end) = inlined_literal(rest)?;
        self.take(end).get(start..).map(Cow::Borrowed)
    }

    /// A string, or a word of any octets: servers leave names unquoted that are no atoms.
    pub fn astring(&mut self) -> Option<Cow<'a, [u8]>> {
        match self.peek()? {
            b'"' => self.string(),
            b'(' | b')' => None,
            _ => self.string().or_else(|| Some(Cow::Borrowed(self.word()))),
        }
    }

    /// A string, or NIL: `Some(None)` (RFC 9051 `nstring`).
    pub fn nstring(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        self.string().map(Some).or_else(|| self.nil().then_some(None))
    }

    /// Takes NIL if it is next.
    pub fn nil(&mut self) -> bool {
        self.attempt(|scan| scan.atom().eq_ignore_ascii_case(b"NIL").then_some(())).is_some()
    }

    /// A parenthesized list; what stands between its parentheses is returned as it is.
    pub fn list(&mut self) -> Option<Scan<'a>> {
        if self.peek() != Some(b'(') {
            return None;
        }
        let list = self.value()?;
        list.get(1..list.len() - 1).map(Scan::new)
    }

    /// Any one value, as it stands: an atom, a string, a list with all that is nested in it.
    pub fn value(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let mut depth = 0usize;
        let mut at = 0;
        loop {
            let here = rest.get(at..)?;
            at += match *here.first()? {
                b'"' => quoted_len(here)?,
                b'(' => {
                    depth += 1;
                    1
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    1
                }
                b'{' | b'~' => match inlined_literal(here) {
                    Some((_, end)) => end,
                    None => Scan::new(here).atom().len(),
                },
                b if is_space(b) => 1,
                _ => Scan::new(here).atom().len(),
            };
            if depth == 0 {
                return Some(self.take(at));
            }
        }
    }

    fn skip_spaces(&mut self) {
        while let [first, rest @ ..] = self.rest
            && is_space(*first)
        {
            self.rest = rest;
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.rest();
        let value = read(self);
        if value.is_none() {
            self.rest = before;
        }
        value
    }
}

/// A number of 32 bits and nothing else.
pub fn number(text: &[u8]) -> Option<u32> {
    number64(text)?.try_into().ok()
}

/// A number of 64 bits and nothing else.
pub fn number64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A set of numbers as servers send it (RFC 4315 `uid-set`): `1:3,5` without `*` and without 0.
/// Ranges come in the order they are written, each with its smaller end first.
pub fn set(text: &[u8]) -> Option<Vec<(u32, u32)>> {
    let one = |text: &[u8]| number(text).filter(|&n| n != 0);
    text.split(|&b| b == b',')
        .map(|range| match memchr(b':', range) {
            None => one(range).map(|n| (n, n)),
            Some(at) => {
                let (a, b) = (one(&range[..at])?, one(&range[at + 1..])?);
                Some((a.min(b), a.max(b)))
            }
        })
        .collect()
}

/// The flags within `(\Seen $x)`; the parentheses and any number of spaces may be missing.
pub fn flags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| is_space(b) || matches!(b, b'(' | b')')).filter(|flag| !flag.is_empty())
}

/// A list of flags without `\Recent`, which nobody may claim over two servers; with its parentheses,
/// and borrowed where it came as it goes.
pub fn without_recent(list: &[u8]) -> Cow<'_, [u8]> {
    let kept = || flags(list).filter(|flag| !flag.eq_ignore_ascii_case(b"\\Recent"));
    let (count, octets) =
        kept().fold((0, 0), |(n, octets), flag| (n + 1_usize, octets + flag.len()));
    // Parentheses, and one space between two: nothing was left out, and nothing stands beside.
    let len = 2 + octets + count.saturating_sub(1);
    let plain = list.starts_with(b"(") && list.ends_with(b")") && memchr(b'\t', list).is_none();
    if plain && list.len() == len {
        return Cow::Borrowed(list);
    }
    let mut written = Vec::with_capacity(len);
    written.push(b'(');
    for flag in kept() {
        if written.len() > 1 {
            written.push(b' ');
        }
        written.extend_from_slice(flag);
    }
    written.push(b')');
    Cow::Owned(written)
}

/// The length of the quoted string that `text` begins with, quotes included. `None` if it does not
/// end in `text`.
pub fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The literal that a line announces by ending in `{n}`, `{n+}`, `~{n}` or `~{n+}`, and where that
/// announcement begins; the literal is `None` if its number is beyond 63 bits (or twenty digits).
pub fn announced_literal(line: &[u8]) -> Option<(usize, Option<Literal>)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, sync) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = inner.split_at(inner.len() - digits);
    if digits.is_empty() {
        return None;
    }
    let before = before.strip_suffix(b"{")?;
    let binary = before.last() == Some(&b'~');
    let octets = number64(digits).filter(|&n| digits.len() <= 20 && n <= i64::MAX as u64);
    let literal = octets.map(|octets| Literal { octets, sync, binary });
    Some((before.len() - usize::from(binary), literal))
}

/// Whether an octet parts tokens.
pub fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// `~{`, twenty digits, `+}`, CRLF, rounded up: a stray brace must not cost a search of all the
/// rest.
pub(super) const MAX_ANNOUNCEMENT: usize = 32;

/// Where the octets of the literal that `text` begins with start and end, if all of them are there.
fn inlined_literal(text: &[u8]) -> Option<(usize, usize)> {
    if !matches!(text.first(), Some(b'{' | b'~')) {
        return None;
    }
    let line_end = memchr(b'\n', &text[..text.len().min(MAX_ANNOUNCEMENT)])?;
    let line = text.get(..line_end)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (0, Some(literal)) = announced_literal(line)? else {
        return None;
    };
    let start = line_end + 1;
    let end = start.checked_add(usize::try_from(literal.octets).ok()?)?;
    (end <= text.len()).then_some((start, end))
}

fn unescaped(inner: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(&octet) = octets.next() {
        out.push(if octet == b'\\' { *octets.next().unwrap_or(&octet) } else { octet });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_in_all_their_forms() {
        let mut scan = Scan::new(b"\"a \\\"b\\\\\" {3}\r\nx\ny ~{0}\r\n  nil atom[]) \"open");
        assert_eq!(scan.astring().unwrap(), &b"a \"b\\"[..]);
        assert_eq!(scan.nstring().unwrap().unwrap(), &b"x\ny"[..]);
        assert_eq!(scan.string().unwrap(), &b""[..]);
        assert_eq!(scan.nstring(), Some(None));
        assert_eq!(scan.astring().unwrap(), &b"atom[])"[..]);
        assert_eq!(scan.astring(), None);
        assert_eq!(scan.value(), None);
        assert_eq!(scan.rest(), b"\"open");
    }

    #[test]
    fn recent_is_never_claimed() {
        for (list, kept) in [
            ("(\\Recent)", "()"),
            ("(\\Seen \\recent $x)", "(\\Seen $x)"),
            ("( a  b )", "(a b)"),
            ("(a\tb)", "(a b)"),
        ] {
            assert_eq!(without_recent(list.as_bytes()), kept.as_bytes());
        }
        for list in ["()", "(\\Seen)", "(\\Seen $x)"] {
            assert!(matches!(without_recent(list.as_bytes()), Cow::Borrowed(_)), "{list}");
        }
    }

    #[test]
    fn a_literal_that_is_cut_short_is_none() {
        assert_eq!(Scan::new(b"{3}\r\nab").string(), None);
        assert_eq!(Scan::new(b"{3} abc").string(), None);
        assert_eq!(Scan::new(b"{99999999999999999999}\r\nab").string(), None);
    }

    #[test]
    fn values_with_all_that_is_nested() {
        let mut scan = Scan::new(b" (a \")\" ({2}\r\n)) b))  c (d");
        assert_eq!(scan.value().unwrap(), b"(a \")\" ({2}\r\n)) b))");
        assert_eq!(scan.value().unwrap(), b"c");
        assert_eq!(scan.list().map(|s| s.rest), None);
        assert_eq!(scan.rest(), b"(d");
        assert_eq!(Scan::new(b"()").list().map(|mut s| s.is_done()), Some(true));
        let deep = b"(".repeat(1_000_000);
        assert_eq!(Scan::new(&deep).value(), None);
    }

    #[test]
    fn numbers_and_sets() {
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        assert_eq!(number64(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "4294967296", "-1", "+1", "1 ", "1a"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(number64(b"18446744073709551616"), None);
        assert_eq!(set(b"9:7,3,1:2"), Some(vec![(7, 9), (3, 3), (1, 2)]));
        for bad in ["", "1,", ",1", "0", "1:*", "1:", ":", "1:2:3", "4294967296"] {
            assert_eq!(set(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Scan::new(b"12)").number(), Some(12));
        assert_eq!(Scan::new(b"12x").number(), None);
    }

    #[test]
    fn flags_however_they_are_spaced() {
        let all = |list| flags(list).collect::<Vec<_>>();
        assert_eq!(all(b"(\\Seen  $x )"), [&b"\\Seen"[..], b"$x"]);
        assert_eq!(all(b"()"), [&b""[..]; 0]);
        assert_eq!(all(b""), [&b""[..]; 0]);
        assert_eq!(all(b"( \\*"), [b"\\*"]);
    }

    proptest! {
        #[test]
        fn scanning_never_panics(text in prop::collection::vec(
            prop_oneof![
                prop::sample::select(b" ()\"\\{}~0123456789\r\n+,:x\xff".to_vec()),
                any::<u8>(),
            ], 0..60), steps in prop::collection::vec(0u8..9, 0..20)) {
            let mut scan = Scan::new(&text);
            for step in steps {
                let before = scan.rest().len();
                match step {
                    0 => drop(scan.word()),
                    1 => drop(scan.atom()),
                    2 => drop(scan.number()),
                    3 => drop(scan.set()),
                    4 => drop(scan.string()),
                    5 => drop(scan.astring()),
                    6 => drop(scan.nstring()),
                    7 => drop(scan.list()),
                    _ => drop(scan.value()),
                }
                prop_assert!(scan.rest().len() <= before);
            }
        }
    }
}
