//! FETCH replies in the shapes of real servers, walked as the framer cuts them.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::imap::framer::{Framer, Piece};

/// An item as text: name, kind, value, where it ends.
fn shown(segment: &[u8], item: &Item) -> (String, ItemKind, String, Ends) {
    let text = |range: &Range<usize>| String::from_utf8_lossy(&segment[range.clone()]).into_owned();
    (text(&item.name), item.kind, text(&item.value), item.ends)
}

/// All items of one FETCH (literals taken out by the framer), and whether it closed.
fn walk(unit: &str) -> (Vec<(String, ItemKind, String, Ends)>, bool) {
    let mut buf = BytesMut::from(unit.as_bytes());
    buf.extend_from_slice(b"\r\n");
    let mut framer = Framer::for_server(10_000);
    let mut scan: Option<FetchScan> = None;
    let mut all = Vec::new();
    while let Some(piece) = framer.next(&mut buf).unwrap() {
        let (Piece::Line(text) | Piece::Head { text, .. }) = piece else { continue };
        let mut out = Vec::new();
        let from = match scan {
            Some(_) => 0,
            None => {
                let (started, seq, from) = FetchScan::start(&text).expect("a FETCH");
                assert_eq!(seq, 12);
                scan = Some(started);
                from
            }
        };
        scan.as_mut().unwrap().segment(&text, from, &mut out).unwrap();
        all.extend(out.iter().map(|item| shown(&text, item)));
    }
    (all, scan.unwrap().is_closed())
}

fn here(name: &str, kind: ItemKind, value: &str) -> (String, ItemKind, String, Ends) {
    (name.into(), kind, value.into(), Ends::Here)
}

fn cut(name: &str, kind: ItemKind, value: &str) -> (String, ItemKind, String, Ends) {
    (name.into(), kind, value.into(), Ends::InLiteral)
}

use ItemKind::{Body, Continuation, Flags, InternalDate, ModSeq, Other, Rfc822Size, Uid};

#[test]
fn dovecot_flags_and_modseq() {
    let (items, closed) = walk(r"* 12 FETCH (UID 7 MODSEQ (90060115205545359) FLAGS (\Seen $X))");
    assert!(closed);
    assert_eq!(
        items,
        [
            here("UID", Uid, "7"),
            here("MODSEQ", ModSeq, "(90060115205545359)"),
            here("FLAGS", Flags, r"(\Seen $X)"),
        ]
    );
    assert_eq!(modseq(b"(90060115205545359)"), Some(90060115205545359));
    assert_eq!(modseq(b"( 5 )"), Some(5));
    assert_eq!(modseq(b"5"), Some(5));
    assert_eq!(modseq(b"(5"), None);
    assert_eq!(modseq(b"NIL"), None);
}

#[test]
fn dovecot_body_and_what_follows_it() {
    let unit = "* 12 FETCH (UID 7 RFC822.SIZE 2134 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
                BODY[HEADER.FIELDS (FROM TO)]<0> {7}\r\nFrom)\r\n BODY[1.2.MIME] NIL BINARY[3] ~{2}\r\n\0) FLAGS ())";
    let (items, closed) = walk(unit);
    assert!(closed);
    assert_eq!(
        items,
        [
            here("UID", Uid, "7"),
            here("RFC822.SIZE", Rfc822Size, "2134"),
            here("INTERNALDATE", InternalDate, "\"17-Jul-1996 02:44:25 -0700\""),
            cut("BODY[HEADER.FIELDS (FROM TO)]<0>", Body, "{7}"),
            here("", Continuation, ""),
            here("BODY[1.2.MIME]", Body, "NIL"),
            cut("BINARY[3]", Body, "~{2}"),
            here("", Continuation, ""),
            here("FLAGS", Flags, "()"),
        ]
    );
}

#[test]
fn cyrus_sends_uid_after_flags() {
    let (items, closed) = walk(r"* 12 FETCH (FLAGS (\Recent \Seen) UID 44)");
    assert!(closed);
    assert_eq!(items, [here("FLAGS", Flags, r"(\Recent \Seen)"), here("UID", Uid, "44")]);
}

#[test]
fn cyrus_quotes_field_names_and_literals_may_stand_in_them() {
    let (items, closed) = walk(
        "* 12 FETCH (BODY[HEADER.FIELDS (\"X-]\" {3}\r\nX]( {1}\r\nY)]<5> \"a \\\" ]\" UID 4)",
    );
    assert!(closed);
    assert_eq!(
        items,
        [
            cut("BODY[HEADER.FIELDS (\"X-]\" {3}", Body, ""),
            cut(" {1}", Continuation, ""),
            here(")]<5>", Continuation, "\"a \\\" ]\""),
            here("UID", Uid, "4"),
        ]
    );
    let (items, _) = walk("* 12 FETCH (BODY[HEADER.FIELDS ({1}\r\nY)] {2}\r\nab UID 4)");
    assert_eq!(
        items,
        [
            cut("BODY[HEADER.FIELDS ({1}", Body, ""),
            cut(")]", Continuation, "{2}"),
            here("", Continuation, ""),
            here("UID", Uid, "4"),
        ]
    );
}

#[test]
fn an_envelope_with_literals_in_it() {
    let unit =
        "* 12 FETCH (ENVELOPE (\"date\" {3}\r\n\"(( ((\"a\" NIL {2}\r\n)) \"x\")) \"{3}\") UID 7)";
    let (items, closed) = walk(unit);
    assert!(closed);
    assert_eq!(
        items,
        [
            cut("ENVELOPE", Other, "(\"date\" {3}"),
            cut("", Continuation, " ((\"a\" NIL {2}"),
            here("", Continuation, " \"x\")) \"{3}\")"),
            here("UID", Uid, "7"),
        ]
    );
}

#[test]
fn gmail_extensions_pass() {
    let unit = "* 12 FETCH (X-GM-THRID 1278455344230334865 X-GM-LABELS (\"\\\\Inbox\" \"f (o)\" bar) \
                UID 7 EMAILID (M1) PREVIEW NIL BODYSTRUCTURE (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"UTF-8\") NIL NIL \"7BIT\" 5 1))";
    let (items, closed) = walk(unit);
    assert!(closed);
    let names: Vec<_> = items.iter().map(|i| (i.0.as_str(), i.1)).collect();
    assert_eq!(
        names,
        [
            ("X-GM-THRID", Other),
            ("X-GM-LABELS", Other),
            ("UID", Uid),
            ("EMAILID", Other),
            ("PREVIEW", Other),
            ("BODYSTRUCTURE", Other),
        ]
    );
    assert_eq!(items[1].2, "(\"\\\\Inbox\" \"f (o)\" bar)");
}

#[test]
fn exchange_and_courier_oddities() {
    // Lower case, spaces too many or too few, flags missing, RFC822 forms.
    let (items, closed) = walk("*  12  fetch  ( uid 7  flags (\\Seen )  RFC822.HEADER \"\" )  ");
    assert!(closed);
    assert_eq!(
        items,
        [
            here("uid", Uid, "7"),
            here("flags", Flags, "(\\Seen )"),
            here("RFC822.HEADER", Body, "\"\""),
        ]
    );
    let (items, closed) =
        walk("* 12 FETCH(FLAGS(\\Seen) BODY[]{2}\r\nab RFC822.TEXT {0}\r\n UID 7)");
    assert!(closed);
    assert_eq!(
        items,
        [
            here("FLAGS", Flags, "(\\Seen)"),
            cut("BODY[]", Body, "{2}"),
            here("", Continuation, ""),
            cut("RFC822.TEXT", Body, "{0}"),
            here("", Continuation, ""),
            here("UID", Uid, "7"),
        ]
    );
    // A value that is missing, an empty FETCH, and one that never closes.
    let (items, closed) = walk("* 12 FETCH (UID 7 FLAGS )");
    assert!(closed);
    assert_eq!(items[1], here("FLAGS", Flags, ""));
    assert_eq!(walk("* 12 FETCH ()"), (vec![], true));
    assert!(!walk("* 12 FETCH (UID 7").1);
    // `BODY` and BINARY.SIZE are no content.
    let (items, _) = walk("* 12 FETCH (BODY (\"TEXT\") BINARY.SIZE[1] 5)");
    assert_eq!(items[0], here("BODY", Other, "(\"TEXT\")"));
    assert_eq!(items[1], here("BINARY.SIZE[1]", Other, "5"));
}

#[test]
fn what_breaks_off_is_an_error() {
    for (text, error) in [
        ("UID 7 ENVELOPE (\"a\" (b)", ScanError::BrokenOff),
        ("ENVELOPE (\"a)", ScanError::BrokenOff),
        ("BODY[HEADER.FIELDS (A)", ScanError::BrokenOff),
        ("BODY[]<0 NIL", ScanError::BrokenOff),
        ("(UID 7)", ScanError::NoItem),
        ("UID 7 \"x\" y)", ScanError::NoItem),
        ("UID 7) {3}", ScanError::StrayLiteral),
        ("UID 7{3}", ScanError::StrayLiteral),
    ] {
        let text = format!("* 12 FETCH ({text}");
        let (mut scan, _, from) = FetchScan::start(text.as_bytes()).unwrap();
        assert_eq!(scan.segment(text.as_bytes(), from, &mut Vec::new()), Err(error), "{text}");
    }
}

#[test]
fn what_begins_no_fetch() {
    for text in [
        "",
        "*",
        "* 1",
        "* 1 FETCH",
        "* 1 FETCH {3}",
        "* 1 FETC (",
        "* 0 FETCH (",
        "* 4294967296 FETCH (",
        "* FETCH (",
        "* OK 1 FETCH (",
        "a 1 FETCH (",
        "* 1 EXISTS",
    ] {
        assert_eq!(FetchScan::start(text.as_bytes()), None, "{text}");
    }
    assert_eq!(crate::imap::response::is_fetch(b"* 4294967295 Fetch (UID"), Some(u32::MAX));
}

#[test]
fn depth_costs_a_counter() {
    let deep = format!("* 12 FETCH (X {}{} UID 7)", "(".repeat(500_000), ")".repeat(500_000));
    let (mut scan, _, from) = FetchScan::start(deep.as_bytes()).unwrap();
    let mut out = Vec::new();
    scan.segment(deep.as_bytes(), from, &mut out).unwrap();
    assert_eq!((out.len(), out[0].value.len(), scan.is_closed()), (2, 1_000_000, true));
}

/// A value of a FETCH with literals announced in it, and their octets.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("NIL".to_owned()),
        "[a-z0-9]{1,5}",
        r#"("([ a-z(){}\[\]]|\\"|\\\\){0,6}")"#,
        "[ ()a\"\\]]{0,5}".prop_map(|octets| format!("{{{}}}\r\n{octets}", octets.len())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|all| format!("({})", all.join(" ")))
    })
}

proptest! {
    /// Whatever the values are, the items found are those that were written.
    #[test]
    fn every_item_is_found(items in prop::collection::vec(("[A-Z]{2,9}", value()), 0..6)) {
        let text: Vec<_> = items.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let (found, closed) = walk(&format!("* 12 FETCH ({})", text.join(" ")));
        prop_assert!(closed);
        let names: Vec<_> = found.iter().filter(|i| i.1 != Continuation).map(|i| &i.0).collect();
        prop_assert_eq!(names, items.iter().map(|(name, _)| name).collect::<Vec<_>>());
        for (item, next) in found.iter().zip(found.iter().skip(1)) {
            prop_assert_eq!(item.3 == Ends::InLiteral, next.1 == Continuation);
        }
    }

    /// No bytes make it panic, go backwards, or find ranges that are not there.
    #[test]
    fn ranges_stand_in_order_within_the_segment(segments in prop::collection::vec(
        prop::collection::vec(prop_oneof![
            prop::sample::select(b" ()\"\\[]<>{}~1+UBODY".to_vec()), any::<u8>(),
        ], 0..40).prop_map(|mut s| { s.extend_from_slice(b"{1}"); Bytes::from(s) }), 0..6),
    ) {
        let (mut scan, _, _) = FetchScan::start(b"* 1 FETCH (").unwrap();
        for segment in segments {
            let mut out = Vec::new();
            let read = scan.segment(&segment, 0, &mut out);
            let mut at = 0;
            for item in &out {
                prop_assert!(at <= item.name.start && item.name.start <= item.name.end);
                prop_assert!(item.name.end <= item.value.start && item.value.start <= item.value.end);
                at = item.value.end;
            }
            prop_assert!(at <= segment.len());
            if read.is_err() {
                break;
            }
        }
    }
}
