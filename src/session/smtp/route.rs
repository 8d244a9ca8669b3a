//! Which side an address belongs to (DESIGN §9): pure, but for what the index knows of accounts.

use crate::base::{AccountName, Phase, Side};
use crate::config::{Config, Unknown};
use crate::smtp::{Address, Domain};

/// Where a recipient may be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// Sides in the order in which they are asked.
    pub sides: Vec<Side>,
    /// Whether a side that is away is passed over, because the recipient's mail may lie on either.
    pub either: bool,
    /// Whose mail it is, as far as that is told by the address alone.
    pub account: Option<AccountName>,
}

/// What an address is to the proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An address in a domain that is served, or the postmaster's; its tag is no part of the
    /// account's name. `None` where no account can have that name.
    Served(Option<AccountName>),
    /// Anybody else's.
    Foreign,
    /// It asks the server to send the mail on.
    Routed,
}

/// What an address is to the proxy.
pub(super) fn kind(config: &Config, address: &Address) -> Kind {
    let domain = match address.domain() {
        None => return Kind::Served(None),
        Some(Domain::Literal(_)) => return Kind::Foreign,
        Some(Domain::Name(name)) => name.to_lowercase(),
    };
    if !config.accounts.domains.contains(&domain) {
        return Kind::Foreign;
    }
    // `ann%elsewhere@here`, `elsewhere!ann@here` and `"ann@elsewhere"@here` are old ways to say
    // where to send it from here, and a server that trusts the proxy might do so.
    if address.local().contains(['%', '!', '@']) {
        return Kind::Routed;
    }
    let local = match config.smtp.delimiter {
        Some(sign) => address.local().split_once(sign).map_or(address.local(), |(local, _)| local),
        None => address.local(),
    };
    // A tag without anything before it is no tag.
    let local = if local.is_empty() { address.local() } else { local };
    Kind::Served(AccountName::canonical(&format!("{local}@{domain}"), None))
}

/// Where mail for an address that is no known account goes.
pub(super) fn unknown(config: &Config, account: Option<AccountName>) -> Route {
    let sides = match config.smtp.unknown {
        Unknown::Old => vec![Side::Old],
        Unknown::New => vec![Side::New],
        // Whoever is seen first gets this phase: what only new holds is not seen in phase old.
        Unknown::Ask if config.accounts.phase == Phase::Old => vec![Side::Old, Side::New],
        Unknown::Ask => vec![Side::New, Side::Old],
    };
    Route { sides, either: false, account }
}

/// Where mail for a known account in phase merged goes.
pub(super) fn merged(first: Side, account: AccountName) -> Route {
    Route { sides: vec![first, first.other()], either: true, account: Some(account) }
}

/// Where mail for a known account in phase old or new goes.
pub(super) fn only(side: Side, account: AccountName) -> Route {
    Route { sides: vec![side], either: false, account: Some(account) }
}
