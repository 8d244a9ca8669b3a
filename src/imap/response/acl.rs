//! ACL, LISTRIGHTS and MYRIGHTS: who may do what with a mailbox.

use bytes::Bytes;

use super::{Response, own};
use crate::base::MailboxName;
use crate::imap::scan::Scan;

/// `acl-data = "ACL" SP mailbox *(SP identifier SP rights)` (RFC 4314 §8).
pub(super) fn acl(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = MailboxName::new(&scan.astring()?)?;
    let mut rights = Vec::new();
    while !scan.is_done() {
        rights.push((own(unit, scan.astring()?), own(unit, scan.astring()?)));
    }
    Some(Response::Acl { mailbox, rights })
}

/// `listrights-data = "LISTRIGHTS" SP mailbox SP identifier SP rights *(SP rights)`.
pub(super) fn list_rights(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = MailboxName::new(&scan.astring()?)?;
    let identifier = own(unit, scan.astring()?);
    let mut rights = Vec::new();
    while !scan.is_done() {
        rights.push(own(unit, scan.astring()?));
    }
    Some(Response::ListRights { mailbox, identifier, rights })
}

/// `myrights-data = "MYRIGHTS" SP mailbox SP rights`.
pub(super) fn my_rights(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = MailboxName::new(&scan.astring()?)?;
    Some(Response::MyRights { mailbox, rights: own(unit, scan.astring()?) })
}
