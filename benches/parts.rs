//! The pure parts alone: the map, sets of UIDs, reading what servers and clients say.
//!
//! `cargo bench --bench parts`, with a filter and divan's options behind `--`.

use std::hint::black_box;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use mailferry::base::Side;
use mailferry::imap::command::parse;
use mailferry::imap::fetch::FetchItem;
use mailferry::imap::fetch_rewrite::{Writer, items_for_server, told_uid};
use mailferry::imap::fetch_scan::FetchScan;
use mailferry::imap::framer::{Framer, Piece};
use mailferry::uid::{By, Place, Run, SeqSet, SideUid, Uid, UidMap, UidSet};

/// A large mailbox.
const MESSAGES: u32 = 100_000;

/// Room for what a client is sent.
const ROOM: usize = 64 << 10;

/// Longer than any line here.
const MAX_LINE: usize = 64 << 10;

fn main() {
    divan::main();
}

/// What a mailbox may have become.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One run.
    Untouched,
    /// Every second message deleted: a run a message.
    Sparse,
    /// Every second message copied, in an order without pattern.
    HalfCopied,
}

const SHAPES: [Shape; 3] = [Shape::Untouched, Shape::Sparse, Shape::HalfCopied];

fn map(shape: Shape) -> UidMap {
    let old = |uid| Run { uid: Uid(uid), len: 1, place: Place::Old(SideUid(uid)) };
    let both = |uid: u32| Run {
        place: Place::Both { old: SideUid(uid), new: SideUid(scattered(uid)) },
        ..old(uid)
    };
    let runs: Vec<Run> = match shape {
        Shape::Untouched => vec![Run { len: MESSAGES, ..old(1) }],
        Shape::Sparse => (1..=MESSAGES).map(|n| old(2 * n)).collect(),
        Shape::HalfCopied => {
            (1..=MESSAGES).map(|n| if n % 2 == 0 { both(n) } else { old(n) }).collect()
        }
    };
    UidMap::from_runs(runs).expect("runs ascend")
}

/// One number for each, without a pattern.
fn scattered(n: u32) -> u32 {
    // 100,003 is a prime: no two of 1 to 100,000 fall on one number.
    (u64::from(n) * 61_803 % 100_003) as u32
}

#[divan::bench(args = SHAPES)]
fn map_built_from_runs(bencher: Bencher, shape: Shape) {
    let runs: Vec<Run> = map(shape).runs().collect();
    let count = ItemsCount::new(runs.len());
    bencher.counter(count).bench(|| UidMap::from_runs(black_box(&runs).iter().copied()));
}

#[divan::bench(args = SHAPES)]
fn place_of_each_message(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    let uids: Vec<Uid> = map.uids().iter().collect();
    let all = |map: &UidMap| uids.iter().filter(|uid| map.place(**uid).is_some()).count();
    bencher.counter(ItemsCount::new(uids.len())).bench(|| all(black_box(&map)));
}

#[divan::bench(args = SHAPES)]
fn cursor_over_each_message_of_old(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    let uids: Vec<SideUid> = map.side_uids(Side::Old).iter().collect();
    bencher.counter(ItemsCount::new(uids.len())).bench(|| {
        let mut cursor = map.cursor();
        uids.iter().filter(|uid| cursor.find(Side::Old, **uid).is_some()).count()
    });
}

#[divan::bench(args = SHAPES)]
fn one_message_copied(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    let uid = map.uid_at((map.len() / 2).into()).expect("a message in the middle");
    let old = map.place(uid).and_then(|place| place.on(Side::Old)).expect("on old");
    let place = Place::Both { old, new: SideUid(MESSAGES + 10) };
    bencher.with_inputs(|| map.clone()).bench_refs(|map| map.set_place(uid, place));
}

#[divan::bench(args = SHAPES)]
fn difference_after_one_copy(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    let mut newer = map.clone();
    let gone = map.uid_at((map.len() / 2).into()).expect("a message in the middle");
    newer.remove(&UidSet::from_ranges([(gone, gone)]));
    bencher.bench(|| black_box(&map).diff(black_box(&newer)));
}

#[divan::bench(args = SHAPES)]
fn everything_resolved_and_intersected(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    bencher.counter(ItemsCount::new(map.len())).bench(|| {
        let wanted = black_box(&map).resolve(&SeqSet::all(), By::Uid).expect("UIDs resolve");
        map.intersect(&wanted).count()
    });
}

#[divan::bench]
fn two_scattered_sets_intersected(bencher: Bencher) {
    let every =
        |step: u32| UidSet::from_ranges((1..MESSAGES).map(|n| (Uid(n * step), Uid(n * step))));
    let (second, third) = (every(2), every(3));
    bencher
        .counter(ItemsCount::new(2 * MESSAGES))
        .bench(|| black_box(&second).intersect(black_box(&third)).len());
}

/// From a server's octets to a client's: what FETCH of flags is made of.
#[divan::bench(args = SHAPES)]
fn flags_lines_rewritten(bencher: Bencher, shape: Shape) {
    let map = map(shape);
    let mut octets = Vec::new();
    for (seq, uid) in (1..).zip(map.side_uids(Side::Old).iter()) {
        octets.extend_from_slice(
            format!("* {seq} FETCH (UID {uid} FLAGS (\\Seen $Forwarded))\r\n").as_bytes(),
        );
    }
    let whole = BytesMut::from(octets.as_slice());
    let (_, wish) = items_for_server(&[FetchItem::Uid, FetchItem::Flags], false);
    bencher
        .counter(ItemsCount::new(map.len()))
        .counter(BytesCount::new(octets.len()))
        .with_inputs(|| whole.clone())
        .bench_refs(|octets| {
            let (mut framer, mut cursor) = (Framer::for_server(MAX_LINE), map.cursor());
            let (mut items, mut out, mut lines) = (Vec::new(), Vec::with_capacity(ROOM), 0);
            while let Ok(Some(Piece::Line(text))) = framer.next(octets) {
                let Some((mut scan, _, from)) = FetchScan::start(&text) else { continue };
                items.clear();
                if scan.segment(&text, from, &mut items).is_err() {
                    continue;
                }
                let uid = told_uid(&text, &items);
                let Some((uid, seq)) = uid.and_then(|uid| cursor.find(Side::Old, uid)) else {
                    continue;
                };
                let mut writer = Writer::new(&wish);
                writer.begin(seq, uid, None, &mut out);
                writer.items(&text, &items, &mut out);
                writer.end(&mut out);
                lines += 1;
                if out.len() >= ROOM / 2 {
                    black_box(&out);
                    out.clear();
                }
            }
            assert_eq!(lines, map.len());
        });
}

/// Literals of 64 KiB cut out of a stream.
#[divan::bench]
fn literals_framed(bencher: Bencher) {
    const LITERAL: usize = 64 << 10;
    const COUNT: usize = 64;
    let mut octets = Vec::new();
    for n in 1..=COUNT {
        octets
            .extend_from_slice(format!("* {n} FETCH (UID {n} BODY[] {{{LITERAL}}}\r\n").as_bytes());
        octets.resize(octets.len() + LITERAL, b'x');
        octets.extend_from_slice(b")\r\n");
    }
    let whole = BytesMut::from(octets.as_slice());
    bencher.counter(BytesCount::new(octets.len())).with_inputs(|| whole.clone()).bench_refs(
        |octets| {
            let mut framer = Framer::for_server(MAX_LINE);
            while let Ok(Some(piece)) = framer.next(octets) {
                black_box(piece);
            }
            assert!(octets.is_empty());
        },
    );
}

const COMMANDS: [&str; 6] = [
    "a1 NOOP",
    "a1 SELECT \"INBOX.Work.2016\"",
    "a1 UID FETCH 1:* (FLAGS)",
    "a1 UID FETCH 1:50 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID \
     Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
    "a1 UID STORE 4827313 +FLAGS.SILENT (\\Seen $Forwarded)",
    "a1 UID SEARCH RETURN (ALL) UNDELETED OR FROM \"ann\" SUBJECT \"lunch on thursday\" SINCE 1-Feb-2016",
];

#[divan::bench(args = COMMANDS)]
fn command_parsed(bencher: Bencher, line: &str) {
    bencher.counter(ItemsCount::new(1_u32)).bench(|| parse(black_box(line.as_bytes())).is_ok());
}
