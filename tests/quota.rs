//! QUOTA: how much room there is on new, in the client's names.

mod lab;

use lab::{Dovecot, World, large, mails};

/// A server that counts 1 MiB and 100 messages.
fn counting(shape: Dovecot) -> Dovecot {
    shape
        .setting("mail_plugins = $mail_plugins quota")
        .setting("protocol imap {\n  mail_plugins = $mail_plugins imap_quota\n}")
        .setting(
            "plugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=1M:messages=100\n}",
        )
}

#[test]
fn quota_is_that_of_new() {
    let world = World::new().new(counting(Dovecot::new_style())).seeded(|old, new| {
        old.seed("Old Only", &mails(0..3));
        new.seed("New Only", &mails(0..3));
    });
    world.proxy.client().ok("LIST \"\" *");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(capability.contains(" QUOTA "), "{capability}");

    let direct = world.new.client().ok("GETQUOTAROOT INBOX").lines();
    assert!(direct.len() == 2 && direct[1].contains("STORAGE"), "{direct:?}");
    for name in ["INBOX", "\"INBOX.Old Only\"", "\"INBOX.New Only\""] {
        let told = client.ok(&format!("GETQUOTAROOT {name}")).lines();
        assert_eq!(told[0], format!("* QUOTAROOT {name} \"User quota\""));
        assert_eq!(told[1], direct[1]);
    }
    assert_eq!(client.ok("GETQUOTA \"User quota\"").lines(), direct[1..]);
    client.no("GETQUOTA nobody");
    client.no("GETQUOTAROOT INBOX.Nowhere");
    assert_eq!(
        client.no("SETQUOTA \"User quota\" (STORAGE 9999)").code("NOPERM").as_deref(),
        Some("")
    );
    let full = client.literal("APPEND INBOX ", &large(1, 2_000_000), "");
    assert_eq!(
        (full.status.as_str(), full.code("OVERQUOTA").as_deref()),
        ("NO", Some("")),
        "{full:?}"
    );
}

#[test]
fn v10_no_quota_is_offered_where_new_has_none() {
    let world = World::new().old(counting(Dovecot::old_style())).start();
    world.proxy.client().ok("LIST \"\" *");
    let mut client = world.proxy.client();
    let capability = client.ok("CAPABILITY").lines().concat();
    assert!(!capability.contains("QUOTA"), "{capability}");
    client.bad("GETQUOTAROOT INBOX");
}
