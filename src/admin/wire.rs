//! The protocol on the admin socket: lines of JSON.
//!
//! ```json
//! {"command":"kick","arguments":{"account":"ann@example.com"}}
//! {"done":{"account":"ann@example.com","sessions":2}}
//! ```
//!
//! One request a connection; `{"progress":…}` lines may come before the last one, which is
//! `{"done":…}` or `{"refused":{"error":…,"next":…,"usage":…}}`.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Admin;
use crate::base::{ExposeSecret, SecretString};
use crate::index::IndexError;

/// The longest request: a wave of some fifty thousand accounts.
pub(super) const LONGEST_REQUEST: u64 = 8 << 20;
/// The longest line of an answer.
pub(super) const LONGEST_REPLY: u64 = 64 << 20;
/// How long a client may take for taking one line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command of the administrator: the type is its arguments.
pub trait Command: Serialize + DeserializeOwned + Send {
    /// Its name on the wire.
    const NAME: &'static str;
    /// What is told while it runs.
    type Progress: Serialize + DeserializeOwned + Send;
    /// What is told when it is done.
    type Done: Serialize + DeserializeOwned + Send;

    /// What the audit log says of it, beside its name; `None` where it only looks.
    fn noted(&self) -> Option<String>;

    /// Does it. Dropped where the client goes away: what must not stop half-way is spawned.
    fn run(
        self,
        admin: &Admin,
        teller: &mut Teller<'_, Self::Progress>,
    ) -> impl Future<Output = Result<Self::Done, Refusal>> + Send;
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// What was tried, and what stood against it.
    pub error: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether it was asked for wrongly, so that trying again is of no use.
    #[serde(default)]
    pub usage: bool,
}

impl Refusal {
    /// It was tried and failed.
    pub fn failed(error: impl fmt::Display) -> Refusal {
        Refusal { error: error.to_string(), next: None, usage: false }
    }

    /// It was asked for wrongly.
    pub fn usage(error: impl fmt::Display) -> Refusal {
        Refusal { usage: true, ..Refusal::failed(error) }
    }

    /// Adds what to do next.
    pub fn next(self, next: impl Into<String>) -> Refusal {
        Refusal { next: Some(next.into()), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Refusal {}

impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Refusal {
        Refusal::failed(format!("index: {error}"))
    }
}

/// A password on its way to the proxy; never shown.
#[derive(Clone, Debug)]
pub struct Password(pub SecretString);

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
        String::deserialize(from).map(|text| Password(SecretString::from(text)))
    }
}

/// The client does not take what it is told.
#[derive(Debug, thiserror::Error)]
#[error("whoever asked is gone")]
pub struct Gone;

impl From<Gone> for Refusal {
    fn from(gone: Gone) -> Refusal {
        Refusal::failed(gone)
    }
}

/// Tells how a command goes.
pub struct Teller<'a, P> {
    out: &'a mut (dyn AsyncWrite + Unpin + Send),
    progress: PhantomData<fn(P)>,
}

impl<'a, P: Serialize> Teller<'a, P> {
    pub(super) fn new(out: &'a mut (dyn AsyncWrite + Unpin + Send)) -> Teller<'a, P> {
        Teller { out, progress: PhantomData }
    }

    /// Tells the client, who may take its time for it, but not for ever.
    pub async fn tell(&mut self, progress: P) -> Result<(), Gone> {
        send(self.out, &Reply::<P, ()>::Progress(progress)).await.map_err(|_| Gone)
    }
}

/// What a client sends. Generic over the arguments, which are read when the command is known.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request<A> {
    pub command: String,
    pub arguments: A,
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply<P, D> {
    Progress(P),
    Done(D),
    Refused(Refusal),
}

/// Sends one line.
pub(super) async fn send(
    out: &mut (impl AsyncWrite + Unpin + ?Sized),
    line: &impl Serialize,
) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let write = async {
        out.write_all(&text).await?;
        out.flush().await
    };
    timeout(PATIENCE, write).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

/// Reads one line of at most `longest` octets, without its end; `None` at the end of all.
pub(super) async fn line(
    input: &mut (impl AsyncBufReadExt + Unpin),
    longest: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(longest).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 + 1 >= longest => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {longest} octets")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
