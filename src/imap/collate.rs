//! The collation `i;unicode-casemap` (RFC 5051): text made such that its octets compare.

use unicode_normalization::char::decompose_compatible;

/// The text in titlecase, character by character, and decomposed (RFC 5051 §2.3): equal for
/// strings that shall be taken for the same, and in order octet by octet.
pub fn casemap(text: &str) -> String {
    let mut mapped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0'..='\x7f' => mapped.push(c.to_ascii_uppercase()),
            c => decompose_compatible(titlecase(c), |part| mapped.push(part)),
        }
    }
    mapped
}

/// The simple titlecase mapping of a character. It is that of uppercase, the exceptions are told
/// here.
fn titlecase(c: char) -> char {
    match c {
        // Letters of two: DŽ, Dž and dž become Dž.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals, but no titles.
        '\u{10d0}'..='\u{10ff}' => c,
        // Greek with iota below: one letter in titlecase, two in uppercase.
        '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(c) | 8).unwrap_or(c),
        '\u{1fb3}' => '\u{1fbc}',
        '\u{1fc3}' => '\u{1fcc}',
        '\u{1ff3}' => '\u{1ffc}',
        c => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                // What becomes several letters has no simple mapping.
                _ => c,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_composition_do_not_count() {
        for (a, b) in [
            ("Grün", "gRÜN"),
            ("e\u{301}", "\u{c9}"),
            ("ǆ", "Ǆ"),
            ("ᾳ", "ᾼ"),
            ("Ⅷ", "ⅷ"),
            ("Ⅷ", "VIII"),
            ("각", "\u{1100}\u{1161}\u{11a8}"),
        ] {
            assert_eq!(casemap(a), casemap(b), "{a} {b}");
        }
        assert_ne!(casemap("ß"), casemap("ss"));
        // Only what has a letter for its title is put into titlecase, before it is taken apart.
        assert_eq!(casemap("ﬁ"), "fi");
        assert_eq!(casemap("ა"), "ა");
    }

    #[test]
    fn letters_with_marks_stand_beside_those_without() {
        let mut words = ["zoo", "Über", "Uber", "apfel", "Äpfel", "Zebra"];
        words.sort_by_key(|word| casemap(word));
        assert_eq!(words, ["apfel", "Äpfel", "Uber", "Über", "Zebra", "zoo"]);
    }

    proptest! {
        #[test]
        fn every_character_is_mapped_by_itself(text in "\\PC{0,20}", more in "\\PC{0,20}") {
            prop_assert_eq!(casemap(&text) + &casemap(&more), casemap(&(text + &more)));
        }
    }
}
