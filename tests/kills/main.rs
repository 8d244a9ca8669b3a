//! The proxy dies at every step that promises something, and at random moments of mixed traffic: what was
//! acknowledged is there, every message exactly once (V5), no UID changes its meaning (V2).
//!
//! `CRASH_ROUNDS`, `CRASH_SEED`, `CRASH_OLD` and `CRASH_NEW` make it longer, another one, and over other servers
//! (`tests/lab.sh crash`).

mod game;
#[path = "../lab/mod.rs"]
mod lab;
mod line;
mod model;
mod power;

use std::time::Duration;

use mailferry::base::Side;

use game::Game;
use lab::{Courier, Cyrus, Dovecot, Shape};

/// Every step of the program that is named by `step`, as its source has them.
fn steps() -> Vec<String> {
    fn collect(dir: &std::path::Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let named = text.split("step(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                all.extend(named.map(|(name, _)| name.to_owned()));
            }
        }
    }
    // Those that no traffic comes to have tests of their own (`phase_kills`, `mirror`, `smtp`,
    // `folder_changes`, `moving`, and of the index `src/index/tests/power.rs`).
    let elsewhere = [
        "way back: ",
        "phase: ",
        "mirror: ",
        "smtp: ",
        "rename: ",
        "move: ",
        "open: ",
        "restore: ",
    ];
    let mut all = Vec::new();
    collect(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all.retain(|name| !elsewhere.iter().any(|prefix| name.starts_with(prefix)));
    all.sort();
    all
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn shapes() -> (Shape, Shape) {
    let named = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.to_owned());
    let old = match named("CRASH_OLD", "dovecot").as_str() {
        "dovecot" => Dovecot::old_style().into(),
        "courier" => Courier::plain().into(),
        other => panic!("no old server {other}"),
    };
    let new = match named("CRASH_NEW", "dovecot").as_str() {
        "dovecot" => Dovecot::new_style().into(),
        "cyrus" => Cyrus::styled(true, true).into(),
        other => panic!("no new server {other}"),
    };
    (old, new)
}

/// Steps that traffic comes to only where chance has it: a message goes while it is copied, or its second copy
/// comes to a server just then.
const RARE: [&str; 4] = [
    "copy: orphans are hidden",
    "copy: orphans are removed",
    "second copies: new's are hidden",
    "second copies: old's are hidden",
];

#[test]
fn v5_the_proxy_dies_at_each_step() {
    let mut game = Game::new(Dovecot::old_style().into(), Dovecot::new_style().into(), 1);
    game.twice = true;
    game.world.proxy.kill9();
    let mut missed = Vec::new();
    for step in steps() {
        for pass in [0, 1] {
            // There is always one to be copied.
            game.deliver_to(Side::Old, 0);
            game.observe();
            game.world.proxy.restart_to_die_at(&format!("{step}={pass}*off->return"));
            game.model.past.push(format!("-- to die at {step:?}, passed {pass} times"));
            let died = game.round(60, Duration::from_secs(if pass == 0 { 5 } else { 0 }));
            if pass == 0 && !died && !RARE.contains(&step.as_str()) {
                missed.push(step.clone());
            }
        }
    }
    assert_eq!(missed, Vec::<String>::new(), "steps that traffic never came to");
    game.settle();
}

#[test]
fn v2_v5_killed_at_random_nothing_acknowledged_is_lost_and_nothing_is_twice() {
    let (rounds, seed) = (setting("CRASH_ROUNDS", 10), setting("CRASH_SEED", 7));
    let (old, new) = shapes();
    let mut game = Game::new(old, new, seed as u64);
    game.twice = true;
    game.world.proxy.kill9();
    let steps = steps();
    for round in 0..rounds {
        game.observe();
        game.model.past.push(format!("-- round {round} of seed {seed}"));
        if game.dice.below(2) == 0 {
            let step = game.dice.one_of(&steps).clone();
            let passed = game.dice.below(12);
            game.model.past.push(format!("-- to die at {step:?}, passed {passed} times"));
            game.world.proxy.restart_to_die_at(&format!("{step}={passed}*off->return"));
        } else {
            game.world.proxy.restart();
        }
        let most = 5 + game.dice.below(25);
        let patience = Duration::from_millis(game.dice.below(150));
        game.round(most, patience);
    }
    game.settle();
}
