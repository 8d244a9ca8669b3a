//! What is a difference between two servers' accounts of one message. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::backend::internal_date;
use crate::imap::fetch_scan::flags;

/// Something that is not as it should be, of one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The account's canonical name.
    pub account: String,
    /// The mailbox as its client reads it.
    pub mailbox: String,
    /// What is wrong.
    pub kind: Kind,
    /// Whether it was asked for to be let pass.
    pub ignored: bool,
    /// The UID that clients see, of a message that they see.
    pub uid: Option<u32>,
    /// Its UID on old.
    pub old_uid: Option<u32>,
    /// Its UID on new.
    pub new_uid: Option<u32>,
    /// Message-ID, as it stands in the message.
    pub message_id: Option<String>,
    /// INTERNALDATE, as the server that has the message tells it; old, where both have it.
    pub date: Option<String>,
    /// Subject, decoded.
    pub subject: Option<String>,
    /// In what it differs, as a person reads it.
    pub detail: String,
}

impl Difference {
    /// What its fields are called where they stand in a table, in their order.
    pub const COLUMNS: [&'static str; 11] = [
        "account",
        "mailbox",
        "kind",
        "ignored",
        "uid",
        "old_uid",
        "new_uid",
        "message_id",
        "date",
        "subject",
        "detail",
    ];
}

/// What can be wrong with a message.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is on old and not on new.
    Missing,
    /// Its copy on new has another size or content.
    Different,
    /// Its copy has other flags or keywords.
    Flags,
    /// Its copy has another INTERNALDATE.
    Date,
    /// It is on new, nobody sees it, and it is nobody's copy.
    Extra,
    /// Its copy is the same but for what servers and copying tools are known to change: line ends, the
    /// header that mbsync adds, and what either server wrote of the delivery. Never counted as a difference.
    Altered,
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::Different => "different",
            Kind::Flags => "flags",
            Kind::Date => "date",
            Kind::Extra => "extra",
            Kind::Altered => "altered",
        }
    }
}

/// What one server tells of a message beside its content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// FLAGS, with parentheses.
    pub flags: Vec<u8>,
    /// INTERNALDATE without quotes.
    pub date: Vec<u8>,
    /// RFC822.SIZE.
    pub size: u64,
}

impl Told {
    /// The date as text.
    pub(super) fn date_text(&self) -> String {
        self.date.escape_ascii().to_string().trim().to_owned()
    }
}

/// Two deliveries of one message are not further apart, in seconds. A server that errs in its zone errs by more.
const APART: u64 = 600;

/// What differs in flags and dates, each with the words for it.
pub(super) fn differ(old: &Told, new: &Told) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    let (on_old, on_new) = (flag_set(&old.flags), flag_set(&new.flags));
    if on_old != on_new {
        let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
            let list: Vec<&str> = these.difference(those).map(String::as_str).collect();
            if list.is_empty() { "nothing more".to_owned() } else { list.join(" ") }
        };
        let detail =
            format!("old has {}, new has {}", only(&on_old, &on_new), only(&on_new, &on_old));
        found.push((Kind::Flags, detail));
    }
    let (on_old, on_new) = (internal_date(&old.date), internal_date(&new.date));
    if on_old != on_new || (on_old.is_none() && old.date != new.date) {
        let detail = format!("old has {}, new has {}", old.date_text(), new.date_text());
        // Of what was delivered to both, each server notes when it got it.
        let near = on_old.zip(on_new).is_some_and(|(old, new)| old.abs_diff(new) <= APART);
        found.push((if near { Kind::Altered } else { Kind::Date }, detail));
    }
    found
}

/// Flags as a set: case means nothing (RFC 3501 §2.3.2), and `\Recent` is no property of a message.
fn flag_set(list: &[u8]) -> BTreeSet<String> {
    flags(list)
        .map(|flag| flag.escape_ascii().to_string().replace("\\\\", "\\").to_ascii_lowercase())
        .filter(|flag| flag != "\\recent")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(flags: &str, date: &str) -> Told {
        Told { flags: flags.into(), date: date.into(), size: 1 }
    }

    #[test]
    fn one_message_told_in_two_ways_is_no_difference() {
        let old = told("(\\Seen $Label1 \\Recent)", " 1-Jul-2024 10:00:00 +0200");
        let new = told("($label1 \\seen)", "01-Jul-2024 08:00:00 +0000");
        assert_eq!(differ(&old, &new), []);
    }

    #[test]
    fn flags_and_dates_that_differ_are_named() {
        let old = told("(\\Seen)", " 1-Jul-2024 10:00:00 +0200");
        let new = told("(\\Flagged \\Seen)", " 1-Jul-2024 10:00:00 +0000");
        let flags = "old has nothing more, new has \\flagged".to_owned();
        let dates =
            "old has 1-Jul-2024 10:00:00 +0200, new has 1-Jul-2024 10:00:00 +0000".to_owned();
        assert_eq!(differ(&old, &new), [(Kind::Flags, flags), (Kind::Date, dates)]);
        let nonsense = |date| differ(&told("()", date), &told("()", "x"));
        assert_eq!(nonsense("x"), []);
        assert_eq!(nonsense("y").len(), 1);
    }
}
