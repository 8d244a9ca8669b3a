//! Identifiers of mailboxes and messages that outlive a name and a UID (RFC 8474).

use std::fmt;

use super::Uid;
use crate::base::{AccountName, MailboxName};

/// MAILBOXID: which mailbox this is, whatever it is called by now (RFC 8474 §4).
///
/// Made of the name under which the mailbox was first seen and of its UIDVALIDITY, which no other
/// mailbox of the account ever has together, so that it can be made again from what is left when
/// an index is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; ObjectId::LEN]);

/// EMAILID: what a message holds, wherever it was copied to (RFC 8474 §5.1).
///
/// It names the place where the content first had a virtual UID (V2: such a place means one
/// message for ever); a copy that COPY or MOVE made has that of its source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EmailId {
    /// The mailbox in which the message appeared.
    pub mailbox: ObjectId,
    /// Its UID there.
    pub uid: Uid,
}

impl ObjectId {
    /// Octets of an identifier: two mailboxes do not get the same one by chance.
    const LEN: usize = 16;

    /// Of the mailbox that was first seen under this name and has this UIDVALIDITY.
    pub fn new(account: &AccountName, name: &MailboxName, uid_validity: u32) -> ObjectId {
        let mut hasher = blake3::Hasher::new();
        // No name of an account holds this octet.
        hasher.update(account.as_str().as_bytes()).update(b"/");
        hasher.update(&uid_validity.to_be_bytes()).update(name.as_bytes());
        let mut id = [0; ObjectId::LEN];
        hasher.finalize_xof().fill(&mut id);
        ObjectId(id)
    }

    /// As it is kept.
    pub fn to_bytes(self) -> [u8; ObjectId::LEN] {
        self.0
    }

    /// As it was kept.
    pub fn from_bytes(octets: [u8; ObjectId::LEN]) -> ObjectId {
        ObjectId(octets)
    }

    fn write_hex(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl EmailId {
    /// Reads what a client was told; `None` for an identifier that is none of ours.
    pub fn parse(text: &[u8]) -> Option<EmailId> {
        let (hex, uid) = text.strip_prefix(b"E")?.split_at_checked(2 * ObjectId::LEN)?;
        let mut mailbox = [0; ObjectId::LEN];
        for (octet, pair) in mailbox.iter_mut().zip(hex.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *octet = u8::from_str_radix(pair, 16).ok()?;
        }
        let uid = std::str::from_utf8(uid.strip_prefix(b"-")?).ok()?.parse().ok()?;
        let id = EmailId { mailbox: ObjectId(mailbox), uid: Uid(uid) };
        // Case and leading zeros make another identifier.
        (id.to_string().as_bytes() == text).then_some(id)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("M")?;
        self.write_hex(f)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EmailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("E")?;
        self.mailbox.write_hex(f)?;
        write!(f, "-{}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(account: &str, name: &str, uid_validity: u32) -> ObjectId {
        let account = AccountName::canonical(account, Some("example.com")).unwrap();
        ObjectId::new(&account, &MailboxName::new(name.as_bytes()).unwrap(), uid_validity)
    }

    #[test]
    fn each_mailbox_has_its_own_and_always_the_same() {
        let one = of("ann", "Work", 7);
        assert_eq!(one, of("ann@example.com", "Work", 7));
        for other in [of("bob", "Work", 7), of("ann", "Wor", 7), of("ann", "Work", 8)] {
            assert_ne!(one, other);
        }
        // On the wire and in an index: it may never change.
        assert_eq!(one.to_string(), "M3f414dbd882d4b1ead3faf9dbb73ff93");
        assert_eq!(ObjectId::from_bytes(one.to_bytes()), one);
    }

    #[test]
    fn only_what_was_told_is_read() {
        let id = EmailId { mailbox: of("ann", "Work", 7), uid: Uid(4_294_967_295) };
        let text = id.to_string();
        assert_eq!(EmailId::parse(text.as_bytes()), Some(id));
        let wrong = [
            text.replace("-4", "-04"),
            text.replace("-4", "-+4"),
            text.replace("-4", "-14"),
            text.replace('E', "M"),
            text.to_uppercase(),
            text[..30].to_owned(),
            format!("E+{}", &text[2..]),
            String::new(),
        ];
        for text in wrong {
            assert_eq!(EmailId::parse(text.as_bytes()), None, "{text}");
        }
    }
}
