//! A client's command as a value: [`parse`] makes one of a line, [`parse_append_head`] of what
//! stands before an appended message.
//!
//! The command word selects who reads the arguments: imap-codec (`lens`) where its closed world
//! suffices, our own `grammar` everywhere else and wherever imap-codec refuses what real clients
//! send. Both yield the one [`Command`]. Nothing here says what a command does, and nothing of a
//! client's line is ever passed on as it came: it is written anew from these types.

mod acl;
mod append;
mod error;
mod flag;
mod grammar;
mod lens;
mod list;
mod metadata;
mod notify;
mod parse;
mod spelling;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

pub use self::acl::AclCommand;
pub use self::append::{AppendHead, AppendStep, MessageHead, Replaced};
pub use self::error::{ParseError, Reason};
pub use self::flag::Flag;
pub use self::list::{List, ListReturn, ListSelect};
pub use self::metadata::{Depth, Entry, MetadataAsked};
pub use self::notify::{EventGroup, Events, NotifySet, Watched};
pub use self::parse::{
    AppendParse, TaggedAppend, parse, parse_append_head, parse_append_steps, parse_section,
};
pub use crate::imap::fetch::{FetchItem, FieldName, Section, SectionText};
pub use crate::imap::found::PartialRange;
pub use crate::imap::search::{SearchDate, SearchKey};
pub use crate::imap::sort::{SortCriterion, SortKey};
pub use crate::imap::thread::ThreadAlgorithm;

use crate::base::MailboxName;
use crate::uid::SeqSet;

/// How deep SEARCH parentheses, NOT and OR may nest. Ten is more than any client sends; a limit
/// there must be, for the parser and all that walks the tree recurse.
pub const MAX_NESTING: usize = 50;

/// What stands before every command, and is repeated in its answer (RFC 3501 §2.2.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tag(String);

impl Tag {
    /// Takes a tag from the wire: `tag = 1*<any ASTRING-CHAR except "+">`.
    pub fn new(octets: &[u8]) -> Option<Tag> {
        let fits = |b: &u8| b.is_ascii_graphic() && !b"(){%*\"\\+".contains(b);
        if octets.is_empty() || !octets.iter().all(fits) {
            return None;
        }
        String::from_utf8(octets.to_vec()).ok().map(Tag)
    }

    /// The tag as it goes onto the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Octets that no log may show: a password, or a SASL response. Wiped when dropped.
///
/// Compared only by tests; nothing decides over a secret by `==`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(octets))
    }

    /// The octets themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A command with its tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tagged {
    /// The client's tag.
    pub tag: Tag,
    /// What it asks.
    pub command: Command,
}

/// What a client asks (RFC 3501 §6 and the extensions that the proxy offers).
///
/// `uid` says that the command was preceded by `UID`: sets are then of UIDs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// CAPABILITY (RFC 3501 §6.1.1).
    Capability,
    /// NOOP (RFC 3501 §6.1.2).
    Noop,
    /// LOGOUT (RFC 3501 §6.1.3).
    Logout,
    /// STARTTLS (RFC 3501 §6.2.1).
    StartTls,
    /// COMPRESS (RFC 4978).
    Compress {
        /// What to compress by, in capitals.
        algorithm: String,
    },
    /// UNAUTHENTICATE (RFC 8437).
    Unauthenticate,
    /// CHECK (RFC 3501 §6.4.1).
    Check,
    /// CLOSE (RFC 3501 §6.4.2).
    Close,
    /// UNSELECT (RFC 3691).
    Unselect,
    /// EXPUNGE (RFC 3501 §6.4.3).
    Expunge,
    /// IDLE (RFC 2177).
    Idle,
    /// NAMESPACE (RFC 2342).
    Namespace,
    /// AUTHENTICATE (RFC 3501 §6.2.2).
    Authenticate {
        /// The SASL mechanism, in capitals.
        mechanism: String,
        /// The initial response (SASL-IR, RFC 4959), decoded; `=` is an empty one.
        initial: Option<Secret>,
    },
    /// LOGIN (RFC 3501 §6.2.3).
    Login {
        /// The user name as typed.
        user: Vec<u8>,
        /// The password.
        password: Secret,
    },
    /// ID (RFC 2971): fields with their values; none for `NIL`.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// ENABLE (RFC 5161): capability names in capitals.
    Enable(Vec<String>),
    /// SELECT (RFC 3501 §6.3.1).
    Select {
        /// The mailbox.
        mailbox: MailboxName,
        /// What stands in parentheses.
        options: SelectOptions,
    },
    /// EXAMINE (RFC 3501 §6.3.2).
    Examine {
        /// The mailbox.
        mailbox: MailboxName,
        /// What stands in parentheses.
        options: SelectOptions,
    },
    /// CREATE (RFC 3501 §6.3.3).
    Create {
        /// The mailbox; a separator at its end is still there.
        mailbox: MailboxName,
        /// What it is for, as attributes (RFC 6154 §3).
        uses: Vec<Flag>,
    },
    /// DELETE (RFC 3501 §6.3.4).
    Delete {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// RENAME (RFC 3501 §6.3.5).
    Rename {
        /// Its name until now.
        from: MailboxName,
        /// Its new name.
        to: MailboxName,
    },
    /// SUBSCRIBE (RFC 3501 §6.3.6).
    Subscribe {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// UNSUBSCRIBE (RFC 3501 §6.3.7).
    Unsubscribe {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// LIST (RFC 3501 §6.3.8, RFC 5258).
    List(List),
    /// LSUB (RFC 3501 §6.3.9).
    Lsub {
        /// The reference name; mostly empty.
        reference: Vec<u8>,
        /// The mailbox name with wildcards.
        pattern: Vec<u8>,
    },
    /// STATUS (RFC 3501 §6.3.10).
    Status {
        /// The mailbox.
        mailbox: MailboxName,
        /// What is asked, in the client's order.
        items: Vec<StatusItem>,
    },
    /// GETQUOTA (RFC 9208 §4.1.2).
    GetQuota {
        /// The quota root.
        root: Vec<u8>,
    },
    /// GETQUOTAROOT (RFC 9208 §4.1.3).
    GetQuotaRoot {
        /// The mailbox.
        mailbox: MailboxName,
    },
    /// SETQUOTA (RFC 9208 §4.1.4), whatever it would set.
    SetQuota,
    /// GETMETADATA (RFC 5464 §4.2).
    GetMetadata {
        /// The mailbox; `None`: the server.
        mailbox: Option<MailboxName>,
        /// What is asked.
        asked: MetadataAsked,
    },
    /// SETMETADATA (RFC 5464 §4.3).
    SetMetadata {
        /// The mailbox; `None`: the server.
        mailbox: Option<MailboxName>,
        /// Each annotation's value, `None` to remove it; never none.
        values: Vec<(Entry, Option<Vec<u8>>)>,
    },
    /// NOTIFY (RFC 5465); `None`: NONE.
    Notify(Option<NotifySet>),
    /// SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).
    Acl {
        /// The mailbox.
        mailbox: MailboxName,
        /// What is asked or changed.
        ask: AclCommand,
    },
    /// SEARCH (RFC 3501 §6.4.4, RFC 4731).
    Search {
        /// Whether the answer is to hold UIDs.
        uid: bool,
        /// RETURN options; `RETURN ()` means `ALL` and is given as that.
        returns: Option<Vec<SearchReturn>>,
        /// The charset of the strings.
        charset: Option<String>,
        /// What to look for.
        key: SearchKey,
    },
    /// SORT (RFC 5256, RFC 5267 §3).
    Sort {
        /// Whether the answer is to hold UIDs.
        uid: bool,
        /// RETURN options, as in SEARCH.
        returns: Option<Vec<SearchReturn>>,
        /// By what to sort, the first one first; never empty.
        criteria: Vec<SortCriterion>,
        /// The charset of the strings.
        charset: String,
        /// What to look for.
        key: SearchKey,
    },
    /// THREAD (RFC 5256).
    Thread {
        /// Whether the answer is to hold UIDs.
        uid: bool,
        /// How to thread.
        algorithm: ThreadAlgorithm,
        /// The charset of the strings.
        charset: String,
        /// What to look for.
        key: SearchKey,
    },
    /// CANCELUPDATE (RFC 5267 §4.3.5): the tags of the searches.
    CancelUpdate(Vec<Tag>),
    /// FETCH (RFC 3501 §6.4.5).
    Fetch {
        /// Whether `set` holds UIDs.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// What is asked, in the client's order; macros are expanded.
        items: Vec<FetchItem>,
        /// Which of the messages, if not all; only with UIDs (RFC 9394 §3.3).
        partial: Option<PartialRange>,
        /// Only messages that changed since this MODSEQ (RFC 7162 §3.1.4.1).
        changed_since: Option<u64>,
        /// Also what vanished since then (RFC 7162 §3.2.6).
        vanished: bool,
    },
    /// STORE (RFC 3501 §6.4.6).
    Store {
        /// Whether `set` holds UIDs.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// Only messages that did not change since this MODSEQ (RFC 7162 §3.1.3).
        unchanged_since: Option<u64>,
        /// What to do with the flags.
        mode: StoreMode,
        /// Whether no answer is wanted (`.SILENT`).
        silent: bool,
        /// The flags; never `\Recent`.
        flags: Vec<Flag>,
    },
    /// COPY (RFC 3501 §6.4.7).
    Copy {
        /// Whether `set` holds UIDs.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// MOVE (RFC 6851).
    Move {
        /// Whether `set` holds UIDs.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// UID EXPUNGE (RFC 4315 §2.1).
    UidExpunge {
        /// The UIDs.
        set: SeqSet,
    },
    /// APPEND (RFC 3501 §6.3.11) or REPLACE, without its messages; by [`parse`] only where it has no octets.
    Append(AppendHead),
    /// A command that the proxy does not know.
    Unknown {
        /// Its name in capitals, with `UID ` before it where the client wrote so.
        name: String,
    },
}

impl Command {
    /// Its name, one of few: what counts commands never holds what a client sent. A command by UID
    /// has the name of the one by numbers; all of ACL's have one.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Capability => "CAPABILITY",
            Command::Noop => "NOOP",
            Command::Logout => "LOGOUT",
            Command::StartTls => "STARTTLS",
            Command::Compress { .. } => "COMPRESS",
            Command::Unauthenticate => "UNAUTHENTICATE",
            Command::Check => "CHECK",
            Command::Close => "CLOSE",
            Command::Unselect => "UNSELECT",
            Command::Expunge => "EXPUNGE",
            Command::Idle => "IDLE",
            Command::Namespace => "NAMESPACE",
            Command::Authenticate { .. } => "AUTHENTICATE",
            Command::Login { .. } => "LOGIN",
            Command::Id(_) => "ID",
            Command::Enable(_) => "ENABLE",
            Command::Select { .. } => "SELECT",
            Command::Examine { .. } => "EXAMINE",
            Command::Create { .. } => "CREATE",
            Command::Delete { .. } => "DELETE",
            Command::Rename { .. } => "RENAME",
            Command::Subscribe { .. } => "SUBSCRIBE",
            Command::Unsubscribe { .. } => "UNSUBSCRIBE",
            Command::List(_) => "LIST",
            Command::Lsub { .. } => "LSUB",
            Command::Status { .. } => "STATUS",
            Command::GetQuota { .. } => "GETQUOTA",
            Command::GetQuotaRoot { .. } => "GETQUOTAROOT",
            Command::SetQuota => "SETQUOTA",
            Command::GetMetadata { .. } => "GETMETADATA",
            Command::SetMetadata { .. } => "SETMETADATA",
            Command::Notify(_) => "NOTIFY",
            Command::Acl { .. } => "ACL",
            Command::Search { .. } => "SEARCH",
            Command::Sort { .. } => "SORT",
            Command::Thread { .. } => "THREAD",
            Command::CancelUpdate(_) => "CANCELUPDATE",
            Command::Fetch { .. } => "FETCH",
            Command::Store { .. } => "STORE",
            Command::Copy { .. } => "COPY",
            Command::Move { .. } => "MOVE",
            Command::UidExpunge { .. } => "UID EXPUNGE",
            Command::Append(_) => "APPEND",
            Command::Unknown { .. } => "unknown",
        }
    }
}

/// The parameters of SELECT and EXAMINE (RFC 7162 §3.1.8, §3.2.5).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SelectOptions {
    /// CONDSTORE.
    pub condstore: bool,
    /// QRESYNC.
    pub resync: Option<Resync>,
}

/// What a client knew of a mailbox when it last had it open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resync {
    /// UIDVALIDITY; with another one the rest means nothing.
    pub uid_validity: u32,
    /// HIGHESTMODSEQ.
    pub mod_seq: u64,
    /// The UIDs it knows, without `*`; not told: all up to its UIDNEXT.
    pub known: Option<SeqSet>,
}

/// What STATUS can be asked for (RFC 3501 §6.3.10; SIZE: RFC 8438; HIGHESTMODSEQ: RFC 7162;
/// DELETED: RFC 9051 §6.3.11; DELETED-STORAGE: RFC 9208 §4.1.1; APPENDLIMIT: RFC 7889; MAILBOXID:
/// RFC 8474 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StatusItem {
    /// MESSAGES.
    Messages,
    /// RECENT.
    Recent,
    /// UIDNEXT.
    UidNext,
    /// UIDVALIDITY.
    UidValidity,
    /// UNSEEN.
    Unseen,
    /// SIZE.
    Size,
    /// HIGHESTMODSEQ.
    HighestModSeq,
    /// DELETED.
    Deleted,
    /// DELETED-STORAGE.
    DeletedStorage,
    /// APPENDLIMIT.
    AppendLimit,
    /// MAILBOXID.
    MailboxId,
}

impl StatusItem {
    /// Every item.
    pub const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Size,
        StatusItem::HighestModSeq,
        StatusItem::Deleted,
        StatusItem::DeletedStorage,
        StatusItem::AppendLimit,
        StatusItem::MailboxId,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::Deleted => "DELETED",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::MailboxId => "MAILBOXID",
        }
    }
}

/// What SEARCH or SORT is to return (RFC 4731 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SearchReturn {
    /// MIN: the lowest number, or the first message of a SORT.
    Min,
    /// MAX: the highest number, or the last message of a SORT.
    Max,
    /// ALL: every number.
    All,
    /// COUNT: how many.
    Count,
    /// SAVE: keep the result as `$` (RFC 5182).
    Save,
    /// PARTIAL: some of the numbers (RFC 5267 §4.4, RFC 9394); never beside ALL.
    Partial(PartialRange),
    /// UPDATE: tell later changes of the result (RFC 5267 §4.3).
    Update,
    /// CONTEXT: more of the kind will be asked (RFC 5267 §4.2).
    Context,
}

/// What STORE does with its flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoreMode {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`: these too.
    Add,
    /// `-FLAGS`: these no longer.
    Remove,
}

/// A date and time as APPEND and INTERNALDATE write it: `17-Jul-1996 02:44:25 -0700`.
///
/// Its text is checked for shape and ranges, so that it can go between quotes as it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InternalDate(String);

impl InternalDate {
    /// Takes the text that stands between the quotes (RFC 3501 §9, `date-time`).
    ///
    /// A day of one digit is accepted as `1`, ` 1` and `01`, and written in the last form.
    pub fn new(text: &[u8]) -> Option<InternalDate> {
        grammar::internal_date(text).map(InternalDate)
    }

    /// The text without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
