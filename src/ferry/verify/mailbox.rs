//! One mailbox of both servers, read in windows and compared.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::try_join;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use super::compare::{Difference, Kind, Told, differ};
use super::{Finding, Thoroughness, VerifyError};
use crate::account::{
    Access, AccountError, Mailbox, contents, fetch_in_windows, header_of, without_recent,
};
use crate::backend::{Conn, Lease, text};
use crate::base::{AccountName, Side, Sides};
use crate::imap::header::{decoded, field};
use crate::index::Snapshot;
use crate::uid::{Place, Run, SideUid, Uid, UidSet};

/// So many messages are held at once: some hundred octets each, of either side.
const WINDOW: u32 = 4_000;
/// Enough of a header to name a message by.
const HEADER: u32 = 16 << 10;
/// A Subject of which more is not shown.
const SHOWN: usize = 200;

/// What a mailbox came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// The account's canonical name.
    pub account: String,
    /// The mailbox as its client reads it.
    pub mailbox: String,
    /// Messages on old.
    pub old: u64,
    /// Messages on new.
    pub new: u64,
    /// Messages that clients see.
    pub seen: u64,
    /// Messages that lie on both and were compared.
    pub compared: u64,
    /// Their octets, as old counts them.
    pub octets: u64,
    /// Messages that are on new alone, and right there.
    pub only_new: u64,
    /// Messages on old that clients do not see, for one of them removed them.
    pub removed: u64,
    /// Messages on old that are not on new.
    pub missing: u64,
    /// Copies of another size or content.
    pub different: u64,
    /// Copies with other flags.
    pub flags: u64,
    /// Copies with another date.
    pub dates: u64,
    /// Messages on new that are nobody's.
    pub extra: u64,
    /// Copies that servers or tools altered without changing what is said.
    pub altered: u64,
    /// Of all these, what was asked for to be let pass.
    pub ignored: u64,
    /// Why the mailbox could not be looked at, or not all of it.
    pub failed: Option<String>,
    /// Whether nothing is wrong.
    pub clean: bool,
}

impl Totals {
    pub(super) fn of(account: &AccountName, mailbox: String) -> Totals {
        Totals { account: account.to_string(), mailbox, ..Totals::default() }
    }

    /// How many differences count.
    pub fn differences(&self) -> u64 {
        let all = self.missing + self.different + self.flags + self.dates + self.extra;
        all.saturating_sub(self.ignored)
    }

    fn count(&mut self, kind: Kind, ignored: bool) {
        let counter = match kind {
            Kind::Missing => &mut self.missing,
            Kind::Different => &mut self.different,
            Kind::Flags => &mut self.flags,
            Kind::Date => &mut self.dates,
            Kind::Extra => &mut self.extra,
            Kind::Altered => &mut self.altered,
        };
        *counter += 1;
        if ignored && kind != Kind::Altered {
            self.ignored += 1;
        }
    }
}

/// Compares one mailbox. Gives what both servers counted when it was looked at.
pub(super) async fn look(
    mailbox: &Arc<Mailbox>,
    access: &Access,
    how: &Thoroughness,
    found: &Sender<Finding>,
    totals: &mut Totals,
) -> Result<Sides<Option<Snapshot>>, VerifyError> {
    mailbox.refresh(access).await?;
    mailbox.matched(&mailbox.view().map.uids()).await?;
    let names = mailbox.view().names.clone();
    // Old's first, as everywhere.
    let mut conns = Sides::<Option<Lease>>::default();
    for side in Side::BOTH.into_iter().filter(|side| names[*side].is_some()) {
        conns[side] = Some(fresh(mailbox, access, side).await?);
    }
    let there = conns.as_ref().map(|_, conn| announced(conn.as_ref()));
    let known = mailbox.peek(|m| Known {
        map: m.map.clone(),
        removed: m.owed.removed.union(&m.owed.removing),
        flagged: m.owed.flags.clone(),
        own: m
            .held
            .new
            .keys()
            .copied()
            .collect::<UidSet<SideUid>>()
            .union(&m.unmatched)
            .union(&m.owed.twins),
        stuck: m.stuck.iter().map(|(uid, stuck)| (*uid, stuck.reason.clone())).collect(),
    });
    let sides = conns.as_ref().map(|_, conn| Some(conn.as_ref()?.selected()?.snapshot()));
    let mut look = Look { mailbox, how, found, totals, conns, there, known };
    look.count();
    look.missing().await?;
    look.extra().await?;
    look.pairs().await?;
    let Sides { old, new } = look.conns;
    for conn in [old, new].into_iter().flatten() {
        mailbox.give_back(conn).await;
    }
    Ok(sides)
}

/// A connection that knows all there is by now, with its news in the map.
async fn fresh(mailbox: &Arc<Mailbox>, access: &Access, side: Side) -> Result<Lease, AccountError> {
    let mut conn = mailbox.lease(access, side).await?;
    conn.must("NOOP", &text("NOOP")).await?;
    mailbox.hear(&mut conn).await?;
    Ok(conn)
}

fn announced(conn: Option<&Lease>) -> UidSet<SideUid> {
    let selected = conn.and_then(|conn| conn.selected());
    selected.map_or(UidSet::new(), |selected| selected.announced().clone())
}

/// What the proxy knows of the mailbox, at one moment.
struct Known {
    map: crate::uid::UidMap,
    /// Old copies of what clients removed through the proxy, and old has not been told of.
    removed: UidSet<SideUid>,
    /// Messages whose flags clients changed through the proxy, and old has not been told of.
    flagged: UidSet<Uid>,
    /// Arrivals on new that are not decided yet, and copies that are about to be removed there.
    own: UidSet<SideUid>,
    stuck: HashMap<Uid, String>,
}

struct Look<'a> {
    mailbox: &'a Arc<Mailbox>,
    how: &'a Thoroughness,
    found: &'a Sender<Finding>,
    totals: &'a mut Totals,
    conns: Sides<Option<Lease>>,
    there: Sides<UidSet<SideUid>>,
    known: Known,
}

/// A message by all its names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Which {
    uid: Option<Uid>,
    old: Option<SideUid>,
    new: Option<SideUid>,
}

impl Look<'_> {
    fn count(&mut self) {
        let removed = self.there.old.intersect(&self.known.removed);
        self.totals.old = self.there.old.len().into();
        self.totals.new = self.there.new.len().into();
        self.totals.seen = self.known.map.len().into();
        self.totals.removed = removed.len().into();
        let only = |run: &Run| matches!(run.place, Place::New(_));
        let only_new = self.known.map.runs().filter(only).map(|run| u64::from(run.len));
        self.totals.only_new = only_new.sum();
    }

    /// What old has and new has not.
    async fn missing(&mut self) -> Result<(), VerifyError> {
        let map = self.known.map.clone();
        let mut some = Vec::new();
        for run in map.runs() {
            for n in 0..run.len {
                let uid = Uid(run.uid.0 + n);
                let (which, why) = match run.place {
                    Place::Old(old) => {
                        let which =
                            Which { uid: Some(uid), old: Some(SideUid(old.0 + n)), new: None };
                        let why = match self.known.stuck.get(&uid) {
                            Some(reason) => format!("new refused it: {reason}"),
                            None => "not copied yet".to_owned(),
                        };
                        (which, why)
                    }
                    Place::Both { old, new } => {
                        let (old, new) = (SideUid(old.0 + n), SideUid(new.0 + n));
                        if self.there.new.contains(new) || !self.there.old.contains(old) {
                            continue;
                        }
                        let which = Which { uid: Some(uid), old: Some(old), new: Some(new) };
                        (which, "its copy is not on new".to_owned())
                    }
                    Place::New(_) => break,
                };
                some.push((which, why));
                if some.len() as u32 >= WINDOW {
                    self.tell_all(Side::Old, Kind::Missing, &mut some).await?;
                }
            }
        }
        // What clients do not see, and did not remove either, was removed from new behind their backs.
        let mapped = map.side_uids(Side::Old);
        let lost = self.there.old.subtract(&mapped).subtract(&self.known.removed);
        for old in lost.iter() {
            let which = Which { old: Some(old), ..Which::default() };
            some.push((which, "its copy was removed from new, not through the proxy".to_owned()));
            if some.len() as u32 >= WINDOW {
                self.tell_all(Side::Old, Kind::Missing, &mut some).await?;
            }
        }
        self.tell_all(Side::Old, Kind::Missing, &mut some).await
    }

    /// What new has and nobody sees.
    async fn extra(&mut self) -> Result<(), VerifyError> {
        let mapped = self.known.map.side_uids(Side::New);
        let extra = self.there.new.subtract(&mapped).subtract(&self.known.own);
        let mut some = Vec::new();
        for new in extra.iter() {
            let which = Which { new: Some(new), ..Which::default() };
            some.push((which, "a copy too many: clients do not see it".to_owned()));
            if some.len() as u32 >= WINDOW {
                self.tell_all(Side::New, Kind::Extra, &mut some).await?;
            }
        }
        self.tell_all(Side::New, Kind::Extra, &mut some).await
    }

    /// What lies on both.
    async fn pairs(&mut self) -> Result<(), VerifyError> {
        let map = self.known.map.clone();
        let mut window = Vec::new();
        for run in map.runs() {
            let Place::Both { old, new } = run.place else { continue };
            for n in 0..run.len {
                let pair = (Uid(run.uid.0 + n), SideUid(old.0 + n), SideUid(new.0 + n));
                if self.there.old.contains(pair.1) && self.there.new.contains(pair.2) {
                    window.push(pair);
                }
                if window.len() as u32 >= WINDOW {
                    self.compare(&std::mem::take(&mut window)).await?;
                }
            }
        }
        self.compare(&window).await
    }

    async fn compare(&mut self, pairs: &[(Uid, SideUid, SideUid)]) -> Result<(), VerifyError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let olds: UidSet<SideUid> = pairs.iter().map(|(_, old, _)| *old).collect();
        let news: UidSet<SideUid> = pairs.iter().map(|(.., new)| *new).collect();
        let Sides { old: Some(old), new: Some(new) } = &mut self.conns else { return Ok(()) };
        let (on_old, on_new) = try_join!(told(old, &olds), told(new, &news))?;
        let mut doubtful = Vec::new();
        let mut wrong: Vec<(Which, Kind, String)> = Vec::new();
        for &(uid, old, new) in pairs {
            let which = Which { uid: Some(uid), old: Some(old), new: Some(new) };
            let (told_old, told_new) = match (on_old.get(&old), on_new.get(&new)) {
                (Some(told_old), Some(told_new)) => (told_old, told_new),
                // Gone in this moment, on the side that decides.
                _ if self.mailbox.place(uid).is_none() => continue,
                (_, None) => {
                    wrong.push((which, Kind::Missing, "new does not give its copy".to_owned()));
                    continue;
                }
                (None, _) => {
                    wrong.push((which, Kind::Different, "old does not give it".to_owned()));
                    continue;
                }
            };
            self.totals.compared += 1;
            self.totals.octets += told_old.size;
            // Old has yet to be told of what its user said on new: that is right as it is.
            let flagged = self.known.flagged.contains(uid);
            let found = differ(told_old, told_new).into_iter();
            let found = found.filter(|(kind, _)| !flagged || *kind != Kind::Flags);
            let before = wrong.len();
            wrong.extend(found.map(|(kind, why)| (which, kind, why)));
            let dated = wrong.iter().skip(before).any(|(_, kind, _)| *kind == Kind::Date);
            if self.how.deep || dated || told_old.size != told_new.size {
                doubtful.push((which, told_old.size, told_new.size));
            }
        }
        self.compare_contents(&doubtful, &mut wrong).await?;
        for kind in [Kind::Missing, Kind::Different, Kind::Flags, Kind::Date, Kind::Altered] {
            let mut some: Vec<(Which, String)> = wrong
                .iter()
                .filter(|(_, k, _)| *k == kind)
                .map(|(which, _, why)| (*which, why.clone()))
                .collect();
            self.tell_all(Side::Old, kind, &mut some).await?;
        }
        Ok(())
    }

    /// Reads messages from both servers and compares what they say.
    async fn compare_contents(
        &mut self,
        doubtful: &[(Which, u64, u64)],
        wrong: &mut Vec<(Which, Kind, String)>,
    ) -> Result<(), VerifyError> {
        if doubtful.is_empty() {
            return Ok(());
        }
        let olds: UidSet<SideUid> = doubtful.iter().filter_map(|(which, ..)| which.old).collect();
        let news: UidSet<SideUid> = doubtful.iter().filter_map(|(which, ..)| which.new).collect();
        let Sides { old: Some(old), new: Some(new) } = &mut self.conns else { return Ok(()) };
        let read = try_join!(contents(old, &olds), contents(new, &news));
        let (on_old, on_new) = read.map_err(AccountError::from)?;
        for (which, old_size, new_size) in doubtful {
            let content = (
                which.old.and_then(|uid| on_old.get(&uid)),
                which.new.and_then(|uid| on_new.get(&uid)),
            );
            let sizes = format!("{old_size} octets on old, {new_size} on new");
            match content {
                (Some(a), Some(b)) if a == b && old_size == new_size => {}
                (Some(a), Some(b)) if a == b => {
                    let why = format!("{sizes}; the same but for line ends or a tool's header");
                    wrong.push((*which, Kind::Altered, why));
                }
                (Some(a), Some(b)) if a.text == b.text => {
                    // Each server notes when it got it.
                    wrong.retain(|(found, kind, _)| *kind != Kind::Date || found != which);
                    let why = format!("{sizes}; one message, delivered to either server");
                    wrong.push((*which, Kind::Altered, why));
                }
                (Some(_), Some(_)) => {
                    wrong.push((*which, Kind::Different, format!("other content; {sizes}")));
                }
                (None, _) => {
                    wrong.push((*which, Kind::Different, "old does not give its content".into()));
                }
                (_, None) => {
                    wrong.push((*which, Kind::Different, "new does not give its content".into()));
                }
            }
        }
        Ok(())
    }

    /// Tells of messages, each by what a person knows it by; empties `some`.
    async fn tell_all(
        &mut self,
        side: Side,
        kind: Kind,
        some: &mut Vec<(Which, String)>,
    ) -> Result<(), VerifyError> {
        if some.is_empty() {
            return Ok(());
        }
        let on_side = |which: &Which| if side == Side::Old { which.old } else { which.new };
        let uids: UidSet<SideUid> = some.iter().filter_map(|(which, _)| on_side(which)).collect();
        let mut names = match &mut self.conns[side] {
            Some(conn) => heads(conn, &uids).await?,
            None => HashMap::new(),
        };
        let ignored = self.how.ignore.contains(&kind) || kind == Kind::Altered;
        for (which, detail) in some.drain(..) {
            let head = on_side(&which).and_then(|uid| names.remove(&uid)).unwrap_or_default();
            self.totals.count(kind, ignored);
            let difference = Difference {
                account: self.totals.account.clone(),
                mailbox: self.totals.mailbox.clone(),
                kind,
                ignored,
                uid: which.uid.map(|uid| uid.0),
                old_uid: which.old.map(|uid| uid.0),
                new_uid: which.new.map(|uid| uid.0),
                message_id: head.message_id,
                date: head.date,
                subject: head.subject,
                detail,
            };
            let told = self.found.send(Finding::Difference(difference)).await;
            told.map_err(|_| VerifyError::Unheard)?;
        }
        Ok(())
    }
}

/// What a person knows a message by.
#[derive(Default)]
struct Head {
    message_id: Option<String>,
    date: Option<String>,
    subject: Option<String>,
}

async fn told(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<HashMap<SideUid, Told>, AccountError> {
    let mut all = HashMap::with_capacity(uids.len() as usize);
    fetch_in_windows(conn, uids, "FLAGS INTERNALDATE RFC822.SIZE", |fetched| {
        if let (Some(uid), Some(flags), Some(date), Some(size)) =
            (fetched.uid, fetched.flags(), fetched.internal_date(), fetched.size())
        {
            let flags = without_recent(&flags).to_vec();
            all.insert(uid, Told { flags, date: date.to_vec(), size });
        }
    })
    .await?;
    Ok(all)
}

async fn heads(
    conn: &mut Conn,
    uids: &UidSet<SideUid>,
) -> Result<HashMap<SideUid, Head>, AccountError> {
    let mut all = HashMap::new();
    let items =
        format!("INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE SUBJECT)]<0.{HEADER}>");
    fetch_in_windows(conn, uids, &items, |fetched| {
        let (Some(uid), Some(block)) = (fetched.uid, header_of(&fetched)) else { return };
        let shown = |name: &str| {
            let value = decoded(&field(&block, name)?);
            let plain = value.chars().map(|c| if c.is_control() { ' ' } else { c });
            Some(plain.take(SHOWN).collect::<String>().trim().to_owned())
        };
        let date = fetched.internal_date().map(|date| date.escape_ascii().to_string());
        let date = date.map(|date| date.trim().to_owned());
        let head = Head { message_id: shown("Message-ID"), date, subject: shown("Subject") };
        all.insert(uid, head);
    })
    .await?;
    Ok(all)
}
