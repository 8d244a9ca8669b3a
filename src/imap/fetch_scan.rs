//! `FetchScan`: walks one untagged FETCH and finds its items, without understanding their values.
//!
//! It sees the text segments only; the literals between them are the caller's, who streams them.
//! It allocates nothing, keeps a few words of state, and does not recurse: an ENVELOPE nested a
//! million deep costs a counter. What it does not know passes as [`ItemKind::Other`].

use std::ops::Range;

use thiserror::Error;

use super::scan::{MAX_ANNOUNCEMENT, announced_literal, is_space, quoted_len};
pub use super::scan::{flags, number, number64};

/// The state of a walk across the segments of one FETCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchScan {
    state: State,
}

/// What the next segment begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// An item, or the closing parenthesis.
    Between,
    /// The name of an item went into a literal; inside its section's brackets.
    InName,
    /// The value of an item went into a literal, under so many parentheses.
    InValue { depth: usize },
    /// Nothing: the FETCH is complete.
    Closed,
}

/// One item of a FETCH, or what a segment holds of it. All ranges index into the segment.
///
/// To hand an item on as it came: the octets from `name.start` to `value.end`, then, where it ends
/// in a literal, the literal and the same of the next segment's continuation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The whole name, `BODY[HEADER.FIELDS ("From")]<0>`. Empty in a continuation, unless the name
    /// itself was cut by a literal.
    pub name: Range<usize>,
    /// What the name says.
    pub kind: ItemKind,
    /// The value, or the part of it that lies in this segment. Empty at the segment's end where the
    /// announced literal belongs to the name.
    pub value: Range<usize>,
    /// Where the value ends.
    pub ends: Ends,
}

/// What an item is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ItemKind {
    /// `UID`
    Uid,
    /// `FLAGS`; read the value with [`flags`].
    Flags,
    /// `MODSEQ`; read the value with [`modseq`].
    ModSeq,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// Content: `BODY[…]`, `BINARY[…]`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`; a nstring.
    Body,
    /// Anything else: ENVELOPE, BODYSTRUCTURE, X-GM-LABELS…
    Other,
    /// The rest of the item that the segment before did not end. Always the first of a segment
    /// that follows a literal.
    Continuation,
}

/// Where a value ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ends {
    /// In this segment.
    Here,
    /// Not before the literal that the segment's end announces (`value` includes the
    /// announcement), and, where it is nested, in a later segment.
    InLiteral,
}

/// A segment that does not read as part of a FETCH. The unit is still delimited: it may be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ScanError {
    /// A quoted string, a list or a section does not end.
    #[error("a FETCH response breaks off within an item")]
    BrokenOff,
    /// Something stands where an item's name should.
    #[error("a FETCH response holds something that is no item")]
    NoItem,
    /// A literal is announced that is no part of an item.
    #[error("a FETCH response holds a literal outside of its items")]
    StrayLiteral,
}

impl FetchScan {
    /// Whether a unit's first text begins `* n FETCH (`; then the sequence number, and the offset
    /// behind the opening parenthesis.
    pub fn start(text: &[u8]) -> Option<(FetchScan, u32, usize)> {
        let rest = skip_spaces(text.strip_prefix(b"*")?);
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at(digits);
        let seq = number(seq).filter(|&seq| seq != 0)?;
        let (word, rest) = skip_spaces(rest).split_at_checked(5)?;
        if !word.eq_ignore_ascii_case(b"FETCH") {
            return None;
        }
        let rest = skip_spaces(rest).strip_prefix(b"(")?;
        Some((FetchScan { state: State::Between }, seq, text.len() - rest.len()))
    }

    /// Finds the items of a segment, from the offset `from` on (0 in all but the first segment),
    /// and appends them to `out` in order.
    ///
    /// After `Ok`, the segment announces a literal exactly if the last item ends in one. Other text
    /// behind the closing parenthesis is ignored.
    pub fn segment(
        &mut self,
        segment: &[u8],
        from: usize,
        out: &mut Vec<Item>,
    ) -> Result<(), ScanError> {
        let mut walk = Walk { segment, at: from.min(segment.len()) };
        match self.state {
            State::Between | State::Closed => {}
            State::InName => {
                let start = walk.at;
                self.item(&mut walk, start, ItemKind::Continuation, out)?;
            }
            State::InValue { depth } => {
                let start = walk.at;
                let within = walk.nested(depth)?;
                self.push(start..start, ItemKind::Continuation, start..walk.at, within, out);
            }
        }
        while self.state == State::Between {
            walk.skip_spaces();
            match walk.peek() {
                None => break,
                Some(b')') => self.state = State::Closed,
                Some(_) => {
                    let start = walk.at;
                    let kind = walk.name()?;
                    self.item(&mut walk, start, kind, out)?;
                }
            }
        }
        let within = matches!(self.state, State::InName | State::InValue { .. });
        if !within && announced_literal(segment).is_some() {
            return Err(ScanError::StrayLiteral);
        }
        Ok(())
    }

    /// Whether the closing parenthesis was seen.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Takes an item whose name began at `start`, from behind its first word on; for a continuation
    /// from within its section.
    fn item(
        &mut self,
        walk: &mut Walk<'_>,
        start: usize,
        kind: ItemKind,
        out: &mut Vec<Item>,
    ) -> Result<(), ScanError> {
        let section = kind == ItemKind::Continuation || walk.peek() == Some(b'[');
        if section && walk.section()? {
            let end = walk.at;
            out.push(Item { name: start..end, kind, value: end..end, ends: Ends::InLiteral });
            self.state = State::InName;
            return Ok(());
        }
        let name = start..walk.at;
        walk.skip_spaces();
        let value = walk.at;
        let mut within = None;
        match walk.peek() {
            // No value at all: `FLAGS )`.
            None | Some(b')') => {}
            Some(b'"') => walk.quoted()?,
            Some(b'(') => {
                walk.at += 1;
                within = walk.nested(1)?;
            }
            Some(_) if walk.literal() => within = Some(0),
            Some(_) => walk.atom(),
        }
        self.push(name, kind, value..walk.at, within, out);
        Ok(())
    }

    /// Puts an item out; `within` tells under how many parentheses its value went into a literal.
    fn push(
        &mut self,
        name: Range<usize>,
        kind: ItemKind,
        value: Range<usize>,
        within: Option<usize>,
        out: &mut Vec<Item>,
    ) {
        let (state, ends) = match within {
            None => (State::Between, Ends::Here),
            Some(depth) => (State::InValue { depth }, Ends::InLiteral),
        };
        self.state = state;
        out.push(Item { name, kind, value, ends });
    }
}

/// The MODSEQ within `(12345)`, RFC 7162 §7 `permsg-modsequence`; also without parentheses.
pub fn modseq(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let inner = value.strip_prefix(b"(").and_then(|v| v.strip_suffix(b")")).unwrap_or(value);
    number64(inner.trim_ascii())
}

/// A position in one segment.
struct Walk<'a> {
    segment: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.segment.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        self.segment.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// Takes an item's first word, up to its section, and says what it is.
    fn name(&mut self) -> Result<ItemKind, ScanError> {
        let rest = self.rest();
        let ends = |&b: &u8| is_space(b) || matches!(b, b'[' | b'(' | b')' | b'"' | b'{');
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        let kind = kind(&rest[..len], rest.get(len) == Some(&b'['));
        if len == 0 {
            return Err(ScanError::NoItem);
        }
        self.at += len;
        Ok(kind)
    }

    /// Takes `[HEADER.FIELDS ("From")]<0>`, or its rest from within the brackets. Whether it goes
    /// into a literal.
    fn section(&mut self) -> Result<bool, ScanError> {
        loop {
            match self.peek().ok_or(ScanError::BrokenOff)? {
                b']' => break,
                b'"' => self.quoted()?,
                b'{' | b'~' if self.literal() => return Ok(true),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if self.peek() == Some(b'<') {
            let rest = self.rest();
            self.at += rest.iter().position(|&b| b == b'>').ok_or(ScanError::BrokenOff)? + 1;
        }
        Ok(false)
    }

    /// Takes the rest of a list from under `depth` parentheses. Where it goes into a literal, under
    /// how many.
    fn nested(&mut self, mut depth: usize) -> Result<Option<usize>, ScanError> {
        while depth > 0 {
            match self.peek().ok_or(ScanError::BrokenOff)? {
                b'(' => (depth, self.at) = (depth.saturating_add(1), self.at + 1),
                b')' => (depth, self.at) = (depth.saturating_sub(1), self.at + 1),
                b'"' => self.quoted()?,
                b'{' | b'~' if self.literal() => return Ok(Some(depth)),
                _ => self.at += 1,
            }
        }
        Ok(None)
    }

    fn quoted(&mut self) -> Result<(), ScanError> {
        self.at += quoted_len(self.rest()).ok_or(ScanError::BrokenOff)?;
        Ok(())
    }

    /// At least one octet.
    fn atom(&mut self) {
        let rest = self.rest();
        let ends = |&b: &u8| is_space(b) || matches!(b, b'(' | b')');
        self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
    }

    /// Takes the announcement of a literal, if the segment ends with one that begins here.
    fn literal(&mut self) -> bool {
        let rest = self.rest();
        let announces = matches!(rest.first(), Some(b'{' | b'~'))
            && rest.len() <= MAX_ANNOUNCEMENT
            && matches!(announced_literal(rest), Some((0, _)));
        if announces {
            self.at = self.segment.len();
        }
        announces
    }
}

fn kind(name: &[u8], section: bool) -> ItemKind {
    let is = |all: &str| name.eq_ignore_ascii_case(all.as_bytes());
    // The length decides first: this runs for every item of every message.
    match name.len() {
        4 if section && is("BODY") => ItemKind::Body,
        6 if section && is("BINARY") => ItemKind::Body,
        _ if section => ItemKind::Other,
        3 if is("UID") => ItemKind::Uid,
        5 if is("FLAGS") => ItemKind::Flags,
        6 if is("MODSEQ") => ItemKind::ModSeq,
        6 if is("RFC822") => ItemKind::Body,
        11 if is("RFC822.SIZE") => ItemKind::Rfc822Size,
        11 if is("RFC822.TEXT") => ItemKind::Body,
        12 if is("INTERNALDATE") => ItemKind::InternalDate,
        13 if is("RFC822.HEADER") => ItemKind::Body,
        _ => ItemKind::Other,
    }
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&b| is_space(b)).count();
    &text[spaces..]
}

#[cfg(test)]
mod tests;
