//! What is wrong with a configuration file, and where: file, line, and the nearest known name.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why a configuration was refused. Its text never quotes a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line it stands in, counted from 1; of a missing key, the line of its table.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// Reads the configuration file itself.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// What is wrong at which octets of the file.
#[derive(Debug)]
pub(super) struct Problem {
    span: Range<usize>,
    message: String,
}

impl Problem {
    /// A problem of what stands at `span`.
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Problem {
        Problem { span, message: message.into() }
    }

    /// The same, told with its file and line.
    pub(super) fn in_file(self, path: &Path, text: &str) -> ConfigError {
        let before = text.as_bytes().get(..self.span.start).unwrap_or(text.as_bytes());
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        ConfigError::Invalid { path: path.to_owned(), line, message: self.message }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        let message = match Unknown::parse(error.message()) {
            Some(unknown) => unknown.to_string(),
            None => reword(error.message()),
        };
        Problem { span: error.span().unwrap_or(0..0), message }
    }
}

/// serde's complaint about a name that is not among the known ones.
struct Unknown<'a> {
    what: &'static str,
    name: &'a str,
    known: Vec<&'a str>,
}

impl<'a> Unknown<'a> {
    /// Reads "unknown field `x`, expected one of `a`, `b`" and its siblings.
    fn parse(message: &'a str) -> Option<Self> {
        let (what, rest) = [("key", "unknown field `"), ("value", "unknown variant `")]
            .into_iter()
            .find_map(|(what, start)| Some((what, message.strip_prefix(start)?)))?;
        let (name, known) = rest.rsplit_once("`, expected ")?;
        let known = known.split('`').skip(1).step_by(2).collect();
        Some(Unknown { what, name, known })
    }
}

impl std::fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown {} `{}`", self.what, self.name.escape_debug())?;
        match nearest(self.name, &self.known) {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => write!(f, "; known here: {}", self.known.join(", ")),
        }
    }
}

/// Names known in a table, as serde told them when it refused another: for the test that holds
/// the documented example against the code.
#[cfg(test)]
pub(super) fn known_names(message: &str) -> Vec<String> {
    Unknown::parse(message)
        .map(|unknown| unknown.known.into_iter().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// serde's and toml's words in the words of this program.
fn reword(message: &str) -> String {
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    if let Some(field) = message.strip_prefix("duplicate field ") {
        return format!("{field} is there twice");
    }
    if let Some(found) = message.strip_suffix(", expected usize") {
        return format!("{found}, expected a whole number");
    }
    if message == "invalid type: map, expected a sequence" {
        return "a list of tables is written with double brackets, like [[listen]]".to_owned();
    }
    // A syntax error comes as several lines; an error is one.
    message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The known name that was most likely meant. Two slips are forgiven, three in a long name; never
/// so many that nothing of a short name would be left.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = name.chars().count();
    let forgiven = match length {
        0..=2 => 1,
        3..=8 => 2,
        _ => 3,
    };
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= forgiven)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance in characters (Levenshtein), case ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, (to, pair)) in b.iter().zip(row.windows(2)).enumerate() {
            let (diagonal, above) = (pair[0], pair[1]);
            let replaced = diagonal + usize::from(from != to);
            next.push(replaced.min(above + 1).min(next[j] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("state", "sttae", 2),
            ("Cert", "cert", 0),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn nearest_forgives_slips_but_does_not_guess() {
        assert_eq!(nearest("adress", &["protocol", "address"]), Some("address"));
        assert_eq!(
            nearest("conections_per_acount", &["connections_per_account"]),
            Some("connections_per_account")
        );
        assert_eq!(nearest("ca", &["key"]), None);
        assert_eq!(nearest("quota", &["state", "tls"]), None);
    }

    #[test]
    fn serde_words_are_still_understood() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its names are looked at")]
        struct Two {
            alpha: u32,
            beta: u32,
        }
        let error = toml::from_str::<Two>("alpha = 1\nzeta = 2").err().unwrap();
        assert_eq!(known_names(error.message()), ["alpha", "beta"]);
        let problem = Problem::from(error);
        assert_eq!(problem.message, "unknown key `zeta`; did you mean `beta`?");
        assert_eq!(problem.span.start, "alpha = 1\n".len());
    }
}
