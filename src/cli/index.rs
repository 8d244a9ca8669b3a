//! `mailferry index`: a look into what is remembered.

use clap::{Args, Subcommand};

use super::{ExitCode, Failure};
use crate::config::Config;

#[derive(Subcommand, Debug)]
pub(super) enum IndexCommand {
    /// Write what the index holds; the proxy must not be running.
    #[command(after_help = EXAMPLES)]
    Dump(DumpArgs),
}

const EXAMPLES: &str = "\
Examples:
  mailferry index dump
  mailferry index dump ann@example.com --json";

#[derive(Args, Debug)]
pub(super) struct DumpArgs {
    /// Only this account.
    pub(super) account: Option<String>,
    /// Write one JSON object for each mailbox.
    #[arg(long)]
    pub(super) json: bool,
}

/// Opens the index of the configuration and looks into it.
pub(super) fn run(_config: Config, command: &IndexCommand) -> Result<ExitCode, Failure> {
    let IndexCommand::Dump(args) = command;
    let of = args.account.as_deref().unwrap_or("every account");
    let form = if args.json { " --json" } else { "" };
    Err(Failure::failed(format!("`index dump{form}` of {of} is not there yet")))
}
