//! The arguments of SEARCH, SORT and THREAD.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::combinator::{map, map_opt, opt, value, verify};
use nom::multi::separated_list1;
use nom::sequence::{pair, preceded, terminated, tuple};
use nom::{Err, IResult};

use super::Fault;
use super::date::search_date;
use super::token::{
    argument, astring, atom, expect, listed, number64, nz_number, partial_range, quoted, set, sp,
    sp0,
};
use crate::imap::command::{
    Command, Flag, MAX_NESTING, Reason, SearchDate, SearchKey, SearchReturn, SortCriterion,
    SortKey, Tag, ThreadAlgorithm,
};
use crate::uid::EmailId;

/// `search = "SEARCH" [SP search-return-opts] [SP "CHARSET" SP astring] 1*(SP search-key)`
/// (RFC 4466 §2.6.1).
pub(super) fn arguments<'a>(
    uid: bool,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let charset = preceded(pair(sp, tag_no_case("CHARSET")), must(charset));
    map(
        tuple((opt(returns), opt(charset), argument("a SEARCH key", keys(0)))),
        move |(returns, charset, key)| Command::Search { uid, returns, charset, key },
    )
}

/// `sort = "SORT" [SP search-return-opts] SP sort-criteria SP search-criteria` (RFC 5256 §5,
/// RFC 5267 §7).
pub(super) fn sort<'a>(uid: bool) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let criteria = verify(listed("a known SORT key", criterion), |all: &Vec<_>| !all.is_empty());
    map(
        tuple((
            opt(returns),
            argument("SORT keys", criteria),
            charset,
            argument("a SEARCH key", keys(0)),
        )),
        move |(returns, criteria, charset, key)| Command::Sort {
            uid,
            returns,
            criteria,
            charset,
            key,
        },
    )
}

/// `thread = "THREAD" SP thread-alg SP search-criteria` (RFC 5256 §5).
pub(super) fn thread<'a>(uid: bool) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], Command, Fault> {
    let algorithm = map_opt(atom, |word| {
        ThreadAlgorithm::ALL
            .into_iter()
            .find(|algorithm| word.eq_ignore_ascii_case(algorithm.as_str().as_bytes()))
    });
    map(
        tuple((
            argument("a known THREAD algorithm", algorithm),
            charset,
            argument("a SEARCH key", keys(0)),
        )),
        move |(algorithm, charset, key)| Command::Thread { uid, algorithm, charset, key },
    )
}

/// `command-select =/ "CANCELUPDATE" 1*(SP quoted)` (RFC 5267 §7).
pub(super) fn cancel_update(input: &[u8]) -> IResult<&[u8], Command, Fault> {
    let tag = map_opt(astring, |tag| Tag::new(&tag));
    map(argument("a tag", separated_list1(sp, tag)), Command::CancelUpdate)(input)
}

/// `search-return-opts = "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"`
/// (RFC 4731 §3.1, RFC 5182 §3, RFC 5267 §7, RFC 9394 §4). Without an option that asks for numbers
/// or saves them, ALL is meant.
fn returns(input: &[u8]) -> IResult<&[u8], Vec<SearchReturn>, Fault> {
    let option = alt((
        value(SearchReturn::Min, tag_no_case("MIN")),
        value(SearchReturn::Max, tag_no_case("MAX")),
        value(SearchReturn::All, tag_no_case("ALL")),
        value(SearchReturn::Count, tag_no_case("COUNT")),
        value(SearchReturn::Save, tag_no_case("SAVE")),
        value(SearchReturn::Update, tag_no_case("UPDATE")),
        value(SearchReturn::Context, tag_no_case("CONTEXT")),
        map(preceded(pair(tag_no_case("PARTIAL"), sp), partial_range), SearchReturn::Partial),
    ));
    let (rest, mut options) = preceded(
        tuple((sp, tag_no_case("RETURN"), sp0)),
        listed("a known RETURN option", option),
    )(input)?;
    let partial = options.iter().filter(|o| matches!(o, SearchReturn::Partial(_))).count();
    if partial > 1 || (partial == 1 && options.contains(&SearchReturn::All)) {
        return Err(Err::Failure(Fault::refused("PARTIAL stands once, and without ALL")));
    }
    if options.iter().all(|option| *option == SearchReturn::Context) {
        options.push(SearchReturn::All);
    }
    Ok((rest, options))
}

/// `sort-criterion = ["REVERSE" SP] sort-key` (RFC 5256 §5).
fn criterion(input: &[u8]) -> IResult<&[u8], SortCriterion, Fault> {
    let key = map_opt(atom, |word| {
        SortKey::ALL.into_iter().find(|key| word.eq_ignore_ascii_case(key.as_str().as_bytes()))
    });
    map(pair(opt(pair(tag_no_case("REVERSE"), sp)), key), |(reverse, key)| SortCriterion {
        reverse: reverse.is_some(),
        key,
    })(input)
}

/// `SP charset`.
fn charset(input: &[u8]) -> IResult<&[u8], String, Fault> {
    argument("a charset", map_opt(astring, charset_name))(input)
}

/// A charset's name; none has other marks (RFC 2978 §2.3).
fn charset_name(name: Vec<u8>) -> Option<String> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+".contains(b);
    if name.is_empty() || !name.iter().all(fits) {
        return None;
    }
    String::from_utf8(name).ok()
}

/// `search-key *(SP search-key)`: all of them must match.
fn keys<'a>(depth: usize) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    map(expect("a SEARCH key", separated_list1(sp, move |input| key(input, depth))), |mut keys| {
        match keys.len() {
            1 => keys.swap_remove(0),
            _ => SearchKey::And(keys),
        }
    })
}

/// `search-key`. Fails finally on what is none, but lets a list end before `)` and at the end.
fn key(input: &[u8], depth: usize) -> IResult<&[u8], SearchKey, Fault> {
    if depth > MAX_NESTING {
        return Err(Err::Failure(Fault(Some(Reason::TooDeep))));
    }
    match input {
        [] | [b')', ..] => return Err(Err::Error(Fault(None))),
        [b'(', ..] => {
            let close = expect("the end of a list", pair(sp0, tag(")")));
            let list = preceded(pair(tag("("), sp0), terminated(keys(depth + 1), close));
            return must(list)(input);
        }
        [b'0'..=b'9' | b'*' | b'$', ..] => {
            return must(map(expect("a message set", set), SearchKey::Sequence))(input);
        }
        _ => {}
    }
    let (rest, word) = must(atom)(input)?;
    if let Some(key) = plain_key(word) {
        return Ok((rest, key));
    }
    let nested = || argument("a SEARCH key", move |input| key(input, depth + 1));
    match word.to_ascii_uppercase().as_slice() {
        b"NOT" => must(map(nested(), |key| SearchKey::Not(Box::new(key))))(rest),
        b"OR" => {
            must(map(pair(nested(), nested()), |(a, b)| SearchKey::Or(Box::new(a), Box::new(b))))(
                rest,
            )
        }
        b"BCC" => text(SearchKey::Bcc)(rest),
        b"BODY" => text(SearchKey::Body)(rest),
        b"CC" => text(SearchKey::Cc)(rest),
        b"FROM" => text(SearchKey::From)(rest),
        b"SUBJECT" => text(SearchKey::Subject)(rest),
        b"TEXT" => text(SearchKey::Text)(rest),
        b"TO" => text(SearchKey::To)(rest),
        b"HEADER" => must(map(
            pair(argument("a field's name", astring), argument("a string to search for", astring)),
            |(name, value)| SearchKey::Header(name, value),
        ))(rest),
        b"KEYWORD" => keyword(SearchKey::Keyword)(rest),
        b"UNKEYWORD" => keyword(SearchKey::Unkeyword)(rest),
        b"OLDER" => seconds(SearchKey::Older)(rest),
        b"YOUNGER" => seconds(SearchKey::Younger)(rest),
        b"MODSEQ" => must(mod_seq)(rest),
        b"EMAILID" => must(map(object_id, |id| SearchKey::EmailId(EmailId::parse(&id))))(rest),
        // No message has one (RFC 8474 §5.2).
        b"THREADID" => must(map(object_id, |_| SearchKey::Not(Box::new(SearchKey::All))))(rest),
        b"LARGER" => size(SearchKey::Larger)(rest),
        b"SMALLER" => size(SearchKey::Smaller)(rest),
        b"BEFORE" => date(SearchKey::Before)(rest),
        b"ON" => date(SearchKey::On)(rest),
        b"SINCE" => date(SearchKey::Since)(rest),
        b"SENTBEFORE" => date(SearchKey::SentBefore)(rest),
        b"SENTON" => date(SearchKey::SentOn)(rest),
        b"SENTSINCE" => date(SearchKey::SentSince)(rest),
        b"UID" => must(map(argument("a message set", set), SearchKey::Uid))(rest),
        _ => Err(Err::Failure(Fault::expected("a known SEARCH key"))),
    }
}

/// Keys without arguments.
fn plain_key(word: &[u8]) -> Option<SearchKey> {
    Some(match word.to_ascii_uppercase().as_slice() {
        b"ALL" => SearchKey::All,
        b"ANSWERED" => SearchKey::Answered,
        b"DELETED" => SearchKey::Deleted,
        b"DRAFT" => SearchKey::Draft,
        b"FLAGGED" => SearchKey::Flagged,
        b"NEW" => SearchKey::New,
        b"OLD" => SearchKey::Old,
        b"RECENT" => SearchKey::Recent,
        b"SEEN" => SearchKey::Seen,
        b"UNANSWERED" => SearchKey::Unanswered,
        b"UNDELETED" => SearchKey::Undeleted,
        b"UNDRAFT" => SearchKey::Undraft,
        b"UNFLAGGED" => SearchKey::Unflagged,
        b"UNSEEN" => SearchKey::Unseen,
        _ => return None,
    })
}

fn text<'a>(
    make: impl FnMut(Vec<u8>) -> SearchKey,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    must(map(argument("a string to search for", astring), make))
}

fn keyword<'a>(
    make: impl FnMut(Flag) -> SearchKey,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    let flag = map_opt(astring, |word| Flag::new(&word));
    must(map(argument("a keyword", flag), make))
}

/// `SP objectid`, where `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7).
fn object_id(input: &[u8]) -> IResult<&[u8], Vec<u8>, Fault> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"_-".contains(b);
    let id =
        verify(astring, move |id: &Vec<u8>| (1..=255).contains(&id.len()) && id.iter().all(fits));
    argument("an identifier", id)(input)
}

fn size<'a>(
    make: impl FnMut(u64) -> SearchKey,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    must(map(argument("a size", number64), make))
}

/// `search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer`;
/// `search-modseq-ext = SP entry-name SP entry-type-req` (RFC 7162 §7).
fn mod_seq(input: &[u8]) -> IResult<&[u8], SearchKey, Fault> {
    let entry = pair(preceded(sp, quoted), preceded(sp, atom));
    map(preceded(opt(entry), argument("a MODSEQ", number64)), SearchKey::ModSeq)(input)
}

/// `SP nz-number` (RFC 5032 §4).
fn seconds<'a>(
    make: impl FnMut(u32) -> SearchKey,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    must(map(argument("a number of seconds", nz_number), make))
}

/// `date = date-text / DQUOTE date-text DQUOTE`.
fn date<'a>(
    make: impl FnMut(SearchDate) -> SearchKey,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], SearchKey, Fault> {
    let date = map_opt(astring, |text| search_date(&text));
    must(map(argument("a date", date), make))
}

/// Makes every error final: a key that has begun cannot be another.
fn must<'a, T>(
    mut parser: impl FnMut(&'a [u8]) -> IResult<&'a [u8], T, Fault>,
) -> impl FnMut(&'a [u8]) -> IResult<&'a [u8], T, Fault> {
    move |input| {
        parser(input).map_err(|err| match err {
            Err::Error(fault) => Err::Failure(fault),
            other => other,
        })
    }
}
