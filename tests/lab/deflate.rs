//! The client's half of a compressed connection (RFC 4978).

use std::io::{Read, Result, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::client::Wire;

/// Raw DEFLATE both ways over another wire.
pub(super) struct Deflated {
    wire: Box<dyn Wire>,
    inflate: Decompress,
    raw: Vec<u8>,
    deflate: Compress,
    out: Vec<u8>,
    at_once: usize,
}

impl Deflated {
    /// Compresses as well as it can.
    pub(super) fn new(wire: Box<dyn Wire>) -> Deflated {
        Deflated {
            wire,
            inflate: Decompress::new(false),
            raw: Vec::new(),
            deflate: Compress::new(Compression::best(), false),
            out: Vec::new(),
            at_once: usize::MAX,
        }
    }

    /// Sends every compressed octet on its own.
    pub(super) fn octet_by_octet(wire: Box<dyn Wire>) -> Deflated {
        Deflated { at_once: 1, ..Deflated::new(wire) }
    }

    fn compress(&mut self, octets: &[u8], flush: FlushCompress) -> Result<()> {
        let before = self.deflate.total_in();
        loop {
            let done = (self.deflate.total_in() - before) as usize;
            self.out.reserve(octets.len() - done + 1024);
            self.deflate.compress_vec(&octets[done..], &mut self.out, flush)?;
            let done = (self.deflate.total_in() - before) as usize;
            if done == octets.len() && self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }
}

impl Read for Deflated {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            self.inflate.decompress(&self.raw, room, FlushDecompress::None)?;
            self.raw.drain(..(self.inflate.total_in() - taken) as usize);
            let given = (self.inflate.total_out() - given) as usize;
            if given > 0 {
                return Ok(given);
            }
            let mut chunk = [0; 16 * 1024];
            match self.wire.read(&mut chunk)? {
                0 => return Ok(0),
                n => self.raw.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

impl Write for Deflated {
    fn write(&mut self, octets: &[u8]) -> Result<usize> {
        self.compress(octets, FlushCompress::None)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.compress(&[], FlushCompress::Sync)?;
        let out = std::mem::take(&mut self.out);
        for some in out.chunks(self.at_once.min(out.len().max(1))) {
            self.wire.write_all(some)?;
            self.wire.flush()?;
        }
        Ok(())
    }
}
