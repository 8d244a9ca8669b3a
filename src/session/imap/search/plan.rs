//! SEARCH (RFC 3501 §6.4.4, RFC 4731): asked of every side that decides over a message, each in
//! its own UIDs, and answered in the client's numbers.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;

use super::reply::{Failure, Reply};
use super::sets::{ensure_announced, places, resolve, span};
use super::{Session, User};
use crate::account::{Access, AccountError, Mailbox, View};
use crate::backend::{BackendError, Conn, Done, Lease, text};
use crate::base::Side;
use crate::imap::command::{SearchKey, SearchReturn, Tag};
use crate::imap::response::Response;
use crate::imap::write::Parts;
use crate::uid::{Number, Seq, SideUid, Uid, UidMap, UidSet};

/// The charsets of strings (RFC 3501 §6.4.4): what every server must know, and what all do.
const CHARSETS: [&str; 2] = ["US-ASCII", "UTF-8"];
/// The messages to look through are named exactly as long as that takes no more octets.
const MAX_SCOPE: usize = 4_000;
/// A SEARCH changes nothing: over a connection that had died unnoticed it is asked once more.
const ATTEMPTS: usize = 2;

/// A SEARCH command.
pub(in crate::session) struct Search {
    pub uid: bool,
    pub returns: Option<Vec<SearchReturn>>,
    pub charset: Option<String>,
    pub key: SearchKey,
}

impl Session {
    pub(super) async fn search(
        &mut self,
        tag: &Tag,
        user: &User,
        search: Search,
    ) -> Result<Reply, Failure> {
        let Some(selected) = &self.selected else { return Ok(Reply::bad("No mailbox selected")) };
        let known = |c: &String| CHARSETS.iter().any(|known| known.eq_ignore_ascii_case(c));
        if !search.charset.as_ref().is_none_or(known) {
            let code = "BADCHARSET (US-ASCII UTF-8)";
            return Ok(Reply::no_with(code, "Charset is not supported"));
        }
        if !names_messages(&search.key, &selected.numbering) {
            return Ok(Reply::bad("Invalid message sequence number"));
        }
        let plan = Plan {
            mailbox: Arc::clone(&selected.mailbox),
            access: Arc::clone(&user.access),
            view: selected.mailbox.view(),
            shown: selected.numbering.uids(),
            numbering: selected.numbering.clone(),
            key: search.key,
        };
        let found = match plan.run().await? {
            Ok(found) => found,
            Err(refused) => return Ok(Reply::from_server(&refused)),
        };
        let out = &mut self.client.out;
        let returns = search.returns.as_deref();
        if search.uid {
            write_found(tag, true, returns, &found, out);
        } else {
            write_found(tag, false, returns, &seqs(&plan.numbering, &found), out);
        }
        self.client.flush_if_full().await?;
        Ok(Reply::ok("Search completed"))
    }
}

/// Whether every sequence number of a program is one (an empty mailbox has none to be wrong
/// about: clients ask it for `1:*`).
fn names_messages(key: &SearchKey, numbering: &UidMap) -> bool {
    let wrong = Cell::new(false);
    key.rewrite(&|set, by_uid| {
        if resolve(set, by_uid, numbering).is_none() {
            wrong.set(true);
        }
        None
    });
    numbering.is_empty() || !wrong.get()
}

/// A search over one state of the mailbox, of which the servers answer each its part.
struct Plan {
    mailbox: Arc<Mailbox>,
    access: Arc<Access>,
    /// Where the messages lie.
    view: Arc<View>,
    /// What the client knows of, and by which numbers.
    numbering: UidMap,
    shown: UidSet<Uid>,
    key: SearchKey,
}

impl Plan {
    /// What was found, or a server's refusal.
    ///
    /// # Errors
    /// Also where one side alone cannot be asked: a result that lacks what lies there would be
    /// taken for the whole.
    async fn run(&self) -> Result<Result<UidSet<Uid>, Done>, AccountError> {
        let mut attempt = 1;
        loop {
            match self.ask_both().await {
                Err(AccountError::Backend(e)) if e.is_lost() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn ask_both(&self) -> Result<Result<UidSet<Uid>, Done>, AccountError> {
        let mut asked = Vec::new();
        for side in Side::BOTH {
            let candidates = places(&self.view.map, &self.shown, side);
            if !candidates.is_empty() {
                asked.push((self.mailbox.lease(&self.access, side).await?, candidates));
            }
        }
        let mut found = UidSet::new();
        let mut refused = None;
        let answers = join_all(asked.into_iter().map(|(mut lease, candidates)| async move {
            let hits = self.ask(&mut lease, &candidates).await;
            (lease, hits)
        }));
        let mut failed = None;
        for (lease, hits) in answers.await {
            match hits {
                Ok(Ok(hits)) => found = found.union(&self.shown_of(lease.side(), &hits)),
                Ok(Err(done)) => refused = Some(done),
                Err(e) => {
                    // Its connection is closed by being dropped here.
                    failed = Some(e);
                    continue;
                }
            }
            self.mailbox.give_back(lease).await;
        }
        match (failed, refused) {
            (Some(e), _) => Err(e.into()),
            (None, Some(done)) => Ok(Err(done)),
            (None, None) => Ok(Ok(found)),
        }
    }

    async fn ask(
        &self,
        lease: &mut Lease,
        candidates: &UidSet<SideUid>,
    ) -> Result<Result<UidSet<SideUid>, Done>, BackendError> {
        let announced = ensure_announced(lease, candidates).await?;
        let mut program = Parts::new();
        if self.key.needs_charset() {
            program.text("CHARSET UTF-8 ");
        }
        program.text(&format!("UID {} ", scope(candidates, &announced)));
        program.append(self.translated(lease.side(), candidates));
        uid_search(lease, program).await
    }

    /// The program in one side's UIDs.
    fn translated(&self, side: Side, candidates: &UidSet<SideUid>) -> Parts {
        self.key.rewrite(&|set, by_uid| {
            let uids = resolve(set, by_uid, &self.numbering)?;
            // Whatever is no candidate is left out of the result, so a set may span it.
            Some(span(&places(&self.view.map, &uids, side), candidates).to_string())
        })
    }

    /// The client's messages among what one side has found, as far as that side decides over them.
    fn shown_of(&self, side: Side, hits: &UidSet<SideUid>) -> UidSet<Uid> {
        let mut found = Vec::new();
        for run in self.view.map.intersect(&self.shown) {
            let Some(first) = run.place.on(side).filter(|_| run.place.authority() == side) else {
                continue;
            };
            let last = SideUid(first.0 + (run.len - 1));
            let below = hits.rank(SideUid(first.0 - 1));
            let through = hits.rank(last);
            if through - below == run.len {
                found.push((run.uid, Uid(run.uid.0 + (run.len - 1))));
                continue;
            }
            for hit in (below + 1..=through).filter_map(|position| hits.select(position)) {
                let uid = Uid(run.uid.0 + (hit.0 - first.0));
                found.push((uid, uid));
            }
        }
        UidSet::from_ranges(found)
    }
}

/// What a server shall look through: exactly the messages it decides over, or, where that takes
/// too long to say, all from the first to the last of them.
fn scope(candidates: &UidSet<SideUid>, announced: &UidSet<SideUid>) -> String {
    let exact = span(candidates, announced);
    let mut pieces = exact.chunks_of(MAX_SCOPE);
    if let (Some(whole), None) = (pieces.next(), pieces.next()) {
        return whole;
    }
    match (candidates.first(), candidates.last()) {
        (Some(first), Some(last)) => format!("{first}:{last}"),
        _ => "1:*".to_owned(),
    }
}

/// UID SEARCH on the selected mailbox: what was found, or the server's refusal.
pub(super) async fn uid_search(
    conn: &mut Conn,
    program: Parts,
) -> Result<Result<UidSet<SideUid>, Done>, BackendError> {
    let compact = conn.profile().esearch();
    let mut command = text(if compact { "UID SEARCH RETURN (ALL) " } else { "UID SEARCH " });
    command.append(program);
    let done = conn.run(&command).await?;
    if !done.is_ok() {
        return Ok(Err(done));
    }
    let mut hits = Vec::new();
    for response in &done.untagged {
        match response {
            Response::Search(uids) => {
                hits.extend(uids.iter().map(|&uid| (SideUid(uid), SideUid(uid))));
            }
            Response::Esearch { all, .. } => {
                hits.extend(all.iter().map(|&(first, last)| (SideUid(first), SideUid(last))));
            }
            _ => {}
        }
    }
    Ok(Ok(UidSet::from_ranges(hits)))
}

fn seqs(numbering: &UidMap, uids: &UidSet<Uid>) -> UidSet<Seq> {
    let runs = numbering.numbered(uids);
    UidSet::from_ranges(runs.map(|(first, run)| (first, Seq(first.0 + (run.len - 1)))))
}

fn write_found<T: Number>(
    tag: &Tag,
    uid: bool,
    returns: Option<&[SearchReturn]>,
    found: &UidSet<T>,
    out: &mut Vec<u8>,
) {
    // Writing into a Vec does not fail.
    drop(match returns {
        None => write_search(found, out),
        Some(returns) => write_esearch(tag, uid, returns, found, out),
    });
}

/// `"SEARCH" *(SP nz-number)` (RFC 3501 §7.2.5).
fn write_search<T: Number>(found: &UidSet<T>, out: &mut Vec<u8>) -> std::io::Result<()> {
    out.extend_from_slice(b"* SEARCH");
    for n in found.iter() {
        write!(out, " {}", n.into())?;
    }
    out.write_all(b"\r\n")
}

/// `esearch-response` (RFC 4466 §2.6.2). Where nothing is found, only COUNT has something to tell
/// (RFC 4731 §3.1).
fn write_esearch<T: Number>(
    tag: &Tag,
    uid: bool,
    returns: &[SearchReturn],
    found: &UidSet<T>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    // A tag holds neither quotes nor backslashes.
    write!(out, "* ESEARCH (TAG \"{tag}\"){}", if uid { " UID" } else { "" })?;
    let wants = |what| returns.contains(&what);
    if let Some(min) = found.first().filter(|_| wants(SearchReturn::Min)) {
        write!(out, " MIN {}", min.into())?;
    }
    if let Some(max) = found.last().filter(|_| wants(SearchReturn::Max)) {
        write!(out, " MAX {}", max.into())?;
    }
    if wants(SearchReturn::Count) {
        write!(out, " COUNT {}", found.len())?;
    }
    if wants(SearchReturn::All) && !found.is_empty() {
        write!(out, " ALL {found}")?;
    }
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::{Command, parse};
    use crate::uid::Place;

    fn key(program: &str) -> SearchKey {
        match parse(format!("a SEARCH {program}").as_bytes()).unwrap().command {
            Command::Search { key, .. } => key,
            other => panic!("{other:?}"),
        }
    }

    fn written(returns: Option<&[SearchReturn]>, uid: bool, found: &str) -> String {
        let tag = Tag::new(b"a1").unwrap();
        let found: UidSet<Uid> = UidSet::parse(found.as_bytes()).unwrap_or_default();
        let mut out = Vec::new();
        write_found(&tag, uid, returns, &found, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn search_lists_every_number() {
        assert_eq!(written(None, true, "2:4,9"), "* SEARCH 2 3 4 9\r\n");
        assert_eq!(written(None, false, ""), "* SEARCH\r\n");
    }

    #[test]
    fn esearch_tells_what_was_asked() {
        use SearchReturn::{All, Count, Max, Min};
        let all = [All, Count, Max, Min];
        assert_eq!(
            written(Some(&all), true, "1:3,9"),
            "* ESEARCH (TAG \"a1\") UID MIN 1 MAX 9 COUNT 4 ALL 1:3,9\r\n"
        );
        assert_eq!(written(Some(&[Max]), false, "1:3"), "* ESEARCH (TAG \"a1\") MAX 3\r\n");
    }

    #[test]
    fn esearch_omits_what_nothing_has() {
        use SearchReturn::{All, Count, Max, Min};
        let all = [All, Count, Max, Min];
        assert_eq!(written(Some(&all), true, ""), "* ESEARCH (TAG \"a1\") UID COUNT 0\r\n");
        assert_eq!(written(Some(&[All]), false, ""), "* ESEARCH (TAG \"a1\")\r\n");
    }

    #[test]
    fn a_sequence_number_that_is_none_is_a_fault() {
        let mut numbering = UidMap::default();
        assert!(names_messages(&key("1:* UNSEEN"), &numbering));
        numbering.push(Uid(5), 3, Place::Old(SideUid(5))).unwrap();
        assert!(names_messages(&key("OR 1:3 NOT UID 900"), &numbering));
        assert!(!names_messages(&key("NOT (SEEN 4)"), &numbering));
    }

    #[test]
    fn the_scope_is_exact_until_that_is_long() {
        let set = |text: &str| UidSet::<SideUid>::parse(text.as_bytes()).unwrap();
        assert_eq!(scope(&set("1,9"), &set("1,5,9")), "1,9");
        assert_eq!(scope(&set("1,9"), &set("1,9")), "1:9");
        let announced = set("1:5000");
        let odd: UidSet<SideUid> = announced.iter().filter(|uid| uid.0 % 2 == 1).collect();
        assert_eq!(scope(&odd, &announced), "1:4999");
    }

    #[test]
    fn sequence_numbers_follow_the_numbering() {
        let mut numbering = UidMap::default();
        numbering.push(Uid(5), 3, Place::Old(SideUid(5))).unwrap();
        numbering.push(Uid(20), 2, Place::New(SideUid(1))).unwrap();
        let found = UidSet::parse(b"6:7,21").unwrap();
        assert_eq!(seqs(&numbering, &found).to_string(), "2:3,5");
    }
}
