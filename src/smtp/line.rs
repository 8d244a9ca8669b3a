//! Cutting command lines out of what a client sent.

use bytes::{Bytes, BytesMut};
use memchr::memchr3;

/// Why a command line cannot be read. The peers of a connection may disagree on where such a line
/// ends, so the connection must not go on behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadLine {
    /// CR and LF occur only together (RFC 5321 §2.3.8).
    #[error("CR and LF may only stand together")]
    BareNewline,
    /// RFC 5321 §2.3.8 again: NUL has no place anywhere.
    #[error("NUL may not be sent")]
    Nul,
    /// Longer than the limit.
    #[error("line too long")]
    TooLong,
}

/// Takes the next line, without its CR LF, out of `input`; `None` if it has not come whole.
/// `longest` counts the CR LF, as RFC 5321 §4.5.3.1.4 does.
pub fn take_line(input: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, BadLine> {
    let seen = &input[..input.len().min(longest)];
    match memchr3(b'\r', b'\n', 0, seen) {
        Some(at) if seen[at] == 0 => Err(BadLine::Nul),
        Some(at) if seen[at] == b'\n' => Err(BadLine::BareNewline),
        Some(at) => match seen.get(at + 1) {
            Some(b'\n') => {
                let mut line = input.split_to(at + 2);
                line.truncate(at);
                Ok(Some(line.freeze()))
            }
            Some(_) => Err(BadLine::BareNewline),
            None if input.len() >= longest => Err(BadLine::TooLong),
            None => Ok(None),
        },
        None if input.len() >= longest => Err(BadLine::TooLong),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8], longest: usize) -> (Vec<Bytes>, Option<BadLine>) {
        let mut input = BytesMut::new();
        let mut lines = Vec::new();
        for octet in octets {
            input.extend_from_slice(&[*octet]);
            loop {
                match take_line(&mut input, longest) {
                    Ok(Some(line)) => lines.push(line),
                    Ok(None) => break,
                    Err(bad) => return (lines, Some(bad)),
                }
            }
        }
        (lines, None)
    }

    #[test]
    fn only_crlf_ends_a_line_wherever_packets_end() {
        assert_eq!(
            all(b"EHLO a\r\nNOOP\r\nQU", 64),
            (vec![Bytes::from("EHLO a"), Bytes::from("NOOP")], None)
        );
        assert_eq!(all(b"EHLO a\nNOOP\r\n", 64), (vec![], Some(BadLine::BareNewline)));
        assert_eq!(all(b"EHLO a\rNOOP\r\n", 64), (vec![], Some(BadLine::BareNewline)));
        assert_eq!(all(b"NOOP\r\n\0QUIT\r\n", 64).1, Some(BadLine::Nul));
        assert_eq!(all(b"\r\r\n", 64).1, Some(BadLine::BareNewline));
    }

    #[test]
    fn the_limit_counts_the_line_end() {
        assert_eq!(all(b"NOOP\r\n", 6).0.len(), 1);
        assert_eq!(all(b"NOOP \r\n", 6), (vec![], Some(BadLine::TooLong)));
        assert_eq!(all(b"NOOPNO", 6), (vec![], Some(BadLine::TooLong)));
    }
}
