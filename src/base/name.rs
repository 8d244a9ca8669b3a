//! Names: of an account (canonical) and of a mailbox (as a server spells it).

use std::fmt;

/// The one canonical name of an account: lower case, with its domain (DESIGN §8), so that `Ann`,
/// `ann` and `ann@example.com` are one account with one index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// Canonicalizes what a client typed; a bare user name is completed with `default_domain`.
    ///
    /// `None` for a name that is empty, or holds white space, control characters or `/`: no server
    /// gives such a name to a user, and the index and the logs must not carry it.
    pub fn canonical(typed: &str, default_domain: Option<&str>) -> Option<AccountName> {
        let typed = typed.trim();
        if typed.is_empty()
            || typed.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
        {
            return None;
        }
        let name = match (typed.rsplit_once('@'), default_domain) {
            (Some((local, domain)), _) if local.is_empty() || domain.is_empty() => return None,
            (None, Some(domain)) => format!("{typed}@{domain}"),
            _ => typed.to_owned(),
        };
        Some(AccountName(name.to_lowercase()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or(self.0.as_str(), |(local, _)| local)
    }

    /// What stands behind the last `@`; empty where there is none.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A mailbox's name as it stands on the wire: modified UTF-7 in a well-behaved server, any octets
/// but NUL, CR and LF in others. `INBOX` is always spelled in capitals.
///
/// Which separator divides it, and on which side it is valid, the holder knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<[u8]>);

impl MailboxName {
    /// Takes a name from the wire. `None` if it is empty or holds NUL, CR or LF, which no IMAP
    /// string form of a mailbox name can carry safely.
    pub fn new(octets: &[u8]) -> Option<MailboxName> {
        if octets.is_empty() || octets.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return None;
        }
        if octets.eq_ignore_ascii_case(b"INBOX") {
            return Some(MailboxName::inbox());
        }
        Some(MailboxName(octets.into()))
    }

    /// `INBOX`.
    pub fn inbox() -> MailboxName {
        MailboxName((*b"INBOX").into())
    }

    /// Whether this is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        *self.0 == *b"INBOX"
    }

    /// The octets as they go onto the wire (unquoted).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_whatever_was_typed() {
        let name = |s| AccountName::canonical(s, Some("example.com")).unwrap().to_string();
        assert_eq!(name("Ann"), "ann@example.com");
        assert_eq!(name("ann@Example.COM"), "ann@example.com");
        assert_eq!(AccountName::canonical("ann", None).unwrap().as_str(), "ann");
        for bad in ["", "@example.com", "ann@", "a b", "a/b", "a\0b", "a\r\nb"] {
            assert_eq!(AccountName::canonical(bad, Some("example.com")), None, "{bad:?}");
        }
    }

    #[test]
    fn inbox_is_one_whatever_its_case() {
        assert!(MailboxName::new(b"inBox").unwrap().is_inbox());
        assert!(!MailboxName::new(b"inbox.x").unwrap().is_inbox());
        assert_eq!(MailboxName::new(b"a\nb"), None);
        assert_eq!(MailboxName::new(b""), None);
    }
}
