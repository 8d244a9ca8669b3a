//! The proxy killed at random while mail passes both ways, between real servers.

#![allow(clippy::print_stderr, reason = "it tells how often it was killed")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::lab::{Dialogue, Dice, Sink, Talk, eventually};
use super::real::Real;

/// Sends one message, or does not; true where it was accepted.
fn send(port: u16, user: Option<&str>, to: &str, subject: &str) -> bool {
    let attempt = || -> Option<bool> {
        let mut talk = Talk::try_connect(port)?;
        let mut said = vec![("EHLO sender.example".to_owned(), "250")];
        if user.is_some() {
            // ann@example.com, secret
            said.push(("AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=".to_owned(), "235"));
        }
        said.push((format!("MAIL FROM:<{}>", user.unwrap_or("")), "250"));
        said.push((format!("RCPT TO:<{to}>"), "250"));
        said.push(("DATA".to_owned(), "354"));
        said.push((format!("Subject: {subject}\r\n\r\nx\r\n."), "250"));
        for (line, expected) in said {
            if !talk.cmd(&line).starts_with(expected) {
                return None;
            }
        }
        Some(true)
    };
    attempt().unwrap_or(false)
}

/// The subjects in an account's INBOX on one server.
fn subjects(port: u16, user: &str) -> Vec<String> {
    let mut client = Dialogue::connect(port).login(user, "secret");
    if client.ok("EXAMINE INBOX").count("EXISTS") == Some(0) {
        return Vec::new();
    }
    let reply = client.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let bodies = reply.fetched();
    bodies
        .iter()
        .filter_map(|fetched| {
            let octets = fetched.bodies.values().next()?;
            let text = String::from_utf8_lossy(octets).into_owned();
            Some(text.trim().strip_prefix("Subject: ")?.to_owned())
        })
        .collect()
}

/// `SMTP_KILL_MESSAGES` messages (60 unless told otherwise), half of them sent by a user; a third of the
/// senders give up at the first failure. Every message that got a 250 is in one mailbox at least once, on
/// one server only; what lies there was sent, and is in the archive.
#[test]
fn killed_at_random_no_accepted_message_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let messages = number("SMTP_KILL_MESSAGES").unwrap_or(60);
    let seed = number("SMTP_KILL_SEED").unwrap_or(1) as u64;
    let archive = Sink::new().start();
    let server = format!("\"smtp://127.0.0.1:{}?tls=none\"", archive.port);
    let settings = [("journal.server", server.as_str()), ("auth.remember", "\"60s\"")];
    let mut real = Real::start(&settings, |builder| builder);
    // Known accounts in phase merged: new receives, old would if new were away.
    drop(real.world.proxy.client());
    drop(real.world.proxy.client_of("bob@example.com", "secret"));
    let mail = real.world.proxy.mail;
    let accepted = Mutex::new(BTreeSet::new());
    let (next, left) = (AtomicUsize::new(0), AtomicUsize::new(messages));
    let kills = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= messages {
                        return;
                    }
                    let subject = format!("message-{n:06}");
                    let sent = || match n % 2 {
                        0 => send(mail.smtp, None, "ann@example.com", &subject),
                        _ => send(
                            mail.submission,
                            Some("ann@example.com"),
                            "bob@example.com",
                            &subject,
                        ),
                    };
                    loop {
                        if sent() {
                            accepted.lock().expect("accepted").insert(subject);
                            break;
                        }
                        if n % 3 == 0 {
                            break;
                        }
                        thread::sleep(Duration::from_millis(20));
                    }
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
        let mut dice = Dice(seed);
        let mut kills = 0;
        let most_between = (messages / 8).clamp(1, 40);
        while left.load(Ordering::Relaxed) > 0 {
            // After some messages more, however long they take here, and then at any moment of the next one.
            let before = left.load(Ordering::Relaxed);
            let until = before.saturating_sub(dice.below(most_between) + 1);
            let patience = Instant::now() + Duration::from_secs(10);
            while left.load(Ordering::Relaxed) > until && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(dice.below(100_u64)));
            real.world.proxy.kill9();
            kills += 1;
            real.world.proxy.restart();
        }
        kills
    });
    let accepted = accepted.into_inner().expect("accepted");
    eprintln!("{messages} messages, {kills} kills, {} accepted", accepted.len());
    assert!(accepted.len() * 2 > messages, "{} of {messages}", accepted.len());
    let all_there = || {
        let mut lie = Vec::new();
        for port in [real.world.old.port, real.world.new.port] {
            let here = ["ann@example.com", "bob@example.com"].map(|user| subjects(port, user));
            lie.push(here.concat().into_iter().collect::<BTreeSet<String>>());
        }
        let [old, new] = &lie[..] else { unreachable!("two sides") };
        assert!(old.is_disjoint(new), "on both: {:?}", old.intersection(new).collect::<Vec<_>>());
        let all: BTreeSet<String> = old.union(new).cloned().collect();
        assert!(all.iter().all(|subject| subject.starts_with("message-")));
        accepted.is_subset(&all).then_some(all)
    };
    let there = eventually("all that was accepted is there", all_there);
    // What a server was told the end of was archived before, even where the sender never heard so.
    let subject = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned));
        line.expect("a subject")
    };
    let archived: BTreeSet<String> =
        archive.taken().iter().map(|taken| subject(taken.text())).collect();
    assert!(there.is_subset(&archived), "not archived: {:?}", there.difference(&archived));
}
