//! Paying what a session owes its client: EXPUNGE, EXISTS and FETCH FLAGS, only where IMAP allows.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::broadcast::error::TryRecvError;
use tracing::warn;

use super::fetch::Asked;
use super::reply::{Failure, Reply};
use super::select::{Selected, tell_offered};
use super::{Session, User};
use crate::account::FlagNews;
use crate::imap::command::FetchItem;
use crate::session::client::ClientError;
use crate::uid::{SeqSet, Uid, UidSet};

impl Session {
    /// NOOP and CHECK (RFC 3501 §6.1.2, §6.4.1): asks both sides for news.
    pub(super) async fn noop(&mut self) -> Result<Reply, Failure> {
        if let (Some(user), Some(selected)) = (self.user.clone(), &self.selected) {
            let mailbox = Arc::clone(&selected.mailbox);
            self.client.patiently(mailbox.refresh(&user.access)).await??;
            self.pay(&user, true).await?;
        }
        Ok(Reply::ok("Completed"))
    }

    /// Tells the client what has changed: EXPUNGE only where it is allowed, then EXISTS, then FLAGS,
    /// then what that means for searches that are kept up to date.
    ///
    /// An error says that the client is gone. What a server does not tell now stays owed: whatever
    /// the client asked for is done by now, and must not be answered with NO.
    pub(super) async fn pay(&mut self, user: &User, may_expunge: bool) -> Result<(), ClientError> {
        let arrived = self.pay_numbers(may_expunge).await?;
        match self.tell_new(user, &arrived).await {
            Ok(()) => {}
            Err(Failure::Client(e)) => return Err(e),
            Err(e) => warn!("new messages are not fetched: {e}"),
        }
        match self.pay_flags(user).await {
            Ok(()) => {}
            Err(Failure::Client(e)) => return Err(e),
            Err(e) => warn!("flags are not told yet: {e}"),
        }
        self.pay_contexts(user).await
    }

    /// The difference between what the client was told and what is there; gives what has arrived.
    async fn pay_numbers(&mut self, may_expunge: bool) -> Result<UidSet<Uid>, ClientError> {
        let Some(selected) = &mut self.selected else { return Ok(UidSet::new()) };
        let view = selected.mailbox.view();
        if view.version == selected.version {
            return Ok(UidSet::new());
        }
        let owed = selected.numbering.diff(&view.map);
        let out = &mut self.client.out;
        selected.stale |= !owed.gone.is_empty() || !owed.arrived.is_empty();
        if may_expunge {
            selected.take_out(&owed.gone, out);
            if self.extended.qresync && !owed.gone.is_empty() {
                line(out, format_args!("* VANISHED {}", owed.gone));
            } else {
                // From the end, so that no number changes before it is told.
                for uid in owed.gone.iter().rev() {
                    if let Some(seq) = selected.numbering.seq(uid) {
                        line(out, format_args!("* {seq} EXPUNGE"));
                    }
                }
            }
            selected.numbering = view.map.clone();
            selected.version = view.version;
        } else if owed.gone.is_empty() {
            selected.numbering = view.map.clone();
            selected.version = view.version;
        } else {
            // What is gone stays numbered until an EXPUNGE may be sent; what is new comes behind.
            for run in view.map.intersect(&owed.arrived) {
                if selected.numbering.push(run.uid, run.len, run.place).is_err() {
                    break;
                }
            }
        }
        if !owed.arrived.is_empty() {
            line(out, format_args!("* {} EXISTS", selected.numbering.len()));
        }
        self.client.flush_if_full().await?;
        Ok(owed.arrived)
    }

    /// Flags that others have changed.
    async fn pay_flags(&mut self, user: &User) -> Result<(), Failure> {
        loop {
            let Some(selected) = &mut self.selected else { return Ok(()) };
            let (mailbox, read_only) = (&selected.mailbox, selected.read_only);
            tell_offered(mailbox, read_only, &mut selected.offered, &mut self.client.out);
            if selected.all_flags {
                let set = SeqSet::all();
                let items: &[FetchItem] = match self.extended.condstore {
                    true => &[FetchItem::Flags, FetchItem::ModSeq],
                    false => &[FetchItem::Flags],
                };
                let (partial, changed_since, vanished) = (None, None, false);
                let asked = Asked { uid: true, set: &set, items, partial, changed_since, vanished };
                // Boxed, so that who only waits does not hold it.
                Box::pin(self.fetch(user, asked)).await?;
                self.selected.iter_mut().for_each(|selected| selected.all_flags = false);
                continue;
            }
            match selected.flags.try_recv() {
                Ok(news) => {
                    selected.stale = true;
                    let condstore = self.extended.condstore;
                    write_flags(&mut self.client.out, self.id, selected, &news, condstore);
                    self.client.flush_if_full().await?;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => {
                    selected.just_told.clear();
                    return Ok(());
                }
                Err(TryRecvError::Lagged(_)) => {
                    // Too many to remember each: tell all as they are now.
                    selected.flags = selected.mailbox.flag_news();
                    selected.all_flags = true;
                    selected.stale = true;
                }
            }
        }
    }
}

fn write_flags(
    out: &mut Vec<u8>,
    me: crate::account::SessionId,
    selected: &Selected,
    news: &FlagNews,
    condstore: bool,
) {
    // A change that a session made is not told to it again.
    if news.origin == Some(me) {
        return;
    }
    if let Some(seq) = selected.numbering.seq(news.uid) {
        // This news may have waited while the session itself changed the message: telling it now
        // would take that change back.
        let latest = selected.mailbox.flags_told(news.uid);
        let latest = latest.as_ref().unwrap_or(&news.flags);
        if selected.just_told.get(&news.uid) == Some(latest) {
            return;
        }
        out.extend_from_slice(format!("* {seq} FETCH (UID {} FLAGS ", news.uid).as_bytes());
        out.extend_from_slice(latest);
        if condstore {
            out.extend_from_slice(format!(" MODSEQ ({})", news.mod_seq).as_bytes());
        }
        out.extend_from_slice(b")\r\n");
    }
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a Vec does not fail.
    if out.write_fmt(text).is_ok() {
        out.extend_from_slice(b"\r\n");
    }
}
