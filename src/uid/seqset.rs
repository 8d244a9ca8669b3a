//! `SeqSet`: a set of sequence numbers or UIDs as a client writes it (RFC 3501 §9, `sequence-set`).

/// One end of a range: a number, or `*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// A number; never 0.
    Number(u32),
    /// `*`: the highest one.
    Star,
}

/// Ranges in the client's order, as they were written: `9:3` stays `9:3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeqSet {
    ranges: Vec<(Bound, Bound)>,
}

impl SeqSet {
    /// A set of these ranges.
    pub fn from_ranges(ranges: Vec<(Bound, Bound)>) -> SeqSet {
        SeqSet { ranges }
    }

    /// The ranges as they were written.
    pub fn ranges(&self) -> &[(Bound, Bound)] {
        &self.ranges
    }

    /// `1:*`.
    pub fn all() -> SeqSet {
        SeqSet { ranges: vec![(Bound::Number(1), Bound::Star)] }
    }
}
