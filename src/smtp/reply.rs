//! Replies (RFC 5321 §4.2): a server's read, and written for a client.

use std::fmt;

use nom::IResult;
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::{char, one_of};
use nom::combinator::{map_res, opt, recognize, rest, verify};
use nom::sequence::tuple;

/// The three digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(pub u16);

impl Code {
    /// 2yz: done.
    pub fn is_positive(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3yz: go on.
    pub fn is_intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4yz: not now.
    pub fn is_transient(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5yz: never.
    pub fn is_permanent(self) -> bool {
        self.0 / 100 == 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// A whole reply: a code and one or more lines of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    code: Code,
    /// At least one; no control characters.
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, text: impl Into<String>) -> Reply {
        Reply { code: Code(code), lines: vec![printable(&text.into())] }
    }

    /// A reply of several lines.
    pub fn of_lines(code: u16, lines: impl IntoIterator<Item = String>) -> Reply {
        let mut lines: Vec<String> = lines.into_iter().map(|line| printable(&line)).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Reply { code: Code(code), lines }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its text, line by line.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Its text in one line, for logs.
    pub fn text(&self) -> String {
        self.lines.join(" / ")
    }

    /// The enhanced code (RFC 3463) that the first line begins with.
    pub fn enhanced_code(&self) -> Option<&str> {
        self.lines.first().and_then(|line| enhanced_code(line)).map(|(code, _)| code)
    }

    /// The same text under another code and enhanced code: for a reply that means something else on
    /// the other leg. Of the server's own enhanced code, nothing is left.
    pub fn recoded(&self, code: u16, enhanced: &str) -> Reply {
        let lines = self.lines.iter().map(|line| {
            let text = enhanced_code(line).map_or(line.as_str(), |(_, text)| text);
            format!("{enhanced} {text}")
        });
        Reply::of_lines(code, lines)
    }

    /// The same with an enhanced code (RFC 2034 §4) in every line, where the server gave none.
    pub fn enhanced(self) -> Reply {
        let class = self.code.0 / 100;
        let code = match self.enhanced_code() {
            Some(code) if code.starts_with(&class.to_string()) => code.to_owned(),
            _ => format!("{class}.0.0"),
        };
        let lines = self.lines.iter().map(|line| match enhanced_code(line) {
            Some((_, text)) => format!("{code} {text}"),
            None => format!("{code} {line}"),
        });
        Reply { code: self.code, lines: lines.collect() }
    }

    /// Writes it as it goes onto the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (n, line) in self.lines.iter().enumerate() {
            let sign = if n + 1 == self.lines.len() { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{sign}{line}\r\n", self.code).as_bytes());
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// What stands in a line of text cannot end the line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `status-code = class "." subject "." detail` (RFC 2034 §4), and the text behind it.
fn enhanced_code(line: &str) -> Option<(&str, &str)> {
    fn number(input: &str) -> IResult<&str, &str> {
        take_while_m_n(1, 3, |c: char| c.is_ascii_digit())(input)
    }
    let code = tuple((one_of("245"), char('.'), number, char('.'), number));
    let (behind, code) = recognize(code)(line).ok()?;
    match behind {
        "" => Some((code, "")),
        _ => Some((code, behind.strip_prefix(' ')?)),
    }
}

/// Why a server's reply cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadReply {
    /// No code, or another than in the line before.
    #[error("not a reply of SMTP: {0}")]
    Line(String),
    /// Longer than anybody needs.
    #[error("its reply is too long")]
    TooLong,
}

/// Gathers the lines of a reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    code: Option<Code>,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Takes the next line, without its end; `Some` when the reply is whole.
    ///
    /// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Reply>, BadReply> {
        let bad = || BadReply::Line(line[..line.len().min(80)].escape_ascii().to_string());
        let text = String::from_utf8_lossy(line);
        let (code, sign, text) = match reply_line(&text) {
            Ok((_, parts)) => parts,
            Err(_) => return Err(bad()),
        };
        if self.code.is_some_and(|before| before != code) {
            return Err(bad());
        }
        if self.lines.len() >= MOST_LINES || line.len() > LONGEST_LINE {
            return Err(BadReply::TooLong);
        }
        self.code = Some(code);
        self.lines.push(printable(text));
        if sign == Some('-') {
            return Ok(None);
        }
        self.code = None;
        Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }))
    }
}

fn reply_line(input: &str) -> IResult<&str, (Code, Option<char>, &str)> {
    let digits = take_while_m_n(3, 3, |c: char| c.is_ascii_digit());
    let code = verify(map_res(digits, |digits: &str| digits.parse().map(Code)), |code: &Code| {
        (200..600).contains(&code.0)
    });
    let (input, (code, sign, text)) = tuple((code, opt(one_of(" -")), rest))(input)?;
    match (sign, text) {
        (None, "") | (Some(_), _) => Ok((input, (code, sign, text))),
        (None, _) => {
            Err(nom::Err::Error(nom::error::Error::new(text, nom::error::ErrorKind::Char)))
        }
    }
}

/// RFC 5321 §4.5.3.1.5 says 512; servers say more.
pub const LONGEST_LINE: usize = 4096;

/// An EHLO has some twenty.
const MOST_LINES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Reply>, BadReply> {
        let mut reader = ReplyReader::default();
        let mut last = Ok(None);
        for line in lines {
            last = reader.take(line.as_bytes());
        }
        last
    }

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_are_read_and_written() {
        let reply = read(&["250-mail.example.com", "250-SIZE 100", "250 HELP"]).unwrap().unwrap();
        assert_eq!(written(&reply), "250-mail.example.com\r\n250-SIZE 100\r\n250 HELP\r\n");
        assert_eq!(written(&read(&["250"]).unwrap().unwrap()), "250 \r\n");
        assert_eq!(read(&["250-more"]), Ok(None));
        for bad in [&["250-a", "550 b"][..], &["hello"], &["99 x"], &["600 x"], &["250x"], &[""]] {
            assert!(matches!(read(bad), Err(BadReply::Line(_))), "{bad:?}");
        }
        assert_eq!(read(&["250-x"; 200]), Err(BadReply::TooLong));
    }

    #[test]
    fn a_reply_cannot_hold_another() {
        let reply = read(&["250 ok\rinjected"]).unwrap().unwrap();
        assert_eq!(written(&reply), "250 ok?injected\r\n");
        assert_eq!(written(&Reply::new(250, "a\r\nb")), "250 a??b\r\n");
    }

    #[test]
    fn enhanced_codes_are_kept_or_made() {
        let enhanced = |reply: Reply| written(&reply.enhanced());
        assert_eq!(enhanced(Reply::new(250, "2.1.5 Ok")), "250 2.1.5 Ok\r\n");
        assert_eq!(enhanced(Reply::new(250, "Ok")), "250 2.0.0 Ok\r\n");
        assert_eq!(enhanced(Reply::new(550, "2.1.5 odd")), "550 5.0.0 odd\r\n");
        let lines = ["5.7.1 no", "more"].map(str::to_owned);
        assert_eq!(enhanced(Reply::of_lines(554, lines)), "554-5.7.1 no\r\n554 5.7.1 more\r\n");
        let closing = Reply::new(421, "4.3.2 closing").recoded(451, "4.3.2");
        assert_eq!(written(&closing), "451 4.3.2 closing\r\n");
    }
}
