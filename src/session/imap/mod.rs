//! One IMAP client: the loop over its commands, and what every command shares.
//!
//! A file per group of commands, each the same shape: parse (done before), plan, run, and then pay
//! what the session owes its client. Commands run one after the other; what a client pipelines
//! waits in its socket.

mod acl;
mod append;
mod auth;
mod copy;
mod expunge;
mod fetch;
mod folders;
mod idle;
mod input;
mod list;
mod metadata;
mod notify;
mod offer;
mod pay;
mod quota;
mod reply;
mod search;
mod select;
mod sets;
mod status;
mod store;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::client::{Client, ClientError};
use super::roster::Entry;
use super::server::Server;
use crate::account::{Access, Account, Entered, SessionId};
use crate::base::{Outcome, metrics};
use crate::ferry::Copier;
use crate::imap::command::{Command, Tag, Tagged};
use crate::imap::names::Spelling;
use crate::net::Stream;

use fetch::Asked;
use input::Input;
use notify::Notifying;
pub use offer::{CAPABILITIES, Capability, Offer};
use reply::{Failure, Reply};
use select::Selected;
use store::Change;

/// How long a command may still run when its session is to end.
const LAST_COMMAND: Duration = Duration::from_secs(5);

/// A logged-in client's account, and what its login may reach.
#[derive(Clone)]
pub(super) struct User {
    pub account: Arc<Account>,
    pub access: Arc<Access>,
    pub copier: Arc<Copier>,
}

/// One client's session.
pub(super) struct Session {
    pub server: Arc<Server>,
    pub client: Client,
    pub id: SessionId,
    /// Cancelled when the session is to end, by a shutdown or by the administrator.
    ending: CancellationToken,
    pub user: Option<User>,
    /// Says that `user` is here.
    entry: Option<Entry>,
    pub selected: Option<Selected>,
    /// The same from the first octet of a connection to the last (V10).
    offer: Arc<Offer>,
    /// What the client has enabled.
    extended: Extended,
    /// By then the client must have logged in.
    login_by: Instant,
    failed_logins: u32,
    /// What the client said of itself by ID.
    said: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// While a command runs, the account's phase stays.
    entered: Option<Arc<Entered>>,
    /// What the client wants to be told of without asking.
    notifying: Option<Box<Notifying>>,
}

/// What a client has enabled, by ENABLE (RFC 5161) or by a command that implies it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Extended {
    /// MODSEQ belongs into every FETCH that tells of flags (RFC 7162 §3.1.1).
    pub condstore: bool,
    /// VANISHED is told in the place of EXPUNGE (RFC 7162 §3.2.3).
    pub qresync: bool,
    /// The client speaks IMAP4rev2 (RFC 9051 §6.3.1).
    pub rev2: bool,
    /// Strings are in UTF-8, and only in that (RFC 6855 §3).
    pub utf8: bool,
}

impl Extended {
    /// How the client spells mailbox names.
    pub fn spelling(&self) -> Spelling {
        if self.rev2 || self.utf8 { Spelling::Utf8 } else { Spelling::Utf7 }
    }
}

/// Serves one client to its end.
pub(super) async fn run(server: Arc<Server>, stream: Stream, id: SessionId, tls_first: bool) {
    let limits = &server.config.limits;
    let deadline = Instant::now() + limits.login_timeout;
    let stream = match (tls_first, &server.tls) {
        (false, _) => stream,
        (true, Some(tls)) => match tls.accept(stream, limits.login_timeout).await {
            Ok(stream) => stream,
            Err(e) => return debug!("TLS handshake: {e}"),
        },
        (true, None) => return,
    };
    let ending = server.shutdown.child_token();
    let line = usize::try_from(limits.line_before_login).unwrap_or(usize::MAX);
    let client = Client::new(stream, line, deadline);
    let session = Session {
        client,
        id,
        ending: ending.clone(),
        user: None,
        entry: None,
        selected: None,
        offer: server.offer(),
        extended: Extended::default(),
        login_by: deadline,
        failed_logins: 0,
        said: Vec::new(),
        entered: None,
        notifying: None,
        server: Arc::clone(&server),
    };
    let overdue = async {
        ending.cancelled().await;
        sleep(LAST_COMMAND).await;
    };
    tokio::select! {
        () = Box::pin(session.serve()) => {}
        // Reads end with that, writes do not.
        () = overdue => info!("session ended in the middle of a command"),
    }
}

/// Counts a command that was executed.
fn measure(command: &'static str, since: Instant, reply: &Result<Reply, Failure>) {
    let outcome = match reply {
        Ok(Reply::Ok(..)) => Outcome::ok,
        Ok(Reply::Bad(_)) => Outcome::bad,
        Ok(Reply::No(..)) | Err(_) => Outcome::no,
    };
    metrics().answered(command, outcome, since.elapsed());
}

impl Session {
    async fn serve(mut self) {
        let greeting = format!("* OK [CAPABILITY {}] Mailferry ready", self.capabilities());
        self.client.line(greeting);
        let ending = self.ending.clone();
        let ended = loop {
            let input = tokio::select! {
                biased;
                () = ending.cancelled() => {
                    self.say_bye();
                    break Ok(());
                }
                input = self.next_input() => input,
            };
            match input {
                Ok(Input::Command(Tagged { tag, command: Command::Logout })) => {
                    self.client.line("* BYE Logging out");
                    self.client.line(format!("{tag} OK Logout completed"));
                    break Ok(());
                }
                // STARTTLS changes the connection itself.
                Ok(Input::Command(Tagged { tag, command: Command::StartTls })) => {
                    match self.starttls(&tag).await {
                        Ok(secured) => self = secured,
                        Err(e) => return debug!("STARTTLS: {e}"),
                    }
                }
                // So do COMPRESS and UNAUTHENTICATE.
                Ok(Input::Command(Tagged { tag, command: Command::Compress { algorithm } })) => {
                    match self.compress(&tag, &algorithm).await {
                        Ok(compressed) => self = compressed,
                        Err(e) => return debug!("COMPRESS: {e}"),
                    }
                }
                Ok(Input::Command(Tagged { tag, command: Command::Unauthenticate }))
                    if self.user.is_some() =>
                {
                    info!("logged out, the connection stays");
                    match self.unauthenticate(&tag).await {
                        Ok(nobodys) => self = nobodys,
                        Err(e) => return debug!("UNAUTHENTICATE: {e}"),
                    }
                }
                Ok(Input::Command(tagged)) => {
                    if let Err(e) = self.command(tagged).await {
                        break Err(e);
                    }
                }
                Ok(Input::Append(append)) => {
                    let _active = self.user.as_ref().map(|user| user.account.active());
                    let _served = self.server.ferry.courtesy().command();
                    self.begin(&append.tag);
                    if let Some(user) = self.user.clone() {
                        match user.account.enter().await {
                            Ok(entered) => self.entered = Some(Arc::new(entered)),
                            Err(e) => {
                                self.client.line(format!("* BYE {e}"));
                                break Ok(());
                            }
                        }
                    }
                    let since = Instant::now();
                    let reply = Box::pin(self.append(append.head)).await;
                    measure("APPEND", since, &reply);
                    self.entered = None;
                    if let Err(e) = self.answer(&append.tag, reply) {
                        break Err(e);
                    }
                }
                Ok(Input::Refused(tag, answer)) => {
                    let tag = tag.as_ref().map_or("*", Tag::as_str);
                    self.client.line(format!("{tag} {answer}"));
                }
                Err(ClientError::Frame(e)) => {
                    self.client.line(format!("* BYE {e}"));
                    break Ok(());
                }
                Err(ClientError::Silent(_)) => {
                    self.client.line("* BYE Disconnected for inactivity");
                    break Ok(());
                }
                Err(e) => break Err(e),
            }
            let stale = self.user.as_ref().is_some_and(|user| user.access.has_stale_token());
            if stale {
                // Its server lets nobody in with it any more: the client gets another one.
                self.client.line("* BYE The token has expired, please log in again");
                break Ok(());
            }
            if !self.client.has_more()
                && let Err(e) = self.client.flush().await
            {
                break Err(e);
            }
        };
        if self.user.is_some() {
            match &ended {
                Ok(()) => info!("session ended"),
                Err(e) => info!("session ended: {e}"),
            }
        }
        self.client.close().await;
    }

    /// Tells why the session ends that the client would not have ended.
    fn say_bye(&mut self) {
        self.client.line(match self.server.shutdown.is_cancelled() {
            true => "* BYE The proxy is being stopped",
            false => "* BYE Ended by the administrator, please connect again",
        });
    }

    async fn next_input(&mut self) -> Result<Input, ClientError> {
        if let (Some(_), Some(user)) = (&self.notifying, self.user.clone())
            && !self.client.has_more()
        {
            // Boxed, so that other sessions do not hold it.
            Box::pin(self.notify_until_more(&user)).await?;
        }
        self.input().await
    }

    async fn command(&mut self, Tagged { tag, command }: Tagged) -> Result<(), ClientError> {
        self.begin(&tag);
        let (name, since) = (command.name(), Instant::now());
        // Who waits for news, or has yet to log in, is not served.
        let heeded = self.user.is_some() && !matches!(command, Command::Idle);
        let served = heeded.then(|| self.server.ferry.courtesy().command());
        let reply = match (command, self.user.clone()) {
            (Command::Idle, Some(user)) => {
                // Who only waits holds up nobody who changes the account's phase.
                self.entered = None;
                self.idle(&user).await
            }
            // Boxed, so that an idle session is not as large as its largest command.
            (command, _) => Box::pin(self.execute(&tag, command)).await,
        };
        measure(name, since, &reply);
        drop(served);
        self.answer(&tag, reply)
    }

    fn begin(&mut self, tag: &Tag) {
        let interval = self.server.config.limits.progress_interval;
        self.client.set_running(Some((tag.clone(), interval)));
    }

    fn answer(&mut self, tag: &Tag, reply: Result<Reply, Failure>) -> Result<(), ClientError> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => failure.into_reply()?,
        };
        self.client.line(format!("{tag} {reply}"));
        self.client.set_running(None);
        Ok(())
    }

    async fn execute(&mut self, tag: &Tag, command: Command) -> Result<Reply, Failure> {
        match command {
            Command::Capability => {
                let line = format!("* CAPABILITY {}", self.capabilities());
                self.client.line(line);
                Ok(Reply::ok("Capability completed"))
            }
            Command::Id(fields) => self.id(fields),
            Command::Noop => self.noop().await,
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(&mechanism, initial).await
            }
            Command::Login { user, password } => self.login(&user, &password).await,
            Command::Logout | Command::StartTls | Command::Compress { .. } | Command::Append(_) => {
                Ok(Reply::bad("Not here"))
            }
            Command::Unauthenticate => Ok(Reply::bad("Nobody is logged in")),

            Command::Unknown { name } => Ok(Reply::bad(format!("Unknown command {name}"))),
            other => match self.user.clone() {
                Some(user) => {
                    self.entered = Some(Arc::new(user.account.enter().await?));
                    let reply = self.authenticated(tag, &user, other).await;
                    self.entered = None;
                    reply
                }
                None => Ok(Reply::bad("Please log in first")),
            },
        }
    }

    async fn authenticated(
        &mut self,
        tag: &Tag,
        user: &User,
        command: Command,
    ) -> Result<Reply, Failure> {
        // Who only asks for news keeps nobody from anything.
        let _active = (!matches!(command, Command::Noop)).then(|| user.account.active());
        let reply = match command {
            Command::Select { mailbox, options } => {
                return self.select(user, &mailbox, options, false).await;
            }
            Command::Examine { mailbox, options } => {
                return self.select(user, &mailbox, options, true).await;
            }
            Command::Create { mailbox, uses } => self.create(user, &mailbox, &uses).await,
            Command::Delete { mailbox } => self.delete(user, &mailbox).await,
            Command::Rename { from, to } => self.rename(user, &from, &to).await,
            Command::Subscribe { mailbox } => self.subscribe(user, &mailbox, true).await,
            Command::Unsubscribe { mailbox } => self.subscribe(user, &mailbox, false).await,
            Command::List(list) => self.list(user, &list).await,
            Command::Lsub { reference, pattern } => self.lsub(user, &reference, &pattern).await,
            Command::Namespace => self.namespace(user).await,
            Command::Status { mailbox, items } => self.status(user, &mailbox, &items).await,
            Command::Enable(names) => Ok(self.enable(&names)),
            Command::GetQuota { root } => self.get_quota(user, &root).await,
            Command::GetQuotaRoot { mailbox } => self.get_quota_root(user, &mailbox).await,
            Command::SetQuota => Ok(Reply::no_with("NOPERM", "Quotas are not set through here")),
            Command::Notify(set) => self.notify(user, set).await,
            Command::GetMetadata { mailbox, asked } => {
                self.get_metadata(user, mailbox.as_ref(), &asked).await
            }
            Command::SetMetadata { mailbox, values } => {
                self.set_metadata(user, mailbox, values).await
            }
            Command::Acl { mailbox, ask } => self.acl(user, &mailbox, &ask).await,
            other => return self.in_mailbox(tag, user, other).await,
        }?;
        self.pay(user, true).await?;
        Ok(reply)
    }

    async fn in_mailbox(
        &mut self,
        tag: &Tag,
        user: &User,
        command: Command,
    ) -> Result<Reply, Failure> {
        if self.selected.is_none() {
            return Ok(Reply::bad("No mailbox selected"));
        }
        // No EXPUNGE while sequence numbers are in use (RFC 3501 §7.4.1).
        let (reply, may_expunge) = match command {
            Command::Check => return self.noop().await,
            Command::Close => return self.close(user, true).await,
            Command::Unselect => return self.close(user, false).await,
            Command::Expunge => (self.expunge(user, None).await?, true),
            Command::UidExpunge { set } => (self.expunge(user, Some(&set)).await?, true),
            Command::Fetch { uid, set, items, partial, changed_since, vanished } => {
                let asked =
                    Asked { uid, set: &set, items: &items, partial, changed_since, vanished };
                (self.fetch(user, asked).await?, uid)
            }
            Command::Store { uid, set, unchanged_since, mode, silent, flags } => {
                let change = Change { mode, silent, flags, unchanged_since };
                (self.store(user, uid, &set, change).await?, uid)
            }
            Command::Search { uid, returns, charset, key } => {
                let search = search::Search { uid, returns, charset, key };
                (self.search(tag, user, search).await?, uid)
            }
            Command::Sort { uid, returns, criteria, charset, key } => {
                let sort = search::Sort { uid, returns, criteria, charset, key };
                (self.sort(tag, user, sort).await?, uid)
            }
            Command::Thread { uid, algorithm, charset, key } => {
                let thread = search::Thread { uid, algorithm, charset, key };
                (self.thread(tag, user, thread).await?, uid)
            }
            Command::CancelUpdate(tags) => (self.cancel_update(&tags), true),
            Command::Copy { uid, set, mailbox } => {
                (self.copy(user, uid, &set, &mailbox).await?, true)
            }
            Command::Move { uid, set, mailbox } => {
                (self.move_to(user, uid, &set, &mailbox).await?, true)
            }
            _ => return Ok(Reply::bad("Not in this state")),
        };
        self.pay(user, may_expunge).await?;
        Ok(reply)
    }
}
