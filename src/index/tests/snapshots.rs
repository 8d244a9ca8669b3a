//! What a snapshot holds comes back, and what happened since is not denied.

use std::fs;

use super::super::restore::restore;
use super::super::snapshot::snapshots;
use super::*;
use crate::base::Utc;

/// A mailbox with a map, an intent, and what else no server knows; and a snapshot of it.
async fn with_snapshot(dir: &Path) -> (Index, AccountId, MailboxId, Utc) {
    let (index, account, id) = with_inbox(dir).await;
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &sparse(3_000).changed_chunks(&UidMap::default()));
    batch.put_intent(account, id, Uid(5), Direction::ToNew, &an_intent());
    let stuck = Stuck { reason: "NO".into(), tries: 1, next_try: 2 };
    batch.put_stuck(account, id, Uid(6), &stuck);
    batch.put_email(account, id, Uid(8), &email(8));
    batch.put_profile(Side::New, b"profile".to_vec());
    index.submit(batch).await.unwrap();
    let taken = take(&index).await;
    (index, account, id, taken)
}

async fn take(index: &Index) -> Utc {
    let index = index.clone();
    let taken = tokio::task::spawn_blocking(move || index.take_snapshot()).await.unwrap();
    taken.unwrap().taken_at
}

async fn put(index: &Index, account: AccountId, record: MailboxRecord) {
    let mut batch = Batch::new();
    batch.put_mailbox(account, &record);
    index.submit(batch).await.unwrap();
}

/// Closes it, loses the database, puts the snapshot back.
async fn lose_and_restore(dir: &Path, index: Index) -> Index {
    index.close().await;
    fs::remove_dir_all(dir.join("db")).unwrap();
    let restored = restore(dir, None).unwrap();
    assert_eq!((restored.accounts, restored.put_aside), (1, None));
    let (index, opened) = Index::open(dir).unwrap();
    assert_eq!(opened, Opened::Clean);
    index
}

#[tokio::test]
async fn v8_a_snapshot_gives_back_all_but_what_is_decided_by_now() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id, _) = with_snapshot(dir.path()).await;
    let index = lose_and_restore(dir.path(), index).await;
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    let stored = index.load(account, id).await.unwrap();
    assert_eq!(stored.map, sparse(3_000));
    assert_eq!(stored.intents, [], "a copy that was made since is no stray one");
    assert_eq!(stored.stuck.len(), 1);
    let all = UidSet::from_ranges([(Uid(1), Uid(9_999))]);
    assert_eq!(index.emails(account, id, all).await.unwrap(), [(Uid(8), email(8))].into());
    assert_eq!(index.profile(Side::New).await.unwrap().as_deref(), Some(&b"profile"[..]));
    // No boundary came since, so that all UIDs are old's and its next one is its own.
    assert_eq!((stored.record.boundary, stored.record.uid_next), (None, Uid(100)));
    assert_eq!(stored.record.restored, Sides { old: false, new: true });
    assert!(index.next_mailbox_id(account) > id);
}

#[tokio::test]
async fn v2_the_marks_of_what_happened_since_win_over_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id, _) = with_snapshot(dir.path()).await;
    let record = MailboxRecord { boundary: Some(Uid(900)), mod_seq: 4_000, ..mailbox(id, 9_000) };
    put(&index, account, record).await;
    let index = lose_and_restore(dir.path(), index).await;
    let record = index.load(account, id).await.unwrap().record;
    assert_eq!((record.uid_validity, record.boundary), (7, Some(Uid(900))));
    assert!(record.uid_next >= Uid(9_000), "{}", record.uid_next);
    assert!(record.mod_seq > 4_000);
    // The boundary came since: what arrived on old before may keep its UID.
    assert_eq!(record.restored, Sides { old: true, new: true });

    // One that was there then stands, and nothing of old below it is kept again.
    take(&index).await;
    let later = MailboxRecord { restored: Sides::default(), ..record.clone() };
    put(&index, account, MailboxRecord { uid_next: Uid(20_000), ..later }).await;
    let index = lose_and_restore(dir.path(), index).await;
    let record = index.load(account, id).await.unwrap().record;
    assert_eq!(record.boundary, Some(Uid(900)));
    assert!(record.uid_next >= Uid(20_000));
    assert_eq!(record.restored, Sides { old: false, new: true });
}

#[tokio::test]
async fn v2_without_the_epoch_log_too_the_time_of_day_stands_in_for_its_marks() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id, _) = with_snapshot(dir.path()).await;
    put(&index, account, MailboxRecord { boundary: Some(Uid(900)), ..mailbox(id, 9_000) }).await;
    index.close().await;
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::remove_file(dir.path().join("epoch.log")).unwrap();
    restore(dir.path(), None).unwrap();
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean);
    let record = index.load(account, id).await.unwrap().record;
    let at_least = Uid::of_time(unix_now() - 60);
    assert!(record.uid_next >= at_least && record.boundary == Some(record.uid_next));
    let remembered = index.remembered(&ann(), &MailboxName::inbox()).unwrap();
    assert!(remembered.mark >= at_least);
}

#[tokio::test]
async fn v2_a_mailbox_whose_name_is_given_up_by_now_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let named = |name: &[u8], id| MailboxRecord {
        client: MailboxName::new(name).unwrap(),
        old: MailboxName::new(name),
        ..mailbox(id, 100)
    };
    let ids: [MailboxId; 3] = std::array::from_fn(|_| index.next_mailbox_id(account));
    for (id, name) in ids.into_iter().zip([&b"Deleted"[..], b"Anew", b"Unseen"]) {
        put(&index, account, named(name, id)).await;
    }
    let unseen = MailboxRecord { uid_validity: 0, uid_next: Uid(1), ..named(b"Unseen", ids[2]) };
    put(&index, account, unseen.clone()).await;
    take(&index).await;
    let mut batch = Batch::new();
    batch.give_up_name(account, &MailboxName::new(b"Deleted").unwrap());
    batch.delete_mailbox(account, ids[0]);
    batch.give_up_name(account, &MailboxName::new(b"Anew").unwrap());
    let next = index.next_mailbox_id(account);
    batch.put_mailbox(account, &MailboxRecord { uid_validity: 8, ..named(b"Anew", next) });
    let seen =
        MailboxRecord { uid_validity: 9, boundary: Some(Uid(50)), ..named(b"Unseen", ids[2]) };
    batch.put_mailbox(account, &seen);
    index.submit(batch).await.unwrap();
    let index = lose_and_restore(dir.path(), index).await;
    let records = index.mailboxes(account).await.unwrap();
    let found = |id| records.iter().find(|record| record.id == id).unwrap();
    assert!(!found(id).hidden && found(ids[0]).hidden && found(ids[1]).hidden);
    let unseen = found(ids[2]);
    assert_eq!((unseen.uid_validity, unseen.boundary, unseen.hidden), (9, Some(Uid(50)), false));
    assert!(unseen.uid_next >= Uid(100));
}

/// Whatever is overwritten or cut off: all of it or nothing, and what is there stays.
#[tokio::test]
async fn v8_a_damaged_snapshot_is_refused_and_nothing_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_snapshot(dir.path()).await;
    index.close().await;
    let [file] = &snapshots(dir.path()).unwrap()[..] else { panic!("one snapshot") };
    let whole = fs::read(&file.path).unwrap();
    let flipped = (0..whole.len()).step_by(whole.len() / 40).map(|at| {
        let mut octets = whole.clone();
        octets[at] ^= 0x10;
        octets
    });
    let cut = (0..40).map(|n| whole[..whole.len() * n / 40].to_vec());
    let zeroed = (1..10).map(|n| {
        let mut octets = whole.clone();
        let from = octets.len() - octets.len() * n / 10;
        octets[from..].fill(0);
        octets
    });
    for octets in flipped.chain(cut).chain(zeroed) {
        fs::write(&file.path, &octets).unwrap();
        let error = restore(dir.path(), None).unwrap_err();
        let told = matches!(
            error,
            IndexError::Corrupt(_) | IndexError::NoSnapshot { .. } | IndexError::Newer { .. }
        );
        assert!(told, "{error}");
        assert!(dir.path().join("db/db").exists());
    }
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert!(matches!(restore(dir.path(), None), Err(IndexError::Locked { .. })));
    index.close().await;
}

#[tokio::test]
async fn the_newest_that_is_not_younger_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id, first) = with_snapshot(dir.path()).await;
    while unix_now() == first.0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    put(&index, account, mailbox(id, 200)).await;
    let second = take(&index).await;
    index.close().await;
    for (at, uid_next) in [(Some(first), 100), (Some(second), 200), (None, 200)] {
        let restored = restore(dir.path(), at).unwrap();
        assert!(restored.put_aside.is_some_and(|place| place.join("db").exists()));
        let (index, _) = Index::open(dir.path()).unwrap();
        assert_eq!(index.load(account, id).await.unwrap().record.uid_next, Uid(uid_next));
        index.close().await;
    }
    let before = restore(dir.path(), Some(Utc(first.0 - 1)));
    assert!(matches!(before, Err(IndexError::NoSnapshot { .. })));
}

#[tokio::test]
async fn what_was_left_of_one_that_was_cut_off_goes_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (index, ..) = with_inbox(dir.path()).await;
    let place = dir.path().join("snapshots");
    fs::create_dir(&place).unwrap();
    fs::write(place.join(".tmpA1b2C3"), "half of it").unwrap();
    take(&index).await;
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    assert_eq!(snapshots(dir.path()).unwrap().len(), 1);
}
