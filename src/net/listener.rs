//! Receiving clients: binding, accepting, counting, and stopping.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Stream, connect};
use crate::config::{Limits, Listen};

/// An address on which clients are received.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    listen: Listen,
}

impl Listener {
    /// Binds the address; must be called inside the runtime.
    ///
    /// An IPv6 address receives IPv6 only, whatever the system's default, so that `0.0.0.0` and
    /// `[::]` of one port stand side by side.
    pub fn bind(listen: &Listen) -> io::Result<Listener> {
        let address = listen.address;
        let bind = || {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            // A restart must not wait until the last connections of the one before are forgotten.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket.into())
        };
        match bind() {
            Ok(tcp) => Ok(Listener { tcp, listen: listen.clone() }),
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
            }
        }
    }

    /// Where it listens: the port is a real one, also where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Receives clients on all listeners until `shutdown`, giving each to `handler` in a task of its
/// own on `sessions`.
///
/// The handler gets the plain TCP stream, the client's address, and the listener's setting. When
/// `shutdown` is cancelled the listeners are closed and this returns; running sessions go on: they
/// watch the same token themselves, and the caller awaits them by `sessions.close()` and
/// `sessions.wait()`. With `limits.sessions` running, nobody is accepted until one ends: clients
/// wait in the system's queue instead of being turned away.
pub async fn serve<H, F>(
    listeners: Vec<Listener>,
    limits: &Limits,
    shutdown: &CancellationToken,
    sessions: &TaskTracker,
    handler: H,
) where
    H: Fn(Stream, SocketAddr, &Listen) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let gate = Gate::new(limits);
    let loops = listeners.into_iter().map(async |listener| {
        let accepting = accept_all(&listener, &gate, sessions, &handler);
        shutdown.run_until_cancelled(accepting).await;
    });
    join_all(loops).await;
}

async fn accept_all<H, F>(listener: &Listener, gate: &Gate, sessions: &TaskTracker, handler: &H)
where
    H: Fn(Stream, SocketAddr, &Listen) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (tcp, peer) = accept(&listener.tcp).await;
        // Only now, with a client at hand: a listener that waits for one must not hold a place.
        let place = gate.enter().await;
        let Some(seat) = gate.seat(peer.ip()) else {
            tracing::info!(%peer, "refused: too many connections from this address");
            continue;
        };
        connect::tune(&tcp);
        let session = handler(Stream::Plain(tcp), peer, &listener.listen);
        sessions.spawn(async move {
            session.await;
            drop((place, seat));
        });
    }
}

/// Accepts one connection, however long that takes.
async fn accept(tcp: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match tcp.accept().await {
            Ok(accepted) => return accepted,
            // A client that left again before it was accepted is nobody's trouble.
            Err(error) if is_of_one_client(&error) => {}
            // Out of files or memory: accepting again at once would only burn the processor.
            Err(error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Counts clients, in all and by address.
struct Gate {
    places: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most_by_address: usize,
}

impl Gate {
    fn new(limits: &Limits) -> Gate {
        Gate {
            places: Arc::new(Semaphore::new(limits.sessions.min(Semaphore::MAX_PERMITS))),
            by_address: Arc::default(),
            most_by_address: match limits.sessions_per_address {
                0 => usize::MAX,
                most => most,
            },
        }
    }

    /// A place among all sessions, as soon as there is one. `None` never happens: nobody closes
    /// the semaphore, and if somebody did, clients are still served.
    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if self.places.available_permits() == 0 {
            tracing::warn!("limits.sessions reached; clients wait until a session ends");
        }
        self.places.clone().acquire_owned().await.ok()
    }

    /// A seat among the sessions from one address; `None` if they are all taken.
    fn seat(&self, address: IpAddr) -> Option<Seat> {
        let address = network(address);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_address.entry(address).or_default();
        if *taken >= self.most_by_address {
            return None;
        }
        *taken += 1;
        Some(Seat { by_address: self.by_address.clone(), address })
    }
}

/// What counts as one address: of IPv6 its first 64 bits, for a single customer has all the others.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// One session from one address; dropping it gives the seat back.
struct Seat {
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_address.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// When a server comes back, all its users' clients return in the same second.
const BACKLOG: i32 = 1024;

/// A first pause too short to be felt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Files come free as sessions end; a second more of waiting is still a good answer then.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_network_and_given_back() {
        let gate = Gate::new(&Limits { sessions_per_address: 1, ..Limits::default() });
        let seat = |address: &str| gate.seat(address.parse().unwrap());
        let (first, _other) = (seat("2001:db8::1").unwrap(), seat("192.0.2.1").unwrap());
        assert!(seat("2001:db8::2").is_none());
        assert!(seat("::ffff:192.0.2.1").is_none());
        assert!(seat("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(seat("2001:db8::2").is_some());
        assert_eq!(gate.by_address.lock().unwrap().len(), 1);
    }

    #[test]
    fn without_a_limit_of_its_own_an_address_has_seats_for_all() {
        let gate = Gate::new(&Limits { sessions_per_address: 0, ..Limits::default() });
        let address = "192.0.2.1".parse().unwrap();
        let seats: Vec<_> = (0..2_000).map_while(|_| gate.seat(address)).collect();
        assert_eq!(seats.len(), 2_000);
    }
}
