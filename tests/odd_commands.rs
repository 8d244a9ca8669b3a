//! Odd commands, one group after the other, said to one server directly and through the proxy, where the same
//! messages lie on old, on new, or on both: the answers are the same but for what only the proxy can know.

mod lab;

use lab::{Courier, Cyrus, Dialogue, Dovecot, Reply, World, quoted};

const FLAGS: [&str; 10] = [
    "",
    "\\Seen",
    "\\Flagged \\Answered",
    "\\Draft",
    "\\Deleted",
    "Key1 \\Seen",
    "Key1 Key2",
    "\\Seen \\Flagged",
    "$Forwarded",
    "\\Answered",
];

const DATES: [&str; 10] = [
    "01-Jan-2018 10:00:00 +0000",
    " 2-Jan-2018 10:00:00 +0100",
    "03-Jan-2018 23:59:59 -1200",
    "04-Feb-2018 00:00:00 +0000",
    "05-Feb-2019 00:00:01 +0000",
    "06-Jan-2018 10:00:00 +0000",
    "07-Jan-2018 10:00:00 +0000",
    "01-Jan-2018 10:00:00 +0000",
    "09-Jan-2018 10:00:00 +0000",
    "10-Jan-2018 10:00:00 +0000",
];

/// Ten messages: plain, with groups and encoded words, nested, without headers, without a body.
fn messages() -> Vec<Vec<u8>> {
    let long: Vec<String> = (0..300).map(|n| format!("word{n}")).collect();
    let texts = [
        "From: A One <a@x.org>\nTo: b@y.org\nSubject: Alpha\nDate: Mon, 1 Jan 2018 10:00:00 +0000\nMessage-ID: <m1@x>\n\nbody\n".to_owned(),
        "From: =?utf-8?q?B=C3=A4r?= <b@x.org>\nTo: \"Q, R\" <q@y.org>, grp: g1@z, g2@z;\nCc: c@c.org\nBcc: bcc@b.org\nReply-To: r@r.org\nSender: s@s.org\nSubject: Re: Alpha\nDate: Tue, 2 Jan 2018 10:00:00 +0100\nMessage-ID: <m2@x>\nIn-Reply-To: <m1@x>\nReferences: <m1@x>\n\nhello wörld\nline two\n".to_owned(),
        "From: c@x.org\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\nDate: Wed, 3 Jan 2018 23:59:59 -1200\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"bb\"\nMessage-ID: <m3@x>\n\npre\n--bb\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n--bb\nContent-Type: message/rfc822\n\nFrom: inner@x\nSubject: inner\nContent-Type: multipart/alternative; boundary=cc\n\n--cc\nContent-Type: text/plain\n\nin plain\n--cc\nContent-Type: text/html\nContent-Disposition: inline; filename=x.html\nContent-ID: <cid@x>\nContent-Language: en, de\nContent-Location: http://x\nContent-MD5: abc\n\n<p>in html</p>\n--cc--\n--bb\nContent-Type: application/octet-stream; name=\"a b.bin\"\nContent-Disposition: attachment; filename*=utf-8''%e2%82%ac.bin; size=3\nContent-Transfer-Encoding: base64\n\nAAEC\n--bb--\npost\n".to_owned(),
        "Subject:\nFrom:\nDate: garbage\n\n".to_owned(),
        "\nno header at all\n".to_owned(),
        format!("From: z@x.org\nSubject: Zeta [list] Re: fwd: Alpha\nDate: Mon, 1 Jan 2018 10:00:00 +0000\nMessage-ID: <m6@x>\nReferences: <m1@x> <m2@x>\nX-Long: {}\n\nbody\n", long.join(" ")),
        "From: \"a \\\"quoted\\\" b\" <aq@x.org>\nTo: undisclosed-recipients:;\nSubject: (fwd) [blob] Alpha (fwd)\nDate: 5 Feb 2019 01:02:03 EST\nMessage-ID: <m7@x>\nContent-Type: text/html; charset=us-ascii\n\n<html><body>x <b>y</b></body></html>\n".to_owned(),
        "From: h@x.org\nSubject: folded\n subject\n here\nDate: Thu, 4 Jan 2018 10:00:00 +0000\nMessage-ID: <m8@x>\nIn-Reply-To: <nowhere@x>\nContent-Type: multipart/mixed; boundary=x\n\nno boundary here\n".to_owned(),
        "From: i@x.org\nSubject: last\nDate: Fri, 5 Jan 2018 10:00:00 +0000\nMessage-ID: <m9@x>\nContent-Type: message/rfc822\n\nFrom: in@x\nSubject: inn\n\ninner body\n".to_owned(),
        format!("From: a@x.org\nFrom: second@x.org\nSubject: alpha\nDate: Sat, 6 Jan 2018 10:00:00 +0000\nMessage-ID: <m10@x>\nContent-Type: text/plain; charset=\"x-unknown\"\nContent-Transfer-Encoding: 8bit\n\nÄ latin\n{}\n", "long ".repeat(500)),
    ];
    texts.into_iter().map(|text| text.replace('\n', "\r\n").into_bytes()).collect()
}

/// One who says the same as another, in a mailbox with the same messages.
struct Speaker {
    dialogue: Dialogue,
    mailbox: String,
    uids: Vec<u32>,
    uid_validity: u64,
    highest_mod_seq: u64,
}

impl Speaker {
    fn new(mut dialogue: Dialogue, mailbox: String) -> Speaker {
        let uid_validity = dialogue.ok(&format!("SELECT {mailbox}")).number("UIDVALIDITY");
        let uids = dialogue.ok("UID SEARCH ALL").found();
        Speaker { dialogue, mailbox, uids, uid_validity, highest_mod_seq: 1 }
    }

    /// `{mb}` is the mailbox, `{u3}` the UID of the third message.
    fn say(&mut self, command: &str) -> (String, Vec<String>) {
        if command == "MARK" {
            let told = self.dialogue.cmd(&format!("STATUS {} (HIGHESTMODSEQ)", self.mailbox));
            let told = told.statuses().remove(&self.mailbox).unwrap_or_default();
            self.highest_mod_seq = told.get("HIGHESTMODSEQ").copied().unwrap_or(1);
            return (String::new(), Vec::new());
        }
        let mut said = command.replace("{mb}", &self.mailbox);
        said = said.replace("{hms}", &self.highest_mod_seq.to_string());
        said = said.replace("{uv}", &self.uid_validity.to_string());
        for (n, uid) in (1..).zip(&self.uids) {
            said = said.replace(&format!("{{u{n}}}"), &uid.to_string());
        }
        let Some(reply) = self.dialogue.cmd_unless_gone(said.as_bytes()) else {
            return ("GONE".to_owned(), Vec::new());
        };
        let mut told = self.alike(&reply);
        if command.starts_with("APPEND") {
            // News of flags may come at any time.
            told.retain(|line| !line.contains(" FETCH ("));
        }
        (reply.status.clone(), told)
    }

    /// What was told, in a form that does not depend on who was asked.
    fn alike(&self, reply: &Reply) -> Vec<String> {
        let told = reply.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        // The flags that there are, and who has seen a message first, differ.
        let counts = |line: &String| {
            !line.starts_with("* OK") && !line.starts_with("* FLAGS") && !line.ends_with(" RECENT")
        };
        told.filter(counts).map(|line| self.without_own(&line)).collect()
    }

    fn without_own(&self, line: &str) -> String {
        let line = line.replace(&quoted(&self.mailbox), "{mb}").replace(&self.mailbox, "{mb}");
        let mut out = String::new();
        let mut rest = line.as_str();
        // UIDs that only the proxy gives become those that they would be.
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let len = rest[at..].chars().take_while(char::is_ascii_digit).count();
            let (before, number) = (&rest[..at], &rest[at..at + len]);
            let own = number.parse().ok().and_then(|uid| self.uids.iter().position(|u| *u == uid));
            out.push_str(before);
            match own.filter(|_| number.len() > 6) {
                Some(position) => out.push_str(&(position + 1).to_string()),
                None => out.push_str(number),
            }
            rest = &rest[at + len..];
        }
        out.push_str(rest);
        // MODSEQs are everybody's own.
        if let Some((head, tail)) = out.split_once("MODSEQ ")
            && let Some(end) = tail.find(|c: char| !c.is_ascii_digit() && c != '(')
        {
            out = format!("{head}MODSEQ n{}", &tail[end..]);
        }
        // Flags in an order of their own, the tag of our own command.
        let mut out = out.replace("\\Recent ", "").replace(" \\Recent", "").replace("\\Recent", "");
        if let Some((head, tail)) = out.split_once("FLAGS (")
            && let Some((flags, tail)) = tail.split_once(')')
        {
            let mut flags: Vec<&str> = flags.split(' ').collect();
            flags.sort_unstable();
            out = format!("{head}FLAGS ({}){tail}", flags.join(" "));
        }
        if let Some((head, tail)) = out.split_once("(TAG \"")
            && let Some((_, tail)) = tail.split_once('"')
        {
            out = format!("{head}(TAG \"{tail}");
        }
        out
    }
}

/// Says all commands to both, where so many of the messages lie on old. Dovecot ends a connection after twenty
/// commands in a row that it does not understand.
fn agree(commands: &[&str]) {
    for on_old in [0, 5, 10] {
        let world = World::new().start();
        // What both servers offer is known from now on.
        world.proxy.client().ok("NOOP");
        let (mut old, mut new) = (world.old.client(), world.new.client());
        new.ok("CREATE OddDirect");
        if on_old > 0 {
            old.ok("CREATE INBOX.Odd");
        }
        if on_old < 10 {
            new.ok("CREATE Odd");
        }
        for (n, message) in messages().iter().enumerate() {
            let options = format!("({}) \"{}\"", FLAGS[n], DATES[n]);
            new.append("OddDirect", &options, message);
            match n < on_old {
                true => old.append("INBOX.Odd", &options, message),
                false => new.append("Odd", &options, message),
            };
        }
        let mut direct = Speaker::new(new, "OddDirect".to_owned());
        let mut through = Speaker::new(world.proxy.client(), "INBOX.Odd".to_owned());
        assert_eq!(through.uids.len(), 10);
        let mut differences = Vec::new();
        for command in commands {
            let (expected, found) = (direct.say(command), through.say(command));
            if found != expected {
                differences.push(format!("{command}\n  {found:?}\n  instead of\n  {expected:?}"));
            }
        }
        assert!(differences.is_empty(), "{on_old} of 10 on old:\n{}", differences.join("\n"));
    }
}

#[test]
fn messages_are_fetched_as_from_one_server() {
    agree(&[
        "FETCH 1:* ALL",
        "FETCH 1:* FAST",
        "FETCH 1:* FULL",
        "FETCH 1:* BODYSTRUCTURE",
        "FETCH 1:* BODY.PEEK[]",
        "FETCH 1:* BODY.PEEK[HEADER]",
        "FETCH 1:* BODY.PEEK[TEXT]",
        "FETCH 1:* BODY.PEEK[1]",
        "FETCH 1:* BODY.PEEK[2]",
        "FETCH 3 BODY.PEEK[2.HEADER]",
        "FETCH 3 BODY.PEEK[2.TEXT]",
        "FETCH 3 BODY.PEEK[2.1.MIME]",
        "FETCH 3 BODY.PEEK[2.2]",
        "FETCH 3 BODY.PEEK[4]",
        "FETCH 9 BODY.PEEK[1.HEADER]",
        "FETCH 1 BODY.PEEK[MIME]",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (subject FROM subject)]",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]",
        "FETCH 1 BODY.PEEK[HEADER.FIELDS ()]",
        "FETCH 1 BODY.PEEK[]<5.10>",
        "FETCH 1 BODY.PEEK[]<100000.10>",
        "FETCH 1 BODY.PEEK[]<0.4294967295>",
        "FETCH 1 BODY.PEEK[]<-1.5>",
        "FETCH 1 BODY.PEEK[]<4294967295.1>",
        "FETCH 1 BODY.PEEK[]<99999999999999999999.1>",
        "FETCH 1 BODY.PEEK[]<>",
        "FETCH 1 BODY.PEEK[]<1.>",
        "FETCH 1 BODY.PEEK[]<.1>",
        "FETCH 1 BODY.PEEK[]<1.2.3>",
        "FETCH 3 BODY.PEEK[2.1]<3.5>",
        "FETCH 3 BODY.PEEK[1]<9999.7>",
        "FETCH 3 BODY.PEEK[2.HEADER]<3.7>",
        "FETCH 3 BODY.PEEK[2.HEADER.FIELDS (Subject)]",
        "FETCH 3 BODY.PEEK[2.HEADER.FIELDS.NOT (Subject)]",
        "FETCH 3 BODY.PEEK[2.2.MIME]",
        "FETCH 3 BODY.PEEK[2.3.4.5.6.7.8.9]",
        "NOOP",
        "FETCH 3 BODY.PEEK[1.]",
        "FETCH 3 BODY.PEEK[.1]",
        "FETCH 3 BODY.PEEK[1..2]",
        "FETCH 3 BODY.PEEK[TEXT.1]",
        "FETCH 3 BODY.PEEK[1.MIME.1]",
        "FETCH 3 body.peek[Text]<0.5>",
        "FETCH 1:3 (BODY.PEEK[]<0.10> BODY.PEEK[]<5.10>)",
        "FETCH 1 BODY.PEEK[HEADER.FIELDS Subject]",
        "FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT ()]",
        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (\"a b\")]",
        "FETCH 1:* BODY.PEEK[TEXT]<2.3>",
        "FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT] BODY.PEEK[HEADER])",
        "FETCH 1:* RFC822.HEADER",
        "FETCH 1:* BINARY.SIZE[1]",
        "FETCH 3 BINARY.PEEK[1]",
        "FETCH 3 BINARY.PEEK[3]",
        "FETCH 3 BINARY.PEEK[3]<1.1>",
        "FETCH 1:* PREVIEW",
        "UID FETCH {u9}:{u3} FLAGS",
        "UID FETCH *:{u6} FLAGS",
        "UID FETCH * (UID)",
        "UID FETCH 4294967295 FLAGS",
        "UID FETCH 4294967296 FLAGS",
        "UID FETCH 0 FLAGS",
        "FETCH 0 FLAGS",
        "FETCH 11 FLAGS",
        "FETCH 5,1,3 FLAGS",
        "FETCH 5:3 FLAGS",
        "FETCH *:1 FLAGS",
        "FETCH 1,1,1 FLAGS",
        "FETCH 1: FLAGS",
        "FETCH 1,,2 FLAGS",
        "FETCH ,1 FLAGS",
        "FETCH -1 FLAGS",
        "FETCH 100:* UID",
        "FETCH *:100 UID",
        "FETCH *:* UID",
        "FETCH 4294967295:* UID",
        "FETCH 00001 UID",
        "UID FETCH 4294967295:* FLAGS",
        "FETCH 1:* (UID FLAGS FLAGS UID)",
        "FETCH 1:* (BODY BODYSTRUCTURE)",
        "FETCH 1 FAST FLAGS",
        "NOOP",
        "FETCH 1 (FLAGS)(UID)",
        "FETCH 1 ((FLAGS))",
        "FETCH 1 \"FLAGS\"",
        "FETCH 1 {5+}\r\nFLAGS",
        "FETCH 1 FLAGS UID",
        "FETCH 1 BODY.PEEK",
        "FETCH 1 BODY.PEEK[]]",
        "FETCH 1 BODY]",
        "FETCH 1 RFC822.HEADER.LINES (Subject)",
        "FETCH",
        "NOOP",
        "UID",
        "UID FETCH",
        "UID NOSUCH 1",
        "FETCH 1:2:3 FLAGS",
        "FETCH 1",
        "FETCH 1 ()",
        "FETCH 1 (FLAGS",
        "FETCH 1 (ALL)",
        "FETCH 1 NOSUCH",
        "FETCH 1 BODY[NOSUCH]",
        "FETCH 1 BODY[",
        "fetch 1 flags",
        "FETCH 1 RFC822",
        "FETCH 1 RFC822.TEXT",
        "FETCH 2 RFC822.TEXT",
        "FETCH 3 BODY[]",
        "FETCH 6 BODY[1]",
        "FETCH 7 BODY[]<0.1>",
        "FETCH 1:* FLAGS",
    ]);
}

#[test]
fn messages_are_found_as_by_one_server() {
    agree(&[
        "SEARCH ALL",
        "SEARCH BCC \"\"",
        "SEARCH BEFORE 3-Jan-2018",
        "SEARCH BODY \"line two\"",
        "SEARCH FROM second",
        "SEARCH HEADER X-Long word5",
        "SEARCH HEADER Subject \"\"",
        "SEARCH HEADER X-None \"\"",
        "SEARCH KEYWORD key1",
        "SEARCH KEYWORD nonesuch",
        "SEARCH LARGER 500",
        "SEARCH SMALLER 0",
        "SEARCH NOT NOT DELETED",
        "SEARCH ON 4-Jan-2018",
        "SEARCH OR OR DELETED DRAFT FLAGGED",
        "SEARCH OR (DELETED) (DRAFT SEEN)",
        "SEARCH SENTON 3-Jan-2018",
        "SEARCH SENTON 4-Jan-2018",
        "SEARCH SENTSINCE 4-Jan-2018",
        "SEARCH SUBJECT \"gr\"",
        "SEARCH TEXT alpha",
        "SEARCH TO g1",
        "SEARCH UID {u1}:{u3}",
        "SEARCH UID *",
        "SEARCH *",
        "SEARCH 5:*",
        "SEARCH 1,3,5 SEEN",
        "SEARCH ()",
        "SEARCH ((SEEN) (NOT FLAGGED))",
        "SEARCH NOT (OR (SEEN DELETED) (NOT FLAGGED))",
        "SEARCH OR OR OR SEEN DELETED FLAGGED DRAFT",
        "SEARCH NOT NOT NOT SEEN",
        "SEARCH ((((ALL))))",
        "SEARCH OR ALL ALL ALL",
        "SEARCH UNKEYWORD key1",
        "SEARCH UNKEYWORD nonesuch",
        "SEARCH HEADER \"subject\" {5+}\r\nAlpha",
        "SEARCH HEADER \"\" x",
        "SEARCH SUBJECT {2+}\r\nZe SUBJECT {2+}\r\neT",
        "SEARCH CHARSET UTF-8 SUBJECT {6+}\r\nGrüße",
        "SEARCH CHARSET \"utf-8\" BODY {6+}\r\nwörld",
        "SEARCH SUBJECT NIL",
        "SEARCH FROM (a)",
        "SEARCH 100",
        "SEARCH 1:100",
        "SEARCH NOT 8:100",
        "SEARCH 100,1 SEEN",
        "SEARCH 0",
        "NOOP",
        "SEARCH 1:2 3",
        "SEARCH UID *:1",
        "SEARCH UID 4294967295:*",
        "SEARCH UID abc",
        "SEARCH UID",
        "SEARCH SEEN UNSEEN",
        "NOOP",
        "SEARCH (",
        "SEARCH )",
        "SEARCH (ALL",
        "SEARCH ALL)",
        "SEARCH",
        "SEARCH FROM",
        "SEARCH ON 31-Feb-2019",
        "SEARCH ON 001-Feb-2019",
        "SEARCH LARGER 4294967295",
        "SEARCH LARGER 4294967296",
        "SEARCH LARGER -1",
        "SEARCH OR SEEN",
        "SEARCH NOT",
        "SEARCH NOSUCH",
        "SEARCH LARGER x",
        "SEARCH ON 1-Foo-2018",
        "SEARCH ON \"1-Jan-2018\"",
        "SEARCH BEFORE 1-Jan-18",
        "SEARCH CHARSET UTF-8 SUBJECT alpha",
        "SEARCH CHARSET NOSUCH ALL",
        "SEARCH CHARSET",
        "SEARCH OLDER 10",
        "SEARCH YOUNGER 0",
        "SEARCH TEXT \"\"",
        "SEARCH SUBJECT \"al*\"",
        "SEARCH RETURN () ALL",
        "SEARCH RETURN (MIN MAX COUNT) ALL",
        "SEARCH RETURN (MIN) KEYWORD none",
        "SEARCH RETURN (ALL) KEYWORD none",
        "UID SEARCH RETURN (MIN MAX) ALL",
        "SEARCH RETURN (SAVE) SEEN",
        "FETCH $ FLAGS",
        "SEARCH RETURN (COUNT) NOT $",
        "SEARCH RETURN (SAVE MIN) ALL",
        "FETCH $ FLAGS",
        "SEARCH RETURN (SAVE) KEYWORD none",
        "FETCH $ FLAGS",
        "SEARCH RETURN (NOSUCH) ALL",
        "SEARCH RETURN ALL",
        "search return (min) all",
        "SEARCH RETURN (PARTIAL 1:2) ALL",
        "UID SEARCH RETURN (PARTIAL 2:4) ALL",
        "SEARCH RETURN (PARTIAL 100:200) ALL",
        "SEARCH RETURN (PARTIAL 1:2 ALL) ALL",
        "SORT () UTF-8 ALL",
        "SORT (NOSUCH) UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT DATE UTF-8 ALL",
        "SORT (DISPLAYFROM) UTF-8 ALL",
        "SORT (DATE REVERSE) UTF-8 ALL",
        "SORT (SUBJECT) X-NOSUCH ALL",
        "SORT (SUBJECT)",
        "SORT",
        "SORT RETURN () (DATE) UTF-8 ALL",
        "SORT RETURN (SAVE) (DATE) UTF-8 SEEN",
        "SEARCH RETURN (COUNT) $",
        "SORT RETURN (ALL) (DATE) UTF-8 KEYWORD nonesuch",
        "SEARCH RETURN (SAVE) CHARSET NOSUCH ALL",
        "SEARCH RETURN (COUNT) $",
        "THREAD REFERENCES X-NOSUCH ALL",
        "THREAD REFERENCES",
        "SORT (DATE) UTF-8",
        "SORT (REVERSE SUBJECT DATE) UTF-8 ALL",
        "UID SORT (SIZE) UTF-8 SEEN",
        "SORT RETURN (MIN MAX) (SUBJECT) UTF-8 ALL",
        "SORT RETURN (PARTIAL 1:3) (REVERSE SIZE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "UID THREAD ORDEREDSUBJECT UTF-8 ALL",
        "THREAD NOSUCH UTF-8 ALL",
    ]);
}

#[test]
fn messages_are_changed_and_removed_as_on_one_server() {
    agree(&[
        "STORE 1 FLAGS (\\Seen)",
        "STORE 1:10 +FLAGS (\\Flagged)",
        "STORE 1:10 -FLAGS (\\Flagged)",
        "STORE 1 +FLAGS \\Seen \\Draft",
        "STORE 1 +FLAGS ()",
        "STORE 2 FLAGS ()",
        "STORE 2 FLAGS.SILENT (Key3)",
        "STORE 1 +FLAGS (\\Recent)",
        "STORE 11 +FLAGS (\\Seen)",
        "STORE 0 +FLAGS (\\Seen)",
        "UID STORE 4000000000 +FLAGS (\\Seen)",
        "UID STORE {u1},{u7} +FLAGS (\\Answered)",
        "STORE 1",
        "STORE 1 *FLAGS (x)",
        "STORE 1 FLAGS (a(b)",
        "STORE 1 FLAGS (a%b)",
        "STORE 1 +FLAGS (\\)",
        "STORE 1 +FLAGS (a]b)",
        "STORE 1 +FLAGS (\"quoted\")",
        "STORE 1 FLAGS (",
        "STORE 1:100 +FLAGS (\\Seen)",
        "STORE 1 (NOSUCH) +FLAGS (\\Draft)",
        "UID STORE 4000000000,{u2} -FLAGS (u)",
        "COPY 1 INBOX.nonesuch",
        "MOVE 1 INBOX.nonesuch",
        "MOVE 100 {mb}",
        "UID MOVE 4000000000 {mb}",
        "UID COPY 4000000000 {mb}",
        "COPY x {mb}",
        "UID EXPUNGE x",
        "UID EXPUNGE 4000000000",
        "STORE 5:2,9 +FLAGS (Abc)",
        "STORE *:8 +FLAGS (Def)",
        "FETCH 1:* FLAGS",
        "COPY 1:3 {mb}",
        "FETCH 11:* (FLAGS RFC822.SIZE INTERNALDATE)",
        "COPY 11111 {mb}",
        "COPY 1",
        "COPY 3,1 {mb}",
        "MOVE 1 {mb}",
        "FETCH 1:* (FLAGS RFC822.SIZE)",
        "STORE 2,5,9 +FLAGS.SILENT (\\Deleted)",
        "UID EXPUNGE {u3}",
        "UID EXPUNGE",
        "EXPUNGE",
        "FETCH 1:* RFC822.SIZE",
        "SEARCH ALL",
        "STORE 1,7 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "FETCH 99 RFC822.SIZE",
        "STORE 1 +FLAGS (\\Deleted)",
        "UNSELECT",
        "FETCH 1 FLAGS",
        "CLOSE",
        "EXPUNGE",
        "SEARCH ALL",
        "SELECT {mb}",
        "CLOSE",
        "SELECT {mb}",
        "FETCH 1:* RFC822.SIZE",
    ]);
}

#[test]
fn messages_are_put_together_as_on_one_server() {
    agree(&[
        "APPEND {mb} {0+}\r\n",
        "APPEND {mb} {3+}\r\nabc",
        "APPEND {mb} () {3+}\r\nabc",
        "APPEND {mb} (\\Seen Key9) \"01-Jan-2020 10:00:00 +0000\" {3+}\r\nabc",
        "APPEND {mb} \" 1-Jan-1990 10:00:00 -1130\" {3+}\r\nabc",
        "APPEND {mb} {3+}\r\nabc {4+}\r\ndefg",
        "APPEND {mb} (\\Seen) {3+}\r\nabc (\\Draft) \"01-Jan-2020 10:00:00 +0000\" {4+}\r\ndefg",
        "APPEND {mb} {3+}\r\nabc {0+}\r\n",
        "APPEND {mb} {3+}\r\nabc x",
        "APPEND {mb} abc",
        "APPEND {mb}",
        "APPEND {mb} CATENATE (TEXT {3+}\r\nabc TEXT {4+}\r\ndefg)",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID={u3}\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID={u3}/;SECTION=HEADER\" TEXT {3+}\r\nabc URL \"/{mb}/;UID={u9}/;SECTION=TEXT\")",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID={u3}/;SECTION=1.MIME\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID={u3}/;PARTIAL=1.5\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID={u3}/;SECTION=TEXT/;PARTIAL=1.3\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"/{mb};UIDVALIDITY=1/;UID={u3}\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"/{mb}/;UID=4000000000\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \"imap://elsewhere/INBOX/;UID=1\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE (URL \";UID={u3}\" TEXT {3+}\r\nabc)",
        "APPEND {mb} CATENATE ()",
        "APPEND {mb} CATENATE (TEXT {3+}\r\nabc",
        "APPEND {mb} (\\Seen) CATENATE (TEXT {3+}\r\nabc) (\\Draft) CATENATE (TEXT {3+}\r\nxyz)",
        "APPEND {mb} CATENATE (TEXT {3+}\r\nabc) {3+}\r\nxyz",
        "NOOP",
        "FETCH 11:* (FLAGS RFC822.SIZE BODY.PEEK[])",
        "FETCH 13,14 INTERNALDATE",
        "UNSELECT",
        "UNSELECT",
        "CLOSE",
        "CHECK",
        "SELECT {mb} (QRESYNC ())",
        "SELECT {mb} (NOSUCH)",
        "SELECT {mb} (CONDSTORE",
        "SELECT {mb} ()",
        "ENABLE CONDSTORE QRESYNC",
        "SELECT {mb} (QRESYNC (1))",
        "SELECT {mb} (QRESYNC (x 1))",
        "SELECT {mb} (QRESYNC 1 1)",
        "SELECT {mb} (QRESYNC (1 1 1:*))",
        "SELECT {mb} (QRESYNC (1 1 1:5 (1:2)))",
        "SELECT {mb} (QRESYNC (1 1))",
        "SELECT {mb} (QRESYNC (1 1 1:5 (1:2 1:2)))",
        "SELECT {mb} (CONDSTORE QRESYNC (1 1))",
        "EXAMINE {mb} (QRESYNC (1 1))",
        "FETCH 1 (FLAGS) (CHANGEDSINCE)",
        "FETCH 1 (FLAGS) (CHANGEDSINCE x)",
        "FETCH 1 (FLAGS) (NOSUCH)",
        "FETCH 1 (FLAGS) (VANISHED)",
        "UID FETCH 1:* (FLAGS) (VANISHED)",
        "FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
        "NOTIFY NONE",
        "NOTIFY SET ()",
        "NOTIFY SET (selected NONE)",
        "NOTIFY",
        "COMPRESS",
        "LOGIN a b",
        "ID (\"name\"",
        "ENABLE NONESUCH (",
    ]);
}

/// What two servers say where the messages are of one kind for both: whichever the proxy follows, it says nothing of
/// its own. `MARK` notes HIGHESTMODSEQ for `{hms}`; `{uv}` is UIDVALIDITY.
fn agree_with_either(old: impl Into<lab::server::Shape>, new: Cyrus, commands: &[&str]) {
    let world = World::new().old(old).new(new).start();
    // What both servers offer is known from now on.
    world.proxy.client().ok("NOOP");
    let (mut old, mut new) = (world.old.client(), world.new.client());
    old.ok("CREATE INBOX.OddOld");
    new.ok("CREATE OddNew");
    old.ok("CREATE INBOX.Odd");
    new.ok("CREATE Odd");
    for (n, message) in plain_messages().iter().enumerate() {
        let options = format!("({}) \"{}\"", FLAGS[n], DATES[n]);
        old.append("INBOX.OddOld", &options, message);
        new.append("OddNew", &options, message);
        match n < 5 {
            true => old.append("INBOX.Odd", &options, message),
            false => new.append("Odd", &options, message),
        };
    }
    let mut on_old = Speaker::new(old, "INBOX.OddOld".to_owned());
    let mut on_new = Speaker::new(new, "OddNew".to_owned());
    let mut through = Speaker::new(world.proxy.client(), "INBOX.Odd".to_owned());
    assert_eq!(through.uids.len(), 10);
    let mut differences = Vec::new();
    for command in commands {
        let (a, b, found) = (on_old.say(command), on_new.say(command), through.say(command));
        // Courier hangs up over ten in a row that it does not understand, and crashes over a few.
        if on_old.dialogue.cmd_unless_gone(b"NOOP").is_none() {
            on_old = Speaker::new(world.old.client(), on_old.mailbox);
        }
        let mut found = found;
        if !["STORE", "SINCE", "MODSEQ", "QRESYNC"].iter().any(|word| command.contains(word)) {
            // News of flags may come at any time.
            found.1.retain(|line| !line.contains("MODSEQ"));
        }
        let (on_old, on_new, told) = (loosely(&a.1), loosely(&b.1), loosely(&found.1));
        let known = |line: &String| on_old.contains(line) || on_new.contains(line);
        let as_many = told.len() == on_old.len() || told.len() == on_new.len();
        if !(found.0 == a.0 || found.0 == b.0) || !told.iter().all(known) || !as_many {
            differences
                .push(format!("{command}\n  {found:?}\n  instead of\n  {a:?}\n  or\n  {b:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The words of each line, in an order of our own, without MODSEQs: servers order items as they like.
fn loosely(lines: &[String]) -> Vec<String> {
    let words = |line: &String| {
        let line = line.replace("\"/\"", "\".\"").to_ascii_uppercase();
        let mut words: Vec<&str> = line.split([' ', '(', ')', '\r', '\n']).collect();
        if let Some(at) = words.iter().position(|word| *word == "MODSEQ") {
            words.drain(at + 1..(at + 2).min(words.len()));
        }
        words.retain(|word| !word.is_empty());
        words.sort_unstable();
        words.join(" ")
    };
    lines.iter().filter(|line| !line.contains("VANISHED")).map(words).collect()
}

/// Ten messages that all servers describe in the same words.
fn plain_messages() -> Vec<Vec<u8>> {
    let text = |n: usize| {
        let subject = [
            "Alpha",
            "beta",
            "Re: Alpha",
            "gamma",
            "Delta",
            "Re: beta",
            "alpha beta",
            "Zeta",
            "eta",
            "Fwd: Zeta",
        ][n];
        let parent =
            if n > 2 { format!("References: <p{}@x.org>\r\n", n - 2) } else { String::new() };
        format!(
            "From: f{}@x.org\r\nTo: t{n}@y.org\r\nSubject: {subject}\r\nDate: {}, {} Jan 2018 1{n}:00:00 +0000\r\n\
             Message-ID: <p{n}@x.org>\r\n{parent}\r\n{}\r\n",
            9 - n,
            ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][n],
            n + 1,
            "word ".repeat(n + 1),
        )
    };
    (0..10).map(|n| text(n).into_bytes()).collect()
}

/// What every server knows.
const PLAIN: &[&str] = &[
    "STATUS {mb} (MESSAGES UNSEEN)",
    "STATUS {mb} (messages)",
    "STATUS {mb} (MESSAGES MESSAGES)",
    "STATUS {mb} ()",
    "STATUS {mb} (NOSUCH)",
    "STATUS {mb}",
    "STATUS INBOX.nonesuch (MESSAGES)",
    "STATUS \"\" (MESSAGES)",
    "FETCH 1:* ALL",
    "FETCH 1:* FULL",
    "FETCH 1:* (UID BODY)",
    "FETCH 1:* (BODYSTRUCTURE INTERNALDATE)",
    "FETCH 2:8 (BODY.PEEK[HEADER.FIELDS (SUBJECT DATE)] BODY.PEEK[TEXT]<2.9>)",
    "FETCH 4,8 (BODY.PEEK[1] BODY.PEEK[1.MIME])",
    "FETCH 8 BODY.PEEK[2]",
    "FETCH 3:7 BODY.PEEK[]<30.40>",
    "UID FETCH {u3}:{u7} (FLAGS BODY.PEEK[HEADER.FIELDS.NOT (Date)])",
    "UID FETCH {u8},{u2} (UID RFC822.SIZE)",
    "UID FETCH *:{u9} (FLAGS)",
    "FETCH 10:1 RFC822.HEADER",
    "SEARCH ALL",
    "SEARCH 3:7 NOT SEEN",
    "SEARCH UID {u4}:*",
    "SEARCH OR (FROM f3 SUBJECT eta) (NOT TEXT word)",
    "SEARCH NOT 2 OR SEEN NOT UID {u8}",
    "SEARCH SINCE 3-Jan-2018 BEFORE 8-Jan-2018",
    "SEARCH SENTSINCE 4-Jan-2018 SENTBEFORE 7-Jan-2018",
    "SEARCH LARGER 180 SMALLER 200",
    "SEARCH HEADER References \"\"",
    "SEARCH HEADER Message-ID <p4@x.org>",
    "SEARCH CHARSET US-ASCII SUBJECT zeta",
    "SEARCH BODY \"word word word word word word word\"",
    "SEARCH KEYWORD Key1 UNKEYWORD Key2",
    "SORT (SUBJECT) US-ASCII ALL",
    "SORT (REVERSE SIZE) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "COPY 2:3,8 {mb}",
    "FETCH 11:* (FLAGS RFC822.SIZE)",
    "STORE 11:* +FLAGS.SILENT (\\Deleted)",
    "SEARCH DELETED",
    "CHECK",
    "EXAMINE {mb}",
    "EXPUNGE",
    "STORE 1 +FLAGS (\\Flagged)",
    "FETCH 1 BODY[]<0.3>",
    "FETCH 1 FLAGS",
    "CLOSE",
    "FETCH 1 FLAGS",
    "SELECT INBOX.nonesuch",
    "SELECT {mb}",
    "SUBSCRIBE {mb}",
    "LSUB \"\" {mb}",
    "UNSUBSCRIBE {mb}",
    "LSUB \"\" {mb}",
    "LIST \"\" {mb}",
    "DELETE INBOX.nonesuch",
    "CREATE {mb}",
    "XNOSUCH",
];

/// What Dovecot and Cyrus know besides.
const EXTENDED: &[&str] = &[
    "SEARCH RETURN () ALL",
    "SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN",
    "UID SEARCH RETURN (COUNT) UNFLAGGED",
    "SEARCH RETURN (SAVE) FLAGGED",
    "FETCH $ FLAGS",
    "UID FETCH $ (UID FLAGS)",
    "SEARCH $ SEEN",
    "SEARCH UID $",
    "SEARCH NOT $ ANSWERED",
    "SEARCH RETURN (SAVE COUNT) $ NOT SEEN",
    "STORE $ +FLAGS (S1)",
    "UID STORE $ -FLAGS.SILENT (S1)",
    "FETCH $ FLAGS",
    "FETCH $,1 FLAGS",
    "SEARCH RETURN (SAVE) NOSUCH",
    "SORT (SUBJECT) US-ASCII ALL",
    "SORT (FROM) UTF-8 ALL",
    "SORT (REVERSE FROM) UTF-8 1:6",
    "SORT (TO) UTF-8 ALL",
    "SORT (CC SIZE) UTF-8 ALL",
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (REVERSE ARRIVAL SUBJECT) UTF-8 ALL",
    "UID SORT (REVERSE SIZE) UTF-8 UNSEEN",
    "SORT (SIZE) UTF-8 KEYWORD none",
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD REFERENCES UTF-8 3:8",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "UID THREAD REFERENCES UTF-8 SEEN",
    "THREAD REFERENCES UTF-8 KEYWORD none",
    "ENABLE CONDSTORE",
    "MARK",
    "FETCH 1:* (MODSEQ)",
    "STORE 2 +FLAGS (Kx)",
    "STORE 8 +FLAGS (Kx)",
    "FETCH 1:* (FLAGS) (CHANGEDSINCE {hms})",
    "FETCH 1:* (UID) (CHANGEDSINCE {hms})",
    "UID FETCH {u1}:{u10} (RFC822.SIZE) (CHANGEDSINCE {hms})",
    "SEARCH MODSEQ 1",
    "SEARCH MODSEQ {hms} KEYWORD Kx",
    "SEARCH NOT MODSEQ {hms} KEYWORD Kx",
    "UID SEARCH RETURN (MIN MAX) MODSEQ 1",
    "SEARCH RETURN (COUNT ALL) MODSEQ 1 KEYWORD Kx",
    "STORE 2,3 (UNCHANGEDSINCE {hms}) +FLAGS (Ky)",
    "STORE 7,8 (UNCHANGEDSINCE {hms}) +FLAGS.SILENT (Kz)",
    "UID STORE {u4},{u9} (UNCHANGEDSINCE 9999999999999999) +FLAGS (Kw)",
    "STORE 1 (UNCHANGEDSINCE 0) +FLAGS (Kq)",
    "STORE 1:10 (UNCHANGEDSINCE 1) +FLAGS.SILENT (Kq)",
    "FETCH 1:* (FLAGS)",
    "FETCH 1 (FLAGS) (CHANGEDSINCE 18446744073709551616)",
    "FETCH 1 FLAGS (CHANGEDSINCE 1)",
    "STORE 1 (UNCHANGEDSINCE x) +FLAGS (Kq)",
    "STORE 1:* -FLAGS.SILENT (Kx Ky Kz Kw Kq)",
    "COPY 2:3,8 {mb}",
    "UID COPY {u1}:{u2},{u10} {mb}",
    "FETCH 11:* (FLAGS INTERNALDATE RFC822.SIZE)",
    "MOVE 12,14 {mb}",
    "FETCH 11:* (FLAGS RFC822.SIZE)",
    "STORE 11:* +FLAGS.SILENT (\\Deleted)",
    "EXPUNGE",
    "SEARCH ALL",
    "ENABLE QRESYNC",
    "SELECT {mb} (QRESYNC ({uv} {hms}))",
    "MARK",
    "STORE 4,9 +FLAGS.SILENT (\\Deleted)",
    "EXPUNGE",
    "UID FETCH {u1}:{u10} (FLAGS) (CHANGEDSINCE {hms} VANISHED)",
    "SELECT {mb} (QRESYNC ({uv} {hms} {u1}:{u10}))",
    "SELECT {mb} (QRESYNC (1 1))",
    "SELECT {mb} (QRESYNC ({uv} {hms} {u1}:{u10} (1:3 {u1}:{u3})))",
    "STORE 3 +FLAGS (Kv)",
    "EXAMINE {mb} (CONDSTORE)",
    "STORE 1 +FLAGS (\\Seen)",
    "FETCH 1 BODY[]<0.3>",
    "FETCH 1 FLAGS",
    "EXPUNGE",
    "MOVE 1 {mb}",
    "UID EXPUNGE 1:*",
    "CLOSE",
    "FETCH 1 FLAGS",
    "SEARCH ALL",
    "SELECT INBOX.nonesuch",
    "NOOP",
    "CHECK",
    "SELECT {mb}",
    "CHECK",
    "APPEND {mb} {14+}\r\nSubject: x\r\n\r\n",
    "APPEND {mb} (\\Seen \\Draft kk) \" 1-Feb-2003 04:05:06 -0730\" {14+}\r\nSubject: x\r\n\r\n",
    "APPEND {mb} (\\Recent) {14+}\r\nSubject: x\r\n\r\n",
    "APPEND {mb} \"31-Feb-2003 04:05:06 -0730\" {14+}\r\nSubject: x\r\n\r\n",
    "APPEND {mb} \"1-Feb-2003 04:05:06\" {14+}\r\nSubject: x\r\n\r\n",
    "NOOP",
    "FETCH 9:* (FLAGS INTERNALDATE)",
    "SUBSCRIBE {mb}",
    "LSUB \"\" {mb}",
    "LIST \"\" {mb} RETURN (SUBSCRIBED)",
    "LIST (SUBSCRIBED) \"\" {mb}",
    "LIST (SUBSCRIBED REMOTE) \"\" {mb} RETURN (CHILDREN)",
    "LIST (RECURSIVEMATCH) \"\" {mb}",
    "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" {mb}",
    "LIST (NOSUCH) \"\" {mb}",
    "LIST \"\" {mb} RETURN (NOSUCH)",
    "LIST () \"\" ({mb}) RETURN ()",
    "LIST \"\" ({mb} {mb})",
    "LIST \"\" {mb} RETURN (STATUS (MESSAGES UNSEEN))",
    "LIST \"\" {mb} RETURN (STATUS (NOSUCH))",
    "LIST \"\"",
    "LIST",
    "UNSUBSCRIBE {mb}",
    "LSUB \"\" {mb}",
    "SUBSCRIBE",
    "NOTIFY NONE",
    "GETQUOTAROOT",
    "RENAME INBOX.nonesuch INBOX.other",
    "DELETE INBOX.nonesuch",
    "CREATE {mb}",
    "RENAME {mb} {mb}",
    "EXPUNGE 1",
    "CHECK 1",
    "XNOSUCH",
    "UNSELECT",
];

#[test]
fn courier_and_cyrus_are_spoken_for_as_they_speak() {
    agree_with_either(Courier::plain(), Cyrus::styled(true, true), PLAIN);
}

#[test]
fn dovecot_and_cyrus_are_spoken_for_as_they_speak() {
    agree_with_either(Dovecot::old_style(), Cyrus::styled(true, true), PLAIN);
    agree_with_either(Dovecot::old_style(), Cyrus::styled(true, true), EXTENDED);
}
