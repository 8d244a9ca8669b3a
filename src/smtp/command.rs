//! A client's commands: parsed to types, and those that go on to a server written anew.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nom::IResult;
use nom::bytes::complete::{tag_no_case, take_while, take_while1};
use nom::character::complete::{char, space0, space1};
use nom::combinator::{all_consuming, map, opt, verify};
use nom::multi::many0;
use nom::sequence::{pair, preceded, terminated, tuple};

use super::address::{Address, path, reverse_path};
use crate::base::SecretString;

/// What a client wants.
#[derive(Debug)]
pub enum Command {
    /// EHLO (RFC 5321 §4.1.1.1), with what the client calls itself.
    Ehlo(String),
    /// HELO.
    Helo(String),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954): the mechanism in capitals, and the initial response, still in base64.
    Auth {
        /// In capitals.
        mechanism: String,
        /// `=` is an empty one.
        initial: Option<SecretString>,
    },
    /// MAIL.
    Mail(Mail),
    /// RCPT.
    Rcpt(Rcpt),
    /// DATA.
    Data,
    /// BDAT (RFC 3030 §2).
    Bdat {
        /// So many octets follow at once.
        octets: u64,
        /// They end the message.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// XCLIENT, as Postfix has it.
    XClient(XClient),
    /// Any other.
    Unknown,
}

/// MAIL FROM with its parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mail {
    /// `None`: the null sender.
    pub from: Option<Address>,
    /// SIZE (RFC 1870).
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<Body>,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// ENVID (RFC 3461 §4.4), xtext.
    pub envid: Option<String>,
}

/// What a message's body may hold (RFC 6152).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// ASCII only.
    SevenBit,
    /// Any octets, in lines.
    EightBitMime,
}

/// How much of a message a delivery report returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// RCPT TO with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rcpt {
    /// For whom.
    pub to: Address,
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT (RFC 3461 §4.2): the type of address, and the address in xtext.
    pub orcpt: Option<(String, String)>,
}

/// When a delivery report is wanted; all false: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it was not.
    pub failure: bool,
    /// When that takes long.
    pub delay: bool,
}

/// What a trusted client says of the client on whose behalf it is connected.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct XClient {
    /// ADDR.
    pub address: Option<IpAddr>,
    /// PORT.
    pub port: Option<u16>,
    /// HELO.
    pub helo: Option<String>,
    /// LOGIN: who is logged in there.
    pub login: Option<String>,
}

/// Why a command is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Wrong {
    /// Its arguments are not what the command has: 501.
    #[error("{0}")]
    Arguments(&'static str),
    /// A parameter that is not known, or not with this value: 555 or 501.
    #[error("{0}")]
    Parameter(&'static str),
}

impl Command {
    /// Reads a line without its CR LF.
    pub fn parse(line: &[u8]) -> Result<Command, Wrong> {
        let text = std::str::from_utf8(line).map_err(|_| Wrong::Arguments("not UTF-8"))?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Wrong::Arguments("control characters are not allowed"));
        }
        let text = text.trim_end_matches([' ', '\t']);
        let (verb, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let rest = rest.trim_start_matches([' ', '\t']);
        let alone = |command| match rest {
            "" => Ok(command),
            _ => Err(Wrong::Arguments("this command has no arguments")),
        };
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => hello(rest).map(Command::Ehlo),
            "HELO" => hello(rest).map(Command::Helo),
            "STARTTLS" => alone(Command::StartTls),
            "AUTH" => auth(rest),
            "MAIL" => mail(rest).map(Command::Mail),
            "RCPT" => rcpt(rest).map(Command::Rcpt),
            "DATA" => alone(Command::Data),
            "BDAT" => bdat(rest),
            "RSET" => alone(Command::Rset),
            "NOOP" => Ok(Command::Noop),
            "QUIT" => alone(Command::Quit),
            "VRFY" => Ok(Command::Vrfy),
            "HELP" => Ok(Command::Help),
            "XCLIENT" => xclient(rest).map(Command::XClient),
            _ => Ok(Command::Unknown),
        }
    }
}

/// `ehlo = "EHLO" SP ( Domain / address-literal ) CRLF`; clients call themselves all sorts of
/// things, so any word will do.
fn hello(rest: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_graphic() || !c.is_ascii();
    if rest.is_empty() || rest.len() > LONGEST_HELLO || !rest.chars().all(fits) {
        return Err(Wrong::Arguments("say who you are in one word"));
    }
    Ok(rest.to_owned())
}

/// `"AUTH" SP sasl-mech [SP initial-response]` (RFC 4954 §4).
fn auth(rest: &str) -> Result<Command, Wrong> {
    let mut words = rest.split_ascii_whitespace();
    let (mechanism, initial) = match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => (mechanism, initial),
        _ => return Err(Wrong::Arguments("AUTH has a mechanism and perhaps an initial response")),
    };
    Ok(Command::Auth {
        mechanism: mechanism.to_ascii_uppercase(),
        initial: initial.map(SecretString::from),
    })
}

/// `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]` (RFC 3030 §2).
fn bdat(rest: &str) -> Result<Command, Wrong> {
    let mut words = rest.split_ascii_whitespace();
    let (size, last) = match (words.next(), words.next(), words.next()) {
        (Some(size), None, None) => (size, false),
        (Some(size), Some(last), None) if last.eq_ignore_ascii_case("LAST") => (size, true),
        _ => return Err(Wrong::Arguments("BDAT has a size and perhaps LAST")),
    };
    match number(size) {
        Some(octets) => Ok(Command::Bdat { octets, last }),
        None => Err(Wrong::Arguments("BDAT's size is no number")),
    }
}

/// `mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]`.
fn mail(rest: &str) -> Result<Mail, Wrong> {
    let from = preceded(pair(tag_no_case("FROM:"), space0), reverse_path);
    let Ok((_, (from, parameters))) = all_consuming(tuple((from, parameters)))(rest) else {
        return Err(Wrong::Arguments("the syntax is MAIL FROM:<address>"));
    };
    let mut mail = Mail { from, ..Mail::default() };
    for (name, value) in parameters {
        match (name.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => {
                mail.size = Some(number(value).ok_or(Wrong::Arguments("SIZE is no number"))?);
            }
            ("BODY", Some(value)) => mail.body = Some(Body::parse(value)?),
            ("SMTPUTF8", None) => mail.utf8 = true,
            ("RET", Some(value)) => mail.ret = Some(Ret::parse(value)?),
            ("ENVID", Some(value)) => mail.envid = Some(xtext(value, LONGEST_ENVID)?),
            // Whose message it was before is believed of nobody (RFC 4954 §5): read and forgotten.
            ("AUTH", Some("<>")) => {}
            ("AUTH", Some(value)) => drop(xtext(value, LONGEST_ORCPT)?),
            _ => return Err(Wrong::Parameter("a parameter of MAIL is not known")),
        }
    }
    Ok(mail)
}

/// `rcpt = "RCPT TO:" ( "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]`.
fn rcpt(rest: &str) -> Result<Rcpt, Wrong> {
    let to = preceded(pair(tag_no_case("TO:"), space0), path);
    let Ok((_, (to, parameters))) = all_consuming(tuple((to, parameters)))(rest) else {
        return Err(Wrong::Arguments("the syntax is RCPT TO:<address>"));
    };
    let mut rcpt = Rcpt { to, notify: None, orcpt: None };
    for (name, value) in parameters {
        match (name.to_ascii_uppercase().as_str(), value) {
            ("NOTIFY", Some(value)) => rcpt.notify = Some(Notify::parse(value)?),
            ("ORCPT", Some(value)) => {
                let Some((kind, address)) = value.split_once(';') else {
                    return Err(Wrong::Arguments("ORCPT has a type and an address"));
                };
                if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                {
                    return Err(Wrong::Arguments("ORCPT has no type"));
                }
                rcpt.orcpt = Some((kind.to_owned(), xtext(address, LONGEST_ORCPT)?));
            }
            _ => return Err(Wrong::Parameter("a parameter of RCPT is not known")),
        }
    }
    Ok(rcpt)
}

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`, any number of them.
fn parameters(input: &str) -> IResult<&str, Vec<(&str, Option<&str>)>> {
    let keyword =
        verify(take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-'), |word: &str| {
            !word.starts_with('-')
        });
    let value = take_while1(|c: char| (c.is_ascii_graphic() && c != '=') || !c.is_ascii());
    let parameter = pair(keyword, opt(preceded(char('='), value)));
    terminated(many0(preceded(space1, parameter)), space0)(input)
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `xtext = *( xchar / hexchar )` (RFC 3461 §4), with UTF-8 for `utf-8-addr-unitext` (RFC 6533).
fn xtext(text: &str, longest: usize) -> Result<String, Wrong> {
    let xchar = |c: char| (c.is_ascii_graphic() && !matches!(c, '+' | '=')) || !c.is_ascii();
    let hex = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    let plain = take_while1::<_, _, nom::error::Error<&str>>(xchar);
    let coded = map(
        tuple((char('+'), verify(take_while(hex), |digits: &str| digits.len() >= 2))),
        |(_, digits)| digits,
    );
    let whole = all_consuming(many0(nom::branch::alt((plain, coded))))(text);
    if text.is_empty() || text.len() > longest || whole.is_err() {
        return Err(Wrong::Arguments("not xtext"));
    }
    Ok(text.to_owned())
}

/// `XCLIENT SP attribute=value…`, values in xtext; `[UNAVAILABLE]` and `[TEMPUNAVAIL]` say nothing.
fn xclient(rest: &str) -> Result<XClient, Wrong> {
    let wrong = Wrong::Arguments("not what XCLIENT has");
    let mut told = XClient::default();
    for attribute in rest.split_ascii_whitespace() {
        let (name, value) = attribute.split_once('=').ok_or(wrong)?;
        let known = !matches!(value, "[UNAVAILABLE]" | "[TEMPUNAVAIL]");
        let value = xtext_decoded(value).ok_or(wrong)?;
        match (name.to_ascii_uppercase().as_str(), known) {
            ("ADDR", true) => {
                let bare = value.strip_prefix("IPV6:").or(value.strip_prefix("IPv6:"));
                told.address = Some(bare.unwrap_or(&value).parse().map_err(|_| wrong)?);
            }
            ("PORT", true) => told.port = Some(value.parse().map_err(|_| wrong)?),
            ("HELO", true) => told.helo = Some(hello(&value)?),
            ("LOGIN", true) => told.login = Some(value),
            ("NAME" | "PROTO" | "DESTADDR" | "DESTPORT" | "REVERSE_NAME", _) | (_, false) => {}
            _ => return Err(wrong),
        }
    }
    Ok(told)
}

fn xtext_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'+' {
            let (pair, behind) = behind.split_at_checked(2)?;
            octets.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
            rest = behind;
        } else {
            octets.push(*first);
            rest = behind;
        }
    }
    let text = String::from_utf8(octets).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

impl Body {
    fn parse(value: &str) -> Result<Body, Wrong> {
        match value.to_ascii_uppercase().as_str() {
            "7BIT" => Ok(Body::SevenBit),
            "8BITMIME" => Ok(Body::EightBitMime),
            _ => Err(Wrong::Parameter("BODY is 7BIT or 8BITMIME here")),
        }
    }
}

impl Ret {
    fn parse(value: &str) -> Result<Ret, Wrong> {
        match value.to_ascii_uppercase().as_str() {
            "FULL" => Ok(Ret::Full),
            "HDRS" => Ok(Ret::Headers),
            _ => Err(Wrong::Arguments("RET is FULL or HDRS")),
        }
    }
}

impl Notify {
    fn parse(value: &str) -> Result<Notify, Wrong> {
        let mut notify = Notify::default();
        if value.eq_ignore_ascii_case("NEVER") {
            return Ok(notify);
        }
        for word in value.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => notify.success = true,
                "FAILURE" => notify.failure = true,
                "DELAY" => notify.delay = true,
                _ => return Err(Wrong::Arguments("NOTIFY is NEVER, SUCCESS, FAILURE, DELAY")),
            }
        }
        Ok(notify)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let words: Vec<&str> =
            all.into_iter().filter_map(|(on, word)| on.then_some(word)).collect();
        f.write_str(&if words.is_empty() { "NEVER".to_owned() } else { words.join(",") })
    }
}

impl Mail {
    /// The command for a server, without its CR LF. `size`: whether the server knows SIZE.
    pub fn line(&self, size: bool) -> String {
        let mut line = match &self.from {
            Some(from) => format!("MAIL FROM:<{from}>"),
            None => "MAIL FROM:<>".to_owned(),
        };
        if let Some(octets) = self.size.filter(|_| size) {
            // Writing into a String never fails.
            let _ = write!(line, " SIZE={octets}");
        }
        if self.body == Some(Body::EightBitMime) {
            line.push_str(" BODY=8BITMIME");
        }
        if self.utf8 {
            line.push_str(" SMTPUTF8");
        }
        match self.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &self.envid {
            let _ = write!(line, " ENVID={envid}");
        }
        line
    }

    /// Whether delivery reports are spoken of.
    pub fn has_dsn(&self) -> bool {
        self.ret.is_some() || self.envid.is_some()
    }
}

impl Rcpt {
    /// The command for a server, without its CR LF.
    pub fn line(&self) -> String {
        let mut line = format!("RCPT TO:<{}>", self.to);
        if let Some(notify) = self.notify {
            let _ = write!(line, " NOTIFY={notify}");
        }
        if let Some((kind, address)) = &self.orcpt {
            let _ = write!(line, " ORCPT={kind};{address}");
        }
        line
    }

    /// Whether delivery reports are spoken of.
    pub fn has_dsn(&self) -> bool {
        self.notify.is_some() || self.orcpt.is_some()
    }
}

/// Reads base64 of a SASL exchange; `=` alone is empty (RFC 4954 §4). `None` if it is none.
pub fn sasl(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" { Some(Vec::new()) } else { BASE64.decode(text).ok() }
}

/// A domain (255 octets), or what is longer by mistake.
const LONGEST_HELLO: usize = 512;

/// RFC 3461 §4.4.
const LONGEST_ENVID: usize = 100;

/// RFC 3461 §4.2.
const LONGEST_ORCPT: usize = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(text: &str) -> Result<Mail, Wrong> {
        match Command::parse(text.as_bytes())? {
            Command::Mail(mail) => Ok(mail),
            other => panic!("{other:?}"),
        }
    }

    fn rcpt(text: &str) -> Result<Rcpt, Wrong> {
        match Command::parse(text.as_bytes())? {
            Command::Rcpt(rcpt) => Ok(rcpt),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mail_and_rcpt_are_written_anew() {
        for (read, written) in [
            ("MAIL FROM:<>", "MAIL FROM:<>"),
            ("mail from:<ann@example.com>", "MAIL FROM:<ann@example.com>"),
            ("MAIL FROM: <ann@example.com> ", "MAIL FROM:<ann@example.com>"),
            (
                "MAIL FROM:<ann@example.com> size=12 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=q+2B1 AUTH=<>",
                "MAIL FROM:<ann@example.com> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=q+2B1",
            ),
            ("MAIL FROM:<ann@example.com> BODY=7BIT", "MAIL FROM:<ann@example.com>"),
        ] {
            assert_eq!(mail(read).unwrap().line(true), written);
        }
        for (read, written) in [
            ("RCPT TO:<ann@example.com>", "RCPT TO:<ann@example.com>"),
            ("RCPT TO:<postmaster>", "RCPT TO:<postmaster>"),
            (
                "RCPT TO:<a@b.example> NOTIFY=failure,Success ORCPT=rfc822;a+2Bb@b.example",
                "RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@b.example",
            ),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER", "RCPT TO:<a@b.example> NOTIFY=NEVER"),
        ] {
            assert_eq!(rcpt(read).unwrap().line(), written);
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "MAIL",
            "MAIL FROM:ann@example.com",
            "MAIL FROM:<ann@example.com",
            "MAIL FROM:<ann@example.com>SIZE=1",
            "MAIL FROM:<ann@example.com> SIZE=-1",
            "MAIL FROM:<ann@example.com> SIZE=99999999999999999999",
            "MAIL FROM:<ann@example.com> RET=SOME",
            "MAIL FROM:<ann@example.com> ENVID=a+zz",
            "MAIL TO:<ann@example.com>",
            "RCPT TO:<>",
            "RCPT TO:<ann>",
            "RCPT FROM:<ann@example.com>",
            "RCPT TO:<ann@example.com> NOTIFY=NEVER,SUCCESS",
            "RCPT TO:<ann@example.com> ORCPT=rfc822",
            "EHLO",
            "EHLO a b",
            "DATA now",
            "BDAT",
            "BDAT x",
            "BDAT 1 FIRST",
            "BDAT 1 LAST LAST",
            "AUTH",
            "AUTH PLAIN a b",
            "XCLIENT ADDR=nowhere",
            "XCLIENT HELO=a+0D+0AMAIL",
            "NOOP \u{1}",
        ] {
            assert!(matches!(Command::parse(text.as_bytes()), Err(Wrong::Arguments(_))), "{text}");
        }
        for text in [
            "MAIL FROM:<ann@example.com> BODY=BINARYMIME",
            "MAIL FROM:<ann@example.com> HOLDFOR=9",
            "RCPT TO:<ann@example.com> SIZE=1",
        ] {
            assert!(matches!(Command::parse(text.as_bytes()), Err(Wrong::Parameter(_))), "{text}");
        }
    }

    #[test]
    fn other_commands() {
        let parse = |text: &str| format!("{:?}", Command::parse(text.as_bytes()).unwrap());
        assert_eq!(parse("ehlo [127.0.0.1]"), "Ehlo(\"[127.0.0.1]\")");
        assert_eq!(parse("bdat 86 last"), "Bdat { octets: 86, last: true }");
        assert_eq!(parse("ETRN x"), "Unknown");
        assert_eq!(parse(""), "Unknown");
        let told = parse("XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=25 HELO=a+2Bb");
        assert!(told.contains("2001:db8::1") && told.contains("a+b"), "{told}");
    }

    #[test]
    fn v9_an_initial_response_is_not_shown() {
        let shown = format!("{:?}", Command::parse(b"AUTH PLAIN AGFubgBzZWNyZXQ=").unwrap());
        assert!(!shown.contains("AGFubg"), "{shown}");
    }

    proptest! {
        /// Whatever is understood is one line, and means the same to who reads it next.
        #[test]
        fn what_is_written_reads_the_same(
            local in "[!-~ ]{1,12}",
            domain in "[a-z0-9.-]{1,12}",
            parameters in proptest::collection::vec("(SIZE|BODY|RET|ENVID|NOTIFY|ORCPT|SMTPUTF8)(=[!-~]{0,9})?", 0..4),
        ) {
            let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
            let parameters = parameters.join(" ");
            for text in [
                format!("MAIL FROM:<{local}@{domain}> {parameters}"),
                format!("MAIL FROM:<\"{quoted}\"@{domain}> {parameters}"),
            ] {
                if let Ok(read) = mail(&text) {
                    let line = read.line(true);
                    prop_assert!(!line.contains(['\r', '\n']));
                    let again = mail(&line).unwrap();
                    prop_assert_eq!(again.line(true), line);
                    prop_assert_eq!(again.from, read.from);
                }
                let text = text.replacen("MAIL FROM", "RCPT TO", 1);
                if let Ok(read) = rcpt(&text) {
                    prop_assert_eq!(rcpt(&read.line()).unwrap(), read);
                }
            }
        }
    }
}
