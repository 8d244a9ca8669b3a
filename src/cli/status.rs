//! `mailferry status`, `stuck`, `retry`, `pause` and `resume`.

use std::fmt;
use std::io::{self, IsTerminal};

use clap::Args;
use indicatif::HumanBytes;

use super::{ExitCode, Failure, ask, report};
use crate::admin::Whose;
use crate::admin::commands::{AccountState, Pause, Retry, ShowStuck, State, Status};
use crate::config::Config;

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  mailferry status
  mailferry status ann@example.com --json
  mailferry status --wave first --watch";

pub(super) const STUCK_EXAMPLES: &str = "\
Examples:
  mailferry stuck
  mailferry stuck ann@example.com --json";

pub(super) const RETRY_EXAMPLES: &str = "\
Examples:
  mailferry retry
  mailferry retry ann@example.com";

pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  mailferry pause
  mailferry pause ann@example.com
  mailferry resume --wave first";

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// Only these accounts.
    account: Vec<String>,
    /// Only the accounts of this wave.
    #[arg(long)]
    wave: Option<String>,
    /// Show it again each second, until stopped.
    #[arg(long)]
    watch: bool,
    /// Write one JSON object; with --watch one a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct StuckArgs {
    /// Only of this account.
    account: Option<String>,
    /// Write one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct PauseArgs {
    /// Of these accounts; none: of all.
    account: Vec<String>,
    /// Of the accounts of this wave.
    #[arg(long)]
    wave: Option<String>,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

/// Shows how far everything is.
pub(super) fn status(config: &Config, args: StatusArgs) -> Result<ExitCode, Failure> {
    let StatusArgs { account, wave, watch, json } = args;
    let command = Status { whose: Whose { accounts: account, wave }, watch };
    let mut trouble = None;
    let mut show = |state: State| {
        let shown = match (json, watch) {
            (true, false) => report::print_json(&state),
            (true, true) => match serde_json::to_string(&state) {
                Ok(line) => report::print(&format_args!("{line}\n")),
                Err(e) => Err(Failure::failed(e)),
            },
            (false, true) if io::stdout().is_terminal() => {
                report::print(&format_args!("{CLEAR}{}", Table(&state)))
            }
            (false, _) => report::print(&Table(&state)),
        };
        if let Err(e) = shown {
            trouble.get_or_insert(e);
        }
    };
    let state = ask::ask(config, &command, &mut show)?;
    show(state);
    trouble.map_or(Ok(ExitCode::Done), Err)
}

/// Shows what new refused.
pub(super) fn stuck(config: Config, args: StuckArgs) -> Result<ExitCode, Failure> {
    let mut all = Vec::new();
    let done =
        ask::ask_or_do(config, &ShowStuck { account: args.account }, |stuck| all.push(stuck))?;
    if args.json {
        report::print_json(&all)?;
        return Ok(ExitCode::Done);
    }
    for stuck in &all {
        report::print(&format_args!(
            "{} {}: uid {}, tried {} times, again at {}\n    {}\n",
            stuck.account,
            stuck.mailbox,
            stuck.uid,
            stuck.tries,
            moment(stuck.next_try),
            stuck.reason.escape_debug()
        ))?;
    }
    for rest in &done.resting {
        report::print(&format_args!(
            "{}: nothing is copied until {}\n    {}\n",
            rest.account,
            moment(rest.next_try),
            rest.why.escape_debug()
        ))?;
    }
    report::print(&format_args!("{} messages are stuck\n", done.messages))?;
    Ok(ExitCode::Done)
}

/// Has what is stuck tried again.
pub(super) fn retry(config: &Config, args: StuckArgs) -> Result<ExitCode, Failure> {
    let count = ask::ask(config, &Retry { account: args.account }, |()| {})?;
    match args.json {
        true => report::print_json(&serde_json::json!({ "messages": count }))?,
        false => report::print(&format_args!("{count} messages are tried again\n"))?,
    }
    Ok(ExitCode::Done)
}

/// Pauses copying, or goes on with it.
pub(super) fn pause(config: Config, args: PauseArgs, on: bool) -> Result<ExitCode, Failure> {
    let PauseArgs { account, wave, json } = args;
    let done =
        ask::ask_or_do(config, &Pause { whose: Whose { accounts: account, wave }, on }, |()| {})?;
    if json {
        report::print_json(&done)?;
        return Ok(ExitCode::Done);
    }
    let whose = match done.accounts.is_empty() {
        true => "all accounts".to_owned(),
        false => done.accounts.join(", "),
    };
    let what = if done.paused { "is paused" } else { "goes on" };
    report::print(&format_args!("copying in the background {what}: {whose}\n"))?;
    Ok(ExitCode::Done)
}

/// A line for each account, with a bar.
struct Table<'a>(&'a State);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { version, paused, held, phases, sessions, accounts, .. } = self.0;
        write!(f, "Mailferry {version}: {sessions} sessions")?;
        for (phase, count) in phases {
            write!(f, ", {count} accounts in phase {phase}")?;
        }
        writeln!(f, "{}", if *paused { "; copying is paused" } else { "" })?;
        if let Some(held) = held {
            let rate = HumanBytes(held.octets_per_second as u64);
            write!(f, "clients are at work: copying goes at {rate}/s at most")?;
            match held.slowdown {
                Some(slowdown) => writeln!(f, "; their commands take {slowdown:.2} times as long")?,
                None => writeln!(f)?,
            }
        }
        if accounts.is_empty() {
            return writeln!(f, "no account was ever seen");
        }
        let width = accounts.iter().map(|a| a.account.chars().count()).max().unwrap_or(0).max(7);
        writeln!(
            f,
            "{:width$} {:7} {:8} {:20} {:>17} {:>21} {:>10} {:>9} {:>6} {:>8}  doing",
            "account",
            "phase",
            "wave",
            "copied",
            "messages",
            "bytes, about",
            "rate",
            "left",
            "stuck",
            "sessions"
        )?;
        for account in accounts {
            line(f, account, width)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, a: &AccountState, width: usize) -> fmt::Result {
    let share = if a.messages == 0 { 0.0 } else { a.copied as f64 / a.messages as f64 };
    let full = (share * BAR as f64) as usize;
    let bar: String = (0..BAR).map(|at| if at < full { '█' } else { '░' }).collect();
    let rate = match a.messages_per_second {
        rate if rate < 0.05 => "-".to_owned(),
        rate => format!("{rate:.1}/s"),
    };
    let octets = a.octets_copied.zip(a.octets).map_or("-".to_owned(), |(copied, all)| {
        format!("{}/{}", HumanBytes(copied), HumanBytes(all))
    });
    let left = a.seconds_left.map_or("-".to_owned(), duration);
    let doing = if a.paused { "paused" } else { a.doing.as_deref().unwrap_or("") };
    writeln!(
        f,
        "{:width$} {:7} {:8} {bar} {:>3.0}% {:>17} {octets:>21} {rate:>10} {left:>9} {:>6} {:>8}  {doing}",
        a.account,
        a.phase.to_string(),
        a.wave.as_deref().unwrap_or("-"),
        (share * 100.0).floor(),
        format!("{}/{}", a.copied, a.messages),
        a.stuck,
        a.sessions,
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h{:02}", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Unix seconds as a person reads them.
fn moment(seconds: u64) -> String {
    let at =
        i64::try_from(seconds).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.map_or(seconds.to_string(), |at| {
        format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
    })
}

/// Cells of a bar.
const BAR: usize = 15;

/// To the beginning, and nothing behind it.
const CLEAR: &str = "\x1b[H\x1b[J";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Phase;
    use crate::ferry::Held;

    #[test]
    fn a_line_for_each_account() {
        let account = AccountState {
            account: "ann@example.com".into(),
            phase: Phase::Merged,
            wave: Some("first".into()),
            priority: None,
            paused: false,
            doing: Some("copying".into()),
            sessions: 2,
            mailboxes: 3,
            messages: 10_000,
            copied: 9_999,
            only_new: 1,
            stuck: 1,
            octets: Some(5 << 30),
            octets_copied: Some(3 << 29),
            octets_carried: 5,
            messages_per_second: 12.34,
            octets_per_second: 1.0,
            seconds_left: Some(7_500),
        };
        let state = State {
            at: 1,
            version: "1".into(),
            paused: false,
            held: Some(Held { octets_per_second: 2.5e6, slowdown: Some(1.1) }),
            phases: [(Phase::Merged, 1)].into(),
            sessions: 2,
            accounts: vec![account],
        };
        let text = Table(&state).to_string();
        // Not done is never shown as done.
        for part in [
            "██████████████░  99%",
            "9999/10000",
            "1.50 GiB/5.00 GiB",
            "12.3/s",
            "2h05",
            "copying",
            "2.38 MiB/s at most; their commands take 1.10 times",
        ] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
        assert_eq!(text.lines().count(), 4);
    }
}
