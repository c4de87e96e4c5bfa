use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

fn compressed(input: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    Deflater::new().compress(input, &mut out);
    out.split_off(6)
}

/// Two readers, neither of which is lenient where the other is.
#[track_caller]
fn is_read_back(input: &[u8]) -> usize {
    let bytes = compressed(input);
    let mut output = vec![0; input.len()];
    let mut zlib = flate2::Decompress::new(false);
    // A byte of room more than there is: an input without any would otherwise never be seen to end.
    let mut room = vec![0; input.len() + 1];
    let status = zlib.decompress(&bytes, &mut room, flate2::FlushDecompress::Finish).unwrap();
    assert_eq!((status, zlib.total_in()), (flate2::Status::StreamEnd, bytes.len() as u64));
    assert!(room[..zlib.total_out() as usize] == *input, "{} bytes", input.len());
    let len = libdeflater::Decompressor::new().deflate_decompress(&bytes, &mut output).unwrap();
    assert!(output[..len] == *input, "{} bytes", input.len());
    bytes.len()
}

fn random(seed: &mut u32) -> u32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *seed >> 8
}

/// Fields with numbers, as JSON has them.
fn fields(len: usize) -> Vec<u8> {
    const NAMES: [&str; 8] =
        ["order", "customer", "status", "price", "city", "quantity", "warehouse", "weight"];
    let mut seed = 1;
    let mut text = String::new();
    while text.len() < len {
        let name = NAMES[random(&mut seed) as usize % 8];
        text += &format!("\"{name}\":{:04},", random(&mut seed) % 10_000);
    }
    text.truncate(len);
    text.into_bytes()
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 7;
    std::iter::repeat_with(|| (random(&mut seed) >> 16) as u8).take(len).collect()
}

#[test]
fn what_is_written_is_read() {
    let around = |len: usize| len - 3..len + 3;
    let lengths =
        (0..40).chain(around(258)).chain(around(32 << 10)).chain(around(64 << 10)).chain(around(128 << 10));
    for len in lengths.chain([300_000]) {
        is_read_back(&fields(len));
        is_read_back(&noise(len));
        is_read_back(&vec![b'a'; len]);
        // What repeats is just near enough, and just too far away.
        for distance in [32 << 10, (32 << 10) + 1, 64 << 10, (64 << 10) + 1] {
            let once = noise(distance);
            is_read_back(&once.iter().cycle().take(len).copied().collect::<Vec<u8>>());
        }
    }
}

#[test]
fn few_bytes_come_of_it() {
    let input = fields(128 << 10);
    let mut theirs = vec![0; input.len()];
    let mut libdeflate = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(5).unwrap());
    let theirs = libdeflate.deflate_compress(&input, &mut theirs).unwrap();
    let ours = is_read_back(&input);
    assert!(ours <= theirs, "{ours} bytes of {}, {theirs} of libdeflate", input.len());
    // One byte and 258 that repeat it take three bits or so.
    assert!(is_read_back(&vec![0; 1 << 20]) < 2000);
    // The nearest repetition is all that deflate reaches back for.
    let far: Vec<u8> = noise(32 << 10).repeat(2);
    assert!(is_read_back(&far) < far.len() * 6 / 10);
}

#[test]
fn what_does_not_repeat_grows_by_little() {
    for len in [1, 10, 1000, 65_536, 200_000] {
        let grown = is_read_back(&noise(len)) - len;
        assert!(grown <= 5 * (1 + len / 32_768), "{len} bytes by {grown}");
    }
}

#[test]
fn it_depends_on_nothing_that_came_before() {
    let mut used = Deflater::new();
    // Here the place of what is repeated is remembered, there it is left out, since nothing has repeated before it.
    let remembered = [&fields(5007)[..], b"repeated", &noise(100)].concat();
    let left_out = [&noise(5007)[..], b"repeated", &[0; 300], b"repeated", &fields(20)].concat();
    for input in [fields(200_000), noise(1000), remembered, left_out, fields(500), fields(100_000)] {
        let mut out = Vec::new();
        used.compress(&input, &mut out);
        assert!(out == compressed(&input), "{} bytes", input.len());
    }
}

#[test]
fn codes_are_as_long_as_they_may_be() {
    // Each as often as all before it: a tree as deep as there are symbols.
    let mut frequencies = [0u32; 30];
    frequencies.iter_mut().enumerate().for_each(|(symbol, times)| *times = 1 << symbol.saturating_sub(1));
    for len_max in [5, 7, 14, 15] {
        let lengths = huffman::lengths(&frequencies, len_max);
        let room: u32 = lengths.iter().map(|len| 1 << (15 - u32::from(*len))).sum();
        assert!(room <= 1 << 15, "{len_max}: {lengths:?}");
        assert!(lengths.iter().all(|len| (1..=len_max as u8).contains(len)), "{len_max}: {lengths:?}");
        assert!(lengths.is_sorted_by(|a, b| a >= b), "{len_max}: {lengths:?}");
    }
    assert_eq!(huffman::lengths(&[0, 0, 0], 15), [1, 1, 0]);
    assert_eq!(huffman::lengths(&[0, 9, 0], 15), [1, 1, 0]);
    assert_eq!(huffman::lengths(&[1, 1, 2, 4], 15), [3, 3, 2, 1]);
}

/// Pieces of what was there before, of all lengths and from all distances, between bytes of few or of many kinds.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = (any::<u32>(), 0usize..400, 1usize..80_000, 1u32..256);
    prop::collection::vec(piece, 0..600).prop_map(|pieces| {
        let mut bytes = Vec::new();
        for (mut seed, len, back, kinds) in pieces {
            for _ in 0..len / 8 {
                bytes.push((random(&mut seed) % kinds) as u8);
            }
            if let Some(from) = bytes.len().checked_sub(back) {
                (from..from + len).for_each(|at| bytes.push(bytes[at]));
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn whatever_is_written_is_read(input in pieces()) {
        is_read_back(&input);
    }
}
