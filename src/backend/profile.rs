//! What a server can do, as far as the proxy makes use of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tracing::warn;

use crate::base::{Mechanism, Side, Sides};
use crate::config::Quirk;

/// What IMAP4rev2 holds of extensions to IMAP4rev1 (RFC 9051, appendix E), as far as it matters here.
const IN_REV2: [&str; 17] = [
    "BINARY",
    "CHILDREN",
    "CREATE-SPECIAL-USE",
    "ENABLE",
    "ESEARCH",
    "IDLE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LITERAL-",
    "MOVE",
    "NAMESPACE",
    "SASL-IR",
    "SEARCHRES",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "UIDPLUS",
    "UNSELECT",
];

/// A server's capabilities after login, less those the operator masked and those that its quirks
/// make useless.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    names: BTreeSet<String>,
    quirks: BTreeSet<Quirk>,
}

/// What stands before a quirk's name where a profile is written down: no capability begins so.
const QUIRK: char = '!';

/// What both servers offered when somebody logged in there last: what is offered to clients before
/// they log in depends on it (DESIGN §8).
#[derive(Debug, Default)]
pub struct Learned {
    sides: Sides<ArcSwapOption<Profile>>,
    /// Whether a side takes tokens, as far as it tells whom it does not know.
    tokens: Sides<AtomicBool>,
    version: AtomicU64,
}

impl Learned {
    /// What was remembered of both.
    pub fn new(remembered: Sides<Option<Profile>>) -> Learned {
        let sides = remembered.map(|_, profile| ArcSwapOption::from(profile.map(Arc::new)));
        Learned { sides, tokens: Sides::default(), version: AtomicU64::new(0) }
    }

    /// What a side offers; `None` before anybody has logged in there.
    pub fn profile(&self, side: Side) -> Option<Arc<Profile>> {
        self.sides[side].load_full()
    }

    /// Whether a side lets users in with a bearer token.
    pub fn takes_tokens(&self, side: Side) -> bool {
        match self.profile(side) {
            Some(profile) => profile.for_tokens().is_some(),
            None => self.tokens[side].load(Ordering::Acquire),
        }
    }

    /// A server told what it offers before anybody is logged in. Where users have nothing but
    /// tokens, that must be known before the first of them can log in.
    pub fn note_stranger(&self, side: Side, profile: &Profile) {
        let takes = profile.for_tokens().is_some();
        if self.tokens[side].swap(takes, Ordering::AcqRel) != takes {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes what a server told after a login. Returns it with the quirks that were found before.
    pub fn note(&self, side: Side, profile: &Profile) -> Profile {
        let before = self.profile(side);
        let mut profile = profile.clone();
        for quirk in before.iter().flat_map(|before| &before.quirks) {
            profile.add(*quirk);
        }
        if before.as_deref() == Some(&profile) {
            return profile;
        }
        if let Some(before) = before {
            let more: Vec<&String> = profile.names.difference(&before.names).collect();
            let less: Vec<&String> = before.names.difference(&profile.names).collect();
            warn!(%side, ?more, ?less, "the server offers other capabilities than before");
        }
        self.sides[side].store(Some(Arc::new(profile.clone())));
        self.version.fetch_add(1, Ordering::AcqRel);
        profile
    }

    /// A server shows a quirk.
    pub fn note_quirk(&self, side: Side, quirk: Quirk) {
        let Some(before) = self.profile(side).filter(|known| !known.shows(quirk)) else { return };
        warn!(%side, quirk = quirk.name(), "the server does what it should not");
        let mut profile = Profile::clone(&before);
        profile.add(quirk);
        self.note(side, &profile);
    }
}

impl Profile {
    /// Takes a CAPABILITY list (upper case), leaving out what is masked; or what
    /// [`words`](Self::words) gave.
    pub fn new(
        names: impl IntoIterator<Item = String>,
        mask: &BTreeSet<String>,
        quirks: &BTreeSet<Quirk>,
    ) -> Profile {
        let mut profile = Profile::default();
        for name in names {
            match name.strip_prefix(QUIRK) {
                Some(quirk) => {
                    // One that is not known any more is none any more.
                    let known = Quirk::ALL.into_iter().filter(|known| known.name() == quirk);
                    profile.quirks.extend(known);
                }
                None if mask.contains(&name) => {}
                None => {
                    profile.names.insert(name);
                }
            }
        }
        let quirks: Vec<Quirk> = profile.quirks.union(quirks).copied().collect();
        quirks.into_iter().for_each(|quirk| profile.add(quirk));
        profile
    }

    /// The server shows a quirk.
    pub fn add(&mut self, quirk: Quirk) {
        self.quirks.insert(quirk);
        match quirk {
            Quirk::NoModseq => {
                self.names.remove("CONDSTORE");
                self.names.remove("QRESYNC");
            }
            // See `list_special_use`.
            Quirk::NoListOptions => {}
            // See `Conn::queue`; and a literal must wait for its server, as without LITERAL+.
            Quirk::OneAtATime => {
                self.names.remove("LITERAL+");
            }
        }
    }

    /// Whether the server is known for this.
    pub fn shows(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// All there is to know, to be written down: names and quirks.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let quirks = self.quirks.iter().map(|quirk| format!("{QUIRK}{}", quirk.name()));
        self.names.iter().cloned().chain(quirks)
    }

    /// Whether the server names this capability (upper case).
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether the server has this extension (upper case), by its name or as a part of IMAP4rev2.
    /// Rights it tells as letters in any order (RFC 4314 §2.2).
    pub fn can(&self, name: &str) -> bool {
        if let Some(rights) = name.strip_prefix("RIGHTS=") {
            let mut told = self.names.iter().filter_map(|name| name.strip_prefix("RIGHTS="));
            return told.any(|told| rights.chars().all(|right| told.contains(right)));
        }
        self.has(name) || (IN_REV2.contains(&name) && self.has("IMAP4REV2"))
    }

    /// The mechanisms for bearer tokens that the server has.
    pub fn mechanisms_for_tokens(&self) -> impl Iterator<Item = Mechanism> {
        let has = |mechanism: &Mechanism| self.has(&format!("AUTH={}", mechanism.name()));
        Mechanism::OF_TOKENS.into_iter().filter(has)
    }

    /// How a bearer token is shown to it.
    pub fn for_tokens(&self) -> Option<Mechanism> {
        self.mechanisms_for_tokens().next()
    }

    /// Literals need no `+` of the server first (RFC 7888), whatever their size.
    pub fn literal_plus(&self) -> bool {
        self.has("LITERAL+")
    }

    /// UID EXPUNGE, APPENDUID and COPYUID (RFC 4315).
    pub fn uidplus(&self) -> bool {
        self.can("UIDPLUS")
    }

    /// MODSEQs (RFC 7162).
    pub fn condstore(&self) -> bool {
        self.can("CONDSTORE")
    }

    /// MOVE (RFC 6851).
    pub fn has_move(&self) -> bool {
        self.can("MOVE")
    }

    /// IDLE (RFC 2177).
    pub fn idle(&self) -> bool {
        self.can("IDLE")
    }

    /// SEARCH RETURN (RFC 4731).
    pub fn esearch(&self) -> bool {
        self.can("ESEARCH")
    }

    /// LIST … RETURN (SPECIAL-USE …) (RFC 5258 with RFC 6154).
    pub fn list_special_use(&self) -> bool {
        let knows = self.can("LIST-EXTENDED") && self.can("SPECIAL-USE");
        knows && !self.shows(Quirk::NoListOptions)
    }

    /// COMPRESS (RFC 4978) by the one algorithm there is.
    pub fn compress(&self) -> bool {
        self.has("COMPRESS=DEFLATE")
    }

    /// STATUS (DELETED) (RFC 9051 §6.3.11, RFC 9208 §4.1.1).
    pub fn counts_deleted(&self) -> bool {
        self.has("IMAP4REV2") || self.has("QUOTA=RES-MESSAGE")
    }

    /// The largest message that may be appended to any mailbox, if the server tells one (RFC 7889).
    pub fn append_limit(&self) -> Option<u64> {
        self.names.iter().find_map(|name| name.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }

    /// The NAMESPACE command (RFC 2342).
    pub fn namespace(&self) -> bool {
        self.can("NAMESPACE")
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}
