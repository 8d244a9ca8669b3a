//! `mailferry plan`: what moving accounts would do, changing nothing on either server.

use std::fmt;

use clap::Args;
use indicatif::{HumanBytes, HumanDuration};

use super::select::SelectionArgs;
use super::{ExitCode, Failure, ask, report};
use crate::admin::commands::PlanAccounts;
use crate::config::Config;
use crate::ferry::{FolderPlan, Plan};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry plan ann@example.com
  mailferry plan ann@example.com --since 2024-01-01
  mailferry plan ann@example.com bob@example.com --json | jq '.[].to_go'";

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Write one JSON array.
    #[arg(long)]
    json: bool,
}

/// Finds out what moving them would do.
pub(super) fn run(config: Config, args: PlanArgs) -> Result<ExitCode, Failure> {
    let (whose, selection, password) = args.selection.read()?;
    let command = PlanAccounts { whose, selection, password };
    let plans = ask::ask_or_do(config, &command, |()| {})?;
    match args.json {
        true => report::print_json(&plans)?,
        false => {
            for plan in &plans {
                report::print(&Shown(plan))?;
            }
        }
    }
    let hindered = plans.iter().any(|plan| !plan.hindrances.is_empty());
    Ok(if hindered { ExitCode::Failed } else { ExitCode::Done })
}

struct Shown<'a>(&'a Plan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        writeln!(f, "{}", plan.account)?;
        for folder in &plan.folders {
            let FolderPlan { name, new, messages, to_go, octets_to_go, .. } = folder;
            let made = if folder.is_made { " (is made)" } else { "" };
            write!(f, "  {name} → {new}{made}: {to_go} of {messages} messages to go")?;
            write!(f, ", about {}", HumanBytes(*octets_to_go))?;
            if folder.to_match > 0 {
                write!(f, "; {} on new are compared with them first", folder.to_match)?;
            }
            if folder.too_large > 0 {
                write!(f, "; {} too large", folder.too_large)?;
            }
            writeln!(f)?;
        }
        let octets = HumanBytes(plan.octets_to_go);
        writeln!(
            f,
            "  in all: {} of {} messages to go, about {octets}",
            plan.to_go, plan.messages
        )?;
        if let Some(seconds) = plan.seconds {
            let time = HumanDuration(std::time::Duration::from_secs_f64(seconds));
            writeln!(f, "  within the limits of [trickle] it takes at least {time}")?;
        }
        for hindrance in &plan.hindrances {
            writeln!(f, "  ! {hindrance}")?;
        }
        Ok(())
    }
}
