//! The stamp of a clean `verify`: only with one does an account go to phase new (DESIGN §7).

use std::collections::BTreeMap;

use super::mailbox::now;
use super::shared::is_shared;
use super::{Account, AccountError};
use crate::base::{Side, Sides};
use crate::imap::names::readable;
use crate::index::{Batch, MailboxId, MailboxRecord, Snapshot, Verified};

impl Account {
    /// Both sides were compared, message by message, as they were with these numbers, and nothing was
    /// missing or different. All mailboxes belong in here that are the user's own and not hidden.
    pub async fn stamp_verified(
        &self,
        seen: &BTreeMap<MailboxId, Sides<Option<Snapshot>>>,
    ) -> Result<(), AccountError> {
        let mark = |snapshot: Snapshot| (snapshot.uid_validity, snapshot.uid_next);
        let marks = seen.iter().map(|(id, sides)| (*id, sides.map(|_, side| side.map(mark))));
        let mut batch = Batch::new();
        batch.put_verified(self.id, &Verified { at: now(), mailboxes: marks.collect() });
        Ok(self.index.submit(batch).await?)
    }

    /// Why the account cannot leave old behind; `None` if it can. What arrived on old since the last
    /// clean `verify` is in the way, and so is a mailbox that is another one by now; what arrived on new
    /// is not, nor is what was removed or flagged on old, for new decides over that.
    ///
    /// Both sides have just been absorbed.
    pub async fn unverified(&self) -> Result<Option<String>, AccountError> {
        let Some(verified) = self.index.verified(self.id).await? else {
            return Ok(Some("it was never verified".into()));
        };
        let records = self.records().await?;
        for record in records.iter().filter(|r| !r.hidden && !is_shared(r)) {
            if let Some(why) = changed(record, verified.mailboxes.get(&record.id)) {
                let name = readable(record.client.as_bytes());
                return Ok(Some(format!("{name} {why} since it was verified")));
            }
        }
        for mailbox in self.known_mailboxes().await? {
            let missing = mailbox.missing_on(Side::New).len();
            if missing > 0 {
                let name = readable(mailbox.name().as_bytes());
                return Ok(Some(format!("{missing} messages of {name} are on old alone")));
            }
        }
        Ok(None)
    }
}

fn changed(
    record: &MailboxRecord,
    marks: Option<&Sides<Option<(u32, crate::uid::SideUid)>>>,
) -> Option<String> {
    let listed = |side: Side| record.listed[side].is_some_and(|listed| listed.selectable);
    let was = |side: Side| marks.and_then(|marks| marks[side]);
    if listed(Side::Old) {
        let is = record.sides.old.map(|is| (is.uid_validity, is.uid_next));
        match (was(Side::Old), is) {
            (Some(was), Some(is)) if was == is => {}
            (None, Some((_, next))) if next.0 <= 1 => {}
            _ => return Some("has changed on old".into()),
        }
    }
    let validity = |mark: Option<(u32, crate::uid::SideUid)>| mark.map(|(validity, _)| validity);
    let is = record.sides.new.map(|is| is.uid_validity);
    let was = validity(was(Side::New));
    (was.is_some() && was != is).then(|| "is another mailbox on new".into())
}
