//! NOTIFY (RFC 5465): what a client is told without asking.
//!
//! The selected mailbox is watched while the client says nothing, as in IDLE. The others are looked
//! at from time to time: their names, and their STATUS on both sides in one round trip each, as LIST
//! with STATUS does. So it costs as much as a client that asks so often, whatever the servers have.
//! They are looked at in a task of its own: a server that does not answer holds up no command (V7).
//! More than [`MOST`] are not watched (NOTIFICATIONOVERFLOW).
//!
//! What a session owes its client of the selected mailbox it goes on telling at the end of commands,
//! also where the client wants no events of it: the numbers must agree (V3).

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::fetch::Asked;
use super::list::name_line;
use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{self, AccountError, Folder, Folders, Mailbox, Status, statuses};
use crate::base::MailboxName;
use crate::imap::command::{EventGroup, Events, NotifySet, StatusItem, Watched};
use crate::imap::write;
use crate::index::MailboxId;
use crate::session::client::ClientError;
use crate::uid::{Bound, ObjectId, SeqSet, Uid, UidSet};

/// So many mailboxes are watched for a session.
const MOST: usize = 1000;

/// What a client wants to be told of, and what it knows.
pub(super) struct Notifying {
    groups: Arc<[EventGroup]>,
    known: BTreeMap<MailboxId, Known>,
    /// When the mailboxes that are not selected are looked at again.
    next: Option<Instant>,
    /// They are being looked at.
    looking: Option<AbortOnDropHandle<Result<Seen, AccountError>>>,
}

/// A folder as it was last looked at.
struct Known {
    name: MailboxName,
    subscribed: bool,
    shared: bool,
    /// What the client knows of its messages; `None`: that is not known.
    numbers: Option<Numbers>,
}

/// What a STATUS would tell: UIDVALIDITY, UIDNEXT, MESSAGES, and what changes with flags.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Numbers(u32, Uid, u32, u64);

/// What was found when the mailboxes were looked at.
pub(super) struct Seen {
    folders: Arc<Folders>,
    statuses: Vec<(MailboxId, ObjectId, Status)>,
    too_many: bool,
}

/// What is to be told of what was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// Nothing: it is what changes are told from.
    Nothing,
    /// Every STATUS.
    Status,
    /// What has changed.
    Changes,
}

impl Known {
    fn of(folder: &Folder) -> Known {
        let (name, subscribed) = (folder.joined.client.clone(), folder.joined.subscribed);
        Known { name, subscribed, shared: folder.shared, numbers: None }
    }
}

impl Notifying {
    /// What is wanted of the selected mailbox: whether EXPUNGE may wait, and the events.
    fn selected(&self) -> Option<(bool, &Events)> {
        self.groups.iter().find_map(|group| match group.of {
            Watched::Selected { delayed } if group.events.messages => {
                Some((delayed, &group.events))
            }
            _ => None,
        })
    }
}

/// What is wanted of a mailbox that is not selected: what its first group says.
fn wanted<'a>(
    groups: &'a [EventGroup],
    folder: &Known,
    separator: Option<u8>,
) -> Option<&'a Events> {
    let below = |top: &MailboxName| {
        let rest = folder.name.as_bytes().strip_prefix(top.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|b| Some(*b) == separator))
    };
    let fits = |group: &&EventGroup| match &group.of {
        Watched::Selected { .. } => false,
        // Filters may deliver anywhere (RFC 5465 §6.3).
        Watched::Inboxes | Watched::Personal => !folder.shared,
        Watched::Subscribed => folder.subscribed,
        Watched::Subtree(tops) => tops.iter().any(below),
        Watched::Mailboxes(names) => names.contains(&folder.name),
    };
    groups.iter().find(fits).map(|group| &group.events)
}

/// Looks at the mailboxes that are wanted, but for the `open` one.
async fn look(
    user: User,
    groups: Arc<[EventGroup]>,
    open: Option<MailboxId>,
    counts: bool,
) -> Result<Seen, AccountError> {
    let folders = user.account.list_folders(&user.access).await?;
    let mut asked = account::Asked::default();
    let mut hubs: Vec<(MailboxId, Arc<Mailbox>)> = Vec::new();
    for folder in folders.list.iter().filter(|folder| folder.joined.selectable) {
        let events = wanted(&groups, &Known::of(folder), folders.separator());
        let Some(events) = events.filter(|events| events.messages) else { continue };
        if open == Some(folder.id) {
            continue;
        }
        if hubs.len() == MOST {
            return Ok(Seen { folders, statuses: Vec::new(), too_many: true });
        }
        asked.mod_seq |= events.flags && counts;
        asked.unseen |= events.flags && !counts;
        match user.account.hub(folder).await {
            Ok(hub) => hubs.push((folder.id, hub)),
            Err(e) => debug!(mailbox = %folder.joined.client, "not looked at: {e}"),
        }
    }
    let mailboxes: Vec<Arc<Mailbox>> = hubs.iter().map(|(_, hub)| Arc::clone(hub)).collect();
    let told = statuses(&user.access, &mailboxes, asked).await;
    let mut seen = Vec::with_capacity(hubs.len());
    for ((id, hub), status) in hubs.into_iter().zip(told) {
        match status {
            Ok(status) => seen.push((id, hub.view().object_id, status)),
            Err(e) => debug!(mailbox = %hub.name(), "not looked at: {e}"),
        }
    }
    Ok(Seen { folders, statuses: seen, too_many: false })
}

impl Session {
    /// NOTIFY SET, and NOTIFY NONE: `None`.
    pub(super) async fn notify(
        &mut self,
        user: &User,
        set: Option<NotifySet>,
    ) -> Result<Reply, Failure> {
        let Some(NotifySet { status, groups }) = set else {
            self.notifying = None;
            return Ok(Reply::ok("Notify completed"));
        };
        if groups.iter().any(|group| group.events.other) {
            let can =
                "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)";
            return Ok(Reply::no_with(can, "Other events cannot be told"));
        }
        self.notifying = None;
        let groups: Arc<[EventGroup]> = groups.into();
        let others = groups.iter().any(|group| !matches!(group.of, Watched::Selected { .. }));
        let mut notifying = Notifying { groups, known: BTreeMap::new(), next: None, looking: None };
        if others {
            let looking = self.look_task(user, &notifying);
            let seen = self.client.patiently(looking).await??;
            if seen.too_many {
                return Ok(Reply::no_with(OVERFLOW, "So many mailboxes cannot be watched"));
            }
            let tell = if status { Tell::Status } else { Tell::Nothing };
            notifying.next = Some(Instant::now() + user.access.poll_interval);
            self.tell_others(&mut notifying, seen, tell).await?;
        }
        self.notifying = Some(Box::new(notifying));
        Ok(Reply::ok("Notify completed"))
    }

    /// Waits for the client's next octets, and meanwhile tells it what it wants to be told.
    pub(super) async fn notify_until_more(&mut self, user: &User) -> Result<(), ClientError> {
        let patience = self.server.config.limits.idle_timeout;
        let silent = Instant::now() + patience;
        let selected =
            self.notifying.as_ref().and_then(|n| n.selected()).map(|(delayed, _)| delayed);
        let mailbox = self.selected.as_ref().filter(|_| selected.is_some());
        let mailbox: Option<Arc<Mailbox>> = mailbox.map(|s| Arc::clone(&s.mailbox));
        let _watched = mailbox.as_ref().map(|mailbox| mailbox.watch(&user.access));
        let mut news = mailbox.as_ref().map(|mailbox| (mailbox.changes(), mailbox.flag_news()));
        loop {
            if let (Some(delayed), Some(_)) = (selected, &mailbox) {
                self.pay(user, !delayed).await?;
            }
            self.client.flush().await?;
            self.client.shrink();
            let come = async {
                match &mut news {
                    // Only a signal: what there is to tell is read from the session's own receiver.
                    Some((changes, flags)) => tokio::select! {
                        changed = changes.changed() => changed.is_ok(),
                        _ = flags.recv() => true,
                    },
                    None => pending().await,
                }
            };
            tokio::select! {
                more = self.client.more() => return more,
                goes_on = come => if !goes_on { news = None },
                of_others = news_of_others(&mut self.notifying) => {
                    self.tell_news(user, of_others).await?;
                }
                () = sleep_until(silent) => return Err(ClientError::Silent(patience)),
            }
        }
    }

    fn look_task(
        &self,
        user: &User,
        notifying: &Notifying,
    ) -> impl Future<Output = Result<Seen, AccountError>> + use<> {
        let open = self.selected.as_ref().map(|selected| selected.mailbox.id());
        look(user.clone(), Arc::clone(&notifying.groups), open, self.offer.has("CONDSTORE"))
    }

    /// Tells news of the mailboxes that are not selected.
    pub(super) async fn tell_news(&mut self, user: &User, news: News) -> Result<(), ClientError> {
        let Some(mut notifying) = self.notifying.take() else { return Ok(()) };
        match news {
            News::Due => {
                let task = tokio::spawn(self.look_task(user, &notifying));
                notifying.looking = Some(AbortOnDropHandle::new(task));
            }
            News::Seen(seen) => {
                notifying.looking = None;
                notifying.next = Some(Instant::now() + user.access.poll_interval);
                match *seen {
                    Some(Seen { too_many: true, .. }) => {
                        warn!(most = MOST, "too many mailboxes to be watched");
                        let text = "So many mailboxes cannot be watched";
                        self.client.line(format!("* OK [{OVERFLOW}] {text}"));
                        return Ok(());
                    }
                    Some(seen) => self.tell_others(&mut notifying, seen, Tell::Changes).await?,
                    None => {}
                }
            }
        }
        self.notifying = Some(notifying);
        Ok(())
    }

    /// What a client wants to know of messages that are new in the selected mailbox.
    pub(super) async fn tell_new(
        &mut self,
        user: &User,
        arrived: &UidSet<Uid>,
    ) -> Result<(), Failure> {
        let wanted = self.notifying.as_ref().and_then(|notifying| notifying.selected());
        let items = match wanted {
            Some((_, events)) if !arrived.is_empty() => events.fetch.clone(),
            _ => return Ok(()),
        };
        if items.is_empty() {
            return Ok(());
        }
        let bound = |uid: Uid| Bound::Number(uid.0);
        let set = SeqSet::from_ranges(arrived.ranges().map(|(a, b)| (bound(a), bound(b))));
        let (partial, changed_since, vanished) = (None, None, false);
        let asked = Asked { uid: true, set: &set, items: &items, partial, changed_since, vanished };
        // Boxed, so that who only waits does not hold it.
        Box::pin(self.fetch(user, asked)).await.map(drop)
    }

    async fn tell_others(
        &mut self,
        notifying: &mut Notifying,
        seen: Seen,
        tell: Tell,
    ) -> Result<(), ClientError> {
        let groups = Arc::clone(&notifying.groups);
        let folders = &seen.folders;
        let mut before = std::mem::take(&mut notifying.known);
        for folder in &folders.list {
            let mut known = Known::of(folder);
            let was = before.remove(&folder.id);
            known.numbers = was.as_ref().and_then(|was| was.numbers);
            if tell == Tell::Changes {
                self.tell_name(&groups, folders, folder, was.as_ref());
            }
            notifying.known.insert(folder.id, known);
        }
        for gone in before.values().filter(|_| tell == Tell::Changes) {
            let events = wanted(&groups, gone, folders.separator());
            if events.is_some_and(|events| events.names) {
                let (separator, spelling) = (folders.separator(), self.extended.spelling());
                let line = name_line("LIST", "\\NonExistent", &gone.name, separator, spelling);
                self.client.line(line);
            }
        }
        let open = self.selected.as_ref().map(|selected| selected.mailbox.id());
        for (id, object, status) in &seen.statuses {
            if open == Some(*id) {
                continue;
            }
            let Some(known) = notifying.known.get_mut(id) else { continue };
            let events = wanted(&groups, known, folders.separator());
            let Some(events) = events.filter(|events| events.messages) else { continue };
            // Of both, one was asked.
            let mark = if events.flags { status.mod_seq.max(status.unseen) } else { 0 };
            let numbers = Numbers(status.uid_validity, status.uid_next, status.messages, mark);
            let changed = known.numbers.replace(numbers) != Some(numbers);
            if tell == Tell::Status || (tell == Tell::Changes && changed) {
                let mut items =
                    vec![StatusItem::UidValidity, StatusItem::UidNext, StatusItem::Messages];
                let counts = self.offer.has("CONDSTORE");
                if events.flags && !counts {
                    items.push(StatusItem::Unseen);
                } else if events.flags && self.extended.condstore {
                    items.push(StatusItem::HighestModSeq);
                }
                let name = known.name.clone();
                self.tell_status(&name, &items, status, *object);
                self.client.flush_if_full().await?;
            }
        }
        Ok(())
    }

    /// Tells of a folder that it is new, has another name, or is subscribed or not any more.
    fn tell_name(
        &mut self,
        groups: &[EventGroup],
        folders: &Folders,
        folder: &Folder,
        was: Option<&Known>,
    ) {
        let (joined, separator) = (&folder.joined, folders.separator());
        let renamed = was.filter(|was| was.name != joined.client);
        let subscribed = was.is_some_and(|was| was.subscribed != joined.subscribed);
        // What was wanted of it before counts, too: that it is so no more.
        let events = [wanted(groups, &Known::of(folder), separator)]
            .into_iter()
            .chain(was.map(|was| wanted(groups, was, separator)));
        let of_interest = |events: &Events| {
            events.names && (was.is_none() || renamed.is_some())
                || events.subscriptions && subscribed
        };
        if !events.flatten().any(of_interest) {
            return;
        }
        let attributes = match (joined.selectable, joined.subscribed) {
            (true, false) => "",
            (true, true) => "\\Subscribed",
            (false, false) => "\\Noselect",
            (false, true) => "\\Noselect \\Subscribed",
        };
        let spelling = self.extended.spelling();
        let mut line = name_line("LIST", attributes, &joined.client, separator, spelling);
        if let Some(was) = renamed {
            line.extend_from_slice(b" (\"OLDNAME\" (");
            write::mailbox(&was.name, spelling, &mut line);
            line.extend_from_slice(b"))");
        }
        self.client.line(line);
    }
}

/// Something is to be done about the mailboxes that are not selected.
pub(super) enum News {
    /// They are to be looked at.
    Due,
    /// They were, and this was found; `None`: it could not be done.
    Seen(Box<Option<Seen>>),
}

/// Waits for news of the mailboxes that are not selected; for ever if none are watched. Loses
/// nothing if it is dropped.
pub(super) async fn news_of_others(notifying: &mut Option<Box<Notifying>>) -> News {
    let Some(notifying) = notifying else { return pending().await };
    match (&mut notifying.looking, notifying.next) {
        (Some(looking), _) => {
            let seen = match looking.await {
                Ok(Ok(seen)) => Some(seen),
                Ok(Err(e)) => {
                    debug!("no news of other mailboxes: {e}");
                    None
                }
                Err(e) => {
                    warn!("mailboxes could not be looked at: {e}");
                    None
                }
            };
            News::Seen(Box::new(seen))
        }
        (None, Some(next)) => {
            sleep_until(next).await;
            News::Due
        }
        (None, None) => pending().await,
    }
}

const OVERFLOW: &str = "NOTIFICATIONOVERFLOW";
