//! Sessions that only wait, over TLS: what they hold and what they cost.

use std::time::Duration;

use crate::client::{Client, Wire};
use crate::cpu;
use crate::lab::{World, mails};
use crate::rounds::{Sample, Samples, block_on};
use crate::table::{Table, Unit};
use crate::way::{Field, PASSWORD, WAYS};

/// Sessions at once.
const SESSIONS: usize = 200;

/// Whose they are.
const ACCOUNTS: usize = 20;

/// How long the processor is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// IDLE in a mailbox of 100 messages.
pub fn run(table: &mut Table) {
    let user = |n: usize| format!("user{n}@example.com");
    let world = (0..ACCOUNTS).fold(World::new(), |world, n| world.account(&user(n), PASSWORD));
    let field = Field::of(world, &[], |old, new| {
        for n in 0..ACCOUNTS {
            old.seed_of(&user(n), "INBOX", &mails(0..100));
            new.seed_of(&user(n), "INBOX", &[]);
        }
    });
    let wire = Wire::tls(&field.authorities);
    let mut rows: [Samples; 3] = std::array::from_fn(|_| vec![Vec::new(); WAYS.len()]);
    for (at, way) in field.ways().iter().enumerate() {
        let proxy: Vec<u32> = way.proxy.into_iter().collect();
        let memory = || [cpu::memory(&proxy), cpu::memory(&way.servers)];
        let before = memory();
        let cpu = block_on(async {
            let mut sessions = Vec::new();
            for n in 0..SESSIONS {
                let mut client = Client::login_as(way, &wire, &user(n % ACCOUNTS)).await;
                client.run("SELECT INBOX").await;
                let tag = client.idle().await;
                sessions.push((client, tag));
            }
            tokio::time::sleep(WATCHED).await;
            for (row, (now, before)) in rows.iter_mut().zip(memory().into_iter().zip(before)) {
                row[at].push(Sample { value: (now - before) / SESSIONS as f64, cpu: 0.0 });
            }
            let groups = crate::rounds::groups(way);
            let start = cpu::seconds(&groups);
            tokio::time::sleep(WATCHED).await;
            let cpu = cpu::seconds(&groups) - start;
            for (mut client, tag) in sessions {
                client.done(&tag).await;
                client.logout().await;
            }
            cpu
        });
        rows[2][at].push(Sample { value: cpu / WATCHED.as_secs_f64(), cpu: 0.0 });
    }
    let [proxy, servers, cpu] = rows;
    table.row("idle TLS session: memory of the proxy", Unit::KiB, &proxy);
    table.row("idle TLS session: memory of the servers behind", Unit::KiB, &servers);
    table.row("200 idle TLS sessions: CPU in a second", Unit::Millis, &cpu);
}
