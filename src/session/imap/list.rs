//! LIST and LSUB (RFC 3501 §6.3.8, §6.3.9, RFC 5258, RFC 5819, RFC 6154): in old's names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tracing::debug;

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::names::{Joined, Style};
use crate::account::{Asked, Folder, Folders, statuses};
use crate::base::MailboxName;
use crate::imap::command::{List, StatusItem};
use crate::imap::names::{Spelling, list_pattern, matches};
use crate::imap::write;

impl Session {
    /// LIST, with CHILDREN and SPECIAL-USE also in the form of RFC 3501.
    pub(super) async fn list(&mut self, user: &User, list: &List) -> Result<Reply, Failure> {
        let status = match list.returns.status.as_slice() {
            [] => None,
            items => match self.asked(items) {
                Some(asked) => Some((items, asked)),
                None => return Ok(Reply::bad("Unknown STATUS item")),
            },
        };
        if !list.extended && list.patterns.iter().all(Vec::is_empty) {
            // A question for the separator, and for the root of a reference.
            let folders = user.account.folders(&user.access).await?;
            let root = root(&list.reference, &folders.styles.old);
            let mut line = b"* LIST (\\Noselect) ".to_vec();
            separator(folders.separator(), &mut line);
            line.push(b' ');
            write::quoted(&self.extended.spelling().write(root), &mut line);
            self.client.line(line);
            return Ok(Reply::ok("List completed"));
        }
        let listing = user.account.list_folders(&user.access);
        let folders = self.client.patiently(listing).await??;
        let absent = if list.select.subscribed { absent(&folders) } else { Vec::new() };
        let joined: Vec<&Joined> = folders.list.iter().map(|f| &f.joined).chain(&absent).collect();
        let shown = shown(&joined, folders.separator(), list);
        let spelling = self.extended.spelling();
        for shown in &shown {
            self.client.line(list_line("LIST", shown, folders.separator(), spelling));
            self.client.flush_if_full().await?;
        }
        if let Some((items, asked)) = status {
            // Not of what is shown for the sake of something below it (RFC 5819 §2).
            let itself = shown.iter().filter(|s| s.selected);
            let names: HashSet<&MailboxName> = itself.map(|s| &s.name).collect();
            let open = folders.list.iter().filter(|f| f.joined.selectable);
            let open: Vec<&Folder> = open.filter(|f| names.contains(&f.joined.client)).collect();
            self.list_status(user, &open, items, asked).await?;
        }
        Ok(Reply::ok("List completed"))
    }

    /// STATUS of what LIST has shown (RFC 5819 §2). A mailbox without an answer is left out.
    async fn list_status(
        &mut self,
        user: &User,
        folders: &[&Folder],
        items: &[StatusItem],
        asked: Asked,
    ) -> Result<(), Failure> {
        self.client.flush().await?;
        let mut mailboxes = Vec::with_capacity(folders.len());
        for folder in folders {
            match user.account.hub(folder).await {
                Ok(mailbox) => mailboxes.push(mailbox),
                Err(e) => debug!(mailbox = %folder.joined.client, "no STATUS: {e}"),
            }
        }
        let statuses = statuses(&user.access, &mailboxes, asked);
        let statuses = self.client.patiently(statuses).await?;
        for (mailbox, status) in mailboxes.iter().zip(statuses) {
            match status {
                Ok(status) => {
                    let id = mailbox.view().object_id;
                    self.tell_status(&mailbox.name(), items, &status, id);
                }
                Err(e) => debug!(mailbox = %mailbox.name(), "no STATUS: {e}"),
            }
            self.client.flush_if_full().await?;
        }
        Ok(())
    }

    /// LSUB.
    pub(super) async fn lsub(
        &mut self,
        user: &User,
        reference: &[u8],
        pattern: &[u8],
    ) -> Result<Reply, Failure> {
        let listing = user.account.list_folders(&user.access);
        let folders = self.client.patiently(listing).await??;
        let pattern = list_pattern(reference, pattern);
        let absent = absent(&folders);
        let listed: Vec<&Joined> = folders.list.iter().map(|f| &f.joined).chain(&absent).collect();
        let spelling = self.extended.spelling();
        for shown in subscribed(&listed, folders.separator(), &pattern) {
            self.client.line(list_line("LSUB", &shown, folders.separator(), spelling));
            self.client.flush_if_full().await?;
        }
        Ok(Reply::ok("Lsub completed"))
    }
}

/// What is subscribed and does not exist, like a folder that is on neither side.
fn absent(folders: &Folders) -> Vec<Joined> {
    let absent = folders.subscribed_absent().into_iter().map(|client| Joined {
        old: None,
        new: None,
        new_wanted: client.clone(),
        old_wanted: client.clone(),
        special: None,
        selectable: false,
        children: folders.below(&client).next().is_some(),
        subscribed: true,
        decided: false,
        client,
    });
    absent.collect()
}

fn is_absent(folder: &Joined) -> bool {
    folder.old.is_none() && folder.new.is_none()
}

/// One line of LIST or LSUB.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    name: MailboxName,
    attributes: Vec<&'static str>,
    /// Whether it is what was asked for, not only a level above that.
    selected: bool,
    /// Whether something below it is subscribed, where that was asked (RFC 5258 §3.5).
    child_info: bool,
}

/// What LIST shows.
fn shown(folders: &[&Joined], separator: Option<u8>, list: &List) -> Vec<Shown> {
    let patterns: Vec<Vec<u8>> =
        list.patterns.iter().map(|pattern| list_pattern(&list.reference, pattern)).collect();
    let fits = |name: &[u8]| patterns.iter().any(|pattern| matches(pattern, name, separator));
    let select = list.select;
    let selected = |folder: &&&Joined| {
        (!select.subscribed || folder.subscribed)
            && (!select.special_use || folder.special.is_some())
    };
    // What lies above a selected mailbox, and above one that is not shown itself.
    let mut above: BTreeSet<&[u8]> = BTreeSet::new();
    let mut above_unshown: BTreeSet<&[u8]> = BTreeSet::new();
    if select.recursive_match {
        for folder in folders.iter().filter(selected) {
            above.extend(parents(&folder.client, separator));
            if !fits(folder.client.as_bytes()) {
                above_unshown.extend(parents(&folder.client, separator));
            }
        }
    }

    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    for folder in folders.iter().filter(|f| fits(f.client.as_bytes())) {
        let name = folder.client.as_bytes();
        if selected(&folder) || above_unshown.contains(name) {
            let child_info = above.contains(name);
            let attributes = attributes(folder, list);
            let (name_shown, selected) = (folder.client.clone(), selected(&folder));
            let shown = Shown { name: name_shown, attributes, selected, child_info };
            lines.insert(name, shown);
        }
    }
    // Levels that exist only as parents of others are shown where wildcards ask for more than names.
    // RFC 3501 §6.3.8 wants that for `%`; servers that show them to `*` are Dovecot, for one.
    let wildcard = patterns.iter().any(|pattern| pattern.iter().any(|b| b"%*".contains(b)));
    if select.recursive_match {
        let levels = above_unshown.iter().filter(|level| fits(level));
        add_levels(&mut lines, levels.copied(), &level_attributes(list), true);
    } else if wildcard && !select.subscribed && !select.special_use {
        let levels = folders.iter().flat_map(|f| parents(&f.client, separator));
        add_levels(&mut lines, levels.filter(|level| fits(level)), &level_attributes(list), false);
    }
    in_order(lines)
}

/// In its extended form, LIST tells what is asked; in the other, what has always been told.
fn attributes(folder: &Joined, list: &List) -> Vec<&'static str> {
    let (select, returns) = (&list.select, &list.returns);
    let mut attributes = Vec::new();
    match is_absent(folder) {
        true => attributes.push("\\NonExistent"),
        false if !folder.selectable => attributes.push("\\Noselect"),
        false => {}
    }
    if folder.subscribed && (select.subscribed || returns.subscribed) {
        attributes.push("\\Subscribed");
    }
    if !list.extended || returns.children {
        attributes.push(if folder.children { "\\HasChildren" } else { "\\HasNoChildren" });
    }
    if !list.extended || select.special_use || returns.special_use {
        attributes.extend(folder.special.map(|special| special.attribute().as_str()));
    }
    attributes
}

fn level_attributes(list: &List) -> Vec<&'static str> {
    match (list.extended, list.returns.children) {
        (false, _) => vec!["\\Noselect", "\\HasChildren"],
        (true, true) => vec!["\\NonExistent", "\\HasChildren"],
        (true, false) => vec!["\\NonExistent"],
    }
}

/// What LSUB shows for a pattern: with `%`, also the unsubscribed parents of subscribed ones.
fn subscribed(folders: &[&Joined], separator: Option<u8>, pattern: &[u8]) -> Vec<Shown> {
    let fits = |name: &[u8]| matches(pattern, name, separator);
    let all = || folders.iter().filter(|f| f.subscribed);
    let mut lines: BTreeMap<&[u8], Shown> = BTreeMap::new();
    for folder in all().filter(|f| fits(f.client.as_bytes())) {
        let plain = folder.selectable || is_absent(folder);
        let attributes = if plain { Vec::new() } else { vec!["\\Noselect"] };
        let name = folder.client.clone();
        let shown = Shown { name, attributes, selected: true, child_info: false };
        lines.insert(folder.client.as_bytes(), shown);
    }
    if pattern.contains(&b'%') {
        let levels = all().flat_map(|f| parents(&f.client, separator)).filter(|l| fits(l));
        add_levels(&mut lines, levels, &["\\Noselect"], false);
    }
    in_order(lines)
}

/// Adds levels that are not among the lines.
fn add_levels<'a>(
    lines: &mut BTreeMap<&'a [u8], Shown>,
    levels: impl Iterator<Item = &'a [u8]>,
    attributes: &[&'static str],
    child_info: bool,
) {
    // Many mailboxes lie below one level.
    for level in levels.collect::<HashSet<&[u8]>>() {
        if let Some(name) = MailboxName::new(level) {
            let attributes = attributes.to_vec();
            lines.entry(level).or_insert(Shown { name, attributes, selected: false, child_info });
        }
    }
}

fn in_order(lines: BTreeMap<&[u8], Shown>) -> Vec<Shown> {
    let mut lines: Vec<Shown> = lines.into_values().collect();
    lines.sort_by_key(|shown| !shown.name.is_inbox());
    lines
}

/// The root of a reference, for a LIST of nothing: its first level, with the separator (RFC 3501
/// §6.3.8). INBOX alone is the root of what has its name as prefix.
fn root<'a>(reference: &'a [u8], style: &'a Style) -> &'a [u8] {
    let divides = |b: &u8| Some(*b) == style.separator;
    let below_inbox = style.prefix.split_last().is_some_and(|(last, first)| {
        divides(last) && !first.is_empty() && reference.eq_ignore_ascii_case(first)
    });
    match reference.iter().position(divides) {
        Some(at) => &reference[..=at],
        None if below_inbox => &style.prefix,
        None => b"",
    }
}

/// The levels above a name.
fn parents(name: &MailboxName, separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let octets = name.as_bytes();
    let at = octets.iter().enumerate().filter(move |(_, b)| Some(**b) == separator);
    at.map(move |(at, _)| &octets[..at]).filter(|parent| !parent.is_empty())
}

fn list_line(word: &str, shown: &Shown, separator: Option<u8>, spelling: Spelling) -> Vec<u8> {
    let attributes = shown.attributes.join(" ");
    let mut line = name_line(word, &attributes, &shown.name, separator, spelling);
    if shown.child_info {
        line.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    line
}

/// A line of LIST or LSUB, up to the mailbox's name.
pub(super) fn name_line(
    word: &str,
    attributes: &str,
    name: &MailboxName,
    sep: Option<u8>,
    spelling: Spelling,
) -> Vec<u8> {
    let mut line = format!("* {word} ({attributes}) ").into_bytes();
    separator(sep, &mut line);
    line.push(b' ');
    write::mailbox(name, spelling, &mut line);
    line
}

/// A separator as LIST and NAMESPACE show it.
pub(super) fn separator(separator: Option<u8>, line: &mut Vec<u8>) {
    match separator {
        Some(b) => write::quoted(&[b], line),
        None => line.extend_from_slice(b"NIL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::names::Special;

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

    fn plain(pattern: &[u8]) -> List {
        List { patterns: vec![pattern.to_vec()], ..List::default() }
    }

    fn lines(shown: Vec<Shown>) -> Vec<String> {
        let line = |s: &Shown| {
            String::from_utf8(list_line("LIST", s, Some(b'.'), Spelling::Utf7)).unwrap()
        };
        shown.iter().map(|s| line(s).replace("* LIST ", "").replace("\".\" ", "")).collect()
    }

    #[test]
    fn levels_without_a_mailbox_are_shown_to_wildcards() {
        let folders =
            [folder("INBOX", true, true), folder("a.b.c", true, true), folder("a.x", false, true)];
        let folders: Vec<&Joined> = folders.iter().collect();
        let shown = |pattern: &[u8]| lines(shown(&folders, Some(b'.'), &plain(pattern)));
        let inbox = "(\\HasChildren) INBOX";
        assert_eq!(shown(b"%"), [inbox, "(\\Noselect \\HasChildren) \"a\""]);
        assert_eq!(
            shown(b"a.%"),
            ["(\\Noselect \\HasChildren) \"a.b\"", "(\\Noselect \\HasChildren) \"a.x\""]
        );
        assert_eq!(
            shown(b"*"),
            [
                inbox,
                "(\\Noselect \\HasChildren) \"a\"",
                "(\\Noselect \\HasChildren) \"a.b\"",
                "(\\HasNoChildren) \"a.b.c\"",
                "(\\Noselect \\HasChildren) \"a.x\""
            ]
        );
        assert_eq!(shown(b"inbox"), [inbox]);
        assert!(shown(b"b").is_empty());
    }

    #[test]
    fn the_root_of_a_reference_is_its_first_level() {
        let style = |prefix: &str| Style { prefix: prefix.into(), separator: Some(b'.') };
        let of = |reference: &str, prefix: &str| {
            let style = style(prefix);
            String::from_utf8(root(reference.as_bytes(), &style).to_vec()).unwrap()
        };
        assert_eq!(of("", "INBOX."), "");
        assert_eq!(of("INBOX", "INBOX."), "INBOX.");
        assert_eq!(of("inbox", ""), "");
        assert_eq!(of("INBOX.a.b", "INBOX."), "INBOX.");
        assert_eq!(of("foo", "INBOX."), "");
        assert_eq!(of("foo.bar", ""), "foo.");
    }

    #[test]
    fn special_use_is_always_told() {
        let sent = folder("Sent", true, false);
        let shown = lines(shown(&[&sent], Some(b'.'), &plain(b"*")));
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
        let shown = shown(&[&odd], Some(b'\\'), &plain(b"a\"\\b"));
        let line = list_line("LIST", &shown[0], Some(b'\\'), Spelling::Utf7);
        assert_eq!(line, b"* LIST (\\HasNoChildren) \"\\\\\" \"a\\\"\\\\b\"");
        assert!(
            list_line("LIST", &shown[0], None, Spelling::Utf7)
                .starts_with(b"* LIST (\\HasNoChildren) NIL ")
        );
    }

    #[test]
    fn an_extended_list_tells_what_it_is_asked() {
        let folders =
            [folder("INBOX", true, true), folder("a.b.c", true, true), folder("Sent", true, false)];
        let folders: Vec<&Joined> = folders.iter().collect();
        let listed = |list: &List| lines(shown(&folders, Some(b'.'), list));
        let mut list = List { extended: true, ..plain(b"%") };
        assert_eq!(listed(&list), ["() INBOX", "() \"Sent\"", "(\\NonExistent) \"a\""]);
        list.returns.subscribed = true;
        list.returns.children = true;
        assert_eq!(
            listed(&list),
            [
                "(\\Subscribed \\HasChildren) INBOX",
                "(\\HasNoChildren) \"Sent\"",
                "(\\NonExistent \\HasChildren) \"a\""
            ]
        );
        list.select.special_use = true;
        assert_eq!(listed(&list), ["(\\HasNoChildren \\Sent) \"Sent\""]);
        list.patterns = vec![b"inbox".to_vec(), b"a.*".to_vec()];
        assert!(listed(&list).is_empty());
        list.select.special_use = false;
        list.returns.children = false;
        assert_eq!(
            listed(&list),
            ["(\\Subscribed) INBOX", "(\\NonExistent) \"a.b\"", "(\\Subscribed) \"a.b.c\""]
        );
        list.patterns = vec![Vec::new()];
        assert!(listed(&list).is_empty(), "no question for the separator");
    }

    #[test]
    fn what_lies_above_subscribed_mailboxes_is_found_where_they_are_not_shown() {
        let folders = [
            folder("foo", true, false),
            folder("foo.bar", true, true),
            folder("level.x", true, true),
            folder("none", true, false),
            folder("own", true, true),
            folder("own.sub", true, true),
        ];
        let folders: Vec<&Joined> = folders.iter().collect();
        let mut list = List { extended: true, ..plain(b"%") };
        list.select.subscribed = true;
        let listed = |list: &List| lines(shown(&folders, Some(b'.'), list));
        assert_eq!(listed(&list), ["(\\Subscribed) \"own\""]);
        list.select.recursive_match = true;
        let info = "(\"CHILDINFO\" (\"SUBSCRIBED\"))";
        assert_eq!(
            listed(&list),
            [
                format!("() \"foo\" {info}"),
                format!("(\\NonExistent) \"level\" {info}"),
                format!("(\\Subscribed) \"own\" {info}"),
            ]
        );
        list.patterns = vec![b"*".to_vec()];
        assert_eq!(
            listed(&list),
            [
                "(\\Subscribed) \"foo.bar\"".to_owned(),
                "(\\Subscribed) \"level.x\"".to_owned(),
                format!("(\\Subscribed) \"own\" {info}"),
                "(\\Subscribed) \"own.sub\"".to_owned(),
            ]
        );
    }
}
