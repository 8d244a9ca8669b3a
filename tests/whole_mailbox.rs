//! A fresh client pulls everything through the proxy: it gets the union of both sides, byte for byte, and
//! what it opened lies on new exactly once (V3, V5).

mod lab;

use lab::tools::Mbsync;
use lab::{Dovecot, Mail, World, eventually_holds, everything, large, mails, sorted, view};

#[test]
fn v3_v5_a_fresh_client_gets_the_union_and_new_holds_each_message_once() {
    let world = World::new().old(Dovecot::old_style().special_use("Sent Items", "\\Sent")).seeded(
        |old, new| {
            let mut inbox = mails(0..60);
            inbox.push(Mail::of(large(60, 700_000)).flags(&["\\Seen", "$Forwarded"]));
            inbox.push(Mail::of(large(61, 3_000_000)));
            old.seed("INBOX", &inbox);
            old.seed("Work/2016", &mails(100..120));
            old.seed("Sent Items", &mails(200..210));
            new.seed("INBOX", &mails(300..304));
            new.seed("Sent", &mails(400..402));
            new.seed("Only New", &mails(500..503));
        },
    );
    let pairs = [
        ("INBOX", "INBOX", 66),
        ("Work/2016", "Work/2016", 20),
        ("Sent Items", "Sent", 12),
        ("Only New", "Only New", 3),
    ];
    let mut union = Vec::new();
    for (on_old, on_new, _) in pairs {
        let mut all = Vec::new();
        if on_old != "Only New" {
            all.extend(everything(&mut world.old.client(), &world.old.name(on_old)));
        }
        if on_new != "Work/2016" {
            all.extend(everything(&mut world.new.client(), on_new));
        }
        union.push(sorted(all));
    }

    let mbsync = Mbsync::new(&world.dir.path().join("mbsync"));
    mbsync.sync(world.proxy.port, "ann@example.com", "secret").content();
    let pulled = mbsync.messages();
    for ((folder, _, count), union) in pairs.iter().zip(&union) {
        let mut here = pulled.get(*folder).unwrap_or_else(|| panic!("no {folder}")).clone();
        here.sort();
        let there: Vec<_> = union.iter().map(|m| m.octets.clone()).collect();
        assert_eq!(here.len(), *count, "{folder}");
        assert!(here == there, "{folder} is the union, byte for byte");
    }

    let mut new = world.new.client();
    for ((folder, on_new, count), union) in pairs.iter().zip(&union) {
        let there = eventually_holds(&mut new, on_new, *count);
        assert!(view::copies(&there).values().all(|n| *n == 1), "{folder}: none twice");
        assert_eq!(sorted(there), *union, "{folder} on new, with flags, keywords and dates");
        let shown = everything(&mut world.proxy.client(), &world.old.name(folder));
        assert_eq!(sorted(shown), *union, "{folder} through the proxy afterwards");
    }
}
