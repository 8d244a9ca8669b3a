//! A MOVE that is under way where it is a copy and a removal: what has to be known to end it after a crash.

use super::encoding::{pack_set, unpack_set};
use super::pack::{Malformed, Packer, Unpacker};
use super::records::MailboxId;
use crate::base::Side;
use crate::uid::{SideUid, UidSet};

/// Messages that are copied first, and removed then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moving {
    /// Where they lie: the mailbox, the side, and its UIDVALIDITY there.
    pub from: Place,
    /// Where they go.
    pub to: Place,
    /// Their copies have this UID or a greater one.
    pub uid_next: SideUid,
    /// Which.
    pub uids: UidSet<SideUid>,
}

/// A mailbox on one side, as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Where.
    pub side: Side,
    /// Its UIDVALIDITY there, by which the UIDs count.
    pub uid_validity: u32,
}

/// Its value in the index.
pub fn pack_moving(moving: &Moving) -> Vec<u8> {
    let mut out = Packer::versioned(VERSION);
    for place in [&moving.from, &moving.to] {
        out.number(place.mailbox.0.into());
        out.byte(u8::from(place.side == Side::New));
        out.number(place.uid_validity.into());
    }
    out.number(moving.uid_next.0.into());
    pack_set(&mut out, &moving.uids);
    out.done()
}

/// The other way round.
pub fn unpack_moving(bytes: &[u8]) -> Result<Moving, Malformed> {
    let mut input = Unpacker::versioned(bytes, VERSION)?;
    let mut place = || -> Result<Place, Malformed> {
        let mailbox = MailboxId(input.number32()?);
        let side = if input.byte()? == 0 { Side::Old } else { Side::New };
        Ok(Place { mailbox, side, uid_validity: input.number32()? })
    };
    let (from, to) = (place()?, place()?);
    let uid_next = SideUid(input.number32()?);
    let uids = unpack_set(&mut input)?;
    input.finish()?;
    Ok(Moving { from, to, uid_next, uids })
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_move_survives_packing(
            from: (u32, bool, u32), to: (u32, bool, u32), next: u32,
            uids in prop::collection::btree_set(1u32..1000, 0..20),
        ) {
            let place = |(mailbox, new, uid_validity): (u32, bool, u32)| Place {
                mailbox: MailboxId(mailbox),
                side: if new { Side::New } else { Side::Old },
                uid_validity,
            };
            let uids = uids.into_iter().map(SideUid).collect();
            let moving =
                Moving { from: place(from), to: place(to), uid_next: SideUid(next), uids };
            prop_assert_eq!(unpack_moving(&pack_moving(&moving)), Ok(moving));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            let _ = unpack_moving(&bytes);
        }
    }
}
