//! Mailferry: a transparent IMAP migration proxy.

pub mod base;
pub mod cli;
pub mod config;
pub mod net;
pub mod uid;
