//! Folders that a server lists and does not know if it is asked for them: Dovecot goes on listing a mailbox that was
//! deleted as if it were there, as long as others lie below it. Each is a level of names; taken for a mailbox, it
//! could never be read, and an account would never leave its phase for it. And mailboxes that a server has no more,
//! though nobody removed them through the proxy: what else is known of them could never be read again.

use std::collections::HashSet;

use tracing::{debug, warn};

use super::{SideFolders, command};
use crate::account::mailbox::lock;
use crate::account::{Access, Account, AccountError};
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

    /// Forgets what lay in mailboxes that a side neither lists nor knows any more. Returns whether there are any.
    pub(super) async fn without_lost(
        &self,
        access: &Access,
        side: Side,
        listed: &SideFolders,
        records: &[MailboxRecord],
    ) -> Result<bool, AccountError> {
        let open: HashSet<&MailboxName> =
            listed.listed.iter().filter(|l| l.selectable).map(|l| &l.name).collect();
        let name =
            |r: &MailboxRecord| if side == Side::Old { r.old.clone() } else { r.new.clone() };
        let absent: Vec<(&MailboxRecord, MailboxName)> = (records.iter())
            .filter(|r| !r.hidden && r.sides[side].is_some_and(|seen| seen.uid_next.0 > 1))
            .filter_map(|r| Some((r, name(r).filter(|name| !open.contains(name))?)))
            .collect();
        if absent.is_empty() {
            return Ok(false);
        }
        let names = absent.iter().map(|(_, name)| name.clone()).collect();
        // Dovecot goes on giving it to a connection that has it selected.
        access.pools[side].forget_selected();
        let unknown = match unknown(access, side, names).await {
            Ok(unknown) => unknown,
            Err(e) => {
                warn!(account = %self.name, %side, "folders are taken for what they were: {e}");
                return Ok(false);
            }
        };
        let lost = absent.iter().filter(|(_, name)| unknown.contains(name));
        let mut any = false;
        for (record, name) in lost {
            warn!(
                account = %self.name, mailbox = %record.client, %name,
                "is gone from {side}, and not through the proxy: what the other side has of it is seen"
            );
            let mailbox = self.hub_of(record.id, &record.client).await?;
            mailbox
                .change(|merged, _| {
                    merged.lose(side);
                    Ok(((), true))
                })
                .await?;
            any = true;
        }
        Ok(any)
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
