//! `mailferry completions` and `man`: help where a shell and a reader look for it.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, ExitCode, Failure, report};

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mailferry completions bash > /etc/bash_completion.d/mailferry
  mailferry completions fish > ~/.config/fish/completions/mailferry.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  mailferry man > mailferry.1
  mailferry man /usr/local/share/man/man1";

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// A directory for a page of each command; without it, the first page goes to standard output.
    dir: Option<PathBuf>,
}

/// Writes the completions of one shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mailferry", &mut text);
    report::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::Done)
}

/// Writes the manual.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let Some(dir) = &args.dir else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Failure::failed)?;
        report::print(&String::from_utf8_lossy(&text))?;
        return Ok(ExitCode::Done);
    };
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        clap_mangen::generate_to(Cli::command(), dir)
    };
    write().map_err(|e| Failure::failed(format!("{}: {e}", dir.display())))?;
    Ok(ExitCode::Done)
}
