use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::Phase;
use crate::imap::response::SpecialUse;
use crate::index::records::{ListedAs, MailboxRecord, Roll, Snapshot};

fn any_name() -> impl Strategy<Value = MailboxName> {
    prop::collection::vec(14u8..=255, 1..40).prop_map(|b| MailboxName::new(&b).unwrap())
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<Option<u64>>()).prop_map(
        |(uid_validity, uid_next, messages, highest_mod_seq)| Snapshot {
            uid_validity,
            uid_next: SideUid(uid_next),
            messages,
            highest_mod_seq,
        },
    )
}

fn any_mailbox() -> impl Strategy<Value = MailboxRecord> {
    let name = || prop::option::of(any_name());
    let names = (any_name(), name(), name(), name());
    let numbers = (any::<u32>(), any::<u32>(), any::<Option<u32>>(), any::<u64>());
    let sides = (prop::option::of(any_snapshot()), prop::option::of(any_snapshot()));
    let checkpoints = prop::collection::vec(any::<(u64, u64, u64)>(), 0..5);
    let listed = (prop::option::of(any_listed()), prop::option::of(any_listed()));
    let sets = || (any_set(), any_set()).prop_map(|(old, new)| Sides { old, new });
    let (unshown, shown_late) = (sets(), sets());
    let matching = (prop::option::of(any::<u32>()), any::<bool>());
    let altered = any_set().prop_map(Arc::new);
    let skipped = prop::option::of((1..=u32::MAX).prop_map(Uid));
    let rest = (any::<bool>(), listed, unshown, matching, any::<(bool, bool)>());
    let sum = prop::option::of(1..=u64::MAX);
    let rest = (rest, skipped, altered, shown_late, sum);
    (any::<u32>(), names, numbers, sides, checkpoints, rest).prop_map(
        |(
            id,
            (client, first_name, old, new),
            (validity, next, boundary, mod_seq),
            sides,
            points,
            (
                (hidden, listed, unshown, (matching, late), restored),
                skipped_from,
                altered,
                shown_late,
                map_sum,
            ),
        )| {
            MailboxRecord {
                id: MailboxId(id),
                client,
                first_name,
                old,
                new,
                uid_validity: validity,
                uid_next: Uid(next),
                boundary: boundary.map(Uid),
                sides: Sides { old: sides.0, new: sides.1 },
                mod_seq,
                checkpoints: points
                    .into_iter()
                    .map(|(at, old, new)| (at, Sides { old, new }))
                    .collect(),
                hidden,
                listed: Sides { old: listed.0, new: listed.1 },
                unshown,
                matching: matching.map(SideUid),
                late,
                restored: Sides { old: restored.0, new: restored.1 },
                skipped_from,
                altered,
                shown_late,
                map_sum,
            }
        },
    )
}

fn any_set<U: Number + std::fmt::Debug>() -> impl Strategy<Value = UidSet<U>> {
    let uids = prop::collection::vec(any::<u32>(), 0..5);
    uids.prop_map(|uids| uids.into_iter().map(U::from).collect())
}

fn any_listed() -> impl Strategy<Value = ListedAs> {
    let special = prop::option::of(prop::sample::select(SpecialUse::ALL.to_vec()));
    (any::<bool>(), any::<bool>(), any::<Option<bool>>(), special).prop_map(
        |(selectable, subscribed, children, special)| ListedAs {
            selectable,
            subscribed,
            children,
            special,
        },
    )
}

fn any_style() -> impl Strategy<Value = Option<Style>> {
    let style = (any::<Vec<u8>>(), any::<Option<u8>>());
    prop::option::of(style.prop_map(|(prefix, separator)| Style { prefix, separator }))
}

proptest! {
    #[test]
    fn mailboxes_survive_packing(record in any_mailbox()) {
        prop_assert_eq!(unpack_mailbox(record.id, &pack_mailbox(&record)), Ok(record));
    }

    #[test]
    fn intents_survive_packing(
        next: u32, octets: u64, date: String, hash: [u8; 32], written_at: u64,
        closed: bool, again: bool
    ) {
        let intent = Intent {
            new_uid_next: SideUid(next), octets, internal_date: date, hash, written_at, closed,
            again,
        };
        prop_assert_eq!(unpack_intent(&pack_intent(&intent)), Ok(intent));
    }

    #[test]
    fn emails_survive_packing(uid: u32, mailbox: [u8; 16]) {
        let id = EmailId { mailbox: ObjectId::from_bytes(mailbox), uid: Uid(uid) };
        prop_assert_eq!(unpack_email(&pack_email(&id)), Ok(id));
    }

    #[test]
    fn what_is_owed_survives_packing(
        removed in any_set(), removing in any_set(), flags in any_set(), twins in any_set()
    ) {
        let owed = Owed { removed, removing, flags, twins };
        prop_assert_eq!(unpack_owed(&pack_owed(&owed)), Ok(owed));
    }

    #[test]
    fn a_clean_verify_survives_packing(
        at: u64, marks in prop::collection::btree_map(
            any::<u32>().prop_map(MailboxId),
            (any::<Option<(u32, u32)>>(), any::<Option<(u32, u32)>>()), 0..5,
        )
    ) {
        let side = |mark: Option<(u32, u32)>| mark.map(|(v, next)| (v, SideUid(next)));
        let marks = marks.into_iter();
        let mailboxes =
            marks.map(|(id, (old, new))| (id, Sides { old: side(old), new: side(new) }));
        let verified = Verified { at, mailboxes: mailboxes.collect() };
        prop_assert_eq!(unpack_verified(&pack_verified(&verified)), Ok(verified));
    }

    #[test]
    fn what_was_measured_survives_packing(messages: u64, octets: u64) {
        let measured = Measured { messages, octets };
        prop_assert_eq!(unpack_measured(&pack_measured(measured)), Ok(measured));
    }

    #[test]
    fn second_copies_survive_packing(id: u64, head: u64, date: i64, text: [u8; 32],
        trace: [u8; 32], written_at: u64) {
        let fates = [Fate::Carried, Fate::Removed, Fate::Moved, Fate::MovedAlone];
        let fate = fates[(id % 4) as usize];
        let second = SecondCopy { id, head, date, text, trace, fate, written_at };
        prop_assert_eq!(unpack_second_copy(&pack_second_copy(&second)), Ok(second));
    }

    #[test]
    fn stuck_messages_survive_packing(reason: String, tries: u32, next_try: u64) {
        let stuck = Stuck { reason, tries, next_try };
        prop_assert_eq!(unpack_stuck(&pack_stuck(&stuck)), Ok(stuck));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters(n in 1_990usize..2_010) {
        let stuck = Stuck { reason: "a".repeat(n) + "éééééé", tries: 1, next_try: 1 };
        let back = unpack_stuck(&pack_stuck(&stuck)).unwrap();
        prop_assert!(back.reason.len() <= LONGEST_REASON && stuck.reason.starts_with(&back.reason));
        prop_assert!(back.reason.len() >= LONGEST_REASON - 1 || back == stuck);
    }

    #[test]
    fn accounts_survive_packing(
        created_at: u64, phase_since: u64, wave: Option<String>,
        phase in prop::option::of(prop::sample::select(Phase::ALL.to_vec())),
        old in any_style(), new in any_style(), paused: bool, priority: Option<u32>,
        login in prop::option::of("[a-z]{1,9}")
    ) {
        let name = AccountName::canonical("ann@example.com", None).unwrap();
        let styles = Sides { old, new };
        let logins = Sides { old: None, new: login };
        let roll = Roll { priority, logins };
        let record =
            AccountRecord { created_at, phase_since, phase, wave, styles, roll, paused };
        prop_assert_eq!(unpack_account(&pack_account(&name, &record)), Ok((name, record)));
    }

    #[test]
    fn no_bytes_make_unpacking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = unpack_account(&bytes);
        let _ = unpack_mailbox(MailboxId(1), &bytes);
        let _ = unpack_intent(&bytes);
        let _ = unpack_stuck(&bytes);
        let _ = unpack_second_copy(&bytes);
        let _ = unpack_email(&bytes);
        let _ = unpack_owed(&bytes);
        let _ = unpack_verified(&bytes);
        let _ = unpack_measured(&bytes);
    }

    #[test]
    fn a_shortened_value_is_refused(record in any_mailbox(), cut in any::<usize>()) {
        let bytes = pack_mailbox(&record);
        prop_assert!(unpack_mailbox(record.id, &bytes[..cut % bytes.len()]).is_err());
    }
}
