use proptest::prelude::*;

use super::*;

/// A style by its prefix, or by its separator where it has no prefix.
fn style(word: &str) -> Style {
    let (prefix, separator): (&[u8], _) = match word {
        "INBOX." => (b"INBOX.", Some(b'.')),
        "INBOX/" => (b"INBOX/", Some(b'/')),
        "mail/" => (b"mail/", Some(b'/')),
        "." => (b"", Some(b'.')),
        "/" => (b"", Some(b'/')),
        "_" => (b"", Some(b'_')),
        _ => (b"", None),
    };
    Style { prefix: prefix.to_vec(), separator }
}

fn styles(old: &str, new: &str) -> Sides<Style> {
    Sides { old: style(old), new: style(new) }
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text.as_bytes()).unwrap()
}

/// A listing from lines such as `Sent Items \Sent \Noselect`, divided by `;`.
fn listing(text: &str) -> Vec<Listed> {
    let folders = text.split(';').map(str::trim).filter(|folder| !folder.is_empty());
    folders
        .map(|folder| {
            let mut words = folder.split(" \\");
            let mut listed = Listed {
                name: name(words.next().unwrap()),
                special: None,
                selectable: true,
                children: None,
                subscribed: false,
            };
            for word in words {
                match word.trim() {
                    "All" => listed.special = Some(Special::All),
                    "Archive" => listed.special = Some(Special::Archive),
                    "Drafts" => listed.special = Some(Special::Drafts),
                    "Junk" => listed.special = Some(Special::Junk),
                    "Sent" => listed.special = Some(Special::Sent),
                    "Trash" => listed.special = Some(Special::Trash),
                    "Noselect" => listed.selectable = false,
                    "Subscribed" => listed.subscribed = true,
                    "HasChildren" => listed.children = Some(true),
                    "HasNoChildren" => listed.children = Some(false),
                    other => panic!("{other}"),
                }
            }
            listed
        })
        .collect()
}

/// Entries such as `client|old|new`, `-` for none, `!` in front for hidden, divided by `;`.
fn decisions(text: &str) -> Vec<Decided> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let hidden = entry.starts_with('!');
            let mut names = entry.trim_start_matches('!').split('|');
            let mut next = || names.next().filter(|text| *text != "-").map(name);
            Decided { client: next().unwrap(), old: next(), new: next(), hidden }
        })
        .collect()
}

fn map(text: &str) -> Vec<(MailboxName, MailboxName)> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| entry.split_once('=').unwrap()).map(|(o, n)| (name(o), name(n))).collect()
}

/// `client|old|new` of each; in brackets the name a folder would have where it is not.
fn shown(joined: &[Joined]) -> Vec<String> {
    let side = |is: &Option<MailboxName>, wanted: &MailboxName| match is {
        Some(name) => {
            assert_eq!(name, wanted);
            String::from_utf8_lossy(name.as_bytes()).into_owned()
        }
        None => format!("({})", String::from_utf8_lossy(wanted.as_bytes())),
    };
    let show = |j: &Joined| {
        let client = String::from_utf8_lossy(j.client.as_bytes());
        format!("{client}|{}|{}", side(&j.old, &j.old_wanted), side(&j.new, &j.new_wanted))
    };
    joined.iter().map(show).collect()
}

struct Case {
    /// What it shows.
    about: &'static str,
    styles: [&'static str; 2],
    old: &'static str,
    new: &'static str,
    explicit: &'static str,
    decided: &'static str,
    /// In the output's order, except that INBOX may be left out where neither side lists it.
    joined: &'static [&'static str],
}

const CASE: Case = Case {
    about: "",
    styles: ["INBOX.", "/"],
    old: "",
    new: "",
    explicit: "",
    decided: "",
    joined: &[],
};

fn check(cases: &[Case]) {
    for case in cases {
        let styles = styles(case.styles[0], case.styles[1]);
        let (old, new) = (listing(case.old), listing(case.new));
        let (explicit, decided) = (map(case.explicit), decisions(case.decided));
        let joined = join(&old, &new, &styles, &explicit, &decided);
        assert_eq!(shown(&joined), case.joined, "{}", case.about);
        // The order in which servers list says nothing.
        let reversed = |mut names: Vec<Listed>| {
            names.reverse();
            names
        };
        let again = join(&reversed(old), &reversed(new), &styles, &explicit, &decided);
        assert_eq!(again, joined, "{}: other order", case.about);
    }
}

#[test]
fn names_are_spelled_in_the_other_style() {
    for (from, to, given, wanted) in [
        ("INBOX.", "/", "INBOX.Sent", "Sent"),
        ("INBOX.", "/", "INBOX.a.b", "a/b"),
        ("INBOX.", "/", "inbox.a", "a"),
        ("INBOX.", "/", "INBOX", "INBOX"),
        ("INBOX.", "INBOX/", "INBOX.a.b", "INBOX/a/b"),
        ("INBOX.", "INBOX.", "INBOX.INBOX.a", "INBOX.INBOX.a"),
        ("/", "INBOX.", "a/b", "INBOX.a.b"),
        ("/", ".", "a/b", "a.b"),
        ("/", "/", "a//b/", "a//b/"),
        ("/", "mail/", "a/b", "mail/a/b"),
        ("mail/", ".", "mail/a/b", "a.b"),
        ("mail/", ".", "mail", "mail"),
        // The other side's separator in a level, and levels that cannot be.
        ("INBOX.", "/", "INBOX.a/b.c", "a_b/c"),
        ("/", "INBOX.", "v1.2/x", "INBOX.v1_2.x"),
        (".", "_", "a_b.c", "a-b_c"),
        (".", "/", "a..b", "a/_/b"),
        ("/", ".", "/home/x", "_.home.x"),
        ("/", ".", "a/", "a"),
        // No hierarchy on one side.
        ("flat", "/", "a/b.c", "a_b.c"),
        ("flat", "INBOX.", "a.b", "INBOX.a_b"),
        ("/", "flat", "a/b", "a_b"),
        // The prefix is never doubled, and nothing becomes INBOX.
        ("/", "INBOX.", "INBOX/x", "INBOX.x"),
        (".", "INBOX.", "INBOX.x", "INBOX.x"),
        ("INBOX.", "/", "INBOX.INBOX", "INBOX_2"),
        ("INBOX.", "/", "INBOX.inbox", "INBOX_2"),
        ("INBOX.", "/", "INBOX.INBOX.x", "INBOX/x"),
        ("/", "mail/", "INBOX/x", "INBOX/x"),
        // Octets pass.
        ("INBOX.", "/", "INBOX.Entw&APw-rfe", "Entw&APw-rfe"),
        ("INBOX.", "/", "INBOX.a \"b\" (c) & 100% *{}\\~", "a \"b\" (c) & 100% *{}\\~"),
    ] {
        let there = styles(from, to);
        let back = styles(to, from);
        assert_eq!(client_to_new(&name(given), &there), name(wanted), "{from} {to} {given}");
        assert_eq!(new_to_client(&name(given), &back), name(wanted), "{from} {to} {given}");
    }
    let raw = MailboxName::new(b"INBOX.\xff\xfe.x").unwrap();
    assert_eq!(client_to_new(&raw, &styles("INBOX.", "/")).as_bytes(), b"\xff\xfe/x");
    let unfinished = Style { prefix: b"inbox".to_vec(), separator: Some(b'.') };
    let sides = Sides { old: unfinished, new: style("/") };
    assert_eq!(client_to_new(&name("INBOX.a"), &sides), name("a"));
}

#[test]
fn equal_names_join_in_every_style() {
    check(&[
        Case {
            about: "prefix and dot to none and slash",
            old: "INBOX; INBOX.a; INBOX.a.b; INBOX.only old",
            new: "inbox; a; a/b; a/only new",
            joined: &[
                "INBOX|INBOX|INBOX",
                "INBOX.a|INBOX.a|a",
                "INBOX.a.b|INBOX.a.b|a/b",
                "INBOX.a.only new|(INBOX.a.only new)|a/only new",
                "INBOX.only old|INBOX.only old|(only old)",
            ],
            ..CASE
        },
        Case {
            about: "none to prefix; a child of INBOX too",
            styles: ["/", "INBOX."],
            old: "INBOX; INBOX/child; a; a/b",
            new: "INBOX; INBOX.a; INBOX.a.b; INBOX.new",
            joined: &[
                "INBOX|INBOX|INBOX",
                "INBOX/child|INBOX/child|(INBOX.child)",
                "a|a|INBOX.a",
                "a/b|a/b|INBOX.a.b",
                "new|(new)|INBOX.new",
            ],
            ..CASE
        },
        Case {
            about: "a child of INBOX and a folder of the same name: the latter goes first",
            styles: ["/", "INBOX."],
            old: "INBOX/x; x",
            new: "INBOX.x",
            joined: &["INBOX/x|INBOX/x|(INBOX.x_2)", "x|x|INBOX.x"],
            ..CASE
        },
        Case {
            about: "INBOX below the prefix is not INBOX",
            old: "INBOX; INBOX.INBOX; INBOX.INBOX.x; INBOX.x",
            new: "INBOX; x",
            joined: &[
                "INBOX|INBOX|INBOX",
                "INBOX.INBOX|INBOX.INBOX|(INBOX_2)",
                "INBOX.INBOX.x|INBOX.INBOX.x|(INBOX_2/x)",
                "INBOX.x|INBOX.x|x",
            ],
            ..CASE
        },
        Case {
            about: "a child of new's INBOX beside a folder of that name",
            new: "INBOX/x; x",
            joined: &["INBOX.x|(INBOX.x)|x", "INBOX.x_2|(INBOX.x_2)|INBOX/x"],
            ..CASE
        },
        Case {
            about: "names that differ by case are two folders",
            styles: ["/", "/"],
            old: "Work",
            new: "work",
            joined: &["Work|Work|(Work)", "work|(work)|work"],
            ..CASE
        },
        Case {
            about: "a folder listed twice is one folder",
            styles: ["/", "/"],
            old: "a; a; Inbox; INBOX",
            new: "a",
            joined: &["INBOX|INBOX|(INBOX)", "a|a|a"],
            ..CASE
        },
        Case {
            about: "shared on both sides, outside of the prefix",
            styles: ["INBOX.", "INBOX/"],
            old: "user.bob.x; INBOX.y; shared",
            new: "user/bob/x; y",
            joined: &[
                "INBOX.y|INBOX.y|(INBOX/y)",
                "INBOX.y_2|(INBOX.y_2)|y",
                "shared|shared|(INBOX/shared)",
                "user.bob.x|user.bob.x|user/bob/x",
            ],
            ..CASE
        },
    ]);
}

#[test]
fn names_stay_apart() {
    check(&[
        Case {
            about: "the other side's separator gives way to the unchanged name",
            old: "INBOX.a/b; INBOX.a_b; INBOX.a_b_2",
            new: "a_b",
            joined: &[
                "INBOX.a/b|INBOX.a/b|(a_b_3)",
                "INBOX.a_b|INBOX.a_b|a_b",
                "INBOX.a_b_2|INBOX.a_b_2|(a_b_2)",
            ],
            ..CASE
        },
        Case {
            about: "a folder only on new whose client name is taken",
            styles: ["/", "."],
            old: "a_b; a_b_2",
            new: "a_b; a/b",
            joined: &["a_b|a_b|a_b", "a_b_2|a_b_2|(a_b_2)", "a_b_3|(a_b_3)|a/b"],
            ..CASE
        },
        Case {
            about: "pure parents of old, listed with the separator behind",
            styles: ["/", "."],
            old: "a/; a/b",
            new: "a; a.b",
            joined: &["a/|a/|a", "a/b|a/b|a.b"],
            ..CASE
        },
        Case {
            about: "flat new side",
            styles: ["/", "flat"],
            old: "a; a/b; a_b",
            new: "x/y",
            joined: &["a|a|(a)", "a/b|a/b|(a_b_2)", "a_b|a_b|(a_b)", "x_y|(x_y)|x/y"],
            ..CASE
        },
        Case {
            about: "the loser finds its suffixed folder again after the index was lost",
            old: "INBOX.Sent; INBOX.Sent Items \\Sent",
            new: "Sent \\Sent; Sent_2",
            joined: &["INBOX.Sent|INBOX.Sent|Sent_2", "INBOX.Sent Items|INBOX.Sent Items|Sent"],
            ..CASE
        },
    ]);
}

#[test]
fn special_use_joins() {
    check(&[
        Case {
            about: "by attribute, with descendants of both sides",
            old: "INBOX.Sent Items \\Sent; INBOX.Sent Items.2019",
            new: "Sent \\Sent; Sent/2020",
            joined: &[
                "INBOX.Sent Items|INBOX.Sent Items|Sent",
                "INBOX.Sent Items.2019|INBOX.Sent Items.2019|(Sent/2019)",
                "INBOX.Sent Items.2020|(INBOX.Sent Items.2020)|Sent/2020",
            ],
            ..CASE
        },
        Case {
            about: "an equal name does not steal; the loser's child follows it",
            old: "INBOX.Sent; INBOX.Sent.x; INBOX.Sent Items \\Sent; INBOX.Sent Items.x",
            new: "Sent \\Sent; Sent/x",
            joined: &[
                "INBOX.Sent|INBOX.Sent|(Sent_2)",
                "INBOX.Sent Items|INBOX.Sent Items|Sent",
                "INBOX.Sent Items.x|INBOX.Sent Items.x|Sent/x",
                "INBOX.Sent.x|INBOX.Sent.x|(Sent_2/x)",
            ],
            ..CASE
        },
        Case {
            about: "the other way round: new's namesake gets another client name",
            old: "INBOX.Sent \\Sent",
            new: "Sent; Sent Items \\Sent",
            joined: &["INBOX.Sent|INBOX.Sent|Sent Items", "INBOX.Sent_2|(INBOX.Sent_2)|Sent"],
            ..CASE
        },
        Case {
            about: "different special uses keep equal names apart",
            styles: ["/", "/"],
            old: "X \\Trash",
            new: "X \\Junk",
            joined: &["X|X|(X_2)", "X_2|(X_2)|X"],
            ..CASE
        },
        Case {
            about: "two folders of one use on a side: the equal name, and only one",
            styles: ["/", "/"],
            old: "A \\Sent; B \\Sent",
            new: "B \\Sent",
            joined: &["A|A|(A)", "B|B|B"],
            ..CASE
        },
        Case {
            about: "deep and localised",
            old: "INBOX.Ablage.Gesendet \\Sent; INBOX.Objets envoy&AOk-s",
            new: "Sent \\Sent",
            joined: &[
                "INBOX.Ablage.Gesendet|INBOX.Ablage.Gesendet|Sent",
                "INBOX.Objets envoy&AOk-s|INBOX.Objets envoy&AOk-s|(Objets envoy&AOk-s)",
            ],
            ..CASE
        },
    ]);
}

#[test]
fn usual_names_stand_for_missing_special_use() {
    check(&[
        Case {
            about: "old without SPECIAL-USE",
            old: "INBOX.Sent Items; INBOX.deleted items; INBOX.Spam; INBOX.Spam.x",
            new: "Sent \\Sent; Trash \\Trash; Junk \\Junk",
            joined: &[
                "INBOX.Sent Items|INBOX.Sent Items|Sent",
                "INBOX.Spam|INBOX.Spam|Junk",
                "INBOX.Spam.x|INBOX.Spam.x|(Junk/x)",
                "INBOX.deleted items|INBOX.deleted items|Trash",
            ],
            ..CASE
        },
        Case {
            about: "neither side has it",
            old: "INBOX.Sent Items; INBOX.Drafts",
            new: "Sent; Drafts",
            joined: &["INBOX.Drafts|INBOX.Drafts|Drafts", "INBOX.Sent Items|INBOX.Sent Items|Sent"],
            ..CASE
        },
        Case {
            about: "the namesake before the more usual name",
            old: "INBOX.Sent; INBOX.Sent Items",
            new: "Sent Items \\Sent",
            joined: &[
                "INBOX.Sent|INBOX.Sent|(Sent)",
                "INBOX.Sent Items|INBOX.Sent Items|Sent Items",
            ],
            ..CASE
        },
        Case {
            about: "a guess never separates namesakes",
            old: "INBOX.Sent Items",
            new: "Sent \\Sent; Sent Items",
            joined: &[
                "INBOX.Sent|(INBOX.Sent)|Sent",
                "INBOX.Sent Items|INBOX.Sent Items|Sent Items",
            ],
            ..CASE
        },
        Case {
            about: "a side that names another folder for the use is not guessed at",
            old: "INBOX.Gesendet \\Sent; INBOX.Sent Items",
            new: "Sent",
            joined: &[
                "INBOX.Gesendet|INBOX.Gesendet|Sent",
                "INBOX.Sent Items|INBOX.Sent Items|(Sent Items)",
            ],
            ..CASE
        },
        Case {
            about: "only on the top level, and not with another use",
            old: "INBOX.x.Sent Items; INBOX.Spam \\Archive",
            new: "Sent \\Sent; Junk \\Junk",
            joined: &[
                "INBOX.Junk|(INBOX.Junk)|Junk",
                "INBOX.Sent|(INBOX.Sent)|Sent",
                "INBOX.Spam|INBOX.Spam|(Spam)",
                "INBOX.x.Sent Items|INBOX.x.Sent Items|(x/Sent Items)",
            ],
            ..CASE
        },
    ]);
}

#[test]
fn the_explicit_map_wins() {
    check(&[
        Case {
            about: "over special use and names, with descendants; without prefix",
            old: "INBOX.Archive \\Archive; INBOX.Archive.2019; INBOX.Archive.2020",
            new: "Archive \\Archive; Old Archive; Old Archive/2019; Years/20",
            explicit: "Archive=Old Archive; Archive.2020=Years/20",
            joined: &[
                "INBOX.Archive|INBOX.Archive|Old Archive",
                "INBOX.Archive.2019|INBOX.Archive.2019|Old Archive/2019",
                "INBOX.Archive.2020|INBOX.Archive.2020|Years/20",
                "INBOX.Archive_2|(INBOX.Archive_2)|Archive",
            ],
            ..CASE
        },
        Case {
            about: "with the prefix, onto a prefix",
            styles: ["INBOX.", "INBOX/"],
            old: "INBOX.a; INBOX.b",
            new: "INBOX/x",
            explicit: "INBOX.a=x; b=INBOX/y",
            joined: &["INBOX.a|INBOX.a|INBOX/x", "INBOX.b|INBOX.b|(INBOX/y)"],
            ..CASE
        },
        Case {
            about: "the map is for all accounts: what this one has not reserves nothing",
            old: "INBOX.Sent",
            new: "Sent",
            explicit: "Sent Items=Sent",
            joined: &["INBOX.Sent|INBOX.Sent|Sent"],
            ..CASE
        },
        Case {
            about: "it also names what only new has, and leads descendants of unlisted parents",
            old: "INBOX.Archive.2019",
            new: "Sent; Sent/x",
            explicit: "Sent Items=Sent; Archive=Old",
            joined: &[
                "INBOX.Archive.2019|INBOX.Archive.2019|(Old/2019)",
                "INBOX.Sent Items|(INBOX.Sent Items)|Sent",
                "INBOX.Sent Items.x|(INBOX.Sent Items.x)|Sent/x",
            ],
            ..CASE
        },
        Case {
            about: "two onto one: the first; INBOX cannot be mapped",
            old: "INBOX; INBOX.a; INBOX.b; INBOX.c",
            new: "INBOX; x",
            explicit: "b=x; a=x; INBOX=c; c=INBOX",
            joined: &[
                "INBOX|INBOX|INBOX",
                "INBOX.a|INBOX.a|(x_2)",
                "INBOX.b|INBOX.b|x",
                "INBOX.c|INBOX.c|(c)",
            ],
            ..CASE
        },
    ]);
}

#[test]
fn decisions_stand() {
    check(&[
        Case {
            about: "over the explicit map and special use",
            old: "INBOX.Sent Items \\Sent; INBOX.a",
            new: "Sent \\Sent; x; y",
            explicit: "a=x",
            decided: "INBOX.Sent Items|INBOX.Sent Items|Gesendet; INBOX.a|INBOX.a|y",
            joined: &[
                "INBOX.Sent|(INBOX.Sent)|Sent",
                "INBOX.Sent Items|INBOX.Sent Items|(Gesendet)",
                "INBOX.a|INBOX.a|y",
                "INBOX.x|(INBOX.x)|x",
            ],
            ..CASE
        },
        Case {
            about: "a folder that vanished on old stays joined; one that vanished on both is told",
            new: "a2",
            decided: "INBOX.a|INBOX.a|a2; INBOX.gone|INBOX.gone|gone",
            joined: &["INBOX.a|(INBOX.a)|a2", "INBOX.gone|(INBOX.gone)|(gone)"],
            ..CASE
        },
        Case {
            about: "hidden: not shown, not joined again, its name on new not taken",
            old: "INBOX.a; INBOX.a/b",
            new: "a; a_b",
            decided: "!INBOX.a|INBOX.a|a_b",
            joined: &["INBOX.a|(INBOX.a_2)|a", "INBOX.a/b|INBOX.a/b|(a_b_2)"],
            ..CASE
        },
        Case {
            about: "created again: another mailbox, unlinked from the hidden one",
            old: "INBOX.a",
            new: "a",
            decided: "!INBOX.a|INBOX.a|-; INBOX.a|-|a",
            joined: &["INBOX.a|(INBOX.a_2)|a"],
            ..CASE
        },
        Case {
            about: "brought back beside its successor, under another client name",
            old: "INBOX.a",
            new: "a",
            decided: "INBOX.a|-|a; INBOX.a|INBOX.a|a_old",
            joined: &["INBOX.a|(INBOX.a_2)|a", "INBOX.a_2|INBOX.a|(a_old)"],
            ..CASE
        },
        Case {
            about: "a mailbox of new gains the folder of its name on old",
            old: "INBOX.a",
            new: "a_x",
            decided: "INBOX.a|-|a_x",
            joined: &["INBOX.a|INBOX.a|a_x"],
            ..CASE
        },
        Case {
            about: "one of old without a decided name on new finds it",
            old: "INBOX.a",
            new: "a",
            decided: "INBOX.a|INBOX.a|-",
            joined: &["INBOX.a|INBOX.a|a"],
            ..CASE
        },
        Case {
            about: "renamed by the client: what old adds below follows, its old name is free",
            old: "INBOX.x; INBOX.x.c; INBOX.z.c",
            new: "z; x",
            decided: "INBOX.z|INBOX.x|z",
            joined: &[
                "INBOX.x|(INBOX.x_2)|x",
                "INBOX.z|INBOX.x|z",
                "INBOX.z.c|INBOX.z.c|(z/c_2)",
                "INBOX.z.c_2|INBOX.x.c|(z/c)",
            ],
            ..CASE
        },
        Case {
            about: "a level that nobody can open is no other mailbox than the one of its name",
            old: "INBOX.x; INBOX.z \\Noselect; INBOX.z.c",
            new: "y; z \\Noselect; y/c; z/e; a/b \\Noselect; a/b/d",
            decided: "INBOX.z|INBOX.x|y; INBOX.a.b|-|w",
            joined: &[
                "INBOX.a.b|(INBOX.a.b)|(w)",
                "INBOX.a.b.d|(INBOX.a.b.d)|a/b/d",
                "INBOX.z|INBOX.x|y",
                "INBOX.z.c|INBOX.z.c|y/c",
                "INBOX.z.e|(INBOX.x.e)|z/e",
            ],
            ..CASE
        },
        Case {
            about: "what was never on old would lie there below the folder above it, whatever that is called",
            old: "INBOX.x",
            new: "z; z/c; z/c/d; a; a/b",
            decided: "INBOX.z|INBOX.x|z; INBOX.z.c|-|z/c",
            joined: &[
                "INBOX.a|(INBOX.a)|a",
                "INBOX.a.b|(INBOX.a.b)|a/b",
                "INBOX.z|INBOX.x|z",
                "INBOX.z.c|(INBOX.x.c)|z/c",
                "INBOX.z.c.d|(INBOX.x.c.d)|z/c/d",
            ],
            ..CASE
        },
        Case {
            about: "nothing gets INBOX's name, whatever was written down",
            old: "INBOX; INBOX.a",
            new: "INBOX",
            decided: "INBOX|INBOX.a|a; INBOX.a|INBOX.a|INBOX",
            joined: &["INBOX|INBOX|INBOX", "INBOX.a|INBOX.a|(a)"],
            ..CASE
        },
    ]);
}

#[test]
fn decided_tells_what_is_to_be_persisted() {
    let styles = styles("INBOX.", "/");
    let old = listing("INBOX; INBOX.a; INBOX.b");
    let joined = join(&old, &[], &styles, &[], &decisions("INBOX.a|INBOX.a|a"));
    let decided: Vec<bool> = joined.iter().map(|joined| joined.decided).collect();
    assert_eq!(decided, [false, true, false]);
}

#[test]
fn attributes_are_joined() {
    let styles = styles("INBOX.", "/");
    let old = listing(
        "INBOX \\Subscribed; INBOX.p \\Noselect; INBOX.p.c; INBOX.Sent Items \\Sent; INBOX.s; \
         INBOX.hid \\HasChildren; INBOX.hid.c; INBOX.shut \\HasChildren; INBOX.Müll",
    );
    let new = listing(
        "INBOX; p; p/n; only/deep/parent; only/deep \\Noselect; Other \\Sent; s \\Subscribed; \
         leaf \\HasNoChildren; Müll \\Junk",
    );
    let explicit = map("Sent Items=Gesendet");
    let decided = decisions("!INBOX.hid.c|INBOX.hid.c|hid/c");
    let joined = join(&old, &new, &styles, &explicit, &decided);
    let of = |client: &str| joined.iter().find(|j| j.client == name(client)).unwrap();
    // Selectable on one side is selectable.
    assert!(of("INBOX.p").selectable && of("INBOX.p.c").selectable);
    assert!(!of("INBOX.only.deep").selectable);
    // Subscribed on either.
    assert!(of("INBOX").subscribed && of("INBOX.s").subscribed && !of("INBOX.p").subscribed);
    // Children are what the client sees, of either side; or what a server says.
    for (client, children) in [
        ("INBOX", true),
        ("INBOX.p", true),
        ("INBOX.p.c", false),
        ("INBOX.only.deep", true),
        ("INBOX.hid", false),
        ("INBOX.shut", true),
        ("INBOX.leaf", false),
    ] {
        assert_eq!(of(client).children, children, "{client}");
    }
    // Old's special use is not shown a second time on a folder of new.
    assert_eq!(of("INBOX.Sent Items").special, Some(Special::Sent));
    assert_eq!(of("INBOX.Other").special, None);
    assert_eq!(of("INBOX.Müll").special, Some(Special::Junk));
}

#[test]
fn octets_of_all_kinds_keep_every_folder() {
    let odd = [
        "a \"q\" (p)",
        "100%",
        "*",
        "&",
        "&AOQ-",
        "&&-",
        "~tilde",
        "{5}",
        "\\",
        " ",
        "#x",
        "NIL",
        "1",
    ];
    let plain = Listed {
        name: MailboxName::inbox(),
        special: None,
        selectable: false,
        children: None,
        subscribed: false,
    };
    let old: Vec<Listed> = odd
        .iter()
        .map(|odd| Listed { name: name(&format!("INBOX.{odd}")), ..plain.clone() })
        .collect();
    let joined = join(&old, &[], &styles("INBOX.", "/"), &[], &[]);
    assert_eq!(joined.len(), odd.len());
    for joined in joined {
        let stripped = joined.client.as_bytes().strip_prefix(b"INBOX.").unwrap();
        assert_eq!(joined.new_wanted.as_bytes(), stripped);
    }
}

#[test]
fn a_refused_name_gets_another() {
    for (refused, another) in [
        ("INBOX.100% \"x\".a{b}", "INBOX.100_ _x_.a_b_"),
        ("INBOX.~t", "INBOX._t"),
        ("INBOX.M\u{e4}", "INBOX.M__"),
        ("INBOX.Entw&APw-rfe *", "INBOX.Entw&APw-rfe _"),
        ("INBOX.plain", "INBOX.plain_2"),
        ("INBOX.taken%", "INBOX.taken__2"),
    ] {
        let taken = |is: &MailboxName| *is == name("INBOX.taken_");
        assert_eq!(another_name(&name(refused), &style("INBOX."), taken), name(another));
    }
    let backslash = Style { prefix: b"#p\\".to_vec(), separator: Some(b'\\') };
    let another = another_name(&name("#p\\a\\b#"), &backslash, |_| false);
    assert_eq!(another, name("#p\\a\\b_"));
}

/// 5,000 folders a side, most of which collide, must not take quadratic time: every loser of the
/// same name would otherwise try all the suffixes before its own.
#[test]
fn many_folders_join_quickly() {
    // All these differ only in octets that cannot stand in a level on the other side.
    let octets = |i: usize, separator: char| -> String {
        let octet = |bit: usize| if i >> bit & 1 == 1 { separator } else { '_' };
        (0..13).map(octet).collect()
    };
    let old = |i| listing(&format!("INBOX.{}a", octets(i, '/')));
    let new = |i| listing(&format!("x{}b", octets(i, '.')));
    let old: Vec<Listed> = (0..5_000).flat_map(old).collect();
    let new: Vec<Listed> = (0..5_000).flat_map(new).collect();
    let start = std::time::Instant::now();
    let joined = join(&old, &new, &styles("INBOX.", "/"), &[], &[]);
    assert_eq!(joined.len(), 10_000);
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

fn any_style() -> impl Strategy<Value = Style> {
    prop::sample::select(vec!["INBOX.", "INBOX/", "mail/", ".", "/", "_", "flat"]).prop_map(style)
}

/// Names of few octets and words, so that they collide often.
fn any_name() -> impl Strategy<Value = MailboxName> {
    let part = prop::sample::select(vec![
        "INBOX",
        "inbox",
        "Sent",
        "Sent Items",
        "Trash",
        "a",
        "b",
        "_",
        "_2",
        "_3",
        ".",
        "/",
        "mail",
    ]);
    let parts = prop::collection::vec(part, 1..6);
    let start = prop::sample::select(vec!["", "INBOX.", "INBOX/", "mail/"]);
    (start, parts).prop_map(|(start, parts)| name(&format!("{start}{}", parts.concat())))
}

fn any_listing() -> impl Strategy<Value = Vec<Listed>> {
    let special = prop::sample::select(vec![
        None,
        None,
        None,
        None,
        Some(Special::Sent),
        Some(Special::Trash),
        Some(Special::Archive),
    ]);
    let folder = (any_name(), special, any::<bool>()).prop_map(|(name, special, selectable)| {
        Listed { name, special, selectable, children: None, subscribed: false }
    });
    prop::collection::vec(folder, 0..14)
}

fn any_decisions() -> impl Strategy<Value = Vec<Decided>> {
    let side = || prop::option::of(any_name());
    let one = (any_name(), side(), side(), any::<bool>())
        .prop_map(|(client, old, new, hidden)| Decided { client, old, new, hidden });
    prop::collection::vec(one, 0..5)
}

fn all_different<'a>(names: impl Iterator<Item = &'a MailboxName>) -> bool {
    let names: Vec<&MailboxName> = names.collect();
    names.iter().collect::<HashSet<_>>().len() == names.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_map_is_one_to_one_complete_and_stable(
        old in any_listing(),
        new in any_listing(),
        old_style in any_style(),
        new_style in any_style(),
        explicit in prop::collection::vec((any_name(), any_name()), 0..4),
        decided in any_decisions(),
    ) {
        let styles = Sides { old: old_style, new: new_style };
        let joined = join(&old, &new, &styles, &explicit, &decided);

        prop_assert!(all_different(joined.iter().map(|j| &j.client)));
        prop_assert!(all_different(joined.iter().map(|j| &j.old_wanted)));
        prop_assert!(all_different(joined.iter().map(|j| &j.new_wanted)));
        prop_assert!(joined.iter().all(|j| j.old.as_ref().is_none_or(|old| *old == j.old_wanted)));
        prop_assert!(joined.iter().all(|j| j.new.as_ref().is_none_or(|new| *new == j.new_wanted)));
        for j in &joined {
            prop_assert_eq!(j.client.is_inbox(), j.new_wanted.is_inbox());
            prop_assert_eq!(j.client.is_inbox(), j.old_wanted.is_inbox());
        }

        // Every listed folder once, but for what only a hidden decision owns, and levels of what was decided.
        let hidden = |side: fn(&Decided) -> &Option<MailboxName>, name: &MailboxName| {
            decided.iter().any(|d| d.hidden && side(d).as_ref() == Some(name))
        };
        let on_old: HashSet<_> = joined.iter().filter_map(|j| j.old.clone()).collect();
        let on_new: HashSet<_> = joined.iter().filter_map(|j| j.new.clone()).collect();
        let level = |listed: &Listed| !listed.selectable && joined.iter().any(|j| j.decided);
        for listed in &old {
            let name = &listed.name;
            let shown = on_old.contains(name) || hidden(|d| &d.old, name);
            prop_assert!(shown || level(listed) && joined.iter().any(|j| j.client == *name));
        }
        for listed in &new {
            let shown = on_new.contains(&listed.name) || hidden(|d| &d.new, &listed.name);
            prop_assert!(shown || level(listed));
        }

        // What a hidden mailbox owns is nobody else's, but for what a visible decision says.
        let visible = |name: &MailboxName| {
            name.is_inbox() || decided.iter().any(|d| !d.hidden
                && [&d.old, &d.new].iter().any(|is| is.as_ref() == Some(name)))
        };
        for d in decided.iter().filter(|d| d.hidden && !d.client.is_inbox()) {
            let (old, new) = (d.old.as_ref(), d.new.as_ref());
            prop_assert!(old.is_none_or(visible) || joined.iter().all(|j| Some(&j.old_wanted) != old));
            prop_assert!(new.is_none_or(visible) || joined.iter().all(|j| Some(&j.new_wanted) != new));
        }

        // Written down and asked again, nothing changes.
        let hidden = decided.iter().filter(|d| d.hidden).cloned();
        let written: Vec<Decided> = joined.iter()
            .map(|j| Decided {
                client: j.client.clone(),
                old: Some(j.old_wanted.clone()),
                new: Some(j.new_wanted.clone()),
                hidden: false,
            })
            .chain(hidden)
            .collect();
        let again = join(&old, &new, &styles, &explicit, &written);
        prop_assert!(again.iter().all(|j| j.decided));
        prop_assert_eq!(shown(&again), shown(&joined));

        // And nothing else is asked for when old cannot be listed.
        let without_old = join(&[], &new, &styles, &explicit, &written);
        prop_assert!(without_old.iter().all(|j| j.decided));
    }

    /// What was written down without the names that folders would have somewhere gives the same
    /// pairs.
    #[test]
    fn pairs_are_stable_without_the_wanted_names(
        old in any_listing(),
        new in any_listing(),
        old_style in any_style(),
        new_style in any_style(),
    ) {
        let styles = Sides { old: old_style, new: new_style };
        let joined = join(&old, &new, &styles, &[], &[]);
        let written: Vec<Decided> = joined.iter()
            .map(|j| Decided {
                client: j.client.clone(),
                old: j.old.clone(),
                new: j.new.clone(),
                hidden: false,
            })
            .collect();
        let again = join(&old, &new, &styles, &[], &written);
        let pairs = |joined: &[Joined]| -> Vec<_> {
            joined.iter().map(|j| (j.client.clone(), j.old.clone(), j.new.clone())).collect()
        };
        prop_assert_eq!(pairs(&again), pairs(&joined));
    }
}
