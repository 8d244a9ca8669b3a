//! Removing exactly what is to be removed from a server, also where it knows EXPUNGE alone.

use super::MAX_COMMAND;
use crate::backend::{BackendError, Conn, Done, text};
use crate::imap::response::Response;
use crate::imap::write::Parts;
use crate::uid::{SideUid, UidSet};

/// EXPUNGE takes all that has `\Deleted`, so those who shall stay lose it for that moment: hidden
/// old copies, messages that lie on both sides, and what the client has not been told of.
pub async fn expunge_without_uidplus(
    conn: &mut Conn,
    wanted: &UidSet<SideUid>,
) -> Result<Option<Done>, BackendError> {
    let deleted = match uid_search(conn, text("DELETED")).await? {
        Ok(deleted) => deleted,
        Err(done) => return Ok(Some(done)),
    };
    let bystanders = deleted.subtract(wanted);
    if deleted.intersect(wanted).is_empty() {
        return Ok(None);
    }
    let lift = |set: &str| format!("UID STORE {set} -FLAGS.SILENT (\\Deleted)");
    let mut refused = each_chunk(conn, &bystanders, lift).await?;
    if refused.is_none() {
        refused = Some(conn.run(&text("EXPUNGE")).await?).filter(|done| !done.is_ok());
    }
    let put_back = mark_deleted(conn, &bystanders).await?;
    Ok(refused.or(put_back))
}

/// Sets `\Deleted`; only UIDs that the connection has announced, and exactly those.
pub async fn mark_deleted(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<Option<Done>, BackendError> {
    each_chunk(conn, uids, |set| format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await
}

/// Runs a command for each part of a set, up to the first refusal.
pub async fn each_chunk(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
    command: impl Fn(&str) -> String,
) -> Result<Option<Done>, BackendError> {
    for set in uids.chunks_of(MAX_COMMAND) {
        let done = conn.run(&text(&command(&set))).await?;
        if !done.is_ok() {
            return Ok(Some(done));
        }
    }
    Ok(None)
}

/// UID SEARCH on the selected mailbox: what was found, or the server's refusal.
pub async fn uid_search(
    conn: &mut Conn,
    program: Parts,
) -> Result<Result<UidSet<SideUid>, Done>, BackendError> {
    let compact = conn.profile().esearch();
    let mut command = text(if compact { "UID SEARCH RETURN (ALL) " } else { "UID SEARCH " });
    command.append(program);
    let done = conn.run(&command).await?;
    if !done.is_ok() {
        return Ok(Err(done));
    }
    let mut hits = Vec::new();
    for response in &done.untagged {
        match response {
            Response::Search(uids) => {
                hits.extend(uids.iter().map(|&uid| (SideUid(uid), SideUid(uid))));
            }
            Response::Esearch { all, .. } => {
                hits.extend(all.iter().map(|&(first, last)| (SideUid(first), SideUid(last))));
            }
            _ => {}
        }
    }
    Ok(Ok(UidSet::from_ranges(hits)))
}
