//! Writing IMAP: commands for a backend as [`Parts`], and strings of answers to a client.
//!
//! Octets that could end a line or a string (CR, LF, NUL) never stand outside a literal here,
//! whatever the value: that is what keeps a client's argument from becoming a server's command.

use crate::base::MailboxName;
use crate::imap::command::Flag;
use crate::imap::names::Spelling;

/// One piece of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Goes onto the wire as it is.
    Text(Vec<u8>),
    /// Goes onto the wire as a literal, announced as the server wants it (`{n}` or `{n+}`); as a
    /// literal8 where it holds NUL.
    Literal(Vec<u8>),
}

/// A command, or a piece of one, without tag and final CRLF.
///
/// Texts next to each other are one text, so a command without literals is a single part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// Nothing yet.
    pub fn new() -> Parts {
        Parts::default()
    }

    /// Appends text of ours: words, spaces, numbers. Never what a client sent.
    pub fn text(&mut self, text: &str) -> &mut Parts {
        debug_assert!(!text.bytes().any(breaks_line), "text of ours must not break the line");
        self.push(text.as_bytes());
        self
    }

    /// Appends a string: an atom if that is safe, quoted if it is printable ASCII, else a literal
    /// (RFC 3501 §9, `astring`).
    pub fn astring(&mut self, value: &[u8]) -> &mut Parts {
        if is_plain_atom(value) {
            self.push(value);
            return self;
        }
        self.string(value)
    }

    /// Appends a string, quoted or as a literal (RFC 3501 §9, `string`).
    pub fn string(&mut self, value: &[u8]) -> &mut Parts {
        if !is_quotable(value) {
            return self.literal(value);
        }
        let mut text = Vec::with_capacity(value.len() + 2);
        quoted(value, &mut text);
        self.push(&text);
        self
    }

    /// Appends a literal.
    pub fn literal(&mut self, value: &[u8]) -> &mut Parts {
        self.0.push(Part::Literal(value.to_vec()));
        self
    }

    /// Appends a mailbox name: quoted, for some servers read an unquoted one of digits as a number.
    pub fn mailbox(&mut self, name: &MailboxName) -> &mut Parts {
        if name.is_inbox() {
            return self.text("INBOX");
        }
        self.string(name.as_bytes())
    }

    /// Appends a parenthesized list of flags.
    pub fn flags(&mut self, flags: &[Flag]) -> &mut Parts {
        let mut text = Vec::new();
        flag_list(flags, &mut text);
        self.push(&text);
        self
    }

    /// Appends all of `other`.
    pub fn append(&mut self, other: Parts) -> &mut Parts {
        for part in other.0 {
            match part {
                Part::Text(text) => self.push(&text),
                literal => self.0.push(literal),
            }
        }
        self
    }

    /// Takes away what its text begins with. False if it begins otherwise.
    pub fn strip_prefix(&mut self, prefix: &[u8]) -> bool {
        match self.0.first_mut() {
            Some(Part::Text(text)) if text.starts_with(prefix) => {
                text.drain(..prefix.len());
                true
            }
            _ => false,
        }
    }

    /// The pieces in order.
    pub fn as_slice(&self) -> &[Part] {
        &self.0
    }

    /// The pieces in order.
    pub fn into_vec(self) -> Vec<Part> {
        self.0
    }

    /// Whether its text holds a word that we write in capitals.
    pub fn mentions(&self, word: &[u8]) -> bool {
        let text = |part: &Part| matches!(part, Part::Text(text) if memchr::memmem::find(text, word).is_some());
        self.0.iter().any(text)
    }

    /// Whether it cannot go out as one line.
    pub fn has_literal(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Literal(_)))
    }

    fn push(&mut self, octets: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.extend_from_slice(octets),
            _ if octets.is_empty() => {}
            _ => self.0.push(Part::Text(octets.to_vec())),
        }
    }
}

/// Writes `value` for a client: as an atom where that is safe, else as [`string_or_literal`].
pub fn astring(value: &[u8], out: &mut Vec<u8>) {
    if is_plain_atom(value) {
        out.extend_from_slice(value);
    } else {
        string_or_literal(value, out);
    }
}

/// Writes `value` for a client: quoted where it is printable ASCII, else as a literal, which is a
/// literal8 (RFC 3516 §4.4) where it holds NUL.
pub fn string_or_literal(value: &[u8], out: &mut Vec<u8>) {
    if is_quotable(value) {
        quoted(value, out);
    } else {
        let binary = if value.contains(&0) { "~" } else { "" };
        out.extend_from_slice(format!("{binary}{{{}}}\r\n", value.len()).as_bytes());
        out.extend_from_slice(value);
    }
}

/// Writes `value` between quotes. Octets that no quoted string can carry (CR, LF, NUL, DEL and other
/// controls) become `?`; 8-bit octets pass. Where they matter, use [`string_or_literal`].
pub fn quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &b in value {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b if b.is_ascii_control() => out.push(b'?'),
            b => out.push(b),
        }
    }
    out.push(b'"');
}

/// Writes a mailbox name for a client: `INBOX` bare, every other quoted or as a literal.
pub fn mailbox(name: &MailboxName, spelling: Spelling, out: &mut Vec<u8>) {
    if name.is_inbox() {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    let name = spelling.write(name.as_bytes());
    let controls = |name: &str| name.len() > MAX_QUOTED || name.chars().any(char::is_control);
    match (spelling, str::from_utf8(&name)) {
        // Within quotes UTF-8 may stand as it is (RFC 9051 §9, `QUOTED-CHAR`).
        (Spelling::Utf8, Ok(text)) if !controls(text) => quoted(&name, out),
        _ => string_or_literal(&name, out),
    }
}

/// Writes a parenthesized list of flags (RFC 3501 §9, `flag-list`).
pub fn flag_list<'a>(flags: impl IntoIterator<Item = &'a Flag>, out: &mut Vec<u8>) {
    out.push(b'(');
    for (i, flag) in flags.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(flag.as_str().as_bytes());
    }
    out.push(b')');
}

/// Whether a quoted string carries it to every server: printable ASCII.
fn is_quotable(value: &[u8]) -> bool {
    // Some servers bound the length of a line; a long string is safer as a literal.
    value.len() <= MAX_QUOTED && value.iter().all(|b| matches!(b, b' '..=b'~'))
}

/// Whether it is an atom to every server: no specials, not `NIL`, not a number.
fn is_plain_atom(value: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./@$:,;=".contains(b);
    !value.is_empty()
        && value.len() <= MAX_QUOTED
        && value.iter().all(plain)
        && !value.iter().all(u8::is_ascii_digit)
        && !value.eq_ignore_ascii_case(b"NIL")
}

fn breaks_line(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | 0)
}

/// The longest string written within a line; RFC 2683 §3.2.1.5 asks servers for 8,000 octets a
/// line, and older ones take 1,000.
const MAX_QUOTED: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(build: impl FnOnce(&mut Parts)) -> String {
        let mut parts = Parts::new();
        build(&mut parts);
        let show = |part: &Part| match part {
            Part::Text(text) => text.escape_ascii().to_string(),
            Part::Literal(octets) => format!("<{}>", octets.escape_ascii()),
        };
        parts.as_slice().iter().map(show).collect()
    }

    #[test]
    fn strings_take_the_simplest_safe_form() {
        let astring = |s: &[u8]| written(|p| _ = p.astring(s));
        assert_eq!(astring(b"ann@example.com"), "ann@example.com");
        assert_eq!(astring(b"two words"), "\\\"two words\\\"");
        assert_eq!(astring(b""), "\\\"\\\"");
        assert_eq!(astring(b"nil"), "\\\"nil\\\"");
        assert_eq!(astring(b"2024"), "\\\"2024\\\"");
        assert_eq!(astring(b"{3}"), "\\\"{3}\\\"");
        assert_eq!(astring(b"a\r\nb"), "<a\\r\\nb>");
        assert_eq!(astring("ä".as_bytes()), "<\\xc3\\xa4>");
    }

    #[test]
    fn texts_melt_into_one() {
        let mut a = Parts::new();
        a.text("UID COPY ").text("1:5 ").mailbox(&MailboxName::new(b"a \"b\"").unwrap());
        let mut b = Parts::new();
        b.text("x ").append(a);
        assert_eq!(b.as_slice(), [Part::Text(b"x UID COPY 1:5 \"a \\\"b\\\"\"".to_vec())]);
        assert!(!b.has_literal());
        assert_eq!(
            written(|p| _ = p.text("A ").string(b"\xff").text(" Z").flags(&[])),
            "A <\\xff> Z()"
        );
    }

    #[test]
    fn flags_are_listed() {
        let flags = [Flag::new(b"\\Seen").unwrap(), Flag::new(b"$Junk").unwrap()];
        let mut out = Vec::new();
        flag_list(&flags, &mut out);
        assert_eq!(out, b"(\\Seen $Junk)");
    }

    proptest! {
        #[test]
        fn no_value_breaks_a_line(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut parts = Parts::new();
            parts.astring(&value).text(" ").string(&value);
            for part in parts.as_slice() {
                if let Part::Text(text) = part {
                    prop_assert!(!text.iter().any(|b| breaks_line(*b)));
                }
            }
            let mut out = Vec::new();
            quoted(&value, &mut out);
            prop_assert!(!out.iter().any(|b| breaks_line(*b)));
            out.clear();
            string_or_literal(&value, &mut out);
            prop_assert!(out.starts_with(b"\"") || out.ends_with(&value));
        }
    }
}
