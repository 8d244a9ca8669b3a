//! STATUS over many folders, as clients that watch all of them ask.

use crate::client::{Client, Wire};
use crate::lab::mails;
use crate::rounds::{block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::Field;

/// Folders on both sides.
const FOLDERS: usize = 200;

/// One after the other, and all said before the first answer.
pub fn run(table: &mut Table) {
    let field = Field::new(&[], |old, new| {
        for n in 0..FOLDERS {
            old.seed(&format!("f{n}"), &mails(0..5));
            new.seed(&format!("f{n}"), &[]);
        }
    });
    let command = |n| format!("STATUS INBOX.f{n} (MESSAGES UIDNEXT UNSEEN)");
    for pipelined in [false, true] {
        let samples = block_on(rounds(&field.ways(), async |way, _| {
            let mut client = Client::login(way, &Wire::Plain).await;
            let all = async {
                if !pipelined {
                    for n in 0..FOLDERS {
                        client.run(&command(n)).await;
                    }
                    return;
                }
                let mut tags = Vec::new();
                for n in 0..FOLDERS {
                    tags.push(client.say(&command(n)).await);
                }
                for tag in tags {
                    client.end_of(&tag).await;
                }
            };
            let (seconds, ()) = timed(all).await;
            let numbers = client.numbers.clone();
            client.logout().await;
            (seconds, numbers)
        }));
        let how = if pipelined { "pipelined" } else { "one by one" };
        let name = format!("STATUS of {FOLDERS} folders on both sides, {how}");
        table.row_with_cpu(&name, Unit::Millis, &samples, 1.0);
    }
}
