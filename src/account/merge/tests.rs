//! Reports of several connections, in an order that differs from the one in which they were made.

use std::collections::BTreeMap;

use super::{Distrust, Merged, Report};
use crate::base::{MailboxName, Side, Sides};
use crate::index::{MailboxId, MailboxRecord, Snapshot};
use crate::uid::{SideUid, Uid, UidMap, UidSet};

const NOW: u64 = 1_790_000_000;

fn set(text: &str) -> UidSet<SideUid> {
    UidSet::parse(text.as_bytes()).unwrap()
}

fn snapshot(uid_next: u32, messages: u32) -> Snapshot {
    Snapshot { uid_validity: 7, uid_next: SideUid(uid_next), messages, highest_mod_seq: None }
}

/// What a connection tells that has just selected the mailbox.
fn listing(
    merged: &mut Merged,
    before: Option<Snapshot>,
    uid_next: u32,
    announced: &str,
) -> Result<bool, Distrust> {
    let announced = set(announced);
    let report = Report {
        snapshot: snapshot(uid_next, announced.len()),
        before,
        announced: &announced,
        complete: true,
        vanished: &UidSet::new(),
        hold: &BTreeMap::new(),
    };
    merged.see(Side::New, &report, NOW)
}

/// A mailbox that has seen these messages on new.
fn seen(uid_next: u32, announced: &str) -> Merged {
    let record = MailboxRecord {
        id: MailboxId(1),
        client: MailboxName::inbox(),
        old: None,
        new: Some(MailboxName::inbox()),
        uid_validity: 7,
        uid_next: Uid(1),
        boundary: None,
        sides: Sides::default(),
        mod_seq: 1,
        checkpoints: Vec::new(),
        hidden: false,
    };
    let mut merged = Merged::new(record, UidMap::default(), BTreeMap::new());
    listing(&mut merged, None, uid_next, announced).unwrap();
    merged
}

#[test]
fn a_listing_from_before_an_append_is_late_and_not_a_backup() {
    let mut merged = seen(21, "1:20");
    let before = merged.record.sides.new;
    // The connection selects; before its listing is taken, another one appends.
    merged.claim(Side::New, SideUid(21), NOW).unwrap();
    assert!(listing(&mut merged, before, 21, "1:20").is_ok());
    assert_eq!(merged.map.len(), 21, "nothing is taken away");
    assert_eq!(merged.record.sides.new.unwrap().uid_next, SideUid(22));
}

#[test]
fn a_listing_that_lacks_what_was_known_before_it_is_a_restored_backup() {
    let mut merged = seen(21, "1:20");
    let before = merged.record.sides.new;
    let why = listing(&mut merged, before, 19, "1:18").unwrap_err();
    assert!(matches!(why, Distrust::WentBack { side: Side::New, .. }), "{why}");
    assert_eq!(merged.map.len(), 20, "nothing is taken away");
}

#[test]
fn a_late_listing_leaves_no_set_that_only_has_the_right_size() {
    let mut merged = seen(21, "1:20");
    let before = merged.record.sides.new;
    // After the listing was made, one message came and another one went.
    merged.claim(Side::New, SideUid(21), NOW).unwrap();
    merged.expunged(Side::New, &set("20"));
    listing(&mut merged, before, 21, "1:20").unwrap();
    let snapshot = merged.record.sides.new.unwrap();
    let live = merged.live.new.clone().unwrap();
    // SELECT shows 20 messages and UIDNEXT 22, and spares the listing if that is what is known.
    let believed = (snapshot.messages, snapshot.uid_next) == (20, SideUid(22));
    assert!(!believed || live == set("1:19,21"), "{snapshot:?} {live}");
}
