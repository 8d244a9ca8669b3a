//! Mailferry: a transparent IMAP migration proxy.
//!
//! It stands in front of an old and a new mail server and shows each client one mailbox made of
//! both. What a client opens is copied to the new server behind its back, exactly once.
//!
//! # The rooms
//!
//! A room uses only rooms above it in this list; there are no circles (`tests/rooms.rs` holds this).
//!
//! | room | what it is for | what it never does |
//! |---|---|---|
//! | [`base`] | the two sides, names, secrets: what every room needs | I/O, IMAP |
//! | [`config`] | `proxy.toml` as typed, checked settings | open a socket |
//! | [`uid`] | [`UidMap`](uid::UidMap), sets, sequence sets: the pure heart | I/O, IMAP's text |
//! | [`imap`] | IMAP on the wire: framing, reading, writing, names | open a socket, wait |
//! | [`smtp`] | SMTP on the wire: commands, replies, a message's octets | open a socket, wait |
//! | [`index`] | what is remembered across restarts, durable before it counts | speak to a server, decide |
//! | [`net`] | sockets, TLS, listeners, limits on connections | know IMAP |
//! | [`backend`] | being the client of one server: connections, their pool | know accounts or virtual UIDs |
//! | [`account`] | one user's merged world: names, mailbox hubs, arrivals, intents | speak IMAP to a client |
//! | [`ferry`] | carrying messages from old to new, when they are opened and in the background | show a client anything |
//! | [`session`] | talking to one client | change a map, know how the index is kept |
//! | [`admin`] | the administrator's commands to the running proxy | print, speak to a mail client |
//! | [`cli`] | arguments, help, exit codes, output | decide about mail |
//!
//! # Life of a command
//!
//! 1. Octets come from the client's socket into [`session::Client`], which holds the only buffer in
//!    either direction. [`imap::framer`] cuts them into lines and literals; it keeps its state
//!    outside of futures, so nothing is lost when one is dropped.
//! 2. `session::imap::input` gathers the pieces of one command, within the limits on its length. A
//!    message that is appended stays in the socket.
//! 3. [`imap::command`] parses it to types. What a client sent is always written anew for a server,
//!    never spliced.
//! 4. `session::imap` executes it: a file per group of commands. The client's set is resolved by the
//!    numbering that the client has been told, and where the messages lie is read from the mailbox's
//!    current [`View`](account::View).
//! 5. The plan says which side is asked for what. A FETCH is a schedule of steps in the client's
//!    order; a STORE or EXPUNGE goes to each message's authority.
//! 6. [`Mailbox::lease`](account::Mailbox::lease) borrows a connection from the side's
//!    [`Pool`](backend::Pool) with the mailbox selected, and first takes into the map what that
//!    connection has heard meanwhile.
//! 7. A FETCH's replies pass through [`imap::fetch_scan`]; the head is rewritten to the client's
//!    sequence number and UID, literals go on in chunks. A message of old that is opened is also
//!    collected for the [`Copier`](ferry::Copier). Writes run in a task of their own, to their end.
//! 8. The session pays what it owes its client: EXPUNGE where IMAP allows it, EXISTS, changed flags.
//!    Then comes the tagged answer.
//!
//! What a command changes in a map goes through [`Mailbox::change`](account::Mailbox::change): the
//! tip advances and its batch is queued under one short lock, and the new view is published when
//! the batch is durable.
//!
//! # Guarantees
//!
//! | | what holds | where |
//! |---|---|---|
//! | V1 | UIDVALIDITY is old's, or our own where old has no such mailbox, and stays | [`Merged::see`](account::Merged::see), [`Mailbox::refresh`](account::Mailbox::refresh) |
//! | V2 | a UID means one message for ever, and ascends; old's UIDs are kept | [`Merged::arrive`](account::Merged::arrive), [`Mailbox::change`](account::Mailbox::change) |
//! | V3 | every message is visible once; all numbers agree | [`UidMap`](uid::UidMap), [`View`](account::View) |
//! | V4 | a write is OK when the message's authority said OK | [`Place::authority`](uid::Place::authority), `session::imap` |
//! | V5 | a copy happens once, byte for byte, whatever crashes | [`Mailbox::begin_copies`](account::Mailbox::begin_copies), [`Mailbox::commit_copies`](account::Mailbox::commit_copies), [`ferry`] |
//! | V6 | nothing leaves old that the client did not remove | `session::imap` names exactly what the client named; [`ferry`] only reads from old |
//! | V7 | trouble on one side does not hide the other | [`Mailbox::refresh`](account::Mailbox::refresh), [`Pool`](backend::Pool) |
//! | V8 | a lost index costs no mail and gives no UID a second meaning | [`Index::open`](index::Index::open), [`Index::remembered`](index::Index::remembered) |
//! | V9 | no secret is logged, and none kept on disk but sealed, by mode `learned` | [`SecretString`](base::SecretString), [`BackendLogin`](config::BackendLogin), [`Accounts::forget`](account::Accounts::forget) |
//! | V10 | the same capabilities for everybody, always | [`Offer`](session::imap::Offer) |
//!
//! # ARCHITECTURE: where the code differs from the design
//!
//! - **No arbiter of connections.** Where a step needs both sides, old's connection is borrowed
//!   first, then new's: see [`Pool`](backend::Pool). Two rare paths borrow old's while they hold
//!   new's: a FETCH of a copy that new does not return, and the copier when it finds a copy again
//!   after a crash. There the wait is bounded by `limits.backend_command_timeout`.
//! - **Connections are held to the end of a command.** A long FETCH does not give way between
//!   windows; where its client is slow, its connections count no more ([`Seat`](backend::Seat)). One
//!   connection is asked for one step of a FETCH at a time: Dovecot joins pipelined ones. Watchers
//!   take at most half of a pool and give way on demand; the copier, one batch at a time, is a borrower
//!   like any other.
//! - **Content is gathered too where steps would be short**, about a mebibyte at a time, and put into the
//!   client's order; what is too large to be held is passed on as it comes when its turn comes.
//! - **What is opened is carried when the client's command is over**, or a third of a second later:
//!   a download does not share the processor with the copies of its first messages.
//! - **The guard of writes is one for each mailbox**, not one for each UID: see
//!   [`Mailbox::guard`](account::Mailbox::guard). The copier holds it alone for the last comparison
//!   of flags and the change of place, a few round trips for a batch. Whoever carries waits for the
//!   guard with one connection of each side in its hands; of those there is always one fewer than
//!   connections (`ferry::copier`'s turns), so writers get theirs.
//! - **A FETCH that sets `\Seen` is a STORE and a FETCH with PEEK**, in one round trip: the write is
//!   under the guard, and the octets, which may take long, are not.
//! - **A message that new alters is not joined.** If neither size nor content of the copy is what was
//!   sent, the copy is removed, the message stays on old, and why is noted as stuck. There is no way yet
//!   to accept such copies.
//! - **Clients that are never quiet hold the background sync up for a minute, not for ever**: then it goes
//!   on beside them, as slowly as what they feel of it bids (`ferry::courtesy`).
//! - **The background sync is off unless it is switched on** ([`Trickle`](ferry::Trickle)). The server
//!   that judges passwords may have a `master` or a `table` as well: they are for the background alone.
//!   With `same` on a side, an account is copied while a client's login is
//!   remembered, and the pass that is then under way goes on to its end.
//! - **What mode `learned` keeps is sealed by AES-256-GCM** under a key of the configuration, in the
//!   index and not beside it; it can neither be exported nor handed to a hook.
//! - **A side that becomes another one is believed.** If its UIDVALIDITY changed, or its UIDNEXT and
//!   its messages fell, what it lacks is the other side's alone, and what it has is matched anew; what
//!   only that side had and counts anew gets fresh UIDs, under the UIDVALIDITY that the client knows.
//!   Where nothing is matched (`match = "off"`) its report is not believed
//!   ([`Distrust`](account::Distrust)): nothing is removed and nothing shown twice. A command that finds
//!   this out is answered with NO, for it was planned with numbers that mean nothing any more. A side that
//!   neither lists nor knows a mailbox any more has lost it: what the other has of it is seen. A server
//!   that serves a deleted mailbox to whoever has it selected (Dovecot) gives it away only to a
//!   connection that selects it anew, or in a STATUS.
//! - **Where boundary and mark are lost with the index, UIDVALIDITY stays**: what follows is a million
//!   UIDs above what the time of day gives ([`Index::open`](index::Index::open)). So it is where the epoch log
//!   lost its end, for then the database may have lost its own; unless that is what a crash leaves.
//! - **Folders of other users and shared ones stay on old** (`account::shared`): they have a record
//!   and a hub, but no name on new, so nothing is carried. A DELETE there deletes on old (V6: it is
//!   what the client asked for, and there is nowhere else to hide it). One that its owner made anew
//!   is forgotten and seen again, instead of being away.
//! - **Access rights are old's, annotations are kept by both sides**, where the design says nothing
//!   of them: `session::imap::acl` and [`Account::metadata`](account::Account::metadata) say why.
//! - **NOTIFY (RFC 5465) asks for news** of what is not selected, from time to time, whatever the
//!   servers have; NONE does not keep from a client what changes the numbers of its messages.
//! - **A phase is a way to look at the map, not another map**: what lies on both sides stays noted as
//!   that in every phase ([`Merged::shown`](account::Merged::shown)), and [`View`](account::View) has what
//!   the phase's side has. So a twin on the other side is remembered and hidden without being written down
//!   anywhere else. What a phase hid comes into sight with fresh UIDs.
//! - **Twins on new go where their originals have gone** while old decided, when the account is merged
//!   again: hidden ones would be seen by whoever talks to new directly, and no `verify` would be clean.
//! - **The outbox holds sets and no operations** ([`Owed`](index::Owed)): what was removed, and whose flags
//!   were changed. What lies on new alone is owed to old by its place. So telling old is idempotent, and
//!   its order is that everything is copied before anything is removed.
//! - **A clean `verify` counts until something arrives on old** ([`Account::unverified`](account::Account::unverified)):
//!   flags and removals there do not matter, for new decides over what lies on both.
//! - **The mirror works in phase merged, of mailboxes that somebody has opened** since the proxy was
//!   started, and is off unless it is asked for; what it did not do is done on the way back. Folders that are
//!   renamed or deleted keep their names on old.
//! - **Old is looked at in phase new by whoever may log in there** ([`Latecomers`](ferry::Latecomers)):
//!   with the users' own passwords only while they are logged in.
//! - **A client waits a little for the matching** of a mailbox that it opens ([`Mailbox::refresh`](account::Mailbox::refresh)
//!   has the bound): most are done by then, and the first view is the whole one. What is to be removed
//!   from old waits until it is known whether new has it as well.
//! - **Arrivals are compared with what the other side has of the same days.** Where that side cannot
//!   be asked, they are shown without it, and compared when it can: what is one message then goes on under
//!   the lower UID, with the flags of both; who removed one of them meanwhile keeps the other.
//! - **A tool's tree on new is emptied, not shown** (`account::history`): its messages are moved to
//!   their folders by new itself. What a client had deleted, and the tool brings again, is seen again.
//! - **A copy that another tool altered is joined all the same** (mbsync adds a header). In phase
//!   merged, clients go on reading old's as long as old can give it, so that size and content stay
//!   what they were; new says the flags. SEARCH and SORT go by what new has, and so does phase new.
//! - **MODSEQs are reserved in strides** ([`ModSeqs`](account::ModSeqs)): a change of flags costs no
//!   write of its MODSEQ, and after a restart the virtual value goes on above what was reserved, so
//!   that it does not equal old's any more even where nothing lies on new.
//! - **A copy's flags are no news.** A flag that somebody changes on old directly, in the moment in
//!   which the message is copied, is on the copy; an idle client may hear of it only when it asks.
//! - **What clients are offered stands on what both servers offered last**
//!   ([`Offer`](session::imap::Offer)): before anybody has logged in on a side, nothing that needs
//!   that side. It changes when a server does, and then for connections that begin afterwards.
//! - **MAILBOXID and EMAILID are the proxy's own** ([`ObjectId`](uid::ObjectId),
//!   [`EmailId`](uid::EmailId)) and are made of what is never given out twice. That a copy has its
//!   source's is known to the index alone: if that is lost, a copy that keeps its UID has another
//!   EMAILID. So has one of which the server told no COPYUID, and a mailbox that is renamed on a
//!   server, and not through the proxy, is another one.
//! - **SORT and THREAD follow RFC 5256** where servers do otherwise (a time that is none is
//!   midnight, for example), and are left to a server only where all messages lie on its side. So an
//!   odd message may change its place once, when the first message is copied.
//! - **A result that is kept up to date** (`UPDATE`, RFC 5267) is searched for anew whenever messages
//!   or flags have changed, as far as the proxy is told of that.
//! - **The first sight of a mailbox may be by STATUS**, where it has no message on new: its numbers are
//!   old's, and its UIDVALIDITY is fixed by them, so that a listing with STATUS opens nothing; one that
//!   was given within a day is fixed by SELECT alone.
//! - **BDAT goes on as DATA**, whatever the server offers: a message has one form behind the proxy, and
//!   without BINARYMIME nothing is lost by it. A message that does not end with a line end gets one.
//! - **An LMTP server takes one recipient at a time**: its answers are for each, SMTP's is for all.
//! - **XCLIENT names no client name**, because the proxy looks none up.
//! - **A token is judged by the primary side alone**, also of who sends: it must be good for IMAP.
//!   OAUTHBEARER and XOAUTH2 are offered together where that side has one of them
//!   ([`Accounts::takes_tokens`](account::Accounts::takes_tokens)), and each is passed on as the other. A
//!   client whose token has expired, and who has no later one, is sent away by BYE.
//! - **An account rests where new has no quota left for it** (`ferry::full`), and not for a `[LIMIT]`: that
//!   may be one of a folder or of a message, and keeps back no other folder.
//! - **A RENAME, and a MOVE on a server that has none, are noted before a server is told**: where nobody
//!   heard the end, the listings of the next seconds, or looks at what is in the target, decide (`account::renaming`,
//!   `ferry::moves`). Whoever copies or moves something meanwhile waits for that look. A copy that the server
//!   makes only after its client has done the MOVE again is there beside the other one.
//! - **Old's copies of what was removed are seen again where the index is lost**: what is owed to old is
//!   not in the epoch log, which would have to hold it for all accounts. A snapshot has it.
//! - **What is the same is told without the trace of its delivery** (RFC 5321 §4.4 and what filters add):
//!   each server writes its own. Two messages that differ in nothing else are one. What is the same in that
//!   and in its INTERNALDATE was put back by somebody where that can be: where the message is gone from a side
//!   that it had come to, or was moved there, and no client removed it for good. Then it is seen.
//!   Not so what somebody moves on a server to where a client removed another copy that is the same in all, a
//!   day ago at most: that is taken for the second copy. Mail that was delivered twice differs in its trace.
//! - **Second copies are expected for an hour** ([`SecondCopy`](index::SecondCopy)): before mail of the last hour is
//!   carried, moved or removed, what its other copy would be told by is noted. In phase old, where nobody asks
//!   new, that holds for all that came since the phase began.
//! - **A mailbox that old counts anew in phase old has lost its links to new** (Courier does so when it is
//!   renamed): its messages get fresh UIDs there, and are linked again when the account is merged. What clients
//!   remove in between is noted in the same way; what went otherwise is then seen as new has it, for
//!   nobody can tell it from what old lost.
//! - **EXPUNGE on a server without UIDPLUS** takes `\Deleted` from bystanders and puts it back
//!   without a durable note: a crash in that moment loses their mark, never a message.

pub mod account;
pub mod admin;
pub mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod ferry;
pub mod imap;
pub mod index;
pub mod net;
pub mod session;
pub mod smtp;
pub mod uid;
