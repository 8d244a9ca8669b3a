//! What messages are told by: a print of their headers, and a hash of their content. Pure.

use memchr::{memchr, memchr2};

use crate::imap::header::field;
use crate::uid::SideUid;

/// The header fields that a print is made of, as FETCH names them.
pub const FIELDS: &str = "MESSAGE-ID DATE FROM SUBJECT";

/// What mbsync puts into every message that it stores.
const TOOLS_FIELD: &[u8] = b"X-TUID:";

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

/// BLAKE3 of a message whose lines all end in LF, without the field that mbsync adds.
pub type Content = [u8; 32];

/// Hashes a message as it comes.
#[derive(Default)]
pub struct Hashing {
    hash: blake3::Hasher,
    /// CRs that belong to a line end if LF follows: Dovecot makes CRLF of CR CR LF.
    returns: u32,
    line: Line,
}

/// Where in the message the next octet is.
enum Line {
    /// At the beginning of a header line, which may be the tool's; these octets of it have come.
    Begin(Vec<u8>),
    /// Within a header line that counts.
    Within,
    /// Within the tool's.
    Skipped,
    /// Behind the headers.
    Body,
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

    /// The hash of all.
    pub fn finish(mut self) -> Content {
        self.bare_returns();
        if let Line::Begin(begun) = std::mem::take(&mut self.line) {
            self.hash.update(&begun);
        }
        *self.hash.finalize().as_bytes()
    }

    fn bare_returns(&mut self) {
        for _ in 0..std::mem::take(&mut self.returns) {
            self.take(b"\r");
        }
    }

    /// Takes a piece of a line, or its end.
    fn take(&mut self, mut text: &[u8]) {
        if let Line::Begin(begun) = &mut self.line {
            let missing = TOOLS_FIELD.len() - begun.len();
            let (more, rest) = text.split_at(missing.min(text.len()));
            begun.extend_from_slice(more);
            text = rest;
            let ended = memchr(b'\n', begun).is_some();
            if !ended && begun.len() < TOOLS_FIELD.len() {
                return;
            }
            let begun = std::mem::take(begun);
            self.line = if begun == b"\n" {
                Line::Body
            } else if begun.eq_ignore_ascii_case(TOOLS_FIELD) {
                Line::Skipped
            } else if ended {
                Line::default()
            } else {
                Line::Within
            };
            if !matches!(self.line, Line::Skipped) {
                self.hash.update(&begun);
            }
        }
        if text.is_empty() {
            return;
        }
        if !matches!(self.line, Line::Skipped) {
            self.hash.update(text);
        }
        if text == b"\n" && !matches!(self.line, Line::Body) {
            self.line = Line::default();
        }
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
            lines in prop::collection::vec("(X-TUID: )?[a-c\r]{0,9}[\r]?\n", 0..12),
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
