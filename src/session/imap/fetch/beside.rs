//! Messages whose copy on new is not quite what old has, as another tool made it: what a client was
//! told of size, structure and content stays true as long as old gives it. New decides over flags.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::sets::ensure_announced;
use super::plan::{gathered, schedule, schedule_beside};
use super::run::{Broken, Fetch, connection};
use crate::account::{MAX_COMMAND, View, without_recent};
use crate::backend::{Fetched, Lease, text};
use crate::base::{Phase, Side, Sides};
use crate::imap::fetch_rewrite::Writer;
use crate::uid::{Place, SideUid, Uid, UidMap, UidSet};

/// Of so many messages flags are held at a time.
const WINDOW: usize = 4096;

/// What new says of a message.
pub struct Beside {
    /// FLAGS, where the client is to be told.
    flags: Option<Bytes>,
    /// MODSEQ as the client is told.
    mod_seq: Option<u64>,
}

/// Those of the messages that old gives, although new decides over them.
pub(super) fn altered(view: &View, uids: &UidSet<Uid>) -> UidSet<Uid> {
    let altered = uids.intersect(&view.altered);
    if view.phase != Phase::Merged || altered.is_empty() {
        return UidSet::new();
    }
    let both = view.map.intersect(&altered).filter(|run| matches!(run.place, Place::Both { .. }));
    UidSet::from_ranges(both.map(|run| (run.uid, Uid(run.uid.0 + (run.len - 1)))))
}

impl Fetch<'_> {
    /// Whether new must be asked for something of what old gives.
    pub(super) fn asks_beside(&self) -> bool {
        self.wish.flags || self.wish.mod_seq || self.wish.seen
    }

    /// Runs a FETCH of messages of which old gives some that are `altered`.
    pub(super) async fn run_beside(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        map: &UidMap,
        uids: &UidSet<Uid>,
        altered: &UidSet<Uid>,
    ) -> Result<(), Broken> {
        let mut rest = uids.clone();
        if self.changed_since.is_some() {
            // Of these new says what changed, and then old is asked for that.
            let steps = schedule(map, &uids.subtract(altered), |place| Some(place.authority()));
            self.run(leases, &steps).await?;
            rest = altered.clone();
        }
        while !rest.is_empty() {
            let mut part: UidSet<Uid> = rest.iter().take(WINDOW).collect();
            rest = rest.subtract(&part);
            self.ask_beside(leases, map, &part.intersect(altered)).await?;
            let since = self.changed_since.take();
            if since.is_some() {
                part = part.iter().filter(|uid| self.beside.contains_key(uid)).collect();
            }
            let run = self.run(leases, &schedule_beside(map, &part, altered)).await;
            self.changed_since = since;
            run?;
        }
        self.beside = HashMap::new();
        Ok(())
    }

    /// Asks new for what the client wants to know of it.
    async fn ask_beside(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        map: &UidMap,
        altered: &UidSet<Uid>,
    ) -> Result<(), Broken> {
        self.beside = HashMap::new();
        if altered.is_empty() || !self.asks_beside() {
            return Ok(());
        }
        let conn = connection(leases, Side::New)?;
        let twins = gathered(&schedule(map, altered, |_| Some(Side::New)));
        let Some(twins) = twins.first() else { return Ok(()) };
        let wanted = twins.uids();
        let announced = ensure_announced(conn, &wanted).await?;
        let counted = if conn.profile().condstore() { " MODSEQ" } else { "" };
        let since = match self.changed_since {
            Some(since) => format!(" (CHANGEDSINCE {})", since[Side::New]),
            None => String::new(),
        };
        let mut told: Vec<(SideUid, Bytes, Option<u64>)> = Vec::new();
        for set in wanted.spanned(&announced).chunks_of(MAX_COMMAND) {
            let command = text(&format!("UID FETCH {set} (UID FLAGS{counted}){since}"));
            let each = |fetched: Fetched| {
                if let (Some(uid), Some(flags)) = (fetched.uid, fetched.flags()) {
                    told.push((uid, without_recent(&flags), fetched.mod_seq()));
                }
            };
            let done = self.client.patiently(conn.fetch(&command, each)).await??;
            if !done.is_ok() {
                return Err(conn.answer("UID FETCH", &done).into());
            }
        }
        for (new_uid, flags, mod_seq) in told {
            let Some((uid, _)) = twins.find(new_uid) else { continue };
            let conn = connection(leases, Side::New)?;
            self.compare(conn, (uid, new_uid), &flags, mod_seq);
            let tells = self.wish.flags || self.seen_set[Side::New].contains(new_uid);
            let mod_seq = self.mod_seq_told(Side::New, mod_seq).await?;
            self.beside.insert(uid, Beside { flags: tells.then_some(flags), mod_seq });
        }
        Ok(())
    }

    /// Has an answer of the side that does not decide tell what the one that does has said.
    pub(super) fn beside(&self, decides: bool, uid: Uid, writer: &mut Writer<'_>) {
        if let Some(beside) = self.beside.get(&uid).filter(|_| !decides) {
            writer.flags.clone_from(&beside.flags);
            writer.mod_seq = beside.mod_seq;
        }
    }
}
