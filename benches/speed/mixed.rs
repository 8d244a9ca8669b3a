//! Several clients at once, each doing what a client of its kind does.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use crate::carry::{carry, carry_for, shuffled};
use crate::client::{Client, Wire};
use crate::lab::{World, mails};
use crate::rounds::{ROUNDS, Sample, Samples, block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::{Field, PASSWORD, USER, WAYS};

/// Messages in the mailbox of the few.
const MESSAGES: u32 = 5_000;

/// How often each of the few does its part in a round.
const TURNS: u32 = 20;

/// Clients of the many.
const MANY: u32 = 200;

/// Whose they are.
const ACCOUNTS: u32 = 40;

/// Messages in each mailbox of the many.
const FEWER: u32 = 1_000;

/// How often each of the many does its part in a round.
const MANY_TURNS: u32 = 3;

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

/// What every command takes: six clients of three kinds on one mailbox, half copied.
pub fn few(table: &mut Table) {
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
            let way = &field.ways()[at];
            let client = async |n| {
                let client = Client::login(way, &wire).await;
                script(client, n, MESSAGES, TURNS).await
            };
            let heard = block_on(join_all((0..6).map(client)));
            let mut times = BTreeMap::<&str, Vec<f64>>::new();
            for (name, seconds) in heard.into_iter().flatten() {
                times.entry(name).or_default().push(seconds);
            }
            for (command, mut seconds) in times {
                for (which, part) in [("p50", 0.5), ("p99", 0.99)] {
                    let value = quantile(&mut seconds, part);
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

/// How many commands are answered in a second, and what a command takes then: two hundred clients on forty
/// mailboxes, half copied.
pub fn many(table: &mut Table) {
    let user = |n: u32| format!("user{n}@example.com");
    let world = (0..ACCOUNTS).fold(World::new(), |world, n| world.account(&user(n), PASSWORD));
    let field = Field::of(world, &[], |old, new| {
        for n in 0..ACCOUNTS {
            old.seed_of(&user(n), "INBOX", &mails(0..FEWER));
            old.seed_of(&user(n), "Archive", &mails(0..100));
            new.seed_of(&user(n), "Archive", &[]);
        }
    });
    let order = shuffled(FEWER);
    let half = order.len() / 2;
    for n in 0..ACCOUNTS {
        block_on(carry_for(&field, &user(n), ("INBOX", "INBOX"), &order[..half], half));
    }
    for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
        let mut quantiles: [Samples; 2] = std::array::from_fn(|_| vec![Vec::new(); WAYS.len()]);
        let samples = block_on(rounds(&field.ways(), async |way, round| {
            let client = |n| {
                let (wire, user) = (&wire, user(n % ACCOUNTS));
                async move { Client::login_as(way, wire, &user).await }
            };
            let clients = stream::iter((0..MANY).map(client)).buffered(16);
            let clients: Vec<Client> = clients.collect().await;
            let all = (0..).zip(clients).map(|(n, client)| script(client, n, FEWER, MANY_TURNS));
            let (seconds, heard) = timed(join_all(all)).await;
            let mut times: Vec<f64> = heard.into_iter().flatten().map(|(_, time)| time).collect();
            let at = WAYS.iter().position(|name| *name == way.name).expect("a way");
            for (samples, part) in quantiles.iter_mut().zip([0.5, 0.99]) {
                if round > 0 {
                    samples[at].push(Sample { value: quantile(&mut times, part), cpu: 0.0 });
                }
            }
            (times.len() as f64 / seconds, times.len())
        }));
        let name = |what: &str| format!("mixed, {MANY} clients, {}: {what}", wire.name());
        table.row_with_cpu(&name("commands"), Unit::PerSecond, &samples, 1.0);
        for (samples, which) in quantiles.iter().zip(["p50", "p99"]) {
            table.row(&name(which), Unit::Millis, samples);
        }
    }
}

/// One client to its end: what each command took.
async fn script(mut client: Client, n: u32, messages: u32, turns: u32) -> Vec<(&'static str, f64)> {
    let script = [THUNDERBIRD, OUTLOOK, K9][n as usize % 3];
    let mut times = Vec::new();
    for turn in 0..turns {
        let uid = 1 + (turn * 1_543 + n * 797) % (messages - 600);
        for (name, command) in script {
            let (seconds, _) = timed(client.run(&filled(command, uid))).await;
            times.push((*name, seconds));
        }
    }
    client.logout().await;
    times
}

/// The value that this part of all does not exceed.
fn quantile(seconds: &mut [f64], part: f64) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[((seconds.len() - 1) as f64 * part).round() as usize]
}

/// A command with its UIDs: `#` is the first, `+n` the one so many behind it.
fn filled(command: &str, uid: u32) -> String {
    let filled = command.replace('#', &uid.to_string());
    let Some((before, rest)) = filled.split_once(":+") else { return filled };
    let (count, rest) = rest.split_once(' ').expect("items behind a set");
    let last = uid + count.parse::<u32>().expect("a count");
    format!("{before}:{last} {rest}")
}
