//! Rewriting one untagged FETCH: our numbers in front, the server's items behind them. Pure.

use std::borrow::Cow;

use bytes::Bytes;

use super::fetch::FetchItem;
use super::fetch_scan::{Ends, Item, ItemKind, modseq, number};
use super::scan::without_recent;
use crate::uid::{EmailId, Seq, SideUid, Uid};

/// What the client asked for, as far as the answer depends on it.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The client wants to see the UID.
    pub uid: bool,
    /// The client wants to see FLAGS.
    pub flags: bool,
    /// The client wants to see MODSEQ.
    pub mod_seq: bool,
    /// The client wants to see EMAILID.
    pub email_id: bool,
    /// The client wants to see THREADID.
    pub thread_id: bool,
    /// Something is asked that a server never sends by itself.
    pub data: bool,
    /// An answer is a few numbers and flags, whatever the message.
    pub tiny: bool,
    /// The message's content beyond its headers is asked for: it is being opened.
    pub content: bool,
    /// `\Seen` is to be set. That is a write of its own, before the content is read: authority over
    /// a message may pass to new while its octets are still on their way.
    pub seen: bool,
    /// Content is asked for as `BODY.PEEK[…]` where the client asked for this old name.
    pub renamed: Vec<(&'static str, &'static str)>,
}

/// The text of a FETCH's items for a server, in an order that clients can live with: small things
/// first, RFC822.SIZE before content.
pub fn items_for_server(items: &[FetchItem], read_only: bool) -> (String, Wish) {
    let mut wish = Wish {
        uid: items.contains(&FetchItem::Uid),
        flags: items.contains(&FetchItem::Flags),
        mod_seq: items.contains(&FetchItem::ModSeq),
        email_id: items.contains(&FetchItem::EmailId),
        thread_id: items.contains(&FetchItem::ThreadId),
        data: items
            .iter()
            .any(|i| !is_ours(i) && !matches!(i, FetchItem::Flags | FetchItem::ModSeq)),
        tiny: items.iter().all(is_tiny),
        content: items.iter().any(FetchItem::opens_content),
        seen: !read_only && items.iter().any(FetchItem::sets_seen),
        renamed: Vec::new(),
    };
    let mut asked: Vec<(u8, String)> = Vec::new();
    for item in items.iter().filter(|i| !is_ours(i)) {
        let text = match (item, item.with_peek()) {
            (_, Some(peek)) => peek.to_string(),
            (FetchItem::Rfc822, None) => {
                wish.renamed.push(("BODY[]", "RFC822"));
                "BODY.PEEK[]".to_owned()
            }
            (_, None) => {
                wish.renamed.push(("BODY[TEXT]", "RFC822.TEXT"));
                "BODY.PEEK[TEXT]".to_owned()
            }
        };
        let weight = match item {
            FetchItem::Flags | FetchItem::ModSeq => 0,
            FetchItem::InternalDate | FetchItem::Rfc822Size => 1,
            item if item.has_literal() => 3,
            _ => 2,
        };
        if !asked.iter().any(|(_, known)| *known == text) {
            asked.push((weight, text));
        }
    }
    if wish.seen && !wish.flags {
        // What has become of the flags belongs into the same reply (RFC 3501 §6.4.5).
        asked.push((0, FetchItem::Flags.to_string()));
    }
    asked.sort_by_key(|(weight, _)| *weight);
    let mut text = "UID".to_owned();
    for (_, item) in asked {
        text.push(' ');
        text.push_str(&item);
    }
    (text, wish)
}

/// What the proxy alone can say of a message.
fn is_ours(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Uid | FetchItem::EmailId | FetchItem::ThreadId)
}

/// What takes a few octets, whatever the message.
fn is_tiny(item: &FetchItem) -> bool {
    let fixed =
        [FetchItem::Flags, FetchItem::ModSeq, FetchItem::Rfc822Size, FetchItem::InternalDate];
    is_ours(item) || fixed.contains(item)
}

/// The UID in a segment's items.
pub fn told_uid(text: &[u8], items: &[Item]) -> Option<SideUid> {
    let item = items.iter().find(|item| item.kind == ItemKind::Uid)?;
    number(text.get(item.value.clone())?).map(SideUid)
}

/// FLAGS in a segment's items, without `\Recent`.
pub fn told_flags<'a>(text: &'a [u8], items: &[Item]) -> Option<Cow<'a, [u8]>> {
    let item = items.iter().find(|item| item.kind == ItemKind::Flags)?;
    Some(without_recent(text.get(item.value.clone())?))
}

/// MODSEQ in a segment's items.
pub fn told_mod_seq(text: &[u8], items: &[Item]) -> Option<u64> {
    let item = items.iter().find(|item| item.kind == ItemKind::ModSeq)?;
    modseq(text.get(item.value.clone())?)
}

/// Whether a reply answers what was asked, and is not just news of FLAGS.
pub fn is_answer(items: &[Item], wish: &Wish) -> bool {
    let data =
        |item: &Item| !matches!(item.kind, ItemKind::Uid | ItemKind::Flags | ItemKind::ModSeq);
    let has = |kind| items.iter().any(|item: &Item| item.kind == kind);
    let small = (!wish.flags || has(ItemKind::Flags)) && (!wish.mod_seq || has(ItemKind::ModSeq));
    items.iter().any(data) || (!wish.data && small)
}

/// Whether the literal that this segment announces is the whole message.
pub fn announces_message(text: &[u8], items: &[Item]) -> bool {
    items.last().is_some_and(|item| {
        let name = text.get(item.name.clone()).unwrap_or_default();
        let whole = name.eq_ignore_ascii_case(b"BODY[]") || name.eq_ignore_ascii_case(b"RFC822");
        item.kind == ItemKind::Body && item.ends == Ends::InLiteral && whole
    })
}

/// Writes the replies of one FETCH command.
pub struct Writer<'a> {
    wish: &'a Wish,
    /// FLAGS of a side that does not decide over the message are not told.
    pub keep_flags: bool,
    /// FLAGS as the side that decides told them, where another one gives the rest.
    pub flags: Option<Bytes>,
    /// What is told for the message's MODSEQ.
    pub mod_seq: Option<u64>,
    empty: bool,
}

impl<'a> Writer<'a> {
    /// For the answers to this wish.
    pub fn new(wish: &'a Wish) -> Writer<'a> {
        Writer { wish, keep_flags: true, flags: None, mod_seq: None, empty: true }
    }

    /// Begins a reply: UID first, where it is wanted, then the other numbers that are ours.
    pub fn begin(&mut self, seq: Seq, uid: Uid, email: Option<EmailId>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* ");
        decimal(seq.0, out);
        out.extend_from_slice(b" FETCH (");
        self.empty = true;
        if self.wish.uid {
            out.extend_from_slice(b"UID ");
            decimal(uid.0, out);
            self.empty = false;
        }
        if let Some(email) = email {
            self.separate(out);
            out.extend_from_slice(format!("EMAILID ({email})").as_bytes());
        }
        if self.wish.thread_id {
            self.separate(out);
            out.extend_from_slice(b"THREADID NIL");
        }
    }

    /// Goes on with items that another writer wrote for the same wish, without a beginning.
    pub fn written(&mut self, items: &[u8], out: &mut Vec<u8>) {
        if !items.is_empty() {
            self.separate(out);
            out.extend_from_slice(items);
        }
    }

    /// Writes the items of one segment, as they came but for our own numbers.
    pub fn items(&mut self, text: &[u8], items: &[Item], out: &mut Vec<u8>) {
        for item in items {
            let value = text.get(item.value.clone()).unwrap_or_default();
            match item.kind {
                ItemKind::Uid => {}
                ItemKind::ModSeq => {
                    if let Some(value) = self.mod_seq {
                        self.separate(out);
                        out.extend_from_slice(format!("MODSEQ ({value})").as_bytes());
                    }
                }
                ItemKind::Continuation => {
                    out.extend_from_slice(
                        text.get(item.name.start..item.value.end).unwrap_or_default(),
                    );
                }
                ItemKind::Flags => {
                    if self.keep_flags || self.flags.is_some() {
                        self.separate(out);
                        out.extend_from_slice(b"FLAGS ");
                        let told = self.flags.as_deref().map(Cow::Borrowed);
                        out.extend_from_slice(&told.unwrap_or_else(|| without_recent(value)));
                    }
                }
                _ => {
                    self.separate(out);
                    let name = text.get(item.name.clone()).unwrap_or_default();
                    let renamed = self
                        .wish
                        .renamed
                        .iter()
                        .find(|(from, _)| name.eq_ignore_ascii_case(from.as_bytes()));
                    match renamed {
                        Some((_, to)) => {
                            out.extend_from_slice(to.as_bytes());
                            let rest = item.name.end..item.value.end;
                            out.extend_from_slice(text.get(rest).unwrap_or_default());
                        }
                        None => {
                            let whole = item.name.start..item.value.end;
                            out.extend_from_slice(text.get(whole).unwrap_or_default());
                        }
                    }
                }
            }
        }
    }

    /// Ends a reply.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        if !self.empty {
            out.push(b' ');
        }
        self.empty = false;
    }
}

fn decimal(mut n: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A digit is below 10.
        digits[at] = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::Section;
    use crate::imap::fetch_scan::FetchScan;

    fn rewrite(line: &[u8], items: &[FetchItem], read_only: bool) -> String {
        let (_, wish) = items_for_server(items, read_only);
        let mut found = Vec::new();
        let (mut scan, _, from) = FetchScan::start(line).unwrap();
        scan.segment(line, from, &mut found).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::new(&wish);
        writer.begin(Seq(7), Uid(70), None, &mut out);
        writer.items(line, &found, &mut out);
        writer.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn uid_comes_first_wherever_the_server_put_it() {
        let wish = [FetchItem::Flags, FetchItem::Uid];
        let line = b"* 12 FETCH (FLAGS (\\Seen \\Recent) UID 1234 MODSEQ (5))";
        assert_eq!(rewrite(line, &wish, false), "* 7 FETCH (UID 70 FLAGS (\\Seen))\r\n");
        let line = b"* 12 FETCH (UID 1234 FLAGS ())";
        assert_eq!(rewrite(line, &[FetchItem::Flags], false), "* 7 FETCH (FLAGS ())\r\n");
    }

    #[test]
    fn what_is_not_ours_passes_as_it_came() {
        let line = b"* 1 FETCH (UID 9 X-ODD (a \"b)\" (c)) RFC822.SIZE 44)";
        let out = rewrite(line, &[FetchItem::Uid, FetchItem::Rfc822Size], false);
        assert_eq!(out, "* 7 FETCH (UID 70 X-ODD (a \"b)\" (c)) RFC822.SIZE 44)\r\n");
    }

    #[test]
    fn examine_sets_no_flag_and_answers_under_the_name_asked_for() {
        let (text, _) = items_for_server(&[FetchItem::Rfc822, FetchItem::Rfc822Size], true);
        assert_eq!(text, "UID RFC822.SIZE BODY.PEEK[]");
        let line = b"* 1 FETCH (UID 9 BODY[] \"x\")";
        assert_eq!(rewrite(line, &[FetchItem::Rfc822], true), "* 7 FETCH (RFC822 \"x\")\r\n");
    }

    #[test]
    fn what_is_ours_is_asked_of_nobody() {
        let (text, wish) = items_for_server(&[FetchItem::EmailId, FetchItem::ThreadId], false);
        assert!(text == "UID" && !wish.data && wish.email_id && wish.thread_id, "{text} {wish:?}");
        let line = b"* 1 FETCH (FLAGS () UID 9)";
        let out = rewrite(line, &[FetchItem::Flags, FetchItem::ThreadId], false);
        assert_eq!(out, "* 7 FETCH (THREADID NIL FLAGS ())\r\n");
    }

    #[test]
    fn size_is_asked_for_before_content() {
        let items = [FetchItem::whole_message(), FetchItem::Rfc822Size, FetchItem::Flags];
        let (text, wish) = items_for_server(&items, false);
        assert_eq!(text, "UID FLAGS RFC822.SIZE BODY.PEEK[]");
        assert!(wish.content && !wish.uid && wish.flags && !wish.seen);
    }

    #[test]
    fn seen_is_set_by_a_write_of_its_own() {
        let body = FetchItem::Section { peek: false, section: Section::default(), partial: None };
        let (text, wish) = items_for_server(&[body.clone(), FetchItem::Rfc822Text], false);
        assert_eq!(text, "UID FLAGS BODY.PEEK[] BODY.PEEK[TEXT]");
        assert!(wish.seen);
        assert!(!items_for_server(&[body], true).1.seen);
    }
}
