//! How fast one account moves, and with how much memory, beside other tools on the same pair of servers.

use std::process::Command;
use std::time::Instant;

use crate::lab::proxy::program;
use crate::lab::{Dialogue, Dice, Dovecot, Mail, World, large};
use crate::{new_side, realistic, setting, watched};

/// Whose mail each tool moves: the same.
const USERS: [&str; 3] = ["ferry@example.com", "backup@example.com", "mbsync@example.com"];

#[test]
fn an_account_moves_as_fast_as_it_goes() {
    // Of no size: realistic ones.
    let (messages, size) = (setting("PACE_MESSAGES", 300), setting("PACE_SIZE", 8_000) as usize);
    let mut dice = Dice(7);
    let mut size = || if size == 0 { realistic(&mut dice) } else { size };
    let mut octets = 0_usize;
    let others = setting("PACE_OTHERS", 0) > 0;
    let to_cyrus = std::env::var("PACE_NEW").is_ok_and(|new| new == "cyrus");
    let mut world = World::unattended_for(&USERS, Dovecot::old_style(), new_side("PACE_NEW"))
        .seeded(|old, _| {
            let mails: Vec<Mail> = (0..messages)
                .map(|n| Mail::of(large(n, size())).dated(1_500_000_000 + u64::from(n)))
                .collect();
            octets = mails.iter().map(|mail| mail.octets.len()).sum();
            for user in &USERS[..if others { 3 } else { 1 }] {
                old.seed_of(user, "INBOX", &mails);
            }
        });
    world.proxy.stop();
    println!("{messages} messages, {} MB", octets / 1_000_000);
    let mut sync = Command::new(program());
    sync.args(["sync", USERS[0], "--config"]).arg(world.proxy.config());
    run("mailferry sync", sync, messages);
    let mut on_new = Dialogue::connect(world.new.port).login(USERS[0], "secret");
    assert_eq!(on_new.ok("EXAMINE INBOX").count("EXISTS"), Some(messages));
    if !others {
        return;
    }
    if !to_cyrus {
        let mut backup = Command::new("doveadm");
        let config = |dir: &std::path::Path| dir.join("dovecot.conf").display().to_string();
        backup.args(["-c", &config(&world.old.dir), "backup", "-u", USERS[1]]);
        // Of the first one's environment the second one would take its configuration.
        backup.args(["/usr/bin/env", "-i", "/usr/bin/doveadm"]);
        backup.args(["-c", &config(&world.new.dir), "dsync-server", "-u", USERS[1]]);
        run("doveadm backup", backup, messages);
    }
    let rc = world.dir.path().join("mbsyncrc");
    let account = |name: &str, port: u16| {
        format!(
            "IMAPAccount {name}\nHost 127.0.0.1\nPort {port}\nUser {}\nPass secret\nSSLType None\n\
             AuthMechs LOGIN\n\nIMAPStore {name}\nAccount {name}\n\n",
            USERS[2]
        )
    };
    let text = account("old", world.old.port)
        + &account("new", world.new.port)
        + &format!(
            "Channel all\nFar :old:\nNear :new:\nPatterns INBOX\nSync Pull\nSyncState {}/\n",
            world.dir.path().display()
        );
    std::fs::write(&rc, text).expect("mbsync's configuration");
    let mut mbsync = Command::new("mbsync");
    mbsync.arg("-q").arg("-c").arg(rc).arg("all");
    run("mbsync", mbsync, messages);
}

fn run(name: &str, command: Command, messages: u32) {
    let begun = Instant::now();
    let (well, said, memory) = watched(command);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(well, "{name}: {said}");
    println!(
        "{name:16} {:>8.0} messages/s {:>8.1} MiB at most, {seconds:.2} s",
        f64::from(messages) / seconds,
        memory as f64 / f64::from(1 << 20)
    );
}
