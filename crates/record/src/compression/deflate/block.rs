//! Blocks of deflate: what the search has found, with codes of their own, with the fixed ones, or as it is, whichever is shortest.

use super::bits::BitWriter;
use super::huffman::{self, Code};
use super::search::Sequence;

const LITERALS_AND_LENGTHS: usize = 288;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
const FIRST_LENGTH: usize = 257;
/// One below deflate's, so that four literals go between two flushes.
const CODE_LEN_MAX: usize = 14;
const LENGTH_MIN: u16 = 3;
const LENGTH_MAX: u16 = 258;
const LENGTHS: usize = 256;
const STORED_BYTES_MAX: usize = 65_535;

const STORED: u64 = 0;
const FIXED: u64 = 1;
const DYNAMIC: u64 = 2;

/// Of the lengths of codes (RFC 1951, 3.2.7): in which order theirs are written, and those that stand for repetitions.
const CODE_LENGTHS: usize = 19;
const CODE_LENGTH_ORDER: [usize; CODE_LENGTHS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const CODE_LENGTH_LEN_MAX: usize = 7;
const REPEAT: u8 = 16;
const ZEROES: u8 = 17;
const MANY_ZEROES: u8 = 18;

/// Symbols' extra bits: those of lengths behind [`FIRST_LENGTH`], those of distances.
const LENGTH_EXTRA_BITS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_EXTRA_BITS: [u8; DISTANCES] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/// A symbol and what follows it.
#[derive(Clone, Copy)]
struct Slot {
    symbol: u8,
    extra: u16,
    extra_bits: u8,
}

/// Groups of `1 << fine` symbols have one extra bit more than the group before them.
#[inline(always)]
const fn slot(value: u16, fine: u32) -> Slot {
    if value < 2 << fine {
        return Slot { symbol: value as u8, extra: 0, extra_bits: 0 };
    }
    let extra_bits = value.ilog2() - fine;
    let symbol = (extra_bits << fine) as u16 + (value >> extra_bits);
    Slot { symbol: symbol as u8, extra: value & ((1 << extra_bits) - 1), extra_bits: extra_bits as u8 }
}

#[inline(always)]
const fn length_slot(length: u16) -> Slot {
    // The longest has a symbol of its own.
    if length == LENGTH_MAX {
        Slot { symbol: 28, extra: 0, extra_bits: 0 }
    } else {
        slot(length - LENGTH_MIN, 2)
    }
}

#[inline(always)]
const fn distance_slot(distance: u16) -> Slot {
    slot(distance - 1, 1)
}

/// How often each symbol occurs.
struct Frequencies {
    main: [u32; LITERALS_AND_LENGTHS],
    distances: [u32; DISTANCES],
}

/// The code lengths of a block.
struct Lengths {
    main: [u8; LITERALS_AND_LENGTHS],
    distances: [u8; DISTANCES],
}

/// One step of writing code lengths down: a length, or a repetition with its extra bits.
struct Step {
    symbol: u8,
    extra: u64,
    extra_bits: u32,
}

/// Appends `bytes`, which `sequences` describe, as blocks.
pub(super) fn write(out: &mut BitWriter<'_>, bytes: &[u8], sequences: &[Sequence], is_last: bool) {
    let frequencies = Frequencies::of(bytes, sequences);
    let own = Lengths {
        main: huffman::lengths(&frequencies.main, CODE_LEN_MAX),
        distances: huffman::lengths(&frequencies.distances, CODE_LEN_MAX),
    };
    let fixed = Lengths::fixed();
    let header = Header::of(&own);
    let dynamic_bits = header.bits() + frequencies.bits(&own);
    let fixed_bits = frequencies.bits(&fixed);
    let stored_bits = bytes.len() as u64 * 8 + 40 * (1 + bytes.len() / STORED_BYTES_MAX) as u64;
    let least = dynamic_bits.min(fixed_bits);
    if stored_bits < least {
        return write_stored(out, bytes, is_last);
    }
    out.reserve(least + 3);
    out.put(u64::from(is_last), 1);
    if dynamic_bits < fixed_bits {
        out.put(DYNAMIC, 2);
        header.write(out);
        write_sequences(out, bytes, sequences, &own);
    } else {
        out.put(FIXED, 2);
        write_sequences(out, bytes, sequences, &fixed);
    }
}

fn write_stored(out: &mut BitWriter<'_>, bytes: &[u8], is_last: bool) {
    let mut chunks = bytes.chunks(STORED_BYTES_MAX).peekable();
    while let Some(chunk) = chunks.next() {
        out.reserve(64);
        out.put(u64::from(is_last && chunks.peek().is_none()), 1);
        out.put(STORED, 2);
        out.align();
        let len = chunk.len() as u16;
        out.put(u64::from(len) | u64::from(!len) << 16, 32);
        out.flush();
        out.put_bytes(chunk);
    }
}

fn write_sequences(out: &mut BitWriter<'_>, bytes: &[u8], sequences: &[Sequence], lengths: &Lengths) {
    let main = huffman::codes(&lengths.main);
    let distances = huffman::codes(&lengths.distances);
    let literal = |byte: u8| main.get(usize::from(byte)).copied().unwrap_or_default();
    let of_lengths = lengths_with_extra_bits(&main);
    out.flush();
    let mut left = bytes;
    for sequence in sequences {
        let (run, behind) = left.split_at_checked(sequence.literals as usize).unwrap_or((left, &[]));
        let mut fours = run.chunks_exact(4);
        for four in &mut fours {
            for byte in four {
                put(out, literal(*byte));
            }
            out.flush();
        }
        for byte in fours.remainder() {
            put(out, literal(*byte));
        }
        out.flush();
        if sequence.length == 0 {
            left = behind;
            continue;
        }
        left = behind.get(usize::from(sequence.length)..).unwrap_or_default();
        let (bits, count) =
            of_lengths.get(usize::from(sequence.length - LENGTH_MIN)).copied().unwrap_or_default();
        out.put(u64::from(bits), count);
        let slot = distance_slot(sequence.distance);
        put(out, distances.get(usize::from(slot.symbol)).copied().unwrap_or_default());
        out.put(u64::from(slot.extra), u32::from(slot.extra_bits));
        out.flush();
    }
    put(out, main.get(END_OF_BLOCK).copied().unwrap_or_default());
    out.flush();
}

/// What stands for each length from the shortest on: its bits, and how many.
fn lengths_with_extra_bits(main: &[Code; LITERALS_AND_LENGTHS]) -> [(u32, u32); LENGTHS] {
    std::array::from_fn(|index| {
        let slot = length_slot(LENGTH_MIN + index as u16);
        let code = main.get(FIRST_LENGTH + usize::from(slot.symbol)).copied().unwrap_or_default();
        let bits = u32::from(code.bits) | u32::from(slot.extra) << code.len;
        (bits, u32::from(code.len) + u32::from(slot.extra_bits))
    })
}

#[inline(always)]
fn put(out: &mut BitWriter<'_>, code: Code) {
    out.put(u64::from(code.bits), u32::from(code.len));
}

impl Frequencies {
    fn of(bytes: &[u8], sequences: &[Sequence]) -> Frequencies {
        let mut main = [0; LITERALS_AND_LENGTHS];
        let mut distances = [0; DISTANCES];
        let mut lengths = [0u32; LENGTHS];
        let mut left = bytes;
        for sequence in sequences {
            let (run, behind) = left.split_at_checked(sequence.literals as usize).unwrap_or((left, &[]));
            for byte in run {
                count(&mut main, usize::from(*byte));
            }
            left = behind.get(usize::from(sequence.length)..).unwrap_or_default();
            if sequence.length > 0 {
                count(&mut lengths, usize::from(sequence.length - LENGTH_MIN));
                count(&mut distances, usize::from(distance_slot(sequence.distance).symbol));
            }
        }
        for (length, times) in (LENGTH_MIN..).zip(&lengths) {
            if let Some(count) = main.get_mut(FIRST_LENGTH + usize::from(length_slot(length).symbol)) {
                *count += times;
            }
        }
        count(&mut main, END_OF_BLOCK);
        Frequencies { main, distances }
    }

    /// What all symbols take, with their extra bits.
    fn bits(&self, lengths: &Lengths) -> u64 {
        let main =
            self.main.iter().zip(&lengths.main).map(|(times, len)| u64::from(*times) * u64::from(*len));
        let distances = self
            .distances
            .iter()
            .zip(&lengths.distances)
            .map(|(times, len)| u64::from(*times) * u64::from(*len));
        let extra = self.main.iter().skip(FIRST_LENGTH).zip(LENGTH_EXTRA_BITS);
        let extra = extra.chain(self.distances.iter().zip(DISTANCE_EXTRA_BITS));
        let extra = extra.map(|(times, bits)| u64::from(*times) * u64::from(bits));
        main.chain(distances).chain(extra).sum()
    }
}

fn count(counts: &mut [u32], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count += 1;
    }
}

impl Lengths {
    /// RFC 1951, 3.2.6.
    fn fixed() -> Lengths {
        let main = std::array::from_fn(|symbol| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        });
        Lengths { main, distances: [5; DISTANCES] }
    }
}

/// What stands before a block with codes of its own: the lengths of all of them, compressed.
struct Header {
    main: usize,
    distances: usize,
    steps: Vec<Step>,
    lengths: [u8; CODE_LENGTHS],
    /// How many of these, in their order, are written.
    written: usize,
}

impl Header {
    fn of(lengths: &Lengths) -> Header {
        let used = |lengths: &[u8], least: usize| {
            lengths.iter().rposition(|len| *len > 0).map_or(least, |last| (last + 1).max(least))
        };
        let (main, distances) = (used(&lengths.main, FIRST_LENGTH), used(&lengths.distances, 1));
        let all: Vec<u8> =
            lengths.main.iter().take(main).chain(lengths.distances.iter().take(distances)).copied().collect();
        let steps: Vec<Step> = all.chunk_by(|a, b| a == b).flat_map(steps).collect();
        let mut frequencies = [0; CODE_LENGTHS];
        for step in &steps {
            count(&mut frequencies, usize::from(step.symbol));
        }
        let lengths = huffman::lengths(&frequencies, CODE_LENGTH_LEN_MAX);
        let is_used = |symbol: &usize| lengths.get(*symbol).is_some_and(|len| *len > 0);
        let written = CODE_LENGTH_ORDER.iter().rposition(is_used).map_or(4, |last| (last + 1).max(4));
        Header { main, distances, steps, lengths, written }
    }

    fn bits(&self) -> u64 {
        let of_step = |step: &Step| {
            u64::from(self.lengths.get(usize::from(step.symbol)).copied().unwrap_or(0))
                + u64::from(step.extra_bits)
        };
        14 + 3 * self.written as u64 + self.steps.iter().map(of_step).sum::<u64>()
    }

    fn write(&self, out: &mut BitWriter<'_>) {
        out.put((self.main - FIRST_LENGTH) as u64, 5);
        out.put((self.distances - 1) as u64, 5);
        out.put((self.written - 4) as u64, 4);
        for symbol in CODE_LENGTH_ORDER.iter().take(self.written) {
            out.flush();
            out.put(u64::from(self.lengths.get(*symbol).copied().unwrap_or(0)), 3);
        }
        let codes = huffman::codes(&self.lengths);
        for step in &self.steps {
            out.flush();
            put(out, codes.get(usize::from(step.symbol)).copied().unwrap_or_default());
            out.put(step.extra, step.extra_bits);
        }
    }
}

/// How equal lengths in a row are written.
fn steps(run: &[u8]) -> Vec<Step> {
    let length = run.first().copied().unwrap_or(0);
    let plain = || Step { symbol: length, extra: 0, extra_bits: 0 };
    let mut steps = Vec::new();
    let mut left = run.len();
    if length > 0 {
        steps.push(plain());
        left -= 1;
    }
    while left > 0 {
        let (taken, step) = match (length, left) {
            (_, ..3) => (1, plain()),
            (0, 3..11) => (left, Step { symbol: ZEROES, extra: left as u64 - 3, extra_bits: 3 }),
            (0, _) => {
                let taken = left.min(138);
                (taken, Step { symbol: MANY_ZEROES, extra: taken as u64 - 11, extra_bits: 7 })
            }
            _ => {
                let taken = left.min(6);
                (taken, Step { symbol: REPEAT, extra: taken as u64 - 3, extra_bits: 2 })
            }
        };
        steps.push(step);
        left -= taken;
    }
    steps
}
