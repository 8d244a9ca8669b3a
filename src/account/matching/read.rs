//! Asking a server for what matching needs of its messages.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::print::{Content, FIELDS, Hashing, Print};
use crate::account::status::found;
use crate::account::without_recent;
use crate::backend::{BackendError, Collect, Conn, Fetched, Pending, internal_date, text};
use crate::imap::fetch_scan::ItemKind;
use crate::imap::scan::Scan;
use crate::imap::search::SearchDate;
use crate::uid::{SideUid, UidSet};

/// Messages asked for by one command: its UIDs fit into a command whatever holes there are.
const WINDOW: usize = 500;
/// In seconds.
const DAY: i64 = 86_400;
/// So many octets of the header fields are asked for: beyond lies nothing that a person wrote.
const MAX_BLOCK: u32 = 64 << 10;
/// Commands on their way at once.
const PIPELINED: usize = 4;

/// The prints of messages. Those that the server does not give are left out.
pub async fn prints(conn: &mut Conn, uids: &UidSet<SideUid>) -> Result<Vec<Print>, BackendError> {
    let mut prints = Vec::with_capacity(uids.len() as usize);
    let items =
        format!("RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS ({FIELDS})]<0.{MAX_BLOCK}>");
    fetch_in_windows(conn, uids, &items, |fetched| {
        let date = fetched.internal_date().and_then(|date| internal_date(&date));
        if let (Some(uid), Some(size), Some(block)) =
            (fetched.uid, fetched.size(), header_of(&fetched))
            && uids.contains(uid)
        {
            prints.push(Print::of(uid, size, date, &block));
        }
    })
    .await?;
    // A server may tell of a message twice.
    prints.sort_unstable_by_key(|print| print.uid);
    prints.dedup_by_key(|print| print.uid);
    Ok(prints)
}

/// Those of `among` that arrived on a day on which one of the others did, or the day before or after:
/// servers count days in zones of their own.
pub async fn near(
    conn: &mut Conn,
    others: &[Print],
    among: &UidSet<SideUid>,
) -> Result<UidSet<SideUid>, BackendError> {
    let mut days: Vec<i64> = others.iter().map(|print| print.date.div_euclid(DAY)).collect();
    days.sort_unstable();
    days.dedup();
    let mut near = UidSet::new();
    for day in days {
        let date = |day: i64| SearchDate::of_instant(day * DAY);
        let (Some(from), Some(to)) = (date(day - 1), date(day + 2)) else { continue };
        near = near.union(&found(conn, &format!("SINCE {from} BEFORE {to}"), among).await?);
    }
    Ok(near)
}

/// The flags of messages, without `\Recent`.
pub async fn flags(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<HashMap<SideUid, Bytes>, BackendError> {
    let mut flags = HashMap::new();
    fetch_in_windows(conn, uids, "FLAGS", |fetched| {
        if let (Some(uid), Some(list)) = (fetched.uid, fetched.flags()) {
            flags.insert(uid, without_recent(&list));
        }
    })
    .await?;
    Ok(flags)
}

/// The header fields; `None`: NIL, or nothing.
pub fn header_of(fetched: &Fetched) -> Option<Vec<u8>> {
    let value = fetched.value(ItemKind::Body)?;
    Scan::new(&value).nstring().flatten().map(|block| block.into_owned())
}

/// Fetches in windows, some of them on their way at once. Where a server refuses one, each of its
/// messages is asked for alone: a broken one never keeps the others from being matched.
pub async fn fetch_in_windows(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
    items: &str,
    mut each: impl FnMut(Fetched),
) -> Result<(), BackendError> {
    let mut refused = UidSet::new();
    let asks_flags = items == "FLAGS";
    let mut news = Vec::new();
    let mut each = |fetched: Fetched| {
        news.extend(fetched.uid.zip(fetched.flags().filter(|_| !asks_flags)));
        each(fetched);
    };
    let mut windows = windows(uids);
    let mut sent: VecDeque<(Pending, UidSet<SideUid>)> = VecDeque::new();
    loop {
        while sent.len() < PIPELINED
            && let Some(window) = windows.next()
        {
            let command = text(&format!("UID FETCH {window} (UID {items})"));
            sent.push_back((conn.queue(&command), window));
        }
        let Some((pending, window)) = sent.pop_front() else { break };
        // An answer that was passed over may have been a refusal.
        if !conn.awaits(pending) || !conn.finish_fetch(pending, &mut each).await?.is_ok() {
            refused = refused.union(&window);
        }
    }
    for uid in refused.iter() {
        conn.fetch(&text(&format!("UID FETCH {uid} (UID {items})")), &mut each).await?;
    }
    // Somebody changed them: that is news, whoever asked for what.
    for (uid, flags) in news {
        conn.note_flags(uid, flags);
    }
    Ok(())
}

fn windows(uids: &UidSet<SideUid>) -> impl Iterator<Item = UidSet<SideUid>> {
    let mut left = uids.iter();
    std::iter::from_fn(move || {
        let window: UidSet<SideUid> = left.by_ref().take(WINDOW).collect();
        (!window.is_empty()).then_some(window)
    })
}

/// The content of messages, hashed as it comes. Those that the server does not give are left out.
pub async fn contents(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<HashMap<SideUid, Content>, BackendError> {
    let mut contents = HashMap::new();
    let mut refused = UidSet::new();
    for window in windows(uids) {
        if !contents_of(conn, &window, &mut contents).await? {
            refused = refused.union(&window);
        }
    }
    for uid in refused.iter().filter(|uid| !contents.contains_key(uid)).collect::<Vec<_>>() {
        contents_of(conn, &[uid].into_iter().collect(), &mut contents).await?;
    }
    Ok(contents)
}

/// False: the server refused.
async fn contents_of(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
    contents: &mut HashMap<SideUid, Content>,
) -> Result<bool, BackendError> {
    let mut hashing: Option<Hashing> = None;
    let each = |fetched: Fetched, hashing: &mut Option<Hashing>| {
        let uid = fetched.uid.filter(|uid| uids.contains(*uid));
        contents.extend(uid.zip(hashing.take().map(Hashing::finish)));
    };
    Ok(conn.fetch_content(uids, "", &mut hashing, each).await?.is_ok())
}

impl Collect for Option<Hashing> {
    fn begin(&mut self, _octets: u64) {
        *self = Some(Hashing::default());
    }

    fn take(&mut self, octets: &[u8]) {
        if let Some(hashing) = self {
            hashing.update(octets);
        }
    }
}
