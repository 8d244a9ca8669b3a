//! What FETCH can be asked for (RFC 3501 §6.4.5), and what each item means for the message.
//!
//! Items are values and canonical text; what a server answers to them is read elsewhere.

use std::fmt;

/// One message data item of a FETCH command.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FetchItem {
    /// UID.
    Uid,
    /// FLAGS.
    Flags,
    /// INTERNALDATE.
    InternalDate,
    /// RFC822.SIZE.
    Rfc822Size,
    /// ENVELOPE.
    Envelope,
    /// BODY without a section.
    Body,
    /// BODYSTRUCTURE.
    BodyStructure,
    /// RFC822: `BODY[]` under its old name.
    Rfc822,
    /// RFC822.HEADER: `BODY.PEEK[HEADER]` under its old name.
    Rfc822Header,
    /// RFC822.TEXT: `BODY[TEXT]` under its old name.
    Rfc822Text,
    /// MODSEQ (RFC 7162 §3.1.4.1).
    ModSeq,
    /// EMAILID (RFC 8474 §5.1).
    EmailId,
    /// THREADID (RFC 8474 §5.2).
    ThreadId,
    /// PREVIEW (RFC 8970).
    Preview {
        /// Only if the server has it at hand (LAZY, §3.2).
        lazy: bool,
    },
    /// `BODY[…]` or `BODY.PEEK[…]`.
    Section {
        /// Whether `\Seen` is left alone.
        peek: bool,
        /// Which part of the message.
        section: Section,
        /// Offset and greatest number of octets, if not all of it.
        partial: Option<(u32, u32)>,
    },
    /// `BINARY[…]` or `BINARY.PEEK[…]` (RFC 3516 §4.2): a part without its transfer encoding.
    Binary {
        /// Whether `\Seen` is left alone.
        peek: bool,
        /// Part numbers, none of them 0; empty for the message itself.
        part: Vec<u32>,
        /// Offset and greatest number of octets, if not all of it.
        partial: Option<(u32, u32)>,
    },
    /// `BINARY.SIZE[…]` (RFC 3516 §4.2): how many octets `BINARY[…]` has.
    BinarySize {
        /// Part numbers, none of them 0; empty for the message itself.
        part: Vec<u32>,
    },
}

impl FetchItem {
    /// `BODY.PEEK[]`: the message as it is, untouched.
    pub fn whole_message() -> FetchItem {
        FetchItem::Section { peek: true, section: Section::default(), partial: None }
    }

    /// Whether asking sets `\Seen`.
    pub fn sets_seen(&self) -> bool {
        matches!(
            self,
            FetchItem::Rfc822
                | FetchItem::Rfc822Text
                | FetchItem::Section { peek: false, .. }
                | FetchItem::Binary { peek: false, .. }
        )
    }

    /// Whether it asks for content of the message beyond its headers: what "opened" means.
    pub fn opens_content(&self) -> bool {
        match self {
            FetchItem::Rfc822 | FetchItem::Rfc822Text | FetchItem::Binary { .. } => true,
            FetchItem::Section { section, .. } => {
                matches!(section.text, SectionText::Whole | SectionText::Text)
            }
            _ => false,
        }
    }

    /// Whether its answer is the message itself, whole: `BODY[]` or `RFC822`.
    pub fn is_whole_message(&self) -> bool {
        match self {
            FetchItem::Rfc822 => true,
            FetchItem::Section { section, partial: None, .. } => *section == Section::default(),
            _ => false,
        }
    }

    /// Whether its answer carries octets of the message, and so in general a literal. (ENVELOPE and
    /// BODYSTRUCTURE may carry literals too, where a header holds something odd.)
    pub fn has_literal(&self) -> bool {
        matches!(
            self,
            FetchItem::Rfc822
                | FetchItem::Rfc822Header
                | FetchItem::Rfc822Text
                | FetchItem::Section { .. }
                | FetchItem::Binary { .. }
        )
    }

    /// An item with the same answer that leaves `\Seen` alone. `None` for RFC822 and RFC822.TEXT:
    /// they have no such form, and `BODY.PEEK[]` is answered under another name.
    pub fn with_peek(&self) -> Option<FetchItem> {
        match self {
            FetchItem::Rfc822 | FetchItem::Rfc822Text => None,
            FetchItem::Section { section, partial, .. } => {
                Some(FetchItem::Section { peek: true, section: section.clone(), partial: *partial })
            }
            FetchItem::Binary { part, partial, .. } => {
                Some(FetchItem::Binary { peek: true, part: part.clone(), partial: *partial })
            }
            other => Some(other.clone()),
        }
    }

    /// What both servers must have for it, beyond IMAP4rev1.
    pub fn needs(&self) -> Option<&'static str> {
        match self {
            FetchItem::ModSeq => Some("CONDSTORE"),
            FetchItem::Preview { .. } => Some("PREVIEW"),
            FetchItem::Binary { .. } | FetchItem::BinarySize { .. } => Some("BINARY"),
            _ => None,
        }
    }

    /// The name under which it is answered: `BODY[TEXT]<0>` for `BODY.PEEK[TEXT]<0.100>`.
    pub fn response_name(&self) -> String {
        match self {
            FetchItem::Section { section, partial: Some((offset, _)), .. } => {
                format!("BODY[{section}]<{offset}>")
            }
            FetchItem::Section { section, .. } => format!("BODY[{section}]"),
            FetchItem::Binary { part, partial, .. } => {
                let offset = partial.map_or(String::new(), |(offset, _)| format!("<{offset}>"));
                format!("BINARY[{}]{offset}", numbers(part))
            }
            FetchItem::Preview { .. } => "PREVIEW".to_owned(),
            other => other.to_string(),
        }
    }

    /// Writes the item as a command carries it.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

/// The item's canonical text in a command; printable ASCII.
impl fmt::Display for FetchItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            FetchItem::Uid => "UID",
            FetchItem::Flags => "FLAGS",
            FetchItem::InternalDate => "INTERNALDATE",
            FetchItem::Rfc822Size => "RFC822.SIZE",
            FetchItem::Envelope => "ENVELOPE",
            FetchItem::Body => "BODY",
            FetchItem::BodyStructure => "BODYSTRUCTURE",
            FetchItem::Rfc822 => "RFC822",
            FetchItem::Rfc822Header => "RFC822.HEADER",
            FetchItem::Rfc822Text => "RFC822.TEXT",
            FetchItem::ModSeq => "MODSEQ",
            FetchItem::EmailId => "EMAILID",
            FetchItem::ThreadId => "THREADID",
            FetchItem::Preview { lazy: false } => "PREVIEW",
            FetchItem::Preview { lazy: true } => "PREVIEW (LAZY)",
            FetchItem::Section { peek, section, partial } => {
                write!(f, "BODY{}[{section}]", if *peek { ".PEEK" } else { "" })?;
                if let Some((offset, len)) = partial {
                    write!(f, "<{offset}.{len}>")?;
                }
                return Ok(());
            }
            FetchItem::Binary { peek, part, partial } => {
                write!(f, "BINARY{}[{}]", if *peek { ".PEEK" } else { "" }, numbers(part))?;
                if let Some((offset, len)) = partial {
                    write!(f, "<{offset}.{len}>")?;
                }
                return Ok(());
            }
            FetchItem::BinarySize { part } => {
                return write!(f, "BINARY.SIZE[{}]", numbers(part));
            }
        };
        f.write_str(name)
    }
}

/// What stands between the brackets of `BODY[…]` (RFC 3501 §9, `section-spec`). The default is the
/// whole message.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Section {
    /// Part numbers, none of them 0; empty for the message itself.
    pub part: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// What of a part is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum SectionText {
    /// All of it.
    #[default]
    Whole,
    /// HEADER: its header, with the empty line after it.
    Header,
    /// HEADER.FIELDS: these fields of its header.
    HeaderFields(Vec<FieldName>),
    /// HEADER.FIELDS.NOT: all but these fields of its header.
    HeaderFieldsNot(Vec<FieldName>),
    /// MIME: the MIME header of the part; only with part numbers.
    Mime,
    /// TEXT: its body.
    Text,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&numbers(&self.part))?;
        if !self.part.is_empty() && self.text != SectionText::Whole {
            f.write_str(".")?;
        }
        match &self.text {
            SectionText::Whole => Ok(()),
            SectionText::Header => f.write_str("HEADER"),
            SectionText::HeaderFields(names) => write_fields(f, "HEADER.FIELDS", names),
            SectionText::HeaderFieldsNot(names) => write_fields(f, "HEADER.FIELDS.NOT", names),
            SectionText::Mime => f.write_str("MIME"),
            SectionText::Text => f.write_str("TEXT"),
        }
    }
}

/// `section-part`: the numbers with dots between them.
fn numbers(part: &[u32]) -> String {
    part.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn write_fields(f: &mut fmt::Formatter<'_>, word: &str, names: &[FieldName]) -> fmt::Result {
    write!(f, "{word} (")?;
    for (i, name) in names.iter().enumerate() {
        let space = if i == 0 { "" } else { " " };
        write!(f, "{space}{name}")?;
    }
    f.write_str(")")
}

/// The name of a header field, as the client spelled it: printable ASCII, so that an atom or a
/// quoted string can always carry it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FieldName(String);

impl FieldName {
    /// Takes a name from the wire. `None` for what no header field can be called.
    pub fn new(octets: &[u8]) -> Option<FieldName> {
        let printable = octets.iter().all(|b| matches!(b, b' '..=b'~'));
        if octets.is_empty() || !printable {
            return None;
        }
        String::from_utf8(octets.to_vec()).ok().map(FieldName)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As an atom where that is safe, else quoted.
impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.0.bytes().all(plain) && !self.0.eq_ignore_ascii_case("NIL") {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: SectionText) -> FetchItem {
        FetchItem::Section { peek: false, section: Section { part: vec![], text }, partial: None }
    }

    #[test]
    fn only_content_opens_a_message() {
        assert!(section(SectionText::Whole).opens_content());
        assert!(section(SectionText::Text).opens_content());
        assert!(FetchItem::Rfc822.opens_content());
        assert!(!section(SectionText::Header).opens_content());
        assert!(!FetchItem::Rfc822Header.opens_content());
        assert!(!FetchItem::BodyStructure.opens_content());
    }

    #[test]
    fn whole_is_neither_a_part_nor_a_chunk() {
        assert!(FetchItem::whole_message().is_whole_message());
        assert!(FetchItem::Rfc822.is_whole_message());
        assert!(!section(SectionText::Text).is_whole_message());
        let chunk = FetchItem::Section {
            peek: true,
            section: Section::default(),
            partial: Some((0, 65536)),
        };
        assert!(!chunk.is_whole_message());
        let part = FetchItem::Section {
            peek: true,
            section: Section { part: vec![1], text: SectionText::Whole },
            partial: None,
        };
        assert!(!part.is_whole_message());
    }

    #[test]
    fn peek_keeps_the_name_of_the_answer() {
        let item = FetchItem::Section {
            peek: false,
            section: Section { part: vec![2, 1], text: SectionText::Mime },
            partial: Some((10, 20)),
        };
        assert!(item.sets_seen());
        let peek = item.with_peek().unwrap();
        assert!(!peek.sets_seen());
        assert_eq!(peek.to_string(), "BODY.PEEK[2.1.MIME]<10.20>");
        assert_eq!(peek.response_name(), "BODY[2.1.MIME]<10>");
        assert_eq!(peek.response_name(), item.response_name());
        assert_eq!(FetchItem::Rfc822.with_peek(), None);
        assert_eq!(FetchItem::Rfc822Text.with_peek(), None);
        assert!(!FetchItem::Rfc822Header.sets_seen());
    }

    #[test]
    fn odd_field_names_are_quoted() {
        let names = ["Subject", "X \"y\"", "nil"].map(|n| FieldName::new(n.as_bytes()).unwrap());
        assert_eq!(
            section(SectionText::HeaderFields(names.to_vec())).to_string(),
            r#"BODY[HEADER.FIELDS (Subject "X \"y\"" "nil")]"#
        );
        assert_eq!(FieldName::new(b"a\r\nb"), None);
        assert_eq!(FieldName::new(b""), None);
    }
}
