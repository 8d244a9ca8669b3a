//! `mailferry status`, `stuck`, `retry`, `pause` and `resume`.

use std::fmt;
use std::io::{self, Write};
use std::process;

use clap::Args;
use indicatif::HumanBytes;

use super::report::count;
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
    let state = ask::ask(config, &command, |state| {
        // Nothing else would end it where nobody sees it any more.
        match watched(state, json) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => process::exit(ExitCode::Done as i32),
            Err(e) => process::exit(Failure::output(&e).report() as i32),
        }
    })?;
    match json {
        true => report::print_json(&state)?,
        false => report::print(&Table(&state))?,
    }
    Ok(ExitCode::Done)
}

/// Shows it once more.
fn watched(mut state: State, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&state)?)?;
    } else if let Some(screen) = screen() {
        // Those for whom something is done are seen also where there are more than lines.
        state.accounts.sort_by_key(|account| account.messages_per_second < LEAST_RATE);
        write!(out, "{CLEAR}{}", fitted(&Table(&state).to_string(), screen))?;
    } else {
        write!(out, "{}", Table(&state))?;
    }
    out.flush()
}

/// Columns and lines of the terminal on standard output, if it is one.
fn screen() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 2).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// As much of a text as fits on a screen: lines are cut, and the last ones only counted.
fn fitted(text: &str, (columns, lines): (usize, usize)) -> String {
    let all = text.lines().count();
    // The cursor stands in the last one.
    let shown = if all < lines { all } else { lines.saturating_sub(2) };
    let cut = |line: &str| line.chars().take(columns).collect::<String>() + "\n";
    let mut fits: String = text.lines().take(shown).map(cut).collect();
    if shown < all {
        fits += &cut(&format!("… and {} more; `mailferry status` shows all", all - shown));
    }
    fits
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
    report::print(&format_args!("stuck: {}\n", count(done.messages, "message")))?;
    Ok(ExitCode::Done)
}

/// Has what is stuck tried again.
pub(super) fn retry(config: &Config, args: StuckArgs) -> Result<ExitCode, Failure> {
    let messages = ask::ask(config, &Retry { account: args.account }, |()| {})?;
    match args.json {
        true => report::print_json(&serde_json::json!({ "messages": messages }))?,
        false => report::print(&format_args!("tried again: {}\n", count(messages, "message")))?,
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
        let State { version, enabled, paused, held, phases, sessions, accounts, .. } = self.0;
        write!(f, "Mailferry {version}: {}", count(*sessions, "session"))?;
        for (phase, accounts) in phases.iter().filter(|(_, accounts)| **accounts > 0) {
            write!(f, ", {} in phase {phase}", count(*accounts, "account"))?;
        }
        writeln!(f)?;
        if !enabled {
            writeln!(f, "nothing is copied in the background: `enabled` in [trickle] is false")?;
        } else if *paused {
            writeln!(f, "copying in the background is paused, until `mailferry resume`")?;
        }
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
        if accounts.len() > 1 { sum(f, accounts) } else { Ok(()) }
    }
}

/// What all of them come to.
fn sum(f: &mut fmt::Formatter<'_>, accounts: &[AccountState]) -> fmt::Result {
    let add = |figure: fn(&AccountState) -> u64| accounts.iter().map(figure).sum::<u64>();
    let (copied, messages) = (add(|a| a.copied), add(|a| a.messages));
    let octets = |octets: fn(&AccountState) -> Option<u64>| {
        accounts.iter().filter_map(octets).reduce(|a, b| a.saturating_add(b)).map(HumanBytes)
    };
    let size = match (octets(|a| a.octets_copied), octets(|a| a.octets)) {
        (Some(copied), Some(all)) => format!(", about {copied} of {all}"),
        _ => String::new(),
    };
    let share = (copied as f64 * 100.0 / messages.max(1) as f64).floor();
    let rate: f64 = accounts.iter().map(|a| a.messages_per_second).sum();
    let stuck = add(|a| a.stuck);
    writeln!(
        f,
        "in all: {copied} of {messages} messages ({share:.0}%){size}, {rate:.1}/s, {stuck} stuck"
    )
}

fn line(f: &mut fmt::Formatter<'_>, a: &AccountState, width: usize) -> fmt::Result {
    let share = if a.messages == 0 { 0.0 } else { a.copied as f64 / a.messages as f64 };
    let full = (share * BAR as f64) as usize;
    let bar: String = (0..BAR).map(|at| if at < full { '█' } else { '░' }).collect();
    let rate = match a.messages_per_second {
        rate if rate < LEAST_RATE => "-".to_owned(),
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

/// Fewer messages a second are none.
const LEAST_RATE: f64 = 0.05;

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
            enabled: true,
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
        assert!(text.contains("2 sessions, 1 account in phase merged\n"), "{text}");
    }

    #[test]
    fn what_is_watched_fits_on_the_screen() {
        let text = "head\naccount one\nüüüüüüüüü\naccount three\n";
        assert_eq!(fitted(text, (80, 5)), text);
        assert_eq!(fitted(text, (6, 5)), "head\naccoun\nüüüüüü\naccoun\n");
        let few = "head\naccount one\n… and 2 more; `mailferry status` shows all\n";
        assert_eq!(fitted(text, (80, 4)), few);
    }
}
