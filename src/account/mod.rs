//! One user's merged world.

pub mod names;
