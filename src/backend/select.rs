//! The mailbox a connection has selected: what the server has announced to it, and what it has
//! heard since somebody last asked.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::conn::{Conn, Done, text};
use super::{BackendError, Fetched};
use crate::base::MailboxName;
use crate::config::Quirk;
use crate::imap::response::{Code, Response, StatusKey};
use crate::imap::write::Parts;
use crate::index::Snapshot;
use crate::uid::{SideUid, UidSet};

/// A server that counts messages which it does not list is asked this often in vain.
const LISTINGS: usize = 5;

/// So many arrivals are asked for by their sequence numbers alone.
const FEW: u32 = 1_000;

/// So many messages a listing may hold beyond what EXISTS told.
const MOST_UNANNOUNCED: u32 = 1 << 16;

/// What was heard of the selected mailbox and not taken yet.
#[derive(Debug, Default)]
pub struct News {
    /// Messages that this connection had announced and that the server said are gone.
    pub vanished: UidSet<SideUid>,
    /// Unasked FLAGS, the newest of each message: the whole list with its parentheses.
    pub flags: BTreeMap<SideUid, Bytes>,
}

impl News {
    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.vanished.is_empty() && self.flags.is_empty()
    }
}

/// How often a mailbox of one side has become another one under the same name, since the proxy was
/// started: made anew, or put back from a backup.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The one after this.
    pub fn next(self) -> Incarnation {
        Incarnation(self.0.wrapping_add(1))
    }
}

/// Orders what was told of a mailbox's flags over all connections: later is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// After everything that was told or will be.
    pub const LAST: Moment = Moment(u64::MAX);
}

/// What is believed of a mailbox before it is selected: spares the listing if SELECT shows the same.
#[derive(Clone, Debug)]
pub struct Known {
    /// The numbers as last absorbed.
    pub snapshot: Snapshot,
    /// The messages that were there, if that is known.
    pub live: Option<UidSet<SideUid>>,
    /// Which mailbox of this name that is.
    pub incarnation: Incarnation,
    /// When that was known.
    pub moment: Moment,
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
    /// HIGHESTMODSEQ, where the server keeps one: as SELECT told, or the greatest that was told of
    /// a message since.
    pub highest_mod_seq: Option<u64>,
    /// FLAGS.
    pub flags: Vec<Bytes>,
    /// PERMANENTFLAGS; all of FLAGS where the server told none (RFC 3501 §6.3.1).
    pub permanent_flags: Vec<Bytes>,
    /// Whether FLAGS or PERMANENTFLAGS were told since somebody last asked: a new keyword.
    pub tells_flags: bool,
    /// Whether the server opened it read-only.
    pub read_only: bool,
    /// What was known of the mailbox before SELECT was sent. Other connections may have told more
    /// by now; that this one knows nothing of it is no wonder.
    pub before: Option<Snapshot>,
    /// Which mailbox of this name was known then. If it has become another one since, what this
    /// connection tells is of no use.
    pub incarnation: Incarnation,
    /// Just selected, so that `announced` is complete; whoever absorbs it clears this.
    pub fresh: bool,
    /// The server knows over this connection, too, what was told of flags until then: what it says
    /// of them is not older.
    pub followed: Moment,
    /// The UIDs behind the sequence numbers, as far as they are known.
    ///
    /// Invariant: its length is at most `exists`; what is missing has arrived at the end and has
    /// not been listed yet.
    announced: UidSet<SideUid>,
    /// So many of them, from the first, certainly bear those sequence numbers. Beyond, one may be
    /// missing in between: Cyrus' SEARCH does not find what it has not yet said to be gone.
    sure: u32,
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

    pub(super) fn knows_flags(&mut self, flags: &[Bytes]) {
        self.flags = copies(flags);
        self.tells_flags = true;
    }

    pub(super) fn keeps_flags(&mut self, flags: &[Bytes]) {
        self.permanent_flags = copies(flags);
        self.tells_flags = true;
    }

    pub(super) fn exists(&mut self, n: u32) {
        self.exists = n;
    }

    pub(super) fn expunge(&mut self, n: u32) {
        self.exists = self.exists.saturating_sub(1);
        if n > self.sure {
            // Which one that was is not known: they are listed again.
            self.announced = self.certain();
        } else if let Some(uid) = self.announced.remove_at(n) {
            self.news.vanished.insert(uid);
            self.sure -= 1;
        }
    }

    /// Those whose sequence numbers are certain.
    fn certain(&self) -> UidSet<SideUid> {
        let behind = match self.last_certain() {
            Some(uid) => self.announced.range_from(SideUid(uid.0.saturating_add(1))),
            None => return UidSet::new(),
        };
        self.announced.subtract(&behind)
    }

    fn last_certain(&self) -> Option<SideUid> {
        self.announced.select(self.sure)
    }

    /// Takes those that follow the certain ones.
    fn follow(&mut self, found: &UidSet<SideUid>) {
        let from = self.last_certain().map_or(0, |uid| uid.0).saturating_add(1);
        self.announced = self.certain().union(&found.range_from(SideUid(from)));
        if self.announced.len() >= self.exists {
            // A server may list what it has not announced yet; the numbers must agree.
            self.exists = self.announced.len();
            self.sure = self.exists;
        }
    }

    /// Takes those that follow the certain ones without a gap, as the server numbers them.
    fn number(&mut self, told: &BTreeMap<u32, SideUid>) {
        self.announced = self.certain();
        let mut last = self.last_certain();
        while let Some(uid) = told.get(&(self.sure + 1)).copied().filter(|uid| Some(*uid) > last) {
            self.announced.insert(uid);
            self.sure += 1;
            last = Some(uid);
        }
        self.exists = self.exists.max(self.sure);
    }

    pub(super) fn vanished(&mut self, ranges: &[(u32, u32)]) {
        let named = UidSet::from_ranges(ranges.iter().map(|&(a, b)| (SideUid(a), SideUid(b))));
        let gone = self.announced.intersect(&named);
        self.exists = self.exists.saturating_sub(gone.len());
        self.sure -= self.certain().intersect(&gone).len();
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
        if self.profile().condstore() {
            // From now on every change is told with its MODSEQ (RFC 7162 §3.1.8).
            command.text(" (CONDSTORE)");
        }
        self.set_selected(Some(Selected {
            name: name.clone(),
            uid_validity: 0,
            uid_next: 0,
            highest_mod_seq: None,
            flags: Vec::new(),
            permanent_flags: Vec::new(),
            tells_flags: false,
            read_only: false,
            before: known.map(|k| k.snapshot),
            incarnation: known.map(|k| k.incarnation).unwrap_or_default(),
            fresh: true,
            followed: known.map(|k| k.moment).unwrap_or_default(),
            announced: UidSet::new(),
            sure: 0,
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
        let counts = selected.highest_mod_seq.is_some();
        if selected.uid_validity == 0 {
            return Err(self.protocol(format!("SELECT {name} told no UIDVALIDITY")));
        }
        let told_uid_next = selected.uid_next != 0;
        if !counts && self.profile().condstore() {
            // It said NOMODSEQ, or nothing.
            self.shows(Quirk::NoModseq);
        }
        if !told_uid_next {
            self.ask_uid_next(name).await?;
        }
        let Some(selected) = self.selected_mut() else {
            return Err(self.protocol("no mailbox selected".into()));
        };
        let same = |k: &&Known| {
            k.snapshot.uid_validity == selected.uid_validity
                && k.snapshot.uid_next.0 == selected.uid_next
                && k.snapshot.messages == selected.exists
        };
        let live = known.filter(same).and_then(|k| k.live.as_ref());
        if let Some(live) = live.filter(|live| live.len() == selected.exists) {
            selected.announced = live.clone();
            selected.sure = selected.exists;
            return Ok(());
        }
        if selected.exists > 0 {
            self.list_from(None).await?;
        }
        self.list_arrivals().await
    }

    /// Asks for the UIDNEXT that SELECT did not tell (Courier does not; RFC 3501 §6.3.1 lets it).
    /// Without it, a mailbox that lost its last message would look as if it went back in time.
    ///
    /// STATUS looks at the mailbox, not at what this connection was told of it: with the NOOP the
    /// listing that follows holds whatever is below that UIDNEXT.
    async fn ask_uid_next(&mut self, name: &MailboxName) -> Result<(), BackendError> {
        let mut status = Parts::new();
        status.text("STATUS ").mailbox(name).text(" (UIDNEXT)");
        let done = self.run(&status).await?;
        self.must("NOOP", &text("NOOP")).await?;
        let items = done.untagged.iter().filter_map(|response| match response {
            Response::StatusOf { items, .. } => Some(items),
            _ => None,
        });
        let told = items.flatten().find(|(key, _)| *key == StatusKey::UidNext);
        if let (Some((_, uid_next)), Some(selected)) = (told, self.selected_mut()) {
            selected.uid_next = u32::try_from(*uid_next).unwrap_or(0);
        }
        Ok(())
    }

    /// Learns the UIDs of what has arrived since the last listing.
    ///
    /// Few are asked for by sequence numbers, for then the server says itself which is which: a
    /// SEARCH may not find what has just arrived (Exchange 2010, FIELD §5), may find what was not
    /// announced, and may pass over what is gone and was not said to be, all at once (Cyrus).
    pub async fn list_arrivals(&mut self) -> Result<(), BackendError> {
        let mut in_vain = 0;
        while in_vain < LISTINGS {
            let Some(selected) = self.selected() else { return Ok(()) };
            if !selected.has_arrivals() {
                return Ok(());
            }
            let known = selected.sure;
            if selected.exists - known > FEW {
                self.list_from(selected.last_certain()).await?;
            }
            self.fetch_arrivals().await?;
            // Where others append meanwhile, each listing is followed by the next EXISTS.
            if self.selected().is_some_and(|s| s.sure > known) {
                in_vain = 0;
                continue;
            }
            in_vain += 1;
            // It may be gone again, and Cyrus does not find what it has not yet said to be gone.
            self.must("NOOP", &text("NOOP")).await?;
        }
        Err(self.protocol("EXISTS counts messages that cannot be found".into()))
    }

    /// Learns the UIDs of the messages behind those that are known, number by number.
    async fn fetch_arrivals(&mut self) -> Result<(), BackendError> {
        let Some(selected) = self.selected().filter(|s| s.has_arrivals()) else { return Ok(()) };
        let command = text(&format!("FETCH {}:* (UID)", selected.sure + 1));
        let mut told = BTreeMap::new();
        // No EXPUNGE comes while sequence numbers are in use (RFC 3501 §7.4.1).
        let done = self
            .fetch(&command, |fetched| told.extend(fetched.uid.map(|uid| (fetched.seq, uid))))
            .await?;
        if !done.is_ok() {
            return Err(self.answer("FETCH", &done));
        }
        if let Some(selected) = self.selected_mut() {
            selected.number(&told);
        }
        Ok(())
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

    /// Takes a listing: all messages, or those above `last`, the last certain one.
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
        if last.is_none() {
            selected.sure = 0;
        }
        // `n:*` names the last message even where it is below `n`.
        selected.follow(&found);
        Ok(())
    }

    /// Notes the MODSEQ of a message.
    pub fn note_mod_seq(&mut self, told: u64) {
        if let Some(selected) = self.selected_mut() {
            selected.highest_mod_seq = selected.highest_mod_seq.max(Some(told));
        }
    }

    /// Notes an unasked FETCH: its FLAGS are news.
    pub fn note(&mut self, fetched: Fetched) {
        if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
            self.note_flags(uid, flags);
        }
    }

    /// Whether FLAGS of a message were heard and not taken yet.
    pub fn has_news_of(&self, uid: SideUid) -> bool {
        self.selected().is_some_and(|s| s.news.flags.contains_key(&uid))
    }

    /// Notes FLAGS that were heard and not passed on. What comes before SELECT is answered may be of
    /// the mailbox before: only some servers say where that ends (`[CLOSED]`, RFC 7162 §3.2.11).
    pub fn note_flags(&mut self, uid: SideUid, flags: Bytes) {
        if let Some(selected) = self.selected_mut().filter(|s| s.uid_validity != 0) {
            selected.news.flags.insert(uid, flags);
        }
    }
}

impl Selected {
    fn learn(&mut self, done: &Done) {
        for response in &done.untagged {
            match response {
                Response::Flags(flags) => self.flags = copies(flags),
                Response::Status { code: Some(code), .. } => match code {
                    Code::UidValidity(n) => self.uid_validity = *n,
                    Code::UidNext(n) => self.uid_next = *n,
                    Code::HighestModSeq(n) => self.highest_mod_seq = Some(*n),
                    Code::PermanentFlags(flags) => self.permanent_flags = copies(flags),
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

/// What is kept of a list as long as its mailbox is: as parts of what was read, its flags would keep all of
/// that, 64 KB for each mailbox.
fn copies(flags: &[Bytes]) -> Vec<Bytes> {
    flags.iter().map(|flag| Bytes::copy_from_slice(flag)).collect()
}
