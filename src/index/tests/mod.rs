//! The index as a whole: what is put comes back, in order and small. What V2 and V8 promise through
//! crashes and damage stands in `crash`, `damage` and `snapshots`.

mod crash;
mod damage;
mod full;
mod power;
mod snapshots;
mod table;

use super::*;
use crate::base::{Phase, Sides};
use crate::uid::{EmailId, ObjectId, Place, Run, SideUid, Uid, UidMap, UidSet};

#[tokio::test]
async fn what_was_put_comes_back_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Fresh);
    let account = index.account(&ann()).await.unwrap();
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    let id = index.next_mailbox_id(account);
    let record = MailboxRecord {
        old: MailboxName::new(b"INBOX"),
        new: MailboxName::new(b"In&AOk-box"),
        boundary: Some(Uid(400)),
        sides: Sides {
            old: Some(Snapshot {
                uid_validity: 7,
                uid_next: SideUid(300),
                messages: 3,
                highest_mod_seq: Some(1 << 40),
            }),
            new: None,
        },
        mod_seq: 99,
        checkpoints: vec![(9, Sides { old: 9, new: 0 })],
        hidden: true,
        ..mailbox(id, 500)
    };
    let map = sparse(1_000);
    let intent = an_intent();
    let stuck = Stuck { reason: "NO [LIMIT] too long".into(), tries: 3, next_try: 1_800_000_000 };
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.put_mailbox(account, &record);
    batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
    batch.put_intent(account, id, Uid(5), Direction::ToNew, &intent);
    batch.put_intent(account, id, Uid(5), Direction::ToOld, &intent);
    batch.put_stuck(account, id, Uid(6), &stuck);
    for uid in 1..=200 {
        batch.put_email(account, id, Uid(uid), &email(uid));
    }
    batch.del_emails(account, id, &UidSet::from_ranges([(Uid(40), Uid(50))]));
    batch.put_profile(Side::New, b"profile".to_vec());
    assert!(!batch.is_empty());
    index.submit(batch).await.unwrap();
    let mut account_record = index.account_record(account).await.unwrap();
    account_record.phase = Some(Phase::New);
    account_record.wave = Some("first".into());
    // Neither undoes the other, in one batch or in one group.
    let mut batch = Batch::new();
    batch.edit_account(account, |record| record.phase = Some(Phase::New));
    let one = index.submit(batch);
    let mut batch = Batch::new();
    batch.edit_account(account, |record| record.wave = Some("first".into()));
    index.submit(batch).await.unwrap();
    one.await.unwrap();
    index.close().await;

    let (index, opened) = Index::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::Clean);
    assert_eq!(index.account(&ann()).await.unwrap(), account);
    assert_eq!(index.mailboxes(account).await.unwrap(), std::slice::from_ref(&record));
    for last in [60, 250] {
        let asked = UidSet::from_ranges([(Uid(30), Uid(last))]);
        let found = index.emails(account, id, asked.clone()).await.unwrap();
        let there = |uid: &Uid| uid.0 <= 200 && !(40..=50).contains(&uid.0);
        let expected = asked.iter().filter(there).map(|uid| (uid, email(uid.0)));
        assert!(found.into_iter().eq(expected), "{asked}");
    }
    let stored = index.load(account, id).await.unwrap();
    assert_eq!(stored.record, record);
    assert_eq!(stored.map, map);
    let both = [Direction::ToNew, Direction::ToOld].map(|way| (Uid(5), way, intent.clone()));
    assert_eq!(stored.intents, both);
    assert_eq!(stored.stuck, [(Uid(6), stuck)]);
    assert_eq!(index.profile(Side::New).await.unwrap().as_deref(), Some(&b"profile"[..]));
    assert_eq!(index.profile(Side::Old).await.unwrap(), None);

    let mut batch = Batch::new();
    batch.del_intent(account, id, Uid(5), Direction::ToOld);
    batch.del_stuck(account, id, Uid(6));
    index.submit(batch).await.unwrap();
    let stored = index.load(account, id).await.unwrap();
    assert_eq!(stored.intents, [(Uid(5), Direction::ToNew, intent)]);
    assert_eq!(stored.stuck, []);
    let all = index.accounts().await.unwrap();
    assert_eq!(all, [(ann(), account, account_record)]);
}

#[tokio::test]
async fn a_changed_map_is_stored_by_its_changed_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let mut stored = UidMap::default();
    let mut map = sparse(3_000);
    for round in 0..40u32 {
        let mut batch = Batch::new();
        batch.put_chunks(account, id, &map.changed_chunks(&stored));
        index.submit(batch).await.unwrap();
        assert_eq!(index.load(account, id).await.unwrap().map, map, "round {round}");
        stored = map.clone();
        let uids = |from: u32, to: u32| UidSet::from_ranges([(Uid(from), Uid(to))]);
        let at = round * 7919 % 5_000;
        map.remove(&uids(at.max(1), at + round * 40));
        map.set_place(Uid(2 * (round + 1)), Place::New(SideUid(9_000 + round)));
        map.push(Uid(20_000 + 2 * round), 1, Place::New(SideUid(10_000 + 2 * round))).unwrap();
    }
}

#[tokio::test]
async fn batches_become_durable_in_order_and_dropping_the_answer_cancels_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    for n in 1..=2_000 {
        let mut batch = Batch::new();
        batch.put_mailbox(account, &MailboxRecord { mod_seq: n, ..mailbox(id, 1) });
        drop(index.submit(batch));
    }
    // A read sees what was queued before it; an empty batch is a barrier.
    assert_eq!(index.load(account, id).await.unwrap().record.mod_seq, 2_000);
    index.submit(Batch::new()).await.unwrap();
    index.close().await;
    let (index, _) = Index::open(dir.path()).unwrap();
    assert_eq!(index.load(account, id).await.unwrap().record.mod_seq, 2_000);
}

#[tokio::test]
async fn a_mailbox_number_is_never_given_out_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let second = index.next_mailbox_id(account);
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(second, 1));
    batch.put_intent(account, second, Uid(1), Direction::ToNew, &an_intent());
    batch.put_chunks(account, second, &sparse(600).changed_chunks(&UidMap::default()));
    batch.put_stuck(
        account,
        second,
        Uid(1),
        &Stuck { reason: String::new(), tries: 1, next_try: 1 },
    );
    batch.put_email(account, second, Uid(1), &email(1));
    index.submit(batch).await.unwrap();
    let mut batch = Batch::new();
    batch.delete_mailbox(account, second);
    index.submit(batch).await.unwrap();
    assert!(matches!(
        index.load(account, second).await,
        Err(IndexError::UnknownMailbox(a, m)) if a == account && m == second
    ));
    assert_eq!(index.load(account, id).await.unwrap().record.id, id, "the other is untouched");
    index.close().await;
    let (index, _) = Index::open(dir.path()).unwrap();
    let third = index.next_mailbox_id(account);
    assert!(third > second, "{third:?}");
    // Nothing of the deleted one was left behind for whoever would get its number.
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(second, 1));
    index.submit(batch).await.unwrap();
    let stored = index.load(account, second).await.unwrap();
    assert!(stored.map.is_empty() && stored.intents.is_empty() && stored.stuck.is_empty());
    let all = UidSet::from_ranges([(Uid(1), Uid(u32::MAX))]);
    assert!(index.emails(account, second, all).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_account_is_another_one_when_its_mailboxes_have_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let other = index.account(&bob()).await.unwrap();
    let made = index.changed(account);
    let mut batch = Batch::new();
    batch.edit_account(account, |record| record.paused = true);
    index.submit(batch).await.unwrap();
    assert_eq!(index.changed(account), made, "nothing of its mailboxes");
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(id, 700));
    index.submit(batch).await.unwrap();
    let renewed = index.changed(account);
    assert_ne!(renewed, made);
    let mut batch = Batch::new();
    batch.delete_mailbox(account, id);
    index.submit(batch).await.unwrap();
    assert_ne!(index.changed(account), renewed);
    assert_eq!(index.changed(other), 0);
}

#[tokio::test]
async fn a_batch_for_an_unknown_account_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let mut stray = Batch::new();
    stray.put_mailbox(AccountId(77), &mailbox(MailboxId(1), 1));
    let mut good = Batch::new();
    good.put_mailbox(account, &mailbox(id, 2));
    let (stray, good) = (index.submit(stray), index.submit(good));
    assert!(matches!(stray.await, Err(IndexError::UnknownAccount(AccountId(77)))));
    good.await.unwrap();
    assert_eq!(index.mailboxes(AccountId(77)).await.unwrap(), []);
}

#[tokio::test]
async fn a_hundred_thousand_messages_take_a_run_and_half_of_them_half_a_megabyte() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    let whole = UidMap::from_runs([run(1, 100_000)]).unwrap();
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &whole.changed_chunks(&UidMap::default()));
    index.submit(batch).await.unwrap();
    let dump = index.dump(None, 10).await.unwrap();
    let shown = &dump.accounts[0].mailboxes[0];
    assert_eq!((shown.runs, shown.messages.old), (1, 100_000));
    assert!(shown.octets < 200, "{}", shown.octets);

    let mut state = 1u64;
    let mut coin = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 63 == 0
    };
    let mut half = whole.clone();
    half.remove(&UidSet::from_ranges(
        (1..=100_000).map(Uid).filter(|_| coin()).map(|uid| (uid, uid)),
    ));
    let mut batch = Batch::new();
    batch.put_chunks(account, id, &half.changed_chunks(&whole));
    index.submit(batch).await.unwrap();
    let dump = index.dump(None, 0).await.unwrap();
    let (runs, bytes) = {
        let shown = &dump.accounts[0].mailboxes[0];
        (shown.runs, shown.octets)
    };
    assert!(runs > 24_000, "{runs}");
    assert!(bytes < 60_000, "{bytes} octets of keys and values for {runs} runs");
    index.close().await;
    let on_disk = dump::bytes_on_disk(dir.path());
    assert!(on_disk < 500_000, "{on_disk} octets on disk for {bytes}");
    let (index, _) = Index::open(dir.path()).unwrap();
    assert_eq!(index.load(account, id).await.unwrap().map, half);
}

#[tokio::test]
async fn a_dump_shows_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (index, account, id) = with_inbox(dir.path()).await;
    index.account(&bob()).await.unwrap();
    let mut map = UidMap::from_runs([run(1, 3), run(7, 1)]).unwrap();
    map.set_place(Uid(7), Place::Both { old: SideUid(7), new: SideUid(70) });
    let mut batch = Batch::new();
    let name = MailboxName::new(b"A \x1b[31m\"b\"").unwrap();
    let record = MailboxRecord { client: name, old: MailboxName::new(b"B"), ..mailbox(id, 100) };
    batch.put_mailbox(account, &record);
    batch.put_chunks(account, id, &map.changed_chunks(&UidMap::default()));
    batch.put_intent(account, id, Uid(2), Direction::ToNew, &an_intent());
    let reason = "NO over\r\nquota".to_owned();
    batch.put_stuck(account, id, Uid(3), &Stuck { reason, tries: 2, next_try: 5 });
    index.submit(batch).await.unwrap();
    let dump = index.dump(Some(ann()), 1).await.unwrap();
    let text = dump.to_string();
    for line in [
        "account ann@example.com (number 1)",
        "  mailbox \"A \\x1b[31m\\\"b\\\"\" (number 1)",
        "    UIDVALIDITY 7  UIDNEXT 100  HIGHESTMODSEQ 1",
        "    old: \"B\"  never absorbed",
        "      uid 1..3  old 1..  new -",
        "      … and 1 more",
        "    stuck 3 after 2 tries, next 5: NO over\\r\\nquota",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\nnot in\n{text}");
    }
    assert!(text.contains("4 messages: 3 on old, 0 on new, 1 on both; 2 runs"), "{text}");
    assert!(!text.contains("bob"), "{text}");
    let json = serde_json::to_value(&dump).unwrap();
    let inbox = &json["accounts"][0]["mailboxes"][0];
    assert_eq!(inbox["messages"]["both"], 1);
    assert_eq!(inbox["first_runs"][0]["old"], 1);
    assert_eq!(inbox["intents"][0]["direction"], "to new");
    assert_eq!(inbox["intents"][0]["hash"], "ab".repeat(32));
    assert_eq!(index.dump(None, 0).await.unwrap().accounts.len(), 2);
}

/// A fresh index with one account and its INBOX, UIDNEXT 100.
async fn with_inbox(dir: &Path) -> (Index, AccountId, MailboxId) {
    let (index, opened) = Index::open(dir).unwrap();
    assert_eq!(opened, Opened::Fresh);
    let account = index.account(&ann()).await.unwrap();
    let id = index.next_mailbox_id(account);
    let mut batch = Batch::new();
    batch.put_mailbox(account, &mailbox(id, 100));
    index.submit(batch).await.unwrap();
    (index, account, id)
}

/// What a copy of a message elsewhere has for its EMAILID.
fn email(uid: u32) -> EmailId {
    EmailId { mailbox: ObjectId::from_bytes([7; 16]), uid: Uid(1_000 - uid) }
}

fn mailbox(id: MailboxId, uid_next: u32) -> MailboxRecord {
    MailboxRecord {
        id,
        first_name: None,
        client: MailboxName::inbox(),
        old: None,
        new: None,
        uid_validity: 7,
        uid_next: Uid(uid_next),
        boundary: None,
        sides: Sides { old: None, new: None },
        mod_seq: 1,
        checkpoints: vec![],
        hidden: false,
        listed: Sides::default(),
        unshown: Sides::default(),
        shown_late: Sides::default(),
        map_sum: None,
        matching: None,
        late: false,
        restored: Sides::default(),
        skipped_from: None,
        altered: Arc::default(),
    }
}

/// As many messages, each a run of its own.
fn sparse(messages: u32) -> UidMap {
    let place = |n| Place::New(SideUid(n));
    UidMap::from_runs((1..=messages).map(|n| Run { uid: Uid(2 * n), len: 1, place: place(n) }))
        .unwrap()
}

fn run(uid: u32, len: u32) -> Run {
    Run { uid: Uid(uid), len, place: Place::Old(SideUid(uid)) }
}

fn an_intent() -> Intent {
    Intent {
        new_uid_next: SideUid(12),
        octets: 5_000_000_000,
        internal_date: "01-Jan-2020 00:00:00 +0000".into(),
        hash: [0xab; 32],
        written_at: 1_700_000_000,
        closed: false,
        again: false,
    }
}

fn ann() -> AccountName {
    AccountName::canonical("ann@example.com", None).unwrap()
}

fn bob() -> AccountName {
    AccountName::canonical("bob@example.com", None).unwrap()
}
