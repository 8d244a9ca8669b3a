//! Mailferry: a transparent IMAP migration proxy.

pub mod account;
pub mod base;
pub mod uid;
