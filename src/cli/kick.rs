//! `mailferry kick`: ends the sessions of an account.

use clap::Args;

use super::{ExitCode, Failure, ask, report};
use crate::admin::commands::Kick;
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry kick ann@example.com";

#[derive(Args, Debug)]
pub(super) struct KickArgs {
    /// Whose sessions.
    account: String,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

/// Has the running proxy end them.
pub(super) fn run(config: &Config, args: KickArgs) -> Result<ExitCode, Failure> {
    let kicked = ask::ask(config, &Kick { account: args.account }, |()| {})?;
    match args.json {
        true => report::print_json(&kicked)?,
        false => {
            let sessions = report::count(kicked.sessions as u64, "session");
            report::print(&format_args!("{}: {sessions} ended\n", kicked.account))?;
        }
    }
    Ok(ExitCode::Done)
}
