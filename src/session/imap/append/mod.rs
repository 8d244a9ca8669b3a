//! APPEND (RFC 3501 §6.3.11), of several messages too (MULTIAPPEND, RFC 3502): streamed to new,
//! piece by piece; to old only into what is old's alone. What CATENATE (RFC 4469) puts together is
//! collected first. REPLACE (RFC 8508) is an APPEND that then removes a message, wherever that lies.

mod part;
mod upload;

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::warn;

use super::expunge::{Which, remove};
use super::reply::{Failure, Reply};
use super::{Session, User};
use crate::account::{AccountError, Mailbox};
use crate::base::{MailboxName, Side};
use crate::ferry::Tee;
use crate::imap::command::{AppendHead, AppendStep, MessageHead, Replaced, parse_append_steps};
use crate::imap::framer::{Literal, Piece};
use crate::session::client::ClientError;
use crate::uid::{Uid, UidSet};
use upload::Upload;

impl Session {
    /// Takes an APPEND from behind its head to its end, whatever becomes of it.
    pub(super) async fn append(&mut self, head: AppendHead) -> Result<Reply, Failure> {
        let mut appending = match self.replaced(head.replaces.as_ref()) {
            Ok(replaced) => self.begin_append(&head.mailbox, replaced).await,
            Err(refused) => Err(Failure::Refused(refused)),
        };
        let mut steps = VecDeque::from(head.steps);
        let mut within = false;
        loop {
            match steps.pop_front() {
                Some(AppendStep::Octets(literal)) => {
                    if !self.take_octets(&mut appending, literal).await? {
                        return appending.and_then(|_| Err(ClientError::Closed.into()));
                    }
                }
                Some(AppendStep::End) => break,
                Some(step) => {
                    within = match step {
                        AppendStep::Catenate => true,
                        AppendStep::CatenateEnd => false,
                        _ => within,
                    };
                    if let Ok(going) = &mut appending
                        && let Err(e) = going.step(step).await
                    {
                        appending = Err(e);
                    }
                }
                None => match self.more_steps(within).await? {
                    Ok(more) => steps = more.into(),
                    // What new has so far is dropped together with its connection.
                    Err(bad) => return Ok(bad),
                },
            }
        }
        let Appending { user, upload, replaced, .. } = appending?;
        let Some(upload) = upload else { return Ok(Reply::bad("Expected a message to append")) };
        let mut reply = self.carry_through(replace(user.clone(), upload, replaced)).await?;
        if let (Some(_), Reply::Ok(Some(code), _)) = (&head.replaces, &reply) {
            // Told before the EXPUNGE of what it takes the place of (RFC 8508 §3.3).
            self.client.line(format!("* OK [{code}] Replacement is there"));
            reply = Reply::ok("Replace completed");
        }
        self.pay(&user, true).await?;
        Ok(reply)
    }

    /// The message that a REPLACE is to remove. `Err`: there is none.
    fn replaced(&self, asked: Option<&Replaced>) -> Result<Option<Message>, Reply> {
        let Some(Replaced { uid, message }) = asked else { return Ok(None) };
        let Some(selected) = &self.selected else { return Err(Reply::bad("No mailbox selected")) };
        if selected.read_only {
            return Err(Reply::no("Mailbox was opened read-only"));
        }
        let uids = selected.resolve(message, *uid);
        let uids = uids.ok_or_else(|| Reply::bad("Invalid message sequence number"))?;
        if uids.is_empty() {
            return Err(Reply::no("There is no such message to replace"));
        }
        Ok(Some(Message { mailbox: Arc::clone(&selected.mailbox), uids }))
    }

    async fn begin_append(
        &self,
        name: &MailboxName,
        replaced: Option<Message>,
    ) -> Result<Appending, Failure> {
        let Some(user) = self.user.clone() else {
            return Err(Failure::Refused(Reply::bad("Please log in first")));
        };
        let target = match user.account.mailbox(&user.access, name).await {
            Ok(target) => target,
            Err(AccountError::NoSuchMailbox(_)) => {
                let text = "No such mailbox, it can be created";
                return Err(Failure::Refused(Reply::no_with("TRYCREATE", text)));
            }
            Err(e) => return Err(e.into()),
        };
        if target.stays_on_old() && user.account.old_is_read_only() {
            let text = "The old server is read-only";
            return Err(Failure::Refused(Reply::no_with("CANNOT", text)));
        }
        Ok(Appending {
            selected: self.selected.as_ref().map(|s| Arc::clone(&s.mailbox)),
            largest: self.server.config.limits.message,
            message: MessageHead::default(),
            parts: None,
            upload: None,
            replaced,
            user,
            target,
        })
    }

    /// Takes a literal. False: it was not wanted, and the client waited for that answer.
    async fn take_octets(
        &mut self,
        appending: &mut Result<Appending, Failure>,
        literal: Literal,
    ) -> Result<bool, Failure> {
        if let Ok(going) = appending
            && let Err(e) = going.expect(literal).await
        {
            *appending = Err(e);
        }
        if appending.is_err() {
            self.skip_literal(literal).await?;
            return Ok(!literal.sync);
        }
        if literal.sync {
            self.client.line("+ Ready for literal data");
            self.client.flush().await?;
        }
        loop {
            let Piece::Chunk { octets, last } = self.client.piece().await? else {
                return Err(ClientError::Closed.into());
            };
            if let Ok(going) = appending
                && let Err(e) = going.take(&octets).await
            {
                // The rest still comes, and has to go somewhere.
                *appending = Err(e);
            }
            if last {
                return Ok(true);
            }
        }
    }

    /// Reads how the command goes on behind octets. `Err`: it cannot be understood.
    async fn more_steps(
        &mut self,
        within: bool,
    ) -> Result<Result<Vec<AppendStep>, Reply>, ClientError> {
        let most = self.server.config.limits.command;
        let mut line: Vec<u8> = Vec::new();
        loop {
            let literal = match self.client.piece().await? {
                Piece::Chunk { octets, .. } => {
                    line.extend_from_slice(&octets);
                    continue;
                }
                Piece::Line(text) => {
                    line.extend_from_slice(&text);
                    None
                }
                Piece::Head { text, literal } => {
                    line.extend_from_slice(&text);
                    Some(literal)
                }
            };
            let why = match (parse_append_steps(&line, within), literal) {
                (Ok(Some(steps)), _) => return Ok(Ok(steps)),
                (Ok(None), Some(literal)) if line.len() as u64 + literal.octets <= most => {
                    // An argument: it is a part of this line.
                    if literal.sync {
                        self.client.line("+ Ready for literal data");
                        self.client.flush().await?;
                    }
                    line.extend_from_slice(b"\r\n");
                    continue;
                }
                (Ok(None), _) => "Command is too long".to_owned(),
                (Err(reason), _) => reason.to_string(),
            };
            if let Some(literal) = literal {
                self.skip_literal(literal).await?;
                if !literal.sync {
                    self.skip_line().await?;
                }
            }
            return Ok(Err(Reply::bad(why)));
        }
    }
}

/// A message that is there already.
struct Message {
    mailbox: Arc<Mailbox>,
    uids: UidSet<Uid>,
}

/// Ends an APPEND; then the message goes that the new one takes the place of. Where it cannot go,
/// the new one does: all of it happens, or nothing (RFC 8508 §3.1).
async fn replace(
    user: User,
    upload: Upload,
    replaced: Option<Message>,
) -> Result<Reply, AccountError> {
    let target = upload.target();
    let (reply, appended) = upload.finish().await?;
    let Some(Message { mailbox, uids }) = replaced.filter(|_| reply.is_ok()) else {
        return Ok(reply);
    };
    let refused = match remove(&mailbox, &user, &uids, Which::All).await {
        Ok(removed) if removed.is_ok() => return Ok(reply),
        refused => refused,
    };
    if let Some(uids) = appended
        && let Err(e) = remove(&target, &user, &uids, Which::All).await
    {
        warn!(mailbox = %target.name(), "a replacement could not be taken back: {e}");
    }
    refused
}

/// An APPEND under way.
struct Appending {
    user: User,
    target: Arc<Mailbox>,
    selected: Option<Arc<Mailbox>>,
    /// The largest message.
    largest: u64,
    /// What was said of the message that comes now.
    message: MessageHead,
    /// The parts of a message that is put together.
    parts: Option<Vec<Tee>>,
    upload: Option<Upload>,
    replaced: Option<Message>,
}

impl Appending {
    async fn step(&mut self, step: AppendStep) -> Result<(), Failure> {
        match step {
            AppendStep::Message(head) => self.message = head,
            AppendStep::Catenate => self.parts = Some(Vec::new()),
            AppendStep::Url(url) => {
                let part = part::read(&self.user, self.selected.as_ref(), &url).await?;
                self.fits(part.octets())?;
                self.parts.get_or_insert_default().push(part);
            }
            AppendStep::CatenateEnd => {
                let mut parts = self.parts.take().unwrap_or_default();
                let octets = parts.iter().map(Tee::octets).sum();
                self.ready(Literal { octets, sync: true, binary: false }).await?;
                let Some(upload) = &mut self.upload else { return Ok(()) };
                for part in &mut parts {
                    upload.send_collected(part).await?;
                }
            }
            AppendStep::Octets(_) | AppendStep::End => {}
        }
        Ok(())
    }

    /// Makes room for octets of the client's.
    async fn expect(&mut self, literal: Literal) -> Result<(), Failure> {
        self.fits(literal.octets)?;
        let Some(parts) = &mut self.parts else { return self.ready(literal).await };
        parts.push(part::collect(&self.user, literal.octets)?);
        Ok(())
    }

    async fn take(&mut self, octets: &[u8]) -> Result<(), Failure> {
        match (&mut self.parts, &mut self.upload) {
            (Some(parts), _) => match parts.last_mut() {
                Some(part) => part.push(octets).map_err(|e| part::no_room(&e)),
                None => Ok(()),
            },
            (None, Some(upload)) => Ok(upload.send(octets).await?),
            (None, None) => Ok(()),
        }
    }

    /// Whether so many octets more make no message that is too large.
    fn fits(&self, octets: u64) -> Result<(), Failure> {
        let so_far: u64 = self.parts.iter().flatten().map(Tee::octets).sum();
        if so_far.saturating_add(octets) > self.largest {
            let text = "The message is larger than the limit";
            return Err(Failure::Refused(Reply::no_with("TOOBIG", text)));
        }
        Ok(())
    }

    /// Brings new to where it takes the octets of the next message.
    async fn ready(&mut self, literal: Literal) -> Result<(), Failure> {
        let message = std::mem::take(&mut self.message);
        match &mut self.upload {
            Some(_) if self.replaced.is_some() => {
                Err(Failure::Refused(Reply::bad("One message replaces one")))
            }
            Some(upload) => upload.go_on(&message, literal).await,
            None => {
                self.make_target().await?;
                let access = &self.user.access;
                let upload = Upload::begin(access, &self.target, &message, literal).await?;
                self.upload = Some(upload);
                Ok(())
            }
        }
    }

    async fn make_target(&self) -> Result<(), AccountError> {
        let (user, target) = (&self.user, &self.target);
        if !target.stays_on_old() {
            user.account.make_on_new(&user.access, target).await?;
        }
        let names = &target.view().names;
        if Side::BOTH.into_iter().any(|side| names[side].is_some() && !target.has_seen(side)) {
            // What lies on old comes first: it keeps its UIDs only if it is seen before (V2).
            target.refresh(&user.access).await?;
        }
        Ok(())
    }
}
