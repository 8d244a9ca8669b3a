//! Reports of several connections, in an order that differs from the one in which they were made.

use std::collections::BTreeMap;

use super::{Distrust, Likeness, Merged, Report, date_of};
use crate::account::matching::Pair;
use crate::account::test_record;
use crate::base::{Phase, Side, Sides};
use crate::index::{Intent, ListedAs, Snapshot};
use crate::uid::{Place, SideUid, Uid, UidMap, UidSet};

const NOW: u64 = 1_790_000_000;

fn set(text: &str) -> UidSet<SideUid> {
    if text.is_empty() { UidSet::new() } else { UidSet::parse(text.as_bytes()).unwrap() }
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
    listing_as(merged, before, uid_next, announced, true)
}

fn listing_as(
    merged: &mut Merged,
    before: Option<Snapshot>,
    uid_next: u32,
    announced: &str,
    matching: bool,
) -> Result<bool, Distrust> {
    let announced = set(announced);
    let report = Report {
        snapshot: snapshot(uid_next, announced.len()),
        before,
        announced: &announced,
        complete: true,
        vanished: &UidSet::new(),
        hold: &BTreeMap::new(),
        incarnation: merged.incarnations.new,
        matching,
    };
    merged.see(Side::New, &report, NOW)
}

/// A mailbox that has seen these messages on new.
fn seen(uid_next: u32, announced: &str) -> Merged {
    let mut merged = Merged::new(test_record(), UidMap::default(), Sides::default(), Phase::Merged);
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
    let mut doubtful = merged.clone();
    let why = listing_as(&mut doubtful, merged.record.sides.new, 19, "1:18", false).unwrap_err();
    assert!(matches!(why, Distrust::WentBack { side: Side::New, .. }), "{why}");
    assert_eq!(doubtful.map.len(), 20, "nothing is taken away");

    let before = merged.record.sides.new;
    let known = merged.map.uids();
    assert!(listing(&mut merged, before, 19, "1:18").unwrap());
    assert_eq!(merged.map.side_uids(Side::New), set("1:18"), "or what it lacks is gone");
    assert_eq!(merged.record.sides.new.unwrap().uid_next, SideUid(19));
    // What gets its UIDs on new is another message.
    let before = merged.record.sides.new;
    listing(&mut merged, before, 20, "1:19").unwrap();
    let again = merged.map.uid_of(Side::New, SideUid(19)).unwrap();
    assert!(!known.contains(again), "{again}");
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

/// What a connection tells that has just selected old's mailbox.
fn listing_of_old(merged: &mut Merged, uid_next: u32, announced: &str, complete: bool) {
    let announced = set(announced);
    let report = Report {
        snapshot: snapshot(uid_next, announced.len()),
        before: merged.record.sides.old,
        announced: &announced,
        complete,
        vanished: &UidSet::new(),
        hold: &BTreeMap::new(),
        incarnation: merged.incarnations.old,
        matching: true,
    };
    merged.see(Side::Old, &report, NOW).unwrap();
}

fn seen_on_old(uid_next: u32, announced: &str) -> Merged {
    let mut merged = seen(1, "");
    merged.record.sides = Sides::default();
    merged.live = Sides::default();
    listing_of_old(&mut merged, uid_next, announced, true);
    merged
}

#[test]
fn a_backup_that_grew_since_is_a_restored_backup() {
    let mut merged = seen(21, "1:20");
    let before = merged.record.sides.new;
    // Restored to a time before message 7 was there, and with more messages than it had.
    merged.expunged(Side::New, &set("1:3"));
    let why = listing_as(&mut merged, before, 20, "1:6,8:19", false).unwrap_err();
    assert!(matches!(why, Distrust::WentBack { side: Side::New, .. }), "{why}");
}

#[test]
fn v8_a_message_of_old_that_is_told_of_late_gets_a_uid_that_old_never_issues() {
    let mut merged = seen_on_old(9, "1:8");
    // COPYUID tells of 10 before anybody has heard of 9.
    assert_eq!(merged.claim(Side::Old, SideUid(10), NOW).unwrap(), Uid(10));
    listing_of_old(&mut merged, 11, "1:10", false);
    let late = merged.map.uid_of(Side::Old, SideUid(9)).unwrap();
    assert!(late > Uid(200_000_000), "{late} may be issued by old for another message");
    assert_eq!(merged.record.boundary, Some(late));
}

#[test]
fn v5_a_hidden_copy_above_the_watermark_does_not_come_back() {
    let mut merged = seen(21, "1:20");
    merged.hide_copy(Side::New, SideUid(25));
    assert_eq!(merged.arrivals(Side::New, &set("1:26")), set("21:24,26"));
    let before = merged.record.sides.new;
    listing(&mut merged, before, 27, "1:26").unwrap();
    assert_eq!(merged.map.uid_of(Side::New, SideUid(25)), None);
    // The watermark has passed it.
    assert!(merged.record.unshown.new.is_empty());
    assert!(merged.arrivals(Side::New, &set("1:26")).is_empty());
}

#[test]
fn v3_a_copy_that_was_taken_for_mail_becomes_the_messages_own() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    let twin = merged.claim(Side::New, SideUid(1), NOW).unwrap();
    assert!(merged.copied(Uid(2), Side::New, SideUid(1), NOW).unwrap());
    assert_eq!(merged.map.len(), 3);
    assert_eq!(merged.map.place(twin), None);
    let both = Place::Both { old: SideUid(2), new: SideUid(1) };
    assert_eq!(merged.map.place(Uid(2)), Some(both));
    // Of two messages neither may lose its copy to the other.
    assert!(!merged.copied(Uid(3), Side::New, SideUid(1), NOW).unwrap());
}

#[test]
fn v2_what_a_copy_brings_into_sight_in_phase_new_comes_after_all_that_was_told() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    merged.enter(Phase::New);
    let told = merged.claim(Side::New, SideUid(1), NOW).unwrap();
    assert!(merged.copied(Uid(2), Side::New, SideUid(2), NOW).unwrap());
    let both = Place::Both { old: SideUid(2), new: SideUid(2) };
    let shown = merged.shown();
    let places: Vec<_> = shown.runs().map(|run| (run.uid, run.place)).collect();
    assert_eq!(shown.len(), 2, "{places:?}");
    assert!(merged.map.place(Uid(told.0 + 1)) == Some(both) && merged.map.len() == 4);
    assert_eq!(merged.map.place(Uid(2)), None);
}

#[test]
fn v3_what_came_to_both_while_one_was_not_asked_becomes_one() {
    for (phase, stays_new) in [(Phase::New, true), (Phase::Merged, false), (Phase::Old, false)] {
        let mut merged = seen_on_old(4, "1:3");
        listing(&mut merged, None, 1, "").unwrap();
        let on_new = merged.claim(Side::New, SideUid(1), NOW).unwrap();
        merged.enter(phase);
        let pair = Pair { old: SideUid(2), new: SideUid(1), altered: true };
        let again = Pair { old: SideUid(3), new: SideUid(1), altered: false };
        assert!(merged.join_alone(&[pair, again]));
        let both = Place::Both { old: SideUid(2), new: SideUid(1) };
        let stays = if stays_new { on_new } else { Uid(2) };
        assert_eq!((merged.map.place(stays), merged.map.len()), (Some(both), 3), "{phase}");
        assert_eq!(merged.map.place(Uid(3)), Some(Place::Old(SideUid(3))), "none has two partners");
        assert_eq!(merged.record.altered.contains(Uid(2)), !stays_new, "old's was seen first");
        assert!(!merged.join_alone(&[pair]));
    }
}

#[test]
fn what_goes_from_old_while_old_decides_is_owed_to_new() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    assert!(merged.copied(Uid(2), Side::New, SideUid(1), NOW).unwrap());
    merged.enter(Phase::Old);
    merged.expunged(Side::Old, &set("1:2"));
    assert_eq!((merged.owed.twins.to_string(), merged.owes_more), ("1".to_owned(), true));
    assert!(merged.owed.is_told() && !merged.owed.is_empty());
}

#[test]
fn an_arrival_waits_for_a_copy_of_its_date_or_of_its_size() {
    let intent = Intent {
        new_uid_next: SideUid(1),
        octets: 900,
        internal_date: " 1-Jul-2024 10:00:00 +0200".into(),
        hash: [0; 32],
        written_at: NOW,
        closed: false,
        again: false,
    };
    let date = date_of(&intent);
    let likeness = |date, size| Likeness { date, size };
    assert!(likeness(date, Some(901)).fits(&intent));
    assert!(likeness(Some(1), Some(900)).fits(&intent), "servers that keep no date");
    assert!(!likeness(Some(1), Some(901)).fits(&intent));
    assert!(!likeness(None, None).fits(&Intent { internal_date: "?".into(), ..intent }));
}

#[test]
fn v3_what_new_lost_lies_on_old_again_and_is_not_shown_twice_when_it_is_back() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    merged.claim(Side::New, SideUid(1), NOW).unwrap();
    for (uid, copy) in [(2, 2), (3, 3)] {
        assert!(merged.copied(Uid(uid), Side::New, SideUid(copy), NOW).unwrap());
    }
    let before = merged.record.sides.new;
    let uids = merged.map.uids();
    listing(&mut merged, before, 3, "1:2").unwrap();
    assert_eq!(merged.map.uids(), uids);
    assert_eq!(merged.map.place(Uid(3)), Some(Place::Old(SideUid(3))));
    let both = Place::Both { old: SideUid(2), new: SideUid(2) };
    assert_eq!(merged.map.place(Uid(2)), Some(both));
    // Whoever was told of it before is not believed any more.
    let announced = set("1:3");
    let report = Report {
        snapshot: snapshot(4, 3),
        before: None,
        announced: &announced,
        complete: false,
        vanished: &UidSet::new(),
        hold: &BTreeMap::new(),
        incarnation: Default::default(),
        matching: true,
    };
    let stale = merged.see(Side::New, &report, NOW);
    assert_eq!(stale, Err(Distrust::Stale { side: Side::New }));
}

#[test]
fn v3_a_mailbox_of_new_that_was_made_anew_is_matched_anew() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    merged.claim(Side::New, SideUid(1), NOW).unwrap();
    assert!(merged.copied(Uid(2), Side::New, SideUid(2), NOW).unwrap());
    merged.record.sides.new.as_mut().unwrap().uid_validity = 6;
    let before = merged.record.sides.new;
    listing(&mut merged, before, 5, "1:4").unwrap();
    assert_eq!(merged.map.side_uids(Side::Old), set("1:3"));
    assert!(merged.map.side_uids(Side::New).is_empty());
    assert_eq!((merged.unmatched.clone(), merged.record.matching), (set("1:4"), Some(SideUid(5))));
    let pair = Pair { old: SideUid(3), new: SideUid(4), altered: true };
    assert_eq!(merged.join(&[pair, pair]), [(Uid(3), pair)]);
    assert_eq!(merged.record.altered.to_string(), "3");
    // The watermark does not pass what waits, so that a restart finds it again.
    let before = merged.record.sides.new;
    listing(&mut merged, before, 6, "1:5").unwrap();
    assert_eq!(merged.record.sides.new.unwrap().uid_next, SideUid(1));
    assert_eq!((merged.came.clone(), merged.unmatched.clone()), (set("5"), set("1:3,5")));
    assert!(!merged.end_matching(None));
    assert!(merged.show_unmatched(&set("1:3,5"), NOW).unwrap());
    assert!(merged.end_matching(None));
    assert_eq!(merged.map.side_uids(Side::New), set("1:5"));
    merged.map.check();
}

#[test]
fn v5_a_copy_that_was_matched_before_it_was_told_of_is_the_messages_own() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    let before = merged.record.sides.new;
    listing(&mut merged, before, 2, "1").unwrap();
    assert!(merged.record.late && merged.unmatched == set("1"), "an arrival is compared first");
    let pair = Pair { old: SideUid(2), new: SideUid(1), altered: false };
    assert_eq!(merged.join(&[pair]), [(Uid(2), pair)]);
    assert!(
        merged.copied(Uid(2), Side::New, SideUid(1), NOW).unwrap(),
        "it has a place, and must not be removed"
    );
    assert!(!merged.copied(Uid(2), Side::New, SideUid(5), NOW).unwrap(), "a second copy has none");
    assert!(merged.end_matching(None) && !merged.record.late);
}

#[test]
fn v7_what_waits_is_found_again_after_a_restart_and_shown_though_old_is_away() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    let before = merged.record.sides.new;
    listing(&mut merged, before, 3, "1:2").unwrap();
    assert!(merged.record.late && merged.unmatched == set("1:2"));
    let restart = |merged: &Merged| {
        let (record, map) = (merged.record.clone(), merged.map.clone());
        Merged::new(record, map, Sides::default(), Phase::Merged)
    };
    let mut merged = restart(&merged);
    // Old fails before new has told of itself.
    assert!(!merged.show_late(false, Sides::default(), NOW).unwrap());
    let before = merged.record.sides.new;
    listing(&mut merged, before, 3, "1:2").unwrap();
    assert!(merged.shows_late());
    assert!(merged.show_late(false, Sides::default(), NOW).unwrap() && !merged.shows_late());
    assert_eq!(merged.map.side_uids(Side::New), set("1:2"));
    let merged = restart(&merged);
    assert_eq!(merged.record.shown_late.new, set("1:2"), "it has yet to be compared");
}

/// Old has told of itself.
fn old_listing(merged: &mut Merged, uid_next: u32, announced: &str) {
    let announced = set(announced);
    let report = Report {
        snapshot: snapshot(uid_next, announced.len()),
        before: merged.record.sides.old,
        announced: &announced,
        complete: true,
        vanished: &UidSet::new(),
        hold: &BTreeMap::new(),
        incarnation: merged.incarnations.old,
        matching: true,
    };
    merged.see(Side::Old, &report, NOW).unwrap();
}

#[test]
fn v8_what_arrived_on_old_before_the_boundary_keeps_its_uid_after_a_restore() {
    let mut merged = Merged::new(test_record(), UidMap::default(), Sides::default(), Phase::Merged);
    old_listing(&mut merged, 4, "1:3");
    // UIDs 4 and 5 came since, and then the boundary.
    merged.record.boundary = Some(Uid(500));
    merged.record.uid_next = Uid(1_600);
    merged.record.restored = Sides { old: true, new: true };
    old_listing(&mut merged, 6, "1:5");
    assert_eq!(merged.map.uids().to_string(), "1:5");
    assert_eq!(merged.record.uid_next, Uid(1_600), "nothing above the boundary is given twice");
    assert!(!merged.record.restored.old);
    // What arrives now follows upwards.
    old_listing(&mut merged, 7, "1:6");
    assert_eq!(merged.map.uids().to_string(), "1:5,1600");
}

#[test]
fn v2_once_something_got_a_uid_above_the_boundary_none_below_is_given() {
    let mut merged = Merged::new(test_record(), UidMap::default(), Sides::default(), Phase::Merged);
    old_listing(&mut merged, 4, "1:3");
    merged.record.boundary = Some(Uid(500));
    merged.record.uid_next = Uid(1_600);
    merged.record.restored = Sides { old: true, new: true };
    listing_as(&mut merged, None, 2, "1", false).unwrap();
    merged.expunged(Side::New, &set("1"));
    old_listing(&mut merged, 6, "1:5");
    assert_eq!(merged.map.uids().to_string(), "1:3,1601:1602");
}

#[test]
fn v3_an_arrival_on_old_waits_where_it_may_be_what_new_has() {
    let mut merged = Merged::new(test_record(), UidMap::default(), Sides::default(), Phase::Merged);
    old_listing(&mut merged, 4, "1:3");
    listing_as(&mut merged, None, 2, "1", false).unwrap();
    let ours = merged.map.uid_of(Side::New, SideUid(1)).unwrap();
    old_listing(&mut merged, 6, "1:5");
    assert_eq!(merged.waiting, set("4:5"));
    assert_eq!(merged.record.sides.old.unwrap().uid_next, SideUid(4), "the watermark waits, too");
    assert!(merged.join_waiting(&[Pair { old: SideUid(4), new: SideUid(1), altered: false }]));
    assert_eq!(merged.map.place(ours), Some(Place::Both { old: SideUid(4), new: SideUid(1) }));
    merged.show_waiting(&set("4:5"), NOW).unwrap();
    merged.end_waiting(None);
    assert_eq!(merged.map.uid_of(Side::Old, SideUid(5)), Some(Uid(ours.0 + 1)));
    assert_eq!(merged.record.sides.old.unwrap().uid_next, SideUid(6));
    // What goes now does not come back.
    let mut less = merged.clone();
    less.expunged(Side::New, &set("1"));
    assert!(less.arrivals(Side::Old, &set("1:5")).is_empty());
    // Nothing is paired twice, and with both on both sides nothing waits any more.
    assert!(!merged.join_waiting(&[Pair { old: SideUid(5), new: SideUid(1), altered: false }]));
    let gone = merged.map.uid_of(Side::Old, SideUid(5)).unwrap();
    old_listing(&mut merged, 7, "1:6");
    assert!(merged.waiting.is_empty() && merged.map.contains(gone));
}

/// New has told of itself, to whoever had it selected.
fn new_listing(merged: &mut Merged, uid_next: u32, announced: &str, held: &[u32]) {
    let announced = set(announced);
    let like = Likeness { date: Some(1), size: Some(900) };
    let hold = held.iter().map(|uid| (SideUid(*uid), like)).collect();
    let report = Report {
        snapshot: snapshot(uid_next, announced.len()),
        before: merged.record.sides.new,
        announced: &announced,
        complete: false,
        vanished: &UidSet::new(),
        hold: &hold,
        incarnation: merged.incarnations.new,
        matching: true,
    };
    merged.see(Side::New, &report, NOW).unwrap();
}

/// Three messages on old, of which all have their copies; new has a fourth one of its own.
fn settled() -> Merged {
    let mut merged = Merged::new(test_record(), UidMap::default(), Sides::default(), Phase::Merged);
    old_listing(&mut merged, 4, "1:3");
    listing_as(&mut merged, None, 1, "", true).unwrap();
    for uid in 1..=3 {
        assert!(merged.copied(Uid(uid), Side::New, SideUid(uid), NOW).unwrap());
    }
    new_listing(&mut merged, 5, "1:4", &[]);
    assert!(merged.map.uid_of(Side::New, SideUid(4)).is_some() && !merged.is_comparing());
    merged
}

#[test]
fn v3_what_comes_to_new_while_its_twin_waits_on_old_waits_as_well() {
    let mut merged = settled();
    old_listing(&mut merged, 5, "1:4");
    assert_eq!(merged.waiting, set("4"), "it may be what new has alone");
    new_listing(&mut merged, 6, "1:5", &[]);
    assert_eq!(merged.unmatched, set("5"), "nothing else lies on old alone, but this will");
    merged.show_waiting(&set("4"), NOW).unwrap();
    merged.end_waiting(None);
    assert_eq!(merged.join(&[Pair { old: SideUid(4), new: SideUid(5), altered: false }]).len(), 1);
    assert_eq!((merged.map.len(), merged.end_matching(None)), (5, true));
}

#[test]
fn v3_what_comes_to_old_while_its_twin_is_compared_waits_for_the_end() {
    let mut merged = settled();
    merged.expunged(Side::New, &set("4"));
    old_listing(&mut merged, 5, "1:4");
    assert!(merged.waiting.is_empty(), "new has nothing alone");
    // Compared with what old had until now, which is not its twin.
    new_listing(&mut merged, 6, "1:3,5", &[]);
    assert_eq!(merged.unmatched, set("5"));
    old_listing(&mut merged, 6, "1:5");
    assert_eq!(merged.waiting, set("5"));
    merged.show_unmatched(&set("5"), NOW).unwrap();
    assert!(merged.end_matching(None));
    assert!(merged.join_waiting(&[Pair { old: SideUid(5), new: SideUid(5), altered: false }]));
    assert_eq!(merged.map.len(), 5);
}

#[test]
fn v3_what_was_like_a_copy_and_is_none_is_compared_with_the_other_side() {
    let mut merged = settled();
    old_listing(&mut merged, 5, "1:4");
    merged.show_waiting(&set("4"), NOW).unwrap();
    merged.end_waiting(None);
    new_listing(&mut merged, 6, "1:5", &[5]);
    assert_eq!(merged.held.new.len(), 1);
    assert!(merged.show_held(Side::New, SideUid(5), NOW).unwrap());
    assert_eq!(merged.unmatched, set("5"), "it may be what came to old");
    // So is what is let go because no intent is like it any more, and what came to old.
    merged.join(&[Pair { old: SideUid(4), new: SideUid(5), altered: false }]);
    assert!(merged.end_matching(None) && merged.map.len() == 5);
    old_listing(&mut merged, 5, "1:4");
    merged.held.old.insert(SideUid(5), Likeness { date: Some(1), size: Some(900) });
    assert!(merged.release(NOW).unwrap());
    assert_eq!(merged.waiting, set("5"));
    assert!(!merged.show_held(Side::New, SideUid(5), NOW).unwrap());
}

#[test]
fn v3_after_a_restart_arrivals_are_compared_like_before() {
    let mut merged = settled();
    old_listing(&mut merged, 5, "1:4");
    merged.show_waiting(&set("4"), NOW).unwrap();
    merged.end_waiting(None);
    new_listing(&mut merged, 6, "1:5", &[]);
    assert_eq!(merged.unmatched, set("5"));
    // The proxy dies before anything is compared, and more comes to new.
    let intents = Sides::default();
    let mut merged = Merged::new(merged.record, merged.map, intents, Phase::Merged);
    new_listing(&mut merged, 7, "1:6", &[]);
    assert_eq!(merged.unmatched, set("5:6"));
}

#[test]
fn in_phase_old_nothing_waits_for_new() {
    let mut merged = settled();
    merged.enter(Phase::Old);
    old_listing(&mut merged, 5, "1:4");
    assert!(!merged.is_comparing() && merged.map.uid_of(Side::Old, SideUid(4)).is_some());
}

#[test]
fn v3_what_comes_while_the_other_side_is_not_asked_is_compared_when_it_is() {
    let mut merged = settled();
    let there = ListedAs { selectable: true, subscribed: true, children: None, special: None };
    merged.record.listed = Sides::from_fn(|_| Some(there));
    merged.enter(Phase::Old);
    old_listing(&mut merged, 5, "1:4");
    old_listing(&mut merged, 9, "1:4,8");
    assert_eq!(merged.record.shown_late.old, set("4,8"));
    assert!(!merged.is_to_be_compared());
    let compared = merged.record.shown_late.clone();
    old_listing(&mut merged, 10, "1:4,8:9");
    merged.compared(&compared);
    assert_eq!(merged.record.shown_late.old, set("9"), "it came after that");
    merged.enter(Phase::Merged);
    assert!(merged.is_to_be_compared());
}

#[test]
fn v3_what_a_client_may_yet_remove_from_the_side_that_decides_is_compared_again() {
    for (phase, again) in [(Phase::Old, "1"), (Phase::New, ""), (Phase::Merged, "")] {
        let mut merged = seen_on_old(4, "1:3");
        listing(&mut merged, None, 1, "").unwrap();
        merged.claim(Side::New, SideUid(1), NOW).unwrap();
        merged.claim(Side::New, SideUid(2), NOW).unwrap();
        merged.phase = phase;
        merged.note_late(Side::New, &set("1:2"));
        assert!(merged.join_alone(&[Pair { old: SideUid(3), new: SideUid(2), altered: false }]));
        let late = merged.record.shown_late.clone();
        let decided = merged.decided_of(&late);
        merged.compared(&decided);
        assert_eq!(merged.record.shown_late.new, set(again), "{phase}");
    }
}

#[test]
fn v3_what_lies_on_one_side_when_the_other_one_decides_is_compared_with_what_is_removed_there() {
    let mut merged = settled();
    old_listing(&mut merged, 5, "1:4");
    merged.show_waiting(&set("4"), NOW).unwrap();
    for (phase, old, new) in [(Phase::Old, "", "4"), (Phase::Merged, "", ""), (Phase::New, "4", "")]
    {
        merged.enter(phase);
        let late = std::mem::take(&mut merged.record.shown_late);
        assert_eq!(late, Sides { old: set(old), new: set(new) }, "{phase}");
    }
}

#[test]
fn v3_no_message_is_taken_for_a_second_copy_of_itself() {
    let mut merged = seen_on_old(4, "1:3");
    listing(&mut merged, None, 1, "").unwrap();
    for (uid, copy) in [(1, 1), (2, 2)] {
        assert!(merged.copied(Uid(uid), Side::New, SideUid(copy), NOW).unwrap());
    }
    // Each has found its place since it was taken for one.
    for (side, of, copy) in
        [(Side::New, 1, 1), (Side::New, 1, 2), (Side::Old, 1, 1), (Side::Old, 1, 2)]
    {
        assert!(!merged.take_second_copy(side, Uid(of), SideUid(copy)), "{side} {of} {copy}");
    }
    assert_eq!(merged.map.uids().to_string(), "1:3");
    assert!(merged.owed.is_empty());
    let shown = merged.claim(Side::New, SideUid(3), NOW).unwrap();
    assert!(merged.take_second_copy(Side::New, Uid(1), SideUid(3)));
    assert_eq!((merged.map.place(shown), merged.owed.twins.to_string()), (None, "3".into()));
    assert!(!merged.take_second_copy(Side::Old, Uid(3), SideUid(3)), "alone, and told by itself");
    assert_eq!(merged.map.place(Uid(3)), Some(Place::Old(SideUid(3))));
}
