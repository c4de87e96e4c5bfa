//! Bits of a stream of deflate, the lowest first.

/// What is written and fills no byte yet, at most 7 bits of it after [`flush`](BitWriter::flush).
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next whole byte goes; what `out` holds behind it is room.
    end: usize,
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        let end = out.len();
        BitWriter { out, end, bits: 0, count: 0 }
    }

    /// Makes room for so many bits, and what a flush writes beyond them.
    pub(super) fn reserve(&mut self, bits: u64) {
        self.out.resize(self.end + bits as usize / 8 + 16, 0);
    }

    /// At most 56 bits between two flushes. `value` has no bits above `count`.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        self.bits |= value << self.count;
        self.count += count;
    }

    #[inline(always)]
    pub(super) fn flush(&mut self) {
        if let Some(room) = self.out.get_mut(self.end..self.end + 8) {
            room.copy_from_slice(&self.bits.to_le_bytes());
        }
        let bytes = self.count / 8;
        self.end += bytes as usize;
        self.bits >>= bytes * 8;
        self.count %= 8;
    }

    /// Bits that are missing to a whole byte are 0.
    pub(super) fn align(&mut self) {
        self.flush();
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Whole bytes; what came before is aligned.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.truncate(self.end);
        self.out.extend_from_slice(bytes);
        self.end = self.out.len();
    }

    /// Fills the last byte and gives the room behind it back.
    pub(super) fn finish(mut self) {
        self.align();
        self.out.truncate(self.end);
    }
}
