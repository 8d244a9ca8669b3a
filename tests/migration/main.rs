//! Moving on a large scale: accounts with realistic mail are moved while their clients work and the proxy is killed
//! and started again; how fast an account moves, beside other tools; what looking again costs once all is moved.
//!
//! In the suite all of it is small. `tests/lab.sh move`, `pace` and `again` make it large, by `MOVE_…`, `PACE_…` and
//! `AGAIN_…`, with the program as it is released (`LAB_MAILFERRY`); what they measure is printed.

#![allow(clippy::print_stdout, reason = "what is measured is printed")]

mod again;
mod judged;
#[path = "../lab/mod.rs"]
mod lab;
mod pace;
mod worker;

/// The smallest and the largest message.
const SIZES: (f64, f64) = (1_000.0, 20_000_000.0);

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

/// The octets of a realistic message: log-normal, by two numbers of chance (Box and Muller), half of them below 16 KB.
fn realistic(dice: &mut lab::Dice) -> usize {
    let mut chance = || (f64::from(dice.below(1_000_000_u32)) + 0.5) / 1e6;
    let (a, b) = (chance(), chance());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    (16_000.0 * (1.5 * normal).exp()).clamp(SIZES.0, SIZES.1) as usize
}

/// Runs a command of the program to its end: whether it went well, what it wrote, and the most memory that it held.
fn watched(mut command: std::process::Command) -> (bool, String, u64) {
    use std::io::Read;
    use std::process::Stdio;
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a command");
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("text");
        text
    });
    let mut most = 0;
    let ended = loop {
        // Gone between two looks, it has none any more.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kib.map_or(0, |kib| kib << 10));
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    (ended.success(), reader.join().expect("its output"), most)
}
