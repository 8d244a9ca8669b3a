//! From a client's octets to a [`Tagged`] command.

use super::grammar;
use super::lens;
use super::{AppendHead, AppendStep, Command, ParseError, Reason, Section, Tag, Tagged};

/// Reads one command: a whole line without its final CRLF, every literal inlined as
/// `{n}\r\n<octets>` or `{n+}\r\n<octets>`.
///
/// Accepts what real clients send beyond the grammar of RFC 3501 §9: repeated and trailing spaces,
/// atoms with `%`, `*`, `\` or 8-bit octets, passwords with anything but a space. NUL is refused
/// everywhere but in a literal8.
pub fn parse(line: &[u8]) -> Result<Tagged, ParseError> {
    let Head { tag, word, uid, arguments } = head(line)?;
    let command = match lens::command(&word, line) {
        Some(command) => Ok(command),
        None => grammar::command(&word, uid, arguments),
    };
    match command {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(reason) => Err(ParseError { tag: Some(tag), reason }),
    }
}

/// What [`parse_append_head`] finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendParse {
    /// Another command: its literals are to be inlined, and the whole given to [`parse`].
    NotAppend,
    /// The announced literal is an argument, as the mailbox's name: to be inlined, then asked again.
    NeedMore,
    /// The announced literal is a message, or a part of one.
    Head(TaggedAppend),
    /// An APPEND that cannot be carried out. A literal announced with `{n+}` comes nevertheless.
    Bad(ParseError),
}

/// An APPEND up to the first octets of a message, with its tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaggedAppend {
    /// The client's tag.
    pub tag: Tag,
    /// Where to, and what follows.
    pub head: AppendHead,
}

/// Reads a command that announces a literal, up to and including `{n}`, `{n+}` or `~{n}` at its
/// end, so that the message of an APPEND can be streamed instead of inlined (RFC 3501 §6.3.11).
pub fn parse_append_head(text: &[u8]) -> AppendParse {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    match head(text) {
        Ok(Head { tag, word, uid, arguments }) => match grammar::appending(&word, uid, arguments) {
            Some(Ok(Some(head))) => AppendParse::Head(TaggedAppend { tag, head }),
            Some(Ok(None)) => AppendParse::NeedMore,
            Some(Err(reason)) => AppendParse::Bad(ParseError { tag: Some(tag), reason }),
            None => AppendParse::NotAppend,
        },
        Err(_) => AppendParse::NotAppend,
    }
}

/// Reads what follows the octets of an appended message, or of one of its parts: a line, up to its
/// end or an announcement at its end. `within`: a CATENATE is not closed yet. `None`: the literal
/// announced is an argument, to be inlined, then asked again.
pub fn parse_append_steps(text: &[u8], within: bool) -> Result<Option<Vec<AppendStep>>, Reason> {
    grammar::append_steps(text, within)
}

/// Reads a section as it stands between `BODY[` and `]`.
pub fn parse_section(text: &[u8]) -> Option<Section> {
    grammar::section_alone(text)
}

/// `tag SP command-word`, split off.
struct Head<'a> {
    tag: Tag,
    /// In capitals; what follows `UID` where that came first.
    word: String,
    /// Whether it was preceded by `UID`.
    uid: bool,
    /// The rest of the line, with the space before it.
    arguments: &'a [u8],
}

fn head(line: &[u8]) -> Result<Head<'_>, ParseError> {
    let (tag, rest) = split_word(line);
    let tag = Tag::new(tag).ok_or(ParseError { tag: None, reason: Reason::Tag })?;
    let no_command = || ParseError { tag: Some(tag.clone()), reason: Reason::Command };
    let (first, arguments) = split_word(skip_spaces(rest));
    let first = command_word(first).ok_or_else(no_command)?;
    if first != "UID" {
        return Ok(Head { tag, word: first, uid: false, arguments });
    }
    let (second, arguments) = split_word(skip_spaces(arguments));
    let second = command_word(second).ok_or_else(no_command)?;
    Ok(Head { tag, word: second, uid: true, arguments })
}

/// A command's name in capitals; `None` for what is no name.
fn command_word(word: &[u8]) -> Option<String> {
    let fits = !word.is_empty() && word.len() <= MAX_WORD && word.iter().all(u8::is_ascii_graphic);
    if !fits {
        return None;
    }
    String::from_utf8(word.to_ascii_uppercase()).ok()
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&b| b == b' ').unwrap_or(text.len()))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    text.split_at(text.iter().take_while(|&&b| b == b' ').count()).1
}

impl Command {
    /// A command without arguments, by its name in capitals.
    pub(super) fn bare(word: &str) -> Option<Command> {
        Some(match word {
            "CAPABILITY" => Command::Capability,
            "NOOP" => Command::Noop,
            "LOGOUT" => Command::Logout,
            "STARTTLS" => Command::StartTls,
            "UNAUTHENTICATE" => Command::Unauthenticate,
            "CHECK" => Command::Check,
            "CLOSE" => Command::Close,
            "UNSELECT" => Command::Unselect,
            "EXPUNGE" => Command::Expunge,
            "IDLE" => Command::Idle,
            "NAMESPACE" => Command::Namespace,
            _ => return None,
        })
    }
}

/// The longest name of a command that is looked at; the longest known has 14 letters.
const MAX_WORD: usize = 32;
