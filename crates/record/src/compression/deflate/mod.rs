//! Deflate (RFC 1951), for gzip at its default level: in half the time of what libdeflate takes for about as few bytes.
//!
//! [`search`] finds repetitions, [`block`] writes them down with codes by [`huffman`]. What comes out depends on the input alone.

mod bits;
mod block;
mod huffman;
mod search;

use bits::BitWriter;
use search::{Search, Sequence, Tables};

/// Memory for one input after another.
pub(super) struct Deflater {
    tables: Tables,
    sequences: Vec<Sequence>,
}

impl Deflater {
    pub(super) fn new() -> Deflater {
        Deflater { tables: Tables::new(), sequences: Vec::new() }
    }

    /// Appends `input`, compressed, to `out`.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut writer = BitWriter::new(out);
        let mut search = Search::new(input, &mut self.tables);
        loop {
            let described = search.next_block(&mut self.sequences);
            let is_last = search.is_done();
            block::write(&mut writer, described, &self.sequences, is_last);
            if is_last {
                break;
            }
        }
        writer.finish();
    }
}

#[cfg(test)]
mod tests;
