//! What the arguments of all commands are made of: spaces, atoms, strings, numbers, sets, flags.

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while, take_while1};
use nom::character::complete::digit1;
use nom::combinator::{map, map_opt, opt, verify};
use nom::multi::{separated_list0, separated_list1};
use nom::sequence::{delimited, pair, preceded, separated_pair, terminated};
use nom::{Err, IResult, Parser};

use super::Fault;
use crate::base::MailboxName;
use crate::imap::command::{Flag, PartialRange, Reason};
use crate::uid::{Bound, SeqSet};

/// An argument, with the space before it.
pub(super) fn argument<'a, T>(
    what: &'static str,
    parser: impl Parser<&'a [u8], T, Fault>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], T, Fault> {
    expect(what, preceded(sp, parser))
}

/// Says what should stand at this place, if the parser does not say it better.
pub(super) fn expect<'a, T>(
    what: &'static str,
    mut parser: impl Parser<&'a [u8], T, Fault>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], T, Fault> {
    move |input| {
        parser.parse(input).map_err(|err| match err {
            Err::Error(Fault(None)) => Err::Error(Fault::expected(what)),
            other => other,
        })
    }
}

/// `1*SP`, where the RFC has one SP.
pub(super) fn sp(input: &[u8]) -> IResult<&[u8], (), Fault> {
    map(take_while1(|b| b == b' '), drop)(input)
}

/// `*SP`, where the RFC has none.
pub(super) fn sp0(input: &[u8]) -> IResult<&[u8], (), Fault> {
    map(take_while(|b| b == b' '), drop)(input)
}

/// `"(" [item *(SP item)] ")"`; once it has begun with `(`, anything but `what` is final.
pub(super) fn listed<'a, T>(
    what: &'static str,
    item: impl Parser<&'a [u8], T, Fault>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Vec<T>, Fault> {
    let mut items = terminated(separated_list0(sp, item), pair(sp0, tag(")")));
    move |input| {
        let (rest, _) = pair(tag("("), sp0)(input)?;
        items.parse(rest).map_err(|err| match err {
            Err::Error(Fault(reason)) => {
                Err::Failure(Fault(reason.or(Some(Reason::Expected(what)))))
            }
            other => other,
        })
    }
}

/// `atom`, and beyond it `%`, `*`, `\`, `]` and 8-bit octets.
pub(super) fn atom(input: &[u8]) -> IResult<&[u8], &[u8], Fault> {
    take_while1(|b| b > b' ' && b != 0x7f && !b"(){\"".contains(&b))(input)
}

/// This word in any case, and not the beginning of a longer one.
pub(super) fn token<'a>(
    word: &'static str,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], &'a [u8], Fault> {
    verify(atom, move |atom: &[u8]| atom.eq_ignore_ascii_case(word.as_bytes()))
}

/// An atom of ASCII letters, digits and marks, in capitals: a mechanism, a capability.
pub(super) fn name(input: &[u8]) -> IResult<&[u8], String, Fault> {
    map_opt(atom, |word| {
        let fits = word.iter().all(|b| b.is_ascii_graphic() && !b"%*\\]".contains(b));
        let word = fits.then(|| word.to_ascii_uppercase())?;
        String::from_utf8(word).ok()
    })(input)
}

/// `astring = 1*ASTRING-CHAR / string`.
pub(super) fn astring(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    alt((map(atom, <[u8]>::to_vec), string))(input)
}

/// `string = quoted / literal`.
pub(super) fn string(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    alt((quoted, literal))(input)
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`. Any octet may follow `\`, and 8-bit octets are let through.
pub(super) fn quoted(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    let unclosed = || Err::Error(Fault::expected("the end of a quoted string"));
    let (body, _) = tag("\"")(input)?;
    let mut escaped = false;
    let end = body.iter().position(|&b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    });
    let (body, rest) = body.split_at(end.ok_or_else(unclosed)?);
    if body.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
        return Err(unclosed());
    }
    // Sized once, so that no piece of a password stays behind where a smaller buffer was.
    let mut value = Vec::with_capacity(body.len());
    let mut octets = body.iter();
    while let Some(&b) = octets.next() {
        match b {
            b'\\' => value.extend(octets.next()),
            b => value.push(b),
        }
    }
    Ok((rest.get(1..).unwrap_or_default(), value))
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8`, without NUL.
pub(super) fn literal(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    let (rest, value) = octets(input)?;
    if value.contains(&0) {
        return Err(Err::Failure(Fault::refused("NUL is not accepted in a literal")));
    }
    Ok((rest, value))
}

/// `literal8 = "~{" number ["+"] "}" CRLF *OCTET` (RFC 3516 §7).
pub(super) fn literal8(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    preceded(tag("~"), octets)(input)
}

fn octets(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    let head = delimited(tag("{"), number64, pair(opt(tag("+")), tag("}\r\n")));
    let (rest, octets) = map_opt(head, |n| usize::try_from(n).ok())(input)?;
    map(take(octets), <[u8]>::to_vec)(rest)
}

/// `number`, of 32 bits.
pub(super) fn number(input: &[u8]) -> IResult<&[u8], u32, Fault> {
    decimal(input)
}

/// `nz-number`, of 32 bits.
pub(super) fn nz_number(input: &[u8]) -> IResult<&[u8], u32, Fault> {
    map_opt(decimal, |n| (n != 0).then_some(n))(input)
}

/// A number of 64 bits (RFC 9051 §9, `number64`).
pub(super) fn number64(input: &[u8]) -> IResult<&[u8], u64, Fault> {
    decimal(input)
}

fn decimal<T: std::str::FromStr>(input: &[u8]) -> IResult<&[u8], T, Fault> {
    map_opt(digit1, |digits| str::from_utf8(digits).ok()?.parse().ok())(input)
}

/// `SP mailbox`; `mailbox = "INBOX" / astring`.
pub(super) fn mailbox(input: &[u8]) -> IResult<&[u8], MailboxName, Fault> {
    let (rest, name) = argument("a mailbox name", astring)(input)?;
    let name = MailboxName::new(&name).ok_or(Err::Failure(Fault(Some(Reason::NoName))))?;
    Ok((rest, name))
}

/// `sequence-set = (seq-number / seq-range) *("," sequence-set) / "$"` (RFC 5182 §3).
pub(super) fn set(input: &[u8]) -> IResult<&[u8], SeqSet, Fault> {
    let range =
        map(pair(bound, opt(preceded(tag(":"), bound))), |(from, to)| (from, to.unwrap_or(from)));
    alt((
        map(separated_list1(tag(","), range), SeqSet::from_ranges),
        map(tag("$"), |_| SeqSet::saved()),
    ))(input)
}

/// `partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number` (RFC 9394 §4).
pub(super) fn partial_range(input: &[u8]) -> IResult<&[u8], PartialRange, Fault> {
    let ends = |sign: &'static str| {
        separated_pair(preceded(tag(sign), nz_number), tag(":"), preceded(tag(sign), nz_number))
    };
    alt((
        map(ends(""), |(a, b)| PartialRange::new(false, a, b)),
        map(ends("-"), |(a, b)| PartialRange::new(true, a, b)),
    ))(input)
}

/// `seq-number = nz-number / "*"`.
pub(super) fn bound(input: &[u8]) -> IResult<&[u8], Bound, Fault> {
    alt((map(nz_number, Bound::Number), map(tag("*"), |_| Bound::Star)))(input)
}

/// `flag`, and beyond it keywords with odd marks; `\Recent` cannot be set (RFC 3501 §2.3.2).
pub(super) fn flag(input: &[u8]) -> IResult<&[u8], Flag, Fault> {
    let (rest, flag) = map_opt(atom, Flag::new)(input)?;
    if flag.is("\\Recent") {
        return Err(Err::Failure(Fault::refused("\\Recent cannot be set")));
    }
    Ok((rest, flag))
}
