//! `mailferry index`: a look into what is remembered, and putting it back from a snapshot.

use std::path::Path;

use clap::{Args, Subcommand};

use super::{ExitCode, Failure, report};
use crate::base::Utc;
use crate::config::Config;
use crate::index::{Index, IndexError, restore, snapshots};

#[derive(Subcommand, Debug)]
pub(super) enum IndexCommand {
    /// Write what the index holds; the proxy must not be running.
    #[command(after_help = EXAMPLES)]
    Dump(DumpArgs),
    /// List the snapshots, oldest first.
    Snapshots(SnapshotsArgs),
    /// Put a snapshot back in the place of the index; the proxy must not be running.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
}

const EXAMPLES: &str = "\
Examples:
  mailferry index dump
  mailferry index dump ann@example.com --runs 1000
  mailferry index dump --json | jq '.accounts[].mailboxes[].stuck'";

const RESTORE_EXAMPLES: &str = "\
What is there is put aside and not deleted. What happened since the snapshot is taken from both
servers when the proxy runs again; no UID gets a second meaning.

Examples:
  mailferry index snapshots
  mailferry index restore
  mailferry index restore --at 2026-11-26T01:44:22Z";

#[derive(Args, Debug)]
pub(super) struct SnapshotsArgs {
    /// Write one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// The newest that is not younger than this, as `index snapshots` writes it; default: the newest.
    #[arg(long, value_name = "TIME")]
    at: Option<Utc>,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

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
    let dir = config.state.join("index");
    match command {
        IndexCommand::Dump(args) => dump(&config, &dir, args),
        IndexCommand::Snapshots(args) => {
            let all = snapshots(&dir).map_err(refused)?;
            match args.json {
                true => report::print_json(&all)?,
                false => all.iter().try_for_each(report::print)?,
            }
            Ok(ExitCode::Done)
        }
        IndexCommand::Restore(args) => {
            let restored = restore(&dir, args.at).map_err(refused)?;
            match args.json {
                true => report::print_json(&restored)?,
                false => report::print(&restored)?,
            }
            Ok(ExitCode::Done)
        }
    }
}

fn dump(config: &Config, dir: &Path, args: &DumpArgs) -> Result<ExitCode, Failure> {
    let account = match &args.account {
        None => None,
        Some(typed) => Some(config.accounts.account(typed).ok_or_else(|| {
            Failure::usage(format!("`{}` is no account here", typed.escape_debug()))
                .next("give a user's name with a domain that accounts.domains serves")
        })?),
    };
    let index = Index::open_read_only(dir).map_err(refused)?;
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
        IndexError::NoSnapshot { .. } => Some(
            "`mailferry index snapshots` lists them; without one the index is rebuilt from the servers",
        ),
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
