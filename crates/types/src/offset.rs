use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Position of a record in a partition's log: 0 for the first record ever appended. Negative values have
/// protocol-defined meanings, of which [`Offset::UNKNOWN`] is the one that is stored.
///
/// Arithmetic stops at the ends of the range: offsets come from clients and files too, and none may end the process or
/// come out on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    pub const ZERO: Offset = Offset(0);
    pub const MAX: Offset = Offset(i64::MAX);
    /// "No offset", as Kafka writes it on the wire and on disk.
    pub const UNKNOWN: Offset = Offset(-1);

    pub const fn value(self) -> i64 {
        self.0
    }

    /// The offset after this one.
    pub const fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, records: i64) -> Offset {
        Offset(self.0.saturating_add(records))
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, records: i64) {
        self.0 = self.0.saturating_add(records);
    }
}

impl Sub<i64> for Offset {
    type Output = Offset;
    fn sub(self, records: i64) -> Offset {
        Offset(self.0.saturating_sub(records))
    }
}

/// The number of offsets between two positions.
impl Sub<Offset> for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i64> for Offset {
    fn from(value: i64) -> Offset {
        Offset(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Offset(41).next(), Offset(42));
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset::MAX + 7, Offset::MAX);
        assert_eq!(Offset(i64::MIN) - 7, Offset(i64::MIN));
        assert_eq!(Offset::MAX - Offset::UNKNOWN, i64::MAX);
        let mut offset = Offset(i64::MAX - 1);
        offset += 5;
        assert_eq!(offset, Offset::MAX);
    }
}
