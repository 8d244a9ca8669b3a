//! `mailferry phase`: puts an account into a phase.

use std::fmt::Write;

use clap::Args;

use super::{ExitCode, Failure, ask, report};
use crate::admin::commands::SetPhase;
use crate::base::Phase;
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry phase ann@example.com merged
  mailferry phase ann@example.com new
  mailferry phase ann@example.com old
  mailferry phase ann@example.com new --force --json";

#[derive(Args, Debug)]
pub(super) struct PhaseArgs {
    /// Whose.
    account: String,
    /// `old`, `merged` or `new`.
    phase: Phase,
    /// Go to phase new although it was not verified, or to any phase although messages cannot be brought
    /// there: they are listed, and stay where they are.
    #[arg(long)]
    force: bool,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

/// Has the running proxy do it.
pub(super) fn run(config: &Config, args: PhaseArgs) -> Result<ExitCode, Failure> {
    let set = SetPhase { account: args.account, phase: args.phase, force: args.force };
    let set = ask::ask(config, &set, |()| {})?;
    if args.json {
        report::print_json(&set)?;
        return Ok(ExitCode::Done);
    }
    let mut text = format!("{}: phase {} → {}\n", set.account, set.from, set.to);
    for left in &set.left {
        writeln!(text, "  not seen now: UID {} of {}: {}", left.uid, left.mailbox, left.why)
            .map_err(Failure::failed)?;
    }
    report::print(&text)?;
    Ok(ExitCode::Done)
}
