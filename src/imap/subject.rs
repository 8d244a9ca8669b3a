//! The base subject (RFC 5256 §2.1): what is left of a subject without replies, forwards and tags.

use super::collate::casemap;
use super::header::decoded;

/// The base subject of a message, and whether something was taken away that says "reply".
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BaseSubject {
    /// The text as the collation `i;unicode-casemap` compares it.
    pub text: Box<str>,
    /// The message is a reply or a forward.
    pub is_reply: bool,
}

/// Takes the base subject out of a Subject field.
///
/// ```abnf
/// subject      = *subj-leader [subj-middle] *subj-trailer       ; RFC 5256 §5
/// subj-refwd   = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
/// subj-blob    = "[" *BLOBCHAR "]" *WSP
/// subj-fwd     = subj-fwd-hdr subject subj-fwd-trl
/// subj-fwd-hdr = "[fwd:"
/// subj-fwd-trl = "]"
/// subj-leader  = (*subj-blob subj-refwd) / WSP
/// subj-trailer = "(fwd)" / WSP
/// ```
pub fn base_subject(field: &[u8]) -> BaseSubject {
    // Step 1; in titlecase, so that what is looked for stands in capitals.
    let text = casemap(&decoded(field));
    let text = text.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty());
    let text = text.collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    let mut is_reply = false;
    loop {
        rest = without_trailers(rest, &mut is_reply);
        rest = without_leaders(rest, &mut is_reply);
        // Step 6.
        match rest.strip_prefix("[FWD:").and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => rest = inner,
            None => return BaseSubject { text: rest.into(), is_reply },
        }
        is_reply = true;
    }
}

/// Step 2: trailers, as many as there are.
fn without_trailers<'a>(text: &'a str, is_reply: &mut bool) -> &'a str {
    let mut rest = text.trim_end_matches(' ');
    while let Some(before) = rest.strip_suffix("(FWD)") {
        *is_reply = true;
        rest = before.trim_end_matches(' ');
    }
    rest
}

/// Steps 3 to 5: leaders, and blobs that do not stand alone.
fn without_leaders<'a>(text: &'a str, is_reply: &mut bool) -> &'a str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(' ');
        if let Some(behind) = behind_leader(rest) {
            *is_reply = true;
            rest = behind;
            continue;
        }
        match behind_blob(rest) {
            Some(behind) if !behind.is_empty() => rest = behind,
            _ => return rest,
        }
    }
}

/// What follows `*subj-blob subj-refwd`.
fn behind_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(behind) = behind_blob(rest) {
        rest = behind;
    }
    let words = ["RE", "FWD", "FW"];
    let rest = words.iter().find_map(|word| rest.strip_prefix(word))?.trim_start_matches(' ');
    behind_blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// What follows `subj-blob`.
fn behind_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let behind = inner.get(end..)?.strip_prefix(']')?;
    Some(behind.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(subject: &str) -> (String, bool) {
        let base = base_subject(subject.as_bytes());
        (base.text.into_string(), base.is_reply)
    }

    #[test]
    fn what_is_no_subject_is_taken_away() {
        for (subject, text, is_reply) in [
            ("Re: hello", "HELLO", true),
            ("hello", "HELLO", false),
            ("  re :\t hello (fwd) (FWD) ", "HELLO", true),
            ("Re[2]: hello", "HELLO", true),
            ("Re [2] : hello", "HELLO", true),
            ("[list] hello", "HELLO", false),
            ("[list] [other]Re: [list] hello", "HELLO", true),
            ("fwd: FW: Re: hello", "HELLO", true),
            ("[Fwd: Re: hello (fwd)]", "HELLO", true),
            ("[Fwd: [Fwd: hello]]", "HELLO", true),
            ("[list]", "[LIST]", false),
            ("Re: [list]", "[LIST]", true),
            ("[a [b] c", "[A [B] C", false),
            ("Regarding: x", "REGARDING: X", false),
            ("Re: ", "", true),
            ("", "", false),
            ("(fwd)", "", true),
            ("=?utf-8?q?Re:_Gr=C3=BC=C3=9Fe?=", "GRU\u{308}ßE", true),
            ("=?utf-8?q?Re?=: a", "A", true),
        ] {
            assert_eq!(base(subject), (text.to_owned(), is_reply), "{subject:?}");
        }
    }

    proptest! {
        #[test]
        fn a_base_subject_is_its_own(subject in "([Rr]e|[Ff]wd?|\\[|\\]|:|\\(fwd\\)| |a|B){0,14}") {
            let (text, _) = base(&subject);
            prop_assert_eq!(base(&text).0, text);
        }
    }
}
