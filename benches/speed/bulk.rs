//! Many messages, little of each: SELECT, flags, SEARCH, SORT, headers.

use std::fs;

use crate::carry::{carry, shuffled};
use crate::client::{Client, Wire};
use crate::lab::Mail;
use crate::rounds::{block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::{Field, USER};

/// A large mailbox.
const LARGE: u32 = 100_000;

/// What Thunderbird asks of new messages.
const HEADERS: &str = "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID \
                       Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])";

/// What the servers find, and what the proxy puts in order where messages lie on both.
const SEARCHES: [&str; 3] =
    ["UID SEARCH UNSEEN", "UID SORT (REVERSE DATE) UTF-8 ALL", "UID SORT (SUBJECT) UTF-8 ALL"];

/// A mailbox of 100,000 messages without a hole.
pub fn dense(table: &mut Table) {
    large(table, "100,000", &dense_mails());
}

/// The same after half of them, at random, were deleted.
pub fn sparse(table: &mut Table) {
    large(table, "50,000 with holes", &sparse_mails());
}

/// The first SELECT: nobody has an index, or the proxy alone has none.
pub fn first(table: &mut Table) {
    for (name, mails) in [("100,000", dense_mails()), ("50,000 with holes", sparse_mails())] {
        let mut field = Field::new(&[], |old, _| old.seed("INBOX", &mails));
        for (what, servers_too) in
            [("nobody has an index", true), ("the proxy has no index", false)]
        {
            let ways = field.ways();
            let samples = block_on(rounds(&ways, async |way, _| {
                if way.name == "mailferry" {
                    field.restart(true);
                }
                if servers_too {
                    forget_indexes(&field);
                }
                select(&mut Client::login(way, &Wire::Plain).await).await
            }));
            table.row(&format!("SELECT {name}, first time: {what}"), Unit::Millis, &samples);
        }
    }
}

/// Headers of 10,000 messages, as a client with an empty cache asks for them.
pub fn headers(table: &mut Table) {
    const COUNT: u32 = 10_000;
    let mails: Vec<Mail> = (0..COUNT).map(Mail::numbered).collect();
    let field = Field::new(&[], |old, _| old.seed("INBOX", &mails));
    let order = shuffled(COUNT);
    let half = order.len() / 2;
    for (state, opened) in
        [("untouched", 0..0), ("half copied", 0..half), ("copied", half..order.len())]
    {
        let total = opened.end;
        block_on(carry(&field, ("INBOX", "INBOX"), &order[opened], total));
        for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
            let samples = ask(&field, &wire, &format!("UID FETCH 1:* {HEADERS}"));
            let name = format!("UID FETCH 1:* (headers) of 10,000, {state}, {}", wire.name());
            table.row_with_cpu(&name, Unit::Millis, &samples, 1.0);
        }
    }
}

/// Everything about one large mailbox: untouched, half copied in random order, copied.
fn large(table: &mut Table, name: &str, mails: &[Mail]) {
    let mut field = Field::new(&[], |old, _| old.seed("INBOX", mails));
    let numbers: Vec<u32> = (1..).zip(mails).map(|(n, mail)| mail.uid.unwrap_or(n)).collect();
    let order: Vec<u32> =
        shuffled(mails.len() as u32).into_iter().map(|n| numbers[n as usize - 1]).collect();
    let half = order.len() / 2;
    for (state, opened) in
        [("untouched", 0..0), ("half copied", 0..half), ("copied", half..order.len())]
    {
        let total = opened.end;
        block_on(carry(&field, ("INBOX", "INBOX"), &order[opened], total));
        let ways = field.ways();
        let warm = block_on(rounds(&ways, async |way, _| {
            select(&mut Client::login(way, &Wire::Plain).await).await
        }));
        table.row_with_cpu(&format!("SELECT {name}, {state}, warm"), Unit::Millis, &warm, 1.0);
        for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
            let samples = ask(&field, &wire, "UID FETCH 1:* (FLAGS)");
            let name = format!("UID FETCH 1:* (FLAGS) of {name}, {state}, {}", wire.name());
            table.row_with_cpu(&name, Unit::Millis, &samples, 1.0);
        }
        for command in SEARCHES {
            let samples = ask(&field, &Wire::Plain, command);
            table.row(&format!("{command} in {name}, {state}"), Unit::Millis, &samples);
        }
        let restarted = block_on(rounds(&ways, async |way, _| {
            if way.name == "mailferry" {
                field.restart(false);
            }
            select(&mut Client::login(way, &Wire::Plain).await).await
        }));
        table.row(&format!("SELECT {name}, {state}, after a restart"), Unit::Millis, &restarted);
    }
}

/// The seconds that a SELECT takes, and the EXISTS it told.
async fn select(client: &mut Client) -> (f64, String) {
    let (seconds, _) = timed(client.run("SELECT INBOX")).await;
    (seconds, client.numbers.clone())
}

/// Measures one command in INBOX, selected before.
fn ask(field: &Field, wire: &Wire, command: &str) -> crate::rounds::Samples {
    block_on(rounds(&field.ways(), async |way, _| {
        let mut client = Client::login(way, wire).await;
        client.run("SELECT INBOX").await;
        let (seconds, heard) = timed(client.run(command)).await;
        let numbers = client.numbers.clone();
        client.logout().await;
        (seconds, (heard, numbers))
    }))
}

/// Removes what old remembers beside its messages.
fn forget_indexes(field: &Field) {
    let maildir = field.world.old.maildir(USER, "INBOX");
    for entry in fs::read_dir(maildir).expect("the Maildir").flatten() {
        if entry.file_name().to_string_lossy().starts_with("dovecot.index") {
            fs::remove_file(entry.path()).expect("an index file");
        }
    }
}

fn dense_mails() -> Vec<Mail> {
    (0..LARGE).map(Mail::numbered).collect()
}

fn sparse_mails() -> Vec<Mail> {
    let mut kept = shuffled(LARGE);
    kept.truncate(LARGE as usize / 2);
    kept.sort_unstable();
    kept.into_iter().map(|n| Mail::numbered(n).uid(n)).collect()
}
