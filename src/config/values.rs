//! Values that are written as text: durations, sizes, and where a server is.
//!
//! The `deserialize` functions are for serde's `deserialize_with`; their errors stand where the
//! value stands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};

/// `"60s"`, `"30m"`, `"2h"`, `"1d"`, `"500ms"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(de: D) -> Result<Duration, D::Error> {
    de.deserialize_str(Text {
        expected: "a duration in quotes, like \"60s\", \"30m\" or \"2h\"",
        parse: parse_duration,
    })
}

/// `"64KiB"`, `"1MiB"`, `"200MB"`, `"512B"`.
pub(super) fn size<'de, D: Deserializer<'de>>(de: D) -> Result<u64, D::Error> {
    de.deserialize_str(Text {
        expected: "a size in quotes, like \"64KiB\", \"1MiB\" or \"200MB\"",
        parse: parse_size,
    })
}

/// `"127.0.0.1:1143"`, `"[::1]:993"`.
pub(super) fn address<'de, D: Deserializer<'de>>(de: D) -> Result<SocketAddr, D::Error> {
    de.deserialize_str(Text {
        expected: "an IP address and port in quotes, like \"127.0.0.1:1143\" or \"[::1]:993\"",
        parse: |text| text.parse().ok(),
    })
}

/// Where a service of a server is and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// What is spoken there.
    pub service: Service,
}

/// What is spoken at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    /// IMAP.
    Imap,
    /// SMTP for users (RFC 6409).
    Submission,
    /// SMTP between servers.
    Smtp,
    /// LMTP (RFC 2033).
    Lmtp,
}

/// How a connection to a server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Security {
    /// TLS from the first octet: `imaps://`, `submissions://`.
    Tls,
    /// TLS after STARTTLS, and nothing without it: `imap://`, `submission://`, `smtp://`, `lmtp://`.
    StartTls,
    /// None: any of these with `?tls=none`.
    Plain,
}

/// Each service's scheme with STARTTLS, that with TLS from the start where there is one, and the
/// ports of both (RFC 9051 section 2.1, RFC 8314 section 7.3, RFC 6409 section 3.1, RFC 5321
/// section 4.5.4.2; LMTP has none of its own, this one is in use).
const SCHEMES: [(Service, &str, u16, &str, u16); 4] = [
    (Service::Imap, "imap", 143, "imaps", 993),
    (Service::Submission, "submission", 587, "submissions", 465),
    (Service::Smtp, "smtp", 25, "", 0),
    (Service::Lmtp, "lmtp", 24, "", 0),
];

impl Endpoint {
    /// Whether the host is this machine itself, judged by its spelling: a name that merely
    /// resolves to a loopback address today is not trusted to do so tomorrow.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Reads `imaps://host[:port]` or `imap://host[:port][?tls=none]`, or the like of one of these
    /// services.
    pub(super) fn parse(text: &str, services: &[Service]) -> Option<Endpoint> {
        let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty())?;
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let known = SCHEMES.into_iter().filter(|(service, ..)| services.contains(service));
        let (service, security, default_port) = known
            .filter_map(|(service, starttls, port, tls, tls_port)| match query {
                None if scheme == starttls => Some((service, Security::StartTls, port)),
                None if scheme == tls => Some((service, Security::Tls, tls_port)),
                Some("tls=none") if scheme == starttls => Some((service, Security::Plain, port)),
                _ => None,
            })
            .next()?;
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None => default_port,
        };
        Some(Endpoint { host: host.to_owned(), port, security, service })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes = SCHEMES.into_iter().find(|(service, ..)| *service == self.service);
        let scheme = schemes.map_or("", |(_, starttls, _, tls, _)| match self.security {
            Security::Tls => tls,
            Security::StartTls | Security::Plain => starttls,
        });
        let host = &self.host;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{}", self.port)?,
            false => write!(f, "{scheme}://{host}:{}", self.port)?,
        }
        if self.security == Security::Plain {
            f.write_str("?tls=none")?;
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_str(Text {
            expected: "a server like \"imaps://host:993\", \"imap://host:143\" (STARTTLS) or \
                       \"imap://127.0.0.1:143?tls=none\"",
            parse: |text| Endpoint::parse(text, &[Service::Imap]),
        })
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match behind {
                "" => (host, None),
                _ => (host, Some(behind.strip_prefix(':')?)),
            }
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(fits) {
                return None;
            }
            (host, port)
        }
    };
    Some((host, port))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(milliseconds).filter(|ms| *ms <= LONGEST_MS).map(Duration::from_millis)
}

/// A year: nothing here waits longer, and sums with a point in time cannot overflow.
const LONGEST_MS: u64 = 366 * 24 * 60 * 60 * 1000;

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let octets = match unit {
        "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(octets)
}

/// `"64 KiB"` → `(64, "KiB")`.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Takes a text and says what was expected if it is not one.
pub(super) struct Text<T> {
    pub(super) expected: &'static str,
    pub(super) parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(format_args!("expected {}", self.expected)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("60s", Some(60_000)),
            ("30m", Some(1_800_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("60 s", Some(60_000)),
            ("60", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5h", None),
            ("60S", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("1000d", None),
        ] {
            assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, octets) in [
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1_048_576)),
            ("200MB", Some(200_000_000)),
            ("2GiB", Some(2_147_483_648)),
            ("512B", Some(512)),
            ("0B", Some(0)),
            ("512", None),
            ("1mib", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(parse_size(text), octets, "{text:?}");
        }
    }

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, host, port, security) in [
            ("imaps://old.example.com:993", "old.example.com", 993, Security::Tls),
            ("imap://old.example.com:1143", "old.example.com", 1143, Security::StartTls),
            ("imap://127.0.0.1:143?tls=none", "127.0.0.1", 143, Security::Plain),
            ("imaps://[::1]:993", "::1", 993, Security::Tls),
        ] {
            let endpoint = Endpoint::parse(text, &[Service::Imap]).unwrap();
            let service = Service::Imap;
            assert_eq!(endpoint, Endpoint { host: host.into(), port, security, service });
            assert_eq!(endpoint.to_string(), text);
        }
        assert_eq!(Endpoint::parse("imaps://host", &[Service::Imap]).unwrap().port, 993);
        assert_eq!(Endpoint::parse("imap://[::1]?tls=none", &[Service::Imap]).unwrap().port, 143);
        let smtp = [Service::Submission, Service::Smtp, Service::Lmtp];
        for (text, port, security) in [
            ("submissions://a.example:465", 465, Security::Tls),
            ("submission://a.example:587", 587, Security::StartTls),
            ("smtp://a.example:25", 25, Security::StartTls),
            ("lmtp://127.0.0.1:24?tls=none", 24, Security::Plain),
        ] {
            let endpoint = Endpoint::parse(text, &smtp).unwrap();
            assert_eq!((endpoint.port, endpoint.security), (port, security));
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(
                Endpoint::parse(&text.replace(&format!(":{port}"), ""), &smtp).unwrap().port,
                port
            );
            assert_eq!(Endpoint::parse(text, &[Service::Imap]), None);
        }
        for text in ["://a.example", "lmtps://a.example", "imap://a.example", "smtps://a.example"] {
            assert_eq!(Endpoint::parse(text, &smtp), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint() {
        for text in [
            "",
            "old.example.com:993",
            "imaps://",
            "imaps://:993",
            "imaps://host:0",
            "imaps://host:70000",
            "imaps://host:",
            "imaps://host:993/",
            "imaps://user:secret@host",
            "imaps://host?tls=none",
            "imap://host?tls=off",
            "imap://[::1",
            "imap://[::1]143",
            "imap://::1",
            "pop3://host",
        ] {
            assert_eq!(Endpoint::parse(text, &[Service::Imap]), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_by_spelling() {
        let loopback = |text| Endpoint::parse(text, &[Service::Imap]).unwrap().is_loopback();
        assert!(loopback("imap://127.3.2.1"));
        assert!(loopback("imap://[::1]"));
        assert!(loopback("imap://LocalHost"));
        assert!(!loopback("imap://localhost.example.com"));
        assert!(!loopback("imap://10.0.0.1"));
    }
}
