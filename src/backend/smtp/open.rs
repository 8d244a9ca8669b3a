//! The beginning of a connection: PROXY, TLS, greeting, EHLO, STARTTLS, XCLIENT, AUTH.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{SmtpConn, SmtpError};
use crate::base::{Proof, SecretString, TokenRefusal};
use crate::config::{BackendLogin, Forward, Limits, Security, Service, SmtpServer};
use crate::net;
use crate::smtp::{Extensions, Reply};

/// The client for which a connection is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Where it connected from.
    pub client: SocketAddr,
    /// Where it connected to.
    pub connected: SocketAddr,
    /// What it called itself.
    pub helo: String,
    /// Whether it said EHLO.
    pub extended: bool,
}

impl SmtpConn {
    /// Connects, secures, greets as `hostname`, and tells for which client this is where the
    /// server is to know: everything up to AUTH or MAIL.
    pub async fn open(
        server: &SmtpServer,
        hostname: &str,
        peer: Option<&Peer>,
        limits: &Limits,
    ) -> Result<SmtpConn, SmtpError> {
        // A server that accepts and then says nothing must not hold a client for minutes.
        match timeout(limits.backend_connect_timeout, begin(server, hostname, peer, limits)).await {
            Ok(opened) => opened,
            Err(_) => Err(unreachable(server, io::ErrorKind::TimedOut.into())),
        }
    }

    async fn greeted(&mut self) -> Result<(), SmtpError> {
        let reply = self.reply("being greeted").await?;
        if reply.code().0 != 220 {
            return Err(self.answer("being greeted", reply));
        }
        self.greeting = reply.text();
        Ok(())
    }

    /// EHLO, or LHLO. What was offered before is forgotten.
    async fn hello(&mut self, hostname: &str) -> Result<(), SmtpError> {
        let (doing, verb) = match self.service {
            Service::Lmtp => ("LHLO", "LHLO"),
            _ => ("EHLO", "EHLO"),
        };
        let reply = self.ask(doing, &format!("{verb} {hostname}")).await?;
        if !reply.code().is_positive() {
            return Err(self.answer(doing, reply));
        }
        self.extensions = Extensions::of_reply(&reply);
        Ok(())
    }

    /// STARTTLS (RFC 3207 §4). What the server sends behind its 220 in clear is somebody else's.
    async fn starttls(&mut self) -> Result<(), SmtpError> {
        if !self.extensions.starttls {
            return Err(self.protocol("it does not offer STARTTLS"));
        }
        let reply = self.ask("STARTTLS", "STARTTLS").await?;
        if reply.code().0 != 220 {
            return Err(self.answer("STARTTLS", reply));
        }
        if self.has_more() {
            return Err(self.protocol("it sent more in clear text behind its answer to STARTTLS"));
        }
        Ok(())
    }

    /// XCLIENT, as far as the server offers it; it then greets anew.
    async fn introduce(&mut self, peer: &Peer, hostname: &str) -> Result<(), SmtpError> {
        let line = xclient(peer, |name| self.extensions.xclient.contains(name));
        let Some(line) = line else {
            return Err(self.protocol("it does not offer XCLIENT to this machine"));
        };
        let reply = self.ask("XCLIENT", &line).await?;
        if reply.code().0 != 220 {
            return Err(self.answer("XCLIENT", reply));
        }
        self.hello(hostname).await
    }

    /// AUTH (RFC 4954).
    pub async fn login(&mut self, login: &BackendLogin) -> Result<(), SmtpError> {
        let (reply, token) = match &login.proof {
            Proof::Password(_) => (self.show_password(login).await?, None),
            Proof::Token(token) => self.show_token(&login.authcid, token).await?,
        };
        match reply.code() {
            code if code.is_positive() => Ok(()),
            // The server could not judge: that is not a refusal of the secret.
            code if code.is_transient() => Err(self.answer("AUTH", reply)),
            _ => Err(self.refused(&login.authcid, reply, token.map(Box::new))),
        }
    }

    /// By OAUTHBEARER (RFC 7628) or XOAUTH2. Before the server says no, it tells why in a
    /// challenge.
    async fn show_token(
        &mut self,
        user: &str,
        token: &SecretString,
    ) -> Result<(Reply, Option<TokenRefusal>), SmtpError> {
        let Some(mechanism) = self.extensions.for_tokens() else {
            return Err(self.protocol("it takes no tokens"));
        };
        // RFC 6750 §5.3: whoever reads it on its way has it. Within this machine nobody does.
        if !self.stream.is_private() {
            return Err(self.protocol("a token is not sent without TLS"));
        }
        let response = Zeroizing::new(BASE64.encode(mechanism.token(user, token).as_bytes()));
        let line = Zeroizing::new(format!("AUTH {} {}", mechanism.name(), *response));
        let reply = self.ask("AUTH", &line).await?;
        if reply.code().0 != 334 {
            return Ok((reply, None));
        }
        let told = BASE64.decode(reply.lines().concat()).map(|json| TokenRefusal::read(&json));
        let reply = self.ask("AUTH", &BASE64.encode(mechanism.after_refusal())).await?;
        Ok((reply, Some(told.unwrap_or_default())))
    }

    /// By PLAIN, or by LOGIN where the server has only that.
    async fn show_password(&mut self, login: &BackendLogin) -> Result<Reply, SmtpError> {
        let secret = login.proof.expose_secret();
        let authzid = login.authzid.as_deref().unwrap_or("");
        let offers = |name: &str| self.extensions.auth.contains(name);
        if offers("PLAIN") {
            let plain = Zeroizing::new(format!("{authzid}\0{}\0{secret}", login.authcid));
            let encoded = Zeroizing::new(BASE64.encode(plain.as_bytes()));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", *encoded));
            self.ask("AUTH", &line).await
        } else if offers("LOGIN") && login.authzid.is_none() {
            let mut reply = self.ask("AUTH", "AUTH LOGIN").await?;
            for answer in [login.authcid.as_str(), secret] {
                if reply.code().0 == 334 {
                    let encoded = Zeroizing::new(BASE64.encode(answer.as_bytes()));
                    reply = self.ask("AUTH", &encoded).await?;
                }
            }
            Ok(reply)
        } else {
            Err(self.protocol("it offers no AUTH that can be used; PLAIN is needed"))
        }
    }
}

async fn begin(
    server: &SmtpServer,
    hostname: &str,
    peer: Option<&Peer>,
    limits: &Limits,
) -> Result<SmtpConn, SmtpError> {
    let patience = limits.backend_connect_timeout;
    let fail = |source| unreachable(server, source);
    let proxied = peer.filter(|_| server.forward == Forward::Proxy);
    let header = proxied.map(|peer| proxy_header(peer.client, peer.connected));
    let reach = net::Reach::from(server);
    let stream = net::connect_with(&reach, header.as_deref(), patience).await.map_err(fail)?;
    let mut conn = SmtpConn::new(server, stream, limits);
    conn.greeted().await?;
    conn.hello(hostname).await?;
    if server.endpoint.security == Security::StartTls {
        conn.starttls().await?;
        let stream = conn.stream.upgrade(reach, patience).await.map_err(fail)?;
        // Nothing that was said in clear is left.
        let greeting = conn.greeting;
        conn = SmtpConn::new(server, stream, limits);
        conn.greeting = greeting;
        conn.hello(hostname).await?;
    }
    if let Some(peer) = peer.filter(|_| server.forward == Forward::Xclient) {
        conn.introduce(peer, hostname).await?;
    }
    Ok(conn)
}

fn unreachable(server: &SmtpServer, source: io::Error) -> SmtpError {
    // The socket's own error names the server again.
    let said = source.to_string();
    let named = format!("{server}: ");
    let source = match said.strip_prefix(&named) {
        Some(bare) => io::Error::new(source.kind(), bare.to_owned()),
        None => source,
    };
    SmtpError::Connect { server: server.to_string(), source }
}

/// `XCLIENT name=value…`, with what the server knows of this; `None` if it knows no ADDR.
fn xclient(peer: &Peer, offers: impl Fn(&str) -> bool) -> Option<String> {
    if !offers("ADDR") {
        return None;
    }
    let address = peer.client.ip().to_canonical();
    // The server would go on with the proxy's name beside the client's address.
    let name = if offers("NAME") { " NAME=[UNAVAILABLE]" } else { "" };
    let mut line = match address {
        IpAddr::V4(_) => format!("XCLIENT{name} ADDR={address}"),
        IpAddr::V6(_) => format!("XCLIENT{name} ADDR=IPV6:{address}"),
    };
    let rest = [
        ("PORT", peer.client.port().to_string()),
        ("HELO", xtext(&peer.helo)),
        ("PROTO", if peer.extended { "ESMTP" } else { "SMTP" }.to_owned()),
    ];
    for (name, value) in rest {
        if offers(name) {
            // Writing into a String never fails.
            let _ = write!(line, " {name}={value}");
        }
    }
    Some(line)
}

/// RFC 3461 §4.
fn xtext(text: &str) -> String {
    let mut coded = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            coded.push(char::from(octet));
        } else {
            let _ = write!(coded, "+{octet:02X}");
        }
    }
    coded
}

/// The PROXY protocol, version 1 (HAProxy's proxy-protocol.txt, §2.1).
fn proxy_header(client: SocketAddr, connected: SocketAddr) -> String {
    let (from, to) = (client.ip().to_canonical(), connected.ip().to_canonical());
    let ports = format!("{} {}", client.port(), connected.port());
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => format!("PROXY TCP4 {from} {to} {ports}\r\n"),
        (IpAddr::V6(_), IpAddr::V6(_)) => format!("PROXY TCP6 {from} {to} {ports}\r\n"),
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(client: &str, helo: &str) -> Peer {
        Peer {
            client: client.parse().unwrap(),
            connected: "192.0.2.25:25".parse().unwrap(),
            helo: helo.to_owned(),
            extended: true,
        }
    }

    #[test]
    fn a_server_is_told_what_it_knows_of() {
        let told = xclient(&peer("198.51.100.7:4711", "a+b c"), |_| true).unwrap();
        assert_eq!(
            told,
            "XCLIENT NAME=[UNAVAILABLE] ADDR=198.51.100.7 PORT=4711 HELO=a+2Bb+20c PROTO=ESMTP"
        );
        let told = xclient(&peer("[2001:db8::1]:25", "x"), |name| name == "ADDR").unwrap();
        assert_eq!(told, "XCLIENT ADDR=IPV6:2001:db8::1");
        assert_eq!(xclient(&peer("198.51.100.7:4711", "x"), |name| name == "NAME"), None);
    }

    #[test]
    fn proxy_headers() {
        let header =
            |client: &str| proxy_header(client.parse().unwrap(), "192.0.2.25:25".parse().unwrap());
        assert_eq!(header("198.51.100.7:4711"), "PROXY TCP4 198.51.100.7 192.0.2.25 4711 25\r\n");
        assert_eq!(
            header("[::ffff:198.51.100.7]:9"),
            "PROXY TCP4 198.51.100.7 192.0.2.25 9 25\r\n"
        );
        assert_eq!(header("[2001:db8::1]:9"), "PROXY UNKNOWN\r\n");
    }
}
