//! `Deflated`: a connection that is compressed both ways (RFC 4978), as raw DEFLATE (RFC 1951).
//!
//! Written with flate2 itself instead of an adapter around a stream, because both directions
//! belong to one connection here, because reading must never wait for octets while some can
//! already be given out, and because what an idle connection holds must be small. flate2's backend
//! is the one in safe Rust: what comes in is chosen by strangers.
//!
//! Nothing grows with what the peer sends: input is read a chunk at a time, and is inflated into
//! the room that the reader has, so that a tiny stream which expands a thousandfold only ever waits
//! in its socket.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

/// A stream `S` that carries raw DEFLATE in both directions.
///
/// What is written stays here until [`flush`](tokio::io::AsyncWriteExt::flush), which ends with a
/// sync flush: the peer can then read all of it.
#[derive(Debug)]
pub struct Deflated<S> {
    inner: S,
    inflate: Decompress,
    /// What was read and is not inflated yet, from `taken` on.
    raw: Vec<u8>,
    taken: usize,
    /// The last octets that were inflated.
    fed: [u8; SYNC.len()],
    /// The peer ended its stream; what follows is not looked at.
    ended: bool,
    /// Made when there is something to write, given back by [`rest`](Self::rest).
    deflate: Option<Compress>,
    /// Something was written since the last sync flush.
    unflushed: bool,
    /// What is compressed and not sent yet, from `sent` on.
    out: Vec<u8>,
    sent: usize,
}

impl<S> Deflated<S> {
    /// Compresses from now on; `raw` is what was read of the peer's compressed stream already.
    pub fn new(inner: S, raw: &[u8]) -> Deflated<S> {
        Deflated {
            inner,
            inflate: Decompress::new(false),
            raw: raw.to_vec(),
            taken: 0,
            fed: [0; SYNC.len()],
            ended: false,
            deflate: None,
            unflushed: false,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Gives back what only a busy connection needs: after a sync flush the next block may begin
    /// without a memory of those before. What stays is the window of what was read (RFC 1951
    /// §2: the peer may refer to 32 KiB of it), some 45 KiB with its tables.
    pub fn rest(&mut self) {
        if !self.unflushed && self.sent == self.out.len() {
            self.deflate = None;
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    /// Inflates into `buf` what can be, not beyond a sync flush. Returns whether that was anything.
    fn inflate_into(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buf.initialize_unfilled_to(buf.remaining().min(CHUNK));
        let raw = &self.raw[self.taken..];
        let raw = &raw[..sync_end(&self.fed, raw).unwrap_or(raw.len())];
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(raw, room, FlushDecompress::None)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
        let written = usize::try_from(self.inflate.total_out() - written).unwrap_or(usize::MAX);
        self.ended = status == Status::StreamEnd;
        if read == 0 && written == 0 && !raw.is_empty() && !self.ended {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "nothing can be inflated"));
        }
        for octet in &raw[read.saturating_sub(SYNC.len())..read] {
            self.fed.rotate_left(1);
            self.fed[SYNC.len() - 1] = *octet;
        }
        self.taken += read;
        buf.advance(written);
        if self.taken >= self.raw.len() {
            self.raw = Vec::new();
            self.taken = 0;
        }
        Ok(written > 0)
    }

    /// Compresses some of `octets`; returns how many.
    fn deflate_some(&mut self, octets: &[u8]) -> io::Result<usize> {
        let deflate = self.deflate.get_or_insert_with(|| Compress::new(LEVEL, false));
        loop {
            self.out.reserve(octets.len() + ROOM);
            let before = deflate.total_in();
            deflate
                .compress_vec(octets, &mut self.out, FlushCompress::None)
                .map_err(io::Error::other)?;
            let taken = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
            if taken > 0 {
                self.unflushed = true;
                return Ok(taken);
            }
        }
    }

    /// Puts a sync flush behind what was compressed.
    fn sync(&mut self) -> io::Result<()> {
        let Some(deflate) = self.deflate.as_mut().filter(|_| self.unflushed) else {
            return Ok(());
        };
        loop {
            self.out.reserve(ROOM);
            deflate
                .compress_vec(&[], &mut self.out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // Room that was left says that nothing was held back for want of it.
            if self.out.len() < self.out.capacity() {
                self.unflushed = false;
                return Ok(());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Deflated<S> {
    /// Reads a chunk of the compressed stream; 0 at its end.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
        self.raw.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// Ends compression between two units that both peers know: the peer's next octet in clear
    /// stands behind the sync flush of its last unit, which may still be on its way. Returns the
    /// stream below, and what was read of it already. What was written must have been flushed.
    pub async fn into_clear(mut self) -> io::Result<(S, Vec<u8>)> {
        let mut octet = [0];
        while self.fed != SYNC {
            if self.raw.is_empty() && poll_fn(|cx| self.poll_raw(cx)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.inflate_into(&mut ReadBuf::new(&mut octet))? || self.ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a flush was expected"));
            }
        }
        self.raw.drain(..self.taken);
        Ok((self.inner, self.raw))
    }
}

impl<S: AsyncWrite + Unpin> Deflated<S> {
    /// Sends what is compressed.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let rest = &self.out[self.sent..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deflated<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Inflating waits for nothing: without this, one peer could keep a thread to itself.
        let turn = ready!(poll_proceed(cx));
        loop {
            // Whatever can be given out is, before anything is waited for.
            if !this.ended && this.inflate_into(buf)? {
                turn.made_progress();
                return Poll::Ready(Ok(()));
            }
            if this.ended || (this.raw.is_empty() && ready!(this.poll_raw(cx))? == 0) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deflated<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.out.len() >= SEND_AT {
            ready!(this.poll_out(cx))?;
        }
        Poll::Ready(this.deflate_some(&buf[..buf.len().min(CHUNK)]))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.sync()?;
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.sync()?;
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Behind how many octets of `raw` a sync flush ends, if one does; `fed` came before them.
fn sync_end(fed: &[u8], raw: &[u8]) -> Option<usize> {
    let begun = |n: &usize| fed.ends_with(&SYNC[..*n]) && raw.starts_with(&SYNC[*n..]);
    let begun = (1..SYNC.len()).rev().find(begun).map(|n| SYNC.len() - n);
    begun.or_else(|| memmem::find(raw, &SYNC).map(|at| at + SYNC.len()))
}

/// How a sync flush ends: the length of an empty stored block (RFC 1951 §3.2.4).
const SYNC: [u8; 4] = [0, 0, 0xff, 0xff];

/// Mail is text and half of it base64: higher levels cost several times as much for a few percent.
const LEVEL: Compression = Compression::fast();

/// How much is read, inflated or compressed at once: what TLS gives in a record.
const CHUNK: usize = 16 << 10;

/// Room for what the compressor holds back, asked for beside that of its input.
const ROOM: usize = 4 << 10;

/// Compressed octets are sent when so many have gathered, or at a flush.
const SEND_AT: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::DeflateEncoder;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// All that the peer can read up to now.
    fn heard(peer: &mut Deflated<DuplexStream>) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 7];
        while let Some(read) = peer.read(&mut chunk).now_or_never() {
            all.extend_from_slice(&chunk[..read.unwrap()]);
        }
        all
    }

    #[test]
    fn what_is_flushed_can_be_read_and_the_rest_waits() {
        run(async {
            let (here, there) = duplex(1 << 20);
            let (mut here, mut there) = (Deflated::new(here, &[]), Deflated::new(there, &[]));
            here.write_all(b"* OK first\r\n").await.unwrap();
            assert_eq!(heard(&mut there), b"");
            here.flush().await.unwrap();
            assert_eq!(heard(&mut there), b"* OK first\r\n");
            here.rest();
            assert!(here.deflate.is_none());
            here.write_all(b"* OK first and second\r\n").await.unwrap();
            here.rest();
            here.flush().await.unwrap();
            assert_eq!(heard(&mut there), b"* OK first and second\r\n");
            // A flush of nothing is nothing.
            here.flush().await.unwrap();
            let (inner, mut chunk) = (&mut there.inner, [0; 1]);
            assert!(inner.read(&mut chunk).now_or_never().is_none());
        });
    }

    #[test]
    fn what_arrives_octet_by_octet_is_given_out_as_soon_as_it_can_be() {
        run(async {
            let (mut raw, there) = duplex(1 << 20);
            let mut there = Deflated::new(there, &[]);
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(b"a NOOP\r\n").unwrap();
            encoder.flush().unwrap();
            let mut told = Vec::new();
            for octet in encoder.get_ref() {
                raw.write_all(&[*octet]).await.unwrap();
                told.extend(heard(&mut there));
            }
            assert_eq!(told, b"a NOOP\r\n");
            drop(raw);
            assert_eq!(there.read(&mut [0; 8]).await.unwrap(), 0);
        });
    }

    #[test]
    fn the_end_of_the_peers_stream_is_the_end() {
        run(async {
            let (mut raw, there) = duplex(1 << 20);
            let mut there = Deflated::new(there, &[]);
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(b"a LOGOUT\r\n").unwrap();
            raw.write_all(&encoder.finish().unwrap()).await.unwrap();
            raw.write_all(b"more").await.unwrap();
            let mut all = Vec::new();
            there.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"a LOGOUT\r\n");
        });
    }

    #[test]
    fn what_stands_in_clear_behind_the_last_flush_is_kept() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(b"a UNAUTHENTICATE\r\n").unwrap();
        encoder.flush().unwrap();
        let wire = [encoder.get_ref(), &b"b NOOP\r\n"[..]].concat();
        // However much of it comes first.
        for first in 1..=wire.len() {
            run(async {
                let (mut raw, there) = duplex(1 << 10);
                let mut there = Deflated::new(there, &[]);
                raw.write_all(&wire[..first]).await.unwrap();
                // As a reader of lines does, which asks for no more than it needs.
                let (mut told, mut chunk) = (Vec::new(), [0; 100]);
                if let Some(read) = there.read(&mut chunk).now_or_never() {
                    told.extend_from_slice(&chunk[..read.unwrap()]);
                }
                raw.write_all(&wire[first..]).await.unwrap();
                while !told.ends_with(b"\n") {
                    let read = there.read(&mut chunk).await.unwrap();
                    told.extend_from_slice(&chunk[..read]);
                }
                assert_eq!(told, b"a UNAUTHENTICATE\r\n");
                let (mut inner, mut clear) = there.into_clear().await.unwrap();
                drop(raw);
                inner.read_to_end(&mut clear).await.unwrap();
                assert_eq!(clear, b"b NOOP\r\n");
            });
        }
    }

    #[test]
    fn a_bomb_waits_in_its_socket() {
        run(async {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            let zeros = vec![0; 1 << 20];
            for _ in 0..64 {
                encoder.write_all(&zeros).unwrap();
            }
            encoder.flush().unwrap();
            let bomb = encoder.get_ref().clone();
            assert!(bomb.len() < 70_000, "{}", bomb.len());
            let (mut raw, there) = duplex(1 << 20);
            raw.write_all(&bomb).await.unwrap();
            drop(raw);
            let mut there = Deflated::new(there, &[]);
            let (mut all, mut chunk) = (0, vec![0; 100_000]);
            loop {
                let read = there.read(&mut chunk).await.unwrap();
                assert!(read <= CHUNK && there.raw.capacity() <= 2 * CHUNK);
                match read {
                    0 => break,
                    n => all += n,
                }
            }
            assert_eq!(all, 64 << 20);
        });
    }

    #[test]
    fn a_peer_that_does_not_read_stops_the_writer() {
        run(async {
            let (here, _there) = duplex(1 << 10);
            let mut here = Deflated::new(here, &[]);
            // Octets that cannot be compressed.
            let mut next = 1_u32;
            let mut noise = || {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (next >> 24) as u8
            };
            let mut taken = 0;
            loop {
                let chunk: Vec<u8> = (0..CHUNK).map(|_| noise()).collect();
                match here.write(&chunk).now_or_never() {
                    Some(n) => taken += n.unwrap(),
                    None => break,
                }
                assert!(taken < 1 << 20, "it takes and takes");
            }
            assert!(here.out.capacity() < 512 << 10, "{}", here.out.capacity());
        });
    }

    /// What one end does.
    #[derive(Clone, Debug)]
    enum Act {
        Write(Vec<u8>),
        Flush,
        Rest,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let octets = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            ("[a-c]{0,4}", 0_usize..20_000).prop_map(|(word, n)| word.repeat(n).into_bytes()),
        ];
        let act = prop_oneof![
            4 => octets.prop_map(Act::Write),
            2 => Just(Act::Flush),
            1 => Just(Act::Rest),
        ];
        proptest::collection::vec(act, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(acts in acts(), pipe in 1_usize..5000, window in 1_usize..9000) {
            run(async {
                let (here, there) = duplex(pipe);
                let writing = async {
                    let mut here = Deflated::new(here, &[]);
                    let mut all = Vec::new();
                    for act in &acts {
                        match act {
                            Act::Write(octets) => {
                                here.write_all(octets).await.unwrap();
                                all.extend_from_slice(octets);
                            }
                            Act::Flush => here.flush().await.unwrap(),
                            Act::Rest => here.rest(),
                        }
                    }
                    here.shutdown().await.unwrap();
                    all
                };
                let reading = async {
                    let mut there = Deflated::new(there, &[]);
                    let (mut all, mut chunk) = (Vec::new(), vec![0; window]);
                    loop {
                        match there.read(&mut chunk).await.unwrap() {
                            0 => break all,
                            n => all.extend_from_slice(&chunk[..n]),
                        }
                    }
                };
                let (written, read) = tokio::join!(writing, reading);
                assert!(written == read);
            });
        }

        #[test]
        fn garbage_is_an_error_or_octets(garbage in proptest::collection::vec(any::<u8>(), 0..2000)) {
            run(async {
                let (mut raw, there) = duplex(4096);
                raw.write_all(&garbage).await.unwrap();
                drop(raw);
                let mut there = Deflated::new(there, &[]);
                let mut chunk = [0; 64];
                let mut all = 0;
                while let Ok(n @ 1..) = there.read(&mut chunk).await {
                    all += n;
                    // DEFLATE makes at most 1,032 octets of one.
                    assert!(all <= garbage.len() * 1032);
                }
            });
        }
    }

    #[test]
    fn a_flush_waits_for_the_peer() {
        run(async {
            let (here, mut raw) = duplex(4);
            let mut here = Deflated::new(here, &[]);
            here.write_all(b"a line that is longer than the pipe\r\n").await.unwrap();
            let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut here).poll_flush(cx).is_ready()));
            assert!(!flushed.await);
            let reading = async {
                let mut all = Vec::new();
                while !all.ends_with(&[0, 0, 255, 255]) {
                    all.push(raw.read_u8().await.unwrap());
                }
            };
            let (flushed, ()) = tokio::join!(here.flush(), reading);
            flushed.unwrap();
        });
    }
}
