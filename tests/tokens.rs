//! Bearer tokens: shown to Dovecots that hold them against a key, by clients of mailboxes and by those that
//! send.

mod lab;

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tempfile::TempDir;

use lab::process::scratch;
use lab::tools::run;
use lab::{Builder, Dialogue, Dovecot, Postfix, Services, Sink, Talk, World, eventually, mails};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";
const MECHANISMS: [&str; 2] = ["OAUTHBEARER", "XOAUTH2"];

/// Who gives tokens out: servers believe what bears its key.
struct Issuer {
    dir: TempDir,
}

impl Issuer {
    fn new() -> Issuer {
        let dir = scratch();
        let keys = dir.path().join("keys/default/HS256");
        fs::create_dir_all(&keys).expect("keys");
        fs::write(keys.join("default"), BASE64.encode("the issuer's key")).expect("a key");
        let settings = format!(
            "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/keys/\n\
             openid_configuration_url = https://issuer.example/.well-known\n",
            dir.path().display()
        );
        fs::write(dir.path().join("oauth2.conf"), settings).expect("oauth2.conf");
        Issuer { dir }
    }

    /// A server that takes its tokens.
    fn believed_by(&self, dovecot: Dovecot) -> Dovecot {
        let args = self.dir.path().join("oauth2.conf");
        // Who is refused often waits longer and longer; the lab does not.
        let hurried = "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}";
        let dovecot = dovecot.setting("auth_mechanisms = plain login oauthbearer xoauth2");
        dovecot.setting(hurried).setting(&format!(
            "passdb {{\n  driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = {}\n}}",
            args.display()
        ))
    }

    /// A token that is good for so many seconds.
    fn token(&self, user: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        // Python has HMAC at hand.
        let script = "import base64, hashlib, hmac, json, sys\n\
             b = lambda octets: base64.urlsafe_b64encode(octets).rstrip(b'=')\n\
             part = lambda claims: b(json.dumps(claims).encode())\n\
             user, now, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n\
             text = part({'alg': 'HS256', 'typ': 'JWT'}) + b'.' + part({'sub': user, 'email': user, \
             'iat': now - 60, 'exp': now + seconds, 'scope': 'mail'})\n\
             key = b\"the issuer's key\"\n\
             print((text + b'.' + b(hmac.new(key, text, hashlib.sha256).digest())).decode())\n";
        let said = run(Command::new("python3").args([
            "-c",
            script,
            user,
            &now.to_string(),
            &seconds.to_string(),
        ]));
        assert!(said.success, "{}", said.text);
        said.text.trim().to_owned()
    }
}

fn response(mechanism: &str, user: &str, token: &str) -> String {
    BASE64.encode(match mechanism {
        "XOAUTH2" => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        _ => format!("n,a={user},\x01host=localhost\x01port=143\x01auth=Bearer {token}\x01\x01"),
    })
}

fn world(issuer: &Issuer) -> Builder {
    World::new()
        .old(issuer.believed_by(Dovecot::old_style()))
        .new(issuer.believed_by(Dovecot::new_style()))
        .account(ANN, "secret")
        .account(BOB, "secret")
        .set("limits.login_failure_delay", "\"0s\"")
}

/// A client, as soon as it is known what the servers offer.
fn offered(port: u16) -> Dialogue {
    eventually("tokens are offered", || {
        let mut client = Dialogue::connect(port);
        let text = client.ok("CAPABILITY").lines().concat();
        text.contains("AUTH=PLAIN AUTH=OAUTHBEARER AUTH=XOAUTH2").then_some(client)
    })
}

#[test]
fn a_token_opens_the_mailboxes_of_both_sides() {
    let issuer = Issuer::new();
    let world = world(&issuer).seeded(|old, new| {
        old.seed("INBOX", &mails(0..3));
        new.seed("INBOX", &mails(3..5));
    });
    let token = issuer.token(ANN, 3600);
    // Before anybody has logged in with a password.
    drop(offered(world.proxy.port));
    for mechanism in MECHANISMS {
        let mut client = Dialogue::connect(world.proxy.port);
        client.ok(&format!("AUTHENTICATE {mechanism} {}", response(mechanism, ANN, &token)));
        assert!(client.ok("CAPABILITY").lines().concat().contains("AUTH=XOAUTH2"), "V10");
        eventually("both sides are seen", || {
            (client.ok("SELECT INBOX").count("EXISTS") == Some(5)).then_some(())
        });
        client.ok("FETCH 1:* BODY.PEEK[]");
        // Without an initial response.
        let mut client = Dialogue::connect(world.proxy.port);
        client.send(&format!("x AUTHENTICATE {mechanism}"));
        client.wait_for(|line| line.starts_with("+"));
        client.send(&response(mechanism, ANN, &token));
        client.until("x").expect_status("OK", mechanism);
        client.ok("SELECT INBOX");
    }
    let log = world.proxy.log();
    assert!(log.contains("logged in") && !log.contains(&token), "V9");
}

/// A client is told why, as far as its server says so, and says something before it hears NO.
#[test]
fn a_refused_token_is_explained_in_a_challenge() {
    let issuer = Issuer::new();
    let world = world(&issuer).start();
    drop(offered(world.proxy.port));
    for (mechanism, last) in [("OAUTHBEARER", "AQ=="), ("XOAUTH2", "")] {
        for token in [issuer.token(BOB, 3600), issuer.token(ANN, -30), "x.y.z".to_owned()] {
            let mut client = Dialogue::connect(world.proxy.port);
            let shown = response(mechanism, ANN, &token);
            client.send(&format!("x AUTHENTICATE {mechanism} {shown}"));
            let line = client.wait_for(|line| line.starts_with("+ "));
            let challenge = BASE64.decode(line.trim_start_matches("+ ").trim()).expect("base64");
            let challenge: serde_json::Value = serde_json::from_slice(&challenge).expect("JSON");
            assert!(challenge["status"].is_string(), "{challenge}");
            client.send(last);
            let reply = client.until("x").expect_status("NO", mechanism);
            assert!(reply.code("AUTHENTICATIONFAILED").is_some(), "{:?}", reply.lines());
            client.no(&format!("AUTHENTICATE GSSAPI {shown}"));
            client.bad("SELECT INBOX");
        }
    }
    let mut client = Dialogue::connect(world.proxy.port);
    for none in ["eA==", "bixhPSwB", ""] {
        client
            .bad(&format!("AUTHENTICATE OAUTHBEARER {}", if none.is_empty() { "=" } else { none }));
    }
    assert!(!world.proxy.log().contains(&issuer.token(BOB, 3600)[..40]), "V9");
}

/// The side that takes no tokens is entered as an administrator; a token is not shown to it.
#[test]
fn a_side_without_tokens_needs_a_login_of_the_proxys_own() {
    let issuer = Issuer::new();
    let world = World::new()
        .old(issuer.believed_by(Dovecot::old_style()))
        .new(Dovecot::new_style().master("migrator", "m"))
        .account(ANN, "secret")
        .set("new.credentials.mode", "\"master\"")
        .set("new.credentials.user", "\"migrator\"")
        .set("new.credentials.password_file", "\"master\"")
        .set("new.credentials.style", "\"separator\"")
        .set("new.credentials.separator", "\"*\"")
        .file("master", "m\n")
        .seeded(|old, new| {
            old.seed("INBOX", &mails(0..3));
            new.seed("INBOX", &mails(3..5));
        });
    let mut client = offered(world.proxy.port);
    let token = issuer.token(ANN, 3600);
    client.ok(&format!("AUTHENTICATE XOAUTH2 {}", response("XOAUTH2", ANN, &token)));
    eventually("both sides are seen", || {
        (client.ok("SELECT INBOX").count("EXISTS") == Some(5)).then_some(())
    });
    assert!(!world.new.log().contains(&token));
}

/// Whoever judges decides: a token that another server takes opens nothing there.
#[test]
fn v10_tokens_are_not_offered_where_who_judges_takes_none() {
    let issuer = Issuer::new();
    let world =
        World::new().new(issuer.believed_by(Dovecot::new_style())).account(ANN, "secret").start();
    let mut client = world.proxy.client();
    client.ok("SELECT INBOX");
    let mut client = Dialogue::connect(world.proxy.port);
    let text = client.ok("CAPABILITY").lines().concat();
    assert!(text.contains("AUTH=PLAIN") && !text.contains("XOAUTH2"), "{text}");
    let token = issuer.token(ANN, 3600);
    let reply = client.no(&format!("AUTHENTICATE XOAUTH2 {}", response("XOAUTH2", ANN, &token)));
    assert!(reply.code("CANNOT").is_some(), "{:?}", reply.lines());
}

/// Sessions outlive their tokens as long as the user has a later one; else they end, and the client logs in
/// anew.
#[test]
fn a_token_that_expires_is_replaced_or_ends_the_session() {
    let issuer = Issuer::new();
    let mut world = world(&issuer).seeded(|old, _| old.seed("INBOX", &mails(0..3)));
    drop(offered(world.proxy.port));
    let enter = |user: &str, token: &str| {
        let mut client = Dialogue::connect(world.proxy.port);
        client.ok(&format!("AUTHENTICATE XOAUTH2 {}", response("XOAUTH2", user, token)));
        client.ok("SELECT INBOX");
        client
    };
    let seconds = 4;
    let (brief, briefer) = (issuer.token(ANN, seconds), issuer.token(BOB, seconds));
    let (mut ann, mut bob) = (enter(ANN, &brief), enter(BOB, &briefer));
    let _later = enter(ANN, &issuer.token(ANN, 3600));
    std::thread::sleep(Duration::from_secs(seconds.unsigned_abs() + 1));
    // All connections are lost, and new ones need a login.
    for server in [&mut world.old, &mut world.new] {
        server.stop();
        server.start();
    }
    eventually("ann's session goes on", || {
        let reply = ann.cmd("STATUS INBOX (MESSAGES)");
        reply.lines().concat().contains("MESSAGES 3").then_some(())
    });
    eventually("bob's session ends", || match bob.cmd_unless_gone(b"STATUS INBOX (MESSAGES)") {
        Some(reply) => reply.lines().concat().contains("BYE The token has expired").then_some(()),
        None => Some(()),
    });
    assert!(world.proxy.log().contains("session ended"));
    // A client that shows it again is refused, and gets another one.
    let mut client = Dialogue::connect(world.proxy.port);
    client.send(&format!("x AUTHENTICATE XOAUTH2 {}", response("XOAUTH2", BOB, &briefer)));
    client.wait_for(|line| line.starts_with("+ "));
    client.send("");
    client.until("x").expect_status("NO", "AUTHENTICATE");
}

/// Where passwords are remembered, tokens are not, and a server for sending that takes none is no use to who
/// has nothing else.
#[test]
fn v9_a_token_is_not_learned() {
    let issuer = Issuer::new();
    let sinks = (Sink::new().start(), Sink::new().start());
    let mut builder = world(&issuer).file("key", "a key of more than thirty-two characters\n");
    for (side, sink) in [("old", &sinks.0), ("new", &sinks.1)] {
        let submission = format!("\"submission://127.0.0.1:{}?tls=none\"", sink.port);
        builder = builder
            .set(&format!("{side}.credentials.mode"), "\"learned\"")
            .set(&format!("{side}.credentials.key_file"), "\"key\"")
            .set(&format!("{side}.submission"), &submission);
    }
    let world = builder.start();
    let mut client = offered(world.proxy.port);
    let token = issuer.token(ANN, 3600);
    client.ok(&format!("AUTHENTICATE XOAUTH2 {}", response("XOAUTH2", ANN, &token)));
    client.ok("SELECT INBOX");
    let mut talk = Talk::connect(world.proxy.mail.submission);
    let told = talk.expect("EHLO client.example", "250");
    assert!(told.contains("AUTH PLAIN LOGIN") && !told.contains("XOAUTH2"), "{told}");
    talk.expect("AUTH XOAUTH2 eA==", "504");
    assert!(!world.proxy.log().contains("is remembered"));
    drop(world.proxy.client());
    assert!(world.proxy.log().contains("is remembered"));
}

#[test]
fn users_send_with_a_token() {
    let issuer = Issuer::new();
    let dir = scratch();
    let services = (Services::free(), Services::free());
    let old = Postfix::start(&dir.path().join("old"), services.0, &[ANN, BOB], "");
    let new = Postfix::start(&dir.path().join("new"), services.1, &[ANN, BOB], "");
    let plain = |port: u16| format!("\"submission://127.0.0.1:{port}?tls=none\"");
    let world = World::new()
        .old(issuer.believed_by(Dovecot::old_style().behind_postfix(services.0)))
        .new(issuer.believed_by(Dovecot::new_style().behind_postfix(services.1)))
        .account(ANN, "secret")
        .account(BOB, "secret")
        .set("limits.login_failure_delay", "\"0s\"")
        .set("old.submission", &plain(old.submission))
        .set("new.submission", &plain(new.submission))
        .start();
    let port = world.proxy.mail.submission;
    let token = issuer.token(ANN, 3600);
    eventually("tokens are offered", || {
        let offered = Talk::connect(port).expect("EHLO client.example", "250");
        offered.contains("AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2").then_some(())
    });
    for mechanism in MECHANISMS {
        let mut talk = Talk::connect(port);
        talk.expect("EHLO client.example", "250");
        talk.expect(&format!("AUTH {mechanism} {}", response(mechanism, ANN, &token)), "235");
        let text = format!("Subject: by {mechanism}\r\n\r\nx");
        assert!(talk.mail(ANN, &[BOB], &text).starts_with("250"));
        // Without an initial response, and refused.
        let mut talk = Talk::connect(port);
        talk.expect("EHLO client.example", "250");
        talk.expect(&format!("AUTH {mechanism}"), "334 ");
        let challenge = talk.expect(&response(mechanism, ANN, &issuer.token(BOB, 3600)), "334 ");
        let challenge = BASE64.decode(&challenge[4..]).expect("base64");
        let challenge: serde_json::Value = serde_json::from_slice(&challenge).expect("JSON");
        assert!(challenge["status"].is_string(), "{challenge}");
        talk.expect(if mechanism == "XOAUTH2" { "" } else { "AQ==" }, "535 5.7.8");
        talk.expect(&format!("AUTH {mechanism} eA=="), "501 5.5.2");
        talk.expect(&format!("MAIL FROM:<{ANN}>"), "530");
    }
    // By a real client, of each protocol.
    let text = dir.path().join("mail");
    fs::write(&text, "Subject: by curl\r\n\r\nx\r\n").expect("mail");
    let send = |url: String, more: &[&str]| {
        let all = ["-sS", "--oauth2-bearer", &token, "--user", ANN, "--url", &url];
        let said = run(Command::new("curl").args(all).args(more));
        assert!(said.success, "{}", said.text);
        said.text
    };
    let file = text.display().to_string();
    let mail = ["--mail-from", ANN, "--mail-rcpt", BOB, "-T", &file];
    send(format!("smtp://127.0.0.1:{port}"), &mail);
    let listed = send(format!("imap://127.0.0.1:{}", world.proxy.port), &[]);
    assert!(listed.contains("INBOX"), "{listed}");
    let mut bob = world.proxy.client_of(BOB, "secret");
    eventually("all have arrived", || {
        (bob.ok("SELECT INBOX").count("EXISTS") == Some(3)).then_some(())
    });
    assert_eq!(
        new.log().matches("sasl_method=OAUTHBEARER, sasl_username=ann@example.com").count(),
        3
    );
    assert!(!world.proxy.log().contains(&token), "V9");
}
