//! `mailferry sync`: moves accounts now, in the foreground: by the running proxy, or without one.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::secret;
use super::{ExitCode, Failure, ask, report};
use crate::account::Accounts;
use crate::admin::commands::{Selection, SyncAccounts, SyncProgress};
use crate::base::{AccountName, SecretString};
use crate::config::Config;
use crate::ferry::{Ferry, Figures, State, Sync, Synced};
use crate::index::{Index, IndexError, Opened};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry sync ann@example.com
  mailferry sync ann@example.com --since 2024-01-01 --folder INBOX --folder 'Work*'
  mailferry sync ann@example.com --password-file ann.password --json";

#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    /// Which accounts.
    #[arg(required = true, value_name = "ACCOUNT")]
    accounts: Vec<String>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// A file with the user's own password, where no administrator can log in; without a running proxy.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Write a line of JSON for each step, and one for each account at its end.
    #[arg(long)]
    json: bool,
}

/// What of an account.
#[derive(Args, Debug)]
pub(super) struct SelectionArgs {
    /// Only this folder, as its clients call it; `*` stands for anything. May be given again.
    #[arg(long = "folder", value_name = "PATTERN")]
    folders: Vec<String>,
    /// Not this folder. May be given again.
    #[arg(long = "skip-folder", value_name = "PATTERN")]
    skip_folders: Vec<String>,
    /// Only messages that arrived on this day or later.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<String>,
    /// Only messages that arrived before this day.
    #[arg(long, value_name = "YYYY-MM-DD")]
    before: Option<String>,
    /// No message with more octets.
    #[arg(long, value_name = "OCTETS")]
    largest: Option<u64>,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection {
            folders: self.folders.clone(),
            skip_folders: self.skip_folders.clone(),
            since: self.since.clone(),
            before: self.before.clone(),
            largest: self.largest,
        }
    }
}

/// Moves them.
pub(super) fn run(config: Config, args: SyncArgs) -> Result<ExitCode, Failure> {
    let selection = args.selection.selection();
    selection.scope().map_err(Failure::usage)?;
    let mut shown = Shown::new(args.json);
    let synced = match Index::open(&config.state.join("index")) {
        // The proxy runs: it does it.
        Err(IndexError::Locked { .. }) => {
            if args.password_file.is_some() {
                return Err(Failure::usage("the proxy runs: it takes no password from here")
                    .next("give both sides credentials of mode `master` or `table`"));
            }
            let command = SyncAccounts { accounts: args.accounts, selection };
            ask::ask(&config, &command, |SyncProgress { account, figures }| {
                shown.progress(&account, &figures);
            })?
        }
        opened => {
            let (index, opened) = opened.map_err(Failure::failed)?;
            if let Opened::Rebuild { why, .. } = opened {
                warn!("the index could not be trusted ({why}); it is rebuilt from the servers");
            }
            let names = args.accounts.iter().map(|typed| account(&config, typed));
            let names: Vec<AccountName> = names.collect::<Result<_, _>>()?;
            let file = args.password_file.as_deref();
            let password = file.map(|file| secret::read(Some(file), None)).transpose()?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(Failure::failed)?;
            runtime.block_on(alone(config, index, &names, &selection, password, &mut shown))?
        }
    };
    shown.end(&synced)?;
    let ok = synced.iter().all(|one| one.ok);
    Ok(if ok { ExitCode::Done } else { ExitCode::Failed })
}

pub(super) fn account(config: &Config, typed: &str) -> Result<AccountName, Failure> {
    config.accounts.account(typed).ok_or_else(|| {
        Failure::usage(format!("`{}` is no account here", typed.escape_debug()))
            .next("give a user's name with a domain that accounts.domains serves")
    })
}

/// Without a running proxy.
async fn alone(
    config: Config,
    index: Index,
    names: &[AccountName],
    selection: &Selection,
    password: Option<SecretString>,
    shown: &mut Shown,
) -> Result<Vec<Synced>, Failure> {
    let config = Arc::new(config);
    index.keep_free(config.limits.free_space);
    let stop = CancellationToken::new();
    let accounts = Accounts::open(Arc::clone(&config), index.clone()).await;
    let accounts = accounts.map_err(Failure::failed)?;
    let ferry = Ferry::new(config, stop.clone());
    let scope = selection.scope().map_err(Failure::usage)?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        // Where signals cannot be heard, it is killed instead; what is under way is found again.
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    let sync = Sync { accounts: &accounts, ferry: &ferry, scope, password, stop };
    let synced =
        sync.run(names, EVERY, |account, figures| shown.progress(account.as_str(), &figures)).await;
    ferry.stopped().await;
    index.close().await;
    Ok(synced)
}

/// How it goes, as it is shown: bars on a terminal, lines of JSON if asked for, else nothing.
struct Shown {
    json: bool,
    bars: Option<(MultiProgress, HashMap<String, ProgressBar>)>,
}

impl Shown {
    fn new(json: bool) -> Shown {
        let bars = !json && std::io::stderr().is_terminal();
        Shown { json, bars: bars.then(|| (MultiProgress::new(), HashMap::new())) }
    }

    fn progress(&mut self, account: &str, figures: &Figures) {
        if self.json {
            let line =
                serde_json::json!({ "progress": { "account": account, "figures": figures } });
            // Nobody reads it: the exit code still tells.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        let Some((all, bars)) = &mut self.bars else { return };
        let bar = bars.entry(account.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template(BAR);
            let bar = all.add(ProgressBar::new(0).with_prefix(account.to_string()));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_length(figures.messages);
        bar.set_position(figures.copied);
        let state = match &figures.state {
            State::Waiting | State::Copying | State::Settled => String::new(),
            State::Yielding => ", waits for a client".to_owned(),
            State::Paused(why) => format!(", {why}"),
        };
        bar.set_message(format!(
            "{:.0} messages/s, {}/s{state}",
            figures.messages_per_second,
            HumanBytes(figures.octets_per_second as u64)
        ));
    }

    fn end(&mut self, synced: &[Synced]) -> Result<(), Failure> {
        if let Some((all, _)) = self.bars.take()
            && let Err(e) = all.clear()
        {
            warn!("the bars cannot be taken away: {e}");
        }
        for one in synced {
            if self.json {
                let line = serde_json::json!({ "done": one });
                report::print(&format_args!("{line}\n"))?;
                continue;
            }
            let Figures { messages, copied, stuck, carried, octets_carried, .. } = one.figures;
            let why = one.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
            report::print(&format_args!(
                "{}: {copied} of {messages} messages are on new, {stuck} stuck; {carried} carried now \
                 ({}) in {:.1} s{why}\n",
                one.account,
                HumanBytes(octets_carried),
                one.seconds,
            ))?;
        }
        Ok(())
    }
}

const BAR: &str = "{prefix:30!} {wide_bar} {pos}/{len} {msg} {eta}";

/// How often bars move.
const EVERY: Duration = Duration::from_millis(250);
