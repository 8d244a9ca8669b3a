//! Moving an account: the program's `sync`, beside other tools between the same two servers.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::lab::proxy::program;
use crate::lab::{Cyrus, Dice, Dovecot, Mail, Shape, World, large, realistic, watched};
use crate::rounds::{ROUNDS, Sample, Samples};
use crate::table::{Table, Unit};

/// What moves, in the order of the columns. `doveadm backup` writes the new server's files itself.
pub const TOOLS: [&str; 3] = ["doveadm backup", "mailferry", "mbsync"];

/// Whose mail each tool moves: the same.
const USERS: [&str; 3] = ["backup@example.com", "ferry@example.com", "mbsync@example.com"];

/// Small messages of one size to either server, and what people have.
pub fn run(table: &mut Table) {
    let small = || (0..10_000).map(|n| large(n, 8_000)).collect::<Vec<_>>();
    let mix = || {
        let mut dice = Dice(7);
        (0..5_000).map(|n| large(n, realistic(&mut dice))).collect::<Vec<_>>()
    };
    moved(table, "10,000 × 8 KB to Dovecot", &small(), || Dovecot::new_style().into());
    moved(table, "10,000 × 8 KB to Cyrus", &small(), || Cyrus::styled(true, true).into());
    moved(table, "5,000 of 1 KB to 20 MB to Dovecot", &mix(), || Dovecot::new_style().into());
}

/// Every round with servers of its own, each tool beginning in turn.
fn moved(table: &mut Table, name: &str, messages: &[Vec<u8>], new: impl Fn() -> Shape) {
    let octets: usize = messages.iter().map(Vec::len).sum();
    let mut speed: Samples = vec![Vec::new(); TOOLS.len()];
    let mut rate = speed.clone();
    let mut memory = speed.clone();
    for round in 0..=ROUNDS {
        let world = World::unattended_for(&USERS, Dovecot::old_style(), new());
        let mut world = world.seeded(|old, _| {
            let dated = |n: u64| 1_500_000_000 + n;
            let mails = messages.iter().zip(0..).map(|(m, n)| Mail::of(m.clone()).dated(dated(n)));
            let mails: Vec<Mail> = mails.collect();
            USERS.iter().for_each(|user| old.seed_of(user, "INBOX", &mails));
        });
        world.proxy.stop();
        for turn in 0..TOOLS.len() {
            let at = (round + turn) % TOOLS.len();
            let Some(command) = tool(at, &world) else { continue };
            let begun = Instant::now();
            let (well, said, most) = watched(command);
            let seconds = begun.elapsed().as_secs_f64();
            assert!(well, "{}: {said}", TOOLS[at]);
            let mut on_new = world.new.client_of(USERS[at], "secret");
            let there = on_new.ok("EXAMINE INBOX").count("EXISTS");
            assert_eq!(there, Some(messages.len() as u32), "{}", TOOLS[at]);
            if round > 0 {
                let sample = |value| Sample { value, cpu: 0.0 };
                speed[at].push(sample(messages.len() as f64 / seconds));
                rate[at].push(sample(octets as f64 / seconds));
                memory[at].push(sample(most as f64));
            }
        }
    }
    table.row(&format!("move {name}: messages"), Unit::PerSecond, &speed);
    table.row(&format!("move {name}: octets"), Unit::MbPerSecond, &rate);
    table.row(&format!("move {name}: memory at most"), Unit::MiB, &memory);
}

/// What moves the mail of the tool's own account; none, if it cannot write to this server.
fn tool(at: usize, world: &World) -> Option<Command> {
    let (old, new) = (&world.old, &world.new);
    match at {
        0 if new.dir.join("dovecot.conf").exists() => {
            let config = |dir: &Path| dir.join("dovecot.conf");
            let mut backup = Command::new("doveadm");
            backup.arg("-c").arg(config(&old.dir)).args(["backup", "-u", USERS[0]]);
            // Of the first one's environment the second one would take its configuration.
            backup.args(["/usr/bin/env", "-i", "/usr/bin/doveadm", "-c"]).arg(config(&new.dir));
            backup.args(["dsync-server", "-u", USERS[0]]);
            Some(backup)
        }
        0 => None,
        1 => {
            let mut sync = Command::new(program());
            sync.args(["sync", USERS[1], "--config"]).arg(world.proxy.config());
            Some(sync)
        }
        _ => {
            let account = |name: &str, port: u16| {
                format!(
                    "IMAPAccount {name}\nHost 127.0.0.1\nPort {port}\nUser {}\nPass secret\nSSLType None\n\
                     AuthMechs LOGIN\n\nIMAPStore {name}\nAccount {name}\n\n",
                    USERS[2]
                )
            };
            let text = account("old", old.port)
                + &account("new", new.port)
                + &format!(
                    "Channel all\nFar :old:\nNear :new:\nPatterns INBOX\nSync Pull\nSyncState {}/\n",
                    world.dir.path().display()
                );
            let rc = world.dir.path().join("mbsyncrc");
            std::fs::write(&rc, text).expect("mbsync's configuration");
            let mut mbsync = Command::new("mbsync");
            mbsync.arg("-q").arg("-c").arg(rc).arg("all");
            // It warns of passwords in clear.
            let said = File::create(world.dir.path().join("mbsync.log"));
            mbsync.stderr(said.expect("mbsync's log"));
            Some(mbsync)
        }
    }
}
