//! Headers by which messages are sorted and threaded: whatever the octets, nothing panics, and
//! every message is in the result once.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use mailferry::imap::command::{SortCriterion, SortKey, ThreadAlgorithm};
use mailferry::imap::sort::{Keys, Told, sort};
use mailferry::imap::thread::{Forest, Ids, Links};

fuzz_target!(|data: &[u8]| {
    let fields: Vec<Vec<u8>> = data
        .split(|b| *b == 0)
        .map(|block| [format!("{{{}}}\r\n", block.len()).as_bytes(), block].concat())
        .collect();
    let criteria: Vec<SortCriterion> = SortKey::ALL
        .into_iter()
        .zip([true, false].into_iter().cycle())
        .map(|(key, reverse)| SortCriterion { reverse, key })
        .collect();
    let keys = |message| Keys::new(&criteria, &told(data, message));
    let mut sorted: Vec<(usize, Keys)> =
        fields.iter().enumerate().map(|message| (message.0, keys(message))).collect();
    sort(&criteria, &mut sorted);
    let there: BTreeSet<usize> = sorted.iter().map(|(n, _)| *n).collect();
    assert_eq!(there.len(), fields.len());

    let mut ids = Ids::default();
    let links: Vec<Links> = fields
        .iter()
        .enumerate()
        .map(|message| Links::new(&told(data, message), &mut ids))
        .collect();
    for algorithm in ThreadAlgorithm::ALL {
        let mut out = Vec::new();
        let number = |n: usize| u32::try_from(n).unwrap();
        Forest::new(algorithm, &links).write(number, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
        let mut numbers: Vec<usize> = numbers.map(|n| n.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..links.len()).collect::<Vec<_>>(), "{text}");
    }
});

/// The n-th message: its header, and an ENVELOPE that is any of the octets.
fn told<'a>(data: &'a [u8], (n, header): (usize, &'a Vec<u8>)) -> Told<'a> {
    let envelope = data.get(n * 7..).unwrap_or_default();
    Told { arrival: i64::try_from(n).ok(), envelope, header, ..Told::default() }
}
