//! The codecs: one table of what they are, one function that compresses, one stream that decompresses.

mod gzip;
mod lz4;
mod pool;
mod snappy;
mod stream;
mod zstd;

use thiserror::Error;

use crate::error::RecordError;
pub(crate) use stream::DecompressedStream;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

/// A codec's facts.
struct CodecRow {
    codec: Codec,
    /// In configuration.
    name: &'static str,
    levels: Option<Levels>,
}

/// The compression levels that a codec takes (KIP-390).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    pub min: i32,
    pub max: i32,
    /// Gzip's, -1, lies outside the range and is allowed nevertheless.
    pub default: i32,
}

const CODECS: [CodecRow; 5] = [
    CodecRow { codec: Codec::None, name: "none", levels: None },
    CodecRow { codec: Codec::Gzip, name: "gzip", levels: Some(Levels { min: 1, max: 9, default: -1 }) },
    CodecRow { codec: Codec::Snappy, name: "snappy", levels: None },
    CodecRow { codec: Codec::Lz4, name: "lz4", levels: Some(Levels { min: 1, max: 17, default: 9 }) },
    CodecRow {
        codec: Codec::Zstd,
        name: "zstd",
        levels: Some(Levels { min: -131_072, max: 22, default: 3 }),
    },
];

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this id in a batch's attributes.
    pub fn from_id(id: u8) -> Result<Codec, RecordError> {
        CODECS.get(usize::from(id)).map(|row| row.codec).ok_or(RecordError::UnknownCodec(id))
    }

    /// The codec of this name in configuration.
    pub fn from_name(name: &str) -> Option<Codec> {
        CODECS.iter().find(|row| row.name == name).map(|row| row.codec)
    }

    pub fn id(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        self.row().map_or("none", |row| row.name)
    }

    /// `None` for codecs without levels.
    pub fn levels(self) -> Option<Levels> {
        self.row().and_then(|row| row.levels)
    }

    fn row(self) -> Option<&'static CodecRow> {
        CODECS.get(usize::from(self.id()))
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and the level at which it compresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compression {
    codec: Codec,
    level: i32,
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("{codec} has no compression level {level}")]
pub struct InvalidLevel {
    pub codec: Codec,
    pub level: i32,
}

impl Compression {
    pub const NONE: Compression = Compression { codec: Codec::None, level: 0 };

    /// The codec at its default level.
    pub fn new(codec: Codec) -> Compression {
        Compression { codec, level: codec.levels().map_or(0, |levels| levels.default) }
    }

    /// A codec without levels takes any and ignores it.
    pub fn with_level(codec: Codec, level: i32) -> Result<Compression, InvalidLevel> {
        match codec.levels() {
            None => Ok(Compression::new(codec)),
            Some(levels) if (levels.min..=levels.max).contains(&level) || level == levels.default => {
                Ok(Compression { codec, level })
            }
            Some(_) => Err(InvalidLevel { codec, level }),
        }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    pub fn level(&self) -> i32 {
        self.level
    }

    /// Appends `input`, compressed, to `out`.
    pub fn compress(&self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let result = match self.codec {
            Codec::None => {
                out.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip => gzip::compress(self.level, input, out),
            Codec::Snappy => snappy::compress(input, out),
            Codec::Lz4 => lz4::compress(self.level, input, out),
            Codec::Zstd => zstd::compress(self.level, input, out),
        };
        result.map_err(|reason| CompressError { codec: self.codec, reason })
    }
}

/// A codec's library failed; no input is known that makes it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("compressing with {codec} failed: {reason}")]
pub struct CompressError {
    pub codec: Codec,
    pub reason: String,
}

/// Decompresses all of `input`, to at most `bytes_max` bytes.
pub fn decompress(codec: Codec, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, RecordError> {
    let mut stream = DecompressedStream::open(codec, input, bytes_max, false)?;
    let mut out = Vec::new();
    while stream.refill()? {
        out.extend_from_slice(stream.available());
        stream.consume(stream.available().len());
    }
    Ok(out)
}

/// Why a decoder can't go on; [`DecompressedStream`] adds the codec and the bound.
enum DecodeError {
    Corrupt(String),
    TooLarge,
}

impl From<&str> for DecodeError {
    fn from(reason: &str) -> DecodeError {
        DecodeError::Corrupt(reason.to_owned())
    }
}

/// The first `len` bytes of a reused buffer, which grows as needed and never shrinks.
fn scratch(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    buffer.get_mut(..len).unwrap_or_default()
}

/// Takes the first `len` bytes off `input`.
fn split<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (head, rest) = input.split_at_checked(len).ok_or("ends early")?;
    *input = rest;
    Ok(head)
}

#[cfg(test)]
mod tests;
