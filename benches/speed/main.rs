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
mod sync;
mod table;
mod way;

use self::table::Table;

/// A group of measures.
struct Measure {
    name: &'static str,
    columns: &'static [&'static str],
    run: fn(&mut Table),
}

impl Measure {
    /// One of the ways to the mail.
    const fn new(name: &'static str, run: fn(&mut Table)) -> Measure {
        Measure { name, columns: &way::WAYS, run }
    }
}

const MEASURES: [Measure; 15] = [
    Measure::new("login", login::run),
    Measure::new("dense", bulk::dense),
    Measure::new("sparse", bulk::sparse),
    Measure::new("first", bulk::first),
    Measure::new("headers", bulk::headers),
    Measure::new("small", bodies::small),
    Measure::new("large", bodies::large),
    Measure::new("status", status::run),
    Measure::new("append", append::run),
    Measure::new("mixed", mixed::few),
    Measure::new("many", mixed::many),
    Measure::new("idle", idle::idle),
    Measure { name: "sync", columns: &sync::TOOLS, run: sync::run },
    Measure::new("mail", mail::run),
    // Last, for it asks most of the machine.
    Measure::new("crowd", idle::crowd),
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
    for Measure { name, columns, run } in chosen {
        let mut table = Table::new(name, columns);
        run(&mut table);
        table.write();
    }
}
