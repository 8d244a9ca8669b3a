//! Messages, and mailboxes full of them written straight into a Maildir.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Dice;

/// The smallest and the largest realistic message.
const SIZES: (f64, f64) = (1_000.0, 20_000_000.0);

/// 2016-03-01 12:00:00 UTC: where the dates of seeded messages begin.
const FIRST_DATE: u64 = 1_456_833_600;

/// One message as it is to lie on a server.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its octets, CRLF throughout.
    pub octets: Vec<u8>,
    /// Flags (`\Seen`) and keywords.
    pub flags: Vec<String>,
    /// INTERNALDATE in seconds of Unix time.
    pub date: u64,
    /// Its UID, if it is to be other than the one after its predecessor.
    pub uid: Option<u32>,
}

impl Mail {
    /// A message of these octets, unflagged.
    pub fn of(octets: Vec<u8>) -> Mail {
        Mail { octets, flags: Vec::new(), date: FIRST_DATE, uid: None }
    }

    /// A small message that differs for every number, flagged and dated by it.
    pub fn numbered(n: u32) -> Mail {
        let mut mail = Mail::of(small(n));
        mail.date = FIRST_DATE + u64::from(n) * 3607;
        let choices = [
            ("\\Seen", 2),
            ("\\Answered", 5),
            ("\\Flagged", 7),
            ("$Forwarded", 11),
            ("NonJunk", 3),
        ];
        mail.flags =
            choices.iter().filter(|(_, k)| n % k == 1).map(|(f, _)| f.to_string()).collect();
        mail
    }

    /// The same with this UID.
    pub fn uid(mut self, uid: u32) -> Mail {
        self.uid = Some(uid);
        self
    }

    /// The same with these flags instead.
    pub fn flags(mut self, flags: &[&str]) -> Mail {
        self.flags = flags.iter().map(|f| (*f).to_owned()).collect();
        self
    }

    /// The same with this INTERNALDATE.
    pub fn dated(mut self, date: u64) -> Mail {
        self.date = date;
        self
    }

    /// Flags and INTERNALDATE as an APPEND gives them.
    pub fn options(&self) -> String {
        let at =
            time::OffsetDateTime::from_unix_timestamp(self.date.cast_signed()).expect("a date");
        let month = at.month().to_string();
        format!(
            "({}) \"{:02}-{}-{} {:02}:{:02}:{:02} +0000\"",
            self.flags.join(" "),
            at.day(),
            &month[..3],
            at.year(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }

    /// The flags as FETCH shows them.
    pub fn flag_set(&self) -> BTreeSet<String> {
        self.flags.iter().cloned().collect()
    }
}

/// `count` different small messages.
pub fn mails(numbers: std::ops::Range<u32>) -> Vec<Mail> {
    numbers.map(Mail::numbered).collect()
}

/// A small message, a few hundred octets, the same for the same number.
pub fn small(n: u32) -> Vec<u8> {
    let words = ["harbour", "ferry", "tide", "ledger", "anchor", "lamp", "rope", "chart"];
    let word =
        |k: u32| words[(n.wrapping_mul(2_654_435_761).wrapping_add(k * 97) >> 7) as usize % 8];
    let mut text = format!(
        "From: Sender {n} <s{n}@example.org>\r\nTo: ann@example.com\r\nSubject: {} {} {n}\r\n\
         Date: Tue, 1 Mar 2016 12:{:02}:{:02} +0000\r\nMessage-ID: <{n}.lab@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
        word(1),
        word(2),
        n / 60 % 60,
        n % 60,
    );
    for line in 0..3 + n % 5 {
        text.push_str(&format!(
            "{} {} {} {}\r\n",
            word(line),
            word(line + 9),
            word(line + 5),
            n + line
        ));
    }
    text.into_bytes()
}

/// A message of exactly `size` octets with one attachment, without repeating blocks that compress a fault away.
pub fn large(n: u32, size: usize) -> Vec<u8> {
    let head = format!(
        "From: Sender {n} <s{n}@example.org>\r\nTo: ann@example.com\r\nSubject: large {n}\r\n\
         Message-ID: <{n}.large.lab@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream; name=\"{n}.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    let mut octets = Vec::with_capacity(size + 128);
    octets.extend_from_slice(head.as_bytes());
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let line: Vec<u8> = (0..64).map(|i| alphabet[(i * 7 + n as usize) % 64]).collect();
    let mut number = 0_u64;
    while octets.len() < size {
        octets.extend_from_slice(format!("{number:012}").as_bytes());
        octets.extend_from_slice(&line);
        octets.extend_from_slice(b"\r\n");
        number += 1;
    }
    octets.truncate(size.saturating_sub(2));
    // A cut through a CRLF would leave a lone CR.
    if octets.last() == Some(&b'\r') {
        octets.pop();
        octets.push(b'=');
    }
    octets.extend_from_slice(b"\r\n");
    octets
}

/// Writes a mailbox into a Maildir directory that no server has opened yet; UIDs are exactly those wanted.
/// Everything is given to `owner` (uid, gid).
pub fn seed_maildir(dir: &Path, uidvalidity: u32, mails: &[Mail], owner: (u32, u32)) {
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(dir.join(sub)).expect("maildir");
        chown(dir.join(sub), Some(owner.0), Some(owner.1)).expect("chown");
    }
    let keywords: Vec<String> = {
        let all = mails.iter().flat_map(|m| &m.flags).filter(|f| !f.starts_with('\\'));
        all.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    };
    assert!(keywords.len() <= 26, "a Maildir holds 26 keywords");
    let cur = dir.join("cur");
    let mut next = 1;
    let mut list = String::new();
    for (n, mail) in mails.iter().enumerate() {
        let uid = mail.uid.unwrap_or(next);
        assert!(uid >= next, "UIDs ascend");
        next = uid + 1;
        let base = format!("{}.M{n}P1.lab,S={1},W={1}", mail.date, mail.octets.len());
        let path = cur.join(format!("{base}:2,{}", info(&mail.flags, &keywords)));
        let mut file = File::create(&path).expect("message file");
        file.write_all(&mail.octets).expect("message");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(mail.date)).expect("date");
        std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1)).expect("chown");
        list.push_str(&format!("{uid} :{base}\n"));
    }
    let guid = format!("{:032x}", u128::from(uidvalidity) << 64 | u128::from(next));
    let numbered: String = keywords.iter().enumerate().map(|(i, k)| format!("{i} {k}\n")).collect();
    let files = [
        ("dovecot-uidlist", format!("3 V{uidvalidity} N{next} G{guid}\n{list}")),
        ("dovecot-keywords", numbered),
    ];
    for (name, text) in files {
        fs::write(dir.join(name), text).expect(name);
        chown(dir.join(name), Some(owner.0), Some(owner.1)).expect("chown");
    }
    chown(dir, Some(owner.0), Some(owner.1)).expect("chown");
}

/// Delivers a message into a Maildir as an MDA does.
pub fn deliver_maildir(dir: &Path, mail: &Mail, owner: (u32, u32)) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    for dir in [dir.to_owned(), dir.join("cur"), dir.join("new"), dir.join("tmp")] {
        if !dir.exists() {
            fs::create_dir_all(&dir).expect("maildir");
            chown(&dir, Some(owner.0), Some(owner.1)).expect("chown");
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
    let name = format!("{}.M{}P{}Q{n}.lab", now.as_secs(), now.subsec_micros(), std::process::id());
    let path = dir.join("tmp").join(&name);
    fs::write(&path, &mail.octets).expect("message");
    chown(&path, Some(owner.0), Some(owner.1)).expect("chown");
    fs::rename(&path, dir.join("new").join(&name)).expect("delivery");
}

fn info(flags: &[String], keywords: &[String]) -> String {
    let letter = |flag: &String| match flag.as_str() {
        "\\Draft" => 'D',
        "\\Flagged" => 'F',
        "\\Answered" => 'R',
        "\\Seen" => 'S',
        "\\Deleted" => 'T',
        keyword => {
            let at = keywords.iter().position(|k| k == keyword).expect("keyword was collected");
            (b'a' + u8::try_from(at).expect("26 at most")) as char
        }
    };
    flags.iter().map(letter).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The octets of a realistic message: log-normal, by two numbers of chance (Box and Muller), half of them below 16 KB.
pub fn realistic(dice: &mut Dice) -> usize {
    let mut chance = || (f64::from(dice.below(1_000_000_u32)) + 0.5) / 1e6;
    let (a, b) = (chance(), chance());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    (16_000.0 * (1.5 * normal).exp()).clamp(SIZES.0, SIZES.1) as usize
}
