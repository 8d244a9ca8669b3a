//! Moving on a large scale: accounts with realistic mail are moved while their clients work and the proxy is killed
//! and started again; what looking again costs once all is moved.
//!
//! In the suite all of it is small. `tests/lab.sh move` and `again` make it large, by `MOVE_…` and `AGAIN_…`, with the
//! program as it is released (`LAB_MAILFERRY`); what they measure is printed.

#![allow(clippy::print_stdout, reason = "what is measured is printed")]

mod again;
mod judged;
#[path = "../lab/mod.rs"]
mod lab;
mod worker;

/// A number that the environment may set.
fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The server that is moved to, by name.
fn new_side(name: &str) -> lab::Shape {
    match std::env::var(name).as_deref().unwrap_or("dovecot") {
        "dovecot" => lab::Dovecot::new_style().into(),
        "cyrus" => lab::Cyrus::styled(true, true).into(),
        other => panic!("{name}: dovecot or cyrus, not {other}"),
    }
}
