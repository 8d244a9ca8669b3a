//! The numbers of IMAP as types of their own, so that a virtual UID never passes for a server's.

use std::fmt;

use crate::base::Side;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl From<u32> for $name {
            fn from(n: u32) -> Self {
                $name(n)
            }
        }

        impl From<$name> for u32 {
            fn from(n: $name) -> u32 {
                n.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

number! {
    /// A virtual UID: what the client sees. Means one message for ever (V2).
    Uid
}
impl Uid {
    /// A UID that no server has come to by counting, if it began with less than one message a
    /// second: the seconds from 2020-01-01T00:00:00Z to a time in Unix seconds.
    pub fn of_time(unix_seconds: u64) -> Uid {
        const Y2020: u64 = 1_577_836_800;
        Uid(u32::try_from(unix_seconds.saturating_sub(Y2020)).unwrap_or(u32::MAX / 2))
    }
}

number! {
    /// A UID as one backend server counts it. Which side it belongs to, the holder knows.
    SideUid
}
number! {
    /// A message sequence number: 1 is the first message.
    Seq
}

/// Where a message lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// On the old server alone.
    Old(SideUid),
    /// On the new server alone.
    New(SideUid),
    /// On both: `new` holds a copy, and decides.
    Both {
        /// Its UID on the old server.
        old: SideUid,
        /// Its UID on the new server.
        new: SideUid,
    },
}

impl Place {
    /// The one side that decides over the message: old for `Old`, new for every other place.
    pub fn authority(self) -> Side {
        match self {
            Place::Old(_) => Side::Old,
            Place::New(_) | Place::Both { .. } => Side::New,
        }
    }

    /// The message's UID on that side, if it lies there.
    pub fn on(self, side: Side) -> Option<SideUid> {
        match (self, side) {
            (Place::Old(uid) | Place::Both { old: uid, .. }, Side::Old) => Some(uid),
            (Place::New(uid) | Place::Both { new: uid, .. }, Side::New) => Some(uid),
            _ => None,
        }
    }

    /// Whether both mean the same side or sides.
    pub(super) fn is_like(self, other: Place) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The place `n` messages further on in a run that starts here.
    pub fn plus(self, n: u32) -> Place {
        match self {
            Place::Old(uid) => Place::Old(SideUid(uid.0 + n)),
            Place::New(uid) => Place::New(SideUid(uid.0 + n)),
            Place::Both { old, new } => {
                Place::Both { old: SideUid(old.0 + n), new: SideUid(new.0 + n) }
            }
        }
    }
}

/// `len` messages whose UIDs ascend by one, virtually and on every side they lie on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Run {
    /// Virtual UID of the first message.
    pub uid: Uid,
    /// How many messages; never 0.
    pub len: u32,
    /// Place of the first message.
    pub place: Place,
}
