//! Mailferry: a transparent IMAP migration proxy.

pub mod base;
pub mod index;
pub mod uid;
