//! The administrator's commands to the running proxy.

mod lab;
#[path = "lab/ran.rs"]
mod ran;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Dovecot, World, eventually, mails};
use ran::{json, told};
use serde_json::Value;

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
    drop(bob);
    let (text, code) = eventually("bob is gone", || {
        let (text, code) = told(&world.proxy.run(&["kick", "bob"]));
        text.contains(" 0 sessions").then_some((text, code))
    });
    assert_eq!((text.as_str(), code), ("bob@example.com: 0 sessions ended\n", Some(0)));
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
    let _client = world.proxy.client();
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
    let _client = world.proxy.client();
    let answer = say(b"{\"command\":\"kick\",\"arguments\":{\"account\":\"ann\"}}\n");
    assert_eq!(answer, "{\"done\":{\"account\":\"ann@example.com\",\"sessions\":1}}\n");
    assert_eq!(world.proxy.stop(), Some(0));
    assert!(!path.exists(), "a proxy that ends takes its socket away");
}

#[test]
fn accounts_are_imported_all_or_none_and_exported_as_they_were() {
    let mut world = World::new()
        .set("new.credentials.login", "\"{account}\"")
        .set("accounts.domains", "[\"example.com\"]")
        .start();
    let file = world.dir.path().join("waves.csv");
    let path = file.display().to_string();
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("account,wave,priority\nann,first,1\nbob,first,none\n");
    let (text, code) = told(&world.proxy.run(&["accounts", "import", &path]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("line 3: the priority `none` is no number"), "{text}");
    assert_eq!(json(&world.proxy.run(&["accounts", "list", "--json"])), serde_json::json!([]));

    write("account,wave,priority,new_login\nann,first,1,\nbob,,,robert\n");
    let (text, code) = told(&world.proxy.run(&["accounts", "import", &path, "--wave", "rest"]));
    assert_eq!((text.as_str(), code), ("2 accounts imported\n", Some(0)));
    let exported = "account,wave,priority,old_login,new_login\n\
                    ann@example.com,first,1,,\nbob@example.com,rest,,,robert\n";
    assert_eq!(told(&world.proxy.run(&["accounts", "export"])).0, exported);
    let status = json(&world.proxy.run(&["status", "--wave", "first", "--json"]));
    assert_eq!(status["accounts"][0]["account"], "ann@example.com");
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1));
    let (text, code) = told(&world.proxy.run(&["status", "--wave", "last"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no account is in wave `last`"), "{text}");
    // Without a proxy it is the same index.
    world.proxy.stop();
    assert_eq!(told(&world.proxy.run(&["accounts", "export"])).0, exported);
    write("account,wave\nann,first\neve@elsewhere.example,first\n");
    let (text, code) = told(&world.proxy.run(&["accounts", "import", &path]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("line 3: `eve@elsewhere.example` is no account here"), "{text}");
    assert_eq!(told(&world.proxy.run(&["accounts", "export"])).0, exported);
}

#[test]
fn a_wave_is_moved_proved_and_put_into_a_phase_together() {
    let names = ["ann@example.com", "bob@example.com", "eve@example.com"];
    let world = World::unattended_for(&names, Dovecot::old_style(), Dovecot::new_style()).seeded(
        |old, _| {
            for name in names {
                old.seed_of(name, "INBOX", &mails(0..3));
            }
        },
    );
    let run = |arguments: &[&str]| world.proxy.run(arguments);
    let file = world.dir.path().join("waves.csv");
    std::fs::write(&file, "account,wave\nann,first\nbob,first\neve,second\n").expect("a file");
    assert_eq!(told(&run(&["accounts", "import", &file.display().to_string()])).1, Some(0));

    let (text, code) = told(&run(&["sync", "--wave", "first", "--folder", "INBOX"]));
    assert_eq!(code, Some(0), "{text}");
    for name in &names[..2] {
        assert!(text.contains(&format!("{name}: 3 of 3 messages are on new")), "{text}");
    }
    assert!(!text.contains("eve"), "{text}");
    // Nothing is verified yet.
    let (text, code) = told(&run(&["phase", "--wave", "first", "new"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("ann@example.com: NOT in phase new: "), "{text}");
    let verified = json(&run(&["verify", "--wave", "first", "--json"]));
    assert_eq!(verified["result"]["clean"], serde_json::json!(names[..2]));
    // Something arrives for one of them meanwhile; that holds up none of the others.
    world.old.client_of(names[1], "secret").append("INBOX", "", &lab::small(9));
    let moved = run(&["phase", "--wave", "first", "new", "--json"]);
    assert_eq!(moved.status.code(), Some(1));
    let moved = json(&moved);
    assert_eq!(moved["set"][0]["account"], "ann@example.com", "{moved}");
    assert_eq!(moved["failed"][0]["account"], "bob@example.com", "{moved}");
    let status = json(&run(&["status", "--wave", "first", "--json"]));
    let phases = [&status["accounts"][0]["phase"], &status["accounts"][1]["phase"]];
    assert_eq!(phases, ["new", "merged"], "{status}");

    let paused = json(&run(&["pause", "--wave", "first", "--json"]));
    assert_eq!(paused, serde_json::json!({"accounts": names[..2], "paused": true}));
    let status = json(&run(&["status", "--json"]));
    let paused: Vec<_> = (0..3).map(|n| status["accounts"][n]["paused"].as_bool()).collect();
    assert_eq!(paused, [Some(true), Some(true), Some(false)]);
    assert_eq!(told(&run(&["resume", "--wave", "first"])).1, Some(0));
    let status = json(&run(&["status", "--json"]));
    assert_eq!(status["accounts"][0]["paused"], false);
    for wrong in [
        &["phase", "ann"][..],
        &["phase", "--wave", "first"],
        &["phase", "ann", "new", "--wave", "first"],
        &["phase", "ann", "soon"],
    ] {
        assert_eq!(told(&run(wrong)).1, Some(2), "{wrong:?}");
    }
    for command in [&["phase", "--wave", "last", "new"][..], &["verify", "--wave", "last"]] {
        let (text, code) = told(&run(command));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("no account is in wave `last`"), "{text}");
    }
}

#[test]
fn an_account_is_called_on_each_side_as_it_was_enrolled() {
    let world = World::new()
        .account("ann@example.com", "secret")
        .account("annie@example.com", "secret")
        .start();
    let file = world.dir.path().join("waves.csv");
    std::fs::write(&file, "account,new_login\nann,annie@example.com\n").expect("a file");
    let imported = world.proxy.run(&["accounts", "import", &file.display().to_string()]);
    assert_eq!(imported.status.code(), Some(0), "{}", told(&imported).0);
    let mut ann = world.proxy.client();
    ann.append("INBOX", "", b"Subject: hers\r\n\r\nhers\r\n");
    let inbox = |user: &str| {
        let mut client = world.new.client_of(user, "secret");
        client.ok("SELECT INBOX").count("EXISTS")
    };
    assert_eq!((inbox("ann@example.com"), inbox("annie@example.com")), (Some(0), Some(1)));
}

#[test]
fn status_tells_how_far_each_account_is_and_pause_outlives_a_restart() {
    let mut world = World::new().seeded(|old, _| old.seed("INBOX", &mails(0..5)));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1:2 BODY.PEEK[]");
    // Figures are believed for some seconds.
    let status = eventually("two are copied", || {
        let status = json(&world.proxy.run(&["status", "ann", "--json"]));
        (status["accounts"][0]["copied"] == 2).then_some(status)
    });
    let ann = &status["accounts"][0];
    assert_eq!(
        (&ann["messages"], &ann["sessions"], &ann["phase"]),
        (&5.into(), &1.into(), &"merged".into())
    );
    assert_eq!(status["phases"], serde_json::json!({"old": 0, "merged": 1, "new": 0}));
    let (text, code) = told(&world.proxy.run(&["status", "ann"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("██████░░░░░░░░░  40%") && text.contains("2/5"), "{text}");
    let (text, code) = told(&world.proxy.run(&["status", "eve"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("nobody has ever seen eve@example.com"), "{text}");

    for command in ["status", "kick", "pause", "resume", "stuck", "retry"] {
        let (text, code) = told(&world.proxy.run(&[command, "ana"]));
        assert_eq!(code, Some(1), "{command}: {text}");
        assert!(text.contains("nobody has ever seen ana@example.com"), "{command}: {text}");
        assert!(text.contains("did you mean ann@example.com?"), "{command}: {text}");
    }
    let all = json(&world.proxy.run(&["accounts", "list", "--json"]));
    assert_eq!(all.as_array().map(Vec::len), Some(1), "none was enrolled by that: {all}");

    let (text, code) = told(&world.proxy.run(&["pause", "ann"]));
    assert_eq!(
        (text.as_str(), code),
        ("copying in the background is paused: ann@example.com\n", Some(0))
    );
    assert_eq!(world.proxy.run(&["pause"]).status.code(), Some(0));
    world.proxy.kill9();
    world.proxy.restart();
    let status = json(&world.proxy.run(&["status", "--json"]));
    assert_eq!((&status["paused"], &status["accounts"][0]["paused"]), (&true.into(), &true.into()));
    assert_eq!(world.proxy.run(&["resume"]).status.code(), Some(0));
    let status = json(&world.proxy.run(&["status", "--json"]));
    assert_eq!(
        (&status["paused"], &status["accounts"][0]["paused"]),
        (&false.into(), &false.into())
    );
}

#[test]
fn status_is_watched_until_whoever_watches_goes_away() {
    let world = World::new().start();
    let path = world.dir.path().join("proxy/state/admin.sock");
    let mut socket = UnixStream::connect(&path).expect("the socket");
    socket
        .write_all(b"{\"command\":\"status\",\"arguments\":{\"watch\":true}}\n")
        .expect("a request");
    let mut lines = BufReader::new(socket).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(told["progress"]["sessions"], 0, "{line}");
    }
    drop(lines);
    eventually("the command ends", || {
        world.proxy.log().contains("whoever asked is gone").then_some(())
    });
}

#[test]
fn status_watch_ends_where_nobody_reads_it_any_more() {
    let world = World::new().start();
    for more in [&["--json"][..], &[]] {
        let mut watching = Command::new(lab::proxy::program())
            .args(["status", "--watch", "--config"])
            .arg(world.proxy.config())
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("mailferry");
        let mut said = BufReader::new(watching.stdout.take().expect("its output"));
        said.read_line(&mut String::new()).expect("a line");
        drop(said);
        let ended = eventually("it ends", || watching.try_wait().expect("its end"));
        assert_eq!(ended.code(), Some(0), "{more:?}");
    }
}

#[test]
fn what_new_refused_is_shown_and_tried_again_at_once() {
    let quota = "mail_plugins = quota\nplugin {\n  quota = count:User quota\n  quota_vsizes = yes\n  \
                 quota_rule = *:storage=600K\n  quota_grace = 0\n}";
    let world = World::new()
        .new(Dovecot::new_style().setting(quota))
        .set("copy.retry", "\"1h\"")
        .set("trickle.enabled", "false")
        .seeded(|old, new| {
            old.seed("INBOX", &[lab::Mail::of(lab::large(90, 400_000))]);
            new.seed("Trash", &[lab::Mail::of(lab::large(91, 400_000))]);
        });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    client.ok("FETCH 1 BODY.PEEK[]");
    let stuck = eventually("it is stuck", || {
        let stuck = json(&world.proxy.run(&["stuck", "--json"]));
        (stuck.as_array().map(Vec::len) == Some(1)).then_some(stuck)
    });
    assert_eq!((&stuck[0]["mailbox"], &stuck[0]["uid"]), (&"INBOX".into(), &1.into()));
    assert_eq!((&stuck[0]["account"], &stuck[0]["tries"]), (&"ann@example.com".into(), &1.into()));
    let (text, code) = told(&world.proxy.run(&["stuck", "ann"]));
    assert_eq!(code, Some(0));
    assert!(
        text.contains("ann@example.com INBOX: uid 1, tried 1 times")
            && text.ends_with("stuck: 1 message\n"),
        "{text}"
    );
    let (text, code) = told(&world.proxy.run(&["retry", "ann"]));
    assert_eq!((text.as_str(), code), ("tried again: 1 message\n", Some(0)));
    eventually("it was tried again, and refused again", || {
        let stuck = json(&world.proxy.run(&["stuck", "ann", "--json"]));
        (stuck[0]["tries"] == 2).then_some(())
    });
}

#[test]
fn the_audit_log_holds_what_changes_something_and_no_more() {
    let world = World::new().set("admin.audit", "\"audit.log\"").start();
    drop(world.proxy.client());
    assert_eq!(world.proxy.run(&["status"]).status.code(), Some(0));
    assert_eq!(world.proxy.run(&["kick", "ann"]).status.code(), Some(0));
    let path = world.dir.path().join("proxy/audit.log");
    let text = std::fs::read_to_string(&path).expect("the audit log");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, message) in lines.iter().zip(["asked for", "done"]) {
        assert_eq!(line["fields"]["message"], message, "{text}");
        assert_eq!(line["fields"]["command"], "kick");
        assert_eq!(line["fields"]["arguments"], "ann");
        assert_eq!(line["span"]["name"], "admin");
        assert!(line["span"]["uid"].is_u64() && line["timestamp"].is_string(), "{text}");
    }
    // Nobody verified it.
    let _client = world.proxy.client();
    assert_ne!(world.proxy.run(&["phase", "ann", "new"]).status.code(), Some(0));
    assert_eq!(world.proxy.run(&["phase", "ann", "old"]).status.code(), Some(0));
    let text = std::fs::read_to_string(&path).expect("the audit log");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_ann: Vec<&Value> = lines
        .iter()
        .map(|line| &line["fields"])
        .filter(|fields| fields["account"] == "ann@example.com")
        .collect();
    let [kept, changed] = of_ann[..] else { panic!("{text}") };
    let why = kept["message"].as_str().expect("a message");
    assert!(why.starts_with("phase not changed: "), "{text}");
    assert_eq!(changed["message"], "phase changed");
    assert_eq!((&changed["from"], &changed["to"]), (&"merged".into(), &"old".into()), "{text}");
    let mode = std::fs::metadata(&path).expect("the audit log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn help_is_written_for_shells_and_readers() {
    let run = |arguments: &[&str]| {
        std::process::Command::new(lab::MAILFERRY).args(arguments).output().expect("mailferry")
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (text, code) = told(&run(&["completions", shell]));
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("mailferry") && text.contains("status"), "{shell}");
    }
    let dir = lab::process::scratch();
    let (text, code) = told(&run(&["man", &dir.path().display().to_string()]));
    assert_eq!(code, Some(0), "{text}");
    let page = std::fs::read_to_string(dir.path().join("mailferry-status.1")).expect("a page");
    assert!(page.contains("\\-\\-watch"), "{page}");
    assert!(told(&run(&["man"])).0.contains(".TH mailferry 1"));
}

#[test]
fn accounts_that_are_in_a_phase_stay_in_it_though_nobody_can_log_in_for_them() {
    let world = World::new().start();
    let file = world.dir.path().join("waves.csv");
    std::fs::write(&file, "account,wave\nann,first\nbob,first\n").expect("a file");
    let imported = world.proxy.run(&["accounts", "import", &file.display().to_string()]);
    assert_eq!(told(&imported).1, Some(0), "{}", told(&imported).0);
    for _ in 0..2 {
        let (text, code) = told(&world.proxy.run(&["phase", "--wave", "first", "merged"]));
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("bob@example.com: phase merged → merged"), "{text}");
    }
    let (text, code) = told(&world.proxy.run(&["phase", "--wave", "first", "old"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("ann@example.com: NOT in phase old"), "{text}");
    // A name that was mistyped is none of somebody who is merged.
    assert_eq!(told(&world.proxy.run(&["phase", "ana", "merged"])).1, Some(1));
}
