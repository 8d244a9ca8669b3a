//! Sessions that only wait, over TLS: what they hold, what they cost, and when they hear of a message.

use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::client::{Client, Wire};
use crate::cpu;
use crate::lab::{Dovecot, Mail, World, mails};
use crate::rounds::{Sample, Samples, block_on, groups};
use crate::table::{Table, Unit};
use crate::way::{Field, PASSWORD, WAYS, Way};

/// Whose they are.
const ACCOUNTS: usize = 500;

/// Logging in at once.
const AT_ONCE: usize = 16;

/// What these sessions need is not counted: they pay for what all share.
const FIRST: usize = 1_000;

/// How long the processor is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// How many accounts get a message.
const TOLD: usize = 9;

/// How long a server may take to tell of a message: where the kernel has no inotify instance left for it, a
/// Dovecot looks every 30 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Four sessions of each account.
pub fn idle(table: &mut Table) {
    waiting(table, 2_000);
}

/// Twenty sessions of each account.
pub fn crowd(table: &mut Table) {
    waiting(table, 10_000);
}

/// IDLE in a mailbox of ten messages.
fn waiting(table: &mut Table, sessions: usize) {
    let world = (0..ACCOUNTS).fold(World::new(), |world, n| world.account(&user(n), PASSWORD));
    let many = |server: Dovecot| {
        server.setting(
            "service imap {\n  process_limit = 12000\n}\nservice anvil {\n  client_limit = 19000\n}\n\
             service auth {\n  client_limit = 19000\n}\nservice stats {\n  client_limit = 19000\n}\n",
        )
    };
    let world = world.new(many(Dovecot::new_style()));
    let settings = [
        ("limits.sessions", "12000"),
        ("limits.sessions_per_address", "0"),
        ("auth.remember", "\"10m\""),
    ];
    let mut field = Field::before(world, many(Dovecot::old_style()), &settings, |old, new| {
        for n in 0..ACCOUNTS {
            old.seed_of(&user(n), "INBOX", &mails(0..10));
            new.seed_of(&user(n), "INBOX", &[]);
        }
    });
    let wire = Wire::tls(&field.authorities);
    let mut rows: [Samples; 5] = std::array::from_fn(|_| vec![Vec::new(); WAYS.len()]);
    for (at, way) in field.ways().iter().enumerate() {
        let values = block_on(one_way(&field, way, &wire, sessions));
        if way.proxy == Some(field.world.proxy.pid()) {
            // It would end the connections that it keeps in the next way's turn.
            field.restart(false);
        }
        for (row, values) in rows.iter_mut().zip(values) {
            row[at].extend(values.into_iter().map(|value| Sample { value, cpu: 0.0 }));
        }
    }
    let [proxy, servers, both, cpu, told] = rows;
    let each = |what: &str| {
        format!("{sessions} idle TLS sessions, each beyond the first {FIRST}: memory of {what}")
    };
    table.row(&each("the proxy"), Unit::KiB, &proxy);
    table.row(&each("the servers behind"), Unit::KiB, &servers);
    table.row(&each("all"), Unit::KiB, &both);
    table.row(&format!("{sessions} idle TLS sessions: CPU in a second"), Unit::Millis, &cpu);
    let name = format!("{sessions} idle TLS sessions: until all of an account hear of a message");
    table.row(&name, Unit::Millis, &told);
}

/// Memory of the proxy, of the servers and of both, a session; CPU while all wait; how long news take.
async fn one_way(field: &Field, way: &Way, wire: &Wire, count: usize) -> [Vec<f64>; 5] {
    let proxy: Vec<u32> = way.proxy.into_iter().collect();
    let memory = || [cpu::memory(&proxy), cpu::memory(&way.servers)];
    let some = async |range: Range<usize>, first| {
        let mut sessions = Vec::new();
        for n in range.skip(first).step_by(AT_ONCE) {
            let mut client = Client::login_as(way, wire, &user(n % ACCOUNTS)).await;
            client.run("SELECT INBOX").await;
            let tag = client.idle().await;
            sessions.push((n, client, tag));
        }
        sessions
    };
    let mut sessions = Vec::new();
    let mut held = Vec::new();
    for range in [0..FIRST, FIRST..count] {
        let all = join_all((0..AT_ONCE).map(|first| some(range.clone(), first))).await;
        sessions.extend(all.into_iter().flatten());
        tokio::time::sleep(WATCHED).await;
        held.push(memory());
    }
    let [proxy, servers] = [0, 1].map(|n| (held[1][n] - held[0][n]) / (count - FIRST) as f64);
    let groups = groups(way);
    let start = cpu::seconds(&groups);
    tokio::time::sleep(WATCHED).await;
    let cpu = (cpu::seconds(&groups) - start) / WATCHED.as_secs_f64();
    let mut waiting: Vec<Vec<&mut Client>> = (0..TOLD).map(|_| Vec::new()).collect();
    for (n, client, _) in &mut sessions {
        if let Some(those) = waiting.get_mut(*n % ACCOUNTS) {
            those.push(client);
        }
    }
    let direct = &field.ways()[0];
    let told = waiting.into_iter().enumerate().map(async |(account, those)| {
        let mut client = Client::login_as(direct, &Wire::Plain, &user(account)).await;
        let start = Instant::now();
        client.append("INBOX", &Mail::numbered(account as u32).octets).await;
        let heard = join_all(those.into_iter().map(Client::hears_of_a_message));
        tokio::time::timeout(PATIENCE, heard).await.expect("news of a message");
        let seconds = start.elapsed().as_secs_f64();
        client.logout().await;
        seconds
    });
    let told = join_all(told).await;
    for (_, mut client, tag) in sessions {
        client.done(&tag).await;
        client.logout().await;
    }
    [vec![proxy], vec![servers], vec![proxy + servers], vec![cpu], told]
}

fn user(n: usize) -> String {
    format!("user{n}@example.com")
}
