//! ENVELOPE (RFC 3501 §7.4.2), as far as messages are sorted by it: the first address of a field.

use crate::imap::scan::Scan;

/// A field of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressField {
    /// From.
    From,
    /// To.
    To,
    /// Cc.
    Cc,
}

/// One address (RFC 3501 §9). What is NIL is empty.
///
/// ```abnf
/// address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The name to display, with its encoded words.
    pub name: Vec<u8>,
    /// The mailbox, or the name of the group that begins here.
    pub mailbox: Vec<u8>,
    /// The domain.
    pub host: Vec<u8>,
}

/// The first address of a field. `None` if the field has none.
///
/// ```abnf
/// envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP
///            env-to SP env-cc SP env-bcc SP env-in-reply-to SP env-message-id ")"
/// ```
pub fn first_address(envelope: &[u8], field: AddressField) -> Option<Address> {
    let mut fields = Scan::new(envelope).list()?;
    let before = match field {
        AddressField::From => 2,
        AddressField::To => 5,
        AddressField::Cc => 6,
    };
    for _ in 0..before {
        fields.value()?;
    }
    let mut address = fields.list()?.list()?;
    let mut part = || address.nstring().map(|part| part.unwrap_or_default().into_owned());
    let (name, _, mailbox, host) = (part()?, part()?, part()?, part()?);
    Some(Address { name, mailbox, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_found() {
        let envelope = br#"("date" {4}
a"b( (("A \"B\"" NIL "a" "x.org")(NIL NIL "c" NIL)) NIL NIL ((NIL NIL "t" "y.org")) NIL NIL NIL "<1>")"#;
        let envelope = [envelope.split(|b| *b == b'\n').next().unwrap(), b"\r\n", {
            let at = envelope.iter().position(|b| *b == b'\n').unwrap();
            &envelope[at + 1..]
        }]
        .concat();
        let from = first_address(&envelope, AddressField::From).unwrap();
        assert_eq!(from.name, br#"A "B""#);
        assert_eq!((&from.mailbox[..], &from.host[..]), (&b"a"[..], &b"x.org"[..]));
        let to = first_address(&envelope, AddressField::To).unwrap();
        assert_eq!((&to.name[..], &to.mailbox[..]), (&b""[..], &b"t"[..]));
        assert_eq!(first_address(&envelope, AddressField::Cc), None);
        assert_eq!(first_address(b"(NIL", AddressField::Cc), None);
        assert_eq!(first_address(b"", AddressField::From), None);
    }
}
