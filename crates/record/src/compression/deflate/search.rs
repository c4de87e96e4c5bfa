//! The search for what has been there before. Of all places whose seven bytes have the same hash the last is known, and of those with
//! the same five.
//!
//! The nearest repetition takes the fewest bits for its distance, and in what records are made of it mostly is as long as any other.

/// Bytes that are written as they are, and how many that come next were there before, how far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    /// 3 to 258; 0 where nothing was there before.
    pub(super) length: u16,
    /// 1 to 32,768; 0 with a `length` of 0.
    pub(super) distance: u16,
}

/// Bounds of deflate.
const LENGTH_MAX: usize = 258;
const DISTANCE_MAX: usize = 32 * 1024;

/// A block ends when it has so many of these.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
const BLOCK_SEQUENCES_MAX: usize = 32 * 1024;

const WORD_BYTES: usize = 8;
const LONG_BYTES: usize = 7;
const SHORT_BYTES: usize = 5;
const PLACES_MIN: usize = 256;

/// Five bytes from farther away take about as many bits as the bytes themselves.
const SHORT_DISTANCE_MAX: usize = 16 * 1024;
/// Repetitions of more bytes than these are not compared with others.
const COMPARED_BYTES_MAX: usize = 24;
/// So many bytes at a repetition's beginning may be left out for a longer one.
const LEFT_OUT_BYTES: usize = 3;
/// After so many bytes without a repetition every second place is left out, after twice as many two of three, and so on.
const SKIP_AFTER_BYTES: usize = 128;
const SKIP_MAX: usize = 15;

/// The last place of each hash of `BYTES`, by its low half: what lies 64 KiB before it is not reached, and what is reached is compared.
struct Table<const BYTES: u32, const PLACES: usize> {
    places: Box<[u16; PLACES]>,
    /// Of a hash; a short input does with fewer places.
    mask: usize,
}

impl<const BYTES: u32, const PLACES: usize> Table<BYTES, PLACES> {
    fn new() -> Self {
        Table { places: Box::new([0; PLACES]), mask: PLACES - 1 }
    }

    /// Forgets all.
    fn clear(&mut self, input_bytes: usize) {
        let used = input_bytes.next_power_of_two().clamp(PLACES_MIN, PLACES);
        self.mask = used - 1;
        self.places.iter_mut().take(used).for_each(|place| *place = 0);
    }

    #[inline(always)]
    fn hash(&self, word: u64) -> usize {
        let product = (word << (u64::BITS - 8 * BYTES)).wrapping_mul(0x9e37_79b1_85eb_ca87);
        (product >> (u64::BITS - PLACES.ilog2())) as usize & self.mask
    }

    #[inline(always)]
    fn get(&self, word: u64) -> u16 {
        self.places.get(self.hash(word)).copied().unwrap_or_default()
    }

    /// What was there before.
    #[inline(always)]
    fn replace(&mut self, word: u64, place: u16) -> u16 {
        let hash = self.hash(word);
        self.places.get_mut(hash).map_or(0, |kept| std::mem::replace(kept, place))
    }
}

pub(super) struct Tables {
    long: Table<{ LONG_BYTES as u32 }, { 1 << 15 }>,
    short: Table<{ SHORT_BYTES as u32 }, { 1 << 14 }>,
}

impl Tables {
    pub(super) fn new() -> Tables {
        Tables { long: Table::new(), short: Table::new() }
    }
}

/// `length` bytes from `at` on are the same as `distance` before.
#[derive(Clone, Copy)]
struct Repetition {
    at: usize,
    length: usize,
    distance: usize,
}

pub(super) struct Search<'a> {
    input: &'a [u8],
    at: usize,
    tables: &'a mut Tables,
}

impl<'a> Search<'a> {
    pub(super) fn new(input: &'a [u8], tables: &'a mut Tables) -> Search<'a> {
        tables.long.clear(input.len());
        tables.short.clear(input.len());
        Search { input, at: 0, tables }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.input.len()
    }

    /// Finds the sequences of the next block, and gives the bytes that they describe.
    pub(super) fn next_block(&mut self, sequences: &mut Vec<Sequence>) -> &'a [u8] {
        sequences.clear();
        let start = self.at;
        // Whole words are read, here and a byte later.
        let last = self.input.len().saturating_sub(WORD_BYTES);
        let end = last.min(start + BLOCK_BYTES_MAX);
        let (mut at, mut described) = (start, start);
        while at < end && sequences.len() < BLOCK_SEQUENCES_MAX {
            let Some(found) = self.find(at) else {
                at += 1 + ((at - described) / SKIP_AFTER_BYTES).min(SKIP_MAX);
                continue;
            };
            let found = self.with_what_is_before(self.or_longer(found), described);
            sequences.push(Sequence {
                literals: (found.at - described) as u32,
                length: found.length as u16,
                distance: found.distance as u16,
            });
            let behind = found.at + found.length;
            self.remember(at + 1, behind);
            (at, described) = (behind, behind);
        }
        self.at = if at < last { at } else { self.input.len() };
        if self.at > described {
            sequences.push(Sequence { literals: (self.at - described) as u32, length: 0, distance: 0 });
        }
        self.input.get(start..self.at).unwrap_or_default()
    }

    /// What repeats here, or a byte later, if that is worth it.
    #[inline(always)]
    fn find(&mut self, at: usize) -> Option<Repetition> {
        let word = self.word(at);
        let long = self.tables.long.replace(word, at as u16);
        let short = self.tables.short.replace(word, at as u16);
        let found = match self.repetition(at, word, long, LONG_BYTES) {
            Some(found) if found.length >= COMPARED_BYTES_MAX => return Some(found),
            Some(found) => found,
            None => self.repetition(at, word, short, SHORT_BYTES)?,
        };
        let word = self.word(at + 1);
        let later = self.repetition(at + 1, word, self.tables.long.get(word), LONG_BYTES);
        if let Some(later) = later.filter(|later| later.length > found.length) {
            return Some(later);
        }
        (found.length > SHORT_BYTES || found.distance <= SHORT_DISTANCE_MAX).then_some(found)
    }

    /// What repeats at least `least` bytes from a place of which the low half is known.
    #[inline(always)]
    fn repetition(&self, at: usize, word: u64, place: u16, least: usize) -> Option<Repetition> {
        let distance = distance(at, place)?;
        let same = same_bytes(word, self.word(at - distance));
        let length = if same < WORD_BYTES { same } else { self.length(at, distance, WORD_BYTES) };
        (same >= least).then_some(Repetition { at, length, distance })
    }

    /// What ends a short repetition may have been elsewhere with more of what is before it.
    #[inline(always)]
    fn or_longer(&self, found: Repetition) -> Repetition {
        let behind = found.at + found.length;
        if found.length > COMPARED_BYTES_MAX || behind + WORD_BYTES > self.input.len() {
            return found;
        }
        let at = found.at + LEFT_OUT_BYTES;
        match distance(behind, self.tables.long.get(self.word(behind))) {
            Some(distance) if distance != found.distance && distance <= at => {
                let length = self.length(at, distance, 0);
                if length > found.length { Repetition { at, length, distance } } else { found }
            }
            _ => found,
        }
    }

    /// With bytes before it that are the same too and not yet described.
    #[inline(always)]
    fn with_what_is_before(&self, mut found: Repetition, described: usize) -> Repetition {
        while found.at > described
            && found.length < LENGTH_MAX
            && found.at > found.distance
            && self.input.get(found.at - 1) == self.input.get(found.at - 1 - found.distance)
        {
            found.at -= 1;
            found.length += 1;
        }
        found
    }

    /// How many bytes, `known` or more, are the same as those so far back.
    #[inline(always)]
    fn length(&self, at: usize, distance: usize, known: usize) -> usize {
        let max = LENGTH_MAX.min(self.input.len() - at);
        let mut length = known;
        while length + WORD_BYTES <= max {
            let same = same_bytes(self.word(at + length), self.word(at + length - distance));
            length += same;
            if same < WORD_BYTES {
                return length;
            }
        }
        while length < max && self.input.get(at + length) == self.input.get(at + length - distance) {
            length += 1;
        }
        length
    }

    #[inline(always)]
    fn remember(&mut self, from: usize, to: usize) {
        let words = self.input.get(from..self.input.len().min(to + WORD_BYTES - 1)).unwrap_or_default();
        for (at, word) in (from..).zip(words.windows(WORD_BYTES)) {
            let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            self.tables.long.replace(word, at as u16);
            self.tables.short.replace(word, at as u16);
        }
    }

    /// The bytes from there on, the first lowest. Callers see to it that there are so many.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        let bytes = self.input.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |word| u64::from_le_bytes(*word))
    }
}

/// How far back a place lies, if it may be gone back to.
#[inline(always)]
fn distance(at: usize, place: u16) -> Option<usize> {
    let distance = usize::from((at as u16).wrapping_sub(place));
    (distance > 0 && distance <= DISTANCE_MAX.min(at)).then_some(distance)
}

#[inline(always)]
fn same_bytes(a: u64, b: u64) -> usize {
    (a ^ b).trailing_zeros() as usize / 8
}
