//! What one server lists: its folders, its style, and where others' folders lie.

use std::collections::HashSet;

use crate::account::Access;
use crate::account::names::{Listed, Special, Style};
use crate::account::shared::Foreign;
use crate::backend::{BackendError, Conn, Want, text};
use crate::base::{MailboxName, Side};
use crate::config::Quirk;
use crate::imap::response::{ListEntry, Response, Status};
use crate::imap::write::Parts;

/// What one side listed.
#[derive(Clone, Debug)]
pub struct SideFolders {
    /// Its prefix and separator.
    pub style: Style,
    /// Its folders, without those of other users and shared ones.
    pub listed: Vec<Listed>,
    /// Its folders of other users and shared ones.
    pub shared: Vec<Listed>,
    /// Where these lie.
    pub foreign: Foreign,
    /// What is subscribed there, and is none of its folders.
    pub absent: Vec<MailboxName>,
}

impl SideFolders {
    /// Whether this is subscribed there, be there such a folder or not.
    pub(super) fn subscribes(&self, name: &MailboxName) -> bool {
        self.absent.contains(name) || self.listed.iter().any(|l| l.subscribed && l.name == *name)
    }
}

pub(super) async fn list_side(access: &Access, side: Side) -> Result<SideFolders, BackendError> {
    let mut lease = access.pools[side].lend(&Want::Nothing).await?;
    let folders = list_with(&mut lease).await?;
    lease.give_back();
    Ok(folders)
}

/// Lists one side's folders on a connection, changing nothing there.
pub async fn list_with(conn: &mut Conn) -> Result<SideFolders, BackendError> {
    let mut extended = conn.profile().list_special_use();
    let namespace = conn.profile().namespace().then(|| conn.queue(&text("NAMESPACE")));
    let list = conn.queue(&list_all(extended));
    // It alone tells subscriptions to what does not exist as well.
    let lsub = conn.queue(&text("LSUB \"\" \"*\""));

    let mut prefix = None;
    let mut foreign = Foreign::default();
    if let Some(pending) = namespace {
        let done = conn.finish(pending).await?;
        for response in done.untagged {
            if let Response::Namespace { personal, other, shared } = response {
                foreign = Foreign::new(&personal, other, shared);
                prefix = personal.into_iter().next();
            }
        }
    }
    let mut done = conn.finish(list).await?;
    let lsub = conn.finish(lsub).await?;
    if extended && done.status == Status::Bad {
        // Servers of several makes name LIST-EXTENDED and know not all options of it (FIELD §5).
        // Once may be an accident, and would be remembered.
        done = conn.run(&list_all(extended)).await?;
        if done.status == Status::Bad {
            extended = false;
            done = conn.run(&list_all(extended)).await?;
            if done.is_ok() {
                conn.shows(Quirk::NoListOptions);
            }
        }
    }
    if !done.is_ok() {
        return Err(conn.answer("LIST", &done));
    }
    let mut entries: Vec<ListEntry> = done.untagged.into_iter().filter_map(list_entry).collect();
    let subscribed: HashSet<MailboxName> = (lsub.untagged.into_iter())
        .filter_map(|response| match response {
            Response::Lsub(entry) if !entry.has("\\Noselect") => Some(entry.name),
            _ => None,
        })
        .collect();
    let separator = prefix
        .as_ref()
        .and_then(|(_, separator)| *separator)
        .or_else(|| entries.iter().find_map(|e| e.separator));
    let prefix = match prefix {
        Some((prefix, _)) => prefix.to_vec(),
        None => guessed_prefix(&entries, separator),
    };
    // Some servers show other namespaces only to who asks for them.
    for (prefix, _) in foreign.prefixes() {
        let unwanted = conn.side() == Side::New || prefix.is_empty();
        if unwanted || entries.iter().any(|e| e.name.as_bytes().starts_with(prefix)) {
            continue;
        }
        let Some(pattern) = MailboxName::new(&[prefix, &b"*"[..]].concat()) else { continue };
        let mut list = Parts::new();
        list.text("LIST \"\" ").mailbox(&pattern).text(list_options(extended));
        let done = conn.run(&list).await?;
        entries.extend(done.untagged.into_iter().filter_map(list_entry));
    }
    // The client is told one separator for all: a namespace with another one cannot be shown.
    let fits = |e: &&ListEntry| e.separator == separator || !foreign.holds(&e.name);
    let (shared, listed): (Vec<Listed>, Vec<Listed>) = entries
        .iter()
        .filter(fits)
        .filter(|e| !e.has("\\NonExistent"))
        .map(|e| Listed {
            name: e.name.clone(),
            special: e.special_use().and_then(Special::of),
            selectable: !e.has("\\Noselect"),
            children: match (e.has("\\HasChildren"), e.has("\\HasNoChildren")) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            subscribed: if extended { e.has("\\Subscribed") } else { subscribed.contains(&e.name) },
        })
        .partition(|listed| foreign.holds(&listed.name));
    // Some servers list what is only subscribed, too.
    let there = entries.iter().filter(|e| !e.has("\\NonExistent"));
    let names: HashSet<&MailboxName> = there.map(|e| &e.name).collect();
    let absent = subscribed.iter().filter(|name| !names.contains(name) && !foreign.holds(name));
    let absent = absent.cloned().collect();
    Ok(SideFolders { style: Style { prefix, separator }, listed, shared, foreign, absent })
}

fn list_entry(response: Response) -> Option<ListEntry> {
    match response {
        Response::List(entry) => Some(entry),
        _ => None,
    }
}

/// LIST, with all that is asked for by options (RFC 5258, RFC 6154).
fn list_all(extended: bool) -> Parts {
    text(&format!("LIST \"\" \"*\"{}", list_options(extended)))
}

fn list_options(extended: bool) -> &'static str {
    if extended { " RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)" } else { "" }
}

/// The prefix of the personal namespace on a server that cannot be asked for it (RFC 2342): where
/// all folders lie below INBOX, that is the only place for folders.
fn guessed_prefix(entries: &[ListEntry], separator: Option<u8>) -> Vec<u8> {
    let Some(separator) = separator else { return Vec::new() };
    let prefix = [&b"INBOX"[..], &[separator]].concat();
    let below = |name: &MailboxName| {
        let start = name.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(&prefix))
    };
    let mut folders = entries.iter().map(|e| &e.name).filter(|name| !name.is_inbox()).peekable();
    if folders.peek().is_some() && folders.all(below) { prefix } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_nobody_tells_is_where_all_folders_lie() {
        let guessed = |names: &[&str]| {
            let entries: Vec<ListEntry> = names
                .iter()
                .map(|name| ListEntry {
                    attributes: Vec::new(),
                    separator: Some(b'.'),
                    name: MailboxName::new(name.as_bytes()).unwrap(),
                })
                .collect();
            String::from_utf8(guessed_prefix(&entries, Some(b'.'))).unwrap()
        };
        assert_eq!(guessed(&["INBOX", "INBOX.Sent", "INBOX.Work.2016"]), "INBOX.");
        assert_eq!(guessed(&["INBOX", "INBOX.Sent", "Work"]), "");
        assert_eq!(guessed(&["INBOX"]), "");
        assert_eq!(guessed(&["INBOX", "INBOXES"]), "");
    }
}
