//! Folders that a server lists and does not know if it is asked for them: Dovecot goes on listing a mailbox that was
//! deleted as if it were there, as long as others lie below it. Each is a level of names; taken for a mailbox, it
//! could never be read, and an account would never leave its phase for it.

use std::collections::HashSet;

use tracing::{debug, warn};

use super::{SideFolders, command};
use crate::account::mailbox::lock;
use crate::account::{Access, Account};
use crate::backend::{BackendError, Want};
use crate::base::{MailboxName, Side};
use crate::imap::response::{Code, Status};
use crate::index::MailboxRecord;

impl Account {
    /// Takes for levels of names what a side lists and does not know. It is asked for what it was found not to know
    /// before; with `all`, for whatever has others below it and was never absorbed.
    pub(super) async fn without_ghosts(
        &self,
        access: &Access,
        side: Side,
        listed: &mut SideFolders,
        records: &[MailboxRecord],
        all: bool,
    ) {
        let absorbed: HashSet<&MailboxName> = records
            .iter()
            .filter(|r| !r.hidden && r.sides[side].is_some())
            .filter_map(|r| if side == Side::Old { r.old.as_ref() } else { r.new.as_ref() })
            .collect();
        let known = lock(&self.ghosts)[side].clone();
        let doubtful: Vec<MailboxName> = listed
            .listed
            .iter()
            .filter(|l| l.selectable && l.children == Some(true) && !l.name.is_inbox())
            .filter(|l| !absorbed.contains(&l.name) && (all || known.contains(&l.name)))
            .map(|l| l.name.clone())
            .collect();
        let ghosts = if doubtful.is_empty() {
            HashSet::new()
        } else {
            match unknown(access, side, doubtful).await {
                Ok(ghosts) => ghosts,
                Err(e) => {
                    warn!(account = %self.name, %side, "folders are taken for what they are listed as: {e}");
                    return;
                }
            }
        };
        for listed in listed.listed.iter_mut().filter(|l| ghosts.contains(&l.name)) {
            debug!(account = %self.name, %side, folder = %listed.name, "listed, and not there");
            listed.selectable = false;
        }
        lock(&self.ghosts)[side] = ghosts;
    }
}

/// Those of these names by which a server knows no mailbox.
async fn unknown(
    access: &Access,
    side: Side,
    names: Vec<MailboxName>,
) -> Result<HashSet<MailboxName>, BackendError> {
    let mut lease = access.pools[side].lend(&Want::Nothing).await?;
    let mut unknown = HashSet::new();
    for name in names {
        let done = lease.run(command("STATUS ", &name).text(" (UIDVALIDITY)")).await?;
        // Who has other reasons than that it is not there says so.
        if done.status == Status::No && matches!(done.code, None | Some(Code::NonExistent)) {
            unknown.insert(name);
        }
    }
    lease.give_back();
    Ok(unknown)
}
