//! The configuration as a whole: known answers for what is right and for what is wrong.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::base::{Phase, Proof};

/// The smallest configuration that works: the shortest way to each test's own lines.
const SMALL: &str = "\
[tls]
cert = \"c.pem\"
key = \"c.key\"
[[listen]]
protocol = \"imaps\"
address = \"127.0.0.1:0\"
[old]
imap = \"imaps://old.example.com\"
[new]
imap = \"imap://new.example.com\"
";

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// What is said of a wrong file, without its directory.
fn refused(text: &str) -> String {
    let told = load(text).expect_err(text).to_string();
    told.split_once("/proxy.toml").map(|(_, rest)| format!("proxy.toml{rest}")).unwrap()
}

/// What is said of `SMALL` with more lines, whose first is number 11.
fn refused_with(more: &str) -> String {
    refused(&format!("{SMALL}{more}"))
}

#[test]
fn the_example_is_all_defaults_where_it_says_so() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml");
    let example = Config::load(&path).unwrap();
    let small = load(SMALL).unwrap();
    assert_eq!(example.limits, small.limits);
    assert_eq!(example.copy, small.copy);
    assert_eq!(example.trickle, small.trickle);
    assert_eq!(example.auth.remember, small.auth.remember);
    assert_eq!(example.state.file_name(), small.state.file_name());
    assert_eq!(example.backends.old.mask, small.backends.old.mask);
    assert_eq!(example.smtp.hostname, small.smtp.hostname);
    assert_eq!(Smtp { trusted: Vec::new(), ..example.smtp.clone() }, small.smtp);
    assert_eq!(example.listen.len(), 6);
    assert_eq!(example.warnings(), Vec::<String>::new());
}

#[test]
fn the_example_names_every_key() {
    let example = include_str!("../../proxy.toml");
    let mut keys = 0;
    for table in [
        "",
        "[tls]",
        "[[listen]]",
        "[old]",
        "[old.credentials]",
        "[auth]",
        "[accounts]",
        "[copy]",
        "[phase]",
        "[smtp]",
        "[journal]",
        "[trickle]",
        "[trickle.total]",
        "[limits]",
    ] {
        let error =
            toml::from_str::<raw::File>(&format!("{table}\nno_such_key = 1")).err().unwrap();
        let names = error::known_names(error.message());
        assert!(!names.is_empty(), "{table}: {error}");
        for name in names {
            keys += 1;
            let shown = example.lines().map(|line| line.trim_start_matches("# ")).any(|line| {
                line.starts_with(&format!("{name} = "))
                    || [
                        format!("[{name}]"),
                        format!("[[{name}]]"),
                        format!("[old.{name}]"),
                        format!("[trickle.{name}]"),
                    ]
                    .iter()
                    .any(|header| line == header)
            });
            assert!(shown, "{table} {name} is not in proxy.toml");
        }
    }
    assert!(keys > 40, "only {keys} keys found");
}

#[test]
fn what_is_in_comments_of_the_example_is_right_too() {
    let example = include_str!("../../proxy.toml");
    let master = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if ["user =", "password_env =", "ca =", "server_name =", "since =", "before ="]
                    .iter()
                    .any(|k| key.starts_with(k)) =>
            {
                key
            }
            Some(key) if ["style =", "separator ="].iter().any(|k| key.starts_with(k)) => key,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
        .replace(
            "mode = \"same\"\nlogin = \"{account}\"",
            "mode = \"master\"\nlogin = \"{account}\"",
        )
        .replace("\"authzid\"", "\"separator\"")
        .replace("MAILFERRY_NEW_MASTER", "CARGO_PKG_NAME");
    let config = load(&master).unwrap();
    assert!(matches!(
        &config.backends.new.credentials.mode,
        Mode::Master(Master { user, style: MasterStyle::Separator(s), .. }) if user == "migrator" && s == "*"
    ));
    assert!(config.backends.old.ca.is_some());
}

#[test]
fn small_is_enough() {
    let config = load(SMALL).unwrap();
    assert_eq!(
        config.listen,
        [Listen {
            protocol: Protocol::Imaps,
            address: "127.0.0.1:0".parse().unwrap(),
            trusted: false,
        }]
    );
    assert!(config.state.is_absolute() && config.state.ends_with("state"));
    let tls = config.tls.unwrap();
    assert!(tls.cert.is_absolute() && tls.key.ends_with("c.key"));
    let [old, new] = [&config.backends[Side::Old], &config.backends[Side::New]];
    assert_eq!((old.imap.port, old.imap.security), (993, Security::Tls));
    assert_eq!((new.imap.port, new.imap.security), (143, Security::StartTls));
    assert_eq!((old.side, new.side), (Side::Old, Side::New));
    assert_eq!(old.server_name.to_str(), "old.example.com");
    assert_eq!(old.ca, None);
    assert!(matches!(old.credentials.mode, Mode::Same));
    assert_eq!(config.auth.primary, Side::Old);
    assert!(!config.auth.allow_cleartext);
    assert_eq!(config.accounts.phase, Phase::Merged);
    assert!(config.copy.on_access);
}

#[test]
fn unknown_keys_are_refused_with_line_and_suggestion() {
    for (more, told) in [
        ("sttae = 1\n", "proxy.toml:11: unknown key `sttae`"),
        ("[limit]\n", "proxy.toml:11: unknown key `limit`; did you mean `limits`?"),
        (
            "[limits]\n\nconections_per_acount = 4\n",
            "proxy.toml:13: unknown key `conections_per_acount`; did you mean `connections_per_account`?",
        ),
        (
            "[copy]\nonaccess = true",
            "proxy.toml:12: unknown key `onaccess`; did you mean `on_access`?",
        ),
        (
            "[old.credentials]\npasword_file = \"x\"",
            "proxy.toml:12: unknown key `pasword_file`; did you mean `password_file`?",
        ),
        (
            "[auth]\npassword = \"x\"",
            "proxy.toml:12: unknown key `password`; known here: primary, allow_cleartext, remember",
        ),
        ("[auth]\nprimary = \"od\"", "proxy.toml:12: unknown value `od`; did you mean `old`?"),
        (
            "[auth]\n\"prim`, expected `ary\" = 1",
            "proxy.toml:12: unknown key `prim`, expected `ary`",
        ),
    ] {
        let message = refused_with(more);
        assert!(message.starts_with(told), "{message}\nis not\n{told}");
    }
    assert_eq!(
        refused("sttae = \"x\"\n"),
        "proxy.toml:1: unknown key `sttae`; did you mean `state`?"
    );
}

#[test]
fn an_old_server_that_is_not_to_be_changed_stands_against_what_would_change_it() {
    let read_only = |side: &str| {
        let table = format!("[{side}]\n");
        assert!(SMALL.contains(&table));
        SMALL.replace(&table, &format!("{table}read_only = true\n"))
    };
    assert!(load(&read_only("old")).unwrap().backends.old.read_only);
    assert!(!load(SMALL).unwrap().backends.old.read_only);
    for (text, told) in [
        (read_only("new"), "`read_only` is for [old]: messages are copied to new"),
        (read_only("old") + "[copy]\nmirror = \"flags\"", "nothing can be mirrored to this server"),
        (read_only("old") + "[accounts]\nphase = \"old\"", "accounts cannot be in phase old"),
    ] {
        assert!(refused(&text).contains(told), "{}", refused(&text));
    }
}

#[test]
fn wrong_values_are_refused_with_line_and_what_is_right() {
    for (more, told) in [
        (
            "[auth]\nremember = 60",
            "proxy.toml:12: invalid type: integer `60`, expected a duration in quotes, like \"60s\"",
        ),
        ("[auth]\nremember = \"60\"", "proxy.toml:12: expected a duration in quotes, like \"60s\""),
        (
            "[copy]\ntee_memory = \"1 megabyte\"",
            "proxy.toml:12: expected a size in quotes, like \"64KiB\"",
        ),
        (
            "[limits]\nsessions = -1",
            "proxy.toml:12: invalid value: integer `-1`, expected a whole number",
        ),
        ("[limits]\nsessions = 0", "proxy.toml:11: `sessions` must be at least 1"),
        (
            "[limits]\nconnections_per_account = 1",
            "proxy.toml:11: `connections_per_account` must be at least 2",
        ),
        (
            "[limits]\nline = \"4KiB\"",
            "proxy.toml:11: `line_before_login` ≤ `line` ≤ `command` must hold",
        ),
        ("[limits]\npoll_interval = \"0s\"", "proxy.toml:11: `poll_interval` must not be zero"),
        (
            "[limits]\nprogress_interval = \"0s\"",
            "proxy.toml:11: `progress_interval` must not be zero",
        ),
        ("[limits]\nlogin_timeout = \"0s\"", "proxy.toml:11: a timeout must not be zero"),
        ("[accounts]\ndomains = [\"a b\"]", "proxy.toml:12: `a b` is no domain"),
        (
            "[accounts]\ndomains = [\"a.example\"]\ndefault_domain = \"b.example\"",
            "proxy.toml:13: `default_domain` must be one of `domains`",
        ),
        (
            "[folders]\nSent = \"Gesendet\"\n\"Sent Items\" = \"Gesendet\"",
            "proxy.toml:13: `Sent` and `Sent Items` would both become `Gesendet`",
        ),
        ("[folders]\nA = \"B\"\ninbox = \"C\"", "proxy.toml:13: INBOX is INBOX on both sides"),
        ("[folders]\nA = \"\"", "proxy.toml:12: no server can have a folder of that name"),
        (
            "[[listen]]\nprotocol = \"imap\"\naddress = \"localhost:143\"",
            "proxy.toml:13: expected an IP address and port",
        ),
        ("[[listen]]\nprotocol = \"imap\"", "proxy.toml:11: `address` is missing"),
        ("x = 1\nx = 2", "proxy.toml:12: duplicate key"),
        ("[auth", "proxy.toml:11: "),
    ] {
        let message = refused_with(more);
        assert!(message.starts_with(told), "{message}\nis not\n{told}");
    }
}

#[test]
fn wrong_smtp() {
    let listen = |protocol: &str| {
        format!("[[listen]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n")
    };
    let both = SMALL
        .replace("[old]", "[old]\ninbound = \"smtp://a.example\"")
        .replace("[new]", "[new]\ninbound = \"lmtp://b.example\"");
    for (text, told) in [
        (
            format!("{SMALL}{}", listen("submission")),
            "proxy.toml:11: to send users' mail, `submission` is needed in [old]",
        ),
        (
            format!("{SMALL}{}", listen("smtp")),
            "proxy.toml:11: to take mail in, `inbound` is needed in [old]",
        ),
        (
            format!("{both}{}", listen("smtp")),
            "proxy.toml:13: to take mail in, `domains` is needed in [accounts]",
        ),
        (
            format!("{SMALL}{}trusted = true\n", listen("imap")),
            "proxy.toml:11: `trusted` is for protocol = \"smtp\"",
        ),
        (
            both.replace("lmtp://b.example", "imap://b.example"),
            "proxy.toml:11: expected a server like \"smtp://host:25\"",
        ),
        (
            both.replace("lmtp://b.example", "lmtp://b.example?tls=none"),
            "proxy.toml:11: without TLS",
        ),
        (
            format!("{SMALL}[smtp]\nunknown = \"aks\""),
            "proxy.toml:12: unknown value `aks`; did you mean `ask`?",
        ),
        (
            format!("{SMALL}[smtp]\ndelimiter = \"@\""),
            "proxy.toml:12: `delimiter` must be one sign",
        ),
        (format!("{SMALL}[smtp]\ntrusted = [\"ten\"]"), "proxy.toml:12: expected a network like"),
        (
            format!("{SMALL}[smtp]\nrecipients = 0"),
            "proxy.toml:12: `recipients` must be at least 1",
        ),
        (
            format!("{SMALL}[smtp]\nhostname = \"a b\""),
            "proxy.toml:12: `hostname` must be a host's name",
        ),
        (
            format!("{SMALL}[journal]\nserver = \"lmtp://a.example\""),
            "proxy.toml:12: an archive is reached by smtp://",
        ),
        (
            format!(
                "{SMALL}[journal]\nserver = \"smtp://a.example\"\naddress = \"{{user}}@b.example\""
            ),
            "proxy.toml:13: `address` must become an address",
        ),
        (
            format!("{SMALL}[journal]\nserver = \"smtp://a.example\"\ndomains = [\"b.example\"]"),
            "proxy.toml:13: `domains` must be among",
        ),
    ] {
        let message = refused(&text);
        assert!(message.starts_with(told), "{message}\nis not\n{told}");
    }
    let domains =
        "[accounts]\ndomains = [\"example.com\"]\n[journal]\nserver = \"smtp://c.example\"\n";
    let config = load(&format!("{both}{}{domains}", listen("smtp"))).unwrap();
    let journal = config.journal.unwrap();
    let ann = AccountName::canonical("Ann@Example.com", None).unwrap();
    assert_eq!(journal.address_of(&ann).unwrap(), "ann@example-com.vaultastic.com");
    let bob = AccountName::canonical("bob@example.org", None).unwrap();
    assert_eq!(journal.address_of(&bob), None);
    let inbound = config.backends.new.inbound.unwrap();
    assert_eq!((inbound.endpoint.port, inbound.endpoint.service), (24, Service::Lmtp));
    assert_eq!(inbound.to_string(), "new server lmtp://b.example:24");
}

#[test]
fn wrong_backends() {
    let old = |imap: &str, more: &str| {
        SMALL.replace("imap = \"imaps://old.example.com\"", &format!("imap = \"{imap}\"\n{more}"))
    };
    for (imap, more, told) in [
        (
            "imap://old.example.com?tls=none",
            "",
            "proxy.toml:8: without TLS, passwords and mail cross the network",
        ),
        ("imap://10.0.0.1?tls=none", "allow_plain = false", "proxy.toml:8: without TLS"),
        ("old.example.com:993", "", "proxy.toml:8: expected a server like"),
        ("imaps://user:geheim@old.example.com", "", "proxy.toml:8: expected a server like"),
        ("imaps://old_.-", "", "proxy.toml:8: `old_.-` is no name that a certificate can bear"),
        ("imaps://old.example.com", "server_name = \"a b\"", "proxy.toml:9: `a b` is no name"),
        (
            "imaps://old.example.com",
            "mask = [\"MOVE\", \"X Y\"]",
            "proxy.toml:9: `X Y` is no capability's name",
        ),
    ] {
        let message = refused(&old(imap, more));
        assert!(message.starts_with(told), "{message}\nis not\n{told}");
        assert!(!message.contains("geheim"), "{message}");
    }
    for (imap, more) in [
        ("imap://127.0.0.1:1?tls=none", ""),
        ("imap://localhost:1?tls=none", ""),
        ("imap://old.example.com?tls=none", "allow_plain = true"),
        ("imaps://[2001:db8::1]", ""),
        ("imaps://192.0.2.1", "server_name = \"mail.example.com\""),
    ] {
        load(&old(imap, more)).unwrap();
    }
    let plain = load(&old("imap://old.example.com?tls=none", "allow_plain = true")).unwrap();
    assert_eq!(
        plain.warnings(),
        ["the connection to the old server imap://old.example.com:143?tls=none is not encrypted"]
    );
}

#[test]
fn masks_are_read_without_regard_to_case() {
    let text = SMALL
        .replace("[new]\n", "[new]\nmask = [\"uidplus\", \"Move\", \"AUTH=PLAIN\", \"MOVE\"]\n");
    let mask = load(&text).unwrap().backends.new.mask;
    assert_eq!(mask.into_iter().collect::<Vec<_>>(), ["AUTH=PLAIN", "MOVE", "UIDPLUS"]);
}

#[test]
fn listeners_need_a_way_to_log_in() {
    let without_tls =
        SMALL.split_once("[[listen]]").map(|(_, rest)| format!("[[listen]]{rest}")).unwrap();
    assert!(
        refused(&without_tls).starts_with("proxy.toml:1: an imaps listener needs a [tls] cert")
    );
    let plain = without_tls.replace("\"imaps\"", "\"imap\"");
    assert!(refused(&plain).starts_with("proxy.toml:1: nobody could log in here"));
    let trial = format!("{plain}[auth]\nallow_cleartext = true\n");
    assert!(load(&trial).unwrap().warnings().is_empty());
    let open = trial.replace("127.0.0.1:0", "0.0.0.0:0");
    assert_eq!(load(&open).unwrap().warnings().len(), 1);
    let nothing =
        SMALL.replace("[[listen]]\nprotocol = \"imaps\"\naddress = \"127.0.0.1:0\"\n", "");
    assert_eq!(refused(&nothing), "proxy.toml:1: `listen` is missing");
    assert!(refused(&format!("listen = []\n{nothing}")).contains("`listen` is empty"));
    assert_eq!(
        refused(&SMALL.replace("[[listen]]", "[listen]")),
        "proxy.toml:4: a list of tables is written with double brackets, like [[listen]]"
    );
}

#[test]
fn wrong_credentials() {
    let master = "[new.credentials]\nmode = \"master\"\n";
    for (more, told) in [
        (
            format!("{master}password_env = \"PATH\""),
            "proxy.toml:11: `user` is missing in [new.credentials]",
        ),
        (
            format!("{master}user = \"m\""),
            "proxy.toml:11: `password_file` or `password_env` is missing",
        ),
        (
            format!("{master}user = \"m\"\npassword_env = \"PATH\"\npassword_file = \"x\""),
            "proxy.toml:14: give either `password_file` or `password_env`",
        ),
        (
            format!("{master}user = \"m\"\npassword_file = \"no-such\""),
            "proxy.toml:14: cannot read `password_file` ",
        ),
        (
            format!("{master}user = \"m\"\npassword_env = \"NO_SUCH_VARIABLE_IS_SET\""),
            "proxy.toml:14: the environment variable `NO_SUCH_VARIABLE_IS_SET` is not set",
        ),
        (
            format!("{master}user = \"m\"\npassword_env = \"PATH\"\nseparator = \"*\""),
            "proxy.toml:15: only for style = \"separator\"",
        ),
        (
            format!(
                "{master}user = \"m\"\npassword_env = \"PATH\"\nstyle = \"separator\"\nseparator = \"x\""
            ),
            "proxy.toml:16: `separator` must be a sign",
        ),
        (
            "[old.credentials]\nmode = \"table\"".into(),
            "proxy.toml:11: `file` is missing in [old.credentials]",
        ),
        ("[old.credentials]\nmode = \"table\"\nfile = \"none.csv\"".into(), "proxy.toml:13: "),
        ("[old.credentials]\nfile = \"x\"".into(), "proxy.toml:12: only for mode = \"table\""),
        ("[trickle]\naccounts = 0".into(), "proxy.toml:11: `accounts` must be at least 1"),
        ("[trickle]\nrest = \"0s\"".into(), "proxy.toml:11: `again`, `rest` and `slow` must"),
        (
            "[trickle]\nhours = [\"20-6\"]".into(),
            "proxy.toml:12: expected hours of the day, like \"20:00-06:00\"",
        ),
        (
            "[trickle]\nsince = \"2024-13-01\"".into(),
            "proxy.toml:12: expected a day in quotes, like \"2024-01-31\"",
        ),
        (
            "[trickle.total]\nmessages_per_second = -1.0".into(),
            "proxy.toml:11: `messages_per_second` must not be negative",
        ),
        (
            "[trickle.old]\nconections = 1".into(),
            "proxy.toml:12: unknown key `conections`; did you mean `connections`?",
        ),
        ("[old.credentials]\nuser = \"m\"".into(), "proxy.toml:12: only for mode = \"master\""),
        (
            "[old.credentials]\nlogin = \"everyone\"".into(),
            "proxy.toml:12: login template: must hold {user}",
        ),
        (
            "[old.credentials]\nmode = \"sam\"".into(),
            "proxy.toml:12: unknown value `sam`; did you mean `same`?",
        ),
    ] {
        let message = refused_with(&more);
        assert!(message.starts_with(told), "{message}\nis not\n{told}");
    }
}

#[test]
fn v9_a_master_password_is_read_from_its_file_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.toml");
    let secret = dir.path().join("secret");
    fs::write(&secret, "geheim \r\n").unwrap();
    let text = format!(
        "{SMALL}[new.credentials]\nmode = \"master\"\nuser = \"migrator\"\npassword_file = \"secret\"\n"
    );
    fs::write(&path, text).unwrap();
    let config = Config::load(&path).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(shown.contains("migrator") && !shown.contains("geheim"), "{shown}");
    let account = config.accounts.account("ann@example.com").unwrap();
    let login =
        config.backends.new.credentials.for_login("ann", &account, &Proof::Password("x".into()));
    assert_eq!(login.unwrap().proof.expose_secret(), "geheim ");

    for (content, told) in [("", "is empty"), ("\n", "is empty"), ("geheim\ngeheim\n", "one line")]
    {
        fs::write(&secret, content).unwrap();
        let message = Config::load(&path).unwrap_err().to_string();
        assert!(message.contains(told) && !message.contains("geheim"), "{message}");
    }
}

#[test]
fn accounts_are_of_the_domains_served() {
    let config =
        load(&format!("{SMALL}[accounts]\ndomains = [\"Example.com\", \"b.example\"]")).unwrap();
    let account = |typed| config.accounts.account(typed).map(|a| a.to_string());
    assert_eq!(account("Ann").as_deref(), Some("ann@example.com"));
    assert_eq!(account("ann@B.example").as_deref(), Some("ann@b.example"));
    assert_eq!(account("ann@evil.example"), None);
    assert_eq!(account(""), None);
    let any = load(SMALL).unwrap();
    assert_eq!(any.accounts.account("ann").unwrap().as_str(), "ann");
}

#[test]
fn certs_needs_only_the_tls_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.toml");
    let text = format!(
        "{SMALL}[new.credentials]\nmode = \"master\"\nuser = \"m\"\npassword_file = \"not-there-yet\"\n"
    );
    fs::write(&path, text).unwrap();
    assert!(Config::load(&path).is_err());
    assert_eq!(
        Config::load_tls(&path).unwrap(),
        Some(Tls { cert: dir.path().join("c.pem"), key: dir.path().join("c.key") })
    );
}

#[test]
fn a_missing_file_is_told_by_name() {
    let error = Config::load(Path::new("no/such/proxy.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration no/such/proxy.toml");
}

proptest! {
    /// Whatever an editor's slip makes of the example, it is accepted or refused with a line of it.
    #[test]
    fn no_slip_panics(cut in 0usize..8000, len in 0usize..40, put in "[\\PC\n]{0,12}") {
        let example = include_str!("../../proxy.toml");
        let (start, end) = (example.floor_char_boundary(cut), example.floor_char_boundary(cut + len));
        let text = format!("{}{put}{}", &example[..start], &example[end..]);
        match Config::from_text(&text, Path::new("proxy.toml")) {
            Ok(config) => prop_assert!(!config.listen.is_empty()),
            Err(ConfigError::Invalid { line, message, .. }) => {
                prop_assert!((1..=text.split('\n').count()).contains(&line), "{line}: {message}");
                prop_assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
