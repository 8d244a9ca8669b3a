//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let _steps = mailferry::base::steps();
    mailferry::cli::run(std::env::args_os()).into()
}
