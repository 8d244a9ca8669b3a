//! Mailferry: a transparent IMAP migration proxy.

pub mod account;
pub mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod ferry;
pub mod imap;
pub mod index;
pub mod net;
pub mod session;
pub mod uid;
