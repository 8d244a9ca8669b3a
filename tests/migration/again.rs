//! Looking once more at an account of many folders of which all is moved, and proving it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::proxy::program;
use crate::lab::{Dovecot, Mail, World, mails, watched};
use crate::{new_side, setting};

#[test]
fn an_account_that_is_moved_is_looked_at_again_and_nothing_is_carried() {
    let (folders, messages) = (setting("AGAIN_FOLDERS", 100), setting("AGAIN_MESSAGES", 200));
    let mut world = World::unattended(Dovecot::old_style(), new_side("AGAIN_NEW"))
        .set("trickle.enabled", "true")
        .set("trickle.quiet", "\"0s\"")
        .set("trickle.again", "\"1s\"")
        .seeded(|old, _| {
            for folder in 0..folders {
                let numbers = folder * messages / folders..(folder + 1) * messages / folders;
                // None of a day to come: servers take today instead.
                let dated = |mail: Mail, n: u64| mail.dated(1_456_833_600 + n % 50_000 * 3_607);
                let all = mails(numbers.clone()).into_iter().zip(u64::from(numbers.start)..);
                let all: Vec<Mail> = all.map(|(mail, n)| dated(mail, n)).collect();
                old.seed(&format!("F{}/S{folder}", folder % 60), &all);
            }
        });
    world.proxy.stop();
    let run = |what: &str, command: &str| {
        let mut program = Command::new(program());
        program.args([command, "ann@example.com", "--json", "--config"]).arg(world.proxy.config());
        let begun = Instant::now();
        let (well, said, memory) = watched(program);
        assert!(well, "{said}");
        println!(
            "{what}: {folders} folders, {messages} messages: {:.2} s, {:.1} MiB at most",
            begun.elapsed().as_secs_f64(),
            memory as f64 / f64::from(1 << 20)
        );
        // What a folder costs that nobody has opened, and a message that is compared, beside the
        // program itself.
        let bound = (64 << 20) + u64::from(folders) * (48 << 10) + u64::from(messages) * 128;
        assert!(memory < bound, "{memory} octets for {folders} folders, {messages} messages");
        said
    };
    let carried = |what: &str| {
        let said = run(what, "sync");
        let last: serde_json::Value =
            serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
        last["done"]["figures"]["carried"].as_u64().expect("a figure")
    };
    assert_eq!(carried("sync, for the first time"), u64::from(messages));
    assert_eq!(carried("sync, again"), 0);
    let verified: serde_json::Value = serde_json::from_str(&run("verify", "verify")).expect("JSON");
    assert_eq!(verified["result"]["is_clean"], true, "{verified}");
    let compared = verified["mailboxes"].as_array().expect("mailboxes").iter();
    let compared = compared.map(|mailbox| mailbox["compared"].as_u64().expect("a figure"));
    assert_eq!(compared.sum::<u64>(), u64::from(messages));
    // The trickle: from when somebody looks at it.
    world.proxy.restart();
    let begun = Instant::now();
    let settled = || {
        let ran = world.proxy.run(&["status", "ann", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
        status["accounts"][0]["doing"] == "settled"
    };
    while !settled() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it is not settled");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("trickle, again: {:.2} s", begun.elapsed().as_secs_f64());
}
