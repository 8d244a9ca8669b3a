//! What messages are told by: a print of their headers, and a hash of their content. Pure.

use memchr::memchr2;

use crate::imap::header::field;
use crate::uid::SideUid;

/// The header fields that a print is made of, as FETCH names them.
pub const FIELDS: &str = "MESSAGE-ID DATE FROM SUBJECT";

/// What a message gets on its way into a mailbox, and is not part of what was sent: the trace of
/// RFC 5321 §4.4, and what servers and filters note beside it. Where mail is delivered to two servers, each
/// of them writes its own.
const TRACE: [&[u8]; 16] = [
    b"received",
    b"return-path",
    b"delivered-to",
    b"x-original-to",
    b"envelope-to",
    b"delivery-date",
    b"received-spf",
    b"authentication-results",
    b"arc-seal",
    b"arc-message-signature",
    b"arc-authentication-results",
    b"x-sieve",
    b"x-cyrus-session-id",
    b"x-greylist",
    b"x-envelope-from",
    b"x-envelope-to",
];
/// Whole families of such fields.
const TRACE_FAMILIES: [&[u8]; 4] = [b"x-spam-", b"x-virus-", b"x-rspamd-", b"x-amavis-"];
/// What mbsync puts into every message that it stores.
const TOOLS_FIELD: &[u8] = b"x-tuid";
/// No name of these is longer.
const LONGEST_NAME: usize = 26;

/// What is known of a message without its content: small, for a mailbox has many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Print {
    /// Its UID on its side.
    pub uid: SideUid,
    /// RFC822.SIZE; not all servers tell the truth.
    pub size: u32,
    /// INTERNALDATE in seconds since 1970; 0 if it is none.
    pub date: i64,
    /// Hash of Message-ID; 0 where there is none.
    pub id: u64,
    /// Hash of Date, From and Subject.
    pub head: u64,
}

impl Print {
    /// Of something that came at this instant, in seconds since 1970.
    pub fn dated(date: i64) -> Print {
        Print { uid: SideUid(0), size: 0, date, id: 0, head: 0 }
    }

    /// The print of a message; `block` holds its [`FIELDS`].
    pub fn of(uid: SideUid, size: u64, date: Option<i64>, block: &[u8]) -> Print {
        let id = field(block, "Message-ID").map(|value| squeezed(&value));
        let id = id.filter(|id| id.iter().any(|b| !matches!(b, b'<' | b'>')));
        let mut head = blake3::Hasher::new();
        for name in ["Date", "From", "Subject"] {
            // One octet that no squeezed value ends with keeps the three apart.
            head.update(&field(block, name).map_or(Vec::new(), |value| squeezed(&value)));
            head.update(b"\n");
        }
        Print {
            uid,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            date: date.unwrap_or(0),
            id: id.map_or(0, |id| short(&blake3::hash(&id)).max(1)),
            head: short(&head.finalize()),
        }
    }
}

/// A value without white space: servers and tools fold lines anew.
fn squeezed(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect()
}

fn short(hash: &blake3::Hash) -> u64 {
    let (first, _) = hash.as_bytes().split_at(8);
    first.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// What a message holds, as BLAKE3 of its lines, which all end in LF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Content {
    /// What was sent: all but its trace, and the field that mbsync adds. Messages that are equal in this
    /// are the same one.
    pub text: [u8; 32],
    /// The trace of its delivery.
    pub trace: [u8; 32],
}

/// Hashes a message as it comes.
#[derive(Default)]
pub struct Hashing {
    text: blake3::Hasher,
    trace: blake3::Hasher,
    /// CRs that belong to a line end if LF follows: Dovecot makes CRLF of CR CR LF.
    returns: u32,
    line: Line,
    field: Field,
}

/// Where in the message the next octet is.
enum Line {
    /// At the beginning of a header line; these octets of it have come.
    Begin(Vec<u8>),
    /// Within a header line.
    Within,
    /// Behind the headers.
    Body,
}

/// What the header field is of which a line is read.
#[derive(Clone, Copy, Default)]
enum Field {
    #[default]
    Text,
    Trace,
    Tools,
}

impl Field {
    /// What a field with this name is.
    fn named(name: &[u8]) -> Field {
        let is = |known: &&[u8]| name.eq_ignore_ascii_case(known);
        let begins = |family: &&[u8]| {
            name.get(..family.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(family))
        };
        if is(&TOOLS_FIELD) {
            Field::Tools
        } else if TRACE.iter().any(is) || TRACE_FAMILIES.iter().any(begins) {
            Field::Trace
        } else {
            Field::Text
        }
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::Begin(Vec::new())
    }
}

impl Hashing {
    /// Takes the next octets.
    pub fn update(&mut self, mut octets: &[u8]) {
        while let Some(first) = octets.first() {
            match first {
                b'\r' => self.returns = self.returns.saturating_add(1),
                b'\n' => {
                    self.returns = 0;
                    self.take(b"\n");
                }
                _ => {
                    self.bare_returns();
                    let end = memchr2(b'\r', b'\n', octets).unwrap_or(octets.len());
                    let (text, rest) = octets.split_at(end);
                    self.take(text);
                    octets = rest;
                    continue;
                }
            }
            octets = octets.get(1..).unwrap_or_default();
        }
    }

    /// The hashes of all.
    pub fn finish(mut self) -> Content {
        self.bare_returns();
        if let Line::Begin(begun) = std::mem::take(&mut self.line) {
            self.text.update(&begun);
        }
        let hash = |hasher: blake3::Hasher| *hasher.finalize().as_bytes();
        Content { text: hash(self.text), trace: hash(self.trace) }
    }

    fn bare_returns(&mut self) {
        for _ in 0..std::mem::take(&mut self.returns) {
            self.take(b"\r");
        }
    }

    /// Takes a piece of a line, or its end.
    fn take(&mut self, mut text: &[u8]) {
        if let Line::Begin(begun) = &mut self.line {
            // Its name tells what the field is; a folded line belongs to the one before.
            let missing = (LONGEST_NAME + 1).saturating_sub(begun.len()).min(text.len());
            let named = memchr2(b':', b'\n', &text[..missing]).map(|at| at + 1);
            let (more, rest) = text.split_at(named.unwrap_or(missing));
            begun.extend_from_slice(more);
            text = rest;
            let folded = matches!(begun.first(), Some(b' ' | b'\t'));
            if named.is_none() && !folded && begun.len() <= LONGEST_NAME {
                return;
            }
            let begun = std::mem::take(begun);
            self.line = match begun.as_slice() {
                b"\n" => {
                    self.field = Field::Text;
                    Line::Body
                }
                [.., b'\n'] => Line::default(),
                _ => Line::Within,
            };
            if !folded {
                let name = begun.strip_suffix(b":").unwrap_or_default();
                self.field = Field::named(name.trim_ascii_end());
            }
            self.hash(&begun);
        }
        if text.is_empty() {
            return;
        }
        self.hash(text);
        if text == b"\n" && !matches!(self.line, Line::Body) {
            self.line = Line::default();
        }
    }

    fn hash(&mut self, octets: &[u8]) {
        match self.field {
            Field::Text => self.text.update(octets),
            Field::Trace => self.trace.update(octets),
            Field::Tools => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(octets: &[u8]) -> Content {
        let mut hashing = Hashing::default();
        hashing.update(octets);
        hashing.finish()
    }

    #[test]
    fn v3_the_trace_of_a_delivery_is_not_what_was_sent() {
        let sent = "From: a\r\nSubject: b\r\n\r\nReceived: by hand\r\n";
        let by = |trace: &str| content(format!("{trace}{sent}").as_bytes());
        let one = by("Return-Path: <a@b>\r\nReceived: from x\r\n\tby y; Mon\r\n id 7\r\n");
        let other = by("delivered-to : c\r\nX-Spam-Status: No\r\nRECEIVED: from z\r\n");
        assert_eq!((one.text, other.text), (by("").text, by("").text));
        assert_ne!(one.trace, other.trace);
        assert_ne!(by("").text, content(sent.replace("hand", "mail").as_bytes()).text);
        // What is not of this kind is what was sent.
        for own in [
            "X-Received: x\r\n",
            "Receive: x\r\n",
            "List-Id: x\r\n",
            "Received\r\n",
            " Received: x\r\n",
        ] {
            assert_ne!(by(own).text, by("").text, "{own:?}");
        }
    }

    #[test]
    fn what_tools_change_is_not_content() {
        let message = b"From: a\r\nSubject: b\r\n\r\ntext\r\n\r\nmore\r\n";
        let same: [&[u8]; 4] = [
            b"From: a\nSubject: b\n\ntext\n\nmore\n",
            b"From: a\r\nSubject: b\r\nX-TUID: 0123456789ab\r\n\r\ntext\r\n\r\nmore\r\n",
            b"x-tuid: 0123456789ab\nFrom: a\nSubject: b\n\ntext\n\nmore\n",
            b"From: a\r\r\nSubject: b\r\n\r\ntext\r\r\n\r\nmore\r\n",
        ];
        for same in same {
            assert_eq!(content(same), content(message), "{:?}", same.escape_ascii().to_string());
        }
        let others: [&[u8]; 6] = [
            b"From: a\r\nSubject: b\r\n\r\ntext\r\n\r\nmore",
            b"From: a\r\nSubject: b\r\n\r\ntext\r\nmore\r\n",
            b"From: a\r\nSubject: b\r\n\r\nX-TUID: in the text\r\ntext\r\n\r\nmore\r\n",
            b"From: a\r\nSubject: b\r\nX-TUI: d\r\n\r\ntext\r\n\r\nmore\r\n",
            b"From: a\r\nSubject: b\r\n\r\nte\rxt\r\n\r\nmore\r\n",
            b"From: a\r\nSubject: b\r\n\r\ntext\r\n\r\nmore\r\n\r",
        ];
        for other in others {
            assert_ne!(content(other), content(message), "{:?}", other.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_print_is_the_same_however_lines_are_folded() {
        let print = |block: &[u8]| Print::of(SideUid(1), 9, None, block);
        let one = print(b"Message-ID: <a@b>\r\nFrom: x\r\nSubject: long\r\n subject\r\n\r\n");
        let other =
            print(b"message-id:\r\n <a@b>\r\nSubject: long\r\n\t subject\r\nFrom: x\r\n\r\n");
        assert_eq!(one, other);
        let moved = print(b"Message-ID: <a@b>\r\nFrom: xlong\r\nSubject: subject\r\n\r\n");
        assert_ne!(one.head, moved.head);
        assert_eq!(print(b"Message-ID: <>\r\n\r\n").id, 0);
        assert_eq!(print(b"\r\n"), print(b""));
    }

    proptest! {
        #[test]
        fn content_is_the_same_however_it_comes_in_pieces(
            lines in prop::collection::vec("(X-TUID: |Received:|[ \t]|X-Spam-)?[a-c:\r]{0,9}[\r]?\n", 0..12),
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let whole = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(whole.len())).collect();
            cuts.sort_unstable();
            let mut hashing = Hashing::default();
            let mut from = 0;
            for at in cuts.into_iter().chain([whole.len()]) {
                hashing.update(&whole[from..at]);
                from = at;
            }
            prop_assert_eq!(hashing.finish(), content(&whole));
        }
    }
}
