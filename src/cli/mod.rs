//! The command line: one file per subcommand, and one place where errors are told.
//!
//! Owns arguments, help texts, exit codes, the log's set-up and everything that is written to
//! standard output. Decides nothing about mail.

mod accounts;
mod ask;
mod certs;
mod check;
mod help;
mod index;
mod kick;
mod logging;
mod phase;
mod plan;
mod report;
mod secret;
mod select;
mod serve;
mod status;
mod sync;
#[cfg(test)]
mod tests;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Config;

pub use report::{ExitCode, Failure};

/// Runs the program: arguments in, exit code out.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and version are refusals to clap, but not to the user. If nobody reads what is
            // printed, there is nobody to tell either.
            let _ = refused.print();
            return if refused.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
        }
    };
    cli.dispatch().unwrap_or_else(|failure| failure.report())
}

/// A transparent IMAP migration proxy: one mailbox made of two mail servers.
#[derive(Parser, Debug)]
#[command(name = "mailferry", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// The configuration file; paths in it are relative to its directory.
    #[arg(short, long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,

    /// What to log: a level or a filter like `info,mailferry::session=debug`.
    ///
    /// Without it, the environment variable MAILFERRY_LOG; without that, `info` for serve and
    /// `warn` for the other commands. The log goes to standard error.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,

    /// Log one JSON object a line.
    #[arg(long, global = true)]
    log_json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Receive mail clients and show each the one mailbox.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Try the configuration and both servers, changing nothing.
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// End the sessions of an account.
    #[command(after_help = kick::EXAMPLES)]
    Kick(kick::KickArgs),
    /// Move accounts now, as fast as it goes.
    #[command(after_help = sync::EXAMPLES)]
    Sync(sync::SyncArgs),
    /// Find out what moving accounts would do, changing nothing on either server.
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::PlanArgs),
    /// Show how far every account is.
    #[command(after_help = status::STATUS_EXAMPLES)]
    Status(status::StatusArgs),
    /// Show which messages the new server refused, and why.
    #[command(after_help = status::STUCK_EXAMPLES)]
    Stuck(status::StuckArgs),
    /// Try again now what the new server refused.
    #[command(after_help = status::RETRY_EXAMPLES)]
    Retry(status::StuckArgs),
    /// Pause copying in the background, until `resume`.
    #[command(after_help = status::PAUSE_EXAMPLES)]
    Pause(status::PauseArgs),
    /// Go on with copying in the background.
    #[command(after_help = status::PAUSE_EXAMPLES)]
    Resume(status::PauseArgs),
    /// Who moves when: waves, turns and logins.
    #[command(subcommand, after_help = accounts::EXAMPLES)]
    Accounts(accounts::AccountsCommand),
    /// Put an account into a phase while its clients go on.
    #[command(after_help = phase::EXAMPLES)]
    Phase(phase::PhaseArgs),
    /// Prove that all of an account lies on new, or name what does not.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Make a certificate for trials, and the authority that signs it.
    #[command(after_help = certs::EXAMPLES)]
    Certs(certs::CertsArgs),
    /// Write what completes this program's commands in a shell.
    #[command(after_help = help::COMPLETIONS_EXAMPLES)]
    Completions(help::CompletionsArgs),
    /// Write the manual pages.
    #[command(after_help = help::MAN_EXAMPLES)]
    Man(help::ManArgs),
    /// Look into the index.
    #[command(subcommand)]
    Index(index::IndexCommand),
}

impl Cli {
    fn dispatch(self) -> Result<ExitCode, Failure> {
        let default_level = if matches!(self.command, Command::Serve(_)) { "info" } else { "warn" };
        logging::start(self.log.as_deref(), default_level, self.log_json)?;
        match self.command {
            Command::Serve(serve::ServeArgs {}) => serve::run(load(self.config)?),
            Command::Check(args) => check::run(&self.config, load(self.config.clone())?, &args),
            Command::Kick(args) => kick::run(&load(self.config)?, args),
            Command::Sync(args) => sync::run(load(self.config)?, args),
            Command::Plan(args) => plan::run(load(self.config)?, args),
            Command::Status(args) => status::status(&load(self.config)?, args),
            Command::Stuck(args) => status::stuck(load(self.config)?, args),
            Command::Retry(args) => status::retry(&load(self.config)?, args),
            Command::Pause(args) => status::pause(load(self.config)?, args, true),
            Command::Resume(args) => status::pause(load(self.config)?, args, false),
            Command::Accounts(command) => accounts::run(load(self.config)?, command),
            Command::Completions(args) => help::completions(&args),
            Command::Man(args) => help::man(&args),
            Command::Phase(args) => phase::run(&load(self.config)?, args),
            Command::Verify(args) => verify::run(load(self.config)?, args),
            Command::Certs(args) => certs::run(&self.config, &args),
            Command::Index(command) => index::run(load(self.config)?, &command),
        }
    }
}

/// Loads the configuration and says in the log what is doubtful in it.
fn load(path: PathBuf) -> Result<Config, Failure> {
    let config = Config::load(&path)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// Where the repository's documented example lies too.
const DEFAULT_CONFIG: &str = "proxy.toml";

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or differences were found; 2 wrong use or configuration.";
