//! Zstandard frames, one or several in a row.

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, InBuffer, OutBuffer, SafeResult, compress_bound, get_error_name,
};

use super::pool::{Pool, Pooled};
use super::{DecodeError, scratch};

const CHUNK_BYTES: usize = 64 * 1024;

/// A context that grew beyond this, for a frame of the highest levels (whose windows reach 128 MiB), isn't kept.
const KEPT_CONTEXT_BYTES_MAX: usize = 10 << 20;

/// At its default level, and for inputs of such lengths only, zstd takes four equal bytes for a repetition; for shorter and for
/// longer ones it takes five. In what records are made of, four mostly are no repetition: looking for those costs up to
/// ten times as much, and the result is larger. Producers' batches often have such lengths.
const SHORT_MATCHES_LEVEL: i32 = 3;
const SHORT_MATCHES_BYTES: std::ops::RangeInclusive<usize> = (128 << 10) + 1..=256 << 10;
const LONGER_MATCH_BYTES: u32 = 5;
/// As the level has it.
const DEFAULT: u32 = 0;

thread_local! {
    static COMPRESSORS: Pool<CCtx<'static>> = const { Pool::new(Vec::new()) };
    static DECOMPRESSORS: Pool<DCtx<'static>> = const { Pool::new(Vec::new()) };
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut compressor = Pooled::take(&COMPRESSORS, CCtx::create);
    let start = out.len();
    out.resize(start + compress_bound(input.len()), 0);
    let compressed = compress_to(compressor.get(), level, input, out.get_mut(start..).unwrap_or_default());
    out.truncate(start + compressed.map_err(|code| get_error_name(code).to_owned())?);
    if compressor.get().sizeof() > KEPT_CONTEXT_BYTES_MAX {
        compressor.discard();
    }
    Ok(())
}

fn compress_to(context: &mut CCtx<'static>, level: i32, input: &[u8], out: &mut [u8]) -> SafeResult {
    let is_rather_long = level == SHORT_MATCHES_LEVEL && SHORT_MATCHES_BYTES.contains(&input.len());
    // A context keeps its parameters: each is set anew.
    context.set_parameter(CParameter::CompressionLevel(level))?;
    context.set_parameter(CParameter::MinMatch(if is_rather_long { LONGER_MATCH_BYTES } else { DEFAULT }))?;
    context.compress2(out, input)
}

pub(super) struct Decoder<'a> {
    input: &'a [u8],
    context: Pooled<DCtx<'static>>,
    inside_frame: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Decoder<'a>, DecodeError> {
        let mut context = Pooled::take(&DECOMPRESSORS, DCtx::create);
        context.get().init().map_err(corrupt)?;
        Ok(Decoder { input, context, inside_frame: true })
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<usize, DecodeError> {
        loop {
            let mut input = InBuffer::around(self.input);
            let mut output = OutBuffer::around(scratch(out, CHUNK_BYTES));
            if self.input.is_empty() && !self.inside_frame {
                return Ok(0);
            }
            let hint = self.context.get().decompress_stream(&mut output, &mut input).map_err(corrupt)?;
            let (consumed, produced) = (input.pos(), output.pos());
            self.input = self.input.get(consumed..).unwrap_or_default();
            self.inside_frame = hint != 0;
            if produced > 0 {
                return Ok(produced);
            }
            if consumed == 0 && self.inside_frame {
                return Err("ends early".into());
            }
        }
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        if self.context.get().sizeof() > KEPT_CONTEXT_BYTES_MAX {
            self.context.discard();
        }
    }
}

fn corrupt(code: usize) -> DecodeError {
    get_error_name(code).into()
}
