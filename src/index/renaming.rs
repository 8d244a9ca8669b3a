//! A RENAME that is under way: what a server is told, and what the mailboxes are called if it does it.

use super::encoding::mailbox_name;
use super::pack::{Malformed, Packer, Unpacker};
use super::records::MailboxId;
use crate::base::{MailboxName, Side};

/// A RENAME that a server may have done, or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renaming {
    /// Which server is told.
    pub side: Side,
    /// What it is told, in its names: from, to.
    pub steps: Vec<(MailboxName, MailboxName)>,
    /// What each mailbox is called afterwards.
    pub mailboxes: Vec<Renamed>,
}

/// What one mailbox is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renamed {
    /// Which.
    pub id: MailboxId,
    /// By its client.
    pub client: MailboxName,
    /// On old, if it is there.
    pub old: Option<MailboxName>,
    /// On new, if it is there.
    pub new: Option<MailboxName>,
}

/// Its value in the index.
pub fn pack_renaming(renaming: &Renaming) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    out.byte(u8::from(renaming.side == Side::New));
    out.number(renaming.steps.len() as u64);
    for (from, to) in &renaming.steps {
        out.octets(from.as_bytes());
        out.octets(to.as_bytes());
    }
    out.number(renaming.mailboxes.len() as u64);
    for mailbox in &renaming.mailboxes {
        out.number(mailbox.id.0.into());
        out.octets(mailbox.client.as_bytes());
        // No name is empty.
        for name in [&mailbox.old, &mailbox.new] {
            out.octets(name.as_ref().map_or(&[], |name| name.as_bytes()));
        }
    }
    out.done()
}

/// The other way round.
pub fn unpack_renaming(bytes: &[u8]) -> Result<Renaming, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let side = if input.byte()? == 0 { Side::Old } else { Side::New };
    let mut renaming = Renaming { side, steps: Vec::new(), mailboxes: Vec::new() };
    for _ in 0..input.number()? {
        let from = mailbox_name(input.octets()?)?;
        renaming.steps.push((from, mailbox_name(input.octets()?)?));
    }
    for _ in 0..input.number()? {
        let id = MailboxId(input.number32()?);
        let client = mailbox_name(input.octets()?)?;
        let mut name = || -> Result<Option<MailboxName>, Malformed> {
            let octets = input.octets()?;
            if octets.is_empty() { Ok(None) } else { mailbox_name(octets).map(Some) }
        };
        let (old, new) = (name()?, name()?);
        renaming.mailboxes.push(Renamed { id, client, old, new });
    }
    input.finish()?;
    Ok(renaming)
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = MailboxName> {
        "[A-Za-z./]{1,9}".prop_map(|name| MailboxName::new(name.as_bytes()).unwrap())
    }

    proptest! {
        #[test]
        fn a_renaming_survives_packing(
            new: bool,
            steps in prop::collection::vec((any_name(), any_name()), 0..3),
            mailboxes in prop::collection::vec(
                (any::<u32>(), any_name(), prop::option::of(any_name()), prop::option::of(any_name())),
                0..4,
            ),
        ) {
            let side = if new { Side::New } else { Side::Old };
            let mailboxes = mailboxes.into_iter();
            let mailboxes = mailboxes
                .map(|(id, client, old, new)| Renamed { id: MailboxId(id), client, old, new })
                .collect();
            let renaming = Renaming { side, steps, mailboxes };
            prop_assert_eq!(unpack_renaming(&pack_renaming(&renaming)), Ok(renaming));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            let _ = unpack_renaming(&bytes);
        }
    }
}
