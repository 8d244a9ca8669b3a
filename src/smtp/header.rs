//! Looking into a message's header as it passes: how often was it on its way already?

use memchr::{memchr, memmem};

/// Counts the trace fields (`Received:`, RFC 5321 §4.4) of a message, in pieces of any size.
#[derive(Clone, Debug)]
pub struct HeaderWatch {
    /// What stands in those that this proxy wrote.
    own_mark: Vec<u8>,
    line: Vec<u8>,
    over: bool,
    received: usize,
    own: usize,
}

/// A message that goes in circles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Looping {
    /// It passed this proxy so often.
    #[error("mail loop: it has passed here {0} times before")]
    Here(usize),
    /// It passed so many servers.
    #[error("mail loop: it has passed {0} servers")]
    Anywhere(usize),
}

impl HeaderWatch {
    /// `own_mark` is what stands in a trace field of this proxy alone.
    pub fn new(own_mark: impl Into<Vec<u8>>) -> HeaderWatch {
        HeaderWatch {
            own_mark: own_mark.into(),
            line: Vec::new(),
            over: false,
            received: 0,
            own: 0,
        }
    }

    /// Sees the next octets of the message, its lines ended by CR LF.
    pub fn see(&mut self, mut text: &[u8]) {
        while !self.over && !text.is_empty() {
            let end = memchr(b'\n', text).map(|at| at + 1);
            let part = &text[..end.unwrap_or(text.len())];
            let room = LONGEST - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            text = &text[part.len()..];
            if end.is_some() {
                self.line_ended();
            }
        }
    }

    fn line_ended(&mut self) {
        if self.line == b"\r\n" {
            self.over = true;
        }
        let name = self.line.get(..RECEIVED.len());
        if name.is_some_and(|name| name.eq_ignore_ascii_case(RECEIVED)) {
            self.received += 1;
            self.own += usize::from(memmem::find(&self.line, &self.own_mark).is_some());
        }
        self.line.clear();
    }

    /// Whether the message, as far as it was seen, goes in circles.
    pub fn looping(&self, most_here: usize, most_anywhere: usize) -> Option<Looping> {
        if self.own > most_here {
            Some(Looping::Here(self.own))
        } else if self.received > most_anywhere {
            Some(Looping::Anywhere(self.received))
        } else {
            None
        }
    }
}

const RECEIVED: &[u8] = b"Received:";

/// A line that the proxy writes is shorter: two names and two addresses.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_fields_are_counted_wherever_packets_end() {
        let text = b"Received: from a by proxy.example (Mailferry) id 1\r\n\
            received: from b by c\r\n\tReceived: folded\r\nX-Received: no\r\n\
            Received: from x by proxy.example (Mailferry) id 2\r\n\r\nReceived: body\r\n";
        for cut in 0..text.len() {
            let mut watch = HeaderWatch::new("by proxy.example (Mailferry)");
            watch.see(&text[..cut]);
            watch.see(&text[cut..]);
            assert_eq!((watch.received, watch.own), (3, 2));
            assert_eq!(watch.looping(2, 3), None);
            assert_eq!(watch.looping(1, 3), Some(Looping::Here(2)));
            assert_eq!(watch.looping(2, 2), Some(Looping::Anywhere(3)));
        }
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut watch = HeaderWatch::new("x");
        for _ in 0..10_000 {
            watch.see(&[b'a'; 1000]);
        }
        assert!(watch.line.capacity() < 1 << 12);
    }
}
