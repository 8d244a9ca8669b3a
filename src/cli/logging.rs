//! The log: to standard error, one line an event, as text or JSON; and the audit log, to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Failure;
use crate::admin::AUDIT;

/// Starts the log by `--log`, else by MAILFERRY_LOG, else at the default level.
pub(super) fn start(wanted: Option<&str>, default: &str, json: bool) -> Result<(), Failure> {
    let from_environment = std::env::var(VARIABLE).ok().filter(|filter| !filter.is_empty());
    let default = format!("{default}{QUIET}");
    let (filter, from) = match (wanted, from_environment.as_deref()) {
        (Some(filter), _) => (filter, "--log"),
        (None, Some(filter)) => (filter, VARIABLE),
        (None, None) => (default.as_str(), "the default level"),
    };
    let filter = parse(filter, from)?;
    let out = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let out = match json {
        true => out.json().with_filter(filter).boxed(),
        false => out.with_filter(filter).boxed(),
    };
    // With the spans, which say who and whose.
    let of_audit = filter_fn(|event| event.is_span() || event.target() == AUDIT);
    let audit = tracing_subscriber::fmt::layer()
        .json()
        .with_ansi(false)
        .with_writer(|| AuditFile)
        .with_filter(of_audit.with_max_level_hint(LevelFilter::INFO));
    let started = tracing_subscriber::registry().with(out).with(audit).try_init();
    // A log that somebody else started already (a test, an embedding program) goes on.
    drop(started);
    Ok(())
}

/// From now on what the audit log is made of is appended to this file as well.
pub(super) fn audit_to(path: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = file.map_err(|e| {
        Failure::failed(format!("the audit log {} cannot be written: {e}", path.display()))
    })?;
    // Set once: there is one `serve` in a process.
    drop(AUDIT_FILE.set(file));
    Ok(())
}

static AUDIT_FILE: OnceLock<File> = OnceLock::new();

/// Each event is written with one call, so that lines stay whole.
struct AuditFile;

impl Write for AuditFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        AUDIT_FILE.get().map_or(Ok(line.len()), |mut file| file.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        AUDIT_FILE.get().map_or(Ok(()), |mut file| file.flush())
    }
}

fn parse(filter: &str, from: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("{from} is no log filter: {error}"))
            .next("give a level (error, warn, info, debug, trace) or name=level,name=level")
    })
}

const VARIABLE: &str = "MAILFERRY_LOG";

/// The verifier logs a refused certificate as an error of its own, without saying whose it was; we
/// say it with the server's name and what to do.
const QUIET: &str = ",rustls_platform_verifier=off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for good in
            ["info", &format!("warn{QUIET}"), "warn,mailferry=debug", "mailferry::session=trace"]
        {
            assert!(parse(good, "--log").is_ok(), "{good}");
        }
        assert!(parse("mailferry=loud", "--log").is_err());
    }
}
