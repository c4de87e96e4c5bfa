//! Lz4 frames as Kafka uses them: independent blocks, written without checksums; block checksums are checked when
//! they are there.

use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};
use twox_hash::XxHash32;

use super::{DecodeError, scratch, split};

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
const VERSION: u8 = 0x40;
const VERSION_MASK: u8 = 0xc0;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED: u8 = 0x03;
const BLOCKS_OF_64_KIB: u8 = 0x40;
const BLOCK_BYTES: usize = 64 * 1024;
const UNCOMPRESSED: u32 = 0x8000_0000;

/// The level that means the fast compressor; every other one means "high compression" at that level (KIP-390).
const FAST_LEVEL: i32 = 9;

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mode = match level {
        FAST_LEVEL => CompressionMode::DEFAULT,
        _ => CompressionMode::HIGHCOMPRESSION(level),
    };
    let descriptor = [VERSION | INDEPENDENT_BLOCKS, BLOCKS_OF_64_KIB];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    for block in input.chunks(BLOCK_BYTES) {
        put_block(mode, block, out).map_err(|error| error.to_string())?;
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

fn put_block(mode: CompressionMode, block: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let start = out.len();
    out.resize(start + 4 + compress_bound(block.len())?, 0);
    let (length, body) = out.get_mut(start..).unwrap_or_default().split_at_mut(4);
    let len = compress_to_buffer(block, Some(mode), false, body)?;
    if len < block.len() {
        length.copy_from_slice(&(len as u32).to_le_bytes());
        out.truncate(start + 4 + len);
    } else {
        out.truncate(start);
        out.extend_from_slice(&(block.len() as u32 | UNCOMPRESSED).to_le_bytes());
        out.extend_from_slice(block);
    }
    Ok(())
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    block_bytes_max: usize,
    block_checksums: bool,
    content_checksum: bool,
    finished: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(mut input: &'a [u8], ignore_header_checksum: bool) -> Result<Decoder<'a>, DecodeError> {
        if split(&mut input, 4)? != MAGIC {
            return Err("not an lz4 frame".into());
        }
        let header = input;
        let &[flags, blocks] = split(&mut input, 2)? else { return Err("ends early".into()) };
        if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 {
            return Err("unsupported frame version or flags".into());
        }
        if flags & INDEPENDENT_BLOCKS == 0 {
            return Err("dependent blocks are not supported".into());
        }
        let block_bytes_max = match blocks {
            0x40 | 0x50 | 0x60 | 0x70 => 1usize << (2 * (blocks >> 4) + 8),
            _ => return Err("invalid block size".into()),
        };
        let size_bytes = if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
        split(&mut input, size_bytes)?;
        let checksum = split(&mut input, 1)?;
        let descriptor = header.get(..2 + size_bytes).unwrap_or_default();
        if !ignore_header_checksum && checksum != [header_checksum(descriptor)] {
            return Err("frame header checksum mismatch".into());
        }
        Ok(Decoder {
            input,
            block_bytes_max,
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content_checksum: flags & CONTENT_CHECKSUM != 0,
            finished: false,
        })
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        while !self.finished {
            let len = self.next_block(out)?;
            if len > 0 {
                return Ok(len);
            }
        }
        Ok(0)
    }

    fn next_block(&mut self, out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let word = self.read_u32()?;
        let size = (word & !UNCOMPRESSED) as usize;
        if size == 0 {
            self.finished = true;
            if self.content_checksum {
                self.read_u32()?;
            }
            return Ok(0);
        }
        if size > self.block_bytes_max {
            return Err("block exceeds the frame's block size".into());
        }
        let block = split(&mut self.input, size)?;
        if self.block_checksums && self.read_u32()? != XxHash32::oneshot(0, block) {
            return Err("block checksum mismatch".into());
        }
        if word & UNCOMPRESSED != 0 {
            scratch(out, size).copy_from_slice(block);
            return Ok(size);
        }
        let buffer = scratch(out, self.block_bytes_max);
        decompress_to_buffer(block, i32::try_from(self.block_bytes_max).ok(), buffer)
            .map_err(|error| DecodeError::Corrupt(error.to_string()))
    }

    fn read_u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(*split(&mut self.input, 4)?.first_chunk::<4>().unwrap_or(&[0; 4])))
    }
}
