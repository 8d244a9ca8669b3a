//! `verify`: what it finds, what it lets be, and how it reports.

mod lab;
#[path = "lab/ran.rs"]
mod ran;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lab::{Courier, Cyrus, Dialogue, World, eventually, mails, small};
use ran::{json, told};
use serde_json::Value;

/// A client straight at one of the servers.
fn direct(server: &lab::Server) -> Dialogue {
    Dialogue::connect(server.port).login("ann@example.com", "secret")
}

/// Opens every message through the proxy, and waits until all are on new.
fn carry_all(world: &World, mailbox: &str, new_name: &str, count: u64) {
    let mut client = world.proxy.client();
    client.ok(&format!("SELECT {}", lab::quoted(mailbox)));
    client.ok("FETCH 1:* BODY.PEEK[]");
    let mut new = direct(&world.new);
    eventually("all is on new", || {
        let status = new.cmd(&format!("STATUS {} (MESSAGES)", lab::quoted(new_name)));
        (status.statuses().get(new_name)?.get("MESSAGES") == Some(&count)).then_some(())
    });
    client.ok("LOGOUT");
}

/// The file of a message of new's INBOX.
fn file_of(server: &lab::Server, uid: u32) -> PathBuf {
    let dir = server.maildir("ann@example.com", "INBOX");
    let list = std::fs::read_to_string(dir.join("dovecot-uidlist")).expect("the list of UIDs");
    let line = list.lines().find(|line| line.split(' ').next() == Some(&uid.to_string()));
    let name = line.and_then(|line| line.split_once(" :")).expect("a name").1;
    let base = name.split(':').next().expect("a name");
    let there = ["cur", "new"]
        .into_iter()
        .flat_map(|part| std::fs::read_dir(dir.join(part)).expect("a directory"));
    let mut paths = there.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.to_string_lossy().contains(base)).expect("the file of the message")
}

fn mtime(path: &Path) -> SystemTime {
    std::fs::metadata(path).expect("a file").modified().expect("its time")
}

fn kinds(found: &Value) -> Vec<(String, u64)> {
    let all = found["differences"].as_array().expect("differences");
    let mut all: Vec<_> = all
        .iter()
        .map(|d| {
            let uid = d["uid"].as_u64().or(d["old_uid"].as_u64()).expect("a UID");
            (d["kind"].as_str().expect("a kind").to_owned(), uid)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn verify_names_what_was_changed_behind_the_proxys_back_and_nothing_else() {
    let world = World::new().seeded(|old, _| {
        old.seed("INBOX", &mails(0..8));
        old.seed("Work", &mails(8..10));
    });
    carry_all(&world, "INBOX", "INBOX", 8);
    carry_all(&world, "INBOX.Work", "Work", 2);
    let mut client = world.proxy.client();
    // What users do through the proxy is right: removed, new on new, moved.
    client.ok("SELECT INBOX");
    client.ok("UID STORE 8 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.append("INBOX", "", b"Subject: saved\r\n\r\nsaved\r\n");
    client.ok("UID MOVE 7 INBOX.Work");
    client.ok("UID STORE 6 +FLAGS (\\Flagged)");

    let clean = world.proxy.run(&["verify", "ann", "--json", "--deep"]);
    let found = json(&clean);
    assert_eq!(kinds(&found), [], "{found}");
    assert_eq!(clean.status.code(), Some(0));
    assert_eq!(found["result"]["clean"][0], "ann@example.com");
    let inbox = &found["mailboxes"].as_array().expect("mailboxes")[0];
    assert_eq!(inbox["mailbox"], "INBOX", "{found}");
    assert_eq!(
        (&inbox["compared"], &inbox["only_new"], &inbox["removed"]),
        (&6.into(), &1.into(), &2.into())
    );

    // On new, past the proxy: one deleted, one altered, one flag, one date.
    let mut new = direct(&world.new);
    new.ok("SELECT INBOX");
    let all = new.ok("UID SEARCH ALL").found();
    let uid = |n: usize| all[n];
    new.ok(&format!("UID STORE {} +FLAGS (\\Deleted)", uid(0)));
    new.ok("EXPUNGE");
    new.ok(&format!("UID STORE {} +FLAGS (\\Flagged)", uid(2)));
    new.ok("LOGOUT");
    // Same size, same flags, other words; and the same words of another day.
    let altered = file_of(&world.new, uid(1));
    let text = std::fs::read(&altered).expect("a message");
    let text = String::from_utf8(text).expect("text").replace("Message-ID", "Massage-ID");
    let (modified, file) = (mtime(&altered), std::fs::File::options().write(true).open(&altered));
    std::io::Write::write_all(&mut file.as_ref().expect("a file"), text.as_bytes())
        .expect("a write");
    file.expect("a file").set_modified(modified).expect("its time");
    let redated = file_of(&world.new, uid(3));
    let day = Duration::from_secs(86_400);
    let file = std::fs::File::options().write(true).open(&redated).expect("a file");
    file.set_modified(mtime(&redated) - day).expect("its time");
    std::fs::remove_file(world.new.maildir("ann@example.com", "INBOX").join("dovecot.index.cache"))
        .expect("what the server remembers of dates");
    client.ok("NOOP");

    let output = world.proxy.run(&["verify", "Ann", "--json", "--deep"]);
    let found = json(&output);
    let expected = [("date", 4), ("different", 2), ("flags", 3), ("missing", 1)];
    assert_eq!(kinds(&found), expected.map(|(kind, uid)| (kind.to_owned(), uid)), "{found}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(found["result"]["differing"][0], "ann@example.com");
}

#[test]
fn verify_names_the_same_where_courier_is_old_and_cyrus_is_new() {
    let world = World::new()
        .old(Courier::plain())
        .new(Cyrus::styled(true, true))
        .seeded(|old, _| old.seed("INBOX", &mails(0..6)));
    carry_all(&world, "INBOX", "INBOX", 6);
    let verify = || {
        let ran = world.proxy.run(&["verify", "ann", "--json", "--deep"]);
        (kinds(&json(&ran)), ran.status.code())
    };
    assert_eq!(verify(), (vec![], Some(0)));
    // Past the proxy, one each: deleted on new, altered there, a flag there, a date on old.
    let mut new = direct(&world.new);
    new.ok("SELECT INBOX");
    new.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    new.ok("STORE 3 +FLAGS.SILENT (project)");
    new.ok("EXPUNGE");
    new.ok("LOGOUT");
    let altered = world.new.file_of(&small(1));
    let text = std::fs::read(&altered).expect("a message");
    let text = String::from_utf8(text).expect("text").replace("Message-ID", "Massage-ID");
    let file = std::fs::File::options().write(true).open(&altered);
    std::io::Write::write_all(&mut file.expect("a file"), text.as_bytes()).expect("a write");
    let redated = world.old.file_of(&small(3));
    let file = std::fs::File::options().write(true).open(&redated).expect("a file");
    file.set_modified(mtime(&redated) - Duration::from_secs(86_400)).expect("its time");
    let expected = [("date", 4), ("different", 2), ("flags", 3), ("missing", 1)];
    let expected = expected.map(|(kind, uid)| (kind.to_owned(), uid)).to_vec();
    assert_eq!(verify(), (expected, Some(1)));
}

#[test]
fn verify_reports_as_csv_json_and_a_page_of_its_own() {
    let world = World::new().seeded(|old, _| {
        let odd =
            b"From: a@b\r\nMessage-ID: <odd@b>\r\nSubject: =?utf-8?q?<b>K=C3=A4se?=\r\n\r\nx\r\n";
        old.seed("INBOX", &[lab::Mail::of(odd.to_vec()), lab::Mail::numbered(2)]);
    });
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let dir = world.dir.path();
    let report = |name: &str| {
        let path = dir.join(name);
        let output = world.proxy.run(&["verify", "ann", "--report", &path.display().to_string()]);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output).0);
        (told(&output).0, std::fs::read_to_string(path).expect("the report"))
    };
    let (text, csv) = report("report.csv");
    assert!(text.contains("INBOX: missing: uid 1 old 1  <odd@b>"), "{text}");
    assert!(text.contains("DIFF ann@example.com INBOX: 2 on old, 0 on new"), "{text}");
    assert!(text.contains("ann@example.com: NOT verified, there are differences"), "{text}");
    let mut rows = csv.lines();
    let columns = "account,mailbox,kind,ignored,uid,old_uid,new_uid,message_id,date,subject,detail";
    assert_eq!(rows.next(), Some(columns));
    let row = rows.next().expect("a row");
    assert!(row.starts_with("ann@example.com,INBOX,missing,false,1,1,,<odd@b>,"), "{row}");
    assert!(row.ends_with(",<b>Käse,not copied yet"), "{row}");
    assert_eq!(rows.count(), 1);
    let found: Value = serde_json::from_str(&report("report.json").1).expect("JSON");
    assert_eq!(found["differences"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["mailboxes"][0]["missing"], 2);
    assert_eq!(found["result"]["is_clean"], false);
    let page = report("report.html").1;
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(page.contains("<td>&lt;b&gt;Käse<td>&lt;odd@b&gt;<td>not copied yet"), "{page}");
    assert!(page.contains("@media print") && !page.contains("http"), "it needs nothing else");
    let (text, code) = told(&world.proxy.run(&["verify", "ann", "--report", "report.doc"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("end in .csv, .json or .html"), "{text}");
}

#[test]
fn verify_needs_no_running_proxy_and_says_where_nobody_can_log_in() {
    let mut world =
        World::new().file("password", "secret\n").seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    carry_all(&world, "INBOX", "INBOX", 3);
    world.proxy.stop();
    let (text, code) = told(&world.proxy.run(&["verify", "ann"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NOT verified: nobody can log in for ann@example.com now"), "{text}");
    let password = world.dir.path().join("proxy/password").display().to_string();
    let report = world.dir.path().join("clean.csv");
    let path = report.display().to_string();
    let verify = ["verify", "ann", "--password-file", &password, "--report", &path];
    let (text, code) = told(&world.proxy.run(&verify));
    assert_eq!(code, Some(0), "{text}");
    let rows = std::fs::read_to_string(report).expect("the report");
    assert!(rows.starts_with("account,mailbox,kind,") && rows.lines().count() == 1, "{rows}");
    assert!(text.contains("ok   ann@example.com INBOX: 3 on old, 3 on new, 3 compared"), "{text}");
    assert!(!text.contains("secret"), "V9: {text}");
    std::fs::write(&password, "wrong\n").expect("a file");
    let (text, code) = told(&world.proxy.run(&["verify", "ann", "--password-file", &password]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NOT verified: logging in for ann@example.com: "), "{text}");
}
