//! The mailbox a connection has selected: what the server has announced to it, and what it has
//! heard since somebody last asked.

use bytes::Bytes;

use super::conn::{Conn, Done, text};
use super::{BackendError, Fetched};
use crate::base::MailboxName;
use crate::imap::response::{Code, Response};
use crate::imap::write::Parts;
use crate::index::Snapshot;
use crate::uid::{SideUid, UidSet};

/// A server that announces and withdraws messages faster than it lists them is asked this often.
const LISTINGS: usize = 5;

/// So many messages a listing may hold beyond what EXISTS told.
const MOST_UNANNOUNCED: u32 = 1 << 16;

/// What was heard of the selected mailbox and not taken yet.
#[derive(Debug, Default)]
pub struct News {
    /// Messages that this connection had announced and that the server said are gone.
    pub vanished: UidSet<SideUid>,
    /// Unasked FLAGS, newest last: the whole list with its parentheses.
    pub flags: Vec<(SideUid, Bytes)>,
}

impl News {
    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.vanished.is_empty() && self.flags.is_empty()
    }
}

/// What is believed of a mailbox before it is selected: spares the listing if SELECT shows the same.
#[derive(Clone, Debug)]
pub struct Known {
    /// The numbers as last absorbed.
    pub snapshot: Snapshot,
    /// The messages that were there, if that is known.
    pub live: Option<UidSet<SideUid>>,
}

/// A selected mailbox, as this one connection sees it.
#[derive(Debug)]
pub struct Selected {
    /// Its name on this server.
    pub name: MailboxName,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The UIDNEXT that SELECT told; 0 where the server told none.
    uid_next: u32,
    /// HIGHESTMODSEQ, where the server keeps one.
    pub highest_mod_seq: Option<u64>,
    /// FLAGS.
    pub flags: Vec<Bytes>,
    /// PERMANENTFLAGS; all of FLAGS where the server told none (RFC 3501 §6.3.1).
    pub permanent_flags: Vec<Bytes>,
    /// Whether the server opened it read-only.
    pub read_only: bool,
    /// What was known of the mailbox before SELECT was sent. Other connections may have told more
    /// by now; that this one knows nothing of it is no wonder.
    pub before: Option<Snapshot>,
    /// Just selected, so that `announced` is complete; whoever absorbs it clears this.
    pub fresh: bool,
    /// The UIDs behind the sequence numbers, as far as they are known.
    ///
    /// Invariant: its length is at most `exists`; what is missing has arrived at the end and has
    /// not been listed yet.
    announced: UidSet<SideUid>,
    exists: u32,
    /// What was heard and not taken yet.
    pub news: News,
}

impl Selected {
    /// The UIDs that this connection may be asked for.
    pub fn announced(&self) -> &UidSet<SideUid> {
        &self.announced
    }

    /// Whether messages arrived whose UIDs are not known yet.
    pub fn has_arrivals(&self) -> bool {
        self.exists > self.announced.len()
    }

    /// The UID behind a sequence number of this connection.
    pub fn uid(&self, seq: u32) -> Option<SideUid> {
        self.announced.select(seq)
    }

    /// The four numbers, as this connection saw them last.
    pub fn snapshot(&self) -> Snapshot {
        let above_last = self.announced.last().map_or(1, |uid| uid.0.saturating_add(1));
        Snapshot {
            uid_validity: self.uid_validity,
            uid_next: SideUid(self.uid_next.max(above_last)),
            messages: self.announced.len(),
            highest_mod_seq: self.highest_mod_seq,
        }
    }

    pub(super) fn exists(&mut self, n: u32) {
        self.exists = n;
    }

    pub(super) fn expunge(&mut self, n: u32) {
        if let Some(uid) = self.announced.remove_at(n) {
            self.news.vanished.insert(uid);
        }
        self.exists = self.exists.saturating_sub(1);
    }

    pub(super) fn vanished(&mut self, ranges: &[(u32, u32)]) {
        let named = UidSet::from_ranges(ranges.iter().map(|&(a, b)| (SideUid(a), SideUid(b))));
        let gone = self.announced.intersect(&named);
        self.exists = self.exists.saturating_sub(gone.len());
        self.announced = self.announced.subtract(&gone);
        self.news.vanished = self.news.vanished.union(&gone);
    }
}

impl Conn {
    /// Selects a mailbox and learns which UIDs are in it.
    ///
    /// Always SELECT, never EXAMINE: sessions that only read ask with PEEK, so that one connection
    /// serves both. If the numbers are those of `known`, nothing is listed.
    pub async fn select(
        &mut self,
        name: &MailboxName,
        known: Option<&Known>,
    ) -> Result<(), BackendError> {
        let mut command = Parts::new();
        command.text("SELECT ");
        command.mailbox(name);
        self.set_selected(Some(Selected {
            name: name.clone(),
            uid_validity: 0,
            uid_next: 0,
            highest_mod_seq: None,
            flags: Vec::new(),
            permanent_flags: Vec::new(),
            read_only: false,
            before: known.map(|k| k.snapshot),
            fresh: true,
            announced: UidSet::new(),
            exists: 0,
            news: News::default(),
        }));
        let done = match self.run(&command).await {
            Ok(done) if done.is_ok() => done,
            Ok(done) => {
                self.set_selected(None);
                return Err(self.answer(&format!("SELECT {name}"), &done));
            }
            Err(e) => {
                self.set_selected(None);
                return Err(e);
            }
        };
        let Some(selected) = self.selected_mut() else {
            return Err(self.protocol("no mailbox selected".into()));
        };
        selected.learn(&done);
        if selected.uid_validity == 0 {
            return Err(self.protocol(format!("SELECT {name} told no UIDVALIDITY")));
        }
        let same = |k: &&Known| {
            k.snapshot.uid_validity == selected.uid_validity
                && k.snapshot.uid_next.0 == selected.uid_next
                && k.snapshot.messages == selected.exists
        };
        let live = known.filter(same).and_then(|k| k.live.as_ref());
        if let Some(live) = live.filter(|live| live.len() == selected.exists) {
            selected.announced = live.clone();
            return Ok(());
        }
        if selected.exists > 0 {
            self.list_from(None).await?;
        }
        Ok(())
    }

    /// Learns the UIDs of what has arrived since the last listing.
    pub async fn list_arrivals(&mut self) -> Result<(), BackendError> {
        for _ in 0..LISTINGS {
            let Some(selected) = self.selected() else { return Ok(()) };
            if !selected.has_arrivals() {
                return Ok(());
            }
            self.list_from(selected.announced.last()).await?;
        }
        Err(self.protocol("EXISTS counts messages that no SEARCH finds".into()))
    }

    async fn list_from(&mut self, last: Option<SideUid>) -> Result<(), BackendError> {
        let what = match last {
            Some(uid) => format!("UID {}:*", uid.0.saturating_add(1)),
            None => "ALL".to_owned(),
        };
        let ret = if self.profile().esearch() { "RETURN (ALL) " } else { "" };
        let pending = self.send(&text(&format!("UID SEARCH {ret}{what}"))).await?;
        // An EXPUNGE may follow the result inside the same answer, so the result counts at the
        // moment it is read, not at the end.
        let done = self.finish_listing(pending, last).await?;
        if done.is_ok() { Ok(()) } else { Err(self.answer("UID SEARCH", &done)) }
    }

    /// Takes a listing: all messages, or those above `last`.
    ///
    /// # Errors
    /// It names more messages than a mailbox can hold: what is counted one by one later on must
    /// not be without end.
    pub(super) fn listed(
        &mut self,
        response: &Response,
        last: Option<SideUid>,
    ) -> Result<(), BackendError> {
        let found: UidSet<SideUid> = match response {
            Response::Search(uids) => uids.iter().map(|&uid| SideUid(uid)).collect(),
            Response::Esearch { all, .. } => {
                UidSet::from_ranges(all.iter().map(|&(a, b)| (SideUid(a), SideUid(b))))
            }
            _ => return Ok(()),
        };
        let Some(selected) = self.selected_mut() else { return Ok(()) };
        if found.len() > selected.exists.saturating_add(MOST_UNANNOUNCED) {
            return Err(self.protocol(format!("SEARCH finds {} messages", found.len())));
        }
        match last {
            None => selected.announced = found,
            // `n:*` names the last message even where it is below `n`.
            Some(last) => {
                let newer = found.range_from(SideUid(last.0.saturating_add(1)));
                selected.announced = selected.announced.union(&newer);
            }
        }
        // A server may list what it has not announced yet; the numbers must agree.
        selected.exists = selected.exists.max(selected.announced.len());
        Ok(())
    }

    /// Notes an unasked FETCH: its FLAGS are news.
    pub fn note(&mut self, fetched: Fetched) {
        if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
            self.note_flags(uid, flags);
        }
    }

    /// Notes FLAGS that were heard and not passed on.
    pub fn note_flags(&mut self, uid: SideUid, flags: Bytes) {
        if let Some(selected) = self.selected_mut() {
            selected.news.flags.push((uid, flags));
        }
    }
}

impl Selected {
    fn learn(&mut self, done: &Done) {
        for response in &done.untagged {
            match response {
                Response::Flags(flags) => self.flags.clone_from(flags),
                Response::Status { code: Some(code), .. } => match code {
                    Code::UidValidity(n) => self.uid_validity = *n,
                    Code::UidNext(n) => self.uid_next = *n,
                    Code::HighestModSeq(n) => self.highest_mod_seq = Some(*n),
                    Code::PermanentFlags(flags) => self.permanent_flags.clone_from(flags),
                    _ => {}
                },
                _ => {}
            }
        }
        if self.permanent_flags.is_empty() {
            self.permanent_flags.clone_from(&self.flags);
        }
        self.read_only = done.code == Some(Code::ReadOnly);
    }
}
