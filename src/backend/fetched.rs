//! A FETCH reply taken whole: for what the proxy itself asks (flags, dates, sizes) and for what
//! nobody asked. The content of messages is never held here: it is given away as it comes.

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep, sleep_until};

use super::conn::{Conn, Done, Event, Pending, text};
use super::{BackendError, Pace};
use crate::imap::fetch_scan::{FetchScan, Item, ItemKind, modseq, number, number64};
use crate::imap::framer::Literal;
use crate::imap::response::Response;
use crate::imap::scan::Scan;
use crate::imap::write::Parts;
use crate::uid::{SideUid, UidSet};

/// Literals of a reply are left out beyond this: what the proxy asks for is small, but for headers
/// that somebody made up, and these are then as good as none.
const MAX_GATHERED: usize = 1 << 20;

/// Takes the content of messages as it comes.
pub trait Collect {
    /// A message of so many octets begins; what came of one before is over.
    fn begin(&mut self, octets: u64);
    /// The next octets of it.
    fn take(&mut self, octets: &[u8]);
    /// Until when the ones after them may be left unread; `None`: they are wanted now.
    fn not_before(&self) -> Option<Instant> {
        None
    }
}

/// One untagged FETCH with everything in it, but for content that was given away.
#[derive(Debug)]
pub struct Fetched {
    /// Its sequence number on the connection.
    pub seq: u32,
    /// Which message: as the reply says, else by what the connection has announced.
    pub uid: Option<SideUid>,
    text: Bytes,
    items: Vec<Item>,
}

impl Fetched {
    /// The value of the first item of this kind, as it came.
    pub fn value(&self, kind: ItemKind) -> Option<Bytes> {
        let item = self.items.iter().find(|item| item.kind == kind)?;
        Some(self.text.slice(item.value.clone()))
    }

    /// The text with everything in it, and the items as ranges of it.
    pub fn parts(&self) -> (&Bytes, &[Item]) {
        (&self.text, &self.items)
    }

    /// MODSEQ.
    pub fn mod_seq(&self) -> Option<u64> {
        modseq(&self.value(ItemKind::ModSeq)?)
    }

    /// FLAGS with their parentheses.
    pub fn flags(&self) -> Option<Bytes> {
        self.value(ItemKind::Flags)
    }

    /// RFC822.SIZE.
    pub fn size(&self) -> Option<u64> {
        number64(&self.value(ItemKind::Rfc822Size)?)
    }

    /// INTERNALDATE without its quotes.
    pub fn internal_date(&self) -> Option<Bytes> {
        let value = self.value(ItemKind::InternalDate)?;
        (value.len() >= 2).then(|| value.slice(1..value.len() - 1))
    }
}

/// An INTERNALDATE (`" 1-Jul-2024 10:00:00 +0200"`) as seconds since 1970: servers print one
/// instant in different zones. `None` if it is no date.
pub fn internal_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let mut fields = text.split_ascii_whitespace();
    let (date, clock, zone) = (fields.next()?, fields.next()?, fields.next()?);
    let mut date = date.split('-');
    let day: u8 = date.next()?.parse().ok()?;
    let month: time::Month = match date.next()?.to_ascii_lowercase().as_str() {
        "jan" => time::Month::January,
        "feb" => time::Month::February,
        "mar" => time::Month::March,
        "apr" => time::Month::April,
        "may" => time::Month::May,
        "jun" => time::Month::June,
        "jul" => time::Month::July,
        "aug" => time::Month::August,
        "sep" => time::Month::September,
        "oct" => time::Month::October,
        "nov" => time::Month::November,
        "dec" => time::Month::December,
        _ => return None,
    };
    let year: i32 = date.next()?.parse().ok()?;
    let mut clock = clock.split(':').map(str::parse::<u8>);
    let time =
        time::Time::from_hms(clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?.min(59))
            .ok()?;
    let (sign, digits) = match zone.as_bytes() {
        [b'+', ..] => (1, zone.get(1..5)?),
        [b'-', ..] => (-1, zone.get(1..5)?),
        _ => return None,
    };
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..)?.parse().ok()?;
    let local = time::Date::from_calendar_date(year, month, day).ok()?.with_time(time);
    Some(local.assume_utc().unix_timestamp() - i64::from(sign * (hours * 3600 + minutes * 60)))
}

impl Conn {
    /// Gathers a FETCH whose first piece has just come.
    pub async fn gather(
        &mut self,
        seq: u32,
        text: Bytes,
        literal: Option<Literal>,
    ) -> Result<Fetched, BackendError> {
        self.walk(seq, text, literal, None).await
    }

    /// Walks through a FETCH whose first piece has just come: literals are put in their places, or
    /// given away.
    async fn walk(
        &mut self,
        seq: u32,
        text: Bytes,
        literal: Option<Literal>,
        mut collect: Option<&mut (dyn Collect + Send)>,
    ) -> Result<Fetched, BackendError> {
        let mut whole = BytesMut::new();
        let Some((mut scan, _, mut from)) = FetchScan::start(&text) else {
            return Err(self.protocol("unreadable FETCH".into()));
        };
        let mut items = Vec::new();
        let mut piece = text;
        let mut literal = literal;
        loop {
            let base = whole.len();
            whole.extend_from_slice(&piece);
            let already = items.len();
            if scan.segment(&piece, from, &mut items).is_err() {
                return Err(self.protocol("unreadable FETCH".into()));
            }
            for item in &mut items[already..] {
                item.name = item.name.start + base..item.name.end + base;
                item.value = item.value.start + base..item.value.end + base;
            }
            // With its literal in place, an item is one piece again.
            if already > 0 && items.get(already).is_some_and(|i| i.kind == ItemKind::Continuation) {
                let rest = items.remove(already);
                items[already - 1].value.end = rest.value.end;
                items[already - 1].ends = rest.ends;
            }
            let Some(announced) = literal.take() else { break };
            whole.extend_from_slice(b"\r\n");
            if let Some(collect) = &mut collect {
                collect.begin(announced.octets);
            }
            loop {
                match self.event().await? {
                    Event::Chunk { octets, last } => {
                        match &mut collect {
                            Some(collect) => {
                                collect.take(&octets);
                                if let Some(at) = collect.not_before() {
                                    sleep_until(at).await;
                                }
                            }
                            None if whole.len() + octets.len() > MAX_GATHERED => {}
                            None => whole.extend_from_slice(&octets),
                        }
                        if last {
                            break;
                        }
                    }
                    _ => return Err(self.protocol("a literal broke off".into())),
                }
            }
            match self.event().await? {
                Event::More { text, literal: next } => {
                    piece = text;
                    literal = next;
                    from = 0;
                }
                _ => return Err(self.protocol("a FETCH broke off".into())),
            }
        }
        let text = whole.freeze();
        let told = items
            .iter()
            .find(|item| item.kind == ItemKind::Uid)
            .and_then(|item| number(&text[item.value.clone()]))
            .map(SideUid);
        let uid = told.or_else(|| self.selected().and_then(|s| s.uid(seq)));
        let fetched = Fetched { seq, uid, text, items };
        // A quoted string, which some write instead of a small literal; NIL is nothing.
        let quoted = fetched.value(ItemKind::Body).filter(|value| value.starts_with(b"\""));
        if let (Some(collect), Some(value)) = (collect, quoted)
            && let Some(octets) = Scan::new(&value).nstring().flatten()
        {
            collect.begin(octets.len() as u64);
            collect.take(&octets);
        }
        if let Some(told) = fetched.mod_seq() {
            self.note_mod_seq(told);
        }
        Ok(fetched)
    }

    /// Takes an unasked FETCH, whose first piece has just come, for news.
    pub async fn take_note(
        &mut self,
        seq: u32,
        text: Bytes,
        literal: Option<Literal>,
    ) -> Result<(), BackendError> {
        let fetched = self.gather(seq, text, literal).await?;
        self.note(fetched);
        Ok(())
    }

    /// Runs a FETCH of small items and hands each reply to `each`. FLAGS that the command does not
    /// ask for are news.
    pub async fn fetch(
        &mut self,
        command: &Parts,
        mut each: impl FnMut(Fetched),
    ) -> Result<Done, BackendError> {
        let asked = command.mentions(b"FLAGS");
        let mut pace = Pace::default();
        loop {
            let pending = self.send(command).await?;
            let mut news = Vec::new();
            let mut taken = false;
            let mut take = |fetched: Fetched| {
                taken = true;
                news.extend(fetched.uid.zip(fetched.flags().filter(|_| !asked)));
                each(fetched);
            };
            let done = self.finish_fetch(pending, &mut take).await;
            for (uid, flags) in news {
                self.note_flags(uid, flags);
            }
            let done = done?;
            // What was handed over already must not be handed over again.
            match pace.after(&done).filter(|_| !taken) {
                Some(pause) => sleep(pause).await,
                None => return Ok(done),
            }
        }
    }

    /// Fetches whole messages and hands each reply that has to do with one to `each`, with what
    /// was collected of its content since the reply before. FLAGS beside them are news.
    pub async fn fetch_content<C: Collect + Send>(
        &mut self,
        uids: &UidSet<SideUid>,
        items: &str,
        collect: &mut C,
        mut each: impl FnMut(Fetched, &mut C),
    ) -> Result<Done, BackendError> {
        let command = text(&format!("UID FETCH {uids} (UID{items} BODY.PEEK[])"));
        let mut pace = Pace::default();
        let mut pending = self.send(&command).await?;
        let mut taken = false;
        loop {
            match self.event().await? {
                Event::Fetch { seq, text, literal } => {
                    let fetched = self.walk(seq, text, literal, Some(&mut *collect)).await?;
                    match fetched.value(ItemKind::Body) {
                        Some(_) => {
                            taken = true;
                            each(fetched, collect);
                        }
                        None => self.note(fetched),
                    }
                }
                Event::Response(response @ Response::Tagged { .. }) => {
                    let Some(done) = self.tagged(pending, response, Vec::new())? else { continue };
                    match pace.after(&done).filter(|_| !taken) {
                        Some(pause) => {
                            sleep(pause).await;
                            pending = self.send(&command).await?;
                        }
                        None => return Ok(done),
                    }
                }
                Event::Response(_) => {}
                Event::Chunk { .. } | Event::More { .. } => {
                    return Err(self.protocol("a literal outside of a FETCH".into()));
                }
            }
        }
    }

    /// Reads to the end of a FETCH of small items.
    pub async fn finish_fetch(
        &mut self,
        pending: Pending,
        each: &mut impl FnMut(Fetched),
    ) -> Result<Done, BackendError> {
        self.flush().await?;
        loop {
            match self.event().await? {
                Event::Fetch { seq, text, literal } => each(self.gather(seq, text, literal).await?),
                Event::Response(response @ Response::Tagged { .. }) => {
                    if let Some(done) = self.tagged(pending, response, Vec::new())? {
                        return Ok(done);
                    }
                }
                Event::Response(_) => {}
                Event::Chunk { .. } | Event::More { .. } => {
                    return Err(self.protocol("a literal outside of a FETCH".into()));
                }
            }
        }
    }

    pub(super) async fn finish_listing(
        &mut self,
        pending: Pending,
        last: Option<SideUid>,
    ) -> Result<Done, BackendError> {
        loop {
            match self.event().await? {
                Event::Fetch { seq, text, literal } => {
                    let fetched = self.gather(seq, text, literal).await?;
                    self.note(fetched);
                }
                Event::Response(response @ Response::Tagged { .. }) => {
                    if let Some(done) = self.tagged(pending, response, Vec::new())? {
                        return Ok(done);
                    }
                }
                Event::Response(response) => self.listed(&response, last)?,
                Event::Chunk { .. } | Event::More { .. } => {
                    return Err(self.protocol("a literal outside of a FETCH".into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_in_two_zones() {
        let a = internal_date(b" 1-Jul-2024 10:00:00 +0200").unwrap();
        assert_eq!(internal_date(b"01-Jul-2024 08:00:00 +0000"), Some(a));
        assert_eq!(a, 1_719_820_800);
        for bad in ["", "1-Jul-2024", "1-Foo-2024 10:00:00 +0000", "1-Jul-2024 10:00:00 0000"] {
            assert_eq!(internal_date(bad.as_bytes()), None, "{bad}");
        }
    }
}
