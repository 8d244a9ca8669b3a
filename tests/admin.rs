//! The administrator's commands to the running proxy.

mod lab;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::Duration;

use lab::{World, mails};
use serde_json::Value;

/// What a command wrote, and its exit code.
fn told(output: &Output) -> (String, Option<i32>) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(output).0))
}

#[test]
fn kick_ends_the_sessions_of_one_account() {
    let world = World::new()
        .account("ann@example.com", "secret")
        .account("bob@example.com", "secret")
        .seeded(|old, _| old.seed("INBOX", &mails(0..1)));
    let mut bob = world.proxy.client_of("bob@example.com", "secret");
    let (mut waits, mut idles, mut selected) =
        (world.proxy.client(), world.proxy.client(), world.proxy.client());
    selected.ok("SELECT INBOX");
    selected.idle();
    idles.idle();

    let kicked = json(&world.proxy.run(&["kick", "Ann", "--json"]));
    assert_eq!((&kicked["account"], &kicked["sessions"]), (&"ann@example.com".into(), &3.into()));
    for client in [&mut waits, &mut idles, &mut selected] {
        client.wait_for(|line| line.starts_with("* BYE Ended by the administrator"));
        assert!(client.is_closed_within(Duration::from_secs(10)));
    }
    bob.ok("NOOP");
    // Nothing is held against the account.
    world.proxy.client().ok("SELECT INBOX");
    let (text, code) = told(&world.proxy.run(&["kick", "nobody"]));
    assert_eq!((text.as_str(), code), ("nobody@example.com: 0 sessions ended\n", Some(0)));
    let (text, code) = told(&world.proxy.run(&["kick", "a b"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("`a b` is no account here\n  next: give"), "{text}");
}

#[test]
fn a_command_says_what_to_do_where_no_proxy_runs() {
    let mut world = World::new().start();
    world.proxy.kill9();
    // A socket that nobody serves any more, and none at all.
    for _ in 0..2 {
        let (text, code) = told(&world.proxy.run(&["kick", "ann"]));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("no proxy answers on ") && text.contains("  next: start"), "{text}");
        std::fs::remove_file(world.dir.path().join("proxy/state/admin.sock")).ok();
    }
    world.proxy.restart();
    world.proxy.kill9();
    world.proxy.restart();
    assert_eq!(told(&world.proxy.run(&["kick", "ann"])).1, Some(0));
}

#[test]
fn the_socket_is_for_the_proxys_user_alone_and_takes_no_nonsense() {
    let mut world = World::new().set("admin.socket", "\"here.sock\"").start();
    let path = world.dir.path().join("proxy/here.sock");
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let say = |text: &[u8]| {
        let mut socket = UnixStream::connect(&path).expect("the socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        // It may hang up in the midst of what is too long.
        drop(socket.write_all(text));
        let mut answer = String::new();
        drop(BufReader::new(socket).read_line(&mut answer));
        answer
    };
    for (nonsense, part) in [
        (&b"EHLO\n"[..], "no request"),
        (b"{\"command\":\"kick\"}\n", "arguments"),
        (b"{\"command\":\"kick\",\"arguments\":{\"acount\":\"ann\"}}\n", "acount"),
        (b"{\"command\":\"rm -rf\",\"arguments\":{}}\n", "knows no command `rm -rf`"),
        (&[&b"[".repeat(100_000)[..], b"\n"].concat(), "no request"),
    ] {
        let answer = say(nonsense);
        assert!(answer.contains(part), "{answer}");
    }
    drop(say(&vec![b' '; 9 << 20]));
    // A command that is half said holds nobody up.
    let mut silent = UnixStream::connect(&path).expect("the socket");
    silent.write_all(b"{\"command\":").expect("half a request");
    let answer = say(b"{\"command\":\"kick\",\"arguments\":{\"account\":\"ann\"}}\n");
    assert_eq!(answer, "{\"done\":{\"account\":\"ann@example.com\",\"sessions\":0}}\n");
    assert_eq!(world.proxy.stop(), Some(0));
    assert!(!path.exists(), "a proxy that ends takes its socket away");
}
