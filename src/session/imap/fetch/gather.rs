//! Small answers about many messages: one set a side is fetched, and put into the client's order in a
//! bounded window.

use std::ops::Range;
use std::sync::Arc;

use super::plan::{Step, gathered};
use super::run::{Broken, Fetch, Found, Taken, connection, read_items};
use crate::backend::{Conn, Event, Lease, Pending};
use crate::base::Sides;
use crate::imap::fetch_rewrite::Writer;
use crate::imap::fetch_scan::Item;
use crate::imap::response::Response;
use crate::uid::{SideUid, Uid, UidSet};

/// Messages put into order at a time.
const WINDOW: u32 = 512;
/// The same where an answer has a few dozen octets: some megabytes of them are held at a time.
const WIDE_WINDOW: u32 = 1 << 16;

/// Answers in the order in which they came.
#[derive(Default)]
struct Answers {
    /// Their items, one answer behind the other.
    octets: Vec<u8>,
    /// Whose they are, and where in `octets`.
    of: Vec<(Uid, Range<usize>)>,
}

impl Fetch<'_> {
    /// One set a side, a window at a time, put into the client's order.
    pub(super) async fn run_gathered(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        steps: &[Step],
    ) -> Result<(), Broken> {
        let window = if self.wish.tiny { WIDE_WINDOW } else { WINDOW };
        let wish = Arc::clone(&self.wish);
        let mut cursor = self.numbering.cursor();
        let mut rest = steps;
        while !rest.is_empty() {
            let mut messages = 0;
            let full = rest.iter().position(|step| {
                messages += step.len;
                messages > window
            });
            // At least one step, however long.
            let (window, behind) = rest.split_at(full.unwrap_or(rest.len()).max(1));
            rest = behind;
            let asked = gathered(window);
            let mut sent = Vec::new();
            for step in &asked {
                let conn = connection(leases, step.side)?;
                let pending = self.ask(conn, step.side, &step.uids()).await?;
                conn.flush().await?;
                sent.push(pending);
            }
            let mut answers = Answers::default();
            let mut torn = Vec::new();
            for (step, pending) in asked.iter().zip(sent) {
                let conn = connection(leases, step.side)?;
                let mut answered = UidSet::new();
                let mut all = Taken::All;
                for pending in pending {
                    let taken = self.gather(conn, step, pending, &mut answered, &mut answers);
                    all = all.and(taken.await?);
                }
                if !matches!(all, Taken::All) {
                    // Those that are there go before those that are asked for anew.
                    torn.push((step, all));
                }
            }
            answers.of.sort_unstable_by_key(|(uid, _)| *uid);
            self.tell_offered();
            for (uid, octets) in answers.of {
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
            for (step, taken) in torn {
                let conn = connection(leases, step.side)?;
                let found =
                    |uid: &SideUid| step.find(*uid).is_some_and(|(u, _)| self.done.contains(u));
                let mut answered: UidSet<SideUid> = step.uids().iter().filter(found).collect();
                let mut torn = matches!(taken, Taken::Torn);
                if !torn {
                    let rest = step.uids().subtract(&answered);
                    let pending = self.ask(conn, step.side, &rest).await?;
                    let insisting =
                        self.insist(conn, step, &rest, pending, &mut cursor, &mut answered);
                    torn = !insisting.await?;
                }
                if torn {
                    self.one_by_one(conn, step, &mut cursor, &mut answered).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes the answers to a command.
    async fn gather(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        pending: Pending,
        answered: &mut UidSet<SideUid>,
        answers: &mut Answers,
    ) -> Result<Taken, Broken> {
        let mut items = Vec::new();
        loop {
            match self.event(conn).await? {
                Event::Fetch { seq, text, literal: None } => {
                    if read_items(&text, &mut items).is_none() {
                        return Err(conn.protocol("unreadable FETCH".into()).into());
                    }
                    self.keep(conn, step, (seq, &text, &items), answered, answers).await?;
                }
                Event::Fetch { seq, text, literal } => {
                    let fetched = self.client.patiently(conn.gather(seq, text, literal)).await??;
                    let (text, items) = fetched.parts();
                    self.keep(conn, step, (seq, text, items), answered, answers).await?;
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

    /// Keeps what a reply says, if it is an answer.
    async fn keep(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        reply: (u32, &[u8], &[Item]),
        answered: &mut UidSet<SideUid>,
        answers: &mut Answers,
    ) -> Result<(), Broken> {
        let (_, text, items) = reply;
        let Some((found, ())) = self.found(conn, step, reply, answered, |_| Some(())) else {
            return Ok(());
        };
        let Found { side_uid, uid, place, mod_seq } = found;
        answered.insert(side_uid);
        let decides = place.authority() == step.side;
        let mut writer = Writer::new(&self.wish);
        writer.keep_flags = decides;
        writer.mod_seq = self.mod_seq_told(step.side, mod_seq.filter(|_| decides)).await?;
        self.beside(decides, uid, &mut writer);
        let from = answers.octets.len();
        writer.items(text, items, &mut answers.octets);
        answers.of.push((uid, from..answers.octets.len()));
        Ok(())
    }
}
