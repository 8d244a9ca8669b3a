//! I18NLEVEL=1 (RFC 5255): SEARCH, SORT and THREAD compare by `i;unicode-casemap` on both sides.

mod lab;

use lab::{Dialogue, Mail, World};

/// Six spellings of one subject, and a neighbour on either side of it.
const SUBJECTS: [&str; 8] = [
    "Gr\u{fc}ne F\u{e4}hre \u{2167}",
    "GRU\u{308}NE fa\u{308}hre \u{2177}",
    "=?utf-8?B?Z3LDvG5lIEbDpGhyZSBWSUlJ?=",
    "=?iso-8859-1?Q?GR=DCNE_F=C4HRE_viii?=",
    "Re: =?utf-8?Q?gr=C3=BCne_F=C3=A4hre_?= =?us-ascii?Q?VIII?=",
    "gr\u{fc}ne f\u{c4}HRE viii",
    "gr\u{fc}ne F\u{e4}hre VIIJ",
    "gr\u{fc}ne F\u{e4}hre VIIH",
];

fn letters(numbers: &[usize]) -> Vec<Mail> {
    let letter = |n: &usize| {
        let subject = SUBJECTS[*n];
        let body = match n % 2 {
            0 => {
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                  RWluZSBLw5ZOSUdJTg==\r\n"
            }
            _ => {
                "Content-Type: text/plain; charset=iso-8859-1\r\n\
                  Content-Transfer-Encoding: quoted-printable\r\n\r\nEine k=F6ni=\r\ngin\r\n"
            }
        };
        let text = format!(
            "From: =?iso-8859-15?Q?J=F6rg?= <j{n}@example.com>\r\nSubject: {subject}\r\n\
             Message-ID: <{n}@example.com>\r\nDate: Tue, {:02} Mar 2016 12:00:00 +0000\r\n\
             MIME-Version: 1.0\r\n{body}",
            n + 1
        );
        Mail::of(text.into_bytes())
    };
    numbers.iter().map(letter).collect()
}

fn find(client: &mut Dialogue, key: &str, text: &str) -> Vec<u32> {
    client.literal(&format!("SEARCH CHARSET UTF-8 {key} "), text.as_bytes(), "").found()
}

#[test]
fn strings_are_compared_alike_wherever_messages_lie() {
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &letters(&[0, 1, 2, 6]));
        new.seed("INBOX", &letters(&[3, 4, 5, 7]));
        old.seed("All", &letters(&[0, 1, 2, 6, 3, 4, 5, 7]));
    });
    world.proxy.client().ok("SELECT INBOX");
    let mut client = world.proxy.client();
    assert!(client.ok("CAPABILITY").lines().concat().contains(" I18NLEVEL=1"));
    client.ok("SELECT INBOX");
    // One server that has them all finds the same.
    let mut one = world.old.client();
    one.ok("SELECT INBOX.All");
    for (key, text, expected) in [
        ("SUBJECT", "GR\u{dc}NE f\u{e4}hre viii", &[1, 2, 3, 5, 6, 7][..]),
        ("SUBJECT", "u\u{308}ne fa\u{308}", &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("SUBJECT", "\u{2177}", &[1, 2, 3, 5, 6, 7]),
        ("SUBJECT", "gr\u{fb}ne", &[]),
        ("FROM", "J\u{d6}RG", &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("HEADER Subject", "F\u{c4}HRE VIIj", &[4]),
        ("BODY", "K\u{f6}nigIN", &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("TEXT", "fa\u{308}hre viih", &[8]),
        ("NOT TEXT", "ko\u{308}nigin", &[]),
    ] {
        assert_eq!(find(&mut client, key, text), expected, "{key} {text}");
        assert_eq!(find(&mut one, key, text), expected, "{key} {text}, on one server");
    }
    for order in [
        "SORT (SUBJECT) UTF-8 ALL",
        "SORT (REVERSE SUBJECT DATE) UTF-8 ALL",
        "SORT (FROM) UTF-8 ALL",
        "SORT (DISPLAYFROM REVERSE DATE) UTF-8 ALL",
        "THREAD ORDEREDSUBJECT UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
    ] {
        assert_eq!(client.ok(order).lines(), one.ok(order).lines(), "{order}");
    }
    let sorted = client.ok("SORT (SUBJECT) UTF-8 ALL").lines();
    assert_eq!(sorted, ["* SORT 8 1 2 3 5 6 7 4"]);
    let threaded = client.ok("THREAD ORDEREDSUBJECT UTF-8 ALL").lines();
    assert!(threaded[0].contains("(1 (2)(3)(5)(6)(7))"), "{threaded:?}");
}

#[test]
fn v10_a_collation_is_offered_where_both_servers_have_it() {
    for side in ["old", "new"] {
        let world = World::new().set(&format!("{side}.mask"), "[\"I18NLEVEL=1\"]").start();
        world.proxy.client().ok("SELECT INBOX");
        let capability = world.proxy.client().ok("CAPABILITY").lines().concat();
        assert!(!capability.contains("I18NLEVEL"), "{capability}");
    }
}
