//! SORT and THREAD over both sides: exactly what one server with all the messages answers. That
//! server is asked, too: a Dovecot that holds every message of the corpus in the same order.

mod lab;

use lab::{Dialogue, Dovecot, Mail, Reply, Server, Shape, World, eventually};

/// 2016-03-01 12:00:00 UTC.
const NOON: u64 = 1_456_833_600;

/// A message with these header lines, its number and as many octets more as are wanted.
fn mail(n: usize, headers: &[String], more: usize) -> Mail {
    let mut text = headers.join("\r\n");
    text.push_str(&format!("\r\nX-Number: {n}\r\n\r\n"));
    text.push_str(&"x".repeat(more));
    text.push_str("\r\n");
    // Dates of arrival neither ascend nor differ everywhere.
    Mail::of(text.into_bytes()).dated(NOON + (n as u64 * 7_919) % 720 / 10 * 600)
}

fn date(minute: usize) -> String {
    let zones = ["+0000", "+0530", "-0800", "GMT", "EST"];
    format!(
        "Date: Tue, 1 Mar 2016 {:02}:{:02}:00 {}",
        10 + minute / 60 % 10,
        minute % 60,
        zones[minute % 5]
    )
}

/// A mailing list of the usual kind: threads of replies, in the order of their arrival.
fn realistic() -> Vec<Mail> {
    let people = ["Ann Lee <ann@example.org>", "bob@example.org", "\"Zoë Q.\" <ZOE@example.net>"];
    let topics = ["Ferry times", "lamp oil", "The ledger", "Anchor", "[tide] Charts for May"];
    (0..60)
        .map(|n| {
            let topic = n * 7 % 5;
            let answers = n >= 10 && n % 4 != 0;
            let prefix = ["Re: ", "RE: ", "Re: [list] ", "AW: ", "Fwd: "][n % 5];
            let subject = if answers { prefix } else { "" };
            let mut headers = vec![
                format!("From: {}", people[n % 3]),
                format!("To: {}", people[(n + 1) % 3]),
                format!("Subject: {subject}{}", topics[topic]),
                date(n * 13 % 600),
                format!("Message-ID: <m{n}@lists.example.org>"),
            ];
            if n % 6 == 0 {
                headers.push(format!("Cc: {}, {}", people[(n / 6) % 3], people[0]));
            }
            if answers {
                let parent = n - 5 * (1 + n % 2);
                match n % 3 {
                    0 => headers.push(format!("In-Reply-To: <m{parent}@lists.example.org>")),
                    _ => headers.push(format!(
                        "References: <m{}@lists.example.org>\r\n <m{parent}@lists.example.org>",
                        parent.saturating_sub(5)
                    )),
                }
            }
            mail(n, &headers, n * 37 % 400)
        })
        .collect()
}

/// What mail is really like: headers thrown together, other ones for every seed.
fn nasty(seed: usize) -> Vec<Mail> {
    let subjects = [
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?utf-8?B?IEvDtmxu?=",
        "Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus =?iso-8859-1?q?K=F6ln?=",
        "Subject: RE[2]: =?utf-8?q?GR=C3=9C=C3=9Fe_AUS_K=C3=96LN?=",
        "Subject: =?utf-8?q?Re=3A_?= Ferry",
        "Subject: Re: re : FWD: Fw[9]: Ferry",
        "Subject: [list] Ferry (fwd)",
        "Subject: [list] [other] Re: [list] Ferry (FWD) (fwd)  ",
        "Subject: [Fwd: Re: [list] Ferry]",
        "Subject: [fwd: [fwd: Ferry]]",
        "Subject: [list]",
        "Subject: Re: [list]",
        "Subject: Re:",
        "Subject:",
        "X-No-Subject: at all",
        "Subject: ferry",
        "Subject:  \t Ferry\r\n\t",
        "Subject: Ferry\r\n  and\r\n\tfolded",
        "Subject: ferry and folded",
        "Subject: =?unknown?= not a word ?=",
        "Subject: Regarding: Ferry",
        "Subject: [open Ferry",
        "Subject: Äpfel",
        "Subject: apfel",
        "Subject: zoo",
        "Subject: Re:Re:Re:zoo",
        "Subject: ёлка",
        "Subject: ЁЛКА",
    ];
    let senders = [
        "From: =?utf-8?q?=C3=84nne?= <anne@example.org>",
        "From: \"anne\" <zzz@example.org>",
        "From: Anne (comment) <Bob@example.org>",
        "From: <bob@example.org>",
        "From: bob@EXAMPLE.net",
        "From: \"\" <carl@example.org>",
        "From: \"Lee, Ann\" <ann@example.org>, other@example.org",
        "X-No-From: at all",
        "From: =?iso-8859-1?q?J=FCrgen?= =?iso-8859-1?q?_M=FCller?= <j@example.org>",
        "From:",
        "From: Team: carl@example.org, bob@example.org;",
        "From: undisclosed-recipients:;",
        "From: \"=?utf-8?q?Quoted_W=C3=B6rd?=\" <quoted@example.org>",
        "From: \"say \\\"hi\\\"\" <hi@example.org>",
        "From: Jürgen <raw@example.org>",
        "From: broken <",
        "From: =?utf-8?q?Anne?= Lee\r\n <folded@example.org>",
    ];
    let dates = [
        "Date: Tue, 1 Mar 2016 12:00:00 +0000",
        "Date: Tue, 1 Mar 2016 13:00:00 +0100 (CET)",
        "Date: 1 Mar 2016 12:00:00 GMT",
        "Date: Tue, 01 Mar 16 11:59:59 +0000",
        "Date: yesterday",
        "X-No-Date: at all",
        "Date: Mon, 31 Feb 2016 12:00:00 +0000",
        "Date: Tue, 1 Mar 2016 07:00:00 EST",
        "Date:",
        "Date: Tue, 1 Mar 2016 12:00 -0000",
        "Date: Thu, 1 Jan 70 00:00:10 +0000",
        "Date: Thu, 1 Mar 2068 00:00:10 +0000",
        "Date: Tue,1 Mar 2016 12:00:30 +0000",
    ];
    let ids = [
        "<a@x>",
        "<b@x>",
        "<c@x>",
        "<a@x>",
        "<d@x>",
        "",
        "<e@x> <f@x>",
        "garbage",
        "<\"g\"@x>",
        "<h@x>",
        "<no-at-sign>",
        "<i@x>",
        "<j@x>",
    ];
    let references = [
        "",
        "<a@x>",
        "<b@x> <a@x>",
        "<c@x>",
        "<a@x> <missing@x>",
        "<missing@x>",
        "<d@x> <e@x>",
        "<e@x> <d@x>",
        "junk <b@x> junk <\"g\"@x>",
        "",
        "<h@x> <h@x>",
        "<gone@x> <lost@x>",
        "<i@x>\r\n\t<j@x>",
        "<j@x> <i@x>",
        "",
    ];
    let mut state = seed;
    let mut any = |of: &[&str]| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[(state >> 33) % of.len()].to_owned()
    };
    (0..150)
        .map(|n| {
            let mut headers = vec![
                any(&senders),
                any(&subjects),
                any(&dates),
                format!("Message-ID: {}", any(&ids)),
                any(&senders).replace("From", "To"),
                any(&senders).replace("From", "Cc"),
            ];
            let field = any(&["References", "References", "In-Reply-To"]);
            headers.push(format!("{field}: {}", any(&references)));
            let turn = n % headers.len();
            headers.rotate_left(turn);
            mail(n, &headers, n % 7 * 30)
        })
        .collect()
}

/// The proxy over two servers that share the corpus, and one that has it all.
struct Stage {
    world: World,
    one: Server,
}

impl Stage {
    /// Messages lie on old, on new, on both, and in turns; opening some brings them to both.
    fn new(corpus: &[Mail]) -> Stage {
        let (seeded, later) = corpus.split_at(corpus.len() * 4 / 5);
        let (on_old, on_new) = seeded.split_at(seeded.len() * 2 / 3);
        let world = World::new().seeded(|old, new| {
            old.seed("INBOX", on_old);
            new.seed("INBOX", on_new);
        });
        let accounts = [("ann@example.com".to_owned(), "secret".to_owned())];
        let one =
            Shape::Dovecot(Dovecot::new_style()).start(&world.dir.path().join("one"), &accounts);
        one.seed("INBOX", corpus);
        let mut client = world.proxy.client();
        client.ok("SELECT INBOX");
        for (n, mail) in later.iter().enumerate() {
            let side = if n % 2 == 0 { &world.old } else { &world.new };
            let minutes = (mail.date - NOON) / 60;
            let date = format!(
                "\"01-Mar-2016 {:02}:{:02}:00 +0000\"",
                12 + minutes / 60 % 12,
                minutes % 60
            );
            assert!(minutes < 12 * 60, "within the day");
            side.client().append("INBOX", &date, &mail.octets);
            let count = u32::try_from(seeded.len() + n + 1).expect("a count");
            eventually("an arrival", || {
                (client.ok("NOOP").count("EXISTS") == Some(count)).then_some(())
            });
        }
        client.ok("FETCH 3:9 (BODY.PEEK[])");
        lab::eventually_holds(&mut world.new.client(), "INBOX", on_new.len() + later.len() / 2 + 7);
        Stage { world, one }
    }

    fn clients(&self) -> (Dialogue, Dialogue) {
        let (mut proxy, mut one) = (self.world.proxy.client(), self.one.client());
        proxy.ok("SELECT INBOX");
        one.ok("SELECT INBOX");
        (proxy, one)
    }
}

/// The line of an answer that begins so, without the tag of the command.
fn line(reply: &Reply, name: &str) -> String {
    let lines = reply.lines();
    let line = lines.iter().find(|line| line.starts_with(&format!("* {name}")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {reply:?}"));
    match line.split_once("(TAG \"") {
        Some((before, behind)) => {
            format!("{before}{}", behind.split_once(')').expect("the end of the tag").1)
        }
        None => line.trim_end().to_owned(),
    }
}

fn number_after(line: &str, word: &str) -> Option<u32> {
    line.split_once(&format!(" {word} "))?.1.split([' ', '\r']).next()?.parse().ok()
}

const PROGRAMS: [&str; 4] = ["ALL", "5:50", "SUBJECT ferry", "NOT 10:20 LARGER 300"];

#[track_caller]
fn sorts_alike(stage: &Stage) {
    let (mut proxy, mut one) = stage.clients();
    let all = [
        "ARRIVAL",
        "DATE",
        "SIZE",
        "SUBJECT",
        "FROM",
        "TO",
        "CC",
        "DISPLAYFROM",
        "DISPLAYTO",
        "REVERSE DATE",
        "REVERSE SUBJECT DATE",
        "FROM REVERSE SIZE",
        "REVERSE DISPLAYFROM SUBJECT REVERSE ARRIVAL",
    ];
    let uids = proxy.ok("UID SEARCH ALL").found();
    for criteria in all {
        for program in PROGRAMS {
            let command = format!("SORT ({criteria}) UTF-8 {program}");
            let (told, expected) = (proxy.ok(&command), one.ok(&command));
            let told = line(&told, "SORT");
            assert_eq!(told, line(&expected, "SORT"), "{command}");
            let by_uid = line(&proxy.ok(&format!("UID {command}")), "SORT");
            let seqs = told.split(' ').skip(2).map(|n| n.parse::<usize>().expect("a number"));
            let named: Vec<String> = seqs.map(|seq| uids[seq - 1].to_string()).collect();
            assert_eq!(by_uid, ["* SORT", &named.join(" ")].join(" ").trim_end(), "{command}");
        }
    }
}

#[track_caller]
fn threads_alike(stage: &Stage, algorithms: &[&str]) {
    let (mut proxy, mut one) = stage.clients();
    for algorithm in algorithms {
        for program in PROGRAMS {
            let command = format!("THREAD {algorithm} UTF-8 {program}");
            let (told, expected) = (proxy.ok(&command), one.ok(&command));
            assert_eq!(line(&told, "THREAD"), line(&expected, "THREAD"), "{command}");
        }
    }
}

/// REFS says nothing of threads whose youngest messages are of the same moment, and so a server
/// may tell them in any order.
#[track_caller]
fn threads_alike_in_any_order(stage: &Stage, algorithm: &str) {
    let (mut proxy, mut one) = stage.clients();
    for program in PROGRAMS {
        let command = format!("THREAD {algorithm} UTF-8 {program}");
        let threads = |client: &mut Dialogue| {
            let line = line(&client.ok(&command), "THREAD");
            let (mut depth, mut threads, mut thread) = (0, Vec::new(), String::new());
            for c in line.trim_start_matches("* THREAD").trim().chars() {
                thread.push(c);
                depth += i32::from(c == '(') - i32::from(c == ')');
                if depth == 0 {
                    threads.push(std::mem::take(&mut thread));
                }
            }
            threads.sort();
            threads
        };
        assert_eq!(threads(&mut proxy), threads(&mut one), "{command}");
    }
}

#[test]
fn a_mailing_list_is_sorted_and_threaded_as_by_one_server() {
    let stage = Stage::new(&realistic());
    sorts_alike(&stage);
    threads_alike(&stage, &["REFERENCES", "REFS", "ORDEREDSUBJECT"]);
}

#[test]
fn odd_mail_is_sorted_and_threaded_as_by_one_server() {
    for seed in 1..4 {
        let stage = Stage::new(&nasty(seed));
        sorts_alike(&stage);
        threads_alike(&stage, &["REFERENCES", "ORDEREDSUBJECT"]);
        threads_alike_in_any_order(&stage, "REFS");
    }
}

#[test]
fn results_of_sort_are_returned_as_by_one_server() {
    let stage = Stage::new(&realistic());
    let (mut proxy, mut one) = stage.clients();
    for options in ["", "ALL", "COUNT", "MIN MAX", "PARTIAL 3:7", "PARTIAL 100:200 COUNT"] {
        for criteria in ["REVERSE DATE", "SUBJECT"] {
            for program in PROGRAMS {
                let command = format!("SORT RETURN ({options}) ({criteria}) UTF-8 {program}");
                let told = line(&proxy.ok(&command), "ESEARCH");
                let expected = line(&one.ok(&command), "ESEARCH");
                let part = |line: &str| {
                    line.split_once(" PARTIAL (").map(|(_, part)| {
                        part.split_once(')').expect("the end of the part").0.to_owned()
                    })
                };
                assert_eq!(part(&told), part(&expected), "{command}");
                for word in ["COUNT", "MIN", "MAX"] {
                    let of = |line: &str| number_after(line, word);
                    assert_eq!(of(&told), of(&expected), "{command}");
                }
                let all = |line: &str| line.split_once(" ALL ").map(|(_, all)| all.to_owned());
                assert_eq!(all(&told), all(&expected), "{command}");
            }
        }
    }
}

#[test]
fn a_server_that_has_all_messages_may_sort_them_itself() {
    let corpus = nasty(7);
    let sorting = r#"["SORT", "SORT=DISPLAY", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT"]"#;
    for mask in ["[]", sorting] {
        // Every third message is gone, and none is on new.
        let left: Vec<Mail> = corpus.iter().take(100).cloned().collect();
        let holes: Vec<Mail> =
            (1..).zip(&left).map(|(n, mail)| mail.clone().uid(n * 3 / 2)).collect();
        let world = World::new()
            .old(Dovecot::old_style().rawlog())
            .set("old.mask", mask)
            .seeded(|old, _| old.seed("INBOX", &holes));
        let accounts = [("ann@example.com".to_owned(), "secret".to_owned())];
        let one =
            Shape::Dovecot(Dovecot::new_style()).start(&world.dir.path().join("one"), &accounts);
        one.seed("INBOX", &left);
        let stage = Stage { world, one };
        sorts_alike(&stage);
        threads_alike(&stage, &["REFERENCES", "ORDEREDSUBJECT"]);
        threads_alike_in_any_order(&stage, "REFS");
        let heard: String = stage.world.old.commands_heard().into_values().collect();
        assert_eq!(heard.contains("UID SORT (REVERSE DATE) UTF-8 UID "), mask == "[]");
        assert_eq!(heard.contains("UID THREAD REFERENCES UTF-8 UID "), mask == "[]");
        assert_eq!(heard.contains("BODY.PEEK[HEADER.FIELDS (DATE"), mask != "[]");
    }
}

#[test]
fn v7_sorting_needs_the_sides_where_messages_lie_and_no_others() {
    let mut world = World::new().seeded(|old, new| {
        old.seed("INBOX", &lab::mails(0..6));
        new.seed("INBOX", &lab::mails(10..13));
        old.seed("Work", &lab::mails(20..24));
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let sorted = line(&client.ok("SORT (REVERSE ARRIVAL) UTF-8 ALL"), "SORT");
    assert_eq!(sorted, "* SORT 9 8 7 6 5 4 3 2 1");
    world.new.stop();
    for command in ["SORT (DATE) UTF-8 ALL", "THREAD REFS UTF-8 ALL", "SEARCH YOUNGER 60"] {
        let refused = client.no(command);
        assert!(refused.code("UNAVAILABLE").is_some(), "half a result is none: {refused:?}");
    }
    client.ok("SELECT INBOX.Work");
    assert_eq!(line(&client.ok("SORT (REVERSE ARRIVAL) UTF-8 ALL"), "SORT"), "* SORT 4 3 2 1");
    client.ok("THREAD REFERENCES UTF-8 ALL");
    world.new.start();
    let again = eventually("new is back", || {
        client.ok("SELECT INBOX");
        let reply = client.cmd("SORT (REVERSE ARRIVAL) UTF-8 ALL");
        (reply.status == "OK").then(|| line(&reply, "SORT"))
    });
    assert_eq!(again, sorted);
}

#[test]
fn v3_a_hidden_copy_takes_no_part_in_threads() {
    let corpus = realistic();
    let world = World::new().seeded(|old, _| old.seed("INBOX", &corpus));
    let accounts = [("ann@example.com".to_owned(), "secret".to_owned())];
    let one = Shape::Dovecot(Dovecot::new_style()).start(&world.dir.path().join("one"), &accounts);
    one.seed("INBOX", &corpus);
    // What was opened and then deleted is still on old, where nobody shall see it.
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 12,13,20 (BODY.PEEK[])");
    lab::eventually_holds(&mut world.new.client(), "INBOX", 3);
    for mut client in [client, one.client()] {
        client.ok("SELECT INBOX");
        client.ok("STORE 12,13,20 +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
    }
    assert_eq!(lab::everything(&mut world.old.client(), "INBOX").len(), 60);
    let stage = Stage { world, one };
    sorts_alike(&stage);
    threads_alike(&stage, &["REFERENCES", "REFS", "ORDEREDSUBJECT"]);
}

#[test]
fn a_hundred_thousand_messages_are_sorted_in_little_memory() {
    let answers = |n: u32| {
        let mut mail = Mail::numbered(n).flags(&[]);
        if !n.is_multiple_of(10) {
            let reference = format!("References: <{}.lab@example.org>\r\n", n - 1);
            mail.octets.splice(0..0, reference.into_bytes());
        }
        mail
    };
    let (on_old, on_new): (Vec<_>, Vec<_>) =
        (0..100_000).map(answers).partition(|mail| mail.date % 2 == 0);
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &on_old);
        new.seed("INBOX", &on_new);
    });
    let mut client = world.proxy.client();
    client.patience = std::time::Duration::from_secs(60);
    lab::eventually("it is known that none lies on both servers", || {
        (client.ok("SELECT INBOX").count("EXISTS") == Some(100_000)).then_some(())
    });
    let before = world.proxy.peak_rss();
    for command in ["UID SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL"]
    {
        let reply = client.ok(command);
        let line = line(&reply, if command.contains("SORT") { "SORT" } else { "THREAD" });
        let numbers = line.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
        assert_eq!(numbers.count(), 100_000, "{command}");
    }
    let grown = world.proxy.peak_rss() - before;
    assert!(grown < 80 << 20, "memory grew by {} MiB", grown >> 20);
}

/// Headers that somebody made up keep no other message from being put in order.
#[test]
fn a_header_beyond_every_measure_is_sorted_as_none() {
    let mut huge = b"From: \"\xc3\xa4".to_vec();
    huge.extend(std::iter::repeat_n(b'a', 1_500_000));
    huge.extend_from_slice(b"\" <z@example.org>\r\nSubject: huge\r\n\r\nx\r\n");
    let world = World::new().seeded(|old, new| {
        old.seed("INBOX", &lab::mails(0..3));
        new.seed("INBOX", &[Mail::of(huge)]);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    for key in ["FROM", "DISPLAYFROM", "SUBJECT"] {
        let reply = client.ok(&format!("SORT ({key}) UTF-8 ALL"));
        let mut sorted: Vec<u32> =
            line(&reply, "SORT").split_whitespace().filter_map(|n| n.parse().ok()).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3, 4], "{key}");
    }
}
