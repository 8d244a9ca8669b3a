//! TLS between the proxy and a server that ends where nobody expects it: by a fatal alert, a premature good-bye, a cut
//! line, or octets that are no TLS. No message is shown short, the session and the other side go on (V7), and what
//! is copied is copied once (V5).

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lab::{
    Dialogue, Dovecot, End, Mail, Proxy, Relay, Servers, TlsWire, Way, World, eventually_holds,
    everything, has, large, mails, sorted, view,
};
use mailferry::base::{Side, Sides};

const ENDS: [End; 4] = [End::Alert, End::CloseNotify, End::Cut, End::Garbage];

/// Old has 1 to 13 of INBOX, and new the rest; the last of each is large.
fn world(copying: bool) -> (World, Sides<TlsWire>) {
    let Servers { old, new, dir } =
        World::new().old(Dovecot::old_style()).new(Dovecot::new_style()).servers();
    let some = |from: u32| {
        let mut all = mails(from..from + 12);
        all.push(Mail::of(large(from + 12, 400_000)));
        all
    };
    old.seed("INBOX", &some(0));
    new.seed("INBOX", &some(100));
    let place = dir.path().join("proxy");
    let certificates = dir.path().join("certificates");
    std::fs::create_dir_all(&certificates).expect("a directory");
    lab::tls::certificates(&certificates);
    let wires = Sides { old: old.port, new: new.port };
    let wires = wires.as_ref().map(|_, port| TlsWire::start(*port, &certificates));
    let ca = format!("{:?}", certificates.join("ca.pem"));
    let url = |side: Side| format!("\"imaps://localhost:{}\"", wires[side].port);
    let settings = [
        ("old.imap", url(Side::Old)),
        ("new.imap", url(Side::New)),
        ("old.ca", ca.clone()),
        ("new.ca", ca),
        ("copy.on_access", copying.to_string()),
        ("limits.backend_pause", "\"500ms\"".to_owned()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
    let account = ("ann@example.com".to_owned(), "secret".to_owned());
    let proxy = Proxy::start(&place, old.port, new.port, &settings, &account);
    let (old_wire, new_wire) = (Relay::start(old.port), Relay::start(new.port));
    (World { proxy, old_wire, new_wire, old, new, dir }, wires)
}

/// TLS ends once, at the first chunk that has this sign, after that part of it. Counts.
fn ends_at(
    wire: &TlsWire,
    way: Way,
    sign: &'static str,
    end: End,
    part: fn(usize) -> usize,
) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    wire.rule(move |w, chunk| {
        let it = w == way && has(chunk, sign) && counted.fetch_add(1, Ordering::Relaxed) == 0;
        it.then(|| (part(chunk.len()), end))
    });
    count
}

fn selected(world: &World) -> Dialogue {
    let mut client = world.proxy.client();
    // Whoever has just been cut off may have to wait for the pause after it.
    assert_eq!(eventually_selected(&mut client), 26);
    client
}

fn eventually_selected(client: &mut Dialogue) -> u32 {
    lab::eventually("INBOX is selected", || {
        let reply = client.cmd("SELECT INBOX");
        (reply.status == "OK").then(|| reply.count("EXISTS").expect("EXISTS"))
    })
}

#[test]
fn v7_tls_that_ends_within_a_message_shows_none_short_and_hides_none() {
    let (world, wires) = world(false);
    let all = [
        (Side::Old, 13, large(12, 400_000), "14:25"),
        (Side::New, 26, large(112, 400_000), "1:12"),
    ];
    for (side, large_one, whole, others) in all {
        for end in ENDS {
            let mut client = selected(&world);
            let ended =
                ends_at(&wires[side], Way::ToProxy, "000000002000", end, |octets| octets / 2);
            client.send(&format!("x FETCH {large_one} (UID BODY.PEEK[])"));
            let mut heard = Vec::new();
            let gone = loop {
                match client.next_within(Duration::from_secs(20)) {
                    Ok(Some(response)) if response.starts_with(b"x ") => break false,
                    Ok(Some(response)) => heard.extend(lab::reply::fetched(&response)),
                    Ok(None) => panic!("{side} {end:?}: the session hangs"),
                    Err(()) => break true,
                }
            };
            assert_eq!(ended.load(Ordering::Relaxed), 1, "{side} {end:?}: it has ended");
            assert!(heard.iter().all(|m| m.body() == whole), "{side} {end:?}: a short message");
            if gone {
                client = selected(&world);
            }
            let read = client.ok(&format!("FETCH {others} (UID BODY.PEEK[])")).fetched();
            assert_eq!(read.len(), 12, "V7: {side} {end:?}");
            let again = lab::eventually("it is read", || {
                let reply = client.cmd(&format!("FETCH {large_one} (UID BODY.PEEK[])"));
                (reply.status == "OK").then(|| reply.fetched())
            });
            assert!(again[0].body() == whole, "{side} {end:?}: it is whole");
        }
    }
}

#[test]
fn v7_tls_that_ends_between_two_answers_is_a_pause_for_the_client() {
    let (world, wires) = world(false);
    let mut client = selected(&world);
    for side in Side::BOTH {
        for end in ENDS {
            let commands = [("FETCH 1:* (UID FLAGS)", "FETCH"), ("UID SEARCH UNDELETED", "SEARCH")];
            for (command, sign) in commands {
                for way in [Way::ToServer, Way::ToProxy] {
                    let ended = ends_at(&wires[side], way, sign, end, |_| 0);
                    let reply = client.cmd(command);
                    let what = format!("{side} {end:?} {command} {way:?}: {reply:?}");
                    assert!(ended.load(Ordering::Relaxed) > 0, "{what}");
                    assert_eq!(reply.status, "OK", "{what}");
                }
            }
            wires[side].rule(|_, _| None);
        }
    }
    assert_eq!(client.ok("FETCH 1:* (UID FLAGS)").fetched().len(), 26);
}

#[test]
fn v5_tls_that_ends_within_a_copy_leaves_it_once() {
    let (world, wires) = world(true);
    let steps = [
        (Side::Old, Way::ToProxy, "000000002000"),
        (Side::New, Way::ToServer, "APPEND"),
        (Side::New, Way::ToServer, "000000002000"),
        (Side::New, Way::ToProxy, "APPENDUID"),
    ];
    let mut n = 200;
    for end in ENDS {
        for (side, way, sign) in steps {
            world.old.deliver("INBOX", &Mail::of(large(n, 400_000)));
            n += 1;
            let count = ends_at(&wires[side], way, sign, end, |octets| octets / 2);
            let mut client = world.proxy.client();
            eventually_selected(&mut client);
            // After some failures the pauses are long.
            assert_eq!(world.proxy.run(&["retry"]).status.code(), Some(0));
            // The answer, if there is any, is of no concern here.
            drop(client.cmd_unless_gone(b"FETCH 1:* (UID BODY.PEEK[])"));
            lab::eventually("it has ended", || (count.load(Ordering::Relaxed) > 0).then_some(()));
        }
    }
    for wire in [&wires.old, &wires.new] {
        wire.rule(|_, _| None);
    }
    assert_eq!(world.proxy.run(&["retry"]).status.code(), Some(0));
    let count = 26 + (n - 200) as usize;
    let mut new = world.new.client();
    lab::eventually("all is copied", || {
        let mut client = world.proxy.client();
        eventually_selected(&mut client);
        client.ok("FETCH 1:* (UID BODY.PEEK[])");
        (everything(&mut new, "INBOX").len() >= count).then_some(())
    });
    // Longer than the grace in which a late copy is looked for.
    std::thread::sleep(Duration::from_secs(3));
    let there = eventually_holds(&mut new, "INBOX", count);
    assert!(view::copies(&there).values().all(|n| *n == 1), "none twice");
    let octets = |seen: Vec<lab::Seen>| -> Vec<Vec<u8>> {
        sorted(seen).into_iter().map(|seen| seen.octets).collect()
    };
    let shown = everything(&mut world.proxy.client(), "INBOX");
    assert!(octets(shown) == octets(there), "V3");
}
