//! LIST, LSUB, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE: in old's names.

use std::collections::BTreeMap;

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::Folders;
use crate::account::names::Special;
use crate::base::MailboxName;
use crate::imap::names::{list_pattern, matches};
use crate::imap::write;

impl Session {
    /// LIST (RFC 3501 §6.3.8), with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154 §2).
    pub(super) async fn list(
        &mut self,
        user: &User,
        reference: &[u8],
        pattern: &[u8],
    ) -> Result<Reply, Failure> {
        let folders = user.account.list_folders(&user.access).await?;
        if pattern.is_empty() {
            // A question for the separator.
            let mut line = b"* LIST (\\Noselect) ".to_vec();
            separator(folders.separator(), &mut line);
            line.extend_from_slice(b" \"\"");
            self.client.line(line);
            return Ok(Reply::ok("List completed"));
        }
        let pattern = list_pattern(reference, pattern);
        for shown in shown(&folders, &pattern) {
            self.client.line(list_line("LIST", &shown, folders.separator()));
            self.client.flush_if_full().await?;
        }
        Ok(Reply::ok("List completed"))
    }

    /// LSUB (RFC 3501 §6.3.9).
    pub(super) async fn lsub(
        &mut self,
        user: &User,
        reference: &[u8],
        pattern: &[u8],
    ) -> Result<Reply, Failure> {
        let folders = user.account.list_folders(&user.access).await?;
        let pattern = list_pattern(reference, pattern);
        for shown in subscribed(&folders, &pattern) {
            self.client.line(list_line("LSUB", &shown, folders.separator()));
            self.client.flush_if_full().await?;
        }
        Ok(Reply::ok("Lsub completed"))
    }

    /// NAMESPACE (RFC 2342): old's personal namespace.
    pub(super) async fn namespace(&mut self, user: &User) -> Result<Reply, Failure> {
        let folders = user.account.folders(&user.access).await?;
        let mut line = b"* NAMESPACE ((".to_vec();
        write::quoted(&folders.styles.old.prefix, &mut line);
        line.push(b' ');
        separator(folders.separator(), &mut line);
        line.extend_from_slice(b")) NIL NIL");
        self.client.line(line);
        Ok(Reply::ok("Namespace completed"))
    }

    /// CREATE (RFC 3501 §6.3.3): on new.
    pub(super) async fn create(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        let folders = user.account.list_folders(&user.access).await?;
        let Some(name) = without_separator(name, folders.separator()) else {
            return Ok(Reply::no_with("CANNOT", "This is no name of a mailbox"));
        };
        if let Some(refused) = outside(&folders, &name) {
            return Ok(refused);
        }
        if folders.find(&name).is_some() {
            return Ok(Reply::no_with("ALREADYEXISTS", "Mailbox exists already"));
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        self.carry_through(async move { account.create_mailbox(&access, &name).await }).await?;
        Ok(Reply::ok("Create completed"))
    }

    /// DELETE (RFC 3501 §6.3.4): on new; old's folder is kept, and hidden (V6).
    pub(super) async fn delete(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        if name.is_inbox() {
            return Ok(Reply::no_with("CANNOT", "INBOX cannot be deleted"));
        }
        if self.selected.as_ref().is_some_and(|s| s.mailbox.name() == *name) {
            self.selected = None;
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let name = name.clone();
        self.carry_through(async move { account.delete_mailbox(&access, &name).await }).await?;
        Ok(Reply::ok("Delete completed"))
    }

    /// RENAME (RFC 3501 §6.3.5): on new, the map follows; old's folder keeps its name there.
    pub(super) async fn rename(
        &mut self,
        user: &User,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Reply, Failure> {
        let folders = user.account.list_folders(&user.access).await?;
        let Some(to) = without_separator(to, folders.separator()) else {
            return Ok(Reply::no_with("CANNOT", "This is no name of a mailbox"));
        };
        if let Some(refused) = outside(&folders, &to) {
            return Ok(refused);
        }
        if folders.find(&to).is_some() {
            return Ok(Reply::no_with("ALREADYEXISTS", "Mailbox exists already"));
        }
        if from.is_inbox() {
            return self.rename_inbox(user, &to).await;
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let from = from.clone();
        self.carry_through(async move { account.rename_mailbox(&access, &from, &to).await })
            .await?;
        Ok(Reply::ok("Rename completed"))
    }

    /// SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6, §6.3.7).
    pub(super) async fn subscribe(
        &mut self,
        user: &User,
        name: &MailboxName,
        on: bool,
    ) -> Result<Reply, Failure> {
        let (account, access) = (user.account.clone(), user.access.clone());
        let name = name.clone();
        self.carry_through(async move { account.subscribe(&access, &name, on).await }).await?;
        Ok(Reply::ok(if on { "Subscribe completed" } else { "Unsubscribe completed" }))
    }
}

/// One line of LIST or LSUB.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    name: MailboxName,
    attributes: Vec<&'static str>,
}

/// What LIST shows for a pattern.
fn shown(folders: &Folders, pattern: &[u8]) -> Vec<Shown> {
    let separator = folders.separator();
    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    let fits = |name: &[u8]| matches(pattern, name, separator);
    for folder in folders.list.iter().map(|f| &f.joined) {
        if !fits(folder.client.as_bytes()) {
            continue;
        }
        let mut attributes = Vec::new();
        if !folder.selectable {
            attributes.push("\\Noselect");
        }
        attributes.push(if folder.children { "\\HasChildren" } else { "\\HasNoChildren" });
        attributes.extend(folder.special.map(special));
        let shown = Shown { name: folder.client.clone(), attributes };
        lines.insert(folder.client.as_bytes(), shown);
    }
    // Levels that exist only as parents of others are shown where `%` asks for levels.
    if pattern.contains(&b'%') {
        for parent in folders.list.iter().flat_map(|f| parents(&f.joined.client, separator)) {
            if fits(parent) && folders.list.iter().all(|f| f.joined.client.as_bytes() != parent) {
                let attributes = vec!["\\Noselect", "\\HasChildren"];
                if let Some(name) = MailboxName::new(parent) {
                    lines.entry(parent).or_insert(Shown { name, attributes });
                }
            }
        }
    }
    in_order(lines)
}

/// What LSUB shows for a pattern: with `%`, also the unsubscribed parents of subscribed ones.
fn subscribed(folders: &Folders, pattern: &[u8]) -> Vec<Shown> {
    let separator = folders.separator();
    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    let fits = |name: &[u8]| matches(pattern, name, separator);
    let all: Vec<&MailboxName> =
        folders.list.iter().filter(|f| f.joined.subscribed).map(|f| &f.joined.client).collect();
    for name in all.iter().filter(|name| fits(name.as_bytes())) {
        let shown = Shown { name: (*name).clone(), attributes: Vec::new() };
        lines.insert(name.as_bytes(), shown);
    }
    if pattern.ends_with(b"%") {
        for parent in all.iter().flat_map(|name| parents(name, separator)) {
            if let (true, Some(name)) = (fits(parent), MailboxName::new(parent)) {
                lines.entry(parent).or_insert(Shown { name, attributes: vec!["\\Noselect"] });
            }
        }
    }
    in_order(lines)
}

fn in_order(lines: BTreeMap<&[u8], Shown>) -> Vec<Shown> {
    let mut lines: Vec<Shown> = lines.into_values().collect();
    lines.sort_by_key(|shown| !shown.name.is_inbox());
    lines
}

/// The levels above a name.
fn parents(name: &MailboxName, separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let octets = name.as_bytes();
    let at = octets.iter().enumerate().filter(move |(_, b)| Some(**b) == separator);
    at.map(move |(at, _)| &octets[..at]).filter(|parent| !parent.is_empty())
}

fn list_line(word: &str, shown: &Shown, sep: Option<u8>) -> Vec<u8> {
    let mut line = format!("* {word} ({}) ", shown.attributes.join(" ")).into_bytes();
    separator(sep, &mut line);
    line.push(b' ');
    write::mailbox(&shown.name, &mut line);
    line
}

fn separator(separator: Option<u8>, line: &mut Vec<u8>) {
    match separator {
        Some(b) => write::quoted(&[b], line),
        None => line.extend_from_slice(b"NIL"),
    }
}

fn special(special: Special) -> &'static str {
    match special {
        Special::All => "\\All",
        Special::Archive => "\\Archive",
        Special::Drafts => "\\Drafts",
        Special::Flagged => "\\Flagged",
        Special::Junk => "\\Junk",
        Special::Sent => "\\Sent",
        Special::Trash => "\\Trash",
    }
}

/// A name without the separator that says "there will be children" (RFC 3501 §6.3.3).
fn without_separator(name: &MailboxName, separator: Option<u8>) -> Option<MailboxName> {
    let octets = name.as_bytes();
    match (octets.split_last(), separator) {
        (Some((last, rest)), Some(separator)) if *last == separator => MailboxName::new(rest),
        _ => Some(name.clone()),
    }
}

/// What old would say to a name outside of its namespace.
fn outside(folders: &Folders, name: &MailboxName) -> Option<Reply> {
    let prefix = &folders.styles.old.prefix;
    let inside = name.is_inbox() || name.as_bytes().starts_with(prefix);
    let text =
        || format!("Mailbox name should probably be prefixed with: {}", prefix.escape_ascii());
    (!inside).then(|| Reply::no_with("CANNOT", text()))
}
