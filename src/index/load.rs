//! Reading records out of a store. A value that does not read is named by its key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;

use super::encoding::{
    unpack_account, unpack_email, unpack_intent, unpack_mailbox, unpack_measured, unpack_owed,
    unpack_second_copy, unpack_stuck, unpack_verified,
};
use super::error::IndexError;
use super::keys::{Key, Tree, direction_in, number_in};
use super::moving::{Moving, unpack_moving};
use super::pack::unpack_runs;
use super::records::{
    AccountId, AccountRecord, Direction, Intent, MailboxId, MailboxRecord, Measured, Owed,
    SecondCopy, Stored, Stuck, Verified,
};
use super::renaming::{Renaming, unpack_renaming};
use super::store::Store;
use crate::base::AccountName;
use crate::uid::{EmailId, Run, Uid, UidMap, UidSet};

/// All accounts, by number.
pub fn accounts(
    store: &dyn Store,
) -> Result<Vec<(AccountName, AccountId, AccountRecord)>, IndexError> {
    let mut accounts = Vec::new();
    store.scan(&Key::tree(Tree::Accounts), &mut |key, value| {
        let id = number(key, 0)?;
        let (name, record) = unpack_account(value).map_err(damaged(key))?;
        accounts.push((name, AccountId(id), record));
        Ok(())
    })?;
    Ok(accounts)
}

/// What is known of one account.
pub fn account(store: &dyn Store, account: AccountId) -> Result<AccountRecord, IndexError> {
    let key = Key::account(account);
    let value = store.value(&key)?.ok_or(IndexError::UnknownAccount(account))?;
    read_account(&key, &value).map(|(_, record)| record)
}

/// The MOVEs of an account that are under way, by number.
pub fn movings(store: &dyn Store, account: AccountId) -> Result<Vec<(u32, Moving)>, IndexError> {
    let mut movings = Vec::new();
    store.scan(&Key::of_account(Tree::Moving, account), &mut |key, value| {
        let moving = unpack_moving(value).map_err(damaged(key))?;
        movings.push((number(key, 1)?, moving));
        Ok(())
    })?;
    Ok(movings)
}

/// The RENAME of an account that is under way.
pub fn renaming(store: &dyn Store, account: AccountId) -> Result<Option<Renaming>, IndexError> {
    let key = Key::renaming(account);
    let value = store.value(&key)?;
    value.map(|value| unpack_renaming(&value).map_err(damaged(key.as_bytes()))).transpose()
}

/// The stamp of an account's last clean `verify`.
pub fn verified(store: &dyn Store, account: AccountId) -> Result<Option<Verified>, IndexError> {
    let key = Key::verified(account);
    let value = store.value(&key)?;
    value.map(|value| unpack_verified(&value).map_err(damaged(key.as_bytes()))).transpose()
}

/// An account's value.
pub fn read_account(key: &Key, value: &[u8]) -> Result<(AccountName, AccountRecord), IndexError> {
    unpack_account(value).map_err(damaged(key.as_bytes()))
}

/// For each account, the number its next mailbox gets.
pub fn counters(store: &dyn Store) -> Result<HashMap<AccountId, u32>, IndexError> {
    let mut counters = HashMap::new();
    store.scan(&Key::tree(Tree::Counters), &mut |key, value| {
        let next = value.try_into().map_err(|_| damaged(key)("not a number"))?;
        counters.insert(AccountId(number(key, 0)?), u32::from_be_bytes(next));
        Ok(())
    })?;
    Ok(counters)
}

/// The mailboxes of an account, by number.
pub fn mailboxes(store: &dyn Store, account: AccountId) -> Result<Vec<MailboxRecord>, IndexError> {
    let mut mailboxes = Vec::new();
    store.scan(&Key::of_account(Tree::Mailboxes, account), &mut |key, value| {
        let id = MailboxId(number(key, 1)?);
        mailboxes.push(unpack_mailbox(id, value).map_err(damaged(key))?);
        Ok(())
    })?;
    Ok(mailboxes)
}

/// The mailboxes of an account to which second copies may come.
pub fn expecting(store: &dyn Store, account: AccountId) -> Result<HashSet<MailboxId>, IndexError> {
    let mut expecting = HashSet::new();
    store.scan(&Key::of_account(Tree::SecondCopies, account), &mut |key, _| {
        expecting.insert(MailboxId(number(key, 1)?));
        Ok(())
    })?;
    Ok(expecting)
}

/// All there is about one mailbox.
pub fn stored(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Stored, IndexError> {
    let key = Key::mailbox(account, mailbox);
    let record = store.value(&key)?.ok_or(IndexError::UnknownMailbox(account, mailbox))?;
    let record = unpack_mailbox(mailbox, &record).map_err(damaged(key.as_bytes()))?;
    let (chunks, _) = chunks(store, account, mailbox)?;
    let map = UidMap::from_chunks(chunks).map_err(damaged(key.as_bytes()))?;
    // sled may pass over a damaged piece of its log, and with it over chunks that were written together with others.
    if record.map_sum.is_some_and(|sum| sum != map.sum()) {
        return Err(damaged(key.as_bytes())("its map is another one"));
    }
    let intents = intents(store, account, mailbox)?;
    let owed = match store.value(&Key::owed(account, mailbox))? {
        Some(value) => unpack_owed(&value).map_err(damaged(key.as_bytes()))?,
        None => Owed::default(),
    };
    let second_copies = second_copies(store, account, mailbox)?;
    Ok(Stored { record, map, intents, second_copies, stuck: stuck(store, account, mailbox)?, owed })
}

/// The chunks of a mailbox's map, ascending, and their octets in the store.
pub fn chunks(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<(Vec<Vec<Run>>, u64), IndexError> {
    let (mut chunks, mut octets) = (Vec::new(), 0);
    store.scan(&Key::of_mailbox(Tree::Runs, account, mailbox), &mut |key, value| {
        let runs = unpack_runs(value).map_err(damaged(key))?;
        if runs.first().map(|run| run.uid.0) != Some(number(key, 2)?) {
            return Err(damaged(key)("a chunk under another's key"));
        }
        octets += (key.len() + value.len()) as u64;
        chunks.push(runs);
        Ok(())
    })?;
    Ok((chunks, octets))
}

/// The intents of a mailbox, by UID.
pub fn intents(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<(Uid, Direction, Intent)>, IndexError> {
    let mut intents = Vec::new();
    store.scan(&Key::of_mailbox(Tree::Intents, account, mailbox), &mut |key, value| {
        let direction = direction_in(key).ok_or_else(|| damaged(key)("no direction"))?;
        let intent = unpack_intent(value).map_err(damaged(key))?;
        intents.push((Uid(number(key, 2)?), direction, intent));
        Ok(())
    })?;
    Ok(intents)
}

/// The second copies that may come to a mailbox, by UID.
pub fn second_copies(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<(Uid, Direction, SecondCopy)>, IndexError> {
    let mut second_copies = Vec::new();
    store.scan(&Key::of_mailbox(Tree::SecondCopies, account, mailbox), &mut |key, value| {
        let direction = direction_in(key).ok_or_else(|| damaged(key)("no direction"))?;
        let second = unpack_second_copy(value).map_err(damaged(key))?;
        second_copies.push((Uid(number(key, 2)?), direction, second));
        Ok(())
    })?;
    Ok(second_copies)
}

/// The stuck messages of a mailbox, by UID.
pub fn stuck(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<(Uid, Stuck)>, IndexError> {
    let mut all = Vec::new();
    store.scan(&Key::of_mailbox(Tree::Stuck, account, mailbox), &mut |key, value| {
        all.push((Uid(number(key, 2)?), unpack_stuck(value).map_err(damaged(key))?));
        Ok(())
    })?;
    Ok(all)
}

/// What was measured of a mailbox's messages on old.
pub fn measured(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Measured, IndexError> {
    let key = Key::measured(account, mailbox);
    match store.value(&key)? {
        Some(value) => unpack_measured(&value).map_err(damaged(key.as_bytes())),
        None => Ok(Measured::default()),
    }
}

/// How many messages are stuck.
pub fn stuck_messages(store: &dyn Store) -> Result<u64, IndexError> {
    let mut count = 0;
    store.scan(&Key::tree(Tree::Stuck), &mut |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Those messages of a mailbox, among `uids`, that have the EMAILID of another place.
pub fn emails(
    store: &dyn Store,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet<Uid>,
) -> Result<BTreeMap<Uid, EmailId>, IndexError> {
    let mut emails = BTreeMap::new();
    let mut take = |uid: Uid, key: &[u8], value: &[u8]| {
        emails.insert(uid, unpack_email(value).map_err(damaged(key))?);
        Ok(())
    };
    if uids.len() <= FEW {
        for uid in uids.iter() {
            let key = Key::email(account, mailbox, uid);
            if let Some(value) = store.value(&key)? {
                take(uid, key.as_bytes(), &value)?;
            }
        }
        return Ok(emails);
    }
    store.scan(&Key::of_mailbox(Tree::Emails, account, mailbox), &mut |key, value| {
        let uid = Uid(number(key, 2)?);
        if uids.contains(uid) { take(uid, key, value) } else { Ok(()) }
    })?;
    Ok(emails)
}

/// So many values are asked for one by one, more are found by a scan.
const FEW: u32 = 64;

/// A number of [`Tree::Meta`], big endian.
pub fn meta<const N: usize>(store: &dyn Store, name: &str) -> Result<Option<[u8; N]>, IndexError> {
    let key = Key::meta(name);
    let Some(value) = store.value(&key)? else { return Ok(None) };
    let value = value.as_slice().try_into();
    value.map(Some).map_err(|_| damaged(key.as_bytes())("not a number"))
}

fn number(key: &[u8], n: usize) -> Result<u32, IndexError> {
    number_in(key, n).ok_or_else(|| damaged(key)("a short key"))
}

/// An error for a value that does not read, by its key.
pub fn damaged<E: Display>(key: &[u8]) -> impl Fn(E) -> IndexError + use<E> {
    let key = key.escape_ascii().to_string();
    move |why| IndexError::Corrupt(format!("at {key}: {why}"))
}
