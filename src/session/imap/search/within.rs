//! What no server can be asked for as it is: OLDER and YOUNGER (RFC 5032), which hardly any knows,
//! and EMAILID (RFC 8474), which the proxy alone knows.
//!
//! Ages are told by the day as a server compares it, and by the second where that leaves a doubt.
//! The proxy's clock alone decides, so that both servers mean the same moment.

use super::plan::{Plan, as_set};
use crate::account::{AccountError, now};
use crate::imap::command::{SearchDate, SearchKey};
use crate::imap::sort::Told;
use crate::session::imap::reply::Reply;
use crate::uid::SeqSet;

/// SINCE and BEFORE disregard time and zone. So many seconds from a moment every zone has another
/// day: two days.
const DOUBT: i64 = 2 * 86_400;

/// Each age in a program costs a search and a FETCH of dates; people ask for one or two.
const MAX_AGES: usize = 16;

/// The messages that lie near a moment.
struct Near {
    /// The first day of doubt.
    from: SearchDate,
    /// The first day behind it.
    to: SearchDate,
    /// Those from before the moment, or of it.
    older: SeqSet,
    /// Those from after the moment, or of it.
    younger: SeqSet,
}

impl Plan {
    /// The program without what servers do not know: what OLDER, YOUNGER and EMAILID match stands
    /// in it by UID.
    pub async fn dated(&self) -> Result<Result<SearchKey, Reply>, AccountError> {
        let mut ages = Vec::new();
        self.key.walk(&mut |key| {
            if let SearchKey::Older(seconds) | SearchKey::Younger(seconds) = key {
                ages.push(*seconds);
            }
        });
        ages.sort_unstable();
        ages.dedup();
        if ages.len() > MAX_AGES {
            return Ok(Err(Reply::no_with("LIMIT", "Too many different ages in one search")));
        }
        let mut key = self.identified().await?;
        let now = i64::try_from(now()).unwrap_or(i64::MAX);
        for age in ages {
            let near = match self.near(now.saturating_sub(i64::from(age))).await? {
                Ok(near) => near,
                Err(refused) => return Ok(Err(refused)),
            };
            key.walk_mut(&mut |key| match key {
                SearchKey::Older(seconds) if *seconds == age => *key = older(near.as_ref()),
                SearchKey::Younger(seconds) if *seconds == age => *key = younger(near.as_ref()),
                _ => {}
            });
        }
        Ok(Ok(key))
    }

    /// The program without EMAILID (RFC 8474 §6).
    async fn identified(&self) -> Result<SearchKey, AccountError> {
        let mut key = self.key.clone();
        let mut wanted = false;
        key.walk(&mut |key| wanted |= matches!(key, SearchKey::EmailId(_)));
        if wanted {
            let emails = self.mailbox.emails(&self.shown).await?;
            key.walk_mut(&mut |key| {
                if let SearchKey::EmailId(id) = key {
                    let having = id.map(|id| emails.having(id, &self.shown)).unwrap_or_default();
                    *key = SearchKey::Uid(as_set(&having));
                }
            });
        }
        Ok(key)
    }

    /// `None`: the moment lies before all mail.
    async fn near(&self, moment: i64) -> Result<Result<Option<Near>, Reply>, AccountError> {
        let days = (moment > DOUBT)
            .then(|| {
                let from = SearchDate::of_instant(moment - DOUBT)?;
                Some((from, SearchDate::of_instant(moment + DOUBT)?))
            })
            .flatten();
        let Some((from, to)) = days else { return Ok(Ok(None)) };
        let key = SearchKey::And(vec![SearchKey::Since(from), SearchKey::Before(to)]);
        let uids = match self.find(&key).await? {
            Ok(uids) => uids,
            Err(refused) => return Ok(Err(refused)),
        };
        let arrival = |told: &Told<'_>| (told.arrival, size_of::<Option<i64>>());
        let dates = match self.gather(&uids, "INTERNALDATE", &arrival).await? {
            Ok(dates) => dates,
            Err(refused) => return Ok(Err(refused)),
        };
        let those = |fits: &dyn Fn(i64) -> bool| {
            let fitting = dates.iter().filter(|(_, date)| date.is_some_and(fits));
            as_set(&fitting.map(|(uid, _)| *uid).collect())
        };
        let (older, younger) = (those(&|date| date <= moment), those(&|date| date >= moment));
        Ok(Ok(Some(Near { from, to, older, younger })))
    }
}

fn older(near: Option<&Near>) -> SearchKey {
    match near {
        Some(near) => either(SearchKey::Before(near.from), &near.older),
        None => SearchKey::Not(Box::new(SearchKey::All)),
    }
}

fn younger(near: Option<&Near>) -> SearchKey {
    match near {
        Some(near) => either(SearchKey::Since(near.to), &near.younger),
        None => SearchKey::All,
    }
}

fn either(day: SearchKey, uids: &SeqSet) -> SearchKey {
    SearchKey::Or(Box::new(day), Box::new(SearchKey::Uid(uids.clone())))
}
