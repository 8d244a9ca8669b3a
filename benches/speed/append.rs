//! Saving messages.

use crate::client::{Client, Wire};
use crate::lab::{large, mails};
use crate::rounds::{block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::Field;

/// 2,000 small messages one after the other, and a very large one.
pub fn run(table: &mut Table) {
    let field = Field::new(&[], |old, _| {
        for folder in ["Small", "Large"] {
            old.seed(folder, &mails(0..1));
        }
    });
    append(table, &field, "2,000 × 8 KB", ("INBOX.Small", 2_000, 8_000));
    append(table, &field, "1 × 200 MB", ("INBOX.Large", 1, 200_000_000));
}

fn append(table: &mut Table, field: &Field, name: &str, (folder, count, size): (&str, u32, usize)) {
    let message = large(1, size);
    for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
        let samples = block_on(rounds(&field.ways(), async |way, _| {
            let mut client = Client::login(way, &wire).await;
            let all = async {
                for _ in 0..count {
                    client.append(folder, &message).await;
                }
            };
            let (seconds, ()) = timed(all).await;
            client.run(&format!("SELECT {folder}")).await;
            client.run("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
            client.run("CLOSE").await;
            client.logout().await;
            (seconds, count)
        }));
        let name = format!("APPEND {name}, {}", wire.name());
        table.row_with_cpu(&name, Unit::Millis, &samples, 1.0);
    }
}
