//! Any octets as a message in DATA and in BDAT, cut into packets anywhere: the same is read whatever
//! the cuts, and what is written anew ends where it ends, for the most lenient reader too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailferry::smtp::{HeaderWatch, Lone, Scanner, Stuffer};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool, bool)| {
    let (octets, cuts, normalized, dots) = input;
    let lone = if normalized { Lone::Normalized } else { Lone::Refused };
    let scanner = match dots {
        true => Scanner::of_data(lone, 40),
        false => Scanner::of_bdat(lone, 40),
    };
    let (mut whole, mut pieces) = (scanner.clone(), scanner);
    let (mut message, mut again) = (Vec::new(), Vec::new());
    let length = whole.take(&octets, &mut message);
    let (mut taken, mut rest) = (0, &octets[..]);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([octets.len()]) {
        let (packet, behind) = rest.split_at(cut.min(rest.len()));
        taken += pieces.take(packet, &mut again);
        rest = behind;
    }
    if !dots {
        whole.finish(&mut message);
        pieces.finish(&mut again);
    }
    assert_eq!((taken, pieces.has_ended(), pieces.flaw()), (length, whole.has_ended(), whole.flaw()));
    if whole.flaw().is_some() || !whole.has_ended() {
        return;
    }
    assert_eq!(again, message);
    let mut watch = HeaderWatch::new("by here");
    watch.see(&message);
    let (mut stuffer, mut sent) = (Stuffer::default(), Vec::new());
    stuffer.push(&message, &mut sent);
    stuffer.finish(&mut sent);
    // To the most lenient reader any CR or LF ends a line, and NUL is nothing.
    let lines: Vec<&[u8]> = sent.split(|octet| matches!(octet, b'\r' | b'\n')).collect();
    let ends = lines.iter().filter(|line| **line == b".").count();
    assert_eq!(ends, 1, "{}", sent.escape_ascii());
    assert!(sent.ends_with(b".\r\n") && !sent.contains(&0));
});
