//! The bytes of values: variable-length numbers, and runs packed against what was expected.
//!
//! Writing cannot fail. Reading is total: whatever the bytes, it ends in a value or in
//! [`Malformed`], never in a panic and never in an allocation larger than the input deserves.

use crate::uid::{Place, Run, SideUid, Uid};

/// Why bytes could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Packs the runs of one chunk.
///
/// Each run is a number `gap << 4 | expected << 3 | single << 2 | kind`, where `gap` is the distance
/// from the end of the run before, followed by `len - 2` unless `single`, and by the distance of the
/// side UIDs from what was expected unless `expected`. Expected is: on old, the same distance from
/// the virtual UID as in the run before (so an untouched message costs one byte whatever holes
/// surround it, V2); on new, the UID after the run before (so do copies in order).
pub fn pack_runs(runs: &[Run]) -> Vec<u8> {
    let mut out = Packer::versioned(RUNS_VERSION);
    out.number(runs.len() as u64);
    let mut guess = Guess::default();
    for run in runs {
        let (kind, old, new) = match run.place {
            Place::Old(old) => (KIND_OLD, Some(old), None),
            Place::New(new) => (KIND_NEW, None, Some(new)),
            Place::Both { old, new } => (KIND_BOTH, Some(old), Some(new)),
        };
        let old_off = old.map_or(0, |old| guess.old_distance(run.uid, old));
        let new_off = new.map_or(0, |new| guess.new_distance(new));
        let expected = old_off == 0 && new_off == 0;
        // A map is ascending, so the gap is never negative; if it were, the wrapped number would
        // be refused on reading instead of meaning something else.
        let gap = (i64::from(run.uid.0) - guess.next_uid) as u64;
        let single = run.len == 1;
        out.number(gap << 4 | u64::from(expected) << 3 | u64::from(single) << 2 | kind);
        if !single {
            out.number(u64::from(run.len).wrapping_sub(2));
        }
        if !expected {
            if old.is_some() {
                out.signed(old_off);
            }
            if new.is_some() {
                out.signed(new_off);
            }
        }
        guess.learn(run.uid, run.len, old, new);
    }
    out.done()
}

/// Unpacks what [`pack_runs`] made. Every UID of every run fits into 32 bits; that runs do not
/// overlap on a side is the map's to check.
pub fn unpack_runs(bytes: &[u8]) -> Result<Vec<Run>, Malformed> {
    let mut input = Unpacker::versioned(bytes, RUNS_VERSION)?;
    let count = input.number()?;
    // A run takes at least one byte: this bounds what a damaged count can make us allocate.
    let count = usize::try_from(count).ok().filter(|n| *n <= input.rest.len());
    let count = count.ok_or(Malformed("more runs than bytes"))?;
    let mut runs = Vec::with_capacity(count);
    let mut guess = Guess::default();
    for _ in 0..count {
        let head = input.number()?;
        let gap = i64::try_from(head >> 4).map_err(|_| OUT_OF_RANGE)?;
        let uid = guess.next_uid.checked_add(gap).and_then(to_u32).ok_or(OUT_OF_RANGE)?;
        let len = match head & 1 << 2 {
            0 => input.number()?.checked_add(2).and_then(|n| u32::try_from(n).ok()),
            _ => Some(1),
        };
        let len = len.ok_or(OUT_OF_RANGE)?;
        let expected = head & 1 << 3 != 0;
        let off = |input: &mut Unpacker<'_>| if expected { Ok(0) } else { input.signed() };
        let (old, new) = match head & 3 {
            KIND_OLD => (Some(guess.old_at(uid, off(&mut input)?)?), None),
            KIND_NEW => (None, Some(guess.new_at(off(&mut input)?)?)),
            KIND_BOTH => {
                let old = guess.old_at(uid, off(&mut input)?)?;
                (Some(old), Some(guess.new_at(off(&mut input)?)?))
            }
            _ => return Err(Malformed("unknown kind of place")),
        };
        let ends = [Some(uid), old.map(u32::from), new.map(u32::from)];
        if ends.into_iter().flatten().any(|first| first.checked_add(len - 1).is_none()) {
            return Err(OUT_OF_RANGE);
        }
        let place = match (old, new) {
            (Some(old), Some(new)) => Place::Both { old, new },
            (Some(old), None) => Place::Old(old),
            (None, Some(new)) => Place::New(new),
            (None, None) => return Err(Malformed("a run on no side")),
        };
        guess.learn(Uid(uid), len, old, new);
        runs.push(Run { uid: Uid(uid), len, place });
    }
    input.finish()?;
    Ok(runs)
}

/// What the next run is expected to be, after those seen.
#[derive(Default)]
struct Guess {
    next_uid: i64,
    /// Old UID minus virtual UID.
    old_shift: i64,
    next_new: i64,
}

impl Guess {
    fn old_distance(&self, uid: Uid, old: SideUid) -> i64 {
        i64::from(old.0) - (i64::from(uid.0) + self.old_shift)
    }

    fn new_distance(&self, new: SideUid) -> i64 {
        i64::from(new.0) - self.next_new
    }

    fn old_at(&self, uid: u32, off: i64) -> Result<SideUid, Malformed> {
        let old = (i64::from(uid) + self.old_shift).checked_add(off).and_then(to_u32);
        old.map(SideUid).ok_or(OUT_OF_RANGE)
    }

    fn new_at(&self, off: i64) -> Result<SideUid, Malformed> {
        self.next_new.checked_add(off).and_then(to_u32).map(SideUid).ok_or(OUT_OF_RANGE)
    }

    fn learn(&mut self, uid: Uid, len: u32, old: Option<SideUid>, new: Option<SideUid>) {
        self.next_uid = i64::from(uid.0) + i64::from(len);
        if let Some(old) = old {
            self.old_shift = i64::from(old.0) - i64::from(uid.0);
        }
        if let Some(new) = new {
            self.next_new = i64::from(new.0) + i64::from(len);
        }
    }
}

fn to_u32(n: i64) -> Option<u32> {
    u32::try_from(n).ok()
}

/// Writes a value.
pub struct Packer(Vec<u8>);

impl Packer {
    /// A value that begins with its version.
    pub fn versioned(version: u8) -> Packer {
        Packer(vec![version])
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, least significant first.
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    /// A signed number, small near zero (zigzag).
    pub fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)) as u64);
    }

    /// Octets behind their length.
    pub fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    /// Octets whose length both ends know.
    pub fn fixed(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// The value.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a value.
pub struct Unpacker<'a> {
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// Starts behind the version, which must be the one given.
    pub fn versioned(bytes: &'a [u8], version: u8) -> Result<Unpacker<'a>, Malformed> {
        match bytes.split_first() {
            Some((found, rest)) if *found == version => Ok(Unpacker { rest }),
            Some(_) => Err(Malformed("unknown version of a value")),
            None => Err(TOO_SHORT),
        }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    /// See [`Packer::number`].
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(OUT_OF_RANGE);
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(OUT_OF_RANGE)
    }

    /// See [`Packer::number`], for what is kept in 32 bits.
    pub fn number32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| OUT_OF_RANGE)
    }

    /// See [`Packer::signed`].
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// See [`Packer::octets`].
    pub fn octets(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.number()?).map_err(|_| TOO_SHORT)?;
        let (octets, rest) = self.rest.split_at_checked(len).ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(octets)
    }

    /// Text behind its length.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.octets()?).map_err(|_| Malformed("not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// See [`Packer::fixed`].
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (octets, rest) = self.rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*octets)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may follow.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("octets behind the value")) }
    }
}

const RUNS_VERSION: u8 = 1;
const KIND_OLD: u64 = 0;
const KIND_NEW: u64 = 1;
const KIND_BOTH: u64 = 2;
const TOO_SHORT: Malformed = Malformed("a value ends early");
const OUT_OF_RANGE: Malformed = Malformed("a number is out of range");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn old(uid: u32, len: u32, old: u32) -> Run {
        Run { uid: Uid(uid), len, place: Place::Old(SideUid(old)) }
    }

    #[test]
    fn untouched_messages_cost_a_byte_or_two_each_whatever_the_holes() {
        // 50,000 single messages with holes of 1 to 1,000 UIDs between them.
        let mut uid = 1_000_000;
        let mut hole = 1;
        let runs: Vec<Run> = (0..50_000)
            .map(|_| {
                hole = hole * 31 % 1009;
                uid += 1 + hole;
                old(uid, 1, uid)
            })
            .collect();
        let packed: usize = runs.chunks(256).map(|chunk| pack_runs(chunk).len()).sum();
        assert!(packed < 50_000 * 5 / 2, "{packed}");
    }

    #[test]
    fn copies_in_order_cost_what_untouched_messages_cost() {
        let both = |n: u32| Run {
            uid: Uid(10 + 2 * n),
            len: 1,
            place: Place::Both { old: SideUid(10 + 2 * n), new: SideUid(500 + n) },
        };
        let runs: Vec<Run> = (0..256).map(both).collect();
        assert!(pack_runs(&runs).len() < 256 + 12);
    }

    #[test]
    fn the_ends_of_the_number_range_survive() {
        let runs = [
            Run { uid: Uid(1), len: 1, place: Place::New(SideUid(u32::MAX)) },
            Run {
                uid: Uid(2),
                len: 3,
                place: Place::Both { old: SideUid(u32::MAX - 2), new: SideUid(1) },
            },
            old(u32::MAX, 1, 1),
        ];
        assert_eq!(unpack_runs(&pack_runs(&runs)), Ok(runs.to_vec()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bytes in [
            &[][..],
            &[9, 0],
            &[1, 1],                                     // a run announced, none there
            &[1, 2, 0x1c],                               // two announced, one there
            &[1, 0, 0],                                  // octets behind the value
            &[1, 1, 0x1f],                               // kind 3
            &[1, 1, 0x18, 0xff, 0xff, 0xff, 0xff, 0x0f], // runs over the last UID
            &[1, 1, 0x14, 0x05],                         // old UID below 0
            &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], // over 64 bits
        ] {
            assert!(unpack_runs(bytes).is_err(), "{bytes:?}");
        }
    }

    /// Ascending runs of any place.
    fn any_runs() -> impl Strategy<Value = Vec<Run>> {
        let one = (0u32..2000, 1u32..50, 0u8..3, any::<u32>(), any::<u32>(), any::<bool>());
        prop::collection::vec(one, 0..300).prop_map(|raw| {
            let mut next = 1u32;
            raw.into_iter()
                .map(|(gap, len, kind, old, new, single)| {
                    let uid = next + gap;
                    let len = if single { 1 } else { len };
                    next = uid + len;
                    let old = SideUid(if kind == 0 && single { uid } else { old % 4_000_000_000 });
                    let new = SideUid(new % 4_000_000_000);
                    let place = match kind {
                        0 => Place::Old(old),
                        1 => Place::New(new),
                        _ => Place::Both { old, new },
                    };
                    Run { uid: Uid(uid), len, place }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn runs_survive_packing(runs in any_runs()) {
            prop_assert_eq!(unpack_runs(&pack_runs(&runs)), Ok(runs));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = RUNS_VERSION;
            }
            if let Ok(runs) = unpack_runs(&bytes) {
                prop_assert!(runs.len() < bytes.len());
                for run in runs {
                    prop_assert!(run.uid.0.checked_add(run.len - 1).is_some());
                }
            }
        }

        #[test]
        fn damaged_runs_never_panic(runs in any_runs(), at in any::<usize>(), bit in 0u8..8) {
            let mut bytes = pack_runs(&runs);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = unpack_runs(&bytes);
        }

        #[test]
        fn numbers_survive(n in any::<u64>(), s in any::<i64>()) {
            let mut out = Packer::versioned(7);
            out.number(n);
            out.signed(s);
            let bytes = out.done();
            let mut input = Unpacker::versioned(&bytes, 7).unwrap();
            prop_assert_eq!(input.number(), Ok(n));
            prop_assert_eq!(input.signed(), Ok(s));
            prop_assert_eq!(input.finish(), Ok(()));
        }
    }
}
