//! Gzip (RFC 1952): one member is written; several in a row are read, and what follows them is ignored, as Java does.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::pool::{Pool, Pooled};
use super::{DecodeError, scratch, split};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const UNKNOWN_SYSTEM: u8 = 255;
/// Of libdeflate. It makes of JSON what zlib-rs makes of it at the usual default of 6, in a third of the time.
const DEFAULT_LEVEL: i32 = 5;
const CHUNK_BYTES: usize = 64 * 1024;

thread_local! {
    static INFLATERS: Pool<Decompress> = const { Pool::new(Vec::new()) };
    static DEFLATERS: Pool<(i32, Compressor)> = const { Pool::new(Vec::new()) };
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let deflater = DEFLATERS.with(|pool| pool.borrow_mut().pop()).filter(|(kept, _)| *kept == level);
    let (_, mut deflater) = match deflater {
        Some(deflater) => deflater,
        None => (level, new_deflater(level)?),
    };
    out.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, UNKNOWN_SYSTEM]);
    let start = out.len();
    out.resize(start + deflater.deflate_compress_bound(input.len()), 0);
    let compressed = deflater
        .deflate_compress(input, out.get_mut(start..).unwrap_or_default())
        .map_err(|error| error.to_string())?;
    out.truncate(start + compressed);
    out.extend_from_slice(&crc32fast::hash(input).to_le_bytes());
    out.extend_from_slice(&(input.len() as u32).to_le_bytes());
    DEFLATERS.with(|pool| pool.borrow_mut().push((level, deflater)));
    Ok(())
}

fn new_deflater(level: i32) -> Result<Compressor, String> {
    let level = if level < 0 { DEFAULT_LEVEL } else { level };
    let level = CompressionLvl::new(level).map_err(|error| format!("level {level}: {error:?}"))?;
    Ok(Compressor::new(level))
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    inflater: Pooled<Decompress>,
    member: Option<Member>,
    members: usize,
}

/// What the trailer of the member that is being read must say.
#[derive(Default)]
struct Member {
    crc: crc32fast::Hasher,
    size: u32,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Decoder<'a> {
        let inflater = Pooled::take(&INFLATERS, || Decompress::new(false));
        Decoder { input, inflater, member: None, members: 0 }
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        loop {
            if self.member.is_none() {
                if self.members > 0 && !self.input.starts_with(&MAGIC) {
                    return Ok(0);
                }
                skip_header(&mut self.input)?;
                self.inflater.get().reset(false);
                self.member = Some(Member::default());
                self.members += 1;
            }
            let len = self.inflate(scratch(out, CHUNK_BYTES))?;
            if len > 0 {
                return Ok(len);
            }
        }
    }

    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, DecodeError> {
        let inflater = self.inflater.get();
        let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(self.input, out, FlushDecompress::None)
            .map_err(|error| DecodeError::Corrupt(error.to_string()))?;
        let consumed = (inflater.total_in() - before_in) as usize;
        let produced = (inflater.total_out() - before_out) as usize;
        self.input = self.input.get(consumed..).unwrap_or_default();
        let member = self.member.get_or_insert_default();
        member.crc.update(out.get(..produced).unwrap_or_default());
        member.size = member.size.wrapping_add(produced as u32);
        if status == Status::StreamEnd {
            self.check_trailer()?;
        } else if consumed == 0 && produced == 0 {
            return Err("ends early".into());
        }
        Ok(produced)
    }

    fn check_trailer(&mut self) -> Result<(), DecodeError> {
        let trailer = split(&mut self.input, 8)?;
        let member = self.member.take().unwrap_or_default();
        let expected = [member.crc.finalize().to_le_bytes(), member.size.to_le_bytes()];
        if trailer == expected.as_flattened() { Ok(()) } else { Err("checksum mismatch".into()) }
    }
}

fn skip_header(input: &mut &[u8]) -> Result<(), DecodeError> {
    const HEADER_CHECKSUM: u8 = 0x02;
    const EXTRA: u8 = 0x04;
    const NAME: u8 = 0x08;
    const COMMENT: u8 = 0x10;
    let &[a, b, method, flags, ..] = split(input, 10)? else { return Err("ends early".into()) };
    if [a, b] != MAGIC || method != DEFLATE {
        return Err("not in gzip format".into());
    }
    if flags & EXTRA != 0 {
        let &[low, high] = split(input, 2)? else { return Err("ends early".into()) };
        split(input, usize::from(u16::from_le_bytes([low, high])))?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let len = input.iter().position(|&byte| byte == 0).ok_or("ends early")?;
            split(input, len + 1)?;
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        split(input, 2)?;
    }
    Ok(())
}
