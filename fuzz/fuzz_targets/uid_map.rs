//! Any operations on a map, held against a tree with an entry for every message.
//!
//! Bytes are read as operations until they end. Beside what the model tests do, places are
//! arbitrary here: side UIDs repeat, and stand anywhere in 32 bits.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mailferry::base::Side;
use mailferry::uid::{Bound, By, Place, Run, Seq, SeqSet, SideUid, Uid, UidMap, UidSet};

/// More messages than this make the naive model slow, not the findings better.
const MOST: usize = 20_000;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut twin = Twin::default();
    while !input.0.is_empty() {
        twin.step(&mut input);
        twin.check();
    }
});

/// Bytes taken as numbers; zeros when they have come to an end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn short(&mut self) -> u32 {
        u32::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn long(&mut self) -> u32 {
        self.short() << 16 | self.short()
    }

    /// A UID: mostly one near those that exist.
    fn uid(&mut self) -> u32 {
        match self.byte() {
            255 => self.long(),
            high => u32::from(high % 32) << 8 | u32::from(self.byte()),
        }
    }

    fn place(&mut self) -> Place {
        match self.byte() % 3 {
            0 => Place::Old(SideUid(self.uid())),
            1 => Place::New(SideUid(self.uid())),
            _ => Place::Both { old: SideUid(self.uid()), new: SideUid(self.uid()) },
        }
    }

    fn set(&mut self) -> UidSet<Uid> {
        let ranges = self.byte() % 8;
        UidSet::from_ranges((0..ranges).map(|_| {
            let first = self.uid();
            (Uid(first), Uid(first.saturating_add(u32::from(self.byte()))))
        }))
    }
}

#[derive(Default)]
struct Twin {
    map: UidMap,
    naive: BTreeMap<Uid, Place>,
    then: UidMap,
    naive_then: BTreeMap<Uid, Place>,
    /// The index as it would be stored, and the map it was last written from.
    store: BTreeMap<Uid, Vec<Run>>,
    stored: UidMap,
}

impl Twin {
    fn step(&mut self, input: &mut Input) {
        match input.byte() % 9 {
            0 => {
                let above = self.map.last_uid().map_or(0, |uid| uid.0);
                let uid = Uid(above.saturating_add(u32::from(input.byte())));
                self.push(uid, u32::from(input.byte()), input.place());
            }
            1 => {
                // Many runs at once, or chunks are never full.
                let (n, step) = (input.short() % 1500, 2 + u32::from(input.byte() % 3));
                let place = input.place();
                for _ in 0..n {
                    let above = self.map.last_uid().map_or(0, |uid| uid.0);
                    self.push(Uid(above.saturating_add(step)), 1, place);
                }
            }
            2 => {
                let (uid, place) = (Uid(input.uid()), input.place());
                let found = self.change(uid, place);
                assert_eq!(self.map.set_place(uid, place), found == 1);
            }
            3 => {
                let (from, step) = (input.uid(), 1 + u32::from(input.byte() % 8));
                let (n, place) = (input.short() % 600, input.place());
                let changes: Vec<_> = (0..n)
                    .map_while(|i| Some((Uid(from.checked_add(i * step)?), plus(place, i)?)))
                    .collect();
                let found: u32 = changes.iter().map(|(uid, place)| self.change(*uid, *place)).sum();
                assert_eq!(self.map.set_places(changes), found);
            }
            4 => {
                let set = input.set();
                let before = self.naive.len();
                self.naive.retain(|uid, _| !set.contains(*uid));
                assert_eq!(self.map.remove(&set) as usize, before - self.naive.len());
            }
            5 => self.query(input),
            6 => {
                let diff = self.then.diff(&self.map);
                let lacks = |one: &BTreeMap<Uid, Place>, other: &BTreeMap<Uid, Place>| {
                    one.keys().filter(|uid| !other.contains_key(uid)).copied().collect()
                };
                assert_eq!(diff.gone, lacks(&self.naive_then, &self.naive));
                assert_eq!(diff.arrived, lacks(&self.naive, &self.naive_then));
                (self.then, self.naive_then) = (self.map.clone(), self.naive.clone());
            }
            7 => self.write(),
            _ => {
                self.write();
                let chunks = self.store.values().cloned().collect();
                self.map = UidMap::from_chunks(chunks).expect("what was a map is one");
                self.stored = self.map.clone();
            }
        }
    }

    fn push(&mut self, uid: Uid, len: u32, place: Place) {
        if self.naive.len() + len as usize > MOST {
            return;
        }
        if self.map.push(uid, len, place).is_ok() {
            assert!(self.naive.last_key_value().is_none_or(|last| *last.0 < uid));
            self.naive.extend((0..len).map(|n| (Uid(uid.0 + n), place.plus(n))));
        }
    }

    fn change(&mut self, uid: Uid, place: Place) -> u32 {
        if Side::BOTH.into_iter().any(|side| place.on(side) == Some(SideUid(0))) {
            return 0;
        }
        let Some(held) = self.naive.get_mut(&uid) else { return 0 };
        *held = place;
        1
    }

    fn query(&self, input: &mut Input) {
        let set = input.set();
        let named: Vec<_> = self.naive.iter().filter(|(uid, _)| set.contains(**uid)).collect();
        let found: Vec<_> = self.map.intersect(&set).flat_map(messages).collect();
        assert!(found.iter().map(|(uid, place)| (uid, place)).eq(named.iter().copied()));
        let mut cursor = self.map.cursor();
        for (seq, run) in self.map.numbered(&set) {
            assert_eq!(self.map.seq(run.uid), Some(seq));
            assert_eq!(self.map.uid_at(seq), Some(run.uid));
            assert_eq!(cursor.seq(run.uid), Some(seq));
        }
        let asked = Uid(input.uid());
        let seq = || u32::try_from(self.naive.range(..=asked).count()).ok().map(Seq);
        let seq = self.naive.contains_key(&asked).then(seq).flatten();
        assert_eq!((self.map.seq(asked), cursor.seq(asked)), (seq, seq));
        assert_eq!(self.map.place(asked), self.naive.get(&asked).copied());

        let side = if input.byte() % 2 == 0 { Side::Old } else { Side::New };
        let on_side = SideUid(input.uid());
        let mut claims = self.naive.iter().filter(|(_, place)| place.on(side) == Some(on_side));
        let first = claims.next().map(|(uid, _)| *uid);
        assert_eq!(self.map.uid_of(side, on_side), first);
        assert_eq!(self.map.shared(side).contains(on_side), claims.next().is_some());

        let mut bound = || match input.byte() {
            0 => Bound::Star,
            _ => Bound::Number(input.uid()),
        };
        let (a, b) = (bound(), bound());
        let number = |bound, star| match bound {
            Bound::Number(n) => n,
            Bound::Star => star,
        };
        let (set, exists) = (SeqSet::from_ranges([(a, b)]), self.map.len());
        let (a, b) = (number(a, exists), number(b, exists));
        let bad = a.min(b) == 0 || a.max(b) > exists;
        let named = self.naive.keys().skip(a.min(b).saturating_sub(1) as usize);
        let named = named.take((a.max(b) - a.min(b)) as usize + 1).copied();
        assert_eq!(self.map.resolve(&set, By::Seq), (!bad).then(|| named.collect()));
    }

    fn write(&mut self) {
        let changes = self.map.changed_chunks(&self.stored);
        for uid in changes.delete {
            assert!(self.store.remove(&uid).is_some());
        }
        for chunk in changes.put {
            self.store.insert(chunk.first_uid(), chunk.runs().to_vec());
        }
        let chunks = self.map.chunks().map(|chunk| (chunk.first_uid(), chunk.runs()));
        assert!(self.store.iter().map(|(uid, runs)| (*uid, runs.as_slice())).eq(chunks));
        self.stored = self.map.clone();
    }

    fn check(&self) {
        self.map.check();
        self.map.uids().check();
        assert_eq!(self.map.len() as usize, self.naive.len());
        assert!(self.map.runs().flat_map(messages).eq(self.naive.iter().map(|(u, p)| (*u, *p))));
    }
}

fn messages(run: Run) -> impl Iterator<Item = (Uid, Place)> {
    (0..run.len).map(move |n| (Uid(run.uid.0 + n), run.place.plus(n)))
}

/// The place `n` further on, if there is one.
fn plus(place: Place, n: u32) -> Option<Place> {
    let fits = |side| place.on(side).is_none_or(|uid| uid.0.checked_add(n).is_some());
    Side::BOTH.into_iter().all(fits).then(|| place.plus(n))
}
