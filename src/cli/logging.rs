//! The log: to standard error, one line an event, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::Failure;

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
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match json {
        true => log.json().try_init(),
        false => log.try_init(),
    };
    // A log that somebody else started already (a test, an embedding program) goes on.
    drop(started);
    Ok(())
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
