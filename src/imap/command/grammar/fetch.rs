//! The arguments of FETCH.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while1};
use nom::combinator::{eof, map, map_opt, opt, value, verify};
use nom::multi::separated_list0;
use nom::sequence::{delimited, pair, preceded, separated_pair, terminated, tuple};
use nom::{Err, IResult};

use super::Fault;
use super::token::{
    argument, astring, listed, number, number64, nz_number, partial_range, set, sp, sp0,
};
use crate::imap::command::{Command, PartialRange};
use crate::imap::fetch::{FetchItem, FieldName, Section, SectionText};

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att /
/// "(" fetch-att *(SP fetch-att) ")") [SP fetch-modifiers]` (RFC 4466 §2.3).
///
/// `fetch-modifier =/ "CHANGEDSINCE" SP mod-sequence-value / "VANISHED"` (RFC 7162 §7); 0 is
/// accepted too, for some clients ask since then. `fetch-modifier =/ "PARTIAL" SP partial-range`
/// belongs to UID FETCH (RFC 9394 §3.3). Other modifiers are refused.
pub(super) fn arguments<'a>(
    uid: bool,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let since = preceded(pair(tag_no_case("CHANGEDSINCE"), sp), number64);
    let partial = preceded(pair(tag_no_case("PARTIAL"), sp), partial_range);
    let modifier = alt((
        map(since, Modifier::ChangedSince),
        value(Modifier::Vanished, tag_no_case("VANISHED")),
        map(verify(partial, move |_| uid), Modifier::Partial),
    ));
    let modifiers = opt(preceded(sp, listed("a known FETCH modifier", modifier)));
    map(
        tuple((argument("a message set", set), argument("a known FETCH item", items), modifiers)),
        move |(set, items, modifiers)| {
            let mut asked = (None, None, false);
            for modifier in modifiers.unwrap_or_default() {
                match modifier {
                    Modifier::ChangedSince(since) => asked.0 = Some(since),
                    Modifier::Partial(range) => asked.1 = Some(range),
                    Modifier::Vanished => asked.2 = true,
                }
            }
            let (changed_since, partial, vanished) = asked;
            Command::Fetch { uid, set, items, partial, changed_since, vanished }
        },
    )
}

/// A modifier of FETCH.
#[derive(Clone, Copy)]
enum Modifier {
    ChangedSince(u64),
    Partial(PartialRange),
    Vanished,
}

fn items(input: &[u8]) -> IResult<&[u8], Vec<FetchItem>, Fault> {
    let (rest, items) = alt((
        listed("a known FETCH item", item),
        map(item, |item| vec![item]),
        map_opt(word, |word| expanded(&word)),
    ))(input)?;
    if items.is_empty() {
        return Err(Err::Failure(Fault::expected("a FETCH item")));
    }
    Ok((rest, items))
}

/// What a macro stands for (RFC 3501 §6.4.5).
fn expanded(word: &str) -> Option<Vec<FetchItem>> {
    let mut items = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    match word {
        "FAST" => {}
        "ALL" => items.push(FetchItem::Envelope),
        "FULL" => items.extend([FetchItem::Envelope, FetchItem::Body]),
        _ => return None,
    }
    Some(items)
}

/// `fetch-att`.
pub(super) fn item(input: &[u8]) -> IResult<&[u8], FetchItem, Fault> {
    alt((section_item, binary_size, binary, preview, map_opt(word, |word| plain_item(&word))))(
        input,
    )
}

/// `"PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]`, where the one `preview-mod` is `"LAZY"`
/// (RFC 8970 §6). Other parentheses behind it are those of FETCH's own modifiers.
fn preview(input: &[u8]) -> IResult<&[u8], FetchItem, Fault> {
    let lazy = delimited(pair(tag("("), sp0), tag_no_case("LAZY"), pair(sp0, tag(")")));
    map(
        preceded(verify(word, |word: &String| word == "PREVIEW"), opt(preceded(sp, lazy))),
        |lazy| FetchItem::Preview { lazy: lazy.is_some() },
    )(input)
}

fn plain_item(word: &str) -> Option<FetchItem> {
    Some(match word {
        "UID" => FetchItem::Uid,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Rfc822Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODY" => FetchItem::Body,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        "MODSEQ" => FetchItem::ModSeq,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        _ => return None,
    })
}

/// `"BODY" [".PEEK"] "[" [section-spec] "]" ["<" number "." nz-number ">"]`.
fn section_item(input: &[u8]) -> IResult<&[u8], FetchItem, Fault> {
    map(
        tuple((
            preceded(tag_no_case("BODY"), map(opt(tag_no_case(".PEEK")), |peek| peek.is_some())),
            delimited(pair(tag("["), sp0), section, pair(sp0, tag("]"))),
            partial,
        )),
        |(peek, section, partial)| FetchItem::Section { peek, section, partial },
    )(input)
}

/// `"BINARY" [".PEEK"] section-binary [partial]` (RFC 3516 §5).
fn binary(input: &[u8]) -> IResult<&[u8], FetchItem, Fault> {
    let peek = map(opt(tag_no_case(".PEEK")), |peek| peek.is_some());
    map(
        tuple((preceded(tag_no_case("BINARY"), peek), section_binary, partial)),
        |(peek, part, partial)| FetchItem::Binary { peek, part, partial },
    )(input)
}

/// `"BINARY.SIZE" section-binary` (RFC 3516 §5).
fn binary_size(input: &[u8]) -> IResult<&[u8], FetchItem, Fault> {
    map(preceded(tag_no_case("BINARY.SIZE"), section_binary), |part| FetchItem::BinarySize { part })(
        input,
    )
}

/// `section-binary = "[" [section-part] "]"` (RFC 3516 §5).
fn section_binary(input: &[u8]) -> IResult<&[u8], Vec<u32>, Fault> {
    delimited(pair(tag("["), sp0), separated_list0(tag("."), nz_number), pair(sp0, tag("]")))(input)
}

/// `["<" number "." nz-number ">"]`.
fn partial(input: &[u8]) -> IResult<&[u8], Option<(u32, u32)>, Fault> {
    opt(delimited(tag("<"), separated_pair(number, tag("."), nz_number), tag(">")))(input)
}

/// A whole text that is a section, as an IMAP URL carries one (RFC 5092 §3).
pub(in super::super) fn section_alone(text: &[u8]) -> Option<Section> {
    terminated(section, eof)(text).ok().map(|(_, section)| section)
}

/// `section-spec = section-msgtext / (section-part ["." section-text])`; nothing is the whole message.
fn section(input: &[u8]) -> IResult<&[u8], Section, Fault> {
    let (rest, part) = separated_list0(tag("."), nz_number)(input)?;
    let (rest, text) = if part.is_empty() {
        opt(section_text)(rest)?
    } else {
        opt(preceded(tag("."), alt((section_text, value(SectionText::Mime, tag_no_case("MIME"))))))(
            rest,
        )?
    };
    Ok((rest, Section { part, text: text.unwrap_or_default() }))
}

/// `section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"`.
fn section_text(input: &[u8]) -> IResult<&[u8], SectionText, Fault> {
    alt((
        map(
            preceded(pair(tag_no_case("HEADER.FIELDS.NOT"), sp0), fields),
            SectionText::HeaderFieldsNot,
        ),
        map(preceded(pair(tag_no_case("HEADER.FIELDS"), sp0), fields), SectionText::HeaderFields),
        value(SectionText::Header, tag_no_case("HEADER")),
        value(SectionText::Text, tag_no_case("TEXT")),
    ))(input)
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`.
fn fields(input: &[u8]) -> IResult<&[u8], Vec<FieldName>, Fault> {
    let name = map_opt(astring, |name| FieldName::new(&name));
    map_opt(listed("a header field's name", name), |names| (!names.is_empty()).then_some(names))(
        input,
    )
}

/// The name of an item, in capitals.
fn word(input: &[u8]) -> IResult<&[u8], String, Fault> {
    map_opt(take_while1(|b: u8| b.is_ascii_alphanumeric() || b == b'.'), |word: &[u8]| {
        String::from_utf8(word.to_ascii_uppercase()).ok()
    })(input)
}
