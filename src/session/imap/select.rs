//! SELECT, EXAMINE, CLOSE, UNSELECT, and the state of a session that has a mailbox open.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::fetch::{Asked, vanished_earlier};
use super::list::name_line;
use super::reply::{Failure, Reply};
use super::search::Context;
use super::sets::resolve;
use super::{Session, User};
use crate::account::{AccountError, FlagNews, FlagsOffered, Mailbox};
use crate::base::{MailboxName, Sides};
use crate::imap::command::{FetchItem, Resync, SelectOptions};
use crate::uid::{SeqSet, Uid, UidMap, UidSet};

/// The mailbox a session has open.
pub(in crate::session) struct Selected {
    /// Its hub.
    pub mailbox: Arc<Mailbox>,
    /// What the client has been told: the numbering of its messages. Places come from the hub.
    pub numbering: UidMap,
    /// The version of the view that `numbering` is fully up to; older if something is still owed.
    pub version: u64,
    /// Opened by EXAMINE.
    pub read_only: bool,
    /// Flag changes the client has not been told of.
    pub flags: broadcast::Receiver<FlagNews>,
    /// Flag changes were missed: all flags are to be told as they are now.
    pub all_flags: bool,
    /// Which version of the flags that are offered the client has been told.
    pub offered: u64,
    /// Flags of which the client was told just now, and that are news for others.
    pub just_told: HashMap<Uid, Bytes>,
    /// `$`: the result that the last SEARCH with SAVE has left (RFC 5182).
    pub saved: UidSet<Uid>,
    /// Searches whose results are kept up to date (RFC 5267).
    pub contexts: Vec<Context>,
    /// Something has changed that may change their results.
    pub stale: bool,
}

impl Selected {
    /// The messages a client's set names; `None` as in [`resolve`].
    pub fn resolve(&self, set: &SeqSet, uid: bool) -> Option<UidSet<Uid>> {
        resolve(set, uid, &self.numbering, &self.saved)
    }

    /// The answer to a command that did what there was to do with these messages. Some of those that
    /// the client has been told of may have gone, and it cannot be told so everywhere (RFC 5530).
    pub fn done_with(&self, uids: &UidSet<Uid>, text: &str) -> Reply {
        let view = self.mailbox.view();
        if view.version == self.version || view.map.within(uids).len() == uids.len() {
            return Reply::ok(text);
        }
        Reply::ok_with("EXPUNGEISSUED", format!("{text}, but for what is not there any more"))
    }
}

impl Session {
    /// SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2), with CONDSTORE and QRESYNC (RFC 7162 §3.1.8,
    /// §3.2.5) and MAILBOXID (RFC 8474 §4.2).
    pub(super) async fn select(
        &mut self,
        user: &User,
        name: &MailboxName,
        options: SelectOptions,
        read_only: bool,
    ) -> Result<Reply, Failure> {
        let counts = self.offer.has("CONDSTORE");
        if (options.condstore || options.resync.is_some()) && !counts {
            return Ok(Reply::bad("Unknown SELECT parameter"));
        }
        if options.resync.is_some() && !self.extended.qresync {
            return Ok(Reply::bad("QRESYNC was not enabled"));
        }
        self.extended.condstore |= options.condstore;
        // Whatever comes of it, the mailbox that was open is not open any more.
        if self.selected.take().is_some() && (counts || self.extended.rev2) {
            self.client.line("* OK [CLOSED] Previous mailbox is closed");
        }
        let opening = user.account.mailbox(&user.access, name);
        let mut mailbox = self.client.patiently(opening).await??;
        match self.client.patiently(mailbox.refresh(&user.access)).await? {
            // Its owner has made it anew: there is nothing that old would not tell again.
            Err(AccountError::Distrust { .. }) if mailbox.is_shared() => {
                user.account.forget_shared(&mailbox).await?;
                mailbox = user.account.mailbox(&user.access, name).await?;
                mailbox.refresh(&user.access).await?;
            }
            refreshed => refreshed?,
        }
        mailbox.look_into();
        // Of an IMAP4rev2 server, and in the place of RECENT (RFC 9051 §6.3.2).
        let listed = match self.extended.rev2 {
            true => Some(user.account.folders(&user.access).await?.separator()),
            false => None,
        };
        // Before the view is taken: nothing may fall between the two.
        let flags = mailbox.flag_news();
        let view = mailbox.view();
        // What stays on old cannot be changed where old cannot.
        let read_only = read_only || (user.account.old_is_read_only() && mailbox.stays_on_old());
        let client = &mut self.client;
        let mut offered = NOTHING_OFFERED;
        tell_offered(&mailbox, read_only, &mut offered, &mut client.out);
        client.line(format!("* {} EXISTS", view.map.len()));
        if let Some(separator) = listed {
            let spelling = self.extended.spelling();
            client.line(name_line("LIST", "", &mailbox.name(), separator, spelling));
        } else {
            // Who was told first of a message is known by the servers to the proxy's pools only.
            client.line("* 0 RECENT");
        }
        client.line(format!("* OK [UIDVALIDITY {}] UIDs valid", view.uid_validity));
        client.line(format!("* OK [UIDNEXT {}] Predicted next UID", view.uid_next));
        client.line(format!("* OK [MAILBOXID ({})] Its identifier", view.object_id));
        if counts {
            let highest = view.mod_seqs.highest();
            client.line(format!("* OK [HIGHESTMODSEQ {highest}] Highest"));
        }
        self.selected = Some(Selected {
            numbering: view.map.clone(),
            version: view.version,
            mailbox,
            read_only,
            flags,
            saved: UidSet::new(),
            contexts: Vec::new(),
            stale: false,
            all_flags: false,
            offered,
            just_told: HashMap::new(),
        });
        if let Some(resync) = options.resync.filter(|r| r.uid_validity == view.uid_validity)
            && let Err(e) = self.resync(user, &resync).await
        {
            self.selected = None;
            return Err(e);
        }
        Ok(if read_only {
            Reply::ok_with("READ-ONLY", "Examine completed")
        } else {
            Reply::ok_with("READ-WRITE", "Select completed")
        })
    }

    /// Tells what has become of the mailbox since the client had it open last (RFC 7162 §3.2.5.1).
    async fn resync(&mut self, user: &User, resync: &Resync) -> Result<(), Failure> {
        let Some(selected) = &self.selected else { return Ok(()) };
        if resync.mod_seq >= selected.mailbox.view().mod_seqs.highest() {
            return Ok(());
        }
        let all = UidSet::from_ranges([(Uid(1), Uid(u32::MAX))]);
        let known = resync.known.as_ref().map_or(all, |known| known.uids(Uid(0)));
        vanished_earlier(&known, selected, &mut self.client.out);
        let every = SeqSet::all();
        let asked = Asked {
            uid: true,
            set: resync.known.as_ref().unwrap_or(&every),
            items: &[FetchItem::Flags, FetchItem::ModSeq],
            partial: None,
            changed_since: Some(resync.mod_seq),
            vanished: false,
        };
        self.fetch(user, asked).await?;
        Ok(())
    }

    /// ENABLE (RFC 5161). What is not offered is ignored, as §3.1 wants it.
    pub(super) fn enable(&mut self, names: &[String]) -> Reply {
        let mut enabled = String::new();
        let offer = Arc::clone(&self.offer);
        for name in names.iter().filter_map(|name| offer.named(name)) {
            match name {
                "CONDSTORE" => self.enable_condstore(),
                "QRESYNC" => {
                    self.enable_condstore();
                    self.extended.qresync = true;
                }
                "IMAP4rev2" => self.extended.rev2 = true,
                "UTF8=ACCEPT" => self.extended.utf8 = true,
                _ => continue,
            }
            enabled.push(' ');
            enabled.push_str(name);
        }
        self.client.line(format!("* ENABLED{enabled}"));
        Reply::ok("Enabled")
    }

    /// From the first command on that has to do with MODSEQs, the client is told of them; where a
    /// mailbox is open already, also what is the highest (RFC 7162 §3.1.2.1).
    pub(super) fn enable_condstore(&mut self) {
        if !self.offer.has("CONDSTORE") || std::mem::replace(&mut self.extended.condstore, true) {
            return;
        }
        if let Some(selected) = &self.selected {
            let highest = selected.mailbox.view().mod_seqs.highest();
            self.client.line(format!("* OK [HIGHESTMODSEQ {highest}] Highest"));
        }
    }

    /// CLOSE (RFC 3501 §6.4.2), which expunges in silence, and UNSELECT (RFC 3691), which does not.
    pub(super) async fn close(&mut self, user: &User, expunge: bool) -> Result<Reply, Failure> {
        let writable = self.selected.as_ref().is_some_and(|s| !s.read_only);
        if expunge && writable {
            let reply = self.expunge(user, None).await?;
            if !reply.is_ok() {
                return Ok(reply);
            }
        }
        self.selected = None;
        Ok(Reply::ok("Mailbox closed"))
    }
}

const SYSTEM_FLAGS: [&[u8]; 5] = [b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft"];

/// No version of what is offered.
const NOTHING_OFFERED: u64 = u64::MAX;

/// Tells which flags there are, unless that version was told: before a keyword is used, the client
/// knows of it (RFC 3501 §7.2.6).
pub(super) fn tell_offered(mailbox: &Mailbox, read_only: bool, told: &mut u64, out: &mut Vec<u8>) {
    if mailbox.offer_version() == *told {
        return;
    }
    let (offered, version) = mailbox.flags_offered();
    *told = version;
    let system = || SYSTEM_FLAGS.iter().map(|flag| Bytes::from_static(flag)).collect();
    let known = join_flags(&offered, |o| &o.flags, false).unwrap_or_else(system);
    let permanent = join_flags(&offered, |o| &o.permanent, true).unwrap_or_else(system);
    let permanent = if read_only { Vec::new() } else { permanent };
    out.extend(list_line(b"* FLAGS (", &known, b")\r\n"));
    let tail = b")] Flags that are kept\r\n";
    out.extend(list_line(b"* OK [PERMANENTFLAGS (", &permanent, tail));
}

/// The flags of both sides: all that either knows, or, for those that are kept, what both keep. A
/// message may come to lie on either side, so a keyword must be welcome on both. `None` while no
/// side was asked.
fn join_flags(
    offered: &Sides<Option<FlagsOffered>>,
    of: impl Fn(&FlagsOffered) -> &Vec<Bytes>,
    on_both: bool,
) -> Option<Vec<Bytes>> {
    let has = |list: &[Bytes], flag: &[u8]| list.iter().any(|f| f.eq_ignore_ascii_case(flag));
    let mut joined = match (&offered.old, &offered.new) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => of(one).clone(),
        (Some(old), Some(new)) => {
            let (old, new) = (of(old), of(new));
            let anything = |list: &[Bytes]| has(list, b"\\*");
            let mut joined = old.clone();
            joined.extend(new.iter().filter(|flag| !has(old, flag)).cloned());
            if on_both {
                let kept = |list: &[Bytes], flag: &[u8]| {
                    has(list, flag) || (anything(list) && flag.first() != Some(&b'\\'))
                };
                joined.retain(|flag| kept(old, flag) && kept(new, flag));
            }
            joined
        }
    };
    joined.retain(|flag| !flag.eq_ignore_ascii_case(b"\\Recent"));
    Some(joined)
}

fn list_line(head: &[u8], flags: &[Bytes], tail: &[u8]) -> Vec<u8> {
    let mut line = head.to_vec();
    line.extend(flags.join(&b' '));
    line.extend_from_slice(tail);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(flags: &[&'static str]) -> Option<FlagsOffered> {
        let flags: Vec<Bytes> = flags.iter().map(|f| Bytes::from_static(f.as_bytes())).collect();
        Some(FlagsOffered { permanent: flags.clone(), flags })
    }

    #[test]
    fn a_keyword_is_kept_if_both_sides_keep_it() {
        let sides = Sides {
            old: offered(&["\\Seen", "$Forwarded", "Old", "\\*"]),
            new: offered(&["\\Seen", "$forwarded"]),
        };
        let kept = join_flags(&sides, |o| &o.permanent, true).unwrap();
        assert_eq!(kept, [&b"\\Seen"[..], b"$Forwarded"]);
        let known = join_flags(&sides, |o| &o.flags, false).unwrap();
        assert_eq!(known.len(), 4);
    }

    #[test]
    fn any_keyword_is_kept_if_both_sides_keep_any() {
        let sides =
            Sides { old: offered(&["\\Seen", "\\*"]), new: offered(&["\\Seen", "\\*", "x"]) };
        let kept = join_flags(&sides, |o| &o.permanent, true).unwrap();
        assert_eq!(kept, [&b"\\Seen"[..], b"\\*", b"x"]);
        assert_eq!(join_flags(&Sides::default(), |o| &o.permanent, true), None);
    }
}
