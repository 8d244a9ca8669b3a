//! `mailferry plan`: what moving accounts would do, changing nothing on either server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{HumanBytes, HumanDuration};

use super::secret;
use super::sync::{SelectionArgs, account};
use super::{ExitCode, Failure, ask, report};
use crate::account::Accounts;
use crate::admin::commands::{PlanAccounts, Selection};
use crate::base::{AccountName, SecretString};
use crate::config::Config;
use crate::ferry::{FolderPlan, Plan, plan};
use crate::index::{Index, IndexError};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry plan ann@example.com
  mailferry plan ann@example.com --since 2024-01-01
  mailferry plan ann@example.com bob@example.com --json | jq '.[].to_go'";

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    /// Which accounts.
    #[arg(required = true, value_name = "ACCOUNT")]
    accounts: Vec<String>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// A file with the user's own password, where no administrator can log in; without a running proxy.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Write one JSON array.
    #[arg(long)]
    json: bool,
}

/// Finds out what moving them would do.
pub(super) fn run(config: Config, args: PlanArgs) -> Result<ExitCode, Failure> {
    let selection = args.selection.selection();
    selection.scope().map_err(Failure::usage)?;
    let plans = match Index::open(&config.state.join("index")) {
        Err(IndexError::Locked { .. }) => {
            if args.password_file.is_some() {
                return Err(Failure::usage("the proxy runs: it takes no password from here")
                    .next("give both sides credentials of mode `master` or `table`"));
            }
            ask::ask(&config, &PlanAccounts { accounts: args.accounts, selection }, |()| {})?
        }
        opened => {
            let (index, _) = opened.map_err(Failure::failed)?;
            let names = args.accounts.iter().map(|typed| account(&config, typed));
            let names: Vec<AccountName> = names.collect::<Result<_, _>>()?;
            let file = args.password_file.as_deref();
            let password = file.map(|file| secret::read(Some(file), None)).transpose()?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(Failure::failed)?;
            runtime.block_on(alone(config, index, &names, &selection, password.as_ref()))?
        }
    };
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

async fn alone(
    config: Config,
    index: Index,
    names: &[AccountName],
    selection: &Selection,
    password: Option<&SecretString>,
) -> Result<Vec<Plan>, Failure> {
    let scope = selection.scope().map_err(Failure::usage)?;
    let accounts =
        Accounts::open(Arc::new(config), index.clone()).await.map_err(Failure::failed)?;
    let mut plans = Vec::with_capacity(names.len());
    for name in names {
        let access = accounts.preview(name, password).await.map_err(Failure::failed)?;
        let access = access.ok_or_else(|| {
            Failure::failed(format!("nobody can log in for {name}"))
                .next("give both sides credentials of mode `master` or `table`, or --password-file")
        })?;
        plans.push(plan(&accounts, name, &access, &scope).await.map_err(Failure::failed)?);
    }
    index.close().await;
    Ok(plans)
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
            write!(f, ", {}", HumanBytes(*octets_to_go))?;
            if folder.to_match > 0 {
                write!(f, "; {} on new are compared with them first", folder.to_match)?;
            }
            if folder.too_large > 0 {
                write!(f, "; {} too large", folder.too_large)?;
            }
            writeln!(f)?;
        }
        let octets = HumanBytes(plan.octets_to_go);
        writeln!(f, "  in all: {} of {} messages to go, {octets}", plan.to_go, plan.messages)?;
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
