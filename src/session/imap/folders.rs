//! LIST, LSUB, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE: in old's names.

use std::collections::{BTreeMap, HashSet};

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::Unchanged;
use crate::account::names::{Joined, Special};
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
        if pattern.is_empty() {
            // A question for the separator.
            let folders = user.account.folders(&user.access).await?;
            let mut line = b"* LIST (\\Noselect) ".to_vec();
            separator(folders.separator(), &mut line);
            line.extend_from_slice(b" \"\"");
            self.client.line(line);
            return Ok(Reply::ok("List completed"));
        }
        let folders = user.account.list_folders(&user.access).await?;
        let pattern = list_pattern(reference, pattern);
        let listed: Vec<&Joined> = folders.list.iter().map(|f| &f.joined).collect();
        for shown in shown(&listed, folders.separator(), &pattern) {
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
        let listed: Vec<&Joined> = folders.list.iter().map(|f| &f.joined).collect();
        for shown in subscribed(&listed, folders.separator(), &pattern) {
            self.client.line(list_line("LSUB", &shown, folders.separator()));
            self.client.flush_if_full().await?;
        }
        Ok(Reply::ok("Lsub completed"))
    }

    /// NAMESPACE (RFC 2342): old's, of the personal ones the first.
    pub(super) async fn namespace(&mut self, user: &User) -> Result<Reply, Failure> {
        let folders = user.account.folders(&user.access).await?;
        let mut line = b"* NAMESPACE ((".to_vec();
        write::quoted(&folders.styles.old.prefix, &mut line);
        line.push(b' ');
        separator(folders.separator(), &mut line);
        line.extend_from_slice(b"))");
        let foreign = folders.foreign();
        for namespaces in [&foreign.other, &foreign.shared] {
            line.push(b' ');
            let shown = namespaces.iter().filter(|(_, sep)| *sep == folders.separator());
            let shown: Vec<_> = shown.collect();
            if shown.is_empty() {
                line.extend_from_slice(b"NIL");
                continue;
            }
            line.push(b'(');
            for (prefix, sep) in shown {
                line.push(b'(');
                write::quoted(prefix, &mut line);
                line.push(b' ');
                separator(*sep, &mut line);
                line.push(b')');
            }
            line.push(b')');
        }
        self.client.line(line);
        Ok(Reply::ok("Namespace completed"))
    }

    /// CREATE (RFC 3501 §6.3.3): on new; a shared one on old.
    pub(super) async fn create(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        let (account, access) = (user.account.clone(), user.access.clone());
        let name = name.clone();
        let work = async move { Ok(account.create_mailbox(&access, &name).await) };
        told(self.carry_through(work).await?, "Create completed")
    }

    /// DELETE (RFC 3501 §6.3.4): on new; old's folder is kept, and hidden (V6). A shared one is
    /// deleted on old.
    pub(super) async fn delete(
        &mut self,
        user: &User,
        name: &MailboxName,
    ) -> Result<Reply, Failure> {
        let (account, access) = (user.account.clone(), user.access.clone());
        let deleted = name.clone();
        let work = async move { Ok(account.delete_mailbox(&access, &deleted).await) };
        let reply = told(self.carry_through(work).await?, "Delete completed")?;
        if reply.is_ok() && self.selected.as_ref().is_some_and(|s| s.mailbox.name() == *name) {
            self.selected = None;
        }
        Ok(reply)
    }

    /// RENAME (RFC 3501 §6.3.5): on new, the map follows; old's folder keeps its name there.
    pub(super) async fn rename(
        &mut self,
        user: &User,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Reply, Failure> {
        if from.is_inbox() {
            return self.rename_inbox(user, to).await;
        }
        let (account, access) = (user.account.clone(), user.access.clone());
        let (from, to) = (from.clone(), to.clone());
        let work = async move { Ok(account.rename_mailbox(&access, &from, &to).await) };
        told(self.carry_through(work).await?, "Rename completed")
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
        let work = async move { Ok(account.subscribe(&access, &name, on).await) };
        let text = if on { "Subscribe completed" } else { "Unsubscribe completed" };
        told(self.carry_through(work).await?, text)
    }
}

/// What the client hears of a change to its folders.
pub(super) fn told(result: Result<(), Unchanged>, text: &str) -> Result<Reply, Failure> {
    match result {
        Ok(()) => Ok(Reply::ok(text)),
        Err(Unchanged::Server(done)) => Ok(Reply::from_server(&done)),
        Err(Unchanged::Exists(_)) => Ok(Reply::no_with("ALREADYEXISTS", "Mailbox exists already")),
        Err(Unchanged::Missing(_)) => Ok(Reply::no_with("NONEXISTENT", "No such mailbox")),
        Err(Unchanged::Cannot(why)) => Ok(Reply::no_with("CANNOT", why)),
        Err(Unchanged::Failed(e)) => Err(e.into()),
    }
}

/// One line of LIST or LSUB.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    name: MailboxName,
    attributes: Vec<&'static str>,
}

/// What LIST shows for a pattern.
fn shown(folders: &[&Joined], separator: Option<u8>, pattern: &[u8]) -> Vec<Shown> {
    let fits = |name: &[u8]| matches(pattern, name, separator);
    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    for folder in folders.iter().filter(|f| fits(f.client.as_bytes())) {
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
        let names = folders.iter().map(|f| &f.client);
        add_levels(&mut lines, names, separator, fits, &["\\Noselect", "\\HasChildren"]);
    }
    in_order(lines)
}

/// What LSUB shows for a pattern: with `%`, also the unsubscribed parents of subscribed ones.
fn subscribed(folders: &[&Joined], separator: Option<u8>, pattern: &[u8]) -> Vec<Shown> {
    let fits = |name: &[u8]| matches(pattern, name, separator);
    let all = || folders.iter().filter(|f| f.subscribed);
    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    for folder in all().filter(|f| fits(f.client.as_bytes())) {
        let attributes = if folder.selectable { Vec::new() } else { vec!["\\Noselect"] };
        let shown = Shown { name: folder.client.clone(), attributes };
        lines.insert(folder.client.as_bytes(), shown);
    }
    if pattern.contains(&b'%') {
        add_levels(&mut lines, all().map(|f| &f.client), separator, fits, &["\\Noselect"]);
    }
    in_order(lines)
}

/// Adds the levels above these names that fit and are not among the lines.
fn add_levels<'a>(
    lines: &mut BTreeMap<&'a [u8], Shown>,
    names: impl Iterator<Item = &'a MailboxName>,
    separator: Option<u8>,
    fits: impl Fn(&[u8]) -> bool,
    attributes: &[&'static str],
) {
    // Many mailboxes lie below one level.
    let levels: HashSet<&[u8]> = names.flat_map(|name| parents(name, separator)).collect();
    for level in levels.into_iter().filter(|level| fits(level)) {
        if let Some(name) = MailboxName::new(level) {
            lines.entry(level).or_insert(Shown { name, attributes: attributes.to_vec() });
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, selectable: bool, subscribed: bool) -> Joined {
        let name = MailboxName::new(name.as_bytes()).unwrap();
        Joined {
            client: name.clone(),
            old: Some(name.clone()),
            new: None,
            new_wanted: name.clone(),
            old_wanted: name.clone(),
            special: name.as_bytes().ends_with(b"Sent").then_some(Special::Sent),
            selectable,
            children: !selectable || name.is_inbox(),
            subscribed,
            decided: true,
        }
    }

    fn lines(shown: Vec<Shown>) -> Vec<String> {
        let line = |s: &Shown| String::from_utf8(list_line("LIST", s, Some(b'.'))).unwrap();
        shown.iter().map(|s| line(s).replace("* LIST ", "").replace("\".\" ", "")).collect()
    }

    #[test]
    fn levels_without_a_mailbox_are_shown_to_a_percent() {
        let folders =
            [folder("INBOX", true, true), folder("a.b.c", true, true), folder("a.x", false, true)];
        let folders: Vec<&Joined> = folders.iter().collect();
        let shown = |pattern: &[u8]| lines(shown(&folders, Some(b'.'), pattern));
        let inbox = "(\\HasChildren) INBOX";
        assert_eq!(shown(b"%"), [inbox, "(\\Noselect \\HasChildren) \"a\""]);
        assert_eq!(
            shown(b"a.%"),
            ["(\\Noselect \\HasChildren) \"a.b\"", "(\\Noselect \\HasChildren) \"a.x\""]
        );
        assert_eq!(
            shown(b"*"),
            [inbox, "(\\HasNoChildren) \"a.b.c\"", "(\\Noselect \\HasChildren) \"a.x\""]
        );
        assert_eq!(shown(b"inbox"), [inbox]);
        assert!(shown(b"b").is_empty());
    }

    #[test]
    fn special_use_is_always_told() {
        let sent = folder("Sent", true, false);
        let shown = lines(shown(&[&sent], Some(b'.'), b"*"));
        assert_eq!(shown, ["(\\HasNoChildren \\Sent) \"Sent\""]);
    }

    #[test]
    fn an_unsubscribed_parent_cannot_be_selected_in_lsub() {
        let folders = [
            folder("foo", true, false),
            folder("foo.bar", true, true),
            folder("foo.none", true, false),
            folder("odd", false, true),
        ];
        let folders: Vec<&Joined> = folders.iter().collect();
        let subscribed = |pattern: &[u8]| lines(subscribed(&folders, Some(b'.'), pattern));
        assert_eq!(subscribed(b"%"), ["(\\Noselect) \"foo\"", "(\\Noselect) \"odd\""]);
        assert_eq!(subscribed(b"*"), ["() \"foo.bar\"", "(\\Noselect) \"odd\""]);
    }

    #[test]
    fn names_and_separators_are_quoted() {
        let odd = folder("a\"\\b", true, true);
        let shown = shown(&[&odd], Some(b'\\'), b"*");
        let line = list_line("LIST", &shown[0], Some(b'\\'));
        assert_eq!(line, b"* LIST (\\HasNoChildren) \"\\\\\" \"a\\\"\\\\b\"");
        assert!(list_line("LIST", &shown[0], None).starts_with(b"* LIST (\\HasNoChildren) NIL "));
    }
}
