//! A server's bytes, cut into units and read: no panic, no range out of its segment, and the same
//! reading wherever the network cuts them.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mailferry::imap::fetch_scan::{Ends, FetchScan, Item, ItemKind, flags, modseq, number};
use mailferry::imap::framer::{FrameError, Framer, Piece};
use mailferry::imap::response;

fuzz_target!(|input: &[u8]| {
    let Some((&step, wire)) = input.split_first() else { return };
    let (all, end) = units(wire, usize::from(step).max(1));
    let uncut = units(wire, wire.len().max(1));
    assert_eq!((&all, end), (&uncut.0, uncut.1));
    for unit in &all {
        if let Some(first) = unit.first() {
            assert_eq!(response::is_fetch(first).is_some(), FetchScan::start(first).is_some());
        }
        walk(unit);
        let inlined = Bytes::from(unit.concat());
        if let Ok(response::Response::Other(whole)) = response::parse(&inlined) {
            assert_eq!(whole, inlined);
        }
    }
});

/// Texts and literals of every complete unit in turn; each text that announces a literal ends in
/// CRLF, as the reader of a unit wants it.
fn units(wire: &[u8], step: usize) -> (Vec<Vec<Vec<u8>>>, Option<FrameError>) {
    let mut framer = Framer::for_server(1000);
    let mut buf = BytesMut::new();
    let mut units = Vec::new();
    let mut unit: Vec<Vec<u8>> = Vec::new();
    let mut literal = Vec::new();
    for part in wire.chunks(step) {
        buf.extend_from_slice(part);
        loop {
            match framer.next(&mut buf) {
                Ok(None) => break,
                Err(error) => return (units, Some(error)),
                Ok(Some(Piece::Line(text))) => {
                    unit.push(text.to_vec());
                    units.push(std::mem::take(&mut unit));
                }
                Ok(Some(Piece::Head { text, literal: announced })) => {
                    assert_eq!(framer.remaining(), announced.octets);
                    unit.push([&text[..], b"\r\n"].concat());
                }
                Ok(Some(Piece::Chunk { octets, last })) => {
                    literal.extend_from_slice(&octets);
                    assert_eq!(last, framer.remaining() == 0);
                    if last {
                        unit.push(std::mem::take(&mut literal));
                    }
                }
            }
        }
    }
    (units, None)
}

/// Walks a unit if it is a FETCH.
fn walk(unit: &[Vec<u8>]) {
    let Some((mut scan, _, mut from)) = unit.first().and_then(|first| FetchScan::start(first))
    else {
        return;
    };
    let mut items: Vec<Item> = Vec::new();
    let mut under_way = false;
    for (at, segment) in unit.iter().enumerate().step_by(2) {
        let segment = segment.strip_suffix(b"\r\n").unwrap_or(segment);
        items.clear();
        if scan.segment(segment, from, &mut items).is_err() {
            return;
        }
        for item in &items {
            assert_eq!(item.kind == ItemKind::Continuation, under_way);
            under_way = item.ends == Ends::InLiteral;
            assert!(from <= item.name.start && item.name.end <= item.value.start);
            from = item.value.end;
            let value = &segment[item.value.clone()];
            let _ = (number(value), modseq(value), flags(value).count());
        }
        assert_eq!(under_way, at + 1 < unit.len());
        from = 0;
    }
}
