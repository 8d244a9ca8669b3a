//! The parts of a CATENATE (RFC 4469): collected within the proxy's budget, whichever side they
//! come from.

use std::sync::Arc;

use super::super::User;
use super::super::reply::{Failure, Reply};
use super::super::sets::ensure_announced;
use crate::account::{AccountError, Mailbox};
use crate::backend::{BackendError, Conn, Event, text};
use crate::ferry::Tee;
use crate::imap::fetch_scan::{FetchScan, Item, ItemKind, number};
use crate::imap::response::Response;
use crate::imap::scan::Scan;
use crate::imap::url::MessageUrl;
use crate::uid::{SideUid, Uid};

/// Reads what a URL names.
pub(super) async fn read(
    user: &User,
    selected: Option<&Arc<Mailbox>>,
    url: &[u8],
) -> Result<Tee, Failure> {
    let bad = || Failure::Refused(Reply::bad_url(url));
    let MessageUrl { mailbox, uid_validity, uid, item } = MessageUrl::parse(url).ok_or_else(bad)?;
    let mailbox = match (&mailbox, selected) {
        (Some(name), _) => match user.account.mailbox(&user.access, name).await {
            Ok(mailbox) => mailbox,
            Err(AccountError::NoSuchMailbox(_)) => return Err(bad()),
            Err(e) => return Err(e.into()),
        },
        (None, Some(selected)) => Arc::clone(selected),
        (None, None) => return Err(bad()),
    };
    if mailbox.place(Uid(uid)).is_none() {
        mailbox.refresh(&user.access).await?;
    }
    let view = mailbox.view();
    let place = view.map.place(Uid(uid)).ok_or_else(bad)?;
    if uid_validity.is_some_and(|validity| validity != view.uid_validity) {
        return Err(bad());
    }
    let side = place.authority();
    let Some(side_uid) = place.on(side) else { return Err(bad()) };
    let mut lease = mailbox.lease(&user.access, side).await?;
    ensure_announced(&mut lease, &[side_uid].into_iter().collect()).await?;
    let part = fetch(user, &mut lease, side_uid, &item.to_string()).await;
    if lease.is_clean() {
        mailbox.give_back(lease).await;
    }
    part?.ok_or_else(bad)
}

/// Room for a part.
pub(super) fn collect(user: &User, octets: u64) -> Result<Tee, Failure> {
    user.copier.tee(octets).ok_or_else(|| {
        let text = "There is no room to put the message together, try again later";
        Failure::Refused(Reply::no_with("UNAVAILABLE", text))
    })
}

/// What a client hears whose part could not be kept.
pub(super) fn no_room(e: &std::io::Error) -> Failure {
    tracing::warn!("a part of a message could not be kept: {e}");
    let text = "There is no room to put the message together, try again later";
    Failure::Refused(Reply::no_with("UNAVAILABLE", text))
}

/// One item of one message. `None`: the server has no such message or part.
async fn fetch(
    user: &User,
    conn: &mut Conn,
    uid: SideUid,
    item: &str,
) -> Result<Option<Tee>, Failure> {
    let pending = conn.send(&text(&format!("UID FETCH {uid} (UID {item})"))).await?;
    let mut part = None;
    loop {
        match conn.event().await? {
            Event::Fetch { seq, text, literal } => {
                let Some((mut scan, _, mut from)) = FetchScan::start(&text) else {
                    return Err(conn.protocol("unreadable FETCH".into()).into());
                };
                let ours = conn.selected().and_then(|s| s.uid(seq));
                let (mut told, mut found) = (ours, None);
                let (mut segment, mut literal) = (text, literal);
                loop {
                    let mut items: Vec<Item> = Vec::new();
                    if scan.segment(&segment, from, &mut items).is_err() {
                        return Err(conn.protocol("unreadable FETCH".into()).into());
                    }
                    for item in &items {
                        let value = &segment[item.value.clone()];
                        match item.kind {
                            ItemKind::Uid => told = number(value).map(SideUid).or(told),
                            ItemKind::Body if literal.is_none() => {
                                if let Some(Some(octets)) = Scan::new(value).nstring() {
                                    let mut tee = collect(user, octets.len() as u64)?;
                                    tee.push(&octets).map_err(|e| no_room(&e))?;
                                    found = Some(tee);
                                }
                            }
                            ItemKind::Flags => {
                                if let Some(uid) = told.filter(|_| items.len() < 3) {
                                    let flags = crate::account::without_recent(value);
                                    conn.note_flags(uid, flags);
                                }
                            }
                            _ => {}
                        }
                    }
                    let Some(announced) = literal else { break };
                    found = Some(take(user, conn, announced.octets).await?);
                    match conn.event().await? {
                        Event::More { text, literal: next } => {
                            (segment, literal, from) = (text, next, 0);
                        }
                        _ => return Err(conn.protocol("a FETCH broke off".into()).into()),
                    }
                }
                if told == Some(uid) {
                    part = found.or(part);
                }
            }
            Event::Response(response @ Response::Tagged { .. }) => {
                if let Some(done) = conn.tagged(pending, response, Vec::new())? {
                    return Ok(part.filter(|_| done.is_ok()));
                }
            }
            Event::Response(_) => {}
            Event::Chunk { .. } | Event::More { .. } => {
                return Err(conn.protocol("a literal outside of a FETCH".into()).into());
            }
        }
    }
}

async fn take(user: &User, conn: &mut Conn, octets: u64) -> Result<Tee, Failure> {
    let mut tee = collect(user, octets)?;
    loop {
        match conn.event().await? {
            Event::Chunk { octets, last } => {
                tee.push(&octets).map_err(|e| no_room(&e))?;
                if last {
                    return Ok(tee);
                }
            }
            _ => {
                let e: BackendError = conn.protocol("a literal broke off".into());
                return Err(e.into());
            }
        }
    }
}
