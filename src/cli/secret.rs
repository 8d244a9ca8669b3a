//! Passwords that a command is given in a file or by an environment variable.

use std::path::Path;

use super::Failure;
use crate::base::SecretString;

/// The one line of a file, or else of an environment variable.
pub(super) fn read(file: Option<&Path>, variable: Option<&str>) -> Result<SecretString, Failure> {
    let (text, place) = match (file, variable) {
        (Some(file), _) => {
            let place = format!("the file {}", file.display());
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("cannot read {place}: {error}")))?;
            (text, place)
        }
        (None, Some(name)) => {
            let place = format!("the environment variable `{}`", name.escape_debug());
            // The error of a value that is no text quotes it; it is not passed on.
            let text =
                std::env::var(name).map_err(|_| Failure::usage(format!("{place} is not set")))?;
            (text, place)
        }
        (None, None) => return Err(Failure::usage("a password is missing")),
    };
    let text = zeroize::Zeroizing::new(text);
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(['\0', '\r', '\n']) {
        return Err(Failure::usage(format!("{place} must hold one line: the password")));
    }
    Ok(SecretString::from(password))
}
