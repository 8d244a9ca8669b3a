//! From a client's set to what a server is asked for.

use crate::backend::{BackendError, Conn, text};
use crate::base::Side;
use crate::uid::{SeqSet, SideUid, Uid, UidMap, UidSet};

/// The messages a client's set names, by its own numbering. `None`: a sequence number that does
/// not exist, which is a fault of the client's (RFC 3501 §6.4.8 forgives UIDs that do not).
pub(super) fn resolve(set: &SeqSet, uid: bool, numbering: &UidMap) -> Option<UidSet<Uid>> {
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

/// The same set with as few ranges as possible: it spans what the connection has not announced,
/// and so knows to be absent. Among what is announced it names exactly `wanted`.
pub(super) fn span(wanted: &UidSet<SideUid>, announced: &UidSet<SideUid>) -> UidSet<SideUid> {
    let mut spanned: Vec<(SideUid, SideUid)> = Vec::new();
    let mut last_rank = None;
    for (first, last) in wanted.ranges() {
        // As many announced ones below `first` as up to the range before: none in between.
        let below = announced.rank(first).saturating_sub(1);
        match spanned.last_mut() {
            Some(open) if last_rank == Some(below) && announced.contains(first) => open.1 = last,
            _ => spanned.push((first, last)),
        }
        last_rank = Some(announced.rank(last));
    }
    UidSet::from_ranges(spanned)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> UidSet<SideUid> {
        UidSet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_span_covers_holes_and_nothing_that_is_there() {
        let announced = set("1,3,5:9,20,30");
        assert_eq!(span(&announced, &announced).to_string(), "1:30");
        assert_eq!(span(&set("1,3,20,30"), &announced).to_string(), "1:3,20:30");
        assert_eq!(span(&set("3,5:7,9"), &announced).to_string(), "3:7,9");
        // What is not announced is asked for as it is, and spanned by nothing.
        assert_eq!(span(&set("1,40"), &announced).to_string(), "1,40");
        assert_eq!(span(&UidSet::new(), &announced).to_string(), "");
    }
}
