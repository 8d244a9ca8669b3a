//! `mailferry accounts`: who moves when, read from and written as CSV.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{ExitCode, Failure, ask, report};
use crate::admin::Whose;
use crate::admin::commands::{Enroll, Enrolled, Forget, ListAccounts};
use crate::base::AccountName;
use crate::config::{Accounts, Config};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry accounts import waves.csv
  mailferry accounts import skyconnect-users.csv --wave pilot
  mailferry accounts list
  mailferry accounts export > waves.csv
  mailferry accounts forget ann@example.com
A CSV begins with a line that names its columns: account, and any of wave, priority (lower comes
first), old_login, new_login. SkyConnect's own file for adding users in bulk (username, …) is
understood as well.";

#[derive(Subcommand, Debug)]
pub(super) enum AccountsCommand {
    /// Enroll the accounts of a CSV file: all of them, or none if anything in it is wrong.
    #[command(after_help = EXAMPLES)]
    Import(ImportArgs),
    /// Show all accounts with their waves.
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
    /// Write all accounts as CSV, as `import` reads it.
    #[command(after_help = EXAMPLES)]
    Export,
    /// Forget passwords that were kept from logins (mode `learned`).
    #[command(after_help = EXAMPLES)]
    Forget(ForgetArgs),
}

#[derive(Args, Debug)]
pub(super) struct ForgetArgs {
    /// Whose.
    #[arg(required_unless_present = "wave", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Those of all accounts of this wave, too.
    #[arg(long)]
    wave: Option<String>,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// The CSV file.
    file: PathBuf,
    /// The wave of accounts of which the file says none.
    #[arg(long)]
    wave: Option<String>,
    /// Only check the file.
    #[arg(long)]
    dry_run: bool,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Write one JSON array.
    #[arg(long)]
    json: bool,
}

/// Through the running proxy, or without one.
pub(super) fn run(config: Config, command: AccountsCommand) -> Result<ExitCode, Failure> {
    match command {
        AccountsCommand::Import(args) => import(config, &args)?,
        AccountsCommand::List(args) => {
            let all = ask::ask_or_do(config, &ListAccounts {}, |()| {})?;
            match args.json {
                true => report::print_json(&all)?,
                false => {
                    for Enrolled { account, wave, priority, .. } in &all {
                        let wave = wave.as_deref().unwrap_or("-");
                        let turn = priority.map_or("-".to_owned(), |turn| turn.to_string());
                        report::print(&format_args!("{account:40} wave {wave:12} turn {turn}\n"))?;
                    }
                }
            }
        }
        AccountsCommand::Export => {
            let all = ask::ask_or_do(config, &ListAccounts {}, |()| {})?;
            report::print(&export(&all)?)?;
        }
        AccountsCommand::Forget(ForgetArgs { accounts, wave, json }) => {
            let whose = Whose { accounts, wave };
            let done = ask::ask_or_do(config, &Forget { whose }, |()| {})?;
            match json {
                true => report::print_json(&done)?,
                false => {
                    let passwords = report::count(done.accounts.len() as u64, "password");
                    report::print(&format_args!("{passwords} forgotten\n"))?;
                }
            }
        }
    }
    Ok(ExitCode::Done)
}

fn import(config: Config, args: &ImportArgs) -> Result<(), Failure> {
    let file = args.file.display();
    let text = std::fs::read(&args.file)
        .map_err(|e| Failure::usage(format!("{file} cannot be read: {e}")))?;
    let read = read(&text, &config.accounts, args.wave.as_deref());
    let accounts = read.map_err(|wrong| refuse(&args.file, &wrong))?;
    let count = match args.dry_run {
        true => accounts.len(),
        false => ask::ask_or_do(config, &Enroll { accounts }, |()| {})?,
    };
    let done = if args.dry_run { "would be imported" } else { "imported" };
    match args.json {
        true => {
            report::print_json(&serde_json::json!({ "accounts": count, "dry_run": args.dry_run }))
        }
        false => {
            let accounts = report::count(count as u64, "account");
            report::print(&format_args!("{accounts} {done}\n"))
        }
    }
}

fn refuse(file: &Path, wrong: &[String]) -> Failure {
    let count = report::count(wrong.len() as u64, "fault");
    let mut text = format!("{} has {count}, nothing was imported", file.display());
    for fault in wrong.iter().take(FAULTS_SHOWN) {
        text.push_str("\n  ");
        text.push_str(fault);
    }
    if wrong.len() > FAULTS_SHOWN {
        text.push_str("\n  …");
    }
    Failure::usage(text).next("correct these lines; `mailferry accounts --help` shows the columns")
}

/// Reads a CSV of accounts.
///
/// # Errors
/// All that is wrong with it, by line.
fn read(text: &[u8], served: &Accounts, wave: Option<&str>) -> Result<Vec<Enrolled>, Vec<String>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text);
    let headers = reader.headers().map_err(|e| vec![format!("line 1: {e}")])?;
    let names: Vec<String> = headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    let column = |name: &str| names.iter().position(|known| known == name);
    // SkyConnect's file for users in bulk: whatever other columns it has are its own.
    let account = match (column("account"), column("username"), column("classofservice")) {
        (Some(account), ..) => {
            let own = ["account", "wave", "priority", "old_login", "new_login"];
            let strange = names.iter().filter(|name| !own.contains(&name.as_str()));
            let faults: Vec<String> = strange
                .map(|name| format!("line 1: `{}` is no column here", name.escape_debug()))
                .collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            account
        }
        (None, Some(username), Some(_)) => username,
        _ => {
            let there = names.join("`, `").escape_debug().to_string();
            return Err(vec![format!(
                "line 1: there is no column `account`; its columns are `{there}`, parted by commas"
            )]);
        }
    };
    let (wave_at, priority_at) = (column("wave"), column("priority"));
    let (old_at, new_at) = (column("old_login"), column("new_login"));
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    let mut seen: HashMap<AccountName, usize> = HashMap::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                faults.push(e.to_string());
                continue;
            }
        };
        let line = lines.line_of(&record);
        if record.get(0).is_some_and(|first| first.starts_with('#')) {
            continue;
        }
        if record.len() != names.len() {
            let (is, should) = (record.len(), names.len());
            faults.push(format!("line {line}: it has {is} fields, and there are {should} columns"));
            continue;
        }
        let field = |at: Option<usize>| {
            let value = at.and_then(|at| record.get(at)).filter(|value| !value.is_empty());
            value.map(str::to_owned)
        };
        let typed = field(Some(account)).unwrap_or_default();
        let Some(name) = served.account(&typed) else {
            faults.push(format!("line {line}: `{}` is no account here", typed.escape_debug()));
            continue;
        };
        if let Some(before) = seen.insert(name.clone(), line) {
            faults.push(format!("line {line}: {name} stands in line {before} already"));
        }
        let priority = match field(priority_at).map(|text| (text.parse::<u32>(), text)) {
            None => None,
            Some((Ok(priority), _)) => Some(priority),
            Some((Err(_), text)) => {
                let text = text.escape_debug();
                faults.push(format!("line {line}: the priority `{text}` is no number"));
                None
            }
        };
        let row = Enrolled {
            account: name.to_string(),
            wave: field(wave_at).or_else(|| wave.map(str::to_owned)),
            priority,
            old_login: field(old_at),
            new_login: field(new_at),
        };
        for (what, value) in
            [("wave", &row.wave), ("old_login", &row.old_login), ("new_login", &row.new_login)]
        {
            if value.as_ref().is_some_and(|v| v.chars().any(char::is_control) || v.len() > LONGEST)
            {
                faults.push(format!("line {line}: the {what} is too long, or is no text"));
            }
        }
        all.push(row);
    }
    match faults.is_empty() {
        true if all.is_empty() => Err(vec!["there is no account in it".to_owned()]),
        true => Ok(all),
        false => Err(faults),
    }
}

/// Finds the lines in which records begin; they come in order.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, record: &csv::StringRecord) -> usize {
        let begin = record.position().map_or(0, |position| position.byte());
        let begin = usize::try_from(begin).unwrap_or(usize::MAX);
        let passed = |at: &usize| self.text.get(*at).is_some_and(|b| matches!(b, b'\r' | b'\n'));
        // Empty lines before it are part of what was read with it.
        let begin = begin + (begin..).take_while(passed).count();
        let between = self.text.get(self.at..begin).unwrap_or_default();
        self.line += between.iter().filter(|octet| **octet == b'\n').count();
        self.at = self.at.max(begin);
        self.line
    }
}

fn export(all: &[Enrolled]) -> Result<String, Failure> {
    let mut out = csv::Writer::from_writer(Vec::new());
    if all.is_empty() {
        let columns = ["account", "wave", "priority", "old_login", "new_login"];
        out.write_record(columns).map_err(Failure::failed)?;
    }
    for row in all {
        out.serialize(row).map_err(Failure::failed)?;
    }
    let octets = out.into_inner().map_err(|e| Failure::failed(io::Error::other(e.to_string())))?;
    String::from_utf8(octets).map_err(Failure::failed)
}

/// More faults than a person reads at once.
const FAULTS_SHOWN: usize = 20;

/// Of a wave's name, or a login.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Phase;

    fn served() -> Accounts {
        Accounts {
            domains: vec!["example.com".into()],
            default_domain: Some("example.com".into()),
            phase: Phase::Merged,
        }
    }

    fn row(account: &str, wave: &str, priority: Option<u32>) -> Enrolled {
        let wave = Some(wave.to_owned()).filter(|wave| !wave.is_empty());
        Enrolled { account: account.into(), wave, priority, ..Enrolled::default() }
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let mut rows = vec![
            row("ann@example.com", "first, and best", Some(1)),
            row("bob@example.com", "", None),
        ];
        rows[0].new_login = Some("a\"nn".into());
        let text = export(&rows).unwrap();
        assert_eq!(read(text.as_bytes(), &served(), None), Ok(rows));
        assert_eq!(export(&[]).unwrap(), "account,wave,priority,old_login,new_login\n");
    }

    #[test]
    fn skyconnects_file_of_users_is_understood() {
        let text = "\u{feff}UserName,FirstName,LastName,mithialias,ClassOfService,newcolumn\r\n\
                    Ann,Ann,Lee,a.lee**annie,gold,x\r\nbob,Bob,,,gold,\r\n";
        let rows = [row("ann@example.com", "pilot", None), row("bob@example.com", "pilot", None)];
        assert_eq!(read(text.as_bytes(), &served(), Some("pilot")), Ok(rows.to_vec()));
    }

    #[test]
    fn every_fault_is_named_by_its_line() {
        let faults = |text: &str| read(text.as_bytes(), &served(), None).unwrap_err();
        assert_eq!(faults("account,vave\nann,1\n"), ["line 1: `vave` is no column here"]);
        let none =
            "line 1: there is no column `account`; its columns are `user;wave`, parted by commas";
        assert_eq!(faults("user;wave\nann;1\n"), [none]);
        assert_eq!(faults("account\n"), ["there is no account in it"]);
        let found = faults(
            "account,priority\nann,1\nann@else.org,\nANN,2\n# bob\n\r\nbob,soon\nbob,-1\n,\na b,\neve,1,2\n",
        );
        let expected = [
            "line 3: `ann@else.org` is no account here",
            "line 4: ann@example.com stands in line 2 already",
            "line 7: the priority `soon` is no number",
            "line 8: bob@example.com stands in line 7 already",
            "line 8: the priority `-1` is no number",
            "line 9: `` is no account here",
            "line 10: `a b` is no account here",
        ];
        assert_eq!(found[..7], expected);
        assert_eq!(found[7..], ["line 11: it has 3 fields, and there are 2 columns"]);
    }
}
