//! A dry run: what moving an account would do, found out without changing anything on either server
//! or in the index.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::pass::Scope;
use crate::account::names::{Decided, join};
use crate::account::{Access, AccountError, Accounts, SideFolders, explicit_names, list_with};
use crate::backend::{BackendError, Conn, Lease, Want, text};
use crate::base::{AccountName, MailboxName, Sides};
use crate::config::{Config, Rate};
use crate::imap::names::readable;
use crate::imap::response::{Response, StatusKey};
use crate::imap::write::Parts;
use crate::uid::Place;

/// What moving an account would do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which.
    pub account: String,
    /// Its folders on old, in the order in which they would be moved.
    pub folders: Vec<FolderPlan>,
    /// Messages on old in these folders.
    pub messages: u64,
    /// Of these, as far as is known, not on new yet.
    pub to_go: u64,
    /// Their octets; an estimate where some are on new already.
    pub octets_to_go: u64,
    /// The largest message that new takes, where it tells that.
    pub append_limit: Option<u64>,
    /// The octets that new still takes, where it tells that.
    pub room: Option<u64>,
    /// What stands against it: in words, the account's own first.
    pub hindrances: Vec<String>,
    /// How long it would take at least within the limits of `[trickle]`, in seconds; `None`: there
    /// are none.
    pub seconds: Option<f64>,
}

/// What would become of one folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FolderPlan {
    /// What its client calls it, as people read it.
    pub name: String,
    /// Its name on new, which it has or would get.
    pub new: String,
    /// Whether it would be made there.
    pub is_made: bool,
    /// Messages on old.
    pub messages: u64,
    /// Of these, as far as is known, not on new yet.
    pub to_go: u64,
    /// Their octets; an estimate where some are on new already.
    pub octets_to_go: u64,
    /// Messages on new that may be the same as some on old: they are compared first.
    pub to_match: u64,
    /// Messages that new would refuse for their size, or that are beyond the size asked for.
    pub too_large: u64,
}

/// What a side says of one of its folders.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) messages: u64,
    pub(super) size: Option<u64>,
}

/// Finds it out, with what `access` reaches.
pub async fn plan(
    accounts: &Accounts,
    name: &AccountName,
    access: &Access,
    scope: &Scope,
) -> Result<Plan, AccountError> {
    let config = accounts.config();
    // Connections of its own: they look at mailboxes without taking any news.
    let mut old = access.pools.old.lend(&Want::Nothing).await?;
    let mut new = access.pools.new.lend(&Want::Nothing).await?;
    let listed = Sides { old: list_with(&mut old).await?, new: list_with(&mut new).await? };
    let (decided, known) = remembered(accounts, name).await?;
    let styles = listed.as_ref().map(|_, side| side.style.clone());
    let explicit = explicit_names(config);
    let joined = join(&listed.old.listed, &listed.new.listed, &styles, &explicit, &decided);
    let there = |side: &SideFolders, name: &MailboxName| {
        side.listed.iter().any(|l| l.name == *name && l.selectable)
    };
    let mut all: Vec<_> = joined
        .into_iter()
        .filter(|j| j.old.as_ref().is_some_and(|old| there(&listed.old, old)))
        .filter(|j| scope.has_name(&j.client, styles.old.separator))
        .collect();
    all.sort_by_key(|j| Scope::order(&j.client, j.special.is_some()));

    let append_limit = new.profile().append_limit();
    let room = room(&mut new).await?;
    let mut folders = Vec::with_capacity(all.len());
    for one in &all {
        let Some(on_old) = &one.old else { continue };
        let told = status(&mut old, on_old).await?.unwrap_or_default();
        let on_new = one.new.as_ref().filter(|name| there(&listed.new, name));
        let told_new = match on_new {
            Some(name) => status(&mut new, name).await?.unwrap_or_default(),
            None => Told::default(),
        };
        let copied = known.get(&one.client).copied();
        let messages = told.messages;
        let mut to_go = messages.saturating_sub(copied.unwrap_or(0));
        let looks = scope.keys().is_some() || append_limit.is_some() || told.size.is_none();
        let (mut size, mut too_large) = (told.size.unwrap_or(0), 0);
        if looks && messages > 0 {
            let looked = look(&mut old, on_old, scope.keys(), append_limit, told.size.is_none());
            let looked = looked.await?;
            to_go = to_go.min(looked.wanted.saturating_sub(looked.too_large));
            too_large = looked.too_large;
            size = looked.size.unwrap_or(size);
        }
        let octets = u128::from(size) * u128::from(to_go) / u128::from(messages.max(1));
        folders.push(FolderPlan {
            name: readable(one.client.as_bytes()),
            new: readable(one.new_wanted.as_bytes()),
            is_made: on_new.is_none(),
            messages,
            to_go,
            octets_to_go: u64::try_from(octets).unwrap_or(u64::MAX),
            to_match: if copied.is_none() { told_new.messages } else { 0 },
            too_large,
        });
    }
    // They may have a mailbox selected that nobody knows of: they are not lent again.
    Ok(sum_up(name, folders, (append_limit, room), config))
}

fn sum_up(
    name: &AccountName,
    folders: Vec<FolderPlan>,
    (append_limit, room): (Option<u64>, Option<u64>),
    config: &Config,
) -> Plan {
    let sum = |figure: fn(&FolderPlan) -> u64| folders.iter().map(figure).sum::<u64>();
    let (messages, to_go) = (sum(|f| f.messages), sum(|f| f.to_go));
    let (octets_to_go, too_large) = (sum(|f| f.octets_to_go), sum(|f| f.too_large));
    let mut hindrances = Vec::new();
    let reserve = config.trickle.quota_reserve;
    if let Some(room) = room.filter(|room| *room < octets_to_go.saturating_add(reserve)) {
        hindrances.push(format!(
            "new has room for {room} octets, {reserve} of which stay free, and {octets_to_go} are to go"
        ));
    }
    if too_large > 0 {
        let limit = append_limit.map_or(String::new(), |limit| format!(" of {limit} octets"));
        hindrances
            .push(format!("{too_large} messages are beyond new's limit{limit}: they stay on old"));
    }
    let trickle = &config.trickle;
    let rates = [&trickle.total, &trickle.sides.old, &trickle.sides.new, &trickle.account];
    let takes = |rate: &&Rate| {
        let each = [
            (to_go as f64, rate.messages_per_second),
            (octets_to_go as f64, rate.bytes_per_second as f64),
        ];
        each.into_iter().filter(|(_, rate)| *rate > 0.0).map(|(n, rate)| n / rate).reduce(f64::max)
    };
    let seconds = rates.iter().filter_map(takes).reduce(f64::max);
    let account = name.to_string();
    Plan {
        account,
        folders,
        messages,
        to_go,
        octets_to_go,
        append_limit,
        room,
        hindrances,
        seconds,
    }
}

/// What is remembered of the account: what its folders are called, and how many messages of each lie
/// on both sides.
async fn remembered(
    accounts: &Accounts,
    name: &AccountName,
) -> Result<(Vec<Decided>, HashMap<MailboxName, u64>), AccountError> {
    let index = accounts.index();
    let all = index.accounts().await?;
    let Some((_, id, _)) = all.into_iter().find(|(known, ..)| known == name) else {
        return Ok((Vec::new(), HashMap::new()));
    };
    let (mut decided, mut copied) = (Vec::new(), HashMap::new());
    for record in index.mailboxes(id).await? {
        if !record.hidden {
            let stored = index.load(id, record.id).await?;
            if stored.record.sides.old.is_some() {
                let both = |place| matches!(place, Place::Both { .. });
                let runs = stored.map.runs().filter(|run| both(run.place));
                copied.insert(record.client.clone(), runs.map(|run| u64::from(run.len)).sum());
            }
        }
        let (client, hidden) = (record.client, record.hidden);
        decided.push(Decided { client, old: record.old, new: record.new, hidden });
    }
    Ok((decided, copied))
}

/// STATUS, with the octets of all where the server counts them.
pub(super) async fn status(
    conn: &mut Conn,
    name: &MailboxName,
) -> Result<Option<Told>, BackendError> {
    let size = if conn.profile().can("STATUS=SIZE") { " SIZE" } else { "" };
    let mut ask = Parts::new();
    ask.text("STATUS ").mailbox(name).text(&format!(" (MESSAGES{size})"));
    let done = conn.run(&ask).await?;
    let items = done.untagged.into_iter().find_map(|response| match response {
        Response::StatusOf { items, .. } => Some(items),
        _ => None,
    });
    let Some(items) = items.filter(|_| done.status == crate::imap::response::Status::Ok) else {
        return Ok(None);
    };
    let number = |key| items.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let messages = number(StatusKey::Messages).unwrap_or(0);
    Ok(Some(Told { messages, size: number(StatusKey::Size) }))
}

/// What a look into a folder tells.
struct Looked {
    /// Messages that are asked for.
    wanted: u64,
    /// Those of them that new does not take.
    too_large: u64,
    /// The octets of all, where they had to be added up.
    size: Option<u64>,
}

/// Looks into a folder by EXAMINE, which changes nothing there.
async fn look(
    conn: &mut Lease,
    name: &MailboxName,
    keys: Option<&str>,
    limit: Option<u64>,
    add_up: bool,
) -> Result<Looked, BackendError> {
    let mut examine = Parts::new();
    examine.text("EXAMINE ").mailbox(name);
    conn.must("EXAMINE", &examine).await?;
    let keys = keys.unwrap_or("ALL");
    let wanted = count(conn, keys).await?;
    let too_large = match limit {
        Some(limit) => count(conn, &format!("{keys} LARGER {limit}")).await?,
        None => 0,
    };
    let mut size = None;
    if add_up {
        let mut sum = 0u64;
        let each = |fetched: crate::backend::Fetched| sum += fetched.size().unwrap_or(0);
        let done = conn.fetch(&text("FETCH 1:* (UID RFC822.SIZE)"), each).await?;
        size = done.is_ok().then_some(sum);
    }
    Ok(Looked { wanted, too_large, size })
}

async fn count(conn: &mut Conn, keys: &str) -> Result<u64, BackendError> {
    let ret = if conn.profile().esearch() { "RETURN (ALL) " } else { "" };
    let done = conn.must("UID SEARCH", &text(&format!("UID SEARCH {ret}{keys}"))).await?;
    let found = done.untagged.iter().map(|response| match response {
        Response::Search(uids) => uids.len() as u64,
        Response::Esearch { all, .. } => all.iter().map(|(a, b)| u64::from(b - a) + 1).sum(),
        _ => 0,
    });
    Ok(found.sum())
}

/// The octets that new still takes, where it tells.
pub(super) async fn room(new: &mut Conn) -> Result<Option<u64>, BackendError> {
    if !new.profile().can("QUOTA") {
        return Ok(None);
    }
    let done = new.run(&text("GETQUOTAROOT INBOX")).await?;
    let resources = done.untagged.into_iter().filter_map(|response| match response {
        Response::Quota { resources, .. } => Some(resources),
        _ => None,
    });
    let storage = resources.flatten().filter(|(name, ..)| name.eq_ignore_ascii_case(b"STORAGE"));
    // In units of 1,024 octets (RFC 9208 §5.1).
    Ok(storage.map(|(_, used, limit)| limit.saturating_sub(used).saturating_mul(1024)).min())
}
