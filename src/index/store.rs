//! What an engine must do to hold an index: read, scan, apply one atomic and durable batch.
//!
//! The trait is as small as it can be, so that another engine (a shared SQL store, say) has little
//! to get wrong; what the keys and values mean is written once, above it. The conformance tests at
//! the end are for every engine. Nothing here knows sled.

use std::collections::BTreeMap;

use super::error::IndexError;
use super::keys::{Key, Tree, number_in};
use super::records::AccountId;

/// An engine. Used by one thread at a time.
pub trait Store: Send {
    /// The value of a key.
    fn value(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError>;

    /// Shows every key with this beginning and its value, in the order of the keys' octets. An
    /// error of the visitor ends the scan and is returned.
    #[expect(clippy::type_complexity, reason = "an alias would hide what a visitor is")]
    fn scan(
        &self,
        prefix: &Key,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError>;

    /// Applies all of it or, should we crash, none; returns when it is on the disk (and not only
    /// in the system's cache). After an error nothing is known about the store's state any more:
    /// the caller stops using it.
    fn apply(&self, writes: &Writes) -> Result<(), IndexError>;
}

/// One atomic batch: what each key shall hold, `None` for nothing.
#[derive(Default, Debug)]
pub struct Writes(pub BTreeMap<Key, Option<Vec<u8>>>);

impl Writes {
    /// The key shall hold this value.
    pub fn put(&mut self, key: Key, value: Vec<u8>) {
        self.0.insert(key, Some(value));
    }

    /// The key shall hold nothing.
    pub fn remove(&mut self, key: Key) {
        self.0.insert(key, None);
    }

    /// The accounts of whose mailboxes and messages something changes; one may be named often.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> {
        let trees = [Tree::Mailboxes, Tree::Runs, Tree::Stuck].map(|tree| tree as u8);
        let of_them = move |key: &&Key| key.tree_number().is_some_and(|n| trees.contains(&n));
        self.0.keys().filter(of_them).filter_map(|key| number_in(key.as_bytes(), 0)).map(AccountId)
    }

    /// Every key with this beginning shall hold nothing, be it in the store or put by this batch.
    pub fn remove_all(&mut self, prefix: &Key, store: &dyn Store) -> Result<(), IndexError> {
        for (key, value) in &mut self.0 {
            if key.as_bytes().starts_with(prefix.as_bytes()) {
                *value = None;
            }
        }
        store.scan(prefix, &mut |key, _| {
            self.0.insert(Key::from_bytes(key), None);
            Ok(())
        })
    }
}

/// The reference engine of the tests: a sorted map.
#[cfg(test)]
#[derive(Default)]
pub struct MemoryStore(std::sync::Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

#[cfg(test)]
impl Store for MemoryStore {
    fn value(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.0.lock().unwrap().get(key.as_bytes()).cloned())
    }

    fn scan(
        &self,
        prefix: &Key,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        for (key, value) in self.0.lock().unwrap().iter() {
            if key.starts_with(prefix.as_bytes()) {
                visit(key, value)?;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &Writes) -> Result<(), IndexError> {
        let mut map = self.0.lock().unwrap();
        for (key, value) in &writes.0 {
            match value {
                Some(value) => map.insert(key.as_bytes().to_vec(), value.clone()),
                None => map.remove(key.as_bytes()),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod conformance {
    //! What every engine must pass. `reopen` closes the store and opens it again.

    use super::super::records::MailboxId;
    use super::*;
    use crate::uid::Uid;

    pub fn run(mut store: Box<dyn Store>, reopen: &dyn Fn(Box<dyn Store>) -> Box<dyn Store>) {
        values_come_back(&*store);
        scans_are_ordered_and_bounded(&*store);
        removing_all_takes_the_batch_itself_with_it(&*store);
        large_batches_are_whole(&*store);
        same_as_the_reference(&*store);
        let before = all(&*store);
        store = reopen(store);
        assert_eq!(all(&*store), before, "what was applied is there after opening again");
    }

    fn values_come_back(store: &dyn Store) {
        let (a, b) = (Key::meta("a"), Key::meta("b"));
        assert_eq!(store.value(&a).unwrap(), None);
        let mut writes = Writes::default();
        writes.put(a.clone(), b"1".to_vec());
        writes.put(b.clone(), Vec::new());
        store.apply(&writes).unwrap();
        assert_eq!(store.value(&a).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(store.value(&b).unwrap().as_deref(), Some(&b""[..]), "an empty value is one");
        let mut writes = Writes::default();
        writes.put(a.clone(), b"2".to_vec());
        writes.remove(b.clone());
        writes.remove(Key::meta("never there"));
        store.apply(&writes).unwrap();
        assert_eq!(store.value(&a).unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(store.value(&b).unwrap(), None);
        store.apply(&Writes::default()).unwrap();
    }

    fn scans_are_ordered_and_bounded(store: &dyn Store) {
        let (account, mailbox) = (AccountId(7), MailboxId(255));
        let uids = [1, 255, 256, 65_536, u32::MAX];
        let mut writes = Writes::default();
        for uid in uids {
            writes.put(Key::runs(account, mailbox, Uid(uid)), uid.to_be_bytes().to_vec());
        }
        // Neighbours on every side of the range.
        writes.put(Key::runs(account, MailboxId(254), Uid(u32::MAX)), vec![]);
        writes.put(Key::runs(account, MailboxId(256), Uid(0)), vec![]);
        writes.put(Key::runs(AccountId(6), mailbox, Uid(1)), vec![]);
        writes.put(Key::runs(AccountId(8), mailbox, Uid(1)), vec![]);
        writes.put(Key::stuck(account, mailbox, Uid(1)), vec![]);
        store.apply(&writes).unwrap();
        let mut seen = Vec::new();
        store
            .scan(&Key::of_mailbox(Tree::Runs, account, mailbox), &mut |key, value| {
                seen.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        let expected: Vec<_> = uids
            .iter()
            .map(|uid| {
                let key = Key::runs(account, mailbox, Uid(*uid));
                (key.as_bytes().to_vec(), uid.to_be_bytes().to_vec())
            })
            .collect();
        assert_eq!(seen, expected);
        let mut count = 0;
        let stopped = store.scan(&Key::of_mailbox(Tree::Runs, account, mailbox), &mut |_, _| {
            count += 1;
            Err(IndexError::Closed)
        });
        assert!(matches!(stopped, Err(IndexError::Closed)));
        assert_eq!(count, 1, "an error of the visitor ends the scan");
    }

    fn removing_all_takes_the_batch_itself_with_it(store: &dyn Store) {
        let (account, mailbox) = (AccountId(9), MailboxId(1));
        let key = |uid| Key::stuck(account, mailbox, Uid(uid));
        let mut writes = Writes::default();
        writes.put(key(1), vec![1]);
        store.apply(&writes).unwrap();
        let mut writes = Writes::default();
        writes.put(key(2), vec![2]);
        writes.remove_all(&Key::of_mailbox(Tree::Stuck, account, mailbox), store).unwrap();
        writes.put(key(3), vec![3]);
        store.apply(&writes).unwrap();
        let there = [1, 2, 3].map(|uid| store.value(&key(uid)).unwrap().is_some());
        assert_eq!(there, [false, false, true]);
    }

    fn large_batches_are_whole(store: &dyn Store) {
        let (account, mailbox) = (AccountId(10), MailboxId(1));
        let mut writes = Writes::default();
        for uid in 0..5_000u32 {
            writes.put(Key::runs(account, mailbox, Uid(uid)), vec![uid as u8; 700]);
        }
        // Larger than any chunk, as a profile or a list of checkpoints may be.
        writes.put(Key::meta("large"), vec![42; 300_000]);
        store.apply(&writes).unwrap();
        let mut count = 0;
        store
            .scan(&Key::of_account(Tree::Runs, account), &mut |_, value| {
                assert_eq!(value, vec![count as u8; 700]);
                count += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(count, 5_000u32);
        assert_eq!(store.value(&Key::meta("large")).unwrap(), Some(vec![42; 300_000]));
    }

    /// A thousand random batches, against the sorted map.
    fn same_as_the_reference(store: &dyn Store) {
        let reference = MemoryStore::default();
        let account = AccountId(11);
        let mut state = 1u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let (mut ours, mut theirs) = (Writes::default(), Writes::default());
            for _ in 0..random(20) {
                let mailbox = MailboxId(random(4) as u32);
                let key = Key::runs(account, mailbox, Uid(random(200) as u32));
                match random(12) {
                    0 => {
                        let prefix = Key::of_mailbox(Tree::Runs, account, mailbox);
                        ours.remove_all(&prefix, store).unwrap();
                        theirs.remove_all(&prefix, &reference).unwrap();
                    }
                    1..4 => {
                        ours.remove(key.clone());
                        theirs.remove(key);
                    }
                    _ => {
                        let value = vec![random(256) as u8; random(900) as usize];
                        ours.put(key.clone(), value.clone());
                        theirs.put(key, value);
                    }
                }
            }
            store.apply(&ours).unwrap();
            reference.apply(&theirs).unwrap();
        }
        let prefix = Key::of_account(Tree::Runs, account);
        assert_eq!(with_prefix(store, &prefix), with_prefix(&reference, &prefix));
    }

    fn all(store: &dyn Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let trees = [Tree::Meta, Tree::Runs, Tree::Stuck];
        trees.into_iter().flat_map(|tree| with_prefix(store, &Key::tree(tree))).collect()
    }

    fn with_prefix(store: &dyn Store, prefix: &Key) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut seen = BTreeMap::new();
        store
            .scan(prefix, &mut |key, value| {
                seen.insert(key.to_vec(), value.to_vec());
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn the_reference_conforms() {
        run(Box::<MemoryStore>::default(), &|store| store);
    }
}
