//! What lies in a mailbox, as a client sees it: for comparing one view with another.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Dialogue, quoted};
use super::reply::Fetched;

/// One message as seen in a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its UID.
    pub uid: u32,
    /// Flags and keywords, without \Recent.
    pub flags: BTreeSet<String>,
    /// INTERNALDATE as shown, the day with two digits (RFC 3501 lets the first be a space).
    pub date: String,
    /// RFC822.SIZE.
    pub size: usize,
    /// All its octets.
    pub octets: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let subject = String::from_utf8_lossy(&self.octets);
        let subject =
            subject.lines().find(|l| l.starts_with("Subject:")).unwrap_or("no subject").to_owned();
        write!(f, "#{} {:?} {} {} octets, {subject}", self.uid, self.flags, self.date, self.size)
    }
}

impl Seen {
    /// The same without its number: what a message is, wherever it lies.
    pub fn anywhere(self) -> Seen {
        Seen { uid: 0, ..self }
    }
}

/// All messages of a mailbox, with everything that must stay as it is. Nothing is marked as read.
/// Fails where sequence numbers, UIDs, sizes and EXISTS do not agree (V3).
#[track_caller]
pub fn everything(client: &mut Dialogue, mailbox: &str) -> Vec<Seen> {
    everything_unless_removed(client, mailbox)
        .unwrap_or_else(|numbers| panic!("{mailbox}: not 1 to EXISTS, ascending: {numbers:?}"))
}

/// The same of a server from which somebody may remove messages meanwhile: then the sequence numbers
/// that it told of.
#[track_caller]
pub fn everything_unless_removed(
    client: &mut Dialogue,
    mailbox: &str,
) -> Result<Vec<Seen>, Vec<u32>> {
    let selected = client.ok(&format!("EXAMINE {}", quoted(mailbox)));
    let exists = selected.count("EXISTS").expect("EXISTS");
    if exists == 0 {
        return Ok(Vec::new());
    }
    let reply = client.ok("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])");
    let mut fetched: Vec<Fetched> = Vec::new();
    for message in reply.fetched() {
        if message.bodies.contains_key("BODY[]") {
            fetched.push(message);
        } else if let Some(known) = fetched.iter_mut().find(|m| m.seq == message.seq) {
            // Flags that changed meanwhile, told unasked.
            known.flags = message.flags.or(known.flags.take());
        }
    }
    let numbers: Vec<u32> = fetched.iter().map(|m| m.seq).collect();
    // What arrived since EXAMINE may be among them.
    let wanted: Vec<u32> = (1..).take(numbers.len().max(exists as usize)).collect();
    if numbers != wanted {
        return Err(numbers);
    }
    assert!(fetched.windows(2).all(|w| w[0].uid < w[1].uid), "{mailbox}: UIDs ascend");
    // Courier tells it in STATUS only.
    let uidnext = match selected.code("UIDNEXT") {
        Some(number) => number.parse().expect("UIDNEXT"),
        None => {
            let status = client.ok(&format!("STATUS {} (UIDNEXT)", quoted(mailbox)));
            status.status_of(mailbox)["UIDNEXT"]
        }
    };
    let seen = fetched.into_iter().map(|message| {
        let octets = message.body().to_vec();
        assert_eq!(message.size, Some(octets.len()), "{mailbox}: the size is that of the octets");
        let arrived = message.seq > exists;
        assert!(arrived || u64::from(message.uid) < uidnext, "{mailbox}: UIDNEXT is above UIDs");
        Seen {
            uid: message.uid,
            flags: message.flags.expect("FLAGS"),
            date: two_digits(message.date.expect("INTERNALDATE")),
            size: octets.len(),
            octets,
        }
    });
    Ok(seen.collect())
}

/// A date whose day has two digits: RFC 3501 lets the first be a space.
pub fn two_digits(date: String) -> String {
    match date.strip_prefix(' ') {
        Some(rest) => format!("0{rest}"),
        None => date,
    }
}

/// Messages in an order that depends on the messages only, without their numbers: for comparing two sides.
pub fn sorted(seen: Vec<Seen>) -> Vec<Seen> {
    let mut all: Vec<Seen> = seen.into_iter().map(Seen::anywhere).collect();
    all.sort_by(|a, b| (&a.octets, &a.date, &a.flags).cmp(&(&b.octets, &b.date, &b.flags)));
    all
}

/// How often each message (by its octets) lies there.
pub fn copies(seen: &[Seen]) -> BTreeMap<&[u8], usize> {
    let mut count = BTreeMap::new();
    for message in seen {
        *count.entry(message.octets.as_slice()).or_insert(0) += 1;
    }
    count
}

/// The mailboxes that can be opened.
#[track_caller]
pub fn folder_names(client: &mut Dialogue) -> BTreeSet<String> {
    let listed = client.ok("LIST \"\" *").listed();
    let open = listed.into_iter().filter(|l| {
        !l.attributes.contains("\\noselect") && !l.attributes.contains("\\nonexistent")
    });
    open.map(|l| l.name).collect()
}
