//! MAIL, RCPT, RSET: who sends to whom, and through which server.
//!
//! A user's envelope goes to the server that the user was let into. Of other mail, each recipient is
//! routed by its account's phase; one transaction goes to one server, and recipients of the other one
//! are put off with 452, so that the sender brings them in a transaction of their own.

use tracing::{debug, info};

use super::leg::{failed, passed_on};
use super::message::Outgoing;
use super::route::{self, Kind, Route};
use super::{Role, Session};
use crate::backend::{SmtpConn, SmtpError};
use crate::base::{AccountName, Phase, Side};
use crate::session::server::Server;
use crate::smtp::{Body, Extensions, Mail, Rcpt, Reply};

/// One message's envelope.
pub(super) struct Transaction {
    pub mail: Mail,
    /// The side that was told of it, with its connection.
    pub open: Option<(Side, SmtpConn)>,
    /// The recipients that this side has accepted.
    pub accepted: Vec<Accepted>,
    /// The message, while it comes by BDAT.
    pub outgoing: Option<Outgoing>,
    /// A BDAT failed: those behind it get this.
    pub over: Option<Reply>,
}

/// A recipient that was accepted.
pub(super) struct Accepted {
    /// By whom: the same side for all of a transaction.
    side: Side,
    /// Whose mail it is, if it is an account's here.
    pub account: Option<AccountName>,
}

impl Transaction {
    fn new(mail: Mail) -> Transaction {
        Transaction { mail, open: None, accepted: Vec::new(), outgoing: None, over: None }
    }

    /// Whether a message is between two of its BDATs.
    pub fn is_in_message(&self) -> bool {
        self.outgoing.is_some() || self.over.is_some()
    }
}

/// What one server said of one recipient.
enum Verdict {
    Accepted(SmtpConn, Reply),
    /// Not now, or never.
    Refused(SmtpConn, Reply),
    /// It does not want this mail, whoever it is for.
    Unwanted(SmtpConn, Reply),
    /// It lacks what this message needs: that says nothing of the recipient.
    Unfit(SmtpConn, Reply),
}

impl Verdict {
    /// What the answer to RCPT says.
    fn of(leg: SmtpConn, reply: Reply) -> Verdict {
        match reply.code().is_positive() {
            true => Verdict::Accepted(leg, reply),
            false => Verdict::Refused(leg, reply),
        }
    }
}

impl Session {
    /// RSET and all that implies it: the transaction is forgotten here and on the server.
    pub(super) async fn reset(&mut self) {
        let Some(transaction) = self.transaction.take() else { return };
        // In the middle of a message nothing ends it but the end of its connection.
        if let (None, Some((side, leg))) = (transaction.outgoing, transaction.open) {
            self.put_back(side, leg).await;
        }
    }

    /// Keeps a connection for the next transaction, if it is good for one.
    async fn put_back(&mut self, side: Side, mut leg: SmtpConn) {
        match leg.ask("RSET", "RSET").await {
            Ok(reply) if reply.code().is_positive() => self.legs[side] = Some(leg),
            Ok(reply) => debug!(%side, "RSET: {reply}"),
            Err(e) => debug!("{e}"),
        }
    }

    pub(super) async fn mail(&mut self, mail: Mail) -> Reply {
        if let Some(refusal) = self.mail_impossible(&mail) {
            return refusal;
        }
        let Some(user) = &mut self.user else {
            // Whose server it is shows with the first recipient.
            self.transaction = Some(Transaction::new(mail));
            return Reply::new(250, "2.1.0 Ok");
        };
        // The account's phase may be another one since the user logged in.
        let sides = sending_sides(&self.server, &user.account);
        if !sides.contains(&user.side) {
            info!(from = %user.side, "sends through the other side from now on");
            user.side = user.side.other();
        }
        let side = user.side;
        let mut leg = match self.leg(side).await {
            Ok(leg) => leg,
            Err(e) => return failed(&e),
        };
        if let Some(lacking) = lacks(leg.extensions(), &mail) {
            self.legs[side] = Some(leg);
            return lacking;
        }
        let has_size = leg.extensions().size.is_some();
        match leg.ask("MAIL", &mail.line(has_size)).await {
            Ok(reply) if reply.code().is_positive() => {
                let mut transaction = Transaction::new(mail);
                transaction.open = Some((side, leg));
                self.transaction = Some(transaction);
                passed_on(reply)
            }
            Ok(reply) => {
                self.legs[side] = Some(leg);
                passed_on(reply)
            }
            Err(e) => failed(&e),
        }
    }

    fn mail_impossible(&self, mail: &Mail) -> Option<Reply> {
        if !self.greeted {
            return Some(Reply::new(503, "5.5.1 Say EHLO first"));
        }
        if self.role == Role::Submission && self.user.is_none() {
            return Some(match self.may_log_in() {
                true => Reply::new(530, "5.7.0 Authentication required"),
                false => Reply::new(530, "5.7.0 Must issue a STARTTLS command first"),
            });
        }
        if self.transaction.is_some() {
            return Some(Reply::new(503, "5.5.1 A message is under way already"));
        }
        if mail.size.is_some_and(|size| size > self.server.config.limits.message) {
            return Some(Reply::new(552, "5.3.4 The message is too large"));
        }
        let ascii = mail.from.as_ref().is_none_or(|from| from.is_ascii());
        if !ascii && !mail.utf8 {
            return Some(Reply::new(553, "5.6.7 Such an address needs SMTPUTF8"));
        }
        None
    }

    pub(super) async fn rcpt(&mut self, rcpt: Rcpt) -> Reply {
        let Some(transaction) = &self.transaction else {
            return Reply::new(503, "5.5.1 MAIL first");
        };
        if transaction.accepted.len() >= self.server.config.smtp.recipients {
            return Reply::new(452, "4.5.3 Too many recipients");
        }
        if !rcpt.to.is_ascii() && !transaction.mail.utf8 {
            return Reply::new(553, "5.6.7 Such an address needs SMTPUTF8");
        }
        match self.role {
            Role::Submission => self.rcpt_of_user(rcpt).await,
            Role::Inbound { .. } => self.rcpt_of_anybody(rcpt).await,
        }
    }

    async fn rcpt_of_user(&mut self, rcpt: Rcpt) -> Reply {
        let account = match route::kind(&self.server.config, &rcpt.to) {
            Kind::Served(account) => account,
            Kind::Foreign | Kind::Routed => None,
        };
        let Some((transaction, (side, mut leg))) =
            self.transaction.as_mut().and_then(|t| t.open.take().map(|open| (t, open)))
        else {
            return Reply::new(503, "5.5.1 MAIL first");
        };
        match leg.ask("RCPT", &rcpt.line()).await {
            Ok(reply) => {
                if reply.code().is_positive() {
                    transaction.accepted.push(Accepted { side, account });
                }
                transaction.open = Some((side, leg));
                passed_on(reply)
            }
            Err(e) => {
                self.transaction = None;
                failed(&e)
            }
        }
    }

    async fn rcpt_of_anybody(&mut self, rcpt: Rcpt) -> Reply {
        let route = match route::kind(&self.server.config, &rcpt.to) {
            Kind::Served(account) => self.route(account),
            Kind::Foreign => {
                info!(to = %rcpt.to, "refused: not a domain that is served here");
                return Reply::new(550, "5.7.1 Relaying denied");
            }
            Kind::Routed => {
                info!(to = %rcpt.to, "refused: asks to be sent on from here");
                return Reply::new(
                    550,
                    "5.7.1 Relaying denied: addresses with routes are not taken",
                );
            }
        };
        let last = route.sides.last().copied();
        let mut answer = Reply::new(451, "4.3.0 Try again later");
        let mut unsure = None;
        for side in &route.sides {
            let others = self.transaction.as_ref().and_then(Transaction::taken_by);
            let elsewhere = others.is_some_and(|taken| taken != *side);
            // It is the other side's if it is nobody else's: no need to ask.
            if elsewhere && Some(*side) == last && unsure.is_none() {
                return put_off();
            }
            match self.ask_side(*side, &rcpt, elsewhere).await {
                Ok(Verdict::Accepted(leg, _)) if elsewhere => {
                    self.put_back(*side, leg).await;
                    return put_off();
                }
                Ok(Verdict::Accepted(leg, reply)) => {
                    if let Some(transaction) = &mut self.transaction {
                        transaction.open = Some((*side, leg));
                        transaction.accepted.push(Accepted { side: *side, account: route.account });
                    }
                    return passed_on(reply);
                }
                Ok(Verdict::Refused(leg, reply)) => {
                    self.keep(*side, leg, elsewhere).await;
                    if !is_nobody(&reply) {
                        return passed_on(reply);
                    }
                    answer = passed_on(reply);
                }
                Ok(Verdict::Unwanted(leg, reply)) => {
                    self.keep(*side, leg, elsewhere).await;
                    return passed_on(reply);
                }
                Ok(Verdict::Unfit(leg, reply)) => {
                    self.keep(*side, leg, elsewhere).await;
                    if !route.either {
                        return reply;
                    }
                    answer = reply;
                }
                Err(e) => {
                    let reply = failed(&e);
                    if others.is_some() && !elsewhere {
                        // The recipients that it had accepted are lost with it.
                        self.transaction = None;
                        return reply;
                    }
                    if !route.either {
                        return reply;
                    }
                    unsure = Some(reply);
                }
            }
        }
        unsure.unwrap_or(answer)
    }

    /// Where mail for a recipient in a served domain goes.
    fn route(&self, account: Option<AccountName>) -> Route {
        let (config, accounts) = (&self.server.config, &self.server.accounts);
        match account {
            Some(account) if accounts.knows(&account) => match accounts.phase(&account) {
                Phase::Old => route::only(Side::Old, account),
                Phase::Merged => route::merged(config.smtp.inbound, account),
                Phase::New => route::only(Side::New, account),
            },
            account => route::unknown(config, account),
        }
    }

    /// Asks a side for a recipient: within the transaction, or in one of its own where the
    /// transaction is the other side's.
    async fn ask_side(
        &mut self,
        side: Side,
        rcpt: &Rcpt,
        elsewhere: bool,
    ) -> Result<Verdict, SmtpError> {
        let Some(transaction) = &mut self.transaction else {
            return Err(no_transaction(side));
        };
        let mail = transaction.mail.clone();
        let mine = transaction.open.take_if(|(open, _)| *open == side && !elsewhere);
        if let Some((other, leg)) = transaction.open.take_if(|_| !elsewhere) {
            // Nobody there was accepted.
            self.put_back(other, leg).await;
        }
        let begun = mine.is_some();
        let mut leg = match mine {
            Some((_, leg)) => leg,
            None => self.leg(side).await?,
        };
        if let (false, Some(lacking)) = (begun, lacks(leg.extensions(), &mail)) {
            return Ok(Verdict::Unfit(leg, lacking));
        }
        if rcpt.has_dsn() && !leg.extensions().dsn {
            let reply = Reply::new(555, "5.5.4 Its mail server knows no DSN");
            return Ok(Verdict::Unfit(leg, reply));
        }
        if leg.is_lmtp() && self.transaction.as_ref().is_some_and(|t| !t.accepted.is_empty()) {
            // LMTP answers for each recipient, SMTP for all of them.
            return Ok(Verdict::Refused(leg, put_off()));
        }
        if begun {
            let reply = leg.ask("RCPT", &rcpt.line()).await?;
            return Ok(Verdict::of(leg, reply));
        }
        let has_size = leg.extensions().size.is_some();
        let commands = [("MAIL", mail.line(has_size)), ("RCPT", rcpt.line())];
        let mut replies = leg.ask_all(&commands).await?.into_iter();
        match (replies.next(), replies.next()) {
            (Some(mailed), Some(reply)) if mailed.code().is_positive() => {
                Ok(Verdict::of(leg, reply))
            }
            (Some(mailed), _) => Ok(Verdict::Unwanted(leg, mailed)),
            (None, _) => Err(no_transaction(side)),
        }
    }

    /// Keeps a connection on which a recipient was refused.
    async fn keep(&mut self, side: Side, leg: SmtpConn, elsewhere: bool) {
        match &mut self.transaction {
            Some(transaction) if !elsewhere && !transaction.accepted.is_empty() => {
                transaction.open = Some((side, leg));
            }
            _ => self.put_back(side, leg).await,
        }
    }
}

/// The sides whose server may send for an account, in the order in which they are asked.
pub(super) fn sending_sides(server: &Server, account: &AccountName) -> Vec<Side> {
    match server.accounts.phase(account) {
        Phase::Old => vec![Side::Old],
        Phase::Merged => {
            let first = server.config.smtp.submission;
            vec![first, first.other()]
        }
        Phase::New => vec![Side::New],
    }
}

impl Transaction {
    /// The side that has accepted a recipient.
    pub fn taken_by(&self) -> Option<Side> {
        self.accepted.first().map(|to| to.side)
    }
}

/// Whether a server says that it has no such recipient, and not that it does not want the mail: what
/// one side's filters keep out must not come in by the other.
fn is_nobody(reply: &Reply) -> bool {
    match reply.enhanced_code() {
        // RFC 3463 §3.2 and §3.3; 5.1.10 and 5.4.1 are Exchange's.
        Some(code) => {
            ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.1"].contains(&code)
        }
        None => [550, 551, 553].contains(&reply.code().0),
    }
}

/// RFC 5321 §4.5.3.1.10: the sender brings the others again, without those that were accepted.
fn put_off() -> Reply {
    Reply::new(452, "4.5.3 Its mail goes to another server: send it again on its own")
}

fn no_transaction(side: Side) -> SmtpError {
    SmtpError::Protocol { server: format!("{side} server"), what: "no transaction".to_owned() }
}

/// Why a server cannot take a message: what it was not found to offer when EHLO was answered.
fn lacks(offers: &Extensions, mail: &Mail) -> Option<Reply> {
    if mail.utf8 && !offers.utf8 {
        Some(Reply::new(550, "5.6.7 The mail server knows no SMTPUTF8"))
    } else if mail.body == Some(Body::EightBitMime) && !offers.eight_bit {
        Some(Reply::new(554, "5.6.3 The mail server knows no 8BITMIME"))
    } else if mail.has_dsn() && !offers.dsn {
        Some(Reply::new(555, "5.5.4 The mail server knows no DSN"))
    } else if let (Some(size), Some(most)) = (mail.size, offers.size.filter(|most| *most > 0))
        && size > most
    {
        Some(Reply::new(552, "5.3.4 The message is too large"))
    } else {
        None
    }
}
