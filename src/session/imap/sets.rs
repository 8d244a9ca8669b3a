//! From a client's set to what a server is asked for.

use crate::backend::{BackendError, Conn, text};
use crate::base::Side;
use crate::uid::{SeqSet, SideUid, Uid, UidMap, UidSet};

/// The messages a client's set names, by its own numbering and what it has `saved`. `None`: a
/// sequence number that does not exist, which is a fault of the client's (RFC 3501 §6.4.8 forgives
/// UIDs that do not, and RFC 5182 §2.1 forgives an empty `$`).
pub(super) fn resolve(
    set: &SeqSet,
    uid: bool,
    numbering: &UidMap,
    saved: &UidSet<Uid>,
) -> Option<UidSet<Uid>> {
    if set.is_saved() {
        // What was expunged since is in it no more.
        return Some(numbering.within(saved));
    }
    if uid { Some(set.resolve_uids(numbering)) } else { set.resolve_seqs(numbering) }
}

/// The UIDs, on one side, of those messages over which that side decides.
pub(super) fn places(map: &UidMap, uids: &UidSet<Uid>, side: Side) -> UidSet<SideUid> {
    let mut found: Vec<(SideUid, SideUid)> = Vec::new();
    for run in map.intersect(uids).filter(|run| run.place.authority() == side) {
        if let Some(first) = run.place.on(side) {
            found.push((first, SideUid(first.0 + (run.len - 1))));
        }
    }
    UidSet::from_ranges(found)
}

/// What the connection has announced, after a NOOP if something wanted is missing: a server may
/// know nothing of a UID that it has told to another connection only.
pub(super) async fn ensure_announced(
    conn: &mut Conn,
    wanted: &UidSet<SideUid>,
) -> Result<UidSet<SideUid>, BackendError> {
    let missing = |conn: &Conn| conn.selected().is_some_and(|s| !wanted.is_subset(s.announced()));
    if missing(conn) {
        conn.must("NOOP", &text("NOOP")).await?;
        conn.list_arrivals().await?;
    }
    Ok(conn.selected().map(|s| s.announced().clone()).unwrap_or_default())
}
