//! Connecting, and logging in.

use futures_util::future::join_all;

use crate::client::{Client, Wire};
use crate::lab::World;
use crate::rounds::{block_on, rounds, timed};
use crate::table::{Table, Unit};
use crate::way::{Field, PASSWORD};

/// Logins of one round.
const LOGINS: usize = 48;

/// Clients at once.
const CLIENTS: usize = 16;

/// Connections of one round up to the greeting.
const GREETINGS: usize = 500;

/// One at a time and many at once, plain and TLS; with every password judged by the server, and remembered.
pub fn run(table: &mut Table) {
    for (judged, remember) in [("each judged", "\"0s\""), ("remembered", "\"60s\"")] {
        let world = (0..CLIENTS).fold(World::new(), |world, n| world.account(&user(n), PASSWORD));
        let field = Field::of(world, &[("auth.remember", remember)], |_, _| {});
        for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
            for clients in [1, CLIENTS] {
                let samples = block_on(rounds(&field.ways(), async |way, _| {
                    let each = LOGINS / clients;
                    let one = async |client| {
                        for n in 0..each {
                            let user = user((client * each + n) % CLIENTS);
                            Client::login_as(way, &wire, &user).await.logout().await;
                        }
                    };
                    let (seconds, _) = timed(join_all((0..clients).map(one))).await;
                    (seconds / LOGINS as f64, LOGINS)
                }));
                let name =
                    format!("login and logout, {clients} at once, {}, {judged}", wire.name());
                table.row_with_cpu(&name, Unit::Millis, &samples, LOGINS as f64);
            }
        }
    }
    greetings(table);
}

/// Connections that end where the greeting is read.
fn greetings(table: &mut Table) {
    let field = Field::new(&[], |_, _| {});
    for wire in [Wire::Plain, Wire::tls(&field.authorities)] {
        let samples = block_on(rounds(&field.ways(), async |way, _| {
            let one = async |_| {
                for _ in 0..GREETINGS / CLIENTS {
                    drop(Client::connect(way, &wire).await);
                }
            };
            let (seconds, _) = timed(join_all((0..CLIENTS).map(one))).await;
            ((GREETINGS / CLIENTS * CLIENTS) as f64 / seconds, GREETINGS)
        }));
        let name = format!("connections to the greeting, {CLIENTS} at once, {}", wire.name());
        table.row(&name, Unit::PerSecond, &samples);
    }
}

fn user(n: usize) -> String {
    format!("user{n}@example.com")
}
