//! What clients are offered: what is right over the merged view of these two servers (V10).
//!
//! The set depends on the servers alone, as they were last found, and neither on the account nor on
//! the moment: clients remember it.

use crate::backend::Learned;
use crate::base::{Mechanism, Side, Sides};

/// A capability that clients may be offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Its name on the wire.
    pub name: &'static str,
    /// What both servers must have for it to be right. Nothing: the proxy does it alone, or does
    /// without where a server lacks it.
    pub needs: &'static [&'static str],
    /// What new must have beyond that.
    pub needs_on_new: &'static [&'static str],
}

/// Every capability that may be offered, in the order in which clients are told.
///
/// What concerns the login itself (STARTTLS, AUTH=, LOGINDISABLED) depends on the connection.
pub const CAPABILITIES: &[Capability] = &[
    always("IMAP4rev1"),
    // All its other parts are there in any case.
    both("IMAP4rev2", &["BINARY"]),
    always("SASL-IR"),
    always("LITERAL+"),
    always("ID"),
    always("ENABLE"),
    always("IDLE"),
    always("NOTIFY"),
    always("NAMESPACE"),
    always("CHILDREN"),
    always("SPECIAL-USE"),
    new("CREATE-SPECIAL-USE", &["CREATE-SPECIAL-USE"]),
    always("LIST-EXTENDED"),
    always("LIST-STATUS"),
    always("STATUS=SIZE"),
    always(APPENDLIMIT),
    // Identifiers of the proxy's own: they are the same wherever a message lies.
    always("OBJECTID"),
    new("QUOTA", &["QUOTA"]),
    new("QUOTA=RES-STORAGE", &["QUOTA=RES-STORAGE"]),
    new("QUOTA=RES-MESSAGE", &["QUOTA=RES-MESSAGE"]),
    new("QUOTA=RES-MAILBOX", &["QUOTA=RES-MAILBOX"]),
    new("QUOTA=RES-ANNOTATION-STORAGE", &["QUOTA=RES-ANNOTATION-STORAGE"]),
    new("METADATA", &["METADATA"]),
    both("ACL", &["ACL"]),
    both("RIGHTS=texk", &["RIGHTS=TEXK"]),
    always("UIDPLUS"),
    both("BINARY", &["BINARY"]),
    // Whether a message whose header is UTF-8 may be kept, the servers say.
    both("UTF8=ACCEPT", &["UTF8=ACCEPT"]),
    new("MULTIAPPEND", &["MULTIAPPEND"]),
    always("CATENATE"),
    always("REPLACE"),
    always("UNSELECT"),
    always("MOVE"),
    always("ESEARCH"),
    always("SEARCHRES"),
    always("WITHIN"),
    always("SORT"),
    always("SORT=DISPLAY"),
    always("ESORT"),
    always("THREAD=ORDEREDSUBJECT"),
    always("THREAD=REFERENCES"),
    always("THREAD=REFS"),
    both("PREVIEW", &["PREVIEW"]),
    always("PARTIAL"),
    always("CONTEXT=SEARCH"),
    always("CONTEXT=SORT"),
    // SEARCH compares strings as each server does.
    both("I18NLEVEL=1", &["I18NLEVEL=1"]),
    both("CONDSTORE", &["CONDSTORE"]),
    // What vanished is known from the map: of the servers it needs no QRESYNC.
    both("QRESYNC", &["CONDSTORE"]),
    always("INPROGRESS"),
    always("COMPRESS=DEFLATE"),
    always("UNAUTHENTICATE"),
];

/// The one capability that is told with a value (RFC 7889).
const APPENDLIMIT: &str = "APPENDLIMIT";

const fn always(name: &'static str) -> Capability {
    Capability { name, needs: &[], needs_on_new: &[] }
}

const fn both(name: &'static str, needs: &'static [&'static str]) -> Capability {
    Capability { name, needs, needs_on_new: &[] }
}

const fn new(name: &'static str, needs_on_new: &'static [&'static str]) -> Capability {
    Capability { name, needs: &[], needs_on_new }
}

/// What is offered over two servers as they were found.
#[derive(Debug)]
pub struct Offer {
    version: u64,
    text: Box<str>,
    append_limit: u64,
    tokens: bool,
}

impl Offer {
    /// What is right over these servers, for messages of at most `largest` octets, where `judge` says
    /// who is let in. Of a server that
    /// nobody has logged in to yet nothing is expected.
    pub fn new(learned: &Learned, largest: u64, judge: Side) -> Offer {
        let version = learned.version();
        let profiles = Sides::from_fn(|side| learned.profile(side));
        let can = |side: Side, name: &str| profiles[side].as_ref().is_some_and(|p| p.can(name));
        let right = |c: &&Capability| {
            let both = |name: &&str| Side::BOTH.iter().all(|side| can(*side, name));
            c.needs.iter().all(both) && c.needs_on_new.iter().all(|name| can(Side::New, name))
        };
        // A message that only one of both would take could never be brought to the other.
        let told = profiles.iter().filter_map(|(_, p)| p.as_ref()?.append_limit()).min();
        let append_limit = told.map_or(largest, |told| told.min(largest));
        let by_mailbox = Side::BOTH.iter().any(|side| can(*side, APPENDLIMIT));
        let name = |c: &Capability| match c.name {
            APPENDLIMIT if !by_mailbox => format!("{APPENDLIMIT}={append_limit}"),
            name => name.to_owned(),
        };
        let text = CAPABILITIES.iter().filter(right).map(name).collect::<Vec<_>>().join(" ");
        let tokens = learned.takes_tokens(judge);
        Offer { version, text: text.into(), append_limit, tokens }
    }

    /// The largest message that may be appended to any mailbox (RFC 7889).
    pub fn append_limit(&self) -> u64 {
        self.append_limit
    }

    /// The mechanisms by which clients may show a token. Which of them the server has makes no
    /// difference: all carry the same.
    pub fn for_tokens(&self) -> &'static [Mechanism] {
        if self.tokens { &Mechanism::OF_TOKENS } else { &[] }
    }

    /// The version of what was [`Learned`] that it stands on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The names, divided by spaces.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name under which a capability, spelled in capitals or not, is offered, if it is.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.text.split(' ').find(|offered| offered.eq_ignore_ascii_case(name))
    }

    /// Whether a capability is offered.
    pub fn has(&self, name: &str) -> bool {
        let told = |offered: &str| offered.split_once('=').is_some_and(|(n, _)| n == APPENDLIMIT);
        let offered = |offered| offered == name || (name == APPENDLIMIT && told(offered));
        self.text.split(' ').any(offered)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend::Profile;

    const LARGEST: u64 = 1000;

    fn profile(names: &str) -> Option<Profile> {
        Some(Profile::new(names.split(' ').map(str::to_owned), &BTreeSet::new(), &BTreeSet::new()))
    }

    fn offer(old: &str, new: &str) -> Offer {
        Offer::new(
            &Learned::new(Sides { old: profile(old), new: profile(new) }),
            LARGEST,
            Side::Old,
        )
    }

    #[test]
    fn v10_nothing_is_offered_that_a_server_nobody_knows_would_need() {
        let nobody = Offer::new(&Learned::default(), LARGEST, Side::Old);
        let alone = CAPABILITIES.iter().filter(|c| c.needs.is_empty() && c.needs_on_new.is_empty());
        let names: Vec<&str> = alone.map(|c| c.name).collect();
        assert_eq!(nobody.text().replace("=1000", ""), names.join(" "));
        assert!(nobody.has("MOVE") && !nobody.has("MOV"));
    }

    #[test]
    fn v10_the_offer_changes_with_the_servers_and_with_nothing_else() {
        let learned = Learned::new(Sides { old: profile("IDLE"), new: profile("IDLE") });
        let before = learned.version();
        learned.note(Side::Old, &profile("IDLE").unwrap());
        assert_eq!(learned.version(), before);
        learned.note(Side::Old, &profile("IDLE MOVE").unwrap());
        assert_ne!(learned.version(), before);
    }

    #[test]
    fn v10_what_new_alone_does_is_offered_if_new_has_it() {
        assert!(offer("IDLE", "CREATE-SPECIAL-USE").has("CREATE-SPECIAL-USE"));
        assert!(!offer("CREATE-SPECIAL-USE", "IDLE").has("CREATE-SPECIAL-USE"));
    }

    #[test]
    fn v10_rights_are_told_if_both_know_them_in_whatever_order() {
        assert!(offer("RIGHTS=KXTEN", "RIGHTS=TEXK").has("RIGHTS=texk"));
        assert!(!offer("RIGHTS=KXTEN", "RIGHTS=TEX").has("RIGHTS=texk"));
        assert!(!offer("RIGHTS=KXTEN", "ACL").has("RIGHTS=texk"));
    }

    #[test]
    fn v10_tokens_are_offered_if_who_judges_takes_them() {
        let names = |old, new| {
            let offer = offer(old, new);
            offer.for_tokens().iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>()
        };
        assert_eq!(names("AUTH=XOAUTH2", "IDLE"), ["OAUTHBEARER", "XOAUTH2"]);
        assert_eq!(names("IDLE", "AUTH=XOAUTH2 AUTH=OAUTHBEARER"), [""; 0]);
    }

    #[test]
    fn the_largest_message_is_one_that_nobody_refuses() {
        let limit = |old, new| offer(old, new).append_limit();
        assert_eq!(limit("IDLE", "IDLE"), 1000);
        assert_eq!(limit("APPENDLIMIT=700", "APPENDLIMIT=800"), 700);
        assert_eq!(limit("APPENDLIMIT=7000", "IDLE"), 1000);
        let told = |old, new| {
            offer(old, new).text().split(' ').find(|n| n.contains("LIMIT")).map(str::to_owned)
        };
        assert_eq!(told("IDLE", "APPENDLIMIT=7").unwrap(), "APPENDLIMIT=7");
        assert_eq!(told("APPENDLIMIT", "APPENDLIMIT=7").unwrap(), "APPENDLIMIT");
        assert!(offer("IDLE", "IDLE").has("APPENDLIMIT"));
    }
}
