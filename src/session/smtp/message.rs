//! DATA and BDAT: a message's octets on their way from the client to a server, and to the archive.
//!
//! Nothing of a message is kept: what has come goes on at once, and the client is held back by the
//! slower of the servers. Whatever is wrong with a message, its end is never sent: the servers' side
//! of it is cut off, which they take for no message at all.
//!
//! With a journal, both get the octets at the same time, and the archive gets the end first. Only
//! when it has accepted the message is the mail server told that the message has ended. So a message
//! that anybody accepted is archived; one that the mail server then refused is archived as well.

use std::collections::BTreeSet;

use bytes::Buf as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;
use tracing::{info, warn};

use super::envelope::Transaction;
use super::leg::{failed, passed_on};
use super::wire::WireError;
use super::{Next, Session};
use crate::backend::{SmtpConn, SmtpError};
use crate::base::{Mailed, Side, metrics};
use crate::config::BareNewlines;
use crate::smtp::{Body, HeaderWatch, Lone, Mail, Reply, Scanner, Stuffer};

/// A message on its way.
pub(super) struct Outgoing {
    side: Side,
    scanner: Scanner,
    stuffer: Stuffer,
    watch: HeaderWatch,
    /// The servers that get it; `None` when it was found that none of them shall accept it.
    targets: Option<Targets>,
    /// Why not.
    fault: Option<Reply>,
    /// Octets of the message so far.
    size: u64,
    largest: u64,
    hops: usize,
    /// By then it must have come whole.
    until: Instant,
    /// What goes to the servers next.
    text: Vec<u8>,
    stuffed: Vec<u8>,
}

struct Targets {
    mail: SmtpConn,
    archive: Option<SmtpConn>,
}

impl Session {
    /// DATA.
    pub(super) async fn data(&mut self) -> Result<Next, WireError> {
        let outgoing = match self.begin_message(false).await {
            Ok(outgoing) => outgoing,
            Err(reply) => return Ok(Next::Reply(reply)),
        };
        let mut outgoing = Box::new(outgoing);
        self.wire.reply(&Reply::new(354, "End with CR LF . CR LF"));
        loop {
            while !self.wire.input.is_empty() && !outgoing.scanner.has_ended() {
                let taken = outgoing.feed(&self.wire.input).await;
                self.wire.input.advance(taken);
            }
            if outgoing.scanner.has_ended() {
                break;
            }
            self.wait_for_more(&outgoing).await?;
        }
        let reply = self.end_message(*outgoing).await;
        Ok(Next::Reply(reply))
    }

    /// BDAT (RFC 3030): its octets come whatever is answered.
    pub(super) async fn bdat(&mut self, octets: u64, last: bool) -> Result<Next, WireError> {
        let begun = match self.transaction.as_mut().and_then(|t| t.outgoing.take()) {
            Some(outgoing) => Ok(outgoing),
            None => match self.transaction.as_ref().and_then(|t| t.over.clone()) {
                Some(reply) => Err(reply),
                None => self.begin_message(true).await,
            },
        };
        let mut outgoing = match begun {
            Ok(outgoing) => Box::new(outgoing),
            Err(reply) => {
                self.skip(octets).await?;
                if let Some(transaction) = &mut self.transaction {
                    // The chunks behind it may be on their way already.
                    transaction.over = (!last).then(|| reply.clone());
                }
                if last {
                    self.reset().await;
                }
                return Ok(Next::Reply(reply));
            }
        };
        let mut left = octets;
        while left > 0 {
            if self.wire.input.is_empty() {
                self.wait_for_more(&outgoing).await?;
            }
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(self.wire.input.len());
            outgoing.feed(&self.wire.input[..some]).await;
            self.wire.input.advance(some);
            left -= some as u64;
        }
        if last {
            let reply = self.end_message(*outgoing).await;
            return Ok(Next::Reply(reply));
        }
        let reply = match &outgoing.fault {
            Some(fault) => fault.clone(),
            None => Reply::new(250, format!("2.0.0 {octets} octets received")),
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.outgoing = Some(*outgoing);
        }
        Ok(Next::Reply(reply))
    }

    async fn wait_for_more(&mut self, outgoing: &Outgoing) -> Result<(), WireError> {
        if outgoing.size > outgoing.largest.saturating_mul(2) {
            // It was refused long ago, and would never end.
            self.wire.reply(&Reply::new(421, "4.3.4 The message is too large"));
            return Err(WireError::Dismissed("endless message"));
        }
        let kicked = self.kicked.clone();
        let come = tokio::select! {
            biased;
            // What has not come whole was promised to nobody.
            () = kicked.cancelled() => return Err(self.kicked()),
            come = self.wire.more(outgoing.until) => come,
        };
        if matches!(come, Err(WireError::Silent)) {
            self.wire.reply(&Reply::new(421, "4.4.2 The message took too long"));
        }
        come
    }

    /// Reads octets of BDAT that nobody wants.
    async fn skip(&mut self, octets: u64) -> Result<(), WireError> {
        if octets > self.server.config.limits.message {
            self.wire.reply(&Reply::new(421, "4.3.4 The message is too large"));
            return Err(WireError::Dismissed("too large a message"));
        }
        let until = Instant::now() + self.server.config.smtp.message_timeout;
        let mut left = octets;
        while left > 0 {
            if self.wire.input.is_empty() {
                self.wire.more(until).await?;
            }
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(self.wire.input.len());
            self.wire.input.advance(some);
            left -= some as u64;
        }
        Ok(())
    }

    /// Has the servers ready for a message's octets: the archive, then the mail server.
    async fn begin_message(&mut self, bdat: bool) -> Result<Outgoing, Reply> {
        let ready = self.transaction.as_ref().is_some_and(|t| !t.accepted.is_empty());
        if !ready {
            return Err(match self.transaction {
                Some(_) => Reply::new(554, "5.5.1 No valid recipients"),
                None => Reply::new(503, "5.5.1 MAIL and RCPT first"),
            });
        }
        let side = self.transaction.as_ref().and_then(Transaction::taken_by);
        self.ready(bdat).await.inspect_err(|reply| {
            info!(octets = 0, "message refused before its first octet: {reply}");
            metrics().mailed(self.role.listener(), side, outcome(reply), 0);
        })
    }

    async fn ready(&mut self, bdat: bool) -> Result<Outgoing, Reply> {
        let archive = self.begin_archive().await?;
        let Some((side, mut mail)) = self.transaction.as_mut().and_then(|t| t.open.take()) else {
            return Err(Reply::new(503, "5.5.1 MAIL and RCPT first"));
        };
        match mail.ask("DATA", "DATA").await {
            Ok(reply) if reply.code().0 == 354 => {}
            Ok(reply) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.open = Some((side, mail));
                }
                return Err(passed_on(reply));
            }
            Err(e) => return Err(self.lost(&e)),
        }
        let smtp = &self.server.config.smtp;
        let lone = match smtp.bare_newlines {
            BareNewlines::Refuse => Lone::Refused,
            BareNewlines::Normalize => Lone::Normalized,
        };
        let longest = usize::try_from(smtp.text_line).unwrap_or(usize::MAX);
        let scanner = match bdat {
            true => Scanner::of_bdat(lone, longest),
            false => Scanner::of_data(lone, longest),
        };
        let mut outgoing = Outgoing {
            side,
            scanner,
            stuffer: Stuffer::default(),
            watch: HeaderWatch::new(self.own_mark()),
            targets: Some(Targets { mail, archive }),
            fault: None,
            size: 0,
            largest: self.server.config.limits.message,
            hops: smtp.hops,
            until: Instant::now() + smtp.message_timeout,
            text: self.trace().into_bytes(),
            stuffed: Vec::new(),
        };
        outgoing.pass_text_on().await;
        Ok(outgoing)
    }

    /// The message has ended: what becomes of it.
    async fn end_message(&mut self, outgoing: Outgoing) -> Reply {
        let (side, octets) = (outgoing.side, outgoing.size);
        let reply = self.hand_over(outgoing).await;
        metrics().mailed(self.role.listener(), Some(side), outcome(&reply), octets);
        reply
    }

    async fn hand_over(&mut self, mut outgoing: Outgoing) -> Reply {
        let transaction = self.transaction.take();
        let patience = self.server.config.smtp.accept_timeout;
        let side = outgoing.side;
        outgoing.finish().await;
        let Some(Targets { mut mail, mut archive }) = outgoing.targets.take() else {
            let fault = outgoing.fault.unwrap_or(Reply::new(451, "4.3.0 Try again later"));
            info!(%side, octets = outgoing.size, "message refused: {fault}");
            return fault;
        };
        let mut end = Vec::new();
        outgoing.stuffer.finish(&mut end);
        if let Some(mut accepting) = archive.take() {
            match accepting.end(&end, patience).await {
                Ok(reply) if reply.code().is_positive() => {
                    info!(octets = outgoing.size, "message archived: {reply}");
                    metrics().journaled(Mailed::accepted);
                    self.archive = Some(accepting);
                }
                Ok(reply) => {
                    warn!("the archive refused a message: {reply}");
                    return not_archived(outcome(&reply));
                }
                Err(e) => {
                    warn!("a message was not archived: {e}");
                    return not_archived(Mailed::deferred);
                }
            }
            crate::base::step("smtp: archived");
        }
        match mail.end(&end, patience).await {
            Ok(reply) => {
                let recipients = transaction.map_or(0, |t: Transaction| t.accepted.len());
                let octets = outgoing.size;
                if reply.code().is_positive() {
                    info!(%side, octets, recipients, "message accepted: {reply}");
                    crate::base::step("smtp: accepted");
                } else {
                    info!(%side, octets, recipients, "message refused by the server: {reply}");
                }
                self.legs[side] = Some(mail);
                passed_on(reply)
            }
            Err(e) => failed(&e),
        }
    }

    /// A connection to the archive on which it waits for the message; `None` if nobody's mail in
    /// this transaction is archived.
    async fn begin_archive(&mut self) -> Result<Option<SmtpConn>, Reply> {
        let config = &self.server.config;
        let (Some(journal), Some(transaction)) = (&config.journal, &self.transaction) else {
            return Ok(None);
        };
        let recipients = transaction.accepted.iter().filter_map(|to| to.account.as_ref());
        let sender = self.user.as_ref().map(|user| &user.account);
        let addresses: BTreeSet<String> =
            recipients.chain(sender).filter_map(|account| journal.address_of(account)).collect();
        if addresses.is_empty() {
            return Ok(None);
        }
        let mail = transaction.mail.clone();
        let begun = async {
            let kept = self.archive.take().map(|mut archive| (archive.is_gone(), archive));
            let mut archive = match kept {
                Some((false, archive)) => archive,
                _ => {
                    let hostname = &config.smtp.hostname;
                    SmtpConn::open(&journal.server, hostname, None, &config.limits).await?
                }
            };
            let from = journal.sender.as_deref().unwrap_or("");
            let mut commands = vec![("MAIL", archive_mail(from, &mail, &archive))];
            commands.extend(addresses.iter().map(|to| ("RCPT", format!("RCPT TO:<{to}>"))));
            commands.push(("DATA", "DATA".to_owned()));
            // Where one of them is refused, DATA may be accepted all the same: who drops the
            // connection sends no message.
            let replies = archive.ask_all(&commands).await?;
            for ((doing, line), reply) in commands.into_iter().zip(replies) {
                let expected = if doing == "DATA" { 3 } else { 2 };
                if reply.code().0 / 100 != expected {
                    return Ok(Err((line, reply)));
                }
            }
            Ok::<_, SmtpError>(Ok(archive))
        };
        match begun.await {
            Ok(Ok(archive)) => Ok(Some(archive)),
            Ok(Err((line, reply))) => {
                warn!("the archive said to {line}: {reply}");
                Err(not_archived(outcome(&reply)))
            }
            Err(e) => {
                warn!("the archive cannot be used: {e}");
                Err(not_archived(Mailed::deferred))
            }
        }
    }

    /// The connection to the mail server broke: the transaction is no more.
    fn lost(&mut self, error: &SmtpError) -> Reply {
        self.transaction = None;
        failed(error)
    }

    /// What stands in a trace field of this proxy alone.
    fn own_mark(&self) -> String {
        format!(" by {} (Mailferry) ", self.server.config.smtp.hostname)
    }

    /// `Received:` (RFC 5321 §4.4), on one line, so that it is known again.
    fn trace(&self) -> String {
        let utf8 = self.transaction.as_ref().is_some_and(|t| t.mail.utf8);
        let protocol = match (self.peer.extended, utf8) {
            (false, _) => "SMTP",
            (true, false) => "ESMTP",
            (true, true) => "UTF8SMTP",
        };
        let tls = if self.wire.is_tls() && self.peer.extended { "S" } else { "" };
        let known = if self.user.is_some() { "A" } else { "" };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let helo: String =
            self.peer.helo.chars().map(|c| if fits(c) { c } else { '?' }).take(255).collect();
        let date = OffsetDateTime::now_utc().format(&Rfc2822).unwrap_or_default();
        format!(
            "Received: from {helo} ([{}]){}with {protocol}{tls}{known} id {}; {date}\r\n",
            self.peer.client.ip().to_canonical(),
            self.own_mark(),
            self.server.session_name(self.id),
        )
    }
}

impl Outgoing {
    /// Takes octets from the client and passes them on; how many belonged to the message.
    async fn feed(&mut self, octets: &[u8]) -> usize {
        self.text.clear();
        let taken = self.scanner.take(octets, &mut self.text);
        self.size += taken as u64;
        self.look();
        self.pass_text_on().await;
        taken
    }

    /// The last octet has come.
    async fn finish(&mut self) {
        self.text.clear();
        if !self.scanner.has_ended() {
            self.scanner.finish(&mut self.text);
            self.look();
            self.pass_text_on().await;
        }
    }

    /// Whether the message may go on, as far as it was seen.
    fn look(&mut self) {
        self.watch.see(&self.text);
        if let Some(flaw) = self.scanner.flaw() {
            if self.fault.is_none() {
                metrics().flawed(flaw.name());
            }
            self.refuse(Reply::new(550, format!("5.6.0 {flaw}")));
        } else if self.size > self.largest {
            self.refuse(Reply::new(552, "5.3.4 The message is too large"));
        } else if let Some(looping) = self.watch.looping(MOST_HERE, self.hops) {
            self.refuse(Reply::new(554, format!("5.4.6 {looping}")));
        }
    }

    /// Nobody shall accept it: both connections are cut off before its end.
    fn refuse(&mut self, reply: Reply) {
        self.targets = None;
        self.fault.get_or_insert(reply);
    }

    /// Sends what is in `text` to both servers.
    async fn pass_text_on(&mut self) {
        let Some(targets) = &mut self.targets else { return };
        self.stuffed.clear();
        self.stuffer.push(&self.text, &mut self.stuffed);
        if self.stuffed.is_empty() {
            return;
        }
        let Targets { mail, archive } = targets;
        let to_archive = async {
            match archive {
                Some(archive) => archive.send("sending a message", &self.stuffed).await,
                None => Ok(()),
            }
        };
        let (mailed, archived) =
            futures_util::join!(mail.send("sending a message", &self.stuffed), to_archive);
        if let Err(e) = archived {
            warn!("a message was not archived: {e}");
            self.refuse(not_archived(Mailed::deferred));
        } else if let Err(e) = mailed {
            // It may have said why before it closed.
            let said = match &mut self.targets {
                Some(targets) => targets.mail.early_reply().await,
                None => None,
            };
            let refused = said.filter(|reply| !reply.code().is_positive());
            self.refuse(refused.map_or_else(|| failed(&e), passed_on));
        }
    }
}

/// What became of a message that was answered so.
fn outcome(reply: &Reply) -> Mailed {
    match reply.code() {
        code if code.is_positive() => Mailed::accepted,
        code if code.is_permanent() => Mailed::refused,
        _ => Mailed::deferred,
    }
}

/// MAIL for the archive.
fn archive_mail(from: &str, mail: &Mail, archive: &SmtpConn) -> String {
    let offers = archive.extensions();
    let mut line = format!("MAIL FROM:<{from}>");
    if mail.body == Some(Body::EightBitMime) && offers.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if mail.utf8 && offers.utf8 {
        line.push_str(" SMTPUTF8");
    }
    line
}

/// `outcome`: what the archive said of it.
fn not_archived(outcome: Mailed) -> Reply {
    metrics().journaled(outcome);
    Reply::new(451, "4.3.0 The message cannot be archived now, try again later")
}

/// From the world to old, to new, and once more each by a list or a forward.
const MOST_HERE: usize = 4;
