//! The receiving end of the admin socket: who may speak, how many, and how long.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use super::wire::{LONGEST_REQUEST, Refusal, Reply, Request, line, send};
use super::{Admin, commands};

/// Commands at once; more wait in the system's queue.
const COMMANDS: usize = 16;
/// From connecting to the end of the request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// After an accept that failed: out of files, most likely.
const PAUSE: Duration = Duration::from_millis(200);

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the admin socket {}: {source}", .path.display())]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// The admin socket, bound. Its file goes when this is dropped.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Door {
    /// Binds the socket, for this user alone. One that an earlier life of the proxy left is
    /// replaced, one on which somebody listens is not. Inside the runtime only.
    pub fn bind(path: &Path) -> Result<Door, SocketError> {
        let refuse = |source| SocketError { path: path.to_owned(), source };
        remove_stale(path).map_err(refuse)?;
        let bind = || {
            let listener = UnixListener::bind(path)?;
            // Between these two lines others may connect, where the umask lets them; each one's user
            // is looked at all the same.
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok((listener, fs::metadata(path)?.uid()))
        };
        let (listener, owner) = bind().map_err(refuse)?;
        Ok(Door { listener, path: path.to_owned(), owner })
    }

    /// Receives commands until `shutdown`; those that run then are dropped.
    pub async fn receive(self, admin: Arc<Admin>, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(COMMANDS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = shutdown.run_until_cancelled(self.listener.accept()).await;
            let stream = match accepted {
                None => return,
                Some(Ok((stream, _))) => stream,
                Some(Err(e)) => {
                    warn!("the admin socket cannot accept: {e}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let uid = match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.owner || peer.uid() == 0 => peer.uid(),
                Ok(peer) => {
                    warn!(uid = peer.uid(), "refused on the admin socket: another user");
                    continue;
                }
                Err(e) => {
                    warn!("refused on the admin socket: {e}");
                    continue;
                }
            };
            let (admin, shutdown) = (Arc::clone(&admin), shutdown.clone());
            let serve = async move {
                let (input, mut out) = stream.into_split();
                shutdown.run_until_cancelled(serve(input, &mut out, &admin)).await;
                drop(place);
            };
            tokio::spawn(serve.instrument(info_span!("admin", uid)));
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path) {
            debug!("the admin socket's file stays: {e}");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::other("there is something else of that name")),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("another proxy listens on it")),
        Err(_) => fs::remove_file(path),
    }
}

/// One client: its request in, its answer out.
pub(super) async fn serve(
    input: impl AsyncRead + Unpin,
    out: &mut (impl AsyncWrite + Unpin + Send),
    admin: &Admin,
) {
    let mut input = BufReader::new(input);
    let request = match timeout(REQUEST_TIME, line(&mut input, LONGEST_REQUEST)).await {
        Ok(Ok(Some(line))) => serde_json::from_slice::<Request<Value>>(&line),
        Ok(Ok(None)) => return,
        Ok(Err(e)) => return refuse(out, Refusal::usage(format!("the request: {e}"))).await,
        Err(_) => return debug!("no request came"),
    };
    let Request { command, arguments } = match request {
        Ok(request) => request,
        Err(e) => return refuse(out, Refusal::usage(format!("no request: {e}"))).await,
    };
    tokio::select! {
        () = commands::dispatch(admin, &command, arguments, out) => {}
        () = gone(&mut input) => debug!(command, "whoever asked is gone"),
    }
}

/// Returns when the client has closed its end, or says what it should not.
async fn gone(input: &mut (impl AsyncReadExt + Unpin)) {
    // Whatever comes or fails, it is not a client that waits for its answer.
    drop(input.read_u8().await);
}

async fn refuse(out: &mut (impl AsyncWrite + Unpin), refusal: Refusal) {
    if let Err(e) = send(out, &Reply::<(), ()>::Refused(refusal)).await {
        debug!("whoever asked is gone: {e}");
    }
}
