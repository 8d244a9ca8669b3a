//! What an account's mailboxes hold, added up from the index alone: three ranges of keys are read, and
//! nothing is asked of a server.

use std::collections::HashMap;

use super::encoding::unpack_measured;
use super::error::IndexError;
use super::keys::{Key, Tree, number_in};
use super::load::{damaged, mailboxes};
use super::pack::unpack_runs;
use super::records::{AccountId, Measured};
use super::store::Store;
use crate::uid::Place;

/// The messages of an account, but for mailboxes that its clients deleted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages on old alone.
    pub old: u64,
    /// Messages on new alone.
    pub new: u64,
    /// Messages on both sides.
    pub both: u64,
    /// Messages that could not be copied.
    pub stuck: u64,
    /// What lies on old.
    pub octets: Octets,
}

/// Octets of messages of which only some were measured: the others are taken to be like them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Octets {
    /// Messages of mailboxes of which something was measured, and those of them that are copied.
    measured: (u64, u64),
    /// The octets of these two.
    octets: (u64, u64),
    /// The same messages of mailboxes of which nothing was.
    unmeasured: (u64, u64),
}

impl Octets {
    /// Adds a mailbox: its messages on old, those of them that are on new as well, and what was measured.
    pub fn add(&mut self, messages: u64, copied: u64, measured: Measured) {
        if measured.messages == 0 {
            self.unmeasured.0 += messages;
            self.unmeasured.1 += copied;
            return;
        }
        self.measured.0 += messages;
        self.measured.1 += copied;
        self.octets.0 += share(measured.octets, messages, measured.messages);
        self.octets.1 += share(measured.octets, copied, measured.messages);
    }

    /// The octets of all, and those of what is copied; `None`: nothing was measured.
    pub fn estimate(&self) -> Option<(u64, u64)> {
        let (unmeasured, copied) = self.unmeasured;
        if unmeasured == 0 {
            return Some(self.octets);
        }
        let (octets, measured) = (self.octets.0, self.measured.0);
        let alike = |messages| share(octets, messages, measured);
        (measured > 0).then(|| (octets + alike(unmeasured), self.octets.1 + alike(copied)))
    }
}

/// What `messages` take where `measured` take so many octets.
fn share(octets: u64, messages: u64, measured: u64) -> u64 {
    let octets = u128::from(octets) * u128::from(messages) / u128::from(measured.max(1));
    u64::try_from(octets).unwrap_or(u64::MAX)
}

/// What one mailbox holds.
#[derive(Default)]
struct Holds {
    places: Tally,
    measured: Measured,
}

impl Holds {
    /// Takes in what one of [`TREES`] has of it.
    fn take(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        match tree {
            Tree::Stuck => self.places.stuck += 1,
            Tree::Measured => self.measured = unpack_measured(value).map_err(damaged(key))?,
            _ => {
                for run in unpack_runs(value).map_err(damaged(key))? {
                    let len = u64::from(run.len);
                    match run.place {
                        Place::Old(_) => self.places.old += len,
                        Place::New(_) => self.places.new += len,
                        Place::Both { .. } => self.places.both += len,
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is read of an account beside its mailboxes' records.
const TREES: [Tree; 3] = [Tree::Runs, Tree::Stuck, Tree::Measured];

/// Adds an account up.
pub(super) fn tally(store: &dyn Store, account: AccountId) -> Result<Tally, IndexError> {
    let shown = mailboxes(store, account)?.into_iter().filter(|record| !record.hidden);
    let mut all: HashMap<u32, Holds> =
        shown.map(|record| (record.id.0, Holds::default())).collect();
    for tree in TREES {
        store.scan(&Key::of_account(tree, account), &mut |key, value| {
            let id = number_in(key, 1).ok_or_else(|| damaged(key)("a short key"))?;
            // What belongs to none is left of one that was deleted.
            all.get_mut(&id).map_or(Ok(()), |holds| holds.take(tree, key, value))
        })?;
    }
    let mut tally = Tally::default();
    for Holds { places, measured } in all.into_values() {
        tally.mailboxes += 1;
        tally.old += places.old;
        tally.new += places.new;
        tally.both += places.both;
        tally.stuck += places.stuck;
        tally.octets.add(places.old + places.both, places.both, measured);
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_taken_to_be_like_what_was() {
        let mut octets = Octets::default();
        assert_eq!(octets.estimate(), Some((0, 0)), "there is nothing");
        octets.add(100, 50, Measured::default());
        assert_eq!(octets.estimate(), None);
        octets.add(200, 100, Measured { messages: 20, octets: 2_000 });
        assert_eq!(octets.estimate(), Some((30_000, 15_000)));
        octets.add(1, 1, Measured { messages: 1, octets: 5 });
        assert_eq!(octets.octets, (20_005, 10_005));
    }
}
