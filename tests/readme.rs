//! The README says what is so.

use std::path::Path;

use mailferry::config::{Config, Quirk};
use mailferry::session::imap::CAPABILITIES;

const README: &str = include_str!("../README.md");

#[test]
fn the_capabilities_listed_are_those_offered_and_need_what_is_said() {
    let table = README.split("\n## ").find(|part| part.starts_with("What IMAP it speaks"));
    let rows = table.expect("the chapter on IMAP").lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, name, _, offered, ..] = cells[..] else { panic!("{row}") };
            format!("{name}: {offered}")
        })
        .collect();
    let quoted = |names: &[&str]| -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let offered: Vec<String> = CAPABILITIES
        .iter()
        .map(|capability| {
            let both = quoted(capability.needs);
            let new = Some(quoted(capability.needs_on_new)).filter(|names| !names.is_empty());
            let needs = match (both.is_empty(), new) {
                (true, None) => "always".to_owned(),
                (true, Some(new)) => format!("new: {new}"),
                (false, None) => both,
                (false, Some(new)) => format!("{both}; new: {new}"),
            };
            format!("`{}`: {needs}", capability.name)
        })
        .collect();
    assert_eq!(listed, offered);
}

#[test]
fn the_configuration_shown_is_accepted() {
    let shown = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let config = Config::from_text(shown.expect("a configuration"), Path::new("README.md"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.warnings(), Vec::<String>::new());
    assert_eq!(config.listen.len(), 2);
}

#[test]
fn every_quirk_is_explained_and_every_test_named_is_there() {
    let told = README.split("\n### ").find(|part| part.starts_with("Servers that do otherwise"));
    let rows = told.expect("the section on servers").lines().filter(|line| line.starts_with("| "));
    let switches: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(3)?.trim().strip_prefix('`')?.split('`').next())
        .collect();
    let names: Vec<&str> = Quirk::ALL.into_iter().map(Quirk::name).collect();
    assert_eq!(switches, names);
    let explained = include_str!("../proxy.toml");
    assert!(names.iter().all(|name| explained.contains(&format!("#   \"{name}\" "))), "{names:?}");
    for named in README.split('`').filter(|text| text.starts_with("tests/") && !text.contains(' '))
    {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(named).exists(), "{named}");
    }
}

#[test]
fn the_log_lines_named_are_written() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = String::new();
    read_all(&source, &mut text);
    let table = README.split("| line | what it means |").nth(1).expect("the table of log lines");
    let lines: Vec<&str> = table
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(lines.len() > 3, "{lines:?}");
    for line in lines {
        let line = line.trim_end_matches(['…', ' ']);
        assert!(text.contains(line), "nothing writes `{line}`");
    }
}

fn read_all(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(&path).expect("a source file"));
        }
    }
}
