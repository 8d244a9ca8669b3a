//! The file of `mode = "table"`: accounts with their login and password on one server, as CSV.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::error::Problem;
use super::{Row, Table};
use crate::base::{AccountName, SecretString};

/// Reads `account,login,password`, a line an account. A first line with these words is passed over;
/// an empty login means that the template makes it; `default_domain` completes a bare account.
pub(super) fn read(
    path: &Path,
    span: Range<usize>,
    default_domain: Option<&str>,
) -> Result<Table, Problem> {
    let wrong = |what: String| Problem::at(span.clone(), format!("{}: {what}", path.display()));
    let text = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let text = zeroize::Zeroizing::new(text);
    let mut rows = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(text.as_slice());
    for (at, record) in reader.records().enumerate() {
        // An error of `csv` may quote the line with its password; it is not passed on.
        let record = record.map_err(|_| wrong(format!("row {}: unreadable", at + 1)))?;
        let line = record.position().map_or(0, |position| position.line());
        let fields: Vec<&str> = record.iter().collect();
        let [account, login, password] = fields[..] else {
            return Err(wrong(format!(
                "line {line}: {} fields; each line is account,login,password",
                fields.len()
            )));
        };
        if at == 0 && account.trim().eq_ignore_ascii_case("account") {
            continue;
        }
        let name = AccountName::canonical(account, default_domain).ok_or_else(|| {
            let account = account.escape_debug();
            wrong(format!("line {line}: `{account}` is no account's name, like ann@example.com"))
        })?;
        if password.is_empty() || password.contains(['\0', '\r', '\n']) {
            return Err(wrong(format!("line {line}: {name} has no password")));
        }
        if login.chars().any(char::is_control) {
            return Err(wrong(format!("line {line}: the login of {name} is no name")));
        }
        let login = Some(login.trim().to_owned()).filter(|login| !login.is_empty());
        let row = Row { login, password: SecretString::from(password) };
        if rows.insert(name.clone(), row).is_some() {
            return Err(wrong(format!("line {line}: {name} is there twice")));
        }
    }
    Ok(Table { file: path.to_owned(), rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ExposeSecret;

    fn table(text: &str) -> Result<Table, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, 0..0, Some("a.org")).map_err(|problem| {
            let told = format!("{problem:?}");
            assert!(!told.contains("geheim"), "V9: {told}");
            told
        })
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        let text =
            "Account,Login,Password\r\nAnn@a.org,,\"a,\"\"b\"\r\n# nobody\r\nbob, robert ,x y\r\n";
        let table = table(text).unwrap();
        let rows: Vec<_> = table
            .rows
            .iter()
            .map(|(name, row)| (name.as_str(), row.login.as_deref(), row.password.expose_secret()))
            .collect();
        assert_eq!(rows, [("ann@a.org", None, "a,\"b"), ("bob@a.org", Some("robert"), "x y")]);
    }

    #[test]
    fn v9_what_is_wrong_is_named_by_line_and_without_the_password() {
        for (text, what) in [
            ("ann@,,geheim", "line 1: `ann@` is no account's name"),
            ("ann@a.org,x\n", "line 1: 2 fields"),
            ("ann@a.org,,geheim,more\n", "line 1: 4 fields"),
            ("ann@a.org,,\n", "line 1: ann@a.org has no password"),
            ("ann@a.org,,x\nANN@a.org,,geheim", "line 2: ann@a.org is there twice"),
            ("ann@a.org,a\tb,geheim", "line 1: the login of ann@a.org is no name"),
        ] {
            let told = table(text).expect_err(text);
            assert!(told.contains(what), "{told}");
        }
    }
}
