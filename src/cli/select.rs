//! Which accounts are moved, and what of them: what `sync` and `plan` are both told.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, secret};
use crate::admin::commands::Selection;
use crate::admin::{Password, Whose};

/// Accounts, and what of them.
#[derive(Args, Debug)]
pub(super) struct SelectionArgs {
    /// Which accounts.
    #[arg(required_unless_present = "wave", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// All accounts of this wave, too.
    #[arg(long)]
    wave: Option<String>,
    /// Only this folder, as its clients call it; `*` stands for anything. May be given again.
    #[arg(long = "folder", value_name = "PATTERN")]
    folders: Vec<String>,
    /// Not this folder. May be given again.
    #[arg(long = "skip-folder", value_name = "PATTERN")]
    skip_folders: Vec<String>,
    /// Only messages that arrived on this day or later.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<String>,
    /// Only messages that arrived before this day.
    #[arg(long, value_name = "YYYY-MM-DD")]
    before: Option<String>,
    /// No message with more octets.
    #[arg(long, value_name = "OCTETS")]
    largest: Option<u64>,
    /// A file with the user's own password, where the proxy has no login of its own for a server.
    #[arg(long, value_name = "FILE", conflicts_with = "wave")]
    password_file: Option<PathBuf>,
}

impl SelectionArgs {
    /// Whose mail, what of it, and the password with which it is reached.
    pub(super) fn read(self) -> Result<(Whose, Selection, Option<Password>), Failure> {
        let selection = Selection {
            folders: self.folders,
            skip_folders: self.skip_folders,
            since: self.since,
            before: self.before,
            largest: self.largest,
        };
        selection.scope().map_err(Failure::usage)?;
        let password = password_of(self.password_file, self.accounts.len())?;
        Ok((Whose { accounts: self.accounts, wave: self.wave }, selection, password))
    }
}

/// The password in a file, which is that of one account.
pub(super) fn password_of(
    file: Option<PathBuf>,
    accounts: usize,
) -> Result<Option<Password>, Failure> {
    match file {
        Some(_) if accounts > 1 => {
            Err(Failure::usage("--password-file is the password of one account"))
        }
        Some(file) => secret::read(Some(&file), None).map(|password| Some(Password(password))),
        None => Ok(None),
    }
}
