//! The typed lens: commands whose arguments imap-codec reads.
//!
//! Its world is closed and strict, so it answers `None` to what it cannot read, and the grammar has
//! its turn. Left out are commands whose sloppy forms are common anyway (SEARCH, FETCH, LIST, all
//! with just a mailbox), and those with secrets, which it would copy about unwiped.

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_types::command::CommandBody;
use imap_types::flag::{Flag as ImapFlag, StoreResponse, StoreType};
use imap_types::mailbox::Mailbox;
use imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};
use imap_types::status::StatusDataItemName;

use super::{Command, Flag, StatusItem, StoreMode};
use crate::base::MailboxName;
use crate::uid::{Bound, SeqSet};

/// The command on `line`, if its `word` (in capitals) is one for imap-codec and it can read it all.
pub(super) fn command(word: &str, line: &[u8]) -> Option<Command> {
    if !WORDS.contains(&word) {
        return None;
    }
    let line = [line, b"\r\n"].concat();
    match CommandCodec::default().decode(&line) {
        Ok((b"", tagged)) => from_body(tagged.body),
        _ => None,
    }
}

fn from_body(body: CommandBody<'_>) -> Option<Command> {
    Some(match body {
        CommandBody::Capability => Command::Capability,
        CommandBody::Noop => Command::Noop,
        CommandBody::Logout => Command::Logout,
        CommandBody::StartTLS => Command::StartTls,
        CommandBody::Check => Command::Check,
        CommandBody::Close => Command::Close,
        CommandBody::Unselect => Command::Unselect,
        CommandBody::Expunge => Command::Expunge,
        CommandBody::Idle => Command::Idle,
        CommandBody::Namespace => Command::Namespace,
        CommandBody::ExpungeUid { sequence_set } => Command::UidExpunge { set: set(&sequence_set) },
        CommandBody::Enable { capabilities } => Command::Enable(
            capabilities.as_ref().iter().map(|c| c.to_string().to_ascii_uppercase()).collect(),
        ),
        CommandBody::Id { parameters } => Command::Id(
            parameters
                .unwrap_or_default()
                .iter()
                .map(|(field, value)| {
                    (field.as_ref().to_vec(), value.0.as_ref().map(|v| v.as_ref().to_vec()))
                })
                .collect(),
        ),
        CommandBody::Status { mailbox, item_names } => Command::Status {
            mailbox: name(&mailbox)?,
            items: item_names.iter().map(status_item).collect::<Option<_>>()?,
        },
        CommandBody::Store { sequence_set, kind, response, flags, uid } => Command::Store {
            unchanged_since: None,
            uid,
            set: set(&sequence_set),
            mode: match kind {
                StoreType::Replace => StoreMode::Replace,
                StoreType::Add => StoreMode::Add,
                StoreType::Remove => StoreMode::Remove,
            },
            silent: response == StoreResponse::Silent,
            flags: flags.iter().map(flag).collect::<Option<_>>()?,
        },
        CommandBody::Copy { sequence_set, mailbox, uid } => {
            Command::Copy { uid, set: set(&sequence_set), mailbox: name(&mailbox)? }
        }
        CommandBody::Move { sequence_set, mailbox, uid } => {
            Command::Move { uid, set: set(&sequence_set), mailbox: name(&mailbox)? }
        }
        _ => return None,
    })
}

fn name(mailbox: &Mailbox<'_>) -> Option<MailboxName> {
    match mailbox {
        Mailbox::Inbox => Some(MailboxName::inbox()),
        Mailbox::Other(other) => MailboxName::new(other.as_ref()),
    }
}

fn set(set: &SequenceSet) -> SeqSet {
    let bound = |end: &SeqOrUid| match end {
        SeqOrUid::Value(n) => Bound::Number(n.get()),
        SeqOrUid::Asterisk => Bound::Star,
    };
    let range = |sequence: &Sequence| match sequence {
        Sequence::Single(one) => (bound(one), bound(one)),
        Sequence::Range(from, to) => (bound(from), bound(to)),
    };
    SeqSet::from_ranges(set.0.as_ref().iter().map(range))
}

/// `None` for `\Recent`: the grammar says why it is refused.
fn flag(flag: &ImapFlag<'_>) -> Option<Flag> {
    Flag::new(flag.to_string().as_bytes()).filter(|flag| !flag.is("\\Recent"))
}

fn status_item(item: &StatusDataItemName) -> Option<StatusItem> {
    Some(match item {
        StatusDataItemName::Messages => StatusItem::Messages,
        StatusDataItemName::Recent => StatusItem::Recent,
        StatusDataItemName::UidNext => StatusItem::UidNext,
        StatusDataItemName::UidValidity => StatusItem::UidValidity,
        StatusDataItemName::Unseen => StatusItem::Unseen,
        StatusDataItemName::Deleted => StatusItem::Deleted,
        _ => return None,
    })
}

/// What imap-codec reads for us.
const WORDS: [&str; 16] = [
    "CAPABILITY",
    "NOOP",
    "LOGOUT",
    "STARTTLS",
    "CHECK",
    "CLOSE",
    "UNSELECT",
    "EXPUNGE",
    "IDLE",
    "NAMESPACE",
    "ENABLE",
    "ID",
    "STATUS",
    "STORE",
    "COPY",
    "MOVE",
];
