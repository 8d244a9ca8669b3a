//! A peer's compressed octets: no panic, no more than DEFLATE can make of them, and the same octets
//! wherever the network cuts them and however much is asked for at once.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mailferry::net::Deflated;
use tokio::io::{AsyncRead, ReadBuf};

/// RFC 1951 §3.2.5: a match of 258 octets takes two bits at the least.
const MOST: usize = 1032;

fuzz_target!(|input: &[u8]| {
    let Some((&[step, room], wire)) = input.split_first_chunk() else { return };
    let cut = read(wire, usize::from(step).max(1), usize::from(room).max(1));
    let uncut = read(wire, wire.len().max(1), 64 << 10);
    assert!(uncut.0.len() <= wire.len() * MOST);
    assert_eq!(cut.1, uncut.1);
    // What lies right before garbage may be dropped with it.
    let both = cut.0.len().min(uncut.0.len());
    assert_eq!(cut.0[..both], uncut.0[..both]);
    assert!(uncut.1 || cut.0.len() == uncut.0.len());
});

/// What is read, and whether the end was an error.
fn read(wire: &[u8], step: usize, room: usize) -> (Vec<u8>, bool) {
    let mut deflated = Deflated::new(Cut { wire, step }, &[]);
    let mut context = Context::from_waker(Waker::noop());
    let (mut all, mut octets) = (Vec::new(), vec![0; room]);
    loop {
        let mut buf = ReadBuf::new(&mut octets);
        match Pin::new(&mut deflated).poll_read(&mut context, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return (all, false),
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            Poll::Ready(Err(_)) => return (all, true),
            Poll::Pending => unreachable!("there is always something or the end"),
        }
    }
}

/// A wire that gives so many octets at once.
struct Cut<'a> {
    wire: &'a [u8],
    step: usize,
}

impl AsyncRead for Cut<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.wire.split_at(self.step.min(buf.remaining()).min(self.wire.len()));
        buf.put_slice(now);
        self.wire = later;
        Poll::Ready(Ok(()))
    }
}
