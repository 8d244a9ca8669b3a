//! `Framer`: where a line ends and a literal begins, in clients' and servers' bytes alike.
//!
//! It delimits and never understands. It keeps no bytes of its own: what it hands out is split off
//! the caller's buffer without copying, and its state lives outside any future, so that a cancelled
//! read loses nothing. How many pieces make a unit (command or response) is the caller's to bound;
//! the framer bounds one line.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;

use super::scan::announced_literal;

/// Cuts a stream of bytes into [`Piece`]s.
#[derive(Clone, Debug)]
pub struct Framer {
    max_line: usize,
    /// A server's human text may end in `{5}` without meaning a literal.
    server: bool,
    state: State,
    /// How much of the buffer is known to hold no line end; 0 outside `State::Start` and `Within`.
    scanned: usize,
}

/// What the next byte of the buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The first of a unit.
    Start,
    /// Text of a unit that had a literal before.
    Within,
    /// An octet of a literal, of which so many are still to come (0: the last piece is owed).
    Literal(u64),
}

/// What a literal's announcement said (RFC 9051 §4.3, RFC 7888, RFC 3516).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Literal {
    /// How many octets follow.
    pub octets: u64,
    /// `{n}` waits for a continuation request; `{n+}` does not.
    pub sync: bool,
    /// `~{n}`: a literal8, which may hold NUL.
    pub binary: bool,
}

/// What the framer takes out of the buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Text that ends a unit (command or response), without its line end.
    Line(Bytes),
    /// Text up to and including a literal's announcement, without its line end. The octets follow
    /// as chunks, even if there are none.
    Head {
        /// The text, `{n}` included.
        text: Bytes,
        /// What it announced.
        literal: Literal,
    },
    /// Octets of the current literal: as many as lie in the buffer.
    Chunk {
        /// The octets; empty only for the one chunk of an empty literal.
        octets: Bytes,
        /// Whether the literal is complete with these.
        last: bool,
    },
}

/// Why no more can be cut: nobody knows any longer where the next unit begins. The connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// A line is longer than the framer's bound.
    #[error("a line is longer than {max} octets")]
    LineTooLong {
        /// The bound.
        max: usize,
    },
    /// The size of a literal is no 63-bit number (RFC 9051 `number64`).
    #[error("the size of a literal cannot be read")]
    LiteralSize,
}

impl Framer {
    /// A framer that takes every line ending in `{n}` for a literal's head. `max_line` bounds the
    /// text of one piece, its line end not counted.
    pub fn new(max_line: usize) -> Self {
        Framer { max_line, server: false, state: State::Start, scanned: 0 }
    }

    /// For what a client sends.
    pub fn for_client(max_line: usize) -> Self {
        Framer::new(max_line)
    }

    /// For what a server sends: status responses and continuation requests end in human text and
    /// announce no literal, whatever that text ends in.
    pub fn for_server(max_line: usize) -> Self {
        Framer { server: true, ..Framer::new(max_line) }
    }

    /// Takes the next piece out of `buf`, without copying. `None`: more bytes are needed.
    ///
    /// A line ends with CRLF; a bare LF is accepted too, for sloppy clients and servers. Any other
    /// CR stays in the text. Until it returns a piece, the caller only appends to `buf`. After an
    /// error nothing has been taken out, and the error stays.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        if let State::Literal(left) = self.state {
            return Ok(self.chunk(left, buf));
        }
        let from = self.scanned.min(buf.len());
        let Some(end) = memchr(b'\n', &buf[from..]).map(|at| from + at) else {
            self.scanned = buf.len();
            // The last octet may be the CR of the line end.
            return if buf.len() > self.max_line.saturating_add(1) {
                Err(FrameError::LineTooLong { max: self.max_line })
            } else {
                Ok(None)
            };
        };
        let line = &buf[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.max_line {
            return Err(FrameError::LineTooLong { max: self.max_line });
        }
        let human = self.server && self.state == State::Start && ends_in_human_text(line);
        let literal = if human { None } else { announced(line)? };

        let len = line.len();
        let text = buf.split_to(len).freeze();
        buf.advance(end + 1 - len);
        self.scanned = 0;
        Ok(Some(match literal {
            None => {
                self.state = State::Start;
                Piece::Line(text)
            }
            Some(literal) => {
                self.state = State::Literal(literal.octets);
                Piece::Head { text, literal }
            }
        }))
    }

    /// How many octets of the current literal are still to come.
    pub fn remaining(&self) -> u64 {
        match self.state {
            State::Literal(left) => left,
            State::Start | State::Within => 0,
        }
    }

    /// Whether the next piece starts a unit: nothing of one has been handed out yet.
    pub fn at_start(&self) -> bool {
        self.state == State::Start
    }

    /// Forgets the unit under way: what comes next starts a new one. For a synchronizing literal
    /// that was refused (its octets never come), and for a connection whose bytes begin anew (after
    /// STARTTLS, COMPRESS).
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.scanned = 0;
    }

    fn chunk(&mut self, left: u64, buf: &mut BytesMut) -> Option<Piece> {
        if left > 0 && buf.is_empty() {
            return None;
        }
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let octets = buf.split_to(len).freeze();
        let left = left - len as u64;
        self.state = if left == 0 { State::Within } else { State::Literal(left) };
        Some(Piece::Chunk { octets, last: left == 0 })
    }
}

/// What a line announces by its end, if anything.
fn announced(line: &[u8]) -> Result<Option<Literal>, FrameError> {
    match announced_literal(line) {
        None => Ok(None),
        Some((_, Some(literal))) => Ok(Some(literal)),
        Some((_, None)) => Err(FrameError::LiteralSize),
    }
}

/// Whether the first line of a server's unit is a status response or a continuation request
/// (RFC 9051 `resp-cond-state`, `greeting`, `continue-req`).
fn ends_in_human_text(line: &[u8]) -> bool {
    if line.first() == Some(&b'+') {
        return true;
    }
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let (Some(tag), Some(status)) = (words.next(), words.next()) else {
        return false;
    };
    // Most lines of a server are FETCH, with a number here.
    if status.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let one_of = |all: &[&[u8]]| all.iter().any(|s| status.eq_ignore_ascii_case(s));
    one_of(&[b"OK", b"NO", b"BAD"]) || (tag == b"*" && one_of(&[b"BYE", b"PREAUTH"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything the framer makes of `input`, fed in parts of the given sizes, with the chunks of
    /// one literal joined; and how it ended.
    fn pieces(
        mut framer: Framer,
        input: &[u8],
        cuts: &[usize],
    ) -> (Vec<Piece>, Option<FrameError>) {
        let mut buf = BytesMut::new();
        let mut out: Vec<Piece> = Vec::new();
        let mut whole = true;
        let mut rest = input;
        let mut cuts = cuts.iter().copied();
        loop {
            match framer.next(&mut buf) {
                Err(error) => return (out, Some(error)),
                Ok(Some(Piece::Chunk { octets, last })) => {
                    match out.last_mut() {
                        Some(Piece::Chunk { octets: before, last: done }) if !whole => {
                            *before = [&before[..], &octets[..]].concat().into();
                            *done = last;
                        }
                        _ => out.push(Piece::Chunk { octets, last }),
                    }
                    whole = last;
                }
                Ok(Some(piece)) => out.push(piece),
                Ok(None) if rest.is_empty() => return (out, None),
                Ok(None) => {
                    let n = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
                    buf.extend_from_slice(&rest[..n]);
                    rest = &rest[n..];
                }
            }
        }
    }

    fn line(text: &'static str) -> Piece {
        Piece::Line(Bytes::from_static(text.as_bytes()))
    }

    fn head(text: &'static str, octets: u64, sync: bool, binary: bool) -> Piece {
        let literal = Literal { octets, sync, binary };
        Piece::Head { text: Bytes::from_static(text.as_bytes()), literal }
    }

    fn chunk(octets: &'static str) -> Piece {
        Piece::Chunk { octets: Bytes::from_static(octets.as_bytes()), last: true }
    }

    #[test]
    fn lines_and_literals_of_a_client() {
        let input =
            b"a NOOP\r\nb LOGIN {3}\r\nann {4+}\r\np\r\nw\r\nc X ~{0}\r\n\r\nd IDLE\nDONE\r\n";
        let (out, end) = pieces(Framer::for_client(100), input, &[]);
        assert_eq!(end, None);
        assert_eq!(
            out,
            [
                line("a NOOP"),
                head("b LOGIN {3}", 3, true, false),
                chunk("ann"),
                head(" {4+}", 4, false, false),
                chunk("p\r\nw"),
                line(""),
                head("c X ~{0}", 0, true, true),
                chunk(""),
                line(""),
                line("d IDLE"),
                line("DONE"),
            ]
        );
    }

    #[test]
    fn what_only_looks_like_an_announcement() {
        for text in ["a {}", "a {+}", "a {-1}", "a {3} ", "a \"{3}\"", "a {3", "a 3}", "{a}", "}"] {
            let (out, end) = pieces(Framer::for_client(100), format!("{text}\r\n").as_bytes(), &[]);
            assert_eq!((out.len(), end), (1, None), "{text}");
            assert!(matches!(&out[0], Piece::Line(l) if l == text), "{text}");
        }
        // A CR inside a line belongs to it.
        assert_eq!(pieces(Framer::new(9), b"a\rb\r\r\n", &[]).0, [line("a\rb\r")]);
    }

    #[test]
    fn human_text_of_a_server_announces_nothing() {
        for text in [
            "* OK weird {5}",
            "*  ok [ALERT] weird {5}",
            "* BYE {5}",
            "* PREAUTH x {1}",
            "a1 NO no {5}",
            "a1 BAD {5}",
            "+ go on {5}",
            "* NO {99999999999999999999999}",
        ] {
            let (out, end) = pieces(Framer::for_server(100), format!("{text}\r\n").as_bytes(), &[]);
            assert_eq!(end, None);
            assert!(matches!(&out[..], [Piece::Line(l)] if l == text), "{text}");
        }
        let (out, _) =
            pieces(Framer::for_server(100), b"* LIST () \"/\" {2}\r\nOK {1}\r\nx\r\n", &[]);
        assert_eq!(
            out,
            [
                head("* LIST () \"/\" {2}", 2, true, false),
                chunk("OK"),
                head(" {1}", 1, true, false),
                chunk("x"),
                line(""),
            ]
        );
        // Only at the start of a unit: behind a literal the same words are the response's own.
        let (out, _) = pieces(Framer::for_server(100), b"* X {1}\r\nx OK NO {1}\r\ny\r\n", &[]);
        assert_eq!(out.len(), 5);
        // A client's tag may be followed by such a word, too.
        let (out, _) = pieces(Framer::for_client(100), b"a NO {1}\r\nx\r\n", &[]);
        assert_eq!(out[0], head("a NO {1}", 1, true, false));
    }

    #[test]
    fn a_line_is_bounded() {
        let too_long = Some(FrameError::LineTooLong { max: 4 });
        for input in [&b"abcde\r\n"[..], b"abcde\n", b"abcdefg", b"abcd\r\r\n"] {
            for cuts in [&[][..], &[1; 9]] {
                assert_eq!(pieces(Framer::new(4), input, cuts), (vec![], too_long), "{input:?}");
            }
        }
        assert_eq!(pieces(Framer::new(4), b"abcd\r\n", &[1; 9]).0, [line("abcd")]);
    }

    #[test]
    fn a_literal_is_bounded_by_its_number() {
        let mut framer = Framer::new(100);
        let mut buf = BytesMut::from(&b"a {9223372036854775807}\r\nxyz"[..]);
        framer.next(&mut buf).unwrap();
        assert_eq!(framer.remaining(), 9_223_372_036_854_775_807);
        let chunk = framer.next(&mut buf).unwrap();
        assert_eq!(chunk, Some(Piece::Chunk { octets: Bytes::from_static(b"xyz"), last: false }));
        assert_eq!(framer.next(&mut buf), Ok(None));
        assert_eq!(framer.remaining(), 9_223_372_036_854_775_804);
        framer.reset();
        assert!(framer.at_start());
        for size in ["9223372036854775808", "99999999999999999999999999"] {
            let (_, end) = pieces(Framer::new(100), format!("a {{{size}}}\r\n").as_bytes(), &[]);
            assert_eq!(end, Some(FrameError::LiteralSize));
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            input in wire_bytes(),
            cuts in prop::collection::vec(1usize..9, 0..200),
            server: bool,
        ) {
            let framer = || if server { Framer::for_server(40) } else { Framer::for_client(40) };
            prop_assert_eq!(pieces(framer(), &input, &cuts), pieces(framer(), &input, &[]));
        }

        #[test]
        fn nothing_is_lost(input in wire_bytes()) {
            // With CRLF put back, the pieces are the input up to what is incomplete.
            let (out, _) = pieces(Framer::new(1000), &input, &[3; 100]);
            let mut again = Vec::new();
            for piece in out {
                match piece {
                    Piece::Line(text) | Piece::Head { text, .. } => {
                        again.extend_from_slice(&text);
                        if input[again.len()] == b'\r' {
                            again.push(b'\r');
                        }
                        again.push(b'\n');
                    }
                    Piece::Chunk { octets, .. } => again.extend_from_slice(&octets),
                }
            }
            prop_assert!(input.starts_with(&again));
        }
    }

    /// Bytes that often mean something to a framer.
    fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just(&b"\r\n"[..]),
            Just(&b"\n"[..]),
            Just(&b"\r"[..]),
            Just(&b" {3}\r\n"[..]),
            Just(&b" {0}\r\n"[..]),
            Just(&b"~{12+}\r\n"[..]),
            Just(&b" {99999999999999999999}"[..]),
            Just(&b"* OK "[..]),
            Just(&b"a1 NO "[..]),
            Just(&b"* 1 FETCH ("[..]),
            Just(&b"+ "[..]),
            Just(&b"\"x\""[..]),
            Just(&b"\xff\0 "[..]),
        ];
        prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat())
    }
}
