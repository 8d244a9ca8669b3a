//! SORT (RFC 5256): what messages are sorted by, and the sorting itself. Pure.
//!
//! Keys are computed one message at a time from what a server answered, so that nothing but keys
//! is kept. Messages that come from two servers are sorted as one server would: by the same rules,
//! whatever each of the servers thinks of a subject or a date.

use std::cmp::Ordering;
use std::fmt;

use super::collate::casemap;
use super::envelope::{AddressField, first_address};
use super::header::{decoded, field, sent_date};
use super::scan::Scan;
use super::subject::base_subject;

/// One key of a SORT, as the client gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SortCriterion {
    /// REVERSE stands before it.
    pub reverse: bool,
    /// By what.
    pub key: SortKey,
}

/// Writes `sort-criterion` (RFC 5256 §5).
impl fmt::Display for SortCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reverse = if self.reverse { "REVERSE " } else { "" };
        write!(f, "{reverse}{}", self.key.as_str())
    }
}

/// By what messages are sorted (RFC 5256 §3; the names to display: RFC 5957).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SortKey {
    /// ARRIVAL: internal date and time.
    Arrival,
    /// CC: mailbox of the first address.
    Cc,
    /// DATE: date and time it was sent.
    Date,
    /// DISPLAYFROM: name to display of the first address in From.
    DisplayFrom,
    /// DISPLAYTO: name to display of the first address in To.
    DisplayTo,
    /// FROM: mailbox of the first address.
    From,
    /// SIZE: octets.
    Size,
    /// SUBJECT: base subject.
    Subject,
    /// TO: mailbox of the first address.
    To,
}

impl SortKey {
    /// Every key.
    pub const ALL: [SortKey; 9] = [
        SortKey::Arrival,
        SortKey::Cc,
        SortKey::Date,
        SortKey::DisplayFrom,
        SortKey::DisplayTo,
        SortKey::From,
        SortKey::Size,
        SortKey::Subject,
        SortKey::To,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SortKey::Arrival => "ARRIVAL",
            SortKey::Cc => "CC",
            SortKey::Date => "DATE",
            SortKey::DisplayFrom => "DISPLAYFROM",
            SortKey::DisplayTo => "DISPLAYTO",
            SortKey::From => "FROM",
            SortKey::Size => "SIZE",
            SortKey::Subject => "SUBJECT",
            SortKey::To => "TO",
        }
    }
}

/// What a server told of a message, as far as it was asked.
#[derive(Clone, Copy, Default, Debug)]
pub struct Told<'a> {
    /// INTERNALDATE, as seconds since 1970.
    pub arrival: Option<i64>,
    /// RFC822.SIZE.
    pub size: Option<u64>,
    /// MODSEQ, as the message's server counts.
    pub mod_seq: Option<u64>,
    /// ENVELOPE, as it came.
    pub envelope: &'a [u8],
    /// The header fields asked for, as the `nstring` in which they came.
    pub header: &'a [u8],
}

impl Told<'_> {
    /// The octets of the header fields.
    pub(super) fn fields(&self) -> Vec<u8> {
        Scan::new(self.header).nstring().flatten().unwrap_or_default().into_owned()
    }
}

/// Asks only for so much of the header: beyond lies nothing that a person wrote.
const MAX_HEADER: u32 = 64 << 10;

/// A FETCH item for these header fields.
pub(super) fn header_item(fields: &[&str]) -> String {
    format!("BODY.PEEK[HEADER.FIELDS ({})]<0.{MAX_HEADER}>", fields.join(" "))
}

/// The FETCH items from which the keys are computed.
pub fn items(criteria: &[SortCriterion]) -> String {
    let wants = |keys: &[SortKey]| criteria.iter().any(|criterion| keys.contains(&criterion.key));
    let mut items = Vec::new();
    let mut fields = Vec::new();
    if wants(&[SortKey::Arrival, SortKey::Date]) {
        items.push("INTERNALDATE".to_owned());
    }
    if wants(&[SortKey::Size]) {
        items.push("RFC822.SIZE".to_owned());
    }
    if wants(&[SortKey::Date]) {
        fields.push("DATE");
    }
    if wants(&[SortKey::Subject]) {
        fields.push("SUBJECT");
    }
    let addresses =
        [SortKey::Cc, SortKey::DisplayFrom, SortKey::DisplayTo, SortKey::From, SortKey::To];
    if wants(&addresses) {
        items.push("ENVELOPE".to_owned());
    }
    if !fields.is_empty() {
        items.push(header_item(&fields));
    }
    items.join(" ")
}

/// A message's keys, one a criterion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys(Box<[Key]>);

/// Keys of one criterion are of one kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Number(i64),
    Text(Box<str>),
}

impl Keys {
    /// Computes the keys of a message.
    pub fn new(criteria: &[SortCriterion], told: &Told<'_>) -> Keys {
        let fields = told.fields();
        Keys(criteria.iter().map(|criterion| key(criterion.key, told, &fields)).collect())
    }

    /// Memory they hold, about.
    pub fn octets(&self) -> usize {
        let text = |key: &Key| match key {
            Key::Number(_) => 0,
            Key::Text(text) => text.len(),
        };
        self.0.iter().map(|key| size_of::<Key>() + text(key)).sum()
    }
}

fn key(key: SortKey, told: &Told<'_>, fields: &[u8]) -> Key {
    let mailbox = |field| {
        let address = first_address(told.envelope, field);
        address.map(|a| casemap(&String::from_utf8_lossy(&a.mailbox))).unwrap_or_default()
    };
    match key {
        SortKey::Arrival => Key::Number(told.arrival.unwrap_or(0)),
        SortKey::Date => Key::Number(sent(fields, told.arrival)),
        SortKey::Size => Key::Number(i64::try_from(told.size.unwrap_or(0)).unwrap_or(i64::MAX)),
        SortKey::Subject => {
            Key::Text(base_subject(&field(fields, "Subject").unwrap_or_default()).text)
        }
        SortKey::From => Key::Text(mailbox(AddressField::From).into()),
        SortKey::To => Key::Text(mailbox(AddressField::To).into()),
        SortKey::Cc => Key::Text(mailbox(AddressField::Cc).into()),
        SortKey::DisplayFrom => Key::Text(display(told.envelope, AddressField::From).into()),
        SortKey::DisplayTo => Key::Text(display(told.envelope, AddressField::To).into()),
    }
}

/// The date and time a message was sent, or that of its arrival where it tells none
/// (RFC 5256 §2.2).
pub(super) fn sent(fields: &[u8], arrival: Option<i64>) -> i64 {
    let date = field(fields, "Date").and_then(|value| sent_date(&value));
    date.or(arrival).unwrap_or(0)
}

/// The name to display of the first address: its own, else the address itself (RFC 5957 §3).
fn display(envelope: &[u8], field: AddressField) -> String {
    let Some(address) = first_address(envelope, field) else { return String::new() };
    let name = casemap(&decoded(&address.name));
    if !name.is_empty() {
        return name;
    }
    let mailbox = String::from_utf8_lossy(&address.mailbox);
    if address.host.is_empty() {
        // A group, by its name.
        return casemap(&mailbox);
    }
    casemap(&format!("{mailbox}@{}", String::from_utf8_lossy(&address.host)))
}

/// Sorts messages, which come in the order of their sequence numbers: that decides where all keys
/// are equal (RFC 5256 §3).
pub fn sort<T>(criteria: &[SortCriterion], messages: &mut [(T, Keys)]) {
    messages.sort_by(|(_, a), (_, b)| compare(criteria, a, b));
}

fn compare(criteria: &[SortCriterion], a: &Keys, b: &Keys) -> Ordering {
    let each = criteria.iter().zip(a.0.iter().zip(&b.0)).map(|(criterion, (a, b))| {
        let order = a.cmp(b);
        if criterion.reverse { order.reverse() } else { order }
    });
    each.fold(Ordering::Equal, Ordering::then)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by(key: SortKey, reverse: bool) -> SortCriterion {
        SortCriterion { reverse, key }
    }

    fn told(header: &'static str) -> Told<'static> {
        Told { arrival: Some(1000), size: Some(5), header: header.as_bytes(), ..Told::default() }
    }

    fn order(criteria: &[SortCriterion], messages: &[Told<'_>]) -> Vec<usize> {
        let mut keyed: Vec<_> =
            messages.iter().enumerate().map(|(n, m)| (n, Keys::new(criteria, m))).collect();
        sort(criteria, &mut keyed);
        keyed.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn only_what_is_needed_is_asked_for() {
        assert_eq!(items(&[by(SortKey::Size, true)]), "RFC822.SIZE");
        assert_eq!(items(&[by(SortKey::Arrival, false)]), "INTERNALDATE");
        assert_eq!(
            items(&[by(SortKey::Subject, false), by(SortKey::Date, false), by(SortKey::To, true)]),
            "INTERNALDATE ENVELOPE BODY.PEEK[HEADER.FIELDS (DATE SUBJECT)]<0.65536>"
        );
    }

    #[test]
    fn equal_keys_leave_the_next_one_to_decide_and_then_the_number() {
        let messages = [
            told("\"Subject: b\r\n\""),
            told("{14}\r\nSubject: Re: a"),
            told("\"subject: A\""),
            told("NIL"),
        ];
        assert_eq!(order(&[by(SortKey::Subject, false)], &messages), [3, 1, 2, 0]);
        assert_eq!(order(&[by(SortKey::Subject, true)], &messages), [0, 1, 2, 3]);
        assert_eq!(order(&[by(SortKey::Size, true)], &messages), [0, 1, 2, 3]);
    }

    #[test]
    fn a_date_that_is_none_is_that_of_arrival() {
        let messages = [
            told("\"Date: 1 Jan 1970 00:16:41 +0000\""),
            told("\"Date: yesterday\""),
            told("\"Date: 1 Jan 1970 00:16:39 +0000\""),
        ];
        assert_eq!(order(&[by(SortKey::Date, false)], &messages), [2, 1, 0]);
    }

    #[test]
    fn names_are_displayed_or_else_addresses() {
        let display = |envelope: &str| {
            let envelope = format!("(NIL NIL {envelope} NIL NIL NIL NIL NIL NIL NIL)");
            super::display(envelope.as_bytes(), AddressField::From)
        };
        assert_eq!(display(r#"(("=?utf-8?q?=C3=A4nn?=" NIL "x" "y"))"#), "A\u{308}NN");
        assert_eq!(display(r#"((NIL NIL "ann" "y.org"))"#), "ANN@Y.ORG");
        assert_eq!(display(r#"(("" NIL "ann" "y.org"))"#), "ANN@Y.ORG");
        assert_eq!(display(r#"((NIL NIL "team" NIL)(NIL NIL "a" "b"))"#), "TEAM");
        assert_eq!(display("NIL"), "");
    }

    proptest! {
        #[test]
        fn reverse_turns_all_but_equals_around(sizes in proptest::collection::vec(0u64..5, 0..20)) {
            let messages: Vec<_> =
                sizes.iter().map(|&size| Told { size: Some(size), ..Told::default() }).collect();
            let up = order(&[by(SortKey::Size, false)], &messages);
            let down = order(&[by(SortKey::Size, true)], &messages);
            prop_assert!(up.windows(2).all(|w| (sizes[w[0]], w[0]) < (sizes[w[1]], w[1])));
            let key = |n: &usize| (u64::MAX - sizes[*n], *n);
            prop_assert!(down.windows(2).all(|w| key(&w[0]) < key(&w[1])));
        }
    }
}
