//! `mailferry serve`: the proxy itself.

use clap::Args;

use super::{ExitCode, Failure};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  mailferry serve
  mailferry --config /etc/mailferry/proxy.toml serve --log-json
  MAILFERRY_LOG=mailferry=debug mailferry serve";

#[derive(Args, Debug)]
pub(super) struct ServeArgs {}

/// Serves until it is told to stop.
pub(super) fn run(_config: Config) -> Result<ExitCode, Failure> {
    Err(Failure::failed("`serve` is not there yet"))
}
