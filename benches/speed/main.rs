//! How fast the proxy is, against the same server without it and behind the proxies of Dovecot and nginx.
//!
//! `tests/lab.sh bench` runs every measure, `tests/lab.sh bench NAME…` those whose names begin so. Within one
//! measure the ways to the mail take turns, round by round, so that whatever else the machine does falls on
//! all of them; what counts are the ratios. The ways must deliver the same: a measure fails where one brings
//! fewer replies or other octets than the direct one.
//!
//! Read on in `way` (the ways to the mail), `client` (the load), `rounds` (taking turns), `table` (what is
//! printed and written as JSON), and in one file for each group of measures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

mod append;
mod bodies;
mod bulk;
mod carry;
mod client;
mod cpu;
mod idle;
#[path = "../../tests/lab/mod.rs"]
mod lab;
mod login;
mod mail;
mod mixed;
mod rounds;
mod status;
mod table;
mod way;

use self::table::Table;

/// A group of measures.
struct Measure {
    name: &'static str,
    run: fn(&mut Table),
}

const MEASURES: [Measure; 12] = [
    Measure { name: "login", run: login::run },
    Measure { name: "dense", run: bulk::dense },
    Measure { name: "sparse", run: bulk::sparse },
    Measure { name: "first", run: bulk::first },
    Measure { name: "headers", run: bulk::headers },
    Measure { name: "small", run: bodies::small },
    Measure { name: "large", run: bodies::large },
    Measure { name: "status", run: status::run },
    Measure { name: "append", run: append::run },
    Measure { name: "mixed", run: mixed::run },
    Measure { name: "idle", run: idle::run },
    Measure { name: "mail", run: mail::run },
];

fn main() {
    // Cargo passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.starts_with(w));
    let chosen: Vec<_> = MEASURES.into_iter().filter(|measure| is_wanted(measure.name)).collect();
    if chosen.is_empty() {
        let names = MEASURES.map(|measure| measure.name).join(", ");
        eprintln!("no measure begins with {}; there are: {names}", wanted.join(" or "));
        std::process::exit(2);
    }
    println!("{}", table::machine());
    for Measure { name, run } in chosen {
        let mut table = Table::new(name);
        run(&mut table);
        table.write();
    }
}
