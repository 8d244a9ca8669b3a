//! The commands beside `serve`: what they say of servers and index, and with which exit code.

mod lab;
#[path = "lab/ran.rs"]
mod ran;

use lab::{Dovecot, Servers, World, mails};
use ran::{json, told};
use serde_json::Value;

#[test]
fn check_shows_both_servers_and_how_folders_map() {
    let world = World::new()
        .old(Dovecot::old_style().rawlog())
        .new(Dovecot::new_style().rawlog().master("migrator", "key"))
        .set("new.credentials.mode", "\"master\"")
        .set("new.credentials.user", "\"migrator\"")
        .set("new.credentials.password_file", "\"key\"")
        .file("key", "key\n")
        .file("password", "secret\n")
        .seeded(|old, _| {
            old.seed("INBOX", &mails(0..3));
            old.seed("Sent Items", &mails(3..4));
            old.seed("Entw&APw-rfe 2016", &mails(4..5));
        });
    let password = world.dir.path().join("proxy/password").display().to_string();
    let check = ["check", "--user", "ann@example.com", "--password-file", &password];

    let output = world.proxy.run(&[&check[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", told(&output).0);
    let found = json(&output);
    assert_eq!(found["ok"], true);
    assert_eq!(found["account"], "ann@example.com");
    assert_eq!(found["configuration"]["certificate"]["ok"], true);
    let new = &found["sides"]["new"];
    assert_eq!((&new["reached"], &new["tls"]), (&Value::Bool(true), &Value::Null));
    assert!(new["greeting"].as_str().is_some_and(|g| g.starts_with("lab ")), "{new}");
    assert_eq!(new["login"]["login"], "migrator");
    assert_eq!(new["login"]["on_behalf_of"], "ann@example.com");
    assert_eq!(new["login"]["outcome"], "ok");
    assert_eq!(found["sides"]["old"]["namespaces"][0]["prefix"], "INBOX.");
    let folder = |client: &str| {
        let all = found["folders"].as_array().expect("folders");
        all.iter().find(|f| f["client"] == client).unwrap_or_else(|| panic!("{client} in {all:?}"))
    };
    assert_eq!(folder("INBOX.Sent Items")["new"], "Sent");
    assert_eq!(folder("INBOX.Sent Items")["exists_on_new"], true);
    assert_eq!(folder("INBOX.Entwürfe 2016")["new"], "Entwürfe 2016");
    assert_eq!(folder("INBOX.Entwürfe 2016")["exists_on_new"], false);

    let (text, code) = told(&world.proxy.run(&check));
    assert_eq!(code, Some(0), "{text}");
    for part in
        ["All is well.", "has   UIDPLUS", "+ Entwürfe 2016", "for ann@example.com, with the admin"]
    {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    assert!(!text.contains("secret"), "V9: {text}");

    // Nothing was selected, made, subscribed to or altered.
    for server in [&world.old, &world.new] {
        for line in server.commands_heard().values().flat_map(|said| said.lines()) {
            let mut words = line.split_whitespace().skip(2);
            let word = words.next().unwrap_or_default().to_ascii_uppercase();
            let harmless = ["CAPABILITY", "NAMESPACE", "LIST", "LSUB", "LOGOUT", "IDLE", "NOOP"];
            assert!(harmless.contains(&word.as_str()), "{line}");
        }
    }
}

#[test]
fn check_tries_a_wrong_password_on_one_server_only() {
    let world = World::new().file("password", "wrong\n").start();
    let password = world.dir.path().join("proxy/password").display().to_string();
    let output =
        world.proxy.run(&["check", "--json", "--user", "ann", "--password-file", &password]);
    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    assert_eq!(found["sides"]["old"]["login"]["outcome"], "refused");
    assert_eq!(found["sides"]["new"]["login"]["outcome"], "not-tried");
    assert_eq!(found["folders"], Value::Null);
    let failures = found["failures"].as_array().expect("failures");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0]["side"], "old");
    for part in ["tried", "where", "said", "next"] {
        assert!(failures[0][part].as_str().is_some_and(|s| !s.is_empty()), "{part}: {failures:?}");
    }
}

#[test]
fn check_names_the_server_that_is_away_and_goes_on_with_the_other() {
    let mut world = World::new().start();
    world.old.stop();
    let (text, code) = told(&world.proxy.run(&["check"]));
    assert_eq!(code, Some(1), "{text}");
    let place = format!("imap://127.0.0.1:{}?tls=none", world.old.port);
    for part in [
        "  FAILED: not reached".to_owned(),
        format!("  reaching the server, old server {place}"),
        "    next: is the server running".to_owned(),
        format!("  greeting: lab {}", world.new.port),
    ] {
        assert!(text.lines().any(|line| line.starts_with(&part)), "{part}\nnot in\n{text}");
    }
}

#[test]
fn check_shows_tls_and_refuses_a_certificate_that_is_not_trusted() {
    // Chosen before the proxy is configured: its servers cannot be asked for their ports later.
    let Servers { old, new, dir } =
        World::new().old(Dovecot::old_style().tls()).new(Dovecot::new_style().tls()).servers();
    let place = dir.path().join("check");
    std::fs::create_dir_all(&place).expect("a directory");
    let config = place.join("proxy.toml");
    let text = format!(
        "[old]\nimap = \"imaps://localhost:{}\"\nca = {:?}\n\
         [new]\nimap = \"imap://localhost:{}\"\nca = {:?}\n\
         [auth]\nallow_cleartext = true\n\
         [[listen]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\n",
        old.tls_port,
        old.dir.join("ca.pem"),
        new.port,
        old.dir.join("ca.pem"),
    );
    std::fs::write(&config, text).expect("proxy.toml");
    let mut check = std::process::Command::new(lab::MAILFERRY);
    check.arg("--config").arg(&config).args(["check", "--json"]);
    let output = check.output().expect("mailferry");
    let found = json(&output);
    assert_eq!(found["sides"]["old"]["tls"]["verified_for"], "localhost", "{found}");
    assert_eq!(found["sides"]["old"]["tls"]["version"], "TLS 1.3");
    assert_eq!(found["sides"]["new"]["reached"], false);
    let said = found["failures"][0]["said"].as_str().expect("a failure");
    assert!(said.contains("not trusted"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn index_dump_says_what_to_do_without_an_index_or_beside_a_proxy() {
    let mut world = World::new().start();
    let (text, code) = told(&world.proxy.run(&["index", "dump"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is in use by another process\n  next: stop the proxy"), "{text}");
    world.proxy.stop();
    let (text, code) = told(&world.proxy.run(&["index", "dump", "nobody"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("has no account nobody@example.com"), "{text}");
    std::fs::remove_dir_all(world.dir.path().join("proxy/state")).expect("the state");
    let (text, code) = told(&world.proxy.run(&["index", "dump"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no index in") && text.contains("next: "), "{text}");
}

#[test]
fn index_dump_shows_a_mailbox_as_runs() {
    let mut world = World::new().seeded(|old, _| old.seed("Entw&APw-rfe", &mails(0..20)));
    world.proxy.client().ok("EXAMINE \"INBOX.Entw&APw-rfe\"");
    world.proxy.stop();
    let (text, code) = told(&world.proxy.run(&["index", "dump", "Ann"]));
    assert_eq!(code, Some(0), "{text}");
    for line in ["  mailbox \"INBOX.Entwürfe\" (number 3)", "      uid 1..20  old 1..  new -"] {
        assert!(text.lines().any(|there| there == line), "{line}\nnot in\n{text}");
    }
    let dump = json(&world.proxy.run(&["index", "dump", "--json", "--runs", "0"]));
    let mailboxes = dump["accounts"][0]["mailboxes"].as_array().expect("mailboxes");
    assert!(mailboxes.iter().any(|m| m["messages"]["old"] == 20 && m["runs"] == 1), "{dump}");
    assert!(mailboxes.iter().all(|m| m["first_runs"] == Value::Array(Vec::new())), "{dump}");
}
