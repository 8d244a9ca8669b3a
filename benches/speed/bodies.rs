//! Whole messages, small and large: from old, from new, from both, and while they are copied.

use std::time::Instant;

use crate::carry::{carry, new_holds, shuffled};
use crate::client::{Client, Wire};
use crate::cpu;
use crate::lab::{Mail, large as message};
use crate::rounds::{ROUNDS, Sample, block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::{Field, USER};

/// 10,000 messages of 8 KB.
pub fn small(table: &mut Table) {
    whole(table, "10,000 × 8 KB", 10_000, 8_000);
}

/// 20 messages of 20 MB.
pub fn large(table: &mut Table) {
    whole(table, "20 × 20 MB", 20, 20_000_000);
}

fn whole(table: &mut Table, name: &str, count: u32, size: usize) {
    let mails: Vec<Mail> = (0..count).map(|n| Mail::of(message(n, size))).collect();
    let mut field = Field::new(&[("copy.on_access", "true")], |old, new| {
        for folder in ["Old", "Mixed"] {
            old.seed(folder, &mails);
        }
        for round in 0..=ROUNDS {
            old.seed(&format!("Copied{round}"), &mails);
            new.seed(&format!("Copied{round}"), &[]);
        }
        new.seed("Mixed", &[]);
    });
    let order = shuffled(count);
    let half = order.len() / 2;
    block_on(carry(&field, ("INBOX.Mixed", "Mixed"), &order[..half], half));
    copied(table, name, &field, count);

    field.set("copy.on_access", "false");
    for (state, folder) in [("old", "Old"), ("new", "Copied0"), ("half copied", "Mixed")] {
        for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
            let samples = block_on(rounds(&field.ways(), async |way, _| {
                let mut client = Client::login(way, &wire).await;
                client.run(&format!("SELECT INBOX.{folder}")).await;
                let (seconds, heard) = timed(client.run("UID FETCH 1:* (BODY.PEEK[])")).await;
                client.logout().await;
                (heard.literals as f64 / seconds, heard)
            }));
            let name = format!("BODY.PEEK[] of {name}, {state}, {}", wire.name());
            table.row_with_cpu(&name, Unit::MbPerSecond, &samples, 1.0);
        }
    }
}

/// Reads mailboxes that nobody opened before: the proxy copies while it serves.
fn copied(table: &mut Table, name: &str, field: &Field, count: u32) {
    let (mut until_there, mut reads) = (Vec::new(), Vec::new());
    let old = [field.world.old.pid()];
    let samples = block_on(rounds(&field.ways(), async |way, round| {
        let mut client = Client::login(way, &Wire::Plain).await;
        client.run(&format!("SELECT INBOX.Copied{round}")).await;
        let before = cpu::written(&old);
        let start = Instant::now();
        let (seconds, heard) = timed(client.run("UID FETCH 1:* (BODY.PEEK[])")).await;
        client.logout().await;
        if way.name == "mailferry" {
            new_holds(field, USER, &format!("Copied{round}"), count as usize).await;
            if round > 0 {
                let value = heard.literals as f64 / start.elapsed().as_secs_f64();
                until_there.push(Sample { value, cpu: 0.0 });
                // The proxy keeps its connections, so old's processes are still there.
                let value = (cpu::written(&old) - before) / heard.literals as f64;
                reads.push(Sample { value, cpu: 0.0 });
            }
        }
        (heard.literals as f64 / seconds, heard)
    }));
    let title = format!("BODY.PEEK[] of {name}, copied on access, plain");
    table.row(&title, Unit::MbPerSecond, &samples);
    let alone = |samples| vec![Vec::new(), samples, Vec::new(), Vec::new()];
    let title = format!("… of {name}, until all lie on new");
    table.row(&title, Unit::MbPerSecond, &alone(until_there));
    table.row(&format!("… of {name}: read from old so often"), Unit::Times, &alone(reads));
}
