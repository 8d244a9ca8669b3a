//! Proving that all of an account lies on new: message by message, over both servers and the map.
//!
//! Looks only: nothing is changed on either server. What it finds is told as it is found
//! ([`Finding`]), so that an account of any size takes the same room. `compare` says what is a
//! difference, `mailbox` reads one mailbox of both servers in windows.
//!
//! A message of old counts as arrived when it lies on both sides and is the same there. One that a
//! client removed, or that only new has, is right as it is.

mod compare;
mod mailbox;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use crate::account::{Access, Account, AccountError, Folder};
use crate::base::Sides;
use crate::imap::names::readable;
use crate::index::Snapshot;

pub use compare::{Difference, Kind};
pub use mailbox::Totals;

/// How thorough.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thoroughness {
    /// Whether the content of every message is read from both servers and compared.
    pub deep: bool,
    /// Kinds of differences that are told of, and are none.
    pub ignore: Vec<Kind>,
}

/// What is found on the way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Something is not as it should be.
    Difference(Difference),
    /// A mailbox is done.
    Mailbox(Totals),
}

/// Nobody listens any more, or the account cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Whoever was told is gone.
    #[error("nobody listens any more")]
    Unheard,
    /// Its folders cannot be listed, or the index fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Compares all mailboxes of an account and tells what is found. Returns whether there is no
/// difference; that is remembered, with what both servers counted then: it is the door to phase new.
pub async fn verify(
    account: &Arc<Account>,
    access: &Arc<Access>,
    how: &Thoroughness,
    found: &Sender<Finding>,
) -> Result<bool, VerifyError> {
    let folders = account.list_to_compare(access).await?;
    let mut seen = BTreeMap::new();
    let mut clean = true;
    // Folders of others are old's alone, by design: nothing of them is carried.
    for folder in folders.list.iter().filter(|folder| folder.joined.selectable && !folder.shared) {
        let (sides, is_clean) = one(account, access, folder, how, found).await?;
        seen.insert(folder.id, sides);
        clean &= is_clean;
    }
    if clean {
        account.stamp_verified(&seen).await?;
    }
    Ok(clean)
}

async fn one(
    account: &Arc<Account>,
    access: &Arc<Access>,
    folder: &Folder,
    how: &Thoroughness,
    found: &Sender<Finding>,
) -> Result<(Sides<Option<Snapshot>>, bool), VerifyError> {
    let name = readable(folder.joined.client.as_bytes());
    let mut totals = Totals::of(account.name(), name);
    let looked = match account.hub(folder).await {
        Ok(mailbox) => mailbox::look(&mailbox, access, how, found, &mut totals).await,
        Err(e) => Err(e.into()),
    };
    let sides = match looked {
        Ok(sides) => sides,
        // What could not be looked at is not proved; the other mailboxes may be.
        Err(VerifyError::Account(e)) => {
            totals.failed = Some(e.to_string());
            Default::default()
        }
        Err(unheard) => return Err(unheard),
    };
    let clean = totals.failed.is_none() && totals.differences() == 0;
    totals.clean = clean;
    found.send(Finding::Mailbox(totals)).await.map_err(|_| VerifyError::Unheard)?;
    Ok((sides, clean))
}
