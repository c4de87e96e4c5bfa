use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 24;

fn compressed(compression: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compression.compress(input, &mut out).unwrap();
    out
}

/// Something like text: compressible, but not trivially.
fn text(len: usize) -> Vec<u8> {
    let words = [&b"offset "[..], b"epoch ", b"partition ", b"leader ", b"0123", b"\n"];
    let mut state = 1u32;
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(words[(state >> 8) as usize % words.len()]);
        out.push((state >> 24) as u8);
    }
    out.truncate(len);
    out
}

#[test]
fn every_codec_and_level_round_trips() {
    for codec in Codec::ALL {
        let levels = match codec {
            Codec::Zstd => vec![-131_072, -7, 1, 3, 19],
            _ => codec.levels().map_or(vec![0], |l| (l.min..=l.max).chain([l.default]).collect()),
        };
        for level in levels {
            let compression = Compression::with_level(codec, level).unwrap();
            for len in [0, 1, 100, 32 * 1024, 64 * 1024, 200_000] {
                let input = text(len);
                let output = decompress(codec, &compressed(compression, &input), LIMIT).unwrap();
                assert!(output == input, "{codec} at {level}, {len} bytes");
            }
        }
    }
}

#[test]
fn incompressible_input_round_trips() {
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(150_000)
    .collect();
    for codec in Codec::ALL {
        let output = decompress(codec, &compressed(Compression::new(codec), &noise), LIMIT);
        assert!(output.unwrap() == noise, "{codec}");
    }
}

#[test]
fn gzip_trailer_is_checked() {
    let good = compressed(Compression::new(Codec::Gzip), b"abc");
    for at in good.len() - 8..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(decompress(Codec::Gzip, &bad, LIMIT).is_err(), "byte {at}");
    }
}

#[test]
fn names_ids_and_levels() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_id(codec.id()), Ok(codec));
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Codec::from_id(5), Err(RecordError::UnknownCodec(5)));
    assert_eq!(Codec::from_name("lzma"), None);
    for (codec, level, valid) in [
        (Codec::Gzip, -1, true),
        (Codec::Gzip, 0, false),
        (Codec::Gzip, 10, false),
        (Codec::Lz4, 17, true),
        (Codec::Lz4, 18, false),
        (Codec::Zstd, -131_073, false),
        (Codec::Zstd, 22, true),
        (Codec::Snappy, 99, true),
    ] {
        assert_eq!(Compression::with_level(codec, level).is_ok(), valid, "{codec} {level}");
    }
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeroes = vec![0; LIMIT];
    for codec in Codec::ALL {
        let bomb = compressed(Compression::new(codec), &zeroes);
        assert!(decompress(codec, &bomb, LIMIT).is_ok());
        let limit = 100_000;
        let expected = Err(RecordError::DecompressedSizeAboveLimit { limit });
        assert_eq!(decompress(codec, &bomb, limit), expected, "{codec}");
    }
}

#[test]
fn truncated_input_is_an_error() {
    let input = text(100_000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let whole = compressed(Compression::new(codec), &input);
        for len in [0, 1, 10, 20, whole.len() / 2, whole.len() - 1] {
            let result = decompress(codec, &whole[..len], LIMIT);
            assert!(len == 0 && codec == Codec::Snappy || result.is_err(), "{codec} cut to {len}");
        }
    }
}

#[test]
fn concatenated_streams_are_read() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let one = compressed(Compression::new(codec), b"one");
        let two = compressed(Compression::new(codec), b"two");
        assert_eq!(decompress(codec, &[one, two].concat(), LIMIT).unwrap(), b"onetwo", "{codec}");
    }
}

#[test]
fn bare_snappy_is_read() {
    let input = text(100_000);
    let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert!(decompress(Codec::Snappy, &bare, LIMIT).unwrap() == input);
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(matches!(decompress(Codec::Snappy, &lie, usize::MAX), Err(RecordError::Decompression { .. })));
}

#[test]
fn lz4_header_checksum_matters_only_since_magic_2() {
    let mut frame = compressed(Compression::new(Codec::Lz4), b"abc");
    frame[6] ^= 1;
    assert!(decompress(Codec::Lz4, &frame, LIMIT).is_err());
    let mut legacy = DecompressedStream::open(Codec::Lz4, &frame, LIMIT, true).unwrap();
    assert!(legacy.refill().unwrap());
    assert_eq!(legacy.available(), b"abc");
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn mutated_input_never_panics(at in 0usize..2000, byte: u8, len in 0usize..5000) {
        for codec in Codec::ALL {
            let mut bytes = compressed(Compression::new(codec), &text(len));
            let at = at % bytes.len().max(1);
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            let _ = decompress(codec, &bytes, 1 << 20);
        }
    }

    #[test]
    fn random_input_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        for codec in Codec::ALL {
            let _ = decompress(codec, &bytes, 1 << 20);
        }
    }
}

#[test]
fn zstd_looks_for_long_repetitions_at_every_length() {
    // Letters without any repetition that is of use: each takes log2(26) bits.
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'A' + u8::try_from((state >> 24) % 26).unwrap()
    };
    let letters: Vec<u8> = (0..300 << 10).map(|_| letter()).collect();
    for kib in [100, 128, 129, 200, 256, 257, 300] {
        let input = &letters[..kib << 10];
        let bytes = compressed(Compression::new(Codec::Zstd), input);
        assert_eq!(decompress(Codec::Zstd, &bytes, input.len()).unwrap(), input);
        let percent = bytes.len() * 100 / input.len();
        assert!(percent < 61, "{kib} KiB take {percent} % of that");
    }
}
