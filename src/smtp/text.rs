//! A message's octets between a client that sends them and a server that gets them.
//!
//! [`Scanner`] takes off what the transfer added (DATA's dots) and lets nothing through in which CR
//! and LF stand alone; [`Stuffer`] puts the dots on again. What two servers could read in two ways
//! ("SMTP smuggling", CVE-2023-51764 and its siblings) is thus never written by the proxy.

use memchr::{memchr, memchr3};

/// What becomes of a CR or an LF that stands alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lone {
    /// The message is refused.
    Refused,
    /// It becomes a line end. It never is part of the message's end.
    Normalized,
}

/// Why a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Flaw {
    /// A CR without its LF.
    #[error("bare CR received; lines end with CR LF")]
    BareCr,
    /// An LF without its CR.
    #[error("bare LF received; lines end with CR LF")]
    BareLf,
    /// Some servers leave NUL out, and then read another message.
    #[error("NUL received")]
    Nul,
    /// Beyond the limit on lines.
    #[error("line too long")]
    LongLine,
}

impl Flaw {
    /// In one word, for counters.
    pub fn name(self) -> &'static str {
        match self {
            Flaw::BareCr => "bare_cr",
            Flaw::BareLf => "bare_lf",
            Flaw::Nul => "nul",
            Flaw::LongLine => "long_line",
        }
    }
}

/// Reads a message as DATA or BDAT carry it, in pieces of any size.
#[derive(Clone, Debug)]
pub struct Scanner {
    lone: Lone,
    longest_line: usize,
    /// Whether dots are doubled and end the message (DATA), or not (BDAT).
    dots: bool,
    state: State,
    /// Octets in the line so far.
    column: usize,
    flaw: Option<Flaw>,
}

/// What came last. `Start` is behind a CR LF and at the beginning, and nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Start,
    Text,
    Cr,
    /// A dot at `Start`.
    Dot,
    DotCr,
    Ended,
}

impl Scanner {
    /// For DATA: CR LF `.` CR LF ends the message, and nothing else does.
    pub fn of_data(lone: Lone, longest_line: usize) -> Scanner {
        Scanner { lone, longest_line, dots: true, state: State::Start, column: 0, flaw: None }
    }

    /// For BDAT, one for all chunks of a message: they may be cut between CR and LF.
    pub fn of_bdat(lone: Lone, longest_line: usize) -> Scanner {
        Scanner { dots: false, ..Scanner::of_data(lone, longest_line) }
    }

    /// Reads `input` up to the message's end, puts the message's own octets to `out`, and returns
    /// how much of `input` belonged to the message. Of a flawed message, nothing more is put out.
    pub fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < input.len() && self.state != State::Ended {
            let octet = input[at];
            match self.state {
                State::Start if octet == b'.' && self.dots => {
                    self.state = State::Dot;
                    at += 1;
                }
                State::Start | State::Text => {
                    self.state = State::Text;
                    let rest = &input[at..];
                    let run = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.text(&rest[..run], out);
                    at += run;
                    match rest.get(run) {
                        Some(b'\r') => self.state = State::Cr,
                        Some(b'\n') => self.lone(Flaw::BareLf, out),
                        Some(_) => self.note(Flaw::Nul),
                        None => continue,
                    }
                    at += 1;
                }
                State::Cr if octet == b'\n' => {
                    self.line_end(out);
                    self.state = State::Start;
                    at += 1;
                }
                State::DotCr if octet == b'\n' => {
                    self.state = State::Ended;
                    at += 1;
                }
                State::Dot if octet == b'\r' => {
                    self.state = State::DotCr;
                    at += 1;
                }
                // The dot stood for the one behind it: it goes, and the octet is read as text.
                State::Dot => self.state = State::Text,
                State::Cr | State::DotCr => self.lone(Flaw::BareCr, out),
                State::Ended => {}
            }
        }
        at
    }

    /// The last octet of BDAT has come.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Cr {
            self.lone(Flaw::BareCr, out);
        }
        self.state = State::Ended;
    }

    /// Whether the message has ended.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Why the message must not be accepted: known at the latest when it has ended.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.column += text.len();
        if self.column > self.longest_line {
            self.note(Flaw::LongLine);
        }
        if self.flaw.is_none() {
            out.extend_from_slice(text);
        }
    }

    fn line_end(&mut self, out: &mut Vec<u8>) {
        self.column = 0;
        if self.flaw.is_none() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What follows is not at a line's start: a dot there is a dot.
    fn lone(&mut self, flaw: Flaw, out: &mut Vec<u8>) {
        match self.lone {
            Lone::Refused => self.note(flaw),
            Lone::Normalized => self.line_end(out),
        }
        self.state = State::Text;
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }
}

/// Writes a message's octets as DATA carries them.
#[derive(Clone, Debug)]
pub struct Stuffer {
    at_start: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Stuffer { at_start: true }
    }
}

impl Stuffer {
    /// Puts octets of the message to `out`; their lines must end with CR LF.
    pub fn push(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while let Some(first) = text.first() {
            if self.at_start && *first == b'.' {
                out.push(b'.');
            }
            let line = memchr(b'\n', text).map_or(text.len(), |at| at + 1);
            out.extend_from_slice(&text[..line]);
            self.at_start = text[line - 1] == b'\n';
            text = &text[line..];
        }
    }

    /// Puts the message's end to `out`, with a line end before it where the message has none.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.at_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of `sent` if it comes in packets that end at `cuts`: the message, how much of
    /// `sent` it took, whether it ended, and its flaw.
    fn read(
        mut scanner: Scanner,
        sent: &[u8],
        cuts: &[usize],
    ) -> (Vec<u8>, usize, bool, Option<Flaw>) {
        let mut out = Vec::new();
        let mut taken = 0;
        let mut from = 0;
        for cut in cuts.iter().copied().chain([sent.len()]) {
            let packet = &sent[from.min(cut)..cut];
            from = cut;
            taken += scanner.take(packet, &mut out);
            if scanner.has_ended() {
                break;
            }
        }
        (out, taken, scanner.has_ended(), scanner.flaw())
    }

    fn data(lone: Lone, sent: &[u8]) -> (Vec<u8>, usize, bool, Option<Flaw>) {
        read(Scanner::of_data(lone, 1000), sent, &[])
    }

    /// The naive reading of RFC 5321 §4.5.2: lines end with CR LF only.
    fn model(sent: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut message = Vec::new();
        let mut at = 0;
        loop {
            let end = memchr::memmem::find(&sent[at..], b"\r\n")? + at;
            let line = &sent[at..end];
            at = end + 2;
            if line == b"." {
                return Some((message, at));
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            message.extend_from_slice(b"\r\n");
        }
    }

    #[test]
    fn dots_come_off_and_the_end_is_found() {
        let sent = b"a\r\n..b\r\n.c\r\n...\r\n\r\n.\r\nQUIT\r\n";
        let (message, taken, ended, flaw) = data(Lone::Refused, sent);
        assert_eq!(message, b"a\r\n.b\r\nc\r\n..\r\n\r\n");
        assert_eq!((&sent[taken..], ended, flaw), (&b"QUIT\r\n"[..], true, None));
        assert_eq!(data(Lone::Refused, b".\r\n").0, b"");
    }

    /// What smuggles a second message past servers that take something else for an end.
    const SMUGGLED: [&[u8]; 16] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\r.\n",
        b"\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\0\n",
        b"\0\r\n.\0\r\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\n\n.\r\r\n",
        b"\r\n.\n\r\n",
    ];

    #[test]
    fn nothing_else_ends_a_message_wherever_packets_end() {
        for smuggled in SMUGGLED {
            let sent =
                [b"Subject: a\r\n\r\nx", smuggled, b"MAIL FROM:<b@c.example>\r\n.\r\n"].concat();
            for cut in 0..=sent.len() {
                let refused = Scanner::of_data(Lone::Refused, 1000);
                let (_, taken, ended, flaw) = read(refused, &sent, &[cut]);
                assert!(ended && flaw.is_some(), "{}", sent.escape_ascii());
                assert_eq!(taken, sent.len(), "{}", sent.escape_ascii());

                let normalized = Scanner::of_data(Lone::Normalized, 1000);
                let (message, taken, ended, flaw) = read(normalized, &sent, &[cut]);
                assert!(ended && taken == sent.len());
                if smuggled.contains(&0) {
                    assert_eq!(flaw, Some(Flaw::Nul));
                } else {
                    assert_eq!(flaw, None);
                    assert_only_crlf(&message);
                    let mut again = Vec::new();
                    let mut stuffer = Stuffer::default();
                    stuffer.push(&message, &mut again);
                    stuffer.finish(&mut again);
                    assert_eq!(model(&again), Some((message, again.len())));
                }
            }
        }
    }

    fn assert_only_crlf(message: &[u8]) {
        let crlf = memchr::memmem::find_iter(message, b"\r\n").count();
        let (cr, lf) = (memchr::memchr_iter(b'\r', message), memchr::memchr_iter(b'\n', message));
        assert_eq!((cr.count(), lf.count()), (crlf, crlf), "{}", message.escape_ascii());
    }

    #[test]
    fn bdat_has_no_dots_and_may_be_cut_anywhere() {
        let sent = b".\r\n..\r\nno end";
        for cut in 0..=sent.len() {
            let mut scanner = Scanner::of_bdat(Lone::Refused, 1000);
            let mut message = Vec::new();
            scanner.take(&sent[..cut], &mut message);
            scanner.take(&sent[cut..], &mut message);
            scanner.finish(&mut message);
            assert_eq!((message.as_slice(), scanner.flaw()), (&sent[..], None));
        }
        let mut scanner = Scanner::of_bdat(Lone::Refused, 1000);
        scanner.take(b"a\r", &mut Vec::new());
        assert_eq!(scanner.flaw(), None);
        scanner.finish(&mut Vec::new());
        assert_eq!(scanner.flaw(), Some(Flaw::BareCr));
    }

    #[test]
    fn long_lines() {
        let line = |octets| [vec![b'a'; octets], b"\r\n.\r\n".to_vec()].concat();
        assert_eq!(data(Lone::Refused, &line(1000)).3, None);
        assert_eq!(data(Lone::Refused, &line(1001)).3, Some(Flaw::LongLine));
    }

    proptest! {
        /// However packets are cut, the scanner reads what the model reads, or refuses.
        #[test]
        fn as_the_model_reads(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just(&b"\r\n"[..]), Just(&b"."[..]), Just(&b"\r"[..]), Just(&b"\n"[..]),
                    Just(&b"\r\n.\r\n"[..]), Just(&b"a"[..]), Just(&b"bc"[..]), Just(&b"\0"[..]),
                ],
                0..24,
            ),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let sent = pieces.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(sent.len())).collect();
            cuts.sort_unstable();
            let (message, taken, ended, flaw) =
                read(Scanner::of_data(Lone::Refused, 1000), &sent, &cuts);
            match model(&sent) {
                Some((expected, length)) => {
                    prop_assert!(ended);
                    prop_assert_eq!(taken, length);
                    if flaw.is_none() {
                        prop_assert_eq!(message, expected);
                    }
                }
                None => prop_assert!(!ended),
            }
            if flaw.is_none() && ended {
                let crlf = memchr::memmem::find_iter(&sent[..taken], b"\r\n").count();
                prop_assert_eq!(memchr::memchr_iter(b'\n', &sent[..taken]).count(), crlf);
                prop_assert_eq!(memchr::memchr_iter(b'\r', &sent[..taken]).count(), crlf);
                prop_assert!(!sent[..taken].contains(&0));
            }
        }

        /// What is written is read back, and ends where it ends.
        #[test]
        fn stuffing_is_undone(
            lines in proptest::collection::vec("[.a]{0,4}", 0..12),
            whole in any::<bool>(),
            cuts in proptest::collection::vec(0usize..60, 0..4),
        ) {
            let mut message = lines.join("\r\n").into_bytes();
            if whole {
                message.extend_from_slice(b"\r\n");
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
            cuts.sort_unstable();
            let (mut stuffer, mut sent, mut from) = (Stuffer::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([message.len()]) {
                stuffer.push(&message[from..cut], &mut sent);
                from = cut;
            }
            stuffer.finish(&mut sent);
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                message.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(model(&sent), Some((message, sent.len())));
        }
    }
}
