//! Pairing, against what a naive comparison of every message with every other one says.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::pair::{Alike, Contents, Pair, by_content, by_headers, compare};
use super::print::{Content, Print};
use crate::uid::SideUid;

/// A message: what its headers hash to, its size, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Message {
    id: u64,
    head: u64,
    size: u32,
    content: u8,
}

fn print(uid: u32, message: &Message) -> Print {
    let Message { id, head, size, .. } = *message;
    Print { uid: SideUid(uid), size, date: 0, id, head }
}

fn prints(messages: &[Message]) -> Vec<Print> {
    (1..).zip(messages).map(|(uid, message)| print(uid, message)).collect()
}

fn contents(messages: &[Message]) -> HashMap<SideUid, Content> {
    let content = |m: &Message| Content { text: [m.content; 32], ..Content::default() };
    (1..).zip(messages).map(|(uid, message)| (SideUid(uid), content(message))).collect()
}

/// Equal content means equal headers and nearly equal size, as it does for real messages.
fn any_messages() -> impl Strategy<Value = Vec<Message>> {
    let message = (0u8..6, prop::bool::ANY).prop_map(|(content, tool)| Message {
        id: u64::from(content / 3),
        head: u64::from(content / 2),
        size: 1000 * u32::from(content / 4) + 22 * u32::from(tool),
        content,
    });
    prop::collection::vec(message, 0..12)
}

proptest! {
    #[test]
    fn v3_as_many_are_paired_as_are_equal_and_no_others(old in any_messages(), new in any_messages()) {
        let compared = compare(prints(&old), prints(&new));
        let contents = Contents { old: contents(&old), new: contents(&new) };
        let pairs: Vec<Pair> =
            compared.alike.iter().flat_map(|group| by_content(group, &contents)).collect();
        for pair in &pairs {
            prop_assert_eq!(contents.old[&pair.old], contents.new[&pair.new]);
        }
        let olds: BTreeSet<SideUid> = pairs.iter().map(|pair| pair.old).collect();
        let news: BTreeSet<SideUid> = pairs.iter().map(|pair| pair.new).collect();
        prop_assert_eq!((olds.len(), news.len()), (pairs.len(), pairs.len()), "none has two partners");
        let most: usize = (0..6)
            .map(|content| {
                let count = |side: &[Message]| side.iter().filter(|m| m.content == content).count();
                count(&old).min(count(&new))
            })
            .sum();
        prop_assert_eq!(pairs.len(), most);
        prop_assert!(news.iter().all(|uid| !compared.alone.contains(*uid)));
        // Each message of new is either alone or alike, once.
        let mut told: Vec<SideUid> = compared.alone.iter().collect();
        told.extend(compared.alike.iter().flat_map(|group| group.new.iter().map(|p| p.uid)));
        told.sort_unstable();
        prop_assert_eq!(told, (1..).map(SideUid).take(new.len()).collect::<Vec<_>>());
    }

    #[test]
    fn headers_alone_pair_none_twice(old in any_messages(), new in any_messages()) {
        for group in compare(prints(&old), prints(&new)).alike {
            let pairs = by_headers(&group).unwrap_or_default();
            let olds: BTreeSet<SideUid> = pairs.iter().map(|pair| pair.old).collect();
            let news: BTreeSet<SideUid> = pairs.iter().map(|pair| pair.new).collect();
            prop_assert_eq!((olds.len(), news.len()), (pairs.len(), pairs.len()));
        }
    }
}

const ONE: Message = Message { id: 7, head: 8, size: 500, content: 1 };

fn group(old: &[Message], new: &[Message]) -> Alike {
    Alike { old: prints(old), new: prints(new) }
}

#[test]
fn headers_pair_only_where_they_leave_no_doubt() {
    let pair = |old, new| Pair { old: SideUid(old), new: SideUid(new), altered: false };
    let larger = Message { size: 522, ..ONE };
    let other = Message { size: 900, ..ONE };
    let nameless = Message { id: 0, ..ONE };
    let altered = Pair { altered: true, ..pair(1, 1) };
    assert_eq!(by_headers(&group(&[ONE], &[larger])), Some(vec![altered]));
    assert_eq!(
        by_headers(&group(&[ONE, other], &[other, ONE])),
        Some(vec![pair(1, 2), pair(2, 1)])
    );
    assert_eq!(by_headers(&group(&[ONE, other], &[other])), Some(vec![pair(2, 1)]));
    for doubtful in [
        group(&[ONE], &[other]),
        group(&[ONE, ONE], &[ONE]),
        group(&[ONE, other], &[larger]),
        group(&[nameless], &[nameless]),
    ] {
        assert_eq!(by_headers(&doubtful), None, "{doubtful:?}");
    }
}

#[test]
fn of_equal_messages_those_of_one_date_belong_together() {
    let dated = |uid, date| Print { date, ..print(uid, &ONE) };
    let group =
        Alike { old: vec![dated(1, 10), dated(2, 20)], new: vec![dated(5, 20), dated(6, 10)] };
    let same = Content::default();
    let content = |uids: [u32; 2]| uids.map(|uid| (SideUid(uid), same)).into_iter().collect();
    let contents = Contents { old: content([1, 2]), new: content([5, 6]) };
    let pair = |old, new| Pair { old: SideUid(old), new: SideUid(new), altered: false };
    assert_eq!(by_content(&group, &contents), [pair(1, 6), pair(2, 5)]);
}
