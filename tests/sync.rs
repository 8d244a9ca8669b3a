//! `mailferry sync` and `mailferry plan`: with the running proxy and without one.

mod lab;
#[path = "lab/ran.rs"]
mod ran;

use lab::{Dovecot, Mail, World, everything, folder_names, large, mails, sorted};
use ran::json;
use serde_json::Value;

/// Runs `sync --json`: its exit code, how often it told how far it is, and how it ended.
fn sync(world: &World, more: &[&str]) -> (i32, usize, Value) {
    let mut arguments = vec!["sync", "ann@example.com", "--json"];
    arguments.extend(more);
    let ran = world.proxy.run(&arguments);
    let said = String::from_utf8(ran.stdout).expect("text");
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told = lines.iter().filter(|line| line.get("progress").is_some()).count();
    let done = lines.iter().find_map(|line| line.get("done")).cloned();
    (ran.status.code().expect("a code"), told, done.unwrap_or(Value::String(errors)))
}

fn figure(done: &Value, name: &str) -> u64 {
    done["figures"][name].as_u64().unwrap_or_else(|| panic!("{name} of {done}"))
}

fn both_have(world: &World, folder: &str) {
    let on = |server: &lab::Server, folder: &str| {
        let seen = everything(&mut server.client(), &server.name(folder));
        sorted(seen.into_iter().map(lab::Seen::anywhere).collect())
    };
    let on_new = on(&world.new, &folder.replace('.', "/"));
    assert_eq!(on_new, on(&world.old, folder), "V5: {folder}");
}

#[test]
fn v5_an_account_is_moved_without_a_running_proxy() {
    let mut world =
        World::unattended(Dovecot::old_style(), Dovecot::new_style()).seeded(|old, new| {
            old.seed("INBOX", &mails(0..700));
            old.seed("Work.Deep", &mails(700..720));
            old.seed("Large", &[Mail::of(large(9, 6_000_000)), Mail::numbered(800)]);
            new.seed("INBOX", &mails(0..10));
        });
    assert_eq!(world.proxy.stop(), Some(0));
    let (code, _, done) = sync(&world, &[]);
    assert_eq!(code, 0, "{done}");
    assert_eq!((figure(&done, "messages"), figure(&done, "copied")), (722, 722));
    assert_eq!((figure(&done, "carried"), figure(&done, "stuck")), (712, 0));
    for folder in ["INBOX", "Work.Deep", "Large"] {
        both_have(&world, folder);
    }
    // Once more there is nothing to do, and what has come meanwhile is carried.
    let (code, _, done) = sync(&world, &[]);
    assert_eq!((code, figure(&done, "carried")), (0, 0), "{done}");
    world.old.deliver("INBOX", &Mail::numbered(900));
    let (code, _, done) = sync(&world, &[]);
    assert_eq!((code, figure(&done, "carried")), (0, 1), "{done}");
    both_have(&world, "INBOX");
    // The proxy then shows each message once, under old's UIDs.
    world.proxy.restart();
    let seen = everything(&mut world.proxy.client(), "INBOX");
    assert_eq!(seen, everything(&mut world.old.client(), "INBOX"), "V2, V3");
}

#[test]
fn v5_the_running_proxy_moves_an_account_and_tells_how_far_it_is() {
    let world = World::unattended(Dovecot::old_style(), Dovecot::new_style()).seeded(|old, _| {
        old.seed("INBOX", &mails(0..3000));
        old.seed("Work", &mails(3000..3010));
    });
    let (code, told, done) = sync(&world, &["--folder", "INBOX"]);
    assert_eq!((code, figure(&done, "copied")), (0, 3000), "{done}");
    assert!(told > 0, "nothing was told on the way");
    both_have(&world, "INBOX");
    assert!(!folder_names(&mut world.new.client()).contains("Work"), "not asked for");
    let (code, _, done) = sync(&world, &[]);
    assert_eq!((code, figure(&done, "carried")), (0, 10), "what it carried this time: {done}");
    let other = world.proxy.run(&["sync", "nobody@elsewhere.example", "--json"]);
    assert_eq!(other.status.code(), Some(1), "there is no line for it in the table");
    let wrong = world.proxy.run(&["sync", "ann@example.com", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn octets_are_told_of_all_and_remembered_whether_or_not_old_counts_them() {
    let bare = "IMAP4rev1 LITERAL+ UIDPLUS NAMESPACE UNSELECT";
    for old in [Dovecot::old_style(), Dovecot::old_style().capabilities(bare)] {
        let mails: Vec<Mail> =
            (0..40).map(|n| Mail::of(large(n, 1_000 + n as usize * 50))).collect();
        let octets: usize = mails.iter().map(|mail| mail.octets.len()).sum();
        let mut world = World::unattended(old, Dovecot::new_style()).seeded(|old, _| {
            old.seed("INBOX", &mails[..30]);
            old.seed("Work", &mails[30..]);
        });
        let (code, _, done) = sync(&world, &[]);
        assert_eq!(code, 0, "{done}");
        let figures = (figure(&done, "octets"), figure(&done, "octets_copied"));
        assert_eq!(figures, (octets as u64, octets as u64), "{done}");
        // What was counted is not counted again after a restart; what arrives is taken to be like it.
        assert_eq!(world.proxy.stop(), Some(0));
        world.old.deliver("INBOX", &mails[0]);
        world.proxy.restart();
        let status = || json(&world.proxy.run(&["status", "--json"]))["accounts"][0].clone();
        let told = status();
        assert_eq!((&told["octets"], &told["octets_copied"]), (&octets.into(), &octets.into()));
        world.proxy.client().ok("SELECT INBOX");
        let told = lab::eventually("the new one is known of", || {
            Some(status()).filter(|told| told["messages"] == 41)
        });
        let (all, copied) = (told["octets"].as_u64().expect("octets"), &told["octets_copied"]);
        assert_eq!((copied, told["copied"].as_u64()), (&octets.into(), Some(40)), "{told}");
        assert!((500..5_000).contains(&(all - octets as u64)), "{told}");
    }
}

#[test]
fn a_password_is_judged_before_anything_is_moved_with_it() {
    let mut world = World::new()
        .file("right", "secret\n")
        .file("wrong", "guess\n")
        .seeded(|old, _| old.seed("INBOX", &mails(0..20)));
    let file = |name: &str| world.dir.path().join("proxy").join(name).display().to_string();
    let (right, wrong) = (file("right"), file("wrong"));
    // The running proxy takes it as well.
    let (code, _, done) = sync(&world, &["--password-file", &right]);
    assert_eq!((code, figure(&done, "copied")), (0, 20), "{done}");
    assert!(!world.proxy.log().contains("secret"), "V9");
    world.old.deliver("INBOX", &Mail::numbered(20));
    assert_eq!(world.proxy.stop(), Some(0));
    let (code, _, done) = sync(&world, &[]);
    assert_eq!(code, 1, "{done}");
    assert!(done["why"].as_str().expect("why").contains("nobody can log in"), "{done}");
    let before = world.new.log().matches("auth failed").count();
    let (code, _, done) = sync(&world, &["--password-file", &wrong]);
    assert_eq!(code, 1, "{done}");
    assert!(done["why"].as_str().expect("why").contains("not accepted"), "{done}");
    assert_eq!(world.new.log().matches("auth failed").count(), before, "never tried on new");
    let (code, _, done) = sync(&world, &["--password-file", &right]);
    assert_eq!((code, figure(&done, "copied")), (0, 21), "{done}");
    both_have(&world, "INBOX");
}

#[test]
fn a_plan_tells_what_there_is_to_do_and_does_nothing() {
    let new = Dovecot::new_style().capabilities(
        "IMAP4rev1 LITERAL+ UIDPLUS ESEARCH SPECIAL-USE LIST-EXTENDED NAMESPACE UNSELECT \
         MULTIAPPEND CONDSTORE APPENDLIMIT=100000",
    );
    let mut world = World::unattended(Dovecot::old_style(), new).seeded(|old, new| {
        old.seed("INBOX", &mails(0..50));
        old.seed("Work.Deep", &[Mail::numbered(60), Mail::of(large(61, 200_000))]);
        new.seed("INBOX", &mails(0..10));
    });
    let folders = folder_names(&mut world.new.client());
    let plan = |world: &World| {
        let ran = world.proxy.run(&["plan", "ann@example.com", "--json"]);
        (ran.status.code(), json(&ran)[0].clone())
    };
    let (code, planned) = plan(&world);
    assert_eq!(code, Some(1), "something stands against it: {planned}");
    assert_eq!((planned["messages"].as_u64(), planned["to_go"].as_u64()), (Some(52), Some(51)));
    assert_eq!(planned["append_limit"].as_u64(), Some(100_000));
    let hindrances = planned["hindrances"].to_string();
    assert!(hindrances.contains("1 messages are beyond new's limit"), "{hindrances}");
    let inbox = &planned["folders"][0];
    assert_eq!((inbox["name"].as_str(), inbox["to_match"].as_u64()), (Some("INBOX"), Some(10)));
    let deep = planned["folders"].as_array().expect("folders").iter().find(|f| f["too_large"] == 1);
    let deep = deep.expect("the folder with the large message");
    assert_eq!(
        (deep["name"].as_str(), deep["new"].as_str()),
        (Some("INBOX.Work.Deep"), Some("Work/Deep"))
    );
    assert_eq!(deep["is_made"].as_bool(), Some(true));
    assert_eq!(folder_names(&mut world.new.client()), folders, "nothing was made");
    // The same without a running proxy, and for people.
    assert_eq!(world.proxy.stop(), Some(0));
    let state = world.dir.path().join("proxy/state");
    assert_eq!(plan(&world).1, planned);
    std::fs::remove_dir_all(&state).expect("the state");
    assert_eq!(plan(&world).1, planned);
    assert!(!state.exists(), "what only looks leaves nothing behind");
    let told = world.proxy.run(&["plan", "ann@example.com"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("INBOX.Work.Deep → Work/Deep (is made): 1 of 2 messages to go"),
        "{told}"
    );
}
