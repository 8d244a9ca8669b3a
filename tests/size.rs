//! Big messages and big mailboxes: memory, the index and the old server's work stay small.

mod lab;

use lab::{Dovecot, Mail, World, large};
use serde_json::{Deserializer, Value};

const MIB: u64 = 1 << 20;

#[test]
fn a_message_of_200_mb_passes_in_64_mib_of_memory() {
    let world = World::new().start();
    let message = large(1, 200_000_000);
    let mut client = world.proxy.client();
    let uid = client.append("INBOX", "(\\Seen)", &message).appended().1;
    client.ok("SELECT INBOX");
    let fetched = client.ok(&format!("UID FETCH {uid} (UID RFC822.SIZE BODY.PEEK[])")).fetched();
    assert!(fetched[0].body() == message.as_slice(), "what comes back is what was given");
    let peak = world.proxy.peak_rss();
    assert!(peak < 64 * MIB, "peak memory was {} MiB", peak / MIB);
}

#[test]
fn an_old_message_of_200_mb_is_opened_and_copied_in_64_mib_of_memory() {
    let message = large(2, 200_000_000);
    let world = World::new().seeded(|old, _| old.seed("INBOX", &[Mail::of(message.clone())]));
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let fetched = client.ok("UID FETCH 1 (UID RFC822.SIZE BODY.PEEK[])").fetched();
    assert!(fetched[0].body() == message.as_slice(), "what comes is what lies on old");
    let mut new = world.new.client();
    let there = lab::eventually_holds(&mut new, "INBOX", 1);
    assert!(there[0].octets == message, "the copy is the original");
    let peak = world.proxy.peak_rss();
    assert!(peak < 64 * MIB, "peak memory was {} MiB", peak / MIB);
}

#[test]
fn an_untouched_mailbox_of_100000_messages_is_one_run() {
    let all: Vec<_> = (0..100_000).map(|n| Mail::numbered(n).flags(&[])).collect();
    let world =
        World::new().old(Dovecot::old_style().rawlog()).seeded(|old, _| old.seed("INBOX", &all));
    let mut client = world.proxy.client();
    client.patience = std::time::Duration::from_secs(50);
    let selected = client.ok("SELECT INBOX");
    assert_eq!(selected.count("EXISTS"), Some(100_000));

    // Not one question a message: no FETCH names a set, and none is asked in pieces.
    let heard: Vec<String> = world.old.commands_heard().into_values().collect();
    let lines: Vec<&str> = heard.iter().flat_map(|said| said.lines()).collect();
    let fetches = lines.iter().filter(|l| l.to_ascii_uppercase().contains("FETCH")).count();
    assert!(fetches <= 2, "{fetches} FETCH commands: {lines:#?}");
    assert!(lines.len() < 40, "{} commands: {lines:#?}", lines.len());
    drop(client);

    assert_eq!(index_of_inbox(world)["runs"], 1);
}

#[test]
fn an_index_of_50000_scattered_messages_stays_below_500_kb() {
    // Half of them gone, by a fixed pattern without period.
    let keep = |n: &u32| (n.wrapping_mul(2_654_435_761) >> 13) & 1 == 0;
    let all: Vec<_> =
        (0..100_000).filter(keep).map(|n| Mail::numbered(n).flags(&[]).uid(n + 1)).collect();
    let count = u32::try_from(all.len()).expect("count");
    let world = World::new().seeded(|old, _| old.seed("INBOX", &all));
    let mut client = world.proxy.client();
    client.patience = std::time::Duration::from_secs(50);
    assert_eq!(client.ok("SELECT INBOX").count("EXISTS"), Some(count));
    drop(client);
    let inbox = index_of_inbox(world);
    let octets = inbox["octets"].as_u64().expect("a number");
    assert!(octets < 500_000, "the mailbox takes {octets} octets of the index: {inbox}");
}

/// What `index dump` says of INBOX.
fn index_of_inbox(mut world: World) -> Value {
    world.proxy.stop();
    let output = world.proxy.run(&["index", "dump", "--json"]);
    let json = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{json}{}", String::from_utf8_lossy(&output.stderr));
    let mut dumps = Deserializer::from_str(&json).into_iter::<Value>().map(|v| v.expect("JSON"));
    dumps.find_map(|dump| inbox_in(&dump)).expect("INBOX in the dump")
}

fn inbox_in(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.get("name").is_some_and(|n| n == "INBOX") => Some(value.clone()),
        Value::Object(map) => map.values().find_map(inbox_in),
        Value::Array(all) => all.iter().find_map(inbox_in),
        _ => None,
    }
}
