//! The lab shown to be right against the servers alone: what it seeds is what a client sees there.

mod lab;

use std::time::{Duration, Instant};

use lab::{Courier, Cyrus, Dovecot, Servers, Shape, World, everything, mails};

#[test]
fn seeded_messages_are_served_as_they_were_written() {
    let servers = World::new().servers();
    let mut mails = mails(0..50);
    mails[10].uid = Some(500);
    servers.old.seed("INBOX", &mails);
    servers.new.seed("Work/2016", &mails);
    for (server, folder) in [(&servers.old, "INBOX"), (&servers.new, "Work/2016")] {
        let seen = everything(&mut server.client(), &server.name(folder));
        assert_eq!(seen.len(), 50);
        assert_eq!(
            seen.iter().map(|s| s.uid).take(11).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 500]
        );
        for (seen, mail) in seen.iter().zip(&mails) {
            assert_eq!(seen.octets, mail.octets);
            assert_eq!(seen.flags, mail.flag_set());
        }
        assert_eq!(seen[0].date, "01-Mar-2016 12:00:00 +0000");
    }
}

#[test]
fn a_delivery_wakes_an_idle_client() {
    let servers = World::new().servers();
    let mut client = servers.old.client();
    client.ok("SELECT INBOX");
    client.idle();
    servers.old.deliver("INBOX", &mails(7..8)[0]);
    client.wait_for(|r| r == "* 1 EXISTS");
    client.done();
    let large = lab::large(1, 100_000);
    assert_eq!(client.append("INBOX", "(\\Seen)", &large).appended().1, 2);
    assert_eq!(everything(&mut client, "INBOX")[1].octets, large);
}

#[test]
fn a_server_is_gone_at_once_and_comes_back() {
    let mut servers = World::new().old(Dovecot::old_style().tls().rawlog()).servers();
    let before = Instant::now();
    servers.old.stop();
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(std::net::TcpStream::connect(("127.0.0.1", servers.old.port)).is_err());
    servers.old.start();
    let ca = servers.old.dir.join("ca.pem").display().to_string();
    lab::Dialogue::connect(servers.old.port)
        .starttls(&ca)
        .login("ann@example.com", "secret")
        .ok("NOOP");
    lab::Dialogue::connect_tls(servers.old.tls_port, &ca)
        .login("ann@example.com", "secret")
        .ok("NOOP");
    assert!(servers.old.commands_heard().values().any(|said| said.contains("NOOP")));
}

#[test]
fn a_master_user_logs_in_for_another() {
    let servers = World::new().new(Dovecot::new_style().master("migrator", "key")).servers();
    let mut client = servers.new.client_of("ann@example.com*migrator", "key");
    client.append("INBOX", "", &lab::small(3));
    assert_eq!(everything(&mut servers.new.client(), "INBOX").len(), 1);
}

#[test]
fn a_large_sparse_mailbox_is_seeded_in_seconds() {
    let servers = World::new().servers();
    let sparse: Vec<_> = (0..100_000).map(|n| lab::Mail::numbered(n).uid(2 * n + 1)).collect();
    let before = Instant::now();
    servers.old.seed("INBOX", &sparse);
    let selected = servers.old.client().ok("SELECT INBOX");
    assert_eq!(selected.count("EXISTS"), Some(100_000));
    assert_eq!(selected.number("UIDNEXT"), 200_000);
    assert!(before.elapsed() < Duration::from_secs(40), "{:?}", before.elapsed());
}

#[test]
fn servers_of_other_makes_serve_what_was_appended_and_wake_who_idles() {
    let cyrus = [(true, true), (true, false), (false, true), (false, false)]
        .map(|(alt, unix)| Shape::from(Cyrus::styled(alt, unix).special_use("Sent", "\\Sent")));
    let all = cyrus.into_iter().chain([Courier::plain().into()]);
    for shape in all {
        let mut mails = mails(0..8);
        mails[5].uid = Some(9);
        let Servers { old: mut server, dir: _dir, .. } = World::new().old(shape.clone()).servers();
        server.seed("Work/2016", &mails);
        let mut client = server.client();
        let seen = everything(&mut client, &server.name("Work/2016"));
        assert_eq!(seen.iter().map(|s| s.uid).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 9, 10, 11]);
        for (seen, mail) in seen.iter().zip(&mails) {
            assert_eq!(seen.octets, mail.octets, "{shape:?}");
            assert_eq!(seen.flags, mail.flag_set(), "{shape:?}");
        }
        client.ok("SELECT INBOX");
        client.idle();
        server.deliver("INBOX", &mails[3]);
        client.wait_for(|r| r == "* 1 EXISTS");
        server.stop();
        assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err(), "{shape:?}");
        server.start();
        assert_eq!(server.client().ok("SELECT INBOX").count("EXISTS"), Some(1), "{shape:?}");
    }
}
