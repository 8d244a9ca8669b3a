//! METADATA: annotations of a mailbox or the server.

use bytes::Bytes;

use super::{Response, own};
use crate::base::MailboxName;
use crate::imap::scan::Scan;

/// `metadata-resp = "METADATA" SP mailbox SP entry-values`, where `entry-values = "(" entry-value
/// *(SP entry-value) ")"` and `entry-value = entry SP value` (RFC 5464 §5). The form that only
/// names entries is left as it is.
pub(super) fn values(unit: &Bytes, mut scan: Scan<'_>) -> Option<Response> {
    let mailbox = match &*scan.astring()? {
        [] => None,
        name => Some(MailboxName::new(name)?),
    };
    let mut list = scan.list()?;
    let mut values = Vec::new();
    while !list.is_done() {
        let entry = own(unit, list.astring()?);
        values.push((entry, list.nstring()?.map(|value| own(unit, value))));
    }
    Some(Response::Metadata { mailbox, values })
}
