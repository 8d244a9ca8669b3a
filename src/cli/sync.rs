//! `mailferry sync`: moves accounts now, in the foreground: by the running proxy, or without one.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use clap::Args;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use tracing::warn;

use super::select::SelectionArgs;
use super::{ExitCode, Failure, ask, report};
use crate::admin::commands::{SyncAccounts, SyncProgress};
use crate::config::Config;
use crate::ferry::{Figures, State, Synced};

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry sync ann@example.com
  mailferry sync ann@example.com --since 2024-01-01 --folder INBOX --folder 'Work*'
  mailferry sync ann@example.com --password-file ann.password --json
  mailferry sync --wave first";

#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Write a line of JSON for each step, and one for each account at its end.
    #[arg(long)]
    json: bool,
}

/// Moves them.
pub(super) fn run(config: Config, args: SyncArgs) -> Result<ExitCode, Failure> {
    let (whose, selection, password) = args.selection.read()?;
    let mut shown = Shown::new(args.json);
    let command = SyncAccounts { whose, selection, password };
    let synced = ask::ask_or_do(config, &command, |SyncProgress { account, figures }| {
        shown.progress(&account, &figures);
    })?;
    shown.end(&synced)?;
    let ok = synced.iter().all(|one| one.ok);
    Ok(if ok { ExitCode::Done } else { ExitCode::Failed })
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
        let of = |octets: Option<u64>| octets.map_or("?".to_owned(), |n| HumanBytes(n).to_string());
        bar.set_message(format!(
            "about {} of {}, {:.0} messages/s, {}/s{state}",
            of(figures.octets_copied),
            of(figures.octets),
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
