//! The proxy between servers that are not alike: one long scenario over each pair of makes and name styles, and over
//! servers that seem to lack what others have.

mod lab;

use std::collections::{BTreeMap, BTreeSet};

use lab::tools::Mbsync;
use lab::view::two_digits;
use lab::{Courier, Cyrus, Dialogue, Dovecot, Fate, Mail, Server, Shape, Way, World};
use lab::{eventually, everything, folder_names, has, mails, quoted, small};

/// Two servers, and what is particular to them.
struct Pair {
    old: Shape,
    new: Shape,
    /// Old's folder for what was sent; new's is always called `Sent`.
    sent: &'static str,
    /// Folders of old with names that not every server likes.
    odd: &'static [&'static str],
    masks: Vec<(&'static str, &'static [&'static str])>,
    /// Neither server tells the UIDs of what was appended or copied.
    untold: bool,
    mbsync: bool,
}

/// What old's folders hold, by the numbers of `Mail::numbered`; the sent and odd ones come to it.
const ON_OLD: [(&str, std::ops::Range<u32>); 6] = [
    ("INBOX", 0..12),
    (UNOPENED, 33..35),
    ("Work/2016", 20..23),
    ("2016", 23..25),
    ("Entw&APw-rfe", 25..27),
    ("Two words", 27..29),
];
/// This one nobody opens before messages are copied there.
const UNOPENED: &str = "Left alone";
const SENT_ON_OLD: std::ops::Range<u32> = 30..32;
const FIRST_ODD: u32 = 40;

/// What new's folders hold; its numbers are not below this one.
const FIRST_ON_NEW: u32 = 100;
const ON_NEW: [(&str, std::ops::Range<u32>); 4] =
    [("INBOX", 100..104), ("Work/2016", 105..107), ("Sent", 108..110), ("Projects/2020", 120..122)];

/// One message, seen without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glance {
    n: u32,
    uid: u32,
    flags: BTreeSet<String>,
    date: String,
    size: usize,
}

/// All messages of a mailbox in the order of their UIDs; that sequence numbers agree is seen to.
#[track_caller]
fn glance(client: &mut Dialogue, mailbox: &str) -> Vec<Glance> {
    let exists = client.ok(&format!("EXAMINE {}", quoted(mailbox))).count("EXISTS");
    if exists == Some(0) {
        return Vec::new();
    }
    let items = "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]";
    let reply = client.ok(&format!("FETCH 1:* ({items})"));
    let fetched = reply.fetched().into_iter().filter(|m| !m.bodies.is_empty());
    let all: Vec<Glance> = fetched
        .enumerate()
        .map(|(at, m)| {
            assert_eq!(m.seq, u32::try_from(at).unwrap() + 1, "{mailbox}: {reply:?}");
            let header = String::from_utf8_lossy(m.bodies.values().next().unwrap()).into_owned();
            let (_, number) = header.split_once('<').expect("a Message-ID");
            let (number, _) = number.split_once('.').expect("a numbered message");
            Glance {
                n: number.parse().expect("a number"),
                uid: m.uid,
                flags: m.flags.expect("FLAGS"),
                date: two_digits(m.date.expect("INTERNALDATE")),
                size: m.size.expect("RFC822.SIZE"),
            }
        })
        .collect();
    assert_eq!(u32::try_from(all.len()).ok(), exists, "{mailbox}");
    assert!(all.windows(2).all(|w| w[0].uid < w[1].uid), "{mailbox}: {all:?}");
    all
}

#[track_caller]
fn uid_of(all: &[Glance], n: u32) -> u32 {
    all.iter().find(|g| g.n == n).unwrap_or_else(|| panic!("message {n} in {all:?}")).uid
}

fn numbers_in(all: &[Glance]) -> Vec<u32> {
    let mut numbers: Vec<u32> = all.iter().map(|g| g.n).collect();
    numbers.sort_unstable();
    numbers
}

/// Where each message lies on a server, by its octets: once for every place.
#[track_caller]
fn lies_on(server: &Server) -> BTreeMap<Vec<u8>, Vec<lab::Seen>> {
    let mut client = server.client();
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for folder in folder_names(&mut client) {
        for message in everything(&mut client, &folder) {
            all.entry(message.octets.clone()).or_default().push(message);
        }
    }
    all
}

impl Pair {
    fn of(old: impl Into<Shape>, new: impl Into<Shape>) -> Pair {
        let (old, new) = (old.into(), new.into());
        let (sent, odd): (_, &[_]) = match old {
            Shape::Dovecot(_) => {
                ("Sent Items", &["50% off", "quo\"te", "back\\slash", "{braces}", "R&-D (a)"])
            }
            Shape::Courier(_) => {
                ("Sent", &["50% off", "quo\"te", "back\\slash", "{braces}", "R&-D (a)"])
            }
            Shape::Cyrus(_) => ("Sent Items", &["R&-D (a)", "star*", "plus+'[x]"]),
        };
        Pair { old, new, sent, odd, masks: Vec::new(), untold: false, mbsync: false }
    }

    /// The proxy is not to use these capabilities of a side.
    fn masked(mut self, side: &'static str, capabilities: &'static [&'static str]) -> Pair {
        self.masks.push((side, capabilities));
        self
    }

    /// The servers do not tell the UIDs of what was appended or copied.
    fn with_uids_untold(mut self) -> Pair {
        self.untold = true;
        self
    }

    /// Also shows that mbsync notices nothing.
    fn with_mbsync(mut self) -> Pair {
        self.mbsync = true;
        self
    }

    /// Old's folders with what is in them.
    fn on_old(&self) -> Vec<(String, Vec<Mail>)> {
        let mut all: Vec<(String, Vec<Mail>)> =
            ON_OLD.iter().map(|(folder, n)| ((*folder).to_owned(), mails(n.clone()))).collect();
        // A hole, as every mailbox has them.
        all[0].1[6].uid = Some(10);
        all.push((self.sent.to_owned(), mails(SENT_ON_OLD)));
        for (n, folder) in (FIRST_ODD..).zip(self.odd) {
            all.push(((*folder).to_owned(), vec![Mail::numbered(n)]));
        }
        all
    }

    /// The whole story.
    #[track_caller]
    fn prove(self) {
        let mut builder = World::new().old(self.old.clone()).new(self.new.clone());
        builder = builder.set("limits.poll_interval", "\"1s\"");
        for (side, capabilities) in &self.masks {
            builder = builder.set(&format!("{side}.mask"), &format!("{capabilities:?}"));
        }
        if self.untold {
            builder = builder.wired();
        }
        let on_old = self.on_old();
        let mut world = builder.seeded(|old, new| {
            on_old.iter().for_each(|(folder, mails)| old.seed(folder, mails));
            ON_NEW.iter().for_each(|(folder, n)| new.seed(folder, &mails(n.clone())));
        });
        if self.untold {
            world.old_wire.rule(untold);
            world.new_wire.rule(untold);
        }
        if self.mbsync {
            mbsync_notices_nothing(&world);
        }
        let mut story = Story::begin(&self, &world);
        story.v1_v2_numbers_are_those_of_old(&world, &on_old);
        story.v3_every_message_is_there_once_as_it_was();
        story.v4_flags_go_to_where_the_message_lies(&world);
        story.search_finds_on_both_sides();
        story.status_agrees_with_select();
        story.v4_expunge_removes_on_both_sides(&world);
        story.v5_what_is_opened_is_carried_once(&world, &on_old);
        story.copies_moves_and_appends();
        story.fetch_answers_every_item();
        story.arrivals_on_either_side_wake_who_idles(&world);
        story.folders_are_made_renamed_and_deleted(&world);
        story.v2_a_restart_changes_nothing(&mut world);
        story.v5_in_the_end_all_lies_on_new_once(&world);
    }
}

/// Makes response codes of UIDPLUS (RFC 4315) such as nobody knows.
fn untold(way: Way, chunk: &[u8]) -> Fate {
    if way == Way::ToServer || !(has(chunk, "[APPENDUID ") || has(chunk, "[COPYUID ")) {
        return Fate::Pass;
    }
    let text = String::from_utf8_lossy(chunk);
    let text = text.replace("[APPENDUID ", "[X-UID ").replace("[COPYUID ", "[X-UID ");
    Fate::Instead(text.into_bytes())
}

/// The client of the scenario, with what it must see: the messages in each folder, by the client's names.
struct Story {
    client: Dialogue,
    folders: BTreeMap<String, Vec<u32>>,
    inbox: Vec<Glance>,
    /// EMAILIDs in INBOX, by UID.
    emails: BTreeMap<u32, String>,
    work: String,
    words: String,
    unopened: String,
    sent: String,
    untold: bool,
}

impl Story {
    fn begin(pair: &Pair, world: &World) -> Story {
        let mut folders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let name = |folder: &str| world.old.name(folder);
        for (at, (folder, mails)) in pair.on_old().iter().enumerate() {
            let first = match at.checked_sub(ON_OLD.len()) {
                None => ON_OLD[at].1.start,
                Some(0) => SENT_ON_OLD.start,
                Some(odd) => FIRST_ODD + u32::try_from(odd).unwrap() - 1,
            };
            let count = u32::try_from(mails.len()).unwrap();
            folders.entry(name(folder)).or_default().extend(first..first + count);
        }
        for (folder, n) in ON_NEW {
            let folder = if folder == "Sent" { pair.sent } else { folder };
            folders.entry(name(folder)).or_default().extend(n);
        }
        Story {
            client: world.proxy.client(),
            folders,
            inbox: Vec::new(),
            emails: BTreeMap::new(),
            work: name("Work/2016"),
            words: name("Two words"),
            unopened: name(UNOPENED),
            sent: name(pair.sent),
            untold: pair.untold,
        }
    }

    #[track_caller]
    fn select_inbox(&mut self) {
        self.client.ok("SELECT INBOX");
    }

    /// Holds every folder against what must be in it.
    #[track_caller]
    fn check(&mut self) {
        for (folder, expected) in self.folders.clone() {
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(numbers_in(&glance(&mut self.client, &folder)), expected, "{folder}");
        }
    }

    #[track_caller]
    fn v1_v2_numbers_are_those_of_old(&mut self, world: &World, on_old: &[(String, Vec<Mail>)]) {
        let mut old = world.old.client();
        for (folder, _) in on_old {
            let name = world.old.name(folder);
            let there = glance(&mut old, &name);
            let validity = old.ok(&format!("EXAMINE {}", quoted(&name))).number("UIDVALIDITY");
            let shown = glance(&mut self.client, &name);
            let selected = self.client.ok(&format!("EXAMINE {}", quoted(&name)));
            assert_eq!(selected.number("UIDVALIDITY"), validity, "{name}");
            let olds: Vec<_> = shown.into_iter().filter(|g| g.n < FIRST_ON_NEW).collect();
            assert_eq!(olds, there, "{name}: what lies on old is shown as old shows it");
        }
    }

    #[track_caller]
    fn v3_every_message_is_there_once_as_it_was(&mut self) {
        let listed = self.client.ok("LIST \"\" *").listed();
        let names = folder_names(&mut self.client);
        for folder in self.folders.keys() {
            assert!(names.contains(folder), "{folder} in {names:?}");
        }
        let sent: Vec<_> = listed.iter().filter(|l| l.attributes.contains("\\sent")).collect();
        assert!(sent.len() == 1 && sent[0].name == self.sent, "{sent:?}");
        self.check();
        for folder in self.folders.keys() {
            for seen in glance(&mut self.client, folder) {
                let mail = Mail::numbered(seen.n);
                assert_eq!(seen.flags, mail.flag_set(), "{folder}: {}", seen.n);
                assert_eq!(seen.size, mail.octets.len(), "{folder}: {}", seen.n);
                assert!(mail.options().contains(&format!("\"{}\"", seen.date)), "{seen:?}");
            }
        }
        self.inbox = glance(&mut self.client, "INBOX");
    }

    #[track_caller]
    fn v4_flags_go_to_where_the_message_lies(&mut self, world: &World) {
        let (on_old, on_new) = (uid_of(&self.inbox, 3), uid_of(&self.inbox, 101));
        self.select_inbox();
        let both = format!("{on_old},{on_new}");
        let stored =
            self.client.ok(&format!("UID STORE {both} +FLAGS (\\Flagged $Label1)")).fetched();
        assert!(stored.len() == 2 && stored.iter().all(|m| m.has("\\Flagged") && m.has("$Label1")));
        let flags = |server: &Server, n| {
            let all = glance(&mut server.client(), "INBOX");
            all.into_iter().find(|g| g.n == n).expect("the message").flags
        };
        assert!(flags(&world.old, 3).contains("$Label1"));
        assert!(flags(&world.new, 101).contains("$Label1"));
        self.client.ok(&format!("UID STORE {both} FLAGS.SILENT (\\Draft $Other)"));
        let expected: BTreeSet<String> = ["\\Draft", "$Other"].map(str::to_owned).into();
        assert_eq!(flags(&world.old, 3), expected);
        assert_eq!(flags(&world.new, 101), expected);
        self.client.ok(&format!("UID STORE {both} -FLAGS (\\Draft)"));
        self.client.ok(&format!("UID STORE {both} +FLAGS (\\Flagged $Label1)"));
        assert!(!flags(&world.old, 3).contains("\\Draft"));
        self.inbox = glance(&mut self.client, "INBOX");
    }

    #[track_caller]
    fn search_finds_on_both_sides(&mut self) {
        self.select_inbox();
        let inbox = self.inbox.clone();
        let mut check = |program: &str, expected: &dyn Fn(&Glance) -> bool| {
            let uids: Vec<u32> = inbox.iter().filter(|g| expected(g)).map(|g| g.uid).collect();
            assert_eq!(self.client.ok(&format!("UID SEARCH {program}")).found(), uids, "{program}");
            let at = |uid: &u32| inbox.iter().position(|g| g.uid == *uid).unwrap() as u32 + 1;
            let seqs: Vec<u32> = uids.iter().map(at).collect();
            assert_eq!(self.client.ok(&format!("SEARCH {program}")).found(), seqs, "{program}");
        };
        check("ALL", &|_| true);
        check("KEYWORD $Label1", &|g| matches!(g.n, 3 | 101));
        check("UNSEEN", &|g| !g.flags.contains("\\Seen"));
        check("OR HEADER MESSAGE-ID <7.lab HEADER MESSAGE-ID <102.lab", &|g| {
            matches!(g.n, 7 | 102)
        });
        check("SINCE 2-Mar-2016", &|g| g.n >= FIRST_ON_NEW);
        check("NOT FLAGGED 2:*", &|g| g.n != 0 && !g.flags.contains("\\Flagged"));
        let has = |g: &Glance, text: &str| String::from_utf8_lossy(&small(g.n)).contains(text);
        check("BODY anchor", &|g| {
            let octets = small(g.n);
            let text = String::from_utf8_lossy(&octets);
            text.split_once("\r\n\r\n").unwrap().1.contains("anchor")
        });
        check("TEXT tide", &|g| has(g, "tide"));
        let found = self.client.literal("SEARCH CHARSET UTF-8 SUBJECT ", "Fähre".as_bytes(), "");
        assert_eq!((found.status.as_str(), found.found()), ("OK", Vec::new()));
        let count = self.client.ok("UID SEARCH RETURN (COUNT) ALL").esearch("COUNT");
        assert_eq!(count, Some(self.inbox.len().to_string()));
    }

    #[track_caller]
    fn fetch_answers_every_item(&mut self) {
        self.inbox = glance(&mut self.client, "INBOX");
        self.select_inbox();
        let items =
            "ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT]<0.10>";
        let lines = self.client.ok(&format!("FETCH 1:* (UID {items})")).lines();
        let lines: Vec<_> = lines.iter().filter(|l| l.contains(" FETCH (")).collect();
        assert_eq!(lines.len(), self.inbox.len());
        for (line, seen) in lines.iter().zip(&self.inbox) {
            for item in ["ENVELOPE (", "BODYSTRUCTURE (", "BODY[TEXT]<0> "] {
                assert!(line.contains(item), "{item} in {line}");
            }
            assert!(line.contains(&format!("(UID {} ", seen.uid)), "{line}");
        }
    }

    #[track_caller]
    fn status_agrees_with_select(&mut self) {
        for (folder, expected) in self.folders.clone() {
            let items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY";
            let status = self.client.ok(&format!("STATUS {} ({items})", quoted(&folder)));
            let status = status.status_of(&folder);
            let all = glance(&mut self.client, &folder);
            let unseen = all.iter().filter(|g| !g.flags.contains("\\Seen")).count() as u64;
            assert_eq!(status["MESSAGES"], expected.len() as u64, "{folder}");
            assert_eq!(status["UNSEEN"], unseen, "{folder}");
            let selected = self.client.ok(&format!("EXAMINE {}", quoted(&folder)));
            assert_eq!(status["UIDNEXT"], selected.number("UIDNEXT"), "{folder}");
            assert_eq!(status["UIDVALIDITY"], selected.number("UIDVALIDITY"), "{folder}");
        }
    }

    #[track_caller]
    fn v4_expunge_removes_on_both_sides(&mut self, world: &World) {
        self.select_inbox();
        let uid = |n| uid_of(&self.inbox, n);
        let (five, six, seven, on_new) = (uid(5), uid(6), uid(7), uid(103));
        let client = &mut self.client;
        client.ok(&format!("UID STORE {five},{six},{on_new} +FLAGS.SILENT (\\Deleted)"));
        assert_eq!(client.ok(&format!("UID EXPUNGE {five},{on_new}")).expunged().len(), 2);
        client.ok(&format!("UID STORE {six} -FLAGS.SILENT (\\Deleted)"));
        client.ok(&format!("UID STORE {seven} +FLAGS.SILENT (\\Deleted)"));
        assert_eq!(client.ok("EXPUNGE").expunged().len(), 1);
        self.folders.get_mut("INBOX").unwrap().retain(|n| ![5, 7, 103].contains(n));
        assert_eq!(numbers_in(&glance(&mut self.client, "INBOX")), self.folders["INBOX"]);
        let old = numbers_in(&glance(&mut world.old.client(), "INBOX"));
        assert_eq!(old, [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]);
        assert_eq!(numbers_in(&glance(&mut world.new.client(), "INBOX")), [100, 101, 102]);
    }

    #[track_caller]
    fn v5_what_is_opened_is_carried_once(&mut self, world: &World, on_old: &[(String, Vec<Mail>)]) {
        let mut opened = Vec::new();
        for (folder, mails) in on_old.iter().filter(|(folder, _)| folder != UNOPENED) {
            self.client.ok(&format!("SELECT {}", quoted(&world.old.name(folder))));
            let body = self.client.ok("FETCH 1 (UID BODY[])").fetched().remove(0);
            assert_eq!(body.body(), mails[0].octets, "{folder}");
            opened.push(&mails[0]);
        }
        eventually("what was opened lies on new", || {
            let there = lies_on(&world.new);
            opened.iter().all(|mail| there.contains_key(&mail.octets)).then_some(())
        });
        let there = lies_on(&world.new);
        for mail in opened {
            let copies = &there[&mail.octets];
            assert_eq!(copies.len(), 1, "{copies:?}");
            let mut flags = mail.flag_set();
            flags.insert("\\Seen".to_owned());
            assert_eq!(copies[0].flags, flags);
            assert!(mail.options().contains(&copies[0].date), "{copies:?}");
        }
        self.check();
    }

    #[track_caller]
    fn copies_moves_and_appends(&mut self) {
        let inbox = self.inbox.clone();
        let uid = |n| uid_of(&inbox, n);
        let (work, words) = (self.work.clone(), self.words.clone());
        let (copied, moved) =
            (format!("{},{}", uid(8), uid(102)), format!("{},{}", uid(9), uid(100)));
        self.select_inbox();
        self.emails = self.client.ok("UID FETCH 1:* (EMAILID)").emails();
        let reply = self.client.ok(&format!("UID COPY {copied} {}", quoted(&work)));
        self.folders.get_mut(&work).unwrap().extend([8, 102]);
        self.check_uids(&reply, &work, &[8, 102]);

        // Messages of old go to where nothing of new is yet.
        let unopened = self.unopened.clone();
        for numbers in [vec![10], vec![11, 101]] {
            let set: Vec<String> = numbers.iter().map(|n| uid(*n).to_string()).collect();
            self.client.ok("SELECT INBOX");
            let copy = format!("UID COPY {} {}", set.join(","), quoted(&unopened));
            let reply = self.client.ok(&copy);
            self.folders.get_mut(&unopened).unwrap().extend(&numbers);
            self.check_uids(&reply, &unopened, &numbers);
        }

        self.select_inbox();
        let reply = self.client.ok(&format!("UID MOVE {moved} {}", quoted(&words)));
        assert_eq!(reply.expunged().len(), 2);
        self.folders.get_mut("INBOX").unwrap().retain(|n| ![9, 100].contains(n));
        self.folders.get_mut(&words).unwrap().extend([9, 100]);
        self.check_uids(&reply, &words, &[9, 100]);

        let mail = Mail::numbered(200).flags(&["\\Seen", "$Work"]);
        let (validity, uid) = self.client.append(&work, &mail.options(), &mail.octets).appended();
        self.folders.get_mut(&work).unwrap().push(200);
        let there = glance(&mut self.client, &work);
        let last = there.last().expect("a message");
        assert_eq!((last.n, last.uid), (200, uid));
        assert_eq!(last.flags, mail.flag_set());
        assert!(mail.options().contains(&last.date), "{last:?}");
        let selected = self.client.ok(&format!("EXAMINE {}", quoted(&work)));
        assert_eq!(selected.number("UIDVALIDITY"), u64::from(validity));
        self.check();
    }

    /// Holds the COPYUID of a COPY or MOVE against the target.
    #[track_caller]
    fn check_uids(&mut self, reply: &lab::Reply, target: &str, numbers: &[u32]) {
        let there = glance(&mut self.client, target);
        if self.untold {
            assert_eq!(reply.code("COPYUID"), None);
            return;
        }
        let (validity, from, to) = reply.copied();
        let selected = self.client.ok(&format!("EXAMINE {}", quoted(target)));
        assert_eq!(selected.number("UIDVALIDITY"), u64::from(validity));
        assert_eq!((from.len(), to.len()), (numbers.len(), numbers.len()));
        let emails = self.client.ok("UID FETCH 1:* (EMAILID)").emails();
        for (from, to) in from.iter().zip(&to) {
            assert_eq!(emails[to], self.emails[from], "{target}: EMAILID");
            let n = self.inbox.iter().find(|g| g.uid == *from).expect("the source").n;
            assert_eq!(uid_of(&there, n), *to, "{target}: message {n}");
        }
    }

    #[track_caller]
    fn arrivals_on_either_side_wake_who_idles(&mut self, world: &World) {
        self.select_inbox();
        self.client.idle();
        for (server, n) in [(&world.old, 60), (&world.new, 160)] {
            server.deliver("INBOX", &Mail::numbered(n));
            self.folders.get_mut("INBOX").unwrap().push(n);
            let exists = format!("* {} EXISTS", self.folders["INBOX"].len());
            self.client.wait_for(|r| r == exists);
        }
        self.client.done();
        self.check();
    }

    #[track_caller]
    fn folders_are_made_renamed_and_deleted(&mut self, world: &World) {
        let name = |folder: &str| world.old.name(folder);
        let client = &mut self.client;
        let (made, renamed) = (name("Neu/Unter"), name("Alt/Unter"));
        client.ok(&format!("CREATE {}", quoted(&made)));
        client.append(&made, "", &small(201));
        client.ok(&format!("RENAME {} {}", quoted(&name("Neu")), quoted(&name("Alt"))));
        self.folders.insert(renamed, vec![201]);

        // What old has keeps its name there.
        let (before, after) = (name("2016"), name("Jahr 2016"));
        let selected = client.ok(&format!("EXAMINE {}", quoted(&before)));
        let (validity, id) = (selected.number("UIDVALIDITY"), selected.code("MAILBOXID"));
        client.ok(&format!("RENAME {} {}", quoted(&before), quoted(&after)));
        let selected = client.ok(&format!("EXAMINE {}", quoted(&after)));
        assert_eq!(selected.number("UIDVALIDITY"), validity);
        assert!(id.is_some() && selected.code("MAILBOXID") == id, "{selected:?}");
        let messages = self.folders.remove(&before).unwrap();
        self.folders.insert(after, messages);

        let deleted = name("Entw&APw-rfe");
        client.ok(&format!("DELETE {}", quoted(&deleted)));
        self.folders.remove(&deleted);
        let names = folder_names(&mut self.client);
        for gone in [made, before.clone(), deleted.clone()] {
            assert!(!names.contains(&gone), "{gone} in {names:?}");
        }
        let on_old = folder_names(&mut world.old.client());
        assert!(on_old.contains(&before) && on_old.contains(&deleted), "{on_old:?}");
        self.check();
    }

    #[track_caller]
    fn v2_a_restart_changes_nothing(&mut self, world: &mut World) {
        let folders: Vec<String> = self.folders.keys().cloned().collect();
        let all = |client: &mut Dialogue| -> Vec<Vec<Glance>> {
            folders.iter().map(|folder| glance(client, folder)).collect()
        };
        let before = all(&mut self.client);
        world.proxy.kill9();
        world.proxy.restart();
        self.client = world.proxy.client();
        assert_eq!(all(&mut self.client), before);
        assert_eq!(
            folder_names(&mut self.client).len(),
            folder_names(&mut world.proxy.client()).len()
        );
    }

    #[track_caller]
    fn v5_in_the_end_all_lies_on_new_once(&mut self, world: &World) {
        let mut expected: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (folder, numbers) in &self.folders {
            let mut octets: Vec<Vec<u8>> = numbers.iter().map(|n| small(*n)).collect();
            octets.iter().for_each(|o| *expected.entry(o.clone()).or_default() += 1);
            let mut seen: Vec<Vec<u8>> =
                everything(&mut self.client, folder).into_iter().map(|m| m.octets).collect();
            octets.sort();
            seen.sort();
            assert!(octets == seen, "{folder}: octets are those that were given");
        }
        let count = |there: BTreeMap<Vec<u8>, Vec<lab::Seen>>| -> BTreeMap<Vec<u8>, usize> {
            there.into_iter().map(|(octets, places)| (octets, places.len())).collect()
        };
        // What was in the folder that was deleted may lie there from before.
        let strip = |mut all: BTreeMap<Vec<u8>, usize>| {
            all.remove(&small(25));
            all.remove(&small(26));
            all
        };
        let total: usize = expected.values().sum();
        eventually("all lies on new", || {
            let there = strip(count(lies_on(&world.new)));
            (there.values().sum::<usize>() >= total).then_some(())
        });
        assert!(strip(count(lies_on(&world.new))) == expected, "each once");
        self.check();
    }
}

/// A client that was synchronised with old pulls nothing again through the proxy (V1, V2).
#[track_caller]
fn mbsync_notices_nothing(world: &World) {
    let (user, password) = world.old.account();
    let mbsync = Mbsync::new(&world.dir.path().join("mbsync"));
    mbsync.sync(world.old.port, user, password).content();
    let before = mbsync.files();
    mbsync.sync(world.proxy.port, user, password).content();
    let after = mbsync.files();
    assert!(after.is_superset(&before), "nothing went");
    let on_new: usize = ON_NEW.iter().map(|(_, n)| n.len()).sum();
    assert_eq!(after.len(), before.len() + on_new, "nothing came again");
    mbsync.sync(world.proxy.port, user, password).content();
    assert_eq!(mbsync.files(), after);
}

fn old_dovecot() -> Dovecot {
    Dovecot::old_style().special_use("Sent Items", "\\Sent")
}

fn old_cyrus(altnamespace: bool, unixhierarchysep: bool) -> Cyrus {
    Cyrus::styled(altnamespace, unixhierarchysep).special_use("Sent Items", "\\Sent")
}

fn new_cyrus(altnamespace: bool, unixhierarchysep: bool) -> Cyrus {
    let cyrus = Cyrus::styled(altnamespace, unixhierarchysep);
    cyrus.special_use("Sent", "\\Sent").special_use("Trash", "\\Trash")
}

#[test]
fn dovecot_to_cyrus_with_folders_beside_inbox_and_slashes() {
    Pair::of(old_dovecot(), new_cyrus(true, true)).prove();
}

#[test]
fn dovecot_to_cyrus_with_folders_beside_inbox_and_dots() {
    Pair::of(old_dovecot(), new_cyrus(true, false)).prove();
}

#[test]
fn dovecot_to_cyrus_with_folders_below_inbox_and_slashes() {
    Pair::of(old_dovecot(), new_cyrus(false, true)).prove();
}

#[test]
fn dovecot_to_cyrus_with_folders_below_inbox_and_dots() {
    Pair::of(old_dovecot(), new_cyrus(false, false)).prove();
}

#[test]
fn courier_to_dovecot() {
    Pair::of(Courier::plain(), Dovecot::new_style()).prove();
}

#[test]
fn courier_to_cyrus_with_folders_beside_inbox_and_slashes() {
    Pair::of(Courier::plain(), new_cyrus(true, true)).with_mbsync().prove();
}

#[test]
fn courier_to_cyrus_with_folders_beside_inbox_and_dots() {
    Pair::of(Courier::plain(), new_cyrus(true, false)).prove();
}

#[test]
fn courier_to_cyrus_with_folders_below_inbox_and_slashes() {
    Pair::of(Courier::plain(), new_cyrus(false, true)).prove();
}

#[test]
fn courier_to_cyrus_with_folders_below_inbox_and_dots() {
    Pair::of(Courier::plain(), new_cyrus(false, false)).prove();
}

/// As Courier was when it was young.
#[test]
fn courier_without_uidplus_and_idle_to_cyrus() {
    let courier = Courier::plain().capabilities("IMAP4rev1 CHILDREN NAMESPACE");
    Pair::of(courier, new_cyrus(true, true)).prove();
}

#[test]
fn cyrus_to_dovecot() {
    Pair::of(old_cyrus(false, false), Dovecot::new_style()).with_mbsync().prove();
}

#[test]
fn cyrus_to_cyrus_with_folders_beside_inbox_and_slashes() {
    Pair::of(old_cyrus(false, false), new_cyrus(true, true)).prove();
}

#[test]
fn cyrus_to_cyrus_with_folders_beside_inbox_and_dots() {
    Pair::of(old_cyrus(true, true), new_cyrus(true, false)).prove();
}

#[test]
fn cyrus_to_cyrus_with_folders_below_inbox_and_slashes() {
    Pair::of(old_cyrus(true, false), new_cyrus(false, true)).prove();
}

#[test]
fn cyrus_to_cyrus_with_folders_below_inbox_and_dots() {
    Pair::of(old_cyrus(false, true), new_cyrus(false, false)).prove();
}

/// Dovecot on both sides, with these capabilities unused on old, on new, or on both.
fn without(on_old: &'static [&'static str], on_new: &'static [&'static str]) {
    let pair = Pair::of(old_dovecot(), Dovecot::new_style());
    pair.masked("old", on_old).masked("new", on_new).prove();
}

#[test]
fn dovecot_to_dovecot() {
    without(&[], &[]);
}

#[test]
fn without_uidplus() {
    let pair = Pair::of(old_dovecot(), Dovecot::new_style()).with_uids_untold();
    pair.masked("old", &["UIDPLUS"]).masked("new", &["UIDPLUS"]).prove();
}

#[test]
fn without_move_on_new() {
    without(&[], &["MOVE"]);
}

#[test]
fn without_idle_on_old() {
    without(&["IDLE"], &[]);
}

#[test]
fn without_literals_that_need_no_permission() {
    without(&["LITERAL+"], &["LITERAL+", "SASL-IR"]);
}

#[test]
fn without_esearch() {
    without(&["ESEARCH"], &["ESEARCH"]);
}

#[test]
fn without_condstore_on_old() {
    without(&["CONDSTORE", "QRESYNC"], &[]);
}

#[test]
fn without_special_use_on_old_and_list_extended_on_new() {
    without(&["SPECIAL-USE"], &["LIST-EXTENDED"]);
}

#[test]
fn without_namespace() {
    without(&["NAMESPACE"], &["NAMESPACE"]);
}

const EVERYTHING: &[&str] = &[
    "UIDPLUS",
    "MOVE",
    "IDLE",
    "LITERAL+",
    "LITERAL-",
    "SASL-IR",
    "ESEARCH",
    "CONDSTORE",
    "QRESYNC",
    "SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "NAMESPACE",
    "MULTIAPPEND",
    "UNSELECT",
    "CHILDREN",
    "ENABLE",
    "ID",
];

#[test]
fn without_anything() {
    without(EVERYTHING, EVERYTHING);
}
