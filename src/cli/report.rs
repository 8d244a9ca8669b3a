//! How a command ends: exit codes, and the one place where errors are told.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::config::ConfigError;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitCode {
    /// What was asked for is done.
    Done = 0,
    /// It failed, or differences were found.
    Failed = 1,
    /// It was asked for wrongly: arguments or configuration.
    Usage = 2,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}

/// Why a command did not do what was asked for, and what to do next.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    error: Box<dyn Error + Send + Sync>,
    next: Option<String>,
}

impl Failure {
    /// It was tried and failed.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { code: ExitCode::Failed, error: error.into(), next: None }
    }

    /// It was asked for wrongly.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { code: ExitCode::Usage, error: error.into(), next: None }
    }

    /// Nothing can be written to standard output.
    pub(super) fn output(error: &io::Error) -> Failure {
        Failure::failed(format!("standard output: {error}"))
    }

    /// Adds what to do next.
    pub fn next(self, next: impl Into<String>) -> Failure {
        Failure { next: Some(next.into()), ..self }
    }

    /// Tells the failure on standard error; gives the code to end with.
    pub fn report(self) -> ExitCode {
        // With standard error gone, the exit code still tells.
        let _ = self.write(&mut io::stderr().lock());
        self.code
    }

    /// `error: …`, a line for each cause, and what to do next.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "error: {}", self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            writeln!(out, "  because: {error}")?;
            cause = error.source();
        }
        match &self.next {
            Some(next) => writeln!(out, "  next: {next}"),
            None => Ok(()),
        }
    }
}

/// Writes a text to standard output.
pub(super) fn print(text: &impl Display) -> Result<(), Failure> {
    written(write!(io::stdout().lock(), "{text}"))
}

/// So many of something: `1 message`, `2 messages`.
pub(super) fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// Writes a value to standard output, as one JSON object over several lines.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    written(writeln!(io::stdout().lock(), "{text}"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::output(&error)),
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next = match &error {
            ConfigError::Read { .. } => {
                "name the file by --config FILE, or start from the documented example proxy.toml"
            }
            ConfigError::Invalid { .. } => {
                "correct the line; the documented example proxy.toml explains every key"
            }
        };
        Failure::usage(error).next(next)
    }
}
