//! Changing an account's phase while its clients are there (DESIGN §7, phase changes).
//!
//! What takes long is done while everybody goes on; then all clients are held for a moment, the rest is
//! done, and the account is in its new phase. Whatever breaks off leaves it in the phase that it was in,
//! and the change can be asked for again.

use std::sync::Arc;

use tracing::{info, warn};

use super::back::{Left, is_on_both};
use super::{Copier, Ferry};
use crate::account::{Access, Account, AccountError, Accounts, Mailbox};
use crate::base::{AccountName, Phase, Side, step};

/// What a change of phase came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The phase before.
    pub from: Phase,
    /// The phase now.
    pub to: Phase,
    /// What clients do not see in it: only by force.
    pub left: Vec<Left>,
}

/// Why an account stays in its phase.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// Something failed; what was done so far stays done.
    #[error("{0}")]
    Failed(#[from] AccountError),
    /// Not before both sides were found to be the same.
    #[error(
        "{account} cannot go to phase new: {why}; run `mailferry verify {account}`, or use --force"
    )]
    Unverified {
        /// Which account.
        account: AccountName,
        /// What is in the way.
        why: String,
    },
    /// There is a phase between the two.
    #[error("{account} goes from phase {from} to {to} by way of phase merged")]
    TwoSteps {
        /// Which account.
        account: AccountName,
        /// Its phase.
        from: Phase,
        /// What was asked for.
        to: Phase,
    },
    /// Old is not to be changed.
    #[error(
        "{account} cannot go to phase old: what happened on new would have to be done on the old server, \
         which is declared read-only; take `read_only` out of [old] first"
    )]
    ReadOnly {
        /// Which account.
        account: AccountName,
    },
    /// Messages would be out of sight.
    #[error(
        "{account} cannot go to phase {to}: {} could not be brought there, the first: {} of {}: {}",
        .left.len(), .left[0].uid, .left[0].mailbox, .left[0].why
    )]
    Left {
        /// Which account.
        account: AccountName,
        /// What was asked for.
        to: Phase,
        /// Which messages; there is one at least.
        left: Vec<Left>,
    },
}

impl Ferry {
    /// Puts an account into a phase. With `force`, also where messages will be out of sight: these are
    /// told; nothing is removed anywhere for it.
    pub async fn change_phase(
        &self,
        accounts: &Accounts,
        name: &AccountName,
        to: Phase,
        force: bool,
    ) -> Result<Changed, PhaseError> {
        let is_known = accounts.knows(name);
        let account = accounts.account(name).await.map_err(AccountError::from)?;
        let _one_at_a_time = account.changing.lock().await;
        let from = account.phase();
        // Nothing is to be carried then, so nobody need be able to log in.
        if from == to && is_known {
            account.stay_in(to).await?;
            return Ok(Changed { from, to, left: Vec::new() });
        }
        let (account, access) = accounts.background_of_both(name).await?;
        let copier = self.copier_in_background(&account, &access);
        let change = Change { account: Arc::clone(&account), access, copier, to, force };
        let left = match (from, to) {
            (Phase::Old, Phase::Old)
            | (Phase::Merged, Phase::Merged)
            | (Phase::New, Phase::New) => {
                change.account.stay_in(to).await?;
                Vec::new()
            }
            (Phase::Old, Phase::Merged) => change.old_to_merged().await?,
            (Phase::New, Phase::Merged) => change.new_to_merged().await?,
            (Phase::Merged, Phase::New) => change.merged_to_new().await?,
            (_, Phase::Old) if account.old_is_read_only() => {
                return Err(PhaseError::ReadOnly { account: name.clone() });
            }
            (_, Phase::Old) => change.back_to_old().await?,
            (Phase::Old, Phase::New) => {
                return Err(PhaseError::TwoSteps { account: name.clone(), from, to });
            }
        };
        Ok(Changed { from, to, left })
    }
}

struct Change {
    account: Arc<Account>,
    access: Arc<Access>,
    copier: Arc<Copier>,
    to: Phase,
    force: bool,
}

impl Change {
    /// All mailboxes that may go from side to side.
    async fn mailboxes(&self) -> Result<Vec<Arc<Mailbox>>, AccountError> {
        let folders = self.account.list_both(&self.access).await?;
        let own = folders.list.iter().filter(|f| !f.shared && f.joined.selectable);
        let mut mailboxes = Vec::new();
        for folder in own {
            mailboxes.push(self.account.hub(folder).await?);
        }
        Ok(mailboxes)
    }

    /// All that lies on new alone is carried back; only then old copies of what was removed go: a
    /// message that was moved is at its new place before it leaves the former one.
    async fn back_to_old(&self) -> Result<Vec<Left>, PhaseError> {
        let mailboxes = self.mailboxes().await?;
        for mailbox in &mailboxes {
            self.copier.carry_all(mailbox, &self.access, Side::Old, |_| true).await?;
        }
        for mailbox in &mailboxes {
            self.copier.level_flags(mailbox, &self.access, Side::New, None).await?;
        }
        step("phase: most is carried back");

        let held = self.account.hold().await?;
        let mailboxes = self.mailboxes().await?;
        let mut left = Vec::new();
        for mailbox in &mailboxes {
            left.extend(self.copier.carry_all(mailbox, &self.access, Side::Old, |_| true).await?);
        }
        self.allow(&left)?;
        for mailbox in &mailboxes {
            let flags = mailbox.owed().flags;
            self.copier.level_flags(mailbox, &self.access, Side::New, None).await?;
            mailbox.told_flags(&flags).await?;
        }
        for mailbox in &mailboxes {
            self.copier.remove_back(mailbox, &self.access).await?;
            self.write_owed(mailbox).await?;
        }
        step("phase: all is carried back");
        self.account.switch(&held, self.to, &mailboxes).await?;
        for mailbox in &mailboxes {
            // The account is in its new phase, whatever becomes of these.
            if let Err(e) = self.write_owed(mailbox).await {
                warn!(account = %self.account.name(), mailbox = %mailbox.name(), "flags not written: {e}");
            }
        }
        Ok(left)
    }

    /// Mail goes on coming to both servers: a second copy on old that took its message's place since the flags were
    /// written gets them.
    async fn write_owed(&self, mailbox: &Arc<Mailbox>) -> Result<(), AccountError> {
        let flags = mailbox.owed().flags;
        if !flags.is_empty() {
            self.copier.level_flags(mailbox, &self.access, Side::New, Some(&flags)).await?;
            mailbox.told_flags(&flags).await?;
        }
        Ok(())
    }

    /// Old decided over what lies on both sides: the twins on new get its flags, and go where old's
    /// message has gone. Twins that are gone from new are copied anew some day.
    async fn old_to_merged(&self) -> Result<Vec<Left>, PhaseError> {
        for mailbox in self.mailboxes().await? {
            self.level_twins(&mailbox).await?;
        }
        let held = self.account.hold().await?;
        let mailboxes = self.mailboxes().await?;
        for mailbox in &mailboxes {
            self.level_twins(mailbox).await?;
            self.copier.remove_twins(mailbox, &self.access).await?;
        }
        step("phase: twins have old's flags");
        self.account.switch(&held, self.to, &mailboxes).await?;
        Ok(Vec::new())
    }

    async fn level_twins(&self, mailbox: &Arc<Mailbox>) -> Result<(), AccountError> {
        if mailbox.peek(|m| m.map.side_uids(Side::New).is_empty() && m.second_copies.new.is_empty())
        {
            return Ok(());
        }
        mailbox.absorb_both(&self.access).await?;
        // Somebody has deleted or renamed it on one of the servers: what is left is seen.
        if !is_on_both(mailbox) {
            if mailbox.peek(|m| m.is_there(Side::New)) {
                mailbox.compare_left_on_new(&self.access).await?;
            }
            return Ok(());
        }
        // What came to both while new was not asked, or was linked before old's mailbox became another.
        mailbox.compare_alone(&self.access).await?;
        self.copier.level_flags(mailbox, &self.access, Side::Old, None).await
    }

    /// What came to old meanwhile is taken in.
    async fn new_to_merged(&self) -> Result<Vec<Left>, PhaseError> {
        let held = self.account.hold().await?;
        let mailboxes = self.mailboxes().await?;
        for mailbox in &mailboxes {
            mailbox.absorb_both(&self.access).await?;
            if is_on_both(mailbox) {
                mailbox.compare_alone(&self.access).await?;
            }
        }
        step("phase: old is taken in");
        self.account.switch(&held, self.to, &mailboxes).await?;
        Ok(Vec::new())
    }

    /// Only where nothing is left on old alone.
    async fn merged_to_new(&self) -> Result<Vec<Left>, PhaseError> {
        let held = self.account.hold().await?;
        let seen = self.look_at_both().await;
        let why = match &seen {
            Ok(_) => self.account.unverified().await?,
            Err(e) => Some(e.to_string()),
        };
        if let Some(why) = why.filter(|_| !self.force) {
            return Err(PhaseError::Unverified { account: self.account.name().clone(), why });
        }
        let mailboxes = match seen {
            Ok(mailboxes) => mailboxes,
            Err(e) => {
                warn!(account = %self.account.name(), "phase new by force, without old: {e}");
                self.account.known_mailboxes().await?
            }
        };
        let mut left = Vec::new();
        for mailbox in &mailboxes {
            // What is known by its name alone is a level above others, or gone.
            if mailbox.peek(|m| m.is_there(Side::Old))
                && let Err(e) = self.account.make_on(Side::New, &self.access, mailbox).await
            {
                if !self.force {
                    return Err(e.into());
                }
                warn!(account = %self.account.name(), mailbox = %mailbox.name(), "not made: {e}");
            }
            left.extend(mailbox.missing_on(Side::New).into_iter().map(|(uid, _)| Left {
                mailbox: mailbox.name().to_string(),
                uid: uid.0,
                why: "it is on old alone".into(),
            }));
        }
        self.allow(&left)?;
        for left in &left {
            info!(
                account = %self.account.name(), mailbox = %left.mailbox, uid = left.uid,
                "left on old alone"
            );
        }
        self.account.switch(&held, self.to, &mailboxes).await?;
        Ok(left)
    }

    async fn look_at_both(&self) -> Result<Vec<Arc<Mailbox>>, AccountError> {
        let mailboxes = self.mailboxes().await?;
        for mailbox in &mailboxes {
            mailbox.absorb_both(&self.access).await?;
        }
        Ok(mailboxes)
    }

    fn allow(&self, left: &[Left]) -> Result<(), PhaseError> {
        if left.is_empty() || self.force {
            return Ok(());
        }
        let account = self.account.name().clone();
        Err(PhaseError::Left { account, to: self.to, left: left.to_vec() })
    }
}
