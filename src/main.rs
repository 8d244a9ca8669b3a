//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    mailferry::cli::run(std::env::args_os()).into()
}
