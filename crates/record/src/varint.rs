//! Zig-zag variable-length integers (as Protocol Buffers have them), as record fields are written.

/// Longest encoding of a 32-bit and of a 64-bit number.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// The number at the start of `bytes`, and the length of its encoding. `None`: cut short or longer than allowed.
#[inline]
pub(crate) fn decode_varint(bytes: &[u8]) -> Option<(i32, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((unzigzag32(u32::from(first)), 1));
    }
    let &second = bytes.get(1)?;
    let value = u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7;
    if second < 0x80 {
        return Some((unzigzag32(value), 2));
    }
    decode_long_varint(bytes, value)
}

/// Goes on after two bytes, which make up `value` and are most often all there is.
#[cold]
fn decode_long_varint(bytes: &[u8], mut value: u32) -> Option<(i32, usize)> {
    for i in 2..VARINT_BYTES_MAX {
        let &byte = bytes.get(i)?;
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((unzigzag32(value), i + 1));
        }
    }
    None
}

/// Like [`decode_varint`], 64 bits.
#[inline]
pub(crate) fn decode_varlong(bytes: &[u8]) -> Option<(i64, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((unzigzag64(u64::from(first)), 1));
    }
    let &second = bytes.get(1)?;
    let value = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
    if second < 0x80 {
        return Some((unzigzag64(value), 2));
    }
    decode_long_varlong(bytes, value)
}

#[inline(never)]
fn decode_long_varlong(bytes: &[u8], mut value: u64) -> Option<(i64, usize)> {
    for i in 2..VARLONG_BYTES_MAX {
        let &byte = bytes.get(i)?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((unzigzag64(value), i + 1));
        }
    }
    None
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(zigzag32(value)));
}

pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, zigzag64(value));
}

pub(crate) fn varint_bytes(value: i32) -> usize {
    unsigned_bytes(u64::from(zigzag32(value)))
}

pub(crate) fn varlong_bytes(value: i64) -> usize {
    unsigned_bytes(zigzag64(value))
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn unsigned_bytes(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

const fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(a: i32, b: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, a);
            prop_assert_eq!(out.len(), varint_bytes(a));
            prop_assert_eq!(decode_varint(&out), Some((a, out.len())));
            out.clear();
            put_varlong(&mut out, b);
            prop_assert_eq!(out.len(), varlong_bytes(b));
            prop_assert_eq!(decode_varlong(&out), Some((b, out.len())));
            prop_assert_eq!(decode_varlong(&out[..out.len() - 1]), None);
        }
    }

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (64, &[0x80, 1]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(decode_varint(bytes), Some((value, bytes.len())));
        }
        assert_eq!(decode_varint(&[0xff; 6]), None);
        assert_eq!(decode_varlong(&[0xff; 11]), None);
        assert_eq!(decode_varint(&[]), None);
    }
}
