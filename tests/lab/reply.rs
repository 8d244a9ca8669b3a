//! Reads what a server said: the parts of FETCH, LIST, STATUS, SEARCH that tests ask about.
//!
//! Owns a small, strict reader of IMAP's parenthesised values. A server that says something else than IMAP
//! makes the test fail here.

use std::collections::{BTreeMap, BTreeSet};

use super::client::literal_announced;

/// The answer to one command.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Everything before the tagged line, literals in place.
    pub untagged: Vec<Vec<u8>>,
    /// OK, NO or BAD.
    pub status: String,
    /// What followed it, with its response code.
    pub text: String,
}

/// One message as a FETCH showed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Message sequence number.
    pub seq: u32,
    /// UID, 0 if not shown.
    pub uid: u32,
    /// Flags and keywords, if shown; without \Recent, which differs between sessions.
    pub flags: Option<BTreeSet<String>>,
    /// INTERNALDATE as it was shown.
    pub date: Option<String>,
    /// RFC822.SIZE.
    pub size: Option<usize>,
    /// MODSEQ.
    pub modseq: Option<u64>,
    /// Every BODY[…], RFC822 and so on by its upper-case name.
    pub bodies: BTreeMap<String, Vec<u8>>,
    /// Names of all items, in the order they came.
    pub order: Vec<String>,
}

impl Fetched {
    /// The whole message.
    pub fn body(&self) -> &[u8] {
        self.bodies.get("BODY[]").unwrap_or_else(|| panic!("no BODY[] in {:?}", self.order))
    }

    /// Whether a flag was shown.
    pub fn has(&self, flag: &str) -> bool {
        self.flags
            .as_ref()
            .expect("flags were asked for")
            .iter()
            .any(|f| f.eq_ignore_ascii_case(flag))
    }
}

/// One line of LIST or LSUB.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The mailbox as the server wrote it, without quotes.
    pub name: String,
    /// The separator.
    pub separator: String,
    /// Attributes, lower case.
    pub attributes: BTreeSet<String>,
}

impl Reply {
    pub(super) fn new(tag: &str, untagged: Vec<Vec<u8>>, tagged: &[u8]) -> Reply {
        let line = String::from_utf8_lossy(tagged).into_owned();
        let rest = line[tag.len()..].trim_start();
        let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
        Reply { untagged, status: status.to_ascii_uppercase(), text: text.to_owned() }
    }

    /// A command whose literal was not wanted.
    pub(super) fn refused(tag: &str, response: Vec<u8>) -> Reply {
        Reply::new(tag, Vec::new(), &response)
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect_status(self, status: &str, command: &str) -> Reply {
        assert_eq!(self.status, status, "{command:?} was answered {} {}", self.status, self.text);
        self
    }

    /// The untagged responses as text.
    pub fn lines(&self) -> Vec<String> {
        self.untagged.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect()
    }

    /// The value of a response code, in the tagged line or an untagged OK: `[UIDVALIDITY 7]` gives `7`.
    pub fn code(&self, name: &str) -> Option<String> {
        let tagged = self.text.clone();
        let lines = self.lines().into_iter().filter(|l| l.starts_with("* OK"));
        lines.chain([tagged]).find_map(|line| {
            let (_, code) = line.split_once('[')?;
            let (code, _) = code.rsplit_once(']')?;
            let (word, value) = code.split_once(' ').unwrap_or((code, ""));
            word.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    /// A response code that must be there and a number.
    #[track_caller]
    pub fn number(&self, code: &str) -> u64 {
        let value = self.code(code).unwrap_or_else(|| panic!("no [{code}] in {self:#?}"));
        value.parse().unwrap_or_else(|_| panic!("[{code} {value}]"))
    }

    /// UIDVALIDITY and UID of an APPENDUID.
    #[track_caller]
    pub fn appended(&self) -> (u32, u32) {
        let code = self.code("APPENDUID").unwrap_or_else(|| panic!("no APPENDUID in {self:#?}"));
        let (validity, uid) = code.split_once(' ').expect("two numbers");
        (validity.parse().expect("UIDVALIDITY"), uid.parse().expect("UID"))
    }

    /// UIDVALIDITY, source and target UIDs of a COPYUID, tagged or untagged.
    #[track_caller]
    pub fn copied(&self) -> (u32, Vec<u32>, Vec<u32>) {
        let code = self.code("COPYUID").unwrap_or_else(|| panic!("no COPYUID in {self:#?}"));
        let parts: Vec<&str> = code.split(' ').collect();
        let [validity, from, to] = parts[..] else { panic!("COPYUID {code}") };
        (validity.parse().expect("UIDVALIDITY"), numbers(from), numbers(to))
    }

    /// The last `* n WORD`: EXISTS, RECENT.
    pub fn count(&self, word: &str) -> Option<u32> {
        self.lines().iter().rev().find_map(|line| {
            let (n, w) = line.strip_prefix("* ")?.split_once(' ')?;
            if w.eq_ignore_ascii_case(word) { n.parse().ok() } else { None }
        })
    }

    /// All `* n EXPUNGE` in their order.
    pub fn expunged(&self) -> Vec<u32> {
        let lines = self.lines();
        let numbers = lines.iter().filter_map(|l| l.strip_prefix("* ")?.strip_suffix(" EXPUNGE"));
        numbers.map(|n| n.parse().expect("number before EXPUNGE")).collect()
    }

    /// All FETCH responses in their order.
    #[track_caller]
    pub fn fetched(&self) -> Vec<Fetched> {
        self.untagged.iter().filter_map(|line| fetched(line)).collect()
    }

    /// UID and EMAILID of all FETCH responses that tell both.
    pub fn emails(&self) -> BTreeMap<u32, String> {
        let told = |line: String| {
            let (_, items) = line.split_once(" FETCH (UID ")?;
            let (uid, _) = items.split_once(' ')?;
            let (_, id) = items.split_once("EMAILID (")?;
            Some((uid.parse().ok()?, id.split_once(')')?.0.to_owned()))
        };
        self.lines().into_iter().filter_map(told).collect()
    }

    /// The numbers of SEARCH, or the ALL of ESEARCH, in the order they came.
    #[track_caller]
    pub fn found(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for line in self.lines() {
            if let Some(rest) = line.strip_prefix("* SEARCH") {
                all.extend(rest.split_whitespace().map_while(|n| n.parse::<u32>().ok()));
            } else if line.starts_with("* ESEARCH")
                && let Some((_, set)) = line.split_once(" ALL ")
            {
                all.extend(numbers(set.split(' ').next().unwrap_or("")));
            }
        }
        all
    }

    /// A value of an ESEARCH response, COUNT or MIN for example.
    pub fn esearch(&self, item: &str) -> Option<String> {
        self.lines().iter().filter(|l| l.starts_with("* ESEARCH")).find_map(|line| {
            let (_, rest) = line.split_once(&format!(" {item} "))?;
            rest.split(' ').next().map(str::to_owned)
        })
    }

    /// All LIST (or LSUB) responses.
    #[track_caller]
    pub fn listed(&self) -> Vec<Listed> {
        self.untagged.iter().filter_map(|line| listed(line)).collect()
    }

    /// The STATUS response of this reply as numbers.
    #[track_caller]
    pub fn status_of(&self, mailbox: &str) -> BTreeMap<String, u64> {
        let all = self.statuses();
        all.get(mailbox).unwrap_or_else(|| panic!("no STATUS of {mailbox:?} in {all:?}")).clone()
    }

    /// All STATUS responses by mailbox.
    #[track_caller]
    pub fn statuses(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let lines = self.untagged.iter().filter(|l| l.starts_with(b"* STATUS "));
        lines
            .map(|line| {
                let values = Reader::new(&line[9..]).values();
                let [name, Value::List(items)] = values.as_slice() else {
                    panic!("STATUS: {}", String::from_utf8_lossy(line))
                };
                let pairs = items.chunks(2).filter(|pair| pair.len() == 2);
                let numbers = pairs.filter_map(|pair| {
                    Some((pair[0].text().to_ascii_uppercase(), pair[1].text().parse().ok()?))
                });
                (name.text(), numbers.collect())
            })
            .collect()
    }
}

/// Every number of a sequence set without `*`.
pub fn numbers(set: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in set.split(',').filter(|p| !p.is_empty()) {
        let (a, b) = part.split_once(':').unwrap_or((part, part));
        let (a, b): (u32, u32) = (a.parse().expect("number"), b.parse().expect("number"));
        all.extend(a.min(b)..=a.max(b));
    }
    all
}

/// Reads one FETCH response; `None` for every other line.
#[track_caller]
pub fn fetched(line: &[u8]) -> Option<Fetched> {
    let rest = line.strip_prefix(b"* ")?;
    let space = rest.iter().position(|&b| b == b' ')?;
    let seq = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    let rest = rest[space + 1..].strip_prefix(b"FETCH ")?;
    let values = Reader::new(rest).values();
    let [Value::List(items)] = values.as_slice() else {
        panic!("FETCH: {}", String::from_utf8_lossy(line))
    };
    let mut message = Fetched { seq, ..Fetched::default() };
    for pair in items.chunks(2) {
        let [name, value] = pair else { panic!("FETCH: {}", String::from_utf8_lossy(line)) };
        let name = name.text().to_ascii_uppercase();
        match (name.as_str(), value) {
            ("UID", v) => message.uid = v.text().parse().expect("UID"),
            ("RFC822.SIZE", v) => message.size = Some(v.text().parse().expect("size")),
            ("INTERNALDATE", v) => message.date = Some(v.text()),
            ("FLAGS", Value::List(flags)) => {
                let flags = flags.iter().map(Value::text).filter(|f| f != "\\Recent");
                message.flags = Some(flags.collect());
            }
            ("MODSEQ", Value::List(one)) => {
                message.modseq = one.first().and_then(|v| v.text().parse().ok());
            }
            (_, Value::Bytes(octets))
                if name.starts_with("BODY[")
                    || name.starts_with("RFC822")
                    || name.starts_with("BINARY[")
                    || name == "PREVIEW" =>
            {
                message.bodies.insert(name.clone(), octets.clone());
            }
            _ => {}
        }
        message.order.push(name);
    }
    Some(message)
}

fn listed(line: &[u8]) -> Option<Listed> {
    let rest = line.strip_prefix(b"* LIST ").or_else(|| line.strip_prefix(b"* LSUB "))?;
    let values = Reader::new(rest).values();
    let [Value::List(attributes), separator, name, ..] = values.as_slice() else {
        panic!("LIST: {}", String::from_utf8_lossy(line))
    };
    Some(Listed {
        name: name.text(),
        separator: separator.text(),
        attributes: attributes.iter().map(|a| a.text().to_ascii_lowercase()).collect(),
    })
}

/// One value: an atom, a string of either kind, or a list. NIL is an atom.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Atom(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Atom(atom) => atom.clone(),
            Value::Bytes(octets) => String::from_utf8_lossy(octets).into_owned(),
            Value::List(_) => panic!("a list where a word was expected: {self:?}"),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    fn values(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            while self.rest.first() == Some(&b' ') {
                self.rest = &self.rest[1..];
            }
            match self.rest.first() {
                None => return all,
                Some(b')') => {
                    self.rest = &self.rest[1..];
                    return all;
                }
                Some(b'(') => {
                    self.rest = &self.rest[1..];
                    all.push(Value::List(self.values()));
                }
                Some(b'"') => all.push(self.quoted()),
                Some(b'{') | Some(b'~') => all.push(self.literal()),
                Some(_) => all.push(self.atom()),
            }
        }
    }

    fn quoted(&mut self) -> Value {
        let mut octets = Vec::new();
        let mut at = 1;
        loop {
            match self.rest.get(at) {
                None => panic!("an open quote: {}", String::from_utf8_lossy(self.rest)),
                Some(b'"') => break,
                Some(b'\\') => {
                    octets.extend(self.rest.get(at + 1));
                    at += 2;
                }
                Some(&b) => {
                    octets.push(b);
                    at += 1;
                }
            }
        }
        self.rest = &self.rest[at + 1..];
        Value::Bytes(octets)
    }

    fn literal(&mut self) -> Value {
        let end = memchr::memmem::find(self.rest, b"\r\n").expect("CRLF after a literal's length");
        let len = literal_announced(&self.rest[..end]).expect("a literal's length");
        let from = end + 2;
        let octets = self.rest[from..from + len].to_vec();
        self.rest = &self.rest[from + len..];
        Value::Bytes(octets)
    }

    /// An atom; `BODY[HEADER.FIELDS (SUBJECT)]<0>` is one.
    fn atom(&mut self) -> Value {
        let (mut at, mut depth) = (0, 0);
        while let Some(&b) = self.rest.get(at) {
            match b {
                b'[' => depth += 1,
                b']' => depth -= 1,
                b' ' | b'(' | b')' if depth == 0 => break,
                _ => {}
            }
            at += 1;
        }
        let atom = String::from_utf8_lossy(&self.rest[..at]).into_owned();
        self.rest = &self.rest[at..];
        Value::Atom(atom)
    }
}
