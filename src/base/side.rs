//! `Side`: one of the two backend servers, and `Sides`: one thing for each of them.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// One of the two backend servers.
///
/// The order `Old < New` is also the order in which connections of both sides are borrowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The server that is being left.
    Old,
    /// The server that is being moved to.
    New,
}

impl Side {
    /// Both sides, old first.
    pub const BOTH: [Side; 2] = [Side::Old, Side::New];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Old => Side::New,
            Side::New => Side::Old,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Old => "old",
            Side::New => "new",
        })
    }
}

/// One `T` for each side, reached by `sides[Side::Old]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Sides<T> {
    /// What belongs to the old server.
    pub old: T,
    /// What belongs to the new server.
    pub new: T,
}

impl<T> Sides<T> {
    /// Makes both values, telling the function which side each is for.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Sides { old: make(Side::Old), new: make(Side::New) }
    }

    /// The values with their sides, old first.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &T)> {
        [(Side::Old, &self.old), (Side::New, &self.new)].into_iter()
    }

    /// Maps both values.
    pub fn map<U>(self, mut f: impl FnMut(Side, T) -> U) -> Sides<U> {
        Sides { old: f(Side::Old, self.old), new: f(Side::New, self.new) }
    }

    /// References to both values.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides { old: &self.old, new: &self.new }
    }
}

impl<T> Index<Side> for Sides<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

impl<T> IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }
}
