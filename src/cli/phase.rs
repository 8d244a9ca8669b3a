//! `mailferry phase`: puts accounts into a phase.

use clap::Args;

use super::{ExitCode, Failure, ask, report};
use crate::admin::Whose;
use crate::admin::client::AskError;
use crate::admin::commands::{PhaseSet, SetPhase};
use crate::base::Phase;
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry phase ann@example.com merged
  mailferry phase ann@example.com new
  mailferry phase ann@example.com old
  mailferry phase ann@example.com new --force --json
  mailferry phase --wave first new
Of a wave, each account that can be put into the phase is; exit code 1 says that some are not.";

#[derive(Args, Debug)]
pub(super) struct PhaseArgs {
    /// Whose, and `old`, `merged` or `new`; with --wave the phase alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["ACCOUNT", "PHASE"])]
    words: Vec<String>,
    /// All accounts of this wave.
    #[arg(long)]
    wave: Option<String>,
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
    let PhaseArgs { words, wave, force, json } = args;
    let of_one = wave.is_none();
    let (accounts, phase) = match (words.as_slice(), of_one) {
        ([account, phase], true) => (vec![account.clone()], phase),
        ([phase], false) => (Vec::new(), phase),
        _ => {
            return Err(Failure::usage("an account and a phase are wanted, or --wave and a phase")
                .next("`mailferry phase --help` has examples"));
        }
    };
    let phase: Phase = phase.parse().map_err(Failure::usage)?;
    let whose = Whose { accounts, wave };
    let mut done = ask::ask(config, &SetPhase { whose, phase, force }, |()| {})?;
    if of_one && let Some(kept) = done.failed.pop() {
        return Err(AskError::Refused(kept.why).into());
    }
    match (json, done.set.as_slice()) {
        (true, [one]) if of_one => report::print_json(one)?,
        (true, _) => report::print_json(&done)?,
        (false, set) => set.iter().try_for_each(show)?,
    }
    for kept in done.failed.iter().filter(|_| !json) {
        let next =
            kept.why.next.as_deref().map_or(String::new(), |next| format!("\n  next: {next}"));
        report::print(&format_args!(
            "{}: NOT in phase {phase}: {}{next}\n",
            kept.account, kept.why
        ))?;
    }
    Ok(if done.failed.is_empty() { ExitCode::Done } else { ExitCode::Failed })
}

fn show(set: &PhaseSet) -> Result<(), Failure> {
    report::print(&format_args!("{}: phase {} → {}\n", set.account, set.from, set.to))?;
    for left in &set.left {
        let (uid, mailbox, why) = (left.uid, &left.mailbox, &left.why);
        report::print(&format_args!("  not seen now: UID {uid} of {mailbox}: {why}\n"))?;
    }
    Ok(())
}
