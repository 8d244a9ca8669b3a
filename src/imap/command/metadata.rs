//! Annotations of a mailbox or the server (RFC 5464).

/// The name of an annotation: `/private/comment`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry(Box<str>);

impl Entry {
    /// Takes a name from the wire: below `/private` or `/shared`, in ASCII, without wildcards and
    /// empty parts (RFC 5464 §3.2).
    pub fn new(octets: &[u8]) -> Option<Entry> {
        let fits = |b: &u8| matches!(b, b' '..=b'~') && !b"*%".contains(b);
        let name = str::from_utf8(octets).ok().filter(|name| name.bytes().all(|b| fits(&b)))?;
        let mut parts = name.strip_prefix('/')?.split('/');
        let whose = parts.next()?;
        let known = ["private", "shared"].iter().any(|known| whose.eq_ignore_ascii_case(known));
        (known && parts.all(|part| !part.is_empty())).then(|| Entry(name.into()))
    }

    /// As it goes onto the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What GETMETADATA asks (RFC 5464 §4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataAsked {
    /// Which annotations; never none.
    pub entries: Vec<Entry>,
    /// And what lies below them.
    pub depth: Depth,
    /// Only values that are no longer.
    pub max_size: Option<u64>,
}

/// How far below the entries GETMETADATA asks (RFC 5464 §4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Depth {
    /// Only what was named.
    #[default]
    Zero,
    /// And what lies directly below.
    One,
    /// And all that lies below.
    Infinity,
}

impl Depth {
    /// As it goes onto the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Depth::Zero => "0",
            Depth::One => "1",
            Depth::Infinity => "infinity",
        }
    }
}
