//! The model tests.
