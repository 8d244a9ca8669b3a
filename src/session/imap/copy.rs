//! COPY (RFC 3501 §6.4.7) and MOVE (RFC 6851): on the side where the messages lie if the target
//! exists there, else after they were carried over to new. What is old's alone is not carried:
//! between it and a mailbox that its server does not have, messages are copied one by one.

use std::sync::Arc;

use tracing::warn;

use super::expunge::take_away;
use super::folders::told;
use super::reply::{Failure, Reply};
use super::sets::{ensure_announced, places};
use super::{Session, User};
use crate::account::{AccountError, Emails, MAX_COMMAND, Mailbox, View, each_chunk, now};
use crate::backend::{Done, Lease, text};
use crate::base::{MailboxName, Side, Sides, step};
use crate::imap::response::{Code, Response};
use crate::imap::write::Parts;
use crate::index::{Fate, Moving, MovingPlace};
use crate::uid::{SeqSet, SideUid, Uid, UidMap, UidSet};

/// So often it is tried to find messages and target together, while a copier moves authority.
const ATTEMPTS: usize = 3;

impl Session {
    pub(super) async fn copy(
        &mut self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        target: &MailboxName,
    ) -> Result<Reply, Failure> {
        let Some(copy) = self.prepare_copy(user, uid, set, target, false).await? else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        Ok(match self.carry_through(copy.run()).await? {
            Outcome::Done(Some(code)) => Reply::ok_with(code, "Copy completed"),
            Outcome::Done(None) => Reply::ok("Copy completed"),
            Outcome::Refused(reply) => reply,
        })
    }

    pub(super) async fn move_to(
        &mut self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        target: &MailboxName,
    ) -> Result<Reply, Failure> {
        if self.selected.as_ref().is_some_and(|s| s.read_only) {
            return Ok(Reply::no("Mailbox was opened read-only"));
        }
        let Some(copy) = self.prepare_copy(user, uid, set, target, true).await? else {
            return Ok(Reply::bad("Invalid message sequence number"));
        };
        match self.carry_through(copy.run()).await? {
            Outcome::Done(code) => {
                // Before the EXPUNGEs, which the caller pays (RFC 6851 §4.3).
                if let Some(code) = code {
                    self.client.line(format!("* OK [{code}] Moved"));
                }
                Ok(Reply::ok("Move completed"))
            }
            Outcome::Refused(reply) => Ok(reply),
        }
    }

    /// RENAME of INBOX: all its messages move to a mailbox that is made for them, and INBOX stays
    /// (RFC 3501 §6.3.5).
    pub(super) async fn rename_inbox(
        &mut self,
        user: &User,
        to: &MailboxName,
    ) -> Result<Reply, Failure> {
        let (account, access) = (Arc::clone(&user.account), Arc::clone(&user.access));
        let (user, to) = (user.clone(), to.clone());
        let renaming = async move {
            if let Err(unchanged) = account.create_mailbox(&access, &to, &[]).await {
                return Ok(Err(unchanged));
            }
            let source = account.mailbox(&access, &MailboxName::inbox()).await?;
            source.refresh(&access).await?;
            let target = account.mailbox(&access, &to).await?;
            let uids = source.view().map.uids();
            Copy { user, source, target, uids, moving: true }.run().await.map(Ok)
        };
        match self.carry_through(renaming).await? {
            Ok(Outcome::Done(_)) => Ok(Reply::ok("Rename completed")),
            Ok(Outcome::Refused(reply)) => Ok(reply),
            Err(unchanged) => told(Err(unchanged), ""),
        }
    }

    /// `None`: the client's set names a message that does not exist.
    async fn prepare_copy(
        &self,
        user: &User,
        uid: bool,
        set: &SeqSet,
        target: &MailboxName,
        moving: bool,
    ) -> Result<Option<Copy>, Failure> {
        let Some(selected) = &self.selected else { return Ok(None) };
        let Some(uids) = selected.resolve(set, uid) else { return Ok(None) };
        let source = Arc::clone(&selected.mailbox);
        let target = match user.account.mailbox(&user.access, target).await {
            Ok(target) => target,
            Err(AccountError::NoSuchMailbox(_)) => {
                let text = "No such mailbox, it can be created";
                return Err(Failure::Refused(Reply::no_with("TRYCREATE", text)));
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Some(Copy { user: user.clone(), source, target, uids, moving }))
    }
}

/// What became of it.
enum Outcome {
    /// All is done; with COPYUID where every server told.
    Done(Option<String>),
    /// A server refused, or the target cannot be reached.
    Refused(Reply),
}

/// Which message became which, by one side's UIDs.
#[derive(Default)]
struct Told {
    pairs: Vec<(SideUid, SideUid)>,
    /// The server told nothing of some of them, or nothing that can be believed.
    incomplete: bool,
}

struct Copy {
    user: User,
    source: Arc<Mailbox>,
    target: Arc<Mailbox>,
    uids: UidSet<Uid>,
    moving: bool,
}

impl Copy {
    async fn run(self) -> Result<Outcome, AccountError> {
        if self.uids.is_empty() {
            return Ok(Outcome::Done(None));
        }
        // A MOVE that broke off may have been one of these messages: then it is done by now, perhaps.
        self.user.copier.look_for_moves().await;
        if self.source.view().map.within(&self.uids).is_empty() {
            // The client shall not take for copied what is not there any more (RFC 2180 §4.4).
            let text = "None of these messages is there any more";
            return Ok(Outcome::Refused(Reply::no_with("EXPUNGEISSUED", text)));
        }
        self.target.room()?;
        let read_only = self.user.account.old_is_read_only();
        if read_only && (self.target.stays_on_old() || (self.moving && self.crosses())) {
            let text = "The old server is read-only";
            return Ok(Outcome::Refused(Reply::no_with("CANNOT", text)));
        }
        // Before anything is held: this waits for what is being copied to the source.
        let emails = self.source.emails(&self.uids).await?;
        for _ in 0..ATTEMPTS {
            self.make_ready().await?;
            // Authority must not pass to new between the look at the map and the server's answer.
            let _guard = self.source.guard.read().await;
            let view = self.source.view();
            let wanted = self.wanted(&view);
            if self.crosses() || !self.is_in_the_way(&wanted) {
                let noted = match self.moving {
                    true => self.source.removing(&self.uids).await?,
                    false => UidSet::new(),
                };
                let copied = self.copy(&view, &wanted, &emails).await;
                self.source.removed(&noted).await?;
                return copied;
            }
        }
        let text = "The messages could not be brought to where the mailbox is, try again later";
        Ok(Outcome::Refused(Reply::no_with("UNAVAILABLE", text)))
    }

    /// Whether messages may have to be copied from one side to the other, for one of the mailboxes
    /// is on old alone, and stays there.
    fn crosses(&self) -> bool {
        self.source.stays_on_old() || self.target.stays_on_old()
    }

    fn wanted(&self, view: &View) -> Sides<UidSet<SideUid>> {
        Sides::from_fn(|side| places(&view.map, &self.uids, side))
    }

    /// A side that holds some of the messages, but not the target.
    fn missing_on(&self, wanted: &Sides<UidSet<SideUid>>) -> Option<Side> {
        let names = &self.target.view().names;
        Side::BOTH.into_iter().find(|&side| !wanted[side].is_empty() && names[side].is_none())
    }

    /// Whether messages have to be carried to new first.
    fn is_in_the_way(&self, wanted: &Sides<UidSet<SideUid>>) -> bool {
        let read_only = self.user.account.old_is_read_only();
        self.missing_on(wanted).is_some() || (read_only && !wanted.old.is_empty())
    }

    /// Sees to it that the target exists where the messages are, and that it was seen: only then
    /// arrivals of both sides get the right UIDs. Holds no guard, for the copier needs it.
    async fn make_ready(&self) -> Result<(), AccountError> {
        if self.moving {
            self.source.matched(&self.uids).await?;
        }
        let view = self.source.view();
        let mut wanted = self.wanted(&view);
        if self.is_in_the_way(&wanted) && !wanted.old.is_empty() && !self.crosses() {
            let on_old = self.source.on_old_alone(&self.uids);
            self.user.copier.carry(&self.source, &on_old).await?;
            wanted = self.wanted(&self.source.view());
        }
        if !wanted.new.is_empty() && !self.target.stays_on_old() {
            self.user.account.make_on_new(&self.user.access, &self.target).await?;
        }
        let names = &self.target.view().names;
        let unseen = |side| names[side].is_some() && !self.target.has_seen(side);
        // While arrivals came on old only, they keep old's UIDs: none may be passed over.
        let on_old = !wanted.old.is_empty() || self.target.stays_on_old();
        if on_old || Side::BOTH.into_iter().any(unseen) {
            self.target.refresh(&self.user.access).await?;
        }
        Ok(())
    }

    async fn copy(
        &self,
        view: &View,
        wanted: &Sides<UidSet<SideUid>>,
        emails: &Emails,
    ) -> Result<Outcome, AccountError> {
        // Nobody is told of the copies' EMAILIDs before they are what they will be.
        let _under_way = self.target.copies_to_here.read().await;
        let mut pairs = Vec::new();
        let mut incomplete = false;
        // What they have heard counts when all copies have got their UIDs, in the messages' order.
        let mut leases = Vec::new();
        let mut ended = None;
        for side in Side::BOTH.into_iter().filter(|&side| !wanted[side].is_empty()) {
            let there = self.target.view().names[side].is_some();
            let to = if there || !self.crosses() { side } else { side.other() };
            let copied = match to == side {
                true => self.on_side(side, &wanted[side], &mut leases).await,
                false => self.across(side, &wanted[side]).await,
            };
            match copied {
                Ok(Ok(told)) => {
                    self.settle(side, to, &wanted[side], &told).await?;
                    let pairs_here = by_uid(&view.map, side, &told.pairs);
                    pairs.extend(pairs_here.map(|(from, copy)| (from, to, copy)));
                    incomplete |= told.incomplete;
                    continue;
                }
                Ok(Err(done)) => ended = Some(Ok(Outcome::Refused(Reply::from_server(&done)))),
                Err(e) => ended = Some(Err(e)),
            }
            break;
        }
        if ended.is_none() {
            step("copy command: the messages are copied");
        }
        if incomplete || ended.is_some() {
            self.give_back(leases).await;
            self.look_at_target().await;
            return ended.unwrap_or(Ok(Outcome::Done(None)));
        }
        if pairs.is_empty() {
            self.give_back(leases).await;
            return Ok(Outcome::Done(None));
        }
        pairs.sort_unstable_by_key(|(from, ..)| *from);
        let claimed = self
            .target
            .change(|merged, batch| {
                let now = now();
                let mut claimed = Vec::with_capacity(pairs.len());
                for (from, side, to) in pairs {
                    let copy = merged.claim(side, to, now)?;
                    // RFC 8474 §5.1: a copy has its source's.
                    let email = emails.of(from);
                    self.target.put_email(batch, copy, email);
                    if !self.moving {
                        // So that who removes it is known to have moved it.
                        self.source.put_email(batch, from, email);
                    }
                    self.target.is_back(merged, batch, copy, email);
                    claimed.push((from, copy));
                }
                Ok((claimed, true))
            })
            .await;
        self.give_back(leases).await;
        Ok(Outcome::Done(Some(copy_uid(self.target.view().uid_validity, &claimed?))))
    }

    /// Nobody need wonder any more what became of these messages, of whatever MOVE that broke off.
    async fn settle(
        &self,
        side: Side,
        to: Side,
        wanted: &UidSet<SideUid>,
        told: &Told,
    ) -> Result<(), AccountError> {
        let mailboxes = (self.source.id(), self.target.id());
        let copies = told.pairs.iter().map(|(_, copy)| *copy).collect();
        self.user.account.copied(mailboxes, (side, to), wanted, &copies).await
    }

    async fn give_back(&self, leases: Vec<Lease>) {
        for lease in leases {
            self.source.give_back(lease).await;
        }
    }

    /// Shows in the target what came there without being told of. What was done is done, whether
    /// or not this succeeds.
    async fn look_at_target(&self) {
        if let Err(e) = self.target.refresh(&self.user.access).await {
            warn!(mailbox = %self.target.name(), "copies are not shown yet: {e}");
        }
    }

    /// On one side. Connections of which the news are not taken yet come to `leases`.
    async fn on_side(
        &self,
        side: Side,
        wanted: &UidSet<SideUid>,
        leases: &mut Vec<Lease>,
    ) -> Result<Result<Told, Done>, AccountError> {
        let Some(name) = self.target.view().names[side].clone() else {
            return Err(AccountError::NotThere { mailbox: self.target.name().clone(), side });
        };
        let validity = self.target.peek(|m| m.record.sides[side].map(|s| s.uid_validity));
        // A copy gets the flags that the connection knows of.
        let mut lease = self.source.lease_to_look(&self.user.access, side).await?;
        let announced = ensure_announced(&mut lease, wanted).await?;
        let wanted = wanted.intersect(&announced);
        if self.moving {
            self.source.note_second_copies(&mut lease, &wanted, false, Fate::MovedAlone).await?;
        }
        if !self.moving || lease.profile().has_move() {
            let copied = self.at_once(&mut lease, &name, validity, (&wanted, &announced)).await?;
            leases.push(lease);
            return Ok(copied);
        }
        let noted = self.begin_move(side, side, &wanted).await?;
        let copied = self.at_once(&mut lease, &name, validity, (&wanted, &announced)).await;
        if copied.is_ok() {
            self.source.give_back(lease).await;
        }
        let moved = match copied {
            Ok(Ok(told)) => {
                step("move: the messages are copied");
                self.finish_move(side, side, told, &wanted).await
            }
            ended => ended,
        };
        self.noted_move(noted, moved).await
    }

    /// Notes a MOVE that is a copy and a removal, and may break off in between. `None`: nobody knows what
    /// the target looks like.
    async fn begin_move(
        &self,
        from: Side,
        to: Side,
        uids: &UidSet<SideUid>,
    ) -> Result<Option<u32>, AccountError> {
        let seen = |mailbox: &Mailbox, side| {
            let seen = mailbox.peek(|m| m.record.sides[side])?;
            let (mailbox, uid_validity) = (mailbox.id(), seen.uid_validity);
            Some((MovingPlace { mailbox, side, uid_validity }, seen.uid_next))
        };
        let places = seen(&self.source, from).zip(seen(&self.target, to));
        let Some(((from, _), (to, uid_next))) = places else { return Ok(None) };
        let moving = Moving { from, to, uid_next, uids: uids.clone() };
        let number = self.user.account.begin_move(&moving).await?;
        step("move: it is noted");
        Ok(Some(number))
    }

    /// What became of it is known, or the copier is to find out.
    async fn noted_move<T>(
        &self,
        noted: Option<u32>,
        moved: Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        match (noted, &moved) {
            (Some(number), Ok(_)) => self.user.account.end_move(number).await?,
            (Some(number), Err(_)) => self.user.account.leave_move(number),
            (None, _) => {}
        }
        moved
    }

    /// By COPY, or by MOVE where the server has it.
    async fn at_once(
        &self,
        lease: &mut Lease,
        name: &MailboxName,
        validity: Option<u32>,
        (wanted, announced): (&UidSet<SideUid>, &UidSet<SideUid>),
    ) -> Result<Result<Told, Done>, AccountError> {
        let by_move = self.moving && lease.profile().has_move();
        let verb = if by_move { "UID MOVE" } else { "UID COPY" };
        let mut told = Told::default();
        let mut refused = None;
        for set in wanted.spanned(announced).chunks_of(MAX_COMMAND) {
            let mut command = Parts::new();
            command.text(&format!("{verb} {set} ")).mailbox(name);
            // Of a MOVE a part may have been done.
            let done = match by_move {
                true => lease.run_once(&command).await?,
                false => lease.run(&command).await?,
            };
            if !done.is_ok() {
                refused = Some(done);
                break;
            }
            told.take(&done, validity, wanted);
        }
        Ok(refused.map_or(Ok(told), Err))
    }

    /// Takes from the source what was copied to `to`. Where the server refuses that, nothing is moved: what is
    /// still there is no more marked, and its copies are taken back (RFC 6851 §3.3).
    async fn finish_move(
        &self,
        side: Side,
        to: Side,
        told: Told,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<Told, Done>, AccountError> {
        let access = &self.user.access;
        let mut lease = self.source.lease(access, side).await?;
        let taken = match take_away(&mut lease, wanted).await {
            // That a connection ended says nothing of the server: once more over another one.
            Err(e) => {
                warn!(mailbox = %self.source.name(), "what was copied is taken away once more: {e}");
                drop(lease);
                lease = self.source.lease(access, side).await?;
                take_away(&mut lease, wanted).await?
            }
            Ok(taken) => taken,
        };
        let Some(refused) = taken else {
            self.source.give_back(lease).await;
            return Ok(Ok(told));
        };
        lease.must("NOOP", &text("NOOP")).await?;
        let there = wanted.intersect(&ensure_announced(&mut lease, wanted).await?);
        // One who refuses this as well has marked nothing.
        let lift = |set: &str| format!("UID STORE {set} -FLAGS.SILENT (\\Deleted)");
        drop(each_chunk(&mut lease, &there, lift).await?);
        self.source.give_back(lease).await;
        let of = |(from, copy): &(SideUid, SideUid)| there.contains(*from).then_some(*copy);
        let copies: UidSet<SideUid> = told.pairs.iter().filter_map(of).collect();
        if !copies.is_empty() {
            let mut lease = self.target.lease(access, to).await?;
            if let Some(kept) = take_away(&mut lease, &copies).await? {
                warn!(mailbox = %self.target.name(), "copies are not taken back: {}", kept.words());
            }
            self.target.give_back(lease).await;
        }
        Ok(Err(refused))
    }

    /// From the side where the messages lie to the other one, where the target is.
    async fn across(
        &self,
        side: Side,
        wanted: &UidSet<SideUid>,
    ) -> Result<Result<Told, Done>, AccountError> {
        let access = &self.user.access;
        // Connections are borrowed in the order of the sides (see `backend::Pool`).
        let (mut from, mut to) = match side {
            Side::Old => {
                let from = self.source.lease_to_look(access, Side::Old).await?;
                (from, self.target.lease(access, Side::New).await?)
            }
            Side::New => {
                let to = self.target.lease(access, Side::Old).await?;
                (self.source.lease_to_look(access, Side::New).await?, to)
            }
        };
        let announced = ensure_announced(&mut from, wanted).await?;
        let wanted = wanted.intersect(&announced);
        if self.moving {
            self.source.note_second_copies(&mut from, &wanted, false, Fate::Moved).await?;
        }
        let noted = match self.moving {
            true => self.begin_move(side, side.other(), &wanted).await?,
            false => None,
        };
        let copier = &self.user.copier;
        let copied = copier.copy_across(&self.source, &mut from, &mut to, &wanted).await;
        let copied = match copied {
            Ok(copied) => {
                self.target.give_back(to).await;
                self.source.give_back(from).await;
                copied
            }
            Err(e) => return self.noted_move(noted, Err(e)).await,
        };
        let moved = match copied {
            Err(refused) => Ok(Err(refused)),
            Ok(copied) => {
                let told = Told {
                    incomplete: copied.iter().any(|(_, copy)| copy.is_none()),
                    pairs: copied.iter().filter_map(|(from, to)| Some((*from, (*to)?))).collect(),
                };
                let copied: UidSet<SideUid> = copied.iter().map(|(from, _)| *from).collect();
                match self.moving {
                    true => self.finish_move(side, side.other(), told, &copied).await,
                    false => Ok(Ok(told)),
                }
            }
        };
        self.noted_move(noted, moved).await
    }
}

impl Told {
    /// Takes the COPYUID of one answer: with COPY in the tagged OK (RFC 4315 §3), with MOVE in an
    /// untagged one (RFC 6851 §4.3).
    fn take(&mut self, done: &Done, validity: Option<u32>, wanted: &UidSet<SideUid>) {
        let before = self.pairs.len();
        let untagged = done.untagged.iter().filter_map(|response| match response {
            Response::Status { code, .. } => code.as_ref(),
            _ => None,
        });
        for code in untagged.chain(&done.code) {
            let Code::CopyUid { validity: of, from, to } = code else { continue };
            match paired(from, to, wanted.len()).filter(|_| validity == Some(*of)) {
                Some(pairs) => self.pairs.extend(pairs),
                None => self.incomplete = true,
            }
        }
        self.incomplete |= self.pairs.len() == before;
    }
}

/// The two sets of a COPYUID, UID by UID. `None` if they are not as many, or more than `most`.
fn paired(
    from: &[(u32, u32)],
    to: &[(u32, u32)],
    most: u32,
) -> Option<impl Iterator<Item = (SideUid, SideUid)>> {
    let count = |ranges: &[(u32, u32)]| {
        ranges.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum::<u64>()
    };
    if count(from) != count(to) || count(from) > u64::from(most) {
        return None;
    }
    let each = |ranges: &[(u32, u32)]| {
        let uids: Vec<SideUid> =
            ranges.iter().flat_map(|&(first, last)| (first..=last).map(SideUid)).collect();
        uids.into_iter()
    };
    Some(each(from).zip(each(to)))
}

/// One side's pairs, with the virtual UIDs of what was copied and the UIDs of the copies.
fn by_uid(
    map: &UidMap,
    side: Side,
    pairs: &[(SideUid, SideUid)],
) -> impl Iterator<Item = (Uid, SideUid)> {
    let mut cursor = map.cursor();
    pairs.iter().filter_map(move |&(from, to)| Some((cursor.find(side, from)?.0, to)))
}

/// `resp-code-copy` (RFC 4315 §4). The n-th UID of one set belongs to the n-th of the other, so
/// ranges are written only where both ascend by one.
fn copy_uid(validity: u32, pairs: &[(Uid, Uid)]) -> String {
    let mut ranges: Vec<(Uid, Uid, u32)> = Vec::new();
    for &(from, to) in pairs {
        match ranges.last_mut() {
            Some((a, b, len))
                if from.0.checked_sub(a.0) == Some(*len) && to.0.checked_sub(b.0) == Some(*len) =>
            {
                *len += 1;
            }
            _ => ranges.push((from, to, 1)),
        }
    }
    let (mut sources, mut copies) = (String::new(), String::new());
    for (from, to, len) in ranges {
        write_range(&mut sources, from, len);
        write_range(&mut copies, to, len);
    }
    format!("COPYUID {validity} {sources} {copies}")
}

fn write_range(out: &mut String, first: Uid, len: u32) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(&first.to_string());
    if len > 1 {
        out.push_str(&format!(":{}", first.0 + (len - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::response::Status;
    use crate::uid::Place;

    fn pairs(from: &[(u32, u32)], to: &[(u32, u32)], most: u32) -> Option<Vec<(u32, u32)>> {
        Some(paired(from, to, most)?.map(|(a, b)| (a.0, b.0)).collect())
    }

    fn done(code: Option<Code>, untagged: Vec<Response>) -> Done {
        Done { status: Status::Ok, code, text: "done".into(), untagged }
    }

    fn set(text: &str) -> UidSet<SideUid> {
        UidSet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_nth_belongs_to_the_nth() {
        assert_eq!(
            pairs(&[(304, 304), (319, 320)], &[(3956, 3958)], 9),
            Some(vec![(304, 3956), (319, 3957), (320, 3958)])
        );
        assert_eq!(pairs(&[(9, 9), (1, 2)], &[(5, 6), (1, 1)], 3).unwrap()[2], (2, 1));
    }

    #[test]
    fn sets_that_do_not_match_are_not_believed() {
        assert_eq!(pairs(&[(1, 3)], &[(1, 2)], 9), None);
        assert_eq!(pairs(&[(1, 3)], &[(4, 6)], 2), None);
        assert_eq!(pairs(&[(1, u32::MAX)], &[(1, u32::MAX)], 1000), None);
    }

    #[test]
    fn copyuid_is_found_where_copy_and_move_put_it() {
        let code = || Code::CopyUid { validity: 7, from: vec![(1, 2)], to: vec![(10, 11)] };
        let untagged = Response::Status {
            status: crate::imap::response::UntaggedStatus::Ok,
            code: Some(code()),
            text: "moved".into(),
        };
        for done in [done(Some(code()), Vec::new()), done(None, vec![untagged])] {
            let mut told = Told::default();
            told.take(&done, Some(7), &set("1:2"));
            assert_eq!(told.pairs.len(), 2);
            assert!(!told.incomplete);
        }
    }

    #[test]
    fn silence_or_another_uidvalidity_leaves_the_copies_to_be_looked_for() {
        let code = Code::CopyUid { validity: 7, from: vec![(1, 1)], to: vec![(10, 10)] };
        for done in [done(None, Vec::new()), done(Some(code), Vec::new())] {
            let mut told = Told::default();
            told.take(&done, Some(8), &set("1"));
            assert!(told.incomplete && told.pairs.is_empty());
        }
    }

    #[test]
    fn pairs_get_their_virtual_uids() {
        let mut map = UidMap::default();
        map.push(Uid(5), 2, Place::Old(SideUid(5))).unwrap();
        map.push(Uid(20), 2, Place::New(SideUid(1))).unwrap();
        let told = [(SideUid(2), SideUid(8)), (SideUid(1), SideUid(9)), (SideUid(7), SideUid(1))];
        let found: Vec<_> = by_uid(&map, Side::New, &told).collect();
        assert_eq!(found, [(Uid(21), SideUid(8)), (Uid(20), SideUid(9))]);
    }

    #[test]
    fn ranges_are_written_where_both_ascend() {
        let code = |pairs: &[(u32, u32)]| {
            let pairs: Vec<_> = pairs.iter().map(|&(a, b)| (Uid(a), Uid(b))).collect();
            copy_uid(7, &pairs)
        };
        assert_eq!(code(&[(1, 11), (2, 12), (3, 13)]), "COPYUID 7 1:3 11:13");
        assert_eq!(code(&[(1, 12), (2, 11), (3, 12)]), "COPYUID 7 1,2:3 12,11:12");
        assert_eq!(code(&[(1, 5), (4, 6)]), "COPYUID 7 1,4 5,6");
    }
}
