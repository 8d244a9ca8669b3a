//! What a server can do, as far as the proxy makes use of it.

use std::collections::BTreeSet;

/// A server's capabilities after login, less those the operator masked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    names: BTreeSet<String>,
}

impl Profile {
    /// Takes a CAPABILITY list (upper case), leaving out what is masked.
    pub fn new(names: impl IntoIterator<Item = String>, mask: &BTreeSet<String>) -> Profile {
        let masked = |name: &String| mask.contains(name);
        Profile { names: names.into_iter().filter(|name| !masked(name)).collect() }
    }

    /// Whether the server offers this capability (upper case).
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Literals need no `+` of the server first (RFC 7888), whatever their size.
    pub fn literal_plus(&self) -> bool {
        self.has("LITERAL+")
    }

    /// UID EXPUNGE, APPENDUID and COPYUID (RFC 4315).
    pub fn uidplus(&self) -> bool {
        self.has("UIDPLUS") || self.has("IMAP4REV2")
    }

    /// MOVE (RFC 6851).
    pub fn has_move(&self) -> bool {
        self.has("MOVE") || self.has("IMAP4REV2")
    }

    /// IDLE (RFC 2177).
    pub fn idle(&self) -> bool {
        self.has("IDLE") || self.has("IMAP4REV2")
    }

    /// SEARCH RETURN (RFC 4731).
    pub fn esearch(&self) -> bool {
        self.has("ESEARCH") || self.has("IMAP4REV2")
    }

    /// LIST … RETURN (SPECIAL-USE …) (RFC 5258 with RFC 6154).
    pub fn list_special_use(&self) -> bool {
        (self.has("LIST-EXTENDED") && self.has("SPECIAL-USE")) || self.has("IMAP4REV2")
    }

    /// COMPRESS (RFC 4978) by the one algorithm there is.
    pub fn compress(&self) -> bool {
        self.has("COMPRESS=DEFLATE")
    }

    /// The NAMESPACE command (RFC 2342).
    pub fn namespace(&self) -> bool {
        self.has("NAMESPACE") || self.has("IMAP4REV2")
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}
