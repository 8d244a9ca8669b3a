//! What is shown to log in by SASL (RFC 4422): the responses of PLAIN (RFC 4616) and of the two
//! mechanisms that carry a bearer token, OAUTHBEARER (RFC 7628) and Google's XOAUTH2.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ExposeSecret, SecretString};

/// What shows that somebody is who they say.
#[derive(Clone)]
pub enum Proof {
    /// A password.
    Password(SecretString),
    /// A bearer token of OAuth 2.0 (RFC 6750): whoever has it is let in, for a while.
    Token(SecretString),
}

impl Proof {
    /// The secret itself.
    pub fn expose_secret(&self) -> &str {
        let (Proof::Password(secret) | Proof::Token(secret)) = self;
        secret.expose_secret()
    }

    /// Whether it is a token.
    pub fn is_token(&self) -> bool {
        matches!(self, Proof::Token(_))
    }
}

/// V9.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_token() { "Token(..)" } else { "Password(..)" })
    }
}

/// A mechanism by which somebody logs in with one response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 7628.
    OAuthBearer,
    /// What Google had before there was a standard, and others have still.
    XOAuth2,
}

/// A response, read.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Who logs in.
    pub user: String,
    /// With what.
    pub proof: Proof,
}

/// Why a response lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadResponse {
    /// It is none of this mechanism.
    #[error("not a response of {}", .0.name())]
    Malformed(Mechanism),
    /// Acting for somebody else is what administrators of a server do on that server.
    #[error("authorization identity differs from the user")]
    ForAnother,
}

impl Mechanism {
    /// Those that carry a token, in the order in which they are tried.
    pub const OF_TOKENS: [Mechanism; 2] = [Mechanism::OAuthBearer, Mechanism::XOAuth2];

    /// The mechanism of this name, in whatever case.
    pub fn named(name: &str) -> Option<Mechanism> {
        let all = [Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2];
        all.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
        }
    }

    /// Reads what a client showed.
    pub fn read(self, response: &[u8]) -> Result<Shown, BadResponse> {
        let malformed = BadResponse::Malformed(self);
        let text = std::str::from_utf8(response).map_err(|_| malformed)?;
        match self {
            Mechanism::Plain => plain(text).ok_or(malformed)?,
            Mechanism::OAuthBearer => bearer(text).ok_or(malformed),
            Mechanism::XOAuth2 => xoauth2(text).ok_or(malformed),
        }
    }

    /// What shows a server a token: the response of one of [`Mechanism::OF_TOKENS`].
    pub fn token(self, user: &str, token: &SecretString) -> Zeroizing<String> {
        let token = token.expose_secret();
        Zeroizing::new(match self {
            Mechanism::XOAuth2 => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
            // saslname (RFC 5801 §4).
            _ => {
                let name = user.replace('=', "=3D").replace(',', "=2C");
                format!("n,a={name},\x01auth=Bearer {token}\x01\x01")
            }
        })
    }

    /// What a client says to the challenge in which a server tells why it refuses a token, before
    /// it ends the exchange (RFC 7628 §3.2.3).
    pub fn after_refusal(self) -> &'static [u8] {
        match self {
            Mechanism::OAuthBearer => b"\x01",
            Mechanism::Plain | Mechanism::XOAuth2 => b"",
        }
    }
}

/// `message = [authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(text: &str) -> Option<Result<Shown, BadResponse>> {
    let mut fields = text.split('\0');
    let (authzid, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    if !authzid.is_empty() && authzid != user {
        return Some(Err(BadResponse::ForAnother));
    }
    let proof = Proof::Password(SecretString::from(password));
    Some(Ok(Shown { user: user.to_owned(), proof }))
}

/// `client-resp = (gs2-header kvsep *kvpair kvsep)` (RFC 7628 §3.1). Without a name in it, whose
/// mail it is could only be read out of the token, which is the server's alone to read.
fn bearer(text: &str) -> Option<Shown> {
    let (header, pairs) = text.split_once('\x01')?;
    let name = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?;
    let name = name.strip_suffix(',')?.strip_prefix("a=")?;
    let user = name.replace("=2C", ",").replace("=2c", ",").replace("=3D", "=").replace("=3d", "=");
    shown(&user, pairs)
}

/// `user=` name `^Aauth=Bearer` token `^A^A`.
fn xoauth2(text: &str) -> Option<Shown> {
    let (user, pairs) = text.strip_prefix("user=")?.split_once('\x01')?;
    shown(user, pairs)
}

/// Finds the token among `kvpair = key "=" value kvsep`, up to the last kvsep.
fn shown(user: &str, pairs: &str) -> Option<Shown> {
    if user.is_empty() || user.chars().any(char::is_control) {
        return None;
    }
    let pairs = pairs.strip_suffix("\x01\x01")?;
    let value = pairs.split('\x01').find_map(|pair| pair.strip_prefix("auth="))?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    let fits = !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("Bearer") && fits)
        .then(|| Shown { user: user.to_owned(), proof: Proof::Token(SecretString::from(token)) })
}

/// Why a server refuses a token (RFC 7628 §3.2.2): what a client needs to get another one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenRefusal {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(rename = "openid-configuration", skip_serializing_if = "Option::is_none")]
    openid_configuration: Option<String>,
}

/// Of who said nothing about it.
impl Default for TokenRefusal {
    fn default() -> Self {
        let status = "invalid_token".to_owned();
        TokenRefusal { status, schemes: None, scope: None, openid_configuration: None }
    }
}

impl TokenRefusal {
    /// Reads a server's challenge. One that cannot be read says that the token is refused, too.
    pub fn read(challenge: &[u8]) -> TokenRefusal {
        let short = Some(challenge).filter(|octets| octets.len() <= LONGEST_CHALLENGE);
        short.and_then(|octets| serde_json::from_slice(octets).ok()).unwrap_or_default()
    }

    /// As a challenge for a client.
    pub fn challenge(&self) -> String {
        // A map of strings always is JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Three addresses and two words.
const LONGEST_CHALLENGE: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mechanism: Mechanism, response: &str) -> Result<(String, String), BadResponse> {
        let shown = mechanism.read(response.as_bytes())?;
        assert_eq!(shown.proof.is_token(), mechanism != Mechanism::Plain);
        Ok((shown.user, shown.proof.expose_secret().to_owned()))
    }

    fn ann(secret: &str) -> Result<(String, String), BadResponse> {
        Ok(("ann@example.com".to_owned(), secret.to_owned()))
    }

    #[test]
    fn responses_are_read() {
        use Mechanism::{OAuthBearer, Plain, XOAuth2};
        for (mechanism, response) in [
            (Plain, "\0ann@example.com\0vF9.d-_~+/="),
            (Plain, "ann@example.com\0ann@example.com\0vF9.d-_~+/="),
            // RFC 7628 §4.1, and less of it.
            (
                OAuthBearer,
                "n,a=ann@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9.d-_~+/=\x01\x01",
            ),
            (OAuthBearer, "y,a=ann@example.com,\x01auth=bearer vF9.d-_~+/=\x01\x01"),
            (XOAuth2, "user=ann@example.com\x01auth=Bearer vF9.d-_~+/=\x01\x01"),
        ] {
            assert_eq!(read(mechanism, response), ann("vF9.d-_~+/="), "{response:?}");
        }
        let odd = read(OAuthBearer, "n,a=a=3Db=2Cc,\x01auth=Bearer x\x01\x01");
        assert_eq!(odd, Ok(("a=b,c".to_owned(), "x".to_owned())));
    }

    #[test]
    fn what_is_no_response() {
        use Mechanism::{OAuthBearer, Plain, XOAuth2};
        for (mechanism, response) in [
            (Plain, ""),
            (Plain, "ann\0secret"),
            (Plain, "\0ann\0secret\0"),
            (OAuthBearer, "\x01"),
            (OAuthBearer, "n,,\x01auth=Bearer x\x01\x01"),
            (OAuthBearer, "n,a=,\x01auth=Bearer x\x01\x01"),
            (OAuthBearer, "p=tls-exporter,a=ann,\x01auth=Bearer x\x01\x01"),
            (OAuthBearer, "n,a=ann,\x01auth=Bearer \x01\x01"),
            (OAuthBearer, "n,a=ann,\x01auth=Basic x\x01\x01"),
            (OAuthBearer, "n,a=ann,\x01auth=Bearer x y\x01\x01"),
            (OAuthBearer, "n,a=ann,\x01auth=Bearer x\x01"),
            (OAuthBearer, "n,a=ann,\x01host=x\x01\x01"),
            (XOAuth2, "user=ann\x01auth=Bearer x"),
            (XOAuth2, "user=\x01auth=Bearer x\x01\x01"),
            (XOAuth2, "user=a\r\nb\x01auth=Bearer x\x01\x01"),
            (XOAuth2, "\0ann\0secret"),
        ] {
            let expected = Err(BadResponse::Malformed(mechanism));
            assert_eq!(read(mechanism, response), expected, "{response:?}");
        }
        assert_eq!(read(Plain, "bob\0ann\0secret"), Err(BadResponse::ForAnother));
    }

    #[test]
    fn a_refusal_is_passed_on_as_far_as_it_is_understood() {
        let google = br#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
        let told = TokenRefusal::read(google).challenge();
        assert_eq!(told.as_bytes(), google);
        let more = br#"{"status":"invalid_token","openid-configuration":"https://x/","evil":[1]}"#;
        let told = TokenRefusal::read(more).challenge();
        assert_eq!(told, r#"{"status":"invalid_token","openid-configuration":"https://x/"}"#);
        for none in [&b""[..], b"no", b"{}", b"[]", br#"{"status":401}"#, &[b'{'; 5000]] {
            assert_eq!(TokenRefusal::read(none).challenge(), r#"{"status":"invalid_token"}"#);
        }
    }

    #[test]
    fn v9_no_secret_in_debug() {
        for response in ["\0ann\0s3cret", "user=ann\x01auth=Bearer s3cret\x01\x01"] {
            let mechanism = match response.starts_with('\0') {
                true => Mechanism::Plain,
                false => Mechanism::XOAuth2,
            };
            let shown = format!("{:?}", mechanism.read(response.as_bytes()).unwrap());
            assert!(shown.contains("ann") && !shown.contains("s3cret"), "{shown}");
        }
    }

    proptest! {
        /// What is written for a server reads the same there.
        #[test]
        fn what_is_written_reads_the_same(user in "[ -~é]{1,20}", token in "[!-~]{1,30}") {
            for mechanism in Mechanism::OF_TOKENS {
                let secret = SecretString::from(token.as_str());
                let written = mechanism.token(&user, &secret);
                let shown = mechanism.read(written.as_bytes()).unwrap();
                prop_assert_eq!(&shown.user, &user);
                prop_assert_eq!(shown.proof.expose_secret(), token.as_str());
            }
        }

        #[test]
        fn nothing_panics(response in proptest::collection::vec(any::<u8>(), 0..60)) {
            for mechanism in [Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2] {
                let _ = mechanism.read(&response);
            }
        }
    }
}
