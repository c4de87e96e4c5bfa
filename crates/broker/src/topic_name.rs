//! What a topic may be called.

/// Letters, digits, `.`, `_` and `-`, at most 249 of them, and not `.` or `..`: the name is part of a directory's.
pub fn is_valid(name: &str) -> bool {
    const LEN_MAX: usize = 249;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !matches!(name, "" | "." | "..") && name.len() <= LEN_MAX && name.bytes().all(legal)
}
