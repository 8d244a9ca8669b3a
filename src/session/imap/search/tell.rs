//! Writing what SEARCH and SORT have found, and choosing what of it is saved. Pure.

use std::io::{self, Write as _};

use crate::imap::command::{SearchReturn, Tag};
use crate::imap::found::Found;
use crate::uid::{Uid, UidMap, UidSet};

/// How a search is answered.
pub(super) struct Answer<'a> {
    /// `SEARCH` or `SORT`: the name of the answer without RETURN.
    pub name: &'static str,
    pub tag: &'a Tag,
    pub uid: bool,
    pub returns: Option<Vec<SearchReturn>>,
    /// The highest MODSEQ of what is told, where the program asks for changes (RFC 7162 §3.1.5).
    pub mod_seq: Option<u64>,
}

impl Answer<'_> {
    /// Whether an option of RETURN was given.
    pub fn wants(&self, option: SearchReturn) -> bool {
        self.returns.as_ref().is_some_and(|returns| returns.contains(&option))
    }

    /// Writes numbers of the client's, in their order.
    pub fn write(&self, found: &Found, out: &mut Vec<u8>) {
        // Writing into a Vec does not fail.
        drop(match self.returns.as_deref() {
            None => self.write_list(found, out),
            // Nothing is told where all that is wanted is to save it (RFC 5182 §2.1).
            Some([SearchReturn::Save]) => Ok(()),
            Some(returns) => self.write_esearch(returns, found, out),
        });
    }

    /// `"SEARCH" *(SP nz-number)` (RFC 3501 §7.2.5), `"SORT" *(SP nz-number)` (RFC 5256 §4), and
    /// `SP "(" "MODSEQ" SP mod-sequence-value ")"` (RFC 7162 §7).
    fn write_list(&self, found: &Found, out: &mut Vec<u8>) -> io::Result<()> {
        write!(out, "* {}", self.name)?;
        for n in found.iter() {
            write!(out, " {n}")?;
        }
        if let Some(mod_seq) = self.mod_seq {
            write!(out, " (MODSEQ {mod_seq})")?;
        }
        out.write_all(b"\r\n")
    }

    /// `esearch-response` (RFC 4466 §2.6.2). Where nothing is found, only COUNT and PARTIAL have
    /// something to tell (RFC 4731 §3.1, RFC 9394 §3.1).
    fn write_esearch(
        &self,
        returns: &[SearchReturn],
        found: &Found,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.write_head(out)?;
        if let Some(min) = found.first().filter(|_| self.wants(SearchReturn::Min)) {
            write!(out, " MIN {min}")?;
        }
        if let Some(max) = found.last().filter(|_| self.wants(SearchReturn::Max)) {
            write!(out, " MAX {max}")?;
        }
        if self.wants(SearchReturn::Count) {
            write!(out, " COUNT {}", found.len())?;
        }
        if self.wants(SearchReturn::All) && !found.is_empty() {
            write!(out, " ALL {found}")?;
        }
        for option in returns {
            let SearchReturn::Partial(range) = option else { continue };
            match found.part(range.of(found.len())) {
                part if part.is_empty() => write!(out, " PARTIAL ({range} NIL)")?,
                part => write!(out, " PARTIAL ({range} {part})")?,
            }
        }
        if let Some(mod_seq) = self.mod_seq {
            write!(out, " MODSEQ {mod_seq}")?;
        }
        out.write_all(b"\r\n")
    }

    /// What every ESEARCH begins with.
    pub fn write_head(&self, out: &mut Vec<u8>) -> io::Result<()> {
        // A tag holds neither quotes nor backslashes.
        let uid = if self.uid { " UID" } else { "" };
        write!(out, "* ESEARCH (TAG \"{}\"){uid}", self.tag)
    }
}

/// What `$` holds after a search (RFC 5182 §2.4, RFC 9394 §3.2): all, unless only some of it was
/// asked for.
pub(super) fn saved(returns: &[SearchReturn], found: &Found) -> UidSet<Uid> {
    let mut some = UidSet::new();
    let mut all = true;
    let mut take = |numbers: &Found| {
        all = false;
        some.extend(numbers.iter().map(Uid));
    };
    let count = found.len();
    for option in returns {
        match option {
            SearchReturn::All | SearchReturn::Count => {
                return found.iter().map(Uid).collect();
            }
            SearchReturn::Min => take(&found.part(0..count.min(1))),
            SearchReturn::Max => take(&found.part(count.saturating_sub(1)..count)),
            SearchReturn::Partial(range) => take(&found.part(range.of(count))),
            SearchReturn::Save | SearchReturn::Update | SearchReturn::Context => {}
        }
    }
    if all { found.iter().map(Uid).collect() } else { some }
}

/// The sequence numbers of messages, in the same order.
pub(super) fn seqs(numbering: &UidMap, uids: &Found) -> Found {
    let mut cursor = numbering.cursor();
    uids.iter().filter_map(|uid| cursor.seq(Uid(uid))).map(u32::from).collect()
}

#[cfg(test)]
mod tests {
    use SearchReturn::{All, Context, Count, Max, Min, Partial, Save};

    use super::*;
    use crate::imap::command::PartialRange;
    use crate::uid::{Place, SideUid};

    fn written(returns: Option<&[SearchReturn]>, uid: bool, found: &[u32]) -> String {
        let tag = Tag::new(b"a1").unwrap();
        let returns = returns.map(<[_]>::to_vec);
        let mut out = Vec::new();
        let answer = Answer { name: "SEARCH", tag: &tag, uid, returns, mod_seq: None };
        answer.write(&found.iter().copied().collect(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn search_lists_every_number() {
        assert_eq!(written(None, true, &[2, 3, 4, 9]), "* SEARCH 2 3 4 9\r\n");
        assert_eq!(written(None, false, &[]), "* SEARCH\r\n");
    }

    #[test]
    fn esearch_tells_what_was_asked() {
        let all = [All, Count, Max, Min];
        assert_eq!(
            written(Some(&all), true, &[1, 2, 3, 9]),
            "* ESEARCH (TAG \"a1\") UID MIN 1 MAX 9 COUNT 4 ALL 1:3,9\r\n"
        );
        let max = "* ESEARCH (TAG \"a1\") MAX 3\r\n";
        assert_eq!(written(Some(&[Max, Context]), false, &[1, 2, 3]), max);
        assert_eq!(written(Some(&[Save]), false, &[1, 2, 3]), "");
        assert_eq!(written(Some(&[Save, Max]), false, &[1, 2, 3]), max);
    }

    #[test]
    fn esearch_omits_what_nothing_has() {
        let all = [All, Count, Max, Min];
        assert_eq!(written(Some(&all), true, &[]), "* ESEARCH (TAG \"a1\") UID COUNT 0\r\n");
        assert_eq!(written(Some(&[All]), false, &[]), "* ESEARCH (TAG \"a1\")\r\n");
    }

    #[test]
    fn a_part_is_told_by_the_range_that_was_asked_for() {
        let part = |from_end, a, b| [Partial(PartialRange::new(from_end, a, b))];
        let told = |returns: &[_]| written(Some(returns), false, &[9, 3, 4, 5]);
        assert_eq!(told(&part(false, 1, 3)), "* ESEARCH (TAG \"a1\") PARTIAL (1:3 9,3:4)\r\n");
        assert_eq!(told(&part(true, 1, 2)), "* ESEARCH (TAG \"a1\") PARTIAL (-1:-2 4:5)\r\n");
        assert_eq!(told(&part(false, 5, 6)), "* ESEARCH (TAG \"a1\") PARTIAL (5:6 NIL)\r\n");
    }

    #[test]
    fn what_is_saved_is_what_was_asked_for() {
        let found: Found = [9, 3, 4, 5].into_iter().collect();
        let kept = |returns: &[SearchReturn]| saved(returns, &found).to_string();
        let part = Partial(PartialRange::new(false, 2, 3));
        for (returns, text) in [
            (&[Save][..], "3:5,9"),
            (&[Save, Min], "9"),
            (&[Max, Save], "5"),
            (&[Save, Min, Max], "5,9"),
            (&[Save, Min, Count], "3:5,9"),
            (&[Save, All, Max], "3:5,9"),
            (&[Save, part], "3:4"),
            (&[Save, part, Min], "3:4,9"),
            (&[Save, part, Count], "3:5,9"),
        ] {
            assert_eq!(kept(returns), text, "{returns:?}");
        }
        assert!(saved(&[Save, Min], &Found::default()).is_empty());
    }

    #[test]
    fn sequence_numbers_follow_the_numbering() {
        let mut numbering = UidMap::default();
        numbering.push(Uid(5), 3, Place::Old(SideUid(5))).unwrap();
        numbering.push(Uid(20), 2, Place::New(SideUid(1))).unwrap();
        let found = [21, 6, 7].into_iter().collect();
        assert_eq!(seqs(&numbering, &found).to_string(), "5,2:3");
    }
}
