//! What clients are offered: what is right over the merged view of these two servers (V10).
//!
//! The set depends on the servers alone, as they were last found, and neither on the account nor on
//! the moment: clients remember it.

use crate::backend::Learned;
use crate::base::Side;

/// A capability that clients may be offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Its name on the wire.
    pub name: &'static str,
    /// What both servers must have for it to be right. Nothing: the proxy does it alone, or does
    /// without where a server lacks it.
    pub needs: &'static [&'static str],
}

/// Every capability that may be offered, in the order in which clients are told.
///
/// What concerns the login itself (STARTTLS, AUTH=, LOGINDISABLED) depends on the connection.
pub const CAPABILITIES: [Capability; 13] = [
    always("IMAP4rev1"),
    always("SASL-IR"),
    always("LITERAL+"),
    always("ID"),
    always("ENABLE"),
    always("IDLE"),
    always("NAMESPACE"),
    always("CHILDREN"),
    always("SPECIAL-USE"),
    always("UIDPLUS"),
    always("UNSELECT"),
    always("MOVE"),
    always("ESEARCH"),
];

const fn always(name: &'static str) -> Capability {
    Capability { name, needs: &[] }
}

/// What is offered over two servers as they were found.
#[derive(Debug)]
pub struct Offer {
    version: u64,
    text: Box<str>,
}

impl Offer {
    /// What is right over these servers. Of one that nobody has logged in to yet nothing is
    /// expected.
    pub fn new(learned: &Learned) -> Offer {
        let version = learned.version();
        let profiles = Side::BOTH.map(|side| learned.profile(side));
        let has = |name: &str| profiles.iter().all(|p| p.as_ref().is_some_and(|p| p.can(name)));
        let right = CAPABILITIES.iter().filter(|c| c.needs.iter().all(|name| has(name)));
        let text = right.map(|c| c.name).collect::<Vec<_>>().join(" ").into();
        Offer { version, text }
    }

    /// The version of what was [`Learned`] that it stands on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The names, divided by spaces.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a capability is offered.
    pub fn has(&self, name: &str) -> bool {
        self.text.split(' ').any(|offered| offered == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend::Profile;
    use crate::base::Sides;

    fn profile(names: &str) -> Option<Profile> {
        Some(Profile::new(names.split(' ').map(str::to_owned), &BTreeSet::new()))
    }

    #[test]
    fn v10_nothing_is_offered_that_a_server_nobody_knows_would_need() {
        let nobody = Offer::new(&Learned::default());
        let alone: Vec<&str> =
            CAPABILITIES.iter().filter(|c| c.needs.is_empty()).map(|c| c.name).collect();
        assert_eq!(nobody.text(), alone.join(" "));
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
}
