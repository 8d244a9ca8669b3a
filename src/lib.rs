//! Mailferry: a transparent IMAP migration proxy.

pub mod base;
pub mod imap;
pub mod uid;
