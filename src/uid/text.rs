//! A [`UidSet`] as IMAP text: written for a server or a client, read from a server.

use std::fmt::{self, Write};
use std::iter;

use super::set::Span;
use super::{Number, UidSet};

impl<T: Number> UidSet<T> {
    /// The set as IMAP text, cut into pieces of at most `max_octets` (DESIGN §3: 8,000), each of
    /// which is a set by itself. No piece is cut smaller than one range.
    pub fn chunks_of(&self, max_octets: usize) -> impl Iterator<Item = String> {
        let mut rest = self.spans();
        iter::from_fn(move || {
            let mut piece = String::new();
            while let [span, behind @ ..] = rest {
                let fits = piece.len();
                if write_span(&mut piece, span).is_err() || piece.len() > max_octets && fits > 0 {
                    piece.truncate(fits);
                    break;
                }
                rest = behind;
            }
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Reads a set a server wrote, as in COPYUID, VANISHED and ESEARCH: no `*`, ranges in any order
    /// and direction.
    ///
    /// ```abnf
    /// uid-set   = (uniqueid / uid-range) *("," uid-set)     ; RFC 4315 §4
    /// uid-range = (uniqueid ":" uniqueid)
    /// ```
    pub fn parse(text: &[u8]) -> Option<Self> {
        text.split(|b| *b == b',')
            .map(parse_range)
            .collect::<Option<Vec<_>>>()
            .map(Self::from_ranges)
    }

    /// Reads a set a server wrote and keeps its order: the n-th UID of one set of a COPYUID belongs
    /// to the n-th of the other (RFC 4315 §3). `None` too if it has more than `max` members.
    ///
    /// The numbers of one range always ascend: "2:4 and 4:2 are equivalent" (RFC 4315 §4).
    pub fn parse_ordered(text: &[u8], max: usize) -> Option<Vec<T>> {
        let mut numbers = Vec::new();
        for range in text.split(|b| *b == b',') {
            let (a, b) = parse_range::<T>(range)?;
            let (a, b): (u32, u32) = (a.into(), b.into());
            let (first, last) = (a.min(b), a.max(b));
            let room = max.checked_sub(numbers.len())?;
            // `last - first` members and one more.
            if usize::try_from(last - first).is_ok_and(|more| more >= room) {
                return None;
            }
            numbers.extend((first..=last).map(T::from));
        }
        Some(numbers)
    }
}

impl<T: Number> fmt::Display for UidSet<T> {
    /// Writes `sequence-set` (RFC 9051 §9), as in `1:5,7,9:12`. The empty set, which IMAP cannot
    /// write, is an empty string.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for span in self.spans() {
            f.write_str(comma)?;
            write_bare(f, span)?;
            comma = ",";
        }
        Ok(())
    }
}

impl<T: Number> fmt::Debug for UidSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

fn write_span(text: &mut String, span: &Span) -> fmt::Result {
    if !text.is_empty() {
        text.push(',');
    }
    write_bare(text, span)
}

fn write_bare(out: &mut impl Write, span: &Span) -> fmt::Result {
    if span.first == span.last {
        write!(out, "{}", span.first)
    } else {
        write!(out, "{}:{}", span.first, span.last)
    }
}

fn parse_range<T: Number>(text: &[u8]) -> Option<(T, T)> {
    let mut ends = text.splitn(2, |b| *b == b':').map(parse_number);
    let first = ends.next()??;
    let last = match ends.next() {
        Some(last) => last?,
        None => first,
    };
    Some((T::from(first), T::from(last)))
}

/// `nz-number` (RFC 9051 §9); leading zeros are forgiven.
fn parse_number(digits: &[u8]) -> Option<u32> {
    let mut n = 0u32;
    for b in digits {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        n = n.checked_mul(10)?.checked_add(digit)?;
    }
    (n != 0).then_some(n)
}

#[cfg(test)]
mod tests {
    use crate::uid::{Uid, UidSet};

    fn set(text: &str) -> UidSet<Uid> {
        UidSet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_server_writes_is_read() {
        for (read, written) in [
            ("1", "1"),
            ("1,3:5", "1,3:5"),
            ("5:3,1", "1,3:5"),
            ("4,3,5,4", "3:5"),
            ("4294967295", "4294967295"),
            ("1:4294967295", "1:4294967295"),
            ("007", "7"),
        ] {
            assert_eq!(set(read).to_string(), written, "{read}");
            set(read).check();
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in
            ["", "0", "1,", ",1", "1:", ":1", "*", "1:*", "1:2:3", "4294967296", "1 2", "0:5"]
        {
            assert_eq!(UidSet::<Uid>::parse(bad.as_bytes()), None, "{bad:?}");
            assert_eq!(UidSet::<Uid>::parse_ordered(bad.as_bytes(), 9), None, "{bad:?}");
        }
    }

    #[test]
    fn order_is_kept_where_it_matters() {
        let read = |text: &str, max| UidSet::parse_ordered(text.as_bytes(), max);
        assert_eq!(read("9,4:2,9", 5), Some([9, 2, 3, 4, 9].map(Uid).to_vec()));
        assert_eq!(read("9,4:2,9", 4), None);
        assert_eq!(read("1:4294967295", 1000), None);
        assert_eq!(read("4294967294:4294967295", 2).map(|v| v.len()), Some(2));
        assert_eq!(read("1", 0), None);
    }

    #[test]
    fn long_sets_are_cut_between_ranges() {
        let odd: UidSet<Uid> = (1..40_000).step_by(2).map(Uid).collect();
        let pieces: Vec<String> = odd.chunks_of(8_000).collect();
        assert!(pieces.len() > 10);
        assert!(pieces.iter().all(|p| p.len() <= 8_000));
        assert!(pieces[..pieces.len() - 1].iter().all(|p| p.len() > 8_000 - 7), "filled");
        assert_eq!(pieces.join(","), odd.to_string());
        assert_eq!(set("10:20,30").chunks_of(1).collect::<Vec<_>>(), ["10:20", "30"]);
        assert_eq!(UidSet::<Uid>::new().chunks_of(8_000).count(), 0);
    }
}
