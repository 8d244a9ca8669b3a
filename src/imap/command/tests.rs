//! Commands as clients write them: from the RFCs' dialogues, from real clients, and malformed.

use proptest::prelude::*;

use super::*;
use crate::uid::Bound;

fn command(line: &[u8]) -> Command {
    match parse(line) {
        Ok(tagged) => tagged.command,
        Err(err) => panic!("{}: {err}", line.escape_ascii()),
    }
}

fn refusal(line: &[u8]) -> String {
    let err = parse(line).expect_err(&line.escape_ascii().to_string());
    err.to_string()
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name.as_bytes()).unwrap()
}

fn flags(flags: &[&str]) -> Vec<Flag> {
    flags.iter().map(|f| Flag::new(f.as_bytes()).unwrap()).collect()
}

/// `n` or `*` (0), from and to.
fn set(ranges: &[(u32, u32)]) -> SeqSet {
    let bound = |n| if n == 0 { Bound::Star } else { Bound::Number(n) };
    SeqSet::from_ranges(ranges.iter().map(|&(a, b)| (bound(a), bound(b))))
}

fn login(user: &str, password: &[u8]) -> Command {
    Command::Login { user: user.into(), password: Secret::new(password.to_vec()) }
}

/// The items of a FETCH, written again.
fn items(line: &str) -> String {
    match command(line.as_bytes()) {
        Command::Fetch { items, .. } => {
            items.iter().map(FetchItem::to_string).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_without_arguments() {
    for (line, expected) in [
        ("abcd CAPABILITY", Command::Capability),
        ("a002 noop", Command::Noop),
        ("A023 LOGOUT", Command::Logout),
        ("a StartTLS", Command::StartTls),
        ("FXXZ CHECK", Command::Check),
        ("A341 CLOSE", Command::Close),
        ("a unselect", Command::Unselect),
        ("A202 EXPUNGE  ", Command::Expunge),
        ("a IDLE ", Command::Idle),
        ("a  NAMESPACE", Command::Namespace),
    ] {
        assert_eq!(command(line.as_bytes()), expected, "{line}");
    }
    assert_eq!(refusal(b"a NOOP x"), "Unexpected text after the command");
    assert_eq!(refusal(b"a NOOP\r\nb LOGOUT"), "Missing or invalid command");
}

#[test]
fn login_in_every_form() {
    for line in [
        &b"a001 LOGIN smith sesame"[..],
        b"a001 login \"smith\" \"sesame\"",
        b"a001 LOGIN {5}\r\nsmith {6}\r\nsesame",
        b"a001 LOGIN {5+}\r\nsmith {6+}\r\nsesame",
        b"a001 LOGIN  smith   \"s\\esame\" ",
    ] {
        assert_eq!(command(line), login("smith", b"sesame"), "{}", line.escape_ascii());
    }
    assert_eq!(command(b"a LOGIN u p%ss"), login("u", b"p%ss"));
    assert_eq!(command(b"a LOGIN u p(a)s\\s*{\"]"), login("u", b"p(a)s\\s*{\"]"));
    assert_eq!(command(b"a LOGIN u \"p \\\"q\\\\\""), login("u", b"p \"q\\"));
    assert_eq!(command(b"a LOGIN u \"\""), login("u", b""));
    assert_eq!(command(b"a LOGIN u \"p\xe4ss\""), login("u", b"p\xe4ss"));
    assert_eq!(command(b"a LOGIN u {4}\r\np\xe4 s"), login("u", b"p\xe4 s"));
    assert_eq!(refusal(b"a LOGIN u"), "Expected a password");
    assert_eq!(refusal(b"a LOGIN"), "Expected a user name");
    assert_eq!(refusal(b"a LOGIN u \"open"), "Expected the end of a quoted string");
    assert_eq!(refusal(b"a LOGIN u {3}\r\np\0s"), "NUL is not accepted in a literal");
}

#[test]
fn no_secret_is_shown() {
    for line in [&b"a LOGIN u sesame"[..], b"a AUTHENTICATE PLAIN AHUAc2VzYW1l"] {
        let shown = format!("{:?}", parse(line).unwrap());
        assert!(shown.contains("Secret(..)"), "{shown}");
        assert!(!shown.contains("sesame") && !shown.contains("115"), "{shown}");
    }
}

#[test]
fn authenticate_with_and_without_a_response() {
    let plain = |initial: Option<&[u8]>| Command::Authenticate {
        mechanism: "PLAIN".to_owned(),
        initial: initial.map(|octets| Secret::new(octets.to_vec())),
    };
    assert_eq!(command(b"a AUTHENTICATE plain"), plain(None));
    assert_eq!(command(b"a AUTHENTICATE PLAIN "), plain(None));
    assert_eq!(command(b"a AUTHENTICATE PLAIN ="), plain(Some(b"")));
    assert_eq!(command(b"a AUTHENTICATE PLAIN AHUAcA=="), plain(Some(b"\0u\0p")));
    assert_eq!(command(b"a AUTHENTICATE PLAIN AHUAcA"), plain(Some(b"\0u\0p")));
    assert_eq!(refusal(b"a AUTHENTICATE PLAIN !!"), "Expected base64");
    assert_eq!(refusal(b"a AUTHENTICATE"), "Expected a mechanism");
    match command(b"a AUTHENTICATE DIGEST-MD5") {
        Command::Authenticate { mechanism, .. } => assert_eq!(mechanism, "DIGEST-MD5"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn id_and_enable() {
    assert_eq!(command(b"a023 ID NIL"), Command::Id(vec![]));
    assert_eq!(command(b"a023 ID"), Command::Id(vec![]));
    assert_eq!(
        command(b"a023 ID (\"name\" \"sodr\" \"version\" \"19.34\" \"vendor\" NIL)"),
        Command::Id(vec![
            (b"name".to_vec(), Some(b"sodr".to_vec())),
            (b"version".to_vec(), Some(b"19.34".to_vec())),
            (b"vendor".to_vec(), None),
        ])
    );
    assert_eq!(
        command("a ID ( \"name\" \"Büro\"  \"os\" \"NIL\" )".as_bytes()),
        Command::Id(vec![
            (b"name".to_vec(), Some("Büro".into())),
            (b"os".to_vec(), Some(b"NIL".to_vec())),
        ])
    );
    let enabled = Command::Enable(vec!["CONDSTORE".to_owned(), "UTF8=ACCEPT".to_owned()]);
    assert_eq!(command(b"a ENABLE condstore utf8=accept"), enabled);
    assert_eq!(command(b"a ENABLE  CONDSTORE  UTF8=ACCEPT "), enabled);
    assert_eq!(refusal(b"a ENABLE"), "Expected a capability");
    assert_eq!(command(b"a Unauthenticate"), Command::Unauthenticate);
    let compress = Command::Compress { algorithm: "DEFLATE".to_owned() };
    assert_eq!(command(b"a compress deflate"), compress);
    assert_eq!(refusal(b"a COMPRESS"), "Expected an algorithm");
}

#[test]
fn mailboxes_in_every_form() {
    let plain = SelectOptions::default();
    let select = |s| Command::Select { mailbox: name(s), options: plain.clone() };
    assert_eq!(command(b"A142 SELECT INBOX"), select("INBOX"));
    assert_eq!(command(b"a select \"inbox\""), select("INBOX"));
    assert_eq!(command(b"a SELECT \"Sent Items\""), select("Sent Items"));
    assert_eq!(command(b"a SELECT {4}\r\na\"b\\"), select("a\"b\\"));
    assert_eq!(command("a SELECT \"Entwürfe\"".as_bytes()), select("Entwürfe"));
    assert_eq!(command("a SELECT Entwürfe".as_bytes()), select("Entwürfe"));
    assert_eq!(command(b"a SELECT Entw&APw-rfe"), select("Entw&APw-rfe"));
    assert_eq!(command(b"a SELECT 100%"), select("100%"));
    let with = |options| Command::Select { mailbox: name("INBOX"), options };
    let condstore = SelectOptions { condstore: true, resync: None };
    assert_eq!(command(b"a SELECT INBOX (CONDSTORE)"), with(condstore));
    let resync = |known: Option<&[(u32, u32)]>| {
        let resync = Resync { uid_validity: 67, mod_seq: 20050715194045000, known: known.map(set) };
        with(SelectOptions { condstore: false, resync: Some(resync) })
    };
    assert_eq!(command(b"a SELECT INBOX (QRESYNC (67 20050715194045000))"), resync(None));
    let known: Option<&[(u32, u32)]> = Some(&[(41, 41), (43, 211)]);
    for line in [
        "a SELECT INBOX (qresync (67 20050715194045000 41,43:211))",
        "a SELECT INBOX (QRESYNC (67 20050715194045000 41,43:211 (1:29,30 41:69,70)))",
    ] {
        assert_eq!(command(line.as_bytes()), resync(known), "{line}");
    }
    for bad in ["(QRESYNC (0 2))", "(QRESYNC (1))", "(QRESYNC (1 2 3:*))", "(FOO)"] {
        let line = format!("a SELECT INBOX {bad}");
        assert!(refusal(line.as_bytes()).starts_with("Expected a "), "{bad}");
    }
    assert_eq!(refusal(b"a SELECT"), "Expected a mailbox name");
    for nameless in [&b"a SELECT \"\""[..], b"a SELECT {3}\r\na\nb"] {
        let error = parse(nameless).expect_err("it has no name");
        assert_eq!((error.reason, error.status()), (Reason::NoName, "NO"));
    }
    assert_eq!(refusal(b"a SELECT \"a\rb\""), "Expected the end of a quoted string");
    assert_eq!(
        command(b"A932 EXAMINE blurdybloop"),
        Command::Examine { mailbox: name("blurdybloop"), options: plain.clone() }
    );
    assert_eq!(
        command(b"A003 CREATE owatagusiam/"),
        Command::Create { mailbox: name("owatagusiam/"), uses: vec![] }
    );
    assert_eq!(
        command(b"A683 DELETE blurdybloop"),
        Command::Delete { mailbox: name("blurdybloop") }
    );
    assert_eq!(
        command(b"A684 RENAME \"a b\"  {1+}\r\nc"),
        Command::Rename { from: name("a b"), to: name("c") }
    );
    assert_eq!(command(b"a SUBSCRIBE #news"), Command::Subscribe { mailbox: name("#news") });
    assert_eq!(command(b"a UNSUBSCRIBE a]b"), Command::Unsubscribe { mailbox: name("a]b") });
}

#[test]
fn lists() {
    let list = |reference: &[u8], pattern: &[u8]| {
        Command::List(List {
            reference: reference.to_vec(),
            patterns: vec![pattern.to_vec()],
            ..List::default()
        })
    };
    assert_eq!(command(b"A101 LIST \"\" \"\""), list(b"", b""));
    assert_eq!(command(b"A102 LIST #news.comp.mail.misc *"), list(b"#news.comp.mail.misc", b"*"));
    assert_eq!(command(b"A202 LIST ~/Mail/ %"), list(b"~/Mail/", b"%"));
    assert_eq!(command(b"a LIST \"\" \"Entw\xc3\xbcrfe/%\""), list(b"", "Entwürfe/%".as_bytes()));
    assert_eq!(command(b"a LIST {0}\r\n {1}\r\n*"), list(b"", b"*"));
    assert_eq!(
        command(b"a LSUB \"\" INBOX.%"),
        Command::Lsub { reference: vec![], pattern: b"INBOX.%".to_vec() }
    );
}

#[test]
fn lists_with_options() {
    let asked = |line: &[u8]| match command(line) {
        Command::List(list) => list,
        other => panic!("{other:?}"),
    };
    let several = asked(b"a LIST \"\" (INBOX \"Drafts\" {4}\r\nS%nt)");
    assert_eq!(several.patterns, [&b"INBOX"[..], b"Drafts", b"S%nt"]);
    assert!(several.extended);
    assert_eq!(several.select, ListSelect::default());
    assert_eq!(several.returns, ListReturn::default());

    let chosen = asked(b"a list (subscribed REMOTE Special-Use recursivematch ) \"\" *");
    assert!(chosen.extended);
    let all = ListSelect { subscribed: true, special_use: true, recursive_match: true };
    assert_eq!(chosen.select, all);
    assert!(asked(b"a LIST () \"\" *").extended);

    let told =
        asked(b"a LIST \"\" % RETURN (CHILDREN STATUS (MESSAGES unseen) SPECIAL-USE SUBSCRIBED)");
    let everything = ListReturn {
        subscribed: true,
        children: true,
        special_use: true,
        status: vec![StatusItem::Messages, StatusItem::Unseen],
    };
    assert_eq!(told.returns, everything);
    assert!(asked(b"a LIST \"\" % RETURN ()").extended);

    assert_eq!(refusal(b"a LIST (SUBSCRIBEDX) \"\" *"), "Expected a known LIST selection option");
    assert_eq!(refusal(b"a LIST (RECURSIVEMATCH) \"\" *"), "RECURSIVEMATCH needs SUBSCRIBED");
    assert_eq!(refusal(b"a LIST \"\" * RETURN (NONSENSE)"), "Expected a known LIST return option");
    assert_eq!(refusal(b"a LIST \"\" * RETURN (STATUS)"), "Expected a known LIST return option");
    assert_eq!(refusal(b"a LIST \"\" * CHILDREN"), "Unexpected text after the command");
}

#[test]
fn create_for_a_special_use() {
    let uses = |line: &[u8]| match command(line) {
        Command::Create { uses, .. } => uses,
        other => panic!("{other:?}"),
    };
    assert_eq!(uses(b"a CREATE MySent (USE (\\Sent \\Archive))"), flags(&["\\Sent", "\\Archive"]));
    assert!(uses(b"a CREATE MySent (USE ())").is_empty());
    assert_eq!(refusal(b"a CREATE x (KEEP 1)"), "Expected a known CREATE parameter");
}

#[test]
fn quotas() {
    assert_eq!(command(b"a GETQUOTA \"\""), Command::GetQuota { root: vec![] });
    assert_eq!(command(b"a GETQUOTAROOT \"a b\""), Command::GetQuotaRoot { mailbox: name("a b") });
    assert_eq!(command(b"a SETQUOTA \"\" (STORAGE 512)"), Command::SetQuota);
}

#[test]
fn status_in_the_order_asked() {
    assert_eq!(
        command(b"A042 STATUS blurdybloop (UIDNEXT MESSAGES)"),
        Command::Status {
            mailbox: name("blurdybloop"),
            items: vec![StatusItem::UidNext, StatusItem::Messages],
        }
    );
    // Thunderbird's check for new mail.
    assert_eq!(
        command(b"9 STATUS \"Sent\" (UIDNEXT MESSAGES UNSEEN RECENT)"),
        Command::Status {
            mailbox: name("Sent"),
            items: vec![
                StatusItem::UidNext,
                StatusItem::Messages,
                StatusItem::Unseen,
                StatusItem::Recent
            ],
        }
    );
    assert_eq!(
        command(b"a STATUS  INBOX ( uidvalidity  size HIGHESTMODSEQ deleted ) "),
        Command::Status {
            mailbox: name("INBOX"),
            items: vec![
                StatusItem::UidValidity,
                StatusItem::Size,
                StatusItem::HighestModSeq,
                StatusItem::Deleted
            ],
        }
    );
    assert_eq!(refusal(b"a STATUS INBOX (X-GUID)"), "Expected a known STATUS item");
}

#[test]
fn sets() {
    let of = |text: &str| match command(format!("a UID EXPUNGE {text}").as_bytes()) {
        Command::UidExpunge { set } => set,
        other => panic!("{other:?}"),
    };
    assert_eq!(of("1"), set(&[(1, 1)]));
    assert_eq!(of("*"), set(&[(0, 0)]));
    assert_eq!(of("1:*"), SeqSet::all());
    assert_eq!(of("*:4"), set(&[(0, 4)]));
    // MailKit asks backwards.
    assert_eq!(of("1593:1580,7,7"), set(&[(1593, 1580), (7, 7), (7, 7)]));
    assert_eq!(of("4294967295"), set(&[(u32::MAX, u32::MAX)]));
    for bad in ["0", "1,", ",1", "1:", "1:2:3", "-1", "4294967296", "a", "", "1;2", "$,1", "1:$"] {
        let line = format!("a UID EXPUNGE {bad}");
        assert!(parse(line.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn fetches_of_real_clients() {
    for (line, expected) in [
        (
            "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
            "FLAGS BODY[HEADER.FIELDS (DATE FROM)]",
        ),
        ("a006 fetch 12 body[header]", "BODY[HEADER]"),
        // Thunderbird
        ("7 UID fetch 1:* (FLAGS)", "FLAGS"),
        (
            "8 UID fetch 5 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
            "UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)]",
        ),
        (
            "9 UID fetch 5 (UID RFC822.SIZE BODY.PEEK[]<65536.65536>)",
            "UID RFC822.SIZE BODY.PEEK[]<65536.65536>",
        ),
        // Outlook
        (
            "x UID FETCH 1:9 (BODY.PEEK[HEADER] ENVELOPE BODYSTRUCTURE)",
            "BODY.PEEK[HEADER] ENVELOPE BODYSTRUCTURE",
        ),
        ("x UID FETCH 7 (BODY.PEEK[] UID)", "BODY.PEEK[] UID"),
        // K-9
        (
            "3 UID FETCH 1,2 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc bcc)])",
            "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc bcc)]",
        ),
        ("4 UID FETCH 3 (UID BODY.PEEK[]<0.32768>)", "UID BODY.PEEK[]<0.32768>"),
        // Apple Mail
        (
            "5.1 UID FETCH 3 (BODY.PEEK[HEADER] BODY.PEEK[1.2.MIME] BODY.PEEK[1.2]<0.100>)",
            "BODY.PEEK[HEADER] BODY.PEEK[1.2.MIME] BODY.PEEK[1.2]<0.100>",
        ),
        ("5.2 FETCH 1:* (FLAGS UID) (CHANGEDSINCE 0)", "FLAGS UID"),
        // Sloppy spacing, strings for names.
        (
            "a FETCH 1  ( FLAGS  BODY[ HEADER.FIELDS.NOT ( \"A B\"  {1}\r\nC ) ] ) ",
            "FLAGS BODY[HEADER.FIELDS.NOT (\"A B\" C)]",
        ),
        ("a FETCH 1 body[3.header.fields(To)]", "BODY[3.HEADER.FIELDS (To)]"),
        ("a FETCH 1 (preview ( lazy ) FLAGS)", "PREVIEW (LAZY) FLAGS"),
        ("a FETCH 1 (UID PREVIEW FLAGS)", "UID PREVIEW FLAGS"),
        (
            "a FETCH 1 (binary[ 1.2 ] BINARY.peek[]<5.10> Binary.Size[3])",
            "BINARY[1.2] BINARY.PEEK[]<5.10> BINARY.SIZE[3]",
        ),
        ("a FETCH 1 ALL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE"),
        ("a FETCH 1 fast", "FLAGS INTERNALDATE RFC822.SIZE"),
        ("a FETCH 1 FULL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY"),
        ("a FETCH 1 RFC822", "RFC822"),
        ("a FETCH 1 (RFC822.HEADER RFC822.TEXT BODY)", "RFC822.HEADER RFC822.TEXT BODY"),
    ] {
        assert_eq!(items(line), expected, "{line}");
        assert_eq!(items(&format!("a FETCH 1 ({expected})")), expected);
    }
    match command(b"a UID FETCH 9:3 UID") {
        Command::Fetch {
            uid, set: messages, items, changed_since: None, vanished: false, ..
        } => {
            assert_eq!((uid, messages, items), (true, set(&[(9, 3)]), vec![FetchItem::Uid]));
        }
        other => panic!("{other:?}"),
    }
    match command(b"a UID FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE 0 VANISHED)") {
        Command::Fetch { items, changed_since, vanished, .. } => {
            assert_eq!(items, [FetchItem::Flags, FetchItem::ModSeq]);
            assert_eq!((changed_since, vanished), (Some(0), true));
        }
        other => panic!("{other:?}"),
    }
    match command(b"a FETCH 1 PREVIEW (CHANGEDSINCE 7)") {
        Command::Fetch { items, changed_since, .. } => {
            assert_eq!(items, [FetchItem::Preview { lazy: false }]);
            assert_eq!(changed_since, Some(7));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn fetches_that_are_none() {
    for (line, reason) in [
        ("a FETCH 1", "Expected a known FETCH item"),
        ("a FETCH 1 ()", "Expected a FETCH item"),
        ("a FETCH 1 (FLAGS", "Expected a known FETCH item"),
        ("a FETCH 1 (FLAGS ALL)", "Expected a known FETCH item"),
        ("a FETCH 1 X-GM-MSGID", "Expected a known FETCH item"),
        ("a FETCH 1 BODY[0]", "Unexpected text after the command"),
        ("a FETCH 1 (BODY[MIME])", "Expected a known FETCH item"),
        ("a FETCH 1 (BODY.PEEK)", "Expected a known FETCH item"),
        ("a FETCH 1 (BODY[]<0.0>)", "Expected a known FETCH item"),
        ("a FETCH 1 (BODY[HEADER.FIELDS (\"\u{e9}\")])", "Expected a header field's name"),
        ("a FETCH 0 FLAGS", "Expected a message set"),
        ("a FETCH 1 FLAGS (PARTIAL)", "Expected a known FETCH modifier"),
    ] {
        assert_eq!(refusal(line.as_bytes()), reason, "{line}");
    }
}

#[test]
fn stores() {
    let store = |mode, silent, names: &[&str]| Command::Store {
        uid: false,
        set: set(&[(2, 4)]),
        unchanged_since: None,
        mode,
        silent,
        flags: flags(names),
    };
    let add = StoreMode::Add;
    assert_eq!(command(b"A003 STORE 2:4 +FLAGS (\\Deleted)"), store(add, false, &["\\Deleted"]));
    assert_eq!(
        command(b"a STORE 2:4 -flags.silent \\Seen \\Flagged"),
        store(StoreMode::Remove, true, &["\\Seen", "\\Flagged"])
    );
    assert_eq!(command(b"a STORE 2:4 FLAGS ()"), store(StoreMode::Replace, false, &[]));
    assert_eq!(
        command(b"a STORE 2:4 +FLAGS.SILENT ( \\Seen  $MDNSent domain.com \\* a%b c]d ) "),
        store(add, true, &["\\Seen", "$MDNSent", "domain.com", "\\*", "a%b", "c]d"])
    );
    assert_eq!(refusal(b"a STORE 1 +FLAGS (\\Recent)"), "\\Recent cannot be set");
    assert_eq!(refusal(b"a STORE 1 +FLAGS \\recent"), "\\Recent cannot be set");
    assert_eq!(refusal(b"a STORE 1 +FLAGS (a\xff)"), "Expected a flag");
    let Command::Store { unchanged_since, flags, .. } =
        command(b"a STORE 1 (UNCHANGEDSINCE 5) +FLAGS ($x)")
    else {
        panic!("a STORE");
    };
    assert_eq!((unchanged_since, flags.len()), (Some(5), 1));
    assert_eq!(refusal(b"a STORE 1 (FOO 5) FLAGS ()"), "Expected a known STORE modifier");
    assert_eq!(refusal(b"a STORE 1 +FLAGS"), "Expected flags");
}

#[test]
fn copies_and_moves() {
    let to = || name("Trash");
    let two = || set(&[(2, 2)]);
    assert_eq!(command(b"a COPY 2 Trash"), Command::Copy { uid: false, set: two(), mailbox: to() });
    assert_eq!(
        command(b"a UID COPY 2 \"Trash\""),
        Command::Copy { uid: true, set: two(), mailbox: to() }
    );
    assert_eq!(
        command(b"a MOVE 2  Trash"),
        Command::Move { uid: false, set: two(), mailbox: to() }
    );
    assert_eq!(
        command(b"a uid  move 2 {5}\r\nTrash"),
        Command::Move { uid: true, set: two(), mailbox: to() }
    );
}

#[test]
fn searches() {
    let search = |line: &str| match command(line.as_bytes()) {
        Command::Search { uid, returns, charset, key } => (uid, returns, charset, key),
        other => panic!("{other:?}"),
    };
    let date = |y, m, d| SearchDate::new(y, m, d).unwrap();
    assert_eq!(
        search("A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\""),
        (
            false,
            None,
            None,
            SearchKey::And(vec![
                SearchKey::Flagged,
                SearchKey::Since(date(1994, 2, 1)),
                SearchKey::Not(Box::new(SearchKey::From(b"Smith".to_vec()))),
            ])
        )
    );
    assert_eq!(
        search("A284 UID SEARCH CHARSET UTF-8 TEXT {6}\r\n\u{e9}t\u{e9} "),
        (true, None, Some("UTF-8".to_owned()), SearchKey::Text("été ".as_bytes()[..6].to_vec()))
    );
    let (_, returns, _, key) = search("a SEARCH RETURN (MIN count) 1:*");
    assert_eq!(returns, Some(vec![SearchReturn::Min, SearchReturn::Count]));
    assert_eq!(key, SearchKey::Sequence(SeqSet::all()));
    assert_eq!(search("a UID SEARCH RETURN () ALL").1, Some(vec![SearchReturn::All]));
    assert_eq!(
        search("a SEARCH RETURN ( ALL ) CHARSET us-ascii ALL").2.as_deref(),
        Some("us-ascii")
    );
    // K-9 finds its own APPEND.
    assert_eq!(
        search("a UID SEARCH HEADER MESSAGE-ID <1@example.com>").3,
        SearchKey::Header(b"MESSAGE-ID".to_vec(), b"<1@example.com>".to_vec())
    );
    assert_eq!(
        search("a SEARCH  ( UNSEEN  (OR  1 UID 2) )  BEFORE \" 2-mar-2024\"").3,
        SearchKey::And(vec![
            SearchKey::And(vec![
                SearchKey::Unseen,
                SearchKey::Or(
                    Box::new(SearchKey::Sequence(set(&[(1, 1)]))),
                    Box::new(SearchKey::Uid(set(&[(2, 2)]))),
                ),
            ]),
            SearchKey::Before(date(2024, 3, 2)),
        ])
    );
    assert_eq!(search("a SEARCH KEYWORD $Junk").3, SearchKey::Keyword(flags(&["$junk"]).remove(0)));
    assert_eq!(search("a SEARCH LARGER 4294967296").3, SearchKey::Larger(1 << 32));
}

#[test]
fn saved_results_and_parts_of_results() {
    let options = |line: &str| match command(line.as_bytes()) {
        Command::Search { returns, .. } | Command::Sort { returns, .. } => returns.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(options("a SEARCH RETURN (SAVE) ALL"), [SearchReturn::Save]);
    assert_eq!(
        options("a SORT RETURN (context) (DATE) UTF-8 ALL"),
        [SearchReturn::Context, SearchReturn::All]
    );
    assert_eq!(
        options("a UID SEARCH RETURN (PARTIAL -1:-100 UPDATE COUNT) UNSEEN"),
        [
            SearchReturn::Partial(PartialRange::new(true, 1, 100)),
            SearchReturn::Update,
            SearchReturn::Count,
        ]
    );
    let saved = |line: &str| match command(line.as_bytes()) {
        Command::Search { key: SearchKey::Sequence(set) | SearchKey::Uid(set), .. }
        | Command::Fetch { set, .. }
        | Command::Store { set, .. }
        | Command::Copy { set, .. }
        | Command::Move { set, .. }
        | Command::UidExpunge { set } => set.is_saved() && set.to_string() == "$",
        other => panic!("{other:?}"),
    };
    for line in [
        "a SEARCH $",
        "a UID SEARCH UID $",
        "a FETCH $ FLAGS",
        "a UID STORE $ +FLAGS (\\Seen)",
        "a COPY $ x",
        "a UID MOVE $ x",
        "a UID EXPUNGE $",
    ] {
        assert!(saved(line), "{line}");
    }
    match command(b"a UID FETCH 1:* (FLAGS) (PARTIAL 1:2)") {
        Command::Fetch { partial, .. } => assert_eq!(partial, Some(PartialRange::new(false, 1, 2))),
        other => panic!("{other:?}"),
    }
    assert_eq!(refusal(b"a FETCH 1:* (FLAGS) (PARTIAL 1:2)"), "Expected a known FETCH modifier");
}

#[test]
fn sort_and_thread() {
    let by = |key, reverse| SortCriterion { reverse, key };
    match command(b"a UID SORT (reverse Date SUBJECT DISPLAYFROM) utf-8 UNSEEN 1:3") {
        Command::Sort { uid, returns, criteria, charset, .. } => {
            assert_eq!((uid, returns, charset.as_str()), (true, None, "utf-8"));
            assert_eq!(
                criteria,
                [
                    by(SortKey::Date, true),
                    by(SortKey::Subject, false),
                    by(SortKey::DisplayFrom, false),
                ]
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        command(b"a THREAD references US-ASCII ALL"),
        Command::Thread {
            uid: false,
            algorithm: ThreadAlgorithm::References,
            charset: "US-ASCII".to_owned(),
            key: SearchKey::All,
        }
    );
    assert_eq!(
        command(b"a CANCELUPDATE \"b1\" \"b2\""),
        Command::CancelUpdate(["b1", "b2"].map(|tag| Tag::new(tag.as_bytes()).unwrap()).to_vec())
    );
}

#[test]
fn searches_that_are_none() {
    for (line, reason) in [
        ("a SEARCH", "Expected a SEARCH key"),
        ("a SEARCH ()", "Expected a SEARCH key"),
        ("a SEARCH (ALL", "Expected the end of a list"),
        ("a SEARCH ALL)", "Unexpected text after the command"),
        ("a SEARCH NOT", "Expected a SEARCH key"),
        ("a SEARCH OR SEEN", "Expected a SEARCH key"),
        ("a SEARCH SEEN SAVEDATESUPPORTED", "Expected a known SEARCH key"),
        ("a SEARCH SEEN EMAILID", "Expected an identifier"),
        ("a SEARCH SEEN EMAILID a.b", "Expected an identifier"),
        ("a SEARCH THREADID \"\"", "Expected an identifier"),
        ("a SEARCH MODSEQ x", "Expected a MODSEQ"),
        ("a SEARCH FROM", "Expected a string to search for"),
        ("a SEARCH SINCE 32-Jan-2024", "Expected a date"),
        ("a SEARCH SINCE 1-Foo-2024", "Expected a date"),
        ("a SEARCH SINCE 1-Jan-24", "Expected a date"),
        ("a SEARCH LARGER x", "Expected a size"),
        ("a SEARCH RETURN (ANY) ALL", "Expected a known RETURN option"),
        ("a SEARCH RETURN (PARTIAL 0:1) ALL", "Expected a known RETURN option"),
        ("a SEARCH RETURN (PARTIAL -1:2) ALL", "Expected a known RETURN option"),
        ("a SEARCH RETURN (PARTIAL 1:2 ALL) ALL", "PARTIAL stands once, and without ALL"),
        ("a SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) 1", "PARTIAL stands once, and without ALL"),
        ("a SEARCH OLDER 0", "Expected a number of seconds"),
        ("a SEARCH CHARSET \"a b\" ALL", "Expected a charset"),
        ("a SEARCH TEXT {2}\r\na\0", "NUL is not accepted in a literal"),
        ("a SEARCH $,1", "Unexpected text after the command"),
        ("a SORT (DATE) UTF-8", "Expected a SEARCH key"),
        ("a SORT () UTF-8 ALL", "Expected SORT keys"),
        ("a SORT (REVERSE) UTF-8 ALL", "Expected a known SORT key"),
        ("a SORT (DATE) ALL", "Expected a SEARCH key"),
        ("a THREAD JWZ UTF-8 ALL", "Expected a known THREAD algorithm"),
        ("a CANCELUPDATE", "Expected a tag"),
    ] {
        assert_eq!(refusal(line.as_bytes()), reason, "{line}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, close: &str, n: usize| {
        parse(format!("a SEARCH {}ALL{}", open.repeat(n), close.repeat(n)).as_bytes())
    };
    for (open, close) in [("(", ")"), ("NOT ", ""), ("OR ALL ", ""), ("(NOT (", "))")] {
        let levels = if open == "(NOT (" { 3 } else { 1 };
        assert!(nested(open, close, MAX_NESTING / levels).is_ok(), "{open}");
        for n in [MAX_NESTING + 1, 100_000] {
            let err = nested(open, close, n).unwrap_err();
            assert_eq!(err.reason, Reason::TooDeep, "{open}");
        }
    }
    // Each OR doubles nothing: time stays in proportion to the line.
    let wide = format!("a SEARCH {}", "OR SEEN (FLAGGED) ".repeat(2000));
    assert!(parse(wide.as_bytes()).is_ok());
}

#[test]
fn unknown_commands_are_named() {
    assert_eq!(command(b"a xyzzy (1 \"2"), Command::Unknown { name: "XYZZY".to_owned() });
    assert_eq!(command(b"a UID XYZZY x"), Command::Unknown { name: "UID XYZZY".to_owned() });
    assert_eq!(command(b"a UID NOOP"), Command::Unknown { name: "UID NOOP".to_owned() });
}

#[test]
fn lines_that_are_no_command() {
    for (line, tag, reason) in [
        (&b""[..], None, Reason::Tag),
        (b" NOOP", None, Reason::Tag),
        (b"a+b NOOP", None, Reason::Tag),
        (b"\xff NOOP", None, Reason::Tag),
        (b"* OK", None, Reason::Tag),
        (b"a", Some("a"), Reason::Command),
        (b"a ", Some("a"), Reason::Command),
        (b"a UID", Some("a"), Reason::Command),
        (b"a \xff\xfe", Some("a"), Reason::Command),
        (b"a NO\rOP", Some("a"), Reason::Command),
    ] {
        let err = parse(line).unwrap_err();
        assert_eq!((err.tag.as_ref().map(Tag::as_str), err.reason), (tag, reason), "{line:?}");
    }
    assert_eq!(refusal(b"a APPEND INBOX"), "Expected a message to append");
    assert_eq!(refusal(b"a APPEND INBOX {1}\r\nx"), "Expected a date and time");
}

/// The mailbox, and the steps in few words.
fn append_told(text: &[u8]) -> (MailboxName, String) {
    match parse_append_head(text) {
        AppendParse::Head(TaggedAppend { head, .. }) => (head.mailbox, told(&head.steps)),
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

fn told(steps: &[AppendStep]) -> String {
    let words = steps.iter().map(|step| match step {
        AppendStep::Message(head) => {
            let flags: Vec<&str> = head.flags.iter().map(Flag::as_str).collect();
            let date = head.date.as_ref().map_or("-", InternalDate::as_str);
            format!("message ({}) {date}", flags.join(" "))
        }
        AppendStep::Catenate => "catenate".into(),
        AppendStep::Url(url) => format!("url {}", url.escape_ascii()),
        AppendStep::CatenateEnd => "catenated".into(),
        AppendStep::Octets(l) => {
            let (tilde, plus) = (if l.binary { "~" } else { "" }, if l.sync { "" } else { "+" });
            format!("{tilde}{}{plus}", l.octets)
        }
        AppendStep::End => "end".into(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn append_heads() {
    assert_eq!(
        append_told(b"A003 APPEND saved-messages (\\Seen) {310}"),
        (name("saved-messages"), "message (\\Seen) -, 310".into())
    );
    assert_eq!(
        append_told(
            b"a append {4}\r\nSent (\\Seen $MDNSent) \"17-Jul-1996 02:44:25 -0700\" {5000000000+}"
        ),
        (name("Sent"), "message (\\Seen $MDNSent) 17-Jul-1996 02:44:25 -0700, 5000000000+".into())
    );
    assert_eq!(
        append_told(b"a APPEND  \"a b\"  ()  \" 7-jul-1996 02:44:25 +0000\"  ~{3}").1,
        "message () 07-Jul-1996 02:44:25 +0000, ~3"
    );
    assert_eq!(
        append_told(b"a APPEND x (\\Seen) UTF8 (~{7+}").1,
        "message (\\Seen) -, catenate, 7+",
    );
    for more in [
        &b"a APPEND {5}"[..],
        b"a APPEND {5+}",
        b"a APPEND  {5}\r\n",
        b"a APPEND x CATENATE (URL {5}",
        b"a APPEND x CATENATE (URL a URL {5+}",
    ] {
        assert_eq!(parse_append_head(more), AppendParse::NeedMore, "{}", more.escape_ascii());
    }
    for other in [&b"a LOGIN {5}"[..], b"a APPENDIX {5}", b"{5}", b"", b"a", b"a UID APPENDS {1}"] {
        assert_eq!(parse_append_head(other), AppendParse::NotAppend, "{}", other.escape_ascii());
    }
    for (bad, reason) in [
        (&b"a APPEND {99999999999999999999}"[..], "Expected a mailbox name"),
        (b"a APPEND INBOX (\\Recent) {5}", "\\Recent cannot be set"),
        (b"a APPEND INBOX (\\Seen {5}", "Expected a flag"),
        (b"a APPEND INBOX \"yesterday\" {5}", "Expected a date and time"),
        (b"a APPEND INBOX UTF8 (x", "Expected the size of a message"),
        (b"a APPEND INBOX", "Expected a message to append"),
        (b"a APPEND INBOX CATENATE (URL x", "Expected a URL or TEXT"),
        (b"a APPEND INBOX CATENATE (NONSENSE x)", "Expected a URL or TEXT"),
        (b"a APPEND INBOX CATENATE ()", "Expected a URL or TEXT"),
        (b"a REPLACE 1:2 INBOX {5}", "Expected a mailbox name"),
        (b"a REPLACE 0 INBOX {5}", "Expected a message"),
        (b"a UID REPLACE $ INBOX {5}", "Expected a message"),
    ] {
        match parse_append_head(bad) {
            AppendParse::Bad(err) => assert_eq!(err.to_string(), reason, "{}", bad.escape_ascii()),
            other => panic!("{}: {other:?}", bad.escape_ascii()),
        }
    }
}

#[test]
fn a_replace_is_an_append_that_names_a_message() {
    for (line, replaced) in [
        (&b"a REPLACE 4 Drafts (\\Draft) {312}"[..], (false, set(&[(4, 4)]))),
        (b"a uid replace 2000 {6}\r\nDrafts (\\Draft) {312}", (true, set(&[(2000, 2000)]))),
    ] {
        assert_eq!(append_told(line), (name("Drafts"), "message (\\Draft) -, 312".into()));
        let AppendParse::Head(TaggedAppend { head, .. }) = parse_append_head(line) else {
            panic!("{}", line.escape_ascii())
        };
        assert_eq!(head.replaces.map(|r| (r.uid, r.message)), Some(replaced));
    }
    assert_eq!(parse_append_head(b"a UID REPLACE 5 {6}"), AppendParse::NeedMore);
    match command(b"a REPLACE * Drafts CATENATE (URL /INBOX/;UID=1)") {
        Command::Append(AppendHead {
            replaces: Some(Replaced { uid: false, message }), ..
        }) => {
            assert_eq!(message, SeqSet::from_ranges([(Bound::Star, Bound::Star)]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_is_read_in_pieces() {
    let url = "\"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER\"";
    let line = format!("A003 APPEND Drafts (\\Draft) CATENATE (URL {url} TEXT {{42}}");
    let said = "message (\\Draft) -, catenate, \
                url /Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER, 42";
    assert_eq!(append_told(line.as_bytes()), (name("Drafts"), said.into()));
    let more = |text: &[u8], within| parse_append_steps(text, within).unwrap().map(|s| told(&s));
    assert_eq!(more(b"", false).unwrap(), "end");
    assert_eq!(more(b" (\\Seen) {3+}", false).unwrap(), "message (\\Seen) -, 3+");
    assert_eq!(more(b" URL a) ", true).unwrap(), "url a, catenated, end");
    assert_eq!(more(b" TEXT ~{9}", true).unwrap(), "~9");
    assert_eq!(
        more(b") \"17-Jul-1996 02:44:25 -0700\" catenate (URL \"b\" TEXT {1}", true).unwrap(),
        "catenated, message () 17-Jul-1996 02:44:25 -0700, catenate, url b, 1"
    );
    assert_eq!(more(b" URL {3}", true), None);
    assert_eq!(more(b" URL {3}\r\na)b URL c)", true).unwrap(), "url a)b, url c, catenated, end");
    for (bad, within) in
        [(&b" x"[..], false), (b"", true), (b" TEXT {1} ", true), (b" {3}x", false)]
    {
        parse_append_steps(bad, within).unwrap_err();
    }
    match command(b"a APPEND INBOX CATENATE (URL /a;UID=1)") {
        Command::Append(head) => {
            assert_eq!(told(&head.steps), "message () -, catenate, url /a;UID=1, catenated, end");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn internal_dates() {
    let date = |s: &str| InternalDate::new(s.as_bytes()).map(|d| d.to_string());
    let canonical = Some("07-Feb-1994 21:52:25 -0800".to_owned());
    assert_eq!(date(" 7-Feb-1994 21:52:25 -0800"), canonical);
    assert_eq!(date("7-FEB-1994 21:52:25 -0800"), canonical);
    assert_eq!(date("07-Feb-1994 21:52:25 -0800"), canonical);
    for bad in [
        "00-Feb-1994 21:52:25 -0800",
        "32-Feb-1994 21:52:25 -0800",
        "7-Feb-1994 24:52:25 -0800",
        "7-Feb-1994 21:52:25",
        "7-Feb-94 21:52:25 -0800",
        "7-Feb-1994 21:52:25 PST",
        "7-Feb-1994 21:52:25 -0800\" x",
        "",
    ] {
        assert_eq!(date(bad), None, "{bad}");
    }
}

/// Commands that imap-codec reads; the grammar must read them to the same values.
const COMMON: [&str; 20] = [
    "a CAPABILITY",
    "a NOOP",
    "a EXPUNGE",
    "a NAMESPACE",
    "a ENABLE CONDSTORE X-A",
    "a ID NIL",
    "a ID (\"name\" {3}\r\nabc \"v\" NIL)",
    "a STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED)",
    "a STATUS {3+}\r\na b (MESSAGES)",
    "a STORE 1:*,4 FLAGS (\\Seen $Junk \\Extra)",
    "a STORE 9:3 +FLAGS \\Deleted \\Draft",
    "a UID STORE *:1 -FLAGS.SILENT ()",
    "a UID STORE 1 FLAGS.SILENT (\\answered)",
    "a COPY 1,2:3,* \"x \\\" y\"",
    "a UID COPY 7 Inbox",
    "a MOVE 1 &U,BTFw-",
    "a UID MOVE 1 ~x",
    "a UID EXPUNGE 1:5",
    "a CLOSE",
    "a IDLE",
];

#[test]
fn both_readers_agree() {
    for line in COMMON {
        let (uid, rest) = match line.strip_prefix("a UID ") {
            Some(rest) => (true, rest),
            None => (false, &line[2..]),
        };
        let (word, arguments) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let typed = lens::command(word, line.as_bytes());
        assert!(typed.is_some(), "{line}");
        assert_eq!(typed, grammar::command(word, uid, arguments.as_bytes()).ok(), "{line}");
    }
}

/// Commands to be mutated.
const SEEDS: [&str; 16] = [
    "a LOGIN {3}\r\nann \"p\\\"w\"",
    "a AUTHENTICATE PLAIN AHUAcA==",
    "a SELECT \"Sent Items\" (CONDSTORE)",
    "a RENAME {3+}\r\na b {1}\r\nc",
    "a LIST \"\" \"INBOX.%\"",
    "a UID FETCH 1:*,9:3 (UID FLAGS BODY.PEEK[1.2.HEADER.FIELDS (To \"X y\")]<0.100> RFC822.SIZE)",
    "a FETCH 1 FULL (CHANGEDSINCE 5)",
    "a UID SEARCH RETURN (MIN MAX) CHARSET UTF-8 OR (UNSEEN NOT FROM {2}\r\nab) HEADER a b 1:5",
    "a SEARCH SINCE 1-Feb-1994 KEYWORD $Junk LARGER 5 UID 1:*",
    "a APPEND INBOX (\\Seen $x) \"17-Jul-1996 02:44:25 -0700\" {310}",
    "a ID (\"name\" \"x\" \"version\" NIL)",
    "a GETMETADATA (MAXSIZE 9 DEPTH 1) INBOX (/private/a \"/shared/b\")",
    "a SETMETADATA \"\" (/private/a ~{3}\r\na\0b /shared/b NIL)",
    "a SETACL INBOX bob +lrs",
    "a NOTIFY SET STATUS (selected (MessageNew (UID) MessageExpunge)) (subtree (a b) NONE)",
    "a STORE 1 +FLAGS.SILENT (\\Seen \\*)",
];

#[test]
fn annotations_are_asked_and_set() {
    let entry = |name: &str| Entry::new(name.as_bytes()).unwrap();
    let get = |mailbox: &str, entries: &[&str], depth, max_size| {
        let entries = entries.iter().map(|name| entry(name)).collect();
        let asked = MetadataAsked { entries, depth, max_size };
        Command::GetMetadata { mailbox: MailboxName::new(mailbox.as_bytes()), asked }
    };
    let comment = "/shared/comment";
    let plain = get("INBOX", &[comment], Depth::Zero, None);
    assert_eq!(command(b"a GETMETADATA INBOX /shared/comment"), plain);
    assert_eq!(command(b"a getmetadata \"inbox\" ( \"/shared/comment\" ) "), plain);
    let both = get("", &[comment, "/private/a b"], Depth::Infinity, Some(1024));
    assert_eq!(
        command(
            b"a GETMETADATA (DEPTH infinity MAXSIZE 1024) \"\" (/shared/comment \"/private/a b\")"
        ),
        both
    );
    assert_eq!(
        command(b"a GETMETADATA {0}\r\n (maxsize 1024 depth INFINITY) ({15}\r\n/shared/comment \"/private/a b\")"),
        both
    );
    for bad in [
        "INBOX",
        "INBOX ()",
        "INBOX /shared/%",
        "INBOX /Shared//x",
        "INBOX comment",
        "(DEPTH 2) INBOX /shared/comment",
        "(MAXSIZE) INBOX /shared/comment",
        "INBOX (/shared/comment) x",
    ] {
        assert!(parse(format!("a GETMETADATA {bad}").as_bytes()).is_err(), "{bad}");
    }
    let set = |values: &[(&str, Option<&[u8]>)]| Command::SetMetadata {
        mailbox: Some(MailboxName::inbox()),
        values: values.iter().map(|(name, v)| (entry(name), v.map(<[u8]>::to_vec))).collect(),
    };
    assert_eq!(
        command(
            b"a SETMETADATA INBOX (/shared/comment \"NIL\" /private/x NIL /private/y ~{3}\r\na\0))"
        ),
        set(&[(comment, Some(b"NIL")), ("/private/x", None), ("/private/y", Some(b"a\0)"))])
    );
    for bad in ["()", "(/shared/comment)", "/shared/comment x", "(/shared/comment {2}\r\na\0)"] {
        assert!(parse(format!("a SETMETADATA INBOX {bad}").as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn events_of_mailboxes() {
    assert_eq!(command(b"a NOTIFY none"), Command::Notify(None));
    let messages = || Events { messages: true, ..Events::default() };
    let fetched = Events { fetch: vec![FetchItem::Uid, FetchItem::Flags], ..messages() };
    let names = Events { names: true, subscriptions: true, ..Events::default() };
    let flags = Events { flags: true, other: true, ..messages() };
    let set = NotifySet {
        status: true,
        groups: vec![
            EventGroup { of: Watched::Selected { delayed: true }, events: fetched },
            EventGroup { of: Watched::Subtree(vec![name("a b"), name("INBOX")]), events: names },
            EventGroup { of: Watched::Mailboxes(vec![name("x")]), events: flags },
            EventGroup { of: Watched::Inboxes, events: Events::default() },
        ],
    };
    let line = b"a notify set STATUS (selected-delayed (MessageNew (UID FLAGS) MessageExpunge)) \
        (subtree (\"a b\" inbox) (MailboxName subscriptionchange)) \
        (mailboxes x (FlagChange MessageExpunge MessageNew AnnotationChange)) (INBOXES NONE)";
    assert_eq!(command(line), Command::Notify(Some(set)));
    let together = "MessageNew and MessageExpunge go together, and FlagChange with both";
    assert_eq!(refusal(b"a NOTIFY SET (personal (MessageNew))"), together);
    assert_eq!(refusal(b"a NOTIFY SET (personal (FlagChange))"), together);
    assert_eq!(refusal(b"a NOTIFY SET"), "Expected a group of events");
    assert_eq!(refusal(b"a NOTIFY"), "Expected SET or NONE");
}

#[test]
fn rights_are_asked_and_set() {
    let acl = |ask| Command::Acl { mailbox: name("a b"), ask };
    let identifier = b"bob".to_vec();
    for (line, ask) in [
        ("GETACL \"a b\"", AclCommand::Get),
        ("MyRights \"a b\"", AclCommand::My),
        ("LISTRIGHTS \"a b\" bob", AclCommand::List { identifier: identifier.clone() }),
        ("DELETEACL \"a b\" \"bob\"", AclCommand::Delete { identifier: identifier.clone() }),
        ("SETACL \"a b\" bob +w", AclCommand::Set { identifier, rights: b"+w".to_vec() }),
    ] {
        assert_eq!(command(format!("a {line}").as_bytes()), acl(ask), "{line}");
    }
    assert_eq!(refusal(b"a SETACL INBOX bob"), "Expected rights");
    assert_eq!(refusal(b"a LISTRIGHTS INBOX"), "Expected an identifier");
    assert_eq!(refusal(b"a GETACL INBOX bob"), "Unexpected text after the command");
}

/// What holds of every line: the refusal can be sent as it is, and what was read can be written.
fn check(line: &[u8]) -> Result<(), TestCaseError> {
    let printable = |s: &str| s.bytes().all(|b| matches!(b, b' '..=b'~'));
    match parse(line) {
        Err(err) => prop_assert!(printable(&err.to_string()) && err.to_string().len() < 80),
        Ok(Tagged { tag, command }) => {
            prop_assert!(printable(tag.as_str()) && !tag.as_str().contains(' '));
            match command {
                Command::Fetch { uid, set, items, .. } => {
                    let written = items.iter().map(FetchItem::to_string).collect::<Vec<_>>();
                    let written = written.join(" ");
                    prop_assert!(printable(&written));
                    let again = parse(format!("a UID FETCH 1 ({written})").as_bytes());
                    let again = again.map(|tagged| tagged.command);
                    let set = SeqSet::from_ranges(
                        set.ranges().iter().map(|_| (1.into(), 1.into())).take(1),
                    );
                    let (changed_since, vanished, uid) = (None, false, uid | true);
                    let partial = None;
                    let fetch =
                        Command::Fetch { uid, set, items, partial, changed_since, vanished };
                    prop_assert_eq!(again, Ok(fetch));
                }
                Command::Search { key, .. } => {
                    let mut line = b"a SEARCH ".to_vec();
                    for part in key.rewrite(&|_, _| Some("1".to_owned())).into_vec() {
                        match part {
                            crate::imap::write::Part::Text(text) => {
                                prop_assert!(!text.iter().any(|b| b"\r\n\0".contains(b)));
                                line.extend(text);
                            }
                            crate::imap::write::Part::Literal(octets) => {
                                line.extend(format!("{{{}}}\r\n", octets.len()).bytes());
                                line.extend(octets);
                            }
                        }
                    }
                    prop_assert!(parse(&line).is_ok(), "{}", line.escape_ascii());
                }
                _ => {}
            }
        }
    }
    let _ = parse_append_head(line);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_octets_do_harm(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        check(&line)?;
        check(&[b"a SEARCH ", &line[..]].concat())?;
        check(&[b"a FETCH 1 ", &line[..]].concat())?;
    }

    #[test]
    fn no_mutation_does_harm(
        seed in proptest::sample::select(&SEEDS[..]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..6),
    ) {
        let mut line = seed.as_bytes().to_vec();
        for (at, octet, kind) in changes {
            if line.is_empty() {
                break;
            }
            let at = at.index(line.len());
            match kind {
                0 => line[at] = octet,
                1 => line.insert(at, octet),
                _ => _ = line.remove(at),
            }
        }
        check(&line)?;
    }

    #[test]
    fn words_in_any_order_do_no_harm(
        words in proptest::collection::vec(
            proptest::sample::select(&[
                "SEARCH", "UID", "FETCH", "(", ")", "NOT", "OR", "ALL", "1:*", "BODY[", "]", "<0.1>",
                "{1}\r\na", "\"x\"", "FROM", "KEYWORD", "\\Seen", "RETURN", "STORE", "FLAGS",
                "HEADER.FIELDS", "BODY.PEEK[1.MIME]", "UNSEEN", "HEADER", "SINCE", "1-Jan-2024",
            ][..]),
            0..12,
        )
    ) {
        check(format!("a {}", words.join(" ")).as_bytes())?;
        check(format!("a SEARCH {}", words.join(" ")).as_bytes())?;
        check(format!("a FETCH 1 {}", words.concat()).as_bytes())?;
    }
}
