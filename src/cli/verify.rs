//! `mailferry verify`: proves that all of an account lies on new, and reports it.

mod html;
mod report;

use std::path::PathBuf;

use clap::Args;

use self::report::Report;
use super::select::password_of;
use super::{ExitCode, Failure, ask};
use crate::admin::Whose;
use crate::admin::commands::Verify;
use crate::config::Config;
use crate::ferry::verify::{Finding, Kind, Thoroughness};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry verify ann@example.com
  mailferry verify ann bob --deep --report proof.html
  mailferry verify --wave first --report differences.csv
  mailferry verify ann --ignore flags --json | jq .result
Exit code 1 says that there are differences, or that something could not be looked at.";

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Whose mail.
    #[arg(required_unless_present = "wave")]
    account: Vec<String>,
    /// All accounts of this wave.
    #[arg(long)]
    wave: Option<String>,
    /// Read every message from both servers and compare the contents.
    #[arg(long)]
    deep: bool,
    /// Tell of these differences, but do not count them: flags, for example, which users change on new
    /// once a message was copied.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    ignore: Vec<Kind>,
    /// Write a report: .csv (the differences), .json (all), or .html (a page to be printed).
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A file with the user's password, where the proxy has no login of its own for a server.
    #[arg(long, value_name = "FILE", conflicts_with = "wave")]
    password_file: Option<PathBuf>,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

/// Verifies through the running proxy, or without one.
pub(super) fn run(config: Config, args: VerifyArgs) -> Result<ExitCode, Failure> {
    let mut report = Report::new(args.report.as_deref(), args.json)?;
    let password = password_of(args.password_file, args.account.len())?;
    let command = Verify {
        whose: Whose { accounts: args.account, wave: args.wave },
        how: Thoroughness { deep: args.deep, ignore: args.ignore },
        password,
    };
    let mut trouble = None;
    let done = ask::ask_or_do(config, &command, |finding| {
        let written = match &finding {
            Finding::Difference(difference) => report.difference(difference),
            Finding::Mailbox(totals) => report.mailbox(totals),
        };
        if let Err(e) = written {
            trouble.get_or_insert(e);
        }
    })?;
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    report.end(&done, args.deep)?;
    Ok(if done.is_clean() { ExitCode::Done } else { ExitCode::Failed })
}
