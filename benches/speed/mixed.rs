//! Several clients at once, each doing what a client of its kind does.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::carry::{carry, shuffled};
use crate::client::{Client, Wire};
use crate::lab::{World, mails};
use crate::rounds::{ROUNDS, Sample, Samples, block_on, timed};
use crate::table::{Table, Unit};
use crate::way::{Field, PASSWORD, USER, WAYS, Way};

/// Messages in the mailbox.
const MESSAGES: u32 = 5_000;

/// How often each client does its part in a round.
const TURNS: u32 = 20;

/// What a client says, under the name it is counted by. `#` is a message's UID, other for every turn.
type Script = &'static [(&'static str, &'static str)];

/// Opens folders, asks for news, reads a few messages, marks them.
const THUNDERBIRD: Script = &[
    ("SELECT", "SELECT INBOX"),
    ("FETCH flags", "UID FETCH 1:* (FLAGS)"),
    (
        "FETCH headers of 50",
        "UID FETCH #:+50 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc \
      Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
    ),
    ("FETCH a message", "UID FETCH # (UID RFC822.SIZE BODY.PEEK[])"),
    ("STORE", "UID STORE # +FLAGS (\\Seen)"),
    ("NOOP", "NOOP"),
    ("STATUS", "STATUS INBOX.Archive (UIDNEXT MESSAGES UNSEEN RECENT)"),
];

/// Looks at flags in windows and takes messages whole.
const OUTLOOK: Script = &[
    ("LIST", "LIST \"\" \"*\""),
    ("SELECT", "SELECT INBOX"),
    ("FETCH flags of 500", "UID FETCH #:+500 (UID FLAGS)"),
    ("FETCH a header", "UID FETCH # (BODY.PEEK[HEADER] INTERNALDATE RFC822.SIZE)"),
    ("FETCH a message", "UID FETCH # (BODY.PEEK[])"),
    ("NOOP", "NOOP"),
];

/// Searches, and reads the newest window.
const K9: Script = &[
    ("SELECT", "SELECT INBOX"),
    ("SEARCH", "UID SEARCH 1:* NOT DELETED"),
    (
        "FETCH envelopes of 100",
        "UID FETCH #:+100 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS \
      (date subject from content-type to cc reply-to message-id references in-reply-to)])",
    ),
    ("FETCH a beginning", "UID FETCH # (BODY.PEEK[]<0.5120>)"),
    ("NOOP", "NOOP"),
];

/// Six clients of three kinds on a mailbox that is half copied.
pub fn run(table: &mut Table) {
    let world = World::new().account(USER, PASSWORD);
    let field = Field::of(world, &[], |old, new| {
        old.seed("INBOX", &mails(0..MESSAGES));
        old.seed("Archive", &mails(0..100));
        new.seed("Archive", &[]);
    });
    let order = shuffled(MESSAGES);
    let half = order.len() / 2;
    block_on(carry(&field, ("INBOX", "INBOX"), &order[..half], half));
    let wire = Wire::tls(&field.authorities);
    let mut all: BTreeMap<(&str, &str), Samples> = BTreeMap::new();
    for round in 0..=ROUNDS {
        for turn in 0..WAYS.len() {
            let at = (round + turn) % WAYS.len();
            let times = block_on(clients(&field.ways()[at], &wire));
            for (command, mut seconds) in times {
                seconds.sort_by(f64::total_cmp);
                for (which, part) in [("p50", 0.5), ("p99", 0.99)] {
                    let value = seconds[((seconds.len() - 1) as f64 * part).round() as usize];
                    let samples =
                        all.entry((command, which)).or_insert_with(|| vec![Vec::new(); WAYS.len()]);
                    if round > 0 {
                        samples[at].push(Sample { value, cpu: 0.0 });
                    }
                }
            }
        }
    }
    for ((command, which), samples) in &all {
        table.row(&format!("mixed: {command}, {which}"), Unit::Millis, samples);
    }
}

/// All clients of one way, to their end: what each command took.
async fn clients(way: &Way, wire: &Wire) -> BTreeMap<&'static str, Vec<f64>> {
    let times = RefCell::new(BTreeMap::<&str, Vec<f64>>::new());
    let scripts = [THUNDERBIRD, OUTLOOK, K9, THUNDERBIRD, OUTLOOK, K9];
    let one = async |(n, script): (u32, Script)| {
        let mut client = Client::login(way, wire).await;
        for turn in 0..TURNS {
            let uid = 1 + (turn * 1_543 + n * 797) % (MESSAGES - 600);
            for (name, command) in script {
                let (seconds, _) = timed(client.run(&filled(command, uid))).await;
                times.borrow_mut().entry(name).or_default().push(seconds);
            }
        }
        client.logout().await;
    };
    join_all((0..).zip(scripts).map(one)).await;
    times.into_inner()
}

/// A command with its UIDs: `#` is the first, `+n` the one so many behind it.
fn filled(command: &str, uid: u32) -> String {
    let filled = command.replace('#', &uid.to_string());
    let Some((before, rest)) = filled.split_once(":+") else { return filled };
    let (count, rest) = rest.split_once(' ').expect("items behind a set");
    let last = uid + count.parse::<u32>().expect("a count");
    format!("{before}:{last} {rest}")
}
