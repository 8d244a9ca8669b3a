//! On whose behalf a connection is opened, for servers that believe what the proxy says (RFC 2971).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::conn::text;
use crate::imap::write::{Parts, quoted};

/// The client for whose login a connection is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Where the client connected from.
    pub client: SocketAddr,
    /// Where it connected to.
    pub connected: SocketAddr,
    /// What the proxy calls its session; the same in the logs of both.
    pub session: String,
    /// What it said of itself by ID before it logged in.
    pub id: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Origin {
    /// `id = "ID" SP "(" string SP nstring *(SP string SP nstring) ")"` (RFC 2971 §4): the fields by
    /// which Dovecot and others learn of a client behind a proxy, then the client's own. Of those
    /// none begins with `x-`: such a field is for proxies to say, and a client that says it lies.
    pub(super) fn command(&self) -> Parts {
        let (client, connected) = (&self.client, &self.connected);
        let own = [
            ("x-originating-ip", client.ip().to_canonical().to_string()),
            ("x-originating-port", client.port().to_string()),
            ("x-connected-ip", connected.ip().to_canonical().to_string()),
            ("x-connected-port", connected.port().to_string()),
            ("x-proxy-ttl", PROXIES_LEFT.to_string()),
            ("x-session-id", self.session.clone()),
        ];
        let mut fields = Vec::new();
        let mut field = |name: &[u8], value: Option<&[u8]>| {
            fields.push(b' ');
            quoted(name, &mut fields);
            fields.push(b' ');
            match value {
                Some(value) => quoted(value, &mut fields),
                None => fields.extend_from_slice(b"NIL"),
            }
        };
        for (name, value) in &own {
            field(name.as_bytes(), Some(value.as_bytes()));
        }
        let mut said = BTreeSet::new();
        for (name, value) in &self.id {
            let known = name.to_ascii_lowercase();
            let fits = is_text(name, MOST_IN_NAME)
                && value.as_ref().is_none_or(|value| is_text(value, MOST_IN_VALUE))
                && !known.starts_with(b"x-");
            if fits && said.len() + own.len() < MOST_FIELDS && said.insert(known) {
                field(name, value.as_deref());
            }
        }
        // Quoted strings of printable ASCII only: it is text.
        text(&format!("ID ({})", String::from_utf8_lossy(&fields).trim_start()))
    }
}

/// Whether a value can be quoted and is not longer than RFC 2971 §3.3 allows.
fn is_text(octets: &[u8], most: usize) -> bool {
    octets.len() <= most && octets.iter().all(|b| (b' '..=b'~').contains(b))
}

/// How many proxies may still follow: what is left of Dovecot's five behind the first. It ends a
/// circle.
const PROXIES_LEFT: u8 = 4;

/// RFC 2971 §3.3.
const MOST_FIELDS: usize = 30;
const MOST_IN_NAME: usize = 30;
const MOST_IN_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::write::Part;

    fn written(id: &[(&str, Option<&str>)]) -> String {
        let octets = |text: &str| text.as_bytes().to_vec();
        let origin = Origin {
            client: "[::ffff:192.0.2.7]:50123".parse().unwrap(),
            connected: "[2001:db8::1]:993".parse().unwrap(),
            session: "18f-7".into(),
            id: id.iter().map(|(n, v)| (octets(n), v.map(octets))).collect(),
        };
        match origin.command().as_slice() {
            [Part::Text(text)] => String::from_utf8(text.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    const OWN: &str = "\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"50123\" \
                       \"x-connected-ip\" \"2001:db8::1\" \"x-connected-port\" \"993\" \
                       \"x-proxy-ttl\" \"4\" \"x-session-id\" \"18f-7\"";

    #[test]
    fn the_clients_own_fields_follow_the_proxys() {
        assert_eq!(written(&[]), format!("ID ({OWN})"));
        let id = [("name", Some("Mail \"of\" \\apples")), ("os", None), ("", Some(""))];
        let more = r#""name" "Mail \"of\" \\apples" "os" NIL "" """#;
        assert_eq!(written(&id), format!("ID ({OWN} {more})"));
    }

    #[test]
    fn a_client_cannot_speak_as_a_proxy_nor_break_the_command() {
        let long = "v".repeat(1025);
        let id = [
            ("x-originating-ip", Some("198.51.100.1")),
            ("X-Session-Id", Some("mine")),
            ("x-anything", None),
            ("name", Some("a\r\nf9 LOGOUT")),
            ("os", Some("caf\u{e9}")),
            ("version", Some(&long)),
            ("a-name-of-more-than-thirty-octets", Some("v")),
            ("vendor", Some("first")),
            ("Vendor", Some("second")),
        ];
        assert_eq!(written(&id), format!("ID ({OWN} \"vendor\" \"first\")"));
        let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), Some("v"))).collect();
        assert_eq!(written(&many).matches("\" \"").count(), 59);
    }
}
