//! What comes when both sides are known: it is compared with what the other side has, before it is shown or, where
//! nobody asked the other side, when both are brought together again.

use std::sync::Arc;

use tracing::debug;

use super::pair::{self, Contents, Pair};
use super::{TOGETHER, Task, read};
use crate::account::mailbox::{Mailbox, now};
use crate::account::{Access, AccountError, Merged, unite_flags};
use crate::backend::{BackendError, Conn, text};
use crate::base::{Phase, Side, Sides, step};
use crate::index::Fate;
use crate::uid::{SideUid, Uid, UidSet};

/// What arrived on old and waits, and what it is compared with.
pub(super) struct Waiting {
    on_old: UidSet<SideUid>,
    on_new: UidSet<SideUid>,
    /// Whatever the dates are.
    all: bool,
}

impl Waiting {
    pub(super) fn of(merged: &Merged) -> Waiting {
        let (on_old, on_new) = (merged.waiting.clone(), merged.new_alone());
        Waiting { on_old, on_new, all: merged.relinking }
    }
}

impl Mailbox {
    /// What came to either side while much is compared does not wait for the end of that.
    pub(super) async fn compare_arrivals(
        self: &Arc<Self>,
        task: &Task,
    ) -> Result<(), AccountError> {
        let (came, waits) = self.peek(|m| (m.came.intersect(&m.unmatched), !m.waiting.is_empty()));
        if came.is_empty() && !waits {
            return Ok(());
        }
        let look = |m: &Merged| (m.came.intersect(&m.unmatched), Waiting::of(m));
        let ((came, waiting), mut old, mut new) = self.both(&task.access, look).await?;
        self.compare_waiting(&mut old, &mut new, waiting).await?;
        let unpaired = self.peek(Merged::unpaired);
        let (on_old, on_new) = self.prints_of_few(&mut old, &mut new, &unpaired, &came).await?;
        let (alike, alone) = self.compare_headers(&came, on_old, on_new);
        self.show(&mut new, &alone, true).await?;
        self.give_back(old).await;
        self.give_back(new).await;
        self.decide(&task.access, &alike).await?;
        self.change(|m, _| {
            m.came = m.came.subtract(&came);
            Ok(((), false))
        })
        .await?;
        task.told.send_replace(());
        Ok(())
    }

    /// Compares what arrived on old with what lies on new alone: what is the same becomes one with it,
    /// and the rest is shown. False if nothing waits.
    pub(super) async fn compare_waiting(
        self: &Arc<Self>,
        old: &mut Conn,
        new: &mut Conn,
        Waiting { on_old, on_new, all }: Waiting,
    ) -> Result<bool, AccountError> {
        if on_old.is_empty() {
            return Ok(false);
        }
        let pairs = self.pairs(old, new, &on_old, &on_new, all).await?;
        self.settle_waiting(old, &on_old, Some(&pairs)).await?;
        Ok(true)
    }

    /// Compares what arrived on old with what may come there a second time, and shows the rest: all that can be
    /// told while new is not asked.
    pub(super) async fn compare_on_old(
        self: &Arc<Self>,
        access: &Access,
    ) -> Result<(), AccountError> {
        // Nobody marks anything meanwhile; before any connection is borrowed, as by everybody who writes.
        let _alone = self.alone().await;
        let mut old = self.lease(access, Side::Old).await?;
        let waiting = self.peek(|m| m.waiting.clone());
        self.follow(&mut old).await?;
        self.hear(&mut old).await?;
        self.settle_waiting(&mut old, &waiting, None).await?;
        self.give_back(old).await;
        Ok(())
    }

    /// The same of new, while old is not asked.
    pub(super) async fn compare_on_new(
        self: &Arc<Self>,
        access: &Access,
    ) -> Result<(), AccountError> {
        let mut new = self.lease(access, Side::New).await?;
        let unmatched = self.peek(|m| m.unmatched.clone());
        self.show(&mut new, &unmatched, false).await?;
        let told = new.selected().and_then(|s| s.highest_mod_seq);
        self.give_back(new).await;
        self.change(|m, _| {
            let ended = m.end_matching(told);
            Ok(((), ended))
        })
        .await
    }

    /// Compares what was shown while the other side could not be asked: what is the same becomes one, and goes
    /// on under the lower UID.
    pub(super) async fn compare_shown(
        self: &Arc<Self>,
        access: &Access,
    ) -> Result<(), AccountError> {
        if !self.peek(Merged::is_to_be_compared) {
            return Ok(());
        }
        let look = |m: &Merged| (m.record.shown_late.clone(), m.unpaired(), m.new_alone());
        let ((late, on_old, on_new), mut old, mut new) = self.both(access, look).await?;
        let late_old = late.old.intersect(&on_old);
        let late_new = late.new.intersect(&on_new);
        let mut pairs = self.pairs_of_few(&mut old, &mut new, &late_old, &on_new).await?;
        pairs.extend(self.pairs_of_few(&mut old, &mut new, &on_old, &late_new).await?);
        let paired = Sides {
            old: pairs.iter().map(|pair| pair.old).collect(),
            new: pairs.iter().map(|pair| pair.new).collect(),
        };
        let mut second_copies = Sides {
            old: self.second_copies_among(&mut old, &late_old.subtract(&paired.old)).await?,
            new: self.second_copies_among(&mut new, &late_new.subtract(&paired.new)).await?,
        };
        self.give_back(old).await;
        self.give_back(new).await;
        // Nobody marks anything meanwhile; before any connection is borrowed, as by everybody who writes.
        let _alone = self.alone().await;
        let ((), mut old, mut new) = self.both(access, |_| ()).await?;
        let twins: Vec<(SideUid, SideUid)> =
            pairs.iter().map(|pair| (pair.old, pair.new)).collect();
        unite_flags(&mut old, &mut new, &twins).await?;
        self.wrote_flags(&new);
        self.change(|m, batch| {
            m.join_alone(&pairs);
            for side in Side::BOTH {
                // Who saw two may have removed the other one.
                let known = |m: &Merged, of: Uid| {
                    let fate = m.second_copies[side].get(&of).map(|second| second.fate);
                    let gone = matches!(fate, Some(Fate::Removed | Fate::MovedAlone));
                    gone || m.map.place(of).is_some()
                };
                second_copies[side].retain(|(_, of)| known(m, *of));
                self.take_second_copies(m, batch, side, &second_copies[side]);
            }
            m.compared(&late);
            Ok(((), true))
        })
        .await?;
        self.give_back(old).await;
        self.give_back(new).await;
        self.look_for_debts();
        Ok(())
    }

    /// Arrivals on old become one with what they are the same as, and the rest is shown. Without `pairs`, new
    /// was not asked.
    async fn settle_waiting(
        self: &Arc<Self>,
        old: &mut Conn,
        waiting: &UidSet<SideUid>,
        pairs: Option<&[Pair]>,
    ) -> Result<(), AccountError> {
        let was_asked = pairs.is_some();
        let pairs = pairs.unwrap_or_default();
        let paired = pairs.iter().map(|pair| pair.old).collect();
        let mut second_copies = self.second_copies_among(old, &waiting.subtract(&paired)).await?;
        let _settled = self.none_is_own(&mut second_copies).await;
        if self.peek(|m| m.phase == Phase::Old) {
            self.mark_alike(old, &second_copies).await?;
        }
        // What has gone meanwhile is not shown.
        self.follow(old).await?;
        self.hear(old).await?;
        let selected = old.selected();
        let there = selected.map(|s| waiting.intersect(s.announced())).unwrap_or_default();
        let told = selected.and_then(|s| s.highest_mod_seq);
        let hidden = self
            .change(|m, batch| {
                m.join_waiting(pairs);
                second_copies.retain(|(copy, _)| m.waiting.contains(*copy));
                let taken = self.take_second_copies(m, batch, Side::Old, &second_copies);
                let shown = there.intersect(&m.waiting);
                match was_asked {
                    true => m.note_uncompared(Side::Old, &shown),
                    false => m.note_late(Side::Old, &shown),
                }
                m.show_waiting(&there, now())?;
                m.waiting = m.waiting.subtract(waiting);
                m.end_waiting(told);
                Ok((taken, true))
            })
            .await?;
        if hidden {
            step("second copies: old's are hidden");
        }
        self.look_for_debts();
        debug!(mailbox = %self.name(), pairs = pairs.len(), "arrivals on old compared");
        Ok(())
    }

    /// Gives second copies on old, which decides, the flags of what was carried there, and goes.
    async fn mark_alike(
        &self,
        old: &mut Conn,
        second_copies: &[(SideUid, Uid)],
    ) -> Result<(), BackendError> {
        let known = |(copy, of): &(SideUid, Uid)| {
            Some((*copy, self.peek(|m| m.map.place(*of)?.on(Side::Old))?))
        };
        let pairs: Vec<(SideUid, SideUid)> = second_copies.iter().filter_map(known).collect();
        let flags = read::flags(old, &pairs.iter().map(|(_, carried)| *carried).collect()).await?;
        for (copy, carried) in pairs {
            if let Some(list) = flags.get(&carried) {
                let list = String::from_utf8_lossy(list);
                let command = text(&format!("UID STORE {copy} FLAGS.SILENT {list}"));
                old.must("UID STORE", &command).await?;
            }
        }
        Ok(())
    }

    /// Which of these messages are the same; `all`: whatever their dates are.
    async fn pairs(
        &self,
        old: &mut Conn,
        new: &mut Conn,
        on_old: &UidSet<SideUid>,
        on_new: &UidSet<SideUid>,
        all: bool,
    ) -> Result<Vec<Pair>, BackendError> {
        let prints = read::prints(old, on_old).await?;
        let near = if all { on_new.clone() } else { read::near(new, &prints, on_new).await? };
        let compared = pair::compare(prints, read::prints(new, &near).await?);
        let (mut pairs, doubtful) = self.matchmaker.told_apart(&compared.alike);
        for groups in doubtful.chunks(TOGETHER) {
            let both = pair::members(groups.iter().copied());
            let (old, new) =
                tokio::try_join!(read::contents(old, &both.old), read::contents(new, &both.new))?;
            let contents = Contents { old, new };
            pairs.extend(groups.iter().flat_map(|group| pair::by_content(group, &contents)));
        }
        Ok(pairs)
    }

    /// The same of those of like days: prints are read of the few, and on the other side of what is of their days.
    async fn pairs_of_few(
        &self,
        old: &mut Conn,
        new: &mut Conn,
        on_old: &UidSet<SideUid>,
        on_new: &UidSet<SideUid>,
    ) -> Result<Vec<Pair>, BackendError> {
        if on_old.len() <= on_new.len() {
            return self.pairs(old, new, on_old, on_new, false).await;
        }
        let prints = read::prints(new, on_new).await?;
        let near = read::near(old, &prints, on_old).await?;
        self.pairs(old, new, &near, on_new, false).await
    }

    /// What lies on new alone may be what old has unseen: somebody took it away from new, and has put it back.
    /// Then it is no message that old lacks.
    pub async fn compare_hidden(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
        let on_new = self.peek(Merged::new_alone);
        if !self.matchmaker.is_wanted() || on_new.is_empty() {
            return Ok(());
        }
        let ((), mut old, mut new) = self.both(access, |_| ()).await?;
        let there = old.selected().map(|s| s.announced().clone()).unwrap_or_default();
        let hidden = there.subtract(&self.peek(Merged::known_on_old));
        let pairs = match hidden.is_empty() {
            true => Vec::new(),
            false => self.pairs_of_few(&mut old, &mut new, &hidden, &on_new).await?,
        };
        self.give_back(old).await;
        self.give_back(new).await;
        self.change(|m, _| {
            let joined = m.join_hidden(&pairs);
            Ok(((), joined))
        })
        .await
    }

    /// Makes one of what lies on old alone and what lies on new alone, where it is the same: each came
    /// while the other side was not asked.
    pub async fn compare_alone(self: &Arc<Self>, access: &Access) -> Result<(), AccountError> {
        let (on_old, on_new, late) =
            self.peek(|m| (m.unpaired(), m.new_alone(), m.record.shown_late.clone()));
        // Second copies are compared as they come, but for what was shown without the other side.
        // What a client brought by its own command is none.
        let (late_old, late_new) = (late.old.intersect(&on_old), late.new.intersect(&on_new));
        let come = self.peek(|m| Sides {
            old: !m.second_copies.old.is_empty() && !late_old.is_empty(),
            new: !m.second_copies.new.is_empty() && !late_new.is_empty(),
        });
        let alike = !on_old.is_empty() && !on_new.is_empty();
        let done = self.peek(|m| m.decided_of(&late));
        let uncompared = done.iter().any(|(_, late)| !late.is_empty());
        if !self.matchmaker.is_wanted() || !(alike || come.old || come.new || uncompared) {
            return Ok(());
        }
        if !(alike || come.old || come.new) {
            return self
                .change(|m, _| {
                    m.compared(&done);
                    Ok(((), true))
                })
                .await;
        }
        let ((), mut old, mut new) = self.both(access, |_| ()).await?;
        let pairs = self.pairs_of_few(&mut old, &mut new, &on_old, &on_new).await?;
        let mut second_copies = Sides::<Vec<(SideUid, Uid)>>::default();
        if come.old {
            let left = late_old.subtract(&pairs.iter().map(|pair| pair.old).collect());
            second_copies.old = self.second_copies_among(&mut old, &left).await?;
        }
        if come.new {
            let left = late_new.subtract(&pairs.iter().map(|pair| pair.new).collect());
            second_copies.new = self.second_copies_among(&mut new, &left).await?;
        }
        self.give_back(old).await;
        self.give_back(new).await;
        // What a client is removing just now is noted as it lies now.
        let _alone = self.alone().await;
        // What was left on old alone was marked there, and new has decided since.
        if !pairs.is_empty() && self.peek(|m| m.phase == Phase::New) {
            let ((), mut old, mut new) = self.both(access, |_| ()).await?;
            let twins: Vec<(SideUid, SideUid)> =
                pairs.iter().map(|pair| (pair.old, pair.new)).collect();
            unite_flags(&mut old, &mut new, &twins).await?;
            self.wrote_flags(&new);
            self.give_back(old).await;
            self.give_back(new).await;
        }
        self.change(|m, batch| {
            let joined = m.join_alone(&pairs);
            let mut taken = false;
            for (side, second_copies) in second_copies.iter() {
                taken |= self.take_second_copies(m, batch, side, second_copies);
            }
            m.compared(&done);
            Ok(((), joined || taken || uncompared))
        })
        .await
    }

    /// Where old has lost the mailbox, what lies on new alone is compared with nothing there, but with what
    /// clients removed there while new was not asked.
    pub async fn compare_left_on_new(
        self: &Arc<Self>,
        access: &Access,
    ) -> Result<(), AccountError> {
        let left = self.peek(|m| m.record.shown_late.new.intersect(&m.new_alone()));
        if !self.matchmaker.is_wanted() || left.is_empty() {
            return Ok(());
        }
        let mut new = self.lease(access, Side::New).await?;
        self.follow(&mut new).await?;
        self.hear(&mut new).await?;
        let second_copies = self.second_copies_among(&mut new, &left).await?;
        self.give_back(new).await;
        let _alone = self.alone().await;
        self.change(|m, batch| {
            let taken = self.take_second_copies(m, batch, Side::New, &second_copies);
            Ok(((), taken))
        })
        .await
    }

    /// Shows what arrived though a side fails (see [`Merged::show_late`]). What second copies are told by is
    /// noted: for these the other side need not answer.
    pub(super) async fn show_late(
        self: &Arc<Self>,
        access: &Access,
        last: bool,
    ) -> Result<(), AccountError> {
        let (on_old, on_new) = self.peek(|m| {
            let waits = !m.waiting.is_empty() && (last || !m.relinking);
            let late = m.record.late && !m.unmatched.is_empty();
            let expected = |side: Side| !m.second_copies[side].is_empty();
            (waits && expected(Side::Old), late && expected(Side::New))
        });
        // What comes after these were compared waits for the next time, if there is one.
        let mut compared = Sides { old: on_old && !last, new: on_new && !last };
        if on_old && let Err(e) = self.compare_on_old(access).await {
            debug!(mailbox = %self.name(), "second copies on old are not known: {e}");
            compared.old = false;
        }
        if on_new && let Err(e) = self.compare_on_new(access).await {
            debug!(mailbox = %self.name(), "second copies on new are not known: {e}");
            compared.new = false;
        }
        self.change(|m, _| {
            let shown = m.show_late(last, compared, now())?;
            Ok(((), shown))
        })
        .await
    }
}
