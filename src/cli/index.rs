//! `mailferry index`: a look into what is remembered.

use clap::{Args, Subcommand};

use super::{ExitCode, Failure, report};
use crate::config::Config;
use crate::index::{Index, IndexError};

#[derive(Subcommand, Debug)]
pub(super) enum IndexCommand {
    /// Write what the index holds; the proxy must not be running.
    #[command(after_help = EXAMPLES)]
    Dump(DumpArgs),
}

const EXAMPLES: &str = "\
Examples:
  mailferry index dump
  mailferry index dump ann@example.com --runs 1000
  mailferry index dump --json | jq '.accounts[].mailboxes[].stuck'";

#[derive(Args, Debug)]
pub(super) struct DumpArgs {
    /// Only this account.
    pub(super) account: Option<String>,
    /// Write one JSON object; numbers of time are Unix seconds.
    #[arg(long)]
    pub(super) json: bool,
    /// So many runs of each mailbox, from the first.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) runs: usize,
}

/// Opens the index of the configuration and looks into it.
pub(super) fn run(config: Config, command: &IndexCommand) -> Result<ExitCode, Failure> {
    let IndexCommand::Dump(args) = command;
    let account = match &args.account {
        None => None,
        Some(typed) => Some(config.accounts.account(typed).ok_or_else(|| {
            Failure::usage(format!("`{}` is no account here", typed.escape_debug()))
                .next("give a user's name with a domain that accounts.domains serves")
        })?),
    };
    let index = Index::open_read_only(&config.state.join("index")).map_err(refused)?;
    let dump = index.dump(account.as_ref(), args.runs).map_err(refused)?;
    if let Some(account) = &account
        && dump.accounts.is_empty()
    {
        return Err(Failure::failed(format!("the index has no account {account}")).next(
            "an account is made when its user first logs in; leave the name out to see all",
        ));
    }
    match args.json {
        true => report::print_json(&dump)?,
        false => report::print(&dump)?,
    }
    Ok(ExitCode::Done)
}

fn refused(error: IndexError) -> Failure {
    let next = match &error {
        IndexError::Locked { .. } => {
            Some("stop the proxy that runs with this `state`, and ask again")
        }
        IndexError::Missing { .. } => Some(
            "is `state` in the configuration the right directory? \
             The first `mailferry serve` makes the index",
        ),
        _ => None,
    };
    let failure = Failure::failed(error);
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}
