//! Snappy as Java's `SnappyOutputStream` frames it ("xerial": a header, then blocks with their length in front) is
//! written; the bare snappy format, which some other clients send, is read too.

use snap::raw;

use super::pool::{Pool, Pooled};
use super::{DecodeError, scratch, split};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Version and lowest compatible version, both 1.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
const HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 32 * 1024;
/// A snappy element of 3 bytes yields 64, and none has a better ratio.
const EXPANSION_MAX: usize = 22;

thread_local! {
    static ENCODERS: Pool<raw::Encoder> = const { Pool::new(Vec::new()) };
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut encoder = Pooled::take(&ENCODERS, raw::Encoder::new);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSIONS);
    for block in input.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + raw::max_compress_len(block.len()), 0);
        let (length, body) = out.get_mut(start..).unwrap_or_default().split_at_mut(4);
        let len = encoder.get().compress(block, body).map_err(|error| error.to_string())?;
        length.copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(start + 4 + len);
    }
    Ok(())
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    framed: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(mut input: &'a [u8]) -> Result<Decoder<'a>, DecodeError> {
        let framed = input.len() >= HEADER_BYTES && input.starts_with(MAGIC);
        if framed {
            skip_header(&mut input)?;
        }
        Ok(Decoder { input, framed })
    }

    /// `left`: how many bytes may still come out.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, left: usize) -> Result<usize, DecodeError> {
        while !self.input.is_empty() {
            let block = if self.framed { self.next_block()? } else { std::mem::take(&mut self.input) };
            let len = expand(block, out, left)?;
            if len > 0 {
                return Ok(len);
            }
        }
        Ok(0)
    }

    fn next_block(&mut self) -> Result<&'a [u8], DecodeError> {
        // Streams may follow one another.
        while self.input.starts_with(MAGIC) {
            skip_header(&mut self.input)?;
        }
        if self.input.is_empty() {
            return Err("ends after a header".into());
        }
        let length = *split(&mut self.input, 4)?.first_chunk::<4>().unwrap_or(&[0; 4]);
        split(&mut self.input, u32::from_be_bytes(length) as usize)
    }
}

fn skip_header(input: &mut &[u8]) -> Result<(), DecodeError> {
    let header = split(input, HEADER_BYTES)?;
    // Like Java, look only at the version, not at the oldest one that the writer says it is compatible with.
    let version = header.get(MAGIC.len()..).and_then(|versions| versions.first_chunk::<4>());
    match version.map(|version| i32::from_be_bytes(*version)) {
        Some(1..) => Ok(()),
        _ => Err("unsupported version of the framing".into()),
    }
}

fn expand(block: &[u8], out: &mut Vec<u8>, left: usize) -> Result<usize, DecodeError> {
    let corrupt = |error: snap::Error| DecodeError::Corrupt(error.to_string());
    let len = raw::decompress_len(block).map_err(corrupt)?;
    if len > block.len() * EXPANSION_MAX {
        return Err("block claims more than it can hold".into());
    }
    if len > left {
        return Err(DecodeError::TooLarge);
    }
    raw::Decoder::new().decompress(block, scratch(out, len)).map_err(corrupt)
}
