//! STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3): to each message's authority.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;

use super::reply::{Failure, Reply};
use super::select::tell_offered;
use super::sets::{ensure_announced, places};
use super::{Session, User};
use crate::account::{AccountError, MAX_COMMAND, Mailbox, SessionId, without_recent};
use crate::backend::{BackendError, Conn, Done, Moment, Pace, Pending};
use crate::base::{Side, step};
use crate::imap::command::{Flag, StoreMode};
use crate::imap::response::Code;
use crate::imap::write::{Parts, flag_list};
use crate::uid::{Seq, SeqSet, SideUid, Uid, UidMap, UidSet};

/// A silent STORE of more messages than this stays silent towards the server too, unless other
/// sessions want to hear of it.
const ASK_FLAGS: u32 = 1_000;

/// What STORE does, apart from the messages it names.
pub(in crate::session) struct Change {
    pub mode: StoreMode,
    pub silent: bool,
    pub flags: Vec<Flag>,
    /// Only to messages that did not change since this virtual MODSEQ.
    pub unchanged_since: Option<u64>,
}

impl Session {
    pub(super) async fn store(
        &mut self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        change: Change,
    ) -> Result<Reply, Failure> {
        if change.unchanged_since.is_some() {
            if !self.offer.has("CONDSTORE") {
                return Ok(Reply::bad("Unknown STORE modifier"));
            }
            self.enable_condstore();
        }
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        if selected.read_only {
            return Ok(Reply::no("Mailbox was opened read-only"));
        }
        let Some(uids) = selected.resolve(set, uid) else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        let mut list = Vec::new();
        flag_list(&change.flags, &mut list);
        let (silent, named) = (change.silent, uids.clone());
        let store = Store {
            mailbox: Arc::clone(&selected.mailbox),
            user: user.clone(),
            session: self.id,
            uids,
            change,
            list,
        };
        // Not cancelled when the client goes away: half a STORE is nobody's wish.
        let Outcome { refused, modified, changed } = self.carry_through(store.run()).await?;
        let Some(selected) = &mut self.selected else {
            return Ok(Reply::bad("No mailbox selected"));
        };
        selected.stale = true;
        let (mailbox, read_only) = (&selected.mailbox, selected.read_only);
        tell_offered(mailbox, read_only, &mut selected.offered, &mut self.client.out);
        let mut cursor = selected.numbering.cursor();
        for Changed { uid: changed, flags, mod_seq } in changed {
            let Some(seq) = cursor.seq(changed) else { continue };
            let mut items = Vec::new();
            // With QRESYNC every FETCH names its message by UID (RFC 7162 §3.2.4).
            if uid || self.extended.qresync {
                items.push(format!("UID {changed}"));
            }
            if let Some(flags) = flags.filter(|_| !silent) {
                // What comes from a server is not always UTF-8; only ASCII is ever a flag.
                items.push(format!("FLAGS {}", String::from_utf8_lossy(&flags)));
            }
            if let Some(mod_seq) = mod_seq.filter(|_| self.extended.condstore) {
                items.push(format!("MODSEQ ({mod_seq})"));
            } else if silent {
                continue;
            }
            self.client.line(format!("* {seq} FETCH ({})", items.join(" ")));
            self.client.flush_if_full().await?;
        }
        if let Some(done) = refused {
            return Ok(Reply::from_server(&done));
        }
        if modified.is_empty() {
            return Ok(selected.done_with(&named, "Store completed"));
        }
        let modified = match uid {
            true => modified.to_string(),
            false => seqs(&selected.numbering, &modified).to_string(),
        };
        Ok(Reply::ok_with(format!("MODIFIED {modified}"), "Some had changed"))
    }
}

fn seqs(numbering: &UidMap, uids: &UidSet<Uid>) -> UidSet<Seq> {
    let runs = numbering.numbered(uids);
    UidSet::from_ranges(runs.map(|(first, run)| (first, Seq(first.0 + (run.len - 1)))))
}

struct Store {
    mailbox: Arc<Mailbox>,
    user: User,
    session: SessionId,
    uids: UidSet<Uid>,
    change: Change,
    list: Vec<u8>,
}

/// What became of a STORE.
#[derive(Default)]
struct Outcome {
    refused: Option<Done>,
    /// Messages that had changed since, and were left alone.
    modified: UidSet<Uid>,
    changed: Vec<Changed>,
}

struct Changed {
    uid: Uid,
    flags: Option<Bytes>,
    mod_seq: Option<u64>,
}

impl Store {
    async fn run(self) -> Result<Outcome, AccountError> {
        self.user.copier.free_of_old(&self.mailbox, &self.uids).await?;
        // Authority must not pass to new between the look at the map and the server's answer.
        let guard = self.mailbox.guard.read().await;
        self.mailbox.flagging(&self.uids).await?;
        step("store: flags are noted");
        let view = self.mailbox.view();
        let mut outcome = Outcome::default();
        for side in Side::BOTH {
            let wanted = places(&view.map, &self.uids, side);
            if !wanted.is_empty() && outcome.refused.is_none() {
                self.on_side(side, &wanted, &mut outcome).await?;
            }
        }
        drop(guard);
        outcome.changed.sort_by_key(|changed| changed.uid);
        outcome.changed.dedup_by_key(|changed| changed.uid);
        Ok(outcome)
    }

    async fn on_side(
        &self,
        side: Side,
        wanted: &UidSet<SideUid>,
        outcome: &mut Outcome,
    ) -> Result<(), AccountError> {
        let mut lease = self.mailbox.lease(&self.user.access, side).await?;
        self.mailbox.catch_up_to_write(&mut lease).await?;
        let announced = ensure_announced(&mut lease, wanted).await?;
        let wanted = wanted.intersect(&announced);
        let since = self.mailbox.moment();
        let others = self.mailbox.listeners() > 1;
        let ask = !self.change.silent || others || wanted.len() <= ASK_FLAGS;
        let sign = match self.change.mode {
            StoreMode::Replace => "",
            StoreMode::Add => "+",
            StoreMode::Remove => "-",
        };
        let silent = if ask { "" } else { ".SILENT" };
        let unchanged = match self.change.unchanged_since {
            Some(known) => {
                let since = self.mailbox.view().mod_seqs.since(known)[side];
                format!("(UNCHANGEDSINCE {since}) ")
            }
            None => String::new(),
        };
        let commands = wanted
            .spanned(&announced)
            .chunks_of(MAX_COMMAND)
            .map(|set| {
                let mut command = Parts::new();
                command.text(&format!("UID STORE {set} {unchanged}{sign}FLAGS{silent} "));
                command.text(&String::from_utf8_lossy(&self.list));
                command
            })
            .collect();
        let stored = run_stores(&mut lease, commands).await?;
        step("store: the flags are stored");
        self.mailbox.wrote_flags(&lease);
        stored.tell(&self.mailbox, &mut lease, &wanted, self.session, since).await?;
        let known = |uid| self.mailbox.uid_of(side, uid);
        outcome.modified.extend(stored.modified.intersect(&wanted).iter().filter_map(known));
        for heard in stored.heard.into_iter().filter(|heard| wanted.contains(heard.uid)) {
            let Some(uid) = known(heard.uid) else { continue };
            let mod_seq = match heard.mod_seq {
                Some(told) => Some(self.mailbox.mod_seq_of(side, told).await?),
                None => None,
            };
            outcome.changed.push(Changed { uid, flags: heard.flags, mod_seq });
        }
        self.mailbox.give_back(lease).await;
        outcome.refused = stored.refused;
        Ok(())
    }
}

/// What one server answered to STOREs.
pub(super) struct Stored {
    /// The first refusal, if any.
    pub refused: Option<Done>,
    modified: UidSet<SideUid>,
    heard: Vec<Heard>,
}

struct Heard {
    uid: SideUid,
    flags: Option<Bytes>,
    mod_seq: Option<u64>,
}

/// Sends STOREs together, and reads the answers to the end of each. Where the server has no time
/// just now, those that it put off are sent again.
pub(super) async fn run_stores(
    conn: &mut Conn,
    mut commands: Vec<Parts>,
) -> Result<Stored, BackendError> {
    let mut stored = Stored { refused: None, modified: UidSet::new(), heard: Vec::new() };
    let mut pace = Pace::default();
    loop {
        let put_off = run_stores_once(conn, commands, &mut stored).await?;
        let Some(last) = put_off.last() else { return Ok(stored) };
        match pace.after(&last.1) {
            Some(pause) => sleep(pause).await,
            None => {
                stored.refused = put_off.into_iter().next_back().map(|(_, done)| done);
                return Ok(stored);
            }
        }
        commands = put_off.into_iter().map(|(command, _)| command).collect();
    }
}

/// Returns those that the server put off, with its words.
async fn run_stores_once(
    conn: &mut Conn,
    commands: Vec<Parts>,
    stored: &mut Stored,
) -> Result<Vec<(Parts, Done)>, BackendError> {
    let sent: Vec<(Pending, Parts)> =
        commands.into_iter().map(|command| (conn.queue(&command), command)).collect();
    let mut put_off = Vec::new();
    for (pending, command) in sent {
        let mut each = |fetched: crate::backend::Fetched| {
            if let Some(uid) = fetched.uid {
                let flags = fetched.flags().map(|list| without_recent(&list));
                stored.heard.push(Heard { uid, flags, mod_seq: fetched.mod_seq() });
            }
        };
        let done = conn.finish_fetch(pending, &mut each).await?;
        if Pace::default().after(&done).is_some() {
            put_off.push((command, done));
            continue;
        }
        if let Some(Code::Modified(set)) = &done.code {
            let left = set.iter().map(|&(first, last)| (SideUid(first), SideUid(last)));
            stored.modified = stored.modified.union(&UidSet::from_ranges(left));
        }
        // Where nothing was stored, some servers say NO; what they left alone says more.
        if !done.is_ok() && !matches!(done.code, Some(Code::Modified(_))) {
            stored.refused.get_or_insert(done);
        }
    }
    Ok(put_off)
}

impl Stored {
    /// The messages of whose flags the server told.
    pub(super) fn told_of(&self) -> UidSet<SideUid> {
        let told = self.heard.iter().filter(|heard| heard.flags.is_some());
        told.map(|heard| heard.uid).collect()
    }

    /// Tells all sessions of what was heard: what `session` did itself, it need not be told.
    pub(super) async fn tell(
        &self,
        mailbox: &Arc<Mailbox>,
        conn: &mut Conn,
        wanted: &UidSet<SideUid>,
        session: SessionId,
        since: Moment,
    ) -> Result<(), AccountError> {
        let flags = self.heard.iter().filter_map(|heard| Some((heard.uid, heard.flags.clone()?)));
        let (mine, others): (Vec<_>, Vec<_>) = flags.partition(|(uid, _)| wanted.contains(*uid));
        let doubtful = mailbox.hear_flags(conn, &mine, None, Some(session), since).await?;
        let doubtful = mine.into_iter().filter(|(uid, _)| doubtful.contains(*uid));
        for (uid, flags) in others.into_iter().chain(doubtful) {
            conn.note_flags(uid, flags);
        }
        Ok(())
    }
}
