//! Mailbox names as the client spells them, once it has enabled UTF-8: taken for what they stand
//! for after a command was read, so that all behind it knows one spelling only.

use super::{AppendParse, Command, ParseError, Reason, Tagged, TaggedAppend, Watched};
use crate::base::MailboxName;
use crate::imap::names::Spelling;

impl Tagged {
    /// The command, its mailbox names spelled so by the client.
    ///
    /// # Errors
    /// A name is not spelled so.
    pub fn spelled(mut self, spelling: Spelling) -> Result<Tagged, ParseError> {
        match self.command.respell(spelling) {
            Ok(()) => Ok(self),
            Err(reason) => Err(ParseError { tag: Some(self.tag), reason }),
        }
    }
}

impl AppendParse {
    /// The same, its mailbox name spelled so by the client.
    pub fn spelled(self, spelling: Spelling) -> AppendParse {
        match self {
            AppendParse::Head(TaggedAppend { tag, mut head }) => {
                match name(&mut head.mailbox, spelling) {
                    Ok(()) => AppendParse::Head(TaggedAppend { tag, head }),
                    Err(reason) => AppendParse::Bad(ParseError { tag: Some(tag), reason }),
                }
            }
            other => other,
        }
    }
}

impl Command {
    fn respell(&mut self, spelling: Spelling) -> Result<(), Reason> {
        match self {
            Command::Select { mailbox, .. }
            | Command::Examine { mailbox, .. }
            | Command::Create { mailbox, .. }
            | Command::Delete { mailbox }
            | Command::Subscribe { mailbox }
            | Command::Unsubscribe { mailbox }
            | Command::Status { mailbox, .. }
            | Command::GetQuotaRoot { mailbox }
            | Command::GetMetadata { mailbox: Some(mailbox), .. }
            | Command::SetMetadata { mailbox: Some(mailbox), .. }
            | Command::Acl { mailbox, .. }
            | Command::Copy { mailbox, .. }
            | Command::Move { mailbox, .. } => name(mailbox, spelling),
            Command::Append(head) => name(&mut head.mailbox, spelling),
            Command::Notify(set) => {
                for group in set.iter_mut().flat_map(|set| &mut set.groups) {
                    if let Watched::Subtree(names) | Watched::Mailboxes(names) = &mut group.of {
                        names.iter_mut().try_for_each(|typed| name(typed, spelling))?;
                    }
                }
                Ok(())
            }
            Command::Rename { from, to } => {
                name(from, spelling)?;
                name(to, spelling)
            }
            Command::List(list) => {
                octets(&mut list.reference, spelling)?;
                list.patterns.iter_mut().try_for_each(|pattern| octets(pattern, spelling))
            }
            Command::Lsub { reference, pattern } => {
                octets(reference, spelling)?;
                octets(pattern, spelling)
            }
            Command::Capability
            | Command::Noop
            | Command::Logout
            | Command::StartTls
            | Command::Compress { .. }
            | Command::Unauthenticate
            | Command::Check
            | Command::Close
            | Command::Unselect
            | Command::Expunge
            | Command::Idle
            | Command::Namespace
            | Command::Authenticate { .. }
            | Command::Login { .. }
            | Command::Id(_)
            | Command::Enable(_)
            | Command::GetQuota { .. }
            | Command::SetQuota
            | Command::GetMetadata { mailbox: None, .. }
            | Command::SetMetadata { mailbox: None, .. }
            | Command::Search { .. }
            | Command::Sort { .. }
            | Command::Thread { .. }
            | Command::CancelUpdate(_)
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::UidExpunge { .. }
            | Command::Unknown { .. } => Ok(()),
        }
    }
}

fn name(typed: &mut MailboxName, spelling: Spelling) -> Result<(), Reason> {
    let read = spelling.read(typed.as_bytes()).and_then(|wire| MailboxName::new(&wire));
    *typed = read.ok_or(NOT_UTF8)?;
    Ok(())
}

/// A name with wildcards, or a part of one: both are ASCII, and stay as they are.
fn octets(typed: &mut Vec<u8>, spelling: Spelling) -> Result<(), Reason> {
    *typed = spelling.read(typed).ok_or(NOT_UTF8)?.into_owned();
    Ok(())
}

const NOT_UTF8: Reason = Reason::Expected("a mailbox name in UTF-8");
