//! Small answers about many messages: one set a side is fetched, and put into the client's order in a
//! bounded window.

use super::line::{Writer, is_answer, told_flags};
use super::plan::{Step, gathered};
use super::run::{Broken, Fetch, Taken, connection};
use crate::backend::{Conn, Lease, Pending};
use crate::base::Sides;
use crate::uid::{Cursor, SideUid, Uid, UidSet};

/// Messages put into order at a time.
const WINDOW: u32 = 512;

impl Fetch<'_> {
    /// One set a side, a window at a time, put into the client's order.
    pub(super) async fn run_gathered(
        &mut self,
        leases: &mut Sides<Option<Lease>>,
        steps: &[Step],
    ) -> Result<(), Broken> {
        let mut cursor = self.numbering.cursor();
        let mut rest = steps;
        while !rest.is_empty() {
            let mut messages = 0;
            let full = rest.iter().position(|step| {
                messages += step.len;
                messages > WINDOW
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
            let mut lines: Vec<(Uid, Vec<u8>)> = Vec::new();
            let mut torn = Vec::new();
            for (step, pending) in asked.iter().zip(sent) {
                let conn = connection(leases, step.side)?;
                let mut all = Taken::All;
                for pending in pending {
                    let taken = self.gather(conn, step, pending, &mut cursor, &mut lines).await?;
                    all = all.and(taken);
                }
                if !matches!(all, Taken::All) {
                    // Those that are there go before those that are asked for anew.
                    torn.push((step, all));
                }
            }
            lines.sort_by_key(|(uid, _)| *uid);
            self.tell_offered();
            for (uid, line) in lines {
                self.send(&line).await?;
                self.done.push(uid);
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

    async fn gather(
        &mut self,
        conn: &mut Conn,
        step: &Step,
        pending: Pending,
        cursor: &mut Cursor,
        lines: &mut Vec<(Uid, Vec<u8>)>,
    ) -> Result<Taken, Broken> {
        let mut replies = Vec::new();
        let mut keep = |fetched| replies.push(fetched);
        let finishing = conn.finish_fetch(pending, &mut keep);
        let done = self.client.patiently(finishing).await??;
        let taken = self.taken(conn, done)?;
        self.mailbox.learn_flags(conn);
        let wish = self.wish.clone();
        let mut answered = UidSet::new();
        for fetched in replies {
            let Some(side_uid) = fetched.uid else { continue };
            let (text, items) = fetched.parts();
            let again = answered.contains(side_uid);
            let found = step
                .find(side_uid)
                .filter(|_| !again)
                .filter(|_| is_answer(items, &wish))
                .and_then(|(uid, place)| Some((uid, place, cursor.seq(uid)?)));
            let Some((uid, place, seq)) = found else {
                conn.note(fetched);
                continue;
            };
            answered.insert(side_uid);
            let decides = place.authority() == step.side;
            if decides && let Some(flags) = told_flags(text, items) {
                self.compare(conn, (uid, side_uid), flags, fetched.mod_seq());
            }
            let mut line = Vec::with_capacity(text.len() + 16);
            let mut writer = Writer::new(&wish);
            writer.keep_flags = decides;
            let told = fetched.mod_seq().filter(|_| decides);
            writer.mod_seq = self.mod_seq_told(step.side, told).await?;
            let email = self.emails.as_ref().map(|emails| emails.of(uid));
            writer.begin(seq, uid, email, &mut line);
            writer.items(text, items, &mut line);
            writer.end(&mut line);
            lines.push((uid, line));
        }
        Ok(taken)
    }
}
