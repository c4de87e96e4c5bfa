//! Decompressed bytes, chunk by chunk, up to a bound.

use super::pool::{Pool, Pooled};
use super::{Codec, DecodeError, gzip, lz4, snappy, zstd};
use crate::error::RecordError;

/// A buffer that grew beyond this (by a large snappy block) isn't kept for the next stream.
const KEPT_BUFFER_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static BUFFERS: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
}

/// The decompressed form of a batch's records. At any time one chunk of it is in memory: 64 KiB for gzip and zstd, a
/// block for the others (as large as its header says, which the bound and the compressed size limit).
pub(crate) struct DecompressedStream<'a> {
    codec: Codec,
    decoder: Decoder<'a>,
    chunk: Pooled<Vec<u8>>,
    position: usize,
    end: usize,
    produced: usize,
    bytes_max: usize,
}

enum Decoder<'a> {
    None(&'a [u8]),
    Gzip(gzip::Decoder<'a>),
    Snappy(snappy::Decoder<'a>),
    Lz4(lz4::Decoder<'a>),
    Zstd(zstd::Decoder<'a>),
}

impl<'a> DecompressedStream<'a> {
    /// `legacy`: tolerate the wrong header checksum of lz4 frames in messages of magic 0 and 1 (KIP-57).
    pub(crate) fn open(
        codec: Codec,
        input: &'a [u8],
        bytes_max: usize,
        legacy: bool,
    ) -> Result<DecompressedStream<'a>, RecordError> {
        let decoder = match codec {
            Codec::None => Ok(Decoder::None(input)),
            Codec::Gzip => Ok(Decoder::Gzip(gzip::Decoder::new(input))),
            Codec::Snappy => snappy::Decoder::new(input).map(Decoder::Snappy),
            Codec::Lz4 => lz4::Decoder::new(input, legacy).map(Decoder::Lz4),
            Codec::Zstd => zstd::Decoder::new(input).map(Decoder::Zstd),
        };
        let decoder = decoder.map_err(|e| error(codec, bytes_max, e))?;
        let chunk = Pooled::take(&BUFFERS, Vec::new);
        Ok(DecompressedStream { codec, decoder, chunk, position: 0, end: 0, produced: 0, bytes_max })
    }

    /// Decompressed and not yet consumed.
    pub(crate) fn available(&self) -> &[u8] {
        self.chunk.peek().and_then(|chunk| chunk.get(self.position..self.end)).unwrap_or_default()
    }

    /// `len` must not exceed what is available.
    pub(crate) fn consume(&mut self, len: usize) {
        self.position = (self.position + len).min(self.end);
    }

    /// Consumes `len` bytes, which must be available, and returns them.
    pub(crate) fn take(&mut self, len: usize) -> &[u8] {
        let start = self.position;
        self.consume(len);
        self.chunk.peek().and_then(|chunk| chunk.get(start..self.position)).unwrap_or_default()
    }

    /// Makes bytes available if none are; false at the end of the stream.
    pub(crate) fn refill(&mut self) -> Result<bool, RecordError> {
        if self.position < self.end {
            return Ok(true);
        }
        let left = self.bytes_max - self.produced;
        let chunk = self.chunk.get();
        let filled = match &mut self.decoder {
            Decoder::None(input) => {
                chunk.clear();
                chunk.extend_from_slice(std::mem::take(input));
                Ok(chunk.len())
            }
            Decoder::Gzip(decoder) => decoder.fill(chunk),
            Decoder::Snappy(decoder) => decoder.fill(chunk, left),
            Decoder::Lz4(decoder) => decoder.fill(chunk),
            Decoder::Zstd(decoder) => decoder.fill(chunk),
        };
        let len = filled.and_then(|len| if len > left { Err(DecodeError::TooLarge) } else { Ok(len) });
        let len = len.map_err(|e| error(self.codec, self.bytes_max, e))?;
        (self.position, self.end) = (0, len);
        self.produced += len;
        Ok(len > 0)
    }
}

impl Drop for DecompressedStream<'_> {
    fn drop(&mut self) {
        if self.chunk.get().capacity() > KEPT_BUFFER_BYTES_MAX {
            self.chunk.discard();
        }
    }
}

fn error(codec: Codec, bytes_max: usize, error: DecodeError) -> RecordError {
    match error {
        DecodeError::Corrupt(reason) => RecordError::Decompression { codec: codec.name(), reason },
        DecodeError::TooLarge => RecordError::DecompressedSizeAboveLimit { limit: bytes_max },
    }
}
