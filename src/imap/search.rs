//! SEARCH programs (RFC 3501 §6.4.4): a client's as a tree, and one backend's as text.
//!
//! Translating is pure: whoever knows the map says what a set of the client's means on that side.

use std::fmt;

use crate::imap::charset::Charset;
use crate::imap::command::Flag;
use crate::imap::write::Parts;
use crate::uid::{EmailId, SeqSet};

/// One search key. Nests at most [`crate::imap::command::MAX_NESTING`] deep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchKey {
    /// ALL.
    All,
    /// Keys that must all match; the whole program, or a parenthesized part of it. Never empty.
    And(Vec<SearchKey>),
    /// ANSWERED.
    Answered,
    /// BCC.
    Bcc(Vec<u8>),
    /// BEFORE: internal date.
    Before(SearchDate),
    /// BODY.
    Body(Vec<u8>),
    /// CC.
    Cc(Vec<u8>),
    /// DELETED.
    Deleted,
    /// DRAFT.
    Draft,
    /// EMAILID (RFC 8474 §6): `None` for an identifier that no message can have.
    EmailId(Option<EmailId>),
    /// FLAGGED.
    Flagged,
    /// FROM.
    From(Vec<u8>),
    /// HEADER: field name, then what it must contain (may be empty).
    Header(Vec<u8>, Vec<u8>),
    /// KEYWORD.
    Keyword(Flag),
    /// LARGER: octets.
    Larger(u64),
    /// MODSEQ: changed at this value or later (RFC 7162 §3.1.5). What a client says of a single flag
    /// is not kept: no server counts flags one by one.
    ModSeq(u64),
    /// NEW: recent and unseen.
    New,
    /// NOT.
    Not(Box<SearchKey>),
    /// OLD: not recent.
    Old,
    /// OLDER: so many seconds, at least, since the internal date (RFC 5032).
    Older(u32),
    /// ON: internal date.
    On(SearchDate),
    /// OR.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// RECENT.
    Recent,
    /// SEEN.
    Seen,
    /// SENTBEFORE: date of the message's header.
    SentBefore(SearchDate),
    /// SENTON: date of the message's header.
    SentOn(SearchDate),
    /// SENTSINCE: date of the message's header.
    SentSince(SearchDate),
    /// A set of sequence numbers.
    Sequence(SeqSet),
    /// SINCE: internal date.
    Since(SearchDate),
    /// SMALLER: octets.
    Smaller(u64),
    /// SUBJECT.
    Subject(Vec<u8>),
    /// TEXT.
    Text(Vec<u8>),
    /// TO.
    To(Vec<u8>),
    /// UID: a set of UIDs.
    Uid(SeqSet),
    /// UNANSWERED.
    Unanswered,
    /// UNDELETED.
    Undeleted,
    /// UNDRAFT.
    Undraft,
    /// UNFLAGGED.
    Unflagged,
    /// UNKEYWORD.
    Unkeyword(Flag),
    /// UNSEEN.
    Unseen,
    /// YOUNGER: so many seconds, at most, since the internal date (RFC 5032).
    Younger(u32),
}

impl SearchKey {
    /// Writes the program for one backend, without `SEARCH` and charset.
    ///
    /// `translate(set, by_uid)` gives the UIDs on that backend (`1:5,9`) of a set of the client's
    /// virtual UIDs, or of its sequence numbers; `None` when no message of the set lies there.
    ///
    /// The proxy never shows `\Recent`, so RECENT and NEW match nothing and OLD matches all. No
    /// server knows the proxy's EMAILIDs: what has one must have been named by UID before.
    pub fn rewrite(&self, translate: &impl Fn(&SeqSet, bool) -> Option<String>) -> Parts {
        let mut parts = Parts::new();
        match self {
            SearchKey::And(keys) => write_keys(keys, translate, &mut parts),
            key => key.write(translate, &mut parts),
        }
        parts
    }

    /// Whether any string of the program holds octets beyond ASCII, so that a charset matters.
    pub fn needs_charset(&self) -> bool {
        let mut beyond = false;
        self.walk(&mut |key| beyond |= key.strings().into_iter().any(|s| !s.is_ascii()));
        beyond
    }

    /// Whether flags decide over what is found, so that it may change.
    pub fn looks_at_flags(&self) -> bool {
        let mut flags = false;
        self.walk(&mut |key| {
            flags |= matches!(
                key,
                SearchKey::Answered
                    | SearchKey::Deleted
                    | SearchKey::Draft
                    | SearchKey::Flagged
                    | SearchKey::Keyword(_)
                    | SearchKey::ModSeq(_)
                    | SearchKey::Seen
                    | SearchKey::Unanswered
                    | SearchKey::Undeleted
                    | SearchKey::Undraft
                    | SearchKey::Unflagged
                    | SearchKey::Unkeyword(_)
                    | SearchKey::Unseen
            );
        });
        flags
    }

    /// Whether the program asks for changes by MODSEQ: then the answer tells one.
    pub fn asks_for_changes(&self) -> bool {
        let mut asks = false;
        self.walk(&mut |key| asks |= matches!(key, SearchKey::ModSeq(_)));
        asks
    }

    /// Shows every key of the program to `look`, the program itself first.
    pub fn walk(&self, look: &mut impl FnMut(&SearchKey)) {
        look(self);
        match self {
            SearchKey::And(keys) => keys.iter().for_each(|key| key.walk(look)),
            SearchKey::Not(key) => key.walk(look),
            SearchKey::Or(a, b) => {
                a.walk(look);
                b.walk(look);
            }
            _ => {}
        }
    }

    /// Gives every key of the program to `change`, the innermost first.
    pub fn walk_mut(&mut self, change: &mut impl FnMut(&mut SearchKey)) {
        match self {
            SearchKey::And(keys) => keys.iter_mut().for_each(|key| key.walk_mut(change)),
            SearchKey::Not(key) => key.walk_mut(change),
            SearchKey::Or(a, b) => {
                a.walk_mut(change);
                b.walk_mut(change);
            }
            _ => {}
        }
        change(self);
    }

    /// What is to be found in text, and so is written in the command's charset.
    fn strings(&self) -> Vec<&Vec<u8>> {
        match self {
            SearchKey::Bcc(s)
            | SearchKey::Body(s)
            | SearchKey::Cc(s)
            | SearchKey::From(s)
            | SearchKey::Subject(s)
            | SearchKey::Text(s)
            | SearchKey::To(s) => vec![s],
            SearchKey::Header(name, value) => vec![name, value],
            _ => Vec::new(),
        }
    }

    /// Converts what is to be found from the command's charset to UTF-8. False where some of it is
    /// not of that charset.
    pub fn decode(&mut self, charset: Charset) -> bool {
        let mut fits = true;
        self.walk_mut(&mut |key| match key {
            SearchKey::Bcc(s)
            | SearchKey::Body(s)
            | SearchKey::Cc(s)
            | SearchKey::From(s)
            | SearchKey::Subject(s)
            | SearchKey::Text(s)
            | SearchKey::To(s)
            | SearchKey::Header(_, s) => match charset.decode(s) {
                Some(text) => *s = text.into_owned(),
                None => fits = false,
            },
            _ => {}
        });
        fits
    }

    fn write(&self, translate: &impl Fn(&SeqSet, bool) -> Option<String>, parts: &mut Parts) {
        match self {
            SearchKey::Sequence(set) => write_set(translate(set, false), parts),
            SearchKey::Uid(set) => write_set(translate(set, true), parts),
            SearchKey::And(keys) => {
                parts.text("(");
                write_keys(keys, translate, parts);
                parts.text(")");
            }
            SearchKey::Not(key) => {
                let mut written = Parts::new();
                key.write(translate, &mut written);
                // Courier understands no NOT before another one.
                if !written.strip_prefix(b"NOT ") {
                    parts.text("NOT ");
                }
                parts.append(written);
            }
            SearchKey::Or(a, b) => {
                parts.text("OR ");
                a.write(translate, parts);
                parts.text(" ");
                b.write(translate, parts);
            }
            SearchKey::All | SearchKey::Old => _ = parts.text("ALL"),
            SearchKey::New | SearchKey::Recent | SearchKey::EmailId(_) => _ = parts.text(NOTHING),
            SearchKey::Answered => _ = parts.text("ANSWERED"),
            SearchKey::Deleted => _ = parts.text("DELETED"),
            SearchKey::Draft => _ = parts.text("DRAFT"),
            SearchKey::Flagged => _ = parts.text("FLAGGED"),
            SearchKey::Seen => _ = parts.text("SEEN"),
            SearchKey::Unanswered => _ = parts.text("UNANSWERED"),
            SearchKey::Undeleted => _ = parts.text("UNDELETED"),
            SearchKey::Undraft => _ = parts.text("UNDRAFT"),
            SearchKey::Unflagged => _ = parts.text("UNFLAGGED"),
            SearchKey::Unseen => _ = parts.text("UNSEEN"),
            SearchKey::Bcc(s) => _ = parts.text("BCC ").string(s),
            SearchKey::Body(s) => _ = parts.text("BODY ").string(s),
            SearchKey::Cc(s) => _ = parts.text("CC ").string(s),
            SearchKey::From(s) => _ = parts.text("FROM ").string(s),
            SearchKey::Subject(s) => _ = parts.text("SUBJECT ").string(s),
            SearchKey::Text(s) => _ = parts.text("TEXT ").string(s),
            SearchKey::To(s) => _ = parts.text("TO ").string(s),
            SearchKey::Header(name, value) => {
                parts.text("HEADER ").astring(name).text(" ").string(value);
            }
            SearchKey::Keyword(flag) => _ = parts.text("KEYWORD ").text(flag.as_str()),
            SearchKey::Unkeyword(flag) => _ = parts.text("UNKEYWORD ").text(flag.as_str()),
            SearchKey::Older(n) => _ = parts.text(&format!("OLDER {n}")),
            SearchKey::Younger(n) => _ = parts.text(&format!("YOUNGER {n}")),
            SearchKey::ModSeq(n) => _ = parts.text(&format!("MODSEQ {n}")),
            SearchKey::Larger(n) => _ = parts.text(&format!("LARGER {n}")),
            SearchKey::Smaller(n) => _ = parts.text(&format!("SMALLER {n}")),
            SearchKey::Before(date) => _ = parts.text(&format!("BEFORE {date}")),
            SearchKey::On(date) => _ = parts.text(&format!("ON {date}")),
            SearchKey::Since(date) => _ = parts.text(&format!("SINCE {date}")),
            SearchKey::SentBefore(date) => _ = parts.text(&format!("SENTBEFORE {date}")),
            SearchKey::SentOn(date) => _ = parts.text(&format!("SENTON {date}")),
            SearchKey::SentSince(date) => _ = parts.text(&format!("SENTSINCE {date}")),
        }
    }
}

fn write_keys(
    keys: &[SearchKey],
    translate: &impl Fn(&SeqSet, bool) -> Option<String>,
    parts: &mut Parts,
) {
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            parts.text(" ");
        }
        key.write(translate, parts);
    }
}

fn write_set(uids: Option<String>, parts: &mut Parts) {
    match uids {
        Some(uids) if !uids.is_empty() => parts.text("UID ").text(&uids),
        _ => parts.text(NOTHING),
    };
}

/// A key that matches no message; one key, so that it can stand after NOT and OR.
const NOTHING: &str = "NOT ALL";

/// A day of a search key: `1-Feb-1994` (RFC 3501 §9, `date-text`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SearchDate {
    year: u16,
    /// 1 to 12.
    month: u8,
    /// 1 to 31.
    day: u8,
}

impl SearchDate {
    /// A day. `None` for what no calendar could hold.
    pub fn new(year: u16, month: u8, day: u8) -> Option<SearchDate> {
        let fits = year <= 9999 && (1..=12).contains(&month) && (1..=31).contains(&day);
        fits.then_some(SearchDate { year, month, day })
    }
}

impl SearchDate {
    /// The day on which an instant (seconds since 1970) falls at Greenwich. `None` beyond the years
    /// that IMAP can write.
    pub fn of_instant(seconds: i64) -> Option<SearchDate> {
        let date = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?.date();
        let year = u16::try_from(date.year()).ok()?;
        SearchDate::new(year, date.month().into(), date.day())
    }
}

impl fmt::Display for SearchDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("Jan");
        write!(f, "{}-{month}-{:04}", self.day, self.year)
    }
}

/// The months as dates spell them (RFC 3501 §9, `date-month`).
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::{Command, parse};
    use crate::imap::write::Part;
    use crate::uid::Bound;

    fn key(program: &str) -> SearchKey {
        let line = format!("a SEARCH {program}");
        match parse(line.as_bytes()).unwrap().command {
            Command::Search { key, .. } => key,
            other => panic!("{other:?}"),
        }
    }

    /// UIDs are ten higher on that server; sequence numbers all mean its UID 7.
    fn translate(set: &SeqSet, by_uid: bool) -> Option<String> {
        match set.ranges().first() {
            Some((Bound::Number(n), _)) if by_uid && *n < 100 => Some(format!("{}", n + 10)),
            Some(_) if !by_uid => Some("7".to_owned()),
            _ => None,
        }
    }

    fn rewritten(program: &str) -> String {
        let parts = key(program).rewrite(&translate);
        let show = |part: &Part| match part {
            Part::Text(text) => String::from_utf8(text.clone()).unwrap(),
            Part::Literal(octets) => format!("<{}>", octets.escape_ascii()),
        };
        parts.as_slice().iter().map(show).collect()
    }

    #[test]
    fn sets_become_the_backends_uids() {
        assert_eq!(rewritten("UID 5"), "UID 15");
        assert_eq!(rewritten("1:* UNSEEN"), "UID 7 UNSEEN");
        assert_eq!(rewritten("OR UID 200 SEEN"), "OR NOT ALL SEEN");
        assert_eq!(rewritten("NOT UID 200"), "ALL");
        assert_eq!(rewritten("NOT NOT NOT SEEN NOT NOT UID 1"), "NOT SEEN UID 11");
        assert_eq!(rewritten("NOT (UID 1 3 SEEN)"), "NOT (UID 11 UID 7 SEEN)");
    }

    #[test]
    fn nothing_is_recent() {
        assert_eq!(rewritten("OR RECENT NEW"), "OR NOT ALL NOT ALL");
        assert_eq!(rewritten("OLD"), "ALL");
    }

    #[test]
    fn every_key_is_written_as_it_was_meant() {
        for program in [
            "ALL ANSWERED DELETED DRAFT FLAGGED SEEN",
            "UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN",
            r#"BCC "a" BODY "b" CC "c" FROM "d" SUBJECT "e" TEXT "f" TO "g h""#,
            r#"HEADER Message-ID "<1@example.com>" HEADER X-A """#,
            "KEYWORD $Forwarded UNKEYWORD domain.com",
            "LARGER 10 SMALLER 5000000000",
            "OR OLDER 3600 YOUNGER 4294967295",
            "BEFORE 1-Feb-1994 ON 2-Mar-2024 SINCE 31-Dec-1999",
            "SENTBEFORE 1-Jan-2000 SENTON 9-Sep-1999 SENTSINCE 10-Oct-2010",
            "OR (SEEN FLAGGED) NOT OR ANSWERED NOT (DRAFT DELETED)",
        ] {
            assert_eq!(rewritten(program), program);
            assert_eq!(key(&rewritten(program)), key(program));
        }
    }

    #[test]
    fn flags_are_looked_at_wherever_they_stand() {
        assert!(key("OR SUBJECT x NOT (1 UNKEYWORD a)").looks_at_flags());
        assert!(!key("OR SUBJECT seen NOT (1 OLDER 5)").looks_at_flags());
    }

    #[test]
    fn strings_are_converted_from_the_charset() {
        let latin1 = |octets: &[u8]| {
            let found = SearchKey::Subject(octets.to_vec());
            SearchKey::Or(Box::new(SearchKey::Not(Box::new(found))), Box::new(SearchKey::Seen))
        };
        let mut program = latin1(b"\xe9");
        assert!(program.decode(Charset::named("ISO-8859-1").unwrap()));
        assert_eq!(program, latin1("é".as_bytes()));
        assert!(!latin1(b"\xff").decode(Charset::named("EUC-JP").unwrap()));
    }

    #[test]
    fn an_instant_falls_on_a_day() {
        assert_eq!(SearchDate::of_instant(1_719_820_800), SearchDate::new(2024, 7, 1));
        assert_eq!(SearchDate::of_instant(-1), SearchDate::new(1969, 12, 31));
        assert_eq!(SearchDate::of_instant(i64::MAX), None);
    }

    #[test]
    fn strings_beyond_ascii_go_as_literals() {
        assert_eq!(rewritten("SUBJECT {2}\r\n\u{e9} SEEN"), "SUBJECT <\\xc3\\xa9> SEEN");
        assert!(key("NOT OR SEEN (TEXT {2}\r\n\u{e9})").needs_charset());
        assert!(!key("NOT OR SEEN (TEXT x)").needs_charset());
    }
}
