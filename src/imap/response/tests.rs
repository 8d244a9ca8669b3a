//! Replies in the shapes of real servers, and of none.

use proptest::prelude::*;

use super::*;

fn read(unit: &str) -> Response {
    parse(&Bytes::copy_from_slice(unit.as_bytes())).unwrap()
}

fn bytes<const N: usize>(all: [&'static str; N]) -> Vec<Bytes> {
    all.map(|one| Bytes::from_static(one.as_bytes())).to_vec()
}

fn ok(code: Option<Code>, text: &'static str) -> Response {
    Response::Status { status: UntaggedStatus::Ok, code, text: text.into() }
}

fn code(code: &str) -> Code {
    match read(&format!("a1 OK [{code}] Done.")) {
        Response::Tagged { code: Some(code), text, .. } => {
            assert_eq!(text, "Done.");
            code
        }
        other => panic!("{code}: {other:?}"),
    }
}

fn entry(unit: &str) -> ListEntry {
    match read(unit) {
        Response::List(entry) | Response::Lsub(entry) => entry,
        other => panic!("{unit}: {other:?}"),
    }
}

fn is_other(unit: &str) -> bool {
    matches!(read(unit), Response::Other(whole) if whole == unit)
}

#[test]
fn dovecot_login_and_select() {
    assert_eq!(
        read("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] Dovecot ready."),
        ok(
            Some(Code::Capability(
                ["IMAP4REV1", "SASL-IR", "LITERAL+", "AUTH=PLAIN"].map(String::from).to_vec()
            )),
            "Dovecot ready."
        )
    );
    assert_eq!(
        read("* FLAGS (\\Answered \\Seen $Forwarded)"),
        Response::Flags(bytes(["\\Answered", "\\Seen", "$Forwarded"]))
    );
    assert_eq!(
        read("* OK [PERMANENTFLAGS (\\Answered \\Seen $Forwarded \\*)] Flags permitted."),
        ok(
            Some(Code::PermanentFlags(bytes(["\\Answered", "\\Seen", "$Forwarded", "\\*"]))),
            "Flags permitted."
        )
    );
    assert_eq!(read("* 172 EXISTS"), Response::Exists(172));
    assert_eq!(read("* 0 RECENT"), Response::Recent(0));
    assert_eq!(read("* 44 EXPUNGE"), Response::Expunge(44));
    assert_eq!(read("* OK [UNSEEN 12] First unseen."), ok(Some(Code::Unseen(12)), "First unseen."));
    assert_eq!(
        read("a2 OK [READ-WRITE] Select completed (0.001 + 0.000 secs)."),
        Response::Tagged {
            tag: "a2".into(),
            status: Status::Ok,
            code: Some(Code::ReadWrite),
            text: "Select completed (0.001 + 0.000 secs).".into(),
        }
    );
    assert_eq!(
        read("a3 NO [AUTHENTICATIONFAILED] Authentication failed."),
        Response::Tagged {
            tag: "a3".into(),
            status: Status::No,
            code: Some(Code::AuthenticationFailed),
            text: "Authentication failed.".into(),
        }
    );
    assert_eq!(
        read("* BYE Disconnected for inactivity."),
        Response::Status {
            status: UntaggedStatus::Bye,
            code: None,
            text: "Disconnected for inactivity.".into(),
        }
    );
    assert_eq!(
        read("* PREAUTH hello"),
        Response::Status { status: UntaggedStatus::PreAuth, code: None, text: "hello".into() }
    );
    assert_eq!(read("+ idling"), Response::Continue { text: "idling".into() });
    assert_eq!(read("+"), Response::Continue { text: "".into() });
    assert_eq!(read("+ "), Response::Continue { text: "".into() });
}

#[test]
fn codes_are_read() {
    assert_eq!(code("UIDVALIDITY 3857529045"), Code::UidValidity(3857529045));
    assert_eq!(code("UIDNEXT 4392"), Code::UidNext(4392));
    assert_eq!(code("HIGHESTMODSEQ 90060115205545359"), Code::HighestModSeq(90060115205545359));
    assert_eq!(
        code("APPENDUID 38505 3955:3957,4000"),
        Code::AppendUid { validity: 38505, uids: vec![(3955, 3957), (4000, 4000)] }
    );
    assert_eq!(
        code("COPYUID 38505 304,319:320 3956:3958"),
        Code::CopyUid {
            validity: 38505,
            from: vec![(304, 304), (319, 320)],
            to: vec![(3956, 3958)],
        }
    );
    for (name, expected) in [
        ("ALERT", Code::Alert),
        ("read-only", Code::ReadOnly),
        ("TRYCREATE", Code::TryCreate),
        ("MODIFIED 7,9:12", Code::Modified(vec![(7, 7), (9, 12)])),
        ("NOMODSEQ", Code::NoModSeq),
        ("Closed", Code::Closed),
        ("UIDNOTSTICKY", Code::UidNotSticky),
        ("UNAVAILABLE", Code::Unavailable),
        ("OVERQUOTA", Code::OverQuota),
        ("LIMIT", Code::Limit),
        ("THROTTLED", Code::Throttled),
        ("INUSE", Code::InUse),
        ("ALREADYEXISTS", Code::AlreadyExists),
        ("NONEXISTENT", Code::NonExistent),
        ("CANNOT", Code::Cannot),
        ("NOPERM", Code::NoPerm),
        ("METADATA LONGENTRIES 2199", Code::Metadata(MetadataCode::LongEntries(2199))),
        ("METADATA MAXSIZE 1024", Code::Metadata(MetadataCode::MaxSize(1024))),
        ("METADATA TOOMANY", Code::Metadata(MetadataCode::TooMany)),
        ("metadata noprivate", Code::Metadata(MetadataCode::NoPrivate)),
    ] {
        assert_eq!(code(name), expected, "{name}");
    }
}

#[test]
fn a_code_that_cannot_be_read_is_kept() {
    for text in [
        "X-ODD (a] b) c",
        "BADCHARSET (\"x]\" UTF-8)",
        "UIDNEXT 4294967296",
        "UIDVALIDITY",
        "COPYUID 5 1:2 *",
        "COPYUID 5  ",
        "APPENDUID 5 0",
        "METADATA MAXSIZE",
        "",
    ] {
        assert_eq!(code(text), Code::Other(Bytes::copy_from_slice(text.as_bytes())), "{text}");
    }
    // No code at all, or a bracket that only looks like one.
    assert_eq!(read("* OK [no end"), ok(None, "[no end"));
    assert_eq!(read("* OK text [ALERT] x"), ok(None, "text [ALERT] x"));
    assert_eq!(read("* OK [ALERT (] x"), ok(Some(Code::Alert), "x"));
    // Where none closes outside of quotes and parentheses, the first bracket does.
    assert_eq!(read("* OK [X \"] y"), ok(Some(Code::Other("X \"".into())), "y"));
}

#[test]
fn spaces_and_missing_text_are_let_pass() {
    assert_eq!(read("* OK"), ok(None, ""));
    assert_eq!(read("* OK "), ok(None, ""));
    assert_eq!(read("*  OK  [ALERT]  x  "), ok(Some(Code::Alert), "x"));
    assert_eq!(read("* OK [ALERT]"), ok(Some(Code::Alert), ""));
    assert_eq!(read("* OK [ALERT]x"), ok(Some(Code::Alert), "x"));
    assert_eq!(read("*  3  EXISTS "), Response::Exists(3));
    assert_eq!(read("* ok sm\u{e5}"), ok(None, "sm\u{e5}"));
    assert_eq!(
        read("a1 OK"),
        Response::Tagged { tag: "a1".into(), status: Status::Ok, code: None, text: "".into() }
    );
}

#[test]
fn numbers_that_must_be_right() {
    for (unit, of) in [
        ("* 4294967296 EXISTS", "EXISTS"),
        ("* -1 EXISTS", "EXISTS"),
        ("* 1x EXISTS", "EXISTS"),
        ("* 0 EXPUNGE", "EXPUNGE"),
        ("* 99999999999999999999999 EXPUNGE", "EXPUNGE"),
        ("* VANISHED 1:*", "VANISHED"),
        ("* VANISHED (EARLIER) x", "VANISHED"),
    ] {
        assert_eq!(parse(&unit.into()), Err(ResponseError { of }), "{unit}");
    }
    assert!(is_other("* 4294967296 RECENT"));
    assert!(is_other("* x EXISTS"));
}

#[test]
fn vanished_of_qresync() {
    assert_eq!(
        read("* VANISHED (EARLIER) 41,43:116,118"),
        Response::Vanished { earlier: true, uids: vec![(41, 41), (43, 116), (118, 118)] }
    );
    assert_eq!(
        read("* VANISHED 405,407"),
        Response::Vanished { earlier: false, uids: vec![(405, 405), (407, 407)] }
    );
    assert_eq!(read("* VANISHED "), Response::Vanished { earlier: false, uids: vec![] });
}

#[test]
fn lists_of_many_servers() {
    let dovecot = entry("* LIST (\\HasNoChildren \\UnMarked \\Trash) \"/\" \"Deleted Items\"");
    assert_eq!(dovecot.name.as_bytes(), b"Deleted Items");
    assert_eq!(dovecot.separator, Some(b'/'));
    assert_eq!(dovecot.special_use(), Some(SpecialUse::Trash));
    assert!(dovecot.has("\\hasnochildren") && !dovecot.has("\\Noselect"));

    let courier = entry("* LIST (\\Marked \\HasChildren) \".\" \"inbox\"");
    assert!(courier.name.is_inbox());
    assert_eq!(courier.special_use(), None);

    let cyrus =
        entry("* LIST (\\NoSelect \\HasChildren) \"/\" user (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    assert_eq!(cyrus.name.as_bytes(), b"user");
    assert!(cyrus.has("\\Noselect"));

    let exchange = entry("* LSUB () \"/\" Sent");
    assert_eq!(exchange.name.as_bytes(), b"Sent");

    let backslash = entry("* LIST () \"\\\\\" \"a\\\\b\\\"c\"");
    assert_eq!((backslash.separator, backslash.name.as_bytes()), (Some(b'\\'), &b"a\\b\"c"[..]));

    for (unit, name) in [
        ("* LIST () NIL 2024", &b"2024"[..]),
        ("* LIST () NIL {6}\r\nfoo\"ba", b"foo\"ba"),
        ("* LIST () NIL {3}\r\nfoo (\"CHILDINFO\" ())", b"foo"),
        ("* LIST () NIL ~tilde", b"~tilde"),
        ("* LIST () NIL B\u{fc}ro", "B\u{fc}ro".as_bytes()),
        ("* LIST () NIL Sent Items ", b"Sent Items"),
        ("* LIST () NIL &AOQ-(x)", b"&AOQ-(x)"),
        ("* list() nil \"x\"", b"x"),
        ("* LIST ( \\Junk  ) NIL \"x\"", b"x"),
    ] {
        let entry = entry(unit);
        assert_eq!((entry.separator, entry.name.as_bytes()), (None, name), "{unit}");
    }
    assert_eq!(entry("* LIST () / x").separator, Some(b'/'));

    let root = Response::ListRoot { separator: Some(b'.') };
    assert_eq!(read("* LIST (\\Noselect) \".\" \"\""), root);
    for unit in [
        "* LIST",
        "* LIST (\\X",
        "* LIST () \"ab\" x",
        "* LIST () \"/\"",
        "* LIST () NIL {3}\r\na\nb",
        "* LIST () NIL {9}\r\nab",
    ] {
        assert!(is_other(unit), "{unit}");
    }
}

#[test]
fn special_uses_by_name() {
    for special_use in SpecialUse::ALL {
        let lower = special_use.to_string().to_lowercase();
        assert_eq!(SpecialUse::named(lower.as_bytes()), Some(special_use));
    }
    assert_eq!(SpecialUse::Sent.to_string(), "\\Sent");
    assert_eq!(SpecialUse::named(b"Sent"), None);
}

#[test]
fn status_of_mailboxes() {
    assert_eq!(
        read("* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 HIGHESTMODSEQ 7011231777)"),
        Response::StatusOf {
            mailbox: MailboxName::new(b"blurdybloop").unwrap(),
            items: vec![
                (StatusKey::Messages, 231),
                (StatusKey::UidNext, 44292),
                (StatusKey::HighestModSeq, 7011231777),
            ],
        }
    );
    let unit = "* STATUS {5}\r\na (b) ( uidvalidity 1 SIZE 18446744073709551615 MAILBOXID (F2) \
                APPENDLIMIT NIL X-FOO (1 (2)) UNSEEN -1 DELETED 4 RECENT 0 ) ";
    assert_eq!(
        read(unit),
        Response::StatusOf {
            mailbox: MailboxName::new(b"a (b)").unwrap(),
            items: vec![
                (StatusKey::UidValidity, 1),
                (StatusKey::Size, u64::MAX),
                (StatusKey::Deleted, 4),
                (StatusKey::Recent, 0),
            ],
        }
    );
    assert!(
        matches!(read("* STATUS \"x\" ()"), Response::StatusOf { items, .. } if items.is_empty())
    );
    assert!(is_other("* STATUS x"));
    assert!(is_other("* STATUS x (MESSAGES"));
}

#[test]
fn search_results() {
    assert_eq!(read("* SEARCH"), Response::Search(vec![]));
    assert_eq!(read("* SEARCH "), Response::Search(vec![]));
    assert_eq!(read("* SEARCH  2 84  882 "), Response::Search(vec![2, 84, 882]));
    assert_eq!(read("* SEARCH 2 5 (MODSEQ 917162500)"), Response::Search(vec![2, 5]));
    assert_eq!(read("* SEARCH 0"), Response::Search(vec![]));
    assert!(is_other("* SEARCH 1 x"));
}

#[test]
fn esearch_results() {
    assert_eq!(
        read("* ESEARCH (TAG \"a1\") UID ALL 1:3,5 MODSEQ 917 PARTIAL (1:2 3) COUNT 4"),
        Response::Esearch {
            tag: Some("a1".into()),
            uid: true,
            all: vec![(1, 3), (5, 5)],
            min: None,
            max: None,
            count: Some(4),
        }
    );
    assert_eq!(
        read("* ESEARCH (TAG a1) MIN 2 MAX 9"),
        Response::Esearch {
            tag: Some("a1".into()),
            uid: false,
            all: vec![],
            min: Some(2),
            max: Some(9),
            count: None,
        }
    );
    assert!(is_other("* ESEARCH (TAG \"a1\") UID ALL $"));
    assert!(is_other("* ESEARCH UID COUNT"));
    assert!(matches!(read("* ESEARCH"), Response::Esearch { tag: None, uid: false, .. }));
}

#[test]
fn namespaces() {
    assert_eq!(
        read(
            "* NAMESPACE ((\"INBOX.\" \".\")(\"\" NIL)) NIL ((\"#sh/\" \"/\" \"X-P\" (\"A\" \"B\")))"
        ),
        Response::Namespace {
            personal: vec![("INBOX.".into(), Some(b'.')), ("".into(), None)],
            other: vec![],
            shared: vec![("#sh/".into(), Some(b'/'))],
        }
    );
    assert!(matches!(read("* NAMESPACE NIL NIL NIL"), Response::Namespace { .. }));
    assert!(is_other("* NAMESPACE ((\"a\""));
}

#[test]
fn id_and_enabled_and_capability() {
    assert_eq!(
        read("* ID (\"name\" \"Zimbra\" \"version\" NIL)"),
        Response::Id(vec![("name".into(), Some("Zimbra".into())), ("version".into(), None)])
    );
    assert_eq!(read("* ID NIL"), Response::Id(vec![]));
    assert_eq!(read("* ID (\"a\")"), Response::Id(vec![("a".into(), None)]));
    assert_eq!(
        read("* ENABLED CONDSTORE qresync"),
        Response::Enabled(vec!["CONDSTORE".into(), "QRESYNC".into()])
    );
    assert_eq!(read("* ENABLED"), Response::Enabled(vec![]));
    assert_eq!(
        read("* CAPABILITY  IMAP4rev1 X-GM-EXT-1 XYZZY "),
        Response::Capability(["IMAP4REV1", "X-GM-EXT-1", "XYZZY"].map(String::from).to_vec())
    );
}

#[test]
fn the_rest_is_handed_on() {
    for unit in [
        "",
        "*",
        "* ",
        "a1",
        "a1 BYE x",
        "* XLIST (\\Inbox) \"/\" \"Inbox\"",
        "* THREAD (1)(2)",
        "* SORT 2 3 1",
        "* 12 FETCH (UID 7)",
        "* 12",
        "* (",
        "\0\u{ff}",
    ] {
        assert!(is_other(unit), "{unit}");
    }
}

proptest! {
    /// No unit makes it panic, however near it comes to one that means something.
    #[test]
    fn reading_never_panics(unit in prop::collection::vec(prop_oneof![
        3 => prop::sample::select(vec![
            "* ", "OK ", "BYE", "[", "] ", "COPYUID", "CAPABILITY ", "LIST ", "LSUB ", "STATUS ",
            "SEARCH ", "ESEARCH ", "VANISHED ", "NAMESPACE ", "ID ", "FLAGS ", " EXISTS", "EXPUNGE",
            "(", ")", "\"", "\\", "NIL", " ", "{1}\r\n", "{0}\r\n", "~{9}\r\n", "1:3,5", "7", "/",
            "TAG", "UID ", "ALL ",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ], 0..24).prop_map(|parts| Bytes::from(parts.concat()))) {
        for unit in [Bytes::from([b"* ", &unit[..]].concat()), unit] {
            if let Ok(Response::Other(whole)) = parse(&unit) {
                prop_assert_eq!(whole, unit);
            }
        }
    }
}

#[test]
fn quota_and_its_roots() {
    assert_eq!(
        read("* QUOTAROOT INBOX \"User quota\" \"\""),
        Response::QuotaRoot { mailbox: MailboxName::inbox(), roots: bytes(["User quota", ""]) }
    );
    let none = Response::QuotaRoot { mailbox: MailboxName::inbox(), roots: vec![] };
    assert_eq!(read("* QUOTAROOT inbox"), none);
    assert_eq!(
        read("* QUOTA \"\" (STORAGE 10 512 MESSAGE 5 18446744073709551615)"),
        Response::Quota {
            root: "".into(),
            resources: vec![("STORAGE".into(), 10, 512), ("MESSAGE".into(), 5, u64::MAX)],
        }
    );
    assert_eq!(read("* QUOTA x ()"), Response::Quota { root: "x".into(), resources: vec![] });
    assert!(is_other("* QUOTA x (STORAGE 10)"));
    assert!(is_other("* QUOTA x"));
}

#[test]
fn annotations_with_values() {
    let inbox = || Some(MailboxName::inbox());
    assert_eq!(
        read("* METADATA INBOX (/private/a {4}\r\n\0)\r\n \"/shared/b\" NIL /shared/c \"x\")"),
        Response::Metadata {
            mailbox: inbox(),
            values: vec![
                ("/private/a".into(), Some("\0)\r\n".into())),
                ("/shared/b".into(), None),
                ("/shared/c".into(), Some("x".into())),
            ]
        }
    );
    assert_eq!(
        read("* METADATA \"\" (/private/a ~{1}\r\n\0)"),
        Response::Metadata {
            mailbox: None,
            values: vec![("/private/a".into(), Some("\0".into()))]
        }
    );
    for other in ["* METADATA INBOX /shared/a /shared/b", "* METADATA INBOX (/shared/a)"] {
        assert_eq!(read(other), Response::Other(other.into()));
    }
}

#[test]
fn rights_of_all_kinds() {
    let mailbox = MailboxName::new(b"a b").unwrap();
    assert_eq!(
        read("* ACL \"a b\" ann lrsw \"-two words\" \"\""),
        Response::Acl {
            mailbox: mailbox.clone(),
            rights: vec![("ann".into(), "lrsw".into()), ("-two words".into(), "".into())]
        }
    );
    assert_eq!(
        read("* LISTRIGHTS \"a b\" bob \"\" l r"),
        Response::ListRights {
            mailbox: mailbox.clone(),
            identifier: "bob".into(),
            rights: bytes(["", "l", "r"])
        }
    );
    assert_eq!(read("* MYRIGHTS \"a b\" lr"), Response::MyRights { mailbox, rights: "lr".into() });
    assert_eq!(read("* ACL x ann"), Response::Other("* ACL x ann".into()));
}
