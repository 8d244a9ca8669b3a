//! Real servers on both sides, each a Postfix that delivers into its Dovecot by LMTP, and real clients.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::lab::process::scratch;
use super::lab::tools::{Said, run};
use super::lab::{Builder, Dovecot, Postfix, Services, Talk, World, eventually, tls};

/// Two Postfix with their Dovecots, and the proxy.
pub(super) struct Real {
    pub world: World,
    pub old: Postfix,
    pub new: Postfix,
    dir: TempDir,
}

/// What each Postfix delivers: ann is on both, and a list is on one of them.
const ON_OLD: [&str; 3] = ["ann@example.com", "bob@example.com", "list-onold@example.com"];
const ON_NEW: [&str; 3] = ["ann@example.com", "bob@example.com", "list-onnew@example.com"];

impl Real {
    pub fn start(settings: &[(&str, &str)], more: impl Fn(Builder) -> Builder) -> Real {
        let dir = scratch();
        tls::certificates(dir.path());
        let d = dir.path().display().to_string();
        let with_tls = format!(
            "smtpd_tls_cert_file = {d}/cert.pem\nsmtpd_tls_key_file = {d}/key.pem\nsmtpd_tls_security_level = may\n"
        );
        let services = (Services::free(), Services::free());
        let old = Postfix::start(&dir.path().join("old"), services.0, &ON_OLD, "");
        let new = Postfix::start(&dir.path().join("new"), services.1, &ON_NEW, &with_tls);
        let plain = |scheme: &str, port: u16| format!("\"{scheme}://127.0.0.1:{port}?tls=none\"");
        let mut builder = World::new()
            .old(Dovecot::old_style().behind_postfix(services.0))
            .new(Dovecot::new_style().behind_postfix(services.1))
            .account("ann@example.com", "secret")
            .account("bob@example.com", "secret")
            .account("list-onold@example.com", "secret")
            .account("list-onnew@example.com", "secret")
            .set("accounts.domains", "[\"example.com\"]")
            .set("smtp.hostname", "\"proxy.example\"")
            .set("old.inbound", &plain("smtp", old.port))
            .set("old.submission", &plain("submission", old.submission))
            .set("new.inbound", &format!("\"smtp://localhost:{}\"", new.port))
            .set("new.submission", &plain("submission", new.submission))
            .set("new.ca", &format!("{:?}", dir.path().join("ca.pem")));
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        Real { world: more(builder).start(), old, new, dir }
    }

    /// How many messages with this subject an account has in its INBOX, through the proxy.
    pub fn count(&self, user: &str, subject: &str) -> usize {
        let mut client = self.world.proxy.client_of(user, "secret");
        client.ok("EXAMINE INBOX");
        client.ok(&format!("UID SEARCH SUBJECT \"{subject}\"")).found().len()
    }

    #[track_caller]
    pub fn arrives(&self, user: &str, subject: &str) {
        eventually(&format!("{subject} arrives for {user}"), || {
            (self.count(user, subject) > 0).then_some(())
        });
        assert_eq!(self.count(user, subject), 1);
    }
}

/// A Python program that does what smtplib has for it.
fn smtplib(program: &str) -> Said {
    run(Command::new("python3").args(["-c", program]))
}

#[test]
fn the_world_delivers_by_real_clients_and_all_of_it_is_in_the_merged_inbox() {
    let real = Real::start(&[], |builder| builder);
    let port = real.world.proxy.mail.smtp;
    let mut idle = real.world.proxy.client();
    assert_eq!(idle.ok("SELECT INBOX").count("EXISTS"), Some(0));

    let swaks = run(Command::new("swaks").args([
        "--server",
        &format!("127.0.0.1:{port}"),
        "--from",
        "x@elsewhere.example",
        "--to",
        "ann@example.com",
        "--header",
        "Subject: by swaks",
        "--pipeline",
    ]));
    assert!(swaks.success, "{}", swaks.text);
    real.arrives("ann@example.com", "by swaks");

    let text = real.dir.path().join("mail");
    fs::write(&text, "Subject: by curl\r\n\r\n.dots\r\n..more\r\n").expect("mail");
    let curl = run(Command::new("curl").args([
        "-sS",
        "--url",
        &format!("smtp://127.0.0.1:{port}/elsewhere.example"),
        "--mail-from",
        "",
        "--mail-rcpt",
        "ann+tag@example.com",
        "-T",
        &text.display().to_string(),
    ]));
    assert!(curl.success, "{}", curl.text);
    real.arrives("ann@example.com", "by curl");

    let python = smtplib(&format!(
        "import smtplib\ns = smtplib.SMTP('127.0.0.1', {port})\n\
         r = s.sendmail('x@elsewhere.example', ['ann@example.com', 'list-onnew@example.com', 'list-onold@example.com'],\n\
         'Subject: by smtplib\\r\\n\\r\\nh\\xc3\\xa9llo\\r\\n'.encode('latin-1'), mail_options=['BODY=8BITMIME'])\n\
         assert {{k: v[0] for k, v in r.items()}} == {{'list-onold@example.com': 452}}, r\n\
         assert s.sendmail('x@elsewhere.example', ['list-onold@example.com'], 'Subject: by smtplib\\r\\n\\r\\nx') == {{}}\n"
    ));
    assert!(python.success, "{}", python.text);
    for user in ["ann@example.com", "list-onnew@example.com", "list-onold@example.com"] {
        real.arrives(user, "by smtplib");
    }
    // Delivered past the proxy, to old.
    let mut talk = Talk::connect(real.old.port);
    talk.expect("EHLO elsewhere.example", "250");
    assert!(talk.mail("", &["ann@example.com"], "Subject: to old\r\n\r\nx").starts_with("250"));
    real.arrives("ann@example.com", "to old");
    eventually("the idle client hears of all four", || {
        idle.ok("NOOP");
        (idle.ok("SEARCH ALL").found().len() == 4).then_some(())
    });
    assert_eq!((real.old.accepted(), real.new.accepted()), (2, 3));
}

#[test]
fn users_send_by_real_clients() {
    let real = Real::start(&[], |builder| builder);
    let (mail, ca) = (real.world.proxy.mail, real.world.proxy.ca());
    let dir = real.dir.path();

    let swaks = run(Command::new("swaks").args([
        "--server",
        &format!("localhost:{}", mail.submission),
        "--from",
        "ann@example.com",
        "--to",
        "bob@example.com",
        "--header",
        "Subject: by swaks",
        "--tls",
        "--auth",
        "LOGIN",
        "--auth-user",
        "ann@example.com",
        "--auth-password",
        "secret",
    ]));
    assert!(swaks.success, "{}", swaks.text);
    real.arrives("bob@example.com", "by swaks");

    let text = dir.join("mail");
    fs::write(&text, "Subject: by curl\r\n\r\nx\r\n").expect("mail");
    let curl = run(Command::new("curl").args([
        "-sS",
        "--ssl-reqd",
        "--cacert",
        &ca,
        "--url",
        &format!("smtp://localhost:{}", mail.submission),
        "--user",
        "ann@example.com:secret",
        "--mail-from",
        "ann@example.com",
        "--mail-rcpt",
        "bob@example.com",
        "-T",
        &text.display().to_string(),
    ]));
    assert!(curl.success, "{}", curl.text);
    real.arrives("bob@example.com", "by curl");

    let python = smtplib(&format!(
        "import smtplib, ssl\nc = ssl.create_default_context(cafile={ca:?})\n\
         s = smtplib.SMTP_SSL('localhost', {}, context=c)\ns.login('ann@example.com', 'secret')\n\
         assert s.sendmail('ann@example.com', ['bob@example.com'], 'Subject: by smtplib\\r\\n\\r\\nx') == {{}}\n\
         try:\n    s.sendmail('ann@example.com', ['nobody@example.com'], 'x')\n    assert False\n\
         except smtplib.SMTPRecipientsRefused as e:\n    assert e.recipients['nobody@example.com'][0] == 550, e\n",
        mail.submissions
    ));
    assert!(python.success, "{}", python.text);
    real.arrives("bob@example.com", "by smtplib");

    let settings = format!(
        "account default\nhost localhost\nport {}\nfrom ann@example.com\nauth plain\nuser ann@example.com\n\
         password secret\ntls on\ntls_starttls on\ntls_trust_file {ca}\n",
        mail.submission
    );
    let file = dir.join("msmtprc");
    fs::write(&file, settings).expect("msmtprc");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
    let script = format!(
        "printf 'Subject: by msmtp\\n\\nx\\n' | msmtp -C {} bob@example.com",
        file.display()
    );
    let msmtp = run(Command::new("sh").args(["-c", &script]));
    assert!(msmtp.success, "{}", msmtp.text);
    real.arrives("bob@example.com", "by msmtp");
    // Postfix has let ann in as herself.
    assert!(real.new.log().matches("sasl_username=ann@example.com").count() >= 4);
}

#[test]
fn nothing_is_smuggled_into_postfix() {
    let settings = [("smtp.bare_newlines", "\"normalize\""), ("smtp.unknown", "\"old\"")];
    let refusing = Real::start(&[settings[1]], |builder| builder);
    let normalizing = Real::start(&settings, |builder| builder);
    let second = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: second\r\n\r\nx";
    let sequences = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n.\r\r\n",
        "\n\n.\r\r\n",
    ];
    for (real, expected) in [(&refusing, "550 5.6.0"), (&normalizing, "250")] {
        for (n, sequence) in sequences.iter().enumerate() {
            let octets = format!("Subject: first {n}\r\n\r\nx{sequence}{second}\r\n.\r\n");
            let mut talk = Talk::connect(real.world.proxy.mail.smtp);
            talk.expect("EHLO elsewhere.example", "250");
            talk.expect("MAIL FROM:<>", "250");
            talk.expect("RCPT TO:<ann@example.com>", "250");
            talk.expect("DATA", "354");
            let at = octets.find(sequence).expect("it") + 1 + n % sequence.len();
            talk.raw(&octets.as_bytes()[..at]);
            std::thread::sleep(std::time::Duration::from_millis(20));
            talk.raw(&octets.as_bytes()[at..]);
            let reply = talk.reply();
            assert!(reply.starts_with(expected), "{}: {reply}", sequence.escape_debug());
            // And as chunks, cut in the midst of it.
            let octets = format!("Subject: first {n}\r\n\r\nx{sequence}{second}\r\n");
            talk.expect("MAIL FROM:<>", "250");
            talk.expect("RCPT TO:<ann@example.com>", "250");
            talk.raw(format!("BDAT {at}\r\n{}", &octets[..at]).as_bytes());
            let first = talk.reply();
            assert!(first.starts_with("250") || first.starts_with(expected), "{first}");
            let rest = &octets[at..];
            talk.raw(format!("BDAT {} LAST\r\n{rest}", rest.len()).as_bytes());
            let reply = talk.reply();
            assert!(reply.starts_with(expected), "{}: {reply}", sequence.escape_debug());
            talk.expect("QUIT", "221");
        }
    }
    let all = 2 * sequences.len();
    eventually("all are delivered", || {
        (normalizing.count("ann@example.com", "first") == all).then_some(())
    });
    assert_eq!((refusing.old.accepted(), refusing.new.accepted()), (0, 0));
    assert_eq!((normalizing.old.accepted(), normalizing.new.accepted()), (all, 0));
    assert_eq!(normalizing.count("bob@example.com", "second"), 0);
}

#[test]
fn postfix_is_told_of_the_client() {
    let real = Real::start(
        &[
            ("old.smtp_forward", "\"xclient\""),
            ("new.smtp_forward", "\"xclient\""),
            ("smtp.trusted", "[\"127.0.0.1\"]"),
        ],
        |builder| builder,
    );
    let mut talk = Talk::connect(real.world.proxy.mail.smtp);
    talk.expect("EHLO gateway.example", "250");
    talk.expect("XCLIENT ADDR=198.51.100.7 PORT=4711 HELO=far.example", "220");
    talk.expect("EHLO far.example", "250");
    assert!(talk.mail("", &["list-onnew@example.com"], "Subject: new").starts_with("250"));
    assert!(talk.mail("", &["list-onold@example.com"], "Subject: old").starts_with("250"));
    for postfix in [&real.old, &real.new] {
        // Not by the name that the proxy has.
        let told = "client=unknown[198.51.100.7]";
        eventually("Postfix has logged it", || {
            postfix.log().lines().any(|line| line.contains(told)).then_some(())
        });
    }
}

/// Who is on old and writes to who is on new, and the other way round: both servers hand the domain's mail to
/// the proxy, which brings it to the right one's LMTP.
#[test]
fn both_servers_users_reach_each_other_through_the_proxy() {
    let dir = scratch();
    let services = (Services::free(), Services::free());
    let transport = dir.path().join("transport");
    let more = format!("transport_maps = texthash:{}\n", transport.display());
    let old = Postfix::start(&dir.path().join("old"), services.0, &ON_OLD, &more);
    let new = Postfix::start(&dir.path().join("new"), services.1, &ON_NEW, &more);
    let lmtp = |services: Services| format!("\"lmtp://127.0.0.1:{}?tls=none\"", services.lmtp());
    let submission = |port: u16| format!("\"submission://127.0.0.1:{port}?tls=none\"");
    let world = World::new()
        .old(Dovecot::old_style().behind_postfix(services.0))
        .new(Dovecot::new_style().behind_postfix(services.1))
        .account("ann@example.com", "secret")
        .account("bob@example.com", "secret")
        .set("accounts.domains", "[\"example.com\"]")
        .set("smtp.trusted", "[\"127.0.0.1\"]")
        .set("old.inbound", &lmtp(services.0))
        .set("new.inbound", &lmtp(services.1))
        .set("old.submission", &submission(old.submission))
        .set("new.submission", &submission(new.submission))
        .start();
    let text = format!("example.com smtp:[127.0.0.1]:{}\n", world.proxy.mail.trusted);
    fs::write(&transport, text).expect("transport");
    for (postfix, subject) in [(&old, "from old"), (&new, "from new")] {
        let mut talk = Talk::connect(postfix.port);
        talk.expect("EHLO client.example", "250");
        let text = format!("Subject: {subject}\r\n\r\nx");
        assert!(talk.mail("bob@example.com", &["ann@example.com"], &text).starts_with("250"));
    }
    let mut client = world.proxy.client();
    eventually("both have arrived", || {
        (client.ok("EXAMINE INBOX").count("EXISTS") == Some(2)).then_some(())
    });
    assert_eq!(world.proxy.log().matches("message accepted").count(), 2);
    drop((world, old, new));
}
