//! Gzip (RFC 1952): one member is written; several in a row are read, and what follows them is ignored, as Java does.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::pool::{Pool, Pooled};
use super::{DecodeError, scratch, split};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const UNKNOWN_SYSTEM: u8 = 255;
const DEFAULT_LEVEL: u32 = 6;
const CHUNK_BYTES: usize = 64 * 1024;

thread_local! {
    static INFLATERS: Pool<Decompress> = const { Pool::new(Vec::new()) };
    static DEFLATERS: Pool<(i32, Compress)> = const { Pool::new(Vec::new()) };
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let deflater = DEFLATERS.with(|pool| pool.borrow_mut().pop()).filter(|(kept, _)| *kept == level);
    let (_, mut deflater) = deflater.unwrap_or_else(|| {
        let level = u32::try_from(level).map_or(DEFAULT_LEVEL, |level| level.min(9));
        (0, Compress::new(flate2::Compression::new(level), false))
    });
    out.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, UNKNOWN_SYSTEM]);
    let mut rest = input;
    loop {
        out.reserve(rest.len() / 2 + 256);
        let before = deflater.total_in();
        let status =
            deflater.compress_vec(rest, out, FlushCompress::Finish).map_err(|error| error.to_string())?;
        let consumed = (deflater.total_in() - before) as usize;
        rest = rest.get(consumed..).unwrap_or_default();
        if status == Status::StreamEnd {
            break;
        }
    }
    out.extend_from_slice(&crc32fast::hash(input).to_le_bytes());
    out.extend_from_slice(&(input.len() as u32).to_le_bytes());
    deflater.reset();
    DEFLATERS.with(|pool| pool.borrow_mut().push((level, deflater)));
    Ok(())
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
