//! SELECT, EXAMINE, CLOSE, UNSELECT, and the state of a session that has a mailbox open.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{FlagNews, FlagsOffered, Mailbox};
use crate::base::{MailboxName, Sides};
use crate::uid::UidMap;

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
}

impl Session {
    /// SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2).
    pub(super) async fn select(
        &mut self,
        user: &User,
        name: &MailboxName,
        read_only: bool,
    ) -> Result<Reply, Failure> {
        // Whatever comes of it, the mailbox that was open is not open any more.
        self.selected = None;
        let mailbox = user.account.mailbox(&user.access, name).await?;
        mailbox.refresh(&user.access).await?;
        mailbox.look_into();
        // Before the view is taken: nothing may fall between the two.
        let flags = mailbox.flag_news();
        let view = mailbox.view();
        let offered = mailbox.flags_offered();
        let system = || SYSTEM_FLAGS.iter().map(|flag| Bytes::from_static(flag)).collect();
        let known = join_flags(&offered, |o| &o.flags, false).unwrap_or_else(system);
        let permanent = join_flags(&offered, |o| &o.permanent, true).unwrap_or_else(system);

        let client = &mut self.client;
        client.line(list_line(b"* FLAGS (", &known, b")"));
        let permanent = if read_only { Vec::new() } else { permanent };
        let tail = b")] Flags that are kept";
        client.line(list_line(b"* OK [PERMANENTFLAGS (", &permanent, tail));
        client.line(format!("* {} EXISTS", view.map.len()));
        // Who was told first of a message is known by the servers to the proxy's pools only.
        client.line("* 0 RECENT");
        client.line(format!("* OK [UIDVALIDITY {}] UIDs valid", view.uid_validity));
        client.line(format!("* OK [UIDNEXT {}] Predicted next UID", view.uid_next));
        self.selected = Some(Selected {
            numbering: view.map.clone(),
            version: view.version,
            mailbox,
            read_only,
            flags,
            all_flags: false,
        });
        Ok(if read_only {
            Reply::ok_with("READ-ONLY", "Examine completed")
        } else {
            Reply::ok_with("READ-WRITE", "Select completed")
        })
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
