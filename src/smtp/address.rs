//! Mail addresses of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{all_consuming, map, opt, recognize, verify};
use nom::multi::{fold_many0, many0, separated_list1};
use nom::sequence::{delimited, pair, preceded, terminated, tuple};
use nom::{IResult, Parser as _};

/// A mailbox: local part and domain. `postmaster` alone has no domain (RFC 5321 §4.5.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// Unquoted: `ann b` for `"ann b"@example.com`. Never holds control characters.
    local: String,
    domain: Option<Domain>,
}

/// Behind the `@`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Domain {
    /// A name, as it was spelled.
    Name(String),
    /// An address literal with its brackets: `[192.0.2.1]`.
    Literal(String),
}

impl Address {
    /// Reads an address without angle brackets; `None` if it is none.
    pub fn parse(text: &str) -> Option<Address> {
        let (_, address) = all_consuming(mailbox)(text).ok()?;
        (text.len() <= LONGEST).then_some(address)
    }

    /// The local part, unquoted.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain, where there is one.
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// Whether it needs SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        let name = match &self.domain {
            Some(Domain::Name(name)) => name.is_ascii(),
            Some(Domain::Literal(_)) | None => true,
        };
        name && self.local.is_ascii()
    }

    /// Whether it is the postmaster's, of whichever domain.
    pub fn is_postmaster(&self) -> bool {
        self.local.eq_ignore_ascii_case("postmaster")
    }
}

/// As it goes onto the wire, without angle brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        match &self.domain {
            Some(Domain::Name(name) | Domain::Literal(name)) => write!(f, "@{name}"),
            None => Ok(()),
        }
    }
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`; the source route is read and forgotten (RFC 5321 §4.1.2,
/// appendix C). `postmaster` may stand alone.
pub(super) fn path(input: &str) -> IResult<&str, Address> {
    let route = terminated(separated_list1(char(','), preceded(char('@'), domain_name)), char(':'));
    let inside = preceded(opt(route), alt((mailbox, postmaster)));
    let path = delimited(char('<'), inside, char('>'));
    verify(path, |address: &Address| address.to_string().len() <= LONGEST)(input)
}

/// `Reverse-path = Path / "<>"`.
pub(super) fn reverse_path(input: &str) -> IResult<&str, Option<Address>> {
    alt((map(tag("<>"), |_| None), map(path, Some)))(input)
}

fn postmaster(input: &str) -> IResult<&str, Address> {
    let name = verify(atom, |atom: &str| atom.eq_ignore_ascii_case("postmaster"));
    map(name, |local| Address { local: local.to_owned(), domain: None })(input)
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`.
fn mailbox(input: &str) -> IResult<&str, Address> {
    let local = alt((map(dot_string, str::to_owned), quoted_string));
    let name = map(domain_name, |name| Domain::Name(name.to_owned()));
    let domain = alt((name, map(literal, |text| Domain::Literal(text.to_owned()))));
    map(tuple((local, char('@'), domain)), |(local, _, domain)| Address {
        local,
        domain: Some(domain),
    })(input)
}

/// `Dot-string = Atom *("." Atom)`.
fn dot_string(input: &str) -> IResult<&str, &str> {
    recognize(pair(atom, many0(preceded(char('.'), atom))))(input)
}

fn is_dot_string(text: &str) -> bool {
    all_consuming(dot_string)(text).is_ok()
}

fn atom(input: &str) -> IResult<&str, &str> {
    take_while1(is_atext)(input)
}

/// `atext` of RFC 5322 §3.2.3, with what RFC 6531 §3.3 adds.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8(c)
}

/// `UTF8-non-ascii`, without the control characters among it.
fn is_utf8(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, unquoted.
fn quoted_string(input: &str) -> IResult<&str, String> {
    let plain = satisfy(|c| (' '..='~').contains(&c) && !matches!(c, '"' | '\\') || is_utf8(c));
    let escaped = preceded(char('\\'), satisfy(|c| (' '..='~').contains(&c)));
    let content = fold_many0(alt((plain, escaped)), String::new, |mut text, c| {
        text.push(c);
        text
    });
    delimited(char('"'), content, char('"'))(input)
}

/// `Domain = sub-domain *("." sub-domain)`; the underscore, which is in use, is let through.
fn domain_name(input: &str) -> IResult<&str, &str> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_utf8(c);
    let label =
        verify(take_while1(inner), |label: &str| !label.starts_with('-') && !label.ends_with('-'));
    let name = recognize(separated_list1(char('.'), label));
    verify(name, |name: &str| name.len() <= LONGEST_DOMAIN)(input)
}

/// `address-literal = "[" … "]"` (RFC 5321 §4.1.3).
fn literal(input: &str) -> IResult<&str, &str> {
    let dcontent = |c: char| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '\\');
    recognize(tuple((char('['), take_while_m_n(1, LONGEST_DOMAIN, dcontent), char(']'))))
        .parse(input)
}

/// RFC 5321 §4.5.3.1.3 wants 256 octets; variable envelope senders are in use that are longer.
const LONGEST: usize = 512;

/// RFC 5321 §4.5.3.1.2.
const LONGEST_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_were_meant() {
        for (text, local, written) in [
            ("ann@example.com", "ann", "ann@example.com"),
            ("ann+tag@example.com", "ann+tag", "ann+tag@example.com"),
            ("\"ann b\"@example.com", "ann b", "\"ann b\"@example.com"),
            ("\"ann\"@example.com", "ann", "ann@example.com"),
            ("\"a\\\"\\\\@b\"@example.com", "a\"\\@b", "\"a\\\"\\\\@b\"@example.com"),
            ("ann@[192.0.2.1]", "ann", "ann@[192.0.2.1]"),
            ("ann@[IPv6:2001:db8::1]", "ann", "ann@[IPv6:2001:db8::1]"),
            ("žofie@příklad.example", "žofie", "žofie@příklad.example"),
            ("a_b@c_d.example", "a_b", "a_b@c_d.example"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((address.local(), address.to_string().as_str()), (local, written));
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "a b@example.com",
            ".ann@example.com",
            "ann.@example.com",
            "a..b@example.com",
            "ann@-example.com",
            "ann@example..com",
            "ann@exam ple.com",
            "\"ann@example.com",
            "ann@example.com>",
            "ann@example.com\r\nRCPT TO:<bob@example.com",
            "\"a\rb\"@example.com",
            "\"a\nb\"@example.com",
            "\"a\\\nb\"@example.com",
            "ann@[192.0.2.1",
            "ann@[]",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@example.com", "a".repeat(600))), None);
    }

    #[test]
    fn paths() {
        let path = |text| all_consuming(path)(text).ok().map(|(_, address)| address.to_string());
        assert_eq!(path("<ann@example.com>").as_deref(), Some("ann@example.com"));
        assert_eq!(
            path("<@a.example,@b.example:ann@example.com>").as_deref(),
            Some("ann@example.com")
        );
        assert_eq!(path("<Postmaster>").as_deref(), Some("Postmaster"));
        assert_eq!(path("<ann>"), None);
        assert_eq!(path("<>"), None);
        assert_eq!(path("ann@example.com"), None);
    }
}
