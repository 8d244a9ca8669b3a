//! A wire between the proxy and one server that a test can cut, stall or garble.
//!
//! A test gives it a rule, which sees every chunk that passes and says what becomes of it. It knows no IMAP.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Which way a chunk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the proxy to the server.
    ToServer,
    /// From the server to the proxy.
    ToProxy,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes on as it is.
    Pass,
    /// This goes on instead.
    Instead(Vec<u8>),
    /// This goes on instead, and the connection ends, on both ends.
    Cut(Vec<u8>),
    /// It waits until `release`, then goes on.
    Hold,
}

/// What a test decides, over a chunk of one of the connections.
trait Rule: FnMut(usize, Way, &[u8]) -> Fate + Send {}
impl<F: FnMut(usize, Way, &[u8]) -> Fate + Send> Rule for F {}

struct Shared {
    target: u16,
    rule: Mutex<Box<dyn Rule>>,
    held: Mutex<bool>,
    released: Condvar,
    over: AtomicBool,
}

/// A relay in front of one server.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

impl Relay {
    /// A relay that passes everything on to a port.
    pub fn start(target: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("address").port();
        let shared = Arc::new(Shared {
            target,
            rule: Mutex::new(Box::new(|_, _, _| Fate::Pass)),
            held: Mutex::new(true),
            released: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, from) in listener.incoming().enumerate() {
                if accepting.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(proxy) = from else { continue };
                // A server that is away is away through the relay as well.
                let Ok(server) = TcpStream::connect(("127.0.0.1", accepting.target)) else {
                    continue;
                };
                let ends = [(&proxy, &server, Way::ToServer), (&server, &proxy, Way::ToProxy)];
                for (from, to, way) in ends {
                    let (from, to) =
                        (from.try_clone().expect("clone"), to.try_clone().expect("clone"));
                    let shared = Arc::clone(&accepting);
                    thread::spawn(move || shared.carry(number, from, to, way));
                }
            }
        });
        Relay { port, shared }
    }

    /// From now on this rule decides. It is asked for one chunk at a time, over all connections.
    pub fn rule(&self, mut rule: impl FnMut(Way, &[u8]) -> Fate + Send + 'static) {
        self.rule_of_each(move |_, way, chunk| rule(way, chunk));
    }

    /// The same; connections are told apart by their numbers.
    pub fn rule_of_each(&self, rule: impl FnMut(usize, Way, &[u8]) -> Fate + Send + 'static) {
        *self.shared.held.lock().expect("held") = true;
        *self.shared.rule.lock().expect("rule") = Box::new(rule);
    }

    /// From now on everything passes; what was held goes on.
    pub fn release(&self) {
        self.rule(|_, _| Fate::Pass);
        *self.shared.held.lock().expect("held") = false;
        self.shared.released.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.release();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn carry(&self, number: usize, mut from: TcpStream, mut to: TcpStream, way: Way) {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            let octets = &chunk[..n];
            let fate = (self.rule.lock().expect("rule"))(number, way, octets);
            let done = match fate {
                Fate::Pass => to.write_all(octets),
                Fate::Instead(other) => to.write_all(&other),
                Fate::Cut(last) => {
                    let _ = to.write_all(&last);
                    break;
                }
                Fate::Hold => {
                    self.wait();
                    to.write_all(octets)
                }
            };
            if done.is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn wait(&self) {
        let mut held = self.held.lock().expect("held");
        while *held && !self.over.load(Ordering::Relaxed) {
            held = self.released.wait_timeout(held, Duration::from_secs(1)).expect("held").0;
        }
    }
}

/// Whether a chunk contains these octets.
pub fn has(chunk: &[u8], octets: &str) -> bool {
    memchr::memmem::find(chunk, octets.as_bytes()).is_some()
}
