//! Arguments and failures as a user meets them, without starting the program.

use clap::{CommandFactory, Parser};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn exit(line: &str) -> ExitCode {
    run(line.split(' ').map(OsString::from))
}

#[test]
fn the_arguments_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn global_options_stand_anywhere() {
    for line in ["mailferry --config a.toml serve", "mailferry serve --config a.toml"] {
        assert_eq!(parse(line).unwrap().config, PathBuf::from("a.toml"));
    }
    assert_eq!(parse("mailferry serve").unwrap().config, PathBuf::from("proxy.toml"));
    let Command::Check(args) = parse("mailferry check --json").unwrap().command else {
        panic!("check is not check");
    };
    assert!(args.json);
}

#[test]
fn a_login_is_tried_with_name_and_one_password() {
    for good in ["--user ann --password-file f", "--user ann --password-env V --json", ""] {
        assert!(parse(format!("mailferry check {good}").trim()).is_ok(), "{good}");
    }
    for bad in [
        "--user ann",
        "--password-file f",
        "--password-env V",
        "--user ann --password-file f --password-env V",
    ] {
        assert!(parse(&format!("mailferry check {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn accounts_are_named_or_a_wave_is() {
    for good in
        ["sync --wave w", "sync ann bob --wave w", "plan --wave w", "sync ann --password-file f"]
    {
        assert!(parse(&format!("mailferry {good}")).is_ok(), "{good}");
    }
    for bad in ["sync", "plan", "sync --wave w --password-file f"] {
        assert!(parse(&format!("mailferry {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn every_command_has_help() {
    for mut command in Cli::command().get_subcommands().cloned() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:") || command.has_subcommands(), "{help}");
    }
}

#[test]
fn exit_codes() {
    assert_eq!(exit("mailferry --version"), ExitCode::Done);
    assert_eq!(exit("mailferry --no-such-option"), ExitCode::Usage);
    assert_eq!(exit("mailferry certs --days 0"), ExitCode::Usage);
    assert_eq!(exit("mailferry --config no/such/file.toml serve"), ExitCode::Usage);
    assert_eq!(exit("mailferry --log mailferry=loud check"), ExitCode::Usage);
}

#[test]
fn a_failure_is_told_with_its_causes_and_what_to_do() {
    let told = |failure: Failure| {
        let mut out = Vec::new();
        failure.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(told(Failure::failed("it broke")), "error: it broke\n");
    let missing = Config::load(std::path::Path::new("no/such.toml")).unwrap_err();
    let told = told(missing.into());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "error: cannot read the configuration no/such.toml");
    assert!(lines[1].starts_with("  because: No such file"), "{told}");
    assert!(lines[2].starts_with("  next: name the file by --config FILE"), "{told}");
}
