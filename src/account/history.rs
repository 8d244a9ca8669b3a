//! Mail that a tool has put on new below a root of its own, folder by folder: it is moved to where it
//! belongs, and there matched with old's like all that lies on both sides.
//!
//! LegacyFlo leaves what was in `Sent` in `INBOX.historical_data.Sent`. Shown as it is, everybody would
//! have every message twice. Below the root (`copy.history`) clients see nothing; the messages are moved
//! by the server itself (MOVE, RFC 6851), each of which is in one place or the other whatever happens.
//! More that comes there is moved from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::folders::create;
use super::mailbox::lock;
use super::matching::Matchmaker;
use super::names::{Joined, Listed, Style, new_to_client};
use super::{Access, AccountError, MAX_COMMAND};
use crate::backend::{Pool, Selected, Want, text};
use crate::base::{AccountName, MailboxName, Side, Sides};
use crate::imap::names::encode;
use crate::imap::write::Parts;
use crate::uid::SideUid;

/// So long what comes there later waits, and longer if nobody lists folders.
const PAUSE: Duration = Duration::from_secs(60);

/// The root, and when something was last moved from there.
pub(super) struct History {
    root: Option<MailboxName>,
    last: Mutex<Option<Instant>>,
    /// UIDVALIDITY and UIDNEXT of folders that hold nothing more that is to be moved.
    done: Arc<Mutex<HashMap<MailboxName, (u32, SideUid)>>>,
}

/// A folder below the root, and where its messages belong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Move {
    from: MailboxName,
    to: MailboxName,
}

impl History {
    /// As it is configured.
    pub fn new(root: Option<&str>) -> History {
        let root = root.and_then(|root| MailboxName::new(&encode(root)));
        History { root, last: Mutex::default(), done: Arc::default() }
    }

    /// Takes what lies below the root out of new's listing. Returns the folders that may hold mail.
    pub fn take_out(&self, listed: &mut Vec<Listed>, style: &Style) -> Vec<MailboxName> {
        let Some(root) = &self.root else { return Vec::new() };
        let mut taken = Vec::new();
        listed.retain(|folder| {
            let below = rest(root, &folder.name, style).is_some();
            if below && folder.selectable {
                taken.push(folder.name.clone());
            }
            !below && folder.name != *root
        });
        taken
    }

    /// Where the messages of these folders belong: what the folder of old with that name is called on
    /// new, or would be.
    pub fn moves(
        &self,
        taken: Vec<MailboxName>,
        joined: &[Joined],
        styles: &Sides<Style>,
    ) -> Vec<Move> {
        let Some(root) = &self.root else { return Vec::new() };
        let target = |from: &MailboxName| {
            let rest = rest(root, from, &styles.new)?;
            if rest.eq_ignore_ascii_case(b"INBOX") {
                return Some(MailboxName::inbox());
            }
            let plain = MailboxName::new(&[&styles.new.prefix[..], rest].concat())?;
            let client = new_to_client(&plain, styles);
            let is_it = |j: &&Joined| j.client == client || j.old_wanted == client;
            Some(joined.iter().find(is_it).map_or(plain, |j| j.new_wanted.clone()))
        };
        let to = |from: MailboxName| target(&from).map(|to| Move { from, to });
        taken.into_iter().filter_map(to).collect()
    }

    /// Moves the messages in the background, unless that was done a moment ago. Until it is done nothing
    /// is copied: it may lie there.
    pub fn bring_home(
        &self,
        account: &AccountName,
        access: &Access,
        matchmaker: &Arc<Matchmaker>,
        moves: Vec<Move>,
    ) {
        let now = Instant::now();
        let mut last = lock(&self.last);
        if moves.is_empty() || last.is_some_and(|last| now < last + PAUSE) {
            return;
        }
        // Who is copying now may go on to its end; the next listing tries again.
        let Ok(alone) = matchmaker.copying().try_write_owned() else { return };
        *last = Some(now);
        let (account, pool) = (account.clone(), Arc::clone(&access.pools[Side::New]));
        let (matchmaker, done) = (Arc::clone(matchmaker), Arc::clone(&self.done));
        tokio::spawn(async move {
            for Move { from, to } in moves {
                let known = lock(&done).get(&from).copied();
                match bring(&pool, &matchmaker, &from, &to, known).await {
                    Ok((numbers, messages)) => {
                        numbers.map(|numbers| lock(&done).insert(from.clone(), numbers));
                        if messages > 0 {
                            info!(%account, %from, %to, messages, "moved from the history");
                        }
                    }
                    Err(e) => warn!(%account, %from, %to, "not moved from the history: {e}"),
                }
            }
            drop(alone);
        });
    }
}

/// The name of a folder below the root.
fn rest<'a>(root: &MailboxName, name: &'a MailboxName, style: &Style) -> Option<&'a [u8]> {
    let (&separator, rest) = name.as_bytes().strip_prefix(root.as_bytes())?.split_first()?;
    (style.separator == Some(separator) && !rest.is_empty()).then_some(rest)
}

/// Moves the messages of one folder, but for those that are there already: these stay where they are,
/// and unseen. Returns how far the folder is done, and how many were moved.
async fn bring(
    pool: &Arc<Pool>,
    matchmaker: &Matchmaker,
    from: &MailboxName,
    to: &MailboxName,
    known: Option<(u32, SideUid)>,
) -> Result<(Option<(u32, SideUid)>, u32), AccountError> {
    let mut lease = pool.lend(&Want::Mailbox(from.clone(), None)).await?;
    lease.must("NOOP", &text("NOOP")).await?;
    let numbers = |s: &Selected| (s.snapshot().uid_validity, s.snapshot().uid_next);
    let is = lease.selected().map(numbers);
    let messages = lease.selected().map(|s| s.announced().clone()).unwrap_or_default();
    if messages.is_empty() || is == known {
        lease.give_back();
        return Ok((is, 0));
    }
    if !lease.profile().has_move() {
        let what = "it cannot MOVE: move the messages by other means, or leave `history` out";
        return Err(lease.protocol(what.into()).into());
    }
    if !to.is_inbox()
        && let Err(refused) = create(&mut lease, to).await?
    {
        return Err(lease.answer("CREATE", &refused).into());
    }
    let doubles = matchmaker.doubles(&mut lease, from, to).await?;
    let missing = messages.subtract(&doubles);
    for set in missing.chunks_of(MAX_COMMAND) {
        let mut moving = Parts::new();
        moving.text(&format!("UID MOVE {set} ")).mailbox(to);
        lease.must("UID MOVE", &moving).await?;
    }
    lease.give_back();
    Ok((is, missing.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text.as_bytes()).unwrap()
    }

    fn listed(text: &str) -> Listed {
        let name = name(text);
        Listed { name, special: None, selectable: true, children: None, subscribed: false }
    }

    #[test]
    fn v3_what_lies_below_the_root_is_no_mailbox_and_belongs_where_old_has_it() {
        let courier = Style { prefix: b"INBOX.".to_vec(), separator: Some(b'.') };
        let slashes = Style { prefix: Vec::new(), separator: Some(b'/') };
        let styles = Sides { old: slashes, new: courier };
        let history = History::new(Some("INBOX.historical_data"));
        let root = "INBOX.historical_data";
        let all = [
            "INBOX",
            root,
            "INBOX.historical_data_too",
            "INBOX.Sent",
            "INBOX.historical_data.Inbox",
            "INBOX.historical_data.Sent Items",
            "INBOX.historical_data.Work.2019",
            "INBOX.historical_data.Unknown",
        ];
        let mut folders: Vec<Listed> = all.into_iter().map(listed).collect();
        let taken = history.take_out(&mut folders, &styles.new);
        let left: Vec<&MailboxName> = folders.iter().map(|folder| &folder.name).collect();
        let kept = ["INBOX", "INBOX.historical_data_too", "INBOX.Sent"].map(name);
        assert_eq!(left, kept.iter().collect::<Vec<_>>());
        let old = ["INBOX", "Sent Items", "Work", "Work/2019"].map(listed);
        let explicit = [(name("Sent Items"), name("INBOX.Sent"))];
        let joined = super::super::names::join(&old, &folders, &styles, &explicit, &[]);
        let moves = history.moves(taken, &joined, &styles);
        let moved: Vec<(String, String)> =
            moves.iter().map(|m| (m.from.to_string(), m.to.to_string())).collect();
        let wanted = [
            ("Inbox", "INBOX"),
            ("Sent Items", "INBOX.Sent"),
            ("Work.2019", "INBOX.Work.2019"),
            ("Unknown", "INBOX.Unknown"),
        ];
        let wanted = wanted.map(|(from, to)| (format!("{root}.{from}"), to.to_owned()));
        assert_eq!(moved, wanted);
        // Without a root nothing is taken.
        let mut folders: Vec<Listed> = all.into_iter().map(listed).collect();
        assert!(History::new(None).take_out(&mut folders, &styles.new).is_empty());
        assert_eq!(folders.len(), all.len());
    }
}
