//! Small answers about many messages: one set a side is fetched, and put into the client's order in a
//! bounded window.

use std::ops::Range;
use std::sync::Arc;

use super::plan::{Step, gathered};
use super::run::{Broken, Fetch, FirstPiece, Found, Taken, connection, read_items, skip};
use crate::backend::{Conn, Event, Lease, Pending};
use crate::base::Sides;
use crate::ferry::Tee;
use crate::imap::fetch_rewrite::Writer;
use crate::imap::fetch_scan::Item;
use crate::imap::response::Response;
use crate::uid::{Cursor, Place, SideUid, Uid, UidSet};

/// Octets held at a time. What finds no room is passed over, and asked for again when its turn comes.
const ROOM: u64 = 4 << 20;

/// Answers in the order in which they came.
#[derive(Default)]
struct Answers {
    /// Their items, one answer behind the other.
    octets: Vec<u8>,
    /// Whose they are, and where in `octets`.
    of: Vec<(Uid, Range<usize>)>,
    /// Those for which there was no room.
    left: Vec<(Uid, Step)>,
    /// Messages that were opened.
    opened: Vec<(Uid, Place, Option<Tee>)>,
}

/// One window: what a side was asked for.
struct Asked {
    step: Step,
    pending: Vec<Pending>,
}

impl Fetch<'_> {
    /// One set a side, a window at a time, put into the client's order. Returns the steps that are
    /// left: those behind one that is too long.
    pub(super) async fn gather<'s>(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        steps: &'s [Step],
    ) -> Result<&'s [Step], Broken> {
        let mut cursor = self.numbering.cursor();
        let (mut asked, mut rest) = self.ask_window(leases, steps).await?;
        while !asked.is_empty() {
            let expected = asked.iter().map(|asked| asked.step.len as usize).sum();
            let mut answers = Answers { of: Vec::with_capacity(expected), ..Answers::default() };
            let mut answered = Vec::with_capacity(asked.len());
            let mut whole = true;
            for Asked { step, pending } in asked {
                let conn = connection(leases, step.side)?;
                let mut there = UidSet::new();
                let mut all = Taken::All;
                for pending in pending {
                    let taken = self.take_answers(conn, &step, pending, &mut there, &mut answers);
                    all = all.and(taken.await?);
                }
                whole &= matches!(all, Taken::All);
                answered.push((step, there, all));
            }
            // What comes next is under way while the client gets this.
            let next = match whole && answers.left.is_empty() {
                true => Some(self.ask_window(leases, rest).await?),
                false => None,
            };
            self.pass_on(leases, answers, &mut cursor).await?;
            for (step, there, taken) in answered {
                let there = self.ask_for_rest(leases, &step, there, taken, &mut cursor).await?;
                self.note_missing(&step, &there);
            }
            (asked, rest) = match next {
                Some(next) => next,
                None => self.ask_window(leases, rest).await?,
            };
        }
        Ok(rest)
    }

    /// Asks for as many steps as fit into a window. Returns those behind them.
    async fn ask_window<'s>(
        &self,
        leases: &mut Sides<Option<Lease>>,
        steps: &'s [Step],
    ) -> Result<(Vec<Asked>, &'s [Step]), Broken> {
        let window = self.window();
        let mut messages = 0;
        let fits = |step: &&Step| {
            messages += step.len;
            messages <= window
        };
        let (some, rest) = steps.split_at(steps.iter().take_while(fits).count());
        let mut asked = Vec::new();
        for step in gathered(some) {
            let conn = connection(leases, step.side)?;
            let pending = self.ask(conn, step.side, &step.uids()).await?;
            conn.flush().await?;
            asked.push(Asked { step, pending });
        }
        Ok((asked, rest))
    }

    /// Gives the client what was gathered.
    async fn pass_on(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        mut answers: Answers,
        cursor: &mut Cursor,
    ) -> Result<(), Broken> {
        let wish = Arc::clone(&self.wish);
        answers.of.sort_unstable_by_key(|(uid, _)| *uid);
        answers.left.sort_unstable_by_key(|(uid, _)| *uid);
        let mut left = answers.left.into_iter().peekable();
        self.tell_offered();
        for (uid, octets) in answers.of {
            while let Some((_, step)) = left.next_if(|(at, _)| *at < uid) {
                self.stream(leases, &[step]).await?;
            }
            let Some(seq) = cursor.seq(uid) else { continue };
            let email = self.emails.as_ref().map(|emails| emails.of(uid));
            let (mut writer, out) = (Writer::new(&wish), &mut self.client.out);
            writer.begin(seq, uid, email, out);
            writer.written(&answers.octets[octets], out);
            writer.end(out);
            self.done.push(uid);
            if self.client.is_full() {
                self.send(&[]).await?;
            }
        }
        for (_, step) in left {
            self.stream(leases, &[step]).await?;
        }
        for (uid, place, tee) in answers.opened {
            self.opened(uid, place, tee);
        }
        Ok(())
    }

    /// Asks for what a window left out. Returns what is answered then.
    async fn ask_for_rest(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        step: &Step,
        mut there: UidSet<SideUid>,
        taken: Taken,
        cursor: &mut Cursor,
    ) -> Result<UidSet<SideUid>, Broken> {
        let whole = match taken {
            Taken::All => true,
            Taken::Torn => false,
            Taken::PutOff(_) => {
                let conn = connection(leases, step.side)?;
                let rest = step.uids().subtract(&there);
                let pending = self.ask(conn, step.side, &rest).await?;
                self.insist(conn, step, &rest, pending, cursor, &mut there).await?
            }
        };
        if !whole {
            let conn = connection(leases, step.side)?;
            self.one_by_one(conn, step, cursor, &mut there).await?;
        }
        Ok(there)
    }

    /// Takes the answers to a command.
    async fn take_answers(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        pending: Pending,
        there: &mut UidSet<SideUid>,
        answers: &mut Answers,
    ) -> Result<Taken, Broken> {
        let mut items = Vec::new();
        loop {
            match self.event(conn).await? {
                Event::Fetch { seq, text, literal } => {
                    let first = FirstPiece { seq, text, literal };
                    self.hold(conn, step, first, there, answers, &mut items).await?;
                }
                Event::Response(response @ Response::Tagged { .. }) => {
                    if let Some(done) = conn.tagged(pending, response, Vec::new())? {
                        self.mailbox.learn_flags(conn);
                        return Ok(self.taken(conn, done)?);
                    }
                }
                Event::Response(_) => {}
                Event::Chunk { .. } | Event::More { .. } => {
                    return Err(conn.protocol("a literal outside of a FETCH".into()).into());
                }
            }
        }
    }

    /// Holds what a reply says, if it is an answer and there is room for it.
    async fn hold(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        first: FirstPiece,
        there: &mut UidSet<SideUid>,
        answers: &mut Answers,
        items: &mut Vec<Item>,
    ) -> Result<(), Broken> {
        let FirstPiece { seq, text, mut literal } = first;
        let Some(mut scan) = read_items(&text, items) else {
            return Err(conn.protocol("unreadable FETCH".into()).into());
        };
        let hollow = self.is_hollow(literal, items);
        let wanted = |_| (!hollow).then_some(());
        let Some((found, ())) = self.found(conn, step, (seq, &text, items), there, wanted) else {
            return skip(conn, literal).await;
        };
        let Found { side_uid, uid, place, mod_seq } = found;
        there.insert(side_uid);
        let wish = Arc::clone(&self.wish);
        let decides = place.authority() == step.side;
        let mut writer = Writer::new(&wish);
        writer.keep_flags = decides && (wish.flags || self.seen_set[step.side].contains(side_uid));
        writer.mod_seq = self.mod_seq_told(step.side, mod_seq.filter(|_| decides)).await?;
        self.beside(decides, uid, &mut writer);
        let from = answers.octets.len();
        let mut segment = text;
        let mut tee = None;
        loop {
            writer.items(&segment, items, &mut answers.octets);
            let Some(announced) = literal else { break };
            self.literals.1 += announced.octets;
            if announced.octets > ROOM.saturating_sub(answers.octets.len() as u64) {
                answers.octets.truncate(from);
                answers.left.push((uid, Step::one(step.side, uid, place)));
                return skip(conn, literal).await;
            }
            answers.octets.extend_from_slice(b"\r\n");
            let mut collecting = self.tee(place, announced, (&segment, items));
            loop {
                let Event::Chunk { octets, last } = self.event(conn).await? else {
                    return Err(conn.protocol("a literal broke off".into()).into());
                };
                answers.octets.extend_from_slice(&octets);
                if collecting.as_mut().is_some_and(|tee| tee.push(&octets).is_err()) {
                    // It is read again by the copier.
                    collecting = None;
                }
                if last {
                    break;
                }
            }
            tee = collecting.or(tee);
            let Event::More { text, literal: next } = self.event(conn).await? else {
                return Err(conn.protocol("a FETCH broke off".into()).into());
            };
            items.clear();
            if scan.segment(&text, 0, items).is_err() {
                return Err(conn.protocol("unreadable FETCH behind a literal".into()).into());
            }
            segment = text;
            literal = next;
        }
        self.literals.0 += 1;
        answers.of.push((uid, from..answers.octets.len()));
        if wish.content {
            answers.opened.push((uid, place, tee));
        }
        Ok(())
    }
}
