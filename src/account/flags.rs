//! Flags of a message that lies on both sides: those of one written to the other.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tracing::debug;

use super::MAX_COMMAND;
use super::matching::read;
use crate::backend::{BackendError, Conn, text};
use crate::imap::fetch_scan::flags as each_flag;
use crate::uid::{SideUid, UidSet};

const DELETED: &[u8] = b"\\Deleted";

/// Gives the second of each pair of messages the flags of the first, each on its connection. Returns
/// the first ones' flags, of those that are still there.
pub async fn write_flags(
    from: &mut Conn,
    to: &mut Conn,
    twins: &[(SideUid, SideUid)],
) -> Result<HashMap<SideUid, Bytes>, BackendError> {
    write(from, to, twins, |from, _| from).await
}

/// Gives the second of each pair of messages, which were seen as two, the flags of both. It loses none: but
/// `\Deleted`, unless both have it, for who removes one of two does not remove the other.
pub async fn unite_flags(
    from: &mut Conn,
    to: &mut Conn,
    twins: &[(SideUid, SideUid)],
) -> Result<(), BackendError> {
    write(from, to, twins, united).await.map(|_| ())
}

async fn write(
    from: &mut Conn,
    to: &mut Conn,
    twins: &[(SideUid, SideUid)],
    wanted_of: impl Fn(Vec<Vec<u8>>, &[Vec<u8>]) -> Vec<Vec<u8>>,
) -> Result<HashMap<SideUid, Bytes>, BackendError> {
    let source: UidSet<SideUid> = twins.iter().map(|(source, _)| *source).collect();
    let target: UidSet<SideUid> = twins.iter().map(|(_, target)| *target).collect();
    let (wanted, found) = tokio::try_join!(read::flags(from, &source), read::flags(to, &target))?;
    let mut missing: BTreeMap<Vec<Vec<u8>>, UidSet<SideUid>> = BTreeMap::new();
    for (source, target) in twins {
        let Some(list) = wanted.get(source) else { continue };
        let found = found.get(target).map(|found| sorted(found));
        let flags = wanted_of(sorted(list), found.as_deref().unwrap_or_default());
        if found.is_none_or(|found| found != flags) {
            missing.entry(flags).or_default().insert(*target);
        }
    }
    let refused = store(to, &missing).await?;
    // A keyword that a server refuses keeps nothing else back.
    let mut system: BTreeMap<Vec<Vec<u8>>, UidSet<SideUid>> = BTreeMap::new();
    for (flags, uids) in refused {
        let flags = flags.into_iter().filter(|flag| flag.first() == Some(&b'\\')).collect();
        let all = system.entry(flags).or_default();
        *all = all.union(&uids);
    }
    if let Some((flags, uids)) = store(to, &system).await?.into_iter().next() {
        let flags = flags.join(&b' ').escape_ascii().to_string();
        return Err(to.protocol(format!("flags ({flags}) of {uids} are refused")));
    }
    Ok(wanted)
}

/// STOREs, all on their way at once. Returns those that the server refused.
async fn store(
    conn: &mut Conn,
    wanted: &BTreeMap<Vec<Vec<u8>>, UidSet<SideUid>>,
) -> Result<Vec<(Vec<Vec<u8>>, UidSet<SideUid>)>, BackendError> {
    let mut sent = Vec::new();
    for (flags, uids) in wanted {
        let list = flags.join(&b' ');
        // What a server has told as a flag goes back as it came, if it is one.
        let list = String::from_utf8_lossy(&list);
        for set in uids.chunks_of(MAX_COMMAND.saturating_sub(list.len())) {
            let command = text(&format!("UID STORE {set} FLAGS.SILENT ({list})"));
            sent.push((conn.queue(&command), flags, uids));
        }
    }
    let mut refused: Vec<(Vec<Vec<u8>>, UidSet<SideUid>)> = Vec::new();
    for (pending, flags, uids) in sent {
        if !conn.awaits(pending) {
            return Err(conn.protocol("STOREs are not answered in their order".into()));
        }
        let done = conn.finish(pending).await?;
        if !done.is_ok() && refused.last().is_none_or(|(known, _)| known != flags) {
            debug!("flags refused: {}", done.words());
            refused.push((flags.clone(), uids.clone()));
        }
    }
    Ok(refused)
}

fn sorted(list: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = each_flag(list).map(<[u8]>::to_vec).collect();
    all.sort_by_key(|flag| flag.to_ascii_lowercase());
    all
}

fn united(one: Vec<Vec<u8>>, other: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let has = |list: &[Vec<u8>], flag: &[u8]| list.iter().any(|f| f.eq_ignore_ascii_case(flag));
    let more = other.iter().filter(|flag| !has(&one, flag)).cloned();
    let mut all: Vec<Vec<u8>> = one.iter().cloned().chain(more).collect();
    if !(has(&one, DELETED) && has(other, DELETED)) {
        all.retain(|flag| !flag.eq_ignore_ascii_case(DELETED));
    }
    all.sort_by_key(|flag| flag.to_ascii_lowercase());
    all
}

#[cfg(test)]
mod tests {
    use super::{sorted, united};

    #[test]
    fn v4_flags_of_both_count_but_deleted() {
        let both = |one: &[u8], other: &[u8]| united(sorted(one), &sorted(other)).join(&b' ');
        assert_eq!(both(b"(\\Seen a)", b"(A \\Flagged \\Deleted)"), b"\\Flagged \\Seen a");
        assert_eq!(both(b"(\\deleted)", b"(\\Deleted)"), b"\\deleted");
        assert_eq!(both(b"()", b"()"), b"");
    }
}
