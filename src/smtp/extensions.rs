//! What a server offers in its answer to EHLO or LHLO.

use std::collections::BTreeSet;

use super::reply::Reply;
use crate::base::Mechanism;

/// A server's extensions, as far as the proxy makes use of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extensions {
    /// SIZE (RFC 1870): the largest message, 0 if the server does not tell. `None`: no SIZE.
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// LIMITS' RCPTMAX (RFC 9422 §4.2): so many recipients of one message.
    pub recipients: Option<u64>,
    /// The mechanisms of AUTH (RFC 4954), in capitals.
    pub auth: BTreeSet<String>,
    /// The attributes of XCLIENT, in capitals; empty: it is not offered to us.
    pub xclient: BTreeSet<String>,
}

impl Extensions {
    /// Reads an answer to EHLO. `ehlo-line = ehlo-keyword *( SP ehlo-param )`
    pub fn of_reply(reply: &Reply) -> Extensions {
        let mut all = Extensions::default();
        for line in reply.lines().iter().skip(1) {
            // `AUTH=` is how some servers said it before RFC 2554.
            let line = line.replacen("AUTH=", "AUTH ", 1).to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            let words = words.map(str::to_owned);
            match keyword {
                "SIZE" => {
                    let size = words.into_iter().next();
                    all.size = Some(size.and_then(|size| size.parse().ok()).unwrap_or(0));
                }
                "8BITMIME" => all.eight_bit = true,
                "SMTPUTF8" => all.utf8 = true,
                "DSN" => all.dsn = true,
                "PIPELINING" => all.pipelining = true,
                "STARTTLS" => all.starttls = true,
                "LIMITS" => {
                    let most = words.into_iter().find_map(|word| {
                        word.strip_prefix("RCPTMAX=")?.parse().ok().filter(|most| *most > 0)
                    });
                    all.recipients = most.or(all.recipients);
                }
                "AUTH" => all.auth.extend(words),
                "XCLIENT" => all.xclient.extend(words),
                _ => {}
            }
        }
        all
    }

    /// How a bearer token is shown to it.
    pub fn for_tokens(&self) -> Option<Mechanism> {
        Mechanism::OF_TOKENS.into_iter().find(|mechanism| self.auth.contains(mechanism.name()))
    }

    /// What both of two servers offer, with the smaller size.
    pub fn common(&self, other: &Extensions) -> Extensions {
        let told = |size: Option<u64>| size.filter(|size| *size > 0);
        let least = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Extensions {
            size: least(told(self.size), told(other.size)),
            recipients: least(self.recipients, other.recipients),
            eight_bit: self.eight_bit && other.eight_bit,
            utf8: self.utf8 && other.utf8,
            dsn: self.dsn && other.dsn,
            pipelining: self.pipelining && other.pipelining,
            starttls: self.starttls && other.starttls,
            auth: self.auth.intersection(&other.auth).cloned().collect(),
            xclient: self.xclient.intersection(&other.xclient).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Extensions {
        let name = std::iter::once("mail.example.com".to_owned());
        let lines = name.chain(lines.iter().map(|line| (*line).to_owned()));
        Extensions::of_reply(&Reply::of_lines(250, lines))
    }

    #[test]
    fn both_sides_together() {
        let one =
            of(&["SIZE 100", "8BITMIME", "SMTPUTF8", "DSN", "AUTH PLAIN LOGIN", "AUTH=PLAIN"]);
        let two = of(&["size 50", "8bitmime", "dsn", "auth login plain xoauth2", "STARTTLS"]);
        assert!(one.auth.contains("PLAIN") && two.auth.contains("XOAUTH2"));
        let both = one.common(&two);
        assert_eq!((both.size, both.eight_bit, both.utf8, both.dsn), (Some(50), true, false, true));
        assert_eq!(of(&["SIZE"]).common(&of(&["SIZE 7"])).size, Some(7));
        assert_eq!(of(&["SIZE"]).size, Some(0));
        assert_eq!(of(&[]).common(&of(&[])).size, None);
        assert!(!of(&["X8BITMIME"]).eight_bit);
        let most = |line: &str| of(&[line]).recipients;
        assert_eq!(most("LIMITS MAILMAX=5 RCPTMAX=20 RCPTDOMAINMAX=1"), Some(20));
        for none in ["LIMITS RCPTMAX=0", "LIMITS RCPTMAX=x", "LIMITS XRCPTMAX=3", "LIMITS"] {
            assert_eq!(most(none), None, "{none}");
        }
        let both = of(&["LIMITS RCPTMAX=20"]).common(&of(&["LIMITS RCPTMAX=7"]));
        assert_eq!(both.recipients, Some(7));
        assert_eq!(of(&[]).common(&of(&["LIMITS RCPTMAX=7"])).recipients, Some(7));
    }
}
